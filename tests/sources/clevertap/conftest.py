"""A simulator of one quiet project for each test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from tests.sources.clevertap.driver import PASSCODE, PROJECT, START, Pipeline

from millrace.connect.http import limits
from millrace.simulators.clevertap import Account, Settings, Simulator


@pytest.fixture(autouse=True)
def _fresh_limits() -> Iterator[None]:
    limits._limiters.clear()
    yield


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[..., Pipeline]]:
    """Makes a pipeline on a simulator of its own; keyword arguments are settings of the simulator."""
    started: list[Simulator] = []

    def build(
        *names: str, account: dict[str, Any] | None = None, start: datetime = START, **simulation: Any
    ) -> Pipeline:
        project = Account(**{"id": PROJECT, "passcode": PASSCODE, "events": names, **(account or {})})
        simulator = Simulator(Settings.plain(project, now=start, **simulation)).start()
        started.append(simulator)
        pipeline = Pipeline(simulator, tmp_path, {"base_url": simulator.base_url, "timezone": project.timezone})
        pipeline.names(*names)
        return pipeline

    yield build
    for simulator in started:
        simulator.stop()
