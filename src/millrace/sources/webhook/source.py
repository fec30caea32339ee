"""The source of what other systems send: it reads the intake from its position on."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Iterator, Sequence
from datetime import timedelta
from typing import Any

import msgspec
import pyarrow as pa

from millrace.connect.frequency import HOUR_S, MINUTE_S, Frequency
from millrace.connect.intake.frames import Entry, Kind
from millrace.connect.intake.reading import Intake, Lost, Position, Taken
from millrace.connect.refused import refused
from millrace.connect.source import Memory, Note, Reading, Stream, Verdict
from millrace.connect.source import Source as AnySource
from millrace.data import columns, json_text
from millrace.data.batch import REPEATED, Batch, Checkpoint, Item, Mark, Passed, Refused
from millrace.data.rows import to_batch
from millrace.errors import ConfigError
from millrace.sources.webhook.config import Config
from millrace.sources.webhook.payload import Event, events

# Of events that do not say their type; the position of all of them is kept here.
STREAM = "unnamed events"
SCHEMA = pa.schema([columns.ours(columns.ID, pa.string())])

# Rows that are made into batches together, and bytes of requests.
ROWS = 10_000
BYTES = 16 << 20

# Where rows are appended, nothing at the destination tells them apart: ids are remembered for that long.
REMEMBERED = timedelta(days=2)
_ID_BYTES = 16

_TOO_DEEP = f"the request nests deeper than {json_text.DEEPEST} levels"


class Source(AnySource[Config]):
    """Events that other systems send to the pipeline's URL, each as one row of its type.

    Everything that was answered with 200 is in the intake, and is read once, in the order in which it came to a server.
    """

    Config = Config
    title = "Webhook"
    pushed = True

    @classmethod
    def frequency(cls, *, legacy: bool = False) -> Frequency:
        del legacy
        # Runs come soon after events do; the schedule is for what else a run does.
        return Frequency(HOUR_S, MINUTE_S)

    def check(self) -> list[Verdict]:
        return [Verdict("intake", "pass", "it needs no connection; `millrace hooks rotate` makes a pipeline's URL")]

    def streams(self) -> list[Stream]:
        return [Stream(STREAM, key=(columns.ID,), table=self.config.event_name)]

    def read(self, reading: Reading) -> Iterator[Item]:
        if reading.stream.name != STREAM:
            raise ConfigError(f"a webhook has no stream {reading.stream.name!r}", hint=f"It has one: {STREAM}.")
        if (intake := self.context.intake) is None or reading.lane != "incremental":
            return
        # This position is committed, so what is before it goes.
        position = dict(intake.collect(_position(reading.cursor)))
        seen = _Seen(reading.memory, self._hour) if reading.load_mode == "append" else None
        yield from self._taken(intake, position, seen)

    def _taken(self, intake: Intake, position: dict[str, tuple[int, int]], seen: _Seen | None) -> Iterator[Item]:
        rows: dict[str, list[dict[str, Any]]] = {}
        refused: list[str] = []
        count = repeated = size = 0
        came = False
        for found in intake.take(dict(position)):
            position[found.part] = found.after
            came = True
            if isinstance(found, Lost):
                self.context.note(_lost(found))
            elif isinstance(found, Taken):
                size += len(found.entry.body)
                if json_text.too_deep(found.entry.body):
                    # One of before such requests were refused at the door. No run comes past it as rows.
                    refused.append(_kept(found))
                    count += 1
                else:
                    taken, again = self._sort(events(found.entry, found.place, self.config), seen, rows)
                    count += taken
                    repeated += again
                if count >= ROWS or size >= BYTES:
                    yield from _batches(rows, repeated, self._refused(refused))
                    yield Checkpoint(_cursor(position), seen.marks() if seen is not None else ())
                    refused = []
                    rows, count, repeated, size, came = {}, 0, 0, 0, False
                    if self.context.stopping.is_set():
                        return
        if came:
            yield from _batches(rows, repeated, self._refused(refused))
            yield Checkpoint(_cursor(position), seen.marks() if seen is not None else ())

    def replay(self, reading: Reading, rows: Sequence[str]) -> Iterator[Item]:
        """Requests that were refused whole, as they came or as people mended them, as the events that they are."""
        seen = _Seen(reading.memory, self._hour) if reading.load_mode == "append" else None
        found: dict[str, list[dict[str, Any]]] = {}
        refused: list[str] = []
        reasons: list[str] = []
        repeated = 0
        for text in rows:
            try:
                entry, place = _of_kept(text)
                if json_text.too_deep(entry.body):
                    raise ValueError(_TOO_DEEP)
                own = list(events(entry, place, self.config))
            except (ValueError, RecursionError) as error:
                refused.append(text)
                reasons.append(str(error))
            else:
                repeated += self._sort(own, seen, found)[1]
        yield from _batches(found, repeated, self._refused(refused, reasons))
        if seen is not None:
            yield Checkpoint(None, seen.marks())

    def _sort(
        self, found: Iterable[Event], seen: _Seen | None, rows: dict[str, list[dict[str, Any]]]
    ) -> tuple[int, int]:
        """The events are among the ``rows`` of their types; how many there were, and how many came before."""
        count = repeated = 0
        for event in found:
            count += 1
            if seen is not None and event.given and not seen.first(event.id):
                repeated += 1
            else:
                name = STREAM if event.name == self.config.event_name else event.name
                rows.setdefault(name, []).append(_row(event))
        return count, repeated

    def _refused(self, kept: list[str], reasons: Sequence[str] = ()) -> pa.RecordBatch:
        """Whole requests as rejects. Without reasons all of them nest too deep."""
        each = zip(reasons or [_TOO_DEEP] * len(kept), kept, strict=True)
        return refused(STREAM, "UNREADABLE_RECORD", each, self.context.clock.now())

    def _hour(self, back: timedelta = timedelta()) -> str:
        return (self.context.clock.now() - back).strftime("%Y%m%d%H")


class _Seen:
    """Ids that came in the last days, in marks by the hour."""

    def __init__(self, memory: Memory, hour: Any) -> None:
        self._hour = hour
        oldest = hour(REMEMBERED)
        self._old = [part for part in memory.parts() if part < oldest]
        self._known: set[bytes] = set()
        for part in memory.parts():
            if part >= oldest:
                for data in memory.recall(part):
                    self._known.update(data[at : at + _ID_BYTES] for at in range(0, len(data), _ID_BYTES))
        self._new: list[bytes] = []

    def first(self, id_: str) -> bool:
        """Whether the id comes for the first time; it is known from now on."""
        key = bytes.fromhex(id_)
        if key in self._known:
            return False
        self._known.add(key)
        self._new.append(key)
        return True

    def marks(self) -> tuple[Mark, ...]:
        """What is to be remembered since this was last asked, and what may be forgotten."""
        found = [Mark(part, None, replace=True) for part in self._old]
        if self._new:
            found.append(Mark(self._hour(), b"".join(self._new)))
        self._old, self._new = [], []
        return tuple(found)


def _kept(found: Taken) -> str:
    """The request as the row of a reject: with all that its events are told by, so that a replay gives them the ids
    that they would have had. Its body is a text, which whoever shows rejects can write as JSON."""
    entry = found.entry
    about = {"kind": entry.kind, "at_ms": entry.at_ms, "name": entry.name, "request_id": entry.request_id}
    return json_text.dumps({"body": entry.body.decode()} | about | {"place": found.place})


def _of_kept(text: str) -> tuple[Entry, str]:
    """The request of the row of a reject, and its place. A person may have written its body as JSON instead of a text.

    Raises ValueError for what is no such row, RecursionError for one that nests too deep.
    """
    try:
        kept = _kept_rows(text)
        body = bytes(kept.body)
        if body[:1] == b'"':
            body = msgspec.json.decode(body, type=str).encode()
    except msgspec.MsgspecError as error:
        raise ValueError(f"the row is no request that was kept: {error}") from None
    # What does not say where it lay is like no other.
    place = kept.place or f"again-{secrets.token_hex(8)}"
    return Entry(kept.kind, kept.at_ms, body, kept.name, kept.request_id), place


class _Kept(msgspec.Struct):
    """The row of a reject, as `_kept` writes it; all but the body may be missing."""

    body: msgspec.Raw
    kind: Kind = "hook"
    at_ms: int = 0
    name: str | None = None
    request_id: str | None = None
    place: str | None = None


_kept_rows = msgspec.json.Decoder(_Kept).decode


def _row(event: Event) -> dict[str, Any]:
    fields = event.fields
    if columns.ID in fields:  # the sender's own; ours has that name
        fields = {("src_" + key if key == columns.ID else key): value for key, value in fields.items()}
    return {columns.ID: event.id} | fields


def _batches(rows: dict[str, list[dict[str, Any]]], repeated: int, refused: pa.RecordBatch) -> Iterator[Item]:
    for name, some in rows.items():
        yield Batch(name, to_batch(some, SCHEMA))
    if repeated:
        yield Passed(repeated, REPEATED)
    if refused.num_rows:
        yield Refused(refused)


def _position(cursor: Any) -> Position:
    return {part: (int(number), int(offset)) for part, (number, offset) in (cursor or {}).items()}


def _cursor(position: Position) -> dict[str, list[int]]:
    return {part: list(at) for part, at in position.items()}


def _lost(found: Lost) -> Note:
    if found.torn:
        return Note(
            "intake_torn",
            "a server was ended while it wrote what came; who sent it was not told that it is kept",
            level="info",
        )
    return Note(
        "intake_damaged",
        f"a file of the intake has changed since it was written; what cannot be read is kept as {found.file}",
        level="error",
    )
