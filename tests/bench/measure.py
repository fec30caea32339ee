"""Processes that are measured: seconds, CPU seconds and peak memory of each, and medians of several."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import median

_LOOK_S = 0.1


@dataclass(frozen=True, slots=True)
class Ran:
    """One process from start to end. ``peak_bytes`` is the most memory that it had resident, and the most that each of
    its own children had beside whenever one looked, added up: more than they had at any one moment."""

    seconds: float
    cpu_s: float
    peak_bytes: int
    output: str


class Failed(Exception):
    """A measured process did not do what it should."""


def run(words: Sequence[str], *, folder: Path | None = None, environment: dict[str, str] | None = None) -> Ran:
    """Starts a process and waits for its end.

    The kernel counts the memory of the process that is replaced at the start too, so this process must stay small
    (it does: nothing heavy is imported here) for the peak to be the child's own.
    """
    # Python keeps compiled modules where a setting of this machine might forbid it: users start with them.
    inherited = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    inherited["PYTHONPYCACHEPREFIX"] = str(Path(tempfile.gettempdir()) / f"millrace-bench-{os.getuid()}-compiled")
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        started = time.perf_counter()
        process = subprocess.Popen(words, stdout=output, stderr=errors, cwd=folder, env=inherited | (environment or {}))
        children = _Children(process.pid)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        text = output.read().decode(errors="replace")
        if process.returncode:
            errors.seek(0)
            raise Failed(f"{' '.join(words)} ended with {process.returncode}:\n{text}\n{errors.read().decode()}")
    return Ran(seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024 + children.peak_bytes(), text)


class _Children(threading.Thread):
    """Looks at the children of a process, several times a second, until it is gone."""

    def __init__(self, parent: int) -> None:
        super().__init__(daemon=True)
        self._parent = parent
        self._peaks: dict[int, tuple[bytes, int]] = {}
        self.start()

    def run(self) -> None:
        tasks = Path(f"/proc/{self._parent}/task")
        while tasks.exists():
            for child in _children(tasks):
                with suppress(OSError):  # it has just ended
                    # Until it becomes another program, a child has its parent's memory.
                    program = Path(f"/proc/{child}/cmdline").read_bytes()
                    before = self._peaks.get(child, (b"", 0))
                    peak = max(_own_bytes(child), before[1] if before[0] == program else 0)
                    if peak:
                        self._peaks[child] = program, peak
            time.sleep(_LOOK_S)

    def peak_bytes(self) -> int:
        self.join()
        return sum(peak for _, peak in self._peaks.values())


def _children(tasks: Path) -> list[int]:
    with suppress(OSError):  # the process, or a thread of it, has just ended
        return [int(child) for task in tasks.glob("*/children") for child in task.read_text().split()]
    return []


def _own_bytes(process: int) -> int:
    """The memory that a child has resident now, of pages that others have too its share. Files (the Python and the
    libraries that its parent runs too) and memory that it maps with others are its parent's."""
    for line in Path(f"/proc/{process}/smaps_rollup").read_text().splitlines():
        name, _, rest = line.partition(":")
        if name == "Pss_Anon":
            return int(rest.split()[0]) * 1024
    return 0  # it has just ended


def module(name: str, *words: str, folder: Path | None = None) -> Ran:
    """Runs a module of this benchmark with this Python."""
    return run([sys.executable, "-m", f"tests.bench.{name}", *words], folder=folder)


def turns(
    parties: dict[str, Callable[[], Ran]], repeats: int, failed: dict[str, str] | None = None
) -> dict[str, list[Ran]]:
    """Each party so many times, taking turns (A B C A B C …), so that noise of the machine meets all alike.

    ``failed`` has names of parties that may fail: the others go on without one that does, what it said stands there,
    and it has no runs.
    """
    ran: dict[str, list[Ran]] = {name: [] for name in parties}
    for _ in range(repeats):
        for name, party in parties.items():
            if failed and failed.get(name):
                continue
            try:
                ran[name].append(party())
            except Failed as error:
                if failed is None or name not in failed:
                    raise
                failed[name], ran[name] = str(error) or "failed", []
    return ran


def seconds(ran: Sequence[Ran]) -> float:
    return median(one.seconds for one in ran)


def cpu_s(ran: Sequence[Ran]) -> float:
    return median(one.cpu_s for one in ran)


def peak_bytes(ran: Sequence[Ran]) -> float:
    return median(one.peak_bytes for one in ran)
