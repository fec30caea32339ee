"""Addresses of pipelines that are told things: each has a token that nobody can guess, of which only a hash is kept."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING

import sqlalchemy as sa

from millrace.connect import registry
from millrace.control.activity import wrote
from millrace.control.database.db import Database, upsert
from millrace.control.database.tables import hooks
from millrace.control.database.tables import pipelines as pipelines_table
from millrace.control.people.links import hashed
from millrace.control.pipeline import pipelines
from millrace.control.pipeline.pipelines import Pipeline
from millrace.data.dataclass import dataclass
from millrace.errors import ConfigError

if TYPE_CHECKING:
    from millrace.control.home import Home

# What changed is known to every server after so long.
FRESH_S = 1.0


@dataclass(frozen=True, slots=True)
class Hook:
    """The address of a pipeline, without its token. ``created_at`` None: it has none yet."""

    pipeline: str
    created_at: datetime | None


@dataclass(frozen=True, slots=True)
class NewHook:
    """An address with its token, which is shown this once. ``path`` is relative to the server."""

    pipeline: str
    token: str
    path: str
    created_at: datetime


def find(home: Home, pipeline: str) -> Hook:
    """Whether the pipeline has an address, and since when. Raises ConfigError where its source takes none."""
    home.actor.must("view")
    found = _pushed(home, pipeline)
    with home.database.reading() as connection:
        created_at = connection.execute(sa.select(hooks.c.created_at).where(hooks.c.pipeline_id == found.id)).scalar()
    return Hook(found.name, created_at)


def rotate(home: Home, pipeline: str) -> NewHook:
    """The pipeline has a new address; one that it had before is good for nothing, a second later at every server."""
    home.actor.must("pipelines.edit")
    found = _pushed(home, pipeline)
    token, now = secrets.token_urlsafe(32), home.database.now()
    row = {"pipeline_id": found.id, "token_hash": hashed(token), "created_at": now}
    with home.database.transaction() as connection:
        upsert(connection, hooks, [row], key=["pipeline_id"])
        wrote(home, "HIGH", found.entity, "rotate_hook", f"pipeline {found.name} has a new webhook address")
    return NewHook(found.name, token, f"/hooks/{token}", now)


def revoke(home: Home, pipeline: str) -> Hook:
    """The pipeline has no address any more, a second later at every server. What was sent before is still read."""
    home.actor.must("pipelines.edit")
    found = _pushed(home, pipeline)
    with home.database.transaction() as connection:
        connection.execute(sa.delete(hooks).where(hooks.c.pipeline_id == found.id))
        wrote(home, "HIGH", found.entity, "revoke_hook", f"pipeline {found.name} has no webhook address any more")
    return Hook(found.name, None)


def told(home: Home, pipeline: str) -> str:
    """The id of a pipeline that is told things, by its name. Raises ConfigError where it asks for rows itself."""
    home.actor.must("pipelines.edit")
    return _pushed(home, pipeline).id


class Directory:
    """The pipelines by the hashes of their tokens, as they were at most ``FRESH_S`` ago. For several threads."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._known: Mapping[str, str] = {}
        self._read_at = -FRESH_S
        self._lock = threading.Lock()

    @property
    def stale(self) -> bool:
        return time.monotonic() - self._read_at >= FRESH_S

    def pipeline_id(self, token: str) -> str | None:
        """The pipeline whose token that is, as far as is known. A hash is looked up, so that the time which that takes
        tells nothing about tokens."""
        return self._known.get(hashed(token))

    def refresh(self) -> None:
        """What is known is as of now."""
        with self._lock:
            if not self.stale:
                return
            begun = time.monotonic()
            query = (
                sa.select(hooks.c.token_hash, hooks.c.pipeline_id)
                .join(pipelines_table, pipelines_table.c.id == hooks.c.pipeline_id)
                .where(pipelines_table.c.state != "DELETING")
            )
            with self._database.reading() as connection:
                self._known = {row.token_hash: row.pipeline_id for row in connection.execute(query)}
            self._read_at = begun


def _pushed(home: Home, name: str) -> Pipeline:
    found = pipelines.find(home, name)
    if not registry.source(found.source_type).pushed:
        raise ConfigError(
            f"pipeline {name} has no webhook address: its source ({found.source_type}) asks for rows itself",
            hint="Make a pipeline with a source of type webhook.",
            code="not_pushed",
        )
    return found
