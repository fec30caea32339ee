"""Files through the whole of Millrace into a real table, and what the log says of each."""

from __future__ import annotations

import gzip
import io
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, BinaryIO

import pytest
from tests.sources.files.conftest import World

from millrace.connect.source import Slice
from millrace.control.connecting import connections
from millrace.control.failed import rejects
from millrace.control.failed.rejects import Choice
from millrace.control.pipeline import file_log
from millrace.control.running import runs
from millrace.engine.stage import Stage
from millrace.errors import ConfigError, EnvironmentProblem
from millrace.sources.files import parts
from millrace.sources.files.places import Folder, Found
from millrace.sources.files.source import Source


def test_each_folder_is_an_object_and_each_file_is_read_once(world: World) -> None:
    world.write("orders/a.csv", 'id,name\n1,"x, y"\n2,z\n')
    world.write("orders/deep/b.csv", "id,name\n3,w\n")
    world.write("people/p.jsonl", '{"id":1,"tags":["a", 1.50]}\n\n{"id":2}\n')
    world.write("top.csv", "n\n7\n")
    world.write("_SUCCESS", "")
    world.write(".hidden.csv", "n\n8\n")
    world.create()
    record = world.run()
    assert record.balance.even and record.balance.loaded == 6
    assert world.sql("SELECT id, name, __hevo_id FROM orders ORDER BY id") == [
        (1, "x, y", "orders/a.csv_1"),
        (2, "z", "orders/a.csv_2"),
        (3, "w", "orders/deep/b.csv_1"),
    ]
    assert world.sql("SELECT id, tags, __hevo_id FROM people ORDER BY id") == [
        (1, '["a", 1.50]', "people/p.jsonl_1"),
        (2, None, "people/p.jsonl_3"),
    ]
    ((n, at),) = world.sql("SELECT n, epoch_us(__hevo__source_modified_at) FROM data")
    assert (n, at) == (7, (world.folder / "top.csv").stat().st_mtime_ns // 1000)
    assert {path: (one.status, one.rows, one.stream) for path, one in world.log().items()} == {
        "orders/a.csv": ("ingested", 2, "orders"),
        "orders/deep/b.csv": ("ingested", 1, "orders"),
        "people/p.jsonl": ("ingested", 2, "people"),
        "top.csv": ("ingested", 1, "data"),
    }
    again = world.run()
    assert again.balance.read == 0
    assert {one.attempts for one in world.log().values()} == {1}


def test_a_changed_file_takes_the_place_of_its_rows(world: World) -> None:
    path = world.write("a.csv", "id,v\n1,a\n2,b\n")
    world.create()
    world.run()
    path.write_text("id,v\n1,A\n2,b\n3,c\n")
    world.write("b.csv", "id,v\n9,z\n")
    assert world.run().balance.read == 4
    assert world.sql("SELECT id, v FROM data ORDER BY id") == [(1, "A"), (2, "b"), (3, "c"), (9, "z")]
    assert (world.log()["a.csv"].attempts, world.log()["a.csv"].rows) == (2, 3)


def test_the_newest_file_wins_where_people_chose_a_key(world: World) -> None:
    for name, at, value in (("new.csv", 2000, "new"), ("old.csv", 1000, "old")):
        os.utime(world.write(name, f"id,v\n1,{value}\n"), (at, at))
    world.create(key=["id"])
    world.run()
    assert world.sql("SELECT id, v FROM data") == [(1, "new")]
    assert "__hevo_id" not in [name for name, *_ in world.sql("DESCRIBE data")]


def test_a_bad_row_is_a_reject_and_a_bad_file_fails_alone(world: World) -> None:
    world.write("a.csv", b"id,v\n1,a\n2\n3,\xff\n4,d\n")
    whole = gzip.compress(b"id,v\n" + b"".join(b"%d,x%d\n" % (n, random.getrandbits(60)) for n in range(20_000)))
    world.write("cut.csv.gz", whole[: len(whole) // 2])
    world.write("garbage.parquet", os.urandom(2000))
    world.write("garbage.csv.gz", os.urandom(2000))
    world.write("what.bin", b"?")
    world.write("good.jsonl", '{"id": 5, "v": "e"}\nnothing\n[1]\n{"id": 6, "v": "\\ud800"}\n')
    world.create()
    record = world.run()
    assert record.balance.even
    log = world.log()
    assert {path: one.status for path, one in log.items()} == {
        "a.csv": "ingested",
        "cut.csv.gz": "failed",
        "garbage.parquet": "failed",
        "garbage.csv.gz": "failed",
        "what.bin": "failed",
        "good.jsonl": "ingested",
    }
    assert (log["a.csv"].rows, log["a.csv"].rejected) == (2, 2)
    assert (log["good.jsonl"].rows, log["good.jsonl"].rejected) == (1, 3)
    assert "cut off" in (log["cut.csv.gz"].error or "")
    assert "ending" in (log["what.bin"].error or "")
    stage = Stage(world.home.stage_url)
    messages = [row.message for row in rejects.rows(world.home, stage, Choice("p"))]
    stage.close()
    assert any("row 2 of a.csv: it has 1 fields, not 2" in one for one in messages)
    assert any("row 3 of a.csv: it has bytes that are no text" in one for one in messages)
    assert any("row 2 of good.jsonl" in one for one in messages)
    # Nothing of that is tried again until the file is another one.
    assert world.run().balance.read == 0
    world.write("cut.csv.gz", whole)
    world.run()
    assert world.log()["cut.csv.gz"].status == "ingested"
    assert world.sql("SELECT count(*) FROM data WHERE __hevo_id LIKE 'cut%'") == [(20_000,)]


def test_people_have_files_skipped_read_again_and_taken_back(world: World) -> None:
    world.write("a.csv", "id\n1\n")
    world.write("b.csv", "id\n2\n")
    world.create()
    world.run()
    file_log.skip_files(world.home, "p", ["a.csv"])
    file_log.read_again(world.home, "p", ["b.csv"])
    world.write("a.csv", "id\n1\n11\n")
    assert world.run().balance.read == 1
    log = world.log()
    assert (log["a.csv"].status, log["b.csv"].status, log["b.csv"].attempts) == ("skipped", "ingested", 2)
    # The wish is fulfilled.
    assert world.run().balance.read == 0
    runs.resync(world.home, "p", mode="drop-and-load")
    world.run()
    assert world.sql("SELECT id FROM data") == [(2,)]
    assert world.log()["a.csv"].status == "skipped"
    file_log.unskip_files(world.home, "p", ["a.csv"])
    world.run()
    assert world.sql("SELECT id FROM data ORDER BY id") == [(1,), (2,), (11,)]


def test_a_file_that_vanished_is_gone_and_comes_back(world: World) -> None:
    path = world.write("a.csv", "id\n1\n")
    world.write("b.csv", "id\n2\n")
    world.create()
    world.run()
    path.unlink()
    world.run()
    assert {path: one.status for path, one in world.log().items()} == {"a.csv": "gone", "b.csv": "ingested"}
    assert world.sql("SELECT count(*) FROM data") == [(2,)]
    world.write("a.csv", "id\n3\n")
    world.run()
    assert world.log()["a.csv"].status == "ingested"
    assert world.sql("SELECT id FROM data ORDER BY id") == [(2,), (3,)]


def test_days_are_read_again_by_when_files_were_changed(world: World) -> None:
    for name, day in (("a.csv", 10), ("b.csv", 20)):
        at = datetime(2024, 5, day, 12, tzinfo=UTC).timestamp()
        os.utime(world.write(name, "id\n1\n"), (at, at))
    world.create()
    world.run()
    record = runs.reread(world.home, "p", [Slice(date(2024, 5, 15), date(2024, 5, 25))])
    assert record.balance.read == 1
    assert [world.log()[name].attempts for name in ("a.csv", "b.csv")] == [1, 2]
    assert world.run(since=date(2024, 5, 5)).balance.read == 2
    assert world.run().balance.read == 0


def test_a_column_that_turns_out_wider_keeps_what_the_file_said(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("millrace.sources.files.texts._BLOCK", 1 << 12)
    rows = [f"{n},{n % 7},0" for n in range(5000)] + ["007,1.5,x"]
    world.write("a.csv", "code,amount,word\n" + "\n".join(rows) + "\n")
    world.create()
    assert world.run().balance.even
    assert world.sql("SELECT code, amount, word FROM data WHERE __hevo_id = 'a.csv_5001'")[0][0] == "007"
    assert world.sql("SELECT code FROM data WHERE __hevo_id = 'a.csv_12'") == [("11",)]
    assert world.sql("SELECT sum(amount) FROM data")[0][0] == sum(n % 7 for n in range(5000)) + 1.5


def test_numbers_of_one_file_become_text_as_they_stand_in_it(world: World) -> None:
    for name, *values in (("a", "19.9", "5", "100.25"), ("b", "1.50", "12"), ("c", "n/a")):
        world.write(f"{name}.csv", "amount\n" + "\n".join(values) + "\n")
    world.create()
    assert world.run().balance.even
    found = world.sql("SELECT amount FROM data ORDER BY __hevo_id")
    assert [str(one) for (one,) in found] == ["19.9", "5", "100.25", "1.50", "12", "n/a"]


def test_a_file_that_grows_while_it_is_read_is_read_again(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("millrace.sources.files.texts._BLOCK", 1 << 12)
    lines = [f"{n},x" for n in range(3000)]
    path = world.write("a.csv", "id,v\n" + "\n".join(lines) + "\n29")
    world.create()
    real = Source._rows
    grown: list[int] = []

    def growing(self: Source, *more: Any) -> Iterator[Any]:
        if not grown:
            grown.append(1)
            with path.open("a") as file:
                file.write("99,x\n3000,x\n")
        yield from real(self, *more)

    monkeypatch.setattr(Source, "_rows", growing)
    world.run()
    assert world.log()["a.csv"].status == "queued"
    assert "changed while" in (world.log()["a.csv"].error or "")
    assert world.run().balance.even
    assert world.log()["a.csv"].status == "ingested"
    assert world.sql("SELECT count(*), max(id), count(DISTINCT __hevo_id) FROM data") == [(3002, 3000, 3002)]
    assert rejects.listed(world.home, Choice("p")) == []


def stop_in(world: World, name: str) -> None:
    """A run ends in the middle of that file."""
    with pytest.MonkeyPatch.context() as patch:
        real = Source._rows

        def stopping(self: Source, file: Any, *more: Any) -> Iterator[Any]:
            yield from real(self, file, *more)
            if file.found.path == name:
                self.context.stopping.set()

        patch.setattr(Source, "_rows", stopping)
        world.run()
    assert world.log()[name].status == "ingesting"


@pytest.fixture
def large(world: World, monkeypatch: pytest.MonkeyPatch) -> World:
    """A file that takes several parts."""
    monkeypatch.setattr("millrace.sources.files.texts._BLOCK", 1 << 12)
    world.write("a.csv", "id;v\n" + "".join(f"{n};{'y' * 20}\n" for n in range(3000)))
    return world


def settings(world: World, **config: Any) -> None:
    connections.change(world.home, "source", "in", config={"url": str(world.folder)} | config)


def test_a_file_in_whose_middle_settings_changed_begins_anew(large: World) -> None:
    large.create(delimiter=";", header=False)
    stop_in(large, "a.csv")
    settings(large, delimiter=";")
    large.run()
    assert large.log()["a.csv"].rows == 3000
    assert large.sql("SELECT count(*), count(DISTINCT id) FROM data WHERE v IS NOT NULL") == [(3000, 3000)]


def test_a_file_that_failed_is_tried_with_other_settings(world: World) -> None:
    world.write("a.csv", "id,v\n1,é\n".encode("utf-16"))
    world.create()
    assert world.run().status == "COMPLETED_WITH_FAILURES"
    assert world.run().status == "COMPLETED"
    assert (world.log()["a.csv"].status, world.log()["a.csv"].attempts) == ("failed", 1)
    settings(world, encoding="utf-16")
    world.run()
    assert (world.log()["a.csv"].status, world.log()["a.csv"].attempts) == ("ingested", 2)
    # What was read is not read again for it.
    settings(world, encoding="utf-8")
    assert world.run().balance.read == 0


def test_a_file_that_is_to_be_read_again_whole_is_not_gone_on_with(large: World) -> None:
    large.create(delimiter=";")
    stop_in(large, "a.csv")
    before = large.log()["a.csv"].rows
    file_log.read_again(large.home, "p", ["a.csv"])
    # That read may be stopped, too, and goes on.
    stop_in(large, "a.csv")
    assert large.log()["a.csv"].rows == before
    assert large.run().balance.read == 3000 - before
    assert large.log()["a.csv"].rows == 3000
    assert large.run().balance.read == 0


def test_a_file_that_was_begun_goes_on_where_it_was_though_others_came_between(large: World) -> None:
    large.create(delimiter=";", load_mode="append")
    stop_in(large, "a.csv")
    file_log.skip_files(large.home, "p", ["a.csv"])
    for name in ("b.csv", "c.csv"):
        large.write(name, "id;v\n9000;z\n")
        large.run()
    file_log.unskip_files(large.home, "p", ["a.csv"])
    large.run()
    assert large.log()["a.csv"].rows == 3000
    assert large.sql("SELECT count(*), count(DISTINCT __hevo_id) FROM data") == [(3002, 3002)]


def test_a_disk_that_was_away_brings_its_files_back_and_no_row_twice(large: World, tmp_path: Path) -> None:
    large.create(delimiter=";", load_mode="append")
    large.write("b.csv", "id;v\n9000;z\n")
    large.write("bad.parquet", "no parquet")
    large.run()
    large.write("c.csv", "id;v\n" + "".join(f"{n};{'z' * 20}\n" for n in range(5000, 8000)))
    stop_in(large, "c.csv")
    file_log.skip_files(large.home, "p", ["b.csv"])
    before = {path: (one.rows, one.ended_at) for path, one in large.log().items()}
    large.folder.rename(tmp_path / "away")
    large.folder.mkdir()
    for _ in range(2):
        large.run()
    assert {path: one.status for path, one in large.log().items()} == {
        "a.csv": "gone", "b.csv": "skipped", "bad.parquet": "gone", "c.csv": "gone",
    }  # fmt: skip
    large.folder.rmdir()
    (tmp_path / "away").rename(large.folder)
    assert large.run().balance.read == 3000 - before["c.csv"][0]
    log = large.log()
    assert {path: one.status for path, one in log.items()} == {
        "a.csv": "ingested", "b.csv": "skipped", "bad.parquet": "failed", "c.csv": "ingested",
    }  # fmt: skip
    assert log["a.csv"].rows == 3000 and log["a.csv"].ended_at == before["a.csv"][1]
    assert {one.gone_at for one in log.values()} == {None}
    assert large.sql("SELECT count(*), count(DISTINCT __hevo_id) FROM data") == [(6001, 6001)]
    (one,) = file_log.unskip_files(large.home, "p", ["b.csv"])
    assert one.status == "ingested"
    assert large.run().balance.read == 0


class _Broken(io.FileIO):
    """A file on a disk with a bad place."""

    def readinto(self, buffer: Any) -> int:
        if self.tell() >= 60_000:
            raise OSError(5, "Input/output error")
        return super().readinto(memoryview(buffer)[: min(len(buffer), 1 << 12)])


def test_a_bad_place_of_a_disk_fails_one_file_which_goes_on_behind_it(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("millrace.sources.files.lines._PIECE", 1 << 12)
    monkeypatch.setattr("millrace.sources.files.lines.ROWS", 500)
    world.create(load_mode="append", objects="one")
    world.write("a.jsonl", "".join(f'{{"id":{n},"v":"{"y" * 20}"}}\n' for n in range(3000)))
    world.write("b.jsonl", '{"id":9000}\n')
    real = Folder.open

    def broken(self: Folder, found: Found) -> BinaryIO:
        return io.BufferedReader(_Broken(found.key), 1 << 12) if found.path == "a.jsonl" else real(self, found)

    monkeypatch.setattr(Folder, "open", broken)
    for _ in range(2):
        assert world.run().status == "COMPLETED_WITH_FAILURES"
        one = world.log()["a.jsonl"]
        assert (one.status, 0 < one.rows < 3000) == ("failed", True)
        assert "Input/output error" in (one.error or "")
    assert world.log()["b.jsonl"].status == "ingested"
    monkeypatch.setattr(Folder, "open", real)
    world.run()
    assert world.log()["a.jsonl"].rows == 3000
    assert world.sql("SELECT count(*), count(DISTINCT __hevo_id) FROM data") == [(3001, 3001)]


def test_a_name_that_is_no_text_is_not_that_of_another_file(world: World) -> None:
    folder = os.fsencode(world.folder)
    for name, row in ((b"\xff.csv", b"1"), (b"\\xff.csv", b"2")):
        Path(os.fsdecode(folder + b"/" + name)).write_bytes(b"id\n" + row + b"\n")
    world.create()
    assert world.run().balance.read == 2
    assert world.sql("SELECT id, __hevo_id FROM data ORDER BY id") == [(1, "\\xff.csv_1"), (2, "\\\\xff.csv_1")]
    assert world.run().balance.read == 0


def test_a_folder_that_vanished_is_gone_with_its_files(world: World) -> None:
    world.write("orders/a.csv", "id\n1\n")
    world.write("people/p.csv", "id\n2\n")
    world.create()
    world.run()
    (world.folder / "orders").rename(world.folder / "_orders")
    for _ in range(2):
        record = world.run()
        assert (record.balance.read, record.status) == (0, "COMPLETED")
    assert {path: one.status for path, one in world.log().items()} == {
        "orders/a.csv": "gone",
        "people/p.csv": "ingested",
    }
    assert world.sql("SELECT id FROM orders") == [(1,)]
    with pytest.raises(ConfigError, match="is gone"):
        file_log.read_again(world.home, "p", ["orders/a.csv"])
    (world.folder / "_orders").rename(world.folder / "orders")
    assert world.run().balance.read == 0
    assert world.log()["orders/a.csv"].status == "ingested"
    # The same files as one object: those of the objects before are gone, and no row of the log stands in the way.
    settings(world, objects="one")
    world.run()
    (again,) = file_log.read_again(world.home, "p", ["orders/a.csv"])
    assert again.stream == "data"
    assert world.run().balance.read == 1


KILLED = """
import sys
from pathlib import Path
import millrace.engine.ingest as ingest
import millrace.sources.files.texts as texts
from millrace.control.running import runs
from millrace.control.home import Home
from millrace.control.books.ledger import Books
texts._BLOCK = 1 << 16
ingest.FLUSH_SECONDS = 0.0
commit = Books.commit
def told(*args, **more):
    commit(*args, **more)
    print("committed", flush=True)
Books.commit = told
with Home.open(Path(sys.argv[1]), env={}) as home:
    runs.run(home, "p")
"""


def test_a_run_that_is_killed_in_the_middle_of_a_large_file_leaves_the_same_rows(world: World) -> None:
    rows = 200_000
    with (world.folder / "large.csv").open("w") as file:
        file.write("id,a,b,c\n")
        file.writelines(f"{n},text {n},{n * 3},\n" for n in range(rows))
    world.create(load_mode="append")
    chance = random.Random(7)
    for commits in (1, 2, 5):
        with subprocess.Popen([sys.executable, "-c", KILLED, str(world.home.path)], stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            for _ in range(commits):
                assert process.stdout.readline() == b"committed\n"
            time.sleep(chance.random() / 20)
            process.send_signal(signal.SIGKILL)
    assert 0 < world.log()["large.csv"].rows < rows
    assert world.run().balance.read < rows
    # In append mode nothing at the destination would hide a row that came twice.
    assert world.sql("SELECT count(*), count(DISTINCT id), sum(id), sum(b) FROM data") == [
        (rows, rows, rows * (rows - 1) // 2, 3 * rows * (rows - 1) // 2)
    ]
    one = world.log()["large.csv"]
    assert (one.status, one.rows, one.attempts) == ("ingested", rows, 4)


def test_a_file_that_may_not_be_read_is_tried_with_each_run(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.write("a.csv", "id\n1\n")
    world.write("b.csv", "id\n2\n")
    world.create()
    real = Folder.open

    def refuses(self: Folder, found: Found) -> BinaryIO:
        if found.path == "a.csv":
            raise PermissionError(13, "Permission denied", found.key)
        return real(self, found)

    monkeypatch.setattr(Folder, "open", refuses)
    assert world.run().balance.read == 1
    assert (world.log()["a.csv"].status, world.log()["a.csv"].error) == ("failed", "this user may not read it")
    world.run()
    assert world.log()["a.csv"].attempts == 2

    def broken(self: Folder, found: Found) -> BinaryIO:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(Folder, "open", broken)
    with pytest.raises(EnvironmentProblem, match="Too many open files"):
        world.run()
    monkeypatch.undo()
    world.run()
    assert world.log()["a.csv"].status == "ingested"
    assert world.sql("SELECT id FROM data ORDER BY id") == [(1,), (2,)]


def test_columns_are_told_apart_by_their_letters() -> None:
    assert parts.letters(0) == "A" and parts.letters(26) == "AA"
    assert parts.distinct(["a", "a", "", "a_B", ""]) == ["a", "a_B_B", "column", "a_B", "column_E"]


def test_a_folder_that_is_not_there_is_told(world: World, tmp_path: Path) -> None:
    source = Source(Source.Config(url=str(tmp_path / "nowhere")))
    (verdict,) = source.check()
    assert verdict.state == "fail" and "no folder" in verdict.message
    world.write("a.csv", "x,y\n1,2\n")
    world.write("a.bin", "x")
    source = Source(Source.Config(url=str(world.folder)))
    assert [one.state for one in source.check()] == ["pass", "warn", "pass"]
