"""Nested objects as fields of their own."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pyarrow as pa
from pydantic import Field

from millrace.data import json_text, types
from millrace.data.compute import pc
from millrace.data.rows import to_batch
from millrace.engine.blocks.block import FieldBlock, Part, Passage, by_field, of_kept
from millrace.engine.blocks.frame import Frame, Piece, Where, both, part_of, put_all, spread

if TYPE_CHECKING:
    from millrace.engine.blocks.script import Script


# An object with something in it.
_OBJECT = r"^\s*\{\s*[^}\s]"


class FlattenJsonSettings(Part):
    separator: str = Field(default="_", max_length=8, description="Between the names of field and key.")
    depth: int | None = Field(
        default=None, ge=1, le=100, description="How many levels are opened; all, where nothing is said."
    )
    keep_original: bool = Field(default=False, description="Whether the object itself stays too.")


class FlattenJson(FieldBlock):
    """An object becomes a field for each of its values: address.city is address_city. Arrays and empty objects stay.

    An event in which two values would have one name fails.
    """

    type: Literal["FLATTEN_JSON"]
    settings: FlattenJsonSettings = Field(default_factory=FlattenJsonSettings)

    def apply(self, frame: Frame, passage: Passage) -> Iterable[Frame]:
        return by_field(frame, self.targets(frame), partial(self._field, passage))

    def _field(self, passage: Passage, frame: Frame, name: str, where: Where) -> list[Piece]:
        return self._opened(frame, name, where, passage, self.settings.depth, keep=self.settings.keep_original)

    def _opened(
        self, frame: Frame, name: str, where: Where, passage: Passage, depth: int | None, *, keep: bool
    ) -> list[Piece]:
        column = frame.column(name)
        if column is None or depth == 0:
            return [Piece(frame)]
        if pa.types.is_struct(column.type):
            where = both(where, column.is_valid())
        elif types.is_json(column.type):
            is_object = pc.match_substring_regex(column.storage, _OBJECT).fill_null(False)
            where = both(where, is_object)
        else:
            return [Piece(frame)]
        if where is None or not where.true_count:
            return [Piece(frame)]
        given = column.filter(where)
        separator = self.settings.separator
        found = (
            _members(given, name, separator) if types.is_nested(column.type) else _leaves(given, name, separator, depth)
        )
        collisions = self._collisions(frame, name, where, found, keep=keep)
        kept: Where = None
        if collisions.true_count:
            told = f"{name} has a value whose name, flattened, another value of the event has already."
            frame, kept = passage.refused_of(self, frame, where, collisions, told)
            where = where.filter(kept)
            found = found.only(pc.invert(collisions))
        columns = [
            (leaf, spread(values, where), spread(has, where).fill_null(False)) for leaf, values, has in found.leaves
        ]
        pieces = put_all(frame if keep else frame.cleared(name, where), columns)
        if types.is_nested(column.type):
            for leaf, values, has in columns:
                if pa.types.is_struct(values.type) or types.is_json(values.type):
                    below = None if depth is None else depth - 1
                    pieces = [
                        after
                        for one in pieces
                        for after in of_kept(
                            self._opened(one.frame, leaf, part_of(has, one.where), passage, below, keep=False),
                            one.where,
                        )
                    ]
        return of_kept(pieces, kept)

    def _collisions(
        self, frame: Frame, name: str, where: pa.BooleanArray, found: _Found, *, keep: bool
    ) -> pa.BooleanArray:
        """Rows of ``where`` in which a new field is there already, or comes twice."""
        bad = found.doubled
        for leaf, _, has in found.leaves:
            column = frame.column(leaf)
            if leaf in frame.ours or (leaf == name and keep):
                bad = pc.or_(bad, has)
            elif column is not None and leaf != name:
                bad = pc.or_(bad, pc.and_(has, column.filter(where).is_valid()))
        return bad

    def explain(self, script: Script) -> None:
        one = self.settings
        with script.fields(self), script.block("if isinstance(value, dict) and value:"):
            if not one.keep_original:
                script.line("del p[name]")
            flat = f"{script.uses('flattened')}(name, value, {script.literal(one.separator)}, {one.depth})"
            script.line(f"{script.uses('put_new')}(p, {flat})")


@dataclass(frozen=True, slots=True)
class _Found:
    """Name, values and rows of what objects hold: a name comes once for each type of its values. ``doubled``: rows in
    which two values have one name."""

    leaves: list[tuple[str, pa.Array, pa.BooleanArray]]
    doubled: pa.BooleanArray

    def only(self, rows: pa.BooleanArray) -> _Found:
        kept = [(leaf, values.filter(rows), has.filter(rows)) for leaf, values, has in self.leaves]
        return _Found(kept, self.doubled.filter(rows))


def _members(structs: pa.Array, name: str, separator: str) -> _Found:
    names = [structs.type.field(i).name for i in range(structs.type.num_fields)]
    children = zip(names, structs.flatten(), strict=True)
    found = [(f"{name}{separator}{key}", child, child.is_valid()) for key, child in children if key or separator]
    return _Found(found, pa.array(np.zeros(len(structs), bool)))


def _leaves(values: pa.Array, name: str, separator: str, depth: int | None) -> _Found:
    """What JSON objects hold at their ends, or ``depth`` levels below. Each distinct text is read once."""
    encoded = values.storage.dictionary_encode()
    count = len(encoded.dictionary)
    columns: dict[str, list[Any]] = {}
    doubled = np.zeros(count, bool)
    for at, text in enumerate(encoded.dictionary.to_pylist()):
        for leaf, value in _ends(name, json_text.loads(text), separator, depth):
            column = columns.setdefault(leaf, [None] * count)
            if value is not None:
                doubled[at] |= column[at] is not None
                column[at] = value
    leaves: list[tuple[str, pa.Array, pa.BooleanArray]] = []
    for leaf, cells in columns.items():
        for kind in dict.fromkeys(_kind(cell) for cell in cells if cell is not None):
            alike = [{"cell": cell if cell is not None and _kind(cell) is kind else None} for cell in cells]
            column = to_batch(alike, None).column(0).take(encoded.indices)
            leaves.append((leaf, column, column.is_valid()))
    return _Found(leaves, pa.array(doubled).take(encoded.indices))


def _kind(value: Any) -> type:
    return dict if isinstance(value, list) else type(value)


def _ends(name: str, value: Any, separator: str, depth: int | None) -> Iterator[tuple[str, Any]]:
    if not isinstance(value, dict) or not value or depth == 0:
        yield name, value
        return
    for key, below in value.items():  # pyright: ignore[reportUnknownVariableType] - any JSON
        yield from _ends(f"{name}{separator}{key}", below, separator, None if depth is None else depth - 1)
