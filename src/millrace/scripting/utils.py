"""`Utils` of scripts. Source: transformations.md 2.4."""

from __future__ import annotations

import datetime as dt
import json
import os
from collections.abc import Iterable
from decimal import Decimal
from json.encoder import (
    c_make_encoder,  # pyright: ignore[reportAttributeAccessIssue]  typeshed leaves it out
    encode_basestring,
)
from typing import Any, ClassVar, NoReturn

from . import values
from .properties import Nested, decoded, nested


class Listed(type):
    """A class that says what it has when it is asked for something else."""

    ALIASES: dict[str, str]

    def __getattr__(cls, name: str) -> Any:
        if (known := cls.ALIASES.get(name)) is not None:
            return getattr(cls, known)
        return cls._unknown(name)

    def _unknown(cls, name: str) -> NoReturn:
        there = ", ".join(sorted(one for one in vars(cls) if one[0] != "_" and one != "ALIASES"))
        raise AttributeError(f"{cls.__name__} has no {name!r}; it has: {there}")


class Utils(metaclass=Listed):
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
        if not isinstance(string, str):  # pyright: ignore[reportUnnecessaryIsInstance]  scripts pass anything
            raise TypeError(f"jsonStringToDict takes text, not {type(string).__name__}")
        found = decoded(string)
        if not isinstance(found, Nested):
            raise ValueError(f"this is no JSON object but {values.type_name(found)}")
        return found

    @staticmethod
    def dictToJsonString(dict: Any) -> str:
        """The value as compact JSON text. Raises TypeError or ValueError for what JSON cannot say."""
        return encoded(dict)

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


# Made once, because most values need no more.
_encoder = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def _pieces(value: Any) -> Iterable[str]:
    """What `iterencode` of the encoder does, in half the time."""
    if c_make_encoder is None:  # not CPython
        return _encoder.iterencode(value)
    return c_make_encoder({}, _encoder.default, encode_basestring, None, ":", ",", False, False, False)(value, 0)


def encoded(value: Any) -> str:
    """Compact JSON text. Decimals are numbers with all their digits; dates and moments are text in ISO 8601.

    Bytes are base64. Raises ValueError for what is no finite number, TypeError for what has no JSON form.
    """
    try:
        return "".join(_pieces(value))
    except (TypeError, ValueError):
        # It has what JSON does not know; or it cannot be said, which is told below.
        pass
    mark = ""

    def plain(item: Any) -> Any:
        nonlocal mark
        if isinstance(item, Decimal) and item.is_finite():
            # JSON's writer knows no decimals. It writes a text that nobody else can have, whose quotes go afterwards.
            mark = mark or os.urandom(12).hex()
            return f"{mark}{item}{mark}"
        if isinstance(item, (dt.datetime, dt.date, dt.time)):
            return item.isoformat()
        if isinstance(item, (bytes, bytearray)):
            import base64

            return base64.b64encode(item).decode()
        if isinstance(item, Decimal):
            raise ValueError(f"JSON has no number {item}")
        raise TypeError(f"a value of type {type(item).__name__} has no JSON form")

    text = json.dumps(value, default=plain, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return text.replace(f'"{mark}', "").replace(f'{mark}"', "") if mark else text
