"""API keys: shown once, kept as hashes, held to a scope, and gone with their user."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa
from tests.control.people import PASSWORD, acting, cheap, joined

from millrace.control.database.people_tables import api_keys
from millrace.control.home import Home
from millrace.control.people import keys, teams, users
from millrace.errors import AuthError, ConfigError, Forbidden


@pytest.fixture
def team(home: Home) -> Home:
    cheap(home)
    joined(home, "ada@example.com", "TEAM_ADMIN")
    joined(home, "obs@example.com")
    return home


def test_a_pair_acts_for_its_user_with_what_their_roles_allow_now(team: Home) -> None:
    pair = keys.create(team, "obs@example.com", name="airflow")
    actor = keys.authenticate(team, pair.key, pair.secret, address="192.0.2.7")
    assert (actor.kind, actor.name, actor.address) == ("key", "obs@example.com", "192.0.2.7")
    assert actor.permissions == {"view", "usage.view"}
    users.set_roles(team, "obs@example.com", ["PIPELINE_ADMIN"])
    assert keys.authenticate(team, pair.key, pair.secret).may("pipelines.create")


def test_the_secret_is_kept_nowhere(team: Home) -> None:
    pair = keys.create(team, "ada@example.com")
    assert not hasattr(keys.listed(team).items[0], "secret")
    with team.database.reading() as connection:
        for table in ("api_keys", "activity", "users"):
            rows = connection.execute(sa.text(f"SELECT * FROM {table}")).all()
            assert pair.secret not in repr(rows)


def test_whatever_is_wrong_is_told_in_the_same_words(team: Home) -> None:
    pair = keys.create(team, "ada@example.com")
    old = keys.create(team, "ada@example.com", expires_at=datetime.now(UTC) + timedelta(days=1))
    with team.database.transaction() as connection:
        past = datetime.now(UTC) - timedelta(seconds=1)
        connection.execute(sa.update(api_keys).where(api_keys.c.id == old.id).values(expires_at=past))
    told: set[str] = set()
    for key, secret in (
        (pair.key, "wrong"),
        (pair.key, ""),
        ("mk_unknown", pair.secret),
        ("", ""),
        ("\x00", "\ud800"),
        (pair.key.upper(), pair.secret),
        (old.key, old.secret),
        (pair.key, old.secret),
    ):
        with pytest.raises(AuthError) as caught:
            keys.authenticate(team, key, secret)
        told.add(str(caught.value.problem))
    assert len(told) == 1


def test_a_scope_holds_a_key_to_less_than_its_user_may_and_never_gives_more(team: Home) -> None:
    narrow = keys.create(team, "ada@example.com", scope=["view", "pipelines.edit"])
    assert keys.authenticate(team, narrow.key, narrow.secret).permissions == {"view", "pipelines.edit"}
    wide = keys.create(team, "obs@example.com", scope=["view", "pipelines.delete"])
    assert keys.authenticate(team, wide.key, wide.secret).permissions == {"view"}
    with pytest.raises(ConfigError) as caught:
        keys.create(team, "ada@example.com", scope=["pipelines"])
    assert caught.value.code == "unknown_permission"


def test_a_key_makes_no_key_that_may_more(team: Home) -> None:
    narrow = keys.create(team, "ada@example.com", scope=["view"])
    there = team.acting(keys.authenticate(team, narrow.key, narrow.secret))
    with pytest.raises(Forbidden):
        keys.create(there, "ada@example.com", scope=["settings.edit"])
    child = keys.create(there, "ada@example.com")
    assert keys.authenticate(team, child.key, child.secret).permissions == {"view"}


def test_a_key_makes_no_key_that_lasts_longer(team: Home) -> None:
    end = datetime.now(UTC) + timedelta(days=1)
    short = keys.create(team, "ada@example.com", expires_at=end)
    there = team.acting(keys.authenticate(team, short.key, short.secret))
    with pytest.raises(Forbidden):
        keys.create(there, "ada@example.com", expires_at=end + timedelta(seconds=1))
    assert keys.create(there, "ada@example.com").expires_at == end
    sooner = end - timedelta(hours=1)
    assert keys.create(there, "ada@example.com", expires_at=sooner).expires_at == sooner


def test_a_key_goes_with_its_user_and_when_it_is_deleted(team: Home) -> None:
    pair, other = keys.create(team, "obs@example.com"), keys.create(team, "obs@example.com")
    keys.remove(acting(team, "obs@example.com"), other.key)
    users.remove(team, "obs@example.com")
    for one in (pair, other):
        with pytest.raises(AuthError):
            keys.authenticate(team, one.key, one.secret)
    with pytest.raises(ConfigError) as caught:
        keys.remove(team, pair.key)
    assert caught.value.code == "unknown_key_pair"


def test_people_make_and_see_their_own_keys_and_administrators_see_and_delete_all(team: Home) -> None:
    observer, ada = acting(team, "obs@example.com"), acting(team, "ada@example.com")
    own = keys.create(observer, "obs@example.com")
    admins = keys.create(ada, "ada@example.com")
    assert [one.key for one in keys.listed(observer, "obs@example.com").items] == [own.key]
    for attempt in (
        lambda: keys.listed(observer),
        lambda: keys.listed(observer, "ada@example.com"),
        lambda: keys.remove(observer, admins.key),
        lambda: keys.remove(observer, "mk_unknown"),
        lambda: keys.create(ada, "obs@example.com"),
    ):
        with pytest.raises(Forbidden):
            attempt()
    assert {one.key for one in keys.listed(ada).items} == {own.key, admins.key}
    keys.remove(ada, own.key)


def test_keys_of_another_team_are_not_there(team: Home) -> None:
    pair = keys.create(team, "ada@example.com")
    other = teams.create(team, "Others", "zoe@elsewhere.example", PASSWORD)
    there = team.acting(team.actor.of(other.id))
    assert keys.listed(there).items == ()
    with pytest.raises(ConfigError) as caught:
        keys.remove(there, pair.key)
    assert caught.value.code == "unknown_key_pair"
    with pytest.raises(ConfigError) as caught:
        keys.create(there, "ada@example.com")
    assert caught.value.code == "unknown_user"


def test_when_a_key_was_used_is_known_to_the_minute(team: Home) -> None:
    pair = keys.create(team, "ada@example.com")
    assert keys.listed(team).items[0].used_at is None
    keys.authenticate(team, pair.key, pair.secret)
    first = keys.listed(team).items[0].used_at
    keys.authenticate(team, pair.key, pair.secret)
    assert first is not None and keys.listed(team).items[0].used_at == first


def test_keys_come_by_pages(team: Home) -> None:
    made = [keys.create(team, "ada@example.com", name=str(number)).key for number in range(5)]
    page = keys.listed(team, limit=2)
    seen = [one.key for one in page.items]
    while page.next:
        page = keys.listed(team, limit=2, after=page.next)
        seen += [one.key for one in page.items]
    assert seen == made
    with pytest.raises(ConfigError):
        keys.listed(team, after="mk_never")


def test_who_was_only_invited_has_no_keys(team: Home) -> None:
    users.create(team, "eve@example.com")
    with pytest.raises(ConfigError) as caught:
        keys.create(team, "eve@example.com")
    assert caught.value.code == "not_active"
