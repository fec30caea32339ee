"""Runs of pipelines: what a person, a schedule or the API asks for, from the lease to the last load."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import replace
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any, Literal

from millrace.connect.log import LOG
from millrace.connect.source import Clock, Slice, Source, Stream
from millrace.control.activity import wrote
from millrace.control.alerting import log_watch
from millrace.control.books import file_notes, records, retention
from millrace.control.books.records import RunKind, RunRecord
from millrace.control.pipeline import pipelines
from millrace.control.running.clock import clock as machine_clock
from millrace.control.running.crews import BY_HAND, Crew, Order, crew, visit
from millrace.data.batch import Lane
from millrace.engine.fresh import discarded, drop_fresh
from millrace.engine.meter import Meter
from millrace.engine.sync import Sync
from millrace.errors import ConfigError, MillraceError

if TYPE_CHECKING:
    from millrace.control.home import Home

ResyncMode = Literal["evolve-and-merge", "drop-and-load"]


def run(
    home: Home,
    pipeline: str,
    *,
    full: bool = False,
    since: date | None = None,
    only: Sequence[str] = (),
    loading: bool = True,
    forget: Sequence[Lane] = (),
    clock: Clock | None = None,
    meter: Meter | None = None,
    stopping: threading.Event | None = None,
    order: Order = BY_HAND,
) -> RunRecord:
    """Everything new of a pipeline is at its destination, or staged where that does not answer.

    Rows that failed before go first where their cause may be cured by now.

    ``full``: every object is read anew into a fresh table that takes the old one's place when it is whole.
    ``since``: days from that date on are read once more. With ``loading`` False what was read waits on the stage.
    ``forget``: these lanes of the objects that are named begin anew; rows merge into their tables.

    Raises what the source or the destination raised, after the
    run is on record; what was committed is safe (I8).
    """
    home.actor.must("pipelines.edit")
    if full:
        return resync(
            home, pipeline, only=only, mode="drop-and-load", clock=clock, meter=meter, stopping=stopping, order=order
        )
    if since is not None:
        today = (clock or machine_clock()).now().date()
        if since > today:
            raise ConfigError(f"--since {since} is in the future", hint=f"Today is {today} (UTC).", code="future_date")
        # One day more: where the source's time zone is ahead of UTC, its today is tomorrow here.
        again = (Slice(since, today + timedelta(days=1)),)
        return reread(home, pipeline, again, only=only, clock=clock, meter=meter, stopping=stopping, order=order)
    _known(home, pipeline, only)
    with home.database.reading() as connection:
        kind, deferred = records.following(connection, pipelines.find(home, pipeline).id)
    if order.job is not None:
        # A job that another worker began stays what it was.
        kind = records.kind_of(home.database, order.job) or kind
    with crew(home, pipeline, kind, clock=clock, meter=meter, stopping=stopping, order=order) as ours:
        ours.ready()
        sync = ours.sync(only or deferred)
        if not (only or deferred):
            with home.database.reading() as connection:
                standing = file_notes.standing(connection, ours.pipeline.id)
            offered = {stream.name for stream in sync.streams}
            gone = [stream for stream in sync.source.vanished(standing) if stream.name not in offered]
            ours.active = sync = replace(sync, streams=[*sync.streams, *gone])
        if forget and not order.begun:
            _begin_anew(ours, sync, forget, order)
        if loading and ours.books.any_rejects():
            from millrace.control.failed.replay import automatic  # which needs this module, and is seldom needed

            automatic(ours, sync)
        _finish(ours, sync, loading=loading)
    return records.run_record(home, ours.run_id)


def reread(
    home: Home,
    pipeline: str,
    slices: Sequence[Slice],
    *,
    only: Sequence[str] = (),
    keys: Mapping[str, Sequence[tuple[str, ...]]] | None = None,
    clock: Clock | None = None,
    meter: Meter | None = None,
    stopping: threading.Event | None = None,
    order: Order = BY_HAND,
) -> RunRecord:
    """Those days are read once more; rows that are there already are not doubled.

    ``keys``: instead, rows of these streams with these keys, as text.
    """
    home.actor.must("pipelines.edit")
    _must_ask(home, pipeline, order)
    _known(home, pipeline, only)
    with crew(home, pipeline, "REREAD", clock=clock, meter=meter, stopping=stopping, order=order) as ours:
        ours.must_ask()
        ours.ready()
        sync = ours.sync(only if keys is None else tuple(keys))
        sync.keys.update(keys or {})
        _finish(ours, sync, lanes=("again",), slices=slices)
    return records.run_record(home, ours.run_id)


def load(
    home: Home,
    pipeline: str,
    *,
    clock: Clock | None = None,
    meter: Meter | None = None,
    stopping: threading.Event | None = None,
    order: Order = BY_HAND,
) -> RunRecord:
    """Everything that waits on the stage is at the destination; the source is not asked."""
    home.actor.must("pipelines.edit")
    from millrace.control.failed.replay import automatic  # which needs this module

    with crew(home, pipeline, "LOAD", clock=clock, meter=meter, stopping=stopping, order=order) as ours:
        sync = ours.sync()
        if order.part == "load":
            # Of a pipeline whose runs only read, rejects that may pass by now enter here.
            automatic(ours, sync)
        ours.meter.stage = "loading"
        with closing(ours.destination()) as destination:
            sync.load(destination)
            sync.settle(destination)
            destination.completed()
        for stream in sync.streams:
            sync.watch.ended(stream.name, "read", None)
        retention.collect(home, sync.stage)
    return records.run_record(home, ours.run_id)


def resync(
    home: Home,
    pipeline: str,
    *,
    only: Sequence[str] = (),
    mode: ResyncMode = "evolve-and-merge",
    clock: Clock | None = None,
    meter: Meter | None = None,
    stopping: threading.Event | None = None,
    order: Order = BY_HAND,
) -> RunRecord:
    """The history of every object, or of those named, is read again.

    evolve-and-merge keeps the table and merges into it; drop-and-load builds a fresh table beside it, which takes its
    place when it is whole. Raises ConfigError where merging would double rows (append without a fresh table).
    """
    home.actor.must("pipelines.edit")
    _must_ask(home, pipeline, order)
    _known(home, pipeline, only)
    kind: RunKind = "RESYNC" if mode == "evolve-and-merge" else "RESYNC_WITH_DROP_AND_LOAD"
    with crew(home, pipeline, kind, clock=clock, meter=meter, stopping=stopping, order=order) as ours:
        ours.ready()
        sync = ours.sync(only)
        if not order.begun:
            _resync(ours, sync, mode)
            _have_begun(ours, order)
        _finish(ours, sync)
    return records.run_record(home, ours.run_id)


def _must_ask(home: Home, pipeline: str, order: Order = BY_HAND) -> None:
    """A wish that no source can fulfil is told before there is a run, which would count as one that failed. Raises
    ConfigError "pushed". A run that was queued meets it in its course."""
    if order.job is None:
        with visit(home, pipeline) as ours:
            ours.must_ask()


def _known(home: Home, pipeline: str, only: Sequence[str]) -> None:
    """A name that is no object of the pipeline is told before there is a run. Raises ConfigError."""
    if only:
        with visit(home, pipeline) as ours:
            try:
                streams = ours.source().streams()
            except MillraceError:
                return  # the run meets it again, and puts it on record
            ours.chosen(streams, only)


def _resync(ours: Crew, sync: Sync, mode: ResyncMode) -> None:
    ours.must_ask()
    if mode == "evolve-and-merge":
        _must_merge(ours, sync, "reading its history again", "Use --mode drop-and-load.")
    else:
        _must_fill(ours, sync)
    if sync.following and {*sync.following} <= {*sync.streams}:
        # All histories are read anew, so the log may begin anew too: this mends one that was cut.
        ours.books.forget_lane(LOG, "incremental", marks=False)
    lanes: tuple[Lane, ...] = ("incremental", "historical")
    fresh = None if mode == "evolve-and-merge" else True
    # In one transaction: tables may have rows of several, and none is begun anew without all that come again with it.
    names = [stream.name for stream in sync.streams]
    for note in discarded(ours.books.restart(*names, lanes=lanes, marks=True, fresh=fresh)):
        ours.note(note)
    if mode == "evolve-and-merge":
        from millrace.control.books import damage  # seldom needed

        damage.give_up(ours, sync)


def reset(home: Home, pipeline: str, *, drop_tables: bool = False) -> list[str]:
    """The pipeline knows nothing of what it read; the next run starts with the whole history. Its tables' names.

    Tables stay, with their rows, unless ``drop_tables``. Raises ConfigError where rows that stay would then be
    doubled, because nothing tells them from those that come again (append), and where the
    source's settings do not hold: then it cannot say whether its rows would take the places of those that stay.
    """
    home.actor.must("pipelines.delete")
    _must_ask(home, pipeline)
    with crew(home, pipeline, "RESYNC") as ours:
        shelved = ours.books.tables()
        names = [each.mapping.table for each in shelved]
        appended = [each.mapping.table for each in shelved if each.mapping.mode == "append" and each.last]
        if appended and not drop_tables:
            raise ConfigError(
                f"rows are appended to {', '.join(appended)}: the next run would put its whole history there again",
                hint="Use --drop-tables, or `millrace resync --mode drop-and-load`, which fills a new table first.",
                code="would_double",
            )
        if not drop_tables:
            source = ours.source()
            for each in shelved:
                _must_match(ours, source, Stream(each.mapping.source or each.mapping.stream))
        # What is dropped does not come back.
        ours.books.confirm()  # I4
        with closing(ours.destination()) as destination:
            for name in names:
                drop_fresh(destination, name, ours.naming.prefix, ours.books.feed)
                if drop_tables:
                    destination.drop(name)
        ours.books.drop_everything()
        told = f"pipeline {pipeline} was reset: its next run reads the whole history"
        wrote(home, "HIGH", ours.pipeline.entity, "reset", told, {"tables": names}, {"dropped": drop_tables})
    return names


def _begin_anew(ours: Crew, sync: Sync, lanes: Sequence[Lane], order: Order) -> None:
    """Lanes of the streams begin anew. Raises ConfigError where rows that come again would be doubled."""
    ours.must_ask()
    _must_merge(ours, sync, "reading it again", "Use a resync with drop-and-load.")
    ours.books.restart(*(stream.name for stream in sync.streams), lanes=lanes, marks=True, fresh=None)
    _have_begun(ours, order)


def _must_merge(ours: Crew, sync: Sync, what: str, hint: str) -> None:
    """Raises ConfigError where rows of a stream that come again would stand in a table beside those that are there."""
    mappings, appended = sync.mappings(), ours.books.appended()
    # Of a log without histories nothing comes again.
    for stream in (one for one in sync.streams if one.historical or not sync.following):
        if stream.name in appended or mappings.of(stream.name).mode == "append":
            raise ConfigError(
                f"{stream.name} is appended: {what} into the same table would double its rows",
                hint=hint,
                code="would_double",
            )
        _must_match(ours, sync.source, stream)


def _must_fill(ours: Crew, sync: Sync) -> None:
    """Raises ConfigError where a table that is filled anew has rows of streams that are not read again too."""
    if without := sorted(stream.name for stream in sync.streams if sync.following and not stream.historical):
        raise ConfigError(
            f"histories are not loaded, so a fresh table of {', '.join(without)} would have no row of before",
            hint="Set `load_historical_data: true` at the source first.",
            code="would_lose",
        )
    read, offered = {stream.name for stream in sync.streams}, {stream.name for stream in sync.source.streams()}
    for one in (each.mapping for each in ours.books.tables() if each.last):
        lost = sorted(one.sources & offered - read)
        if lost and one.sources & read:
            raise ConfigError(
                f"the table of {one.stream} has rows of {', '.join(lost)} too, which would not be in a fresh one",
                hint="Read all of them again in one resync: name them too, and resume or include those that rest.",
                code="would_lose",
            )


def _must_match(ours: Crew, source: Source[Any], stream: Stream) -> None:
    """Before the cursor is gone that says how rows were told apart which stay in the table."""
    source.must_match(stream, ours.books.cursor(stream.name, "incremental"))


def _have_begun(ours: Crew, order: Order) -> None:
    if order.job is not None:
        from millrace.control.running import tasks  # only a worker needs it

        tasks.begun(ours.home.database, order.job)


def _finish(
    ours: Crew,
    sync: Sync,
    *,
    lanes: Sequence[Lane] = ("incremental", "historical"),
    slices: Sequence[Slice] = (),
    loading: bool = True,
) -> None:
    def collect() -> None:
        retention.collect(ours.home, sync.stage)

    if loading:
        sync.run(lanes, slices, meanwhile=collect)
    else:
        sync.read(lanes, slices)
        collect()
    with suppress(MillraceError):  # a run that has read all is none that failed
        if (note := log_watch.risk(sync.source.retention())) is not None:
            ours.note(note)
