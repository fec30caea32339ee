"""`Utils` of scripts. Source: transformations.md 2.4."""

from __future__ import annotations

import datetime as dt
import json
from decimal import Decimal
from typing import Any, ClassVar, NoReturn

from . import values
from .properties import Nested, decoded, nested


class _Listed(type):
    """A class that says what it has when it is asked for something else."""

    ALIASES: dict[str, str]

    def __getattr__(cls, name: str) -> Any:
        if (known := cls.ALIASES.get(name)) is not None:
            return getattr(cls, known)
        return cls._unknown(name)

    def _unknown(cls, name: str) -> NoReturn:
        there = ", ".join(sorted(one for one in vars(cls) if one[0] != "_" and one != "ALIASES"))
        raise AttributeError(f"{cls.__name__} has no {name!r}; it has: {there}")


class Utils(metaclass=_Listed):
    """Tests of values, JSON text, and nested objects as one level."""

    ALIASES: ClassVar[dict[str, str]] = {
        "isArray": "isList",
        "isMap": "isDict",
        "jsonStringToMap": "jsonStringToDict",
        "toJsonString": "dictToJsonString",
        "flatten": "flattenJson",
    }

    getType = staticmethod(values.type_name)
    isString = staticmethod(values.is_string)
    isNumber = staticmethod(values.is_number)
    isBoolean = staticmethod(values.is_boolean)
    isDate = staticmethod(values.is_date)
    isTime = staticmethod(values.is_time)
    isTimestamp = staticmethod(values.is_timestamp)

    @staticmethod
    def isDict(value: Any) -> bool:
        return isinstance(value, dict)

    @staticmethod
    def isList(value: Any) -> bool:
        return isinstance(value, (list, tuple))

    @staticmethod
    def jsonStringToDict(string: str) -> Nested:
        """The JSON object in a text. Raises ValueError for what is no JSON object."""
        found = decoded(string)
        if not isinstance(found, Nested):
            raise ValueError(f"this is no JSON object but {values.type_name(found)}")
        return found

    @staticmethod
    def dictToJsonString(dict: Any) -> str:
        """The value as compact JSON text. Dates and moments are text in ISO 8601, bytes are base64."""
        return json.dumps(dict, ensure_ascii=False, separators=(",", ":"), default=_plain)

    @staticmethod
    def flattenJson(dict: Any, separator: str = "_", depth: int | None = None) -> Nested:
        """Nested objects as one level, the keys on the way joined; ``depth`` levels at most. Arrays stay."""
        flat = Nested()
        _flatten(flat, "", dict, separator, depth)
        return flat


def _flatten(flat: Nested, path: str, value: Any, separator: str, depth: int | None) -> None:
    for key, item in value.items():
        name = f"{path}{separator}{key}" if path else key
        if isinstance(item, dict) and item and (depth is None or depth > 0):
            _flatten(flat, name, item, separator, None if depth is None else depth - 1)
        else:
            flat[name] = nested(item)


def _plain(value: Any) -> Any:
    import base64

    if isinstance(value, (dt.datetime, dt.date, dt.time)):
        return value.isoformat()
    if isinstance(value, Decimal):
        # A number where a float is that very number, else text, which keeps its digits.
        if value.is_finite() and value == value.to_integral_value():
            return int(value)
        return float(value) if Decimal(repr(float(value))) == value else str(value)
    if isinstance(value, (bytes, bytearray)):
        return base64.b64encode(value).decode()
    raise TypeError(f"a value of type {type(value).__name__} has no JSON form")
