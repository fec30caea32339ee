"""Chromium for tests of the screens: Debian's package, which tests that run as root install themselves."""

from __future__ import annotations

import shutil
from collections.abc import Generator
from contextlib import contextmanager
from functools import cache

from playwright.sync_api import Browser, sync_playwright
from tests import debian

# As root in a container, without a display, asking nobody but the server of the test. The last list of what is left out
# counts, so what Playwright leaves out stands here too; beside it the process in which a page would open that nobody
# opens, which costs as much to start as a page to load.
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--disable-features=SpareRendererForSitePerProcess,AvoidUnnecessaryBeforeUnloadCheckSync,HttpsUpgrades,MediaRouter,"
    "PaintHolding,DestroyProfileOnBrowserClose,OptimizationHints,NetworkTimeServiceQuerying,PreconnectToSearch",
)


@cache
def program() -> str:
    """Where the browser is. Raises RuntimeError where it cannot be had: tests of the screens are never left out."""
    debian.bring("chromium", lambda: shutil.which("chromium") is not None)
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if found is None:
        raise RuntimeError("the tests of the screens need a Chromium: install Debian's package chromium")
    return found


@contextmanager
def browser(*flags: str) -> Generator[Browser]:
    """A browser without windows, as long as the block runs."""
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=program(), args=[*FLAGS, *flags])
        try:
            yield started
        finally:
            started.close()


def pytest_report_header() -> str:
    """What draws the screens in the tests."""
    return f"chromium: {shutil.which('chromium') or 'not here yet; installed when a test needs it'}"
