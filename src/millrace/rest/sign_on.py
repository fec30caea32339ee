"""Single sign-on over HTTP: away to the identity provider of a team, and back with a session.

What binds both halves together travels in a cookie of its own. It is `SameSite=Lax`: the way back begins at the
provider's site, and a strict cookie would stay behind.
"""

from __future__ import annotations

from typing import Annotated

from fastapi import Query, Request, Response
from fastapi.responses import RedirectResponse

from millrace.control import single_sign_on
from millrace.control.home import Home
from millrace.control.people_tables import EMAIL_LENGTH
from millrace.errors import AuthError
from millrace.rest import cookies
from millrace.rest.later import Addresses
from millrace.rest.millrace.router import PREFIX
from millrace.rest.problems import answer
from millrace.rest.rates import Rates
from millrace.rest.shown import REFUSALS, Answers

PLAIN = "millrace_sign_on"
SECURE = "__Host-millrace_sign_on"
BACK = "/session/single-sign-on/back"

AWAY: Answers = {**REFUSALS, 303: {"description": "The browser goes on there."}}

router = Addresses(tags=["session"])


@router.get("/session/single-sign-on", status_code=303, operation_id="session_single_sign_on", responses=AWAY)
def begin(request: Request, email: Annotated[str, Query(max_length=EMAIL_LENGTH)]) -> Response:
    """Go to the identity provider of the team that has this e-mail address, or takes addresses of its domain."""
    # Each one asks the provider, so nobody has many of them.
    if (count := _failures(request).count(_address(request))).over:
        return answer(request, 429, "rate_limited", "Request rate limit exceeded", headers=count.headers)
    begun = single_sign_on.begin(_home(request), email, _back(request))
    away = RedirectResponse(begun.url, 303)
    lasts_s = int(single_sign_on.GOOD_FOR.total_seconds())
    away.set_cookie(
        _name(request), begun.token, max_age=lasts_s, path="/", secure=_tls(request), httponly=True, samesite="lax"
    )
    return away


@router.get(BACK, status_code=303, operation_id="session_single_sign_on_back", responses=AWAY)
def back(request: Request) -> Response:
    """Come back from the identity provider: the session begins, and the browser goes to the first page."""
    if (count := _failures(request).look(_address(request))).over:
        return answer(request, 429, "rate_limited", "Request rate limit exceeded", headers=count.headers)
    token = request.cookies.get(_name(request))
    if not token:
        raise AuthError("this sign-on was not begun in this browser", hint="Begin again.", code="sign_on")
    try:
        session = single_sign_on.end(
            _home(request),
            token,
            dict(request.query_params),
            _back(request),
            address=_address(request),
            agent=request.headers.get("user-agent"),
        )
    except AuthError:
        _failures(request).count(_address(request))
        raise
    inside = RedirectResponse("/", 303)
    inside.delete_cookie(_name(request), path="/", secure=_tls(request), httponly=True, samesite="lax")
    cookies.give(request, inside, session)
    return inside


def _home(request: Request) -> Home:
    return request.app.state.home


def _back(request: Request) -> str:
    """Where the provider sends the browser back to: this server, as the browser called it. It takes those alone that
    were registered with it."""
    return str(request.base_url).rstrip("/") + PREFIX + BACK


def _failures(request: Request) -> Rates:
    return request.app.state.failures


def _address(request: Request) -> str:
    return request.client.host if request.client else "unknown"


def _name(request: Request) -> str:
    return SECURE if _tls(request) else PLAIN


def _tls(request: Request) -> bool:
    return request.url.scheme == "https"
