"""Pipelines: the saved choice of a source, a destination, streams and how they load."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Mapping
from dataclasses import asdict, field, replace
from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from millrace.control.activity import Entity, wrote
from millrace.control.as_code.findings import nearest
from millrace.control.connecting import connections
from millrace.control.database import pages
from millrace.control.database.numbers import following
from millrace.control.database.pages import Page
from millrace.control.database.tables import cursors, objects, pipelines, tables
from millrace.control.database.telling_tables import alerts
from millrace.control.scheduling import due, schedule, slots
from millrace.control.scheduling.priority import Priority
from millrace.control.settings import Naming, workspace
from millrace.data.dataclass import dataclass
from millrace.errors import ConfigError, MillraceError, as_typed

if TYPE_CHECKING:
    from millrace.control.home import Home
    from millrace.data.batch import JSON
    from millrace.engine.policy import Policy

Mode: TypeAlias = Literal["merge", "append", "history"]
State: TypeAlias = Literal["ACTIVE", "PAUSED", "DELETING"]

Written: TypeAlias = Mapping[tuple[connections.Kind, str], str]
"""The types of connections that a document writes down and that may not be saved yet, by kind and name."""

NOTHING_WRITTEN: Written = {}


@dataclass(frozen=True, slots=True)
class Wish:
    """What a pipeline shall be; connections by name.

    ``objects`` None selects every stream; else the streams that it names, each with a load mode of its own or None.
    ``naming`` None takes the workspace's. ``schedule`` and ``options`` are JSON that their readers understand.
    """

    name: str
    source: str
    destination: str
    load_mode: Mode = "merge"
    table_prefix: str = ""
    naming: Naming | None = None
    auto_mapping: bool = True
    schedule: JSON = None
    options: Mapping[str, JSON] = field(default_factory=dict[str, "JSON"])
    objects: Mapping[str, Mode | None] | None = None

    def saying(self, option: str, said: JSON) -> Wish:
        """The same, but for one option; None leaves it out."""
        others = {key: value for key, value in self.options.items() if key != option}
        return replace(self, options=others if said is None else {**others, option: said})


@dataclass(frozen=True, slots=True)
class Pipeline:
    """A saved pipeline. ``objects`` None: every stream is selected, but for the extras of its source."""

    id: str
    number: int
    team_id: str
    name: str
    source: str
    source_id: str
    source_type: str
    destination: str
    destination_id: str
    destination_type: str
    load_mode: Mode
    table_prefix: str
    naming: Naming
    auto_mapping: bool
    schedule: JSON
    options: Mapping[str, JSON]
    objects: Mapping[str, Mode | None] | None
    state: State
    priority: Priority
    created_at: datetime
    changed_at: datetime

    @property
    def entity(self) -> Entity:
        return Entity("pipeline", self.id, self.name)

    @property
    def selected(self) -> frozenset[str] | None:
        """Streams that are read; None for all but the extras of the source."""
        return None if self.objects is None else frozenset(self.objects)

    def selects(self, stream: str) -> bool:
        """Whether the stream is read, as far as that was chosen."""
        return stream not in self.extras if self.objects is None else stream in self.objects

    @property
    def extras(self) -> frozenset[str]:
        """Streams that are read only where they are named; none where nobody can say."""
        try:
            return connections.registry.source(self.source_type).extras
        except MillraceError:  # its package is not here, and nothing can be read
            return frozenset()

    @property
    def modes(self) -> dict[str, Mode]:
        """Load modes of streams that have one of their own."""
        return {stream: mode for stream, mode in (self.objects or {}).items() if mode is not None}

    @property
    def schema_policy(self) -> Policy | None:
        """What happens to what is new; None where the pipeline says nothing."""
        from millrace.engine.policy import Policy

        said = self.options.get("schema_policy")
        return None if said is None else Policy.from_json(said)

    @property
    def wish(self) -> Wish:
        """What would make this pipeline."""
        return Wish(
            name=self.name,
            source=self.source,
            destination=self.destination,
            load_mode=self.load_mode,
            table_prefix=self.table_prefix,
            naming=self.naming,
            auto_mapping=self.auto_mapping,
            schedule=self.schedule,
            options=self.options,
            objects=self.objects,
        )


def lease_name(pipeline_id: str) -> str:
    """Name of the lease under which the books of a pipeline are written."""
    return f"pipeline {pipeline_id}"


def create(
    home: Home,
    wish: Wish,
    *,
    number: int | None = None,
    state: State = "ACTIVE",
    also: Callable[[sa.Connection, Pipeline], None] | None = None,
) -> Pipeline:
    """The pipeline is saved, under the ``number`` of its draft where it had one. Nothing starts one that is PAUSED.

    ``also``: what is done in the same transaction, so that the pipeline is never there without it.

    Raises ConfigError when its name is taken or something in it cannot be.
    """
    home.actor.must("pipelines.create")
    wish = _checked(home, wish)
    now = datetime.now(UTC)
    id_ = str(uuid.uuid4())
    try:
        with home.database.transaction() as connection:
            connection.execute(
                sa.insert(pipelines).values(
                    _row(home, wish)
                    | {"id": id_, "state": state, "ingested_at_ms": 0, "created_at": now, "changed_at": now}
                    | {"team_id": home.actor.team_id, "number": number or following(connection, "pipeline")}
                )
            )
            _choose(connection, id_, wish)
            made = _read(connection, pipelines.c.id == id_)[0]
            keep_time(home, connection, made, now)
            if also is not None:
                also(connection, made)
            entity = Entity("pipeline", id_, wish.name)
            wrote(home, "HIGH", entity, "create", f"pipeline {wish.name} was created", after=asdict(wish))
    except IntegrityError as cause:
        raise _taken(wish.name) from cause
    return find(home, wish.name)


def keep_time(home: Home, connection: sa.Connection, pipeline: Pipeline, now: datetime) -> None:
    """The schedules of the pipeline are as it says, and as its destination says of loads; what is new begins now."""
    planned = schedule.from_json(pipeline.schedule)
    if pipeline.priority == "HIGH":
        legacy = workspace(home.database).legacy_frequency
        family = connections.registry.source(pipeline.source_type)
        planned = due.hurried(planned, family.frequency(legacy=legacy))
    active = pipeline.state == "ACTIVE"
    slots.begin(connection, pipeline.id, "run", schedule.to_json(planned), now, active=active)
    loads = connections.load_schedule(connection, pipeline.destination_id)
    slots.begin(connection, pipeline.id, "load", loads, now, active=active)


def deferring(pipeline: Pipeline) -> bool:
    """Whether runs that find nothing come at growing intervals: as the pipeline says, else as its source does."""
    said = pipeline.options.get("defer_when_empty")
    return connections.registry.source(pipeline.source_type).defers_when_empty if said is None else bool(said)


def change(home: Home, name: str, wished: Callable[[Pipeline], Wish]) -> Pipeline:
    """The pipeline is as ``wished`` of it as it is, from its next run on; nobody else changes it meanwhile.

    Raises ConfigError for what cannot be, and for what must stay: source and destination always; prefix, naming, and
    `history` on or off once a table was loaded (pipelines.md 8.4, loading.md 20.1).
    """
    home.actor.must("pipelines.edit")
    id_ = find(home, name).id
    wish = None
    try:
        with home.database.transaction() as connection:
            if (old := held(connection, id_)) is None:
                raise _unknown(home, name)
            wish = _checked(home, wished(old))
            if wish == old.wish:
                return old
            _stays(home, old, wish)
            mine = sa.update(pipelines).where(pipelines.c.id == id_)
            connection.execute(mine.values(_row(home, wish) | {"changed_at": datetime.now(UTC)}))
            _choose(connection, id_, wish)
            new = _read(connection, pipelines.c.id == id_)[0]
            keep_time(home, connection, new, home.database.now())
            if old.name != new.name:
                # Whoever reads an alert is led by this name to what it is about.
                about = (alerts.c.entity == "pipeline", alerts.c.entity_id == id_)
                connection.execute(sa.update(alerts).where(*about).values(entity_name=new.name))
            told = f"pipeline {old.name} " + ("was changed" if old.name == new.name else f"is called {new.name} now")
            wrote(home, "MEDIUM", new.entity, "change", told, asdict(old.wish), asdict(wish))
    except IntegrityError as cause:
        raise _taken(wish.name if wish else name) from cause
    return new


def held(connection: sa.Connection, pipeline_id: str) -> Pipeline | None:
    """The pipeline as it is; it, and what people decided for its objects, stays so until the transaction ends."""
    connection.execute(sa.select(pipelines.c.id).where(pipelines.c.id == pipeline_id).with_for_update(key_share=True))
    return next(iter(_read(connection, pipelines.c.id == pipeline_id)), None)


def differences(home: Home, old: Pipeline, wish: Wish, written: Written = NOTHING_WRITTEN) -> list[str]:
    """Names of what ``wish`` would change."""
    wish = _checked(home, wish, written)
    return [key for key in Wish.__dataclass_fields__ if getattr(old.wish, key) != getattr(wish, key)]


def must_be_possible(home: Home, wish: Wish, written: Written) -> None:
    """Raises ConfigError where `create` would refuse the wish, once the connections that are written down are there."""
    _checked(home, wish, written)


def must_bear(home: Home, old: Pipeline, wish: Wish, written: Written) -> None:
    """Raises ConfigError where `change` would refuse the wish, once the connections that are written down are there."""
    _stays(home, old, _checked(home, wish, written))


def set_state(home: Home, name: str, state: State) -> Pipeline:
    """The pipeline is active, or nothing starts it by itself. Who wants the effects of that: `lifecycle`.

    Raises ConfigError "wrong_state" for one that is being deleted: nothing brings that back.
    """
    home.actor.must("pipelines.edit")
    found = find(home, name)
    now = home.database.now()
    with home.database.transaction() as connection:
        staying = sa.update(pipelines).where(pipelines.c.id == found.id, pipelines.c.state != "DELETING")
        if connection.execute(staying.values(state=state, changed_at=datetime.now(UTC))).rowcount != 1:
            raise ConfigError(
                f"pipeline {name} was deleted", hint="Nothing brings it back: make a new one.", code="wrong_state"
            )
        if state == "ACTIVE":
            slots.wake(connection, found.id, now)
        else:
            slots.rest(connection, found.id)
        told = f"pipeline {name} is {state.lower()}"
        wrote(home, "MEDIUM", found.entity, "set_state", told, {"state": found.state}, {"state": state})
    return replace(found, state=state)


def listed(home: Home) -> list[Pipeline]:
    """All pipelines, by name."""
    home.actor.must("view")
    with home.database.reading() as connection:
        return _read(connection, pipelines.c.team_id == home.actor.team_id)


def find(home: Home, name: str) -> Pipeline:
    """The pipeline of that name. Raises ConfigError when there is none."""
    home.actor.must("view")
    with home.database.reading() as connection:
        found = _read(connection, (pipelines.c.name == name) & (pipelines.c.team_id == home.actor.team_id))
    if not found:
        raise _unknown(home, name)
    return found[0]


def numbered(home: Home, number: int) -> Pipeline:
    """The pipeline of that number. Raises ConfigError when there is none."""
    home.actor.must("view")
    with home.database.reading() as connection:
        found = _read(connection, (pipelines.c.number == number) & (pipelines.c.team_id == home.actor.team_id))
    if not found:
        raise ConfigError(f"there is no pipeline {number}", code="unknown_pipeline")
    return found[0]


def page(home: Home, *, after: str | None = None, limit: int = 100) -> Page[Pipeline]:
    """Pipelines by their numbers, from the one after the cursor on."""
    home.actor.must("view")
    wanted = pipelines.c.team_id == home.actor.team_id
    if after is not None:
        wanted &= pipelines.c.number > pages.number(after)
    with home.database.reading() as connection:
        found = _read(connection, wanted, by_number=True, limit=pages.checked_limit(limit) + 1)
    return pages.cut(found, limit, lambda one: str(one.number))


def has_history(home: Home, name: str) -> bool:
    """The pipeline has committed something before: its next run is not its first."""
    home.actor.must("view")
    found = find(home, name)
    with home.database.reading() as connection:
        query = sa.select(cursors.c.stream).where(cursors.c.pipeline_id == found.id).limit(1)
        return connection.execute(query).first() is not None


def has_loaded(home: Home, pipeline_id: str) -> bool:
    """A table of the pipeline was loaded."""
    with home.database.reading() as connection:
        query = sa.select(tables.c.name).where(tables.c.pipeline_id == pipeline_id, tables.c.loaded > 0).limit(1)
        return connection.execute(query).first() is not None


def _checked(home: Home, wish: Wish, written: Written = NOTHING_WRITTEN) -> Wish:
    """The wish in its final form: prefix ended by one underscore, naming chosen. Raises ConfigError."""
    connections.checked_name(wish.name, "pipeline")
    if ("source", wish.source) not in written:
        connections.find(home, "source", wish.source)
    type_ = written.get(("destination", wish.destination))
    type_ = type_ or connections.find(home, "destination", wish.destination).type
    limits = connections.registry.destination(type_).limits
    wanted = {"load_mode": wish.load_mode} | {
        f"objects.{stream}.load_mode": mode for stream, mode in (wish.objects or {}).items() if mode is not None
    }
    for path, mode in wanted.items():
        if mode not in limits.modes:
            raise ConfigError(
                f"destination {wish.destination!r} ({type_}) cannot load in mode {mode!r}",
                hint=f"It can: {', '.join(limits.modes)}.",
                path=path,
                code="load_mode",
            )
    if wish.objects is not None and not wish.objects:
        raise ConfigError("no object is selected", hint="Name at least one, or leave it out for all.", path="objects")
    naming = wish.naming or workspace(home.database).naming
    if naming not in get_args(Naming):
        raise ConfigError(f"naming must be one of {', '.join(get_args(Naming))}, not {naming!r}", path="naming")
    return replace(wish, table_prefix=_prefix(wish.table_prefix), naming=naming)


def _prefix(prefix: str) -> str:
    """The prefix of tables with one underscore at its end; at most 32 characters before (pipelines.md 19.1)."""
    if not prefix:
        return ""
    bare = prefix.rstrip("_")
    if not re.fullmatch(r"[A-Za-z0-9_]{1,32}", bare):
        raise ConfigError(
            f"table_prefix {prefix!r} cannot start the name of a table",
            hint="Use at most 32 letters, digits and underscores.",
            path="table_prefix",
        )
    return bare + "_"


def _stays(home: Home, old: Pipeline, wish: Wish) -> None:
    changed = {key: (getattr(old.wish, key), getattr(wish, key)) for key in Wish.__dataclass_fields__}
    changed = {key: pair for key, pair in changed.items() if pair[0] != pair[1]}
    started = has_history(home, old.name) or has_loaded(home, old.id)
    for key in ("source", "destination"):
        if key in changed and started:
            raise _fixed(old, key, "its positions and tables belong to the one that it has")
    if not has_loaded(home, old.id):
        return
    for key in ("table_prefix", "naming"):
        if key in changed:
            raise _fixed(old, key, "its tables have names already")
    nesting = "json_parsing_strategy"
    if old.options.get(nesting) != wish.options.get(nesting):
        raise _fixed(old, nesting, "its tables have the columns that it made")
    before, after = _modes(old.wish), _modes(wish)
    streams = {*before, *after} - {None}
    pairs = [(None, before[None], after[None])] if old.objects is None or wish.objects is None else []
    pairs += [(one, before.get(one, before[None]), after.get(one, after[None])) for one in streams]
    for stream, was, will in pairs:
        if was != will and "history" in (was, will):
            path = f"objects.{stream}.load_mode" if stream else "load_mode"
            raise ConfigError(
                f"{path} of pipeline {old.name!r} cannot change from {was} to {will}: tables of mode history have "
                "another shape",
                hint=f"Run `{as_typed('reset', old.name, '--drop-tables')}` first, or make a new pipeline.",
                path=path,
                code="fixed_after_load",
            )


def _modes(wish: Wish) -> dict[str | None, Mode]:
    """The mode of each stream that is named, and, under None, of the others."""
    named: dict[str | None, Mode] = {stream: mode or wish.load_mode for stream, mode in (wish.objects or {}).items()}
    named[None] = wish.load_mode
    return named


def _fixed(old: Pipeline, key: str, why: str) -> ConfigError:
    return ConfigError(
        f"{key} of pipeline {old.name!r} cannot be changed: {why}",
        hint="Make a new pipeline with it.",
        path=key,
        code="fixed_after_load",
    )


def _unknown(home: Home, name: str) -> ConfigError:
    known = [one.name for one in listed(home)]
    hint = nearest(name, known, what="There are") if known else "There is none yet: see `millrace apply --help`."
    return ConfigError(f"there is no pipeline {name!r}", hint=hint, code="unknown_pipeline")


def _taken(name: str) -> ConfigError:
    return ConfigError(
        f"there is a pipeline {name!r} already", hint="Choose another name, or change that one.", code="name_taken"
    )


def _row(home: Home, wish: Wish) -> dict[str, Any]:
    return {
        "name": wish.name,
        "source_id": connections.find(home, "source", wish.source).id,
        "destination_id": connections.find(home, "destination", wish.destination).id,
        "load_mode": wish.load_mode,
        "table_prefix": wish.table_prefix,
        "naming": wish.naming,
        "auto_mapping": wish.auto_mapping,
        "schedule": wish.schedule,
        "options": dict(wish.options),
    }


def _choose(connection: sa.Connection, id_: str, wish: Wish) -> None:
    connection.execute(sa.delete(objects).where(objects.c.pipeline_id == id_))
    rows = [{"pipeline_id": id_, "stream": stream, "load_mode": mode} for stream, mode in (wish.objects or {}).items()]
    if rows:
        connection.execute(sa.insert(objects), rows)


@cache
def _with_connections() -> sa.Select[Any]:
    """Pipelines with the names and types of their connections. Put together once: that takes as long as to ask it."""
    source, destination = connections.connections.alias(), connections.connections.alias()
    return (
        sa.select(
            pipelines,
            source.c.name.label("source"),
            source.c.type.label("source_type"),
            destination.c.name.label("destination"),
            destination.c.type.label("destination_type"),
        )
        .join(source, source.c.id == pipelines.c.source_id)
        .join(destination, destination.c.id == pipelines.c.destination_id)
    )


def _read(
    connection: sa.Connection, where: sa.ColumnElement[bool], *, by_number: bool = False, limit: int | None = None
) -> list[Pipeline]:
    order = pipelines.c.number if by_number else pipelines.c.name
    query = _with_connections().where(where).order_by(order).limit(limit)
    rows = connection.execute(query).all()
    chosen: dict[str, dict[str, Mode | None]] = {}
    query = sa.select(objects).where(objects.c.pipeline_id.in_([row.id for row in rows]))
    for row in connection.execute(query.order_by(objects.c.stream)):
        chosen.setdefault(row.pipeline_id, {})[row.stream] = row.load_mode
    return [
        Pipeline(
            id=row.id,
            number=row.number,
            team_id=row.team_id,
            name=row.name,
            source=row.source,
            source_id=row.source_id,
            source_type=row.source_type,
            destination=row.destination,
            destination_id=row.destination_id,
            destination_type=row.destination_type,
            load_mode=row.load_mode,
            table_prefix=row.table_prefix,
            naming=row.naming,
            auto_mapping=row.auto_mapping,
            schedule=row.schedule,
            options=row.options,
            objects=chosen.get(row.id),
            state=row.state,
            priority=row.priority,
            created_at=row.created_at,
            changed_at=row.changed_at,
        )
        for row in rows
    ]
