"""The source of what other systems send: it reads the intake from its position on."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pyarrow as pa

from millrace.connect.frequency import HOUR_S, MINUTE_S, Frequency
from millrace.connect.intake.reading import Intake, Lost, Position, Taken
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
                    refused.append(found.entry.body.decode())
                    count += 1
                    continue
                for event in events(found.entry, found.place, self.config):
                    count += 1
                    if seen is not None and event.given and not seen.first(event.id):
                        repeated += 1
                        continue
                    name = STREAM if event.name == self.config.event_name else event.name
                    rows.setdefault(name, []).append(_row(event))
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

    def _refused(self, bodies: list[str]) -> pa.RecordBatch:
        """Whole requests as rejects. Their bodies are texts, which whoever shows rejects can write as JSON."""
        message = f"the request nests deeper than {json_text.DEEPEST} levels"
        at = self.context.clock.now()
        said = {"stream": STREAM, "stage": "source", "code": "UNREADABLE_RECORD", "message": message, "rejected_at": at}
        return pa.RecordBatch.from_pylist(
            [said | {"row": json_text.dumps({"body": body})} for body in bodies], schema=columns.REJECTS
        )

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
