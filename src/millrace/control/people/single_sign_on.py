"""Single sign-on: people of a team come in by what their identity provider says of them, by OpenID
Connect or SAML."""

from __future__ import annotations

import base64
import hmac
import logging
import re
import secrets
from collections.abc import Generator, Iterable, Mapping
from contextlib import contextmanager
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit

import sqlalchemy as sa

from millrace.control.activity import Entity, wrote
from millrace.control.connecting import reach
from millrace.control.database.db import upsert
from millrace.control.database.people_tables import links as link_rows
from millrace.control.database.people_tables import single_sign_on as rows
from millrace.control.database.people_tables import users as people
from millrace.control.people import links, roles, security, sessions, users
from millrace.control.people.actors import SYSTEM
from millrace.control.people.roles import Role
from millrace.control.people.sessions import Session
from millrace.control.people.vouching import refused
from millrace.control.secrecy import sealing
from millrace.control.settings import workspace
from millrace.data.dataclass import dataclass
from millrace.errors import AuthError, ConfigError, MillraceError

if TYPE_CHECKING:
    from millrace.control.home import Home
    from millrace.control.people.oidc import Client, Journey
    from millrace.control.people.saml_metadata import Provider

# Who was sent to the provider has that long to come back.
GOOD_FOR = timedelta(minutes=10)
# Where answers by SAML go, below the address that people reach the server by, and where our metadata are.
CONSUMER = "/api/millrace/v1/session/single-sign-on/saml"
METADATA = f"{CONSUMER}/metadata"
_log = logging.getLogger("millrace.sign_on")
_DOMAIN = re.compile(r"(?!-)[a-z0-9-]{1,63}(\.(?!-)[a-z0-9-]{1,63})+")


@dataclass(frozen=True, slots=True)
class SignOn:
    """How people of a team sign on.

    ``domains``: e-mail addresses of these domains alone; none: of all. ``just_in_time``: who is not a user yet becomes
    one, with ``role``; only for ``domains``. By SAML ``issuer`` and ``client_id`` are the names (entity ids) of the
    provider and of ours; ``email_attribute``: which attribute tells the address, None: the usual ones;
    ``certificates``: SHA-256 of those that the provider signs with; ``sign_on_url``: where people are sent.
    """

    issuer: str
    client_id: str
    domains: tuple[str, ...] = ()
    role: Role = roles.DEFAULT
    just_in_time: bool = False
    protocol: Literal["oidc", "saml"] = "oidc"
    email_attribute: str | None = None
    certificates: tuple[str, ...] = ()
    sign_on_url: str | None = None


@dataclass(frozen=True, slots=True)
class Service:
    """What we are to a provider that speaks SAML: our name, which is where our metadata are, and where answers go."""

    entity_id: str
    consumer: str


@dataclass(frozen=True, slots=True)
class Begun:
    """A sign-on that was begun: the browser goes to ``url``, and brings ``token`` back in a cookie.

    ``server``: where the browser comes back to, and so where it must hold the cookie; None: to where it was sent from.
    """

    url: str
    token: str
    server: str | None = None


def settings(home: Home) -> SignOn | None:
    """How the actor's team signs on; None when it does not. The secret is not in it (I7)."""
    home.actor.must("view")
    row = _row(home, home.actor.team_id)
    return None if row is None else _sign_on(row)


def service(home: Home) -> Service | None:
    """What a provider must be told to speak SAML with us; None as long as `public_url` of the workspace is not set.

    What a team has told its provider stays for that team, whatever the workspace is called later.
    """
    home.actor.must("view")
    row = _row(home, home.actor.team_id)
    if row is not None and row.saml is not None:
        return _service(row.client_id)
    return public_service(home)


def public_service(home: Home) -> Service | None:
    """The same for whoever asks: it is no secret, and the same for all teams."""
    public = workspace(home.database).public_url
    return None if public is None else _service(public.rstrip("/") + METADATA)


def no_public_url() -> ConfigError:
    """Words for SAML on a server that does not know how people reach it. What a request calls it does not count:
    whoever asks decides that, and could bring an answer that was meant for another service."""
    return ConfigError("a provider that speaks SAML must know where people reach this server",
                       hint="Set `public_url` of the workspace: `millrace settings set public_url=https://HOST`.",
                       path="public_url", code="no_public_url")  # fmt: skip


def change(
    home: Home,
    *,
    issuer: str,
    client_id: str,
    client_secret: str | None = None,
    domains: Iterable[str] = (),
    role: str = roles.DEFAULT,
    just_in_time: bool = False,
) -> SignOn:
    """The team signs on like that. The provider is asked, so that a wrong issuer is told now.

    ``client_secret``: None leaves the one that is there. Raises ConfigError for what cannot be, Forbidden for a role
    that allows more than the actor may.
    """
    home.actor.must("settings.edit")
    from millrace.control.people import oidc

    old = _row(home, home.actor.team_id)
    new = SignOn(issuer, client_id, _domains(domains), _role(home, role), just_in_time)
    _must_name_domains(new)
    # The secret of one provider is never sent to another.
    if client_secret is None and (
        old is None or old.saml is not None or (old.issuer, old.client_id) != (issuer, client_id)
    ):
        raise ConfigError("the secret of the client is missing", path="client_secret", code="no_secret")
    oidc.discover(issuer, reach.of(home))
    return _save(home, old, new, client_secret, None)


def change_to_saml(
    home: Home,
    *,
    metadata: str,
    email_attribute: str | None = None,
    domains: Iterable[str] = (),
    role: str = roles.DEFAULT,
    just_in_time: bool = False,
) -> SignOn:
    """The team signs on like that, by SAML. ``metadata``: of the provider, as XML, or the URL where that is; the
    certificates that are there now alone count until this is called again.

    Raises ConfigError for what cannot be, and where SAML cannot be spoken; Forbidden as `change` does.
    """
    home.actor.must("settings.edit")
    from millrace.connect.http.client import may_be_plain
    from millrace.control.people import saml, saml_metadata

    saml.must_be_there()
    old = _row(home, home.actor.team_id)
    checked, named = _role(home, role), _domains(domains)
    if (here := service(home)) is None:
        raise no_public_url()
    parts = urlsplit(here.entity_id)
    if parts.scheme == "http" and not may_be_plain(parts.hostname or ""):
        raise ConfigError("answers by SAML would come here without encryption", path="public_url",
                          hint="Let `public_url` of the workspace begin with https://.", code="plain_url")  # fmt: skip
    text = metadata.strip()
    found = saml_metadata.provider(
        saml_metadata.fetched(text, reach.of(home)) if text.startswith(("https://", "http://")) else text
    )
    saml.address(found, here, _request(""))  # says what cannot be used
    new = SignOn(found.entity_id, here.entity_id, named, checked, just_in_time, "saml", email_attribute or None,
                 found.fingerprints, found.sign_on_url)  # fmt: skip
    _must_name_domains(new)
    kept: dict[str, Any] = {
        "sign_on_url": found.sign_on_url,
        "certificates": list(found.certificates),
        "email_attribute": new.email_attribute,
    }
    return _save(home, old, new, None, kept)


def remove(home: Home) -> None:
    """The team signs on no more; people come in by password."""
    home.actor.must("settings.edit")
    team = home.actor.team_id
    with home.database.transaction() as connection:
        if connection.execute(sa.delete(rows).where(rows.c.team_id == team)).rowcount:
            wrote(home, "HIGH", Entity("team", team, "single sign-on"), "delete", "single sign-on was turned off")


def begin(home: Home, email: str, redirect_uri: str) -> Begun:
    """Where whoever has that address signs on: the provider of their team, or of the team of its domain.

    Raises AuthError "sign_on" in the same words for an address that nobody has, and one whose team does not sign on.
    """
    address = users.canonical(email)
    row = _for_address(home, address)
    if row is None:
        raise refused("there is no single sign-on for that address")
    token = f"{row.team_id}.{secrets.token_urlsafe(32)}"
    url = _away(home, row, token, address, redirect_uri)
    now = datetime.now(UTC)
    with home.database.transaction() as connection:
        kept = {"hash": links.hashed(token), "purpose": "sign_on", "created_at": now, "expires_at": now + GOOD_FOR}
        connection.execute(sa.insert(link_rows).values(kept))
    return Begun(url, token, None if row.saml is None else row.client_id.removesuffix(METADATA))


def end(
    home: Home,
    token: str,
    answer: Mapping[str, str],
    redirect_uri: str,
    *,
    address: str | None = None,
    agent: str | None = None,
) -> Session:
    """A session for whom the provider vouches for. ``token`` is the browser's, from `begin`; it counts once.

    Raises AuthError: "sign_on" where something is not as it was begun, the provider vouches for nobody, or for
    somebody who is not of this team.
    """
    from millrace.control.people import oidc

    row = _taken(home, token, "oidc", address)
    team = row.team_id
    near = reach.of(home.acting(SYSTEM.of(team)))
    secret = sealing.unseal(home, rows.c.sealed, team, row.sealed)["client_secret"]
    client: Client = oidc.Client(row.client_id, secret, redirect_uri)
    with _noted(row):
        found = oidc.identity(oidc.discover(row.issuer, near), client, _journey(token), answer, near)
        return _session(home, row, found.email, found.name, address, agent)


def end_by_saml(
    home: Home, token: str, answer: str, *, address: str | None = None, agent: str | None = None
) -> Session:
    """The same, for what a provider that speaks SAML had the browser bring: ``answer`` is its response, in base64."""
    from millrace.control.people import saml

    row = _taken(home, token, "saml", address)
    with _noted(row):
        saml.must_be_there()
        email_attribute = row.saml["email_attribute"]
        found = saml.identity(_provider(row), _service(row.client_id), _request(token), answer, email_attribute)
        return _session(home, row, found.email, found.name, address, agent)


@contextmanager
def _noted(row: Any) -> Generator[None]:
    """Why nobody came in is in the server's log, for whoever sets sign-on up: not who, and nothing that was brought."""
    try:
        yield
    except MillraceError as error:
        why = error.message if isinstance(error, AuthError) else f"{type(error).__name__} {error.code}"
        _log.warning("single sign-on of team %s at %s failed: %s", row.team_id, row.issuer, why)
        raise


def _taken(home: Home, token: str, protocol: str, address: str | None) -> Any:
    """The settings of the team where the journey began. It is over now, however it ends.

    What was brought is looked at only if it comes from where the team takes people."""
    with home.database.transaction() as connection:
        try:
            links.take(connection, "sign_on", token)
        except AuthError:
            raise refused("it was not begun in this browser, or too long ago") from None
    row = _row(home, token.partition(".")[0])
    if row is None or _sign_on(row).protocol != protocol:
        raise refused("there is no single sign-on of that kind any more")
    security.must_come_from(home, row.team_id, address)
    return row


def _session(home: Home, row: Any, email: str, name: str, address: str | None, agent: str | None) -> Session:
    there = home.acting(SYSTEM.of(row.team_id))
    sign_on = _sign_on(row)
    user_id = _user(there, sign_on, _vouched(email), name)
    return sessions.begin(home, user_id, sign_on.protocol, address=address, agent=agent)


def _vouched(email: str) -> str:
    """The address in lower case. No other letter becomes one of ASCII by that (the sign of Kelvin would): who has the
    one address at the provider need not have the other."""
    _, _, domain = email.rpartition("@")
    if not domain.isascii() or any(one.lower().isascii() for one in email if not one.isascii()):
        raise refused("the provider tells an address with letters that look like others")
    return users.canonical(email)


def _away(home: Home, row: Any, token: str, email: str, redirect_uri: str) -> str:
    """Where the browser goes to sign in."""
    if row.saml is not None:
        from millrace.control.people import saml

        saml.must_be_there()
        return saml.address(_provider(row), _service(row.client_id), _request(token))
    from millrace.control.people import oidc

    found = oidc.discover(row.issuer, reach.of(home.acting(SYSTEM.of(row.team_id))))
    return oidc.address(found, oidc.Client(row.client_id, "", redirect_uri), _journey(token), email)


def _save(home: Home, old: Any, new: SignOn, client_secret: str | None, saml: dict[str, Any] | None) -> SignOn:
    team = home.actor.team_id
    with home.database.transaction() as connection:
        _must_be_free(connection, team, new.domains)
        sealed = old.sealed if old is not None and saml is None else None
        if client_secret is not None:
            sealed = sealing.seal(home, connection, rows.c.sealed, team, {"client_secret": client_secret})
        values: dict[str, Any] = {
            "team_id": team,
            "issuer": new.issuer,
            "client_id": new.client_id,
            "sealed": sealed,
            "domains": list(new.domains),
            "role": new.role,
            "just_in_time": new.just_in_time,
            "changed_at": datetime.now(UTC),
            "saml": saml,
        }
        upsert(connection, rows, [values], key=["team_id"])
        before = None if old is None else asdict(_sign_on(old))
        said = "how people sign on was changed"
        wrote(home, "HIGH", Entity("team", team, "single sign-on"), "change", said, before, asdict(new))
    return new


def _role(home: Home, role: str) -> Role:
    (checked,) = roles.checked([role])
    users.must_reach(home.actor, [checked])
    return checked


def _must_name_domains(new: SignOn) -> None:
    if new.just_in_time and not new.domains:
        raise ConfigError(
            "people become users by themselves only with addresses of domains that are named",
            hint="Name the domains of your addresses (`--domain example.com`).",
            path="domains",
            code="no_domains",
        )


def _user(there: Home, sign_on: SignOn, email: str, name: str) -> str:
    """The id of the user of that address, who may have become one in this moment."""
    if sign_on.domains and email.rpartition("@")[2] not in sign_on.domains:
        raise refused("the team does not take addresses of that domain")
    team = there.actor.team_id
    with there.database.transaction() as connection:
        row = connection.execute(sa.select(people).where(people.c.email == email)).one_or_none()
        if row is None and sign_on.just_in_time:
            return users.added(there, email, (sign_on.role,), status="active", hash_=None, name=_shown(name)).id
        # A provider speaks for its own team alone.
        if row is None or row.team_id != team:
            raise refused("you are not a user of this team")
        if row.status == "invited":
            connection.execute(sa.update(people).where(people.c.id == row.id).values(status="active"))
            user = users.of_id(connection, row.id)
            wrote(there, "HIGH", user.entity, "join", f"{email} joined the team")
        return row.id


def _for_address(home: Home, email: str) -> Any:
    domain = email.rpartition("@")[2]
    with home.database.reading() as connection:
        team = connection.execute(sa.select(people.c.team_id).where(people.c.email == email)).scalar()
        if team is not None:
            return connection.execute(sa.select(rows).where(rows.c.team_id == team)).one_or_none()
        offered = connection.execute(sa.select(rows).where(rows.c.just_in_time)).all()
    return next((row for row in offered if domain in row.domains), None)


def _journey(token: str) -> Journey:
    from millrace.control.people.oidc import Journey

    return Journey(_follows(token, b"state"), _follows(token, b"nonce"), _follows(token, b"pkce"))


def _request(token: str) -> str:
    """The id of a request by SAML. A letter begins it, as XML wants."""
    return "m" + _follows(token, b"saml request")


def _follows(token: str, purpose: bytes) -> str:
    """What follows from what the browser's cookie holds, of which we keep a hash alone."""
    made = hmac.digest(token.encode("utf-8", "surrogatepass"), b"millrace " + purpose, sha256)
    return base64.urlsafe_b64encode(made).decode().rstrip("=")


def _provider(row: Any) -> Provider:
    from millrace.control.people.saml_metadata import Provider

    return Provider(row.issuer, row.saml["sign_on_url"], tuple(row.saml["certificates"]))


def _service(entity_id: str) -> Service:
    return Service(entity_id, entity_id.removesuffix(METADATA) + CONSUMER)


def _must_be_free(connection: sa.Connection, team: str, domains: tuple[str, ...]) -> None:
    others = connection.execute(sa.select(rows.c.domains).where(rows.c.team_id != team)).scalars()
    if taken := sorted({one for found in others for one in found} & set(domains)):
        raise ConfigError(f"another team signs on with addresses of {taken[0]}", path="domains", code="domain_taken")


def _domains(texts: Iterable[str]) -> tuple[str, ...]:
    found = [text.strip().lower().removeprefix("@") for text in texts]
    for text in found:
        if not _DOMAIN.fullmatch(text):
            raise ConfigError(f"{text[:80]!r} is not a domain", hint="Write it like example.com.", path="domains",
                              code="bad_domain")  # fmt: skip
    return tuple(dict.fromkeys(found))


def _shown(name: str) -> str:
    return name[:255] if name.isprintable() else ""


def _row(home: Home, team_id: str) -> Any:
    with home.database.reading() as connection:
        return connection.execute(sa.select(rows).where(rows.c.team_id == team_id)).one_or_none()


def _sign_on(row: Any) -> SignOn:
    found = SignOn(row.issuer, row.client_id, tuple(row.domains), row.role, row.just_in_time)
    if row.saml is None:
        return found
    return replace(found, protocol="saml", email_attribute=row.saml["email_attribute"],
                   certificates=_provider(row).fingerprints, sign_on_url=row.saml["sign_on_url"])  # fmt: skip
