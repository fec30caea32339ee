"""Answers of MySQL as Arrow, each column in the type that the server says."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

from millrace.connect.mysql.answers import Field


def table(fields: Sequence[Field], columns: Sequence[Sequence[bytes | None]]) -> pa.Table:
    """The answer; values are as the server wrote them, in UTF-8 where they are text."""
    arrays = [_column(field.arrow, values) for field, values in zip(fields, columns, strict=True)]
    return pa.Table.from_arrays(arrays, names=[field.name for field in fields])


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
