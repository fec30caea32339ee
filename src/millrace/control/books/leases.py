"""Leases: who may write what. One conditional UPDATE decides, so that SQLite and PostgreSQL serve alike (I4)."""

from __future__ import annotations

import functools
import os
import socket
import threading
import uuid
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from millrace.control.database.db import Database
from millrace.control.database.tables import leases
from millrace.data.dataclass import dataclass
from millrace.errors import MillraceError, Stale, Transient

LEASE_S = 60.0

# Tokens that this process holds. A row of ours that is not among them was left by a run that ended without release.
_ours: set[str] = set()
os.register_at_fork(after_in_child=_ours.clear)


class AlreadyRunning(Transient):
    """Another process holds the lease."""

    code = "already_running"


@dataclass(frozen=True, slots=True)
class Holder:
    """A process. ``place`` names a machine since its start and a set of process numbers: containers differ in it."""

    host: str
    place: str
    pid: int
    started: str

    def to_json(self) -> dict[str, Any]:
        return {"host": self.host, "place": self.place, "pid": self.pid, "started": self.started}

    @staticmethod
    def from_json(found: dict[str, Any]) -> Holder:
        return Holder(found["host"], found["place"], found["pid"], found["started"])


# Holds what somebody released that was seen.
NOBODY = Holder("", "", 0, "")


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to write under a name, as long as nobody else has taken it."""

    database: Database
    name: str
    token: str

    def renew(self, *, seconds: float = LEASE_S) -> None:
        """Ours for as long again. Raises Stale when another process has taken it."""
        with self.database.transaction() as connection:
            confirm(connection, self, self.database.now() + timedelta(seconds=seconds))

    def release(self, *, seen: datetime | None = None) -> None:
        """Free for others, who are told when it was ``seen`` last. Nothing happens when it was lost."""
        _ours.discard(self.token)
        # Over by then: who knows nothing of `NOBODY` does not wait either.
        over = sa.delete(leases) if seen is None else sa.update(leases).values(holder=NOBODY.to_json(), expires_at=seen)
        with self.database.transaction() as connection:
            connection.execute(over.where(leases.c.name == self.name, leases.c.token == self.token))


def confirm(connection: sa.Connection, lease: Lease, expires_at: datetime) -> None:
    """The lease is ours until this transaction ends (I4): the row is locked by the very update that checks it.

    A lease that has expired but that nobody took is still ours. Raises Stale otherwise.
    """
    updated = connection.execute(
        sa.update(leases)
        .where(leases.c.name == lease.name, leases.c.token == lease.token)
        .values(expires_at=expires_at)
    )
    if updated.rowcount != 1:
        raise Stale(
            f"another process has taken over {lease.name}",
            hint="It goes on from the last commit; nothing that this one had not committed is needed.",
        )


def acquire(
    database: Database,
    name: str,
    *,
    seconds: float = LEASE_S,
    now: Callable[[], datetime] | None = None,
    what: str | None = None,
    silent: datetime | None = None,
) -> Lease:
    """The lease is ours.

    It is taken from a holder that is dead, however long its lease would last, and never from one that lives on this
    machine, however the clock has jumped; only of a holder elsewhere does time decide. ``silent``: the `last_seen` that
    has been the same for longer than any holder that lives leaves it; it is taken however long it would last. Raises
    AlreadyRunning, which speaks of ``what``.
    """
    moment = (now or database.now)()
    token = str(uuid.uuid4())
    expires_at = moment + timedelta(seconds=seconds)
    mine = {
        "name": name,
        "token": token,
        "holder": this_process().to_json(),
        "acquired_at": moment,
        "expires_at": expires_at,
    }
    # Before anybody can see it: another thread of ours would take it for one that was left.
    _ours.add(token)
    try:
        _take(database, mine, moment, what or name, silent)
    except BaseException:
        _ours.discard(token)
        raise
    return Lease(database, name, token)


def _take(database: Database, mine: dict[str, Any], moment: datetime, what: str, silent: datetime | None) -> None:
    """The row of the lease is as in ``mine``. Raises AlreadyRunning."""
    name = mine["name"]
    with database.transaction() as connection:
        held_by = connection.execute(sa.select(leases).where(leases.c.name == name)).one_or_none()
        if held_by is None:
            try:
                with connection.begin_nested():
                    connection.execute(sa.insert(leases).values(mine))
            except IntegrityError:
                raise AlreadyRunning(f"{what} was taken by another process in this moment", hint="Try again.") from None
        else:
            if _holds(held_by, moment, silent=silent):
                raise _already(what, held_by)
            # The token in the condition: of two that found the same dead holder, one wins.
            taken = connection.execute(
                sa.update(leases).where(leases.c.name == name, leases.c.token == held_by.token).values(mine)
            )
            if taken.rowcount != 1:
                raise AlreadyRunning(f"{what} was taken by another process in this moment", hint="Try again.")


def last_seen(database: Database, name: str) -> datetime | None:
    """When a holder of the lease renewed it last, by its clock; None where nobody knows."""
    with database.reading() as connection:
        row = connection.execute(sa.select(leases).where(leases.c.name == name)).one_or_none()
    return None if row is None else _last_seen(row)


def _last_seen(row: Any) -> datetime:
    return row.expires_at - timedelta(seconds=0 if Holder.from_json(row.holder) == NOBODY else LEASE_S)


@contextmanager
def held(database: Database, name: str, *, seconds: float = LEASE_S, what: str | None = None) -> Generator[Lease]:
    """The lease is ours while the block runs; a thread renews it. Raises AlreadyRunning.

    When it is lost all the same, the next commit says so (`confirm`).
    """
    lease = acquire(database, name, seconds=seconds, what=what)
    ended = threading.Event()

    def beat() -> None:
        while not ended.wait(seconds / 3):
            try:
                lease.renew(seconds=seconds)
            except Stale:
                return
            except MillraceError:
                # The database is busy or away; the next beat or the next commit will tell.
                continue

    thread = threading.Thread(target=beat, name=f"lease {name}", daemon=True)
    thread.start()
    try:
        yield lease
    finally:
        ended.set()
        thread.join()
        lease.release()


def holder(database: Database, name: str) -> Holder | None:
    """The process that holds the lease now, or None."""
    now = database.now()
    with database.reading() as connection:
        return found(connection, name, now)


def found(connection: sa.Connection, name: str, now: datetime) -> Holder | None:
    """`holder`, within a transaction."""
    row = connection.execute(sa.select(leases).where(leases.c.name == name)).one_or_none()
    return Holder.from_json(row.holder) if row is not None and _holds(row, now) else None


def held_of(connection: sa.Connection, names: Sequence[str], now: datetime) -> set[str]:
    """Those of the leases that somebody holds."""
    rows = connection.execute(sa.select(leases).where(leases.c.name.in_(names)))
    return {row.name for row in rows if _holds(row, now)}


def oldest_live(connection: sa.Connection, now: datetime, begins: str) -> datetime | None:
    """Since when the oldest lease that is held has been held, of those whose names begin so."""
    found = connection.execute(sa.select(leases).where(leases.c.name.startswith(begins, autoescape=True))).all()
    return min((row.acquired_at for row in found if _holds(row, now)), default=None)


def is_dead(holder: dict[str, Any] | None) -> bool:
    """The process was on this machine, and is gone; of one elsewhere nobody here can say so."""
    if holder is None:
        return True
    found = Holder.from_json(holder)
    if found.place != this_process().place:
        return False
    started = _started(found.pid)
    return started is None or started != found.started


def this_process() -> Holder:
    """The process that asks."""
    return _process(os.getpid())


@functools.cache
def _process(pid: int) -> Holder:
    return Holder(socket.gethostname(), _place(), pid, _started(pid) or "")


def _holds(row: Any, now: datetime, *, silent: datetime | None = None) -> bool:
    """Somebody holds the lease: not one elsewhere who is ``silent``."""
    found, me = Holder.from_json(row.holder), this_process()
    if found == NOBODY:
        return False
    if found.place != me.place:
        return row.expires_at > now and _last_seen(row) != silent
    if found.pid == me.pid and found.started == me.started:
        return row.token in _ours
    started = _started(found.pid)
    return started is not None and started == found.started


def _already(what: str, row: Any) -> AlreadyRunning:
    found = Holder.from_json(row.holder)
    since = f"{row.acquired_at:%Y-%m-%d %H:%M:%S} UTC"
    here = found.place == this_process().place
    hint = (
        f"Wait until it ends, or end process {found.pid}: what it committed is safe."
        if here
        else f"Wait until it ends. If {found.host} is gone, the lease ends at {row.expires_at:%Y-%m-%d %H:%M:%S} UTC."
    )
    return AlreadyRunning(f"{what} is already running: process {found.pid} on {found.host} since {since}", hint=hint)


def _place() -> str:
    """This machine since its start, and the set of process numbers that we see."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot}/{Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return socket.gethostname()


def _started(pid: int) -> str | None:
    """When a process started, so that a number used again is told apart; None when there is no such process."""
    try:
        # Field 22 of proc(5); the name in brackets may hold spaces.
        after_name = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return None if after_name[0] in ("Z", "X") else after_name[19]
    except FileNotFoundError:
        if Path("/proc/self/stat").exists():
            return None
    except OSError:
        return ""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return None
    except PermissionError:
        return ""
    return ""
