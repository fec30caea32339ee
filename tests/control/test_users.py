"""Users and their roles: who may add, change and remove whom, and that a team is never without administrator."""

from __future__ import annotations

import threading

import pytest
from tests.control.people import PASSWORD, acting, cheap, joined

from millrace.control import activity, settings
from millrace.control.home import Home
from millrace.control.people import passwords, roles, teams, users
from millrace.control.settings import workspace
from millrace.errors import ConfigError, Forbidden


@pytest.fixture
def team(home: Home) -> Home:
    """A team with an administrator, a collaborator and an observer."""
    cheap(home)
    joined(home, "ada@example.com", "TEAM_ADMIN")
    joined(home, "cob@example.com", "TEAM_COLLABORATOR")
    joined(home, "obs@example.com")
    return home


def test_the_first_team_alone_changes_what_holds_for_all(team: Home) -> None:
    other = teams.create(team, "Others", "zoe@elsewhere.example", PASSWORD)
    theirs = acting(team.acting(team.actor.of(other.id)), "zoe@elsewhere.example")
    with pytest.raises(Forbidden, match="hold for all of its teams"):
        settings.change(theirs, retention_days=2)
    assert settings.change(acting(team, "ada@example.com"), retention_days=2).retention_days == 2


def test_a_user_is_found_under_any_case_of_the_address_and_no_password_is_kept_in_the_clear(home: Home) -> None:
    cheap(home)
    joined(home, " Ada@Example.COM ", "TEAM_ADMIN", "BILLING_ADMIN")
    found = users.find(home, "ADA@example.com")
    assert (found.email, found.status, found.roles) == ("ada@example.com", "active", ("TEAM_ADMIN", "BILLING_ADMIN"))
    with home.database.reading() as connection:
        row = connection.exec_driver_sql("SELECT password FROM users").scalar_one()
    assert row.startswith("$argon2id$v=19$m=8192,t=1") and PASSWORD not in row


def test_who_is_added_without_a_password_is_invited(home: Home) -> None:
    found = users.create(home, "eve@example.com")
    assert (found.status, found.has_password, found.roles) == ("invited", False, ("OBSERVER",))


def test_an_address_is_in_one_team_only(team: Home) -> None:
    teams.create(team, "Others", "zoe@elsewhere.example", PASSWORD)
    for email in ("ada@example.com", "zoe@elsewhere.example"):
        with pytest.raises(ConfigError) as caught:
            users.create(team, email)
        assert caught.value.code == "email_taken"


@pytest.mark.parametrize(
    "email", ["", "ada", "@example.com", "ada@", "a b@c.d", "a@b@c", "a\n@b.c", "a\x00@b.c", "x" * 250 + "@b.cd"]
)
def test_what_is_no_address_is_refused(home: Home, email: str) -> None:
    with pytest.raises(ConfigError) as caught:
        users.create(home, email)
    assert caught.value.code == "bad_email"


@pytest.mark.parametrize(
    "password", ["", "Aa1!", "alllower1!", "ALLUPPER1!", "NoDigits!!", "NoSigns111", "Aa1!" + "x" * 1030]
)
def test_a_weak_password_is_refused_and_not_repeated(home: Home, password: str) -> None:
    with pytest.raises(ConfigError) as caught:
        users.create(home, "ada@example.com", password=password)
    assert caught.value.code == "weak_password"
    assert not password or password not in str(caught.value.problem)


def test_a_hash_fits_its_password_alone(home: Home) -> None:
    settings = workspace(cheap(home).database)
    hash_ = passwords.hashed(PASSWORD, settings)
    assert passwords.fits(hash_, PASSWORD, settings)
    assert not passwords.fits(hash_, PASSWORD + " ", settings)
    assert not passwords.fits(None, "", settings)
    assert not passwords.fits(hash_, PASSWORD * 100, settings)
    assert not passwords.fits("no hash", PASSWORD, settings)
    assert not passwords.is_dated(hash_, settings)


def test_roles_are_named_and_roles_of_old_are_understood() -> None:
    assert roles.checked(["MEMBER", "OBSERVER", "OBSERVER"]) == ("TEAM_COLLABORATOR", "OBSERVER")
    assert roles.checked(["OWNER"]) == ("TEAM_ADMIN",)
    for names, code in ((["TEAM_ADMN"], "unknown_role"), ([], "no_role")):
        with pytest.raises(ConfigError) as caught:
            roles.checked(names)
        assert caught.value.code == code


def test_rights_are_the_union_of_the_roles() -> None:
    both = roles.permissions(["BILLING_ADMIN", "MODEL_WORKFLOW_COLLABORATOR"])
    assert both == {"usage.view", "view", "models.edit"}
    assert roles.permissions(["TEAM_ADMIN"]) > roles.permissions(["TEAM_COLLABORATOR"])
    assert not any(one.endswith(".delete") for one in roles.PERMISSIONS["TEAM_COLLABORATOR"])


def test_the_last_administrator_stays(team: Home) -> None:
    for change in (lambda: users.remove(team, "ada@example.com"),
                   lambda: users.set_roles(team, "ada@example.com", ["OBSERVER"])):  # fmt: skip
        with pytest.raises(ConfigError) as caught:
            change()
        assert caught.value.code == "last_administrator"
    users.create(team, "eve@example.com", ["TEAM_ADMIN"])
    with pytest.raises(ConfigError):  # who was only invited administers nothing yet
        users.remove(team, "ada@example.com")
    users.set_roles(team, "obs@example.com", ["TEAM_ADMIN"])
    users.remove(team, "ada@example.com")


def test_two_administrators_who_go_at_once_do_not_both_go(team: Home) -> None:
    joined(team, "ann@example.com", "TEAM_ADMIN")
    failed: list[str] = []
    together = threading.Barrier(2)

    def leave(email: str) -> None:
        together.wait()
        try:
            users.remove(team, email)
        except ConfigError as error:
            failed.append(error.code)

    threads = [threading.Thread(target=leave, args=(email,)) for email in ("ada@example.com", "ann@example.com")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == ["last_administrator"]


def test_nobody_gives_or_takes_a_role_above_their_own(team: Home) -> None:
    collaborator = acting(team, "cob@example.com")
    users.create(collaborator, "eve@example.com", ["PIPELINE_COLLABORATOR"])
    for attempt in (
        lambda: users.create(collaborator, "mal@example.com", ["TEAM_ADMIN"]),
        lambda: users.set_roles(collaborator, "cob@example.com", ["TEAM_ADMIN"]),
        lambda: users.set_roles(collaborator, "ada@example.com", ["OBSERVER"]),
        lambda: users.remove(collaborator, "ada@example.com"),
        lambda: users.create(collaborator, "mal@example.com", ["PIPELINE_ADMIN"]),
    ):
        with pytest.raises(Forbidden):
            attempt()


def test_who_may_only_look_changes_nobody_but_may_call_themselves_something_else(team: Home) -> None:
    observer = acting(team, "obs@example.com")
    for attempt in (
        lambda: users.create(observer, "mal@example.com"),
        lambda: users.remove(observer, "cob@example.com"),
        lambda: users.set_roles(observer, "obs@example.com", ["TEAM_ADMIN"]),
        lambda: users.rename(observer, "ada@example.com", name="Eve"),
        lambda: users.set_password(observer, "obs@example.com", "Other-horse-8"),
        lambda: users.unlock(observer, "obs@example.com"),
    ):
        with pytest.raises(Forbidden):
            attempt()
    changed = users.rename(observer, "obs@example.com", name="Ob Server", time_zone="Europe/Vienna")
    assert (changed.name, changed.time_zone) == ("Ob Server", "Europe/Vienna")


def test_users_of_another_team_are_not_there(team: Home) -> None:
    other = teams.create(team, "Others", "zoe@elsewhere.example", PASSWORD)
    there = team.acting(team.actor.of(other.id))
    for attempt in (
        lambda: users.find(there, "ada@example.com"),
        lambda: users.remove(there, "ada@example.com"),
        lambda: users.set_roles(there, "ada@example.com", ["OBSERVER"]),
        lambda: users.find(there, "nobody@example.com"),
    ):
        with pytest.raises(ConfigError) as caught:
            attempt()
        assert caught.value.code == "unknown_user"
    assert [user.email for user in users.listed(there).items] == ["zoe@elsewhere.example"]
    assert teams.own(there).members == 1


def test_a_list_is_cut_into_pages_that_hold_everybody_once(team: Home) -> None:
    for number in range(5):
        users.create(team, f"u{number}@example.com")
    seen: list[str] = []
    page = users.listed(team, limit=3)
    seen += [user.email for user in page.items]
    while page.next:
        page = users.listed(team, limit=3, after=page.next)
        seen += [user.email for user in page.items]
    assert seen == sorted(seen) and len(seen) == len(set(seen)) == 8
    assert [user.email for user in users.listed(team, search="OBS").items] == ["obs@example.com"]
    assert users.listed(team, search="%").items == ()
    for limit in (0, 1001):
        with pytest.raises(ConfigError):
            users.listed(team, limit=limit)


def test_a_domain_has_five_teams_at_most_and_who_left_one_founds_no_other_at_once(team: Home) -> None:
    users.remove(team, "obs@example.com")
    with pytest.raises(ConfigError) as caught:
        teams.create(team, "Mine", "obs@example.com", PASSWORD)
    assert caught.value.code == "cool_off"
    for number in range(4):
        teams.create(team, f"Team {number}", f"founder{number}@example.com", PASSWORD)
    with pytest.raises(ConfigError) as caught:
        teams.create(team, "One more", "founder9@example.com", PASSWORD)
    assert caught.value.code == "too_many_teams"
    with pytest.raises(Forbidden):
        teams.create(acting(team, "ada@example.com"), "Mine", "x@new.example", PASSWORD)


def test_what_is_done_to_users_is_in_the_activity_log_with_what_was_before(team: Home) -> None:
    ada = acting(team, "ada@example.com")
    users.set_roles(ada, "obs@example.com", ["PIPELINE_ADMIN"])
    entry = activity.listed(ada, entity="user").items[0]
    assert (entry.author, entry.action, entry.entity.name) == ("ada@example.com", "change_roles", "obs@example.com")
    assert (entry.before, entry.after) == ({"roles": ["OBSERVER"]}, {"roles": ["PIPELINE_ADMIN"]})
    assert entry.severity == "HIGH"
