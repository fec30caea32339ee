"""The clock of a run: this machine's, or one that is set apart for a simulator that lives in another time."""

from __future__ import annotations

import os
from datetime import datetime, timedelta

from millrace.connect.source import Clock, SystemClock
from millrace.errors import ConfigError


class ShiftedClock(SystemClock):
    """The machine's clock, that many seconds later (negative: earlier)."""

    def __init__(self, shift_s: float) -> None:
        self._shift = timedelta(seconds=shift_s)

    def now(self) -> datetime:
        return super().now() + self._shift


def clock() -> Clock:
    """The machine's clock, shifted by $MILLRACE_CLOCK_SHIFT_S where that is set.

    A simulator whose virtual clock stands at another day needs a reader that agrees with it.
    """
    shift = os.environ.get("MILLRACE_CLOCK_SHIFT_S", "")
    try:
        return ShiftedClock(float(shift)) if shift.strip() not in ("", "0") else SystemClock()
    except ValueError:
        raise ConfigError(
            f"MILLRACE_CLOCK_SHIFT_S is {shift!r}, which is not a number of seconds",
            hint="Unset it; it is only for use with simulators.",
            path="MILLRACE_CLOCK_SHIFT_S",
        ) from None
