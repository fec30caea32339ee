"""When runs are due: slots over months with clocks put forward and back, rests of empty sources, retries, priority."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace.connect import registry
from millrace.connect.frequency import Frequency
from millrace.control.scheduling.due import (
    Standing,
    backoff,
    begun,
    deferral,
    ended,
    following,
    hurried,
    passed,
    resumed,
    set_back,
)
from millrace.control.scheduling.priority import allowed, preferred
from millrace.control.scheduling.schedule import Schedule, cron

# Days after the 1st of October 2025 on whose morrow the clocks of some zone change.
CHANGES = (3, 23, 30, 157, 177, 185)

HOUR = timedelta(hours=1)
MIDNIGHT = datetime(2026, 3, 1, tzinfo=UTC)
ZONES = ("UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe", "America/Sao_Paulo")
CRONS = ("0 * * * *", "*/20 * * * *", "30 2 * * *", "15 1,2,3 * * *", "0 0 * * mon", "5 4 1,15 * *", "59 23 31 * *")


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def slots(schedule: Schedule, first: datetime, last: datetime, anchor: datetime) -> list[datetime]:
    found, moment = [], first
    while (moment := following(schedule, moment, anchor) or last) < last:
        found.append(moment)
    return found


def simulated(
    schedule: Schedule, standing: Standing, runs: list[timedelta], until: datetime
) -> tuple[list[datetime], list[datetime]]:
    """When runs begin and which slots are skipped, if runs last so long, one after the other."""
    begun_at: list[datetime] = []
    skipped: list[datetime] = []
    busy_until = standing.anchor_at
    while standing.due_at is not None and (now := standing.due_at) < until:
        verdict, standing = passed(standing, schedule, now, running=now < busy_until)
        if verdict == "run":
            busy_until = now + runs[len(begun_at) % len(runs)]
            begun_at.append(now)
        elif verdict == "skip":
            skipped.append(now)
    return begun_at, skipped


@pytest.mark.spec("pipelines.22.4")
def test_a_slot_that_comes_while_a_run_goes_on_is_skipped_and_the_next_is_a_multiple_of_the_interval():
    every_two = Schedule(every_s=7200)
    runs = [2 * HOUR, 2.5 * HOUR, HOUR]
    begun_at, skipped = simulated(every_two, begun(every_two, MIDNIGHT), runs, MIDNIGHT + 7 * HOUR)
    assert [(moment - MIDNIGHT) / HOUR for moment in begun_at] == [0, 2, 6]
    assert [(moment - MIDNIGHT) / HOUR for moment in skipped] == [4]


@pytest.mark.spec("pipelines.22.4")
def test_a_changed_interval_counts_from_the_change():
    changed = at("2026-03-01T11:00")
    twice_a_day = Schedule(every_s=12 * 3600)
    begun_at, skipped = simulated(twice_a_day, begun(twice_a_day, changed), [HOUR], changed + 30 * HOUR)
    assert begun_at == [changed, at("2026-03-01T23:00"), at("2026-03-02T11:00")]
    assert not skipped


@pytest.mark.spec("pipelines.22.4")
def test_a_run_by_hand_never_moves_the_schedule():
    standing = begun(Schedule(every_s=7200), MIDNIGHT)
    _, standing = passed(standing, Schedule(every_s=7200), MIDNIGHT, running=False)
    for outcome in ("read", "empty", "failed", "broken", "cancelled"):
        after = ended(standing, Schedule(every_s=7200), outcome, MIDNIGHT + HOUR, deferring=True, by_hand=True)
        assert after.slot_at == MIDNIGHT + 2 * HOUR


def test_slots_that_nobody_saw_pass_count_as_one():
    hourly = Schedule(every_s=3600)
    verdict, standing = passed(begun(hourly, MIDNIGHT), hourly, MIDNIGHT + 72.5 * HOUR, running=False)
    assert (verdict, standing.slot_at) == ("run", MIDNIGHT + 73 * HOUR)


def test_a_day_may_begin_at_a_fixed_time_in_utc():
    daily = Schedule(every_s=86400, at="03:30")
    assert begun(daily, at("2026-03-01T02:00")).due_at == at("2026-03-01T03:30")
    assert begun(daily, at("2026-03-01T04:00")).due_at == at("2026-03-02T03:30")
    found = slots(daily, at("2026-03-01T04:00"), at("2026-03-04T04:00"), at("2026-03-01T04:00"))
    assert found == [at("2026-03-02T03:30"), at("2026-03-03T03:30"), at("2026-03-04T03:30")]


def test_on_demand_nothing_is_ever_due():
    assert begun(Schedule(), MIDNIGHT).due_at is None
    failed = ended(begun(Schedule(), MIDNIGHT), Schedule(), "failed", MIDNIGHT)
    assert failed.due_at is None


@given(
    every_s=st.integers(1, 7 * 86400),
    offset_s=st.integers(0, 10**7),
    later_s=st.integers(0, 10**7),
)
def test_slots_of_an_interval_are_its_multiples_and_none_is_left_out(every_s: int, offset_s: int, later_s: int):
    schedule, anchor = Schedule(every_s=every_s), MIDNIGHT + timedelta(seconds=offset_s)
    after = anchor + timedelta(seconds=later_s)
    slot = following(schedule, after, anchor)
    assert slot is not None
    assert after < slot <= after + timedelta(seconds=every_s)
    assert (slot - anchor) % timedelta(seconds=every_s) == timedelta(0)


@given(
    every_s=st.sampled_from((1800, 7200, 21600)),
    lasts=st.lists(st.integers(60, 6 * 3600), min_size=1, max_size=5),
    days=st.integers(1, 60),
)
def test_over_months_every_slot_is_either_run_or_skipped_and_runs_never_overlap(
    every_s: int, lasts: list[int], days: int
):
    schedule = Schedule(every_s=every_s)
    runs = [timedelta(seconds=span) for span in lasts]
    until = MIDNIGHT + timedelta(days=days)
    begun_at, skipped = simulated(schedule, begun(schedule, MIDNIGHT), runs, until)
    assert sorted(begun_at + skipped) == [MIDNIGHT, *slots(schedule, MIDNIGHT, until, MIDNIGHT)]
    ends = [begin + runs[number % len(runs)] for number, begin in enumerate(begun_at)]
    assert all(end <= following_ for end, following_ in zip(ends, begun_at[1:], strict=False))


@given(st.sampled_from(CRONS), st.sampled_from(ZONES), st.sampled_from(CHANGES) | st.integers(0, 300))
def test_over_days_a_cron_expression_comes_whenever_the_clocks_show_one_of_its_times(text: str, name: str, day: int):
    """Minute by minute of real time: what the clocks show is what the expression says."""
    zone, times = ZoneInfo(name), cron(text)
    first = datetime(2025, 10, 1, tzinfo=UTC) + timedelta(days=day)
    last = first + timedelta(days=3)
    expected: list[datetime] = []
    shown: set[datetime] = set()
    moment = first
    while (moment := moment + timedelta(minutes=1)) < last:
        local = moment.astimezone(zone).replace(tzinfo=None)
        if times.matches(local) and (len(times.hours) == 24 or local not in shown):
            expected.append(moment)
        shown.add(local)
    found = slots(Schedule(cron=text, timezone=name), first, last, first)
    left_out = [moment for moment in found if moment not in expected]
    assert [moment for moment in found if moment in expected] == expected
    for moment in left_out:
        # A time that the clocks left out comes as much later as they were put forward.
        before = (moment - timedelta(hours=2)).astimezone(zone).utcoffset()
        after = moment.astimezone(zone).utcoffset()
        assert before is not None and after is not None and after > before
        assert times.matches((moment + before).replace(tzinfo=None))


def test_a_time_that_clocks_leave_out_comes_later_and_one_they_show_twice_comes_once():
    berlin = Schedule(cron="30 2 * * *", timezone="Europe/Berlin")
    spring = slots(berlin, at("2026-03-28T12:00"), at("2026-03-31T00:00"), MIDNIGHT)
    assert spring == [at("2026-03-29T01:30"), at("2026-03-30T00:30")]
    autumn = slots(berlin, at("2026-10-24T12:00"), at("2026-10-26T12:00"), MIDNIGHT)
    assert autumn == [at("2026-10-25T00:30"), at("2026-10-26T01:30")]


def test_what_comes_every_hour_comes_every_hour_when_clocks_change():
    hourly = Schedule(cron="0 * * * *", timezone="Europe/Berlin")
    for day in ("2026-03-29T00:00", "2026-10-25T00:00"):
        assert len(slots(hourly, at(day) - timedelta(seconds=1), at(day) + 24 * HOUR, MIDNIGHT)) == 24


@pytest.mark.spec("pipelines.22.3")
def test_an_empty_source_rests_5_10_20_minutes_up_to_6_hours_and_a_row_ends_that():
    often = Schedule(every_s=300)
    standing = Standing(MIDNIGHT, slot_at=MIDNIGHT)
    rests: list[float] = []
    now = MIDNIGHT
    for _ in range(9):
        standing = ended(standing, often, "empty", now, deferring=True)
        assert standing.held_until is not None
        rests.append((standing.held_until - now) / timedelta(minutes=1))
        now = standing.held_until
        verdict, standing = passed(standing, often, now, running=False)
        assert verdict == "run"
    assert rests == [5, 10, 20, 40, 80, 160, 320, 360, 360]
    woken = ended(standing, often, "read", now, deferring=True)
    assert woken.empty_runs == 0
    again = ended(woken, often, "empty", now, deferring=True)
    assert again.held_until == now + timedelta(minutes=5)


@pytest.mark.spec("pipelines.22.3")
def test_a_source_that_is_read_less_often_than_every_6_hours_does_not_rest():
    for schedule, rests in (
        (Schedule(every_s=6 * 3600), True),
        (Schedule(every_s=6 * 3600 + 60), False),
        (Schedule(cron="0 */6 * * *"), True),
        (Schedule(cron="0 */12 * * *"), False),
        (Schedule(), False),
    ):
        standing = ended(Standing(MIDNIGHT), schedule, "empty", MIDNIGHT, deferring=True)
        assert (standing.held_until is not None) is rests


def test_a_pipeline_may_ask_never_to_rest():
    standing = ended(Standing(MIDNIGHT, MIDNIGHT), Schedule(every_s=300), "empty", MIDNIGHT, deferring=False)
    assert standing.held_until is None


def test_a_run_by_hand_leaves_the_count_of_empty_runs_as_it_is():
    standing = Standing(MIDNIGHT, MIDNIGHT + HOUR, held_until=MIDNIGHT + HOUR, empty_runs=4)
    assert ended(standing, Schedule(every_s=300), "empty", MIDNIGHT, deferring=True, by_hand=True) == standing


def test_a_rest_ends_at_the_later_of_its_end_and_the_next_slot():
    hourly = Schedule(every_s=3600)
    standing = Standing(MIDNIGHT, slot_at=MIDNIGHT + HOUR)
    assert ended(standing, hourly, "empty", MIDNIGHT, deferring=True).due_at == MIDNIGHT + HOUR
    tired = Standing(MIDNIGHT, slot_at=MIDNIGHT + HOUR, empty_runs=5)
    assert ended(tired, hourly, "empty", MIDNIGHT, deferring=True).due_at == MIDNIGHT + timedelta(minutes=160)


def test_a_failed_run_comes_once_more_before_the_next_slot_and_slots_stay():
    schedule, standing = Schedule(every_s=7200), Standing(MIDNIGHT, slot_at=MIDNIGHT + 2 * HOUR)
    waits: list[float] = []
    now = MIDNIGHT
    while True:
        standing = ended(standing, schedule, "failed", now)
        if standing.retry_at is None:
            break
        waits.append((standing.retry_at - now) / timedelta(minutes=1))
        now = standing.retry_at
        verdict, standing = passed(standing, schedule, now, running=False)
        assert verdict == "retry"
        assert standing.slot_at == MIDNIGHT + 2 * HOUR
    assert waits == [1, 2, 4, 8, 16, 32]
    assert standing.due_at == MIDNIGHT + 2 * HOUR


def test_what_only_a_person_can_mend_is_not_tried_again_before_its_slot():
    standing = Standing(MIDNIGHT, slot_at=MIDNIGHT + HOUR)
    assert ended(standing, Schedule(every_s=3600), "broken", MIDNIGHT).due_at == MIDNIGHT + HOUR


def test_a_limited_source_is_not_read_before_the_limit_ends():
    hourly, standing = Schedule(every_s=3600), Standing(MIDNIGHT, slot_at=MIDNIGHT + HOUR)
    held = ended(standing, hourly, "deferred", MIDNIGHT, retry_after_s=3 * 3600)
    assert held.due_at == MIDNIGHT + 3 * HOUR
    verdict, after = passed(held, hourly, MIDNIGHT + 3 * HOUR, running=False)
    assert (verdict, after.slot_at, after.held_until) == ("run", MIDNIGHT + 4 * HOUR, None)


def test_a_retry_that_comes_while_a_run_goes_on_is_forgotten():
    standing = Standing(MIDNIGHT, slot_at=MIDNIGHT + 2 * HOUR, retry_at=MIDNIGHT + HOUR)
    verdict, after = passed(standing, Schedule(every_s=7200), MIDNIGHT + HOUR, running=True)
    assert (verdict, after.retry_at, after.slot_at) == (None, None, MIDNIGHT + 2 * HOUR)


@given(
    st.sampled_from([Schedule(every_s=300), Schedule(every_s=3600), Schedule(cron="*/20 * * * *", timezone="UTC")]),
    st.integers(0, 100_000),
    st.integers(10, 100_000),
)
def test_a_clock_that_is_set_back_puts_off_no_interval(schedule: Schedule, after_s: int, by_s: int):
    now, by = MIDNIGHT + timedelta(seconds=after_s), timedelta(seconds=by_s)
    _, standing = passed(begun(schedule, MIDNIGHT), schedule, now, running=False)
    found = set_back(standing, schedule, by, now - by)
    assert standing.due_at is not None and found.due_at is not None
    if schedule.cron is None:
        assert found.due_at - (now - by) == standing.due_at - now
    else:
        assert found.due_at - (now - by) <= timedelta(minutes=20)


def test_a_time_of_day_that_a_clock_shows_twice_because_it_was_set_back_comes_once():
    for schedule in (Schedule(every_s=86400, at="03:00"), Schedule(cron="0 3,15 * * *", timezone="UTC")):
        _, standing = passed(begun(schedule, MIDNIGHT), schedule, MIDNIGHT + 3 * HOUR, running=False)
        assert set_back(standing, schedule, HOUR, MIDNIGHT + 2 * HOUR).due_at == standing.due_at
    held = Standing(MIDNIGHT, MIDNIGHT + 3 * HOUR, retry_at=MIDNIGHT + 2 * HOUR, held_until=MIDNIGHT + 2 * HOUR)
    found = set_back(held, Schedule(cron="0 3 * * *", timezone="UTC"), HOUR, MIDNIGHT)
    assert (found.slot_at, found.retry_at, found.held_until) == (held.slot_at, MIDNIGHT + HOUR, MIDNIGHT + HOUR)


WITHIN_A_DAY = [
    Schedule(every_s=86400, at="03:00"),
    Schedule(cron="0 3 * * *", timezone="UTC"),
    Schedule(cron="0 3,15 * * *", timezone="UTC"),
    Schedule(cron="0 * * * *", timezone="UTC"),
    Schedule(every_s=7200),
]


@given(st.sampled_from(WITHIN_A_DAY), st.integers(0, 100_000), st.integers(86_401, 400 * 86_400))
def test_a_clock_that_was_wrong_by_more_than_a_day_puts_off_nothing(schedule: Schedule, after_s: int, by_s: int):
    wrong, by, a_day = MIDNIGHT + timedelta(seconds=after_s), timedelta(seconds=by_s), timedelta(days=1)
    now = wrong - by
    standing = replace(begun(schedule, wrong), slot_at=following(schedule, wrong, wrong))
    waits = {
        "slot": set_back(standing, schedule, by, now),
        "limit": set_back(ended(standing, schedule, "deferred", wrong, retry_after_s=60), schedule, by, now),
        "pause": resumed(standing, schedule, now),
    }
    for one in waits.values():
        assert one.due_at is not None
        assert now < one.due_at <= now + a_day, waits
    assert waits["limit"].held_until == now + timedelta(seconds=60)
    again = set_back(replace(standing, retry_at=wrong + timedelta(minutes=1)), schedule, by, now)
    assert again.due_at is not None
    assert again.due_at <= now + timedelta(minutes=1)


def test_after_a_pause_the_next_slot_counts():
    schedule = Schedule(every_s=7200)
    held = Standing(MIDNIGHT, MIDNIGHT + 2 * HOUR, held_until=MIDNIGHT + 9 * HOUR, empty_runs=7)
    assert resumed(held, schedule, MIDNIGHT + 5 * HOUR) == Standing(MIDNIGHT, MIDNIGHT + 6 * HOUR)


@given(st.integers(1, 10_000), st.floats(0, 1))
def test_waits_grow_and_never_pass_their_limits(times: int, spread: float):
    assert timedelta(minutes=5) <= deferral(times) <= timedelta(hours=6)
    assert timedelta(seconds=30) <= backoff(times, spread=spread) <= timedelta(hours=1)
    assert deferral(times) <= deferral(times + 1)
    assert backoff(times, spread=spread) <= backoff(times + 1, spread=spread)


@pytest.mark.spec("pipelines.22.16")
def test_of_12_accounts_3_may_have_priority_and_pipelines_of_one_account_count_once():
    assert allowed({f"host {number}" for number in range(12)}) == 3
    assert allowed([f"host {number % 12}" for number in range(40)]) == 3
    assert [allowed({str(number) for number in range(many)}) for many in (1, 3, 4, 8)] == [0, 0, 1, 2]


def test_a_pipeline_with_priority_is_read_as_often_as_its_source_allows():
    source = Frequency(6 * 3600, 1800, 86400)
    assert hurried(Schedule(every_s=7200), source) == Schedule(every_s=1800)
    assert hurried(Schedule(cron="0 3 * * *"), source) == Schedule(every_s=1800)
    assert hurried(Schedule(every_s=600), source) == Schedule(every_s=600)
    assert hurried(Schedule(), source) == Schedule()


def test_of_five_tasks_four_are_urgent_and_the_first_of_several_workers_is_kept_for_the_others():
    first = [preferred(taken, 1, 4)[0] for taken in range(10)]
    assert first == (["HIGH"] * 4 + ["NORMAL"]) * 2
    assert {preferred(taken, 0, 4) for taken in range(10)} == {("NORMAL",)}
    assert all(set(preferred(taken, 0, 1)) == {"HIGH", "NORMAL"} for taken in range(10))


@pytest.mark.parametrize(
    ("legacy", "minutes"), [(False, (360, 30, 1440)), (True, (30, 5, 1440))], ids=["today", "legacy"]
)
def test_a_source_says_how_often_it_may_be_read(legacy: bool, minutes: tuple[int, ...]):
    clevertap: Any = registry.source("clevertap")
    found = clevertap.frequency(legacy=legacy)
    assert (found.default_s, found.shortest_s, found.longest_s) == tuple(60 * one for one in minutes)
