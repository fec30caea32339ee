"""MariaDB keeps the contract of destinations, and with it what MySQL shares."""

from __future__ import annotations

import os
import re
import socket
import threading
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given as examples
from hypothesis import settings
from hypothesis import strategies as st
from tests.certificates import certificates
from tests.mariadb import URL, Database

from millrace.connect.destination import Load, Unloadable
from millrace.connect.mysql.session import Session
from millrace.connect.testing.destination import FEED
from millrace.connect.testing.extremes import EXTREMES, finite
from millrace.connect.testing.items import ANN, BOB, Org, contacts, phones, staged
from millrace.connect.testing.rows import META, PLAIN, Rows, counted, rows, table
from millrace.connect.testing.sql_destination import SqlDestinationContract
from millrace.connect.testing.worked import BATCH, BEFORE, example
from millrace.data import columns, types
from millrace.destinations.mysql import merging
from millrace.destinations.mysql.destination import Config, Destination
from millrace.destinations.mysql.dialect import ON_MYSQL
from millrace.errors import AuthError, ConfigError, EnvironmentProblem, SchemaError, Transient

VALUES = {"k": types.LONG, "v": types.VARCHAR, columns.INGESTED_AT: types.LONG}


class TestMySQL(SqlDestinationContract):
    type_ = "mysql"
    # A row of InnoDB has room for 8,126 bytes, and so not for a thousand LONG that all have a value.
    wide_type = types.INTEGER

    @pytest.fixture(autouse=True)
    def _place(self, mysql_database: Database) -> None:
        self.database = mysql_database

    def config(self) -> dict[str, Any]:
        return self.database.settings()

    def behind(self, *statements: str) -> None:
        for statement in statements:
            text = re.sub(r"\{t:(\w+)\}", r'"\1"', statement)
            text = re.sub(r"ALTER COLUMN (\w+) TYPE VARCHAR", r"MODIFY COLUMN \1 LONGTEXT", text)
            self.database.run(re.sub(r"ALTER COLUMN (\w+) TYPE", r"MODIFY COLUMN \1", text))

    def made(self, **more: Any) -> Destination:
        return Destination(Config.model_validate(self.database.settings(**more)))

    # Without LOAD DATA.

    def test_rows_by_insert_are_the_same_as_by_load_data(self) -> None:
        business = {name: type_ for name, (type_, _) in EXTREMES.items()}
        ends = [finite(*EXTREMES[name]) for name in EXTREMES]
        values = [(*(one[i % len(one)] for one in ends), i) for i in range(8)]
        given = rows({**business, columns.INGESTED_AT: types.LONG}, *values)
        found: list[Any] = []
        for local in (True, False):
            destination = self.made(local_infile=local)
            made = table(f"every_{local}", business, mode="append")
            destination.ensure(made)
            destination.load(made, Load(FEED, 0, 1, 1, given))
            order = destination.dialect.quoted(columns.INGESTED_AT)
            found.append(destination.query(f"SELECT * FROM {made.name} ORDER BY {order}").to_pydict())
            destination.close()
        assert found[0] == found[1]

    def test_a_merge_by_insert_has_the_worked_result(self) -> None:
        destination, made = self.made(local_infile=False), example()
        destination.ensure(made)
        for segment, given in enumerate((BEFORE, BATCH)):
            destination.load(made, Load(FEED, segment, segment + 1, 1, given))
        assert [row[1] for row in self.merged(destination)] == ["a3", "b", "c2", "d", "e2", None, "g2"]
        destination.close()

    def test_a_file_of_this_machine_is_never_sent(self, destination: Destination, tmp_path: Path) -> None:
        secret = tmp_path / "secret"
        secret.write_text("1\tsecret\t1\n")
        made = example("taken", meta=PLAIN)
        destination.ensure(made)
        with destination.connected(), pytest.raises(ConfigError, match="a file of this machine"):
            destination.execute(f"LOAD DATA LOCAL INFILE '{secret}' INTO TABLE `{self.database.name}`.`taken`")
        assert self.contents(destination, "taken") == []

    # Rows that MySQL alone refuses.

    def test_a_value_too_long_or_too_large_for_the_users_column_is_refused_by_row(
        self, destination: Destination
    ) -> None:
        self.behind(f'CREATE TABLE short (k BIGINT UNSIGNED, v TINYTEXT, "{columns.INGESTED_AT}" BIGINT)')
        made = example("short", meta=PLAIN)
        destination.ensure(made)
        given = rows(VALUES, (1, "x" * 255, 1), (2, "x" * 256, 1), (-1, "a", 1), (4, "€" * 85, 1))
        for local in (True, False):
            mine = self.made(local_infile=local)
            with pytest.raises(Unloadable) as refused:
                mine.load(made, Load(FEED, 0, 1, 1, given))
            assert [(r.row, r.code) for r in refused.value.refusals] == [
                (1, "STRING_TOO_LONG"), (2, "INCOMPATIBLE_TYPE"),
            ]  # fmt: skip
            mine.close()
        destination.load(made, Load(FEED, 0, 1, 1, given, frozenset({1, 2})))
        assert len(self.contents(destination, "short")) == 2

    def test_a_row_wider_than_a_page_is_refused_and_others_of_its_table_are_not(self, destination: Destination) -> None:
        business = {f"c{i:04}": types.LONG for i in range(1000)}
        made = table("wide", business, key=("c0000",))
        destination.ensure(made)
        full, half = tuple(range(2**40, 2**40 + 1001)), (1, *(None if i % 2 else i for i in range(1, 1001)))
        given = rows({**business, columns.INGESTED_AT: types.LONG}, half, full)
        with pytest.raises(Unloadable) as refused:
            destination.load(made, Load(FEED, 0, 1, 1, given))
        assert [(r.row, r.code) for r in refused.value.refusals] == [(1, "ROW_TOO_LARGE")]
        destination.load(made, Load(FEED, 0, 1, 1, given, frozenset({1})))
        assert len(self.contents(destination, "wide")) == 1

    def test_a_row_longer_than_a_packet_is_refused(self, destination: Destination) -> None:
        made = example("packet", meta=PLAIN)
        destination.ensure(made)
        size = int(self.database.run("SELECT @@max_allowed_packet")[0][0])
        given = rows(VALUES, (1, "x", 1), (2, "y" * size, 1))
        with pytest.raises(Unloadable) as refused:
            destination.load(made, Load(FEED, 0, 1, 1, given))
        assert [(r.row, r.code) for r in refused.value.refusals] == [(1, "ROW_TOO_LARGE")]

    def test_long_declared_texts_leave_room_for_each_other(self, destination: Destination) -> None:
        business = {"k": types.LONG, **{f"t{i}": types.varchar(4000) for i in range(6)}, "huge": types.varchar(50_000)}
        made = table("roomy", business, key=("k",))
        destination.ensure(made)
        assert destination.ensure(made) == []
        schema = {**business, columns.INGESTED_AT: types.LONG}
        destination.load(made, Load(FEED, 0, 1, 1, rows(schema, (1, *["€" * 4000] * 6, "€" * 50_000, 1))))
        more = table("roomy", {**business, **{f"u{i}": types.varchar(4000) for i in range(6)}}, key=("k",))
        assert [change.kind for change in destination.ensure(more)] == ["add"] * 6

    # Keys.

    def test_keys_that_differ_in_anything_are_different_keys(self, destination: Destination) -> None:
        keys = ["a", "A", "ä", "a ", "a\t", "", " ", "ａ", "ss", "ß", "\0", "e\u0301", "é", "😀", "😁"]
        made = table("alike", {"k": types.VARCHAR, "v": types.LONG}, key=("k",))
        schema = {"k": types.VARCHAR, "v": types.LONG, columns.INGESTED_AT: types.LONG}
        destination.ensure(made)
        for segment in range(2):
            given = rows(schema, *((key, number + segment, segment) for number, key in enumerate(keys)))
            destination.load(made, Load(FEED, segment, segment + 1, 1, given))
        found = {row["k"]: row["v"] for row in self.contents(destination, "alike")}
        assert found == {key: number + 1 for number, key in enumerate(keys)}

    def test_a_key_too_long_for_an_index_is_refused_by_row(self, destination: Destination) -> None:
        made = table("long_keys", {"k": types.VARCHAR}, key=("k",))
        destination.ensure(made)
        given = rows({"k": types.VARCHAR, columns.INGESTED_AT: types.LONG}, ("€" * 255, 1), ("€" * 256, 1), ("b", 1))
        with pytest.raises(Unloadable) as refused:
            destination.load(made, Load(FEED, 0, 1, 1, given))
        assert [(r.row, r.code) for r in refused.value.refusals] == [(1, "STRING_TOO_LONG")]

    @pytest.mark.parametrize("mode", ["merge", "history"])
    def test_a_key_of_many_texts_and_bytes_fits_an_index(self, destination: Destination, mode: Any) -> None:
        business = {f"k{i}": types.VARCHAR for i in range(5)} | {"b": types.BYTEARRAY, "at": types.TIMESTAMPTZ}
        made = table("many", business, key=tuple(business), mode=mode)
        destination.ensure(made)
        schema = {**business, columns.INGESTED_AT: types.LONG}
        given = rows(schema, (*["x" * 70] * 5, b"\0\xff", 1, 1), (*["x" * 70] * 5, b"\0", 1, 1))
        for segment in range(2):
            destination.load(made, Load(FEED, segment, segment + 1, 1, given))
        assert len(self.contents(destination, "many")) == 2

    def test_a_table_that_was_appended_to_by_text_can_be_merged(self, destination: Destination) -> None:
        business = {"k": types.VARCHAR, "v": types.LONG}
        schema = {**business, columns.INGESTED_AT: types.LONG}
        for segment, mode in enumerate(("append", "append", "merge", "merge")):
            made = table("texts", business, key=("k",), mode=mode)
            destination.ensure(made)
            given = rows(schema, *((f"k{n}" * 200, n + segment, segment) for n in range(3)))
            destination.load(made, Load(FEED, segment, segment + 1, 1, given))
        assert sorted(row["v"] for row in self.contents(destination, "texts")) == [3, 4, 5]

    # Statements that end a transaction.

    def test_a_swap_that_dies_anywhere_is_brought_to_its_end(self) -> None:
        def prepared() -> tuple[int, int]:
            destination = self.made()
            for name, count in (("place", 7), ("place__fresh", 4)):
                made, given = counted(name)
                destination.drop(name)
                destination.ensure(made)
                destination.load(made, Load(f"feed/{name}", 0, 2, 1, Rows(given.table.slice(0, count))))
            destination.close()
            return 7, 4

        def look() -> tuple[bool, int, int | None, int | None]:
            destination = self.made()
            held = destination.held("feed/place", "place"), destination.held("feed/place__fresh", "place")
            there = destination.schema("place__fresh") is not None
            count = len(self.contents(destination, "place"))
            destination.close()
            return there, count, *held

        seen = Counter(
            look() for _ in dying(self.made, prepared, lambda destination: destination.swap("place__fresh", "place"))
        )
        assert set(seen) == {(True, 7, 2, None), (False, 4, None, 2)}
        assert self.database.run("SHOW TABLES") == [(f"{columns.INSIDE}_loads",), ("place",)]

    def test_a_drop_that_dies_anywhere_is_brought_to_its_end(self) -> None:
        made, given = counted("going")

        def prepared() -> None:
            destination = self.made()
            destination.drop("going")
            destination.ensure(made)
            destination.load(made, Load(FEED, 0, 2, 1, given))
            destination.close()

        for _ in dying(self.made, prepared, lambda destination: destination.drop("going")):
            destination = self.made()
            held, there = destination.held(FEED, "going"), destination.schema("going") is not None
            assert (held, there) in ((2, True), (None, False))
            destination.close()

    def test_a_column_rewritten_as_text_is_whole_wherever_that_dies(self) -> None:
        before = table("rewritten", {"k": types.LONG, "v": types.BOOLEAN, "w": types.LONG}, key=("k",))
        after = table("rewritten", {"k": types.LONG, "v": types.VARCHAR, "w": types.LONG}, key=("k",))
        schema = {"k": types.LONG, "v": types.BOOLEAN, "w": types.LONG, columns.INGESTED_AT: types.LONG}

        def prepared() -> None:
            destination = self.made()
            destination.drop("rewritten")
            destination.ensure(before)
            destination.load(before, Load(FEED, 0, 1, 1, rows(schema, (1, True, 1, 1), (2, None, 1, 1))))
            destination.close()

        for _ in dying(self.made, prepared, lambda destination: destination.ensure(after)):
            destination = self.made()
            destination.ensure(after)
            found = self.contents(destination, "rewritten", order="k")
            assert [row["v"] for row in found] == ["true", None]
            assert list(found[0]) == ["k", "v", "w", columns.INGESTED_AT, columns.LOADED_AT]
            destination.close()

    # What a log says.

    def test_what_a_row_leaves_out_stays_as_it_was(self, destination: Destination) -> None:
        business = {"k": types.LONG, "a'\\": types.VARCHAR, "b": types.VARCHAR}
        made = table("partial", business, key=("k",), meta=META)
        schema = {**business, columns.INGESTED_AT: types.LONG, columns.OP_TYPE: types.VARCHAR}
        schema[columns.UNCHANGED] = types.VARCHAR
        destination.ensure(made)

        def lacks(*names: str) -> str:
            return columns.BETWEEN + columns.BETWEEN.join([*names, ""])

        a, b = lacks("a'\\"), lacks("b")
        first = rows(schema, (1, "a1", "b1", 1, "I", None), (2, "a2", "b2", 1, "I", None), (3, "x", "y", 9, "I", None))
        then = rows(
            schema,
            (1, None, "B1", 2, "U", a), (1, "A1", None, 3, "U", b), (2, None, None, 2, "U", lacks("a'\\", "b")),
            (3, None, "late", 5, "U", a), (4, "a4", "b4", 2, "I", None), (4, None, "B4", 3, "U", a),
            (5, "a5", None, 2, "I", None), (5, None, None, 3, "D", None), (5, None, "b5", 4, "U", a),
        )  # fmt: skip
        for segment, given in enumerate((first, then, then)):
            destination.load(made, Load(FEED, segment, segment + 1, 1, given))
            if segment:
                found = self.contents(destination, "partial", order="k")
                assert [(row["k"], row["a'\\"], row["b"]) for row in found] == [
                    (1, "A1", "B1"), (2, "a2", "b2"), (3, "x", "y"), (4, "a4", "B4"), (5, "a5", "b5"),
                ]  # fmt: skip

    # MySQL's own limits, which MariaDB does not have.

    def test_no_statement_names_a_temporary_table_twice(self, monkeypatch: pytest.MonkeyPatch) -> None:
        said: list[str] = []
        execute, ask = Session.execute, Session.rows

        def executed(self: Session, sql: str | bytes, *values: Any, **more: Any) -> int:
            said.append(str(sql))
            return execute(self, sql, *values, **more)

        def asked(self: Session, sql: str, *values: Any) -> list[tuple[Any, ...]]:
            said.append(sql)
            return ask(self, sql, *values)

        monkeypatch.setattr(Session, "execute", executed)
        monkeypatch.setattr(Session, "rows", asked)
        destination = self.made()
        for mode in ("merge", "history"):
            made = example(f"in_{mode}", mode=mode)
            destination.ensure(made)
            for segment, given in enumerate((BEFORE, BATCH, BATCH)):
                destination.load(made, Load(FEED, segment, segment + 1, 1, given))
        for segment, orgs in enumerate(([ANN, BOB], [BOB], [], [ANN])):
            words = Org("o1", 100 + segment, orgs), Org("o1", 50, [BOB]), Org("o2", 10, None)
            for made, given in zip((contacts(), phones()), staged(*words), strict=True):
                destination.ensure(made)
                destination.load(made, Load(FEED, segment, segment + 1, 1, given))
        destination.close()
        said += merging.filling(ON_MYSQL, made, "t", made.columns[-2:], "`__mr_rows_in`")
        twice = [sql for sql in said if _tables_twice(sql)]
        assert twice == []
        assert all(any(name in sql for sql in said) for name in ("__mr_numbered", "__mr_chosen", "__mr_fallen"))

    # The connection.

    def test_a_wrong_password_is_the_users_matter(self) -> None:
        destination = self.made(db_password="wrong")
        with pytest.raises(AuthError, match="1011") as error:
            destination.schema("t")
        assert "wrong" not in error.value.message
        (verdict,) = destination.check()
        assert (verdict.step, verdict.state) == ("connect", "fail")

    def test_a_database_that_is_not_there_is_named(self) -> None:
        with pytest.raises(ConfigError, match=r"1026.*no_such"):
            self.made(db_name="no_such").schema("t")

    def test_a_server_that_does_not_answer_is_asked_again_later(self) -> None:
        with pytest.raises(Transient, match="1003"):
            self.made(db_port=1).schema("t")

    def test_a_name_without_an_address_is_named(self) -> None:
        with pytest.raises(ConfigError, match="1006") as error:
            self.made(db_host="no-such-host.invalid").schema("t")
        assert error.value.path == "db_host"

    def test_a_server_that_says_nothing_is_not_waited_for(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(Transient, match="1017"):
            self.made(db_port=silent.getsockname()[1], connect_timeout_s=1).schema("t")

    @pytest.mark.parametrize(
        ("mode", "with_ca", "host", "works"),
        [
            ("disabled", False, None, True),
            ("preferred", False, None, True),
            ("required", False, None, True),
            ("verify_ca", False, None, False),
            ("verify_ca", True, None, True),
            ("verify_identity", True, None, True),
        ],
    )
    def test_encryption_is_what_the_settings_say(
        self, mode: str, with_ca: bool, host: str | None, works: bool, tmp_path: Path
    ) -> None:
        ca = tmp_path / "ca.pem"
        ca.write_bytes(certificates().authority)
        destination = self.made(ssl_mode=mode, **({"ssl_ca": str(ca)} if with_ca else {}))
        if not works:
            with pytest.raises(ConfigError, match="1017") as error:
                destination.schema("t")
            assert error.value.path == "ssl_mode"
            return
        with destination.connected():
            ((_, cipher),) = destination.rows("SHOW SESSION STATUS LIKE 'Ssl_cipher'")
        assert bool(cipher) == (mode != "disabled")
        destination.close()

    def test_a_certificate_of_the_clients_own_lets_it_in(self, tmp_path: Path) -> None:
        name = f"cert_{self.database.name}"
        self.database.run(
            f"CREATE USER '{name}'@'%' IDENTIFIED BY 'p' REQUIRE X509", f"GRANT ALL ON *.* TO '{name}'@'%'"
        )
        keys = certificates()
        files = {"ssl_ca": keys.authority, "ssl_cert": keys.client, "ssl_key": keys.client_key}
        for file, text in files.items():
            (tmp_path / file).write_bytes(text)
        theirs = {"db_user": name, "db_password": "p", "ssl_mode": "verify_identity"}
        with pytest.raises(AuthError):
            self.made(**theirs, ssl_ca=str(tmp_path / "ssl_ca")).schema("t")
        destination = self.made(**theirs, **{file: str(tmp_path / file) for file in files})
        assert destination.schema("t") is None
        destination.close()
        self.database.run(f"DROP USER '{name}'@'%'")

    @pytest.fixture
    def guest(self) -> Iterator[Database]:
        """A user who may read, and has a password with marks that mean something elsewhere."""
        name = f"guest_{self.database.name}"
        self.database.run(
            f"CREATE USER '{name}'@'%' IDENTIFIED BY 'g:@/ ?#%€'",
            f'GRANT SELECT ON "{self.database.name}".* TO "{name}"',
        )
        yield replace(self.database, user=name, password="g:@/ ?#%€")
        self.database.run(f"DROP USER '{name}'@'%'")

    def test_missing_rights_are_named_one_after_the_other(self, guest: Database) -> None:
        granted: set[str] = set()
        while (verdicts := Destination(Config.model_validate(guest.settings())).check())[-1].state == "fail":
            failed = verdicts[-1]
            assert "lacks a right" in failed.message
            # The server does not name this one.
            named = re.search(r"([A-Z]+) command denied", failed.message)
            right = named[1] if named else "CREATE TEMPORARY TABLES"
            assert right not in granted
            granted.add(right)
            self.database.run(f'GRANT {right} ON "{self.database.name}".* TO "{guest.user}"')
        assert {verdict.state for verdict in verdicts} == {"pass"}
        assert granted >= {"CREATE", "ALTER", "INSERT", "DROP"}

    def test_a_server_that_only_reads_is_told_before_a_load(self) -> None:
        if URL in os.environ:
            pytest.fail("a server of others' cannot be set to read only")
        self.database.run("SET GLOBAL read_only = ON")
        try:
            with pytest.raises(ConfigError) as error:
                self.made().ready()
        finally:
            self.database.run("SET GLOBAL read_only = OFF")
        assert error.value.code == "read_only"
        self.made().ready()

    def test_a_connection_lost_in_mid_load_leaves_nothing_and_mends_itself(self, destination: Destination) -> None:
        made, given = counted("lost")
        destination.ensure(made)
        destination.load(made, Load(FEED, 0, 1, 1, given))
        database = self.database
        with destination.connected():
            own = destination.rows("SELECT connection_id()")[0][0]

        class Cut(Rows):
            def reader(self, columns: Collection[str] | None = None) -> pa.RecordBatchReader:
                del columns

                def batches() -> Iterator[pa.RecordBatch]:
                    for number in range(2000):
                        if number == 3:
                            database.run(f"KILL {own}")
                        yield self.table.combine_chunks().to_batches()[0]

                return pa.RecordBatchReader.from_batches(self.schema, batches())

        with pytest.raises(Transient):
            destination.load(made, Load(FEED, 1, 2, 1, Cut(given.table)))
        assert destination.held(FEED, "lost") == 1
        assert len(self.contents(destination, "lost")) == given.count
        destination.load(made, Load(FEED, 1, 2, 1, given))
        assert len(self.contents(destination, "lost")) == 2 * given.count

    def test_a_reader_sees_the_table_before_or_after_a_load(self, destination: Destination) -> None:
        made = example("seen", meta=PLAIN)
        destination.ensure(made)
        destination.load(made, Load(FEED, 0, 1, 1, rows(VALUES, *((n, "0", 0) for n in range(200)))))
        stop, seen = threading.Event(), set[tuple[int, int]]()

        def look() -> None:
            while not stop.is_set():
                seen.add(self.database.run("SELECT count(*), count(DISTINCT v) FROM seen")[0])

        watcher = threading.Thread(target=look)
        watcher.start()
        for segment in range(1, 6):
            given = rows(VALUES, *((n, str(segment), segment) for n in range(200)))
            destination.load(made, Load(FEED, segment, segment + 1, 1, given))
        stop.set()
        watcher.join()
        assert seen == {(200, 1)}

    def test_a_full_disk_is_named_and_nothing_is_kept(self, destination: Destination) -> None:
        made, given = counted("t")
        destination.ensure(made)
        destination.load(made, Load(FEED, 0, 1, 1, given))
        # The server is made to say it.
        self.database.run(
            "CREATE TRIGGER say BEFORE INSERT ON t FOR EACH ROW BEGIN IF NEW.k > 1000 THEN SIGNAL SQLSTATE 'HY000' "
            "SET MYSQL_ERRNO = 1114, MESSAGE_TEXT = 'The table ''t'' is full'; END IF; END"
        )
        big = Rows(pa.table({"k": pa.array([1, 2000]), "v": ["a", "b"], columns.INGESTED_AT: pa.array([1, 1])}))
        for local in (True, False):
            mine = self.made(local_infile=local)
            with pytest.raises(EnvironmentProblem) as error:
                mine.load(made, Load(FEED, 1, 2, 1, big))
            assert error.value.code == "DISK_FULL"
            assert mine.held(FEED, "t") == 1
            assert len(self.contents(mine, "t")) == given.count
            mine.close()

    def test_an_old_server_is_refused_by_its_version(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("millrace.connect.mysql.session.OLDEST", {"mysql": (99,), "mariadb": (99,)})
        with pytest.raises(ConfigError, match="99 or newer") as error:
            self.made().schema("t")
        assert error.value.code == "server_version"

    def test_a_users_moment_without_fractions_is_made_a_full_one(self, destination: Destination) -> None:
        self.behind(
            f'CREATE TABLE moments (k BIGINT, at DATETIME, "{columns.INGESTED_AT}" BIGINT)',
            "INSERT INTO moments VALUES (1, '2026-01-31 10:00:00', 1)",
        )
        made = table("moments", {"k": types.LONG, "at": types.TIMESTAMPTZ}, mode="append")
        assert next((c.kind, c.column) for c in destination.ensure(made)) == ("widen", "at")
        schema = {"k": types.LONG, "at": types.TIMESTAMPTZ, columns.INGESTED_AT: types.LONG}
        destination.load(made, Load(FEED, 0, 1, 1, rows(schema, (2, 1, 1))))
        found = self.contents(destination, "moments", order="k")
        assert [row["at"].isoformat() for row in found] == [
            "2026-01-31T10:00:00+00:00", "1970-01-01T00:00:00.000001+00:00",
        ]  # fmt: skip

    def test_a_users_column_that_would_round_is_refused(self, destination: Destination) -> None:
        self.behind(f'CREATE TABLE rounding (t TIME(3), "{columns.INGESTED_AT}" BIGINT)')
        with pytest.raises(SchemaError, match=r"time\(3\)"):
            destination.ensure(table("rounding", {"t": types.TIME}, mode="append"))


_EXECUTE = Session.execute


class Died(BaseException):
    """The process would be gone here."""


def dying(
    made: Callable[[], Destination], prepared: Callable[[], Any], act: Callable[[Destination], Any]
) -> Iterator[int]:
    """After each statement of an act in turn, the connection ends and nothing more happens; the last time all do."""
    number = 0
    while True:
        prepared()
        destination, left = made(), number

        def mortal(self: Session, sql: str | bytes, *values: Any, **more: Any) -> int:
            nonlocal left
            if left == 0:
                self.close()
                raise Died
            left -= 1
            return _EXECUTE(self, sql, *values, **more)

        with pytest.MonkeyPatch.context() as patch:
            with destination.connected():
                pass
            patch.setattr(Session, "execute", mortal)
            try:
                act(destination)
                ended = True
            except Died:
                ended = False
        destination.close()
        yield number
        if ended:
            return
        number += 1


def _tables_twice(sql: str) -> bool:
    """Whether a temporary table stands behind FROM, JOIN, UPDATE or INTO more than once."""
    named = re.findall(r"(?:FROM|JOIN|UPDATE|INTO|TABLE|,)\s+(`__mr_\w+`)(?:\s+AS\s+\w+\b|\s|$|\))", sql)
    return max(Counter(named).values(), default=0) > 1


text = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)


@examples(st.lists(st.tuples(st.none() | text, st.none() | st.binary(max_size=12), st.none() | st.floats(
    allow_nan=False, allow_infinity=False)), min_size=1, max_size=30))  # fmt: skip
@settings(max_examples=25)
def test_any_text_bytes_and_floats_come_back_as_they_went(mariadb: Database, given: list[Any]) -> None:
    database = replace(mariadb, name="anything")
    mariadb.run('CREATE DATABASE IF NOT EXISTS "anything"')
    made = table("anything", {"t": types.VARCHAR, "b": types.BYTEARRAY, "d": types.DOUBLE}, mode="append", meta=META)
    schema = {"t": types.VARCHAR, "b": types.BYTEARRAY, "d": types.DOUBLE, columns.INGESTED_AT: types.LONG}
    for local in (True, False):
        destination = Destination(Config.model_validate(database.settings(local_infile=local)))
        destination.drop("anything")
        destination.ensure(made)
        loaded = rows(schema, *((*row, n) for n, row in enumerate(given)))
        destination.load(made, Load(FEED, 0, 1, 1, loaded))
        order = destination.dialect.quoted(columns.INGESTED_AT)
        found = destination.query(f"SELECT t, b, d FROM anything ORDER BY {order}")
        assert [tuple(row.values()) for row in found.to_pylist()] == given
        destination.close()
