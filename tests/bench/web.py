"""How long people wait for the screens: a real server, headless Chromium, many pipelines and very many failed events.

    python -m tests.bench.web [pipelines] [failed events]

Each page is loaded by a browser without a cache. *First paint* is when the first text or picture stands there
(first contentful paint); *to use* is when the rows of the list stand there and the browser has no long task (50 ms and
more) left, so that clicks are answered at once. Writes docs/web.md.
"""

from __future__ import annotations

import gzip
import re
import statistics
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import sqlalchemy as sa
from playwright.sync_api import Browser, Page
from tests.bench.api import fill, served
from tests.bench.first_pipeline import Walked, walked
from tests.bench.report import machine
from tests.chromium import browser as chromium
from tests.web.newcomer import CLICK_S, FIELD_S

from millrace.control import settings
from millrace.control.database.tables import pipelines, reject_files, reject_groups
from millrace.control.home import Home
from millrace.control.people import users
from millrace.data.columns import REJECTS
from millrace.engine.stage import Stage, stage_rejects
from millrace.rest.screens import FOLDER

PIPELINES, FAILED, RUNS = 1_000, 1_000_000, 20_000
LOADS = 5
OUT = Path(__file__).parents[2] / "docs" / "web.md"
EMAIL, PASSWORD = "bench@example.com", "Correct-horse-7"
CODES = (("steps", "TRANSFORM_ERROR"), ("mapping", "TYPE_MISMATCH"))
# Of one group the rows themselves are there too: a drawer shows them.
SHOWN = 20_000
QUIET_MS = 1_000
MINUTE_MS = 60_000

# Notes when what the page waits for is drawn, and when the main thread was last kept busy.
WATCH = """
window.seen = { rows: null, busy: 0 };
new PerformanceObserver((list) => {
  for (const task of list.getEntries()) window.seen.busy = task.startTime + task.duration;
}).observe({ type: 'longtask', buffered: true });
const look = () => {
  if (document.querySelector('tbody tr a')) window.seen.rows = performance.now();
  else requestAnimationFrame(look);
};
requestAnimationFrame(look);
"""
# Scrolls through the whole list in steps of a screen's height and tells how long each frame took.
SCROLL = """async () => {
  const pane = document.querySelector('.table-scroll');
  const took = [];
  let last = await new Promise(requestAnimationFrame);
  for (let top = 0; top < pane.scrollHeight; top += pane.clientHeight) {
    pane.scrollTop = top;
    const now = await new Promise(requestAnimationFrame);
    took.push(now - last);
    last = now;
  }
  return took;
}"""


@dataclass(frozen=True)
class Loaded:
    """Milliseconds since the address was asked for."""

    paint_ms: float
    use_ms: float


def refuse(home: Home, count: int) -> None:
    """So many failed events, in groups of all pipelines; the rows of one group lie on the stage."""
    now = datetime.now(UTC)
    with home.database.transaction() as connection:
        ids = list(connection.execute(sa.select(pipelines.c.id).order_by(pipelines.c.number)).scalars())
        files = 10 * len(ids)
        each = count // (files * len(CODES))
        common = {"run_id": 1, "checksum": "0" * 64, "size_bytes": 1, "kept": False, "counted": True}
        connection.execute(
            sa.insert(reject_files),
            [
                common | {"id": n, "pipeline_id": ids[n % len(ids)], "path": f"gone/{n}", "created_at": now}
                for n in range(1, files)
            ],
        )
        connection.execute(
            sa.insert(reject_groups),
            [
                {"file_id": n, "stream": "Events", "stage": phase, "code": code, "rows": each}
                | {"sample": "could not convert string to float: 'n/a'", "state": "open", "attempts": 0}
                for n in range(1, files)
                for phase, code in CODES
            ],
        )
        with closing(Stage(home.stage_url)) as stage:
            file = stage_rejects(stage, "bench", [_rows(now)])
        own = {"id": files, "pipeline_id": ids[0], "path": file.path, "checksum": file.checksum}
        connection.execute(sa.insert(reject_files).values(common | own | {"created_at": now + timedelta(seconds=1)}))
        for (stream, phase, code), rows in file.counts.items():
            group = {"file_id": files, "stream": stream, "stage": phase, "code": code, "rows": rows}
            more = {"sample": "a value that does not fit", "state": "open", "attempts": 0}
            connection.execute(sa.insert(reject_groups).values(group | more))


def _rows(now: datetime) -> pa.RecordBatch:
    lines = [
        {
            "stream": "Orders",
            "stage": "load",
            "code": "VALUE_REFUSED",
            "message": f"a value of row {n} does not fit",
            "row": f'{{"id": {n}, "amount": "n/a"}}',
            "rejected_at": now,
        }
        for n in range(SHOWN)
    ]
    return pa.RecordBatch.from_pylist(lines, schema=REJECTS)


def entered(browser: Browser, url: str) -> Page:
    """A browser that has loaded nothing yet, in which somebody has signed in."""
    context = browser.new_context(base_url=url, viewport={"width": 1440, "height": 900})
    context.set_default_timeout(120_000)
    context.request.post("/api/millrace/v1/session", data={"email": EMAIL, "password": PASSWORD})
    page = context.new_page()
    page.add_init_script(WATCH)
    return page


def loaded(page: Page, path: str) -> Loaded:
    page.goto(path)
    page.wait_for_function("() => window.seen.rows !== null")
    page.wait_for_function(
        "(quiet) => performance.now() - Math.max(window.seen.busy, window.seen.rows) > quiet", arg=QUIET_MS
    )
    paint, rows, busy = page.evaluate(
        "() => [performance.getEntriesByName('first-contentful-paint')[0].startTime, seen.rows, seen.busy]"
    )
    return Loaded(paint, max(rows, busy))


def loads(browser: Browser, url: str, path: str) -> tuple[list[Loaded], list[Loaded]]:
    """Without a cache, each in a browser of its own; and once more in the same, where files are kept."""
    cold: list[Loaded] = []
    warm: list[Loaded] = []
    for _ in range(LOADS):
        page = entered(browser, url)
        cold.append(loaded(page, path))
        warm.append(loaded(page, path))
        page.context.close()
    return cold, warm


def paged(page: Page) -> tuple[list[float], list[float]]:
    """Milliseconds from the click for a further page to its rows, for each; then of each frame of scrolling."""
    took: list[float] = []
    while (more := page.get_by_role("button", name="Show more")).count():
        took.append(
            more.evaluate(
                """async (button) => {
                  const began = performance.now();
                  button.click();
                  const next = () => new Promise(requestAnimationFrame);
                  do await next(); while (document.querySelector('[data-loading=true]') === null
                    && performance.now() - began < 50);
                  while (document.querySelector('[data-loading=true]') !== null) await next();
                  await next();
                  return performance.now() - began;
                }"""
            )
        )
    return took, page.evaluate(SCROLL)


def opened(page: Page) -> float:
    """Milliseconds from the click on a group of failed events to its first event in the drawer."""
    page.goto("/failed-events?pipeline=app%200")
    link = page.get_by_role("row", name="Orders").get_by_role("link")
    link.wait_for()
    return link.evaluate(
        """async (link) => {
          const began = performance.now();
          link.click();
          while (!document.querySelector('[role=dialog] button.choice')) await new Promise(requestAnimationFrame);
          return performance.now() - began;
        }"""
    )


def asked_in_a_minute(page: Page, path: str) -> list[str]:
    """What an open list asks of the server in the minute after it was drawn."""
    page.goto(path)
    page.wait_for_function("() => window.seen.rows !== null")
    page.wait_for_timeout(QUIET_MS)
    asked: list[str] = []
    page.on("request", lambda one: asked.append(one.url.partition("/api/")[2]) if "/api/" in one.url else None)
    page.wait_for_timeout(MINUTE_MS)
    return asked


def weights() -> list[tuple[str, int]]:
    """The built scripts and styles with their bytes as browsers take them, gzipped, the heaviest first."""
    files = [file for file in (FOLDER / "assets").iterdir() if file.suffix in (".js", ".css")]
    sizes = [(re.sub(r"-[\w-]{8}(?=\.\w+$)", "", file.name), len(gzip.compress(file.read_bytes()))) for file in files]
    return sorted(sizes, key=lambda one: -one[1])


def _middle(values: Sequence[float]) -> str:
    return f"{statistics.median(values):.0f} ({min(values):.0f} to {max(values):.0f})"


def _way(name: str, one: Walked) -> str:
    seconds = " | ".join(f"{part:.0f}" for part in (one.loaded_s, one.seconds, one.worked_s))
    return f"| {name} | {seconds} | {one.clicks} | {one.fields} | {one.person_s:.0f} |"


def report(count: int, failed: int, browser: Browser, url: str, ways: Mapping[str, Walked]) -> str:
    lists = {f"Pipelines, {count:,}": "/pipelines", f"Failed events, {failed:,}": "/failed-events"}
    lines = ["| Screen | | First paint, ms | To use, ms |", "|---|---|---|---|"]
    for name, path in lists.items():
        for kept, measured in zip(("nothing kept", "files kept"), loads(browser, url, path), strict=True):
            paint, use = [one.paint_ms for one in measured], [one.use_ms for one in measured]
            lines.append(f"| {name} | {kept} | {_middle(paint)} | {_middle(use)} |")
    page = entered(browser, url)
    loaded(page, "/pipelines")
    more, frames = paged(page)
    frames = sorted(frames)
    drawer = [opened(page) for _ in range(LOADS)]
    quiet = {name: len(asked_in_a_minute(page, path)) for name, path in lists.items()}
    sizes = weights()
    page.context.close()
    return f"""# How fast the screens are

Written by `make bench-web`: a real server over SQLite with {count:,} pipelines, {RUNS:,} runs and {failed:,} failed
events, and headless Chromium at 1440 × 900 on the same machine, so that both share its cores. {machine()}.

## To the first pipeline

From the link of a new server to rows in a table, and until further rows went through a transformation in Python that
was tried and deployed. A script goes that way, so the seconds are what the machine takes: its processors worked for a
part of them, server and browser together; in the rest they did other things, or there was nothing to do. A person takes
{CLICK_S} s more for each click and {FIELD_S} s for each field.

| | First rows, s | Transformed rows, s | Processors worked, s | Clicks | Fields | With a person, s |
|---|---|---|---|---|---|---|
{chr(10).join(_way(name, one) for name, one in ways.items())}

## Until a list can be used

The middle of {LOADS} loads, the shortest and the longest in brackets. *First paint*: the first text or picture. *To
use*: the rows stand there and the browser has no long task left.

{chr(10).join(lines)}

## In a list

| | ms |
|---|---|
| 100 more pipelines, from the click to their rows | {_middle(more)} |
| a frame while the list of all of them scrolls, half of the frames | {statistics.median(frames):.0f} |
| the same, 95 of 100 frames | {frames[int(len(frames) * 0.95)]:.0f} |
| the drawer of {SHOWN:,} failed events, from the click to the first of them | {_middle(drawer)} |

Lists come from the database page by page, and only rows in sight are drawn.

## What an open list asks

Requests in a minute beside the one stream of changes: {", ".join(f"{name} {n}" for name, n in quiet.items())}.

## What is loaded

Script and style, gzipped: {sum(size for _, size in sizes) / 1000:.0f} kB in {len(sizes)} files, of which the first
screen takes some 300 kB; the build fails when it takes 400 kB with its type. The heaviest files:
{", ".join(f"`{name}` {size / 1000:.0f} kB" for name, size in sizes[:5])}. Charts, editors and the canvas are loaded by
the screens that show them.
"""


def main(count: int, failed: int) -> None:
    ways = {"Simulated data": walked(wizard=False), "A project, by the wizard": walked(wizard=True)}
    with tempfile.TemporaryDirectory() as folder, Home.open(Path(folder) / "home", create=True, env={}) as home:
        fill(home, count, RUNS)
        refuse(home, failed)
        settings.change(home, password_memory_mib=8, password_passes=1)
        users.create(home, EMAIL, ("TEAM_ADMIN",), password=PASSWORD)
        with served(home) as url, chromium() as browser:
            text = report(count, failed, browser, url, ways)
    OUT.write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    sizes = [int(word.replace("_", "").replace(",", "")) for word in sys.argv[1:3]]
    main(*(sizes + [PIPELINES, FAILED][len(sizes) :]))
