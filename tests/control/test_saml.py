"""Single sign-on by SAML, against a provider with real signatures: what is believed, and what is not."""

from __future__ import annotations

import base64
import contextlib
import gc
import importlib.util
import re
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
import sqlalchemy as sa
from tests.control import identity
from tests.control.people import PASSWORD, acting, cheap, joined
from tests.control.saml_identity import SamlProvider, form, pair, saml_provider

from millrace.control import activity
from millrace.control import settings as workspace_settings
from millrace.control.connecting import reach
from millrace.control.database import people_tables
from millrace.control.home import Home
from millrace.control.people import saml_metadata, saml_signatures, security, sessions, single_sign_on, teams, users
from millrace.control.people.sessions import Session
from millrace.control.people.single_sign_on import SignOn
from millrace.errors import AuthError, ConfigError, Forbidden

PUBLIC = "https://millrace.example.com"
SERVICE = single_sign_on.Service(
    f"{PUBLIC}/api/millrace/v1/session/single-sign-on/saml/metadata",
    f"{PUBLIC}/api/millrace/v1/session/single-sign-on/saml",
)
BACK = "http://127.0.0.1:8484/back"
SHA1 = "http://www.w3.org/2000/09/xmldsig#sha1"
RSA_SHA1 = "http://www.w3.org/2000/09/xmldsig#rsa-sha1"
ECDSA_SHA256 = "http://www.w3.org/2001/04/xmldsig-more#ecdsa-sha256"
UNSPECIFIED = "urn:oasis:names:tc:SAML:1.1:nameid-format:unspecified"
ASSERTION = re.compile(r"<ns1:Assertion .*?</ns1:Assertion>", re.DOTALL)
SIGNATURE = re.compile(r"<ns2:Signature.*?</ns2:Signature>", re.DOTALL)


@pytest.fixture(scope="module")
def at() -> Iterator[SamlProvider]:
    with saml_provider(lambda: saml_metadata.metadata(SERVICE)) as found:
        yield found


def honest(at: SamlProvider) -> SamlProvider:
    """The provider as it should be."""
    for name, value in vars(SamlProvider(at.entity_id, at.folder)).items():
        setattr(at, name, value)
    return at


@pytest.fixture
def idp(at: SamlProvider) -> SamlProvider:
    """The provider as it should be; a test may change it."""
    return honest(at)


@pytest.fixture
def team(home: Home, idp: SamlProvider) -> Home:
    """The first team, which signs on, asked by its administrator Ada."""
    joined(cheap(home), "ada@example.com", "TEAM_ADMIN")
    workspace_settings.change(home, allow_private_addresses=True, public_url=PUBLIC + "/")
    ada = acting(home, "ada@example.com")
    _change(ada, idp)
    return ada


def _change(at: Home, idp: SamlProvider, **more: Any) -> SignOn:
    return single_sign_on.change_to_saml(at, **{"metadata": idp.metadata(), **more})


def travel(url: str) -> str:
    """A browser goes there, somebody signs in, and the page of the provider sends it back: what it brings."""
    sent = httpx.get(url, trust_env=False, verify=False)
    assert sent.status_code == 200
    to, brought = form(sent.text)
    assert to == SERVICE.consumer
    return brought["SAMLResponse"]


def sign_on(home: Home, email: str = "ada@example.com", *, address: str | None = None) -> Session:
    begun = single_sign_on.begin(home, email, BACK)
    return single_sign_on.end_by_saml(home, begun.token, travel(begun.url), address=address)


def refused(home: Home, email: str = "ada@example.com") -> str:
    with pytest.raises(AuthError) as caught:
        sign_on(home, email)
    assert caught.value.code == "sign_on"
    return caught.value.message


def replaced(old: str, new: str) -> Callable[[str], str]:
    """What makes another text of it, in which that stands somewhere for sure."""

    def change(xml: str) -> str:
        changed = re.sub(old, new, xml, flags=re.DOTALL)
        assert changed != xml, (old, xml)
        return changed

    return change


def test_who_the_provider_vouches_for_is_signed_in(team: Home, home: Home, idp: SamlProvider) -> None:
    session = sign_on(home)
    assert (session.email, session.state) == ("ada@example.com", "open")
    assert sessions.authenticate(home, session.token).name == "ada@example.com"
    assert activity.listed(team, severity="LOW").items[0].message == "ada@example.com signed in by SAML"


def test_the_response_may_be_signed_too_and_keys_may_be_of_curves(team: Home, home: Home, idp: SamlProvider) -> None:
    idp.signs_response = True
    assert sign_on(home).state == "open"
    idp.keys, idp.sign_alg = pair("ec"), ECDSA_SHA256
    assert refused(home)
    _change(team, idp)
    assert sign_on(home).state == "open"


def test_metadata_may_be_where_the_provider_offers_them(team: Home, idp: SamlProvider) -> None:
    assert _change(team, idp, metadata=f"{idp.entity_id}/metadata").issuer == idp.entity_id
    with pytest.raises(ConfigError) as caught:
        _change(team, idp, metadata=f"{idp.entity_id}/nowhere")
    assert caught.value.code == "bad_metadata"
    for url, code in (("http://example.com/metadata", "bad_metadata"), ("https://169.254.169.254/", "private_address")):
        with pytest.raises(ConfigError) as caught:
            _change(team, idp, metadata=url)
        assert caught.value.code == code


def test_metadata_may_have_comments_for_people(team: Home, home: Home, idp: SamlProvider) -> None:
    text = idp.metadata()
    commented = text.replace("><", "><!-- a note -->\n<")
    assert commented != text
    assert _change(team, idp, metadata=commented).issuer == idp.entity_id
    assert sign_on(home).state == "open"


def _until(moment: datetime, where: str) -> str:
    return f'{where} validUntil="{moment.isoformat().replace("+00:00", "Z")}"'


def test_metadata_are_good_for_as_long_as_nobody_gives_others(team: Home, home: Home, idp: SamlProvider) -> None:
    """They say for how long they may be kept; that is looked at once, and later nobody is locked out by it."""
    text, now = idp.metadata(), datetime.now(UTC)
    for where in ("<ns0:EntityDescriptor", "<ns0:IDPSSODescriptor"):
        with pytest.raises(ConfigError) as caught:
            _change(team, idp, metadata=replaced(where, _until(now - timedelta(minutes=1), where))(text))
        assert "too old" in caught.value.message
        with pytest.raises(ConfigError) as caught:
            _change(team, idp, metadata=replaced(where, f'{where} validUntil="soon"')(text))
        assert caught.value.code == "bad_metadata"
        soon = datetime.now(UTC) + timedelta(seconds=2)
        _change(team, idp, metadata=replaced(where, _until(soon, where))(text))
        time.sleep(max(0.0, (soon - datetime.now(UTC)).total_seconds()))
        assert sign_on(home).state == "open"


def _bare(keys: tuple[str, str]) -> str:
    return "".join(keys[1].splitlines()[1:-1])


def test_only_certificates_that_are_listed_are_believed(team: Home, home: Home, idp: SamlProvider) -> None:
    """What else stands in the metadata changes nothing: keys of an odd use, of encryption, or without a certificate."""
    right, other = idp.metadata(), pair(of="somebody else")
    found = re.search("<ns0:KeyDescriptor.*?</ns0:KeyDescriptor>", right, re.DOTALL)
    assert found
    odd = re.sub("(X509Certificate>)[^<]*", rf"\g<1>{_bare(other)}", found[0])
    name = '<KeyName xmlns="http://www.w3.org/2000/09/xmldsig#">a</KeyName>'
    for use in ('use=""', 'use="encryption"', 'use="x"'):
        more = re.sub('use="[^"]*"', use, odd)
        assert use in more
        bare = re.sub("<ns1:X509Data>.*</ns1:X509Data>", name, found[0], flags=re.DOTALL)
        assert bare != found[0]
        text = right.replace(found[0], found[0] + more + bare)
        assert len(_change(team, idp, metadata=text).certificates) == 1
        assert sign_on(home).state == "open"
        idp.keys = other
        assert refused(home)
        honest(idp)


def test_each_certificate_that_is_listed_is_believed(team: Home, home: Home, idp: SamlProvider) -> None:
    """Also where both stand in one key, as when a provider changes it."""
    right, other = idp.metadata(), pair("ec")
    into = f"</ns1:X509Certificate><ns1:X509Certificate>{_bare(other)}</ns1:X509Certificate>"
    assert len(_change(team, idp, metadata=replaced("</ns1:X509Certificate>", into)(right)).certificates) == 2
    assert sign_on(home).state == "open"
    idp.keys, idp.sign_alg = other, ECDSA_SHA256
    assert sign_on(home).state == "open"


def test_what_a_provider_reads_of_us_is_what_it_is_told(team: Home) -> None:
    assert single_sign_on.service(team) == single_sign_on.public_service(team) == SERVICE
    told = saml_metadata.metadata(SERVICE)
    assert SERVICE.entity_id in told and f'Location="{SERVICE.consumer}"' in told
    assert 'WantAssertionsSigned="true"' in told


def test_the_name_of_a_team_s_service_stays_when_the_workspace_is_called_otherwise(
    team: Home, home: Home, idp: SamlProvider
) -> None:
    workspace_settings.change(home, public_url="https://evil.example")
    assert single_sign_on.service(team) == SERVICE
    assert single_sign_on.public_service(home) != SERVICE
    assert sign_on(home).state == "open"
    assert _change(team, idp).client_id == SERVICE.entity_id
    assert sign_on(home).state == "open"
    single_sign_on.remove(team)
    assert _change(team, idp).client_id != SERVICE.entity_id


LIES: dict[str, Callable[[SamlProvider], Any]] = {
    "signed by somebody else": lambda at: setattr(at, "keys", pair(of="somebody else")),
    "not signed": lambda at: setattr(at, "signs_assertion", False),
    "only the response is signed": lambda at: vars(at).update(signs_assertion=False, signs_response=True),
    "signed with SHA-1": lambda at: vars(at).update(sign_alg=RSA_SHA1, digest_alg=SHA1),
    "a digest of SHA-1": lambda at: setattr(at, "digest_alg", SHA1),
    "changed after it was signed": lambda at: setattr(at, "after", replaced(">ada@example.com<", ">eve@example.com<")),
    "the signed response changed": lambda at: vars(at).update(
        signs_response=True, after=replaced("<ns0:Status>", "<ns0:Status><!-- -->")
    ),
    "the signature of the response broken": lambda at: vars(at).update(
        signs_response=True, after=replaced(r'(IssueInstant=")2', r"\g<1>1")
    ),
    "another issuer of the assertion": lambda at: setattr(
        at, "before", replaced(r"(<ns1:Assertion .*?<ns1:Issuer [^>]*>)[^<]*", r"\1https://evil.example")
    ),
    "another issuer of the response": lambda at: setattr(
        at, "after", replaced(r"^(.*?<ns1:Issuer [^>]*>)[^<]*", r"\1https://evil.example")
    ),
    "no issuer of the assertion": lambda at: setattr(
        at, "before", replaced(r"(<ns1:Assertion [^>]*>)<ns1:Issuer [^>]*>[^<]*</ns1:Issuer>", r"\1")
    ),
    "for another service": lambda at: setattr(
        at, "before", replaced("<ns1:Audience>[^<]*", "<ns1:Audience>https://other.example")
    ),
    "for nobody": lambda at: setattr(
        at, "before", replaced("<ns1:AudienceRestriction>.*</ns1:AudienceRestriction>", "")
    ),
    "for us, and at once for others alone": lambda at: setattr(
        at,
        "before",
        replaced(
            "</ns1:AudienceRestriction>",
            "</ns1:AudienceRestriction><ns1:AudienceRestriction><ns1:Audience>x</ns1:Audience></ns1:AudienceRestriction>",
        ),
    ),
    "without conditions": lambda at: setattr(at, "before", replaced("<ns1:Conditions .*</ns1:Conditions>", "")),
    "for another address": lambda at: setattr(
        at, "before", replaced('Recipient="', 'Recipient="https://other.example')
    ),
    "the response for another address": lambda at: setattr(
        at, "before", replaced('Destination="', 'Destination="https://other.example')
    ),
    "the response for no address": lambda at: setattr(at, "before", replaced(' Destination="[^"]*"', "")),
    "of another journey": lambda at: setattr(at, "before", replaced('InResponseTo="', 'InResponseTo="x')),
    "the assertion of another journey": lambda at: setattr(
        at, "before", replaced('(SubjectConfirmationData [^>]*InResponseTo=")', r"\1x")
    ),
    "the response of another journey": lambda at: setattr(
        at, "before", replaced('(<ns0:Response [^>]*InResponseTo=")', r"\1x")
    ),
    "of no journey": lambda at: setattr(at, "before", replaced(' InResponseTo="[^"]*"', "")),
    "the assertion of no journey": lambda at: setattr(
        at, "before", replaced('(SubjectConfirmationData [^>]*) InResponseTo="[^"]*"', r"\1")
    ),
    "too old": lambda at: setattr(
        at, "before", replaced('NotOnOrAfter="[^"]*"', 'NotOnOrAfter="2020-01-01T00:00:00Z"')
    ),
    "conditions too old": lambda at: setattr(
        at,
        "before",
        replaced(
            "<ns1:Conditions [^>]*>",
            '<ns1:Conditions NotBefore="2020-01-01T00:00:00Z" NotOnOrAfter="2020-01-02T00:00:00Z">',
        ),
    ),
    "conditions that end before they begin": lambda at: setattr(
        at,
        "before",
        replaced(
            "<ns1:Conditions [^>]*>",
            '<ns1:Conditions NotBefore="2020-01-02T00:00:00Z" NotOnOrAfter="2020-01-01T00:00:00Z">',
        ),
    ),
    "a confirmation that is too old": lambda at: setattr(
        at, "before", replaced('Data NotOnOrAfter="[^"]*"', 'Data NotOnOrAfter="2020-01-01T00:00:00Z"')
    ),
    "without an end": lambda at: setattr(at, "before", replaced('Data NotOnOrAfter="[^"]*"', "Data")),
    "from the future": lambda at: setattr(
        at, "before", replaced('NotBefore="[^"]*" NotOnOrAfter="[^"]*"', 'NotBefore="2999-01-01T00:00:00Z"')
    ),
    "a response of long ago": lambda at: setattr(
        at, "before", replaced('(<ns0:Response [^>]*IssueInstant=")[^"]*', r"\g<1>2020-01-01T00:00:00Z")
    ),
    "confirmed by nobody": lambda at: setattr(
        at, "before", replaced("<ns1:SubjectConfirmation .*</ns1:SubjectConfirmation>", "")
    ),
    "confirmed by hearsay": lambda at: setattr(at, "before", replaced("cm:bearer", "cm:sender-vouches")),
    "nobody signed in": lambda at: setattr(at, "before", replaced("<ns1:AuthnStatement .*</ns1:AuthnStatement>", "")),
    "denied": lambda at: setattr(at, "before", replaced("status:Success", "status:AuthnFailed")),
    "without a status": lambda at: setattr(at, "before", replaced("<ns0:Status>.*</ns0:Status>", "")),
    "of nobody": lambda at: setattr(at, "before", replaced("<ns1:NameID .*</ns1:NameID>", "")),
    "a name that is no address": lambda at: setattr(at, "name_format", UNSPECIFIED),
    "two addresses": lambda at: setattr(at, "attributes", {"mail": ["ada@example.com", "eve@example.com"]}),
    "two addresses at two places": lambda at: setattr(
        at, "attributes", {"mail": ["ada@example.com"], "emailaddress": ["eve@example.com"]}
    ),
}


def test_an_answer_that_is_not_right_in_every_point_lets_nobody_in(team: Home, home: Home, idp: SamlProvider) -> None:
    for lie, tell in LIES.items():
        tell(honest(idp))
        try:
            said = refused(home)
        except BaseException as wrong:
            raise AssertionError(lie) from wrong
        assert said, lie
    honest(idp)
    assert sign_on(home).state == "open"


def test_an_answer_that_is_refused_leaves_no_file_open(team: Home, home: Home, idp: SamlProvider) -> None:
    """Whoever sends many of them would use up what a process may have open before Python looks for cycles."""
    gc.disable()
    try:
        honest(idp).after = wrapped(inside=lambda forged, _: forged)
        assert refused(home)
        LIES["two addresses"](honest(idp))
        assert refused(home)
        idp.keys = pair(of="somebody else")
        assert refused(home)
        held = [one.readlink().name for one in Path("/proc/self/fd").iterdir() if one.exists()]
    finally:
        gc.enable()
        honest(idp)
    assert not [one for one in held if ".pem" in one]


def wrapped(*, inside: Callable[[str, str], str]) -> Callable[[str], str]:
    """A response with a forged assertion, and the signed one where ``inside`` puts it: (forged, signed)."""

    def change(xml: str) -> str:
        found = ASSERTION.search(xml)
        assert found
        forged = SIGNATURE.sub("", found[0]).replace("ada@example.com", "eve@example.com")
        return xml.replace(found[0], inside(forged.replace('ID="', 'ID="forged', 1), found[0]))

    return change


def _around(forged: str, into: str) -> str:
    """The forged assertion with that as its last child."""
    return forged.removesuffix("</ns1:Assertion>") + into + "</ns1:Assertion>"


def _signed_by_what_is_inside(forged: str, signed: str) -> str:
    """The forged assertion has the signature, and the signed assertion stands within it as an object."""
    signature = SIGNATURE.search(signed)
    assert signature
    bare = signed.replace(signature[0], "")
    into = signature[0].replace("</ns2:Signature>", f"<ns2:Object>{bare}</ns2:Object></ns2:Signature>")
    return re.sub(r"(</ns1:Issuer>)", lambda end: end[1] + into, forged, count=1)


WRAPPINGS: dict[str, Callable[[str, str], str]] = {
    "forged before": lambda forged, signed: forged + signed,
    "forged after": lambda forged, signed: signed + forged,
    "forged around": lambda forged, signed: _around(forged, signed),
    "signed in extensions": lambda forged, signed: f"<ns0:Extensions>{signed}</ns0:Extensions>{forged}",
    "signed as advice": lambda forged, signed: _around(forged, f"<ns1:Advice>{signed}</ns1:Advice>"),
    "signed in the signature": _signed_by_what_is_inside,
    "the same name": lambda forged, signed: forged.replace('ID="forged', 'ID="', 1) + signed,
    "the same name, forged last": lambda forged, signed: signed + forged.replace('ID="forged', 'ID="', 1),
    "the same name in another attribute": lambda _, signed: signed.replace(
        "<ns1:Subject>",
        f'<ns1:Subject Id="{signed.partition(chr(34) + "2.0" + chr(34) + " ID=" + chr(34))[2].partition(chr(34))[0]}">',
    ),
    "forged in a namespace of another": lambda forged, signed: (
        signed + forged.replace("ns1:Assertion", "x:Assertion").replace(" ID=", ' xmlns:x="urn:x" ID=', 1)
    ),
    "forged alone": lambda forged, _: forged,
    "forged, with the signature of the other": lambda forged, signed: re.sub(
        r"(</ns1:Issuer>)", lambda end: end[1] + SIGNATURE.findall(signed)[0], forged, count=1
    ),
}


def test_a_signature_that_was_moved_lets_nobody_in(team: Home, home: Home, idp: SamlProvider) -> None:
    joined(home, "eve@example.com", "TEAM_ADMIN")
    for attack, inside in WRAPPINGS.items():
        honest(idp).after = wrapped(inside=inside)
        assert refused(home), attack
    honest(idp).after = wrapped(inside=lambda _, signed: signed)
    assert sign_on(home).email == "ada@example.com"


def test_a_response_around_a_whole_signed_one_lets_nobody_in(team: Home, home: Home, idp: SamlProvider) -> None:
    def around(xml: str) -> str:
        forged = SIGNATURE.sub("", xml).replace("ada@example.com", "eve@example.com")
        inner = re.sub(r"^<\?xml[^>]*>\s*", "", xml)
        return forged.replace("<ns0:Status>", f"<ns0:Extensions>{inner}</ns0:Extensions><ns0:Status>", 1)

    joined(home, "eve@example.com", "TEAM_ADMIN")
    idp.signs_response, idp.after = True, around
    assert refused(home)


NAMES = ("ada@example.com<!---->.evil.com", "ada@example.com<![CDATA[.evil.com]]>", "ada@example.com<?x?>.evil.com")


def test_a_name_with_something_within_lets_nobody_in(team: Home, home: Home, idp: SamlProvider) -> None:
    for name in NAMES:
        for when in ("before", "after"):
            setattr(honest(idp), when, replaced(">ada@example.com<", f">{name}<"))
            assert "plain XML" in refused(home), (name, when)


BOMB = (
    '<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;">'
    '<!ENTITY c "&b;&b;&b;&b;&b;&b;&b;&b;&b;&b;">]>'
)
FILE = '<!DOCTYPE x [<!ENTITY c SYSTEM "file:///etc/passwd">]>'


def test_declarations_and_other_encodings_are_not_read(team: Home, home: Home, idp: SamlProvider) -> None:
    for declared in (BOMB, FILE, '<?xml version="1.0" encoding="UTF-7"?>', '<?xml version="1.0" encoding="UTF-16"?>'):
        idp.after = lambda xml, declared=declared: (
            declared + re.sub(r"^<\?xml[^>]*>\s*", "", xml).replace("Ada<", "&c;<")
        )
        assert "plain XML" in refused(home), declared
        with pytest.raises(ConfigError) as caught:
            _change(team, idp, metadata=declared + idp.metadata())
        assert caught.value.code == "bad_metadata"


def test_an_answer_that_is_no_text_lets_nobody_in(team: Home, home: Home) -> None:
    def encoded(text: str, encoding: str = "utf-8") -> str:
        return base64.b64encode(text.encode(encoding)).decode()

    for answer in ("", "%%%", "é", encoded("x"), encoded("<a/>"), encoded("<a/>", "utf-16"), "QQ" * (600 << 10)):
        begun = single_sign_on.begin(home, "ada@example.com", BACK)
        with pytest.raises(AuthError) as caught:
            single_sign_on.end_by_saml(home, begun.token, answer)
        assert caught.value.code == "sign_on"


def test_what_is_encrypted_is_refused_in_words(team: Home, home: Home, idp: SamlProvider) -> None:
    idp.after = lambda xml: ASSERTION.sub("<ns1:EncryptedAssertion/>", xml)
    assert refused(home)
    idp.after = replaced("<ns1:NameID .*</ns1:NameID>", "<ns1:EncryptedID/>")
    assert "encrypted" in refused(home)


def test_a_journey_ends_once_and_in_the_browser_in_which_it_began(team: Home, home: Home) -> None:
    mine, other = (single_sign_on.begin(home, "ada@example.com", BACK) for _ in range(2))
    answer = travel(mine.url)
    for token in (other.token, "nothing", mine.token.replace(".", ".x")):
        with pytest.raises(AuthError):
            single_sign_on.end_by_saml(home, token, answer)
    assert single_sign_on.end_by_saml(home, mine.token, answer).state == "open"
    with pytest.raises(AuthError):
        single_sign_on.end_by_saml(home, mine.token, answer)
    again = single_sign_on.begin(home, "ada@example.com", BACK)
    with pytest.raises(AuthError):
        single_sign_on.end_by_saml(home, again.token, answer)


def test_a_journey_is_too_old_after_ten_minutes(team: Home, home: Home) -> None:
    begun = single_sign_on.begin(home, "ada@example.com", BACK)
    answer = travel(begun.url)
    ago = sa.update(people_tables.links).values(expires_at=people_tables.links.c.created_at)
    with home.database.transaction() as connection:
        connection.execute(ago)
    with pytest.raises(AuthError) as caught:
        single_sign_on.end_by_saml(home, begun.token, answer)
    assert "too long ago" in caught.value.message


def test_what_is_kept_of_a_journey_opens_nothing(team: Home, home: Home) -> None:
    begun = single_sign_on.begin(home, "ada@example.com", BACK)
    with home.database.reading() as connection:
        assert begun.token not in str(connection.execute(sa.select(people_tables.links)).all())
    assert begun.token.partition(".")[2] not in begun.url


def test_a_journey_ends_by_the_protocol_by_which_it_began(team: Home, home: Home, idp: SamlProvider) -> None:
    begun = single_sign_on.begin(home, "ada@example.com", BACK)
    with pytest.raises(AuthError):
        single_sign_on.end(home, begun.token, {}, BACK)
    begun = single_sign_on.begin(home, "ada@example.com", BACK)
    answer = travel(begun.url)
    with identity.provider() as other:
        given = {"client_id": identity.CLIENT_ID, "issuer": other.issuer}
        with pytest.raises(ConfigError) as caught:
            single_sign_on.change(team, **given)
        assert caught.value.code == "no_secret"
        single_sign_on.change(team, **given, client_secret=identity.CLIENT_SECRET)
    found = single_sign_on.settings(team)
    assert found is not None and (found.protocol, found.certificates) == ("oidc", ())
    with pytest.raises(AuthError):
        single_sign_on.end_by_saml(home, begun.token, answer)
    assert _change(team, idp).protocol == "saml"
    with home.database.reading() as connection:
        assert connection.execute(sa.select(people_tables.single_sign_on.c.sealed)).scalar_one() is None


def test_the_address_comes_from_where_the_team_says(team: Home, home: Home, idp: SamlProvider) -> None:
    idp.email, idp.name_format = "a-4711", UNSPECIFIED
    idp.attributes = {"mail": ["Ada@Example.com"]}
    assert sign_on(home).email == "ada@example.com"
    _change(team, idp, email_attribute="uid")
    assert "no e-mail address" in refused(home)
    idp.attributes = {"mail": ["eve@example.com"], "uid": ["ada@example.com"]}
    _change(team, idp, email_attribute="urn:oid:0.9.2342.19200300.100.1.1")
    assert sign_on(home).email == "ada@example.com"


def test_who_is_no_user_becomes_one_only_where_the_team_says_so(team: Home, home: Home, idp: SamlProvider) -> None:
    idp.email, idp.attributes = "Bob@Example.com", {"displayName": ["Bob"]}
    assert "not a user" in refused(home)
    _change(team, idp, domains=["@Example.com"], just_in_time=True, role="PIPELINE_COLLABORATOR")
    assert sign_on(home, "bob@example.com").state == "open"
    bob = users.find(team, "bob@example.com")
    assert (bob.roles, bob.status, bob.name, bob.has_password) == (("PIPELINE_COLLABORATOR",), "active", "Bob", False)
    for email in ("eve@evil.example", "eve@sub.example.com", "eve@example.com.evil.example"):
        idp.email = email
        assert "domain" in refused(home)


def test_a_provider_speaks_for_its_own_team_alone(team: Home, home: Home, idp: SamlProvider) -> None:
    teams.create(home, "others", "zoe@example.org", PASSWORD)
    idp.email = "zoe@example.org"
    assert "not a user of this team" in refused(home)


def test_the_second_factor_and_the_addresses_of_a_team_hold_here_too(team: Home, home: Home) -> None:
    security.change(team, two_factor_required=True, allowed_addresses=["192.0.2.0/24"])
    assert sign_on(home, address="192.0.2.7").state == "enrol"
    with pytest.raises(AuthError) as caught:
        sign_on(home, address="198.51.100.1")
    assert caught.value.code == "address"
    begun = single_sign_on.begin(home, "ada@example.com", BACK)
    with pytest.raises(AuthError) as caught:  # before what it brings is looked at
        single_sign_on.end_by_saml(home, begun.token, "nothing", address="198.51.100.1")
    assert caught.value.code == "address"


def test_a_change_is_on_record_with_the_certificates(team: Home, idp: SamlProvider) -> None:
    idp.keys = pair("ec")
    found = _change(team, idp)
    newest = activity.listed(team).items[0]
    assert newest.message == "how people sign on was changed"
    assert newest.before["certificates"] != newest.after["certificates"] == list(found.certificates)
    _change(team, idp, metadata=idp.metadata().replace(idp.sign_on, f"{idp.entity_id}/elsewhere"))
    newest = activity.listed(team).items[0]
    assert (newest.before["sign_on_url"], newest.after["sign_on_url"]) == (idp.sign_on, f"{idp.entity_id}/elsewhere")
    with identity.provider() as other:
        given = {"client_id": identity.CLIENT_ID, "issuer": other.issuer}
        single_sign_on.change(team, **given, client_secret=identity.CLIENT_SECRET)
    newest = activity.listed(team).items[0]
    assert (newest.before["protocol"], newest.after["protocol"]) == ("saml", "oidc")


NO_URLS = ("https://[abc", "https://a.example:99999/", "https://a\x01.example/", "https://", "http://example.com/")


def _of_no_known_key() -> str:
    """A certificate with a key on a curve that nobody knows."""
    known = base64.b64decode(_bare(pair("ec")))
    curve = bytes.fromhex("06082a8648ce3d030107")
    assert curve in known
    return base64.b64encode(known.replace(curve, bytes.fromhex("06082a8648ce3d030163"))).decode()


def test_metadata_that_come_without_end_or_packed_are_not_read(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    class Slow(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.headers["Accept-Encoding"])
            self.send_response(200)
            self.end_headers()
            with contextlib.suppress(OSError):
                for _ in range(200):
                    self.wfile.write(b" ")
                    time.sleep(0.05)

        def log_message(self, format: str, *args: Any) -> None:
            """Nobody reads it."""

    asked: list[str] = []
    monkeypatch.setattr(saml_metadata, "LONGEST_S", 0.5)
    workspace_settings.change(home, allow_private_addresses=True)
    with ThreadingHTTPServer(("127.0.0.1", 0), Slow) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        with pytest.raises(ConfigError) as caught:
            saml_metadata.fetched(f"http://127.0.0.1:{server.server_address[1]}/", reach.of(home))
        server.shutdown()
    assert "takes more than" in caught.value.message
    assert asked == ["identity"]


def test_settings_that_cannot_be_are_told(team: Home, home: Home, idp: SamlProvider) -> None:
    right = idp.metadata()
    weak = SamlProvider(idp.entity_id, idp.folder, keys=pair("rsa1024")).metadata()
    certificates = [_bare(pair("ec", of=str(number))) for number in range(10)]
    many = "".join(f"<ns1:X509Certificate>{one}</ns1:X509Certificate>" for one in certificates)
    cases: list[tuple[dict[str, Any], str]] = [
        ({"just_in_time": True}, "no_domains"),
        ({"domains": ["not a domain"]}, "bad_domain"),
        ({"role": "KING"}, "unknown_role"),
        ({"metadata": "no XML"}, "bad_metadata"),
        ({"metadata": saml_metadata.metadata(SERVICE)}, "bad_metadata"),
        ({"metadata": weak}, "bad_metadata"),
        ({"metadata": right.replace("HTTP-Redirect", "SOAP")}, "bad_metadata"),
        *(({"metadata": url}, "bad_metadata") for url in NO_URLS),
        *(({"metadata": right.replace(idp.sign_on, url)}, "bad_metadata") for url in (*NO_URLS, "ftp://a.example")),
        (
            {"metadata": re.sub("X509Certificate>[^<]*<", f"X509Certificate>{_of_no_known_key()}<", right)},
            "bad_metadata",
        ),
        ({"metadata": right.replace("SAML:2.0:protocol", "SAML:1.1:protocol")}, "bad_metadata"),
        ({"metadata": replaced("(</ns1:X509Certificate>)", r"\1" + many)(right)}, "bad_metadata"),
        ({"metadata": right.replace('Location="http://127.0.0.1', 'Location="http://example.com')}, "bad_metadata"),
        ({"metadata": re.sub("X509Certificate>[^<]*<", "X509Certificate>MIIB<", right)}, "bad_metadata"),
        ({"metadata": re.sub("<[^<]*KeyDescriptor.*KeyDescriptor>", "", right, flags=re.DOTALL)}, "bad_metadata"),
        ({"metadata": right.replace(" entityID", ' validUntil="2020-01-01T00:00:00Z" entityID', 1)}, "bad_metadata"),
    ]
    for change, code in cases:
        with pytest.raises(ConfigError) as caught:
            _change(team, idp, **change)
        assert caught.value.code == code, change
    joined(home, "olga@example.com", "TEAM_COLLABORATOR")
    with pytest.raises(Forbidden):
        _change(acting(home, "olga@example.com"), idp)
    single_sign_on.remove(team)
    workspace_settings.change(home, public_url="http://millrace.example.com")
    with pytest.raises(ConfigError) as caught:
        _change(team, idp)
    assert caught.value.code == "plain_url"
    workspace_settings.change(home, public_url="http://127.0.0.1:8484")
    assert _change(team, idp).client_id.startswith("http://127.0.0.1:8484/")
    single_sign_on.remove(team)
    workspace_settings.change(home, public_url=None)
    assert single_sign_on.service(team) is None
    with pytest.raises(ConfigError) as caught:
        _change(team, idp)
    assert caught.value.code == "no_public_url"


def test_where_saml_is_not_installed_it_says_so_and_the_rest_goes_on(
    team: Home, home: Home, idp: SamlProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = idp.metadata()
    begun = single_sign_on.begin(home, "ada@example.com", BACK)
    answer, find = travel(begun.url), importlib.util.find_spec
    cures = [
        (
            "millrace[saml]",
            lambda patch: patch.setattr(
                importlib.util, "find_spec", lambda name: None if name == "saml2" else find(name)
            ),
        ),
        ("xmlsec1", lambda patch: patch.setattr(shutil, "which", lambda *_, **__: None)),
    ]
    for cure, without in cures:
        with monkeypatch.context() as patch:
            without(patch)
            asks: list[Callable[[], Any]] = [
                lambda: single_sign_on.change_to_saml(team, metadata=right),
                lambda: single_sign_on.begin(home, "ada@example.com", BACK),
            ]
            for ask in asks:
                with pytest.raises(ConfigError) as caught:
                    ask()
                assert caught.value.code == "no_saml"
                assert cure in str(caught.value.hint)
            assert single_sign_on.settings(team) is not None
    assert single_sign_on.end_by_saml(home, begun.token, answer).state == "open"


def test_nothing_stays_in_the_folder_for_temporary_files(
    team: Home, home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = single_sign_on.begin(home, "ada@example.com", BACK)
    answer = travel(begun.url)
    (folder := tmp_path / "temporary").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    before = folder.stat().st_mtime_ns
    assert single_sign_on.end_by_saml(home, begun.token, answer).state == "open"
    assert folder.stat().st_mtime_ns > before  # something was there
    assert list(folder.iterdir()) == []


def test_requests_go_to_where_the_metadata_say(team: Home, home: Home, idp: SamlProvider) -> None:
    url = urlsplit(single_sign_on.begin(home, "ada@example.com", BACK).url)
    assert f"{url.scheme}://{url.netloc}{url.path}" == idp.sign_on
    assert "Signature" not in url.query


def _signed_by_steps(more: str) -> Callable[[str], str]:
    """The transform has that within, with names that count where they are not used."""
    return replaced(
        r'(<ns2:Transform Algorithm="http://www.w3.org/2001/10/xml-exc-c14n#")\s*/>', rf"\1>{more}</ns2:Transform>"
    )


def _within(what: str) -> Callable[[str], str]:
    return replaced("<ns0:Status>", f"<ns0:Extensions>{what}</ns0:Extensions><ns0:Status>")


_PREFIXES = '<i:InclusiveNamespaces xmlns:i="http://www.w3.org/2001/10/xml-exc-c14n#" PrefixList="{}"/>'
COSTLY: dict[str, tuple[Callable[[str], str], str]] = {
    "elements": (_within("<a/>" * 3000), "larger"),
    "depth": (_within("<a>" * 50 + "</a>" * 50), "larger"),
    "an attribute": (_within(f'<a b="{"c" * 5000}"/>'), "larger"),
    "attributes": (_within(f"<a {' '.join(f'a{n}={chr(34)}{chr(34)}' for n in range(60))}/>"), "larger"),
    "prefixes": (_within(f"<a {' '.join(f'xmlns:a{n}={chr(34)}u{n}{chr(34)}' for n in range(60))}/>"), "larger"),
    "prefixes one in another": (
        _within("".join(f'<a xmlns:a{n}="u" xmlns:b{n}="u" xmlns:c{n}="u">' for n in range(20)) + "</a>" * 20),
        "larger",
    ),
    "text": (_within("a" * (130 << 10)), "larger"),
    "a list of prefixes": (_signed_by_steps(_PREFIXES.format(" ".join(f"p{n}" for n in range(30)))), "more steps"),
    "another step": (_signed_by_steps("<ns2:XPath>//*</ns2:XPath>"), "more steps"),
}


def test_what_costs_time_to_look_at_is_refused_in_words(team: Home, home: Home, idp: SamlProvider) -> None:
    """A signature is worked on before its key is looked at, so whoever sends a costly one need not sign."""
    for name, (change, said) in COSTLY.items():
        honest(idp).after = change
        assert said in refused(home), name
    honest(idp).before = _signed_by_steps(_PREFIXES.format("xs xsi"))
    assert sign_on(home).state == "open"


def test_looking_at_a_signature_has_an_end(
    team: Home, home: Home, idp: SamlProvider, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A program that does not come back is ended, and is not asked about another certificate."""
    begun = single_sign_on.begin(home, "ada@example.com", BACK)
    answer = travel(begun.url)
    slow = tmp_path / "xmlsec1"
    slow.write_text(f'#!/bin/sh\n[ "$1" = --version ] && exec {shutil.which("xmlsec1")} --version\nexec sleep 600\n')
    slow.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.setattr(saml_signatures, "TIMEOUT_S", 0.5)
    with pytest.raises(AuthError) as caught:
        single_sign_on.end_by_saml(home, begun.token, answer)
    assert caught.value.code == "sign_on" and "too long" in caught.value.message


def test_letters_that_look_like_others_let_nobody_in(team: Home, home: Home, idp: SamlProvider) -> None:
    """The sign of Kelvin is a small k in lower case, and who has such an address is somebody else."""
    joined(home, "kim@example.com", "TEAM_ADMIN")
    _change(team, idp, domains=["example.com", "kelvin.example"], just_in_time=True)
    for email in ("\u212aim@example.com", "eve@\u212aelvin.example", "eve@\xe9xample.com"):
        for attributes in ({"displayName": ["Ada"]}, {"mail": [email]}, {"mail": [email.lower(), email]}):
            idp.email, idp.attributes = email, attributes
            assert "look like others" in refused(home), (email, attributes)
    honest(idp).email = "KIM@example.com"
    assert sign_on(home).email == "kim@example.com"


def test_why_nobody_came_in_is_in_the_log_without_what_was_brought(
    team: Home, home: Home, idp: SamlProvider, caplog: pytest.LogCaptureFixture
) -> None:
    idp.keys = pair(of="somebody else")
    refused(home)
    honest(idp).email = "nobody@example.com"
    refused(home)
    idp.email = "no address"
    with pytest.raises(ConfigError):
        sign_on(home)
    said = [one.getMessage() for one in caplog.records if one.name == "millrace.sign_on"]
    assert [
        one.startswith(f"single sign-on of team {team.actor.team_id} at {idp.entity_id} failed: ") for one in said
    ] == [True] * 3
    assert "SignatureError" in said[0] and "not a user" in said[1] and "bad_email" in said[2]
    assert not re.search("example.com|no address|<|ada@", "".join(said))
