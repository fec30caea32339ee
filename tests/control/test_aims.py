"""Secrets that somebody else gives in this very moment do not go where an older config leads."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event

from millrace.control.alerting import alert_channels
from millrace.control.connecting import connections
from millrace.control.home import Home
from millrace.control.people.actors import EVERYTHING, Actor
from millrace.control.pipeline import drafts
from millrace.control.pipeline.pipelines import Wish
from millrace.errors import ConfigError

COLLECTOR = "https://collector.example.com"


@contextmanager
def meanwhile(home: Home, table: str, do: Callable[[], object]) -> Generator[None]:
    """Somebody else does that as soon as the table was read for the first time."""
    left = [do]

    def look(*said: object) -> None:
        if f"FROM {table}" in str(said[2]) and left:
            left.pop()()

    event.listen(home.database.engine, "after_cursor_execute", look)
    yield
    event.remove(home.database.engine, "after_cursor_execute", look)
    assert not left


def editor(home: Home) -> Home:
    return home.acting(Actor("user", "editor@example.com", permissions=EVERYTHING))


def test_of_a_connection(home: Home, clevertap: dict[str, Any]) -> None:
    elsewhere = clevertap | {"base_url": COLLECTOR, "passcode": "own"}
    kept = {key: value for key, value in elsewhere.items() if key != "passcode"}
    connections.create(home, "source", "app", "clevertap", elsewhere)

    def saved() -> None:
        connections.change(home, "source", "app", config=clevertap)

    def sent() -> tuple[Any, ...]:
        found: Any = connections.settings_of(home, connections.find(home, "source", "app"))
        return found.base_url, found.passcode.get_secret_value()

    with meanwhile(home, "connections", saved):
        assert sent() == (COLLECTOR, "own")
    assert sent() == (None, clevertap["passcode"])
    connections.change(editor(home), "source", "app", config=elsewhere)
    with meanwhile(home, "connections", saved), pytest.raises(ConfigError, match="by somebody else"):
        connections.change(editor(home), "source", "app", config=kept, keep_secrets=True)
    assert sent() == (None, clevertap["passcode"])


def test_of_a_channel(home: Home) -> None:
    ours = {"host": "1.1.1.1", "sender": "m@example.com", "username": "u", "password": "real", "security": "none"}
    elsewhere = ours | {"host": "8.8.8.8", "password": "own"}
    kept = {key: value for key, value in elsewhere.items() if key != "password"}
    alert_channels.add(home, "mail", "email", elsewhere)

    def saved() -> None:
        alert_channels.change(home, "mail", config=ours)

    def sent() -> tuple[Any, ...]:
        found: Any = alert_channels.settings(home, alert_channels.find(home, "mail").id)
        return found.host, found.password.get_secret_value()

    with meanwhile(home, "alert_channels", saved):
        assert sent() == ("1.1.1.1", "real")
    alert_channels.change(editor(home), "mail", config=elsewhere)
    with meanwhile(home, "alert_channels", saved), pytest.raises(ConfigError, match="would lead elsewhere"):
        alert_channels.change(editor(home), "mail", config=kept)
    assert sent() == ("1.1.1.1", "real")


def test_of_a_draft(home: Home, clevertap: dict[str, Any], tmp_path: Path) -> None:
    connections.create(home, "destination", "warehouse", "duckdb", {"path": str(tmp_path / "w.duckdb")})
    elsewhere = clevertap | {"base_url": COLLECTOR, "passcode": "own"}
    number = drafts.save(home, name="orders", source_type="clevertap", config=elsewhere).number

    def saved() -> None:
        drafts.save(home, number=number, name="orders", source_type="clevertap", config=clevertap)

    with meanwhile(home, "drafts", saved):
        drafts.finish(editor(home), number, Wish("orders", "app", "warehouse"))
    found: Any = connections.settings_of(home, connections.find(home, "source", "app"))
    assert (found.base_url, found.passcode.get_secret_value()) == (COLLECTOR, "own")
