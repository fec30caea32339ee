"""A scripted source, a real control database, a real stage and a real DuckDB file: one pipeline, and nothing faked.

The source and a destination that fails where it is told are connector types of their own, which the registry finds
as it finds those of a package that somebody installed: by entry points.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, TypeAlias

import pyarrow as pa
import pytest
from tests.duckdb_files import staying_open

from millrace.connect.config import Secret, SourceConfig
from millrace.connect.destination import Load, Loaded, Table
from millrace.connect.log import Following, Log
from millrace.connect.source import Reading, Slice, Source, Stream, Verdict
from millrace.control.books.records import RunRecord
from millrace.control.connecting import connections
from millrace.control.failed import rejects
from millrace.control.failed.rejects import Choice
from millrace.control.home import Home
from millrace.control.pipeline import pipelines
from millrace.control.pipeline.pipelines import Wish
from millrace.control.running import crews, runs
from millrace.control.running.crews import Crew
from millrace.data.batch import JSON, Checkpoint, Item, Lane
from millrace.data.columns import OP_TYPE, SOURCE_MODIFIED_AT, ours
from millrace.destinations.duckdb.destination import Config as DuckConfig
from millrace.destinations.duckdb.destination import Destination as Duck
from millrace.engine.ingest import ingest
from millrace.engine.load import load, settle
from millrace.engine.stage import Draft

START = datetime(2026, 3, 14, 10, tzinfo=UTC)
PIPELINE = "scripted"

# What a script says: an item to yield, an error to raise, or something to do before it goes on.
Word: TypeAlias = Item | BaseException | Callable[[], object]
Tale: TypeAlias = Iterable[Word] | Callable[[Reading], Iterable[Word]]


class Killed(BaseException):
    """The process is gone. No handler of an ordinary error sees it."""


class SetClock:
    """A clock that tests set. Sleeping moves it on."""

    def __init__(self) -> None:
        self.moment = START
        self.slept: list[float] = []

    def now(self) -> datetime:
        return self.moment

    def monotonic(self) -> float:
        return self.moment.timestamp()

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.advance(seconds)

    def advance(self, seconds: float) -> None:
        self.moment += timedelta(seconds=seconds)


@dataclass(frozen=True)
class Given:
    """What a read was given."""

    stream: str
    lane: Lane
    cursor: JSON
    remembered: Mapping[str, list[bytes]]
    slices: tuple[Slice, ...]


@dataclass
class Script:
    """What the source says: its streams, and for each stream and lane what its reads tell, one after the other.

    The last one is told again and again. ``given`` records what each read was given, ``closed`` how many ended.
    """

    streams: list[Stream] = field(default_factory=list)
    tales: dict[tuple[str, Lane], list[Tale]] = field(default_factory=dict)
    again: Callable[[list[str]], Iterable[Word]] | None = None
    """What `replay` yields for rows that the source refused."""
    given: list[Given] = field(default_factory=list)
    closed: int = 0
    changes: list[Tale] | None = None
    """What reads of the log tell, one after the other, where the source follows one."""
    followed: list[Following] = field(default_factory=list)
    confirmed: list[JSON] = field(default_factory=list)

    def stream(self, name: str, *tales: Tale, lane: Lane = "incremental", **more: Any) -> Script:
        """A stream, or one more lane of it, with what its reads tell."""
        if all(known.name != name for known in self.streams):
            self.streams.append(Stream(name, **more))
        self.tales[name, lane] = list(tales)
        return self


SCRIPTS: dict[str, Script] = {}


class Scripted(Source["Scripted.Config"]):
    """A source that says what its script says."""

    class Config(SourceConfig):
        script: str
        token: Secret | None = None

    title = "Scripted"

    def check(self) -> list[Verdict]:
        return [Verdict("connect", "pass", "It is here.")]

    def streams(self) -> list[Stream]:
        return self._script.streams

    def read(self, reading: Reading) -> Iterator[Item]:
        script = self._script
        memory = {part: list(reading.memory.recall(part)) for part in reading.memory.parts()}
        script.given.append(Given(reading.stream.name, reading.lane, reading.cursor, memory, reading.slices))
        tales = script.tales.get((reading.stream.name, reading.lane), [])
        tale: Tale = () if not tales else tales.pop(0) if len(tales) > 1 else tales[0]
        try:
            yield from told(tale(reading) if callable(tale) else tale)
        finally:
            script.closed += 1

    def log(self) -> Log | None:
        return None if self._script.changes is None else ScriptedLog(self._script)

    def replay(self, reading: Reading, rows: Any) -> Iterator[Item]:
        if self._script.again is None:
            yield from super().replay(reading, rows)
        else:
            yield from told(self._script.again(list(rows)))

    @property
    def _script(self) -> Script:
        return SCRIPTS[self.config.script]


class ScriptedLog(Log):
    """The log of a scripted source. It takes the position 0 first."""

    def __init__(self, script: Script) -> None:
        self._script = script

    def follow(self, following: Following) -> Iterator[Item]:
        self._script.followed.append(following)
        if following.cursor is None:
            yield Checkpoint(0)
        elif self._script.changes:
            tale = self._script.changes.pop(0)
            yield from told(tale if not callable(tale) else ())

    def confirm(self, cursor: JSON) -> None:
        self._script.confirmed.append(cursor)

    def moved(self, wanted: str, known: Sequence[JSON]) -> JSON:
        return int(wanted)

    def reaches(self, cursor: JSON, read: JSON) -> bool:
        return cursor >= read

    def forget(self) -> None:
        """The log is the script."""


def told(words: Iterable[Word]) -> Iterator[Item]:
    """The words, one by one: items are yielded, errors raised, and what is to be done is done."""
    for word in words:
        if isinstance(word, BaseException):
            raise word
        if callable(word):
            word()
        else:
            yield word


class Shaky(Duck):
    """DuckDB that fails as it is told: ``faults[verb]`` are met by the next calls of that verb, one each.

    A pair ("before" | "after", error): the error comes instead of the real call, or when that is done; None: no error.
    """

    Config = DuckConfig
    title = "Shaky"
    faults: ClassVar[dict[str, list[tuple[str, BaseException] | None]]] = {}

    def load(self, table: Table, load: Load) -> Loaded:
        return self._perhaps("load", lambda: super(Shaky, self).load(table, load))

    def swap(self, fresh: str, table: str) -> None:
        self._perhaps("swap", lambda: super(Shaky, self).swap(fresh, table))

    def _perhaps(self, verb: str, call: Callable[[], Any]) -> Any:
        left = self.faults.get(verb)
        when, error = (left.pop(0) if left else None) or ("", None)
        if error is not None and when == "before":
            raise error
        result = call()
        if error is not None:
            raise error
        return result


def log(rows: list[dict[str, Any]], *, every: int) -> Callable[[Reading], Iterable[Word]]:
    """A source with a memory: it yields what lies behind the cursor, and a checkpoint after every so many rows."""

    def read(reading: Reading) -> Iterable[Word]:
        start = reading.cursor or 0
        for at in range(start, len(rows), every):
            part = rows[at : at + every]
            yield part
            yield Checkpoint(at + len(part))

    return read


def changes(*rows: tuple[Any, ...], names: tuple[str, ...], types: tuple[pa.DataType, ...]) -> pa.RecordBatch:
    """Rows with the metadata that a source of changes gives: `OP_TYPE` and `SOURCE_MODIFIED_AT` are its own fields."""
    fields = [
        ours(name, type_) if name in (OP_TYPE, SOURCE_MODIFIED_AT) else pa.field(name, type_)
        for name, type_ in zip(names, types, strict=True)
    ]
    columns = [pa.array(column, type_) for column, type_ in zip(zip(*rows, strict=True), types, strict=True)]
    return pa.RecordBatch.from_arrays(columns, schema=pa.schema(fields))


@dataclass
class Rig:
    """One pipeline from a script into a destination, with all that a run needs."""

    folder: Path
    script: Script = field(default_factory=Script)
    destination_type: str = "duckdb"
    destination_config: Mapping[str, Any] = field(default_factory=dict)
    source_config: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.clock = SetClock()
        self.stopping = threading.Event()
        self.home = Home.open(self.folder / ".millrace", create=True, env={})
        SCRIPTS[str(self.folder)] = self.script

    def create(self, mode: Any = "merge", *, auto: bool = True, **more: Any) -> Rig:
        """The pipeline is saved."""
        config = dict(self.destination_config) or {"path": str(self.folder / "warehouse.duckdb")}
        connections.create(
            self.home, "source", "source", "scripted", {"script": str(self.folder), **self.source_config}
        )
        connections.create(self.home, "destination", "warehouse", self.destination_type, config)
        pipelines.create(self.home, Wish(PIPELINE, "source", "warehouse", load_mode=mode, auto_mapping=auto, **more))
        return self

    def run(self, **options: Any) -> RunRecord:
        return runs.run(self.home, PIPELINE, clock=self.clock, stopping=self.stopping, **options)

    def resync(self, mode: Any = "drop-and-load") -> RunRecord:
        return runs.resync(self.home, PIPELINE, mode=mode, clock=self.clock, stopping=self.stopping)

    def replay(self, **choice: Any) -> RunRecord:
        from millrace.control.failed.replay import replay

        return replay(self.home, Choice(PIPELINE, **choice), clock=self.clock)

    def record(self, back: int = 0) -> RunRecord:
        """The latest run on record, or one so many before it."""
        from millrace.control.books.records import run_records

        return run_records(self.home)[back]

    @contextmanager
    def crew(self) -> Iterator[Crew]:
        """The pipeline is ours, as in a run."""
        with crews.crew(self.home, PIPELINE, "INCREMENTAL", clock=self.clock, stopping=self.stopping) as ours_:
            yield ours_

    def destination(self) -> Any:
        found = connections.find(self.home, "destination", "warehouse")
        return connections.build_destination(self.home, found.id, connections_context(self.clock))

    def query(self, sql: str) -> list[dict[str, Any]]:
        destination = self.destination()
        try:
            return destination.query(sql).to_pylist()
        finally:
            destination.close()

    def rows(self, table: str, *names: str, order: str = "1") -> list[Any]:
        """Values of one column, or tuples of several, in order."""
        found = self.query(f'SELECT {", ".join(names)} FROM "{table}" ORDER BY {order}')
        tuples = [tuple(row.values()) for row in found]
        return [row[0] for row in tuples] if len(names) == 1 else tuples

    def exists(self, table: str) -> bool:
        destination = self.destination()
        try:
            return destination.schema(table) is not None
        finally:
            destination.close()

    def change(self, *statements: str) -> None:
        """A user changes the DuckDB file with a tool of their own."""
        import duckdb

        with duckdb.connect(str(self.folder / "warehouse.duckdb")) as connection:
            for statement in statements:
                connection.execute(statement)

    def meddle(self, *statements: str) -> None:
        """The control database itself is changed, to see what a failure inside of it does."""
        import sqlite3

        connection = sqlite3.connect(self.home.path / "millrace.db")
        for statement in statements:
            connection.execute(statement)
        connection.commit()
        connection.close()

    def rejected(self, state: Any = "open") -> dict[str, int]:
        """Rejected rows by code."""
        found: dict[str, int] = {}
        for group in rejects.listed(self.home, state=state):
            found[group.code] = found.get(group.code, 0) + group.rows
        return found

    def staged(self) -> list[Path]:
        """Files on the stage, finished or not."""
        return sorted((self.home.path / "stage").rglob("*.arrow"))

    def close(self) -> None:
        self.home.close()
        SCRIPTS.pop(str(self.folder), None)


def connections_context(clock: SetClock) -> Any:
    from millrace.connect.source import Context

    return Context(clock=clock)


@dataclass
class Desk:
    """The two halves of a sync, each by itself, with real books."""

    rig: Rig
    crew: Crew

    def __post_init__(self) -> None:
        self.sync = self.crew.sync()
        self.commits = 0
        self.draft = Draft(self.sync.stage, self.sync.shelf.feed)

    def ingest(self, *words: Word, stream: str = "items", lane: Lane = "incremental", **more: Any) -> bool:
        """The words of one stream go through `ingest`."""
        found = next(one for one in self.sync.streams if one.name == stream)
        reading = Reading(found, lane, cursor=self.crew.books.cursor(stream, lane))

        def committed() -> None:
            self.commits += 1

        options: dict[str, Any] = {
            "mappings": self.sync.mappings(),
            "ledger": self.crew.books,
            "draft": self.draft,
            "clock": self.rig.clock,
            "meter": self.crew.meter,
            "committed": committed,
            "stopping": self.rig.stopping.is_set,
            "note": self.crew.note,
        }
        return ingest(told(words), reading, **options | more)

    def segments_of(self, *parts: list[dict[str, Any]]) -> None:
        """Each part is a segment of its own."""
        for number, part in enumerate(parts):
            self.ingest(part, Checkpoint(number))

    @property
    def destination(self) -> Any:
        return self.rig.destination()

    def load(self, table: str = "items") -> bool:
        """What is staged of one table is loaded."""
        return self._load(load, table)(
            stage=self.sync.stage, clock=self.rig.clock, meter=self.crew.meter, note=self.crew.note
        )

    def settle(self, table: str = "items") -> bool:
        return self._load(settle, table)()

    def _load(self, half: Callable[..., bool], table: str) -> Callable[..., bool]:
        shelved = self.shelved(table)
        return partial(
            half, shelved, destination=self.destination, shelf=self.crew.books, prefix=self.sync.naming.prefix
        )

    def shelved(self, table: str = "items") -> Any:
        return next(one for one in self.crew.books.tables() if one.mapping.table == table)

    def segments(self, table: str = "items") -> list[int]:
        """Rows of each segment, in order."""
        books = self.crew.books
        return [found.rows for found in books.segments(table, self.shelved(table).generation, 0)]

    @property
    def cursor(self) -> JSON:
        return self.crew.books.cursor("items", "incremental")


@pytest.fixture
def types(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The types `scripted` and `shaky` are installed, in one folder for all tests: what is there is looked for once."""
    folder = tmp_path_factory.getbasetemp() / "site"
    info = folder / "millrace_test_connectors-1.0.dist-info"
    info.mkdir(parents=True, exist_ok=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: millrace-test-connectors\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[millrace.sources]\nscripted = tests.engine.kit:Scripted\n"
        "[millrace.destinations]\nshaky = tests.engine.kit:Shaky\n"
    )
    monkeypatch.setattr(sys, "path", [str(folder), *sys.path])
    Shaky.faults = {}
    yield
    Shaky.faults = {}


@pytest.fixture
def rig(types: None, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Rig]:
    """A pipeline that is not saved yet: the test says its streams first."""
    with nullcontext() if request.node.get_closest_marker("outside") else staying_open():
        made = Rig(tmp_path)
        yield made
        made.close()


@pytest.fixture
def desk(rig: Rig, request: pytest.FixtureRequest) -> Iterator[Desk]:
    """The pipeline of one stream `items` with the key `id`, merged (or as the test asks), in the hands of a run.

    Its destination fails when it is told to, and is DuckDB otherwise.
    """
    rig.script.stream("items", key=("id",))
    rig.destination_type = "shaky"
    rig.create(getattr(request, "param", "merge"))
    with rig.crew() as crew:
        yield Desk(rig, crew)


def items(*ids: int, **more: Any) -> list[dict[str, Any]]:
    """Rows of the stream `items`."""
    return [{"id": id_, **more} for id_ in ids]
