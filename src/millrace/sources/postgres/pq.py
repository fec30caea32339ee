"""libpq itself, called by ctypes: it lets go of Python's lock in each call, and needs no driver to be imported.

Source: https://www.postgresql.org/docs/current/libpq.html
"""

from __future__ import annotations

import ctypes
import importlib.util
import sys
from collections.abc import Iterator
from ctypes import POINTER, c_char_p, c_int, c_void_p
from functools import lru_cache
from pathlib import Path

# Of PQstatus and PQresultStatus.
CONNECTED = 0
DONE, ROWS, COPY_OUT = (0, 1), 2, 3
# Field of an error: its SQLSTATE.
STATE = ord("C")

# What each function gives, and takes.
_FUNCTIONS = {
    "PQconnectdb": (c_void_p, [c_char_p]),
    "PQfinish": (None, [c_void_p]),
    "PQstatus": (c_int, [c_void_p]),
    "PQerrorMessage": (c_char_p, [c_void_p]),
    "PQsetNoticeProcessor": (c_void_p, [c_void_p, c_void_p, c_void_p]),
    "PQexecParams": (
        c_void_p,
        [c_void_p, c_char_p, c_int, c_void_p, c_void_p, c_void_p, c_void_p, c_int],
    ),
    "PQprepare": (c_void_p, [c_void_p, c_char_p, c_char_p, c_int, c_void_p]),
    "PQdescribePrepared": (c_void_p, [c_void_p, c_char_p]),
    "PQgetResult": (c_void_p, [c_void_p]),
    "PQresultStatus": (c_int, [c_void_p]),
    "PQresultErrorMessage": (c_char_p, [c_void_p]),
    "PQresultErrorField": (c_char_p, [c_void_p, c_int]),
    "PQclear": (None, [c_void_p]),
    "PQntuples": (c_int, [c_void_p]),
    "PQnfields": (c_int, [c_void_p]),
    "PQftype": (ctypes.c_uint, [c_void_p, c_int]),
    "PQfmod": (c_int, [c_void_p, c_int]),
    "PQgetvalue": (c_void_p, [c_void_p, c_int, c_int]),
    "PQgetlength": (c_int, [c_void_p, c_int, c_int]),
    "PQgetisnull": (c_int, [c_void_p, c_int, c_int]),
    "PQgetCancel": (c_void_p, [c_void_p]),
    "PQcancel": (c_int, [c_void_p, c_void_p, c_int]),
    "PQfreeCancel": (None, [c_void_p]),
    "PQgetCopyData": (c_int, [c_void_p, POINTER(c_void_p), c_int]),
    "PQfreemem": (None, [c_void_p]),
}


@lru_cache(1)
def library() -> ctypes.CDLL | None:
    """The libpq that psycopg's wheel has beside it, or that of the system; None where there is neither."""
    for name in _names():
        try:
            found = ctypes.CDLL(name)
            for function, (gives, takes) in _FUNCTIONS.items():
                called = getattr(found, function)
                called.restype, called.argtypes = gives, takes
        except (OSError, AttributeError):
            continue
        return found
    return None


def _names() -> Iterator[str]:
    spec = importlib.util.find_spec("psycopg_binary")
    if spec is not None and spec.origin is not None:
        package = Path(spec.origin).parent
        for folder in (package.with_name("psycopg_binary.libs"), package / ".dylibs"):
            yield from map(str, sorted(folder.glob("libpq*")))
    yield {"darwin": "libpq.5.dylib", "win32": "libpq.dll"}.get(sys.platform, "libpq.so.5")
