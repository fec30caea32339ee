"""The public API v2.0: every group of operations as callers of the reference use it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import sqlalchemy as sa
from tests.control.conftest import EVENTS_CSV
from tests.control.people import joined
from tests.control.sources import Script
from tests.rest.conftest import Keys

from millrace.control.activity import Entity
from millrace.control.alerting import alert_events, alert_routing, alerts
from millrace.control.alerting.alert_events import Event
from millrace.control.connecting import connections
from millrace.control.connecting import files as control_files
from millrace.control.database.tables import pipelines as pipeline_rows
from millrace.control.home import Home
from millrace.control.people import keys as control_keys
from millrace.control.pipeline import objects, pipelines
from millrace.control.running import jobs
from millrace.control.scheduling import slots
from millrace.control.transforming import transformations
from millrace.rest.public import unbuilt

API = "/api/public/v2.0"
PASSCODE = "hunter2-not-for-you"


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("files")
    (folder / "events.csv").write_text(EVENTS_CSV)
    return folder


def source_config(files: Path) -> dict[str, Any]:
    return {
        "project_id": "AAA-BBB-CCCC",
        "passcode": PASSCODE,
        "region": "EU",
        "events_file": str(files / "events.csv"),
    }


@pytest.fixture(scope="module")
def destination(client: httpx.Client, files: Path) -> int:
    body = {"name": "warehouse", "type": "DUCKDB", "config": {"path": str(files / "w.duckdb")}}
    answer = client.post(f"{API}/destinations", json=body)
    assert answer.status_code == 201, answer.text
    return answer.json()["data"]["id"]


@pytest.fixture
def pipeline(client: httpx.Client, files: Path, destination: int) -> Iterator[int]:
    """A pipeline of a test's own; its number."""
    answer = client.post(f"{API}/pipelines", json=new(files, destination, source_name="events"))
    assert answer.status_code == 201, answer.text
    number = answer.json()["data"]["id"]
    yield number
    assert client.delete(f"{API}/pipelines/{number}").status_code == 204


def new(files: Path, destination: int, **more: Any) -> dict[str, Any]:
    return {
        "source_type": "CLEVERTAP",
        "source_config": source_config(files),
        "destination_id": destination,
    } | more


def error(answer: httpx.Response) -> tuple[int, str, str | None]:
    found = answer.json()["error"]
    return answer.status_code, found["code"], found.get("field")


def test_objects_of_a_new_pipeline_are_as_wanted_before_anything_is_read(
    client: httpx.Client, home: Home, files: Path, destination: int, script: Script
) -> None:
    wanted = [
        {"namespace": "shop", "id": "orders", "status": "SKIPPED"},
        {"id": "Users", "task_category_type": "ACTIVE", "config": {"mode": "full load"}},
    ]
    body = new(files, destination, source_name="chosen", object_configurations=wanted)
    answer = client.post(f"{API}/pipelines", json=body)
    assert (answer.status_code, answer.json()["data"]["status"]) == (201, "ACTIVE"), answer.text
    number = answer.json()["data"]["id"]
    found = {one["name"]: one for one in client.get(f"{API}/pipelines/{number}/objects").json()["data"]}
    assert {name: one["state"] for name, one in found.items()} == {"Orders": "SKIPPED", "Users": "ACTIVE"}
    assert objects.find(home, "chosen", "Users").query_mode == {"mode": "full load"}
    # Then it begins, by hand of whoever made it; its schedule goes on from there.
    (job,) = jobs.page(home, "chosen").items
    assert (job.run.status, job.trigger) == ("QUEUED", "API")
    with home.database.reading() as connection:
        due = slots.next_runs(connection, [pipelines.find(home, "chosen").id])
    assert all(moment is not None and moment > home.database.now() for moment in due.values())
    # What cannot be leaves nothing behind, and nothing of another name is touched.
    before = client.get(f"{API}/pipelines").json()["data"]
    for name, given in (("other", [{"id": "Nothing"}]), ("other", [{"id": "Users", "config": {"mode": "guess"}}]),
                        ("chosen", wanted)):  # fmt: skip
        refused = client.post(f"{API}/pipelines", json=body | {"source_name": name, "object_configurations": given})
        assert refused.status_code in (400, 404, 409, 422), refused.text
        assert client.get(f"{API}/pipelines").json()["data"] == before
    assert client.delete(f"{API}/pipelines/{number}").status_code == 204


def test_a_pipeline_is_made_with_its_source_and_shown_without_secrets(
    client: httpx.Client, files: Path, destination: int
) -> None:
    body = new(
        files, destination, source_name="app", destination_table_prefix="ct", auto_mapping="DISABLED",
        json_parsing_strategy="COLLAPSE", status="PAUSED",
    )  # fmt: skip
    answer = client.post(f"{API}/pipelines", json=body)
    assert answer.status_code == 201
    assert answer.json()["success"] is True
    made = answer.json()["data"]
    number = made["id"]
    assert PASSCODE not in answer.text
    expected = {
        "id": number,
        "name": "app",
        "status": "PAUSED",
        "health_status": "OK",
        "source": {
            "id": made["source"]["id"],
            "name": "app",
            "type": {"name": "CLEVERTAP", "display_name": "CleverTap"},
            "config": {key: value for key, value in source_config(files).items() if key != "passcode"},
        },
        "destination": {
            "id": destination,
            "name": "warehouse",
            "type": {"name": "DUCKDB", "display_name": "DuckDB"},
        },
        "auto_mapping": "DISABLED",
        "destination_table_prefix": "ct_",
        "json_parsing_strategy": "COLLAPSE",
        "schedule": {"type": "FREQUENCY", "frequency": 360, "cron_expression": None, "timezone": None},
    }
    assert expected.items() <= made.items()
    assert made["created_ts"] > 1_700_000_000_000
    assert client.get(f"{API}/pipelines/{number}").json()["data"] == made
    assert made in client.get(f"{API}/pipelines", params={"limit": 100}).json()["data"]
    assert client.delete(f"{API}/pipelines/{number}").status_code == 204
    assert error(client.get(f"{API}/pipelines/{number}"))[:2] == (404, "UNKNOWN_PIPELINE")


@pytest.mark.parametrize(("wanted", "becomes"), [("STREAMING", "ACTIVE"), ("SINKING", "PAUSED")])
def test_a_new_pipeline_begins_as_its_status_says(
    client: httpx.Client, home: Home, files: Path, destination: int, wanted: str, becomes: str
) -> None:
    made = client.post(f"{API}/pipelines", json=new(files, destination, status=wanted)).json()["data"]
    assert made["status"] == becomes
    with home.database.reading() as connection:
        (due,) = slots.next_runs(connection, [pipelines.numbered(home, made["id"]).id]).values()
    # The scheduler looks for what is due now.
    assert (due is not None and due <= home.database.now()) == (becomes == "ACTIVE")
    assert client.delete(f"{API}/pipelines/{made['id']}").status_code == 204


@pytest.mark.parametrize(
    ("kind", "config", "minutes"),
    [
        ("POSTGRES", {"ingestion_mode": "log"}, 30),
        ("POSTGRES", {"ingestion_mode": "table"}, 360),
        ("POSTGRES", {}, 360),
        ("MONGODB", {}, 30),
    ],
)
def test_a_pipeline_that_follows_a_log_runs_more_often(
    client: httpx.Client, destination: int, kind: str, config: dict[str, Any], minutes: int
) -> None:
    reached = {"db_host": "db.example.com", "db_user": "reader", "db_password": "pw", **config}
    if kind == "POSTGRES":
        reached["db_name"] = "shop"
    body = {"source_type": kind, "source_config": reached, "destination_id": destination, "status": "PAUSED"}
    answer = client.post(f"{API}/pipelines", json=body)
    assert answer.status_code == 201, answer.text
    made = answer.json()["data"]
    assert made["schedule"]["frequency"] == minutes
    assert client.delete(f"{API}/pipelines/{made['id']}").status_code == 204


def test_deleting_twice_is_no_error_and_frees_the_name(client: httpx.Client, files: Path, destination: int) -> None:
    for _ in range(2):
        number = client.post(f"{API}/pipelines", json=new(files, destination, source_name="once")).json()["data"]["id"]
        answers = [client.delete(f"{API}/pipelines/{number}") for _ in range(2)]
        assert [(answer.status_code, answer.content) for answer in answers] == [(204, b""), (204, b"")]


def test_a_pipeline_without_a_name_gets_one(client: httpx.Client, files: Path, destination: int) -> None:
    made = [client.post(f"{API}/pipelines", json=new(files, destination)).json()["data"] for _ in range(2)]
    assert [one["name"] for one in made] == ["CleverTap", "CleverTap 2"]
    for one in made:
        client.delete(f"{API}/pipelines/{one['id']}")


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"source_type": "NOSUCH"}, (400, "UNKNOWN_TYPE", None)),
        ({"destination_id": 99999}, (400, "INVALID_PARAMETER", "destination_id")),
        ({"destination_id": "5; DROP TABLE"}, (400, "INVALID_PARAMETER", "destination_id")),
        ({"destination_id": -1}, (400, "INVALID_PARAMETER", "destination_id")),
        ({"destination_id": 10**30}, (400, "INVALID_PARAMETER", "destination_id")),
        ({"source_config": {}}, (400, "MISSING_KEY", "source_config.project_id")),
        ({"source_config": {"nosuch": 1}}, (400, "MISSING_KEY", "source_config.project_id")),
        ({"source_config": "x"}, (400, "INVALID_PARAMETER", "source_config")),
        ({"source_name": "x" * 256}, (400, "INVALID_PARAMETER", "source_name")),
        ({"source_name": " x "}, (400, "BAD_NAME", "source_name")),
        ({"source_name": "nul\0"}, (400, "BAD_NAME", "source_name")),
        ({"destination_table_prefix": "a-b"}, (400, "CONFIG", "destination_table_prefix")),
        ({"auto_mapping": "maybe"}, (400, "INVALID_PARAMETER", "auto_mapping")),
        ({"status": "DRAFT"}, (400, "INVALID_PARAMETER", "status")),
        ({"surprise": 1}, (400, "INVALID_PARAMETER", "surprise")),
    ],
)
def test_a_pipeline_that_cannot_be_is_refused_whole(
    client: httpx.Client, files: Path, destination: int, change: dict[str, Any], expected: tuple[int, str, str | None]
) -> None:
    answer = client.post(f"{API}/pipelines", json=new(files, destination, source_name="wrong") | change)
    assert error(answer) == expected
    assert PASSCODE not in answer.text
    # The source that was made on the way is gone too: its name is free.
    made = client.post(f"{API}/pipelines", json=new(files, destination, source_name="wrong"))
    assert made.status_code == 201
    client.delete(f"{API}/pipelines/{made.json()['data']['id']}")


# What is wrong, and the key that the caller gave it by.
WRONG: list[tuple[str, str, dict[str, Any], str]] = [
    ("POST", "/pipelines", {"source_name": " x "}, "source_name"),
    ("POST", "/pipelines", {"destination_table_prefix": "a-b"}, "destination_table_prefix"),
    ("POST", "/pipelines", {"source_config": {"nosuch": 1}}, "source_config.project_id"),
    ("PUT", "/pipelines/{pipeline}/source", {"region": "EU1"}, "project_id"),
    ("PUT", "/pipelines/{pipeline}/schedule", {"frequency": 1}, "frequency"),
    ("PUT", "/pipelines/{pipeline}/schedule", {"frequency": 400}, "frequency"),
    ("POST", "/destinations", {"name": " x ", "type": "DUCKDB", "config": {"path": ":memory:"}}, "name"),
    ("POST", "/destinations", {"name": "x", "type": "DUCKDB", "config": {"threads": 2}}, "config.path"),
    ("PUT", "/destinations/{destination}", {"name": " x "}, "name"),
    ("PUT", "/destinations/{destination}", {"config": {"threads": 2}}, "config.path"),
    ("POST", "/accounts/users", {"email": "nobody"}, "email"),
    ("POST", "/accounts/users-with-roles", {"email": "n@example.com", "roles": ["KING"]}, "roles"),
    ("PATCH", "/api/v1/pipelines/{pipeline}", {"name": " x "}, "name"),
    ("PATCH", "/api/v1/pipelines/{pipeline}", {"destination_prefix": "a-b"}, "destination_prefix"),
    (
        "PATCH",
        "/api/v1/pipelines/{pipeline}",
        {"schedule": {"sync_type": "SCHEDULED", "frequency_minutes": 1}},
        "schedule.frequency_minutes",
    ),
    ("PATCH", "/api/v1/pipelines/{pipeline}", {"schedule": {"sync_type": "SCHEDULED"}}, "schedule.frequency_minutes"),
    (
        "PATCH",
        "/api/v1/pipelines/{pipeline}",
        {"failure_handling_policy": {"object_failure_level": "THRESHOLD"}},
        "failure_handling_policy.object_failure_threshold",
    ),
    (
        "PATCH",
        "/api/v1/pipelines/{pipeline}",
        {"latency_alert": {"enabled": True}},
        "latency_alert.threshold_minutes",
    ),
]


@pytest.mark.parametrize(("method", "path", "body", "field"), WRONG)
def test_an_error_speaks_of_the_keys_of_the_api_that_was_asked(
    client: httpx.Client,
    files: Path,
    destination: int,
    pipeline: int,
    method: str,
    path: str,
    body: dict[str, Any],
    field: str,
) -> None:
    sent = new(files, destination, source_name="wrong") | body if path == "/pipelines" else body
    path = path.format(pipeline=pipeline, destination=destination)
    answer = client.request(method, path if path.startswith("/api") else f"{API}{path}", json=sent)
    status, _, said = error(answer)
    assert (status, said) == (400, field)
    # Words of other faces for the same.
    assert not {"table_prefix", "max_failed_events"} & set(re.findall(r"\w+", answer.json()["error"]["message"]))


def test_what_cannot_change_any_more_is_named_by_the_key_of_the_api(
    client: httpx.Client, pipeline: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipelines, "has_loaded", lambda *_: True)
    answer = client.patch(f"/api/v1/pipelines/{pipeline}", json={"destination_prefix": "other"})
    assert error(answer) == (409, "FIXED_AFTER_LOAD", "destination_prefix")
    assert answer.json()["error"]["message"].startswith("destination_prefix of pipeline ")


def test_a_name_that_is_taken_is_a_conflict(client: httpx.Client, files: Path, destination: int, pipeline: int) -> None:
    answer = client.post(f"{API}/pipelines", json=new(files, destination, source_name="events"))
    assert error(answer)[:2] == (409, "NAME_TAKEN")


def test_pages_follow_each_other_and_the_last_one_says_so(client: httpx.Client, files: Path, destination: int) -> None:
    before = [one["id"] for one in client.get(f"{API}/pipelines", params={"limit": 100}).json()["data"]]
    made = [
        client.post(f"{API}/pipelines", json=new(files, destination, source_name=f"p{n}")).json()["data"]["id"]
        for n in range(5)
    ]
    seen: list[int] = []
    params: dict[str, Any] = {"limit": 2}
    while True:
        page = client.get(f"{API}/pipelines", params=params).json()
        seen += [one["id"] for one in page["data"]]
        if "pagination" not in page:
            break
        assert page["pagination"]["count"] == len(page["data"]) == 2
        params["starting_after"] = page["pagination"]["starting_after"]
    assert seen == before + made
    for number in made:
        client.delete(f"{API}/pipelines/{number}")


@pytest.mark.parametrize(
    "params",
    [{"limit": 0}, {"limit": 101}, {"limit": "x"}, {"starting_after": "!!"}, {"starting_after": "bm9wZQ"},
     {"starting_after": "OTk5OTk5OTk5OTk5OTk5OTk5OTk5OTk"}, {"starting_after": "é"}],
)  # fmt: skip
def test_a_page_that_cannot_be_is_refused(client: httpx.Client, params: dict[str, Any]) -> None:
    for path in ("pipelines", "destinations"):
        answer = client.get(f"{API}/{path}", params=params)
        assert answer.status_code == 400
        assert answer.json()["error"]["field"] in params


@pytest.mark.parametrize("key", ["status", "state"])
def test_a_pipeline_is_paused_and_resumed_in_both_spellings(client: httpx.Client, pipeline: int, key: str) -> None:
    for status in ("PAUSED", "PAUSED", "ACTIVE"):
        answer = client.put(f"{API}/pipelines/{pipeline}/status", json={key: status})
        assert (answer.status_code, answer.json()["data"]["status"]) == (200, status)
    assert error(client.put(f"{API}/pipelines/{pipeline}/status", json={key: "GONE"}))[:2] == (400, "INVALID_PARAMETER")
    assert client.put(f"{API}/pipelines/{pipeline}/status", json={}).status_code == 400


def test_the_source_of_a_pipeline_changes_and_keeps_its_secret(
    client: httpx.Client, home: Home, files: Path, pipeline: int
) -> None:
    config = {key: value for key, value in source_config(files).items() if key != "passcode"} | {"region": "IN"}
    answer = client.put(f"{API}/pipelines/{pipeline}/source", json=config)
    assert answer.json()["data"]["source"]["config"]["region"] == "IN"
    from millrace.control.connecting import connections

    settings: Any = connections.settings_of(home, connections.find(home, "source", "events"))
    assert settings.passcode.get_secret_value() == PASSCODE
    wrong = client.put(f"{API}/pipelines/{pipeline}/source", json=config | {"nosuch": 1})
    assert error(wrong) == (400, "UNKNOWN_KEY", "nosuch")


def test_a_schedule_is_in_minutes(client: httpx.Client, pipeline: int) -> None:
    path = f"{API}/pipelines/{pipeline}/schedule"
    assert client.put(path, json={"frequency": 360}).json()["data"]["frequency"] == 360
    assert client.get(path).json()["data"] == {
        "type": "FREQUENCY", "frequency": 360, "cron_expression": None, "timezone": None
    }  # fmt: skip
    for frequency in (0, 1, -5, "often", 2.5, 10**12):
        assert client.put(path, json={"frequency": frequency}).status_code == 400
    assert client.get(path).json()["data"]["frequency"] == 360


def test_a_script_is_tried_deployed_and_shown(client: httpx.Client, home: Home, pipeline: int) -> None:
    path = f"{API}/pipelines/{pipeline}/transformations"
    assert client.get(path).json()["data"] == {"kind": "none", "script": None, "blocks": None, "version": 0}
    script = "def transform(event):\n    event.getProperties()['n'] += 1\n    return event\n"
    tried = client.post(f"{path}/test", json={"code": script, "event_name": "Charged", "properties": {"n": 1}})
    assert tried.json()["data"] == {
        "output": [{"event_name": "Charged", "properties": {"n": 2}}], "errors": []
    }  # fmt: skip
    failed = client.post(f"{path}/test", json={"script": script, "properties": {"n": "x"}}).json()["data"]
    assert (failed["output"], failed["errors"][0]["code"], failed["errors"][0]["line"]) == ([], "TRANSFORM_ERROR", 2)
    broken = client.post(f"{path}/test", json={"script": "def transform(", "properties": {}}).json()["data"]
    assert broken["errors"][0]["code"] == "SCRIPT"
    assert client.get(path).json()["data"]["kind"] == "none"
    for key in ("script", "code"):
        assert client.put(path, json={key: script}).json()["data"]["script"] == script
    assert client.get(path).json()["data"]["version"] == 1
    assert transformations.standing(home, "events").deployed.author == "admin@example.com"
    assert error(client.put(path, json={"script": "def transform("}))[:2] == (400, "SCRIPT")
    assert client.put(path, json={}).status_code == 400


def test_there_is_no_sample_before_something_was_read(client: httpx.Client, pipeline: int) -> None:
    answer = client.get(f"{API}/pipelines/{pipeline}/transformations/sample")
    assert (answer.status_code, answer.content) == (204, b"")


@pytest.mark.parametrize(
    "body", [{"state": "DISABLED"}, {"status": "DISABLED"}, {"auto_mapping": "DISABLED"}, {"enabled": False}]
)
def test_auto_mapping_is_switched_in_every_spelling(client: httpx.Client, pipeline: int, body: dict[str, Any]) -> None:
    answer = client.put(f"{API}/pipelines/{pipeline}/auto-mapping", json=body)
    assert answer.json()["data"] == {"auto_mapping": "DISABLED"}
    assert client.get(f"{API}/pipelines/{pipeline}").json()["data"]["auto_mapping"] == "DISABLED"
    for wrong in ({}, {"enabled": "no"}, {"state": "OFF"}, [], {"state": "ENABLED", "status": "ENABLED"}):
        assert client.put(f"{API}/pipelines/{pipeline}/auto-mapping", json=wrong).status_code == 400


def test_a_destination_is_read_and_changed(client: httpx.Client, files: Path, destination: int) -> None:
    found = client.get(f"{API}/destinations/{destination}").json()["data"]
    assert found["type"] == {"name": "DUCKDB", "display_name": "DuckDB"}
    assert found in client.get(f"{API}/destinations").json()["data"]
    config = {"path": str(files / "w.duckdb"), "threads": 2}
    changed = client.put(f"{API}/destinations/{destination}", json={"type": "DUCKDB", "config": config})
    assert changed.json()["data"]["config"]["threads"] == 2
    wrong = client.put(f"{API}/destinations/{destination}", json={"type": "POSTGRES", "config": {}})
    assert error(wrong) == (400, "INVALID_PARAMETER", "type")
    assert error(client.get(f"{API}/destinations/{destination}/tables/nosuch/stats"))[:2] == (404, "UNKNOWN_TABLE")


def test_who_may_not_edit_settings_names_no_file_of_the_machine(
    home: Home, url: str, client: httpx.Client, pipeline: int, files: Path, destination: int
) -> None:
    joined(home, "editor@example.com", "PIPELINE_ADMIN")
    pair = control_keys.create(home, "editor@example.com")
    outside = str(files / "other.duckdb")
    with httpx.Client(base_url=url, auth=(pair.key, pair.secret), timeout=30) as editor:
        refused = [
            editor.post(f"{API}/destinations", json={"name": "mine", "type": "DUCKDB", "config": {"path": outside}}),
            editor.post(f"{API}/destinations", json={"name": "up", "type": "DUCKDB", "config": {"path": "../../x.db"}}),
            editor.put(f"{API}/destinations/{destination}", json={"type": "DUCKDB", "config": {"path": outside}}),
            editor.post(f"{API}/pipelines", json=new(files, destination, source_name="mine")),
            editor.put(f"{API}/pipelines/{pipeline}/source", json=source_config(files)),
        ]
        assert [error(one)[:2] for one in refused] == [(400, "FOREIGN_FILE")] * 5
        made = editor.post(f"{API}/destinations", json={"name": "near", "type": "DUCKDB", "config": {"path": "n.db"}})
        assert made.status_code == 201, made.text
    place = Path(made.json()["data"]["config"]["path"])
    assert place == control_files.folder(home) / "n.db"
    unknown = client.post(f"{API}/destinations", json={"name": "x", "type": "NOSUCH", "config": {}})
    assert error(unknown)[:2] == (400, "UNKNOWN_TYPE")


def test_secrets_of_a_destination_are_written_and_never_read(client: httpx.Client) -> None:
    config = {"db_host": "db.example.com", "db_name": "x", "db_user": "y", "db_password": PASSCODE}
    made = client.post(f"{API}/destinations", json={"name": "pg", "type": "POSTGRES", "config": config})
    assert made.status_code == 201
    assert PASSCODE not in made.text + client.get(f"{API}/destinations", params={"limit": 100}).text


def test_members_are_invited_given_roles_and_removed(client: httpx.Client) -> None:
    users = f"{API}/accounts/users"
    invited = client.post(users, json={"email": "New@Example.com"})
    assert invited.status_code == 201
    told = {key: invited.json()["data"][key] for key in ("email", "roles", "status")}
    assert told == {"email": "new@example.com", "roles": ["OBSERVER"], "status": "invited"}
    body = {"email": "two@example.com", "roles": ["PIPELINE_ADMIN", "BILLING_ADMIN"]}
    assert client.post(f"{users}-with-roles", json=body).json()["data"]["roles"] == ["PIPELINE_ADMIN", "BILLING_ADMIN"]
    for method, role, expected in (("POST", "OWNER", "TEAM_ADMIN"), ("PUT", "MEMBER", "TEAM_COLLABORATOR")):
        answer = client.request(method, f"{users}/new@example.com", json={"role": role})
        assert answer.json()["data"]["roles"] == [expected]
    changed = client.put(f"{users}/new@example.com/roles", json={"roles": ["OBSERVER"]})
    assert changed.json()["data"]["roles"] == ["OBSERVER"]
    emails = [one["email"] for one in client.get(users, params={"limit": 100}).json()["data"]]
    assert {"admin@example.com", "new@example.com", "two@example.com"} <= {*emails}
    assert "stranger@example.org" not in emails
    for _ in range(2):
        assert client.delete(f"{users}/new@example.com").status_code == 204
    assert error(client.put(f"{users}/new@example.com/roles", json={"roles": ["OBSERVER"]}))[:2] == (
        404,
        "UNKNOWN_USER",
    )
    assert error(client.put(f"{users}/two@example.com/roles", json={"roles": ["KING"]})) == (
        400,
        "UNKNOWN_ROLE",
        "roles",
    )
    assert error(client.delete(f"{users}/admin@example.com"))[:2] == (409, "LAST_ADMINISTRATOR")
    assert error(client.post(users, json={"email": "two@example.com"}))[:2] == (409, "EMAIL_TAKEN")
    assert error(client.post(users, json={"email": "nobody"}))[:2] == (400, "BAD_EMAIL")


@pytest.mark.parametrize(("method", "path"), [one for several in unbuilt.OPERATIONS.values() for one in several])
def test_what_is_not_built_says_so(client: httpx.Client, url: str, method: str, path: str) -> None:
    path = API + path.replace("{id}", "7")
    answer = client.request(method, path)
    assert error(answer)[:2] == (501, "NOT_IMPLEMENTED")
    assert "yet" in answer.json()["error"]["message"]
    assert httpx.request(method, url + path).status_code == 401


CHANGES: list[tuple[str, str, Any]] = [
    ("POST", "/pipelines", {"source_type": "CLEVERTAP", "source_config": {}, "destination_id": 1}),
    ("DELETE", "/pipelines/{id}", None),
    ("PUT", "/pipelines/{id}/status", {"status": "PAUSED"}),
    ("PUT", "/pipelines/{id}/source", {}),
    ("PUT", "/pipelines/{id}/schedule", {"frequency": 60}),
    ("PUT", "/pipelines/{id}/transformations", {"script": "x"}),
    ("POST", "/pipelines/{id}/transformations/test", {"script": "x", "properties": {}}),
    ("PUT", "/pipelines/{id}/auto-mapping", {"state": "ENABLED"}),
    ("PUT", "/pipelines/{id}/mappings/Charged", {"destination_table": "t"}),
    ("PUT", "/pipelines/{id}/event-types/Charged/skip", None),
    ("POST", "/pipelines/{id}/event-types/Charged/include", None),
    ("POST", "/destinations", {"name": "n", "type": "DUCKDB", "config": {}}),
    ("PUT", "/destinations/{destination}", {"name": "n"}),
    ("POST", "/accounts/users", {"email": "a@example.com"}),
    ("POST", "/accounts/users-with-roles", {"email": "a@example.com", "roles": ["OBSERVER"]}),
    ("PUT", "/accounts/users/{email}", {"role": "OWNER"}),
    ("PUT", "/accounts/users/{email}/roles", {"roles": ["OBSERVER"]}),
    ("DELETE", "/accounts/users/{email}", None),
]


@pytest.mark.parametrize(("method", "path", "body"), CHANGES)
def test_an_observer_changes_nothing(
    url: str, keys: Keys, pipeline: int, destination: int, method: str, path: str, body: Any
) -> None:
    path = path.format(id=pipeline, destination=destination, email="admin@example.com")
    answer = httpx.request(method, f"{url}{API}{path}", auth=keys.observer, json=body)
    assert error(answer)[:2] == (403, "FORBIDDEN")
    assert "is not permitted to perform this action" in answer.json()["error"]["message"]


READS = [
    "/pipelines/{id}",
    "/pipelines/{id}/schedule",
    "/pipelines/{id}/transformations",
    "/pipelines/{id}/transformations/sample",
    "/pipelines/{id}/event-types",
    "/pipelines/{id}/mappings/Charged",
    "/destinations/{destination}",
    "/destinations/{destination}/tables/t/stats",
]


@pytest.mark.parametrize(
    ("method", "path", "body"), [("GET", path, None) for path in READS] + [one for one in CHANGES if "{" in one[1]]
)
def test_what_belongs_to_another_team_is_not_there(
    url: str, client: httpx.Client, keys: Keys, pipeline: int, destination: int, method: str, path: str, body: Any
) -> None:
    path = path.format(id=pipeline, destination=destination, email="admin@example.com")
    answer = httpx.request(method, f"{url}{API}{path}", auth=keys.stranger, json=body)
    # Whoever deletes what is not there has what they want.
    assert answer.status_code == (204 if method == "DELETE" else 404)
    assert client.get(f"{API}/pipelines/{pipeline}").json()["data"]["status"] == "ACTIVE"
    assert "admin@example.com" in client.get(f"{API}/accounts/users").text


def test_a_stranger_s_list_is_empty(url: str, keys: Keys, pipeline: int) -> None:
    for path in ("pipelines", "destinations"):
        assert httpx.get(f"{url}{API}/{path}", auth=keys.stranger).json() == {"success": True, "data": []}


def test_a_destination_is_not_well_as_long_as_an_alert_says_so(
    client: httpx.Client, home: Home, destination: int
) -> None:
    there = Entity("destination", connections.numbered(home, "destination", destination).id, "warehouse")

    def health() -> set[str]:
        one = client.get(f"{API}/destinations/{destination}").json()["data"]
        (listed,) = [each for each in client.get(f"{API}/destinations").json()["data"] if each["id"] == destination]
        return {one["health_status"], listed["health_status"]}

    assert health() == {"OK"}
    with home.database.transaction() as connection:
        alert_events.tell(connection, home.actor.team_id, Event("DEST_FAILED", there, "it failed"))
    alert_routing.route(home)
    assert health() == {"FAILED"}
    alerts.acknowledge(home, alerts.page(home, state="OPEN").items[0].id)
    assert health() == {"FAILED"}
    with home.database.transaction() as connection:
        alert_events.over(connection, home.actor.team_id, there, ["DEST_FAILED"])
    alert_routing.route(home)
    assert health() == {"OK"}


def test_the_last_run_tells_the_health(client: httpx.Client, home: Home, pipeline: int) -> None:
    from millrace.control.books import records

    with home.database.reading() as connection:
        id_ = connection.execute(sa.select(pipeline_rows.c.id).where(pipeline_rows.c.number == pipeline)).scalar_one()
    for status, health in (("FAILED", "FAILED"), ("CANCELLED", "FAILED"), ("COMPLETED", "OK")):
        records.end_run(home.database, records.begin_run(home.database, id_, "INCREMENTAL"), status)
        assert client.get(f"{API}/pipelines/{pipeline}").json()["data"]["health_status"] == health
