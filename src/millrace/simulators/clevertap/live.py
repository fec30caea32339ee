"""Rows that keep coming: a few events a second from the devices of the generated accounts, for demonstrations."""

from __future__ import annotations

import random
import threading

from millrace.simulators.clevertap.store import Project
from millrace.simulators.clevertap.world import World

EVENTS = ("Product Viewed", "Product Viewed", "Search", "Added To Cart", "Login")


class Live:
    """A thread that adds about ``per_second`` events a second, until stopped."""

    def __init__(self, world: World, *, per_second: float = 3.0) -> None:
        self._world = world
        self._pause_s = 1 / per_second
        self._stop = threading.Event()
        self._rng = random.Random(world.settings.seed)  # noqa: S311 - data, not secrets
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(self._pause_s):
            peopled = [project for project in self._world.projects.values() if len(project.people)]
            if peopled:
                self._one(self._rng.choice(peopled))

    def _one(self, project: Project) -> None:
        now_s = self._world.clock.epoch_s()
        event = self._rng.choice(EVENTS)
        props = {"Product ID": self._rng.randrange(200), "CT Source": "Mobile", "live": True}
        device = project.object_id(self._rng.randrange(len(project.people)))
        project.add_event(event, device, at=now_s, visible_at=now_s, event_props=props, now_s=now_s)
