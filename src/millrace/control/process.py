"""How the process of a run treats memory and threads. Set once, before the first rows."""

from __future__ import annotations

import ctypes
import gc
import os
import sys
from contextlib import suppress

# mallopt(3): the number of arenas from which glibc takes memory.
_M_ARENA_MAX = -8
_ARENAS = 2

# A thread that waits for a page takes Python's lock for a moment, dozens of times a page. With the usual 5 ms it would
# wait that long each time while rows are mapped. Measured in four pairs of runs: from 1 % slower to 13 % faster.
_SWITCH_S = 0.0005

# Libraries read these when they are imported. Arrow's own code takes its memory from the C library; pydantic does not
# look through all installed packages for plugins.
_LIBRARIES = {"ARROW_DEFAULT_MEMORY_POOL": "system", "PYDANTIC_DISABLE_PLUGINS": "__all__"}
# New objects until Python looks for cycles among them. What is imported and what a page is read into hold hardly any;
# to look every 700 objects, as Python does by itself, takes a tenth of a small sync.
_YOUNG = 50_000

_settled = False


def begin() -> None:
    """The process runs a command of ours and nothing else. Called before anything heavy is imported."""
    for name, value in _LIBRARIES.items():
        os.environ.setdefault(name, value)
    gc.set_threshold(_YOUNG, *gc.get_threshold()[1:])


def settle() -> None:
    """Memory that is freed goes back to the machine, and threads that wait for the network get their turn.

    Arrow takes its memory from the C library and that from few arenas: a sync then stays some 50 MB smaller than with
    pools that keep what they had (all of it only where `begin` came before Arrow). Nothing happens where the C library
    has no such setting.
    """
    global _settled
    if _settled:
        return
    import pyarrow as pa

    pa.set_memory_pool(pa.system_memory_pool())
    with suppress(OSError, AttributeError, TypeError):
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, _ARENAS)
    sys.setswitchinterval(_SWITCH_S)
    _settled = True
