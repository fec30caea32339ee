"""Pictures of the main screens, as a person sees them: a real server, simulated data, light and dark, wide and narrow.

`make screenshots` writes those of docs/screenshots. On the way every screen is looked at by rules: nothing may break
the policy of the pages, nothing may fail in the browser, and axe may find nothing serious.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote

from playwright.sync_api import Browser, BrowserContext, Error, Page, ViewportSize
from tests.chromium import browser as chromium
from tests.control.people import PASSWORD, cheap

from millrace.control import jobs, simulation, transformations
from millrace.control.home import Home

ROOT = Path(__file__).parents[2]
OUT = ROOT / "docs" / "screenshots"
AXE = ROOT / "web" / "node_modules" / "axe-core" / "axe.min.js"
EMAIL = "ada@example.com"
PATIENCE_S = 120.0
PATIENCE_MS = 20_000
# The stand-in makes up three events a second; in so long some of them cannot pass the script.
NEW_EVENTS_MS = 10_000

# It takes identities like cust-80098 for numbers, as happens.
SCRIPT = """\
def transform(event):
    properties = event.getProperties()
    if properties.get("identity"):
        properties["customer"] = int(properties["identity"])
    return event
"""

WIDE: ViewportSize = {"width": 1440, "height": 900}
NARROW: ViewportSize = {"width": 390, "height": 844}
VIEWS: tuple[tuple[str, Literal["light", "dark"], ViewportSize], ...] = (
    ("light", "light", WIDE),
    ("dark", "dark", WIDE),
    ("phone", "light", NARROW),
)


@dataclass(frozen=True)
class Screen:
    """A screen by its address; ``kept`` names the pictures of it that docs/screenshots holds."""

    name: str
    path: str
    kept: tuple[str, ...] = ()
    press: str | None = None
    """A button to press first."""
    follow: str | None = None
    """A link to follow first."""


PIPELINE = f"/pipelines/{quote(simulation.PIPELINE)}"
DESTINATION = f"/destinations/{quote(simulation.DESTINATION, safe='()')}"
SCREENS = (
    Screen("pipelines", "/pipelines", ("light", "dark", "phone")),
    Screen("overview", PIPELINE, ("light", "dark", "phone")),
    Screen("jobs", f"{PIPELINE}/jobs"),
    Screen("objects", f"{PIPELINE}/objects"),
    Screen("transformations", f"{PIPELINE}/transformations", ("light",), press="Test"),
    Screen("mapper", f"{PIPELINE}/mapper", ("light",)),
    Screen("mapping", f"{PIPELINE}/mapper/Events", ("light",)),
    Screen("reconcile", f"{PIPELINE}/reconcile"),
    Screen("pipeline-settings", f"{PIPELINE}/settings"),
    Screen("failed-events", "/failed-events", ("light",)),
    Screen("failed-event", "/failed-events", follow="The transformation raised"),
    Screen("destinations", "/destinations"),
    Screen("destination", DESTINATION),
    Screen("workbench", f"{DESTINATION}/workbench"),
    Screen("catalogue", "/pipelines/new", ("light",)),
    Screen("connect", "/pipelines/new?type=clevertap"),
    Screen("alerts", "/alerts"),
    Screen("channels", "/alerts/channels"),
    Screen("activity", "/activity"),
    Screen("usage", "/usage"),
    Screen("team", "/team"),
    Screen("keys", "/keys"),
    Screen("security", "/security"),
    Screen("settings", "/settings"),
    Screen("health", "/health"),
    Screen("not-found", "/nowhere"),
)


class Look:
    """What is wrong with the screens, gathered while they are looked at."""

    def __init__(self) -> None:
        self.wrong: list[str] = []
        self._axe = AXE.read_text(encoding="utf-8")

    def page(self, context: BrowserContext) -> Page:
        page = context.new_page()
        page.set_default_timeout(PATIENCE_MS)
        page.on("pageerror", lambda error: self.wrong.append(f"{page.url}: {error}"))
        page.on("console", lambda said: self._heard(page, said.type, said.text))
        return page

    def _heard(self, page: Page, kind: str, text: str) -> None:
        # Browsers write a line for every answer that is no success; the screens tell people of those.
        if kind == "error" and not text.startswith("Failed to load resource"):
            self.wrong.append(f"{page.url}: {text}")

    def check(self, page: Page, name: str) -> None:
        """Axe looks at the page. What is moderate or less is told to nobody."""
        page.evaluate(self._axe)
        found: list[dict[str, Any]] = page.evaluate("async () => (await axe.run(document)).violations")
        for one in found:
            if one["impact"] in ("serious", "critical"):
                nodes = "; ".join(node["html"][:240] for node in one["nodes"][:3])
                self.wrong.append(f"{name}: {one['id']}, {one['help']}: {nodes}")


@contextmanager
def serving(home: Path) -> Generator[str]:
    """A real server over a new home; the link that it prints for the first administrator."""
    with Home.open(home, create=True, env={}) as made:
        cheap(made)
    command = [sys.executable, "-m", "millrace", "serve", "--home", str(home), "--port", "0", "--workers", "1"]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert server.stdout is not None
    try:
        for line in server.stdout:
            if found := re.search(r"http://\S+/welcome#\S+", line):
                yield found[0]
                break
        else:
            raise SystemExit("the server ended without a link for its first administrator")
    finally:
        server.terminate()
        server.stdout.close()
        server.wait(timeout=60)


def settled(page: Page) -> None:
    """Nothing is asked any more and what was answered is drawn."""
    page.evaluate("document.fonts.ready")
    page.wait_for_timeout(300)
    page.wait_for_function("() => !document.querySelector('.mantine-Loader-root, [data-loading=true]')")
    page.wait_for_timeout(500)


def begun(page: Page, link: str, home: Path, folder: Path) -> None:
    """The first administrator comes in and tries it with simulated data; some events fail."""
    page.goto(link)
    page.get_by_label("E-mail address").fill(EMAIL)
    page.get_by_label("Password").first.fill(PASSWORD)
    shot(page, folder, "welcome")
    page.get_by_role("button", name="Create account").click()
    page.wait_for_url("**/start")
    settled(page)
    shot(page, folder, "start")
    page.get_by_role("button", name="Try it").click()
    page.wait_for_url(f"**{PIPELINE}")
    with Home.open(home, env={}) as here:
        until_idle(here)
        transformations.deploy(here, simulation.PIPELINE, "python", SCRIPT)
        page.wait_for_timeout(NEW_EVENTS_MS)
        jobs.start(here, simulation.PIPELINE)
        until_idle(here)


def until_idle(home: Home) -> None:
    """No job of the simulated pipeline waits or works."""
    until = time.monotonic() + PATIENCE_S
    while any(
        one.run.status in ("QUEUED", "IN_PROGRESS") for one in jobs.page(home, pipeline=simulation.PIPELINE).items
    ):
        if time.monotonic() > until:
            raise SystemExit("the simulated pipeline does not come to an end")
        time.sleep(0.5)


def shot(page: Page, folder: Path, name: str) -> None:
    page.screenshot(path=folder / f"{name}.png", animations="disabled", caret="hide")


def shown(page: Page, screen: Screen) -> None:
    """The screen is there, as somebody sees it who came by its address."""
    page.goto(screen.path)
    settled(page)
    if screen.press is not None:
        page.get_by_role("button", name=screen.press, exact=True).first.click()
        settled(page)
    if screen.follow is not None:
        page.get_by_role("link", name=screen.follow).first.click()
        settled(page)


def take(browser: Browser, home: Path, link: str, folder: Path, wanted: argparse.Namespace) -> list[str]:
    """Pictures of all screens in that folder; what was found wrong."""
    look, url = Look(), link.partition("/welcome")[0]
    with browser.new_context(viewport=WIDE, reduced_motion="reduce", base_url=url) as context:
        begun(look.page(context), link, home, folder)
        kept = context.storage_state()
    for view, theme, viewport in VIEWS:
        if wanted.view and view not in wanted.view:
            continue
        with browser.new_context(
            viewport=viewport, color_scheme=theme, reduced_motion="reduce", base_url=url, storage_state=kept
        ) as context:
            page = look.page(context)
            for screen in SCREENS:
                if not wanted.only or screen.name in wanted.only:
                    name = f"{screen.name}-{view}"
                    try:
                        shown(page, screen)
                    except Error as error:
                        look.wrong.append(f"{name}: {error.message}")
                    shot(page, folder, name)
                    look.check(page, name)
    return look.wrong


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--all", type=Path, metavar="FOLDER", help="keep the pictures of all screens there")
    parser.add_argument("--only", action="append", default=[], metavar="SCREEN", help="look at this screen alone")
    parser.add_argument(
        "--view", action="append", choices=[view for view, *_ in VIEWS], help="light, dark or phone alone"
    )
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="millrace-screens-") as work:
        folder = given.all or Path(work) / "all"
        folder.mkdir(parents=True, exist_ok=True)
        with serving(Path(work) / "home") as link, chromium() as browser:
            wrong = take(browser, Path(work) / "home", link, folder, given)
        OUT.mkdir(parents=True, exist_ok=True)
        for picture in sorted({f"{one.name}-{view}.png" for one in SCREENS for view in one.kept}):
            if (folder / picture).exists():
                shutil.copy(folder / picture, OUT / picture)
    if wrong:
        raise SystemExit("\n".join(["The screens have faults:", *dict.fromkeys(wrong)]))


if __name__ == "__main__":
    main()
