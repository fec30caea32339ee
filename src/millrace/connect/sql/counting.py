"""Statements that count or show rows of a table at a destination."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from millrace.connect.sql.dialect import Dialect

if TYPE_CHECKING:
    from millrace.connect.local_days import LocalDays

Ends = tuple[int | None, int | None]


def statement(
    quoted: Callable[[str], str], target: str, key: str, ranges: Sequence[Ends], only: Mapping[str, bool]
) -> str:
    """SQL whose one row has the highest ``key`` (NULL where there is no key), and the rows of each range.

    ``only``: columns with yes or no, and which of them rows must have; one without a value says no.
    """
    counts = [f"count(CASE WHEN {_within(quoted, key, one)} THEN 1 END) AS r{n}" for n, one in enumerate(ranges)]
    highest = f"max({quoted(key)})" if key else "NULL"
    return f"SELECT {', '.join([f'{highest} AS highest', *counts])} FROM {target}{_where(quoted, only)}"


def rows(quoted: Callable[[str], str], target: str, names: Sequence[str], only: Mapping[str, bool]) -> str:
    """SQL for these columns of the rows of a table."""
    return f"SELECT {', '.join(map(quoted, names))} FROM {target}{_where(quoted, only)}"


def tally(
    dialect: Dialect, target: str, name: str, at: str, days: LocalDays, only: Mapping[str, bool], *, text: str
) -> str:
    """SQL for the rows of each name and local day, in their order. ``text``: SQL that makes a text of the name ``{c}``.

    What the server holds for the offsets of the zone is not asked.
    """
    group, moment = dialect.quoted(name), dialect.quoted(at)

    def written(one: datetime) -> str:
        return dialect.utc.format(t=one.replace(tzinfo=None).isoformat(" "))

    begin, end = map(written, days.span)
    offsets = days.offsets()
    until = [written(changed) for changed, _ in offsets[1:]]
    cases = "".join(f" WHEN {moment} < {then} THEN {s}" for then, (_, s) in zip(until, offsets, strict=False))
    seconds = f"CASE{cases} ELSE {offsets[-1][1]} END" if cases else str(offsets[-1][1])
    between = f"{group} IS NOT NULL AND {moment} >= {begin} AND {moment} < {end}"
    return (
        f"SELECT {text.format(c=group)} AS n, {dialect.local_day.format(c=moment, s=seconds)} AS d, count(*) AS c "
        f"FROM {target}{_where(dialect.quoted, only, between)} "
        "GROUP BY 1, 2 ORDER BY 1, 2"
    )


def _where(quoted: Callable[[str], str], only: Mapping[str, bool], *others: str) -> str:
    kept = [
        *others,
        *(
            f"{quoted(name)} = TRUE" if wanted else f"({quoted(name)} IS NULL OR {quoted(name)} = FALSE)"
            for name, wanted in only.items()
        ),
    ]
    return f" WHERE {' AND '.join(kept)}" if kept else ""


def _within(quoted: Callable[[str], str], key: str, ends: Ends) -> str:
    low, high = ends
    parts = [f"{quoted(key)} >= {low}"] if low is not None else []
    parts += [f"{quoted(key)} <= {high}"] if high is not None else []
    return " AND ".join(parts) or "1 = 1"
