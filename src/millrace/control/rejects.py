"""Rejects: rows that could not pass, listed by group, shown, exported, replayed or discarded."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Literal, TypeAlias

import sqlalchemy as sa

from millrace.control.ledger import Group
from millrace.control.tables import pipelines, reject_files, reject_groups
from millrace.errors import EnvironmentProblem

if TYPE_CHECKING:
    import pyarrow as pa

    from millrace.control.home import Home
    from millrace.engine.stage import Stage

State: TypeAlias = Literal["open", "replayed", "discarded", "purged"]


@dataclass(frozen=True, slots=True)
class Choice:
    """Which rejects are meant. None means any; ``file`` is the number that `listed` shows."""

    pipeline: str | None = None
    stream: str | None = None
    stage: str | None = None
    code: str | None = None
    run: int | None = None
    file: int | None = None


@dataclass(frozen=True, slots=True)
class RejectGroup:
    """Rejected rows of one file with the same stream, stage and code; ``sample`` is the message of one of them."""

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


@dataclass(frozen=True, slots=True)
class Rejected:
    """One rejected row; ``row`` is JSON text."""

    file: int
    stream: str
    stage: str
    code: str
    message: str
    row: str
    rejected_at: datetime


_SHOWN = ("stream", "stage", "code", "message", "row", "rejected_at")


@dataclass(frozen=True, slots=True)
class Replayable:
    """Open rejects of one file: the rows, and the groups that a commit which holds them all closes."""

    file: int
    groups: tuple[Group, ...]
    rows: pa.Table


def listed(home: Home, choice: Choice | None = None, *, state: State | None = "open") -> list[RejectGroup]:
    """Groups of rejects, the latest first; ``state`` None lists those that were closed too."""
    with home.database.reading() as connection:
        found = connection.execute(_query(choice or Choice(), state)).all()
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
        )
        for row in found
    ]


def rows(home: Home, stage: Stage, choice: Choice | None = None, *, limit: int | None = None) -> Iterator[Rejected]:
    """Open rejects, row by row. Raises EnvironmentProblem when a file is gone or was changed (its checksum differs)."""
    left = limit
    for one in replayable(home, stage, choice):
        for batch in one.rows.to_batches():
            for row in batch.to_pylist():
                if left == 0:
                    return
                yield Rejected(file=one.file, **{name: row[name] for name in _SHOWN})
                left = None if left is None else left - 1


def export(home: Home, stage: Stage, choice: Choice | None, target: IO[str]) -> int:
    """Open rejects are in ``target``, one JSON object a line, the row itself as JSON under `row`; how many."""
    import orjson

    count = 0
    for one in rows(home, stage, choice):
        line = {
            "stream": one.stream,
            "stage": one.stage,
            "code": one.code,
            "message": one.message,
            "rejected_at": one.rejected_at.isoformat(timespec="microseconds").replace("+00:00", "Z"),
            "row": orjson.Fragment(one.row),
        }
        target.write(orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE).decode())
        count += 1
    return count


def export_to(home: Home, stage: Stage, choice: Choice | None, file: Path) -> int:
    """`export` into a file, which takes its place only when it is whole."""
    draft = file.with_name(f".{file.name}.part")
    try:
        with draft.open("w", encoding="utf-8") as target:
            count = export(home, stage, choice, target)
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
    closed, now = 0, datetime.now(UTC)
    with home.database.transaction() as connection:
        for row in connection.execute(_query(choice, "open")).all():
            updated = connection.execute(
                sa.update(reject_groups)
                .where(*_group(row), reject_groups.c.state == "open")
                .values(state="discarded", closed_at=now)
            )
            closed += row.rows if updated.rowcount else 0
    return closed


def replayable(home: Home, stage: Stage, choice: Choice | None = None) -> Iterator[Replayable]:
    """Open rejects of the choice, file by file, oldest first, with what `Books.replaying` takes to close them.

    Raises EnvironmentProblem when a file is gone or was changed.
    """
    import pyarrow as pa

    choice = choice or Choice()
    by_file: dict[int, list[Any]] = {}
    with home.database.reading() as connection:
        for row in connection.execute(_query(choice, "open", newest_first=False)):
            by_file.setdefault(row.file_id, []).append(row)
    for file, found in by_file.items():
        groups = tuple(Group(file, row.stream, row.stage, row.code) for row in found)
        with closing(stage.read(found[0].path, found[0].checksum)) as reader:
            table = pa.Table.from_batches(reader, schema=reader.schema)
        yield Replayable(file, groups, _of_groups(table, groups))


def count_open(connection: sa.Connection) -> dict[str, int]:
    """Open rejected rows of every pipeline that has some, by the pipeline's id."""
    query = (
        sa.select(reject_files.c.pipeline_id, sa.func.sum(reject_groups.c.rows).label("n"))
        .join(reject_files, reject_files.c.id == reject_groups.c.file_id)
        .where(reject_groups.c.state == "open", reject_files.c.counted.is_(True))
        .group_by(reject_files.c.pipeline_id)
    )
    return {row.pipeline_id: int(row.n) for row in connection.execute(query)}


def _of_groups(table: pa.Table, groups: Sequence[Group]) -> pa.Table:
    """Rows of the groups alone: others of the file may have been replayed before."""
    import pyarrow as pa

    wanted = {(group.stream, group.stage, group.code) for group in groups}
    columns = [table.column(name).to_pylist() for name in ("stream", "stage", "code")]
    return table.filter(pa.array([one in wanted for one in zip(*columns, strict=True)], pa.bool_()))


def _query(choice: Choice, state: State | None, *, newest_first: bool = True) -> sa.Select[Any]:
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
    wanted = {
        pipelines.c.name: choice.pipeline,
        groups.stream: choice.stream,
        groups.stage: choice.stage,
        groups.code: choice.code,
        files.run_id: choice.run,
        groups.file_id: choice.file,
        groups.state: state,
    }
    return query.where(*(column == value for column, value in wanted.items() if value is not None))


def _group(row: Any) -> tuple[sa.ColumnElement[bool], ...]:
    g = reject_groups.c
    return (g.file_id == row.file_id, g.stream == row.stream, g.stage == row.stage, g.code == row.code)
