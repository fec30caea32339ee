"""The public API beside pipelines that run: objects, mappings, positions, run now, priorities, loads."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import sqlalchemy as sa
from tests.control.conftest import EVENTS_CSV
from tests.control.sources import Script
from tests.rest.conftest import Keys, work

from millrace.connect.log import LOG
from millrace.control.connecting import connections
from millrace.control.database.tables import cursors
from millrace.control.home import Home
from millrace.control.pipeline import lifecycle, objects, pipelines, positions
from millrace.control.pipeline.pipelines import Wish
from millrace.control.running import jobs

API = "/api/public/v2.0"


@pytest.fixture
def number(home: Home, script: Script, tmp_path: Path) -> Iterator[int]:
    """A pipeline of a test's own whose objects are known; its number."""
    (tmp_path / "events.csv").write_text(EVENTS_CSV)
    config = {"project_id": "AAA-BBB-CCCC", "passcode": "hunter2", "events_file": str(tmp_path / "events.csv")}
    connections.create(home, "source", "app", "clevertap", config)
    connections.create(home, "destination", "warehouse", "duckdb", {"path": str(tmp_path / "w.duckdb")})
    yield pipelines.create(home, Wish("events", "app", "warehouse")).number
    for found in pipelines.listed(home):
        assert lifecycle.delete(home, found.name)
    connections.remove(home, "source", "app")
    connections.remove(home, "destination", "warehouse")


@pytest.fixture
def ran(home: Home, client: httpx.Client, number: int) -> str:
    """The path of a pipeline that has run once."""
    assert client.post(f"{API}/pipelines/{number}/run-now").status_code == 204
    work(home)
    return f"{API}/pipelines/{number}"


def test_run_now_while_it_runs_changes_nothing(client: httpx.Client, home: Home, number: int) -> None:
    for _ in range(3):
        answer = client.post(f"{API}/pipelines/{number}/run-now")
        assert (answer.status_code, answer.content) == (204, b"")
    assert len(jobs.page(home, "events").items) == 1
    assert jobs.page(home, "events").items[0].trigger == "API"
    work(home)
    client.put(f"{API}/pipelines/{number}/status", json={"status": "PAUSED"})
    refused = client.post(f"{API}/pipelines/{number}/run-now")
    assert (refused.status_code, refused.json()["error"]["code"]) == (409, "WRONG_STATE")


def test_a_priority_is_high_for_few(client: httpx.Client, home: Home, number: int) -> None:
    path = f"{API}/pipelines/{number}"
    assert client.get(path).json()["data"]["priority"] == "NORMAL"
    assert client.put(f"{path}/priority", json={"priority": "NORMAL"}).json()["data"] == {"priority": "NORMAL"}
    assert client.put(f"{path}/priority", json={"priority": "LOW"}).status_code == 400
    refused = client.put(f"{path}/priority", json={"priority": "HIGH"})
    assert (refused.status_code, refused.json()["error"]["code"]) == (409, "TOO_MANY_HIGH")


def test_a_pipeline_that_reads_no_log_has_no_position_as_a_whole(client: httpx.Client, number: int) -> None:
    path = f"{API}/pipelines/{number}/position"
    for answer in (client.get(path), client.put(path, json={"file_name": "mysql-bin.1", "offset": 4})):
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, "NOT_LOG_BASED")


def test_a_pipeline_that_follows_a_log_tells_how_far_it_is(client: httpx.Client, home: Home, number: int) -> None:
    path = f"{API}/pipelines/{number}/position"
    position = {"v": 1, "file": "mysql-bin.000007", "position": 157, "tables": [["t", "x" * 1000]]}
    positions.put(home, "events", LOG, "incremental", {"position": position, "streams": ["Orders"]})
    told = client.get(path).json()["data"]
    expected = {"type": "LOG", "display_position": "mysql-bin.000007:157", "file_name": "mysql-bin.000007"}
    assert expected.items() <= told.items()
    assert told["offset"] == 157
    assert client.put(path, json={"file_name": "mysql-bin.000007", "offset": 157}).status_code == 204
    assert client.put(path, json={}).json()["error"]["code"] == "INVALID_PARAMETER"
    positions.put(home, "events", LOG, "incremental", {"position": {"lsn": "1/1A2B"}, "streams": ["Orders"]})
    assert client.get(path).json()["data"]["display_position"] == "1/1A2B"
    assert client.put(path, json={"offset": 0x1_00001A2B}).status_code == 204
    # The source of this pipeline has no log any more.
    refused = client.put(path, json={"file_name": "mysql-bin.000001", "offset": 4})
    assert (refused.status_code, refused.json()["error"]["code"]) == (400, "NOT_LOG_BASED")


def test_an_object_is_finished_once_nothing_more_is_read_of_it(
    client: httpx.Client, home: Home, script: Script, ran: str
) -> None:
    def statuses() -> dict[str, tuple[str, str]]:
        found = client.get(f"{ran}/objects").json()["data"]
        return {one["name"]: (one["status"], one["ingestion_status"]) for one in found}

    assert statuses() == dict.fromkeys(("Orders", "Users"), ("ACTIVE", "SCHEDULED"))
    pages = script.pages.pop("Users")
    objects.refresh(home, "events")
    assert statuses() == {"Orders": ("ACTIVE", "SCHEDULED"), "Users": ("FINISHED", "FINISHED")}
    chosen = client.get(f"{ran}/objects", params={"statuses": "FINISHED"}).json()["data"]
    assert [one["name"] for one in chosen] == ["Users"]
    # It comes back: it goes on from where it was.
    script.pages["Users"] = pages
    objects.refresh(home, "events")
    assert statuses() == dict.fromkeys(("Orders", "Users"), ("ACTIVE", "SCHEDULED"))
    # Of a log-based pipeline an object has a history alone; what is new comes from the log.
    mine = (cursors.c.pipeline_id == pipelines.find(home, "events").id, cursors.c.stream == "Users")
    with home.database.transaction() as connection:
        connection.execute(sa.update(cursors).where(*mine).values(lane="historical", progress=1.0))
    assert statuses()["Users"] == ("FINISHED", "HISTORICAL_LOAD_FINISHED")


def test_objects_are_listed_searched_and_chosen(client: httpx.Client, home: Home, ran: str) -> None:
    def names(**params: Any) -> list[str]:
        return [one["name"] for one in client.get(f"{ran}/objects", params=params).json()["data"]]

    assert names() == ["Orders", "Users"]
    assert names(search_text="RDER") == ["Orders"]
    assert names(statuses="active,FAILED") == ["Orders", "Users"]
    assert names(statuses="PAUSED") == names(category="FAILED") == []
    assert client.get(f"{ran}/objects", params={"statuses": "NOSUCH"}).status_code == 400
    page = client.get(f"{ran}/objects", params={"limit": 1}).json()
    assert page["pagination"]["count"] == 1
    assert names(limit=1, starting_after=page["pagination"]["starting_after"]) == ["Users"]
    one = client.get(f"{ran}/objects/Orders").json()["data"]
    assert (one["status"], one["state"], one["primary_key"], one["load_mode"]) == ("ACTIVE", "ACTIVE", ["id"], "MERGE")
    assert one["last_ingested_ts"] > 1_700_000_000_000
    assert client.get(f"{ran}/objects/nosuch").json()["error"]["code"] == "UNKNOWN_OBJECT"


def test_each_action_on_an_object_does_what_it_says(client: httpx.Client, home: Home, script: Script, ran: str) -> None:
    def does(action: str, state: str) -> None:
        assert client.post(f"{ran}/objects/Orders/{action}").status_code == 204
        assert objects.find(home, "events", "Orders").state == state

    does("pause", "PAUSED")
    refused = client.post(f"{ran}/objects/Orders/pause")
    assert (refused.status_code, refused.json()["error"]["code"]) == (409, "WRONG_STATE")
    does("resume", "ACTIVE")
    does("skip", "SKIPPED")
    does("include", "ACTIVE")
    work(home)
    script.read.clear()
    does("restart", "ACTIVE")
    work(home)
    assert script.read == [("Orders", 0), ("Orders", 1)]


def test_a_name_with_dots_and_slashes_is_one_object(client: httpx.Client, script: Script, number: int) -> None:
    script.pages = {"employees.students": [], "in/out/file.csv": []}
    client.post(f"/api/v1/pipelines/{number}/objects/actions/refresh-schema")
    for path in ("employees.students", "in%2Fout%2Ffile.csv"):
        assert client.post(f"{API}/pipelines/{number}/objects/{path}/pause").status_code == 204
        assert client.get(f"{API}/pipelines/{number}/objects/{path}").json()["data"]["status"] == "PAUSED"


def test_positions_are_shown_and_set_as_they_were_shown(
    client: httpx.Client, home: Home, script: Script, ran: str
) -> None:
    (position,) = client.get(f"{ran}/objects/Orders/position").json()["data"]
    assert (position["type"], position["display_position"], position["keys"]) == ("INCREMENTAL", "2", 2)
    assert position.keys() == {
        "type", "display_position", "offset", "file_name", "field_name", "timezone", "keys", "month", "year"
    }  # fmt: skip
    assert client.put(f"{ran}/objects/Orders/position", json={}).json()["error"]["code"] == "INVALID_PARAMETER"
    assert client.put(f"{ran}/objects/Orders/position", json={"key_values": {"id": 3}}).status_code == 204
    assert client.get(f"{ran}/objects/Orders/position").json()["data"][0]["keys"] == {"id": 3}


def test_a_position_by_time_is_where_reading_was_then(
    client: httpx.Client, home: Home, script: Script, ran: str
) -> None:
    path = f"{ran}/objects/Orders/position"

    def stands() -> Any:
        found = client.get(path).json()["data"]
        return found[0]["keys"] if found else None

    read = int(time.time() * 1000)
    assert client.put(path, json={"key_values": {"id": 3}}).status_code == 204
    assert client.put(path, json={"time": read}).status_code == 204
    assert stands() == 2
    for long_ago in ({"time": 0}, {"year": 2001, "month": 2}, {"year": 2001}):
        assert client.put(path, json=long_ago).status_code == 204
        assert stands() is None
    for to_come in ({"time": read + 86_400_000}, {"time": (1 << 53) - 1}, {"year": 9999, "month": 12}):
        assert client.put(path, json=to_come).json()["error"]["code"] == "FUTURE_DATE"


def test_query_modes_are_kept_and_their_keys_belong_to_them(client: httpx.Client, ran: str) -> None:
    path = f"{ran}/objects/Orders/query-mode"
    assert client.get(path).json()["data"] == {"config": None}
    config = {"mode": "timestamp", "timestamp_column_name": "changed_at", "timestamp_delay_interval_ms": 5}
    assert client.put(path, json={"config": config}).json()["data"] == {"config": config}
    assert client.get(path).json()["data"] == {"config": config}
    assert client.put(path, json={"config": {"use_bulk_api": True}}).status_code == 200
    for wrong in ({}, {"mode": "nosuch"}, {"mode": "xmin", "stop_on_gap": True}, {"mode": 1}):
        assert client.put(path, json={"config": wrong}).status_code == 400


def test_statistics_say_what_became_of_events(client: httpx.Client, home: Home, number: int, ran: str) -> None:
    stats = client.get(f"{ran}/objects/Orders/stats").json()["data"]
    assert (stats["events_ingested"], stats["events_loaded"], stats["events_failed"]) == (10, 10, 0)
    destination = connections.find(home, "destination", "warehouse").number
    table = client.get(f"{API}/destinations/{destination}/tables/orders/stats", params={"duration": 60}).json()["data"]
    assert (table["events_loaded"], table["events_failed"], table["duration"]) == (10, 0, 60)
    assert table["last_loaded_ts"] > 1_700_000_000_000
    assert client.get(f"{ran}/objects/Orders/stats", params={"duration": 0}).status_code == 400


def test_load_now_loads_what_waits(client: httpx.Client, home: Home, keys: Keys, url: str, ran: str) -> None:
    destination = connections.find(home, "destination", "warehouse").number
    path = f"{API}/destinations/{destination}/load-now"
    assert httpx.post(url + path, auth=keys.observer).status_code == 403
    assert httpx.post(url + path, auth=keys.stranger).status_code == 404
    assert client.post(path).status_code == 204
    assert jobs.page(home, "events", statuses=("QUEUED",)).items[0].run.kind == "LOAD"
    work(home)


def test_event_types_and_their_mappings_are_shown_and_changed(client: httpx.Client, home: Home, ran: str) -> None:
    found = client.get(f"{ran}/event-types").json()["data"]
    assert [(one["name"], one["status"], one["destination_table"], one["field_count"]) for one in found] == [
        ("Orders", "MAPPED", "orders", 2),
        ("Users", "MAPPED", "users", 2),
    ]
    page = client.get(f"{ran}/event-types", params={"limit": 1}).json()
    after = page["pagination"]["starting_after"]
    rest = client.get(f"{ran}/event-types", params={"limit": 1, "starting_after": after}).json()
    assert ([one["name"] for one in rest["data"]], "pagination" in rest) == (["Users"], False)
    assert len(client.get(f"{ran}/event-types", params={"search_text": "use"}).json()["data"]) == 1
    mapping = client.get(f"{ran}/mappings/Orders").json()["data"]
    assert [(one["source_field"], one["status"], one["primary_key"]) for one in mapping["field_mappings"]] == [
        ("id", "MAPPED", True),
        ("name", "MAPPED", False),
    ]
    body = {
        "destination_table": "orders_of_mine",
        "field_mappings": [
            {"source_field": "id", "destination_column": "order_id"},
            {"source_field": "name", "status": "IGNORED"},
        ],
    }
    changed = client.put(f"{ran}/mappings/Orders", json=body).json()["data"]
    assert changed["destination_table"] == "orders_of_mine"
    assert {one["source_field"]: one["destination_column"] for one in changed["field_mappings"]} == {
        "id": "order_id", "name": None
    }  # fmt: skip
    taken = client.put(f"{ran}/mappings/Orders", json={"destination_table": "users"})
    assert (taken.status_code, taken.json()["error"]["code"]) == (409, "TABLE_TAKEN")
    for method, action, status in (("PUT", "skip", "IGNORED"), ("POST", "include", "MAPPED")):
        assert client.request(method, f"{ran}/event-types/Users/{action}").status_code == 204
        assert client.get(f"{ran}/mappings/Users").json()["data"]["status"] == status
    unknown = client.put(f"{ran}/event-types/nosuch/skip")
    assert (unknown.status_code, unknown.json()["error"]["code"]) == (404, "UNKNOWN_EVENT_TYPE")


def test_a_sample_is_one_of_the_first_events(client: httpx.Client, ran: str) -> None:
    sample = client.get(f"{ran}/transformations/sample", params={"event_name": "Orders"}).json()["data"]
    assert sample == {"event_name": "Orders", "properties": {"id": 0, "name": "row 0"}}
    assert client.get(f"{ran}/transformations/sample", params={"event_name": "nosuch"}).status_code == 404
