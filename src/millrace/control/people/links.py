"""One-time links: a random token that lets somebody in once, for a day; only its hash is kept."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Literal, TypeAlias

import sqlalchemy as sa

from millrace.control.database.people_tables import links
from millrace.errors import AuthError

Purpose: TypeAlias = Literal["first", "invite", "reset", "sign_on"]

GOOD_FOR = timedelta(hours=24)


def issue(connection: sa.Connection, purpose: Purpose, user_id: str | None) -> str:
    """A new link; earlier ones of the same user and purpose are worth nothing any more."""
    token = secrets.token_urlsafe(32)
    now = datetime.now(UTC)
    connection.execute(
        sa.delete(links).where(links.c.purpose == purpose, links.c.user_id.is_not_distinct_from(user_id))
    )
    connection.execute(
        sa.insert(links).values(
            hash=hashed(token), purpose=purpose, user_id=user_id, created_at=now, expires_at=now + GOOD_FOR
        )
    )
    return token


def issued_at(connection: sa.Connection, purpose: Purpose, user_id: str) -> datetime | None:
    """When the user's link of that purpose was made; None where there is none."""
    mine = (links.c.purpose == purpose, links.c.user_id == user_id)
    return connection.execute(sa.select(sa.func.max(links.c.created_at)).where(*mine)).scalar()


def take(connection: sa.Connection, purpose: Purpose, token: str) -> str | None:
    """The link is used up; the user that it was for. One statement, so that of two who hold it one gets in.

    Raises AuthError "bad_link" for one that is none, was used, or is too old.
    """
    now = datetime.now(UTC)
    taken = connection.execute(
        sa.update(links)
        .where(
            links.c.hash == hashed(token),
            links.c.purpose == purpose,
            links.c.used_at.is_(None),
            links.c.expires_at > now,
        )
        .values(used_at=now)
        .returning(links.c.user_id)
    ).first()
    if taken is None:
        raise AuthError("this link is not valid: it was used, is older than a day, or was replaced by another",
                        hint="Ask for a new one.", code="bad_link")  # fmt: skip
    return taken.user_id


def hashed(token: str) -> str:
    """What is kept of a token: it is 256 random bits, so a fast hash is enough."""
    return sha256(token.encode("utf-8", "surrogatepass")).hexdigest()
