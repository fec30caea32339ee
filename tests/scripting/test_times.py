"""Dates and times as text, by Java's letters; `TimeUtils`."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace.api import TimeUtils
from millrace.scripting.formats import formatted, parsed

AT = dt.datetime(2026, 3, 4, 5, 6, 7, 89_012, tzinfo=dt.UTC)


@pytest.mark.parametrize(
    ("pattern", "text"),
    [
        ("yyyy-MM-dd'T'HH:mm:ss.SSSXXX", "2026-03-04T05:06:07.089Z"),
        ("yy/M/d", "26/3/4"),
        ("G", "AD"),
        ("YYYY-'W'ww-u", "2026-W10-3"),
        ("EEE, dd MMM yyyy", "Wed, 04 Mar 2026"),
        ("EEEE d MMMM", "Wednesday 4 March"),
        ("D DDD", "63 063"),
        ("W F", "1 1"),
        ("hh:mm a KK kk", "05:06 AM 05 05"),
        ("SSSSSS S", "089012 89"),
        ("z Z X", "UTC +0000 Z"),
        ("h 'o''clock'", "5 o'clock"),
        ("''yy''", "'26'"),
        ("%Y/%m/%d", "2026/03/04"),
    ],
)
def test_every_letter_writes_its_part(pattern: str, text: str):
    assert formatted(AT, pattern) == text


@pytest.mark.parametrize(("hour", "text"), [(0, "12 AM 0 24"), (12, "12 PM 0 12"), (23, "11 PM 11 23")])
def test_hours_of_the_half_day(hour: int, text: str):
    assert formatted(AT.replace(hour=hour), "h a K k") == text


@pytest.mark.parametrize(
    ("text", "pattern", "moment"),
    [
        ("2026-03-04", "yyyy-MM-dd", dt.datetime(2026, 3, 4)),
        ("20260304050607", "yyyyMMddHHmmss", dt.datetime(2026, 3, 4, 5, 6, 7)),
        ("4/3/26", "d/M/yy", dt.datetime(2026, 3, 4)),
        ("4 mar 2026 1:02 PM", "d MMM yyyy h:mm a", dt.datetime(2026, 3, 4, 13, 2)),
        ("12:00 am", "hh:mm a", dt.datetime(1970, 1, 1, 0, 0)),
        ("March 4, 2026", "MMMM d, yyyy", dt.datetime(2026, 3, 4)),
        ("2026-063", "yyyy-DDD", dt.datetime(2026, 3, 4)),
        ("2026-03-04T05:06:07.089+05:30", "yyyy-MM-dd'T'HH:mm:ss.SSSXXX",
         dt.datetime(2026, 3, 3, 23, 36, 7, 89_000, tzinfo=dt.UTC)),
        ("2026-03-04 05:06:07.123456", "yyyy-MM-dd HH:mm:ss.SSSSSS", dt.datetime(2026, 3, 4, 5, 6, 7, 123_456)),
        ("2026-03-04 Europe/Berlin", "yyyy-MM-dd z", dt.datetime(2026, 3, 3, 23, tzinfo=dt.UTC)),
        ("Wed 2026-03-04", "EEE yyyy-MM-dd", dt.datetime(2026, 3, 4)),
        ("03/04/26", "%m/%d/%y", dt.datetime(2026, 3, 4)),
        ("10AM", "ha", dt.datetime(1970, 1, 1, 10)),
        ("4Mar2026", "dMMMyyyy", dt.datetime(2026, 3, 4)),
        ("Wed Mar 04 05:06:07 PST 2026", "EEE MMM dd HH:mm:ss z yyyy",
         dt.datetime(2026, 3, 4, 13, 6, 7, tzinfo=dt.UTC)),
        ("2026 +03", "yyyy z", dt.datetime(2025, 12, 31, 21, tzinfo=dt.UTC)),
        ("2026 GMT+5:30", "yyyy z", dt.datetime(2025, 12, 31, 18, 30, tzinfo=dt.UTC)),
        ("2026 Coordinated Universal Time", "yyyy zzzz", dt.datetime(2026, 1, 1, tzinfo=dt.UTC)),
        ("2026-W10-3", "YYYY-'W'ww-u", dt.datetime(2026, 3, 4)),
        ("2026-W10", "YYYY-'W'ww", dt.datetime(2026, 3, 1)),
        ("2027-W01-4", "YYYY-'W'ww-u", dt.datetime(2026, 12, 31)),
        ("2026-03 1 Wed", "yyyy-MM W EEE", dt.datetime(2026, 3, 4)),
        ("2026-03 2 Wed", "yyyy-MM F EEE", dt.datetime(2026, 3, 11)),
        ("2026 7", "yyyy S", dt.datetime(2026, 1, 1, 0, 0, 0, 7_000)),
    ],
)  # fmt: skip
def test_text_is_read(text: str, pattern: str, moment: dt.datetime):
    assert parsed(text, pattern) == moment


@pytest.mark.parametrize(
    ("text", "pattern"),
    [("2026-13-01", "yyyy-MM-dd"), ("2026-02-30", "yyyy-MM-dd"), ("x", "yyyy"), ("25", "HH"), ("2026-366", "yyyy-DDD"),
     ("26-01-01", "yyyy-MM-dd"), ("1.5", "s.SSS"), ("1.1234567", "s.SSSSSSS"), ("2026 BC", "yyyy G"), ("99", "mm"),
     ("2026-01-01x", "yyyy-MM-dd"), ("2026 +99:00", "yyyy z"), ("2026-01-01 Nowhere/City", "yyyy-MM-dd z")],
)  # fmt: skip
def test_text_that_is_none_is_refused(text: str, pattern: str):
    with pytest.raises(ValueError):
        parsed(text, pattern)


@pytest.mark.parametrize("pattern", ["'open", "yyyy-bb", "yyyy Q"])
def test_a_format_that_means_nothing_is_refused(pattern: str):
    with pytest.raises(ValueError, match="format"):
        formatted(AT, pattern)


WHOLE = ["yyyy-MM-dd HH:mm:ss.SSSSSS Z", "dd MMMM yyyy hh.mm.ss a SSSSSS XXX", "yyyyDDDHHmmssSSSSSSZ",
         "EEEE yyyy-MM-dd'T'kk:mm:ss.SSSSSSX"]  # fmt: skip


@given(
    moment=st.datetimes(dt.datetime(1000, 1, 1), dt.datetime(9999, 12, 30)),
    minutes=st.integers(-14 * 60, 14 * 60),
    pattern=st.sampled_from(WHOLE),
)
def test_what_is_written_whole_is_read_back(moment: dt.datetime, minutes: int, pattern: str):
    if pattern.endswith("X") and not pattern.endswith("XXX"):
        minutes -= minutes % 60
    there = moment.replace(tzinfo=dt.timezone(dt.timedelta(minutes=minutes)))
    assert parsed(formatted(there, pattern), pattern) == there


DAYS = ["YYYY-'W'ww-u", "Y w EEE", "yyyy-MM W EEEE", "M/yyyy F u", "dd.MM.yyyy", "yyyy D"]


@given(day=st.dates(dt.date(1000, 1, 9), dt.date(9999, 12, 20)), pattern=st.sampled_from(DAYS))
def test_every_way_to_say_a_day_is_read_back(day: dt.date, pattern: str):
    moment = dt.datetime(day.year, day.month, day.day)
    assert parsed(formatted(moment, pattern), pattern) == moment


CALLS: list[tuple[str, tuple[Any, ...], Any]] = [
    ("convertDateStringToFormat", ("04/03/2026", "dd/MM/yyyy", "yyyy-MM-dd"), "2026-03-04"),
    ("convertDateToFormat", (dt.date(2026, 3, 4), "d MMM yyyy"), "4 Mar 2026"),
    ("convertDateToFormat", (AT, "HH:mm", "Asia/Kolkata"), "10:36"),
    ("convertDatetimeStringToFormat", ("2026-03-04 05:06", "yyyy-MM-dd HH:mm", "h:mm a"), "5:06 AM"),
    ("convertEpochToDate", (1772600767,), dt.date(2026, 3, 4)),
    ("convertEpochToDate", (1772600767089,), dt.date(2026, 3, 4)),
    ("convertEpochToDatetime", (1772600767089,), AT.replace(microsecond=89_000)),
    ("convertEpochToDatetime", ("1772600767",), AT.replace(microsecond=0)),
    ("convertEpochToFormat", (1772600767, "yyyy-MM-dd HH:mm:ss", "Europe/Berlin"), "2026-03-04 06:06:07"),
    ("convertEpochToTime", (1772600767,), dt.time(5, 6, 7)),
    ("convertEpochToDatetime", (Decimal("1772600767.25"),), AT.replace(microsecond=250_000)),
    ("convertDateStringToFormat", ("2026-03-04", "yyyy-MM-dd", "d/M/yy", "America/New_York"), "4/3/26"),
    ("convertDateStringToFormat", ("2026-03-04T23:00-05", "yyyy-MM-dd'T'HH:mmX", "d/M/yy"), "5/3/26"),
    ("convertDatetimeStringToFormat", ("2026-03-04 05:06", "yyyy-MM-dd HH:mm", "HH:mm z", "Asia/Kolkata"), "10:36 IST"),
    ("getTimeDifference", (dt.time(5), dt.time(6, 30), "hours"), 1.5),
    ("getTimeDifference", (AT, AT + dt.timedelta(microseconds=1)), 0.001),
    ("parseDateStringToDate", ("2026-03-04T23:00-05", "yyyy-MM-dd'T'HH:mmX"), dt.date(2026, 3, 5)),
    ("parseDateStringToDate", ("2026-03-04T23:00-05", "yyyy-MM-dd'T'HH:mmX", "America/New_York"), dt.date(2026, 3, 4)),
    ("getTimeDifference", (AT, AT + dt.timedelta(hours=1)), 3_600_000),
    ("getTimeDifference", (dt.date(2026, 3, 4), dt.date(2026, 3, 6), "days"), 2),
    ("getTimeDifference", (1772600767, 1772600767 + 90, "minutes"), 1.5),
    ("parseDateStringToDate", ("2026-03-04 23:59", "yyyy-MM-dd HH:mm"), dt.date(2026, 3, 4)),
    ("parseDateStringToDatetime", ("2026-03-04", "yyyy-MM-dd"), dt.datetime(2026, 3, 4, tzinfo=dt.UTC)),
    ("parseDateStringToDatetime", ("2026-03-04", "yyyy-MM-dd", "+01:00"), dt.datetime(2026, 3, 3, 23, tzinfo=dt.UTC)),
    ("parseDateStringToTime", ("05:06", "HH:mm"), dt.time(5, 6)),
    ("parseDateStringToDateTime", ("2026-03-04", "yyyy-MM-dd"), dt.datetime(2026, 3, 4, tzinfo=dt.UTC)),
]


@pytest.mark.parametrize(("name", "given_", "answer"), CALLS)
def test_time_utils_answer(name: str, given_: tuple[Any, ...], answer: Any):
    assert getattr(TimeUtils, name)(*given_) == answer


def test_time_utils_refuse_what_they_cannot_read():
    with pytest.raises(ValueError, match="no unit"):
        TimeUtils.getTimeDifference(1, 2, "weeks")
    for epoch in ("12x", float("nan"), Decimal("Infinity"), 10**30):
        with pytest.raises(ValueError, match="no epoch"):
            TimeUtils.convertEpochToDate(epoch)
    with pytest.raises(TypeError, match="another time of day"):
        TimeUtils.getTimeDifference(dt.time(1), AT)
    with pytest.raises(TypeError, match="epoch"):
        TimeUtils.convertEpochToDate(None)
    with pytest.raises(ValueError, match="time zone"):
        TimeUtils.convertEpochToFormat(1, "yyyy", "Mars/Base")
    with pytest.raises(AttributeError, match="convertEpochToDate"):
        TimeUtils.convertEpochToDay(1)
