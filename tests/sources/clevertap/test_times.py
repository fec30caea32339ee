from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace.sources.clevertap.times import Moments, digits, distinct, microseconds

ZONES = ["UTC", "Europe/Berlin", "America/Los_Angeles", "Asia/Kolkata", "Australia/Lord_Howe", "Pacific/Apia"]


def moment(written: int, zone: str) -> datetime | None:
    micros, good = Moments(ZoneInfo(zone))(np.array([written], np.int64))
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=int(micros[0])) if good[0] else None


@given(
    st.sampled_from(ZONES),
    st.lists(st.datetimes(datetime(1995, 1, 1), datetime(2040, 1, 1)), min_size=1, max_size=30),
)
def test_local_digits_become_the_moment_that_python_gives_with_the_first_fold(zone: str, times: list[datetime]) -> None:
    local = [time.replace(microsecond=0) for time in times]
    written = np.array([int(time.strftime("%Y%m%d%H%M%S")) for time in local], np.int64)
    found, good = Moments(ZoneInfo(zone))(written)
    expected = [microseconds(time.replace(tzinfo=ZoneInfo(zone), fold=0).astimezone(UTC)) for time in local]
    assert good.all() and found.tolist() == expected


@pytest.mark.parametrize(
    ("zone", "written", "expected"),
    [
        ("Europe/Berlin", 20260329023000, datetime(2026, 3, 29, 1, 30, tzinfo=UTC)),  # skipped: the offset before
        ("Europe/Berlin", 20260329015959, datetime(2026, 3, 29, 0, 59, 59, tzinfo=UTC)),
        ("Europe/Berlin", 20260329030000, datetime(2026, 3, 29, 1, 0, tzinfo=UTC)),
        ("Europe/Berlin", 20261025023000, datetime(2026, 10, 25, 0, 30, tzinfo=UTC)),  # twice: the first
        ("Europe/Berlin", 20261025030000, datetime(2026, 10, 25, 2, 0, tzinfo=UTC)),
        ("Asia/Kolkata", 20240229000000, datetime(2024, 2, 28, 18, 30, tzinfo=UTC)),
        ("UTC", 99991231235959, datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)),
    ],
)
def test_days_of_clock_changes_and_other_edges(zone: str, written: int, expected: datetime) -> None:
    assert moment(written, zone) == expected


@pytest.mark.parametrize(
    "written",
    [0, -20260314091502, 2026031409150, 202603140915021, 20260231000000, 20260314240000, 20260314006000,
     20260314000060, 20251301000000, 20260300000000, 20250229000000],
)  # fmt: skip
def test_digits_that_are_no_time_are_told_apart(written: int) -> None:
    assert moment(written, "Europe/Berlin") is None


def test_digits_of_a_moment_are_local() -> None:
    assert digits(datetime(2026, 3, 13, 23, 30, tzinfo=UTC), ZoneInfo("Europe/Berlin")) == 20260314003000


@given(st.lists(st.integers(-3, 3)))
def test_distinct_says_what_numpy_says(values: list[int]) -> None:
    array = np.array(values, np.int64)
    told, expected = distinct(array), np.unique(array, return_inverse=True)
    assert [one.tolist() for one in told] == [one.tolist() for one in expected]
