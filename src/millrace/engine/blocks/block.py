"""What all blocks have: filters, settings, and how they change the rows of a batch."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import field
from typing import TYPE_CHECKING

import pyarrow as pa
from pydantic import BaseModel, ConfigDict, Field

from millrace.data.compute import pc
from millrace.data.dataclass import dataclass
from millrace.engine.blocks import filters
from millrace.engine.blocks.filters import EventFilter, FieldFilter
from millrace.engine.blocks.frame import Frame, Put, Where, both, narrowed, part_of, put_all, spread, within

if TYPE_CHECKING:
    from millrace.engine.blocks.digests import Digests
    from millrace.engine.blocks.privacy import TokenKeys
    from millrace.engine.blocks.script import Script


@dataclass(slots=True)
class Passage:
    """One batch on its way through a chain: what the blocks need beside rows, and the rows that go no further."""

    keys: TokenKeys | None
    digests: Digests
    refused: list[tuple[int, str, str]] = field(default_factory=list[tuple[int, str, str]])
    filtered: int = 0

    last: bool = False
    """No block comes after this one, so that values may be put into the type that they will have in a table."""

    def refused_of(
        self, block: Block, frame: Frame, failed: pa.BooleanArray, message: str
    ) -> tuple[Frame, pa.BooleanArray]:
        """The frame without the rows that failed, and which of its rows are left."""
        told = f"{block.title}: {message}"
        self.refused += [(row, "TRANSFORM_ERROR", told) for row in frame.origin.filter(failed).to_pylist()]
        kept = pc.invert(failed)
        return frame.only(kept), kept


@dataclass(frozen=True, slots=True)
class Changed:
    """New values of a field, one for each row. ``left``: rows whose value stays as it is; ``failed``: rows whose event
    fails, with the message."""

    values: pa.Array
    left: pa.BooleanArray | None = None
    failed: pa.BooleanArray | None = None
    message: str = ""


class Part(BaseModel):
    """A piece of the document. Unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Block(Part, ABC):
    """A change of the events that pass its filters; others go on as they are."""

    id: str = Field("", description="A name of its own within the chain; b1, b2 … where there is none.")
    event_filters: list[EventFilter] = Field(
        default_factory=list[EventFilter], description="Which events; all of these must hold. None: all events."
    )

    @property
    def kind(self) -> str:
        """The block's type id."""
        return self.__dict__["type"]

    @property
    def title(self) -> str:
        """The block in messages."""
        return f"block {self.id} ({self.kind})" if self.id else self.kind

    def where(self, frame: Frame) -> Where:
        """The rows that pass the event filters."""
        if not self.event_filters:
            return None
        return narrowed(filters.events(self.event_filters, frame.stream, frame.visible), frame.rows.num_rows)

    @abstractmethod
    def apply(self, frame: Frame, passage: Passage) -> Iterable[Frame]:
        """The rows after the block. Frames may be empty."""

    @abstractmethod
    def explain(self, script: Script) -> None:
        """The block is written into the script."""


class FieldBlock(Block):
    """A change of the fields that pass its field filters, each for itself."""

    field_filters: list[FieldFilter] = Field(
        default_factory=list[FieldFilter], description="Which fields; all of these must hold. None: all fields."
    )

    def targets(self, frame: Frame) -> dict[str, Where]:
        """The fields that it changes, in their order, each with the rows in which it does."""
        return self.chosen(frame, frame.fields)

    def chosen(self, frame: Frame, among: Sequence[str]) -> dict[str, Where]:
        """The fields of ``among`` that pass the field filters, in the rows that pass the event filters."""
        where = self.where(frame)
        found = filters.fields(self.field_filters, frame.visible, among)
        asked = {name: narrowed(both(where, mask), frame.rows.num_rows) for name, mask in found.items()}
        return {name: mask for name, mask in asked.items() if mask is None or mask.true_count}


class ValueBlock(FieldBlock):
    """Each value of a matched field becomes another one."""

    @abstractmethod
    def changed(self, rows: pa.RecordBatch, name: str, passage: Passage) -> Changed | None:
        """The new values of the field, the one column of ``rows``; None where the block does not change its type."""

    def apply(self, frame: Frame, passage: Passage) -> Iterable[Frame]:
        columns: list[Put] = []
        failures = Failures()
        for name, where in self.targets(frame).items():
            rows = frame.rows.select([name])
            change = self.changed(rows if where is None else rows.filter(where), name, passage)
            if change is None:
                continue
            failures = failures.and_of(where, change.failed, change.message)
            new = where
            if change.left is not None and change.left.true_count:
                new = within(where, pc.invert(change.left))
            columns.append((name, spread(change.values, where), new))
        return put_unless(self, frame, columns, failures, passage)


@dataclass(frozen=True, slots=True)
class Failures:
    """Rows of a frame whose events fail, and the first reason."""

    rows: Where = None
    message: str = ""

    def and_of(self, where: Where, failed: Where, message: str) -> Failures:
        """These, and those that failed of the rows of ``where``."""
        if failed is None or not failed.true_count:
            return self
        rows = within(where, failed)
        return Failures(rows if self.rows is None else pc.or_(self.rows, rows), self.message or message)


def put_unless(block: Block, frame: Frame, columns: Iterable[Put], failures: Failures, passage: Passage) -> list[Frame]:
    """The fields put into the frame as `put_all` does, without the rows that failed."""
    if failures.rows is None:
        return put_all(frame, columns, widen=passage.last)
    frame, kept = passage.refused_of(block, frame, failures.rows, failures.message)
    cells = [(name, values.filter(kept), part_of(where, kept)) for name, values, where in columns]
    return put_all(frame, cells, widen=passage.last)


def put_once(block: Block, frame: Frame, columns: Sequence[Put], message: str, passage: Passage) -> list[Frame]:
    """As `put_unless`; an event fails if it would have two values for one field."""
    taken: dict[str, pa.BooleanArray] = {}
    twice = pa.repeat(pa.scalar(False), frame.rows.num_rows)
    for name, values, where in columns:
        has = values.is_valid() if where is None else pc.and_(where, values.is_valid())
        column = frame.column(name)
        if name not in taken and column is not None:
            taken[name] = pc.or_(column.is_valid(), name in frame.ours)
        if name in taken:
            twice = pc.or_(twice, pc.and_(taken[name], has))
            has = pc.or_(taken[name], has)
        taken[name] = has
    return put_unless(block, frame, columns, Failures().and_of(None, twice, message), passage)


def columns_of(rows: pa.RecordBatch, fields: Iterable[str], *names: str) -> pa.RecordBatch:
    """The columns of these names, and those in which the fields can be, nested ones with dots."""
    wanted = {".".join(parts[:n]) for parts in (f.split(".") for f in fields) for n in range(1, len(parts) + 1)}
    return rows.select([name for name in rows.schema.names if name in wanted or name in names])
