"""Two-factor authentication: set up, shown once, recovered, required, and closed to guessing."""

from __future__ import annotations

import time

import pyotp
import pytest
import sqlalchemy as sa
from tests.control.people import PASSWORD, acting, cheap, joined

from millrace.control import activity
from millrace.control.database.people_tables import recovery_codes
from millrace.control.database.people_tables import users as people
from millrace.control.home import Home
from millrace.control.people import second_factor, security, sessions, users
from millrace.control.people.second_factor import Enrolled
from millrace.errors import AuthError, ConfigError, Forbidden

ADA = "ada@example.com"


@pytest.fixture
def team(home: Home) -> Home:
    cheap(home)
    joined(home, ADA, "TEAM_ADMIN")
    joined(home, "obs@example.com")
    return home


def code(seed: str, *, steps: int = 0) -> str:
    return pyotp.TOTP(seed).at(int(time.time()) + steps * 30)


def enrolled(home: Home, email: str = ADA) -> tuple[str, Enrolled]:
    """The seed, and what confirming it gave."""
    session = sessions.sign_in(home, email, PASSWORD)
    seed = second_factor.begin(home, session.token).seed
    return seed, second_factor.confirm(home, session.token, code(seed, steps=-1))


def refused(home: Home, token: str, given: str) -> str:
    with pytest.raises(AuthError) as caught:
        second_factor.show(home, token, given)
    return caught.value.code


def test_a_password_alone_opens_nothing_once_a_second_factor_is_on(team: Home) -> None:
    session = sessions.sign_in(team, ADA, PASSWORD)
    enrolment = second_factor.begin(team, session.token)
    assert enrolment.uri.startswith("otpauth://totp/Millrace:ada%40example.com?secret=" + enrolment.seed)
    assert not users.find(team, ADA).two_factor
    done = second_factor.confirm(team, session.token, code(enrolment.seed, steps=-1))
    assert users.find(team, ADA).two_factor
    with pytest.raises(AuthError):
        sessions.authenticate(team, session.token)  # another token took its place
    sessions.authenticate(team, done.session.token)
    half = sessions.sign_in(team, ADA, PASSWORD)
    assert half.state == "second_factor"
    with pytest.raises(AuthError):
        sessions.authenticate(team, half.token)
    whole = second_factor.show(team, half.token, code(enrolment.seed))
    assert whole.token != half.token and sessions.authenticate(team, whole.token).name == ADA
    assert refused(team, half.token, code(enrolment.seed, steps=1)) == "no_session"
    first, *_, newest = [line for line in activity.listed(team, severity="LOW").items if line.action == "sign_in"][::-1]
    assert first.message == f"{ADA} signed in with a password"
    assert newest.message == f"{ADA} signed in with a password and with a second factor"
    assert newest.after == {"way": "password", "second_factor": True}


def test_a_code_counts_once(team: Home) -> None:
    seed, _ = enrolled(team)
    now = code(seed)
    second_factor.show(team, sessions.sign_in(team, ADA, PASSWORD).token, now)
    assert refused(team, sessions.sign_in(team, ADA, PASSWORD).token, now) == "code"
    assert refused(team, sessions.sign_in(team, ADA, PASSWORD).token, code(seed, steps=-1)) == "code"


def test_a_recovery_code_takes_the_place_of_a_code_once(team: Home) -> None:
    _, done = enrolled(team)
    first, second, *_ = done.recovery_codes
    assert len(set(done.recovery_codes)) == 10
    second_factor.show(team, sessions.sign_in(team, ADA, PASSWORD).token, first.upper())
    assert refused(team, sessions.sign_in(team, ADA, PASSWORD).token, first) == "code"
    second_factor.show(team, sessions.sign_in(team, ADA, PASSWORD).token, second)
    with team.database.reading() as connection:
        kept = repr(connection.execute(sa.select(recovery_codes)).all())
    assert not any(one.replace("-", "") in kept for one in done.recovery_codes)


def test_other_recovery_codes_make_the_old_ones_worthless(team: Home) -> None:
    seed, done = enrolled(team)
    there = team.acting(sessions.authenticate(team, done.session.token))
    new = second_factor.new_recovery_codes(there, code(seed))
    assert refused(team, sessions.sign_in(team, ADA, PASSWORD).token, done.recovery_codes[0]) == "code"
    second_factor.show(team, sessions.sign_in(team, ADA, PASSWORD).token, new[0])


def test_guessing_codes_locks_the_user_out(team: Home) -> None:
    seed, done = enrolled(team)
    half = sessions.sign_in(team, ADA, PASSWORD)
    for given in ("000000", "", "abc", "\ud800", "1" * 1000):
        assert refused(team, half.token, given) == "code"
    assert refused(team, half.token, code(seed)) == "code"
    assert refused(team, half.token, done.recovery_codes[0]) == "code"
    with pytest.raises(AuthError):
        sessions.sign_in(team, ADA, PASSWORD)


def test_who_has_none_must_set_one_up_where_the_team_requires_it(team: Home) -> None:
    security.change(team, two_factor_required=True)
    session = sessions.sign_in(team, "obs@example.com", PASSWORD)
    assert session.state == "enrol"
    with pytest.raises(AuthError):
        sessions.authenticate(team, session.token)
    seed = second_factor.begin(team, session.token).seed
    with pytest.raises(AuthError):
        second_factor.confirm(team, session.token, "000000")
    done = second_factor.confirm(team, session.token, code(seed))
    there = team.acting(sessions.authenticate(team, done.session.token))
    with pytest.raises(ConfigError) as caught:
        second_factor.turn_off(there, done.recovery_codes[0])
    assert caught.value.code == "two_factor_required"


def test_it_is_turned_off_with_a_code_or_by_an_administrator(team: Home) -> None:
    _, done = enrolled(team)
    there = team.acting(sessions.authenticate(team, done.session.token))
    with pytest.raises(AuthError):
        second_factor.turn_off(there, "000000")
    with pytest.raises(ConfigError):
        second_factor.begin(team, done.session.token)
    second_factor.turn_off(there, done.recovery_codes[0])
    assert sessions.sign_in(team, ADA, PASSWORD).state == "open"
    enrolled(team, "obs@example.com")
    with pytest.raises(Forbidden):
        second_factor.reset(acting(team, "obs@example.com"), ADA)
    second_factor.reset(acting(team, ADA), "obs@example.com")
    assert sessions.sign_in(team, "obs@example.com", PASSWORD).state == "open"
    # Nobody takes away their own without showing a code.
    enrolled(team)
    with pytest.raises(ConfigError, match="one's own"):
        second_factor.reset(acting(team, ADA), ADA)


def test_the_seed_is_kept_sealed(team: Home) -> None:
    seed, _ = enrolled(team)
    with team.database.reading() as connection:
        assert seed not in repr(connection.execute(sa.select(people)).all())


def test_who_tries_codes_in_an_open_session_is_locked_out_too(team: Home) -> None:
    seed, done = enrolled(team)
    there = team.acting(sessions.authenticate(team, done.session.token))
    for _ in range(sessions.FAILURES):
        with pytest.raises(AuthError):
            second_factor.turn_off(there, "000000")
    for right in (code(seed), done.recovery_codes[0]):
        with pytest.raises(AuthError):
            second_factor.turn_off(there, right)
        with pytest.raises(AuthError):
            second_factor.new_recovery_codes(there, right)
