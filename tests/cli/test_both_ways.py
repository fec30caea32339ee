"""Commands that change something say and do at a server what they say and do on a home."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from tests.cli.asking import Asked, ask
from tests.cli.twins import Twins, twins
from tests.control.file_notes import note, seen
from tests.control.identity import CLIENT_ID, CLIENT_SECRET, provider
from tests.control.people import PASSWORD
from tests.control.receivers import http_server
from tests.control.saml_identity import saml_provider

from millrace.control import activity
from millrace.control.alerting import alert_events
from millrace.control.alerting.alert_events import Event
from millrace.control.database import tables
from millrace.control.home import Home
from millrace.control.pipeline import drafts, pipelines
from millrace.simulators.clevertap import Simulator

SCRIPT = """\
def transform(event):
    p = event.getProperties()
    p["seen"] = 1
    return event
"""
CHAIN = {"blocks": [{"id": "b1", "type": "DROP_EVENTS",
                     "event_filters": [{"on": "EVENT_FIELD", "field": "id", "op": "EQUALS", "value": 2}]}]}  # fmt: skip
# Numbers that a reader of JSON might round.
EVENTS = """\
{"event_name": "deals", "properties": {"id": 1, "price": 9007199254740993, "total": 12345678901234567890}}
{"event_name": "deals", "properties": {"id": 2, "price": 100000000000000000000.5, "in": {"n": 1.10}}}
"""
NAMES = """\
Event name,Type,Status
Charged,Defined,Active
Notification Sent,Defined,Active
Charged,Defined,Active
Tutorial Complete,Defined,Active
tutorial complete,Undefined,Inactive
Old Banner Shown,Undefined,Discarded
"""
HOOKS = """\
pipelines:
  told:
    source: {type: webhook}
    destination: warehouse
    table_prefix: told_
"""


@pytest.fixture(scope="module")
def both(simulator: Simulator, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Twins]:
    with twins(simulator, tmp_path_factory.mktemp("twins")) as both:
        yield both


@pytest.fixture
def files(tmp_path: Path) -> Path:
    (tmp_path / "good.py").write_text(SCRIPT)
    (tmp_path / "bad.py").write_text("def transform(event):\n    return (\n")
    (tmp_path / "fails.py").write_text("def transform(event):\n    raise ValueError('no')\n")
    (tmp_path / "hooks.yaml").write_text(HOOKS)
    (tmp_path / "chain.json").write_text(json.dumps(CHAIN))
    (tmp_path / "events.jsonl").write_text(EVENTS)
    return tmp_path


def test_transformations(both: Twins, files: Path):
    script, chain, events = files / "good.py", files / "chain.json", files / "events.jsonl"
    tried = both.done("transform", "test", "--script", script, "--events", events, "--json").out.splitlines()
    assert '"price":100000000000000000000.5,"in":{"n":1.1' in tried[1]
    both.done("transform", "test", "clevertap", "--blocks", chain, "--object", "Events")
    both.done("transform", "test", "clevertap", "--blocks", chain, "--events", events)
    both.refused("usage", "transform", "test", "--script", script)
    both.done("transform", "explain", "--blocks", chain)
    both.done("transform", "detect", "--events", events)
    both.refused("no_transformation", "transform", "deploy", "clevertap")
    both.done("transform", "draft", "clevertap", "--script", script)
    assert "There is a draft" in both.done("transform", "show", "clevertap").err
    dry = both.done("transform", "dry-run", "clevertap", "--last", "20", "--json").json
    assert (dry["rows"], dry["counts"]["changed"]) == (20, 20)
    broken = both.ask("transform", "deploy", "clevertap", "--script", files / "bad.py")
    assert (broken.code, "bad.py:2" in broken.err) == (2, True), broken
    both.done("transform", "deploy", "clevertap", "--reason", "sight")
    both.done("transform", "deploy", "clevertap", "--blocks", chain)
    both.done("transform", "diff", "clevertap", "1", "2")
    assert both.done("transform", "rollback", "clevertap", "1", "--json").json["version"] == 3
    both.done("transform", "explain", "clevertap", "--blocks", chain)
    both.done("transform", "remove", "clevertap", "--reason", "enough")
    history = both.done("transform", "history", "clevertap", "--json").json
    assert [(one["version"], one["author"]) for one in history] == [(n, "admin@example.com") for n in (4, 3, 2, 1)]


def test_mappings(both: Twins, tmp_path: Path):
    here = ("clevertap", "Events")
    field = next(
        one["field"]
        for one in both.done("mapping", "show", *here, "--json").json["fields"]
        if not one["key"] and not one["field"].startswith("__")
    )
    rename = ("mapping", "set", *here, "--rename", f"{field}=another_name")
    assert "RENAME COLUMN" in both.done(*rename, "--dry-run").out
    both.refused("not_confirmed", *rename)
    assert both.done(*rename, "--yes", "--reason", "a better word", "--json").json[0]["changed"]
    assert both.done("mapping", "history", *here, "--json").json[0]["author"] == "admin@example.com"
    both.done("mapping", "diff", *here)
    both.done("mapping", "set", *here, "--auto", "off", "--policy", "columns=freeze,types=freeze", "--yes")
    both.refused("policy", "mapping", "set", *here, "--policy", "columns=thaw", "--yes")
    both.refused("usage", "mapping", "set", *here)
    assert both.done("mapping", "switch", "clevertap", "off", "--json").json["on"] is False
    assert "is off." in both.done("mapping", "switch", "clevertap").out
    assert "is on from the next run on" in both.done("mapping", "switch", "clevertap", "on").out
    both.done("mapping", "skip", "clevertap", "Events")
    both.done("mapping", "include", "clevertap", "--all")
    both.done("mapping", "set", *here, "--auto", "off", "--policy", "pipeline", "--yes")
    both.done("mapping", "unmap", "clevertap", "Events", "--yes")
    both.done("mapping", "auto", "clevertap", "Events")
    both.refused("unknown_version", "mapping", "restore", *here, "77", "--yes")
    both.done("mapping", "restore", *here, "1", "--yes")
    file = tmp_path / "mappings.yaml"
    file.write_text(both.done("mapping", "export", "clevertap").out + "    policy: ${CHOSEN}\n")
    both.refused("missing_variable", "mapping", "apply", file, "--yes")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CHOSEN", "BLOCK_ALL")
        assert "policy" in both.done("mapping", "apply", file, "--yes").out
    file.write_text("event_types:\n  Events:\n    polcy: BLOCK_ALL\n    ignored: 7\n")
    wrong = both.ask("mapping", "apply", file, "--pipeline", "clevertap", "--yes")
    assert "mappings.yaml:3" in wrong.err and "mappings.yaml:4" in wrong.err
    both.done("mapping", "reset", "clevertap", "Events", "--yes")
    both.done("mapping", "delete-table", *here, "--yes")


def test_people_their_keys_and_their_team(both: Twins):
    ada = "ada@example.org"
    both.done("user", "create", "--email", ada, "--role", "OBSERVER", "--password-stdin", given=PASSWORD)
    weak = both.ask("user", "create", "--email", "b@example.org", "--password-stdin", given="weakling-of-mine")
    assert (weak.code, "weakling-of-mine" in weak.out + weak.err) == (2, False)
    both.refused("email_taken", "user", "create", "--email", ada)
    both.done("user", "show", ada)
    both.done("user", "list", "--search", "ada", "--json")
    both.done("user", "set-roles", ada, "--role", "PIPELINE_ADMIN")
    both.refused("unknown_role", "user", "set-roles", ada, "--role", "KING")
    both.done("user", "unlock", ada)
    both.done("user", "reset-second-factor", ada)
    both.done("user", "roles", "--json")
    both.done("user", "remove", ada)
    both.refused("unknown_user", "user", "show", ada)
    both.done("team", "rename", "Analytics")
    both.done("team", "show", "--json")
    both.done("team", "security", "--second-factor", "off", "--allow", "127.0.0.0/8", "--json")
    both.done("team", "security", "--allow-all")
    both.done("activity", "--severity", "high", "--entity", "user", "--limit", "3")
    both.refused("unknown_key_pair", "key", "delete", "mk_nothing")
    assert both.ask("activity", "--severity", "loud").code == 2


def test_secrets_of_people_are_shown_once_at_a_server_too(both: Twins):
    def at(*words: str) -> Asked:
        return both.server.ask(both.there, *words, "--json")

    pair = at("key", "create", "--email", "admin@example.com", "--name", "robot", "--scope", "view", "--days", "2").json
    told = at("key", "list").out + at("activity", "--severity", "low").out + at("activity", "--export", "jsonl").out
    assert pair["key"] in told and pair["secret"] not in told
    assert at("key", "create", "--email", "observer@example.com").json["error"]["code"] == "forbidden"
    keyed = ask("team", "show", "--url", both.server.url, "--key", f"{pair['key']}:{pair['secret']}")
    assert keyed.code == 0, keyed
    assert ask("team", "rename", "X", "--url", both.server.url, "--key", f"{pair['key']}:{pair['secret']}").code == 2
    assert at("key", "delete", pair["key"]).code == 0
    link = at("user", "invite", "--email", "eve@example.org").json
    again = at("user", "link", "eve@example.org").json
    assert (link["purpose"], again["purpose"], link["token"] == again["token"]) == ("invite", "invite", False)
    assert link["token"] not in at("activity", "--severity", "low").out + at("user", "list").out
    # What only the operator may is done on the home.
    assert at("user", "set-password", "eve@example.org").json["error"]["code"] == "local_only"


def test_settings(both: Twins):
    both.done("settings", "set", "retention_days=5", "legacy_frequency=true")
    both.refused("unknown_key", "settings", "set", "no_such=1")
    assert both.ask("settings", "set", "retention_days=many").code == 2
    assert both.done("settings", "--json").json["retention_days"] == 5


def test_files(both: Twins):
    assert "No files yet" in both.done("files", "list", "clevertap").out
    for shop in (both.here, both.there):
        with Home.open(shop.home, env={}) as home:
            seen(home, "clevertap", *(note(f"2026/{n}.csv", "ingested", rows=n) for n in range(3)))
            seen(home, "clevertap", note("cut, off.csv.gz", "failed", error="it ends in the middle"))
    listed = both.done("files", "list", "clevertap").out
    assert "cut, off.csv.gz: it ends in the middle" in listed and "3 ingested, 1 failed" in listed
    page = both.done("files", "list", "clevertap", "--status", "ingested", "--limit", "2", "--json").json
    assert [one["path"] for one in page["items"]] == ["2026/2.csv", "2026/1.csv"]
    assert "2026/0.csv" in both.done("files", "list", "clevertap", "--search", "2026", "--after", page["next"]).out
    assert both.done("files", "list", "clevertap", "--object", "orders", "--since", "2999-01-01", "--json").json == {
        "items": [], "next": None
    }  # fmt: skip
    both.done("files", "skip", "clevertap", "2026/1.csv", "2026/2.csv")
    both.refused("wrong_state", "files", "read-again", "clevertap", "2026/0.csv", "2026/1.csv")
    both.refused("unknown_file", "files", "skip", "clevertap", "2026/9.csv")
    both.done("files", "unskip", "clevertap", "2026/1.csv")
    (again,) = both.done("files", "read-again", "clevertap", "cut, off.csv.gz", "--json").json
    assert (again["status"], again["error"]) == ("queued", None)
    sheet = both.done("files", "export", "clevertap").out.splitlines()
    assert sheet[0].startswith("stream,path,size_bytes,") and len(sheet) == 5
    assert sheet[1].startswith('orders,"cut, off.csv.gz",1234567,')


def test_objects(both: Twins):
    both.done("objects", "list", "clevertap")
    (found,) = both.done("objects", "list", "clevertap", "--search", "vents", "--json").json
    assert (found["name"], found["state"]) == ("Events", "ACTIVE")
    assert both.done("objects", "list", "clevertap", "--category", "PAUSED", "--json").json == []
    assert both.done("objects", "list", "clevertap", "--query-mode", "delta", "--json").json == []
    assert both.done("objects", "list", "clevertap", "--query-mode", "auto", "--json").json
    assert both.ask("objects", "list", "clevertap", "--query-mode", "fast").code == 2
    both.done("objects", "show", "clevertap", "events", "--json")
    both.refused("unknown_object", "objects", "show", "clevertap", "Evnts")
    both.done("objects", "refresh", "clevertap")
    both.done("objects", "pause", "clevertap", "Events")
    both.refused("wrong_state", "objects", "pause", "clevertap", "Events")
    assert both.ask("objects", "pause", "clevertap", "Events", "Users").code == 1
    both.done("objects", "resume", "clevertap", "--all")
    both.done("objects", "skip", "clevertap", "Events")
    both.refused("usage", "objects", "include", "clevertap")
    # A run waits for a worker by now; its number is the same here and there.
    both.done("objects", "include", "clevertap", "Events")
    (job,) = [one for one in both.done("runs", "--json").json if one["status"] == "QUEUED"]
    assert both.done("cancel", str(job["id"]), "--json").json["run"]["status"] == "CANCELLED"
    both.refused("unknown_run", "cancel", "4711")
    both.done("retry", str(job["id"]))
    both.done("objects", "run-now", "clevertap", "Events")
    both.done("objects", "restart-historical", "clevertap", "Events")
    both.done("objects", "restart", "clevertap", "--all")
    both.done("objects", "schedule", "clevertap", "Events", "--every", "6h")
    both.refused("usage", "objects", "schedule", "clevertap", "Events")
    both.done("objects", "schedule", "clevertap", "Events", "--none")
    both.refused("invalid_parameter", "objects", "query-mode", "clevertap", "Events", "mode=guess")
    both.done("objects", "query-mode", "clevertap", "Events", "mode=incrementing", "stop_on_gap=true")


def test_positions(both: Twins):
    here = ("clevertap", "Events")
    both.done("objects", "position", *here)
    both.done("objects", "positions", *here)
    both.refused("not_log_based", "objects", "log-position", here[0])
    both.refused("not_log_based", "objects", "log-position", here[0], "--set", "0/1")
    before = both.done("objects", "show", *here, "--json").json["positions"]
    both.refused("usage", "objects", "position", *here, "--set", "{")
    both.done("objects", "position", *here, "--set", "null")
    both.done("objects", "position", *here, "--at", "2020-02-29T10:00:00")
    both.refused("future_date", "objects", "position", *here, "--at", "2999-01-01")
    both.refused("usage", "objects", "position", *here, "--at", "2020-01-01", "--set", "null")
    assert "incremental" not in both.done("objects", "show", *here, "--json").json["positions"]
    both.refused("future_date", "objects", "set-back", here[0], "--at", "2999-01-01", here[1])
    both.refused("unknown_object", "objects", "set-back", here[0], "--at", "2020-02-29", "Evnts")
    both.done("objects", "set-back", here[0], "--at", "2020-02-29T10:00:00", here[1])
    both.done("objects", "back-to", "clevertap", "1", "--object", "Events")
    assert both.done("objects", "show", *here, "--json").json["positions"] == before
    both.refused("unknown_position", "objects", "back-to", "clevertap", "77")


def test_a_pipeline_is_paused_resumed_copied_and_deleted(both: Twins):
    both.done("pause", "clevertap")
    both.refused("wrong_state", "pause", "clevertap")
    both.done("resume", "clevertap")
    both.done("clone", "clevertap", "--table-prefix", "copy_", "--name", "copied", "--json")
    both.refused("name_taken", "rename", "copied", "clevertap")
    assert both.done("rename", "copied", "renamed", "--json").json["pipeline"] == "renamed"
    both.refused("unknown_pipeline", "rename", "copied", "again")
    both.refused("not_confirmed", "delete", "renamed")
    assert both.done("delete", "renamed", "--yes", "--json").json["gone"]
    both.refused("unknown_pipeline", "resume", "renamed")


def test_what_goes_first_and_when_destinations_are_loaded(both: Twins):
    both.done("settings", "set", "high_priority_percent=100")
    assert both.done("prioritize", "clevertap", "HIGH", "--json").json["priority"] == "HIGH"
    assert "priority: HIGH" in both.done("export").out
    both.done("prioritize", "clevertap", "NORMAL")
    both.refused("unknown_pipeline", "prioritize", "clevrtap", "HIGH")
    assert both.ask("prioritize", "clevertap", "LOW").code == 2
    told = both.done("destinations", "load-schedule", "warehouse", "--every", "1d", "--at", "03:00", "--json").json
    assert told["schedule"] == "every 1d at 03:00 UTC"
    assert "load_schedule:" in both.done("export").out
    both.refused("usage", "destinations", "load-schedule", "warehouse")
    both.done("destinations", "load-schedule", "warehouse", "--none")
    assert "load_schedule" not in both.done("export").out
    (job,) = both.done("destinations", "load", "warehouse", "--json").json
    both.done("cancel", str(job))


def test_drafts(both: Twins):
    both.done("drafts")
    both.refused("unknown_draft", "drafts", "show", "4711")
    for shop in (both.here, both.there):
        with Home.open(shop.home, env={}) as home:
            config = {
                "project_id": "AAA-BBB-CCCC",
                "passcode": "hidden-away",
                "events_file": str(shop.folder / "events.csv"),
            }
            number = drafts.save(home, name="later", source_type="clevertap", config=config).number
            other = drafts.save(home, name="never", source_type="clevertap", config=config).number
    told = both.done("drafts", "list", "--json").out + both.done("drafts", "show", str(number)).out
    assert "hidden-away" not in told and "passcode" in told
    both.done("drafts", "finish", str(number), "--destination", "warehouse", "--table-prefix", "later_", "--json")
    assert "later" in both.done("status", "later").out
    both.refused("unknown_draft", "drafts", "remove", str(number))
    both.done("drafts", "remove", str(other))
    assert both.done("drafts", "list", "--json").json == []


def test_alerts(both: Twins):
    for shop in (both.here, both.there):
        with Home.open(shop.home, env={}) as home:
            entity = activity.Entity("pipeline", pipelines.find(home, "clevertap").id, "clevertap")
            for code in ("SOURCE_FAILED", "JOB_FAILED"):
                with home.database.transaction() as connection:
                    alert_events.tell(connection, home.actor.team_id, Event(code, entity, "It failed", cause="net"))
    with http_server() as receiver:
        both.done("alert", "add", "ops", "slack", f"url={receiver.url}/s3ntinel", "--least", "ERROR")
        both.refused("bad_value", "alert", "add", "other", "slack", "url=nowhere")
        receiver.answers += [404] * 4
        both.done("alert", "deliver")
        told = both.done("alert", "list", "--state", "OPEN", "--json").json["items"]
        first, second = (str(one["id"]) for one in told)
        assert both.done("alert", "resend", first, "--json").json[0]["state"] == "waiting"
        both.done("alert", "resend", second)
        both.refused("wrong_state", "alert", "resend", second)
        both.refused("unknown_alert", "alert", "resend", "4711")
        both.done("alert", "deliver")
        assert len(receiver.received) == 8
        both.done("alert", "change", "ops", "--only", "schema", "--off", "--quiet-hours", "22:00-07:00", "--json")
        both.refused("unknown_channel", "alert", "change", "nothing", "--off")
        both.done(
            "alert", "add", "signed", "webhook", f"url={receiver.url}/s3ntinel", "secret=s3ntinel", "--only", "schema"
        )
        assert both.done("alert", "change", "signed", "secret=", "--json").json["secrets"] == ["url"]
        both.done("alert", "test", "ops")
        receiver.answers += [403, 403]
        assert both.ask("alert", "test", "ops").code == 1
    told = both.done("alert", "channels", "--json").out + both.done("alert", "history", "--json").out
    assert "s3ntinel" not in told
    both.done("alert", "show", first)
    assert both.done("alert", "acknowledge", first, "--json").json["state"] == "ACKNOWLEDGED"
    assert both.done("alert", "reopen", first, "--json").json["state"] == "OPEN"
    assert both.done("alert", "resolve", first, "--json").json["state"] == "RESOLVED"
    both.done("alert", "resolve", second)
    both.refused("unknown_alert", "alert", "acknowledge", "4711")
    both.refused("unknown_alert", "alert", "reopen", "4711")
    both.refused("unknown_alert", "alert", "resolve", "4711")
    assert both.done("alert", "list", "--state", "OPEN", "--json").json["items"] == []
    both.done("alert", "prefs", "--email", "admin@example.com", "--least", "ERROR", "--only", "pipeline")
    both.done("alert", "prefs", "--email", "admin@example.com", "--everything")
    both.done("alert", "lateness", "clevertap", "90")
    both.done("alert", "lateness", "clevertap")
    both.refused("unknown_pipeline", "alert", "lateness", "nothing", "5")
    both.done("alert", "remove", "ops")
    both.refused("unknown_channel", "alert", "remove", "ops")


def test_addresses_of_webhooks(both: Twins, files: Path):
    both.refused("not_pushed", "hooks", "rotate", "clevertap")
    both.done("apply", files / "hooks.yaml")
    assert "has no address" in both.done("hooks", "show", "told").out
    both.done("hooks", "rotate", "told")
    assert both.done("hooks", "show", "told", "--json").json["created_at"] is not None
    both.done("hooks", "revoke", "told")
    both.done("hooks", "show", "told")
    both.refused("unknown_pipeline", "hooks", "show", "nothing")


def test_single_sign_on(both: Twins, files: Path):
    both.done("sso", "show")
    with provider() as idp:
        given = ("--issuer", idp.issuer, "--client-id", CLIENT_ID)
        both.done("sso", "set", *given, "--secret-stdin", "--domain", "example.com", given=CLIENT_SECRET)
        both.refused("no_domains", "sso", "set", *given, "--just-in-time")
        again = both.done("sso", "set", *given, "--domain", "example.com", "--just-in-time", "--json")
        assert (again.json["single_sign_on"]["just_in_time"], CLIENT_SECRET in again.out) == (True, False)
        both.refused("unknown_role", "sso", "set", *given, "--role", "KING")
    assert CLIENT_SECRET not in both.done("sso", "show", "--json").out
    with saml_provider(lambda: "") as idp:
        metadata = files / "idp.xml"
        metadata.write_text(idp.metadata())
        both.refused("no_public_url", "sso", "set", "--saml", metadata)
        both.done("settings", "set", "public_url=https://millrace.example.com")
        told = both.done("sso", "set", "--saml", metadata, "--domain", "example.com", "--email-attribute", "mail")
        assert "https://millrace.example.com/api/millrace/v1/session/single-sign-on/saml/metadata" in told.out
        assert both.done("sso", "show", "--json").json["single_sign_on"]["protocol"] == "saml"
        both.done("sso", "set", "--saml", f"{idp.entity_id}/metadata")
        both.refused("bad_metadata", "sso", "set", "--saml", f"{idp.entity_id}/nowhere")
        both.refused("no_file", "sso", "set", "--saml", files / "nothing.xml")
        both.refused("no_provider", "sso", "set", "--saml", metadata, "--issuer", idp.entity_id)
        both.refused("no_provider", "sso", "set", "--issuer", idp.entity_id)
    both.done("sso", "off")
    both.done("sso", "show")
    both.done("sso", "off")


def test_how_much_is_read_and_loaded(both: Twins):
    both.done("usage", "limit", "1k", "--pipeline", "clevertap", "--pause")
    both.done("usage", "limit", "2M", "--sideline", "--grace", "24", "--json")
    both.done("usage", "limits")
    assert both.ask("usage", "limit", "lots").code == both.ask("usage", "limit", "5", "--per", "day").code == 2
    both.done("usage", "lift")
    both.done("usage", "lift", "--pipeline", "clevertap")
    both.refused("unknown_pipeline", "usage", "lift", "--pipeline", "nothing")
    both.done("usage", "window")
    both.done("usage", "window", "200k", "--minutes", "10")
    assert both.done("usage", "window", "--json").json["rows"] == 200_000
    both.done("usage", "lift-window")
    both.done("usage", "watch", "clevertap", "--times", "3", "--intervals", "4")
    both.done("usage", "watch", "clevertap", "--json")
    both.refused("unknown_pipeline", "usage", "watch", "nothing")


def test_what_becomes_of_the_names_in_a_file_is_told_before_anything_is_saved(both: Twins):
    file = both.here.folder / "names.csv"
    both.there.folder.joinpath(file.name).write_text(NAMES)
    file.write_text(NAMES)
    said = both.done("sources", "names", "clevertap", file)
    assert "4 names will be read; 1 cannot be exported; 1 row with a name that is in the file before." in said.out
    told = both.done("sources", "names", "clevertap", file, "--json").json
    assert [row["fate"] for row in told["rows"]] == ["read", "not_exportable", "twice", "read", "read", "read"]
    assert (told["read"], told["not_exportable"], told["twice"], len(told["warnings"])) == (4, 1, 1, 4)
    rest = both.done("sources", "names", "clevertap", file, "--not-read", "--json").json
    assert [(row["name"], row["fate"]) for row in rest["rows"]] == [
        ("Notification Sent", "not_exportable"),
        ("Charged", "twice"),
    ]
    both.refused("no_names", "sources", "names", "postgres", file)
    both.refused("unknown_type", "sources", "names", "clevertab", file)
    both.refused("usage", "sources", "names", "clevertap", both.here.folder / "nowhere.csv")
    both.refused("usage", "sources", "names", "clevertap", file, file)
    both.refused("missing", "sources", "names", "clevertap")
    base = f"base_url={both.here.simulator.base_url}"
    project = ["project_id=SIM-EU1-0001", "passcode=SECRET-7f3-zz", base]
    several = both.done("sources", "names", "clevertap", file, "event_source=both", *project)
    assert "the file" in several.out and "the schema" in several.out
    schema = both.done("sources", "names", "clevertap", "event_source=schema", *project, "--json").json
    assert {row["comes_from"] for row in schema["rows"]} == {"schema"}
    # Settings and passcode of a saved source.
    assert (
        both.done("sources", "names", "clevertap", "--source", "clevertap", "event_source=schema", "--json").json
        == schema
    )
    both.there.folder.joinpath(file.name).write_text("<html>")
    file.write_text("<html>")
    both.refused("events_file", "sources", "names", "clevertap", file)


def test_connections(both: Twins):
    both.done("sources", "add", "another", "webhook", "event_name=things")
    both.refused("name_taken", "sources", "add", "another", "webhook")
    both.refused("unknown_type", "sources", "add", "third", "clevertab")
    changed = both.done("sources", "change", "another", "id_path=id", "--json").json["config"]
    assert (changed["id_path"], changed["event_name"]) == ("id", "things")
    both.done("sources", "remove", "another")
    both.refused("unknown_source", "sources", "remove", "another")
    both.done("destinations", "add", "lake", "folder", "path=/tmp/no-such-lake", "--json")
    both.done("destinations", "change", "lake", "path=/tmp/no-other-lake")
    both.refused("unknown_key", "destinations", "change", "lake", "no_such=1")
    both.done("destinations", "remove", "lake")
    both.refused("unknown_destination", "destinations", "remove", "lake")
    both.refused("in_use", "sources", "remove", "clevertap")


def test_keys_and_links_that_are_shown_once(both: Twins):
    both.done("key", "create", "--email", "admin@example.com", "--name", "robot", "--scope", "view", "--days", "2")
    both.done("key", "list", "--email", "observer@example.com")
    observer, _ = both.server.keys.observer
    both.done("key", "delete", observer)
    both.refused("unknown_key_pair", "key", "delete", observer)
    both.refused("unknown_permission", "key", "create", "--email", "admin@example.com", "--scope", "everything")
    both.done("user", "invite", "--email", "finn@example.org")
    both.done("user", "link", "finn@example.org")
    both.refused("email_taken", "user", "invite", "--email", "finn@example.org")
    several = ("--email", "gil@example.org", "--email", "finn@example.org", "--email", "nobody", "--role", "OBSERVER")
    told = both.ask("user", "invite", *several, "--json")
    assert told.code == 1
    said = [(one["email"], one["link"] and one["link"]["purpose"], one["problem"] and one["problem"]["code"])
            for one in told.json]  # fmt: skip
    assert said[:2] == [("gil@example.org", "invite", None), ("finn@example.org", None, "email_taken")]
    assert (said[2][0], said[2][1]) == ("nobody", None)
    assert "there is a user gil@example.org already" in both.ask("user", "invite", *several).err
    both.refused("unknown_role", "user", "invite", "--email", "a@b.example", "--email", "c@d.example", "--role", "KING")


def test_runs_and_failed_events(both: Twins, files: Path):
    both.done("apply", files / "hooks.yaml", "--dry-run")
    both.done("run", "-q", "clevertap", "--json")
    both.done("run", "-q", "clevertap")
    both.done("load", "-q", "clevertap")
    both.refused("unknown_object", "preview", "clevertap", "Nothing")  # of rows, which come first is up to the source
    both.done("reconcile", "-q", "clevertap", "--since", "2026-03-10")
    both.refused("no_raw", "replay", "clevertap", "--since", "2026-03-10")
    for shop in (both.here, both.there):
        with Home.open(shop.home, env={}) as home, home.database.transaction() as connection:
            kept = sa.update(tables.pipelines).where(tables.pipelines.c.name == "clevertap")
            connection.execute(kept.values(options={"keep_raw_s": 30 * 86400}))
    both.done("resync", "-q", "clevertap")
    assert (
        both.done("replay", "-q", "clevertap", "--since", "2026-03-10", "--json").json["runs"][0]["kind"]
        == "RAW_REPLAY"
    )
    both.done("transform", "deploy", "clevertap", "--script", files / "fails.py")
    both.done("resync", "-q", "clevertap")
    both.done("rejects")
    rows = both.here.folder / "rejects.jsonl"
    assert both.done("rejects", "export", rows, "--object", "Events", "--json").json["rows"] > 0
    both.done("transform", "remove", "clevertap")
    assert both.done("rejects", "mend", "-q", "clevertap", rows, "--json").json["runs"][0]["balance"]["loaded"] > 0
    both.refused("file_unreadable", "rejects", "mend", "clevertap", files / "nothing.jsonl")
    both.done("rejects", "replay", "-q", "clevertap")
    both.done("rejects", "discard", "clevertap", "--yes")
    both.refused("not_confirmed", "reset", "clevertap")
    both.done("reset", "-q", "clevertap", "--yes")
