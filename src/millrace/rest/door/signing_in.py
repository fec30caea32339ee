"""Signing in and out: a session in a cookie, with a second factor where there is one (accounts 1.4)."""

from __future__ import annotations

from datetime import datetime

import anyio
from fastapi import Request, Response
from pydantic import Field
from starlette.concurrency import run_in_threadpool

from millrace.control.database.people_tables import EMAIL_LENGTH
from millrace.control.people import second_factor, sessions, users
from millrace.control.people.passwords import LONGEST
from millrace.control.people.sessions import Session, State
from millrace.data.dataclass import dataclass
from millrace.errors import AuthError
from millrace.rest import cookies
from millrace.rest.asking import AtDoor, Entering, OpenRoute, address
from millrace.rest.door.answers import Asked, hashing, nothing, told
from millrace.rest.later import Addresses
from millrace.rest.shown import answers

router = Addresses(prefix="/session", tags=["session"], route_class=OpenRoute)


class Password(Asked):
    """Who wants to come in."""

    email: str = Field(max_length=EMAIL_LENGTH)
    password: str = Field(max_length=LONGEST)


class Code(Asked):
    """A one-time code of an authenticator app, or a recovery code."""

    code: str = Field(max_length=64)


@dataclass(frozen=True, slots=True)
class SignedIn:
    """A session; the cookie holds its secret.

    ``state``: "open", or what is left to do: to show a "second_factor", or to set one up ("enrol"). ``csrf`` goes with
    every change as `X-CSRF-Token`.
    """

    email: str
    state: State
    csrf: str
    expires_at: datetime

    @classmethod
    def of(cls, session: Session) -> SignedIn:
        return cls(session.email, session.state, session.csrf, session.expires_at)


@router.post("", status_code=201, operation_id="session_begin", responses=answers(SignedIn, 201))
async def begin(request: Request, home: AtDoor, body: Password) -> Response:
    """Sign in with e-mail address and password.

    After five failures in a row a user waits 15 minutes. The answer is the same for a wrong password, an e-mail address
    that nobody has, and a request from where the user's team takes nobody.
    """
    agent, began = request.headers.get("user-agent"), anyio.current_time()
    try:
        session = await hashing(
            request, sessions.sign_in, home, body.email, body.password, address=address(request), agent=agent
        )
    except AuthError:
        await anyio.sleep_until(began + request.app.state.refusal_s)
        raise
    if former := cookies.token(request):
        await run_in_threadpool(sessions.sign_out, home, former)
    return let_in(request, session, told(SignedIn.of(session), 201))


@router.get("", operation_id="session_read", responses=answers(SignedIn))
def read(home: AtDoor, token: Entering) -> Response:
    """Show the session of the cookie, with what is left to do and its CSRF token."""
    row = sessions.found(home, token, "open", "second_factor", "enrol")
    with home.database.reading() as connection:
        user = users.of_id(connection, row.user_id)
    return told(SignedIn(user.email, row.state, sessions.csrf_of(token), row.expires_at))


@router.post("/second-factor", operation_id="session_show_second_factor", responses=answers(SignedIn))
def show(request: Request, home: AtDoor, token: Entering, body: Code) -> Response:
    """Show the second factor: the session is open then, with another cookie."""
    session = second_factor.show(home, token, body.code)
    return let_in(request, session, told(SignedIn.of(session)))


@router.delete("", status_code=204, operation_id="session_end", responses=answers(None, 204))
def end(request: Request, home: AtDoor, token: Entering) -> Response:
    """Sign out."""
    sessions.sign_out(home, token)
    answer = nothing()
    cookies.take(request, answer)
    return answer


def let_in(request: Request, session: Session, answer: Response) -> Response:
    """The answer gives the browser the session."""
    cookies.give(request, answer, session)
    return answer
