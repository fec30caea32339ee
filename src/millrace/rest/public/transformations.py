"""Transformations of pipelines (api.md A4): what is deployed, deploying, a try, a sample."""

from __future__ import annotations

import json
from contextlib import closing
from typing import Annotated, Any, Literal

from fastapi import Query, Response
from pydantic import AliasChoices, Field, model_validator

from millrace.control.home import Home
from millrace.control.pipeline import pipelines
from millrace.control.transforming import transformations, trials
from millrace.control.transforming.trials import Event, Outcome
from millrace.errors import ConfigError
from millrace.rest.asking import KeyRoute
from millrace.rest.later import Addresses
from millrace.rest.permits import EditingTransformations, Viewing
from millrace.rest.public.shapes import Asked, Data, PipelineId, Told

router = Addresses(prefix="/pipelines/{pipeline_id}/transformations", tags=["transformations"], route_class=KeyRoute)

Script = Annotated[str, Field(validation_alias=AliasChoices("script", "code"), description="Python source.")]


class TransformationTold(Told):
    """What rows go through: a script, a chain of blocks, or nothing."""

    kind: Literal["python", "blocks", "none"]
    script: str | None
    blocks: Any = None
    version: int


class NewTransformation(Asked):
    """A script, or a chain of blocks. Some callers call the script `code`."""

    script: Annotated[str | None, Field(validation_alias=AliasChoices("script", "code"))] = None
    blocks: dict[str, Any] | list[Any] | None = None

    @model_validator(mode="after")
    def _either(self) -> NewTransformation:
        if (self.script is None) == (self.blocks is None):
            raise ValueError("send either script or blocks")
        return self


class EventTold(Told):
    """One event."""

    event_name: str
    properties: dict[str, Any]


class Try(Asked):
    """A script, and an event to try it on."""

    script: Script
    event_name: str = Field("event", min_length=1)
    properties: dict[str, Any]


class Mistake(Told):
    """Why the event did not pass. `line` of the script, where it failed there."""

    code: str
    message: str
    line: int | None


class TrialTold(Told):
    """The events that came out, and what went wrong."""

    output: list[EventTold]
    errors: list[Mistake]


@router.get("")
def transformation_read(home: Viewing, pipeline_id: PipelineId) -> Data[TransformationTold]:
    """What is deployed."""
    return Data(data=_deployed(home, pipelines.numbered(home, pipeline_id).name))


@router.put("")
def transformation_deployed(
    home: EditingTransformations, pipeline_id: PipelineId, body: NewTransformation
) -> Data[TransformationTold]:
    """The script or the blocks are checked and deployed: rows that are read from now on go through them."""
    found = pipelines.numbered(home, pipeline_id)
    author = home.actor.name
    if body.script is not None:
        transformations.deploy(home, found.name, "python", body.script, author=author)
    else:
        transformations.deploy(home, found.name, "blocks", json.dumps(body.blocks), author=author)
    return Data(data=_deployed(home, found.name))


@router.post("/test")
def transformation_tried(home: EditingTransformations, pipeline_id: PipelineId, body: Try) -> Data[TrialTold]:
    """The script is tried on one event; nothing is deployed or kept."""
    found = pipelines.numbered(home, pipeline_id)
    event = Event(body.event_name, body.properties)
    try:
        with closing(transformations.step(home, "python", body.script, traced=True)) as step:
            (outcome,) = trials.test(home, step, [event], pipeline=found.name).outcomes
    except ConfigError as error:
        return Data(
            data=TrialTold(output=[], errors=[Mistake(code=error.code.upper(), message=error.message, line=None)])
        )
    return Data(data=_tried(outcome))


@router.get(
    "/sample", responses={204: {"description": "The pipeline keeps no sample yet."}}, response_model=Data[EventTold]
)
def sample(
    home: Viewing, pipeline_id: PipelineId, event_name: Annotated[str | None, Query()] = None
) -> Data[EventTold] | Response:
    """One of the first events that the pipeline read."""
    found = pipelines.numbered(home, pipeline_id)
    events = trials.sampled(home, found.name, event_name)
    if not events:
        return Response(status_code=204)
    return Data(data=_event(events[0]))


def _deployed(home: Home, pipeline: str) -> TransformationTold:
    found = transformations.standing(home, pipeline).deployed
    if found is None:
        return TransformationTold(kind="none", script=None, version=0)
    return TransformationTold(
        kind=found.kind,
        script=found.text if found.kind == "python" else None,
        blocks=json.loads(found.text) if found.kind == "blocks" else None,
        version=found.version,
    )


def _tried(outcome: Outcome) -> TrialTold:
    error = outcome.error
    errors = [Mistake(code=error.code.upper(), message=error.message, line=error.line)] if error is not None else []
    return TrialTold(output=[_event(event) for event in outcome.output], errors=errors)


def _event(event: Event) -> EventTold:
    return EventTold(event_name=event.event_name, properties=event.properties)
