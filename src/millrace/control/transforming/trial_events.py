"""Events on trial: read from lines of JSON and from rows that were kept, as batches, and shown again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import field
from decimal import Decimal
from itertools import groupby
from pathlib import Path

import pyarrow as pa

from millrace.data import json_text, types
from millrace.data.batch import JSON, Batch
from millrace.data.columns import is_ours
from millrace.data.dataclass import dataclass
from millrace.data.rows import to_batch, to_rows
from millrace.errors import ConfigError, DataError


@dataclass(frozen=True, slots=True)
class Event:
    """One event on trial. ``types``: logical types of properties that JSON has no form for.

    Numbers among the properties are exact: int, float, or Decimal.
    """

    event_name: str
    properties: dict[str, JSON]
    types: dict[str, str] = field(default_factory=dict[str, str])


def read_events(file: Path) -> list[Event]:
    """Events from JSON lines, each `{"event_name": …, "properties": {…}}`. Raises ConfigError with the line."""
    return read_lines(lines_of(file), file.name)


def lines_of(file: Path) -> str:
    """The text of a file of events. Raises ConfigError when it cannot be read."""
    try:
        return file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as wrong:
        raise ConfigError(
            f"{file} cannot be read: {wrong}", hint="Give a file with one JSON object a line, in UTF-8.", code="no_file"
        ) from wrong


def read_lines(text: str, name: str) -> list[Event]:
    """Events from lines of JSON, which messages call ``name``. Raises ConfigError with the line."""
    return [parsed(line, f"{name}:{number}") for number, line in enumerate(text.splitlines(), 1) if line.strip()]


def parsed(text: str, place: str) -> Event:
    """One event from its JSON. Raises ConfigError with ``place``."""
    try:
        found = json_text.loads(text)
    except ValueError as wrong:
        raise ConfigError(f"this is no JSON: {wrong}", hint=_FORM, path=place, code="no_event") from wrong
    if not isinstance(found, dict):
        raise ConfigError("this is no event, but another JSON value", hint=_FORM, path=place, code="no_event")
    if unknown := sorted(set(found) - {"event_name", "properties"}):
        raise ConfigError(f"an event has no {unknown[0]!r}", hint=_FORM, path=place, code="no_event")
    name, properties = found.get("event_name", "event"), found.get("properties")
    if not isinstance(name, str):
        raise ConfigError("the 'event_name' of an event must be text", hint=_FORM, path=place, code="no_event")
    if not isinstance(properties, dict):
        wrong = "must be an object" if "properties" in found else "are missing"
        raise ConfigError(f"the 'properties' of an event {wrong}", hint=_FORM, path=place, code="no_event")
    return Event(name, properties)


_FORM = 'Write events as {"event_name": "orders", "properties": {"id": 1}}.'


def kept(stream: str, row: str, kinds: dict[str, str]) -> Event:
    """The event of a row that was kept as JSON text; numbers that stand there as text are numbers again."""
    found = json_text.loads(row)
    return Event(
        stream, {name: _number(value, kinds.get(name)) for name, value in found.items() if value is not None}, kinds
    )


def _number(value: JSON, kind: str | None) -> JSON:
    if kind is None or not isinstance(value, str):
        return value
    type_ = types.parse(kind)
    return int(value) if types.is_integer(type_) else Decimal(value) if types.is_decimal(type_) else value


def events_of(stream: str, rows: pa.RecordBatch) -> list[Event]:
    """Rows as events; fields without a value and metadata of ours are left out."""
    names = [one.name for one in rows.schema if not is_ours(one)]
    return [
        Event(stream, {name: value for name, value in row.items() if value is not None})
        for row in to_rows(rows.select(names), numbers="exact")
    ]


def batches(events: Sequence[Event]) -> Iterator[tuple[Batch, tuple[Event, ...]]]:
    """Events as batches, in order; two share one only where the types of all their fields are the same."""
    for _, some in groupby(events, _likeness):
        group = tuple(some)
        yield Batch(group[0].event_name, _rows(group)), group


def _likeness(event: Event) -> tuple[object, ...]:
    """What two events have in common if their fields have the same types, each event taken alone."""
    kinds = {name: _kind(value) for name, value in event.properties.items() if value is not None}
    return event.event_name, tuple(kinds.items()), tuple(event.types.items())


def _kind(value: JSON) -> object:
    if isinstance(value, bool):
        return bool
    if isinstance(value, int):
        # 32 bits, 64 bits, or as many digits as it has.
        size = value.bit_length() if value >= 0 else (~value).bit_length()
        return size > 31 if size < 64 else (int, len(str(abs(value))))
    if isinstance(value, Decimal):
        _, digits, exponent = value.as_tuple()
        return Decimal, len(digits), exponent
    return dict if isinstance(value, list) else type(value)


def _rows(events: Sequence[Event]) -> pa.RecordBatch:
    """Events that are alike, as rows; fields without a value are left out."""
    kinds = events[0].types
    schema = pa.schema([pa.field(name, types.parse(kind)) for name, kind in kinds.items()])
    try:
        rows = to_batch([event.properties for event in events], schema if kinds else None)
    except DataError as wrong:
        raise ConfigError(f"an event cannot be read: {wrong.message}", hint=wrong.hint, code="no_event") from wrong
    return rows.select(
        [one.name for one, column in zip(rows.schema, rows.columns, strict=True) if column.null_count < len(column)]
    )
