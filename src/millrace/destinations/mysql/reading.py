"""Answers of MySQL as Arrow, each column in the type that the server says.

Source: https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_com_query_response_text_resultset.html
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
from pymysql.constants import FIELD_TYPE, FLAG

_INTEGERS = (FIELD_TYPE.TINY, FIELD_TYPE.SHORT, FIELD_TYPE.LONG, FIELD_TYPE.LONGLONG, FIELD_TYPE.INT24, FIELD_TYPE.YEAR)
_BINARY = 63  # the number of the character set of bytes


@dataclass(frozen=True, slots=True)
class Field:
    """A column of an answer: its name, type, character set, flags, length and digits behind the point. ``utc``: its
    moments are of UTC, by what the table says of it."""

    name: str
    type: int
    charset: int
    flags: int
    length: int
    scale: int
    origin: tuple[str, str, str] = ("", "", "")
    """Database, table and column that it is of; empty for what was computed."""
    utc: bool = False

    @property
    def is_single(self) -> bool:
        """A FLOAT, of which the server writes but six digits."""
        return self.type == FIELD_TYPE.FLOAT

    @property
    def arrow(self) -> pa.DataType:
        """The Arrow type of its values; text where Arrow has none."""
        if self.type == FIELD_TYPE.TINY and self.length == 1:
            return pa.bool_()
        if self.type in _INTEGERS:
            unsigned = self.type == FIELD_TYPE.LONGLONG and self.flags & FLAG.UNSIGNED
            return pa.uint64() if unsigned else pa.int64()
        if self.type in (FIELD_TYPE.FLOAT, FIELD_TYPE.DOUBLE):
            return pa.float64()
        if self.type in (FIELD_TYPE.DECIMAL, FIELD_TYPE.NEWDECIMAL):
            digits = self.length - (self.scale > 0) - (not self.flags & FLAG.UNSIGNED)
            return pa.decimal128(digits, self.scale) if 0 < digits <= 38 else pa.decimal256(76, self.scale)
        if self.type in (FIELD_TYPE.DATE, FIELD_TYPE.NEWDATE):
            return pa.date32()
        if self.type in (FIELD_TYPE.DATETIME, FIELD_TYPE.TIMESTAMP):
            return pa.timestamp("us", "UTC" if self.utc or self.type == FIELD_TYPE.TIMESTAMP else None)
        if self.type == FIELD_TYPE.TIME:
            return pa.time64("us")
        if self.type == FIELD_TYPE.BIT or (self.charset == _BINARY and self.type != FIELD_TYPE.JSON):
            return pa.binary()
        return pa.string()


def table(fields: Sequence[Field], rows: Sequence[Sequence[bytes | None]]) -> pa.Table:
    """The answer; values are as the server wrote them, in UTF-8 where they are text."""
    columns = [_column(field.arrow, [row[number] for row in rows]) for number, field in enumerate(fields)]
    return pa.Table.from_arrays(columns, names=[field.name for field in fields])


def _column(type_: pa.DataType, values: Sequence[bytes | None]) -> pa.Array:
    raw = pa.array(values, pa.binary())
    if pa.types.is_binary(type_):
        return raw
    if pa.types.is_boolean(type_):
        numbers = raw.cast(pa.string()).cast(pa.int64())
        # Nobody hinders other numbers from being there.
        return numbers if set(values) - {None, b"0", b"1"} else numbers.cast(type_)
    if pa.types.is_time64(type_):
        texts = raw.cast(pa.string())
        # Spans of more than a day, or below zero, are no time of day.
        whole = all(one is None or (len(one.partition(b".")[0]) == 8 and one < b"24") for one in values)
        return _micros(texts) if whole else texts
    if pa.types.is_temporal(type_):
        # MySQL's zero dates are none.
        none = [one is None or b"0000" in one[:4] or b"-00" in one[:10] for one in values]
        raw = pa.array([None if odd else one for odd, one in zip(none, values, strict=True)], pa.binary())
        naive = pa.timestamp("us") if pa.types.is_timestamp(type_) else type_
        return raw.cast(pa.string()).cast(naive).cast(type_)
    return raw.cast(pa.string()).cast(type_)


def _micros(texts: pa.Array) -> pa.Array:
    moments = pa.array([None if one is None else f"1970-01-01 {one}" for one in texts.to_pylist()], pa.string())
    return moments.cast(pa.timestamp("us")).cast(pa.time64("us"))


def fields_of(result: Any) -> list[Field]:
    """Columns of a result of the driver."""
    return [
        Field(
            one.name,
            one.type_code,
            one.charsetnr,
            one.flags,
            one.length,
            one.scale,
            tuple(_text(part) for part in (one.db, one.org_table, one.org_name)),  # pyright: ignore[reportArgumentType]
        )
        for one in result.fields
    ]


def _text(part: str | bytes) -> str:
    return part.decode() if isinstance(part, bytes) else part
