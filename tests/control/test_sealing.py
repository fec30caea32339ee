"""What is sealed opens with the key, in its place, and nowhere else; and another key may take over at any time."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from cryptography.fernet import Fernet
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from tests.control.people import acting, cheap, joined

from millrace.connect.source import Context
from millrace.control import settings as workspace_settings
from millrace.control.connecting import connections
from millrace.control.database import people_tables
from millrace.control.database.column_types import Sealed
from millrace.control.database.db import Database
from millrace.control.database.tables import connections as rows
from millrace.control.database.tables import metadata
from millrace.control.home import Home
from millrace.control.people import second_factor, sessions
from millrace.control.pipeline import drafts
from millrace.control.secrecy import keyring, sealing
from millrace.control.secrecy.keyring import EnvironmentKeys, FileKeys
from millrace.control.transforming import tokens
from millrace.errors import ConfigError, EnvironmentProblem, Forbidden, MillraceError

TEXTS = st.text(st.characters(exclude_categories=["Cs"]))
PASSCODE = "hunter2-not-for-you"


@pytest.fixture
def source(home: Home, clevertap: dict[str, Any]) -> str:
    """The id of a saved source with a secret."""
    return connections.create(home, "source", "project", "clevertap", clevertap | {"passcode": PASSCODE}).id


def opened(home: Home, id_: str) -> str:
    built = connections.build_source(home, id_, Context())
    built.close()
    return built.config.passcode.get_secret_value()


def sealed(home: Home, id_: str) -> bytes:
    with home.database.reading() as connection:
        return bytes(connection.execute(sa.select(rows.c.sealed).where(rows.c.id == id_)).scalar_one())


def store(home: Home, id_: str, value: bytes | None) -> None:
    with home.database.transaction() as connection:
        connection.execute(sa.update(rows).where(rows.c.id == id_).values(sealed=value))


def as_before(home: Home, secrets: Mapping[str, Any]) -> bytes:
    """Sealed by the scheme before, with the home's key."""
    return Fernet(home.keys.read()[0]).encrypt(json.dumps(secrets).encode())


@hypothesis_settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30, deadline=None)
@given(secrets=st.dictionaries(TEXTS, TEXTS, min_size=1), row=TEXTS)
def test_what_was_sealed_opens_in_its_place_alone(home: Home, secrets: dict[str, str], row: str) -> None:
    with home.database.transaction() as connection:
        value = sealing.seal(home, connection, rows.c.sealed, row, secrets)
    assert value is not None
    assert sealing.unseal(home, rows.c.sealed, row, value) == secrets
    elsewhere = [(rows.c.sealed, row + "x"), (people_tables.users.c.totp, row)]
    for column, other in elsewhere:
        with pytest.raises(EnvironmentProblem) as caught:
            sealing.unseal(home, column, other, value)
        assert caught.value.code == "wrong_key"


def test_a_changed_bit_anywhere_is_found_out(home: Home, source: str) -> None:
    good = sealed(home, source)
    for place in range(1, len(good)):
        bad = bytearray(good)
        bad[place] ^= 1
        with pytest.raises(EnvironmentProblem):
            sealing.unseal(home, rows.c.sealed, source, bytes(bad))


def test_the_same_secret_is_never_sealed_the_same_way_twice(home: Home) -> None:
    with home.database.transaction() as connection:
        found = {sealing.seal(home, connection, rows.c.sealed, "x", {"a": "b"}) for _ in range(50)}
    assert len(found) == 50


def test_nothing_is_sealed_where_there_is_nothing_and_no_key_is_asked_for(home: Home) -> None:
    (home.path / "key").unlink()
    with home.database.transaction() as connection:
        assert sealing.seal(home, connection, rows.c.sealed, "x", {}) is None
    assert sealing.unseal(home, rows.c.sealed, "x", None) == {}


def test_every_column_of_secrets_says_so_by_its_type() -> None:
    found = {
        f"{table.name}.{column.name}"
        for table in metadata.tables.values()
        for column in table.columns
        if isinstance(column.type, sa.LargeBinary | Sealed) and not isinstance(column.type, Sealed)
    }
    assert found == {"marks.data"}, "binary columns that hold no secret; those that do are of the type `Sealed`"


def test_values_of_the_scheme_before_open_and_are_sealed_anew_when_the_service_starts(home: Home, source: str) -> None:
    store(home, source, as_before(home, {"passcode": "from-before"}))
    assert opened(home, source) == "from-before"
    assert sealing.renew(home) == 1
    assert sealed(home, source)[0] == sealing.SCHEME
    assert opened(home, source) == "from-before"
    assert sealing.renew(home) == 0


def test_another_key_seals_everything_and_the_old_one_opens_nothing(
    home: Home, source: str, clevertap: dict[str, Any]
) -> None:
    joined(cheap(home), "ada@example.com", "TEAM_ADMIN")
    session = sessions.sign_in(home, "ada@example.com", "Correct-horse-7")
    seed = second_factor.begin(home, session.token).seed
    draft = drafts.save(home, name="d", source_type="clevertap", config={"passcode": "of-a-draft"})
    old_store = connections.create(home, "source", "before", "clevertap", clevertap | {"passcode": "x" * 9}).id
    store(home, old_store, as_before(home, {"passcode": "from-before"}))
    sealing.put(home, "mail", {"password": "of-the-mail"})
    (old,), before = home.keys.read(), sealed(home, source)
    done = sealing.rotate(home)
    (new,) = home.keys.read()
    assert (done.key_id, done.lost, done.old_keys_gone) == (keyring.key(new).id, 0, True)
    assert done.values == 6  # two sources, a draft, a seed, the mail's password, the key of tokens
    assert new != old
    assert sealed(home, source) != before
    assert (opened(home, source), opened(home, old_store)) == (PASSCODE, "from-before")
    assert sealing.held(home, "mail") == {"password": "of-the-mail"}
    person = second_factor._person(home, _user_id(home))
    assert sealing.unseal(home, people_tables.users.c.totp, person.id, person.totp) == {"totp": seed}
    assert drafts.find(home, draft.number).secret_keys == ("passcode",)
    (home.path / "key").write_text(old)
    with pytest.raises(EnvironmentProblem) as caught:
        opened(home, source)
    assert caught.value.code == "wrong_key"


def _user_id(home: Home) -> str:
    with home.database.reading() as connection:
        return connection.execute(sa.select(people_tables.users.c.id)).scalar_one()


def test_tokens_of_today_equal_those_of_yesterday_whichever_key_seals(home: Home) -> None:
    before = tokens.keys(home)
    for _ in range(2):
        sealing.rotate(home)
        assert tokens.keys(home) == before


def test_a_server_that_knows_the_old_key_alone_seals_nothing_with_it(home: Home, source: str) -> None:
    (old,) = home.keys.read()
    sealing.rotate(home)
    env = {"MILLRACE_DATABASE_URL": home.database_url, "MILLRACE_KEY": old}
    with Home.open(home.path, env=env) as behind, pytest.raises(EnvironmentProblem) as caught:
        sealing.put(behind, "mail", {"password": "x"})
    assert caught.value.code == "wrong_key"


def test_the_key_changes_under_servers_that_write(home: Home, source: str, clevertap: dict[str, Any]) -> None:
    over, wrong = threading.Event(), list[BaseException]()
    servers = [Home.open(home.path, env={"MILLRACE_DATABASE_URL": home.database_url}) for _ in range(2)]

    def serve(number: int) -> None:
        count = 0
        try:
            while not over.is_set() or count < 3:
                count += 1
                config = clevertap | {"passcode": f"{number}-{count}-passcode"}
                name = f"s{number}"
                if count == 1:
                    id_ = connections.create(servers[number], "source", name, "clevertap", config).id
                else:
                    connections.change(servers[number], "source", name, config=config)
                assert opened(servers[number], id_) == f"{number}-{count}-passcode"
        except BaseException as error:
            wrong.append(error)

    threads = [threading.Thread(target=serve, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for _ in range(4):
        sealing.rotate(home)
    over.set()
    for thread in threads:
        thread.join()
    for server in servers:
        server.close()
    assert wrong == []
    assert len(home.keys.read()) == 1
    assert opened(home, source) == PASSCODE
    for name in ("s0", "s1"):
        assert opened(home, connections.find(home, "source", name).id).endswith("-passcode")


# Where a rotation is killed: what it was about to do.
_KILLED = """
import os, signal, sys
from pathlib import Path
from millrace.control.secrecy import keyring, sealing
from millrace.control.home import Home

def die(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)

what = sys.argv[2]
if what == "replace":
    Path.replace = die
elif what == "keep":
    keyring.FileKeys.keep = die
elif what == "anew":
    sealing._anew = die
elif what == "half":
    plain, count = sealing._sealed, [0]
    def sealed(*given):
        count[0] += 1
        return plain(*given) if count[0] < 3 else die()
    sealing._sealed = sealed
elif what == "note":
    sealing._note = die
with Home.open(Path(sys.argv[1])) as home:
    sealing.rotate(home)
"""


@pytest.mark.parametrize("when", ["replace", "anew", "half", "note", "keep"])
def test_a_rotation_that_is_killed_harms_nothing_and_the_next_one_ends_it(
    home: Home, source: str, when: str, clevertap: dict[str, Any]
) -> None:
    other = connections.create(home, "source", "other", "clevertap", clevertap | {"passcode": "other-passcode"}).id
    before = tokens.keys(home)
    env = os.environ | {"MILLRACE_DATABASE_URL": home.database_url}
    killed = subprocess.run([sys.executable, "-c", _KILLED, str(home.path), when], env=env, timeout=60)
    assert killed.returncode == -signal.SIGKILL
    assert (opened(home, source), opened(home, other)) == (PASSCODE, "other-passcode")
    connections.change(home, "source", "other", config=clevertap | {"passcode": "changed-passcode"})
    done = sealing.rotate(home)
    assert (done.values, done.lost) == (3, 0)
    assert len(home.keys.read()) == 1
    assert (opened(home, source), opened(home, other)) == (PASSCODE, "changed-passcode")
    assert tokens.keys(home) == before
    assert not list(home.path.glob(".key.*"))


def test_a_lost_key_costs_what_it_sealed_and_nothing_else(home: Home, source: str, clevertap: dict[str, Any]) -> None:
    (home.path / "key").write_text(keyring.new_key())
    with pytest.raises(EnvironmentProblem) as caught:
        sealing.rotate(home)
    assert (caught.value.code, "--lost" in (caught.value.hint or "")) == ("wrong_key", True)
    with pytest.raises(EnvironmentProblem):  # with a key that is not the one that seals
        connections.change(home, "source", "project", config=clevertap | {"passcode": "given-again"})
    done = sealing.rotate(home, lost=True)
    assert done.lost == 1
    connections.change(home, "source", "project", config=clevertap | {"passcode": "given-again"})
    assert opened(home, source) == "given-again"


def test_only_the_operator_changes_the_key(home: Home) -> None:
    joined(cheap(home), "ada@example.com", "TEAM_ADMIN")
    with pytest.raises(Forbidden):
        sealing.rotate(acting(home, "ada@example.com"))


class TestTheEnvironment:
    """Keys that whoever starts the servers gives them."""

    @pytest.fixture
    def env(self, tmp_path: Path) -> dict[str, str]:
        return {"MILLRACE_KEY": keyring.new_key(), "MILLRACE_HOME": str(tmp_path / "of-env")}

    def test_a_new_key_beside_the_old_one_takes_over_and_then_stands_alone(self, env: dict[str, str]) -> None:
        old, new = env["MILLRACE_KEY"], keyring.new_key()
        with Home.open(create=True, env=env) as home:
            assert not (home.path / "key").exists()
            sealing.put(home, "mail", {"password": "secret"})
            with pytest.raises(ConfigError) as caught:
                sealing.rotate(home)
            assert caught.value.code == "no_new_key"
        with Home.open(env=env | {"MILLRACE_KEY": f"{old},{new}"}) as home:
            assert sealing.held(home, "mail") == {"password": "secret"}
            done = sealing.rotate(home)
            assert (done.key_id, done.old_keys_gone) == (keyring.key(new).id, False)
        with Home.open(env=env | {"MILLRACE_KEY": new}) as home:
            assert sealing.held(home, "mail") == {"password": "secret"}

    def test_no_key_at_all_is_told(self) -> None:
        with pytest.raises(EnvironmentProblem) as caught:
            EnvironmentKeys({}).read()
        assert caught.value.code == "no_key"


class Vault:
    """A place for keys as a package might bring it."""

    def __init__(self, folder: Path) -> None:
        self._file = FileKeys(folder / "vault")
        self._known: Sequence[str] | None = None

    def prepare(self) -> None:
        self._file.prepare()

    def read(self, *, fresh: bool = False) -> Sequence[str]:
        if fresh or self._known is None:
            self._known = self._file.read()
        return self._known

    def add(self, key: str) -> None:
        self._file.add(key)

    def keep(self, key: str) -> bool:
        return self._file.keep(key)


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, str]]:
    """A package that brings a place for keys; the environment that asks for it."""
    info = tmp_path / "site/vault-1.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: vault\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[millrace.keys]\nvault = vault_of_tests:opened\n")
    (tmp_path / "site/vault_of_tests.py").write_text(
        "from tests.control.test_sealing import Vault\n\ndef opened(folder, env):\n    return Vault(folder)\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    yield {"MILLRACE_KEYS": "vault", "MILLRACE_HOME": str(tmp_path / "vaulted")}
    sys.modules.pop("vault_of_tests", None)


def test_a_package_may_bring_a_place_for_keys_that_answers_from_memory(installed: dict[str, str]) -> None:
    with Home.open(create=True, env=installed) as home, Home.open(env=installed) as other:
        assert (home.path / "vault").exists()
        sealing.put(home, "mail", {"password": "first"})
        assert sealing.held(other, "mail") == {"password": "first"}
        sealing.rotate(home)
        assert sealing.held(other, "mail") == {"password": "first"}
        sealing.put(other, "mail", {"password": "second"})
        assert sealing.held(home, "mail") == {"password": "second"}


def test_a_place_for_keys_that_no_package_brings_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        keyring.store(tmp_path, {"MILLRACE_KEYS": "nowhere"})
    assert caught.value.code == "unknown_type"
    assert "environment, file" in (caught.value.hint or "")


@pytest.mark.parametrize("text", ["too short", "", "ä" * 44, "A" * 45])
def test_a_key_that_is_none_is_told(text: str) -> None:
    with pytest.raises(MillraceError) as caught:
        keyring.key(text)
    assert caught.value.code == "wrong_key"


def test_the_file_of_keys_is_its_owners_alone(home: Home) -> None:
    sealing.rotate(home)
    assert (home.path / "key").stat().st_mode & 0o777 == 0o600


def test_the_key_that_seals_is_no_setting(control: Database) -> None:
    assert not hasattr(workspace_settings.workspace(control), "sealing_key")
