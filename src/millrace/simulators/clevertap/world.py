"""All that a running simulator knows, shared by its endpoints; and one request on its way through it."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import field, replace
from datetime import date

import orjson

from millrace.data.dataclass import dataclass
from millrace.simulators.clevertap.chance import fraction, key
from millrace.simulators.clevertap.config import Settings
from millrace.simulators.clevertap.cursor import Cursors
from millrace.simulators.clevertap.effects import EFFECTS
from millrace.simulators.clevertap.jsontext import JSON
from millrace.simulators.clevertap.store import Project
from millrace.simulators.clevertap.walks import Walks
from millrace.simulators.clock import Clock
from millrace.simulators.faults import Faults, Rule
from millrace.simulators.journal import Journal
from millrace.simulators.server import FINE, Request, Response, Wire

JSON_TYPE: Mapping[str, str] = {"Content-Type": "application/json;charset=utf-8"}


class World:
    """The state of a simulator. Reset returns it to its beginning; the clock stays where it is."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.clock = Clock(settings.now, run=settings.clock)
        self.started = self.clock.now()
        self.faults = Faults(EFFECTS, seed=settings.seed)
        self.faults.set(settings.faults)
        self.journal = Journal([account.passcode for account in settings.accounts])
        self.cursors = Cursors(settings.seed)
        self.lock = threading.Lock()
        self.in_flight: Counter[tuple[str, str]] = Counter()
        self.busiest: Counter[tuple[str, str]] = Counter()
        self._begin()

    def _begin(self) -> None:
        settings = self.settings
        self.projects = {a.id: Project(settings, a, now=self.started) for a in settings.accounts}
        self.walks = Walks(seed=settings.seed, shards=settings.shards)
        self.served: Counter[tuple[str, str, date]] = Counter()
        self.pending: dict[int, tuple[str, str, Mapping[str, JSON], int]] = {}
        self.revoked: set[str] = set()
        self.forgotten: set[str] = set()

    def reset(self) -> None:
        """Faults, journal, walks, counts and added rows are gone; generated data is as it was."""
        self.faults.clear()
        self.journal.clear()
        with self.lock:
            old = list(self.projects.values())
            self.busiest.clear()
            self._begin()
        for project in old:
            project.close()

    def close(self) -> None:
        for project in self.projects.values():
            project.close()

    def draw(self, *what: object) -> float:
        """A fraction that depends on the seed and on ``what`` alone."""
        return fraction(key(self.settings.seed, *what))

    @contextmanager
    def slot(self, account: str, api: str) -> Generator[int]:
        """One of the concurrent requests that the account may have on this API; yields 0 when all are taken."""
        limits = self.settings.concurrency
        limit = limits.upload if api == "upload" else limits.read
        with self.lock:
            now = self.in_flight[account, api] + 1
            taken = now <= limit
            if taken:
                self.in_flight[account, api] = now
                self.busiest[account, api] = max(self.busiest[account, api], now)
        if not taken:
            yield 0
            return
        try:
            yield now
        finally:
            with self.lock:
                self.in_flight[account, api] -= 1


@dataclass(slots=True)
class Call:
    """One request while it is being answered: what is known of it so far, and what the journal will say."""

    world: World
    request: Request
    region: str
    path: str
    api: str
    params: dict[str, str]
    account: str
    passcode: str
    now_s: int
    step: str = ""
    event: str = ""
    page: int = 0
    body: JSON = None
    rules: list[Rule] = field(default_factory=list[Rule])
    notes: list[str] = field(default_factory=list[str])
    records: int = 0
    wire: Wire = FINE

    def struck(self, effect: str) -> Rule | None:
        """The rule with this effect that struck this call."""
        return next((rule for rule in self.rules if rule.effect == effect), None)

    @property
    def project(self) -> Project | None:
        """The account of this call, None when nobody knows it (or a fault made it forgotten)."""
        if self.account in self.world.forgotten:
            return None
        return self.world.projects.get(self.account)


def answer(body: JSON, status: int = 200) -> Response:
    return Response(status, orjson.dumps(body), JSON_TYPE)


def failure(status: int, error: str, code: int | str) -> Response:
    """A refusal in the shape that CleverTap gives it; ``status`` may well be 200."""
    return answer({"status": "fail", "error": error, "code": code}, status)


def invalid_credentials() -> Response:
    return failure(401, "Invalid Credentials", 401)


def with_wire(response: Response, wire: Wire) -> Response:
    return replace(response, wire=wire)
