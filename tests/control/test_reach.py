"""Who may aim connections at the server's own machine and network."""

from __future__ import annotations

from typing import Any

import pytest
from tests.control.people import acting, cheap, joined
from tests.postgres import Database

from millrace.connect.reach import ANYWHERE, NETWORK, WORLD
from millrace.connect.source import Context
from millrace.control import checks, connections, reach, settings
from millrace.control.actors import SYSTEM
from millrace.control.home import Home
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
