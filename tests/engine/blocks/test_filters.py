from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

import pytest
from pydantic import ValidationError

from millrace.data.rows import to_batch
from millrace.engine.blocks.filters import Condition, EventFilter, FieldFilter, events, fields, holds


def satisfies(value: Any, op: str, wanted: Any = None, **more: Any) -> bool:
    given = {"on": "EVENT_FIELD", "field": "x", "op": op, **more}
    if wanted is not None:
        given["value"] = wanted
    rows = to_batch([{"id": 1, "x": value}], None)
    return events([EventFilter.model_validate(given)], "users", rows).to_pylist()[0]


@pytest.mark.parametrize(
    ("value", "op", "wanted", "expected"),
    [
        (5, "EQUALS", 5, True),
        (5, "EQUALS", "5.0", True),
        ("5.0", "EQUALS", 5, True),
        ("007", "EQUALS", "7", True),
        (0.1, "EQUALS", 0.1, True),
        (Decimal("0.10"), "EQUALS", 0.1, True),
        (2**53 + 1, "EQUALS", 2**53, False),
        ("9007199254740993", "EQUALS", 2**53, False),
        ("Bob", "EQUALS", "bob", False),
        ("Bob", "NOT_EQUALS", "bob", True),
        (9, "LESSER_THAN", 10, True),
        ("9", "LESSER_THAN", "10", True),
        ("b", "GREATER_THAN", "a", True),
        ("Bob", "GREATER_THAN", 40, False),
        ("Bob", "LESSER_THAN", 40, False),
        ("Bob", "NOT_EQUALS", 40, True),
        (40, "GREATER_THAN_EQUAL_TO", 40, True),
        (39.9, "GREATER_THAN_EQUAL_TO", 40, False),
        (41, "LESSER_THAN_EQUAL_TO", 40.5, False),
        (41, "GREATER_THAN", 40.5, True),
        (40, "LESSER_THAN", 40.5, True),
        (-1, "LESSER_THAN", -0.5, True),
        (0, "GREATER_THAN", -0.5, True),
        (5, "LESSER_THAN", 1e300, True),
        (5, "GREATER_THAN", -1e300, True),
        (0, "LESSER_THAN", 1e-320, True),
        (Decimal("1.25"), "GREATER_THAN", 1.249, True),
        (Decimal("1.25"), "LESSER_THAN", 1.2501, True),
        (Decimal("1.25"), "LESSER_THAN", 10**30, True),
        (2.5, "LESSER_THAN", "2.50000000000000000001", True),
        ("2.5", "LESSER_THAN", "2.50000000000000000001", True),
        (dt.date(2024, 2, 29), "EQUALS", "2024-02-29", True),
        (dt.date(2024, 2, 29), "LESSER_THAN", "2024-02-29T00:00:01Z", True),
        (dt.datetime(2024, 2, 29, 1, tzinfo=dt.UTC), "EQUALS", "2024-02-29T03:00:00+02:00", True),
        ("2024-02-29", "GREATER_THAN", "2023-12-31", True),
        ("yesterday", "GREATER_THAN", "2023-12-31", False),
        (dt.time(10, 30), "GREATER_THAN", "10:29", True),
        (True, "EQUALS", True, True),
        (True, "EQUALS", "true", True),
        (True, "EQUALS", 1, False),
        (True, "IS_TRUE", None, True),
        ("TRUE", "IS_TRUE", None, True),
        (False, "IS_FALSE", None, True),
        (1, "IS_TRUE", None, False),
        ("b", "IN", ["a", "b"], True),
        ("b", "IN", "a, b", True),
        (2, "IN", "1,2.0", True),
        ("c", "NOT_IN", "a,b", True),
        ("a%b", "CONTAINS", "%", True),
        (1234, "CONTAINS", 23, True),
        ("abc", "NOT_CONTAINS", "z", True),
        ("abc", "STARTS_WITH", "ab", True),
        ("abc", "ENDS_WITH", "ab", False),
        ("abc", "MATCHES_REGEX", "^a.c$", True),
        ("xabcx", "MATCHES_REGEX", "b", True),
        ("", "IS_EMPTY", None, True),
        ([], "IS_EMPTY", None, True),
        (" ", "IS_NOT_EMPTY", None, True),
        ("x", "HAS_FIELD", None, True),
        ("x", "IS_NULL", None, False),
    ],
)
def test_values_are_compared_by_what_they_say(value: Any, op: str, wanted: Any, expected: bool) -> None:
    assert satisfies(value, op, wanted) is expected


@pytest.mark.parametrize(
    ("value", "given", "expected"),
    [
        (1, {"from": 1, "to": 2}, True),
        (2, {"from": 1, "to": 2}, True),
        (2, {"from": 1, "to": 2, "inclusive": False}, False),
        ("1.5", {"from": "1", "to": 2}, True),
        (dt.date(2024, 5, 1), {"from": "2024-01-01", "to": "2024-12-31"}, True),
        ("Bob", {"from": 1, "to": 2}, False),
    ],
)
def test_a_range_has_its_ends_unless_said_otherwise(value: Any, given: dict[str, Any], expected: bool) -> None:
    assert satisfies(value, "IN_RANGE", **given) is expected
    assert satisfies(value, "NOT_IN_RANGE", **given) is not expected


def test_a_missing_field_satisfies_the_negative_operators_alone() -> None:
    given: dict[str, dict[str, Any]] = {
        "EQUALS": {"value": 1}, "NOT_EQUALS": {"value": 1}, "GREATER_THAN": {"value": 1}, "LESSER_THAN": {"value": 1},
        "GREATER_THAN_EQUAL_TO": {"value": 1}, "LESSER_THAN_EQUAL_TO": {"value": 1}, "IN": {"value": "1"},
        "NOT_IN": {"value": "1"}, "IN_RANGE": {"from": 1, "to": 2}, "NOT_IN_RANGE": {"from": 1, "to": 2},
        "IS_NULL": {}, "IS_NOT_NULL": {}, "IS_TRUE": {}, "IS_FALSE": {}, "HAS_FIELD": {}, "DOES_NOT_HAVE_FIELD": {},
        "CONTAINS": {"value": ""}, "NOT_CONTAINS": {"value": "x"}, "STARTS_WITH": {"value": ""},
        "ENDS_WITH": {"value": ""}, "MATCHES_REGEX": {"value": ""}, "IS_EMPTY": {}, "IS_NOT_EMPTY": {},
    }  # fmt: skip
    rows = to_batch([{"id": 1, "x": None}, {"id": 2, "x": 5}], None)
    for field in ("x", "nowhere"):
        satisfied = {
            op
            for op, more in given.items()
            if events([EventFilter.model_validate({"on": "EVENT_FIELD", "field": field, "op": op, **more})], "", rows)[
                0
            ].as_py()
        }
        assert satisfied == {"NOT_EQUALS", "NOT_IN", "NOT_CONTAINS", "IS_NULL", "DOES_NOT_HAVE_FIELD"}


def test_filters_of_events_are_combined_with_and() -> None:
    rows = to_batch(
        [{"price": 10, "archived": True}, {"price": None, "archived": True}, {"price": 7, "archived": False}], None
    )
    chain = [
        EventFilter.model_validate(one)
        for one in (
            {"on": "EVENT_TYPE", "op": "EQUALS", "value": "deals"},
            {"on": "EVENT_FIELD", "field": "price"},
            {"on": "EVENT_FIELD", "field": "archived", "op": "IS_TRUE"},
        )
    ]
    assert events(chain, "deals", rows).to_pylist() == [True, False, False]
    assert events(chain, "users", rows).to_pylist() == [False, False, False]
    assert events([], "users", rows).to_pylist() == [True, True, True]


def test_filters_of_fields_choose_by_name_and_by_value() -> None:
    rows = to_batch([{"price": 50, "cost": 60, "name": "x"}, {"price": 10, "cost": 70, "name": "45"}], None)
    over = FieldFilter.model_validate({"on": "FIELD_VALUE", "op": "GREATER_THAN", "value": 40})
    names = FieldFilter.model_validate({"on": "FIELD_NAME", "op": "IN", "value": "price, name"})
    every = ["price", "cost", "name"]
    assert {n: m and m.to_pylist() for n, m in fields([over], rows, every).items()} == {
        "price": [True, False],
        "cost": [True, True],
        "name": [False, True],
    }
    assert list(fields([names, over], rows, every)) == ["price", "name"]
    assert fields([names], rows, every) == {"price": None, "name": None}
    assert fields([FieldFilter.model_validate({"on": "ALL_FIELDS"})], rows, ["cost"]) == {"cost": None}


def test_a_condition_is_a_list_or_nests() -> None:
    rows = to_batch([{"a": 1, "b": 1}, {"a": 1, "b": 2}, {"a": 2, "b": 2}], None)
    a = {"on": "EVENT_FIELD", "field": "a", "op": "EQUALS", "value": 1}
    b = {"on": "EVENT_FIELD", "field": "b", "op": "EQUALS", "value": 1}
    assert holds(Condition.model_validate([a, b]), "", rows).to_pylist() == [True, False, False]
    assert holds(Condition.model_validate({"any": [a, b]}), "", rows).to_pylist() == [True, True, False]
    nested = Condition.model_validate([{"any": [b, {"all": [a]}]}, a])
    assert holds(nested, "", rows).to_pylist() == [True, True, False]
    assert Condition.model_validate(nested.model_dump(mode="json", by_alias=True, exclude_unset=True)) == nested


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"on": "ALL_EVENTS", "op": "EQUALS", "value": 1}, "takes nothing more"),
        ({"on": "EVENT_TYPE"}, "EVENT_TYPE needs an 'op'"),
        ({"on": "EVENT_TYPE", "op": "IS_NULL"}, "IS_NULL does not go with names"),
        ({"on": "EVENT_FIELD", "op": "EQUALS", "value": 1}, "needs a 'field'"),
        ({"on": "EVENT_TYPE", "field": "x", "op": "EQUALS", "value": 1}, "takes no 'field'"),
        ({"on": "EVENT_FIELD", "field": "x", "value": 1}, "a 'value' needs an 'op'"),
        ({"on": "EVENT_FIELD", "field": "x", "op": "EQUALS"}, "EQUALS needs a 'value'"),
        ({"on": "EVENT_FIELD", "field": "x", "op": "EQUALS", "value": [1, 2]}, "for several there is IN"),
        ({"on": "EVENT_FIELD", "field": "x", "op": "IN", "value": []}, "at least one value"),
        ({"on": "EVENT_FIELD", "field": "x", "op": "IS_NULL", "value": 1}, "IS_NULL takes no 'value'"),
        ({"on": "EVENT_FIELD", "field": "x", "op": "IN_RANGE", "from": 1}, "needs 'from' and 'to'"),
        ({"on": "EVENT_FIELD", "field": "x", "op": "EQUALS", "value": 1, "to": 2}, "takes no 'from'"),
        ({"on": "EVENT_FIELD", "field": "x", "op": "MATCHES_REGEX", "value": "("}, "is no regular expression"),
        ({"on": "EVENT_FIELD", "field": "x", "op": "EQUAL", "value": 1}, "EQUALS"),
        ({"on": "EVENT_FIELD", "field": "x", "op": "EQUALS", "value": 1, "valeu": 2}, "Extra inputs"),
    ],
)
def test_a_filter_that_cannot_be_is_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message.replace("(", r"\(")):
        EventFilter.model_validate(given)


def test_a_filter_of_fields_knows_no_fields_of_events() -> None:
    with pytest.raises(ValidationError, match="HAS_FIELD is a filter of events"):
        FieldFilter.model_validate({"on": "FIELD_VALUE", "op": "HAS_FIELD"})
    with pytest.raises(ValidationError, match="either 'all' or 'any'"):
        Condition.model_validate({})
