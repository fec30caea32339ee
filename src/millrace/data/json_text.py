"""Python values as JSON text and back, with every digit kept."""

from __future__ import annotations

import base64
import datetime as dt
import json
import math
import re
import uuid
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Any, cast

import msgspec
import orjson

from millrace.data.batch import JSON
from millrace.errors import DataError

_OPTIONS = orjson.OPT_PASSTHROUGH_DATETIME | orjson.OPT_PASSTHROUGH_DATACLASS | orjson.OPT_PASSTHROUGH_SUBCLASS
# Numbers that a float or a 64-bit integer may not hold; in strings they match too, which only costs time.
_LONG_NUMBER = re.compile(r"[0-9.]{16,}|[0-9][eE]")


def dumps(value: JSON) -> str:
    """Compact JSON text, keys in their order, numbers with all their digits.

    Moments, dates and bytes are strings in the forms of `data.writing`; a Decimal is a number; `msgspec.Raw` goes
    in as it is. NaN and infinities, which JSON has not, are written as the words NaN, Infinity and -Infinity.
    Raises DataError for an object of another kind, and for one that nests too deep.
    """
    return dumped(value)[0]


def dumped(value: JSON) -> tuple[str, bool]:
    """The text of `dumps`, and whether it is JSON: it has no NaN and no infinity."""
    if type(value) is msgspec.Raw:
        return bytes(value).decode(), True
    try:
        written = orjson.dumps(value, _default, _OPTIONS)
        if b"null" not in written or _is_finite(value):
            return written.decode(), True
    except TypeError:
        pass  # more than 64 bits, a key that is no string, half a surrogate pair, or truly no JSON
    try:
        return _written(value), _is_finite(value)
    except RecursionError:
        raise DataError("A value nests too deep to be JSON.", hint="Flatten it in the source.") from None


# What nests deeper cannot be written as JSON again by every part of a run, and no run would come past it.
DEEPEST = 200


def too_deep(text: bytes, value: JSON = None) -> bool:
    """Whether a value nests deeper than `DEEPEST`. ``value``: what the text says, where that is known already. Raises
    ValueError for what is no JSON."""
    if text.count(b"[") + text.count(b"{") <= DEEPEST:
        return False
    level: list[JSON] = [orjson.loads(text) if value is None else value]
    for _ in range(DEEPEST + 1):
        level = [one for one in level if isinstance(one, (dict, list))]
        level = [below for one in level for below in (one.values() if isinstance(one, dict) else one)]
        if not level:
            return False
    return True


def loads(text: str) -> JSON:
    """The value of JSON text. A number that a float would change, or of very many digits, is a Decimal.

    Raises ValueError for what is no JSON, and for a number that no Decimal is, RecursionError for what nests too deep.
    """
    if _LONG_NUMBER.search(text) is None:
        return orjson.loads(text)
    return _DIGITS.decode(text)


def alike(text: str) -> str:
    """What JSON texts of one value have in common, in whatever order its fields stand; what is no JSON as it is."""
    try:
        return dumps(_ordered(loads(text)))
    except (ValueError, RecursionError, DataError):
        return text


def _ordered(value: JSON) -> JSON:
    if isinstance(value, dict):
        return {name: _ordered(value[name]) for name in sorted(value)}
    return [_ordered(one) for one in value] if isinstance(value, list) else value


def plain(value: object) -> str | None:
    """The text of a moment, date, time, span, UUID or bytes; None for every other value."""
    match value:
        case dt.datetime():
            utc = value.astimezone(dt.UTC).replace(tzinfo=None) if value.tzinfo else value
            return utc.isoformat(timespec="microseconds") + ("Z" if value.tzinfo else "")
        case dt.date():
            return value.isoformat()
        case dt.time():
            return value.isoformat(timespec="microseconds")
        case dt.timedelta():
            micros = value // dt.timedelta(microseconds=1)
            seconds = f"{abs(micros) // 10**6}.{abs(micros) % 10**6:06d}".rstrip("0").rstrip(".")
            return f"PT{'-' if micros < 0 else ''}{seconds}S"
        case uuid.UUID():
            return str(value)
        case bytes() | bytearray() | memoryview():
            return base64.b64encode(value).decode()
        case _:
            return None


def _is_finite(value: Any) -> bool:
    """Whether there is no NaN or infinity at any depth."""
    match value:
        case str() | int() | None:
            return True
        case float():
            return math.isfinite(value)
        case dict() | Mapping():
            return all(map(_is_finite, cast(Mapping[Any, Any], value).values()))
        case list() | tuple():
            return all(map(_is_finite, cast(list[Any], value)))
        case Decimal():
            return value.is_finite()
        case _:
            return True


def _default(value: object) -> Any:
    return orjson.Fragment(_written(value))


def _written(value: Any) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case str():
            return _string(value)
        case int():
            return int.__repr__(value)
        case float():
            if math.isfinite(value):
                return float.__repr__(value)
            return "NaN" if value != value else ("Infinity" if value > 0 else "-Infinity")
        case Decimal():
            return str(value) if value.is_finite() else _written(math.nan if value.is_nan() else float(value))
        case Mapping():
            return "{" + ",".join(f"{_string(_key(key))}:{_written(item)}" for key, item in value.items()) + "}"
        case list() | tuple():
            return "[" + ",".join(map(_written, value)) + "]"
        case msgspec.Raw():
            return bytes(value).decode()
        case _:
            if (text := plain(value)) is not None:
                return _string(text)
            raise DataError(
                f"A value of the Python type {type(value).__name__} has no JSON form.",
                hint="Yield numbers, text, booleans, dates, bytes, lists and dicts.",
            )


def _string(text: str) -> str:
    try:
        return orjson.dumps(str(text)).decode()
    except TypeError:  # half a surrogate pair, which only an escape can say
        return json.dumps(text)


def _key(key: object) -> str:
    return key if isinstance(key, str) else _written(key).strip('"')


def _number(text: str) -> float | Decimal:
    nearest = float(text)
    try:
        exact = Decimal(text)
    except InvalidOperation:
        raise ValueError(f"the number {text[:40]} has an exponent that no decimal has") from None
    return nearest if math.isfinite(nearest) and Decimal(repr(nearest)) == exact else exact


def _whole(text: str) -> int | Decimal:
    # Python makes no integer of more digits, which would take it long.
    return int(text) if len(text) <= _MOST_DIGITS else Decimal(text)


_MOST_DIGITS = 4300


def _no_number(text: str) -> None:
    raise ValueError(f"{text} is no JSON")


# Made once: `json.loads` would make one for every text.
_DIGITS = json.JSONDecoder(parse_float=_number, parse_int=_whole, parse_constant=_no_number)
