"""Settings files, and serving as a process of its own."""

from __future__ import annotations

import http.client
import os
import re
import signal
import socket
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

import orjson
import pytest

from millrace.errors import ConfigError, EnvironmentProblem
from millrace.simulators.clevertap import Simulator
from millrace.simulators.clevertap.cli import serve, settled
from millrace.simulators.clevertap.config import Settings, read
from millrace.simulators.faults import Rule

YAML = """
seed: 7
now: "2026-03-14T10:00:00Z"
accounts:
  - {id: SIM-EU1-0001, passcode: demo-pass-eu, region: eu1, timezone: Europe/Berlin, users: 4, days: 5, profile: travel}
wrong_project_id: reject_401
not_exportable: [Notification Sent]
shards: 23
concurrency: {read: 3, upload: 15}
page_not_ready: {probability: 0.2, times: [1, 3]}
cursor: {ttl_s: 14400, idle_s: 3600, profile_ttl_s: 345600}
latency_ms: {open: [80, 400], page: [50, 900]}
duplicates: {probability: 0.004}
late: {probability: 0.02, max_days: 5}
drift: {enabled: true}
faults: [{effect: too_many, times: 1}]
"""


def test_a_settings_file_is_read_with_all_of_its_keys(tmp_path: Path):
    path = tmp_path / "sim.yaml"
    path.write_text(YAML)
    settings = read(path)
    assert (settings.seed, settings.accounts[0].users, settings.wrong_project_id) == (7, 4, "reject_401")
    assert settings.now == datetime(2026, 3, 14, 10, tzinfo=UTC)
    assert Settings().accounts[1].id == "SIM-IN1-0001"
    simulator = Simulator(settings)
    assert [rule.effect for rule, _ in simulator.faults.rules()] == ["too_many"]
    simulator.stop()
    with pytest.raises(ConfigError, match="no effect 'nonsense'"):
        Simulator(settings.model_copy(update={"faults": (Rule(effect="nonsense"),)}))


@pytest.mark.parametrize(
    ("text", "where", "hint"),
    [
        ("sead: 1", "sead", "Did you mean seed?"),
        ("accounts: [{id: A, passcode: p, zone: UTC}]", "accounts.0.zone", None),
        ("accounts: [{id: A, passcode: p, timezone: Mars/Base}]", "Mars/Base", None),
        ("accounts: [{id: A, passcode: p}, {id: A, passcode: p}]", "same id", None),
        ("faults: [{effect: reset, page: 0}]", "faults.0.page", None),
        ("shards: none", "shards", None),
        ("a: [", "YAML", None),
    ],
)
def test_a_bad_settings_file_says_where_and_how_to_mend(tmp_path: Path, text: str, where: str, hint: str | None):
    path = tmp_path / "sim.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=re.escape(where)) as met:
        read(path)
    assert str(path) in met.value.message
    if hint:
        assert met.value.hint == hint


def test_a_missing_settings_file_is_named(tmp_path: Path):
    with pytest.raises(ConfigError, match=r"no simulator settings at .*none\.yaml"):
        read(tmp_path / "none.yaml")


def test_what_is_given_by_hand_wins(tmp_path: Path):
    path = tmp_path / "sim.yaml"
    path.write_text(YAML)
    moment = datetime(2026, 5, 1, tzinfo=UTC)
    settings = settled(path, seed=9, now=moment, users=3, days=2)
    assert (settings.seed, settings.now, settings.accounts[0].users, settings.accounts[0].days) == (9, moment, 3, 2)
    assert settled(None, demo=True).clock == settled(None).clock == "real"
    assert settled(None, demo=True).page_not_ready.probability == 0 < settled(None).page_not_ready.probability
    assert settled(path, demo=True).page_not_ready.probability == 0.2
    assert settled(None, now=moment).clock == settled(path).clock == "frozen"
    with pytest.raises(ConfigError, match="time zone"):
        settled(None, now=datetime(2026, 5, 1))
    with pytest.raises(ConfigError, match="negative"):
        settled(None, users=-1)


def test_a_port_in_use_is_a_clear_error():
    with (
        socket.create_server(("127.0.0.1", 0)) as other,
        pytest.raises(EnvironmentProblem, match="cannot listen") as met,
    ):
        serve(port=other.getsockname()[1], users=0)
    assert "--port" in (met.value.hint or "")


def test_live_rows_keep_coming():
    settings = settled(None, users=20, days=2, demo=True)
    with Simulator(settings, live_per_second=50) as sim:
        account = settings.accounts[0].id
        before = sim.counts(account).total()
        deadline = time.monotonic() + 60
        while sim.counts(account).total() < before + 5 and time.monotonic() < deadline:
            time.sleep(0.05)
        assert sim.counts(account).total() >= before + 5
        row = next(r for r in sim.ledger(account) if '"live":true' in r.event_props)
        assert abs((row.visible_at - datetime.now(UTC)).total_seconds()) < 300


def test_serve_prints_all_that_a_client_needs_and_ends_cleanly():
    command = "from millrace.simulators.clevertap.cli import serve; serve(port=0, users=20, days=3, demo=True)"
    env = {**os.environ, "PYTHONWARNINGS": "error"}
    process = subprocess.Popen(
        [sys.executable, "-c", command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env
    )
    try:
        assert process.stdout is not None
        lines: list[str] = []
        while not lines or "Ctrl-C" not in lines[-1]:
            line = process.stdout.readline()
            assert line, process.stderr.read() if process.stderr else ""
            lines.append(line)
        text = "".join(lines)
        base = urlsplit(re.findall(r"base_url: +(\S+)", text)[0])
        passcode = re.findall(r"passcode: +(\S+)", text)[0]
        project = re.findall(r"Project (\S+)", text)[0]
        events_file = Path(re.findall(r"events_file: +(\S+)", text)[0])
        assert events_file.read_text().startswith("Event name,Type,Status,DRP")
        today = int(datetime.now(UTC).strftime("%Y%m%d"))
        connection = http.client.HTTPConnection(base.hostname or "", base.port, timeout=60)
        body = orjson.dumps({"event_name": "App Launched", "from": today, "to": today})
        headers = {"X-CleverTap-Account-Id": project, "X-CleverTap-Passcode": passcode}
        connection.request("POST", base.path + "/1/events.json", body, headers)
        assert orjson.loads(connection.getresponse().read())["status"] == "success"
        connection.close()
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
        assert (process.returncode, out.strip(), err) == (0, "The simulator has stopped.", "")
        assert not events_file.exists()
    finally:
        process.kill()
        process.wait()


def test_the_simulator_listens_on_this_machine_only_unless_told():
    with Simulator(settled(None, users=0)) as sim:
        assert sim.base_url.startswith("http://127.0.0.1:")
        with pytest.raises(OSError):
            socket.create_connection(("127.0.0.2", urlsplit(sim.base_url).port or 0), timeout=1).close()
