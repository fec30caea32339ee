"""The acceptance scenarios of the CleverTap source, through the whole of Millrace into a real table."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any, cast

import pytest
import sqlalchemy as sa
from tests.duckdb_files import staying_open
from tests.e2e.world import PASSCODE, PROJECT, START, World, event, simulator
from tests.postgres import Database

from millrace.connect.source import Slice
from millrace.control.books.records import run_records
from millrace.control.connecting import connections
from millrace.control.database.tables import connections as connection_table
from millrace.control.database.tables import mappings as mapping_table
from millrace.control.failed import rejects
from millrace.control.failed.replay import mend, replay
from millrace.control.mapper import mappings
from millrace.control.pipeline import object_actions, pipelines, positions
from millrace.control.reconciling.reconcile import reconcile
from millrace.control.reconciling.reconciliation import Cancelled
from millrace.control.running import runs
from millrace.control.transforming import transformations
from millrace.data.batch import LoadMode
from millrace.engine.meter import Meter
from millrace.engine.stage import Stage
from millrace.errors import AuthError, ConfigError, EnvironmentProblem, Transient

NAMES = ("App Launched", "Charged", "Product Viewed", "Session Concluded", "Search")


@pytest.fixture
def build(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Callable[..., World]]:
    """Makes worlds, and ends them."""
    made: list[World] = []

    def make(
        *names: str, account: dict[str, Any] | None = None, sim: dict[str, Any] | None = None, **world: Any
    ) -> World:
        started = simulator(account={"events": names, **(account or {})}, **(sim or {}))
        made.append(World(started, tmp_path, **world))
        made[-1].events(*names)
        return made[-1].create()

    with nullcontext() if request.node.get_closest_marker("outside") else staying_open():
        yield make
        for world in made:
            world.close()
            world.simulator.stop()


def put(world: World, *events: dict[str, Any]) -> None:
    world.simulator.add_events(PROJECT, events)


def balanced(world: World, record: Any) -> None:
    balance = record.balance
    parts = balance.loaded + sum(balance.filtered.values()) + sum(balance.rejected.values()) + balance.waiting
    assert balance.read == parts, balance


@pytest.mark.spec("clevertap.10.1")
def test_10_1_history_of_31_days_equals_the_ledger_without_exact_duplicates(build: Callable[..., World]):
    names = (
        *NAMES,
        "Added To Cart",
        "Checkout Started",
        "Login",
        "Sign Up",
        "App Uninstalled",
        "UTM Visited",
        "Web Session Started",
    )
    world = build(*names, account={"users": 60, "days": 45}, sim={"duplicates": {"probability": 0.02}})
    record = world.run()
    balanced(world, record)
    first = START.date() - timedelta(days=30)
    truth = {row.hevo_id for row in world.simulator.ledger(PROJECT, first, START.date()) if row.event_name in names}
    assert len(truth) > 1000
    assert world.ids() == dict.fromkeys(truth, 1)


@pytest.mark.spec("clevertap.10.2")
@pytest.mark.parametrize("mode", ["merge", "append"])
def test_10_2_a_second_run_at_once_brings_nothing_new(build: Callable[..., World], mode: str):
    world = build(*NAMES, account={"users": 20, "days": 40}, sim={"duplicates": {"probability": 0.05}}, mode=mode)
    world.run()
    before = world.rows(without=())
    record = world.run()
    assert record.balance.loaded == 0
    assert record.balance.read == sum(record.balance.filtered.values())
    assert world.rows(without=()) == before


@pytest.mark.spec("clevertap.10.3")
@pytest.mark.parametrize("mode", ["merge", "append"])
def test_10_3_a_row_four_days_late_is_caught_by_the_next_days_deep_look_back_once(
    build: Callable[..., World], mode: str
):
    world = build("Charged", mode=mode)
    put(world, event("Charged", START - timedelta(days=1)))
    world.run()
    put(world, event("Charged", START - timedelta(days=4), "__late"))
    world.simulator.clock.advance(days=1)
    record = world.run()
    assert record.balance.loaded == 1
    assert record.noted["late"] == 1
    assert world.run().balance.loaded == 0
    assert len(world.rows()) == 2


@pytest.mark.spec("clevertap.10.4")
@pytest.mark.parametrize("zone", ["America/Los_Angeles", "UTC", "Asia/Kolkata", "Pacific/Kiritimati"])
def test_10_4_rows_at_the_edges_of_a_local_day_are_kept_with_the_right_moment(build: Callable[..., World], zone: str):
    world = build("Charged", account={"timezone": zone}, source_config={"timezone": zone})
    for number, digits in enumerate((20260310235959, 20260311000000, 20260311235959, 20260312000000)):
        world.simulator.add_events(
            PROJECT, [{"event_name": "Charged", "objectId": f"__{number}", "ts_local": digits, "event_props": {}}]
        )
    world.run()
    from zoneinfo import ZoneInfo

    local = sorted(
        (row["ts_raw"], row["ts"].astimezone(ZoneInfo(zone)).strftime("%Y%m%d%H%M%S")) for row in world.rows()
    )
    assert [str(raw) for raw, _ in local] == [shown for _, shown in local]
    assert len(local) == 4


@pytest.mark.spec("clevertap.10.5")
def test_10_5_a_wrong_passcode_fails_the_test_and_a_wrong_project_passes_it_and_loads_nothing(
    build: Callable[..., World],
):
    world = build("Charged")
    put(world, event("Charged", START - timedelta(days=1)))
    config = dict(connections.find(world.home, "source", "project").config)
    wrong = connections.create(world.home, "source", "wrong", "clevertap", config | {"passcode": "no-such-pass"})
    from millrace.connect.source import Context

    verdicts = connections.build_source(world.home, wrong.id, Context(clock=world.clock)).check()
    assert verdicts[-1].state == "fail"
    connections.change(
        world.home, "source", "project", config=config | {"passcode": PASSCODE, "project_id": "NOT-A-PROJ"}
    )
    found = connections.find(world.home, "source", "project")
    verdicts = connections.build_source(world.home, found.id, Context(clock=world.clock)).check()
    assert {verdict.state for verdict in verdicts} <= {"pass", "warn"}
    record = world.run()
    assert record.balance.read == 0
    assert record.notes
    put(world, event("Charged", START - timedelta(days=29), "__d2"))
    connections.change(world.home, "source", "project", config=config | {"passcode": PASSCODE})
    world.run()
    assert world.ids() == world.truth() and len(world.rows()) == 2


@pytest.mark.spec("clevertap.10.6")
def test_10_6_credentials_of_another_region_are_refused_with_the_region_named(build: Callable[..., World]):
    world = build("Charged")
    config = dict(connections.find(world.home, "source", "project").config)
    other = {"base_url": world.simulator.url("us1"), "region": "US", "passcode": PASSCODE}
    connections.change(world.home, "source", "project", config=config | other)
    with pytest.raises(AuthError) as caught:
        world.run()
    assert "region" in f"{caught.value.message} {caught.value.hint}"
    assert "US" in f"{caught.value.message} {caught.value.hint}"


@pytest.mark.spec("clevertap.10.17")
@pytest.mark.parametrize(("mode", "rows"), [("merge", 1), ("append", 2)])
def test_10_17_a_duplicate_of_the_api_is_one_row_in_merge_and_two_in_append(
    build: Callable[..., World], mode: str, rows: int
):
    world = build("Charged", mode=mode)
    put(world, event("Charged", START - timedelta(days=1), Amount=5) | {"copies": 2})
    balanced(world, world.run())
    assert len(world.rows()) == rows
    world.simulator.clock.advance(days=1)
    world.run()
    assert len(world.rows()) == rows


@pytest.mark.spec("clevertap.10.18")
def test_10_18_a_property_that_changes_its_type_leaves_json_columns_alone(build: Callable[..., World]):
    world = build("Charged")
    for number, value in enumerate((5, 5.5, "five", [5], {"v": 5}, None, True)):
        put(world, event("Charged", START - timedelta(days=1), f"__{number}", Amount=value))
    world.run()
    shown = {row["object_id"]: json.loads(row["event_props"])["Amount"] for row in world.rows()}
    assert [shown[f"__{number}"] for number in range(7)] == [5, 5.5, "five", [5], {"v": 5}, None, True]
    destination = world.destination()
    kind = destination.query("SELECT data_type FROM information_schema.columns WHERE column_name = 'event_props'")
    destination.close()
    assert kind.to_pylist() == [{"data_type": "JSON"}]


@pytest.mark.spec("clevertap.10.18")
def test_10_18_columns_of_properties_take_a_type_that_holds_what_they_held_before(build: Callable[..., World]):
    world = build("Charged", options={"json_parsing_strategy": "SPLIT"})

    def amounts(value: Any) -> tuple[str, dict[str, Any]]:
        put(world, event("Charged", START - timedelta(hours=2), f"__{value}", Amount=value))
        world.run()
        destination = world.destination()
        try:
            kinds = destination.query(
                "SELECT data_type FROM information_schema.columns WHERE column_name = 'event_props_amount'"
            ).to_pylist()
        finally:
            destination.close()
        return kinds[0]["data_type"], {row["object_id"]: row["event_props_amount"] for row in world.rows()}

    long = 1 << 40
    assert amounts(5) == ("INTEGER", {"__5": 5})
    assert amounts(long) == ("BIGINT", {"__5": 5, f"__{long}": long})
    assert amounts(5.5) == ("DOUBLE", {"__5": 5, f"__{long}": long, "__5.5": 5.5})
    texts = {"__5": "5", f"__{long}": str(long), "__5.5": "5.5", "__five": "five"}
    assert amounts("five") == ("VARCHAR", texts)
    assert amounts(True) == ("VARCHAR", texts | {"__True": "true"})
    # A list is rows of a table of its own.
    assert amounts([7]) == ("VARCHAR", texts | {"__True": "true", "__[7]": None})
    assert [row["value"] for row in world.rows("events_event_props_amount")] == [7]


@pytest.mark.spec("clevertap.10.19")
def test_10_19_integers_beyond_2_to_the_53_are_exact(build: Callable[..., World]):
    world = build("Charged", source_config={"include_profile_fields": True})
    big = (1 << 60) + 1
    put(
        world,
        event("Charged", START - timedelta(days=1), Big=big)
        | {"profile": {"phone": big, "profileData": {"wide": 10**30}, "identity": "c1"}},
    )
    world.run()
    (row,) = world.rows()
    assert row["phone"] == str(big)
    assert str(big) in row["event_props"]
    assert str(10**30) in row["profile_data"]


@pytest.mark.spec("clevertap.10.20")
def test_10_20_a_name_more_in_the_file_gets_its_history_and_no_other_does(build: Callable[..., World]):
    world = build("Charged")
    put(
        world,
        event("Charged", START - timedelta(days=20)),
        event("Search", START - timedelta(days=20)),
        event("Search", START - timedelta(days=1), "__d2"),
    )
    world.run()
    world.events("Charged", "Search")
    asked_before = len(world.simulator.journal())
    world.run()
    assert len(world.rows()) == 3
    opened = [entry for entry in world.simulator.journal()[asked_before:] if entry.step == "open"]
    asked = [(entry.event, json.loads(entry.body)["from"]) for entry in opened]
    assert min(first for name, first in asked if name == "Search") == 20260212
    assert min(first for name, first in asked if name == "Charged") >= 20260308


@pytest.mark.spec("clevertap.10.22")
@pytest.mark.parametrize("mode", ["merge", "append"])
def test_10_22_a_changed_profile_updates_the_row_in_merge_and_is_no_new_row_in_append(
    build: Callable[..., World], mode: str
):
    world = build("Charged", mode=mode)
    put(world, event("Charged", START - timedelta(hours=3)) | {"profile": {"profileData": {"plan": "free"}}})
    world.run()
    world.simulator.set_profile(PROJECT, "__d1", {"profileData": {"plan": "gold"}, "identity": "cust-1"})
    world.simulator.clock.advance(3600)
    world.run()
    (row,) = world.rows()
    expected = {"merge": ("gold", "cust-1"), "append": ("free", None)}[mode]
    assert (json.loads(row["profile_data"])["plan"], row["identity"]) == expected


@pytest.mark.spec("clevertap.10.26")
def test_10_26_the_passcode_is_in_no_file_log_error_or_export(
    build: Callable[..., World], caplog: pytest.LogCaptureFixture
):
    from millrace.control.as_code.export import export

    world = build("Charged", "Nobody Knows This")
    put(world, event("Charged", START - timedelta(days=1)))
    world.run()
    world.simulator.faults.set([{"effect": "wrong_passcode"}])
    with pytest.raises(AuthError) as caught:
        world.run()
    texts = [str(caught.value), repr(caught.value.problem), caplog.text, str(export(world.home))]
    assert not any(PASSCODE in text for text in texts)
    secret = PASSCODE.encode()
    holding = [file for file in world.folder.rglob("*") if file.is_file() and secret in file.read_bytes()]
    assert holding == []


def test_rows_that_cannot_be_rows_are_rejects_that_can_be_listed_replayed_and_discarded(build: Callable[..., World]):
    world = build("Charged", "Search")
    put(world, *(event("Charged", START - timedelta(days=1), f"__{n}") for n in range(3)))
    put(world, event("Search", START - timedelta(days=1)))
    world.simulator.faults.set([{"effect": "bad_ts", "event": "Charged", "form": "string", "records": 1}])
    record = world.run()
    balanced(world, record)
    assert record.status == "COMPLETED_WITH_FAILURES"
    assert record.balance.rejected == {"source/BAD_TIMESTAMP": 1}
    assert len(world.rows()) == 3
    (group,) = rejects.listed(world.home, rejects.Choice(pipeline="clevertap"))
    assert (group.code, group.rows) == ("BAD_TIMESTAMP", 1)
    # Its time is no better now, so it is refused again, and still there once.
    again = replay(world.home, rejects.Choice(pipeline="clevertap"), clock=world.clock)
    balanced(world, again)
    (group,) = rejects.listed(world.home, rejects.Choice(pipeline="clevertap"))
    assert group.rows == 1
    assert rejects.discard(world.home, rejects.Choice(pipeline="clevertap")) == 1
    assert rejects.listed(world.home) == []


def test_reconcile_names_the_causes_and_reads_late_days_again(build: Callable[..., World]):
    world = build("Charged", "Search", "Notification Sent")
    put(
        world,
        *(event("Charged", START - timedelta(days=2), Amount=1) for _ in range(3)),
        event("Search", START - timedelta(days=9)),
    )
    world.run()
    put(
        world,
        event("Search", START - timedelta(days=9), "__late"),
        event("Search", START - timedelta(days=9), "__later"),
    )
    (found,) = reconcile(world.home, "clevertap", clock=world.clock)
    causes = {(row.name, cause.code): cause.rows for row in found.compared for cause in row.causes}
    assert causes == {("Charged", "duplicates"): 2, ("Search", "late"): 2}
    assert found.equal
    (fixed,) = reconcile(world.home, "clevertap", fix=True, clock=world.clock)
    assert fixed.again == (Slice(date(2026, 3, 5), date(2026, 3, 5), "Search"),)
    assert {(row.name, cause.code) for row in fixed.compared for cause in row.causes} == {("Charged", "duplicates")}
    assert len(world.rows()) == 4


@pytest.mark.parametrize("mode", ["merge", "append"])
def test_a_page_that_the_source_left_out_is_found_and_read_again(build: Callable[..., World], mode: str):
    world = build("Charged", mode=mode, sim={"shards": 1}, source_config={"batch_size": 23})
    put(world, *(event("Charged", START - timedelta(days=2), f"__{n}") for n in range(60)))
    world.simulator.faults.set([{"effect": "lost_page", "page": 2, "times": 1}])
    world.run()
    assert len(world.rows()) == 37
    (found,) = reconcile(world.home, "clevertap", clock=world.clock)
    ((cause,),) = (row.causes for row in found.compared if row.causes)
    assert (cause.code, cause.rows) == ("late", 23) and "or the source left them out" in cause.message
    (fixed,) = reconcile(world.home, "clevertap", fix=True, clock=world.clock)
    assert fixed.equal and not any(row.causes for row in fixed.compared)
    assert world.ids() == world.truth() and len(world.rows()) == 60


def test_days_between_those_that_a_fix_reads_again_stay_as_they_were_compared(build: Callable[..., World]):
    world = build("Charged")
    put(world, *(event("Charged", START - timedelta(days=days)) for days in (9, 6, 3)))
    world.run()
    put(world, *(event("Charged", START - timedelta(days=days), "__late") for days in (9, 3)))
    (fixed,) = reconcile(world.home, "clevertap", fix=True, clock=world.clock)
    assert [each.first for each in fixed.again] == [date(2026, 3, 5), date(2026, 3, 11)]
    counted = {row.day.day: (row.source_rows, row.table_rows) for row in fixed.compared if row.source_rows}
    assert fixed.equal and counted == {5: (2, 2), 8: (1, 1), 11: (2, 2)}


def test_names_known_to_be_unreadable_are_told_and_not_counted(build: Callable[..., World]):
    world = build("Charged", "Notification Sent")
    put(world, event("Charged", START - timedelta(days=2)))
    world.run()
    (found,) = reconcile(world.home, "clevertap", clock=world.clock)
    assert set(found.unreadable) == {"Notification Sent"}
    assert {row.name for row in found.compared} == {"Charged"}
    asked = [entry.body for entry in world.simulator.journal() if entry.path.startswith("/1/counts/")]
    assert any("Charged" in body for body in asked)
    assert not any("Notification Sent" in body for body in asked)


def test_a_reconciliation_that_is_stopped_compares_nothing_and_reads_nothing(build: Callable[..., World]):
    world = build("Charged", sim={"partial": {"probability": 1.0, "times": (1, 2)}})
    put(world, event("Charged", START - timedelta(days=2)))
    world.run()
    put(world, event("Charged", START - timedelta(days=2), "__late"))
    stopping = threading.Event()

    class Watched(Meter):
        def __setattr__(self, name: str, value: object) -> None:
            super().__setattr__(name, value)
            if name == "awaiting" and "2 of 31 counted" in str(value):
                stopping.set()

    meter = Watched()
    with pytest.raises(Cancelled) as stopped:
        reconcile(world.home, "clevertap", fix=True, clock=world.clock, meter=meter, stopping=stopping)
    assert (stopped.value.code, stopped.value.exit_code) == ("cancelled", 130)
    assert len(world.rows()) == 1
    assert [record.kind for record in run_records(world.home, "clevertap")] == ["HISTORICAL"]


EACH = ("App Launched", "Tutorial Complete", "tutorial complete", "Charged", "Search")


def tables(world: World) -> dict[str, str]:
    """The tables that the pipeline has filled, by the event names in them."""
    destination = world.destination()
    try:
        names = destination.query(
            "SELECT table_name FROM information_schema.tables WHERE table_name NOT LIKE '\\_\\_%' ESCAPE '\\'"
        )
        listed = [str(name) for name in names.column(0).to_pylist()]
        found = {name: destination.query(f'SELECT DISTINCT event_name FROM "{name}"').to_pylist() for name in listed}
        assert all(len(rows) == 1 for name, rows in found.items() if name != "events"), found
        assert not found.get("events")
        return {rows[0]["event_name"]: name for name, rows in found.items() if rows}
    finally:
        destination.close()


def apart(world: World) -> Counter[str]:
    """Identities of the rows in all of the tables."""
    return sum((world.ids(table) for table in tables(world).values()), Counter[str]())


def served(world: World) -> Counter[str]:
    """What the last 31 days hold of the names in the file."""
    first = START.date() - timedelta(days=30)
    rows = world.simulator.ledger(PROJECT, first, START.date() + timedelta(days=9))
    return Counter({row.hevo_id: row.copies for row in rows if row.event_name in EACH})


@pytest.mark.parametrize("mode", ["merge", "append"])
def test_each_event_name_may_have_a_table_of_its_own(build: Callable[..., World], mode: Any):
    world = build(
        *EACH,
        account={"users": 40, "days": 40},
        sim={"duplicates": {"probability": 0.05}},
        mode=mode,
        source_config={"tables": "each"},
    )
    put(world, *(event(name, START - timedelta(days=3), name, n=1) for name in EACH))
    first = world.run()
    balanced(world, first)
    made = tables(world)
    assert {*made} == {*EACH} and made["App Launched"] == "app_launched"
    assert {made["Tutorial Complete"], made["tutorial complete"]} == {"tutorial_complete", "tutorial_complete_1"}
    truth = served(world)
    assert apart(world) == (truth if mode == "append" else Counter(dict.fromkeys(truth, 1))) and len(truth) > 200
    assert world.run().balance.loaded == 0
    put(world, event("Search", START - timedelta(days=2), "__late"))
    world.simulator.clock.advance(days=1)
    assert world.run().balance.loaded >= 1
    (found,) = reconcile(world.home, "clevertap", clock=world.clock)
    assert found.equal and found.table == "5 tables" and {row.name for row in found.compared} >= {*EACH}
    assert {cause.code for row in found.compared for cause in row.causes} <= {"duplicates"}
    before = apart(world)
    full = world.run(full=True)
    balanced(world, full)
    assert tables(world) == made
    # The first of the days is no longer among the last 31.
    assert not apart(world) - before and len(apart(world)) > 200
    assert world.run().balance.loaded == 0


def test_an_event_that_was_refused_goes_to_the_table_of_its_name(build: Callable[..., World]):
    world = build("Charged", "Search", source_config={"tables": "each"})
    put(world, *(event(name, START - timedelta(days=1), f"__{n}") for name in ("Charged", "Search") for n in range(3)))
    world.simulator.faults.set([{"effect": "bad_ts", "event": "Charged", "form": "string", "records": 1}])
    world.run()
    world.simulator.faults.clear()
    assert (len(world.rows("charged")), len(world.rows("search"))) == (2, 3)
    file = world.folder / "rejects.jsonl"
    rejects.export_to(world.home, Stage(world.home.stage_url), rejects.Choice(pipeline="clevertap"), file)
    line = json.loads(file.read_text())
    line["row"] |= {"ts": 20260313100000}
    file.write_text(json.dumps(line))
    balanced(world, mend(world.home, "clevertap", file, clock=world.clock))
    assert (len(world.rows("charged")), len(world.rows("search"))) == (3, 3)
    assert world.rows() == [] and not rejects.listed(world.home)


def test_events_that_were_loaded_into_one_table_do_not_go_on_in_others(build: Callable[..., World]):
    world = build("Charged", "Search")
    put(world, *(event(name, START - timedelta(days=1)) for name in ("Charged", "Search")))
    world.run()
    before = world.rows()
    saved = connections.find(world.home, "source", "project").config
    connections.change(world.home, "source", "project", config={**saved, "tables": "each"}, keep_secrets=True)
    for road in ("run", "since", "resync", "forget", "reset"):
        with pytest.raises(ConfigError, match="tables was one and is each now"):
            ROADS[road](world)
    assert world.rows() == before
    world.run(full=True)
    assert len(world.rows("charged")) == len(world.rows("search")) == 1 and world.rows() == []
    assert world.run().balance.loaded == 0


def test_a_full_run_replaces_the_table_by_a_whole_new_one(build: Callable[..., World]):
    world = build("Charged")
    put(world, *(event("Charged", START - timedelta(days=n), f"__{n}") for n in range(1, 5)))
    world.run()
    destination = world.destination()
    destination.query("SELECT 1")
    destination.close()
    world.simulator.clock.advance(days=28)
    record = world.run(full=True)
    balanced(world, record)
    # Only the last 31 days are history now; the older rows went with the old table.
    assert {row["object_id"] for row in world.rows()} == {"__1", "__2"}
    assert world.rows("events__fresh") == []
    assert world.run().balance.loaded == 0


def test_a_resync_that_merges_keeps_the_table_and_doubles_nothing(build: Callable[..., World]):
    world = build("Charged")
    put(world, *(event("Charged", START - timedelta(days=n), f"__{n}") for n in range(1, 5)))
    world.run()
    before = world.rows()
    record = runs.resync(world.home, "clevertap", mode="evolve-and-merge", clock=world.clock)
    assert record.balance.loaded == 4
    assert world.rows() == before


ROADS: dict[str, Callable[[World], object]] = {
    "run": lambda world: world.run(),
    "since": lambda world: world.run(since=(START - timedelta(days=3)).date()),
    "resync": lambda world: runs.resync(world.home, "clevertap", mode="evolve-and-merge", clock=world.clock),
    "forget": lambda world: world.run(only=["Events"], forget=("incremental", "historical")),
    "replay": lambda world: replay(world.home, rejects.Choice(pipeline="clevertap"), clock=world.clock),
    "reset": lambda world: runs.reset(world.home, "clevertap"),
    "position": lambda world: positions.put(world.home, "clevertap", "Events", "incremental", None),
    "back": lambda world: positions.back_to(world.home, "clevertap", 1),
}


@pytest.mark.parametrize("road", ROADS)
def test_rows_with_another_identity_are_put_into_the_same_table_on_no_road(build: Callable[..., World], road: str):
    world = build("Charged")
    put(world, *(event("Charged", START - timedelta(days=1), f"__{n}") for n in range(4)))
    world.simulator.faults.set([{"effect": "bad_ts", "event": "Charged", "form": "string", "records": 1}])
    world.run()
    world.simulator.faults.clear()
    before = world.rows()
    assert len(before) == 3
    saved = connections.find(world.home, "source", "project").config
    config = {**saved, "row_identity": "record"}
    connections.change(world.home, "source", "project", config=config, keep_secrets=True)
    with pytest.raises(ConfigError, match="row_identity was event"):
        ROADS[road](world)
    assert world.rows() == before
    runs.resync(world.home, "clevertap", mode="drop-and-load", clock=world.clock)
    assert len(world.rows()) == 4 and not {*world.ids()} & {row["__hevo_id"] for row in before}
    assert world.run().balance.loaded == 0


def test_a_position_of_rows_with_another_identity_is_not_gone_back_to(build: Callable[..., World]):
    world = build("Charged")
    put(world, *(event("Charged", START - timedelta(days=1), f"__{n}") for n in range(3)))
    world.run()
    saved = connections.find(world.home, "source", "project").config
    config = {**saved, "row_identity": "record"}
    connections.change(world.home, "source", "project", config=config, keep_secrets=True)
    runs.resync(world.home, "clevertap", mode="drop-and-load", clock=world.clock)
    for settings in (config, saved):
        connections.change(world.home, "source", "project", config=settings, keep_secrets=True)
        with pytest.raises(ConfigError, match="row_identity was"):
            positions.back_to(world.home, "clevertap", 1)


@pytest.mark.parametrize("how", ["beginning", "moment"])
def test_from_its_beginning_all_is_read_also_what_came_since_it_was_read_last(build: Callable[..., World], how: str):
    world = build("Charged")
    put(world, event("Charged", START - timedelta(days=1)))
    world.run()
    world.simulator.clock.advance(days=25)
    put(world, event("Charged", START + timedelta(days=2)))
    if how == "beginning":
        positions.put(world.home, "clevertap", "Events", "incremental", None)
    else:
        object_actions.set_back(world.home, "clevertap", "Events", "incremental", START - timedelta(days=365))
    world.run()
    assert len(world.rows()) == 2
    world.run()
    assert len(world.rows()) == 2


def test_rows_that_are_appended_are_not_read_from_their_beginning_into_the_same_table(build: Callable[..., World]):
    world = build("Charged", mode="append")
    put(world, *(event("Charged", START - timedelta(days=1), f"__{n}") for n in range(3)))
    world.run()
    for lane in ("incremental", "historical"):
        with pytest.raises(ConfigError, match="double"):
            positions.put(world.home, "clevertap", "Events", lane, None)
    # From an earlier place on it is read again, and what is known is not put there twice.
    positions.back_to(world.home, "clevertap", 1)
    world.run()
    assert len(world.rows()) == 3


@pytest.mark.parametrize("mode", ["merge", "append"])
def test_events_that_failed_before_a_table_was_filled_anew_do_not_come_beside_those_read_since(
    build: Callable[..., World], mode: str
):
    world = build("Charged", mode=mode)
    put(world, *(event("Charged", START - timedelta(days=1), f"__{n}") for n in range(3)))
    whole = "def transform(event):\n    return event\n"
    broken = whole.replace(
        "    return", "    if '__1' in str(event.getProperties()):\n        raise ValueError('bad')\n    return"
    )
    transformations.deploy(world.home, "clevertap", "python", broken)
    world.run()
    assert len(world.rows()) == 2
    saved = connections.find(world.home, "source", "project").config
    if mode == "merge":
        config = {**saved, "row_identity": "record"}
        connections.change(world.home, "source", "project", config=config, keep_secrets=True)
    transformations.deploy(world.home, "clevertap", "python", whole)
    record = runs.resync(world.home, "clevertap", mode="drop-and-load", clock=world.clock)
    assert [note.message for note in record.notes if note.code == "rejects_discarded"] == [
        "1 failed events of Events are discarded, as its rows are read anew into a fresh table; of these, "
        "what the source does not give any more is gone. `millrace rejects list --all` has their groups"
    ]
    assert [group.state for group in rejects.listed(world.home, state=None)] == ["discarded"]
    world.run()
    replay(world.home, rejects.Choice(pipeline="clevertap"), clock=world.clock)
    assert len(world.rows()) == 3


LET_PASS = "def transform(event):\n    return event\n"
REFUSE_9 = LET_PASS.replace(
    "    return", "    if '__9' in str(event.getProperties()):\n        raise ValueError('bad')\n    return"
)


def lonely(build: Callable[..., World], mode: str = "append", **options: Any) -> World:
    """A world with an event of which all rows failed, so that its table has none, and whose cause is cured."""
    world = build("Charged", "Lonely", mode=mode, source_config={"tables": "each"}, **options)
    put(world, event("Charged", START - timedelta(days=1)), event("Lonely", START - timedelta(days=1), "__9"))
    transformations.deploy(world.home, "clevertap", "python", REFUSE_9)
    world.run()
    transformations.deploy(world.home, "clevertap", "python", LET_PASS)
    return world


@pytest.mark.parametrize("earlier", [False, True])
@pytest.mark.parametrize("only", [[], ["Events"]])
def test_an_event_of_which_all_rows_failed_is_not_doubled_when_all_is_filled_anew(
    build: Callable[..., World], only: list[str], earlier: bool
):
    world = lonely(build)
    if earlier:
        # Earlier versions kept no mapping of it.
        with world.home.database.transaction() as connection:
            connection.execute(sa.delete(mapping_table).where(mapping_table.c.stream == "Lonely"))
    record = runs.resync(world.home, "clevertap", mode="drop-and-load", clock=world.clock, only=only)
    assert ["Lonely" in note.message for note in record.notes if note.code == "rejects_discarded"] == [True]
    world.run()
    assert (len(world.rows("charged")), len(world.rows("lonely"))) == (1, 1)


@pytest.mark.parametrize(("mode", "own"), [("merge", "merge"), ("append", "append"), ("append", "merge")])
def test_an_event_of_which_all_rows_failed_comes_back_as_one_of_its_object(
    build: Callable[..., World], mode: str, own: str
):
    world = lonely(build, mode, objects={"Events": own})
    world.run()
    assert len(world.rows("lonely")) == 1
    world.run(since=(START - timedelta(days=3)).date())
    assert len(world.rows("lonely")) == 1
    runs.resync(world.home, "clevertap", mode="drop-and-load", clock=world.clock)
    assert len(world.rows("lonely")) == 1


def test_failed_events_of_a_paused_object_stay_when_others_are_filled_anew(build: Callable[..., World]):
    world = lonely(build, objects={"Events": None, "event_schema": None})
    object_actions.pause(world.home, "clevertap", "Events")
    record = runs.resync(world.home, "clevertap", mode="drop-and-load", clock=world.clock)
    assert "rejects_discarded" not in {note.code for note in record.notes}
    object_actions.resume(world.home, "clevertap", "Events")
    world.run()
    world.run()
    assert (len(world.rows("charged")), len(world.rows("lonely"))) == (1, 1)


@pytest.mark.parametrize(("mode", "own"), [("append", "merge"), ("merge", "append")])
def test_tables_of_event_names_are_loaded_as_the_object_is(build: Callable[..., World], mode: str, own: str):
    world = build("Charged", mode=mode, source_config={"tables": "each"}, objects={"Events": own})
    put(world, *(event("Charged", START - timedelta(days=1)) for _ in range(2)))
    world.run()
    count = 1 if own == "merge" else 2
    assert len(world.rows("charged")) == count
    world.run(since=(START - timedelta(days=3)).date())
    assert len(world.rows("charged")) == count
    if own == "append":
        for again in (
            ROADS["resync"],
            lambda world: positions.put(world.home, "clevertap", "Events", "historical", None),
        ):
            with pytest.raises(ConfigError, match="double"):
                again(world)


def test_names_that_come_after_the_load_mode_was_changed_are_loaded_as_those_before(build: Callable[..., World]):
    world = build("Charged", source_config={"tables": "each"})
    put(world, *(event(name, START - timedelta(days=1)) for name in ("Charged", "Search") for _ in range(2)))
    world.run()
    wish = replace(pipelines.find(world.home, "clevertap").wish, load_mode="append")
    pipelines.change(world.home, "clevertap", lambda _: wish)
    world.events("Charged", "Search")
    world.run()
    # The source reads for tables whose rows have keys.
    world.run(since=(START - timedelta(days=3)).date())
    assert (len(world.rows("charged")), len(world.rows("search"))) == (1, 1)
    (found,) = reconcile(world.home, "clevertap", clock=world.clock)
    assert found.equal


@pytest.mark.parametrize("tables", ["one", "each"])
def test_a_load_mode_that_is_changed_holds_for_tables_that_are_filled_anew(build: Callable[..., World], tables: str):
    world = build("Charged", source_config={"tables": tables})
    put(world, *(event("Charged", START - timedelta(days=1)) for _ in range(2)))
    world.run()
    table = "events" if tables == "one" else "charged"

    def changed(to: LoadMode) -> tuple[set[str], set[str]]:
        wish = replace(pipelines.find(world.home, "clevertap").wish, load_mode=to)
        pipelines.change(world.home, "clevertap", lambda _: wish)
        before = world.rows(table)
        kept = {note.code for note in world.run().notes}
        assert world.rows(table) == before
        anew = runs.resync(world.home, "clevertap", mode="drop-and-load", clock=world.clock)
        return kept, {note.code for note in (*anew.notes, *world.run().notes)}

    for mode, count in {"append": 2, "merge": 1}.items():
        kept, anew = changed(cast(LoadMode, mode))
        assert "load_mode_kept" in kept and "load_mode_kept" not in anew
        assert len(world.rows(table)) == count


@pytest.mark.parametrize("tables", ["one", "each"])
def test_a_load_mode_that_is_changed_before_there_is_a_row_holds(build: Callable[..., World], tables: str):
    world = build("Charged", source_config={"tables": tables})
    world.run()
    pipelines.change(world.home, "clevertap", lambda now: replace(now.wish, load_mode="append"))
    put(world, *(event("Charged", START - timedelta(hours=1)) for _ in range(2)))
    assert "load_mode_kept" not in {note.code for note in world.run().notes}
    assert len(world.rows("events" if tables == "one" else "charged")) == 2


def test_a_load_mode_that_is_changed_while_tables_are_filled_anew_holds_for_none_of_them(build: Callable[..., World]):
    world = build("Charged", "Search", source_config={"tables": "each"})
    for name, device in (names := {"Charged": "__d1", "Search": "__d2"}).items():
        put(world, event(name, START - timedelta(hours=3), device) | {"profile": {"profileData": {"plan": "free"}}})
    world.run()
    world.simulator.faults.set([{"effect": "server_error", "event": "Search"}])
    runs.resync(world.home, "clevertap", mode="drop-and-load", clock=world.clock)
    world.simulator.faults.clear()
    pipelines.change(world.home, "clevertap", lambda now: replace(now.wish, load_mode="append"))
    world.run()
    # The source reads for all tables of an object alike, and rows of one came for a merge already.
    for device in names.values():
        world.simulator.set_profile(PROJECT, device, {"profileData": {"plan": "gold"}})
    world.run()
    rows = [*world.rows("charged"), *world.rows("search")]
    assert [json.loads(row["profile_data"])["plan"] for row in rows] == ["gold", "gold"]


def test_each_table_is_compared_by_how_it_is_loaded(build: Callable[..., World]):
    world = build("Charged", "Search", source_config={"tables": "each"})
    put(world, *(event(name, START - timedelta(days=1)) for name in ("Charged", "Search") for _ in range(2)))
    world.run()
    mappings.delete_table(world.home, "clevertap", "Charged")
    mappings.set_key(world.home, "clevertap", "Charged", [])
    runs.resync(world.home, "clevertap", mode="drop-and-load", clock=world.clock)
    (found,) = reconcile(world.home, "clevertap", clock=world.clock)
    causes = {(row.name, cause.code): cause.rows for row in found.compared for cause in row.causes}
    assert found.equal and causes == {("Charged", "duplicates"): 1, ("Search", "duplicates"): 1}
    # Nothing tells rows of Charged from those that are there already.
    for _ in range(2):
        world.run(since=(START - timedelta(days=3)).date())
        assert (len(world.rows("charged")), len(world.rows("search"))) == (1, 1)


@pytest.mark.parametrize("others", [("Charged",), ()])
def test_rows_of_an_event_without_a_table_are_told_to_wait_among_the_failed_ones(
    build: Callable[..., World], others: tuple[str, ...]
):
    world = build(*others, "Lonely", source_config={"tables": "each"})
    put(world, event("Charged", START - timedelta(days=1)), event("Lonely", START - timedelta(days=1), "__9"))
    transformations.deploy(world.home, "clevertap", "python", REFUSE_9)
    world.run()
    (found,) = reconcile(world.home, "clevertap", clock=world.clock)
    causes = {(row.name, cause.code): cause.rows for row in found.compared for cause in row.causes}
    assert causes == {("Lonely", "rejected"): 1} and found.equal and found.rejected == {"Lonely": 1}


def test_earlier_versions_of_a_row_are_no_rows_more(build: Callable[..., World]):
    world = build("Charged", mode="history")
    put(world, event("Charged", START - timedelta(hours=3)) | {"profile": {"profileData": {"plan": "free"}}})
    world.run()
    world.simulator.set_profile(PROJECT, "__d1", {"profileData": {"plan": "gold"}})
    world.simulator.clock.advance(3600)
    world.run()
    assert len(world.rows()) == 2
    (found,) = reconcile(world.home, "clevertap", clock=world.clock)
    assert (found.source_rows, found.table_rows) == (1, 1)


def test_what_a_script_that_is_deployed_later_makes_of_known_events_is_not_doubled(build: Callable[..., World]):
    world = build("Charged", source_config={"tables": "each"})
    put(world, event("Charged", START - timedelta(days=1)))
    world.run()
    rename = LET_PASS.replace("    return", "    event.rename('Renamed')\n    return")
    transformations.deploy(world.home, "clevertap", "python", rename)
    for _ in range(2):
        world.run(since=(START - timedelta(days=3)).date())
        assert len(world.rows("renamed")) == 1


def test_an_event_with_the_name_of_an_object_has_a_table_of_its_own(build: Callable[..., World]):
    world = build("profiles", source_config={"tables": "each"})
    put(world, event("profiles", START - timedelta(days=1)))
    world.run()
    assert tables(world) == {"profiles": "profiles_event_"}
    (found,) = reconcile(world.home, "clevertap", clock=world.clock)
    assert found.equal


def test_an_appended_stream_is_not_resynced_into_the_same_table(build: Callable[..., World]):
    world = build("Charged", mode="append")
    put(world, event("Charged", START - timedelta(days=1)))
    world.run()
    with pytest.raises(ConfigError, match="double"):
        runs.resync(world.home, "clevertap", mode="evolve-and-merge", clock=world.clock)
    record = runs.resync(world.home, "clevertap", mode="drop-and-load", clock=world.clock)
    assert record.balance.loaded == 1
    assert len(world.rows()) == 1


def test_rows_that_are_read_again_are_not_counted_as_changed(build: Callable[..., World]):
    world = build("Charged")
    put(world, event("Charged", START - timedelta(days=9)))
    world.run()
    record = world.run(since=(START - timedelta(days=10)).date())
    assert record.noted == {"read_again": 1} and len(world.rows()) == 1


def test_since_reads_days_again_without_doubling(build: Callable[..., World]):
    world = build("Charged", mode="append")
    put(world, event("Charged", START - timedelta(days=9)))
    world.run()
    put(world, event("Charged", START - timedelta(days=9), "__late"))
    record = world.run(since=(START - timedelta(days=10)).date())
    assert record.balance.loaded == 1
    assert len(world.rows()) == 2


def test_a_table_that_was_dropped_is_filled_again_from_the_stage(build: Callable[..., World]):
    world = build("Charged", "Search")
    put(world, event("Charged", START - timedelta(days=1)), event("Search", START - timedelta(days=1)))
    world.run()
    before = world.rows()
    destination = world.destination()
    destination.drop("events")
    destination.close()
    put(world, event("Charged", START - timedelta(hours=1), "__new"))
    world.run()
    assert len(world.rows()) == 3
    assert all(row in world.rows() for row in before)


@pytest.mark.outside
def test_a_warehouse_that_was_restored_from_a_backup_is_brought_up_to_date(build: Callable[..., World]):
    world = build("Charged")
    file = world.folder / "warehouse.duckdb"
    put(world, event("Charged", START - timedelta(days=1)))
    world.run()
    backup = file.read_bytes()
    for number in range(3):
        put(world, event("Charged", START - timedelta(hours=2), f"__{number}"))
        world.simulator.clock.advance(3600)
        world.run()
    after = world.rows()
    file.write_bytes(backup)
    put(world, event("Charged", START + timedelta(hours=2), "__last"))
    world.simulator.clock.advance(3600)
    world.run()
    assert len(world.rows()) == 5
    assert all(row in world.rows() for row in after)


def test_a_column_that_was_dropped_comes_back_and_the_users_own_stays(build: Callable[..., World]):
    import duckdb

    world = build("Charged")
    put(world, event("Charged", START - timedelta(days=1)))
    world.run()
    with duckdb.connect(str(world.folder / "warehouse.duckdb")) as connection:
        connection.execute("ALTER TABLE events DROP COLUMN session_source")
        connection.execute("ALTER TABLE events ADD COLUMN mine VARCHAR DEFAULT 'x'")
    put(world, event("Charged", START - timedelta(hours=1), "__new"))
    world.run()
    rows = {row["object_id"]: row for row in world.rows()}
    assert set(rows) == {"__d1", "__new"}
    assert "session_source" in rows["__new"]
    assert rows["__d1"]["mine"] == "x"


def test_a_run_that_is_asked_to_stop_ends_at_a_commit_and_the_next_goes_on(build: Callable[..., World]):
    world = build(*NAMES, account={"users": 30, "days": 40})
    stopping = threading.Event()
    answered = 0

    class Counting(type(world.clock)):
        def now(self) -> Any:
            nonlocal answered
            answered += 1
            if answered > 60:
                stopping.set()
            return super().now()

    record = runs.run(world.home, "clevertap", clock=Counting(world.simulator), stopping=stopping)
    assert record.status == "CANCELLED"
    balanced(world, record)
    world.run()
    names = set(NAMES)
    first = START.date() - timedelta(days=30)
    truth = {row.hevo_id for row in world.simulator.ledger(PROJECT, first, START.date()) if row.event_name in names}
    assert world.ids() == dict.fromkeys(truth, 1)


def test_two_pipelines_share_a_destination_with_tables_of_their_own(build: Callable[..., World]):
    from millrace.control.pipeline import pipelines
    from millrace.control.pipeline.pipelines import Wish

    world = build("Charged")
    put(world, event("Charged", START - timedelta(days=1)))
    pipelines.create(world.home, Wish("second", "project", "warehouse", table_prefix="second"))
    threads = [
        threading.Thread(target=runs.run, args=(world.home, name), kwargs={"clock": world.clock})
        for name in ("clevertap", "second")
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(world.rows()) == len(world.rows("second_events")) == 1


@pytest.mark.parametrize("mode", ["merge", "append"])
def test_postgresql_holds_the_same_rows(build: Callable[..., World], database: Database, mode: str):
    world = build(
        *NAMES,
        account={"users": 20, "days": 40},
        sim={"duplicates": {"probability": 0.05}},
        mode=mode,
        destination_type="postgres",
        destination_config=database.settings(),
    )
    balanced(world, world.run())
    names = set(NAMES)
    first = START.date() - timedelta(days=30)
    copies = {
        row.hevo_id: row.copies
        for row in world.simulator.ledger(PROJECT, first, START.date())
        if row.event_name in names
    }
    assert world.ids() == (copies if mode == "append" else dict.fromkeys(copies, 1))
    assert world.run().balance.loaded == 0


def test_a_folder_holds_the_same_rows(build: Callable[..., World], tmp_path: Path):
    world = build(
        *NAMES,
        account={"users": 20, "days": 40},
        mode="append",
        destination_type="folder",
        destination_config={"path": str(tmp_path / "lake")},
    )
    balanced(world, world.run())
    names = set(NAMES)
    first = START.date() - timedelta(days=30)
    copies = {
        row.hevo_id: row.copies
        for row in world.simulator.ledger(PROJECT, first, START.date())
        if row.event_name in names
    }
    assert world.ids() == copies


def test_the_control_database_may_be_a_postgresql(build: Callable[..., World], database: Database):
    url = database.url.replace("postgresql://", "postgresql+psycopg://")
    world = build(*NAMES, account={"users": 10, "days": 40}, env={"MILLRACE_DATABASE_URL": url})
    balanced(world, world.run())
    assert world.run().balance.loaded == 0
    assert not (world.folder / ".millrace" / "millrace.db").exists()
    assert sum(world.ids().values()) == len(world.ids()) > 100


def test_stage_and_destination_may_be_buckets(build: Callable[..., World], bucket: str):
    world = build(
        *NAMES,
        account={"users": 10, "days": 40},
        mode="append",
        env={"MILLRACE_STAGE": f"{bucket}/stage"},
        destination_type="folder",
        destination_config={"path": f"{bucket}/lake"},
    )
    record = world.run()
    balanced(world, record)
    assert record.balance.loaded > 100
    assert world.run().balance.loaded == 0


def test_another_metadata_prefix_names_every_column_of_ours(build: Callable[..., World]):
    from millrace.control import settings

    world = build("Charged")
    settings.change(world.home, metadata_prefix="_mr_")
    put(world, event("Charged", START - timedelta(days=1)))
    world.run()
    (row,) = world.rows(without=())
    assert {name for name in row if "hevo" in name} == set()
    assert {"_mr_id", "_mr__ingested_at", "_mr__loaded_at"} <= set(row)
    put(world, event("Charged", START - timedelta(hours=1), "__new"))
    assert world.run().balance.loaded == 1
    assert len(world.rows("_mr__loads", without=())) == 1
    assert world.rows("__hevo__loads") == []
    with pytest.raises(ConfigError, match="metadata_prefix"):
        settings.change(world.home, metadata_prefix="__hevo_")


def test_a_host_that_is_not_there_ends_the_run_instead_of_every_window_waiting_for_it(build: Callable[..., World]):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        world = build(*NAMES, source_config={"base_url": f"http://127.0.0.1:{closed.getsockname()[1]}"})
        before = world.clock.monotonic()
        with pytest.raises(Transient, match=r"127\.0\.0\.1"):
            world.run()
    assert world.clock.monotonic() - before < 120


def test_a_reset_that_would_double_appended_rows_is_refused(build: Callable[..., World]):
    world = build("Charged", mode="append")
    put(world, event("Charged", START - timedelta(days=1)))
    world.run()
    with pytest.raises(ConfigError, match="again"):
        runs.reset(world.home, "clevertap")
    assert runs.reset(world.home, "clevertap", drop_tables=True) == ["events"]
    world.run()
    assert len(world.rows()) == 1


def test_a_reset_whose_source_cannot_say_how_it_tells_rows_apart_drops_tables_or_changes_nothing(
    build: Callable[..., World],
):
    world = build("Charged")
    put(world, event("Charged", START - timedelta(days=1)))
    world.run()
    saved = connections.find(world.home, "source", "project").config
    table = connection_table.c
    with world.home.database.transaction() as connection:
        # As a version that took more has left it.
        wrong = sa.update(connection_table).values(config={**saved, "historical_days": 9999})
        connection.execute(wrong.where(table.name == "project"))
    before = positions.listed(world.home, "clevertap")
    with pytest.raises(ConfigError, match="'historical_days' cannot be 9999"):
        runs.reset(world.home, "clevertap")
    assert positions.listed(world.home, "clevertap") == before and len(world.rows()) == 1
    assert runs.reset(world.home, "clevertap", drop_tables=True) == ["events"]
    assert positions.listed(world.home, "clevertap") == []


def test_a_reset_leaves_no_half_made_table_behind(build: Callable[..., World]):
    world = build("Charged", "Search")
    put(world, event("Charged", START - timedelta(days=1)), event("Search", START - timedelta(days=1)))
    world.run()
    world.simulator.faults.set([{"effect": "server_error", "event": "Search"}])
    assert world.run(full=True).status == "COMPLETED_WITH_FAILURES"
    assert len(world.rows("events__fresh")) == 1
    assert len(world.rows()) == 2
    runs.reset(world.home, "clevertap")
    assert world.rows("events__fresh") == []
    world.simulator.faults.clear()
    world.run()
    assert len(world.rows()) == 2


def test_a_run_without_the_key_of_its_secrets_leaves_no_run_in_progress(build: Callable[..., World]):
    world = build("Charged")
    key = world.folder / ".millrace" / "key"
    held = key.read_bytes()
    key.unlink()
    world.home.__dict__.pop("key", None)
    with pytest.raises(EnvironmentProblem):
        world.run()
    assert run_records(world.home) == []
    key.write_bytes(held)
    assert world.run().status == "COMPLETED"


@pytest.mark.outside
@pytest.mark.parametrize("mode", ["evolve-and-merge", "drop-and-load"])
def test_a_damaged_stage_is_mended_by_what_its_error_says(
    build: Callable[..., World], tmp_path: Path, mode: runs.ResyncMode
):
    path = tmp_path / "held.duckdb"
    world = build("Charged", destination_config={"path": str(path), "lock_timeout_s": 0})
    put(world, event("Charged", START - timedelta(days=1)))
    hold = "import duckdb, sys; c = duckdb.connect(sys.argv[1]); print(); sys.stdout.flush(); sys.stdin.read()"
    words = [sys.executable, "-c", hold, str(path)]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout and holder.stdout.readline()
        with pytest.raises(EnvironmentProblem, match="locked"):
            world.run()
    for file in (world.folder / ".millrace" / "stage").rglob("*.arrow"):
        file.write_bytes(b"not what it was")
    with pytest.raises(EnvironmentProblem) as caught:
        world.run()
    assert "`millrace resync`" in str(caught.value.hint)
    assert "--mode drop-and-load" in str(caught.value.hint)
    runs.resync(world.home, "clevertap", mode=mode, clock=world.clock)
    assert len(world.rows()) == 1
