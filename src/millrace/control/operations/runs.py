"""What runs did."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from millrace.control.books import records
from millrace.control.books.records import RunRecord
from millrace.control.desk import operation
from millrace.control.home import Home

# Numbers are 63 bits in the control database.
Number = Annotated[int, Field(ge=0, lt=1 << 63)]


@operation("GET", "/runs")
def list_(
    home: Home,
    pipeline: Annotated[str, Field(max_length=255, description="Only runs of this pipeline.")] | None = None,
    limit: Annotated[int, Field(ge=1, le=1000, description="The newest so many.")] = 20,
    before: Annotated[Number, Field(description="Only runs older than the one of this number.")] | None = None,
) -> list[RunRecord]:
    """List runs, the newest first.

    The balance of a run: read + created = loaded + filtered + rejected + dropped + waiting on the stage.
    """
    return records.run_records(home, pipeline, limit=limit, before=before)


@operation("GET", "/runs/{run}")
def find(home: Home, run: Number) -> RunRecord:
    """Show all of one run."""
    return records.run_record(home, run)


OPERATIONS = (list_, find)
