"""Rows with certain values, found in batches without making rows of them."""

from __future__ import annotations

import re
from collections.abc import Mapping as Dict
from collections.abc import Sequence

import pyarrow as pa

from millrace.data import json_text, types
from millrace.data.cast import cast
from millrace.data.compute import pc

# A word that stands in every JSON text of a value in which it stands once, unless its letters are escaped by number.
_WORD = re.compile(r"(?<![\w.+-])[A-Za-z_]\w*", re.ASCII)


def matching(batch: pa.RecordBatch, wanted: Dict[tuple[str, ...], str]) -> Sequence[int]:
    """Numbers of the rows in which every field has its value, given as text.

    ``wanted``: for each value the names under which its field may stand in the batch. A field that is not there, or
    whose type no such text can be of, has no such value. The order of the fields of JSON does not
    matter.
    """
    mask: pa.Array | None = None
    for names, text in wanted.items():
        name = next((name for name in names if name in batch.schema.names), None)
        if name is None:
            return ()
        column = batch.column(name)
        if types.is_json(column.type):
            found = _same_json(types.storage(column), text)
        elif (value := _as(column.type, text)) is not None:
            found = pc.equal(types.storage(column), value)
        else:
            return ()
        mask = found if mask is None else pc.and_(mask, found)
    return [] if mask is None else pc.indices_nonzero(mask).to_pylist()


def _as(type_: pa.DataType, text: str) -> pa.Scalar | None:
    """The value that the text is in this type; None where it is none."""
    try:
        casted = cast(pa.array([text]), types.canonical(type_), strict=False)
        value = types.storage(casted.values)
        return None if casted.bad is not None else value.cast(types.storage(pa.nulls(0, type_)).type)[0]
    except (types.UnknownType, pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return None


def word(text: str) -> str:
    """The longest word that every JSON text of this value has in it, or an escape by number; empty where none is."""
    return max(_WORD.findall(text), key=len, default="")


def _same_json(column: pa.StringArray, text: str) -> pa.BooleanArray:
    """Which documents are the value: the text as JSON, or as a string of JSON."""
    values = {json_text.alike(text), json_text.dumps(text)}
    likely = pc.or_(pc.match_substring(column, word(text)), pc.match_substring(column, "\\u"))
    documents = column.filter(likely).to_pylist()
    found = iter([document is not None and json_text.alike(document) in values for document in documents])
    return pa.array([bool(one) and next(found) for one in likely.to_pylist()], pa.bool_())


def holds(row: object, wanted: Dict[tuple[str, ...], str]) -> bool:
    """Whether a row of JSON has these values, each as text under one of its names."""
    if not isinstance(row, dict):
        return False
    for names, text in wanted.items():
        value = next((row[name] for name in names if name in row), None)  # pyright: ignore[reportUnknownVariableType]  # any JSON
        if isinstance(value, str):
            if value != text:
                return False
        elif value is None or json_text.alike(json_text.dumps(value)) != json_text.alike(text):
            return False
    return True
