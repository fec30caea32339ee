# ruff: noqa: ARG002  every block is given the same
"""Dates and moments moved by units of the calendar, as java.util.Calendar.add does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pydantic import Field

from millrace.data import types
from millrace.engine.blocks import dates
from millrace.engine.blocks.block import Changed, Part, Passage, ValueBlock
from millrace.engine.blocks.taking import takes

if TYPE_CHECKING:
    from millrace.engine.blocks.script import Script

Unit: TypeAlias = Literal[
    "YEAR", "MONTH", "WEEK_OF_YEAR", "WEEK_OF_MONTH", "DAY_OF_MONTH", "DAY_OF_YEAR", "DAY_OF_WEEK",
    "DAY_OF_WEEK_IN_MONTH", "AM_PM", "HOUR", "HOUR_OF_DAY", "MINUTE", "SECOND", "MILLISECOND",
]  # fmt: skip

_HOUR_US = 3_600_000_000
_DAY_US = 24 * _HOUR_US
# The years 1 to 9999: beyond them no date can be written.
_FIRST_US, _END_US = -719_162 * _DAY_US, 2_932_897 * _DAY_US
MONTHS: dict[Unit, int] = {"YEAR": 12, "MONTH": 1}
MICROS: dict[Unit, int] = {
    "WEEK_OF_YEAR": 7 * _DAY_US, "WEEK_OF_MONTH": 7 * _DAY_US, "DAY_OF_WEEK_IN_MONTH": 7 * _DAY_US,
    "DAY_OF_MONTH": _DAY_US, "DAY_OF_YEAR": _DAY_US, "DAY_OF_WEEK": _DAY_US, "AM_PM": 12 * _HOUR_US,
    "HOUR": _HOUR_US, "HOUR_OF_DAY": _HOUR_US, "MINUTE": 60_000_000, "SECOND": 1_000_000, "MILLISECOND": 1_000,
}  # fmt: skip
assert {*MONTHS, *MICROS} == set(get_args(Unit))


class ChangeDatetimeFieldValuesSettings(Part):
    unit: Unit = Field(description="What is added to.")
    amount: int = Field(ge=-(10**9), le=10**9, description="How many units: positive adds, negative subtracts.")


class ChangeDatetimeFieldValues(ValueBlock):
    """Dates and moments are moved. A day that a month does not have is its last one; a date stays a date."""

    type: Literal["CHANGE_DATETIME_FIELD_VALUES"]
    settings: ChangeDatetimeFieldValuesSettings

    def changed(self, rows: pa.RecordBatch, name: str, passage: Passage) -> Changed | None:
        column = rows.column(name)
        if not takes(column.type, "date"):
            return None
        moments = dates.micros(column)
        missing = moments.is_null().to_numpy(zero_copy_only=False)
        counts: npt.NDArray[np.int64] = moments.fill_null(0).to_numpy()
        moved, ok = _moved(counts, self.settings.unit, self.settings.amount)
        bad = ~ok & ~missing
        moved = np.where(ok, moved, 0)
        if column.type == types.DATE:
            values = pa.array(moved // _DAY_US, mask=missing | bad).cast(pa.int32()).cast(types.DATE)
        else:
            values = pa.array(moved, mask=missing | bad).cast(column.type)
        failed = pa.array(bad) if bad.any() else None
        return Changed(values, None, failed, f"{name} would be outside the years 1 to 9999.")

    def explain(self, script: Script) -> None:
        one = self.settings
        months, micros = MONTHS.get(one.unit, 0) * one.amount, MICROS.get(one.unit, 0) * one.amount
        with script.fields(self, "date"):
            script.line(f"p[name] = {script.uses('moved')}(value, {months}, {micros})")


def _moved(
    counts: npt.NDArray[np.int64], unit: Unit, amount: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
    """Microseconds since 1970, moved, and where both ends lie in the years 1 to 9999."""
    ok = (counts >= _FIRST_US) & (counts < _END_US)
    if unit in MICROS:
        by = MICROS[unit] * amount
        if abs(by) >= 2**62:
            return counts, np.zeros(len(counts), bool)
        moved = np.where(ok, counts, 0) + by
        return moved, ok & (moved >= _FIRST_US) & (moved < _END_US)
    days = counts // _DAY_US
    of_day = counts - days * _DAY_US
    months = _months(days)
    day = days - _first(months)
    after = months + MONTHS[unit] * amount
    ok &= (after >= (1 - 1970) * 12) & (after < (10_000 - 1970) * 12)
    after = np.where(ok, after, 0)
    length = _first(after + 1) - _first(after)
    return (_first(after) + np.minimum(day, length - 1)) * _DAY_US + of_day, ok


def _months(days: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    calendar: Any = days.astype("datetime64[D]")
    return calendar.astype("datetime64[M]").astype(np.int64)


def _first(months: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """The first days of months."""
    calendar: Any = months.astype("datetime64[M]")
    return calendar.astype("datetime64[D]").astype(np.int64)
