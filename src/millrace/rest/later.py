"""Routes that are made when they are first needed: FastAPI takes milliseconds for each, and a server has hundreds."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property

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


def _unmade(_: Request) -> Response:
    raise NotImplementedError("the route that was made answers")
