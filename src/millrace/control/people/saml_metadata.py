"""Metadata of SAML 2.0: what is believed of a provider's, and what a provider may read in ours.

Source: https://docs.oasis-open.org/security/saml/v2.0/saml-metadata-2.0-os.pdf.
"""

from __future__ import annotations

import base64
import html
import re
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from hashlib import sha256
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import httpx

from millrace.connect.http.client import may_be_plain
from millrace.connect.http.dialing import tls
from millrace.connect.http.guard import from_httpx, guarded
from millrace.connect.reach import Reach
from millrace.control.people.saml_xml import EMAIL, MOST_BYTES, POST, PROTOCOL, REDIRECT, SIGNATURES, parsed
from millrace.data.dataclass import dataclass
from millrace.errors import ConfigError

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

    from millrace.control.people.single_sign_on import Service

# For each step, and for all of them.
TIMEOUT_S, LONGEST_S = 10.0, 20.0
_LEAST_RSA_BITS = 2048
_MOST_CERTIFICATES = 10
_METADATA = "{urn:oasis:names:tc:SAML:2.0:metadata}"
_COMMENT = re.compile("<!--.*?-->", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Provider:
    """What counts of a provider's metadata. ``certificates``: those that it signs with, as DER in base64."""

    entity_id: str
    sign_on_url: str
    certificates: tuple[str, ...]

    @property
    def fingerprints(self) -> tuple[str, ...]:
        """SHA-256 of the certificates."""
        return tuple(sha256(base64.b64decode(one)).hexdigest() for one in self.certificates)

    @property
    def metadata(self) -> str:
        """Metadata that say this and nothing else, so that `pysaml2` believes what was checked here alone."""
        keys = "".join(
            f'<KeyDescriptor use="signing"><KeyInfo xmlns="{SIGNATURES[1:-1]}"><X509Data><X509Certificate>{one}'
            "</X509Certificate></X509Data></KeyInfo></KeyDescriptor>"
            for one in self.certificates
        )
        return (
            f'<EntityDescriptor xmlns="{_METADATA[1:-1]}" entityID="{html.escape(self.entity_id)}">'
            f'<IDPSSODescriptor protocolSupportEnumeration="{PROTOCOL}">{keys}'
            f'<SingleSignOnService Binding="{REDIRECT}" Location="{html.escape(self.sign_on_url)}"/>'
            "</IDPSSODescriptor></EntityDescriptor>"
        )


def fetched(url: str, reach: Reach) -> str:
    """The metadata at that address. An administrator of a team aims this request, so it is guarded."""
    _checked(url)
    transport = guarded(httpx.HTTPTransport(verify=tls()), reach.web)
    content, until = b"", time.monotonic() + LONGEST_S
    # What is packed would be unpacked before it is counted.
    headers = {"Accept-Encoding": "identity"}
    try:
        with (
            httpx.Client(transport=transport, trust_env=False, timeout=TIMEOUT_S, follow_redirects=False) as http,
            http.stream("GET", url, headers=headers) as answer,
        ):
            if answer.status_code != 200:
                raise odd(f"{url} answers with status {answer.status_code}")
            for part in answer.iter_raw():
                content += part
                if len(content) > MOST_BYTES:
                    raise odd(f"what {url} answers is too long for the metadata of one provider")
                if time.monotonic() > until:
                    raise odd(f"what {url} answers takes more than {LONGEST_S:.0f} s")
    except httpx.HTTPError as error:
        raise from_httpx(error, urlsplit(url).hostname or url) from None
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise odd(f"what {url} answers is not UTF-8") from None


def provider(metadata: str) -> Provider:
    """What the metadata of one provider say now. Raises ConfigError "bad_metadata" for what cannot be used."""
    # Some providers write for people as well; whoever gives us metadata is believed.
    root = parsed(_COMMENT.sub("", metadata))
    if root is None:
        raise odd("this is not the metadata of a provider: no XML, or with declarations of its own")
    entity_id, roles = root.get("entityID"), root.findall(f"{_METADATA}IDPSSODescriptor")
    if root.tag != f"{_METADATA}EntityDescriptor" or not entity_id or len(roles) != 1:
        raise odd("the metadata do not describe one identity provider")
    (role,) = roles
    if PROTOCOL not in role.get("protocolSupportEnumeration", "").split():
        raise odd("the provider does not speak SAML 2.0")
    if any(_is_over(end) for one in (root, role) if (end := one.get("validUntil"))):
        raise odd("the metadata of the provider are too old: they say so themselves")
    places = [one.get("Location") for one in role.findall(f"{_METADATA}SingleSignOnService")
              if one.get("Binding") == REDIRECT]  # fmt: skip
    if not places:
        raise odd("the provider takes no requests by HTTP-Redirect")
    certificates = tuple(dict.fromkeys(_certificate(text) for text in _signing(role)))
    if not certificates:
        raise odd("the metadata have no certificate that the provider signs with")
    if len(certificates) > _MOST_CERTIFICATES:
        raise odd(f"the metadata have more than {_MOST_CERTIFICATES} certificates that the provider signs with")
    return Provider(entity_id, _checked(places[0]), certificates)


def metadata(service: Service) -> str:
    """What a provider may read of us. Requests are not signed, so there is no certificate in it."""
    return (
        f'<EntityDescriptor xmlns="{_METADATA[1:-1]}" entityID="{html.escape(service.entity_id)}">'
        f'<SPSSODescriptor protocolSupportEnumeration="{PROTOCOL}" '
        'AuthnRequestsSigned="false" WantAssertionsSigned="true">'
        f"<NameIDFormat>{EMAIL}</NameIDFormat>"
        f'<AssertionConsumerService Binding="{POST}" Location="{html.escape(service.consumer)}" index="1"/>'
        "</SPSSODescriptor></EntityDescriptor>"
    )


def _is_over(end: str) -> bool:
    try:
        found = datetime.fromisoformat(end)
    except ValueError:
        raise odd(f"{end[:80]!r}, until when the metadata are good, is no moment") from None
    return (found if found.tzinfo else found.replace(tzinfo=UTC)) <= datetime.now(UTC)


def _signing(role: Element) -> Iterator[str]:
    for key in role.findall(f"{_METADATA}KeyDescriptor"):
        if key.get("use") in (None, "signing"):
            yield from (one.text or "" for one in key.iter(f"{SIGNATURES}X509Certificate"))


def _certificate(text: str) -> str:
    """The certificate, as DER in base64, if its key is one that signatures are believed by."""
    from cryptography import x509
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
    from cryptography.hazmat.primitives.serialization import Encoding

    try:
        found = x509.load_der_x509_certificate(base64.b64decode("".join(text.split()), validate=True))
        key = found.public_key()
    except (ValueError, UnsupportedAlgorithm):
        raise odd("a certificate in the metadata cannot be read") from None
    if not isinstance(key, EllipticCurvePublicKey) and not (
        isinstance(key, RSAPublicKey) and key.key_size >= _LEAST_RSA_BITS
    ):
        raise odd(
            f"a certificate in the metadata has neither a key of RSA of {_LEAST_RSA_BITS} bits or more, nor ECDSA"
        )
    return base64.b64encode(found.public_bytes(Encoding.DER)).decode()


def _checked(url: Any) -> str:
    """The URL, when it is one that people may be sent to, and metadata may come from."""
    try:
        httpx.URL(url)  # it knows more that cannot be asked than `urlsplit`
        parts = urlsplit(url)
        _ = parts.port
    except (TypeError, ValueError, httpx.InvalidURL):
        parts = urlsplit("")
    if not parts.hostname or parts.username or parts.scheme not in ("https", "http"):
        raise odd(f"{str(url)[:200]!r} is no URL of a provider")
    if parts.scheme == "http" and not may_be_plain(parts.hostname):
        raise odd(f"{str(url)[:200]!r} is not encrypted")
    return str(url)


def odd(what: str) -> ConfigError:
    return ConfigError(
        what, hint="Give the metadata that the provider offers for this application: its XML, or where that is.",
        path="metadata", code="bad_metadata",
    )  # fmt: skip
