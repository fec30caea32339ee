"""PostgreSQL keeps the contract of destinations."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
import threading
from collections.abc import Collection, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from tests.contract.disk import small_disk
from tests.postgres import URL, Database, binaries

from millrace.connect.destination import Load, Table, Unloadable
from millrace.connect.sql import keys
from millrace.connect.testing.destination import FEED, at_once
from millrace.connect.testing.rows import PLAIN, Rows, counted, rows, table
from millrace.connect.testing.sql_destination import SqlDestinationContract
from millrace.connect.testing.worked import example
from millrace.data import columns, types
from millrace.destinations.postgres import indexes
from millrace.destinations.postgres.destination import Config, Destination
from millrace.destinations.postgres.errors import translated
from millrace.errors import AuthError, ConfigError, EnvironmentProblem, MillraceError, Transient

VALUES = {"k": types.LONG, "v": types.VARCHAR, columns.INGESTED_AT: types.LONG}


class TestPostgres(SqlDestinationContract):
    type_ = "postgres"

    @pytest.fixture(autouse=True)
    def _place(self, database: Database) -> None:
        self.database = database

    def config(self) -> dict[str, Any]:
        return self.database.settings()

    def behind(self, *statements: str) -> None:
        self.database.run(*(re.sub(r"\{t:(\w+)\}", r'"\1"', statement) for statement in statements))

    def made(self, **more: Any) -> Destination:
        return Destination(Config.model_validate(self.database.settings(**more)))

    # Rows that PostgreSQL alone refuses.

    @pytest.mark.parametrize("mode", ["merge", "append"])
    def test_nul_characters_are_refused_by_row(self, destination: Destination, mode: Any) -> None:
        made = table("nul", {"k": types.LONG, "v": types.VARCHAR, "j": types.JSON}, key=("k",), mode=mode)
        destination.ensure(made)
        schema = {"k": types.LONG, "v": types.VARCHAR, "j": types.JSON, columns.INGESTED_AT: types.LONG}
        given = rows(
            schema,
            (1, "good", '{"a":1}', 1),
            (2, "a\0b", "{}", 1),
            (3, "x", '{"a":"\\u0000"}', 1),
            (4, "x", '{"a":"\\\\u0000 is text"}', 1),
            (5, "x", '{"\\\\\\u0000":1}', 1),
        )
        with pytest.raises(Unloadable) as refused:
            destination.load(made, Load(FEED, 0, 1, 1, given))
        assert [(r.row, r.code) for r in refused.value.refusals] == [
            (1, "INCOMPATIBLE_TYPE"),
            (2, "INCOMPATIBLE_TYPE"),
            (4, "INCOMPATIBLE_TYPE"),
        ]
        loaded = destination.load(made, Load(FEED, 0, 1, 1, given, frozenset({1, 2, 4})))
        assert (loaded.inserted, loaded.refused) == (2, 3)

    def test_a_value_too_long_for_the_users_column_is_refused_by_row(self, destination: Destination) -> None:
        self.behind(f'CREATE TABLE short (k BIGINT, v VARCHAR(10), "{columns.INGESTED_AT}" BIGINT)')
        made = example("short", meta=PLAIN)
        destination.ensure(made)
        given = rows(VALUES, (1, "€" * 10, 1), (2, "€" * 11, 1), (3, None, 1), (4, "x" * 99, 1))
        with pytest.raises(Unloadable) as refused:
            destination.load(made, Load(FEED, 0, 1, 1, given))
        assert [(r.row, r.code) for r in refused.value.refusals] == [(1, "STRING_TOO_LONG"), (3, "STRING_TOO_LONG")]
        destination.load(made, Load(FEED, 0, 1, 1, given, frozenset({1, 3})))
        assert len(self.contents(destination, "short")) == 2

    def test_a_key_too_long_for_an_index_is_refused_by_row(self, destination: Destination) -> None:
        made = table("long_keys", {"k": types.VARCHAR}, key=("k",))
        destination.ensure(made)
        noise = "".join(chr(0x4E00 + n * 7919 % 20000) for n in range(4000))
        given = rows({"k": types.VARCHAR, columns.INGESTED_AT: types.LONG}, ("a", 1), (noise, 1), ("b", 1))
        with pytest.raises(Unloadable) as refused:
            destination.load(made, Load(FEED, 0, 1, 1, given))
        assert [(r.row, r.code) for r in refused.value.refusals] == [(1, "ROW_TOO_LARGE")]

    @pytest.mark.parametrize("type_", ["numeric", "json"])
    def test_open_types_of_the_users_take_values(self, destination: Destination, type_: str) -> None:
        want = types.LONG if type_ == "numeric" else types.JSON
        self.behind(f'CREATE TABLE open (v {type_}, "{columns.INGESTED_AT}" BIGINT)')
        made = table("open", {"v": want}, mode="append")
        destination.ensure(made)
        value = 2**62 if type_ == "numeric" else '{"a":1}'
        destination.load(made, Load(FEED, 0, 1, 1, rows({"v": want, columns.INGESTED_AT: types.LONG}, (value, 1))))
        (found,) = self.database.run("SELECT v::text FROM open")[0]
        assert found.replace(" ", "") == str(value)

    # The connection.

    def test_a_wrong_password_is_the_users_matter(self) -> None:
        destination = self.made(db_password="wrong")
        with pytest.raises(AuthError) as error:
            destination.schema("t")
        assert "wrong" not in error.value.message
        (verdict,) = destination.check()
        assert (verdict.step, verdict.state) == ("connect", "fail")

    def test_a_database_that_is_not_there_is_named(self) -> None:
        with pytest.raises(ConfigError, match="no_such"):
            self.made(db_name="no_such").schema("t")

    def test_a_server_that_does_not_answer_is_asked_again_later(self) -> None:
        with pytest.raises(Transient, match="cannot be reached"):
            self.made(db_port=1).schema("t")

    def test_encryption_that_the_server_lacks_is_named(self) -> None:
        with pytest.raises(ConfigError) as error:
            self.made(use_ssl=True).schema("t")
        assert error.value.path == "ssl_mode"

    @pytest.fixture
    def guest(self) -> Iterator[Database]:
        """A user without any right but to connect."""
        name = f"guest_{self.database.name}"
        self.database.run(
            f"CREATE ROLE {name} LOGIN PASSWORD 'g:@/ ?#%'",
            "REVOKE ALL ON SCHEMA public FROM PUBLIC",
            f"GRANT USAGE ON SCHEMA public TO {name}",
        )
        yield replace(self.database, user=name, password="g:@/ ?#%")
        self.database.run(f"DROP OWNED BY {name}", f"DROP ROLE {name}")

    def test_a_missing_right_is_named(self, guest: Database) -> None:
        destination = Destination(Config.model_validate(guest.settings()))
        with pytest.raises(ConfigError, match="permission denied for schema public") as error:
            destination.ensure(counted("t")[0])
        assert error.value.code == "PERMISSION_DENIED"
        with pytest.raises(ConfigError, match="permission denied for schema public"):
            destination.ready()
        verdicts = destination.check()
        assert [(v.step, v.state) for v in verdicts] == [("connect", "pass"), ("create", "fail")]
        self.database.run(f"GRANT CREATE ON SCHEMA public TO {guest.user}")
        destination.ready()
        assert {v.state for v in destination.check()} == {"pass"}
        destination.close()

    def test_a_schema_that_may_not_be_made_and_a_standby_are_told_before_a_load(self, guest: Database) -> None:
        destination = Destination(Config.model_validate(guest.settings(schema_name="new")))
        with pytest.raises(ConfigError, match="the schema new") as error:
            destination.ready()
        assert error.value.code == "PERMISSION_DENIED"
        destination.close()
        self.database.run(f"ALTER ROLE {guest.user} SET default_transaction_read_only = on")
        with pytest.raises(ConfigError) as error:
            destination.ready()
        assert error.value.code == "read_only"
        destination.close()

    def test_a_table_of_somebody_elses_is_named(self, guest: Database) -> None:
        self.database.run(f"GRANT CREATE ON SCHEMA public TO {guest.user}")
        made, given = counted("theirs")
        owner = self.another()
        owner.ensure(made)
        owner.close()
        self.database.run(f"ALTER TABLE {columns.INSIDE}_loads OWNER TO {guest.user}")
        destination = Destination(Config.model_validate(guest.settings()))
        with pytest.raises(ConfigError, match="permission denied for table theirs"):
            destination.load(made, Load(FEED, 0, 1, 1, given))
        destination.close()

    def test_rows_are_loaded_as_they_come_until_some_key_is_there_already(self, destination: Destination) -> None:
        made = table("eager", {"k": types.LONG, "v": types.VARCHAR}, key=("k",), meta=PLAIN)
        destination.ensure(made)
        given = rows({"k": types.LONG, "v": types.VARCHAR}, (1, "a"))
        other = rows({"k": types.LONG, "v": types.VARCHAR}, (2, "b"))
        destination.load(made, Load(FEED, 0, 1, 1, given))
        destination.load(made, Load(FEED, 1, 2, 1, other))
        assert destination.eager
        destination.load(made, Load(FEED, 2, 3, 1, given))
        assert not destination.eager
        assert len(self.contents(destination, "eager")) == 2

    def _primary_key(self, name: str) -> str | None:
        found = self.database.run(
            f"SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conrelid = '{name}'::regclass AND contype = 'p'"
        )
        return found[0][0] if found else None

    def _filling(self, destination: Destination, name: str) -> Table:
        """A table that is being filled: it holds the keys 1 and 2."""
        made = table(name, {"k": types.LONG, "v": types.VARCHAR}, key=("k",), meta=PLAIN)
        destination.ensure(made)
        destination.load(made, Load(FEED, 0, 1, 1, rows(VALUES, (1, "a", 1), (2, "b", 1))))
        return made

    def test_a_new_table_gets_its_primary_key_when_it_is_filled(self, destination: Destination) -> None:
        made = self._filling(destination, "filled")
        destination.ensure(made)
        destination.load(made, Load(FEED, 1, 2, 1, rows(VALUES, (3, "c", 1))))
        assert self._primary_key("filled") is None
        destination.completed()
        assert self._primary_key("filled") == "PRIMARY KEY (k)"
        destination.load(made, Load(FEED, 2, 3, 1, rows(VALUES, (3, "d", 2), (4, "e", 2))))
        assert self.database.run("SELECT k, v FROM filled ORDER BY k") == [(1, "a"), (2, "b"), (3, "d"), (4, "e")]

    @pytest.mark.parametrize(("gives", "takes"), [("16MB", "256MB"), ("1GB", "1GB")])
    def test_keys_are_sorted_in_enough_memory_or_in_what_the_server_gives(self, gives: str, takes: str) -> None:
        self.behind(
            f"ALTER DATABASE {self.database.name} SET maintenance_work_mem = '{gives}'",
            "CREATE TABLE seen (memory text)",
            "CREATE FUNCTION see() RETURNS event_trigger LANGUAGE plpgsql AS "
            "$$ BEGIN INSERT INTO seen SELECT current_setting('maintenance_work_mem'); END $$",
            "CREATE EVENT TRIGGER sees ON ddl_command_end WHEN TAG IN ('CREATE INDEX') EXECUTE FUNCTION see()",
        )
        destination = self.made()
        self._filling(destination, "sorted")
        destination.completed()
        assert self.database.run("SELECT memory FROM seen") == [(takes,)]
        with destination.connected():
            assert destination.rows("SELECT current_setting('maintenance_work_mem')") == [(gives,)]
        destination.close()

    def test_a_connection_stands_when_a_load_is_expected(self, destination: Destination) -> None:
        open_ = (
            "SELECT count(*) FROM pg_stat_activity "
            f"WHERE application_name = 'millrace' AND datname = '{self.database.name}'"
        )
        assert self.database.run(open_) == [(0,)]
        destination.expect()
        assert self.database.run(open_) == [(1,)]
        self._filling(destination, "expected")
        assert self.database.run(open_) == [(1,)]

    def test_a_table_of_very_many_numbers_that_rise_has_no_key_until_it_is_filled(
        self, destination: Destination, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(keys, "MOST_KEYS", 3)
        made = self._filling(destination, "many")
        for load in range(1, 5):
            given = rows(VALUES, (2 * load + 1, "c", 1), (2 * load + 2, "d", 1))
            destination.load(made, Load(FEED, load, load + 1, 1, given))
            assert self.database.run("SELECT count(*) FROM pg_indexes WHERE tablename = 'many'") == [(0,)]
        found = destination.load(made, Load(FEED, 5, 6, 1, rows(VALUES, (1, "e", 2), (11, "f", 2))))
        assert (found.inserted, found.updated) == (1, 1)
        destination.completed()
        assert self._primary_key("many") == "PRIMARY KEY (k)"
        assert self.database.run("SELECT count(*), max(v) FROM many") == [(11, "f")]

    @pytest.mark.parametrize("comes", ["twice", "again"])
    def test_rows_with_a_key_that_is_there_are_taken_back_and_merged(
        self, destination: Destination, comes: str
    ) -> None:
        made = self._filling(destination, "back")
        third = (3, "c", 2) if comes == "twice" else (2, "c", 2)
        found = destination.load(made, Load(FEED, 1, 2, 1, rows(VALUES, third, (3, "d", 3))))
        assert found.inserted + found.updated + found.duplicates == 2
        destination.completed()
        kept = "b" if comes == "twice" else "c"
        assert self.database.run("SELECT k, v FROM back ORDER BY k") == [(1, "a"), (2, kept), (3, "d")]
        assert self._primary_key("back") == "PRIMARY KEY (k)"

    def test_whoever_loads_next_makes_the_key_that_a_killed_process_left_out(self, destination: Destination) -> None:
        made = self._filling(destination, "left")
        destination.close()
        other = self.another()
        other.ensure(made)
        assert self._primary_key("left") == "PRIMARY KEY (k)"
        other.load(made, Load(FEED, 1, 2, 1, rows(VALUES, (2, "c", 2))))
        assert self.database.run("SELECT k, v FROM left ORDER BY k".replace("left", '"left"')) == [(1, "a"), (2, "c")]
        other.close()

    def test_a_key_that_another_writer_has_made_is_heeded(self, destination: Destination) -> None:
        made = self._filling(destination, "shared")
        other = self.another()
        other.ensure(made)
        other.load(made, Load("another", 0, 1, 1, rows(VALUES, (3, "theirs", 1))))
        destination.ensure(made)
        destination.load(made, Load(FEED, 1, 2, 1, rows(VALUES, (3, "ours", 2))))
        assert self.database.run("SELECT k, v FROM shared ORDER BY k") == [(1, "a"), (2, "b"), (3, "ours")]
        other.close()

    def test_rows_that_a_person_puts_into_a_table_while_it_is_filled_are_merged(self, destination: Destination) -> None:
        made = self._filling(destination, "behind")
        at = columns.INGESTED_AT
        self.behind(f"INSERT INTO behind (k, v, \"{at}\") VALUES (2, 'older', 0), (3, 'older', NULL), (4, 'alone', 5)")
        destination.load(made, Load(FEED, 1, 2, 1, rows(VALUES, (3, "c", 1))))
        destination.completed()
        assert self._primary_key("behind") == "PRIMARY KEY (k)"
        assert self.database.run("SELECT k, v FROM behind ORDER BY k") == [(1, "a"), (2, "b"), (3, "c"), (4, "alone")]

    def test_a_table_that_takes_the_place_of_another_has_its_key(self, destination: Destination) -> None:
        self._filling(destination, "old")
        made = self._filling(destination, "old__fresh")
        destination.swap("old__fresh", "old")
        assert self._primary_key("old") == "PRIMARY KEY (k)"

        destination.load(replace(made, name="old"), Load("another", 0, 1, 1, rows(VALUES, (2, "c", 2), (3, "d", 2))))
        destination.completed()
        assert self.database.run("SELECT k, v FROM old ORDER BY k") == [(1, "a"), (2, "c"), (3, "d")]

    def _unique(self, name: str) -> list[str]:
        found = self.database.run(
            f"SELECT pg_get_indexdef(indexrelid) FROM pg_index WHERE indrelid = '{name}'::regclass AND indisunique"
        )
        return [definition.partition(" USING ")[2] for (definition,) in found]

    @pytest.fixture
    def impatient(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """What waits for readers gives up soon."""
        monkeypatch.setattr(indexes, "_PRIMARY_TIMEOUT", "50ms")

    @pytest.mark.usefixtures("impatient")
    def test_a_run_ends_well_while_somebody_reads_its_new_table(self, destination: Destination) -> None:
        made = self._filling(destination, "read")
        with self.database.connect() as reader:
            reader.execute("BEGIN")
            reader.execute("SELECT count(*) FROM read")
            destination.completed()
            assert self._primary_key("read") is None
            assert self._unique("read") == ["btree (k)"]
            assert destination.rows("SELECT current_setting('lock_timeout')") == [("10min",)]
            destination.load(made, Load(FEED, 1, 2, 1, rows(VALUES, (2, "c", 2), (3, "d", 2))))
            destination.ensure(made)
            assert self._primary_key("read") is None
            reader.execute("COMMIT")
        destination.ensure(made)
        assert self._primary_key("read") == "PRIMARY KEY (k)"
        assert self.database.run("SELECT obj_description('read'::regclass)") == [(None,)]
        assert self.database.run("SELECT k, v FROM read ORDER BY k") == [(1, "a"), (2, "c"), (3, "d")]

    def test_a_merge_waits_for_no_reader_and_leaves_the_primary_key_to_the_end(self, destination: Destination) -> None:
        made = self._filling(destination, "met")
        with self.database.connect() as reader:
            reader.execute("BEGIN")
            reader.execute("SELECT count(*) FROM met")
            destination.load(made, Load(FEED, 1, 2, 1, rows(VALUES, (2, "c", 2), (3, "d", 2))))
            assert self._unique("met") == ["btree (k)"]
            assert self._primary_key("met") is None
            reader.execute("COMMIT")
        destination.completed()
        assert self._primary_key("met") == "PRIMARY KEY (k)"
        assert self.database.run("SELECT k, v FROM met ORDER BY k") == [(1, "a"), (2, "c"), (3, "d")]

    def test_a_connection_lost_at_the_end_ends_no_run_and_the_next_makes_the_key(
        self, destination: Destination
    ) -> None:
        made = self._filling(destination, "cut")
        self._cut()
        destination.completed()
        assert self._primary_key("cut") is None
        destination.ensure(made)
        assert self._primary_key("cut") == "PRIMARY KEY (k)"

    def _cut(self) -> None:
        self.database.run(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            f"WHERE application_name = 'millrace' AND datname = '{self.database.name}'"
        )

    @pytest.mark.parametrize("kind", ["plain", "partitioned"])
    def test_a_table_of_the_users_gets_an_index_and_no_primary_key(self, destination: Destination, kind: str) -> None:
        partitioned = kind == "partitioned"
        self.behind(
            f'CREATE TABLE own (k BIGINT NOT NULL, v VARCHAR, "{columns.INGESTED_AT}" BIGINT)'
            + (" PARTITION BY HASH (k)" if partitioned else ""),
            *(["CREATE TABLE own_all PARTITION OF own FOR VALUES WITH (MODULUS 1, REMAINDER 0)"] * partitioned),
            "INSERT INTO own VALUES (1, 'theirs', 0)",
        )
        made = self._filling(destination, "own")
        destination.ensure(made)
        destination.completed()
        assert self._primary_key("own") is None
        assert self._unique("own") == ["btree (k)"]
        assert self.database.run("SELECT k, v FROM own ORDER BY k") == [(1, "a"), (2, "b")]

    def test_of_rows_with_the_same_key_the_one_stays_that_a_merge_would_keep(self, destination: Destination) -> None:
        fields = {"k": types.LONG, "v": types.VARCHAR, "o": types.LONG}
        made = table("ties", fields, key=("k",), order=("o",), meta=PLAIN)
        destination.ensure(made)
        at = columns.INGESTED_AT
        given = rows({**fields, at: types.LONG}, (1, "newer", 7, 20), (2, "ours", None, 20), (3, "ours", 7, 20))
        destination.load(made, Load(FEED, 0, 1, 1, given))
        self.behind(
            f'INSERT INTO ties (k, v, o, "{at}") '
            "VALUES (1, 'older', 7, 10), (2, 'older', NULL, 10), (3, 'new', 8, 10)"
        )
        destination.completed()
        assert self.database.run("SELECT k, v FROM ties ORDER BY k") == [(1, "newer"), (2, "ours"), (3, "new")]

    def test_two_pipelines_fill_a_new_table_at_once(self) -> None:
        made = table("both_new", {"k": types.LONG, "v": types.VARCHAR}, key=("k",), meta=PLAIN)

        def work(feed: str, low: int) -> None:
            mine = self.another()
            try:
                mine.ensure(made)
                for segment in range(4):
                    given = rows(VALUES, *((low + n, f"{feed}{segment}", segment) for n in range(100)))
                    mine.load(made, Load(feed, segment, segment + 1, 1, given))
                mine.completed()
            finally:
                mine.close()

        at_once([lambda: work("a/1", 0), lambda: work("b/1", 50)])
        destination = self.another()
        destination.ensure(made)
        found = self.contents(destination, "both_new")
        destination.close()
        assert sorted(row["k"] for row in found) == list(range(150))
        assert {row["v"] for row in found} <= {"a/13", "b/13"}
        assert self._primary_key("both_new") == "PRIMARY KEY (k)"

    def test_a_table_that_takes_deletes_has_its_primary_key_from_the_start(self, destination: Destination) -> None:
        destination.ensure(example("logs"))
        assert self._primary_key("logs") == "PRIMARY KEY (k)"

    @pytest.mark.usefixtures("impatient")
    @pytest.mark.parametrize("state", ["indexed", "left by another process", "being filled"])
    def test_a_table_without_its_primary_key_can_be_appended_to_later(
        self, destination: Destination, state: str
    ) -> None:
        made = replace(self._filling(destination, "later"), mode="append")
        if state == "indexed":
            with self.database.connect() as reader:
                reader.execute("BEGIN")
                reader.execute("SELECT count(*) FROM later")
                destination.completed()
                reader.execute("COMMIT")
        if state != "being filled":
            destination.close()
        destination.ensure(made)
        assert self._unique("later") == []
        destination.load(made, Load(FEED, 1, 2, 1, rows(VALUES, (2, "c", 2), (None, "d", 2))))
        destination.completed()
        assert len(self.contents(destination, "later")) == 4

    def test_a_connection_lost_in_mid_load_leaves_nothing_and_mends_itself(self, destination: Destination) -> None:
        made, given = counted("lost")
        destination.ensure(made)
        destination.load(made, Load(FEED, 0, 1, 1, given))
        cut = self._cut

        class Cut(Rows):
            def reader(self, columns: Collection[str] | None = None) -> pa.RecordBatchReader:
                del columns

                def batches() -> Iterator[pa.RecordBatch]:
                    for number in range(2000):
                        if number == 3:
                            cut()
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
        first = rows(VALUES, *((n, "0", 0) for n in range(500)))
        destination.load(made, Load(FEED, 0, 1, 1, first))
        stop, seen = threading.Event(), set[tuple[int, int]]()

        def look() -> None:
            while not stop.is_set():
                seen.add(tuple(self.database.run("SELECT count(*), count(DISTINCT v) FROM seen")[0]))

        watcher = threading.Thread(target=look)
        watcher.start()
        for segment in range(1, 6):
            given = rows(VALUES, *((n, str(segment), segment) for n in range(500)))
            destination.load(made, Load(FEED, segment, segment + 1, 1, given))
        stop.set()
        watcher.join()
        assert seen == {(500, 1)}

    def test_a_full_disk_is_named_and_nothing_is_kept(self, destination: Destination) -> None:
        made, given = counted("t")
        destination.ensure(made)
        destination.load(made, Load(FEED, 0, 1, 1, given))
        destination.close()
        if os.geteuid() == 0 and URL not in os.environ and (user := binaries().user):
            with tempfile.TemporaryDirectory(prefix="millrace-disk-") as place:
                Path(place).chmod(0o755)
                with small_disk(Path(place) / "disk", 4) as disk:
                    shutil.chown(disk, user)
                    name = f"full_{self.database.name}"
                    self.database.run(f"CREATE TABLESPACE {name} LOCATION '{disk}'")
                    self.database.run(f"ALTER TABLE t SET TABLESPACE {name}")
                    self._fill(destination, made, given)
                    destination.close()
                    self.database.run("DROP TABLE t", f"DROP TABLESPACE {name}")
            return
        # Without the right to mount, the server is made to say it.
        self.database.run(
            "CREATE FUNCTION say() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION USING "
            "ERRCODE = '53100', MESSAGE = 'could not extend file: No space left on device'; END $$",
            "CREATE TRIGGER say BEFORE INSERT ON t FOR EACH ROW WHEN (NEW.k > 1000) EXECUTE FUNCTION say()",
        )
        self._fill(destination, made, given)

    def _fill(self, destination: Destination, made: Any, given: Rows) -> None:
        noise = pa.array([f"{n * 2654435761 % 2**64:x}" * 40 for n in range(30_000)])
        big = Rows(pa.table({"k": pa.array(range(30_000)), "v": noise, columns.INGESTED_AT: pa.array(range(30_000))}))
        with pytest.raises(EnvironmentProblem) as error:
            destination.load(made, Load(FEED, 1, 2, 1, big))
        assert error.value.code == "DISK_FULL"
        assert destination.held(FEED, "t") == 1
        assert len(self.contents(destination, "t")) == given.count


FAILED = 'IO: [libpq] Failed to connect: connection to server at "10.0.0.7", port 5432 failed: '


@pytest.mark.parametrize(
    ("words", "kind", "code"),
    [
        ("FATAL:  Passwort-Authentifizierung für Benutzer »loader« fehlgeschlagen", AuthError, "auth"),
        ("FATAL:  no existe el rol «loader»", AuthError, "auth"),
        ('ВАЖНО:  база данных "sales" не существует', ConfigError, "no_database"),
        ('FATAL:  データベース"sales"は存在しません', ConfigError, "no_database"),
        ('致命错误:  没有用于用户 "loader", 数据库 "sales" 的 pg_hba.conf 记录', ConfigError, "ssl"),
        ("FATAL:  désolé, trop de clients sont déjà connectés", Transient, "transient"),
        ("FATALE:  il database si sta avviando", Transient, "transient"),
        ('FATAL:  too many connections for role "loader"', Transient, "transient"),
        ("Connection refused\n\tIs the server running on that host?", Transient, "transient"),
    ],
)
def test_a_server_that_speaks_another_language_is_understood(words: str, kind: type[Exception], code: str) -> None:
    error = translated(None, FAILED + words, "PostgreSQL at 10.0.0.7:5432/sales", "loader", "sales")
    assert type(error) is kind
    assert isinstance(error, MillraceError)
    assert error.code == code
    assert error.hint
    assert "libpq" not in error.message
