"""Both links to a server, libpq's with the native library and ADBC's, give the same values and the same ends."""

from __future__ import annotations

import ctypes
import threading
import time
from collections.abc import Mapping
from contextlib import closing
from ctypes import POINTER, c_int, c_void_p
from dataclasses import replace
from typing import Any

import pyarrow as pa
import pytest
from tests.postgres import Database
from tests.proxy import Action, Pair, Proxy
from tests.sources.postgres.test_pipeline import zoo

from millrace.data.types import storage
from millrace.sources.postgres import pq
from millrace.sources.postgres.by_adbc import Adbc
from millrace.sources.postgres.by_copy import CopyLink, able
from millrace.sources.postgres.decoding import decoded
from millrace.sources.postgres.links import Failed, Link, Strange
from millrace.sources.postgres.types import SESSION, Type, typed

__all__ = ["zoo"]

LINKS = ("copy", "adbc")


def link(url: str, kind: str) -> Link:
    """A connection set as a session sets it."""
    assert able()
    made: Link = CopyLink(url) if kind == "copy" else Adbc().link(lambda: url, stands=True, tunnelled=False)
    for name, value in SESSION.items():
        made.rows(f"SET {name} = '{value}'")
    return made


def selected(link: Link, types: Mapping[str, Type]) -> str:
    return ", ".join(f"{link.selected(type_).format(c=name)} AS {name}" for name, type_ in types.items())


@pytest.fixture(scope="module")
def ends(zoo: Database) -> dict[str, Type]:
    """A table of every type at its ends and past those of other types, with NULL, many times over."""
    zoo.run(
        "CREATE TABLE ends AS SELECT * FROM zoo",
        "INSERT INTO ends (c_numeric) VALUES ('NaN'), (0), (-0.01), (12)",
        "INSERT INTO ends (c_free) VALUES ('NaN'), ('1e-1000'), ('-1e1000'), (0), (10000), (0.0001), ('1.10')",
        "INSERT INTO ends (c_free) SELECT (random() * 1e12)::numeric * power(10::numeric, (g % 40) - 20) "
        "FROM generate_series(1, 2000) AS g",
        "INSERT INTO ends (c_timestamp, c_date) VALUES ('infinity', 'infinity'), ('-infinity', '-infinity'), "
        "('294276-12-31 23:59:59.999999', '5874897-12-31'), ('4713-01-01 00:00:00 BC', '4713-01-01 BC')",
        "INSERT INTO ends SELECT e.* FROM ends AS e, generate_series(1, 20)",
    )
    with closing(link(zoo.url, "copy")) as asking:
        names = asking.rows(
            "SELECT a.attname::text, CASE WHEN n.nspname = 'pg_catalog' AND t.typtype = 'b' THEN t.typname ELSE '' END"
            "::text, a.atttypmod FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid "
            "JOIN pg_namespace n ON n.oid = t.typnamespace WHERE a.attrelid = 'ends'::regclass AND a.attnum > 0"
        )
    return {name: typed(type_, modifier) for name, type_, modifier in names}


def bits(values: pa.Array) -> pa.Array:
    """The values, so that NaN is NaN."""
    found = storage(values)
    return found.view(f"int{found.type.bit_width}") if pa.types.is_floating(found.type) else found


def test_every_value_is_the_same_by_both(zoo: Database, ends: dict[str, Type]) -> None:
    found: dict[str, pa.Table] = {}
    for kind in LINKS:
        with closing(link(zoo.url, kind)) as one:
            sql = f"SELECT {selected(one, ends)} FROM ends ORDER BY ctid"
            found[kind] = pa.Table.from_batches(list(one.batches(sql, ends)))
    assert found["copy"].num_rows > 40_000
    for name, type_ in ends.items():
        by_copy, by_adbc = (decoded(found[kind].column(name).combine_chunks(), type_) for kind in LINKS)
        assert by_copy.values.type == by_adbc.values.type, name
        assert bits(by_copy.values).equals(bits(by_adbc.values)), name
        assert (by_copy.bad is None) == (by_adbc.bad is None), name
        assert by_copy.bad is None or by_copy.bad.equals(by_adbc.bad), name


@pytest.mark.parametrize("kind", LINKS)
def test_questions_are_answered_in_values(shop: Database, kind: str) -> None:
    with closing(link(shop.url, kind)) as one:
        sql = "SELECT 1::int4, 2::int8, 0.1::float8, true, false, NULL::text, 'ü''\\'::text, 'n'::name, ''::text"
        assert one.rows(sql) == [(1, 2, 0.1, True, False, None, "ü'\\", "n", "")]
        assert one.rows("SELECT 1 WHERE false") == [] == one.rows("BEGIN")
        with pytest.raises(Failed) as told:
            one.rows("SELECT 1; SELECT 2")
        assert told.value.state == "42601"


@pytest.mark.parametrize("kind", LINKS)
def test_nothing_and_wide_and_large_rows_are_read(shop: Database, kind: str) -> None:
    with closing(link(shop.url, kind)) as one:
        types = {"a": typed("int4"), "b": typed("text")}
        assert sum(one.num_rows for one in one.batches("SELECT 1 AS a, 'x'::text AS b WHERE false", types)) == 0
        long = "repeat('x', CASE WHEN g % 3 = 0 THEN 100000000 ELSE g END)"
        sql = f"SELECT g AS a, {long} AS b FROM generate_series(1, 4) g"
        lengths = [len(text.as_py()) for one in one.batches(sql, types) for text in one.column(1)]
        assert lengths == [1, 2, 100_000_000, 4]
        wide = {f"c{place}": typed("int2") for place in range(1600)}
        listed = ", ".join(f"(g % 7)::int2 AS {name}" for name in wide)
        found = pa.Table.from_batches(list(one.batches(f"SELECT {listed} FROM generate_series(1, 2000) g", wide)))
        assert found.num_rows == 2000
        assert found.column("c1599").to_pylist() == [g % 7 for g in range(1, 2001)]


@pytest.mark.parametrize("kind", LINKS)
def test_an_error_amid_the_rows_is_told_with_what_came_before(shop: Database, kind: str) -> None:
    with closing(link(shop.url, kind)) as one:
        batches = one.batches("SELECT 1 / (900000 - g) AS a FROM generate_series(1, 1000000) g", {"a": typed("int4")})
        rows = 0
        with pytest.raises(Failed, match="division by zero") as told:
            for batch in batches:
                rows += batch.num_rows
        assert 0 < rows < 900_000
        assert told.value.state == ("22012" if kind == "copy" else "XX000")


@pytest.mark.parametrize("kind", LINKS)
def test_what_runs_ends_when_it_is_cancelled(shop: Database, kind: str) -> None:
    with closing(link(shop.url, kind)) as one:
        began = time.monotonic()
        timer = threading.Timer(0.3, one.cancel)
        timer.start()
        with pytest.raises(Failed, match="canceling statement"):
            list(one.batches("SELECT pg_sleep(60)::text AS a", {"a": typed("text")}))
        timer.join()
        assert time.monotonic() - began < 30


@pytest.mark.parametrize("after", [40_000, 3_000_001, 6_543_210])
@pytest.mark.parametrize("kind", LINKS)
@pytest.mark.parametrize("how", [Pair.cut, Pair.reset])
def test_a_connection_that_is_cut_in_a_message_is_no_end(shop: Database, kind: str, how: Action, after: int) -> None:
    with closing(Proxy(shop.port)) as proxy:
        url = replace(shop, port=proxy.port).url + "?sslmode=disable"
        with closing(link(url, kind)) as one, proxy.at(after, how):
            with pytest.raises(Failed) as told:
                list(
                    one.batches(
                        "SELECT repeat('x', g % 1000) AS a FROM generate_series(1, 100000) g", {"a": typed("text")}
                    )
                )
            assert told.value.state in (None, "08006")


def test_a_type_that_nobody_foresaw_is_told(shop: Database) -> None:
    with closing(link(shop.url, "copy")) as one, pytest.raises(Strange):
        list(one.batches("SELECT ARRAY[1] AS a", {"a": typed("int4")}))


def test_a_query_with_a_letter_that_ends_a_text_is_refused(shop: Database) -> None:
    with closing(link(shop.url, "copy")) as one, pytest.raises(Failed):
        one.rows("SELECT 1 \0; garbage")


def test_reading_on_after_the_end_of_a_connection_is_told(shop: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    libpq, asked = pq.library(), list[bool]()
    assert libpq is not None
    get, closed = libpq.PQgetCopyData, False

    @ctypes.CFUNCTYPE(c_int, c_void_p, POINTER(c_void_p), c_int)
    def counted(connection: int, message: Any, wait_not: int) -> int:
        asked.append(closed)
        return -1 if closed else get(connection, message, wait_not)

    monkeypatch.setattr(libpq, "PQgetCopyData", counted)
    with closing(link(shop.url, "copy")) as one:
        batches = one.batches("SELECT g AS a FROM generate_series(1, 300000) g", {"a": typed("int4")})
        next(batches)
        one.close()
        closed = True
        with pytest.raises(Failed, match="closed"):
            next(batches)
    assert asked and True not in asked
