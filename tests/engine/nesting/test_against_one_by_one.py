"""Random events: taken apart in bulk and one by one they say the same, however they are cut into batches."""

from __future__ import annotations

import hashlib
import re
from collections import defaultdict
from decimal import Decimal
from typing import Any

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from millrace.data import columns, types
from millrace.data.cast import cast
from millrace.data.json_text import dumps, loads
from millrace.data.rows import to_batch
from millrace.engine.nesting.names import NestingState
from millrace.engine.nesting.nested import parsed

SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.integers(-5, 5),
    st.floats(allow_nan=False, allow_infinity=False),
    st.decimals(allow_nan=False, allow_infinity=False, places=25, min_value=-100, max_value=100),
    st.text(max_size=5),
    st.sampled_from(["2026-01-01", "2026-01-01T00:00:00Z", "12", "é\\u00e9", ": 12345678901234567890", "NaN"]),
)
KEYS = st.sampled_from("abc")
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3), max_leaves=8
)
# Documents of one shape take the fast road.
EVEN = st.fixed_dictionaries(
    {"a": st.integers(0, 99), "b": st.lists(st.fixed_dictionaries({"c": st.text(max_size=3)}), max_size=3)}
)

Place = tuple[Any, ...]


class OneByOne:
    """Rows by event type, as a plain reading of loading.md 12.2 makes them. Names are places, not yet names."""

    def __init__(self) -> None:
        self.rows: dict[Place, list[dict[Any, Any]]] = defaultdict(list)

    def event(self, key: str, document: Any) -> None:
        row: dict[Any, Any] = {"_id": key}
        arrays: list[tuple[Place, list[Any]]] = []
        self.spread(document, ("v",), row, arrays)
        self.rows[()].append(row)
        self.below((), key, arrays)

    def spread(self, value: Any, path: Place, row: dict[Any, Any], arrays: list[tuple[Place, list[Any]]]) -> None:
        if isinstance(value, dict):
            for name, part in value.items():
                self.spread(part, (*path, name), row, arrays)
        elif isinstance(value, list):
            arrays.append((path, value))
        elif value is not None:
            row[path] = value

    def below(self, stream: Place, ref: str, arrays: list[tuple[Place, list[Any]]]) -> None:
        for path, items in arrays:
            for index, item in enumerate(items):
                text = f"{ref}|{'_'.join(path) or 'value'}|{index}"
                id_ = hashlib.sha256(text.encode()).hexdigest()
                row = {columns.ID: id_, columns.REF_ID: ref, columns.ARRAY_INDEX: index}
                inner: list[tuple[Place, list[Any]]] = []
                self.spread(item, (), row, inner)
                self.rows[(*stream, path)].append(row)
                self.below((*stream, path), id_, inner)


def in_bulk(documents: list[Any], state: NestingState, first: int) -> dict[str, list[pa.RecordBatch]]:
    texts = pa.array([None if one is None else dumps(one) for one in documents], pa.string())
    batch = pa.record_batch(
        {
            "_id": pa.array([f"k{first + n}" for n in range(len(documents))]),
            "v": pa.ExtensionArray.from_storage(types.JSON, texts),
        }
    )
    found: dict[str, list[pa.RecordBatch]] = defaultdict(list)
    for one in parsed("t", batch, "SPLIT", key=("_id",), state=state):
        assert len(one.origin) == one.rows.num_rows
        found[one.stream].append(one.rows)
    return found


def texts(values: pa.Array) -> list[str | None]:
    return cast(values, types.VARCHAR, strict=False).values.to_pylist()


def compared(documents: list[Any], cut: int) -> None:
    expected = OneByOne()
    for number, one in enumerate(documents):
        expected.event(f"k{number}", loads(dumps(one)))
    state = NestingState({"t"})
    found: dict[str, list[pa.RecordBatch]] = defaultdict(list)
    for start in range(0, len(documents), cut):
        for stream, batches in in_bulk(documents[start : start + cut], state, start).items():
            found[stream] += batches
    streams = {(): "t"}
    for place in expected.rows:
        for depth in range(len(place)):
            above = place[:depth]
            streams[place[: depth + 1]] = state.children(streams[above])[place[depth]]
    for stream, batches in found.items():
        count = sum(b.num_rows - marks(b) for b in batches)
        assert count == sum(len(rows) for place, rows in expected.rows.items() if streams[place] == stream)
    for place, rows in expected.rows.items():
        names = dict.fromkeys(name for row in rows for name in row)
        stream = streams[place]
        for name in names:
            column = name if isinstance(name, str) else state.field(stream, name, ())
            values = to_batch([{"v": row.get(name)} for row in rows], None)
            got: list[str | None] = []
            for batch in found[stream]:
                kept = batch.filter(pa.array([op != "E" for op in operations(batch)]))
                at = kept.schema.get_field_index(column)
                got += [None] * kept.num_rows if at < 0 else texts(kept.column(at))
            if cut >= len(documents) and values.num_columns:
                kind = found[stream][0].schema.field(column).type
                assert kind == values.column(0).type or name == columns.ARRAY_INDEX
            wanted = [None if row.get(name) is None else row[name] for row in rows]
            assert [same(g, w) for g, w in zip(got, wanted, strict=True)] == [True] * len(wanted), (column, got, wanted)


def operations(batch: pa.RecordBatch) -> list[Any]:
    at = batch.schema.get_field_index(columns.OP_TYPE)
    return [None] * batch.num_rows if at < 0 else batch.column(at).to_pylist()


def marks(batch: pa.RecordBatch) -> int:
    return operations(batch).count("E")


def same(got: str | None, wanted: Any) -> bool:
    """Whether a value as text is the one that was given."""
    if got is None or wanted is None or isinstance(wanted, (str, bool)):
        return got == (("true" if wanted else "false") if isinstance(wanted, bool) else wanted)
    return Decimal(got) == (Decimal(repr(wanted)) if isinstance(wanted, float) else Decimal(wanted))


@given(st.lists(VALUES, min_size=1, max_size=8), st.integers(1, 8))
def test_mixed_events_in_bulk_equal_one_by_one(documents: list[Any], cut: int) -> None:
    compared(documents, cut)


@given(st.lists(EVEN | st.none(), min_size=1, max_size=8), st.integers(1, 8))
def test_even_events_in_bulk_equal_one_by_one(documents: list[Any], cut: int) -> None:
    compared(documents, cut)


NUMBERS = st.one_of(
    st.integers(-(2**65), 2**65),
    st.integers(2**52, 2**54),
    st.floats(allow_nan=False, allow_infinity=False),
    st.decimals(allow_nan=False, allow_infinity=False, places=18, min_value=-10, max_value=10),
)


@given(st.lists(st.fixed_dictionaries({"a": NUMBERS, "b": st.lists(NUMBERS, max_size=2)}), min_size=1, max_size=4))
def test_numbers_keep_every_digit(documents: list[Any]) -> None:
    compared(documents, len(documents))


def roomy(text: str) -> str:
    """The document with white space between its parts."""
    parts = r'("(?:[^"\\]|\\.)*")|([:,\[\]{}])'
    return " " + re.sub(parts, lambda found: found[1] or f" {found[2]}\n", text) + " "


def one_row(value: Any, path: Place, row: dict[Any, Any]) -> None:
    """Scalars by path, and arrays as text."""
    if isinstance(value, dict):
        for name, part in value.items():
            one_row(part, (*path, name), row)
    elif value is not None:
        row[path] = dumps(value) if isinstance(value, list) else value


@given(st.lists(VALUES, min_size=1, max_size=6), st.booleans())
def test_flat_and_collapsed_events_say_what_they_said(documents: list[Any], spaced: bool) -> None:
    written = [dumps(one) for one in documents]
    given_ = [roomy(text) for text in written] if spaced else written
    batch = pa.record_batch(
        {
            "_id": pa.array(range(len(written))),
            "v": pa.ExtensionArray.from_storage(types.JSON, pa.array(given_, pa.string())),
        }
    )
    state = NestingState()
    flat = parsed("t", batch, "FLAT", key=("_id",), state=state)[0].rows
    expected: list[dict[Any, Any]] = [{} for _ in written]
    for row, text in zip(expected, written, strict=True):
        one_row(loads(text), ("v",), row)
    for path in {path for row in expected for path in row}:
        got = texts(flat.column(state.field("t", path, ())))
        assert [same(g, row.get(path)) for g, row in zip(got, expected, strict=True)] == [True] * len(got)
    collapsed = parsed("t", batch, "COLLAPSE", key=("_id",), state=state)[0].rows.column("v").to_pylist()
    assert [None if text is None else loads(text) for text in collapsed] == [loads(text) for text in written]
    natural = parsed("t", batch, "COLLAPSE_EXCEPT_ARRAYS", key=("_id",), state=state)[0].rows.column("v")
    assert natural.null_count == collapsed.count(None)
