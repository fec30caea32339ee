from __future__ import annotations

import json
from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace.sources.clevertap import wire
from millrace.sources.clevertap.answers import Persistence, meaning


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (200, {"status": "success"}, "success"),
        (200, {"status": "success", "records": []}, "success"),
        (200, {"status": "fail", "error": "Request still in progress, please retry later", "code": 2}, "not_ready"),
        (202, None, "not_ready"),
        (200, {"status": "fail", "error": "Incorrect Usage", "code": 3}, "lost_cursor"),
        (400, {"status": "fail", "error": "Invalid cursor", "code": "CURSOR_INVALIDATED"}, "lost_cursor"),
        (401, {"status": "fail", "error": "Invalid Credentials", "code": 401}, "denied"),
        (200, {"status": "fail", "error": "Invalid Credentials", "code": 401}, "denied"),
        (403, None, "denied"),
        (429, {"status": "fail", "error": "Too many concurrent requests", "code": 429}, "busy"),
        (400, {"status": "fail", "error": '["Invalid event : App Lunched"]', "code": 400}, "invalid_event"),
        (200, {"status": "fail", "error": '["Invalid event : App Lunched"]', "code": 400}, "invalid_event"),
        (400, {"status": "fail", "error": "Export not allowed for this event", "code": 400}, "not_exportable"),
        (400, {"status": "fail", "error": "from greater than to", "code": 4002}, "bad_dates"),
        (500, {"status": "fail", "error": "An unknown error occurred", "code": 500}, "again"),
        (200, {"status": "fail", "error": "An unknown error occurred", "code": 500}, "again"),
        (503, "<html>", "again"),
        (504, None, "again"),
        (200, "<html>", "again"),
        (200, [], "again"),
        (200, {"records": []}, "again"),
        (200, {"status": "success", "records": {"a": 1}}, "again"),
        (200, None, "not_clevertap"),
        (404, "<html>", "failed"),
        (405, {"status": "fail", "error": "Method Not Allowed", "code": 405}, "failed"),
        (400, {"status": "fail", "error": "batch_size", "code": 400}, "failed"),
        (200, {"status": "fail", "error": "something new"}, "failed"),
        (200, {"status": "partial", "req_id": 7}, "partial"),
        (302, None, "failed"),
        (409, {"status": "fail", "error": "Request still in progress", "code": 2}, "not_ready"),
        (409, {"status": "fail", "error": '["Invalid event : App Lunched"]', "code": 400}, "invalid_event"),
    ],
)  # fmt: skip
def test_what_an_answer_means(status: int, body: object, expected: str) -> None:
    raw = b"" if body is None else body.encode() if isinstance(body, str) else json.dumps(body).encode()
    assert meaning(status, raw).meaning == expected


def test_a_long_error_text_is_cut() -> None:
    found = meaning(418, json.dumps({"status": "fail", "error": "x" * 5000, "code": 418}).encode())
    assert found.meaning == "failed" and 300 < len(found.text) < 400


def test_waits_follow_the_rules() -> None:
    persistence = Persistence()
    not_ready = [persistence.wait("not_ready") for _ in range(100)]
    waits = [wait for wait in not_ready if wait is not None]
    for wait, about in zip(waits, (2, 3, 5, 8, 13, 30, 30), strict=False):
        assert about * 0.89 <= wait <= about * 1.11
    assert sum(waits) == pytest.approx(600) and not_ready[-1] is None
    assert [persistence.wait("busy") for _ in range(10)] == [1, 2, 4, 8, 16, 32, 60, 60, 60, None]
    assert [persistence.wait("again") for _ in range(5)] == [1, 2, 4, 8, None]
    assert persistence.wait("lost_cursor") is None


def test_broken_and_whole_records_of_a_page_are_told_apart() -> None:
    records = b'[ {"ts":1} , {"ts":NaN} , {"profile":{"identity":1.50}} ]'
    body = b' { "next_cursor" : "a%2F" , "records" : ' + records + b' , "status":"success"} '
    answer = wire.read(body)
    assert answer.envelope.next_cursor == "a%2F" and answer.succeeded
    assert [record.ts for record in answer.records] == [1, None] and len(answer.spoiled) == 1
    assert answer.raws() == [b'{"ts":1}', b'{"profile":{"identity":1.50}}']
    assert answer.records[1].profile is not None and answer.records[1].profile.identity == "1.50"


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"null", b"{", b'{"status":"success","records":[{"ts":1},', b"\xff", b"7"]
)
def test_a_body_that_is_no_object_is_said_to_be_none(body: bytes) -> None:
    with pytest.raises(wire.NotJson):
        wire.read(body)


def test_any_cut_of_a_page_is_noticed() -> None:
    page = b'{"status":"success","records":[{"profile":{"objectId":"a"},"ts":1},{"ts":2}],"next_cursor":"x"}'
    for end in islice(range(len(page)), 1, None):
        with pytest.raises(wire.NotJson):
            wire.read(page[:end])


pieces = st.sampled_from([b"a", b"plain text", "é".encode(), "日本".encode(), "🙂".encode(), b"\xc3", b"\xa9", b"\xff"])


@given(st.lists(pieces, max_size=40).map(b"".join))
def test_a_name_that_is_no_utf_8_is_found_wherever_it_stands(name: bytes) -> None:
    body = b'{"status":"success","records":[{"profile":{"objectId":"%b"}}]}' % name
    try:
        name.decode()
    except UnicodeDecodeError:
        assert [raw for raw, _ in wire.read(body).spoiled] == [b'{"profile":{"objectId":"%b"}}' % name]
    else:
        assert not wire.read(body).spoiled
