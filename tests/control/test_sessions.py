"""Signing in and out: lockout, sessions, addresses, links, the first administrator."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from unittest.mock import ANY

import pytest
import sqlalchemy as sa
from tests.control.people import PASSWORD, acting, cheap, joined

from millrace.control import activity, settings
from millrace.control.books import retention
from millrace.control.database.people_tables import links
from millrace.control.database.people_tables import sessions as rows
from millrace.control.database.people_tables import users as people
from millrace.control.home import Home
from millrace.control.people import invitations, keys, passwords, security, sessions, users
from millrace.control.people.actors import OPERATOR
from millrace.errors import AuthError, ConfigError, Forbidden

ADA = "ada@example.com"
OTHER = "Other-horse-8"


@pytest.fixture
def team(home: Home) -> Home:
    cheap(home)
    joined(home, ADA, "TEAM_ADMIN")
    joined(home, "obs@example.com")
    return home


def refused(attempt: Any) -> AuthError:
    with pytest.raises(AuthError) as caught:
        attempt()
    return caught.value


def later(home: Home, table: sa.Table, **values: Any) -> None:
    with home.database.transaction() as connection:
        connection.execute(sa.update(table).values(**values))


def test_a_session_stands_for_its_user_until_it_ends(team: Home) -> None:
    session = sessions.sign_in(team, " ADA@example.com", PASSWORD, address="192.0.2.1", agent="a browser")
    assert session.state == "open" and session.expires_at - datetime.now(UTC) > timedelta(hours=11)
    actor = sessions.authenticate(team, session.token, address="192.0.2.1")
    assert (actor.kind, actor.name, actor.address) == ("user", ADA, "192.0.2.1") and actor.may("settings.edit")
    sessions.sign_out(team, session.token)
    sessions.sign_out(team, session.token)
    assert refused(lambda: sessions.authenticate(team, session.token)).code == "no_session"
    assert refused(lambda: sessions.authenticate(team, "")).code == "no_session"


def test_the_log_says_by_which_way_somebody_came_in(team: Home) -> None:
    def said() -> tuple[str, Any]:
        line = activity.listed(team, severity="LOW", author=ADA).items[0]
        assert line.action == "sign_in"
        return line.message, line.after

    sessions.sign_in(team, ADA, PASSWORD)
    assert said() == (f"{ADA} signed in with a password", {"way": "password", "second_factor": False})
    for way, told in (("oidc", "by OIDC"), ("saml", "by SAML")):
        sessions.begin(team, users.find(team, ADA).id, way)
        assert said() == (f"{ADA} signed in {told}", {"way": way, "second_factor": False})
    sessions.opened(team, users.find(team, ADA).id, "open", None)  # an older Millrace did not keep it
    assert said() == (f"{ADA} signed in", {"way": None, "second_factor": False})


def test_a_session_is_over_after_twelve_hours_and_then_forgotten(team: Home) -> None:
    session = sessions.sign_in(team, ADA, PASSWORD)
    later(team, rows, expires_at=datetime.now(UTC) - timedelta(seconds=1))
    assert refused(lambda: sessions.authenticate(team, session.token)).code == "no_session"
    retention.forget_sessions(team, datetime.now(UTC))
    with team.database.reading() as connection:
        assert connection.execute(sa.select(rows)).all() == []


def test_the_token_is_kept_nowhere(team: Home) -> None:
    session = sessions.sign_in(team, ADA, PASSWORD)
    with team.database.reading() as connection:
        for table in (rows, people, links):
            told = repr(connection.execute(sa.select(table)).all())
            assert session.token not in told and session.csrf not in told and PASSWORD not in told


def test_a_change_needs_what_only_a_page_of_ours_knows(team: Home) -> None:
    mine, other = sessions.sign_in(team, ADA, PASSWORD), sessions.sign_in(team, ADA, PASSWORD)
    sessions.check_csrf(mine.token, mine.csrf)
    for given in ("", other.csrf, mine.token, "\ud800"):
        assert refused(lambda given=given: sessions.check_csrf(mine.token, given)).code == "csrf"


def test_unknown_users_wrong_passwords_and_locked_users_are_refused_in_the_same_words(team: Home) -> None:
    users.create(team, "eve@example.com")
    told = {
        str(refused(lambda email=email, password=password: sessions.sign_in(team, email, password)).problem)
        for email, password in (
            (ADA, "wrong"), (ADA, ""), ("nobody@example.com", PASSWORD), ("no address", PASSWORD), ("", ""),
            ("eve@example.com", PASSWORD), ("eve@example.com", ""), (ADA, "x" * 5000),
        )
    }  # fmt: skip
    for _ in range(5):
        refused(lambda: sessions.sign_in(team, "obs@example.com", "wrong"))
    told.add(str(refused(lambda: sessions.sign_in(team, "obs@example.com", PASSWORD)).problem))
    assert len(told) == 1


def test_a_password_is_compared_also_for_who_is_not_there(team: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """Time is not measured; what costs the time is seen to be done as often."""
    hashed: list[str] = []
    real = passwords._hasher(8, 1)

    class Counting:
        def verify(self, hash: str, password: bytes) -> bool:
            hashed.append(hash[:28])
            return real.verify(hash, password)

        hash = staticmethod(real.hash)
        check_needs_rehash = staticmethod(real.check_needs_rehash)

    monkeypatch.setattr(passwords, "_hasher", lambda memory, passes: Counting())
    for email in (ADA, "nobody@example.com", "no address"):
        refused(lambda email=email: sessions.sign_in(team, email, "wrong"))
    assert hashed == ["$argon2id$v=19$m=8192,t=1,p="] * 3


def test_five_failures_lock_for_fifteen_minutes_and_an_administrator_unlocks(team: Home) -> None:
    for _ in range(4):
        refused(lambda: sessions.sign_in(team, "obs@example.com", "wrong"))
    sessions.sign_in(team, "obs@example.com", PASSWORD)  # the count begins anew
    for _ in range(5):
        refused(lambda: sessions.sign_in(team, "obs@example.com", "wrong"))
    until = users.find(team, "obs@example.com").locked_until
    assert until is not None and timedelta(minutes=14) < until - datetime.now(UTC) < timedelta(minutes=16)
    refused(lambda: sessions.sign_in(team, "obs@example.com", PASSWORD))
    assert activity.listed(team, entity="user").items[0].action == "lock"
    users.unlock(acting(team, ADA), "obs@example.com")
    sessions.sign_in(team, "obs@example.com", PASSWORD)
    later(team, people, locked_until=datetime.now(UTC) - timedelta(seconds=1))
    sessions.sign_in(team, "obs@example.com", PASSWORD)


def test_a_hash_of_another_cost_is_made_anew_when_its_user_signs_in(team: Home) -> None:
    settings.change(team, password_passes=2)
    sessions.sign_in(team, ADA, PASSWORD)
    with team.database.reading() as connection:
        hash_ = connection.execute(sa.select(people.c.password).where(people.c.email == ADA)).scalar_one()
    assert "m=8192,t=2" in hash_
    sessions.sign_in(team, ADA, PASSWORD)


def test_another_password_ends_all_sessions(team: Home) -> None:
    first, second = sessions.sign_in(team, ADA, PASSWORD), sessions.sign_in(team, ADA, PASSWORD)
    there = team.acting(sessions.authenticate(team, first.token))
    refused(lambda: sessions.change_password(there, "wrong", OTHER))
    with pytest.raises(ConfigError):
        sessions.change_password(there, PASSWORD, "weak")
    sessions.change_password(there, PASSWORD, OTHER)
    for session in (first, second):
        refused(lambda session=session: sessions.authenticate(team, session.token))
    refused(lambda: sessions.sign_in(team, ADA, PASSWORD))
    sessions.sign_in(team, ADA, OTHER)


def test_roles_count_as_they_are_now_and_a_removed_user_is_out_at_once(team: Home) -> None:
    session = sessions.sign_in(team, "obs@example.com", PASSWORD)
    users.set_roles(team, "obs@example.com", ["PIPELINE_ADMIN"])
    assert sessions.authenticate(team, session.token).may("pipelines.delete")
    users.remove(team, "obs@example.com")
    assert refused(lambda: sessions.authenticate(team, session.token)).code == "no_session"


def test_requests_are_taken_only_from_allowed_addresses(team: Home) -> None:
    pair = keys.create(team, ADA)
    session = sessions.sign_in(team, ADA, PASSWORD, address="10.1.2.3")
    security.change(team, allowed_addresses=["10.1.0.0/16", "2001:db8::/32"])
    for address in ("10.1.2.3", "::ffff:10.1.2.3", "2001:db8::7", None):
        assert sessions.authenticate(team, session.token, address=address).name == ADA
        assert keys.authenticate(team, pair.key, pair.secret, address=address).name == ADA
    for address in ("10.2.0.1", "::1", "not an address", ""):
        for attempt in (
            lambda address=address: sessions.authenticate(team, session.token, address=address),
            lambda address=address: keys.authenticate(team, pair.key, pair.secret, address=address),
        ):
            assert refused(attempt).code == "address"
    # From elsewhere nobody learns who is here or whether a password is right, or locks its user out.
    for _ in range(2 * sessions.FAILURES):
        said = {
            (one.code, one.message, one.hint)
            for email in (ADA, "obs@example.com", "nobody@example.com", "no address")
            for password in (PASSWORD, "wrong")
            if (one := refused(lambda e=email, p=password: sessions.sign_in(team, e, p, address="10.2.0.1")))
        }
        ((code, _, hint),) = said
        assert code == "sign_in" and "take nobody from 10.2.0.1" in (hint or "")
    sessions.sign_in(team, ADA, PASSWORD, address="10.1.2.3")
    with pytest.raises(ConfigError):
        security.change(team, allowed_addresses=["10.1.0.0/99"])


def test_nobody_locks_themselves_out_by_an_allow_list(team: Home) -> None:
    session = sessions.sign_in(team, ADA, PASSWORD, address="192.0.2.1")
    there = team.acting(sessions.authenticate(team, session.token, address="192.0.2.1"))
    with pytest.raises(ConfigError) as caught:
        security.change(there, allowed_addresses=["10.0.0.0/8"])
    assert caught.value.code == "locks_out"
    with pytest.raises(Forbidden):
        security.change(acting(team, "obs@example.com"), two_factor_required=True)


def test_who_is_invited_joins_by_a_link_that_opens_once(team: Home) -> None:
    link = invitations.invite(acting(team, ADA), "eve@example.com", ["PIPELINE_ADMIN"])
    refused(lambda: sessions.sign_in(team, "eve@example.com", OTHER))
    with pytest.raises(ConfigError):
        invitations.accept(team, link.token, "weak")
    user = invitations.accept(team, link.token, OTHER, name="Eve")
    assert (user.status, user.name, user.roles) == ("active", "Eve", ("PIPELINE_ADMIN",))
    assert sessions.sign_in(team, "eve@example.com", OTHER).email == "eve@example.com"
    assert refused(lambda: invitations.accept(team, link.token, PASSWORD)).code == "bad_link"
    with pytest.raises(Forbidden):
        invitations.invite(acting(team, "obs@example.com"), "mal@example.com")


def test_several_are_invited_each_by_themselves(team: Home) -> None:
    emails = ["eve@example.com", "obs@example.com", "no address", "EVE@example.com", "fay@example.com"]
    found = invitations.invite_all(acting(team, ADA), emails, ["PIPELINE_ADMIN"])
    said = [(one.email, one.link is not None, one.problem and one.problem.code) for one in found]
    assert said[0] == ("eve@example.com", True, None)
    assert said[1] == ("obs@example.com", False, "email_taken")
    assert said[2][:2] == ("no address", False)
    assert said[3] == ("EVE@example.com", False, "email_taken")
    assert said[4] == ("fay@example.com", True, None)
    last = found[-1].link
    assert last is not None
    assert invitations.accept(team, last.token, OTHER).roles == ("PIPELINE_ADMIN",)
    joined(team, "col@example.com", "TEAM_COLLABORATOR")
    for role, error in (("KING", ConfigError), ("TEAM_ADMIN", Forbidden)):
        with pytest.raises(error):
            invitations.invite_all(acting(team, "col@example.com"), ["gil@example.com"], [role])
    with pytest.raises(Forbidden):
        invitations.invite_all(acting(team, "obs@example.com"), ["gil@example.com"])
    with pytest.raises(ConfigError):
        users.find(team, "gil@example.com")


def test_a_link_is_good_for_a_day_for_its_purpose_and_until_there_is_a_newer_one(team: Home) -> None:
    old = invitations.invite(team, "eve@example.com")
    new = invitations.renew(team, "eve@example.com")
    assert refused(lambda: invitations.accept(team, old.token, OTHER)).code == "bad_link"
    assert refused(lambda: invitations.reset(team, new.token, OTHER)).code == "bad_link"
    later(team, links, expires_at=datetime.now(UTC) - timedelta(seconds=1))
    assert refused(lambda: invitations.accept(team, new.token, OTHER)).code == "bad_link"


def test_a_forgotten_password_is_reset_by_a_link(team: Home) -> None:
    session = sessions.sign_in(team, ADA, PASSWORD)
    link = invitations.forgotten(team, "ADA@example.com")
    assert link is not None and link.purpose == "reset"
    assert invitations.forgotten(team, "nobody@example.com") is None
    assert invitations.forgotten(team, "no address") is None
    invitations.reset(team, link.token, OTHER)
    refused(lambda: sessions.authenticate(team, session.token))
    assert sessions.sign_in(team, ADA, OTHER).state == "open"


def test_the_first_administrator_comes_in_by_a_link_and_there_is_no_default_password(home: Home) -> None:
    cheap(home)
    assert users.listed(home).items == ()
    earlier = invitations.first_link(home)
    token = invitations.first_link(home)
    assert earlier is not None and token is not None
    assert refused(lambda: invitations.first_administrator(home, earlier, ADA, PASSWORD)).code == "bad_link"
    user = invitations.first_administrator(home, token, ADA, PASSWORD)
    assert (user.roles, user.team_id) == (("TEAM_ADMIN",), OPERATOR.team_id)
    assert invitations.first_link(home) is None
    assert refused(lambda: invitations.first_administrator(home, token, "x@y.example", PASSWORD)).code == "bad_link"
    assert sessions.sign_in(home, ADA, PASSWORD) == sessions.Session(ANY, ANY, ADA, "open", ANY)
