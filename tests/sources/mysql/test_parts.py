"""Answers of a real MariaDB, read by the native library and by Python, and what becomes of them on the way."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from typing import Any

import pyarrow as pa
import pytest
from tests.mariadb import Database
from tests.proxy import Pair, Proxy
from tests.sources.mysql.test_mysql import VALUES, shop

from millrace.connect.mysql.parts import Listed, Part
from millrace.connect.mysql.pieces import Piece
from millrace.connect.mysql.server import opened
from millrace.connect.mysql.session import Session
from millrace.connect.source import Context
from millrace.data import native
from millrace.errors import ConfigError, Transient
from millrace.sources.mysql.config import Config
from millrace.sources.mysql.decoding import of_part
from millrace.sources.mysql.types import Type, typed

__all__ = ["shop"]


def session(database: Database, **more: Any) -> Session:
    config = Config(**database.settings(**more))
    return Session(opened(config, Context().reach, "MySQL"), "MySQL")


@pytest.fixture(params=["native", "python"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Both ways, one after the other."""
    assert native.library() is not None, native.absent()
    if request.param == "python":
        monkeypatch.setattr("millrace.connect.mysql.session.library", lambda: None)
    return request.param


def columns(parts: Iterator[Part], types: Sequence[Type]) -> tuple[list[pa.Array], list[int], int]:
    """Whole columns, how many dates of each had no day, and the number of parts."""
    found = [of_part(part, types) for part in parts]
    values = [pa.concat_arrays([part[place].values for part in found]) for place in range(len(types))]
    return values, [sum(part[place].zeros for part in found) for place in range(len(types))], len(found)


@pytest.mark.parametrize("ssl_mode", ["disabled", "required"])
def test_every_type_at_its_ends_is_the_same_by_both_ways(
    shop: Database, ssl_mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = list(VALUES)
    types = [typed("json" if name == "c_json" else VALUES[name][0].split(" character")[0]) for name in names]
    shop.run(
        "DROP TABLE IF EXISTS ends",
        f"CREATE TABLE ends (id int PRIMARY KEY AUTO_INCREMENT, {', '.join(f'{n} {VALUES[n][0]}' for n in names)}) "
        "CHARACTER SET utf8mb4",
        *(
            f"INSERT IGNORE INTO ends VALUES (NULL, {', '.join(given[row] for _, given, _ in VALUES.values())})"
            for row in range(2)
        ),
        "INSERT INTO ends (id) VALUES (NULL)",
        *[f"INSERT INTO ends ({', '.join(names)}) SELECT {', '.join(names)} FROM ends"] * 9,
    )
    sql = ", ".join(type_.sql.format(c=name) for name, type_ in zip(names, types, strict=True))
    with closing(session(shop, ssl_mode=ssl_mode)) as asked:
        asked.execute("SET SESSION time_zone = '+00:00'")
        for order in ("id", "id DESC"):
            parts = list[Part]()

            def kept(found: Iterator[Part], parts: list[Part] = parts) -> Iterator[Part]:
                for part in found:
                    parts.append(part)
                    yield part

            made = columns(kept(asked.parts(f"SELECT {sql} FROM ends ORDER BY {order}", 100_000)), types)
            with monkeypatch.context() as patch:
                patch.setattr("millrace.connect.mysql.session.library", lambda: None)
                wanted = columns(asked.parts(f"SELECT {sql} FROM ends ORDER BY {order}", 100_000), types)
            assert {type(part) for part in parts} == {Piece}
            assert len(made[0][0]) == 3 * 2**9 and made[2] > 2
            for name, one, other in zip(names, made[0], wanted[0], strict=True):
                one.validate(full=True)
                assert one.equals(other), name
            assert made[1] == wanted[1] and sum(made[1]) == 3 * 2**9


@pytest.mark.parametrize("family", ["binary", "text"])
def test_values_are_told_as_the_server_writes_them(
    shop: Database, family: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of rows in the binary protocol their text is made here."""
    if family == "text":
        monkeypatch.setattr("millrace.connect.mysql.binary.begun", lambda *_: None)
    names = [name for name in VALUES if name != "c_float"]
    made = ", ".join(f"{name} {VALUES[name][0]}" for name in names)
    shop.run(
        "DROP TABLE IF EXISTS told",
        f"CREATE TABLE told (id int PRIMARY KEY AUTO_INCREMENT, {made}, c_span time(3), c_hours time, c_day date) "
        "CHARACTER SET utf8mb4",
        *(
            f"INSERT IGNORE INTO told VALUES (NULL, {', '.join(VALUES[name][1][row] for name in names)}, {more})"
            for row, more in enumerate(("'-838:59:59', '100:00:01', '2024-02-29'", "'-00:00:00.5', '0', NULL"))
        ),
        "INSERT INTO told (id) VALUES (NULL)",
    )
    sql = f"SELECT {', '.join(names)}, c_span, c_hours, c_day, NULL, now(6), utc_time(3), 1.5e0 FROM told ORDER BY id"
    with closing(session(shop)) as asked:
        asked.execute("SET SESSION time_zone = '+00:00', timestamp = 1700000000.123")
        (part,) = asked.parts(sql)
        with monkeypatch.context() as patch:
            patch.setattr("millrace.connect.mysql.session.library", lambda: None)
            (plain,) = asked.parts(sql)
        assert (type(part), type(plain)) == (Piece, Listed)
        for place in range(len(names) + 7):
            mine, theirs = list(part.raw(place)), list(plain.raw(place))
            assert part.last(place) == mine[-1] and plain.last(place) == theirs[-1]
            # Numbers may be written in other ways, and are the same.
            if place < len(names) and names[place] in ("c_double", "c_uint"):
                mine, theirs = ([one and float(one) for one in some] for some in (mine, theirs))
            assert mine == theirs, place
        assert asked.rows("SHOW GLOBAL STATUS LIKE 'Prepared_stmt_count'") == [("Prepared_stmt_count", "0")]


def test_what_cannot_be_prepared_is_sent_as_text(shop: Database) -> None:
    ((most,),) = shop.run("SELECT @@global.max_prepared_stmt_count")
    with closing(session(shop)) as asked:
        # A FLOAT has six digits in the text, and others without it.
        assert [list(part.raw(0)) for part in asked.parts("SELECT CAST(0.1 AS FLOAT)")] == [[b"0.1"]]
        shop.run("SET GLOBAL max_prepared_stmt_count = 0")
        try:
            assert [list(part.raw(0)) for part in asked.parts("SELECT 7")] == [[b"7"]]
        finally:
            shop.run(f"SET GLOBAL max_prepared_stmt_count = {most}")
        for wrong in ("SELECT ?", "SELECT 1; SELECT 2", "SELECT nothing FROM nowhere", "SET @a = 1"):
            with pytest.raises(ConfigError) as raised:
                list(asked.parts(wrong))
            assert "prepare" not in raised.value.message.lower()
        assert asked.rows("SELECT 2") == [(2,)]


def test_rows_longer_than_a_packet_are_whole(shop: Database, way: str) -> None:
    ((usual,),) = shop.run("SELECT @@global.max_allowed_packet")
    shop.run("SET GLOBAL max_allowed_packet = 67108864")
    sizes = (10, 0xFFFFFF - 6, 0xFFFFFF - 5, 0xFFFFFF, 40_000_000, 10)
    rows = " UNION ALL ".join(f"SELECT {place} AS id, repeat('y', {size}) AS v" for place, size in enumerate(sizes))
    with closing(session(shop)) as asked:
        (ids, texts), _, _ = columns(asked.parts(rows), [typed("int"), typed("longblob")])
        assert ids.to_pylist() == list(range(len(sizes)))
        assert [len(one) for one in texts.to_pylist()] == list(sizes)
        assert all(one.as_py() == b"y" * len(one.as_py()) for one in texts)
        # The connection is as good as before.
        assert asked.rows("SELECT 1") == [(1,)]
    # Others have the same server.
    shop.run(f"SET GLOBAL max_allowed_packet = {usual}")


def test_an_answer_without_rows_leaves_the_connection_in_order(shop: Database, way: str) -> None:
    with closing(session(shop)) as asked:
        assert list(asked.parts("SELECT 1 AS a LIMIT 0")) == []
        assert [part.raw(0) for part in asked.parts("SELECT 1 AS a")] == [[b"1"]]
        assert asked.rows("SELECT 2") == [(2,)]


MUCH = "SELECT seq AS id, repeat('x', 1000) AS v FROM seq_1_to_300000"


def broken(parts: Iterator[Part], then: Any) -> Transient:
    """What is raised when something happens after the first part."""
    next(parts)
    then()
    with pytest.raises(Transient) as raised:
        for _ in parts:
            pass
    return raised.value


def test_a_query_that_is_killed_says_so(shop: Database, way: str) -> None:
    with closing(session(shop)) as asked:
        number = asked.rows("SELECT connection_id()")[0][0]
        error = broken(asked.parts(MUCH), lambda: shop.run(f"KILL QUERY {number}"))
        assert "interrupted" in error.message
        assert not asked.stands


def test_a_connection_that_is_killed_is_lost(shop: Database, way: str) -> None:
    with closing(session(shop)) as asked:
        number = asked.rows("SELECT connection_id()")[0][0]
        broken(asked.parts(MUCH), lambda: shop.run(f"KILL CONNECTION {number}"))
        assert not asked.stands


def test_a_server_that_waited_too_long_for_its_reader_is_lost(shop: Database, way: str) -> None:
    with closing(session(shop)) as asked:
        asked.execute("SET SESSION net_write_timeout = 1")
        broken(asked.parts(MUCH), lambda: time.sleep(3))


@pytest.mark.parametrize("ssl_mode", ["disabled", "required"])
def test_a_connection_cut_anywhere_is_never_the_end_of_an_answer(shop: Database, ssl_mode: str, way: str) -> None:
    proxy = Proxy(shop.port)
    try:
        settings = replace(shop, port=proxy.port)
        for point in (2_000_000, 2_000_001, 2_000_003, 2_100_007):
            for action in (Pair.cut, Pair.reset):
                with proxy.at(point, action), pytest.raises(Transient):
                    asked = session(settings, ssl_mode=ssl_mode)
                    with closing(asked):
                        for part in asked.parts(MUCH, 1 << 20):
                            assert part.count
    finally:
        proxy.close()


def test_who_waits_for_rows_is_broken_off_by_another_thread(shop: Database, way: str) -> None:
    with closing(session(shop)) as asked:
        broken(asked.parts(MUCH), asked.break_off)


def test_without_the_library_lists_come(shop: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("millrace.connect.mysql.session.library", lambda: None)
    with closing(session(shop)) as asked:
        assert [type(part) for part in asked.parts("SELECT 1")] == [Listed]
