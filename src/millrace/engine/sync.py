"""A whole sync: every lane of every stream is ingested while what is staged already loads."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import field, replace
from typing import Any

from millrace.connect.destination import Destination
from millrace.connect.log import LOG
from millrace.connect.source import Clock, Note, Reading, Slice, Source, Stream
from millrace.data.batch import Checkpoint, Item, Lane, LoadMode, Passed
from millrace.data.dataclass import dataclass
from millrace.engine import load_modes
from millrace.engine.entering import Flight
from millrace.engine.failures import FailurePolicy, ObjectFailed
from millrace.engine.follow import Place, follow, missed
from millrace.engine.ingest import closable, ingest
from millrace.engine.ledger import Commit, Ledger, Shelf, Shelved
from millrace.engine.load import load, parents_first, settle
from millrace.engine.loading import Loader
from millrace.engine.mapping import Mapping, Naming, first, switched
from millrace.engine.mappings import Mappings
from millrace.engine.meter import Meter
from millrace.engine.policy import Policy
from millrace.engine.stage import Draft, Stage
from millrace.engine.watch import Ending, Unwatched, Watch
from millrace.errors import ConfigError, DataError, MillraceError, ObjectRefused, RateLimited, Stale, Transient


@dataclass(frozen=True, slots=True)
class Sync:
    """One run of one pipeline, with all that it needs. Streams in ``failures`` did not come to their end, those in
    ``refused`` cannot before a person mends them.

    ``open_destination`` is called once in each thread that loads. ``failing``: how many rejects end the run or
    leave an object (pipelines.md 19.8). ``pipeline``: its name, for the paths of files. ``flight``: what happens to
    rows before the mapping. ``policy``: what happens to what is new. Once the pipeline has ``grown`` (a run came to its
    end) an event type that it meets is new, unless it is among the ``selected``. ``following``: where the source has a
    log, the streams whose changes are taken from it, also those whose history is of no concern to this run.
    ``keeps_unchanged``: the destination keeps values that a row does not have because they did not change.
    """

    streams: Sequence[Stream]
    source: Source[Any]
    open_destination: Callable[[], Destination[Any]]
    ledger: Ledger
    shelf: Shelf
    stage: Stage
    naming: Naming
    clock: Clock
    meter: Meter
    note: Callable[[Note], None]
    stopping: threading.Event
    mode: LoadMode = "merge"
    modes: dict[str, LoadMode] = field(default_factory=dict[str, LoadMode])
    auto: bool = True
    failing: FailurePolicy = field(default_factory=FailurePolicy)
    pipeline: str = ""
    flight: Flight = field(default_factory=Flight)
    policy: Policy | None = None
    selected: frozenset[str] = frozenset()
    grown: bool = False
    following: Sequence[Stream] = ()
    keeps_unchanged: bool = False
    failures: dict[str, Exception] = field(default_factory=dict[str, Exception])
    refused: dict[str, ObjectRefused] = field(default_factory=dict[str, ObjectRefused])
    left: set[str] = field(default_factory=set[str])
    """Streams of which too many rows failed."""
    deferred: dict[str, RateLimited] = field(default_factory=dict[str, RateLimited])
    """Streams that a limit of the source left for a later run; what was read of them is kept (pipelines.md 19.7)."""
    watch: Watch = field(default_factory=Unwatched)
    paced: Callable[[], None] = lambda: None
    """Asked before reading begins and after each commit: whoever is to read no more for a while waits there, or asks
    the run to stop."""
    held: Callable[[], bool] = lambda: False
    """What waits on the stage is to stay there for now."""
    keys: dict[str, Sequence[tuple[str, ...]]] = field(default_factory=dict[str, Sequence[tuple[str, ...]]])
    """By stream, keys of the rows that the lane "again" reads, where it reads no days."""

    def run(
        self,
        lanes: Sequence[Lane] = ("incremental", "historical"),
        slices: Sequence[Slice] = (),
        *,
        meanwhile: Callable[[], object] = lambda: None,
    ) -> bool:
        """Everything new is read, staged and loaded; False when it was asked to stop before.

        The incremental lane comes first: its first read only takes the position from which it will follow, so
        that nothing falls between it and the historical lane. Rows load while others are read. What was staged is
        safe when loading fails; that error is raised after reading has ended. ``meanwhile`` is called when all is read,
        while the last rows load.
        """
        with self.loading() as loader:
            finished = self.ingest(lanes, slices, committed=loader.wake, coming=loader.expect)
            self.watch.ingested()
            loader.end()
            meanwhile()
        self._raise()
        return finished

    def read(self, lanes: Sequence[Lane] = ("incremental", "historical"), slices: Sequence[Slice] = ()) -> bool:
        """Everything new is on the stage, as `run` has it, and waits there; nothing is loaded."""
        finished = self.ingest(lanes, slices)
        self.watch.ingested()
        self._raise()
        return finished

    def _raise(self) -> None:
        """What time may mend ends the run, so that it is tried again; what was refused does where nothing else is."""
        for failure in self.failures.values():
            raise failure
        if self.refused and self._all_refused:
            raise [*self.refused.values()][-1]

    @property
    def _all_refused(self) -> bool:
        return self.refused.keys() >= {stream.name for stream in self.streams}

    def ingest(
        self,
        lanes: Sequence[Lane],
        slices: Sequence[Slice] = (),
        *,
        committed: Callable[[], None] = lambda: None,
        coming: Callable[[], None] = lambda: None,
    ) -> bool:
        """Every lane of every stream is on the stage. An error of one stream does not stop the others.

        A limit of the source leaves the stream, or, where it holds for the credential, all that are still to be read.
        ``coming`` is called where a load follows in a moment, or may: rows of the last stream have come; all is read,
        and the last commit is still to come.
        """
        self.paced()

        def kept() -> None:
            committed()
            self.paced()

        if not self.keys and (log := self.source.log()) is not None:
            return follow(self, log, lanes, slices, kept)
        if not self.keys and (place := Place.of(self.ledger.cursor(LOG, "incremental"))) is not None:
            without = {stream.name for stream in self.source.streams() if not stream.historical}
            if lost := sorted(place.streams & without):
                self.note(missed(lost))
            why = ""
            try:
                self.source.forget_log()
            except MillraceError as error:
                why = f"; what its system keeps for that may still be there: {error.message}. {error.hint or ''}"
            # Whoever follows it again has been away.
            self.shelf.restart(LOG, lanes=("incremental",), marks=False, fresh=None)
            text = "the log of the source is not followed any more, and rows that are deleted from now on stay"
            self.note(Note("log_left", f"{text}{why}"))
        mappings = self.mappings()
        self.tell_modes(mappings)
        for stream in self.streams:
            if (limit := self._account_limit()) is not None:
                self.deferred[stream.name] = limit
                self.watch.ended(stream.name, "deferred", limit)
                continue
            self.watch.reading(stream.name)
            try:
                last = coming if stream is self.streams[-1] else None
                how, error = self.lanes_of(stream, lanes, tuple(slices), mappings, kept, coming=last)
            except Exception as fatal:
                self.watch.ended(stream.name, "failed", fatal)
                raise
            self.watch.ended(stream.name, how, error)
            if how == "stopped":
                return False
            if how != "read":
                mappings = self.mappings()
        return True

    def _account_limit(self) -> RateLimited | None:
        return next((limit for limit in self.deferred.values() if limit.scope == "credential"), None)

    def lanes_of(
        self,
        stream: Stream,
        lanes: Sequence[Lane],
        slices: tuple[Slice, ...],
        mappings: Mappings,
        committed: Callable[[], None],
        *,
        coming: Callable[[], None] | None = None,
    ) -> tuple[Ending, Exception | None]:
        """How reading of the stream's lanes ended. Raises what no other stream can go on after.

        ``coming`` is called when rows of the last lane have come, and before the last commit.
        """
        how: Ending = "read"
        error: Exception | None = None
        lanes = [lane for lane in lanes if lane != "historical" or stream.historical]
        for lane in lanes:
            try:
                if not self._lane(stream, lane, slices, mappings, committed, coming if lane == lanes[-1] else None):
                    return "stopped", error
            except ObjectFailed as failure:
                self.leave(stream.name, failure)
                return "left", failure
            except ObjectRefused as failure:
                self._refuse(stream, failure)
                return "failed", failure
            except (ConfigError, Stale, DataError):
                raise
            except RateLimited as limit:
                self.deferred[stream.name] = limit
                return "deferred", limit
            except Transient as failure:
                self.failures[stream.name] = failure
                how, error = "failed", failure
                mappings = self.mappings()
                if lane == "incremental" and self.ledger.cursor(stream.name, lane) is None:
                    # The position from which to follow was not taken: rows would fall between it and a history
                    # that is read now.
                    break
        return how, error

    def mappings(self) -> Mappings:
        """The mappings as committed last, open for what this run will find."""

        def fresh(stream: Stream, taken: frozenset[str], whole: Mapping | None) -> Mapping:
            mode = load_modes.mode_of(stream.name, whole, self.modes, self.mode)
            known = not self.grown or stream.name in self.selected
            return first(stream, self.naming, mode, auto=self.auto, taken=taken, policy=self.policy, known=known)

        known = {mapping.stream: mapping for mapping in self.ledger.mappings()}
        streams = {stream.name: stream for stream in (*self.following, *self.streams)}
        mappings = Mappings(self.naming, dict(known), streams, fresh, policy=self.policy)
        for name, mapping in known.items():
            stream = streams.get(name, Stream(name))
            if not mapping.deletes and streams.get(mapping.source or name, stream).deletes:
                # Its source tells of deleted rows now: without a mark they would stand there emptied.
                mapping = replace(mapping, deletes=True, version=mapping.version + 1)
            mappings.put(switched(mapping, stream, self.naming, auto=self.auto, policy=self.policy))
        if self.unlike(mappings):
            load_modes.begin(mappings, self.unlike, self.shelf.tables())
        return mappings

    def unlike(self, mappings: Mappings) -> dict[str, LoadMode]:
        """Of event types that are loaded otherwise than is wished by now, the load mode that is."""
        return load_modes.unlike(mappings.by_stream, self.modes, self.mode)

    def tell_modes(self, mappings: Mappings) -> None:
        """The run says which tables keep the load mode of before."""
        for name, mode in self.unlike(mappings).items():
            self.note(load_modes.kept(mappings.by_stream[name], mode, self.pipeline))

    def _lane(
        self,
        stream: Stream,
        lane: Lane,
        slices: tuple[Slice, ...],
        mappings: Mappings,
        committed: Callable[[], None],
        coming: Callable[[], None] | None,
    ) -> bool:
        reading = Reading(
            stream=stream,
            lane=lane,
            cursor=None if lane == "again" else self.ledger.cursor(stream.name, lane),
            memory=self.ledger.memory(stream.name),
            load_mode=mappings.read_for(stream.name, lane),
            slices=slices,
            keys=tuple(self.keys.get(stream.name, ())),
            followed=self.ledger.cursor(stream.name, "incremental") if lane == "again" else None,
        )
        if (stream.historical or self.keys) and (place := Place.of(self.ledger.cursor(LOG, "incremental"))) is not None:
            reading = replace(reading, log=place.position)
        self.meter.progress = None
        self.meter.stage = f"reading {stream.name}" + (" (history)" if lane == "historical" else "")

        def after_commit() -> None:
            committed()
            self._bear_rejects(stream.name)

        items = self.source.read(reading)
        finished = ingest(
            items if coming is None else _told(items, coming),
            reading,
            mappings=mappings,
            ledger=self.ledger,
            draft=Draft(self.stage, self.shelf.feed),
            clock=self.clock,
            meter=self.meter,
            committed=after_commit,
            stopping=self.stopping.is_set,
            note=self.note,
            flight=self.flight,
        )
        self._bear_rejects(stream.name, ended=finished)
        return finished

    def load(self, destination: Destination[Any]) -> None:
        """Everything staged is at the destination; full reloads that came to their end have taken their place."""
        family = parents_first(self.shelf.tables())
        with destination.together():
            for shelved in family:
                if shelved.mapping.stream in self.left:
                    continue
                if self.held():
                    return
                try:
                    self._load(shelved, destination, family)
                    self._bear_rejects(shelved.mapping.stream)
                except ObjectFailed as failure:
                    self.leave(shelved.mapping.stream, failure)

    def _load(self, shelved: Shelved, destination: Destination[Any], family: Sequence[Shelved]) -> None:
        settled = settle(shelved, destination=destination, shelf=self.shelf, prefix=self.naming.prefix)
        load(
            replace(shelved, fresh=False) if settled else shelved,
            destination=destination,
            shelf=self.shelf,
            stage=self.stage,
            prefix=self.naming.prefix,
            clock=self.clock,
            meter=self.meter,
            note=self.note,
            pipeline=self.pipeline,
            policy=self.policy,
            family=family,
        )

    def _bear_rejects(self, stream: str, *, ended: bool = False) -> None:
        """Raises DataError when too many rows failed, ObjectFailed when too many of this stream did."""
        self.failing.judge(self.meter.rejected)
        self.failing.judge_object(stream, self.meter.failed[stream], self.meter.new[stream], ended=ended)

    def leave(self, stream: str, failure: ObjectFailed) -> None:
        """Nothing more of the stream is read or loaded in this run, and the run says why."""
        if stream not in self.left:
            self.left.add(stream)
            self.note(Note(failure.code, f"{failure.message}. {failure.hint}", level="error"))

    def _refuse(self, stream: Stream, failure: ObjectRefused) -> None:
        """Nothing more of the stream is read in this run, and the run says why."""
        self.refused[stream.name] = failure
        if not self._all_refused:  # else it is raised
            text = ". ".join(part.rstrip(".") for part in (failure.message, failure.hint) if part)
            self.note(Note(failure.code, f"{text}.", level="error"))
        mappings = self.mappings()
        if stream.name not in mappings.by_stream and mappings.of(stream.name).mapped:
            # The run may end well without a commit of the stream, which is not new to the next one all the same. One
            # that waits for a person would do so before there are rows, and its refusal would not be seen.
            self.ledger.commit(Commit(stream.name, "again", None, 0, mappings=mappings.taken()))

    def settle(self, destination: Destination[Any]) -> None:
        """Full reloads that were read and loaded to their end have taken the place of their tables."""
        read = {stream.name for stream in (*self.streams, *self.following)}
        for shelved in self.shelf.tables():
            if shelved.mapping.stream in self.left:
                continue
            settled = settle(shelved, destination=destination, shelf=self.shelf, prefix=self.naming.prefix)
            away = sorted({*shelved.awaits} - read)
            if shelved.fresh and not settled and away and shelved.mapping.sources.difference(away):
                text = f"{shelved.mapping.table} is filled anew and stays as it was until {', '.join(away)} is read too"
                self.note(Note("table_waits", f"{text}, which this run did not do: include or resume it"))

    def lost(self, destination: Destination[Any]) -> int:
        """How many tables the books call loaded, where the destination is gone; 0 where it is there."""
        return sum(one.loaded > 0 for one in self.shelf.tables()) if destination.vanished() else 0

    def miss(self, destination: Destination[Any]) -> None:
        """The run says so where all that was loaded before is gone, and nothing new has made it known by a load."""
        if loaded := self.lost(destination):
            self.note(
                Note(
                    "rows_missing",
                    f"the destination is gone, and with it the rows of {loaded} table{'s' * (loaded > 1)} that the "
                    "books call loaded. Put it back, or run `millrace resync` on this pipeline to read them from the "
                    "source again.",
                )
            )

    @contextmanager
    def loading(self):
        loader = Loader(self)
        loader.start()
        ended = False
        try:
            yield loader
            ended = True
        finally:
            # Rows that were committed are loaded even when reading failed; that error goes first.
            error = loader.finish()
            if ended and error is not None:
                raise error


def _told(items: Iterator[Item], coming: Callable[[], None]) -> Iterator[Item]:
    """The items; ``coming`` is called when rows have come, and when there are none any more."""
    told = False
    with closing(closable(items)):
        for item in items:
            yield item
            if not told and not isinstance(item, Checkpoint | Passed):
                told = True
                coming()
    coming()
