"""How the operations take a name, of a thing or a file, and a moment."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

from pydantic import AfterValidator, Field


def _in_utc(moment: datetime) -> datetime:
    try:
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except OverflowError:
        raise ValueError("the moment is in no calendar") from None


Name = Annotated[str, Field(min_length=1, max_length=255, description="Name that it is saved under.")]
FileName = Annotated[str, Field(min_length=1, max_length=500, description="A relative path, like events.csv.")]
Moment = Annotated[datetime, AfterValidator(_in_utc), Field(description="Without an offset it is UTC.")]
