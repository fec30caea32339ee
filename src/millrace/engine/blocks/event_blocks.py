# ruff: noqa: ARG002  every block is given the same
"""Blocks that look at whole events: add a field, drop events, rename events."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from millrace.engine.blocks.block import Block, Failures, Part, Passage, columns_of, put_unless
from millrace.engine.blocks.formula import Formula
from millrace.engine.blocks.frame import Frame, spread
from millrace.engine.blocks.settings import FieldName, FormulaWithoutSelf, parsed, told
from millrace.engine.blocks.splitting import TOO_MANY, Parts, split_of

if TYPE_CHECKING:
    from millrace.engine.blocks.script import Script


class AddFieldSettings(Part):
    name: FieldName = Field(description="The name of the field. A field that is there is overwritten.")
    value: FormulaWithoutSelf = Field(description="A value or formula.")


class AddField(Block):
    """Events get a field with a value, or with the result of a formula."""

    type: Literal["ADD_FIELD"]
    settings: AddFieldSettings

    @property
    def formula(self) -> Formula:
        return parsed(self.settings.value)

    def apply(self, frame: Frame, passage: Passage) -> Iterable[Frame]:
        where, name = self.where(frame), self.settings.name
        if name in frame.ours or (where is not None and not where.true_count):
            return [frame]
        rows = columns_of(frame.visible, self.formula.fields)
        wanted, delimiter = split_of(self.formula)
        found = wanted.evaluate(rows if where is None else rows.filter(where))
        failures = Failures().and_of(where, found.failed, told(self.formula, found.message))
        values = spread(found.values, where)
        if delimiter is None:
            return put_unless(self, frame, [(name, values, where)], failures, passage)
        parts = Parts.of(name, values, delimiter)
        return put_unless(self, frame, parts.columns, failures.and_of(None, parts.too_many, TOO_MANY), passage)

    def explain(self, script: Script) -> None:
        name, value = script.literal(self.settings.name), script.formula(self.formula)
        with script.events(self):
            if self.formula.splits:
                script.line(f"{script.uses('put_parts')}(p, {name}, {value})")
            else:
                script.line(f"p[{name}] = {value}")


class DropEvents(Block):
    """Events are left out."""

    type: Literal["DROP_EVENTS"]

    def apply(self, frame: Frame, passage: Passage) -> Iterable[Frame]:
        gone, rest = frame.parted(self.where(frame))
        passage.filtered += 0 if gone is None else gone.rows.num_rows
        return [] if rest is None else [rest]

    def explain(self, script: Script) -> None:
        with script.events(self):
            script.line("return None")


class RenameEventsSettings(Part):
    name: str = Field(min_length=1, max_length=512, description="The new name of the event type.")


class RenameEvents(Block):
    """Events become events of another type."""

    type: Literal["RENAME_EVENTS"]
    settings: RenameEventsSettings

    def apply(self, frame: Frame, passage: Passage) -> Iterable[Frame]:
        found, rest = frame.parted(self.where(frame))
        renamed = [] if found is None else [replace(found, stream=self.settings.name)]
        return [*renamed, *([] if rest is None else [rest])]

    def explain(self, script: Script) -> None:
        with script.events(self):
            script.line(f"event.rename({script.literal(self.settings.name)})")
