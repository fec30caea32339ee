"""`millrace mapping`: what is shown, asked for and changed."""

from __future__ import annotations

import pytest
from tests.cli.conftest import Shop, opened

from millrace.simulators.clevertap import Simulator


@pytest.fixture(scope="module")
def own(simulator: Simulator, tmp_path_factory: pytest.TempPathFactory) -> Shop:
    """A shop that has run, for the tests of this module that change something; each leaves it as it was."""
    made = opened(simulator, tmp_path_factory.mktemp("mapped"))
    asked = made.ask("run", made.file)
    assert asked.code == 0, asked
    return made


def test_every_event_type_is_listed_with_its_table_and_status(shop: Shop):
    asked = shop.ask("mapping", "list", "--json")
    assert asked.code == 0, asked
    found = {one["event_type"]: one for one in asked.json["clevertap"]}
    assert found["Events"]["table"] == "events"
    assert found["Events"]["status"] == "AUTO_MAPPED"
    assert found["Events"]["mapping_status"] == "MAPPED"
    assert found["Events"]["fields"] > 3
    assert "Events" in shop.ask("mapping", "list").out
    assert shop.ask("mapping", "list", "clevertap", "--status", "SKIPPED", "--json").json == {"clevertap": []}


def test_a_mapping_is_shown_field_by_field(shop: Shop):
    asked = shop.ask("mapping", "show", "clevertap", "events")
    assert asked.code == 0, asked
    assert "auto mapping on, policy ALLOW_ALL" in asked.out
    assert "key" in asked.out


def test_an_event_type_that_is_not_there_is_told_with_the_nearest(shop: Shop):
    asked = shop.ask("mapping", "show", "clevertap", "Evnts")
    assert asked.code == 2
    assert "Did you mean 'Events'?" in asked.err


def test_whoever_names_no_event_type_is_told_where_they_are_listed(shop: Shop):
    for verb in ("show", "history", "set"):
        asked = shop.ask("mapping", verb, "clevertap")
        assert asked.code == 2
        assert "Missing argument 'EVENT_TYPE'" in asked.err
        assert f"`millrace mapping list clevertap`. See `millrace mapping {verb} --help`." in asked.err


def test_a_change_is_shown_with_its_statement_before_it_is_made(own: Shop):
    field = next(
        one
        for one in own.ask("mapping", "show", "clevertap", "Events", "--json").json["fields"]
        if not one["key"] and not one["field"].startswith("__")
    )
    change = ("mapping", "set", "clevertap", "Events", "--rename", f"{field['field']}=another_name")
    shown = own.ask(*change, "--dry-run")
    assert shown.code == 0, shown
    assert "RENAME COLUMN" in shown.out and "another_name" in shown.out
    refused = own.ask(*change)
    assert refused.code == 2
    assert "RENAME COLUMN" in refused.err and "--yes" in refused.err
    made = own.ask(*change, "--yes", "--reason", "a better word", "--json")
    assert made.code == 0, made
    assert made.json[0]["changed"] is True
    history = own.ask("mapping", "history", "clevertap", "Events", "--json").json
    assert history[0]["reason"] == "a better word"
    assert history[0]["author"]
    assert "another_name" in own.ask("mapping", "diff", "clevertap", "Events").out
    back = own.ask("mapping", "restore", "clevertap", "Events", str(history[1]["version"]), "--yes")
    assert back.code == 0, back
    assert f"another_name {field['type']} → {field['column']} {field['type']}" in back.out


def test_event_types_are_skipped_and_included_again(own: Shop):
    assert own.ask("mapping", "skip", "clevertap", "Events").code == 0
    assert own.ask("mapping", "list", "--json").json["clevertap"][0]["status"] == "SKIPPED"
    assert own.ask("mapping", "skip", "clevertap", "--all", "--json").json == []
    assert "no event type whose status allows that" in own.ask("mapping", "skip", "clevertap", "--all").out
    reset = own.ask("mapping", "reset", "clevertap", "Events", "--yes")
    assert (reset.code, reset.out) == (0, "Events stays as it is: it is skipped; include it first.\n")
    assert own.ask("mapping", "include", "clevertap", "events", "-y").code == 0
    assert own.ask("mapping", "list", "--json").json["clevertap"][0]["status"] == "AUTO_MAPPED"


def test_event_types_are_unmapped_and_mapped_automatically_again(own: Shop):
    assert own.ask("mapping", "unmap", "clevertap", "--all", "--yes", "--json").json == [], "it is mapped automatically"
    assert own.ask("mapping", "set", "clevertap", "Events", "--auto", "off", "--yes").code == 0
    assert own.ask("mapping", "unmap", "clevertap", "Events").code == 2
    assert own.ask("mapping", "unmap", "clevertap", "Events", "--yes").code == 0
    assert own.ask("mapping", "list", "--json").json["clevertap"][0]["status"] == "UNMAPPED"
    assert own.ask("mapping", "auto", "clevertap", "--all").code == 0
    back = own.ask("mapping", "restore", "clevertap", "Events", "1", "--yes")
    assert back.code == 0, back
    assert own.ask("mapping", "list", "--json").json["clevertap"][0]["status"] == "AUTO_MAPPED"


def test_a_status_that_there_is_not_is_told_with_those_that_there_are(shop: Shop):
    asked = shop.ask("mapping", "list", "--status", "BROKEN")
    assert asked.code == 2
    assert "INCOMPLETE" in asked.err


def test_who_names_no_event_type_must_say_all(shop: Shop):
    assert shop.ask("mapping", "skip", "clevertap").code == 2
    assert shop.ask("mapping", "set", "clevertap", "Events").code == 2


def test_what_is_exported_is_applied_without_a_change(own: Shop):
    written = own.ask("mapping", "export", "clevertap")
    assert written.code == 0, written
    file = own.folder / "mappings.yaml"
    file.write_text(written.out)
    asked = own.ask("mapping", "apply", file, "--json", "--yes")
    assert asked.code == 0, asked
    assert [one["changed"] for one in asked.json] == [False] * len(asked.json)


def test_a_file_is_told_all_that_is_wrong_with_its_lines(own: Shop):
    file = own.folder / "mappings.yaml"
    file.write_text("event_types:\n  Events:\n    polcy: BLOCK_ALL\n    ignored: 7\n")
    asked = own.ask("mapping", "apply", file, "--pipeline", "clevertap", "--yes")
    assert asked.code == 2
    assert "mappings.yaml:3" in asked.err and "Did you mean 'policy'?" in asked.err
    assert "mappings.yaml:4" in asked.err


def test_a_table_is_deleted_when_it_was_confirmed(own: Shop):
    refused = own.ask("mapping", "delete-table", "clevertap", "Events")
    assert refused.code == 2
    assert "what runs at once:" in refused.err and "DROP TABLE" in refused.err
    assert own.ask("query", "SELECT count(*) FROM events").code == 0
    assert own.ask("mapping", "delete-table", "clevertap", "Events", "--yes").code == 0
    assert own.ask("query", "SELECT count(*) FROM events").code != 0
