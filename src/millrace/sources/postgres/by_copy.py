"""Links by libpq and the native library, which makes Arrow of what binary COPY sends (`copied`)."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Generator, Mapping
from ctypes import c_void_p
from typing import Any

import pyarrow as pa

from millrace.data.native import library
from millrace.sources.postgres import copied, pq
from millrace.sources.postgres.links import Failed, Strange, in_letters
from millrace.sources.postgres.types import Type

# Answers to questions, from their text; all else is text.
_ANSWERS: Mapping[int, Callable[[str], Any]] = {
    16: lambda text: text == "t",
    20: int,
    21: int,
    23: int,
    26: int,
    700: float,
    701: float,
}


def able() -> bool:
    """Whether links of this kind can be had on this machine."""
    return library() is not None and pq.library() is not None


class CopyLink:
    """One connection of libpq."""

    def __init__(self, uri: str) -> None:
        """Raises Failed where the server is not reached, or lets nobody in."""
        known, native = pq.library(), library()
        assert known is not None and native is not None
        self._pq = known
        self._cancelling: int | None = None
        self._connection: int | None = known.PQconnectdb(uri.encode())
        if known.PQstatus(self._connection) != pq.CONNECTED:
            text = self._said()
            self.close()
            raise Failed(None, text)
        known.PQsetNoticeProcessor(self._connection, ctypes.cast(native.millrace_pg_quiet, c_void_p), None)
        self._cancelling = known.PQgetCancel(self._connection)

    def selected(self, type_: Type) -> str:
        # Sixteen bytes on the way, in place of 36.
        return "{c}" if type_.name == "uuid" else type_.sql

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        result = self._executed(sql, pq.ROWS, *pq.DONE)
        try:
            columns = range(self._pq.PQnfields(result))
            read = [_ANSWERS.get(self._pq.PQftype(result, column), str) for column in columns]
            with in_letters():
                return [
                    tuple(self._value(result, row, column, read[column]) for column in columns)
                    for row in range(self._pq.PQntuples(result))
                ]
        finally:
            self._pq.PQclear(result)

    def _value(self, result: int, row: int, column: int, read: Callable[[str], Any]) -> Any:
        if self._pq.PQgetisnull(result, row, column):
            return None
        size = self._pq.PQgetlength(result, row, column)
        return read(ctypes.string_at(self._pq.PQgetvalue(result, row, column), size).decode())

    def batches(self, sql: str, types: Mapping[str, Type]) -> Generator[pa.RecordBatch]:
        forms = self._forms(sql, types)
        self._pq.PQclear(self._executed(f"COPY ({sql}) TO STDOUT (FORMAT BINARY)", pq.COPY_OUT))
        get, release = (ctypes.cast(one, c_void_p) for one in (self._pq.PQgetCopyData, self._pq.PQfreemem))
        whole = yield from copied.batches(forms, get, release, lambda: self._open)
        # Why the rows ended, where that was not their end.
        while result := self._pq.PQgetResult(self._open):
            self._pq.PQclear(self._checked(result, *pq.DONE))
        if self._pq.PQstatus(self._open) != pq.CONNECTED:
            raise Failed(None, self._said())
        if not whole:
            raise Strange("the rows have no end")

    def _forms(self, sql: str, types: Mapping[str, Type]) -> dict[str, copied.Form]:
        """How each column of the query comes. Raises Strange where one has a type that is not read here."""
        self._pq.PQclear(self._checked(self._pq.PQprepare(self._open, b"", _bytes(sql), 0, None), *pq.DONE))
        result = self._checked(self._pq.PQdescribePrepared(self._open, b""), *pq.DONE)
        try:
            places = range(self._pq.PQnfields(result))
            found = [(self._pq.PQftype(result, place), self._pq.PQfmod(result, place)) for place in places]
        finally:
            self._pq.PQclear(result)
        return {
            name: copied.form(number, modifier, type_)
            for (name, type_), (number, modifier) in zip(types.items(), found, strict=True)
        }

    def _executed(self, sql: str, *wanted: int) -> int:
        return self._checked(self._pq.PQexecParams(self._open, _bytes(sql), 0, None, None, None, None, 0), *wanted)

    def _checked(self, result: int | None, *wanted: int) -> int:
        """The result, where it is one that is wanted. Raises Failed."""
        if result is not None and self._pq.PQresultStatus(result) in wanted:
            return result
        state = self._pq.PQresultErrorField(result, pq.STATE) if result is not None else None
        text = self._pq.PQresultErrorMessage(result).decode(errors="replace") if result is not None else self._said()
        self._pq.PQclear(result)
        raise Failed(state.decode() if state else None, text)

    @property
    def _open(self) -> int:
        if self._connection is None:
            raise Failed(None, "the connection is closed")
        return self._connection

    def _said(self) -> str:
        return (self._pq.PQerrorMessage(self._connection) or b"").decode(errors="replace")

    def cancel(self) -> None:
        if self._cancelling is not None:
            words = ctypes.create_string_buffer(256)
            self._pq.PQcancel(self._cancelling, words, len(words))

    def close(self) -> None:
        cancelling, self._cancelling = self._cancelling, None
        connection, self._connection = self._connection, None
        self._pq.PQfreeCancel(cancelling)
        self._pq.PQfinish(connection)


def _bytes(sql: str) -> bytes:
    written = sql.encode()
    if 0 in written:
        raise Failed("42601", "ERROR: a query has a character that no text of the server has, 0x00")
    return written
