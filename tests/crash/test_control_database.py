"""The server of the control database goes away in the middle of everything, and comes back: a real service goes on by
itself, with the run, the slot and the message that it had, each once (I8)."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import httpx
import pytest
import sqlalchemy as sa
from tests.control.receivers import Receiver, http_server
from tests.crash.site import at_work, ended, site
from tests.postgres import Database, Server, binaries

from millrace.control import activity, settings
from millrace.control.alerting import alert_channels, alert_events, alerts
from millrace.control.alerting.alert_events import Event
from millrace.control.database.tables import slots
from millrace.control.home import Home
from millrace.control.pipeline import lifecycle
from millrace.control.running import jobs
from millrace.control.scheduling.schedule import Schedule
from millrace.control.secrecy.keyring import new_key

AWAY_S = 6.0


@pytest.fixture
def books() -> Iterator[Server]:
    """A server of its own, which is killed."""
    server = Server(binaries())
    try:
        server.start(synchronous_commit="on")
        yield server
    finally:
        server.stop()


@pytest.fixture
def hook() -> Iterator[Receiver]:
    with http_server() as receiver:
        yield receiver
        for held in receiver.held.values():
            held.set()


def test_a_control_database_that_goes_away_costs_no_row_no_slot_and_no_alert(
    tmp_path: Path, books: Server, hook: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    database: Database = books.database
    monkeypatch.setenv("MILLRACE_DATABASE_URL", database.url)
    monkeypatch.setenv("MILLRACE_KEY", new_key())
    hook.held["/x"] = threading.Event()
    with site(tmp_path, slow=True, env=os.environ) as here:
        server = here.serve(workers=1)
        here.until(lambda _: True if "this process schedules" in here.said() else None)
        address = next(word for word in here.said().split() if word.startswith("http://"))
        with Home.open(here.home) as home:
            settings.change(home, allow_private_addresses=True)
            alert_channels.add(home, "hook", "webhook", {"url": f"{hook.url}/x"})
            lifecycle.reschedule(home, "p", Schedule(cron="0 0 1 1 *"))
            entity = activity.Entity("pipeline", "p", "p")
            with home.database.transaction() as connection:
                happened = Event("SOURCE_FAILED", entity, "The source failed", cause="x")
                alert_events.tell(connection, home.actor.team_id, happened, at=home.database.now())
        # A message is with its receiver, which says nothing yet, and a slot comes while nobody can see it.
        here.until(lambda _: True if hook.received else None)
        with Home.open(here.home) as home, home.database.transaction() as connection:
            soon = home.database.now() + timedelta(seconds=3)
            connection.execute(sa.update(slots).values(due_at=soon, slot_at=soon))
        books.kill()
        time.sleep(AWAY_S / 2)
        # The receiver has it; that cannot be noted.
        hook.held["/x"].set()
        assert httpx.get(f"{address}/healthz", timeout=30).status_code == 200
        assert httpx.get(f"{address}/readyz", timeout=30).status_code == 503
        time.sleep(AWAY_S / 2)
        books.again()
        began = here.until(at_work)
        assert began.trigger == "SCHEDULE"
        books.kill()
        time.sleep(AWAY_S)
        books.again()
        here.quick()
        done = here.until(ended)
        said = here.said()
        assert (done.job_id, done.run.status) == (began.job_id, "COMPLETED"), said
        assert done.run.balance.even
        assert here.loaded() == here.expected()
        here.until(lambda home: True if alerts.deliveries(home, state="sent").items else None)
        with Home.open(here.home) as home:
            assert [one.run.status for one in jobs.page(home).items] == ["COMPLETED"]
            (message,) = alerts.deliveries(home).items
        assert (message.state, message.attempts, len(hook.received)) == ("sent", 1, 1)
        assert httpx.get(f"{address}/readyz", timeout=30).status_code == 200
        assert server.poll() is None
        assert "Traceback" not in said, said
