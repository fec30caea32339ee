"""A sync of streams whose changes come from one log: position, histories, changes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from millrace.connect.log import LOG, Followed, Following, Log
from millrace.connect.source import Note, Reading, Slice, Stream
from millrace.data.batch import JSON, Checkpoint, Item, Lane
from millrace.data.dataclass import dataclass
from millrace.engine.failures import ObjectFailed
from millrace.engine.fresh import discarded
from millrace.engine.ingest import ingest
from millrace.engine.mappings import Mappings
from millrace.engine.stage import Draft
from millrace.errors import ConfigError, Transient

if TYPE_CHECKING:
    from millrace.engine.sync import Sync

# While histories are read the log is looked after so often: systems do not keep it for ever.
LOOK_S = 300.0


@dataclass(frozen=True, slots=True)
class Place:
    """Where the reading of a log is: the source's own position, and the streams whose changes were taken up to it.

    A stream that was not among them missed changes, so its history is read anew when it comes back. Those that are
    ``alone`` were followed without a history beside it.
    """

    position: JSON
    streams: frozenset[str]
    alone: frozenset[str] = frozenset()

    @staticmethod
    def of(cursor: JSON) -> Place | None:
        if cursor is None:
            return None
        return Place(cursor["position"], frozenset(cursor["streams"]), frozenset(cursor.get("alone", ())))

    def to_json(self) -> JSON:
        alone = {"alone": sorted(self.alone)} if self.alone else {}
        return {"position": self.position, "streams": sorted(self.streams), **alone}


def follow(sync: Sync, log: Log, lanes: Sequence[Lane], slices: Sequence[Slice], committed: Callable[[], None]) -> bool:
    """Every history that is to be read, and every change until now, is on the stage; False when asked to stop before.

    The position is taken, and durable, before any history is read. Changes are taken once more behind the histories,
    so that what happened meanwhile is there at the end of the run.
    """
    if "again" in lanes:
        raise ConfigError(
            "days of a log cannot be read once more",
            hint="Read the history anew: `millrace resync`.",
            code="cannot_reread",
        )
    made = _Follow(sync, log, committed)
    if not made.changes():
        return False
    return made.histories(tuple(slices)) if "historical" in lanes and made.positioned else True


class _Follow:
    def __init__(self, sync: Sync, log: Log, committed: Callable[[], None]) -> None:
        self.sync, self.log, self.committed = sync, log, committed
        self.mappings: Mappings = sync.mappings()
        self.seen = 0.0

    @property
    def place(self) -> Place | None:
        return Place.of(self.sync.ledger.cursor(LOG, "incremental"))

    @property
    def positioned(self) -> bool:
        """The position is known, and the log could be read."""
        return self.place is not None and LOG not in self.sync.failures

    def changes(self) -> bool:
        """Changes up to now are on the stage, or at first the position is taken; False when asked to stop before."""
        sync, before = self.sync, self.place
        self._rejoin(before)
        self.mappings = sync.mappings()
        sync.tell_modes(self.mappings)
        streams = {stream.name: self._followed(stream) for stream in sync.following}
        following = Following(streams, before.position if before else None)
        # Of the others it is said already how they ended.
        watched = [name for name in streams if name not in sync.refused]
        for name in watched:
            sync.watch.reading(name)
        try:
            finished = self._read(following, streams)
        except Transient as failure:
            sync.failures[LOG] = failure
            for name in watched:
                sync.watch.ended(name, "failed", failure)
            return True
        except Exception as fatal:
            if isinstance(fatal, ConfigError) and fatal.code == "log_expired":
                sync.note(Note("log_expired", fatal.message, level="error"))
            for name in watched:
                sync.watch.ended(name, "failed", fatal)
            raise
        for name in watched:
            if name not in sync.left:
                sync.watch.ended(name, "read" if finished else "stopped", None)
        if finished and (place := self.place) is not None:
            self.log.confirm(place.position)
        self.seen = sync.clock.monotonic()
        return finished

    def histories(self, slices: tuple[Slice, ...]) -> bool:
        """Histories that are not whole are read, and what changed meanwhile; False when asked to stop before."""
        sync, read = self.sync, False
        for stream in sync.streams:
            if not stream.historical or stream.name in sync.left:
                continue
            before = sync.ledger.cursor(stream.name, "historical")
            sync.watch.reading(stream.name)
            ending, error = sync.lanes_of(stream, ("historical",), slices, self.mappings, self.committed)
            sync.watch.ended(stream.name, ending, error)
            if ending == "stopped":
                return False
            if ending != "read":
                self.mappings = sync.mappings()
            read = read or sync.ledger.cursor(stream.name, "historical") != before
            if read and sync.clock.monotonic() - self.seen >= LOOK_S and not self.changes():
                return False
        return self.changes() if read else True

    def _followed(self, stream: Stream) -> Followed:
        sync = self.sync
        mode = self.mappings.of(stream.name).mode
        return Followed(
            stream,
            mode,
            history=sync.ledger.cursor(stream.name, "historical"),
            whole=mode != "merge"
            or not sync.keeps_unchanged
            or sync.flight.step is not None
            or sync.flight.strategy != "NATIVE",
        )

    def _rejoin(self, before: Place | None) -> None:
        """Streams that were away have no history from here on, so that it is read anew. Where no log was followed so
        far, all were: what histories they have is of queries, and nobody knows what changed since."""
        sync = self.sync
        readable = {stream.name for stream in sync.following if stream.historical}
        for stream in sync.following:
            away = before is None or stream.name not in before.streams
            begun = sync.ledger.cursor(stream.name, "historical") is not None
            # Nothing tells appended rows from those that come again, so they go into a fresh table, as do those that
            # are made of the stream's. Rows of others that are in such a table come again with them.
            appends = self.mappings.of(stream.name).mode == "append" or stream.name in sync.shelf.appended()
            if before is not None and not away:
                if begun or not appends or stream.name not in before.alone & readable:
                    continue
                why = f"the history of {stream.name}, which was not wished so far, is read into a fresh table"
            elif begun:
                why = (
                    f"changes of {stream.name} were not followed for a while, so its history is read again; rows that "
                    "were deleted meanwhile are not marked"
                )
            else:
                if stream.name not in readable and stream.name in {known.stream for known in sync.ledger.mappings()}:
                    sync.note(missed([stream.name]))
                continue
            names = self._sharing(stream.name) if appends else {stream.name}
            lost = sorted(names - readable)
            if lost and not begun:
                raise ConfigError(
                    f"the history of {stream.name} would append what the log has brought, and a fresh table would lack "
                    f"the rows of {', '.join(lost)}",
                    hint="Include or resume these, or set `load_historical_data: false` at the source.",
                    code="would_double",
                )
            if lost:
                sync.note(missed([stream.name], () if stream.name in lost else lost))
                continue
            fresh = True if appends else None
            for note in discarded(sync.shelf.restart(*sorted(names), lanes=("historical",), marks=False, fresh=fresh)):
                sync.note(note)
            sync.note(Note("history_again", why))

    def _sharing(self, stream: str) -> set[str]:
        """The streams that have rows in a table with this one, or with one that has."""
        names, tables = {stream}, [one.mapping.sources for one in self.sync.shelf.tables()]
        while more := {name for sources in tables if sources & names for name in sources} - names:
            names |= more
        return names

    def _read(self, following: Following, streams: dict[str, Followed]) -> bool:
        sync = self.sync
        sync.meter.progress, sync.meter.stage = None, "reading changes"
        alone = frozenset(name for name, one in streams.items() if not one.stream.historical)
        place = Place(following.cursor, frozenset(streams), alone)

        def items() -> Iterator[Item]:
            for item in self.log.follow(following):
                if isinstance(item, Checkpoint):
                    yield replace(item, cursor=replace(place, position=item.cursor).to_json())
                else:
                    yield item

        def after_commit() -> None:
            self.committed()
            self._bear_rejects(streams)

        # Where nothing has changed the streams count as followed up to the same position.
        cursor = None if following.cursor is None else place.to_json()
        reading = Reading(Stream(LOG), "incremental", cursor)
        finished = ingest(
            items(),
            reading,
            mappings=self.mappings,
            ledger=sync.ledger,
            draft=Draft(sync.stage, sync.shelf.feed, ordered=True),
            clock=sync.clock,
            meter=sync.meter,
            committed=after_commit,
            stopping=sync.stopping.is_set,
            note=sync.note,
            flight=sync.flight,
        )
        self._bear_rejects(streams, ended=finished)
        return finished

    def _bear_rejects(self, streams: dict[str, Followed], *, ended: bool = False) -> None:
        """A stream of which too many rows failed is left: its changes are staged all the same, since the log is not
        read twice, and are not loaded in this run."""
        sync = self.sync
        sync.failing.judge(sync.meter.rejected)
        for name in streams:
            try:
                sync.failing.judge_object(name, sync.meter.failed[name], sync.meter.new[name], ended=ended)
            except ObjectFailed as failure:
                sync.leave(name, failure)
                sync.watch.ended(name, "left", failure)


def missed(streams: Sequence[str], others: Sequence[str] = ()) -> Note:
    """Says that changes which nobody followed are not read: no history is wished, or the streams' rows are appended to
    a table with those of ``others``, which a fresh one would lack."""
    text = f"what changed in {', '.join(streams)} while nobody followed it is not read: "
    if others:
        text += (
            f"its rows are in a table with those of {', '.join(others)}, which cannot be read again now; include or "
            "resume these, and fill it anew (`millrace resync --mode drop-and-load`)"
        )
    else:
        text += "histories are not loaded; set load_historical_data, and read them again (`millrace resync`)"
    return Note("rows_lost", text)
