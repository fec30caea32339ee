"""A chain of blocks told as a Python script that does the same."""

from __future__ import annotations

from millrace.engine.blocks.model import Blocks
from millrace.engine.blocks.script import Script


def explain(blocks: Blocks) -> str:
    """The chain as a script for the Python API: what the blocks do, event by event.

    Blocks that need keys of the workspace have no place in a script: there, events that come to them fail.
    """
    script = Script()
    script.chain(blocks.blocks)
    return script.text()
