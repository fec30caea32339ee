"""The event that a script is given, and those that it makes. Source: transformations.md 2.2."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable, Mapping
from types import FunctionType
from typing import Any

from . import values
from .properties import Properties, owned


class Place:
    """Where a script is: at the event that it was given. Those that it makes meanwhile come from that one."""

    __slots__ = ("event",)

    def __init__(self) -> None:
        self.event: Event | None = None


PLACE = Place()


class Event:
    """An event: a name and properties.

    ``made`` tells an event that code made from the one that it was given. ``number`` is the place of the given one in
    its batch.
    """

    __slots__ = ("_keys", "_modified_at", "_name", "_origin", "_properties", "keys_set", "made", "number")

    def __init__(self, eventname: str, properties: Mapping[str, Any]) -> None:
        self._name = _name(eventname)
        self._properties = owned(properties)
        self._keys: list[str] = []
        self._modified_at: dt.datetime | Callable[[int], dt.datetime | None] | None = None
        self._origin: Event | None = PLACE.event
        self.keys_set = False
        self.made = True
        self.number = -1

    @classmethod
    def received(
        cls,
        name: str,
        properties: dict[str, Any],
        *,
        primary_keys: list[str],
        source_modified_at: dt.datetime | Callable[[int], dt.datetime | None] | None = None,
        number: int = 0,
    ) -> Event:
        """An event as it comes from the source. Properties are taken as they are, a plain dict is copied.

        ``source_modified_at`` may be a function of the number, for when somebody asks.
        """
        event = cls.__new__(cls)
        event._name = name
        event._properties = properties if isinstance(properties, Properties) else _received(properties)
        event._keys = primary_keys
        event._modified_at = source_modified_at
        event._origin = None
        event.keys_set = False
        event.made = False
        event.number = number
        return event

    def getEventName(self) -> str:
        return self._name

    def rename(self, new_event_name: str) -> None:
        """The event belongs to the event type of that name."""
        self._name = _name(new_event_name)
        self._properties.settled = False

    def getProperties(self) -> Properties:
        """All properties, live: what is changed in them is changed in the event."""
        return self._properties

    def setProperties(self, properties: Mapping[str, Any]) -> None:
        """These properties take the place of all that were there."""
        old = self._properties
        if properties is old:
            return
        self._properties = owned(properties)
        # Whoever holds the old ones is told too.
        names = (*self._properties.keys(), *old.keys(), *(old.touched or ()))
        old.touched = self._properties.touched = dict.fromkeys(names)
        old.settled = False

    def getPrimaryKeys(self) -> list[str]:
        """Names of the fields that identify the event: those of the event that it was made from, where it has them."""
        if self._origin is not None and not self.keys_set:
            keys = self._origin.getPrimaryKeys()
            return keys if all(key in self._properties for key in keys) else []
        return list(self._keys)

    def setPrimaryKeys(self, keys: Iterable[str] | str) -> None:
        """These fields identify the event; a table that exists keeps its own key."""
        self._keys = [keys] if isinstance(keys, str) else list(dict.fromkeys(_field(key) for key in keys))
        self.keys_set = True
        self._properties.settled = False

    def getSourceModifiedAt(self) -> dt.datetime | None:
        """When the source says that the event was created or changed; None where it does not say."""
        if self._origin is not None:
            return self._origin.getSourceModifiedAt()
        found = self._modified_at
        return found(self.number) if callable(found) else found

    def is_as_given(self, name: str, properties: Properties) -> bool:
        """It has that very name and those very properties still, and no keys of the script's."""
        return self._name is name and self._properties is properties and not self.keys_set

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

    def __copy__(self) -> Event:
        """A copy is an event that code made."""
        made = Event(self._name, self._properties)
        made._origin = self if self._origin is None else self._origin
        made._keys, made.keys_set = list(self._keys), self.keys_set
        return made

    def __deepcopy__(self, memo: dict[int, Any]) -> Event:
        del memo
        return self.__copy__()

    def __repr__(self) -> str:
        return f"Event({self._name!r}, {self._properties!r})"


# Other names of methods, for scripts that know them.
ALIASES = {
    "getPrimaryKey": "getPrimaryKeys",
    "setPrimaryKey": "setPrimaryKeys",
    "getName": "getEventName",
    "setEventName": "rename",
    "setName": "rename",
}

# Those with a `_` are ours.
METHODS = sorted(name for name, found in vars(Event).items() if "_" not in name and isinstance(found, FunctionType))

for _alias, _method in ALIASES.items():
    setattr(Event, _alias, getattr(Event, _method))


def _received(properties: dict[str, Any]) -> Properties:
    """Those of a plain dict. Its dicts and lists count as handed out: nobody sees when they change."""
    made = owned(properties)
    made.touched = {key: None for key, value in dict.items(made) if isinstance(value, (dict, list))} or None
    return made


def _name(name: Any) -> str:
    if not isinstance(name, str) or not name:
        raise TypeError(f"the name of an event must be text, not {name!r}")
    return name


def _field(key: Any) -> str:
    if not isinstance(key, str):
        raise TypeError(f"the name of a field must be text, not {key!r}")
    return key
