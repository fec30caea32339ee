"""What a system keeps for a pipeline that follows its log, and how it goes with the pipeline."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

import sqlalchemy as sa

from millrace.connect.log import LOG
from millrace.connect.source import Context
from millrace.control import activity
from millrace.control.activity import Entity
from millrace.control.connecting import connections
from millrace.control.database.tables import connections as connection_table
from millrace.control.database.tables import cursor_history, pipelines
from millrace.control.running.clock import clock
from millrace.errors import MillraceError

if TYPE_CHECKING:
    from millrace.control.connecting.connections import Connection
    from millrace.control.home import Home


def follows(home: Home, source: Connection) -> bool:
    """The source is read from a log. The system itself is not asked."""
    if not connections.registry.source(source.type).logged:
        return False
    with closing(connections.build_source(home, source.id, Context(clock=clock()))) as built:
        return built.log() is not None


def forget(home: Home, pipeline_id: str, name: str) -> None:
    """The source keeps nothing for the pipeline any more. What cannot be taken away, because the source does not
    answer, is told in the activity log, with how a person takes it away."""
    query = (
        sa.select(pipelines.c.source_id, connection_table.c.type)
        .join(connection_table, connection_table.c.id == pipelines.c.source_id)
        .where(pipelines.c.id == pipeline_id)
    )
    with home.database.reading() as connection:
        found = connection.execute(query).first()
    if found is None or not connections.registry.source(found.type).logged:
        return
    try:
        source = connections.build_source(home, found.source_id, Context(clock=clock(), pipeline=pipeline_id))
        with closing(source):
            if source.log() is not None or _followed(home, pipeline_id):
                source.forget_log()
    except MillraceError as error:
        message = f"the source of pipeline {name} may still keep its log for it: {error.message} {error.hint or ''}"
        activity.wrote(home, "HIGH", Entity("pipeline", pipeline_id, name), "forget", message)


def _followed(home: Home, pipeline_id: str) -> bool:
    """The pipeline has followed a log, whatever its settings are now."""
    mine = (cursor_history.c.pipeline_id == pipeline_id, cursor_history.c.stream == LOG)
    with home.database.reading() as connection:
        return connection.execute(sa.select(cursor_history.c.id).where(*mine).limit(1)).first() is not None
