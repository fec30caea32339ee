"""What holds for every request: who asks, how often, how much, and one shape of error."""

from __future__ import annotations

import base64
import logging
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from fastapi import APIRouter, FastAPI
from pydantic import BaseModel, ConfigDict
from tests.rest.conftest import MANY, Keys, served

from millrace.control.home import Home
from millrace.errors import ConfigError, EnvironmentProblem, Forbidden, MillraceError, Stale, Transient
from millrace.rest.app import Limits, application
from millrace.rest.asking import Asking, KeyRoute
from millrace.rest.problems import NotBuilt

SENTINEL = "sentinel-7f3a9c"


class Body(BaseModel):
    model_config = ConfigDict(extra="forbid")
    name: str
    password: int = 0


ERRORS: dict[str, tuple[Callable[[], Exception], int, str]] = {
    "forbidden": (lambda: Forbidden("no"), 403, "FORBIDDEN"),
    "missing": (lambda: ConfigError("none", code="unknown_pipeline"), 404, "UNKNOWN_PIPELINE"),
    "key": (lambda: ConfigError("none", code="unknown_key", path="config.x"), 400, "UNKNOWN_KEY"),
    "taken": (lambda: ConfigError("two", code="name_taken"), 409, "NAME_TAKEN"),
    "stale": (lambda: Stale("gone"), 409, "STALE"),
    "later": (lambda: Transient("busy", retry_after_s=7), 503, "TRANSIENT"),
    "disk": (lambda: EnvironmentProblem(f"/data/{SENTINEL} is full", code="disk_full"), 503, "DISK_FULL"),
    "unbuilt": (lambda: NotBuilt("not yet"), 501, "NOT_IMPLEMENTED"),
    "ours": (lambda: MillraceError(SENTINEL), 500, "INTERNAL"),
    "bug": (lambda: ValueError(SENTINEL), 500, "INTERNAL"),
}


def probed(home: Home, limits: Limits) -> FastAPI:
    """The application with routes that do what a test asks for."""
    app = application(home, limits=limits)
    router = APIRouter(prefix="/t", route_class=KeyRoute)

    @router.get("/who")
    def who(home: Asking) -> str:
        return home.actor.name

    @router.post("/body")
    def body(home: Asking, body: Body) -> str:
        return body.name

    @router.get("/fail/{what}")
    def fail(what: str) -> None:
        raise ERRORS[what][0]()

    app.include_router(router)
    return app


@pytest.fixture(scope="module")
def app(home: Home) -> FastAPI:
    return probed(home, MANY)


def basic(text: str) -> Callable[[Keys], dict[str, str]]:
    def header(keys: Keys) -> dict[str, str]:
        pair = text.format(key=keys.admin[0], secret=keys.admin[1])
        return {"Authorization": "Basic " + base64.b64encode(pair.encode()).decode()}

    return header


def test_whoever_has_a_key_is_let_in(client: httpx.Client) -> None:
    assert client.get("/t/who").json() == "admin@example.com"


@pytest.mark.parametrize(
    "headers",
    [{}, basic("{key}:wrong"), basic("nobody:{secret}"), basic("{key}"), basic(":"), basic("a:\0"),
     basic("{key}\n:{secret}"), {"Authorization": "Basic ???"}, {"Authorization": "Bearer x"},
     {"Authorization": "Basic"}, {"Authorization": "Basic /////w=="}],
    ids=["none", "secret", "key", "no-colon", "empty", "nul", "line", "no-base64", "scheme", "bare", "no-text"],
)  # fmt: skip
def test_nobody_else_is(url: str, keys: Keys, headers: dict[str, str] | Callable[[Keys], dict[str, str]]) -> None:
    answer = httpx.get(f"{url}/t/who", headers=headers(keys) if callable(headers) else headers)
    assert answer.status_code == 401
    assert answer.json()["error"]["code"] == "UNAUTHENTICATED"
    assert answer.headers["WWW-Authenticate"].startswith("Basic ")


def test_nothing_of_a_body_is_judged_before_its_sender_is_known(url: str) -> None:
    assert httpx.post(f"{url}/t/body", content="{broken").status_code == 401


@pytest.mark.parametrize("what", ERRORS)
def test_every_error_has_its_status_and_the_one_shape(
    client: httpx.Client, what: str, caplog: pytest.LogCaptureFixture
) -> None:
    _, status, code = ERRORS[what]
    with caplog.at_level(logging.DEBUG):
        answer = client.get(f"/t/fail/{what}", headers={"X-Request-Id": "mine-1"})
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/json"
    body = answer.json()
    assert body["success"] is False
    assert body["error"]["code"] == code
    assert body["error"]["request_id"] == answer.headers["X-Request-Id"] == "mine-1"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert SENTINEL not in answer.text
    if status == 500:
        assert SENTINEL not in caplog.text
        assert "mine-1 failed: " in caplog.text
        assert "test_app.py" in caplog.text
    if what == "later":
        assert answer.headers["Retry-After"] == "7"


def test_a_wrong_body_is_told_without_its_values(client: httpx.Client) -> None:
    answer = client.post("/t/body", json={"name": "x", "password": SENTINEL, "more": SENTINEL})
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert (error["code"], error["field"]) == ("INVALID_PARAMETER", "password")
    assert "more: there is no such key" in error["message"]
    assert SENTINEL not in answer.text


def test_json_that_is_none_is_told_with_its_place(client: httpx.Client) -> None:
    answer = client.post("/t/body", content='{"name": nope}', headers={"Content-Type": "application/json"})
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == "INVALID_JSON"
    assert "character 9" in answer.json()["error"]["message"]


def test_a_form_is_not_taken_for_json(client: httpx.Client) -> None:
    answer = client.post("/t/body", data={"name": "x"})
    assert answer.status_code == 400
    assert answer.json()["error"]["hint"] == "Send Content-Type: application/json."


def test_json_needs_no_content_type(client: httpx.Client) -> None:
    assert client.post("/t/body", content='{"name": "x"}').json() == "x"


@pytest.mark.parametrize(("path", "method", "status"), [("/nowhere", "GET", 404), ("/t/who", "PUT", 405)])
def test_what_is_not_there_has_the_one_shape_too(client: httpx.Client, path: str, method: str, status: int) -> None:
    answer = client.request(method, path)
    assert answer.status_code == status
    assert answer.json()["success"] is False


def test_an_unfit_request_id_is_replaced(client: httpx.Client) -> None:
    answer = client.get("/t/who", headers={"X-Request-Id": "a b"})
    assert len(answer.headers["X-Request-Id"]) == 32


def test_a_user_is_told_to_slow_down_after_so_many_requests_and_others_are_not(home: Home, keys: Keys) -> None:
    few = probed(home, Limits(requests_a_minute=3))
    with served(few) as url, httpx.Client(base_url=url, auth=keys.admin) as client:
        first = client.get("/t/who")
        assert first.headers["X-RateLimit-Limit"] == "3"
        assert first.headers["X-RateLimit-Remaining"] == "2"
        assert 0 < int(first.headers["X-RateLimit-Reset"]) <= 60
        assert client.get("/t/fail/missing").headers["X-RateLimit-Remaining"] == "1"
        assert client.get("/t/who").status_code == 200
        over = client.get("/t/who")
        assert over.status_code == 429
        assert over.json()["error"]["message"] == "Request rate limit exceeded"
        assert over.headers["Retry-After"] == over.headers["X-RateLimit-Reset"]
        assert client.get("/t/who", auth=keys.observer).status_code == 200


def test_keys_cannot_be_guessed_at_leisure(home: Home, keys: Keys) -> None:
    few = probed(home, Limits(failures_a_minute=2))
    with served(few) as url:
        statuses = [httpx.get(f"{url}/t/who", auth=(keys.admin[0], f"guess{n}")).status_code for n in range(3)]
        assert statuses == [401, 401, 429]


def test_the_process_says_that_it_lives_and_that_it_is_ready(url: str) -> None:
    assert httpx.get(f"{url}/healthz").json() == {"status": "ok"}
    assert httpx.get(f"{url}/readyz").json() == {"status": "ready"}


def test_it_is_not_ready_without_its_control_database(tmp_path: Path) -> None:
    with Home.open(tmp_path / "home", create=True, env={}) as home, served(application(home)) as url:
        home.database.close()
        home.path.rename(tmp_path / "moved")
        answer = httpx.get(f"{url}/readyz")
    assert answer.status_code == 503
    assert answer.json()["status"] == "unavailable"
