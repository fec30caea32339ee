"""Limits that sideline: what is read waits on the stage, is told, and is loaded in the next period or when it may."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import pytest
import sqlalchemy as sa
from tests.control.conftest import Desk
from tests.control.sources import Script

from millrace.control.alerting import alert_routing, alert_watch, alerts
from millrace.control.books.records import RunRecord
from millrace.control.connecting import connections
from millrace.control.database.db import Database
from millrace.control.database.telling_tables import usage_hourly
from millrace.control.home import Home
from millrace.control.metering import budgets, usage_limits
from millrace.control.pipeline import pipelines
from millrace.control.running import runs
from millrace.engine import loading
from millrace.errors import ConfigError

pytestmark = pytest.mark.spec("pipelines.17.4")

HOUR = timedelta(hours=1)


@pytest.fixture
def url(tmp_path: Path) -> str:
    """One kind of database: statements over usage are tested on both elsewhere."""
    return f"sqlite:///{tmp_path / 'millrace.db'}"


@pytest.fixture(autouse=True)
def moment(monkeypatch: pytest.MonkeyPatch) -> datetime:
    """The middle of a day and of a month, from which the clock of the database goes on: no period ends in a test."""
    start, began = datetime(2026, 5, 20, 12, 10, tzinfo=UTC), time.monotonic()
    monkeypatch.setattr(Database, "now", lambda _: start + timedelta(seconds=time.monotonic() - began))
    return start


@pytest.fixture
def script(saved: Desk, monkeypatch: pytest.MonkeyPatch) -> Script:
    monkeypatch.setattr(loading, "LOAD_WAITS_S", ())
    found = Script({"Orders": [[{"id": 1}, {"id": 2}]]})
    monkeypatch.setattr(connections, "build_source", found.build)
    return found


def run(home: Home, script: Script, *ids: int) -> RunRecord:
    script.pages["Orders"].append([{"id": one} for one in ids])
    return runs.run(home, "events")


def table(tmp_path: Path) -> list[int]:
    with duckdb.connect(str(tmp_path / "w.duckdb"), read_only=True) as connection:
        return sorted(id_ for (id_,) in connection.execute("SELECT id FROM orders").fetchall())


def codes(home: Home, at: datetime) -> list[tuple[str, str]]:
    alert_watch.check_limits(home, at)
    alert_routing.route(home, at)
    return [(one.code, one.state) for one in alerts.page(home).items]


def used(home: Home, saved: Desk, rows: int, hour: datetime) -> None:
    """So many billable rows were loaded in that hour, and no others."""
    values = {"team_id": home.actor.team_id, "pipeline_id": saved.pipeline, "pipeline": "events", "stream": "Orders"}
    values |= {"table_name": "orders", "kind": "INCREMENTAL", "ingested": 0, "loaded": rows, "hour": hour}
    with home.database.transaction() as connection:
        connection.execute(sa.delete(usage_hourly))
        connection.execute(sa.insert(usage_hourly).values(values))


@pytest.mark.parametrize("whose", ["pipeline", "team"])
def test_beyond_a_budget_rows_wait_on_the_stage_and_none_is_lost(
    home: Home, script: Script, saved: Desk, tmp_path: Path, moment: datetime, whose: str
) -> None:
    runs.run(home, "events")
    now = moment
    used(home, saved, 50, now.replace(minute=0))
    if whose == "pipeline":
        usage_limits.limit_pipeline(home, "events", 50, sideline=True)
    else:
        usage_limits.limit_team(home, 50, sideline=True)
    ended = run(home, script, 3, 4)
    assert table(tmp_path) == [1, 2]
    assert [note.code for note in ended.notes] == ["budget_used_up"]
    assert (ended.status, ended.balance.staged, ended.balance.loaded) == ("COMPLETED", 2, 0)
    assert runs.load(home, "events").balance.loaded == 0, "nor does a load by hand pass it"
    assert codes(home, now) == [("QUOTA_SIDELINED", "OPEN")]
    assert codes(home, now) == [("QUOTA_SIDELINED", "OPEN")]
    if whose == "pipeline":
        usage_limits.limit_pipeline(home, "events", 51, sideline=True)
    else:
        usage_limits.lift_team(home)
    run(home, script, 5)
    assert table(tmp_path) == [1, 2, 3, 4, 5]
    assert codes(home, now)[-1] == ("QUOTA_SIDELINED", "RESOLVED")


def test_a_new_period_frees_what_waits(
    home: Home, script: Script, saved: Desk, tmp_path: Path, moment: datetime
) -> None:
    runs.run(home, "events")
    usage_limits.limit_pipeline(home, "events", 1, sideline=True)
    run(home, script, 3)
    assert table(tmp_path) == [1, 2]
    used(home, saved, 2, moment.replace(minute=0) - timedelta(days=1))
    run(home, script, 4)
    assert table(tmp_path) == [1, 2, 3, 4]


def test_grace_counts_from_the_end_of_the_hour_in_which_the_limit_was_passed(
    home: Home, script: Script, saved: Desk
) -> None:
    usage_limits.limit_team(home, 100, sideline=True, grace_hours=24)
    passed = datetime(2026, 5, 20, 7, tzinfo=UTC)
    used(home, saved, 100, passed)
    assert [code for code, _ in codes(home, passed + HOUR * 24)] == ["QUOTA_CONSUMED"]
    assert [code for code, _ in codes(home, passed + HOUR * 25)] == ["QUOTA_SIDELINED", "QUOTA_CONSUMED"]
    later = budgets.next_period("month", passed)
    assert later == datetime(2026, 6, 1, tzinfo=UTC)
    assert ("QUOTA_SIDELINED", "RESOLVED") in codes(home, later)


def test_a_quota_pauses_when_its_grace_is_over(home: Home, script: Script, saved: Desk) -> None:
    usage_limits.limit_pipeline(home, "events", 100, pause=True, grace_hours=2, period="month")
    passed = datetime(2026, 5, 20, 7, tzinfo=UTC)
    used(home, saved, 120, passed)
    codes(home, passed + HOUR * 2)
    assert pipelines.find(home, "events").state == "ACTIVE"
    assert [code for code, _ in codes(home, passed + HOUR * 3)] == ["QUOTA_CONSUMED"] * 2
    assert pipelines.find(home, "events").state == "PAUSED"
    usage_limits.lift_pipeline(home, "events")
    assert not usage_limits.page(home).items


def test_a_budget_that_contradicts_itself_is_refused(home: Home, saved: Desk) -> None:
    for wrong in ({"pause": True, "sideline": True}, {"sideline": True, "grace_hours": -1}, {"grace_hours": 10_000}):
        with pytest.raises(ConfigError):
            usage_limits.limit_pipeline(home, "events", 5, **wrong)
    kept = usage_limits.limit_team(home, 5, sideline=True, grace_hours=6)
    assert (kept.sideline, kept.grace_hours, kept.pause) == (True, 6, False)
