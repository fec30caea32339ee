"""Where a row went: as it was read, staged and loaded, or why not, from what the stage and the books still know."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from millrace.connect.source import Clock
from millrace.control.books.commits import current_tables, latest_mappings
from millrace.control.database.tables import raw_files, reject_files, reject_groups, segments, transformations
from millrace.control.database.tables import runs as run_rows
from millrace.control.mapper import fields, fittings
from millrace.control.observing.sightings import PLACES, Closed, Failed, Gone, Held, Read, Staged, Trace
from millrace.control.running import crews
from millrace.data import json_text, types
from millrace.data.compute import pc
from millrace.data.dataclass import dataclass
from millrace.data.exact import of_type
from millrace.data.foreign import entered
from millrace.data.rows import to_json
from millrace.engine.finding import holds, matching, word
from millrace.engine.mapping import Mapping as Shape
from millrace.errors import ConfigError, EnvironmentProblem, MillraceError

if TYPE_CHECKING:
    import pyarrow as pa

    from millrace.control.home import Home
    from millrace.control.running.crews import Crew
    from millrace.data.columns import Prefix
    from millrace.engine.stage import Stage

# More sightings of each kind than this are not shown; the oldest are left out.
MOST = 50


def trace(home: Home, pipeline: str, key: str, *, only: str | None = None, clock: Clock | None = None) -> Trace:
    """Where the row went whose key this is: a value, or ``field=value`` of any fields, several with commas between.

    Nothing is put on record and nobody waits for it. Files are read as far as the stage still has them, their
    checksums verified. Raises ConfigError for an object that is not there, a value without a field where the key has
    several, or a field that nobody ever saw.
    """
    home.actor.must("view")
    with crews.visit(home, pipeline, clock=clock) as ours:
        sought = _sought(ours, key, only)
        stage = ours.stage()
        held, unasked = _held(ours, sought)
        search = _Search(stage, unasked)
        read = _last(_read(ours, search, sought))
        staged = _last(_staged(ours, search, sought))
        failed = _last(_failed(ours, search, sought))
        if not (read or staged or failed or held):
            # Only now: rows may have fields that no mapping and no sample shows.
            names = dict.fromkeys(name for one in sought for name in one.pairs)
            fields.check(home, ours.books.feed, names, {one.stream: one.mapping for one in sought})
        gone = tuple(_gone(ours, sought, only))
        return Trace(
            pipeline=ours.pipeline.name,
            sought=key,
            verdict=_verdict(ours, read, staged, failed, held, gone, unasked),
            read=read,
            staged=staged,
            failed=failed,
            held=held,
            gone=gone,
            unasked=unasked,
        )


@dataclass(frozen=True, slots=True)
class _Sought:
    """What is looked for in one event type. ``mapping`` None: it has no table yet."""

    stream: str
    pairs: Mapping[str, str]
    mapping: Shape | None
    prefix: Prefix

    @property
    def fields(self) -> dict[tuple[str, ...], str]:
        """By the names of the source."""
        return {(name,): value for name, value in self.pairs.items()}

    @property
    def columns(self) -> dict[tuple[str, ...], str]:
        """By the names of the columns, now and formerly."""
        found: dict[tuple[str, ...], str] = {}
        for name, value in self.pairs.items():
            column = self.mapping.of(name) if self.mapping else None
            found[(column.name, *reversed(column.formerly)) if column else (self.prefix.outside(name), name)] = value
        return found


def _sought(ours: Crew, key: str, only: str | None) -> list[_Sought]:
    """For every event type of the pipeline what is looked for there."""
    prefix = fittings.naming_of(ours.home, ours.pipeline).prefix
    with ours.home.database.reading() as connection:
        known = {
            name: Shape.from_json(row.mapping) for name, row in latest_mappings(connection, ours.books.feed).items()
        }
        others = set(_streams(connection, ours.books.feed)) - known.keys()
    named = {name.lower(): name for name in [*known, *others]}
    if only is not None and only.lower() not in named:
        raise ConfigError(
            f"pipeline {ours.pipeline.name} has seen no object {only!r}",
            hint=f"Objects: {', '.join(sorted(named.values())) or 'none yet'}.",
            code="unknown_object",
        )
    streams = [named[only.lower()]] if only is not None else sorted(named.values())
    found: list[_Sought] = []
    for stream in streams:
        mapping = known.get(stream)
        if (pairs := _pairs(key, mapping)) is not None:
            found.append(_Sought(stream, pairs, mapping, prefix))
    if streams and not found:
        raise ConfigError(
            f"{key!r} is no key: no object here has a key of one field",
            hint="Say which field: `millrace trace PIPELINE id=17`, with commas between several.",
            code="usage",
        )
    return found


def _pairs(key: str, mapping: Shape | None) -> dict[str, str] | None:
    """Fields and values; None where the key does not say which field is meant."""
    if "=" in key:
        parts = key.split(",")
        if not all("=" in part for part in parts):
            parts = [key]  # a comma within the value
        pairs = [part.split("=", 1) for part in parts]
        return {name.strip(): value for name, value in pairs}
    if mapping is None or len(mapping.key) != 1:
        return None
    return {mapping.key[0]: key}


def _streams(connection: sa.Connection, pipeline: str) -> Iterator[str]:
    """Event types of which rows were kept or refused."""
    groups, files, raw = reject_groups.c, reject_files.c, raw_files.c
    query = sa.select(groups.stream).join(reject_files, files.id == groups.file_id).where(files.pipeline_id == pipeline)
    yield from connection.execute(query.distinct()).scalars()
    yield from connection.execute(sa.select(raw.stream).where(raw.pipeline_id == pipeline).distinct()).scalars()


def _read(ours: Crew, search: _Search, sought: Sequence[_Sought]) -> Iterator[Read]:
    f = raw_files.c
    for one in sought:
        query = sa.select(raw_files).where(f.pipeline_id == ours.books.feed, f.stream == one.stream, f.kept.is_(True))
        for file in _rows(ours, query.order_by(f.id)):
            for number, row in search.found(file.path, file.checksum, one.fields):
                yield Read(one.stream, file.run_id, file.created_at, file.path, number, row)


def _staged(ours: Crew, search: _Search, sought: Sequence[_Sought]) -> Iterator[Staged]:
    s = segments.c
    with ours.home.database.reading() as connection:
        generations = {name: row.generation for name, row in current_tables(connection, ours.books.feed).items()}
    for one in sought:
        query = sa.select(segments).where(
            s.pipeline_id == ours.books.feed, s.stream == one.stream, s.state != "dropped"
        )
        for file in _rows(ours, query.order_by(s.staged_at, s.number)):
            for number, row in search.found(file.path, file.checksum, one.columns):
                yield Staged(
                    stream=one.stream,
                    table=file.table_name,
                    generation=file.generation,
                    segment=file.number,
                    run=file.run_id,
                    at=file.staged_at,
                    path=file.path,
                    number=number,
                    mapping=file.mapping_version,
                    transformation=file.transformation,
                    loaded_at=file.loaded_at,
                    superseded=file.generation < generations.get(file.table_name, 0),
                    row=row,
                )


def _failed(ours: Crew, search: _Search, sought: Sequence[_Sought]) -> Iterator[Failed]:
    """Rejects, open and closed, as far as their files are there."""
    g, files = reject_groups.c, reject_files.c
    wanted = {one.stream: one for one in sought}
    query = (
        sa.select(reject_groups, files.path, files.checksum, files.run_id, files.created_at)
        .join(reject_files, files.id == g.file_id)
        .where(files.pipeline_id == ours.books.feed, files.kept.is_(True), files.counted.is_(True))
        .order_by(files.id)
    )
    by_file: dict[int, list[Any]] = {}
    for row in _rows(ours, query):
        by_file.setdefault(row.file_id, []).append(row)
    for rows in by_file.values():
        groups = {(row.stream, row.stage, row.code): row for row in rows if row.stream in wanted}
        if not groups:
            continue
        values = {value for one in sought for value in one.pairs.values()}
        for first, batch in search.batches(rows[0].path, rows[0].checksum):
            for number in _likely(batch, values):
                row = {name: batch[name][number].as_py() for name in batch.schema.names}
                group = groups.get((row["stream"], row["stage"], row["code"]))
                if group is None or not _is_it(row, wanted[row["stream"]]):
                    continue
                yield Failed(
                    stream=row["stream"],
                    stage=row["stage"],
                    code=row["code"],
                    message=row["message"],
                    state=group.state,
                    run=group.run_id,
                    at=group.created_at,
                    file=group.file_id,
                    path=group.path,
                    number=first + number,
                    mapping=group.mapping_version,
                    transformation=group.transformation,
                    closed_at=group.closed_at,
                    row=row["row"],
                )


def _likely(batch: pa.RecordBatch, values: Iterable[str]) -> list[int]:
    """Rows in whose text one of the values stands, so that few of many need to be read as JSON."""
    mask: pa.Array | None = None
    for name in ("row", "origin"):
        if name not in batch.schema.names:
            continue
        for value in values:
            # Within JSON text a quote, a backslash and what is not plain may be written otherwise.
            plain = word(value) if value[:1] in "{[" else max(_plain_parts(value), key=len)
            found = pc.fill_null(pc.match_substring(batch[name], plain), False)
            mask = found if mask is None else pc.or_(mask, found)
        # A sender may write any letter as an escape.
        escaped = pc.fill_null(pc.match_substring(batch[name], "\\u"), False)
        mask = escaped if mask is None else pc.or_(mask, escaped)
    return [] if mask is None else pc.indices_nonzero(mask).to_pylist()


def _plain_parts(value: str) -> list[str]:
    plain = "".join(char if char.isascii() and (char.isalnum() or char in " ._-") else "\n" for char in value)
    return plain.split("\n")


def _is_it(row: Mapping[str, Any], sought: _Sought) -> bool:
    for name, wanted in (
        ("row", sought.columns if row["stage"] == "load" else sought.fields),
        ("origin", sought.fields),
    ):
        text = row.get(name)
        if text is None:
            continue
        try:
            if holds(json_text.loads(text), wanted):
                return True
        except (ValueError, RecursionError):
            continue
    return False


def _held(ours: Crew, sought: Sequence[_Sought]) -> tuple[tuple[Held, ...], dict[str, str]]:
    """Rows at the destination, and tables that it could not be asked about."""
    found: list[Held] = []
    unasked: dict[str, str] = {}
    shown = [one for one in sought if one.mapping is not None]
    if not shown:
        return (), {}
    try:
        with closing(ours.destination()) as destination:
            for one in shown:
                assert one.mapping is not None
                table = one.mapping.table
                try:
                    columns = destination.schema(table) or {}
                    names = {next((n for n in names if n in columns), names[0]): v for names, v in one.columns.items()}
                    rows = destination.having(table, names, limit=MOST)
                    if rows is not None:
                        found += [
                            Held(table, text) for batch in rows.to_batches() for text in to_json(_typed(batch, columns))
                        ]
                except MillraceError as error:
                    unasked[table] = error.message
    except MillraceError as error:
        unasked = {one.mapping.table: error.message for one in shown if one.mapping is not None}
    return tuple(found), unasked


def _typed(rows: pa.RecordBatch, columns: Mapping[str, pa.DataType]) -> pa.RecordBatch:
    """The rows of an answer, in which JSON is text, with the JSON of the table as such."""
    import pyarrow as pa

    def typed(name: str, values: pa.Array) -> pa.Array:
        is_json = columns.get(name) == types.JSON and types.canonical(values.type) == types.VARCHAR
        return of_type(entered(values).values, types.JSON) if is_json else values

    names = rows.schema.names
    return pa.RecordBatch.from_arrays(list(map(typed, names, rows.columns)), names=names)


def _gone(ours: Crew, sought: Sequence[_Sought], only: str | None) -> Iterator[Gone]:
    """What was once on the stage and is no more."""
    s, f, files = segments.c, raw_files.c, reject_files.c
    streams = [one.stream for one in sought]
    count = sa.func.count()
    loaded = sa.select(count, sa.func.sum(s.rows), sa.func.max(s.staged_at)).where(
        s.pipeline_id == ours.books.feed, s.state == "dropped", s.stream.in_(streams)
    )
    kept = sa.select(count, sa.func.sum(f.rows), sa.func.max(f.created_at)).where(
        f.pipeline_id == ours.books.feed, f.kept.is_(False), f.stream.in_(streams)
    )
    refused = (
        sa.select(sa.func.count(files.id.distinct()), sa.func.sum(reject_groups.c.rows), sa.func.max(files.created_at))
        .join(reject_files, files.id == reject_groups.c.file_id)
        .where(files.pipeline_id == ours.books.feed, files.kept.is_(False))
    )
    if only is not None:
        refused = refused.where(reject_groups.c.stream.in_(streams))
    for what, query in (("staged rows", loaded), ("rows as they were read", kept), ("rejects", refused)):
        (row,) = _rows(ours, query)
        if row[0]:
            closed = tuple(_closed(ours, sought)) if what == "rejects" else ()
            yield Gone(what, row[0], int(row[1]), row[2], closed)


def _closed(ours: Crew, sought: Sequence[_Sought]) -> Iterator[Closed]:
    """What the books say of rejects that are no longer on the stage, the oldest first."""
    g, files = reject_groups.c, reject_files.c
    query = (
        sa.select(reject_groups, files.run_id, files.created_at)
        .join(reject_files, files.id == g.file_id)
        .where(files.pipeline_id == ours.books.feed, files.kept.is_(False))
        .where(g.stream.in_([one.stream for one in sought]))
        .order_by(files.id.desc(), g.stream, g.stage, g.code)
        .limit(MOST)
    )
    for row in reversed(_rows(ours, query)):
        yield Closed(
            stream=row.stream,
            stage=row.stage,
            code=row.code,
            state=row.state,
            rows=row.rows,
            run=row.run_id,
            at=row.created_at,
            closed_at=row.closed_at,
            mapping=row.mapping_version,
            transformation=row.transformation,
        )


def _verdict(
    ours: Crew,
    read: Sequence[Read],
    staged: Sequence[Staged],
    failed: Sequence[Failed],
    held: Sequence[Held],
    gone: Sequence[Gone],
    unasked: Mapping[str, str],
) -> str:
    """In a sentence, what became of it."""
    open_ = [one for one in failed if one.state == "open"]
    waiting = [one for one in staged if one.loaded_at is None and not one.superseded]
    last = staged[-1] if staged else None
    said: list[str] = []
    if held:
        said.append(f"It is at the destination, in {', '.join(sorted({one.table for one in held}))}")
    if waiting:
        said.append(f"it waits on the stage to be loaded into {waiting[-1].table}")
    if open_:
        said.append(f"it failed {PLACES[open_[-1].stage]} ({open_[-1].code}): {open_[-1].message}")
    if not said and last is not None:
        if last.table in unasked:
            said.append(f"It was loaded into {last.table}; the destination could not be asked for it now")
        else:
            said.append(f"It was loaded into {last.table} and is not there now: deleted or changed at the destination")
    if not said and failed:
        become = {
            "replayed": "replayed",
            "mended": "replayed with rows that were mended by hand",
            "discarded": "given up by hand",
            "purged": "given up after its time",
        }
        said.append(f"It failed {PLACES[failed[-1].stage]} ({failed[-1].code}) and was {become[failed[-1].state]}")
    if not said and read:
        version = _deployed_for(ours, read[-1])
        by = f"version {version} of the transformation" if version else "the mapping"
        runs_read = {one.run for one in read}
        closed = [one for gone_ in gone for one in gone_.closed if one.run in runs_read]
        if closed:
            rows = sum(one.rows for one in closed)
            states = " or ".join(sorted({one.state for one in closed}))
            said.append(
                f"It was read; it is among the {rows:,} failed rows of that run which are no longer kept ({states}), "
                f"or was left out on purpose, by {by}"
            )
        else:
            said.append(f"It was read and left out on purpose, by {by}")
    if not said and gone:
        until = max(one.last_at for one in gone)
        said.append(
            f"It is in nothing that is still on the stage; files from up to {until:%Y-%m-%d %H:%M} UTC are gone, so it "
            "may have been read before that, or never"
        )
    if not said:
        said.append("It was never seen here, or left out on purpose by the source or the transformation")
    text = "; ".join(said)
    return text[0].upper() + text[1:] + "."


def _deployed_for(ours: Crew, read: Read) -> int | None:
    """Version of the transformation that the run went by: the one that was deployed when it began."""
    began = sa.select(run_rows.c.started_at).where(run_rows.c.id == read.run).scalar_subquery()
    t = transformations.c
    query = sa.select(sa.func.max(t.version)).where(
        t.pipeline_id == ours.books.feed, t.version > 0, t.created_at <= sa.func.coalesce(began, read.at)
    )
    (row,) = _rows(ours, query)
    return row[0]


@dataclass(frozen=True, slots=True)
class _Search:
    """Staged files one after the other. One that cannot be read is told among ``unasked``."""

    stage: Stage
    unasked: dict[str, str]

    def batches(self, path: str, checksum: str) -> Iterator[tuple[int, pa.RecordBatch]]:
        """The batches of a file, each with the number of its first row."""
        at = 0
        try:
            with closing(self.stage.read(path, checksum)) as reader:
                for batch in reader:
                    yield at, batch
                    at += batch.num_rows
        except EnvironmentProblem as problem:
            self.unasked[path] = problem.message

    def found(self, path: str, checksum: str, wanted: Mapping[tuple[str, ...], str]) -> Iterator[tuple[int, str]]:
        """Numbers and JSON text of the rows in a file that have the values."""
        import pyarrow as pa

        for first, batch in self.batches(path, checksum):
            if numbers := matching(batch, wanted):
                texts = to_json(batch.take(pa.array(numbers, pa.int64())))
                yield from ((first + number, text) for number, text in zip(numbers, texts, strict=True))


def _last(found: Iterator[Any]) -> tuple[Any, ...]:
    """The latest of them."""
    return tuple(sorted(found, key=lambda one: one.at)[-MOST:])


def _rows(ours: Crew, query: sa.Select[*tuple[Any, ...]]) -> Sequence[Any]:
    with ours.home.database.reading() as connection:
        return connection.execute(query).all()
