"""How often a source may be read: the default of new pipelines, the shortest and the longest interval."""

from __future__ import annotations

from millrace.data.dataclass import dataclass

MINUTE_S = 60
HOUR_S = 3600
DAY_S = 86400


@dataclass(frozen=True, slots=True)
class Frequency:
    """Intervals between two runs, in seconds. ``longest_s`` None: as seldom as one likes."""

    default_s: int
    shortest_s: int
    longest_s: int | None = None


# What holds where a source says nothing of its own: in workspaces of today, and in those with the intervals of old.
USUAL = Frequency(6 * HOUR_S, MINUTE_S)
USUAL_LEGACY = Frequency(30 * MINUTE_S, MINUTE_S)
# What a pipeline that follows a log has, where nobody says otherwise: systems keep logs for a short time alone.
FOLLOWING_S = 30 * MINUTE_S
