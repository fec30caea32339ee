"""Changes come from change streams: whatever is written is at the destination, once, in the end."""

from __future__ import annotations

import pytest
from bson import Timestamp
from tests.mongodb import Deployment
from tests.sources.mongodb.site import Site, site
from tests.sources.mongodb.writer import IDS
from tests.sources.site import PIPELINE

from millrace.connect.log import Followed, Following
from millrace.connect.source import Context, Reading
from millrace.control.pipeline import positions
from millrace.control.running import runs
from millrace.data.batch import Checkpoint, Passed
from millrace.errors import ConfigError
from millrace.sources.mongodb import log as following
from millrace.sources.mongodb import ranges
from millrace.sources.mongodb.config import Config
from millrace.sources.mongodb.source import Source

__all__ = ["site"]


def test_inserts_updates_replacements_and_deletes_arrive(site: Site, mongo: Deployment) -> None:
    orders = mongo.database["orders"]
    orders.insert_many([{"_id": number, "n": number, "s": {"x": [number]}} for number in range(5)])
    site.create()
    first = site.run()
    assert (first.status, first.balance.loaded) == ("COMPLETED", 5)
    orders.update_one({"_id": 0}, {"$set": {"new": "x"}, "$unset": {"s": 1}})
    orders.replace_one({"_id": 1}, {"other": True})
    orders.delete_one({"_id": 2})
    orders.insert_one({"_id": 5, "n": 50})
    mongo.database["later"].insert_one({"_id": 1})
    site.run()
    assert site.rows("orders", "_id, n, s, new, other") == [
        ("0", 0, None, "x", None), ("1", None, None, None, True), ("3", 3, '{"x":[3]}', None, None),
        ("4", 4, '{"x":[4]}', None, None), ("5", 50, None, None, None),
    ]  # fmt: skip
    assert site.rows("orders", "_id, n", deleted=True) == [("2", 2)]
    assert site.rows("later", "_id") == [("1",)]
    assert site.run().balance.read == 0


def test_every_id_is_a_row_of_its_own_and_is_deleted_alone(site: Site, mongo: Deployment) -> None:
    mongo.database["mixed"].insert_many([{"_id": id_, "n": number} for number, id_ in enumerate(IDS)])
    site.create()
    site.run()
    assert sorted(n for (n,) in site.query("SELECT n FROM mixed")) == [*range(len(IDS))]
    for number, id_ in enumerate(IDS[:2]):
        mongo.database["mixed"].delete_one({"_id": id_})
        site.run()
        assert sorted(n for (n,) in site.query("SELECT n FROM mixed WHERE __hevo__marked_deleted")) == [
            *range(number + 1)
        ]


def test_collections_that_are_dropped_renamed_or_replaced_are_followed(site: Site, mongo: Deployment) -> None:
    database = mongo.database
    for name in ("dropped", "moved", "replaced"):
        database[name].insert_many([{"_id": number, "n": 1} for number in range(3)])
    site.create()
    site.run()
    database["dropped"].drop()
    database["dropped"].insert_one({"_id": 9, "n": 2})
    database["moved"].rename("elsewhere")
    database["replaced"].aggregate([{"$match": {"_id": 1}}, {"$set": {"n": 3}}, {"$out": "copy"}])
    database["copy"].rename("replaced", dropTarget=True)
    site.run()
    assert site.rows("dropped", "_id, n") == [("9", 2)]
    assert site.rows("moved", "_id") == [] and len(site.rows("moved", deleted=True)) == 3
    assert site.rows("replaced", "_id, n") == [("1", 3)] and len(site.rows("replaced", deleted=True)) == 2


def test_a_collection_that_never_had_a_document_may_be_dropped_or_read_anew(site: Site, mongo: Deployment) -> None:
    names = ("dropped", "anew")
    for name in names:
        mongo.database.create_collection(name)
    site.create()
    site.run()
    mongo.database.drop_collection("dropped")
    assert site.run().balance.read == 1
    mongo.database["dropped"].insert_one({"_id": 1, "n": 1})
    site.run()
    runs.resync(site.home, PIPELINE, mode="drop-and-load")
    mongo.database["anew"].insert_one({"_id": 1, "n": 1})
    site.run()
    for name in names:
        assert site.rows(name, "_id, n") == [("1", 1)]


def test_a_database_that_is_dropped_and_made_again_is_followed(site: Site, mongo: Deployment) -> None:
    mongo.database["t"].insert_one({"_id": 1})
    site.create()
    site.run()
    mongo.client.drop_database(mongo.name)
    mongo.database["t"].insert_one({"_id": 2})
    site.run()
    mongo.database["t"].insert_one({"_id": 3})
    site.run()
    assert site.rows("t", "_id") == [("2",), ("3",)] and site.rows("t", "_id", deleted=True) == [("1",)]


def test_changes_are_read_again_from_a_token_or_a_time_that_the_server_has(site: Site, mongo: Deployment) -> None:
    orders = mongo.database["orders"]
    orders.insert_one({"_id": 1})
    site.create()
    site.run()
    orders.insert_one({"_id": 2})
    site.run()
    token = positions.log_text(positions.of_log(site.home, PIPELINE))
    orders.insert_many([{"_id": 3}, {"_id": 4}])
    assert site.run().balance.read == 2
    positions.move_log(site.home, PIPELINE, token)
    assert site.run().balance.read == 2
    held = positions.of_log(site.home, PIPELINE)
    for place, why in (("soon", "neither"), ("2099-01-01", "still to come"), ('{"_data": "82"}', "cannot be read")):
        with pytest.raises(ConfigError, match=why) as caught:
            positions.move_log(site.home, PIPELINE, place)
        assert caught.value.code == "log_position"
    assert positions.of_log(site.home, PIPELINE) == held


def test_collections_of_one_name_go_to_one_table(site: Site, mongo: Deployment) -> None:
    names = [f"{mongo.name}_{end}" for end in "ab"]
    try:
        for name in names:
            mongo.client[name]["t"].insert_one({"_id": 1, "n": name[-1]})
        site.create(db_names=names, merge_collections=True)
        site.run()
        mongo.client[names[0]]["t"].update_one({"_id": 1}, {"$set": {"n": "c"}})
        mongo.client[names[1]]["t"].insert_one({"_id": 2, "n": "d"})
        site.run()
        columns = "__hevo__database_name, _id, n"
        assert site.rows("t", columns) == [(names[0], "1", "c"), (names[1], "1", "b"), (names[1], "2", "d")]
        mongo.client[names[1]]["t"].drop()
        site.run()
        assert site.rows("t", columns) == [(names[0], "1", "c")]
        assert len(site.rows("t", columns, deleted=True)) == 2
    finally:
        for name in names:
            mongo.client.drop_database(name)


def test_a_document_comes_as_a_change_left_it_where_the_server_keeps_that(site: Site, mongo: Deployment) -> None:
    kept = mongo.database.create_collection("kept", changeStreamPreAndPostImages={"enabled": True})
    kept.insert_one({"_id": 1, "n": 1})
    site.create("append")
    site.run()
    kept.delete_one({"_id": 1})
    site.run()
    assert site.query("SELECT _id, n, __hevo__marked_deleted FROM kept ORDER BY 3") == [("1", 1, False), ("1", 1, True)]


def test_a_change_that_the_history_has_is_passed_over_and_a_delete_is_not(mongo: Deployment) -> None:
    source = Source(Config(**mongo.settings()), Context())
    try:
        mongo.database["t"].insert_many([{"_id": 1}, {"_id": 2}])
        log = source.log()
        assert log is not None
        (stream,) = source.streams()
        (begun,) = log.follow(Following({stream.name: Followed(stream, "merge")}))
        assert isinstance(begun, Checkpoint)
        mongo.database["t"].delete_one({"_id": 1})
        mongo.database["t"].insert_one({"_id": 3})
        items = [*source.read(Reading(stream, "historical", log=begun.cursor))]
        history = items[-1]
        assert isinstance(history, Checkpoint) and history.cursor["done"]
        mongo.database["t"].insert_one({"_id": 4})
        followed = Followed(stream, "merge", history=history.cursor)
        items = [*log.follow(Following({stream.name: followed}, begun.cursor))]
        told = [row for item in items if hasattr(item, "rows") for row in item.rows.to_pylist()]
        assert [(row["_id"], row["__hevo_op_type"]) for row in told] == [("4", "I"), ("1", "D")]
        assert sum(item.count for item in items if isinstance(item, Passed)) == 2
        retention = source.retention()
        assert retention is not None and retention.behind_s is not None
    finally:
        source.close()


def test_a_history_is_cut_into_ranges_over_ids_of_all_types(mongo: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    every = [{"_id": id_} for id_ in IDS] + [{"_id": f"s{number}"} for number in range(200)]
    mongo.database["t"].insert_many(every)
    monkeypatch.setattr(ranges, "BATCH_ROWS", 7)
    monkeypatch.setattr(Source, "range_rows", 30)
    source = Source(Config(**mongo.settings(historical_parallelism=3)), Context())
    try:
        (stream,) = source.streams()
        cursor, read = None, list[str]()
        for stop in (3, 9, 10**6):
            items, waiting = source.read(Reading(stream, "historical", cursor)), list[str]()
            for item in items:
                if isinstance(item, Checkpoint):
                    read, waiting, cursor, stop = read + waiting, [], item.cursor, stop - 1
                    if not stop:
                        break
                else:
                    waiting += item.rows.column("_id").to_pylist()
            items.close()
        assert len(read) == len(every) == len(set(read))
        assert cursor is not None and cursor["done"]
    finally:
        source.close()


def test_the_time_in_a_token_of_mongodb_is_read_and_in_others_none() -> None:
    token = {"_data": "8265E1B1C2000000032B0229296E04"}
    assert following.token_time(token) == Timestamp(0x65E1B1C2, 3)
    for other in (
        None,
        {},
        {"_data": "82000000107300030000"},
        {"_data": "3a000000107300020000001174"},
        {"_data": "82xx"},
    ):
        assert following.token_time(other) is None


def test_changes_that_are_appended_come_again_only_where_somebody_says_so(site: Site, mongo: Deployment) -> None:
    orders = mongo.database["orders"]
    orders.insert_one({"_id": 1})
    site.create("append")
    site.run()
    orders.insert_one({"_id": 2})
    site.run()
    earlier = positions.log_text(positions.of_log(site.home, PIPELINE))
    orders.insert_one({"_id": 3})
    site.run()
    read = positions.log_text(positions.of_log(site.home, PIPELINE))
    with pytest.raises(ConfigError, match="orders is appended") as caught:
        positions.move_log(site.home, PIPELINE, earlier)
    assert caught.value.code == "would_double"
    positions.move_log(site.home, PIPELINE, read)
    positions.move_log(site.home, PIPELINE, earlier, append_again=True)
    site.run()
    assert site.rows("orders", "_id") == [("1",), ("2",), ("3",), ("3",)]
