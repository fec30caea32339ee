"""A transformation as a test says it, deployed as if it were a user's."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pytest
from tests.engine.kit import PIPELINE, Rig

from millrace.control.transforming import transformations
from millrace.data.batch import Batch
from millrace.data.columns import is_ours
from millrace.engine.steps import Output, Stepped


@dataclass
class Scripted:
    """A transformation as a test says it: for each row the rows that come of it, each with its event type.

    A row that comes of another by name `new` is made by code; an exception refuses the row.
    """

    judge: Callable[[dict[str, Any]], list[tuple[str, dict[str, Any]]]]
    seen: list[dict[str, Any]] = field(default_factory=list)
    schemas: list[pa.Schema] = field(default_factory=list)

    def apply(self, batch: Batch, key: tuple[str, ...] = ()) -> Stepped:
        outputs: dict[tuple[str, bool], list[tuple[int, dict[str, Any]]]] = {}
        refused: list[tuple[int, str, str]] = []
        filtered = 0
        self.schemas.append(batch.rows.schema)
        shown = [field_.name for field_ in batch.rows.schema if not is_ours(field_)]
        for number, row in enumerate(batch.rows.select(shown).to_pylist()):
            self.seen.append(row)
            try:
                made = self.judge(dict(row))
            except ValueError as error:
                refused.append((number, "TRANSFORM_ERROR", str(error)))
                continue
            filtered += not made
            for name, one in made:
                new = name.startswith("new ")
                outputs.setdefault((name.removeprefix("new ") or batch.stream, new), []).append((number, one))
        return Stepped(tuple(self._output(batch, *at, rows) for at, rows in outputs.items()), tuple(refused), filtered)

    def _output(self, batch: Batch, stream: str, new: bool, rows: list[tuple[int, dict[str, Any]]]) -> Output:
        from millrace.data.rows import to_batch

        origin = pa.array([number for number, _ in rows], pa.int32())
        made = to_batch([row for _, row in rows], None)
        for field_ in batch.rows.schema:
            if is_ours(field_):
                made = made.append_column(field_, batch.rows[field_.name].take(origin))
        return Output(stream, made, origin, pa.array([new] * len(rows)))

    def close(self) -> None:
        """Nothing to close."""


@pytest.fixture
def deploy(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Scripted]]:
    """Deploys a transformation of the test's own; each call is a new version."""
    known: dict[str, Scripted] = {}
    monkeypatch.setattr(transformations, "step", lambda home, kind, text, **_: known[text])

    def deployed(judge: Callable[[dict[str, Any]], list[tuple[str, dict[str, Any]]]]) -> Scripted:
        step = known[str(len(known))] = Scripted(judge)
        transformations.deploy(rig.home, PIPELINE, "python", str(len(known) - 1))
        return step

    yield deployed


def failing(row: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    raise ValueError("a bug in the script")


def fixed(row: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    return [("", row | {"n": (row.get("n") or 0) + 1})]
