"""`millrace user | key | team | activity` on a home of its own."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.cli.asking import Asked, ask
from tests.control.identity import CLIENT_ID, CLIENT_SECRET, provider
from tests.control.people import PASSWORD, cheap

from millrace.control.home import Home
from millrace.control.people import keys, single_sign_on
from millrace.control.secrecy import sealing


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    with Home.open(tmp_path / "h", create=True, env={}) as home:
        cheap(home)
    return tmp_path / "h"


def made(folder: Path, email: str = "ada@example.com", role: str = "TEAM_ADMIN") -> None:
    words = ("user", "create", "--email", email, "--role", role, "--password-stdin")
    asked = ask(*words, home=folder, given=PASSWORD + "\n")
    assert (asked.code, asked.err) == (0, "") and PASSWORD not in asked.out


def test_a_user_and_a_key_are_made_as_scripts_make_them_and_the_pair_opens(folder: Path) -> None:
    made(folder)
    pair = ask("key", "create", "--email", "ada@example.com", "--json", home=folder).json
    with Home.open(folder, env={}) as home:
        assert keys.authenticate(home, pair["key"], pair["secret"]).may("settings.edit")
    listed = ask("key", "list", "--json", home=folder)
    assert pair["secret"] not in listed.out and listed.json["items"][0]["key"] == pair["key"]
    assert ask("key", "delete", pair["key"], home=folder).code == 0
    assert ask("key", "delete", pair["key"], "--json", home=folder).json["error"]["code"] == "unknown_key_pair"


def test_users_are_listed_shown_changed_unlocked_and_removed(folder: Path) -> None:
    made(folder)
    made(folder, "bob@example.com", "OBSERVER")
    assert "bob@example.com" in ask("user", home=folder).out
    asked = ask("user", "set-roles", "bob@example.com", "--role", "PIPELINE_ADMIN", "--json", home=folder)
    assert asked.json["roles"] == ["PIPELINE_ADMIN"]
    assert ask("user", "unlock", "bob@example.com", home=folder).code == 0
    assert ask("user", "set-password", "bob@example.com", home=folder, given="Other-horse-8").code == 0
    assert ask("user", "remove", "bob@example.com", home=folder).code == 0
    gone = ask("user", "show", "bob@example.com", "--json", home=folder)
    assert (gone.code, gone.json["error"]["code"]) == (2, "unknown_user")
    kept = ask("user", "remove", "ada@example.com", "--json", home=folder)
    assert kept.json["error"]["code"] == "last_administrator"


def test_a_weak_password_is_told_without_it(folder: Path) -> None:
    words = ("user", "create", "--email", "a@b.example", "--password-stdin")
    asked = ask(*words, home=folder, given="weakling-of-mine\n")
    assert asked.code == 2 and "weakling-of-mine" not in asked.out + asked.err and "weak_password" in asked.err


def test_roles_are_listed_with_what_they_allow() -> None:
    found = {one["role"]: one["permissions"] for one in ask("user", "roles", "--json").json}
    assert len(found) == 10 and found["OBSERVER"] == ["usage.view", "view"]


def test_a_team_is_made_with_its_administrator_and_renamed(folder: Path) -> None:
    asked = ask("team", "create", "Marketing", "--email", "zoe@x.example", home=folder, given=PASSWORD)
    assert asked.code == 0 and "zoe@x.example administers it" in asked.out
    assert ask("team", "rename", "Analytics", home=folder).code == 0
    assert ask("team", "show", "--json", home=folder).json["name"] == "Analytics"


def test_the_activity_log_is_shown_by_severity_and_exported(folder: Path) -> None:
    made(folder)

    def actions(asked: Asked) -> list[str]:
        return [entry["action"] for entry in asked.json["items"]]

    assert "create" in actions(ask("activity", "--json", "--entity", "user", home=folder))
    assert actions(ask("activity", "--json", "--severity", "critical", home=folder)) == []
    assert "user ada@example.com was added" in ask("activity", home=folder).out
    assert ask("activity", "--event-type", "Orders", home=folder).code == 2
    lines = ask("activity", "--export", "jsonl", home=folder).out.splitlines()
    assert {json.loads(line)["author"] for line in lines} == {"operator"}
    heads, *rows = ask("activity", "--export", "csv", home=folder).out.splitlines()
    assert heads.startswith("id,at,severity,author") and len(rows) == len(lines)
    assert ask("activity", "--export", "xml", home=folder).code == 2
    assert ask("activity", "--severity", "loud", home=folder).code == 2


def test_a_team_signs_on_at_a_provider_and_its_secret_is_never_shown(folder: Path) -> None:
    with Home.open(folder, env={}) as home, provider() as idp:
        given = ("--issuer", idp.issuer, "--client-id", CLIENT_ID)
        asked = ask("sso", "set", *given, "--secret-stdin", home=folder, given=CLIENT_SECRET + "\n")
        assert asked.code == 0, asked.err
        assert CLIENT_SECRET not in asked.out + asked.err + ask("sso", "show", "--json", home=folder).out
        assert ask("sso", "set", *given, "--domain", "example.com", "--just-in-time", home=folder).code == 0
        found = single_sign_on.settings(home)
        assert found is not None and found.just_in_time and found.domains == ("example.com",)
        assert "by password" in ask("sso", "off", home=folder).out
        assert single_sign_on.settings(home) is None


def test_another_key_seals_secrets_by_one_command(folder: Path) -> None:
    with Home.open(folder, env={}) as home:
        sealing.put(home, "mail", {"password": "of-the-mail"})
        old = home.keys.read()
        asked = ask("secrets", "rotate", "--json", home=folder)
        assert (asked.code, asked.json["values"], asked.json["old_keys_gone"]) == (0, 2, True)
        assert home.keys.read() != old
        assert home.keys.read()[0] not in asked.out
        assert sealing.held(home, "mail") == {"password": "of-the-mail"}
        assert "were sealed anew" in ask("secrets", "rotate", home=folder).out
