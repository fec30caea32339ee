"""Which events are read: those of the file, those of the project's schema, or both; and what becomes of each."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import date, timedelta
from typing import Any

from millrace.connect.listed_names import Fate, ListedName, ListedNames
from millrace.connect.source import Slice
from millrace.errors import Transient
from millrace.sources.clevertap import events_file
from millrace.sources.clevertap.client import CleverTap, Unanswered, as_error
from millrace.sources.clevertap.config import Config
from millrace.sources.clevertap.notes import some


def to_read(
    config: Config, client: CleverTap, say: Callable[[str, str], None], *, warn: bool = True
) -> tuple[str, ...]:
    """The names to read now, in order: those of the file, then those of the schema.

    ``say`` is told, by a code, what a person should know.
    """
    names: dict[str, None] = {}
    discarded: list[str] = []
    if (listed := _file(config)) is not None:
        names.update(dict.fromkeys(listed.names))
        discarded += listed.discarded
    catalogue, unread = _catalogue(config, client)
    if unread:
        say("schema_unread", unread)
    discarded += [entry["name"] for entry in catalogue if _status(entry) == "Discarded"]
    names.update(dict.fromkeys(entry["name"] for entry in catalogue))
    if warn and discarded:
        say("discarded", f"discarded in CleverTap, so nothing new comes: {some(dict.fromkeys(discarded))}")
    return tuple(names)


def by_day(
    config: Config, client: CleverTap, slices: Sequence[Slice], say: Callable[[str, str], None]
) -> Iterator[tuple[str, date]]:
    """The names and days of slices; one without a name is of all names that are read."""
    names = to_read(config, client, say, warn=False) if any(each.name is None for each in slices) else ()
    for each in slices:
        for name in (each.name,) if each.name is not None else names:
            for day in range((each.last - each.first).days + 1):
                yield name, each.first + timedelta(days=day)


def preview(config: Config, client: CleverTap) -> ListedNames:
    """The same before anything is read: what becomes of each name, and where it comes from."""
    listed = _file(config)
    catalogue, unread = _catalogue(config, client)
    statuses = {entry["name"]: _status(entry) for entry in catalogue}
    in_file = listed.rows if listed is not None else ()
    rows = [
        replace(row, status=row.status or statuses.get(row.name), comes_from="both") if row.name in statuses else row
        for row in in_file
    ]
    for name in [name for name in statuses if name not in {row.name for row in in_file}]:
        fate: Fate = "not_exportable" if name in events_file.NOT_EXPORTABLE else "read"
        rows.append(ListedName(name, None, fate, statuses[name], comes_from="schema"))
    found = events_file.told(rows, listed.twice if listed is not None else 0)
    return replace(found.preview(), warnings=(*([unread] if unread else []), *found.warnings))


def _file(config: Config) -> events_file.EventsFile | None:
    if config.event_source == "schema" or not config.events_file:
        return None
    return events_file.load(config.events_file)


def _catalogue(config: Config, client: CleverTap) -> tuple[list[dict[str, Any]], str]:
    """The entries of the schema, where it is asked; and why it could not be read, where the file does."""
    if config.event_source == "file":
        return [], ""
    try:
        return client.schema(), ""
    except (Unanswered, Transient) as failure:
        error = as_error(failure) or failure
        if config.event_source == "schema":
            raise error from None
        return [], f"CleverTap's list of events could not be read: {error}"


def _status(entry: dict[str, Any]) -> str | None:
    return str(entry["status"]).capitalize() if entry.get("status") else None
