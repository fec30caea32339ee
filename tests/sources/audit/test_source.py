"""Audit tables: every job that has ended, with the numbers that it ended with, once."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest
import sqlalchemy as sa

from millrace.connect.audit import Audit
from millrace.connect.intake.frames import Entry, framed
from millrace.connect.source import Context, Reading
from millrace.control.books import retention
from millrace.control.connecting import connections
from millrace.control.database.tables import runs as runs_table
from millrace.control.database.telling_tables import usage_hourly
from millrace.control.home import Home
from millrace.control.observing import audits
from millrace.control.observing.audits import Recorded
from millrace.control.people import teams
from millrace.control.pipeline import intakes, lifecycle, pipelines
from millrace.control.pipeline.pipelines import Wish
from millrace.control.running import runs
from millrace.data.batch import Batch, Checkpoint
from millrace.sources.audit import source as audit
from millrace.sources.audit.config import Config


class Site:
    """A home with a pipeline that is told things, and one that reads audit tables."""

    def __init__(self, home: Home, folder: Path, mode: Any) -> None:
        self.home = home
        self.file = folder / "w.duckdb"
        connections.create(home, "destination", "warehouse", "duckdb", {"path": str(self.file)})
        connections.create(home, "source", "app", "webhook", {})
        connections.create(home, "source", "records", "audit", {})
        pipelines.create(home, Wish("app", "app", "warehouse"))
        pipelines.create(home, Wish("records", "records", "warehouse", load_mode=mode))

    def tell(self, count: int) -> None:
        """So many events come."""
        id_ = pipelines.find(self.home, "app").id
        writer = intakes.place(self.home).writer(id_, f"part{self.home.database.now().timestamp()}".replace(".", ""))
        writer.append([framed(Entry("hook", 0, b'{"n":1}', None, None)) for _ in range(count)])
        writer.close()

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        with duckdb.connect(str(self.file), read_only=True) as connection:
            return connection.execute(query).fetchall()


@pytest.fixture
def site(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Site]:
    with Home.open(tmp_path / "home", create=True, env={}) as home:
        yield Site(home, tmp_path, getattr(request, "param", "merge"))


@pytest.mark.spec("pipelines.22.17")
def test_each_job_and_its_objects_are_told_with_the_numbers_that_it_ended_with(site: Site) -> None:
    for count in (3, 0, 2):
        site.tell(count)
        runs.run(site.home, "app")
    runs.run(site.home, "records")
    told = site.rows(
        "SELECT job_id, pipeline, source, destination, mode, sum(events_ingested), sum(events_loaded), "
        "sum(events_failed), max(end_timestamp) >= max(start_timestamp) FROM job_details "
        "GROUP BY ALL ORDER BY 6 DESC"
    )
    assert [row[1:] for row in told] == [
        ("app", "app", "warehouse", "HISTORICAL" if rows == 3 else "INCREMENTAL", rows, rows, 0, True)
        for rows in (3, 2, 0)
    ]
    finals = site.rows("SELECT status, status_duration FROM job_details WHERE events_ingested IS NOT NULL")
    assert finals == [("COMPLETED", None)] * 3
    phases = site.rows("SELECT DISTINCT status FROM job_details WHERE status_duration >= 0 ORDER BY 1")
    assert ("INGESTING",) in phases
    objects = site.rows(
        "SELECT object_name, events_loaded, ingestion_status, offset_end FROM object_details ORDER BY 2"
    )
    assert [row[:3] for row in objects] == [("unnamed events", rows, "COMPLETED") for rows in (0, 2, 3)]
    assert "incremental" in objects[-1][3]


@pytest.mark.parametrize("site", ["merge", "append"], indirect=True)
def test_a_job_is_told_once_and_jobs_of_audit_tables_never(site: Site) -> None:
    for _ in range(3):
        site.tell(1)
        runs.run(site.home, "app")
        runs.run(site.home, "records")
    found = site.rows(
        "SELECT pipeline, count(*), count(DISTINCT job_id) FROM job_details WHERE events_loaded IS NOT NULL GROUP BY 1"
    )
    assert found == [("app", 3, 3)]


def test_rows_of_audit_tables_are_not_billable(site: Site) -> None:
    site.tell(1)
    runs.run(site.home, "app")
    runs.run(site.home, "records")
    t = usage_hourly.c
    with site.home.database.reading() as connection:
        found = connection.execute(sa.select(t.pipeline, t.kind).distinct()).all()
    assert {tuple(row) for row in found} == {("app", "HISTORICAL"), ("records", "AUDIT")}


def read(records: Audit, cursor: Any) -> tuple[list[dict[str, Any]], Any]:
    """What a read from the cursor on tells of jobs, and the cursor after it."""
    source = audit.Source(Config(), Context(audit=records))
    stream = source.streams()[0]
    rows: list[dict[str, Any]] = []
    for item in source.read(Reading(stream, "incremental", cursor)):
        if isinstance(item, Batch):
            rows += [row for row in item.rows.to_pylist() if row["events_loaded"] is not None]
        elif isinstance(item, Checkpoint):
            cursor = item.cursor
    return rows, cursor


def test_numbers_that_change_are_told_again_until_they_stay(site: Site) -> None:
    """A run that only reads ends with rows that wait; a load of its own takes them later."""
    records = Recorded(site.home.database, site.home.actor.team_id)
    site.tell(4)
    runs.run(site.home, "app", loading=False)
    first, cursor = read(records, None)
    assert [(row["events_loaded"], row["events_waiting"]) for row in first] == [(0, 4)]
    assert read(records, cursor) == ([], cursor)
    runs.load(site.home, "app")
    again, cursor = read(records, cursor)
    told = {row["run"]: (row["events_ingested"], row["events_loaded"], row["events_waiting"]) for row in again}
    assert told[first[0]["run"]] == (4, 4, 0)
    assert read(records, cursor) == ([], cursor)


def test_a_job_whose_end_is_seen_late_is_told_too(site: Site) -> None:
    records = Recorded(site.home.database, site.home.actor.team_id)
    site.tell(1)
    late = runs.run(site.home, "app").id
    site.tell(1)
    runs.run(site.home, "app")
    with site.home.database.transaction() as connection:
        connection.execute(sa.update(runs_table).where(runs_table.c.id == late).values(ended_at=None))
    seen, cursor = read(records, None)
    assert late not in {row["run"] for row in seen}
    with site.home.database.transaction() as connection:
        before = site.home.database.now() - timedelta(seconds=30)
        connection.execute(sa.update(runs_table).where(runs_table.c.id == late).values(ended_at=before))
    missing, cursor = read(records, cursor)
    assert [row["run"] for row in missing] == [late]
    assert read(records, cursor)[0] == []


def test_pages_are_whatever_their_size_the_same_jobs(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    records = Recorded(site.home.database, site.home.actor.team_id)
    for _ in range(5):
        runs.run(site.home, "app")
    whole, _ = read(records, None)
    monkeypatch.setattr(audit, "MOST", 2)
    parts, _ = read(records, None)
    assert len(whole) == 5
    assert [row["run"] for row in parts] == [row["run"] for row in whole]


def test_another_team_has_records_of_its_own(site: Site) -> None:
    runs.run(site.home, "app")
    other = teams.create(site.home, "others", "ada@example.org", "Correct-horse-7")
    assert read(Recorded(site.home.database, other.id), None)[0] == []


def test_jobs_of_a_deleted_pipeline_are_told_as_they_ended(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether they were told before or not, and those of which rows still waited once more."""
    monkeypatch.setattr(audits, "PART", 2)
    records = Recorded(site.home.database, site.home.actor.team_id)
    for count in (3, 1):
        site.tell(count)
        runs.run(site.home, "app")
    _, cursor = read(records, None)
    site.tell(2)
    runs.run(site.home, "app")
    site.tell(4)
    runs.run(site.home, "app", loading=False)
    whole, _ = read(records, None)
    early, waiting = read(records, cursor)
    assert [row["events_waiting"] for row in early] == [0, 4]
    assert lifecycle.delete(site.home, "app")
    connections.remove(site.home, "source", "app")
    after, _ = read(records, None)
    unchanged = [name for name in whole[0] if name not in ("told_at", "events_waiting")]
    assert [[row[name] for name in unchanged] for row in after] == [[row[name] for name in unchanged] for row in whole]
    missing, _ = read(records, cursor)
    assert [row["run"] for row in missing] == [row["run"] for row in early]
    final, _ = read(records, waiting)
    assert [(row["run"], row["events_waiting"]) for row in final] == [(early[1]["run"], 0)]
    runs.run(site.home, "records")
    assert site.rows("SELECT count(DISTINCT job_id), sum(events_loaded) FROM job_details") == [(4, 6)]
    assert site.rows("SELECT sum(events_ingested) FROM object_details") == [(10,)]
    other = teams.create(site.home, "others", "ada@example.org", "Correct-horse-7")
    assert read(Recorded(site.home.database, other.id), None)[0] == []


def test_jobs_of_deleted_pipelines_are_kept_as_long_as_others(site: Site) -> None:
    runs.run(site.home, "app")
    lifecycle.delete(site.home, "app")
    records = Recorded(site.home.database, site.home.actor.team_id)
    now = site.home.database.now()
    assert retention.forget_runs(site.home, now + timedelta(days=89)) == 0
    assert len(read(records, None)[0]) == 1
    assert retention.forget_runs(site.home, now + timedelta(days=91)) == 1
    assert read(records, None)[0] == []
