"""Settings of a webhook: where in a payload its events are, and what they are called."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field, StringConstraints

from millrace.connect.config import SourceConfig


def _keys(path: str) -> str:
    """The keys of a path, also of one that is written as JSONPath. Raises ValueError for what is more than keys."""
    keys = path.removeprefix("$.")
    if keys != path and ("[" in keys or "*" in keys):
        raise ValueError("should be keys with dots between, without brackets and stars")
    return keys


# Keys of nested objects, with dots between: `key_values.event`, or `$.key_values.event`.
Path = Annotated[str, StringConstraints(pattern=r"^[^.\s][^.]*(\.[^.]+)*$", max_length=500), AfterValidator(_keys)]


class Config(SourceConfig):
    """Settings of a webhook. All may be left out."""

    event_name: Annotated[str, StringConstraints(min_length=1, max_length=255)] = Field(
        "events", description="Event type of events that do not say theirs."
    )
    name_path: Path | None = Field(
        None, description="Where an event says its type: keys with dots between, in the event, else in the payload."
    )
    events_path: Path | None = Field(
        None,
        description="Where a payload has its events, an array or one object; what is beside them is kept with each.",
    )
    id_path: Path | None = Field(
        None, description="Where an event has an id of its own: the same event sent twice is then one row."
    )
