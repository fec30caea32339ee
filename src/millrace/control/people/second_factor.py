"""The second factor: one-time codes of an authenticator app (RFC 6238), and recovery codes for when it is lost."""

from __future__ import annotations

import hmac
import secrets
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from millrace.control.activity import wrote
from millrace.control.database.people_tables import recovery_codes
from millrace.control.database.people_tables import sessions as session_rows
from millrace.control.database.people_tables import users as people
from millrace.control.people import security, sessions, users
from millrace.control.people.actors import Actor
from millrace.control.people.links import hashed
from millrace.control.people.sessions import Session
from millrace.control.secrecy import sealing
from millrace.data.dataclass import dataclass
from millrace.errors import AuthError, ConfigError

if TYPE_CHECKING:
    from millrace.control.home import Home

CODES = 10
_STEP_S = 30
# A phone's clock may be one step off (RFC 6238, 5.2).
_WINDOW = (0, -1, 1)


@dataclass(frozen=True, slots=True)
class Enrolment:
    """What an authenticator app is told: by a picture of ``uri``, or typed. It counts once a code was confirmed."""

    seed: str
    uri: str


@dataclass(frozen=True, slots=True)
class Enrolled:
    """The second factor is on. The recovery codes are shown this once."""

    session: Session
    recovery_codes: tuple[str, ...]


def begin(home: Home, token: str) -> Enrolment:
    """A new seed for the user of the session, which may be one that has only this left to do.

    Raises ConfigError "two_factor_on" where it is on already.
    """
    from pyotp import random_base32
    from pyotp.totp import TOTP

    row = sessions.found(home, token, "open", "enrol")
    seed = random_base32()
    with home.database.transaction() as connection:
        user = users.of_id(connection, row.user_id)
        if user.two_factor:
            raise ConfigError(
                "two-factor authentication is on already", hint="Turn it off first.", code="two_factor_on"
            )
        sealed = sealing.seal(home, connection, people.c.totp, user.id, {"totp": seed})
        connection.execute(sa.update(people).where(people.c.id == user.id).values(totp=sealed, totp_step=0))
    return Enrolment(seed, TOTP(seed).provisioning_uri(name=user.email, issuer_name="Millrace"))


def confirm(home: Home, token: str, code: str) -> Enrolled:
    """The app shows the right codes, so the second factor is on; a new session takes the place of the old one."""
    row = sessions.found(home, token, "open", "enrol")
    person = _person(home, row.user_id)
    if person.totp is None or person.totp_on:
        raise ConfigError("no two-factor authentication is being set up", code="two_factor_on")
    if not _fits(home, person, code):
        sessions.failed(home, person.id, row.address)
        raise _wrong()
    with home.database.transaction() as connection:
        connection.execute(sa.update(people).where(people.c.id == person.id).values(totp_on=True))
        codes = _new_codes(connection, person.id)
        user = users.of_id(connection, person.id)
        there = home.acting(Actor("user", user.email, user.team_id, user.id, address=row.address))
        wrote(there, "HIGH", user.entity, "two_factor_on", f"{user.email} turned two-factor authentication on")
        return Enrolled(_instead(home, connection, row), codes)


def show(home: Home, token: str, code: str) -> Session:
    """The session is open: the code is the app's, or a recovery code, which is used up. A code counts once.

    Raises AuthError "code"; five failures lock the user out as wrong passwords do.
    """
    row = sessions.found(home, token, "second_factor")
    person = _person(home, row.user_id)
    _must_show(home, person, code, row.address)
    with home.database.transaction() as connection:
        return _instead(home, connection, row)


def new_recovery_codes(home: Home, code: str) -> tuple[str, ...]:
    """Other recovery codes for the actor, shown this once; the old ones are worth nothing."""
    person = _own(home, code)
    with home.database.transaction() as connection:
        user = users.of_id(connection, person.id)
        wrote(home, "HIGH", user.entity, "recovery_codes", f"{user.email} has new recovery codes")
        return _new_codes(connection, person.id)


def turn_off(home: Home, code: str) -> None:
    """The actor signs in with the password alone. Raises ConfigError where the team requires the second factor."""
    if security.of_team(home, home.actor.team_id).two_factor_required:
        raise ConfigError("the team requires two-factor authentication", code="two_factor_required")
    person = _own(home, code)
    _off(home, person.id, "turned two-factor authentication off")


def reset(home: Home, email: str) -> None:
    """The second factor of somebody who lost it is off; they prove who they are to the one who does this."""
    home.actor.must("users.edit")
    user = users.of_team(home, email)
    users.must_reach(home.actor, user.roles)
    if user.id == home.actor.user_id:
        raise ConfigError(
            "one's own second factor is not taken away like this", hint="Turn it off with a code.", code="wrong_state"
        )
    _off(home, user.id, "has no second factor any more")


def _off(home: Home, user_id: str, done: str) -> None:
    with home.database.transaction() as connection:
        connection.execute(sa.update(people).where(people.c.id == user_id).values(totp=None, totp_on=False))
        connection.execute(sa.delete(recovery_codes).where(recovery_codes.c.user_id == user_id))
        user = users.of_id(connection, user_id)
        wrote(home, "HIGH", user.entity, "two_factor_off", f"{user.email} {done}")


def _own(home: Home, code: str) -> Any:
    """The actor's row, once they have shown a code. Raises AuthError."""
    person = None if home.actor.user_id is None else _person(home, home.actor.user_id)
    if person is None or not person.totp_on:
        raise _wrong()
    _must_show(home, person, code, home.actor.address)
    return person


def _must_show(home: Home, person: Any, code: str, address: str | None) -> None:
    """The code is the person's, and they are not locked out. Raises AuthError "code", and counts the failure."""
    locked = person.locked_until is not None and person.locked_until > datetime.now(UTC)
    if locked or not (_fits(home, person, code) or _recovered(home, person, code)):
        if not locked:
            sessions.failed(home, person.id, address)
        raise _wrong()


def _person(home: Home, user_id: str) -> Any:
    with home.database.reading() as connection:
        return connection.execute(sa.select(people).where(people.c.id == user_id)).one()


def _fits(home: Home, person: Any, code: str) -> bool:
    """The code is the app's for this half minute or its neighbours, and neither it nor a later one was used before."""
    from pyotp.totp import TOTP

    if person.totp is None:
        return False
    totp = TOTP(sealing.unseal(home, people.c.totp, person.id, person.totp)["totp"])
    now = int(datetime.now(UTC).timestamp()) // _STEP_S
    given = code.strip().replace(" ", "").encode("utf-8", "surrogatepass")
    for step in (now + shift for shift in _WINDOW):
        if hmac.compare_digest(totp.at(step * _STEP_S).encode(), given):
            with home.database.transaction() as connection:
                used = sa.update(people).where(people.c.id == person.id, people.c.totp_step < step)
                return connection.execute(used.values(totp_step=step)).rowcount == 1
    return False


def _recovered(home: Home, person: Any, code: str) -> bool:
    """The code is an unused recovery code; it is used now."""
    of = recovery_codes.c
    given = hashed(code.strip().lower().replace(" ", "").replace("-", ""))
    with home.database.transaction() as connection:
        mine = sa.update(recovery_codes).where(of.user_id == person.id, of.hash == given, of.used_at.is_(None))
        return connection.execute(mine.values(used_at=datetime.now(UTC))).rowcount == 1


def _new_codes(connection: sa.Connection, user_id: str) -> tuple[str, ...]:
    """Codes of 80 random bits each, in a form that one can write down."""
    codes = tuple("-".join(secrets.token_hex(5) for _ in range(2)) for _ in range(CODES))
    connection.execute(sa.delete(recovery_codes).where(recovery_codes.c.user_id == user_id))
    rows = [{"user_id": user_id, "hash": hashed(code.replace("-", ""))} for code in codes]
    connection.execute(sa.insert(recovery_codes), rows)
    return codes


def _instead(home: Home, connection: sa.Connection, row: Any) -> Session:
    """An open session with another token: whoever saw the old one before has nothing."""
    connection.execute(sa.delete(session_rows).where(session_rows.c.hash == row.hash))
    return sessions.opened(home, row.user_id, "open", row.way, second_factor=True, address=row.address, agent=row.agent)


def _wrong() -> AuthError:
    return AuthError("the code is wrong or was used", hint="Wait for the next one; check the clock of the phone.",
                     code="code")  # fmt: skip
