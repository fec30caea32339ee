"""A schema in the closed list of logical types as one line of JSON, and back."""

from __future__ import annotations

import json
from typing import cast

import pyarrow as pa

from millrace.data import types
from millrace.data.columns import is_ours, ours

_OURS = "ours "


def described(schema: pa.Schema) -> str:
    """The fields with their logical types: ``{"id": "LONG", "__hevo_id": "ours VARCHAR"}``.

    Fields with nothing but nulls are left out.
    """
    kinds = {
        field.name: (_OURS if is_ours(field) else "") + types.name(types.canonical(field.type))
        for field in schema
        if not pa.types.is_null(field.type)
    }
    return json.dumps(kinds, ensure_ascii=False, separators=(",", ":"))


def as_described(text: str) -> pa.Schema:
    """The schema that `described` wrote."""
    fields: list[pa.Field] = []
    for name, kind in cast("dict[str, str]", json.loads(text)).items():
        type_ = types.parse(kind.removeprefix(_OURS))
        fields.append(ours(name, type_) if kind.startswith(_OURS) else pa.field(name, type_))
    return pa.schema(fields)
