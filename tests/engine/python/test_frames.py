"""What a guest answers is taken when every row and every value is where it must be, and is nonsense otherwise."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace.data import types
from millrace.engine.python.frames import Answer, Garbage, answered


def ints(*numbers: int) -> bytes:
    return np.array(numbers, np.int32).tobytes()


HEAD: dict[str, Any] = {
    "plain": 0,
    "groups": [
        {
            "name": "orders",
            "made": False,
            "keys": None,
            "rows": 1,
            "places": None,
            "fields": {
                "double": {"at": None, "kind": "doubles", "values": 3},
                "long": {"at": None, "kind": "longs", "values": 4},
                "boolean": {"at": None, "kind": "booleans", "values": 5},
                "text": {"at": None, "kind": "texts", "values": 6},
                "json": {"at": None, "kind": "jsons", "values": 8},
                "some": {"at": 2, "kind": "date", "values": [5]},
            },
            "removed": {"other": 2},
        }
    ],
    "failed": [[3, "TRANSFORM_ERROR", "no"]],
    "dropped": 1,
    "printed": ["line"],
}
SECTIONS = [
    ints(4), ints(0, 2), ints(1), np.array([0.5, np.nan]).tobytes(), np.array([1, -5]).tobytes(), b"\x00\x01",
    ints(2, 3), "é日".encode(), ints(10, 8), b'["\\ud800"]{"a": 1}',
]  # fmt: skip


def body(head: dict[str, Any], sections: list[bytes]) -> bytes:
    text = json.dumps({"sections": [len(one) for one in sections]} | head).encode()
    return b"".join([len(text).to_bytes(4, "little"), text, *sections])


def taken(head: dict[str, Any] = HEAD, sections: list[bytes] = SECTIONS, hidden: tuple[str, ...] = ()) -> Answer:
    return answered(body(head, sections), 5, hidden)


def test_sections_are_columns() -> None:
    found = taken()
    [group] = found.groups
    assert (found.plain.tolist(), group.rows.tolist(), group.places.tolist()) == ([4], [0, 2], [0, 0])
    values = {name: one.values for name, one in group.fields.items()}
    assert {name: one.type for name, one in values.items()} == {
        "double": types.DOUBLE, "long": types.INTEGER, "boolean": types.BOOLEAN, "text": types.VARCHAR,
        "json": types.JSON, "some": types.DATE,
    }  # fmt: skip
    assert str(values["double"].to_pylist()) == "[0.5, nan]"
    assert values["long"].to_pylist() == [1, -5]
    assert values["boolean"].to_pylist() == [False, True]
    assert values["text"].to_pylist() == ["é", "日"]
    assert types.storage(values["json"]).to_pylist() == ['["\\ud800"]', '{"a": 1}']
    assert group.fields["some"].at is not None
    assert group.fields["some"].at.tolist() == [1]


def test_integers_beyond_32_bits_are_long() -> None:
    [group] = taken(sections=[*SECTIONS[:4], np.array([1, 1 << 31]).tobytes(), *SECTIONS[5:]]).groups
    assert group.fields["long"].values.type == types.LONG


# Its text takes ten bytes.
SURROGATE = b'["\\ud800"]'
LIES: dict[str, Callable[[dict[str, Any], list[bytes]], Any]] = {
    "a row that was not sent": lambda head, parts: parts.__setitem__(0, ints(5)),
    "a row below none": lambda head, parts: parts.__setitem__(0, ints(-1)),
    "a row twice": lambda head, parts: parts.__setitem__(0, ints(2)),
    "a row twice in a part": lambda head, parts: parts.__setitem__(0, ints(4, 4)),
    "a row that is missing": lambda head, parts: parts.__setitem__(0, b""),
    "a failure of a row that passed": lambda head, parts: head["failed"][0].__setitem__(0, 4),
    "a failure of its own": lambda head, parts: head["failed"][0].__setitem__(1, "FINE"),
    "dropped ones below none": lambda head, parts: head.__setitem__("dropped", -1),
    "rows of half a number": lambda head, parts: parts.__setitem__(0, b"\x00" * 3),
    "a place in the group that is none": lambda head, parts: parts.__setitem__(2, ints(2)),
    "a place in the group twice": lambda head, parts: parts.__setitem__(2, ints(1, 1)),
    "fewer values than rows": lambda head, parts: parts.__setitem__(3, bytes(8)),
    "more values than rows": lambda head, parts: parts.__setitem__(4, bytes(24)),
    "half a value": lambda head, parts: parts.__setitem__(3, bytes(15)),
    "neither true nor false": lambda head, parts: parts.__setitem__(5, b"\x00\x02"),
    "texts that end beyond it": lambda head, parts: parts.__setitem__(6, ints(2, 4)),
    "texts that end before it": lambda head, parts: parts.__setitem__(6, ints(2, 2)),
    "texts of less than nothing": lambda head, parts: parts.__setitem__(6, ints(6, -1)),
    "texts that are none": lambda head, parts: parts.__setitem__(7, b"\xff\xfe\xfd\xfc\xfb"),
    "texts cut within a letter": lambda head, parts: parts.__setitem__(6, ints(1, 4)),
    "texts without text": lambda head, parts: head["groups"][0]["fields"]["text"].__setitem__("values", 9),
    "JSON that is none": lambda head, parts: parts.__setitem__(9, SURROGATE + b'{"a": 1,'),
    "JSON with NaN": lambda head, parts: parts.__setitem__(slice(8, 10), [ints(10, 9), SURROGATE + b'{"a":NaN}']),
    "JSON of two values": lambda head, parts: parts.__setitem__(slice(8, 10), [ints(10, 7), SURROGATE + b"[1],[2]"]),
    "JSON that ends in the next": lambda head, parts: parts.__setitem__(8, ints(11, 7)),
    "a section that is not there": lambda head, parts: head.__setitem__("plain", 10),
    "a section below none": lambda head, parts: head.__setitem__("plain", -1),
    "a section that is no number": lambda head, parts: head.__setitem__("plain", True),
    "sections longer than it is": lambda head, parts: head.__setitem__("sections", [1 << 60]),
    "sections below none": lambda head, parts: head.__setitem__("sections", [-4, *map(len, parts)]),
    "bytes that belong to no section": lambda head, parts: head.__setitem__("sections", list(map(len, parts))[:-1]),
    "a kind of its own": lambda head, parts: head["groups"][0]["fields"]["some"].__setitem__("kind", "pickle"),
    "a group without a name": lambda head, parts: head["groups"][0].__setitem__("name", ""),
    "a group without rows": lambda head, parts: parts.__setitem__(1, b""),
}  # fmt: skip


@pytest.mark.parametrize("name", LIES)
def test_what_is_not_so_is_nonsense(name: str) -> None:
    head, parts = copy.deepcopy(HEAD), list(SECTIONS)
    LIES[name](head, parts)
    with pytest.raises(Garbage):
        taken(head, parts)


@pytest.mark.parametrize("hidden", ["text", "other"])
def test_fields_of_our_own_are_neither_set_nor_removed(hidden: str) -> None:
    with pytest.raises(Garbage):
        taken(hidden=(hidden,))


@given(st.binary(max_size=60) | st.binary(max_size=20).map(lambda some: body(HEAD, SECTIONS)[:-8] + some))
def test_bytes_of_any_kind_are_an_answer_or_nonsense_and_nothing_else(some: bytes) -> None:
    try:
        found = answered(some, 5)
    except Garbage:
        return
    for group in found.groups:
        for one in group.fields.values():
            one.values.validate(full=True)
    assert isinstance(found.plain, np.ndarray)
    assert pa.array(found.plain).null_count == 0
