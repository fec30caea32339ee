"""How many rows may fail: in a run, and of an object (pipelines.md 19.8)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from tests.engine.kit import Rig, items, rig, types

from millrace.data.batch import Checkpoint, Passed
from millrace.engine.failures import FailurePolicy, ObjectFailed
from millrace.errors import ConfigError, DataError

__all__ = ["rig", "types"]


def bad(count: int) -> list[dict[str, Any]]:
    """Rows without a value in their key, which no table of a merge takes."""
    return [{"id": None, "v": number} for number in range(count)]


def run(rig: Rig, policy: FailurePolicy) -> None:
    with rig.crew() as crew:
        replace(crew.sync(), failing=policy).run()


@pytest.mark.spec("pipelines.22.9")
@pytest.mark.parametrize(("failed", "status"), [(10_000, "COMPLETED_WITH_FAILURES"), (10_001, "FAILED")])
def test_ten_thousand_failed_rows_are_borne_and_one_more_is_not(rig: Rig, failed: int, status: str):
    rig.script.stream("items", [items(1, v=1), bad(failed), Checkpoint(1)], key=("id",))
    rig.create()
    if status == "FAILED":
        with pytest.raises(DataError) as caught:
            rig.run()
        assert caught.value.code == "too_many_rejects"
    else:
        rig.run()
    assert rig.record().status == status
    assert rig.rejected() == {"NULL_PRIMARY_KEY": failed}
    assert rig.rows("items", "id") == [1], "what passed is loaded"


@pytest.mark.spec("pipelines.22.9")
def test_a_strict_run_ends_at_the_first_row_that_fails(rig: Rig):
    rig.script.stream("first", [items(1), Checkpoint(1)], key=("id",))
    rig.script.stream("items", [items(1), bad(1), Checkpoint(1)], key=("id",))
    rig.script.stream("last", [items(1), Checkpoint(1)], key=("id",))
    rig.create()
    with pytest.raises(DataError, match="strict") as caught:
        run(rig, FailurePolicy.from_json("strict"))
    assert caught.value.code == "strict"
    assert rig.record().status == "FAILED"
    assert rig.rows("first", "id") == [1]
    assert [given.stream for given in rig.script.given] == ["first", "items"]


def test_an_object_of_which_too_many_rows_fail_is_left_and_the_others_go_on(rig: Rig):
    rig.script.stream("first", [bad(4), items(*range(1, 7)), Checkpoint(1)], key=("id",))
    rig.script.stream("last", [bad(3), items(1), Checkpoint(1)], key=("id",))
    rig.create()
    run(rig, FailurePolicy("threshold", 3))
    record = rig.record()
    assert record.status == "COMPLETED_WITH_FAILURES"
    assert [(note.code, note.level) for note in record.notes] == [("object_failed", "error")]
    assert record.notes[0].message.startswith("first was left: more than 3 of its rows failed")
    assert rig.rows("last", "id") == [1]


def test_a_share_is_judged_when_the_object_is_read_to_its_end(rig: Rig):
    rig.script.stream("items", [bad(1), Checkpoint(1), items(*range(1, 100)), Checkpoint(2)], key=("id",))
    rig.create()
    run(rig, FailurePolicy("threshold", None, 1.0))
    assert [note.code for note in rig.record().notes] == []
    with pytest.raises(ObjectFailed, match=r"1\.01 %"):
        FailurePolicy("threshold", None, 1.0).judge_object("items", 1, 99, ended=True)
    FailurePolicy("threshold", None, 1.0).judge_object("items", 1, 99, ended=False)
    with pytest.raises(ObjectFailed):
        FailurePolicy("threshold", None, 1.0).judge_object("items", 11, 1000, ended=False)


@pytest.mark.parametrize(("again", "left"), [(0, False), (900, True)])
def test_a_share_is_one_of_the_rows_that_were_not_read_before(rig: Rig, again: int, left: bool):
    told = [bad(1), items(*range(1, 1000 - again)), *([Passed(again, "repeated")] if again else []), Checkpoint(1)]
    rig.script.stream("items", told, key=("id",))
    rig.create()
    run(rig, FailurePolicy("threshold", None, 0.5))
    assert [note.code for note in rig.record().notes] == (["object_failed"] if left else [])
    if left:
        assert "1 % of its rows failed, more than 0.5 %" in rig.record().notes[0].message


def test_rows_that_the_destination_refuses_count_for_their_object(rig: Rig):
    rig.change("CREATE TABLE items (id BIGINT, v VARCHAR CHECK (length(v) <= 3), __hevo__ingested_at BIGINT)")
    rig.script.stream("items", [items(1, 2, 3, v="too long"), items(4, v="ok"), Checkpoint(1)])
    rig.script.stream("others", [items(1), Checkpoint(1)])
    rig.create("append")
    run(rig, FailurePolicy("threshold", 2))
    assert [note.code for note in rig.record().notes] == ["object_failed"]
    assert (rig.rows("items", "id"), rig.rows("others", "id")) == ([4], [1])


def test_a_policy_is_read_in_each_of_its_forms():
    read = FailurePolicy.from_json
    assert read(None) == read("moderate") == read({"object_failure_level": "MODERATE"}) == FailurePolicy()
    assert read("STRICT") == FailurePolicy("strict", 0)
    threshold = {"max_failed_events": 5, "max_failed_percent": 2.5}
    assert read(threshold) == FailurePolicy("threshold", 5, 2.5)
    assert read({"object_failure_level": "THRESHOLD", "object_failure_threshold": threshold}) == read(threshold)
    of_a_number = {"object_failure_level": "THRESHOLD", "object_failure_threshold": 0}
    assert read(of_a_number) == read({"max_failed_events": 0})


@pytest.mark.parametrize(
    "wrong",
    [
        "lenient",
        7,
        {},
        {"object_failure_level": "threshold"},
        {"max_failed_events": -1},
        {"max_failed_events": True},
        {"max_failed_percent": 101},
        {"object_failure_level": "strict", "max_failed_events": 1},
        {"max_failed": 1},
        {"object_failure_level": "threshold", "object_failure_threshold": "1"},
        {"object_failure_level": "threshold", "object_failure_threshold": True},
        {"object_failure_threshold": 1, "max_failed_events": 2},
    ],
)
def test_what_is_no_policy_is_refused_in_words(wrong: object):
    with pytest.raises(ConfigError) as caught:
        FailurePolicy.from_json(wrong)
    assert (caught.value.code, caught.value.exit_code) == ("failure_policy", 2)
    assert "max_failed_events" in (caught.value.hint or "")
