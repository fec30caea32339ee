"""What is done with one object of a pipeline, or with several: pause, skip, restart, and the like (pipelines.md 9.2).

Which action is allowed in which state is `ALLOWED`; a test goes through all of them.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import sqlalchemy as sa

from millrace.control import activity
from millrace.control.activity import Entity
from millrace.control.connecting import connections
from millrace.control.database.db import upsert
from millrace.control.database.tables import object_settings, segments
from millrace.control.database.tables import objects as selected
from millrace.control.pipeline import objects, pipelines, positions, query_modes
from millrace.control.pipeline.objects import Object, ObjectState
from millrace.control.running import jobs
from millrace.control.scheduling import schedule, slots
from millrace.control.settings import workspace
from millrace.data.dataclass import dataclass
from millrace.errors import ConfigError, MillraceError, Problem, as_typed

if TYPE_CHECKING:
    from millrace.control.home import Home
    from millrace.control.pipeline.pipelines import Pipeline
    from millrace.control.running.jobs import Job
    from millrace.control.scheduling.schedule import Schedule
    from millrace.data.batch import JSON, Lane

Action: TypeAlias = Literal[
    "run_now",
    "pause",
    "resume",
    "skip",
    "include",
    "restart",
    "restart_historical",
    "change_position",
    "query_mode",
    "schedule",
]

ALLOWED: Mapping[ObjectState, frozenset[Action]] = {
    "ACTIVE": frozenset(
        ("run_now", "pause", "skip", "restart", "restart_historical", "change_position", "query_mode", "schedule")
    ),
    "PAUSED": frozenset(("resume", "skip", "change_position", "query_mode", "schedule")),
    "SKIPPED": frozenset(("include",)),
}

BECOMES: Mapping[Action, ObjectState] = {"pause": "PAUSED", "resume": "ACTIVE", "skip": "SKIPPED", "include": "ACTIVE"}
BECAME: Mapping[Action, str] = {
    "pause": "was paused",
    "resume": "was resumed",
    "skip": "is skipped",
    "include": "is included again",
}

RESTARTED: Mapping[str, str] = {
    "restart": "Object {} of {} is read again from its beginning",
    "restart_historical": "The history of object {} of {} is read again",
}

# Those that begin a job need an active pipeline, too.
BEGINS = frozenset(("run_now", "restart", "restart_historical"))


@dataclass(frozen=True, slots=True)
class Done:
    """What came of an action on one of several objects: nothing to say, or why not."""

    object: str
    problem: Problem | None = None


def run_now(home: Home, pipeline: str, name: str) -> Job:
    """The object is read as soon as a worker is free; the schedule stays as it is."""
    _, one = _allowed(home, pipeline, name, "run_now")
    return jobs.start(home, pipeline, only=[one.name])


def pause(home: Home, pipeline: str, name: str) -> Object:
    """The object is not read from the next run on, until it is resumed."""
    return _alone(home, pipeline, name, "pause")


def resume(home: Home, pipeline: str, name: str) -> Object:
    """The object is read again, from its position, with the next run."""
    return _alone(home, pipeline, name, "resume")


def skip(home: Home, pipeline: str, name: str) -> Object:
    """The object is no part of the pipeline any more. What was read of it before is loaded first."""
    return _alone(home, pipeline, name, "skip")


def load_waiting(home: Home, found: Pipeline, streams: Sequence[str]) -> None:
    """What was read of these streams, which are read no more, is loaded as soon as a worker is free."""
    home.actor.must("pipelines.edit")
    waits = sa.select(segments.c.number).where(
        segments.c.pipeline_id == found.id, segments.c.stream.in_(streams), segments.c.state == "staged"
    )
    with home.database.reading() as connection:
        waiting = connection.execute(waits.limit(1)).first() is not None
    if waiting and found.state == "ACTIVE":
        jobs.start(home, found.name, kind="load")


def include(home: Home, pipeline: str, name: str) -> Object:
    """A skipped object is read again: its history first, where it is not whole, then from its position."""
    return _alone(home, pipeline, name, "include")


def restart(home: Home, pipeline: str, name: str) -> Job:
    """The object is read again from its beginning. Rows merge into its table."""
    found, one = _allowed(home, pipeline, name, "restart")
    job = jobs.start(home, pipeline, only=[one.name], lanes=("incremental", "historical"), trigger="RESTART")
    _wrote(home, found, one, "restart", RESTARTED["restart"].format(one.name, pipeline))
    return job


def restart_historical(home: Home, pipeline: str, name: str) -> Job:
    """The history of the object is read again; where it follows what is new stays untouched."""
    found, one = _allowed(home, pipeline, name, "restart_historical")
    if not one.historical:
        raise ConfigError(
            f"object {one.name} of {pipeline} has no history of its own", hint="Restart it.", code="no_history"
        )
    job = jobs.start(home, pipeline, only=[one.name], lanes=("historical",), trigger="RESTART")
    _wrote(home, found, one, "restart_historical", RESTARTED["restart_historical"].format(one.name, pipeline))
    return job


def change_position(
    home: Home, pipeline: str, name: str, lane: Lane, cursor: JSON, *, append_again: bool = False
) -> Object:
    """The object is read from that position (`positions.put`), at once where the pipeline is active. Raises
    AlreadyRunning."""
    found, one = _movable(home, pipeline, name, lane)
    positions.put(home, pipeline, one.name, lane, cursor, append_again=append_again)
    if found.state == "ACTIVE" and one.state == "ACTIVE":
        jobs.start(home, pipeline, only=[one.name])
    return objects.find(home, pipeline, name)


def _movable(home: Home, pipeline: str, name: str, lane: Lane) -> tuple[Pipeline, Object]:
    found, one = _allowed(home, pipeline, name, "change_position")
    if lane == "incremental" and positions.of_log(home, pipeline) is not None:
        raise _log_based(pipeline, one)
    return found, one


def _log_based(pipeline: str, one: Object) -> ConfigError:
    return ConfigError(
        f"object {one.name} of {pipeline} has no position of its own: its changes come from the log",
        hint=f"Change where the log is read: `{as_typed('objects', 'log-position', pipeline, '--set')} PLACE`.",
        code="log_based",
    )


def move_log(home: Home, pipeline: str, wanted: str, *, append_again: bool = False) -> positions.Position:
    """The log is read from another place on, at once where the pipeline is active (`positions.move_log`)."""
    moved = positions.move_log(home, pipeline, wanted, append_again=append_again)
    if pipelines.find(home, pipeline).state == "ACTIVE":
        jobs.start(home, pipeline)
    return moved


def set_back(
    home: Home, pipeline: str, name: str, lane: Lane, moment: datetime, *, append_again: bool = False
) -> Object:
    """The object is read from where it was at that moment, at once where the pipeline is active; what was read since
    comes again. Raises ConfigError for a moment that is still to come, and AlreadyRunning."""
    home.actor.must("pipelines.edit")
    _must_be_over(home, moment)
    _, one = _allowed(home, pipeline, name, "change_position")
    cursor = positions.as_of(home, pipeline, one.name, lane, moment)
    return change_position(home, pipeline, name, lane, cursor, append_again=append_again)


def set_back_all(
    home: Home, pipeline: str, names: Sequence[str], moment: datetime, *, append_again: bool = False
) -> list[Done]:
    """The same of several objects, which are read by one job; those that cannot say why."""
    home.actor.must("pipelines.edit")
    _must_be_over(home, moment)
    flow, known = pipelines.find(home, pipeline), objects.by_name(objects.listed(home, pipeline))
    logged = positions.of_log(home, pipeline) is not None
    wanted: dict[str, Object] = {}
    refused: dict[str, MillraceError] = {}
    for name in names:
        try:
            one = _allowing(flow, known, name, "change_position")
            if logged:
                raise _log_based(pipeline, one)
            wanted[name] = one
        except MillraceError as error:
            refused[name] = error
    streams = [*dict.fromkeys(one.name for one in wanted.values())]
    try:
        wrong = positions.set_back(home, flow, streams, moment, append_again=append_again)
    except MillraceError as error:
        wrong = dict.fromkeys(streams, error)
    refused |= {name: wrong[one.name] for name, one in wanted.items() if one.name in wrong}
    active = {one.name for one in wanted.values() if one.state == "ACTIVE"}
    moved = [stream for stream in streams if stream in active and stream not in wrong]
    if moved and flow.state == "ACTIVE":
        jobs.start(home, pipeline, only=moved)
    return [Done(name, refused[name].problem) if name in refused else Done(wanted[name].name) for name in names]


def _must_be_over(home: Home, moment: datetime) -> None:
    now = home.database.now()
    if moment > now:
        raise ConfigError(
            f"{moment:%Y-%m-%d %H:%M} UTC is still to come",
            hint=f"Now it is {now:%Y-%m-%d %H:%M} UTC.",
            path="time",
            code="future_date",
        )


def back_to(
    home: Home, pipeline: str, run: int, *, name: str | None = None, append_again: bool = False
) -> Sequence[positions.Position]:
    """Every position that the run committed, of one object or of all, is where that run left it."""
    return positions.back_to(home, pipeline, run, stream=name, append_again=append_again)


def set_query_mode(home: Home, pipeline: str, name: str, mode: JSON) -> Object:
    """How the object is queried is kept for the source, and the object is read again with it."""
    with _changing(home, pipeline, name, "query_mode") as (connection, found, one):
        query_modes.selectable(mode, one.query_mode)
        _settle(connection, found, one, {"query_mode": mode}, home.database.now())
        message = f"Query mode of object {one.name} of {found.name} was set"
        _wrote(home, found, one, "query_mode", message, one.query_mode, mode)
    return objects.find(home, found.name, one.name)


def set_schedule(home: Home, pipeline: str, name: str, wanted: Schedule | None) -> Object:
    """The object is read by a schedule of its own, beside the pipeline's; None: with the pipeline, as at first."""
    with _changing(home, pipeline, name, "schedule") as (connection, found, one):
        saved = None
        if wanted is not None:
            legacy = workspace(home.database).legacy_frequency
            schedule.check(wanted, connections.registry.source(found.source_type), legacy=legacy)
            saved = schedule.to_json(wanted)
        _settle(connection, found, one, {"schedule": saved}, home.database.now())
        message = f"Object {one.name} of {found.name} has another schedule"
        _wrote(home, found, one, "schedule", message, one.schedule, saved)
    return objects.find(home, found.name, one.name)


def bulk(home: Home, pipeline: str, names: Sequence[str], action: Action) -> list[Done]:
    """The action was done on each of the objects that allow it; the others say why not."""
    home.actor.must("pipelines.edit")
    if action in BEGINS:
        return _together(home, pipeline, names, action)
    if action not in BECOMES:
        raise ConfigError(f"{action!r} is done with one object at a time", path="action", code="bad_action")
    return [Done(name, error and error.problem) for name, error in _become(home, pipeline, names, action)[1]]


def _together(home: Home, pipeline: str, names: Sequence[str], action: Action) -> list[Done]:
    """One job of all the objects that allow it: a pipeline has one at a time."""
    flow, known = pipelines.find(home, pipeline), objects.by_name(objects.listed(home, pipeline))
    may: list[Object] = []
    found: list[Done] = []
    for name in names:
        try:
            may.append(_allowing(flow, known, name, action))
            found.append(Done(name))
        except MillraceError as error:
            found.append(Done(name, error.problem))
    lanes = {"restart": ("incremental", "historical"), "restart_historical": ("historical",)}.get(action, ())
    if may:
        only = [one.name for one in may]
        jobs.start(home, pipeline, only=only, lanes=lanes, trigger="RESTART" if lanes else None)
    if lanes:
        with home.database.transaction():
            for one in may:
                _wrote(home, flow, one, action, RESTARTED[action].format(one.name, pipeline))
    return found


def _allowed(home: Home, pipeline: str, name: str, action: Action) -> tuple[Pipeline, Object]:
    home.actor.must("pipelines.edit")
    found = pipelines.find(home, pipeline)
    return found, _allowing(found, objects.by_name(objects.listed(home, pipeline)), name, action)


def _allowing(found: Pipeline, known: Mapping[str, Object], name: str, action: Action) -> Object:
    """The object of the pipeline, of all that it has by their names. Raises ConfigError unless it allows the action."""
    one = objects.named(known, found.name, name)
    said = one.state.lower()
    allowed = action in ALLOWED[one.state]
    if allowed and action in BEGINS and found.state != "ACTIVE":
        said, allowed = f"in a pipeline that is {found.state.lower()}", False
    if not allowed:
        raise ConfigError(
            f"object {one.name} of {found.name} is {said}: {action.replace('_', ' ')} is not possible now",
            hint=f"Possible: {', '.join(sorted(ALLOWED[one.state]))}.",
            code="wrong_state",
        )
    return one


def _alone(home: Home, pipeline: str, name: str, action: Action) -> Object:
    """What one object has become. Raises ConfigError unless it allows the action."""
    flow, ((_, error),) = _become(home, pipeline, [name], action)
    if error is not None:
        raise error
    return objects.find(home, flow.name, name)


def _become(
    home: Home, pipeline: str, names: Sequence[str], action: Action
) -> tuple[Pipeline, list[tuple[str, MillraceError | None]]]:
    """The objects have become what the action makes of them, in one transaction; those that do not allow it say why."""
    state = BECOMES[action]
    home.actor.must("pipelines.edit")
    flow = pipelines.find(home, pipeline)
    said: list[tuple[str, MillraceError | None]] = []
    changed: list[str] = []
    now = home.database.now()
    with home.database.transaction() as connection:
        flow = pipelines.held(connection, flow.id) or flow
        known = objects.by_name(objects.listed(home, flow.name))
        for name in names:
            try:
                one = _allowing(flow, known, name, action)
            except ConfigError as error:
                said.append((name, error))
                continue
            _settle(connection, flow, one, {"state": state}, now)
            _wrote(home, flow, one, action, f"Object {one.name} of {flow.name} {BECAME[action]}", one.state, state)
            known[one.name.lower()] = replace(one, state=state)
            if state == "ACTIVE" and not flow.selects(one.name):
                flow = pipelines.held(connection, flow.id) or flow
            said.append((name, None))
            changed.append(one.name)
    if changed and action == "skip":
        load_waiting(home, flow, changed)
    if changed and action == "include" and flow.state == "ACTIVE":
        jobs.start(home, flow.name, only=changed, trigger="INCLUDE")
    return flow, said


@contextmanager
def _changing(
    home: Home, pipeline: str, name: str, action: Action
) -> Generator[tuple[sa.Connection, Pipeline, Object]]:
    """The transaction in which an object is changed that allows it: what others change meanwhile comes before or
    after."""
    home.actor.must("pipelines.edit")
    id_ = pipelines.find(home, pipeline).id
    with home.database.transaction() as connection:
        pipelines.held(connection, id_)
        yield connection, *_allowed(home, pipeline, name, action)


def _settle(connection: sa.Connection, found: Pipeline, one: Object, values: dict[str, Any], now: datetime) -> None:
    row: dict[str, Any] = {
        "pipeline_id": found.id,
        "stream": one.name,
        "state": one.state,
        "historical": one.historical,
        "key": list(one.key),
        "query_mode": one.query_mode,
        "schedule": one.schedule,
        "seen_at": one.seen_at,
    }
    row |= {**values, "changed_at": now}
    upsert(connection, object_settings, [row], key=["pipeline_id", "stream"])
    if row["state"] == "ACTIVE" and not found.selects(one.name):
        names = {one.name}
        if found.selected is None:
            # It is read only where it is named, and then all are named that were read so far.
            met = sa.select(object_settings.c.stream).where(
                object_settings.c.pipeline_id == found.id, object_settings.c.gone_at.is_(None)
            )
            names |= {name for name in connection.execute(met).scalars() if found.selects(name)}
        own = [{"pipeline_id": found.id, "stream": name, "load_mode": None} for name in sorted(names)]
        connection.execute(sa.insert(selected), own)
    runs_alone = row["schedule"] if row["state"] == "ACTIVE" else None
    active = found.state == "ACTIVE"
    slots.begin(connection, found.id, "object", runs_alone, now, stream=one.name, active=active)


def _wrote(
    home: Home, found: Pipeline, one: Object, action: str, message: str, before: JSON = None, after: JSON = None
) -> None:
    entity = Entity("object", found.id, f"{found.name}/{one.name}")
    activity.wrote(home, "MEDIUM", entity, action, message, before, after)
