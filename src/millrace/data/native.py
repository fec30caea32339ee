"""The native library: the hottest loops of the data path in C (`native/`). Without it Python does the same, slower.

`MILLRACE_NATIVE=0` leaves it out, `1` does not; with a path that library is taken, for builds with sanitizers. Its
functions take buffers that the caller owns, and run without Python's lock.
"""

from __future__ import annotations

import logging
import os
import sys
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ctypes import CDLL

# The number of the sources in native/: `python tools/native.py --stamp` writes it, after a change of them.
ABI = 439380395
FILE = Path(__file__).with_name("_native" + {"darwin": ".dylib", "win32": ".dll"}.get(sys.platform, ".so"))

_log = logging.getLogger("millrace.native")


def library() -> CDLL | None:
    """The library, or nothing where it is not in use; `absent` says why."""
    return _found()[0]


def absent() -> str | None:
    """Why the library is not in use, in words; nothing where it is."""
    return _found()[1]


@lru_cache(1)
def _found() -> tuple[CDLL | None, str | None]:
    wanted = os.environ.get("MILLRACE_NATIVE", "")
    if wanted == "0":
        return None, "MILLRACE_NATIVE=0 leaves it out"
    file = Path(wanted) if wanted not in ("", "1") else FILE
    if not file.is_file():
        return None, f"{file} is not there; `make native` builds it"
    # Buffers are read and written as this machine has them, and the C code knows one order of bytes.
    if sys.byteorder != "little":
        return None, "this machine is big-endian"
    found, why = _loaded(file)
    if why:
        _log.info("the native library is not in use: %s", why)
    return found, why


def _loaded(file: Path) -> tuple[CDLL | None, str | None]:
    import ctypes

    try:
        found = ctypes.CDLL(str(file))
        abi = found.millrace_native_abi()
    except (OSError, AttributeError) as error:
        return None, f"{file} does not load: {error}"
    if abi != ABI:
        return None, f"{file} is of another version ({abi}, not {ABI}); `make native` builds it anew"
    return found, None
