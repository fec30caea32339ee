"""The activity log: who did what, when, and what was different before and after (pipelines.md 15)."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

import sqlalchemy as sa

from millrace.control import sheets
from millrace.control.database import pages
from millrace.control.database.pages import Page
from millrace.control.database.people_tables import activity
from millrace.control.database.tables import pipelines
from millrace.control.secrecy.secrets import HIDDEN
from millrace.data.dataclass import dataclass
from millrace.errors import ConfigError

if TYPE_CHECKING:
    from millrace.control.home import Home

Severity: TypeAlias = Literal["LOW", "MEDIUM", "HIGH", "CRITICAL"]
SEVERITIES: tuple[Severity, ...] = get_args(Severity)

KEPT_FOR = timedelta(days=365)

# What a file of the log says of each line.
_HEADS = (
    "id", "at", "severity", "author", "author_kind", "entity", "entity_id", "entity_name", "action", "message",
    "before", "after", "run_id", "address",
)  # fmt: skip

# Names of values that nobody may read in a log, whatever they are settings of.
_SECRET_NAME = re.compile(
    r"(^|_)(pass(word|code|phrase)?|secret|token|api_key|private_key|access_key|credentials?|sealed)$", re.IGNORECASE
)


@dataclass(frozen=True, slots=True)
class Entity:
    """What something was done to: ``type`` is the word of the glossary, ``id`` None for what has none."""

    type: str
    id: str | None
    name: str


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the log. ``before`` and ``after`` hold only what differs; secrets in them are hidden (I7).

    ``pipeline``: what the pipeline of which it tells is called now; None where it tells of none, or that is gone.
    """

    id: int
    at: datetime
    severity: Severity
    author: str
    author_kind: str
    entity: Entity
    pipeline: str | None
    action: str
    message: str
    before: Any
    after: Any
    run_id: int | None
    address: str | None


def wrote(
    home: Home,
    severity: Severity,
    entity: Entity,
    action: str,
    message: str,
    before: Any = None,
    after: Any = None,
    *,
    run_id: int | None = None,
) -> None:
    """The log tells it, with whoever asks as its author.

    In the transaction that this thread is in, so that a change and its line stand or fall together; else in its own.
    """
    before, after = _apart(before, after)
    actor = home.actor
    with home.database.joining() as connection:
        connection.execute(
            sa.insert(activity).values(
                team_id=actor.team_id,
                at=datetime.now(UTC),
                severity=SEVERITIES.index(severity),
                author=actor.name,
                author_kind=actor.kind,
                entity=entity.type,
                entity_id=entity.id,
                entity_name=entity.name,
                action=action,
                message=message,
                before=masked(before),
                after=masked(after),
                run_id=run_id,
                address=actor.address,
            )
        )


def listed(
    home: Home,
    *,
    severity: Severity = "MEDIUM",
    author: str | None = None,
    entity: str | None = None,
    entity_id: str | None = None,
    entity_names: Collection[str] | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    after: str | None = None,
    limit: int = 100,
) -> Page[Entry]:
    """The newest lines of the team first, of that severity and above. ``entity`` is a type: "pipeline", "user" ...

    ``entity_names``: only what was called one of these. Raises ConfigError for a limit, a cursor or a severity that
    cannot be.
    """
    home.actor.must("view")
    limit = pages.checked_limit(limit)
    where: list[sa.ColumnExpressionArgument[bool]] = [activity.c.team_id == home.actor.team_id]
    if rank := _rank(severity):
        # The first condition is that of the index, word for word.
        where += [sa.text("severity > 0"), activity.c.severity >= rank]
    where += [
        column == value
        for column, value in (
            (activity.c.author, author),
            (activity.c.entity, entity),
            (activity.c.entity_id, entity_id),
        )
        if value is not None
    ]
    where += [activity.c.entity_name.in_(entity_names)] if entity_names is not None else []
    where += [activity.c.at >= since] if since else []
    where += [activity.c.at < until] if until else []
    where += [activity.c.id < pages.number(after)] if after else []
    # Of a pipeline tells also what tells of a mapping, an object, a position ... of it.
    joined = activity.outerjoin(pipelines, pipelines.c.id == activity.c.entity_id)
    query = sa.select(activity, pipelines.c.name.label("pipeline")).select_from(joined).where(*where)
    query = query.order_by(activity.c.id.desc()).limit(limit + 1)
    with home.database.reading() as connection:
        found = [_entry(row) for row in connection.execute(query)]
    return pages.cut(found, limit, lambda entry: str(entry.id))


def names_of(home: Home, pipeline: Entity) -> set[str]:
    """What the pipeline is called, and what it was called before the changes that are on record."""
    a = activity.c
    mine = (a.entity_id == pipeline.id, a.entity == pipeline.type, sa.text("severity > 0"), a.action == "change")
    with home.database.reading() as connection:
        found = connection.execute(sa.select(a.before).where(*mine)).scalars()
        return {pipeline.name} | {before["name"] for before in found if before and "name" in before}


def exported(
    home: Home, format: Literal["jsonl", "csv"], *, severity: Severity = "LOW", since: datetime | None = None
) -> Iterator[str]:
    """The lines of a file with the whole log of the team, newest first, each with its end; read page by page."""
    home.actor.must("view")
    entries = pages.every(lambda after: listed(home, severity=severity, since=since, after=after, limit=pages.MOST))
    if format == "csv":
        return sheets.lines(_HEADS, (_flat(entry).values() for entry in entries))
    return (json.dumps(_flat(entry)) + "\n" for entry in entries)


def expire(home: Home, now: datetime) -> int:
    """Lines that are older than a year go; how many did."""
    with home.database.joining() as connection:
        return connection.execute(sa.delete(activity).where(activity.c.at < now - KEPT_FOR)).rowcount


def masked(value: Any) -> Any:
    """The value in JSON's kinds, with everything hidden that by its name is a secret (I7)."""
    if isinstance(value, Mapping):
        return {
            str(key): HIDDEN if _SECRET_NAME.search(str(key)) and part is not None else masked(part)
            for key, part in value.items()
        }
    if isinstance(value, (list, tuple, set, frozenset)):
        return [masked(part) for part in value]
    if value is None or isinstance(value, (str, int, float, bool)):
        return value
    return value.isoformat() if isinstance(value, datetime) else str(value)


def _apart(before: Any, after: Any) -> tuple[Any, Any]:
    """Of two mappings only what differs."""
    if not (isinstance(before, Mapping) and isinstance(after, Mapping)):
        return before, after
    keys = [
        key for key in {**before, **after} if before.get(key) != after.get(key) or (key in before) != (key in after)
    ]
    return {key: before[key] for key in keys if key in before}, {key: after[key] for key in keys if key in after}


def _rank(severity: str) -> int:
    if severity not in SEVERITIES:
        raise ConfigError(
            f"there is no severity {severity[:40]!r}", hint=f"There are {', '.join(SEVERITIES)}.", path="severity"
        )
    return SEVERITIES.index(severity)


def _entry(row: Any) -> Entry:
    return Entry(
        id=row.id,
        at=row.at,
        severity=SEVERITIES[row.severity],
        author=row.author,
        author_kind=row.author_kind,
        entity=Entity(row.entity, row.entity_id, row.entity_name),
        pipeline=row.pipeline,
        action=row.action,
        message=row.message,
        before=row.before,
        after=row.after,
        run_id=row.run_id,
        address=row.address,
    )


def _flat(entry: Entry) -> dict[str, Any]:
    values = (
        entry.id,
        entry.at.isoformat(),
        entry.severity,
        entry.author,
        entry.author_kind,
        entry.entity.type,
        entry.entity.id,
        entry.entity.name,
        entry.action,
        entry.message,
        entry.before,
        entry.after,
        entry.run_id,
        entry.address,
    )
    return dict(zip(_HEADS, values, strict=True))
