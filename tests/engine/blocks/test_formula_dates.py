from __future__ import annotations

import datetime as dt

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace.data import types
from millrace.engine.blocks import dates
from millrace.errors import ConfigError
from millrace.scripting import formats

MOMENT = dt.datetime(2024, 2, 29, 13, 4, 5, 678901)


def written(pattern: str, *moments: dt.datetime) -> list[str]:
    found = dates.writer(pattern)(pa.array(moments, types.TIMESTAMP))
    assert found.bad is None
    return found.values.to_pylist()


# What java.text.SimpleDateFormat (Locale.US, UTC) says of 2024-02-29T13:04:05.678.
@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("G", "AD"), ("y", "2024"), ("yy", "24"), ("yyyy", "2024"), ("yyyyy", "02024"), ("Y", "2024"), ("M", "2"),
        ("MM", "02"), ("MMM", "Feb"), ("MMMM", "February"), ("w", "9"), ("W", "5"), ("D", "60"), ("DDD", "060"),
        ("d", "29"), ("F", "5"), ("E", "Thu"), ("EEEE", "Thursday"), ("u", "4"), ("a", "PM"), ("H", "13"), ("k", "13"),
        ("K", "1"), ("h", "1"), ("hh", "01"), ("m", "4"), ("mm", "04"), ("s", "5"), ("S", "678"), ("SSS", "678"),
        ("SSSSSS", "678901"), ("z", "UTC"), ("Z", "+0000"), ("X", "Z"), ("XXX", "Z"), ("yyyy-MM-dd'T'HH:mm:ss.SSSX",
        "2024-02-29T13:04:05.678Z"), ("h 'o''clock' a", "1 o'clock PM"), ("''yy", "'24"),
        ("%Y/%m/%d %H%%", "2024/02/29 13%"),
    ],
)  # fmt: skip
def test_every_letter_is_written(pattern: str, expected: str) -> None:
    assert written(pattern, MOMENT) == [expected]


def test_hours_of_midnight_and_noon_have_their_four_names() -> None:
    midnight, noon = dt.datetime(2024, 1, 1), dt.datetime(2024, 1, 1, 12)
    assert written("H k K h a", midnight, noon) == ["0 24 0 12 AM", "12 12 0 12 PM"]


def test_the_first_of_january_is_in_week_one() -> None:
    days = [dt.datetime(2022, 12, 31), dt.datetime(2023, 1, 1), dt.datetime(2024, 12, 28), dt.datetime(2024, 12, 29)]
    assert written("Y-w", *days) == ["2022-53", "2023-1", "2024-52", "2025-1"]


@given(st.lists(st.datetimes(min_value=dt.datetime(1, 1, 1), max_value=dt.datetime(9999, 12, 31)), min_size=1))
def test_what_is_written_is_what_strftime_says(moments: list[dt.datetime]) -> None:
    pattern = "%a %A %d %b %B %m %y %H %I %p %M %S %f %j"
    assert written(pattern, *moments) == [moment.strftime(pattern) for moment in moments]


WHOLE = [
    "yyyy-MM-dd HH:mm:ss.SSSSSS",
    "dd.MMM.yyyy hh:mm:ss.SSSSSS a",
    "yyyyMMddHHmmssSSSSSS",
    "yyyy DDD kk:mm:ss SSSSSS",
    "MMMM d, yyyy K:m:s.SSSSSS a z",
    "EEEE yyyy-M-d'T'H:m:s.SSSSSSXXX",
    "%Y-%m-%dT%H:%M:%S.%f%z",
]


def test_two_digits_are_a_year_near_to_now() -> None:
    year = dt.datetime.now(dt.UTC).year
    texts = [f"{one % 100:02d}" for one in range(year - 79, year + 19)]
    assert [day.year for day in dates.reader("yy")(pa.array(texts)).values.to_pylist()] == [
        *range(year - 79, year + 19)
    ]


PIECES = [*(letter * count for letter in "GyYMwWDdFEuaHkKhmsSzZX" for count in (1, 2, 3, 4)), "'at'", "''", "-", " "]


@given(st.lists(st.datetimes(dt.datetime(1, 1, 1), dt.datetime(9999, 12, 20)), min_size=1, max_size=20),
       st.lists(st.sampled_from(PIECES), min_size=1, max_size=8).map(".".join))  # fmt: skip
def test_a_column_is_written_as_scripts_write_it(moments: list[dt.datetime], pattern: str) -> None:
    assert written(pattern, *moments) == [formats.formatted(moment, pattern) for moment in moments]


READ = [
    "dd/MM/yyyy",
    "d.M.yy",
    "yyyyMMdd HHmm",
    "MMM d, yyyy h:mm a",
    "yyyy-MM-dd'T'HH:mm:ss.SSSX",
    "EEEE, d MMMM yyyy K a",
    "yyyy-DDD kk",
    "yyyy-MM-dd HH:mm:ss.SSSSSS Z",
]


@given(st.datetimes(dt.datetime(1000, 1, 1), dt.datetime(9999, 12, 20)), st.sampled_from(READ))
def test_a_column_is_read_as_scripts_read_it(moment: dt.datetime, pattern: str) -> None:
    text = formats.formatted(moment, pattern)
    read = dates.reader(pattern)(pa.array([text]), "TIMESTAMP").values[0].as_py()
    assert read == formats.as_utc(formats.parsed(text, pattern), None)


@given(
    st.lists(st.none() | st.datetimes(min_value=dt.datetime(1, 1, 1), max_value=dt.datetime(9999, 12, 31)), min_size=1),
    st.sampled_from(WHOLE),
)
def test_what_is_written_whole_is_read_as_it_was(moments: list[dt.datetime | None], pattern: str) -> None:
    values = pa.array(moments, types.TIMESTAMP)
    read = dates.reader(pattern)(dates.writer(pattern)(values).values)
    assert read.bad is None
    assert read.values.cast(pa.int64()).to_pylist() == values.cast(pa.int64()).to_pylist()


@pytest.mark.parametrize(
    ("pattern", "text", "expected"),
    [
        ("dd/MM/yyyy", "9/2/2024", dt.date(2024, 2, 9)),
        ("dd/MM/yyyy", "30/02/2024", None),
        ("dd/MM/yyyy", "09/13/2024", None),
        ("dd/MM/yyyy", "09/02/24", None),
        ("dd/MM/yyyy", " 09/02/2024 ", dt.date(2024, 2, 9)),
        ("dd/MM/yy", "09/02/2024", dt.date(2024, 2, 9)),
        ("%d/%m/%y", "09/02/68", dt.date(2068, 2, 9)),
        ("%d/%m/%y", "09/02/69", dt.date(1969, 2, 9)),
        ("yyyyMMdd", "20240229", dt.date(2024, 2, 29)),
        ("MMM d, yyyy", "SEP 5, 2024", dt.date(2024, 9, 5)),
        ("MMM d, yyyy", "September 5, 2024", dt.date(2024, 9, 5)),
        ("yyyy-DDD", "2023-366", None),
        ("yyyy-DDD", "2024-366", dt.date(2024, 12, 31)),
        ("yyyy-MM", "2024-05", dt.date(2024, 5, 1)),
        ("yyyy.MM (dd)", "2024.05 (01)", dt.date(2024, 5, 1)),
        ("yyyy.MM", "2024x05", None),
    ],
)
def test_days_are_read_and_others_refused(pattern: str, text: str, expected: dt.date | None) -> None:
    read = dates.reader(pattern)(pa.array([text, None]))
    assert read.values.type == types.DATE
    assert read.values.to_pylist() == [expected, None]
    assert (read.bad is None) == (expected is not None)


@pytest.mark.parametrize(
    ("pattern", "text", "expected"),
    [
        ("yyyy-MM-dd HH:mm z", "2024-05-01 10:00 PST", "2024-05-01T18:00:00"),
        ("yyyy-MM-dd HH:mmX", "2024-05-01 10:00+02", "2024-05-01T08:00:00"),
        ("yyyy-MM-dd HH:mmXXX", "2024-05-01 10:00-05:30", "2024-05-01T15:30:00"),
        ("yyyy-MM-dd HH:mm Z", "2024-05-01 10:00 GMT+0100", "2024-05-01T09:00:00"),
        ("yyyy-MM-dd h:mm a", "2024-05-01 12:30 am", "2024-05-01T00:30:00"),
        ("yyyy-MM-dd HH:mm:ss,SSS", "2024-05-01 10:00:00,050", "2024-05-01T10:00:00.050000"),
        ("yyyy-MM-dd HH:mm", "2024-05-01 24:00", None),
        ("yyyy-MM-dd h:mm a", "2024-05-01 13:30 PM", None),
        ("yyyy-MM-dd HH:mm:ss.SSSSSSSSS", "2024-05-01 10:00:00.123456789", None),
    ],
)
def test_moments_are_read_in_utc(pattern: str, text: str, expected: str | None) -> None:
    read = dates.reader(pattern)(pa.array([text]))
    assert read.values.type == types.TIMESTAMPTZ
    moment = dt.datetime.fromisoformat(expected).replace(tzinfo=dt.UTC) if expected else None
    assert read.values.to_pylist() == [moment]


def test_a_date_outside_the_calendar_is_bad() -> None:
    found = dates.writer("yyyy")(pa.array([-(10**7), 0, 10**9], pa.int32()).cast(types.DATE))
    assert found.values.to_pylist() == [None, "1970", None]
    assert found.bad is not None
    assert found.bad.to_pylist() == [True, False, True]


@pytest.mark.parametrize("pattern", ["", "'x'", "yyyy-ww", "yyyy yyyy", "yyyy-bb", "yyyy 'x", "%Y %Q", "%"])
def test_a_pattern_that_cannot_be_read_is_refused(pattern: str) -> None:
    with pytest.raises(ConfigError) as raised:
        dates.reader(pattern)
    assert raised.value.code == "formula"
