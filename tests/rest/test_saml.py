"""Single sign-on by SAML over HTTP: a browser goes away, and what it brings back counts once it comes from here."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from hashlib import sha256
from urllib.parse import urlencode

import httpx
import pytest
from tests.control.saml_identity import SamlProvider, form, saml_provider
from tests.rest.conftest import Keys, served

from millrace.control import settings
from millrace.control.home import Home
from millrace.control.people import sessions, single_sign_on
from millrace.rest.app import Limits, application

START = "/api/millrace/v1/session/single-sign-on"
SAML = f"{START}/saml"
EMAIL = "admin@example.com"


@pytest.fixture(scope="module")
def idp(home: Home, keys: Keys, url: str) -> Iterator[SamlProvider]:
    """The provider of the administrator's team."""
    del keys  # the people are there
    settings.change(home, allow_private_addresses=True, public_url=url)
    with saml_provider(lambda: httpx.get(f"{url}{SAML}/metadata", trust_env=False).text) as found:
        found.email = EMAIL
        single_sign_on.change_to_saml(home, metadata=f"{found.entity_id}/metadata")
        yield found


@pytest.fixture
def browser(url: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=url, timeout=30, trust_env=False) as browser:
        yield browser


def away(browser: httpx.Client) -> tuple[str, dict[str, str]]:
    """Where the page of the provider sends the browser, and what with."""
    begun = browser.get(START, params={"email": EMAIL})
    assert begun.status_code == 303, begun.text
    return form(httpx.get(begun.headers["location"], trust_env=False, verify=False).text)


def from_elsewhere(url: str, brought: dict[str, str]) -> httpx.Response:
    """A page of another site sends it: cookies that are lax stay behind."""
    return httpx.post(url, data=brought, trust_env=False, headers={"Sec-Fetch-Site": "cross-site"})


def test_a_browser_comes_back_with_a_session(home: Home, idp: SamlProvider, browser: httpx.Client, url: str):
    to, brought = away(browser)
    assert to == url + SAML
    page = from_elsewhere(to, brought)
    assert page.status_code == 200 and "set-cookie" not in page.headers
    path, again = form(page.text)
    assert (path, again) == ("", {"again": "1", "SAMLResponse": brought["SAMLResponse"]})
    back = browser.post(to, data=again)
    assert (back.status_code, back.headers["location"]) == (303, "/")
    assert "sign_on" not in str(browser.cookies)
    token = browser.cookies["millrace_session"]
    assert sessions.authenticate(home, token).name == EMAIL
    assert "SameSite=strict" in back.headers["set-cookie"] or "SameSite=strict" in str(
        back.headers.get_list("set-cookie")
    )
    assert token not in back.headers["location"] + back.text


def test_the_page_between_runs_its_one_script_and_shows_what_it_was_sent_as_text(idp: SamlProvider, url: str):
    page = from_elsewhere(url + SAML, {"SAMLResponse": '"><script>alert(1)</script>'})
    policy = page.headers["content-security-policy"]
    (script,) = re.findall("<script>(.*?)</script>", page.text)
    assert f"'sha256-{base64.b64encode(sha256(script.encode()).digest()).decode()}'" in policy
    assert "default-src 'none'" in policy and "form-action 'self'" in policy and "frame-ancestors 'none'" in policy
    assert "alert(1)</script>" not in page.text
    assert form(page.text)[1]["SAMLResponse"] == '"><script>alert(1)</script>'


def test_another_browser_gets_nothing_from_an_answer_that_leaked(idp: SamlProvider, browser: httpx.Client, url: str):
    to, brought = away(browser)
    sent = {**brought, "again": "1"}
    with httpx.Client(base_url=url, trust_env=False) as other:
        for _ in range(2):
            answer = other.post(to, data=sent)
            assert answer.json()["error"]["code"] == "SIGN_ON"
            assert "millrace_session" not in other.cookies
            other.get(START, params={"email": EMAIL})  # with a journey of its own it gets nothing either
    assert browser.post(to, data=sent).status_code == 303
    assert browser.post(to, data=sent).json()["error"]["code"] == "SIGN_ON"


def test_what_a_request_calls_the_server_does_not_count(idp: SamlProvider, browser: httpx.Client, url: str):
    """An answer for another service, with the name of that one in the request, is for that one still."""
    moved = {"email": EMAIL, "moved": "true"}
    begun = browser.get(START, params=moved, headers={"Host": "evil.example"})
    to, brought = form(httpx.get(begun.headers["location"], trust_env=False).text)
    assert to == url + SAML
    at_evil = idp.before
    try:
        idp.before = lambda xml: xml.replace(url, "http://evil.example")
        token = browser.get(START, params=moved, headers={"Host": "evil.example"})
        _, brought = form(httpx.get(token.headers["location"], trust_env=False).text)
    finally:
        idp.before = at_evil
    cookie = token.headers["set-cookie"].partition(";")[0]
    answer = httpx.post(
        url + SAML,
        data={**brought, "again": "1"},
        headers={"Host": "evil.example", "Cookie": cookie},
        trust_env=False,
    )
    assert answer.json()["error"]["code"] == "SIGN_ON"
    assert "another address" in answer.json()["error"]["message"]


def test_a_journey_begins_where_it_ends(home: Home, idp: SamlProvider, browser: httpx.Client, url: str):
    """By another name of this server the browser would hold the cookie where the answer does not come back to."""
    port = httpx.URL(url).port
    sent = httpx.get(f"http://localhost:{port}{START}", params={"email": EMAIL}, trust_env=False)
    assert (sent.status_code, "set-cookie" in sent.headers) == (303, False)
    assert sent.headers["location"].startswith(f"{url}{START}?")
    there = browser.get(sent.headers["location"])
    to, brought = form(httpx.get(there.headers["location"], trust_env=False, verify=False).text)
    assert browser.post(to, data={**brought, "again": "1"}).headers["location"] == "/"
    # A proxy that hides the name: it is not sent in a circle.
    hidden = browser.get(sent.headers["location"], headers={"Host": "inside.example"})
    assert hidden.headers["location"].startswith(idp.sign_on)
    # Another port or scheme is the same server to a cookie.
    assert (
        browser.get(START, params={"email": EMAIL}, headers={"Host": "127.0.0.1:1"})
        .headers["location"]
        .startswith(idp.sign_on)
    )


def test_what_is_no_form_is_refused(idp: SamlProvider, browser: httpx.Client):
    away(browser)
    for body in ("", "SAMLResponse=", "a=1&" * 100, "SAMLResponse=%FF", "{}"):
        answer = browser.post(SAML, content=body, headers={"Content-Type": "application/x-www-form-urlencoded"})
        assert answer.json()["error"]["code"] == "SIGN_ON", body


def test_what_we_are_is_told_to_whoever_asks(home: Home, idp: SamlProvider, browser: httpx.Client, url: str):
    answer = browser.get(f"{SAML}/metadata")
    assert answer.headers["content-type"].startswith("application/samlmetadata+xml")
    assert f'entityID="{url}{SAML}/metadata"' in answer.text
    settings.change(home, public_url=None)
    try:
        assert browser.get(f"{SAML}/metadata").json()["error"]["code"] == "NO_PUBLIC_URL"
        # The team's provider was told the name before.
        assert browser.get(START, params={"email": EMAIL}).status_code == 303
    finally:
        settings.change(home, public_url=url)


def test_nobody_fails_without_end(home: Home, idp: SamlProvider):
    with served(application(home, limits=Limits(failures_a_minute=3))) as url:
        sent = urlencode({"SAMLResponse": "x", "again": "1"})
        headers = {"Cookie": "millrace_sign_on=x", "Content-Type": "application/x-www-form-urlencoded"}
        codes = [httpx.post(url + SAML, content=sent, headers=headers, trust_env=False).status_code for _ in range(4)]
        assert codes[3] == 429, codes


def test_who_comes_in_counts_as_no_failure(home: Home, idp: SamlProvider, browser: httpx.Client, url: str):
    app = application(home, limits=Limits(failures_a_minute=3))
    with served(app) as other, httpx.Client(base_url=other, trust_env=False) as there:
        for _ in range(2):  # each counts once, when it begins
            _, brought = away(there)
            assert there.post(other + SAML, data={**brought, "again": "1"}).status_code == 303
        assert app.state.failures.look("127.0.0.1").remaining == 1
