"""A running CleverTap simulator as an object: for tests, for the demonstration, for notebooks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from datetime import date
from types import TracebackType
from typing import Literal, Self

from millrace.errors import ConfigError
from millrace.simulators.clevertap import additions, schema
from millrace.simulators.clevertap.app import App
from millrace.simulators.clevertap.config import REGIONS, Settings
from millrace.simulators.clevertap.control import servable
from millrace.simulators.clevertap.jsontext import JSON
from millrace.simulators.clevertap.live import Live
from millrace.simulators.clevertap.store import LedgerRow, Project
from millrace.simulators.clevertap.world import World
from millrace.simulators.clock import Clock
from millrace.simulators.faults import Faults
from millrace.simulators.journal import Entry
from millrace.simulators.server import Server


class Simulator:
    """Serves from ``with`` (or `start`) until its end (or `stop`), on its own threads. Port 0 takes a free one."""

    def __init__(
        self,
        settings: Settings | None = None,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        live_per_second: float = 0.0,
    ) -> None:
        self.settings = settings or Settings()
        self._world = World(self.settings)
        self._host = host
        self._server = Server(App(self._world), host=host, port=port)
        self._live = Live(self._world, per_second=live_per_second) if live_per_second else None

    def start(self) -> Self:
        self._server.start()
        if self._live is not None:
            self._live.start()
        return self

    def stop(self) -> None:
        if self._live is not None:
            self._live.stop()
        self._server.stop()
        self._world.close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def base_url(self) -> str:
        """The address of the default region (EU)."""
        return f"http://{self._host}:{self._server.port}"

    @property
    def tls_error_url(self) -> str:
        """An address where a TLS handshake fails: this server does not speak TLS."""
        return f"https://{self._host}:{self._server.port}"

    @property
    def dns_error_url(self) -> str:
        """An address whose name never resolves. Source: RFC 6761, section 6.4 (`.invalid`)."""
        return "https://clevertap.invalid"

    def url(self, region: str) -> str:
        """The address of a region. Raises ConfigError for a code that is none."""
        if region not in REGIONS:
            raise ConfigError(f"no region {region!r}", hint=f"Regions: {', '.join(REGIONS)}.")
        return f"{self.base_url}/r/{region}"

    @property
    def clock(self) -> Clock:
        return self._world.clock

    @property
    def faults(self) -> Faults:
        return self._world.faults

    def journal(self) -> list[Entry]:
        return self._world.journal.entries()

    def taken(self, account: str, api: str = "events") -> AbstractContextManager[int]:
        """While inside, another client has a request in flight: one of the account's slots on that API is taken."""
        return self._world.slot(account, api)

    def busiest(self, account: str, api: str = "events") -> int:
        """The most requests that were in flight at one time."""
        with self._world.lock:
            return self._world.busiest[account, api]

    def reset(self) -> None:
        """Faults, journal, cursors, counts and added rows are gone; the clock and the generated data stay."""
        self._world.reset()

    def add_events(self, account: str, events: Iterable[Mapping[str, JSON]]) -> None:
        """The account holds these events as well; the keys are those of `additions.add`."""
        additions.add(self._project(account), events, now_s=self.clock.epoch_s())

    def set_profile(self, account: str, object_id: str, profile: Mapping[str, JSON], *, merge: bool = False) -> None:
        """From now on reads show this profile for the device, whenever its events happened."""
        self._project(account).set_profile(object_id, profile, merge=merge)

    def ledger(
        self, account: str, frm: date | None = None, to: date | None = None, *, event: str | None = None
    ) -> Iterator[LedgerRow]:
        """The truth: what a complete walk would get now, for local days ``frm`` to ``to`` (both included).

        Without ``event``, only events that the API serves: not those it refuses, not discarded ones.
        """
        project = self._project(account)
        names = servable(self._world, project) if event is None else {event}
        seen = project.snapshot(self.clock.epoch_s())
        rows = project.ledger(self._days(project, frm, to), seen, event=event)
        return (row for row in rows if row.event_name in names)

    def counts(self, account: str, frm: date | None = None, to: date | None = None) -> Counter[tuple[str, date]]:
        """Records that complete walks would get now, by event and local day; duplicates count."""
        project = self._project(account)
        names = servable(self._world, project)
        rows = project.rows(self._days(project, frm, to), project.snapshot(self.clock.epoch_s()))
        return Counter((name, date.fromordinal(day)) for name, day, _, _ in rows if name in names)

    def served(self) -> Counter[tuple[str, str, date]]:
        """Records that left in whole pages with status 200, by account, event and local day."""
        with self._world.lock:
            return Counter(self._world.served)

    def events_csv(self, account: str, variant: Literal["events", "events_with_properties"] = "events") -> str:
        """The file of event names that a user of this account would download."""
        make = schema.events_csv if variant == "events" else schema.events_with_properties_csv
        return make(self._project(account), self.clock.epoch_s())

    def _project(self, account: str) -> Project:
        project = self._world.projects.get(account)
        if project is None:
            known = ", ".join(self._world.projects) or "none"
            raise ConfigError(f"the simulator has no account {account!r}", hint=f"Accounts: {known}.")
        return project

    def _days(self, project: Project, frm: date | None, to: date | None) -> range:
        everything = project.days(self.clock.epoch_s())
        first = everything.start if frm is None else frm.toordinal()
        return range(first, everything.stop if to is None else to.toordinal() + 1)
