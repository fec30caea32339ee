"""Single sign-on over HTTP: away to the identity provider of a team, and back with a session.

What binds both halves together travels in a cookie of its own. It is `SameSite=Lax`: the way back begins at the
provider's site, and a strict cookie would stay behind. By SAML the way back is a form that the provider's page sends,
with which not even that one comes: a page of ours sends it once more, and then it does. What the form says counts only
together with the cookie (`single_sign_on.end_by_saml`), so it is no matter who sent it.
"""

from __future__ import annotations

import base64
import html
from collections.abc import Callable
from hashlib import sha256
from typing import Annotated
from urllib.parse import parse_qs, urlencode, urlsplit

from fastapi import Query, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse
from starlette.concurrency import run_in_threadpool

from millrace.control.database.people_tables import EMAIL_LENGTH
from millrace.control.home import Home
from millrace.control.people import single_sign_on
from millrace.control.people.sessions import Session
from millrace.errors import AuthError
from millrace.rest import cookies
from millrace.rest.later import Addresses
from millrace.rest.millrace.router import PREFIX
from millrace.rest.problems import answer
from millrace.rest.rates import Rates
from millrace.rest.shown import REFUSALS, Answers

PLAIN = "millrace_sign_on"
SECURE = "__Host-millrace_sign_on"
BEGIN = "/session/single-sign-on"
BACK = f"{BEGIN}/back"

SAML = single_sign_on.CONSUMER.removeprefix(PREFIX)

_SEND = "document.forms[0].submit()"
_AGAIN = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Millrace</title></head>
<body>
<form method="post">
<input type="hidden" name="again" value="1">
<input type="hidden" name="SAMLResponse" value="{answer}">
<noscript><button>Sign in to Millrace</button></noscript>
</form>
<script>{script}</script>
</body></html>
"""
_POLICY = "; ".join(
    (
        "default-src 'none'",
        f"script-src 'sha256-{base64.b64encode(sha256(_SEND.encode()).digest()).decode()}'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    )
)
_FORM = {
    "requestBody": {
        "required": True,
        "content": {
            "application/x-www-form-urlencoded": {
                "schema": {
                    "type": "object",
                    "required": ["SAMLResponse"],
                    "properties": {"SAMLResponse": {"type": "string"}, "again": {"type": "string"}},
                }
            }
        },
    }
}

AWAY: Answers = {**REFUSALS, 303: {"description": "The browser goes on there."}}

router = Addresses(tags=["session"])


@router.get(BEGIN, status_code=303, operation_id="session_single_sign_on", responses=AWAY)
def begin(
    request: Request,
    email: Annotated[str, Query(max_length=EMAIL_LENGTH)],
    moved: Annotated[bool, Query(description="The browser was sent here from another name of this server.")] = False,
) -> Response:
    """Go to the identity provider of the team that has this e-mail address, or takes addresses of its domain."""
    # Each one asks the provider, so nobody has many of them.
    if (count := _failures(request).count(_address(request))).over:
        return answer(request, 429, "rate_limited", "Request rate limit exceeded", headers=count.headers)
    begun = single_sign_on.begin(_home(request), email, _back(request))
    # A browser brings the cookie only to the name of this server that gave it. Once: a proxy may hide that name.
    if begun.server and not moved and urlsplit(begun.server).hostname != request.url.hostname:
        asked = urlencode({"email": email, "moved": "true"})
        return RedirectResponse(f"{begun.server}{PREFIX}{BEGIN}?{asked}", 303)
    away = RedirectResponse(begun.url, 303)
    lasts_s = int(single_sign_on.GOOD_FOR.total_seconds())
    away.set_cookie(
        _name(request), begun.token, max_age=lasts_s, path="/", secure=_tls(request), httponly=True, samesite="lax"
    )
    return away


@router.get(BACK, status_code=303, operation_id="session_single_sign_on_back", responses=AWAY)
def back(request: Request) -> Response:
    """Come back from the identity provider: the session begins, and the browser goes to the first page."""

    def end(token: str) -> Session:
        answer = dict(request.query_params)
        agent = request.headers.get("user-agent")
        return single_sign_on.end(_home(request), token, answer, _back(request), address=_address(request), agent=agent)

    return _ended(request, end)


@router.post(
    SAML,
    status_code=303,
    operation_id="session_single_sign_on_saml",
    responses={**AWAY, 200: {"description": "A page that sends the form once more, from here.",
                             "content": {"text/html": {"schema": {"type": "string"}}}}},
    openapi_extra=_FORM,
)  # fmt: skip
async def consume(request: Request) -> Response:
    """Come back from an identity provider that speaks SAML: a page sends the response once more, then the session
    begins, and the browser goes to the first page."""
    body = await request.body()
    return await run_in_threadpool(_consumed, request, body.decode("latin-1"))


@router.get(
    f"{SAML}/metadata",
    operation_id="session_single_sign_on_metadata",
    response_class=Response,
    responses={**REFUSALS, 200: {"description": "An EntityDescriptor.",
                                 "content": {"application/samlmetadata+xml": {"schema": {"type": "string"}}}}},
)  # fmt: skip
def metadata(request: Request) -> Response:
    """What an identity provider may read of this server to speak SAML 2.0 with it."""
    from millrace.control.people import saml_metadata

    if (here := single_sign_on.public_service(_home(request))) is None:
        raise single_sign_on.no_public_url()
    return Response(saml_metadata.metadata(here), media_type="application/samlmetadata+xml")


def _consumed(request: Request, body: str) -> Response:
    try:
        form = parse_qs(body, max_num_fields=20)
    except ValueError:
        form = {}
    brought = form.get("SAMLResponse", [""])[0]
    if not request.cookies.get(_name(request)) and "again" not in form and brought:
        page = _AGAIN.format(answer=html.escape(brought), script=_SEND)
        return HTMLResponse(page, headers={"Content-Security-Policy": _POLICY})

    def end(token: str) -> Session:
        agent = request.headers.get("user-agent")
        return single_sign_on.end_by_saml(_home(request), token, brought, address=_address(request), agent=agent)

    return _ended(request, end)


def _ended(request: Request, end: Callable[[str], Session]) -> Response:
    """The session begins, for the token that the browser holds."""
    failures, address = _failures(request), _address(request)
    # Until it turns out right it counts as a failure, so that nobody has many of them looked at at once.
    if (count := failures.count(address)).over:
        return answer(request, 429, "rate_limited", "Request rate limit exceeded", headers=count.headers)
    token = request.cookies.get(_name(request))
    if not token:
        raise AuthError("this sign-on was not begun in this browser", hint="Begin again.", code="sign_on")
    session = end(token)
    failures.take_back(address)
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
