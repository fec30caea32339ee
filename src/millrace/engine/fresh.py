"""Tables in which full reloads gather, before they take the place of those of their names."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any

from millrace.connect.destination import Destination, Limits
from millrace.connect.source import Note
from millrace.data.columns import INGESTED_AT, Prefix
from millrace.engine.naming import FRESH
from millrace.errors import SchemaError


def fresh_name(table: str, limits: Limits) -> str:
    """Name of the table in which a full reload gathers. Never that of the table itself, however short names must be."""
    name = table + FRESH
    size = len(name.encode() if limits.count_bytes else name)
    if size <= limits.table_name:
        return name
    tail = f"_{hashlib.sha256(table.encode()).hexdigest()[:8]}{FRESH}"
    room = limits.table_name - len(tail)
    return (table.encode()[:room].decode(errors="ignore") if limits.count_bytes else table[:room]) + tail


def discarded(count: Mapping[str, int]) -> Iterator[Note]:
    """What failed, by event type, before it is read into a fresh table does not come back beside what is read then."""
    for event_type, rows in count.items():
        yield Note(
            "rejects_discarded",
            f"{rows:,} failed events of {event_type} are discarded, as its rows are read anew into a fresh table; of "
            "these, what the source does not give any more is gone. `millrace rejects list --all` has their groups",
        )


def drop_fresh(destination: Destination[Any], table: str, prefix: Prefix, pipeline: str) -> None:
    """What a full reload of the table that never came to its end has left is gone; never a table of somebody else's.

    ``pipeline``: whose reload (`Shelf.feed`).
    """
    name = fresh_name(table, destination.limits)
    if _is_ours(destination, name, prefix, pipeline):
        destination.drop(name)


def _is_ours(destination: Destination[Any], fresh: str, prefix: Prefix, pipeline: str) -> bool:
    """Whether a table that has the name of a fresh one was made by a full reload of the pipeline, or there is none.

    Rows that were loaded there have a note beside them (I3), which says whose they are. Before its first load it has no
    row, but our columns.
    """
    there = destination.schema(fresh)
    if there is None:
        return True
    if feeds := destination.feeds(fresh):
        return all(feed.startswith(f"{pipeline}:") for feed in feeds)
    return prefix.outside(INGESTED_AT) in there and destination.sizes(fresh, "", [(None, None)], {})[1] == [0]


def must_be_ours(destination: Destination[Any], fresh: str, table: str, prefix: Prefix, pipeline: str) -> None:
    """Raises SchemaError for a table that somebody else made."""
    if not _is_ours(destination, fresh, prefix, pipeline):
        raise SchemaError(
            f"the table {fresh} at the destination was not made by this pipeline, and a full reload of {table} fills a "
            "table of that name before it takes its place",
            hint=f"Rename {fresh}, or drop it if nobody needs it; then run the pipeline again.",
            code="fresh_taken",
        )
