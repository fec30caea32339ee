"""Several messages are sent at a time: who waits for whom, what a receiver that hangs holds up, what a stop does."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from datetime import timedelta

import pytest
from tests.control.conftest import Desk
from tests.control.people import PASSWORD, cheap
from tests.control.receivers import Receiver, dripping, http_server

from millrace.control import activity, settings
from millrace.control.alerting import alert_channels, alert_events, alert_outbox, alert_routing, alert_sending, alerts
from millrace.control.alerting.alert_events import Event
from millrace.control.home import Home
from millrace.control.people import teams
from millrace.control.people.actors import SYSTEM

SOON_S = 20.0


@pytest.fixture
def server() -> Iterator[Receiver]:
    with http_server() as receiver:
        yield receiver
        for held in receiver.held.values():
            held.set()


@pytest.fixture
def hooks(home: Home, saved: Desk, server: Receiver) -> Receiver:
    """Where channels of the team may lead."""
    settings.change(home, allow_private_addresses=True)
    return server


def channel(home: Home, server: Receiver, name: str, *, hangs: bool = False) -> None:
    alert_channels.add(home, name, "webhook", {"url": f"{server.url}/{name}"})
    if hangs:
        server.held[f"/{name}"] = threading.Event()


def happened(home: Home, saved: Desk, cause: str) -> None:
    """An alert of its own, which every channel hears of."""
    entity = activity.Entity("pipeline", saved.pipeline, "events")
    event = Event("SOURCE_FAILED", entity, f"The source failed: {cause}", cause=cause)
    with home.database.transaction() as connection:
        alert_events.tell(connection, home.actor.team_id, event, at=home.database.now())


def over(home: Home, saved: Desk) -> None:
    entity = activity.Entity("pipeline", saved.pipeline, "events")
    with home.database.transaction() as connection:
        alert_events.over(connection, home.actor.team_id, entity, ["SOURCE_FAILED"], at=home.database.now())


def heard(server: Receiver, name: str) -> list[str]:
    """What came at the address of a channel, in its order."""
    return [one.json["title"] for one in server.received if one.path == f"/{name}"]


def until(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + SOON_S
    while not holds():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.01)


def another(home: Home) -> Home:
    """The same home, as another process has it."""
    return Home.open(home.path, env={"MILLRACE_DATABASE_URL": home.database.url})


@contextmanager
def serving(home: Home) -> Generator[threading.Event]:
    """Whoever serves sends; the event ends it."""
    stopping = threading.Event()
    thread = threading.Thread(target=alert_outbox.serve, args=(home, stopping), kwargs={"poll_s": 0.01})
    thread.start()
    try:
        yield stopping
    finally:
        stopping.set()
        thread.join()


def test_a_receiver_that_hangs_holds_up_its_own_channel_alone(home: Home, saved: Desk, hooks: Receiver) -> None:
    channel(home, hooks, "slow", hangs=True)
    channel(home, hooks, "quick")
    with serving(home):
        for number in range(5):
            happened(home, saved, f"cause {number}")
        until(lambda: len(heard(hooks, "quick")) == 5)
        # Of five messages that wait for it, it got one.
        assert len(heard(hooks, "slow")) == 1
        # And what happens meanwhile is told as well.
        happened(home, saved, "later")
        until(lambda: len(heard(hooks, "quick")) == 6)
        assert len(heard(hooks, "slow")) == 1
        hooks.held["/slow"].set()
        until(lambda: len(alerts.deliveries(home, state="sent").items) == 12)
    assert heard(hooks, "slow") == heard(hooks, "quick")


def test_as_many_receivers_of_a_team_may_hang_as_it_has_places_but_one(
    home: Home, saved: Desk, hooks: Receiver
) -> None:
    for number in range(alert_outbox.TEAM_PLACES - 1):
        channel(home, hooks, f"a{number}", hangs=True)
    channel(home, hooks, "quick")
    with serving(home):
        for number in range(3):
            happened(home, saved, f"cause {number}")
        until(lambda: len(heard(hooks, "quick")) == 3)
        for held in hooks.held.values():
            held.set()
        until(lambda: len(alerts.deliveries(home, state="sent").items) == 3 * alert_outbox.TEAM_PLACES)


def test_teams_all_of_whose_receivers_hang_hold_up_no_other_team(
    home: Home, saved: Desk, hooks: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their receivers let their answers drip, by mail and by HTTP, as slowly as they like."""
    monkeypatch.setattr(alert_sending, "WHOLE_S", 600.0)
    host = cheap(home)
    hostile = [home] + [
        home.acting(SYSTEM.of(teams.create(host, name, f"{name.lower()}@elsewhere.example", PASSWORD).id))
        for name in ("Second", "Third")
    ]
    others = home.acting(SYSTEM.of(teams.create(host, "Others", "zoe@elsewhere.example", PASSWORD).id))
    with dripping(b"220 here\r\n", b"2") as mails, dripping(b"HTTP/1.1 200 OK\r\nX: ", b"x") as hook, serving(home):
        for one in hostile:
            for number in range(2 * alert_outbox.TEAM_PLACES):
                mail = {"host": "127.0.0.1", "port": mails, "security": "none", "sender": "m@b.c", "to": ["a@b.c"]}
                kind, config = ("email", mail) if number % 2 else ("webhook", {"url": f"http://127.0.0.1:{hook}/"})
                alert_channels.add(one, f"a{number}", kind, config)
            happened(one, saved, "broken")
        until(lambda: [sending(one) for one in hostile] == [alert_outbox.TEAM_PLACES] * len(hostile))
        channel(others, hooks, "quick")
        for number in range(3):
            happened(others, saved, f"cause {number}")
        until(lambda: len(heard(hooks, "quick")) == 3)
        assert [sending(one) for one in hostile] == [alert_outbox.TEAM_PLACES] * len(hostile)
    until(nobody_sends)


def nobody_sends() -> bool:
    return not [thread for thread in threading.enumerate() if thread.name.startswith("alert ")]


def sending(home: Home) -> int:
    return len(alerts.deliveries(home, state="sending").items)


def test_messages_of_a_channel_arrive_in_the_order_of_what_happened_whoever_sends(
    home: Home, saved: Desk, hooks: Receiver
) -> None:
    """Two servers send, each from several threads."""
    names = ("a", "b", "c")
    for name in names:
        channel(home, hooks, name)
    for number in range(12):
        happened(home, saved, f"cause {number:02}")
    alert_routing.route(home)
    with another(home) as second, serving(home), serving(second):
        until(lambda: len(alerts.deliveries(home, state="sent", limit=100).items) == 36)
    for name in names:
        assert heard(hooks, name) == sorted(heard(hooks, name)) and len(heard(hooks, name)) == 12


def test_that_something_is_over_is_told_after_it_was_told(home: Home, saved: Desk, hooks: Receiver) -> None:
    channel(home, hooks, "slow", hangs=True)
    with serving(home):
        happened(home, saved, "broken")
        until(lambda: len(hooks.received) == 1)
        over(home, saved)
        until(lambda: len(alerts.deliveries(home, state="waiting").items) == 1)
        # Now the receiver fails what it was sent, so that this is tried again, later than the word that it is over.
        hooks.answers += [503]
        hooks.held.pop("/slow").set()
        until(lambda: len(alerts.deliveries(home, state="waiting").items) == 2)
        time.sleep(0.2)
        assert len(hooks.received) == 1
    later = home.database.now() + alert_outbox.WAITS[0]
    assert alert_outbox.deliver(home, later) == 2
    assert [one.json["state"] for one in hooks.received] == ["raised", "raised", "recovered"]


def test_what_has_begun_anew_is_not_closed_by_a_late_word_of_its_end(home: Home, saved: Desk, hooks: Receiver) -> None:
    alert_channels.add(home, "on call", "opsgenie", {"url": hooks.url, "api_key": "k"})
    moment = home.database.now()
    for told, answers in ((happened, []), (over, [503]), (happened, [])):
        told(home, saved, "x") if told is happened else over(home, saved)
        alert_routing.route(home)
        hooks.answers += answers
        moment += timedelta(seconds=5)
        alert_outbox.deliver(home, moment)
    before = len(hooks.received)
    alert_outbox.deliver(home, moment + timedelta(minutes=2))
    assert len(hooks.received) == before
    assert [one.state for one in alerts.deliveries(home).items if one.occasion == "recovered"] == ["dropped"]
    assert [one.state for one in alerts.page(home).items] == ["OPEN", "RESOLVED"]


def test_a_stop_waits_for_no_receiver_and_what_it_did_not_take_goes_out_again(
    home: Home, saved: Desk, hooks: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(alert_outbox, "LEAVE_S", 0.2)
    channel(home, hooks, "slow", hangs=True)
    with serving(home) as stopping:
        happened(home, saved, "broken")
        until(lambda: len(hooks.received) == 1)
        began = time.monotonic()
        stopping.set()
    assert time.monotonic() - began < 2.0
    (waiting,) = alerts.deliveries(home).items
    assert waiting.state == "waiting"
    hooks.held.pop("/slow").set()
    assert alert_outbox.deliver(home) == 1
    first, second = hooks.received
    assert first.json["id"] == second.json["id"]
    until(nobody_sends)
    assert [one.state for one in alerts.deliveries(home).items] == ["sent"]


def test_what_takes_long_to_send_stays_with_its_sender(
    home: Home, saved: Desk, hooks: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(alert_outbox, "LEASE", timedelta(seconds=0.5))
    monkeypatch.setattr(alert_outbox, "RENEW_S", 0.1)
    channel(home, hooks, "slow", hangs=True)
    with another(home) as second, serving(home):
        happened(home, saved, "broken")
        until(lambda: len(hooks.received) == 1)
        end = time.monotonic() + 1.5
        while time.monotonic() < end:
            assert alert_outbox.deliver(second) == 0
            time.sleep(0.05)
        assert len(hooks.received) == 1
        hooks.held["/slow"].set()
        until(lambda: len(alerts.deliveries(home, state="sent").items) == 1)


def test_what_nobody_foresaw_delays_one_message_and_ends_no_thread(
    home: Home, saved: Desk, hooks: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(connection: object, *_: object) -> object:
        raise LookupError("s3cret")

    channel(home, hooks, "quick")
    alert_channels.add(home, "mail", "email", {"host": "localhost", "sender": "m@example.com", "to": ["a@example.com"]})
    monkeypatch.setattr("millrace.control.alerting.alert_sending._mail", broken)
    with serving(home):
        happened(home, saved, "first")
        happened(home, saved, "second")
        until(lambda: len(heard(hooks, "quick")) == 2 and len(alerts.deliveries(home, state="waiting").items) == 2)
    for one in alerts.deliveries(home, state="waiting").items:
        assert one.error == "it could not be sent: LookupError"
