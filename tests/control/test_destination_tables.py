"""The tables of a destination: found page by page, and asked for their columns."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.control.sources import Script

from millrace.control.connecting import connections
from millrace.control.home import Home
from millrace.control.observing import destination_tables
from millrace.control.observing.destination_tables import ColumnThere, Filled
from millrace.control.operations import destinations
from millrace.control.operations.connections import DESTINATIONS, SOURCES
from millrace.control.pipeline import pipelines
from millrace.control.pipeline.pipelines import Wish
from millrace.control.running import runs
from millrace.errors import ConfigError


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    """Two pipelines of two streams each into one warehouse, of which one has run; a lake that nothing loads into."""
    folder: Path = tmp_path_factory.mktemp("tables")
    script = Script({"Orders": [[{"id": 1, "name": "a"}, {"id": 2, "name": "b"}]], "Users": [[{"id": 7, "name": "c"}]]})
    with pytest.MonkeyPatch.context() as patch, Home.open(folder / "home", create=True, env={}) as home:
        patch.setattr(connections, "build_source", script.build)
        config = {"project_id": "A-B", "passcode": "x", "events_file": None, "event_source": "schema"}
        connections.create(home, "source", "shop", "clevertap", config)
        for name in ("warehouse", "lake"):
            connections.create(home, "destination", name, "duckdb", {"path": str(folder / f"{name}.duckdb")})
        for name in ("First", "Second"):
            pipelines.create(home, Wish(name, "shop", "warehouse", table_prefix=name.lower()))
            runs.run(home, name)
        yield home


def _all(home: Home, limit: int, search: str | None = None) -> list[Filled]:
    found: list[Filled] = []
    after = None
    while True:
        page = destination_tables.page(home, "warehouse", search=search, after=after, limit=limit)
        found += page.items
        if (after := page.next) is None:
            return found


def test_each_table_is_on_one_page_with_its_rows(home: Home) -> None:
    found = _all(home, 1)
    assert found == _all(home, 100)
    assert [(one.table, one.pipeline, one.event_type, one.rows_loaded, one.waiting_rows) for one in found] == [
        ("first_orders", "First", "Orders", 2, 0),
        ("first_users", "First", "Users", 1, 0),
        ("second_orders", "Second", "Orders", 2, 0),
        ("second_users", "Second", "Users", 1, 0),
    ]
    assert all(one.last_loaded_at is not None for one in found)


def test_tables_are_found_by_their_name_and_by_their_pipeline(home: Home) -> None:
    assert {one.table for one in _all(home, 100, "USERS")} == {"first_users", "second_users"}
    assert {one.table for one in _all(home, 100, "second")} == {"second_orders", "second_users"}
    assert destination_tables.page(home, "lake").items == ()


@pytest.mark.parametrize("cursor", ["x", "[1, 2]", "3", '["a"]', "[[], []]"])
def test_a_cursor_that_no_page_gave_is_refused(home: Home, cursor: str) -> None:
    with pytest.raises(ConfigError, match="not where a page ended"):
        destination_tables.page(home, "warehouse", after=cursor)


def test_a_table_is_asked_for_its_columns_where_it_is(home: Home) -> None:
    found = destination_tables.columns(home, "warehouse", "first_orders")
    assert found is not None
    assert ColumnThere("name", "VARCHAR") in found
    assert "id" in {one.name for one in found}
    assert destination_tables.columns(home, "warehouse", "nowhere") is None


def test_a_load_schedule_is_shown_and_removed(home: Home) -> None:
    assert destinations.loads.on(home, "warehouse").own is None
    destinations.load_every.on(home, "warehouse", every="6h")
    kept = destinations.loads.on(home, "warehouse")
    assert (kept.schedule, kept.own) == ("every 6h", {"every_s": 21600})
    destinations.load_with_runs.on(home, "warehouse")
    assert destinations.loads.on(home, "warehouse") == destinations.Loads("warehouse", "with every run", None)


def test_a_destination_and_a_source_say_how_fresh_their_pipelines_are(home: Home) -> None:
    newest = max(one.last_loaded_at for one in _all(home, 100) if one.last_loaded_at)
    fresh = {one.name: (one.last_loaded_at, one.waiting_rows) for one in DESTINATIONS.list.on(home)}
    assert fresh == {"warehouse": (newest, 0), "lake": (None, 0)}
    assert [(one.last_loaded_at, one.waiting_rows) for one in SOURCES.list.on(home)] == [(newest, 0)]
