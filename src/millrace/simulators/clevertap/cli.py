"""Serving the simulator from the command line, until Ctrl-C."""

from __future__ import annotations

import signal
import sys
import tempfile
import threading
from datetime import UTC, datetime
from ipaddress import ip_address
from pathlib import Path

import orjson

from millrace.data.dataclass import dataclass
from millrace.errors import ConfigError, EnvironmentProblem
from millrace.simulators.clevertap.config import AT_ONCE, Account, Settings, read
from millrace.simulators.clevertap.simulator import Simulator

PORT = 8741


@dataclass(frozen=True, slots=True)
class Project:
    """A project that is served, with what a pipeline from it needs."""

    project_id: str
    users: int
    days: int
    timezone: str
    base_url: str
    passcode: str
    events_file: str


@dataclass(frozen=True, slots=True)
class Told:
    """Where the simulator is, how its clock goes, and what is there."""

    url: str
    now: datetime
    clock: str
    projects: tuple[Project, ...]


def serve(
    config: Path | None = None,
    *,
    host: str | None = None,
    port: int | None = None,
    seed: int | None = None,
    now: datetime | None = None,
    users: int | None = None,
    days: int | None = None,
    demo: bool = False,
    as_json: bool = False,
) -> None:
    """Serves until Ctrl-C (or SIGTERM); prints the address, the credentials and the path of each events file.

    ``as_json``: all of that as one JSON document, and nothing else. Without ``host`` only this machine can connect.
    What is given here wins over ``config``; ``users`` and ``days`` hold for every account. Without ``config`` and
    ``now`` the clock runs with the real time; with ``demo`` it does so in any case, nobody waits unless ``config`` says
    so, and new events keep coming.
    Raises ConfigError for bad settings and EnvironmentProblem when the address is taken.
    """
    settings = settled(config, seed=seed, now=now, users=users, days=days, demo=demo)
    bound = host or "127.0.0.1"
    try:
        simulator = Simulator(
            settings, host=bound, port=PORT if port is None else port, live_per_second=3.0 if demo else 0.0
        )
    except OSError as exc:
        raise EnvironmentProblem(
            f"cannot listen on {bound}:{port or PORT}: {exc.strerror or exc}",
            hint="Choose another port with --port, or 0 for any free one.",
        ) from exc
    done = threading.Event()
    previous = {sig: signal.signal(sig, lambda *_: done.set()) for sig in (signal.SIGINT, signal.SIGTERM)}
    try:
        with tempfile.TemporaryDirectory(prefix="millrace-clevertap-") as folder, simulator:
            told = _told(simulator, Path(folder))
            if as_json:
                print(orjson.dumps(told, option=orjson.OPT_INDENT_2).decode(), flush=True)
            else:
                _greet(told, is_local=_is_loopback(bound))
            done.wait()
    finally:
        for sig, handler in previous.items():
            signal.signal(sig, handler)
    if not as_json:
        print("The simulator has stopped.")


def settled(
    config: Path | None,
    *,
    seed: int | None = None,
    now: datetime | None = None,
    users: int | None = None,
    days: int | None = None,
    demo: bool = False,
) -> Settings:
    """The settings of the file, or the defaults, with what was given by hand on top."""
    settings = read(config) if config is not None else Settings()
    changes: dict[str, object] = {}
    if seed is not None:
        changes["seed"] = seed
    if demo or (now is None and "now" not in settings.model_fields_set):
        # A client's today must be the simulator's, or its requests are about the future.
        changes |= {"clock": "real", "now": datetime.now(UTC)}
    if demo:
        calm = Settings.model_validate(AT_ONCE)
        changes |= {name: getattr(calm, name) for name in AT_ONCE.keys() - settings.model_fields_set}
    if now is not None:
        if now.tzinfo is None:
            raise ConfigError("--now needs a time zone", hint="For example 2026-03-14T10:00:00Z.")
        changes["now"] = now
    sizes = {name: value for name, value in (("users", users), ("days", days)) if value is not None}
    if any(value < 0 for value in sizes.values()):
        raise ConfigError("--users and --days cannot be negative")
    if sizes:
        changes["accounts"] = tuple(Account.model_validate(a.model_dump() | sizes) for a in settings.accounts)
    return settings.model_copy(update=changes)


def _told(simulator: Simulator, folder: Path) -> Told:
    """What clients need of it. The events files are in the folder."""
    projects: list[Project] = []
    for account in simulator.settings.accounts:
        path = folder / f"{account.id}-events.csv"
        path.write_text(simulator.events_csv(account.id), encoding="utf-8", newline="")
        url = simulator.url(account.region)
        size = (account.users, account.days, account.timezone)
        projects.append(Project(account.id, *size, url, account.passcode, str(path)))
    return Told(simulator.base_url, simulator.clock.now(), simulator.clock.run, tuple(projects))


def _greet(told: Told, *, is_local: bool) -> None:
    print(f"CleverTap simulator at {told.url}  (its page: {told.url}/)")
    runs = "runs" if told.clock == "real" else "stands still until it is advanced"
    print(f"Its clock says {told.now:%Y-%m-%d %H:%M:%S} UTC and {runs}.")
    for one in told.projects:
        print(f"\nProject {one.project_id}  ({one.users} users, {one.days} days, {one.timezone})")
        print(f"  base_url:    {one.base_url}")
        print(f"  passcode:    {one.passcode}")
        print(f"  events_file: {one.events_file}")
    if not is_local:
        print("\nAnyone who reaches this address can read and change it; the data is invented.", file=sys.stderr)
    print("\nCtrl-C ends it.", flush=True)


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
