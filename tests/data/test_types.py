"""The closed list: names, foreign types, and the law of widening."""

from __future__ import annotations

import io
import pickle

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from tests.data.strategies import PLAIN, every_type, every_type_or_null

from millrace.data import types

NAMED = {
    "BOOLEAN": pa.bool_(),
    "BYTE": pa.int8(),
    "SHORT": pa.int16(),
    "INTEGER": pa.int32(),
    "LONG": pa.int64(),
    "FLOAT": pa.float32(),
    "DOUBLE": pa.float64(),
    "DECIMAL(10,2)": pa.decimal128(10, 2),
    "DECIMAL(38,9)": pa.decimal128(38, 9),
    "DECIMAL(39,0)": pa.decimal256(39, 0),
    "DATE": pa.date32(),
    "TIME": pa.time64("us"),
    "TIMETZ": types.TIMETZ,
    "TIMESTAMP": pa.timestamp("us"),
    "TIMESTAMPTZ": pa.timestamp("us", "UTC"),
    "VARCHAR": pa.string(),
    "VARCHAR(12)": types.varchar(12),
    "BYTEARRAY": pa.binary(),
    "JSON": pa.json_(),
    "XML": types.XML,
    "UUID": types.UUID,
    "GEO": types.GEO,
    "ARRAY(LONG)": pa.list_(pa.int64()),
    'STRUCT(a LONG, "b ""c" ARRAY(JSON))': pa.struct([("a", pa.int64()), ('b "c', pa.list_(pa.json_()))]),
}


@pytest.mark.parametrize("name", NAMED)
def test_a_type_has_one_name_and_the_name_means_that_type(name: str) -> None:
    assert types.name(NAMED[name]) == name
    assert types.parse(name) == NAMED[name]
    assert types.parse(name.lower().replace(",", " , ")) == NAMED[name]


@given(every_type)
def test_every_name_reads_back(type_: pa.DataType) -> None:
    assert types.parse(types.name(type_)) == type_
    assert types.canonical(type_) == type_


@pytest.mark.parametrize(
    "text",
    [
        "",
        "NUMBER",
        "DECIMAL",
        "DECIMAL(0,0)",
        "DECIMAL(77,0)",
        "DECIMAL(5,6)",
        "DECIMAL(5",
        "VARCHAR(0)",
        "VARCHAR(x)",
        "LONG LONG",
        "STRUCT()",
        "STRUCT(a)",
        "STRUCT(, LONG)",
        "ARRAY",
    ],
)
def test_a_name_that_means_no_type_is_refused_with_a_hint(text: str) -> None:
    with pytest.raises(types.UnknownType) as caught:
        types.parse(text)
    assert caught.value.hint


FOREIGN = [
    (pa.null(), types.NULL),
    (pa.uint8(), types.SHORT),
    (pa.uint16(), types.INTEGER),
    (pa.uint32(), types.LONG),
    (pa.uint64(), types.decimal(20, 0)),
    (pa.float16(), types.FLOAT),
    (pa.decimal32(9, 2), types.decimal(9, 2)),
    (pa.decimal64(18, 4), types.decimal(18, 4)),
    (pa.decimal256(20, 4), types.decimal(20, 4)),
    (pa.decimal128(5, -3), types.decimal(8, 0)),
    (pa.decimal128(5, 9), types.decimal(9, 9)),
    (pa.decimal256(70, -10), types.VARCHAR),
    (pa.date64(), types.DATE),
    (pa.time32("s"), types.TIME),
    (pa.time32("ms"), types.TIME),
    (pa.time64("ns"), types.TIME),
    (pa.timestamp("s"), types.TIMESTAMP),
    (pa.timestamp("ns"), types.TIMESTAMP),
    (pa.timestamp("ms", "Asia/Kolkata"), types.TIMESTAMPTZ),
    (pa.timestamp("us", "+02:00"), types.TIMESTAMPTZ),
    (pa.duration("ms"), types.VARCHAR),
    (pa.month_day_nano_interval(), types.VARCHAR),
    (pa.large_string(), types.VARCHAR),
    (pa.string_view(), types.VARCHAR),
    (pa.large_binary(), types.BYTEARRAY),
    (pa.binary_view(), types.BYTEARRAY),
    (pa.binary(16), types.BYTEARRAY),
    (pa.uuid(), types.UUID),
    (pa.bool8(), types.BOOLEAN),
    (pa.json_(pa.large_string()), types.JSON),
    (pa.opaque(pa.string(), "numeric", "PostgreSQL"), types.VARCHAR),
    (pa.dictionary(pa.int8(), pa.large_string()), types.VARCHAR),
    (pa.run_end_encoded(pa.int32(), pa.uint8()), types.SHORT),
    (pa.large_list(pa.uint8()), pa.list_(pa.int16())),
    (pa.list_(pa.int8(), 3), pa.list_(pa.int8())),
    (pa.list_view(pa.int8()), pa.list_(pa.int8())),
    (pa.list_(pa.field("element", pa.int8(), nullable=False)), pa.list_(pa.int8())),
    (pa.list_(pa.null()), types.JSON),
    (pa.struct([]), types.JSON),
    (pa.struct([("a", pa.null())]), types.JSON),
    (pa.struct([pa.field("a", pa.uint8(), nullable=False)]), pa.struct([("a", pa.int16())])),
    (pa.map_(pa.string(), pa.int8()), pa.list_(pa.struct([("key", pa.string()), ("value", pa.int8())]))),
]


@pytest.mark.parametrize(("foreign", "expected"), FOREIGN, ids=[str(foreign) for foreign, _ in FOREIGN])
def test_a_foreign_type_comes_to_the_list(foreign: pa.DataType, expected: pa.DataType) -> None:
    assert types.canonical(foreign) == expected
    assert types.canonical(expected) == expected


@pytest.mark.parametrize(
    "foreign",
    [pa.dense_union([pa.field("a", pa.int8())]), pa.struct([("a", pa.int8()), ("a", pa.int8())])],
)
def test_a_type_that_cannot_be_kept_is_refused(foreign: pa.DataType) -> None:
    with pytest.raises(types.UnknownType):
        types.canonical(foreign)
    with pytest.raises(types.UnknownType):
        types.kind(foreign)


WIDER = [
    ("BYTE", "SHORT", "SHORT"),
    ("INTEGER", "LONG", "LONG"),
    ("FLOAT", "DOUBLE", "DOUBLE"),
    ("BYTE", "FLOAT", "DOUBLE"),
    ("INTEGER", "DOUBLE", "DOUBLE"),
    ("LONG", "DOUBLE", "VARCHAR"),
    ("LONG", "FLOAT", "VARCHAR"),
    ("LONG", "DECIMAL(10,2)", "DECIMAL(21,2)"),
    ("BYTE", "DECIMAL(10,2)", "DECIMAL(10,2)"),
    ("DECIMAL(10,2)", "DECIMAL(8,5)", "DECIMAL(13,5)"),
    ("DECIMAL(38,0)", "DECIMAL(38,38)", "DECIMAL(76,38)"),
    ("DECIMAL(76,0)", "DECIMAL(1,1)", "VARCHAR"),
    ("DECIMAL(5,2)", "DOUBLE", "VARCHAR"),
    ("DATE", "TIMESTAMP", "TIMESTAMP"),
    ("DATE", "TIMESTAMPTZ", "TIMESTAMPTZ"),
    ("TIMESTAMP", "TIMESTAMPTZ", "TIMESTAMPTZ"),
    ("TIME", "TIMETZ", "TIMETZ"),
    ("DATE", "TIME", "VARCHAR"),
    ("BOOLEAN", "INTEGER", "VARCHAR"),
    ("BOOLEAN", "VARCHAR", "VARCHAR"),
    ("ARRAY(LONG)", "JSON", "JSON"),
    ("ARRAY(LONG)", "STRUCT(a LONG)", "JSON"),
    ("ARRAY(LONG)", "ARRAY(BYTE)", "JSON"),
    ("STRUCT(a LONG)", "STRUCT(a LONG, b LONG)", "JSON"),
    ("JSON", "VARCHAR", "VARCHAR"),
    ("JSON", "INTEGER", "VARCHAR"),
    ("BYTEARRAY", "VARCHAR", "VARCHAR"),
    ("XML", "VARCHAR", "VARCHAR"),
    ("UUID", "GEO", "VARCHAR"),
    ("VARCHAR(5)", "VARCHAR(9)", "VARCHAR(9)"),
    ("VARCHAR(5)", "VARCHAR", "VARCHAR"),
    ("VARCHAR(5)", "UUID", "VARCHAR"),
    ("VARCHAR(5)", "LONG", "VARCHAR"),
    ("NULL", "JSON", "JSON"),
]


@pytest.mark.parametrize(("a", "b", "expected"), WIDER)
def test_two_types_widen_to_the_narrowest_that_holds_both(a: str, b: str, expected: str) -> None:
    assert types.name(types.widen(types.parse(a), types.parse(b))) == expected


@given(every_type_or_null, every_type_or_null, every_type_or_null)
@settings(max_examples=500)
def test_widening_is_commutative_associative_and_idempotent(a: pa.DataType, b: pa.DataType, c: pa.DataType) -> None:
    assert types.widen(a, b) == types.widen(b, a)
    assert types.widen(types.widen(a, b), c) == types.widen(a, types.widen(b, c))
    assert types.widen(a, a) == a
    assert types.widen(a, types.widen(a, b)) == types.widen(a, b)
    assert types.widen(a, types.NULL) == a
    assert types.widen(a, types.VARCHAR) == types.VARCHAR


def test_widening_is_associative_over_every_triple_of_plain_types() -> None:
    samples = [*PLAIN, types.NULL, types.decimal(5, 2), types.decimal(76, 70), types.varchar(3), pa.list_(pa.int8())]
    for a in samples:
        for b in samples:
            for c in samples:
                assert types.widen(types.widen(a, b), c) == types.widen(a, types.widen(b, c)), (a, b, c)


def test_a_type_outside_the_list_does_not_widen() -> None:
    with pytest.raises(types.UnknownType):
        types.widen(pa.uint8(), pa.uint8())
    with pytest.raises(types.UnknownType):
        types.widen(pa.large_list(pa.int8()), types.LONG)


@pytest.mark.parametrize("name", NAMED)
def test_types_survive_ipc_parquet_and_pickle(name: str) -> None:
    table = pa.table({"c": pa.nulls(2, NAMED[name])})
    assert pickle.loads(pickle.dumps(NAMED[name])) == NAMED[name]

    ipc = io.BytesIO()
    with pa.ipc.new_stream(ipc, table.schema) as writer:
        writer.write_table(table)
    assert pa.ipc.open_stream(ipc.getvalue()).read_all().schema.field("c").type == NAMED[name]

    parquet = io.BytesIO()
    pq.write_table(table, parquet)
    found = pq.read_table(io.BytesIO(parquet.getvalue())).schema.field("c").type
    assert types.canonical(found) == NAMED[name]


def test_kinds_of_text_differ_though_their_storage_is_one() -> None:
    assert len({types.XML, types.UUID, types.GEO, types.TIMETZ, types.varchar(1), types.varchar(2)}) == 6
    assert pa.schema([("a", types.XML)]) != pa.schema([("a", types.GEO)])
    with pytest.raises(types.UnknownType):
        types.TextType("XML", 5)


def test_kinds_and_lengths_of_text_differ_by_every_operator():
    for a, b in ((types.XML, types.TIMETZ), (types.varchar(5), types.varchar(6)), (types.varchar(5), types.VARCHAR)):
        assert (a != b, a == b) == (True, False)
    assert (types.varchar(5) != types.varchar(5)) is False
