"""Who asks: by an API key or by the session of a page, before anything of the request's body is read."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable, Coroutine
from typing import Annotated, Any, TypeAlias

from fastapi import Depends, Request, Response, Security
from fastapi.routing import APIRoute
from fastapi.security import APIKeyCookie, HTTPBasic
from starlette.concurrency import run_in_threadpool

from millrace.control.home import Home
from millrace.control.people import keys, sessions
from millrace.control.people.actors import Actor
from millrace.errors import AuthError
from millrace.rest import cookies
from millrace.rest.conditions import carried_out
from millrace.rest.problems import BadRequest, Unauthenticated, answer
from millrace.rest.rates import Rates

_basic = HTTPBasic(auto_error=False, scheme_name="key", description="API key as the user, its secret as the password.")
_cookie = APIKeyCookie(
    name=cookies.SECURE,
    auto_error=False,
    scheme_name="session",
    description=f"Cookie of a session; without TLS it is called `{cookies.PLAIN}`. "
    f"Changes bring its CSRF token as `{cookies.CSRF_HEADER}`.",
)


# What tells that somebody tries secrets. Tokens of sessions are no use to guess at, and pages ask with old ones.
_GUESSES = frozenset({"sign_in", "code", "bad_link"})


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
    """A route for holders of a key or a session: first who asks, then how often, then what."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def guarded(request: Request) -> Response:
            refused = await let_in(request)
            return refused or await carried_out(Asked(request.scope, request.receive), handle)

        return guarded


class OpenRoute(APIRoute):
    """A route for those who are not in yet: nobody guesses at leisure, and no page of another site may ask."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def guarded(request: Request) -> Response:
            failures: Rates = request.app.state.failures
            # Counted at once, since a guess takes its time: of many that come together only so many are looked at.
            if (count := failures.count(address(request))).over:
                return too_many(request, count.headers)
            guessed = False
            try:
                if request.method not in cookies.SAFE:
                    cookies.must_be_ours(request)
                return await handle(Asked(request.scope, request.receive))
            except AuthError as error:
                guessed = error.code in _GUESSES
                raise
            finally:
                if not guessed:
                    failures.take_back(address(request))

        return guarded


async def asking(
    request: Request, _: Annotated[Any, Security(_basic)] = None, __: Annotated[Any, Security(_cookie)] = None
) -> Home:
    """The home, asked by whoever sent the request."""
    return request.state.home


async def at_door(request: Request) -> Home:
    """The home, asked by nobody that is known."""
    return request.app.state.home


async def entering(request: Request, _: Annotated[Any, Security(_cookie)] = None) -> str:
    """The token of a session, finished or not, with the proof of a change. Raises AuthError."""
    token = cookies.token(request)
    if token is None:
        raise AuthError("you are not signed in", hint="Sign in.", code="no_session")
    cookies.must_prove(request, token)
    return token


Asking: TypeAlias = Annotated[Home, Depends(asking)]
AtDoor: TypeAlias = Annotated[Home, Depends(at_door)]
Entering: TypeAlias = Annotated[str, Depends(entering)]


def address(request: Request) -> str:
    """Where the request comes from."""
    return request.client.host if request.client else "unknown"


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


async def let_in(request: Request) -> Response | None:
    """The request knows its home from now on; or the answer that sends it away."""
    state = request.app.state
    failures: Rates = state.failures
    if (count := failures.look(address(request))).over:
        return too_many(request, count.headers)
    # A key goes first: whoever sends one means it, and browsers add cookies by themselves.
    token = None if "authorization" in request.headers else cookies.token(request)
    actor = await (_by_key(request) if token is None else _by_session(request, token))
    rates: Rates = state.rates if token is None else state.page_rates
    count = rates.count(actor.user_id or actor.name)
    request.state.headers = count.headers
    if count.over:
        return too_many(request, count.headers)
    request.state.home = state.home.acting(actor)
    return None


async def _by_key(request: Request) -> Actor:
    key, secret = pair(request)
    home: Home = request.app.state.home
    try:
        return await run_in_threadpool(keys.authenticate, home, key, secret, address=address(request))
    except AuthError as error:
        request.app.state.failures.count(address(request))
        raise Unauthenticated("key or secret is not valid", hint="Make a new key, or ask its owner.") from error


async def _by_session(request: Request, token: str) -> Actor:
    home: Home = request.app.state.home
    actor = await run_in_threadpool(sessions.authenticate, home, token, address=address(request))
    cookies.must_prove(request, token)
    return actor


def too_many(request: Request, headers: dict[str, str]) -> Response:
    """The answer to who asks too often."""
    return answer(request, 429, "rate_limited", "Request rate limit exceeded", headers=headers)
