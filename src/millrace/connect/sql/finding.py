"""Rows of a table by the text of their values, as SQL: what a person types is found, whatever type the column has."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from typing import cast as cast_to

import pyarrow as pa

from millrace.connect.sql.dialect import Dialect
from millrace.data import json_text, types
from millrace.data.cast import cast
from millrace.errors import DataError


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
        if dialect.json_value and (types.is_json(type_) or types.is_nested(type_)):
            meant = [dialect.json_value.format(v=dialect.literal(one)) for one in _as_json(text)]
            parts.append(f"{column} IN ({', '.join(meant)})")
        elif types.is_integer(type_) or types.is_decimal(type_):
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
        return tuple(dict.fromkeys((text, *_as_json(text), *_as_systems_write(text))))
    read = cast(pa.array([text]), types.canonical(type_), strict=False)
    return None if read.bad is not None else tuple(cast(read.values, types.VARCHAR, strict=False).values.to_pylist())


def _as_json(text: str) -> tuple[str, ...]:
    """The texts of JSON that a person may mean: what is JSON itself, and the string that it is."""
    try:
        json_text.dumps(json_text.loads(text))
    except (ValueError, RecursionError, DataError):
        return (json_text.dumps(text),)
    return (text, json_text.dumps(text))


def _as_systems_write(text: str) -> tuple[str, ...]:
    """The JSON as other systems write it: close, with a space behind every mark, and with short names first."""
    try:
        value = json.loads(text)
        close = json_text.dumps(json_text.loads(text))
        return (close, *(json.dumps(one, ensure_ascii=False) for one in (value, _short_first(value))))
    except (ValueError, RecursionError, DataError):
        return ()


def _short_first(value: Any) -> Any:
    """As MySQL keeps JSON: fields by the length of their names, then by their bytes."""
    if isinstance(value, dict):
        fields = cast_to("dict[str, Any]", value)
        names = sorted(fields, key=lambda name: (len(name.encode()), name.encode()))
        return {name: _short_first(fields[name]) for name in names}
    return [_short_first(one) for one in cast_to("list[Any]", value)] if isinstance(value, list) else value
