"""A run that dies at any point of its way, and then runs again, ends with the rows of an undisturbed one (I8)."""

from __future__ import annotations

import gc
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.crash.points import Killed, Points, counting
from tests.e2e.world import PROJECT, START, World, event, simulator
from tests.postgres import Database

from millrace.control import rejects
from millrace.control.home import Home
from millrace.simulators.clevertap import Simulator

NAMES = ("Charged", "Search", "Broken")
KINDS = [("duckdb", "merge"), ("duckdb", "append"), ("postgres", "merge"), ("postgres", "append")]


@dataclass(frozen=True)
class Outcome:
    """What a user can see when all is done: rows of the table, and open rejects by code."""

    rows: list[dict[str, Any]]
    rejected: Counter[str]


@pytest.fixture(scope="module")
def project() -> Iterator[Simulator]:
    """Two days of a project: copies, a row that comes late, a profile that changes, a time that is none."""
    started = simulator(account={"events": NAMES})
    later = START + timedelta(days=1)
    started.add_events(
        PROJECT,
        [
            *(
                event("Charged", START - timedelta(days=n), f"__{n}", Amount=n) | {"copies": 1 + n % 2}
                for n in (1, 2, 17)
            ),
            *(event("Search", START - timedelta(days=n), f"__{n}") for n in (1, 20)),
            event("Broken", START - timedelta(days=1)),
            event("Charged", START - timedelta(days=3), "__late") | {"visible_at": later - timedelta(hours=1)},
            event("Search", later - timedelta(hours=2), "__new") | {"visible_at": later - timedelta(hours=1)},
        ],
    )
    started.faults.set([{"effect": "bad_ts", "event": "Broken", "form": "impossible", "records": 0}])
    yield started
    started.stop()


class Trial:
    """Both days of the project, run by a Millrace that dies at one point; ``fresh`` makes an empty destination."""

    def __init__(self, project: Simulator, folder: Path, kind: str, mode: Any, fresh: Callable[[], dict[str, Any]]):
        self.project, self.folder, self.kind, self.mode, self.fresh = project, folder, kind, mode, fresh
        self.number = 0

    def __call__(self, points: Points) -> Outcome:
        self.number += 1
        folder = self.folder / str(self.number)
        folder.mkdir()
        self.project.clock.set(START)
        world = World(self.project, folder, self.kind, self.fresh(), self.mode, {"lookback_days": 2, "window_days": 31})
        world.events(*NAMES)
        world.create()
        world.home.close()
        for day in (0, 1):
            self.project.clock.set(START + timedelta(days=day))
            with counting(points):
                died = self._run(world)
            if died:
                assert not self._run(world)
        outcome = Outcome(world.rows(), self._rejected(world))
        world.close()
        shutil.rmtree(folder)
        return outcome

    def _run(self, world: World) -> bool:
        """True when the run died. Whoever comes after knows only what is on disk."""
        world.home = Home.open(world.folder / world.home_folder, env={})
        try:
            world.run()
        except Killed:
            died = True
        else:
            died = False
        world.home.close()
        if died:
            # Connections that a dead process would have dropped.
            gc.collect()
        return died

    def _rejected(self, world: World) -> Counter[str]:
        return Counter({group.code: group.rows for group in rejects.listed(world.home)})


@pytest.fixture
def trial(request: pytest.FixtureRequest, project: Simulator, tmp_path: Path) -> Trial:
    kind, mode = request.param
    if kind == "duckdb":
        return Trial(project, tmp_path, kind, mode, dict)
    database: Database = request.getfixturevalue("database")
    made = 0

    def fresh() -> dict[str, Any]:
        nonlocal made
        made += 1
        database.run(f"CREATE SCHEMA s{made}")
        return database.settings(schema_name=f"s{made}")

    return Trial(project, tmp_path, kind, mode, fresh)


@pytest.mark.timeout(900)
@pytest.mark.parametrize("trial", KINDS, indirect=True, ids=["-".join(kind) for kind in KINDS])
def test_a_run_that_dies_anywhere_ends_like_an_undisturbed_one(trial: Trial):
    whole = Points()
    expected = trial(whole)
    assert len(expected.rows) >= 7
    assert expected.rejected == {"BAD_TIMESTAMP": 1}
    points = whole.all()
    assert {name.split()[-1] for name, _ in points} >= {"fsync", "rename", "write", "http", "commit", "execute"}
    wrong: list[str] = []
    for point in points:
        points_of_run = Points(point)
        outcome = trial(points_of_run)
        if outcome != expected:
            wrong.append(f"{point}: {len(outcome.rows)} rows, {outcome.rejected}")
    print(f"{len(points)} points")
    assert wrong == [], f"{len(wrong)} of {len(points)} points end differently"
