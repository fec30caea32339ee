"""Who may aim connections at the server's own machine and network."""

from __future__ import annotations

from typing import Any

import pytest
from tests.control.people import acting, cheap, joined
from tests.postgres import Database

from millrace.connect.files.store import Store
from millrace.connect.reach import ANYWHERE, NETWORK, WORLD
from millrace.connect.source import Context
from millrace.control import settings
from millrace.control.connecting import checks, connections, reach
from millrace.control.home import Home
from millrace.control.people.actors import SYSTEM
from millrace.destinations.folder import destination as folder
from millrace.errors import ConfigError, Forbidden


def person(home: Home, email: str, role: str = "TEAM_ADMIN") -> Home:
    """The home, asked by a new user."""
    joined(cheap(home), email, role)
    return acting(home, email)


def test_the_operator_reaches_everything_and_others_what_the_setting_leaves(home: Home) -> None:
    people = [person(home, "ada@example.com"), home.acting(SYSTEM)]
    assert reach.of(home) is ANYWHERE
    assert [reach.of(one) for one in people] == [WORLD, WORLD]
    settings.change(people[0], allow_private_addresses=True)
    assert [reach.of(one) for one in people] == [NETWORK, NETWORK]
    with pytest.raises(Forbidden):
        settings.change(person(home, "eve@example.com", "PIPELINE_ADMIN"), allow_private_addresses=False)
    with pytest.raises(ConfigError):
        settings.change(home, allow_private_addresses="yes")


def test_a_source_that_somebody_aims_at_the_server_is_told_and_not_asked(home: Home, clevertap: dict[str, Any]) -> None:
    ada = person(home, "ada@example.com")
    connections.create(ada, "source", "inside", "clevertap", clevertap | {"base_url": "http://127.0.0.1:9"})
    (checked,) = checks.check(ada, "inside")
    failed = next(verdict for verdict in checked.verdicts if verdict.state == "fail")
    assert "server's own machine" in failed.message
    assert "allow_private_addresses" in (failed.hint or "")
    (by_operator,) = checks.check(home, "inside")
    assert not any("server's own machine" in verdict.message for verdict in by_operator.verdicts)


def test_a_database_on_the_servers_own_machine_is_the_operators_alone(home: Home, postgres: Database) -> None:
    ada = person(home, "ada@example.com")
    made = connections.create(ada, "destination", "warehouse", "postgres", postgres.settings())

    def ready(asker: Home) -> None:
        built = connections.build_destination(asker, made.id, Context())
        try:
            built.ready()
        finally:
            built.close()

    ready(home)
    with pytest.raises(ConfigError) as caught:
        ready(ada)
    assert caught.value.code == "private_address"
    settings.change(home, allow_private_addresses=True)
    ready(ada)  # by the address that was looked at


def test_a_socket_of_the_servers_machine_is_the_operators_alone(home: Home, postgres: Database) -> None:
    ada = person(home, "ada@example.com")
    aimed = postgres.settings(db_host="/var/run/postgresql")
    made = connections.create(ada, "destination", "warehouse", "postgres", aimed)
    built = connections.build_destination(ada, made.id, Context())
    with pytest.raises(ConfigError) as caught:
        built.ready()
    built.close()
    assert caught.value.code == "private_address"


def test_a_bucket_by_the_servers_own_address_is_the_operators_alone(home: Home) -> None:
    ada = person(home, "ada@example.com")
    aimed = {"path": "s3://bucket/x", "region": "eu-west-1", "endpoint": "http://169.254.169.254"}
    made = connections.create(ada, "destination", "bucket", "folder", aimed)
    built = connections.build_destination(ada, made.id, Context())
    with pytest.raises(ConfigError) as caught:
        built.ready()
    assert caught.value.code == "private_address"


def test_the_servers_own_credentials_open_no_bucket_that_somebody_names(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    ada = person(home, "ada@example.com")
    opened: list[str] = []
    at = Store.at
    monkeypatch.setattr(Store, "at", lambda path, *more, **named: opened.append(path) or at(path, *more, **named))
    keys = {"access_key_id": "AK", "secret_access_key": "SK"}
    buckets = {
        "bare": {"path": "s3://bucket/x", "region": "eu-west-1"},
        "half": {"path": "s3://bucket/x", "region": "eu-west-1", "access_key_id": "AK"},
        "google": {"path": "gs://bucket/x"},
        "azure": {"path": "az://container/x", "account_name": "exports24"},
        "keyed": {"path": "s3://keyed/x", "region": "eu-west-1"} | keys,
        "signed": {"path": "az://signed/x", "account_name": "exports24", "sas_token": "sv=1&sig=2"},
    }
    made = {name: connections.create(ada, "destination", name, "folder", one).id for name, one in buckets.items()}

    def code(asker: Home, name: str) -> str | None:
        """Why it is not opened; None where it is. Nothing is asked of it yet."""
        built = connections.build_destination(asker, made[name], Context())
        assert isinstance(built, folder.Destination)
        try:
            _ = built.catalog
        except ConfigError as error:
            return error.code
        finally:
            built.close()
        return None

    for asker in (ada, home.acting(SYSTEM)):
        assert [code(asker, name) for name in buckets] == ["server_credentials"] * 4 + [None, None]
    assert set(opened) == {"s3://keyed/x", "az://signed/x"}
    assert code(home, "bare") is None
    settings.change(ada, allow_server_credentials=True)
    assert code(ada, "bare") is None
    assert [reach.of(one).web for one in (ada, home)] == [WORLD.web, ANYWHERE.web]
    aimed = buckets["bare"] | {"endpoint": "https://storage.example.com"}
    made["aimed"] = connections.create(ada, "destination", "aimed", "folder", aimed).id
    assert code(ada, "aimed") == "own_keys"
    with pytest.raises(Forbidden):
        settings.change(person(home, "eve@example.com", "PIPELINE_ADMIN"), allow_server_credentials=True)
