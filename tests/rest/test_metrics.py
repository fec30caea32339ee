"""What Prometheus reads: the numbers of a team by key, of all teams where a setting says so."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import httpx
import pytest
import sqlalchemy as sa
from prometheus_client.parser import text_string_to_metric_families
from tests.rest.conftest import MANY, Keys, served

from millrace.control import settings
from millrace.control.books import usage_counts
from millrace.control.connecting import connections
from millrace.control.database.tables import runs, tasks
from millrace.control.database.telling_tables import usage_hourly
from millrace.control.home import Home
from millrace.control.pipeline import pipelines
from millrace.control.pipeline.pipelines import Wish
from millrace.rest.app import application
from millrace.rest.metrics import Gauges


def numbers(text: str) -> dict[tuple[str, ...], float]:
    """Values by name and the values of labels but the team's."""
    return {
        (sample.name, *(value for name, value in sample.labels.items() if name != "team")): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


@pytest.fixture(scope="module")
def url(home: Home) -> Iterator[str]:
    with served(application(home, limits=MANY)) as url:
        yield url


@pytest.fixture(scope="module", autouse=True)
def worked(home: Home, tmp_path_factory: pytest.TempPathFactory) -> None:
    """A pipeline with three runs, one of them queued, and rows that were moved."""
    folder = tmp_path_factory.mktemp("metrics")
    (folder / "events.csv").write_text("Event name\nCharged\n")
    connections.create(
        home, "source", "crm", "clevertap",
        {"project_id": "TEST-654-321X", "passcode": "p", "events_file": str(folder / "events.csv")},
    )  # fmt: skip
    connections.create(home, "destination", "warehouse", "duckdb", {"path": str(folder / "w.duckdb")})
    made = pipelines.create(home, Wish(name="events", source="crm", destination="warehouse"))
    now = home.database.now()
    with home.database.transaction() as connection:
        common = {"pipeline_id": made.id, "kind": "INCREMENTAL", "notes": [], "error": None}
        for status, began, took in (("COMPLETED", 600, 60), ("FAILED", 300, 30), ("QUEUED", 10, None)):
            at = now - timedelta(seconds=began)
            ended = None if took is None else at + timedelta(seconds=took)
            row = common | {"status": status, "started_at": at, "ended_at": ended}
            last = connection.execute(sa.insert(runs).values(row)).inserted_primary_key
        assert last is not None
        connection.execute(sa.insert(tasks).values(
            pipeline_id=made.id, kind="run", arguments={}, priority="NORMAL", rank=0, due_at=now, run_id=last[0],
            attempts=0, holder=None, created_at=now,
        ))  # fmt: skip
        for hours in (0, 40):
            connection.execute(sa.insert(usage_hourly).values(
                team_id=home.actor.team_id, pipeline_id=made.id, pipeline="events", hour=now - timedelta(hours=hours),
                stream="Charged", table_name="charged", kind=next(iter(usage_counts.BILLABLE)), ingested=7, loaded=5,
            ))  # fmt: skip


def test_a_key_of_the_team_reads_the_numbers_of_its_pipelines(url: str, keys: Keys) -> None:
    answer = httpx.get(f"{url}/metrics", auth=keys.observer)
    assert answer.headers["content-type"].startswith("text/plain")
    found = numbers(answer.text)
    assert found["millrace_rows_ingested_total", "events"] == 14
    assert found["millrace_rows_loaded_total", "events"] == 10
    assert found["millrace_runs_ended_last_day", "events", "COMPLETED"] == 1
    assert found["millrace_runs_ended_last_day", "events", "FAILED"] == 1
    assert found["millrace_runs_active", "QUEUED"] == 1
    assert found["millrace_runs_active", "IN_PROGRESS"] == 0
    assert found["millrace_tasks", "due"] == 1
    assert found["millrace_tasks", "taken"] == 0
    assert found["millrace_last_run_duration_seconds", "events"] == 30
    assert 540 <= found["millrace_pipeline_lag_seconds", "events"] < 3600
    assert found["millrace_failed_events", "events"] == 0
    assert found["millrace_rows_waiting", "events"] == 0


def test_another_team_sees_none_of_it(url: str, keys: Keys) -> None:
    found = numbers(httpx.get(f"{url}/metrics", auth=keys.stranger).text)
    assert not any("events" in labels for labels in found)
    assert found["millrace_runs_active", "QUEUED"] == 0
    assert found["millrace_tasks", "due"] == 0


def test_without_a_key_it_answers_only_where_the_setting_says_so(home: Home, url: str) -> None:
    assert httpx.get(f"{url}/metrics").status_code == 401
    settings.change(home, open_metrics=True)
    try:
        answer = httpx.get(f"{url}/metrics")
        assert answer.status_code == 200
        assert ("millrace_rows_loaded_total", "events") in numbers(answer.text)
    finally:
        settings.change(home, open_metrics=False)
    assert httpx.get(f"{url}/metrics").status_code == 401


def test_requests_are_counted_by_route_and_never_by_what_was_asked_for(url: str, keys: Keys) -> None:
    for name in ("one-secret-name", "another"):
        assert httpx.get(f"{url}/api/millrace/v1/sources/{name}", auth=keys.observer).status_code == 404
    assert httpx.get(f"{url}/nowhere/at-all").status_code == 404
    text = httpx.get(f"{url}/metrics", auth=keys.observer).text
    found = numbers(text)
    routes = [labels for labels in found if labels[0] == "millrace_http_requests_total" and labels[3] == "404"]
    assert sum(found[labels] for labels in routes if "{" in labels[2]) == 2, routes
    assert found["millrace_http_requests_total", "GET", "other", "404"] >= 1
    assert "one-secret-name" not in text and "at-all" not in text


def test_the_database_is_read_once_in_some_seconds(home: Home) -> None:
    moment = 100.0
    gauges = Gauges(lambda: moment)
    before = gauges.text(home, everywhere=True)
    with home.database.transaction() as connection:
        connection.execute(sa.delete(tasks))
    assert gauges.text(home, everywhere=True) == before
    moment += 6
    assert numbers(gauges.text(home, everywhere=True).decode())["millrace_tasks", "due"] == 0
