"""Columns against one constant: less, equal, greater, or neither, by the rules of `scalar.order`."""

from __future__ import annotations

import math
from decimal import Decimal
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from millrace.data import reading, types
from millrace.data.compute import pc
from millrace.engine.blocks import dates, scalar
from millrace.engine.blocks.values import Flags, One, Run, Value, as_array, flags, opened

Order: TypeAlias = npt.NDArray[np.int8]

NEITHER = 2
_NUMBER = r"^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,4})?$"
_DATE = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}"


def equals(values: Value, constant: Any, count: int) -> Flags:
    """The rows whose value equals the constant."""
    values = opened(values)
    plain = isinstance(constant, str) and scalar.number_of(constant) is None and scalar.moment_of(constant) is None
    if plain and isinstance(values, pa.Array) and values.type == types.VARCHAR:
        return flags(pc.equal(values, constant))
    return order(values, constant, count) == 0


def order(values: Value, constant: Any, count: int) -> Order:
    """-1, 0 or 1 for each row: the value is less than, equal to or greater than the constant; 2: neither can be said.

    A missing value is neither.
    """
    values = opened(values)
    if isinstance(values, pa.Array):
        found = ordered(values, constant)
        if found is not None:
            return found
    said = as_array(Run(count).by_row(_order, values, One(constant)), count)
    return said.cast(pa.int8()).fill_null(NEITHER).to_numpy()


def ordered(values: pa.Array, constant: Any) -> Order | None:
    """As `order`, of a column without JSON; None where it takes Python to say it."""
    number, moment = scalar.number_of(constant), scalar.moment_of(constant)
    type_ = values.type
    if types.is_integer(type_) or types.is_decimal(type_):
        return _none(values) if number is None else _exact(values, number)
    if type_ == types.DOUBLE:
        return _none(values) if number is None else _floats(values, number)
    if type_ in (types.DATE, types.TIMESTAMP, types.TIMESTAMPTZ):
        return _none(values) if moment is None else _signs(dates.micros(values), moment)
    if type_ == types.BOOLEAN:
        truth = scalar.truth_of(constant, True)
        return _none(values) if truth is None else _signs(values.cast(pa.int8()), int(truth))
    if type_ == types.VARCHAR:
        return _texts(values, constant, number, moment)
    return None


def _order(value: Any, constant: Any) -> int | None:
    return None if value is None else scalar.order(value, constant)


def _none(values: pa.Array) -> Order:
    return np.full(len(values), NEITHER, np.int8)


def _signs(values: pa.Array, bound: Any, equal: int = 0) -> Order:
    """By Arrow's own order; ``equal`` is what a value is that equals the bound."""
    less, same, greater = (flags(kernel(values, bound)) for kernel in (pc.less, pc.equal, pc.greater))
    found = np.full(len(values), NEITHER, np.int8)
    found[less], found[same], found[greater] = -1, equal, 1
    return found


def _exact(values: pa.Array, number: Decimal) -> Order:
    if types.is_integer(values.type):
        values = values.cast(types.LONG)
        scale, least, most = 0, -(2**63), 2**63 - 1
    else:
        scale, most = values.type.scale, 10**values.type.precision - 1
        least = -most
    if not number or abs(number.adjusted()) <= 400:
        digits = number.scaleb(scale, scalar.EXACT)
        near = math.floor(digits)
        whole = near == digits
    elif number.adjusted() > 0:
        near, whole = (most + 1 if number > 0 else least - 1), True
    else:
        near, whole = (0 if number > 0 else -1), False
    if near > most or near < least:
        return np.where(values.is_valid().to_numpy(zero_copy_only=False), -1 if near > most else 1, NEITHER).astype(
            np.int8
        )
    exact = Decimal(near).scaleb(-scale, scalar.EXACT)
    bound = pa.scalar(exact if types.is_decimal(values.type) else near, values.type)
    return _signs(values, bound, 0 if whole else -1)


def _floats(values: pa.Array, number: Decimal) -> Order:
    near = float(number)
    shown = Decimal(repr(near))
    return _signs(values, pa.scalar(near, types.DOUBLE), (shown > number) - (shown < number))


def _texts(values: pa.Array, constant: Any, number: Decimal | None, moment: int | None) -> Order | None:
    if number is not None:
        return _numbers(values, number)
    if moment is not None:
        found = _none(values)
        rows = np.flatnonzero(flags(pc.match_substring_regex(values, _DATE)))
        if len(rows):
            moments = reading.timestamp(values.take(pa.array(rows)), types.TIMESTAMP).values
            found[rows] = _signs(moments.cast(pa.int64()), moment)
        return found
    if isinstance(constant, bool):
        lower = pc.utf8_lower(values)
        known = pc.is_in(lower, pa.array(["true", "false"]))
        return np.where(flags(known), _signs(pc.equal(lower, "true").cast(pa.int8()), int(constant)), NEITHER).astype(
            np.int8
        )
    if not isinstance(constant, str):
        return None
    found = _signs(values, constant)
    unsure = flags(pc.match_substring_regex(values, r"^[+-]?[.0-9]")) & (found != 0)
    if unsure.any():
        rows = np.flatnonzero(unsure)
        some = values.take(pa.array(rows))
        is_number = flags(pc.match_substring_regex(some, _NUMBER))
        is_date = flags(reading.timestamp(some, types.TIMESTAMP).values.is_valid())
        found[rows[is_number | is_date]] = NEITHER
    return found


def _numbers(values: pa.Array, number: Decimal) -> Order:
    """Texts that are numbers; as floats where both have no more than the 15 digits that every float holds."""
    found = _none(values)
    rows = np.flatnonzero(flags(pc.match_substring_regex(values, _NUMBER)))
    if not len(rows):
        return found
    some = values.take(pa.array(rows))
    short = flags(pc.match_substring_regex(some, r"^[+-]?[0-9.]{1,15}$"))
    if len(number.as_tuple().digits) > 15 or not -15 < number.adjusted() < 15:
        short[:] = False
    if short.any():
        floats = some.filter(pa.array(short)).cast(types.DOUBLE)
        found[rows[short]] = _signs(floats, float(number))
    for row, text in zip(rows[~short], some.filter(pa.array(~short)).to_pylist(), strict=True):
        value = Decimal(text)
        found[row] = (value > number) - (value < number)
    return found
