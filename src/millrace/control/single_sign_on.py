"""Single sign-on: people of a team come in by what their identity provider says of them (OpenID Connect)."""

from __future__ import annotations

import base64
import hmac
import re
import secrets
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from millrace.control import links, reach, roles, sealing, security, sessions, users
from millrace.control.activity import Entity, wrote
from millrace.control.actors import SYSTEM
from millrace.control.db import upsert
from millrace.control.people_tables import links as link_rows
from millrace.control.people_tables import single_sign_on as rows
from millrace.control.people_tables import users as people
from millrace.control.roles import Role
from millrace.control.sessions import Session
from millrace.data.dataclass import dataclass
from millrace.errors import AuthError, ConfigError

if TYPE_CHECKING:
    from millrace.control.home import Home
    from millrace.control.oidc import Client, Journey

# Who was sent to the provider has that long to come back.
GOOD_FOR = timedelta(minutes=10)
_DOMAIN = re.compile(r"(?!-)[a-z0-9-]{1,63}(\.(?!-)[a-z0-9-]{1,63})+")


@dataclass(frozen=True, slots=True)
class SignOn:
    """How people of a team sign on.

    ``domains``: e-mail addresses of these domains alone; none: of all. ``just_in_time``: who is not a user yet becomes
    one, with ``role``; only for ``domains``.
    """

    issuer: str
    client_id: str
    domains: tuple[str, ...] = ()
    role: Role = roles.DEFAULT
    just_in_time: bool = False


@dataclass(frozen=True, slots=True)
class Begun:
    """A sign-on that was begun: the browser goes to ``url``, and brings ``token`` back in a cookie."""

    url: str
    token: str


def settings(home: Home) -> SignOn | None:
    """How the actor's team signs on; None when it does not. The secret is not in it (I7)."""
    home.actor.must("view")
    row = _row(home, home.actor.team_id)
    return None if row is None else _sign_on(row)


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
    from millrace.control import oidc

    old = _row(home, home.actor.team_id)
    (checked,) = roles.checked([role])
    users.must_reach(home.actor, [checked])
    new = SignOn(issuer, client_id, _domains(domains), checked, just_in_time)
    if just_in_time and not new.domains:
        raise ConfigError(
            "people become users by themselves only with addresses of domains that are named",
            hint="Name the domains of your addresses (`--domain example.com`).",
            path="domains",
            code="no_domains",
        )
    # The secret of one provider is never sent to another.
    if client_secret is None and (old is None or (old.issuer, old.client_id) != (issuer, client_id)):
        raise ConfigError("the secret of the client is missing", path="client_secret", code="no_secret")
    oidc.discover(issuer, reach.of(home))
    team = home.actor.team_id
    with home.database.transaction() as connection:
        _must_be_free(connection, team, new.domains)
        values: dict[str, Any] = {
            "team_id": team,
            "issuer": issuer,
            "client_id": client_id,
            "domains": list(new.domains),
            "role": checked,
            "just_in_time": just_in_time,
            "changed_at": datetime.now(UTC),
        }
        sealed = old.sealed if old is not None else None
        if client_secret is not None:
            sealed = sealing.seal(home, connection, rows.c.sealed, team, {"client_secret": client_secret})
        upsert(connection, rows, [values | {"sealed": sealed}], key=["team_id"])
        before = None if old is None else _told(_sign_on(old))
        wrote(home, "HIGH", Entity("team", team, "single sign-on"), "change", "how people sign on was changed",
              before, _told(new))  # fmt: skip
    return new


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
    from millrace.control import oidc

    address = users.canonical(email)
    row = _for_address(home, address)
    if row is None:
        raise _refused("there is no single sign-on for that address")
    token = f"{row.team_id}.{secrets.token_urlsafe(32)}"
    provider = oidc.discover(row.issuer, reach.of(home.acting(SYSTEM.of(row.team_id))))
    now = datetime.now(UTC)
    with home.database.transaction() as connection:
        kept = {"hash": links.hashed(token), "purpose": "sign_on", "created_at": now, "expires_at": now + GOOD_FOR}
        connection.execute(sa.insert(link_rows).values(kept))
    client = oidc.Client(row.client_id, "", redirect_uri)
    return Begun(oidc.address(provider, client, _journey(token), address), token)


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
    from millrace.control import oidc

    with home.database.transaction() as connection:
        try:
            links.take(connection, "sign_on", token)
        except AuthError:
            raise _refused("it was not begun in this browser, or too long ago") from None
    team = token.partition(".")[0]
    row = _row(home, team)
    if row is None:
        raise _refused("there is no single sign-on any more")
    there = home.acting(SYSTEM.of(team))
    near = reach.of(there)
    secret = sealing.unseal(home, rows.c.sealed, team, row.sealed)["client_secret"]
    client: Client = oidc.Client(row.client_id, secret, redirect_uri)
    found = oidc.identity(oidc.discover(row.issuer, near), client, _journey(token), answer, near)
    security.must_come_from(home, team, address)
    user_id = _user(there, _sign_on(row), users.canonical(found.email), found.name)
    return sessions.begin(home, user_id, address=address, agent=agent)


def _user(there: Home, sign_on: SignOn, email: str, name: str) -> str:
    """The id of the user of that address, who may have become one in this moment."""
    if sign_on.domains and email.rpartition("@")[2] not in sign_on.domains:
        raise _refused("the team does not take addresses of that domain")
    team = there.actor.team_id
    with there.database.transaction() as connection:
        row = connection.execute(sa.select(people).where(people.c.email == email)).one_or_none()
        if row is None and sign_on.just_in_time:
            return users.added(there, email, (sign_on.role,), status="active", hash_=None, name=_shown(name)).id
        # A provider speaks for its own team alone.
        if row is None or row.team_id != team:
            raise _refused("you are not a user of this team")
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
    """All of it follows from what the browser's cookie holds, of which we keep a hash alone."""
    from millrace.control.oidc import Journey

    def of(purpose: bytes) -> str:
        return (
            base64.urlsafe_b64encode(hmac.digest(token.encode(), b"millrace " + purpose, sha256)).decode().rstrip("=")
        )

    return Journey(of(b"state"), of(b"nonce"), of(b"pkce"))


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
    return SignOn(row.issuer, row.client_id, tuple(row.domains), row.role, row.just_in_time)


def _told(one: SignOn) -> dict[str, Any]:
    return {
        "issuer": one.issuer,
        "client_id": one.client_id,
        "domains": list(one.domains),
        "role": one.role,
        "just_in_time": one.just_in_time,
    }


def _refused(why: str) -> AuthError:
    return AuthError(f"you cannot be signed in: {why}", hint="Begin again, or ask an administrator of the team.",
                     code="sign_on")  # fmt: skip
