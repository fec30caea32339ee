"""Formulas and filters on columns equal the naive implementation, value by value."""

from __future__ import annotations

import datetime as dt
import json
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, reject
from hypothesis import strategies as st
from tests.engine.blocks import naive_formula as naive

from millrace.data import types
from millrace.data.exact import of_type
from millrace.engine.blocks import filters, formula, scripted
from millrace.engine.blocks.filters import Condition, EventFilter, FieldFilter
from millrace.engine.blocks.values import python_values
from millrace.errors import ConfigError

WORDS = [
    "", "a", "Ab", "straße", "ÇİŞ", "12", "-3.50", "+7", " 8 ", ".5", "5.", "1e3", "1e-7", "007", "2024-02-29",
    "2024-02-30", "2023-01-01T10:00:00Z", "2023-01-01 12:00:00.5+02:00", "true", "FALSE", "9007199254740993",
    "123456789012345678901234567890", "1-2-3", "HTTPServer firstName", "日本 語", "ﬁn\n$1\\x", "*", "[1]", "{}",
    "10:30", "2.5", "0.1", "-0", "x_y z", "null",
]  # fmt: skip
FLOATS = [0.0, -0.0, 0.1, 2.5, 2.675, 1e15, 1e16, 1e-7, 1.5e300, -7.0, 12.0, 1 / 3, 3e-310, float("inf"), float("nan")]
INTEGERS = [0, 1, -1, 2, 12, 40, 100, -7, 2**31 - 1]
LONGS = [*INTEGERS, 2**53, 2**53 + 1, -(2**53) - 1, 2**63 - 1, -(2**63)]
DECIMALS = [Decimal(one) for one in ("0.000", "1.250", "-2.500", "12.000", "999999999.999", "0.005")]
JSONS = ["null", "1", "12.5", '"a"', '"12"', "true", "[1,2]", "{}", '{"a":1}', '{"a":{"b":"x"}}', '{"a":"y"}',
         '{"a":{"b":2.50}}', '{"a":null}', '{"a":[]}', '"2024-02-29"', "123456789012345678901234567890"]  # fmt: skip
DAYS = [dt.date(1970, 1, 1), dt.date(2024, 2, 29), dt.date(999, 12, 31), dt.date(9999, 12, 31)]
MOMENTS = [dt.datetime(2024, 2, 29), dt.datetime(2023, 1, 1, 10), dt.datetime(1969, 12, 31, 23, 59, 59, 999999)]

COLUMNS: dict[str, tuple[pa.DataType, list[Any]]] = {
    "i": (types.INTEGER, INTEGERS),
    "l": (types.LONG, LONGS),
    "d": (types.decimal(12, 3), DECIMALS),
    "big": (types.decimal(60, 20), [Decimal("1." + "1" * 20), Decimal(10**39 - 1), Decimal("-0.5")]),
    "f": (types.DOUBLE, FLOATS),
    "f4": (types.FLOAT, [0.1, 2.5, -7.0]),
    "s": (types.VARCHAR, WORDS),
    "s2": (types.varchar(40), WORDS),
    "b": (types.BOOLEAN, [True, False]),
    "day": (types.DATE, DAYS),
    "at": (types.TIMESTAMPTZ, MOMENTS),
    "ts": (types.TIMESTAMP, MOMENTS),
    "time": (types.TIME, [dt.time(10, 30), dt.time(23, 59, 59, 5)]),
    "j": (types.JSON, JSONS),
    "n": (types.NULL, [None]),
    "raw": (types.BYTEARRAY, [b"", b"ab"]),
    "st": (pa.struct([("x", pa.int64()), ("y z", pa.string())]), [{"x": 1, "y z": "q"}, {"x": None, "y z": "12"}]),
    "x.y": (types.INTEGER, [5]),
}


@st.composite
def batches(draw: st.DrawFn) -> pa.RecordBatch:
    size = draw(st.integers(1, 6))
    arrays: list[pa.Array] = []
    for type_, pool in COLUMNS.values():
        values = draw(st.lists(st.sampled_from([None, *pool]), min_size=size, max_size=size))
        stored = type_.storage_type if isinstance(type_, pa.BaseExtensionType) else type_
        arrays.append(of_type(pa.array(values, stored), type_))
    return pa.record_batch(arrays, names=list(COLUMNS))


references = st.sampled_from([*COLUMNS, "j.a", "j.a.b", "st.x", "st.`y z`", "absent", "s.a", "$self", "$null"]).map(str)
texts = st.sampled_from(WORDS).map(lambda word: '"' + word.replace('"', '""') + '"')
numbers = st.sampled_from(["0", "1", "2", "1.2", "0.005", "-3", "40", "9007199254740993", "9223372036854775807"])
leaves = st.one_of(references, references, references, texts, numbers, st.sampled_from(["true", "false"]))


def _larger(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    def call(shape: str) -> st.SearchStrategy[str]:
        return st.tuples(*[inner] * shape.count("{}")).map(lambda parts: shape.format(*parts))

    shapes = [
        "({} + {})", "({} - {})", "({} * {})", "({} / {})", "({} == {})", "({} != {})", "(!{})", "(-{})", "LOWER({})",
        "UPPER({})", "TITLE({})", "SNAKE_CASE({})", 'REPLACE({}, "a", "b$1")', "REPLACE({}, {}, {})",
        'REPLACE({}, "REGEX", "OTHERS", "([a-c0-9])", "<$1>")', 'REPLACE({}, "OTHERS", "OTHERS", "A", "\\")',
        'SPLIT_ARRAY({}, "-")', "STRING_TO_NUMBER({})", "STRING_TO_NUMBER({}, 0)", "STRING_TO_NUMBER({}, 1)",
        "STRING_TO_NUMBER({}, 4)", 'NUMBER_TO_STRING({}, "#,##0.00#")', 'NUMBER_TO_STRING({}, "plain")',
        "ROUND({}, 0)", "ROUND({}, 2)", "ROUND({}, -1)", 'HASH({}, "SHA-256")', "MASK({})", "PARSE_JSON({})",
        'STRING_TO_DATE({}, "yyyy-MM-dd")', 'DATE_TO_STRING({}, "dd/MM/yyyy HH:mm")',
    ]  # fmt: skip
    return st.one_of([call(shape) for shape in shapes])


formulas = st.recursive(leaves, _larger, max_leaves=5)


@given(batches(), st.lists(formulas, min_size=6, max_size=6))
def test_a_formula_on_columns_gives_what_it_gives_row_by_row(batch: pa.RecordBatch, written: list[str]) -> None:
    rows = naive.rows_of(batch)
    known = 0
    for text in written:
        try:
            one = formula.parse(text)
        except ConfigError:
            continue
        known += 1
        found = one.evaluate(batch, self_field="i")
        expected, failed = [], []
        for row in rows:
            try:
                expected.append(naive.formula(one, row, "i"))
                failed.append(False)
            except ValueError:
                expected.append(None)
                failed.append(True)
        assert (found.failed.to_pylist() if found.failed is not None else [False] * len(rows)) == failed, (text, rows)
        cells = python_values(found.values)
        assert all(naive.same(*pair, found.values.type) for pair in zip(expected, cells, strict=True)), (
            text,
            found.values.type,
            expected,
            cells,
        )
    if not known:
        reject()


@given(batches(), st.lists(formulas, min_size=4, max_size=4))
def test_a_formula_told_as_python_gives_the_same(batch: pa.RecordBatch, written: list[str]) -> None:
    for text in written:
        if "DATE" in text:
            continue
        try:
            one = formula.parse(text)
        except ConfigError:
            continue
        source = scripted.functions(one.helpers)
        names: dict[str, Any] = {}
        exec(scripted.imports(source, one.python()) + "\n" + source, names)
        for row in naive.rows_of(batch):
            try:
                expected = naive.formula(one, row, "i")
            except ValueError:
                with pytest.raises(ValueError):
                    eval(one.python("event", "i"), names, {"event": row})
                continue
            assert repr(eval(one.python("event", "i"), names, {"event": row})) == repr(expected)


CONSTANTS = st.one_of(st.sampled_from(WORDS), st.sampled_from(LONGS), st.booleans(),
                      st.sampled_from([0.1, 2.5, 40.5, 1e300, -0.5, 1e-320]))  # fmt: skip
BARE = ["IS_NULL", "IS_NOT_NULL", "IS_TRUE", "IS_FALSE", "IS_EMPTY", "IS_NOT_EMPTY"]
ORDERED = ["EQUALS", "NOT_EQUALS", "GREATER_THAN", "GREATER_THAN_EQUAL_TO", "LESSER_THAN", "LESSER_THAN_EQUAL_TO"]
compared = st.one_of(
    st.fixed_dictionaries({"op": st.sampled_from(BARE)}),
    st.fixed_dictionaries({"op": st.sampled_from(ORDERED), "value": CONSTANTS}),
    st.fixed_dictionaries({"op": st.sampled_from(["CONTAINS", "NOT_CONTAINS", "STARTS_WITH", "ENDS_WITH"]),
                           "value": st.sampled_from(["a", "1", "-", "Z", "2024", ".5", "é"])}),
    st.fixed_dictionaries({"op": st.just("MATCHES_REGEX"), "value": st.sampled_from(["^a", "[0-9]{2}", "e$", "x|y"])}),
    st.fixed_dictionaries({"op": st.sampled_from(["IN", "NOT_IN"]),
                           "value": st.one_of(st.lists(CONSTANTS, min_size=1, max_size=7), st.just("a, 12,true"))}),
    st.fixed_dictionaries({"op": st.sampled_from(["IN_RANGE", "NOT_IN_RANGE"]), "from": CONSTANTS, "to": CONSTANTS,
                           "inclusive": st.booleans()}),
)  # fmt: skip
event_filters = st.one_of(
    st.just({"on": "ALL_EVENTS"}),
    st.fixed_dictionaries({"on": st.just("EVENT_TYPE"), "op": st.sampled_from(ORDERED), "value": st.just("users")}),
    st.builds(
        lambda one, field: {"on": "EVENT_FIELD", "field": field, **one},
        st.one_of(compared, compared, st.sampled_from([{"op": "HAS_FIELD"}, {"op": "DOES_NOT_HAVE_FIELD"}, {}])),
        st.sampled_from([*COLUMNS, "j.a", "j.a.b", "st.x", "absent"]),
    ),
)


@given(batches(), st.lists(event_filters, min_size=1, max_size=8), st.sampled_from(["users", "deals"]))
def test_event_filters_choose_what_they_choose_row_by_row(
    batch: pa.RecordBatch, written: list[dict[str, Any]], stream: str
) -> None:
    rows = naive.rows_of(batch)
    for one in written:
        read = EventFilter.model_validate(one)
        found = filters.events([read], stream, batch).to_pylist()
        assert found == [naive.event([read], stream, row) for row in rows], (one, rows)
        again = EventFilter.model_validate(json.loads(json.dumps(read.model_dump(mode="json", by_alias=True,
                                                                                 exclude_unset=True))))  # fmt: skip
        assert filters.events([again], stream, batch).to_pylist() == found
    every = [EventFilter.model_validate(one) for one in written]
    assert filters.events(every, stream, batch).to_pylist() == [naive.event(every, stream, row) for row in rows]
    either = Condition.model_validate([written[0], {"any": [{"all": written}, *written[:2]]}])
    assert filters.holds(either, stream, batch).to_pylist() == [naive.holds(either, stream, row) for row in rows]


@given(batches(), st.lists(compared, max_size=2), st.sampled_from([*ORDERED, "CONTAINS", "IN"]))
def test_field_filters_choose_what_they_choose_row_by_row(
    batch: pa.RecordBatch, by_value: list[dict[str, Any]], op: str
) -> None:
    read = [FieldFilter.model_validate({"on": "FIELD_VALUE", **one}) for one in by_value]
    read.append(FieldFilter.model_validate({"on": "FIELD_NAME", "op": op, "value": "day"}))
    rows = naive.rows_of(batch)
    names = batch.schema.names
    found = filters.fields(read, batch, names)
    for name in names:
        chosen = [naive.field(read, name, row) for row in rows]
        masked = found.get(name, False)
        listed = [masked is None] * len(rows) if masked is None or masked is False else masked.to_pylist()
        assert listed == chosen, (name, by_value, op)
