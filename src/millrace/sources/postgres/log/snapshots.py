"""What a moment of the database sees: which transactions were over by then."""

from __future__ import annotations

from millrace.data.dataclass import dataclass

# Works on every version that has logical replication; newer ones have another name for it beside.
CURRENT = "SELECT txid_current_snapshot()::text"

# Where the log ends in memory, whether the disk lacks some of it, how often it is brought there, and the timeline.
# Behind the head of a new page, or of a new file of the log, nothing is written yet. A standby writes none.
END = """
SELECT (CASE WHEN begun THEN flushed ELSE inserted END)::text, inserted > flushed AND NOT begun, delay_ms, timeline
FROM (
  SELECT *, (inserted - '0/0') % page IN (24, 40) AND inserted - flushed = (inserted - '0/0') % page AS begun FROM (
    SELECT pg_current_wal_insert_lsn() AS inserted, pg_current_wal_flush_lsn() AS flushed,
      (SELECT setting::int4 FROM pg_settings WHERE name = 'wal_writer_delay') AS delay_ms,
      ('x' || left(pg_walfile_name(pg_current_wal_insert_lsn()), 8))::bit(32)::int4 AS timeline,
      current_setting('wal_block_size')::int4 AS page WHERE NOT pg_is_in_recovery()) AS ends) AS ends"""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Transactions below ``low`` were over, those from ``high`` on had not begun, those in ``running`` went on.

    Numbers of transactions are 64 bits wide here, and the lower 32 of them in the log.
    Source: https://www.postgresql.org/docs/current/functions-info.html#FUNCTIONS-PG-SNAPSHOT
    """

    low: int
    high: int
    running: frozenset[int]

    @staticmethod
    def of(text: str) -> Snapshot:
        low, high, running = text.split(":")
        return Snapshot(int(low), int(high), frozenset(int(one) for one in running.split(",") if one))

    def __str__(self) -> str:
        return f"{self.low}:{self.high}:{','.join(str(one) for one in sorted(self.running))}"

    def sees(self, transaction: int) -> bool:
        """Whether the transaction, by its number in the log, was over."""
        number = (self.high & ~0xFFFFFFFF) | transaction
        if number - self.high >= 1 << 31:
            number -= 1 << 32
        elif self.high - number > 1 << 31:
            number += 1 << 32
        return number < self.high and number not in self.running

    def missing(self, earlier: Snapshot) -> list[int]:
        """Transactions, by their numbers in the log, that are over for ``earlier`` and go on here.

        A transaction shows in the log, and in a snapshot made from it, a little before others see that it is over.
        """
        open_ = [one for one in self.running if one < earlier.high and one not in earlier.running]
        open_ += [one for one in range(self.high, earlier.high) if one not in earlier.running]
        return [one & 0xFFFFFFFF for one in open_]
