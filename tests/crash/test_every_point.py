"""A run that dies at any point of its way, and then runs again, ends with the rows of an undisturbed one (I8)."""

from __future__ import annotations

import gc
import shutil
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Protocol

import pytest
from tests.crash.points import Killed, Points, counting
from tests.duckdb_files import staying_open
from tests.e2e.world import PROJECT, START, World, event, simulator
from tests.postgres import Database

from millrace.control.failed import rejects
from millrace.control.home import Home
from millrace.simulators.clevertap import Simulator

NAMES = ("Charged", "Search", "Broken")
DAYS = (0, 1)
KINDS = [("duckdb", "merge"), ("duckdb", "append"), ("postgres", "merge"), ("postgres", "append")]

# Points in which a destination and a load mode have a part: those between a load and our note of it are among them.
# `make crash` dies at each point for each of them; `make test` after each thing that lasts, at the others for one.
LOADING = "destination"


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
    # What lives as long as these tests do is not looked at again after each death.
    gc.collect()
    gc.freeze()
    yield started
    started.stop()


class Keeper(Protocol):
    """What a destination holds, kept under a name and brought back."""

    def keep(self, name: str) -> None: ...

    def bring_back(self, name: str) -> None: ...


class Files:
    """A destination in a file of the trial's folder is kept with it."""

    def keep(self, name: str) -> None:
        pass

    def bring_back(self, name: str) -> None:
        pass


class Templates:
    """A PostgreSQL database, kept as databases that it can be made from."""

    def __init__(self, server: Database, database: Database) -> None:
        self._server, self._name = server, database.name

    def keep(self, name: str) -> None:
        self._server.run(f'CREATE DATABASE "{self._name}_{name}" TEMPLATE "{self._name}"')

    def bring_back(self, name: str) -> None:
        self._server.run(
            f'DROP DATABASE "{self._name}" WITH (FORCE)',
            f'CREATE DATABASE "{self._name}" TEMPLATE "{self._name}_{name}"',
        )

    def drop(self) -> None:
        self._server.run(*(f'DROP DATABASE IF EXISTS "{self._name}_{day}"' for day in DAYS))


class Trial:
    """Two days of the project. Every trial of a day begins with what the days before it left, undisturbed."""

    def __init__(self, project: Simulator, folder: Path, kind: str, mode: Any, config: dict[str, Any], keeper: Keeper):
        self._project, self._folder, self._keeper = project, folder, keeper
        folder.joinpath("now").mkdir()
        settings = {"lookback_days": 2, "window_days": 31}
        self._world = World(project, folder / "now", kind, config, mode, settings)
        self._world.events(*NAMES)
        self._world.create()
        self._world.home.close()

    def undisturbed(self) -> tuple[list[Points], Outcome]:
        """The points of each day, and what stands in the end. The beginning of each day is kept."""
        passed: list[Points] = []
        for day in DAYS:
            shutil.copytree(self._folder / "now", self._folder / f"day{day}")
            self._keeper.keep(str(day))
            passed.append(Points())
            assert not self._day(day, passed[-1])
        return passed, self._outcome()

    def __call__(self, day: int, point: tuple[str, int]) -> Outcome:
        """What stands in the end, when the run of that day dies at the point, and runs again."""
        shutil.rmtree(self._folder / "now")
        shutil.copytree(self._folder / f"day{day}", self._folder / "now")
        self._keeper.bring_back(str(day))
        # An engine for the file is started once, not three times for each run; what is committed is what the next sees.
        with staying_open():
            if self._day(day, Points(point)):
                assert not self._run(self._world)
            for later in DAYS[day + 1 :]:
                assert not self._day(later, Points())
            return self._outcome()

    def _day(self, day: int, points: Points) -> bool:
        self._project.clock.set(START + timedelta(days=day))
        with counting(points):
            return self._run(self._world)

    def _outcome(self) -> Outcome:
        world = self._world
        world.home = Home.open(world.folder / world.home_folder, env={})
        outcome = Outcome(world.rows(), self._rejected(world))
        world.close()
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
def trial(request: pytest.FixtureRequest, project: Simulator, tmp_path: Path) -> Iterator[Trial]:
    kind, mode = request.param
    if kind == "duckdb":
        yield Trial(project, tmp_path, kind, mode, {}, Files())
        return
    database: Database = request.getfixturevalue("database")
    templates = Templates(request.getfixturevalue("postgres"), database)
    yield Trial(project, tmp_path, kind, mode, database.settings(), templates)
    templates.drop()


@pytest.mark.timeout(900)
@pytest.mark.parametrize("trial", KINDS, indirect=True, ids=["-".join(kind) for kind in KINDS])
def test_a_run_that_dies_anywhere_ends_like_an_undisturbed_one(
    trial: Trial, request: pytest.FixtureRequest, every_point: bool
):
    passed, expected = trial.undisturbed()
    assert len(expected.rows) >= 7
    assert expected.rejected == {"BAD_TIMESTAMP": 1}
    names = {name.split()[-1] for points in passed for name, _ in points.all()}
    assert names >= {"fsync", "rename", "write", "http", "commit", "execute"}
    wrong: list[str] = []
    first = request.node.callspec.id == "-".join(KINDS[0])
    if every_point:
        tried = [(day, point) for day in DAYS for point in passed[day].all()]
    else:
        tried = [(day, point) for day in DAYS for point in passed[day].effects() if first or LOADING in point[0]]
    assert any(LOADING in point for _, (point, _) in tried)
    for day, point in tried:
        outcome = trial(day, point)
        if outcome != expected:
            wrong.append(f"day {day}, {point}: {len(outcome.rows)} rows, {outcome.rejected}")
    print(f"{len(tried)} points")
    assert wrong == [], f"{len(wrong)} of {len(tried)} points end differently"
