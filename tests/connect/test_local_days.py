"""Local days have the offsets of Python's table of zones at every moment."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo, available_timezones

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace.connect.local_days import LocalDays


@given(
    zone=st.sampled_from(sorted(available_timezones())),
    first=st.dates(date(1971, 1, 1), date(2037, 1, 1)),
    length=st.integers(0, 400),
    shares=st.lists(st.floats(0, 1), min_size=1, max_size=50),
)
def test_every_moment_has_the_offset_of_its_zone(zone: str, first: date, length: int, shares: list[float]) -> None:
    days = LocalDays(first, first + timedelta(days=length), zone)
    begin, end = days.span
    offsets = days.offsets()
    changes = [moment + timedelta(seconds=shift) for moment, _ in offsets for shift in (-1, 0, 1)]
    for moment in (*(begin + (end - begin) * share for share in shares), *changes):
        if begin <= moment < end:
            offset = [each for changed, each in offsets if changed <= moment][-1]
            assert timedelta(seconds=offset) == moment.astimezone(ZoneInfo(zone)).utcoffset()
            local = (moment + timedelta(seconds=offset)).date()
            assert local == moment.astimezone(ZoneInfo(zone)).date()


@pytest.mark.parametrize("zone", ["Pacific/Kiritimati", "Etc/GMT+12", "UTC", "Asia/Kolkata"])
def test_the_span_has_all_of_the_days(zone: str) -> None:
    days = LocalDays(date(2026, 3, 1), date(2026, 3, 3), zone)
    begin, end = days.span
    assert begin <= datetime(2026, 3, 1, tzinfo=ZoneInfo(zone)) and datetime(2026, 3, 4, tzinfo=ZoneInfo(zone)) <= end


def test_the_first_and_the_last_day_of_the_calendar_are_days() -> None:
    found = LocalDays(date.min, date(1, 1, 9), "Asia/Kolkata"), LocalDays(date(9999, 12, 20), date.max, "Asia/Kolkata")
    assert all(one.offsets()[0][0].tzinfo is UTC for one in found)
