"""The errands that compare a source's own counts with what is in the tables."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from millrace.control.desk import Watch, errand
from millrace.control.home import Home
from millrace.control.operations.names import Name
from millrace.control.operations.sync import Only, Since
from millrace.control.reconciling.reconcile import reconcile as compared
from millrace.control.reconciling.reconciliation import Reconciliation

Values = Annotated[bool, Field(description="Rows of databases are compared value by value too; both sides are read.")]


@errand("/pipelines/{pipeline}/reconcile", "view", noun="pipelines")
def reconcile(
    home: Home, watch: Watch, pipeline: Name, since: Since | None = None, only: Only = (), values: Values = False
) -> list[Reconciliation]:
    """Compare the source's own counts with the table's rows, and give every difference its cause."""
    return compared(home, pipeline, since=since, only=only, values=values, meter=watch.meter, stopping=watch.stopping)


@errand("/pipelines/{pipeline}/reconcile-and-fix", "pipelines.edit", noun="pipelines")
def mend(
    home: Home, watch: Watch, pipeline: Name, since: Since | None = None, only: Only = (), values: Values = False
) -> list[Reconciliation]:
    """Compare counts, read the days or rows that differ once more, and compare again."""
    return compared(
        home, pipeline, fix=True, since=since, only=only, values=values, meter=watch.meter, stopping=watch.stopping
    )


OPERATIONS = (reconcile, mend)
