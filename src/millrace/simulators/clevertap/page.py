"""The page at `/`: accounts, events per day, requests in flight, faults in force."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import date
from html import escape

from millrace.simulators.clevertap.schema import COUNTED_USER_DAYS
from millrace.simulators.clevertap.store import Project
from millrace.simulators.clevertap.world import World

SHOWN_DAYS = 7
STYLE = """
body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:70rem;padding:0 1rem;color:#1a2733}
table{border-collapse:collapse;margin:.5rem 0 1.5rem}
td,th{padding:.15rem .7rem;border-bottom:1px solid #dde3e8;text-align:left}
td.n,th.n{text-align:right;font-variant-numeric:tabular-nums}
code{background:#f1f4f6;padding:.1rem .3rem;border-radius:3px}"""


def html(world: World) -> str:
    """The whole page. It reloads itself every five seconds."""
    parts = [
        "<!DOCTYPE html><html lang=en><head><meta charset=utf-8><meta http-equiv=refresh content=5>",
        f"<title>CleverTap simulator</title><style>{STYLE}</style></head><body><h1>CleverTap simulator</h1>",
        f"<p>Its clock says <b>{world.clock.now():%Y-%m-%d %H:%M:%S} UTC</b> ({world.clock.run}). ",
        f"Requests so far: <b>{len(world.journal.entries())}</b>.</p>",
    ]
    for project in world.projects.values():
        parts += _account(world, project)
    parts.append("<h2>In flight</h2>")
    with world.lock:
        busy = [(a, api, n) for (a, api), n in sorted(world.in_flight.items()) if n]
    parts.append(_table(("Account", "API", "Requests"), busy) if busy else "<p>Nothing just now.</p>")
    parts.append("<h2>Faults</h2>")
    rules = [
        (rule.effect, ", ".join(f"{k}={v}" for k, v in rule.model_dump(exclude_defaults=True).items()), fired)
        for rule, fired in world.faults.rules()
    ]
    parts.append(
        _table(("Effect", "Rule", "Fired"), rules) if rules else "<p>None: everything is served faithfully.</p>"
    )
    return "".join(parts) + "</body></html>"


def _account(world: World, project: Project) -> list[str]:
    account, now_s = project.account, world.clock.epoch_s()
    today = project.local_day(now_s)
    days = range(today - SHOWN_DAYS + 1, today + 1)
    parts = [
        f"<h2>{escape(account.id)}</h2><p>Region <code>{account.region}</code>, time zone {escape(account.timezone)}, ",
        f"{account.users} users on {len(project.people)} devices. ",
        f'<a href="/_sim/events.csv?account={escape(account.id)}">Events file</a></p>',
    ]
    if account.users * SHOWN_DAYS > COUNTED_USER_DAYS:
        return [*parts, "<p>Too large to count on a page; ask <code>/_sim/ledger</code>.</p>"]
    counts = Counter((name, day) for name, day, _, _ in project.rows(days, project.snapshot(now_s)))
    names = sorted({name for name, _ in counts})
    head = ("Event", *(date.fromordinal(day).strftime("%d %b") for day in days))
    return [*parts, _table(head, [(name, *(counts[name, day] for day in days)) for name in names])]


def _table(head: tuple[str, ...], rows: Sequence[tuple[object, ...]]) -> str:
    def cell(value: object, tag: str) -> str:
        kind = " class=n" if isinstance(value, int) else ""
        return f"<{tag}{kind}>{escape(str(value))}</{tag}>"

    lines = ["<tr>" + "".join(cell(h, "th") for h in head) + "</tr>"]
    lines += ["<tr>" + "".join(cell(v, "td") for v in row) + "</tr>" for row in rows]
    return "<table>" + "".join(lines) + "</table>"
