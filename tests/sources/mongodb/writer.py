"""Somebody who writes to a database at random, and the comparison of what came of it on both sides."""

from __future__ import annotations

import json
import random
import threading
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

from bson import Binary, Int64, ObjectId
from pymongo.errors import ConnectionFailure
from tests.mongodb import Deployment
from tests.sources.site import Followed

from millrace.sources.mongodb.values import id_text, nested

COLLECTIONS = ("orders", "mixed")
# Of all kinds, so that some look alike.
IDS = (1, "1", 2.5, "2.5", ObjectId("0123456789abcdef01234567"), "0123456789abcdef01234567", {"a": 1}, {"a": "1"},
       Binary(b"x", 5), True, "true", None, Int64(2**60))  # fmt: skip


class Writer:
    """Inserts, updates, replacements, deletes, and now and then another collection in the place of one."""

    def __init__(self, deployment: Deployment, seed: int) -> None:
        self.database, self.random = deployment.database, random.Random(seed)
        self.count = 0

    def write(self) -> None:
        choose = self.random
        one = self.database[choose.choice(COLLECTIONS)]
        id_, number = choose.choice(IDS), choose.randrange(1000)
        roll = choose.random()
        if roll < 0.4:
            one.replace_one(
                {"_id": id_}, {"n": number, "t": "ä" * choose.randrange(3), "d": {"l": [number, None]}}, True
            )
        elif roll < 0.55:
            one.update_one({"_id": id_}, {"$set": {"n": number, "wxyz"[number % 4]: float(number)}}, upsert=True)
        elif roll < 0.7:
            one.update_one({"_id": id_}, {"$unset": {"d": 1, "x": 1}})
        elif roll < 0.8:
            one.update_many({}, {"$inc": {"n": 1}})
        elif roll < 0.96:
            one.delete_one({"_id": id_})
        elif roll < 0.98:
            one.drop()
        else:
            self.database["made"].insert_one({"_id": id_, "n": number})
            self.database["made"].rename(one.name, dropTarget=True)
        self.count += 1

    def some(self, count: int) -> None:
        """So many changes."""
        for _ in range(count):
            self.write()

    @contextmanager
    def beside(self, *, patient: bool = False) -> Generator[None]:
        """It writes while the block runs; ``patient``: to a server that may be gone for a while."""
        over, failed = threading.Event(), list[BaseException]()

        def work() -> None:
            while not over.is_set():
                try:
                    self.write()
                    over.wait(0.01)
                except ConnectionFailure as error:
                    if not patient:
                        failed.append(error)
                        return
                except BaseException as error:
                    failed.append(error)
                    return

        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()
        assert not failed, failed


def differences(deployment: Deployment, site: Followed) -> dict[str, Any]:
    """By collection, documents that the sides do not have in common; every value counts."""
    found: dict[str, Any] = {}
    for name in COLLECTIONS:
        theirs = {
            id_text(one.pop("_id")): {field: nested(value) for field, value in one.items() if value is not None}
            for one in deployment.database[name].find()
        }
        ours = _rows(site, name)
        if ours != theirs:
            ids = ours.keys() | theirs.keys()
            found[name] = {id_: (ours.get(id_), theirs.get(id_)) for id_ in ids if ours.get(id_) != theirs.get(id_)}
    return found


def _rows(site: Followed, table: str) -> dict[str, dict[str, Any]]:
    if not site.query(f"SELECT 1 FROM information_schema.tables WHERE table_name = '{table}'"):
        return {}
    names = [name for (name,) in site.query(f"SELECT name FROM pragma_table_info('{table}')") if name[:2] != "__"]
    rows: dict[str, dict[str, Any]] = {}
    for values in site.rows(table, ", ".join(f'"{name}"' for name in names)):
        row = {name: value for name, value in zip(names, values, strict=True) if value is not None}
        id_ = row.pop("_id")
        assert id_ not in rows
        rows[id_] = {name: json.loads(value) if name == "d" else value for name, value in row.items()}
    return rows
