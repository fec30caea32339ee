"""JSON text of fields is read with every digit, and written as Python's own writer does."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from millrace.scripting.properties import Nested, decoded, decoded_plain
from millrace.scripting.utils import encoded

NUMBERS = st.from_regex(r"-?(0|[1-9][0-9]{0,20})(\.[0-9]{1,20})?([eE][+-]?[0-9]{1,2})?", fullmatch=True)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(NUMBERS)
@example("123456789012.45")
@example("0.12345678901234567890")
@example("1e400")
@example("-0.0")
def test_a_number_is_read_with_all_its_digits(text: str) -> None:
    found = decoded(f'{{"n": [{text}]}}')["n"][0]
    assert type(found) in (int, float, Decimal)
    assert Decimal(repr(found) if type(found) is float else found) == Decimal(text)
    # A decimal is there only where a float would not do.
    assert type(found) is not Decimal or Decimal(repr(float(text))) != Decimal(text)


@pytest.mark.parametrize("text", ["", " ", "{", "1 2", '{"a": 1}}', "nul", "[1,]", '"a', "\ufeff1", "\v1"])
def test_what_is_no_json_is_told_as_by_python(text: str) -> None:
    told: list[str] = []
    for read in (decoded, json.loads if not text.startswith("\ufeff") else json.JSONDecoder().decode):
        with pytest.raises(json.JSONDecodeError) as raised:
            read(text)
        told.append(str(raised.value))
    assert told[0] == told[1]


@pytest.mark.parametrize("text", [' {"a": {"b": [1]}} ', '\n{"a":{"b":[1]}}', '{"a":{"b":[1]}}\t'])
def test_space_around_json_is_no_part_of_it(text: str) -> None:
    found = decoded(text)
    assert found == {"a": {"b": [1]}}
    assert type(found) is type(found["a"]) is Nested
    assert decoded_plain(text) == found
    assert type(decoded_plain(text)["a"]) is dict


@given(VALUES)
def test_values_are_written_as_python_writes_them(value: Any) -> None:
    wanted = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    assert encoded(value) == wanted
    assert encoded(decoded(wanted)) == encoded(decoded_plain(wanted)) == wanted


def test_a_circle_is_told_and_a_value_in_two_places_is_none() -> None:
    one: list[Any] = []
    assert encoded([one, one, {"a": one}]) == '[[],[],{"a":[]}]'
    one.append(one)
    with pytest.raises(ValueError, match="Circular reference"):
        encoded({"a": one})
