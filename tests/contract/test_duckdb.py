"""DuckDB keeps the contract of destinations."""

from __future__ import annotations

import re
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any, ClassVar

import duckdb
import pyarrow as pa
import pytest
from tests.contract.disk import small_disk
from tests.duckdb_files import staying_open
from tests.engine.kit import SetClock

from millrace.connect.destination import Load, Loaded
from millrace.connect.source import Context
from millrace.connect.sql import keys
from millrace.connect.testing.destination import FEED
from millrace.connect.testing.rows import Rows, counted, rows, table
from millrace.connect.testing.sql_destination import SqlDestinationContract
from millrace.data import columns, types
from millrace.destinations.duckdb.destination import TURN_S, Config, Destination
from millrace.errors import ConfigError, EnvironmentProblem, MillraceError, SchemaError

HOLDER = """
import sys, duckdb
connection = duckdb.connect(sys.argv[1])
print("open", flush=True)
sys.stdin.read()
"""


class Watched(Destination):
    """Remembers what it said to DuckDB."""

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.said: list[str] = []

    def execute(self, sql: str, *values: Any) -> int:
        self.said.append(sql)
        return super().execute(sql, *values)

    def take(self, name: str, rows: pa.RecordBatchReader) -> None:
        self.said.append(f"CREATE {name}")
        super().take(name, rows)


class TestDuckDB(SqlDestinationContract):
    type_ = "duckdb"

    @pytest.fixture(autouse=True)
    def _place(self, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[None]:
        self.path = tmp_path / "warehouse.duckdb"
        # The tests of this module look at the file from outside, as a process that is killed does.
        outside = request.function.__qualname__.startswith(f"{type(self).__name__}.")
        with nullcontext() if outside or "killed" in request.node.name else staying_open():
            yield

    def config(self) -> dict[str, Any]:
        return {"path": str(self.path)}

    def behind(self, *statements: str) -> None:
        with duckdb.connect(self.path) as connection:
            for statement in statements:
                connection.execute(re.sub(r"\{t:(\w+)\}", r'"\1"', statement))

    def test_rows_are_found_by_their_numbers_in_a_transaction_that_made_and_deleted_some(self) -> None:
        # DuckDB 2.0.0 left some out, or ended the process.
        with duckdb.connect(self.path) as connection:
            connection.execute("CREATE TABLE t AS SELECT n FROM range(4000) AS r (n)")
            connection.execute("CHECKPOINT")
            connection.execute("BEGIN")
            connection.execute("INSERT INTO t SELECT n FROM range(4000, 6000) AS r (n)")
            connection.execute("DELETE FROM t WHERE n % 4 = 1")
            connection.execute("CREATE TEMP TABLE spots AS SELECT rowid AS spot FROM t WHERE n % 5 = 0")
            found = [
                connection.execute("SELECT count(*) FROM t JOIN spots ON t.rowid = spot").fetchall() for _ in range(20)
            ]
            assert found == [[(900,)]] * 20

    # Structs and lists.

    def nested(self, destination: Destination, column: str, *steps: tuple[pa.DataType, Any]) -> list[Any]:
        """The values of a column after loads of one row each, in these types."""
        for number, (type_, value) in enumerate(steps):
            made = table("nested", {"k": types.LONG, column: type_}, key=("k",))
            destination.ensure(made)
            schema = {"k": types.LONG, column: type_, columns.INGESTED_AT: types.LONG}
            destination.load(made, Load(FEED, number, number + 1, 1, rows(schema, (number, value, 1))))
        return [row[column] for row in self.contents(destination, "nested", order="k")]

    def test_structs_and_lists_are_columns_of_their_own_types(self, destination: Destination) -> None:
        inner = pa.struct([("City Name", types.VARCHAR), ('a"b,(c', types.DOUBLE), ("l", types.array(types.LONG))])
        value = {"City Name": "Pune", 'a"b,(c': 1.5, "l": [1, None]}
        assert self.nested(destination, "s", (inner, value), (inner, None)) == [value, None]
        assert destination.schema("nested") == {
            "k": types.LONG, "s": inner, columns.INGESTED_AT: types.LONG, columns.LOADED_AT: types.LONG,
        }  # fmt: skip
        destination.drop("nested")
        listed = types.array(inner)
        assert self.nested(destination, "s", (listed, [value, None]), (listed, [])) == [[value, None], []]

    def test_a_struct_that_grows_becomes_json_and_text(self, destination: Destination) -> None:
        small = pa.struct([("a", types.LONG), ("t", types.VARCHAR)])
        large = pa.struct([("a", types.LONG), ("b", types.DOUBLE)])
        found = self.nested(
            destination, "s", (small, {"a": 2**62, "t": 'x"y'}), (large, {"a": 1, "b": 0.1}), (types.VARCHAR, "z")
        )
        assert found == ['{"a":4611686018427387904,"t":"x\\"y"}', '{"a":1,"b":0.1}', "z"]

    def test_a_struct_with_values_of_other_kinds_is_json(self, destination: Destination) -> None:
        for inner, value in ((types.DATE, date(2026, 1, 1)), (types.decimal(5, 2), Decimal("1.50"))):
            given = pa.struct([("v", inner)])
            assert isinstance(self.nested(destination, "s", (given, {"v": value}))[0], str)
            destination.drop("nested")
        alike = pa.struct([("v", types.LONG), ("V", types.LONG)])
        assert self.nested(destination, "s", (alike, {"v": 1, "V": 2})) == ['{"v":1,"V":2}']

    @contextmanager
    def held_elsewhere(self) -> Iterator[subprocess.Popen[str]]:
        """Another process has the file open."""
        holder = subprocess.Popen(
            [sys.executable, "-c", HOLDER, str(self.path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        with holder:
            assert holder.stdout is not None
            assert holder.stdout.readline() == "open\n"
            yield holder

    @pytest.mark.parametrize(
        "sql",
        [
            "SELECT * FROM read_text('{file}')",
            "SELECT * FROM '{file}'",
            "COPY (SELECT 1) TO '{file}'",
            "ATTACH '{file}' AS other",
            "SET enable_external_access = true",
        ],
    )
    def test_who_is_not_at_this_machine_reaches_tables_and_no_file(
        self, destination: Destination, tmp_path: Path, sql: str
    ) -> None:
        made, given = counted("asked")
        destination.ensure(made)
        destination.load(made, Load(FEED, 0, 1, 7, given))
        file = tmp_path / "secret.csv"
        file.write_text("hush\n")
        confined = Destination(destination.config, Context(confined=True))
        try:
            assert confined.query('SELECT count(*) AS n FROM "asked"').to_pylist() == [{"n": given.count}]
            with pytest.raises(ConfigError):
                confined.query(sql.format(file=file))
        finally:
            confined.close()
        assert file.read_text() == "hush\n"

    def test_a_file_that_another_process_holds_is_named_with_that_process(self) -> None:
        with self.held_elsewhere() as holder:
            destination = Destination(Config(path=self.path, lock_timeout_s=0.2))
            with pytest.raises(EnvironmentProblem, match=f"process {holder.pid}") as error:
                destination.ensure(counted("t")[0])
            assert error.value.code == "locked"
            assert error.value.hint

    def test_a_load_waits_for_a_file_to_be_let_go(self) -> None:
        made, given = counted("t")
        with self.held_elsewhere() as holder:
            assert holder.stdin is not None
            timer = threading.Timer(0.5, holder.stdin.close)
            timer.start()
            destination = self.another()
            destination.ensure(made)
            destination.load(made, Load(FEED, 0, 1, 1, given))
            assert destination.held(FEED, "t") == 1
            destination.close()
            timer.join()

    def test_the_file_is_free_for_others_between_loads(self) -> None:
        destination, (made, given) = self.another(), counted("t")
        destination.ensure(made)
        destination.load(made, Load(FEED, 0, 1, 1, given))
        with self.held_elsewhere():
            pass

    def test_loads_of_many_tables_open_the_file_once_and_leave_it_behind_them(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        clock, real, opened = SetClock(), duckdb.connect, list[object]()
        monkeypatch.setattr(duckdb, "connect", lambda *args, **more: (opened.append(args), real(*args, **more))[1])
        destination = Destination(Config(path=self.path), Context(clock=clock))
        with destination.together():
            for name in ("t", "u", "v"):
                made, given = counted(name)
                destination.ensure(made)
                destination.load(made, Load(FEED, 0, 1, 1, given))
            assert len(opened) == 1
            clock.advance(TURN_S)
            destination.load(made, Load(FEED, 1, 2, 2, given))
            with self.held_elsewhere():
                pass  # who waits for the file has its turn after a while
            destination.load(made, Load(FEED, 2, 3, 3, given))
            assert len(opened) == 2
        with self.held_elsewhere():
            pass

    def test_who_expects_a_load_opens_the_file_for_it_and_waits_for_nobody(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        real, opened, (made, given) = duckdb.connect, list[object](), counted("t")
        destination = Destination(Config(path=self.path), Context(clock=SetClock()))  # nobody turns this clock
        with self.held_elsewhere(), pytest.raises(EnvironmentProblem, match="locked"):
            destination.expect()
        monkeypatch.setattr(duckdb, "connect", lambda *args, **more: (opened.append(args), real(*args, **more))[1])
        destination.expect()
        with destination.together():
            destination.ensure(made)
            destination.load(made, Load(FEED, 0, 1, 1, given))
        assert len(opened) == 1
        with self.held_elsewhere():
            pass

    def test_a_file_that_could_not_be_set_up_is_open_to_nobody(self) -> None:
        made, given = counted("t")
        destination = Destination(Config(path=self.path, memory_limit="1KB"))
        for tried in (destination.expect, lambda: destination.ensure(made), lambda: destination.query("SELECT 1")):
            with pytest.raises(MillraceError, match=r"memory|1KB"):
                tried()
        self.another().ensure(made)
        self.another().load(made, Load(FEED, 0, 1, 1, given))

    # Loads of new keys.

    MADE = table("t", {"k": types.VARCHAR, "v": types.LONG}, key=("k",))
    SHAPE: ClassVar = {"k": types.VARCHAR, "v": types.LONG, MADE.meta.ingested_at: types.LONG}

    def loaded(self, destination: Destination, after: int, keys: Sequence[int], value: int) -> Loaded:
        """What became of a load of rows with these keys."""
        given = rows(self.SHAPE, *((f"{key:016}", value, 10 * after + value) for key in keys))
        destination.ensure(self.MADE)
        return destination.load(self.MADE, Load(FEED, after, after + 1, after + 1, given))

    def test_a_primary_key_that_somebody_made_is_the_tables_key_or_refused(self) -> None:
        self.behind("CREATE TABLE {t:t} (v BIGINT, k VARCHAR PRIMARY KEY, UNIQUE (v))")
        self.another().ensure(self.MADE)
        self.behind("DROP TABLE {t:t}", "CREATE TABLE {t:t} (k VARCHAR, v BIGINT, PRIMARY KEY (k, v))")
        with pytest.raises(SchemaError, match=r"primary key \(k, v\), not \(k\)"):
            self.another().ensure(self.MADE)

    def kept(self) -> list[tuple[Any, ...]]:
        with duckdb.connect(self.path) as connection:
            return connection.execute("SELECT k::INT, v FROM t ORDER BY k, v").fetchall()

    def test_keys_that_are_new_since_the_table_was_empty_are_not_looked_up(self) -> None:
        destination = Watched(Config(path=self.path))
        for load in range(3):
            assert self.loaded(destination, load, range(load * 5, load * 5 + 5), load).inserted == 5
        assert not any("CREATE" in sql and "__mr_" in sql for sql in destination.said)
        found = self.loaded(destination, 3, [14, 15], 7)
        assert (found.inserted, found.updated) == (1, 1)
        found = self.loaded(destination, 4, [15, 16], 8)
        assert (found.inserted, found.updated) == (1, 1)
        assert self.kept() == [*((n, n // 5) for n in range(14)), (14, 7), (15, 8), (16, 8)]

    def test_whole_numbers_that_rise_are_not_looked_up_however_many_they_are(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(keys, "MOST_KEYS", 10)
        destination = Watched(Config(path=self.path))
        shape = self.SHAPE | {"k": types.LONG}
        made = table("t", {"k": types.LONG, "v": types.LONG}, key=("k",))

        def loaded(after: int, *numbers: int) -> Loaded:
            destination.ensure(made)
            given = rows(shape, *((number, after, after) for number in numbers))
            return destination.load(made, Load(FEED, after, after + 1, after + 1, given))

        for load in range(6):
            assert loaded(load, *range(load * 5, load * 5 + 5)).inserted == 5
        assert not any("CREATE" in sql and "__mr_" in sql for sql in destination.said)
        found = loaded(6, 3, 30)
        assert (found.inserted, found.updated) == (1, 1)
        assert len(self.kept()) == 31

    def test_a_key_that_comes_twice_in_the_first_load_goes_in_once(self) -> None:
        found = self.loaded(self.another(), 0, [1, 2, 1], 3)
        assert (found.inserted, found.duplicates) == (2, 1)
        assert self.kept() == [(1, 3), (2, 3)]

    def test_rows_that_somebody_else_put_in_between_loads_are_met(self) -> None:
        destination = self.another()
        self.loaded(destination, 0, [1, 2], 1)
        self.behind("""INSERT INTO {t:t} BY NAME SELECT '0000000000000003' AS k, 0 AS v""")
        found = self.loaded(destination, 1, [3, 4], 2)
        assert (found.inserted, found.updated) == (1, 1)
        assert self.kept() == [(1, 1), (2, 1), (3, 2), (4, 2)]

    def test_rows_that_another_destination_of_the_process_loaded_are_met(self) -> None:
        one, other = self.another(), self.another()
        with one.connected(keep=True):
            self.loaded(one, 0, [1, 2], 1)
            self.loaded(other, 1, [3], 1)
            found = self.loaded(one, 2, [3, 4], 2)
        assert (found.inserted, found.updated) == (1, 1)
        assert self.kept() == [(1, 1), (2, 1), (3, 2), (4, 2)]

    def test_rows_of_a_table_that_took_the_place_of_another_are_met(self) -> None:
        destination = self.another()
        self.loaded(destination, 0, [1], 1)
        fresh = replace(self.MADE, name="t__fresh")
        destination.ensure(fresh)
        given = rows(self.SHAPE, (f"{5:016}", 1, 1))
        destination.load(fresh, Load("other", 0, 1, 1, given))
        destination.swap("t__fresh", "t")
        found = self.loaded(destination, 0, [5, 6], 2)
        assert (found.inserted, found.updated) == (1, 1)
        assert self.kept() == [(5, 2), (6, 2)]

    def test_a_key_that_is_there_by_a_collation_is_met(self) -> None:
        destination, name = self.another(), self.MADE.meta.ingested_at
        self.behind(f'CREATE TABLE {{t:t}} (k VARCHAR COLLATE NOCASE, v BIGINT, "{name}" BIGINT)')
        destination.ensure(self.MADE)
        for load, key in enumerate(("abcdefgh", "ABCDEFGH")):
            found = destination.load(self.MADE, Load(FEED, load, load + 1, 1, rows(self.SHAPE, (key, load, load))))
        assert (found.inserted, found.updated) == (0, 1)

    def test_what_speaks_against_a_load_is_told_before_it_and_nothing_is_made(self, tmp_path: Path) -> None:
        destination = Destination(Config(path=self.path))
        destination.ready()
        assert list(self.path.parent.iterdir()) == []
        self.behind("CREATE TABLE t (k INTEGER)")
        with self.held_elsewhere():
            destination.ready()  # it may be free when there is something to load
        for path in ("/proc/x.duckdb", "/proc/version"):
            with pytest.raises((ConfigError, EnvironmentProblem)) as error:
                Destination(Config(path=Path(path))).ready()
            assert error.value.hint
            assert error.value.path == "path"

    def test_a_folder_that_is_not_there_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match="nowhere") as error:
            Destination(Config(path=tmp_path / "nowhere" / "x.duckdb")).schema("t")
        assert error.value.path == "path"

    def test_a_folder_in_place_of_a_file_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match="is a folder") as told:
            Destination(Config(path=tmp_path)).schema("t")
        assert told.value.hint

    def test_a_file_of_another_kind_is_left_alone(self) -> None:
        with sqlite3.connect(self.path) as connection:
            connection.execute("CREATE TABLE t (v)")
        for content in (b"name;value\n" * 1000, self.path.read_bytes()):
            self.path.write_bytes(content)
            with pytest.raises(ConfigError, match="is not a DuckDB database") as told:
                Destination(Config(path=self.path)).schema("t")
            assert told.value.hint
            assert self.path.read_bytes() == content

    def test_a_connection_test_says_what_is_wrong(self, tmp_path: Path) -> None:
        (verdict,) = Destination(Config(path=tmp_path / "nowhere" / "x.duckdb")).check()
        assert (verdict.step, verdict.state) == ("connect", "fail")

    @pytest.mark.parametrize("stem", ["main", "temp", "system", "select", "a.b", 'q"q', "memory"])
    def test_any_file_name_will_do(self, tmp_path: Path, stem: str) -> None:
        destination, (made, given) = Destination(Config(path=tmp_path / f"{stem}.duckdb")), counted("main")
        destination.ensure(made)
        destination.load(made, Load(FEED, 0, 1, 1, given))
        assert len(self.contents(destination, "main")) == given.count

    def test_tables_stand_in_the_schema_of_the_settings(self) -> None:
        destination = Destination(Config(path=self.path, schema_name='ra"w'))
        made, given = counted("t")
        destination.ensure(made)
        destination.load(made, Load(FEED, 0, 1, 1, given))
        assert destination.query('SELECT count(*) AS n FROM "ra""w"."t"').to_pylist() == [{"n": given.count}]
        assert self.another().schema("t") is None

    def test_a_full_disk_is_named_and_nothing_is_kept(self, tmp_path: Path) -> None:
        with small_disk(tmp_path / "disk", 12) as disk:
            destination, (made, given) = Destination(Config(path=disk / "x.duckdb")), counted("t")
            destination.ensure(made)
            destination.load(made, Load(FEED, 0, 1, 1, given))
            noise = pa.array([f"{n * 2654435761 % 2**64:x}" * 40 for n in range(100_000)])
            big = Rows(
                pa.table({"k": pa.array(range(100_000)), "v": noise, columns.INGESTED_AT: pa.array(range(100_000))})
            )
            with pytest.raises(EnvironmentProblem) as error:
                destination.load(made, Load(FEED, 1, 2, 1, big))
            assert error.value.code == "DISK_FULL"
            destination.close()
            again = Destination(Config(path=disk / "x.duckdb"))
            assert again.held(FEED, "t") == 1
            assert len(self.contents(again, "t")) == given.count
            again.load(made, Load(FEED, 1, 2, 1, given))
            again.close()

    def test_little_memory_is_enough_for_a_large_merge(self) -> None:
        destination = Destination(Config(path=self.path, memory_limit="100MB", threads=1))
        made = table("t", {"k": types.LONG, "v": types.VARCHAR}, key=("k",))
        destination.ensure(made)
        count = 200_000
        wide = pa.array([f"{n * 2654435761 % 2**64:016x}" * 30 for n in range(count)])
        given = Rows(pa.table({"k": pa.array(range(count)), "v": wide, columns.INGESTED_AT: pa.array(range(count))}))
        for segment in range(2):
            destination.load(made, Load(FEED, segment, segment + 1, 1, given))
        assert destination.query("SELECT count(*) AS n FROM t").to_pylist() == [{"n": count}]

    def test_rows_that_are_large_get_more_memory_unless_a_limit_is_set(self) -> None:
        made = table("t", {"k": types.LONG, "v": types.VARCHAR}, key=("k",))
        text = pa.array([f"{n}" + "x" * 1_000_000 for n in range(90)])
        given = Rows(pa.table({"k": pa.array(range(90)), "v": text, columns.INGESTED_AT: pa.array(range(90))}), 1)
        tight = Destination(Config(path=self.path, memory_limit="64MB"))
        tight.ensure(made)
        with pytest.raises(EnvironmentProblem) as error:
            tight.load(made, Load(FEED, 0, 1, 1, given))
        assert error.value.code == "memory" and "64MB" in error.value.message
        tight.close()
        free = Destination(Config(path=self.path))
        assert free.load(made, Load(FEED, 0, 1, 1, given)).inserted == 90
        assert free.query("SELECT count(*) AS n, sum(length(v)) AS bytes FROM t").to_pylist() == [
            {"n": 90, "bytes": 90_000_000 + 10 + 2 * 80}
        ]
        free.close()

    def test_a_file_of_an_older_format_takes_json_as_it_can(self) -> None:
        with duckdb.connect() as maker:
            maker.execute(f"ATTACH '{self.path}' AS old (STORAGE_VERSION 'v1.0.0')")
            maker.execute("CREATE TABLE old.mine (n INTEGER)")
        made = table("t", {"k": types.LONG, "v": types.JSON}, key=("k",))
        destination = Destination(Config(path=self.path))
        destination.ensure(made)
        given = Rows(pa.table({"k": [1, 2], "v": ['{"a":1}', None], columns.INGESTED_AT: [1, 1]}))
        assert destination.load(made, Load(FEED, 0, 1, 1, given)).inserted == 2
        destination.close()
