"""Who asks: API keys by basic authentication, before anything of the request's body is read."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable, Coroutine
from typing import Annotated, Any, TypeAlias

from fastapi import Depends, Request, Response, Security
from fastapi.routing import APIRoute
from fastapi.security import HTTPBasic
from starlette.concurrency import run_in_threadpool

from millrace.control import keys
from millrace.control.home import Home
from millrace.errors import AuthError
from millrace.rest.problems import BadRequest, Unauthenticated, answer
from millrace.rest.rates import Rates

_basic = HTTPBasic(auto_error=False, scheme_name="key", description="API key as the user, its secret as the password.")


class Asked(Request):
    """A request whose JSON holds nothing that no answer could repeat."""

    async def json(self) -> Any:
        found = await super().json()
        if b"\\u" in await self.body():
            try:
                json.dumps(found, ensure_ascii=False).encode()
            except UnicodeEncodeError as lone:
                raise BadRequest("the body holds half of a character (a lone surrogate)") from lone
        return found


class KeyRoute(APIRoute):
    """A route for holders of an API key: first who asks, then how often, then what."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def guarded(request: Request) -> Response:
            refused = await _let_in(request)
            return refused or await handle(Asked(request.scope, request.receive))

        return guarded


async def asking(request: Request, _: Annotated[Any, Security(_basic)] = None) -> Home:
    """The home, asked by whoever sent the request."""
    return request.state.home


Asking: TypeAlias = Annotated[Home, Depends(asking)]


def pair(request: Request) -> tuple[str, str]:
    """Key and secret of a request. Raises Unauthenticated."""
    scheme, _, sent = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "basic":
        raise Unauthenticated(
            "this address needs an API key", hint="Send it by HTTP basic authentication: the key, a colon, its secret."
        )
    try:
        key, colon, secret = base64.b64decode(sent.strip(), validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError, ValueError):
        key, colon, secret = "", "", ""
    if not colon or not key or not secret or "\0" in key + secret:
        raise Unauthenticated("the Authorization header cannot be understood", hint="Send base64 of key:secret.")
    return key, secret


async def _let_in(request: Request) -> Response | None:
    """The request knows its home from now on; or the answer that sends it away."""
    state = request.app.state
    rates: Rates = state.rates
    failures: Rates = state.failures
    address = request.client.host if request.client else "unknown"
    if (count := failures.look(address)).over:
        return _too_many(request, count.headers)
    key, secret = pair(request)
    try:
        actor = await run_in_threadpool(keys.authenticate, state.home, key, secret, address=address)
    except AuthError as error:
        failures.count(address)
        raise Unauthenticated("key or secret is not valid", hint="Make a new key, or ask its owner.") from error
    count = rates.count(actor.user_id or actor.name)
    request.state.headers = count.headers
    if count.over:
        return _too_many(request, count.headers)
    request.state.home = state.home.acting(actor)
    return None


def _too_many(request: Request, headers: dict[str, str]) -> Response:
    return answer(request, 429, "rate_limited", "Request rate limit exceeded", headers=headers)
