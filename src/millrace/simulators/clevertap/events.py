"""The events API and the profiles API: opening a walk over an event's days, and its pages."""

from __future__ import annotations

import hashlib
import time
from datetime import date

import orjson

from millrace.data.dataclass import dataclass
from millrace.simulators.clevertap import cql, effects, walks
from millrace.simulators.clevertap.cursor import Token
from millrace.simulators.clevertap.jsontext import JSON
from millrace.simulators.clevertap.store import Flags, Project
from millrace.simulators.clevertap.world import JSON_TYPE, Call, answer, failure
from millrace.simulators.server import Response

LARGEST_BATCH, FALLBACK_BATCH = 5000, 1000


@dataclass(frozen=True, slots=True)
class Query:
    """A base query that passed all checks: an event that may be exported, and its days (both included)."""

    event: str
    days: range


def events(call: Call) -> Response:
    """`/1/events.json` and `/1/profiles.json`: step 1 without a cursor, step 2 with one."""
    return page(call) if call.step == "page" else opened(call)


def opened(call: Call) -> Response:
    """Step 1. An account that nobody knows gets a cursor for any event name (rule 1)."""
    _wait(call, call.world.settings.latency_ms.open, "open")
    batch = _batch_size(call.params.get("batch_size"), call.world.settings.shards)
    if batch is None:
        return failure(400, "batch_size must be a positive integer", 400)
    if not isinstance(call.body, dict):
        return failure(400, "Malformed request: a JSON object with event_name, from and to is needed", 400)
    world, project = call.world, call.project
    flags = Flags(**{name: _flag(call.params.get(name)) for name in ("app", "events", "profile")})
    days, keep, seen = range(0), None, walks.Snapshot(call.now_s, 0)
    if project is not None:
        checked = query(call, project, call.body)
        if isinstance(checked, Response):
            return checked
        seen, days = project.snapshot(call.now_s), checked.days
        try:
            narrowed = cql.compiled(project, call.body, seen)
        except cql.BadQuery as exc:
            return failure(400, str(exc), 400)
        keep = narrowed.keep
        call.notes += narrowed.notes
    text = orjson.dumps([call.account, call.api, call.body, batch, flags.app, flags.events, flags.profile])
    life = world.settings.cursor
    walk = world.walks.open(
        account=call.account,
        api=call.api,
        event=call.event,
        query_hash=hashlib.blake2b(text, digest_size=8).hexdigest(),
        project=project,
        days=days,
        batch=batch,
        flags=flags,
        seen=seen,
        keep=keep,
        ttl_s=life.profile_ttl_s if call.api == "profiles" else life.ttl_s,
        now_s=call.now_s,
    )
    return answer({"status": "success", "cursor": _cursor(call, walk, 1)})


def page(call: Call) -> Response:
    """Step 2: a page, the code 2 while it is not ready, or why there is none."""
    _wait(call, call.world.settings.latency_ms.page, "page")
    token = call.world.cursors.read(call.params.get("cursor", ""))
    if token is None:
        return failure(200, "Incorrect Usage", 3)
    walk = call.world.walks.find(token.walk)
    if walk is None or not _usable(call, token, walk):
        return failure(400, "Invalid cursor", "CURSOR_INVALIDATED")
    walk.used_at = call.now_s
    if call.project is None:
        return answer({"status": "success"})
    if not_ready := _not_ready(call, walk, token.page):
        return not_ready
    _reshape(call, walk, token.page)
    found = walks.serve(walk, token.page, call.now_s)
    records = effects.damaged(found.records, call)
    call.records = len(records)
    more = found.more
    if call.struck("expire_cursor"):
        walk.dead = True
    if call.wire.whole:
        with call.world.lock:
            for day, count in found.by_day:
                call.world.served[call.account, walk.event, date.fromordinal(day)] += count
    if not records and not more:
        return answer({"status": "success"})
    parts = [b'{"status":"success","records":[', b",".join(records), b"]"]
    stuck, loop = call.struck("stuck_cursor"), call.struck("loop_cursor")
    if stuck or loop or more:
        following = token.page if stuck else loop.to_page if loop else token.page + 1
        parts.append(b',"next_cursor":"%b"' % _cursor(call, walk, following).encode())
    if call.world.settings.previous_cursor and token.page > 1:
        parts.append(b',"previous_cursor":"%b"' % _cursor(call, walk, token.page - 1).encode())
    parts.append(b"}")
    return Response(200, b"".join(parts), JSON_TYPE)


def query(call: Call, project: Project, body: JSON) -> Query | Response:
    """A base query, checked in the order of rules 3, 2 and 4; or the refusal."""
    event = body.get("event_name")
    if not isinstance(event, str) or not event:
        return failure(400, "event_name is missing", 400)
    if event in call.world.settings.not_exportable and call.api in ("events", "profiles"):
        return failure(400, "Export not allowed for this event", 400)
    if project.status(event, call.now_s) != "active":
        return failure(400, orjson.dumps([f"Invalid event : {event}"]).decode(), 400)
    first, last = cql.parse_day(body.get("from")), cql.parse_day(body.get("to"))
    if first is None or last is None:
        return failure(400, "invalid date: from and to must be days such as 20260301", 4002)
    if first > last:
        return failure(400, "invalid date range: from greater than to", 4002)
    skew = call.struck("clock_skew")
    if last.toordinal() > project.local_day(call.now_s - int(skew.seconds if skew else 0)):
        return failure(400, "invalid date range: to lies in the future", 4002)
    return Query(event, range(first.toordinal(), last.toordinal() + 1))


def target(call: Call) -> None:
    """What the call is about is noted on it (step, event, page), before anything is checked."""
    if "cursor" in call.params:
        call.step = "page"
        token = call.world.cursors.read(call.params["cursor"])
        walk = None if token is None else call.world.walks.find(token.walk)
        if token is not None and walk is not None:
            call.page, call.event = token.page, walk.event
        return
    call.step = "open"
    text = call.params.get("query", "").encode() if call.request.method == "GET" else call.request.body
    try:
        call.body = orjson.loads(text)
    except orjson.JSONDecodeError:
        call.body = None
    if isinstance(call.body, dict) and isinstance(call.body.get("event_name"), str):
        call.event = call.body["event_name"]


def _usable(call: Call, token: Token, walk: walks.Walk) -> bool:
    life = call.world.settings.cursor
    return (
        token.account == call.account
        and walk.api == call.api
        and not walk.dead
        and call.now_s - walk.opened_at <= walk.ttl_s
        and (walk.api == "profiles" or call.now_s - walk.used_at <= life.idle_s)
        and (walk.project is None or 1 <= token.page <= len(walk.pages))
    )


def _not_ready(call: Call, walk: walks.Walk, page: int) -> Response | None:
    """Rule 10: some pages answer "in progress" one to three times before they come; a tenth of them as HTTP 202."""
    waits = call.world.settings.page_not_ready
    what = ("wait", walk.account, walk.query_hash, page)
    if not waits.probability or call.world.draw(*what) >= waits.probability:
        return None
    low, high = waits.times
    times = low + int(call.world.draw(*what, "times") * (high - low + 1))
    with walk.lock:
        asked = walk.waits[page] = walk.waits.get(page, 0) + 1
    if asked > times:
        return None
    if call.world.draw(*what, "202") < 0.1:
        return Response(202)
    return failure(200, "Request still in progress, please retry later", 2)


def _reshape(call: Call, walk: walks.Walk, page: int) -> None:
    """The faults that decide which rows this page and the next ones hold."""
    for rule in call.rules:
        if rule.effect == "short_page":
            walks.shorten(walk, page, rule.records)
        elif rule.effect == "duplicate_page":
            walks.repeat(walk, page)
        elif rule.effect == "lost_page":
            walks.lose(walk, page, call.now_s)


def _cursor(call: Call, walk: walks.Walk, page: int) -> str:
    with walk.lock:
        known = walk.cursors.get(page)
        if known is None:
            known = walk.cursors[page] = call.world.cursors.write(
                Token(walk.account, walk.number, walk.query_hash, page, walk.opened_at, call.now_s)
            )
        return known


def _batch_size(text: str | None, shards: int) -> int | None:
    """Rows per page: 5000 at most and when nothing is said, 1000 below one row a shard; None for nonsense."""
    if text is None:
        return LARGEST_BATCH
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        return None
    size = min(int(text), LARGEST_BATCH)
    return FALLBACK_BATCH if size < shards else size


def _flag(text: str | None) -> bool:
    return text is None or text.lower() not in ("false", "0", "no")


def _wait(call: Call, between_ms: tuple[float, float], what: str) -> None:
    low, high = between_ms
    if high > 0:
        time.sleep((low + call.world.draw(what, call.account, call.request.query) * (high - low)) / 1000)
