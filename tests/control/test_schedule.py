"""Intervals and cron expressions, as a file writes them."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from millrace.control.scheduling.schedule import cron, seconds, spelled, zone
from millrace.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "expected"),
    [("30m", 1800), ("6h", 21600), ("1d", 86400), ("90s", 90), ("1.5h", 5400), (" 2 hours ", 7200), ("1w", 604800),
     ("15 min", 900)],
)  # fmt: skip
def test_a_duration_is_a_number_and_a_unit(text: str, expected: int):
    assert seconds(text) == expected


@pytest.mark.parametrize("text", ["", "6", "h", "-1h", "0m", "1.00001s", "six hours", "1h30m", "6x", "1e3s"])
def test_what_is_no_duration_is_refused(text: str):
    with pytest.raises(ConfigError) as told:
        seconds(text)
    assert told.value.code == "bad_duration"


@pytest.mark.parametrize("text", ["99999999999999999999d", "36526d", "9" * 5000 + "w"])
def test_a_duration_that_nobody_lives_to_see_is_refused(text: str):
    with pytest.raises(ConfigError, match="longer than a hundred years"):
        seconds(text)
    assert seconds("36525d") == 36525 * 86400


@given(st.integers(1, 10**7))
def test_a_spelled_duration_reads_back_the_same(span_s: int):
    assert seconds(spelled(span_s)) == span_s


def test_a_cron_expression_names_its_moments():
    every_six = cron("0 */6 * * *")
    day = datetime(2026, 1, 31)
    at = [
        hour for hour in range(24) for minute in range(60) if every_six.matches(day.replace(hour=hour, minute=minute))
    ]
    assert at == [0, 6, 12, 18]


def test_two_restricted_day_fields_mean_either():
    first_or_monday = cron("0 0 1 * mon")
    days = [day for day in range(1, 15) if first_or_monday.matches(datetime(2026, 2, 1) + timedelta(days=day - 1))]
    assert days == [1, 2, 9]


def test_sunday_is_0_and_7_and_sun():
    sunday = datetime(2026, 2, 1)
    assert all(cron(f"0 0 * * {name}").matches(sunday) for name in ("0", "7", "sun", "SUN", "5-7"))


@pytest.mark.parametrize(
    ("text", "field"),
    [("60 * * * *", "minute"), ("* 24 * * *", "hour"), ("* * 0 * *", "day of month"), ("* * * 13 *", "month"),
     ("* * * * 8", "day of week"), ("*/0 * * * *", "minute"), ("5-1 * * * *", "minute"), ("x * * * *", "minute"),
     ("1, * * * *", "minute"), ("*-5 * * * *", "minute"), ("1-2-3 * * * *", "minute")],
)  # fmt: skip
def test_the_field_that_is_wrong_is_named(text: str, field: str):
    with pytest.raises(ConfigError, match=f"the {field} .* is not possible"):
        cron(text)


def test_a_cron_expression_has_five_fields():
    with pytest.raises(ConfigError, match="has 4 fields"):
        cron("0 * * *")


def test_a_time_zone_must_exist():
    assert zone("Asia/Kolkata").key == "Asia/Kolkata"
    for wrong in ("Mars/Olympus", "../etc/passwd", ""):
        with pytest.raises(ConfigError):
            zone(wrong)


@pytest.mark.parametrize(
    ("text", "gap_s"),
    [
        ("* * * * *", 60),
        ("*/20 * * * *", 20 * 60),
        ("*/45 * * * *", 15 * 60),
        ("0 */6 * * *", 6 * 3600),
        ("0 0-20/5 * * *", 4 * 3600),
        ("50,10 0,23 * * *", 20 * 60),
        ("30 23,0 * * *", 3600),
        ("30 23,0 * * 1,3", 23 * 3600),
        ("0 0 * * *", 86400),
        ("0 0 1 * *", 28 * 86400),
        ("0 0 31 * 0", 86400),
        ("0 12 29 2 *", 1461 * 86400),
    ],
)
def test_the_shortest_gap_is_that_between_the_nearest_times(text: str, gap_s: int):
    assert cron(text).shortest_gap_s() == gap_s


@pytest.mark.parametrize("text", ["0 0 30 2 *", "0 0 31 4,6,9,11 *"])
def test_a_cron_expression_whose_days_never_come_is_refused(text: str):
    with pytest.raises(ConfigError, match="never come"):
        cron(text)


@given(
    st.lists(st.integers(0, 59), min_size=1, max_size=3),
    st.lists(st.integers(0, 23), min_size=1, max_size=3),
    st.one_of(st.just("*"), st.integers(1, 28).map(str)),
    st.one_of(st.just("*"), st.integers(0, 6).map(str)),
)
@settings(max_examples=20, deadline=None)
def test_the_shortest_gap_is_that_of_counting_minutes(minutes: list[int], hours: list[int], day: str, weekday: str):
    listed = (",".join(map(str, sorted(set(part)))) for part in (minutes, hours))
    found = cron(" ".join([*listed, day, "*", weekday]))
    at, last, least = datetime(2024, 1, 1), None, None
    while at < datetime(2024, 1, 16):
        if found.matches(at):
            least = at - last if last and (least is None or at - last < least) else least
            last = at
        at += timedelta(minutes=1) if found.falls_on(at) else timedelta(days=1)
    if least is not None:
        assert found.shortest_gap_s() <= least.total_seconds()
        # Days of a month can come nearer to one another in other years.
        assert day != "*" or found.shortest_gap_s() == least.total_seconds()
