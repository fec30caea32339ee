"""The scheduler as a thread that ticks: what it takes for a clock that was set back, and what holds it up."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from datetime import datetime, timedelta

import pytest
from tests.control.conftest import Desk

from millrace.control import scheduler, set_back
from millrace.control.db import Database
from millrace.control.home import Home

SOON_S = 30.0


@contextmanager
def serving(home: Home) -> Generator[threading.Thread]:
    """A scheduler at work, until the block ends."""
    stopping = threading.Event()
    thread = threading.Thread(target=scheduler.serve, args=(home, stopping), kwargs={"tick_s": 0.02})
    thread.start()
    try:
        yield thread
    finally:
        stopping.set()
        thread.join(SOON_S)
        assert not thread.is_alive()


def test_a_database_that_answers_late_is_no_clock_that_was_set_back(
    home: Home, saved: Desk, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    truly, late_s, back, answers = Database.now, 0.0, timedelta(), 0

    def now(self: Database) -> datetime:
        nonlocal answers
        time.sleep(late_s)
        answers += 1
        return truly(self) - back

    def answered(times: int) -> None:
        until, deadline = answers + times, time.monotonic() + SOON_S
        while answers < until and time.monotonic() < deadline:
            time.sleep(0.01)
        assert answers >= until

    monkeypatch.setattr(Database, "now", now)
    monkeypatch.setattr(set_back, "LEAST", timedelta(seconds=0.4))
    caplog.set_level(logging.WARNING)
    with serving(home):
        answered(20)
        late_s = 0.5
        answered(6)
        late_s = 0.0
        answered(20)
        assert "set back" not in caplog.text
        back = timedelta(seconds=30)
        answered(20)
        assert "the clock was set back by 29 s" in caplog.text or "the clock was set back by 30 s" in caplog.text
