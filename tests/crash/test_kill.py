"""`kill -9` of the real process, again and again; in the end every row is there, as often as it should be (I8)."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest
import yaml
from tests.postgres import Database

from millrace.simulators.clevertap import Account, Settings, Simulator

PROJECT, PASSCODE = "SIM-EU1-0001", "demo-pass-eu"
NAMES = ("App Launched", "Charged", "Product Viewed", "Session Concluded")


def write(folder: Path, simulator: Simulator, mode: str, destination: dict[str, Any]) -> Path:
    lines = "".join(f"{name}\n" for name in NAMES)
    (folder / "events.csv").write_text("Event name\n" + lines, encoding="utf-8")
    config = {
        "project_id": PROJECT,
        "passcode": "${PASSCODE}",
        "events_file": "./events.csv",
        "base_url": simulator.base_url,
        "window_days": 4,
    }
    file = folder / "pipelines.yaml"
    pipeline = {"source": {"type": "clevertap", "config": config}, "destination": "warehouse", "load_mode": mode}
    file.write_text(yaml.safe_dump({"destinations": {"warehouse": destination}, "pipelines": {"p": pipeline}}))
    return file


def start(folder: Path, file: Path, password: str) -> subprocess.Popen[bytes]:
    env = os.environ | {"MILLRACE_HOME": str(folder / "home"), "PASSCODE": PASSCODE, "PGPASS": password}
    return subprocess.Popen(
        [sys.executable, "-m", "millrace", "run", str(file), "--quiet"],
        env=env,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )


@pytest.mark.timeout(1200)
@pytest.mark.parametrize(("kind", "mode"), [("duckdb", "merge"), ("duckdb", "append"), ("postgres", "append")])
def test_a_process_that_is_killed_again_and_again_ends_with_every_row_once(
    tmp_path: Path, request: pytest.FixtureRequest, kills: int, kind: str, mode: str
):
    password = ""
    destination: dict[str, Any] = {"type": "duckdb", "config": {"path": "./warehouse.duckdb"}}
    if kind == "postgres":
        database: Database = request.getfixturevalue("database")
        settings = database.settings()
        password = settings["db_password"] = settings["db_password"] or "unused"
        settings["db_password"] = "${PGPASS}"
        destination = {"type": "postgres", "config": settings}
    now = datetime.now(UTC).replace(microsecond=0)
    account = Account(id=PROJECT, passcode=PASSCODE, users=60, days=40, events=NAMES)
    quick = {"latency_ms": {"open": (5, 20), "page": (10, 40)}, "duplicates": {"probability": 0.05}}
    with Simulator(Settings.plain(account, now=now, **quick), port=0) as simulator:
        file = write(tmp_path, simulator, mode, destination)
        killed = 0
        # From the first import to the last commit; a run that gets to its end starts over with an older file.
        delays = [0.2 + 2.6 * number / max(kills - 1, 1) for number in range(kills)]
        for delay in delays:
            process = start(tmp_path, file, password)
            time.sleep(delay)
            process.send_signal(signal.SIGKILL)
            _, said = process.communicate()
            assert process.returncode in (-signal.SIGKILL, 0), said.decode()
            killed += process.returncode != 0
        assert killed
        process = start(tmp_path, file, password)
        _, said = process.communicate()
        assert process.returncode == 0, said.decode()
        first = now.date() - timedelta(days=30)
        served = simulator.ledger(PROJECT, first, now.date())
        expected = {row.hevo_id: row.copies if mode == "append" else 1 for row in served if row.event_name in NAMES}
    assert len(expected) > 500
    if kind == "duckdb":
        with duckdb.connect(str(tmp_path / "warehouse.duckdb"), read_only=True) as connection:
            found = Counter(row for (row,) in connection.execute("SELECT __hevo_id FROM events").fetchall())
    else:
        found = Counter(row for (row,) in request.getfixturevalue("database").run("SELECT __hevo_id FROM events"))
    assert found == expected
