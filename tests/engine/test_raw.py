"""Rows as they were read are kept, and what is changed later is applied to them: none lost, none doubled."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.engine.kit import PIPELINE, START, Killed, Rig, Shaky, items, rig, types
from tests.engine.scripted import deploy, failing, fixed

from millrace.control.books import retention
from millrace.control.database.tables import raw_files, reject_files, segments
from millrace.control.failed import raw, rejects
from millrace.control.failed import replay as replaying
from millrace.control.pipeline import object_actions, pipelines
from millrace.data.batch import Batch, Checkpoint, Refused
from millrace.data.columns import INGESTED_AT, REJECTS, ours
from millrace.engine.raw import RawDraft, in_order
from millrace.engine.stage import Stage
from millrace.errors import ConfigError, EnvironmentProblem

__all__ = ["deploy", "rig", "types"]

LONG_AGO = date(2020, 1, 1)


def keeping(rig: Rig, mode: str = "merge", **more: Any) -> Rig:
    """The pipeline is saved and keeps rows as they were read."""
    return rig.create(mode, options={"keep_raw_s": 30 * 86400}, **more)


def again(rig: Rig, since: date | None = LONG_AGO, **more: Any) -> Any:
    return raw.replay(rig.home, PIPELINE, since=since, clock=rig.clock, stopping=rig.stopping, **more)


def kept(rig: Rig) -> list[Path]:
    return [path for path in rig.staged() if "raw" in path.parts]


def long_ago(rig: Rig, *tables: Any) -> None:
    """What the books have in these tables is five days older."""
    with rig.home.database.transaction() as connection:
        for table in tables:
            for row in connection.execute(sa.select(table)).all():
                earlier = row.created_at - timedelta(days=5)
                connection.execute(sa.update(table).where(table.c.id == row.id).values(created_at=earlier))


def plus(n: int) -> Any:
    return lambda row: [("", row | {"n": (row["n"] or 0) + n})]


def test_a_changed_transformation_is_applied_to_what_was_read_before(rig: Rig, deploy: Any):
    rig.script.stream("items", [items(1, 2, n=0), Checkpoint(1)], [items(3, n=0), Checkpoint(2)], [], key=("id",))
    keeping(rig)
    deploy(plus(1))
    rig.run()
    rig.run()
    deploy(plus(10))
    reads = len(rig.script.given)
    record = again(rig)
    assert rig.rows("items", "id", "n") == [(1, 10), (2, 10), (3, 10)]
    assert len(rig.script.given) == reads, "the source was not asked"
    assert (record.kind, record.balance.read, record.balance.even) == ("RAW_REPLAY", 3, True)
    assert len(kept(rig)) == 2, "what is kept is not kept twice"
    again(rig)
    assert rig.rows("items", "id", "n") == [(1, 10), (2, 10), (3, 10)]


def test_the_newest_version_of_a_key_is_still_the_newest(rig: Rig, deploy: Any):
    rig.script.stream(
        "items", [items(1, n=1), items(1, 2, n=2), Checkpoint(1)], [items(1, n=3), Checkpoint(2)], [], key=("id",)
    )
    keeping(rig)
    rig.run()
    rig.clock.advance(60)
    rig.run()
    rig.clock.advance(60)
    deploy(plus(10))
    again(rig)
    assert rig.rows("items", "id", "n") == [(1, 13), (2, 12)]
    assert set(rig.rows("items", "__hevo__ingested_at")) == {int(START.timestamp() * 1000) + 120_000}


def test_only_one_object_and_only_days_that_are_asked_for(rig: Rig, deploy: Any):
    rig.script.stream("items", [items(1, n=0), Checkpoint(1)], [], key=("id",))
    rig.script.stream("others", [items(1, n=0), Checkpoint(1)], [], key=("id",))
    keeping(rig)
    rig.run()
    deploy(plus(1))
    again(rig, only=["others"])
    assert (rig.rows("items", "n"), rig.rows("others", "n")) == ([0], [1])
    with pytest.raises(ConfigError, match="keeps no rows") as caught:
        again(rig, date(2100, 1, 1))
    assert caught.value.code == "no_raw"


@pytest.mark.parametrize("mode", ["append", "history"])
def test_rows_that_would_be_doubled_go_into_a_fresh_table_alone(rig: Rig, deploy: Any, mode: str):
    rig.script.stream("items", [items(1, n=0), Checkpoint(1)], [items(2, n=0), Checkpoint(2)], [], key=("id",))
    keeping(rig, mode)
    rig.run()
    first = rig.rows("items", "__hevo__ingested_at")
    rig.clock.advance(60)
    rig.run()
    deploy(lambda row: [("", row | {"n": 5}), ("new made", {"id": row["id"]})] if row["id"] > 1 else [])
    with pytest.raises(ConfigError, match="would be doubled") as caught:
        again(rig)
    assert "--into-fresh" in (caught.value.hint or "")
    record = again(rig, None, into_fresh=True)
    assert rig.rows("items", "id", "n") == [(2, 5)], "rows that are left out today are gone"
    assert rig.rows("items", "__hevo__ingested_at") == [first[0] + 60_000], "rows keep their time"
    assert rig.rows("made", "id") == [2]
    assert record.balance.even
    assert not rig.exists("items__fresh")
    deploy(lambda row: [("", row)])
    again(rig, None, into_fresh=True)
    assert rig.rows("items", "id") == [1, 2], "and again, from all that was read"


def test_a_fresh_table_is_not_made_of_less_than_all(rig: Rig):
    rig.script.stream("items", [items(1), Checkpoint(1)], [items(2), Checkpoint(2)], [], key=("id",))
    rig.create("append")
    rig.run()
    found = pipelines.find(rig.home, PIPELINE)
    pipelines.change(rig.home, PIPELINE, lambda _: replace(found.wish, options={"keep_raw_s": 86400}))
    rig.run()
    with pytest.raises(ConfigError, match="not kept") as caught:
        again(rig, None, into_fresh=True)
    assert caught.value.code == "raw_not_whole"
    assert rig.rows("items", "id") == [1, 2]


def test_rows_that_were_read_meanwhile_and_not_kept_forbid_a_replay(rig: Rig):
    rig.script.stream("items", [items(1, n=1), Checkpoint(1)], [items(1, n=2), Checkpoint(2)], [], key=("id",))
    keeping(rig)
    rig.run()
    found = pipelines.find(rig.home, PIPELINE)
    pipelines.change(rig.home, PIPELINE, lambda _: replace(found.wish, options={}))
    rig.run()
    pipelines.change(rig.home, PIPELINE, lambda _: found.wish)
    with pytest.raises(ConfigError) as caught:
        again(rig)
    assert caught.value.code in ("raw_gap", "no_raw")
    assert rig.rows("items", "n") == [2]


def test_rows_from_before_a_full_reload_do_not_come_back(rig: Rig, deploy: Any):
    rig.script.stream("items", [items(1, 2, n=0), Checkpoint(1)], [items(2, n=0), Checkpoint(1)], [], key=("id",))
    keeping(rig)
    rig.run()
    rig.resync()
    assert rig.rows("items", "id") == [2]
    deploy(plus(1))
    again(rig)
    assert rig.rows("items", "id", "n") == [(2, 1)]
    again(rig, None, into_fresh=True)
    assert rig.rows("items", "id", "n") == [(2, 1)]


def test_rejects_of_rows_that_are_replayed_are_closed_with_them(rig: Rig, deploy: Any):
    rig.script.stream("items", [items(1, 2, n=0), Checkpoint(1)], [], key=("id",))
    keeping(rig)
    deploy(failing)
    rig.run()
    deploy(lambda row: failing(row) if row["id"] == 1 else fixed(row))
    again(rig)
    assert rig.rows("items", "id") == [2]
    assert (rig.rejected(), rig.rejected("replayed")) == ({"TRANSFORM_ERROR": 1}, {"TRANSFORM_ERROR": 2})


def test_rows_that_failed_and_came_back_by_themselves_are_among_those_that_were_kept(rig: Rig, deploy: Any):
    rig.script.stream("items", [items(1, 2, n=0), Checkpoint(1)], [], key=("id",))
    keeping(rig)
    deploy(failing)
    rig.run()
    deploy(lambda row: failing(row) if row["id"] == 1 else plus(1)(row))
    rig.run()
    assert rig.rows("items", "id", "n") == [(2, 1)], "a run that reads nothing of its own"
    deploy(plus(5))
    again(rig)
    assert rig.rows("items", "id", "n") == [(1, 5), (2, 5)]
    assert rig.rejected() == {}
    deploy(plus(7))
    again(rig, None, into_fresh=True)
    assert rig.rows("items", "id", "n") == [(1, 7), (2, 7)]


@pytest.mark.parametrize("asked", [True, False])
def test_a_fresh_table_does_not_lack_rows_that_failed_before_any_were_kept(rig: Rig, deploy: Any, asked: bool):
    rig.script.stream("items", [items(1, n=0), Checkpoint(1)], [items(2, n=0), Checkpoint(2)], [], key=("id",))
    rig.create()
    deploy(failing)
    rig.run()
    found = pipelines.find(rig.home, PIPELINE)
    pipelines.change(rig.home, PIPELINE, lambda _: replace(found.wish, options={"keep_raw_s": 86400}))
    if asked:
        rig.run()
    deploy(plus(1))
    if asked:
        rig.replay()
    rig.run()
    assert rig.rows("items", "id") == [1, 2]
    with pytest.raises(ConfigError) as caught:
        again(rig, None, into_fresh=True)
    assert caught.value.code == "raw_not_whole"


def test_rejects_that_came_back_stay_open_where_their_own_day_is_not_replayed(rig: Rig, deploy: Any):
    rig.script.stream("items", [items(1, n=0), Checkpoint(1)], [items(2, n=0), Checkpoint(2)], [], key=("id",))
    keeping(rig)
    deploy(failing)
    rig.run()
    long_ago(rig, raw_files, reject_files)
    deploy(failing)
    rig.run()
    assert rig.rejected() == {"TRANSFORM_ERROR": 2}
    deploy(plus(1))
    again(rig, datetime.now(UTC).date() - timedelta(days=2))
    assert rig.rows("items", "id") == [2]
    assert rig.rejected() == {"TRANSFORM_ERROR": 1}
    rig.run()
    assert rig.rows("items", "id") == [1, 2]


def test_rows_that_the_source_gave_back_later_are_kept_in_their_place(rig: Rig, deploy: Any):
    refused = {
        "stream": "items", "stage": "source", "code": "BAD", "message": "bad", "row": '{"id":1,"n":1}',
        "rejected_at": START,
    }  # fmt: skip
    bad = Refused(pa.RecordBatch.from_pylist([refused], schema=REJECTS))
    rig.script.stream("items", [bad, items(3, n=0), Checkpoint(1)], [items(1, n=2), Checkpoint(2)], [], key=("id",))
    rig.script.again = lambda rows: [[json.loads(row) for row in rows]]
    keeping(rig)
    rig.run()
    rig.clock.advance(60)
    rig.run()
    rig.replay()
    deploy(plus(10))
    again(rig)
    assert rig.rows("items", "id", "n") == [(1, 12), (3, 10)]


@pytest.mark.spec("loading.21.8")
@pytest.mark.parametrize("mode", ["merge", "append"])
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_replay_that_dies_doubles_and_loses_nothing(rig: Rig, deploy: Any, when: str, mode: str):
    rig.destination_type = "shaky"
    rig.script.stream("items", [items(1, 2, n=0), Checkpoint(1)], [items(1, n=5), Checkpoint(2)], [], key=("id",))
    keeping(rig, mode)
    rig.run()
    rig.run()
    deploy(plus(1))
    fresh = mode == "append"
    Shaky.faults = {"load": [(when, Killed())]}
    with pytest.raises(Killed):
        again(rig, into_fresh=fresh)
    rig.run()
    again(rig, into_fresh=fresh)
    rows = [(1, 6), (2, 1)] if mode == "merge" else [(1, 1), (1, 6), (2, 1)]
    assert rig.rows("items", "id", "n", order="1, 2") == rows


def test_a_replay_says_that_rows_were_mended_since_they_were_read(rig: Rig, deploy: Any, tmp_path: Path):
    rig.script.stream("items", [items(1, n=0), Checkpoint(1)], [], key=("id",))
    rig.script.stream("others", [items(1, n=0), Checkpoint(1)], [], key=("id",))
    keeping(rig)
    deploy(failing)
    rig.run()
    file = tmp_path / "rejects.jsonl"
    rejects.export_to(rig.home, Stage(rig.home.stage_url), rejects.Choice(PIPELINE, "items"), file)
    file.write_text(file.read_text().replace('"n":0', '"n":7'))
    deploy(fixed)
    replaying.mend(rig.home, PIPELINE, file, clock=rig.clock)
    assert rig.rows("items", "n") == [7 + 1]
    assert {one.stream: one.state for one in rejects.listed(rig.home, state=None)}["items"] == "mended"
    (note,) = [note for note in again(rig).notes if note.code == "mended_undone"]
    assert note.message.startswith("rows of items were mended by hand")
    assert rig.rows("items", "n") == [0 + 1]
    assert "mended_undone" not in [note.code for note in again(rig, only=["others"]).notes]


def test_a_replay_brings_discarded_rows_back_and_says_so(rig: Rig, deploy: Any):
    rig.script.stream("items", [items(1, n=0), Checkpoint(1)], [], key=("id",))
    rig.script.stream("others", [items(1, n=0), Checkpoint(1)], [], key=("id",))
    keeping(rig)
    deploy(failing)
    rig.run()
    assert rejects.discard(rig.home, rejects.Choice(PIPELINE, "items")) == 1
    deploy(fixed)
    rig.run()
    assert not rig.exists("items"), "a run by itself leaves it discarded"
    (note,) = [note for note in again(rig).notes if note.code == "discarded_undone"]
    assert note.message.startswith("rows of items were discarded, the last on ")
    assert rig.rows("items", "n") == [0 + 1]
    assert "discarded_undone" not in [note.code for note in again(rig, only=["others"]).notes]


@pytest.mark.parametrize("into_fresh", [False, True])
def test_a_replay_says_that_rows_fail_that_were_loaded(rig: Rig, deploy: Any, into_fresh: bool):
    rig.script.stream("items", [items(1, 2, 3, n=0), Checkpoint(1)], [], key=("id",))
    keeping(rig)
    deploy(lambda row: fixed(row) if row["id"] > 1 else failing(row))
    rig.run()
    assert "failed_anew" not in [note.code for note in again(rig).notes], "what failed before fails again"
    deploy(lambda row: fixed(row) if row["id"] > 2 else failing(row))
    record = again(rig, None if into_fresh else LONG_AGO, into_fresh=into_fresh)
    (note,) = [note for note in record.notes if note.code == "failed_anew"]
    assert note.message.startswith("2 rows failed (TRANSFORM_ERROR), of which 1 were open rejects before")
    assert (rig.rows("items", "id"), rig.rejected()) == ([3] if into_fresh else [2, 3], {"TRANSFORM_ERROR": 2})


def test_a_replay_that_cannot_end_has_changed_nothing(rig: Rig, deploy: Any):
    rig.script.stream("items", [items(1, n=0), Checkpoint(1)], [items(2, n=0), Checkpoint(2)], [], key=("id",))
    keeping(rig)
    rig.run()
    rig.run()
    kept(rig)[-1].write_bytes(b"spoiled")
    deploy(plus(1))
    with pytest.raises(EnvironmentProblem):
        again(rig)
    rig.run()
    assert rig.rows("items", "n") == [0, 0]


def test_kept_rows_go_after_their_time_and_no_sooner(rig: Rig):
    rig.script.stream("items", [items(1), Checkpoint(1)], key=("id",))
    keeping(rig)
    rig.run()
    stage = Stage(rig.home.stage_url)
    now = datetime.now(UTC)
    assert retention.collect(rig.home, stage, now=now + timedelta(days=29)).raw_files == 0
    assert len(kept(rig)) == 1
    assert retention.collect(rig.home, stage, now=now + timedelta(days=31)).raw_files == 1
    assert kept(rig) == []


def test_nothing_is_kept_unless_the_pipeline_says_so(rig: Rig):
    rig.script.stream("items", [items(1), Checkpoint(1)], key=("id",))
    rig.create()
    rig.run()
    assert kept(rig) == []


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.lists(st.tuples(st.integers(0, 3), st.sampled_from(["a", "b"]), st.none() | st.integers(0, 30)), max_size=6),
        max_size=5,
    )
)
def test_rows_come_back_in_the_order_of_their_ingestion(tmp_path: Path, drafts: list[Any]):
    """Batches at rising times, some of rows that were ingested before, in several files and schemas."""
    stage = Stage(str(tmp_path))
    files, told, clock = [], [], 100
    for number, batches in enumerate(drafts):
        draft = RawDraft(stage, "feed", "incremental")
        for rise, name, earlier in batches:
            clock += rise
            column = pa.array([number])
            if earlier is None:
                batch = pa.RecordBatch.from_arrays([column], names=[name])
            else:
                fields = [pa.field(name, pa.int64()), ours(INGESTED_AT, pa.int64())]
                batch = pa.RecordBatch.from_arrays([column, pa.array([earlier])], schema=pa.schema(fields))
            draft.add(Batch("items", batch), clock)
            told.append(clock if earlier is None else earlier)
        files += draft.close()
    found = [batch.rows[INGESTED_AT][0].as_py() for batch in in_order(stage, files, timed=True)]
    assert found == sorted(told)


def test_rejects_of_the_destination_are_closed_when_their_rows_go_again(rig: Rig, deploy: Any):
    rig.change('CREATE TABLE items (id BIGINT, n BIGINT, "__hevo__ingested_at" BIGINT, CHECK (n < 5))')
    rig.script.stream("items", [items(1, n=9), items(2, n=1), Checkpoint(1)], [items(3, n=9), Checkpoint(2)], [],
                      key=("id",))  # fmt: skip
    keeping(rig)
    rig.run()
    rig.clock.advance(60)
    rig.run()
    assert rig.rejected() == {"CONSTRAINT_VIOLATION": 2}
    # They fail again, and are no more than they were.
    for _ in range(2):
        rig.clock.advance(60)
        assert again(rig).balance.even
        assert (rig.rejected(), rig.rows("items", "id")) == ({"CONSTRAINT_VIOLATION": 2}, [2])
    deploy(lambda row: [("", row | {"n": 0})] if row["id"] != 3 else [("", row)])
    rig.clock.advance(60)
    again(rig)
    assert (rig.rejected(), rig.rows("items", "id", "n")) == ({"CONSTRAINT_VIOLATION": 1}, [(1, 0), (2, 0)])
    assert rig.rejected("replayed") == {"CONSTRAINT_VIOLATION": 6}
    deploy(lambda row: [("", row | {"n": 0})])
    rig.clock.advance(60)
    again(rig)
    assert (rig.rejected(), rig.rows("items", "id", "n")) == ({}, [(1, 0), (2, 0), (3, 0)])


def test_rejects_of_the_destination_whose_rows_are_not_replayed_stay_open(rig: Rig, deploy: Any):
    rig.change('CREATE TABLE items (id BIGINT, n BIGINT, "__hevo__ingested_at" BIGINT, CHECK (n < 5))')
    rig.script.stream("items", [items(1, n=9), Checkpoint(1)], [items(2, n=9), Checkpoint(2)], [], key=("id",))
    rig.script.stream("others", [items(7, n=9), Checkpoint(1)], [], key=("id",))
    keeping(rig)
    deploy(lambda row: [("items", row)])
    rig.run()
    long_ago(rig, raw_files, reject_files)
    with rig.home.database.transaction() as connection:
        for row in connection.execute(sa.select(segments)).all():
            earlier = row.staged_at - timedelta(days=5)
            mine = sa.and_(segments.c.table_name == row.table_name, segments.c.number == row.number)
            connection.execute(sa.update(segments).where(mine).values(staged_at=earlier))
    rig.clock.advance(60)
    rig.run()
    assert rig.rejected() == {"CONSTRAINT_VIOLATION": 3}
    deploy(lambda row: [("items", row | {"n": 0})])
    again(rig, datetime.now(UTC).date() - timedelta(days=1))
    assert (rig.rejected(), rig.rows("items", "id")) == ({"CONSTRAINT_VIOLATION": 2}, [2])
    # Of those that are left one came of another object, and nothing tells which.
    again(rig, only=["items"])
    assert (rig.rejected(), rig.rows("items", "id")) == ({"CONSTRAINT_VIOLATION": 2}, [1, 2])
    again(rig)
    assert (rig.rejected(), rig.rows("items", "id")) == ({}, [1, 2, 7])


@pytest.mark.parametrize("stage", ["steps", "load"])
def test_rejects_of_an_object_that_is_at_rest_stay_open(rig: Rig, deploy: Any, stage: str):
    rig.change('CREATE TABLE others (id BIGINT, n BIGINT, "__hevo__ingested_at" BIGINT, CHECK (n < 5))')
    rig.script.stream("items", [items(1, n=0), Checkpoint(1)], [], key=("id",))
    rig.script.stream("others", [items(7, n=9), Checkpoint(1)], [], key=("id",))
    keeping(rig)
    if stage == "steps":
        deploy(lambda row: failing(row) if row["id"] == 7 else [("", row)])
    rig.run()
    object_actions.pause(rig.home, PIPELINE, "others")
    deploy(lambda row: [("", row | {"n": 1})])
    again(rig)
    assert (rig.rows("items", "n"), rig.rows("others", "id"), sum(rig.rejected().values())) == ([1], [], 1)
    object_actions.resume(rig.home, PIPELINE, "others")
    again(rig)
    assert (rig.rows("others", "id", "n"), rig.rejected()) == ([(7, 1)], {})


def test_rejects_that_code_made_of_the_rows_of_an_object_at_rest_stay_open(rig: Rig, deploy: Any):
    rig.change('CREATE TABLE items (id BIGINT, n BIGINT, "__hevo__ingested_at" BIGINT, CHECK (n < 5))')
    rig.script.stream("items", [items(1, n=0), Checkpoint(1)], [], key=("id",))
    rig.script.stream("others", [items(7, n=9), Checkpoint(1)], [], key=("id",))
    keeping(rig)
    deploy(lambda row: [("items", row)])
    rig.run()
    object_actions.pause(rig.home, PIPELINE, "others")
    deploy(lambda row: [("", row | {"n": 1})])
    again(rig)
    assert (rig.rows("items", "id"), rig.rejected()) == ([1], {"CONSTRAINT_VIOLATION": 1})
    object_actions.resume(rig.home, PIPELINE, "others")
    again(rig)
    assert (rig.rows("others", "id"), rig.rejected()) == ([7], {})


def test_rejects_of_a_run_are_closed_for_the_files_that_are_still_kept(
    rig: Rig, deploy: Any, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("millrace.engine.ingest.FLUSH_SECONDS", 0)
    rig.script.stream("items", [items(1, n=0), Checkpoint(1), items(2, n=0), Checkpoint(2)], [], key=("id",))
    keeping(rig)
    deploy(failing)
    rig.run()
    f = raw_files.c
    with rig.home.database.transaction() as connection:
        assert connection.execute(sa.select(f.run_id, f.rows)).all() == [(1, 1), (1, 1)]
        connection.execute(sa.update(raw_files).where(f.id == 1).values(kept=False))
    deploy(fixed)
    again(rig)
    assert (rig.rows("items", "id"), rig.rejected()) == ([2], {"TRANSFORM_ERROR": 1})
    rig.replay()
    assert (rig.rows("items", "id"), rig.rejected()) == ([1, 2], {})


@pytest.mark.parametrize("rest", ["pause", "skip", "unselect"])
def test_a_fresh_table_of_an_object_at_rest_has_its_rows(rig: Rig, deploy: Any, rest: str):
    rig.script.stream("items", [items(1, n=0), Checkpoint(1)], [], key=("id",))
    rig.script.stream("others", [items(7, n=0), Checkpoint(1)], [], key=("id",))
    keeping(rig, "append")
    rig.run()
    if rest == "unselect":
        found = pipelines.find(rig.home, PIPELINE)
        pipelines.change(rig.home, PIPELINE, lambda _: replace(found.wish, objects={"items": None}))
    else:
        getattr(object_actions, rest)(rig.home, PIPELINE, "others")
    deploy(plus(1))
    assert again(rig, None, into_fresh=True).balance.even
    assert (rig.rows("items", "id", "n"), rig.rows("others", "id", "n")) == ([(1, 1)], [(7, 1)])
