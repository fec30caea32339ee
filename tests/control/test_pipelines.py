"""Pipelines: saved, changed within what loaded tables allow, removed with their books; and the workspace's settings."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest
import sqlalchemy as sa
from tests.control.conftest import Desk, commit

from millrace.connect import registry
from millrace.connect.source import Stream
from millrace.control import activity, settings
from millrace.control.alerting import lateness, unusual
from millrace.control.books import leases
from millrace.control.connecting import connections
from millrace.control.database import tables
from millrace.control.home import Home
from millrace.control.pipeline import lifecycle, object_actions, objects, pipelines
from millrace.control.pipeline.pipelines import Wish
from millrace.control.scheduling import due, schedule, slots
from millrace.control.scheduling.schedule import Schedule
from millrace.data.batch import JSON
from millrace.errors import ConfigError

WISH = Wish("events", "project", "warehouse")


def load_one(desk: Desk, segment: Any) -> None:
    books, _ = desk.books()
    books.commit(commit(read=1, segments=[segment(1)]))
    books.loaded("events", 1, 1, None)


def test_a_pipeline_is_saved_and_found(home: Home, saved: Desk) -> None:
    wish = Wish(
        "second",
        "project",
        "warehouse",
        load_mode="append",
        table_prefix="ct",
        naming="classic",
        auto_mapping=False,
        schedule={"every_s": 3600},
        options={"a": [1]},
        objects={"Events": "history", "Other": None},
    )
    made = pipelines.create(home, wish)
    assert made == pipelines.find(home, "second")
    assert made.wish == replace(wish, table_prefix="ct_")
    assert made.modes == {"Events": "history"}
    assert made.selected == {"Events", "Other"}
    assert (made.source_type, made.destination_type, made.state) == ("clevertap", "duckdb", "ACTIVE")
    assert [one.name for one in pipelines.listed(home)] == ["events", "second"]
    assert pipelines.differences(home, made, wish) == []
    assert pipelines.differences(home, made, replace(wish, load_mode="merge", objects=None)) == ["load_mode", "objects"]


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"name": ""}, "name"),
        ({"name": "x" * 256}, "name"),
        ({"source": "nobody"}, None),
        ({"destination": "nowhere"}, None),
        ({"load_mode": "upsert"}, "load_mode"),
        ({"objects": {"Events": "upsert"}}, "objects.Events.load_mode"),
        ({"objects": {}}, "objects"),
        ({"naming": "none"}, "naming"),
        ({"table_prefix": "a-b"}, "table_prefix"),
        ({"table_prefix": "x" * 33}, "table_prefix"),
    ],
)
def test_what_cannot_be_is_refused(home: Home, saved: Desk, change: dict[str, Any], path: str | None) -> None:
    with pytest.raises(ConfigError) as caught:
        pipelines.create(home, replace(Wish("new", "project", "warehouse"), **change))
    assert caught.value.path == path
    assert [one.name for one in pipelines.listed(home)] == ["events"]


def test_a_name_is_taken_once(home: Home, saved: Desk) -> None:
    with pytest.raises(ConfigError) as caught:
        pipelines.create(home, WISH)
    assert caught.value.code == "name_taken"
    pipelines.create(home, replace(WISH, name="second"))
    with pytest.raises(ConfigError) as caught:
        pipelines.change(home, "second", lambda _: WISH)
    assert caught.value.code == "name_taken"


def test_a_pipeline_gets_another_name_and_keeps_all_else(home: Home, saved: Desk, segment: Any) -> None:
    load_one(saved, segment)
    pipelines.create(home, replace(WISH, name="second"))
    old = pipelines.find(home, "events")
    renamed = lifecycle.rename(home, "events", "people")
    assert replace(renamed, name="events", changed_at=old.changed_at) == old
    assert activity.listed(home).items[0].message == "pipeline events is called people now"
    with pytest.raises(ConfigError) as refused:
        lifecycle.rename(home, "people", "second")
    assert refused.value.code == "name_taken"
    with pytest.raises(ConfigError, match="name"):
        lifecycle.rename(home, "people", "x" * 256)
    assert lifecycle.rename(home, "people", "events").wish == old.wish
    with pytest.raises(ConfigError) as unknown:
        lifecycle.rename(home, "people", "events")
    assert unknown.value.code == "unknown_pipeline"


def test_auto_mapping_of_a_whole_pipeline_is_switched(home: Home, saved: Desk) -> None:
    old = pipelines.find(home, "events")
    assert lifecycle.map_automatically(home, "events", True) == old, "it is on already"
    assert lifecycle.map_automatically(home, "events", False).wish == replace(old.wish, auto_mapping=False)
    assert lifecycle.map_automatically(home, "events", True).wish == old.wish


@pytest.mark.parametrize("number", range(1, 4))
def test_all_that_people_change_at_the_same_time_is_kept(home: Home, saved: Desk, number: int) -> None:
    objects.seen(home.database, saved.pipeline, [Stream("Events")])
    settings.change(home, high_priority_percent=100)
    mode: JSON = {"mode": "timestamp", "timestamp_column_name": "at"}
    every, strange = Schedule(every_s=3600 * number), unusual.Unusual(times=1.0 + number)
    doing: list[Callable[[str], object]] = [
        lambda name: lifecycle.rename(home, name, "people"),
        lambda name: lifecycle.map_automatically(home, name, False),
        lambda name: lifecycle.reschedule(home, name, every),
        lambda name: lifecycle.prioritize(home, name, "HIGH"),
        lambda name: lateness.allow(home, name, number),
        lambda name: unusual.watch(home, name, strange),
        lambda name: object_actions.set_query_mode(home, name, "Events", mode),
        lambda name: object_actions.pause(home, name, "Events"),
    ]
    began = threading.Barrier(len(doing))

    def done(one: Callable[[str], object]) -> str | None:
        began.wait()
        try:
            one("events")
        except ConfigError as error:
            return error.code
        return None

    with ThreadPoolExecutor(len(doing)) as pool:
        said = [*pool.map(done, doing)]
    # Whoever looks for the old name a moment too late is told so, and has changed nothing.
    assert said[0] is None and set(said) <= {None, "unknown_pipeline"}
    for one, code in zip(doing, said, strict=True):
        if code is not None:
            one("people")
    found = pipelines.find(home, "people")
    assert (found.id, found.auto_mapping, found.priority) == (saved.pipeline, False, "HIGH")
    assert found.schedule == schedule.to_json(every)
    assert (lateness.of(home, "people"), unusual.of(home, "people")) == (number, strange)
    with home.database.reading() as connection:
        (slot,) = slots.of(connection, found.id)
    assert slot.schedule == due.hurried(every, registry.source("clevertap").frequency(legacy=False))
    assert [(one.state, one.query_mode) for one in objects.listed(home, "people")] == [("PAUSED", mode)]


def test_before_the_first_load_all_can_change(home: Home, saved: Desk) -> None:
    connections.create(home, "destination", "other", "duckdb", {"path": "y.duckdb"})
    wish = Wish("renamed", "project", "other", load_mode="history", table_prefix="p", naming="classic")
    changed = pipelines.change(home, "events", lambda _: wish)
    assert changed.id == saved.pipeline
    assert changed.wish == replace(wish, table_prefix="p_")


@pytest.mark.parametrize(
    "change",
    [
        {"table_prefix": "p"},
        {"naming": "classic"},
        {"destination": "other"},
        {"load_mode": "history"},
        {"objects": {"Events": "history"}},
    ],
)
def test_after_a_load_what_tables_depend_on_stays(
    home: Home, saved: Desk, segment: Any, change: dict[str, Any]
) -> None:
    connections.create(home, "destination", "other", "duckdb", {"path": "y.duckdb"})
    load_one(saved, segment)
    before = pipelines.find(home, "events")
    with pytest.raises(ConfigError) as caught:
        pipelines.change(home, "events", lambda _: replace(WISH, **change))
    assert caught.value.code == "fixed_after_load"
    assert caught.value.hint
    assert pipelines.find(home, "events") == before


def test_after_a_load_the_rest_can_change(home: Home, saved: Desk, segment: Any) -> None:
    load_one(saved, segment)
    wish = replace(WISH, load_mode="append", objects={"Events": "merge"}, schedule={"every_s": 60}, auto_mapping=False)
    assert pipelines.change(home, "events", lambda _: wish).load_mode == "append"
    assert pipelines.change(home, "events", lambda _: replace(WISH, name="renamed")).objects is None


def test_a_pipeline_has_history_once_it_committed(home: Home, saved: Desk) -> None:
    assert not pipelines.has_history(home, "events")
    books, _ = saved.books()
    books.commit(commit())
    assert pipelines.has_history(home, "events")


def test_a_removed_pipeline_takes_its_books_along(home: Home, saved: Desk, segment: Any, rejects: Any) -> None:
    load_one(saved, segment)
    books, _ = saved.books()
    books.commit(commit(read=2, rejects=[rejects(2)], cursor="c"))
    with leases.held(home.database, "something else"):
        leases._ours.clear()
        assert lifecycle.delete(home, "events")
    with pytest.raises(ConfigError, match="no pipeline 'events'"):
        pipelines.find(home, "events")
    with home.database.reading() as connection:
        for table in tables.metadata.sorted_tables:
            if table.name == "usage_hourly":
                continue  # what was used is owed, whatever becomes of the pipeline
            if "pipeline_id" in table.c or table.name in ("reject_groups", "run_counts"):
                assert connection.execute(sa.select(table)).first() is None, table.name
    assert pipelines.create(home, WISH).id != saved.pipeline


def test_a_running_pipeline_goes_when_its_run_has_ended(home: Home, saved: Desk) -> None:
    saved.books()
    assert not lifecycle.delete(home, "events")
    assert (pipelines.find(home, "events").state, lifecycle.bury(home)) == ("DELETING", 0)
    leases._ours.clear()
    assert lifecycle.bury(home) == 1
    assert not pipelines.listed(home)


def test_a_pipeline_can_be_paused(home: Home, saved: Desk) -> None:
    assert pipelines.set_state(home, "events", "PAUSED").state == "PAUSED"
    assert pipelines.find(home, "events").state == "PAUSED"


def test_no_state_brings_back_a_pipeline_that_was_deleted(home: Home, saved: Desk) -> None:
    saved.books()
    assert not lifecycle.delete(home, "events")
    for state in ("PAUSED", "ACTIVE"):
        with pytest.raises(ConfigError, match="was deleted"):
            pipelines.set_state(home, "events", state)
    leases._ours.clear()
    assert (pipelines.find(home, "events").state, lifecycle.bury(home)) == ("DELETING", 1)


def test_settings_are_kept_and_checked(home: Home) -> None:
    assert settings.workspace(home.database) == settings.Workspace()
    changed = settings.change(home, metadata_prefix="__mr_", naming="classic", retention_days=0)
    assert changed == settings.Workspace(metadata_prefix="__mr_", naming="classic", retention_days=0)
    wrong: list[dict[str, Any]] = [
        {"metadata_prefix": "1a"},
        {"metadata_prefix": ""},
        {"metadata_prefix": "A_"},
        {"metadata_prefix": "x" * 21},
        {"metadata_prefix": 'a"b'},
        {"retention_days": -1},
        {"retention_days": 2.5},
        {"retention_days": True},
        {"reject_retention_days": 0},
        {"script_seconds": 0},
        {"script_seconds": "5"},
        {"script_memory_mib": 8},
        {"script_memory_mib": 256.5},
        {"naming": "x"},
        {"stage_url": ""},
        {"colour": "red"},
    ]
    for change in wrong:
        with pytest.raises(ConfigError) as caught:
            settings.change(home, **change)
        assert caught.value.path == next(iter(change))
    assert settings.workspace(home.database) == changed


def test_after_a_load_the_metadata_prefix_stays(home: Home, saved: Desk, segment: Any) -> None:
    load_one(saved, segment)
    with pytest.raises(ConfigError) as caught:
        settings.change(home, metadata_prefix="__mr_")
    assert caught.value.code == "fixed_after_load"
    assert settings.change(home, metadata_prefix="__hevo_").metadata_prefix == "__hevo_"


def test_the_stage_stays_while_rows_wait_on_it(home: Home, saved: Desk, segment: Any, tmp_path: Any) -> None:
    books, _ = saved.books()
    books.commit(commit(read=1, segments=[segment(1)]))
    with pytest.raises(ConfigError) as caught:
        settings.change(home, stage_url=str(tmp_path))
    assert caught.value.code == "stage_in_use"
    books.loaded("events", 1, 1, None)
    settings.change(home, stage_url=str(tmp_path))
    assert home.stage_url == str(tmp_path)
    assert list(books.segments("events", 1, 0)) == []
