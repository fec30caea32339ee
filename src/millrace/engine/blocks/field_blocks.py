# ruff: noqa: ARG002  every block is given the same
"""Blocks that take fields away or give them another name."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Literal

import pyarrow as pa
from pydantic import Field, model_validator

from millrace.data import types
from millrace.data.compute import pc
from millrace.engine.blocks.block import FieldBlock, Part, Passage, of_kept
from millrace.engine.blocks.frame import Frame, Piece, Where, both, narrowed
from millrace.engine.blocks.settings import FieldName, FormulaText, parsed, wrong

if TYPE_CHECKING:
    from millrace.engine.blocks.script import Script


class DropFields(FieldBlock):
    """Fields are taken away."""

    type: Literal["DROP_FIELDS"]

    def field(self, frame: Frame, name: str, where: Where, passage: Passage) -> list[Piece]:
        return [Piece(frame.cleared(name, where))]

    def explain(self, script: Script) -> None:
        with script.fields(self):
            script.line("del p[name]")


class RenameFieldsSettings(Part):
    name: FieldName | None = Field(None, description="The new name.")
    formula: FormulaText | None = Field(
        None, description='The new name by a formula, $self being the old one: "crm_" + $self.'
    )

    @model_validator(mode="after")
    def _one_of_both(self) -> RenameFieldsSettings:
        if (self.name is None) == (self.formula is None):
            raise wrong("a new name is given either as 'name' or as 'formula'")
        if self.formula is not None:
            formula = parsed(self.formula)
            if formula.fields:
                raise wrong(f"the formula of a name knows $self alone, not {sorted(formula.fields)[0]}")
            if formula.splits:
                raise wrong("SPLIT_FIELDS gives no name")
        return self


class RenameFields(FieldBlock):
    """Fields get another name, and keep value and position.

    An event that has a field of the new name already fails: one of both values would be lost.
    """

    type: Literal["RENAME_FIELDS"]
    settings: RenameFieldsSettings

    def new_name(self, name: str) -> str:
        """The name that a field gets; the same one where the formula gives no text."""
        if self.settings.formula is None:
            return self.settings.name or name
        names = pa.RecordBatch.from_arrays([pa.array([name])], ["name"])
        found = parsed(self.settings.formula).evaluate(names, self_field="name")
        new = types.storage(found.values)[0].as_py()
        return new if isinstance(new, str) and new else name

    def field(self, frame: Frame, name: str, where: Where, passage: Passage) -> list[Piece]:
        new, column = self.new_name(name), frame.column(name)
        if new == name or column is None:
            return [Piece(frame)]
        if where is not None and name in frame.key:
            yes = self.field(frame.only(where), name, None, passage)
            no = pc.invert(where)
            return [*of_kept(yes, where), Piece(frame.only(no), no)]
        here = frame.column(new)
        if here is None and where is None:
            names = [new if n == name else n for n in frame.rows.schema.names]
            key = tuple(new if n == name else n for n in frame.key)
            return [Piece(replace(frame, rows=frame.rows.rename_columns(names), key=key))]
        where = narrowed(both(where, column.is_valid() if column.null_count else None), frame.rows.num_rows)
        kept: Where = None
        if here is not None:
            taken = here.is_valid() if where is None else here.filter(where).is_valid()
            if new in frame.ours:
                taken = pc.fill_null(pc.or_(taken, True), True)
            if taken.true_count:
                told = f"the event has a field {new} already, so that {name} cannot be renamed to it."
                frame, kept = passage.refused_of(self, frame, where, taken, told)
                where = where if where is None else where.filter(kept)
        column = frame.column(name)
        assert column is not None
        values = column if where is None else column.filter(where)
        if not len(values):
            return [Piece(frame, kept)]
        key = tuple(new if n == name and where is None else n for n in frame.key)
        pieces = replace(frame.cleared(name, where), key=key).put(new, values, where, after=_before(frame, name))
        return of_kept(pieces, kept)

    def explain(self, script: Script) -> None:
        script.uses("rename_field")
        with script.fields(self):
            if self.settings.formula is None:
                new = script.literal(self.settings.name or "")
            else:
                script.line("own = {name: name}")
                new = script.formula(parsed(self.settings.formula), "own")
            script.line(f"rename_field(event, p, name, {new})")


def _before(frame: Frame, name: str) -> str | None:
    """The column before it, so that a new name stands in the old place; itself where it stays or is the first."""
    if frame.cleared(name).rows.num_columns == frame.rows.num_columns:
        return name
    at = frame.rows.schema.get_field_index(name)
    return frame.rows.schema.names[at - 1] if at else None
