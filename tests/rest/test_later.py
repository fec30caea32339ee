"""Routes that are made when they are first needed."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Annotated, Any

import httpx
import pytest
from fastapi import APIRouter, FastAPI, Query
from fastapi.routing import APIRoute
from starlette.routing import BaseRoute
from tests.rest.conftest import served

from millrace.control.home import Home
from millrace.rest import openapi
from millrace.rest.app import application
from millrace.rest.door import router as door
from millrace.rest.later import Addresses, Later
from millrace.rest.millrace import router as own
from millrace.rest.openapi import Described
from millrace.rest.orchestration import router as orchestration
from millrace.rest.public import router as public


@pytest.fixture
def made() -> list[str]:
    return []


@pytest.fixture
def app(made: list[str]) -> FastAPI:
    """Three addresses, two of them with one path."""

    def later(path: str, method: str, name: str) -> Later:
        def make() -> BaseRoute:
            made.append(name)
            alone = APIRouter()
            alone.add_api_route(path, lambda: name, methods=[method], name=name)
            return alone.routes[0]

        return Later(path, method, name, make)

    found = Described()
    found.router.routes += [
        later("/things/fixed", "GET", "fixed"),
        later("/things/{thing}", "GET", "read"),
        later("/things/{thing}", "PUT", "set"),
    ]
    return found


@pytest.fixture
def url(app: FastAPI) -> Iterator[str]:
    with served(app) as url:
        yield url


def test_a_route_is_made_once_by_the_first_request_for_its_path_and_method(url: str, made: list[str]) -> None:
    assert made == []
    assert [httpx.put(f"{url}/things/1").json() for _ in range(2)] == ["set", "set"]
    assert made == ["set"]
    assert httpx.get(f"{url}/things/fixed").json() == "fixed"
    assert made == ["set", "fixed"]


def test_another_method_is_told_which_there_is(url: str, made: list[str]) -> None:
    answer = httpx.delete(f"{url}/things/1")
    assert (answer.status_code, answer.headers["Allow"]) == (405, "GET")
    assert httpx.head(f"{url}/things/1").status_code == 405
    assert httpx.get(f"{url}/elsewhere").status_code == 404
    assert made == ["read"]


def test_who_looks_through_all_routes_has_them_made(app: FastAPI, made: list[str]) -> None:
    assert [type(route) for route in app.routes if isinstance(route, Later)] == []
    assert made == ["fixed", "read", "set"]


def test_what_is_written_of_a_route_is_true_of_the_one_that_is_made() -> None:
    router = Addresses(prefix="/things", tags=["things"])

    @router.put("/{thing}", status_code=202, summary="Say it.", responses={409: {"description": "Not now."}})
    def say(thing: int, word: Annotated[str, Query(max_length=3)]) -> dict[str, str]:
        return {word: str(thing)}

    assert say(1, "a") == {"a": "1"}
    app = Described()
    app.router.routes += router.under("/api/v1", {404: {}})
    with served(app) as url:
        answers = [
            httpx.put(f"{url}/api/v1/things/{thing}", params={"word": word}) for thing, word in ((1, "a"), (1, "long"))
        ]
    assert [answer.status_code for answer in answers] == [202, 422]
    assert answers[0].json() == {"a": "1"}
    (made,) = (route for route in app.routes if isinstance(route, APIRoute) and route.path.startswith("/api/"))
    assert (made.tags, made.summary, made.unique_id) == (["things"], "Say it.", "orchestration_say")
    assert {*made.responses} == {404, 409}


def test_others_are_answered_while_the_document_is_made_which_is_made_once(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    began, going_on, made = threading.Event(), threading.Event(), list[object]()

    def document(app: FastAPI) -> dict[str, Any]:
        made.append(app)
        began.set()
        assert going_on.wait(60)
        return {"openapi": "3.1.0"}

    monkeypatch.setattr(openapi, "_document", document)
    with served(application(home)) as url, ThreadPoolExecutor() as pool:
        answers = [pool.submit(httpx.get, f"{url}/api/openapi.json", timeout=60) for _ in range(3)]
        try:
            assert began.wait(60)
            assert httpx.get(f"{url}/healthz", timeout=20).json() == {"status": "ok"}
        finally:
            going_on.set()
        assert [one.result().json() for one in answers] == [{"openapi": "3.1.0"}] * 3
    assert len(made) == 1


def test_addresses_are_no_router_and_the_routes_of_an_application_no_list_to_which_one_adds_in_vain(
    app: FastAPI,
) -> None:
    assert not isinstance(Addresses(), APIRouter)  # `include_router` would find nothing in it
    assert not hasattr(app.routes, "append")


@pytest.mark.parametrize("method", ["get", "post", "put", "patch", "delete"])
def test_each_method_has_its_decorator(method: str) -> None:
    router = Addresses()

    @getattr(router, method)("/things", name="asked")
    def ask() -> str:
        return method

    (route,) = router.under("/api/v1")
    assert (route.path, route.name, method.upper() in (route.methods or ())) == ("/api/v1/things", "asked", True)
    app = Described()
    app.router.routes.append(route)
    with served(app) as url:
        assert httpx.request(method, f"{url}/api/v1/things").json() == method


def test_no_route_of_the_apis_is_made_with_the_others() -> None:
    later = [*own.routes(), *public.routes(), *orchestration.routes(), *door.routes()]
    assert len(later) > 250
    assert not any("made" in vars(route) for route in later)
