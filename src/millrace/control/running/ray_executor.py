"""Workers on the nodes of a Ray cluster. Ray places them, and says when one is gone; all else is as with processes:
they take tasks from the control database, and lose them with their leases (I4), which end when Ray says so.

Only `millrace serve --executor ray` imports Ray. No secret goes through Ray, which shows and keeps what it is given:
each node has the URL of the database and the key in its own environment.
"""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from millrace.control.books import leases
from millrace.control.home import Home
from millrace.control.running import tasks
from millrace.control.secrecy import keyring
from millrace.data.dataclass import dataclass
from millrace.errors import ConfigError, EnvironmentProblem, MillraceError, Problem

if TYPE_CHECKING:
    from collections.abc import Sequence

URL = "MILLRACE_DATABASE_URL"

# One that ended is not started again before this, so that a node that lacks something is no busy loop.
PAUSE_S = 2.0

_log = logging.getLogger("millrace.ray")


class Worker:
    """A worker in a process of its own on a node; Ray calls ``stop`` while ``work`` goes on."""

    def __init__(self) -> None:
        self._stopping = threading.Event()

    def holder(self) -> leases.Holder:
        """The machine and the process, as tasks and leases name them."""
        return leases.this_process()

    def work(self, folder: Path, number: int, workers: int, shared: bool) -> Problem | None:
        """Tasks are done until it shall stop, or a fresh worker shall go on; what this node lacks, if it cannot."""
        from millrace.control.running import worker

        logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(levelname)s %(message)s", force=True)
        try:
            with opened(folder, shared=shared) as home:
                worker.work(home, self._stopping, number=number, workers=workers)
        except MillraceError as error:
            return error.problem
        return None

    def stop(self) -> None:
        """The task at work ends at its next commit; then `work` does."""
        self._stopping.set()


def opened(folder: Path, *, shared: bool) -> Home:
    """The home as a node sees it: the folder itself where all is on one machine, else one that is made for what the
    environment says. Raises ConfigError "node_environment" when the database of the server is not named there."""
    if shared and not os.environ.get(URL):
        raise ConfigError(
            "this node of the cluster does not know the control database",
            hint=f"Set {URL}, {keyring.VARIABLE} and MILLRACE_STAGE where `ray start` is called, as for the server.",
            path=URL,
            code="node_environment",
        )
    brings_key = bool(os.environ.get(keyring.VARIABLE) or os.environ.get(keyring.CHOICE))
    return Home.open(folder, create=brings_key)


@dataclass(slots=True)
class _Running:
    """A worker as this side holds it: its actor, what tells where it is, what tells that it ended, and where it is."""

    actor: Any
    place: Any
    ended: Any
    holder: leases.Holder | None = None


class RayWorkers:
    """So many workers on a cluster, spread over its nodes, each with a core. ``workers``: None for one on each core.

    Without an address a cluster of this machine alone is made, and ends with us. Raises EnvironmentProblem "no_ray"
    where Ray is not installed, "no_cluster" where none answers; ConfigError "not_shared" for a database in a file.
    """

    def __init__(self, home: Home, workers: int | None, address: str | None = None) -> None:
        self._home = home
        self._shared = not home.database_url.startswith("sqlite")
        if address is not None and not self._shared:
            raise ConfigError(
                "workers on other machines need a control database that they reach, and this one is a file",
                hint=f"Set {URL} to a PostgreSQL database, or leave --ray-address out.",
                path="--ray-address",
                code="not_shared",
            )
        self._ray = _joined(address)
        self.workers = int(self._ray.cluster_resources().get("CPU", 1)) if workers is None else workers
        self._remote = self._ray.remote(Worker).options(
            num_cpus=1, max_concurrency=2, max_restarts=0, scheduling_strategy="SPREAD"
        )
        self._slots: list[_Running | None] = [None] * self.workers
        self._began = [float("-inf")] * self.workers

    def tend(self) -> int:
        started = 0
        for number, running in enumerate(self._slots):
            if running is not None and not self._over(number, running):
                continue
            self._slots[number] = None
            if time.monotonic() - self._began[number] < PAUSE_S:
                continue
            self._slots[number] = self._start(number)
            self._began[number] = time.monotonic()
            started += 1
        return started

    def stop(self, *, patience_s: float) -> None:
        alive = [running for running in self._slots if running is not None]
        # One that waits for a place has nothing to end.
        working = [running for running in alive if self._done(running.place)]
        for running in working:
            running.actor.stop.remote()
        ended = [running.ended for running in working]
        if ended:
            self._ray.wait(ended, num_returns=len(ended), timeout=patience_s)
        for running in alive:
            # Nothing is lost (I8); its task goes to another worker.
            self._ray.kill(running.actor)
        self._slots = [None] * self.workers
        self._ray.shutdown()

    def _start(self, number: int) -> _Running:
        actor = self._remote.remote()
        place = actor.holder.remote()
        ended = actor.work.remote(self._home.path, number, self.workers, self._shared)
        return _Running(actor, place, ended)

    def _over(self, number: int, running: _Running) -> bool:
        """Whether the worker is gone; says where it is as soon as that is known, and why it ended."""
        from ray.exceptions import RayError

        if not self._done(running.ended):
            if running.holder is None and self._done(running.place):
                holder: leases.Holder = self._ray.get(running.place)
                running.holder = holder
                _log.info("worker %s is at %s, process %s", number, holder.host, holder.pid)
            return False
        try:
            problem: Problem | None = self._ray.get(running.ended)
        except RayError as error:
            _log.warning("worker %s is gone: %s", number, type(error).__name__)
            self._lapse(running)
        else:
            if problem is not None:
                _log.error("worker %s cannot work: %s. %s", number, problem.message, problem.hint or "")
            self._ray.kill(running.actor)
        return True

    def _lapse(self, running: _Running) -> None:
        """Nobody waits for what the worker held."""
        try:
            if running.holder is not None:
                tasks.lapse(self._home.database, running.holder)
        except MillraceError as error:
            _log.warning("what it held is free when its leases end: %s", error.message)

    def _done(self, reference: Any) -> bool:
        done: Sequence[Any]
        done, _ = self._ray.wait([reference], timeout=0)
        return bool(done)


def _joined(address: str | None) -> Any:
    """Ray, connected to the cluster at the address, or to a new one of this machine."""
    # It tells its makers about its use unless told not to, and takes the signals that are ours.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    ours = {wish: signal.getsignal(wish) for wish in (signal.SIGTERM, signal.SIGINT)}
    try:
        import ray
    except ImportError as cause:
        raise EnvironmentProblem(
            "Ray is not installed",
            hint="Install it with `pip install 'millrace[ray]'`, here and on the nodes.",
            path="--executor",
            code="no_ray",
        ) from cause
    try:
        ray.init(
            # "local" and not None: a cluster that happens to run here is somebody else's.
            address=address or "local",
            namespace="millrace",
            include_dashboard=None if address else False,
            configure_logging=False,
            log_to_driver=True,
        )
    except (ConnectionError, RuntimeError, ValueError) as cause:
        raise EnvironmentProblem(
            f"no Ray cluster could be joined at {address}" if address else "no Ray cluster could be started",
            hint="Look at `ray status` there; the address is that of its head, like 10.0.0.1:6379.",
            path="--ray-address",
            code="no_cluster",
        ) from cause
    finally:
        for wish, handler in ours.items():
            signal.signal(wish, handler)
    return ray
