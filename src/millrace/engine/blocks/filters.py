"""Filters of blocks and conditions of If-Else: their form in settings, and the rows and fields that they choose.

A number in a filter is compared with numbers, also those that text says; a date with dates; other text with text, in
upper and lower case as it stands. Where a value is of another sort, it is neither less, equal nor greater. A field that
is missing (null) satisfies only Not Equals, Not In, Not Contains, Is Null and Does Not Have Field.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Annotated, Any, Literal, Self, TypeAlias

import numpy as np
import pyarrow as pa
from pydantic import (
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    PlainSerializer,
    StrictBool,
    StrictInt,
    StrictStr,
    Tag,
    model_validator,
)
from pydantic_core import PydanticCustomError

from millrace.data.compute import pc
from millrace.engine.blocks import scalar
from millrace.engine.blocks.compare import equals, order
from millrace.engine.blocks.formula_functions import text_form
from millrace.engine.blocks.signatures import wrong_regex
from millrace.engine.blocks.values import Flags, One, Value, flags, opened, resolved

Op: TypeAlias = Literal[
    "EQUALS", "NOT_EQUALS", "GREATER_THAN", "GREATER_THAN_EQUAL_TO", "LESSER_THAN", "LESSER_THAN_EQUAL_TO",
    "IN_RANGE", "NOT_IN_RANGE", "IN", "NOT_IN", "IS_NULL", "IS_NOT_NULL", "IS_TRUE", "IS_FALSE", "HAS_FIELD",
    "DOES_NOT_HAVE_FIELD", "CONTAINS", "NOT_CONTAINS", "STARTS_WITH", "ENDS_WITH", "MATCHES_REGEX", "IS_EMPTY",
    "IS_NOT_EMPTY",
]  # fmt: skip


def _shown(value: Decimal) -> float | str:
    return near if Decimal(repr(near := float(value))) == value else str(value)


Fraction: TypeAlias = Annotated[Decimal, PlainSerializer(_shown, return_type=float | str, when_used="json")]
Plain: TypeAlias = StrictBool | StrictInt | StrictStr | Fraction

_RANGES = ("IN_RANGE", "NOT_IN_RANGE")
_LISTS = ("IN", "NOT_IN")
_BARE = (
    "IS_NULL",
    "IS_NOT_NULL",
    "IS_TRUE",
    "IS_FALSE",
    "HAS_FIELD",
    "DOES_NOT_HAVE_FIELD",
    "IS_EMPTY",
    "IS_NOT_EMPTY",
)
_TEXTUAL = ("CONTAINS", "NOT_CONTAINS", "STARTS_WITH", "ENDS_WITH", "MATCHES_REGEX")
# Names of events and fields are text: nothing of them can be missing, true or in a range.
_NOT_OF_NAMES = (*_RANGES, *(op for op in _BARE if op not in ("IS_EMPTY", "IS_NOT_EMPTY")))
_ONLY_OF_FIELDS = ("HAS_FIELD", "DOES_NOT_HAVE_FIELD")


class Filter(BaseModel):
    """An operator with what it is given. ``value`` of In and Not In: a list, or text with commas."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    op: Op | None = Field(None, description="How it compares")
    value: Plain | tuple[Plain, ...] | None = Field(None, description="What it compares with")
    from_: Plain | None = Field(None, alias="from", description="Where the range begins")
    to: Plain | None = Field(None, description="Where the range ends")
    inclusive: bool | None = Field(None, description="Whether both ends belong to the range; they do, if not said")

    @model_validator(mode="before")
    @classmethod
    def _exact(cls, given: Any) -> Any:
        """Fractions as decimals, as they were written."""
        if not isinstance(given, dict):
            return given
        return {key: _exact(value) for key, value in given.items()}  # pyright: ignore[reportUnknownVariableType] - any JSON

    def values(self) -> tuple[Plain, ...]:
        """What In is given, one by one."""
        if isinstance(self.value, str):
            return tuple(part.strip() for part in self.value.split(","))
        return self.value if isinstance(self.value, tuple) else () if self.value is None else (self.value,)

    def _check(self, *, name: bool) -> None:
        op = self.op
        if op is None:
            return
        if name and op in _NOT_OF_NAMES:
            raise _wrong(f"{op} does not go with names")
        is_range = op in _RANGES
        if is_range and (self.from_ is None or self.to is None):
            raise _wrong(f"{op} needs 'from' and 'to'")
        if not is_range and (self.from_ is not None or self.to is not None or self.inclusive is not None):
            raise _wrong(f"{op} takes no 'from', 'to' and 'inclusive'")
        if (is_range or op in _BARE) and self.value is not None:
            raise _wrong(f"{op} takes no 'value'")
        if not is_range and op not in _BARE:
            if self.value is None:
                raise _wrong(f"{op} needs a 'value'; for missing values there is IS_NULL")
            if isinstance(self.value, tuple) and op not in _LISTS:
                raise _wrong(f"{op} takes one value; for several there is IN")
            if op in _LISTS and not self.values():
                raise _wrong(f"{op} needs at least one value")
        if op == "MATCHES_REGEX" and (told := wrong_regex(str(scalar.text(self.value)))):
            raise _wrong(told)


class EventFilter(Filter):
    """Which events a block is for: all, those of a type, or those with a field (whose value satisfies an operator)."""

    on: Literal["ALL_EVENTS", "EVENT_TYPE", "EVENT_FIELD"] = Field(description="What is looked at")
    field: str | None = Field(None, description="The name of the field; nested ones with dots")

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.on == "ALL_EVENTS":
            _nothing_more(self)
        elif self.on == "EVENT_TYPE" and self.op is None:
            raise _wrong("EVENT_TYPE needs an 'op'")
        if self.on == "EVENT_FIELD" and not self.field:
            raise _wrong("EVENT_FIELD needs a 'field'")
        if self.on != "EVENT_FIELD" and self.field is not None:
            raise _wrong(f"{self.on} takes no 'field'")
        if self.on == "EVENT_FIELD" and self.op is None and self.model_fields_set - {"on", "field", "op"}:
            raise _wrong("a 'value' needs an 'op'")
        self._check(name=self.on == "EVENT_TYPE")
        return self


class FieldFilter(Filter):
    """Which fields a block changes: all, those of a name, or those whose value satisfies an operator."""

    on: Literal["ALL_FIELDS", "FIELD_NAME", "FIELD_VALUE"] = Field(description="What is looked at")

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.on == "ALL_FIELDS":
            _nothing_more(self)
        elif self.op is None:
            raise _wrong(f"{self.on} needs an 'op'")
        if self.op in _ONLY_OF_FIELDS:
            raise _wrong(f"{self.op} is a filter of events")
        self._check(name=self.on == "FIELD_NAME")
        return self


def _branch(given: Any) -> str:
    return "filter" if isinstance(given, EventFilter) or (isinstance(given, dict) and "on" in given) else "condition"


class Condition(BaseModel):
    """When an If-Else is true: all of its parts, or any of them. A list alone is ``all``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    all: tuple[Part, ...] | None = Field(None, description="Every one of these must hold")
    any: tuple[Part, ...] | None = Field(None, description="One of these must hold")

    @model_validator(mode="before")
    @classmethod
    def _listed(cls, given: Any) -> Any:
        return {"all": given} if isinstance(given, (list, tuple)) else given

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if (self.all is None) == (self.any is None):
            raise _wrong("a condition has either 'all' or 'any'")
        if not (self.all or self.any):
            raise _wrong("a condition needs at least one filter")
        return self


Part: TypeAlias = Annotated[
    Annotated[EventFilter, Tag("filter")] | Annotated[Condition, Tag("condition")], Discriminator(_branch)
]
Condition.model_rebuild()


def events(filters: Sequence[EventFilter], stream: str, rows: pa.RecordBatch) -> pa.BooleanArray:
    """The rows that satisfy every filter; no nulls. ``rows``: only the columns that the user may see."""
    chosen = np.ones(rows.num_rows, bool)
    for one in filters:
        chosen &= _event(one, stream, rows)
    return pa.array(chosen)


def holds(condition: Condition, stream: str, rows: pa.RecordBatch) -> pa.BooleanArray:
    """The rows for which the condition is true; no nulls."""
    return pa.array(_holds(condition, stream, rows))


def fields(
    filters: Sequence[FieldFilter], rows: pa.RecordBatch, among: Sequence[str]
) -> dict[str, pa.BooleanArray | None]:
    """The fields of ``among`` that satisfy every filter, each with its rows (no nulls; None: all rows).

    A field chosen by its name alone is chosen in all rows, whether or not they have it. One that is chosen in no row
    is left out.
    """
    found: dict[str, pa.BooleanArray | None] = {}
    for name in among:
        if not all(_named(one, name) for one in filters if one.on == "FIELD_NAME"):
            continue
        by_value = [one for one in filters if one.on == "FIELD_VALUE"]
        if not by_value:
            found[name] = None
            continue
        index = rows.schema.get_field_index(name)
        value: Value = rows.column(index) if index >= 0 else One(None)
        chosen = np.ones(rows.num_rows, bool)
        for one in by_value:
            chosen &= satisfied(one, value, rows.num_rows)
        if chosen.any():
            found[name] = pa.array(chosen)
    return found


def _holds(condition: Condition, stream: str, rows: pa.RecordBatch) -> Flags:
    def one(part: EventFilter | Condition) -> Flags:
        return _event(part, stream, rows) if isinstance(part, EventFilter) else _holds(part, stream, rows)

    if condition.any is not None:
        return np.logical_or.reduce([one(part) for part in condition.any])
    return np.logical_and.reduce([one(part) for part in condition.all or ()])


def _event(one: EventFilter, stream: str, rows: pa.RecordBatch) -> Flags:
    match one.on:
        case "ALL_EVENTS":
            return np.ones(rows.num_rows, bool)
        case "EVENT_TYPE":
            return np.full(rows.num_rows, _named(one, stream))
        case "EVENT_FIELD":
            return satisfied(one, resolved(rows, (one.field or "").split(".")), rows.num_rows)


def _named(one: Filter, name: str) -> bool:
    """Names are compared as text."""
    told = [str(scalar.text(value)) for value in one.values()]
    match one.op:
        case "IN" | "NOT_IN":
            return (name in told) == (one.op == "IN")
        case "IS_EMPTY" | "IS_NOT_EMPTY":
            return (not name) == (one.op == "IS_EMPTY")
        case None:
            return True
        case op:
            text = str(scalar.text(one.value))
            if op in _BY_ORDER:
                return ((name > text) - (name < text)) in _BY_ORDER[op]
            if op == "NOT_EQUALS":
                return name != text
            return bool(flags(_TEXT_KERNELS[op](pa.array([name]), text))[0]) != (op == "NOT_CONTAINS")


_BY_ORDER: dict[str, tuple[int, ...]] = {
    "EQUALS": (0,),
    "GREATER_THAN": (1,),
    "GREATER_THAN_EQUAL_TO": (0, 1),
    "LESSER_THAN": (-1,),
    "LESSER_THAN_EQUAL_TO": (-1, 0),
}
_TEXT_KERNELS: dict[str, Callable[[pa.Array, str], pa.Array]] = {
    "CONTAINS": pc.match_substring,
    "NOT_CONTAINS": pc.match_substring,
    "STARTS_WITH": pc.starts_with,
    "ENDS_WITH": pc.ends_with,
    "MATCHES_REGEX": pc.match_substring_regex,
}


def satisfied(one: Filter, value: Value, count: int) -> Flags:
    """The rows whose value satisfies the operator; without an operator, those that have one."""
    value = opened(value)
    present = _present(value, count)
    match one.op:
        case None | "IS_NOT_NULL" | "HAS_FIELD":
            return present
        case "IS_NULL" | "DOES_NOT_HAVE_FIELD":
            return ~present
        case "IS_TRUE" | "IS_FALSE":
            return equals(value, one.op == "IS_TRUE", count)
        case "IS_EMPTY" | "IS_NOT_EMPTY":
            empty = np.isin(_texts(value, count), ["", "[]", "{}"])
            return present & (empty == (one.op == "IS_EMPTY"))
        case "IN_RANGE" | "NOT_IN_RANGE":
            return present & (_in_range(one, value, count) == (one.op == "IN_RANGE"))
        case "IN":
            return _among(one, value, count)
        case "NOT_IN":
            return ~_among(one, value, count)
        case "NOT_EQUALS":
            return ~equals(value, one.value, count)
        case "EQUALS":
            return equals(value, one.value, count)
        case op if op in _BY_ORDER:
            return np.isin(order(value, one.value, count), _BY_ORDER[op])
        case op:
            found = flags(_TEXT_KERNELS[op](text_form(value, count), str(scalar.text(one.value))))
            return found != (op == "NOT_CONTAINS")


def _present(value: Value, count: int) -> Flags:
    if isinstance(value, One):
        return np.full(count, value.value is not None)
    if isinstance(value, pa.Array):
        return value.is_valid().to_numpy(zero_copy_only=False)
    return np.array([one is not None for one in value.values], bool)


def _texts(value: Value, count: int) -> Any:
    return text_form(value, count).fill_null("-").to_numpy(zero_copy_only=False)


def _in_range(one: Filter, value: Value, count: int) -> Flags:
    low, high = order(value, one.from_, count), order(value, one.to, count)
    inside = one.inclusive is not False
    return np.isin(low, (0, 1) if inside else (1,)) & np.isin(high, (-1, 0) if inside else (-1,))


def _among(one: Filter, value: Value, count: int) -> Flags:
    """Rows that equal one of the values; where there are many, looked for once for each distinct value."""
    wanted = one.values()
    if isinstance(value, pa.Array) and len(wanted) > 4:
        encoded = value.dictionary_encode() if not isinstance(value, pa.ExtensionArray) else None
        if encoded is not None and len(encoded.dictionary) < count // 4:
            hit = pa.array(_among(one, encoded.dictionary, len(encoded.dictionary)))
            return flags(hit.take(encoded.indices))
    found = np.zeros(count, bool)
    plain = [w for w in wanted if isinstance(w, str) and scalar.number_of(w) is None and scalar.moment_of(w) is None]
    if plain and isinstance(value, pa.Array) and value.type == pa.string():
        found |= flags(pc.is_in(value, pa.array(plain)))
    else:
        plain = []
    for constant in wanted:
        if constant not in plain:
            found |= equals(value, constant, count)
    return found


def _exact(value: Any) -> Any:
    if isinstance(value, float):
        return Decimal(repr(value))
    return [_exact(item) for item in value] if isinstance(value, (list, tuple)) else value  # pyright: ignore[reportUnknownVariableType] - any JSON


def _nothing_more(one: Filter) -> None:
    if more := one.model_fields_set - {"on"}:
        raise _wrong(f"a filter of all takes nothing more, but there is {sorted(more)[0].rstrip('_')!r}")


def _wrong(message: str) -> PydanticCustomError:
    return PydanticCustomError("filter", "{told}", {"told": message})
