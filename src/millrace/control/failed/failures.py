"""Why rows fail, who can cure it, and when failed rows try again without being asked (pipelines.md 11)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import field
from datetime import datetime, timedelta
from typing import Literal, Protocol, TypeAlias, TypeVar

from millrace.data.dataclass import dataclass

Cure: TypeAlias = Literal["mapping", "transformation", "settings", "time"]
Who: TypeAlias = Literal["you", "time", "Millrace"]

# A group that waits for time alone tries again after this long, then after twice as long, at most a day later.
FIRST_WAIT = timedelta(hours=3)
LONGEST_WAIT = timedelta(hours=24)

# So often a group is replayed by itself; then only when somebody asks for it.
MOST_ATTEMPTS = 10


@dataclass(frozen=True, slots=True)
class Resolution:
    """How a failure is cured. ``who`` can do it; ``cures``: what lets the rows try again without being asked.

    *mapping*: a later version of the stream's mapping. *transformation*: a later version of the transformation.
    *settings*: the pipeline or its destination was changed. *time*: hours went by.
    """

    code: str
    title: str
    who: Who
    cures: tuple[Cure, ...]
    hint: str

    @property
    def automatic(self) -> bool:
        """Rows try again by themselves once the cause may be cured."""
        return bool(self.cures)


class Waiting(Protocol):
    """An open group of rejects, with the versions under which it was refused."""

    @property
    def stream(self) -> str: ...
    @property
    def stage(self) -> str: ...
    @property
    def code(self) -> str: ...
    @property
    def attempts(self) -> int: ...
    @property
    def retry_at(self) -> datetime | None: ...
    @property
    def created_at(self) -> datetime: ...
    @property
    def mapping_version(self) -> int | None: ...
    @property
    def transformation(self) -> int | None: ...


@dataclass(frozen=True, slots=True)
class Standing:
    """What holds now: versions of the mappings by stream and of the transformation, and the last change of settings.

    ``items_changed_at``: by stream, the last change of a mapping of items of its arrays, with which its events go in.
    """

    now: datetime
    mappings: Mapping[str, int]
    transformation: int | None
    changed_at: datetime
    items_changed_at: Mapping[str, datetime] = field(default_factory=dict[str, datetime])


W = TypeVar("W", bound=Waiting)


def resolution(code: str, stage: str = "") -> Resolution:
    """How a failure with this code is cured. A row that its destination refused never depends on the transformation.

    A code of a source is not known here: its rows try again when somebody asks for it.
    """
    known = RESOLUTIONS.get(code) or Resolution(code, _UNKNOWN.title, _UNKNOWN.who, _UNKNOWN.cures, _UNKNOWN.hint)
    if stage != "load":
        return known
    cures: list[Cure] = [cure for cure in known.cures if cure not in ("transformation", "time")]
    at_load: tuple[Cure, ...] = (*cures, "time")
    return Resolution(code, known.title, known.who, at_load, known.hint)


def due(groups: Iterable[W], standing: Standing) -> list[W]:
    """Those groups whose cause may be cured by now, in their order."""
    return [group for group in groups if _is_due(group, standing)]


def next_try(code: str, stage: str, attempts: int, since: datetime) -> datetime | None:
    """When a group that failed at ``since``, after so many replays by itself, is due by time alone; None: never."""
    if "time" not in resolution(code, stage).cures or attempts >= MOST_ATTEMPTS:
        return None
    return since + min(FIRST_WAIT * 2**attempts, LONGEST_WAIT)


def _is_due(group: Waiting, standing: Standing) -> bool:
    if group.attempts >= MOST_ATTEMPTS:
        return False
    cures = resolution(group.code, group.stage).cures
    if "mapping" in cures:
        items = standing.items_changed_at.get(group.stream)
        newer = standing.mappings.get(group.stream, 0) > (group.mapping_version or 0)
        if newer or (items is not None and items > group.created_at):
            return True
    if "transformation" in cures and (standing.transformation or 0) > (group.transformation or 0):
        return True
    if "settings" in cures and standing.changed_at > group.created_at:
        return True
    at = group.retry_at or next_try(group.code, group.stage, group.attempts, group.created_at)
    return at is not None and at <= standing.now


def _all(*resolutions: Resolution) -> dict[str, Resolution]:
    return {one.code: one for one in resolutions}


_CODE: tuple[Cure, ...] = ("transformation",)
_SCHEMA: tuple[Cure, ...] = ("mapping", "transformation", "settings")
_PLACE: tuple[Cure, ...] = ("mapping", "settings", "time")
_NOTHING: tuple[Cure, ...] = ()

_UNKNOWN = Resolution(
    "", "the source could not make a row of the record", "you", _NOTHING,
    "Look at the rows; mend what the source sends or its settings, then replay them.",
)  # fmt: skip

RESOLUTIONS: dict[str, Resolution] = _all(
    Resolution("TRANSFORM_ERROR", "the transformation raised an error", "you", _CODE,
               "Mend the transformation and deploy it."),
    Resolution("TRANSFORM_TIMEOUT", "the transformation took too long for one row", "you", _CODE,
               "Make it faster, or raise its limit, and deploy it."),
    Resolution("TRANSFORM_RESULT", "the transformation returned what no event is", "you", _CODE,
               "Let it return the event, a list of events, or None, and deploy it."),
    Resolution("TRANSFORM_LIMIT", "the transformation used more than it may", "you", _CODE,
               "Let it use less memory and return less, and deploy it."),
    Resolution("UNMAPPED_EVENT_TYPE", "the object has no table", "you", _SCHEMA,
               "Map it to a table, or switch auto mapping on; skip it if you do not want it."),
    Resolution("UNMAPPED_FIELD", "a field has no column, and new ones are not allowed", "you", _SCHEMA,
               "Map the field, ignore it, or allow new columns."),
    Resolution("INCOMPATIBLE_TYPE", "a value does not fit its column", "you", _SCHEMA,
               "Change the column's type, or mend the value in the transformation."),
    Resolution("STRING_TOO_LONG", "a text is longer than its column", "you", _SCHEMA,
               "Make the column longer, or let the destination cut long text (`on_oversize`)."),
    Resolution("NULL_PRIMARY_KEY", "a key field has no value", "you", _SCHEMA,
               "Choose another key, or give the field a value in the transformation."),
    Resolution("COLUMN_LIMIT", "the table has no room for more columns", "you", _SCHEMA,
               "Ignore fields that are not needed."),
    Resolution("NAME_CONFLICT", "two names are one at the destination", "you", _SCHEMA, "Rename one of them."),
    Resolution("TABLE_MISSING", "the table is gone", "you", _PLACE, "It is made again with the next load."),
    Resolution("COLUMN_MISSING", "a column is gone", "you", _PLACE, "It is made again with the next load."),
    Resolution("CONSTRAINT_VIOLATION", "a rule of the table forbids the row", "you", _SCHEMA,
               "Mend the rule at the destination, or the value in the transformation."),
    Resolution("ROW_TOO_LARGE", "the row is larger than the destination takes", "you", _SCHEMA,
               "Leave out what is not needed in the transformation."),
    Resolution("PERMISSION_DENIED", "the destination does not allow it", "you", _PLACE,
               "Grant the right; the rows try again by themselves."),
    Resolution("DISK_FULL", "the destination has no room", "you", _PLACE,
               "Make room; the rows try again by themselves every few hours, or at once when you replay them."),
    Resolution("DESTINATION_UNREACHABLE", "the destination did not answer", "time", _PLACE, "Nothing to do."),
    Resolution("RATE_LIMITED", "the destination was busy", "time", _PLACE, "Nothing to do."),
    Resolution("INTERNAL", "a fault of Millrace", "Millrace", _NOTHING, "Report it; then replay the rows."),
)  # fmt: skip
