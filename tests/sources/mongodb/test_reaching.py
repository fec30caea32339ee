"""Ways to a deployment, and what is told where one does not lead there: each with its number."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bson
import pytest
from pydantic import ValidationError
from pymongo import MongoClient
from tests.certificates import Certificates, certificates
from tests.mongodb import Server
from tests.proxy import Pair, Proxy
from tests.sshd import SshServer, ssh_server

from millrace.connect.log import Followed, Following
from millrace.connect.reach import WORLD
from millrace.connect.source import Context, Verdict
from millrace.errors import MillraceError, Transient
from millrace.sources.mongodb import client as driver
from millrace.sources.mongodb.config import Config
from millrace.sources.mongodb.source import Source

__all__ = ["ssh_server"]

SECRET = "p@ss/word:1"


@dataclass(frozen=True)
class Guarded:
    """A server that wants encryption and a user. ``root`` may do everything, ``reader`` reads the database shop."""

    server: Server
    files: dict[str, Path]

    def settings(self, **more: Any) -> dict[str, Any]:
        return {
            "db_host": "127.0.0.1",
            "db_port": self.server.port,
            "db_names": ["shop"],
            "db_user": "reader",
            "db_password": SECRET,
            "use_ssl": True,
            "ssl_ca": self.files["authority"],
            "connect_timeout_s": 2,
        } | more


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    folder, keys = tmp_path_factory.mktemp("keys"), certificates()
    files = {name: folder / f"{name}.pem" for name in ("authority", "server", "server_key", "client", "other")}
    for name, path in files.items():
        path.write_bytes(getattr(keys, name) if name not in ("client", "other") else keys.client + keys.client_key)
    files["other"].write_bytes(_another().authority)
    server = Server().start()
    try:
        with MongoClient[dict[str, Any]](server.uri) as client:
            client["shop"]["t"].insert_many([{"_id": number} for number in range(3)])
            client["private"]["t"].insert_one({"_id": 1})
            client.admin.command("createUser", "root", pwd=SECRET, roles=["root"])
            client["$external"].command(
                "createUser", "CN=client", mechanisms=["MONGODB-X509"], roles=[{"role": "read", "db": "shop"}]
            )
            client.admin.command("createUser", "reader", pwd=SECRET, roles=[{"role": "read", "db": "shop"}])
        server.end(kindly=True)
        tls = {"tls": True, "tlsCAFile": str(files["authority"])}
        server.start(
            "--auth", f"--tls-cert-file={files['server']}", f"--tls-key-file={files['server_key']}",
            f"--tls-ca-file={files['authority']}", **tls,
        )  # fmt: skip
        yield Guarded(server, files)
    finally:
        server.stop()


def _another() -> Certificates:
    """Certificates of an authority that nobody knows."""
    return certificates.__wrapped__()


def settings_of(**settings: Any) -> Config:
    return Config(**settings)


def names(**settings: Any) -> list[str]:
    with closing(Source(Config(**settings), Context())) as source:
        return [stream.name for stream in source.streams()]


def fault(context: Context | None = None, **settings: Any) -> MillraceError:
    with closing(Source(Config(**settings), context or Context())) as source, pytest.raises(MillraceError) as raised:
        source.streams()
    assert raised.value.hint or raised.value.code == "private_address"
    assert SECRET not in str(raised.value) and "p%40ss" not in str(raised.value)
    return raised.value


def checked(**settings: Any) -> list[Verdict]:
    with closing(Source(Config(**settings), Context())) as source:
        return source.check()


def test_a_reader_sees_what_it_may_by_tls_and_a_password(guarded: Guarded) -> None:
    assert names(**guarded.settings()) == ["shop.t"]
    assert [one.state for one in checked(**guarded.settings())] == ["pass"] * 4
    assert [one.state for one in checked(**guarded.settings(ingestion_mode="table"))] == ["pass"] * 3
    every = guarded.settings(db_user="root", db_names=[])
    assert names(**every) == ["private.t", "shop.t"]


def test_a_connection_string_says_the_same(guarded: Guarded) -> None:
    text = f"mongodb://reader:p%40ss%2Fword%3A1@127.0.0.1:{guarded.server.port}/?authSource=admin&tls=true"
    settings = {"db_names": ["shop"], "ssl_ca": guarded.files["authority"], "connect_timeout_s": 2}
    assert names(connection_string=text, use_ssl=True, **settings) == ["shop.t"]
    assert settings_of(connection_string=text).account() == f"127.0.0.1:{guarded.server.port}"


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"db_password": "wrong"}, "mongodb_1001"),
        ({"db_user": "nobody"}, "mongodb_1001"),
        ({"auth_database": "shop"}, "mongodb_1001"),
        ({"db_names": ["private"]}, "mongodb_1011"),
        ({"db_host": "no-such-host.invalid"}, "mongodb_1006"),
        ({"db_port": 1}, "mongodb_1008"),
        ({"replica_set": "another"}, "mongodb_1008"),
        ({"ssl_ca": None}, "mongodb_1009"),
        ({"use_ssl": False, "ssl_ca": None}, "mongodb_1009"),
    ],
)
def test_what_is_in_the_way_is_told_by_its_number(guarded: Guarded, change: dict[str, Any], code: str) -> None:
    assert fault(**guarded.settings(**change)).code == code


def test_a_server_that_another_authority_vouches_for_is_refused(guarded: Guarded) -> None:
    assert fault(**guarded.settings(ssl_ca=guarded.files["other"])).code == "mongodb_1009"
    assert names(**guarded.settings(ssl_ca=None, ssl_mode="require")) == ["shop.t"]


def test_a_server_that_goes_away_in_the_middle_of_tls_is_no_matter_of_settings(guarded: Guarded) -> None:
    proxy = Proxy(guarded.server.port)
    settings = guarded.settings(db_port=proxy.port, connect_timeout_s=1)
    try:
        with proxy.at(300, Pair.cut, again=True):
            error = fault(**settings)
        assert isinstance(error, Transient) and error.code in ("mongodb_1008", "mongodb_1009")
        assert names(**settings) == ["shop.t"]
    finally:
        proxy.close()


def test_following_all_databases_needs_the_right_to_all(guarded: Guarded) -> None:
    verdict = checked(**guarded.settings(db_names=[]))[-1]
    assert (verdict.step, verdict.state) == ("log", "fail") and "readAnyDatabase" in str(verdict.hint)


def test_a_server_with_a_wish_for_certificates_gets_one(guarded: Guarded) -> None:
    assert names(**guarded.settings(ssl_cert=guarded.files["client"])) == ["shop.t"]


def test_a_user_signs_in_by_a_certificate(guarded: Guarded) -> None:
    settings = guarded.settings(ssl_cert=guarded.files["client"], auth_mechanism="MONGODB-X509")
    assert names(**settings | {"db_user": None, "db_password": None}) == ["shop.t"]


def test_a_server_that_says_nothing_does_not_answer() -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as silent:
        error = fault(db_host="127.0.0.1", db_port=silent.getsockname()[1], connect_timeout_s=1)
    assert error.code == "mongodb_1005"


@contextmanager
def saying(**hello: Any) -> Generator[int]:
    """The port of a server that answers every question with the same words about itself, as old servers do.

    Source: https://www.mongodb.com/docs/manual/legacy-opcodes/ (OP_REPLY)
    """
    listening = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                wire, _ = listening.accept()
            except OSError:
                return
            threading.Thread(target=answer, args=(wire,), daemon=True).start()

    def answer(wire: socket.socket) -> None:
        with wire:
            while head := wire.recv(16, socket.MSG_WAITALL):
                size, request, _, kind = struct.unpack("<iiii", head)
                wire.recv(size - 16, socket.MSG_WAITALL)
                body = bson.encode({"ok": 1.0, "maxBsonObjectSize": 2**24, **hello})
                if kind == 2004:  # OP_QUERY
                    told = struct.pack("<iqii", 8, 0, 0, 1) + body
                    wire.sendall(struct.pack("<iiii", 16 + len(told), 1, request, 1) + told)
                else:
                    told = struct.pack("<iB", 0, 0) + body
                    wire.sendall(struct.pack("<iiii", 16 + len(told), 1, request, 2013) + told)

    threading.Thread(target=serve, daemon=True).start()
    with closing(listening):
        yield listening.getsockname()[1]


def test_a_server_that_is_too_old_is_told() -> None:
    with saying(ismaster=True, minWireVersion=0, maxWireVersion=6) as port:
        error = fault(db_host="127.0.0.1", db_port=port, connect_timeout_s=5)
    assert error.code == "mongodb_1029" and "4.4" in str(error.hint)


def test_a_secondary_alone_is_no_primary() -> None:
    server = Server().start()
    try:
        with MongoClient[dict[str, Any]](server.uri) as client:
            client["shop"]["t"].insert_one({"_id": 1})
            client.admin.command("replSetStepDown", 600, force=True)
        settings: dict[str, Any] = {"db_host": "127.0.0.1", "db_port": server.port, "connect_timeout_s": 1}
        settings["replica_set"] = "secantus"
        assert fault(**settings).code == "mongodb_1028"
        assert names(**settings | {"read_preference": "secondaryPreferred", "connect_timeout_s": 30}) == ["shop.t"]
    finally:
        server.stop()


def test_a_server_that_is_alone_has_no_change_streams_and_is_read_by_queries() -> None:
    server = Server(("--standalone",)).start()
    try:
        with MongoClient[dict[str, Any]](server.uri) as client:
            client["shop"]["t"].insert_one({"_id": 1})
        settings: dict[str, Any] = {"db_host": "127.0.0.1", "db_port": server.port, "db_names": ["shop"]}
        verdict = checked(**settings)[-1]
        assert (verdict.step, verdict.state) == ("log", "fail") and "replica set" in verdict.message
        assert [one.state for one in checked(**settings, ingestion_mode="table")] == ["pass"] * 3
        with closing(Source(Config(**settings), Context())) as source:
            log, streams = source.log(), {one.name: Followed(one, "merge") for one in source.streams()}
            assert log is not None
            with pytest.raises(MillraceError) as refused:
                list(log.follow(Following(streams)))
        assert refused.value.code == "mongodb_standalone" and "rs.initiate" in str(refused.value.hint)
    finally:
        server.stop()


def test_a_database_that_is_not_there_has_nothing_to_read(guarded: Guarded) -> None:
    settings = guarded.settings(db_user="root", db_names=["no_such_database"])
    assert names(**settings) == []
    verdict = checked(**settings)[-1]
    assert (verdict.step, verdict.state) == ("objects", "fail")
    assert "no_such_database" in verdict.message and "db_names" in str(verdict.hint)


def test_a_port_of_another_service_is_no_mongodb(ssh_server: SshServer) -> None:
    for use_ssl, codes in ((False, ("mongodb_1008", "mongodb_1009", "mongodb_1005")), (True, ("mongodb_1009",))):
        error = fault(db_host="127.0.0.1", db_port=ssh_server.port, use_ssl=use_ssl, connect_timeout_s=2)
        assert error.code in codes


def test_a_deployment_is_read_through_ssh(guarded: Guarded, ssh_server: SshServer) -> None:
    settings = guarded.settings(**ssh_server.settings())
    assert names(**settings) == ["shop.t"]
    assert [one.state for one in checked(**settings)] == ["pass"] * 4


@pytest.mark.parametrize("change", [{"ssh_user": "nobody_at_all"}, {"ssh_port": 1}, {"ssh_private_key": "nothing"}])
def test_what_is_wrong_with_ssh_is_told(guarded: Guarded, ssh_server: SshServer, change: dict[str, Any]) -> None:
    assert fault(**guarded.settings(**ssh_server.settings() | change)).code == "mongodb_1007"


def test_others_than_the_operator_reach_no_server_of_this_machine(guarded: Guarded) -> None:
    assert fault(Context(reach=WORLD), **guarded.settings()).code == "private_address"
    text = f"mongodb://127.0.0.1:{guarded.server.port}/"
    assert fault(Context(reach=WORLD), connection_string=text, connect_timeout_s=1).code == "private_address"


@pytest.mark.parametrize(
    "settings", [{"db_host": "mongodb.sock"}, {"connection_string": "mongodb://%2Ftmp%2Fmongodb-27017.sock/"}]
)
def test_others_than_the_operator_reach_no_socket_of_this_machine(settings: dict[str, Any]) -> None:
    assert fault(Context(reach=WORLD), **settings, connect_timeout_s=1).code == "private_address"


def test_a_name_that_leads_elsewhere_a_moment_later_wins_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    real, asked, heard = socket.getaddrinfo, list[str](), threading.Event()

    def rebinding(host: Any, *args: Any, **more: Any) -> Any:
        if host != "rebinding.example.com":
            return real(host, *args, **more)
        asked.append(host)
        # Nobody answers at the first, which others than the operator may reach; some machines know no way to it.
        return real("10.255.255.1" if len(asked) % 2 else "127.0.0.1", *args, **more)

    with socket.create_server(("127.0.0.1", 0)) as listener:

        def listen() -> None:
            with suppress(OSError):
                listener.accept()
                heard.set()

        threading.Thread(target=listen, daemon=True).start()
        monkeypatch.setattr(socket, "getaddrinfo", rebinding)
        settings = {"db_host": f"rebinding.example.com:{listener.getsockname()[1]}", "connect_timeout_s": 1}
        assert fault(Context(reach=WORLD), **settings).code in ("mongodb_1005", "mongodb_1008", "private_address")
    assert asked and not heard.is_set()


def test_a_connection_string_names_no_file() -> None:
    error = fault(connection_string="mongodb://u:p%40ss@127.0.0.1/?tlsCAFile=/etc/passwd")
    assert error.code == "mongodb_settings" and error.path == "connection_string"
    driver.heard("mongodb+srv://a.example.com/?retryWrites=true&w=majority&appName=Cluster0")


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({}, "give db_host"),
        ({"db_host": "a", "connection_string": "mongodb://a/"}, "give db_host"),
        ({"connection_string": "https://user:hidden@a/"}, "does not begin with"),
        ({"connection_string": "mongodb://user:hid/den@a:x/"}, "cannot be read"),
        ({"connection_string": "mongodb://user:hidden@a,b:99999/"}, "a port of a host is none"),
        ({"db_host": "a:0"}, "a port of a host is none"),
        ({"connection_string": "mongodb+srv://user:hidden@a,b/"}, "names one host"),
        ({"connection_string": "mongodb://a/", "db_user": "x"}, "part of connection_string"),
        ({"db_host": "a", "db_password": "hidden"}, "db_user is missing"),
        ({"db_host": "a", "auth_mechanism": "MONGODB-X509"}, "ssl_cert is missing"),
        ({"db_host": "a", "db_names": ["local"]}, "for itself"),
        ({"db_host": "a:port"}, "no host with a port"),
        ({"db_host": ","}, "names no host"),
        ({"db_host": "a,b", "ssh_host": "c", "ssh_user": "d", "ssh_host_key": "e", "ssh_agent": True}, "name one host"),
        ({"db_host": "a", "ssh_host": "c"}, "ssh_user is missing"),
    ],
)
def test_settings_that_do_not_go_together_are_told(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said) as raised:
        Config(**settings)
    words = str([one["msg"] for one in raised.value.errors()])
    assert "hidden" not in words and "hid/den" not in words


def test_hosts_bring_their_ports_and_addresses_stand_in_brackets() -> None:
    config = settings_of(db_host="a.example.com, b:27018,[::1]:5,2001:db8::1", db_port=9)
    assert config.hosts == [("a.example.com", 9), ("b", 27018), ("::1", 5), ("2001:db8::1", 9)]
