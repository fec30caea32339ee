"""Rows that were refused, tried once more: settings may have changed, or a person the row."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Literal

import pyarrow as pa

from millrace.connect.refused import refused
from millrace.data import columns
from millrace.data.batch import Item, Refused
from millrace.data.rows import to_batch
from millrace.sources.postgres.decoding import read
from millrace.sources.postgres.types import Form, Type

# What a value of these forms looks like that has a place in its logical type.
_USUAL: Mapping[Form, str] = {
    "date": r"[-+]?\d+-\d\d-\d\d",
    "moment": r"[-+]?\d+-\d\d-\d\d[T ].*",
    "numeric": r"-?\d+(\.\d+)?",
    "timetz": r"(?!24)\d\d:\d\d:\d\d(\.\d+)?[+-]\d\d(:\d\d)?",
}


def retried(
    stream: str, rows: Sequence[str], types: Mapping[str, Type], special: Literal["reject", "null"], now: datetime
) -> Iterator[Item]:
    """The rows as items, each in exactly one of them."""
    good: list[dict[str, Any]] = []
    bad: list[tuple[str, str]] = []
    for text in rows:
        row: dict[str, Any] = json.loads(text)
        odd = [name for name, value in row.items() if name in types and _is_odd(value, types[name])]
        if odd and special == "reject":
            bad.append(("; ".join(f"{name} is {row[name]}, which no type of a warehouse has" for name in odd), text))
        else:
            good.append(row | dict.fromkeys(odd))
    if good:
        yield _batch(good, types)
    if bad:
        yield Refused(refused(stream, "INCOMPATIBLE_TYPE", bad, now))


def _batch(rows: list[dict[str, Any]], types: Mapping[str, Type]) -> pa.RecordBatch:
    declared = pa.schema([(name, one.logical) for name, one in types.items() if one.logical is not None])
    free = {name for name, one in types.items() if one.logical is None}
    batch = to_batch([{name: value for name, value in row.items() if name not in free} for row in rows], declared)
    for name in free:
        texts = pa.array([None if row.get(name) is None else str(row[name]) for row in rows], pa.string())
        array = read(texts, types[name]).values
        batch = batch.append_column(columns.measured(name, array.type), array)
    return batch


def _is_odd(value: Any, type_: Type) -> bool:
    # Nobody knows any more which bytes stood there that were no UTF-8.
    if isinstance(value, str) and "\ufffd" in value:
        return True
    if type_.form == "point":
        return isinstance(value, str) and value.startswith("(")
    usual = _USUAL.get(type_.form)
    odd = usual is not None and isinstance(value, str) and re.fullmatch(usual, value) is None
    # NUMERIC with too many digits for a decimal is text.
    return odd and not (type_.form == "numeric" and type_.logical == pa.string())
