"""Counts, top values and trends, which may take a few polls to finish; and who is active just now."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import date

import orjson

from millrace.simulators.clevertap import cql
from millrace.simulators.clevertap.events import Query, query
from millrace.simulators.clevertap.jsontext import JSON
from millrace.simulators.clevertap.store import Flags, Project, Snapshot
from millrace.simulators.clevertap.world import Call, answer, failure
from millrace.simulators.server import Response

PROPERTY_TYPES = (
    "event_properties",
    "session_properties",
    "profile_fields",
    "app_fields",
    "demographics",
    "technographics",
    "reachability",
    "geo_fields",
)
TRENDS = ("daily", "weekly", "monthly")
BUCKET = 100


def asynchronous(call: Call) -> Response:
    """The final answer, or `partial` with a `req_id` to poll with."""
    world = call.world
    if "req_id" in call.params:
        text = call.params["req_id"]
        with world.lock:
            waiting = world.pending.get(int(text)) if text.isascii() and text.isdigit() else None
            if waiting is None or waiting[:2] != (call.account, call.api):
                return failure(400, "Invalid request id", 400)
            _, _, body, polls = waiting
            world.pending[int(text)] = (call.account, call.api, body, polls - 1)
        if polls > 0:
            return answer({"status": "partial", "req_id": int(text)})
        return _final(call, body)
    if not isinstance(call.body, dict):
        return failure(400, "Malformed request: a JSON object with event_name, from and to is needed", 400)
    waits = world.settings.partial
    what = ("partial", call.account, call.api, orjson.dumps(call.body))
    if call.project is None or not waits.probability or world.draw(*what) >= waits.probability:
        return _final(call, call.body)
    checked = query(call, call.project, call.body)
    if isinstance(checked, Response):
        return checked
    low, high = waits.times
    polls = low + int(world.draw(*what, "times") * (high - low + 1)) - 1
    with world.lock:
        number = 384649162721759 + 7 * len(world.pending)
        world.pending[number] = (call.account, call.api, call.body, polls)
    return answer({"status": "partial", "req_id": number})


def now(call: Call) -> Response:
    """`/1/now.json`: people with an event in the last five minutes."""
    project = call.project
    asked: Mapping[str, JSON] = call.body if isinstance(call.body, dict) else {}
    seen, people, platforms = Snapshot(call.now_s, 0), set[int | str](), Counter[str]()
    if project is not None:
        seen = project.snapshot(call.now_s)
        today = project.local_day(call.now_s)
        for _, _, rows, i in project.rows(range(today - 1, today + 1), seen):
            if call.now_s - 300 <= rows.at[i] <= call.now_s and project.person(rows.device[i]) not in people:
                people.add(project.person(rows.device[i]))
                profile = project.profile(rows.device[i], call.now_s, Flags())
                platforms[str(profile.get("platform", "Web"))] += 1
    found: dict[str, JSON] = {"status": "success", "count": len(people), "last_processed_ts": call.now_s}
    if asked.get("user_type"):
        found["user_type"] = {"new": len(people) // 4, "returning": len(people) - len(people) // 4}
    if asked.get("os"):
        found["os"] = dict(sorted(platforms.items()))
    if asked.get("device"):
        found["device"] = {"mobile": sum(n for p, n in platforms.items() if p != "Web"), "desktop": platforms["Web"]}
    return answer(found)


def _final(call: Call, body: Mapping[str, JSON]) -> Response:
    project = call.project
    if project is None:
        return answer({"status": "success", "count": 0})
    checked = query(call, project, body)
    if isinstance(checked, Response):
        return checked
    seen = project.snapshot(call.now_s)
    try:
        keep = cql.compiled(project, body, seen)
    except cql.BadQuery as exc:
        return failure(400, str(exc), 400)
    call.notes += keep.notes
    rows = _genuine(project, checked, seen, keep)
    if call.api == "counts_events":
        return answer({"status": "success", "count": sum(1 for _ in rows)})
    if call.api == "counts_profiles":
        found = [device for _, device, _, _ in rows]
        people, devices = {project.person(d) for d in found}, set(found)
        return answer(
            {
                "status": "success",
                "count": len(people),
                "tcount": len(found),
                "userDeviceCount": {"devices": len(devices), "users": len(people)},
            }
        )
    groups = body.get("groups")
    if not isinstance(groups, dict) or not groups or not all(isinstance(g, dict) for g in groups.values()):
        return failure(400, "Invalid group", 400)
    return _top(call, project, groups, list(rows)) if call.api == "counts_top" else _trends(body, groups, project, rows)


def _genuine(
    project: Project, asked: Query, seen: Snapshot, narrowed: cql.Filter
) -> Iterator[tuple[int, int, bytes, int]]:
    """(day, device, tail, at) of every event of the query; API duplicates are not events."""
    for _, day, rows, i in project.rows(asked.days, seen, event=asked.event):
        if rows.copy[i]:
            continue
        if narrowed.keep is None or narrowed.keep(rows.device[i], rows.tail[i], rows.at[i]):
            yield day, rows.device[i], rows.tail[i], rows.at[i]


def _top(call: Call, project: Project, groups: Mapping[str, JSON], rows: list[tuple[int, int, bytes, int]]) -> Response:
    found: dict[str, JSON] = {"status": "success"}
    for label, group in groups.items():
        kind, name, most = group.get("property_type"), group.get("name"), group.get("top_n", 10)
        if kind not in PROPERTY_TYPES or not isinstance(name, str) or not isinstance(most, int) or not 1 <= most <= 100:
            return failure(400, "Invalid group", 400)
        texts, numbers = Counter[str](), Counter[int]()
        for _, device, tail, _ in rows:
            value = _property(call, project, kind, name, device, tail)
            if isinstance(value, int | float) and not isinstance(value, bool):
                numbers[int(value // BUCKET)] += 1
            elif isinstance(value, list):
                texts.update(map(str, value))
            elif value is not None:
                texts[str(value)] += 1
        falling = group.get("order", "desc") != "asc"
        ranked = sorted(texts.items(), key=lambda pair: (-pair[1] if falling else pair[1], pair[0]))[:most]
        shown: dict[str, JSON] = {}
        if numbers:
            shown["NUMBER"] = {f"{b * BUCKET}-{b * BUCKET + BUCKET}": n for b, n in sorted(numbers.items())[:most]}
        if ranked:
            shown["STR"] = dict(ranked)
        found[label] = shown
    return answer(found)


def _property(call: Call, project: Project, kind: str, name: str, device: int, tail: bytes) -> JSON:
    if kind in ("event_properties", "session_properties"):
        record = orjson.loads(b'{"":0' + tail)
        return (record.get("event_props" if kind == "event_properties" else "session_props") or {}).get(name)
    profile = project.profile(device, call.now_s, Flags())
    return profile.get("profileData", {}).get(name, profile.get(name))


def _trends(
    body: Mapping[str, JSON],
    groups: Mapping[str, JSON],
    project: Project,
    rows: Iterator[tuple[int, int, bytes, int]],
) -> Response:
    kinds = {label: group.get("trend_type") for label, group in groups.items()}
    if len(kinds) > 5 or any(kind not in TRENDS for kind in kinds.values()):
        return failure(400, "Invalid group", 400)
    unique, summed = bool(body.get("unique")), body.get("sum_event_prop")
    totals: dict[str, dict[str, float]] = {label: {} for label in kinds}
    met: set[tuple[str, str, int | str]] = set()
    for day, device, tail, _ in rows:
        amount = orjson.loads(b'{"":0' + tail)["event_props"].get(summed, 0) if isinstance(summed, str) else 1
        for label, kind in kinds.items():
            period = _period(kind, date.fromordinal(day))
            if unique:
                who = (label, period, project.person(device))
                if who in met:
                    continue
                met.add(who)
            totals[label][period] = totals[label].get(period, 0) + (amount if isinstance(amount, int | float) else 0)
    return answer({"status": "success"} | {label: dict(sorted(t.items())) for label, t in totals.items()})


def _period(kind: str, day: date) -> str:
    if kind == "daily":
        return day.strftime("%Y%m%d")
    if kind == "monthly":
        return day.strftime("%Y%m")
    year, week, _ = day.isocalendar()
    return f"{year}{week:02d}"
