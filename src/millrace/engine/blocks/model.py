"""The document of a chain (transformations.md 3.9): every block that there is, read and checked."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal
from itertools import islice
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias, cast, get_args

from pydantic import Field, ValidationError

from millrace.engine.blocks.aliases import usual
from millrace.engine.blocks.block import Block, Part, Passage
from millrace.engine.blocks.event_blocks import AddField, DropEvents, RenameEvents
from millrace.engine.blocks.field_blocks import DropFields, RenameFields
from millrace.engine.blocks.filters import Condition, holds
from millrace.engine.blocks.flatten import FlattenJson
from millrace.engine.blocks.frame import Frame
from millrace.engine.blocks.mistakes import BlocksError, mistakes
from millrace.engine.blocks.privacy import DetokeniseFields, HashFields, MaskFields, TokeniseFields
from millrace.engine.blocks.shifting import ChangeDatetimeFieldValues
from millrace.engine.blocks.splitting import SplitFields
from millrace.engine.blocks.value_blocks import (
    ChangeFieldValues,
    FindReplace,
    FormatDateToString,
    FormatNumberToString,
    ModifyTextCasing,
    ParseDateFromString,
    ParseJsonFromString,
    ParseNumberFromString,
    RoundOffDecimalFields,
)
from millrace.errors import ConfigError, Problem

if TYPE_CHECKING:
    from millrace.engine.blocks.script import Script

JSON: TypeAlias = Any

MAX_BLOCKS = 500
MAX_DEPTH = 40


class IfElse(Block):
    """Events for which the condition holds go through the blocks of one branch, the others through those of the other.

    It ends its chain: what comes after belongs to a branch.
    """

    type: Literal["IF_ELSE"]
    condition: Condition = Field(description="Filters of events that must all hold, or groups of all and any.")
    true: list[AnyBlock] = Field(default_factory=list, description="Blocks for events that satisfy the condition.")
    false: list[AnyBlock] = Field(default_factory=list, description="Blocks for the others.")

    def apply(self, frame: Frame, passage: Passage) -> Iterable[Frame]:
        chosen, rest = frame.parted(self.where(frame))
        if chosen is None:
            return [frame]
        yes, no = chosen.parted(holds(self.condition, chosen.stream, chosen.visible))
        return [
            *([] if rest is None else [rest]),
            *([] if yes is None else through(self.true, yes, passage)),
            *([] if no is None else through(self.false, no, passage)),
        ]

    def explain(self, script: Script) -> None:
        with script.events(self):
            with script.block(f"if {script.condition(self.condition)}:"):
                script.chain(self.true)
            if self.false:
                with script.block("else:"):
                    script.chain(self.false)


AnyBlock: TypeAlias = Annotated[
    AddField
    | ChangeDatetimeFieldValues
    | ChangeFieldValues
    | DropEvents
    | DropFields
    | FindReplace
    | FlattenJson
    | FormatDateToString
    | FormatNumberToString
    | HashFields
    | IfElse
    | MaskFields
    | ModifyTextCasing
    | ParseDateFromString
    | ParseJsonFromString
    | ParseNumberFromString
    | RenameEvents
    | RenameFields
    | RoundOffDecimalFields
    | SplitFields
    | TokeniseFields
    | DetokeniseFields,
    Field(discriminator="type"),
]
IfElse.model_rebuild()

TYPES: dict[str, type[Block]] = {
    get_args(block.model_fields["type"].annotation)[0]: block for block in get_args(get_args(AnyBlock)[0])
}


class Blocks(Part):
    """A chain of blocks. The output of one is the input of the next."""

    kind: Literal["DRAG_DROP"] = Field("DRAG_DROP", description="What kind of transformation this is.")
    version: Literal[1] = Field(1, description="The version of this form.")
    blocks: list[AnyBlock] = Field(default_factory=list, description="The blocks, from first to last.")


def through(blocks: Sequence[Block], frame: Frame, passage: Passage) -> list[Frame]:
    """The rows after all of these blocks."""
    frames = [frame]
    for block in blocks:
        passage.last = block is blocks[-1]
        frames = [after for one in frames for after in block.apply(one, passage) if after.rows.num_rows]
    return frames


def parse(document: JSON | str) -> Blocks:
    """The chain of a document: JSON text, or what it says; a list alone is its blocks.

    Raises ConfigError with all mistakes, each with its block (id, type and number) and setting.
    """
    found = _read(document) if isinstance(document, str) else document
    if isinstance(found, list):
        found = {"kind": "DRAG_DROP", "version": 1, "blocks": found}
    if not isinstance(found, dict):
        raise ConfigError(
            "A chain of blocks is a JSON object or a list of blocks.",
            hint='For example {"kind": "DRAG_DROP", "version": 1, "blocks": []}.',
            code="blocks",
        )
    numbered, problems = _numbered(cast("dict[str, JSON]", found))
    if problems:
        raise BlocksError(problems)
    try:
        return Blocks.model_validate(numbered)
    except ValidationError as error:
        raise BlocksError(mistakes(error, numbered, Blocks, TYPES)) from None


def schema() -> JSON:
    """The JSON Schema of the document, from which forms can be drawn."""
    return Blocks.model_json_schema()


def _read(text: str) -> JSON:
    try:
        return json.loads(text, parse_float=Decimal, parse_constant=_no_constant)
    except RecursionError:
        raise ConfigError("The chain of blocks nests too deep.", code="blocks") from None
    except json.JSONDecodeError as error:
        raise ConfigError(
            f"The chain of blocks is no JSON: {error.msg}.",
            path=f"line {error.lineno}, column {error.colno}",
            code="blocks",
        ) from None
    except ValueError:
        # Python reads no integer of more digits from text.
        raise ConfigError("The chain of blocks has a number of thousands of digits.", code="blocks") from None


def _no_constant(word: str) -> JSON:
    raise ConfigError(f"The chain of blocks is no JSON: {word} is no number there.", code="blocks")


def _numbered(document: dict[str, JSON]) -> tuple[dict[str, JSON], list[Problem]]:
    """The document with an id in every block; what is wrong with the chain as a whole."""
    every = list(_every(document.get("blocks"), 1))
    given = Counter(str(block["id"]) for block, _, _ in every if block.get("id"))
    problems = [
        Problem("blocks", f"{count} blocks have the id {id_!r}.", "Give each an id of its own, or none.")
        for id_, count in given.items()
        if count > 1
    ]
    problems += [
        Problem("blocks", f"Block {block.get('id') or number} ({block.get('type')}), {where}: this is no text: {said}.")
        for number, (block, _, _) in enumerate(every, 1)
        for where, said in islice(_broken(block), 1)
    ]
    if len(every) > MAX_BLOCKS:
        problems.append(Problem("blocks", f"A chain has at most {MAX_BLOCKS} blocks; here are {len(every)}."))
    ids: dict[int, str] = {}
    for number, (block, last, depth) in enumerate(every, 1):
        free = (f"b{n}" for n in range(number, number + len(every) + 1) if f"b{n}" not in given)
        ids[id(block)] = own = str(block.get("id") or "") or next(free)
        given[own] += 1
        if block.get("type") == "IF_ELSE" and not last:
            told = f"Block {own} (IF_ELSE) is not the last: its branches do not come together again."
            problems.append(Problem("blocks", told, "Put the blocks after it into one of its branches, or both.", own))
        if depth > MAX_DEPTH:
            problems.append(Problem("blocks", f"Block {own} is in more than {MAX_DEPTH} If-Else blocks.", None, own))
            break
    return (
        {**document, "blocks": _with_ids(document.get("blocks"), ids)} if "blocks" in document else document
    ), problems


def _every(blocks: JSON, depth: int) -> Iterator[tuple[dict[str, JSON], bool, int]]:
    """Every block, whether it is the last of its list, and its depth; from above to below."""
    if not isinstance(blocks, list) or depth > MAX_DEPTH + 2:
        return
    listed = cast("list[JSON]", blocks)
    for at, block in enumerate(listed):
        if isinstance(block, dict):
            one = cast("dict[str, JSON]", block)
            yield one, at == len(listed) - 1, depth
            if one.get("type") == "IF_ELSE":
                for branch in ("true", "false"):
                    yield from _every(one.get(branch), depth + 1)


def _broken(value: JSON, *path: str) -> Iterator[tuple[str, str]]:
    """Where in a block, but not in those of its branches, there is text that no table can hold: half of a character."""
    if len(path) > MAX_DEPTH:
        return
    if isinstance(value, dict):
        for key, item in cast("dict[str, JSON]", value).items():
            if path or key not in ("true", "false"):
                yield from _broken(str(key), *path)
                yield from _broken(item, *path, str(key))
    elif isinstance(value, list):
        for number, item in enumerate(cast("list[JSON]", value), 1):
            yield from _broken(item, *path, str(number))
    elif isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError:
            yield ascii(".".join(path))[1:-1], ascii(value)


def _with_ids(blocks: JSON, ids: dict[int, str]) -> JSON:
    if not isinstance(blocks, list):
        return blocks
    found: list[JSON] = []
    for block in cast("list[JSON]", blocks):
        if isinstance(block, dict) and id(block) in ids:
            one = {**usual(cast("dict[str, JSON]", block), TYPES), "id": ids[id(block)]}
            found.append({k: _with_ids(v, ids) if k in ("true", "false") else v for k, v in one.items()})
        else:
            found.append(block)
    return found
