"""Usage: what counts, hour by hour, whatever happens to loads; and limits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from tests.control.conftest import Desk, commit

from millrace.control.alerting import alert_watch
from millrace.control.books import leases, records
from millrace.control.books.ledger import Books, Group
from millrace.control.books.records import RunKind
from millrace.control.books.usage_counts import BILLABLE, usage_kind
from millrace.control.connecting import connections
from millrace.control.database.telling_tables import usage_hourly
from millrace.control.home import Home
from millrace.control.metering import usage, usage_limits
from millrace.control.observing import overview
from millrace.control.pipeline import lifecycle, pipelines
from millrace.data.batch import Lane
from millrace.errors import ConfigError

Segment = Callable[..., Any]


def run(desk: Desk, kind: RunKind) -> Books:
    """Books of a run of that kind."""
    for token in list(leases._ours):
        leases._ours.discard(token)
    lease = leases.acquire(desk.database, f"pipeline {desk.pipeline}")
    return Books(desk.database, desk.pipeline, records.begin_run(desk.database, desk.pipeline, kind), lease)


def moved(desk: Desk, segment: Segment, kind: RunKind, lane: Lane, rows: int, *, load: bool = True) -> Books:
    """A run that stages so many rows of the table `events`, and loads all that waits."""
    books = run(desk, kind)
    books.commit(replace(commit(read=rows, segments=(segment(rows),)), lane=lane))
    if load:
        (shelved,) = books.tables()
        books.loaded("events", shelved.generation, shelved.last, None)
    return books


def sums(desk: Desk) -> dict[str, tuple[int, int]]:
    """Staged and loaded rows by kind."""
    t = usage_hourly.c
    query = sa.select(t.kind, sa.func.sum(t.ingested), sa.func.sum(t.loaded)).group_by(t.kind)
    with desk.database.reading() as connection:
        return {kind: (int(ingested), int(loaded)) for kind, ingested, loaded in connection.execute(query)}


def billable(desk: Desk) -> int:
    return sum(loaded for kind, (_, loaded) in sums(desk).items() if kind in BILLABLE)


@pytest.mark.parametrize(
    ("kind", "lane", "expected"),
    [
        ("HISTORICAL", "historical", "HISTORICAL"),
        ("HISTORICAL", "incremental", "HISTORICAL"),
        ("INCREMENTAL", "incremental", "INCREMENTAL"),
        ("INCREMENTAL", "historical", "HISTORICAL"),
        ("RESYNC", "incremental", "RESYNC"),
        ("RESYNC_WITH_DROP_AND_LOAD", "historical", "RESYNC"),
        ("RAW_REPLAY", "incremental", "RESYNC"),
        ("REREAD", "again", "REFRESHER"),
        ("REFRESHER", "incremental", "REFRESHER"),
    ],
)
def test_rows_count_as_what_they_were_read_for(kind: RunKind, lane: Lane, expected: str) -> None:
    assert usage_kind(kind, lane) == expected


def test_staged_and_loaded_rows_are_counted_apart(desk: Desk, segment: Segment) -> None:
    moved(desk, segment, "INCREMENTAL", "incremental", 7, load=False)
    assert sums(desk) == {"INCREMENTAL": (7, 0)}
    moved(desk, segment, "LOAD", "incremental", 0)
    assert sums(desk) == {"INCREMENTAL": (7, 7)}


@pytest.mark.spec("pipelines.22.18")
def test_history_resyncs_and_refreshers_are_not_billable(desk: Desk, segment: Segment) -> None:
    moved(desk, segment, "HISTORICAL", "historical", 1000)
    moved(desk, segment, "RESYNC", "historical", 500)
    moved(desk, segment, "REFRESHER", "incremental", 300)
    assert billable(desk) == 0
    moved(desk, segment, "INCREMENTAL", "incremental", 20)
    assert billable(desk) == 20


@pytest.mark.spec("pipelines.22.18")
def test_rows_of_child_tables_and_rows_that_come_again_count_each_time(desk: Desk, segment: Segment) -> None:
    from tests.control.conftest import MAPPING

    books = run(desk, "INCREMENTAL")
    items = replace(MAPPING, stream="Events_items", table="events_items")
    parts = (segment(10), segment(25, "events_items", "Events_items"))
    books.commit(commit(read=10, created={"Events_items": 25}, segments=parts, mappings=(MAPPING, items)))
    for shelved in books.tables():
        books.loaded(shelved.mapping.table, shelved.generation, shelved.last, None)
    assert billable(desk) == 35
    moved_again = run(desk, "INCREMENTAL")
    moved_again.commit(commit(read=10, segments=(segment(10),)))
    moved_again.loaded("events", 1, 2, None)
    assert billable(desk) == 45


def test_rows_that_the_destination_refuses_are_not_counted(
    desk: Desk, segment: Segment, rejects: Callable[..., Any]
) -> None:
    books = run(desk, "INCREMENTAL")
    books.commit(commit(read=10, segments=(segment(10),)))
    books.park("events", 1, 1, [rejects(3, "CONSTRAINT_VIOLATION", "load")])
    books.loaded("events", 1, 1, None)
    assert sums(desk) == {"INCREMENTAL": (10, 7)}


def test_a_load_that_the_destination_forgot_counts_once_in_the_end(desk: Desk, segment: Segment) -> None:
    books = moved(desk, segment, "INCREMENTAL", "incremental", 10)
    books.rewind("events", 1, 0)
    assert sums(desk) == {"INCREMENTAL": (10, 0)}
    books.loaded("events", 1, 1, None)
    books.loaded("events", 1, 1, None)
    assert sums(desk) == {"INCREMENTAL": (10, 10)}


@pytest.mark.parametrize(("kind", "expected"), [("INCREMENTAL", "REPLAYED"), ("HISTORICAL", "HISTORICAL")])
def test_rows_that_are_replayed_are_billable_unless_they_were_free_at_first(
    desk: Desk, segment: Segment, rejects: Callable[..., Any], kind: RunKind, expected: str
) -> None:
    failing = run(desk, kind)
    failing.commit(replace(commit(read=4, rejects=(rejects(4),)), lane="historical"))
    books = run(desk, "REPLAY")
    group = Group(1, "Events", "mapping", "NULL_PRIMARY_KEY")
    books.commit(replace(commit(read=4, segments=(segment(4),)), lane="again"), replayed=[group])
    books.loaded("events", 1, 1, None)
    assert sums(desk) == {expected: (4, 4)}


@pytest.mark.spec("pipelines.22.2")
@pytest.mark.parametrize(("every_h", "a_day"), [(1, 720_000), (12, 60_000)])
def test_a_refresher_of_a_month_is_as_much_as_the_reference_says_and_free(
    desk: Desk, segment: Segment, every_h: int, a_day: int
) -> None:
    """1,000 insights a day, a window of 30 days (pipelines.md 2.5)."""
    per_run = 1000 * 30
    books = run(desk, "REFRESHER")
    for _ in range(24 // every_h):
        books.commit(commit(read=per_run, segments=(segment(per_run),)))
    books.loaded("events", 1, 24 // every_h, None)
    assert per_run == 30_000
    assert sums(desk) == {"REFRESHER": (a_day, a_day)}
    assert billable(desk) == 0


def test_of_what_was_loaded_the_billable_rows_and_those_of_history_are_told_wherever_it_is_drawn(
    home: Home, saved: Desk, segment: Segment
) -> None:
    for kind, rows in (("HISTORICAL", 100), ("RESYNC", 40), ("REFRESHER", 7), ("INCREMENTAL", 9)):
        moved(saved, segment, kind, "historical" if kind == "HISTORICAL" else "incremental", rows)
    moved(saved, segment, "INCREMENTAL", "incremental", 5, load=False)
    since = home.database.now() - timedelta(hours=2)
    for by in ("hour", "day"):
        lines = overview.throughput(home, "events", by=by, since=since)
        told = [sum(getattr(one, name) for one in lines) for name in ("ingested", "loaded", "billable", "historical")]
        assert told == [161, 156, 9, 140]
    [one] = overview.by_object(home, "events")
    assert (sum(one.recent), one.loaded, one.billable, one.historical) == (161, 156, 9, 140)


def test_usage_is_told_by_pipeline_object_table_kind_day_and_hour(home: Home, saved: Desk, segment: Segment) -> None:
    moved(saved, segment, "HISTORICAL", "historical", 100)
    moved(saved, segment, "INCREMENTAL", "incremental", 9)
    whole = usage.report(home)
    assert (whole.ingested, whole.loaded, whole.billable) == (109, 109, 9)
    assert whole.kinds == {"HISTORICAL": 100, "INCREMENTAL": 9}
    for by, expected in {
        "pipeline": [("events", None, None, None)],
        "object": [("events", "Events", None, None)],
        "table": [("events", None, "events", None)],
        "kind": [(None, None, None, "HISTORICAL"), (None, None, None, "INCREMENTAL")],
    }.items():
        lines = usage.report(home, by=by).lines
        assert [(one.pipeline, one.object, one.table, one.kind) for one in lines] == expected
        assert (sum(one.billable for one in lines), sum(one.historical for one in lines)) == (9, 100)
    now = home.database.now()
    (by_day,) = usage.report(home, by="day").lines
    assert by_day.at == usage.day_of(now)
    (by_hour,) = usage.report(home, by="hour").lines
    assert by_hour.at == now.replace(minute=0, second=0, microsecond=0)


def test_lines_come_page_by_page(home: Home, saved: Desk, segment: Segment) -> None:
    moved(saved, segment, "HISTORICAL", "historical", 100)
    moved(saved, segment, "INCREMENTAL", "incremental", 9)
    first = usage.report(home, by="kind", limit=1)
    assert [one.kind for one in first.lines] == ["HISTORICAL"] and first.next is not None
    second = usage.report(home, by="kind", limit=1, after=first.next)
    assert [one.kind for one in second.lines] == ["INCREMENTAL"] and second.next is None
    assert second.loaded == 109


def test_what_a_pipeline_moved_is_told_when_it_is_gone_and_under_its_last_name(
    home: Home, saved: Desk, segment: Segment
) -> None:
    moved(saved, segment, "INCREMENTAL", "incremental", 9)
    with home.database.transaction() as connection:
        earlier = usage.day_of(home.database.now()) - timedelta(days=1)
        row = connection.execute(sa.select(usage_hourly)).mappings().one()
        connection.execute(sa.insert(usage_hourly).values({**row, "pipeline": "of old", "hour": earlier}))
    leases._ours.clear()
    with home.database.transaction() as connection:
        connection.execute(sa.text("DELETE FROM leases"))
    assert lifecycle.delete(home, "events")
    since = usage.month_of(earlier)
    (line,) = usage.report(home, since=since).lines
    assert (line.pipeline, line.loaded) == ("of old", 18)
    assert usage.report(home, since=since, pipeline="events").loaded == 18
    with pytest.raises(ConfigError):
        usage.report(home, pipeline="never there")


def test_what_a_renamed_pipeline_moved_is_told_under_the_name_that_it_has_now(
    home: Home, saved: Desk, segment: Segment
) -> None:
    moved(saved, segment, "INCREMENTAL", "incremental", 9)
    for name in ("archive", "zebra"):
        lifecycle.rename(home, pipelines.listed(home)[0].name, name)
        assert [(one.pipeline, one.loaded) for one in usage.report(home, by="object").lines] == [(name, 9)]
    with home.database.reading() as connection:
        told = alert_watch._daily(connection, home.actor.team_id, usage.day_of(home.database.now()) + timedelta(days=1))
    assert told is not None and "zebra: 9 rows" in told.body


def test_a_span_that_ends_before_it_begins_is_refused(home: Home) -> None:
    with pytest.raises(ConfigError) as caught:
        usage.report(home, since=datetime(2030, 1, 1, tzinfo=UTC), until=datetime(2029, 1, 1, tzinfo=UTC))
    assert caught.value.code == "span"


def test_a_limit_says_how_far_it_is_used_up_and_is_on_record(home: Home, saved: Desk, segment: Segment) -> None:
    moved(saved, segment, "HISTORICAL", "historical", 100)
    moved(saved, segment, "INCREMENTAL", "incremental", 9)
    daily = usage_limits.limit_pipeline(home, "events", 50, pause=True)
    assert (daily.pipeline, daily.period, daily.used, daily.exceeded) == ("events", "day", 109, True)
    monthly = usage_limits.limit_team(home, 50)
    assert (monthly.pipeline, monthly.period, monthly.used, monthly.exceeded) == (None, "month", 9, False)
    assert usage_limits.limit_team(home, 8).exceeded
    listed = usage_limits.page(home, limit=1)
    rest = usage_limits.page(home, limit=1, after=listed.next)
    assert {one.pipeline for one in (*listed.items, *rest.items)} == {"events", None} and rest.next is None
    usage_limits.lift_pipeline(home, "events")
    usage_limits.lift_team(home)
    assert not usage_limits.page(home).items
    from millrace.control import activity

    assert [one.action for one in activity.listed(home).items[:5]] == ["limit"] * 5


@pytest.mark.spec("pipelines.22.15")
def test_a_pipeline_that_would_miss_something_is_not_paused_by_a_limit(home: Home, saved: Desk) -> None:
    server = {"db_host": "db.example.com", "db_name": "shop", "db_user": "u", "db_password": "p"}
    connections.create(home, "source", "queried", "postgres", server)
    connections.create(home, "source", "followed", "postgres", server | {"ingestion_mode": "log"})
    connections.create(home, "source", "told", "webhook", {})
    for name in ("queried", "followed", "told"):
        pipelines.create(home, replace(pipelines.find(home, "events").wish, name=name, source=name))
    assert usage_limits.limit_pipeline(home, "queried", 50, pause=True).pause
    for name in ("followed", "told"):
        with pytest.raises(ConfigError) as caught:
            usage_limits.limit_pipeline(home, name, 50, pause=True)
        assert caught.value.code == "cannot_pause"
        assert not usage_limits.limit_pipeline(home, name, 50).pause


def test_a_limit_is_suggested_once_a_week_is_known(home: Home, saved: Desk) -> None:
    assert usage_limits.usual(home, "events").suggested is None
    today = usage.day_of(home.database.now())
    with home.database.transaction() as connection:
        for back in range(1, 15):
            values = {"pipeline_id": saved.pipeline, "pipeline": "events", "stream": "E", "table_name": "e"}
            values |= {"team_id": home.actor.team_id, "kind": "INCREMENTAL", "ingested": 0, "loaded": 100 * back}
            connection.execute(sa.insert(usage_hourly).values(values | {"hour": today - timedelta(days=back)}))
    found = usage_limits.usual(home, "events")
    assert [one.loaded for one in found.lately] == [2800, 10500, 10500]
    assert (found.suggested, found.limit) == (2100, None)
    usage_limits.limit_pipeline(home, "events", 2100)
    kept = usage_limits.usual(home, "events").limit
    assert kept is not None and (kept.rows, kept.pipeline) == (2100, "events")
