"""Who goes first: pipelines of priority HIGH, how many there may be, and what is kept for the others. Pure."""

from __future__ import annotations

from collections.abc import Collection
from typing import Literal, TypeAlias

Priority: TypeAlias = Literal["NORMAL", "HIGH"]

# Of so many tasks that a worker takes, one is NORMAL, where any waits (pipelines.md 8.7: HIGH 4 : NORMAL 1).
ROUND = 5

HIGH_SHARE_PERCENT = 25


def allowed(accounts: Collection[str], share_percent: int = HIGH_SHARE_PERCENT) -> int:
    """How many accounts may have pipelines of priority HIGH, given those of all pipelines; of 12 it is 3."""
    return len(set(accounts)) * share_percent // 100


def preferred(taken: int, worker: int, workers: int) -> tuple[Priority, ...]:
    """Which tasks the worker takes now, the ones it prefers first. ``taken``: how many it took before.

    Of several workers the first one is kept for NORMAL, so that these get on however much else is urgent.
    """
    if workers > 1 and worker == 0:
        return ("NORMAL",)
    if taken % ROUND == ROUND - 1:
        return ("NORMAL", "HIGH")
    return ("HIGH", "NORMAL")
