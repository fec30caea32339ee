"""What a project's schema page says: as the schema API tells it, and as the CSV file that users download."""

from __future__ import annotations

from datetime import date

from millrace.simulators.clevertap.catalog import LAST
from millrace.simulators.clevertap.store import Project
from millrace.simulators.clevertap.world import Call, answer, failure
from millrace.simulators.server import Response

USER_PROPERTIES = (
    ("plan", "String"),
    ("loyalty_points", "Integer"),
    ("renews_on", "Date"),
    ("tags", "List"),
    ("Score", "Mixed"),
    ("legacy_id", "Integer"),
    ("opted_in", "Boolean"),
)
# Beyond so many user-days the monthly numbers are scaled up from one shard, so that the page opens at once.
COUNTED_USER_DAYS = 50_000


def catalogue(call: Call) -> Response:
    """`/getSchema?type=events` or `userProperties`. Discarded events are listed; counts are rough, as in reality."""
    kind = call.params.get("type", "events")
    project = call.project
    if kind == "userProperties":
        known = USER_PROPERTIES if project is not None and len(project.people) else ()
        return answer({"status": "success", "userProperties": [{"name": n, "dataType": t} for n, t in known]})
    if kind != "events":
        return failure(400, "type must be events or userProperties", 400)
    if project is None:
        return answer({"status": "success", "events": []})
    now, _ = monthly(project, call.now_s)
    return answer(
        {
            "status": "success",
            "events": [
                {
                    "name": event.name,
                    "type": "system" if event.system else "custom",
                    "status": status.capitalize(),
                    "eventCount": now.get(event.name, 0),
                    "properties": [{"name": p.name, "dataType": p.type} for p in event.properties],
                }
                for event, status in project.event_types(call.now_s)
            ],
        }
    )


def events_csv(project: Project, now_s: int) -> str:
    """The file behind *Download as CSV* > *Events*: one row a name, LF line ends, no BOM."""
    this, last = monthly(project, now_s)
    lines = ["Event name,Type,Status,DRP,This month,Last month,Properties"]
    for event, status in project.event_types(now_s):
        kind = "Undefined" if event.name == "tutorial complete" or event.until_day < LAST else "Defined"
        numbers = (this.get(event.name, 0), last.get(event.name, 0), len(event.properties))
        if status == "discarded":
            numbers = (0, 0, len(event.properties))
        cells = (event.name, kind, status.capitalize(), event.retention, *map(str, numbers))
        lines.append(",".join(map(_cell, cells)))
    return "\n".join(lines) + "\n"


def events_with_properties_csv(project: Project, now_s: int) -> str:
    """The other variant, *Events with properties*: the event name again on one row per property."""
    lines = ["Event name,Property name,Type,Status,Required,Data type,Data type fallback,Created on,Description"]
    created = date.fromordinal(project.first_day).isoformat()
    for event, status in project.event_types(now_s):
        properties = [(p.name, p.type) for p in event.properties] or [("", "")]
        for name, kind in properties:
            cells = (event.name, name, "Defined", status.capitalize(), "No", kind, "", created, "")
            lines.append(",".join(map(_cell, cells)))
    return "\n".join(lines) + "\n"


def monthly(project: Project, now_s: int) -> tuple[dict[str, int], dict[str, int]]:
    """Events of this and of the last calendar month by name, as of now."""
    today = date.fromordinal(project.local_day(now_s))
    first = today.replace(day=1)
    before = date.fromordinal(first.toordinal() - 1).replace(day=1)
    small = project.account.users * max(project.account.days, 1) <= COUNTED_USER_DAYS
    shards = None if small else (0,)
    seen = project.snapshot(now_s)
    found: list[dict[str, int]] = []
    for start, end in ((first, today.toordinal() + 1), (before, first.toordinal())):
        counts: dict[str, int] = {}
        for name, _, _, _ in project.rows(range(start.toordinal(), end), seen, shards=shards):
            counts[name] = counts.get(name, 0) + (1 if small else project.shards)
        found.append(counts)
    return found[0], found[1]


def _cell(text: str) -> str:
    return '"' + text.replace('"', '""') + '"' if any(c in text for c in ',"\n\r') else text
