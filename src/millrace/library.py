"""Millrace in a notebook or under a scheduler of one's own: `millrace.run(...)` and `millrace.read(...)`."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from millrace.connect import registry
from millrace.connect.source import Context, Note, Reading, Stream
from millrace.control.as_code.findings import findings
from millrace.data.batch import JSON, Batch, Checkpoint, Item, Lane, Mark, Refused
from millrace.data.cast import cast
from millrace.data.columns import REJECTS
from millrace.data.rows import to_batch
from millrace.data.types import canonical, widen
from millrace.errors import ConfigError, MillraceError, Problem

if TYPE_CHECKING:
    from millrace.control.books.records import RunRecord

log = logging.getLogger("millrace")
LEVELS = {"error": logging.ERROR, "warning": logging.WARNING}


def run(
    file: str | os.PathLike[str],
    pipeline: str | None = None,
    *,
    home: str | os.PathLike[str] | None = None,
    stopping: threading.Event | None = None,
) -> list[RunRecord]:
    """The pipelines of a YAML file, or the one that is named, were applied and run; one record for each.

    State lives in ``home``, by default $MILLRACE_HOME or `.millrace` in this folder; it is made when there is none.
    A pipeline that fails does not keep the next from running; the first failure is raised at the end. Runs that
    failed are on record too (`millrace runs`), and what they committed is safe.
    """
    from millrace.control.as_code.apply import apply_file, chosen
    from millrace.control.home import Home
    from millrace.control.running.runs import run as run_pipeline

    records: list[RunRecord] = []
    failures: list[MillraceError] = []
    with _told(), Home.open(Path(home) if home is not None else None, create=True) as opened:
        applied = apply_file(opened, Path(file))
        for name in chosen(applied.pipelines, pipeline, str(file)):
            try:
                records.append(run_pipeline(opened, name, stopping=stopping))
            except MillraceError as failure:
                failures.append(failure)
        for failure in failures:
            raise failure
    return records


@contextmanager
def _told() -> Generator[None]:
    """An error that leaves the library says below its trace where its cause stands and how it is mended."""
    try:
        yield
    except MillraceError as error:
        problems: Sequence[Problem] = getattr(error, "problems", (error.problem,))
        for problem in problems:
            if problem.message != error.message:
                error.add_note(f"✗ {problem.message}")
            if problem.path:
                error.add_note(f"  at {problem.path}")
            if problem.hint:
                error.add_note(f"  → {problem.hint}")
        raise


def read(type_: str, config: Mapping[str, JSON], *, context: Context | None = None) -> Reader:
    """A source of this type, open to be read without a home: all rows from the beginning, nothing remembered.

    Raises ConfigError when there is no such type, or when ``config`` does not fit it.
    """
    from pydantic import ValidationError

    with _told():
        kind = registry.source(type_)
        try:
            settings = kind.Config.model_validate(dict(config))
        except ValidationError as error:
            found = list(findings(error, kind.Config))
            raise ConfigError(
                "; ".join(one.message for one in found),
                hint=" ".join(dict.fromkeys(one.hint for one in found if one.hint)) or None,
                path=".".join(str(step) for step in found[0].path) or None,
                code=found[0].code,
            ) from None
    return Reader(kind, settings, context or Context(note=_log_note))


@dataclass
class Reader:
    """One source. Each call that reads opens it anew."""

    kind: type[Any]
    config: Any
    context: Context

    def streams(self) -> list[Stream]:
        """The objects that the source offers."""
        source = self.kind(self.config, self.context)
        try:
            return source.streams()
        finally:
            source.close()

    def stream(self, name: str) -> StreamReader:
        """One object by its name. Raises ConfigError when there is none."""
        found = {stream.name: stream for stream in self.streams()}
        if name not in found:
            raise ConfigError(
                f"{self.kind.title} has no object {name!r}",
                hint=f"It has: {', '.join(found)}.",
                code="unknown_object",
            )
        return StreamReader(self, found[name])

    def arrow(self) -> pa.Table:
        """All rows of the only object. Raises ConfigError when the source has several; choose one with `stream`."""
        return self._only().arrow()

    def batches(self) -> Iterator[pa.RecordBatch]:
        """The rows of the only object as they come, without holding them."""
        return self._only().batches()

    def _only(self) -> StreamReader:
        streams = [stream for stream in self.streams() if stream.name not in self.kind.extras]
        if len(streams) != 1:
            raise ConfigError(
                f"{self.kind.title} has {len(streams)} objects",
                hint=f"Choose one: .stream({streams[0].name!r})." if streams else "Check what the account may read.",
                code="several_objects",
            )
        return StreamReader(self, streams[0])


@dataclass
class StreamReader:
    """One object of a source. ``rejected`` has the rows of the last read that it could not bring into shape."""

    reader: Reader
    stream: Stream
    rejected: pa.Table = field(default_factory=lambda: REJECTS.empty_table())

    def arrow(self) -> pa.Table:
        """All rows, from the beginning. Columns that came late are null before; types are the widest met.

        Raises MillraceError "incomplete" when some of them could not be read: no table is better than one with gaps.
        """
        return joined(list(self.batches()), self.stream.schema)

    def batches(self) -> Iterator[pa.RecordBatch]:
        """The rows as they come, from the beginning. Columns may come and widen from one batch to the next.

        Raises MillraceError "incomplete" behind the last of them when some could not be read.
        """
        missing: list[str] = []
        context = self.reader.context

        def heard(note: Note) -> None:
            context.note(note)
            if note.level == "error":
                missing.append(note.message)

        source = self.reader.kind(self.reader.config, replace(context, note=heard))
        memory = Recollection()
        refused: list[pa.RecordBatch] = []
        lanes: tuple[Lane, ...] = ("historical",) if self.stream.historical else ("incremental",)
        try:
            for lane in lanes:
                for item in source.read(Reading(self.stream, lane, memory=memory)):
                    yield from self._rows(item, memory, refused)
            if missing:
                raise MillraceError(
                    f"{self.stream.name} could not be read whole: {'; '.join(missing)}",
                    hint="Read it again. What was read comes from batches(), before this error.",
                    code="incomplete",
                )
        finally:
            source.close()
            self.rejected = pa.Table.from_batches(refused, REJECTS)
            if self.rejected.num_rows:
                log.warning("%s: %d rows were rejected, see .rejected", self.stream.name, self.rejected.num_rows)

    def _rows(self, item: Item, memory: Recollection, refused: list[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        if isinstance(item, pa.RecordBatch):
            yield item
        elif isinstance(item, list):
            yield to_batch(item, self.stream.schema)
        elif isinstance(item, Batch):
            yield item.rows
        elif isinstance(item, Refused):
            refused.append(item.rows)
        elif isinstance(item, Checkpoint):
            memory.keep(item.marks)


class Recollection:
    """The marks of one read, in memory."""

    def __init__(self) -> None:
        self._marks: dict[str, list[bytes]] = {}

    def parts(self) -> Sequence[str]:
        return list(self._marks)

    def recall(self, part: str) -> Sequence[bytes]:
        return self._marks.get(part, [])

    def keep(self, marks: Iterable[Mark]) -> None:
        for mark in marks:
            if mark.replace:
                self._marks.pop(mark.part, None)
            if mark.data is not None:
                self._marks.setdefault(mark.part, []).append(mark.data)


def joined(batches: list[pa.RecordBatch], schema: pa.Schema | None) -> pa.Table:
    """One table of all batches: each column in the widest type that it was met in, values exact."""
    types: dict[str, pa.DataType] = {one.name: one.type for one in schema} if schema else {}
    for batch in batches:
        for one in batch.schema:
            known = types.get(one.name)
            types[one.name] = canonical(one.type) if known is None else widen(canonical(known), canonical(one.type))
    whole = pa.schema([pa.field(name, type_) for name, type_ in types.items()])
    return pa.Table.from_batches([_fitted(batch, whole) for batch in batches], whole)


def _fitted(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    if batch.schema.equals(schema):
        return batch
    columns = [
        cast(batch.column(one.name), one.type, strict=True).values
        if one.name in batch.schema.names
        else pa.nulls(batch.num_rows, one.type)
        for one in schema
    ]
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def _log_note(note: Note) -> None:
    log.log(LEVELS.get(note.level, logging.INFO), "%s", note.message)
