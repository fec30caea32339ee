"""What faults do to CleverTap's answers: early refusals, and damage to the records of a page."""

from __future__ import annotations

import json
import random
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import orjson

from millrace.simulators.clevertap.jsontext import dumps
from millrace.simulators.faults import Rule
from millrace.simulators.server import Response, Wire

if TYPE_CHECKING:
    from millrace.simulators.clevertap.world import Call

EFFECTS = (
    "too_many",
    "server_error",
    "slow",
    "timeout",
    "truncate",
    "garbage",
    "empty_200",
    "not_ready",
    "expire_cursor",
    "stuck_cursor",
    "loop_cursor",
    "short_page",
    "duplicate_page",
    "duplicate_records",
    "lost_page",
    "reorder",
    "wrong_passcode",
    "wrong_project",
    "not_allowed",
    "invalid_event",
    "bad_ts",
    "missing_field",
    "huge_record",
    "reset",
    "clock_skew",
)

HTML = b"<!DOCTYPE html><html><head><title>Service notice</title></head><body><h1>Back soon</h1></body></html>"
NOT_READY = b'{"status":"fail","error":"Request still in progress, please retry later","code":2}'
JSON_HEADERS = {"Content-Type": "application/json;charset=utf-8"}
HTML_HEADERS = {"Content-Type": "text/html;charset=utf-8"}


def before(call: Call) -> Response | None:
    """The faults that strike before anything is looked up; the answer when one of them is the end of it."""
    from millrace.simulators.clevertap.world import failure

    for rule in call.rules:
        call.wire = _on_the_wire(rule, call.wire)
        match rule.effect:
            case "wrong_passcode":
                call.world.revoked.add(call.account)
            case "wrong_project":
                call.world.forgotten.add(call.account)
            case "slow" if rule.bytes_per_s is None:
                time.sleep(rule.delay_s)
            case "too_many":
                return failure(429, "Too many concurrent requests", 429)
            case "server_error":
                return server_error(rule)
            case "garbage":
                return garbage(rule)
            case "empty_200":
                return Response()
            case "not_ready":
                return not_ready(rule, call.step)
            case "not_allowed":
                return failure(400, "Export not allowed for this event", 400)
            case "invalid_event":
                return failure(400, orjson.dumps([f"Invalid event : {call.event}"]).decode(), 400)
            case _:
                pass
    return None


def server_error(rule: Rule) -> Response:
    if rule.body == "html":
        return Response(rule.status, HTML, HTML_HEADERS)
    if rule.body == "empty":
        return Response(rule.status)
    error = {"status": "fail", "error": "An unknown error occurred", "code": rule.status}
    return Response(rule.status, orjson.dumps(error), JSON_HEADERS)


def garbage(rule: Rule) -> Response:
    bodies = {"list": b"[]", "null": b"null", "no_status": b'{"records":[],"note":"hello"}'}
    if rule.shape == "html":
        return Response(200, HTML, HTML_HEADERS)
    return Response(200, bodies[rule.shape], JSON_HEADERS)


def not_ready(rule: Rule, step: str) -> Response:
    """Code 2; as HTTP 202 with ``form: "202"``; step 1 without a cursor with ``form: "no_cursor"``."""
    if rule.form == "202":
        return Response(202)
    if rule.form == "no_cursor" and step == "open":
        return Response(200, b'{"status":"success"}', JSON_HEADERS)
    return Response(200, NOT_READY, JSON_HEADERS)


def damaged(records: list[bytes], call: Call) -> list[bytes]:
    """The records of a page after the faults that touch them."""
    for rule in call.rules:
        if not records:
            break
        match rule.effect:
            case "duplicate_records":
                records = [record for record in records for _ in range(rule.copies)]
            case "reorder":
                records = list(records)
                random.Random(call.world.settings.seed + call.page).shuffle(records)  # noqa: S311 - data only
            case "bad_ts" | "missing_field" | "huge_record":
                count = rule.records or len(records)
                records = [_changed(record, rule) for record in records[:count]] + records[count:]
            case _:
                pass
    return records


def _changed(record: bytes, rule: Rule) -> bytes:
    whole = json.loads(record)
    if rule.effect == "missing_field":
        whole.pop(rule.field, None)
    elif rule.effect == "huge_record":
        whole["event_props"]["Huge"] = "x" * int(rule.size_mb * 1_000_000)
    else:
        ts = str(whole["ts"])
        changes = {"string": ts, "null": None, "impossible": int(ts[:4] + "0231" + ts[8:])}
        whole["ts"] = changes.get(rule.form, int(ts[:13]))
    return dumps(whole)


def _on_the_wire(rule: Rule, wire: Wire) -> Wire:
    match rule.effect:
        case "slow":
            return replace(wire, bytes_per_s=rule.bytes_per_s)
        case "timeout":
            return replace(wire, never_s=rule.seconds)
        case "truncate":
            return replace(wire, cut_at=rule.at, cut_form="short" if rule.form == "short" else "length")
        case "reset":
            return replace(wire, reset=rule.where, cut_at=rule.at)
        case _:
            return wire
