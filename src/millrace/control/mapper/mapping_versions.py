"""Versions of mappings as they are kept: who made them, why, and what differs between two."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import TYPE_CHECKING

import sqlalchemy as sa

from millrace.control.as_code.findings import nearest
from millrace.control.books import commits
from millrace.control.database.tables import mappings
from millrace.control.pipeline import pipelines
from millrace.data import types
from millrace.data.dataclass import dataclass
from millrace.engine.mapping import Mapping
from millrace.errors import ConfigError

if TYPE_CHECKING:
    from millrace.control.home import Home
    from millrace.control.pipeline.pipelines import Pipeline


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that differs between two versions of a mapping, in words that the command line shows."""

    what: str
    before: str | None
    after: str | None


@dataclass(frozen=True, slots=True)
class Kept:
    """A version of a mapping as it was kept. Author and reason are None where a run made it."""

    mapping: Mapping
    created_at: datetime
    author: str | None
    reason: str | None


def latest(home: Home, pipeline: Pipeline) -> dict[str, Mapping]:
    """The latest mapping of every event type of the pipeline."""
    home.actor.must("view")
    with home.database.reading() as connection:
        found = commits.latest_mappings(connection, pipeline.id)
        return {stream: Mapping.from_json(row.mapping) for stream, row in sorted(found.items())}


def named(known: Iterable[str], event_type: str) -> str:
    """The event type by its name in any case of letters. Raises ConfigError when there is none."""
    several = list(known)
    if event_type in several:
        return event_type
    found = [name for name in several if name.casefold() == event_type.casefold()]
    if len(found) != 1:
        hint = nearest(event_type, several, what="There are") if several else "Run the pipeline once first."
        raise ConfigError(f"there is no event type {event_type!r}", hint=hint, code="unknown_event_type")
    return found[0]


def versions(
    home: Home, pipeline: str, event_type: str, *, limit: int | None = None, before: int | None = None
) -> list[Kept]:
    """Versions of the mapping, the latest first: all, or ``limit`` of those before the version ``before``."""
    home.actor.must("view")
    found = pipelines.find(home, pipeline)
    name = named(latest(home, found), event_type)
    query = sa.select(mappings).where(mappings.c.pipeline_id == found.id, mappings.c.stream == name)
    if before is not None:
        query = query.where(mappings.c.version < before)
    with home.database.reading() as connection:
        rows = connection.execute(query.order_by(mappings.c.version.desc()).limit(limit)).all()
    return [Kept(Mapping.from_json(row.mapping), row.created_at, row.author, row.reason) for row in rows]


def kept(home: Home, pipeline: str, event_type: str, version: int | None = None) -> Kept:
    """One version of the mapping, by default the latest. Raises ConfigError when there is none of that number."""
    home.actor.must("view")
    several = versions(home, pipeline, event_type)
    found = several[0] if version is None else next((one for one in several if one.mapping.version == version), None)
    if found is None:
        raise ConfigError(
            f"the mapping of {event_type} has no version {version}",
            hint=f"It has {several[-1].mapping.version} to {several[0].mapping.version}.",
            code="unknown_version",
        )
    return found


def diff(home: Home, pipeline: str, event_type: str, a: int | None = None, b: int | None = None) -> list[Difference]:
    """What differs between two versions: by default the latest (``b``) and the one before it (``a``)."""
    home.actor.must("view")
    after = kept(home, pipeline, event_type, b).mapping
    if a is None:
        earlier = [one.mapping for one in versions(home, pipeline, event_type) if one.mapping.version < after.version]
        return differences(earlier[0] if earlier else None, after)
    return differences(kept(home, pipeline, event_type, a).mapping, after)


def differences(before: Mapping | None, after: Mapping) -> list[Difference]:
    """What differs between two mappings; everything where there was none before."""
    old, new = _told(before) if before else {}, _told(after)
    names = dict.fromkeys((*old, *new))
    return [Difference(name, old.get(name), new.get(name)) for name in names if old.get(name) != new.get(name)]


def _told(mapping: Mapping) -> dict[str, str]:
    """A mapping in words, one for each thing that can differ."""
    told = {
        "table": mapping.table,
        "state": "skipped" if mapping.skipped else "mapped" if mapping.mapped else "unmapped",
        "load mode": mapping.mode,
        "key": ", ".join(mapping.key) or "(none)",
        "auto mapping": ("on" if mapping.auto else "off") + (" (its own)" if mapping.own_auto is not None else ""),
        "policy": mapping.policy.name if mapping.policy else "(of the pipeline)",
    }
    for column in mapping.columns:
        fixed = ", fixed" if column.fixed else ""
        told[f"field {column.source}"] = f"{column.name} {types.name(column.type)}{fixed}"
    told |= {f"field {name}": f"no column ({reason})" for name, reason in mapping.unmapped}
    return told | {f"field {name}": "ignored" for name in mapping.ignored}
