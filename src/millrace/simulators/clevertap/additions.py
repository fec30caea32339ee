"""Rows made by hand: the exact events that a test or a demonstration adds to an account."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime, timedelta

from millrace.errors import ConfigError
from millrace.simulators.clevertap.cql import parse_day
from millrace.simulators.clevertap.jsontext import JSON
from millrace.simulators.clevertap.store import Project

KEYS = {
    "event_name",
    "objectId",
    "ts_local",
    "epoch_s",
    "event_props",
    "session_props",
    "profile",
    "visible_at",
    "copies",
    "served_on",
}


def add(project: Project, events: Iterable[Mapping[str, JSON]], *, now_s: int) -> None:
    """The account holds these events, each described by the keys above.

    ``ts_local`` is 14 digits of the account's local time, or ``epoch_s`` the moment; without both it is now.
    Props may be bytes, taken as JSON text so that every literal can be chosen. ``profile`` replaces what is shown
    of the device. ``visible_at`` (aware datetime, ISO text or epoch seconds; default: now) hides the event until
    then. ``copies`` is how often a walk serves it. ``served_on`` (YYYYMMDD or date) files it under another local
    day than that of its time.
    Raises ConfigError for an event that cannot be understood.
    """
    for number, event in enumerate(events):
        unknown = set(event) - KEYS
        if unknown or not isinstance(event.get("event_name"), str) or not isinstance(event.get("objectId"), str):
            what = f"unknown keys {sorted(unknown)}" if unknown else "event_name and objectId must be strings"
            raise ConfigError(f"event {number}: {what}", hint=f"Keys: {', '.join(sorted(KEYS))}.", path=str(number))
        try:
            _add_one(project, event, now_s)
        except (ValueError, TypeError, OverflowError) as exc:
            raise ConfigError(f"event {number}: {exc}", path=str(number)) from exc


def _add_one(project: Project, event: Mapping[str, JSON], now_s: int) -> None:
    if "ts_local" in event:
        ts = str(event["ts_local"])
        at = _epoch_of(project, ts)
        day = _day(ts[:8])
    else:
        at = int(event.get("epoch_s", now_s))
        ts = datetime.fromtimestamp(at, project.zone).strftime("%Y%m%d%H%M%S")
        day = project.local_day(at)
    if "served_on" in event:
        day = _day(event["served_on"])
    if event.get("profile") is not None:
        project.set_profile(event["objectId"], {"objectId": event["objectId"], **event["profile"]})
    project.add(
        event["event_name"],
        event["objectId"],
        ts=ts,
        at=at,
        day=day,
        visible_at=_moment(event.get("visible_at"), now_s),
        event_props=event.get("event_props"),
        session_props=event.get("session_props"),
        copies=int(event.get("copies", 1)),
    )


def _epoch_of(project: Project, ts: str) -> int:
    """The moment of 14 local digits; a time that the zone skips counts with the offset before the gap."""
    if len(ts) != 14 or not ts.isascii() or not ts.isdigit():
        raise ValueError(f"ts_local must be 14 digits such as 20260314091502, not {ts!r}")
    day = date.fromordinal(_day(ts[:8]))
    hour, minute, second = int(ts[8:10]), int(ts[10:12]), int(ts[12:])
    naive = datetime(day.year, day.month, day.day, tzinfo=project.zone) + timedelta(
        hours=hour, minutes=minute, seconds=second
    )
    return int(naive.timestamp())


def _day(value: JSON) -> int:
    if isinstance(value, date):
        return value.toordinal()
    day = parse_day(value)
    if day is None:
        raise ValueError(f"no such day: {value!r}")
    return day.toordinal()


def _moment(value: JSON, now_s: int) -> int:
    if value is None:
        return now_s
    if isinstance(value, str):
        value = datetime.fromisoformat(value)
    if isinstance(value, datetime):
        return int((value if value.tzinfo else value.replace(tzinfo=UTC)).timestamp())
    return int(value)
