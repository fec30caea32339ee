"""In which runs rows were read that lie in segments or files of rejects, also where they came back from rejects."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import sqlalchemy as sa

from millrace.control.database.tables import reject_files, reject_groups, segments
from millrace.data.dataclass import dataclass


@dataclass(frozen=True, slots=True)
class Read:
    """A run that read some of the rows, and when the first of what became of these was committed."""

    run: int
    at: datetime


class Origins:
    """Answers for one pipeline, as its books stand in one transaction."""

    def __init__(self, connection: sa.Connection, pipeline: str) -> None:
        self._connection = connection
        self._pipeline = pipeline
        self._files: dict[int, frozenset[Read]] = {}

    def of_segments(self, *where: sa.ColumnElement[bool]) -> frozenset[Read]:
        """The runs that read the rows of the segments for which that holds."""
        s = segments.c
        query = (
            sa.select(s.run_id, s.replayed_file, sa.func.min(s.staged_at).label("at"))
            .where(s.pipeline_id == self._pipeline, *where)
            .group_by(s.run_id, s.replayed_file)
        )
        found = self._connection.execute(query).all()
        return frozenset(read for row in found for read in self._of(row.replayed_file, Read(row.run_id, row.at)))

    def of_rejects(self, file: int) -> frozenset[Read]:
        """The runs that read the rows of the file, but for those of which the source could not make rows then."""
        if file not in self._files:
            self._files[file] = self._of_rejects(file)
        return self._files[file]

    def _of_rejects(self, file: int) -> frozenset[Read]:
        f, s = reject_files.c, segments.c
        row: Any = self._connection.execute(sa.select(reject_files).where(f.id == file)).one()
        if row.parked_table is not None:
            return self.of_segments(
                s.table_name == row.parked_table,
                s.generation == row.parked_generation,
                s.number > row.parked_after,
                s.number <= row.parked_upto,
            )
        if row.replayed_file is None and self._stages(file) == {"source"}:
            return frozenset()
        return self._of(row.replayed_file, Read(row.run_id, row.created_at))

    def _of(self, replayed: int | None, here: Read) -> frozenset[Read]:
        """Where rows come from that are ``here``, perhaps out of a file of rejects."""
        if replayed is None:
            return frozenset({here})
        before = self.of_rejects(replayed)
        # What the source had refused it made rows of when it got them back.
        return before | {here} if "source" in self._stages(replayed) else before

    def _stages(self, file: int) -> set[str]:
        g = reject_groups.c
        return set(self._connection.execute(sa.select(g.stage).where(g.file_id == file).distinct()).scalars())
