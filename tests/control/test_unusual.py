"""What is unusual for a pipeline by its own past: spikes by the weekday, loads that stop, and a pause where asked."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa
from tests.control.conftest import Desk, commit
from tests.control.test_usage import Segment

from millrace.control.alerting import alert_routing, alert_watch, alerts, unusual
from millrace.control.alerting.unusual import Unusual
from millrace.control.connecting import connections
from millrace.control.database.tables import segments, slots
from millrace.control.database.telling_tables import usage_hourly
from millrace.control.home import Home
from millrace.control.pipeline import pipelines
from millrace.control.scheduling.schedule import Schedule, to_json
from millrace.errors import ConfigError

pytestmark = pytest.mark.spec("pipelines.16.3")

# A Wednesday.
NOW = datetime(2026, 5, 20, 15, 30, tzinfo=UTC)
WEEK, HOUR = timedelta(weeks=1), timedelta(hours=1)


@pytest.fixture
def url(tmp_path: Path) -> str:
    """One kind of database: statements over usage are tested on both elsewhere."""
    return f"sqlite:///{tmp_path / 'millrace.db'}"


def loaded(home: Home, saved: Desk, rows: int, at: datetime) -> None:
    """So many rows were loaded in that hour."""
    values = {"team_id": home.actor.team_id, "pipeline_id": saved.pipeline, "pipeline": "events", "stream": "Orders"}
    values |= {"table_name": "orders", "kind": "INCREMENTAL", "ingested": 0, "loaded": rows}
    with home.database.transaction() as connection:
        connection.execute(sa.insert(usage_hourly).values(values | {"hour": at.replace(minute=0)}))


def codes(home: Home, at: datetime) -> list[tuple[str, str]]:
    alert_watch.check_unusual(home, at)
    alert_routing.route(home, at)
    return [(one.code, one.state) for one in alerts.page(home).items]


def test_a_day_is_compared_with_the_same_weekday_of_the_weeks_before(home: Home, saved: Desk) -> None:
    def told() -> tuple[int, float | None]:
        with home.database.reading() as connection:
            return unusual.today(connection, saved.pipeline, NOW)

    loaded(home, saved, 900, NOW)
    assert told() == (900, None)
    for weeks, rows in ((1, 100), (2, 5000)):
        loaded(home, saved, rows, NOW - weeks * WEEK)
        loaded(home, saved, 7, NOW - weeks * WEEK - 24 * HOUR)
    assert told() == (900, None), "two days say nothing yet"
    loaded(home, saved, 200, NOW - 3 * WEEK)
    assert told() == (900, 200)
    loaded(home, saved, 60, NOW - 5 * WEEK)
    assert told() == (900, 100), "a day without rows is one of none"


@pytest.mark.parametrize("pause", [False, True])
def test_an_unusual_day_is_told_once_and_pauses_if_that_is_wanted(home: Home, saved: Desk, pause: bool) -> None:
    for weeks in (1, 2, 3):
        loaded(home, saved, 100, NOW - weeks * WEEK)
    unusual.watch(home, "events", Unusual(times=3, pause=pause))
    loaded(home, saved, 300, NOW - HOUR)
    assert codes(home, NOW) == []
    loaded(home, saved, 1, NOW)
    assert codes(home, NOW) == [("SPIKE_UNUSUAL", alerts.page(home).items[0].state)]
    assert pipelines.find(home, "events").state == ("PAUSED" if pause else "ACTIVE")
    assert len(codes(home, NOW + HOUR)) == 1
    assert len(codes(home, NOW + 24 * HOUR)) == 1, "another day has its own past"


def test_loads_that_stop_are_told_until_rows_come_again(home: Home, saved: Desk, segment: Segment) -> None:
    wish = pipelines.find(home, "events").wish
    pipelines.change(home, "events", lambda _: replace(wish, schedule=to_json(Schedule(every_s=3600))))
    unusual.watch(home, "events", Unusual(intervals=3))
    assert codes(home, NOW) == [], "nothing ever came"
    books, _ = saved.books()
    books.commit(commit(read=3, segments=(segment(3),)))

    def last(at: datetime) -> None:
        with home.database.transaction() as connection:
            connection.execute(sa.update(segments).values(loaded_at=at))
            connection.execute(sa.update(slots).values(anchor_at=NOW - 100 * HOUR))

    last(NOW - 3 * HOUR)
    assert codes(home, NOW) == []
    last(NOW - 5 * HOUR)
    assert codes(home, NOW) == codes(home, NOW) == [("LOADS_STOPPED", "OPEN")]
    last(NOW)
    assert ("LOADS_STOPPED", "RESOLVED") in codes(home, NOW)


def test_what_is_watched_is_kept_and_can_be_given_up(home: Home, saved: Desk) -> None:
    wanted = Unusual(times=2.5, intervals=4, pause=True)
    assert unusual.watch(home, "events", wanted) == unusual.of(home, "events") == wanted
    assert unusual.watch(home, "events", Unusual()) == unusual.of(home, "events") == Unusual()
    for wrong in (Unusual(times=1), Unusual(intervals=0), Unusual(intervals=3, pause=True)):
        with pytest.raises(ConfigError):
            unusual.watch(home, "events", wrong)


def test_a_pipeline_that_is_told_things_is_not_paused(home: Home, saved: Desk) -> None:
    connections.create(home, "source", "told", "webhook", {})
    pipelines.create(home, replace(pipelines.find(home, "events").wish, name="told", source="told"))
    with pytest.raises(ConfigError) as caught:
        unusual.watch(home, "told", Unusual(times=3, pause=True))
    assert caught.value.code == "cannot_pause"
