"""Looks that change nothing: what a source offers, some of its rows, and SQL at a destination."""

from __future__ import annotations

from typing import Annotated

import pyarrow as pa
from pydantic import Field

from millrace.control.connecting import connections, preview
from millrace.control.connecting.connections import Offer
from millrace.control.desk import operation
from millrace.control.home import Home
from millrace.control.operations.names import Name

Most = Annotated[int, Field(ge=1, le=10_000, description="Rows at most.")]


@operation("GET", "/sources/{source}/objects", noun="sources")
def discover(home: Home, source: Name) -> list[Offer]:
    """List the objects that a source offers, as it says now.

    With their keys, the columns that are known before rows are read, and whether they have a history.
    """
    return connections.discover(home, source)


@operation("GET", "/sources/{source}/rows", noun="sources")
def look(home: Home, source: Name, object: Name | None = None, limit: Most = 10) -> pa.Table:
    """Read some rows of an object. Nothing is staged, loaded or remembered."""
    return preview.preview(home, source, object, limit)


@operation("POST", "/query", noun="destinations")
def query(
    home: Home,
    sql: Annotated[str, Field(min_length=1, max_length=1_000_000, description="One statement that reads.")],
    destination: Annotated[Name | None, Field(description="Left out: the only one.")] = None,
    limit: Annotated[int, Field(ge=1, le=1_000_000, description="Rows at most.")] | None = None,
) -> pa.Table:
    """Run SQL at a destination. The statement can only read."""
    return preview.query(home, destination, sql, limit=limit)


OPERATIONS = (discover, look, query)
