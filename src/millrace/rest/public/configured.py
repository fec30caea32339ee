"""`object_configurations` of a new pipeline: what shall hold for its objects before any of them is read (api.md A2)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from pydantic import Field

from millrace.control.home import Home
from millrace.control.pipeline import object_actions, objects, query_modes
from millrace.control.pipeline.objects import Object
from millrace.errors import ConfigError
from millrace.rest.public.shapes import Asked
from millrace.rest.public.wording import worded


class ObjectConfiguration(Asked):
    """What shall hold for one object: the one that is called `namespace.id`, else the one that is called `id`."""

    namespace: str | None = Field(None, max_length=255)
    task_category_type: str | None = Field(None, max_length=64, description="Taken, and not needed.")
    id: str = Field(min_length=1, max_length=255)
    config: dict[str, Any] | None = Field(None, description="Its query mode: `mode`, and the keys of that mode.")
    status: Literal["ACTIVE", "PAUSED", "SKIPPED"] = "ACTIVE"


def configure(home: Home, pipeline: str, wanted: Sequence[ObjectConfiguration]) -> None:
    """The objects are as wanted. The source is asked for them. Raises what it raises, and ConfigError where one of them
    is not there or cannot be so; some may be as wanted then."""
    known = {one.name.lower(): one for one in objects.refresh(home, pipeline)}
    for place, one in enumerate(wanted):
        found = _named(known, one, f"object_configurations.{place}.id")
        if one.config:
            with worded({}, below=f"object_configurations.{place}"):
                object_actions.set_query_mode(home, pipeline, found.name, query_modes.checked(one.config))
        if one.status == "SKIPPED" and found.state != "SKIPPED":
            object_actions.skip(home, pipeline, found.name)
        elif one.status == "PAUSED" and found.state == "ACTIVE":
            object_actions.pause(home, pipeline, found.name)


def _named(known: dict[str, Object], one: ObjectConfiguration, path: str) -> Object:
    names = [f"{one.namespace}.{one.id}", one.id] if one.namespace else [one.id]
    for name in names:
        if (found := known.get(name.lower())) is not None:
            return found
    some = sorted(object_.name for object_ in known.values())[:20]
    raise ConfigError(
        f"the source has no object {names[0]!r}", hint=f"It has {', '.join(some)}.", path=path, code="unknown_object"
    )
