"""Each line that keeps an invariant has a test that fails without it: here the lines are taken out, one at a time."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
INVARIANTS = "tests/engine/test_invariants.py::"


@dataclass(frozen=True)
class Mutation:
    """A line of a file that is weakened, and the test that must fail then."""

    file: str
    old: str
    new: str
    test: str


MUTATIONS = {
    "I1 cursor in a transaction of its own": Mutation(
        "control/books/ledger.py",
        "        with self._entry() as entry:\n            for file in commit.staying:\n",
        "        with self._entry() as entry:\n            commits.keep_cursor(entry, commit)\n"
        "        with self._entry() as entry:\n            for file in commit.staying:\n",
        INVARIANTS + "test_i1_a_cursor_comes_with_its_rows_rejects_marks_and_mapping_or_not_at_all",
    ),
    "I1 staged files not synced": Mutation(
        "engine/stage.py",
        "os.fsync(file.fileno())  # I1",
        "pass",
        "tests/engine/test_stage.py::test_every_staged_file_is_synced_with_its_folder_before_it_counts",
    ),
    "I1 commits not synced": Mutation(
        "control/database/db.py",
        "PRAGMA synchronous=FULL",
        "PRAGMA synchronous=NORMAL",
        "tests/control/test_db.py::test_a_commit_is_durable_and_readers_do_not_wait",
    ),
    "I2 commit between checkpoints": Mutation(
        "engine/ingest.py",
        "                meter.read += count\n",
        "                meter.read += count\n                if due():\n                    commit()\n",
        INVARIANTS + "test_i2_nothing_is_committed_between_two_checkpoints",
    ),
    "I2 rows behind the checkpoint committed by an error": Mutation(
        "engine/ingest.py",
        "if pending.checkpointed and not pending.loose and not whole:  # I2",
        "if pending.checkpointed and not whole:",
        INVARIANTS + "test_i2_an_error_behind_rows_commits_none_of_them",
    ),
    "I2 rows behind the checkpoint": Mutation(
        "engine/ingest.py",
        "pending.loose = True  # I2",
        "pass",
        INVARIANTS + "test_i2_an_error_behind_rows_commits_none_of_them",
    ),
    "I3 the number in a transaction of its own": Mutation(
        "connect/sql/destination.py",
        "            self._note(table, load)  # I3\n",
        "        with self.transaction():\n            self._note(table, load)\n",
        INVARIANTS + "test_i3_rows_and_the_number_of_their_segment_go_together",
    ),
    "I3 our own note believed": Mutation(
        "engine/load.py",
        "held = holding.segment if holding else None  # I3",
        "held = shelved.loaded or None",
        INVARIANTS + "test_i3_after_a_crash_the_destinations_number_counts_not_ours",
    ),
    "I3 any segment of that number taken for ours": Mutation(
        "engine/load.py",
        "    if held.staged_file is None:\n        return False\n",
        "    return False\n",
        "tests/engine/test_restored_books.py::test_rows_under_a_number_that_was_given_before_are_not_taken_for_loaded",
    ),
    "I4 lease not asked at a commit": Mutation(
        "control/books/ledger.py",
        "confirm(connection, self._lease, now + timedelta(seconds=LEASE_S))  # I4",
        "pass",
        INVARIANTS + "test_i4_a_worker_that_lost_its_lease_commits_nothing",
    ),
    "I4 lease not asked at a position": Mutation(
        "control/pipeline/positions.py",
        "leases.confirm(connection, lease, expires_at)  # I4",
        "pass",
        INVARIANTS + "test_i4_who_lost_the_lease_sets_no_position",
    ),
    "I4 lease not asked at an edit of a mapping": Mutation(
        "control/mapper/mapping_plans.py",
        "leases.confirm(connection, lease, home.database.now() + timedelta(seconds=leases.LEASE_S))  # I4",
        "pass",
        INVARIANTS + "test_i4_who_lost_the_lease_edits_no_mapping",
    ),
    "I4 lease not asked before the end of a table": Mutation(
        "control/mapper/mappings.py",
        "lease.renew()  # I4",
        "pass",
        INVARIANTS + "test_i4_who_lost_the_lease_deletes_no_table",
    ),
    "I4 lease not asked behind the end of a table": Mutation(
        "control/mapper/mappings.py",
        "leases.confirm(connection, lease, home.database.now() + timedelta(seconds=leases.LEASE_S))  # I4",
        "pass",
        INVARIANTS + "test_i4_who_loses_the_lease_while_a_table_goes_deletes_none_from_the_books",
    ),
    "I4 lease not asked before a reset": Mutation(
        "control/running/runs.py",
        "ours.books.confirm()  # I4",
        "pass",
        INVARIANTS + "test_i4_who_lost_the_lease_drops_no_table_in_a_reset",
    ),
    "I4 lease not asked when a clock is set back": Mutation(
        "control/scheduling/set_back.py",
        "leases.confirm(connection, lease, longest)  # I4",
        "pass",
        "tests/control/test_set_back.py::test_who_lost_the_schedulers_lease_moves_nothing",
    ),
    "I4 any load taken": Mutation(
        "connect/sql/destination.py",
        "if holds != load.after:",
        "if False:",
        INVARIANTS + "test_i4_a_late_load_is_refused",
    ),
    "I4 any load taken into a folder": Mutation(
        "destinations/folder/destination.py",
        "if holds != load.after:",
        "if False:",
        "tests/contract/test_folder.py::TestJSONLines::test_a_load_that_does_not_follow_is_refused",
    ),
    "I5 balance not asked": Mutation(
        "control/books/ledger.py",
        "commits.balanced(commit)  # I5",
        "pass",
        INVARIANTS + "test_i5_a_commit_that_does_not_balance_is_not_taken",
    ),
    "I5 refused rows not parked": Mutation(
        "engine/load.py",
        "shelf.park(shelved.mapping.table, shelved.generation, load.upto, [parked])  # I5",
        "pass",
        INVARIANTS + "test_i5_a_run_accounts_for_every_row",
    ),
    "I5 misfits not kept": Mutation(
        "engine/entering.py",
        "way.draft.reject(refused)  # I5",
        "pass",
        INVARIANTS + "test_i5_a_run_accounts_for_every_row",
    ),
    "I6 misfits become null": Mutation(
        "engine/shaping.py",
        "self.misfits.setdefault(row, (code, text))  # I6",
        "pass",
        "tests/engine/test_sync.py::test_without_auto_mapping_what_does_not_fit_is_rejected",
    ),
    "I6 staged values not asked": Mutation(
        "engine/staged_rows.py",
        "if casted.bad is not None:",
        "if False:",
        INVARIANTS + "test_i6_staged_values_that_do_not_fit_are_not_loaded_as_something_else",
    ),
    "I7 errors as they are": Mutation(
        "control/running/crews.py",
        "redact(known.message, hidden)",
        "known.message",
        INVARIANTS + "test_i7_no_secret_is_in_an_error_a_note_a_log_or_a_file",
    ),
    "I7 errors shown further up as they are": Mutation(
        "control/running/crews.py",
        "error.message, error.hint, error.args = problem.message, problem.hint, (problem.message,)",
        "pass",
        INVARIANTS + "test_i7_no_secret_is_in_an_error_a_note_a_log_or_a_file",
    ),
    "I7 what cannot be sent told as the library tells it": Mutation(
        "connect/http/client.py",
        "        except (ValueError, http.client.InvalidURL):\n            # What it says may hold a secret (I7).\n",
        "        except KeyError:\n",
        "tests/connect/http/test_client.py::"
        "test_what_cannot_be_sent_is_told_without_the_secrets_that_it_holds[headers0-/]",
    ),
    "I8 swap not recognised": Mutation(
        "engine/load.py",
        "if held is None or _strange(held, shelved, shelf):  # I8",
        "if True:",
        "tests/engine/test_sync.py::test_a_crash_after_the_swap_does_not_load_the_whole_table_again",
    ),
}


# Imports once what the tests need and what is not ours; then each line that it reads is a run in a child of its own.
RUNNER = """
import gc, importlib, json, os, sys
for name in ("numpy", "pyarrow.compute", "pyarrow.parquet", "duckdb", "sqlalchemy.dialects.sqlite", "alembic",
             "pydantic.main", "httpx", "orjson", "msgspec", "yaml", "cryptography.x509", "psycopg", "bcrypt", "xxhash",
             "bson", "pymongo", "pymysql", "playwright.sync_api", "anyio.pytest_plugin", "hypothesis",
             "_hypothesis_pytestplugin", "xdist.plugin", "pytest_timeout", "pytest", "pdb"):
    importlib.import_module(name)
import pytest
gc.freeze()
for line in sys.stdin:
    run = json.loads(line)
    child = os.fork()
    if not child:
        sys.dont_write_bytecode = not run["cached"]
        out = os.open(run["out"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(out, 1)
        os.dup2(out, 2)
        known = "-Wignore::pytest.PytestAssertRewriteWarning"  # modules that are imported already
        code = pytest.main(["-q", "-x", "--tb=line", known, *run["tests"]])
        sys.stdout.flush()
        os._exit(code)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


@dataclass(frozen=True)
class Done:
    """How a run of tests ended, and what it said."""

    code: int
    said: str


class Copy:
    """The source code elsewhere, and tests run on it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "src"
        shutil.copytree(ROOT / "src", self.folder, ignore=shutil.ignore_patterns("*.pyc.*"))
        self._out = folder / "out"
        path = os.pathsep.join([str(self.folder), str(ROOT)])
        env = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "MILLRACE"))}
        self._runner = subprocess.Popen(
            [sys.executable, "-c", RUNNER],
            cwd=ROOT, env=env | {"PYTHONPATH": path}, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip

    def run(self, *tests: str, cached: bool = True) -> Done:
        assert self._runner.stdin is not None
        assert self._runner.stdout is not None
        self._runner.stdin.write(json.dumps({"tests": tests, "cached": cached, "out": str(self._out)}) + "\n")
        self._runner.stdin.flush()
        code = int(self._runner.stdout.readline())
        return Done(code, self._out.read_text(encoding="utf-8"))

    def close(self) -> None:
        assert self._runner.stdin is not None
        assert self._runner.stdout is not None
        self._runner.stdin.close()
        self._runner.wait()
        self._runner.stdout.close()


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Copy]:
    made = Copy(tmp_path_factory.mktemp("mutated"))
    done = made.run(*sorted({mutation.test for mutation in MUTATIONS.values()}))
    assert done.code == 0, f"without any change: {done.said[-2000:]}"
    yield made
    made.close()


@pytest.mark.parametrize("name", MUTATIONS)
def test_a_line_that_keeps_an_invariant_is_missed(copy: Copy, name: str):
    mutation = MUTATIONS[name]
    file = copy.folder / "millrace" / mutation.file
    whole = file.read_text(encoding="utf-8")
    assert whole.count(mutation.old) == 1, f"{mutation.file} has the line {whole.count(mutation.old)} times"
    stat = file.stat()
    try:
        file.write_text(whole.replace(mutation.old, mutation.new), encoding="utf-8")
        done = copy.run(mutation.test, cached=False)
    finally:
        file.write_text(whole, encoding="utf-8")
        os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert done.code == 1, f"{mutation.test} does not see it: {done.said[-2000:]}"
    assert "1 failed" in done.said, done.said[-2000:]
    assert "SyntaxError" not in done.said


def test_the_mutated_code_is_what_runs(copy: Copy):
    where = "import millrace; print(millrace.__file__)"
    env = os.environ | {"PYTHONPATH": str(copy.folder)}
    done = subprocess.run([sys.executable, "-c", where], env=env, capture_output=True, text=True, check=True)
    assert done.stdout.strip().startswith(str(copy.folder))
