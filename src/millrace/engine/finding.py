"""Rows with certain values, found in batches without making rows of them."""

from __future__ import annotations

from collections.abc import Mapping as Dict
from collections.abc import Sequence

import pyarrow as pa

from millrace.data import json_text, types
from millrace.data.cast import cast
from millrace.data.compute import pc


def matching(batch: pa.RecordBatch, wanted: Dict[tuple[str, ...], str]) -> Sequence[int]:
    """Numbers of the rows in which every field has its value, given as text.

    ``wanted``: for each value the names under which its field may stand in the batch. A field that is not there, or
    whose type no such text can be of, has no such value.
    """
    mask: pa.Array | None = None
    for names, text in wanted.items():
        name = next((name for name in names if name in batch.schema.names), None)
        if name is None:
            return ()
        column = batch.column(name)
        value = _as(column.type, text)
        if value is None:
            return ()
        found = pc.equal(types.storage(column), value)
        mask = found if mask is None else pc.and_(mask, found)
    return [] if mask is None else pc.indices_nonzero(mask).to_pylist()


def _as(type_: pa.DataType, text: str) -> pa.Scalar | None:
    """The value that the text is in this type; None where it is none."""
    if types.is_json(type_):
        # JSON text of a string has quotes around it.
        return pa.scalar(text if text[:1] in "{[" else json_text.dumps(text))
    try:
        casted = cast(pa.array([text]), types.canonical(type_), strict=False)
        value = types.storage(casted.values)
        return None if casted.bad is not None else value.cast(types.storage(pa.nulls(0, type_)).type)[0]
    except (types.UnknownType, pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return None


def holds(row: object, wanted: Dict[tuple[str, ...], str]) -> bool:
    """Whether a row of JSON has these values, each as text under one of its names."""
    if not isinstance(row, dict):
        return False
    for names, text in wanted.items():
        value = next((row[name] for name in names if name in row), None)  # pyright: ignore[reportUnknownVariableType]  # any JSON
        if value is None or (value if isinstance(value, str) else json_text.dumps(value)) != text:
            return False
    return True
