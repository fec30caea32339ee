"""The properties of an event: a dict that scripts of old and of today may use, and that knows what was touched."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from decimal import Decimal
from typing import Any, cast

_NOTHING: frozenset[str] = frozenset()
_MISSING = object()

_get: Callable[[dict[str, Any], str], Any] = dict.__getitem__
_get_or: Callable[[dict[str, Any], str, Any], Any] = dict.get
_put: Callable[[dict[str, Any], str, Any], None] = dict.__setitem__

# What a value of a field mostly is. None of these has a value inside.
_SCALARS = frozenset({str, int, float, bool, type(None), Decimal})


class Nested(dict[str, Any]):
    """A dict whose `keys`, `values` and `items` are lists, so that it may be changed while they are looped over."""

    __slots__ = ()

    # Python's own dict answers with views, which follow it.
    def keys(self) -> list[str]:  # pyright: ignore[reportIncompatibleMethodOverride]  lists are the point
        return list(self)

    def values(self) -> list[Any]:  # pyright: ignore[reportIncompatibleMethodOverride]  lists are the point
        return [value for _, value in dict.items(self)]

    def items(self) -> list[tuple[str, Any]]:  # pyright: ignore[reportIncompatibleMethodOverride]  lists are the point
        return list(dict.items(self))

    def has_key(self, key: str) -> bool:
        return key in self

    def iterkeys(self) -> Iterator[str]:
        return iter(self.keys())

    def itervalues(self) -> Iterator[Any]:
        return iter(self.values())

    def iteritems(self) -> Iterator[tuple[str, Any]]:
        return iter(self.items())


def owned(properties: Mapping[str, Any]) -> Properties:
    """A copy as properties of an event of its own. Raises TypeError for what is no dict of fields."""
    if type(properties) is not dict and not isinstance(properties, Mapping):  # pyright: ignore[reportUnnecessaryIsInstance]  scripts pass anything
        raise TypeError(f"the properties of an event must be a dict, not {type(properties).__name__}")
    made = dict.__new__(Properties)
    made.touched, made.lazy = None, _NOTHING
    # A plain dict goes over as it is; of others each field would be set by itself.
    dict.update(made, properties if type(properties) is dict else dict(properties))
    for key, value in dict.items(made):
        if type(key) is not str and not isinstance(key, str):  # pyright: ignore[reportUnnecessaryIsInstance]  as above
            raise TypeError(f"the name of a field must be text, not {key!r}")
        if type(value) not in _SCALARS and isinstance(value, (dict, list)):
            dict.__setitem__(made, key, nested(value))
    return made


def nested(value: Any) -> Any:
    """The value with `Nested` in the place of every dict in it."""
    if isinstance(value, dict):
        found = cast("dict[str, Any]", value)
        return Nested((key, nested(item) if isinstance(item, (dict, list)) else item) for key, item in found.items())
    if isinstance(value, list):
        items = cast("list[Any]", value)
        return [nested(item) if isinstance(item, (dict, list)) else item for item in items]
    return value


def decoded(text: str) -> Any:
    """The value of JSON text, dicts in it `Nested`. A number that a float would change is a Decimal."""
    return _decoded(_nested, text)


def decoded_plain(text: str) -> Any:
    """The same, dicts in it Python's own."""
    return _decoded(_plain, text)


def _decoded(decoder: json.JSONDecoder, text: str) -> Any:
    try:
        value, end = decoder.scan_once(text, 0)  # pyright: ignore[reportAttributeAccessIssue]  as `decode` does
    except StopIteration:
        value, end = None, -1
    # What has space around it, or is no JSON, is the decoder's.
    return value if end == len(text) else decoder.decode(text)


def _number(text: str) -> float | Decimal:
    near = float(text)
    # So few digits come back from a float as they were.
    if len(text) <= 15 and "e" not in text and "E" not in text:
        return near
    exact = Decimal(text)
    return near if Decimal(repr(near)) == exact else exact


_nested = json.JSONDecoder(object_hook=Nested, parse_float=_number)
_plain = json.JSONDecoder(parse_float=_number)


class Properties(Nested):
    """The properties of one event, live: what is changed here is changed in the event.

    ``lazy`` names the fields whose value comes as JSON text, which is read when somebody asks for it; other values
    must be such that nobody can change them in place. ``touched`` has the fields that were set, deleted, or whose value
    was handed out and may have been changed in place, in the order in which that happened first, so that new columns
    come in the order of the script; None while there is none. Whoever gave the values needs to look at those alone.
    """

    # Those behind `lazy` are of `rows.RowProperties`, which becomes one of these: both must be of one form.
    __slots__ = ("at", "columns", "done", "lazy", "settled", "touched")
    touched: dict[str, None] | None
    lazy: frozenset[str]

    # What it is made of goes to the `__init__` of every dict.
    def __new__(cls, *given: Any, **fields: Any) -> Properties:
        del given, fields
        made = dict.__new__(cls)
        made.touched, made.lazy = None, _NOTHING
        return made

    def _touch(self, key: str) -> None:
        if self.touched is None:
            self.touched = {key: None}
        else:
            self.touched[key] = None

    def _touch_all(self) -> None:
        """Every lazy field is handed out."""
        for key in self.lazy:
            if key in self:
                self._handed_out(key)

    def _opened(self, key: str, text: str) -> Any:
        value = decoded(text)
        dict.__setitem__(self, key, value)
        self._touch(key)
        return value

    # Reading.

    # Most fields are not lazy, and most scripts do little else than reading: this is the way that measures fastest.
    def __getitem__(self, key: str) -> Any:
        if key in self.lazy:
            return self._handed_out(key)
        return _get(self, key)

    def get(self, key: str, default: Any = None) -> Any:
        if key in self.lazy and key in self:
            return self._handed_out(key)
        return _get_or(self, key, default)

    def _handed_out(self, key: str) -> Any:
        value = _get(self, key)
        return value if self.touched and key in self.touched else self._opened(key, value)

    # With `__iter__` of its own, `dict(properties)` and `**properties` ask `keys` and `__getitem__`.
    def __iter__(self) -> Iterator[str]:
        return dict.__iter__(self)

    def values(self) -> list[Any]:  # pyright: ignore[reportIncompatibleMethodOverride]  lists are the point
        self._touch_all()
        return super().values()

    def items(self) -> list[tuple[str, Any]]:  # pyright: ignore[reportIncompatibleMethodOverride]  lists are the point
        self._touch_all()
        return super().items()

    def copy(self) -> Nested:  # pyright: ignore[reportIncompatibleMethodOverride]  a plain copy
        return Nested(self.items())

    def __eq__(self, other: object) -> bool:
        self._touch_all()
        if isinstance(other, Properties):
            other._touch_all()
        return dict.__eq__(self, other)

    def __ne__(self, other: object) -> bool:
        return not self == other

    __hash__ = None  # pyright: ignore[reportAssignmentType]  as of every dict

    def __repr__(self) -> str:
        return repr(dict(self.items()))

    def __or__(self, other: Mapping[str, Any]) -> Nested:  # pyright: ignore[reportIncompatibleMethodOverride]  stays one
        made = self.copy()
        made.update(other)
        return made

    def __ror__(self, other: Mapping[str, Any]) -> Nested:  # pyright: ignore[reportIncompatibleMethodOverride]  stays one
        made = Nested(other)
        made.update(self.items())
        return made

    def __reduce__(self) -> tuple[Any, ...]:
        return (Nested, (self.items(),))

    # Changing.

    def __setitem__(self, key: str, value: Any) -> None:
        if not isinstance(key, str):  # pyright: ignore[reportUnnecessaryIsInstance]  scripts pass anything
            raise TypeError(f"the name of a field must be text, not {key!r}")
        touched = self.touched
        if touched is None:
            self.touched = {key: None}
        else:
            touched[key] = None
        _put(self, key, value)

    def __delitem__(self, key: str) -> None:
        dict.__delitem__(self, key)
        self._touch(key)

    def update(self, *others: Any, **more: Any) -> None:
        for key, value in dict(*others, **more).items():
            self[key] = value

    def __ior__(self, other: Mapping[str, Any] | Iterable[tuple[str, Any]]) -> Properties:  # pyright: ignore[reportIncompatibleMethodOverride]  stays one
        self.update(other)
        return self

    def setdefault(self, key: str, default: Any = None) -> Any:
        if key not in self:
            self[key] = default
        return self[key]

    def pop(self, key: str, *default: Any) -> Any:
        if key not in self and default:
            return default[0]
        value = self[key]
        del self[key]
        return value

    def popitem(self) -> tuple[str, Any]:
        key = next(reversed(self), _MISSING)
        if key is _MISSING:
            raise KeyError("popitem(): dictionary is empty")
        name = cast(str, key)
        return name, self.pop(name)

    def clear(self) -> None:
        for key in list(self):
            del self[key]
