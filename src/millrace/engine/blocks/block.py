"""What all blocks have: filters, settings, and how they change the rows of a batch."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

import pyarrow as pa
from pydantic import BaseModel, ConfigDict, Field

from millrace.data.compute import pc
from millrace.engine.blocks import filters
from millrace.engine.blocks.filters import EventFilter, FieldFilter
from millrace.engine.blocks.frame import Frame, Piece, Where, both, narrowed, part_of, put_all, within

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

    def refused_of(
        self, block: Block, frame: Frame, where: Where, failed: pa.BooleanArray, message: str
    ) -> tuple[Frame, pa.BooleanArray]:
        """The frame without those of its rows of ``where`` that failed, and which of its rows are left."""
        gone = within(where, failed)
        told = f"{block.title}: {message}"
        self.refused += [(row, "TRANSFORM_ERROR", told) for row in frame.origin.filter(gone).to_pylist()]
        kept = pc.invert(gone)
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


def by_field(
    frame: Frame, targets: dict[str, Where], change: Callable[[Frame, str, Where], list[Piece]]
) -> list[Frame]:
    """The frame after a change of each field in its rows, one after the other.

    ``change`` answers with the pieces that a frame becomes; rows that are in no piece were refused.
    """
    states = [(frame, targets)]
    for name in targets:
        after: list[tuple[Frame, dict[str, Where]]] = []
        for one, masks in states:
            where = narrowed(masks[name], one.rows.num_rows)
            if not one.rows.num_rows or (where is not None and not where.true_count):
                after.append((one, masks))
                continue
            after += [
                (piece.frame, {n: part_of(mask, piece.where) for n, mask in masks.items()})
                for piece in change(one, name, where)
            ]
        states = after
    return [one for one, _ in states]


class ValueBlock(FieldBlock):
    """Each value of a matched field becomes another one."""

    @abstractmethod
    def changed(self, rows: pa.RecordBatch, name: str, passage: Passage) -> Changed | None:
        """The new values of the field, the one column of ``rows``; None where the block does not change its type."""

    def apply(self, frame: Frame, passage: Passage) -> Iterable[Frame]:
        return by_field(frame, self.targets(frame), partial(self._field, passage))

    def _field(self, passage: Passage, frame: Frame, name: str, where: Where) -> list[Piece]:
        rows = frame.rows.select([name])
        change = self.changed(rows if where is None else rows.filter(where), name, passage)
        if change is None:
            return [Piece(frame)]
        values, left, kept = change.values, change.left, None
        if change.failed is not None:
            frame, kept = passage.refused_of(self, frame, where, change.failed, change.message)
            stays = pc.invert(change.failed)
            where = part_of(where, kept)
            values, left = values.filter(stays), part_of(left, stays)
        if left is not None and left.true_count:
            new = pc.invert(left)
            where, values = within(where, new), values.filter(new)
        if not len(values):
            return [Piece(frame, kept)]
        return of_kept(frame.put(name, values, where), kept)


def of_kept(pieces: list[Piece], kept: Where) -> list[Piece]:
    """Pieces of the ``kept`` rows of a frame as pieces of the frame."""
    return [Piece(one.frame, kept if one.where is None else within(kept, one.where)) for one in pieces]


def put_unless(
    block: Block,
    frame: Frame,
    columns: Iterable[tuple[str, pa.Array, Where]],
    failed: Where,
    message: str,
    passage: Passage,
) -> list[Frame]:
    """The fields put into the frame as `put_all` does, without the rows that failed."""
    kept: Where = None
    if failed is not None:
        frame, kept = passage.refused_of(block, frame, None, failed, message)
    cells = [(name, part_of(values, kept), part_of(where, kept)) for name, values, where in columns]
    return [piece.frame for piece in put_all(frame, cells)]


def columns_of(rows: pa.RecordBatch, fields: Iterable[str], *names: str) -> pa.RecordBatch:
    """The columns of these names, and those in which the fields can be, nested ones with dots."""
    wanted = {".".join(parts[:n]) for parts in (f.split(".") for f in fields) for n in range(1, len(parts) + 1)}
    return rows.select([name for name in rows.schema.names if name in wanted or name in names])
