"""Text in other encodings than UTF-8, and bytes that are no text in theirs."""

from __future__ import annotations

import codecs
import io
import re
from typing import Any, BinaryIO, cast

_PIECE = 1 << 20

MARK = "\ufdd0"
"""In front of a byte, as two digits, that is no text. No text has this sign, which Unicode leaves to programs; a row
that has it all the same is refused, and not changed."""

_MARKED = re.compile(f"{MARK}([0-9a-f]{{2}})")


def recoded(stream: BinaryIO, encoding: str, *, marked: bool) -> BinaryIO:
    """The text of the stream in UTF-8. What is no text raises UnicodeDecodeError, or is ``marked``."""
    if encoding == "utf-8" and not marked:
        return stream
    errors = "millrace-marked" if marked else "strict"
    return cast(BinaryIO, io.BufferedReader(_Recoded(stream, encoding, errors), _PIECE))


def unmarked(text: str) -> str:
    """The text with such bytes as people write them: `\\xff`."""
    return _MARKED.sub(r"\\x\1", text)


def _marked(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeDecodeError):
        raise error
    return "".join(f"{MARK}{byte:02x}" for byte in error.object[error.start : error.end]), error.end


codecs.register_error("millrace-marked", _marked)


class _Recoded(io.RawIOBase):
    def __init__(self, stream: BinaryIO, encoding: str, errors: str) -> None:
        self._stream = stream
        self._decoder = codecs.getincrementaldecoder(encoding)(errors)
        self._rest = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._rest:
            piece = self._stream.read(_PIECE)
            self._rest = memoryview(self._decoder.decode(piece, final=not piece).encode())
            if not piece:
                break
        some = self._rest[: len(buffer)]
        buffer[: len(some)] = some
        self._rest = self._rest[len(some) :]
        return len(some)
