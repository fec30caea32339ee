"""Answers as JSON and as text."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace.cli.answers import encode, plain
from millrace.cli.text import ago, cell, count, size, span, table

NOW = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Part:
    rows: int
    at: datetime

    @property
    def double(self) -> int:
        return 2 * self.rows


def test_a_dataclass_is_an_object_with_its_properties():
    ist = datetime(2026, 1, 31, 12, 0, tzinfo=timezone(timedelta(hours=5, minutes=30)))
    assert plain([Part(1, ist)]) == [{"rows": 1, "at": "2026-01-31T06:30:00.000000Z", "double": 2}]


def test_values_that_json_lacks_are_text():
    given = {"d": Decimal("1.10"), "p": Path("/a"), "b": b"\x00\xff", "day": date(2026, 1, 31), "nan": float("nan")}
    assert plain(given) == {"d": "1.10", "p": "/a", "b": "AP8=", "day": "2026-01-31", "nan": "nan"}


def test_keys_of_several_parts_are_joined():
    assert plain({("Events", "load"): 1}) == {"Events.load": 1}


def test_a_table_is_columns_and_rows_in_their_order():
    rows = pa.table({"a": [1, None], "b": ["x", "y"]})
    assert plain(rows) == {
        "columns": [{"name": "a", "type": "int64"}, {"name": "b", "type": "string"}],
        "rows": [[1, "x"], [None, "y"]],
    }


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
        lambda inner: st.lists(inner, max_size=4),
        max_leaves=12,
    )
)
def test_every_answer_is_one_json_document(value: object):
    json.loads(encode(value))


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "-"), (True, "yes"), (12481, "12,481"), (1.5, "1.50"), ("a\nb", "a b"), (NOW, "2026-01-31 12:00 UTC")],
)
def test_cells_are_as_a_person_reads_them(value: object, text: str):
    assert cell(value) == text


def test_columns_of_numbers_stand_to_the_right():
    lines = list(table(("name", "rows"), [("a", 5), ("bcd", 12481), ("e", None)]))
    assert [line.replace("\x1b[2m", "").replace("\x1b[0m", "") for line in lines] == [
        "name    rows",
        "a          5",
        "bcd   12,481",
        "e          -",
    ]


def test_wide_characters_take_two_columns():
    lines = list(table(("name", "x"), [("日本", "a"), ("abcd", "b")]))[1:]
    assert lines == ["日本  a", "abcd  b"]


@pytest.mark.parametrize(
    ("past", "text"),
    [(0, "just now"), (59, "just now"), (240, "4 min ago"), (7200, "2 h ago"), (3 * 86400, "3 d ago")],
)
def test_times_are_told_by_their_distance(past: int, text: str):
    assert ago(NOW - timedelta(seconds=past), NOW) == text


def test_what_never_was_is_never():
    assert ago(None, NOW) == "never"


def test_numbers_have_units():
    assert [size(999), size(1500), size(4_100_000), size(5e12)] == ["999 B", "1.5 kB", "4.1 MB", "5.0 TB"]
    assert [span(0.44), span(12.2), span(185), span(7800)] == ["0.4 s", "12 s", "3 min 5 s", "2 h 10 min"]
    assert [count(1, "row"), count(12481, "row"), count(2, "day", "days")] == ["1 row", "12,481 rows", "2 days"]
