"""Collections that the server refuses to show: the run says so, and the others arrive."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from pymongo import MongoClient
from tests.mongodb import Deployment, Server
from tests.sources.mongodb.site import Site, site

from millrace.connect.source import Context, Reading
from millrace.control.books.records import RunRecord
from millrace.errors import ObjectRefused
from millrace.sources.mongodb.config import Config
from millrace.sources.mongodb.source import Source

__all__ = ["site"]


@pytest.fixture(scope="module")
def guarded() -> Iterator[Deployment]:
    """A server that looks at rights: ``some`` may read what is in ``shop``, and see what there is in ``secret``."""
    server, password = Server().start(), secrets.token_hex(6)
    try:
        with MongoClient[dict[str, Any]](server.uri) as client:
            for name in ("secret", "shop"):
                client[name]["t"].insert_many([{"_id": number} for number in range(3)])
            # SecantusDB knows rights to whole databases alone.
            rights = [
                {"resource": {"db": "shop", "collection": ""}, "actions": ["find", "listCollections", "listIndexes"]},
                {"resource": {"db": "secret", "collection": ""}, "actions": ["listCollections"]},
            ]
            client.admin.command("createRole", "some", privileges=rights, roles=[])
            client.admin.command("createUser", "root", pwd=password, roles=["root"])
            client.admin.command("createUser", "some", pwd=password, roles=[{"role": "some", "db": "admin"}])
        server.end(kindly=True)
        with_password = f"mongodb://some:{password}@127.0.0.1:{server.port}/?authSource=admin"
        server.start("--auth", username="root", password=password)
        yield Deployment(with_password, "shop")
    finally:
        server.stop()


def failed(record: RunRecord) -> list[tuple[str, str]]:
    return [(note.code, note.message) for note in record.notes if note.level == "error"]


def test_a_collection_without_the_right_to_it_fails_alone(tmp_path: Path, guarded: Deployment) -> None:
    with closing(Site(tmp_path, guarded)) as site:
        record = site.create("append", ingestion_mode="table", db_names=["secret", "shop"]).run()
        assert record.status == "COMPLETED_WITH_FAILURES"
        ((code, said),) = failed(record)
        assert code == "mongodb_1011"
        assert said.startswith("secret.t: The user of ")
        assert "Grant the role read" in said
        assert site.query("SELECT _id FROM shop_t ORDER BY 1") == [("0",), ("1",), ("2",)]


def test_a_view_that_cannot_be_computed_fails_alone(site: Site, mongo: Deployment) -> None:
    mongo.database["good"].insert_many([{"_id": number, "n": 0} for number in range(3)])
    views = {"divided": {"$project": {"n": {"$divide": [1, "$n"]}}}, "unknown": {"$no_such_stage": {}}}
    for name, stage in views.items():
        mongo.database.create_collection(name, viewOn="good", pipeline=[stage])
    record = site.create("append", ingestion_mode="table").run()
    assert record.status == "COMPLETED_WITH_FAILURES"
    assert {(code, said.partition(":")[0]) for code, said in failed(record)} == {
        ("mongodb_refused", f"{mongo.name}.{name}") for name in views
    }
    assert len(site.query("SELECT * FROM good")) == 3
    # What was mended is there with the next run.
    for name in views:
        mongo.database.drop_collection(name)
        mongo.database.create_collection(name, viewOn="good", pipeline=[{"$project": {"n": 1}}])
    assert site.run().status == "COMPLETED"
    assert len(site.query("SELECT * FROM divided")) == 3


def test_a_refused_collection_is_not_counted_and_is_named(mongo: Deployment) -> None:
    mongo.database["good"].insert_one({"_id": 1, "n": 0})
    mongo.database.create_collection("bad", viewOn="good", pipeline=[{"$project": {"n": {"$divide": [1, "$n"]}}}])
    with closing(Source(Config(**mongo.settings(ingestion_mode="table")), Context())) as source:
        bad = next(one for one in source.streams() if one.name.endswith(".bad"))
        for ask in (source.totals, source.snapshot, lambda one: source.read(Reading(one, "historical"))):
            with pytest.raises(ObjectRefused, match=rf"^{bad.name}: .*divide"):
                list(ask(bad))
