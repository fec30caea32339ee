"""Users: who belongs to the team, with which roles. How they sign in is told in `sessions`."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal, TypeAlias
from zoneinfo import available_timezones

import sqlalchemy as sa

from millrace.control.activity import Entity, wrote
from millrace.control.database import pages
from millrace.control.database.pages import Page
from millrace.control.database.people_tables import EMAIL_LENGTH, departures, sessions, user_roles, users
from millrace.control.database.tables import teams
from millrace.control.people import passwords, roles
from millrace.control.people.actors import Actor
from millrace.control.people.roles import ADMINISTRATOR, Role
from millrace.control.settings import workspace
from millrace.data.dataclass import dataclass
from millrace.errors import ConfigError, Forbidden

if TYPE_CHECKING:
    from millrace.control.home import Home

# `requested`: wants to join a team that an administrator has not let it into yet.
Status: TypeAlias = Literal["active", "invited", "requested"]

_EMAIL = re.compile(r"[^@\s\x00-\x20\x7f]{1,64}@[^@\s\x00-\x20\x7f]+")


@dataclass(frozen=True, slots=True)
class User:
    """A member of a team."""

    id: str
    team_id: str
    email: str
    name: str
    status: Status
    roles: tuple[Role, ...]
    two_factor: bool
    has_password: bool
    time_zone: str
    created_at: datetime
    signed_in_at: datetime | None
    locked_until: datetime | None

    @property
    def entity(self) -> Entity:
        return Entity("user", self.id, self.email)


def create(
    home: Home, email: str, role_names: Iterable[str] = (roles.DEFAULT,), *, password: str | None = None, name: str = ""
) -> User:
    """A user of the actor's team; one without a password is invited, and chooses it by a link (`invitations`).

    Raises ConfigError for an address that is taken or none, a role that is none, a password that is too weak, and
    Forbidden for a role that allows more than the actor may.
    """
    home.actor.must("users.edit")
    chosen = roles.checked(role_names)
    must_reach(home.actor, chosen)
    status: Status = "invited" if password is None else "active"
    hash_ = None if password is None else new_hash(home, password)
    return added(home, email, chosen, status=status, hash_=hash_, name=name)


def added(home: Home, email: str, chosen: tuple[Role, ...], *, status: Status, hash_: str | None, name: str) -> User:
    """The user is saved in the actor's team. Nobody is asked whether that may be: `create` and `invitations` do."""
    email = canonical(email)
    now = datetime.now(UTC)
    id_ = str(uuid.uuid4())
    row = {
        "id": id_,
        "team_id": home.actor.team_id,
        "email": email,
        "name": name,
        "status": status,
        "password": hash_,
        "failures": 0,
        "totp_on": False,
        "totp_step": 0,
        "time_zone": "UTC",
        "created_at": now,
        "changed_at": now,
    }
    with home.database.joining() as connection:
        if connection.execute(sa.select(users.c.id).where(users.c.email == email)).first() is not None:
            raise ConfigError(
                f"there is a user {email} already",
                hint="A person is in one team; they must be removed from it first.",
                path="email",
                code="email_taken",
            )
        connection.execute(sa.insert(users).values(row))
        connection.execute(sa.insert(user_roles), [{"user_id": id_, "role": role} for role in chosen])
        entity = Entity("user", id_, email)
        told = {"status": status, "roles": list(chosen)}
        wrote(home, "HIGH", entity, "create", f"user {email} was added", after=told)
        return of_id(connection, id_)


def listed(home: Home, *, search: str | None = None, after: str | None = None, limit: int = 100) -> Page[User]:
    """The users of the team by their addresses; ``search`` is a part of a name or an address."""
    home.actor.must("view")
    limit = pages.checked_limit(limit)
    query = sa.select(users).where(users.c.team_id == home.actor.team_id)
    if search:
        query = query.where(
            sa.or_(users.c.email.icontains(search, autoescape=True), users.c.name.icontains(search, autoescape=True))
        )
    if after:
        query = query.where(users.c.email > after)
    with home.database.reading() as connection:
        found = _users(connection, query.order_by(users.c.email).limit(limit + 1))
    return pages.cut(found, limit, lambda user: user.email)


def find(home: Home, email: str) -> User:
    """The user of that address. Raises ConfigError "unknown_user" when the team has none."""
    if canonical(email) != home.actor.name:
        home.actor.must("view")
    return of_team(home, email)


def of_team(home: Home, email: str) -> User:
    """As `find`, for functions that have asked already whether the actor may."""
    with home.database.reading() as connection:
        found = _users(
            connection,
            sa.select(users).where(users.c.email == canonical(email), users.c.team_id == home.actor.team_id),
        )
    if not found:
        raise unknown(email)
    return found[0]


def of_id(connection: sa.Connection, id_: str) -> User:
    """The user of that id. Raises ConfigError when they are gone."""
    found = _users(connection, sa.select(users).where(users.c.id == id_))
    if not found:
        raise ConfigError("the user is gone", code="unknown_user")
    return found[0]


def set_roles(home: Home, email: str, role_names: Iterable[str]) -> User:
    """The user has these roles and no others, from their next request on.

    Raises Forbidden where old or new roles allow more than the actor may, ConfigError "last_administrator" when
    nobody would be left to administer the team.
    """
    home.actor.must("users.edit")
    chosen = roles.checked(role_names)
    old = of_team(home, email)
    must_reach(home.actor, chosen + old.roles)
    with home.database.transaction() as connection:
        if ADMINISTRATOR not in chosen:
            _another_administrator(connection, home.actor.team_id, old)
        connection.execute(sa.delete(user_roles).where(user_roles.c.user_id == old.id))
        connection.execute(sa.insert(user_roles), [{"user_id": old.id, "role": role} for role in chosen])
        wrote(
            home, "HIGH", old.entity, "change_roles", f"user {old.email} has other roles",
            before={"roles": list(old.roles)}, after={"roles": list(chosen)},
        )  # fmt: skip
        return of_id(connection, old.id)


def rename(home: Home, email: str, *, name: str | None = None, time_zone: str | None = None) -> User:
    """The user is shown under that name, and moments in that time zone. Everybody may for themselves."""
    if canonical(email) != home.actor.name:
        home.actor.must("users.edit")
    old = of_team(home, email)
    values: dict[str, Any] = {"changed_at": datetime.now(UTC)}
    if name is not None:
        values["name"] = checked_name(name)
    if time_zone is not None:
        if time_zone not in available_timezones():
            raise ConfigError(f"there is no time zone {time_zone[:80]!r}", hint="Write it like Europe/Vienna.",
                              path="time_zone", code="unknown_time_zone")  # fmt: skip
        values["time_zone"] = time_zone
    with home.database.transaction() as connection:
        connection.execute(sa.update(users).where(users.c.id == old.id).values(values))
        new = of_id(connection, old.id)
        wrote(
            home, "MEDIUM", old.entity, "change", f"user {old.email} was changed",
            before={"name": old.name, "time_zone": old.time_zone}, after={"name": new.name, "time_zone": new.time_zone},
        )  # fmt: skip
    return new


def remove(home: Home, email: str) -> None:
    """The user is gone, with keys and sessions. Raises as `set_roles` does."""
    home.actor.must("users.edit")
    old = of_team(home, email)
    must_reach(home.actor, old.roles)
    with home.database.transaction() as connection:
        _another_administrator(connection, home.actor.team_id, old)
        connection.execute(sa.delete(users).where(users.c.id == old.id))
        connection.execute(sa.delete(departures).where(departures.c.email == old.email))
        connection.execute(sa.insert(departures).values(email=old.email, left_at=datetime.now(UTC)))
        told = {"status": old.status, "roles": list(old.roles)}
        wrote(home, "HIGH", old.entity, "delete", f"user {old.email} was removed", before=told)


def set_password(home: Home, email: str, password: str) -> None:
    """The user has another password: the operator's way for somebody who is locked out. All their sessions end.

    Raises Forbidden to anybody else; people change their own (`sessions`), or ask for a link (`invitations`).
    """
    if home.actor.kind != "operator":
        raise Forbidden("only the operator of this machine sets the passwords of others",
                        hint="Let the user ask for a link that resets it.")  # fmt: skip
    old = of_team(home, email)
    hash_ = new_hash(home, password)
    with home.database.transaction() as connection:
        set_hash(connection, old.id, hash_)
        wrote(home, "HIGH", old.entity, "set_password", f"the operator set the password of {old.email}")


def unlock(home: Home, email: str) -> User:
    """The user may try to sign in again at once."""
    home.actor.must("users.edit")
    old = of_team(home, email)
    with home.database.transaction() as connection:
        connection.execute(sa.update(users).where(users.c.id == old.id).values(failures=0, locked_until=None))
        wrote(home, "MEDIUM", old.entity, "unlock", f"user {old.email} may sign in again")
        return of_id(connection, old.id)


def actor_of(home: Home, user_id: str, *, address: str | None = None) -> Actor:
    """The user as an actor, with what their roles allow now. Raises ConfigError when the user is gone."""
    with home.database.reading() as connection:
        user = of_id(connection, user_id)
    return Actor("user", user.email, user.team_id, user.id, roles.permissions(user.roles), address)


def new_hash(home: Home, password: str) -> str:
    """The hash of a new password. Raises ConfigError "weak_password"."""
    passwords.check(password)
    return passwords.hashed(password, workspace(home.database))


def set_hash(connection: sa.Connection, user_id: str, hash_: str) -> None:
    """The password is another one; whoever was signed in with the old one is not any more."""
    values = {"password": hash_, "status": "active", "failures": 0, "locked_until": None}
    connection.execute(sa.update(users).where(users.c.id == user_id).values(values | {"changed_at": datetime.now(UTC)}))
    connection.execute(sa.delete(sessions).where(sessions.c.user_id == user_id))


def must_reach(actor: Actor, chosen: Iterable[Role]) -> None:
    """Raises Forbidden for roles that allow more than the actor may: nobody lifts or fells somebody above."""
    if beyond := roles.permissions(chosen) - actor.permissions:
        raise Forbidden(
            f"{actor.name} is not permitted to give or take a role that allows more than their own "
            f"({', '.join(sorted(beyond)[:3])})",
            hint="Ask an administrator of the team.",
        )


def checked_name(name: str) -> str:
    """The name that a user is shown under. Raises ConfigError "bad_name" when it cannot be one."""
    if len(name) > 255 or not (name == "" or name.isprintable()):
        raise ConfigError("the name of a user has at most 255 signs that can be seen", path="name", code="bad_name")
    return name


def canonical(email: str) -> str:
    """The address in lower case. Raises ConfigError "bad_email" when it is none."""
    found = email.strip().lower()
    if len(found) > EMAIL_LENGTH or not _EMAIL.fullmatch(found) or not found.isprintable():
        raise ConfigError(f"{email[:80]!r} is not an e-mail address", path="email", code="bad_email")
    return found


def unknown(email: str) -> ConfigError:
    """Words for a user whom the team does not have."""
    return ConfigError(f"there is no user {email[:80]!r}", hint="`millrace user list` shows the users.", path="email",
                       code="unknown_user")  # fmt: skip


def _another_administrator(connection: sa.Connection, team_id: str, leaving: User) -> None:
    """Somebody else can administer the team. Two who leave in one moment wait here for each other."""
    if leaving.status != "active" or ADMINISTRATOR not in leaving.roles:
        return
    connection.execute(sa.select(teams.c.id).where(teams.c.id == team_id).with_for_update())
    others = (
        sa.select(users.c.id)
        .join(user_roles, user_roles.c.user_id == users.c.id)
        .where(
            users.c.team_id == team_id,
            users.c.id != leaving.id,
            users.c.status == "active",
            user_roles.c.role == ADMINISTRATOR,
        )
    )
    if connection.execute(others.limit(1)).first() is None:
        raise ConfigError(
            f"{leaving.email} is the last administrator of the team",
            hint="Make somebody else an administrator first.",
            code="last_administrator",
        )


def _users(connection: sa.Connection, query: sa.Select[Any]) -> list[User]:
    rows = connection.execute(query).all()
    held: dict[str, set[str]] = {}
    for user_id, role in connection.execute(
        sa.select(user_roles.c.user_id, user_roles.c.role).where(user_roles.c.user_id.in_([row.id for row in rows]))
    ):
        held.setdefault(user_id, set()).add(role)
    return [
        User(
            id=row.id,
            team_id=row.team_id,
            email=row.email,
            name=row.name,
            status=row.status,
            roles=tuple(role for role in roles.ROLES if role in held.get(row.id, ())),
            two_factor=row.totp_on,
            has_password=row.password is not None,
            time_zone=row.time_zone,
            created_at=row.created_at,
            signed_in_at=row.signed_in_at,
            locked_until=row.locked_until,
        )
        for row in rows
    ]
