"""Ways to a real MariaDB: through SSH, by a connection string."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from pydantic import ValidationError
from tests.mariadb import Database
from tests.proxy import Pair, Proxy
from tests.sources.mysql.log.site import Site
from tests.sshd import SshServer, ssh_server

from millrace.connect.destination import Load
from millrace.connect.reach import WORLD
from millrace.connect.source import Context
from millrace.connect.testing.destination import FEED
from millrace.connect.testing.worked import BATCH, example
from millrace.destinations.mysql.destination import Config as DestinationConfig
from millrace.destinations.mysql.destination import Destination
from millrace.errors import MillraceError, Transient
from millrace.sources.mysql.config import Config
from millrace.sources.mysql.source import Source

__all__ = ["ssh_server"]


@pytest.fixture(scope="module")
def shop(mariadb: Database) -> Iterator[Database]:
    """A database of its own with a table of 1,000 rows."""
    fresh = replace(mariadb, name=f"shop_{secrets.token_hex(6)}")
    mariadb.run(f'CREATE DATABASE "{fresh.name}"')
    fresh.run("CREATE TABLE pets (id int PRIMARY KEY, v varchar(1000))")
    fresh.run("INSERT INTO pets SELECT seq, repeat('x', 1000) FROM seq_1_to_1000")
    yield fresh
    mariadb.run(f'DROP DATABASE "{fresh.name}"')


def test_a_history_and_a_log_are_read_through_ssh(tmp_path: Path, shop: Database, ssh_server: SshServer) -> None:
    with closing(Site(tmp_path, shop)) as site:
        site.create(objects={"pets": None}, **ssh_server.settings())
        site.run()
        shop.run("INSERT INTO pets VALUES (0, 'new')", "DELETE FROM pets WHERE id = 0")
        site.run()
        assert site.query("SELECT count(*) FROM pets WHERE NOT __hevo__marked_deleted") == [(1000,)]
        assert site.query("SELECT id, v FROM pets WHERE __hevo__marked_deleted") == [(0, "new")]


def test_rows_are_loaded_through_ssh(shop: Database, ssh_server: SshServer) -> None:
    config = DestinationConfig(**shop.settings(**ssh_server.settings()))
    with closing(Destination(config)) as destination:
        made = example("loaded")
        destination.ensure(made)
        destination.load(made, Load(FEED, 0, 1, 1, BATCH))
    assert shop.run("SELECT count(*) > 0 FROM loaded") == [(1,)]


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"ssh_user": "nobody_at_all"}, "mysql_1007"),
        ({"ssh_port": 1}, "mysql_1007"),
        ({"ssh_host": "no-such-host.invalid"}, "mysql_1007"),
        ({"ssh_private_key": "nothing"}, "mysql_1007"),
        ({"db_port": 1}, "mysql_1003"),
        ({"db_password": "wrong"}, "mysql_1011"),
    ],
)
def test_what_is_wrong_on_the_way_is_told(
    shop: Database, ssh_server: SshServer, change: dict[str, Any], code: str
) -> None:
    source = Source(Config(**shop.settings(**ssh_server.settings() | change)))
    with pytest.raises(MillraceError) as raised:
        source.streams()
    assert raised.value.code == code
    assert ssh_server.private_key not in str(raised.value)


def test_others_than_the_operator_reach_no_ssh_server_of_this_machine(shop: Database, ssh_server: SshServer) -> None:
    source = Source(Config(**shop.settings(**ssh_server.settings())), Context(reach=WORLD))
    with pytest.raises(MillraceError) as raised:
        source.streams()
    assert raised.value.code == "private_address"


def test_a_connection_string_is_as_good_as_single_settings(shop: Database) -> None:
    text = f"mysql://{shop.user}:{quote(shop.password)}@{shop.host}:{shop.port}/{shop.name}?ssl-mode=DISABLED"
    found = Source(Config.model_validate({"connection_string": text})).streams()
    assert "pets" in [one.name for one in found]


def test_a_setting_that_the_string_says_otherwise_is_told_without_its_password(shop: Database) -> None:
    text = "mysql://reader:hidden-word@db.example.com/shop"
    with pytest.raises(ValidationError, match="db_name is part of connection_string too") as raised:
        Config.model_validate({"connection_string": text, "db_name": "other"})
    assert "hidden-word" not in str(raised.value)


def test_a_server_that_goes_away_in_the_middle_of_tls_is_no_matter_of_settings(shop: Database) -> None:
    proxy = Proxy(shop.port)
    settings = replace(shop, port=proxy.port).settings(ssl_mode="required")
    try:
        with proxy.at(1 << 60, Pair.cut):
            Source(Config(**settings)).streams()
        # Within the handshake, while the user signs in, and amid queries.
        for point in (400, 1200, *(proxy.passed * part // 10 for part in (3, 6, 9))):
            for action in (Pair.cut, Pair.reset):
                with proxy.at(point, action), pytest.raises(Transient) as raised:
                    Source(Config(**settings)).streams()
                assert raised.value.code in ("mysql_1003", "transient")
    finally:
        proxy.close()
