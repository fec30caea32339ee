"""A server with its screens, and a browser that looks at them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect
from tests.chromium import browser as chromium
from tests.control.people import PASSWORD, cheap
from tests.rest.conftest import MANY, served
from tests.web.stocked import ADMIN, Stocked, stocked

from millrace.control.home import Home
from millrace.rest.app import application

# Two cores may do other things too, for long.
expect.set_options(timeout=60_000)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    # Pages of one context share a process, which has begun when the second one opens.
    with chromium("--process-per-site") as started:
        yield started


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    with Home.open(tmp_path_factory.mktemp("web") / "home", create=True, env={}) as home:
        yield cheap(home)


@pytest.fixture(scope="module")
def url(home: Home) -> Iterator[str]:
    with served(application(home, limits=MANY)) as url:
        yield url


def _begun(browser: Browser, url: str, **settings: Any) -> BrowserContext:
    """A browser of somebody's own, with a page that stays: others that are opened in it need no process of theirs."""
    settings = {"viewport": {"width": 1440, "height": 900}, "reduced_motion": "reduce"} | settings
    context = browser.new_context(base_url=url, **settings)
    context.set_default_timeout(60_000)
    context.new_page().goto("/healthz")
    return context


@pytest.fixture(scope="module")
def context(browser: Browser, url: str) -> Iterator[BrowserContext]:
    """Somebody's browser: it has cookies of its own, and asks nobody but the server."""
    context = _begun(browser, url)
    yield context
    context.close()


@pytest.fixture
def page(context: BrowserContext, url: str) -> Iterator[Page]:
    """One page of it, where nobody has signed in.

    Whatever the console complains of, or is asked of another host, fails the test.
    """
    wrong: list[str] = []
    page = _watched(context, url, wrong)
    yield page
    page.close()
    context.clear_cookies()
    assert not wrong


@pytest.fixture(scope="session")
def stock(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stocked]:
    """A server with something on every screen. Tests look at it; they change nothing that others look at."""
    with stocked(tmp_path_factory.mktemp("stocked")) as stock:
        yield stock


Visit = Callable[..., Page]


@pytest.fixture(scope="session")
def browsers(browser: Browser, stock: Stocked) -> Iterator[dict[str, BrowserContext]]:
    """Browsers of those who look at the stocked server, by whose they are; they end before it does."""
    del browser, stock
    opened: dict[str, BrowserContext] = {}
    yield opened
    for context in opened.values():
        context.close()


@pytest.fixture
def visit(browser: Browser, browsers: dict[str, BrowserContext], stock: Stocked) -> Iterator[Visit]:
    """Opens an address of the stocked server as somebody who has signed in; more words go to their browser."""
    wrong: list[str] = []
    pages: list[Page] = []

    def opened(path: str, email: str = ADMIN, **settings: Any) -> Page:
        whose = f"{email} {settings}"
        if whose not in browsers:
            browsers[whose] = _begun(browser, stock.url, **settings)
        context = browsers[whose]
        context.request.post("/api/millrace/v1/session", data={"email": email, "password": PASSWORD})
        pages.append(_watched(context, stock.url, wrong))
        pages[-1].goto(path)
        return pages[-1]

    yield opened
    for page in pages:
        page.close()
    assert not wrong


def _watched(context: BrowserContext, url: str, wrong: list[str]) -> Page:
    page = context.new_page()
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("console", lambda said: wrong.append(said.text) if _matters(said.type, said.text) else None)
    page.on("request", lambda asked: None if asked.url.startswith((url, "data:", "blob:")) else wrong.append(asked.url))
    return page


def _matters(kind: str, text: str) -> bool:
    # Browsers write a line for every answer that is no success; what a page makes of it is for the test to say.
    return kind == "error" and not text.startswith("Failed to load resource")
