"""What holds when a standby takes the primary's place: that it has all that was read before.

Sources: https://www.postgresql.org/docs/current/protocol-replication.html, continuous-archiving.html on timelines
"""

from __future__ import annotations

import re

from millrace.connect.log import expired
from millrace.sources.postgres.log.wire import Wire, lsn

# A line of a timeline's history: one that came before, and where the log went over to the next one.
_SWITCH = re.compile(r"^\s*(\d+)\s+([0-9A-Fa-f]+/[0-9A-Fa-f]+)", re.MULTILINE)


def reached(wire: Wire, at: int, known: int | None) -> int | None:
    """The timeline of the server's log, which has all in front of ``at``, a place of the timeline ``known``.

    A server that takes another's place begins a timeline where its own log ended. What was read behind that, it does
    not have; and the same places are other changes of its own. None at a standby, whose timeline may change while it
    is read, and whose slots no other server has. Raises ConfigError "log_expired".
    """
    ((standby,),) = wire.ask("SELECT pg_is_in_recovery()")
    ((_, now, *_),) = wire.ask("IDENTIFY_SYSTEM")
    if known is not None and now != str(known):
        ((_, history),) = wire.ask(f"TIMELINE_HISTORY {now}")
        ends = {int(timeline): lsn(end) for timeline, end in _SWITCH.findall(history or "")}
        if ends.get(known, 0) < at:
            raise expired("a server took the place of the one that was followed, and did not have all that was read")
    return None if standby == "t" else int(now or 0)
