"""What a guest does with a slice: each event through the script, and groups of alike answers.

Most scripts read and set a few fields of an event and return it. Such events take the short way: their fields stay in
columns (`scripting.rows`), the next one is the same object at the next row, and what was set is read off the columns at
the end. All others are looked at one by one.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Sequence
from itertools import compress
from operator import itemgetter, not_
from sys import getrefcount
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from millrace.engine.python import cells
    from millrace.scripting.event import PLACE, Event
    from millrace.scripting.properties import Properties, decoded_plain
    from millrace.scripting.rows import ABSENT, Columns, RowProperties, Way, filled, row
    from millrace.scripting.script import Script, TransformFailed
    from millrace.scripting.utils import encoded as json_text
else:
    # In the guest it stands alone, with these beside it.
    import cells
    from scripting.event import PLACE, Event
    from scripting.properties import Properties, decoded_plain
    from scripting.rows import ABSENT, Columns, RowProperties, Way, filled, row
    from scripting.script import Script, TransformFailed
    from scripting.utils import encoded as json_text


Rest: TypeAlias = Callable[[], tuple[dict[str, Any], Sequence[memoryview]]]


class Work:
    """A script at work. ``progress``: where the host sees which event it is at, counted from 1.

    ``rest`` asks the host for the columns that it did not send at once.
    """

    def __init__(self, script: Script, progress: memoryview, rest: Rest) -> None:
        self._script = script
        self._rest = rest
        self._progress = progress

    def transformed(self, head: dict[str, Any], sections: Sequence[memoryview]) -> tuple[dict[str, Any], list[bytes]]:
        """The answer to one slice of a batch, and its sections."""
        columns = Received(head, sections, self._script, self._rest)
        answers = Answers(columns, head["stream"], traced=head["traced"])
        self._run(head, columns, answers)
        self._progress[0] = 0
        told = answers.told() | {"printed": self._script.printed}
        answers.untouched.end()
        columns.end()
        return told, answers.sections

    def _run(self, head: dict[str, Any], columns: Received, answers: Answers) -> None:
        # Everything that this loop asks for at every event is a local name.
        name, keys, progress, script = head["stream"], head["keys"], self._progress, self._script
        transform, by_hand, untouched = script.transform, script.by_hand, answers.untouched
        traced = head["traced"]
        last, append = untouched, untouched.rows.append
        event: Any = None
        fields: Any = None
        of_event = of_fields = 0
        for number in range(columns.count):
            progress[0] = number + 1
            if event is None:
                fields = row(columns, untouched)
                event = PLACE.event = Event.received(
                    name, fields, primary_keys=keys, source_modified_at=columns.modified_at
                )
                # As many as there are of us. When there is one more, the script keeps it.
                of_event, of_fields = getrefcount(event), getrefcount(fields)
            event.number = fields.at = number
            if by_hand:
                filled(fields)
            events = failure = None
            try:
                answer = transform(event)
                if (
                    answer is None
                    and fields.settled
                    and getrefcount(event) == of_event
                    and getrefcount(fields) == of_fields
                ):
                    answers.dropped += 1
                    fields.done = untouched
                    continue
                # When traced, only values of one type share a column: they are shown as they are.
                if answer is event and fields.settled and not traced:
                    answer = None
                    if getrefcount(event) == of_event and getrefcount(fields) == of_fields:
                        if (done := fields.done) is not last:
                            last, append = done, done.rows.append
                        append(number)
                        fields.done = untouched
                        continue
                    answer = event
                same = answer is event and event.is_as_given(name, fields)
                if answer is not None and not same:
                    events = script.accepted(answer)
            except BaseException as error:  # KeyboardInterrupt too: whatever ends a script, it has raised itself
                same = False
                failure = _told(script, error)
            answer = None
            if failure is not None:
                answers.fail(number, failure)
            elif same:
                answers.add(event, [event], number, same=True)
            elif events:
                answers.add(event, events, number, same=False)
            else:
                answers.dropped += 1
            events = failure = None
            if getrefcount(event) > of_event or getrefcount(fields) > of_fields:
                # What somebody keeps has a life of its own from here on.
                filled(fields)
                event = None
            elif type(fields) is RowProperties and event.is_as_given(name, fields):
                fields.done, fields.settled = untouched, True
            else:
                event = None


def _told(script: Script, error: BaseException) -> TransformFailed:
    try:
        return script.failed(error)
    except RecursionError:
        return TransformFailed("TRANSFORM_ERROR", "RecursionError: the answer nests too deep")


class Received(Columns):
    """The columns of a slice, as they came."""

    __slots__ = ("_came", "_modified", "_moments", "_rest")

    def __init__(self, head: dict[str, Any], sections: Sequence[memoryview], script: Script, rest: Rest) -> None:
        self._came: dict[str, tuple[list[dict[str, Any]], Sequence[memoryview]]] = {}
        self._rest = rest
        self._came_with(head, sections)
        self._modified = None if head["modified"] is None else ([head["modified"]], sections)
        self._moments: list[Any] | None = None
        super().__init__(
            head["count"],
            head["whole"],
            head["sparse"],
            frozenset(head["json"]),
            frozenset(head["hidden"]),
            script.fields,
            script.scope,
        )

    def _came_with(self, head: dict[str, Any], sections: Sequence[memoryview]) -> None:
        for name, parts in head["columns"].items():
            self._came[name] = (parts, sections)

    def load(self, name: str) -> list[Any]:
        if name not in self._came:
            self._came_with(*self._rest())
        return self._spread(*self._came[name])

    def modified_at(self, number: int) -> dt.datetime | None:
        """When the source says that the row was changed."""
        if self._modified is None:
            return None
        if self._moments is None:
            self._moments = self._spread(*self._modified)
        found = self._moments[number]
        return None if found is ABSENT else found

    def _spread(self, parts: Sequence[dict[str, Any]], sections: Sequence[memoryview]) -> list[Any]:
        """Values at their rows."""
        if parts[0]["rows"] is None:
            return cells.read(parts[0], sections)
        column: list[Any] = [ABSENT] * self.count
        for part in parts:
            values = cells.read(part, sections)
            for at, value in zip(cells.numbers("i", sections[part["rows"]]), values, strict=True):
                column[at] = value
        return column


class Answers:
    """What became of the events of a slice. ``untouched``: the way of those that came back as they were."""

    def __init__(self, columns: Columns, name: str, *, traced: bool) -> None:
        self._columns, self._name, self._traced = columns, name, traced
        self.untouched = Way()
        self.dropped = 0
        self.sections: list[bytes] = []
        self._failed: list[tuple[int, str, str]] = []
        # Names of event types and of fields that answers may have, as far as they were looked at.
        self._sayable: set[str] = set()
        self._settable: set[str] = set()
        self._groups: dict[tuple[str, bool, Any, Any], _Group] = {}

    def fail(self, number: int, failure: TransformFailed) -> None:
        text = f"{failure.message}\n{failure.trace}".strip() if self._traced else failure.message
        self._failed.append((number, failure.code, text[:4000]))

    def add(self, given: Event, events: list[Event], number: int, *, same: bool) -> None:
        """The answers of one event are in the groups; or it failed, when one of them cannot go on its way.

        ``same``: it is the given event alone, under its name, which may turn out to be untouched.
        """
        try:
            if not self._gather(given, events, number, same=same):
                self.untouched.rows.append(number)
        except (ValueError, TypeError, RecursionError, MemoryError, OverflowError) as wrong:
            code = "TRANSFORM_LIMIT" if isinstance(wrong, MemoryError) else "TRANSFORM_RESULT"
            self._failed.append((number, code, f"{_place(events, wrong)}{type(wrong).__name__}: {wrong}"[:4000]))

    def _gather(self, given: Event, events: list[Event], number: int, *, same: bool) -> bool:
        ready: list[tuple[Any, dict[str, Any], Sequence[str], int]] = []
        for place, event in enumerate(events):
            # An event that was given earlier is a new one here: it has nothing of the row of the present one.
            made = event.made or event is not given
            properties = event.getProperties()
            gone: Sequence[str] = ()
            if made:
                values: dict[str, Any] = {}
                plain = type(properties) is Properties and not properties.lazy
                for key, value in dict.items(properties) if plain else properties.items():
                    kind = type(value)
                    if (kind is str and value.isascii()) or kind is float or (kind is int and -_INT <= value < _INT):
                        values[key] = value
                    elif value is not None:
                        values[key] = cells.encoded(value, json_text)
            else:
                values, gone = self._changes(properties, number)
                if same and not values and not gone:
                    return False
            settable = self._settable
            if not settable.issuperset(values) or (gone and not settable.issuperset(gone)):
                self._check((*values, *gone))
            name = event.getEventName()
            if name not in self._sayable:
                name.encode()
                self._sayable.add(name)
            chosen = tuple(event.getPrimaryKeys()) if event.keys_set else None
            alike = tuple((key, _kind(value)) for key, value in values.items()) if self._traced else ()
            ready.append(((name, made, chosen, alike), values, gone, place))
        groups = self._groups
        for key, values, gone, place in ready:
            (groups.get(key) or self._group(key)).add(number, place, values, gone)
        return True

    def _check(self, keys: Sequence[str]) -> None:
        for key in keys:
            if key in self._columns.hidden:
                raise ValueError(f"the field {key} is Millrace's own and cannot be set or removed")
            key.encode()
            self._settable.add(key)

    def _changes(self, properties: Properties, number: int) -> tuple[dict[str, Any], list[str]]:
        """The fields of the given event that have another value now, and those that have none any more."""
        values: dict[str, Any] = {}
        gone: list[str] = []
        in_columns = isinstance(properties, RowProperties)
        for key in properties.done.touched() if in_columns else (properties.touched or ()):
            value = self._columns[key][number] if in_columns else dict.get(properties, key)
            there = value is not ABSENT if in_columns else key in properties
            text = _json_or_none(value) if there and key in self._columns.lazy else None
            if text is not None and self._as_before(key, text, number):
                continue
            if value is None or value is ABSENT:
                gone.append(key)
            elif text is not None and isinstance(value, (dict, list)):
                values[key] = cells.of_json(text)
            else:
                values[key] = cells.encoded(value, json_text)
        return values, gone

    def _as_before(self, key: str, now: str, number: int) -> bool:
        """The text of a field of JSON, which was handed out and may have been changed in place, says what it said."""
        text = self._columns.texts(key)[number]
        return text is not ABSENT and (now == text or now == json_text(decoded_plain(text)))

    def _group(self, key: tuple[str, bool, Any, Any]) -> _Group:
        found = self._groups.get(key)
        if found is None:
            found = self._groups[key] = _Group(*key[:3])
        return found

    def told(self) -> dict[str, Any]:
        """The answer as JSON; its numbers of sections are places in ``sections``."""
        plain = self.untouched.rows
        for way in self.untouched.treated():
            if way is not self.untouched:
                self._group((self._name, False, None, ())).add_all(way.rows, way.touched(), self._columns)
        return {
            "plain": cells.places(plain, self.sections),
            "groups": [group.told(self.sections) for group in self._groups.values()],
            "failed": self._failed,
            "dropped": self.dropped,
        }


def _kind(value: Any) -> object:
    """The type of a value of an answer; of a decimal its scale too."""
    if type(value) is not list:
        return type(value)
    mark, said = value
    return mark, len(said.partition(".")[2]) if mark == "decimal" else 0


def _json_or_none(value: Any) -> str | None:
    try:
        return json_text(value)
    except (TypeError, ValueError):
        return None


def _place(events: list[Event], wrong: Exception) -> str:
    """The field whose value goes wrong in that way, for the message."""
    for event in events:
        for key, value in dict.items(filled(event.getProperties())):
            try:
                cells.encoded(value, json_text)
            except Exception as again:
                if type(again) is type(wrong):
                    return f"the field {key}: "[:200]
    return ""


# Integers that an answer has as they are, beside greater ones.
_INT = 1 << 31
# Types of what stands where a field has no value.
_NOTHINGS = frozenset({type(None), type(ABSENT)})


class _Field:
    """Places in a group at which a field is set, and the values. ``since``: the first row that sets it, its turn.

    ``kinds``: the values' types, where they are known.
    """

    def __init__(
        self, since: tuple[int, int], at: Sequence[int] = (), values: Sequence[Any] = (), kinds: Any = None
    ) -> None:
        self.since, self.at, self.values, self.kinds = since, at, values, kinds

    def growing(self) -> tuple[list[int], list[Any]]:
        """Places and values, for more of them."""
        if type(self.at) is not list:
            self.at, self.values, self.kinds = list(self.at), list(self.values), None
        return self.at, self.values  # pyright: ignore[reportReturnType]  both are lists now


class _Group:
    """Answers of the same event type."""

    def __init__(self, name: str, made: bool, keys: tuple[str, ...] | None) -> None:
        self._head = {"name": name, "made": made, "keys": keys}
        self._rows: list[int] = []
        self._places: list[int] = []
        self._fields: dict[str, _Field] = {}
        self._removed: dict[str, list[int]] = {}
        # The last rows, which set the same fields, are no columns yet.
        self._names: tuple[str, ...] = ()
        self._last: list[tuple[Any, ...]] = []

    def add(self, number: int, place: int, values: dict[str, Any], gone: Sequence[str]) -> None:
        names = tuple(values)
        if names != self._names:
            self._end()
            self._names = names
        for name in gone:
            self._removed.setdefault(name, []).append(len(self._rows))
        self._rows.append(number)
        self._places.append(place)
        self._last.append(tuple(values.values()))

    def _end(self) -> None:
        """The last rows are in columns."""
        if self._last:
            at = range(len(self._rows) - len(self._last), len(self._rows))
            for turn, (name, values) in enumerate(zip(self._names, zip(*self._last, strict=True), strict=True)):
                self._set(name, turn, at, values)
            self._last = []

    def _set(self, name: str, turn: int, at: Sequence[int], values: Sequence[Any], kinds: Any = None) -> None:
        since = (self._rows[at[0]], turn)
        found = self._fields.get(name)
        if found is None:
            self._fields[name] = _Field(since, at, values, kinds)
            return
        found.since = min(found.since, since)
        many, more = found.growing()
        many.extend(at)
        more.extend(values)

    def add_all(self, rows: list[int], names: list[str], columns: Columns) -> None:
        """Rows that were treated alike, with the values that their columns have."""
        self._end()
        start = len(self._rows)
        self._rows += rows
        self._places += [0] * len(rows)
        for turn, name in enumerate(names):
            values: Any = itemgetter(*rows)(columns[name]) if len(rows) > 1 else [columns[name][rows[0]]]
            at: Any = range(start, start + len(rows))
            kinds = set(map(type, values))
            if not _NOTHINGS.isdisjoint(kinds):
                kept = [value is not None and value is not ABSENT for value in values]
                self._removed.setdefault(name, []).extend(compress(at, map(not_, kept)))
                at, values = list(compress(at, kept)), list(compress(values, kept))
                if not values:
                    continue
                kinds -= _NOTHINGS
            self._set(name, turn, at, values, kinds)

    def told(self, sections: list[bytes]) -> dict[str, Any]:
        self._end()
        count = len(self._rows)
        return self._head | {
            "rows": cells.places(self._rows, sections),
            "places": cells.places(self._places, sections) if any(self._places) else None,
            "fields": {
                name: {"at": None if len(one.at) == count else cells.places(one.at, sections)}
                | cells.written(one.values, sections, json_text, one.kinds)
                for name, one in sorted(self._fields.items(), key=lambda item: item[1].since)
            },
            "removed": {
                name: None if len(at) == count else cells.places(at, sections) for name, at in self._removed.items()
            },
        }
