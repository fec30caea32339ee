"""The part of CleverTap's query language that narrows events: which rows a body keeps."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import date, datetime

import orjson

from millrace.data.dataclass import dataclass
from millrace.simulators.clevertap.jsontext import JSON
from millrace.simulators.clevertap.store import Flags, Keep, Project, Snapshot

KNOWN = {
    "event_name",
    "from",
    "to",
    "groups",
    "event_properties",
    "session_properties",
    "common_profile_properties",
    "advanced_query",
}


@dataclass(frozen=True, slots=True)
class Event:
    """A row as conditions see it. ``at`` is epoch seconds."""

    device: int
    props: Mapping[str, JSON]
    at: int


Test = Callable[[Event], bool]


@dataclass(frozen=True, slots=True)
class Filter:
    """``keep`` decides over a row (None keeps all); ``notes`` name the parts of the query that are not understood."""

    keep: Keep | None
    notes: tuple[str, ...]


class BadQuery(ValueError):
    """A part of the query has the wrong shape."""


def parse_day(value: JSON) -> date | None:
    """The date of `20260301` or `"20260301"`; None when there is no such day."""
    text = str(value) if isinstance(value, int | str) and not isinstance(value, bool) else ""
    if len(text) != 8 or not text.isascii() or not text.isdigit():
        return None
    try:
        return date(int(text[:4]), int(text[4:6]), int(text[6:]))
    except ValueError:
        return None


def compiled(project: Project, query: Mapping[str, JSON], seen: Snapshot) -> Filter:
    """The filter of a query. Raises BadQuery."""
    notes = [f"ignored: {name}" for name in sorted(set(query) - KNOWN)]
    tests: list[Test] = [
        lambda e, c=condition: c.holds(e.props.get(c.name))
        for condition in _conditions(query.get("event_properties"), "event_properties")
    ]
    for condition in _conditions(query.get("session_properties"), "session_properties"):
        if condition.name == "time_of_day":
            low, high = _time_of_day(condition.values)
            tests.append(lambda e, low=low, high=high: low <= _clock_time(project, e.at) <= high)
        else:
            notes.append(f"ignored: session_properties.{condition.name}")
    common = _object(query, "common_profile_properties")
    notes += [f"ignored: common_profile_properties.{name}" for name in sorted(set(common) - {"profile_fields"})]
    tests += [
        lambda e, c=condition: c.holds(_profile_value(project, e.device, c.name, seen.at))
        for condition in _conditions(common.get("profile_fields"), "profile_fields")
    ]
    advanced = _object(query, "advanced_query")
    notes += [f"ignored: advanced_query.{name}" for name in sorted(set(advanced) - {"did_all", "did_none"})]
    for name, wanted in (("did_all", True), ("did_none", False)):
        for part in advanced.get(name) or []:
            people = _people_who_did(project, part, seen)
            tests.append(lambda e, p=people, w=wanted: (project.person(e.device) in p) == w)
    if not tests:
        return Filter(None, tuple(notes))

    def keep(device: int, tail: bytes, at: int) -> bool:
        props: Mapping[str, JSON] = orjson.loads(b'{"":0' + tail).get("event_props", {})
        event = Event(device, props, at)
        return all(test(event) for test in tests)

    return Filter(keep, tuple(notes))


@dataclass(frozen=True, slots=True)
class Condition:
    name: str
    operator: str
    values: tuple[JSON, ...]

    def holds(self, value: JSON) -> bool:
        """Whether a property's value (None when missing) meets the condition; values are alternatives."""
        if self.operator == "exists":
            return value is not None
        if self.operator == "does_not_exist":
            return value is None
        if self.operator in ("not_equals", "does_not_contain"):
            positive = "equals" if self.operator == "not_equals" else "contains"
            return not any(_compare(positive, value, wanted) for wanted in self.values)
        return any(_compare(self.operator, value, wanted) for wanted in self.values)


OPERATORS = (
    "equals",
    "not_equals",
    "contains",
    "does_not_contain",
    "exists",
    "does_not_exist",
    "greater_than",
    "greater_than_equals",
    "less_than",
    "less_than_equals",
)


def _compare(operator: str, value: JSON, wanted: JSON) -> bool:
    if value is None:
        return False
    if isinstance(value, list):
        return any(_compare(operator, each, wanted) for each in value)
    if operator == "contains":
        return str(wanted) in str(value)
    if operator == "equals":
        if isinstance(value, bool):
            return str(wanted).lower() == str(value).lower()
        if isinstance(value, int | float) and isinstance(wanted, int | float):
            return value == wanted
        return str(value) == str(wanted)
    if isinstance(value, bool) or not isinstance(value, int | float) or not isinstance(wanted, int | float):
        return False
    return {
        "greater_than": value > wanted,
        "greater_than_equals": value >= wanted,
        "less_than": value < wanted,
        "less_than_equals": value <= wanted,
    }[operator]


def _object(query: Mapping[str, JSON], name: str) -> Mapping[str, JSON]:
    part = query.get(name) or {}
    if not isinstance(part, dict):
        raise BadQuery(f"{name} must be an object")
    return part


def _conditions(parts: JSON, where: str) -> list[Condition]:
    if parts is None:
        return []
    if not isinstance(parts, list):
        raise BadQuery(f"{where} must be a list")
    found: list[Condition] = []
    for part in parts:
        if not isinstance(part, dict) or not isinstance(part.get("name"), str):
            raise BadQuery(f"{where}: each condition is an object with a name")
        operator = part.get("operator", "equals")
        if operator not in OPERATORS:
            raise BadQuery(f"{where}: no operator {operator}")
        value = part.get("value")
        found.append(Condition(part["name"], operator, tuple(value) if isinstance(value, list) else (value,)))
    return found


def _time_of_day(values: tuple[JSON, ...]) -> tuple[str, str]:
    texts = [value for value in values if isinstance(value, str) and len(value) == 5 and value[2] == ":"]
    if len(texts) != 2:
        raise BadQuery('time_of_day needs two times such as ["22:30","22:35"]')
    return texts[0], texts[1]


def _clock_time(project: Project, at: int) -> str:
    return datetime.fromtimestamp(at, project.zone).strftime("%H:%M")


def _profile_value(project: Project, device: int, name: str, at: int) -> JSON:
    profile = project.profile(device, at, Flags())
    data = profile.get("profileData", {})
    return data[name] if name in data else profile.get(name.lower())


def _people_who_did(project: Project, part: JSON, seen: Snapshot) -> set[int | str]:
    if not isinstance(part, dict) or not isinstance(part.get("event_name"), str):
        raise BadQuery("advanced_query: each part is an event query")
    first, last = parse_day(part.get("from")), parse_day(part.get("to"))
    if first is None or last is None:
        raise BadQuery("advanced_query: each part needs from and to")
    keep = compiled(project, {k: v for k, v in part.items() if k == "event_properties"}, seen).keep
    days = range(first.toordinal(), last.toordinal() + 1)
    return {
        project.person(rows.device[i])
        for _, _, rows, i in project.rows(days, seen, event=part["event_name"])
        if keep is None or keep(rows.device[i], rows.tail[i], rows.at[i])
    }
