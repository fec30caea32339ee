"""How a mapping stands: its status, and what will bite unless somebody looks (loading.md 15.3, 15.7, 15.8, 18)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from collections.abc import Mapping as Dict
from typing import Literal, TypeAlias

import pyarrow as pa

from millrace.connect.destination import Limits
from millrace.connect.source import Stream
from millrace.data import types
from millrace.data.cast import fits
from millrace.data.dataclass import dataclass
from millrace.engine.mapping import RESERVED_COLUMNS, Mapping, policy_of
from millrace.engine.policy import Action, Policy

Status: TypeAlias = Literal[
    "AUTO_MAPPED", "MAPPED", "CREATING_TABLE", "ALTERING", "SKIPPED", "UNMAPPED", "INCOMPLETE", "ERROR"
]
ApiStatus: TypeAlias = Literal["MAPPED", "UNMAPPED", "INCOMPLETE", "IGNORED", "MAPPING_IN_PROGRESS"]
Pending: TypeAlias = Literal["CREATING_TABLE", "ALTERING"]

_API: dict[Status, ApiStatus] = {
    "AUTO_MAPPED": "MAPPED",
    "MAPPED": "MAPPED",
    "CREATING_TABLE": "MAPPING_IN_PROGRESS",
    "ALTERING": "MAPPING_IN_PROGRESS",
    "SKIPPED": "IGNORED",
    "UNMAPPED": "UNMAPPED",
    "INCOMPLETE": "INCOMPLETE",
    "ERROR": "INCOMPLETE",
}

# Of the columns that a table may have, so many tenths are nearly all.
_NEARLY = 9


@dataclass(frozen=True, slots=True)
class Warned:
    """Something about a mapping that a person should know before it bites. ``field`` None: the event type itself."""

    code: str
    field: str | None
    message: str
    hint: str


@dataclass(frozen=True, slots=True)
class Standing:
    """The status of a mapping, as stored and as the API says it."""

    stored: Status
    warnings: tuple[Warned, ...] = ()
    error: str | None = None

    @property
    def api(self) -> ApiStatus:
        return _API[self.stored]


def standing(
    mapping: Mapping, warnings: Sequence[Warned], *, pending: Pending | None = None, error: str | None = None
) -> Standing:
    """The status of a mapping. ``pending``: its table is still being made or changed; ``error``: what the destination
    said when that failed."""
    return Standing(_stored(mapping, warnings, pending, error), tuple(warnings), error)


def _stored(mapping: Mapping, warnings: Sequence[Warned], pending: Pending | None, error: str | None) -> Status:
    if mapping.skipped:
        return "SKIPPED"
    if not mapping.mapped:
        return "UNMAPPED"
    if error is not None:
        return "ERROR"
    if pending is not None:
        return pending
    if any(one.code in _INCOMPLETE for one in warnings):
        return "INCOMPLETE"
    return "AUTO_MAPPED" if mapping.auto else "MAPPED"


_WHY = {
    "UNMAPPED_FIELD": "new columns are not made by themselves here",
    "COLUMN_LIMIT": "the table has as many columns as it may have",
    "NAME_CONFLICT": "no free name is left for its column",
}
_BECOMES: dict[Action, str] = {
    "freeze": "rows with a value in it are rejected",
    "discard_row": "rows with a value in it are left out",
}
_INCOMPLETE = frozenset({*_WHY, "INCOMPATIBLE_MAPPING", "KEY_CHANGED"})


def warnings(
    mapping: Mapping,
    limits: Limits,
    *,
    stream: Stream | None = None,
    table: Dict[str, pa.DataType] | None = None,
    policy: Policy | None = None,
) -> list[Warned]:
    """What will bite. ``stream``: the source's present word on it; ``table``: the columns at the destination."""
    if mapping.skipped:
        return []
    chosen = policy_of(mapping, policy)
    return [
        *_without_column(mapping, chosen),
        *_unfit(mapping, table or {}, chosen.types == "evolve"),
        *_key(mapping, stream),
        *_nearly_full(mapping, limits),
    ]


def without_column(field: str, reason: str, policy: Policy) -> str:
    """What it means that a field has no column, and why it has none."""
    becomes = _BECOMES.get(policy.columns) if reason == "UNMAPPED_FIELD" else None
    return f"the field {field} has no column, so {becomes or 'its values are not loaded'}: {_WHY.get(reason, reason)}"


def _without_column(mapping: Mapping, policy: Policy) -> Iterator[Warned]:
    found = dict(mapping.found)
    for name, reason in mapping.unmapped if mapping.mapped else ():
        of = f" ({types.name(found[name])})" if name in found else ""
        message = without_column(f"{name}{of}", reason, policy)
        yield Warned(reason, name, message, "Give it a column, or ignore it.")


def _unfit(mapping: Mapping, table: Dict[str, pa.DataType], evolves: bool) -> Iterator[Warned]:
    for column in mapping.columns:
        brings, fit = column.brings, fits(column.brings, column.type) if column.brings is not None else "always"
        into = types.name(column.type)
        there = table.get(column.name)
        # The table is made wide enough before a load, but for text that its owner gave a length.
        if fit == "always" and there is not None and types.length(there) and (column.fixed or not evolves):
            brings, fit, into = column.type, fits(column.type, there), types.name(there)
        if fit != "always" and brings is not None:
            some = "none" if fit == "never" else "perhaps not all"
            yield Warned(
                "INCOMPATIBLE_MAPPING",
                column.source,
                f"{column.source} brings {types.name(brings)}; of those {some} fit the column {column.name} ({into})",
                "Rows with values that do not fit are rejected. Map the field to another column, choose another type, "
                "or change the values with a transformation.",
            )


def _key(mapping: Mapping, stream: Stream | None) -> Iterator[Warned]:
    if stream is not None and not mapping.own_key and stream.key != mapping.key:
        now, then = ", ".join(stream.key) or "no field", ", ".join(mapping.key) or "no field"
        yield Warned(
            "KEY_CHANGED",
            None,
            f"the source tells rows apart by {now} now; the table does by {then}",
            "Read the history anew into a fresh table: millrace resync --mode drop-and-load.",
        )


def _nearly_full(mapping: Mapping, limits: Limits) -> Iterator[Warned]:
    most = limits.columns - RESERVED_COLUMNS
    if most * _NEARLY <= len(mapping.columns) * 10 and len(mapping.columns) < most:
        yield Warned(
            "COLUMNS_NEARLY_FULL",
            None,
            f"{mapping.table} has {len(mapping.columns):,} of at most {most:,} columns",
            "Ignore fields that nobody needs; what comes past the limit is not loaded.",
        )
