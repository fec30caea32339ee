"""Rows made of the items of arrays: their keys, and the rows that stand for arrays without items."""

from __future__ import annotations

import functools
import hashlib
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from millrace.data import columns, types
from millrace.data.cast import cast
from millrace.data.compute import pc
from millrace.data.dataclass import dataclass
from millrace.engine.nesting.levels import Items, Numbers, Path
from millrace.engine.nesting.names import VALUE

if TYPE_CHECKING:
    import duckdb

# Metadata of an event that the rows of its arrays have too, so that they are as new as it is.
INHERITED = (columns.OP_TYPE, columns.INGESTED_AT, columns.SOURCE_MODIFIED_AT)

# Names that rows made of arrays need for themselves.
OWN = frozenset({*INHERITED, columns.ID, columns.REF_ID, columns.ARRAY_INDEX, columns.ARRAY_LENGTH})


@dataclass(frozen=True, slots=True)
class Above:
    """What rows made of arrays take from the row above: its key as text, the row of the input, metadata.

    ``gone``: rows that say that an event was deleted; they have no items.
    """

    refs: pa.StringArray
    origin: Numbers
    inherited: dict[str, pa.Field]
    values: dict[str, pa.Array]
    gone: Any = None

    def of(self, owner: Numbers, refs: pa.StringArray) -> Above:
        """The same one level below."""
        places = pa.array(owner)
        values = {name: array.take(places) for name, array in self.values.items()}
        return Above(refs, self.origin[owner], self.inherited, values)


def joined(key: list[pa.Array]) -> pa.StringArray:
    """The values of a key as one text, joined by ``|`` (loading.md 12.2).

    Where there are several, a ``|`` or ``\\`` inside a value has a ``\\`` in front, so that no two keys become one.
    """
    parts = [cast(values, types.VARCHAR, strict=False).values.fill_null("") for values in key]
    if len(parts) == 1:
        return parts[0]
    escaped = [pc.replace_substring(pc.replace_substring(part, "\\", "\\\\"), "|", "\\|") for part in parts]
    return pc.binary_join_element_wise(*escaped, "|")


# From so many texts on, DuckDB hashes them sooner than a loop.
MANY = 8_000


def digests(texts: pa.StringArray) -> pa.StringArray:
    """SHA-256 of each text, in hex."""
    if len(texts) >= MANY:
        with _duckdb().cursor() as session:
            found = session.from_arrow(pa.table({"text": texts})).project("sha256(text)").to_arrow_table()
        return found.column(0).combine_chunks().cast(pa.string())
    fresh = hashlib.sha256()
    digest: list[bytes] = []
    for text in texts.cast(pa.binary()).to_numpy(zero_copy_only=False).tolist():
        one = fresh.copy()  # half the time of a new one
        one.update(text)
        digest.append(one.digest())
    ends = np.arange(0, 64 * len(digest) + 1, 64, dtype=np.int32)
    return pa.StringArray.from_buffers(len(digest), pa.py_buffer(ends), pa.py_buffer(b"".join(digest).hex().encode()))


@functools.cache
def _duckdb() -> duckdb.DuckDBPyConnection:
    """A database in memory; each thread that asks it takes a cursor of its own."""
    import duckdb

    return duckdb.connect(":memory:", config={"threads": 1})


@dataclass(frozen=True, slots=True)
class Children:
    """Rows of one array's items, with the ids that refer to them from below."""

    ids: pa.StringArray
    refs: pa.StringArray
    index: Numbers
    lengths: Numbers
    """Of every array of the level above, 0 where there is none."""


def children(items: Items, path: Path, above: Above) -> Children:
    """The keys of the items: SHA-256 of the key above, the path and the place (loading.md 12.2)."""
    owner = items.owner
    lengths = np.bincount(owner, minlength=len(above.refs)).astype(np.int64)
    starts = np.cumsum(lengths) - lengths
    index = np.arange(len(owner), dtype=np.int64) - starts[owner]
    refs = above.refs.take(pa.array(owner))
    middle = f"|{'_'.join(path) or VALUE}|"
    ids = digests(pc.binary_join_element_wise(refs, middle, pa.array(index).cast(pa.string()), ""))
    return Children(ids, refs, index, lengths)


def table(
    made: Children,
    owner: Numbers,
    fields: list[tuple[str, pa.Array]],
    above: Above,
    *,
    marking: bool,
    measured: bool,
) -> tuple[pa.RecordBatch, Numbers, int]:
    """The rows of the items as a batch, the row of the input that each came from, and how many are no items.

    With ``marking`` each row carries the length of its array, and where the row above has no items there is one row
    (operation `columns.EMPTY`) that says so; rows stay in the order of the events.
    """
    names = [columns.ours(columns.ID, pa.string()), columns.ours(columns.REF_ID, pa.string())]
    names.append(columns.ours(columns.ARRAY_INDEX, pa.int32()))
    arrays: list[pa.Array] = [made.ids, made.refs, pa.array(made.index, pa.int32())]
    names += [(columns.measured if measured else pa.field)(name, array.type) for name, array in fields]
    arrays += [array for _, array in fields]
    below = above.of(owner, made.refs)
    for name, values in below.values.items():
        if name != columns.OP_TYPE or not marking:
            names.append(above.inherited[name])
            arrays.append(values)
    if not marking:
        return pa.RecordBatch.from_arrays(arrays, schema=pa.schema(names)), below.origin, 0
    operation = below.values.get(columns.OP_TYPE)
    names.append(columns.ours(columns.OP_TYPE, pa.string()))
    arrays.append(pa.nulls(len(owner), pa.string()) if operation is None else operation.cast(pa.string()))
    names.append(columns.ours(columns.ARRAY_LENGTH, pa.int32()))
    arrays.append(pa.array(made.lengths[owner], pa.int32()))
    rows = pa.RecordBatch.from_arrays(arrays, schema=pa.schema(names))
    empty = np.flatnonzero(made.lengths == 0)
    if not len(empty):
        return rows, below.origin, 0
    marks = _marks(rows.schema, empty, above)
    order = np.argsort(np.concatenate([owner, empty]), kind="stable")
    together = pa.Table.from_batches([rows, marks]).combine_chunks().to_batches()
    whole = together[0] if together else rows
    return whole.take(pa.array(order)), np.concatenate([below.origin, above.origin[empty]])[order], len(empty)


def _marks(schema: pa.Schema, empty: Numbers, above: Above) -> pa.RecordBatch:
    """One row for each row above that has no items."""
    refs = above.refs.take(pa.array(empty))
    said: dict[str, pa.Array] = {
        name: values.take(pa.array(empty)) for name, values in above.values.items() if name != columns.OP_TYPE
    }
    said |= {
        columns.ID: refs,
        columns.REF_ID: refs,
        columns.ARRAY_LENGTH: pa.array(np.zeros(len(empty)), pa.int32()),
        columns.OP_TYPE: pa.array([columns.EMPTY] * len(empty), pa.string()),
    }
    own = {one.name for one in schema if columns.is_ours(one)}
    arrays = [
        said[one.name] if one.name in own and one.name in said else pa.nulls(len(empty), one.type) for one in schema
    ]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)
