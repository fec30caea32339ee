"""JSON text and back, with every digit."""

from __future__ import annotations

from decimal import Decimal

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace.data import json_text
from millrace.data.rows import to_batch


@given(st.from_regex(r"-?[1-9][0-9]{0,30}", fullmatch=True), st.integers(0, 6000))
def test_a_whole_number_of_any_length_comes_back_with_every_digit(start: str, more: int) -> None:
    text = f'{{"a":[{start}{"7" * more}]}}'
    assert json_text.dumps(json_text.loads(text)) == text


def test_a_number_too_long_for_an_integer_of_python_is_text_in_a_column() -> None:
    value = json_text.loads("9" * 5000)
    assert isinstance(value, Decimal)
    assert to_batch([{"x": value}], None).column(0).to_pylist() == ["9" * 5000]


def test_a_number_that_no_decimal_is_says_so() -> None:
    with pytest.raises(ValueError, match="exponent"):
        json_text.loads('{"a":1e99999999999999999999}')


@pytest.mark.parametrize("word", ["NaN", "Infinity", "-Infinity"])
@pytest.mark.parametrize("beside", ["1", "1e5", "12345678901234567890"])
def test_words_that_are_no_number_are_no_json_whatever_stands_beside(word: str, beside: str) -> None:
    with pytest.raises(ValueError, match=r"no JSON|line 1 column"):
        json_text.loads(f'{{"a":{word},"b":{beside}}}')


@given(
    st.lists(st.booleans(), min_size=195, max_size=205),
    st.sampled_from(["1", "null", '"[{"', "[]", "{}"]),
    st.integers(0, 300),
)
def test_what_nests_deeper_than_may_be_is_known_from_text_and_from_values(
    lists: list[bool], leaf: str, beside: int
) -> None:
    text = leaf
    for one in lists:
        text = f"[{text}]" if one else f'{{"a":{text}}}'
    text = f"[{text}{',[]' * beside}]"
    deep = len(lists) + 1 > json_text.DEEPEST
    value = orjson.loads(text)
    assert json_text.too_deep(text.encode()) == json_text.too_deep(text.encode(), value) == deep
