"""Rows go through a step between source and mapping; every one of them is accounted for."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.engine.kit import Desk, desk, rig, types

from millrace.control.failed.rejects import Choice, rows
from millrace.data.batch import Batch, Checkpoint
from millrace.data.columns import is_ours
from millrace.data.compute import pc
from millrace.engine.entering import Flight
from millrace.engine.steps import Output, Stepped

__all__ = ["desk", "rig", "types"]


@dataclass
class Sorting:
    """A step by the field `fate`: keep, drop, refuse, split (the row itself and a new one), or move to another type."""

    seen: list[pa.RecordBatch] = field(default_factory=list)

    def apply(self, batch: Batch, key: tuple[str, ...] = ()) -> Stepped:
        self.seen.append(batch.rows)
        fates = batch.rows.column("fate").to_pylist()

        def rows_of(*wanted: str) -> list[int]:
            return [row for row, fate in enumerate(fates) if fate in wanted]

        def output(stream: str, found: list[int], **more: Any) -> Output:
            places = pa.array(found, pa.int32())
            return Output(stream, batch.rows.take(places), places, **more)

        kept, moved, made = rows_of("keep", "split"), rows_of("move"), rows_of("split")
        outputs = [output(batch.stream, kept)] if kept else []
        outputs += [output("moved", moved)] if moved else []
        outputs += [output("made", made, made=pa.array([True] * len(made)))] if made else []
        refused = tuple((row, "TRANSFORM_ERROR", f"row {row}") for row in rows_of("refuse"))
        return Stepped(tuple(outputs), refused, len(rows_of("drop")))

    def close(self) -> None:
        """Nothing to close."""


def fated(*fates: str, **more: Any) -> list[dict[str, Any]]:
    return [{"id": number, "fate": fate} | more for number, fate in enumerate(fates, 1)]


def through(desk: Desk, *words: Any, step: Any = None, **more: Any) -> None:
    desk.ingest(*words, flight=Flight(step or Sorting(), version=3), **more)


def record(desk: Desk) -> Any:
    from millrace.control.books.records import run_record

    return run_record(desk.rig.home, desk.crew.run_id)


def balance(desk: Desk) -> Any:
    return record(desk).balance


def test_rows_that_a_step_drops_are_filtered_by_their_reason(desk: Desk):
    through(desk, fated("keep", "drop", "drop"), Checkpoint(1))
    assert desk.segments() == [1]
    assert balance(desk).filtered == {"transformation": 2}


def test_rows_that_a_step_makes_are_created(desk: Desk):
    through(desk, fated("keep", "split", "split"), Checkpoint(1))
    assert (desk.segments(), desk.segments("made")) == ([3], [2])
    found = balance(desk)
    assert (found.read, found.created, found.even) == (3, 2, True)
    streams = record(desk).streams
    assert {name: (one.read, one.created, one.even) for name, one in streams.items()} == {
        "items": (3, 0, True),
        "made": (0, 2, True),
    }


def test_rows_that_become_those_of_another_event_type_are_even_for_each(desk: Desk):
    through(desk, fated("keep", "move", "move"), Checkpoint(1))
    streams = record(desk).streams
    assert {name: (one.read, one.created, one.even) for name, one in streams.items()} == {
        "items": (3, -2, True),
        "moved": (0, 2, True),
    }


def test_an_event_type_that_a_step_makes_has_a_table_with_the_key_of_its_stream(desk: Desk):
    through(desk, fated("move"), Checkpoint(1))
    assert desk.shelved("moved").mapping.key == ("id",)
    desk.load("moved")
    assert desk.rig.rows("moved", "id") == [1]


def test_a_row_that_a_step_refuses_is_kept_as_it_was_read(desk: Desk):
    through(desk, fated("refuse", "keep", price=pa.scalar(1).as_py()), Checkpoint(1))
    (found,) = rows(desk.rig.home, desk.sync.stage, Choice(stage="steps"))
    assert (found.code, json.loads(found.row)["fate"]) == ("TRANSFORM_ERROR", "refuse")
    assert balance(desk).rejected == {"steps/TRANSFORM_ERROR": 1}


def refusals(desk: Desk) -> list[dict[str, Any]]:
    """Rejected rows with all that was kept of them."""
    from millrace.control.failed.rejects import replayable

    return [row for one in replayable(desk.rig.home, desk.sync.stage) for row in one.rows.to_pylist()]


def test_a_row_that_the_mapping_refuses_keeps_the_row_before_the_step_unless_code_made_it(desk: Desk):
    through(desk, [{"id": None, "fate": "split", "at": 1}, {"id": 1, "fate": "split"}], Checkpoint(1))
    kept, made = sorted(refusals(desk), key=lambda row: row["stream"])
    assert (kept["stream"], kept["made"], json.loads(kept["origin"])) == (
        "items",
        False,
        {"id": None, "fate": "split", "at": 1},
    )
    assert (made["stream"], made["made"], made["origin"]) == ("made", True, None)
    assert json.loads(kept["types"])["at"] == "INTEGER"
    assert balance(desk).even


def test_the_commit_says_which_transformation_the_rows_went_through(desk: Desk):
    through(desk, fated("keep", "refuse"), Checkpoint(1))
    with desk.rig.home.database.reading() as connection:
        import sqlalchemy as sa

        from millrace.control.database.tables import reject_groups, segments

        assert connection.execute(sa.select(segments.c.transformation, segments.c.mapping_version)).all() == [(3, 1)]
        assert connection.execute(sa.select(reject_groups.c.transformation)).scalars().all() == [3]


def test_the_first_rows_of_a_stream_are_samples_as_they_were_read(desk: Desk):
    from millrace.control.transforming.trials import sampled

    through(desk, fated("drop", "keep"), Checkpoint(1), fated(*["keep"] * 20), Checkpoint(2))
    desk.ingest(fated("keep"), Checkpoint(3))
    found = sampled(desk.rig.home, "scripted")
    assert [one.properties["fate"] for one in found] == ["drop", *["keep"] * 9]
    assert found[0].types == {"id": "INTEGER", "fate": "VARCHAR"}


def test_metadata_of_a_source_is_not_among_the_samples(desk: Desk):
    from millrace.control.transforming.trials import sampled
    from millrace.data.columns import ID, ours

    rows_ = pa.record_batch(
        [pa.array([1]), pa.array(["x"])], schema=pa.schema([pa.field("id", pa.int64()), ours(ID, pa.string())])
    )
    assert is_ours(rows_.schema.field(1))
    desk.ingest(rows_, Checkpoint(1))
    assert [one.properties for one in sampled(desk.rig.home, "scripted")] == [{"id": 1}]


FATES = st.lists(st.sampled_from(["keep", "drop", "refuse", "split", "move"]), min_size=1, max_size=20)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(parts=st.lists(FATES, min_size=1, max_size=4))
def test_counts_balance_whatever_a_step_does(desk: Desk, parts: list[list[str]]):
    before = balance(desk)
    for part in parts:
        through(desk, fated(*part), Checkpoint(1), step=Sorting())
    after = balance(desk)
    fates = [fate for part in parts for fate in part]
    assert after.read - before.read == len(fates)
    assert after.created - before.created == fates.count("split")
    assert after.staged - before.staged == sum(map(fates.count, ("keep", "move"))) + 2 * fates.count("split")
    assert after.even


def test_a_step_that_loses_a_row_is_found_out(desk: Desk):
    class Losing(Sorting):
        def apply(self, batch: Batch, key: tuple[str, ...] = ()) -> Stepped:
            stepped = super().apply(batch, key)
            return replace(stepped, filtered=0, outputs=stepped.outputs[:1])

    from millrace.errors import MillraceError

    with pytest.raises(MillraceError) as caught:
        through(desk, fated("keep", "move"), Checkpoint(1), step=Losing())
    assert caught.value.code == "step_lost_rows"
    assert desk.commits == 0


def test_rows_come_out_as_a_step_gives_them(desk: Desk):
    class Louder(Sorting):
        def apply(self, batch: Batch, key: tuple[str, ...] = ()) -> Stepped:
            upper: Callable[..., Any] = pc.utf8_upper
            rows_ = batch.rows.set_column(1, "fate", upper(batch.rows.column("fate")))
            return Stepped((Output(batch.stream, rows_, pa.array(range(rows_.num_rows), pa.int32())),))

    through(desk, fated("keep", "drop"), Checkpoint(1), step=Louder())
    desk.load()
    assert desk.rig.rows("items", "fate", order="id") == ["KEEP", "DROP"]


def test_a_first_batch_without_any_key_is_refused_not_appended(desk: Desk):
    desk.ingest([{"id": None, "fate": "keep"}, {"id": None, "fate": "keep"}], Checkpoint(1))
    assert balance(desk).rejected == {"mapping/NULL_PRIMARY_KEY": 2}
    desk.ingest(fated("keep"), Checkpoint(2))
    desk.load()
    assert desk.rig.rows("items", "id") == [1]
