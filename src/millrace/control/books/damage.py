"""Staged files that are damaged or gone before they were loaded: what they held is given up and read again."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote

import pyarrow as pa

from millrace.connect.source import Note
from millrace.data.batch import GIVEN_UP, Segment
from millrace.engine.stage import OpenFile, Stage
from millrace.errors import EnvironmentProblem

if TYPE_CHECKING:
    from millrace.control.running.crews import Crew
    from millrace.engine.sync import Sync


def give_up(ours: Crew, sync: Sync) -> None:
    """No file that waits to be merged is damaged any more: an empty one stands in its place, and a note says so.

    To be asked only once it is on the books that the history of the sync's streams is read into the same tables: rows
    that are given up before would be missed by nobody if the process died then. Files of a full
    reload stay as they are: a table that lacks rows must not take the place of a whole one.
    """
    names = {stream.name for stream in sync.streams}
    source = {stream.name for stream in sync.source.streams()}
    for shelved in ours.books.tables():
        stream, table = shelved.mapping.stream, shelved.mapping.table
        # Rows of an event type that steps made come again when all is read.
        read = stream in names or (stream not in source and source <= names)
        if shelved.fresh or not read:
            continue
        rows = 0
        for segment in ours.books.segments(table, shelved.generation, shelved.loaded):
            if segment.rows and _damaged(sync.stage, segment):
                empty = OpenFile.begun(sync.stage, pa.schema([]))
                put = empty.put(f"{ours.books.feed}/{quote(table, safe='')}/{GIVEN_UP}")
                ours.books.give_up(table, shelved.generation, segment.number, *put)
                rows += segment.rows
        if rows:
            ours.note(
                Note(
                    "given_up",
                    f"{rows:,} rows that waited for {table} were in staged files that are damaged or gone; they are "
                    "read again as far as the source still has them",
                )
            )


def _damaged(stage: Stage, segment: Segment) -> bool:
    try:
        stage.read(segment.path, segment.checksum)
    except EnvironmentProblem as problem:
        if problem.code != "stage_damaged":
            raise
        return True
    return False
