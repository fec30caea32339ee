from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace.sources.clevertap.canonical import MOST_KEYS, Shape, canonical, has_minus_zero, written


class Literal(str):
    """A number as it is written."""


def reference(text: str) -> str:
    """The slow and plain way: parse with literals kept, write sorted."""

    def written(value: Any) -> str:
        if isinstance(value, Literal):
            return str(value)
        if isinstance(value, dict):
            pairs = [f"{json.dumps(key, ensure_ascii=False)}:{written(value[key])}" for key in sorted(value)]
            return "{" + ",".join(pairs) + "}"
        if isinstance(value, list):
            return "[" + ",".join(written(each) for each in value) + "]"
        return json.dumps(value, ensure_ascii=False)

    return written(json.loads(text, parse_int=Literal, parse_float=Literal))


numbers = st.from_regex(r"\A-?(0|[1-9][0-9]{0,24})(\.[0-9]{1,8})?([eE][+-]?[0-9]{1,3})?\Z").map(Literal)
strings = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
values = st.recursive(
    st.none() | st.booleans() | numbers | strings,
    lambda inner: st.lists(inner, max_size=4) | st.lists(st.tuples(strings, inner), max_size=5).map(tuple),
    max_leaves=20,
)
blanks = st.sampled_from(["", "", " ", "\n\t", "  "])


@st.composite
def texts(draw: st.DrawFn) -> str:
    """JSON texts with white space, escapes that need not be, and keys that occur twice."""

    def string(value: str) -> str:
        return json.dumps(value, ensure_ascii=draw(st.booleans())).replace("/", draw(st.sampled_from(["/", "\\/"])))

    def written(value: Any) -> str:
        gap = draw(blanks)
        if isinstance(value, Literal):
            return gap + str(value) + gap
        if isinstance(value, tuple):
            return "{" + gap + ",".join(f"{gap}{string(key)}{gap}:{written(each)}" for key, each in value) + "}"
        if isinstance(value, list):
            return "[" + gap + ",".join(written(each) for each in value) + "]"
        return gap + (string(value) if isinstance(value, str) else json.dumps(value)) + gap

    return written(draw(values)).strip()


@given(texts())
def test_canonical_bytes_are_those_of_the_plain_way(text: str) -> None:
    assert canonical(text.encode()) == reference(text).encode()


@given(texts())
def test_canonical_bytes_are_their_own_canonical_form(text: str) -> None:
    once = canonical(text.encode())
    assert canonical(once) == once


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"b":1,"a":2}', '{"a":2,"b":1}'),
        ('{"a":1,"a":2}', '{"a":2}'),
        ('{"a":5149}', '{"a":5149}'),
        ('{"a":5149.0}', '{"a":5149.0}'),
        ('{"a":-0,"b":-0.0,"c":[-0]}', '{"a":-0,"b":-0.0,"c":[-0]}'),
        ('{"d":"2026-03-01","a":-0.5}', '{"a":-0.5,"d":"2026-03-01"}'),
        ('{"a":1E5,"b":1e+05}', '{"a":1E5,"b":1e+05}'),
        ('{"n":123456789012345678901234567890}', '{"n":123456789012345678901234567890}'),
        ('{"a":"\\u00e9\\/\\u001F\\n"}', '{"a":"é/\\u001f\\n"}'),
        ('{"\\ud83d\\ude00":1,"\uffff":2,"z":3}', '{"z":3,"\uffff":2,"😀":1}'),
        ('[ { "b" : [ ] , "a" : { } } ]', '[{"a":{},"b":[]}]'),
        ("null", "null"),
        ('"\\/"', '"/"'),
    ],
)
def test_what_is_equal_gets_one_form_and_number_literals_stay(text: str, expected: str) -> None:
    assert canonical(text.encode()) == expected.encode()


@pytest.mark.parametrize("text", ["-0", '{"a": -0}', '{"a":[1,-0,2]}', "[-0]", '{"a":-0,"b":1}'])
def test_minus_zero_is_seen_wherever_a_number_stands(text: str) -> None:
    assert has_minus_zero([b'{"b":1}', text.encode(), b"2"])


def test_a_day_is_no_minus_zero() -> None:
    assert not has_minus_zero([b'{"day":"2026-01-05","low":-0.5}', b'{"at":"2026-11-05T10:00:00-03:00"}', b"-1"])


@given(st.lists(texts().map(lambda text: f'{{"z":{text},"a":[{text}]}}' if text[0] != "{" else text), max_size=3))
def test_a_shape_reads_objects_so_that_they_are_written_in_canonical_form(objects: list[str]) -> None:
    shape = Shape()
    for raw in [text.encode() for text in objects]:
        try:
            found = written(shape.read(raw))
        except msgspec.ValidationError:
            if not shape.learn([raw]):
                assert not shape.fit
                continue
            found = written(shape.read(raw))
        # Whoever reads shapes looks for this number before.
        assert found == canonical(raw) or b"-0" in raw


def test_a_shape_learns_keys_until_they_are_too_many() -> None:
    shape = Shape()
    assert shape.learn([b'{"b":1}', b'{"a":2}'])
    assert not shape.learn([b'{"a":1}'])
    assert not shape.learn([b"[]"])
    assert written(shape.read(b'{"b":{"d":1,"c":2},"a":1.50}')) == b'{"a":1.50,"b":{"c":2,"d":1}}'
    assert not shape.learn([b'{"k%d":1}' % number for number in range(MOST_KEYS)])
    assert not shape.fit


def test_a_shape_leaves_keys_that_must_be_escaped_to_others() -> None:
    shape = Shape()
    assert not shape.learn([rb'{"a\"b":1}'])
    assert not shape.fit
