"""The list of pipelines: what each is like is found in the database, page by page."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa
from tests.control.file_notes import note, seen
from tests.control.sources import Script

from millrace.control.books import records
from millrace.control.connecting import connections
from millrace.control.home import Home
from millrace.control.observing import overview, status
from millrace.control.pipeline import file_log, lifecycle, pipelines
from millrace.control.pipeline.pipelines import Wish
from millrace.control.running import runs


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    folder: Path = tmp_path_factory.mktemp("overview")
    script = Script({"Orders": [[{"id": 1, "name": "a"}, {"id": 2, "name": "b"}]]})
    with pytest.MonkeyPatch.context() as patch, Home.open(folder / "home", create=True, env={}) as home:
        patch.setattr(connections, "build_source", script.build)
        config = {"project_id": "A-B", "passcode": "x", "events_file": None, "event_source": "schema"}
        connections.create(home, "source", "shop", "clevertap", config)
        for name in ("warehouse", "lake_1"):
            connections.create(home, "destination", name, "duckdb", {"path": str(folder / f"{name}.duckdb")})
        for number, name in enumerate(("Never ran", "Ran well", "Failed", "paused", "Fails in part", "Lost a file")):
            target = "lake_1" if name == "paused" else "warehouse"
            pipelines.create(home, Wish(name, "shop", target, table_prefix=f"p{number}_"))
        runs.run(home, "Ran well")
        runs.run(home, "Lost a file")
        runs.run(home, "Fails in part")
        _end(home, "Fails in part", "COMPLETED_WITH_FAILURES")
        _end(home, "Failed", "FAILED")
        for name, path in (("Lost a file", "cut.csv"), ("Ran well", "skipped.csv")):
            seen(home, name, note(path, "failed", error="It is cut off."), note("whole.csv", "ingested", rows=2))
        file_log.skip_files(home, "Ran well", ["skipped.csv"])
        lifecycle.pause(home, "paused")
        yield home


def _end(home: Home, pipeline: str, status: records.RunStatus) -> None:
    id_ = pipelines.find(home, pipeline).id
    records.end_run(home.database, records.begin_run(home.database, id_, "INCREMENTAL"), status)


def test_each_pipeline_is_as_its_last_run_ended(home: Home) -> None:
    found = overview.page(home)
    assert {one.name: one.health for one in found.items} == {
        "Failed": "FAILING",
        "Fails in part": "LOOK",
        "Lost a file": "LOOK",
        "Never ran": "NEW",
        "paused": "PAUSED",
        "Ran well": "WELL",
    }
    assert [one.name for one in found.items] == sorted((one.name for one in found.items), key=str.lower)
    assert found.counts == {"FAILING": 1, "LOOK": 2, "NEW": 1, "PAUSED": 1, "WELL": 1}


def test_files_that_could_not_be_read_are_counted_unless_nobody_wants_them(home: Home) -> None:
    counted = {one.name: one.failed_files for one in status.statuses(home)}
    assert (counted.pop("Lost a file"), set(counted.values())) == (1, {0})


def test_what_a_run_loaded_is_in_its_line_and_in_the_hours(home: Home) -> None:
    (one,) = overview.page(home, search="ran WELL").items
    assert one.last_rows == 2
    assert one.latency_ms is not None
    assert sum(one.recent) == 2
    assert (one.source_type, one.destination_type, one.schedule) == ("clevertap", "duckdb", "on demand")


def test_a_pipeline_is_found_by_its_number_and_by_the_types_of_its_ends(home: Home) -> None:
    for one in overview.page(home).items:
        for text in (f"#{one.number}", f" {one.number} "):
            assert one.name in [found.name for found in overview.page(home, search=text).items]
    assert len(overview.page(home, search="CleverT").items) == len(overview.page(home, search="duckdb").items) == 6
    assert overview.page(home, search="#0").items == overview.page(home, search="9" * 40).items == ()


def test_rows_of_each_object_are_counted_hour_by_hour(home: Home) -> None:
    [one] = overview.by_object(home, "Ran well")
    assert (one.object, len(one.recent), sum(one.recent), sum(one.recent[-2:])) == ("Orders", 24, 2, 2)
    assert overview.by_object(home, "Never ran") == []


def test_the_list_is_cut_into_pages_that_have_each_pipeline_once(home: Home) -> None:
    for order in ("name", "last_run", "failed", "new"):
        names: list[str] = []
        after = None
        while True:
            found = overview.page(home, order=order, after=after, limit=2)
            names += [one.name for one in found.items]
            if (after := found.next) is None:
                break
        assert sorted(names) == sorted(pipelines_of(home)), order


def test_pipelines_are_found_by_how_they_are_and_by_parts_of_names(home: Home) -> None:
    def named(**asked: object) -> list[str]:
        return [one.name for one in overview.page(home, **asked).items]

    assert named(health=["FAILING", "LOOK"]) == ["Failed", "Fails in part", "Lost a file"]
    assert named(destination="lake_1") == named(search="LAKE_") == ["paused"]
    assert named(search="lake%") == named(search="lakeX1") == []
    assert named(source_type="webhook") == []
    # The other kinds stay in the counts, so that one can go there.
    assert overview.page(home, health=["NEW"]).counts["FAILING"] == 1


def test_rows_are_counted_by_the_hour_and_by_the_day(home: Home) -> None:
    since = datetime.now(UTC) - timedelta(days=1)
    for by in ("hour", "day"):
        (moved,) = overview.throughput(home, "Ran well", by=by, since=since)
        assert (moved.ingested, moved.loaded, moved.failed) == (2, 2, 0)
        assert moved.at.minute == 0


def test_a_thousand_pipelines_ask_the_database_as_often_as_one(home: Home) -> None:
    asked: list[str] = []

    def note(*said: object) -> None:
        asked.append(str(said[2]))

    sa.event.listen(home.database.engine, "before_cursor_execute", note)
    overview.page(home, limit=1)
    one = len(asked)
    overview.page(home, limit=5)
    sa.event.remove(home.database.engine, "before_cursor_execute", note)
    assert len(asked) == 2 * one


def pipelines_of(home: Home) -> list[str]:
    return [one.name for one in pipelines.listed(home)]
