"""From what happens to what people read: alerts that begin and end, messages that arrive once, wishes, digests."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st
from tests.control.conftest import AsNew, Desk
from tests.control.people import acting, cheap, joined
from tests.control.receivers import Receiver, http_server, mail_server
from tests.control.sources import Script

from millrace.connect.reach import Walled
from millrace.control import activity, settings
from millrace.control.alerting import (
    alert_channels,
    alert_events,
    alert_outbox,
    alert_preferences,
    alert_routing,
    alert_runs,
    alert_watch,
    alerts,
    lateness,
)
from millrace.control.alerting.alert_events import Event
from millrace.control.alerting.alert_wanted import Quiet, Wanted, checked, from_json
from millrace.control.alerting.alerts import Alert
from millrace.control.books import leases, records
from millrace.control.connecting import connections
from millrace.control.database import tables
from millrace.control.database import telling_tables as told
from millrace.control.home import Home
from millrace.control.metering import usage_limits
from millrace.control.people import users
from millrace.control.people.actors import SYSTEM
from millrace.control.pipeline import lifecycle, pipelines
from millrace.control.running import crews, runs, tasks, worker
from millrace.control.running.jobs import start
from millrace.control.scheduling import scheduler, set_back
from millrace.engine import loading
from millrace.errors import AuthError, ConfigError, Problem, Transient

HOUR = timedelta(hours=1)


@pytest.fixture
def url(tmp_path: Path) -> str:
    """One kind of database, but where two processes meet in it."""
    return f"sqlite:///{tmp_path / 'millrace.db'}"


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loading, "LOAD_WAITS_S", ())


@pytest.fixture(scope="module")
def server() -> Iterator[Receiver]:
    with http_server() as receiver:
        yield receiver


@pytest.fixture
def hook(home: Home, saved: Desk, server: Receiver) -> Receiver:
    """What a webhook of the team receives, on the machine of the server."""
    server.received.clear()
    server.answers.clear()
    settings.change(home, allow_private_addresses=True)
    alert_channels.add(home, "hook", "webhook", {"url": f"{server.url}/x?token=t0ken", "secret": "s1gning"})
    return server


@pytest.fixture
def script(saved: Desk, monkeypatch: pytest.MonkeyPatch) -> Script:
    found = Script({"Orders": [[{"id": 1}], [{"id": 2}]], "Users": [[{"id": 1}]]})
    monkeypatch.setattr(connections, "build_source", found.build)
    return found


def fails(error: Exception) -> Any:
    def step() -> None:
        raise error

    return step


def attempt(home: Home) -> None:
    with pytest.raises(Exception):  # noqa: B017  whatever the source raised
        runs.run(home, "events")


def go(home: Home, at: datetime | None = None) -> None:
    """What whoever serves does."""
    alert_routing.route(home, at)
    alert_outbox.deliver(home, at)


def found(home: Home) -> list[Alert]:
    return list(alerts.page(home).items)


def happened(home: Home, event: Event, at: datetime | None = None) -> None:
    with home.database.transaction() as connection:
        alert_events.tell(connection, home.actor.team_id, event, at=at or home.database.now())


def trouble(saved: Desk, **more: Any) -> Event:
    entity = activity.Entity("pipeline", saved.pipeline, "events")
    return replace(Event("SOURCE_FAILED", entity, "The source failed", cause="broken_connection"), **more)


def over(home: Home, saved: Desk) -> None:
    entity = activity.Entity("pipeline", saved.pipeline, "events")
    with home.database.transaction() as connection:
        alert_events.over(connection, home.actor.team_id, entity, ["SOURCE_FAILED"], at=home.database.now())


def test_an_alert_leads_to_its_pipeline_under_the_name_that_it_has_now(home: Home, saved: Desk) -> None:
    happened(home, trouble(saved))
    alert_routing.route(home)
    lifecycle.rename(home, "events", "people")
    for times in (1, 2):
        (alert,) = found(home)
        assert (alert.entity.name, alert.entity.id, alert.count) == ("people", saved.pipeline, times)
        happened(home, trouble(saved))
        alert_routing.route(home)


def test_a_failed_run_is_told_and_so_is_its_recovery(home: Home, script: Script, hook: Receiver) -> None:
    script.before["Orders", 0] = fails(AuthError("the passcode is wrong", hint="Give another."))
    attempt(home)
    go(home)
    (alert,) = found(home)
    assert (alert.code, alert.severity, alert.state, alert.run) == ("SOURCE_FAILED", "CRITICAL", "OPEN", 1)
    assert "the passcode is wrong" in alert.body and "Give another" in alert.body
    script.before.clear()
    runs.run(home, "events")
    go(home)
    (alert,) = found(home)
    assert alert.state == "RESOLVED"
    assert [(one["event"], one["state"]) for one in hook.bodies()] == [
        ("SOURCE_FAILED", "raised"),
        ("RECOVERED", "recovered"),
    ]
    runs.run(home, "events")
    go(home)
    assert len(hook.received) == 2


def test_an_end_of_a_run_and_what_is_told_of_it_stand_or_fall_together(
    home: Home, script: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> None:
        raise RuntimeError("no room")

    monkeypatch.setattr(alert_runs, "ended", broken)
    with pytest.raises(RuntimeError):
        runs.run(home, "events")
    assert records.run_record(home, 1).status == "IN_PROGRESS"


def test_trouble_that_time_mends_is_a_warning_until_it_came_three_times(
    home: Home, script: Script, hook: Receiver
) -> None:
    script.before["Orders", 0] = fails(Transient("the host does not answer"))
    for severity, messages in (("WARNING", 1), ("WARNING", 1), ("ERROR", 2)):
        attempt(home)
        go(home)
        (alert,) = found(home)
        assert (alert.severity, len(hook.received)) == (severity, messages)
    assert alert.count == 3


def test_a_destination_that_fails_is_one_alert_however_many_pipelines_meet_it(
    home: Home, script: Script, tmp_path: Path
) -> None:
    connections.change(home, "destination", "warehouse", config={"path": str(tmp_path / "no" / "such" / "w.duckdb")})
    pipelines.create(home, pipelines.Wish("second", "project", "warehouse", table_prefix="b"))
    for name in ("events", "second"):
        with pytest.raises(Exception):  # noqa: B017  whatever DuckDB says
            runs.run(home, name)
    go(home)
    (alert,) = found(home)
    assert (alert.code, alert.entity.name, alert.count) == ("DEST_FAILED", "warehouse", 2)
    connections.change(home, "destination", "warehouse", config={"path": str(tmp_path / "w.duckdb")})
    runs.run(home, "second")
    go(home)
    assert [one.state for one in found(home)] == ["RESOLVED"]


def test_what_was_wrong_with_a_pipeline_or_a_destination_is_over_when_it_is_gone(
    home: Home, saved: Desk, hook: Receiver
) -> None:
    destination = connections.find(home, "destination", "warehouse")
    happened(home, trouble(saved))
    happened(home, trouble(saved, code="DEST_FAILED", entity=destination.entity))
    go(home)
    lifecycle.delete(home, "events")
    connections.remove(home, "destination", "warehouse")
    go(home)
    assert [one.state for one in found(home)] == ["RESOLVED", "RESOLVED"]
    assert [body["state"] for body in hook.bodies()] == ["raised", "raised", "recovered", "recovered"]


def test_a_run_that_ends_without_a_word_is_told(home: Home, saved: Desk) -> None:
    records.begin_run(home.database, saved.pipeline, "INCREMENTAL")
    records.end_interrupted(home.database, saved.pipeline)
    start(home, "events")
    task = tasks.take(home.database, ("HIGH", "NORMAL"))
    assert task is not None
    tasks.fail_queued(home.database, task, Problem("no_key", "the key is gone"))
    go(home)
    assert [(one.code, one.facts["error"]) for one in found(home)] == [
        ("JOB_FAILED", "no_key"),
        ("JOB_FAILED", "interrupted"),
    ]


def test_a_worker_that_dies_again_and_again_is_told_when_its_run_is_given_up(
    home: Home, saved: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tasks, "MOST_ATTEMPTS", 1)
    start(home, "events")
    assert tasks.take(home.database, ("HIGH", "NORMAL")) is not None
    with home.database.transaction() as connection:
        past = home.database.now() - HOUR
        connection.execute(sa.update(tables.tasks).values(expires_at=past))
    tasks.recover(home.database)
    go(home)
    assert [(one.code, one.facts["error"]) for one in found(home)] == [("JOB_FAILED", "worker_died")]


def test_a_cancelled_run_is_no_alert(home: Home, script: Script) -> None:
    stopping = threading.Event()
    stopping.set()
    runs.run(home, "events", stopping=stopping)
    go(home)
    assert found(home) == []


def test_objects_that_fail_are_told_by_name(home: Home, script: Script) -> None:
    options = {"failure_policy": {"max_failed_events": 0}}
    pipelines.change(home, "events", lambda _: replace(pipelines.find(home, "events").wish, options=options))
    script.pages["Users"] = [[{"id": None}]]
    runs.run(home, "events")
    go(home)
    codes = {one.code: one for one in found(home)}
    assert "Users" in codes["OBJECT_FAILED"].title


def test_an_alert_that_goes_on_is_told_once_an_hour_unless_somebody_looks_after_it(
    home: Home, saved: Desk, hook: Receiver
) -> None:
    now = home.database.now()
    for minutes, messages in ((0, 1), (5, 1), (59, 1), (61, 2), (70, 2)):
        at = now + timedelta(minutes=minutes)
        happened(home, trouble(saved, severity="ERROR"), at)
        go(home, at)
        assert len(hook.received) == messages, minutes
    (alert,) = found(home)
    assert alert.count == 5
    alerts.acknowledge(home, alert.id)
    happened(home, trouble(saved, severity="ERROR"), now + timedelta(hours=5))
    go(home, now + timedelta(hours=5))
    assert len(hook.received) == 2
    happened(home, trouble(saved, severity="CRITICAL"), now + timedelta(hours=5))
    go(home, now + timedelta(hours=5))
    assert len(hook.received) == 3, "it got worse"
    alerts.resolve(home, alert.id)
    assert alerts.reopen(home, alert.id).state == "RESOLVED", "what is over stays over"
    go(home, now + timedelta(hours=6))
    assert hook.bodies()[-1]["state"] == "recovered"
    happened(home, trouble(saved), now + timedelta(hours=7))
    go(home, now + timedelta(hours=7))
    assert [one.state for one in found(home)] == ["OPEN", "RESOLVED"]
    actions = [one.action for one in activity.listed(home).items]
    assert {"acknowledge", "resolve"} <= set(actions)


def test_an_alert_that_nobody_looks_after_any_more_is_told_again(home: Home, saved: Desk, hook: Receiver) -> None:
    now = home.database.now()
    happened(home, trouble(saved, severity="ERROR"), now)
    go(home, now)
    (alert,) = found(home)
    assert alerts.acknowledge(home, alert.id).author is not None
    opened = alerts.reopen(home, alert.id)
    assert (opened.state, opened.author) == ("OPEN", None)
    happened(home, trouble(saved, severity="ERROR"), now + timedelta(hours=2))
    go(home, now + timedelta(hours=2))
    assert len(hook.received) == 2
    assert "reopen" in [one.action for one in activity.listed(home).items]


def test_another_cause_is_another_alert(home: Home, saved: Desk) -> None:
    happened(home, trouble(saved))
    happened(home, trouble(saved, cause="auth"))
    go(home)
    assert len({one.id for one in found(home)}) == 2
    over(home, saved)
    go(home)
    assert {one.state for one in found(home)} == {"RESOLVED"}


def test_what_happened_long_ago_is_on_record_and_wakes_nobody(home: Home, saved: Desk, hook: Receiver) -> None:
    happened(home, trouble(saved), home.database.now() - timedelta(days=3))
    go(home)
    assert len(found(home)) == 1 and hook.received == []


def test_quiet_hours_hold_messages_back_but_critical_ones(home: Home, saved: Desk, hook: Receiver) -> None:
    alert_channels.change(home, "hook", wanted=Wanted(quiet=Quiet("22:00", "07:00", "Europe/Berlin")))
    night = datetime(2026, 1, 10, 2, tzinfo=UTC)
    happened(home, trouble(saved), night)
    go(home, night)
    assert hook.received == []
    happened(home, trouble(saved, cause="auth", severity="CRITICAL"), night)
    go(home, night)
    assert [one["severity"] for one in hook.bodies()] == ["CRITICAL"]
    go(home, datetime(2026, 1, 10, 5, 59, tzinfo=UTC))
    assert len(hook.received) == 1
    go(home, datetime(2026, 1, 10, 6, 0, tzinfo=UTC))
    assert len(hook.received) == 2


def test_another_attempt_comes_in_time_though_the_clock_was_set_back_and_quiet_hours_end_when_they_end(
    home: Home, saved: Desk, hook: Receiver
) -> None:
    noon = datetime(2026, 5, 1, 12, tzinfo=UTC)
    hook.answers.append(503)
    happened(home, trouble(saved), noon)
    go(home, noon)
    alert_channels.change(home, "hook", wanted=Wanted(quiet=Quiet("11:00", "14:00")))
    happened(home, trouble(saved, cause="another"), noon)
    go(home, noon)
    with home.database.transaction() as connection:
        before = dict(connection.execute(sa.select(told.alert_deliveries.c.id, told.alert_deliveries.c.due_at)).all())
    assert sorted(before.values()) == [noon + timedelta(minutes=1), noon + 2 * HOUR]
    mine = leases.acquire(home.database, scheduler.LEASE)
    set_back.follow(home, mine, HOUR, noon - HOUR, since=noon - HOUR)
    with home.database.reading() as connection:
        after = connection.execute(sa.select(told.alert_deliveries.c.due_at)).scalars()
        assert sorted(after) == [noon - HOUR + timedelta(minutes=1), noon + 2 * HOUR]


def test_what_is_over_before_it_was_sent_is_not_sent(home: Home, saved: Desk, hook: Receiver) -> None:
    alert_channels.change(home, "hook", wanted=Wanted(quiet=Quiet("00:00", "23:59")))
    happened(home, trouble(saved))
    go(home)
    over(home, saved)
    go(home)
    go(home, home.database.now() + timedelta(days=2))
    assert hook.received == []
    assert [one.state for one in alerts.deliveries(home).items] == ["dropped"]


@given(
    st.times(), st.times(), st.datetimes(datetime(2026, 1, 1), datetime(2026, 12, 30)),
    st.sampled_from(["UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata"]),
)  # fmt: skip
def test_quiet_hours_end_within_a_day_and_it_is_not_quiet_then(start: Any, end: Any, at: datetime, zone: str) -> None:
    quiet = Quiet(f"{start:%H:%M}", f"{end:%H:%M}", zone)
    if quiet.start == quiet.end:
        with pytest.raises(ConfigError):
            checked(Wanted(quiet=quiet))
        return
    now = at.replace(tzinfo=UTC)
    until = quiet.until(now)
    if until is None:
        return
    assert now < until <= now + timedelta(hours=25)
    assert quiet.until(until) is None or until.astimezone(ZoneInfo(zone)).time().hour < end.hour + 2


def test_wishes_are_the_same_after_they_were_kept() -> None:
    wish = Wanted(("schema", "load"), "ERROR", Quiet("22:00", "07:00", "Asia/Kolkata"))
    assert from_json(wish.to_json()) == wish
    assert from_json({}) == from_json(None) == Wanted()


@pytest.mark.parametrize(
    "quiet", [Quiet("25:00", "07:00"), Quiet("7", "08:00"), Quiet("22:00", "07:00", "Mars/Olympus"), Quiet("1:00", "2")]
)
def test_quiet_hours_that_cannot_be_are_refused(quiet: Quiet) -> None:
    with pytest.raises(ConfigError):
        checked(Wanted(quiet=quiet))


def test_a_channel_hears_of_what_it_wants(home: Home, saved: Desk, hook: Receiver) -> None:
    alert_channels.change(home, "hook", wanted=Wanted(("schema",)))
    happened(home, trouble(saved))
    go(home)
    assert hook.received == []
    alert_channels.change(home, "hook", wanted=Wanted(least="ERROR"))
    happened(home, trouble(saved, cause="b", severity="WARNING"))
    happened(home, trouble(saved, cause="c", severity="ERROR"))
    alert_channels.change(home, "hook", enabled=True)
    go(home)
    assert [one["severity"] for one in hook.bodies()] == ["ERROR"]
    alert_channels.change(home, "hook", enabled=False)
    happened(home, trouble(saved, cause="d", severity="ERROR"))
    go(home)
    assert len(hook.received) == 1


def test_what_waits_is_not_sent_to_a_channel_that_was_switched_off(home: Home, saved: Desk, hook: Receiver) -> None:
    hook.answers += [503]
    happened(home, trouble(saved))
    go(home)
    alert_channels.change(home, "hook", enabled=False)
    (given_up,) = alerts.deliveries(home).items
    assert given_up.state == "dropped" and given_up.ended_at
    alert_channels.change(home, "hook", enabled=True)
    go(home, home.database.now() + HOUR)
    assert len(hook.received) == 1


def test_an_address_that_the_mail_server_does_not_take_is_tried_again_alone_and_nobody_gets_mail_twice(
    home: Home, saved: Desk
) -> None:
    cheap(home)
    joined(home, "ada@example.com", "TEAM_ADMIN")
    now = home.database.now()
    with mail_server() as box:
        config = {"host": "127.0.0.1", "port": box.port, "security": "none", "sender": "m@example.com"}
        settings.change(home, allow_private_addresses=True)
        to = ["ada@example.com", "new@example.com", "gone@example.com"]
        channel = alert_channels.add(home, "mail", "email", config | {"to": to}, Wanted(least="ERROR"))
        box.refused |= {"new@example.com": "450 greylisted", "gone@example.com": "550 unknown"}
        happened(home, trouble(saved), now)
        go(home, now)
        assert box.recipients == [["ada@example.com"]]
        states = {one.recipient: one.state for one in alerts.deliveries(home).items}
        assert states == {"ada@example.com": "sent", "new@example.com": "waiting", "gone@example.com": "failed"}
        (gone,) = alerts.deliveries(home, state="failed").items
        assert "refuses mail to gone@example.com (550)" in (gone.error or "")
        said = alerts.test(home, channel.name)
        assert "new@example.com" in (said.problem or "") and "gone@example.com" in (said.problem or "")
        box.refused.clear()
        box.recipients.clear()
        go(home, now + alert_outbox.WAITS[0])
        assert box.recipients == [["new@example.com"]]
        over(home, saved)
        box.recipients.clear()
        go(home, now + HOUR)
        assert sorted(box.recipients) == [["ada@example.com"], ["new@example.com"]]
        box.recipients.clear()
        happened(home, trouble(saved, severity="WARNING"), now + HOUR)
        go(home, now + HOUR)
        assert box.recipients == [["ada@example.com"]], "she wants more than the channel"


def test_users_get_mail_about_what_they_may_see_and_want(home: Home, saved: Desk) -> None:
    cheap(home)
    for email, role in (("ada@example.com", "TEAM_ADMIN"), ("bob@example.com", "OBSERVER")):
        joined(home, email, role)
    joined(home, "bill@example.com", "BILLING_ADMIN")
    alert_preferences.change(acting(home, "bob@example.com"), Wanted(("schema",)))
    with mail_server() as box:
        config = {"host": "127.0.0.1", "port": box.port, "security": "none", "sender": "m@example.com"}
        settings.change(home, allow_private_addresses=True)
        alert_channels.add(home, "mail", "email", config | {"to": ["ops@example.com"]})
        happened(home, trouble(saved))
        go(home)
        assert sorted(one for each in box.recipients for one in each) == ["ada@example.com", "ops@example.com"]
        box.recipients.clear()
        team = activity.Entity("team", home.actor.team_id, "usage")
        happened(home, Event("QUOTA_EARLY", team, "70 % are used"))
        go(home)
        assert sorted(one for each in box.recipients for one in each) == [
            "ada@example.com", "bill@example.com", "ops@example.com",
        ]  # fmt: skip


def test_who_gets_mail_is_read_alike_as_text_and_as_lists(home: Home, saved: Desk) -> None:
    cheap(home)
    joined(home, "ada@example.com", "TEAM_ADMIN")
    settings.change(home, allow_private_addresses=True)
    with mail_server() as box:
        config = {"host": "127.0.0.1", "port": str(box.port), "security": "none", "sender": "m@example.com"}
        typed = {"to": "a@x.org, b@x.org", "members": "false"}
        alert_channels.add(home, "mail", "email", config | typed)
        happened(home, trouble(saved))
        go(home)
        assert box.recipients == [["a@x.org"], ["b@x.org"]]


def test_an_address_in_other_letters_gets_one_mail(home: Home, saved: Desk) -> None:
    cheap(home)
    joined(home, "ada@example.com", "TEAM_ADMIN")
    settings.change(home, allow_private_addresses=True)
    with mail_server() as box:
        config = {"host": "127.0.0.1", "port": box.port, "security": "none", "sender": "m@example.com"}
        alert_channels.add(home, "mail", "email", config | {"to": ["Ada@example.com"]})
        happened(home, trouble(saved))
        go(home)
        over(home, saved)
        go(home)
        assert box.recipients == [["Ada@example.com"], ["Ada@example.com"]]


def test_who_is_removed_is_told_nothing_that_waited_but_where_a_channel_names_the_address(
    home: Home, saved: Desk
) -> None:
    cheap(home)
    for email, role in (
        ("ada@example.com", "OBSERVER"),
        ("eve@example.com", "OBSERVER"),
        ("bob@example.com", "TEAM_ADMIN"),
    ):
        joined(home, email, role)
    alert_preferences.change(acting(home, "bob@example.com"), Wanted(("schema",)))
    now = home.database.now()
    with mail_server() as box:
        config = {"host": "127.0.0.1", "port": box.port, "security": "none", "sender": "m@example.com"}
        settings.change(home, allow_private_addresses=True)
        alert_channels.add(home, "mail", "email", config | {"to": ["eve@example.com"]})
        box.refused |= {"ada@example.com": "450 later", "eve@example.com": "450 later"}
        happened(home, trouble(saved), now)
        go(home, now)
        for email in ("ada@example.com", "eve@example.com"):
            users.remove(home, email)
        box.refused.clear()
        go(home, now + alert_outbox.WAITS[0])
        assert box.recipients == [["eve@example.com"]]
        states = {one.recipient: (one.state, one.attempts) for one in alerts.deliveries(home).items}
        assert states == {"ada@example.com": ("dropped", 1), "eve@example.com": ("sent", 2)}


def test_what_failed_is_not_sent_again_to_who_was_removed(home: Home, saved: Desk) -> None:
    cheap(home)
    joined(home, "ada@example.com", "OBSERVER")
    settings.change(home, allow_private_addresses=True)
    with mail_server() as box:
        config = {"host": "127.0.0.1", "port": box.port, "security": "none", "sender": "m@example.com"}
        alert_channels.add(home, "mail", "email", config)
        box.refused |= {"ada@example.com": "550 unknown"}
        happened(home, trouble(saved))
        go(home)
        assert [one.again for one in alerts.deliveries(home).items] == [True]
        users.remove(home, "ada@example.com")
        assert [one.again for one in alerts.deliveries(home).items] == [False]
        (alert,) = found(home)
        with pytest.raises(ConfigError) as caught:
            alerts.resend(home, alert.id)
        assert caught.value.code == "wrong_state"


def test_what_was_on_its_way_when_a_channel_was_switched_off_is_not_tried_again(
    home: Home, saved: Desk, hook: Receiver
) -> None:
    now = home.database.now()
    happened(home, trouble(saved), now)
    alert_routing.route(home, now)
    taken = alert_outbox._taken(home, now)
    alert_channels.change(home, "hook", enabled=False)
    hook.answers += [503]
    assert not alert_outbox._attempt(home, taken, now)
    go(home, now + alert_outbox.WAITS[0])
    assert [(one.state, one.attempts) for one in alerts.deliveries(home).items] == [("dropped", 1)]
    assert len(hook.received) == 1


def test_preferences_of_others_are_for_whoever_looks_after_users(home: Home) -> None:
    cheap(home)
    joined(home, "ada@example.com", "TEAM_ADMIN")
    joined(home, "bob@example.com", "OBSERVER")
    bob = acting(home, "bob@example.com")
    assert alert_preferences.shown(bob) == Wanted()
    with pytest.raises(Exception, match=r"users\.edit"):
        alert_preferences.change(bob, Wanted(least="ERROR"), "ada@example.com")
    alert_preferences.change(acting(home, "ada@example.com"), Wanted(least="ERROR"), "bob@example.com")
    assert alert_preferences.shown(bob) == Wanted(least="ERROR")
    with pytest.raises(ConfigError):
        alert_preferences.shown(home)


def test_a_message_that_does_not_arrive_is_tried_again_for_a_day_and_then_given_up(
    home: Home, saved: Desk, hook: Receiver
) -> None:
    now = home.database.now()
    hook.answers += [503] * 20
    happened(home, trouble(saved), now)
    go(home, now)
    for wait in alert_outbox.WAITS:
        go(home, now + wait - timedelta(seconds=1))
        before = len(hook.received)
        now += wait
        go(home, now)
        assert len(hook.received) == before + 1
    assert now - home.database.now() < timedelta(days=1, hours=1)
    (delivery,) = alerts.deliveries(home).items
    assert (delivery.state, delivery.attempts) == ("failed", len(alert_outbox.WAITS) + 1)
    assert "answered 503" in (delivery.error or "") and "t0ken" not in (delivery.error or "")
    assert len({one.json["id"] for one in hook.received}) == 1, "it is the same message"


def test_what_a_receiver_will_never_take_is_not_sent_again(home: Home, saved: Desk, hook: Receiver) -> None:
    hook.answers += [404]
    happened(home, trouble(saved))
    go(home)
    go(home, home.database.now() + timedelta(days=1))
    assert len(hook.received) == 1
    (refused,) = alerts.deliveries(home).items
    assert refused.state == "failed"
    assert alerts.deliveries(home, state="failed").items == (refused,)
    assert alerts.deliveries(home, state="sent").items == ()


def test_what_failed_for_good_is_sent_again_to_whom_it_did_not_reach_when_somebody_says_so(
    home: Home, saved: Desk, hook: Receiver
) -> None:
    alert_channels.add(home, "other", "webhook", {"url": f"{hook.url}/y"})
    now = home.database.now()
    hook.answers += [404, 200, 404, 404]
    happened(home, trouble(saved), now)
    go(home, now)
    happened(home, trouble(saved), now + HOUR)
    go(home, now + HOUR)
    lost = alerts.deliveries(home, state="failed").items
    assert [one.channel for one in lost] == ["other", "hook", "hook"]
    assert [one.again for one in lost] == [True, True, False], "the last one tells what another told since"
    (alert,) = found(home)
    hook.received.clear()
    hook.answers += [503]
    again = alerts.resend(home, alert.id)
    assert [(one.id, one.state, one.attempts) for one in again] == [(one.id, "waiting", 0) for one in lost[:2]]
    with pytest.raises(ConfigError) as caught:
        alerts.resend(home, alert.id)
    assert caught.value.code == "wrong_state"
    go(home)
    go(home, home.database.now() + alert_outbox.WAITS[0])
    assert [one.json["id"] for one in hook.received].count(hook.received[0].json["id"]) == 2, "it is tried again"
    assert len(hook.received) == 3
    assert [one.state for one in alerts.deliveries(home).items] == ["sent", "sent", "sent", "failed"]
    assert ("resend", "MEDIUM") in [(one.action, one.severity) for one in activity.listed(home).items]


def test_of_an_alert_that_is_over_only_that_is_sent_again(home: Home, saved: Desk, hook: Receiver) -> None:
    alert_channels.add(home, "other", "webhook", {"url": f"{hook.url}/y"})
    hook.answers += [200, 404, 404]
    happened(home, trouble(saved))
    go(home)
    over(home, saved)
    go(home)
    (alert,) = found(home)
    hook.received.clear()
    listed = alerts.deliveries(home, state="failed").items
    assert [(one.occasion, one.again) for one in listed] == [("recovered", True), ("raised", False)]
    # Whichever was sent to first heard of the trouble, and did not hear of its end; the other one did not hear of it.
    heard, other = (one.channel for one in listed)
    assert {heard, other} == {"hook", "other"}
    (again,) = alerts.resend(home, alert.id)
    assert (again.channel, again.occasion) == (heard, "recovered")
    assert not again.again
    alert_channels.change(home, heard, enabled=False)
    with pytest.raises(ConfigError):
        alerts.resend(home, alert.id)
    go(home)
    assert hook.received == [] and alerts.deliveries(home, state="dropped").items


def test_a_message_whose_sender_died_goes_to_another_one(home: Home, saved: Desk, hook: Receiver) -> None:
    now = home.database.now()
    happened(home, trouble(saved), now)
    alert_routing.route(home, now)
    assert alert_outbox._taken(home, now) is not None
    alert_outbox.deliver(home, now + timedelta(minutes=1))
    assert hook.received == []
    alert_outbox.deliver(home, now + alert_outbox.LEASE)
    assert len(hook.received) == 1


def test_a_server_sends_to_its_own_machine_only_where_somebody_allows_that(
    home: Home, saved: Desk, hook: Receiver
) -> None:
    settings.change(home, allow_private_addresses=False)
    theirs = home.acting(SYSTEM)
    now = home.database.now()
    happened(home, trouble(saved), now)
    alert_routing.route(home, now)
    assert alert_outbox.deliver(theirs, now) == 0
    (refused,) = alerts.deliveries(home).items
    assert refused.state == "waiting" and "the server's own machine" in (refused.error or "")
    for asker in (theirs, home):
        # Whoever sits at the machine would reach it, but it is the service that sends.
        told_of = alerts.test(asker, "hook")
        assert "the server's own machine" in (told_of.problem or "") and not hook.received
        assert "allow_private_addresses" in (told_of.hint or "")
    settings.change(home, allow_private_addresses=True)
    assert alert_outbox.deliver(theirs, now + alert_outbox.WAITS[0]) == 1
    for asker in (theirs, home):
        assert alerts.test(asker, "hook").problem is None
    assert len(hook.received) == 3


def test_a_channel_that_the_service_cannot_reach_is_not_saved(home: Home, saved: Desk, hook: Receiver) -> None:
    settings.change(home, allow_private_addresses=False)
    mail = {"sender": "millrace@example.com", "members": True}
    channels: list[tuple[str, dict[str, Any]]] = [
        ("webhook", {"url": "http://10.1.2.3/hook"}),
        ("slack", {"url": hook.url}),
        ("pagerduty", {"routing_key": "k", "url": "https://127.0.0.1"}),
        ("email", mail | {"host": "localhost"}),
    ]
    for asker in (home, home.acting(SYSTEM)):
        for kind, config in channels:
            with pytest.raises(Walled):
                alert_channels.add(asker, "inside", kind, config)
        with pytest.raises(Walled):
            alert_channels.change(asker, "hook", config={"url": "http://169.254.169.254/latest"})
    # Mail servers of the own network, and names that mean nothing now, may be.
    alert_channels.add(home, "relay", "email", mail | {"host": "10.1.2.3"})
    alert_channels.add(home, "away", "webhook", {"url": "https://nobody.invalid/hook"})
    alert_channels.change(home, "hook", enabled=False)
    settings.change(home, allow_private_addresses=True)
    for number, (kind, config) in enumerate(channels):
        alert_channels.add(home, f"inside {number}", kind, config)


def test_a_test_says_whether_it_arrived(home: Home, hook: Receiver) -> None:
    assert alerts.test(home, "hook").problem is None
    assert hook.bodies()[0]["code"] == "TEST"
    hook.answers += [500]
    tested = alerts.test(home, "hook")
    assert tested.problem is not None and "answered 500" in tested.problem


def test_channels_are_kept_with_their_secrets_sealed(home: Home, hook: Receiver, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        alert_channels.add(home, "hook", "slack", {"url": "https://hooks.example.com/s3ntinel"})
    assert caught.value.code == "name_taken"
    alert_channels.add(home, "chat", "slack", {"url": "https://hooks.example.com/s3ntinel"})
    (chat, _) = alert_channels.listed(home)
    assert (chat.kind, chat.config, chat.secrets) == ("slack", {}, ("url",))
    changed = alert_channels.change(home, "hook", config={"url": f"{hook.url}/y"})
    assert changed.secrets == ("secret", "url")
    assert alerts.test(home, "hook").problem is None
    assert hook.received[0].path == "/y" and "hmac-signature" in hook.received[0].headers
    home.database.close()
    for file in tmp_path.rglob("millrace.db*"):
        content = file.read_bytes()
        assert b"s3ntinel" not in content and b"s1gning" not in content
    alert_channels.remove(home, "chat")
    with pytest.raises(ConfigError) as caught:
        alert_channels.find(home, "chat")
    assert caught.value.code == "unknown_channel"
    with pytest.raises(ConfigError):
        alert_channels.add(home, "bird", "pigeon", {})


def test_loads_are_told_only_where_somebody_wants_to_hear_of_each(home: Home, script: Script, hook: Receiver) -> None:
    runs.run(home, "events")
    go(home)
    assert hook.received == []
    alert_channels.change(home, "hook", wanted=Wanted(("load",)))
    script.pages["Orders"].append([{"id": 3}])
    runs.run(home, "events")
    go(home)
    (body,) = hook.bodies()
    assert (body["event"], body["tables"], body["facts"]["rows"]) == ("LOAD_COMPLETED", ["orders"], 1)
    assert body["destination_id"] == connections.find(home, "destination", "warehouse").number


def test_new_columns_and_new_objects_are_told_and_a_first_run_is_not(home: Home, script: Script) -> None:
    runs.run(home, "events")
    go(home)
    assert found(home) == []
    script.pages["Orders"].append([{"id": 3, "colour": "red"}])
    script.pages["Carts"] = [[{"id": 1}]]
    runs.run(home, "events")
    go(home)
    titles = {one.title: one for one in found(home)}
    assert set(titles) == {"Orders of pipeline events has changed", "Carts is new in pipeline events"}
    changed = titles["Orders of pipeline events has changed"]
    assert (changed.code, changed.category, changed.state) == ("SCHEMA_CHANGED", "schema", "NOTED")
    assert "field colour: not there -> colour VARCHAR" in changed.body
    runs.run(home, "events")
    go(home)
    assert len(found(home)) == 2


def test_a_table_that_was_dropped_is_told(home: Home, script: Script, tmp_path: Path) -> None:
    import duckdb

    runs.run(home, "events")
    with duckdb.connect(str(tmp_path / "w.duckdb")) as connection:
        connection.execute("DROP TABLE orders")
    script.pages["Orders"].append([{"id": 3}])
    runs.run(home, "events")
    go(home)
    (alert,) = found(home)
    assert alert.code == "TABLE_DROPPED" and "orders" in alert.body


def test_events_that_failed_are_told_every_three_hours_in_one_message(
    home: Home, script: Script, hook: Receiver
) -> None:
    now = datetime.now(UTC)
    alert_watch.digest(home, now - timedelta(hours=3))
    script.pages["Users"] = [[{"id": None}, {"id": 1}]]
    runs.run(home, "events")
    three_hours_on = now + timedelta(hours=3)
    assert alert_watch.digest(home, three_hours_on) == 1
    assert alert_watch.digest(home, three_hours_on) == 0
    go(home, three_hours_on)
    (body,) = hook.bodies()
    assert (body["event"], body["facts"]["rows"]) == ("FAILED_EVENTS_DIGEST", 1)
    assert "events, Users: 1 rows, mapping/NULL_PRIMARY_KEY" in body["body"]
    assert alert_watch.digest(home, three_hours_on + timedelta(hours=3)) == 0, "nothing failed since"


def test_yesterdays_usage_is_told_once_a_day(home: Home, script: Script, hook: Receiver) -> None:
    now = datetime.now(UTC)
    alert_watch.daily(home, now)
    runs.run(home, "events")
    tomorrow = now + timedelta(days=1)
    assert alert_watch.daily(home, tomorrow) == 1
    assert alert_watch.daily(home, tomorrow) == 0
    go(home, tomorrow)
    (body,) = hook.bodies()
    assert (body["event"], body["facts"]["loaded"], body["facts"]["billable"]) == ("USAGE_DAILY", 3, 0)


@pytest.mark.spec("pipelines.22.15")
@pytest.mark.parametrize("pause", [False, True])
def test_a_spike_is_told_once_a_day_and_pauses_the_pipeline_if_somebody_said_so(
    home: Home, script: Script, hook: Receiver, pause: bool
) -> None:
    now = datetime.now(UTC)
    usage_limits.limit_pipeline(home, "events", 3, pause=pause)
    runs.run(home, "events")
    assert alert_watch.check_limits(home, now) == 0, "at the limit is not beyond it"
    script.pages["Orders"].append([{"id": 3}])
    runs.run(home, "events")
    assert alert_watch.check_limits(home, now) == 1
    assert alert_watch.check_limits(home, now) == 0
    go(home)
    (body,) = hook.bodies()
    assert (body["event"], body["facts"]["used"]) == ("SPIKE_LIMIT_EXCEEDED", 4)
    assert pipelines.find(home, "events").state == ("PAUSED" if pause else "ACTIVE")
    assert alert_watch.check_limits(home, now + timedelta(days=1)) == 0


def test_a_quota_is_told_at_seven_tenths_early_in_the_month_and_when_it_is_used_up(home: Home, saved: Desk) -> None:
    usage_limits.limit_team(home, 100, pause=True)
    early = datetime(2026, 5, 3, 12, tzinfo=UTC)

    def loads(rows: int) -> None:
        values = {"pipeline_id": saved.pipeline, "pipeline": "events", "stream": "E", "table_name": "e"}
        values |= {"team_id": home.actor.team_id, "kind": "INCREMENTAL", "ingested": 0, "loaded": rows}
        with home.database.transaction() as connection:
            connection.execute(sa.delete(told.usage_hourly))
            connection.execute(sa.insert(told.usage_hourly).values(values | {"hour": early}))

    for rows, at, expected in (
        (69, early, []),
        (70, early, ["QUOTA_EARLY"]),
        (80, early, ["QUOTA_EARLY"]),
        (100, early, ["QUOTA_CONSUMED", "QUOTA_EARLY"]),
        (101, early + timedelta(days=20), ["QUOTA_CONSUMED", "QUOTA_EARLY"]),
    ):
        loads(rows)
        alert_watch.check_limits(home, at)
        alert_routing.route(home, at)
        assert [one.code for one in found(home)] == expected, rows
        assert pipelines.find(home, "events").state == ("ACTIVE" if rows < 100 else "PAUSED")


def test_seven_tenths_late_in_the_month_are_as_planned(home: Home, saved: Desk) -> None:
    usage_limits.limit_team(home, 100)
    late = datetime(2026, 5, 20, tzinfo=UTC)
    values = {"pipeline_id": saved.pipeline, "pipeline": "events", "stream": "E", "table_name": "e"}
    values |= {"team_id": home.actor.team_id, "kind": "INCREMENTAL", "ingested": 0, "loaded": 75, "hour": late}
    with home.database.transaction() as connection:
        connection.execute(sa.insert(told.usage_hourly).values(values))
    assert alert_watch.check_limits(home, late) == 0


def test_a_late_pipeline_is_told_until_it_caught_up(home: Home, script: Script, hook: Receiver) -> None:
    runs.run(home, "events")
    now = datetime.now(UTC)
    lateness.allow(home, "events", 30)
    assert alert_watch.check_latency(home, now) == 0
    assert alert_watch.check_latency(home, now + HOUR) == 1
    assert alert_watch.check_latency(home, now + HOUR) == 0
    go(home)
    assert alert_watch.check_latency(home, now + HOUR) == 0
    assert [one["event"] for one in hook.bodies()] == ["LATENCY_EXCEEDED"]
    alert_watch.check_latency(home, now)
    go(home)
    assert hook.bodies()[-1]["event"] == "RECOVERED"
    assert lateness.of(home, "events") == 30
    lateness.allow(home, "events", None)
    assert lateness.of(home, "events") is None
    assert alert_watch.check_latency(home, now + HOUR) == 0


def test_a_log_that_may_be_cut_is_told_until_a_run_does_not_say_so(
    home: Home, script: Script, saved: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    from millrace.connect.source import Note

    said: list[Note] = [Note("log_retention_risk", "the log is kept for 2 hours, and this pipeline runs every 6")]
    real = crews._said
    monkeypatch.setattr(crews, "_said", lambda ours: [*real(ours), *said])
    runs.run(home, "events")
    go(home)
    (alert,) = found(home)
    assert (alert.code, alert.state) == ("LOG_RETENTION_RISK", "OPEN")
    said.clear()
    runs.run(home, "events")
    go(home)
    assert found(home)[0].state == "RESOLVED"


def test_a_source_that_says_how_its_log_stands_is_heard_after_each_run(
    home: Home, script: Script, saved: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tests.control.sources import Paged

    from millrace.connect.source import Retention
    from millrace.errors import Transient

    stands: list[Retention | None] = [Retention(kept_s=86400, behind_s=70000)]
    monkeypatch.setattr(Paged, "retention", lambda _: stands[0])
    runs.run(home, "events")
    go(home)
    assert [(one.code, one.state) for one in found(home)] == [("LOG_RETENTION_RISK", "OPEN")]
    stands[0] = Retention(kept_s=86400, behind_s=100)
    runs.run(home, "events")
    go(home)
    assert found(home)[0].state == "RESOLVED"

    def away(_: Paged) -> Retention:
        raise Transient("the source is away")

    monkeypatch.setattr(Paged, "retention", away)
    assert runs.run(home, "events").status == "COMPLETED"


@pytest.mark.parametrize(
    ("kept_s", "behind_s", "held_bytes", "level"),
    [
        (None, None, None, None), (86400, None, None, None), (86400, 43200, None, None),
        (86400, 43300, None, "warning"), (86400, 69200, None, "error"), (86400, 90000, None, "error"),
        (0, 5, None, None), (None, None, 10 << 30, None), (None, None, (10 << 30) + 1, "warning"),
    ],
)  # fmt: skip
def test_people_are_told_below_a_half_and_a_fifth_of_what_is_kept(
    kept_s: float | None, behind_s: float | None, held_bytes: int | None, level: str | None
) -> None:
    from millrace.connect.source import Retention
    from millrace.control.alerting.log_watch import risk

    note = risk(Retention(kept_s, behind_s, held_bytes))
    assert (note and note.level) == level
    assert risk(None) is None


@pytest.mark.parametrize(
    ("held_bytes", "most_bytes", "level"),
    [(5, 10, None), (6, 10, "warning"), (9, 10, "error"), (10, 10, "error"), (6, None, None), (None, 10, None)],
)
def test_people_are_told_when_more_than_a_half_of_the_room_of_a_log_is_taken(
    held_bytes: int | None, most_bytes: int | None, level: str | None
) -> None:
    from millrace.connect.source import Retention
    from millrace.control.alerting.log_watch import risk

    note = risk(Retention(held_bytes=held_bytes, most_bytes=most_bytes))
    assert (note and note.level) == level


def test_alerts_of_another_team_are_not_there(home: Home, saved: Desk, hook: Receiver) -> None:
    from tests.control.people import PASSWORD

    from millrace.control.people import teams
    from millrace.control.people.actors import OPERATOR

    other = teams.create(cheap(home), "Others", "zoe@elsewhere.example", PASSWORD)
    there = home.acting(OPERATOR.of(other.id))
    happened(home, trouble(saved))
    go(home)
    (alert,) = found(home)
    assert alerts.page(there).items == alerts.deliveries(there).items == ()
    assert alert_channels.listed(there) == []
    for attempt_ in (alerts.find, alerts.acknowledge, alerts.reopen, alerts.resolve):
        with pytest.raises(ConfigError) as caught:
            attempt_(there, alert.id)
        assert caught.value.code == "unknown_alert"
    with pytest.raises(ConfigError):
        alerts.test(there, "hook")


def test_alerts_come_page_by_page(home: Home, saved: Desk) -> None:
    for number in range(3):
        happened(home, trouble(saved, cause=str(number)))
    go(home)
    first = alerts.page(home, limit=2, category="pipeline")
    second = alerts.page(home, limit=2, category="pipeline", after=first.next)
    assert [one.id for one in (*first.items, *second.items)] == [3, 2, 1]
    assert second.next is None
    assert alerts.page(home, state="RESOLVED").items == ()


def test_old_alerts_go(home: Home, saved: Desk) -> None:
    happened(home, trouble(saved))
    go(home)
    assert alert_routing.expire(home, home.database.now() + timedelta(days=89)) == 0
    assert alert_routing.expire(home, home.database.now() + timedelta(days=91)) == 1


def test_whoever_serves_sends_by_itself(home: Home, saved: Desk, hook: Receiver) -> None:
    stopping = threading.Event()
    thread = threading.Thread(target=alert_outbox.serve, args=(home, stopping), kwargs={"poll_s": 0.01})
    thread.start()
    try:
        happened(home, trouble(saved))
        waiting = threading.Event()
        for _ in range(500):
            if hook.received:
                break
            waiting.wait(0.02)
    finally:
        stopping.set()
        thread.join()
    assert len(hook.received) == 1


def test_a_worker_tells_of_the_run_that_it_did(home: Home, script: Script) -> None:
    script.before["Orders", 0] = fails(AuthError("no"))
    start(home, "events")
    task = tasks.take(home.database, ("HIGH", "NORMAL"))
    assert task is not None
    worker.perform(home, task, threading.Event())
    go(home)
    assert [one.code for one in found(home)] == ["SOURCE_FAILED"]


class TestOnBothDatabases:
    @pytest.fixture(params=["sqlite", "postgresql"])
    def url(self, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
        if request.param == "sqlite":
            yield f"sqlite:///{tmp_path / 'both.db'}"
            return
        new: AsNew = request.getfixturevalue("as_new")
        with new.used():
            yield new.url

    def test_several_servers_send_every_message_once(self, home: Home, saved: Desk, hook: Receiver) -> None:
        for number in range(12):
            happened(home, trouble(saved, cause=str(number)))
        threads = [threading.Thread(target=go, args=(home,)) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(hook.received) == len({one.json["id"] for one in hook.received}) == 12
        assert len(found(home)) == 12

    def test_several_servers_tell_a_digest_and_a_limit_once(self, home: Home, saved: Desk) -> None:
        now = datetime.now(UTC)
        values = {"pipeline_id": saved.pipeline, "pipeline": "events", "stream": "E", "table_name": "e"}
        values |= {"team_id": home.actor.team_id, "kind": "INCREMENTAL", "ingested": 9, "loaded": 9, "hour": now}
        with home.database.transaction() as connection:
            connection.execute(sa.insert(told.usage_hourly).values(values))
        usage_limits.limit_pipeline(home, "events", 3)
        alert_watch.look(home, now)
        threads = [threading.Thread(target=alert_watch.look, args=(home, now)) for _ in range(3)]
        threads += [threading.Thread(target=alert_watch.daily, args=(home, now + timedelta(days=1))) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        alert_routing.route(home)
        assert sorted(one.code for one in found(home)) == ["SPIKE_LIMIT_EXCEEDED", "USAGE_DAILY"]


@pytest.mark.parametrize(
    ("way", "side"),
    [
        ("engine.ingest sources.postgres.source connect.sql.libpq", "source"),
        ("engine.ingest sources.mysql.source connect.sql.reading.ranges", "source"),
        ("engine.ingest connect.http.client", "source"),
        ("engine.load connect.sql.destination", "destination"),
        ("engine.load destinations.postgres.destination connect.sql.libpq", "destination"),
        ("engine.load connect.sql.destination engine.stage", "neither"),
        ("engine.load", "destination"),
        ("control.runs", "neither"),
    ],
)
def test_an_error_is_of_the_connector_that_it_came_through(way: str, side: str) -> None:
    def step() -> None:
        raise Transient("gone")

    for module in reversed(way.split()):
        space: dict[str, Any] = {"__name__": f"millrace.{module}", "further": step}
        exec("def step():\n    further()", space)
        step = space["step"]
    with pytest.raises(Transient) as raised:
        step()
    assert alert_runs.side_of(raised.value) == side
