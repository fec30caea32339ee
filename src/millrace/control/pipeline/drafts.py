"""Drafts: pipelines that somebody began to make and left. They never run (pipelines.md 8.3)."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

import sqlalchemy as sa

from millrace.connect import registry
from millrace.connect.source import Context, Source
from millrace.control.activity import Entity, Severity, wrote
from millrace.control.connecting import aims, checks, connections, reach
from millrace.control.database import pages
from millrace.control.database.numbers import following
from millrace.control.database.pages import Page
from millrace.control.database.tables import drafts
from millrace.control.pipeline import object_queries, pipelines, query_modes
from millrace.control.running.clock import clock
from millrace.control.secrecy import sealing, secrets
from millrace.data.batch import JSON
from millrace.data.dataclass import dataclass
from millrace.errors import ConfigError

if TYPE_CHECKING:
    from millrace.control.home import Home
    from millrace.control.pipeline.pipelines import Pipeline, Wish

# Credentials may have expired meanwhile, so whoever goes on does so at the settings of the source.
RESUMES_AT: Literal["source"] = "source"


@dataclass(frozen=True, slots=True)
class Draft:
    """A pipeline that is not made yet. ``config``: settings of the source without its secrets, maybe not all of them.

    ``chosen``: what was chosen beside, as faces keep it. ``number`` will be the pipeline's.
    """

    number: int
    name: str
    source_type: str
    config: Mapping[str, JSON]
    secret_keys: tuple[str, ...]
    chosen: Mapping[str, JSON]
    author: str | None
    created_at: datetime
    changed_at: datetime


def save(
    home: Home,
    *,
    name: str,
    source_type: str,
    config: Mapping[str, JSON],
    chosen: Mapping[str, JSON] | None = None,
    number: int | None = None,
) -> Draft:
    """The draft is kept, or, by its ``number``, changed; secrets that are not named stay as they are,
    those that are None go.

    Raises ConfigError "empty_draft" unless at least one setting of the source was entered.
    """
    home.actor.must("pipelines.create")
    connections.checked_name(name, "pipeline")
    open_, hidden = connections.split("source", source_type, config)
    now = datetime.now(UTC)
    with home.database.transaction() as connection:
        old = None if number is None else connection.execute(_one(home, number)).one_or_none()
        if number is not None and old is None:
            raise _unknown(number)
        known = {} if old is None else sealing.unseal(home, drafts.c.sealed, old.id, old.sealed)
        id_ = str(uuid.uuid4()) if old is None else old.id
        kept = {key: value for key, value in known.items() if key not in config}
        if old is not None:
            was = old.chosen["config"] if source_type == old.chosen["source_type"] else {}
            aims.must_stay(home, connections.config_class("source", source_type), was, config, kept, f"draft #{number}")
        hidden = {**kept, **hidden}
        if not open_ and not hidden:
            raise ConfigError(
                "a draft needs at least one setting of its source", hint="Enter one, or leave it.", code="empty_draft"
            )
        kept = {"source_type": source_type, "config": open_, "secret_keys": sorted(hidden), "more": dict(chosen or {})}
        row: dict[str, Any] = {"name": name, "chosen": kept, "changed_at": now, "author": home.actor.name}
        row["sealed"] = sealing.seal(home, connection, drafts.c.sealed, id_, hidden)
        if old is None:
            number = following(connection, "pipeline")
            row |= {"id": id_, "team_id": home.actor.team_id, "number": number, "created_at": now}
            connection.execute(sa.insert(drafts).values(row))
        else:
            connection.execute(sa.update(drafts).where(drafts.c.id == old.id).values(row))
        # It is kept again and again while somebody types.
        severity: Severity = "MEDIUM" if old is None else "LOW"
        was = None if old is None else {"name": old.name, **old.chosen}
        action, told = "create" if old is None else "change", f"draft #{number} ({name}) was kept"
        wrote(home, severity, Entity("draft", id_, name), action, told, was, {"name": name, **kept})
    assert number is not None
    return find(home, number)


def find(home: Home, number: int) -> Draft:
    """The draft of that number. Raises ConfigError when the team has none."""
    home.actor.must("view")
    return _draft(_row(home, number))


def page(home: Home, *, after: str | None = None, limit: int = 100) -> Page[Draft]:
    """Drafts of the team by their numbers; anybody of the team with the right may go on with one."""
    home.actor.must("view")
    limit = pages.checked_limit(limit)
    query = sa.select(drafts).where(drafts.c.team_id == home.actor.team_id)
    if after is not None:
        query = query.where(drafts.c.number > pages.number(after))
    with home.database.reading() as connection:
        rows = connection.execute(query.order_by(drafts.c.number).limit(limit + 1)).all()
    return pages.cut([_draft(row) for row in rows], limit, lambda one: str(one.number))


def remove(home: Home, number: int) -> None:
    """The draft is given up."""
    home.actor.must("pipelines.create")
    found = _row(home, number)
    with home.database.transaction() as connection:
        connection.execute(sa.delete(drafts).where(drafts.c.id == found.id))
        entity = Entity("draft", found.id, found.name)
        wrote(home, "MEDIUM", entity, "delete", f"draft #{number} ({found.name}) was given up")


def finish(
    home: Home,
    number: int,
    wish: Wish,
    *,
    config: Mapping[str, JSON] | None = None,
    modes: Mapping[str, Mapping[str, Any]] | None = None,
) -> Pipeline:
    """The draft has become the pipeline of ``wish``, with its number; its source is a connection named there.

    ``config`` takes the place of settings of the same name; ``modes``: how objects of these names are queried. Raises
    what making a connection or a pipeline raises, and ConfigError for a query mode that cannot be; the draft stays
    then.
    """
    home.actor.must("pipelines.create")
    queried: dict[str, JSON] = {name: query_modes.checked(mode) for name, mode in (modes or {}).items()}
    for mode in queried.values():
        query_modes.selectable(mode, None)
    draft, settings = opened(home, number)
    whole = {**settings, **(config or {})}
    kept = set(draft.secret_keys).difference(config or {})
    model = connections.config_class("source", draft.source_type)
    aims.must_stay(home, model, draft.config, whole, kept, f"draft #{number}")
    connections.create(home, "source", wish.source, draft.source_type, whole)
    try:
        made = pipelines.create(home, replace(wish, name=wish.name or draft.name), number=number)
    except Exception:
        connections.remove(home, "source", wish.source)
        raise
    if queried:
        object_queries.settle(home, made, {name: {"query_mode": mode} for name, mode in queried.items()})
    with home.database.transaction() as connection:
        connection.execute(sa.delete(drafts).where(drafts.c.number == number))
    return made


def check(home: Home, number: int) -> checks.Checked:
    """The source of the draft was tested, with the settings that are kept so far."""
    home.actor.must("pipelines.create")
    draft, settings = opened(home, number)
    hidden = [text for key in draft.secret_keys for text in secrets.texts(settings[key])]
    return checks.tried(draft.source_type, draft.name, lambda: _opened(home, draft, settings), hidden)


def discover(home: Home, number: int) -> list[connections.Offer]:
    """What the source of the draft offers, as it says now."""
    home.actor.must("pipelines.create")
    draft, settings = opened(home, number)
    return connections.offers(_opened(home, draft, settings))


def opened(home: Home, number: int) -> tuple[Draft, dict[str, Any]]:
    """The draft with all its settings, secrets opened: only to build a source (I7)."""
    row = _row(home, number)
    draft = _draft(row)
    return draft, {**draft.config, **sealing.unseal(home, drafts.c.sealed, row.id, row.sealed)}


def _opened(home: Home, draft: Draft, settings: Mapping[str, Any]) -> Source[Any]:
    config = connections.validated("source", draft.source_type, settings, where=draft.name)
    context = Context(clock=clock(), reach=reach.of_source(home, draft.source_type, settings))
    return registry.source(draft.source_type)(config, context)


def _row(home: Home, number: int) -> Any:
    with home.database.reading() as connection:
        row = connection.execute(_one(home, number)).one_or_none()
    if row is None:
        raise _unknown(number)
    return row


def _one(home: Home, number: int) -> sa.Select[Any]:
    return sa.select(drafts).where(drafts.c.number == number, drafts.c.team_id == home.actor.team_id)


def _unknown(number: int) -> ConfigError:
    return ConfigError(f"there is no draft #{number}", hint="It may be a pipeline by now.", code="unknown_draft")


def _draft(row: Any) -> Draft:
    return Draft(
        number=row.number,
        name=row.name,
        source_type=row.chosen["source_type"],
        config=row.chosen["config"],
        secret_keys=tuple(row.chosen["secret_keys"]),
        chosen=row.chosen["more"],
        author=row.author,
        created_at=row.created_at,
        changed_at=row.changed_at,
    )
