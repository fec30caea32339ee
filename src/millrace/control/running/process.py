"""How a process of ours treats memory and threads, and how it ends."""

from __future__ import annotations

import atexit
import gc
import os
import sys
from contextlib import suppress
from typing import NoReturn

from millrace.control.running.libraries import spare

# mallopt(3): the number of arenas from which glibc takes memory.
_M_ARENA_MAX = -8
_ARENAS = 2
# mallopt(3): buffers of that size are mapped each for itself, and go back to the machine when they are freed. Left to
# itself, glibc keeps up to 32 MB of such for later, in every arena.
_M_MMAP_THRESHOLD, _M_TRIM_THRESHOLD = -3, -1
_LARGE_BYTES = 1 << 20

# A thread that waits for a page takes Python's lock for a moment, dozens of times a page. With the usual 5 ms it would
# wait that long each time while rows are mapped. Measured in four pairs of runs: from 1 % slower to 13 % faster.
_SWITCH_S = 0.0005

# New objects until Python looks for cycles among them. What is imported holds hardly any and stays, and what a page is
# read into holds none; to look every 700 objects, as Python does by itself, takes a tenth of a small sync.
_STARTING = 200_000
_YOUNG = 50_000

_begun = False
_settled = False
_code: int | None = None


def begin() -> None:
    """The process runs a command of ours and nothing else. Called before anything is imported that need not be."""
    global _begun
    spare()
    gc.set_threshold(_STARTING, *gc.get_threshold()[1:])
    if hasattr(sys, "setdlopenflags"):
        # A function of a library is looked up when it is first called. Arrow and DuckDB have tens of thousands that no
        # command calls, and to look all of them up takes as long as a tenth of what they take to import.
        sys.setdlopenflags(os.RTLD_LAZY)
    # What is registered first is done last.
    atexit.register(_leave)
    _begun = True


def settle() -> None:
    """Memory that is freed goes back to the machine, and threads that wait for the network get their turn.

    Arrow takes its memory from the C library and that from few arenas: a sync then stays some 50 MB smaller than with
    pools that keep what they had (all of it only where `begin` came before Arrow). Nothing happens where the C library
    has no such setting.
    """
    global _settled
    if _settled:
        return
    # Imported here: what has no rows does without.
    import ctypes

    import pyarrow as pa

    pa.set_memory_pool(pa.system_memory_pool())
    with suppress(OSError, AttributeError, TypeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_M_ARENA_MAX, _ARENAS)
        mallopt(_M_MMAP_THRESHOLD, _LARGE_BYTES)
        mallopt(_M_TRIM_THRESHOLD, _LARGE_BYTES)
    sys.setswitchinterval(_SWITCH_S)
    if _begun:
        # What was imported is never looked at again.
        gc.freeze()
        gc.set_threshold(_YOUNG, *gc.get_threshold()[1:])
    _settled = True


def end(code: int) -> NoReturn:
    """The process ends with this exit code. Threads are waited for and exit handlers are called, as ever."""
    global _code
    _code = code
    sys.exit(code)


def _leave() -> None:
    """The last exit handler. To take apart what is in memory, module by module, takes as long as many a command."""
    # DuckDB complains where it is taken apart and some of it is still frozen.
    gc.unfreeze()
    if _code is None:
        return  # an error that nobody caught: Python tells it
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except (OSError, ValueError):
        return  # Python has an exit code for that
    os._exit(_code)
