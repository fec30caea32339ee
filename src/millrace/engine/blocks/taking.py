"""Which columns a block takes, and their values as text."""

from __future__ import annotations

from typing import Literal, TypeAlias

import pyarrow as pa

from millrace.data import types
from millrace.engine.blocks.formula import Evaluated
from millrace.engine.blocks.settings import parsed

Taken: TypeAlias = Literal["text", "number", "fraction", "date", "any"]


def takes(type_: pa.DataType, taken: Taken) -> bool:
    """Whether columns of the type hold what a block changes. All kinds of text are text."""
    match taken:
        case "text":
            return type_ == types.VARCHAR or isinstance(type_, types.TextType)
        case "number":
            return types.is_integer(type_) or types.is_float(type_) or types.is_decimal(type_)
        case "fraction":
            return types.is_float(type_) or types.is_decimal(type_)
        case "date":
            return type_ in (types.DATE, types.TIMESTAMP, types.TIMESTAMPTZ)
        case "any":
            return type_ != types.NULL


def text_of(values: pa.Array) -> Evaluated:
    """The text form of the values, as formulas have it. Failed are dates outside the years 1 to 9999."""
    if takes(values.type, "text"):
        return Evaluated(types.storage(values))
    rows = pa.RecordBatch.from_arrays([values], ["value"])
    found = parsed('"" + $self').evaluate(rows, self_field="value")
    return Evaluated(found.values.cast(types.VARCHAR), found.failed, found.message)
