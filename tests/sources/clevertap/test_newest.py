"""Answers that come in another order than that in which they were true."""

from __future__ import annotations

import itertools
import json
import threading
import time
from collections.abc import Callable
from datetime import date
from typing import Any

import pytest
from tests.sources.clevertap.driver import PROJECT, Pipeline, events

from millrace.sources.clevertap import people
from millrace.sources.clevertap.newest import Newest, last_seen
from millrace.sources.clevertap.planner import Unit

DAY = date(2026, 3, 14)
UNITS = [Unit(name, DAY, DAY) for name in ("a", "b", "c")]
WHO = (1, 2)


@pytest.mark.parametrize(
    ("mode", "plans"), [("merge", ["gold"]), ("append", ["free", "gold"]), ("history", ["free", "gold"])]
)
def test_what_was_true_before_and_arrives_later_does_not_take_the_place_of_what_is_true(
    make: Callable[..., Pipeline], mode: Any, plans: list[str]
) -> None:
    pipeline = make("Charged", "Login")
    pipeline.stream, pipeline.mode = people.PROFILES, mode
    pipeline.settings["max_concurrency"] = 2
    both = [event for name in ("Charged", "Login") for event in events(name, 1, day="20260314")]
    pipeline.simulator.add_events(PROJECT, both)
    device = f"__{0:032x}"
    pipeline.simulator.set_profile(PROJECT, device, {"profileData": {"plan": "free", "said": "x" * 3000}})
    # The page of Charged is made at once and takes its time to arrive; that of Login is asked for meanwhile, or behind
    # it where each state is a row.
    slow = {"effect": "slow", "path": "/1/profiles.json"}
    pipeline.simulator.faults.set(
        [
            slow | {"event": "Charged", "step": "page", "bytes_per_s": 2000},
            slow | {"event": "Login", "step": "open", "delay_s": 0.6},
        ]
    )
    changed = threading.Timer(0.3, pipeline.simulator.set_profile, (PROJECT, device, {"profileData": {"plan": "gold"}}))
    changed.start()
    pipeline.run("historical")
    changed.join()
    assert [json.loads(row["profileData"])["plan"] for row in pipeline.log] == plans
    # Nothing is left to be mended by the next run.
    assert not pipeline.run("historical") and len(pipeline.log) == len(plans)


@pytest.mark.parametrize(
    ("answers", "newest"),
    [
        # (last seen, asked, answered); one after the other
        ([(9, 1, 2), (5, 3, 4), (5, 5, 6)], 2),
        # awaited at the same time: by when the person was last seen, then by when it was asked for
        ([(7, 1, 9), (5, 2, 3), (6, 4, 5)], 0),
        ([(5, 1, 9), (5, 2, 3), (5, 4, 5)], 2),
        ([(5, 1, 9), (6, 2, 8), (6, 3, 7)], 2),
    ],
)
def test_the_same_answer_is_the_newest_in_whatever_order_they_arrive(
    answers: list[tuple[int, int, int]], newest: int
) -> None:
    for order in itertools.permutations(range(3)):
        known = Newest()
        known._since = dict.fromkeys(UNITS, 0)
        last = None
        for at in order:
            seen, asked, answered = answers[at]
            if known.current(UNITS[at], asked, answered, [(WHO, seen)])[0]:
                last = at
        assert last == newest, order


def test_an_answer_is_forgotten_once_none_can_come_that_was_awaited_beside_it() -> None:
    known = Newest()
    for unit in UNITS[:2]:
        known.begins(unit)
    known.current(UNITS[0], time.monotonic_ns(), time.monotonic_ns(), [(WHO, 1)])
    assert known._told
    known.current(UNITS[1], time.monotonic_ns(), time.monotonic_ns(), [((3, 4), 1)])
    assert [*known._told] == [(3, 4)]
    for unit in UNITS[:2]:
        known.ends(unit)
    assert not known._told and not known._kept


@pytest.mark.parametrize(
    ("events", "devices", "seen"),
    [
        ('{"a":{"count":1,"last_seen":5},"b":{"last_seen":7}}', '[{"ls":6},{"objectId":"x"}]', 7),
        (None, '[{"ls":6}]', 6),
        ("[]", "{}", 0),
        ('{"a":{"last_seen":"soon"}}', None, 0),
        (None, None, 0),
    ],
)
def test_a_person_was_last_seen_by_their_events_or_on_a_device(
    events: str | None, devices: str | None, seen: int
) -> None:
    assert last_seen(events, devices) == seen
