"""Change streams keep the laws of all logs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from tests.mongodb import Deployment, Server
from tests.sources.log_contract import Ground, LogContract, Row, deadly
from tests.sources.mongodb.site import Site, site
from tests.sources.mongodb.writer import COLLECTIONS, Writer, differences

from millrace.errors import Transient
from millrace.sources.mongodb import log
from millrace.sources.mongodb.source import Source

__all__ = ["site"]


class Documents(Ground):
    batch = (log, "ROWS")
    bears = (Transient,)  # a collection was gone after it was listed

    def make(self, table: str) -> None:
        del table  # it is there with its first document

    def insert(self, table: str, *rows: Row) -> None:
        self.site.server.database[table].insert_many([{"_id": id_, "v": value} for id_, value in rows])

    def change(self, table: str, id_: int, value: str) -> None:
        self.site.server.database[table].update_one({"_id": id_}, {"$set": {"v": value}})

    def delete(self, table: str, id_: int) -> None:
        self.site.server.database[table].delete_one({"_id": id_})

    def there(self, table: str) -> Sequence[Row]:
        return [(one["_id"], one["v"]) for one in self.site.server.database[table].find().sort("_id")]

    def here(self, table: str, *, deleted: bool = False) -> Sequence[Row]:
        return sorted((int(id_), value) for id_, value in self.site.rows(table, "_id, v", deleted=deleted))

    def lose(self) -> None:
        # The server looks every thousand changes whether it keeps too many.
        self.insert("t", *((number, "more") for number in range(10, 2_100)))

    def prepare(self) -> None:
        for name in COLLECTIONS:
            self.site.server.database[name].update_one({"_id": "first"}, {"$set": {"n": 1}}, upsert=True)

    def differences(self) -> dict[str, Any]:
        return differences(self.site.server, self.site)

    def dies_reading(self, patch: pytest.MonkeyPatch, after: int) -> None:
        patch.setattr(log._Read, "_event", deadly(log._Read._event, [after]))


class TestMongoDB(LogContract):
    @pytest.fixture
    def ground(self, site: Site, mongo: Deployment) -> Documents:
        return Documents(site, Source, Writer(mongo, 1))

    @pytest.fixture
    def losing(self, tmp_path: Path) -> Iterator[Ground]:
        server = Server(("--oplog-max-entries=20",)).start()
        deployment = Deployment(server.uri, "shop")
        site = Site(tmp_path, deployment)
        try:
            yield Documents(site, Source, None)
        finally:
            deployment.client.close()
            site.close()
            server.stop()

    @staticmethod
    def appended(row: Row) -> Row:
        # A change shows the document as it is when it is read, which may be later.
        return row[0], ""
