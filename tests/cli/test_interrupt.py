"""Ctrl-C and kill, on real processes: nothing is lost and nothing is doubled."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest
from tests.cli.asking import spawn
from tests.cli.conftest import ACCOUNT, NOW, Shop, opened
from tests.cli.test_commands import truth

from millrace.simulators.clevertap import Settings, Simulator
from millrace.simulators.clevertap.config import Latency


@pytest.fixture(scope="module")
def slow_simulator() -> Iterator[Simulator]:
    latency = Latency(open=(10, 20), page=(30, 40))
    with Simulator(Settings.plain(ACCOUNT, now=NOW, latency_ms=latency), port=0) as simulator:
        yield simulator


@pytest.fixture
def slow(slow_simulator: Simulator, tmp_path: Path) -> Shop:
    return opened(slow_simulator, tmp_path)


def begun(shop: Shop, *words: str | Path, requests: int = 25) -> subprocess.Popen[str]:
    """The command, when the simulator has served it some pages."""
    before = len(shop.simulator.journal())
    process = spawn(*words, "--home", shop.home, cwd=shop.folder, env=shop.env)
    while len(shop.simulator.journal()) < before + requests:
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
    return process


def rows(shop: Shop) -> int:
    with duckdb.connect(str(shop.folder / "warehouse.duckdb"), read_only=True) as database:
        (found,) = database.execute("SELECT count(*), count(DISTINCT __hevo_id) FROM events").fetchall()
    assert found[0] == found[1]
    return found[0]


def assert_whole_after_another_run(shop: Shop) -> None:
    asked = shop.ask("run", "clevertap")
    assert asked.code == 0, asked
    assert rows(shop) == truth(shop)


def test_the_first_ctrl_c_ends_at_the_next_commit(slow: Shop):
    process = begun(slow, "run", slow.file)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Stopping at the next commit" in err
    assert "cancelled" in out
    read = slow.ask("runs", "1", "--json").json["balance"]
    assert read["even"]
    assert 0 < read["read"] < truth(slow)
    assert_whole_after_another_run(slow)


def test_the_second_ctrl_c_ends_at_once(slow: Shop):
    process = begun(slow, "run", slow.file)
    process.send_signal(signal.SIGINT)
    assert process.stderr
    while "Stopping at the next commit" not in process.stderr.readline():
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert (out, "Ended at once" in err) == ("", True)
    assert_whole_after_another_run(slow)


def test_a_comparison_that_is_stopped_says_what_becomes_of_it(slow: Shop):
    assert slow.ask("run", slow.file).code == 0
    slow.simulator.faults.set([{"path": "/1/counts/*", "effect": "slow", "delay_s": 0.5}])
    try:
        process = begun(slow, "reconcile", "clevertap", requests=2)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    finally:
        slow.simulator.faults.set([])
    assert (process.returncode, out) == (130, "")
    assert "It has changed nothing" in err
    assert "commit" not in err.partition("Ctrl-C")[0]


def test_sigterm_ends_at_the_next_commit_and_json_is_whole(slow: Shop):
    process = begun(slow, "run", slow.file, "--json")
    process.terminate()
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 130
    assert '"status": "CANCELLED"' in out


def test_a_killed_run_is_on_record_and_the_next_one_goes_on(slow: Shop):
    process = begun(slow, "run", slow.file)
    process.kill()
    process.communicate()
    assert_whole_after_another_run(slow)
    assert [one["status"] for one in slow.ask("runs", "--json").json] == ["COMPLETED", "FAILED"]
    assert "the process of this run ended without a word" in slow.ask("runs", "1").out


def test_a_pipeline_runs_once_at_a_time(slow: Shop):
    process = begun(slow, "run", slow.file)
    second = slow.ask("run", "clevertap", "--json")
    assert second.code == 3
    assert str(process.pid) in second.json["error"]["message"]
    assert "process" in slow.ask("status").out
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)


def test_a_reader_that_goes_away_is_no_fault(slow: Shop):
    with spawn("version", cwd=slow.folder) as process:
        assert process.stdout and process.stderr
        process.stdout.close()
        assert process.stderr.read() == ""
    assert process.returncode == 0


# As Ctrl-C in the first half second: the signal comes while the command's own modules are imported.
EARLY = """
import os, signal, sys

class Early:
    def find_spec(self, name, *_):
        if name == "millrace.cli.main":
            os.kill(os.getpid(), signal.SIGINT)

sys.meta_path.insert(0, Early())
from millrace.__main__ import start
start()
"""


def test_ctrl_c_before_anything_began_leaves_no_trace_of_python():
    asked = subprocess.run([sys.executable, "-c", EARLY], capture_output=True, text=True, timeout=60)
    assert (asked.returncode, asked.stdout, asked.stderr) == (130, "", "")
