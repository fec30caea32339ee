from __future__ import annotations

from datetime import date

from millrace.connect.source import Count, Seen
from millrace.control.reconciling.reconcile_days import Kept, compare
from millrace.control.reconciling.reconciliation import Compared

DAY = date(2026, 3, 14)


def one(
    counted: int,
    held: int,
    seen: Seen | None,
    *,
    every_copy: bool = False,
    rejected: int = 0,
    unreadable: str = "",
    waiting: bool = False,
) -> Compared:
    (row,) = compare(
        [Count("Charged", DAY, counted)],
        [("Charged", DAY.isoformat(), held)],
        [seen] if seen else [],
        kept=lambda _: Kept(every_copy, waiting),
        rejected={"Charged": rejected} if rejected else {},
        unreadable={"Charged": unreadable} if unreadable else {},
    )
    return row


def causes(row: Compared) -> dict[str, int]:
    return {cause.code: cause.rows for cause in row.causes}


def test_equal_counts_need_no_cause():
    row = one(10, 10, Seen("Charged", DAY, 10, 10))
    assert row.causes == ()
    assert row.unexplained == 0
    assert not row.wants_reading


def test_copies_that_became_one_row_are_duplicates_in_merge():
    assert causes(one(10, 8, Seen("Charged", DAY, 8, 10))) == {"duplicates": 2}


def test_append_keeps_copies_so_they_explain_nothing():
    row = one(10, 8, Seen("Charged", DAY, 8, 10), every_copy=True)
    assert row.unexplained == 2
    assert row.wants_reading


def test_rows_that_came_after_the_last_read_are_late_and_want_reading():
    row = one(10, 7, Seen("Charged", DAY, 7, 7))
    assert causes(row) == {"late": 3}
    assert row.wants_reading


def test_rows_of_a_day_without_any_may_be_late_or_were_never_read():
    row = one(2, 0, None)
    assert [(cause.code, cause.message) for cause in row.causes] == [
        ("late", "2 rows are of a day that had none when it was last read, or that was never read")
    ]
    assert row.wants_reading


def test_rejects_are_a_cause_once():
    rows = compare(
        [Count("Charged", DAY, 5), Count("Charged", date(2026, 3, 15), 5)],
        [("Charged", "2026-03-14", 4), ("Charged", "2026-03-15", 4)],
        [Seen("Charged", DAY, 5, 5), Seen("Charged", date(2026, 3, 15), 5, 5)],
        kept=lambda _: Kept(),
        rejected={"Charged": 1},
        unreadable={},
    )
    assert [causes(row) for row in rows] == [{"rejected": 1}, {}]
    assert [row.unexplained for row in rows] == [0, 1]
    assert rows[0].causes[0].message == "1 row waits among the failed events"


def test_a_name_that_cannot_be_read_says_why():
    row = one(10, 0, None, unreadable="CleverTap does not export it")
    assert causes(row) == {"not_readable": 10}
    assert row.causes[0].message == "CleverTap does not export it"


def test_staged_rows_that_wait_are_a_cause():
    row = one(10, 4, Seen("Charged", DAY, 10, 10), waiting=True)
    assert causes(row) == {"not_loaded": 6}
    assert row.causes[0].message == "6 rows are staged and not loaded yet"


def test_rows_that_wait_for_one_table_explain_nothing_of_another():
    rows = compare(
        [Count("Charged", DAY, 5), Count("Search", DAY, 5)],
        [("Charged", "2026-03-14", 3), ("Search", "2026-03-14", 3)],
        [Seen("Charged", DAY, 5, 5), Seen("Search", DAY, 4, 5)],
        kept=lambda name: Kept(waiting=True) if name == "Charged" else Kept(),
        rejected={},
        unreadable={},
    )
    assert [causes(row) for row in rows] == [{"not_loaded": 2}, {"duplicates": 1}]
    assert [row.unexplained for row in rows] == [0, 1]


def test_rows_that_the_source_no_longer_counts_are_a_cause():
    row = one(6, 10, Seen("Charged", DAY, 10, 10))
    assert causes(row) == {"gone_at_source": -4}
    assert row.unexplained == 0


def test_copies_that_the_source_does_not_count_are_duplicates_in_append():
    row = one(6, 10, Seen("Charged", DAY, 7, 10), every_copy=True)
    assert causes(row) == {"duplicates": -3, "gone_at_source": -1}
    assert row.unexplained == 0 and not row.wants_reading
    assert row.causes[0].message == "3 rows are exact copies that the source serves and does not count"
    assert causes(one(9, 10, Seen("Charged", DAY, 7, 10), every_copy=True)) == {"duplicates": -1}


def test_a_table_with_less_than_was_read_is_unexplained():
    row = one(10, 6, Seen("Charged", DAY, 10, 10))
    assert row.unexplained == 4
    assert row.wants_reading


def test_days_and_names_that_were_not_counted_are_left_out():
    rows = compare(
        [Count("Charged", DAY, 1)],
        [("Charged", "2026-03-14", 1), ("Charged", "2026-01-01", 9), ("Other", "2026-03-14", 9)],
        [],
        kept=lambda _: Kept(),
        rejected={},
        unreadable={},
    )
    assert [(row.name, row.day) for row in rows] == [("Charged", DAY)]
