"""A small soak, which `make long` runs; `make soak` is the large one."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.crash.soak import Plan, Soak, told


@pytest.mark.long("workers are killed again and again in test_service.py; many pipelines for a day are of `make soak`")
def test_pipelines_that_run_by_schedules_while_workers_are_killed_and_the_source_fails_lose_no_row(tmp_path: Path):
    found = Soak(Plan(pipelines=10, hours=3, step_minutes=60, kill_every=1), tmp_path).run()
    assert found.whole, told(found, 0)
    assert found.runs["COMPLETED"] > 20, told(found, 0)
    assert found.kills > 0 and found.faults > 0, told(found, 0)
    assert found.flat, told(found, 0)
