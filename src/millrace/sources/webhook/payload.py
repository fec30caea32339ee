"""A payload taken apart: one object for each of its events, with its type and what identifies it.

Payloads of CleverTap's webhooks: https://docs.clevertap.com/docs/webhooks
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

from millrace.connect.intake.frames import Entry
from millrace.data import json_text
from millrace.data.batch import JSON
from millrace.data.dataclass import dataclass
from millrace.sources.webhook.config import Config

# Where an event of an SDK says its type and its id.
TRACK = Config(event_name="events", events_path="events", name_path="name", id_path="id")

# Before a name beside the events that an event has too.
_BESIDE = "payload_"


@dataclass(frozen=True, slots=True)
class Event:
    """An event. ``id`` is the same whenever the same event is sent again, if its sender says so; ``given``: it does."""

    name: str
    id: str
    fields: dict[str, JSON]
    given: bool


def events(entry: Entry, place: str, config: Config) -> Iterator[Event]:
    """The events of an entry. ``place``: where it lies, which identifies what its sender gave no id."""
    if entry.kind == "track":
        config = TRACK.model_copy(update={"event_name": config.event_name})
    payload = json_text.loads(entry.body.decode())
    number = 0
    for whole in payload if isinstance(payload, list) else [payload]:
        for fields in _apart(whole, config.events_path):
            name = _name(fields, whole, config, entry.name)
            id_, given = _identity(fields, entry, place, number, config.id_path)
            yield Event(name, id_, fields, given)
            number += 1


def _apart(payload: JSON, path: str | None) -> Iterator[dict[str, JSON]]:
    found = at(payload, path) if path is not None else None
    if path is None or not isinstance(found, (list, dict)):
        yield _fields(payload)
        return
    beside = _without(payload, path.split("."))
    for one in found if isinstance(found, list) else [found]:
        yield _joined(_fields(one), beside)


def _fields(value: JSON) -> dict[str, JSON]:
    return value if isinstance(value, dict) else {"value": value}


def _without(payload: dict[str, JSON], keys: list[str]) -> dict[str, JSON]:
    first, *rest = keys
    if not rest:
        return {key: value for key, value in payload.items() if key != first}
    inner = _without(payload[first], rest)
    return {key: inner if key == first else value for key, value in payload.items() if key != first or inner}


def _joined(fields: dict[str, JSON], beside: dict[str, JSON]) -> dict[str, JSON]:
    """An event and what was beside it; a name that both have gets `payload_` in front, and nothing is lost."""
    added: dict[str, JSON] = {}
    for key, value in beside.items():
        name = key
        while name in fields or name in added or (name != key and name in beside):
            name = _BESIDE + name
        added[name] = value
    return added | fields


def at(value: Any, path: str) -> JSON:
    """The value at a path of keys; None where there is none."""
    for key in path.split("."):
        if not isinstance(value, dict):
            return None
        value = value.get(key)
    return value


def _name(fields: dict[str, JSON], whole: JSON, config: Config, from_url: str | None) -> str:
    if config.name_path is not None:
        for where in (fields, whole):
            found = at(where, config.name_path)
            if isinstance(found, str) and found.strip():
                return found[:255]
    return from_url or config.event_name


def _identity(fields: dict[str, JSON], entry: Entry, place: str, number: int, id_path: str | None) -> tuple[str, bool]:
    own = at(fields, id_path) if id_path is not None else None
    if isinstance(own, (str, int)) and not isinstance(own, bool) and own != "":
        return _digest(b"event", str(own).encode()), True
    if entry.request_id is not None:
        # With its body, so that a sender that calls all its requests the same loses nothing.
        return _digest(b"request", entry.request_id.encode(), entry.body, str(number).encode()), True
    return f"{entry.at_ms}-{place}-{number}", False


def _digest(*parts: bytes) -> str:
    found = hashlib.blake2b(digest_size=16)
    for part in parts:
        found.update(len(part).to_bytes(8, "little"))
        found.update(part)
    return found.hexdigest()
