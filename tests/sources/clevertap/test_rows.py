from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pyarrow as pa
import pytest

from millrace.data import columns
from millrace.sources.clevertap import rows, wire
from millrace.sources.clevertap.canonical import canonical
from millrace.sources.clevertap.mapper import Mapper
from millrace.sources.clevertap.rows import SCHEMA, WHOLE_SCHEMA, Shaped, refused, reject_id, rows_of
from millrace.sources.clevertap.times import Moments

FIXTURE = (Path(rows.__file__).parent / "fixtures" / "page.json").read_bytes()
NOW = datetime(2026, 3, 14, 10, tzinfo=UTC)
PROFILE = {"objectId": "__a", "profileData": {"plan": "gold"}}
GOOD: dict[str, Any] = {"profile": PROFILE, "ts": 20260314091502, "event_props": {"n": 1}}


def page(*records: Any) -> bytes:
    texts = [each if isinstance(each, bytes) else json.dumps(each).encode() for each in records]
    return b'{"status":"success","records":[' + b",".join(texts) + b"]}"


def shaped(body: bytes, event: str = "Charged", **options: Any) -> Shaped:
    whole = options.get("whole", False)
    return rows_of(event, Mapper(event, Moments(ZoneInfo("UTC")), **options)(wire.read(body, whole=whole)))


@pytest.mark.spec("pipelines.22.13")
@pytest.mark.spec("clevertap.10.23")
def test_10_23_the_two_hash_vectors_come_out() -> None:
    first = shaped(FIXTURE, "App Launched").rows.column(columns.ID)[0].as_py()
    second = shaped(FIXTURE, "Charged").rows.column(columns.ID)[1].as_py()
    assert first == "ef7d36fd90e804b60641dd04f08613f098b38c0cbade91bc6c37a4e9e89045a2"
    assert second == "ad7fcfb427ece9be6b514ff8ba16a0f700c52621a78e909817bcc496ec2a9cb4"


def test_a_row_has_the_documented_columns_and_values() -> None:
    found = shaped(FIXTURE)
    assert found.rows.schema.equals(SCHEMA) and not found.rejects
    anonymous, known = found.rows.to_pylist()
    assert anonymous["identity"] is None and anonymous["session_props"] is None and anonymous["session_source"] is None
    assert anonymous["profileData"] == "{}" and anonymous["event_props"] == "{}"
    assert known["ts"] == datetime(2026, 3, 14, 9, 15, 2, tzinfo=UTC) and known["ts_raw"] == 20260314091502
    assert known["event_name"] == "Charged" and known["session_source"] == "Direct"
    assert known["objectId"] == "__7f3c0a51d2e84b6c9d10ab44e7f0c2aa" and known["identity"] == "cust-88213"
    assert known["event_props"] == '{"Amount":1299.5,"Currency":"EUR","Items":[{"Name":"Kettle","Quantity":1}]}'
    assert columns.is_ours(found.rows.schema.field(columns.ID))


def test_profile_fields_come_on_demand() -> None:
    found = shaped(FIXTURE, whole=True).rows
    assert found.schema.equals(WHOLE_SCHEMA)
    row = found.to_pylist()[1]
    assert row["phone"] == "4915550001122" and row["push_token"] == "fcm:exampleToken:APA91bExample"
    assert json.loads(row["all_identities"]) == ["cust-88213", "rhea@example.org"] and row["sdk_version"] is None


def test_properties_stay_byte_for_byte_in_their_columns() -> None:
    props = b'{ "b" : 1.50, "a":"\\u00e9" , "b":2 }'
    body = page(b'{"profile":{"objectId":"__a"},"ts":20260314091502,"event_props":' + props + b"}")
    found = shaped(body).rows.to_pylist()[0]
    assert found["event_props"].encode() == props
    same = shaped(body.replace(props, '{"a":"é","b":2}'.encode())).rows.to_pylist()[0]
    assert same[columns.ID] == found[columns.ID]
    other = shaped(body.replace(props, '{"a":"é","b":2.0}'.encode())).rows.to_pylist()[0]
    assert other[columns.ID] != found[columns.ID]


def test_profile_and_identity_change_the_state_of_a_row_and_not_its_id() -> None:
    before = shaped(page(GOOD))
    after = shaped(page({**GOOD, "profile": {**PROFILE, "identity": "cust-1"}}))
    assert before.high[0] == after.high[0] and before.low[0] == after.low[0]
    assert (
        before.state[0]
        != after.state[0]
        == shaped(page({**GOOD, "profile": {**PROFILE, "identity": "cust-1"}})).state[0]
    )
    assert bytes.fromhex(before.rows.column(columns.ID)[0].as_py())[:8] == int(before.high[0]).to_bytes(8, "big")


def test_an_empty_identity_is_another_state_than_none() -> None:
    none, null, empty = (
        int(shaped(page({**GOOD, "profile": {**profile}})).state[0])
        for profile in (PROFILE, {**PROFILE, "identity": None}, {**PROFILE, "identity": ""})
    )
    assert none == null != empty


def test_identity_by_record_makes_a_change_of_the_profile_a_row_of_its_own() -> None:
    record = {**GOOD, "profile": {**PROFILE, "identity": "cust-1"}}
    one, other = (shaped(page(each), by_record=True).rows.column(columns.ID)[0].as_py() for each in (GOOD, record))
    assert one != other
    whole = canonical(json.dumps({**GOOD, "event_name": "Charged"}).encode())
    assert one == hashlib.sha256(whole).hexdigest()


def test_session_source_is_read_at_the_top_first_and_in_the_session_else() -> None:
    records = [
        {**GOOD, "session_source": "Social", "session_props": {"session_source": "Direct"}},
        {**GOOD, "session_props": {"session_source": "Search", "utm_source": "x"}},
        {**GOOD, "session_props": {}},
        {**GOOD, "session_props": None},
        {**GOOD, "session_props": {"session_source": 7}},
    ]
    found = shaped(page(*records)).rows
    assert found.column("session_source").to_pylist() == ["Social", "Search", None, None, "7"]
    assert found.column("session_props").to_pylist()[2:4] == ["{}", None]
    assert len(set(found.column(columns.ID).to_pylist()[2:4])) == 1, "no session and an empty one are the same event"


@pytest.mark.parametrize(
    ("record", "code"),
    [
        ({**GOOD, "ts": 2026031409150}, "BAD_TIMESTAMP"),
        ({**GOOD, "ts": "20260314091502"}, "BAD_TIMESTAMP"),
        ({**GOOD, "ts": None}, "BAD_TIMESTAMP"),
        ({**GOOD, "ts": 20260231091502}, "BAD_TIMESTAMP"),
        ({**GOOD, "ts": 20260314091502.0}, "BAD_TIMESTAMP"),
        ({**GOOD, "ts": True}, "BAD_TIMESTAMP"),
        ({**GOOD, "ts": 10**30}, "BAD_TIMESTAMP"),
        ({**GOOD, "ts": {"a": 1}}, "BAD_TIMESTAMP"),
        ({"profile": PROFILE, "event_props": {}}, "BAD_TIMESTAMP"),
        ({"ts": 20260314091502}, "MISSING_PROFILE"),
        ({**GOOD, "profile": None}, "MISSING_PROFILE"),
        ({**GOOD, "profile": ["__a"]}, "MISSING_PROFILE"),
        ({**GOOD, "profile": {"identity": "x"}}, "MISSING_OBJECT_ID"),
        ({**GOOD, "profile": {"objectId": ""}}, "MISSING_OBJECT_ID"),
        ({**GOOD, "profile": {"objectId": 17}}, "MISSING_OBJECT_ID"),
        (["not", "a", "record"], "UNREADABLE_RECORD"),
        (b'{"profile":{"objectId":"__a"},"ts":20260314091502,"event_props":{"bad":"\xff"}}', "UNREADABLE_RECORD"),
        (b'{"profile":{"objectId":"__a"},"ts":20260314091502,"event_props":{"bad":"\\ud800"}}', "UNREADABLE_RECORD"),
        (b'{"profile":{"objectId":"__a"},"ts":20260314091502,"event_props":{"bad":NaN}}', "UNREADABLE_RECORD"),
        (b'{"profile":{"objectId":"__a"},"ts":00010314091502,"event_props":{"a":"}]"}}', "UNREADABLE_RECORD"),
        (b'{"profile":{"objectId":"__a"},"ts":20260314091502,"event_props":{"bad":tru,"b":[{}]}}', "UNREADABLE_RECORD"),
    ],
)  # fmt: skip
def test_a_record_that_cannot_be_a_row_is_rejected_and_its_neighbours_are_not(record: Any, code: str) -> None:
    found = shaped(page(GOOD, record, {**GOOD, "ts": 20260314091503}))
    assert [reject.code for reject in found.rejects] == [code]
    assert found.rows.column("ts_raw").to_pylist() == [20260314091502, 20260314091503]
    assert len(found.high) == len(found.state) == len(found.day) == len(found.moment) == 2


def test_odd_but_usable_records_become_rows() -> None:
    deep = b'{"profile":{"objectId":"q\\"x","identity":1.10},"ts":20260314091502,"event_props":[1,2]}'
    found = shaped(
        page(deep, {**GOOD, "event_props": None, "profile": {"objectId": "__b", "profileData": None}, "x": 1})
    )
    one, two = found.rows.to_pylist()
    assert one["objectId"] == 'q"x' and one["identity"] == "1.10" and one["event_props"] == "[1,2]"
    assert two["event_props"] == "{}" and two["profileData"] == "{}"
    expected = b'{"event_name":"Charged","event_props":[1,2],"objectId":"q\\"x","session_props":{},"ts":20260314091502}'
    assert one[columns.ID] == hashlib.sha256(expected).hexdigest()


@pytest.mark.parametrize("digits", [4_000, 4_301, 150_000])
@pytest.mark.parametrize("by_record", [False, True])
def test_an_integer_of_any_length_is_kept_by_its_digits(digits: int, by_record: bool) -> None:
    """Also where another record of the page is odd, so that Python maps all of it."""
    long = b"9" * digits
    props = b'{"b":%b,"a":[-%b]}' % (long, long)
    record = b'{"profile":{"objectId":"__a"},"ts":20260314091502,"event_props":%b,"session_props":%b}' % (props, props)
    found = shaped(page(GOOD, record, {**GOOD, "ts": "odd"}), by_record=by_record)
    assert [reject.code for reject in found.rejects] == ["BAD_TIMESTAMP"]
    row = found.rows.to_pylist()[1]
    assert row["event_props"].encode() == row["session_props"].encode() == props
    if not by_record:
        sorted_ = b'{"a":[-%b],"b":%b}' % (long, long)
        text = b'{"event_name":"Charged","event_props":%b,"objectId":"__a","session_props":%b,"ts":20260314091502}'
        assert row[columns.ID] == hashlib.sha256(text % (sorted_, sorted_)).hexdigest()


def test_a_record_over_the_size_limit_is_rejected() -> None:
    found = shaped(page(GOOD, {**GOOD, "event_props": {"huge": "x" * 5000}}), largest=1000)
    assert [reject.code for reject in found.rejects] == ["ROW_TOO_LARGE"] and found.rows.num_rows == 1


def test_a_record_nested_beyond_measure_is_rejected() -> None:
    deep = b'{"profile":{"objectId":"__a"},"ts":20260314091502,"event_props":' + b'{"a":' * 3000 + b"1" + b"}" * 3001
    found = shaped(page(GOOD, deep))
    assert [reject.code for reject in found.rejects] in (["TOO_DEEP"], ["UNREADABLE_RECORD"])
    assert found.rows.num_rows == 1


def test_a_reject_shows_the_record_and_its_event_but_never_its_push_token() -> None:
    record = {**GOOD, "ts": None, "profile": {**PROFILE, "push_token": 'fcm:se"cret', "name": "Rhea"}}
    bad = b'{"profile":{"push_token" : "fcm:secret","objectId":"\xff"},"ts":1}'
    found = shaped(page(record, bad, b"7"))
    table = refused("Charged", found.rejects, NOW)
    assert table.schema.equals(columns.REJECTS)
    assert "cret" not in str(table.to_pylist())
    shown = {row["code"]: row for row in table.to_pylist()}["BAD_TIMESTAMP"]
    whole = json.loads(shown["row"])
    assert whole["event_name"] == "Charged" and whole["profile"]["name"] == "Rhea"
    assert whole["profile"]["push_token"] is None and shown["stage"] == "source" and shown["stream"] == "Events"


def test_a_reject_is_known_again_when_the_profile_has_changed() -> None:
    records = [{**GOOD, "ts": None, "profile": {**PROFILE, "name": name}} for name in ("Rhea", "Ria")]
    one, other = (reject_id("Charged", shaped(page(record)).rejects[0]) for record in records)
    assert one == other and len(one) == 16
    assert reject_id("Other", shaped(page(records[0])).rejects[0]) != one


def test_an_empty_page_gives_no_rows() -> None:
    found = shaped(b'{"status":"success"}')
    assert found.rows.num_rows == 0 and found.rows.schema.equals(SCHEMA) and len(found.high) == 0


def test_event_names_with_quotes_and_percent_signs_are_hashed_as_json() -> None:
    name = '100 % "sure" \\ é'
    found = shaped(page(GOOD), name).rows.to_pylist()[0]
    fields = {"event_name": name, "event_props": {"n": 1}, "objectId": "__a", "session_props": {}, "ts": 20260314091502}
    text = json.dumps(fields, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    assert found[columns.ID] == hashlib.sha256(text.encode()).hexdigest()


def test_json_columns_are_of_the_json_type() -> None:
    assert SCHEMA.field("event_props").type == pa.json_() and WHOLE_SCHEMA.field("profile_events").type == pa.json_()
