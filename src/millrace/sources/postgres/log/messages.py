"""Messages of pgoutput, taken apart. Source: https://www.postgresql.org/docs/current/protocol-logicalrep-message-formats.html"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import field
from typing import IO, NamedTuple, TypeAlias

from millrace.data.dataclass import dataclass

# Changes of one transaction that is sent before it has ended are kept in memory up to so much, then in a file.
_SPOOL_BYTES = 8 << 20


@dataclass(frozen=True, slots=True)
class Field:
    """A column: its name, the number of its type, the type's modifier, and whether it identifies the row."""

    name: str
    type: int
    modifier: int
    key: bool


@dataclass(frozen=True, slots=True)
class Told:
    """How a table looks from here on. ``identity``: d, n, f or i, as pg_class has it."""

    id: int
    name: str
    identity: str
    fields: tuple[Field, ...]


@dataclass(frozen=True, slots=True)
class Begin:
    """A transaction that was committed ``at`` this place of the log."""

    transaction: int
    at: int


@dataclass(frozen=True, slots=True)
class Commit:
    """A transaction is whole; the log goes on at ``end``."""

    transaction: int
    end: int


class Change(NamedTuple):
    """A row came (I), changed (U) or went (D). ``rows``: the old one, behind K or O, where it is told, and the new one
    behind N. What is behind K says only what identifies the row."""

    kind: int
    table: int
    rows: bytes


@dataclass(frozen=True, slots=True)
class Truncate:
    tables: tuple[int, ...]


Message: TypeAlias = Told | Begin | Commit | Change | Truncate


@dataclass(slots=True)
class Messages:
    """What the server sends, in the order of commits. Transactions that it sends before they have ended wait here, and
    those that are taken back leave nothing."""

    _streamed: dict[int, _Spool] = field(default_factory=dict[int, "_Spool"])
    _open: _Spool | None = None
    _transaction: int = 0

    def change(self, data: memoryview, at: int) -> Change | None:
        """The message at ``at`` where it is a change that is said at once, as most are; else `of` takes it."""
        kind = data[at]
        if self._open is not None or kind not in b"IUD":
            return None
        return Change(kind, int.from_bytes(data[at + 1 : at + 5], "big"), bytes(data[at + 5 :]))

    def of(self, data: bytes) -> Iterator[Message]:
        """The messages that one of the server's comes to: none while a transaction is gathered."""
        kind = data[0]
        if self._open is not None and kind not in b"ESA":
            # In front of every change stands the (sub)transaction that it belongs to.
            self._open.write(data)
        elif kind in b"IUD":
            yield _change(data, 1)
        elif kind in b"SEcA":
            yield from self._of_stream(kind, data)
        elif (message := self._single(data)) is not None:
            yield message

    def _single(self, data: bytes) -> Message | None:
        match chr(data[0]):
            case "B":
                self._transaction = _number(data, 17)
                return Begin(self._transaction, _number(data, 1, 8))
            case "C":
                return Commit(self._transaction, _number(data, 10, 8))
            case "R":
                return _told(data, 1)
            case "T":
                return _truncate(data, 1)
            case _:
                return None  # types, origins and messages of others say nothing about rows

    def _of_stream(self, kind: int, data: bytes) -> Iterator[Message]:
        match chr(kind):
            case "S":
                transaction = _number(data, 1)
                if transaction not in self._streamed:
                    self._streamed[transaction] = _Spool()
                self._open = self._streamed[transaction]
            case "E":
                self._open = None
            case "A":
                top, sub = _number(data, 1), _number(data, 5)
                if sub == top:
                    self._streamed.pop(top).close()
                else:
                    self._streamed[top].aborted.add(sub)
            case _:
                transaction = _number(data, 1)
                yield Begin(transaction, _number(data, 6, 8))
                with self._streamed.pop(transaction) as spool:
                    yield from spool.messages()
                yield Commit(transaction, _number(data, 14, 8))

    def close(self) -> None:
        """What waits is gone; the server sends it again."""
        for spool in self._streamed.values():
            spool.close()
        self._streamed.clear()


class _Spool:
    """Changes of a transaction that has not ended, each behind its length."""

    def __init__(self) -> None:
        self._file: IO[bytes] = tempfile.SpooledTemporaryFile(_SPOOL_BYTES)  # noqa: SIM115  closed by whoever has it
        self.aborted: set[int] = set()

    def __enter__(self) -> _Spool:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def write(self, data: bytes) -> None:
        self._file.write(len(data).to_bytes(4, "big"))
        self._file.write(data)

    def messages(self) -> Iterator[Message]:
        self._file.seek(0)
        while size := self._file.read(4):
            data = self._file.read(int.from_bytes(size, "big"))
            if _number(data, 1) in self.aborted and data[0] in b"IUDT":
                continue
            match chr(data[0]):
                case "I" | "U" | "D":
                    yield _change(data, 5)
                case "R":
                    yield _told(data, 5)
                case "T":
                    yield _truncate(data, 5)
                case _:
                    pass

    def close(self) -> None:
        self._file.close()


def _change(data: bytes, at: int) -> Change:
    return Change(data[0], int.from_bytes(data[at : at + 4], "big"), data[at + 4 :])


def _told(data: bytes, at: int) -> Told:
    id_ = _number(data, at)
    space, at = _text(data, at + 4)
    name, at = _text(data, at)
    identity, count = chr(data[at]), _number(data, at + 1, 2)
    at += 3
    fields: list[Field] = []
    for _ in range(count):
        key = bool(data[at] & 1)
        column, at = _text(data, at + 1)
        modifier = int.from_bytes(data[at + 4 : at + 8], "big", signed=True)
        fields.append(Field(column, _number(data, at), modifier, key))
        at += 8
    return Told(id_, f"{space or 'pg_catalog'}.{name}", identity, tuple(fields))


def _truncate(data: bytes, at: int) -> Truncate:
    count = _number(data, at)
    return Truncate(tuple(_number(data, at + 5 + 4 * place) for place in range(count)))


def _number(data: bytes, at: int, size: int = 4) -> int:
    return int.from_bytes(data[at : at + size], "big")


def _text(data: bytes, at: int) -> tuple[str, int]:
    end = data.index(0, at)
    return data[at:end].decode(), end + 1
