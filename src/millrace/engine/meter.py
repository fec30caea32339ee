"""What a run has done so far, for those who watch. Written by the run, read by anybody at any time."""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import field

from millrace.data.dataclass import dataclass


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
    """Share of the lane that is read now, 0 to 1; None where the source does not say."""
    awaiting: str = ""
    stage: str = ""
    """What goes on: reading events, loading, ending."""
    new: Counter[str] = field(default_factory=Counter[str])
    """Rows read and committed, without those that were read before, by object."""
    failed: Counter[str] = field(default_factory=Counter[str])
    """Rows rejected, by object."""
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False, compare=False)

    def refuse(self, stream: str, rows: int) -> None:
        """So many rows were rejected. Reading and loading both say so, at the same time."""
        with self._lock:
            self.rejected += rows
            self.failed[stream] += rows
