"""Campaigns and their reports, invented from the seed: one a day by API, one a week from the dashboard."""

from __future__ import annotations

import time
from datetime import date

from millrace.simulators.clevertap.cql import parse_day
from millrace.simulators.clevertap.jsontext import JSON
from millrace.simulators.clevertap.store import Project
from millrace.simulators.clevertap.world import Call, answer, failure
from millrace.simulators.server import Response

FIRST_ID = 1773470000
CHANNELS = ("push", "email", "sms", "inapp", "whatsapp")
FILTERS = ("channel", "delivery", "status", "message_type")
# Days in which people go on opening and clicking.
GROWING_DAYS = 3


def listed(call: Call) -> Response:
    """`/1/targets/list.json`: campaigns made through the API, by scheduled day."""
    days = _days(call)
    if isinstance(days, Response):
        return days
    project = call.project
    targets: list[JSON] = []
    if project is None or not len(project.people):
        return answer({"status": "success", "targets": targets})
    for day in days:
        if day < project.first_day:
            continue
        scheduled = int(date.fromordinal(day).strftime("%Y%m%d")) * 10000 + 1000
        targets.append(
            {
                "id": _id(project, day),
                "name": f"Push of {date.fromordinal(day).isoformat()}",
                "scheduled_on": scheduled,
                "status": "scheduled" if day > project.local_day(call.now_s) else "completed",
            }
        )
    return answer({"status": "success", "targets": targets})


def result(call: Call) -> Response:
    """`/1/targets/result.json`. Unfinished ones say so in one of three ways, by their number: 409, 500, or 200."""
    project = call.project
    number = call.body.get("id") if isinstance(call.body, dict) else None
    if project is None or not isinstance(number, int) or number < FIRST_ID:
        return failure(400, "Invalid target id", 400)
    day = project.first_day + number - FIRST_ID
    if day >= project.local_day(call.now_s):
        if number % 3 == 0:
            return failure(409, "Campaign is still running", 409)
        if number % 3 == 1:
            return failure(500, "This target has no result as of yet", 500)
        return answer({"status": "success", "error": "This target hasn't been completed", "code": 200})
    sent = 40 + int(call.world.draw("sent", call.account, number) * project.account.users)
    clicked = int(_grown(call, project, day, sent) * call.world.draw("clicked", call.account, number) / 3)
    return answer({"status": "success", "result": {"sent": sent, "clicked": clicked, "failed": sent // 20}})


def report(call: Call) -> Response:
    """`/1/message/report.json`: dashboard campaigns by start day; it takes longer the longer the range is. Numbers grow
    for some days."""
    days = _days(call)
    if isinstance(days, Response):
        return days
    time.sleep(call.world.settings.latency_ms.report_ms_per_day * len(days) / 1000)
    project = call.project
    messages: list[JSON] = []
    if project is None or not len(project.people):
        return answer({"status": "success", "total_results": 0, "messages": messages})
    for day in days:
        if day % 7 or not project.first_day <= day <= project.local_day(call.now_s):
            continue
        channel = CHANNELS[day // 7 % len(CHANNELS)]
        about = {"channel": channel, "delivery": "one_time", "status": "completed", "message_type": "single"}
        if any(isinstance(call.body.get(f), list) and about[f] not in call.body[f] for f in FILTERS):
            continue
        sent = 100 + int(call.world.draw("report", call.account, day) * project.account.users)
        messages.append(
            {
                "message id": _id(project, day),
                "message_name": f"Week of {date.fromordinal(day).isoformat()}",
                **about,
                "start_date": date.fromordinal(day).strftime("%Y%m%d"),
                "sent": sent,
                "viewed": _grown(call, project, day, sent) // 2,
                "clicked": _grown(call, project, day, sent) // 9,
            }
        )
    return answer({"status": "success", "total_results": len(messages), "messages": messages})


def _days(call: Call) -> range | Response:
    body = call.body if isinstance(call.body, dict) else {}
    first, last = parse_day(body.get("from")), parse_day(body.get("to"))
    if first is None or last is None or first > last:
        return failure(400, "invalid date range", 4002)
    return range(first.toordinal(), last.toordinal() + 1)


def _grown(call: Call, project: Project, day: int, sent: int) -> int:
    """How many of those to whom a campaign of that day was sent have looked at it by now."""
    return sent * min(1 + project.local_day(call.now_s) - day, GROWING_DAYS) // GROWING_DAYS


def _id(project: Project, day: int) -> int:
    return FIRST_ID + day - project.first_day
