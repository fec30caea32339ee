"""Routes that are made when they are first needed: FastAPI takes milliseconds for each, and a server has hundreds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any, TypeAlias, TypeVar

from fastapi import APIRouter
from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Match, Route
from starlette.types import Receive, Scope, Send

Endpoint = TypeVar("Endpoint", bound=Callable[..., Any])
Written: TypeAlias = Callable[[], tuple[Callable[..., Any], dict[str, Any]]]

_PREFIXES = {"/api/public/v2.0": "public", "/api/v1": "orchestration"}


class Later(Route):
    """An address that knows its path and method, and makes the route that answers when the first request comes.

    ``make``: makes that route, for the same path and method.
    """

    def __init__(self, path: str, method: str, name: str, make: Callable[[], BaseRoute]) -> None:
        super().__init__(path, _unmade, methods=[method], name=name)
        self._make = make

    @cached_property
    def made(self) -> BaseRoute:
        """The route that answers."""
        return self._make()

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        match, found = super().matches(scope)
        if match == Match.FULL:
            return self.made.matches(scope)
        # For another method there is mostly another route, which shall not have to wait for this one.
        return match, {**found, "route": self} if match == Match.PARTIAL else found

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.made.handle(scope, receive, send)


class Addresses:
    """Routes that are written like those of a router of FastAPI, and made later."""

    def __init__(self, *, prefix: str = "", tags: Sequence[str] = (), route_class: type[APIRoute] = APIRoute) -> None:
        self._prefix, self._tags, self._route_class = prefix, tags, route_class
        self._written: list[tuple[str, str, str, Written]] = []

    def add_later(self, path: str, method: str, name: str, written: Written) -> None:
        """``written``: the endpoint, and what else `APIRouter.add_api_route` is told; asked for in time."""
        self._written.append((path, method, name, written))

    # What a decorator says of a route goes on to FastAPI as it is.
    def add_api_route(self, path: str, endpoint: Callable[..., Any], *, methods: Sequence[str], **told: Any) -> None:
        """A route for the one method."""
        (method,) = methods
        self.add_later(path, method, told.get("name") or endpoint.__name__, lambda: (endpoint, told))

    def get(self, path: str, **told: Any) -> Callable[[Endpoint], Endpoint]:
        return self._asked("GET", path, told)

    def post(self, path: str, **told: Any) -> Callable[[Endpoint], Endpoint]:
        return self._asked("POST", path, told)

    def put(self, path: str, **told: Any) -> Callable[[Endpoint], Endpoint]:
        return self._asked("PUT", path, told)

    def patch(self, path: str, **told: Any) -> Callable[[Endpoint], Endpoint]:
        return self._asked("PATCH", path, told)

    def delete(self, path: str, **told: Any) -> Callable[[Endpoint], Endpoint]:
        return self._asked("DELETE", path, told)

    def _asked(self, method: str, path: str, told: dict[str, Any]) -> Callable[[Endpoint], Endpoint]:
        def asked(endpoint: Endpoint) -> Endpoint:
            self.add_api_route(path, endpoint, methods=[method], **told)
            return endpoint

        return asked

    def under(self, prefix: str, responses: dict[int | str, dict[str, Any]] | None = None) -> list[Later]:
        """All of them, with that in front of their paths. ``responses``: what each may answer besides its own."""
        prefix += self._prefix

        def later(path: str, method: str, name: str, written: Written) -> Later:
            def make() -> BaseRoute:
                alone = APIRouter(
                    prefix=prefix,
                    tags=[*self._tags],
                    route_class=self._route_class,
                    responses=responses,
                    generate_unique_id_function=operation_id,
                    strict_content_type=False,
                )
                endpoint, told = written()
                alone.add_api_route(path, endpoint, methods=[method], **told)
                return alone.routes[0]

            return Later(f"{prefix}{path}", method, name, make)

        return [later(*one) for one in self._written]


def operation_id(route: APIRoute) -> str:
    """`public_pipelines_listed` for the function of that name in the public API."""
    api = next((name for prefix, name in _PREFIXES.items() if route.path_format.startswith(f"{prefix}/")), None)
    return route.name if api is None else f"{api}_{route.name}"


def _unmade(_: Request) -> Response:
    raise NotImplementedError("the route that was made answers")
