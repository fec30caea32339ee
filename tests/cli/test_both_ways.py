"""Commands that change something say and do at a server what they say and do on a home."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.cli.twins import Twins, twins

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


@pytest.fixture(scope="module")
def both(simulator: Simulator, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Twins]:
    with twins(simulator, tmp_path_factory.mktemp("twins")) as both:
        yield both


@pytest.fixture
def files(tmp_path: Path) -> Path:
    (tmp_path / "good.py").write_text(SCRIPT)
    (tmp_path / "bad.py").write_text("def transform(event):\n    return (\n")
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
