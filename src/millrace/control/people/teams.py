"""Teams: who works together. What belongs to one is not there for the others (accounts 1.1)."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import sqlalchemy as sa

from millrace.control.activity import Entity, wrote
from millrace.control.connecting.connections import checked_name
from millrace.control.database.people_tables import departures
from millrace.control.database.people_tables import users as people
from millrace.control.database.tables import teams
from millrace.control.people import users
from millrace.control.people.roles import ADMINISTRATOR
from millrace.data.dataclass import dataclass
from millrace.errors import ConfigError, Forbidden

if TYPE_CHECKING:
    from millrace.control.home import Home

MOST_PER_DOMAIN = 5
COOL_OFF = timedelta(days=30)


@dataclass(frozen=True, slots=True)
class Team:
    """A team; ``members`` counts its users."""

    id: str
    name: str
    created_at: datetime
    members: int


def create(home: Home, name: str, email: str, password: str) -> Team:
    """A team with its first administrator. For the operator of this machine alone.

    Raises ConfigError when the domain of the address has five teams, or the person left another team less than 30
    days ago.
    """
    if home.actor.kind != "operator":
        raise Forbidden("teams are made by the operator of this machine", hint="Use `millrace team create` there.")
    checked_name(name, "team")
    email = users.canonical(email)
    domain = email.rpartition("@")[2]
    hash_ = users.new_hash(home, password)
    now = datetime.now(UTC)
    id_ = str(uuid.uuid4())
    with home.database.transaction() as connection:
        same = people.c.email.endswith(f"@{domain}", autoescape=True)
        held = connection.execute(sa.select(sa.func.count(people.c.team_id.distinct())).where(same)).scalar_one()
        if held >= MOST_PER_DOMAIN:
            raise ConfigError(f"people of {domain} have {held} teams already, and that is the most",
                              hint="Join one of them.", path="email", code="too_many_teams")  # fmt: skip
        left_at = connection.execute(sa.select(departures.c.left_at).where(departures.c.email == email)).scalar()
        if left_at is not None and now - left_at < COOL_OFF:
            raise ConfigError(
                f"{email} left a team on {left_at:%Y-%m-%d} and may found another {COOL_OFF.days} days later",
                path="email",
                code="cool_off",
            )
        connection.execute(sa.insert(teams).values(id=id_, name=name, created_at=now))
        there = home.acting(home.actor.of(id_))
        wrote(there, "HIGH", Entity("team", id_, name), "create", f"team {name} was made")
        users.added(there, email, (ADMINISTRATOR,), status="active", hash_=hash_, name="")
    return Team(id_, name, now, 1)


def own(home: Home) -> Team:
    """The team of the actor."""
    home.actor.must("view")
    with home.database.reading() as connection:
        row = connection.execute(sa.select(teams).where(teams.c.id == home.actor.team_id)).one()
        members = sa.select(sa.func.count()).select_from(people).where(people.c.team_id == row.id)
        return Team(row.id, row.name, row.created_at, connection.execute(members).scalar_one())


def rename(home: Home, name: str) -> Team:
    """The team of the actor has another name."""
    home.actor.must("settings.edit")
    old = own(home)
    checked_name(name, "team")
    with home.database.transaction() as connection:
        connection.execute(sa.update(teams).where(teams.c.id == old.id).values(name=name))
        entity = Entity("team", old.id, name)
        wrote(home, "MEDIUM", entity, "rename", f"team {old.name} is now {name}", {"name": old.name}, {"name": name})
    return own(home)
