"""Rejects: rows that could not pass, listed by group, shown, exported, replayed or discarded."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict
from datetime import UTC, datetime
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, cast

import sqlalchemy as sa

from millrace.control.activity import Entity, wrote
from millrace.control.books.ledger import Group
from millrace.control.database.tables import mappings, pipelines, reject_files, reject_groups
from millrace.control.failed.failures import Resolution, resolution
from millrace.data.dataclass import dataclass
from millrace.errors import ConfigError, EnvironmentProblem

if TYPE_CHECKING:
    import pyarrow as pa

    from millrace.control.home import Home
    from millrace.engine.stage import Stage

State: TypeAlias = Literal["open", "replayed", "mended", "discarded", "purged"]


@dataclass(frozen=True, slots=True)
class Choice:
    """Which rejects are meant. None means any; ``file`` is the number that `listed` shows, ``pipeline_id`` what a
    pipeline keeps when it gets another name.

    ``where``: only rows whose field has that value, both as text; `address.city` is a field within one. It needs the
    rows themselves, so lists and counts, which read the database alone, do not know it.
    """

    pipeline: str | None = None
    stream: str | None = None
    stage: str | None = None
    code: str | None = None
    run: int | None = None
    file: int | None = None
    where: tuple[str, str] | None = None
    pipeline_id: str | None = None


@dataclass(frozen=True, slots=True)
class RejectGroup:
    """Rejected rows of one file with the same stream, stage and code; ``sample`` is the message of one of them.

    ``attempts`` counts replays that nobody asked for; ``retry_at``: when the next one is due by time alone.
    """

    pipeline: str
    run: int
    file: int
    stream: str
    stage: str
    code: str
    rows: int
    sample: str
    state: State
    rejected_at: datetime
    closed_at: datetime | None
    attempts: int = 0
    retry_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Grouped:
    """Rejected rows of all files with the same pipeline, stream, stage, code and state."""

    pipeline: str
    stream: str
    stage: str
    code: str
    rows: int
    files: int
    sample: str
    state: State
    first_at: datetime
    last_at: datetime
    attempts: int
    retry_at: datetime | None

    @property
    def resolution(self) -> Resolution:
        """Who can cure the cause, and how."""
        return resolution(self.code, self.stage)


@dataclass(frozen=True, slots=True)
class Rejected:
    """One rejected row; ``row`` is JSON text. ``file`` and ``number`` say which one it is.

    ``id`` finds it again when it lies in another file since, because rows beside it were mended or replayed. Rows that
    are the same in all that is shown of them, and were refused at the same time, share it.
    """

    file: int
    number: int
    stream: str
    stage: str
    code: str
    message: str
    row: str
    rejected_at: datetime

    @property
    def id(self) -> str:
        parts = (self.stream, self.stage, self.code, self.message, self.row, self.rejected_at.isoformat())
        return hashlib.blake2b("\x00".join(parts).encode(), digest_size=12).hexdigest()


# Values that stand in JSON as they are, where it has no escapes by number: digits, or a text without anything that must
# or may be written otherwise, and no number that has several forms.
_VERBATIM = re.compile(r"[0-9]+|[A-Za-z@_][A-Za-z0-9@._-]*")

_SHOWN = ("number", "stream", "stage", "code", "message", "row", "rejected_at")


@dataclass(frozen=True, slots=True)
class Replayable:
    """Open rejects of one file: the groups that a commit which holds all of their rows closes, and their rows.

    ``versions``: under which version of its mapping each stream's rows were refused; None where that is not known.
    """

    file: int
    groups: tuple[Group, ...]
    path: str
    checksum: str
    stage: Stage
    versions: Mapping[str, int | None]

    @property
    def streams(self) -> list[str]:
        return sorted({group.stream for group in self.groups})

    @property
    def rows(self) -> pa.Table:
        """All rows at once, in the schema `columns.REJECTS`."""
        import pyarrow as pa

        from millrace.data.columns import REJECTS

        return pa.Table.from_batches([batch.select(REJECTS.names) for batch in self.batches()], REJECTS)

    def of(self, stream: str) -> list[Group]:
        """The groups of one stream."""
        return [group for group in self.groups if group.stream == stream]

    def batches(self, stream: str | None = None) -> Iterator[pa.RecordBatch]:
        """The rows, of one stream or of all, as they lie in the file, with their `engine.replay.NUMBER` in it.

        Raises EnvironmentProblem when the file is gone or was changed (its checksum differs).
        """
        import pyarrow as pa

        from millrace.data.columns import REJECTS
        from millrace.data.compute import pc
        from millrace.engine.replay import NUMBER

        groups = self.groups if stream is None else self.of(stream)
        wanted = pa.array(["\x00".join((one.stream, one.stage, one.code)) for one in groups], pa.string())
        at = 0
        with closing(self.stage.read(self.path, self.checksum)) as reader:
            for batch in reader:
                for field in REJECTS:
                    if field.name not in batch.schema.names:  # of a version that did not have it
                        batch = batch.append_column(field, pa.nulls(batch.num_rows, field.type))
                numbers = pa.array(range(at, at + batch.num_rows), pa.int64())
                at += batch.num_rows
                keys = pc.binary_join_element_wise(batch["stream"], batch["stage"], batch["code"], "\x00")
                mine = batch.append_column(NUMBER, numbers).filter(pc.is_in(keys, wanted))
                if mine.num_rows:
                    yield mine


def listed(home: Home, choice: Choice | None = None, *, state: State | None = "open") -> list[RejectGroup]:
    """Groups of rejects, the latest first; ``state`` None lists those that were closed too.

    Open ones of streams that are skipped do not count (pipelines.md 11.2); the next run gives them up.
    """
    home.actor.must("view")
    with home.database.reading() as connection:
        found = connection.execute(_query(home, choice or Choice(), state).where(*_heeded(connection))).all()
    return [
        RejectGroup(
            pipeline=row.pipeline,
            run=row.run_id,
            file=row.file_id,
            stream=row.stream,
            stage=row.stage,
            code=row.code,
            rows=row.rows,
            sample=row.sample,
            state=row.state,
            rejected_at=row.created_at,
            closed_at=row.closed_at,
            attempts=row.attempts,
            retry_at=row.retry_at,
        )
        for row in found
    ]


def grouped(home: Home, choice: Choice | None = None, *, state: State | None = "open") -> list[Grouped]:
    """Rejects of all files by pipeline, stream, stage and code, most rows first. The files are not read."""
    home.actor.must("view")
    with home.database.reading() as connection:
        g = groups(home, connection, choice or Choice(), state).subquery()
        query = sa.select(g).order_by(g.c.pipeline, g.c.rows.desc(), g.c.stream, g.c.stage, g.c.code)
        return groups_of(connection.execute(query).mappings())


def groups(home: Home, connection: sa.Connection, choice: Choice, state: State | None) -> sa.Select[*tuple[Any, ...]]:
    """The same as a query in no order, with the fields of `Grouped` as its columns."""
    listed = _query(home, choice, state).where(*_heeded(connection)).order_by(None).subquery()
    g = listed.c
    by = (g.pipeline, g.stream, g.stage, g.code, g.state)
    return sa.select(
        *by,
        sa.func.sum(g.rows).label("rows"),
        sa.func.count().label("files"),
        sa.func.min(g.sample).label("sample"),
        sa.func.min(g.created_at).label("first_at"),
        sa.func.max(g.created_at).label("last_at"),
        sa.func.max(g.attempts).label("attempts"),
        sa.func.min(g.retry_at).label("retry_at"),
    ).group_by(*by)


def groups_of(found: Iterable[Mapping[Any, Any]]) -> list[Grouped]:
    """Rows of the query `groups`."""
    rows: list[dict[str, Any]] = [dict(row) for row in found]
    for row in rows:
        row["rows"] = int(row["rows"])
    return [Grouped(**row) for row in rows]


def rows(home: Home, stage: Stage, choice: Choice | None = None, *, limit: int | None = None) -> Iterator[Rejected]:
    """Open rejects, row by row. Raises EnvironmentProblem when a file is gone or was changed (its checksum differs)."""
    home.actor.must("view")
    where = choosing(choice)
    found = chain.from_iterable(of_file(one, where) for one in replayable(home, stage, choice))
    yield from islice(found, limit)


def of_file(found: Replayable, chosen: Callable[[pa.RecordBatch], pa.Array] | None) -> Iterator[Rejected]:
    """The rows of one file, row by row: all of them, or those that are chosen."""
    for batch in found.batches():
        for row in (batch if chosen is None else batch.filter(chosen(batch))).to_pylist():
            yield Rejected(file=found.file, **{name: row[name] for name in _SHOWN})


def choosing(choice: Choice | None) -> Callable[[pa.RecordBatch], pa.Array] | None:
    """Which rows of a batch of rejects the choice means; None: all of them."""
    if choice is None or choice.where is None:
        return None
    name, value = choice.where

    def chosen(batch: pa.RecordBatch) -> pa.Array:
        import pyarrow as pa

        from millrace.data import json_text
        from millrace.data.compute import pc

        def has(text: str) -> bool:
            try:
                row = json_text.loads(text)
            except (ValueError, RecursionError):
                return False
            found = _field(row, name)
            return found is not None and (found if isinstance(found, str) else json_text.dumps(found)) == value

        texts = batch["row"]
        if _VERBATIM.fullmatch(value) is None:
            return pa.array([has(text) for text in texts.to_pylist()], pa.bool_())
        # Most rows do not have the value anywhere, and need not be parsed to know that.
        maybe = pc.or_(pc.match_substring(texts, value), pc.match_substring(texts, "\\u"))
        found = iter([has(text) for text in texts.filter(maybe).to_pylist()])
        return pa.array([bool(one) and next(found) for one in maybe.to_pylist()], pa.bool_())

    return chosen


def _field(row: Any, name: str) -> Any:
    """The value of a field, or of one within it where no field has that whole name; None where there is none."""
    if not isinstance(row, dict):
        return None
    fields = cast("dict[str, Any]", row)
    if name in fields:
        return fields[name]
    first, _, rest = name.partition(".")
    return _field(fields.get(first), rest) if rest else None


def lines(home: Home, stage: Stage, choice: Choice | None) -> Iterator[bytes]:
    """Open rejects, one JSON object a line, the row itself as JSON under `row`.

    `file`, `number` and `id` say which row it is, so that a mended line finds its way back (`millrace rejects mend`).
    """
    import orjson

    home.actor.must("view")
    for one in rows(home, stage, choice):
        line = {
            "file": one.file,
            "number": one.number,
            "id": one.id,
            "stream": one.stream,
            "stage": one.stage,
            "code": one.code,
            "message": one.message,
            "rejected_at": one.rejected_at.isoformat(timespec="microseconds").replace("+00:00", "Z"),
            "row": orjson.Fragment(one.row),
        }
        yield orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE)


def export_to(home: Home, stage: Stage, choice: Choice | None, file: Path) -> int:
    """The lines are in ``file``; how many. See `written`."""
    home.actor.must("view")
    return written(lines(home, stage, choice), file)


def written(lines: Iterable[bytes], file: Path) -> int:
    """The lines are in ``file``, which takes its place only when it is whole; how many."""
    draft = file.with_name(f".{file.name}.part")
    count = 0
    try:
        with draft.open("wb") as target:
            for line in lines:
                target.write(line)
                count += 1
        draft.replace(file)
    except OSError as cause:
        raise EnvironmentProblem(
            f"rejects cannot be written to {file}: {cause.strerror}", path=str(file), code="file_unwritable"
        ) from cause
    finally:
        draft.unlink(missing_ok=True)
    return count


def discard(home: Home, choice: Choice) -> int:
    """Open rejects of the choice are given up for good; how many rows. `retention` deletes their files."""
    home.actor.must("pipelines.edit")
    if choice.where is not None:
        raise ConfigError(
            "rows are discarded by group, not one by one",
            hint="Name an object, a code, a run or a file; or replay the rows, mended (`millrace rejects mend`).",
            code="usage",
        )
    with home.database.transaction() as connection:
        count = _close(home, connection, choice, "discarded", datetime.now(UTC))
        told = {key: value for key, value in asdict(choice).items() if value is not None}
        entity = Entity("rejects", None, choice.pipeline or "all pipelines")
        wrote(home, "MEDIUM", entity, "discard", f"{count:,} failed events were discarded", after=told)
    return count


def dismiss(home: Home, pipeline_id: str, streams: Iterable[str]) -> int:
    """Open rejects of streams that are skipped from now on count no more (pipelines.md 11.2); how many rows."""
    with home.database.transaction() as connection:
        now = datetime.now(UTC)
        choices = (Choice(stream=stream, pipeline_id=pipeline_id) for stream in streams)
        return sum(_close(home, connection, one, "discarded", now) for one in choices)


def _close(home: Home, connection: sa.Connection, choice: Choice, state: State, now: datetime) -> int:
    """One statement, however many groups there are."""
    files = reject_files.c
    mine = (
        sa.select(files.id)
        .join(pipelines, pipelines.c.id == files.pipeline_id)
        .where(files.counted.is_(True), *_of_file(home, choice))
    )
    updated = (
        sa.update(reject_groups)
        .where(reject_groups.c.state == "open", reject_groups.c.file_id.in_(mine), *_of_group(choice))
        .values(state=state, closed_at=now)
        .returning(reject_groups.c.rows)
    )
    return sum(connection.execute(updated).scalars())


def replayable(home: Home, stage: Stage, choice: Choice | None = None) -> Iterator[Replayable]:
    """Open rejects of the choice, file by file, oldest first, with what `Books.replaying` takes to close them.

    Those of streams that are skipped are not among them, as in `listed`.
    """
    with home.database.reading() as connection:
        query = _query(home, choice or Choice(), "open", newest_first=False).where(*_heeded(connection))
        found = connection.execute(query).all()
    yield from files_of(stage, found)


def files_of(stage: Stage, found: Iterable[Any]) -> Iterator[Replayable]:
    """The groups (rows of `waiting`, or of a choice) file by file, in their order."""
    by_file: dict[int, list[Any]] = {}
    for row in found:
        by_file.setdefault(row.file_id, []).append(row)
    for file, rows_ in by_file.items():
        yield Replayable(
            file,
            tuple(Group(file, row.stream, row.stage, row.code) for row in rows_),
            rows_[0].path,
            rows_[0].checksum,
            stage,
            {row.stream: row.mapping_version for row in rows_},
        )


def waiting(home: Home, pipeline_id: str) -> Sequence[Any]:
    """Rows of the database on the pipeline's open groups, oldest file first."""
    with home.database.reading() as connection:
        query = _query(home, Choice(pipeline_id=pipeline_id), "open", newest_first=False)
        return connection.execute(query).all()


def count_open(connection: sa.Connection) -> dict[str, int]:
    """Open rejected rows of every pipeline that has some, by the pipeline's id."""
    return {row.pipeline_id: int(row.n) for row in connection.execute(open_by_pipeline(connection))}


def open_by_pipeline(connection: sa.Connection) -> sa.Select[*tuple[Any, ...]]:
    """The same as a query, with the columns ``pipeline_id`` and ``n``."""
    return (
        sa.select(reject_files.c.pipeline_id, sa.func.sum(reject_groups.c.rows).label("n"))
        .join(reject_files, reject_files.c.id == reject_groups.c.file_id)
        .where(reject_groups.c.state == "open", reject_files.c.counted.is_(True), *_heeded(connection))
        .group_by(reject_files.c.pipeline_id)
    )


def _heeded(connection: sa.Connection) -> list[sa.ColumnElement[bool]]:
    """Conditions that leave out open groups of streams that are skipped now."""
    m, groups = mappings.c, reject_groups.c
    latest = sa.select(m.pipeline_id, m.stream, sa.func.max(m.version).label("version"))
    last = latest.group_by(m.pipeline_id, m.stream).subquery()
    same = (m.pipeline_id == last.c.pipeline_id, m.stream == last.c.stream, m.version == last.c.version)
    found = connection.execute(sa.select(m.pipeline_id, m.stream, m.mapping).join(last, sa.and_(*same)))
    return [
        sa.not_(
            sa.and_(groups.state == "open", reject_files.c.pipeline_id == row.pipeline_id, groups.stream == row.stream)
        )
        for row in found
        if row.mapping.get("skipped")
    ]


def _query(home: Home, choice: Choice, state: State | None, *, newest_first: bool = True) -> sa.Select[Any]:
    groups, files = reject_groups.c, reject_files.c
    query = (
        sa.select(
            reject_groups,
            pipelines.c.name.label("pipeline"),
            files.run_id,
            files.path,
            files.checksum,
            files.created_at,
        )
        .join(reject_files, files.id == groups.file_id)
        .join(pipelines, pipelines.c.id == files.pipeline_id)
        # What is parked for a load that is not noted yet still waits in its segments.
        .where(files.counted.is_(True))
        .order_by(files.id.desc() if newest_first else files.id, groups.stream, groups.stage, groups.code)
    )
    if state is not None:
        query = query.where(groups.state == state)
    return query.where(*_of_file(home, choice), *_of_group(choice))


def _of_file(home: Home, choice: Choice) -> list[sa.ColumnElement[bool]]:
    files = reject_files.c
    of = {pipelines.c.name: choice.pipeline, pipelines.c.id: choice.pipeline_id}
    wanted = of | {files.run_id: choice.run, files.id: choice.file}
    ours = pipelines.c.team_id == home.actor.team_id
    return [ours, *(column == value for column, value in wanted.items() if value is not None)]


def _of_group(choice: Choice) -> list[sa.ColumnElement[bool]]:
    groups = reject_groups.c
    wanted = {groups.stream: choice.stream, groups.stage: choice.stage, groups.code: choice.code}
    return [column == value for column, value in wanted.items() if value is not None]
