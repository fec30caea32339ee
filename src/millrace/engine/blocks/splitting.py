"""Text split at a delimiter: into an array, or into fields with numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np
import pyarrow as pa
from pydantic import Field

from millrace.data import types
from millrace.data.cast import cast
from millrace.data.compute import pc
from millrace.engine.blocks import formula_functions
from millrace.engine.blocks.block import Block, FieldBlock, Part, Passage, of_kept
from millrace.engine.blocks.formula import Formula
from millrace.engine.blocks.frame import Frame, Piece, Where, part_of, put_all, spread
from millrace.engine.blocks.grammar import Call, Constant

if TYPE_CHECKING:
    from millrace.engine.blocks.script import Script

MAX_PARTS = 1_000


class SplitSettings(Part):
    delimiter: str = Field(min_length=1, description="The text at which values are split.")
    into: Literal["FIELDS", "ARRAY"] = Field(
        "FIELDS", description="New fields <field>_1, <field>_2 …, or an array in place of the text."
    )
    keep_original: bool = Field(True, description="Whether the field itself stays; only of FIELDS.")


class SplitFields(FieldBlock):
    """Text is split at a delimiter into fields or into an array. Values that are no text stay as they are."""

    type: Literal["SPLIT_FIELDS"]
    settings: SplitSettings

    def field(self, frame: Frame, name: str, where: Where, passage: Passage) -> list[Piece]:
        column = frame.column(name)
        if column is None or not pa.types.is_string(types.storage(column).type):
            return [Piece(frame)]
        texts = types.storage(column) if where is None else types.storage(column).filter(where)
        if self.settings.into == "ARRAY":
            return frame.put(name, formula_functions.split(texts, self.settings.delimiter), where)
        pieces = split_fields(self, frame, passage, name, texts, self.settings.delimiter, where)
        if self.settings.keep_original:
            return pieces
        return [Piece(one.frame.cleared(name, part_of(where, one.where)), one.where) for one in pieces]

    def explain(self, script: Script) -> None:
        delimiter = script.literal(self.settings.delimiter)
        with script.fields(self), script.block("if isinstance(value, str):"):
            if self.settings.into == "ARRAY":
                script.line(f"p[name] = value.split({delimiter})")
            else:
                script.line(f"{script.uses('put_parts')}(p, name, value.split({delimiter}))")
                if not self.settings.keep_original:
                    script.line("del p[name]")


def split_of(formula: Formula) -> tuple[Formula, str | None]:
    """What to split, and where, if the formula is a SPLIT_FIELDS; else the formula itself."""
    match formula.tree:
        case Call("SPLIT_FIELDS", (text, Constant(str() as delimiter))):
            return Formula(formula.text, text), delimiter
        case _:
            return formula, None


def split_fields(
    block: Block, frame: Frame, passage: Passage, name: str, values: pa.Array, delimiter: str, where: Where
) -> list[Piece]:
    """The parts of the values, one for each row of ``where``, as fields ``<name>_1``, ``<name>_2`` … of the frame.

    A field of such a name that is there is overwritten in rows that have that part. An event with more than
    `MAX_PARTS` parts fails.
    """
    texts = types.storage(cast(values, types.VARCHAR, strict=True).values)
    lists = pc.split_pattern(texts, delimiter)
    kept: Where = None
    many = pc.greater(pc.list_value_length(lists), MAX_PARTS).fill_null(False)
    if many.true_count:
        message = f"{name} has more than {MAX_PARTS:,} parts."
        frame, kept = passage.refused_of(block, frame, where, many, message)
        where = where if where is None else where.filter(kept)
        lists = lists.filter(pc.invert(many))
    lists = spread(lists, where)
    items, lengths = lists.flatten(), pc.list_value_length(lists).fill_null(0).to_numpy(zero_copy_only=False)
    starts = np.concatenate(([0], np.cumsum(lengths, dtype=np.int64)))[:-1]
    columns: list[tuple[str, pa.Array, Where]] = []
    for index in range(int(lengths.max(initial=0))):
        has = lengths > index
        part = items.take(pa.array(starts + index, mask=~has))
        columns.append((f"{name}_{index + 1}", part, pa.array(has)))
    return of_kept(put_all(frame, columns), kept)
