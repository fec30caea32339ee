"""Looks that change nothing: some rows of a source, and SQL at a destination."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

import pyarrow as pa

from millrace.connect.source import Context, Reading, Stream
from millrace.connect.sql.refusals import RowsRefused
from millrace.control.connecting import connections
from millrace.control.running.clock import clock as machine_clock
from millrace.data.batch import Batch, Checkpoint, FileNote, Passed, Refused, Truncated
from millrace.data.rows import to_batch
from millrace.errors import ConfigError

if TYPE_CHECKING:
    from millrace.control.home import Home


def preview(home: Home, source: str, stream: str | None = None, limit: int = 10) -> pa.Table:
    """Up to ``limit`` rows of one object as the source gives them. Nothing is staged, loaded or remembered.

    Rows that the source itself refuses are left out. Raises ConfigError when the object is not there, or is not named
    and not the only one that is read without being named.
    """
    home.actor.must("view")
    found = connections.find(home, "source", source)
    opened = connections.build_source(home, found.id, Context(clock=machine_clock()))
    with closing(opened):
        wanted = _chosen(opened.streams(), stream, source, opened.extras)
        reading = Reading(wanted, "historical" if wanted.historical else "incremental")
        batches: list[pa.RecordBatch] = []
        left = limit
        items = opened.read(reading)
        try:
            for item in items:
                if isinstance(item, (Checkpoint, FileNote, Passed, Refused, Truncated)):
                    continue
                rows = to_batch(item, None) if isinstance(item, list) else item
                rows = rows.rows if isinstance(rows, Batch) else rows
                batches.append(rows.slice(0, left))
                left -= batches[-1].num_rows
                if left <= 0:
                    break
        finally:
            if (close := getattr(items, "close", None)) is not None:
                close()
    if not batches:
        return (wanted.schema or pa.schema([])).empty_table()
    return pa.concat_tables([pa.Table.from_batches([batch]) for batch in batches], promote_options="permissive")


def _chosen(streams: list[Stream], name: str | None, source: str, extras: frozenset[str]) -> Stream:
    listed = ", ".join(stream.name for stream in streams)
    if name is None:
        usual = [stream for stream in streams if stream.name not in extras]
        if len(usual) == 1:
            return usual[0]
        raise ConfigError(f"source {source!r} has several objects", hint=f"Name one of: {listed}.", code="which_object")
    for stream in streams:
        if stream.name.lower() == name.lower():
            return stream
    raise ConfigError(f"source {source!r} has no object {name!r}", hint=f"Objects: {listed}.", code="unknown_object")


def query(home: Home, destination: str | None, sql: str, *, limit: int | None = None) -> pa.Table:
    """Rows of one statement at a destination; the only one when it is not named."""
    home.actor.must("destinations.edit")
    if destination is None:
        known = connections.listed(home, "destination")
        if len(known) != 1:
            names = ", ".join(each.name for each in known) or "none yet"
            raise ConfigError(
                "there are several destinations" if known else "there is no destination",
                hint=f"Name one with --destination. Destinations: {names}.",
                code="which_destination",
            )
        destination = known[0].name
    found = connections.find(home, "destination", destination)
    context = Context(clock=machine_clock(), confined=home.actor.kind != "operator")
    with closing(connections.build_destination(home, found.id, context)) as opened:
        try:
            return opened.query(sql, limit=limit)
        except RowsRefused as refused:
            raise ConfigError(
                f"the statement failed: {refused.message}",
                hint="Mend the statement; where values cannot be read as another type, TRY_CAST gives none instead.",
                code="query",
            ) from refused
        except ConfigError as refused:
            if refused.code in ("sql", "read_only"):
                refused.hint = "Write one statement that reads, such as SELECT: only pipelines change what is loaded."
            raise
