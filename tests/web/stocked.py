"""A home with something on every screen, filled in a second or two, and people with different roles who look at it."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.control.conftest import EVENTS_CSV
from tests.control.file_notes import note, seen
from tests.control.people import PASSWORD, cheap, joined
from tests.control.sources import Script
from tests.rest.conftest import MANY, served

from millrace.control.connecting import connections
from millrace.control.home import Home
from millrace.control.people import keys, teams
from millrace.control.pipeline import lifecycle, pipelines
from millrace.control.pipeline.pipelines import Wish
from millrace.control.running import runs
from millrace.control.transforming import transformations
from millrace.errors import MillraceError, Transient
from millrace.rest.app import application

ADMIN, VIEWER, STRANGER = "ann@example.com", "obi@example.com", "sid@example.org"
SHOP = "Shop → Warehouse"
# One of its rows has no number in its name.
SCRIPT = """\
def transform(event):
    p = event.getProperties()
    p["amount"] = float(p["name"].split()[1])
    return event
"""


@dataclass(frozen=True)
class Stocked:
    """``home`` is served at ``url``: SHOP ran and has a failed event, "Broken" failed, "Idle" is paused."""

    home: Home
    url: str


@contextmanager
def stocked(folder: Path, around: Callable[[Any], Any] = lambda app: app) -> Generator[Stocked]:
    """``around``: puts something between the application and its server."""
    with Home.open(folder / "home", create=True, env={}) as home:
        cheap(home)
        _fill(home, folder)
        with served(around(application(home, limits=MANY))) as url:
            yield Stocked(home, url)


def _fill(home: Home, folder: Path) -> None:
    joined(home, ADMIN, "TEAM_ADMIN")
    joined(home, VIEWER, "OBSERVER")
    teams.create(home, "others", STRANGER, PASSWORD)
    keys.create(home, ADMIN, name="Airflow")
    (folder / "events.csv").write_text(EVENTS_CSV)
    config = {"project_id": "AAA-BBB-CCCC", "passcode": "hunter2", "events_file": str(folder / "events.csv")}
    connections.create(home, "destination", "warehouse", "duckdb", {"path": str(folder / "w.duckdb")})
    for name in (SHOP, "Broken", "Idle"):
        connections.create(home, "source", f"Source of {name}", "clevertap", config)
        pipelines.create(home, Wish(name, f"Source of {name}", "warehouse", table_prefix=f"{name[:4].lower()}_"))
    lifecycle.pause(home, "Idle")
    transformations.deploy(home, SHOP, "python", SCRIPT)
    rows = [{"id": n, "name": f"row {n}" if n != 7 else "row none"} for n in range(20)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(connections, "build_source", Script({"Orders": [rows]}).build)
        runs.run(home, SHOP)
        seen(
            home, SHOP, note("2026/orders.csv", "ingested", rows=20), note("cut.csv", "failed", error="It is cut off.")
        )
        patch.setattr(connections, "build_source", Script({"Orders": [rows]}, {("Orders", 0): _gone}).build)
        with suppress(MillraceError):
            runs.run(home, "Broken")


def _gone() -> None:
    raise Transient("the source does not answer", hint="Try again later.")
