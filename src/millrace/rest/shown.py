"""How answers are described: JSON Schema of what `control/wire.py` writes, and the one shape of refusals.

What pydantic would describe is its own JSON. Ours has every field of a dataclass and what is derived from them, seconds
for a length of time, numbers for exact decimals, and text for numbers that JSON has not.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias, get_origin, get_type_hints

import pyarrow as pa
from pydantic import BaseModel, TypeAdapter
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema as core

from millrace.control.answers import derived
from millrace.control.wire import ARROW
from millrace.rest.problems import ProblemBody

Answers: TypeAlias = dict[int | str, dict[str, Any]]

LINES = "application/x-ndjson"
REF = "#/components/schemas/{model}"


def refusal(description: str) -> dict[str, Any]:
    """An answer with the one body of all that is no success. Given its model, FastAPI would build it anew for each
    answer of each route, a thousand times; the document gets it once."""
    schema = {"$ref": REF.format(model=ProblemBody.__name__)}
    return {"description": description, "content": {"application/json": {"schema": schema}}}


# Every route may answer so.
REFUSALS: Answers = {
    "4XX": refusal("The request cannot be granted; the body says why."),
    "5XX": refusal("The server cannot answer now."),
}


class Column(BaseModel):
    """A column of rows, with its Arrow type."""

    name: str
    type: str


class Rows(BaseModel):
    """How an Arrow table is shown: its columns, and its rows in their order."""

    columns: list[Column]
    rows: list[list[Any]]


def answers(type_: Any, status: int = 200) -> Answers:
    """What a route may answer: that type, or nothing where it is None."""
    if type_ is None:
        return {**REFUSALS, status: {"description": "It is done."}}
    told: dict[str, Any] = {"description": "What was asked for."}
    if get_origin(type_) is Iterator:
        told["content"] = {LINES: {"schema": {"type": "string", "description": "One JSON document on each line."}}}
    elif type_ is pa.Table:
        told["model"] = Rows
        told["content"] = {ARROW: {"schema": {"type": "string", "format": "binary", "description": "An Arrow stream."}}}
    else:
        told["model"] = type_
    return {**REFUSALS, status: told}


class _Wire(GenerateJsonSchema):
    """JSON Schema of what `control/answers.py:plain` makes of a value."""

    def timedelta_schema(self, schema: core.TimedeltaSchema) -> JsonSchemaValue:  # noqa: ARG002  pydantic's name
        return {"type": "number", "description": "Seconds."}

    def decimal_schema(self, schema: core.DecimalSchema) -> JsonSchemaValue:  # noqa: ARG002  pydantic's name
        return {"anyOf": [{"type": "number"}, {"type": "string"}]}

    def float_schema(self, schema: core.FloatSchema) -> JsonSchemaValue:  # noqa: ARG002  pydantic's name
        return {"anyOf": [{"type": "number"}, {"enum": ["nan", "inf", "-inf"]}]}

    def bytes_schema(self, schema: core.BytesSchema) -> JsonSchemaValue:  # noqa: ARG002  pydantic's name
        return {"type": "string", "contentEncoding": "base64"}

    def default_schema(self, schema: core.WithDefaultSchema) -> JsonSchemaValue:
        found = super().default_schema(schema)
        # FastAPI says nothing of a default that is null; one schema has one form.
        return {key: value for key, value in found.items() if key != "default" or value is not None}

    def field_is_required(
        self, field: core.ModelField | core.DataclassField | core.TypedDictField, total: bool
    ) -> bool:
        if field["type"] == "dataclass-field":
            return True
        # Of a model, what is None is left out.
        return super().field_is_required(field, total) and field["schema"]["type"] != "default"

    def dataclass_schema(self, schema: core.DataclassSchema) -> JsonSchemaValue:
        found = super().dataclass_schema(schema)
        for name in derived(schema["cls"]):
            getter = vars(schema["cls"])[name].fget
            found.setdefault("properties", {})[name] = self._of(get_type_hints(getter)["return"])
            found["required"] = [*found.get("required", ()), name]
        return found

    def _of(self, type_: Any) -> JsonSchemaValue:
        return self.generate_inner(TypeAdapter(type_).core_schema)


def schemas(types: Mapping[str, Any]) -> tuple[dict[str, JsonSchemaValue], dict[str, JsonSchemaValue]]:
    """The schema of each type by its key, and the schemas that they refer to, by name."""
    found, shared = TypeAdapter.json_schemas(
        [(key, "serialization", TypeAdapter(type_)) for key, type_ in types.items()],
        ref_template=REF,
        schema_generator=_Wire,
    )
    return {key: schema for (key, _), schema in found.items()}, shared.get("$defs", {})
