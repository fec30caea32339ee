"""One side of SAML 2.0: what is asked of a provider, and what is believed of its answers.

`pysaml2` reads the answers, and the program `xmlsec1` their signatures; both are optional (the extra `saml`). What an
answer must look like before they see it is said here, since signed XML is got around by moving what is signed.

Sources: SAML 2.0 Core, Bindings (3.4, 3.5) and Profiles (4.1), https://docs.oasis-open.org/security/saml/v2.0/;
of attacks, https://www.usenix.org/conference/usenixsecurity12/technical-sessions/presentation/somorovsky.
"""

from __future__ import annotations

import base64
import binascii
import importlib.util
import logging
import shutil
import traceback
from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from millrace.control.people.saml_metadata import Provider, odd
from millrace.control.people.saml_xml import (
    EMAIL,
    MOST_ANSWERED_BYTES,
    POST,
    PROTOCOL,
    REDIRECT,
    SIGNATURES,
    is_small,
    parsed,
)
from millrace.control.people.vouching import LEEWAY_S, Identity, refused
from millrace.errors import ConfigError, MillraceError

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

    from saml2.client import Saml2Client

    from millrace.control.people.single_sign_on import Service

# Those that count where they are not used, in all steps of one signature.
_MOST_PREFIXES = 20

_ASSERTION = "{urn:oasis:names:tc:SAML:2.0:assertion}"
_INCLUSIVE = "{http://www.w3.org/2001/10/xml-exc-c14n#}InclusiveNamespaces"
_BEARER = "urn:oasis:names:tc:SAML:2.0:cm:bearer"
_SUCCESS = "urn:oasis:names:tc:SAML:2.0:status:Success"

# RSA and ECDSA with SHA-2 alone: SHA-1 can be forged, and with HMAC what everybody knows would be the key.
_MORE, _ENC = "http://www.w3.org/2001/04/xmldsig-more#", "http://www.w3.org/2001/04/xmlenc#"
SIGNED_BY = frozenset(f"{_MORE}{key}-sha{bits}" for key in ("rsa", "ecdsa") for bits in (256, 384, 512))
DIGESTS = frozenset({f"{_ENC}sha256", f"{_MORE}sha384", f"{_ENC}sha512"})

# Where providers put an e-mail address if nobody says where.
EMAIL_ATTRIBUTES = frozenset(
    {
        "urn:oid:0.9.2342.19200300.100.1.3",
        "http://schemas.xmlsoap.org/ws/2005/05/identity/claims/emailaddress",
        "mail",
        "email",
        "emailaddress",
    }
)
_NAMES = ("urn:oid:2.16.840.1.113730.3.1.241", "displayname", "name")

# It tells a log at length, and tracebacks beside, what is raised as well.
logging.getLogger("saml2").addHandler(logging.NullHandler())
logging.getLogger("saml2").propagate = False


def must_be_there() -> None:
    """SAML can be spoken here. Raises ConfigError "no_saml" where what it needs is not installed."""
    if importlib.util.find_spec("saml2") is None:
        raise ConfigError("SAML needs the package pysaml2, which is not installed where Millrace runs",
                          hint="Install it there: `pip install 'millrace[saml]'`.", code="no_saml")  # fmt: skip
    if shutil.which("xmlsec1") is None:
        raise ConfigError("SAML needs the program xmlsec1, which is not installed where Millrace runs",
                          hint="Install it there (Debian: `apt install xmlsec1`).", code="no_saml")  # fmt: skip


def address(provider: Provider, service: Service, request_id: str) -> str:
    """Where the browser goes to sign in there."""
    client: Any = _client(provider, service)
    _, request = client.create_authn_request(
        provider.sign_on_url, binding=POST, message_id=request_id, sign=False, name_id_policy=None
    )
    sent = client.apply_binding(REDIRECT, str(request), provider.sign_on_url, sign=False)
    return dict(sent["headers"])["Location"]


def identity(provider: Provider, service: Service, request_id: str, answer: str, attribute: str | None) -> Identity:
    """Whom the answer vouches for: it has one assertion, signed by the provider, for us, for this request, now.

    ``attribute``: which one tells the e-mail address; None: the usual ones, or the name of the subject.
    Raises AuthError "sign_on" for everything that is not so.
    """
    text = _plain(answer)
    _must_be_simple(text, provider, service, request_id)
    try:
        found = _client(provider, service).parse_authn_request_response(
            base64.b64encode(text.encode()).decode(),
            POST,
            outstanding={request_id: "/"},
            conv_info={"entity_id": service.consumer},
        )
    except MillraceError:
        raise
    except Exception as wrong:  # it raises whatever it meets, `Exception` itself included
        _let_go(wrong)
        raise refused(f"the provider's answer is not right ({type(wrong).__name__})") from None
    # Only what went through all of its checks stands among those.
    if found is None or len(found.assertions) != 1:
        raise refused("the provider's answer is not right")
    (assertion,) = found.assertions
    told = _told(assertion)
    return Identity(_email(assertion, told, attribute), next((told[one][0] for one in _NAMES if one in told), ""))


def _let_go(wrong: BaseException) -> None:
    """Files in which the library had certificates are closed now, not when Python next looks for cycles."""
    at: BaseException | None = wrong
    while at is not None:
        traceback.clear_frames(at.__traceback__)
        at = at.__context__ if at.__cause__ is None else at.__cause__


def _must_be_simple(text: str, provider: Provider, service: Service, request_id: str) -> None:
    """The answer is as providers make it, before anybody looks at its signatures: one assertion, directly within the
    response, signed itself, with nothing that could be taken for another one."""
    root = parsed(text)
    if root is None:
        raise refused("the provider's answer is not plain XML")
    if not is_small(text):
        raise refused("the provider's answer is larger than answers are")
    if root.tag != f"{{{PROTOCOL}}}Response":
        raise refused("the provider's answer is no response")
    status = root.find(f"{{{PROTOCOL}}}Status/{{{PROTOCOL}}}StatusCode")
    if (value := None if status is None else status.get("Value")) != _SUCCESS:
        raise refused(f"the provider says {str(value).rpartition(':')[2][:80]!r}")
    names = Counter(_local(one) for one in root.iter())
    assertion = root.find(f"{_ASSERTION}Assertion")
    if assertion is None or names["Assertion"] != 1:
        raise refused("the provider's answer has not one assertion that can be read")
    if any(name.startswith("Encrypted") for name in names):
        raise refused("the provider's answer is encrypted, though nobody gave it a key for that")
    ids = Counter(value for one in root.iter() for key, value in one.items() if key.rpartition("}")[2].lower() == "id")
    if not assertion.get("ID") or any(count > 1 for count in ids.values()):
        raise refused("parts of the provider's answer have the same name, or none")
    _must_be_signed_simply(root, assertion, names["Signature"])
    issuers = [one.text for one in (*root.findall(f"{_ASSERTION}Issuer"), *assertion.findall(f"{_ASSERTION}Issuer"))]
    if assertion.find(f"{_ASSERTION}Issuer") is None or {(one or "").strip() for one in issuers} != {
        provider.entity_id
    }:
        raise refused("the answer is another provider's")
    if root.get("Destination") != service.consumer:
        raise refused("the answer is for another address")
    if root.get("InResponseTo") != request_id:
        raise refused("it was not begun in this browser")
    confirmed = assertion.findall(f"{_ASSERTION}Subject/{_ASSERTION}SubjectConfirmation")
    if not confirmed or not all(_confirms(one, service, request_id) for one in confirmed):
        raise refused("the provider's assertion is for another address, another journey, or without an end")
    audiences = assertion.findall(f"{_ASSERTION}Conditions/{_ASSERTION}AudienceRestriction")
    meant = [{(one.text or "").strip() for one in each.findall(f"{_ASSERTION}Audience")} for each in audiences]
    if not meant or not all(service.entity_id in each for each in meant):
        raise refused("the provider's assertion is for somebody else")


def _must_be_signed_simply(root: Element, assertion: Element, signatures: int) -> None:
    """The assertion is signed, the response may be, nothing else is; each signature is of what it stands in."""
    found = [(one, each) for one in (root, assertion) for each in one.findall(f"{SIGNATURES}Signature")]
    if [one for one, _ in found if one is assertion] != [assertion] or len(found) != signatures or signatures > 2:
        raise refused("the provider's assertion is not signed, or not that alone")
    for signed, signature in found:
        references = list(signature.iter(f"{SIGNATURES}Reference"))
        if [one.get("URI") for one in references] != [f"#{signed.get('ID')}"]:
            raise refused("a signature in the provider's answer is of something else")
        by = [one.get("Algorithm") for one in signature.iter(f"{SIGNATURES}SignatureMethod")]
        of = [one.get("Algorithm") for one in signature.iter(f"{SIGNATURES}DigestMethod")]
        if len(by) != 1 or len(of) != 1 or by[0] not in SIGNED_BY or of[0] not in DIGESTS:
            raise refused("the provider's answer is not signed by RSA or ECDSA with SHA-256 or more")
        ways = [one for name in ("Transform", "CanonicalizationMethod") for one in signature.iter(SIGNATURES + name)]
        within = [one for way in ways for one in way.iter() if one is not way]
        names = sum(len(one.get("PrefixList", "").split()) for one in within)
        if any(one.tag != _INCLUSIVE for one in within) or names > _MOST_PREFIXES:
            raise refused("a signature in the provider's answer is made in more steps than signatures are")


def _confirms(confirmation: Element, service: Service, request_id: str) -> bool:
    data = confirmation.find(f"{_ASSERTION}SubjectConfirmationData")
    return (
        confirmation.get("Method") == _BEARER
        and data is not None
        and data.get("Recipient") == service.consumer
        and data.get("InResponseTo") == request_id
        and bool(data.get("NotOnOrAfter"))
    )


def _plain(answer: str) -> str:
    """The text of the answer. The browser brings it in base64."""
    if len(answer) > 2 * MOST_ANSWERED_BYTES:
        raise refused("the provider's answer is too long")
    try:
        return base64.b64decode("".join(answer.split()), validate=True).decode("utf-8-sig").strip()
    except (binascii.Error, ValueError):
        raise refused("the provider's answer cannot be read") from None


def _told(assertion: Any) -> dict[str, tuple[str, ...]]:
    """What the assertion says of its subject, by names in small letters."""
    found: dict[str, tuple[str, ...]] = {}
    for statement in assertion.attribute_statement:
        for one in statement.attribute:
            values = tuple(text for value in one.attribute_value if (text := str(value.text or "").strip()))
            found[one.name.lower()] = found.get(one.name.lower(), ()) + values
    return {name: values for name, values in found.items() if values}


def _email(assertion: Any, told: Mapping[str, tuple[str, ...]], attribute: str | None) -> str:
    """The one address that the assertion tells."""
    names = EMAIL_ATTRIBUTES if attribute is None else {attribute.lower()}
    found = {value for name in names for value in told.get(name, ())}
    subject = assertion.subject.name_id
    if not found and attribute is None and subject is not None and subject.format == EMAIL and subject.text:
        found = {subject.text.strip()}
    if len({value.lower() for value in found}) != 1:
        raise refused("the provider tells no e-mail address" if not found else "the provider tells several addresses")
    return max(found)


def _client(provider: Provider, service: Service) -> Saml2Client:
    from saml2.client import Saml2Client
    from saml2.config import SPConfig

    from millrace.control.people.saml_signatures import Signatures

    wanted: dict[str, Any] = {
        "entityid": service.entity_id,
        "xmlsec_binary": shutil.which("xmlsec1"),
        "accepted_time_diff": LEEWAY_S,
        "only_use_keys_in_metadata": True,
        "allow_unknown_attributes": True,
        "delete_tmpfiles": True,
        "metadata": {"inline": [provider.metadata]},
        "service": {
            "sp": {
                "endpoints": {"assertion_consumer_service": [(service.consumer, POST)]},
                "allow_unsolicited": False,
                "authn_requests_signed": False,
                "want_assertions_signed": True,
                "want_response_signed": False,
            }
        },
    }
    try:
        made: Any = Saml2Client(config=SPConfig().load(wanted))
        known = set() if made.metadata is None else set(made.metadata.keys())
    except Exception as wrong:  # of many kinds, and all are about the metadata
        raise odd(f"the metadata of the provider cannot be used ({type(wrong).__name__})") from None
    if provider.entity_id not in known:
        raise odd("the metadata of the provider cannot be used")
    made.sec.crypto = Signatures(wanted["xmlsec_binary"], delete_tmpfiles=True)
    return made


def _local(one: Element) -> str:
    return one.tag.rpartition("}")[2]
