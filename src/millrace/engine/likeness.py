"""Tells which rows of two sides are not alike, value by value, in bounded memory.

Keys are spread over parts by their hash. The first pass over both sides keeps sums of hashes of each part and column;
only rows of parts whose sums differ are noted in the second, by their keys and hashes, in a file that is removed.
Several tables may be compared together, where one reading of a side brings the rows of all.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Generator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from millrace.data import types, writing
from millrace.data.alike import Form, fitted, form, formed
from millrace.data.compute import pc
from millrace.data.dataclass import dataclass

# Each call reads the rows of the tables with these numbers from the beginning, and says of which one a batch is; it may
# bring rows of others. What it opened is closed with it.
Side: TypeAlias = Callable[[Collection[int]], Generator[tuple[int, pa.RecordBatch]]]
Kind: TypeAlias = Literal["other", "missing", "extra"]
Ends: TypeAlias = tuple[int | None, int | None]

_PARTS = 1024
_MEMORY = "256MB"
_WORD = "CAST(sum({h}) & 18446744073709551615 AS UBIGINT)"


@dataclass(frozen=True, slots=True)
class Columns:
    """What is compared of one table: the names of the key's columns and of the others, with the types of the mapping.

    ``owner``: columns of text, not compared, with the key of the row of the first table that each row is of; the second
    side knows what it can. People are shown these in place of a key that says nothing to them.
    """

    key: tuple[str, ...]
    types: dict[str, pa.DataType]
    owner: tuple[str, ...] = ()

    @property
    def others(self) -> list[str]:
        return [name for name in self.types if name not in self.key]


@dataclass(frozen=True, slots=True)
class Unalike:
    """Rows in one range that are not alike: ``kind`` tells whether both sides have them with other values, or only the
    first one (missing), or the second has more of them (extra). ``first``, ``last``: the ends of their keys.
    ``columns``: in how many of them each column differs."""

    range: int
    kind: Kind
    rows: int
    first: str
    last: str
    columns: dict[str, int]


@dataclass(frozen=True, slots=True)
class Likeness:
    """``rows``: how many rows the first side has. ``keys``: keys of rows whose values differ or that are missing, or of
    their owners, as text; None where there are more than were asked for."""

    rows: int
    unalike: tuple[Unalike, ...] = ()
    keys: tuple[tuple[str, ...], ...] | None = ()


def likeness(
    one: Side, other: Side, tables: Sequence[Columns], ranges: Sequence[Ends], most_keys: int
) -> list[Likeness]:
    """How alike the two sides are, table by table; each is read once, and once more where they differ. ``ranges``: of
    the first column of the first table's key, where that is a whole number; without any, all rows are one range.

    Rows of an owner that the second side lacks in the first table are told there, and not once more.
    """
    import duckdb  # only where values are compared

    with TemporaryDirectory(prefix="millrace-values-") as folder, duckdb.connect(str(Path(folder, "values"))) as engine:
        engine.execute(f"SET memory_limit = '{_MEMORY}'; SET threads = 2")
        engine.execute("SET preserve_insertion_order = false")
        sums = [_sums(engine, side, tables) for side in (one, other)]
        parts = {
            number: np.nonzero((mine != theirs).any(axis=1))[0].tolist()
            for number, (mine, theirs) in enumerate(zip(*sums, strict=True))
        }
        parts = {number: those for number, those in parts.items() if those}
        if parts:
            for name, side in (("one", one), ("other", other)):
                _note(engine, name, side, tables, parts)
        found: list[Likeness] = []
        for number, columns in enumerate(tables):
            rows = int(sums[0][number][:, 0].sum())
            if number in parts:
                beside = 0 in parts and bool(columns.owner)
                found.append(_told(engine, number, rows, columns, () if number else ranges, most_keys, beside=beside))
            else:
                found.append(Likeness(rows))
        return found


def _sums(engine: Any, side: Side, tables: Sequence[Columns]) -> list[npt.NDArray[np.uint64]]:
    """For each table and part the number of rows, the sum of the hashes of their keys, and of each column."""
    hashes = [["1", *(f"h{place}" for place in range(len(columns.others) + 1))] for columns in tables]
    sums = [np.zeros((_PARTS, len(those)), np.uint64) for those in hashes]
    with closing(_hashed(engine, side, tables, range(len(tables)))) as batches:
        for number in batches:
            asked = ", ".join(_WORD.format(h=one) for one in hashes[number])
            found: dict[str, Any] = engine.execute(f"SELECT part, {asked} FROM hashed GROUP BY part").fetchnumpy()
            parts, *values = found.values()
            for place, value in enumerate(values):
                sums[number][parts.astype(np.int64), place] += value
    return sums


def _note(engine: Any, name: str, side: Side, tables: Sequence[Columns], wanted: Mapping[int, Sequence[int]]) -> None:
    """Rows of the wanted tables and parts are in tables of their own."""
    chosen: dict[int, str] = {}
    for number, parts in wanted.items():
        columns = tables[number]
        texts = [f"k{place}" for place in range(len(columns.key))] + [f"r{p}" for p in range(len(columns.owner))]
        others = [f"h{place}" for place in range(1, len(columns.others) + 1)]
        kinds = [*(f"{one} VARCHAR" for one in texts), *(f"{one} UBIGINT" for one in others)]
        engine.execute(f"CREATE TABLE {name}{number} ({', '.join(kinds)})")
        within = f"part IN ({', '.join(map(str, parts))})"
        chosen[number] = f"SELECT {', '.join([*texts, *others])} FROM hashed WHERE {within}"
    with closing(_hashed(engine, side, tables, wanted.keys())) as batches:
        for number in batches:
            engine.execute(f"INSERT INTO {name}{number} {chosen[number]}")


def _hashed(engine: Any, side: Side, tables: Sequence[Columns], wanted: Collection[int]) -> Generator[int]:
    """Batch by batch, the table whose rows `hashed` shows with their keys, parts and hashes. 0: of the key, then by
    column.

    A column's hash is of the key too: else values that rows of one part exchange would leave its sum as it is.
    """
    with closing(side(wanted)) as batches:
        for number, batch in batches:
            if not batch.num_rows or number not in wanted:
                continue
            columns = tables[number]
            key = ", ".join(f"k{place}" for place in range(len(columns.key)))
            texts = [key, *(f"r{place}" for place in range(len(columns.owner)))]
            others = [f"hash({key}, v{place}, o{place}) AS h{place}" for place in range(1, len(columns.others) + 1)]
            engine.register("formed", _formed(batch, columns))
            engine.execute(
                f"CREATE OR REPLACE TEMP VIEW hashed AS SELECT {', '.join([*texts, *others])}, hash({key}) AS h0, "
                f"hash({key}) % {_PARTS} AS part FROM formed"
            )
            yield number
            engine.unregister("formed")


def _formed(batch: pa.RecordBatch, columns: Columns) -> pa.Table:
    arrays: dict[str, pa.Array] = {}
    for place, name in enumerate(columns.key):
        arrays[f"k{place}"] = key_text(batch.column(name), columns.types[name])
    for place, name in enumerate(columns.others, 1):
        found: Form = form(batch.column(name), columns.types[name])
        arrays[f"v{place}"], arrays[f"o{place}"] = found.values, found.odd
    for place, name in enumerate(columns.owner):
        arrays[f"r{place}"] = batch.column(name)
    return pa.table(arrays)


def key_text(values: pa.Array, type_: pa.DataType) -> pa.Array:
    """Values of a key as text, the same on both sides; a value that does not fit the type is what it is."""
    found = fitted(values, type_)
    written = formed(found.values) if types.kind(type_) == "DECIMAL" else writing.text(found.values).values
    return pc.coalesce(written, found.odd)


def _told(
    engine: Any,
    number: int,
    rows: int,
    columns: Columns,
    ranges: Sequence[Ends],
    most_keys: int,
    *,
    beside: bool,
) -> Likeness:
    """``beside``: rows of owners that are missing in the first table are not told."""
    keys = [f"k{place}" for place in range(len(columns.key))]
    owner = [f"r{place}" for place in range(len(columns.owner))]
    others = [f"h{place}" for place in range(1, len(columns.others) + 1)]
    for name in ("one", "other"):
        # A key that is there twice is no pair of rows that are alike.
        sums = ", ".join(
            ["count(*) AS n", *(f"min({one}) AS {one}" for one in owner), *(f"sum({one}) AS {one}" for one in others)]
        )
        engine.execute(
            f"CREATE TABLE {name}s{number} AS SELECT {', '.join(keys)}, {sums} FROM {name}{number} "
            f"GROUP BY {', '.join(keys)}"
        )
    differs = [f"(a.{one} IS DISTINCT FROM b.{one})" for one in others]
    kind = "CASE WHEN b.n IS NULL THEN 'missing' WHEN a.n IS NULL OR b.n > a.n THEN 'extra' ELSE 'other' END"
    place = _place(ranges)
    engine.execute(
        f"CREATE TABLE unalike{number} AS SELECT {', '.join(keys)}, {kind} AS kind, {place} AS place"
        + "".join(f", coalesce(a.{one}, b.{one}) AS {one}" for one in owner)
        + "".join(f", {one} AS d{at}" for at, one in enumerate(differs))
        + f" FROM ones{number} AS a FULL JOIN others{number} AS b USING ({', '.join(keys)})"
        f" WHERE {' OR '.join(['a.n IS DISTINCT FROM b.n', *differs])}"
    )
    if beside:
        whose = " AND ".join(f"above.k{at} = item.{one}" for at, one in enumerate(owner))
        engine.execute(
            f"DELETE FROM unalike{number} AS item WHERE item.kind = 'missing' AND EXISTS "
            f"(SELECT 1 FROM unalike0 AS above WHERE above.kind = 'missing' AND {whose})"
        )
    shown = owner or keys
    order = "TRY_CAST(k0 AS HUGEINT)" if ranges else f"concat_ws(', ', {', '.join(shown)})"
    counts = "".join(f", count(*) FILTER (d{at})" for at in range(len(differs)))
    found = engine.execute(
        f"SELECT place, kind, count(*), CAST(min({order}) AS VARCHAR), CAST(max({order}) AS VARCHAR){counts} "
        f"FROM unalike{number} GROUP BY place, kind ORDER BY place, kind"
    ).fetchall()
    unalike = tuple(
        Unalike(
            int(place), kind, int(many), str(first), str(last),
            {name: int(n) for name, n in zip(columns.others, by, strict=True) if n and kind == "other"},
        )
        for place, kind, many, first, last, *by in found
    )  # fmt: skip
    again = engine.execute(
        f"SELECT DISTINCT {', '.join(shown)} FROM unalike{number} WHERE kind <> 'extra' "
        f"ORDER BY ALL LIMIT {most_keys + 1}"
    ).fetchall()
    return Likeness(rows, unalike, tuple(again) if len(again) <= most_keys else None)


def _place(ranges: Sequence[Ends]) -> str:
    """SQL for the number of the range that a key is in; the last one has those that are no number."""
    cases = [
        f"WHEN TRY_CAST(k0 AS HUGEINT) <= {high} THEN {number}"
        for number, (_, high) in enumerate(ranges)
        if high is not None
    ]
    return f"CASE {' '.join(cases)} ELSE {len(ranges) - 1} END" if cases else "0"
