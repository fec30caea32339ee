"""Tells which rows of two sides are not alike, value by value, in bounded memory.

Keys are spread over parts by their hash. The first pass over both sides keeps sums of hashes of each part and column;
only rows of parts whose sums differ are noted in the second, by their keys and hashes, in a file that is removed.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
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

# Each call reads the rows from the beginning; what it opened for that is closed with it.
Side: TypeAlias = Callable[[], Generator[pa.RecordBatch]]
Kind: TypeAlias = Literal["other", "missing", "extra"]
Ends: TypeAlias = tuple[int | None, int | None]

_PARTS = 1024
_MEMORY = "256MB"
_WORD = "CAST(sum({h}) & 18446744073709551615 AS UBIGINT)"


@dataclass(frozen=True, slots=True)
class Columns:
    """What is compared: the names of the key's columns and of the others, with the types of the mapping."""

    key: tuple[str, ...]
    types: dict[str, pa.DataType]

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
    """``rows``: how many rows the first side has. ``keys``: keys of rows whose values differ or that are missing, as
    text; None where there are more than were asked for."""

    rows: int
    unalike: tuple[Unalike, ...] = ()
    keys: tuple[tuple[str, ...], ...] | None = ()


def likeness(one: Side, other: Side, columns: Columns, ranges: Sequence[Ends], most_keys: int) -> Likeness:
    """How alike the two sides are; each is read once, and once more where they differ. ``ranges``: of the first column
    of the key, where that is a whole number; without any, all rows are one range."""
    import duckdb  # only where values are compared

    with TemporaryDirectory(prefix="millrace-values-") as folder, duckdb.connect(str(Path(folder, "values"))) as engine:
        engine.execute(f"SET memory_limit = '{_MEMORY}'; SET threads = 2")
        engine.execute("SET preserve_insertion_order = false")
        sums = [_sums(engine, side, columns) for side in (one, other)]
        rows = int(sums[0][:, 0].sum())
        parts = np.nonzero((sums[0] != sums[1]).any(axis=1))[0].tolist()
        if not parts:
            return Likeness(rows)
        for name, side in (("one", one), ("other", other)):
            _note(engine, name, side, columns, parts)
        return _told(engine, rows, columns, ranges, most_keys)


def _sums(engine: Any, side: Side, columns: Columns) -> npt.NDArray[np.uint64]:
    """For each part the number of rows, the sum of the hashes of their keys, and of each column."""
    hashes = ["1", *(f"h{place}" for place in range(len(columns.others) + 1))]
    sums = np.zeros((_PARTS, len(hashes)), np.uint64)
    asked = ", ".join(_WORD.format(h=one) for one in hashes)
    with closing(_hashed(engine, side, columns)) as batches:
        for _ in batches:
            found: dict[str, Any] = engine.execute(f"SELECT part, {asked} FROM hashed GROUP BY part").fetchnumpy()
            parts, *values = found.values()
            for place, value in enumerate(values):
                sums[parts.astype(np.int64), place] += value
    return sums


def _note(engine: Any, name: str, side: Side, columns: Columns, parts: Sequence[int]) -> None:
    keys = [f"k{place} VARCHAR" for place in range(len(columns.key))]
    others = [f"h{place} UBIGINT" for place in range(1, len(columns.others) + 1)]
    engine.execute(f"CREATE TABLE {name} ({', '.join([*keys, *others])})")
    wanted = ", ".join(one.split()[0] for one in (*keys, *others))
    chosen = f"SELECT {wanted} FROM hashed WHERE part IN ({', '.join(map(str, parts))})"
    with closing(_hashed(engine, side, columns)) as batches:
        for _ in batches:
            engine.execute(f"INSERT INTO {name} {chosen}")


def _hashed(engine: Any, side: Side, columns: Columns) -> Generator[None]:
    """Batch by batch, what `hashed` shows of the rows: their keys, parts and hashes. 0: of the key, then by column.

    A column's hash is of the key too: else values that rows of one part exchange would leave its sum as it is.
    """
    keys = [f"k{place}" for place in range(len(columns.key))]
    key = ", ".join(keys)
    others = [f"hash({key}, v{place}, o{place}) AS h{place}" for place in range(1, len(columns.others) + 1)]
    with closing(side()) as batches:
        for batch in batches:
            if not batch.num_rows:
                continue
            engine.register("formed", _formed(batch, columns))
            engine.execute(
                f"CREATE OR REPLACE TEMP VIEW hashed AS SELECT {', '.join([*keys, *others])}, hash({key}) AS h0, "
                f"hash({key}) % {_PARTS} AS part FROM formed"
            )
            yield
            engine.unregister("formed")


def _formed(batch: pa.RecordBatch, columns: Columns) -> pa.Table:
    arrays: dict[str, pa.Array] = {}
    for place, name in enumerate(columns.key):
        arrays[f"k{place}"] = key_text(batch.column(name), columns.types[name])
    for place, name in enumerate(columns.others, 1):
        found: Form = form(batch.column(name), columns.types[name])
        arrays[f"v{place}"], arrays[f"o{place}"] = found.values, found.odd
    return pa.table(arrays)


def key_text(values: pa.Array, type_: pa.DataType) -> pa.Array:
    """Values of a key as text, the same on both sides; a value that does not fit the type is what it is."""
    found = fitted(values, type_)
    written = formed(found.values) if types.kind(type_) == "DECIMAL" else writing.text(found.values).values
    return pc.coalesce(written, found.odd)


def _told(engine: Any, rows: int, columns: Columns, ranges: Sequence[Ends], most_keys: int) -> Likeness:
    keys = [f"k{place}" for place in range(len(columns.key))]
    others = [f"h{place}" for place in range(1, len(columns.others) + 1)]
    for name in ("one", "other"):
        # A key that is there twice is no pair of rows that are alike.
        sums = ", ".join(["count(*) AS n", *(f"sum({one}) AS {one}" for one in others)])
        engine.execute(f"CREATE TABLE {name}s AS SELECT {', '.join(keys)}, {sums} FROM {name} GROUP BY ALL")
    differs = [f"(a.{one} IS DISTINCT FROM b.{one})" for one in others]
    kind = "CASE WHEN b.n IS NULL THEN 'missing' WHEN a.n IS NULL OR b.n > a.n THEN 'extra' ELSE 'other' END"
    place = _place(ranges)
    engine.execute(
        f"CREATE TABLE unalike AS SELECT {', '.join(keys)}, {kind} AS kind, {place} AS place"
        + "".join(f", {one} AS d{number}" for number, one in enumerate(differs))
        + f" FROM ones AS a FULL JOIN others AS b USING ({', '.join(keys)})"
        f" WHERE {' OR '.join(['a.n IS DISTINCT FROM b.n', *differs])}"
    )
    order = "TRY_CAST(k0 AS HUGEINT)" if ranges else f"concat_ws(', ', {', '.join(keys)})"
    counts = "".join(f", count(*) FILTER (d{number})" for number in range(len(differs)))
    found = engine.execute(
        f"SELECT place, kind, count(*), CAST(min({order}) AS VARCHAR), CAST(max({order}) AS VARCHAR){counts} "
        "FROM unalike GROUP BY place, kind ORDER BY place, kind"
    ).fetchall()
    unalike = tuple(
        Unalike(
            int(place), kind, int(many), str(first), str(last),
            {name: int(n) for name, n in zip(columns.others, by, strict=True) if n and kind == "other"},
        )
        for place, kind, many, first, last, *by in found
    )  # fmt: skip
    again = engine.execute(
        f"SELECT {', '.join(keys)} FROM unalike WHERE kind <> 'extra' ORDER BY ALL LIMIT {most_keys + 1}"
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
