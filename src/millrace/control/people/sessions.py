"""Sessions: signing in with a password, what a browser's cookie stands for, and what stops guessing."""

from __future__ import annotations

import base64
import hmac
import secrets
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import sqlalchemy as sa

from millrace.control.activity import wrote
from millrace.control.database.people_tables import sessions
from millrace.control.database.people_tables import users as people
from millrace.control.people import passwords, security, users
from millrace.control.people.actors import SYSTEM, Actor
from millrace.control.people.links import hashed
from millrace.control.settings import workspace
from millrace.data.dataclass import dataclass
from millrace.errors import AuthError, ConfigError

if TYPE_CHECKING:
    from millrace.control.home import Home

# What must still be done before the session is good for anything: show a second factor, or set one up.
State: TypeAlias = Literal["open", "second_factor", "enrol"]

# By what somebody has shown who they are.
Way: TypeAlias = Literal["password", "oidc", "saml"]
_BY: dict[Way, str] = {"password": "with a password", "oidc": "by OIDC", "saml": "by SAML"}

LASTS = timedelta(hours=12)
# Who has shown a password has that long for the second factor.
UNFINISHED = timedelta(minutes=10)
FAILURES = 5
LOCKED_FOR = timedelta(minutes=15)
_SEEN_EVERY = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Session:
    """A session in the one moment in which its token is known. ``csrf`` goes to the page, the token into a cookie."""

    token: str
    csrf: str
    email: str
    state: State
    expires_at: datetime


def sign_in(home: Home, email: str, password: str, *, address: str | None = None, agent: str | None = None) -> Session:
    """A session for whoever knows the password.

    Raises AuthError: in the same words, and after hashing as much, for an e-mail address that nobody has, a wrong
    password, a user who failed five times and must wait 15 minutes, and one whose team takes nobody from ``address``.
    """
    settings = workspace(home.database)
    row = _row(home, email)
    if row is not None and not security.takes(home, row.team_id, address):
        # From elsewhere nobody finds out who is here or what a password is, or locks somebody out.
        row = None
    right = passwords.fits(row.password if row is not None and row.status == "active" else None, password, settings)
    now = datetime.now(UTC)
    if row is not None and row.locked_until is not None and row.locked_until > now:
        raise _refused(address)
    if row is None or not right:
        if row is not None:
            failed(home, row.id, address)
        raise _refused(address)
    if passwords.is_dated(row.password, settings):
        with home.database.transaction() as connection:
            hash_ = passwords.hashed(password, settings)
            connection.execute(sa.update(people).where(people.c.id == row.id).values(password=hash_))
    return begin(home, row.id, "password", address=address, agent=agent)


def begin(home: Home, user_id: str, way: Way, *, address: str | None = None, agent: str | None = None) -> Session:
    """A session for a user who has shown who they are: open, or with the second factor still to show or to set up."""
    with home.database.reading() as connection:
        row = connection.execute(sa.select(people.c.team_id, people.c.totp_on).where(people.c.id == user_id)).one()
    required = security.of_team(home, row.team_id).two_factor_required
    state: State = "second_factor" if row.totp_on else "enrol" if required else "open"
    return opened(home, user_id, state, way, address=address, agent=agent)


def opened(
    home: Home,
    user_id: str,
    state: State,
    way: Way | None,
    *,
    second_factor: bool = False,
    address: str | None = None,
    agent: str | None = None,
) -> Session:
    """A new session of the user; nobody is asked whether they may have it.

    ``way``: None for one that goes on from one that an older Millrace began. ``second_factor``: it was shown just now.
    """
    token = secrets.token_urlsafe(32)
    now = datetime.now(UTC)
    expires_at = now + (LASTS if state == "open" else UNFINISHED)
    with home.database.joining() as connection:
        user = users.of_id(connection, user_id)
        connection.execute(
            sa.insert(sessions).values(
                hash=hashed(token),
                user_id=user_id,
                state=state,
                created_at=now,
                seen_at=now,
                expires_at=expires_at,
                address=address,
                agent=agent and agent[:255],
                way=way,
            )
        )
        if state == "open":
            done = {"failures": 0, "locked_until": None, "signed_in_at": now}
            connection.execute(sa.update(people).where(people.c.id == user_id).values(done))
            there = home.acting(Actor("user", user.email, user.team_id, user.id, address=address))
            by = " and ".join(([_BY[way]] if way else []) + ["with a second factor"] * second_factor)
            after = {"way": way, "second_factor": second_factor}
            wrote(there, "LOW", user.entity, "sign_in", f"{user.email} signed in {by}".rstrip(), None, after)
    return Session(token, csrf_of(token), user.email, state, expires_at)


def authenticate(home: Home, token: str, *, address: str | None = None) -> Actor:
    """Who asks with that token, with what their roles allow now. Raises AuthError "no_session"."""
    row = found(home, token, "open")
    actor = users.actor_of(home, row.user_id, address=address)
    security.must_come_from(home, actor.team_id, address)
    now = datetime.now(UTC)
    if now - row.seen_at >= _SEEN_EVERY:
        with home.database.transaction() as connection:
            connection.execute(sa.update(sessions).where(sessions.c.hash == row.hash).values(seen_at=now))
    return actor


def found(home: Home, token: str, *states: State) -> Any:
    """The row of a session that is in one of the states. Raises AuthError "no_session"."""
    query = sa.select(sessions).where(
        sessions.c.hash == hashed(token), sessions.c.expires_at > datetime.now(UTC), sessions.c.state.in_(states)
    )
    with home.database.reading() as connection:
        row = connection.execute(query).one_or_none()
    if row is None:
        raise AuthError("you are not signed in, or not any more", hint="Sign in again.", code="no_session")
    return row


def csrf_of(token: str) -> str:
    """What a page sends beside the cookie with every change: it follows from the token, which no other site knows."""
    return base64.urlsafe_b64encode(hmac.digest(token.encode(), b"millrace csrf", sha256)).decode().rstrip("=")


def check_csrf(token: str, given: str) -> None:
    """Raises AuthError "csrf" when a change does not come from a page of ours."""
    if not hmac.compare_digest(csrf_of(token).encode(), given.encode("utf-8", "surrogatepass")):
        raise AuthError("this change did not come from a page of Millrace", hint="Load the page again.", code="csrf")


def sign_out(home: Home, token: str) -> None:
    """The session is over. One that is over already is no error."""
    with home.database.transaction() as connection:
        connection.execute(sa.delete(sessions).where(sessions.c.hash == hashed(token)))


def change_password(home: Home, old: str, new: str) -> None:
    """The actor's own password is another one; all sessions end, this one too. Raises AuthError for a wrong old one."""
    row = _row(home, home.actor.name)
    if row is None or not passwords.fits(row.password, old, workspace(home.database)):
        if row is not None:
            failed(home, row.id, home.actor.address)
        raise _refused()
    hash_ = users.new_hash(home, new)
    with home.database.transaction() as connection:
        users.set_hash(connection, row.id, hash_)
        user = users.of_id(connection, row.id)
        wrote(home, "HIGH", user.entity, "set_password", f"{user.email} changed their password")


def failed(home: Home, user_id: str, address: str | None) -> None:
    """One failure more; the fifth in a row locks the user out for 15 minutes."""
    with home.database.transaction() as connection:
        count = connection.execute(
            sa.update(people)
            .where(people.c.id == user_id)
            .values(failures=people.c.failures + 1)
            .returning(people.c.failures)
        ).scalar_one()
        if count >= FAILURES:
            until = datetime.now(UTC) + LOCKED_FOR
            mine = sa.update(people).where(people.c.id == user_id)
            connection.execute(mine.values(failures=0, locked_until=until))
            user = users.of_id(connection, user_id)
            there = home.acting(Actor("system", SYSTEM.name, user.team_id, address=address))
            wrote(there, "HIGH", user.entity, "lock", f"{user.email} failed to sign in {FAILURES} times and must wait")


def _row(home: Home, email: str) -> Any:
    try:
        address = users.canonical(email)
    except ConfigError:
        return None
    with home.database.reading() as connection:
        return connection.execute(sa.select(people).where(people.c.email == address)).one_or_none()


def _refused(address: str | None = None) -> AuthError:
    hint = f"After {FAILURES} failures wait {LOCKED_FOR.seconds // 60} minutes, or ask for a link that resets it."
    if address is not None:
        hint += f" Some teams take nobody from {address}, where you are: their administrators can allow it."
    return AuthError(
        "the e-mail address or the password is wrong, or there were too many tries", hint=hint, code="sign_in"
    )
