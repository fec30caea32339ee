"""Files as rows: every file is read once in each of its versions.

Sources: https://www.rfc-editor.org/rfc/rfc4180 (CSV), https://jsonlines.org, https://parquet.apache.org/docs/file-format/,
https://avro.apache.org/docs/1.12.0/specification/, https://developmentseed.org/obstore/latest/ (buckets).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from datetime import UTC, datetime
from functools import cached_property

import pyarrow as pa
from msgspec.structs import replace

from millrace.connect.files.wishes import digest, wishes
from millrace.connect.refused import refused
from millrace.connect.source import Context, Note, Reading, Stream, Verdict
from millrace.connect.source import Source as AnySource
from millrace.data import columns, json_text, types
from millrace.data.batch import JSON, Checkpoint, FileNote, FileStatus, Item, Mark, Refused
from millrace.data.compute import pc
from millrace.data.dataclass import dataclass
from millrace.errors import MillraceError, ObjectRefused
from millrace.sources.files.choosing import Kind, kind, object_of, own_name, wanted
from millrace.sources.files.config import Config
from millrace.sources.files.parts import Bad, Part, Unreadable
from millrace.sources.files.places import Found, Place, place
from millrace.sources.files.reading import parts
from millrace.sources.files.state import Begun, Seen, State


@dataclass(frozen=True, slots=True)
class _File:
    """A file to be read, of which object, and how. ``again``: the wishes that end with it."""

    stream: str
    found: Found
    kind: Kind
    again: tuple[str, ...] = ()


@dataclass(slots=True)
class _Progress:
    """How far the reading of a file is: rows that came, those that could not be read, and the number of the last."""

    rows: int = 0
    rejected: int = 0
    row: int = 0

    def begun(self, file: _File, how: str) -> Begun:
        return Begun(file.found.version, how, self.row, self.rows, self.rejected, file.again)

    def cursor(self, file: _File, how: str, *, whole: bool) -> JSON:
        return {
            "file": file.found.path,
            "version": file.found.version,
            "how": how,
            "row": self.row,
            "rows": self.rows,
            "rejected": self.rejected,
            "again": [*file.again],
            "whole": whole,
        }


class Source(AnySource[Config]):
    """Files in a folder, a bucket, or at an SFTP server.

    A file that changed is read again, whole. Where nobody chose a key, a row is known by its file and its number, so
    that the rows of a new version take the place of those before them.
    """

    Config = Config
    title = "Files"
    defers_when_empty = True

    def __init__(self, config: Config, context: Context | None = None) -> None:
        super().__init__(config, context)
        self._listing: dict[str, list[Found]] = {}

    @cached_property
    def place(self) -> Place:
        return place(self.config, self.context)

    def check(self) -> list[Verdict]:
        try:
            every = list(self.place.files())
        except MillraceError as error:
            return [Verdict("files", "fail", error.message, error.hint)]
        mine = [one for one in every if wanted(self.config, one.path)]
        if not mine:
            hint = "Check url and pattern. Names that begin with _ or . are left out."
            return [Verdict("files", "warn", f"of {len(every)} files none is to be read", hint)]
        told = f"{len(mine)} files, {sum(one.size_bytes for one in mine):,} bytes"
        verdicts = [Verdict("files", "pass", told)]
        unknown = [one.path for one in mine if kind(self.config, one.path) is None]
        if unknown:
            hint = "Choose a format, or a pattern that leaves them out."
            verdicts.append(
                Verdict("formats", "warn", f"{len(unknown)} files have no ending of a known format: {unknown[0]}", hint)
            )
        first = next(((one, found) for one in mine if (found := kind(self.config, one.path)) is not None), None)
        if first is not None:
            verdicts.append(self._readable(*first))
        return verdicts

    def _readable(self, found: Found, known: Kind) -> Verdict:
        try:
            with closing(parts(self.place, found, known, self.config, 0)) as read:
                part = next(read, None)
        except MillraceError as error:
            return Verdict(
                "reading", "fail", f"{found.path} cannot be read as {known.format}: {error.message}", error.hint
            )
        told = "it has no rows" if part is None else f"columns {', '.join(part.rows.schema.names[:10])}"
        return Verdict("reading", "pass", f"{found.path} is {known.format}: {told}")

    def streams(self) -> list[Stream]:
        self._listing = self._listed()
        return self._streams(sorted(self._listing) or [own_name(self.config)])

    def vanished(self, names: Sequence[str]) -> list[Stream]:
        found = [name for name in names if name not in self._listing]
        self._listing |= {name: [] for name in found}
        return self._streams(found)

    def _streams(self, names: Sequence[str]) -> list[Stream]:
        return [Stream(name, key=self.config.key or (columns.ID,)) for name in names]

    def read(self, reading: Reading) -> Iterator[Item]:
        if reading.keys:
            raise ObjectRefused(
                f"rows of {reading.stream.name} cannot be asked for one by one: they are in files",
                hint="Read the whole object anew: `millrace resync`.",
                code="cannot_reread",
            )
        name = reading.stream.name
        # Objects of one run were listed together; who reads once more wants to know what there is now.
        every = self._listing.pop(name) if name in self._listing else self._listed().get(name, [])
        # What came last is read last, so that it stays where rows have the same key.
        every.sort(key=lambda one: (one.modified_us, one.path))
        if reading.lane == "again":
            yield from self._again(reading, every)
        elif reading.lane == "incremental":
            yield from self._new(reading, every)

    def close(self) -> None:
        if "place" in self.__dict__:
            self.place.close()

    def _listed(self) -> dict[str, list[Found]]:
        """The files to be read, by object."""
        listing: dict[str, list[Found]] = {}
        for found in self.place.files():
            if wanted(self.config, found.path):
                listing.setdefault(object_of(self.config, found.path), []).append(found)
        return listing

    def _again(self, reading: Reading, every: Sequence[Found]) -> Iterator[Item]:
        """Files that were changed in the days that are asked for; what is remembered stays as it is."""
        skipped = wishes(reading.memory.parts()).skipped
        for found in every:
            day = datetime.fromtimestamp(found.modified_us / 1e6, UTC).date()
            known = kind(self.config, found.path)
            if known is None or digest(found.path) in skipped:
                continue
            if any(one.first <= day <= one.last for one in reading.slices):
                yield from self._file(_File(reading.stream.name, found, known), _Progress(), None)
                if self.context.stopping.is_set():
                    return

    def _new(self, reading: Reading, every: Sequence[Found]) -> Iterator[Item]:
        stream, state = reading.stream.name, State(reading.memory)
        now_us = int(self.context.clock.now().timestamp() * 1_000_000)
        state.expire(now_us)
        state.recall(reading.cursor, self._how)
        for found in _gone(state, every, now_us):
            yield self._note(stream, found, "gone")
        queue: list[tuple[_File, Begun | None]] = []
        wish = wishes(reading.memory.parts())
        for found in every:
            before, name, known = state.files.get(found.path), digest(found.path), kind(self.config, found.path)
            version = found.version if known is not None else f"unknown {found.version}"
            if before is not None and before.gone:
                yield self._note(stream, found, "queued")
                before = replace(before, gone=False, gone_us=0)
                state.note([before])
            if name in wish.skipped:
                if before is None:
                    yield self._note(stream, found, "queued")
                    state.note([_seen(found, "")])
                continue
            same = before is not None and before.version == version and before.failed in ("", self._how)
            again = tuple(wish.again.get(name, ()))
            if same and (known is None or not again):
                continue
            if known is None:
                error = "its name has no ending of a known format"
                yield self._note(stream, found, "failed", error=error)
                self.context.note(Note("file_failed", f"{found.path} cannot be read: {error}", "error"))
                state.note([_seen(found, version)])
                continue
            begun = None if before is None or not self._goes_on(before.begun, found, again) else before.begun
            queue.append((_File(stream, found, known, again), begun))
            if before is None or before.version:
                yield self._note(stream, found, "queued")
                state.note([_seen(found, "", begun)])
        # A file that was begun comes first, unless it is another one by now.
        queue.sort(key=lambda one: one[1] is None)
        for file, begun in queue:
            progress = _Progress(begun.rows, begun.rejected, begun.row) if begun is not None else _Progress()
            yield from self._file(file, progress, state)
            if self.context.stopping.is_set():
                return
        if marks := state.marks():
            yield Checkpoint(reading.cursor or {"file": None, "whole": True}, marks)

    @cached_property
    def _how(self) -> str:
        """A short name of all settings that say what a row of a file is."""
        said = self.config.model_dump_json(
            include={"format", "delimiter", "quote", "header", "encoding", "types", "key"}
            | ({"timezone"} if self.config.format == "clevertap" else set[str]())
        )
        return digest(said)[:16]

    def _goes_on(self, begun: Begun | None, found: Found, again: Sequence[str]) -> bool:
        """The rows in front are those that a read would find now, and nobody wants them once more."""
        return (
            begun is not None
            and (begun.version, begun.how) == (found.version, self._how)
            and {*again} <= {*begun.again}
        )

    def _file(self, file: _File, progress: _Progress, state: State | None) -> Iterator[Item]:
        """The rows of a file behind those that came, and what became of it. In the lane "again" without a state."""
        found, held, error, version = file.found, None, None, file.found.version
        yield self._note(file.stream, found, "ingesting", progress)
        with closing(parts(self.place, found, file.kind, self.config, progress.row)) as read:
            try:
                for part in read:
                    if held is not None:
                        yield from self._rows(file, held, progress)
                        yield self._note(file.stream, found, "ingesting", progress)
                        yield Checkpoint(progress.cursor(file, self._how, whole=False), state.marks() if state else ())
                        if self.context.stopping.is_set():
                            return
                    held = part
            except Unreadable as unreadable:
                error = unreadable.message
                version = version if unreadable.lasting else ""
        now = self.place.about(found)
        if now is None or now.version != found.version:
            # Its end is not taken: it may have been cut where somebody was writing.
            error = "it was changed while it was read, so the next run reads it again"
            yield self._note(file.stream, found, "queued", error=error)
            if state is not None:
                state.note([_seen(found, "", progress.begun(file, self._how))])
            yield Checkpoint(_Progress().cursor(file, self._how, whole=True), state.marks() if state else ())
            return
        if held is not None:
            yield from self._rows(file, held, progress)
        if error is not None:
            error = f"behind row {progress.row}: {error}" if progress.row else error
            self.context.note(Note("file_failed", f"{found.path} cannot be read, {error}", "error"))
        yield self._note(file.stream, found, "ingested" if error is None else "failed", progress, error)
        # What may be read another time goes on behind the rows that came.
        begun = None if version else progress.begun(file, self._how)
        if state is not None:
            state.note([_seen(found, version, begun, failed="" if error is None else self._how)])
        done = () if begun else tuple(Mark(one, None, replace=True) for one in file.again)
        yield Checkpoint(progress.cursor(file, self._how, whole=True), (*(state.marks() if state else ()), *done))

    def _rows(self, file: _File, part: Part, progress: _Progress) -> Iterator[Item]:
        if part.rows.num_rows:
            yield self._finished(file.found, part)
        if part.bad:
            yield Refused(self._refused(file, part.bad))
        progress.rows += part.rows.num_rows
        progress.rejected += len(part.bad)
        progress.row = part.upto

    def _finished(self, found: Found, part: Part) -> pa.RecordBatch:
        """The rows with what is known of them beside their values."""
        rows = part.rows.num_rows
        fields: list[pa.Field] = []
        for one in part.rows.schema:
            # Other marks that a file has on a field would be taken for those of Millrace.
            made = columns.measured if columns.is_measured(one) else pa.field
            fields.append(made(columns.own_name(one.name) if one.name != columns.ID else f"src_{one.name}", one.type))
        arrays = list(part.rows.columns)
        if not self.config.key:
            fields.append(columns.ours(columns.ID, pa.string()))
            numbers = pa.array(part.numbers).cast(pa.string())
            arrays.append(pc.binary_join_element_wise(f"{found.path}_", numbers, ""))
        fields.append(columns.ours(columns.SOURCE_MODIFIED_AT, types.TIMESTAMPTZ))
        arrays.append(pa.repeat(pa.scalar(found.modified_us, pa.int64()), rows).view(types.TIMESTAMPTZ))
        return pa.RecordBatch.from_arrays(arrays, schema=pa.schema(fields))

    def _refused(self, file: _File, bad: Sequence[Bad]) -> pa.RecordBatch:
        path = file.found.path
        told = (
            (
                f"row {one.number} of {path}: {one.message}",
                json_text.dumps({"file": path, "row": one.number, "text": one.text}),
            )
            for one in bad
        )
        return refused(file.stream, "UNREADABLE_RECORD", told, self.context.clock.now())

    def _note(
        self,
        stream: str,
        found: Found,
        status: FileStatus,
        progress: _Progress | None = None,
        error: str | None = None,
    ) -> FileNote:
        return FileNote(
            stream=stream,
            path=found.path,
            size_bytes=found.size_bytes,
            modified_ms=found.modified_us // 1000,
            version=found.version,
            status=status,
            at_ms=int(self.context.clock.now().timestamp() * 1000),
            rows=progress.rows if progress else 0,
            rejected=progress.rejected if progress else 0,
            error=error,
        )


def _gone(state: State, every: Sequence[Found], now_us: int) -> list[Found]:
    """Files that were there and are not any more, from now on."""
    listed = {one.path for one in every}
    gone = [one for one in state.files.values() if not one.gone and one.path not in listed]
    state.note(replace(one, gone=True, gone_us=now_us) for one in gone)
    return [Found(one.path, "", one.size_bytes, one.modified_us, one.version) for one in gone]


def _seen(found: Found, version: str, begun: Begun | None = None, failed: str = "") -> Seen:
    return Seen(found.path, version, found.size_bytes, found.modified_us, begun=begun, failed=failed)
