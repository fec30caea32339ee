"""Events, their properties and what was touched of them; `Utils`."""

from __future__ import annotations

import copy
import datetime as dt
import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace.api import Event, Utils
from millrace.scripting.properties import Nested, Properties
from millrace.scripting.script import TransformFailed, compiled
from millrace.scripting.values import type_name


def received(**properties: Any) -> Event:
    return Event.received("orders", Properties(properties), primary_keys=["id"], number=3)


@pytest.mark.parametrize(
    ("value", "name"),
    [
        ("Montréal", "varchar(8)"),
        (True, "boolean"),
        (2**31 - 1, "int"),
        (2**31, "long"),
        (2**63, "decimal(19,0)"),
        (Decimal("12.340"), "decimal(5,3)"),
        (Decimal("0.001"), "decimal(3,3)"),
        (Decimal("1E+3"), "decimal(4,0)"),
        (1.5, "double"),
        (dt.datetime(2026, 1, 1), "timestamp"),
        (dt.date(2026, 1, 1), "date"),
        (dt.time(12), "time"),
        (b"x", "bytearray"),
        ({}, "json"),
        ([], "array"),
        ((), "array"),
        (None, "null"),
    ],
)
def test_types_have_names(value: Any, name: str):
    assert type_name(value) == Utils.getType(value) == received(field=value).getType("field") == name


def test_a_field_that_is_not_there_is_null():
    assert received().getType("nope") == "null"


@pytest.mark.parametrize(
    ("value", "true_of"),
    [
        ("x", {"isString"}),
        (1, {"isNumber"}),
        (1.5, {"isNumber"}),
        (Decimal(1), {"isNumber"}),
        (False, {"isBoolean"}),
        (dt.date(2026, 1, 1), {"isDate"}),
        (dt.time(1), {"isTime"}),
        (dt.datetime(2026, 1, 1), {"isTimestamp"}),
        (None, set[str]()),
        ([], set[str]()),
    ],
)
def test_predicates_hold_for_fields_and_values(value: Any, true_of: set[str]):
    names = ["isString", "isNumber", "isBoolean", "isDate", "isTime", "isTimestamp"]
    event = received(field=value)
    assert {name for name in names if getattr(event, name)("field")} == true_of
    assert {name for name in names if getattr(Utils, name)(value)} == true_of
    assert not any(getattr(event, name)("nope") for name in names)


def test_an_event_has_a_name_and_keys():
    event = received(id=1)
    event.rename("people")
    assert (event.getEventName(), event.getPrimaryKeys(), event.getPrimaryKey(), event.made) == (
        "people", ["id"], ["id"], False,
    )  # fmt: skip
    event.setPrimaryKey("other")
    assert event.getPrimaryKeys() == ["other"]
    assert Event("x", {}).made


def test_an_unknown_method_is_told_with_those_that_there_are():
    with pytest.raises(TransformFailed, match=r"no 'getPropertys'; it has: .*getProperties") as failed:
        compiled("def transform(event): return event.getPropertys()")(received())
    assert "_" not in failed.value.message
    with pytest.raises(AttributeError, match="jsonStringToDict"):
        Utils.nope  # noqa: B018  the access is what fails


@pytest.mark.parametrize(("name", "properties"), [("", {}), (None, {}), ("x", [1]), ("x", {1: 2})])
def test_an_event_needs_a_name_and_a_dict_of_fields(name: Any, properties: Any):
    with pytest.raises(TypeError):
        Event(name, properties)


TOUCHES: dict[str, tuple[Any, set[str] | None]] = {
    "nothing": (lambda p: None, None),
    "reading a scalar": (lambda p: (p["a"], p.get("b"), "a" in p, len(p), list(p), p.keys()), None),
    "reading a dict": (lambda p: p["d"], {"d"}),
    "reading a list by get": (lambda p: p.get("l"), {"l"}),
    "setting": (lambda p: p.__setitem__("a", 2), {"a"}),
    "deleting": (lambda p: p.__delitem__("b"), {"b"}),
    "update": (lambda p: p.update({"a": 1, "n": 2}, m=3), {"a", "n", "m"}),
    "setdefault of one that is there": (lambda p: p.setdefault("a", 9), None),
    "setdefault of a new one": (lambda p: p.setdefault("n", 9), {"n"}),
    "pop": (lambda p: p.pop("a"), {"a"}),
    "pop of one that is not there": (lambda p: p.pop("n", None), None),
    "popitem": (lambda p: p.popitem(), {"l"}),
    "clear": (lambda p: p.clear(), {"a", "b", "d", "l"}),
    "in-place or": (lambda p: p.__ior__({"a": 5}), {"a"}),
    "items": (lambda p: p.items(), {"d", "l"}),
    "values": (lambda p: p.values(), {"d", "l"}),
    "iteritems": (lambda p: list(p.iteritems()), {"d", "l"}),
    "dict of it": (lambda p: dict(p), {"d", "l"}),
    "spread": (lambda p: {**p}, {"d", "l"}),
    "json": (lambda p: json.dumps(p), {"d", "l"}),
    "comparing": (lambda p: p == {}, {"d", "l"}),
}


@pytest.mark.parametrize("name", TOUCHES)
def test_what_was_touched_is_known(name: str):
    do, touched = TOUCHES[name]
    found = Properties(a=1, b="x", d='{"k": 1}', l="[1]")
    found.lazy = frozenset({"d", "l"})
    do(found)
    assert (None if found.touched is None else set(found.touched)) == touched


def test_new_fields_keep_the_order_in_which_a_script_set_them():
    found = Properties(z=1)
    for name in ("m", "b", "k", "a", "z", "c"):
        found[name] = name
    del found["k"]
    assert list(found.touched or ()) == ["m", "b", "k", "a", "z", "c"]


def test_dicts_and_lists_of_a_plain_dict_count_as_touched():
    plain = Event.received("orders", {"id": 1, "d": {"k": {}}, "l": []}, primary_keys=[]).getProperties()
    assert list(plain.touched or ()) == ["d", "l"]
    assert plain["d"]["k"].keys() == []


def test_json_text_is_read_when_somebody_asks():
    found = Properties(d='{"k": {"n": 1}}', e='{"x": 12345678901234567890123}', a=1)
    found.lazy = frozenset({"d", "e"})
    assert isinstance(found["d"], Nested)
    assert found["d"].keys() == ["k"]
    found["d"]["k"]["n"] = 2
    assert found["d"] == {"k": {"n": 2}}
    assert found["e"]["x"] == 12345678901234567890123
    assert json.loads(json.dumps(found)) == {"d": {"k": {"n": 2}}, "e": {"x": 12345678901234567890123}, "a": 1}


def test_numbers_that_no_float_is_equal_to_keep_their_digits():
    found = Properties(d='{"x": 0.12345678901234567890, "y": 0.5}')
    found.lazy = frozenset({"d"})
    assert found["d"] == {"x": Decimal("0.12345678901234567890"), "y": 0.5}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda some: st.lists(some, max_size=3) | st.dictionaries(st.text(max_size=3), some, max_size=3),
    max_leaves=8,
)


@given(data=st.dictionaries(st.text(max_size=4), JSON, max_size=5))
def test_properties_are_a_dict_whichever_way_one_looks(data: dict[str, Any]):
    found = Properties(data)
    found.lazy = frozenset(name for name, value in data.items() if isinstance(value, (dict, list)))
    for name in found.lazy:
        dict.__setitem__(found, name, json.dumps(data[name]))
    ways = [copy.deepcopy(found), found.copy(), dict(found), {**found}, found | {}, {} | found, dict(found.items())]
    assert all(way == data for way in ways)
    assert found == data
    assert repr(found) == repr(data)
    assert json.loads(json.dumps(found)) == data
    assert isinstance(found, dict)


def test_set_properties_replaces_all():
    event = received(a=1, d={"k": 1})
    before = event.getProperties()
    event.setProperties({"n": 1})
    assert dict(event.getProperties()) == {"n": 1}
    assert list(event.getProperties().touched or ()) == ["n", "a", "d"]
    assert list(before.touched or ()) == ["n", "a", "d"]
    same = event.getProperties()
    event.setProperties(same)
    assert event.getProperties() is same


def test_nested_objects_become_one_level():
    data = {"a": {"b": {"c": 1}, "d": [1, {"e": 2}]}, "f": {}}
    assert Utils.flattenJson(data) == {"a_b_c": 1, "a_d": [1, {"e": 2}], "f": {}}
    assert Utils.flattenJson(data, ".", 1) == {"a.b": {"c": 1}, "a.d": [1, {"e": 2}], "f": {}}


def test_json_text_and_back():
    text = Utils.dictToJsonString({"n": 1, "d": dt.date(2026, 1, 2), "x": Decimal("1.10"), "b": b"ab", "é": None})
    assert text == '{"n":1,"d":"2026-01-02","x":1.10,"b":"YWI=","é":null}'
    long = '{"x":0.12345678901234567890,"y":12345678901234567890123}'
    assert Utils.dictToJsonString(Utils.jsonStringToDict(long)) == long
    for unsayable in (float("nan"), Decimal("NaN"), object()):
        with pytest.raises((ValueError, TypeError)):
            Utils.dictToJsonString({"x": unsayable})
    with pytest.raises(ValueError, match="no JSON object"):
        Utils.jsonStringToDict("[1]")
    with pytest.raises(ValueError):
        Utils.jsonStringToDict("{")
    with pytest.raises(TypeError, match="takes text, not NoneType"):
        Utils.jsonStringToDict(None)


def test_a_copy_of_an_event_is_one_that_code_made():
    event = received(id=1, d={"k": [1]})
    for made in (copy.copy(event), copy.deepcopy(event)):
        made.getProperties()["d"]["k"].append(2)
        assert (made.made, made.getPrimaryKeys(), isinstance(made.getProperties(), Properties)) == (True, ["id"], True)
    assert event.getProperties() == {"id": 1, "d": {"k": [1]}}


def test_an_event_that_a_script_makes_has_the_key_of_the_one_that_it_is_at():
    at = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    event = Event.received("orders", {"id": 1}, primary_keys=["id"], source_modified_at=at)
    script = compiled(
        "from millrace.api import Event\n"
        "def transform(event): return [event, Event('a', {'id': 2}), Event('b', {'x': 1})]"
    )
    events = script(event).events
    assert [one.getPrimaryKeys() for one in events] == [["id"], ["id"], []]
    assert [one.getSourceModifiedAt() for one in events] == [at, at, at]


def test_the_name_of_a_field_is_text():
    with pytest.raises(TypeError, match="must be text, not 1"):
        received().getProperties()[1] = "x"
    with pytest.raises(TypeError, match="must be text, not 1"):
        received().getProperties().update({1: "x"})
