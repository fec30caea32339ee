"""The zip for somebody who helps: what is in it, and that it can be made of a home that is not well."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import pytest
from tests.control.people import acting, cheap, joined

from millrace.control.connecting import connections
from millrace.control.home import Home
from millrace.control.observing import diagnostics
from millrace.control.people import users
from millrace.data import native
from millrace.errors import EnvironmentProblem, Forbidden


@pytest.fixture
def home(tmp_path: Path):
    with Home.open(tmp_path / "home", create=True, env={}) as home:
        yield cheap(home)


def parts(file: Path) -> dict[str, str]:
    with zipfile.ZipFile(file) as opened:
        return {name: opened.read(name).decode() for name in opened.namelist()}


def health(file: Path) -> Any:
    return json.loads(parts(file)["health.json"])


def test_it_tells_versions_settings_and_health(home: Home, tmp_path: Path) -> None:
    file = tmp_path / "it.zip"
    made = diagnostics.collect(home, file)
    assert made.failed == () and set(made.parts) == set(parts(file))
    assert file.stat().st_mode & 0o077 == 0
    found = health(file)
    assert found["database"]["ok"] and found["database"]["rows"]["pipelines"] == 0
    assert found["stage"]["ok"] and not [one for one in Path(home.stage_url).rglob("*") if one.is_file()]
    versions = json.loads(parts(file)["versions.json"])
    assert "sqlalchemy" in {name.lower() for name in versions["packages"]}
    assert versions["native"] == (native.absent() or "in use")


def test_a_stage_and_a_database_that_are_not_well_are_told_and_end_nothing(home: Home, tmp_path: Path) -> None:
    Path(home.stage_url).parent.joinpath("stage").write_text("no folder")
    diagnostics.collect(home, tmp_path / "stage.zip")
    found = health(tmp_path / "stage.zip")
    assert found["database"]["ok"] and not found["stage"]["ok"] and found["stage"]["error"]["code"]
    home.close()
    for file in home.path.glob("millrace.db*"):
        file.write_bytes(b"this is no database" * 100)
    with Home.open(home.path, env={}) as broken:
        made = diagnostics.collect(broken, tmp_path / "database.zip", logs=[tmp_path / "any.log"])
    assert not health(tmp_path / "database.zip")["database"]["ok"]
    assert "runs.json" in made.failed
    # A log that could not be cleaned stays out.
    assert not any(name.startswith("logs/") for name in made.parts)


def test_of_a_log_its_end_is_taken_and_secrets_are_not(home: Home, tmp_path: Path) -> None:
    secret = "hunter2-of-the-warehouse"
    connections.create(home, "destination", "pg", "postgres",
                       {"db_host": "h", "db_name": "d", "db_user": "u", "db_password": secret})  # fmt: skip
    log = tmp_path / "it.log"
    log.write_text(f"the first line\n{'x' * diagnostics.TAIL_BYTES}\nsaid {secret}\n")
    diagnostics.collect(home, tmp_path / "it.zip", logs=[log, tmp_path / "none.log"])
    found = parts(tmp_path / "it.zip")
    assert found["logs/1-it.log"] == "said ***\n"
    assert "cannot be read" in found["logs/2-none.log"]
    assert secret not in str(found)


def test_only_the_operator_makes_one_and_only_where_it_can_be_written(home: Home, tmp_path: Path) -> None:
    joined(home, "admin@example.com", "TEAM_ADMIN")
    assert users.find(home, "admin@example.com")
    with pytest.raises(Forbidden):
        diagnostics.collect(acting(home, "admin@example.com"), tmp_path / "it.zip")
    with pytest.raises(EnvironmentProblem, match="cannot be written"):
        diagnostics.collect(home, tmp_path / "nowhere" / "it.zip")
