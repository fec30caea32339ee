"""What all answers of the orchestration API have in common: things bare, lists by pages."""

from __future__ import annotations

from typing import Annotated, Generic, TypeAlias, TypeVar

from fastapi import Query

from millrace.rest.public.shapes import Told

T = TypeVar("T")

Limit: TypeAlias = Annotated[int, Query(ge=1, le=100, description="Items on a page.")]
Cursor: TypeAlias = Annotated[str | None, Query(description="`next_cursor` of the page before.")]


class Listed(Told, Generic[T]):
    """One page of a list."""

    data: list[T]
    has_more: bool
    next_cursor: str | None


class Accepted(Told):
    """Something was begun. A job of it is found among the jobs of the pipeline."""

    message: str
    pipeline_id: int
    job_id: str
