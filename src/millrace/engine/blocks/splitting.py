"""Text split at a delimiter: into an array, or into fields with numbers."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Literal

import numpy as np
import pyarrow as pa
from pydantic import Field

from millrace.data import types
from millrace.data.compute import pc
from millrace.data.dataclass import dataclass
from millrace.engine.blocks import formula_functions
from millrace.engine.blocks.block import Failures, FieldBlock, Part, Passage, put_unless
from millrace.engine.blocks.formula import Formula
from millrace.engine.blocks.frame import Frame, Put
from millrace.engine.blocks.grammar import Call, Constant
from millrace.engine.blocks.taking import takes, text_of

if TYPE_CHECKING:
    from millrace.engine.blocks.script import Script

MAX_PARTS = 1_000
TOO_MANY = f"the text has more than {MAX_PARTS:,} parts."


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

    def apply(self, frame: Frame, passage: Passage) -> Iterable[Frame]:
        columns: list[Put] = []
        failures = Failures()
        rest = frame
        for name, where in self.targets(frame).items():
            texts = types.storage(frame.rows.column(name))
            if not takes(frame.rows.column(name).type, "text"):
                continue
            if self.settings.into == "ARRAY":
                columns.append((name, formula_functions.split(texts, self.settings.delimiter), where))
                continue
            given = texts if where is None else pc.if_else(where, texts, pa.scalar(None, pa.string()))
            parts = Parts.of(name, given, self.settings.delimiter)
            columns += parts.columns
            failures = failures.and_of(None, parts.too_many, TOO_MANY)
            if not self.settings.keep_original:
                rest = rest.cleared(name, where)
        return put_unless(self, rest, columns, failures, passage)

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


@dataclass(frozen=True, slots=True)
class Parts:
    """The parts of texts as fields ``<name>_1``, ``<name>_2`` …, each in the rows that have so many parts.

    ``too_many``: rows with more than `MAX_PARTS` of them.
    """

    columns: list[Put]
    too_many: pa.BooleanArray

    @staticmethod
    def of(name: str, values: pa.Array, delimiter: str) -> Parts:
        lists = pc.split_pattern(text_of(values).values, delimiter)
        many = pc.greater(pc.list_value_length(lists), MAX_PARTS).fill_null(False)
        if many.true_count:
            lists = pc.if_else(many, pa.scalar(None, lists.type), lists)
        lengths = pc.list_value_length(lists).fill_null(0).to_numpy(zero_copy_only=False)
        starts = np.concatenate(([0], np.cumsum(lengths, dtype=np.int64)))[:-1]
        items = lists.flatten()
        columns: list[Put] = []
        for index in range(int(lengths.max(initial=0))):
            has = lengths > index
            columns.append((f"{name}_{index + 1}", items.take(pa.array(starts + index, mask=~has)), pa.array(has)))
        return Parts(columns, many)
