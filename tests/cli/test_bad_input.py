"""What goes wrong around a run is told with what, where and how to mend it; nothing that was loaded is harmed."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import pytest
from tests.cli.asking import Asked, ask
from tests.cli.conftest import ACCOUNT, Shop, shift_s
from tests.postgres import Database

from millrace.engine import loading


def rows(shop: Shop) -> int:
    with duckdb.connect(str(shop.folder / "warehouse.duckdb"), read_only=True) as connection:
        found = connection.execute("SELECT count(*) FROM events").fetchone()
    assert found is not None
    return found[0]


def told(asked: Asked, exit_code: int, *words: str) -> None:
    """The error has its exit code, says these words, and what to do."""
    assert asked.code == exit_code, asked
    said = asked.out + asked.err
    for word in words:
        assert word in said, said
    assert "→" in said, said
    assert "Traceback" not in said


def again(shop: Shop, *words: str) -> Asked:
    """A run that has something to load: days read once more are merged again."""
    return shop.ask("run", "clevertap", "--since", "2026-03-01", *words)


def test_a_wrong_region_is_told_with_the_regions_that_there_are(fresh: Shop):
    fresh.file.write_text(fresh.file.read_text().replace("timezone:", "region: Mars\n        timezone:"))
    told(fresh.ask("run", fresh.file), 2, "Mars", "EU", "region")
    assert not (fresh.folder / "warehouse.duckdb").exists()


def test_a_missing_variable_is_told_by_name_and_line(fresh: Shop):
    asked = ask("run", fresh.file, home=fresh.home, env={"MILLRACE_CLOCK_SHIFT_S": shift_s()})
    told(asked, 2, "CLEVERTAP_PASSCODE", "pipelines.yaml:9")


def test_a_warehouse_that_cannot_be_written_is_told_by_path(fresh: Shop):
    (fresh.folder / "file").write_text("")
    fresh.file.write_text(fresh.file.read_text().replace("./warehouse.duckdb", "./file/warehouse.duckdb"))
    told(fresh.ask("run", fresh.file), 2, "/file of the DuckDB file", "path")
    fresh.file.write_text(fresh.file.read_text().replace("./file/warehouse.duckdb", "/proc/warehouse.duckdb"))
    told(fresh.ask("run", fresh.file), 2, "/proc/warehouse.duckdb", "path")
    # Nothing was read for it.
    assert fresh.ask("runs", "--json").json[0]["status"] == "FAILED"
    assert {run["balance"]["read"] for run in fresh.ask("runs", "--json").json} == {0}
    fresh.file.write_text(fresh.file.read_text().replace("/proc/warehouse.duckdb", "./warehouse.duckdb"))
    assert fresh.ask("run", fresh.file).code == 0
    assert rows(fresh) > 1000


@contextmanager
def held_by_another(shop: Shop) -> Iterator[int]:
    """Another process, of this id, has the warehouse open; the pipeline does not wait for it."""
    text = shop.file.read_text().replace("path: ./warehouse.duckdb}", "path: ./warehouse.duckdb, lock_timeout_s: 0}")
    shop.file.write_text(text)
    hold = "import duckdb, sys; c = duckdb.connect(sys.argv[1]); print('held', flush=True); sys.stdin.read()"
    holder = subprocess.Popen(
        [sys.executable, "-c", hold, str(shop.folder / "warehouse.duckdb")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        assert holder.stdout is not None
        holder.stdout.readline()
        yield holder.pid
    finally:
        holder.communicate()


def test_a_locked_warehouse_is_told_with_the_process_that_holds_it_and_what_was_read_waits(fresh: Shop):
    with held_by_another(fresh) as holder:
        told(fresh.ask("run", fresh.file), 3, "warehouse.duckdb", str(holder))
    waiting = fresh.ask("status", "--json").json[0]["waiting_rows"]
    assert waiting > 1000
    assert fresh.ask("load").code == 0
    assert rows(fresh) == waiting


@contextmanager
def cutting(database: Database) -> Iterator[None]:
    """The server ends every connection that writes into the table, in the middle of the statement."""
    cut = "CREATE FUNCTION cut() RETURNS trigger LANGUAGE plpgsql AS"
    body = "$$BEGIN PERFORM pg_terminate_backend(pg_backend_pid()); RETURN NEW; END$$"
    each = "CREATE TRIGGER cut BEFORE INSERT OR UPDATE ON events FOR EACH ROW EXECUTE FUNCTION cut()"
    database.run(f"{cut} {body}", each)
    try:
        yield
    finally:
        database.run("DROP FUNCTION cut CASCADE")


def test_a_postgresql_that_goes_away_leaves_rows_staged_and_the_next_run_loads_them(
    fresh: Shop, database: Database, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(loading, "LOAD_WAITS_S", (0.0,))
    settings = database.settings()
    monkeypatch.setenv("PGPASS", settings["db_password"] or "none")
    text = fresh.file.read_text().replace(
        "{type: duckdb, config: {path: ./warehouse.duckdb}}",
        f"{{type: postgres, config: {{db_host: {settings['db_host']}, db_port: 1, db_name: {settings['db_name']}, "
        f"db_user: {settings['db_user']}, db_password: '${{PGPASS:-none}}', connect_timeout_s: 1}}}}",
    )
    fresh.file.write_text(text)
    asked = fresh.ask("run", fresh.file)
    told(asked, 3, "PostgreSQL")
    waiting = fresh.ask("status", "--json").json[0]
    assert waiting["waiting_rows"] > 1000
    fresh.file.write_text(text.replace("db_port: 1,", f"db_port: {settings['db_port']},"))
    assert fresh.ask("run", fresh.file).code == 0
    everything = "SELECT count(*), count(DISTINCT __hevo_id), max(__hevo__loaded_at) FROM events"
    before = database.run(everything)
    assert before[0][0] == before[0][1] > 1000
    with cutting(database):
        told(again(fresh), 3, "PostgreSQL")
        assert database.run(everything) == before, "nothing that was loaded is harmed"
        assert fresh.ask("status", "--json").json[0]["waiting_rows"] > 0
    database.run("DELETE FROM events WHERE ts > '2026-03-10'")  # what waits has them
    assert fresh.ask("load").code == 0
    assert fresh.ask("status", "--json").json[0]["waiting_rows"] == 0
    assert database.run("SELECT count(*), count(DISTINCT __hevo_id) FROM events") == [before[0][:2]]


@pytest.mark.parametrize("how", [(), ("--since", "2026-03-01"), ("--full",)])
def test_an_object_that_is_none_is_told_before_there_is_a_run(shop: Shop, how: tuple[str, ...]):
    before = shop.ask("runs", "--json").json
    told(shop.ask("run", "clevertap", "--only", "Nope", *how), 2, "Nope", "Events")
    assert shop.ask("runs", "--json").json == before


def test_a_clock_that_went_back_is_told_and_no_row_is_taken_for_old(fresh: Shop):
    assert fresh.ask("run", fresh.file).code == 0
    before = rows(fresh)
    an_hour_back = str(float(shift_s()) - 3600)
    env = {"CLEVERTAP_PASSCODE": ACCOUNT.passcode, "MILLRACE_CLOCK_SHIFT_S": an_hour_back}
    asked = ask("run", "clevertap", "--since", "2026-03-01", home=fresh.home, env=env)
    assert asked.code == 0, asked
    assert "clock" in asked.out + asked.err
    record = fresh.ask("runs", "--limit", "1", "--json").json[0]
    assert record["load"].get("stale", 0) == 0
    assert rows(fresh) == before


def test_days_that_could_not_be_read_are_told_as_a_failure(fresh: Shop):
    fresh.simulator.faults.set([{"effect": "stuck_cursor", "step": "page", "event": "Charged"}])
    try:
        asked = fresh.ask("run", fresh.file)
    finally:
        fresh.simulator.faults.clear()
    assert asked.code == 1
    assert "✗ 'Charged', 2026-02-12 to 2026-03-14, not read to the end" in asked.out, asked
    assert fresh.ask("run", "clevertap").code == 0


def test_a_clock_that_cannot_be_set_apart_is_told_before_there_is_a_run(shop: Shop):
    before = shop.ask("runs", "--json").json
    env = {"CLEVERTAP_PASSCODE": ACCOUNT.passcode, "MILLRACE_CLOCK_SHIFT_S": "an hour"}
    assert ask("run", "clevertap", home=shop.home, env=env).code == 2
    assert shop.ask("runs", "--json").json == before


def test_a_stage_that_cannot_be_written_is_told_and_nothing_is_harmed(fresh: Shop):
    assert fresh.ask("run", fresh.file).code == 0
    before = rows(fresh)
    (fresh.folder / "blocked").write_text("")
    env = fresh.env | {"MILLRACE_STAGE": str(fresh.folder / "blocked" / "stage")}
    told(ask("run", "clevertap", "--since", "2026-03-01", home=fresh.home, env=env), 3, "blocked/stage")
    assert rows(fresh) == before


def test_a_full_stage_is_told_and_the_next_run_goes_on(fresh: Shop):
    script = (
        "import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, 40_000));"
        "from millrace.cli.main import main; sys.exit(main(sys.argv[1:]))"
    )
    # The home and the warehouse are there already, so the limit meets the stage's files only.
    assert fresh.ask("init").code == 0
    ended = subprocess.run(
        [sys.executable, "-c", script, "run", str(fresh.file), "--home", str(fresh.home), "--quiet"],
        env=os.environ | fresh.env | {"MILLRACE_DATABASE_URL": f"sqlite:///{fresh.folder}/books.db"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 3, ended
    assert "stage" in ended.stdout + ended.stderr
    assert "→" in ended.stdout + ended.stderr
    assert "Traceback" not in ended.stderr
    assert fresh.ask("run", fresh.file).code == 0
    assert rows(fresh) > 1000


def test_a_staged_file_that_was_tampered_with_is_not_loaded(fresh: Shop):
    with held_by_another(fresh):
        assert fresh.ask("run", fresh.file).code == 3
    staged = sorted((fresh.home / "stage").rglob("*.arrow"))
    assert staged
    for file in staged:
        content = bytearray(file.read_bytes())
        content[len(content) // 2] ^= 0xFF
        file.write_bytes(content)
    told(fresh.ask("run", fresh.file), 3, "checksum", "resync")
    with duckdb.connect(str(fresh.folder / "warehouse.duckdb"), read_only=True) as connection:
        tables = [name for (name,) in connection.execute("SELECT table_name FROM duckdb_tables()").fetchall()]
        loaded = connection.execute("SELECT count(*) FROM events").fetchone() if "events" in tables else (0,)
    assert loaded == (0,)
    assert fresh.ask("run", "clevertap", "--full").code == 0
    assert rows(fresh) > 1000


def test_a_resync_gives_up_a_damaged_file_and_reads_its_rows_again(fresh: Shop):
    with held_by_another(fresh):
        assert fresh.ask("run", fresh.file).code == 3
    whole = fresh.ask("status", "--json").json[0]["waiting_rows"]
    damaged = max((fresh.home / "stage").rglob("*.arrow"), key=lambda file: file.stat().st_size)
    damaged.write_bytes(damaged.read_bytes()[:-100])
    told(fresh.ask("load"), 3, "checksum", "resync")
    asked = fresh.ask("resync", "clevertap")
    assert asked.code == 0, asked
    assert "damaged" in asked.out + asked.err
    assert rows(fresh) == whole
    runs = fresh.ask("runs", "--json").json
    assert all(run["balance"]["even"] for run in runs)
    assert fresh.ask("status", "--json").json[0]["waiting_rows"] == 0


def test_a_control_database_of_a_newer_millrace_is_left_alone(fresh: Shop):
    assert fresh.ask("run", fresh.file).code == 0
    before = rows(fresh)
    database = fresh.home / "millrace.db"
    with sqlite3.connect(database) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    held = database.read_bytes()
    told(fresh.ask("run", "clevertap"), 3, "newer", "upgrade")
    assert database.read_bytes() == held
    assert rows(fresh) == before


@pytest.mark.parametrize("text", ["", "[]", "pipelines: {", "pipelines:\n\t- x", "\x00"])
def test_a_file_that_is_none_is_told(tmp_path: Path, text: str):
    file = tmp_path / "pipelines.yaml"
    file.write_text(text)
    asked = ask("run", file, home=tmp_path / "home")
    assert asked.code == 2, asked
    assert "pipelines.yaml" in asked.out + asked.err


def test_the_moment_of_the_tests_is_the_simulators(fresh: Shop):
    shifted = datetime.now(UTC).timestamp() + float(shift_s())
    assert abs(shifted - fresh.simulator.clock.now().timestamp()) < 5
