"""Where workers run: as processes of this machine (here), or on the nodes of a Ray cluster (`ray_executor`)."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol


class Executor(Protocol):
    """Keeps so many ``workers`` alive. They take tasks by themselves, so this is all that it does."""

    workers: int

    def tend(self) -> int:
        """As many workers live as shall; how many were started now."""
        ...

    def stop(self, *, patience_s: float) -> None:
        """The workers end: at their next commits, and after that time without being asked again."""
        ...


class Processes:
    """So many processes of this machine, each a worker."""

    def __init__(self, home: Path, workers: int, env: Mapping[str, str] | None = None) -> None:
        self.workers = workers
        self._home = home
        self._env = dict(os.environ if env is None else env)
        self._slots: list[subprocess.Popen[bytes] | None] = [None] * workers
        self._began: list[float] = [0.0] * workers

    @property
    def pids(self) -> list[int]:
        return [process.pid for process in self._slots if process is not None and process.poll() is None]

    def tend(self) -> int:
        started = 0
        for number, process in enumerate(self._slots):
            if process is not None and process.poll() is None:
                continue
            # One that dies at once is not started again in the same second.
            if process is not None and time.monotonic() - self._began[number] < 1.0:
                continue
            if process is not None and process.stdin is not None:
                process.stdin.close()
            self._slots[number] = self._start(number)
            self._began[number] = time.monotonic()
            started += 1
        return started

    def stop(self, *, patience_s: float) -> None:
        alive = [process for process in self._slots if process is not None and process.poll() is None]
        for process in alive:
            process.terminate()
        until = time.monotonic() + patience_s
        for process in alive:
            try:
                process.wait(timeout=max(0.1, until - time.monotonic()))
            except subprocess.TimeoutExpired:
                # Nothing is lost (I8); its task goes to another worker.
                process.kill()
                process.wait()
        for process in self._slots:
            if process is not None and process.stdin is not None:
                process.stdin.close()

    def _start(self, number: int) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "millrace.control.running.worker", "--home", str(self._home)]
        command += ["--number", str(number), "--workers", str(len(self._slots))]
        # Its stdin is a pipe from here: when this process is gone, however it went, the worker reads the end of it.
        return subprocess.Popen(  # noqa: S603  our own program, by this Python
            command, stdin=subprocess.PIPE, env=self._env, start_new_session=True
        )
