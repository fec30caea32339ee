"""Numbers that people use for pipelines and connections: counted from 1 for each kind, never given twice."""

from __future__ import annotations

import sqlalchemy as sa

from millrace.control.database.db import upsert
from millrace.control.database.tables import numbers


def following(connection: sa.Connection, kind: str) -> int:
    """The next number of a kind, taken in the caller's transaction."""
    upsert(connection, numbers, [{"kind": kind, "last": 1}], key=["kind"], add=["last"])
    return connection.execute(sa.select(numbers.c.last).where(numbers.c.kind == kind)).scalar_one()
