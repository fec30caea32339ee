"""Whether a server can be followed: its log, the user's right, and room for one more."""

from __future__ import annotations

from millrace.connect.source import Verdict
from millrace.sources.postgres.catalog import Asking
from millrace.sources.postgres.errors import FAILOVER_HINT, HINTS, STANDBY_HINT, no_failover, no_log_of_standby

_ABLE = """
SELECT current_setting('wal_level'),
  EXISTS (SELECT 1 FROM pg_roles AS r WHERE r.rolname = current_user AND (r.rolsuper OR r.rolreplication))
    OR EXISTS (SELECT 1 FROM pg_roles AS r WHERE r.rolname IN ('rds_replication', 'azure_pg_admin')
      AND pg_has_role(current_user, r.oid, 'MEMBER')),
  current_setting('max_replication_slots')::int8 - (SELECT count(*) FROM pg_replication_slots),
  current_setting('max_wal_senders')::int8 - (SELECT count(*) FROM pg_stat_replication),
  COALESCE(current_setting('max_slot_wal_keep_size', true), '-1'),
  pg_is_in_recovery(), current_setting('server_version_num')::int4"""


def verdict(asking: Asking, *, own: bool, failover: bool) -> Verdict:
    """The finding on the log. ``own``: a publication that a person made is named. ``failover``: the slot shall go on at
    a standby."""
    ((level, may, slots, senders, most, standby, version),) = asking.rows(_ABLE)
    if why := no_log_of_standby(version, own=own) if standby else None:
        return Verdict("log", "fail", why, STANDBY_HINT)
    if level != "logical":
        return Verdict("log", "fail", f"wal_level is {level}", HINTS["postgres_1012"])
    if not may:
        return Verdict("log", "fail", "the user may not replicate", HINTS["postgres_1011"])
    if why := no_failover(version, standby=standby) if failover else None:
        return Verdict("log", "fail", why, FAILOVER_HINT)
    if slots < 1 or senders < 1:
        return Verdict("log", "warn", "every replication slot or sender is in use", HINTS["postgres_1024"])
    if most == "-1":
        return Verdict("log", "pass", "it can be followed; it is kept without limit while no run reads it")
    return Verdict("log", "pass", f"it can be followed; {most} of it are kept while no run reads it")
