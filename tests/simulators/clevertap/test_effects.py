"""Every fault effect of section 9.5, seen from the client's side of the wire."""

from __future__ import annotations

import gzip
import http.client
import socket
import ssl
import time
import zlib
from collections import Counter
from collections.abc import Iterator
from typing import Any

import orjson
import pytest
from tests.simulators.clevertap.talk import DAY, ID, Talk, empty, numbers, rows

from millrace.errors import ConfigError
from millrace.simulators.clevertap import Simulator
from millrace.simulators.clevertap.effects import EFFECTS

N = 200


@pytest.fixture(scope="module")
def shared() -> Iterator[tuple[Simulator, Talk]]:
    with empty() as (sim, talk):
        sim.add_events(ID, rows(N))
        yield sim, talk


@pytest.fixture
def sim_talk(shared: tuple[Simulator, Talk]) -> Iterator[tuple[Simulator, Talk]]:
    yield shared
    shared[0].faults.clear()


def walk(talk: Talk, most: int = 100) -> list[Any]:
    """Pages of 46 records at most, as they come, ``most`` of them."""
    pages: list[Any] = []
    cursor = talk.open("Order", query="batch_size=50").json["cursor"]
    while cursor and len(pages) < most:
        pages.append(talk.page(cursor).json)
        cursor = pages[-1].get("next_cursor")
    return pages


def all_numbers(pages: list[Any]) -> list[int]:
    return sorted(n for page in pages for n in numbers(page.get("records", [])))


def test_too_many_is_a_429_and_strikes_as_often_as_told(sim_talk: tuple[Simulator, Talk]):
    sim, talk = sim_talk
    sim.faults.set([{"effect": "too_many", "step": "open", "times": 2}])
    replies = [talk.open("Order") for _ in range(3)]
    assert [reply.status for reply in replies] == [429, 429, 200]
    assert replies[0].json == {"status": "fail", "error": "Too many concurrent requests", "code": 429}
    assert sim.journal()[-3].verdict == "throttled"
    assert sim.journal()[-3].faults == ("too_many",)


@pytest.mark.parametrize("status", [500, 502, 503, 504])
@pytest.mark.parametrize("body", ["json", "html", "empty"])
def test_server_error_comes_in_three_bodies(sim_talk: tuple[Simulator, Talk], status: int, body: str):
    sim, talk = sim_talk
    sim.faults.set([{"effect": "server_error", "status": status, "body": body, "times": 1}])
    reply = talk.open("Order")
    assert reply.status == status
    if body == "json":
        assert reply.json == {"status": "fail", "error": "An unknown error occurred", "code": status}
    else:
        assert reply.body.startswith(b"<!DOCTYPE html>") if body == "html" else reply.body == b""


def test_slow_delays_the_headers_or_drips_the_body(sim_talk: tuple[Simulator, Talk]):
    sim, talk = sim_talk
    cursor = talk.open("Order", query="batch_size=23").json["cursor"]
    size = len(talk.page(cursor).body)
    sim.faults.set([{"effect": "slow", "delay_s": 0.3, "times": 1}])
    started = time.monotonic()
    assert talk.page(cursor).status == 200
    assert time.monotonic() - started >= 0.3
    sim.faults.set([{"effect": "slow", "bytes_per_s": size * 2, "times": 1}])
    started = time.monotonic()
    assert len(talk.page(cursor).body) == size
    assert time.monotonic() - started >= 0.4


def test_timeout_accepts_and_never_answers(sim_talk: tuple[Simulator, Talk]):
    sim, _ = sim_talk
    sim.faults.set([{"effect": "timeout", "times": 1}])
    with pytest.raises(TimeoutError):
        Talk(sim, timeout_s=0.3).open("Order")


def test_truncate_cuts_the_body_and_keeps_the_length(sim_talk: tuple[Simulator, Talk]):
    sim, talk = sim_talk
    cursor = talk.open("Order").json["cursor"]
    whole = talk.page(cursor).body
    sim.faults.set([{"effect": "truncate", "step": "page", "times": 1}])
    with pytest.raises(http.client.IncompleteRead) as cut:
        talk.page(cursor)
    assert whole.startswith(cut.value.partial)
    assert len(cut.value.partial) + (cut.value.expected or 0) == len(whole)
    sim.faults.set([{"effect": "truncate", "form": "short", "at": 0.7, "times": 1}])
    short = talk.page(cursor).body
    assert whole.startswith(short)
    assert len(short) == int(len(whole) * 0.7)
    with pytest.raises(orjson.JSONDecodeError):
        orjson.loads(short)
    sim.faults.set([{"effect": "truncate", "form": "short", "times": 1}])
    packed = talk.page(cursor, headers={"Accept-Encoding": "gzip"})
    with pytest.raises(EOFError):
        gzip.decompress(packed.body)
    assert whole.startswith(zlib.decompressobj(31).decompress(packed.body))
    assert talk.page(cursor).body == whole


def test_a_cut_page_does_not_count_as_served():
    with empty() as (sim, talk):
        sim.add_events(ID, rows(5))
        cursor = talk.open("Order").json["cursor"]
        sim.faults.set([{"effect": "truncate", "form": "short", "times": 1}])
        talk.page(cursor)
        assert sim.served().total() == 0
        assert sim.journal()[-1].verdict == "damaged"
        talk.page(cursor)
        assert sim.served().total() == 5


@pytest.mark.parametrize(
    ("shape", "body"),
    [("html", b"<!DOCTYPE"), ("list", b"[]"), ("null", b"null"), ("no_status", b'{"records":[]')],
)
def test_garbage_has_status_200(sim_talk: tuple[Simulator, Talk], shape: str, body: bytes):
    sim, talk = sim_talk
    sim.faults.set([{"effect": "garbage", "shape": shape, "times": 1}])
    reply = talk.open("Order")
    assert reply.status == 200
    assert reply.body.startswith(body)
    assert b'"status"' not in reply.body


def test_empty_200_has_no_byte(sim_talk: tuple[Simulator, Talk]):
    sim, talk = sim_talk
    sim.faults.set([{"effect": "empty_200", "times": 1}])
    reply = talk.open("Order")
    assert (reply.status, reply.body) == (200, b"")


def test_not_ready_comes_n_times_and_then_the_page(sim_talk: tuple[Simulator, Talk]):
    sim, talk = sim_talk
    sim.faults.set([{"effect": "not_ready", "form": "no_cursor", "step": "open", "times": 1}])
    assert talk.open("Order").body == b'{"status":"success"}'
    cursor = talk.open("Order").json["cursor"]
    sim.faults.set([{"effect": "not_ready", "times": 2}, {"effect": "not_ready", "form": "202", "times": 1}])
    codes = [talk.page(cursor).json["code"] for _ in range(2)]
    assert codes == [2, 2]
    assert talk.page(cursor).json["status"] == "success"


def test_not_ready_as_202(sim_talk: tuple[Simulator, Talk]):
    sim, talk = sim_talk
    sim.faults.set([{"effect": "not_ready", "form": "202", "times": 1}])
    reply = talk.open("Order")
    assert (reply.status, reply.body) == (202, b"")


def test_expire_cursor_ends_the_walk_after_the_page_that_it_names(sim_talk: tuple[Simulator, Talk]):
    sim, talk = sim_talk
    sim.faults.set([{"effect": "expire_cursor", "page": 2, "times": 1}])
    pages = walk(talk)
    assert len(pages) == 3
    assert pages[1]["status"] == "success"
    assert pages[2] == {"status": "fail", "error": "Invalid cursor", "code": "CURSOR_INVALIDATED"}
    assert all_numbers(walk(talk)) == list(range(N))


def test_stuck_cursor_names_itself(sim_talk: tuple[Simulator, Talk]):
    sim, talk = sim_talk
    cursor = talk.open("Order", query="batch_size=50").json["cursor"]
    sim.faults.set([{"effect": "stuck_cursor", "page": 2}])
    second = talk.page(cursor).json["next_cursor"]
    assert [talk.page(second).json["next_cursor"] for _ in range(2)] == [second, second]
    sim.faults.clear()
    assert talk.page(second).json["next_cursor"] != second


def test_loop_cursor_returns_to_an_earlier_page(sim_talk: tuple[Simulator, Talk]):
    sim, talk = sim_talk
    cursor = talk.open("Order", query="batch_size=50").json["cursor"]
    sim.faults.set([{"effect": "loop_cursor", "page": 3, "to_page": 2}])
    second = talk.page(cursor).json["next_cursor"]
    third = talk.page(second).json["next_cursor"]
    assert talk.page(third).json["next_cursor"] == second


@pytest.mark.parametrize("records", [0, 1, 7])
def test_short_page_loses_nothing(sim_talk: tuple[Simulator, Talk], records: int):
    sim, talk = sim_talk
    sim.faults.set([{"effect": "short_page", "page": 2, "records": records}])
    pages = walk(talk)
    assert len(pages[1]["records"]) == records
    assert "next_cursor" in pages[1]
    assert all_numbers(pages) == list(range(N))


def test_duplicate_page_repeats_the_page_before_and_loses_nothing(sim_talk: tuple[Simulator, Talk]):
    sim, talk = sim_talk
    sim.faults.set([{"effect": "duplicate_page", "page": 3, "times": 1}])
    pages = walk(talk)
    assert pages[2]["records"] == pages[1]["records"]
    assert pages[2]["next_cursor"] != pages[1]["next_cursor"]
    counts = Counter(all_numbers(pages))
    assert set(counts) == set(range(N))
    assert sum(counts.values()) == N + len(pages[1]["records"])


def test_duplicate_records_come_k_times(sim_talk: tuple[Simulator, Talk]):
    sim, talk = sim_talk
    sim.faults.set([{"effect": "duplicate_records", "page": 1, "copies": 3}])
    pages = walk(talk)
    counts = Counter(all_numbers(pages))
    assert {n for n, count in counts.items() if count == 3} == set(numbers(pages[0]["records"]))
    assert set(counts.values()) == {1, 3}


def test_lost_page_is_never_served(sim_talk: tuple[Simulator, Talk]):
    sim, talk = sim_talk
    whole = walk(talk)
    sim.faults.set([{"effect": "lost_page", "page": 2, "times": 1}])
    pages = walk(talk)
    missing = set(range(N)) - set(all_numbers(pages))
    assert missing == set(numbers(whole[1]["records"]))


def test_reorder_shuffles_and_keeps_all(sim_talk: tuple[Simulator, Talk]):
    sim, talk = sim_talk
    cursor = talk.open("Order").json["cursor"]
    straight = numbers(talk.page(cursor).json["records"])
    sim.faults.set([{"effect": "reorder"}])
    shuffled = numbers(talk.page(cursor).json["records"])
    assert shuffled != straight
    assert sorted(shuffled) == sorted(straight)


def test_wrong_passcode_rejects_from_then_on():
    with empty() as (sim, talk):
        sim.add_events(ID, rows(N))
        sim.faults.set([{"effect": "wrong_passcode", "step": "page", "page": 2, "times": 1}])
        pages = walk(talk)
        assert pages[1] == {"status": "fail", "error": "Invalid Credentials", "code": 401}
        assert talk.open("Order").status == 401
        sim.reset()
        assert talk.open("Order").json["code"] == 400


def test_wrong_project_forgets_the_account():
    with empty() as (sim, talk):
        sim.add_events(ID, rows(N))
        sim.faults.set([{"effect": "wrong_project", "times": 1}])
        assert walk(talk) == [{"status": "success"}]
        assert talk.open("No Such Event").status == 200


def test_not_allowed_and_invalid_event_strike_by_name(sim_talk: tuple[Simulator, Talk]):
    sim, talk = sim_talk
    sim.faults.set([{"effect": "not_allowed", "event": "Order"}, {"effect": "invalid_event", "event": "Other"}])
    reply = talk.open("Order")
    assert (reply.status, reply.json["error"]) == (400, "Export not allowed for this event")
    reply = talk.open("Other")
    assert (reply.status, reply.json["error"]) == (400, '["Invalid event : Other"]')


@pytest.mark.parametrize(
    ("form", "wrong"),
    [("", 2026031400000), ("string", "20260314000000"), ("null", None), ("impossible", 20260231000000)],
)
def test_bad_ts_has_four_forms(sim_talk: tuple[Simulator, Talk], form: str, wrong: object):
    sim, talk = sim_talk
    cursor = talk.open("Order").json["cursor"]
    sim.faults.set([{"effect": "bad_ts", "form": form, "records": 0}])
    stamps = [record["ts"] for record in talk.page(cursor).json["records"]]
    assert wrong in stamps
    assert {type(ts) for ts in stamps} == {type(wrong)}
    sim.faults.set([{"effect": "bad_ts", "form": form, "records": 3}])
    stamps = [record["ts"] for record in talk.page(cursor).json["records"]]
    fine = [ts for ts in stamps if isinstance(ts, int) and len(str(ts)) == 14 and str(ts)[4:8] == "0314"]
    assert len(fine) == N - 3


@pytest.mark.parametrize("field", ["profile", "event_props", "ts"])
def test_missing_field_is_left_out(sim_talk: tuple[Simulator, Talk], field: str):
    sim, talk = sim_talk
    cursor = talk.open("Order").json["cursor"]
    sim.faults.set([{"effect": "missing_field", "field": field, "records": 2}])
    records = talk.page(cursor).json["records"]
    assert [field in record for record in records] == [False, False] + [True] * (N - 2)


def test_huge_record_is_as_large_as_told(sim_talk: tuple[Simulator, Talk]):
    sim, talk = sim_talk
    cursor = talk.open("Order").json["cursor"]
    sim.faults.set([{"effect": "huge_record", "size_mb": 3}])
    records = talk.page(cursor).json["records"]
    assert len(records[0]["event_props"]["Huge"]) == 3_000_000
    assert all("Huge" not in record["event_props"] for record in records[1:])


@pytest.mark.parametrize("where", ["headers", "body"])
def test_reset_tears_the_connection_down(sim_talk: tuple[Simulator, Talk], where: str):
    sim, talk = sim_talk
    cursor = talk.open("Order").json["cursor"]
    sim.faults.set([{"effect": "reset", "where": where, "times": 1}])
    with pytest.raises((ConnectionResetError, http.client.IncompleteRead)) as met:
        talk.page(cursor)
    if where == "headers":
        assert isinstance(met.value, ConnectionResetError)
    assert talk.page(cursor).status == 200


def test_clock_skew_makes_today_the_future(sim_talk: tuple[Simulator, Talk]):
    sim, talk = sim_talk
    sim.faults.set([{"effect": "clock_skew", "seconds": 86400}])
    assert (talk.open("Order").status, talk.open("Order").json["code"]) == (400, 4002)
    assert talk.open("Order", DAY - 1, DAY - 1).status == 200


def test_tls_and_name_errors_have_addresses_of_their_own(sim_talk: tuple[Simulator, Talk]):
    sim, _ = sim_talk
    host, port = sim.tls_error_url.removeprefix("https://").split(":")
    with pytest.raises((ssl.SSLError, ConnectionError)), socket.create_connection((host, int(port))) as plain:
        ssl.create_default_context().wrap_socket(plain, server_hostname=host)
    with pytest.raises(socket.gaierror):
        socket.getaddrinfo(sim.dns_error_url.removeprefix("https://"), 443)


def test_rules_match_by_all_that_they_name(sim_talk: tuple[Simulator, Talk]):
    sim, talk = sim_talk
    refuse = {"effect": "server_error"}
    for other in (
        {"account": "OTHER"},
        {"path": "/1/upload"},
        {"path": "/1/counts/*"},
        {"event": "X"},
        {"page": 9},
        {"step": "page"},
    ):
        sim.faults.set([refuse | other])
        assert talk.open("Order").status == 200, other
    for same in ({"account": ID}, {"path": "/1/events.json"}, {"path": "/1/*"}, {"event": "Order"}, {"step": "open"}):
        sim.faults.set([refuse | same])
        assert talk.open("Order").status == 500, same
    sim.faults.set([refuse | {"nth": 3}])
    assert [talk.open("Order").status for _ in range(4)] == [200, 200, 500, 200]
    sim.faults.set([refuse | {"probability": 0.5}])
    drawn = [talk.open("Order").status for _ in range(40)]
    assert 8 < drawn.count(500) < 32
    sim.faults.set([refuse | {"probability": 0.5}])
    assert [talk.open("Order").status for _ in range(40)] == drawn


def test_a_rule_that_is_not_understood_is_refused_with_a_hint(sim_talk: tuple[Simulator, Talk]):
    sim, _ = sim_talk
    with pytest.raises(ConfigError, match="fault rule 1: no effect 'truncat'") as met:
        sim.faults.set([{"effect": "reset"}, {"effect": "truncat"}])
    assert met.value.hint == "Did you mean truncate?"
    with pytest.raises(ConfigError, match="pages"):
        sim.faults.set([{"effect": "reset", "pages": 1}])


def test_every_effect_of_the_specification_is_there():
    specified = "too_many server_error slow timeout truncate garbage empty_200 not_ready expire_cursor stuck_cursor"
    specified += " loop_cursor short_page duplicate_page duplicate_records lost_page reorder wrong_passcode"
    specified += " wrong_project not_allowed invalid_event bad_ts missing_field huge_record reset clock_skew"
    assert set(specified.split()) == set(EFFECTS)
