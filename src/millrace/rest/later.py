"""Routes that are made when they are first needed: FastAPI takes milliseconds for each, and a server has hundreds."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any

from fastapi import APIRouter
from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Match, Route
from starlette.types import Receive, Scope, Send


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


class Addresses(APIRouter):
    """Routes that are written like those of any router, and made later."""

    def __init__(
        self, *, prefix: str = "", tags: list[str] | None = None, route_class: type[APIRoute] = APIRoute
    ) -> None:
        super().__init__(prefix=prefix, tags=[*(tags or ())], route_class=route_class)
        self._written: list[tuple[str, Callable[..., Any], dict[str, Any]]] = []

    # What a decorator says of a route goes on to FastAPI as it is.
    def add_api_route(self, path: str, endpoint: Callable[..., Any], **told: Any) -> None:
        self._written.append((path, endpoint, told))

    def under(
        self,
        prefix: str,
        operation_id: Callable[[APIRoute], str],
        responses: dict[int | str, dict[str, Any]] | None = None,
    ) -> list[Later]:
        """All of them, with that in front of their paths. ``responses``: what each may answer besides its own."""

        def later(path: str, endpoint: Callable[..., Any], told: dict[str, Any]) -> Later:
            def make() -> BaseRoute:
                alone = APIRouter(
                    prefix=f"{prefix}{self.prefix}",
                    tags=self.tags,
                    route_class=self.route_class,
                    responses=responses,
                    generate_unique_id_function=operation_id,
                    strict_content_type=False,
                )
                alone.add_api_route(path, endpoint, **told)
                return alone.routes[0]

            (method,) = told["methods"]
            return Later(f"{prefix}{self.prefix}{path}", method, told.get("name") or endpoint.__name__, make)

        return [later(*one) for one in self._written]


def _unmade(_: Request) -> Response:
    raise NotImplementedError("the route that was made answers")
