"""Objects and pipelines: what may be done in which state, with what effect, and what the activity log says of it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any, get_args

import pytest
import sqlalchemy as sa
import yaml
from sqlalchemy import event
from tests.control.conftest import Desk, commit
from tests.control.sources import Script

from millrace.connect.source import Stream
from millrace.control import activity
from millrace.control.as_code.apply import apply
from millrace.control.as_code.document import parse
from millrace.control.as_code.export import export
from millrace.control.connecting import connections
from millrace.control.database import tables
from millrace.control.home import Home
from millrace.control.operations import objects as operations
from millrace.control.pipeline import (
    lifecycle,
    object_actions,
    object_queries,
    objects,
    pipelines,
    positions,
    query_modes,
)
from millrace.control.pipeline.object_actions import ALLOWED
from millrace.control.pipeline.objects import ObjectState
from millrace.control.pipeline.pipelines import State, Wish
from millrace.control.running import jobs, tasks
from millrace.control.scheduling import slots
from millrace.control.scheduling.schedule import Schedule
from millrace.data.batch import Segment
from millrace.errors import ConfigError, Forbidden

HOURLY = Schedule(every_s=3600)
NAMES = ("Orders", "Users", "Visits")

ACTIONS: dict[object_actions.Action, Callable[[Home], Any]] = {
    "run_now": lambda home: object_actions.run_now(home, "events", "Users"),
    "pause": lambda home: object_actions.pause(home, "events", "Users"),
    "resume": lambda home: object_actions.resume(home, "events", "Users"),
    "skip": lambda home: object_actions.skip(home, "events", "Users"),
    "include": lambda home: object_actions.include(home, "events", "Users"),
    "restart": lambda home: object_actions.restart(home, "events", "Users"),
    "restart_historical": lambda home: object_actions.restart_historical(home, "events", "Users"),
    "change_position": lambda home: object_actions.change_position(home, "events", "Users", "incremental", 1),
    "query_mode": lambda home: object_actions.set_query_mode(home, "events", "Users", {"mode": "full_load"}),
    "schedule": lambda home: object_actions.set_schedule(home, "events", "Users", HOURLY),
}
AFTER: dict[object_actions.Action, ObjectState] = {
    "pause": "PAUSED",
    "resume": "ACTIVE",
    "skip": "SKIPPED",
    "include": "ACTIVE",
}
LOUD = {
    "pause",
    "resume",
    "skip",
    "include",
    "restart",
    "restart_historical",
    "change_position",
    "query_mode",
    "schedule",
}


@pytest.fixture
def ready(home: Home, saved: Desk, monkeypatch: pytest.MonkeyPatch) -> Home:
    """A home whose pipeline `events` offers three objects with a history."""
    script = Script({name: [[{"id": 1}]] for name in NAMES}, historical=True)
    monkeypatch.setattr(connections, "build_source", script.build)
    objects.refresh(home, "events")
    return home


def bring(home: Home, state: ObjectState) -> None:
    if state == "PAUSED":
        object_actions.pause(home, "events", "Users")
    elif state == "SKIPPED":
        object_actions.skip(home, "events", "Users")


def told_of(home: Home) -> tuple[activity.Entry, ...]:
    """What the activity log tells of objects, their positions among it."""
    return tuple(one for one in activity.listed(home).items if one.entity.type in ("object", "position"))


@pytest.mark.spec("pipelines.22.7")
@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
@pytest.mark.parametrize("state", get_args(ObjectState))
@pytest.mark.parametrize("action", get_args(object_actions.Action))
def test_every_action_on_an_object_is_done_and_told_or_refused_as_its_state_says(
    ready: Home, state: ObjectState, action: object_actions.Action
):
    bring(ready, state)
    before = len(told_of(ready))
    if action not in ALLOWED[state]:
        with pytest.raises(ConfigError) as refused:
            ACTIONS[action](ready)
        assert refused.value.code == "wrong_state"
        assert objects.find(ready, "events", "Users").state == state
        assert len(told_of(ready)) == before
        return
    ACTIONS[action](ready)
    assert objects.find(ready, "events", "Users").state == AFTER.get(action, state)
    told = told_of(ready)
    assert len(told) - before == (action in LOUD)
    assert {one.severity for one in told[: len(told) - before]} <= {"MEDIUM"}


@pytest.mark.spec("pipelines.22.7")
@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
@pytest.mark.parametrize("state", ["ACTIVE", "PAUSED"])
@pytest.mark.parametrize("action", get_args(lifecycle.Action))
def test_every_action_on_a_pipeline_is_done_and_told_or_refused_as_its_state_says(
    ready: Home, state: State, action: lifecycle.Action
):
    if state == "PAUSED":
        lifecycle.pause(ready, "events")
    doing = {"pause": lifecycle.pause, "resume": lifecycle.resume, "delete": lifecycle.delete}[action]
    wanted = lifecycle.TRANSITIONS.get((state, action))
    before = len(activity.listed(ready, entity="pipeline").items)
    if wanted is None:
        with pytest.raises(ConfigError) as refused:
            doing(ready, "events")
        assert refused.value.code == "wrong_state"
        assert pipelines.find(ready, "events").state == state
        return
    doing(ready, "events")
    told = activity.listed(ready, entity="pipeline").items
    assert len(told) == before + 1
    assert (told[0].action, told[0].severity) == (action, "HIGH" if action == "delete" else "MEDIUM")
    assert [one.state for one in pipelines.listed(ready)] == ([] if wanted == "DELETING" else [wanted])


def test_of_a_paused_pipeline_no_object_can_be_run(ready: Home):
    lifecycle.pause(ready, "events")
    for action in ("run_now", "restart", "restart_historical"):
        with pytest.raises(ConfigError, match="paused"):
            ACTIONS[action](ready)
    assert {one.status for one in objects.listed(ready, "events")} == {"PAUSED"}


def test_an_included_object_is_read_at_once_alone(ready: Home):
    object_actions.skip(ready, "events", "Users")
    object_actions.include(ready, "events", "Users")
    task = tasks.take(ready.database, ("NORMAL",))
    assert task is not None
    assert (task.arguments["only"], task.trigger) == (["Users"], "INCLUDE")


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
@pytest.mark.parametrize("waiting", [True, False])
def test_what_waits_of_an_object_that_a_file_skips_is_loaded_first(
    home: Home, saved: Desk, segment: Callable[..., Segment], tmp_path: Path, waiting: bool
):
    if waiting:
        books, _ = saved.books()
        books.commit(commit(read=10, segments=(segment(),)))
    exported = export(home)
    whole: Any = yaml.safe_load(exported.text)
    whole["pipelines"]["events"]["objects"] = {"*": {}, "Events": {"state": "SKIPPED"}}
    wanted = parse(yaml.safe_dump(whole), tmp_path / "f.yaml", env=dict.fromkeys(exported.variables, "C"))
    kinds = sa.select(tables.tasks.c.kind)
    apply(home, wanted, dry_run=True)
    assert saved.scalar(kinds) is None
    apply(home, wanted)
    assert object_queries.decided(home.database, saved.pipeline) == {"Events": {"state": "SKIPPED"}}
    assert saved.scalar(kinds) == ("load" if waiting else None)


def test_an_object_that_was_never_selected_is_skipped_and_including_it_selects_it(ready: Home):
    pipelines.change(ready, "events", lambda _: Wish("events", "project", "warehouse", objects={"Orders": None}))
    assert {one.name: one.state for one in objects.listed(ready, "events")} == {
        "Orders": "ACTIVE",
        "Users": "SKIPPED",
        "Visits": "SKIPPED",
    }
    statuses = {one.name: one.status for one in objects.listed(ready, "events", category="SKIPPED")}
    assert statuses == {"Users": "NOT_INCLUDED", "Visits": "NOT_INCLUDED"}
    object_actions.include(ready, "events", "Users")
    assert pipelines.find(ready, "events").selected == {"Orders", "Users"}


def test_a_status_says_what_goes_on_with_an_object(ready: Home):
    assert objects.find(ready, "events", "users").status == "INIT"
    object_actions.run_now(ready, "events", "Users")
    assert {one.name: one.status for one in objects.listed(ready, "events")} == {
        "Orders": "INIT",
        "Users": "QUEUED",
        "Visits": "INIT",
    }
    assert [one.name for one in objects.listed(ready, "events", category="ACTIVE")] == list(NAMES)
    assert objects.listed(ready, "events", category="PAUSED") == []


def test_several_objects_are_changed_together_and_those_that_refuse_say_why(ready: Home):
    object_actions.pause(ready, "events", "Users")
    done = object_actions.bulk(ready, "events", [*NAMES, "Nobody"], "pause")
    assert [(one.object, one.problem and one.problem.code) for one in done] == [
        ("Orders", None),
        ("Users", "wrong_state"),
        ("Visits", None),
        ("Nobody", "unknown_object"),
    ]
    object_actions.bulk(ready, "events", NAMES, "resume")
    object_actions.bulk(ready, "events", ("Orders", "Users"), "restart")
    (job,) = jobs.page(ready, statuses=["QUEUED"]).items
    task = tasks.take(ready.database, ("NORMAL",))
    assert task is not None and task.job == job.run.id
    assert (task.arguments["only"], job.trigger) == (["Orders", "Users"], "RESTART")


def test_what_a_waiting_job_does_not_do_waits_behind_it(ready: Home):
    def arguments() -> list[dict[str, Any]]:
        with ready.database.reading() as connection:
            found = connection.execute(sa.select(tables.tasks.c.arguments).order_by(tables.tasks.c.id))
            return [dict(one) for one in found.scalars()]

    anew = {"lanes": ["incremental", "historical"]}
    first = object_actions.restart(ready, "events", "Orders")
    object_actions.restart(ready, "events", "Users")
    assert object_actions.restart(ready, "events", "Orders").run.id == first.run.id
    assert arguments() == [{"only": ["Orders"], **anew}, {"only": ["Users"], **anew}]
    # Any of them is a run; one of an object that nobody reads yet is not.
    assert jobs.start(ready, "events").run.id == first.run.id
    object_actions.run_now(ready, "events", "Visits")
    assert arguments()[2:] == [{"only": ["Visits"]}]
    # What has begun may have passed the place already.
    assert tasks.take(ready.database, ("NORMAL",)) is not None
    assert object_actions.restart(ready, "events", "Orders").run.id != first.run.id
    assert jobs.start(ready, "events", kind="resync", mode="drop-and-load").run.id != first.run.id
    assert arguments()[3:] == [{"only": ["Orders"], **anew}, {"mode": "drop-and-load"}]


def test_an_object_with_a_schedule_of_its_own_is_due_by_it_unless_it_rests(ready: Home, saved: Desk):
    object_actions.set_schedule(ready, "events", "Users", HOURLY)

    def own() -> list[str]:
        with ready.database.reading() as connection:
            return [one.stream for one in slots.of(connection, saved.pipeline) if one.part == "object"]

    assert own() == ["Users"]
    object_actions.pause(ready, "events", "Users")
    assert own() == []
    object_actions.resume(ready, "events", "Users")
    assert own() == ["Users"]
    object_actions.set_schedule(ready, "events", "Users", None)
    assert own() == []


def test_a_position_that_was_set_is_where_the_object_is_read_from_and_stays_in_the_history(ready: Home):
    object_actions.change_position(ready, "events", "Users", "incremental", 1)
    assert objects.find(ready, "events", "Users").positions == {"incremental": 1}
    assert [one.run for one in positions.history(ready, "events", "Users", "incremental")] == [None]
    assert jobs.page(ready).items[0].run.status == "QUEUED"


def test_several_objects_are_read_from_a_moment_on_by_one_job_and_those_that_cannot_say_why(ready: Home):
    def at(place: int) -> None:
        object_actions.change_position(ready, "events", "Users", "incremental", place)
        object_actions.change_position(ready, "events", "Orders", "incremental", 10 * place)

    at(1)
    between = ready.database.now()
    at(2)
    object_actions.pause(ready, "events", "Orders")
    object_actions.skip(ready, "events", "Visits")
    found = object_actions.set_back_all(ready, "events", ["Users", "Orders", "Visits", "Nowhere"], between)
    said = {one.object: one.problem and one.problem.code for one in found}
    assert said == {"Users": None, "Orders": None, "Visits": "wrong_state", "Nowhere": "unknown_object"}
    assert [objects.find(ready, "events", name).positions for name in ("Users", "Orders")] == [
        {"incremental": 1},
        {"incremental": 10},
    ]
    with pytest.raises(ConfigError) as caught:
        object_actions.set_back_all(ready, "events", ["Users"], ready.database.now() + timedelta(hours=1))
    assert (caught.value.code, "Now it is" in (caught.value.hint or "")) == ("future_date", True)
    assert objects.find(ready, "events", "Users").positions == {"incremental": 1}


@pytest.mark.parametrize("action", ["set_back", "pause", "skip", "restart"])
def test_what_is_done_with_many_objects_looks_at_all_of_them_once(ready: Home, saved: Desk, action: Any):
    objects.seen(ready.database, saved.pipeline, [Stream(f"o{number}") for number in range(40)])
    looks: list[str] = []

    def note(connection: Any, cursor: Any, statement: str, *_: object) -> None:
        # Every object that there is, or every position.
        if statement.startswith("SELECT") and "stream =" not in statement:
            looks.append(statement)

    def done(names: list[str]) -> int:
        event.listen(ready.database.engine, "before_cursor_execute", note)
        try:
            if action == "set_back":
                found = object_actions.set_back_all(ready, "events", names, ready.database.now())
            else:
                found = object_actions.bulk(ready, "events", names, action)
        finally:
            event.remove(ready.database.engine, "before_cursor_execute", note)
        assert [(one.object, one.problem) for one in found] == [(name, None) for name in names]
        asked = len(looks)
        looks.clear()
        return asked

    few, many = done(["o0"]), done([f"o{number}" for number in range(1, 40)])
    assert many <= few + 1, (few, many)


def test_who_may_only_look_changes_nothing(ready: Home):
    from millrace.control.people.actors import Actor

    guest = ready.acting(Actor("user", "guest@example.com", permissions=frozenset({"view"})))
    for doing in (
        *ACTIONS.values(),
        lambda home: lifecycle.pause(home, "events"),
        lambda home: jobs.start(home, "events"),
    ):
        with pytest.raises(Forbidden):
            doing(guest)
    assert [one.state for one in objects.listed(guest, "events")] == ["ACTIVE"] * 3


def test_objects_are_listed_by_the_query_mode_that_people_chose_under_whichever_name(ready: Home) -> None:
    object_actions.set_query_mode(ready, "events", "Users", {"mode": "timestamp", "timestamp_column_name": "at"})
    object_actions.set_query_mode(ready, "events", "Orders", {"mode": "delta", "timestamp_column_name": "at"})
    object_actions.pause(ready, "events", "Orders")

    def names(**of: Any) -> list[str]:
        return [one.name for one in objects.listed(ready, "events", **of)]

    assert names(query_mode="delta") == ["Orders", "Users"]
    assert names(query_mode="delta", category="PAUSED") == ["Orders"]
    assert names(query_mode="auto") == [name for name in names() if name not in ("Orders", "Users")]
    assert names(query_mode="full_load") == []
    page = operations.list_.on(ready, "events", query_mode="delta", limit=1)
    assert ([one.name for one in page.items], page.next is None) == (["Orders"], False)
    rest = operations.list_.on(ready, "events", query_mode="delta", limit=1, after=page.next)
    assert ([one.name for one in rest.items], rest.next) == (["Users"], None)


@pytest.mark.parametrize("mode", sorted(query_modes.QUERY_MODES))
def test_every_query_mode_is_one_by_which_objects_are_listed(mode: str) -> None:
    assert query_modes.chosen({"mode": mode}) in get_args(query_modes.QueryMode)
    assert query_modes.chosen({"use_bulk_api": True}) == query_modes.chosen(None) == "auto"


def test_a_query_mode_of_pipelines_from_elsewhere_is_brought_by_a_file_alone(ready: Home) -> None:
    for mode in ("xmin", {"mode": "xmin"}):
        with pytest.raises(ConfigError) as refused:
            object_actions.set_query_mode(ready, "events", "Users", mode)
        assert refused.value.code == "import_only"
    query_modes.selectable({"mode": "xmin"}, "xmin")
    assert objects.find(ready, "events", "Users").query_mode is None
