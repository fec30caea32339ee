"""Pictures of every screen, as a person sees them: a real server, simulated data, light and dark, wide and narrow.

`make screenshots` writes those of docs/screenshots. On the way every screen is looked at by rules: nothing may break
the policy of the pages, nothing may fail in the browser, and axe may find nothing serious in any of the views.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import quote

from PIL import Image
from playwright.sync_api import Browser, BrowserContext, Error, Page, ViewportSize
from tests.chromium import browser as chromium
from tests.control.people import PASSWORD
from tests.web import axe, pictured

from millrace.control.pipeline import simulation

ROOT = Path(__file__).parents[2]
OUT = ROOT / "docs" / "screenshots"
EMAIL = "ada@example.com"
PATIENCE_MS = 60_000
# What takes longer to become another colour than this is a fault of its own.
DRAWN_MS = 300

WIDE: ViewportSize = {"width": 1440, "height": 900}
NARROW: ViewportSize = {"width": 390, "height": 844}
View = Literal["light", "dark", "phone"]
VIEWS: dict[View, tuple[Literal["light", "dark"], ViewportSize]] = {
    "light": ("light", WIDE),
    "dark": ("dark", WIDE),
    "phone": ("light", NARROW),
}


@dataclass(frozen=True)
class Screen:
    """A screen by its address. ``phone``: docs/screenshots has it narrow too."""

    name: str
    path: str
    phone: bool = False
    press: tuple[str, ...] = ()
    """Buttons to press first, one after the other."""
    follow: str | None = None
    """A link to follow first."""
    keys: str | None = None
    """Keys to press first."""
    signed_in: bool = True


PIPELINE = f"/pipelines/{quote(simulation.PIPELINE)}"
FROM_DATABASE = f"/pipelines/{quote(pictured.FROM_DATABASE)}"
DESTINATION = f"/destinations/{quote(simulation.DESTINATION, safe='()')}"
SCREENS = (
    Screen("sign-in", "/sign-in", signed_in=False),
    Screen("pipelines", "/pipelines", phone=True),
    Screen("palette", "/pipelines", keys="Control+k"),
    Screen("shortcuts", "/pipelines", keys="?"),
    Screen("nothing-found", "/pipelines?search=nothing+like+this"),
    Screen("overview", PIPELINE, phone=True),
    Screen("jobs", f"{PIPELINE}/jobs", phone=True),
    Screen("job", f"{PIPELINE}/jobs", follow="#", phone=True),
    Screen("all-jobs", "/jobs"),
    Screen("objects", f"{PIPELINE}/objects"),
    Screen("transformations", f"{PIPELINE}/transformations", press=("Test",)),
    Screen("blocks", f"/pipelines/{quote(pictured.WITH_BLOCKS)}/transformations"),
    Screen("versions", f"{PIPELINE}/transformations/versions"),
    Screen("mapper", f"{PIPELINE}/mapper"),
    Screen("mapping", f"{PIPELINE}/mapper/Events"),
    Screen("reconcile", f"{PIPELINE}/reconcile", press=("Compare counts",)),
    Screen("reconcile-values", f"{FROM_DATABASE}/reconcile?values=true", press=("Compare values",), phone=True),
    Screen("file-log", f"/pipelines/{quote(pictured.FROM_FILES)}/files", phone=True),
    Screen("pipeline-activity", f"{PIPELINE}/activity"),
    Screen("pipeline-settings", f"{PIPELINE}/settings"),
    Screen("failed-events", "/failed-events", phone=True),
    Screen("failed-event", "/failed-events", follow="The transformation raised", phone=True),
    Screen("trace", f"{FROM_DATABASE}/failed-events/trace?key=7"),
    Screen("destinations", "/destinations"),
    Screen("destination", DESTINATION),
    Screen("destination-settings", f"{DESTINATION}/settings"),
    Screen("workbench", f"{DESTINATION}/workbench", press=("Run",)),
    Screen("catalogue", "/pipelines/new"),
    Screen("connect", "/pipelines/new?type=clevertap"),
    Screen("wizard-objects", f"/pipelines/new/{pictured.DRAFT}?step=objects"),
    Screen("wizard-destination", f"/pipelines/new/{pictured.DRAFT}?step=destination"),
    Screen("wizard-schedule", f"/pipelines/new/{pictured.DRAFT}?step=schedule"),
    Screen("alerts", "/alerts", phone=True),
    Screen("channels", "/alerts/channels"),
    Screen("alert-preferences", "/alerts/preferences", phone=True),
    Screen("alert-deliveries", "/alerts/deliveries", phone=True),
    Screen("activity", "/activity"),
    Screen("usage", "/usage"),
    Screen("team", "/team"),
    Screen("keys", "/keys"),
    Screen("security", "/security"),
    Screen("settings", "/settings"),
    Screen("health", "/health"),
    Screen("help", "/help"),
    Screen("guide", "/help/mapping", phone=True),
    Screen("refused", "/pipelines/Nobody%20made%20this"),
    Screen("not-found", "/nowhere"),
)


class Look:
    """What is wrong with the screens, gathered while they are looked at."""

    def __init__(self) -> None:
        self.wrong: list[str] = []

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
        self.wrong += [f"{name}: {fault}" for fault in axe.faults(page)]


@contextmanager
def serving(home: Path) -> Generator[str]:
    """A real server over that home, which it makes if need be; the link that it prints for the first administrator."""
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
    """What was asked is answered and drawn."""
    page.evaluate("document.fonts.ready")
    # What is drawn may fetch a part of its own, whose place is held meanwhile: a chart, an editor.
    for _ in range(2):
        page.wait_for_timeout(DRAWN_MS)
        page.wait_for_function(
            "() => !document.querySelector('.mantine-Loader-root, .mantine-Skeleton-root, [data-loading=true]')"
        )
    page.wait_for_timeout(DRAWN_MS)


def begun(page: Page, link: str, home: Path, around: pictured.Around, folder: Path) -> None:
    """The first administrator comes in and tries it with simulated data; some events fail."""
    page.goto(link)
    page.get_by_label("E-mail address").fill(EMAIL)
    page.get_by_label("Password").first.fill(PASSWORD)
    shot(page, folder, "welcome-light")
    page.get_by_role("button", name="Create account").click()
    page.wait_for_url("**/start")
    settled(page)
    shot(page, folder, "start-light")
    page.get_by_role("button", name="Try it").click()
    page.wait_for_url(f"**{PIPELINE}")
    pictured.fill(home, EMAIL, around)
    # Whoever asks first for what connectors are called waits until all are imported, which nothing on a screen tells.
    page.goto("/pipelines/new")
    settled(page)


def shot(page: Page, folder: Path, name: str) -> None:
    page.screenshot(path=folder / f"{name}.png", animations="disabled", caret="hide")


def shown(page: Page, screen: Screen) -> None:
    """The screen is there, as somebody sees it who came by its address."""
    page.goto(screen.path)
    settled(page)
    for button in screen.press:
        page.get_by_role("button", name=button, exact=True).first.click()
        settled(page)
    if screen.follow is not None:
        page.get_by_role("link", name=screen.follow).first.click()
        settled(page)
    if screen.keys is not None:
        page.keyboard.press(screen.keys)
        settled(page)
    page.mouse.move(0, 0)


def take(
    browser: Browser, home: Path, around: pictured.Around, link: str, folder: Path, wanted: argparse.Namespace
) -> list[str]:
    """Pictures of all screens in that folder; what was found wrong. Each is opened once, and then seen in each view."""
    look, url = Look(), link.partition("/welcome")[0]
    with (
        browser.new_context(reduced_motion="reduce", base_url=url, viewport=WIDE) as signed_in,
        browser.new_context(reduced_motion="reduce", base_url=url, viewport=WIDE) as stranger,
    ):
        page, outside = look.page(signed_in), look.page(stranger)
        begun(page, link, home, around, folder)
        for screen in SCREENS:
            if wanted.only and screen.name not in wanted.only:
                continue
            at = page if screen.signed_in else outside
            at.set_viewport_size(WIDE)
            at.emulate_media(color_scheme="light")
            try:
                shown(at, screen)
            except Error as error:
                look.wrong.append(f"{screen.name}: {error.message}")
            for view, (theme, viewport) in VIEWS.items():
                at.emulate_media(color_scheme=theme)
                at.set_viewport_size(viewport)
                at.wait_for_timeout(DRAWN_MS)
                shot(at, folder, f"{screen.name}-{view}")
                look.check(at, f"{screen.name}-{view}")
    return look.wrong


def keep(picture: Path, into: Path) -> None:
    """The picture in at most 256 colours: screens have few, and a repository keeps every version."""
    with Image.open(picture) as whole:
        small = whole.convert("RGB").quantize(256, method=Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
        small.save(into / picture.name, optimize=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--all", type=Path, metavar="FOLDER", help="keep the pictures of all screens there, as taken")
    parser.add_argument("--only", action="append", default=[], metavar="SCREEN", help="look at this screen alone")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="millrace-screens-") as work:
        folder = given.all or Path(work) / "all"
        folder.mkdir(parents=True, exist_ok=True)
        home = Path(work) / "home"
        pictured.prepare(home)
        with pictured.around() as around, serving(home) as link, chromium() as browser:
            wrong = take(browser, home, around, link, folder, given)
        OUT.mkdir(parents=True, exist_ok=True)
        narrow = {screen.name for screen in SCREENS if screen.phone}
        for picture in sorted(folder.glob("*.png")):
            if not picture.stem.endswith("-phone") or picture.stem.removesuffix("-phone") in narrow:
                keep(picture, OUT)
    if wrong:
        raise SystemExit("\n".join(["The screens have faults:", *dict.fromkeys(wrong)]))


if __name__ == "__main__":
    main()
