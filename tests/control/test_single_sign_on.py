"""Single sign-on, against a provider with real signatures: what is believed, and what is not."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
import sqlalchemy as sa
from tests.control.identity import CLIENT_ID, CLIENT_SECRET, OF_SOMEBODY_ELSE, Provider, provider
from tests.control.people import PASSWORD, acting, cheap, joined

from millrace.control import activity
from millrace.control import settings as workspace_settings
from millrace.control.database import people_tables
from millrace.control.home import Home
from millrace.control.people import security, sessions, single_sign_on, teams, users
from millrace.control.people.sessions import Session
from millrace.control.people.single_sign_on import SignOn
from millrace.errors import AuthError, ConfigError, Forbidden

BACK = "http://127.0.0.1:8484/back"


@pytest.fixture(scope="module")
def at() -> Iterator[Provider]:
    with provider() as found:
        yield found


def honest(at: Provider) -> Provider:
    """The provider as it should be."""
    for name, value in vars(Provider(at.issuer)).items():
        setattr(at, name, value)
    return at


@pytest.fixture
def idp(at: Provider) -> Provider:
    """The provider as it should be; a test may change it."""
    return honest(at)


@pytest.fixture
def team(home: Home, idp: Provider) -> Home:
    """The first team, which signs on, asked by its administrator Ada; the provider is on this machine."""
    joined(cheap(home), "ada@example.com", "TEAM_ADMIN")
    workspace_settings.change(home, allow_private_addresses=True)
    ada = acting(home, "ada@example.com")
    _change(ada, idp)
    return ada


def _change(at: Home, idp: Provider, **more: Any) -> SignOn:
    given = {"client_id": CLIENT_ID, "client_secret": CLIENT_SECRET, "issuer": idp.issuer}
    return single_sign_on.change(at, **{**given, **more})


def travel(url: str) -> dict[str, str]:
    """A browser goes there, somebody signs in, and it is sent back: what it brings."""
    sent = httpx.get(url, trust_env=False, verify=False)
    assert sent.status_code == 302
    return {name: values[0] for name, values in parse_qs(urlsplit(sent.headers["location"]).query).items()}


def sign_on(home: Home, email: str = "ada@example.com", *, address: str | None = None) -> Session:
    begun = single_sign_on.begin(home, email, BACK)
    return single_sign_on.end(home, begun.token, travel(begun.url), BACK, address=address)


def refused(home: Home, email: str = "ada@example.com") -> str:
    with pytest.raises(AuthError) as caught:
        sign_on(home, email)
    assert caught.value.code == "sign_on"
    return caught.value.message


def test_who_the_provider_vouches_for_is_signed_in(team: Home, home: Home, idp: Provider) -> None:
    idp.heard.clear()
    session = sign_on(home)
    assert (session.email, session.state) == ("ada@example.com", "open")
    assert sessions.authenticate(home, session.token).name == "ada@example.com"
    assert activity.listed(team, severity="LOW").items[0].message == "ada@example.com signed in by OIDC"
    assert idp.heard == [
        "/.well-known/openid-configuration",
        "/authorize",
        "/.well-known/openid-configuration",
        "/token",
        "/keys",
    ]


def test_a_provider_that_takes_the_secret_in_the_body_gets_it_there(team: Home, home: Home, idp: Provider) -> None:
    idp.metadata = {"token_endpoint_auth_methods_supported": ["client_secret_post"]}
    assert sign_on(home).state == "open"


def test_other_keys_of_the_provider_count_at_once(team: Home, home: Home, idp: Provider) -> None:
    sign_on(home)
    idp.rotate()
    assert sign_on(home).state == "open"


def test_an_address_that_only_userinfo_tells_counts(team: Home, home: Home, idp: Provider) -> None:
    idp.userinfo = dict(idp.person)
    idp.person = {"sub": "s-1"}
    assert sign_on(home).email == "ada@example.com"
    idp.userinfo["sub"] = "s-2"
    assert "two people" in refused(home)


LIES: dict[str, Callable[[Provider], Any]] = {
    "signed by somebody else": lambda at: setattr(at, "signs_with", OF_SOMEBODY_ELSE),
    "not signed": lambda at: setattr(at, "header", {"alg": "none"}),
    "signed with a public key": Provider.signs_with_what_everybody_knows,
    "another issuer": lambda at: at.claims.update(iss="https://evil.example"),
    "for another client": lambda at: at.claims.update(aud="another"),
    "for several, and another asked": lambda at: at.claims.update(aud=[CLIENT_ID, "another"], azp="another"),
    "for several, and nobody asked": lambda at: at.claims.update(aud=[CLIENT_ID, "another"]),
    "of another journey": lambda at: at.claims.update(nonce="another"),
    "of no journey": lambda at: at.claims.update(nonce=None),
    "too old": lambda at: at.claims.update(exp=int(datetime.now(UTC).timestamp()) - 120),
    "without an end": lambda at: at.claims.update(exp=None),
    "from the future": lambda at: at.claims.update(iat=int(datetime.now(UTC).timestamp()) + 600),
    "of nobody": lambda at: at.person.update(sub=None),
    "an address that is not verified": lambda at: at.person.update(email_verified=False),
    "an address of which nothing is said": lambda at: at.person.update(email_verified=None),
    "no address": lambda at: at.person.update(email=None, email_verified=None),
    "an address of a list": lambda at: at.person.update(email=["ada@example.com"]),
}


def test_a_token_that_is_not_right_in_every_point_lets_nobody_in(team: Home, home: Home, idp: Provider) -> None:
    for lie, tell in LIES.items():
        tell(honest(idp))
        assert refused(home), lie
    honest(idp)
    assert sign_on(home).state == "open"


def test_an_answer_that_is_not_ours_lets_nobody_in(team: Home, home: Home) -> None:
    changes: list[dict[str, str | None]] = [
        {"state": "another"},
        {"state": None},
        {"iss": "https://evil.example"},
        {"iss": None},
        {"code": None},
        {"code": "another"},
        {"error": "access_denied"},
    ]
    for change in changes:
        begun = single_sign_on.begin(home, "ada@example.com", BACK)
        merged = {**travel(begun.url), **change}
        answer = {name: value for name, value in merged.items() if value is not None}
        with pytest.raises(AuthError) as caught:
            single_sign_on.end(home, begun.token, answer, BACK)
        assert caught.value.code == "sign_on", change


def test_a_journey_ends_once_and_in_the_browser_in_which_it_began(team: Home, home: Home) -> None:
    mine, other = (single_sign_on.begin(home, "ada@example.com", BACK) for _ in range(2))
    answer = travel(mine.url)
    for token in (other.token, "nothing", mine.token.replace(".", ".x")):
        with pytest.raises(AuthError):
            single_sign_on.end(home, token, answer, BACK)
    assert single_sign_on.end(home, mine.token, answer, BACK).state == "open"
    with pytest.raises(AuthError):
        single_sign_on.end(home, mine.token, answer, BACK)


def test_what_is_kept_of_a_journey_opens_nothing(team: Home, home: Home) -> None:
    begun = single_sign_on.begin(home, "ada@example.com", BACK)
    sent = {name: values[0] for name, values in parse_qs(urlsplit(begun.url).query).items()}
    with home.database.reading() as connection:
        kept = str(connection.execute(sa.select(people_tables.links)).all())
    for secret in (begun.token, sent["state"], sent["nonce"]):
        assert secret not in kept
    assert begun.token.partition(".")[2] not in begun.url


def test_who_is_no_user_becomes_one_only_where_the_team_says_so(team: Home, home: Home, idp: Provider) -> None:
    idp.person |= {"sub": "s-2", "email": "Bob@Example.com", "name": "Bob"}
    assert "not a user" in refused(home)
    _change(team, idp, domains=["@Example.com"], just_in_time=True, role="PIPELINE_COLLABORATOR")
    assert sign_on(home, "bob@example.com").state == "open"
    bob = users.find(team, "bob@example.com")
    assert (bob.roles, bob.status, bob.name, bob.has_password) == (("PIPELINE_COLLABORATOR",), "active", "Bob", False)
    assert any(line.message == "user bob@example.com was added" for line in activity.listed(team).items)
    assert sign_on(home, "bob@example.com").email == "bob@example.com"


def test_an_address_of_another_domain_is_not_taken(team: Home, home: Home, idp: Provider) -> None:
    _change(team, idp, domains=["example.com"], just_in_time=True)
    for email in ("eve@evil.example", "eve@sub.example.com", "eve@example.com.evil.example"):
        idp.person["email"] = email
        assert "domain" in refused(home)


def test_an_invited_user_has_joined(team: Home, home: Home, idp: Provider) -> None:
    users.create(home, "carl@example.com", ["OBSERVER"])
    idp.person |= {"sub": "s-3", "email": "carl@example.com"}
    sign_on(home, "carl@example.com")
    assert users.find(team, "carl@example.com").status == "active"


def test_a_provider_speaks_for_its_own_team_alone(team: Home, home: Home, idp: Provider) -> None:
    other = teams.create(home, "others", "zoe@example.org", PASSWORD)
    zoe = home.acting(users.actor_of(home, _id(home, "zoe@example.org")))
    assert zoe.actor.team_id == other.id
    idp.person["email"] = "zoe@example.org"
    assert "not a user of this team" in refused(home)
    with pytest.raises(AuthError):
        single_sign_on.begin(home, "zoe@example.org", BACK)
    _change(team, idp, domains=["example.com"], just_in_time=True)
    with pytest.raises(ConfigError) as caught:
        _change(zoe, idp, domains=["example.com"])
    assert caught.value.code == "domain_taken"


def _id(home: Home, email: str) -> str:
    with home.database.reading() as connection:
        query = sa.select(people_tables.users.c.id).where(people_tables.users.c.email == email)
        return connection.execute(query).scalar_one()


def test_the_second_factor_and_the_addresses_of_a_team_hold_here_too(team: Home, home: Home) -> None:
    security.change(team, two_factor_required=True, allowed_addresses=["192.0.2.0/24"])
    assert sign_on(home, address="192.0.2.7").state == "enrol"
    with pytest.raises(AuthError) as caught:
        sign_on(home, address="198.51.100.1")
    assert caught.value.code == "address"


def test_an_address_that_nobody_has_is_told_as_one_whose_team_does_not_sign_on(team: Home, home: Home) -> None:
    teams.create(home, "others", "zoe@example.org", PASSWORD)
    said = set[str]()
    for email in ("zoe@example.org", "nobody@nowhere.example"):
        with pytest.raises(AuthError) as caught:
            single_sign_on.begin(home, email, BACK)
        said.add(caught.value.message)
    assert len(said) == 1


def test_the_secret_is_shown_nowhere_and_never_sent_to_another_provider(team: Home, idp: Provider) -> None:
    shown = single_sign_on.settings(team)
    assert shown is not None
    assert CLIENT_SECRET not in repr(shown) + repr(activity.listed(team).items)
    assert single_sign_on.change(team, issuer=idp.issuer, client_id=CLIENT_ID, domains=["example.com"]).domains
    with pytest.raises(ConfigError) as caught:
        single_sign_on.change(team, issuer="https://evil.example", client_id=CLIENT_ID)
    assert caught.value.code == "no_secret"


def test_settings_that_cannot_be_are_told(team: Home, home: Home, idp: Provider) -> None:
    cases: list[tuple[dict[str, Any], str]] = [
        ({"just_in_time": True}, "no_domains"),
        ({"domains": ["not a domain"]}, "bad_domain"),
        ({"issuer": idp.issuer + "/"}, "bad_provider"),
        ({"issuer": idp.issuer + "/nowhere"}, "bad_provider"),
        ({"issuer": "http://example.com"}, "bad_provider"),
        ({"issuer": "ftp://example.com"}, "bad_provider"),
        ({"issuer": "https://example.com:port"}, "bad_provider"),
        ({"issuer": "https://[::1"}, "bad_provider"),
        ({"issuer": "https://user:secret@example.com"}, "bad_provider"),
        ({"issuer": "https://169.254.169.254"}, "private_address"),
        ({"role": "KING"}, "unknown_role"),
    ]
    for change, code in cases:
        with pytest.raises(ConfigError) as caught:
            _change(team, idp, **change)
        assert caught.value.code == code, change
    joined(home, "olga@example.com", "TEAM_COLLABORATOR")
    with pytest.raises(Forbidden):
        _change(acting(home, "olga@example.com"), idp)


def test_a_provider_whose_addresses_are_not_encrypted_or_inside_is_not_believed(
    team: Home, home: Home, idp: Provider
) -> None:
    idp.metadata = {"token_endpoint": "http://example.com/token"}
    with pytest.raises(ConfigError) as caught:
        _change(team, idp)
    assert caught.value.code == "bad_provider"
    idp.metadata = {"jwks_uri": "http://127.0.0.1.evil.example/keys"}
    with pytest.raises(ConfigError):
        _change(team, idp)
    idp.metadata = {}
    workspace_settings.change(home, allow_private_addresses=False)
    with pytest.raises(ConfigError) as caught:
        single_sign_on.begin(home, "ada@example.com", BACK)
    assert caught.value.code == "private_address"


def test_a_team_may_stop_signing_on(team: Home, home: Home) -> None:
    begun = single_sign_on.begin(home, "ada@example.com", BACK)
    answer = travel(begun.url)
    single_sign_on.remove(team)
    assert single_sign_on.settings(team) is None
    with pytest.raises(AuthError):
        single_sign_on.end(home, begun.token, answer, BACK)
    with pytest.raises(AuthError):
        single_sign_on.begin(home, "ada@example.com", BACK)


def test_letters_that_look_like_others_let_nobody_in(team: Home, home: Home, idp: Provider) -> None:
    """The sign of Kelvin is a small k in lower case, and who has such an address is somebody else."""
    joined(home, "kim@example.com", "TEAM_ADMIN")
    for email in ("\u212aim@example.com", "eve@\xe9xample.com"):
        idp.person["email"] = email
        assert "look like others" in refused(home), email
    idp.person["email"] = "KIM@example.com"
    assert sign_on(home).email == "kim@example.com"
