"""Collections by queries: every query mode, and nothing is lost or doubled whatever arrives when."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from bson import ObjectId
from tests.mongodb import Deployment

from millrace.connect.source import Context, Note, Reading, Slice, Stream
from millrace.data.batch import JSON, Batch, Checkpoint, Lane, LoadMode, Passed
from millrace.data.rows import to_rows
from millrace.errors import ConfigError
from millrace.sources.mongodb import querying
from millrace.sources.mongodb.config import Config
from millrace.sources.mongodb.source import Source

AT = datetime(2026, 1, 2, tzinfo=UTC)


@dataclass
class Marks:
    kept: dict[str, list[bytes]] = field(default_factory=dict[str, list[bytes]])

    def parts(self) -> Sequence[str]:
        return list(self.kept)

    def recall(self, part: str) -> Sequence[bytes]:
        return self.kept.get(part, [])


@dataclass
class Follower:
    """One collection, read again and again as the engine does it."""

    mongo: Deployment
    mode: JSON = None
    load_mode: LoadMode = "append"
    settings: dict[str, Any] = field(default_factory=dict[str, Any])
    cursors: dict[Lane, JSON] = field(default_factory=dict[Lane, JSON])
    marks: Marks = field(default_factory=Marks)
    notes: list[Note] = field(default_factory=list[Note])

    def source(self) -> Source:
        queries = {f"{self.mongo.name}.t": self.mode} if self.mode is not None else {}
        config = Config(**self.mongo.settings(ingestion_mode="table", **self.settings))
        return Source(config, Context(queries=queries, note=self.notes.append))

    def stream(self) -> Stream:
        with closing(self.source()) as source:
            return source.streams()[0]

    def run(self, *, stop_after: int | None = None) -> list[str]:
        """The `_id`s that a run reads; what no checkpoint covers does not count."""
        with closing(self.source()) as source:
            (stream,) = source.streams()
            lanes: tuple[Lane, ...] = ("incremental", "historical")
            return [row["_id"] for lane in lanes for row in self._lane(source, stream, lane, stop_after)]

    def _lane(self, source: Source, stream: Stream, lane: Lane, stop_after: int | None) -> list[dict[str, JSON]]:
        if lane == "historical" and not stream.historical:
            return []
        items: Any = source.read(Reading(stream, lane, self.cursors.get(lane), self.marks, self.load_mode))
        rows, waiting = list[dict[str, JSON]](), list[dict[str, JSON]]()
        with closing(items):
            for item in items:
                if isinstance(item, Checkpoint):
                    self.cursors[lane] = json.loads(json.dumps(item.cursor))
                    for mark in item.marks:
                        self.marks.kept[mark.part] = [mark.data] if mark.data is not None else []
                    rows, waiting = rows + waiting, []
                    if stop_after is not None and (stop_after := stop_after - 1) == 0:
                        return rows
                elif isinstance(item, Batch):
                    waiting += to_rows(item.rows)
                else:
                    assert isinstance(item, Passed)
        assert not waiting
        return rows


@pytest.fixture
def things(mongo: Deployment) -> Iterator[Any]:
    """An empty collection ``t`` with an index of the time."""
    collection = mongo.database["t"]
    collection.create_index("at")
    yield collection


DELTA = {"mode": "delta", "timestamp_column_name": "at"}


def test_a_delta_reads_what_is_newer_and_nothing_twice(mongo: Deployment, things: Any) -> None:
    things.insert_many([{"_id": n, "at": AT + timedelta(minutes=n)} for n in range(10)] + [{"_id": "none"}])
    one = Follower(mongo, DELTA)
    assert sorted(one.run()) == sorted([*map(str, range(10)), "none"])
    assert one.run() == []
    things.update_one({"_id": 3}, {"$set": {"at": AT + timedelta(minutes=20)}})
    # At the very moment of the last one, and somewhat before it.
    things.insert_one({"_id": 20, "at": AT + timedelta(minutes=20)})
    things.insert_one({"_id": 21, "at": AT + timedelta(minutes=19, seconds=30)})
    assert sorted(one.run()) == ["20", "21", "3"]
    things.insert_one({"_id": 22, "at": AT + timedelta(minutes=20)})
    assert one.run() == ["22"]
    assert one.run() == []


def test_a_document_with_a_date_to_come_waits_for_it(mongo: Deployment, things: Any) -> None:
    things.insert_one({"_id": 1, "at": AT})
    one = Follower(mongo, DELTA)
    one.run()
    things.insert_many([{"_id": 2, "at": datetime.now(UTC) + timedelta(days=1)}, {"_id": 3, "at": AT}])
    assert one.run() == ["3"]
    one.mode = DELTA | {"timestamp_delay_interval_ms": 3_600_000}
    things.insert_one({"_id": 4, "at": datetime.now(UTC)})
    assert one.run() == []


def test_new_documents_are_found_by_their_object_id(mongo: Deployment, things: Any) -> None:
    def made(seconds: int) -> ObjectId:
        return ObjectId.from_datetime(AT + timedelta(seconds=seconds))

    things.insert_many([{"_id": made(n)} for n in range(0, 300, 20)])
    one = Follower(mongo, "increment_append_only")
    assert len(one.run()) == 15
    # One of a machine whose clock is behind, and a new one.
    things.insert_many([{"_id": made(270)}, {"_id": made(400)}])
    things.update_one({"_id": made(0)}, {"$set": {"seen": False}})
    assert one.run() == [str(made(270)), str(made(400))]
    assert one.run() == []


def test_new_documents_are_found_by_a_number_however_late(
    mongo: Deployment, things: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(querying, "COUNTED_BACK", 5)
    things.insert_many([{"_id": f"a{n}", "seq": n} for n in range(0, 40, 2)])
    one = Follower(mongo, {"mode": "increment_append_only", "incrementing_column_name": "seq"})
    assert len(one.run()) == 20
    things.insert_many([{"_id": "late", "seq": 35}, {"_id": "new", "seq": 40}, {"_id": "too late", "seq": 1}])
    assert sorted(one.run()) == ["late", "new"]
    assert one.run() == []


def test_new_and_changed_documents_are_found_by_both_fields(mongo: Deployment, things: Any) -> None:
    things.insert_many([{"_id": n, "at": AT + timedelta(minutes=n)} for n in range(6)])
    one = Follower(mongo, {"mode": "change_data_capture", "timestamp_column_name": "at"})
    assert len(one.run()) == 6
    things.update_one({"_id": 1}, {"$set": {"at": AT + timedelta(minutes=30)}})
    # A new one whose time nobody set.
    things.insert_one({"_id": 6})
    assert sorted(one.run()) == ["1", "6"]
    assert one.run() == []


def test_a_full_load_reads_everything_again(mongo: Deployment, things: Any) -> None:
    things.insert_many([{"_id": n} for n in range(5)])
    one = Follower(mongo, settings={"full_load_every_hours": 0})
    assert len(one.run()) == 5
    assert len(one.run()) == 5


def test_a_run_that_was_ended_goes_on_behind_its_last_document(
    mongo: Deployment, things: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(querying, "BATCH_ROWS", 3)
    things.insert_many([{"_id": n, "at": AT + timedelta(hours=n)} for n in range(5)])
    one = Follower(mongo, DELTA)
    one.run()
    things.insert_many([{"_id": 10 + n, "at": AT + timedelta(hours=10 + n // 2)} for n in range(20)])
    read = [*one.run(stop_after=2), *one.run(stop_after=1), *one.run()]
    assert read == [str(10 + n) for n in range(20)]


def test_what_was_before_the_pipeline_can_be_left_alone(mongo: Deployment, things: Any) -> None:
    things.insert_many([{"_id": n, "at": AT} for n in range(5)])
    one = Follower(mongo, DELTA, settings={"load_historical_data": False})
    assert one.run() == []
    things.insert_one({"_id": 6, "at": AT})
    assert one.run() == ["6"]


def test_an_empty_collection_begins_empty_and_loses_nothing(mongo: Deployment, things: Any) -> None:
    things.insert_one({"_id": 0})
    notes = list[Note]()
    one = Follower(mongo, DELTA, notes=notes)
    assert one.run() == ["0"] and {note.code for note in notes} == {"field_unseen"}
    things.insert_one({"_id": 1, "at": AT})
    assert one.run() == ["1"] and one.run() == []


def test_chosen_days_are_read_once_more(mongo: Deployment, things: Any) -> None:
    things.insert_many([{"_id": n, "at": AT + timedelta(days=n)} for n in range(5)])
    one = Follower(mongo, DELTA)
    with closing(one.source()) as source:
        reading = Reading(one.stream(), "again", slices=(Slice(date(2026, 1, 3), date(2026, 1, 4)),))
        found = [row["_id"] for item in source.read(reading) if isinstance(item, Batch) for row in to_rows(item.rows)]
    assert sorted(found) == ["1", "2"]
    one.mode = "full_load"
    with closing(one.source()) as source, pytest.raises(ConfigError, match="knows no days"):
        list(source.read(Reading(one.stream(), "again")))


@pytest.mark.parametrize(
    ("documents", "index", "mode"),
    [
        ([{"_id": ObjectId(), "updatedAt": AT}], "updatedAt", "updatedAt"),
        ([{"_id": 1, "updated_at": AT}], "updated_at", "updated_at"),
        ([{"_id": ObjectId(), "updatedAt": AT}, {"_id": ObjectId()}], "updatedAt", None),
        ([{"_id": ObjectId(), "updatedAt": "today"}], "updatedAt", None),
        ([{"_id": ObjectId(), "updatedAt": AT}], None, None),
    ],
)
def test_the_mode_fits_what_the_collection_has(
    mongo: Deployment, documents: list[dict[str, Any]], index: str | None, mode: str | None
) -> None:
    mongo.database["t"].insert_many(documents)
    if index is not None:
        mongo.database["t"].create_index(index)
    assert Follower(mongo).stream().cursor_field == mode


@pytest.mark.parametrize(
    ("mode", "said"),
    [
        ({"mode": "delta", "timestamp_column_name": "name"}, "cannot be the timestamp column"),
        ({"mode": "delta"}, "needs a column"),
        ("xmin", "has no xmin"),
        ("nothing", "no query mode 'nothing'"),
    ],
)
def test_a_mode_that_cannot_be_is_told(mongo: Deployment, mode: JSON, said: str) -> None:
    mongo.database["t"].insert_one({"_id": 1, "name": "x"})
    with pytest.raises(ConfigError, match=said):
        Follower(mongo, mode).run()


def test_a_field_of_a_sub_document_can_say_the_time(mongo: Deployment, things: Any) -> None:
    things.insert_one({"_id": 1, "meta": {"at": AT}})
    one = Follower(mongo, {"mode": "delta", "timestamp_column_name": "meta.at"})
    assert one.run() == ["1"]
    things.insert_one({"_id": 2, "meta": {"at": AT + timedelta(hours=1)}})
    assert one.run() == ["2"]


def test_a_view_is_read_whole_and_its_rows_are_appended(mongo: Deployment, things: Any) -> None:
    things.insert_many([{"_id": n, "l": [1, 2]} for n in range(3)])
    mongo.database.create_collection("v", viewOn="t", pipeline=[{"$unwind": "$l"}])
    config = Config(**mongo.settings(ingestion_mode="table"))
    with closing(Source(config, Context())) as source:
        view = next(one for one in source.streams() if one.name.endswith(".v"))
        assert view.key == ()
        items = [*source.read(Reading(view, "historical"))]
    assert sum(item.rows.num_rows for item in items if isinstance(item, Batch)) == 6
