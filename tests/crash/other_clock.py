"""A server without its web application, whose clock a test sets: it is off by the seconds that a file holds.

    python -m tests.crash.other_clock HOME FILE

It schedules and works until it is ended by SIGTERM. Time that passes is that of this machine.
"""

from __future__ import annotations

import signal
import sys
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

from millrace.connect.source import SystemClock
from millrace.control.database.db import Database
from millrace.control.home import Home
from millrace.control.observing import logs
from millrace.control.running import worker
from millrace.control.scheduling import scheduler


def main() -> int:
    file, stopping = Path(sys.argv[2]), threading.Event()

    def now(self: object) -> datetime:
        del self
        return datetime.now(UTC) + timedelta(seconds=float(file.read_text()))

    for clock in (Database, SystemClock):
        setattr(clock, "now", now)  # noqa: B010  of a class that is not ours to change
    signal.signal(signal.SIGTERM, lambda *_: stopping.set())
    logs.install()
    with Home.open(Path(sys.argv[1])) as home:
        thread = threading.Thread(target=scheduler.serve, args=(home, stopping))
        thread.start()
        worker.work(home, stopping)
        thread.join()
    return 0


if __name__ == "__main__":
    sys.exit(main())
