"""A server that says what the protocol does not have, or that is none of MySQL's: told, whatever it says and when."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import pytest
from tests.connect.mysql.wire import END, packets, payload
from tests.sshd import SshServer, ssh_server

from millrace.connect.mysql.server import ServerSettings, opened
from millrace.connect.mysql.session import Session
from millrace.connect.reach import ANYWHERE
from millrace.errors import MillraceError, Transient
from millrace.sources.mysql.log.wire import Dump

__all__ = ["ssh_server"]

# The greeting of a server of version 8.0.40 that asks for no encryption.
GREETING = packets(
    b"\x0a8.0.40\0" + bytes(4) + b"12345678\0" + b"\xff\xf7\x2d\x02\0\x0f\x80\x15" + bytes(10) + b"123456789012\0"
    b"mysql_native_password\0",
    0,
)
OK = b"\0\0\0\2\0\0\0"
# Errors that are none.
ERRORS = (b"\xff", b"\xff\x25", b"\xff\x25\x05", b"\xff\x25\x05#\xc3\x28000")
ODD = (*ERRORS, b"", b"\xfe")


def rows(*row: bytes) -> Sequence[bytes]:
    """An answer of one row of text, as payloads."""
    column = b"\3def\0\0\0\1c\0\x0c\x2d\0\xff\0\0\0\xfd\0\0\0\0\0"
    return bytes([len(row)]), *[column] * len(row), END, payload(row), END


def settings_of(port: int, **more: Any) -> ServerSettings:
    login: dict[str, Any] = {"db_name": "shop", "db_user": "a", "db_password": "x", "connect_timeout_s": 2}
    login |= {"db_host": "127.0.0.1", "db_port": port}
    return ServerSettings(**login | more)


@contextmanager
def answering(greeting: bytes, *answers: Sequence[bytes]) -> Generator[Any]:
    """A connection to a server that greets, lets everybody in and gives these answers, one after the other."""
    listening = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        with suppress(OSError):
            wire, _ = listening.accept()
            with wire:
                wire.sendall(greeting)
                wire.recv(4096)
                first = 2
                for answer in ([OK], [OK], *answers):
                    wire.sendall(b"".join(packets(one, first + place) for place, one in enumerate(answer)))
                    wire.recv(4096)
                    first = 3 if answer[0][:1] == b"\xfb" else 1
                wire.recv(4096)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    settings = settings_of(listening.getsockname()[1], ssl_mode="disabled")
    connection: Any = None
    try:
        connection = opened(settings, ANYWHERE, "MySQL at here/shop")
        yield connection
    finally:
        if connection is not None:
            connection._force_close()
        listening.close()
        thread.join()


def told(error: pytest.ExceptionInfo[MillraceError], code: str) -> None:
    assert isinstance(error.value, Transient) and error.value.code == code
    assert "MySQL at here/shop" in error.value.message


@pytest.mark.parametrize("body", [*ODD, b"\x0a8.0.40\0" + bytes(6)])
def test_a_greeting_that_is_none_is_1003(body: bytes) -> None:
    with pytest.raises(MillraceError) as error, answering(packets(body, 0)):
        pass
    told(error, "mysql_1003")


def test_a_port_of_another_service_is_1003(ssh_server: SshServer) -> None:
    settings = settings_of(ssh_server.port)
    with pytest.raises(MillraceError, match=r"1003.*speaks no protocol of MySQL's") as error:
        opened(settings, ANYWHERE, "MySQL at here/shop")
    told(error, "mysql_1003")
    assert "db_port" in str(error.value.hint)


VERSION, SIZES = rows(b"8.0.40"), rows(b"1", b"67108864")


@pytest.mark.parametrize("body", ODD)
@pytest.mark.parametrize("asks", [Session.execute, Session.rows, Session.answer, Session.parts])
def test_an_answer_that_is_none_is_told_and_ends_the_connection(body: bytes, asks: Callable[..., Any]) -> None:
    with answering(GREETING, VERSION, SIZES, [body]) as connection:
        session = Session(connection, "MySQL at here/shop")
        with pytest.raises(MillraceError) as error:
            found = asks(session, "SELECT 1")
            assert not list(found)
        told(error, "transient")
        assert not session.stands


@pytest.mark.parametrize("body", ERRORS)
def test_an_answer_to_rows_that_is_none_is_told_and_ends_the_connection(body: bytes) -> None:
    for answers in ([[body]], [[b"\xfbfile"], [body]]):
        with answering(GREETING, VERSION, SIZES, *answers) as connection:
            session = Session(connection, "MySQL at here/shop")
            with pytest.raises(MillraceError) as error:
                session.send("LOAD DATA LOCAL INFILE 'file' INTO TABLE t", [])
            told(error, "transient")
            assert not session.stands


def test_a_statement_that_stays_out_of_date_at_the_server_is_sent_as_text() -> None:
    count, column, *_ = rows(b"x")
    prepared = b"\0" + (7).to_bytes(4, "little") + b"\1\0" + bytes(5), column, END
    stale = b"\xff" + (1615).to_bytes(2, "little") + b"#HY000Prepared statement needs to be re-prepared"
    assert count == b"\1"
    with answering(GREETING, VERSION, SIZES, prepared, [stale], rows(b"x")) as connection:
        session = Session(connection, "MySQL at here/shop")
        assert [part.raw(0) for part in session.parts("SELECT c FROM t")] == [[b"x"]]
        assert session.stands


@pytest.mark.parametrize("body", [*ODD[:-1], b"\0", b"\0" * 19, b"\0" * 24])
def test_an_event_of_the_log_that_is_none_is_told(body: bytes) -> None:
    checksummed = rows(b"1")
    with answering(GREETING, *[[OK]] * 4, checksummed, [body]) as connection:
        dump = Dump(connection, "MySQL at here/shop", 7, "uuid")
        dump.start("log.000001", 4)
        with pytest.raises(MillraceError) as error:
            list(dump.events())
        told(error, "transient")
