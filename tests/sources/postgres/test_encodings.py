"""Text of databases in encodings other than UTF-8, and of those that have none: as it is, or refused, never guessed."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeAlias

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.postgres import Database
from tests.sources.postgres.following import Follower, source
from tests.sources.postgres.log.site import Site
from tests.sources.postgres.test_links import LINKS

from millrace.connect.sql import libpq
from millrace.data.batch import Refused
from millrace.destinations.postgres.sessions import ByAdbc, ByPsycopg
from millrace.errors import ConfigError
from millrace.sources.postgres.config import Config
from millrace.sources.postgres.decoding import decoded, sound
from millrace.sources.postgres.retry import retried
from millrace.sources.postgres.types import typed

Encoded: TypeAlias = Callable[[str], Database]


@pytest.fixture
def encoded(postgres: Database) -> Iterator[Encoded]:
    """Makes databases of an encoding."""
    made: list[str] = []

    def encoded(encoding: str) -> Database:
        made.append(f"encoded_{secrets.token_hex(6)}")
        postgres.run(f"CREATE DATABASE {made[-1]} TEMPLATE template0 ENCODING '{encoding}' LOCALE 'C'")
        return replace(postgres, name=made[-1])

    yield encoded
    for name in made:
        postgres.run(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(params=LINKS)
def kind(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Either way of reading."""
    if request.param == "adbc":
        monkeypatch.setattr("millrace.sources.postgres.by_copy.able", lambda: False)
    return request.param


def filled(database: Database, *statements: str) -> None:
    """The statements, in UTF-8 whatever the database has."""
    with database.connect() as connection:
        for statement in ("SET client_encoding = 'UTF8'", *statements):
            connection.execute(statement.encode())


def read(database: Database, **more: Any) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Rows of the table, and those that are refused."""
    one = Follower(database, "public.t", settings=more)
    with closing(one.reader):
        return one.run(), one.refused


@pytest.mark.usefixtures("kind")
@pytest.mark.parametrize(
    ("encoding", "texts"),
    [("LATIN1", ["Ã©", "café", "ÿ\x85"]), ("EUC_JP", ["日本語", "ｶﾅ", "é"])],
)
@pytest.mark.parametrize("otherwise", ["environment", "role"])
def test_text_of_another_encoding_is_what_it_says(
    encoded: Encoded, monkeypatch: pytest.MonkeyPatch, encoding: str, texts: list[str], otherwise: str
) -> None:
    database = encoded(encoding)
    values = ", ".join(f"({number}, '{text}')" for number, text in enumerate(texts))
    name = f"größe_{texts[0]}" if encoding == "LATIN1" else "名前"
    filled(database, f'CREATE TABLE t (id integer PRIMARY KEY, "{name}" text)', f"INSERT INTO t VALUES {values}")
    if otherwise == "environment":
        monkeypatch.setenv("PGCLIENTENCODING", encoding)
    else:
        filled(database, f"ALTER ROLE {database.user} IN DATABASE {database.name} SET client_encoding = '{encoding}'")
    found, refused = read(database)
    assert ({row["id"]: row[name] for row in found}, refused) == (dict(enumerate(texts)), [])
    query = {"ingestion_mode": "custom_sql", "custom_sql": f'SELECT "{name}" FROM t', "custom_sql_name": "public.t"}
    found, refused = read(database, **query)
    assert (sorted(row[name] for row in found), refused) == (sorted(texts), [])


@pytest.mark.parametrize("made", [ByAdbc, ByPsycopg])
def test_a_destination_takes_text_as_it_is(
    encoded: Encoded, monkeypatch: pytest.MonkeyPatch, made: type[ByAdbc] | type[ByPsycopg]
) -> None:
    database = encoded("LATIN1")
    monkeypatch.setenv("PGCLIENTENCODING", "LATIN1")
    with closing(made(libpq.uri(Config(**database.settings())), [])) as session:
        session.execute("CREATE TABLE t (a text)", ())
        session.execute("INSERT INTO t VALUES ($1)", ["Ã©"])
        assert session.rows("SELECT a, octet_length(a) FROM t", ()) == [("Ã©", 2)]


@pytest.mark.usefixtures("kind")
def test_text_without_an_encoding_is_read_where_it_is_utf8_and_refused_where_not(encoded: Encoded) -> None:
    database = encoded("SQL_ASCII")
    with database.connect() as connection:
        connection.execute("CREATE TABLE t (id integer PRIMARY KEY, a text, b varchar[], c json)")
        connection.execute(
            b"INSERT INTO t VALUES (1, 'caf\xc3\xa9', '{x}', '1'), (2, 'caf\xe9', '{x}', '2'), "
            b"(3, 'x\xc3', '{}', '3'), (4, E'\\251y', '{x}', '4'), (5, NULL, '{\xe9}', '5'), "
            b"(6, '', '{\xc3\xa9}', '\"\xff\"'), (7, 'z', NULL, NULL)"
        )
    found, refused = read(database)
    assert sorted((row["id"], row["a"]) for row in found) == [(1, "café"), (7, "z")]
    assert sorted(str(row["message"]).partition(" is ")[0] for row in refused) == ["a", "a", "a", "b", "c"]
    assert any(row["message"] == "a is caf\ufffd, which no type of a warehouse has" for row in refused)
    # What is tried once more is no better.
    types = dict.fromkeys(("a", "b"), typed("text")) | {"id": typed("int4"), "c": typed("json")}
    again = [*retried("t", [row["row"] for row in refused], types, "reject", datetime.now(UTC))]
    assert [one.rows.num_rows for one in again if isinstance(one, Refused)] == [5] == [5] * len(again)
    found, refused = read(database, special_values="null")
    assert {row["id"]: row["a"] for row in found} == {1: "café", 2: None, 3: None, 4: None, 5: None, 6: "", 7: "z"}
    assert refused == []


def test_the_log_refuses_text_without_an_encoding_too(
    encoded: Encoded, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = encoded("SQL_ASCII")
    # The test's own questions, which would be answered in bytes.
    monkeypatch.setenv("PGCLIENTENCODING", "UTF8")
    database.run("CREATE TABLE t (id integer PRIMARY KEY, a text)")
    with closing(Site(tmp_path, database)) as site:
        site.create().run()
        with database.connect() as connection:
            connection.execute("SET client_encoding = 'SQL_ASCII'")
            connection.execute(b"INSERT INTO t VALUES (1, 'caf\xc3\xa9'), (2, 'caf\xe9'), (3, 'z')")
        record = site.run()
        assert site.rows("t", "id, a") == [(1, "café"), (3, "z")]
        assert sum(record.balance.rejected.values()) == 1
        site.delete()


letters = st.binary(max_size=4) | st.sampled_from(["é", "日本", "💧", "a" * 40]).map(str.encode)


@given(st.lists(st.none() | letters, max_size=8), st.binary(max_size=6), st.data())
def test_each_value_is_looked_at_by_itself(values: list[bytes | None], cut: bytes, data: st.DataObject) -> None:
    # What is UTF-8 as a whole, in two values.
    whole = "é日💧".encode()
    at = data.draw(st.integers(0, len(whole)))
    values = [*values, whole[:at], whole[at:], cut]
    first = data.draw(st.integers(0, len(values)))
    kept = values[first:]
    storage = pa.array(values, pa.binary())
    found = decoded(pa.Array.from_buffers(pa.string(), len(values), storage.buffers()).slice(first), typed("text"))
    assert found.values.to_pylist() == [one.decode() if one is not None and sound(one) else None for one in kept]
    assert (found.bad.to_pylist() if found.bad else [False] * len(kept)) == [not sound(one) for one in kept]


@pytest.mark.usefixtures("kind")
def test_a_name_without_an_encoding_that_is_no_utf8_is_told(encoded: Encoded) -> None:
    database = encoded("SQL_ASCII")
    with database.connect() as connection:
        connection.execute(b'CREATE TABLE "caf\xe9" (id integer PRIMARY KEY)')
    with closing(source(database)) as reader, pytest.raises(ConfigError, match="UTF-8") as raised:
        reader.streams()
    assert raised.value.hint


@pytest.mark.usefixtures("kind")
def test_a_key_without_an_encoding_that_is_no_utf8_is_told(encoded: Encoded) -> None:
    database = encoded("SQL_ASCII")
    with database.connect() as connection:
        connection.execute("CREATE TABLE t (id text PRIMARY KEY)")
        connection.execute(b"INSERT INTO t VALUES ('a'), ('caf\xe9')")
    with pytest.raises(ConfigError, match="UTF-8"):
        read(database)
