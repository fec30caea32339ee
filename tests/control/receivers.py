"""A real mail server and a real HTTP server of this machine, which keep what they are sent."""

from __future__ import annotations

import datetime
import ipaddress
import json
import socket
import ssl
import threading
from collections.abc import Generator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from tests.ports import free_port


@dataclass
class Mailbox:
    """Where a mail server listens, and what it took. ``answers``: what it says to the next mails instead of taking
    them. ``refused``: what it says of these recipients."""

    port: int = 0
    mails: list[EmailMessage] = field(default_factory=list[EmailMessage])
    recipients: list[list[str]] = field(default_factory=list[list[str]])
    encrypted: list[bool] = field(default_factory=list[bool])
    answers: list[str] = field(default_factory=list[str])
    refused: dict[str, str] = field(default_factory=dict[str, str])

    async def handle_RCPT(self, server: Any, session: Any, envelope: Any, address: str, options: list[str]) -> str:
        if address in self.refused:
            return self.refused[address]
        envelope.rcpt_tos.append(address)
        envelope.rcpt_options.extend(options)
        return "250 OK"

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        if self.answers:
            return self.answers.pop(0)
        self.mails.append(message_from_bytes(envelope.content, policy=policy.default))
        self.recipients.append(list(envelope.rcpt_tos))
        self.encrypted.append(session.ssl is not None)
        return "250 OK"


@contextmanager
def mail_server(
    *, login: tuple[str, str] | None = None, certificate: Path | None = None, tls: bool = False
) -> Generator[Mailbox]:
    """A mail server, which asks for ``login`` and encrypts by STARTTLS, or with ``tls`` from the start."""
    box = Mailbox()

    def known(server: Any, session: Any, envelope: Any, mechanism: str, given: Any) -> AuthResult:
        pair = (given.login.decode(), given.password.decode())
        return AuthResult(success=pair == login, handled=False)

    more: dict[str, Any] = {}
    if login is not None:
        more = {"authenticator": known, "auth_required": True, "auth_require_tls": certificate is not None}
    if certificate is not None:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(certificate)
        more |= {"ssl_context": context} if tls else {"tls_context": context, "require_starttls": True}
    box.port = free_port()
    controller = Controller(box, hostname="127.0.0.1", port=box.port, **more)
    controller.start()
    try:
        yield box
    finally:
        controller.stop()


def certificate(folder: Path) -> Path:
    """A file with a key and a certificate for this machine, which signs itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    file = folder / "server.pem"
    file.write_bytes(private + made.public_bytes(serialization.Encoding.PEM))
    return file


@dataclass(frozen=True)
class Received:
    """A request as it came."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Receiver:
    """Where an HTTP server listens, and what it took. ``answers``: the next statuses; after them, 200. ``held``: paths
    at which it does not answer before that happens."""

    url: str
    received: list[Received] = field(default_factory=list[Received])
    answers: list[int] = field(default_factory=list[int])
    held: dict[str, threading.Event] = field(default_factory=dict[str, threading.Event])

    def bodies(self) -> list[Any]:
        return [one.json for one in self.received]


@contextmanager
def http_server() -> Generator[Receiver]:
    """An HTTP server that takes everything."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            heads = {name.lower(): value for name, value in self.headers.items()}
            receiver.received.append(Received("POST", self.path, heads, body))
            if self.path in receiver.held:
                receiver.held[self.path].wait(60)
            self.send_response(receiver.answers.pop(0) if receiver.answers else 200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    receiver = Receiver(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield receiver
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def dripping(first: bytes, drop: bytes, *, certificate: Path | None = None) -> Generator[int]:
    """A server, by its port, that begins an answer and then lets a drop of it fall ten times a second, without end.
    Encrypts with ``certificate``."""
    over = threading.Event()
    context = None
    if certificate is not None:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(certificate)

    def drip(held: socket.socket) -> None:
        with suppress(OSError), held if context is None else context.wrap_socket(held, server_side=True) as there:
            there.sendall(first)
            while not over.wait(0.1):
                there.sendall(drop)

    def accept() -> None:
        with suppress(OSError):
            while True:
                held, _ = listener.accept()
                threads.append(threading.Thread(target=drip, args=(held,)))
                threads[-1].start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threads = [threading.Thread(target=accept)]
        threads[0].start()
        try:
            yield listener.getsockname()[1]
        finally:
            over.set()
            listener.shutdown(socket.SHUT_RDWR)
            for thread in threads:
                thread.join()
