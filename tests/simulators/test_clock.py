"""The clock of simulators."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

import pytest

from millrace.simulators.clock import Clock

START = datetime(2026, 3, 14, 10, tzinfo=UTC)


def test_a_frozen_clock_moves_only_when_it_is_advanced():
    clock = Clock(START)
    time.sleep(0.01)
    assert clock.now() == START
    assert clock.advance(90, hours=1, days=1) == START + timedelta(days=1, hours=1, seconds=90)
    clock.set(START - timedelta(days=1))
    assert clock.now() == START - timedelta(days=1)


def test_a_real_clock_runs_from_where_it_was_set():
    clock = Clock(START, run="real")
    clock.advance(59.95)
    time.sleep(0.1)
    assert clock.now() >= START + timedelta(seconds=60)
    assert Clock(run="real").epoch_s() == pytest.approx(time.time(), abs=2)


def test_time_does_not_go_back_by_advancing_and_needs_a_zone():
    with pytest.raises(ValueError, match="positive"):
        Clock(START).advance(-1)
    with pytest.raises(ValueError, match="time zone"):
        Clock(datetime(2026, 3, 14))
