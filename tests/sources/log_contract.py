"""What every log that is followed must do, up to the rows at the destination. A source's own test is a ground, on which
the tests write and look, and a class that inherits one of these."""

from __future__ import annotations

import itertools
import os
import random
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Generator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from types import ModuleType
from typing import Any, Literal, TypeAlias

import pyarrow as pa
import pytest
from tests.engine.kit import Killed
from tests.sources.site import PIPELINE, Followed

from millrace.connect.source import Reading
from millrace.control.alerting import log_watch
from millrace.control.books import records
from millrace.control.books.ledger import Books
from millrace.control.pipeline import objects, positions
from millrace.control.running import runs
from millrace.destinations.duckdb.destination import Destination
from millrace.engine import ingest as ingesting
from millrace.engine.stage import Draft
from millrace.errors import MillraceError

Row: TypeAlias = tuple[int, str | None]
Mode: TypeAlias = Literal["merge", "append", "history"]


class Ground(ABC):
    """A system with tables of rows, each an id and a value, and a pipeline that follows its log into DuckDB.

    ``batch``: the module and the name of how many changes are handed on together; its ``CHECKPOINT_S`` is the time
    between checkpoints. ``bears``: errors with which a run may end beside a writer who takes tables away.
    """

    batch: tuple[ModuleType, str]
    bears: tuple[type[MillraceError], ...] = ()

    def __init__(self, site: Followed, source: type[Any], writer: Any) -> None:
        self.site, self.source, self.writer = site, source, writer

    # At the system.

    @abstractmethod
    def make(self, table: str) -> None:
        """A table that tells its rows apart by their ids."""

    @abstractmethod
    def insert(self, table: str, *rows: Row) -> None: ...

    @abstractmethod
    def change(self, table: str, id_: int, value: str) -> None: ...

    @abstractmethod
    def delete(self, table: str, id_: int) -> None: ...

    @abstractmethod
    def there(self, table: str) -> Sequence[Row]:
        """The rows that the system has, in order."""

    @abstractmethod
    def lose(self) -> None:
        """The log no longer reaches back to where the pipeline is, in which something has happened."""

    # At the destination.

    def here(self, table: str, *, deleted: bool = False) -> Sequence[Row]:
        """The rows that are not marked deleted, or those that are, in order."""
        return self.site.rows(table, "id, v", deleted=deleted)

    # Both.

    @abstractmethod
    def prepare(self) -> None:
        """The tables of the writer are there."""

    @abstractmethod
    def differences(self) -> dict[str, Any]:
        """What the sides do not have in common of the writer's tables."""

    @abstractmethod
    def dies_reading(self, patch: pytest.MonkeyPatch, after: int) -> None:
        """The process dies when it has heard so much of the log."""


def deadly(call: Callable[..., Any], left: list[int]) -> Callable[..., Any]:
    """The call, before or behind which the process dies when its number is up."""

    def called(*args: Any, **more: Any) -> Any:
        left[0] -= 1
        if left[0] == 0:
            raise Killed
        result = call(*args, **more)
        left[0] -= 1
        if left[0] == 0:
            raise Killed
        return result

    return called


def dying(told: Callable[..., Any], after: int) -> Callable[..., Any]:
    """What tells of the log one thing after the other, until the process dies."""

    def called(*args: Any, **more: Any) -> Generator[Any]:
        for number, one in enumerate(told(*args, **more)):
            if number == after:
                raise Killed
            yield one

    return called


def _begun(site: Followed) -> set[Any]:
    return {one.id for one in records.run_records(site.home, limit=1)}


def _staged(site: Followed) -> set[Any]:
    return {(folder, name) for folder, _, names in os.walk(site.home.stage_url) for name in names}


def _kept(site: Followed) -> set[Any]:
    return {(one.stream, one.lane, one.committed_at) for one in positions.listed(site.home, PIPELINE)}


# What a run leaves on its way: its record, files on the stage, positions.
SIGNS: tuple[Callable[[Followed], set[Any]], ...] = (_begun, _staged, _kept)


def killed(ground: Ground, sign: Callable[[Followed], set[Any]], after_s: float) -> bool:
    """A real process runs the pipeline and is killed so long after a new sign of it is there; whether that ended a run
    in progress."""
    before = sign(ground.site)
    process = subprocess.Popen(
        [sys.executable, "-m", "millrace", "run", PIPELINE, "--quiet"],
        env=os.environ | {"MILLRACE_HOME": str(ground.site.folder / "home")},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    while process.poll() is None and not sign(ground.site) - before:
        time.sleep(0.05)
    with suppress(subprocess.TimeoutExpired):
        process.wait(after_s)
    process.kill()
    _, said = process.communicate()
    assert process.returncode in (-9, 0, *(error.exit_code for error in ground.bears)), said.decode()
    (run,) = records.run_records(ground.site.home, limit=1)
    return process.returncode == -9 and run.ended_at is None


@contextmanager
def before_the_history(
    ground: Ground, monkeypatch: pytest.MonkeyPatch, happens: Callable[[], object]
) -> Generator[None]:
    """While the block runs: something happens when the position in the log is known, and no history was read yet."""
    read = ground.source.read

    def called(self: Any, reading: Reading) -> Any:
        if reading.lane == "historical":
            happens()
        return read(self, reading)

    with monkeypatch.context() as patch:
        patch.setattr(ground.source, "read", called)
        yield


class LogContract(ABC):
    """Tests for any log."""

    @abstractmethod
    @pytest.fixture
    def ground(self) -> Any:
        """A `Ground` with nothing on it."""

    @pytest.fixture
    def losing(self, ground: Ground) -> Ground:
        """One whose log may be lost: of a server of its own where the log of the other tests would go with it."""
        return ground

    @pytest.mark.spec("pipelines.22.6")
    def test_rows_come_change_and_go(self, ground: Ground) -> None:
        ground.make("pets")
        ground.insert("pets", (1, "Rex"), (2, "Tom"))
        ground.site.create()
        ground.site.run()
        assert ground.here("pets") == [(1, "Rex"), (2, "Tom")]
        ground.insert("pets", (3, "Ina"))
        ground.change("pets", 1, "Rexy")
        ground.delete("pets", 2)
        record = ground.site.run()
        assert ground.here("pets") == [(1, "Rexy"), (3, "Ina")]
        assert ground.here("pets", deleted=True) == [(2, "Tom")]
        assert record.balance.read == 3
        assert ground.site.run().balance.read == 0

    @pytest.mark.parametrize("mode", ["merge", "append"])
    def test_what_happens_between_the_position_and_the_history_is_neither_lost_nor_doubled(
        self, ground: Ground, monkeypatch: pytest.MonkeyPatch, mode: Mode
    ) -> None:
        ground.make("t")
        ground.insert("t", (1, "a"), (2, "b"))
        ground.site.create(mode)

        def happens() -> None:
            ground.insert("t", (3, "c"))
            ground.change("t", 1, "z")
            ground.delete("t", 2)

        with before_the_history(ground, monkeypatch, happens):
            ground.site.run()
        ground.site.run()
        if mode == "merge":
            assert ground.here("t") == [(1, "z"), (3, "c")]
            return
        # No row of an older state covers these, and none comes both by the history and by the log.
        counts = Counter(ground.here("t"))
        assert (counts[1, "z"], counts[3, "c"]) == (1, 1)

    def test_a_run_that_dies_at_any_point_loses_and_doubles_nothing(
        self, ground: Ground, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(*ground.batch, 2)
        monkeypatch.setattr(ground.batch[0], "CHECKPOINT_S", 0.0)
        monkeypatch.setattr(ingesting, "FLUSH_SECONDS", 0.0)
        ground.make("t")
        wanted: list[Row] = [(0, "first")]
        ground.insert("t", *wanted)
        ground.site.create("append")
        ground.site.run()
        # At its first commit or load, then at its second, until one runs through.
        point = 0
        for point in itertools.count(1):
            ground.insert("t", (point, "new"))
            ground.change("t", point, "changed")
            wanted += [(point, "new"), (point, "changed")]
            left = [point]
            with monkeypatch.context() as patch, suppress(Killed):
                patch.setattr(Books, "commit", deadly(Books.commit, left))
                patch.setattr(Destination, "load", deadly(Destination.load, left))
                ground.site.run()
            if left[0] > 0:
                break
        assert point > 4
        ground.site.run()
        assert Counter(map(self.appended, ground.here("t"))) == Counter(map(self.appended, wanted))

    @staticmethod
    def appended(row: Row) -> Row:
        """What is sure of an appended row."""
        return row

    def test_a_log_that_is_lost_is_told_and_one_command_mends_it(self, losing: Ground) -> None:
        losing.make("t")
        losing.insert("t", (1, "a"), (2, "b"))
        losing.site.create()
        losing.site.run()
        losing.delete("t", 1)
        losing.lose()
        with pytest.raises(MillraceError) as lost:
            losing.site.run()
        assert lost.value.code == "log_expired"
        assert "millrace resync --mode drop-and-load" in str(lost.value.hint)
        assert "log_expired" in losing.site.notes()
        statuses = {one.name: one.status for one in objects.listed(losing.site.home, PIPELINE)}
        assert set(statuses.values()) == {"LOG_EXPIRED"}
        assert {one.name for one in objects.listed(losing.site.home, PIPELINE, category="FAILED")} == statuses.keys()
        runs.resync(losing.site.home, PIPELINE, mode="drop-and-load")
        losing.insert("t", (9, "new"))
        losing.site.run()
        assert losing.here("t") == losing.there("t")
        assert {one.status for one in objects.listed(losing.site.home, PIPELINE)}.isdisjoint(objects.FAILED)

    @pytest.mark.timeout(1200)
    def test_both_sides_are_equal_when_real_processes_were_killed(self, ground: Ground, kills: int) -> None:
        ground.prepare()
        choose = random.Random(3)
        ground.writer.some(30)
        ground.site.create()
        with ground.writer.beside():
            died = [killed(ground, SIGNS[one % 3], choose.random() / 3) for one in range(max(kills - 1, 1))]
            with suppress(*ground.bears):
                ground.site.run()
        ground.site.run()
        assert any(died)
        assert ground.differences() == {}

    @pytest.mark.timeout(1200)
    @pytest.mark.spec("pipelines.22.6")
    def test_both_sides_are_equal_wherever_runs_died(
        self, ground: Ground, monkeypatch: pytest.MonkeyPatch, every_point: bool
    ) -> None:
        ground.prepare()
        choose = random.Random(1)
        ground.writer.some(30)
        monkeypatch.setattr(*ground.batch, 50)
        monkeypatch.setattr(ground.batch[0], "CHECKPOINT_S", 0.05)
        monkeypatch.setattr(ingesting, "FLUSH_SECONDS", 0.0)
        ground.site.create()
        died = 0
        with ground.writer.beside():
            for _ in range(20 if every_point else 4):
                with monkeypatch.context() as patch, suppress(*ground.bears):
                    patch.setattr(Books, "commit", deadly(Books.commit, [choose.randint(1, 12)]))
                    patch.setattr(Destination, "load", deadly(Destination.load, [choose.randint(1, 12)]))
                    ground.dies_reading(patch, choose.randint(1, 400))
                    try:
                        ground.site.run()
                    except Killed:
                        died += 1
        ground.site.run()
        assert died
        assert ground.differences() == {}
        assert ground.writer.count > 50


class SqlGround(Ground):
    """A database that speaks SQL. ``object``: how the pipeline calls a table."""

    def __init__(self, site: Followed, source: type[Any], writer: Any) -> None:
        super().__init__(site, source, writer)
        self.run = site.server.run

    def make(self, table: str) -> None:
        self.run(f"CREATE TABLE {table} (id int PRIMARY KEY, v varchar(100))")

    def insert(self, table: str, *rows: Row) -> None:
        self.run(*(f"INSERT INTO {table} VALUES ({id_}, '{value}')" for id_, value in rows))

    def change(self, table: str, id_: int, value: str) -> None:
        self.run(f"UPDATE {table} SET v = '{value}' WHERE id = {id_}")

    def delete(self, table: str, id_: int) -> None:
        self.run(f"DELETE FROM {table} WHERE id = {id_}")

    def there(self, table: str) -> Sequence[Row]:
        return self.run(f"SELECT id, v FROM {table} ORDER BY 1")

    def object(self, table: str) -> str:
        return table

    @abstractmethod
    def keyless(self, table: str) -> None:
        """A table without a key, whose deletes say all of the row."""

    @abstractmethod
    def widened(self, table: str, column: str) -> str:
        """The statement that makes a bigint of a column."""

    @abstractmethod
    def choice(self, table: str, column: str) -> Sequence[str]:
        """The statements that add a column for one of two words, sad or glad."""

    @abstractmethod
    def writing(self) -> AbstractContextManager[Callable[[str], object]]:
        """A connection of its own, of which nothing is kept until it says so."""

    @abstractmethod
    def kept_for_a_while(self) -> AbstractContextManager[None]:
        """The server keeps its log for a limited time, or of a limited size."""


class SqlLogContract(LogContract):
    """Tests for logs of databases that speak SQL."""

    def test_a_key_that_changes_is_another_row_and_what_has_no_key_is_appended(self, ground: SqlGround) -> None:
        ground.make("t")
        ground.insert("t", (1, "a"), (3, "c"))
        ground.keyless("loose")
        ground.insert("loose", (1, "a"), (2, "b"))
        ground.site.create()
        ground.site.run()
        ground.run("UPDATE t SET id = 30 WHERE id = 3")
        ground.change("loose", 1, "c")
        ground.delete("loose", 2)
        ground.insert("loose", (1, "c"))
        ground.site.run()
        assert ground.here("t") == [(1, "a"), (30, "c")]
        assert ground.here("t", deleted=True) == [(3, "c")]
        assert ground.here("loose") == [(1, "a"), (1, "c"), (1, "c"), (2, "b")]
        assert ground.here("loose", deleted=True) == [(2, "b")]

    def test_columns_come_and_go_between_changes(self, ground: SqlGround) -> None:
        ground.run("CREATE TABLE wide (id int PRIMARY KEY, a int, b text)", "INSERT INTO wide VALUES (1, 1, 'b')")
        ground.site.create()
        ground.site.run()
        ground.run(
            "UPDATE wide SET a = 2",
            "ALTER TABLE wide ADD COLUMN c decimal(8, 2)",
            "INSERT INTO wide VALUES (2, 2, 'b', 2.5)",
            ground.widened("wide", "a"),
            "INSERT INTO wide VALUES (3, 3000000000, 'b', 3.5)",
            "ALTER TABLE wide DROP COLUMN b",
            "INSERT INTO wide VALUES (4, 4, 4.5)",
            "ALTER TABLE wide RENAME COLUMN c TO d",
            "INSERT INTO wide VALUES (5, 5, 5.5)",
            *ground.choice("wide", "m"),
            "UPDATE wide SET m = 'glad' WHERE id = 5",
        )
        ground.site.run()
        assert ground.site.rows("wide", "id, a, b, c::text, d::text, m") == [
            (1, 2, "b", None, None, None),
            (2, 2, "b", "2.50", None, None),
            (3, 3_000_000_000, "b", "3.50", None, None),
            (4, 4, None, "4.50", None, None),
            (5, 5, None, None, "5.50", "glad"),
        ]

    def test_a_transaction_of_any_size_comes_whole_in_small_parts_when_it_has_ended(
        self, ground: SqlGround, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(*ground.batch, 20)
        sizes: list[int] = []
        added = Draft.add

        def add(self: Draft, stream: str, table: str, rows: pa.RecordBatch, version: int | None = None) -> None:
            sizes.append(rows.num_rows)
            added(self, stream, table, rows, version)

        monkeypatch.setattr(Draft, "add", add)
        ground.make("much")
        ground.site.create()
        ground.site.run()

        def fill(say: Callable[[str], object], first: int) -> None:
            for id_ in range(first, first + 100):
                say(f"INSERT INTO much VALUES ({id_}, 'v')")

        with ground.writing() as one, ground.writing() as other:
            for say, first in ((one, 1), (other, 5000)):
                say("BEGIN")
                fill(say, first)
            one("SAVEPOINT s")
            fill(one, 1000)
            one("ROLLBACK TO SAVEPOINT s")
            one("UPDATE much SET v = 'x' WHERE id = 7")
            assert ground.site.run().balance.read == 0
            other("ROLLBACK")
            one("COMMIT")
        sizes.clear()
        assert ground.site.run().balance.read == 101
        assert len(sizes) > 4
        assert max(sizes) <= 20
        assert ground.here("much") == [(id_, "x" if id_ == 7 else "v") for id_ in range(1, 101)]

    @pytest.mark.parametrize("mode", ["merge", "history"])
    def test_rows_that_a_truncation_took_before_a_history_that_is_read_again_do_not_stay(
        self, ground: SqlGround, monkeypatch: pytest.MonkeyPatch, mode: Mode
    ) -> None:
        ground.make("t")
        ground.insert("t", (1, "a"), (2, "b"))
        ground.site.create(mode)
        ground.site.run()

        def happens() -> None:
            ground.run("TRUNCATE TABLE t")
            ground.insert("t", (2, "new"), (9, "z"))

        with before_the_history(ground, monkeypatch, happens):
            ground.site.run(only=[ground.object("t")], forget=("historical",))
        ground.site.run()
        active = " AND __hevo__is_active" if mode == "history" else ""
        wanted = f"SELECT id, v FROM t WHERE NOT __hevo__marked_deleted{active} ORDER BY id"
        assert ground.site.query(wanted) == [(2, "new"), (9, "z")]

    def test_people_are_told_before_the_log_is_taken_away(
        self, losing: SqlGround, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        losing.make("t")
        losing.site.create()
        losing.site.run()
        with losing.kept_for_a_while():
            losing.insert("t", (1, "a"))
            losing.site.run()
            assert log_watch.CODE not in losing.site.notes()
            # More is left than of any log.
            monkeypatch.setattr(log_watch, "SOON", 2.0)
            losing.insert("t", (2, "b"))
            losing.site.run()
            assert log_watch.CODE in losing.site.notes()
