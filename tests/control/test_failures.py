"""Which failed rows try again by themselves, and when."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from millrace.control.failed.failures import MOST_ATTEMPTS, RESOLUTIONS, Standing, due, next_try, resolution

NOW = datetime(2026, 3, 14, 10, tzinfo=UTC)
STANDING = Standing(NOW, {"items": 4}, 2, NOW - timedelta(days=9))


@dataclass(frozen=True)
class Group:
    stage: str
    code: str
    stream: str = "items"
    attempts: int = 0
    retry_at: datetime | None = None
    created_at: datetime = NOW - timedelta(hours=1)
    mapping_version: int | None = 4
    transformation: int | None = 2


def is_due(group: Group, **changes: object) -> bool:
    return bool(due([group], replace(STANDING, **changes)))


def test_rows_of_the_mapping_try_again_when_their_mapping_or_the_transformation_is_newer():
    group = Group("mapping", "INCOMPATIBLE_TYPE")
    assert not is_due(group)
    assert is_due(group, mappings={"items": 5})
    assert not is_due(group, mappings={"items": 4, "others": 9})
    assert is_due(group, transformation=3)


def test_rows_of_the_transformation_try_again_when_it_is_newer_and_for_no_other_reason():
    group = Group("steps", "TRANSFORM_ERROR", created_at=NOW - timedelta(days=20))
    assert not is_due(group, mappings={"items": 5}, changed_at=NOW)
    assert is_due(group, transformation=3)
    assert is_due(replace(group, transformation=None), transformation=1)


def test_rows_of_the_destination_try_again_after_three_hours_then_ever_more_rarely():
    group = Group("load", "DISK_FULL", created_at=NOW)
    assert not is_due(group)
    assert not is_due(group, now=NOW + timedelta(hours=2, minutes=59))
    assert is_due(group, now=NOW + timedelta(hours=3))
    waits = [next_try("DISK_FULL", "load", attempts, NOW) for attempts in range(MOST_ATTEMPTS)]
    assert [(at - NOW) // timedelta(hours=1) for at in waits if at] == [3, 6, 12] + [24] * 7
    assert not is_due(group, transformation=9), "the destination does not depend on it"


def test_rows_try_again_when_the_destination_or_the_pipeline_was_changed_after_they_failed():
    group = Group("load", "CONSTRAINT_VIOLATION")
    assert not is_due(group, changed_at=group.created_at)
    assert is_due(group, changed_at=group.created_at + timedelta(seconds=1))


def test_after_ten_replays_only_a_person_can_ask_for_more():
    group = Group("load", "DISK_FULL", attempts=MOST_ATTEMPTS, created_at=NOW - timedelta(days=9))
    assert not is_due(group, mappings={"items": 5})
    assert is_due(replace(group, attempts=MOST_ATTEMPTS - 1))
    assert next_try("DISK_FULL", "load", MOST_ATTEMPTS, NOW) is None


def test_rows_that_a_source_refused_wait_for_a_person():
    group = Group("source", "BAD_TIMESTAMP", created_at=NOW - timedelta(days=9))
    assert not is_due(group, mappings={"items": 9}, transformation=9, changed_at=NOW)
    assert not resolution("BAD_TIMESTAMP").automatic


@pytest.mark.parametrize("code", [*RESOLUTIONS, "BAD_TIMESTAMP"])
def test_every_failure_says_who_can_cure_it_and_how(code: str):
    found = resolution(code)
    assert found.code == code
    assert found.title
    assert found.hint.endswith(".")


@pytest.mark.parametrize("code", RESOLUTIONS)
def test_every_failure_has_its_line_in_the_guide(code: str):
    found = RESOLUTIONS[code]
    again = ", ".join(found.cures) or "when you replay them"
    page = (Path(__file__).parents[2] / "docs" / "guides" / "failed-events.md").read_text("utf-8")
    assert f"| `{code}` | {found.title} | {again} | {found.hint} |" in page
