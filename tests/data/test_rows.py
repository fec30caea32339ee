"""Rows into a batch and back."""

from __future__ import annotations

import datetime as dt
import decimal
import json
import math
import timeit
import uuid
from decimal import Decimal
from typing import Any

import msgspec
import orjson
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.data.strategies import every_type

from millrace.data import json_text, types
from millrace.data.columns import is_ours, ours
from millrace.data.rows import to_batch, to_json, to_rows
from millrace.data.types import storage
from millrace.errors import DataError

UTC = dt.UTC
EAST = dt.timezone(dt.timedelta(hours=5, minutes=30))


def column(*values: Any) -> tuple[str, list[Any]]:
    """The name of the type that the values get, and what is stored."""
    batch = to_batch([{"c": value} for value in values], None)
    batch.validate(full=True)
    return types.name(batch.schema.field("c").type), storage(batch.column(0)).to_pylist()


INFERRED: list[tuple[list[Any], str, list[Any]]] = [
    ([True, None, False], "BOOLEAN", [True, None, False]),
    ([1, -(2**31), 2**31 - 1], "INTEGER", [1, -(2**31), 2**31 - 1]),
    ([1, 2**31], "LONG", [1, 2**31]),
    ([1, -(2**63)], "LONG", [1, -(2**63)]),
    ([1, 2**63], "DECIMAL(38,0)", [Decimal(1), Decimal(2**63)]),
    ([10**38 - 1, None], "DECIMAL(38,0)", [Decimal(10**38 - 1), None]),
    ([1, -(10**38)], "VARCHAR", ["1", str(-(10**38))]),
    ([1.5, None, 2.0], "DOUBLE", [1.5, None, 2.0]),
    ([1.5, math.inf], "DOUBLE", [1.5, math.inf]),
    (["12", "2024-01-01", "true"], "VARCHAR", ["12", "2024-01-01", "true"]),
    ([{"b": 1, "a": [1.0, None]}, [], None], "JSON", ['{"b":1,"a":[1.0,null]}', "[]", None]),
    ([{"a": 10**30}, {"a": Decimal("0.10")}], "JSON", ['{"a":1000000000000000000000000000000}', '{"a":0.10}']),
    ([(1, "é\u2028")], "JSON", ['[1,"é\u2028"]']),
    ([msgspec.Raw(b'{"a": 1.10}'), {"b": msgspec.Raw(b"[1e2]")}], "JSON", ['{"a": 1.10}', '{"b":[1e2]}']),
    (
        [{"t": dt.datetime(2024, 1, 2, 3, tzinfo=EAST), "d": dt.date(2024, 1, 2), "x": b"\xff", "u": uuid.UUID(int=1)}],
        "JSON",
        ['{"t":"2024-01-01T21:30:00.000000Z","d":"2024-01-02","x":"/w==","u":"00000000-0000-0000-0000-000000000001"}'],
    ),
    ([{"a": math.nan}, {"a": None}], "VARCHAR", ['{"a":NaN}', '{"a":null}']),
    ([{2: "x", None: 2, True: 3}], "JSON", ['{"2":"x","null":2,"true":3}']),
    ([["\ud800"]], "JSON", ['["\\ud800"]']),
    ([Decimal("1.50"), Decimal("-123"), None], "DECIMAL(5,2)", [Decimal("1.50"), Decimal("-123.00"), None]),
    ([Decimal("1E+5"), Decimal(0)], "DECIMAL(6,0)", [Decimal(100000), Decimal(0)]),
    ([Decimal("0.005")], "DECIMAL(3,3)", [Decimal("0.005")]),
    ([Decimal("NaN"), Decimal("1.5"), Decimal("-Infinity")], "VARCHAR", ["NaN", "1.5", "-Infinity"]),
    ([Decimal("1E+76")], "VARCHAR", ["1" + "0" * 76]),
    ([dt.datetime(2024, 1, 2)], "TIMESTAMP", [dt.datetime(2024, 1, 2)]),
    ([dt.datetime(2024, 1, 2, 5, 30, tzinfo=EAST)], "TIMESTAMPTZ", [dt.datetime(2024, 1, 2, tzinfo=UTC)]),
    ([dt.date(2024, 1, 2)], "DATE", [dt.date(2024, 1, 2)]),
    ([dt.time(1, 2)], "TIME", [dt.time(1, 2)]),
    ([dt.time(1, 2, tzinfo=EAST)], "TIMETZ", ["01:02:00.000000+05:30"]),
    ([dt.timedelta(days=-1, microseconds=5)], "VARCHAR", ["PT-86399.999995S"]),
    ([b"a", bytearray(b"b"), memoryview(b"c")], "BYTEARRAY", [b"a", b"b", b"c"]),
    ([uuid.UUID(int=1)], "UUID", ["00000000-0000-0000-0000-000000000001"]),
    # Mixed: the type that holds all of them exactly.
    ([1, 1.5], "DOUBLE", [1.0, 1.5]),
    ([2**53, 1.5], "DOUBLE", [2.0**53, 1.5]),
    ([2**53 + 1, 1.5], "VARCHAR", ["9007199254740993", "1.5"]),
    ([True, 1], "VARCHAR", ["true", "1"]),
    ([1, "a", None, 1.5], "VARCHAR", ["1", "a", None, "1.5"]),
    ([{"a": 1}, 12, None, True, 1.5], "JSON", ['{"a":1}', "12", None, "true", "1.5"]),
    ([[1], 2**53 + 1, 1.5], "JSON", ["[1]", "9007199254740993", "1.5"]),
    ([{"a": 1}, "x", 1], "VARCHAR", ['{"a":1}', "x", "1"]),
    ([{"a": 1}, math.nan], "VARCHAR", ['{"a":1}', "NaN"]),
    ([{"a": 1}, Decimal("0.5")], "VARCHAR", ['{"a":1}', "0.5"]),
    ([{"a": 1}, dt.date(2024, 1, 2)], "VARCHAR", ['{"a":1}', "2024-01-02"]),
    ([1, Decimal("0.5")], "DECIMAL(11,1)", [Decimal(1), Decimal("0.5")]),
    ([dt.date(2024, 1, 2), dt.datetime(2024, 1, 2, 3)], "TIMESTAMP",
     [dt.datetime(2024, 1, 2), dt.datetime(2024, 1, 2, 3)]),
    ([dt.datetime(2024, 1, 2), dt.datetime(2024, 1, 2, tzinfo=UTC)], "TIMESTAMPTZ",
     [dt.datetime(2024, 1, 2, tzinfo=UTC)] * 2),
    ([dt.time(1), dt.time(2, tzinfo=UTC)], "TIMETZ", ["01:00:00.000000+00:00", "02:00:00.000000+00:00"]),
    ([b"\xff", "x"], "VARCHAR", ["/w==", "x"]),
    ([math.nan, 2**60], "VARCHAR", ["NaN", str(2**60)]),
]  # fmt: skip


@pytest.mark.parametrize(("values", "name", "stored"), INFERRED, ids=[f"{r[1]}-{i}" for i, r in enumerate(INFERRED)])
def test_a_column_has_the_type_that_its_values_say(values: list[Any], name: str, stored: list[Any]) -> None:
    assert column(*values) == (name, stored)


def test_a_field_without_a_value_has_no_column_until_one_arrives() -> None:
    batch = to_batch([{"b": None, "a": 1}, {"a": None, "c": "x"}], None)
    assert batch.schema.names == ["a", "c"]
    assert to_rows(batch) == [{"a": 1, "c": None}, {"a": None, "c": "x"}]
    only_nulls = to_batch([{"a": None}, {}], None)
    assert (only_nulls.num_rows, only_nulls.num_columns) == (2, 0)
    assert to_rows(only_nulls) == [{}, {}]
    assert to_batch([], None).num_rows == 0


def test_a_subclass_counts_as_its_parent() -> None:
    class Name(str):
        __slots__ = ()

    class Level(int):
        pass

    assert column(Name("a"), Name("b")) == ("VARCHAR", ["a", "b"])
    assert column(Level(7)) == ("INTEGER", [7])
    assert column({"n": Name("a"), "l": Level(7)}) == ("JSON", ['{"n":"a","l":7}'])


@pytest.mark.parametrize("value", [object(), {"a": object()}, "\ud800", {1, 2}])
def test_a_value_of_no_type_is_an_error_that_names_its_field(value: Any) -> None:
    with pytest.raises(DataError, match="In field 'c'") as caught:
        to_batch([{"c": value}], None)
    assert caught.value.hint


def test_a_value_that_nests_too_deep_is_an_error() -> None:
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(DataError, match="too deep"):
        to_batch([{"c": deep}], None)


DECLARED: list[tuple[str, list[Any], str, list[Any]]] = [
    ("LONG", [1, None], "LONG", [1, None]),
    ("LONG", [None], "LONG", [None]),
    ("LONG", ["9007199254740993", 3.0], "LONG", [9007199254740993, 3]),
    ("BYTE", [1, 300], "INTEGER", [1, 300]),
    ("INTEGER", [2**40], "LONG", [2**40]),
    ("INTEGER", [1, "abc"], "VARCHAR", ["1", "abc"]),
    ("FLOAT", [122080848.0, "Infinity"], "FLOAT", [122080848.0, math.inf]),
    ("DECIMAL(5,2)", ["1.5", 0.1, 3], "DECIMAL(5,2)", [Decimal("1.5"), Decimal("0.1"), Decimal(3)]),
    ("DECIMAL(5,2)", ["1.555"], "VARCHAR", ["1.555"]),
    ("DECIMAL(5,2)", [Decimal("1.555")], "DECIMAL(6,3)", [Decimal("1.555")]),
    ("TIMESTAMPTZ", ["2024-01-02T00:00:00Z", dt.datetime(2024, 1, 2, tzinfo=UTC)], "TIMESTAMPTZ",
     [dt.datetime(2024, 1, 2, tzinfo=UTC)] * 2),
    ("TIMESTAMP", [1709164800123], "TIMESTAMP", [dt.datetime(2024, 2, 29, 0, 0, 0, 123000)]),
    ("DATE", ["2024-01-02", "soon"], "VARCHAR", ["2024-01-02", "soon"]),
    ("JSON", ["12", 12, {"a": None}, None, msgspec.Raw(b"{ }"), 1.5, True], "JSON",
     ['"12"', "12", '{"a":null}', None, "{ }", "1.5", "true"]),
    ("JSON", [{"a": 1}, math.nan], "VARCHAR", ['{"a":1}', "NaN"]),
    ("VARCHAR", [{"a": 1}, 12], "VARCHAR", ['{"a":1}', "12"]),
    ("VARCHAR(2)", ["ab"], "VARCHAR(2)", ["ab"]),
    ("VARCHAR(2)", ["abc"], "VARCHAR", ["abc"]),
    ("UUID", ["00000000-0000-0000-0000-000000000001"], "UUID", ["00000000-0000-0000-0000-000000000001"]),
    ("GEO", ["POINT(1 2)"], "GEO", ["POINT(1 2)"]),
    ("STRUCT(a LONG, b DECIMAL(3,1))", [{"a": 1, "b": "1.5"}, {}, None], "STRUCT(a LONG, b DECIMAL(3,1))",
     [{"a": 1, "b": Decimal("1.5")}, {"a": None, "b": None}, None]),
    ("STRUCT(a LONG)", [{"a": 1, "extra": 2}], "JSON", ['{"a":1,"extra":2}']),
    ("STRUCT(a LONG)", [{"a": "x"}], "JSON", ['{"a":"x"}']),
    ("ARRAY(ARRAY(DATE))", [[["2024-01-02"], None], [], None], "ARRAY(ARRAY(DATE))",
     [[[dt.date(2024, 1, 2)], None], [], None]),
    ("ARRAY(LONG)", [[1], 7], "JSON", ["[1]", "7"]),
]  # fmt: skip


@pytest.mark.parametrize(
    ("declared", "values", "name", "stored"), DECLARED, ids=[f"{r[0]}-{i}" for i, r in enumerate(DECLARED)]
)
def test_a_declared_type_is_kept_when_every_value_fits_it_exactly(
    declared: str, values: list[Any], name: str, stored: list[Any]
) -> None:
    batch = to_batch([{"c": value} for value in values], pa.schema([("c", types.parse(declared))]))
    batch.validate(full=True)
    assert types.name(batch.schema.field("c").type) == name
    assert storage(batch.column(0)).to_pylist() == stored


def test_declared_columns_come_first_and_keep_their_marks() -> None:
    schema = pa.schema([ours("__hevo_id", pa.string()), pa.field("n", pa.uint8())], metadata={b"k": b"v"})
    batch = to_batch([{"x": 1, "n": 2, "__hevo_id": "a"}], schema)
    assert batch.schema.names == ["__hevo_id", "n", "x"]
    assert is_ours(batch.schema.field(0)) and not is_ours(batch.schema.field(2))
    assert batch.schema.field("n").type == types.SHORT
    assert batch.schema.metadata == {b"k": b"v"}


SHOWN: list[tuple[str, list[Any], list[Any]]] = [
    ("BOOLEAN", [True], [True]),
    ("LONG", [2**53, -(2**53) - 1], [2**53, "-9007199254740993"]),
    ("DOUBLE", [0.1, math.nan, math.inf, -math.inf], [0.1, "NaN", "Infinity", "-Infinity"]),
    ("DECIMAL(10,2)", [Decimal("1.5")], ["1.50"]),
    ("DATE", [dt.date(2024, 1, 2)], ["2024-01-02"]),
    ("TIME", [dt.time(1)], ["01:00:00.000000"]),
    ("TIMESTAMP", [dt.datetime(2024, 1, 2)], ["2024-01-02T00:00:00.000000"]),
    ("TIMESTAMPTZ", [dt.datetime(2024, 1, 2, tzinfo=UTC)], ["2024-01-02T00:00:00.000000Z"]),
    ("BYTEARRAY", [b"\xff"], ["/w=="]),
    ("STRUCT(a DECIMAL(3,1))", [{"a": Decimal("1.5")}], [{"a": "1.5"}]),
    ("ARRAY(BYTEARRAY)", [[b"\xff", None], []], [["/w==", None], []]),
]


@pytest.mark.parametrize(("name", "values", "shown"), SHOWN, ids=[row[0] for row in SHOWN])
def test_rows_have_the_json_form_of_each_type(name: str, values: list[Any], shown: list[Any]) -> None:
    batch = pa.record_batch([pa.array([*values, None], types.parse(name))], names=["c"])
    assert [row["c"] for row in to_rows(batch)] == [*shown, None]
    # JSON alone can say them all, and to_batch reads them back.
    rows = orjson.loads(orjson.dumps(to_rows(batch)))
    assert to_batch(rows, batch.schema) == batch or name == "DOUBLE"


def test_exact_rows_have_their_numbers_as_numbers() -> None:
    rows = [{"l": 2**60, "d": Decimal("1.50"), "s": {"d": Decimal("2.5")}, "t": dt.date(2024, 1, 2), "f": math.nan}]
    schema = pa.schema([("s", types.parse("STRUCT(d DECIMAL(3,1))"))])
    (row,) = to_rows(to_batch(rows, schema), numbers="exact")
    assert row == {"s": {"d": Decimal("2.5")}, "l": 2**60, "d": Decimal("1.50"), "t": "2024-01-02", "f": "NaN"}


def test_json_is_parsed_with_every_digit() -> None:
    texts = [
        '{"a":1}',
        "12345678901234567890123",
        "0.12345678901234567890123",
        "1e400",
        "1.5e3",
        "[1.0]",
        "not json",
        None,
    ]
    batch = pa.record_batch([pa.ExtensionArray.from_storage(types.JSON, pa.array(texts))], names=["c"])
    shown = [row["c"] for row in to_rows(batch)]
    assert shown == [
        {"a": 1}, 12345678901234567890123, Decimal("0.12345678901234567890123"), Decimal("1e400"), 1500.0, [1.0],
        "not json", None,
    ]  # fmt: skip
    assert to_json(batch)[1:4] == [
        '{"c":12345678901234567890123}', '{"c":0.12345678901234567890123}', '{"c":1E+400}',
    ]  # fmt: skip


def test_values_beyond_the_forms_are_shown_as_text_and_not_lost() -> None:
    batch = pa.record_batch(
        [
            pa.array([1, 1000], pa.timestamp("ns")),
            pa.array([2**63 - 1, 0], pa.int64()).cast(types.TIMESTAMP),
            pa.array([[1], [1000]], pa.list_(pa.timestamp("ns"))),
        ],
        names=["ns", "far", "list"],
    )
    first, second = to_rows(batch)
    assert first["ns"] == "1970-01-01 00:00:00.000000001"
    assert first["far"] == "9223372036854775807"
    assert "1970-01-01 00:00:00.000000001" in first["list"]
    assert second == {
        "ns": "1970-01-01T00:00:00.000001",
        "far": "1970-01-01T00:00:00.000000",
        "list": ["1970-01-01T00:00:00.000001"],
    }


scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**45), 10**45),
    st.floats(),
    st.text(st.characters(exclude_categories=["Cs"])),
    st.decimals(),
    st.datetimes(),
    st.datetimes(timezones=st.just(EAST), min_value=dt.datetime(2, 1, 1)),
    st.dates(),
    st.times(),
    st.times(timezones=st.just(EAST)),
    st.timedeltas(),
    st.binary(),
    st.uuids(),
)
nested = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab"), inner, max_size=3), max_leaves=5
)


@given(st.lists(nested, max_size=6))
@settings(max_examples=300)
def test_any_rows_become_a_batch_with_a_value_for_each_value(values: list[Any]) -> None:
    batch = to_batch([{"c": value} for value in values], None)
    batch.validate(full=True)
    assert batch.num_rows == len(values)
    if batch.num_columns:
        assert types.canonical(batch.schema.field("c").type) == batch.schema.field("c").type
        assert [value is None for value in storage(batch.column(0)).to_pylist()] == [value is None for value in values]
    else:
        assert all(value is None for value in values)


plain_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text('aé"\\\n0'),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text('ab"1'), inner, max_size=3),
    max_leaves=8,
)


@given(st.lists(plain_json, max_size=5))
@settings(max_examples=300)
def test_json_values_go_there_and_back(values: list[Any]) -> None:
    schema = pa.schema([("c", types.JSON)])
    batch = to_batch([{"c": value} for value in values], schema)
    assert batch.schema == schema
    back = [row["c"] for row in to_rows(batch)]
    assert json.dumps(back) == json.dumps(values)
    assert [json.loads(line)["c"] for line in to_json(batch)] == values


def _python(type_: pa.DataType) -> st.SearchStrategy[Any]:
    """Values that pa.array takes for the type."""
    kind = types.kind(type_)
    simple: dict[str, st.SearchStrategy[Any]] = {
        "BOOLEAN": st.booleans(),
        "FLOAT": st.floats(width=32, allow_nan=False),
        "DOUBLE": st.floats(allow_nan=False),
        "DATE": st.dates(),
        "TIME": st.times(),
        "TIMESTAMP": st.datetimes(),
        "TIMESTAMPTZ": st.datetimes().map(lambda moment: moment.replace(tzinfo=UTC)),
        "VARCHAR": st.text(st.characters(exclude_categories=["Cs"]), max_size=types.length(type_)),
        "BYTEARRAY": st.binary(),
        "JSON": plain_json.filter(lambda value: value is not None).map(json_text.dumps),
        "UUID": st.uuids().map(str),
        "XML": st.just("<a/>"),
        "GEO": st.just("POINT(1 2)"),
        "TIMETZ": st.just("01:02:03.000004-05:30"),
    }
    if kind in simple:
        return st.none() | simple[kind]
    if kind == "STRUCT":
        return st.none() | st.fixed_dictionaries(
            {type_.field(i).name: _python(type_.field(i).type) for i in range(type_.num_fields)}
        )
    if kind == "ARRAY":
        return st.none() | st.lists(_python(type_.value_type), max_size=3)
    if kind == "DECIMAL":
        top = 10**type_.precision - 1
        return st.none() | st.integers(-top, top).map(lambda n: Decimal(n).scaleb(-type_.scale))
    bits = type_.bit_width - 1
    return st.none() | st.integers(-(2**bits), 2**bits - 1)


def _array(values: list[Any], type_: pa.DataType) -> pa.Array:
    """pa.array, which has no builder for extension types inside nested ones."""
    if isinstance(type_, pa.BaseExtensionType):
        return pa.ExtensionArray.from_storage(type_, pa.array(values, type_.storage_type))
    mask = pa.array([value is None for value in values], pa.bool_())
    if pa.types.is_struct(type_):
        fields = [type_.field(i) for i in range(type_.num_fields)]
        children = [_array([None if v is None else v[f.name] for v in values], f.type) for f in fields]
        return pa.StructArray.from_arrays(children, fields=fields, mask=mask)
    if pa.types.is_list(type_):
        offsets = [sum(len(v or ()) for v in values[:end]) for end in range(len(values) + 1)]
        items = _array([item for v in values for item in v or ()], type_.value_type)
        return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), items, type=type_, mask=mask)
    return pa.array(values, type_)


@given(st.data(), every_type)
@settings(max_examples=200, deadline=None)
def test_every_batch_goes_to_rows_and_back(data: st.DataObject, type_: pa.DataType) -> None:
    with decimal.localcontext(prec=80):
        values = data.draw(st.lists(_python(type_), max_size=5))
        batch = pa.record_batch([_array(values, type_)], names=["c"])
    back = to_batch(to_rows(batch), batch.schema)
    assert back.schema == batch.schema
    back.validate(full=True)
    if "JSON" not in types.name(type_):
        assert back.equals(batch)
    assert to_rows(back) == to_rows(batch)


def test_the_time_to_build_a_batch_grows_with_its_rows_and_not_faster() -> None:
    def seconds(rows: int) -> float:
        given_ = [{"at": dt.datetime(2024, 1, 1), "mixed": row if row % 2 else "x"} for row in range(rows)]
        return min(timeit.repeat(lambda: to_batch(given_, None), number=1, repeat=3))

    # Ten times the rows take a hundred times as long where something is quadratic.
    assert seconds(40_000) < 40 * seconds(4_000)
