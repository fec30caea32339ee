"""A slot that goes on at a standby which takes the primary's place, and what that standby must have.

Sources: https://www.postgresql.org/docs/current/protocol-replication.html, logical-replication-failover.html,
continuous-archiving.html on timelines
"""

from __future__ import annotations

import re

from millrace.connect.log import expired
from millrace.errors import ConfigError
from millrace.sources.postgres.log.publishing import Names, Side
from millrace.sources.postgres.log.wire import Wire, lsn, lsn_text

# A line of a timeline's history: one that came before, and where the log went over to the next one.
_SWITCH = re.compile(r"^\s*(\d+)\s+([0-9A-Fa-f]+/[0-9A-Fa-f]+)", re.MULTILINE)

# Nothing of the log is sent of a failover slot before all of these have it; the server looks at the same place.
_BEHIND = """
SELECT w.name FROM (SELECT lower(btrim(one, ' "')) AS name
  FROM unnest(string_to_array(current_setting('synchronized_standby_slots', true), ',')) AS one) AS w
LEFT JOIN pg_replication_slots AS s ON s.slot_name = w.name AND s.slot_type = 'physical'
WHERE w.name <> '' AND (s.restart_lsn >= CAST(%s AS pg_lsn)) IS NOT TRUE ORDER BY w.name"""


def goes_on(side: Side, names: Names) -> bool:
    """The slot goes on at a standby that takes the server's place."""
    sql = "SELECT 1 FROM pg_replication_slots AS s WHERE slot_name = %s AND to_jsonb(s) ->> 'failover' = 'true'"
    return bool(side.rows(sql, names.slot))


def behind(side: Side, names: Names, at: int) -> list[str]:
    """Slots of standbys that have not all up to ``at``, and without which the server sends none of it."""
    return [one for (one,) in side.rows(_BEHIND, lsn_text(at))] if goes_on(side, names) else []


def reached(wire: Wire, *places: tuple[int, int | None]) -> int | None:
    """The timeline of the server's log, which has all in front of these places, each with its timeline where that is
    known.

    A server that takes another's place begins a timeline where its own log ended. What was read behind that, it does
    not have; and the same places are other changes of its own. None at a standby, whose timeline may change while it
    is read, and whose slots no other server has. Raises ConfigError "log_expired", also where the server cannot tell
    where its timeline began.
    """
    ((standby,),) = wire.ask("SELECT pg_is_in_recovery()")
    ((_, now, *_),) = wire.ask("IDENTIFY_SYSTEM")
    others = [(at, known) for at, known in places if known is not None and now != str(known)]
    if others:
        try:
            ((_, history),) = wire.ask(f"TIMELINE_HISTORY {now}")
        except ConfigError as error:
            raise expired(
                "a server took the place of the one that was followed, and cannot tell whether it had all that was read"
            ) from error
        ends = {int(timeline): lsn(end) for timeline, end in _SWITCH.findall(history or "")}
        if any(ends.get(known, 0) < at for at, known in others):
            raise expired("a server took the place of the one that was followed, and did not have all that was read")
    return None if standby == "t" else int(now or 0)
