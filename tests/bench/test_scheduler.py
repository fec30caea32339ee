"""The benchmark of the scheduler measures ticks that queue what they should."""

from __future__ import annotations

import pytest
from tests.bench import scheduler


def test_a_tick_queues_all_that_is_due_and_nothing_else(capsys: pytest.CaptureFixture[str]):
    scheduler.main(100)  # what each measure queues is asserted there
    told = capsys.readouterr().out.splitlines()
    assert len(told) == 4 and all("of the processor" in line for line in told)
