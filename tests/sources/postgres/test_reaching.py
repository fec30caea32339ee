"""Ways to the server: through SSH, and by TLS with certificates on both sides."""

from __future__ import annotations

import os
import pwd
import subprocess
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from pydantic import ValidationError
from tests.postgres import Database, Server, binaries
from tests.proxy import Pair, Proxy
from tests.sources.postgres.following import Follow, source
from tests.sources.postgres.log.site import Site
from tests.sshd import SshServer, ssh_server

from millrace.connect.destination import Load
from millrace.connect.reach import WORLD
from millrace.connect.source import Context
from millrace.connect.testing.destination import FEED
from millrace.connect.testing.worked import BATCH, example
from millrace.destinations.postgres import errors as destination_errors
from millrace.destinations.postgres.destination import Config as DestinationConfig
from millrace.destinations.postgres.destination import Destination
from millrace.errors import MillraceError, Transient
from millrace.sources.postgres import errors
from millrace.sources.postgres.config import Config
from millrace.sources.postgres.source import Source

__all__ = ["ssh_server"]


def test_a_database_is_read_through_ssh(shop: Database, ssh_server: SshServer, follow: Follow) -> None:
    shop.run("DROP TABLE IF EXISTS t", "CREATE TABLE t (id integer PRIMARY KEY, v text)")
    shop.run("INSERT INTO t SELECT g, repeat('x', 1000) FROM generate_series(1, 3000) AS g", "ANALYZE t")
    one = follow("public.t", "full_load", range_rows=1000, settings=ssh_server.settings())
    assert len(one.run()) == 3000


def test_a_query_of_the_users_goes_through_ssh_too(shop: Database, ssh_server: SshServer, follow: Follow) -> None:
    settings = {"ingestion_mode": "custom_sql", "custom_sql": "SELECT 1 AS one"}
    assert follow("query", settings=ssh_server.settings() | settings).run() == [{"one": 1}]


def test_a_log_is_followed_through_ssh(tmp_path: Path, shop: Database, ssh_server: SshServer) -> None:
    shop.run(
        "DROP TABLE IF EXISTS t", "CREATE TABLE t (id integer PRIMARY KEY, v text)", "INSERT INTO t VALUES (1, 'a')"
    )
    site = Site(tmp_path, shop)
    with closing(site):
        site.create(objects={"public.t": None}, **ssh_server.settings())
        site.run()
        shop.run(
            "INSERT INTO t SELECT g, repeat('x', 1000) FROM generate_series(2, 500) AS g", "DELETE FROM t WHERE id = 1"
        )
        site.run()
        assert site.query("SELECT count(*), min(id) FROM t WHERE NOT __hevo__marked_deleted") == [(499, 2)]


def test_rows_are_loaded_through_ssh(shop: Database, ssh_server: SshServer) -> None:
    config = DestinationConfig(**shop.settings(**ssh_server.settings()))
    with closing(Destination(config)) as destination:
        made = example("loaded")
        destination.ensure(made)
        destination.load(made, Load(FEED, 0, 1, 1, BATCH))
        assert destination.query("SELECT count(*) > 0 AS found FROM loaded").to_pylist() == [{"found": True}]
    shop.run("DROP TABLE loaded")


def test_a_connection_string_is_as_good_as_single_settings(shop: Database) -> None:
    shop.run("DROP TABLE IF EXISTS t", "CREATE TABLE t (id integer PRIMARY KEY)")
    user, password = quote(shop.user, safe=""), quote(shop.password, safe="")
    for text in (
        f"postgres://{user}:{password}@{shop.host}:{shop.port}/{shop.name}",
        f"host={shop.host} port={shop.port} dbname={shop.name} user={shop.user} password='{shop.password}'",
    ):
        with closing(Source(Config.model_validate({"connection_string": text}))) as reader:
            assert "public.t" in [one.name for one in reader.streams()]


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (
            {"ssh_host_key": "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ0000000000000000000000000000000000000000000"},
            "ssh_host_key",
        ),
        ({"ssh_user": "nobody_at_all"}, "ssh_auth"),
        ({"ssh_private_key": "nothing"}, "ssh_key"),
        ({"ssh_private_key": None, "ssh_password": "wrong"}, "ssh_auth"),
        ({"ssh_host": "no-such-host.invalid"}, "ssh_host"),
        ({"ssh_port": 1}, "transient"),
    ],
)
def test_what_is_wrong_with_ssh_is_told(
    shop: Database, ssh_server: SshServer, change: dict[str, Any], code: str
) -> None:
    settings = ssh_server.settings() | change
    with closing(source(shop, **settings)) as reader, pytest.raises(MillraceError) as raised:
        reader.streams()
    assert raised.value.code == code
    assert ssh_server.private_key not in str(raised.value)


def test_a_host_that_only_the_ssh_server_does_not_reach_either_is_told(shop: Database, ssh_server: SshServer) -> None:
    with closing(source(replace(shop, port=1), **ssh_server.settings())) as reader, pytest.raises(MillraceError):
        reader.streams()


def test_others_than_the_operator_reach_no_ssh_server_of_this_machine(shop: Database, ssh_server: SshServer) -> None:
    context = Context(reach=WORLD)
    with closing(source(shop, context, **ssh_server.settings())) as reader, pytest.raises(MillraceError) as raised:
        reader.streams()
    assert raised.value.code == "private_address"


def test_ssh_without_a_host_key_or_with_two_proofs_is_no_setting(shop: Database, ssh_server: SshServer) -> None:
    for change, said in (({"ssh_host_key": None}, "ssh-keyscan"), ({"ssh_agent": True}, "one of ssh_password")):
        with pytest.raises(ValidationError, match=said):
            source(shop, **ssh_server.settings() | change)


@dataclass(frozen=True, slots=True)
class Certificates:
    """A server by TLS alone, its authority, another one, and a client's certificate and key."""

    database: Database
    authority: Path
    stranger: Path
    certificate: Path
    key: Path


@pytest.fixture(scope="module")
def by_tls(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Certificates]:
    folder = tmp_path_factory.mktemp("tls")
    for name in ("authority", "stranger"):
        _openssl(folder, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
                 "-subj", f"/CN={name}", "-keyout", f"{name}.key", "-out", f"{name}.crt")  # fmt: skip
    (folder / "names").write_text("subjectAltName=DNS:localhost")
    for name, owner in (("server", "localhost"), ("client", "reader")):
        _openssl(folder, "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                 "-subj", f"/CN={owner}", "-keyout", f"{name}.key", "-out", f"{name}.csr")  # fmt: skip
        _openssl(folder, "x509", "-req", "-in", f"{name}.csr", "-CA", "authority.crt", "-CAkey", "authority.key",
                 "-CAcreateserial", "-days", "2", "-extfile", "names", "-out", f"{name}.crt")  # fmt: skip
    server = Server(binaries())
    try:
        database = server.start()
        data = server.folder / "data"
        for name in ("server.crt", "server.key", "authority.crt"):
            (data / name).write_bytes((folder / name).read_bytes())
            (data / name).chmod(0o600)
            if server.programs.user:
                owner = pwd.getpwnam(server.programs.user)
                os.chown(data / name, owner.pw_uid, owner.pw_gid)
        (data / "pg_hba.conf").write_text(
            "hostssl all reader 127.0.0.1/32 cert\nhostssl all all 127.0.0.1/32 scram-sha-256\n"
            f"hostnossl all {database.user} 127.0.0.1/32 scram-sha-256\n"
        )
        database.run(
            "ALTER SYSTEM SET ssl_ca_file = 'authority.crt'",
            "ALTER SYSTEM SET ssl = on",
            "SELECT pg_reload_conf(), pg_sleep(0.3)",
            "CREATE ROLE reader LOGIN",
            "CREATE TABLE t (id integer PRIMARY KEY)",
            "GRANT SELECT ON t TO reader",
        )
        here = replace(database, host="localhost")
        yield Certificates(
            here, folder / "authority.crt", folder / "stranger.crt", folder / "client.crt", folder / "client.key"
        )
    finally:
        server.stop()


def _openssl(folder: Path, *words: str) -> None:
    subprocess.run(["openssl", *words], cwd=folder, check=True, capture_output=True, timeout=30)


def _names(database: Database, **settings: Any) -> list[str]:
    with closing(source(database, **settings)) as reader:
        return [stream.name for stream in reader.streams()]


@pytest.mark.parametrize("mode", ["allow", "prefer", "require", "verify-ca", "verify-full"])
def test_every_mode_of_encryption_connects(by_tls: Certificates, mode: str) -> None:
    assert _names(by_tls.database, ssl_mode=mode, ssl_ca=by_tls.authority) == ["public.t"]


def test_a_clients_certificate_takes_the_place_of_a_password(by_tls: Certificates) -> None:
    reader = replace(by_tls.database, user="reader", password="")
    certificate = {"ssl_ca": by_tls.authority, "ssl_cert": by_tls.certificate, "ssl_key": by_tls.key, "use_ssl": True}
    assert _names(reader, **certificate) == ["public.t"]
    with pytest.raises(MillraceError) as raised:
        _names(reader, ssl_ca=by_tls.authority, use_ssl=True)
    assert raised.value.code in ("postgres_1003", "postgres_1017")


def test_a_server_whose_authority_is_not_trusted_is_1017(by_tls: Certificates) -> None:
    with pytest.raises(MillraceError) as raised:
        _names(by_tls.database, use_ssl=True, ssl_ca=by_tls.stranger)
    assert raised.value.code == "postgres_1017"


def test_a_server_with_another_name_is_1017_where_the_name_counts(by_tls: Certificates) -> None:
    other = replace(by_tls.database, host="127.0.0.1")
    assert _names(other, ssl_mode="verify-ca", ssl_ca=by_tls.authority) == ["public.t"]
    with pytest.raises(MillraceError) as raised:
        _names(other, ssl_mode="verify-full", ssl_ca=by_tls.authority)
    assert raised.value.code == "postgres_1017"


def test_a_server_that_goes_away_in_the_middle_of_tls_is_no_matter_of_settings(by_tls: Certificates) -> None:
    proxy = Proxy(by_tls.database.port)
    settings = replace(by_tls.database, port=proxy.port).settings(use_ssl=True, ssl_ca=by_tls.authority)

    def read() -> None:
        with closing(Source(Config(**settings))) as reader:
            assert [stream.name for stream in reader.streams()] == ["public.t"]

    def enter() -> None:
        with closing(Destination(DestinationConfig(**settings))) as destination:
            destination.ready()

    try:
        for reach, code in ((read, "postgres_1006"), (enter, "transient")):
            with proxy.at(1 << 60, Pair.cut):
                reach()
            # Within the handshake, while the user signs in, and amid queries.
            for point in (100, 900, *(proxy.passed * part // 10 for part in (3, 6, 9))):
                for action in (Pair.cut, Pair.reset):
                    with proxy.at(point, action), pytest.raises(Transient) as raised:
                        reach()
                    assert raised.value.code == code
                    assert "SELECT" not in raised.value.message and "query" not in raised.value.message
    finally:
        proxy.close()


def test_names_in_a_query_that_was_cut_off_tell_nothing_of_encryption() -> None:
    query = "'SELECT ssl, certificate FROM \"it's: a\"'"
    text = f"[libpq] Failed to execute query {query}: server closed the connection unexpectedly"
    for translated in (errors.translated, destination_errors.translated):
        error = translated(None, text, "PostgreSQL at here/shop")
        assert isinstance(error, Transient)
        assert error.message.endswith("cannot be reached: server closed the connection unexpectedly.")
    refused = f'{text}\nconnection to server at "here" failed: SSL error: certificate verify failed'
    assert errors.translated(None, refused, "here").code == "postgres_1017"
