"""Single sign-on over HTTP: a browser goes away to the provider and comes back with a session."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest
from fastapi import FastAPI
from tests.control.identity import CLIENT_ID, CLIENT_SECRET, Provider, provider
from tests.rest.conftest import Keys, served

from millrace.control import settings
from millrace.control.home import Home
from millrace.control.people import sessions, single_sign_on
from millrace.rest.app import Limits, application

START = "/api/millrace/v1/session/single-sign-on"
AT_PROVIDER = {"email": "admin@example.com"}


@pytest.fixture(scope="module")
def idp(home: Home, keys: Keys) -> Iterator[Provider]:
    """The provider of the administrator's team."""
    del keys  # the people are there
    settings.change(home, allow_private_addresses=True)
    with provider() as found:
        found.person["email"] = AT_PROVIDER["email"]
        single_sign_on.change(home, issuer=found.issuer, client_id=CLIENT_ID, client_secret=CLIENT_SECRET)
        yield found


@pytest.fixture
def browser(url: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=url, timeout=30, trust_env=False) as browser:
        yield browser


def away(browser: httpx.Client) -> str:
    """Where the provider sends the browser back to."""
    begun = browser.get(START, params=AT_PROVIDER)
    assert begun.status_code == 303, begun.text
    return httpx.get(begun.headers["location"], trust_env=False, verify=False).headers["location"]


def test_a_browser_comes_back_with_a_session(home: Home, idp: Provider, browser: httpx.Client):
    back = browser.get(away(browser))
    assert (back.status_code, back.headers["location"]) == (303, "/")
    assert "sign_on" not in str(browser.cookies)
    token = browser.cookies["millrace_session"]
    assert sessions.authenticate(home, token).name == "admin@example.com"
    given = next(line for line in back.headers.get_list("set-cookie") if line.startswith("millrace_session"))
    assert "HttpOnly" in given
    assert "SameSite=strict" in given
    for secret in (token, CLIENT_SECRET):
        assert secret not in back.headers["location"] + back.text


def test_the_cookie_of_a_journey_comes_back_from_another_site_and_is_seen_by_no_script(
    idp: Provider, browser: httpx.Client
):
    cookie = browser.get(START, params=AT_PROVIDER).headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=lax" in cookie
    assert "Max-Age=600" in cookie


def test_another_browser_gets_nothing_from_an_address_that_leaked(idp: Provider, browser: httpx.Client, url: str):
    back = away(browser)
    with httpx.Client(base_url=url, trust_env=False) as other:
        for _ in range(2):
            answer = other.get(back)
            assert answer.json()["error"]["code"] == "SIGN_ON"
            assert "millrace_session" not in other.cookies
            other.get(START, params=AT_PROVIDER)  # with a journey of its own it gets nothing either
    assert browser.get(back).status_code == 303


def test_an_address_without_single_sign_on_is_told(idp: Provider, browser: httpx.Client):
    answer = browser.get(START, params={"email": "nobody@nowhere.example"})
    assert answer.json()["error"]["code"] == "SIGN_ON"
    assert browser.get(START, params={"email": "x"}).json()["error"]["code"] == "BAD_EMAIL"
    assert browser.get(START).status_code == 400


def test_nobody_begins_or_fails_without_end(home: Home, idp: Provider):
    app: FastAPI = application(home, limits=Limits(failures_a_minute=3))
    with served(app) as url, httpx.Client(base_url=url, trust_env=False) as browser:
        codes = [browser.get(START, params={"email": "nobody@nowhere.example"}).status_code for _ in range(4)]
        assert codes[3] == 429
        assert browser.get(START + "/back", params={"code": "x"}).status_code == 429
