"""Nested values of odd sizes and shapes, into DuckDB and PostgreSQL: long arrays, deep objects, long names."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.engine.kit import Rig, rig, types
from tests.postgres import Database

from millrace.data.batch import Checkpoint

__all__ = ["rig", "types"]

STRATEGIES = ("SPLIT", "COLLAPSE", "NATIVE", "NATURAL", "COLLAPSE_EXCEPT_ARRAYS", "FLAT")


def made(rig: Rig, strategy: str, *tales: Any, mode: str = "merge") -> Rig:
    rig.script.stream("orgs", *tales, key=("_id",))
    return rig.create(mode, options={"json_parsing_strategy": strategy})


def deep(levels: int, fields: int) -> dict[str, Any]:
    """Objects in one another, each with so many fields beside the next."""
    value: dict[str, Any] = {}
    for level in range(levels, 0, -1):
        value = {f"f{level}_{n}": n for n in range(fields)} | ({"d": value} if value else {})
    return value


def test_an_array_of_ten_thousand_items_is_split_and_shrinks(rig: Rig):
    whole = {"_id": "o1", "tags": [{"n": n, "s": [n]} for n in range(10_000)]}
    record = made(rig, "SPLIT", [[whole], Checkpoint(1)], [[whole | {"tags": whole["tags"][:7]}], Checkpoint(2)]).run()
    assert record.balance.even
    assert rig.query("SELECT count(*) AS c, sum(n) AS n FROM orgs_tags") == [{"c": 10_000, "n": 49_995_000}]
    rig.clock.advance(60)
    rig.run()
    for table in ("orgs_tags", "orgs_tags_s"):
        alive = rig.query(f"SELECT count(*) AS c FROM {table} WHERE NOT __hevo__marked_deleted")
        assert alive == [{"c": 7}], table


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_thousand_fields_in_a_hundred_levels_come_through_whole(rig: Rig, strategy: str):
    record = made(rig, strategy, [[{"_id": "o1", "j": deep(100, 10)}], Checkpoint(1)]).run()
    assert (record.status, record.balance.even, rig.rejected()) == ("COMPLETED", True, {})
    (row,) = rig.query("SELECT * FROM orgs")
    assert seen(row) == 1000


def seen(value: Any) -> int:
    """How many fields of these objects are anywhere in a value."""
    if isinstance(value, str) and value[:1] in "{[":
        value = json.loads(value)
    if isinstance(value, dict):
        own = sum(str(name).rpartition("f")[2].replace("_", "").isdigit() for name in value)
        return own + sum(seen(one) for one in value.values())
    return sum(map(seen, value)) if isinstance(value, list) else 0


LONG = "a_name_that_is_so_long_that_two_of_them_do_not_fit_beside_each_other"


@pytest.mark.parametrize("strategy", ["SPLIT", "FLAT"])
def test_items_with_long_names_have_tables_of_their_own_at_postgres(rig: Rig, strategy: str, database: Database):
    rig.destination_type, rig.destination_config = "postgres", database.settings()
    inner = {f"{LONG}_one": [{"n": 1, "deeper": [1, 2]}], f"{LONG}_two": [{"n": 2, "deeper": [3]}]}
    event = {"_id": "o1", "at": {"city": "Pune", LONG: {LONG: "x"}}, "contact": [inner, inner]}
    shorter = event | {"contact": [inner]}
    made(rig, strategy, [[event], Checkpoint(1)], [[shorter], Checkpoint(2)], [])
    record = rig.run()
    assert (record.balance.even, rig.rejected()) == (True, {})
    rig.clock.advance(60)
    record = rig.run()
    assert all(one.even for one in record.streams.values())
    found = rig.query("SELECT table_name AS t FROM information_schema.tables WHERE table_schema = 'public'")
    names = sorted(row["t"] for row in found if not row["t"].endswith("__loads"))
    assert rig.rows("orgs", "at_city") == ["Pune"]
    if strategy == "FLAT":
        assert names == ["orgs"]
        assert json.loads(rig.rows("orgs", "contact")[0]) == [inner]
        return
    assert len(names) == 6 and all(len(name) <= 63 for name in names)
    alive = {
        name: rig.query(f'SELECT count(*) AS c FROM "{name}" WHERE NOT __hevo__marked_deleted')[0]["c"]
        for name in names
        if name != "orgs"
    }
    assert alive["orgs_contact"] == 1
    assert sorted(alive.values()) == [1, 1, 1, 1, 2]
