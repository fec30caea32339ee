# ruff: noqa: ARG002  every block is given the same
"""Blocks that take fields away or give them another name."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Literal

import pyarrow as pa
from pydantic import Field, model_validator

from millrace.data import types
from millrace.data.compute import pc
from millrace.engine.blocks.block import FieldBlock, Part, Passage, put_once
from millrace.engine.blocks.frame import Frame, Put, Where
from millrace.engine.blocks.settings import FieldName, FormulaText, parsed, wrong

if TYPE_CHECKING:
    from millrace.engine.blocks.script import Script


class DropFields(FieldBlock):
    """Fields are taken away."""

    type: Literal["DROP_FIELDS"]

    def apply(self, frame: Frame, passage: Passage) -> Iterable[Frame]:
        for name, where in self.targets(frame).items():
            frame = frame.cleared(name, where)
        return [frame]

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

    def apply(self, frame: Frame, passage: Passage) -> Iterable[Frame]:
        moves = {
            name: (new, where) for name, where in self.targets(frame).items() if (new := self.new_name(name)) != name
        }
        for name, (_, where) in moves.items():
            if where is not None and name in frame.key:
                return [after for part in frame.parted(where) if part for after in self.apply(part, passage)]
        names = [moves[name][0] if name in moves else name for name in frame.rows.schema.names]
        if len({*names}) == len(names) and all(where is None for _, where in moves.values()):
            key = tuple(moves[name][0] if name in moves else name for name in frame.key)
            return [replace(frame, rows=frame.rows.rename_columns(names), key=key)]
        return self._moved(frame, moves, passage)

    def _moved(self, frame: Frame, moves: dict[str, tuple[str, Where]], passage: Passage) -> Iterable[Frame]:
        """The fields under their new names, in the rows of each that have them."""
        rest = frame
        for name, (_, where) in moves.items():
            rest = rest.cleared(name, where)
        columns: list[Put] = [
            (new, frame.rows.column(name), self._has(frame, name, where)) for name, (new, where) in moves.items()
        ]
        key = tuple(moves[name][0] if name in moves else name for name in frame.key)
        told = "the event has a field of the new name already, so that one of both would be lost."
        return put_once(self, replace(rest, key=key), columns, told, passage)

    @staticmethod
    def _has(frame: Frame, name: str, where: Where) -> pa.BooleanArray:
        valid = frame.rows.column(name).is_valid()
        return valid if where is None else pc.and_(where, valid)

    def explain(self, script: Script) -> None:
        script.line("names = {}")
        with script.fields(self):
            if self.settings.formula is None:
                new = script.literal(self.settings.name or "")
            else:
                script.line("own = {name: name}")
                new = script.formula(parsed(self.settings.formula), "own")
            script.line(f"names[name] = {new}")
        script.line(f"{script.uses('rename_fields')}(event, p, names)")
