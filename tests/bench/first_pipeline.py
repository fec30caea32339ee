"""From the link of a new server to rows that went through a transformation: seconds of the machine, and clicks.

A script goes the way of a newcomer who tries simulated data. It neither reads nor thinks, but waits for what a person
would wait for: the first job, the trial, and the job that follows.
"""

from __future__ import annotations

import resource
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from playwright.sync_api import Page, expect
from tests.chromium import browser as chromium
from tests.control.people import PASSWORD
from tests.web.people import write
from tests.web.screenshots import PIPELINE, serving

PATIENCE_MS = 300_000
SCRIPT = """\
def transform(event):
    p = event.getProperties()
    p["customer"] = (p.get("identity") or "").upper()
    return event
"""


@dataclass(frozen=True)
class Walked:
    """``clicks`` of a pointer; ``fields`` that were typed; seconds until the first rows, and until the end.

    ``worked_s``: seconds of processors, of the server with all of its processes and of the browser.
    """

    clicks: int
    fields: int
    loaded_s: float
    seconds: float
    worked_s: float


class Newcomer:
    """Does what a person does, and counts it."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.clicks = self.fields = 0

    def press(self, name: str, *, within: str = "body") -> None:
        self.page.locator(within).get_by_role("button", name=name, exact=True).first.click()
        self.clicks += 1

    def follow(self, name: str) -> None:
        self.page.get_by_role("link", name=name, exact=True).last.click()
        self.clicks += 1

    def type(self, label: str, text: str) -> None:
        self.page.get_by_label(label).first.fill(text)
        self.fields += 1

    def code(self, label: str, text: str) -> None:
        write(self.page, label, text)
        self.fields += 1


def walked() -> Walked:
    """The way once, in a browser and at a server of its own, with the simulated shop that every new home gets."""
    before = _worked_s()
    with (
        chromium() as browser,
        tempfile.TemporaryDirectory() as folder,
        serving(Path(folder) / "home") as link,
    ):
        page = browser.new_page(viewport={"width": 1440, "height": 900})
        page.set_default_timeout(PATIENCE_MS)
        one, began = Newcomer(page), time.perf_counter()
        page.goto(link)
        one.type("E-mail address", "ada@example.com")
        one.type("Password", PASSWORD)
        one.press("Create account")
        one.press("Try it")
        page.wait_for_url(f"**{PIPELINE}")
        page.get_by_text("Completed", exact=True).first.wait_for()
        loaded_s = time.perf_counter() - began

        one.follow("Transformations")
        one.code("Script", SCRIPT)
        one.press("Test")
        page.get_by_role("region", name="Sample and result").get_by_role("row", name="customer").wait_for()
        one.press("Deploy")
        one.press("Deploy", within="[role=dialog]")
        page.get_by_text("Version 1 is deployed,").first.wait_for()
        one.press("Run now")
        expect(page.get_by_role("dialog").get_by_text("Completed", exact=True).first).to_be_visible(timeout=PATIENCE_MS)
        seconds = time.perf_counter() - began
        page.close()
    return Walked(one.clicks, one.fields, loaded_s, seconds, _worked_s() - before)


def _worked_s() -> float:
    """Of processes that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
