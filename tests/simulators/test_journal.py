"""The journal of simulators."""

from __future__ import annotations

from millrace.simulators.journal import Entry, Journal


def entry(number: int, **more: str) -> Entry:
    return Entry(number, "2026-03-14T10:00:00+00:00", "GET", **({"path": "/", "query": "", "account": ""} | more))


def test_secrets_are_blotted_out_wherever_they_stand():
    journal = Journal(["very-secret"])
    journal.write(
        entry(
            1,
            path="/very-secret",
            query="a=very-secret&b=1",
            account="very-secret",
            event="very-secret",
            body="xvery-secretx",
        )
    )
    [kept] = journal.entries()
    assert "very-secret" not in repr(kept)
    assert kept.query == "a=***&b=1"


def test_a_text_too_short_to_be_secret_blots_nothing():
    journal = Journal(["a", ""])
    journal.write(entry(1, query="banana"))
    assert journal.entries()[0].query == "banana"


def test_entries_are_in_order_and_the_oldest_are_dropped():
    journal = Journal(size=3)
    for number in (2, 1, 4, 3):
        journal.write(entry(number))
    assert [e.number for e in journal.entries()] == [1, 3, 4]
    journal.clear()
    assert journal.entries() == []
