"""`millrace transform`, from a sample to a rollback, on a real home."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.cli.asking import ask
from tests.cli.conftest import Shop

GOOD = """\
from io.hevo.api import Event


def transform(event):
    p = event.getProperties()
    if p["id"] == 2:
        return None
    p["city"] = p["address"]["city"].upper()
    return [event, Event("cities", {"city": p["city"]})]
"""
EVENTS = [
    {"event_name": "people", "properties": {"id": 1, "address": {"city": "Pune"}}},
    {"event_name": "people", "properties": {"id": 2, "address": {"city": "Goa"}}},
    {"event_name": "people", "properties": {"id": 3}},
]


@pytest.fixture
def files(tmp_path: Path) -> Path:
    (tmp_path / "good.py").write_text(GOOD)
    (tmp_path / "events.jsonl").write_text("".join(json.dumps(event) + "\n" for event in EVENTS))
    (tmp_path / "chain.json").write_text(
        json.dumps({"blocks": [{"id": "b1", "type": "DROP_EVENTS", "event_filters": [
            {"on": "EVENT_FIELD", "field": "id", "op": "GREATER_THAN", "value": 2}]}]})
    )  # fmt: skip
    return tmp_path


def test_a_script_is_tried_on_a_file_without_any_pipeline(files: Path):
    asked = ask(
        "transform",
        "test",
        "--script",
        files / "good.py",
        "--events",
        files / "events.jsonl",
        "--json",
        home=files / "none",
    )
    assert asked.code == 0
    one, two, three = [json.loads(line) for line in asked.out.splitlines()]
    assert one == {
        "output": [
            {"event_name": "people", "properties": {"id": 1, "address": {"city": "Pune"}, "city": "PUNE"}},
            {"event_name": "cities", "properties": {"city": "PUNE"}},
        ],
        "error": None,
    }
    assert two == {"output": [], "error": None}
    assert (three["output"], three["error"]["code"]) == ([], "TRANSFORM_ERROR")
    assert "there is no key 'address' (line 8)" in three["error"]["message"]


def test_blocks_are_tried_on_a_file_too(files: Path):
    asked = ask(
        "transform",
        "test",
        "--blocks",
        files / "chain.json",
        "--events",
        files / "events.jsonl",
        "--json",
        home=files / "none",
    )
    assert asked.code == 0
    assert [len(json.loads(line)["output"]) for line in asked.out.splitlines()] == [1, 1, 0]


# The numbers of the reference's own example, and those that a reader of JSON might take for others.
NUMBERS = """\
{"event_name": "deals", "properties": {"price": 100, "isactive": false}}
{"event_name": "deals", "properties": {"price": 9007199254740993, "isactive": true, "total": 12345678901234567890}}
{"event_name": "deals", "properties": {"price": 100000000000000000000.5, "in": {"n": 100000000000000000000.5}}}
"""


def test_numbers_come_out_as_numbers_with_all_their_digits(files: Path):
    (files / "numbers.jsonl").write_text(NUMBERS)
    (files / "prices.json").write_text(json.dumps({"kind": "DRAG_DROP", "version": 1, "blocks": [
        {"type": "CHANGE_FIELD_VALUES", "settings": {"value": "1.2 * $self"},
         "event_filters": [{"on": "EVENT_FIELD", "field": "isactive", "op": "IS_FALSE"}],
         "field_filters": [{"on": "FIELD_NAME", "op": "IN", "value": "price"}]}]}))  # fmt: skip
    words = ["transform", "test", "--blocks", files / "prices.json", "--events", files / "numbers.jsonl"]
    asked = ask(*words, "--json", home=files / "none")
    assert [line.partition('"properties":')[2] for line in asked.out.splitlines()] == [
        '{"price":120.0,"isactive":false}}],"error":null}',
        '{"price":9007199254740993,"isactive":true,"total":12345678901234567890}}],"error":null}',
        '{"price":100000000000000000000.5,"in":{"n":100000000000000000000.5}}}],"error":null}',
    ]


def test_a_trial_reads_like_this(files: Path):
    asked = ask(
        "transform", "test", "--script", files / "good.py", "--events", files / "events.jsonl", home=files / "none"
    )
    assert "✗ TRANSFORM_ERROR: KeyError: there is no key 'address' (line 8)" in asked.out
    assert '→ cities {"city":"PUNE"}' in asked.out
    assert "3 events in, 2 out, 1 dropped, 1 failed" in asked.out


def test_a_failed_event_shows_the_way_through_the_script(files: Path):
    (files / "deep.py").write_text(
        "def city(p):\n    return p['address']['city']\n\n\n"
        "def transform(event):\n    city(event.getProperties())\n    return event\n"
    )
    words = ["transform", "test", "--script", files / "deep.py", "--events", files / "events.jsonl"]
    asked = ask(*words, "--json", home=files / "none")
    error = json.loads(asked.out.splitlines()[2])["error"]
    assert (error["line"], error["frames"]) == (2, ["line 6, in transform", "line 2, in city"])
    assert error["message"] == "KeyError: there is no key 'address' (line 2)"
    read = ask(*words, home=files / "none")
    assert "(line 2)\n    line 6, in transform\n    line 2, in city\n" in read.out


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--script", "good.py", "--blocks", "chain.json", "--events", "events.jsonl"], "exclude each other"),
        (["--events", "events.jsonl"], "no transformation is given"),
        (["--script", "good.py"], "no events are given"),
        (["--script", "nope.py", "--events", "events.jsonl"], "cannot be read"),
        (["--script", "events.jsonl", "--events", "events.jsonl"], "the script cannot be used"),
    ],
)
def test_what_cannot_be_tried_is_told(files: Path, words: list[str], told: str):
    asked = ask("transform", "test", *[files / word if "." in word else word for word in words], home=files / "none")
    assert asked.code == 2
    assert told in asked.err


@pytest.mark.parametrize(
    ("option", "text", "place"),
    [("--script", "def transform(event):\n    x =\n    return event\n", ":2"), ("--blocks", '{"blocks":\n x}', ":2:2")],
)
def test_what_is_wrong_with_a_file_is_told_with_its_name_and_line(files: Path, option: str, text: str, place: str):
    (files / "bad").write_text(text)
    words = ["transform", "test", option, files / "bad", "--events", files / "events.jsonl"]
    asked = ask(*words, home=files / "none")
    assert asked.code == 2
    assert f"\n  at {files / 'bad'}{place}\n" in asked.err


def test_a_chain_is_explained_as_a_script_that_does_the_same(files: Path):
    asked = ask("transform", "explain", "--blocks", files / "chain.json", home=files / "none")
    assert asked.code == 0
    (files / "chain.py").write_text(asked.out)
    again = ask(
        "transform",
        "test",
        "--script",
        files / "chain.py",
        "--events",
        files / "events.jsonl",
        "--json",
        home=files / "none",
    )
    assert [len(json.loads(line)["output"]) for line in again.out.splitlines()] == [1, 1, 0]


def test_this_machine_says_what_wall_it_has(files: Path):
    asked = ask("transform", "sandbox", "--json", home=files / "none")
    found = json.loads(asked.out)
    assert (asked.code, found["safe"]) == (0, True)


def test_a_transformation_goes_from_a_sample_to_a_rollback(shop: Shop, tmp_path: Path):
    shop.ask("run", shop.file)
    samples = shop.ask("transform", "sample", "clevertap", "--limit", "3")
    (tmp_path / "events.jsonl").write_text(samples.out)
    first = json.loads(samples.out.splitlines()[0])
    assert first["event_name"] == "Events" and "event_name" in first["properties"]
    script = tmp_path / "device.py"
    script.write_text(
        "def transform(event):\n    p = event.getProperties()\n    p['device'] = p['objectId'][:4]\n    return event\n"
    )
    trial = shop.ask("transform", "test", "clevertap", "--script", script)
    assert "adds column device VARCHAR" in trial.out
    last = shop.ask("transform", "test", "clevertap", "--script", script, "--json").out.splitlines()[-1]
    assert {"table": "events", "change": "adds column device VARCHAR"} in json.loads(last)["tables"]
    dry = shop.ask("transform", "dry-run", "clevertap", "--script", script, "--last", "50")
    assert "50 rows: 50 changed. Nothing was written." in dry.out
    (tmp_path / "two.py").write_text(
        "from millrace.api import Event\n\n\ndef transform(event):\n"
        "    return [event, Event('devices', {'device': event.getProperties()['objectId']})]\n"
    )
    split = shop.ask("transform", "dry-run", "clevertap", "--script", tmp_path / "two.py", "--last", "1").out
    assert "  → Events, unchanged\n  → devices {" in split, "an event beside another does not take its place"
    assert shop.ask("transform", "draft", "clevertap", "--script", script).code == 0
    assert "There is a draft" in shop.ask("transform", "show", "clevertap").err
    assert "version 1 is deployed" in shop.ask("transform", "deploy", "clevertap", "-m", "short names").out
    assert "short names" in shop.ask("transform", "history", "clevertap").out
    shop.ask("run", "clevertap", "--since", "2026-03-13")
    script.write_text("def transform(event):\n    return None\n")
    shop.ask("transform", "deploy", "clevertap", "--script", script)
    assert "-    p['device'] = p['objectId'][:4]" in shop.ask("transform", "diff", "clevertap", "1", "2").out
    back = shop.ask("transform", "rollback", "clevertap", "1", "-m", "names are lost")
    assert "with the text of version 1" in back.out
    assert "back to version 1: names are lost" in shop.ask("transform", "history", "clevertap").out
    assert "p['device']" in shop.ask("transform", "show", "clevertap").out
    assert shop.ask("transform", "remove", "clevertap").code == 0
    assert "rows pass as they are" in shop.ask("transform", "show", "clevertap").out
    assert [one["version"] for one in json.loads(shop.ask("transform", "history", "clevertap", "--json").out)] == [
        4,
        3,
        2,
        1,
    ]


def test_personal_data_is_found(tmp_path: Path):
    events = [{"event_name": "people", "properties": {"id": n, "who": f"ann{n}@example.org"}} for n in range(3)]
    (tmp_path / "events.jsonl").write_text("".join(json.dumps(event) + "\n" for event in events))
    asked = ask("transform", "detect", "--events", tmp_path / "events.jsonl", "--json", home=tmp_path / "none")
    (found,) = json.loads(asked.out)
    assert (found["event_name"], found["field"], found["rows"], found["share"]) == ("people", "who", 3, 1.0)
    assert "mail" in found["kind"].lower()
