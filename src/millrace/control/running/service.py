"""The service without its faces, until it shall stop: threads that schedule, send alerts and look at the intake, and
workers."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING

from millrace.control.alerting import alert_outbox
from millrace.control.pipeline import simulation
from millrace.control.running import pushing
from millrace.control.scheduling import scheduler
from millrace.control.secrecy import sealing

if TYPE_CHECKING:
    from millrace.control.home import Home
    from millrace.control.running.executor import Executor

# How long workers may take to their next commits before they are ended.
PATIENCE_S = 60.0

_log = logging.getLogger("millrace.service")


def run(home: Home, executor: Executor, stopping: threading.Event, *, patience_s: float = PATIENCE_S) -> None:
    """Schedules are kept and workers live until it shall stop; then the workers end at their next commits.

    Raises Outdated when a newer version has upgraded the control database, and EnvironmentProblem at once where the
    key that seals secrets is not here.
    """
    sealing.check(home)
    sealing.renew(home)
    working = [
        threading.Thread(target=serve, args=(home, stopping), name=name, daemon=True)
        for name, serve in (("scheduler", scheduler.serve), ("alerts", alert_outbox.serve), ("pushing", pushing.serve))
    ]
    for thread in working:
        thread.start()
    simulator = simulation.Keeper(home.path)
    try:
        while not stopping.is_set():
            executor.tend()
            simulator.tend()
            if (ended := [thread.name for thread in working if not thread.is_alive()]) and not stopping.is_set():
                # They let no other error of ours through; what one met is a fault, and somebody must see it.
                home.database.check()
                _log.error("the thread %r ended; the service ends too", ended[0])
                stopping.set()
            stopping.wait(1.0)
    finally:
        stopping.set()
        executor.stop(patience_s=patience_s)
        simulator.stop()
        for thread in working:
            thread.join(timeout=patience_s)
