"""Files that are sent: larger than other bodies, on the disk and not in memory, and gone when they have served."""

from __future__ import annotations

import tempfile
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from tests.rest.conftest import Keys
from tests.rest.test_hostile import raw

from millrace.control import settings
from millrace.control.connecting import connections, files
from millrace.control.home import Home
from millrace.rest.millrace.uploads import MOST_BYTES
from millrace.simulators.clevertap import Account, Settings, Simulator

API = "/api/millrace/v1"
LARGE = b"name,id\n" * (400 * 1024)


@pytest.fixture
def passing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where files lie while they are received."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def test_a_file_may_be_larger_than_other_bodies(home: Home, client: httpx.Client, passing: Path):
    answer = client.put(f"{API}/files/big.csv", content=LARGE)
    assert (answer.status_code, answer.json()) == (200, {"name": "big.csv", "size_bytes": len(LARGE)})
    (stored,) = (home.path / files.FOLDER).rglob("big.csv")
    assert stored.read_bytes() == LARGE
    assert list(passing.iterdir()) == []
    # Other bodies stay small.
    other = client.post(f"{API}/apply", json={"text": "x" * (2 << 20)})
    assert (other.status_code, other.json()["error"]["code"]) == (413, "TOO_LARGE")


def test_a_file_that_is_too_large_is_refused_by_its_length(url: str, keys: Keys, passing: Path):
    pair = b64encode(":".join(keys.admin).encode()).decode()
    head = f"PUT {API}/files/x HTTP/1.1\r\nHost: x\r\nAuthorization: Basic {pair}\r\n"
    said = raw(url, f"{head}Content-Length: {MOST_BYTES + 1}\r\n\r\nx".encode())
    assert b" 413 " in said and b"TOO_LARGE" in said
    assert list(passing.iterdir()) == []


def test_who_may_not_send_files_is_told_before_anything_is_kept(url: str, keys: Keys, passing: Path):
    with httpx.Client(base_url=url, auth=keys.observer, timeout=30) as observer:
        assert observer.put(f"{API}/files/big.csv", content=b"x" * 100_000).status_code == 403
    assert list(passing.iterdir()) == []


def test_what_was_sent_for_an_errand_goes_with_its_end(client: httpx.Client, passing: Path):
    begun = client.post(f"{API}/pipelines/nosuch/rejects/mend", content=LARGE)
    assert begun.status_code == 202, begun.text
    with client.stream("GET", f"{API}/errands/{begun.json()['id']}/events") as events:
        assert "event: failed" in events.read().decode()
    assert list(passing.iterdir()) == []


def names(client: httpx.Client, file: str, type_: str = "clevertap") -> httpx.Response:
    return client.post(f"{API}/connectors/sources/{type_}/names", json={"config": {"events_file": file}})


def test_what_becomes_of_names_in_a_file_that_was_sent_is_told(home: Home, client: httpx.Client):
    client.put(f"{API}/files/names.csv", content=b"Event name\nCharged\nNotification Sent\nCharged\n")
    told = names(client, "names.csv").json()
    assert [(row["name"], row["line"], row["fate"]) for row in told["rows"]] == [
        ("Charged", 2, "read"),
        ("Notification Sent", 3, "not_exportable"),
        ("Charged", 4, "twice"),
    ]
    assert (told["read"], told["not_exportable"], told["twice"]) == (1, 1, 1)
    assert any("S3 export" in text for text in told["warnings"])
    # A saved source names it by where it lies.
    (stored,) = (home.path / files.FOLDER).rglob("names.csv")
    assert names(client, str(stored)).json() == told
    client.put(f"{API}/files/names.csv", content=b"<html>")
    wrong = names(client, "names.csv")
    assert (wrong.status_code, wrong.json()["error"]["code"]) == (400, "EVENTS_FILE")
    assert wrong.json()["error"]["field"] == "events_file" and wrong.json()["error"]["hint"]


def test_names_are_shown_of_the_teams_own_files_alone(
    home: Home, client: httpx.Client, url: str, keys: Keys, tmp_path: Path
):
    client.put(f"{API}/files/own.csv", content=b"Event name\nCharged\n")
    (stored,) = (home.path / files.FOLDER).rglob("own.csv")
    secret = tmp_path / "secret.txt"
    secret.write_text("hunter2\n")
    (stored.parent / "link.csv").symlink_to(secret)
    (stored.parent / "x:").mkdir()
    no_url = f"{stored.parent}/x:/{'/..' * 30}{secret}"
    # Administrators may name any file in settings; what is in it is not theirs to see.
    for file in (str(secret), "../../secret.txt", "link.csv", "/etc/passwd", no_url):
        answer = names(client, file)
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, "FOREIGN_FILE"), file
        assert "hunter2" not in answer.text
    for source in (" file", "neither", ["file"]):
        config = {"events_file": str(secret), "event_source": source}
        answer = client.post(f"{API}/connectors/sources/clevertap/names", json={"config": config})
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, "FOREIGN_FILE"), source
        assert "hunter2" not in answer.text
    with httpx.Client(base_url=url, auth=keys.stranger, timeout=30) as stranger:
        assert names(stranger, str(stored)).json()["error"]["code"] == "FOREIGN_FILE"
    with httpx.Client(base_url=url, auth=keys.observer, timeout=30) as observer:
        assert names(observer, "own.csv").status_code == 403
    assert names(client, "own.csv", "postgres").json()["error"]["code"] == "NO_NAMES"
    assert names(client, "nowhere.csv").status_code == 400


@pytest.fixture
def project(home: Home) -> Iterator[dict[str, str]]:
    """Settings of a project of a simulator, which a server's people reach."""
    settings.change(home, allow_private_addresses=True)
    account = Account(id="SIM-EU1-0001", passcode="demo-pass-eu", events=("Charged", "Search"), users=5, days=2)
    with Simulator(Settings.plain(account)) as simulator:
        yield {"project_id": account.id, "passcode": account.passcode, "base_url": simulator.base_url}


def test_the_system_is_asked_for_names_before_it_is_saved_and_where_secrets_are_kept(
    home: Home, client: httpx.Client, project: dict[str, str]
):
    def asked(config: dict[str, str], **kept: object) -> httpx.Response:
        return client.post(f"{API}/connectors/sources/clevertap/names", json={"config": config, **kept})

    client.put(f"{API}/files/names.csv", content=b"Event name\nCharged\nUnheard Of\n")
    config = {**project, "event_source": "both", "events_file": "names.csv"}
    told = asked(config).json()
    found = {row["name"]: row["comes_from"] for row in told["rows"]}
    assert (found["Charged"], found["Unheard Of"], found["Search"]) == ("both", "file", "schema")
    every = len(found) - 1
    assert not connections.listed(home, "source")
    # With the schema alone no file is asked for.
    schema = {**project, "event_source": "schema"}
    assert {row["comes_from"] for row in asked(schema).json()["rows"]} == {"schema"}
    missing = asked({"event_source": "file"}).json()["error"]
    assert (missing["code"], missing["field"]) == ("MISSING", "events_file")
    # A passcode that is kept is not shown, and goes where it was meant to.
    open_ = {key: value for key, value in schema.items() if key != "passcode"}
    assert asked(open_).json()["error"]["field"] == "passcode"
    draft = client.post(f"{API}/drafts", json={"name": "new", "type": "clevertap", "config": schema}).json()["number"]
    connections.create(home, "source", "mine", "clevertap", schema)
    for kept in ({"draft": draft}, {"source": "mine"}):
        assert len(asked(open_, **kept).json()["rows"]) == every, kept
        moved = asked({**open_, "base_url": "http://127.0.0.1:9/"}, **kept)
        assert (moved.status_code, moved.json()["error"]["code"]) == (400, "SECRET_NEEDED"), kept
    # Secrets of another type are for another system, whatever they are called.
    hook = client.post(
        f"{API}/drafts", json={"name": "x", "type": "webhook", "config": {"event_name_path": "e"}}
    ).json()["number"]
    connections.create(home, "source", "hook", "webhook", {})
    for kept in ({"draft": hook}, {"source": "hook"}):
        refused = asked(open_, **kept)
        assert (refused.status_code, refused.json()["error"]["code"]) == (400, "WRONG_TYPE"), kept
    wrong = asked({**schema, "passcode": "hunter2"})
    assert wrong.status_code == 400 and "region" in wrong.text and "hunter2" not in wrong.text
    foreign = asked({**config, "events_file": "/etc/passwd"})
    assert foreign.json()["error"]["code"] == "FOREIGN_FILE"


def test_a_document_reads_no_file_but_those_that_were_sent_with_it(home: Home, client: httpx.Client, tmp_path: Path):
    (tmp_path / "theirs.py").write_text("def transform(event):\n    return event\n# hunter2\n")

    def applied(script: str) -> httpx.Response:
        client.put(f"{API}/files/own.py", content=b"def transform(event):\n    return event\n# own\n")
        text = f"""
sources: {{sent: {{type: webhook}}}}
destinations: {{warehouse: {{type: folder, config: {{path: loaded}}}}}}
pipelines:
  sent: {{source: sent, destination: warehouse, load_mode: append, transformation: {{python: '{script}'}}}}
"""
        return client.post(f"{API}/apply", json={"text": text, "sent": {"a/own.py": "own.py"}})

    for script in (str(tmp_path / "theirs.py"), "/dev/zero", "../../etc/passwd", "~/theirs.py"):
        refused = applied(script)
        assert refused.status_code == 400 and "is a file of the server's machine" in refused.text, script
    assert applied("a/own.py").status_code == 200
    assert "# own" in client.get(f"{API}/pipelines/sent/transformation").text
