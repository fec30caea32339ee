"""Values of columns as they travel: in the guest, from the bytes of a frame and into those of an answer.

`frames` is the other side. Knows the standard library alone.
"""

from __future__ import annotations

import base64
import datetime as dt
import io
import json
import re
import struct
import uuid
from array import array
from collections.abc import Callable, Sequence, Set
from decimal import Decimal
from typing import Any, TypeAlias

_UTC = dt.timezone.utc  # noqa: UP017  `datetime.UTC` and this are one; this name is older
_EPOCH = dt.datetime(1970, 1, 1)
_EPOCH_UTC = dt.datetime(1970, 1, 1, tzinfo=_UTC)
_DAY = dt.date(1970, 1, 1)
_MICROSECOND = dt.timedelta(microseconds=1)
_HALF = re.compile("[\ud800-\udfff]")

JsonText: TypeAlias = Callable[[Any], str]


def read(column: dict[str, Any], sections: Sequence[memoryview]) -> list[Any]:
    """Python values of a column whose first section is ``column["section"]``; those that are none are left out."""
    first = column["section"]
    data = sections[first]
    match column["kind"]:
        case "text" | "json":
            return _texts(numbers("i", data), sections[first + 1])
        case "long":
            return numbers("q", data).tolist()
        case "double":
            return numbers("d", data).tolist()
        case "boolean":
            return list(map(bool, data))
        case "decimal":
            return [Decimal(text) for text in bytes(data).decode().split(",")] if data else []
        case "date":
            return [_DAY + dt.timedelta(days=days) for days in numbers("q", data)]
        case "time":
            return [(_EPOCH + dt.timedelta(microseconds=micros)).time() for micros in numbers("q", data)]
        case "timestamp":
            return [_EPOCH + dt.timedelta(microseconds=micros) for micros in numbers("q", data)]
        case "timestamptz":
            return [_EPOCH_UTC + dt.timedelta(microseconds=micros) for micros in numbers("q", data)]
        case _:
            return [base64.b64decode(text) for text in json.loads(bytes(data))]


def numbers(kind: str, data: memoryview) -> array[Any]:
    found: array[Any] = array(kind)
    found.frombytes(data)
    return found


def _texts(lengths: array[Any], data: memoryview) -> list[str]:
    """Texts of these lengths in bytes, which lie one behind the other."""
    whole = str(data, "utf-8", "surrogatepass")
    if len(whole) == len(data):
        # This measures fastest.
        return list(map(io.StringIO(whole, "\n").read, lengths))
    return [str(part, "utf-8", "surrogatepass") for part in map(io.BytesIO(data).read, lengths)]


def encoded(value: Any, json_text: JsonText) -> Any:
    """A value as JSON can say it: what JSON has as it is, the rest as a list of a mark and text or a number.

    Raises TypeError and ValueError for what cannot be in an event.
    """
    kind = type(value)
    if kind is str:
        if not value.isascii():
            value.encode()
        return value
    if kind is bool:
        return value
    if kind is int:
        return value if -(1 << 63) <= value < 1 << 63 else ["integer", str(value)]
    if kind is float:
        return value if value - value == 0 else ["double", repr(value)]
    if isinstance(value, (dict, list, tuple)):
        return of_json(json_text(value))
    if isinstance(value, str):
        return encoded(str.__str__(value), json_text)
    if isinstance(value, int):
        return encoded(int.__pos__(value), json_text)
    if isinstance(value, float):
        return encoded(float.__pos__(value), json_text)
    if isinstance(value, Decimal):
        return ["decimal", str(value)]
    if isinstance(value, dt.datetime):
        if value.utcoffset() is None:
            return ["timestamp", (value.replace(tzinfo=None) - _EPOCH) // _MICROSECOND]
        return ["timestamptz", (value - _EPOCH_UTC) // _MICROSECOND]
    if isinstance(value, dt.date):
        return ["date", value.toordinal() - _DAY.toordinal()]
    if isinstance(value, dt.time):
        if value.tzinfo is not None:
            return ["timetz", value.isoformat()]
        return ["time", ((value.hour * 60 + value.minute) * 60 + value.second) * 1_000_000 + value.microsecond]
    if isinstance(value, (bytes, bytearray)):
        return ["bytes", base64.b64encode(value).decode()]
    if isinstance(value, uuid.UUID):
        return ["uuid", str(value)]
    raise TypeError(f"a value of type {kind.__name__} cannot be in an event")


def of_json(text: str) -> list[str]:
    """JSON as a value of an answer. Half a surrogate pair is no text, but JSON can say it as an escape."""
    return ["json", text if text.isascii() else _HALF.sub(lambda one: f"\\u{ord(one[0]):04x}", text)]


def written(
    values: Sequence[Any], sections: list[bytes], json_text: JsonText, kinds: Set[type] | None = None
) -> dict[str, Any]:
    """Values of an answer, plain ones or as `encoded` made them: as sections, or as JSON with one mark for all.

    ``kinds``: the values' types, where they are known.
    """
    kinds = kinds or set(map(type, values))
    kind = next(iter(kinds)) if len(kinds) == 1 else None
    first = len(sections)
    if kind is float:
        sections.append(_packed("d", values))
        return {"kind": "doubles", "values": first}
    if kind is bool:
        sections.append(bytes(values))
        return {"kind": "booleans", "values": first}
    if kind is str:
        _add_texts(values, sections)
        return {"kind": "texts", "values": first}
    if kind is int:
        try:
            sections.append(_packed("q", values))
        except struct.error:
            pass
        else:
            return {"kind": "longs", "values": first}
    told = [value if type(value) is list else encoded(value, json_text) for value in values]
    mark = told[0][0] if type(told[0]) is list else None
    if mark is not None and all(type(value) is list and value[0] == mark for value in told):
        if mark == "json":
            _add_texts([value[1] for value in told], sections)
            return {"kind": "jsons", "values": first}
        return {"kind": mark, "values": [value[1] for value in told]}
    return {"kind": None, "values": told}


def _add_texts(values: Sequence[str], sections: list[bytes]) -> None:
    data = "".join(values).encode()
    lengths = list(map(len, values))
    if sum(lengths) != len(data):
        lengths = [len(value.encode()) for value in values]
    sections += [_packed("i", lengths), data]


def places(rows: Sequence[int], sections: list[bytes]) -> int:
    """Numbers of rows as a section; which one it is."""
    sections.append(_packed("i", rows))
    return len(sections) - 1


def _packed(kind: str, values: Sequence[Any]) -> bytes:
    # Much faster than an array of them.
    return struct.pack(f"={len(values)}{kind}", *values)
