"""An identity provider of the tests' own: SAML 2.0 over a real socket, by pysaml2 and xmlsec1, and with lies."""

from __future__ import annotations

import base64
import html
import re
import shutil
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import parse_qs, urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from saml2 import BINDING_HTTP_POST, BINDING_HTTP_REDIRECT, class_name
from saml2.config import IdPConfig
from saml2.cryptography import asymmetric
from saml2.metadata import entity_descriptor
from saml2.saml import NAMEID_FORMAT_EMAILADDRESS, NameID
from saml2.sigver import pre_signature_part
from tests import debian

with warnings.catch_warnings():
    # It imports a cipher that moves, and that nobody here uses.
    warnings.simplefilter("ignore")
    from saml2.server import Server

RSA_SHA256 = "http://www.w3.org/2001/04/xmldsig-more#rsa-sha256"
SHA256 = "http://www.w3.org/2001/04/xmlenc#sha256"
AUTHN = {"class_ref": "urn:oasis:names:tc:SAML:2.0:ac:classes:PasswordProtectedTransport"}
Change = Callable[[str], str]
# A key of RSA is tried when it is read, which takes longer than all else that the provider does: each is read once.
asymmetric.load_pem_private_key = cache(asymmetric.load_pem_private_key)


def must_be_there() -> None:
    """What reads and makes signatures is on this machine, by now."""
    assert debian.bring("xmlsec1", lambda: shutil.which("xmlsec1") is not None), "tests of SAML need xmlsec1"


@cache
def pair(kind: str = "rsa2048", of: str = "the provider") -> tuple[str, str]:
    """A key and its certificate, as text. Made once: a key of RSA takes its time."""
    key: Any = (
        ec.generate_private_key(ec.SECP256R1())
        if kind == "ec"
        else rsa.generate_private_key(public_exponent=65537, key_size=int(kind.removeprefix("rsa")))
    )
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, of)])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=30))
        .sign(key, hashes.SHA256())
    )
    plain = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    )
    return plain.decode(), made.public_bytes(serialization.Encoding.PEM).decode()


def _as_it_is(xml: str) -> str:
    return xml


@dataclass
class SamlProvider:
    """What it says, and of whom. Tests change it to see what is believed."""

    entity_id: str
    folder: Path
    email: str = "ada@example.com"
    attributes: dict[str, Any] = field(default_factory=lambda: {"displayName": ["Ada"]})
    name_format: str = NAMEID_FORMAT_EMAILADDRESS
    keys: tuple[str, str] = field(default_factory=pair)
    sign_alg: str = RSA_SHA256
    digest_alg: str = SHA256
    signs_assertion: bool = True
    signs_response: bool = False
    before: Change = _as_it_is
    """What becomes of the response before it is signed."""
    after: Change = _as_it_is
    """And after that."""

    @property
    def sign_on(self) -> str:
        return f"{self.entity_id}/sso"

    def config(self, service: str | None = None) -> IdPConfig:
        key, certificate = self.folder / "key.pem", self.folder / "certificate.pem"
        key.write_text(self.keys[0])
        certificate.write_text(self.keys[1])
        told: dict[str, Any] = {
            "entityid": self.entity_id,
            "key_file": str(key),
            "cert_file": str(certificate),
            "service": {"idp": {"endpoints": {"single_sign_on_service": [(self.sign_on, BINDING_HTTP_REDIRECT)]}}},
        }
        if service is not None:
            told["metadata"] = {"inline": [service]}
        return IdPConfig().load(told)

    def metadata(self) -> str:
        return str(entity_descriptor(self.config()))

    def answer(self, service: str, request: str) -> tuple[str, str]:
        """Somebody has signed in here: where the browser goes back to, and with which response."""
        server = Server(config=self.config(service))
        asked = server.parse_authn_request(request, BINDING_HTTP_REDIRECT).message
        where = server.response_args(asked, [BINDING_HTTP_POST])
        return where["destination"], self.response(server, where["in_response_to"], where["destination"], asked)

    def response(self, server: Server, in_response_to: str, consumer: str, asked: Any) -> str:
        made = server.create_authn_response(
            self.attributes,
            in_response_to,
            consumer,
            asked.issuer.text,
            name_id=NameID(format=self.name_format, text=self.email),
            authn=AUTHN,
            sign_assertion=False,
            sign_response=False,
        )
        made.assertion = made.assertion[0] if isinstance(made.assertion, list) else made.assertion
        certificate = "".join(self.keys[1].splitlines()[1:-1])
        toward = [(made.assertion, self.signs_assertion), (made, self.signs_response)]
        for number, (one, signs) in enumerate(toward):
            if signs:
                one.signature = pre_signature_part(one.id, certificate, number, self.digest_alg, self.sign_alg)
        xml = self.before(str(made))
        for one, signs in toward:
            if signs:
                xml = server.sec.sign_statement(xml, class_name(one), node_id=one.id)
        return self.after(xml)


@contextmanager
def saml_provider(service: Callable[[], str], host: str = "127.0.0.1") -> Iterator[SamlProvider]:
    """A provider that listens. ``service``: the metadata of whom it answers, when they are needed; ``host``: a name of
    this machine, by which browsers know it."""
    must_be_there()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            if parts.path == "/metadata":
                self._answer(200, "application/samlmetadata+xml", found.metadata())
            elif parts.path == "/sso":
                to, response = found.answer(service(), parse_qs(parts.query)["SAMLRequest"][0])
                brought = base64.b64encode(response.encode()).decode()
                page = (
                    f'<form method="post" action="{html.escape(to)}">'
                    f'<input type="hidden" name="SAMLResponse" value="{brought}"></form>'
                    "<script>document.forms[0].submit()</script>"
                )
                self._answer(200, "text/html", page)
            else:
                self._answer(404, "text/plain", "no")

        def _answer(self, status: int, kind: str, body: str) -> None:
            content = body.encode()
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: Any) -> None:
            """Tests do not read it."""

    with TemporaryDirectory() as folder, ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        found = SamlProvider(f"http://{host}:{server.server_address[1]}", Path(folder))
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        try:
            yield found
        finally:
            server.shutdown()
            thread.join()


def form(page: str) -> tuple[str, dict[str, str]]:
    """Where the form of a page goes (nothing: to where the page came from), and what it brings."""
    to = re.search(r'<form method="post"(?: action="([^"]*)")?>', page)
    assert to, page
    inputs = re.findall(r'name="([^"]*)" value="([^"]*)"', page)
    return html.unescape(to[1] or ""), {name: html.unescape(value) for name, value in inputs}
