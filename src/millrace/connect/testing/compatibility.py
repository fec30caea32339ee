"""What a column that a person made takes: the compatibility table (loading.md 16), asked of the destination itself.

A destination's own test is a class that inherits `CompatibilityContract`.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, ClassVar

import pyarrow as pa
import pytest

from millrace.connect import registry
from millrace.connect.destination import Load, Unloadable
from millrace.connect.sql.destination import SqlDestination
from millrace.connect.testing.extremes import EXTREMES, back
from millrace.connect.testing.rows import Rows, array, table
from millrace.data import columns, types
from millrace.data.cast import cast
from millrace.data.compatibility import COLUMNS

FEED = "compatibility/1"

# Beside the ends of every type: values of which some columns can hold the one and not the other.
BESIDE: dict[str, list[Any]] = {
    "byte": [0, 1],
    "long": [1, 1_700_000_000_000],
    "double": [1.0, 2.5],
    "varchar": ["1", "true", "2026-01-31", "2026-01-31T10:00:00Z", "10:00:00", "2.50", "aGVsbG8=", '{"a":1}'],
    "timestamp": [datetime(2026, 1, 31), datetime(2026, 1, 31, 10, 0, 0, 1000)],
    "timestamptz": [datetime(2026, 1, 31, tzinfo=UTC)],
}


def sources() -> dict[str, pa.Array]:
    """Values of every logical type, none of them longer than a test has time for."""
    found: dict[str, pa.Array] = {}
    for name, (type_, values) in EXTREMES.items():
        short = [one for one in values if not isinstance(one, (str, bytes)) or len(one) < 100]
        found[name] = array([*short, *BESIDE.get(name, [])], type_)
    return found


class CompatibilityContract(ABC):
    """Tests of tables with columns of any type: a value that fits is there exactly, a row with another one is refused.

    ``type_`` is the destination's name in settings, `config` its settings for one place of the test.
    """

    type_: ClassVar[str]

    @abstractmethod
    def config(self) -> dict[str, Any]:
        """Settings in JSON's types; the same place each time within a test."""

    @pytest.mark.spec("loading.16")
    @pytest.mark.parametrize("name", COLUMNS)
    def test_a_column_takes_what_the_compatibility_table_says(self, name: str) -> None:
        found = registry.destination(self.type_)
        destination = found(found.Config.model_validate(self.config()))
        assert isinstance(destination, SqlDestination)
        to = destination.dialect.kept(COLUMNS[name])
        given = sources()
        made = table(f"into_{name.lower()}", dict.fromkeys(given, to), mode="append")
        rows, bad = _rows(given, to, nan=destination.limits.nan)
        destination.ensure(made)
        if bad:
            with pytest.raises(Unloadable) as refused:
                destination.load(made, Load(FEED, 0, 1, 1, rows))
            assert {one.row for one in refused.value.refusals} == bad
            assert {one.code for one in refused.value.refusals} == {"INCOMPATIBLE_TYPE"}
        destination.load(made, Load(FEED, 0, 1, 1, rows, frozenset(bad)))
        there = destination.query(
            f"SELECT * FROM {destination.target(made.name)} ORDER BY {destination.dialect.quoted(columns.INGESTED_AT)}"
        )
        kept = [number for number in range(rows.count) if number not in bad]
        assert there[columns.INGESTED_AT].to_pylist() == kept
        for source in given:
            expected = cast(rows.table[source].combine_chunks(), to, strict=False).values.take(pa.array(kept))
            assert _told(there[source], to) == _told(pa.chunked_array([expected]), to), source
        destination.close()


def _rows(given: dict[str, pa.Array], to: pa.DataType, *, nan: bool) -> tuple[Rows, set[int]]:
    """One row for each value, which stands in the column of its type; and the rows whose value is none of ``to``."""
    count = sum(len(values) for values in given.values())
    bad: set[int] = set()
    filled: dict[str, pa.Array] = {}
    first = 0
    for source, values in given.items():
        after = count - first - len(values)
        filled[source] = pa.concat_arrays([pa.nulls(first, values.type), values, pa.nulls(after, values.type)])
        casted = cast(values, to, strict=False)
        wrong = [False] * len(values) if casted.bad is None else casted.bad.to_pylist()
        bad |= {first + at for at, one in enumerate(wrong) if one}
        bad |= {first + at for at in _outside(casted.values)}
        if not nan and types.is_float(to):
            bad |= {
                first + at for at, one in enumerate(casted.values.to_pylist()) if one is not None and one - one != 0
            }
        first += len(values)
    filled[columns.INGESTED_AT] = pa.array(range(count), pa.int64())
    return Rows(pa.table(filled)), bad


def _told(values: pa.ChunkedArray, to: pa.DataType) -> list[Any]:
    """Values in a form that can be compared: numbers inside of JSON by what they are, not by how they are written."""
    if not types.is_json(to):
        return back(values, to)
    texts = types.storage(cast(values.combine_chunks(), types.VARCHAR, strict=True).values).to_pylist()
    return [None if one is None else json.loads(one, parse_float=Decimal, parse_int=Decimal) for one in texts]


_CALENDAR = tuple(int((end - datetime(1970, 1, 1)).total_seconds()) * 1_000_000 for end in (datetime.min, datetime.max))


def _outside(values: pa.Array) -> list[int]:
    """Places of moments outside of the years 1 to 9999, which databases do not keep."""
    if not pa.types.is_timestamp(values.type):
        return []
    micros = values.view(pa.int64()).to_pylist()
    return [
        at for at, one in enumerate(micros) if one is not None and not _CALENDAR[0] <= one <= _CALENDAR[1] + 999_999
    ]
