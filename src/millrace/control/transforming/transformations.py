"""Transformations of pipelines: a draft, the version that is deployed, and all that were deployed before."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Literal, TypeAlias

import sqlalchemy as sa

from millrace.control.activity import Entity, wrote
from millrace.control.database.db import any_in, upsert
from millrace.control.database.tables import transformations
from millrace.control.people.actors import signed
from millrace.control.pipeline import pipelines
from millrace.data.dataclass import dataclass
from millrace.errors import ConfigError

if TYPE_CHECKING:
    from millrace.control.home import Home
    from millrace.control.pipeline.pipelines import Pipeline
    from millrace.engine.steps import Step

Kind: TypeAlias = Literal["python", "blocks", "none"]

DRAFT = 0


@dataclass(frozen=True, slots=True)
class Transformation:
    """One version. ``version`` 0 is the draft; kind "none" lets rows pass as they are."""

    pipeline: str
    version: int
    kind: Kind
    text: str
    author: str | None
    reason: str | None
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Standing:
    """What is drafted and what is deployed; None where there is none. ``deployed`` may be of kind "none"."""

    pipeline: str
    draft: Transformation | None
    deployed: Transformation | None


def standing(home: Home, pipeline: str) -> Standing:
    """Draft and deployed version of a pipeline."""
    return standing_of(home, pipelines.find(home, pipeline))


def standing_of(home: Home, pipeline: Pipeline) -> Standing:
    """The same of a pipeline that may have another name by now."""
    home.actor.must("view")
    t = transformations.alias()
    latest = sa.select(sa.func.max(t.c.version)).where(t.c.pipeline_id == transformations.c.pipeline_id)
    v = transformations.c.version
    found = _versions_of(home, pipeline, (v == DRAFT) | (v == latest.scalar_subquery()))
    drafted = next((one for one in found if one.version == DRAFT), None)
    return Standing(pipeline.name, drafted, next((one for one in found if one.version != DRAFT), None))


def history(home: Home, pipeline: str, *, limit: int | None = None, before: int | None = None) -> list[Transformation]:
    """Deployed versions, the latest first: all, or ``limit`` of those before the version ``before``."""
    home.actor.must("view")
    v = transformations.c.version
    earlier = v > DRAFT if before is None else v.between(DRAFT + 1, before - 1)
    return _versions(home, pipeline, earlier, limit=limit)


def version(home: Home, pipeline: str, number: int) -> Transformation:
    """One version. Raises ConfigError when there is none of that number."""
    home.actor.must("view")
    if not (found := _versions(home, pipeline, transformations.c.version == number)):
        latest = history(home, pipeline, limit=1)
        raise ConfigError(
            f"pipeline {pipeline!r} has no version {number} of its transformation",
            hint=f"It has 1 to {latest[0].version}." if latest else "It has none yet.",
            code="unknown_version",
        )
    return found[0]


def difference(home: Home, pipeline: str, old: int | None = None, new: int | None = None) -> list[str]:
    """Lines of a unified diff from one version to another; 0 is the draft. Empty where they are the same.

    ``new`` None: the version deployed. ``old`` None: the one before it, where the draft comes after the one deployed,
    and nothing before the first. Raises ConfigError when there is none of such a number.
    """
    home.actor.must("view")
    import difflib

    latest = history(home, pipeline, limit=1)
    after = version(home, pipeline, new if new is not None else latest[0].version if latest else 1)
    if old is None:
        earlier = history(home, pipeline, limit=1, before=None if after.version == DRAFT else after.version)
        before = earlier[0] if earlier else None
    else:
        before = version(home, pipeline, old)
    return list(
        difflib.unified_diff(
            before.text.splitlines() if before else [],
            after.text.splitlines(),
            _called(before) if before else "nothing",
            _called(after),
            lineterm="",
        )
    )


def save_draft(home: Home, pipeline: str, kind: Kind, text: str, *, author: str | None = None) -> Transformation:
    """The draft of the pipeline is this text, whatever it is worth. Running data is not touched."""
    home.actor.must("transformations.edit")
    found = pipelines.find(home, pipeline)
    row = {
        "pipeline_id": found.id,
        "version": DRAFT,
        "kind": kind,
        "text": text,
        "author": author or signed(home.actor),
        "reason": None,
        "created_at": home.database.now(),
    }
    with home.database.transaction() as connection:
        upsert(connection, transformations, [row], key=["pipeline_id", "version"])
        _told(home, found, "save_draft", f"the draft of the transformation of {pipeline} was saved")
    return version(home, pipeline, DRAFT)


def deploy(
    home: Home, pipeline: str, kind: Kind, text: str, *, reason: str | None = None, author: str | None = None
) -> Transformation:
    """Rows of the runs that begin from now on go through this transformation; the draft is gone.

    What is deployed already is not deployed again. Raises ConfigError for a text that cannot be one.
    """
    home.actor.must("transformations.edit")
    found = pipelines.find(home, pipeline)
    checked(home, kind, text)
    with home.database.transaction() as connection:
        mine = transformations.c.pipeline_id == found.id
        rows = connection.execute(sa.select(transformations).where(mine).order_by(transformations.c.version)).all()
        deployed = [row for row in rows if row.version != DRAFT]
        same = (deployed[-1].kind, deployed[-1].text) == (kind, text) if deployed else kind == "none"
        if not same:
            connection.execute(
                sa.insert(transformations).values(
                    pipeline_id=found.id,
                    version=deployed[-1].version + 1 if deployed else 1,
                    kind=kind,
                    text=text,
                    author=author or signed(home.actor),
                    reason=reason,
                    created_at=home.database.now(),
                )
            )
            number = deployed[-1].version + 1 if deployed else 1
            _told(home, found, "deploy", f"version {number} of the transformation of {pipeline} ({kind}) was deployed")
        connection.execute(sa.delete(transformations).where(mine, transformations.c.version == DRAFT))
    deployed_now = standing(home, pipeline).deployed
    if deployed_now is None:
        return Transformation(pipeline, DRAFT, "none", "", None, None, home.database.now())
    return deployed_now


def roll_back(
    home: Home, pipeline: str, to: int, *, reason: str | None = None, author: str | None = None
) -> Transformation:
    """The text of an earlier version is deployed again, as a new version."""
    home.actor.must("transformations.edit")
    if to == DRAFT:
        raise ConfigError("version 0 is the draft", hint="Deploy it: `millrace transform deploy`.", code="usage")
    old = version(home, pipeline, to)
    back = f"back to version {to}"
    return deploy(home, pipeline, old.kind, old.text, reason=f"{back}: {reason}" if reason else back, author=author)


def _told(home: Home, pipeline: Pipeline, action: str, message: str) -> None:
    wrote(home, "MEDIUM", Entity("transformation", pipeline.id, pipeline.name), action, message)


def checked(home: Home, kind: Kind, text: str) -> None:
    """Raises ConfigError when the text cannot be deployed as a transformation of this kind."""
    if kind == "none":
        return
    if kind == "blocks":
        from millrace.engine.blocks.model import parse

        parse(text)
        return
    step(home, kind, text).close()


def step(
    home: Home,
    kind: Kind,
    text: str,
    *,
    keys: Mapping[str, tuple[str, ...]] | None = None,
    traced: bool = False,
) -> Step:
    """The transformation as the step that runs it. ``keys``: what tells rows apart in event types that it made before.

    ``traced``: after the message of a row that a script refuses stand the script's own frames, one a line.

    Raises ConfigError for a text that cannot be one.
    """
    from millrace.control.transforming import tokens

    if kind == "blocks":
        from millrace.engine.blocks.model import parse
        from millrace.engine.blocks.step import BlockStep

        return BlockStep(parse(text), keys=tokens.keys(home))
    from millrace.control.settings import workspace
    from millrace.engine.python.host import PythonStep, ScriptLimits

    ours = workspace(home.database)
    limits = ScriptLimits(
        seconds_per_event=ours.script_seconds,
        seconds_per_batch=max(ScriptLimits().seconds_per_batch, 10 * ours.script_seconds),
        memory_bytes=ours.script_memory_mib << 20,
    )
    return PythonStep(text, trusted=ours.allow_unsandboxed_python, limits=limits, keys=keys, traced=traced)


def _called(one: Transformation) -> str:
    return "draft" if one.version == DRAFT else f"version {one.version}"


def _versions(
    home: Home, pipeline: str, which: sa.ColumnElement[bool], *, limit: int | None = None
) -> list[Transformation]:
    """Versions of the pipeline's, the latest first."""
    return _versions_of(home, pipelines.find(home, pipeline), which, limit=limit)


def _versions_of(
    home: Home, pipeline: Pipeline, which: sa.ColumnElement[bool], *, limit: int | None = None
) -> list[Transformation]:
    t = transformations.c
    query = sa.select(transformations).where(t.pipeline_id == pipeline.id, which).order_by(t.version.desc())
    with home.database.reading() as connection:
        rows = connection.execute(query.limit(limit)).all() if any_in(connection, transformations) else []
    return [
        Transformation(pipeline.name, row.version, row.kind, row.text, row.author, row.reason, row.created_at)
        for row in rows
    ]
