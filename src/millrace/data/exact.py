"""What an exact conversion answers: the values that converted, and the cells that did not."""

from __future__ import annotations

import pyarrow as pa

from millrace.data import types
from millrace.data.compute import pc
from millrace.data.dataclass import dataclass


@dataclass(frozen=True, slots=True)
class Casted:
    """Values of the wanted type, and where a value had none there.

    ``bad`` is True for each cell that held a value and could not convert; that cell is null in ``values``. It is
    None when there is no such cell, so nothing need be looked at.
    """

    values: pa.Array
    bad: pa.BooleanArray | None = None

    def wrapped(self, to: pa.DataType) -> Casted:
        """The same with its storage put into an extension type."""
        return Casted(of_type(self.values, to), self.bad)

    def after(self, bad: pa.BooleanArray | None) -> Casted:
        """The same as a later step, of which the steps before had left out ``bad`` already."""
        return Casted(self.values, either(self.bad, bad))


def of_type(values: pa.Array, to: pa.DataType) -> pa.Array:
    """Storage as an array of an extension type; other types unchanged."""
    return pa.ExtensionArray.from_storage(to, values) if isinstance(to, pa.BaseExtensionType) else values


def either(a: pa.BooleanArray | None, b: pa.BooleanArray | None) -> pa.BooleanArray | None:
    """Cells that are bad by one or the other."""
    if a is None or b is None:
        return b if a is None else a
    return pc.or_(a, b)


def only(values: pa.Array, ok: pa.BooleanArray) -> Casted:
    """The values where ``ok`` holds; others (also where ``ok`` is null) become null, and bad if they were values."""
    bad = pc.and_(values.is_valid(), pc.invert(ok.fill_null(False)))
    return Casted(without(values, bad), bad) if pc.any(bad).as_py() else Casted(values)


def without(values: pa.Array, bad: pa.BooleanArray | None) -> pa.Array:
    """The values with the bad cells made null."""
    if bad is None:
        return values
    stored = types.storage(values)
    return of_type(pc.if_else(bad, pa.scalar(None, stored.type), stored), values.type)


def none_fits(values: pa.Array, to: pa.DataType) -> Casted:
    """Every value is bad."""
    bad = values.is_valid()
    return Casted(pa.nulls(len(values), to), bad if pc.any(bad).as_py() else None)


def missing(values: pa.Array) -> pa.BooleanArray | None:
    """The null mask that array constructors take."""
    return values.is_null() if values.null_count else None
