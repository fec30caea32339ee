"""What a server says of its log: where it ends, what is in it, how long it is kept, and whose it is."""

from __future__ import annotations

import hashlib
import secrets
import uuid
from collections.abc import Generator
from contextlib import contextmanager

from millrace.connect.mysql.session import Session
from millrace.errors import MillraceError
from millrace.sources.mysql.log.errors import no_place, not_tracked, of_question
from millrace.sources.mysql.log.place import Place

# Ids of replicas that people choose are small.
_LOWEST_ID, _HIGHEST_ID = 1 << 30, (1 << 32) - 1
_OF_SNAPSHOT = "SHOW STATUS WHERE Variable_name IN ('Binlog_snapshot_file', 'Binlog_snapshot_position')"


@contextmanager
def asking(where: str) -> Generator[None]:
    """Questions about the log, of which a right may be missing."""
    try:
        yield
    except MillraceError as error:
        raise of_question(error, where) from error


def replica(pipeline: str) -> tuple[int, str]:
    """The number and the name as which a pipeline reads: its own, so that no two end each other's reading."""
    seed = hashlib.sha256((pipeline or secrets.token_hex(16)).encode()).digest()
    number = _LOWEST_ID + int.from_bytes(seed[:8], "big") % (_HIGHEST_ID - _LOWEST_ID)
    return number, str(uuid.UUID(bytes=seed[:16]))


def end(session: Session, where: str, database: str) -> Place:
    """The end of the log. Raises ConfigError where there is none, or where the database is not in it."""
    renamed = session.family == "mysql" and session.version >= (8, 2)
    with asking(where):
        found = session.rows("SHOW BINARY LOG STATUS" if renamed else "SHOW MASTER STATUS")
    if not found:
        raise no_place(where, "writes no binary log")
    file, position, only, ignored = found[0][:4]
    if (_named(only) and database not in _named(only)) or database in _named(ignored):
        raise not_tracked(where, database)
    return Place(int(position), str(file))


def _named(listed: object) -> set[str]:
    return {one.strip() for one in str(listed or "").split(",") if one.strip()}


def has(session: Session, file: str) -> bool:
    """The server has that file of its log."""
    return any(str(row[0]) == file for row in session.rows("SHOW BINARY LOGS"))


def of_snapshot(session: Session) -> Place | None:
    """The place of the log up to which the open snapshot sees everything and behind which nothing; None where the
    server, as MySQL's, does not know."""
    if session.family != "mariadb":
        return None
    about = {str(name).lower(): str(value) for name, value in session.rows(_OF_SNAPSHOT)}
    file = about.get("binlog_snapshot_file")
    return Place(int(about["binlog_snapshot_position"]), file) if file else None


def identity(session: Session) -> str:
    """What tells the server from others."""
    if session.family == "mysql":
        return str(session.rows("SELECT @@server_uuid")[0][0])
    return f"server_id {session.rows('SELECT @@server_id')[0][0]}"


def variables(session: Session, *names: str) -> dict[str, str]:
    """Settings that the server has, by name."""
    listed = ", ".join(f"'{name}'" for name in names)
    rows = session.rows(f"SHOW GLOBAL VARIABLES WHERE Variable_name IN ({listed})")
    return {str(name).lower(): str(value) for name, value in rows}


def kept_s(session: Session) -> float | None:
    """Seconds for which the log is kept; None where nobody takes it away."""
    found = variables(session, "binlog_expire_logs_seconds", "expire_logs_days")
    seconds = float(found.get("binlog_expire_logs_seconds") or 0) or 86400 * float(found.get("expire_logs_days") or 0)
    return seconds or None


def now_s(session: Session) -> int:
    return int(session.rows("SELECT UNIX_TIMESTAMP()")[0][0])
