"""Numbers of MySQL's transactions (GTIDs): in its log those with a tag, and as its tools and people write them.

Sources: https://dev.mysql.com/doc/refman/8.4/en/replication-gtids-concepts.html (sets),
https://dev.mysql.com/doc/dev/mysql-server/latest/PageLibsMysqlSerialization.html (how an event with a tag is written)
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Sequence

from millrace.sources.mysql.log.wire import HEAD, number

_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_INTERVAL = re.compile(r"([0-9]+)(?:-([0-9]+))?")
_TAG = re.compile(r"[a-z_][a-z0-9_]{0,31}")
# Fields of an event with a tag, by the numbers that stand in front of them.
_FLAGS, _SERVER, _COUNT, _NAME = range(4)


def tagged(event: bytes) -> str:
    """The number in an event of a transaction with a tag. Raises ValueError where it is written in another way."""
    version, at = _unsigned(event, HEAD)
    if version != 1:
        raise ValueError(f"an event with a GTID of version {version}")
    for _ in range(2):  # how long all of it is, and which fields must be understood
        _, at = _unsigned(event, at)
    found: dict[int, str] = {}
    while len(found) < 4:
        field, at = _unsigned(event, at)
        if field == _FLAGS:
            flags, at = _unsigned(event, at)
            found[field] = str(flags)
        elif field == _SERVER:
            marks = bytearray()
            for _ in range(16):
                one, at = _unsigned(event, at)
                marks.append(one)
            found[field] = str(uuid.UUID(bytes=bytes(marks)))
        elif field == _COUNT:
            # The lowest bit is the sign, and no number is below 0.
            twice, at = _unsigned(event, at)
            found[field] = str(twice >> 1)
        elif field == _NAME:
            size, at = _unsigned(event, at)
            found[field] = event[at : at + size].decode()
            at += size
        else:
            raise ValueError(f"an event with a GTID has the field {field} where its number should be")
    return f"{found[_SERVER]}:{found[_NAME]}:{found[_COUNT]}"


def _unsigned(data: bytes, at: int) -> tuple[int, int]:
    """A number of one to nine bytes, and where it ends: the low bits that are set say how many bytes follow."""
    first = data[at]
    more = next((bit for bit in range(8) if not first >> bit & 1), 8)
    if more == 8:
        return number(data, at + 1, 8), at + 9
    return number(data, at, more + 1) >> (more + 1), at + more + 1


def last(wanted: str) -> Sequence[str] | None:
    """The last transaction of each server and tag in a set, as `events.numbered` writes them; one number is a set too.
    None for what is none."""
    found: dict[tuple[str, str], int] = {}
    for part in re.split(r"\s*,\s*", wanted.strip().lower()):
        server, *rest = re.split(r"\s*:\s*", part)
        if not _UUID.fullmatch(server) or not rest or _TAG.fullmatch(rest[-1]):
            return None
        tag = ""
        for one in rest:
            if (interval := _INTERVAL.fullmatch(one)) is not None:
                low, high = int(interval[1]), int(interval[2] or interval[1])
                if not 0 < low <= high:
                    return None
                found[server, tag] = max(found.get((server, tag), 0), high)
            elif _TAG.fullmatch(one):
                tag = f":{one}"
            else:
                return None
    return [f"{server}{tag}:{count}" for (server, tag), count in found.items()]
