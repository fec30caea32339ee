"""Members of the team (api.md A9)."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import Path
from pydantic import Field

from millrace.control.people import users
from millrace.control.people.roles import Role
from millrace.control.people.users import User
from millrace.errors import ConfigError
from millrace.rest.asking import KeyRoute
from millrace.rest.cursors import opened
from millrace.rest.later import Addresses
from millrace.rest.permits import EditingUsers, Viewing
from millrace.rest.public.shapes import Asked, Data, Limit, Listed, StartingAfter, Told, listed, moment

router = Addresses(prefix="/accounts", tags=["users"], route_class=KeyRoute)

Email = Annotated[str, Path(min_length=1, max_length=254)]


class UserTold(Told):
    """A member, or somebody who is invited."""

    email: str
    name: str
    roles: list[Role]
    status: Literal["active", "invited", "requested"]
    created_ts: int | None


class Invited(Asked):
    """Whom to invite."""

    email: str = Field(min_length=3, max_length=254)


class InvitedWithRoles(Invited):
    """Whom to invite, and as what."""

    roles: list[str] = Field(min_length=1)


class FormerRole(Asked):
    """A role of the model with two of them."""

    role: Literal["OWNER", "MEMBER"]


class NewRoles(Asked):
    """All roles that a member shall have."""

    roles: list[str] = Field(min_length=1)


@router.get("/users")
def users_listed(home: Viewing, limit: Limit = 20, starting_after: StartingAfter = None) -> Listed[UserTold]:
    """Members by their addresses."""
    found = users.listed(home, after=opened(starting_after), limit=limit)
    return listed(found, [_told(one) for one in found.items])


@router.post("/users", status_code=201)
def user_invited(home: EditingUsers, body: Invited) -> Data[UserTold]:
    """Somebody is invited, to look at things."""
    return Data(data=_told(users.create(home, body.email)))


@router.post("/users-with-roles", status_code=201)
def user_invited_with_roles(home: EditingUsers, body: InvitedWithRoles) -> Data[UserTold]:
    """Somebody is invited, with roles."""
    return Data(data=_told(users.create(home, body.email, body.roles)))


@router.post("/users/{email}")
@router.put("/users/{email}", operation_id="public_user_role_set_by_put")
def user_role_set(home: EditingUsers, email: Email, body: FormerRole) -> Data[UserTold]:
    """The member is an owner or a member of old: an administrator or a collaborator of the team."""
    return Data(data=_told(users.set_roles(home, email, [body.role])))


@router.put("/users/{email}/roles")
def user_roles_set(home: EditingUsers, email: Email, body: NewRoles) -> Data[UserTold]:
    """The member has these roles and no others."""
    return Data(data=_told(users.set_roles(home, email, body.roles)))


@router.delete("/users/{email}", status_code=204)
def user_removed(home: EditingUsers, email: Email) -> None:
    """The member is gone, with all keys. One who is gone already is no error."""
    try:
        users.find(home, email)
    except ConfigError as error:
        if error.code != "unknown_user":
            raise
        return
    users.remove(home, email)


def _told(user: User) -> UserTold:
    return UserTold(
        email=user.email, name=user.name, roles=list(user.roles), status=user.status, created_ts=moment(user.created_at)
    )
