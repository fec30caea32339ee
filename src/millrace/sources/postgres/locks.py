"""How a reader takes the locks it needs, so that no transaction of the database's users ends because of it.

A reader that waits for one table while it holds another may close a circle with somebody who changes both, and the
server ends the transaction that finds the circle: it may be theirs. So the locks of a reader come together or not at
all; and where the server takes them one by one (views, queries), a reader gives up before anybody looks for circles.
Source: https://www.postgresql.org/docs/current/explicit-locking.html
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from millrace.errors import Transient

# SQLSTATE of a lock that somebody else has.
NOT_FREE = "55P03"
# For so long a reader tries to have its locks, with a pause between.
PATIENCE_S, PAUSE_S = 60.0, 0.05

# Half the time after which whoever waits looks for a circle, and no longer than 100 ms.
WAIT_MS = """
SELECT LEAST(GREATEST(extract(epoch FROM current_setting('deadlock_timeout')::interval) * 500, 1), 100)::int8"""


def lock(sources: Sequence[str]) -> str:
    """Takes the locks of a reader on these tables, with all their parts; fails at once where one is not free."""
    return f"LOCK TABLE {', '.join(sources)} IN ACCESS SHARE MODE NOWAIT"


def touch(source: str) -> str:
    """Takes the locks of whatever stands behind FROM, and reads nothing."""
    return f"SELECT 1 FROM {source} LIMIT 0"


def locked(names: Iterable[str]) -> Transient:
    return Transient(
        f"others have {', '.join(sorted(names))} locked for long",
        hint="Look for them in pg_locks and pg_stat_activity; the run is tried again.",
    )
