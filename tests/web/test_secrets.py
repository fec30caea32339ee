"""A secret that was saved never comes back: no answer to a browser has one, on no screen and at no address."""

from __future__ import annotations

import base64
import html
import json
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from playwright.sync_api import APIRequestContext, Browser, BrowserContext, Page, expect
from tests.control.identity import CLIENT_ID, CLIENT_SECRET, provider
from tests.control.people import PASSWORD
from tests.web.heard import Heard, forms
from tests.web.routes import FILE as ROUTES
from tests.web.routes import reached, routes
from tests.web.stocked import ADMIN, SHOP, Stocked, stocked

from millrace.control import settings
from millrace.control.alerting import alert_channels
from millrace.control.connecting import connections
from millrace.control.people import keys, single_sign_on
from millrace.control.pipeline import drafts, pipelines
from millrace.control.pipeline.pipelines import Wish
from millrace.data.batch import JSON

PASSCODE, DB_PASSWORD, SIGNING, TOKEN = "hunter2", "pg-5ecret-0815", "s1gning/4711+&", "t0ken-1234"
# Sent by a browser in place of those that are kept, and refused.
SENT = 'S3nt "0815"/+&<>'
PROJECT, DB_USER = "AAA-BBB-CCCC", "reader-of-pg"
OPEN = {PROJECT, DB_USER, CLIENT_ID, "Robot"}
WHERE: dict[str, JSON] = {"db_host": "127.0.0.1", "db_port": 1, "db_name": "x", "db_user": DB_USER}
API, PUBLIC = "/api/millrace/v1", "/api/public/v2.0"
AT = f"/pipelines/{quote(SHOP)}"
FAILED = f"{quote(SHOP)}/Orders/steps/TRANSFORM_ERROR"
SCREENS = (
    *("/", "/sign-in", "/welcome", "/join", "/reset", "/start", "/pipelines", "/nowhere-at-all"),
    *(f"{AT}{tab}" for tab in ("", "/jobs", "/jobs/1", "/objects", "/transformations", "/transformations/versions")),
    *(f"{AT}{tab}" for tab in ("/mapper", "/mapper/Orders", "/mapper/Orders/versions", "/reconcile", "/settings")),
    *(f"{AT}{tab}" for tab in ("/failed-events", "/failed-events/trace", "/files", "/activity", "/activity/1")),
    f"{AT}/failed-events/{FAILED}",
    "/pipelines/Pushed/settings",
    "/pipelines/new/{draft}?step=source",
    *("/failed-events", "/failed-events/trace", f"/failed-events/{FAILED}"),
    *("/destinations", "/destinations/new", "/destinations/nowhere", "/destinations/nowhere/settings"),
    "/destinations/warehouse/workbench",
    *("/alerts", "/alerts/channels", "/alerts/preferences", "/alerts/deliveries", "/activity", "/activity/1"),
    *("/jobs", "/usage", "/team", "/keys", "/security", "/settings", "/health"),
    *("/help", "/help/mapping"),
)
VALUES = {
    "alert": "1",
    "destination": "nowhere",
    "destination_id": "1",
    "name": "nowhere",
    "job": "1",
    "run": "1",
    "pipeline": SHOP,
    "event_type": "Orders",
    "object": "Orders",
    "object_name": "Orders",
    "version": "1",
    "source": "Nowhere",
    "email": ADMIN,
    "table": "shop_orders",
    "table_name": "shop_orders",
    "key": "3",
    "since": "2020-01-01T00:00:00Z",
}
# Addresses that answer with something else than what they are for, and with what: there is none of it in this home, or
# none at all; a database that cannot be reached is told in its driver's words; others lead elsewhere.
NOT_OK = {
    f"{API}/alerts/{{alert}}": 404,
    f"{API}/destinations/{{destination}}/columns": 503,
    f"{API}/errands/{{errand}}": 404,
    f"{API}/pipelines/{{pipeline}}/log-position": 400,
    f"{API}/session/single-sign-on": 303,
    f"{API}/session/single-sign-on/back": 400,
    f"{API}/session/single-sign-on/saml/metadata": 400,  # nobody said where people reach the server
    f"{API}/sources/{{source}}/objects": 503,
    f"{API}/sources/{{source}}/rows": 503,
    f"{PUBLIC}/pipelines/{{pipeline_id}}/position": 400,
    **{f"{PUBLIC}/{what}": 501 for what in ("models", "models/{id}", "workflows", "workflows/{id}")},
    **{f"{PUBLIC}/accounts/oauth{one}": 501 for one in ("", "/{id}")},
}
# Fields of bodies that are secret, or have secrets within them.
SECRET = {"config", "source_config", "password", "client_secret", "secret", "old", "new", "token"}
# Modes of queries, which are called so too.
OPEN_BODIES = {
    f"PUT {PUBLIC}/pipelines/{{pipeline_id}}/objects/{{object_name}}/query-mode",
    f"PUT {API}/pipelines/{{pipeline}}/objects/{{object}}/query-mode",
}


class Kept:
    """A home with every kind of secret, and the browser of its administrator."""

    def __init__(
        self, stock: Stocked, heard: Heard, context: BrowserContext, secrets: dict[str, str], issuer: str
    ) -> None:
        self.stock, self.heard, self.context, self.issuer = stock, heard, context, issuer
        self.forms = {what: [(one, one.encode()) for one in forms(secret)] for what, secret in secrets.items()}

    def shown(self, text: str) -> list[str]:
        return [what for what, those in self.forms.items() if any(one in text for one, _ in those)]

    def told(self) -> list[str]:
        """Which secrets are in the answers since this was asked last."""
        answers, self.heard.answers = self.heard.answers, []
        return [
            f"{asked}: {what}"
            for asked, said in answers
            for what, those in self.forms.items()
            if any(one in said for _, one in those)
        ]


@pytest.fixture(scope="module")
def draft(kept: Kept) -> str:
    config: dict[str, JSON] = {"project_id": PROJECT, "passcode": PASSCODE}
    saved = drafts.save(kept.stock.home, name="Next", source_type="clevertap", config=config, chosen={"step": "source"})
    return str(saved.number)


@pytest.fixture(scope="module")
def kept(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kept]:
    between: list[Heard] = []

    def around(app: Any) -> Heard:
        between.append(Heard(app))
        return between[0]

    with stocked(tmp_path_factory.mktemp("secrets"), around) as stock, provider() as idp:
        home = stock.home
        settings.change(home, allow_private_addresses=True)
        single_sign_on.change(home, issuer=idp.issuer, client_id=CLIENT_ID, client_secret=CLIENT_SECRET)
        connections.create(home, "destination", "nowhere", "postgres", WHERE | {"db_password": DB_PASSWORD})
        connections.create(home, "source", "Nowhere", "postgres", WHERE | {"db_password": DB_PASSWORD})
        pipelines.create(home, Wish("Lost", "Nowhere", "warehouse", table_prefix="lost_"))
        connections.create(home, "source", "Pushes", "webhook", {})
        pipelines.create(home, Wish("Pushed", "Pushes", "warehouse", table_prefix="pushed_"))
        hook: dict[str, JSON] = {"url": f"http://127.0.0.1:1/x?token={TOKEN}", "secret": SIGNING}
        alert_channels.add(home, "hook", "webhook", hook)
        pair = keys.create(home, ADMIN, name="Robot")
        secrets = {
            "passcode of a source": PASSCODE,
            "password of a database": DB_PASSWORD,
            "secret of a channel": SIGNING,
            "token in the address of a channel": TOKEN,
            "secret of single sign-on": CLIENT_SECRET,
            "secret of a key": pair.secret,
            "password of a person": PASSWORD,
            "what was sent": SENT,
        }
        with browser.new_context(base_url=stock.url, reduced_motion="reduce") as context:
            context.set_default_timeout(60_000)
            context.request.post(f"{API}/session", data={"email": ADMIN, "password": PASSWORD})
            yield Kept(stock, between[0], context, secrets, idp.issuer)


@pytest.mark.parametrize("said", ["{}", "user:{}", "ab{}yz", '{{"password": "{}"}}'])
def test_a_secret_is_found_in_whichever_form_it_comes_back(said: str) -> None:
    for secret in (SENT, PASSCODE, SIGNING, CLIENT_SECRET):
        text = said.format(secret)
        known = forms(secret)
        packed = (
            base64.b64encode(text.encode()),
            base64.urlsafe_b64encode(text.encode()),
            text.encode().hex().encode(),
        )
        others = (text, json.dumps(text), quote(text), quote(text, safe=""), urlencode({"x": text}), html.escape(text))
        for one in (*others, *(each.decode() for each in packed)):
            assert any(form in one for form in known), one


def test_every_screen_is_looked_at_here() -> None:
    known = routes()
    assert {reached(one, known) for one in SCREENS} == set(known)
    words = set(re.findall(r"path: '/?([^']+)'", ROUTES.read_text()))
    assert words == {word for word in words if any(one.endswith(f"/{word}") for one in known)}


def test_no_screen_is_told_a_secret_nor_keeps_one(kept: Kept, draft: str) -> None:
    page = kept.context.new_page()
    found: list[str] = []
    open_ones: set[str] = set()
    for path in SCREENS:
        page.goto(path.format(draft=draft))
        page.locator("main").first.wait_for()
        _settled(page, kept.heard)
        found += [f"{path}: {what}" for what in kept.shown(_seen(page))]
        assert len(kept.heard.answers) > 1, path
        open_ones |= {one for one in OPEN for _, said in kept.heard.answers if one.encode() in said}
        found += [f"{path}, {what}" for what in kept.told()]
    page.close()
    assert found == []
    # What stands beside the secrets was heard.
    assert open_ones == OPEN


@pytest.mark.parametrize("path", ["/pipelines/Lost/settings", "/destinations/nowhere/settings"])
def test_no_secret_comes_back_where_one_is_changed_and_its_connection_tested(kept: Kept, path: str) -> None:
    page = kept.context.new_page()
    page.goto(path)
    page.get_by_label("Db password").fill(SENT)
    page.get_by_role("button", name="Save and test").click()
    # In the words of the driver.
    expect(page.get_by_role("status", name="Findings of the test")).to_contain_text("cannot be reached")
    _settled(page, kept.heard)
    assert kept.shown(_seen(page)) == []
    assert f"POST {API}/check" in [asked for asked, _ in kept.heard.answers]
    assert kept.told() == []
    page.close()


def test_no_secret_comes_with_what_becomes_of_an_errand(kept: Kept) -> None:
    page = kept.context.new_page()
    page.goto("/pipelines/Lost/reconcile")
    page.get_by_role("button", name="Compare counts").click()
    expect(page.get_by_role("main").get_by_role("alert")).to_contain_text("cannot be reached")
    _settled(page, kept.heard)
    streams = [said for asked, said in kept.heard.answers if re.fullmatch(rf"GET {API}/errands/[^/]+/events", asked)]
    assert [b"event: failed" in said and b"cannot be reached" in said for said in streams] == [True]
    assert kept.shown(_seen(page)) == []
    assert kept.told() == []
    page.close()


DATABASE = WHERE | {"db_password": SENT}
CLEVERTAP = {
    "project_id": "AAA-BBB-CCCC", "passcode": SENT, "region": "EU", "event_source": "schema",
    "base_url": "http://127.0.0.1:1",
}  # fmt: skip
HOOK = {"url": f"http://127.0.0.1:1/x?token={quote(SENT)}", "secret": SENT}
SIGN_ON = {"client_id": CLIENT_ID, "client_secret": SENT, "issuer": "{issuer}"}
FILE = f"sources:\n  other:\n    type: postgres\n    config: {{db_host: 127.0.0.1, db_password: '{SENT}'"
# What a browser sends with a secret in it, and what it is answered: saved or refused, nothing comes back.
WRITES: list[tuple[str, dict[str, Any], int]] = [
    (f"POST {API}/sources", {"name": "Sent", "type": "postgres", "config": DATABASE}, 201),
    (f"PUT {API}/sources/{{name}}", {"config": DATABASE}, 200),
    (f"POST {API}/destinations", {"name": "Sent", "type": "postgres", "config": DATABASE}, 201),
    (f"PUT {API}/destinations/{{name}}", {"config": DATABASE}, 200),
    (f"POST {API}/check", {"name": "Sent"}, 200),
    (f"POST {API}/connectors/sources/{{type}}/names", {"config": CLEVERTAP}, 400),
    (f"POST {API}/drafts", {"name": "Sent", "type": "postgres", "config": DATABASE}, 201),
    (f"PUT {API}/drafts/{{draft}}", {"name": "Sent", "type": "postgres", "config": DATABASE}, 200),
    (f"POST {API}/drafts/{{draft}}/check", {}, 200),
    (f"POST {API}/drafts/{{draft}}/objects", {}, 503),
    (f"POST {API}/drafts/{{draft}}/finish", {"name": "Sent 5", "destination": "warehouse", "config": DATABASE}, 200),
    (f"POST {API}/alert-channels", {"name": "Sent", "kind": "webhook", "config": HOOK}, 201),
    (f"PUT {API}/alert-channels/{{name}}", {"config": HOOK}, 200),
    (f"POST {API}/alert-channels/{{name}}/test", {}, 200),
    (f"PUT {API}/team/single-sign-on", SIGN_ON, 200),
    (f"POST {API}/users", {"email": "sue@example.com", "name": "Sue", "roles": ["OBSERVER"], "password": SENT}, 201),
    (f"POST {API}/session", {"email": ADMIN, "password": SENT}, 401),
    (f"PUT {API}/me/password", {"old": SENT, "new": SENT}, 401),
    (f"POST {API}/first-administrator", {"email": ADMIN, "password": SENT, "token": SENT}, 403),
    (f"POST {API}/invitations/accept", {"name": "Sue", "password": SENT, "token": SENT}, 403),
    (f"POST {API}/password-resets/accept", {"password": SENT, "token": SENT}, 403),
    (f"POST {API}/apply", {"text": f"{FILE}, db_name: x, db_user: x}}"}, 200),
    (f"POST {API}/apply", {"text": f"{FILE}, db_port: x}}"}, 400),
    (f"POST {API}/apply", {"text": f"{FILE}}}}}"}, 400),
    (f"POST {API}/apply", {"text": f"alert_channels: {{c: {{kind: webhook, config: {{url: '{SENT}'}}}}}}"}, 400),
    (f"POST {API}/apply", {"text": f"alert_channels: {{c: {{kind: webhook, config: {json.dumps(HOOK)}}}}}"}, 200),
    (f"POST {PUBLIC}/destinations", {"name": "Sent 2", "type": "POSTGRES", "config": DATABASE}, 201),
    (f"PUT {PUBLIC}/destinations/{{destination_id}}", {"name": "nowhere", "type": "POSTGRES", "config": DATABASE}, 200),
    (
        f"POST {PUBLIC}/pipelines",
        {"source_type": "POSTGRES", "source_name": "Sent 3", "source_config": DATABASE, "destination_id": 1},
        201,
    ),
    (f"PUT {PUBLIC}/pipelines/{{pipeline_id}}/source", DATABASE, 200),
]


def test_no_answer_to_a_secret_that_was_sent_has_it(kept: Kept) -> None:
    asked, home = kept.context.request, kept.stock.home
    proof = {"X-CSRF-Token": asked.get(f"{API}/session").json()["csrf"]}
    number = drafts.save(home, name="Sent", source_type="postgres", config=WHERE).number
    known = {"name": "Sent", "draft": str(number), "type": "clevertap"}
    for place, name in (("destination", "nowhere"), ("pipeline", "Lost")):
        listed = asked.get(f"{PUBLIC}/{place}s").json()["data"]
        [known[f"{place}_id"]] = [str(one["id"]) for one in listed if one["name"] == name]
    answered: list[tuple[str, int]] = []
    for what, body, _ in WRITES:
        sent = {name: kept.issuer if value == "{issuer}" else value for name, value in body.items()}
        # Where a text was expected nothing else passes, but in a draft, and nobody is told what stood there instead.
        if (listed := _listed(sent)) != sent:
            status = _written(asked, proof, what, known, listed)
            assert 400 <= status < 500 or ("/drafts" in what and status < 300), (what, status)
        answered.append((what, _written(asked, proof, what, known, sent)))
    assert answered == [(what, status) for what, _, status in WRITES]
    assert kept.told() == []
    spec = asked.get("/api/openapi.json").json()
    secret = {
        f"{method.upper()} {path}"
        for path, methods in spec["paths"].items()
        for method, one in methods.items()
        if SECRET & _fields(one.get("requestBody"), spec["components"]["schemas"])
    }
    assert secret > OPEN_BODIES
    assert secret - OPEN_BODIES <= {what for what, _, _ in WRITES}


def _written(asked: APIRequestContext, proof: dict[str, str], what: str, known: dict[str, str], body: Any) -> int:
    method, _, path = what.partition(" ")
    answer = asked.fetch(
        _filled(path, known), method=method, data=body, headers=proof, fail_on_status_code=False, timeout=60_000
    )
    return answer.status


def _listed(sent: Any) -> Any:
    """The same with a list in place of each text that has the secret in it."""
    if isinstance(sent, dict):
        return {name: _listed(one) for name, one in sent.items()}
    return [sent] if isinstance(sent, str) and SENT in sent else sent


def _fields(told: Any, schemas: dict[str, Any]) -> set[str]:
    """Names of fields anywhere in what is told of a body."""
    if isinstance(told, list):
        return set[str]().union(*(_fields(one, schemas) for one in told))
    if not isinstance(told, dict):
        return set()
    if "$ref" in told:
        told = schemas[told["$ref"].rpartition("/")[2]]
    return set(told.get("properties", ())).union(*(_fields(one, schemas) for one in told.values()))


def test_no_address_that_a_browser_can_ask_answers_with_a_secret(kept: Kept, draft: str) -> None:
    asked = kept.context.request
    known = VALUES | {"draft": draft}
    [job, *_] = asked.get("/api/v1/pipelines/1/jobs").json()["data"]
    [object_, *_] = asked.get("/api/v1/pipelines/1/objects").json()["data"]
    known |= {"job_id": str(job["job_id"]), "object_id": str(object_["object_id"])}
    statuses: dict[str, int] = {}
    for path, methods in _paths(asked).items():
        # What is followed does not end.
        if "get" not in methods or path.endswith("/events"):
            continue
        own = known | {"type": "clevertap" if "sources" in path else "postgres"}
        if "/sources/{name}" in path:
            own["name"] = f"Source of {SHOP}"
        if path.endswith("/hook"):
            own["pipeline"] = "Pushed"
        needed = [one["name"] for one in methods["get"].get("parameters", []) if one["in"] == "query"]
        answer = asked.get(
            _filled(path, own),
            params={name: own[name] for name in needed if name in own and (name != "object" or "source" in path)},
            fail_on_status_code=False,
            max_redirects=0,
        )
        statuses[path] = answer.status
    assert kept.told() == []
    assert {path: status for path, status in statuses.items() if status != 200} == NOT_OK
    assert len(statuses) > 100


def _settled(page: Page, heard: Heard) -> None:
    """Nothing is asked any more: what the screen shows is what it was told."""
    still = 0
    while still < 3:
        page.wait_for_function("() => !document.querySelector('.mantine-Loader-root, .mantine-Skeleton-root')")
        before = len(heard.answers)
        page.wait_for_timeout(100)
        still = still + 1 if heard.going_on == 0 and len(heard.answers) == before else 0


def _seen(page: Page) -> str:
    """What the page shows, has in its fields, and keeps beyond this visit."""
    return page.evaluate(
        """() => [
          document.documentElement.outerHTML,
          ...[...document.querySelectorAll('input, textarea')].map((one) => one.value),
          JSON.stringify(localStorage), JSON.stringify(sessionStorage), document.cookie,
        ].join('\\n')"""
    )


def _paths(asked: APIRequestContext) -> dict[str, Any]:
    return asked.get("/api/openapi.json").json()["paths"]


def _filled(path: str, values: dict[str, str]) -> str:
    """The address with what its places stand for; 1 where nothing is known of one."""
    parts = [quote(values.get(part[1:-1], "1"), safe="") if part.startswith("{") else part for part in path.split("/")]
    return "/".join(parts)
