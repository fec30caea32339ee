"""Connections: what is saved was accepted by its connector, and what tables depend on stays."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from tests.control.conftest import Desk, commit

from millrace.control.connecting import connections
from millrace.control.home import Home
from millrace.control.people.actors import Actor
from millrace.data.batch import Segment
from millrace.errors import ConfigError


def test_a_connection_is_saved_and_found(home: Home, clevertap: dict[str, Any]) -> None:
    made = connections.create(home, "source", "project", "clevertap", clevertap)
    assert made == connections.find(home, "source", "project") == connections.by_id(home, made.id)
    assert made.config == {key: value for key, value in clevertap.items() if key != "passcode"}
    assert connections.listed(home, "destination") == []
    with pytest.raises(ConfigError) as caught:
        connections.create(home, "source", "project", "clevertap", clevertap)
    assert caught.value.code == "name_taken"
    connections.create(home, "destination", "project", "duckdb", {"path": "x.duckdb"})


def test_values_of_python_are_saved_as_json(home: Home, clevertap: dict[str, Any], tmp_path: Path) -> None:
    given = clevertap | {"passcode": SecretStr("s3cret"), "events_file": tmp_path / "events.csv"}
    made = connections.create(home, "source", "project", "clevertap", given)
    assert made.config["events_file"] == str(tmp_path / "events.csv")
    assert connections.differences(home, made, given) == []


def test_what_the_connector_refuses_is_not_saved(home: Home, clevertap: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="unknown key 'pascode'") as caught:
        connections.create(home, "source", "p", "clevertap", clevertap | {"pascode": "x"})
    assert (caught.value.code, caught.value.path) == ("unknown_key", "pascode")
    assert "passcode" in str(caught.value.hint)
    with pytest.raises(ConfigError, match="no source of type 'clevertapp'"):
        connections.create(home, "source", "p", "clevertapp", clevertap)
    for name in ("", " a", "a\nb", "x" * 256):
        with pytest.raises(ConfigError) as caught:
            connections.create(home, "source", name, "clevertap", clevertap)
        assert caught.value.code == "bad_name"
    assert connections.listed(home) == []


def test_a_change_takes_the_place_of_the_whole_config(home: Home, saved: Desk, clevertap: dict[str, Any]) -> None:
    old = connections.find(home, "source", "project")
    new = clevertap | {"region": "US", "passcode": "other"}
    assert connections.differences(home, old, new) == ["passcode", "region"]
    changed = connections.change(home, "source", "project", config=new, new_name="renamed")
    assert (changed.id, changed.name, changed.config["region"]) == (old.id, "renamed", "US")
    assert connections.differences(home, changed, new) == []


def test_secrets_that_are_not_named_can_stay(home: Home, saved: Desk, clevertap: dict[str, Any]) -> None:
    without = {key: value for key, value in clevertap.items() if key != "passcode"}
    with pytest.raises(ConfigError, match="passcode"):
        connections.change(home, "source", "project", config=without)
    changed = connections.change(home, "source", "project", config=without | {"region": "IN"}, keep_secrets=True)
    assert connections.differences(home, changed, clevertap | {"region": "IN"}) == []


def test_a_secret_that_somebody_changes_meanwhile_is_not_overwritten_by_the_one_of_before(
    home: Home, saved: Desk, clevertap: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    open_ = {key: value for key, value in clevertap.items() if key != "passcode"}
    split = connections.split

    def late(*given: Any) -> Any:
        # Somebody else is quicker, once the first has read what is saved.
        monkeypatch.setattr(connections, "split", split)
        connections.change(home, "source", "project", config={**clevertap, "passcode": "the-new-one"})
        return split(*given)

    monkeypatch.setattr(connections, "split", late)
    with pytest.raises(ConfigError) as caught:
        connections.change(home, "source", "project", config={**open_, "region": "IN"}, keep_secrets=True)
    assert caught.value.code == "wrong_state"
    found = connections.find(home, "source", "project")
    assert connections.opened(home, found) == {"passcode": "the-new-one"} and found.config["region"] == "EU"
    again = connections.change(home, "source", "project", config={**open_, "region": "IN"}, keep_secrets=True)
    assert connections.opened(home, again) == {"passcode": "the-new-one"} and again.config["region"] == "IN"


def test_an_unknown_name_is_answered_with_the_nearest(home: Home, saved: Desk) -> None:
    with pytest.raises(ConfigError, match="no source 'projekt'") as caught:
        connections.find(home, "source", "projekt")
    assert caught.value.code == "unknown_source"
    assert "'project'" in str(caught.value.hint)


@pytest.mark.parametrize(
    ("type_", "config", "secret", "elsewhere", "near"),
    [
        (
            "clevertap",
            {"project_id": "AAA-BBB-CCCC", "region": "EU", "passcode": "s3cret", "event_source": "schema"},
            "passcode",
            {"base_url": "https://collector.example.com"},
            {"region": "US", "passcode": "s3cret", "base_url": "https://collector.example.com"},
        ),
        (
            "postgres",
            {"db_host": "a.example.com", "db_name": "d", "db_user": "u", "db_password": "s3cret"},
            "db_password",
            {"db_host": "collector.example.com"},
            {"db_port": "5432", "db_name": "e"},
        ),
        (
            "mysql",
            {"db_host": "a.example.com", "db_port": 3307, "db_name": "d", "db_user": "u", "db_password": "s3cret"},
            "db_password",
            {"db_port": 3306},
            {"db_port": "3307", "db_user": "v"},
        ),
    ],
)
def test_a_secret_that_is_kept_does_not_go_elsewhere(
    home: Home, type_: str, config: dict[str, Any], secret: str, elsewhere: dict[str, Any], near: dict[str, Any]
) -> None:
    there = home.acting(Actor("user", "editor@example.com", permissions=frozenset({"view", "pipelines.edit"})))
    connections.create(home, "source", "app", type_, config)
    without = {key: value for key, value in config.items() if key != secret}
    with pytest.raises(ConfigError) as caught:
        connections.change(there, "source", "app", config=without | elsewhere, keep_secrets=True)
    assert (caught.value.code, caught.value.path) == ("secret_needed", secret)
    assert connections.find(home, "source", "app").config == without
    # Who knows it may, and so may the operator; what leads to the same place goes on with it.
    connections.change(there, "source", "app", config=config | elsewhere, keep_secrets=True)
    connections.change(home, "source", "app", config=without, keep_secrets=True)
    connections.change(there, "source", "app", config=without | near, keep_secrets=True)


def test_what_is_no_url_is_refused(home: Home, saved: Desk, clevertap: dict[str, Any]) -> None:
    there = home.acting(Actor("user", "editor@example.com", permissions=frozenset({"view", "pipelines.edit"})))
    broken = clevertap | {"base_url": "https://[x"}
    without = {key: value for key, value in broken.items() if key != "passcode"}
    with pytest.raises(ConfigError, match="would lead elsewhere by base_url"):
        connections.change(there, "source", "project", config=without, keep_secrets=True)
    with pytest.raises(ConfigError, match="base_url must be like https://host"):
        connections.change(there, "source", "project", config=broken)


def test_a_connection_in_use_stays(home: Home, saved: Desk) -> None:
    with pytest.raises(ConfigError, match="used by events"):
        connections.remove(home, "source", "project")
    connections.create(home, "destination", "spare", "duckdb", {"path": "x.duckdb"})
    connections.remove(home, "destination", "spare")
    assert [one.name for one in connections.listed(home, "destination")] == ["warehouse"]


def test_after_a_load_a_destination_keeps_what_its_tables_depend_on(
    home: Home, saved: Desk, tmp_path: Path, segment: Any
) -> None:
    elsewhere = {"path": str(tmp_path / "elsewhere.duckdb")}
    connections.change(home, "destination", "warehouse", config=elsewhere)
    books, _ = saved.books()
    staged: Segment = segment(1)
    books.commit(commit(read=1, segments=[staged]))
    books.loaded("events", 1, 1, None)
    connections.change(home, "destination", "warehouse", config=elsewhere | {"threads": 1, "sanitize_names": True})
    for config in ({"path": str(tmp_path / "third.duckdb")}, elsewhere | {"sanitize_names": False}):
        with pytest.raises(ConfigError, match="events has loaded tables there") as caught:
            connections.change(home, "destination", "warehouse", config=config)
        assert caught.value.code == "fixed_after_load"
        assert caught.value.hint
    assert connections.find(home, "destination", "warehouse").config["path"] == elsewhere["path"]


def test_after_a_load_a_destination_follows_its_file_to_where_it_was_moved(
    home: Home, saved: Desk, tmp_path: Path, segment: Any
) -> None:
    before, after = tmp_path / "before.duckdb", tmp_path / "after.duckdb"
    connections.change(home, "destination", "warehouse", config={"path": str(before)})
    books, _ = saved.books()
    staged: Segment = segment(1)
    books.commit(commit(read=1, segments=[staged]))
    books.loaded("events", 1, 1, None)
    before.touch()
    for there in ((before, after), (before,), ()):
        for file in (before, after):
            file.unlink(missing_ok=True)
        for file in there:
            file.touch()
        with pytest.raises(ConfigError, match="events has loaded tables there"):
            connections.change(home, "destination", "warehouse", config={"path": str(after)})
    after.touch()
    connections.change(home, "destination", "warehouse", config={"path": str(after)})
    assert connections.find(home, "destination", "warehouse").config["path"] == str(after)


def test_a_source_tells_what_it_offers(home: Home, saved: Desk) -> None:
    offers = connections.discover(home, "project")
    assert [one.name for one in offers if not one.extra] == ["Events"]
    assert offers[0].historical
    assert offers[0].key
