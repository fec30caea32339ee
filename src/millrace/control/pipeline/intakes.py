"""The intake beside the stage: what was sent to pipelines waits there."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import sqlalchemy as sa

from millrace.connect.intake.place import Place, open_place
from millrace.connect.intake.reading import Intake
from millrace.control.database.tables import pipelines

if TYPE_CHECKING:
    from millrace.control.home import Home
    from millrace.control.pipeline.pipelines import Pipeline


def place(home: Home) -> Place:
    """Where all of it is: with the stage, so that every server and worker finds it."""
    return open_place(home.stage_url)


def of(home: Home, pipeline: Pipeline) -> Intake:
    """What was sent to the pipeline."""
    return Intake(place(home), pipeline.id)


def expire(home: Home) -> int:
    """What was sent to pipelines that are no more is gone; how many files. A server may still have taken something in
    the second in which its pipeline went, so this is done again and again."""
    where = place(home)
    owners = where.owners()
    if not owners:
        return 0
    with home.database.reading() as connection:
        there = set(connection.execute(sa.select(pipelines.c.id)).scalars())
    gone = [file for owner in owners if owner not in there for file in where.files(owner)]
    for file in gone:
        with suppress(OSError):  # the next time tries again
            where.delete(file)
    return len(gone)
