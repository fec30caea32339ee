"""Rows that were staged and loaded, hour by hour, added up in the transactions of the books (pipelines.md 17)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

import sqlalchemy as sa

from millrace.connect import registry
from millrace.control.database.db import upsert
from millrace.control.database.tables import connections, pipelines, reject_files, runs
from millrace.control.database.telling_tables import usage_hourly
from millrace.control.metering import ingestion_limit
from millrace.data.batch import Lane, Segment

if TYPE_CHECKING:
    from millrace.control.books.commits import Entry
    from millrace.control.books.records import RunKind

# HISTORICAL was there before the pipeline, INCREMENTAL came after it. REFRESHER was read once more on purpose, RESYNC
# with the whole history; REPLAYED had failed before. AUDIT is what Millrace tells of itself.
UsageKind: TypeAlias = Literal["HISTORICAL", "INCREMENTAL", "REFRESHER", "RESYNC", "REPLAYED", "AUDIT"]
KINDS: tuple[UsageKind, ...] = get_args(UsageKind)

# What the reference counts for its bill, once it is loaded (pipelines.md 17.1).
BILLABLE: frozenset[UsageKind] = frozenset({"INCREMENTAL", "REPLAYED"})

# What was there before it was asked for: read once at first, or whole once more.
HISTORY: frozenset[UsageKind] = frozenset({"HISTORICAL", "RESYNC"})

# The first run is free as a whole (pipelines.md 19.3): sources without a history of their own read it as what is new.
_OF_RUNS: Mapping[RunKind, UsageKind] = {
    "HISTORICAL": "HISTORICAL",
    "RESYNC": "RESYNC",
    "RESYNC_WITH_DROP_AND_LOAD": "RESYNC",
    "RAW_REPLAY": "RESYNC",
    "REFRESHER": "REFRESHER",
    "REREAD": "REFRESHER",
    "REPLAY": "REPLAYED",
}

_OF_LANES: Mapping[Lane, UsageKind] = {
    "historical": "HISTORICAL",
    "again": "REFRESHER",
    "incremental": "INCREMENTAL",
}


def usage_kind(run: RunKind, lane: Lane, *, failed_in: RunKind | None = None) -> UsageKind:
    """Why rows were read, by the kind of their run and their lane. ``failed_in``: the run that rejected them first.

    Rows that would have been free go on to be free when they are replayed.
    """
    if failed_in is not None:
        first = _OF_RUNS.get(failed_in, "INCREMENTAL")
        return first if first not in BILLABLE else "REPLAYED"
    if (known := _OF_RUNS.get(run)) is not None:
        return known
    return _OF_LANES[lane]


def staged(entry: Entry, lane: Lane, segments: Iterable[Segment], *, replayed: int | None) -> UsageKind:
    """Rows of the segments are on the stage since this hour; what they count as. ``replayed``: the file of rejects
    that they came back from."""
    run = entry.connection.execute(sa.select(runs.c.kind).where(runs.c.id == entry.run)).scalar()
    failed_in = None
    if replayed is not None:
        first = sa.select(runs.c.kind).join(reject_files, reject_files.c.run_id == runs.c.id)
        failed_in = entry.connection.execute(first.where(reject_files.c.id == replayed)).scalar()
    kind = usage_kind(run or "INCREMENTAL", lane, failed_in=failed_in)
    if _inspects(entry):
        kind = "AUDIT"
    counts: Counter[tuple[str, str, UsageKind, datetime]] = Counter()
    for segment in segments:
        counts[segment.stream, segment.table, kind, _hour(entry.now)] += segment.rows
    _add(entry, counts, "ingested")
    return kind


def loaded(entry: Entry, table: str, segments: Iterable[Any], refused: Mapping[int, Mapping[str, int]]) -> None:
    """Rows of the segments, which are rows of `tables.segments`, are at the destination since this hour, but for those
    that it ``refused``, by segment."""
    counts: Counter[tuple[str, str, UsageKind, datetime]] = Counter()
    for row in segments:
        kind = row.usage or _of_run(entry, row.run_id)
        counts[row.stream, table, kind, _hour(entry.now)] += row.rows - sum(refused.get(row.number, {}).values())
    _add(entry, counts, "loaded")


def taken_back(entry: Entry, table: str, segments: Iterable[Any]) -> None:
    """Rows of the segments wait again: they do not count in the hour in which they were loaded."""
    counts: Counter[tuple[str, str, UsageKind, datetime]] = Counter()
    for row in segments:
        if row.loaded_at is not None:
            kind = row.usage or _of_run(entry, row.run_id)
            counts[row.stream, table, kind, _hour(row.loaded_at)] -= row.rows - row.refused_rows
    _add(entry, counts, "loaded")


def _add(
    entry: Entry, counts: Mapping[tuple[str, str, UsageKind, datetime], int], what: Literal["ingested", "loaded"]
) -> None:
    if not any(counts.values()):
        return
    mine = sa.select(pipelines.c.team_id, pipelines.c.name).where(pipelines.c.id == entry.pipeline)
    of = entry.connection.execute(mine).one()
    rows = [
        {
            "team_id": of.team_id,
            "pipeline_id": entry.pipeline,
            "pipeline": of.name,
            "hour": hour,
            "stream": stream,
            "table_name": table,
            "kind": kind,
            "ingested": 0,
            "loaded": 0,
        }
        | {what: n}
        for (stream, table, kind, hour), n in sorted(counts.items())
        if n
    ]
    key = ["pipeline_id", "hour", "stream", "table_name", "kind"]
    upsert(entry.connection, usage_hourly, rows, key=key, add=["ingested", "loaded"])
    if what == "ingested":
        ingestion_limit.count(entry.connection, of.team_id, sum(counts.values()), entry.now)


def _inspects(entry: Entry) -> bool:
    """The pipeline reads what Millrace has on record."""
    source = sa.select(connections.c.type).join(pipelines, pipelines.c.source_id == connections.c.id)
    type_ = entry.connection.execute(source.where(pipelines.c.id == entry.pipeline)).scalar()
    return type_ is not None and registry.known(registry.SOURCES, type_) and registry.source(type_).inspects


def _of_run(entry: Entry, run: int) -> UsageKind:
    """What rows count as that were staged before that was kept with them."""
    kind = entry.connection.execute(sa.select(runs.c.kind).where(runs.c.id == run)).scalar()
    return usage_kind(kind or "INCREMENTAL", "incremental")


def _hour(moment: datetime) -> datetime:
    return moment.replace(minute=0, second=0, microsecond=0)
