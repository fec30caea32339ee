"""What everybody does for themselves: who am I, my sessions, my password, my second factor."""

from __future__ import annotations

from typing import Annotated, TypeAlias

from fastapi import Depends, Request, Response
from pydantic import Field
from starlette.concurrency import run_in_threadpool

from millrace.control.home import Home
from millrace.control.people import own_sessions, second_factor, sessions, who
from millrace.control.people.own_sessions import Place
from millrace.control.people.passwords import LONGEST
from millrace.control.people.second_factor import Enrolment
from millrace.control.people.who import Who
from millrace.data.dataclass import dataclass
from millrace.errors import Forbidden
from millrace.rest import cookies
from millrace.rest.asking import Asking, AtDoor, Entering, KeyRoute, OpenRoute, address
from millrace.rest.door.answers import Asked, hashing, nothing, told
from millrace.rest.door.signing_in import Code, SignedIn, let_in
from millrace.rest.later import Addresses
from millrace.rest.shown import answers

router = Addresses(prefix="/me", tags=["me"], route_class=KeyRoute)
# Setting up a second factor may be all that is left to do before a session is open.
enrolling = Addresses(prefix="/me/second-factor", tags=["me"], route_class=OpenRoute)


class NewPassword(Asked):
    """The password as it is, and as it shall be."""

    old: str = Field(max_length=LONGEST)
    new: str = Field(max_length=LONGEST)


@dataclass(frozen=True, slots=True)
class Ended:
    """How many sessions have ended."""

    ended: int


@dataclass(frozen=True, slots=True)
class SecondFactor:
    """The second factor is on. The recovery codes are shown this once; the cookie is another one."""

    session: SignedIn
    recovery_codes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RecoveryCodes:
    """Codes that open a session without the authenticator app, each once. They are shown this once."""

    recovery_codes: tuple[str, ...]


async def _signed_in(request: Request, home: Asking) -> Home:
    """A key that fell into wrong hands opens no way to the account of its user. Raises Forbidden."""
    if home.actor.kind != "user" or cookies.token(request) is None:
        raise Forbidden("this is for who is signed in, not for keys", hint="Sign in with your password.")
    return home


SignedInHome: TypeAlias = Annotated[Home, Depends(_signed_in)]


@router.get("", operation_id="me_read", responses=answers(Who))
def me(home: Asking) -> Response:
    """Tell who asks: the user, their team, their roles, and what they may."""
    return told(who.asks(home))


@router.get("/sessions", operation_id="me_sessions_list", responses=answers(list[Place]))
def places(request: Request, home: SignedInHome) -> Response:
    """List where you are signed in, the newest first."""
    return told(own_sessions.listed(home, cookies.token(request)))


@router.delete("/sessions", operation_id="me_sessions_end_others", responses=answers(Ended))
def end_others(request: Request, home: SignedInHome) -> Response:
    """Sign out everywhere but here."""
    return told(Ended(own_sessions.end_others(home, cookies.token(request) or "")))


@router.delete("/sessions/{id}", status_code=204, operation_id="me_sessions_end", responses=answers(None, 204))
def end(home: SignedInHome, id: str) -> Response:
    """End one of your sessions."""
    own_sessions.end(home, id)
    return nothing()


@router.put("/password", operation_id="me_password_set", responses=answers(SignedIn))
async def set_password(request: Request, home: SignedInHome, body: NewPassword) -> Response:
    """Change your password. All other sessions end, and this one goes on with another cookie."""
    await hashing(request, sessions.change_password, home, body.old, body.new)
    agent = request.headers.get("user-agent")
    session = await run_in_threadpool(
        sessions.opened, home, home.actor.user_id or "", "open", "password", address=address(request), agent=agent
    )
    return let_in(request, session, told(SignedIn.of(session)))


@enrolling.post("", operation_id="me_second_factor_begin", responses=answers(Enrolment))
def enrol(home: AtDoor, token: Entering) -> Response:
    """Begin to set up a second factor: what an authenticator app is told. It counts once a code was confirmed."""
    return told(second_factor.begin(home, token))


@enrolling.post("/confirm", operation_id="me_second_factor_confirm", responses=answers(SecondFactor))
def confirm(request: Request, home: AtDoor, token: Entering, body: Code) -> Response:
    """Turn the second factor on, with a code of the app."""
    done = second_factor.confirm(home, token, body.code)
    return let_in(request, done.session, told(SecondFactor(SignedIn.of(done.session), done.recovery_codes)))


@router.post("/second-factor/off", status_code=204, operation_id="me_second_factor_off", responses=answers(None, 204))
def turn_off(home: SignedInHome, body: Code) -> Response:
    """Turn the second factor off, with a code of the app or a recovery code."""
    second_factor.turn_off(home, body.code)
    return nothing()


@router.post(
    "/second-factor/recovery-codes", operation_id="me_second_factor_new_codes", responses=answers(RecoveryCodes)
)
def new_codes(home: SignedInHome, body: Code) -> Response:
    """Replace the recovery codes. The old ones are worth nothing then."""
    return told(RecoveryCodes(second_factor.new_recovery_codes(home, body.code)))
