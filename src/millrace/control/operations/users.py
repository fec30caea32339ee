"""Users: who may use this Millrace, with which roles."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from pydantic import Field

from millrace.control.database.pages import Page
from millrace.control.desk import operation
from millrace.control.home import Home
from millrace.control.operations.activity import After, Limit
from millrace.control.people import invitations, second_factor, users
from millrace.control.people import roles as all_roles
from millrace.control.people.actors import Permission
from millrace.control.people.invitations import Invited, Link
from millrace.control.people.roles import Role
from millrace.control.people.users import User
from millrace.data.dataclass import dataclass

Email = Annotated[str, Field(min_length=3, max_length=320, description="Address of the user.")]
Shown = Annotated[str, Field(max_length=255, description="Name that others see.")]
Roles = Annotated[Sequence[str], Field(max_length=100, description="Names of roles.")]
Code = Annotated[str, Field(min_length=1, max_length=100, description="A code of the app, or a recovery code.")]


@dataclass(frozen=True, slots=True)
class Gone:
    """A user who is gone."""

    email: str


@dataclass(frozen=True, slots=True)
class Offered:
    """A role, and what it allows."""

    role: Role
    permissions: tuple[Permission, ...]


@operation("GET", "/users")
def list_(
    home: Home,
    search: Annotated[str, Field(max_length=320, description="A part of a name or an address.")] | None = None,
    after: After | None = None,
    limit: Limit = 100,
) -> Page[User]:
    """List the users of the team."""
    return users.listed(home, search=search, after=after, limit=limit)


@operation("GET", "/users/{email}", None)
def find(home: Home, email: Email) -> User:
    """Show one user. Everybody may see themselves; others are for who may look."""
    return users.find(home, email)


@operation("POST", "/users", "users.edit", status=201)
def create(
    home: Home,
    email: Email,
    roles: Roles = (all_roles.DEFAULT,),
    password: Annotated[str, Field(max_length=1000, description="Left out: they are invited.")] | None = None,
    name: Shown = "",
) -> User:
    """Add a user. With a password they may sign in at once."""
    return users.create(home, email, roles, password=password, name=name)


@operation("POST", "/invitations", "users.edit", status=201)
def invite(home: Home, email: Email, roles: Roles = (all_roles.DEFAULT,), name: Shown = "") -> Link:
    """Invite somebody into the team. The token of their link is shown this once."""
    return invitations.invite(home, email, roles, name=name)


@operation("POST", "/invitations/several", "users.edit")
def invite_all(
    home: Home,
    emails: Annotated[
        Sequence[Annotated[str, Field(max_length=320)]], Field(min_length=1, max_length=100, description="Addresses.")
    ],
    roles: Roles = (all_roles.DEFAULT,),
) -> list[Invited]:
    """Invite several people into the team, with the same roles. The answer says of each what came of it; tokens are
    shown this once."""
    return invitations.invite_all(home, emails, roles)


@operation("POST", "/users/{email}/link", "users.edit")
def link(home: Home, email: Email) -> Link:
    """Make another link for a user: to join where they were invited, else to reset their password.

    Its token is shown this once.
    """
    return invitations.renew(home, email)


@operation("PUT", "/users/{email}/roles", "users.edit")
def set_roles(home: Home, email: Email, roles: Roles) -> User:
    """Give a user other roles, in place of those they have."""
    return users.set_roles(home, email, roles)


@operation("PUT", "/users/{email}", None)
def rename(
    home: Home,
    email: Email,
    name: Shown | None = None,
    time_zone: Annotated[str, Field(max_length=100, description="Such as Europe/Vienna.")] | None = None,
) -> User:
    """Give a user another name, or another time zone. Everybody may for themselves; others need `users.edit`."""
    return users.rename(home, email, name=name, time_zone=time_zone)


@operation("POST", "/users/{email}/unlock", "users.edit")
def unlock(home: Home, email: Email) -> User:
    """Let a user sign in again who failed too often."""
    return users.unlock(home, email)


@operation("POST", "/users/{email}/second-factor/reset", "users.edit")
def reset_second_factor(home: Home, email: Email) -> User:
    """Let a user who lost their second factor sign in by the password alone. Who does this knows who they are."""
    second_factor.reset(home, email)
    return users.find(home, email)


@operation("DELETE", "/users/{email}", "users.edit")
def remove(home: Home, email: Email) -> Gone:
    """Remove a user, with their keys and sessions."""
    users.remove(home, email)
    return Gone(email)


@operation("GET", "/roles", None)
def list_roles(home: Home) -> list[Offered]:
    """List the roles and what each allows."""
    del home
    return [Offered(role, tuple(sorted(all_roles.PERMISSIONS[role]))) for role in all_roles.ROLES]


OPERATIONS = (
    list_, find, create, invite, invite_all, link, set_roles, rename, unlock, reset_second_factor, remove, list_roles,
)  # fmt: skip
