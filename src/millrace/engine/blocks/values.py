"""What the parts of a formula are while it runs: columns, Python values where rows differ in type, and constants."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from millrace.data import json_text, types
from millrace.data.cast import cast
from millrace.data.compute import pc
from millrace.data.dataclass import dataclass
from millrace.data.exact import of_type
from millrace.data.rows import to_batch
from millrace.engine.blocks import scalar

Flags: TypeAlias = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Objects:
    """A Python value for each row, None where it is missing. Types may differ from row to row."""

    values: list[Any]


@dataclass(frozen=True, slots=True)
class One:
    """The same for every row."""

    value: Any


# pa.Array | Objects | One. pyarrow ships no types, so that a checker cannot tell the first from the others.
Value: TypeAlias = Any


class Run:
    """A formula on its way over rows: how many there are, and which of them failed."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.failed: Flags = np.zeros(count, bool)
        self.message = ""

    def fail(self, rows: Flags, message: str) -> None:
        """Later failures of a row that failed before do not count."""
        if not self.message and rows.any():
            self.message = message
        self.failed |= rows

    def without(self, values: pa.Array, bad: Flags, message: str) -> pa.Array:
        """The values with those rows failed and made null."""
        if not bad.any():
            return values
        self.fail(bad, message)
        return pc.if_else(pa.array(bad), pa.scalar(None, values.type), values)

    def by_row(self, function: Callable[..., Any], *values: Value) -> Value:
        """What the function says for each row, once for each value where there is only one column of them."""
        columns = [value for value in values if not isinstance(value, One)]
        if not columns:
            try:
                return One(function(*(value.value for value in values if isinstance(value, One))))
            except ValueError as error:
                self.fail(np.ones(self.count, bool), str(error))
                return One(None)
        if len(columns) == 1 and isinstance(columns[0], pa.Array):
            return self._by_value(function, values, columns[0])
        lists = [self._listed(value) for value in values]
        results: list[Any] = []
        bad = np.zeros(self.count, bool)
        message = ""
        for row, given in enumerate(zip(*lists, strict=True)):
            try:
                results.append(function(*given))
            except ValueError as error:
                results.append(None)
                bad[row] = True
                message = message or str(error)
        self.fail(bad, message)
        return packed(results)

    def _listed(self, value: Value) -> list[Any]:
        if isinstance(value, One):
            return [value.value] * self.count
        return value.values if isinstance(value, Objects) else self.listed(value)

    def listed(self, values: pa.Array) -> list[Any]:
        """The Python values of a column; a row whose date no Python date can be fails."""
        try:
            return python_values(values)
        except (ValueError, OverflowError):
            found: list[Any] = []
            bad = np.zeros(len(values), bool)
            for row in range(len(values)):
                try:
                    found.append(values[row].as_py())
                except (ValueError, OverflowError):
                    found.append(None)
                    bad[row] = True
            self.fail(bad, "A date is outside the years 1 to 9999.")
            return found

    def _by_value(self, function: Callable[..., Any], values: Sequence[Value], column: pa.Array) -> Value:
        encoded = types.storage(column).dictionary_encode()
        distinct = of_type(encoded.dictionary, column.type)
        inner = Run(len(distinct))
        given = inner.listed(distinct)
        constants = [value.value if isinstance(value, One) else ... for value in values]
        at = constants.index(...)
        results: list[Any] = []
        for row, one in enumerate(given):
            constants[at] = one
            try:
                results.append(function(*constants))
            except ValueError as error:
                results.append(None)
                inner.failed[row] = True
                inner.message = inner.message or str(error)
        constants[at] = None
        # A function of a missing value is None: nothing takes null for something else.
        if inner.failed.any():
            hit = pa.array(inner.failed).take(encoded.indices).fill_null(False)
            self.fail(hit.to_numpy(zero_copy_only=False), inner.message)
        found = packed(results)
        if isinstance(found, pa.Array):
            return found.take(encoded.indices)
        return Objects([None if index is None else results[index] for index in encoded.indices.to_pylist()])


def python_values(values: pa.Array) -> list[Any]:
    """As users' Python sees them: JSON parsed, kinds of text as text, a FLOAT as the double of the same digits."""
    if values.type == types.FLOAT:
        return values.cast(pa.string()).cast(types.DOUBLE).to_pylist()
    if types.is_json(values.type):
        return [None if text is None else _loaded(text) for text in types.storage(values).to_pylist()]
    return types.storage(values).to_pylist()


def _loaded(text: str) -> Any:
    try:
        return json_text.loads(text)
    except (ValueError, RecursionError):
        return text


def packed(values: list[Any]) -> Value:
    """A column if all values are of one type that keeps them as they are; else the list itself."""
    kinds = {type(value) for value in values} - {type(None)}
    if not kinds:
        return One(None)
    if len(kinds) > 1:
        return Objects(values)
    type_ = _COLUMN_OF.get(next(iter(kinds)))
    try:
        if kinds == {Decimal}:
            scales = {value.as_tuple().exponent for value in values if value is not None}
            scale = -scales.pop()
            if scales or not 0 <= scale <= scalar.DIGITS:
                return Objects(values)
            return pa.array(values, types.decimal(38, scale))
        return Objects(values) if type_ is None else pa.array(values, type_)
    except (pa.ArrowInvalid, OverflowError, UnicodeEncodeError):
        return Objects(values)


_COLUMN_OF: dict[type, pa.DataType] = {
    str: types.VARCHAR,
    bool: types.BOOLEAN,
    int: types.LONG,
    float: types.DOUBLE,
    dt.date: types.DATE,
    dt.time: types.TIME,
    bytes: types.BYTEARRAY,
}


def opened(value: Value) -> Value:
    """A value to calculate with: JSON parsed, all text as VARCHAR, a FLOAT as the DOUBLE that is written the same."""
    if not isinstance(value, pa.Array):
        return value
    if value.type == types.FLOAT:
        return value.cast(pa.string()).cast(types.DOUBLE)
    if types.is_json(value.type):
        encoded = value.storage.dictionary_encode()
        found = packed(results := python_values(of_type(encoded.dictionary, types.JSON)))
        if isinstance(found, pa.Array):
            return found.take(encoded.indices)
        if isinstance(found, One):
            return found
        return Objects([None if index is None else results[index] for index in encoded.indices.to_pylist()])
    if isinstance(value.type, types.TextType):
        return value.storage
    if types.is_nested(value.type):
        return packed(value.to_pylist())
    return One(None) if value.type == types.NULL else value


def resolved(rows: pa.RecordBatch, path: Sequence[str]) -> Value:
    """The field at a path: the longest name that is a column, then keys below it; missing where there is none."""
    for count in range(len(path), 0, -1):
        index = rows.schema.get_field_index(".".join(path[:count]))
        if index >= 0:
            return _below(rows.column(index), list(path[count:]))
    return One(None)


def _below(column: pa.Array, names: list[str]) -> Value:
    while names and pa.types.is_struct(column.type):
        if column.type.get_field_index(names[0]) < 0:
            return One(None)
        column = pc.struct_field(column, names.pop(0))
    if not names:
        return column
    if not types.is_json(column.type):
        return One(None)
    encoded = column.storage.dictionary_encode()
    values = [scalar.below(v, names) for v in python_values(of_type(encoded.dictionary, types.JSON))]
    found = packed(values)
    if isinstance(found, pa.Array):
        return found.take(encoded.indices)
    if isinstance(found, One):
        return found
    return Objects([None if index is None else values[index] for index in encoded.indices.to_pylist()])


def as_array(value: Value, count: int) -> pa.Array:
    """A column of the closed list; Python values of several types meet in the type that holds them all exactly."""
    if isinstance(value, One):
        value = Objects([value.value])
        inferred = as_array(value, 1)
        if isinstance(inferred.type, pa.BaseExtensionType):
            return of_type(pa.repeat(inferred.storage[0], count), inferred.type)
        return pa.repeat(inferred[0], count) if inferred.type != types.NULL else pa.nulls(count)
    if isinstance(value, Objects):
        batch = to_batch([{"value": one} for one in value.values], None)
        return batch.column(0) if batch.num_columns else pa.nulls(count)
    return value


def texts(run: Run, value: Value) -> pa.Array | None:
    """The text form of a column as VARCHAR; None where it takes Python to say it."""
    if not isinstance(value, pa.Array):
        return None
    written = cast(value, types.VARCHAR, strict=True)
    if written.bad is not None:
        run.fail(written.bad.to_numpy(zero_copy_only=False), "A date is outside the years 1 to 9999.")
    return types.storage(written.values)


def flags(values: pa.Array) -> Flags:
    """A column of booleans, false where it is null."""
    return pc.fill_null(values, False).to_numpy(zero_copy_only=False)
