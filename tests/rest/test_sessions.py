"""Pages sign in: sessions in cookies, with a second factor, and changes that only our own pages can make."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from http.cookies import SimpleCookie
from pathlib import Path
from typing import Any

import httpx
import pytest
import sqlalchemy as sa
from pyotp.totp import TOTP
from tests.control.people import PASSWORD, joined
from tests.control.receivers import mail_server
from tests.rest.conftest import MANY, Keys, served

from millrace.control import settings
from millrace.control.alerting import alert_channels
from millrace.control.database.people_tables import sessions as rows
from millrace.control.database.people_tables import users as people
from millrace.control.home import Home
from millrace.control.people import invitations, security, users
from millrace.control.people.actors import SYSTEM
from millrace.rest.app import Limits, application

ROOT = Path(__file__).parents[2]
API = "/api/millrace/v1"
NEW = "Other-horse-8"


@pytest.fixture
def ada(home: Home) -> Iterator[str]:
    """An observer, who is gone after the test."""
    joined(home, "ada@example.com")
    yield "ada@example.com"
    users.remove(home, "ada@example.com")


@pytest.fixture
def page(url: str) -> Iterator[httpx.Client]:
    """A browser that is not signed in."""
    with httpx.Client(base_url=url, timeout=30) as page:
        yield page


def sign_in(page: httpx.Client, email: str = "ada@example.com", password: str = PASSWORD) -> httpx.Response:
    """The page has the CSRF token of its session, if it got one."""
    answer = page.post(f"{API}/session", json={"email": email, "password": password})
    if answer.is_success:
        page.headers["X-CSRF-Token"] = answer.json()["csrf"]
    return answer


def follow(page: httpx.Client, answer: httpx.Response) -> Any:
    """The page goes on with the session that the answer gave it."""
    assert answer.is_success, answer.text
    body = answer.json()
    page.headers["X-CSRF-Token"] = body.get("session", body)["csrf"]
    return body


def code_of(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]["code"]


def test_whoever_forgot_their_password_gets_a_link_by_mail_and_nobody_learns_who_is_known(
    page: httpx.Client, home: Home, ada: str
) -> None:
    with mail_server() as box:
        config = {"host": "127.0.0.1", "port": box.port, "security": "none", "sender": "millrace@example.com"}
        settings.change(home, public_url="https://millrace.example.com", allow_private_addresses=True)
        alert_channels.add(home, "mail", "email", config)
        asked = [
            page.post(f"{API}/password-resets", json={"email": email})
            for email in ("nobody@example.com", "no address", *[ada] * 5)
        ]
        assert {(one.status_code, one.content) for one in asked} == {(204, b"")}
        deadline = time.monotonic() + 60
        while not box.mails and time.monotonic() < deadline:
            time.sleep(0.02)
        page.post(f"{API}/password-resets", json={"email": ada})
        alert_channels.remove(home, "mail")
    assert box.recipients == [[ada]], "in five minutes nobody gets more"
    found = re.search(r"https://millrace.example.com(/\S+)#(\S+)", box.mails[-1].get_content())
    assert found is not None
    # The link leads to a screen, which is told the token by what follows # and asks the API.
    assert f"path: '{found[1]}'" in (ROOT / "web/src/app/routes.tsx").read_text()
    assert page.get(found[1], headers={"Accept": "text/html"}).headers["Content-Type"].startswith("text/html")
    body = {"token": found[2], "password": NEW}
    assert page.post(f"{API}/password-resets/accept", json=body).status_code == 200
    assert sign_in(page, password=NEW).status_code == 201


def test_a_page_signs_in_learns_who_it_is_and_signs_out(page: httpx.Client, ada: str) -> None:
    answer = sign_in(page)
    assert (answer.status_code, answer.json()["state"], answer.json()["email"]) == (201, "open", ada)
    cookie = SimpleCookie(answer.headers["set-cookie"])["millrace_session"]
    assert (cookie["httponly"], cookie["samesite"], cookie["path"], cookie["secure"]) == (True, "strict", "/", "")
    assert cookie.value not in answer.text
    me = page.get(f"{API}/me").json()
    assert (me["kind"], me["user"]["email"], me["user"]["roles"]) == ("user", ada, ["OBSERVER"])
    assert me["permissions"] == ["usage.view", "view"] and me["team"]["name"]
    assert page.get("/api/public/v2.0/pipelines").status_code == 200
    read = page.get(f"{API}/session").json()
    assert (read["state"], read["csrf"]) == ("open", page.headers["X-CSRF-Token"])
    assert page.delete(f"{API}/session").status_code == 204
    assert "millrace_session" not in page.cookies
    # Whoever kept the cookie has nothing.
    page.cookies.set("millrace_session", cookie.value)
    assert code_of(page.get(f"{API}/me")) == (401, "NO_SESSION")
    assert page.get(f"{API}/session").headers["WWW-Authenticate"].startswith("Session ")


def test_a_key_is_told_who_it_stands_for_but_does_not_reach_the_account_of_its_user(client: httpx.Client) -> None:
    me = client.get(f"{API}/me").json()
    assert (me["kind"], me["user"]["email"]) == ("key", "admin@example.com")
    assert client.get(f"{API}/me/sessions").status_code == 403
    assert client.put(f"{API}/me/password", json={"old": PASSWORD, "new": NEW}).status_code == 403


def test_a_key_goes_before_a_cookie(page: httpx.Client, ada: str, keys: Keys) -> None:
    sign_in(page)
    assert page.get(f"{API}/me", auth=keys.admin).json()["kind"] == "key"
    assert page.get(f"{API}/me", auth=(keys.admin[0], "wrong")).status_code == 401


@pytest.mark.parametrize(
    "headers",
    [{"X-CSRF-Token": ""}, {"X-CSRF-Token": "x" * 43}, {"Sec-Fetch-Site": "cross-site"},
     {"Sec-Fetch-Site": "same-site"}, {"Origin": "https://evil.example"}, {"Origin": "null"}],
    ids=["none", "wrong", "cross-site", "same-site", "origin", "no-origin"],
)  # fmt: skip
def test_a_change_that_no_page_of_ours_makes_is_refused(page: httpx.Client, ada: str, headers: dict[str, str]) -> None:
    sign_in(page)
    for method, path in (("DELETE", "/session"), ("DELETE", "/me/sessions"), ("POST", "/me/second-factor")):
        assert code_of(page.request(method, f"{API}{path}", headers=headers)) == (403, "CSRF")
    assert page.get(f"{API}/me").status_code == 200
    if "X-CSRF-Token" not in headers:
        page.cookies.clear()
        login = page.post(f"{API}/session", json={"email": ada, "password": PASSWORD}, headers=headers)
        assert code_of(login) == (403, "CSRF")


def test_signing_in_again_ends_the_session_that_the_browser_had(page: httpx.Client, ada: str) -> None:
    sign_in(page)
    sign_in(page)
    assert len(page.get(f"{API}/me/sessions").json()) == 1
    assert sign_in(page, password="wrong").status_code == 401
    assert page.get(f"{API}/me").status_code == 200


def test_a_page_of_ours_makes_changes(page: httpx.Client, ada: str) -> None:
    sign_in(page)
    own = {"Sec-Fetch-Site": "same-origin", "Origin": str(page.base_url).rstrip("/")}
    assert page.delete(f"{API}/me/sessions", headers=own).json() == {"ended": 0}


def test_a_wrong_password_an_unknown_user_and_a_locked_one_get_the_same_answer(
    page: httpx.Client, home: Home, ada: str
) -> None:
    wrong = [sign_in(page, password="wrong") for _ in range(5)]
    unknown = sign_in(page, "nobody@example.com", "wrong")
    locked = sign_in(page)
    said = {(a.status_code, a.json()["error"]["code"], a.json()["error"]["message"]) for a in [*wrong, unknown, locked]}
    assert len(said) == 1 and locked.status_code == 401
    assert "set-cookie" not in locked.headers
    users.unlock(home, ada)
    assert sign_in(page).status_code == 201


def test_a_sign_in_from_where_a_team_takes_nobody_tells_nobody_who_has_an_address(
    page: httpx.Client, home: Home, ada: str
) -> None:
    security.change(home, allowed_addresses=["192.0.2.0/24"])
    answers = [
        sign_in(page, email, password)
        for email in (ada, "nobody@example.com", "no address")
        for password in (PASSWORD, "wrong")
    ]
    security.change(home, allowed_addresses=[])
    said = {(one.status_code, *[one.json()["error"][key] for key in ("code", "message", "hint")]) for one in answers}
    ((status, code, _, hint),) = said
    assert (status, code) == (401, "SIGN_IN") and "nobody from 127.0.0.1" in hint
    assert sign_in(page).status_code == 201


def test_no_sign_in_is_refused_sooner_than_another(home: Home, ada: str) -> None:
    """Where nothing is to be noted, and where a failure is, or that somebody is locked out."""
    took: list[float] = []
    with served(application(home, limits=Limits(refusal_s=1.0))) as url, httpx.Client(base_url=url) as page:
        for email in ("nobody@example.com", *[ada] * 6):
            began = time.monotonic()
            assert sign_in(page, email, "wrong").status_code == 401
            took.append(time.monotonic() - began)
    assert min(took) >= 1.0


def test_passwords_cannot_be_guessed_at_leisure_from_one_address(home: Home) -> None:
    few = application(home, limits=Limits(failures_a_minute=2))
    with served(few) as url, httpx.Client(base_url=url) as page:
        statuses = [sign_in(page, f"nobody{n}@example.com", "wrong").status_code for n in range(3)]
    assert statuses == [401, 401, 429]


def test_guesses_that_come_together_are_counted_before_they_are_looked_at(home: Home, ada: str) -> None:
    with served(application(home, limits=Limits(failures_a_minute=3))) as url:

        def guess(number: int) -> int:
            with httpx.Client(base_url=url, timeout=60) as page:
                return sign_in(page, f"nobody{number}@example.com", "wrong").status_code

        with ThreadPoolExecutor(12) as many:
            assert sorted(many.map(guess, range(12))) == [401] * 3 + [429] * 9


def test_who_signs_in_often_is_taken_for_no_guesser(home: Home, ada: str) -> None:
    with served(application(home, limits=Limits(failures_a_minute=2))) as url, httpx.Client(base_url=url) as page:
        assert [sign_in(page).status_code for _ in range(5)] == [201] * 5


def test_somebody_who_is_signed_in_is_told_to_slow_down_too(home: Home, ada: str) -> None:
    few = application(home, limits=Limits(page_requests_a_minute=2))
    with served(few) as url, httpx.Client(base_url=url) as page:
        sign_in(page)
        assert [page.get(f"{API}/me").status_code for _ in range(3)] == [200, 200, 429]


def test_a_session_ends_after_twelve_hours(page: httpx.Client, home: Home, ada: str) -> None:
    ends = datetime.fromisoformat(sign_in(page).json()["expires_at"])
    assert timedelta(hours=11) < ends - datetime.now(UTC) <= timedelta(hours=12)
    with home.database.transaction() as connection:
        mine = sa.select(people.c.id).where(people.c.email == ada).scalar_subquery()
        past = datetime.now(UTC) - timedelta(seconds=1)
        connection.execute(sa.update(rows).where(rows.c.user_id == mine).values(expires_at=past))
    assert code_of(page.get(f"{API}/me")) == (401, "NO_SESSION")


def test_sessions_are_listed_and_ended_one_by_one_or_all_others(page: httpx.Client, url: str, ada: str) -> None:
    with httpx.Client(base_url=url, headers={"User-Agent": "a phone"}) as phone, httpx.Client(base_url=url) as tablet:
        for one in (phone, tablet, page):
            sign_in(one)
        found = page.get(f"{API}/me/sessions").json()
        assert [(one["current"], one["agent"] == "a phone") for one in found] == [
            (True, False), (False, False), (False, True),
        ]  # fmt: skip
        assert found[0]["address"] == "127.0.0.1"
        assert page.delete(f"{API}/me/sessions/{found[2]['id']}").status_code == 204
        assert page.delete(f"{API}/me/sessions/{found[2]['id']}").status_code == 404
        assert [one.get(f"{API}/me").status_code for one in (phone, tablet)] == [401, 200]
        assert page.delete(f"{API}/me/sessions").json() == {"ended": 1}
        assert [one.get(f"{API}/me").status_code for one in (phone, tablet, page)] == [401, 401, 200]


def test_nobody_ends_the_session_of_somebody_else(page: httpx.Client, url: str, ada: str) -> None:
    with httpx.Client(base_url=url) as other:
        sign_in(page)
        sign_in(other, "observer@example.com")
        theirs = other.get(f"{API}/me/sessions").json()[0]["id"]
        assert code_of(page.delete(f"{API}/me/sessions/{theirs}")) == (404, "UNKNOWN_SESSION")


def test_another_password_ends_all_other_sessions(page: httpx.Client, url: str, ada: str) -> None:
    with httpx.Client(base_url=url) as other:
        sign_in(page)
        sign_in(other)
        refused = page.put(f"{API}/me/password", json={"old": "wrong", "new": NEW})
        assert code_of(refused) == (401, "SIGN_IN")
        assert code_of(page.put(f"{API}/me/password", json={"old": PASSWORD, "new": "weak"})) == (400, "WEAK_PASSWORD")
        before = page.cookies["millrace_session"]
        follow(page, page.put(f"{API}/me/password", json={"old": PASSWORD, "new": NEW}))
        assert page.cookies["millrace_session"] != before
        assert [one.get(f"{API}/me").status_code for one in (page, other)] == [200, 401]
        assert len(page.get(f"{API}/me/sessions").json()) == 1
        assert sign_in(other).status_code == 401
        assert sign_in(other, password=NEW).status_code == 201


def test_a_second_factor_is_set_up_shown_and_turned_off(page: httpx.Client, url: str, ada: str) -> None:
    sign_in(page)
    seed = page.post(f"{API}/me/second-factor").json()["seed"]
    app = TOTP(seed)
    assert code_of(page.post(f"{API}/me/second-factor/confirm", json={"code": "000000"})) == (401, "CODE")
    # One step ago: the current one is still unused then.
    done = follow(page, page.post(f"{API}/me/second-factor/confirm", json={"code": app.at(int(time.time()) - 30)}))
    assert len(done["recovery_codes"]) == 10
    assert code_of(page.post(f"{API}/me/second-factor")) == (409, "TWO_FACTOR_ON")
    with httpx.Client(base_url=url) as other:
        assert sign_in(other).json()["state"] == "second_factor"
        # A password alone opens nothing.
        assert code_of(other.get(f"{API}/me")) == (401, "NO_SESSION")
        assert code_of(other.post(f"{API}/session/second-factor", json={"code": "000000"})) == (401, "CODE")
        half = other.cookies["millrace_session"]
        opened = follow(other, other.post(f"{API}/session/second-factor", json={"code": app.now()}))
        assert (opened["state"], other.get(f"{API}/me").json()["user"]["two_factor"]) == ("open", True)
        assert other.cookies["millrace_session"] != half
        # A recovery code does too, once.
        sign_in(other)
        follow(other, other.post(f"{API}/session/second-factor", json={"code": done["recovery_codes"][0]}))
        sign_in(other)
        again = other.post(f"{API}/session/second-factor", json={"code": done["recovery_codes"][0]})
        assert code_of(again) == (401, "CODE")
    codes = page.post(f"{API}/me/second-factor/recovery-codes", json={"code": done["recovery_codes"][1]}).json()
    off = page.post(f"{API}/me/second-factor/off", json={"code": codes["recovery_codes"][0]})
    assert off.status_code == 204
    assert sign_in(page).json()["state"] == "open"


def test_a_team_that_requires_a_second_factor_lets_people_do_nothing_else_before(
    page: httpx.Client, home: Home, ada: str
) -> None:
    security.change(home, two_factor_required=True)
    try:
        assert sign_in(page).json()["state"] == "enrol"
        assert code_of(page.get(f"{API}/me")) == (401, "NO_SESSION")
        assert page.get(f"{API}/session").json()["state"] == "enrol"
        seed = page.post(f"{API}/me/second-factor").json()["seed"]
        follow(page, page.post(f"{API}/me/second-factor/confirm", json={"code": TOTP(seed).now()}))
        assert page.get(f"{API}/me").status_code == 200
    finally:
        security.change(home, two_factor_required=False)


def test_only_allowed_addresses_come_in_and_stay_in(page: httpx.Client, home: Home, ada: str) -> None:
    sign_in(page)
    security.change(home, allowed_addresses=["192.0.2.0/24"])
    try:
        assert code_of(page.get(f"{API}/me")) == (403, "ADDRESS")
        assert code_of(sign_in(page)) == (401, "SIGN_IN")
    finally:
        security.change(home, allowed_addresses=[])
    assert page.get(f"{API}/me").status_code == 200


def test_behind_tls_the_cookie_is_secure_and_the_address_is_that_of_the_caller(home: Home, ada: str) -> None:
    app = application(home, limits=MANY)
    forwarded = {"X-Forwarded-Proto": "https", "X-Forwarded-For": "192.0.2.7"}
    with served(app, proxies=["127.0.0.1"]) as url:
        answer = httpx.post(f"{url}{API}/session", json={"email": ada, "password": PASSWORD}, headers=forwarded)
        cookie = SimpleCookie(answer.headers["set-cookie"])["__Host-millrace_session"]
        assert (cookie["secure"], cookie["httponly"], cookie["path"], cookie["domain"]) == (True, True, "/", "")
        sent = {"Cookie": f"__Host-millrace_session={cookie.value}"} | forwarded
        places = httpx.get(f"{url}{API}/me/sessions", headers=sent).json()
        assert [one["address"] for one in places] == ["192.0.2.7"]
        # A cookie of that name without the prefix may come from elsewhere: it does not count here.
        sent = {"Cookie": f"millrace_session={cookie.value}"} | forwarded
        assert httpx.get(f"{url}{API}/me", headers=sent).status_code == 401


def test_nobody_else_says_where_a_request_comes_from(url: str, ada: str) -> None:
    forwarded = {"X-Forwarded-Proto": "https", "X-Forwarded-For": "192.0.2.7"}
    with httpx.Client(base_url=url, headers=forwarded) as page:
        answer = sign_in(page)
        assert "millrace_session" in SimpleCookie(answer.headers["set-cookie"])
        assert page.get(f"{API}/me/sessions").json()[0]["address"] == "127.0.0.1"


def test_an_invitation_is_accepted_once_by_its_link(page: httpx.Client, home: Home) -> None:
    link = invitations.invite(home, "eve@example.com", ["OBSERVER"])
    given = {"token": link.token, "password": NEW, "name": "Eve"}
    assert code_of(page.post(f"{API}/invitations/accept", json=given | {"password": "x"})) == (400, "WEAK_PASSWORD")
    assert code_of(page.post(f"{API}/invitations/accept", json=given | {"name": "a\0b"})) == (400, "BAD_NAME")
    user = page.post(f"{API}/invitations/accept", json=given)
    assert (user.status_code, user.json()["name"], user.json()["status"]) == (200, "Eve", "active")
    assert code_of(page.post(f"{API}/invitations/accept", json=given)) == (403, "BAD_LINK")
    assert sign_in(page, "eve@example.com", NEW).status_code == 201
    users.remove(home, "eve@example.com")


def test_a_lost_password_is_replaced_by_a_link(page: httpx.Client, home: Home, ada: str) -> None:
    sign_in(page)
    link = invitations.renew(home.acting(SYSTEM), ada)
    assert page.post(f"{API}/password-resets/accept", json={"token": link.token, "password": NEW}).status_code == 200
    assert code_of(page.get(f"{API}/me")) == (401, "NO_SESSION")
    again = page.post(f"{API}/password-resets/accept", json={"token": link.token, "password": NEW})
    assert code_of(again) == (403, "BAD_LINK")
    assert sign_in(page, password=NEW).status_code == 201


def test_the_first_administrator_comes_in_by_a_link_and_nobody_after(page: httpx.Client, tmp_path: Any) -> None:
    with Home.open(tmp_path / "home", create=True, env={}) as fresh, served(application(fresh, limits=MANY)) as url:
        first = f"{url}{API}/first-administrator"
        token = invitations.first_link(fresh)
        assert httpx.get(first).json() == {"needed": True}
        given = {"token": token, "email": "root@example.com", "password": NEW}
        assert code_of(httpx.post(first, json=given | {"token": "x"})) == (403, "BAD_LINK")
        made = httpx.post(first, json=given)
        assert (made.status_code, made.json()["roles"]) == (201, ["TEAM_ADMIN"])
        assert httpx.get(first).json() == {"needed": False}
        assert code_of(httpx.post(first, json=given | {"email": "b@example.com"})) == (403, "BAD_LINK")
