"""The cookie that a session travels in, and the proof that a change comes from a page of ours.

The cookie is `HttpOnly` and `SameSite=Strict`. Over TLS it is `Secure` too, under a name that browsers take from this
host alone (`__Host-`, https://httpwg.org/http-extensions/draft-ietf-httpbis-rfc6265bis.html#name-cookie-name-prefixes).
"""

from __future__ import annotations

from datetime import UTC, datetime
from urllib.parse import urlsplit

from fastapi import Request, Response

from millrace.control.people.sessions import Session, check_csrf
from millrace.errors import AuthError

PLAIN = "millrace_session"
SECURE = "__Host-millrace_session"
CSRF_HEADER = "X-CSRF-Token"

SAFE = frozenset({"GET", "HEAD", "OPTIONS"})


def token(request: Request) -> str | None:
    """The token of the session that the request comes with. Over TLS only the cookie of TLS counts."""
    return request.cookies.get(_name(request)) or None


def give(request: Request, response: Response, session: Session) -> None:
    """The browser keeps the session until it ends."""
    lasts_s = int((session.expires_at - datetime.now(UTC)).total_seconds())
    response.set_cookie(
        _name(request), session.token, max_age=lasts_s, path="/", secure=_tls(request), httponly=True, samesite="strict"
    )


def take(request: Request, response: Response) -> None:
    """The browser forgets the session."""
    response.delete_cookie(_name(request), path="/", secure=_tls(request), httponly=True, samesite="strict")


def must_be_ours(request: Request) -> None:
    """The request does not come from a page of another site. Raises AuthError "csrf".

    Browsers say where a request comes from; programs say nothing, and hold no cookies of others.
    """
    if (site := request.headers.get("sec-fetch-site")) is not None:
        ours = site in ("same-origin", "none")
    elif (origin := request.headers.get("origin")) is not None:
        ours = urlsplit(origin).netloc == request.headers.get("host")
    else:
        ours = True
    if not ours:
        raise AuthError("this request comes from a page of another site", code="csrf")


def must_prove(request: Request, token: str) -> None:
    """A change that a cookie vouches for shows the token that only our pages know. Raises AuthError "csrf"."""
    if request.method not in SAFE:
        must_be_ours(request)
        check_csrf(token, request.headers.get(CSRF_HEADER, ""))


def from_browser(request: Request) -> bool:
    """Whether a page asks: browsers would open a window of their own for a challenge to send a key."""
    return token(request) is not None or "sec-fetch-mode" in request.headers


def _name(request: Request) -> str:
    return SECURE if _tls(request) else PLAIN


def _tls(request: Request) -> bool:
    return request.url.scheme == "https"
