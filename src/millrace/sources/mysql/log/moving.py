"""The cursor at another place of a binary log.

How tables looked there says the log alone, from a place on at which they are known. So it is gone through from the
nearest such place before, without its rows; then the place is known to be one, too, and not the middle of something.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from millrace.connect.log import Following, no_such_place
from millrace.connect.mysql.session import Session
from millrace.data.batch import JSON, Checkpoint
from millrace.errors import ConfigError
from millrace.sources.mysql.log import server
from millrace.sources.mysql.log.place import Place
from millrace.sources.mysql.log.reading import Position, Read

if TYPE_CHECKING:
    from millrace.sources.mysql.log.log import Log

_PLACE = re.compile(r"(.+\.[0-9]{1,12}):([0-9]{1,10})")
_NUMBER = re.compile(r"[0-9]+-[0-9]+-[0-9]+|[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}:[0-9]+")
_HOW = "Write it like mysql-bin.000042:4711, or as the number (GTID) of the last transaction that was read."


def moved(log: Log, session: Session, wanted: str, known: Sequence[JSON]) -> JSON:
    """The cursor at ``wanted``, a file and the bytes before the place, or behind the transaction of that number."""
    here = server.identity(session)
    starts = [cursor for cursor in known if cursor["server"] == here and server.has(session, cursor["file"])]
    end = server.end(session, log.where, log.config.db_name)
    if (said := _PLACE.fullmatch(wanted)) is not None:
        goal = Place(int(said[2]), said[1])
        if goal > end or goal.file.rpartition(".")[0] != end.file.rpartition(".")[0]:
            raise no_such_place(wanted, f"the log ends at {end}")
        before = [cursor for cursor in starts if Position.of(cursor).at <= goal]
        if not before:
            raise _unknown(wanted)
        return _walked(log, session, max(before, key=lambda cursor: Position.of(cursor).at), goal, wanted)
    if not _NUMBER.fullmatch(wanted):
        raise no_such_place(wanted, "it is no place of a binary log", _HOW)
    if not starts:
        raise _unknown(wanted)
    return _walked(log, session, min(starts, key=lambda cursor: Position.of(cursor).at), end, wanted, wanted.lower())


def _walked(log: Log, session: Session, start: JSON, goal: Place, wanted: str, number: str = "") -> JSON:
    """The log was gone through from the cursor ``start`` to the place, or behind the transaction of that number."""
    found, position = start, Position.of(start)
    if number == position.gtid.lower() != "" or (not number and position.at == goal):
        return start
    tracking = log.tracking(session, start)
    read = Read(log, session, Following({}, start), {}, tracking, position, goal, until=number)
    for item in read.changes():
        if isinstance(item, Checkpoint):
            found = item.cursor
    at = Position.of(found).at
    if number and not read.met:
        raise no_such_place(wanted, f"no transaction of that number lies between {Position.of(start).at} and {at}")
    if not number and at != goal:
        raise no_such_place(wanted, f"it is within a transaction or an event; the next place behind it is {at}")
    return found


def _unknown(wanted: str) -> ConfigError:
    return no_such_place(
        wanted,
        "how tables looked there is not known: it lies before all places of which the pipeline knows, or the server "
        "does not have the log from there on any more",
        "Restart the objects: their histories have all rows as they are now.",
    )
