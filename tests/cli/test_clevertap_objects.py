"""The further objects of CleverTap on a home: none is read unless it is named; then all works that objects can do."""

from __future__ import annotations

from typing import Any

import yaml
from tests.cli.conftest import Shop


def rows(shop: Shop, sql: str) -> list[list[Any]]:
    return shop.ask("query", sql, "--json").json["rows"]


def named(shop: Shop, objects: Any) -> None:
    """The file of pipelines names these objects."""
    whole = yaml.safe_load(shop.file.read_text())
    whole["pipelines"]["clevertap"]["objects"] = objects
    shop.file.write_text(yaml.safe_dump(whole))


def statuses(shop: Shop) -> dict[str, str]:
    return {one["name"]: one["status"] for one in shop.ask("objects", "list", "clevertap", "--json").json}


def tables(shop: Shop) -> list[str]:
    return [name for (name,) in rows(shop, "SELECT table_name FROM information_schema.tables ORDER BY 1")]


def test_nothing_but_events_is_read_unless_it_is_named_and_including_one_names_it(fresh: Shop) -> None:
    assert fresh.ask("run", fresh.file).code == 0
    assert "profiles" not in tables(fresh)
    assert statuses(fresh)["Events"] == "SCHEDULED"
    assert {status for name, status in statuses(fresh).items() if name != "Events"} == {"NOT_INCLUDED"}
    assert fresh.ask("objects", "include", "clevertap", "profiles").code == 0
    assert fresh.ask("run", "clevertap").code == 0
    assert statuses(fresh)["profiles"] in ("QUEUED", "SCHEDULED"), "a worker, where there is one, reads it at once"
    assert rows(fresh, "SELECT count(*) > 10 FROM profiles") == [[True]]
    assert "- profiles" in fresh.ask("export").out, "what was chosen is in the file"
    assert fresh.ask("objects", "skip", "clevertap", "profiles").code == 0
    assert statuses(fresh) | {"profiles": "SKIPPED"} == statuses(fresh)


def test_people_are_read_into_a_table_and_everything_done_with_objects_works(fresh: Shop) -> None:
    named(fresh, ["Events", "profiles"])
    assert fresh.ask("run", fresh.file).code == 0
    (count,) = rows(fresh, "SELECT count(*), count(DISTINCT coalesce(identity, object_id)) FROM profiles")
    assert count[0] == count[1] > 10
    (one,) = rows(fresh, "SELECT count(*) FROM events e JOIN profiles p ON e.identity = p.identity")
    (known,) = rows(fresh, "SELECT count(*) FROM events WHERE identity IS NOT NULL")
    assert one == known, "who did something is there"
    (again,) = fresh.ask("run", "clevertap", "--only", "profiles", "--json").json["runs"]
    assert again["balance"]["staged"] == 0 and again["balance"]["read"] > 0
    assert fresh.ask("run", "clevertap", "--since", "2026-03-10", "--only", "profiles").code == 0
    for words in (["resync", "clevertap", "--object", "profiles"], ["run", "clevertap", "--full"]):
        assert fresh.ask(*words).code == 0, words
        assert rows(fresh, "SELECT count(*) FROM profiles") == [[count[0]]]
    compared = fresh.ask("reconcile", "clevertap", "--json")
    assert compared.code == 0 and [one["stream"] for one in compared.json] == ["Events"]
    assert fresh.ask("reset", "clevertap", "--yes").code == 0
    assert fresh.ask("run", "clevertap").code == 0
    assert rows(fresh, "SELECT count(*) FROM profiles") == [[count[0]]]


def test_a_pipeline_may_read_people_alone(fresh: Shop) -> None:
    named(fresh, {"profiles": {"load_mode": "append"}})
    before = len([one for one in fresh.simulator.journal() if one.api == "events"])
    assert fresh.ask("run", fresh.file).code == 0
    assert fresh.ask("run", "clevertap").code == 0
    assert len([one for one in fresh.simulator.journal() if one.api == "events"]) == before
    assert tables(fresh).count("events") == 0
    (count,) = rows(fresh, "SELECT count(*), count(DISTINCT __hevo_id) FROM profiles")
    assert count[0] == count[1] > 10, "appended once, since nobody changed"


def test_the_schema_is_read_whole_at_each_run_and_what_changed_is_loaded(fresh: Shop) -> None:
    named(fresh, ["event_schema", "user_properties"])
    assert fresh.ask("run", fresh.file).code == 0
    counted = "SELECT (SELECT count(*) FROM event_schema), (SELECT count(*) FROM user_properties)"
    ((events, properties),) = rows(fresh, counted)
    assert events > 20 and properties > 5 and tables(fresh).count("events") == 0
    ((kind, parts),) = rows(
        fresh, "SELECT status, json_array_length(properties) FROM event_schema WHERE name='Charged'"
    )
    assert kind == "Active" and parts > 3
    (again,) = fresh.ask("run", "clevertap", "--json").json["runs"]
    assert (again["balance"]["read"], again["balance"]["staged"]) == (events + properties, 0)
    for words in (
        ["run", "clevertap", "--only", "event_schema", "--since", "2026-03-10"],
        ["resync", "clevertap", "--object", "event_schema"],
        ["run", "clevertap", "--full"],
    ):
        assert fresh.ask(*words).code == 0, words
        assert rows(fresh, counted) == [[events, properties]]
    assert fresh.ask("reset", "clevertap", "--yes").code == 0
    assert fresh.ask("run", "clevertap").code == 0
    assert rows(fresh, counted) == [[events, properties]]
    assert len(fresh.ask("preview", "clevertap", "user_properties", "-n", "3", "--json").json["rows"]) == 3


def test_campaigns_and_their_reports_are_read_into_tables_and_joined(fresh: Shop) -> None:
    names = ["message_reports", "campaigns", "campaign_reports"]
    named(fresh, names)
    assert fresh.ask("run", fresh.file).code == 0
    counted = "SELECT " + ", ".join(f"(SELECT count(*) FROM {name})" for name in names)
    ((reports, planned, done),) = rows(fresh, counted)
    assert reports >= 4 and planned == 31 + 31 and done == 30, "of each day, of those to come, and without today's"
    joined = "SELECT count(*), min(sent) > 0 FROM campaigns JOIN campaign_reports USING (id) WHERE status = 'completed'"
    assert rows(fresh, joined) == [[30, True]]
    (types,) = rows(fresh, "SELECT typeof(message_id), typeof(sent), typeof(message_name) FROM message_reports LIMIT 1")
    assert types[0] == "BIGINT" and types[1] in ("INTEGER", "BIGINT") and types[2] == "VARCHAR"
    (again,) = fresh.ask("run", "clevertap", "--json").json["runs"]
    assert again["balance"]["staged"] == 0 and again["balance"]["read"] > 0
    for words in (
        ["run", "clevertap", "--only", "campaigns", "--since", "2026-03-10"],
        ["run", "clevertap", "--since", "2026-03-01"],
        ["resync", "clevertap", "--object", "message_reports"],
        ["run", "clevertap", "--full"],
    ):
        assert fresh.ask(*words).code == 0, words
        assert rows(fresh, counted) == [[reports, planned, done]]
    compared = fresh.ask("reconcile", "clevertap", "--json")
    assert "campaign" not in compared.out, "they are no matter of it"
    assert fresh.ask("reset", "clevertap", "--yes").code == 0
    assert fresh.ask("run", "clevertap").code == 0
    assert rows(fresh, counted) == [[reports, planned, done]]
    for name in names:
        assert len(fresh.ask("preview", "clevertap", name, "-n", "3", "--json").json["rows"]) == 3


def test_all_and_one_that_must_be_named_cannot_be_written_together(fresh: Shop) -> None:
    named(fresh, {"*": {}, "profiles": {}})
    refused = fresh.ask("apply", fresh.file)
    assert refused.code == 2
    assert "profiles is read only where objects are named one by one" in refused.out + refused.err


def test_people_can_be_looked_at_before_they_are_read(fresh: Shop) -> None:
    assert fresh.ask("apply", fresh.file).code == 0
    offers = {one["name"]: one for one in fresh.ask("discover", "clevertap", "--json").json}
    assert not offers["Events"]["extra"] and offers["profiles"]["extra"]
    assert [column["name"] for column in offers["profiles"]["columns"]][:2] == ["identity", "objectId"]
    assert "profiles (if named)" in fresh.ask("discover", "clevertap").out
    assert len(fresh.ask("preview", "clevertap", "profiles", "-n", "3", "--json").json["rows"]) == 3
    asked = fresh.ask("preview", "clevertap", "-n", "1", "--json").json
    assert "event_name" in [column["name"] for column in asked["columns"]], "without a name: what is read without one"
