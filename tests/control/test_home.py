"""The home: made for its owner alone, found again, and clear when something of it is missing."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from millrace.control import settings
from millrace.control.database.db import Database
from millrace.control.home import Home
from millrace.control.running import service
from millrace.control.running.executor import Processes
from millrace.control.secrecy import keyring, sealing
from millrace.errors import ConfigError, EnvironmentProblem


def test_a_home_is_for_its_owner_alone(tmp_path: Path) -> None:
    with Home.open(tmp_path / "h", create=True, env={}) as home:
        assert home.path.stat().st_mode & 0o777 == 0o700
        assert (home.path / "key").stat().st_mode & 0o777 == 0o600
        assert home.database_url == f"sqlite:///{tmp_path / 'h' / 'millrace.db'}"
        assert home.stage_url == str(tmp_path / "h" / "stage")


def test_making_a_home_again_changes_nothing(tmp_path: Path) -> None:
    with Home.open(tmp_path / "h", create=True, env={}) as home:
        key = home.keys.read()
        settings.change(home, retention_days=3)
    with Home.open(tmp_path / "h", create=True, env={}) as home:
        assert home.keys.read() == key
        assert settings.workspace(home.database).retention_days == 3
    assert sorted(one.name for one in (tmp_path / "h").iterdir() if "db-" not in one.name) == ["key", "millrace.db"]


def test_a_home_that_is_not_there_is_told_with_the_command_that_makes_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        Home.open(tmp_path / "none", env={})
    assert caught.value.code == "no_home"
    assert "millrace init" in str(caught.value.hint)
    assert not (tmp_path / "none").exists()


def test_the_environment_says_where_the_home_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with Home.open(create=True, env={}) as home:
        assert home.path == tmp_path / ".millrace"
    env = {
        "MILLRACE_HOME": str(tmp_path / "other"),
        "MILLRACE_DATABASE_URL": f"sqlite:///{tmp_path / 'db.sqlite'}",
        "MILLRACE_STAGE": "s3://bucket/stage",
        "MILLRACE_KEY": keyring.new_key(),
    }
    with Home.open(create=True, env=env) as home:
        assert home.path == tmp_path / "other"
        assert home.stage_url == "s3://bucket/stage"
        assert home.keys.read() == [env["MILLRACE_KEY"]]
        assert list(home.path.iterdir()) == []
    assert (tmp_path / "db.sqlite").exists()


def test_the_stage_is_where_the_settings_say(home: Home, tmp_path: Path) -> None:
    settings.change(home, stage_url=str(tmp_path / "elsewhere"))
    assert home.stage_url == str(tmp_path / "elsewhere")


def test_a_temporary_home_is_gone_afterwards() -> None:
    with Home.temporary() as home:
        folder = home.path
        assert home.keys.read()
        assert settings.workspace(home.database) == settings.Workspace()
    assert not folder.exists()


def test_a_missing_key_is_told_only_when_it_is_needed(home: Home) -> None:
    (home.path / "key").unlink()
    with Home.open(home.path, env={"MILLRACE_DATABASE_URL": home.database_url}) as again:
        assert again.database
        with pytest.raises(EnvironmentProblem) as caught:
            again.keys.read()
    assert caught.value.code == "no_key"


def test_a_key_that_is_gone_is_made_anew_only_by_whoever_asks_for_it(tmp_path: Path) -> None:
    with Home.open(tmp_path / "h", create=True, env={}) as made:
        assert made.keys.read()
    (tmp_path / "h" / "key").unlink()
    with Home.open(tmp_path / "h", create=True, env={}) as again, pytest.raises(EnvironmentProblem) as caught:
        again.keys.read()
    assert caught.value.code == "no_key"
    with Home.open(tmp_path / "h", create=True, new_key=True, env={}) as anew:
        assert anew.keys.read()


def test_no_key_is_made_over_a_database_elsewhere_that_holds_sealed_values(control: Database, tmp_path: Path) -> None:
    env = {"MILLRACE_DATABASE_URL": control.url}
    with Home.open(tmp_path / "one", create=True, env=env) as first:
        sealing.put(first, "a secret", {"text": "x"})
        key = first.keys.read()[0]
    # Another machine, or this one when its folder was lost.
    with Home.open(tmp_path / "two", create=True, env=env) as second:
        assert list(second.path.iterdir()) == []
        with pytest.raises(EnvironmentProblem, match="the key that seals secrets") as caught:
            service.run(second, Processes(second.path, 0), threading.Event())
    assert caught.value.code == "no_key"
    other = env | {"MILLRACE_KEY": keyring.new_key()}
    with Home.open(tmp_path / "two", create=True, env=other) as wrong, pytest.raises(EnvironmentProblem) as caught:
        service.run(wrong, Processes(wrong.path, 0), threading.Event())
    assert caught.value.code == "wrong_key"
    with Home.open(tmp_path / "two", create=True, env=env | {"MILLRACE_KEY": key}) as right:
        assert sealing.held(right, "a secret") == {"text": "x"}


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(EnvironmentProblem) as caught:
        Home.open(tmp_path / "file" / "h", create=True, env={})
    assert caught.value.code == "home_unwritable"
