"""Payloads taken apart: nothing of them is lost, and the same event has the same id."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from millrace.connect.intake.frames import Entry
from millrace.sources.webhook.config import Config
from millrace.sources.webhook.payload import Event, events

KEYS = st.sampled_from(["a", "b", "payload_a", "payload_payload_a", "profiles", "id"])
OBJECTS = st.dictionaries(KEYS, st.integers(0, 9), max_size=5)


def apart(payload: Any, config: Config | None = None, **about: Any) -> list[Event]:
    entry = Entry("hook", 1700000000000, json.dumps(payload).encode(), **about)
    return list(events(entry, "part-1-0", config or Config.model_validate({})))


def config(**settings: str) -> Config:
    return Config.model_validate(settings)


@given(OBJECTS, st.lists(OBJECTS, min_size=1, max_size=3))
def test_what_is_beside_the_events_is_kept_with_each_and_nothing_is_lost(
    beside: dict[str, int], inner: list[dict[str, int]]
) -> None:
    payload = beside | {"profiles": inner}
    found = apart(payload, config(events_path="profiles"))
    assert len(found) == len(inner)
    outside = {key: value for key, value in beside.items() if key != "profiles"}
    for event, own in zip(found, inner, strict=True):
        assert event.fields.items() >= own.items()
        rest = [value for key, value in event.fields.items() if key not in own]
        assert sorted(rest) == sorted(outside.values())


def test_events_may_lie_deep_and_be_one_object() -> None:
    found = apart({"data": {"page": 1, "items": {"n": 1}}, "v": 2}, config(events_path="data.items"))
    assert [one.fields for one in found] == [{"data": {"page": 1}, "v": 2, "n": 1}]
    found = apart({"data": {"items": [1, None]}}, config(events_path="data.items"))
    assert [one.fields for one in found] == [{"value": 1}, {"value": None}]


def test_the_fields_of_an_event_may_lie_in_an_object_and_paths_be_written_as_jsonpath() -> None:
    """The example of accounts-models-activate.md 4.5."""
    payload = {"eventName": "payment.authorized", "properties": {"id": "pay_1", "entity": "payment", "amount": 5}}
    for settings in (
        {"name_path": "eventName", "events_path": "properties"},
        {"name_path": "$.eventName", "events_path": "$.properties", "id_path": "$.id"},
    ):
        for body in (payload, [payload, payload]):
            for event in apart(body, config(**settings)):
                assert event.name == "payment.authorized"
                assert event.fields == {"eventName": "payment.authorized", **payload["properties"]}
                assert event.given == ("id_path" in settings)
    for path in ("$.events[0]", "$.*", "$..id", "$."):
        with pytest.raises(ValidationError):
            config(id_path=path)


def test_a_payload_without_the_array_is_one_event() -> None:
    assert [one.fields for one in apart({"n": 1}, config(events_path="profiles"))] == [{"n": 1}]
    assert apart({"profiles": []}, config(events_path="profiles")) == []


@pytest.mark.parametrize(
    ("payload", "name", "expected"),
    [
        ({"kind": "Paid"}, None, "Paid"),
        ({"kind": "Paid"}, "From URL", "Paid"),
        ({"kind": "  "}, "From URL", "From URL"),
        ({"kind": 7}, None, "things"),
        ({}, None, "things"),
    ],
)
def test_the_event_says_its_type_else_the_url_else_the_setting(payload: Any, name: str | None, expected: str) -> None:
    (found,) = apart(payload, config(name_path="kind", event_name="things"), name=name)
    assert found.name == expected


def test_ids_follow_from_the_event_else_from_the_request_else_from_the_place() -> None:
    own = config(id_path="id")
    assert apart({"id": 7}, own)[0].id == apart({"id": "7", "more": 1}, own, request_id="x")[0].id
    first, second = apart([{}, {}], request_id="x")
    assert first.id != second.id
    assert [one.id for one in apart([{}, {}], request_id="x")] == [first.id, second.id]
    assert apart([{}], request_id="y")[0].id != first.id
    assert apart([{}])[0] == Event("events", "1700000000000-part-1-0-0", {}, given=False)
