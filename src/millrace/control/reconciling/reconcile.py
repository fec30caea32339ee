"""Compares a system's own counts with the rows in a table, and names the cause of every difference it can."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import replace
from datetime import date, timedelta
from typing import TYPE_CHECKING

from millrace.connect.source import Clock, Slice, Stream
from millrace.control.reconciling import reconcile_days, reconcile_totals
from millrace.control.reconciling.reconciliation import Keys, Reconciliation, go_on
from millrace.control.running import crews, runs
from millrace.control.running.clock import clock as machine_clock
from millrace.engine.meter import Meter
from millrace.errors import ConfigError

if TYPE_CHECKING:
    from millrace.control.home import Home
    from millrace.engine.sync import Sync

# Without --since, so many days back from today are compared.
DAYS = 31


def reconcile(
    home: Home,
    pipeline: str,
    *,
    fix: bool = False,
    since: date | None = None,
    only: Sequence[str] = (),
    values: bool = False,
    clock: Clock | None = None,
    meter: Meter | None = None,
    stopping: threading.Event | None = None,
) -> list[Reconciliation]:
    """The system's own counts beside the table's, for every object whose system can count.

    With ``fix``, days whose difference reading again may close are read once more, and compared anew. With ``values``,
    rows of objects that are counted as they are now are compared value by value too, and ``fix`` reads those that
    differ or are missing once more. Raises ConfigError when no object of the pipeline can be counted, and Cancelled
    when ``stopping`` was set: half a comparison is none.
    """
    home.actor.must("pipelines.edit" if fix else "view")
    clock = clock or machine_clock()
    today = clock.now().date()
    # One day more: where the system's time zone is ahead of UTC, its today is tomorrow here.
    days = (Slice(since or today - timedelta(days=DAYS - 1), today + timedelta(days=1)),)
    keys: dict[str, Keys] | None = {} if values else None
    found = _compared(home, pipeline, days, only, clock, meter, stopping, keys)
    if not fix:
        return found
    if any(each.ranges for each in found):
        keys = {stream: those for stream, those in (keys or {}).items() if those}
        if not keys:
            reconcile_totals.no_days(found)
            return found
        go_on(stopping)
        runs.reread(home, pipeline, (), keys=keys, clock=clock, meter=meter, stopping=stopping)
        later = _compared(home, pipeline, days, only, clock, meter, stopping, {})
        return [reconcile_totals.again(each, len(keys.get(each.stream, ()))) for each in later]
    again = tuple(Slice(row.day, row.day, row.name) for each in found for row in each.compared if row.wants_reading)
    if not again:
        return found
    go_on(stopping)
    runs.reread(home, pipeline, again, only=only, clock=clock, meter=meter, stopping=stopping)
    after = {each.stream: each for each in _compared(home, pipeline, again, only, clock, meter, stopping)}
    return [_renewed(each, after[each.stream], again) for each in found]


def _renewed(before: Reconciliation, after: Reconciliation, again: tuple[Slice, ...]) -> Reconciliation:
    """The comparison with the rows of the days that were read once more taken from the later one."""
    # Days between them were not counted the second time, though the table has rows of them.
    asked = {(each.name, each.first) for each in again}
    later = {(row.name, row.day): row for row in after.compared if (row.name, row.day) in asked}
    rows = tuple(later.get((row.name, row.day), row) for row in before.compared)
    return replace(before, compared=rows, rejected=after.rejected, again=again)


def _compared(
    home: Home,
    pipeline: str,
    days: Sequence[Slice],
    only: Sequence[str],
    clock: Clock,
    meter: Meter | None,
    stopping: threading.Event | None,
    keys: dict[str, Keys] | None = None,
) -> list[Reconciliation]:
    """``keys``: values are compared too, and it gets the keys of the rows of each stream that are to be read again."""
    with crews.visit(home, pipeline, clock=clock, meter=meter, stopping=stopping) as ours:
        sync = ours.sync(only)
        ours.meter.stage = "counting"
        results: list[Reconciliation] = []
        for stream in sync.streams:
            result = _stream(ours, sync, stream, days, clock.now().date(), keys)
            if result is not None:
                results.append(result)
        if not results:
            raise ConfigError(
                f"no object of pipeline {pipeline} can be reconciled: {sync.source.title} gives no counts, or nothing "
                "was read yet",
                hint="Run the pipeline first: `millrace run`.",
                code="cannot_count",
            )
        return results


def _stream(
    ours: crews.Crew, sync: Sync, stream: Stream, days: Sequence[Slice], today: date, keys: dict[str, Keys] | None
) -> Reconciliation | None:
    countable = sync.source.countable(stream)
    if countable is not None:
        return reconcile_days.compared(ours, sync, stream, countable, days)
    shelved = next((each for each in ours.books.tables() if each.mapping.stream == stream.name), None)
    return None if shelved is None else reconcile_totals.compared(ours, sync, stream, shelved, today, keys)
