"""API keys: pairs of a key and a secret with which programs act for a user (accounts 1.3, api.md A1)."""

from __future__ import annotations

import hmac
import secrets
import uuid
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import TYPE_CHECKING, Any, get_args

import sqlalchemy as sa

from millrace.control.activity import Entity, wrote
from millrace.control.database import pages
from millrace.control.database.pages import Page
from millrace.control.database.people_tables import api_keys, user_roles
from millrace.control.database.people_tables import users as people
from millrace.control.people import roles, security, users
from millrace.control.people.actors import Actor, Permission
from millrace.control.people.users import User
from millrace.data.dataclass import dataclass
from millrace.errors import AuthError, ConfigError, Forbidden

if TYPE_CHECKING:
    from millrace.control.home import Home

# Written at most that often, so that a request costs no write.
_USED_EVERY = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Key:
    """A pair as it can be shown. ``scope``: permissions that it is held to; None for all that its user has."""

    id: str
    key: str
    email: str
    name: str
    scope: tuple[Permission, ...] | None
    created_at: datetime
    expires_at: datetime | None
    used_at: datetime | None


@dataclass(frozen=True, slots=True)
class NewKey(Key):
    """A pair in the one moment in which its secret is known."""

    secret: str


def create(
    home: Home,
    email: str,
    *,
    name: str = "",
    scope: Iterable[str] | None = None,
    expires_at: datetime | None = None,
) -> NewKey:
    """A pair that acts for the user. Everybody makes their own; the operator makes them for anybody of the team.

    Raises Forbidden to others, ConfigError for a scope or a moment that cannot be.
    """
    owner = _own(home, email)
    if owner.status != "active":
        raise ConfigError(f"{owner.email} has not joined the team yet", code="not_active")
    held = None if scope is None else _scope(scope)
    if held is not None and home.actor.kind == "key" and (beyond := set(held) - home.actor.permissions):
        raise Forbidden(f"a key cannot make one that may more than itself ({', '.join(sorted(beyond))})")
    if held is None and home.actor.kind == "key":
        held = tuple(sorted(home.actor.permissions))
    if (until := home.actor.until) is not None:
        expires_at = expires_at or until
        if expires_at > until:
            raise Forbidden(f"a key cannot make one that lasts longer than itself ({until.isoformat()})")
    now = datetime.now(UTC)
    if expires_at is not None and expires_at <= now:
        raise ConfigError("a key cannot expire in the past", path="expires_at", code="bad_moment")
    if len(name) > 255 or not (name == "" or name.isprintable()):
        raise ConfigError("the name of a key has at most 255 signs that can be seen", path="name", code="bad_name")
    pair = NewKey(
        id=str(uuid.uuid4()),
        key=f"mk_{secrets.token_hex(12)}",
        email=owner.email,
        name=name,
        scope=held,
        created_at=now,
        expires_at=expires_at,
        used_at=None,
        secret=f"ms_{secrets.token_urlsafe(32)}",
    )
    with home.database.transaction() as connection:
        connection.execute(
            sa.insert(api_keys).values(
                id=pair.id,
                user_id=owner.id,
                key=pair.key,
                secret_hash=_hash(pair.secret),
                name=name,
                scope=held,
                created_at=now,
                expires_at=expires_at,
            )
        )
        told = {"name": name, "scope": held, "expires_at": expires_at}
        wrote(home, "HIGH", _entity(pair), "create", f"a key of {owner.email} was made", after=told)
    return pair


def listed(home: Home, email: str | None = None, *, after: str | None = None, limit: int = 100) -> Page[Key]:
    """The keys of a user, oldest first; without an address those of the whole team.

    Everybody sees their own; others' are for who may edit users.
    """
    limit = pages.checked_limit(limit)
    if email is None or users.canonical(email) != home.actor.name:
        home.actor.must("users.edit")
    query = _all().where(people.c.team_id == home.actor.team_id)
    if email is not None:
        query = query.where(people.c.id == users.of_team(home, email).id)
    if after:
        query = query.where(sa.tuple_(api_keys.c.created_at, api_keys.c.id) > _place(home, after))
    with home.database.reading() as connection:
        rows = connection.execute(query.order_by(api_keys.c.created_at, api_keys.c.id).limit(limit + 1)).all()
    return pages.cut([_key(row) for row in rows], limit, lambda one: one.key)


def remove(home: Home, key: str) -> None:
    """The pair opens nothing any more. Raises ConfigError "unknown_key_pair" when the team has none of that name."""
    with home.database.transaction() as connection:
        row = connection.execute(
            _all().where(api_keys.c.key == key, people.c.team_id == home.actor.team_id)
        ).one_or_none()
        own = row is not None and row.email == home.actor.name
        if not own:
            home.actor.must("users.edit")
        if row is None:
            raise ConfigError(f"there is no key {key[:80]!r}", hint="`millrace key list` shows the keys.", path="key",
                              code="unknown_key_pair")  # fmt: skip
        found = _key(row)
        connection.execute(sa.delete(api_keys).where(api_keys.c.id == found.id))
        wrote(
            home, "HIGH", _entity(found), "delete", f"a key of {found.email} was deleted", before={"name": found.name}
        )


def authenticate(home: Home, key: str, secret: str, *, address: str | None = None) -> Actor:
    """Who asks with that pair, with what they may: what their roles allow now, within the key's scope.

    Raises AuthError, in the same words and time whatever is wrong.
    """
    now = datetime.now(UTC)
    query = sa.select(api_keys, people.c.email, people.c.team_id, people.c.status)
    query = query.join(people, people.c.id == api_keys.c.user_id).where(api_keys.c.key == key)
    with home.database.reading() as connection:
        row = connection.execute(query).one_or_none() if key.isprintable() else None
        held = sa.select(user_roles.c.role).where(user_roles.c.user_id == (row.user_id if row else ""))
        names: list[Any] = list(connection.execute(held).scalars())
    fits = hmac.compare_digest(row.secret_hash if row else _hash(""), _hash(secret))
    if row is None or not fits or row.status != "active" or (row.expires_at is not None and row.expires_at <= now):
        raise AuthError("the API key or its secret is not valid", hint="Make a pair with `millrace key create`.")
    security.must_come_from(home, row.team_id, address)
    if row.used_at is None or now - row.used_at >= _USED_EVERY:
        with home.database.transaction() as connection:
            connection.execute(sa.update(api_keys).where(api_keys.c.id == row.id).values(used_at=now))
    allowed = roles.permissions(names)
    if row.scope is not None:
        allowed &= frozenset(row.scope)
    return Actor("key", row.email, row.team_id, row.user_id, allowed, address, row.expires_at)


def _own(home: Home, email: str) -> User:
    """The user, who is the actor, unless that is the operator."""
    if home.actor.kind != "operator" and users.canonical(email) != home.actor.name:
        raise Forbidden("keys are made by the user for whom they act", hint="Let the user make it.")
    return users.of_team(home, email)


def _scope(names: Iterable[str]) -> tuple[Permission, ...]:
    chosen = set(names)
    if unknown := sorted(chosen - set(get_args(Permission))):
        raise ConfigError(f"there is no permission {unknown[0][:80]!r}",
                          hint=f"There are {', '.join(get_args(Permission))}.", path="scope",
                          code="unknown_permission")  # fmt: skip
    return tuple(one for one in get_args(Permission) if one in chosen)


def _all() -> sa.Select[Any]:
    return sa.select(api_keys, people.c.email).join(people, people.c.id == api_keys.c.user_id)


def _place(home: Home, key: str) -> sa.ColumnElement[Any]:
    """Where a page that ended with this key ended."""
    with home.database.reading() as connection:
        at = connection.execute(sa.select(api_keys.c.created_at, api_keys.c.id).where(api_keys.c.key == key)).first()
    if at is None:
        raise pages.bad_cursor(key)
    return sa.tuple_(sa.literal(at.created_at, api_keys.c.created_at.type), sa.literal(at.id))


def _key(row: Any) -> Key:
    return Key(
        id=row.id,
        key=row.key,
        email=row.email,
        name=row.name,
        scope=None if row.scope is None else tuple(row.scope),
        created_at=row.created_at,
        expires_at=row.expires_at,
        used_at=row.used_at,
    )


def _entity(key: Key) -> Entity:
    return Entity("key", key.id, key.name or key.key)


def _hash(secret: str) -> str:
    # The secret is 256 random bits: nobody guesses it, so a fast hash is enough.
    return sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()
