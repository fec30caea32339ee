"""The simulator's own endpoints under `/_sim/`, and the page at `/`. No credentials needed."""

from __future__ import annotations

import dataclasses
import hashlib
import hmac
from collections import Counter
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime
from pathlib import Path

import orjson

from millrace.errors import ConfigError
from millrace.simulators.clevertap import additions, exports, page, schema
from millrace.simulators.clevertap.jsontext import JSON
from millrace.simulators.clevertap.store import Project
from millrace.simulators.clevertap.world import World
from millrace.simulators.clevertap.world import answer as json_answer
from millrace.simulators.server import Request, Response

CSV = {"Content-Type": "text/csv;charset=utf-8"}
LINES = {"Content-Type": "application/x-ndjson;charset=utf-8"}
HTML = {"Content-Type": "text/html;charset=utf-8"}

Function = Callable[[World, Request], Response]


def answer(world: World, request: Request) -> Response:
    """The answer of a control endpoint; 400 with what is wrong and how to mend it, 404 with the list of paths."""
    if request.path == "/":
        return Response(200, page.html(world).encode(), HTML)
    routes = ROUTES if world.settings.control else ALWAYS
    function = routes.get((request.method, request.path))
    if function is None:
        paths = sorted(f"{method} {path}" for method, path in routes)
        return json_answer({"error": "no such control endpoint", "endpoints": paths}, 404)
    try:
        return function(world, request)
    except ConfigError as exc:
        return json_answer({"error": exc.message, "hint": exc.hint, "path": exc.path}, 400)


def _set_faults(world: World, request: Request) -> Response:
    rules = _body(request)
    if not isinstance(rules, list):
        raise ConfigError("a list of fault rules is needed", hint='For example [{"effect": "too_many", "times": 3}].')
    world.faults.set(rules)
    return _faults(world, request)


def _faults(world: World, _: Request) -> Response:
    rules = world.faults.rules()
    shown = [rule.model_dump(exclude_defaults=True) | {"fired": fired} for rule, fired in rules]
    return json_answer({"faults": shown, "effects": world.faults.effects})


def _journal(world: World, request: Request) -> Response:
    entries = world.journal.entries()
    limit = request.params().get("last")
    if limit is not None and limit.isascii() and limit.isdigit():
        entries = entries[len(entries) - min(int(limit), len(entries)) :]
    return json_answer([dataclasses.asdict(entry) for entry in entries])


def _reset(world: World, _: Request) -> Response:
    world.reset()
    return json_answer({"status": "reset", "now": world.clock.now().isoformat()})


def _clock(world: World, _: Request) -> Response:
    return json_answer({"now": world.clock.now().isoformat(), "run": world.clock.run})


def _set_clock(world: World, request: Request) -> Response:
    body = _body(request)
    if not isinstance(body, dict) or len(body) != 1 or not {"advance_s", "now"} & set(body):
        raise ConfigError("either advance_s or now is needed", hint='For example {"advance_s": 3600}.')
    try:
        if "now" in body:
            moment = datetime.fromisoformat(body["now"])
            world.clock.set(moment if moment.tzinfo else moment.replace(tzinfo=UTC))
        else:
            world.clock.advance(float(body["advance_s"]))
    except (TypeError, ValueError) as exc:
        raise ConfigError(f"the clock cannot be set: {exc}", hint="advance_s is seconds, now an ISO time.") from exc
    return _clock(world, request)


def _ledger(world: World, request: Request) -> Response:
    """Counts per event and day, or with `rows=1` the rows themselves as JSON lines."""
    params = request.params()
    project = _project(world, params)
    days = _span(world, project, params)
    seen, event = project.snapshot(world.clock.epoch_s()), params.get("event")
    names = servable(world, project)
    if params.get("rows") == "1":
        rows = (r for r in project.ledger(days, seen, event=event) if event or r.event_name in names)
        return Response(200, b"".join(orjson.dumps(dataclasses.asdict(row)) + b"\n" for row in rows), LINES)
    counts = Counter((name, day) for name, day, _, _ in project.rows(days, seen, event=event) if event or name in names)
    found = [{"event": n, "day": date.fromordinal(d).isoformat(), "count": c} for (n, d), c in sorted(counts.items())]
    return json_answer(found)


def servable(world: World, project: Project) -> set[str]:
    """Names whose rows the events API serves now."""
    types = project.event_types(world.clock.epoch_s())
    return {event.name for event, status in types if status == "active"} - set(world.settings.not_exportable)


def _served(world: World, _: Request) -> Response:
    with world.lock:
        found = sorted(world.served.items())
    return json_answer([{"account": a, "event": e, "day": day.isoformat(), "count": n} for (a, e, day), n in found])


def _events_csv(world: World, request: Request) -> Response:
    params = request.params()
    project = _project(world, params)
    make = schema.events_csv
    if params.get("variant", "events") == "events_with_properties":
        make = schema.events_with_properties_csv
    return Response(200, make(project, world.clock.epoch_s()).encode(), CSV)


def _add(world: World, request: Request) -> Response:
    body = _body(request)
    if not isinstance(body, dict) or not isinstance(body.get("events"), list):
        raise ConfigError("account and events are needed", hint='{"account": "...", "events": [{...}]}')
    project = _project(world, body)
    additions.add(project, body["events"], now_s=world.clock.epoch_s())
    return json_answer({"added": len(body["events"])})


def _export(world: World, request: Request) -> Response:
    body = _body(request)
    if not isinstance(body, dict) or not isinstance(body.get("folder"), str):
        raise ConfigError("account and folder are needed", hint='{"account": "...", "folder": "/path"}')
    project = _project(world, body)
    days = _span(world, project, {k: str(v) for k, v in body.items()})
    events = body.get("events")
    written = exports.write(
        project,
        Path(body["folder"]),
        days=days,
        now_s=world.clock.epoch_s(),
        events=None if events is None else [str(name) for name in events],
        kind="profiles" if body.get("type") == "profiles" else "events",
    )
    return json_answer({"files": [path.name for path in written]})


def _webhook(world: World, request: Request) -> Response:
    body = _body(request)
    if not isinstance(body, dict) or not str(body.get("url", "")).startswith(("http://", "https://")):
        raise ConfigError("account and an http(s) url are needed", hint='{"account": "...", "url": "http://..."}')
    project = _project(world, body)
    count = body.get("count", 1)
    if not isinstance(count, int) or not 1 <= count <= 1000:
        raise ConfigError("count must be between 1 and 1000")
    key_values = body.get("key_values") or {}
    if not isinstance(key_values, dict):
        raise ConfigError("key_values must be an object")
    payload = exports.webhook_payload(
        project, count=count, single=body.get("form") == "single", key_values=key_values, now_s=world.clock.epoch_s()
    )
    return json_answer(exports.fire(body["url"], payload))


def proof(account: str, passcode: str, nonce: str) -> str:
    """What only a program can say that knows the passcode of the account, which is not told by it."""
    return hmac.new(passcode.encode(), f"millrace simulator\n{account}\n{nonce}".encode(), hashlib.sha256).hexdigest()


def _proof(world: World, request: Request) -> Response:
    params = request.params()
    account, nonce = _project(world, params).account, params.get("nonce", "")
    return json_answer({"account": account.id, "proof": proof(account.id, account.passcode, nonce)})


def _project(world: World, params: Mapping[str, JSON]) -> Project:
    name = params.get("account", next(iter(world.projects), ""))
    project = world.projects.get(name)
    if project is None:
        raise ConfigError(f"no account {name!r}", hint=f"Accounts: {', '.join(world.projects)}.", path="account")
    return project


def _span(world: World, project: Project, params: Mapping[str, str]) -> range:
    """The local days from `from` to `to` (ISO or YYYYMMDD, both included); all days without them."""
    everything = project.days(world.clock.epoch_s())
    try:
        first = date.fromisoformat(params["from"]).toordinal() if params.get("from") else everything.start
        last = date.fromisoformat(params["to"]).toordinal() + 1 if params.get("to") else everything.stop
    except ValueError as exc:
        raise ConfigError(f"from and to must be dates: {exc}", hint="Write 2026-03-01 or 20260301.") from exc
    return range(first, last)


def _body(request: Request) -> JSON:
    try:
        return orjson.loads(request.body)
    except orjson.JSONDecodeError as exc:
        raise ConfigError(f"the body is not JSON: {exc}") from exc


ALWAYS: Mapping[tuple[str, str], Function] = {("GET", "/_sim/proof"): _proof}
ROUTES: Mapping[tuple[str, str], Function] = {
    **ALWAYS,
    ("GET", "/_sim/faults"): _faults,
    ("PUT", "/_sim/faults"): _set_faults,
    ("GET", "/_sim/journal"): _journal,
    ("POST", "/_sim/reset"): _reset,
    ("GET", "/_sim/clock"): _clock,
    ("POST", "/_sim/clock"): _set_clock,
    ("GET", "/_sim/ledger"): _ledger,
    ("GET", "/_sim/served"): _served,
    ("GET", "/_sim/events.csv"): _events_csv,
    ("POST", "/_sim/events"): _add,
    ("POST", "/_sim/export"): _export,
    ("POST", "/_sim/webhook"): _webhook,
}
