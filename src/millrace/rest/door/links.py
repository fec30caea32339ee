"""What one-time links are for: the first administrator, an invitation, a forgotten password."""

from __future__ import annotations

from fastapi import Request, Response
from pydantic import Field
from starlette.background import BackgroundTask

from millrace.control.database.people_tables import EMAIL_LENGTH
from millrace.control.people import forgotten, invitations
from millrace.control.people.passwords import LONGEST
from millrace.control.people.users import User
from millrace.data.dataclass import dataclass
from millrace.rest.asking import AtDoor, OpenRoute, address
from millrace.rest.door.answers import Asked, hashing, told
from millrace.rest.later import Addresses
from millrace.rest.rates import Rates
from millrace.rest.shown import answers

router = Addresses(tags=["links"], route_class=OpenRoute)


class Link(Asked):
    """The secret part of a link, and the password that is chosen with it."""

    token: str = Field(max_length=256)
    password: str = Field(max_length=LONGEST)


class Forgot(Asked):
    """Who forgot their password."""

    email: str = Field(max_length=EMAIL_LENGTH)


class First(Link):
    """The first administrator."""

    email: str = Field(max_length=EMAIL_LENGTH)


class Joining(Link):
    """Who was invited, with the name to be shown under."""

    name: str | None = Field(None, max_length=255)


@dataclass(frozen=True, slots=True)
class Start:
    """Whether the server still waits for its first administrator."""

    needed: bool


@router.get("/first-administrator", operation_id="first_administrator_needed", responses=answers(Start))
def first_needed(home: AtDoor) -> Response:
    """Tell whether there is no user yet."""
    return told(Start(invitations.nobody_yet(home)))


@router.post(
    "/first-administrator", status_code=201, operation_id="first_administrator_create", responses=answers(User, 201)
)
async def first(request: Request, home: AtDoor, body: First) -> Response:
    """Make the first administrator, with the link that `millrace serve` printed. It is good once, for a day."""
    return told(
        await hashing(request, invitations.first_administrator, home, body.token, body.email, body.password), 201
    )


@router.post("/invitations/accept", operation_id="invitations_accept", responses=answers(User))
async def accept(request: Request, home: AtDoor, body: Joining) -> Response:
    """Join the team with the link of an invitation."""
    return told(await hashing(request, invitations.accept, home, body.token, body.password, name=body.name))


@router.post("/password-resets", status_code=204, operation_id="password_resets_ask", responses=answers(None, 204))
def forgot(request: Request, home: AtDoor, body: Forgot) -> Response:
    """Ask for a link by mail that chooses another password. The answer is the same whoever has that address.

    The team of the user needs a mail channel; else an administrator makes a link.
    """
    failures: Rates = request.app.state.failures
    failures.count(address(request))
    return Response(status_code=204, background=BackgroundTask(forgotten.send, home, body.email))


@router.post("/password-resets/accept", operation_id="password_resets_accept", responses=answers(User))
async def reset(request: Request, home: AtDoor, body: Link) -> Response:
    """Choose another password with a link. All sessions end; a second factor stays."""
    return told(await hashing(request, invitations.reset, home, body.token, body.password))
