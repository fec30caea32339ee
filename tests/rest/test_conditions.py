"""Requests that count only under a condition: repeated ones once, and changes of what their sender has seen."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import httpx
import pytest
import sqlalchemy as sa
from tests.control.people import cheap
from tests.control.sources import Script
from tests.postgres import Database
from tests.rest.conftest import Keys

from millrace.control import kept_answers
from millrace.control.connecting import connections
from millrace.control.database.people_tables import kept_answers as table
from millrace.control.home import Home
from millrace.control.kept_answers import Kept, Once
from millrace.control.pipeline import lifecycle, pipelines
from millrace.control.pipeline.pipelines import Wish
from millrace.control.transforming import transformations
from millrace.rest import conditions

OURS = "/api/millrace/v1"
PUBLIC = "/api/public/v2.0"
DUCK = {"name": "w", "type": "duckdb", "config": {"path": "/tmp/never-opened.duckdb"}}


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def home(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    """A home with each kind of control database: what is decided here is decided by its transactions."""
    env: dict[str, str] = {}
    folder = tmp_path_factory.mktemp("conditions")
    server: Database | None = None
    name = f"conditions_{secrets.token_hex(6)}"
    if request.param == "postgresql":
        server = request.getfixturevalue("postgres")
        assert server is not None
        server.run(f"CREATE DATABASE {name}")
        env["MILLRACE_DATABASE_URL"] = replace(server, name=name).url
    with Home.open(folder / "home", create=True, env=env) as home:
        assert home.database.engine.dialect.name == request.param
        yield cheap(home)
    if server is not None:
        server.run(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(scope="module", autouse=True)
def number(home: Home, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """A pipeline, by its number in the public API."""
    folder = tmp_path_factory.mktemp("there")
    (folder / "events.csv").write_text("name\nCharged\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(connections, "build_source", Script({}).build)
        config = {"project_id": "AAA-BBB-CCCC", "passcode": "hunter2", "events_file": str(folder / "events.csv")}
        connections.create(home, "source", "app", "clevertap", config)
        connections.create(home, "destination", "warehouse", "duckdb", {"path": str(folder / "w.duckdb")})
        yield pipelines.create(home, Wish("events", "app", "warehouse")).number


def names(client: httpx.Client) -> list[str]:
    return [one["name"] for one in client.get(f"{OURS}/destinations").json()]


def row(home: Home, key: str) -> Any:
    with home.database.reading() as connection:
        return connection.execute(sa.select(table).where(table.c.key == key)).one_or_none()


def once(client: httpx.Client, key: str, body: Any, path: str = f"{OURS}/destinations") -> httpx.Response:
    return client.post(path, json=body, headers={"Idempotency-Key": key})


def test_a_repeated_request_is_carried_out_once_and_answered_again(client: httpx.Client) -> None:
    first, again = (once(client, "once-1", DUCK | {"name": "once"}) for _ in range(2))
    assert (first.status_code, again.status_code) == (201, 201)
    assert first.json() == again.json()
    assert "Idempotency-Replayed" not in first.headers
    assert again.headers["Idempotency-Replayed"] == "true"
    assert names(client).count("once") == 1


def test_a_key_is_good_for_one_request_alone(client: httpx.Client, url: str, keys: Keys) -> None:
    assert once(client, "two-1", DUCK | {"name": "two"}).status_code == 201
    for answer in (
        once(client, "two-1", DUCK | {"name": "three"}),
        once(client, "two-1", DUCK | {"name": "two"}, f"{OURS}/sources"),
        httpx.post(f"{url}{OURS}/destinations", json=DUCK | {"name": "two"}, auth=keys.observer,
                   headers={"Idempotency-Key": "two-1"}),
    ):  # fmt: skip
        assert (answer.status_code, answer.json()["error"]["code"]) == (422, "IDEMPOTENCY_KEY_REUSED")
    # Another team knows nothing of it.
    with httpx.Client(base_url=url, auth=keys.stranger) as stranger:
        assert once(stranger, "two-1", DUCK | {"name": "theirs"}).status_code == 201


def test_what_was_refused_may_be_sent_again_with_the_same_key(client: httpx.Client, home: Home) -> None:
    assert once(client, "taken-1", DUCK | {"name": "warehouse"}).status_code == 409
    assert once(client, "taken-1", {"nonsense": 1}).status_code == 400
    assert row(home, "taken-1") is None
    assert once(client, "taken-1", DUCK | {"name": "free"}).status_code == 201


@pytest.mark.parametrize("key", ["", "a b", "x" * 256])
def test_a_key_is_short_and_plain(client: httpx.Client, key: str) -> None:
    assert once(client, key, DUCK).json()["error"]["field"] == "Idempotency-Key"


def test_what_is_too_large_to_compare_is_refused(client: httpx.Client) -> None:
    answer = once(client, "large", DUCK | {"name": "x" * conditions.MOST_BYTES})
    assert answer.status_code in (400, 413)
    parts = client.post(f"{OURS}/destinations", content=iter([b"{}"]), headers={"Idempotency-Key": "parts"})
    assert parts.status_code == 400


def test_secrets_of_an_answer_are_kept_sealed_and_shown_to_its_sender_alone(client: httpx.Client, home: Home) -> None:
    body = {"email": "admin@example.com", "name": "robot"}
    first, again = (once(client, "secret-1", body, f"{OURS}/keys") for _ in range(2))
    assert again.json() == first.json()
    secret = first.json()["secret"]
    assert secret.encode() not in bytes(row(home, "secret-1").sealed)


def begun(home: Home, keys: Keys, key: str, body: bytes) -> Once:
    """What a server notes before it carries out that request to make a destination."""
    from millrace.control.people import keys as pairs

    asked = home.acting(pairs.authenticate(home, *keys.admin))
    said = (asked.actor.name, "POST", f"{OURS}/destinations", "")
    found = kept_answers.begin(asked, key, conditions.sha256(repr(said).encode() + b"\0" + body).hexdigest())
    assert isinstance(found, Once)
    return found


def die(home: Home, found: Once) -> None:
    """Whoever began is no longer there."""
    with home.database.transaction() as connection:
        holder = row(home, found.key).holder | {"pid": 4_194_000, "started": "1"}
        connection.execute(sa.update(table).where(table.c.key == found.key).values(holder=holder))


def test_a_request_whose_server_died_is_carried_out_anew_only_where_it_changed_nothing(
    client: httpx.Client, home: Home, keys: Keys
) -> None:
    def ask(key: str) -> httpx.Response:
        headers = {"Idempotency-Key": key, "Content-Type": "application/json"}
        return client.post(f"{OURS}/destinations", content=body, headers=headers)

    body = b'{"name":"died","type":"duckdb","config":{"path":"/tmp/never-opened.duckdb"}}'
    early = begun(home, keys, "died-early", body)
    assert ask("died-early").json()["error"]["code"] == "REQUEST_IN_PROGRESS"
    die(home, early)
    late = begun(home, keys, "died-late", body)
    with home.database.transaction() as connection:
        late.acting(connection)
    die(home, late)
    unknown = ask("died-late")
    assert (unknown.status_code, unknown.json()["error"]["code"]) == (409, "OUTCOME_UNKNOWN")
    assert "died" not in names(client)
    assert ask("died-early").status_code == 201
    # The first server, were it alive after all, could not act any more.
    with pytest.raises(Exception, match="taken this request over"), home.database.transaction() as connection:
        early.acting(connection)


def test_a_change_and_the_note_that_it_was_made_stand_or_fall_together(home: Home) -> None:
    found = kept_answers.begin(home, "together", "f")
    assert isinstance(found, Once)

    def fails(connection: sa.Connection) -> None:
        raise RuntimeError

    with pytest.raises(RuntimeError), conditions.conditions([found.acting, fails]):
        connections.create(home, "destination", "never", "duckdb", {"path": "/tmp/n.duckdb"})
    assert row(home, "together").state == "begun"
    with conditions.conditions([found.acting]):
        connections.create(home, "destination", "made", "duckdb", {"path": "/tmp/n.duckdb"})
        connections.remove(home, "destination", "made")
    assert row(home, "together").state == "acted"
    kept_answers.keep(home, found, Kept(201, None, ""))
    assert kept_answers.begin(home, "together", "f") == Kept(201, None, "")
    assert kept_answers.expire(home, home.database.now() + 2 * kept_answers.KEPT_FOR) > 0
    assert row(home, "together") is None


def test_of_many_equal_requests_at_once_one_is_carried_out(url: str, keys: Keys, client: httpx.Client) -> None:
    answers: list[httpx.Response] = []

    def ask() -> None:
        with httpx.Client(base_url=url, auth=keys.admin) as own:
            answers.append(once(own, "many", DUCK | {"name": "many"}))

    threads = [threading.Thread(target=ask) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {answer.status_code for answer in answers} <= {201, 409}
    assert names(client).count("many") == 1


# Where a thing is read, and a change of it, in each API.
def changes(number: int) -> list[tuple[str, str, str, dict[str, Any], dict[str, Any]]]:
    here, there = f"{OURS}/pipelines/events", f"{PUBLIC}/pipelines/{number}"
    script = "def transform(event):\n    return event\n"
    return [
        (f"{here}/status", "PUT", f"{here}/schedule", {"every": "1h"}, {"every": "2h"}),
        (there, "PUT", f"{there}/schedule", {"frequency": 60}, {"frequency": 120}),
        (f"/api/v1/pipelines/{number}", "PATCH", f"/api/v1/pipelines/{number}", {"name": "events"}, {"name": "events"}),
        (f"{OURS}/destinations/tagged", "PUT", f"{OURS}/destinations/tagged", {"config": {"path": "/tmp/b.duckdb"}},
         {"config": {"path": "/tmp/c.duckdb"}}),
        (f"{here}/transformation", "PUT", f"{here}/transformation/draft", {"kind": "python", "text": script},
         {"kind": "python", "text": script + "# more\n"}),
        (f"{OURS}/settings", "PUT", f"{OURS}/settings", {"settings": {"retention_days": 3}},
         {"settings": {"retention_days": 4}}),
    ]  # fmt: skip


def test_a_change_of_what_was_changed_meanwhile_is_refused(client: httpx.Client, number: int) -> None:
    client.post(f"{OURS}/destinations", json=DUCK | {"name": "tagged"})
    for read, method, change, first, second in changes(number):
        seen = client.get(read)
        tag = seen.headers["ETag"]
        assert seen.headers["ETag"] == client.get(read).headers["ETag"]
        done = client.request(method, change, json=first, headers={"If-Match": f'"other", {tag}'})
        assert done.status_code == 200, (change, done.text)
        if method == "PATCH":
            continue  # nothing was changed
        late = client.request(method, change, json=second, headers={"If-Match": tag})
        assert (late.status_code, late.json()["error"]["code"]) == (412, "CHANGED_MEANWHILE"), change
        assert client.request(method, change, json=second, headers={"If-Match": "*"}).status_code == 200
        assert client.get(read).headers["ETag"] != tag


def test_the_tag_is_compared_in_the_transaction_that_makes_the_change(
    client: httpx.Client, home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    tag = client.get(f"{OURS}/pipelines/events/status").headers["ETag"]
    real = lifecycle.reschedule

    def overtaken(at: Home, name: str, wanted: Any) -> Any:
        monkeypatch.setattr(lifecycle, "reschedule", real)
        other = threading.Thread(target=lifecycle.pause, args=(home, "events"))
        other.start()
        other.join()
        return real(at, name, wanted)

    monkeypatch.setattr(lifecycle, "reschedule", overtaken)
    before = pipelines.find(home, "events").schedule
    late = client.put(f"{OURS}/pipelines/events/schedule", json={"every": "5h"}, headers={"If-Match": tag})
    assert late.status_code == 412
    assert pipelines.find(home, "events").schedule == before


def test_weak_tags_match_nothing_and_what_has_no_tag_says_so(client: httpx.Client) -> None:
    tag = client.get(f"{OURS}/settings").headers["ETag"]
    body = {"settings": {"retention_days": 6}}
    assert client.put(f"{OURS}/settings", json=body, headers={"If-Match": f"W/{tag}"}).status_code == 412
    answer = client.post(f"{OURS}/check", json={}, headers={"If-Match": tag})
    assert (answer.status_code, answer.json()["error"]["field"]) == (400, "If-Match")
    gone = client.put(f"{OURS}/sources/nothing", json={"config": {}}, headers={"If-Match": tag})
    assert gone.status_code == 404


@pytest.mark.parametrize("number", ["9" * 30, "-1", "x", "%00", "²"])
def test_what_cannot_be_there_has_no_tag_and_is_no_fault(client: httpx.Client, number: str) -> None:
    for path in (f"{PUBLIC}/pipelines/{number}", f"{OURS}/sources/{number}", f"{OURS}/sources/%25{number}"):
        answer = client.get(path, headers={"If-Match": '"x"'})
        assert answer.status_code in (400, 404) and "ETag" not in answer.headers, path


def test_a_deployed_transformation_has_another_tag(client: httpx.Client, home: Home) -> None:
    read = f"{OURS}/pipelines/events/transformation"
    before = client.get(read).headers["ETag"]
    transformations.deploy(home, "events", "python", "def transform(event):\n    return event\n# deployed\n")
    assert client.get(read).headers["ETag"] != before
