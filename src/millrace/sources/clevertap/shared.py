"""Memory that two processes see, grown as they need it."""

from __future__ import annotations

import mmap
import os
import tempfile

_LEAST_BYTES = 4 * 2**20


class Shared:
    """Memory behind a file without a name. One process writes, the other reads what it was told to have been written.

    ``number``: the file, where another process made it. Only the pages that were written to take memory.
    """

    def __init__(self, number: int | None = None) -> None:
        if number is None:
            number = _anonymous()
        self._number = number
        self._size = 0
        self._map: mmap.mmap | None = None

    def fileno(self) -> int:
        return self._number

    def room(self, size: int) -> memoryview:
        """At least ``size`` bytes to write to."""
        if size > self._size:
            os.ftruncate(self._number, max(_LEAST_BYTES, 1 << size.bit_length()))
        return self.seen(size)

    def seen(self, size: int) -> memoryview:
        """The first ``size`` bytes, or more."""
        if self._map is None or size > self._size:
            self._size = os.fstat(self._number).st_size
            self._map = mmap.mmap(self._number, self._size)
        return memoryview(self._map)[: max(size, 0)] if size else memoryview(b"")

    def close(self) -> None:
        self._map = None
        os.close(self._number)


def _anonymous() -> int:
    if hasattr(os, "memfd_create"):
        return os.memfd_create("millrace-pages")
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())
