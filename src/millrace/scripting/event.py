"""The event that a script is given, and those that it makes. Source: transformations.md 2.2."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable, Mapping
from typing import Any, ClassVar

from . import values
from .properties import Properties, nested


class Event:
    """An event: a name and properties.

    ``made`` tells an event that code made from the one that it was given. ``number`` is the place of the given one in
    its batch.
    """

    __slots__ = ("_keys", "_modified_at", "_name", "_properties", "keys_set", "made", "number")

    # Other names of methods, for scripts that know them.
    ALIASES: ClassVar[dict[str, str]] = {
        "getPrimaryKey": "getPrimaryKeys",
        "setPrimaryKey": "setPrimaryKeys",
        "getName": "getEventName",
        "setEventName": "rename",
    }

    def __init__(self, eventname: str, properties: Mapping[str, Any]) -> None:
        self._name = _name(eventname)
        self._properties = _owned(properties)
        self._keys: list[str] = []
        self._modified_at: dt.datetime | None = None
        self.keys_set = False
        self.made = True
        self.number = -1

    @classmethod
    def received(
        cls,
        name: str,
        properties: Properties,
        *,
        primary_keys: list[str],
        source_modified_at: dt.datetime | None = None,
        number: int = 0,
    ) -> Event:
        """An event as it comes from the source. ``properties`` is taken as it is, not copied."""
        event = cls.__new__(cls)
        event._name = name
        event._properties = properties
        event._keys = primary_keys
        event._modified_at = source_modified_at
        event.keys_set = False
        event.made = False
        event.number = number
        return event

    def getEventName(self) -> str:
        return self._name

    def rename(self, new_event_name: str) -> None:
        """The event belongs to the event type of that name."""
        self._name = _name(new_event_name)

    def getProperties(self) -> Properties:
        """All properties, live: what is changed in them is changed in the event."""
        return self._properties

    def setProperties(self, properties: Mapping[str, Any]) -> None:
        """These properties take the place of all that were there."""
        old = self._properties
        if properties is old:
            return
        self._properties = _owned(properties)
        self._properties.touched = {*old, *(old.touched or ()), *self._properties}

    def getPrimaryKeys(self) -> list[str]:
        """Names of the fields that identify the event."""
        return list(self._keys)

    def setPrimaryKeys(self, keys: Iterable[str] | str) -> None:
        """These fields identify the event; a table that exists keeps its own key."""
        self._keys = [keys] if isinstance(keys, str) else [_field(key) for key in keys]
        self.keys_set = True

    def getSourceModifiedAt(self) -> dt.datetime | None:
        """When the source says that the event was created or changed; None where it does not say."""
        return self._modified_at

    def getType(self, fieldname: str) -> str:
        """Name of the type of a field's value; `null` for a field that is not there."""
        return values.type_name(self._properties.get(fieldname))

    def isString(self, fieldname: str) -> bool:
        return self._is(values.is_string, fieldname)

    def isNumber(self, fieldname: str) -> bool:
        """An integer, a float or a decimal; a boolean is none."""
        return self._is(values.is_number, fieldname)

    def isBoolean(self, fieldname: str) -> bool:
        return self._is(values.is_boolean, fieldname)

    def isDate(self, fieldname: str) -> bool:
        """A date; not a moment."""
        return self._is(values.is_date, fieldname)

    def isTime(self, fieldname: str) -> bool:
        """A time of day; not a moment."""
        return self._is(values.is_time, fieldname)

    def isTimestamp(self, fieldname: str) -> bool:
        return self._is(values.is_timestamp, fieldname)

    def _is(self, test: Callable[[Any], bool], fieldname: str) -> bool:
        return test(self._properties.get(fieldname))

    def __getattr__(self, name: str) -> Any:
        if (known := self.ALIASES.get(name)) is not None:
            return getattr(self, known)
        raise AttributeError(f"an event has no {name!r}; it has: {', '.join(_methods())}")

    def __repr__(self) -> str:
        return f"Event({self._name!r}, {self._properties!r})"


def _methods() -> list[str]:
    return sorted(name for name in vars(Event) if name[0] not in "_A" and callable(getattr(Event, name)))[:-1]


def _owned(properties: Mapping[str, Any]) -> Properties:
    """A copy, so that two events of one dict are two. Raises TypeError for what is no dict of fields."""
    if not isinstance(properties, Mapping):  # pyright: ignore[reportUnnecessaryIsInstance]  scripts pass anything
        raise TypeError(f"the properties of an event must be a dict, not {type(properties).__name__}")
    return Properties((_field(key), nested(value)) for key, value in properties.items())


def _name(name: Any) -> str:
    if not isinstance(name, str) or not name:
        raise TypeError(f"the name of an event must be text, not {name!r}")
    return name


def _field(key: Any) -> str:
    if not isinstance(key, str):
        raise TypeError(f"the name of a field must be text, not {key!r}")
    return key
