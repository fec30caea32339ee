"""What a run has done so far, for those who watch. Written by the run, read by anybody at any time."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Meter:
    """Counts of one run. Rows read + created = staged + filtered + rejected + those not committed yet."""

    read: int = 0
    created: int = 0
    staged: int = 0
    filtered: int = 0
    rejected: int = 0
    loaded: int = 0
    size_bytes: int = 0
    """Bytes of staged files."""
    progress: float | None = None
    """Share of the historical lane that is done, 0 to 1."""
    awaiting: str = ""
    stage: str = ""
    """What goes on: reading events, loading, ending."""
