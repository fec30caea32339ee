"""Text of any character set as UTF-8, in the server's own reading of it."""

from __future__ import annotations

import codecs
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from millrace.connect.mysql.session import Session

_UTF_8 = frozenset(("utf8mb4", "utf8mb3", "utf8", "ascii", "binary", ""))
_ASCII = "".join(map(chr, range(128)))
# Values that are sent to the server in one statement.
_AT_ONCE = 500


class Charsets:
    """What a server says of its character sets. ``asked`` opens a session for questions, at first need."""

    def __init__(self, asked: Callable[[], Session]) -> None:
        self._asked = asked
        self._tables: dict[str, str] = {}
        self._widths: dict[str, int] | None = None
        self._collations: dict[int, str] | None = None

    @property
    def widths(self) -> dict[str, int]:
        """Bytes that a character may have, by character set."""
        if self._widths is None:
            rows = self._asked().rows("SELECT character_set_name, maxlen FROM information_schema.character_sets")
            self._widths = {str(name): int(width) for name, width in rows}
        return self._widths

    @property
    def collations(self) -> dict[int, str]:
        """Character sets by number of a collation."""
        if self._collations is None:
            self._collations = {}
            session = self._asked()
            sql = "SELECT id, character_set_name FROM information_schema.collations WHERE id IS NOT NULL"
            if session.family == "mariadb":
                # Newer ones have collations that serve several sets.
                sql = (
                    "SELECT id, character_set_name FROM information_schema.collation_character_set_applicability "
                    "WHERE id IS NOT NULL"
                    if session.version >= (10, 10)
                    else sql
                )
            self._collations = {int(number): str(name) for number, name in session.rows(sql)}
        return self._collations

    def utf_8(self, values: pa.Array, charset: str) -> pa.Array:
        """The same text in UTF-8, as bytes."""
        if charset in _UTF_8 or not len(values):
            return values
        if self.widths.get(charset, 1) > 1:
            return self._by_server(values, charset)
        table = self._tables.get(charset) or self._table(charset)
        if table[:128] == _ASCII and not (_bytes(values) & 0x80).any():
            return values
        decode: Any = codecs.charmap_decode
        texts = [None if one is None else decode(one, "strict", table)[0].encode() for one in values.to_pylist()]
        return pa.array(texts, pa.binary())

    def texts(self, values: Sequence[bytes], charset: str) -> list[str]:
        """The same text, one by one."""
        return [one.decode() for one in self.utf_8(pa.array(values, pa.binary()), charset).to_pylist()]

    def _table(self, charset: str) -> str:
        """What each byte of the set stands for."""
        listed = ", ".join(f"HEX(CONVERT(_{charset} x'{byte:02x}' USING utf8mb4))" for byte in range(256))
        (row,) = self._asked().rows(f"SELECT {listed}")
        table = "".join(bytes.fromhex(str(one)).decode() for one in row)
        self._tables[charset] = table
        return table

    def _by_server(self, values: pa.Array, charset: str) -> pa.Array:
        distinct = [one for one in values.unique().to_pylist() if one]
        known: dict[bytes | None, bytes | None] = {None: None, b"": b""}
        for at in range(0, len(distinct), _AT_ONCE):
            some: list[bytes] = distinct[at : at + _AT_ONCE]
            listed = ", ".join(f"HEX(CONVERT(_{charset} x'{one.hex()}' USING utf8mb4))" for one in some)
            (row,) = self._asked().rows(f"SELECT {listed}")
            known |= {one: bytes.fromhex(str(text)) for one, text in zip(some, row, strict=True)}
        return pa.array([known[one] for one in values.to_pylist()], pa.binary())


def _bytes(values: pa.Array) -> np.ndarray[Any, np.dtype[np.uint8]]:
    _, offsets, data = values.buffers()
    edges = np.frombuffer(offsets, np.int32)[values.offset : values.offset + len(values) + 1]
    return np.frombuffer(data, np.uint8)[edges[0] : edges[-1]] if data is not None else np.zeros(0, np.uint8)
