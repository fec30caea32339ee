"""What waits in an intake is read in parts, and what was refused of it is tried once more."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from millrace.connect.intake.folder import Folder
from millrace.connect.intake.frames import Entry, framed
from millrace.connect.intake.reading import Intake
from millrace.connect.source import Context, NoMemory, Reading
from millrace.data import json_text
from millrace.data.batch import Batch, Checkpoint, Item, Passed, Refused
from millrace.sources.webhook import source as webhook
from millrace.sources.webhook.config import Config

DEEP = b'{"a":' + b"[" * 300 + b"]" * 300 + b"}"


def reading(source: webhook.Source, lane: Any = "incremental", mode: Any = "merge") -> Reading:
    return Reading(source.streams()[0], lane, memory=NoMemory(), load_mode=mode)


@pytest.fixture
def source(tmp_path: Path) -> Iterator[webhook.Source]:
    """A source in whose intake five requests lie, of which three nest too deep."""
    folder = Folder(str(tmp_path))
    writer = folder.writer("p", "here")
    bodies = [DEEP, DEEP, b'{"n":1}', DEEP, b'{"n":2}']
    writer.append([framed(Entry("hook", 1700000000000, body, request_id="same")) for body in bodies])
    writer.close()
    yield webhook.Source(Config.model_validate({"id_path": "id"}), Context(intake=Intake(folder, "p")))


def refused(items: list[Item]) -> list[str]:
    return [row for item in items if isinstance(item, Refused) for row in item.rows["row"].to_pylist()]


def ids(items: list[Item]) -> list[str]:
    return [one for item in items if isinstance(item, Batch) for one in item.rows[0].to_pylist()]


def test_requests_that_nest_too_deep_do_not_gather_without_bound(
    source: webhook.Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(webhook, "ROWS", 2)
    kinds = [type(item) for item in source.read(reading(source))]
    assert kinds == [Refused, Checkpoint, Batch, Refused, Checkpoint, Batch, Checkpoint]


def test_a_replay_refuses_again_what_still_nests_too_deep_and_every_row_is_in_one_item(source: webhook.Source) -> None:
    kept = refused(list(source.read(reading(source))))
    mended = json_text.dumps({**json_text.loads(kept[0]), "body": '{"n":3}'})
    bad = [kept[1], '{"body": "[1"}', '{"other": 1}']
    items = list(source.replay(reading(source, "again"), [mended, *bad, '{"body": [{"n": 4}, {"n": 5}]}']))
    assert len(ids(items)) == len(set(ids(items))) == 3
    (again,) = [item.rows for item in items if isinstance(item, Refused)]
    assert again["row"].to_pylist() == bad
    assert {*again["stage"].to_pylist()} == {"source"}
    assert "deeper than" in again["message"][0].as_py()


def test_an_event_that_came_meanwhile_is_not_appended_twice_by_a_replay(source: webhook.Source) -> None:
    row = '{"body": {"id": 7, "n": 1}}'
    items = list(source.replay(reading(source, "again", "append"), [row, row]))
    assert len(ids(items)) == 1
    assert [item.count for item in items if isinstance(item, Passed)] == [1]
    assert [len(item.marks) for item in items if isinstance(item, Checkpoint)] == [1]


def test_an_event_has_the_id_in_a_replay_that_it_would_have_had(source: webhook.Source) -> None:
    kept = json_text.loads(refused(list(source.read(reading(source))))[0])
    twice = [
        ids(list(source.replay(reading(source, "again"), [json_text.dumps({**kept, "body": "{}"})]))) for _ in "ab"
    ]
    assert twice[0] == twice[1]
