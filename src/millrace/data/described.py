"""A schema in the closed list of logical types as one line of JSON, and back."""

from __future__ import annotations

import json
from typing import cast

import pyarrow as pa

from millrace.data import types
from millrace.data.columns import is_measured, is_ours, measured, ours

_OURS, _MEASURED = "ours ", "measured "


def described(schema: pa.Schema) -> str:
    """The fields with their logical types: ``{"id": "LONG", "__hevo_id": "ours VARCHAR"}``.

    Before a type may also stand that it is `columns.measured`.
    Fields with nothing but nulls are left out.
    """
    kinds = {
        field.name: _mark(field) + types.name(types.canonical(field.type))
        for field in schema
        if not pa.types.is_null(field.type)
    }
    return json.dumps(kinds, ensure_ascii=False, separators=(",", ":"))


def _mark(field: pa.Field) -> str:
    return _OURS if is_ours(field) else _MEASURED if is_measured(field) else ""


def as_described(text: str) -> pa.Schema:
    """The schema that `described` wrote."""
    fields: list[pa.Field] = []
    for name, kind in cast("dict[str, str]", json.loads(text)).items():
        type_ = types.parse(kind.removeprefix(_OURS).removeprefix(_MEASURED))
        made = ours if kind.startswith(_OURS) else measured if kind.startswith(_MEASURED) else pa.field
        fields.append(made(name, type_))
    return pa.schema(fields)
