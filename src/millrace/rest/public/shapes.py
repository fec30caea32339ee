"""What all answers of the public API have in common (api.md A1)."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Generic, Literal, TypeAlias, TypeVar

from fastapi import Path, Query
from pydantic import BaseModel, ConfigDict, Field

from millrace.control.database.db import moment_ms
from millrace.control.database.pages import Page
from millrace.rest.cursors import sealed

T = TypeVar("T")
S = TypeVar("S")

# Characters of a position that people are shown.
SHOWN = 200

OnOff: TypeAlias = Literal["ENABLED", "DISABLED"]

PipelineId: TypeAlias = Annotated[int, Path(ge=1, lt=1 << 63, description="Number of the pipeline.")]
DestinationId: TypeAlias = Annotated[int, Path(ge=1, lt=1 << 63, description="Number of the destination.")]
Limit: TypeAlias = Annotated[int, Query(ge=1, le=100, description="Items on a page.")]
StartingAfter: TypeAlias = Annotated[str | None, Query(description="`pagination.starting_after` of the page before.")]


class Asked(BaseModel):
    """The body of a request. Keys that it does not have are refused."""

    model_config = ConfigDict(extra="forbid")


class Told(BaseModel):
    """Part of an answer."""

    model_config = ConfigDict(frozen=True)


class Data(Told, Generic[T]):
    """An answer with one thing in it."""

    success: Literal[True] = True
    data: T


class Pagination(Told):
    """Where the next page starts."""

    starting_after: str
    count: int = Field(description="Items on this page.")


class Listed(Told, Generic[T]):
    """One page of a list. The last page has no `pagination`."""

    success: Literal[True] = True
    data: list[T]
    pagination: Pagination | None = Field(None, exclude_if=lambda value: value is None)


def listed(page: Page[Any], items: list[T]) -> Listed[T]:
    """A page of control with its items as they are shown."""
    cursor = sealed(page.next)
    return Listed(data=items, pagination=Pagination(starting_after=cursor, count=len(items)) if cursor else None)


def moment(at: datetime | None) -> int | None:
    """Whole milliseconds since 1970."""
    return None if at is None else moment_ms(at)


def shortened(text: str) -> str:
    """At most so many characters of a position as people are shown."""
    return text if len(text) <= SHOWN else text[: SHOWN - 1] + "…"
