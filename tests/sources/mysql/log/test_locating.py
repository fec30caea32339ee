"""The native library finds values of row images where Python finds them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from millrace.data import native
from millrace.sources.mysql.log import locating
from millrace.sources.mysql.log.events import DELETE, INSERT, UPDATE, Rows
from millrace.sources.mysql.log.locating import PADDING, Located, Size, located

SIZES = st.one_of(
    st.integers(1, 9).map(lambda count: Size(fixed=count)), st.integers(1, 4).map(lambda n: Size(prefix=n))
)


def image(draw: Any, sizes: list[Size], told: list[int]) -> bytes:
    nulls = draw(st.lists(st.booleans(), min_size=len(told), max_size=len(told)))
    made = sum(null << number for number, null in enumerate(nulls)).to_bytes((len(told) + 7) // 8, "little")
    for place, null in zip(told, nulls, strict=True):
        if null:
            continue
        one = sizes[place]
        value = draw(st.binary(min_size=one.fixed, max_size=one.fixed or 300 if one.prefix != 1 else 255))
        made += len(value).to_bytes(one.prefix, "little") + value if one.prefix else value
    return made


def bits(places: list[int], width: int) -> bytes:
    return sum(1 << place for place in places).to_bytes((width + 7) // 8, "little")


@st.composite
def logs(draw: Any) -> tuple[list[Rows], list[Size]]:
    """Events of a table, of one row or of several, with images of all its columns or of some."""
    sizes = draw(st.lists(SIZES, min_size=1, max_size=10))
    images = [draw(st.sets(st.sampled_from(range(len(sizes))), min_size=1)) for _ in range(2)] + [
        set(range(len(sizes)))
    ]
    events: list[Rows] = []
    for _ in range(draw(st.integers(0, 6))):
        kind = draw(st.sampled_from([INSERT, UPDATE, DELETE]))
        before, after = (sorted(draw(st.sampled_from(images))) for _ in range(2))
        data = b""
        for _ in range(draw(st.integers(1, 4))):
            data += b"" if kind == INSERT else image(draw, sizes, before)
            data += b"" if kind == DELETE else image(draw, sizes, after)
        events.append(Rows(kind, 1, bits(before, len(sizes)), bits(after, len(sizes)), data))
    return events, sizes


def plainly(rows: list[Rows], sizes: list[Size]) -> Located:
    """By Python."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(locating, "library", lambda: None)
        return located(rows, sizes)


@settings(max_examples=80, deadline=None)
@given(logs())
def test_places_are_the_same_by_both_ways(log: tuple[list[Rows], list[Size]]) -> None:
    assert native.library() is not None, native.absent()
    mine, theirs = located(*log), plainly(*log)
    assert np.array_equal(mine.kinds, theirs.kinds) and np.array_equal(mine.event, theirs.event)
    for one, other in zip([*mine.old, *mine.new], [*theirs.old, *theirs.new], strict=True):
        for part in ("start", "size", "null", "said"):
            assert np.array_equal(getattr(one, part), getattr(other, part)), part


@settings(max_examples=80, deadline=None)
@given(logs(), st.lists(st.tuples(st.integers(0, 5000), st.integers(0, 255)), min_size=1, max_size=4))
def test_bytes_that_are_no_images_are_left_to_python(log: tuple[list[Rows], list[Size]], changes: Any) -> None:
    """Whatever comes out lies within the bytes. With sanitizers nothing else is read (`make native-fuzz`)."""
    rows, sizes = log
    broken = list(rows)
    for place, byte in changes:
        for number, one in enumerate(broken):
            data = bytearray(one.data)
            data[place % len(data)] = byte
            broken[number] = one._replace(data=bytes(data))
    found = native.library()
    assert found is not None, native.absent()
    from millrace.sources.mysql.log.placing import placed

    whole = np.frombuffer(b"".join(one.data for one in broken) + PADDING, np.uint8)
    made = placed(found, whole, broken, np.cumsum(np.array([len(one.data) for one in broken], np.int64)), sizes)
    if made is not None:
        for one in (*made.old, *made.new):
            assert (one.start >= 0).all() and (one.start + one.size <= len(whole)).all()
