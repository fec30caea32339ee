"""Routes that are made when they are first needed."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest
from fastapi import APIRouter, FastAPI
from starlette.routing import BaseRoute
from tests.rest.conftest import served

from millrace.rest.later import Later
from millrace.rest.millrace import router as own
from millrace.rest.openapi import Described


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


def test_no_route_of_an_operation_is_made_with_the_others() -> None:
    later = [route for route in own.routes() if isinstance(route, Later)]
    assert len(later) > 100
    assert not any("made" in vars(route) for route in later)
