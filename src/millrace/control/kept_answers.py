"""Requests that may be repeated: each is carried out once for its key, and its answer is given again for a day.

The key is noted before anything is done. The first transaction that changes something notes in itself that it did
(`acted`). So of a request whose server died, the row says whether it may be carried out anew.
"""

from __future__ import annotations

import os
import uuid
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from millrace.control.books import leases
from millrace.control.database.people_tables import kept_answers as table
from millrace.control.secrecy import sealing
from millrace.data.dataclass import dataclass
from millrace.errors import ConfigError, Stale, Transient

if TYPE_CHECKING:
    from millrace.control.home import Home

KEPT_FOR = timedelta(days=1)

# Whoever asked another server, of which nobody here can say whether it lives, may be that long at it.
PATIENCE = timedelta(minutes=15)

# Of this process; a row of ours that is not among them was left behind.
_ours: set[str] = set()
os.register_at_fork(after_in_child=_ours.clear)


class InProgress(Transient):
    """The same request is being carried out."""

    code = "request_in_progress"


@dataclass(frozen=True, slots=True)
class Kept:
    """An answer. ``body`` as text: all that is kept is JSON or nothing."""

    status: int
    media_type: str | None
    body: str


@dataclass(frozen=True, slots=True)
class Once:
    """The right to carry a request out."""

    team_id: str
    key: str
    token: str

    def acting(self, connection: sa.Connection) -> None:
        """This transaction changes something for the request. Raises Stale where another has taken it over."""
        done = connection.execute(sa.update(table).where(*self.mine).values(state="acted"))
        if done.rowcount != 1:
            raise Stale("another server has taken this request over", hint="Ask again with the same key.")

    @property
    def mine(self) -> tuple[sa.ColumnElement[bool], ...]:
        """What finds its row."""
        return table.c.team_id == self.team_id, table.c.key == self.key, table.c.token == self.token


def begin(home: Home, key: str, fingerprint: str) -> Once | Kept:
    """The right to carry the request out, or the answer that it got.

    Raises ConfigError "idempotency_key_reused" where the key was given to another request, InProgress while somebody is
    at it, and ConfigError "outcome_unknown" where its server died after it had changed something.
    """
    now, team_id = home.database.now(), home.actor.team_id
    once = Once(team_id, key, str(uuid.uuid4()))
    mine = {
        "team_id": team_id,
        "key": key,
        "fingerprint": fingerprint,
        "state": "begun",
        "token": once.token,
        "holder": leases.this_process().to_json(),
        "status": None,
        "sealed": None,
        "began_at": now,
    }
    there = (table.c.team_id == team_id, table.c.key == key)
    with home.database.transaction() as connection:
        found = connection.execute(sa.select(table).where(*there)).one_or_none()
        if found is not None:
            if now - found.began_at < KEPT_FOR:
                if found.fingerprint != fingerprint:
                    raise ConfigError(
                        "this idempotency key was given to another request",
                        hint="Make a new key for each request; repeat one only with the same address and body.",
                        code="idempotency_key_reused",
                        path="Idempotency-Key",
                    )
                if found.state == "done":
                    return _kept(home, found)
                if _held(found, now):
                    raise InProgress("this very request is being carried out", hint="Ask again in a moment.")
                if found.state == "acted":
                    raise ConfigError(
                        "this request changed something, and its server ended before it could answer",
                        hint="Look at what is there now; what is still missing, ask for with another key.",
                        code="outcome_unknown",
                        path="Idempotency-Key",
                    )
            # The token in the condition: of two that found the same row, one wins.
            connection.execute(sa.delete(table).where(*there, table.c.token == found.token))
        try:
            with connection.begin_nested():
                connection.execute(sa.insert(table).values(mine))
        except IntegrityError:
            raise InProgress("this very request is being carried out", hint="Ask again in a moment.") from None
    _ours.add(once.token)
    return once


def keep(home: Home, once: Once, answer: Kept) -> None:
    """The request was carried out, and this is its answer from now on."""
    with home.database.transaction() as connection:
        kept = {"type": answer.media_type, "body": answer.body}
        sealed = sealing.seal(home, connection, table.c.sealed, f"{once.team_id}/{once.key}", kept)
        done = {"state": "done", "status": answer.status, "sealed": sealed}
        connection.execute(sa.update(table).where(*once.mine).values(done))
    _ours.discard(once.token)


def give_up(home: Home, once: Once, *, acted: bool) -> None:
    """There is no answer. The request may be sent again, but, with ``acted``, where it changed something."""
    with home.database.transaction() as connection:
        gone = sa.delete(table).where(*once.mine)
        connection.execute(gone.where(table.c.state == "begun") if acted else gone)
    _ours.discard(once.token)


def expire(home: Home, now: datetime) -> int:
    """Keys that are older than a day go; how many did."""
    with home.database.transaction() as connection:
        return connection.execute(sa.delete(table).where(table.c.began_at < now - KEPT_FOR)).rowcount


def _kept(home: Home, row: Any) -> Kept:
    found = sealing.unseal(home, table.c.sealed, f"{row.team_id}/{row.key}", row.sealed)
    return Kept(row.status, found.get("type"), found.get("body", ""))


def _held(row: Any, now: datetime) -> bool:
    """Whoever began is still at it."""
    holder, me = leases.Holder.from_json(row.holder), leases.this_process()
    if holder.place != me.place:
        return now - row.began_at < PATIENCE
    if (holder.pid, holder.started) == (me.pid, me.started):
        return row.token in _ours
    return not leases.is_dead(row.holder)
