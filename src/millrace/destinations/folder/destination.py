"""A folder of files, local or in a bucket: every load adds Parquet, JSON lines or CSV files.

Source: https://developmentseed.org/obstore/latest/ for buckets, https://www.rfc-editor.org/rfc/rfc4180 for CSV.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable, Collection, Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from pydantic import Field, field_validator

from millrace.connect.config import DestinationConfig
from millrace.connect.destination import (
    Change,
    Column,
    Held,
    Limits,
    Load,
    Loaded,
    Meta,
    Strategy,
    Table,
    Unloadable,
)
from millrace.connect.destination import (
    Destination as Contract,
)
from millrace.connect.files import formats, layout
from millrace.connect.files.bucket import BucketSettings, opened
from millrace.connect.files.formats import Compression, Format
from millrace.connect.files.store import full
from millrace.connect.source import Context, Verdict
from millrace.connect.sql import counting, finding
from millrace.connect.sql.destination import One
from millrace.connect.sql.duckdb import DUCKDB, readable
from millrace.connect.sql.incoming import Incoming, stamped
from millrace.connect.sql.statements import Found, columns
from millrace.data import types
from millrace.destinations.folder.catalog import ROOT, Catalog, LoadNote, State, fresh_id
from millrace.errors import ConfigError, EnvironmentProblem, MillraceError, SchemaError, Stale

if TYPE_CHECKING:
    from millrace.connect.local_days import LocalDays

FILE_ROWS = 1_000_000
FILE_BYTES = 128 * 1024 * 1024
# Integers up to here are equal to a DOUBLE.
_EXACT = 2**53


class Config(DestinationConfig, BucketSettings):
    path: str = Field(min_length=1, description="A local folder, or the URL of a bucket: s3://, gs://, az://.")
    format: Format = Field("parquet", description="Format of the files.")
    compression: Compression | None = Field(
        None, description="Compression: snappy, zstd or none for parquet; gzip or none for jsonl and csv."
    )
    partition: str = Field(
        layout.DEFAULT,
        description="Folders of a load's files. Parameters: "
        + ", ".join(f"${{{name}}}" for name in layout.PARAMETERS)
        + "; times are UTC.",
    )

    @field_validator("partition")
    @classmethod
    def _partition(cls, template: str) -> str:
        try:
            return layout.checked(template)
        except ConfigError as error:
            raise ValueError(f"{error.message} {error.hint}") from error


class Destination(Contract[Config]):
    """Tables that only grow. Which files belong to a table is noted beside them (`catalog`); other files do not."""

    Config = Config
    title = "Folder"
    limits = Limits(
        modes=("append",), nesting=("NATIVE", "COLLAPSE", "SPLIT", "FLAT", "NATURAL", "COLLAPSE_EXCEPT_ARRAYS")
    )

    def __init__(self, config: Config, context: Context | None = None) -> None:
        super().__init__(config, context)
        self._compression: Compression = formats.compression(config.format, config.compression)
        self._catalog: Catalog | None = None

    @classmethod
    def strategies(cls, config: Config) -> tuple[Strategy, ...]:
        """Lines of JSON keep what is nested in them; in other files it is text, unless asked otherwise."""
        nesting = cls.limits.nesting
        return nesting if config.format == "jsonl" else ("COLLAPSE", *(one for one in nesting if one != "COLLAPSE"))

    @property
    def catalog(self) -> Catalog:
        if self._catalog is None:
            self._catalog = Catalog(opened(self.config.path, self.config, self.context.reach))
        return self._catalog

    def ready(self) -> None:
        """An object can be made and deleted."""
        key = f"{ROOT}/ready-{fresh_id()}"
        self.catalog.store.create(key, b"")
        self.catalog.store.delete([key])

    def close(self) -> None:
        self._catalog = None

    # Shape.

    def schema(self, table: str) -> dict[str, pa.DataType] | None:
        state = self.catalog.state(table)
        return _types(state) if state.id else None

    def ensure(self, table: Table) -> list[Change]:
        if table.mode not in self.limits.modes:
            raise ConfigError(
                f"{self.title} only appends; {table.name!r} is to be loaded in the mode {table.mode}.",
                hint="Set load_mode: append, or choose a destination that is a database.",
                code="mode",
            )
        table = _whole(table)
        while True:
            state = self.catalog.state(table.name)
            if state.old:
                self.catalog.bury(table.name)
                continue
            following, changes = _evolved(state, table, self._exact_as_double)
            if not changes or self.catalog.change(following):
                return changes

    def _exact_as_double(self, table: str, column: str) -> bool:
        """Whether every integer in the files of a column is equal to some DOUBLE (I6)."""
        name = DUCKDB.quoted(column)
        query = f"SELECT count(*) FROM {DUCKDB.quoted(table)} WHERE {name} > {_EXACT} OR {name} < -{_EXACT}"
        return self.query(query).column(0)[0].as_py() == 0

    # Loading.

    def load(self, table: Table, load: Load) -> Loaded:
        table = _whole(table)
        state = self.catalog.state(table.name)
        if state.id is None:
            raise SchemaError(
                f"The table {table.name!r} is gone from the folder.",
                hint="Run the load again; it makes the table anew.",
                code="TABLE_MISSING",
            )
        last = self.catalog.last(state.id, load.feed)
        before = last.upto if last else None
        holds = before or 0
        if holds != load.after:
            raise Stale(f"{table.name} holds segment {holds} of {load.feed}, not {load.after}")  # I4
        found = {name: Found(name, types.name(type_), type_) for name, type_ in _types(state).items()}
        incoming = Incoming(table, load, found)
        # Pipelines of one name, and generations, share a folder: the name of a file tells their feeds apart.
        attempt = f"{load.after + 1}-{load.upto}-{_digest(load.feed)}{fresh_id()[:8]}"
        pipeline = load.pipeline or load.feed.rpartition("/")[0] or load.feed
        name = load.becomes or table.name
        job = layout.Job(pipeline, name, _digest(f"{load.feed}:{load.after}:{load.at_ms}"), load.at_ms)
        folder = layout.folder(self.config.partition, job)
        if folder.split("/")[0] == ROOT:
            folder = f"_{folder}"  # a pipeline or a table of that name; rows never lie among the notes
        stem = f"{folder}/{layout.safe(name)}-{attempt}-"
        # Where loads share a folder, each has a marker of its own.
        marker = f"{folder}/_SUCCESS" + ("" if "${JOB_ID}" in self.config.partition else f"-{attempt}")
        self.catalog.intend(state.id, load.feed, load.after, attempt, stem)
        written = {column.name: types.name(found[column.name].type or types.VARCHAR) for column in columns(table)}
        try:
            files = self._write(table, load, incoming, stem)
            note = LoadNote(
                load.feed,
                load.after,
                load.upto,
                load.at_ms,
                incoming.count - incoming.empty,
                tuple(files),
                written,
                attempt,
                marker if files else "",
                load.staged_file,
            )
            if not self.catalog.note(state.id, note):
                raise Stale(f"{table.name} took segments after {load.after} of {load.feed} from another worker")
        except BaseException as error:
            self.catalog.discard(stem)
            if isinstance(error, EnvironmentProblem) and self.held(load.feed, table.name) != before:
                # The other worker that went on from here has tidied our files away.
                raise Stale(
                    f"{table.name} took segments after {load.after} of {load.feed} from another worker"
                ) from error
            raise
        self.catalog.mark(note)
        self.catalog.tidy(state.id, load.feed, load.upto)
        return Loaded(
            load.rows.count,
            inserted=incoming.count - incoming.empty,
            refused=len(load.refused),
            empty=incoming.empty,
        )

    def _write(self, table: Table, load: Load, incoming: Incoming, stem: str) -> list[str]:
        """Keys of the files that hold the rows."""
        names = [column.name for column in table.columns]
        reader = stamped(table, load, incoming.reader(names, gone=True))
        logical = [incoming.found[field.name].type or field.type for field in reader.schema]
        schema = pa.schema([pa.field(field.name, type_) for field, type_ in zip(reader.schema, logical, strict=True)])
        files: list[str] = []
        with tempfile.TemporaryDirectory(prefix="millrace-") as place, _room(place):
            path, current, count = Path(place) / "file", None, 0
            try:
                for batch in reader:
                    if not batch.num_rows:
                        continue
                    if current is None:
                        current, count = formats.writer(self.config.format, self._compression, path, schema), 0
                    current.write(_logical(batch, schema))
                    count += batch.num_rows
                    if count >= FILE_ROWS or current.size >= FILE_BYTES:
                        current.close()
                        current = None
                        files.append(self._place(path, stem, len(files)))
                if current is not None:
                    current.close()
                    files.append(self._place(path, stem, len(files)))
            except BaseException:
                if current is not None:
                    with suppress(OSError):
                        current.close()
                raise
            if incoming.refusals:
                raise Unloadable(incoming.refusals)
        return files

    def _place(self, path: Path, stem: str, number: int) -> str:
        key = f"{stem}{number}{formats.suffix(self.config.format, self._compression)}"
        self.catalog.store.upload(key, path)
        return key

    # What is held.

    def holding(self, feed: str, table: str) -> Held | None:
        state = self.catalog.state(table)
        last = self.catalog.last(state.id, feed) if state.id else None
        return Held(last.upto, last.staged_file) if last else None

    def feeds(self, table: str) -> Collection[str]:
        state = self.catalog.state(table)
        return {note.feed for note in self.catalog.notes(state.id)} if state.id else ()

    def forget(self, feed: str, table: str) -> None:
        state = self.catalog.state(table)
        if state.id:
            self.catalog.forget(state.id, feed)

    def swap(self, fresh: str, table: str) -> None:
        """One new object makes the table point to the fresh one's files; the old ones are deleted afterwards."""
        while True:
            new, old = self.catalog.state(fresh), self.catalog.state(table)
            if new.id is None:
                raise SchemaError(f"There is no table {fresh!r} to take the place of {table!r}.", code="TABLE_MISSING")
            gone = (*old.old, old.id) if old.id and old.id != new.id else old.old
            if old.id == new.id or self.catalog.change(replace(old, id=new.id, columns=new.columns, old=gone)):
                break
        self._let_go(fresh, bury=False)
        self.catalog.bury(table)

    def drop(self, table: str) -> None:
        self._let_go(table, bury=True)
        self.catalog.bury(table)

    def _let_go(self, table: str, *, bury: bool) -> None:
        while (state := self.catalog.state(table)).id:
            old = (*state.old, state.id) if bury else state.old
            if self.catalog.change(replace(state, id=None, columns={}, old=old)):
                return

    # Reading.

    def query(self, sql: str, *, limit: int | None = None) -> pa.Table:
        import duckdb

        with tempfile.TemporaryDirectory(prefix="millrace-") as place, duckdb.connect() as connection:
            connection.execute("SET TimeZone = 'UTC'")
            for name in self.catalog.names():
                connection.execute(self._view(name, Path(place)))
            try:
                statements = connection.extract_statements(sql)
                if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
                    raise ConfigError("A query of a folder is one SELECT.", code="sql")
                if self.context.confined:
                    # Nobody can take that back on this connection.
                    connection.execute("SET allowed_directories = $1", [[str(self.catalog.store.folder or place)]])
                    connection.execute("SET enable_external_access = false")
                found = readable(connection.sql(statements[0].query))
                return (found if limit is None else found.limit(limit)).to_arrow_table()
            except duckdb.Error as error:
                raise ConfigError(f"The query cannot be answered: {error}", code="sql") from error

    def _view(self, name: str, place: Path) -> str:
        """A view over the files of a table; those with the same columns are read together."""
        state = self.catalog.state(name)
        assert state.id is not None
        now = _types(state)
        groups: dict[str, tuple[dict[str, str], dict[str, None]]] = {}
        for note in self.catalog.notes(state.id):
            _, files = groups.setdefault(repr(note.columns), (note.columns, {}))
            files.update(dict.fromkeys(note.files))
        parts = [
            f"SELECT {self._values(now, {c: types.parse(t) for c, t in names.items()})} FROM "
            + formats.reading(
                self.config.format,
                [self._local(file, place) for file in files],
                {c: types.parse(t) for c, t in names.items()},
            )
            for names, files in groups.values()
            if files
        ]
        nothing = ", ".join(f"CAST(NULL AS {DUCKDB.sql(t)}) AS {DUCKDB.quoted(c)}" for c, t in now.items())
        parts.append(f"SELECT {nothing} WHERE FALSE")
        return f"CREATE VIEW {DUCKDB.quoted(name)} AS " + " UNION ALL ".join(parts)

    def _values(self, now: dict[str, pa.DataType], written: dict[str, pa.DataType]) -> str:
        return ", ".join(
            (
                formats.value(self.config.format, name, written[name], type_)
                if name in written
                else f"CAST(NULL AS {DUCKDB.sql(type_)})"
            )
            + f" AS {DUCKDB.quoted(name)}"
            for name, type_ in now.items()
        )

    def _local(self, key: str, place: Path) -> str:
        """A path at which DuckDB finds the file; those of a bucket are fetched."""
        if self.catalog.store.folder is not None:
            return str(self.catalog.store.folder / key)
        path = place / hashlib.sha256(key.encode()).hexdigest()
        path = path.with_name(path.name + formats.suffix(self.config.format, self._compression))
        content = self.catalog.store.read(key)
        if content is None:
            raise EnvironmentProblem(f"The file {key} is gone from {self.config.path}.", code="file_missing")
        path.write_bytes(content)
        return str(path)

    def having(self, table: str, values: Mapping[str, str], *, limit: int) -> pa.Table | None:
        where = finding.condition(DUCKDB, self.schema(table) or {}, values)
        return None if where is None else self.query(f"SELECT * FROM {DUCKDB.quoted(table)} WHERE {where}", limit=limit)

    def tally(
        self, table: str, name: str, at: str, days: LocalDays, only: Mapping[str, bool]
    ) -> Sequence[tuple[str, str, int]]:
        found = self.query(
            counting.tally(DUCKDB, DUCKDB.quoted(table), name, at, days, only, text="CAST({c} AS VARCHAR)")
        )
        return [(str(row["n"]), str(row["d"]), int(row["c"])) for row in found.to_pylist()]

    def sizes(
        self, table: str, key: str, ranges: Sequence[tuple[int | None, int | None]], only: Mapping[str, bool]
    ) -> tuple[int | None, list[int]]:
        sql = counting.statement(DUCKDB.quoted, DUCKDB.quoted(table), key, ranges, only)
        highest, *found = self.query(sql).to_pylist()[0].values()
        return (int(highest) if highest is not None else None), [int(rows) for rows in found]

    # The test of the connection.

    def check(self) -> list[Verdict]:
        scratch = f"__hevo_test_{fresh_id()}"
        meta = Meta(ingested_at="at", sequence="__he__msg_seq_id", op_type="op")
        table = Table(scratch, (Column("id", types.LONG), Column("at", types.LONG)), meta, mode="append")
        steps: list[tuple[str, str, Any]] = [
            ("connect", "The folder can be listed.", lambda: self.catalog.store.keys("_millrace/tables/")),
            ("create", "Files can be written.", lambda: self.ensure(table)),
            ("load", "Rows can be loaded.", lambda: self.load(table, Load("check/1", 0, 1, 0, One(table)))),
            ("read", "Files can be read.", lambda: self.query(f"SELECT * FROM {DUCKDB.quoted(scratch)}")),
            ("drop", "Files can be deleted.", lambda: self.drop(scratch)),
        ]
        verdicts: list[Verdict] = []
        for step, message, run in steps:
            try:
                run()
            except MillraceError as error:
                verdicts.append(Verdict(step, "fail", error.message, error.hint))
                break
            verdicts.append(Verdict(step, "pass", message))
        return verdicts


def _types(state: State) -> dict[str, pa.DataType]:
    return {name: types.parse(type_) for name, type_ in state.columns.items()}


def _whole(table: Table) -> Table:
    """The table with the metadata columns that all files have, whatever the stream reports (destinations.md 15.3)."""
    start = table.meta.ingested_at.removesuffix("ingested_at")
    deleted = table.meta.marked_deleted or f"{start}marked_deleted"
    modified = table.meta.source_modified_at or f"{start}source_modified_at"
    meta = replace(table.meta, marked_deleted=deleted, source_modified_at=modified)
    if any(column.name == modified for column in table.columns):
        return replace(table, meta=meta)
    return replace(table, meta=meta, columns=(*table.columns, Column(modified, types.TIMESTAMPTZ)))


def _evolved(state: State, table: Table, exact_as_double: Callable[[str, str], bool]) -> tuple[State, list[Change]]:
    """The table with every column that it shall have, in types that hold old and new values."""
    if state.id is None:
        state = replace(state, id=fresh_id(), columns={})
        made = {column.name: types.name(column.type) for column in columns(table)}
        return replace(state, columns=made), [Change("create", table.name, None, f"new table {table.name}")]
    now, changes = _types(state), list[Change]()
    for column in columns(table):
        have = now.get(column.name)
        wider = column.type if have is None else types.widen(have, column.type)
        # The mapping asks for it only while every value that it saw is exact in both; the files may hold others.
        if have == types.LONG and column.type == types.DOUBLE and exact_as_double(table.name, column.name):
            wider = types.DOUBLE
        if wider != have:
            kind = "add" if have is None else "widen"
            changes.append(Change(kind, table.name, column.name, f"{column.name} {types.name(wider)}"))
            now[column.name] = wider
    return replace(state, columns={name: types.name(type_) for name, type_ in now.items()}), changes


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _logical(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    """The batch with its storage types read as the logical ones again."""
    values = [
        pa.ExtensionArray.from_storage(field.type, array) if isinstance(field.type, types.TextType) else array
        for array, field in zip(batch.columns, schema, strict=True)
    ]
    return pa.RecordBatch.from_arrays(values, schema=schema)


@contextmanager
def _room(place: str) -> Generator[None]:
    """A full disk under the temporary files is told as such."""
    try:
        yield
    except OSError as error:
        if not full(str(error)):
            raise
        raise EnvironmentProblem(
            f"The disk under {place} is full; nothing of this load was kept.",
            hint="Free some space, or set TMPDIR to a larger disk, and run again.",
            code="DISK_FULL",
        ) from error
