"""Lists of jobs: which of them, page by page, and what that takes where there are very many."""

from __future__ import annotations

import random
from datetime import timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event
from tests.control.conftest import NOW, Desk, add_pipeline

from millrace.control.books.records import RunStatus
from millrace.control.database.tables import runs
from millrace.control.home import Home
from millrace.control.running import jobs

STATUSES: tuple[RunStatus, ...] = ("COMPLETED", "COMPLETED", "FAILED", "QUEUED", "SKIPPED", "CANCELLED")
CHOSEN: tuple[tuple[RunStatus, ...], ...] = (
    ("QUEUED",),
    ("FAILED", "QUEUED"),
    ("QUEUED", "QUEUED"),
    ("COMPLETED", "FAILED"),
    STATUSES,
)


def ran(home: Home, pipelines: list[str], statuses: list[RunStatus]) -> None:
    """So many runs, in turns of the pipelines."""
    common: dict[str, Any] = {"kind": "INCREMENTAL", "notes": [], "error": None}
    rows = [
        common | {"pipeline_id": pipelines[n % len(pipelines)], "status": status, "started_at": NOW + timedelta(n)}
        for n, status in enumerate(statuses)
    ]
    with home.database.transaction() as connection:
        connection.execute(sa.insert(runs), rows)


def listed(home: Home, pipeline: str | None, *statuses: RunStatus) -> list[tuple[int, str]]:
    """All pages of jobs."""
    found: list[tuple[int, str]] = []
    after = None
    while True:
        page = jobs.page(home, pipeline, statuses=statuses, limit=7, after=after)
        found += [(job.run.id, job.run.status) for job in page.items]
        if (after := page.next) is None:
            return found


def test_jobs_of_chosen_statuses_come_page_by_page_the_newest_first(home: Home, saved: Desk) -> None:
    chance = random.Random(3)
    ran(home, [saved.pipeline, add_pipeline(home.database, "others")], chance.choices(STATUSES, k=60))
    for pipeline in (None, "events"):
        everything = listed(home, pipeline)
        assert len(everything) == (60 if pipeline is None else 30)
        assert everything == sorted(everything, reverse=True)
        for chosen in CHOSEN:
            assert listed(home, pipeline, *chosen) == [job for job in everything if job[1] in chosen]
        assert listed(home, pipeline, "CANCELLING") == []


def test_rare_jobs_among_very_many_are_found_by_an_index(home: Home, saved: Desk) -> None:
    ran(home, [saved.pipeline], ["COMPLETED"] * 20_000)
    if not home.database.is_sqlite:
        with home.database.transaction() as connection:
            connection.exec_driver_sql("ANALYZE runs")
    asked: list[tuple[str, Any]] = []

    def note(connection: Any, cursor: Any, statement: str, parameters: Any, *_: object) -> None:
        if statement.startswith("SELECT runs.id, runs.pipeline_id"):
            asked.append((statement, parameters))

    event.listen(home.database.engine, "before_cursor_execute", note)
    try:
        assert jobs.page(home, statuses=jobs.ACTIVE).items == ()
    finally:
        event.remove(home.database.engine, "before_cursor_execute", note)
    statement, parameters = asked[0]
    explain = "EXPLAIN QUERY PLAN" if home.database.is_sqlite else "EXPLAIN"
    with home.database.reading() as connection:
        rows = connection.exec_driver_sql(f"{explain} {statement}", parameters).all()
    plan = "\n".join(str(row[-1]) for row in rows)
    assert plan.count("ix_runs_status") == len(jobs.ACTIVE)
    assert "SCAN runs" not in plan and "Seq Scan on runs" not in plan
