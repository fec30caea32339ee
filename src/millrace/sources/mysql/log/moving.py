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
from millrace.errors import ConfigError, Transient
from millrace.sources.mysql.log import gtids, server
from millrace.sources.mysql.log.place import Place
from millrace.sources.mysql.log.reading import Position, Read

if TYPE_CHECKING:
    from millrace.sources.mysql.log.log import Log

_PLACE = re.compile(r"(.+\.[0-9]{1,12}):([0-9]{1,10})")
_OF_MARIADB = re.compile(r"[0-9]+-[0-9]+-[0-9]+")
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
        before = [cursor for cursor in starts if _at(cursor) <= goal]
        if not before:
            raise _unknown(wanted)
        found, _ = _walked(log, session, max(before, key=_at), goal)
        if _at(found) != goal:
            raise no_such_place(
                wanted, f"it is within a transaction or an event; the next place behind it is {_at(found)}"
            )
        return found
    number = _number(wanted)
    if not starts:
        raise _unknown(wanted)
    oldest = min(starts, key=_at)
    nearest = max((cursor for cursor in starts if _follows(number, cursor["gtid"])), key=_at, default=oldest)
    found, met = _walked(log, session, nearest, end, number)
    last = _at(found)
    if not met and nearest is not oldest:
        # Numbers go up in a log, unless somebody set them back.
        found, met = _walked(log, session, oldest, _at(nearest), number)
    if not met:
        raise no_such_place(wanted, f"no transaction of that number lies between {_at(oldest)} and {last}")
    return found


def _number(wanted: str) -> str:
    """The number of a transaction, or of the last one of MySQL's set, such as gtid_executed, if that is one place."""
    if _OF_MARIADB.fullmatch(wanted):
        return wanted
    found = gtids.last(wanted)
    if not found:
        raise no_such_place(wanted, "it is no place of a binary log", _HOW)
    if len(found) > 1:
        why = f"transactions of {len(found)} servers or tags have no order among each other"
        raise no_such_place(wanted, why, "Name the one that is last in the log, or a file and a place in it.")
    return found[0]


def _follows(number: str, known: str) -> bool:
    """The transaction comes behind the known one, or is that one, by their numbers; those of MySQL do not tell."""
    (of, which), (known_of, known_which) = number.rpartition("-")[::2], known.rpartition("-")[::2]
    return of == known_of != "" and which.isdigit() and known_which.isdigit() and int(known_which) <= int(which)


def _at(cursor: JSON) -> Place:
    return Position.of(cursor).at


def _walked(log: Log, session: Session, start: JSON, goal: Place, number: str = "") -> tuple[JSON, bool]:
    """The log was gone through from the cursor ``start`` to the place, or behind the transaction of that number; where
    that ended, and whether that transaction was met. Raises Transient when it was stopped before."""
    found, position = start, Position.of(start)
    if number == position.gtid.lower() != "":
        return start, True
    if not number and position.at == goal:
        return start, False
    while True:
        tracking = log.tracking(session, found)
        read = Read(log, session, Following({}, found), {}, tracking, Position.of(found), goal, until=number)
        for item in read.changes():
            if isinstance(item, Checkpoint):
                found = item.cursor
        if read.met or read.at_end:
            return found, read.met
        if log.context.stopping.is_set():
            raise Transient(
                f"looking for the place in the log was stopped at {_at(found)}; the position is as it was",
                hint="Ask for it again.",
            )


def _unknown(wanted: str) -> ConfigError:
    return no_such_place(
        wanted,
        "how tables looked there is not known: it lies before all places of which the pipeline knows, or the server "
        "does not have the log from there on any more",
        "Restart the objects: their histories have all rows as they are now.",
    )
