"""From the link of a new server to rows that went through a transformation: seconds of the machine, and clicks.

A script goes the ways of a newcomer: with simulated data, and with a project of their own by the wizard. It neither
reads nor thinks, but waits for what a person would wait for: the first job, the trial, and the job that follows.
"""

from __future__ import annotations

import resource
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from tests.chromium import browser as chromium
from tests.web.newcomer import Newcomer, happened, project
from tests.web.screenshots import serving


@dataclass(frozen=True)
class Walked:
    """``clicks`` of a pointer; ``fields`` that were typed; seconds until the first rows, and until the end.

    ``worked_s``: seconds of processors, of the server with all of its processes and of the browser. ``person_s``: the
    seconds of the machine, and those of a person's hands.
    """

    clicks: int
    fields: int
    loaded_s: float
    seconds: float
    worked_s: float
    person_s: float


def walked(*, wizard: bool) -> Walked:
    """One of the ways once, in a browser and at a server of its own."""
    before = _worked_s()
    with ExitStack() as around:
        folder = Path(around.enter_context(tempfile.TemporaryDirectory())) / "home"
        simulator = around.enter_context(project(folder)) if wizard else None
        link = around.enter_context(serving(folder))
        browser = around.enter_context(chromium())
        one, began = Newcomer(browser.new_page(viewport={"width": 1440, "height": 900})), time.perf_counter()
        one.begin(link)
        if simulator is None:
            one.try_it()
        else:
            one.connect(simulator)
        loaded_s = time.perf_counter() - began
        if simulator is not None:
            happened(simulator, datetime.now(UTC) - timedelta(hours=1))
        one.transform()
        seconds = time.perf_counter() - began
    worked_s = _worked_s() - before
    return Walked(len(one.clicks), len(one.fields), loaded_s, seconds, worked_s, seconds + one.pace_s)


def _worked_s() -> float:
    """Of processes that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
