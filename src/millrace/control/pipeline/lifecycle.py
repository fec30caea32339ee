"""Pipelines from draft to deletion: pause, resume, priority, schedule, copy, and what each does to what goes on.

Effects: pipelines.md 8.3-8.7. Which state leads to which is `TRANSITIONS`; a test goes through all of them.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal, TypeAlias

import sqlalchemy as sa

from millrace.connect.config import Settings, SourceConfig
from millrace.control import activity
from millrace.control.activity import Entity
from millrace.control.alerting import alert_events
from millrace.control.books import leases, records
from millrace.control.books.leases import AlreadyRunning
from millrace.control.connecting import connections
from millrace.control.database.tables import object_settings, runs, segments, transformations
from millrace.control.database.tables import pipelines as table
from millrace.control.database.tables import tasks as task_table
from millrace.control.observing import audits
from millrace.control.pipeline import pipelines
from millrace.control.pipeline.pipelines import Pipeline, State, Wish, lease_name
from millrace.control.running import followers, jobs, tasks
from millrace.control.running.jobs import Asked
from millrace.control.scheduling import priority, schedule, slots
from millrace.control.scheduling.priority import Priority
from millrace.control.settings import workspace
from millrace.errors import ConfigError

if TYPE_CHECKING:
    from millrace.control.activity import Severity
    from millrace.control.home import Home
    from millrace.control.scheduling.schedule import Schedule

Action: TypeAlias = Literal["pause", "resume", "delete"]

TRANSITIONS: Mapping[tuple[State, Action], State] = {
    ("ACTIVE", "pause"): "PAUSED",
    ("PAUSED", "resume"): "ACTIVE",
    ("ACTIVE", "delete"): "DELETING",
    ("PAUSED", "delete"): "DELETING",
    ("DELETING", "delete"): "DELETING",
}


def pause(home: Home, name: str) -> Pipeline:
    """Nothing more is read: what waits for a worker is cancelled, what goes on ends at its next commit.

    What was read before is still loaded.
    """
    home.actor.must("pipelines.edit")
    found = _allowed(home, name, "pause")
    if connections.registry.source(found.source_type).pushed:
        raise ConfigError(
            f"pipeline {name} cannot be paused: its source sends by itself, and would not stop",
            hint="To refuse what it sends: `millrace hooks revoke`.",
            code="pushed",
        )
    now = home.database.now()
    with home.database.transaction() as connection:
        _become(connection, found, "PAUSED")
        slots.rest(connection, found.id)
        _stop(connection, found.id, now)
        waiting = sa.select(segments.c.number).where(segments.c.pipeline_id == found.id, segments.c.state == "staged")
        if connection.execute(waiting.limit(1)).first() is not None:
            jobs.queue(connection, [Asked(found.id, "load", "MANUAL", {})], now)
        _wrote(home, found, "MEDIUM", "pause", f"Pipeline {name} was paused", found.state, "PAUSED")
    return pipelines.numbered(home, found.number)


def resume(home: Home, name: str) -> Pipeline:
    """The pipeline runs by its schedule again, from the next slot on."""
    home.actor.must("pipelines.edit")
    found = _allowed(home, name, "resume")
    now = home.database.now()
    with home.database.transaction() as connection:
        _become(connection, found, "ACTIVE")
        slots.wake(connection, found.id, now)
        _wrote(home, found, "MEDIUM", "resume", f"Pipeline {name} was resumed", found.state, "ACTIVE")
    return pipelines.numbered(home, found.number)


def delete(home: Home, name: str) -> bool:
    """The pipeline goes, with its books, its transformations and its rows that wait; loaded rows stay, and so does what
    audit tables tell of its jobs. Irreversible.

    False while something of it still goes on: that ends at its next commit, and the scheduler removes the rest.
    """
    home.actor.must("pipelines.delete")
    found = _allowed(home, name, "delete")
    now = home.database.now()
    with home.database.transaction() as connection:
        _become(connection, found, "DELETING")
        slots.rest(connection, found.id)
        _stop(connection, found.id, now)
        if found.state != "DELETING":
            _wrote(home, found, "HIGH", "delete", f"Pipeline {name} was deleted", found.state, "DELETING")
    return _buried(home, found.id, name)


def bury(home: Home) -> int:
    """Deleted pipelines of which nothing goes on any more are gone; how many were."""
    with home.database.reading() as connection:
        query = sa.select(table.c.id, table.c.name).where(table.c.state == "DELETING")
        found = connection.execute(query).all()
    return sum(_buried(home, row.id, row.name) for row in found)


def prioritize(home: Home, name: str, wanted: Priority) -> Pipeline:
    """The pipeline has that priority from now on.

    HIGH is for at most a share of the accounts that pipelines read from; pipelines of one account count once
    (pipelines.md 8.7). Raises ConfigError "too_many_high" beyond that.
    """
    home.actor.must("pipelines.edit")
    found = pipelines.find(home, name)
    if found.priority == wanted:
        return found
    now = home.database.now()
    with home.database.transaction() as connection:
        if wanted == "HIGH":
            # Of two that shall be first at the same time the second one counts the other.
            connection.execute(sa.select(table.c.id).order_by(table.c.id).with_for_update(key_share=True))
            every = {one.id: one for one in pipelines.listed(home)} | {found.id: found}
            high = {id_ for id_, one in every.items() if one.priority == "HIGH"} | {found.id}
            percent = workspace(home.database).high_priority_percent
            must_be_few({id_: account(home, one.source_id) for id_, one in every.items()}, high, percent, name)
        connection.execute(sa.update(table).where(table.c.id == found.id).values(priority=wanted, changed_at=now))
        # Somebody else may have given it another schedule meanwhile.
        if (new := pipelines.held(connection, found.id)) is not None:
            pipelines.keep_time(home, connection, new, now)
        told = f"Priority of pipeline {name} is {wanted.lower()}"
        _wrote(home, found, "MEDIUM", "priority", told, found.priority, wanted)
    return pipelines.numbered(home, found.number)


def must_be_few(accounts: Mapping[str, str], high: Collection[str], percent: int, name: str) -> None:
    """Raises ConfigError "too_many_high", which speaks of the pipeline ``name``, where those of priority HIGH read from
    more than so many percent of the accounts. ``accounts``: from which one each pipeline reads, by what names it."""
    every = set(accounts.values())
    most = priority.allowed(every, percent)
    if len({accounts[one] for one in high}) > most:
        raise ConfigError(
            f"pipeline {name} cannot have priority HIGH: of {len(every)} different sources, {most} may",
            hint="Set another pipeline to NORMAL first, or raise high_priority_percent of the workspace.",
            code="too_many_high",
        )


def rename(home: Home, name: str, to: str) -> Pipeline:
    """The pipeline is called ``to``; all else of it stays, and what goes on goes on.

    Raises ConfigError for what is no name, and for one that another pipeline has.
    """
    return pipelines.change(home, name, lambda now: replace(now.wish, name=to))


def map_automatically(home: Home, name: str, on: bool) -> Pipeline:
    """Tables and columns of the pipeline are made by themselves, or by hand, from its next run on. Event types with a
    choice of their own keep it."""
    return pipelines.change(home, name, lambda now: replace(now.wish, auto_mapping=on))


def reschedule(home: Home, name: str, wanted: Schedule) -> Pipeline:
    """The pipeline runs so from now on: an interval begins at once. Raises ConfigError for what its source forbids."""
    legacy = workspace(home.database).legacy_frequency

    def wished(now: Pipeline) -> Wish:
        schedule.check(wanted, connections.registry.source(now.source_type), legacy=legacy)
        return replace(now.wish, schedule=schedule.to_json(wanted))

    return pipelines.change(home, name, wished)


def load_every(home: Home, destination: str, wanted: Schedule) -> None:
    """What is staged for the destination is loaded so; on demand: with every run, as it is at first.

    Runs of all of its pipelines then only read, and their loads have a schedule of their own.
    """
    home.actor.must("destinations.edit")
    found = connections.find(home, "destination", destination)
    saved = schedule.to_json(wanted)
    now = home.database.now()
    with home.database.transaction() as connection:
        old = connections.load_schedule(connection, found.id)
        connection.execute(
            sa.update(connections.connections)
            .where(connections.connections.c.id == found.id)
            .values(load_schedule=saved, changed_at=now)
        )
        query = sa.select(table.c.id, table.c.state).where(table.c.destination_id == found.id)
        for row in connection.execute(query).all():
            slots.begin(connection, row.id, "load", saved, now, active=row.state == "ACTIVE")
        told = f"Loads of destination {destination} have another schedule"
        activity.wrote(home, "MEDIUM", Entity("destination", found.id, destination), "schedule", told, old, saved)


def load_now(home: Home, destination: str) -> list[jobs.Job]:
    """What waits for the destination is loaded by its pipelines as soon as workers are free."""
    home.actor.must("destinations.edit")
    found = connections.find(home, "destination", destination)
    names = [one.name for one in pipelines.listed(home) if one.destination_id == found.id and one.state == "ACTIVE"]
    return [jobs.start(home, name, kind="load") for name in names]


def clone(home: Home, name: str, *, new_name: str | None = None, table_prefix: str) -> Pipeline:
    """A copy that has read nothing yet, paused: same connections, objects, query modes, transformation, mappings and
    schedule.

    ``table_prefix`` must be another one where both would fill the same tables.
    """
    home.actor.must("pipelines.create")
    found = pipelines.find(home, name)
    if table_prefix.rstrip("_") == found.table_prefix.rstrip("_"):
        raise ConfigError(
            f"the copy of pipeline {name} would fill the same tables", hint="Give it another prefix.",
            path="table_prefix",
        )  # fmt: skip
    wish = replace(found.wish, name=new_name or _free_name(home, name), table_prefix=table_prefix)
    from millrace.control.mapper import mapping_copies  # which needs Arrow

    now = home.database.now()

    def rest(connection: sa.Connection, made: Pipeline) -> None:
        for one in (object_settings, transformations):
            rows = connection.execute(sa.select(one).where(one.c.pipeline_id == found.id)).mappings().all()
            if rows:
                connection.execute(sa.insert(one), [{**row, "pipeline_id": made.id} for row in rows])
        for slot in slots.of(connection, found.id):
            if slot.part == "object":
                saved = schedule.to_json(slot.schedule)
                slots.begin(connection, made.id, "object", saved, now, stream=slot.stream, active=False)
        mapping_copies.keep(home, connection, found, made, mapping_copies.copied(home, found, made))

    return pipelines.create(home, wish, state="PAUSED", also=rest)


def _free_name(home: Home, name: str) -> str:
    taken = {one.name for one in pipelines.listed(home)}
    names = (f"{name} (copy{f' {number}' if number > 1 else ''})" for number in range(1, len(taken) + 2))
    return next(one for one in names if one not in taken)


def _allowed(home: Home, name: str, action: Action) -> Pipeline:
    found = pipelines.find(home, name)
    if (found.state, action) not in TRANSITIONS:
        raise ConfigError(
            f"pipeline {name} is {found.state.lower()}; it cannot {action} now",
            hint="An active pipeline can be paused, a paused one resumed.",
            code="wrong_state",
        )
    return found


def _become(connection: sa.Connection, found: Pipeline, state: State) -> None:
    values = {"state": state, "changed_at": datetime.now(UTC)}
    as_found = (table.c.id == found.id, table.c.state == found.state)
    if connection.execute(sa.update(table).where(*as_found).values(values)).rowcount != 1:
        raise ConfigError(
            f"pipeline {found.name} was changed by somebody else in this moment",
            hint="Look at it, and try again.",
            code="wrong_state",
        )


def _stop(connection: sa.Connection, pipeline_id: str, now: datetime) -> None:
    """What waits is cancelled; what goes on is asked to end."""
    tasks.drop_waiting(connection, pipeline_id, now)
    mine = (runs.c.pipeline_id == pipeline_id, runs.c.status.in_(("IN_PROGRESS", "QUEUED")))
    at_work = runs.c.id.in_(sa.select(task_table.c.run_id).where(task_table.c.pipeline_id == pipeline_id))
    wish = {"cancel_at": now, "status": "CANCELLING"}
    connection.execute(sa.update(runs).where(*mine, at_work).values(wish))


def _buried(home: Home, pipeline_id: str, name: str) -> bool:
    with home.database.reading() as connection:
        left = sa.select(task_table.c.id).where(task_table.c.pipeline_id == pipeline_id).limit(1)
        if connection.execute(left).first() is not None:
            return False
    try:
        with leases.held(home.database, lease_name(pipeline_id), what=f"pipeline {name}"):
            followers.forget(home, pipeline_id, name)
            with home.database.transaction() as connection:
                records.end_interrupted(home.database, pipeline_id)
                audits.keep(connection, pipeline_id)
                team = sa.delete(table).where(table.c.id == pipeline_id).returning(table.c.team_id)
                for team_id in connection.execute(team).scalars():
                    alert_events.gone(connection, team_id, Entity("pipeline", pipeline_id, name))
    except AlreadyRunning:
        return False
    return True


def account(home: Home, source_id: str) -> str:
    """The account that a source reads from; sources of one account have the same."""
    found = connections.by_id(home, source_id)
    return account_of(found.type, connections.settings_of(home, found))


def account_of(type_: str, settings: Settings) -> str:
    """The same, of a source with these settings."""
    assert isinstance(settings, SourceConfig)
    return f"{type_} {settings.account()}"


def _wrote(
    home: Home, found: Pipeline, severity: Severity, action: str, message: str, before: object, after: object
) -> None:
    activity.wrote(home, severity, Entity("pipeline", found.id, found.name), action, message, before, after)
