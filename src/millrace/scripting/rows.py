"""Properties of an event that still lie in columns: most scripts touch two or three fields of a row.

What a script reads by name is read from the column, what it sets is set there. Whatever else it does (looping,
counting, comparing, JSON) makes a dict of the row first, and from then on its properties are those of any event.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any, Final, Literal, TypeAlias, cast

from .properties import Properties, decoded

Deed: TypeAlias = Literal["set", "removed", "opened"]

# Fields that columns are made for beside those of the source, and ways to treat a row, in one slice. Rows that do more
# are dicts; nothing but time depends on it.
MOST_NEW = 200
MOST_WAYS = 2_000
# Names of fields that are nowhere, which are remembered.
_MOST_NAMES = 5_000


class Mark:
    """Stands in a column where there is no value."""

    __slots__ = ("_name",)

    def __init__(self, name: str) -> None:
        self._name = name

    def __repr__(self) -> str:
        return self._name


ABSENT: Final = Mark("absent")
# JSON whose text nobody has asked for.
UNREAD: Final = Mark("unread")
# Where a script's globals have properties that lie in columns; no name of a script can begin so. And what is there
# while there are none, which no script can have.
ROW: Final = "@row"
NO_ROW: Final = Mark("no row")

# Values that nobody can change in place and that every answer can hold, beside ASCII and integers of 64 bits.
_PLAIN: Final = frozenset({float, bool, type(None), Decimal, dt.date})
_LONG: Final = 1 << 63


def _holds(value: Any) -> bool:
    """Nobody can change the value in place, and every answer can hold it."""
    kind = type(value)
    if kind is str:
        return value.isascii()
    return -_LONG <= value < _LONG if kind is int else kind in _PLAIN


class Full(Exception):
    """Columns do not take it: the row must become a dict."""


class Way(dict[str, "Way"]):
    """What a script did to a row, in order. Rows that were treated alike share one: it is a node of a tree.

    A step further for a field that is set is the item of that name. ``rows`` is for who goes through the rows.
    """

    __slots__ = ("_above", "_deed", "_key", "_others", "_touched", "_tree", "rows")

    def __init__(self, above: Way | None = None, key: str = "", deed: Deed = "set") -> None:
        super().__init__()
        self._above = above
        self._key = key
        self._deed: Deed = deed
        self._tree: list[Way] = [] if above is None else above._tree
        self._others: dict[tuple[str, Deed], Way] = {}
        self._touched: list[str] | None = None
        self.rows: list[int] = []

    def __missing__(self, key: str) -> Way:
        """One step further: the field is set. Raises Full."""
        found = self._step(key, "set")
        self[key] = found
        return found

    def removed(self, key: str) -> Way:
        """One step further: the field is gone. Raises Full."""
        return self._other(key, "removed")

    def opened(self, key: str) -> Way:
        """One step further: a nested value was handed out. Raises Full."""
        return self._other(key, "opened")

    def _other(self, key: str, deed: Deed) -> Way:
        found = self._others.get((key, deed))
        if found is None:
            found = self._others[key, deed] = self._step(key, deed)
        return found

    def _step(self, key: str, deed: Deed) -> Way:
        if self._last(key) == deed:
            return self
        if len(self._tree) >= MOST_WAYS:
            raise Full
        made = Way(self, key, deed)
        self._tree.append(made)
        return made

    def _last(self, key: str) -> Deed | None:
        """The last deed to the field, if there is one."""
        way = self
        while way._above is not None:
            if way._key == key:
                return way._deed
            way = way._above
        return None

    def deeds(self) -> list[tuple[str, Deed]]:
        """Fields and what was done to them, in order."""
        found: list[tuple[str, Deed]] = []
        way = self
        while way._above is not None:
            found.append((way._key, way._deed))
            way = way._above
        return found[::-1]

    def touched(self) -> list[str]:
        """The fields, in the order in which they were touched first."""
        if self._touched is None:
            self._touched = list(dict.fromkeys(key for key, _ in self.deeds()))
        return self._touched

    def treated(self) -> list[Way]:
        """All ways below the first one, itself included, that rows went."""
        return [way for way in (self, *self._tree) if way.rows]

    def end(self) -> None:
        """Nothing refers to the other ways any more; they refer to each other."""
        for way in (*self._tree, self):
            way.clear()
            way._others.clear()
            way._above = None
        self._tree.clear()


class Columns(dict[str, Any]):
    """Columns of a slice by name, each with a value, ABSENT or UNREAD for every row, read when one is asked for.

    Whoever has a row may set its place in a column. ``whole`` and ``sparse`` name the columns that are there for each
    row, and for some. ``lazy``: those of JSON; ``texts`` gives the text of each row.
    ``hidden``: names that no script may set. ``scope``: the script's globals. They have the columns of ``named`` fields
    under the names there as soon as those are read, and before that a column of nothing; those of JSON never.
    """

    __slots__ = (
        "_lists", "_named", "_new", "_none", "_sparse", "_texts", "_tuples",
        "count", "hidden", "lazy", "scope", "whole",
    )  # fmt: skip

    def __init__(
        self,
        count: int,
        whole: Sequence[str],
        sparse: Sequence[str],
        lazy: frozenset[str],
        hidden: frozenset[str],
        named: Mapping[str, str] | None = None,
        scope: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.count, self.lazy, self.hidden = count, lazy, hidden
        self.whole, self._sparse = list(whole), list(sparse)
        self._none = (ABSENT,) * count
        self._texts: dict[str, list[Any]] = {}
        self._tuples: list[tuple[Any, ...]] | None = None
        self._lists: dict[str, list[bool]] = {}
        self._new = 0
        self._named = {} if named is None else {name: named[name] for name in named if name not in lazy}
        self.scope = {} if scope is None else scope
        self.scope.update(dict.fromkeys((named or {}).values(), self._none))

    def load(self, name: str) -> list[Any]:
        """The values of a column of the source at their rows, elsewhere ABSENT; JSON as its text."""
        raise NotImplementedError

    def __missing__(self, key: str) -> Sequence[Any]:
        """The column, for reading; one that is not there is a tuple of nothing."""
        if key in self.lazy:
            column = [ABSENT if text is ABSENT else UNREAD for text in self.texts(key)]
        elif key in self.whole or key in self._sparse:
            column = self.load(key)
        else:
            if type(key) is str and len(self) < _MOST_NAMES:
                self[key] = self._none
            return self._none
        self._keep(key, column)
        return column

    def _keep(self, key: str, column: list[Any]) -> None:
        self[key] = column
        if key in self._named:
            self.scope[self._named[key]] = column

    def end(self) -> None:
        """The script's globals hold none of it any more."""
        self.scope.update({ROW: NO_ROW}, **dict.fromkeys(self._named.values(), ()))

    def texts(self, name: str) -> list[Any]:
        """The JSON text of each row."""
        found = self._texts.get(name)
        if found is None:
            found = self._texts[name] = self.load(name)
        return found

    def own(self, name: str) -> list[Any]:
        """The column, for writing. Raises Full where a row must be a dict to have it."""
        found = self[name]
        if isinstance(found, list):
            return cast("list[Any]", found)
        if name in self.hidden or self._new >= MOST_NEW or not _is_unicode(name):
            raise Full
        self._new += 1
        made: list[Any] = [ABSENT] * self.count
        self._keep(name, made)
        return made

    def original(self, at: int) -> dict[str, Any]:
        """The row as it was given, JSON as its text. To be asked for before a later row is touched."""
        if self._tuples is None:
            # All rows at once take little more time than one.
            columns = [self.texts(name) if name in self.lazy else self[name] for name in self.whole]
            self._tuples = list(zip(*columns, strict=True)) if columns else [()] * self.count
            for name in self._sparse:
                values = self.texts(name) if name in self.lazy else self.load(name)
                self._lists[name] = [value is not ABSENT for value in values]
        row = dict(zip(self.whole, self._tuples[at]))  # noqa: B905  they are of one length
        for name, there in self._lists.items():
            if there[at]:
                row[name] = (self.texts(name) if name in self.lazy else self[name])[at]
        return row


def _is_unicode(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


class RowProperties(Properties):
    """Properties of the row ``at`` of ``columns``; ``done`` is what a script did to it.

    ``settled``: the event is still the one that was given (name, keys, properties), all that was set in it can be in an
    answer, and nothing was handed out or set that could be changed in place.

    The dict below holds one item that means nothing, so that no function in C takes it for empty (JSON's does).
    """

    __slots__ = ()

    at: int
    columns: Columns
    done: Way
    settled: bool

    # `type(p)(…)` of a script.
    def __new__(cls, *given: Any, **fields: Any) -> Properties:
        return Properties(*given, **fields)

    # These are the ones that must be fast. A script may hold one of them (`get = p.get`) while its row becomes a dict;
    # then there are no columns any more, and each is that of `Properties`.

    def __getitem__(self, key: str) -> Any:
        try:
            value = self.columns[key][self.at]
        except AttributeError:
            return Properties.__getitem__(self, key)
        if value is ABSENT or value is UNREAD:
            return self._sought(key, value)
        return value

    def get(self, key: str, default: Any = None) -> Any:
        try:
            value = self.columns[key][self.at]
        except AttributeError:
            return Properties.get(self, key, default)
        if value is ABSENT:
            return default
        return self._sought(key, value) if value is UNREAD else value

    def __contains__(self, key: object) -> bool:
        try:
            return self.columns[cast(str, key)][self.at] is not ABSENT
        except AttributeError:
            return dict.__contains__(self, key)

    def __setitem__(self, key: str, value: Any) -> None:
        if type(key) is not str and not isinstance(key, str):  # pyright: ignore[reportUnnecessaryIsInstance]  scripts pass anything
            raise TypeError(f"the name of a field must be text, not {key!r}")
        if type(self) is RowProperties:
            put(value, self, key)
        else:
            Properties.__setitem__(self, key, value)

    def __delitem__(self, key: str) -> None:
        try:
            there = self.columns[key][self.at] is not ABSENT
        except AttributeError:
            return Properties.__delitem__(self, key)
        if not there:
            raise KeyError(key)
        try:
            self.done = self.done.removed(key)
        except Full:
            del filled(self)[key]
        else:
            self.columns[key][self.at] = ABSENT

    def __bool__(self) -> bool:
        try:
            columns, at = self.columns, self.at
        except AttributeError:
            return len(self) > 0
        return any(columns[name][at] is not ABSENT for name in columns.whole) or len(self) > 0

    def _sought(self, key: str, mark: Mark) -> Any:
        if mark is ABSENT:
            raise KeyError(key)
        value = decoded(self.columns.texts(key)[self.at])
        try:
            self.done = self.done.opened(key)
        except Full:
            return filled(self)[key]
        self.columns[key][self.at] = value
        self.settled = False
        return value

    # All others ask one of these, and are those of `Properties` then.

    def __iter__(self) -> Iterator[str]:
        return iter(filled(self))

    def __len__(self) -> int:
        return len(filled(self))

    def __reversed__(self) -> Iterator[str]:
        return reversed(filled(self))

    # A dict's own `__getitem__` asks it.
    def __missing__(self, key: str) -> Any:
        return dict.__getitem__(filled(self), key)

    def _touch_all(self) -> None:
        filled(self)._touch_all()


# What scripts read in errors.
RowProperties.__name__ = RowProperties.__qualname__ = Properties.__name__


def put(value: Any, properties: Any, key: str) -> None:
    """What ``properties[key] = value`` does, whatever they are."""
    if type(properties) is not RowProperties:
        properties[key] = value
        return
    try:
        properties.columns[key][properties.at] = value
        properties.done = properties.done[key]
    # The tuple of a column that is not there.
    except (TypeError, Full):
        properties.settled = False
        try:
            properties.columns.own(key)[properties.at] = value
            properties.done = properties.done[key]
        except Full:
            filled(properties)[key] = value
    else:
        kind = type(value)
        if kind is not float and not _holds(value):
            properties.settled = False


def row(columns: Columns, done: Way) -> RowProperties:
    """Properties that lie in these columns; whoever has them says at which row. Now they are the script's row."""
    made = dict.__new__(RowProperties)
    dict.__setitem__(made, cast(str, ABSENT), None)
    made.touched, made.lazy = None, columns.lazy
    made.columns, made.done, made.settled, made.at = columns, done, True, 0
    columns.scope[ROW] = made
    return made


def filled(properties: Properties) -> Properties:
    """The same object, no longer in columns."""
    if not isinstance(properties, RowProperties):
        return properties
    columns, at = properties.columns, properties.at
    fields = columns.original(at)
    for key, deed in properties.done.deeds():
        if deed == "removed":
            fields.pop(key, None)
        else:
            fields[key] = columns[key][at]
    touched = properties.done.touched()
    columns.scope[ROW] = NO_ROW
    del properties.columns, properties.done
    properties.settled = False
    properties.__class__ = Properties  # pyright: ignore[reportAttributeAccessIssue]  they are of one form
    dict.clear(properties)
    dict.update(properties, fields)
    properties.touched = dict.fromkeys(touched) if touched else None
    return properties
