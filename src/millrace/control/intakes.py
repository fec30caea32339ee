"""The intake beside the stage: what was sent to pipelines waits there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from millrace.connect.intake.place import Place, open_place
from millrace.connect.intake.reading import Intake

if TYPE_CHECKING:
    from millrace.control.home import Home
    from millrace.control.pipelines import Pipeline


def place(home: Home) -> Place:
    """Where all of it is: with the stage, so that every server and worker finds it."""
    return open_place(home.stage_url)


def of(home: Home, pipeline: Pipeline) -> Intake:
    """What was sent to the pipeline."""
    return Intake(place(home), pipeline.id)
