"""A secret that was saved never comes back: no answer to a browser has one, on no screen and at no address."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import quote

import pytest
from playwright.sync_api import Browser, BrowserContext, Page
from tests.control.identity import CLIENT_ID, CLIENT_SECRET, provider
from tests.control.people import PASSWORD
from tests.web.stocked import ADMIN, SHOP, Stocked, stocked

from millrace.control import alert_channels, connections, drafts, keys, pipelines, settings, single_sign_on
from millrace.control.pipelines import Wish
from millrace.data.batch import JSON

PASSCODE, DB_PASSWORD, SIGNING, TOKEN = "hunter2", "pg-5ecret-0815", "s1gning-4711", "t0ken-1234"
PROJECT, DB_USER = "AAA-BBB-CCCC", "reader-of-pg"
OPEN = {PROJECT, DB_USER, CLIENT_ID, "Robot"}
AT = f"/pipelines/{quote(SHOP)}"
SCREENS = (
    "/pipelines",
    *(f"{AT}{tab}" for tab in ("", "/jobs/1", "/objects", "/transformations", "/mapper/Orders", "/settings")),
    "/pipelines/Pushed/settings",
    "/pipelines/new/{draft}?step=source",
    f"/failed-events/{quote(SHOP)}/Orders/steps/TRANSFORM_ERROR",
    "/destinations/nowhere/settings",
    "/destinations/warehouse/workbench",
    "/alerts/channels",
    "/activity/1",
    "/team",
    "/keys",
    "/security",
    "/settings",
)
# Every answer that the page gets, as it came.
HEAR = """(() => {
  const asked = window.fetch;
  window.heard = [];
  window.fetch = async (...what) => {
    const answer = await asked(...what);
    answer.clone().text().then((text) => window.heard.push([answer.url, text]), () => {});
    return answer;
  };
})()"""
VALUES = {
    "alert": "1",
    "destination": "nowhere",
    "name": "nowhere",
    "job": "1",
    "run": "1",
    "pipeline": SHOP,
    "event_type": "Orders",
    "object": "Orders",
    "version": "1",
    "source": f"Source of {SHOP}",
    "email": ADMIN,
    "table": "shop_orders",
    "key": "3",
    "since": "2020-01-01T00:00:00Z",
}


class Kept:
    """A home with every kind of secret, and the browser of its administrator."""

    def __init__(self, stock: Stocked, context: BrowserContext, secrets: dict[str, str], draft: int) -> None:
        self.stock, self.context, self.secrets, self.draft = stock, context, secrets, draft

    def shown(self, text: str) -> list[str]:
        return [what for what, secret in self.secrets.items() if secret in text]


@pytest.fixture(scope="module")
def kept(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kept]:
    with stocked(tmp_path_factory.mktemp("secrets")) as stock, provider() as idp:
        home = stock.home
        settings.change(home, allow_private_addresses=True)
        single_sign_on.change(home, issuer=idp.issuer, client_id=CLIENT_ID, client_secret=CLIENT_SECRET)
        where = {"db_host": "127.0.0.1", "db_port": 1, "db_name": "x", "db_user": DB_USER, "db_password": DB_PASSWORD}
        connections.create(home, "destination", "nowhere", "postgres", where)
        connections.create(home, "source", "Pushes", "webhook", {})
        pipelines.create(home, Wish("Pushed", "Pushes", "warehouse", table_prefix="pushed_"))
        hook: dict[str, JSON] = {"url": f"http://127.0.0.1:1/x?token={TOKEN}", "secret": SIGNING}
        alert_channels.add(home, "hook", "webhook", hook)
        pair = keys.create(home, ADMIN, name="Robot")
        config: dict[str, JSON] = {"project_id": PROJECT, "passcode": PASSCODE}
        draft = drafts.save(home, name="Next", source_type="clevertap", config=config, chosen={"step": "source"})
        secrets = {
            "passcode of a source": PASSCODE,
            "password of a destination": DB_PASSWORD,
            "secret of a channel": SIGNING,
            "token in the address of a channel": TOKEN,
            "secret of single sign-on": CLIENT_SECRET,
            "secret of a key": pair.secret,
            "password of a person": PASSWORD,
        }
        with browser.new_context(base_url=stock.url, reduced_motion="reduce") as context:
            context.set_default_timeout(60_000)
            context.request.post("/api/millrace/v1/session", data={"email": ADMIN, "password": PASSWORD})
            yield Kept(stock, context, secrets, draft.number)


def test_no_screen_is_told_a_secret_nor_keeps_one(kept: Kept) -> None:
    page = kept.context.new_page()
    page.add_init_script(HEAR)
    found: list[str] = []
    open_ones: set[str] = set()
    for path in SCREENS:
        page.goto(path.format(draft=kept.draft))
        page.locator("main :is(h1, h2, .card)").first.wait_for()
        page.wait_for_function("() => !document.querySelector('.mantine-Loader-root, .mantine-Skeleton-root')")
        found += [f"{path}: {what}" for what in kept.shown(_seen(page))]
        heard: list[list[str]] = page.evaluate("() => window.heard")
        assert heard, path
        found += [f"{path}, {url}: {what}" for url, text in heard for what in kept.shown(text)]
        open_ones |= {open_ for open_ in OPEN for _, text in heard if open_ in text}
    assert found == []
    # What stands beside the secrets was heard.
    assert open_ones == OPEN


def test_no_address_that_a_browser_can_ask_answers_with_a_secret(kept: Kept) -> None:
    asked = kept.context.request
    paths = asked.get("/api/openapi.json").json()["paths"]
    found: list[str] = []
    answered = 0
    for path, methods in paths.items():
        # What is followed does not end.
        if "get" not in methods or path.endswith("/events"):
            continue
        known = VALUES | {"draft": str(kept.draft), "type": "clevertap" if "sources" in path else "postgres"}
        if "/sources/{name}" in path:
            known["name"] = f"Source of {SHOP}"
        needed = [one["name"] for one in methods["get"].get("parameters", []) if one["in"] == "query"]
        answer = asked.get(
            _filled(path, known),
            params={name: known[name] for name in needed if name in known and name != "object"},
            fail_on_status_code=False,
            max_redirects=0,
        )
        answered += answer.status == 200
        found += [f"{path}: {what}" for what in kept.shown(answer.text())]
    assert found == []
    assert answered > 60, answered


def _seen(page: Page) -> str:
    """What the page shows, has in its fields, and keeps beyond this visit."""
    return page.evaluate(
        """() => [
          document.documentElement.outerHTML,
          ...[...document.querySelectorAll('input, textarea')].map((one) => one.value),
          JSON.stringify(localStorage), JSON.stringify(sessionStorage), document.cookie,
        ].join('\\n')"""
    )


def _filled(path: str, values: dict[str, str]) -> str:
    """The address with what its places stand for; 1 where nothing is known of one."""
    parts = [quote(values.get(part[1:-1], "1"), safe="") if part.startswith("{") else part for part in path.split("/")]
    return "/".join(parts)
