"""When something is due: slots of a schedule, what holds a run back, what brings it sooner. Pure; the clock is passed.

Rules: pipelines.md 5.1 (frequencies), 5.3 (deferral), 5.4 (backoff), 5.6 (slots), 8.6 (Run Now), 8.7 (priority).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from typing import Literal, TypeAlias
from zoneinfo import ZoneInfo

from millrace.connect.frequency import Frequency
from millrace.control.scheduling.schedule import Cron, Schedule, cron, zone
from millrace.data.dataclass import dataclass

Outcome: TypeAlias = Literal["read", "empty", "deferred", "failed", "broken", "cancelled"]
"""How a run ended: with rows, without, by a rate limit, by what time may mend, by what a person must, by hand."""

Verdict: TypeAlias = Literal["run", "retry", "skip"]

FIRST_DEFERRAL = timedelta(minutes=5)
LONGEST_DEFERRAL = timedelta(hours=6)
FIRST_BACKOFF = timedelta(minutes=1)
LONGEST_BACKOFF = timedelta(minutes=60)

A_DAY = timedelta(days=1)

# The next time of a cron expression is at most this far away: the 29th of February, over a century without one.
SEARCHED_DAYS = 8 * 366


@dataclass(frozen=True, slots=True)
class Standing:
    """Where one schedule is.

    ``anchor_at``: the moment from which intervals count. ``slot_at``: its next slot, None on demand. ``retry_at``: a
    run that failed comes once more, beside the slots. ``held_until``: nothing begins before. ``empty_runs`` and
    ``failed_runs`` count those in a row.
    """

    anchor_at: datetime
    slot_at: datetime | None = None
    retry_at: datetime | None = None
    held_until: datetime | None = None
    empty_runs: int = 0
    failed_runs: int = 0

    @property
    def due_at(self) -> datetime | None:
        """When something is to be done; None: never by itself."""
        moments = [moment for moment in (self.slot_at, self.retry_at) if moment is not None]
        if not moments:
            return None
        return max(min(moments), self.held_until or self.anchor_at)


def following(schedule: Schedule, after: datetime, anchor: datetime) -> datetime | None:
    """The first slot of the schedule later than ``after``; None on demand.

    Intervals are spans of real time, counted from ``anchor``, or with `Schedule.at` from that time of day in UTC; no
    slot comes before the anchor. Times of a cron expression are those of its zone's clocks: what they leave out when
    they are put forward comes as much later; what they show twice counts once, unless the expression names every hour.
    """
    if schedule.cron is not None:
        return _following_cron(cron(schedule.cron), zone(schedule.timezone), after)
    if schedule.every_s is None:
        return None
    every = timedelta(seconds=schedule.every_s)
    if schedule.at is not None:
        start = datetime.combine(anchor.astimezone(UTC).date(), time.fromisoformat(schedule.at), UTC)
        anchor = start if start >= anchor else start + every
    if after < anchor:
        return anchor
    return anchor + every * ((after - anchor) // every + 1)


def begun(schedule: Schedule, now: datetime) -> Standing:
    """A schedule that was set now: an interval begins at once and counts from here (pipelines.md 5.1)."""
    plain = schedule.every_s is not None and schedule.at is None
    return Standing(now, now if plain else following(schedule, now, now))


def resumed(standing: Standing, schedule: Schedule, now: datetime) -> Standing:
    """After a pause the next slot counts; what held the run back or brought it sooner is forgotten."""
    anchor = min(standing.anchor_at, now)  # a clock that was set back meanwhile has it still to come
    return Standing(anchor, following(schedule, now, anchor))


def set_back(standing: Standing, schedule: Schedule, by: timedelta, now: datetime) -> Standing:
    """The clock was set back by so much, and shows ``now``. Spans of time go on as if it had not been.

    Times of day that it shows twice count once, unless the cron expression names every hour, or the clock was wrong by
    more than a day: then the next one counts.
    """
    earlier = replace(
        standing,
        anchor_at=standing.anchor_at - by,
        retry_at=None if standing.retry_at is None else standing.retry_at - by,
        held_until=None if standing.held_until is None else standing.held_until - by,
    )
    if standing.slot_at is None:
        return earlier
    if schedule.cron is None and schedule.at is None:
        return replace(earlier, slot_at=standing.slot_at - by)
    hourly = schedule.cron is not None and len(cron(schedule.cron).hours) == 24
    return replace(earlier, slot_at=following(schedule, now, now)) if hourly or by > A_DAY else earlier


def passed(standing: Standing, schedule: Schedule, now: datetime, *, running: bool) -> tuple[Verdict | None, Standing]:
    """What is to be done at ``now``, and where the schedule is then.

    A slot that comes while a run goes on is skipped, and no run makes up for it. Slots that nobody saw pass count as
    one; the next is the first one after now, still a multiple of the interval (pipelines.md 5.6).
    """
    if standing.due_at is None or standing.due_at > now:
        return None, standing
    if standing.slot_at is None or standing.slot_at > now:
        rest = replace(standing, retry_at=None, held_until=None)
        return (None if running else "retry"), rest
    moved = replace(
        standing,
        slot_at=following(schedule, now, standing.anchor_at),
        retry_at=None,
        held_until=None,
    )
    return ("skip" if running else "run"), moved


def ended(
    standing: Standing,
    schedule: Schedule,
    outcome: Outcome,
    at: datetime,
    *,
    deferring: bool = False,
    by_hand: bool = False,
    retry_after_s: float | None = None,
    spread: float = 1.0,
) -> Standing:
    """Where the schedule is after a run that ended ``at``.

    The slots stay where they are, whoever started the run. ``deferring``: runs without a row come at growing
    intervals; one that was asked for ``by_hand`` does not count among them. ``retry_after_s``: what the source said.
    ``spread``, 0 to 1, keeps those that failed together from coming back together.
    """
    if outcome == "cancelled":
        return standing
    if outcome == "read":
        return replace(standing, empty_runs=0, failed_runs=0, retry_at=None, held_until=None)
    if outcome == "empty":
        calm = replace(standing, failed_runs=0, retry_at=None)
        if by_hand:
            return calm
        empty = standing.empty_runs + 1
        held = at + deferral(empty) if deferring and deferrable(schedule) else None
        return replace(calm, empty_runs=empty, held_until=held)
    failed = standing.failed_runs + 1
    wait = backoff(failed, spread=spread) if retry_after_s is None else timedelta(seconds=retry_after_s)
    if outcome == "deferred":
        return replace(standing, failed_runs=failed, retry_at=None, held_until=at + wait)
    sooner = outcome == "failed" and standing.slot_at is not None and at + wait < standing.slot_at
    return replace(standing, failed_runs=failed, retry_at=at + wait if sooner else None)


def deferral(empty_runs: int) -> timedelta:
    """How long a source rests after so many reads without a row: 5, 10, 20 ... 360 minutes (pipelines.md 5.3)."""
    return min(FIRST_DEFERRAL * 2 ** min(empty_runs - 1, 10), LONGEST_DEFERRAL)


def deferrable(schedule: Schedule) -> bool:
    """The schedule comes so often that an empty source is worth a rest."""
    gap_s = cron(schedule.cron).shortest_gap_s() if schedule.cron is not None else schedule.every_s
    return gap_s is not None and gap_s <= LONGEST_DEFERRAL.total_seconds()


def backoff(failed_runs: int, *, spread: float = 1.0) -> timedelta:
    """The wait after so many failures in a row: 1, 2, 4 ... 60 minutes, of which the second half is ``spread``."""
    longest = min(FIRST_BACKOFF * 2 ** min(failed_runs - 1, 10), LONGEST_BACKOFF)
    return longest / 2 + longest / 2 * spread


def hurried(schedule: Schedule, frequency: Frequency) -> Schedule:
    """The schedule of a pipeline of priority HIGH: as often as the source allows (pipelines.md 8.7)."""
    if schedule.cron is None and schedule.every_s is None:
        return schedule
    if schedule.cron is None and schedule.every_s is not None and schedule.every_s <= frequency.shortest_s:
        return schedule
    return Schedule(every_s=frequency.shortest_s)


def _following_cron(times: Cron, clocks: ZoneInfo, after: datetime) -> datetime | None:
    day = after.astimezone(clocks).date() - timedelta(days=1)
    for number in range(SEARCHED_DAYS):
        later = [moment for moment in _moments(times, clocks, day + timedelta(days=number)) if moment > after]
        if later:
            return min(later)
    return None


def _moments(times: Cron, clocks: ZoneInfo, day: date) -> Iterator[datetime]:
    """The moments at which the clocks show the times of a day, in UTC."""
    if not times.falls_on(day):
        return
    hourly = len(times.hours) == 24
    for hour in sorted(times.hours):
        for minute in sorted(times.minutes):
            first = datetime.combine(day, time(hour, minute), clocks).astimezone(UTC)
            yield first
            second = datetime.combine(day, time(hour, minute, fold=1), clocks).astimezone(UTC)
            # What the clocks leave out has its second reading before its first one.
            if hourly and second > first:
                yield second
