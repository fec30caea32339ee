"""The stage: immutable Arrow files between ingest and load, in a folder or a bucket."""

from __future__ import annotations

import io
import os
import shutil
import tempfile
import uuid
from collections import Counter
from collections.abc import Collection, Generator, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import field
from datetime import UTC, datetime, timedelta
from errno import EDQUOT, ENOSPC
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pyarrow as pa

from millrace.data.batch import PARTIAL, TRUNCATION, Segment
from millrace.data.columns import BEFORE, INGESTED_AT, REJECTS, UNCHANGED
from millrace.data.dataclass import dataclass
from millrace.engine.checksums import agrees, checksum
from millrace.engine.ledger import RejectFile
from millrace.errors import AuthError, ConfigError, EnvironmentProblem, MillraceError, Transient

_OPTIONS = pa.ipc.IpcWriteOptions(compression="lz4")
_SUFFIX = ".arrow"


class Stage:
    """A place for staged files: a folder, or a bucket by URL (`s3://…`, `gs://…`, `az://…`).

    A file that `put` returned from is durable. Paths are relative to the root, with `/`.
    """

    def __init__(self, root: str) -> None:
        self.root = root
        self._store: Any = None
        if "://" in root and not root.startswith("file://"):
            # Imported here: a stage in a folder, the usual one, does without it.
            from obstore.store import from_url

            try:
                self._store = from_url(root)
            except Exception as cause:
                raise ConfigError(f"the stage {root} cannot be used: {cause}", code="stage_url") from cause
            self.folder = Path(tempfile.mkdtemp(prefix="millrace-stage-"))
        else:
            self.folder = Path(root.removeprefix("file://"))
            with _translated(f"the stage folder {self.folder}"):
                self.folder.mkdir(parents=True, exist_ok=True)

    def spool(self) -> Path:
        """A new file name on this machine, for a file that is being written. Garbage until it is put."""
        with _translated(f"the stage folder {self.folder}"):
            (self.folder / "open").mkdir(parents=True, exist_ok=True)
        return self.folder / "open" / f"{uuid.uuid4().hex}{_SUFFIX}"

    def put(self, spooled: Path, path: str) -> tuple[int, str]:
        """The spooled file is durable under ``path``: size in bytes and checksum. The spooled one is gone."""
        with _translated(f"the staged file {path}"):
            with spooled.open("rb") as file:
                found = checksum(file)
                size = os.fstat(file.fileno()).st_size
                if self._store is None:
                    os.fsync(file.fileno())  # I1
            if self._store is not None:
                with _in_bucket(f"the staged file {path}"):
                    self._store.put(path, spooled)
                spooled.unlink()
                return size, found
            final = self.folder / path
            made = _missing_parents(final.parent, self.folder)
            final.parent.mkdir(parents=True, exist_ok=True)
            spooled.replace(final)
            for folder in {final.parent, *made, *(parent.parent for parent in made)}:
                _fsync_folder(folder)
            return size, found

    def read(
        self,
        path: str,
        wanted: str,
        columns: Collection[str] | None = None,
        *,
        verified: set[tuple[str, object]] | None = None,
    ) -> pa.RecordBatchReader:
        """The rows of a staged file with the checksum ``wanted``, of ``columns`` alone if given.

        ``verified``: files whose checksum need not be computed again as long as they are not touched; this one is
        added. Raises EnvironmentProblem when the file is gone or is not what was staged.
        """
        # A file is read batch by batch: a load that mapped it would hold as much of it as it has read.
        try:
            if self._store is not None:
                with _in_bucket(f"the stage {self.root}"):
                    whole = bytes(self._store.get(path).bytes())
                sound = agrees(io.BytesIO(whole), wanted)
                source: Any = pa.BufferReader(whole)
            else:
                with (self.folder / path).open("rb") as file:
                    about = os.fstat(file.fileno())
                    state = (path, (about.st_ino, about.st_size, about.st_mtime_ns))
                    sound = (verified is not None and state in verified) or agrees(file, wanted)
                    if sound and verified is not None:
                        verified.add(state)
                source = pa.OSFile(str(self.folder / path))
        except FileNotFoundError as gone:
            raise EnvironmentProblem(
                f"the staged file {path} is gone",
                hint="Restore it, or read its rows from the source again: `millrace resync`, in append mode with "
                "--mode drop-and-load.",
                path=self.root,
                code="stage_damaged",
            ) from gone
        if not sound:
            raise EnvironmentProblem(
                f"the staged file {path} has changed since it was written (its checksum differs)",
                hint="Nothing of it was loaded. Restore it, or read its rows from the source again: `millrace resync`, "
                "in append mode with --mode drop-and-load.",
                path=self.root,
                code="stage_damaged",
            )
        if columns is None:
            return pa.ipc.open_stream(source)
        schema = pa.ipc.read_schema(source)
        source.seek(0)
        # None at all would mean all of them to Arrow, which then serves to count the rows.
        chosen = [place for place, name in enumerate(schema.names) if name in columns]
        return pa.ipc.open_stream(source, options=pa.ipc.IpcReadOptions(included_fields=chosen))

    def delete(self, path: str) -> None:
        """The file is gone. Nothing happens when there is none."""
        if self._store is not None:
            with suppress(FileNotFoundError), _in_bucket(f"the stage {self.root}"):
                self._store.delete(path)
            return
        (self.folder / path).unlink(missing_ok=True)

    def paths(self, older_than: timedelta) -> Iterator[str]:
        """Files, finished or not, that were last written before that long ago."""
        limit = datetime.now(UTC) - older_than
        if self._store is not None:
            with _in_bucket(f"the stage {self.root}"):
                pages = [list(page) for page in self._store.list()]
            listed = (found for page in pages for found in page if found["path"].endswith(_SUFFIX))
            yield from (found["path"] for found in listed if found["last_modified"] < limit)
            return
        for found in self.folder.rglob(f"*{_SUFFIX}"):
            with suppress(FileNotFoundError):
                if datetime.fromtimestamp(found.stat().st_mtime, UTC) < limit:
                    yield found.relative_to(self.folder).as_posix()

    def close(self) -> None:
        """The spool of a bucket's stage is gone from this machine."""
        if self._store is not None:
            shutil.rmtree(self.folder, ignore_errors=True)


@dataclass(slots=True)
class OpenFile:
    """A file that is being written. Garbage until it was put."""

    stage: Stage
    spooled: Path
    writer: Any
    sink: Any
    rows: int = 0
    version: int | None = None
    front: str = ""

    @classmethod
    def begun(cls, stage: Stage, schema: pa.Schema) -> OpenFile:
        with _translated(f"the stage {stage.root}"):
            spooled = stage.spool()
            sink = pa.OSFile(str(spooled), "wb")
            return cls(stage, spooled, pa.ipc.new_stream(sink, schema, options=_OPTIONS), sink)

    def write(self, rows: pa.RecordBatch) -> None:
        with _translated(f"the stage {self.stage.root}"):
            self.writer.write_batch(rows)
        self.rows += rows.num_rows

    def put(self, folder: str, front: str = "") -> tuple[str, int, str]:
        """The file is durable in ``folder``, its name with ``front``: its path, size in bytes and checksum."""
        with _translated(f"the stage {self.stage.root}"):
            self.writer.close()
            self.sink.close()
            path = f"{folder}/{front}{self.spooled.name}"
            return (path, *self.stage.put(self.spooled, path))

    def discard(self) -> None:
        """The file is gone."""
        with suppress(OSError, pa.ArrowException):
            self.writer.close()
        with suppress(OSError, pa.ArrowException):
            self.sink.close()
        self.spooled.unlink(missing_ok=True)


class OpenRejects:
    """A file of rejected rows (schema `columns.REJECTS`) that is being written, and its counts."""

    def __init__(self, stage: Stage) -> None:
        self._file = OpenFile.begun(stage, REJECTS)
        self._counts: Counter[tuple[str, str, str]] = Counter()
        self._samples: dict[tuple[str, str, str], str] = {}

    def write(self, rows: pa.RecordBatch) -> None:
        self._file.write(rows)
        found = pa.Table.from_batches([rows]).group_by(["stream", "stage", "code"], use_threads=False)
        groups = found.aggregate([("message", "first"), ("message", "count")]).to_pydict()
        keys = zip(groups["stream"], groups["stage"], groups["code"], strict=True)
        for key, count, message in zip(keys, groups["message_count"], groups["message_first"], strict=True):
            self._counts[key] += count
            self._samples.setdefault(key, message)

    def put(self, feed: str) -> RejectFile:
        """The file is durable."""
        path, size, checksum = self._file.put(f"{feed}/rejects/{_today()}")
        return RejectFile(path, checksum, size, dict(self._counts), self._samples)

    def discard(self) -> None:
        """The file is gone."""
        self._file.discard()


@dataclass(slots=True)
class Draft:
    """The files that one ingest is writing: one for each table and schema, and one for rejects.

    What is in a draft is garbage until `close` made it durable and a ledger committed it (I1). Rows are not kept in
    memory, however many there are. With ``ordered`` the rows of a table stay in the order in which they came, also
    where their schema changes back and forth.
    """

    stage: Stage
    feed: str
    flush_rows: int = 250_000
    flush_bytes: int = 32 << 20
    rows: int = 0
    size_bytes: int = 0
    rejected: int = 0
    ordered: bool = False
    _open: dict[tuple[str, str, pa.Schema], OpenFile] = field(
        default_factory=dict[tuple[str, str, pa.Schema], OpenFile]
    )
    _behind: list[tuple[str, str, OpenFile]] = field(default_factory=list[tuple[str, str, OpenFile]])
    """Files that get no more rows, because rows of another schema came for their table."""
    _rejects: OpenRejects | None = None
    _staying: OpenRejects | None = None

    def add(self, stream: str, table: str, rows: pa.RecordBatch, version: int | None = None) -> None:
        """``rows`` are in the open file of their table and schema; a new schema opens another file.

        ``version``: that of the mapping which gave the rows their shape.
        """
        if not rows.num_rows:
            return
        key = (stream, table, rows.schema)
        if (file := self._open.get(key)) is None:
            if self.ordered:
                self._end(table)
            file = self._open[key] = OpenFile.begun(self.stage, rows.schema)
            file.front = PARTIAL if UNCHANGED in rows.schema.names else ""
        file.write(rows)
        file.version = version
        self.rows += rows.num_rows
        self.size_bytes += rows.nbytes

    def truncate(
        self, stream: str, table: str, ingested_at_ms: int, version: int, *, before_ms: int | None = None
    ) -> None:
        """Behind what came so far for the table stands that its rows are deleted, or those ingested ``before_ms``."""
        self._end(table)
        times = {INGESTED_AT: ingested_at_ms, BEFORE: before_ms}
        at = pa.RecordBatch.from_pydict({name: pa.array([time], pa.int64()) for name, time in times.items()})
        file = OpenFile.begun(self.stage, at.schema)
        file.front = TRUNCATION
        file.write(at)
        file.version = version
        self._behind.append((stream, table, file))
        self.rows += 1

    def _end(self, table: str) -> None:
        for key in [key for key in self._open if key[1] == table]:
            self._behind.append((key[0], table, self._open.pop(key)))

    def reject(self, rows: pa.RecordBatch) -> None:
        """``rows`` (schema `columns.REJECTS`) are in the open file of rejects."""
        if not rows.num_rows:
            return
        if self._rejects is None:
            self._rejects = OpenRejects(self.stage)
        self._rejects.write(rows)
        self.rejected += rows.num_rows
        self.size_bytes += rows.nbytes

    def stay(self, rows: pa.RecordBatch) -> None:
        """``rows`` (schema `columns.REJECTS`), which are rejects already, are in an open file of their own."""
        if self._staying is None:
            self._staying = OpenRejects(self.stage)
        self._staying.write(rows)

    @property
    def full(self) -> bool:
        return self.rows + self.rejected >= self.flush_rows or self.size_bytes >= self.flush_bytes

    def close_staying(self) -> list[RejectFile]:
        """The file of the rows that stay rejects is durable; there is none without such rows."""
        staying = [self._staying.put(self.feed)] if self._staying is not None else []
        self._staying = None
        return staying

    def close(self) -> tuple[list[Segment], list[RejectFile]]:
        """All files are durable, in the order in which they were opened; the draft is empty again."""
        segments: list[Segment] = []
        day = _today()
        files = [*self._behind, *((stream, table, file) for (stream, table, _), file in self._open.items())]
        for stream, table, file in files:
            path, size, checksum = file.put(f"{self.feed}/{quote(table, safe='')}/{day}", file.front)
            segments.append(Segment(stream, table, path, file.rows, size, checksum, mapping_version=file.version))
        rejects = [self._rejects.put(self.feed)] if self._rejects is not None else []
        self._empty()
        return segments, rejects

    def discard(self) -> None:
        """Files that are being written are gone."""
        for file in (*self._open.values(), *(file for _, _, file in self._behind)):
            file.discard()
        for rejects in (self._rejects, self._staying):
            if rejects is not None:
                rejects.discard()
        self._staying = None
        self._empty()

    def _empty(self) -> None:
        self._open.clear()
        self._behind.clear()
        self._rejects = None
        self.rows = self.size_bytes = self.rejected = 0


def stage_rejects(stage: Stage, feed: str, batches: Iterable[pa.RecordBatch]) -> RejectFile:
    """A durable file of rejected rows (schema `columns.REJECTS`) with its counts."""
    file = OpenRejects(stage)
    try:
        for batch in batches:
            file.write(batch)
        return file.put(feed)
    except BaseException:
        file.discard()
        raise


def _today() -> str:
    return datetime.now(UTC).strftime("%Y/%m/%d")


def _missing_parents(folder: Path, root: Path) -> list[Path]:
    made: list[Path] = []
    while folder != root and not folder.exists():
        made.append(folder)
        folder = folder.parent
    return made


def _fsync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def _translated(what: str) -> Generator[None]:
    """Errors of the file system, in words."""
    try:
        yield
    except OSError as cause:
        if cause.errno in (ENOSPC, EDQUOT):
            raise EnvironmentProblem(
                f"no space is left for {what}",
                hint="Free some space or move the stage (MILLRACE_STAGE); what was committed is safe.",
                code="disk_full",
            ) from cause
        raise EnvironmentProblem(
            f"{what} cannot be written: {cause.strerror or cause}",
            hint="Check that the folder exists and belongs to the user who runs Millrace.",
            code="stage_unwritable",
        ) from cause


@contextmanager
def _in_bucket(what: str) -> Generator[None]:
    """Errors of a bucket, in words; that an object is not there is left to the caller."""
    try:
        yield
    except Exception as cause:
        if isinstance(cause, FileNotFoundError) and "NoSuchBucket" not in str(cause):
            raise
        raise _of_bucket(what, cause) from cause


def _of_bucket(what: str, cause: Exception) -> MillraceError:
    """An error of a bucket, in words: who may not, what is not there, or a matter of time."""
    said = (str(cause).splitlines() or [""])[0]
    if type(cause).__name__ in ("UnauthenticatedError", "PermissionDeniedError"):
        hint = "Check the credentials in the environment; they need the rights to list, get, put and delete."
        return AuthError(f"{what} may not be used: {said}", hint=hint)
    if isinstance(cause, FileNotFoundError):
        return ConfigError(f"{what}: there is no such bucket", hint="Make it, or correct its name.", code="stage_url")
    return Transient(f"{what} cannot be reached: {said}")
