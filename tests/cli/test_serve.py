"""The first start of a server: who has seen what it printed makes the first administrator."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from millrace.control.database.people_tables import links
from millrace.control.home import Home


@contextmanager
def serving(folder: Path, *options: str) -> Generator[str]:
    """What `millrace serve` says at its start, while it serves."""
    command = [sys.executable, "-m", "millrace", "serve", "--port", "0", "--workers", "0", *options]
    env = os.environ | {"MILLRACE_HOME": str(folder / "home")}
    with subprocess.Popen(command, env=env, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True) as server:
        assert server.stderr is not None
        said = ""
        try:
            # The scheduler's word comes after all that is said at the start.
            for line in server.stderr:
                said += line
                if "schedul" in line:
                    break
            yield said
        finally:
            server.send_signal(signal.SIGTERM)
            rest = server.stderr.read()
            assert server.wait(30) == 0, said + rest


def test_the_first_start_prints_a_link_that_makes_the_first_administrator_once(tmp_path: Path) -> None:
    with serving(tmp_path) as said:
        found = re.search(r"(http://\S+)/welcome#(\S+)", said)
        assert found is not None, said
        server, token = found.groups()
        address = f"{server}/api/millrace/v1/first-administrator"
        with Home.open(tmp_path / "home") as home, home.database.reading() as connection:
            kept = connection.execute(links.select()).one()
        assert token not in str(kept)
        assert httpx.get(address).json() == {"needed": True}
        given = {"token": token, "email": "root@example.com", "password": "Correct-horse-7"}
        assert httpx.post(address, json=given).json()["roles"] == ["TEAM_ADMIN"]
        api = address.removesuffix("/first-administrator")
        with httpx.Client(base_url=api) as page:
            assert page.post("/session", json={"email": "root@example.com", "password": "Correct-horse-7"}).is_success
            assert page.get("/me").json()["user"]["email"] == "root@example.com"
    with serving(tmp_path) as said:
        assert "welcome" not in said
        assert "first-administrator" not in said


def test_a_proxy_that_is_no_address_is_refused(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    command = [sys.executable, "-m", "millrace", "serve", "--trusted-proxy", "everybody"]
    done = subprocess.run(command, env=os.environ | {"MILLRACE_HOME": str(tmp_path / "home")}, stderr=subprocess.PIPE)
    assert done.returncode == 2
    assert b"neither an address nor a network" in done.stderr


def test_an_address_of_a_cluster_without_its_executor_is_refused(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "millrace", "serve", "--ray-address", "10.0.0.1:6379"]
    done = subprocess.run(command, env=os.environ | {"MILLRACE_HOME": str(tmp_path / "home")}, stderr=subprocess.PIPE)
    assert done.returncode == 2
    assert b"--executor ray" in done.stderr


def test_the_log_of_a_server_and_its_workers_is_json_where_that_is_wished(tmp_path: Path) -> None:
    with serving(tmp_path, "--log-format", "json") as said:
        lines = [json.loads(line) for line in said.splitlines() if line.startswith("{")]
    assert {"time", "level", "logger", "message"} <= lines[-1].keys()
    assert "schedul" in lines[-1]["message"]
