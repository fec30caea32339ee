"""Who asks, in the words that a page shows: the user, their team, and what they may."""

from __future__ import annotations

from typing import TYPE_CHECKING

import sqlalchemy as sa

from millrace.control.database.tables import teams
from millrace.control.people import users
from millrace.control.people.actors import ActorKind, Permission
from millrace.control.people.users import User
from millrace.data.dataclass import dataclass
from millrace.errors import Forbidden

if TYPE_CHECKING:
    from millrace.control.home import Home


@dataclass(frozen=True, slots=True)
class OwnTeam:
    """The team of whoever asks."""

    id: str
    name: str


@dataclass(frozen=True, slots=True)
class Who:
    """Who asks. ``permissions`` are those of the roles, or fewer where a key with a scope asks."""

    kind: ActorKind
    user: User
    team: OwnTeam
    permissions: tuple[Permission, ...]


def asks(home: Home) -> Who:
    """The actor. Raises Forbidden for who is no user: the operator, and Millrace itself."""
    if home.actor.user_id is None:
        raise Forbidden(f"{home.actor.name} is no user", hint="Ask with an API key, or sign in.")
    with home.database.reading() as connection:
        user = users.of_id(connection, home.actor.user_id)
        name = connection.execute(sa.select(teams.c.name).where(teams.c.id == user.team_id)).scalar_one()
    return Who(home.actor.kind, user, OwnTeam(user.team_id, name), tuple(sorted(home.actor.permissions)))
