"""How people get their first password, or another one: by a one-time link."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import sqlalchemy as sa

from millrace.control.activity import wrote
from millrace.control.database.people_tables import users as people
from millrace.control.people import links, roles, users
from millrace.control.people.actors import SYSTEM
from millrace.control.people.users import User
from millrace.data.dataclass import dataclass
from millrace.errors import AuthError, ConfigError, Problem

if TYPE_CHECKING:
    from millrace.control.home import Home


# Whoever asks again for a link before has one in their mailbox: nobody's is filled.
EVERY = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class Link:
    """A one-time link in the one moment in which it is known. ``token`` is its secret part."""

    email: str
    purpose: links.Purpose
    token: str


@dataclass(frozen=True, slots=True)
class Invited:
    """What came of one of several invitations: a link, or why there is none."""

    email: str
    link: Link | None = None
    problem: Problem | None = None


def invite(home: Home, email: str, role_names: Iterable[str] = (roles.DEFAULT,), *, name: str = "") -> Link:
    """A user who may join the team by the link. Raises as `users.create` does."""
    home.actor.must("users.edit")
    with home.database.transaction() as connection:
        user = users.create(home, email, role_names, name=name)
        return Link(user.email, "invite", links.issue(connection, "invite", user.id))


def invite_all(home: Home, emails: Iterable[str], role_names: Iterable[str] = (roles.DEFAULT,)) -> list[Invited]:
    """Each address by itself: one that cannot be invited keeps no other from it.

    Raises ConfigError and Forbidden for the roles, and nobody is invited then.
    """
    home.actor.must("users.edit")
    chosen = roles.checked(role_names)
    users.must_reach(home.actor, chosen)
    found: list[Invited] = []
    for email in emails:
        try:
            link = invite(home, email, chosen)
            found.append(Invited(link.email, link))
        except ConfigError as refused:
            found.append(Invited(email, problem=refused.problem))
    return found


def renew(home: Home, email: str) -> Link:
    """Another link for a user: to join where they were invited, else to reset their password."""
    home.actor.must("users.edit")
    user = users.of_team(home, email)
    users.must_reach(home.actor, user.roles)
    purpose: links.Purpose = "invite" if user.status == "invited" else "reset"
    with home.database.transaction() as connection:
        wrote(home, "HIGH", user.entity, "link", f"a link ({purpose}) was made for {user.email}")
        return Link(user.email, purpose, links.issue(connection, purpose, user.id))


def accept(home: Home, token: str, password: str, *, name: str | None = None) -> User:
    """Who was invited has chosen a password and is in the team. Raises AuthError "bad_link"."""
    return _chosen(home, "invite", token, password, name=name)


def forgotten(home: Home, email: str) -> Link | None:
    """The link that goes to somebody's mailbox; None where nobody has that address, which the asker is not told."""
    try:
        address = users.canonical(email)
    except ConfigError:
        return None
    query = sa.select(people.c.id, people.c.team_id).where(people.c.email == address, people.c.status == "active")
    with home.database.transaction() as connection:
        row = connection.execute(query).one_or_none()
        if row is None:
            return None
        before = links.issued_at(connection, "reset", row.id)
        if before is not None and datetime.now(UTC) - before < EVERY:
            return None
        there = home.acting(SYSTEM.of(row.team_id))
        wrote(there, "MEDIUM", users.of_team(there, address).entity, "forgot", f"{address} asked for a new password")
        return Link(address, "reset", links.issue(connection, "reset", row.id))


def reset(home: Home, token: str, password: str) -> User:
    """The password is another one and all sessions end; a second factor stays. Raises AuthError "bad_link"."""
    return _chosen(home, "reset", token, password)


def nobody_yet(home: Home) -> bool:
    """Whether the home still has no user."""
    with home.database.reading() as connection:
        return connection.execute(sa.select(people.c.id).limit(1)).first() is None


def first_link(home: Home) -> str | None:
    """The token with which the first administrator comes in; None once there is a user."""
    with home.database.transaction() as connection:
        if connection.execute(sa.select(people.c.id).limit(1)).first() is not None:
            return None
        return links.issue(connection, "first", None)


def first_administrator(home: Home, token: str, email: str, password: str) -> User:
    """The home has its administrator. Raises AuthError "bad_link", also when there is a user by now."""
    hash_ = users.new_hash(home, password)
    with home.database.transaction() as connection:
        links.take(connection, "first", token)
        if connection.execute(sa.select(people.c.id).limit(1)).first() is not None:
            raise AuthError("there is an administrator already", hint="Ask them for an invitation.", code="bad_link")
        return users.added(home, email, (roles.ADMINISTRATOR,), status="active", hash_=hash_, name="")


def _chosen(home: Home, purpose: links.Purpose, token: str, password: str, *, name: str | None = None) -> User:
    if name is not None:
        users.checked_name(name)
    hash_ = users.new_hash(home, password)
    with home.database.transaction() as connection:
        user_id = links.take(connection, purpose, token)
        row = connection.execute(sa.select(people.c.email, people.c.team_id).where(people.c.id == user_id)).one()
        users.set_hash(connection, str(user_id), hash_)
        if name is not None:
            connection.execute(sa.update(people).where(people.c.id == user_id).values(name=name))
        there = home.acting(SYSTEM.of(row.team_id))
        user = users.of_id(connection, str(user_id))
        done = "joined the team" if purpose == "invite" else "reset their password"
        wrote(there, "HIGH", user.entity, "join" if purpose == "invite" else "reset", f"{user.email} {done}")
    return user
