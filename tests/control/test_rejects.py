"""Rejects: listed by group, shown from their files, exported, discarded, replayed; and a file that was changed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from tests.control.conftest import Desk, commit

from millrace.control.books.ledger import Books
from millrace.control.failed import reject_pages, rejects
from millrace.control.failed.rejects import Choice
from millrace.control.home import Home
from millrace.control.observing import status
from millrace.control.pipeline import lifecycle
from millrace.data.columns import REJECTS
from millrace.engine.stage import Stage, stage_rejects
from millrace.errors import ConfigError, EnvironmentProblem, Stale

AT = datetime(2024, 5, 1, 10, 0, 0, 123456, tzinfo=UTC)


@pytest.fixture
def stage(home: Home) -> Iterator[Stage]:
    stage = Stage(home.stage_url)
    yield stage
    stage.close()


def batch(*rows: tuple[str, str]) -> pa.RecordBatch:
    """Rejected rows of the stream Events, each a code and a row."""
    return pa.RecordBatch.from_pylist(
        [
            {
                "stream": "Events",
                "stage": "mapping",
                "code": code,
                "message": f"{code} of {row}",
                "row": row,
                "rejected_at": AT,
            }
            for code, row in rows
        ],
        schema=REJECTS,
    )


@pytest.fixture
def rejected(saved: Desk, stage: Stage) -> Books:
    """Two files: one with codes A, B, A, and one with code A."""
    books, _ = saved.books()
    for rows in ((("A", '{"n":1}'), ("B", '{"n":12345678901234567890}'), ("A", '{"n":3}')), (("A", '{"n":4}'),)):
        file = stage_rejects(stage, saved.pipeline, [batch(*rows)])
        books.commit(commit(read=len(rows), rejects=[file]))
    return books


def test_rejects_are_listed_by_group(home: Home, rejected: Books) -> None:
    found = rejects.listed(home)
    assert [(one.code, one.rows, one.sample, one.state, one.pipeline) for one in found] == [
        ("A", 1, 'A of {"n":4}', "open", "events"),
        ("A", 2, 'A of {"n":1}', "open", "events"),
        ("B", 1, 'B of {"n":12345678901234567890}', "open", "events"),
    ]
    assert [one.rows for one in rejects.listed(home, Choice(code="B"))] == [1]
    assert rejects.listed(home, Choice(pipeline="other")) == []
    assert [one.open_rejects for one in status.statuses(home)] == [4]


def test_rejects_of_all_files_are_grouped_by_object_and_reason(home: Home, rejected: Books) -> None:
    found = rejects.grouped(home)
    assert [(one.code, one.rows, one.files, one.state, one.pipeline) for one in found] == [
        ("A", 3, 2, "open", "events"),
        ("B", 1, 1, "open", "events"),
    ]
    assert found[0].sample in ('A of {"n":1}', 'A of {"n":4}')
    assert found[0].first_at < found[0].last_at
    rejects.discard(home, Choice(code="A"))
    assert {(one.code, one.state) for one in rejects.grouped(home, state=None)} == {("A", "discarded"), ("B", "open")}


def test_groups_are_listed_by_page_with_the_count_of_all(home: Home, rejected: Books) -> None:
    first = reject_pages.page(home, limit=1)
    assert [(one.code, one.rows) for one in first.items] == [("A", 3)], "most rows first"
    assert (first.groups, first.rows, first.pipelines) == (2, 4, ("events",))
    last = reject_pages.page(home, limit=1, after=first.next)
    assert ([(one.code, one.rows) for one in last.items], last.next) == ([("B", 1)], None)


@pytest.mark.parametrize(
    ("search", "codes"), [("b OF", ["B"]), ("event", ["A", "B"]), ("%", []), ('{"n":4', []), ('"n":1', ["A", "B"])]
)
def test_groups_are_found_by_a_part_of_object_code_or_message(
    home: Home, rejected: Books, search: str, codes: list[str]
) -> None:
    found = reject_pages.page(home, search=search)
    assert ([one.code for one in found.items], found.groups) == (codes, len(codes))
    assert found.pipelines == ("events",), "those that may be asked for do not depend on what was"
    assert reject_pages.page(home, pipeline="other").items == ()


def test_rejects_are_those_of_their_pipeline_whatever_its_name(home: Home, rejected: Books, saved: Desk) -> None:
    lifecycle.rename(home, "events", "people")
    assert len(rejects.waiting(home, saved.pipeline)) == 3
    assert [one.pipeline for one in rejects.listed(home, Choice(pipeline_id=saved.pipeline, code="B"))] == ["people"]
    assert rejects.listed(home, Choice(pipeline="events")) == []
    assert rejects.listed(home, Choice(pipeline_id="another")) == []


def test_rows_are_chosen_by_the_value_of_a_field(home: Home, stage: Stage, rejected: Books) -> None:
    assert [one.row for one in rejects.rows(home, stage, Choice(where=("n", "3")))] == ['{"n":3}']
    big = Choice(where=("n", "12345678901234567890"))
    assert [one.code for one in rejects.rows(home, stage, big)] == ["B"]
    with pytest.raises(ConfigError, match="by group"):
        rejects.discard(home, big)


def test_rejects_of_skipped_streams_count_no_more(home: Home, rejected: Books, saved: Desk) -> None:
    assert rejects.dismiss(home, saved.pipeline, ["Other"]) == 0
    assert rejects.dismiss(home, saved.pipeline, ["Events"]) == 4
    assert rejects.listed(home) == []


def test_rows_are_shown_as_they_were_rejected(home: Home, stage: Stage, rejected: Books) -> None:
    found = list(rejects.rows(home, stage, Choice(pipeline="events")))
    assert [one.row for one in found] == ['{"n":1}', '{"n":12345678901234567890}', '{"n":3}', '{"n":4}']
    assert found[0].rejected_at == AT
    assert found[0].message == 'A of {"n":1}'
    assert [one.row for one in rejects.rows(home, stage, limit=2)] == [one.row for one in found[:2]]


def test_rejects_are_exported_line_by_line(home: Home, stage: Stage, rejected: Books, tmp_path: Path) -> None:
    target = tmp_path / "rejects.jsonl"
    assert rejects.export_to(home, stage, Choice(code="B"), target) == 1
    text = target.read_text()
    assert '"row":{"n":12345678901234567890}' in text
    (one,) = rejects.rows(home, stage, Choice(code="B"))
    assert json.loads(text) == {
        "file": one.file,
        "number": 1,
        "id": one.id,
        "stream": "Events",
        "stage": "mapping",
        "code": "B",
        "message": 'B of {"n":12345678901234567890}',
        "rejected_at": "2024-05-01T10:00:00.123456Z",
        "row": {"n": 12345678901234567890},
    }
    with pytest.raises(EnvironmentProblem) as caught:
        rejects.export_to(home, stage, Choice(), tmp_path / "gone" / "x.jsonl")
    assert caught.value.code == "file_unwritable"


def test_discarded_rejects_are_open_no_more(home: Home, stage: Stage, rejected: Books) -> None:
    assert rejects.discard(home, Choice(code="A")) == 3
    assert rejects.discard(home, Choice(code="A")) == 0
    assert [one.code for one in rejects.listed(home)] == ["B"]
    assert [one.row for one in rejects.rows(home, stage)] == ['{"n":12345678901234567890}']
    assert {one.state for one in rejects.listed(home, state=None)} == {"open", "discarded"}


def test_a_replay_takes_the_rows_of_its_groups_and_closes_them_with_its_commit(
    home: Home, stage: Stage, rejected: Books, segment: Any
) -> None:
    (one, two) = rejects.replayable(home, stage, Choice(pipeline="events", code="A"))
    assert one.rows.column("row").to_pylist() == ['{"n":1}', '{"n":3}']
    assert two.rows.column("row").to_pylist() == ['{"n":4}']
    rejected.replaying(one.groups).commit(commit(lane="again", read=2, segments=[segment(2)]))
    assert [(g.code, g.rows) for g in rejects.listed(home)] == [("A", 1), ("B", 1)]
    rejects.discard(home, Choice(file=two.file))
    with pytest.raises(Stale):
        rejected.replaying(two.groups).commit(commit(lane="again", read=1, segments=[segment(1)]))
    (left,) = rejects.replayable(home, stage)
    assert left.rows.column("code").to_pylist() == ["B"]


def test_a_file_that_was_changed_is_not_replayed(home: Home, stage: Stage, rejected: Books) -> None:
    for file in Path(home.stage_url).rglob("*.arrow"):
        content = bytearray(file.read_bytes())
        content[len(content) // 2] ^= 1
        file.write_bytes(content)
    with pytest.raises(EnvironmentProblem, match="checksum") as caught:
        list(rejects.rows(home, stage))
    assert caught.value.code == "stage_damaged"


def test_rows_parked_for_a_load_that_was_not_made_are_not_listed(
    home: Home, saved: Desk, stage: Stage, segment: Any
) -> None:
    books, _ = saved.books()
    books.commit(commit(read=2, segments=[segment(2)]))
    books.park("events", 1, 1, [stage_rejects(stage, saved.pipeline, [batch(("A", "{}"))])])
    assert rejects.listed(home) == []
    assert rejects.discard(home, Choice()) == 0
    books.loaded("events", 1, 1, None)
    assert [one.rows for one in rejects.listed(home)] == [1]
