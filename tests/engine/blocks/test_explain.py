"""A chain told as a script does what the chain does."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.engine.blocks import chains
from tests.engine.blocks.naive import Event as Outcome
from tests.engine.blocks.test_blocks_property import compare

from millrace.engine.blocks.explain import explain
from millrace.engine.blocks.model import Blocks
from millrace.scripting.event import Event
from millrace.scripting.properties import Properties, nested
from millrace.scripting.script import TransformFailed, compiled

Row = dict[str, Any]


def scripted(blocks: Blocks, key: tuple[str, ...] = ()) -> Callable[[Row], Outcome | None]:
    """The chain as a script, called for a row as the sandbox would."""
    script = compiled(explain(blocks))

    def run(row: Row) -> Outcome | None:
        properties = Properties((name, nested(value)) for name, value in row.items())
        event = Event.received("orders", properties, primary_keys=list(key))
        try:
            events = script(event).events
        except TransformFailed as error:
            raise ValueError(error.message) from None
        if not events:
            return None
        (one,) = events
        return one.getEventName(), {name: value for name, value in one.getProperties().items() if value is not None}

    return run


@pytest.mark.hypothesis
@pytest.mark.parametrize("kind", chains.KINDS)
def test_a_block_told_as_a_script_does_the_same(kind: str) -> None:
    @settings(max_examples=settings.default.max_examples // 3)
    @given(st.integers(0, 2**40))
    def same(seed: int) -> None:
        random = Random(seed)
        compare(chains.batch(random), [chains.block(random, kind)], scripted)

    same()


@given(st.integers(0, 2**40))
def test_a_chain_told_as_a_script_does_the_same(seed: int) -> None:
    random = Random(seed)
    compare(chains.batch(random), chains.chain(random), scripted)
