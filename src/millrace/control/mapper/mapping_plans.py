"""How an edit of a mapping is made: the mapping as it is, what stands around it, a plan, and a version that is kept."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from collections.abc import Mapping as Dict
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeAlias

import pyarrow as pa
import sqlalchemy as sa

from millrace.connect.destination import Change, Destination
from millrace.connect.source import Context
from millrace.control.activity import Entity, wrote
from millrace.control.as_code.findings import nearest
from millrace.control.books import commits, leases
from millrace.control.connecting import connections
from millrace.control.database.tables import mappings, segments
from millrace.control.mapper import fittings
from millrace.control.mapper.mapping_versions import Difference, differences, latest, named, versions
from millrace.control.people.actors import signed
from millrace.control.pipeline import pipelines
from millrace.control.running.clock import clock as machine_clock
from millrace.data.batch import LoadMode
from millrace.data.dataclass import dataclass
from millrace.engine import editing
from millrace.engine.editing import Place
from millrace.engine.load_modes import mode_of
from millrace.engine.mapping import Mapping, first
from millrace.engine.naming import Naming
from millrace.engine.standing import Warned, warnings
from millrace.errors import ConfigError, MillraceError, SchemaError

if TYPE_CHECKING:
    from millrace.control.home import Home
    from millrace.control.pipeline.pipelines import Pipeline

Edit: TypeAlias = Callable[["Around"], Mapping]


@dataclass(frozen=True, slots=True)
class By:
    """Who edits a mapping, and why; whoever asks by default. With ``dry_run`` nothing is changed and no lease is
    taken."""

    author: str | None = None
    reason: str | None = None
    dry_run: bool = False

    def signed(self, home: Home) -> By:
        """The same with an author."""
        return replace(self, author=self.author or signed(home.actor))


ME = By()


@dataclass(frozen=True, slots=True)
class Plan:
    """What an edit makes of a mapping, or would make of it.

    ``ddl`` are the statements with which the next load changes the table (or, ``at_once``, the edit itself); None where
    the destination could not be asked, and ``unasked`` says why. ``waiting_rows`` are staged and not loaded: they are
    loaded in the shape in which they were staged. ``unchanged`` says why the status of the mapping allows no such edit.
    """

    pipeline: str
    event_type: str
    table: str
    version: int
    changed: bool
    differences: tuple[Difference, ...]
    ddl: tuple[str, ...] | None = ()
    unasked: str | None = None
    warnings: tuple[Warned, ...] = ()
    waiting_rows: int = 0
    dry_run: bool = False
    at_once: bool = False
    unchanged: str | None = None


@dataclass(slots=True)
class Around:
    """What an edit may look at: the mapping as it is, its surroundings, and the destination where it must.

    ``known``: the mappings of all event types, also as other edits that are kept together with this one make them.
    """

    home: Home
    pipeline: Pipeline
    naming: Naming
    mapping: Mapping
    place: Place
    waiting_rows: int
    known: Dict[str, Mapping]
    _destination: Destination[Any] | None = None

    @property
    def mode(self) -> LoadMode:
        """The load mode that the pipeline has for the event type."""
        whole = self.known.get(self.mapping.source) if self.mapping.source else None
        return mode_of(self.mapping.stream, whole, self.pipeline.modes, self.pipeline.load_mode)

    def destination(self) -> Destination[Any]:
        """The destination, opened at first use; `close` ends it."""
        if self._destination is None:
            made = connections.build_destination(
                self.home, self.pipeline.destination_id, Context(clock=machine_clock())
            )
            made.loads = self.naming.prefix.outside(made.loads)
            self._destination = made
        return self._destination

    def there(self, table: str | None = None) -> dict[str, pa.DataType] | None:
        """Columns of the table (or another one) at the destination; None when there is none."""
        return self.destination().schema(table or self.mapping.table)

    def place_of(self, table: str) -> Place:
        """How far a table of the pipeline is; nowhere when it has none of that name."""
        with self.home.database.reading() as connection:
            row = commits.current_tables(connection, self.pipeline.id).get(table)
        return Place() if row is None else Place(row.generation, row.last, row.loaded)

    def awaited(self, table: str) -> str | None:
        """Another event type of which rows still wait for the table."""
        with self.home.database.reading() as connection:
            rows = commits.current_tables(connection, self.pipeline.id).values()
        others = (row for row in rows if row.name.casefold() == table.casefold() and row.stream != self.mapping.stream)
        return next((row.stream for row in others if row.loaded < row.last), None)

    def before(self, table: str) -> Mapping | None:
        """The latest mapping into a table that the event type had before; None when it never had it."""
        with self.home.database.reading() as connection:
            found = commits.table_mappings(connection, self.pipeline.id).get(table)
        before = None if found is None else Mapping.from_json(found)
        return before if before is not None and before.stream == self.mapping.stream else None

    def changes(self, mapping: Mapping) -> list[Change]:
        """What the next load changes at the destination. Raises SchemaError where the table cannot be made to fit."""
        destination = self.destination()
        place = self.place if mapping.table == self.mapping.table else self.place_of(mapping.table)
        target = mapping.target(
            self.naming.prefix,
            name=mapping.table,
            loaded_at=destination.config.populate_loaded_timestamp,
            generation=place.generation,
            held=place.loaded,
        )
        return destination.planned(target)

    def close(self) -> None:
        if self._destination is not None:
            self._destination.close()


def edit(home: Home, pipeline: str, event_type: str, change: Edit, by: By = ME) -> Plan:
    """The mapping is what ``change`` makes of it, as a new version; nothing is kept where nothing differs.

    Raises AlreadyRunning while the pipeline runs, and ConfigError where the table cannot follow.
    """
    (plan,) = edit_all(home, pipeline, [(event_type, change)], by, create=False)
    return plan


def edit_all(
    home: Home, pipeline: str, edits: Sequence[tuple[str, Edit]], by: By = ME, *, create: bool = True
) -> list[Plan]:
    """Each event type is mapped as its edit says, on what those before it made; all of that is kept, or none of it.

    ``create``: an event type that is not known yet gets its first mapping. Raises as `edit` does.
    """
    home.actor.must("mappings.edit")
    made: dict[str, Mapping] = {}
    if by.dry_run:
        found = pipelines.find(home, pipeline)
        return [plan(home, found, name, change, made, create=create) for name, change in edits]
    with leased(home, pipeline) as (found, lease):
        kept: list[tuple[Plan, Mapping]] = []
        for name, change in edits:
            one = plan(home, found, name, change, made, create=create, dry_run=False)
            kept.append((one, made[one.event_type]))
        if any(one.changed for one, _ in kept):
            with home.database.transaction() as connection:
                leases.confirm(connection, lease, home.database.now() + timedelta(seconds=leases.LEASE_S))  # I4
                for one, mapping in kept:
                    if one.changed:
                        keep(commits.Entry(connection, found.id, 0, datetime.now(UTC)), mapping, by.signed(home))
                        _told(home, one, found)
    return [one for one, _ in kept]


def plan(
    home: Home,
    pipeline: Pipeline,
    event_type: str,
    change: Edit,
    made: dict[str, Mapping],
    *,
    create: bool = True,
    dry_run: bool = True,
) -> Plan:
    """What the edit makes of the mapping, beside those in ``made``, to which its own is added. Nothing is kept."""
    with closing(around(home, pipeline, event_type, create=create, made=made)) as at:
        mapping = _made(at, change)
        found = _plan(at, mapping, dry_run=dry_run)
    made[mapping.stream] = mapping
    return found


def _told(home: Home, plan: Plan, pipeline: Pipeline) -> None:
    """The activity log tells what differs. Its entity has the id of the pipeline, whose log it belongs to."""
    name = f"{pipeline.name}/{plan.event_type}"
    before, after = ({one.what: getattr(one, side) for one in plan.differences} for side in ("before", "after"))
    message = f"the mapping of {name} is at version {plan.version}"
    wrote(home, "MEDIUM", Entity("mapping", pipeline.id, name), "change", message, before, after)


def _made(at: Around, change: Edit) -> Mapping:
    """The next version; the first one where there was none."""
    made = editing.next_version(at.mapping, change(at))
    return replace(made, version=max(made.version, 1))


def _plan(at: Around, made: Mapping, *, dry_run: bool) -> Plan:
    differ = differences(at.mapping, made)
    statements: tuple[str, ...] | None = ()
    unasked: str | None = None
    there: dict[str, pa.DataType] | None = None
    shaped = (at.mapping.columns, at.mapping.key, at.mapping.table) != (made.columns, made.key, made.table)
    if shaped and made.mapped and not made.skipped and made.columns:
        try:
            statements = tuple(change.statement for change in at.changes(made))
            there = at.there(made.table)
        except SchemaError as wrong:
            raise ConfigError(
                f"the table {made.table!r} cannot follow: {wrong.message}",
                hint="Choose another column or table for the field.",
                code="table_unfit",
            ) from wrong
        except MillraceError as unreachable:
            statements, unasked = None, unreachable.message
    policy = at.pipeline.schema_policy
    return Plan(
        at.pipeline.name,
        made.stream,
        made.table,
        made.version,
        changed=made != at.mapping,
        differences=tuple(differ),
        ddl=statements,
        unasked=unasked,
        warnings=(*warnings(made, at.naming.limits, table=there, policy=policy), *_unseen(at, made)),
        waiting_rows=at.waiting_rows,
        dry_run=dry_run,
    )


def _unseen(at: Around, made: Mapping) -> list[Warned]:
    """Fields that the edit names for the first time though rows were seen: perhaps they are spelled wrong."""
    known = _fields(at.mapping)
    if not known or not (new := _fields(made) - known):
        return []
    for one in versions(at.home, at.pipeline.name, made.stream):
        new -= _fields(one.mapping)
    return [
        Warned(
            "UNSEEN_FIELD",
            name,
            f"no row of {made.stream} had a field {name} so far",
            nearest(name, sorted(known), what="Fields"),
        )
        for name in sorted(new)
    ]


def _fields(mapping: Mapping) -> set[str]:
    """Fields of the user's that the mapping knows."""
    named = {column.source for column in mapping.columns if not column.ours}
    return named | {*mapping.ignored} | {name for name, _ in (*mapping.unmapped, *mapping.found)}


def keep(entry: commits.Entry, made: Mapping, by: By) -> None:
    """The version is kept with its author and reason, and its table is known."""
    entry.connection.execute(
        sa.insert(mappings).values(
            pipeline_id=entry.pipeline,
            stream=made.stream,
            version=made.version,
            table_name=made.table,
            mapping=made.to_json(),
            created_at=entry.now,
            author=by.author,
            reason=by.reason,
        )
    )
    commits.keep_tables(entry, {made.table: made.stream})


@contextmanager
def leased(home: Home, pipeline: str) -> Generator[tuple[Pipeline, leases.Lease]]:
    """The pipeline and its lease, while an edit is kept."""
    found = pipelines.find(home, pipeline)
    with leases.held(home.database, pipelines.lease_name(found.id), what=f"pipeline {pipeline}") as lease:
        yield found, lease


def around(
    home: Home, pipeline: Pipeline, event_type: str, *, create: bool = False, made: Dict[str, Mapping] | None = None
) -> Around:
    """The mapping of the event type and what stands around it. Raises ConfigError when it has none.

    ``made``: mappings that are not kept yet, and hold.
    """
    naming = fittings.naming_of(home, pipeline)
    known = latest(home, pipeline) | dict(made or {})
    if create and event_type not in known:
        return Around(home, pipeline, naming, _begun(home, pipeline, naming, event_type, known), Place(), 0, known)
    mapping = known[named(known, event_type)]
    with home.database.reading() as connection:
        row = commits.current_tables(connection, pipeline.id).get(mapping.table)
        if row is None:
            return Around(home, pipeline, naming, mapping, Place(), 0, known)
        s = segments.c
        query = sa.select(sa.func.coalesce(sa.func.sum(s.rows), 0)).where(
            s.pipeline_id == pipeline.id,
            s.table_name == mapping.table,
            s.generation == row.generation,
            s.number > row.loaded,
            s.state == "staged",
        )
        waiting = int(connection.execute(query).scalar_one())
    return Around(home, pipeline, naming, mapping, Place(row.generation, row.last, row.loaded), waiting, known)


def _begun(home: Home, pipeline: Pipeline, naming: Naming, event_type: str, known: Dict[str, Mapping]) -> Mapping:
    """The first mapping of an event type of which no row was read yet; the source says its key."""
    source = connections.build_source(home, pipeline.source_id, Context(clock=machine_clock()))
    with closing(source):
        streams = {stream.name: stream for stream in source.streams()}
    if event_type not in streams:
        names = sorted({*known, *streams})
        raise ConfigError(
            f"there is no event type {event_type!r}",
            hint=nearest(event_type, names, what="There are"),
            code="unknown_event_type",
        )
    mode = pipeline.modes.get(event_type, pipeline.load_mode)
    taken = frozenset(mapping.table for mapping in known.values())
    made = first(streams[event_type], naming, mode, auto=pipeline.auto_mapping, taken=taken)
    return replace(made, version=0)
