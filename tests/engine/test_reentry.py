"""Where refused rows enter again, and that none goes through the steps twice (pipelines.md 11.2)."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from tests.engine.kit import PIPELINE, START, Rig, Shaky, items, rig, types
from tests.engine.scripted import deploy, failing, fixed

from millrace.control.failed import rejects
from millrace.control.failed import replay as replaying
from millrace.control.failed.rejects import Choice
from millrace.control.pipeline import pipelines
from millrace.data import types as kinds
from millrace.data.batch import Checkpoint
from millrace.data.columns import ID, is_ours, ours
from millrace.data.rows import to_batch
from millrace.engine import replay as entering
from millrace.engine.stage import Stage
from millrace.errors import ConfigError, DataError, EnvironmentProblem

__all__ = ["deploy", "rig", "types"]


def auto(rig: Rig, on: bool) -> None:
    found = pipelines.find(rig.home, PIPELINE)
    pipelines.change(rig.home, PIPELINE, lambda _: replace(found.wish, auto_mapping=on))


@pytest.mark.spec("pipelines.22.11")
def test_rows_pass_without_being_asked_for_once_their_mapping_is_mended(rig: Rig):
    rig.script.stream("items", [items(1, v=1), Checkpoint(1)], [items(2, v="two"), Checkpoint(2)], [], key=("id",))
    rig.create()
    rig.run()
    auto(rig, False)
    rig.run()
    assert rig.rejected() == {"INCOMPATIBLE_TYPE": 1}
    rig.run()
    assert rig.rejected(None) == {"INCOMPATIBLE_TYPE": 1}, "nothing changed, so nothing was tried"
    auto(rig, True)
    record = rig.run()
    assert rig.rejected() == {}
    assert rig.rows("items", "id", "v") == [(1, "1"), (2, "two")]
    assert (record.status, record.balance.even) == ("COMPLETED", True)


@pytest.mark.spec("pipelines.22.11")
def test_a_row_that_the_steps_refused_goes_through_the_mended_ones_once(rig: Rig, deploy: Any):
    rig.script.stream("items", [items(1, 2, n=0), Checkpoint(1)], [], key=("id",))
    rig.create()
    deploy(failing)
    rig.run()
    assert rig.rejected() == {"TRANSFORM_ERROR": 2}
    step = deploy(fixed)
    rig.run()
    assert rig.rows("items", "id", "n") == [(1, 1), (2, 1)]
    assert [row["n"] for row in step.seen] == [0, 0]
    assert rig.rejected() == {}
    rig.run()
    assert len(step.seen) == 2


@pytest.mark.spec("pipelines.22.11")
def test_a_row_that_code_made_enters_at_the_mapping_again(rig: Rig, deploy: Any):
    rig.script.stream("items", [items(1, n=0), Checkpoint(1)], [], key=("id",))
    rig.create("append")
    deploy(lambda row: [("", row), ("new made", {"id": row["id"], "v": "x" * row["id"]})])
    auto(rig, False)
    rig.run()
    assert rig.rejected() == {"UNMAPPED_EVENT_TYPE": 2}
    step = deploy(fixed)
    auto(rig, True)
    rig.run()
    assert rig.rejected() == {}
    assert (rig.rows("items", "id", "n"), rig.rows("made", "id", "v")) == ([(1, 1)], [(1, "x")])
    assert step.seen == [{"id": 1, "n": 0}], "the row itself went through the steps anew, the one that was made did not"


def test_siblings_of_a_refused_row_are_not_doubled(rig: Rig, deploy: Any):
    rig.script.stream("items", [[{"id": None, "n": 1}, {"id": 5, "n": 5}], Checkpoint(1)], [], key=("id",))
    rig.create()
    deploy(lambda row: [("", row), ("new made", {"id": row["n"]})])
    rig.run()
    assert (rig.rejected(), rig.rows("made", "id")) == ({"NULL_PRIMARY_KEY": 1}, [1, 5])
    deploy(lambda row: [("", row | {"id": 3}), ("new made", {"id": 8})])
    record = rig.run()
    assert rig.rejected() == {}
    assert (rig.rows("items", "id"), rig.rows("made", "id")) == ([3, 5], [1, 5])
    assert record.balance.even


def test_rows_come_to_the_steps_with_exactly_the_types_that_they_had(rig: Rig, deploy: Any):
    row = {
        "id": 2**60,
        "d": Decimal("1.10"),
        "at": datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=UTC),
        "day": date(2026, 1, 2),
        "raw": b"\x00\xff",
        "j": {"a": [1, 2.5]},
        "text": "2026-01-02",
        "nan": float("nan"),
        "short": 7,
    }
    schema = pa.schema([("short", pa.int16())])
    rig.script.stream("items", [[row], Checkpoint(1)], [], key=("id",), schema=schema)
    rig.create()
    first = deploy(failing)
    rig.run()
    again = deploy(lambda row: [("", row)])
    rig.run()
    assert rig.rejected() == {}
    assert str(again.seen) == str(first.seen)
    kept = [one for one in again.schemas[0] if not is_ours(one)]
    assert [(one.name, one.type) for one in kept] == [(one.name, kinds.canonical(one.type)) for one in first.schemas[0]]


def test_metadata_of_ours_is_ours_again(rig: Rig, deploy: Any):
    rows = pa.RecordBatch.from_arrays(
        [pa.array(["a"]), pa.array([1]), pa.array(["mine"])],
        schema=pa.schema([ours(ID, pa.string()), pa.field("n", pa.int64()), pa.field("__hevo_x", pa.string())]),
    )
    rig.script.stream("items", [rows, Checkpoint(1)], [], key=(ID,))
    rig.create()
    deploy(failing)
    rig.run()
    deploy(fixed)
    rig.run()
    assert rig.query("SELECT __hevo_id, n, src_hevo_x FROM items") == [{"__hevo_id": "a", "n": 2, "src_hevo_x": "mine"}]


def test_a_row_that_fails_again_keeps_its_first_time(rig: Rig, deploy: Any):
    rig.script.stream("items", [items(1, 2, n=0), Checkpoint(1)], [items(1, n=10), Checkpoint(2)], [], key=("id",))
    rig.create()
    deploy(failing)
    rig.run()
    deploy(lambda row: [("", row)] if row["n"] else failing(row))
    rig.clock.advance(60)
    rig.run()
    assert rig.rejected() == {"TRANSFORM_ERROR": 2}
    rig.clock.advance(60)
    deploy(fixed)
    rig.run()
    assert rig.rows("items", "id", "n") == [(1, 10), (2, 1)], "an older row does not take the place of a newer one"
    first = int(START.timestamp() * 1000)
    assert rig.rows("items", "id", "__hevo__ingested_at") == [(1, first + 60_000), (2, first)]


def attempts(rig: Rig) -> list[int]:
    return [one.attempts for one in rejects.listed(rig.home)]


def test_rows_that_fail_again_and_again_are_left_alone_after_ten_times(rig: Rig, deploy: Any):
    rig.script.stream("items", [items(1), Checkpoint(1)], [], key=("id",))
    rig.create()
    for _ in range(13):
        deploy(failing)
        rig.run()
    assert attempts(rig) == [10]
    rig.replay()
    assert (rig.rejected(), attempts(rig)) == ({"TRANSFORM_ERROR": 1}, [0]), "asked for, it begins anew"


def test_rows_that_the_destination_refuses_again_count_their_attempts(rig: Rig):
    rig.change("CREATE TABLE items (id BIGINT, v VARCHAR CHECK (length(v) <= 3), __hevo__ingested_at BIGINT)")
    rig.script.stream("items", [items(1, v="too long"), Checkpoint(1)], [])
    rig.create("append")
    rig.run()
    now = datetime.now(UTC)
    (group,) = rejects.listed(rig.home)
    assert group.retry_at is not None
    assert timedelta(hours=2) < group.retry_at - now < timedelta(hours=4)
    for count, hours in ((1, 4), (2, 8)):
        with rig.crew() as crew:
            sync = crew.sync()
            assert replaying.automatic(crew, sync, now=now + timedelta(hours=hours)) == 1
            sync.run()
        assert attempts(rig) == [count]


@pytest.mark.spec("pipelines.22.11")
def test_rejects_of_a_stream_that_is_skipped_are_given_up(rig: Rig):
    rig.script.stream("items", [[{"id": None}, {"id": 1}], Checkpoint(1)], [], key=("id",))
    rig.create()
    rig.run()
    with rig.crew() as crew:
        (mapping,) = crew.books.mappings()
        skipped = replace(mapping, skipped=True, version=mapping.version + 1)
        crew.books.commit(_only(skipped))
    with rig.home.database.reading() as connection:
        assert rejects.count_open(connection) == {}
    assert (rejects.listed(rig.home), rejects.grouped(rig.home)) == ([], []), "they do not count from that moment"
    rig.run()
    assert rig.rejected() == {}
    assert rig.rejected("discarded") == {"NULL_PRIMARY_KEY": 1}


def _only(mapping: Any) -> Any:
    from millrace.engine.ledger import Commit

    return Commit("items", "again", None, 0, mappings=(mapping,))


def test_a_file_of_rejects_that_is_gone_does_not_keep_a_run_from_what_is_new(rig: Rig, deploy: Any):
    rig.script.stream("items", [items(1), Checkpoint(1)], [items(2), Checkpoint(2)], key=("id",))
    rig.create()
    deploy(failing)
    rig.run()
    for file in rig.staged():
        file.unlink()
    deploy(fixed)
    record = rig.run()
    assert [note.code for note in record.notes] == ["replay_failed"]
    assert rig.rows("items", "id") == [2]


def test_only_chosen_rows_of_a_group_are_replayed(rig: Rig, deploy: Any):
    rig.script.stream("items", [items(1, 2, 3), Checkpoint(1)], [], key=("id",))
    rig.create()
    deploy(failing)
    rig.run()
    deploy(fixed)
    record = rig.replay(where=("id", "2"))
    assert (rig.rows("items", "id"), rig.rejected()) == ([2], {"TRANSFORM_ERROR": 2})
    assert record.balance.even
    rig.replay()
    assert rig.rows("items", "id") == [1, 2, 3]
    assert set(rig.rows("items", "__hevo__ingested_at")) == {int(START.timestamp() * 1000)}


def exported(rig: Rig, tmp_path: Path) -> list[dict[str, Any]]:
    stage = Stage(rig.home.stage_url)
    rejects.export_to(rig.home, stage, Choice(PIPELINE), tmp_path / "rejects.jsonl")
    return [json.loads(line) for line in (tmp_path / "rejects.jsonl").read_text().splitlines()]


def mend(rig: Rig, tmp_path: Path, lines: list[dict[str, Any]]) -> Any:
    file = tmp_path / "mended.jsonl"
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return replaying.mend(rig.home, PIPELINE, file, clock=rig.clock)


def test_a_mended_row_takes_the_place_of_the_one_that_failed(rig: Rig, tmp_path: Path):
    rows = [{"id": None, "v": "a"}, {"id": None, "v": "b"}, {"id": 3, "v": "c"}]
    rig.script.stream("items", [rows, Checkpoint(1)], [], key=("id",))
    rig.create()
    rig.run()
    one, _ = exported(rig, tmp_path)
    record = mend(rig, tmp_path, [one | {"row": {"id": "1", "v": "mended"}}])
    assert rig.rows("items", "id", "v") == [(1, "mended"), (3, "c")]
    assert (rig.rejected(), record.balance.even) == ({"NULL_PRIMARY_KEY": 1}, True)
    (left,) = exported(rig, tmp_path)
    assert left["row"]["v"] == "b"


def test_a_row_that_the_steps_refused_is_mended_before_them(rig: Rig, deploy: Any, tmp_path: Path):
    rig.script.stream("items", [items(1, n="?"), Checkpoint(1)], [], key=("id",))
    rig.create()
    step = deploy(lambda row: [("", row)] if row["n"] == "2" else failing(row))
    rig.run()
    (line,) = exported(rig, tmp_path)
    mend(rig, tmp_path, [line | {"row": {"id": 1, "n": "2"}}])
    assert rig.rows("items", "id", "n") == [(1, "2")]
    assert len(step.seen) == 2


def test_mended_rows_that_are_not_open_rejects_are_refused_whole(rig: Rig, deploy: Any, tmp_path: Path):
    rig.script.stream("items", [items(1, 2), Checkpoint(1)], [], key=("id",))
    rig.create()
    deploy(failing)
    rig.run()
    lines = exported(rig, tmp_path)
    deploy(fixed)
    with pytest.raises(ConfigError, match="row 99 of file"):
        mend(rig, tmp_path, [lines[0], lines[1] | {"number": 99, "id": "of none"}])
    with pytest.raises(ConfigError, match="comes twice"):
        mend(rig, tmp_path, [lines[0], lines[0]])
    with pytest.raises(ConfigError, match="needs file, number and row"):
        mend(rig, tmp_path, [{"row": {"id": 1}}])
    assert rig.rejected() == {"TRANSFORM_ERROR": 2}
    mend(rig, tmp_path, lines)
    with pytest.raises(ConfigError, match="is not an open reject"):
        mend(rig, tmp_path, lines)


def test_an_edited_time_of_ingestion_is_refused_with_its_row_alone_where_it_is_none(rig: Rig, tmp_path: Path):
    rig.script.stream("items", [[{"id": None}, {"id": None}, {"id": None}], Checkpoint(1)], [], key=("id",))
    rig.create()
    rig.run()
    lines = exported(rig, tmp_path)
    times = ["noon", None, int(START.timestamp() * 1000)]
    rows = [{"id": id_, "__hevo__ingested_at": at} for id_, at in enumerate(times, 1)]
    record = mend(rig, tmp_path, [line | {"row": row} for line, row in zip(lines, rows, strict=True)])
    assert record.balance.even
    assert rig.rows("items", "id", "__hevo__ingested_at") == [(2, times[2]), (3, times[2])]
    (left,) = exported(rig, tmp_path)
    assert left["code"] == "INCOMPATIBLE_TYPE" and "__hevo__ingested_at" in left["message"]


def test_rows_beside_one_with_a_wrong_time_are_not_looked_at_one_by_one(
    rig: Rig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    count = 200
    rig.script.stream("items", [[{"id": None}] * count, Checkpoint(1)], [], key=("id",))
    rig.create()
    rig.run()
    now = int(START.timestamp() * 1000)
    # Each kind of value is read as it is alone, whatever stands beside it.
    odd = ["noon", True, 1.5, {"at": now}, 2**70]
    times = [*odd, str(now), float(now), None, *[now] * (count - len(odd) - 3)]
    lines = exported(rig, tmp_path)
    seen: list[int] = []

    def looked(rows: Any, schema: Any) -> Any:
        seen.append(len(rows))
        return to_batch(rows, schema)

    monkeypatch.setattr(entering, "to_batch", looked)
    rows = [{"id": id_, "__hevo__ingested_at": at} for id_, at in enumerate(times, 1)]
    record = mend(rig, tmp_path, [line | {"row": row} for line, row in zip(lines, rows, strict=True)])
    assert record.balance.even
    assert 0 < len(seen) < 10
    schema = pa.schema([("at", pa.int64())])
    fitting = [id_ for id_, at in enumerate(times, 1) if to_batch([{"at": at}], schema).schema == schema]
    assert rig.rows("items", "id") == fitting
    assert len(exported(rig, tmp_path)) == count - len(fitting) > 0


def test_a_line_of_another_home_does_not_take_the_place_of_a_row(rig: Rig, deploy: Any, tmp_path: Path):
    rig.script.stream("items", [items(1, 2), Checkpoint(1)], [], key=("id",))
    rig.create()
    deploy(failing)
    rig.run()
    lines = exported(rig, tmp_path)
    deploy(fixed)
    with pytest.raises(ConfigError, match="row 1 of file"):
        mend(rig, tmp_path, [lines[0], lines[1] | {"id": "of another row", "row": {"id": 9}}])
    assert rig.rejected() == {"TRANSFORM_ERROR": 2}
    mend(rig, tmp_path, lines)
    assert rig.rows("items", "id") == [1, 2]


def test_an_export_can_be_mended_bit_by_bit(rig: Rig, deploy: Any, tmp_path: Path):
    same = {"id": None, "v": "twin"}
    rows = [same, same, {"id": None, "v": "b"}, {"id": 4, "v": "c"}]
    rig.script.stream("items", [rows, Checkpoint(1)], [], key=("id",))
    rig.script.stream("others", [items(1), Checkpoint(1)], [], key=("id",))
    rig.create()
    deploy(lambda row: [("", row)] if "v" in row else failing(row))
    rig.run()
    lines = exported(rig, tmp_path)
    (other,) = [line for line in lines if line["stream"] == "others"]
    lines.remove(other)
    for id_, line in enumerate(lines, 1):
        mend(rig, tmp_path, [line | {"row": line["row"] | {"id": id_}}])
        assert rig.rows("items", "id") == [*range(1, id_ + 1), 4]
        with pytest.raises(ConfigError, match="is not an open reject"):
            mend(rig, tmp_path, [*lines[: max(2, id_)], other])
    assert rig.rows("items", "v") == ["b", "c", "twin", "twin"]
    assert exported(rig, tmp_path) == [other], "what was not mended stays in its file"


def test_a_load_that_refused_rows_names_them_by_the_columns_of_that_time(rig: Rig):
    rig.change("CREATE TABLE items (id BIGINT, v VARCHAR CHECK (length(v) <= 3), __hevo__ingested_at BIGINT)")
    rig.script.stream("items", [items(1, v="too long"), Checkpoint(1)], [])
    rig.create("append")
    rig.run()
    with rig.crew() as crew:
        (mapping,) = crew.books.mappings()
        columns = tuple(
            replace(column, name="w", formerly=("v",)) if column.source == "v" else column for column in mapping.columns
        )
        crew.books.commit(_only(replace(mapping, columns=columns, version=mapping.version + 1)))
    rig.change("DROP TABLE items", "CREATE TABLE items (id BIGINT, w VARCHAR, __hevo__ingested_at BIGINT)")
    rig.run()
    assert rig.rows("items", "id", "w") == [(1, "too long")]


def test_rows_that_failed_before_and_fail_again_do_not_end_a_run(rig: Rig, deploy: Any):
    rig.change("CREATE TABLE items (id BIGINT, v VARCHAR CHECK (length(v) <= 3), __hevo__ingested_at BIGINT)")
    rig.script.stream("items", [items(1, 2, v="too long"), Checkpoint(1)], [items(3, v="ok"), Checkpoint(2)], [])
    rig.create("append", options={"failure_policy": "strict"})
    with pytest.raises(DataError):
        rig.run()
    deploy(fixed)
    found = pipelines.find(rig.home, PIPELINE)
    pipelines.change(rig.home, PIPELINE, lambda _: replace(found.wish, schedule={"every_s": 3600}))
    assert rig.run().status == "COMPLETED_WITH_FAILURES"
    assert rig.rows("items", "id") == [3]
    assert rig.rejected() == {"CONSTRAINT_VIOLATION": 2}


OUTCOMES = ("fail", "text", "split text", "ok", "split", "split bad")


def outcome(fate: str) -> Any:
    """What a transformation makes of a row by its fate: an error, a value that does not fit, a new event beside it."""

    def judge(row: dict[str, Any], fate: str) -> list[tuple[str, dict[str, Any]]]:
        if fate == "fail":
            raise ValueError("a bug")
        made = [("new made", {"id": row["id"], "v": "x" if fate.endswith("bad") else 1})] if "split" in fate else []
        return [("", row | {"v": "x" if fate.endswith("text") else 1}), *made]

    return lambda row: judge(row, fate)


@pytest.mark.spec("pipelines.22.11")
def test_however_often_rows_fail_and_wherever_each_passes_once_and_is_made_once(rig: Rig, deploy: Any):
    ids = range(1, 121)
    chance = random.Random(11)
    fates = [{number: chance.choice(OUTCOMES) for number in ids} for _ in range(5)]
    rig.script.stream("items", [items(0, v=1), Checkpoint(0)], [items(*ids, v=1), Checkpoint(1)], [])
    rig.create("append")
    deploy(outcome("split"))
    rig.run()
    auto(rig, False)
    for fate in fates:
        deploy(lambda row, fate=fate: outcome(fate[row["id"]])(row))
        rig.run()
        assert rig.record().balance.even
        assert all(one.even for one in rig.record().streams.values()), rig.record().streams
    assert set(rig.rejected()) == {"TRANSFORM_ERROR", "INCOMPATIBLE_TYPE"}
    auto(rig, True)
    deploy(outcome("ok"))
    rig.run()
    assert rig.rejected() == {}
    made = {0}
    for number in ids:
        for fate in fates:
            if "split" in fate[number]:
                made.add(number)
            # Once something was made of it, or it passed, nothing more is made.
            if "split" in fate[number] or fate[number] == "ok":
                break
    assert rig.rows("items", "id") == [0, *ids]
    assert rig.rows("made", "id") == sorted(made)


def test_a_row_that_moved_to_another_event_type_goes_through_the_steps_as_it_came(rig: Rig, deploy: Any):
    rig.script.stream("items", [items(1, v=1), Checkpoint(1)], [items(2, v=2), Checkpoint(2)], [], key=("id",))
    rig.create()
    deploy(lambda row: [("moved", row)])
    rig.run()
    auto(rig, False)
    deploy(lambda row: [("moved", row | {"v": "x"})])
    rig.run()
    assert [(one.stream, one.code) for one in rejects.listed(rig.home)] == [("moved", "INCOMPATIBLE_TYPE")]
    step = deploy(lambda row: [("moved", row | {"v": 7})])
    record = rig.run()
    assert step.seen == [{"id": 2, "v": 2}]
    assert rig.rows("moved", "id", "v") == [(1, 1), (2, 7)]
    assert all(one.even for one in record.streams.values()), record.streams


def test_a_destination_that_takes_nothing_does_not_keep_a_run_from_reading(rig: Rig, deploy: Any):
    rig.destination_type = "shaky"
    rig.script.stream("items", [items(1), Checkpoint(1)], [items(2), Checkpoint(2)], [], key=("id",))
    rig.create()
    deploy(failing)
    rig.run()
    deploy(fixed)
    full = EnvironmentProblem("no room", code="DISK_FULL")
    Shaky.faults = {"load": [("before", full), ("before", full)]}
    with pytest.raises(EnvironmentProblem):
        rig.run()
    assert [given.cursor for given in rig.script.given] == [None, 1]
    assert rig.rejected() == {}
    rig.run()
    assert rig.rows("items", "id") == [1, 2]
