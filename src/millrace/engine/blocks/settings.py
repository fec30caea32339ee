"""Values of settings that several blocks have: names of fields, and formulas."""

from __future__ import annotations

import math
from decimal import Decimal
from functools import lru_cache
from typing import Annotated, Any, TypeAlias

from pydantic import AfterValidator, BeforeValidator, Field
from pydantic_core import PydanticCustomError

from millrace.engine.blocks import formula
from millrace.engine.blocks.formula import Formula
from millrace.errors import ConfigError

_RESERVED = ("__hevo_", "__he__")


@lru_cache(512)
def parsed(text: str) -> Formula:
    """The formula; read once."""
    return formula.parse(text)


def told(formula: Formula, message: str) -> str:
    """What went wrong, with the formula in which it did; a long one is cut."""
    text = formula.text if len(formula.text) <= 80 else formula.text[:79] + "…"
    return f"in the formula {text}: {message}"


def wrong(message: str, hint: str | None = None) -> PydanticCustomError:
    """What a validator raises: told to the user as it is."""
    return PydanticCustomError("block", "{told}", {"told": message, "hint": hint})


def _as_formula(given: Any) -> Any:
    """A number, true, false or null is the formula that says it."""
    if given is None:
        return "$null"
    if isinstance(given, bool):
        return "true" if given else "false"
    if isinstance(given, (int, float, Decimal)):
        if isinstance(given, float) and not math.isfinite(given):
            raise wrong(f"{given} is no number", "Leave the field out, or take $null.")
        return f"{given if isinstance(given, Decimal) else Decimal(repr(given)):f}"
    return given


def _checked(text: str) -> str:
    try:
        parsed(text)
    except ConfigError as error:
        raise wrong(error.message, error.hint) from None
    return text


def _without_self(text: str) -> str:
    if parsed(text).uses_self:
        raise wrong("$self means nothing here: the field is made, not changed", "Name the field that is meant.")
    return text


def _not_reserved(name: str) -> str:
    if name.lower().startswith(_RESERVED):
        raise wrong(f"{name!r} is a name of Millrace's own metadata", "Take a name that does not begin with it.")
    return name


FieldName: TypeAlias = Annotated[str, Field(min_length=1, max_length=1024), AfterValidator(_not_reserved)]

FormulaText: TypeAlias = Annotated[
    str,
    BeforeValidator(_as_formula, json_schema_input_type=str | int | float | bool | None),
    AfterValidator(_checked),
]
"""A formula; also a number, true, false or null as it stands in JSON."""

FormulaWithoutSelf: TypeAlias = Annotated[FormulaText, AfterValidator(_without_self)]
