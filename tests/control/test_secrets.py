"""Secrets: never in the files, never in a text."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st
from tests.control.conftest import Desk

from millrace.connect.source import Context
from millrace.control.connecting import connections
from millrace.control.database import tables
from millrace.control.home import Home
from millrace.control.pipeline import pipelines
from millrace.control.secrecy import keyring, secrets
from millrace.errors import ConfigError, EnvironmentProblem

SECRETS = st.text(st.characters(exclude_categories=["Cs"]), min_size=3)


@given(SECRETS)
def test_a_secret_is_taken_out_in_every_form_in_which_it_travels(secret: str) -> None:
    forms = [
        secret,
        quote(secret, safe=""),
        json.dumps(secret)[1:-1],
        json.dumps(secret, ensure_ascii=False)[1:-1],
        repr(secret)[1:-1],
        base64.b64encode(secret.encode()).decode(),
    ]
    for form in forms:
        told = secrets.redact(f"<<{form}>>", [secret])
        assert told == f"<<{secrets.HIDDEN}>>" or secret in "<<***>>"


def test_a_short_secret_leaves_other_words_readable() -> None:
    assert secrets.redact("password a of banana: a", ["a"]) == "password *** of banana: ***"
    assert secrets.redact("nothing", [""]) == "nothing"


def test_no_secret_is_in_any_file_of_the_home(
    home: Home, saved: Desk, clevertap: dict[str, Any], tmp_path: Path
) -> None:
    connections.change(home, "source", "project", config=clevertap | {"passcode": "another-secret-one"})
    with home.database.reading() as connection:
        stored = str(connection.execute(sa.select(tables.connections)).all()).encode()
    home.close()
    files = [one for one in tmp_path.rglob("*") if one.is_file() and one.name != "events.csv"]
    assert (tmp_path / "millrace.db" in files) == home.database_url.startswith("sqlite")
    for file, content in [("the table", stored), *((file, file.read_bytes()) for file in files)]:
        for secret in ("hunter2-not-for-you", "another-secret-one"):
            assert secret.encode() not in content, file
            assert base64.b64encode(secret.encode()) not in content, file


def test_a_secret_is_opened_to_build_a_connector_and_nowhere_else(home: Home, saved: Desk) -> None:
    found = connections.find(home, "source", "project")
    assert found.secret_keys == ("passcode",)
    assert "passcode" not in found.config
    assert "hunter2" not in repr(found)
    assert "hunter2" not in repr(connections.listed(home))
    built = connections.build_source(home, found.id, Context())
    assert built.config.passcode.get_secret_value() == "hunter2-not-for-you"
    assert "hunter2" not in repr(built.config)
    built.close()
    assert connections.secrets_of(home, pipelines.find(home, "events")) == ["hunter2-not-for-you"]


def test_without_the_key_lists_still_work_and_building_says_why_not(home: Home, saved: Desk) -> None:
    (home.path / "key").write_text(keyring.new_key())
    with Home.open(home.path, env={"MILLRACE_DATABASE_URL": home.database_url}) as again:
        found = connections.find(again, "source", "project")
        assert [one.name for one in connections.listed(again)] == ["project", "warehouse"]
        with pytest.raises(EnvironmentProblem) as caught:
            connections.build_source(again, found.id, Context())
        assert caught.value.code == "wrong_key"
        assert connections.build_destination(again, connections.find(again, "destination", "warehouse").id, Context())


def test_an_error_about_settings_holds_no_secret(home: Home, clevertap: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        connections.create(home, "source", "p", "clevertap", clevertap | {"passcode": ["hunter2-not-for-you"]})
    assert "hunter2" not in str(caught.value.problem)
    assert "passcode" in caught.value.message
