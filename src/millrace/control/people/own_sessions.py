"""Where somebody is signed in: their own sessions, seen and ended by themselves."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from millrace.control.activity import wrote
from millrace.control.database.people_tables import sessions as rows
from millrace.control.people import sessions, users
from millrace.control.people.links import hashed
from millrace.data.dataclass import dataclass
from millrace.errors import ConfigError, Forbidden

if TYPE_CHECKING:
    from millrace.control.home import Home

# Enough of a hash to tell sessions of one user apart; nobody can sign in with it.
_ID_LENGTH = 16


@dataclass(frozen=True, slots=True)
class Place:
    """One session of the actor's. ``current``: the one that asks. ``agent`` is what the browser says it is."""

    id: str
    state: sessions.State
    created_at: datetime
    seen_at: datetime
    expires_at: datetime
    address: str | None
    agent: str | None
    current: bool


def listed(home: Home, token: str | None = None) -> list[Place]:
    """The sessions of the actor that are not over, the newest first. ``token``: of the one that asks, if one does."""
    query = sa.select(rows).where(rows.c.user_id == _user(home), rows.c.expires_at > datetime.now(UTC))
    with home.database.reading() as connection:
        found = connection.execute(query.order_by(rows.c.created_at.desc(), rows.c.hash)).all()
    own = None if token is None else hashed(token)
    return [_place(row, own) for row in found]


def end(home: Home, id_: str) -> None:
    """The session of that id is over. Raises ConfigError "unknown_session" when the actor has none of it."""
    with home.database.transaction() as connection:
        mine = rows.c.user_id == _user(home)
        hit = sa.delete(rows).where(mine, sa.func.substr(rows.c.hash, 1, _ID_LENGTH) == id_)
        if not connection.execute(hit).rowcount:
            raise ConfigError(f"you have no session {id_[:40]!r}", hint="It may have ended.", code="unknown_session")
        _told(home, connection, "ended a session")


def end_others(home: Home, token: str) -> int:
    """All sessions of the actor but the one that asks are over; how many there were."""
    with home.database.transaction() as connection:
        others = sa.delete(rows).where(rows.c.user_id == _user(home), rows.c.hash != hashed(token))
        count = connection.execute(others).rowcount
        if count:
            _told(home, connection, f"ended {count} other sessions")
        return count


def _user(home: Home) -> str:
    """The id of the user who asks. Raises Forbidden for who is no user: the operator, and Millrace itself."""
    if home.actor.user_id is None:
        raise Forbidden(f"{home.actor.name} has no sessions", hint="Users who sign in have them.")
    return home.actor.user_id


def _told(home: Home, connection: sa.Connection, done: str) -> None:
    user = users.of_id(connection, _user(home))
    wrote(home, "MEDIUM", user.entity, "sign_out", f"{user.email} {done}")


def _place(row: Any, own: str | None) -> Place:
    return Place(
        id=row.hash[:_ID_LENGTH],
        state=row.state,
        created_at=row.created_at,
        seen_at=row.seen_at,
        expires_at=row.expires_at,
        address=row.address,
        agent=row.agent,
        current=row.hash == own,
    )
