"""Rows of a table by the text of their values, as SQL: what a person types is found, whatever type the column has."""

from __future__ import annotations

import json
from collections.abc import Mapping

import pyarrow as pa

from millrace.connect.sql.dialect import Dialect
from millrace.data import json_text, types
from millrace.data.cast import cast


def condition(dialect: Dialect, columns: Mapping[str, pa.DataType], values: Mapping[str, str]) -> str | None:
    """What holds for rows in which every column has its value; None where there are no such rows.

    That is so where the table has no such column, or the text can be no value of its type.
    """
    parts: list[str] = []
    for name, text in values.items():
        type_ = columns.get(name)
        written = None if type_ is None else _written(type_, text)
        if type_ is None or written is None:
            return None
        column = dialect.quoted(name)
        if types.is_integer(type_) or types.is_decimal(type_):
            parts.append(f"{column} = {written[0]}")
        else:
            # Text is compared as it is, so that an index of the table helps.
            shown = column if types.is_text(type_) else dialect.as_text(column, types.kind(type_))
            parts.append(f"{shown} IN ({', '.join(map(dialect.literal, written))})")
    return " AND ".join(parts)


def _written(type_: pa.DataType, text: str) -> tuple[str, ...] | None:
    """How a column of the type may write that value as text; None where it can have no such value."""
    if types.is_text(type_):
        return (text,)
    if types.is_json(type_) or types.is_nested(type_):
        if text[:1] not in "{[":
            return (json_text.dumps(text), text)
        return (text, _spaced(text))
    read = cast(pa.array([text]), types.canonical(type_), strict=False)
    return None if read.bad is not None else tuple(cast(read.values, types.VARCHAR, strict=False).values.to_pylist())


def _spaced(text: str) -> str:
    """The JSON as systems write it that put a space behind every mark."""
    try:
        return json.dumps(json.loads(text), ensure_ascii=False)
    except (ValueError, RecursionError):
        return text
