"""Every command, on a home whose pipeline reads a simulated project."""

from __future__ import annotations

import csv
import io
import json
import shlex
import signal
from datetime import date
from pathlib import Path
from typing import Any

import duckdb
import pytest
import typer
import yaml
from tests.cli.asking import ask, spawn
from tests.cli.conftest import ACCOUNT, NOW, Shop
from typer.main import get_command

from millrace.cli.main import commands
from millrace.cli.simulate import whole
from millrace.control.reconciling.reconciliation import Reconciliation, Unlike, Values

FIRST = date(2026, 2, 12)


def truth(shop: Shop) -> int:
    """Rows that the table must hold; exact copies are one row."""
    return sum(1 for _ in shop.simulator.ledger(ACCOUNT.id, FIRST, NOW.date()))


def served(shop: Shop) -> int:
    """Rows that a whole read gives, with exact copies."""
    return sum(row.copies for row in shop.simulator.ledger(ACCOUNT.id, FIRST, NOW.date()))


def test_init_makes_a_home_and_leaves_one_that_is_there(tmp_path: Path):
    first = ask("init", "--json", home=tmp_path / "h")
    assert (first.code, first.json["home"]) == (0, str(tmp_path / "h"))
    key = (tmp_path / "h" / "key").read_bytes()
    assert ask("init", home=tmp_path / "h").code == 0
    assert (tmp_path / "h" / "key").read_bytes() == key


def test_run_of_a_file_applies_it_and_runs_and_shows_the_balance(fresh: Shop):
    asked = fresh.ask("run", fresh.file)
    assert asked.code == 0
    rows = truth(fresh)
    assert f"read {served(fresh):,} = loaded {rows:,}" in asked.out
    assert "Applied: 3 created." in asked.err
    with duckdb.connect(str(fresh.folder / "warehouse.duckdb"), read_only=True) as database:
        assert database.execute("SELECT count(*) FROM events").fetchall() == [(rows,)]


def test_a_second_run_finds_nothing_new(shop: Shop):
    (record,) = shop.ask("run", "clevertap", "--json").json["runs"]
    assert (record["status"], record["kind"], record["balance"]["loaded"]) == ("COMPLETED", "INCREMENTAL", 0)
    assert record["balance"]["even"]


def test_run_without_a_name_runs_every_pipeline(shop: Shop):
    assert [record["pipeline"] for record in shop.ask("run", "--json").json["runs"]] == ["clevertap"]


def test_days_can_be_read_once_more_without_doubling(shop: Shop):
    before = shop.ask("query", "SELECT count(*) FROM events", "--json").json["rows"]
    (record,) = shop.ask("run", "clevertap", "--since", "2026-03-10", "--only", "Events", "--json").json["runs"]
    assert record["kind"] == "REREAD"
    assert record["balance"]["read"] > 0
    assert shop.ask("query", "SELECT count(*) FROM events", "--json").json["rows"] == before


def test_a_full_run_reads_everything_anew_and_swaps(fresh: Shop):
    fresh.ask("run", fresh.file)
    (record,) = fresh.ask("run", "clevertap", "--full", "--json").json["runs"]
    rows = truth(fresh)
    assert (record["kind"], record["balance"]["loaded"]) == ("RESYNC_WITH_DROP_AND_LOAD", rows)
    assert fresh.ask("query", "SELECT count(*) FROM events", "--json").json["rows"] == [[rows]]


def test_full_and_since_exclude_each_other(shop: Shop):
    asked = shop.ask("run", "clevertap", "--full", "--since", "2026-03-10", "--json")
    assert (asked.code, asked.json["error"]["code"]) == (2, "usage")


@pytest.mark.parametrize("verb", ["run", "reconcile", "replay"])
@pytest.mark.parametrize("text", ["foo", "31.01.2026", "2026-13-01", "20260131", "2026-W05-1"])
def test_a_day_that_is_none_is_told_with_the_way_to_write_one(shop: Shop, verb: str, text: str):
    asked = shop.ask(verb, "clevertap", "--since", text)
    assert asked.code == 2
    assert repr(text) in asked.err
    assert "2026-01-31" in asked.err
    assert "%Y" not in asked.err


def test_a_replay_of_a_pipeline_that_is_not_there_says_so_before_it_asks_for_a_day(shop: Shop):
    asked = shop.ask("replay", "clevertab", "--json")
    assert (asked.code, asked.json["error"]["code"]) == (2, "unknown_pipeline")


def test_load_has_nothing_to_do_when_nothing_waits(shop: Shop):
    (record,) = shop.ask("load", "clevertap", "--json").json["runs"]
    assert (record["kind"], record["status"]) == ("LOAD", "COMPLETED")


def test_status_tells_how_far_reading_and_loading_are(shop: Shop):
    (status,) = shop.ask("status", "--json").json
    (stream,) = status["streams"]
    (table,) = stream["tables"]
    assert (status["waiting_rows"], stream["history"], table["loaded"]) == (0, 1.0, table["staged"])
    asked = shop.ask("status", "clevertap")
    assert "history 100 %" in asked.out
    assert f"loaded up to segment {table['loaded']} of {table['staged']}" in asked.out
    assert "every 6h" in asked.out


def test_runs_are_listed_newest_first_and_shown_whole(shop: Shop):
    listed = shop.ask("runs", "--json").json
    assert [one["id"] for one in listed] == sorted((one["id"] for one in listed), reverse=True)
    assert "historical" in shop.ask("runs", "--pipeline", "clevertap").out
    shown = shop.ask("runs", "1")
    assert "clevertap run 1: completed" in shown.out
    assert shop.ask("runs", "1", "--json").json["balance"]["even"]


def test_a_run_that_is_not_there_is_told(shop: Shop):
    asked = shop.ask("runs", "4711", "--json")
    assert (asked.code, asked.json["error"]["code"]) == (2, "unknown_run")


def test_connections_are_listed_and_shown_without_their_secrets(shop: Shop):
    (source,) = shop.ask("sources", "--json").json
    assert (source["name"], source["type"], source["pipelines"]) == ("clevertap", "clevertap", ["clevertap"])
    assert source["secrets"] == ["passcode"]
    assert "(secret, set)" in shop.ask("sources", "show", "clevertap").out
    assert "warehouse" in shop.ask("destinations", "list").out
    assert "clevertap" in shop.ask("sources", "types").out
    assert {"duckdb"} <= {one["type"] for one in shop.ask("destinations", "types", "--json").json}


def test_a_connection_is_added_changed_and_removed(tmp_path: Path):
    home = tmp_path / "home"
    env = {"PASS": "SECRET-7f3-zz"}
    words = ["project_id=AAA-BBB-CCCC", "passcode=${PASS}", "event_source=schema", "window_days=3"]
    added = ask("sources", "add", "ct", "clevertap", *words, "--json", home=home, env=env)
    assert added.code == 0
    assert added.json["config"] == {"project_id": "AAA-BBB-CCCC", "event_source": "schema", "window_days": "3"}
    changed = ask("sources", "change", "ct", "region=US", "window_days=", "--json", home=home)
    assert changed.json["config"] == {"project_id": "AAA-BBB-CCCC", "event_source": "schema", "region": "US"}
    assert changed.json["secrets"] == ["passcode"]
    assert ask("sources", "remove", "ct", home=home).code == 0
    assert ask("sources", "--json", home=home).json == []
    assert b"SECRET-7f3-zz" not in b"".join(file.read_bytes() for file in home.rglob("*") if file.is_file())


def test_a_secret_that_is_of_no_use_any_more_is_let_go_of(tmp_path: Path):
    words = ["url=s3://bucket/in", "format=csv", "access_key_id=A", "secret_access_key=SECRET-7f3-zz"]
    assert ask("sources", "add", "in", "files", *words, home=tmp_path / "home").out
    gone = ["format=", "access_key_id=", "secret_access_key="]
    changed = ask("sources", "change", "in", *gone, "--json", home=tmp_path / "home")
    assert (changed.json["config"], changed.json["secrets"]) == ({"url": "s3://bucket/in"}, [])


def test_a_connection_that_cannot_be_is_told(tmp_path: Path):
    def add(*words: str) -> tuple[int, str]:
        asked = ask("sources", "add", "ct", *words, "--json", home=tmp_path / "home")
        return asked.code, asked.json["error"]["code"]

    assert add("clevertab") == (2, "unknown_type")
    assert add("clevertap", "event_source=schema", "project_id=A", "passcode=B", "regoin=EU") == (2, "unknown_key")
    assert add("clevertap", "region") == (2, "usage")
    assert add("clevertap", "passcode=${NOT_SET}") == (2, "missing_variable")


def test_a_connection_in_use_stays(shop: Shop):
    asked = shop.ask("sources", "remove", "clevertap", "--json")
    assert (asked.code, asked.json["error"]["code"]) == (2, "in_use")


def test_check_tests_connections_and_fails_with_a_code(shop: Shop, tmp_path: Path):
    good = shop.ask("check", "--json")
    assert good.code == 0
    assert {(one["kind"], one["passed"]) for one in good.json} == {("source", True), ("destination", True)}
    home = tmp_path / "home"
    words = ["project_id=SIM-EU1-0001", "passcode=wrong", "event_source=schema", f"base_url={shop.simulator.base_url}"]
    assert ask("sources", "add", "ct", "clevertap", *words, home=home).code == 0
    bad = ask("check", "ct", home=home, env=shop.env)
    assert bad.code == 1
    assert "✗" in bad.out
    assert shop.ask("check", "nothing").code == 2


def test_discover_lists_what_a_source_offers(shop: Shop):
    offer, *others = shop.ask("discover", "clevertap", "--json").json
    assert (offer["extra"], {one["extra"] for one in others}) == (False, {True})
    assert (offer["name"], offer["key"], offer["historical"]) == ("Events", ["__hevo_id"], True)
    assert "event_props" in shop.ask("discover", "clevertap").out


def test_preview_shows_rows_and_remembers_nothing(shop: Shop):
    before = shop.ask("status", "--json").json[0]["streams"][0]["lanes"]
    asked = shop.ask("preview", "clevertap", "--limit", "3", "--json")
    assert len(asked.json["rows"]) == 3
    assert "3 rows" in shop.ask("preview", "clevertap", "Events", "-n", "3").out
    assert shop.ask("status", "--json").json[0]["streams"][0]["lanes"] == before


def test_query_answers_as_table_csv_and_json(shop: Shop, tmp_path: Path):
    sql = "SELECT 1 AS a, 'x,y' AS b, NULL::INT AS c, 0.10::DECIMAL(5,2) AS d"
    table = shop.ask("query", sql).out.splitlines()
    assert table[-2].split() == ["1", "x,y", "-", "0.10"]
    numbers = shop.ask("query", "SELECT 20260314100000 AS a, -1234567 AS b, 0.00012345::DOUBLE AS c").out.splitlines()
    assert numbers[-2].split() == ["20260314100000", "-1234567", "0.00012345"]
    moments = "SELECT TIMESTAMP '2026-03-14 09:15:02.5' AS a, TIMESTAMPTZ '2026-03-14 09:15:02+01' AS b, true AS c"
    assert (
        shop.ask("query", moments).out.splitlines()[-2] == "2026-03-14 09:15:02.500000  2026-03-14 08:15:02 UTC  true"
    )
    assert shop.ask("query", sql, "--json").json["rows"] == [[1, "x,y", None, "0.10"]]
    assert shop.ask("query", sql, "--format", "json").json["columns"][0]["name"] == "a"
    file = tmp_path / "rows.csv"
    assert shop.ask("query", sql, "--output", file).code == 0
    assert list(csv.reader(io.StringIO(file.read_text()))) == [["a", "b", "c", "d"], ["1", "x,y", "", "0.10"]]
    wrong = shop.ask("query", "SELEC 1", "--json")
    assert wrong.code == 2
    assert shop.ask("query", sql, "--output", tmp_path / "no" / "rows.csv").code == 3


def test_rejects_are_listed_shown_exported_replayed_and_discarded(fresh: Shop, tmp_path: Path):
    fresh.simulator.faults.set([{"step": "page", "times": 2, "effect": "bad_ts"}])
    try:
        ran = fresh.ask("run", fresh.file)
    finally:
        fresh.simulator.faults.set([])
    assert ran.code == 0
    assert "rejected" in ran.out
    groups = fresh.ask("rejects", "--json").json
    rows = sum(group["rows"] for group in groups)
    assert rows > 0
    assert groups[0]["stage"] == "source"
    assert groups[0]["code"] in fresh.ask("rejects", "list", "--pipeline", "clevertap").out
    shown = fresh.ask("rejects", "show", "--limit", "1", "--json").json
    assert len(shown) == 1
    file = tmp_path / "rejects.jsonl"
    assert fresh.ask("rejects", "export", file).code == 0
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    assert len(lines) == rows
    assert fresh.ask("rejects", "export", "--run", "1").out.count("\n") == rows
    assert fresh.ask("rejects", "export", "--json").json == lines
    assert fresh.ask("rejects", "export", "--run", "99", "--json").json == []
    (replayed,) = fresh.ask("rejects", "replay", "clevertap", "--json").json["runs"]
    assert replayed["kind"] == "REPLAY"
    assert replayed["balance"]["even"]
    left = sum(group["rows"] for group in fresh.ask("rejects", "--json").json)
    refused = fresh.ask("rejects", "discard", "clevertap", "--json")
    assert (refused.code, refused.json["error"]["code"]) == (2, "not_confirmed")
    assert fresh.ask("rejects", "discard", "clevertap", "--yes", "--json").json["rows"] == left
    assert fresh.ask("rejects", "--json").json == []
    assert "every row that was read could pass" in fresh.ask("rejects").out
    assert "No rejects of that choice" in fresh.ask("rejects", "list", "--stage", "load").out
    assert fresh.ask("rejects", "discard", "--yes").code == 2


def test_reconcile_compares_counts_and_finds_them_equal(shop: Shop):
    asked = shop.ask("reconcile", "clevertap", "--json")
    assert asked.code == 0
    (found,) = asked.json
    assert found["equal"]
    assert found["table_rows"] == truth(shop)
    told = shop.ask("reconcile", "clevertap", "--summary", "--since", "2026-03-01").out
    assert "Every difference has a cause" in told
    assert "App Launched" in told


STAYS = Values(1, (Unlike("all rows", "extra", 1, "1", "1", {}),))


@pytest.mark.parametrize(("ranges", "values"), [(True, None), (True, STAYS), (False, None)])
def test_the_remedy_of_a_comparison_is_a_command_that_there_is_whatever_the_names_are(
    ranges: bool, values: Values | None
):
    remedy = Reconciliation(
        "Ann's shop", "Item Viewed", "items", "UTC", (), {}, {}, ranges=ranges, values=values
    ).remedy
    program, name, *words = shlex.split(remedy)
    tree: Any = get_command(commands())
    given = tree.commands[name].make_context(name, words).params
    assert program == "millrace"
    if ranges:
        assert (name, given["pipeline"], given["only"]) == ("resync", "Ann's shop", ["Item Viewed"])
        assert given["mode"] == ("drop-and-load" if values else "evolve-and-merge")
    else:
        assert (name, given["pipeline"], given["fix"]) == ("reconcile", "Ann's shop", True)


def test_reconcile_can_order_days_to_be_read_again(fresh: Shop):
    fresh.ask("run", fresh.file)
    with duckdb.connect(str(fresh.folder / "warehouse.duckdb")) as database:
        database.execute("DELETE FROM events WHERE event_name = 'App Launched'")
    asked = fresh.ask("reconcile", "clevertap", "--json")
    assert asked.code == 1
    assert not asked.json[0]["equal"]
    mended = fresh.ask("reconcile", "clevertap", "--fix")
    assert mended.code == 0
    assert "Read once more" in mended.out
    assert fresh.ask("query", "SELECT count(*) FROM events", "--json").json["rows"] == [[truth(fresh)]]


def test_resync_reads_the_history_again_without_doubling(fresh: Shop):
    fresh.ask("run", fresh.file)
    (record,) = fresh.ask("resync", "clevertap", "--mode", "evolve-and-merge", "--json").json["runs"]
    assert (record["kind"], record["balance"]["read"]) == ("RESYNC", served(fresh))
    assert fresh.ask("query", "SELECT count(*) FROM events", "--json").json["rows"] == [[truth(fresh)]]


def test_reset_asks_before_it_forgets(fresh: Shop):
    fresh.ask("run", fresh.file)
    refused = fresh.ask("reset", "clevertap")
    assert refused.code == 2
    assert "Loaded rows stay" in refused.err
    assert fresh.ask("reset", "clevertap", "--yes", "--json").json["tables"] == ["events"]
    (record,) = fresh.ask("run", "clevertap", "--json").json["runs"]
    assert (record["kind"], record["balance"]["read"]) == ("HISTORICAL", served(fresh))
    assert fresh.ask("reset", "clevertap", "--drop-tables", "--yes").code == 0
    assert fresh.ask("query", "SELECT * FROM events").code == 2


def test_apply_tells_what_changes_and_changes_it_once(fresh: Shop):
    dry = fresh.ask("apply", fresh.file, "--dry-run", "--json").json
    assert {one["state"] for one in dry["changes"]} == {"created"}
    assert fresh.ask("status", "--json").json == []
    assert fresh.ask("apply", fresh.file).code == 0
    assert {one["state"] for one in fresh.ask("apply", fresh.file, "--json").json["changes"]} == {"unchanged"}
    fresh.file.write_text(fresh.file.read_text().replace("6h", "12h"))
    changed = fresh.ask("apply", fresh.file, "--json").json["changes"]
    assert [(one["kind"], one["fields"]) for one in changed if one["state"] == "changed"] == [
        ("pipeline", [{"key": "schedule", "before": "every 6h", "after": "every 12h"}])
    ]


def test_a_changed_secret_is_told_and_not_shown(fresh: Shop):
    fresh.ask("apply", fresh.file)
    fresh.file.write_text(fresh.file.read_text().replace("${CLEVERTAP_PASSCODE}", "other-pass-code"))
    asked = fresh.ask("apply", fresh.file)
    assert "passcode: (secret) → (secret)" in asked.out
    assert "the secret 'passcode' stands in the file" in asked.out
    assert "other-pass-code" not in asked.out + asked.err


def test_export_gives_the_file_back_with_variables_for_secrets(fresh: Shop):
    fresh.ask("apply", fresh.file)
    text = fresh.ask("export").out
    assert yaml.safe_load(text)["pipelines"]["clevertap"]["source"]["config"]["passcode"] == "${CLEVERTAP_PASSCODE}"
    other = fresh.folder / "other.yaml"
    assert fresh.ask("export", other, "--json").json["variables"] == ["CLEVERTAP_PASSCODE"]
    assert other.read_text() == text
    assert {one["state"] for one in fresh.ask("apply", other, "--json").json["changes"]} == {"unchanged"}
    assert fresh.ask("export", "--pipeline", "nothing").code == 2
    assert fresh.ask("export", fresh.folder / "no" / "such.yaml").code == 3


def test_what_was_loaded_forbids_changes_with_their_place(fresh: Shop):
    fresh.ask("run", fresh.file)
    fresh.file.write_text(fresh.file.read_text().replace("./warehouse.duckdb", "./other.duckdb"))
    asked = fresh.ask("run", fresh.file, "--json")
    assert (asked.code, asked.json["error"]["code"]) == (2, "fixed_after_load")
    assert asked.json["error"]["path"] == "pipelines.yaml:2 destinations.warehouse.path"


def test_the_schema_is_a_json_schema_that_knows_every_connector():
    schema = ask("schema").json
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert {"source_clevertap", "destination_duckdb"} <= schema["$defs"].keys()
    config = schema["$defs"]["source_clevertap"]
    assert set(config["required"]) == {"project_id", "passcode"}
    assert config["additionalProperties"] is False
    assert {"type": "string", "pattern": r"\$\{"} in config["properties"]["window_days"]["anyOf"]
    assert all(part.get("description") for part in config["properties"].values())


def test_version_tells_what_runs():
    assert ask("version").out.startswith("millrace 0.")
    told = {"millrace", "python", "platform", "native", "native_absent"}
    assert told == ask("version", "--json").json.keys()


def test_a_command_that_is_none_is_told_in_words_and_in_json():
    asked = ask("rnu")
    assert (asked.code, asked.out) == (2, "")
    assert "Did you mean 'run'" in asked.err
    assert ask("rnu", "--json").json["error"]["code"] == "usage"
    assert ask("runs", "--limit", "many", "--json").json["error"]["code"] == "usage"


def test_a_choice_that_is_none_is_told_with_those_that_there_are():
    asked = ask("mapping", "set", "shop", "orders", "--auto", "maybe")
    assert asked.code == 2
    assert "'--auto': 'maybe' is not one of 'on', 'off', 'pipeline'." in asked.err


def test_without_a_home_the_next_step_is_told(tmp_path: Path):
    asked = ask("status", home=tmp_path / "none")
    assert asked.code == 2
    assert "millrace init" in asked.err


def test_an_empty_home_offers_the_next_step(tmp_path: Path):
    home = tmp_path / "home"
    ask("init", home=home)
    for words in (["status"], ["run"], ["load"]):
        asked = ask(*words, home=home)
        assert (asked.code, "millrace run pipelines.yaml" in asked.out) == (0, True)
    assert "millrace sources add" in ask("sources", home=home).out
    assert "No run yet" in ask("runs", home=home).out


def test_a_trace_is_shown_only_on_demand(tmp_path: Path):
    asked = ask("apply", tmp_path / "none.yaml", home=tmp_path / "home")
    assert "Traceback" not in asked.err
    assert "Traceback" in ask("apply", tmp_path / "none.yaml", "--debug", home=tmp_path / "home").err


def test_quiet_says_nothing_beside_the_answer(fresh: Shop):
    assert fresh.ask("run", fresh.file, "--quiet").err == ""


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR", "line 1"),
        (b'Event name\nCharged\n"Search\nApp Launched\n', "line 3"),
        (b"<!DOCTYPE html>\n<p>Sign in</p>\n", "line 1"),
        (None, "cannot be read"),
    ],
)
@pytest.mark.parametrize("verb", ["apply", "run"])
def test_an_events_file_that_is_no_csv_is_refused_before_anything_is_saved(
    fresh: Shop, verb: str, content: bytes | None, says: str
):
    file = fresh.folder / "events.csv"
    file.unlink() if content is None else file.write_bytes(content)
    asked = fresh.ask(verb, fresh.file)
    assert asked.code == 2
    assert says in asked.err
    assert "pipelines.yaml:" in asked.err and "config.events_file" in asked.err
    assert "→" in asked.err
    assert ask("destinations", "--json", home=fresh.home).json == []


def test_a_pipeline_that_is_applied_again_has_its_events_file_looked_at_again(fresh: Shop):
    assert fresh.ask("apply", fresh.file).code == 0
    (fresh.folder / "events.csv").write_text("a,b\n1,2\n")
    assert fresh.ask("apply", fresh.file, "--dry-run").code == 2
    assert fresh.ask("apply", fresh.file).code == 2
    before = fresh.ask("sources", "--json").json
    assert fresh.ask("sources", "change", "clevertap", "window_days=3").code == 2
    assert fresh.ask("sources", "--json").json == before


def test_an_events_file_that_is_no_csv_is_told_and_nothing_is_harmed(fresh: Shop):
    fresh.ask("run", fresh.file)
    (fresh.folder / "events.csv").write_bytes(b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR")
    asked = fresh.ask("run", "clevertap", "--json")
    assert asked.code == 2
    assert asked.json["error"]["path"] == "events_file"
    assert asked.json["runs"][0]["status"] == "FAILED"
    assert fresh.ask("query", "SELECT count(*) FROM events", "--json").json["rows"] == [[truth(fresh)]]


def test_one_pipeline_that_fails_does_not_keep_the_next_from_running(fresh: Shop):
    text = fresh.file.read_text()
    _, _, second = text.partition("pipelines:\n")
    second = second.replace("  clevertap:\n", "  another:\n").replace("events.csv", "other.csv")
    text = text.replace("  clevertap:\n", "  a_first:\n").replace("${CLEVERTAP_PASSCODE}", "another")
    fresh.file.write_text(text + second.replace("6h}\n", "6h}\n    table_prefix: b\n"))
    (fresh.folder / "other.csv").write_text("Event Name\nCharged\n")
    asked = fresh.ask("run", fresh.file)
    assert asked.code == 2
    assert "✗ a_first run 1: failed" in asked.out
    assert "✓ another run 2: completed" in asked.out


def test_simulate_serves_until_ctrl_c(tmp_path: Path):
    with spawn("simulate", "clevertap", "--port", "0", "--users", "3", "--days", "2", cwd=tmp_path) as process:
        assert process.stdout and process.stderr
        said = ""
        while "Ctrl-C ends it" not in said:
            line = process.stdout.readline()
            assert line, process.stderr.read()
            said += line
        process.send_signal(signal.SIGINT)
        assert "stopped" in process.stdout.read()
    assert process.returncode == 0
    assert "passcode" in said
    assert ask("simulate", "clevertap", "--now", "yesterday", "--json").json["error"]["code"] == "usage"


def test_how_many_users_are_simulated_may_be_written_as_a_power_of_ten():
    assert [whole(text) for text in ("0", "100000", "1e5", "1.5e3")] == [0, 100_000, 100_000, 1500]
    for text in ("-1", "1.5", "many", "nan", "inf", ""):
        with pytest.raises(typer.BadParameter, match="number of users"):
            whole(text)


def test_simulate_says_in_json_all_that_a_pipeline_needs(tmp_path: Path):
    with spawn(
        "simulate", "clevertap", "--port", "0", "--users", "3", "--days", "2", "--json", cwd=tmp_path
    ) as process:
        assert process.stdout
        said = ""
        while not said.endswith("\n}\n"):
            line = process.stdout.readline()
            assert line
            said += line
        told = json.loads(said)
        assert Path(told["projects"][0]["events_file"]).read_text().startswith("Event name")
        process.send_signal(signal.SIGINT)
        assert process.stdout.read() == ""
    assert process.returncode == 0
    assert told["clock"] == "real" and told["projects"][0]["base_url"].startswith(told["url"])
    assert {*told["projects"][0]} >= {"project_id", "passcode", "timezone"}


@pytest.mark.parametrize("statement", ["DROP TABLE events", "SELEKT 1", "SELECT 1; SELECT 2"])
def test_a_statement_that_is_no_query_is_told_with_what_is_one(shop: Shop, statement: str):
    asked = shop.ask("query", statement)
    assert asked.code == 2, asked
    assert "→ Write one statement that reads" in asked.err
    assert shop.ask("query", "SELECT count(*) > 0 FROM events", "--json").json["rows"] == [[True]]


def test_a_query_whose_values_cannot_be_read_is_told(shop: Shop):
    asked = shop.ask("query", "SELECT 'a'::INT")
    assert asked.code == 2
    assert "the statement failed: Conversion Error" in asked.err
