"""Everything that an object has, read again from time to time: the full load, of tables and of collections."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Any, Protocol

from millrace.connect.source import Context, Note
from millrace.data.batch import JSON, Checkpoint, Item

# Runs begin at slots, some seconds late: a whole reading is due a little before its time.
_SLACK = timedelta(minutes=10)


class Whole(Protocol):
    """What one such read needs to know. ``whole_every``: from one reading of everything to the next."""

    @property
    def context(self) -> Context: ...
    @property
    def whole_every(self) -> timedelta: ...
    def cursor(self, **state: JSON) -> dict[str, JSON]: ...


def read(
    plan: Whole,
    name: str,
    state: dict[str, Any],
    ranges: Callable[[JSON, Callable[[JSON], JSON]], Iterator[Item]],
) -> Iterator[Item]:
    """Nothing where it is too early, else all that ``ranges`` reads from the ranges that are known, with the cursor
    of theirs. ``state`` is that of the lane, ``name`` the object's for people."""
    now = plan.context.clock.now()
    since = datetime.fromisoformat(state["since"]) if state.get("since") else None
    if state.get("ranges") is None and since is not None and now - since < plan.whole_every - _SLACK:
        then = since + plan.whole_every
        text = f"{name} was read whole at {since:%Y-%m-%d %H:%M} UTC, and is again from {then:%H:%M} on"
        plan.context.note(Note("whole_later", text, level="info"))
        return
    began = state.get("began") or now.isoformat()
    yield from ranges(state.get("ranges"), lambda known: plan.cursor(ranges=known, began=began))
    yield Checkpoint(plan.cursor(since=began), progress=1.0)
