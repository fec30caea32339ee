"""Rejects: rows that could not pass, each with its reason; seen, exported, mended, replayed or given up. And traces."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Annotated, Literal, TypeAlias

from pydantic import Field

from millrace.control.books.records import RunRecord
from millrace.control.desk import Content, Watch, errand, operation
from millrace.control.failed import reject_pages, rejects
from millrace.control.failed import replay as replaying
from millrace.control.failed.reject_pages import GroupPage
from millrace.control.failed.rejects import Choice, Grouped, Rejected, RejectGroup
from millrace.control.home import Home
from millrace.control.observing import trace as tracing
from millrace.control.observing.sightings import Trace
from millrace.control.operations.activity import After, Limit
from millrace.control.operations.names import Name
from millrace.control.operations.runs import Number
from millrace.control.pipeline import pipelines
from millrace.data.dataclass import dataclass
from millrace.engine.stage import Stage as Files
from millrace.errors import ConfigError

Stage: TypeAlias = Literal["source", "steps", "mapping", "load"]
Code: TypeAlias = Annotated[str, Field(max_length=100)]
Where: TypeAlias = Annotated[str, Field(max_length=10_000, description="FIELD=VALUE: only rows whose field is that.")]


@dataclass(frozen=True, slots=True)
class Discarded:
    """How many rows were given up."""

    rows: int


@operation("GET", "/rejects")
def groups(
    home: Home,
    pipeline: Name | None = None,
    object: Name | None = None,
    stage: Stage | None = None,
    code: Code | None = None,
    run: Number | None = None,
    closed: bool = False,
) -> list[Grouped]:
    """Count rejected rows by object, stage and code, with what will cure them.

    With `closed`, those that were replayed, mended or discarded too.
    """
    choice = _choice(home, pipeline, object, stage, code, run)
    return rejects.grouped(home, choice, state=None if closed else "open")


@operation("GET", "/rejects/overview")
def overview(
    home: Home,
    pipeline: Annotated[Name, Field(description="Only of this one.")] | None = None,
    search: Annotated[str, Field(max_length=255, description="A part of an object's name, a code or a message.")]
    | None = None,
    after: After | None = None,
    limit: Limit = 50,
) -> GroupPage:
    """List groups of open rejects as people look at them: most rows first, page by page, with how many there are."""
    if pipeline is not None:
        pipelines.find(home, pipeline)
    return reject_pages.page(home, pipeline=pipeline, search=search, after=after, limit=limit)


@operation("GET", "/rejects/files")
def files(
    home: Home,
    pipeline: Name | None = None,
    object: Name | None = None,
    stage: Stage | None = None,
    code: Code | None = None,
    run: Number | None = None,
    closed: bool = False,
) -> list[RejectGroup]:
    """Count rejected rows file by file, with the runs that they are of."""
    choice = _choice(home, pipeline, object, stage, code, run)
    return rejects.listed(home, choice, state=None if closed else "open")


@operation("GET", "/rejects/rows")
def rows(
    home: Home,
    pipeline: Name | None = None,
    object: Name | None = None,
    stage: Stage | None = None,
    code: Code | None = None,
    run: Number | None = None,
    file: Number | None = None,
    where: Where | None = None,
    limit: Annotated[int, Field(ge=1, le=10_000, description="Rows at most.")] = 10,
) -> list[Rejected]:
    """Show rejected rows themselves."""
    choice = _choice(home, pipeline, object, stage, code, run, file, where)
    with closing(Files(home.stage_url)) as stage_:
        return list(rejects.rows(home, stage_, choice, limit=limit))


@operation("GET", "/rejects/export")
def export(
    home: Home,
    pipeline: Name | None = None,
    object: Name | None = None,
    stage: Stage | None = None,
    code: Code | None = None,
    run: Number | None = None,
    file: Number | None = None,
    where: Where | None = None,
) -> Iterator[bytes]:
    """Write rejected rows as JSON lines, each with its reason, all that there are. They stay where they are."""
    choice = _choice(home, pipeline, object, stage, code, run, file, where)
    return _exported(home, choice)


@errand("/pipelines/{pipeline}/rejects/replay", "pipelines.edit")
def replay(
    home: Home,
    watch: Watch,
    pipeline: Name,
    object: Name | None = None,
    stage: Stage | None = None,
    code: Code | None = None,
    run: Number | None = None,
    file: Number | None = None,
    where: Where | None = None,
) -> RunRecord:
    """Let rejected rows try again, from where they were refused. Those that still cannot pass are rejects anew."""
    choice = _choice(home, pipeline, object, stage, code, run, file, where)
    return replaying.replay(home, choice, meter=watch.meter, stopping=watch.stopping)


@errand("/pipelines/{pipeline}/rejects/mend", "pipelines.edit")
def mend(
    home: Home,
    watch: Watch,
    pipeline: Name,
    content: Content,
    name: Annotated[str, Field(max_length=500, description="What messages call the file.")] = "rejects.jsonl",
) -> RunRecord:
    """Let rows go on as somebody edited them: lines of an export, changed under `row`.

    Rows whose lines are not sent stay rejects.
    """
    return replaying.mend(
        home, pipeline, Path(name), content.path.read_bytes(), meter=watch.meter, stopping=watch.stopping
    )


@operation("POST", "/rejects/discard", "pipelines.edit")
def discard(
    home: Home,
    pipeline: Name | None = None,
    object: Name | None = None,
    stage: Stage | None = None,
    code: Code | None = None,
    run: Number | None = None,
    file: Number | None = None,
) -> Discarded:
    """Give rejected rows up for good. Something must be chosen."""
    choice = _choice(home, pipeline, object, stage, code, run, file)
    if choice == Choice():
        raise ConfigError(
            "no rejects are chosen", hint="Name a pipeline, an object, a stage, a code, a run or a file.", code="usage"
        )
    return Discarded(rejects.discard(home, choice))


@operation("GET", "/pipelines/{pipeline}/trace", noun="pipelines")
def trace(
    home: Home,
    pipeline: Name,
    key: Annotated[str, Field(max_length=10_000, description="Value of the key, or field=value,field=value.")],
    object: Name | None = None,
) -> Trace:
    """Show where a row went: read, transformed, staged, loaded, or why not."""
    return tracing.trace(home, pipeline, key, only=object)


OPERATIONS = (groups, overview, files, rows, export, replay, mend, discard, trace)


def _choice(
    home: Home,
    pipeline: str | None,
    object: str | None,
    stage: str | None,
    code: str | None,
    run: int | None,
    file: int | None = None,
    where: str | None = None,
) -> Choice:
    """Raises ConfigError for a pipeline that is not there: that it has no rejects is no answer."""
    if pipeline is not None:
        pipelines.find(home, pipeline)
    name, equals, value = (where or "").partition("=")
    if where is not None and not (name and equals):
        raise ConfigError(f"{where!r} is no condition", hint="Write FIELD=VALUE: id=17.", code="usage", path="where")
    return Choice(pipeline, object, stage, code, run, file, (name, value) if where is not None else None)


def _exported(home: Home, choice: Choice) -> Iterator[bytes]:
    with closing(Files(home.stage_url)) as stage:
        yield from rejects.lines(home, stage, choice)
