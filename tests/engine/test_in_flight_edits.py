"""Random edits of mappings between batches: rows, columns and counts are still those of a plain reading."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from tests.duckdb_files import staying_open
from tests.engine.kit import PIPELINE, Rig, types
from tests.engine.test_in_flight import BLOCKS, STEPS, STRATEGIES, Part, Row, Told, compare, events, parts

from millrace.control.mapper import mappings
from millrace.control.transforming import transformations
from millrace.data.batch import Checkpoint

__all__ = ["types"]

SCALAR = {"kind", "name", "title", "v", "m", "extra", "twice", "o_x", "o_w", "x", "w", "value"}
"""Fields that hold no more than one value; any of these can be text."""


@dataclass
class Shape:
    """One event type as its edits have left it: the column of each field that was seen."""

    columns: dict[str, str] = field(default_factory=dict)
    ignored: set[str] = field(default_factory=set)
    digits: bool = False
    """Text in ``v`` is read as a number."""
    skipped: bool = False


@dataclass
class Edited(Told):
    """The plain reading, under mappings that people change."""

    shapes: dict[str, Shape] = field(default_factory=dict)
    loaded: list[tuple[int, str, list[Part]]] = field(default_factory=list)
    """By event, its rows by column."""
    pending: dict[str, list[tuple[str, str]]] = field(default_factory=dict)
    """By table, new names of columns, which the next load of rows brings about."""
    waiting: set[str] = field(default_factory=set)
    """Tables for which rows are staged."""

    def judge(self, stream: str, row: Row, policy: Row) -> None:
        if self.shapes.setdefault(stream, Shape()).skipped:
            self.filtered += 1
            return
        kept: list[Part] = []
        fits = self.mode == "append" or "id" in row
        for table, values in parts(self.strategy, stream, row):
            shape = self.shapes.setdefault(table, Shape())
            cells: Row = {}
            for name, value in values.items():
                if name in shape.ignored or value is None:
                    continue
                if name == "v" and shape.digits and isinstance(value, str):
                    fits = fits and value.isdigit()
                    value = int(value) if value.isdigit() else None
                if not name.startswith("__hevo"):
                    shape.columns.setdefault(name, name)
                cells[shape.columns.get(name, name)] = value
            kept.append((table, cells))
        if fits:
            for table in self.staged({table for table, _ in kept}):
                self.catch_up(table)
                self.waiting.add(table)
            self.loaded.append((row["n"], stream, kept))
        else:
            self.rejects.append((row["n"], stream, row))

    def staged(self, tables: set[str]) -> set[str]:
        """Those that get rows: in a merge also tables of items, which are told that an array has none."""
        if self.mode != "merge":
            return tables
        return tables | {table for table in self.shapes if table.rpartition("_")[0] in tables}

    def began(self) -> None:
        """A run that loads begins: what is skipped is given up, and what failed by its mapping tries again."""
        waiting, self.rejects = self.rejects, []
        for n, stream, row in waiting:
            if self.skips(stream):
                continue
            if stream == "steps":
                self.rejects.append((n, stream, row))
            else:
                self.judge(stream, row, {})

    def skips(self, stream: str) -> bool:
        return self.shapes.get("orders" if stream == "steps" else stream, Shape()).skipped

    def waits(self) -> int:
        """Rows that failed, but for those of which nobody wants any."""
        return sum(not self.skips(stream) for _, stream, _ in self.rejects)

    def came(self) -> None:
        """What is staged is loaded."""
        for table in self.waiting:
            self.catch_up(table)
        self.waiting.clear()

    def catch_up(self, table: str) -> None:
        for old, new in self.pending.pop(table, []):
            for _, _, found in self.loaded:
                for at, cells in found:
                    if at == table and old in cells:
                        cells[new] = cells.pop(old)

    def forget(self, table: str, column: str) -> None:
        """No field has the column any more, so it keeps its name where no rows wait to be loaded into another."""
        names = self.pending.get(table, [])
        if table not in self.waiting:
            for old, new in [*reversed(names)]:
                if new == column:
                    names.remove((old, new))
                    column = old

    def restored(self, table: str, then: Shape) -> None:
        now = self.shapes[table]
        for name, column in then.columns.items():
            if (present := now.columns.get(name, column)) != column:
                self.pending.setdefault(table, []).append((present, column))
                now.columns[name] = column
        for name in now.columns.keys() - then.columns.keys():
            self.forget(table, now.columns[name])
        self.shapes[table] = deepcopy(then)

    def tables(self) -> dict[str, list[Row]]:
        rows: dict[Any, dict[Any, Row]] = {}
        for number, (_, stream, found) in enumerate(sorted(self.loaded, key=lambda one: one[0])):
            owner = (stream, number if self.mode == "append" else found[0][1]["id"])
            # The newest row of a key is the row, with nothing of those before it in columns that no field has any more.
            # In a table with history items that an array lacks meanwhile stay.
            rows[owner] = {**rows.get(owner, {})} if self.mode == "history" else {}
            for table, cells in found:
                place = (table, cells.get("__hevo_ref"), cells.get("__hevo_index"))
                rows[owner][place] = cells
        tables: dict[str, list[Row]] = {}
        for of in rows.values():
            for (table, *_), row in of.items():
                tables.setdefault(table, []).append(row)
        return tables


Kept = dict[str, dict[int, Shape]]
"""Shapes by event type and version."""


def edited(rig: Rig, told: Edited, kept: Kept, draw: Callable[[st.SearchStrategy[Any]], Any], number: int) -> None:
    """One edit, drawn of those that can be."""
    home = rig.home
    stream = draw(st.sampled_from(sorted(kept)))
    shape, main = told.shapes[stream], stream in ("orders", "others")
    columns = sorted(shape.columns.keys() - {"id", "n"})
    scalar = sorted(SCALAR & shape.columns.keys())
    whats = {
        "rename": columns,
        "retype": scalar,
        "digits": ["v"] if main and told.mode == "append" and "v" in shape.columns else [],
        "free": scalar,
        "ignore": columns if main else [],
        "heed": sorted(shape.ignored),
        "skip": [stream] if main and not shape.skipped else [],
        "include": [stream] if shape.skipped else [],
        "restore": sorted(kept[stream]),
    }
    what = draw(st.sampled_from([name for name, choices in whats.items() if choices] or ["none"]))
    if what == "none":
        return
    one = draw(st.sampled_from(whats[what]))
    match what:
        case "rename":
            old = shape.columns[one]
            new = draw(st.sampled_from([f"r{number}", f"r{number}", one]))
            mappings.rename_column(home, PIPELINE, stream, one, new)
            told.pending.setdefault(stream, []).append((old, new))
            shape.columns[one] = new
        case "retype":
            mappings.change_type(home, PIPELINE, stream, one, "VARCHAR")
            shape.digits = shape.digits and one != "v"
        case "digits":
            mappings.change_type(home, PIPELINE, stream, one, "LONG")
            shape.digits = True
        case "free":
            mappings.free_type(home, PIPELINE, stream, one)
            shape.digits = shape.digits and one != "v"
        case "ignore":
            mappings.ignore(home, PIPELINE, stream, one)
            told.forget(stream, shape.columns.pop(one))
            shape.ignored.add(one)
            shape.digits = shape.digits and one != "v"
        case "heed":
            mappings.unignore(home, PIPELINE, stream, one)
            shape.ignored.remove(one)
        case "skip" | "include":
            (plan,) = mappings.bulk(home, PIPELINE, what, [stream])
            assert plan.changed
            shape.skipped = what == "skip"
        case _:
            mappings.restore(home, PIPELINE, stream, one)
            told.restored(stream, kept[stream][one])


def noted(rig: Rig, told: Edited, kept: Kept) -> None:
    for stream, shape in told.shapes.items():
        if shape.columns:
            version = mappings.kept(rig.home, PIPELINE, stream).mapping.version
            kept.setdefault(stream, {})[version] = deepcopy(shape)


def checked(rig: Rig, strategy: str, data: st.DataObject) -> None:
    turn = STRATEGIES.index(strategy)
    modes = ["append", "merge", "history"]
    mode = data.draw(st.sampled_from([*modes[turn % 3 :], *modes[: turn % 3]]))
    step = data.draw(st.sampled_from([*STEPS, "drop fail twice move title"]))
    some = events(new=True, misfits=True, kinds=["keep", "keep", "other", "drop", "fail"], within=True)
    runs = data.draw(st.lists(st.lists(some, min_size=1, max_size=8), min_size=3, max_size=4))
    for n, row in enumerate(row for run in runs for row in run):
        row["n"] = n
        if row["kind"] == "other" and row["id"] is None:
            row["id"] = 1  # an event type that begins with rows of no key has none
    rig.script.stream("orders", *([run, Checkpoint(1)] for run in runs), [], key=("id",))
    rig.create(mode, options={"json_parsing_strategy": strategy})
    blocks = json.dumps([BLOCKS[name] for name in step.split() if name in BLOCKS])
    kind, text = STEPS.get(step, ("blocks", blocks))
    if kind != "none":
        transformations.deploy(rig.home, PIPELINE, kind, text)
    told, kept = Edited(step, strategy, mode, {}), Kept()
    for number, run in enumerate(runs):
        before = told.filtered
        loading = number == len(runs) - 1 or data.draw(st.sampled_from([True, True, False]))
        if loading:
            told.began()
        for row in run:
            told.event(row, free=True)
        record = rig.run(loading=loading)
        rig.clock.advance(60)
        assert record.balance.even, record.balance
        assert all(one.even for one in record.streams.values()), record.streams
        assert sum(rig.rejected().values()) == told.waits(), (rig.rejected(), told.rejects)
        if loading:
            assert record.balance.waiting == 0
            told.came()
            compare(rig, told)
        if strategy != "SPLIT":
            assert record.balance.filtered_rows == told.filtered - before
        noted(rig, told, kept)
        for more in range(data.draw(st.integers(1, 3)) if kept else 0):
            edited(rig, told, kept, data.draw, 10 * number + more)
            noted(rig, told, kept)


@pytest.mark.parametrize("strategy", STRATEGIES)
@settings(
    max_examples=2,
    deadline=None,
    derandomize=True,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
@given(data=st.data())
def test_edits_between_batches_change_what_they_say_alone(types: None, strategy: str, data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as folder, staying_open():
        rig = Rig(Path(folder))
        try:
            checked(rig, strategy, data)
        finally:
            rig.close()
