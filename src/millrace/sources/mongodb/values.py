"""BSON values as values of Millrace: what a column takes, what stands in JSON, and `_id` as text.

Sources: https://bsonspec.org/spec.html for the types, and
https://www.mongodb.com/docs/manual/reference/mongodb-extended-json/ for how JSON says those that it has not.
"""

from __future__ import annotations

import base64
import math
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, cast
from uuid import UUID

import bson
from bson import DatetimeMS, json_util
from bson.binary import Binary, UuidRepresentation
from bson.code import Code
from bson.codec_options import CodecOptions, DatetimeConversion
from bson.dbref import DBRef
from bson.decimal128 import Decimal128
from bson.errors import BSONError
from bson.int64 import Int64
from bson.max_key import MaxKey
from bson.min_key import MinKey
from bson.objectid import ObjectId
from bson.regex import Regex
from bson.timestamp import Timestamp

from millrace.data import json_text

# Nothing is brought to a type of Python that does not hold it: dates beyond its years, UUIDs of older drivers.
DECODING: CodecOptions[dict[str, Any]] = CodecOptions(
    document_class=dict,
    tz_aware=True,
    tzinfo=UTC,
    uuid_representation=UuidRepresentation.UNSPECIFIED,
    datetime_conversion=DatetimeConversion.DATETIME_AUTO,
)
_EXTENDED = json_util.JSONOptions(
    json_mode=json_util.JSONMode.CANONICAL,
    tz_aware=True,
    tzinfo=UTC,
    uuid_representation=UuidRepresentation.UNSPECIFIED,
    datetime_conversion=DatetimeConversion.DATETIME_AUTO,
)
PLAIN = frozenset((str, int, bool, float, type(None)))
"""Types of values that are the same in a column."""
_UUID_SUBTYPE = 4
_COEFFICIENT, _BIAS = (1 << 113) - 1, 6176
_MICROS = 1_000_000
# Text that says a value of another type, as `id_text` writes that.
_TAKEN = re.compile(r'[0-9a-f]{24}|-?[0-9]+(\.[0-9]+)?(e[-+]?[0-9]+)?|true|false|null|nan|-?inf|["{].*', re.DOTALL)


class Special(Exception):
    """A value that no logical type has; its words say what it is."""


def of_bson(data: bytes) -> dict[str, Any]:
    """The fields of a document; of those that come twice, the last."""
    return bson.decode(data, DECODING)


def extended(value: Any) -> str:
    """Canonical extended JSON, which `of_extended` reads back as the same value."""
    return json_util.dumps(value, json_options=_EXTENDED)


def of_extended(text: str) -> Any:
    """The value of extended JSON. Raises ValueError or TypeError for what is none."""
    return json_util.loads(text, json_options=_EXTENDED)


def column(value: Any) -> Any:
    """A value of a field of a document, as `data.rows` takes it. Raises Special."""
    kind = type(value)
    if kind in PLAIN:
        return value
    made = _COLUMN.get(kind)
    return made(value) if made is not None else nested(value)


def nested(value: Any) -> Any:
    """A value inside a document or an array, as JSON has it; what JSON has not is an object of extended JSON."""
    kind = type(value)
    if kind is float:
        return value if math.isfinite(value) else _float_word(value)
    if kind in PLAIN:
        return value
    if kind is dict:
        return {name: nested(one) for name, one in cast(dict[str, Any], value).items()}
    if kind is list:
        return [nested(one) for one in cast(list[Any], value)]
    made = _NESTED.get(kind)
    return made(value) if made is not None else json_text.loads(extended(value))


def id_text(value: Any, *, plain: bool = False) -> str:
    """`_id` as text. Two that MongoDB takes for different are different, unless ``plain``.

    ObjectIds are their hexadecimal digits, whole numbers their decimal ones, text is itself; text that looks like one
    of the others stands in quotation marks, and every other type is extended JSON.
    """
    if isinstance(value, str):
        return value if plain or _TAKEN.fullmatch(value) is None else json_text.dumps(value)
    if isinstance(value, ObjectId):
        return str(value)
    if isinstance(value, bool) or value is None:
        return json_text.dumps(value)
    if isinstance(value, int):
        return str(int(value))
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() else repr(value)
    if isinstance(value, Decimal128):
        number = value.to_decimal()
        # The same number as a whole one has the same place in the index of `_id`.
        if number.is_finite() and number == number.to_integral_value():
            return str(int(number))
        return str(number) if plain else extended(value)
    if isinstance(value, Binary) and (uuid := _uuid(value)) is not None:
        return str(uuid) if plain else json_text.dumps({"$uuid": str(uuid)})
    if plain and isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if plain and isinstance(value, datetime):
        return str(json_text.plain(value))
    return extended(value)


def ids_of(text: str) -> list[Any]:
    """Values whose `id_text` may be this; several, where plain text hides of which type they were."""
    found: list[Any] = [text]
    if ObjectId.is_valid(text):
        found.append(ObjectId(text))
    with suppress(ValueError, ArithmeticError):
        # Numbers are the same whatever their type.
        number = Decimal128(text)
        found += [number, float(text)]
        found += [int(text)] if text.lstrip("-").isdigit() and abs(int(text)) < 1 << 63 else []
    with suppress(ValueError):
        found.append(Binary.from_uuid(UUID(text)))
    with suppress(ValueError, TypeError, KeyError, BSONError):
        said = json_text.loads(text)
        if isinstance(said, dict) and "$uuid" in said:
            found.append(Binary.from_uuid(UUID(str(said["$uuid"]))))
        elif not isinstance(said, int | float | Decimal):
            found.append(of_extended(text))
    return found


def moment_of(value: Any) -> datetime | None:
    """The moment of a date, a timestamp or an ObjectId, aware; None for every other value."""
    match value:
        case datetime():
            return value if value.tzinfo else value.replace(tzinfo=UTC)
        case Timestamp():
            return datetime.fromtimestamp(value.time, UTC)
        case ObjectId():
            return value.generation_time
        case _:
            return None


def _float_word(value: float) -> str:
    return "NaN" if value != value else ("Infinity" if value > 0 else "-Infinity")


def _uuid(value: Binary) -> UUID | None:
    return UUID(bytes=bytes(value)) if value.subtype == _UUID_SUBTYPE and len(value) == 16 else None


def _binary(value: Binary) -> bytes | UUID:
    return _uuid(value) or bytes(value)


def number_of(value: Decimal128) -> Decimal:
    """The number, also one that is none. As the driver says it, at a fourth of the time.

    Source: https://github.com/mongodb/specifications/blob/master/source/bson-decimal128/decimal128.md (binary integer
    decimals)
    """
    bits = int.from_bytes(value.bid, "little")
    if bits >> 125 & 3 == 3:
        return value.to_decimal()
    sign = "-" if bits >> 127 else ""
    return Decimal(f"{sign}{bits & _COEFFICIENT}E{(bits >> 113 & 0x3FFF) - _BIAS}")


def _decimal(value: Decimal128) -> Decimal:
    number = number_of(value)
    if not number.is_finite():
        raise Special(f"{value} among decimals")
    return number


def _timestamp(value: Timestamp) -> datetime:
    """The seconds, and the counter within them as microseconds: no two are the same, and their order stays."""
    if value.inc >= _MICROS:
        raise Special(f"a timestamp with the counter {value.inc}")
    return datetime.fromtimestamp(value.time, UTC) + timedelta(microseconds=value.inc)


def _far_date(value: DatetimeMS) -> datetime:
    raise Special(f"a date {int(value)} ms from 1970 on, which is outside of the years 1 to 9999")


def _code(value: Code) -> Any:
    return str(value) if value.scope is None else {"$code": str(value), "$scope": nested(dict(value.scope))}


def _regex(value: Regex[Any]) -> str:
    pattern, options = _parts(value)
    return f"/{pattern}/{options}"


def _parts(value: Regex[Any]) -> tuple[str, str]:
    said: Mapping[str, Any] = json_text.loads(extended(value))["$regularExpression"]
    return said["pattern"], said["options"]


def _dbref(value: DBRef) -> Any:
    return nested(dict(value.as_doc()))


def _nested_decimal(value: Decimal128) -> Any:
    number = number_of(value)
    return number if number.is_finite() else str(number)


def _nested_binary(value: bytes) -> Any:
    if isinstance(value, Binary) and (uuid := _uuid(value)) is not None:
        return str(uuid)
    subtype = value.subtype if isinstance(value, Binary) else 0
    return {"$binary": {"base64": base64.b64encode(value).decode(), "subType": f"{subtype:02x}"}}


def _name(value: MinKey | MaxKey) -> str:
    return type(value).__name__


_COLUMN: Mapping[type, Callable[[Any], Any]] = {
    ObjectId: str,
    Binary: _binary,
    Decimal128: _decimal,
    Timestamp: _timestamp,
    DatetimeMS: _far_date,
    datetime: lambda value: value,
    bytes: lambda value: value,
    Int64: lambda value: value,
    Code: _code,
    Regex: _regex,
    MinKey: _name,
    MaxKey: _name,
    DBRef: _dbref,
}
_NESTED: Mapping[type, Callable[[Any], Any]] = {
    ObjectId: str,
    Binary: _nested_binary,
    bytes: _nested_binary,
    Int64: int,
    Decimal128: _nested_decimal,
    datetime: json_text.plain,
    DBRef: _dbref,
}
