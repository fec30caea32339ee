"""Compares what a database holds now with what a table holds: rows by ranges of the key, and why they differ."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from datetime import date
from typing import TYPE_CHECKING, Any

import orjson
import pyarrow as pa

from millrace.connect.source import Stream, Total
from millrace.control.failed import rejects as rejected_rows
from millrace.control.failed.rejects import Choice
from millrace.control.reconciling.reconcile_days import FAILED, only, rows_that
from millrace.control.reconciling.reconciliation import Cause, Compared, Keys, Reconciliation
from millrace.data.dataclass import dataclass
from millrace.engine.stage import Stage
from millrace.errors import ConfigError, as_typed

if TYPE_CHECKING:
    from millrace.control.running.crews import Crew
    from millrace.engine.ledger import Shelved
    from millrace.engine.sync import Sync


def compared(
    ours: Crew, sync: Sync, stream: Stream, shelved: Shelved, today: date, keys: dict[str, Keys] | None
) -> Reconciliation | None:
    """None where the source does not count, or the table cannot be compared with it. ``keys``: values are compared too,
    and it gets the keys of the rows that are to be read again."""
    source, stage = sync.source, sync.stage
    mapping = shelved.mapping
    totals = source.totals(stream)
    if totals is None:
        return None
    column = mapping.of(totals[0].key) if totals[0].key else None
    if keys is not None and mapping.key[:1] != (totals[0].key,):
        column = None  # rows that differ are named by the table's key, so ranges of another one say nothing of them
    totals, key = _comparable(totals, column)
    with closing(ours.destination()) as destination:
        highest, held = destination.sizes(
            mapping.table, key, [(one.low, one.high) for one in totals], only(ours, mapping)
        )
    newer = 0
    if key and highest is not None:
        above = source.totals(stream, above=highest)
        newer = above[0].rows if above else 0
    rejected = _rejected(ours, stage, stream.name, totals)
    logged = source.log() is not None
    found: list[Compared] = []
    for place, (one, rows) in enumerate(zip(totals, held, strict=True)):
        about = About(
            rejected=rejected[place],
            newer=newer if place == len(totals) - 1 else 0,
            waiting=shelved.loaded < shelved.last,
            logged=logged,
            versions=mapping.mode == "append",
        )
        found.append(Compared(_name(one), today, one.rows, rows, tuple(causes(one.rows - rows, about))))
    counts = Reconciliation(
        pipeline=ours.pipeline.name,
        stream=stream.name,
        table=mapping.table,
        timezone="UTC",
        compared=tuple(found),
        unreadable={},
        rejected={_name(totals[place]): count for place, count in rejected.items()},
        ranges=True,
    )
    if keys is None:
        return counts
    from millrace.control.reconciling import reconcile_values  # with what hashes values

    ends = [(one.low, one.high) for one in totals] if key else []
    values, keys[stream.name] = reconcile_values.compared(ours, sync, stream, shelved, counts, ends)
    return replace(counts, values=values)


def _comparable(totals: Sequence[Total], column: Any) -> tuple[Sequence[Total], str]:
    """Ranges, where the table has the key as a number too; else all rows together."""
    if column is not None and (pa.types.is_integer(column.type) or pa.types.is_decimal(column.type)):
        return totals, column.name
    return [Total(sum(one.rows for one in totals))], ""


def _name(one: Total) -> str:
    if one.low is None and one.high is None:
        return "all rows"
    if one.low is None:
        return f"{one.key} up to {one.high}"
    return f"{one.key} from {one.low}" + (f" to {one.high}" if one.high is not None else "")


def _rejected(ours: Crew, stage: Stage, stream: str, totals: Sequence[Total]) -> Mapping[int, int]:
    """Open rejects of a stream by the place of their range; those without a key count for the last."""
    found: Counter[int] = Counter()
    for rejected in rejected_rows.rows(ours.home, stage, Choice(pipeline_id=ours.pipeline.id, stream=stream)):
        try:
            value = int(orjson.loads(rejected.row)[totals[0].key])
        except (orjson.JSONDecodeError, KeyError, TypeError, ValueError):
            found[len(totals) - 1] += 1
            continue
        found[next((place for place, one in enumerate(totals) if one.high is None or value <= one.high))] += 1
    return found


@dataclass(frozen=True, slots=True)
class About:
    """What is known of the rows of one range. ``newer``: of those, how many have keys above all in the table.
    ``waiting``: rows are staged and not loaded yet. ``logged``: deletes are seen. ``versions``: all are kept."""

    rejected: int = 0
    newer: int = 0
    waiting: bool = False
    logged: bool = False
    versions: bool = False


# What one row does, and what several do.
NEWER = (
    "has a key above all that the table holds: it came after the last run",
    "have keys above all that the table holds: they came after the last run",
)
WAITING = (
    "is missing, and rows are staged and not loaded yet",
    "are missing, and rows are staged and not loaded yet",
)
EARLIER = (
    "is an earlier version, all of which the table keeps",
    "are earlier versions, all of which the table keeps",
)
DELETED = (
    "of the table is no longer at the source; queries do not see what is deleted",
    "of the table are no longer at the source; queries do not see what is deleted",
)


def causes(missing: int, about: About) -> list[Cause]:
    """Why the table has ``missing`` rows less than the source, or more, where it is negative."""
    found: list[Cause] = []

    def cause(code: str, most: int, one: str, more: str) -> None:
        nonlocal missing
        if (parted := min(missing, most)) > 0:
            found.append(Cause(code, parted, rows_that(parted, one, more)))
            missing -= parted

    cause("rejected", about.rejected, *FAILED)
    cause("late", about.newer, *NEWER)
    cause("not_loaded", missing if about.waiting else 0, *WAITING)
    if missing < 0 and about.versions:
        found.append(Cause("versions", missing, rows_that(-missing, *EARLIER)))
    elif missing < 0 and not about.logged:
        found.append(Cause("gone_at_source", missing, rows_that(-missing, *DELETED)))
    return found


def again(found: Reconciliation, rows: int) -> Reconciliation:
    """The comparison, which was made after so many rows were read once more."""
    return replace(found, values=replace(found.values, read_again=rows)) if found.values else found


def no_days(found: Sequence[Reconciliation]) -> None:
    """Raises ConfigError where something differs that reading days or rows again cannot mend."""
    for one in found:
        if one.ranges and not one.equal:
            if one.values is not None:
                why = one.values.why_whole or one.values.why_not or "the source does not have those that differ"
                raise ConfigError(
                    f"{one.stream} differs from its table, and no rows are read again by their keys: {why}",
                    hint=f"Read the whole object anew: `{one.remedy}`.",
                    code="cannot_reread",
                )
            fix = as_typed("reconcile", one.pipeline, "--values", "--fix")
            whole = as_typed("resync", one.pipeline, "--object", one.stream)
            raise ConfigError(
                f"{one.stream} differs from its table, and is counted as it is now: it has no days to read again",
                hint=f"Run the pipeline and compare again; then `{fix}` for the rows that differ, or `{whole}` for "
                "all.",
                code="cannot_reread",
            )
