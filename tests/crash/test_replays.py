"""A replay that dies at any point of its way, and is asked for again, ends like an undisturbed one (I8)."""

from __future__ import annotations

import gc
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from tests.crash.points import Killed, Points, counting
from tests.duckdb_files import staying_open
from tests.engine.kit import PIPELINE, Rig, items, rig, types
from tests.engine.scripted import deploy, failing

from millrace.control.failed import raw
from millrace.control.home import Home
from millrace.data.batch import Checkpoint
from millrace.errors import MillraceError

__all__ = ["deploy", "rig", "types"]

pytestmark = pytest.mark.outside

KINDS = [("rejects", "merge"), ("rejects", "append"), ("raw", "merge"), ("raw", "append")]
LONG_AGO = date(2020, 1, 1)

# One of so many points is tried by `make test`, and a different one of them in each kind; all by `make crash`.
SOME = 12


@dataclass(frozen=True)
class Outcome:
    """What a user can see when all is done: the rows of each table, and open rejects by code."""

    rows: dict[str, list[Any]]
    rejected: dict[str, int]


@dataclass
class Trial:
    """A pipeline whose rows were refused by its steps and by its table, and whose steps and table are mended since."""

    rig: Rig
    before: Path
    act: Callable[[Rig], object]

    def undisturbed(self) -> tuple[Points, Outcome]:
        self.rig.home.close()
        shutil.copytree(self.rig.folder, self.before)
        points = Points()
        assert not self._did(self.act, points)
        self._did(Rig.run)
        return points, self._outcome()

    def __call__(self, point: tuple[str, int]) -> Outcome:
        """What stands in the end, when the replay dies at the point, and a run and a replay follow."""
        shutil.rmtree(self.rig.folder)
        shutil.copytree(self.before, self.rig.folder)
        with staying_open():
            died = self._did(self.act, Points(point))
            # Runs load what waits for its load, and replay by themselves what they can.
            assert not self._did(Rig.run)
            if died:
                assert not self._did(self.act)
            return self._outcome()

    def _did(self, act: Callable[[Rig], object], points: Points | None = None) -> bool:
        """True when it died. Whoever comes after knows only what is on disk."""
        rig = self.rig
        rig.home = Home.open(rig.folder / ".millrace", env={})
        try:
            if points is None:
                act(rig)
            else:
                with counting(points):
                    act(rig)
        except Killed:
            died = True
        else:
            died = False
        rig.home.close()
        if died:
            # Connections that a dead process would have dropped.
            gc.collect()
        return died

    def _outcome(self) -> Outcome:
        rig = self.rig
        rig.home = Home.open(rig.folder / ".millrace", env={})
        rows = {
            "items": rig.rows("items", "id", "v", "n", "__hevo__ingested_at", order="ALL"),
            "moved": rig.rows("moved", "id", "v", "n", order="ALL"),
            "made": rig.rows("made", "id", order="ALL"),
        }
        outcome = Outcome(rows, rig.rejected())
        rig.home.close()
        return outcome


def judged(row: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """A row of each fate: one fails again, one is dropped, one moves, one brings another; the rest pass, changed."""
    match row["id"]:
        case 1:
            return failing(row)
        case 2:
            return []
        case 3:
            return [("moved", row)]
        case 4:
            return [("", row), ("new made", {"id": 40})]
        case _:
            return [("", row | {"n": row["n"] + 10})]


@pytest.fixture
def trial(request: pytest.FixtureRequest, rig: Rig, deploy: Any, tmp_path_factory: pytest.TempPathFactory) -> Trial:
    what, mode = request.param
    rig.change("CREATE TABLE items (id BIGINT, v VARCHAR CHECK (length(v) <= 3), n BIGINT, __hevo__ingested_at BIGINT)")
    rig.script.stream(
        "items",
        [items(*range(1, 7), v="a", n=0), items(7, 8, v="long", n=0), Checkpoint(1)],
        [items(5, v="b", n=1), items(8, 9, v="longer", n=1), Checkpoint(2)],
        [],
        key=("id",),
    )
    rig.create(mode, options={"keep_raw_s": 86400})
    deploy(lambda row: failing(row) if row["id"] < 6 and row["n"] == 0 else [("", row)])
    rig.run()
    rig.clock.advance(60)
    rig.run()
    assert rig.rejected() == {"TRANSFORM_ERROR": 5, "CONSTRAINT_VIOLATION": 4}
    rig.change("ALTER TABLE items RENAME TO old", "CREATE TABLE items AS SELECT * FROM old", "DROP TABLE old")
    deploy(judged)
    rig.clock.advance(60)
    acts: dict[tuple[str, str], Callable[[Rig], object]] = {
        ("raw", "merge"): lambda rig: raw.replay(rig.home, PIPELINE, since=LONG_AGO, clock=rig.clock),
        ("raw", "append"): lambda rig: raw.replay(rig.home, PIPELINE, into_fresh=True, clock=rig.clock),
    }
    return Trial(rig, tmp_path_factory.mktemp("before") / "it", acts.get((what, mode), Rig.replay))


@pytest.mark.timeout(600)
@pytest.mark.parametrize("trial", KINDS, indirect=True, ids=["-".join(kind) for kind in KINDS])
def test_a_replay_that_dies_anywhere_ends_like_an_undisturbed_one(
    trial: Trial, request: pytest.FixtureRequest, every_point: bool
):
    points, expected = trial.undisturbed()
    assert expected.rejected["TRANSFORM_ERROR"] == 1
    assert expected.rows["moved"] and expected.rows["made"]
    first = [request.node.callspec.id == "-".join(kind) for kind in KINDS].index(True)
    tried = points.all() if every_point else points.effects()[first % SOME :: SOME]
    wrong: list[str] = []
    for point in tried:
        try:
            outcome: Outcome | str = trial(point)
        except MillraceError as problem:
            outcome = f"{type(problem).__name__}: {problem}"
        if outcome != expected:
            wrong.append(f"{point}: {outcome}")
    print(f"{len(tried)} points of {len(points.all())}, {expected}")
    assert wrong == [], f"{len(wrong)} of {len(tried)} points end differently from {expected}"
