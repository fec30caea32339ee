"""Mappings as code: a YAML file of event types with their tables, columns and types, written and applied.

What a file leaves out stays as it is. Everything that is wrong is told with its line, before anything is changed.
"""

from __future__ import annotations

import os
from collections.abc import Mapping as Dict
from typing import TYPE_CHECKING, Annotated, Any

import yaml
from pydantic import Discriminator, Field, Tag, ValidationError

from millrace.connect.naming import Taken
from millrace.control.as_code.document_schema import TAGS, Part
from millrace.control.as_code.findings import findings
from millrace.control.as_code.places import BROKEN, WHOLE, WORDS, DocumentError, Tree, plant
from millrace.control.as_code.places import Path as Keys
from millrace.control.mapper import mapping_edits, mapping_plans
from millrace.control.mapper.mapping_plans import ME, Around, By, Edit, Plan
from millrace.control.mapper.mapping_versions import latest, named
from millrace.control.pipeline import pipelines
from millrace.data import types
from millrace.engine import editing
from millrace.engine.mapping import Mapping
from millrace.engine.policy import Policy
from millrace.errors import ConfigError, MillraceError, Problem

if TYPE_CHECKING:
    from millrace.control.home import Home


class ColumnPart(Part):
    """The column of a field."""

    name: str | None = Field(None, description="Name of the column; left out: as it is, or made from the field's.")
    type: str | None = Field(None, description="Type of the column, such as DECIMAL(10,2); left out: as it is.")
    fixed: bool | None = Field(None, description="The type stays, whatever values come.")


class PolicyPart(Part):
    """What happens to what is new."""

    tables: str = Field("evolve", description="Rows of an event type without a table.")
    columns: str = Field("evolve", description="Rows with a field without a column.")
    types: str = Field("evolve", description="Rows with a value that does not fit its column.")


_Column = Annotated[
    Annotated[str, Tag("saved")] | Annotated[ColumnPart, Tag("inline")],
    Discriminator(lambda value: "inline" if isinstance(value, (dict, ColumnPart)) else "saved"),
]
_Policy = Annotated[
    Annotated[str, Tag("saved")] | Annotated[PolicyPart, Tag("inline")],
    Discriminator(lambda value: "inline" if isinstance(value, (dict, PolicyPart)) else "saved"),
]


class EventTypePart(Part):
    """The mapping of one event type."""

    table: str | None = Field(None, description="Its table: one that is there, or one that is made.")
    skipped: bool | None = Field(None, description="Its rows are left out.")
    auto_mapping: bool | str | None = Field(None, description="true, false, or pipeline: as the pipeline has it.")
    policy: _Policy | None = Field(None, description="A preset, its three parts, or pipeline: as the pipeline has it.")
    key: list[str] | None = Field(None, description="Fields that tell rows apart.")
    columns: dict[str, _Column] | None = Field(None, description="Columns by field: a name, or name, type and fixed.")
    ignored: list[str] | None = Field(None, description="Fields that are dropped without a word.")


class MappingsPart(Part):
    """Mappings of one pipeline."""

    pipeline: str | None = Field(None, description="Name of the pipeline.")
    event_types: dict[str, EventTypePart] = Field(description="Mappings by event type.")


def export_yaml(home: Home, pipeline: str, event_types: list[str] | None = None) -> str:
    """The mappings of the pipeline as a YAML file, of the event types named or of all."""
    home.actor.must("view")
    known = latest(home, pipelines.find(home, pipeline))
    names = list(known) if event_types is None else [named(known, name) for name in event_types]
    document = {"pipeline": pipeline, "event_types": {name: _part(known[name]) for name in names}}
    return yaml.dump(_literal(document), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100)


def _literal(value: Any) -> Any:
    """The value with texts in it that no variable is put into; keys never are."""
    match value:
        case str():
            return value.replace("${", "$${")
        case dict():
            return {key: _literal(below) for key, below in value.items()}  # pyright: ignore[reportUnknownVariableType]  # YAML
        case list():
            return [_literal(below) for below in value]  # pyright: ignore[reportUnknownVariableType]  # YAML
        case _:
            return value


class _Dumper(yaml.SafeDumper):
    """Text that `plant` would take for a number or a word is written so that it is text again."""


def _text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    odd = WHOLE.fullmatch(value) or BROKEN.fullmatch(value) or value.lower() in WORDS
    plain = yaml.SafeDumper.represent_str(dumper, value)
    return yaml.ScalarNode(plain.tag, plain.value, style='"') if odd else plain


_Dumper.add_representer(str, _text)


def _part(mapping: Mapping) -> dict[str, Any]:
    part: dict[str, Any] = {"table": mapping.table} if mapping.mapped else {}
    if mapping.skipped:
        part["skipped"] = True
    if mapping.own_auto is not None:
        part["auto_mapping"] = mapping.own_auto
    if mapping.policy is not None:
        name = mapping.policy.name
        part["policy"] = name if name.isupper() else mapping.policy.to_json()
    if mapping.key and all((column := mapping.of(source)) and not column.ours for source in mapping.key):
        part["key"] = list(mapping.key)
    part["columns"] = {
        one.source: {"name": one.name, "type": types.name(one.type)} | ({"fixed": True} if one.fixed else {})
        for one in mapping.columns
        if not one.ours
    }
    if mapping.ignored:
        part["ignored"] = list(mapping.ignored)
    return part


def apply_yaml(
    home: Home, pipeline: str | None, text: str, file: str, by: By = ME, *, env: Dict[str, str] | None = None
) -> list[Plan]:
    """Every event type of the file is mapped as it says, each by one version at most; applying again changes nothing.

    ``pipeline`` None: the file names it. ``env``: what its variables stand for; None: the environment of this process.
    Raises DocumentError with all that is wrong, each with its line; then nothing was changed.
    """
    home.actor.must("mappings.edit")
    tree, shape = _read(text, file, os.environ if env is None else env)
    if pipeline is None:
        if shape.pipeline is None:
            raise ConfigError(f"{file} does not say which pipeline it is for", hint="Name it.", code="usage")
        pipeline = shape.pipeline
    found = pipelines.find(home, pipeline)
    plans: list[Plan] = []
    made: dict[str, Mapping] = {}
    for name, part in shape.event_types.items():
        told = [(at, _placed(tree, at, edit)) for at, edit in _edits(name, part)]
        edit = mapping_edits.several([edit for _, edit in told])
        with _told(tree, ("event_types", name)):
            plans.append(mapping_plans.plan(home, found, name, edit, made))
    if tree.problems:
        raise DocumentError(tree.problems)
    if by.dry_run:
        return plans
    if not any(plan.changed for plan in plans):
        return plans
    edits = [(name, _whole(name, part)) for name, part in shape.event_types.items()]
    return mapping_plans.edit_all(home, pipeline, edits, by)


def _read(text: str, file: str, env: Dict[str, str]) -> tuple[Tree, MappingsPart]:
    tree = plant(text, file, env)
    if tree.root is None:
        raise DocumentError([Problem("empty", "the file is empty", "Write `event_types:` and what follows.", file)])
    shape: MappingsPart | None = None
    try:
        shape = MappingsPart.model_validate(tree.value)
    except ValidationError as error:
        for one in findings(error, MappingsPart, TAGS):
            tree.report(one.code, one.message, one.path, one.hint)
    if shape is None or tree.problems:
        raise DocumentError(tree.problems)
    return tree, shape


class _told:
    """An error of Millrace inside becomes a problem of the tree at this place; the next one is looked at all the same.

    A problem that was told already, at the deeper place where it is, is not told again.
    """

    def __init__(self, tree: Tree, at: Keys) -> None:
        self._tree, self._at, self._before = tree, at, len(tree.problems)

    def __enter__(self) -> None: ...

    def __exit__(self, _type: object, error: BaseException | None, _trace: object) -> bool:
        if not isinstance(error, MillraceError):
            return False
        if len(self._tree.problems) == self._before:
            self._tree.report(error.code, error.message, self._at, error.hint)
        return True


def _whole(name: str, part: EventTypePart) -> Edit:
    return mapping_edits.several([edit for _, edit in _edits(name, part)])


def _edits(name: str, part: EventTypePart) -> list[tuple[Keys, Edit]]:
    """What the part says, each with its place in the file."""
    at: Keys = ("event_types", name)
    steps: list[tuple[Keys, Edit]] = []
    columns = {field: _column(one) for field, one in (part.columns or {}).items()}
    if part.table is not None:
        steps.append(((*at, "table"), _to_table(part.table, columns)))
    if part.auto_mapping is not None:
        steps.append(((*at, "auto_mapping"), _automatic(part.auto_mapping)))
    if part.policy is not None:
        steps.append(((*at, "policy"), _following(part.policy)))
    for field, column in columns.items():
        steps.append(((*at, "columns", field), _to_column(field, column)))
    for number, field in enumerate(part.ignored or ()):
        steps.append(((*at, "ignored", number), mapping_edits.ignoring(field)))
    if part.key is not None:
        steps.append(((*at, "key"), mapping_edits.keying(part.key)))
    if part.skipped is not None:
        steps.append(((*at, "skipped"), mapping_edits.skipping(part.skipped)))
    return steps


def _placed(tree: Tree, at: Keys, edit: Edit) -> Edit:
    def change(around: Around) -> Mapping:
        with _told(tree, at):
            return edit(around)
        return around.mapping

    return change


def _column(part: str | ColumnPart) -> ColumnPart:
    return ColumnPart(name=part, type=None, fixed=None) if isinstance(part, str) else part


def _automatic(said: bool | str) -> Edit:
    if isinstance(said, str) and said != "pipeline":
        return _fails(f"auto_mapping cannot be {said!r}", "Write true, false or pipeline.")
    return mapping_edits.automatic(None if isinstance(said, str) else said)


def _following(said: str | PolicyPart) -> Edit:
    if said == "pipeline":
        return mapping_edits.following(None)
    given: Any = said if isinstance(said, str) else said.model_dump()
    return lambda at: mapping_edits.following(Policy.from_json(given))(at)


def _fails(message: str, hint: str) -> Edit:
    def change(_: Around) -> Mapping:
        raise ConfigError(message, hint=hint, code="bad_value")

    return change


def _to_table(table: str, columns: Dict[str, ColumnPart]) -> Edit:
    def change(at: Around) -> Mapping:
        if at.mapping.table == table and at.mapping.mapped:
            return at.mapping
        known = {field: one.name for field, one in columns.items() if one.name and at.mapping.of(field)}
        return mapping_edits.mapping_to(table, known)(at)

    return change


def _to_column(field: str, part: ColumnPart) -> Edit:
    def change(at: Around) -> Mapping:
        mapping = at.mapping
        if field in mapping.ignored:
            mapping = editing.unignored(mapping, field)
        column = mapping.of(field)
        if column is None:
            type_ = types.parse(part.type) if part.type else dict(mapping.found).get(field)
            if type_ is None:
                raise ConfigError(
                    f"{mapping.stream} has no field {field!r} that is known, so its column needs a type",
                    hint="Write {name: …, type: …}, or correct the field.",
                    code="unknown_field",
                )
            name = part.name or at.naming.column(field, Taken(mapping.names))
            return editing.added(mapping, field, name, type_, at.naming, fixed=bool(part.fixed))
        if part.name is not None:
            mapping = editing.renamed(mapping, field, part.name, at.naming)
        wanted = types.parse(part.type) if part.type else column.type
        if wanted != column.type or part.fixed:
            mapping = editing.retyped(mapping, field, wanted, at.naming, at.place)
        return editing.freed(mapping, field) if part.fixed is False and column.fixed else mapping

    return change
