"""What is seen of a run while it goes on, on stderr: live on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import field
from types import FrameType
from typing import TYPE_CHECKING

from millrace.cli.text import size, span, warn
from millrace.data.dataclass import dataclass

if TYPE_CHECKING:
    from millrace.engine.meter import Meter

TICK_S = 0.1
LINE_EVERY_S = 5.0
INTERRUPTED = 130
BAR = 24
AT_A_COMMIT = "Stopping at the next commit; nothing is lost."


@dataclass(slots=True)
class Pace:
    """Rows a second, over about the last three seconds."""

    at: float
    rows: int = 0
    per_second: float = 0.0
    _past: list[tuple[float, int]] = field(default_factory=list[tuple[float, int]])

    def feel(self, now: float, rows: int) -> float:
        self._past = [(t, n) for t, n in self._past if now - t <= 3.0] or [(self.at, self.rows)]
        since, before = self._past[0]
        self._past.append((now, rows))
        self.at, self.rows = now, rows
        if now > since:
            self.per_second = max(0.0, (rows - before) / (now - since))
        return self.per_second


def facts(meter: Meter, per_second: float) -> list[str]:
    """What a person wants to know: read 12,481 · 3,100 rows/s · 4.1 MB · loaded 10,000 · 40 % done."""
    told = [f"read {meter.read:,}"]
    if per_second >= 1:
        told.append(f"{per_second:,.0f} rows/s")
    if meter.size_bytes:
        told.append(size(meter.size_bytes))
    told.append(f"loaded {meter.loaded:,}")
    if meter.filtered:
        told.append(f"filtered {meter.filtered:,}")
    if meter.rejected:
        told.append(f"rejected {meter.rejected:,}")
    if meter.progress is not None:
        told.append(f"{shared(meter.progress)} done")
    if meter.awaiting:
        told.append(f"awaiting {meter.awaiting}")
    return told


def shared(progress: float) -> str:
    """A share in percent; 100 % only when it is done."""
    return "100 %" if progress >= 1 else f"{min(99, int(progress * 100))} %"


def line(name: str, meter: Meter, pace: Pace, began: float, now: float) -> str:
    """One line that tells all, for logs."""
    what = meter.stage or "starting"
    return " · ".join([f"{name}: {what}", *facts(meter, pace.feel(now, meter.read)), span(now - began)])


@contextmanager
def watching(name: str, meter: Meter, *, silent: bool) -> Generator[None]:
    """While inside, the meter is shown on stderr; at the end its last state is. Nothing when ``silent``."""
    if silent:
        yield
        return
    ended = threading.Event()
    show = _live if sys.stderr.isatty() and os.environ.get("TERM") != "dumb" else _lines
    watcher = threading.Thread(target=show, args=(name, meter, ended), name="progress", daemon=True)
    watcher.start()
    try:
        yield
    finally:
        ended.set()
        watcher.join()


def _lines(name: str, meter: Meter, ended: threading.Event) -> None:
    began = said = time.monotonic()
    pace = Pace(began)
    stage = ""
    while not ended.wait(TICK_S):
        now = time.monotonic()
        if now - said >= LINE_EVERY_S or (meter.stage != stage and now - said >= 1.0):
            warn(line(name, meter, pace, began, now))
            said, stage = now, meter.stage
    now = time.monotonic()
    if now - began >= LINE_EVERY_S:
        warn(line(name, meter, pace, began, now))


def _live(name: str, meter: Meter, ended: threading.Event) -> None:
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    began = time.monotonic()
    pace = Pace(began)
    spinner = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"

    def picture(turn: int) -> Text:
        now = time.monotonic()
        told = facts(meter, pace.feel(now, meter.read))
        head = Text.assemble(
            (spinner[turn % len(spinner)], "blue"), " ", (name, "bold"), f"  {meter.stage or 'starting'}"
        )
        if meter.progress is not None:
            done = int(min(1.0, meter.progress) * BAR)
            head.append("  ")
            head.append("█" * done, "cyan")
            head.append("─" * (BAR - done), "dim")
        head.append(f"  {span(now - began)}", "dim")
        return Text("\n").join([head, Text("  " + " · ".join(told))])

    with Live(picture(0), console=Console(stderr=True), auto_refresh=False, transient=True) as live:
        turn = 0
        while not ended.wait(TICK_S):
            turn += 1
            live.update(picture(turn), refresh=True)


@contextmanager
def interruptible(stopping: threading.Event, *, ending: str = AT_A_COMMIT) -> Generator[None]:
    """While inside, the first Ctrl-C (or SIGTERM) sets ``stopping``, and the second ends the process at once.

    ``ending`` says what the first one leads to.

    A handler may meet the process in the middle of a write or of a wait, so it writes past Python's streams and
    leaves the setting to a thread.

    Either way nothing committed is lost: what was not committed is read again by the next run (I8).
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    pressed = 0

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        nonlocal pressed
        pressed += 1
        if pressed > 1:
            os.write(2, b"\x1b[?25h" if sys.stderr.isatty() else b"")
            os.write(2, b"Ended at once. Nothing committed is lost; run again to go on.\n")
            os._exit(INTERRUPTED)
        threading.Thread(target=stopping.set, name="stop", daemon=True).start()
        os.write(2, f"{ending} Press Ctrl-C again to end at once.\n".encode())

    before = {number: signal.signal(number, interrupt) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
