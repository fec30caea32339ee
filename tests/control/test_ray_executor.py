"""What is refused before any cluster is asked for; workers on a real one are tested in `tests/crash/test_ray.py`."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from millrace.control.home import Home
from millrace.control.running import ray_executor
from millrace.control.running.ray_executor import RayWorkers, Worker
from millrace.control.secrecy.keyring import new_key
from millrace.errors import ConfigError, EnvironmentProblem


@pytest.fixture
def plain(tmp_path: Path) -> Home:
    """A home with a control database in a file."""
    return Home(tmp_path, {})


def test_a_database_in_a_file_is_refused_for_workers_on_other_machines(plain: Home):
    with pytest.raises(ConfigError, match="this one is a file") as refused:
        RayWorkers(plain, 2, "10.0.0.1:6379")
    assert refused.value.code == "not_shared"


def test_where_ray_is_not_installed_it_is_said_how_to_install_it(plain: Home, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(EnvironmentProblem, match="not installed") as refused:
        RayWorkers(plain, 2)
    assert refused.value.hint is not None and "millrace[ray]" in refused.value.hint


def test_a_node_that_does_not_know_the_database_says_so_and_makes_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("MILLRACE_DATABASE_URL", raising=False)
    monkeypatch.setenv("MILLRACE_KEY", new_key())
    problem = Worker().work(tmp_path / "home", 0, 1, shared=True)
    assert problem is not None
    assert (problem.code, problem.path) == ("node_environment", "MILLRACE_DATABASE_URL")
    assert not (tmp_path / "home").exists()


def test_a_node_without_the_key_makes_no_other_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MILLRACE_DATABASE_URL", "postgresql://nobody@127.0.0.1:1/nothing")
    for name in ("MILLRACE_KEY", "MILLRACE_KEYS"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(ConfigError) as refused:
        ray_executor.opened(tmp_path / "home", shared=True)
    assert refused.value.code == "no_home"
    assert not (tmp_path / "home").exists()


def test_a_worker_that_is_told_to_stop_takes_no_task(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("MILLRACE_DATABASE_URL", raising=False)
    with Home.open(tmp_path / "home", create=True, env={}):
        pass
    worker = Worker()
    worker.stop()
    assert worker.work(tmp_path / "home", 0, 1, shared=False) is None
