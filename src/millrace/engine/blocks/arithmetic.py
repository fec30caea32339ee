"""The operators of formulas on columns. What these give is what `scalar` says, value by value.

Integers give LONG, or a decimal where they outgrow it; with a decimal the result is exact; with a DOUBLE a DOUBLE, and
the event fails where the other side has digits that no DOUBLE holds. ``/`` of two integers is the nearest DOUBLE.
"""

from __future__ import annotations

import math
from decimal import Decimal
from typing import Any, Literal, TypeAlias

import numpy as np
import pyarrow as pa

from millrace.data import types
from millrace.data.compute import pc
from millrace.engine.blocks import scalar
from millrace.engine.blocks.compare import equals
from millrace.engine.blocks.values import Flags, Objects, One, Run, Value, flags, opened, texts

_SCALAR: dict[str, Any] = {
    "+": scalar.add,
    "-": scalar.subtract,
    "*": scalar.multiply,
    "/": scalar.divide,
    "==": scalar.equal,
    "!=": scalar.unequal,
}
_KERNEL: dict[str, Any] = {"+": pc.add_checked, "-": pc.subtract_checked, "*": pc.multiply_checked}
_Numeric: TypeAlias = Literal["int", "decimal", "float"]


def combined(run: Run, sign: str, a: Value, b: Value) -> Value:
    """``a sign b`` for each row; null where either is missing."""
    a, b = opened(a), opened(b)
    if One(None) in (a, b):
        return One(None)
    found: Value | None = None
    if not (isinstance(a, One) and isinstance(b, One)) and not isinstance(a, Objects) and not isinstance(b, Objects):
        if sign in ("==", "!="):
            found = _equal(a, b)
            if found is not None and sign == "!=":
                found = pc.invert(found)
        elif sign == "+" and (_is_text(a) or _is_text(b)):
            found = _joined(run, a, b)
        else:
            found = _calculated(run, sign, a, b)
    return run.by_row(_SCALAR[sign], a, b) if found is None else found


def negated(run: Run, value: Value) -> Value:
    return combined(run, "-", One(0), value)


def inverted(run: Run, value: Value) -> Value:
    value = opened(value)
    if isinstance(value, pa.Array) and value.type == types.BOOLEAN:
        return pc.invert(value)
    return run.by_row(scalar.invert, value)


def _is_text(value: Value) -> bool:
    if isinstance(value, One):
        return isinstance(value.value, str)
    return isinstance(value, pa.Array) and value.type == types.VARCHAR


def _joined(run: Run, a: Value, b: Value) -> Value | None:
    sides = [scalar.text(side.value) if isinstance(side, One) else texts(run, side) for side in (a, b)]
    return None if None in [side if side is None else 0 for side in sides] else pc.binary_join_element_wise(*sides, "")


def _numeric(value: Value) -> _Numeric | None:
    if isinstance(value, One):
        match value.value:
            case bool():
                return None
            case int():
                return "int" if abs(value.value) < 2**63 else None
            case Decimal():
                return "decimal"
            case float():
                return "float"
            case _:
                return None
    assert isinstance(value, pa.Array)
    if types.is_integer(value.type):
        return "int"
    if types.is_decimal(value.type):
        return "decimal"
    return "float" if value.type == types.DOUBLE else None


def _calculated(run: Run, sign: str, a: Value, b: Value) -> Value | None:
    kinds = {_numeric(a), _numeric(b)}
    if None in kinds:
        return None
    if "float" in kinds:
        return _floats(run, sign, a, b)
    if kinds == {"int"}:
        return _quotient(run, a, b) if sign == "/" else _integers(sign, a, b)
    return _decimal_quotient(run, a, b) if sign == "/" else _decimals(sign, a, b)


def _integers(sign: str, a: Value, b: Value) -> pa.Array | None:
    try:
        return _KERNEL[sign](_long(a), _long(b))
    except pa.ArrowInvalid:  # beyond 64 bits; Python's integers go on as decimals
        return None


def _long(value: Value) -> Any:
    return pa.scalar(value.value, types.LONG) if isinstance(value, One) else value.cast(types.LONG)


def _quotient(run: Run, a: Value, b: Value) -> pa.Array | None:
    sides = [_long(a), _long(b)]
    if not all(_is_exact(side) for side in sides):
        return None
    return _divided(run, *(side.cast(types.DOUBLE) for side in sides))


def _is_exact(side: Any) -> bool:
    beyond = pc.or_(pc.greater(side, 2**53), pc.less(side, -(2**53)))
    return not (pc.any(beyond) if isinstance(side, pa.Array) else beyond).as_py()


def _divided(run: Run, a: Any, b: Any) -> pa.Array:
    zero = pc.equal(b, 0)
    if isinstance(zero, pa.Scalar):
        return pc.divide(a, b) if not zero.as_py() else _all_zero(run, a)
    result = pc.divide(a, pc.if_else(zero, pa.scalar(None, types.DOUBLE), b))
    run.fail(flags(pc.and_(zero, pc.is_valid(a))), "Division by zero.")
    return result


def _all_zero(run: Run, a: pa.Array) -> pa.Array:
    run.fail(flags(a.is_valid()), "Division by zero.")
    return pa.nulls(len(a), types.DOUBLE)


def _floats(run: Run, sign: str, a: Value, b: Value) -> pa.Array | None:
    present = pc.and_(_present(run, a), _present(run, b))
    x, y = _double(run, a, present), _double(run, b, present)
    if x is None or y is None:
        return None
    result = _divided(run, x, y) if sign == "/" else _KERNEL[sign](x, y)
    too_large = flags(pc.is_inf(result))
    if too_large.any():
        finite = pc.and_(pc.is_finite(x), pc.is_finite(y))
        too_large &= flags(finite) if isinstance(finite, pa.Array) else bool(finite.as_py())
        result = run.without(result, too_large, "The result is beyond what a DOUBLE holds.")
    return result


def _present(run: Run, value: Value) -> pa.Array:
    return value.is_valid() if isinstance(value, pa.Array) else pa.array(np.ones(run.count, bool))


def _double(run: Run, value: Value, present: pa.Array) -> Any:
    """The numbers as DOUBLE, those that are none failed; None where Python must look at them."""
    if isinstance(value, One):
        try:
            return pa.scalar(scalar.as_float(value.value), types.DOUBLE)
        except ValueError:
            return None
    assert isinstance(value, pa.Array)
    if value.type == types.DOUBLE:
        return value
    if types.is_integer(value.type):
        long = value.cast(types.LONG)
        beyond = pc.or_(pc.greater(long, 2**53), pc.less(long, -(2**53)))
        if pc.any(beyond).as_py():
            first = int(long.filter(beyond)[0].as_py())
            message = f"{first} has more digits than the DOUBLE that it is calculated with."
            bad = flags(pc.and_(beyond, present))
            long = pc.if_else(beyond, pa.scalar(None, types.LONG), long)
            run.fail(bad, message)
        return long.cast(types.DOUBLE)
    unscaled = _unscaled(value, 10**15)
    if unscaled is None or value.type.scale > 22:
        return None
    # Both are exact as floats, so that their quotient is the nearest float.
    return pc.divide(unscaled.cast(types.DOUBLE), float(10**value.type.scale))


def _unscaled(values: pa.Array, limit: int) -> pa.Array | None:
    """The digits of decimals as LONG; None where one of them is more than ``limit``."""
    if not pa.types.is_decimal128(values.type):
        return None
    whole = pa.Array.from_buffers(pa.decimal128(38, 0), len(values), values.buffers(), offset=values.offset)
    bounds = pc.min_max(whole).as_py()
    if bounds["min"] is not None and max(-bounds["min"], bounds["max"]) > limit:
        return None
    return whole.cast(types.LONG)


def _decimal(value: Value) -> Any:
    """As decimals, of the precision that the type has."""
    if isinstance(value, One):
        exact = Decimal(value.value)
        _, digits, exponent = exact.as_tuple()
        scale = -int(exponent)
        if not 0 <= scale <= 38 or len(digits) > 38:
            return None
        return pa.scalar(exact, pa.decimal128(max(len(digits), scale, 1), scale))
    assert isinstance(value, pa.Array)
    if types.is_decimal(value.type):
        return value
    digits = types.INTEGER_DIGITS[types.kind(value.type)]
    return value.cast(types.LONG).cast(pa.decimal128(19, 0)).cast(pa.decimal128(digits, 0))


def _decimals(sign: str, a: Value, b: Value) -> pa.Array | None:
    x, y = _decimal(a), _decimal(b)
    if x is None or y is None:
        return None
    precision, scale = _natural(sign, x.type, y.type)
    if scale > scalar.DIGITS:
        return None
    if precision <= 38:
        return _KERNEL[sign](x, y)
    x, y = _narrowed(x), _narrowed(y)
    precision, scale = _natural(sign, x.type, y.type)
    if precision > types.MAX_PRECISION or precision - scale > scalar.DIGITS:
        return None
    if precision <= 38:
        return _KERNEL[sign](x, y).cast(pa.decimal128(38, scale))
    result = _KERNEL[sign](*(side.cast(pa.decimal256(side.type.precision, side.type.scale)) for side in (x, y)))
    narrow = _narrowed(result)
    return narrow.cast(types.decimal(38 if narrow.type.precision <= 38 else 76, scale))


def _natural(sign: str, a: Any, b: Any) -> tuple[int, int]:
    if sign == "*":
        return a.precision + b.precision + 1, a.scale + b.scale
    scale = max(a.scale, b.scale)
    return max(a.precision - a.scale, b.precision - b.scale) + scale + 1, scale


def _narrowed(values: Any) -> Any:
    """In the least precision that holds the very values."""
    if isinstance(values, pa.Scalar):
        return values
    bounds = pc.min_max(values).as_py()
    if bounds["min"] is None:
        return values
    largest = max(abs(bounds["min"]), abs(bounds["max"]))
    scale = values.type.scale
    digits = max(int(largest.scaleb(scale, scalar.EXACT)).__str__().__len__(), scale, 1)
    return values.cast(types.decimal(digits, scale))


def _decimal_quotient(run: Run, a: Value, b: Value) -> pa.Array | None:
    """Half up to 10 digits or as many as the two have, while 64 bits hold all that it takes."""
    x, y = _decimal(a), _decimal(b)
    if x is None or y is None:
        return None
    scale = max(10, x.type.scale, y.type.scale)
    shift = scale - x.type.scale + y.type.scale
    if shift > 18 or scale > 28:
        return None
    x, y = (pa.array([side.as_py()], side.type) if isinstance(side, pa.Scalar) else side for side in (x, y))
    upper, lower = _unscaled(x, 2**61 // 10**shift), _unscaled(y, 2**61)
    if upper is None or lower is None:
        return None
    missing: Flags = ~(
        upper.is_valid().to_numpy(zero_copy_only=False) & lower.is_valid().to_numpy(zero_copy_only=False)
    )
    n, d = upper.fill_null(0).to_numpy() * 10**shift, lower.fill_null(1).to_numpy()
    zero = ~missing & (d == 0)
    d = np.where(d == 0, 1, d)
    sign, n, d = np.sign(n) * np.sign(d), np.abs(n), np.abs(d)
    quotient, rest = n // d, n % d
    quotient = sign * (quotient + (rest >= d - rest))
    if zero.any():
        run.fail(zero, "Division by zero.")
    unscaled = pa.array(quotient, mask=missing | zero).cast(pa.decimal128(19, 0)).cast(pa.decimal128(38, 0))
    return pa.Array.from_buffers(pa.decimal128(38, scale), len(unscaled), unscaled.buffers(), offset=unscaled.offset)


_NEITHER_NUMBER_NOR_DATE = r"^[+-]?[.0-9]"


def _equal(a: Value, b: Value) -> Value | None:
    if isinstance(a, One) or isinstance(b, One):
        values: Value = b if isinstance(a, One) else a
        constant = next(side.value for side in (a, b) if isinstance(side, One))
        if isinstance(constant, float) and math.isnan(constant):
            return None
        return pa.array(equals(values, constant, len(values)), mask=values.is_null().to_numpy(zero_copy_only=False))
    assert isinstance(a, pa.Array)
    assert isinstance(b, pa.Array)
    if types.is_integer(a.type) and types.is_integer(b.type):
        return pc.equal(a, b)
    if a.type == b.type and not types.is_nested(a.type) and not isinstance(a.type, pa.BaseExtensionType):
        if a.type != types.VARCHAR:
            return pc.equal(a, b)
        unsure = pc.and_(pc.match_substring_regex(a, _NEITHER_NUMBER_NOR_DATE), pc.not_equal(a, b))
        if not pc.any(pc.and_(unsure, pc.match_substring_regex(b, _NEITHER_NUMBER_NOR_DATE))).as_py():
            return pc.equal(a, b)
    return None
