"""Exact casts: the compatibility table row by row, the forms of text, and the laws."""

from __future__ import annotations

import datetime as dt
import decimal
import json
import math
import uuid
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.data.strategies import every_type

from millrace.data import types
from millrace.data.cast import cast, fits
from millrace.data.types import storage

UTC = dt.UTC
T = types.parse


def array(name: str, *values: Any) -> pa.Array:
    type_ = T(name)
    if isinstance(type_, pa.BaseExtensionType):
        return pa.ExtensionArray.from_storage(type_, pa.array(values, type_.storage_type))
    return pa.array(values, type_)


def casted(values: pa.Array, to: str, *, strict: bool = False) -> list[Any]:
    """Cell by cell the value, or "BAD"."""
    got = cast(values, T(to), strict=strict)
    assert got.values.type == T(to)
    assert len(got.values) == len(values)
    got.values.validate(full=True)
    bad = [False] * len(values) if got.bad is None else got.bad.to_pylist()
    assert got.bad is None or any(bad)
    plain = storage(got.values).to_pylist()
    assert all(value is None for value, is_bad in zip(plain, bad, strict=True) if is_bad)
    return ["BAD" if is_bad else value for value, is_bad in zip(plain, bad, strict=True)]


# loading.md 16. A cell that stands for two types is two here.
TO = "BOOLEAN BYTE SHORT INTEGER LONG DECIMAL(38,9) FLOAT DOUBLE VARCHAR BYTEARRAY DATE TIME TIMESTAMP TIMESTAMPTZ JSON"
TABLE = """
BOOLEAN         Y P P P P P P P Y N N N N N Y
BYTE            P Y Y Y Y Y Y Y Y N N N N N Y
SHORT           P P Y Y Y Y Y Y Y N N N N N Y
INTEGER         P P P Y Y Y P Y Y N N N N N Y
LONG            P P P P Y Y P P Y N N N P P Y
DECIMAL(20,10)  N P P P P P P P Y N N N N N Y
FLOAT           N P P P P P Y Y Y N N N N N P
DOUBLE          N P P P P P P Y Y N N N N N P
VARCHAR         P P P P P P P P Y P P P P P P
BYTEARRAY       N N N N N N N N Y Y N N N N Y
DATE            N N N N N N N N Y N Y N Y Y Y
TIME            N N N N N N N N Y N N Y N N Y
TIMESTAMP       N N N N P N N N Y N P N Y Y Y
TIMESTAMPTZ     N N N N P N N N Y N P N Y Y Y
JSON            N N N N N N N N Y N N N N N Y
STRUCT(a LONG)  N N N N N N N N Y N N N N N Y
ARRAY(VARCHAR)  N N N N N N N N Y N N N N N Y
"""
CELLS = [
    (" ".join(row.split()[:-15]), to, verdict)
    for row in TABLE.strip().splitlines()
    for to, verdict in zip(TO.split(), row.split()[-15:], strict=True)
]

MOMENTS = [dt.datetime(2024, 2, 29), dt.datetime(2024, 2, 29, 1, 2, 3, 4000), dt.datetime(9999, 12, 31, 23, 59, 59, 1)]
VALUES: dict[str, list[Any]] = {
    "BOOLEAN": [True, False],
    "BYTE": [0, 1, -128, 127],
    "SHORT": [0, 1, -32768, 32767],
    "INTEGER": [0, 1, -(2**31), 2**31 - 1],
    "LONG": [0, 1, -(2**63), 2**63 - 1],
    "DECIMAL(20,10)": [Decimal(12), Decimal("0.0000000001"), Decimal("-9999999999.9999999999")],
    "FLOAT": [0.0, 1.0, 0.1, 3.4e38, math.nan, math.inf],
    "DOUBLE": [0.0, 1.0, 0.1, 1.7e308, 5e-324, math.nan, -math.inf],
    "VARCHAR": ["1", "true", "AQID", "2024-02-29", "10:11:12", "2024-02-29T10:11:12Z", '{"a":1}', 'é\n"', "<bad>"],
    "BYTEARRAY": [b"", b"\x00\xff\x01"],
    "DATE": [dt.date(1, 1, 1), dt.date(2024, 2, 29), dt.date(9999, 12, 31)],
    "TIME": [dt.time(0), dt.time(23, 59, 59, 999999)],
    "TIMESTAMP": MOMENTS,
    "TIMESTAMPTZ": [moment.replace(tzinfo=UTC) for moment in MOMENTS],
    "JSON": ["{}", '[1,"x"]', "12345678901234567890123"],
    "STRUCT(a LONG)": [{"a": 2**63 - 1}, {"a": None}],
    "ARRAY(VARCHAR)": [["x", None], []],
}


@pytest.mark.parametrize(("from_", "to", "verdict"), CELLS, ids=[f"{f}-{t}" for f, t, _ in CELLS])
def test_every_cell_of_the_compatibility_table(from_: str, to: str, verdict: str) -> None:
    values = array(from_, *VALUES[from_], None)
    got = casted(values, to)
    bad = [cell == "BAD" for cell in got]
    assert got[-1] is None

    assert fits(T(from_), T(to)) == {"Y": "always", "P": "perhaps", "N": "never"}[verdict]
    if verdict == "Y":
        assert not any(bad)
    elif verdict == "N":
        assert all(bad[:-1])
    elif from_ != "BOOLEAN" and (from_, to) != ("VARCHAR", "JSON"):
        assert any(bad) and not all(bad[:-1])
    else:
        assert not any(bad)


@pytest.mark.parametrize(
    ("from_", "to", "fit"),
    [
        ("VARCHAR(5)", "VARCHAR", "always"),
        ("VARCHAR(5)", "VARCHAR(9)", "always"),
        ("VARCHAR(9)", "VARCHAR(5)", "perhaps"),
        ("VARCHAR", "VARCHAR(5)", "perhaps"),
        ("LONG", "VARCHAR(5)", "perhaps"),
        ("LONG", "DECIMAL(5,2)", "perhaps"),
        ("BYTE", "DECIMAL(5,2)", "always"),
        ("DECIMAL(5,2)", "DECIMAL(6,2)", "always"),
        ("DECIMAL(5,2)", "DECIMAL(6,4)", "perhaps"),
        ("TIME", "TIMETZ", "always"),
        ("TIMETZ", "TIME", "perhaps"),
        ("TIMETZ", "VARCHAR", "always"),
        ("VARCHAR", "UUID", "perhaps"),
        ("VARCHAR", "XML", "always"),
        ("UUID", "VARCHAR", "always"),
        ("UUID", "LONG", "never"),
        ("GEO", "JSON", "always"),
        ("STRUCT(a DOUBLE)", "JSON", "perhaps"),
        ("ARRAY(DOUBLE)", "JSON", "perhaps"),
        ("JSON", "ARRAY(LONG)", "never"),
        ("NULL", "LONG", "always"),
        ("LONG", "NULL", "never"),
    ],
)
def test_types_beside_the_table_fit_by_the_same_rules(from_: str, to: str, fit: str) -> None:
    assert fits(T(from_), T(to)) == fit


def test_a_type_of_the_source_may_be_foreign() -> None:
    assert fits(pa.uint32(), types.LONG) == "always"
    assert fits(pa.uint32(), types.INTEGER) == "perhaps"


TEXT = [
    ("BOOLEAN", [True, False], ["true", "false"]),
    ("LONG", [-(2**63)], ["-9223372036854775808"]),
    (
        "DOUBLE",
        [0.1, 1e20, 1e-7, 2.0, -0.0, math.nan, math.inf, -math.inf],
        ["0.1", "1e+20", "1e-7", "2", "-0", "NaN", "Infinity", "-Infinity"],
    ),
    ("FLOAT", [0.10000000149011612, 16777216.0], ["0.1", "16777216"]),
    ("DECIMAL(38,9)", [Decimal("1E-9"), Decimal(0), Decimal("-1.5")], ["0.000000001", "0.000000000", "-1.500000000"]),
    ("DECIMAL(5,0)", [Decimal(-7)], ["-7"]),
    ("DECIMAL(76,76)", [Decimal("-1E-76")], ["-0." + "0" * 75 + "1"]),
    ("DECIMAL(76,0)", [Decimal("9" * 76)], ["9" * 76]),
    ("DATE", [dt.date(33, 1, 2)], ["0033-01-02"]),
    ("TIME", [dt.time(1, 2, 3)], ["01:02:03.000000"]),
    ("TIMESTAMP", [dt.datetime(1969, 12, 31, 23, 59, 59, 999999)], ["1969-12-31T23:59:59.999999"]),
    ("TIMESTAMPTZ", [dt.datetime(2024, 1, 2, tzinfo=UTC)], ["2024-01-02T00:00:00.000000Z"]),
    ("BYTEARRAY", [b"", b"\xff\xfe"], ["", "//4="]),
    ("JSON", ['{"b":1,"a":[1.0]}'], ['{"b":1,"a":[1.0]}']),
    ("STRUCT(b LONG, a ARRAY(BOOLEAN))", [{"b": 2**62 + 1, "a": [True, None]}],
     ['{"b":4611686018427387905,"a":[true,null]}']),
    ("TIMETZ", ["01:02:03.000000+05:30"], ["01:02:03.000000+05:30"]),
    ("UUID", ["00000000-0000-0000-0000-000000000001"], ["00000000-0000-0000-0000-000000000001"]),
]  # fmt: skip


@pytest.mark.parametrize(("from_", "values", "expected"), TEXT, ids=[row[0] for row in TEXT])
@pytest.mark.parametrize("strict", [True, False])
def test_values_as_text(from_: str, values: list[Any], expected: list[str], strict: bool) -> None:
    assert casted(array(from_, *values, None), "VARCHAR", strict=strict) == [*expected, None]
    # The same in a part of an array that does not begin at its start.
    assert casted(array(from_, None, *values)[1:], "VARCHAR", strict=strict) == expected


def test_moments_that_no_calendar_writes_are_bad_as_text() -> None:
    far = pa.array([2**63 - 1, 0], pa.int64()).cast(types.TIMESTAMP)
    assert casted(far, "VARCHAR") == ["BAD", "1970-01-01T00:00:00.000000"]
    assert casted(far.cast(pa.int64()).cast(types.TIMESTAMPTZ), "JSON") == ["BAD", '"1970-01-01T00:00:00.000000Z"']


JSON_FORMS = [
    ("BOOLEAN", [True], ["true"]),
    ("LONG", [2**63 - 1], ["9223372036854775807"]),
    ("DECIMAL(20,2)", [Decimal("1.5")], ['"1.50"']),
    ("DOUBLE", [1.5, math.nan, math.inf], ["1.5", "BAD", "BAD"]),
    ("DATE", [dt.date(2024, 1, 2)], ['"2024-01-02"']),
    ("TIME", [dt.time(1)], ['"01:00:00.000000"']),
    ("TIMESTAMP", [dt.datetime(2024, 1, 2)], ['"2024-01-02T00:00:00.000000"']),
    ("TIMESTAMPTZ", [dt.datetime(2024, 1, 2, tzinfo=UTC)], ['"2024-01-02T00:00:00.000000Z"']),
    ("BYTEARRAY", [b"\xff"], ['"/w=="']),
    ("UUID", ["00000000-0000-0000-0000-000000000001"], ['"00000000-0000-0000-0000-000000000001"']),
    ("ARRAY(DOUBLE)", [[1.5], [1.0, math.nan], [], [None]], ["[1.5]", "BAD", "[]", "[null]"]),
    ("STRUCT(a DOUBLE)", [{"a": math.inf}, {"a": 2.0}, {"a": None}], ["BAD", '{"a":2}', '{"a":null}']),
    (
        'STRUCT("x""y" ARRAY(STRUCT(d DECIMAL(4,1), t VARCHAR)))',
        [{'x"y': [{"d": Decimal("1.5"), "t": 'a"b\\\n\x01'}, None]}],
        [r'{"x\"y":[{"d":"1.5","t":"a\"b\\\n\u0001"},null]}'],
    ),
]


@pytest.mark.parametrize(("from_", "values", "expected"), JSON_FORMS, ids=[row[0] for row in JSON_FORMS])
@pytest.mark.parametrize("strict", [True, False])
def test_values_as_json(from_: str, values: list[Any], expected: list[str], strict: bool) -> None:
    assert casted(array(from_, *values, None), "JSON", strict=strict) == [*expected, None]
    assert casted(array(from_, None, *values)[1:], "JSON", strict=strict) == expected


@given(st.lists(st.one_of(st.none(), st.text())))
def test_any_text_becomes_the_json_string_that_says_it(texts: list[str | None]) -> None:
    got = casted(pa.array(texts, pa.string()), "JSON", strict=True)
    assert [value if value is None else json.loads(value) for value in got] == texts


def test_by_hand_valid_json_text_is_json_and_other_text_a_json_string() -> None:
    texts = ['{"a": 1}', "12", "nice", "{bad", "null", '"q"', "NaN", "", None, "1 2", "[" * 2000 + "]" * 2000]
    got = casted(pa.array(texts), "JSON")
    assert got == ['{"a": 1}', "12", '"nice"', '"{bad"', "null", '"q"', '"NaN"', '""', None, '"1 2"', "BAD"]


READ: list[tuple[str, dict[str, Any]]] = [
    ("BOOLEAN", {"true": True, "FALSE": False, "1": True, "0": False, "yes": "BAD", "": "BAD", "2": "BAD"}),
    (
        "INTEGER",
        {"12": 12, "+5": 5, "-007": -7, "-2147483648": -(2**31), "2147483648": "BAD", "5e9": "BAD", "1.0": "BAD",
         " 1": "BAD", "": "BAD", "-": "BAD", "1\n": "BAD", "9" * 40: "BAD", "0" * 60 + "9": 9, "٣": "BAD"},
    ),
    ("LONG", {"9223372036854775807": 2**63 - 1, "9223372036854775808": "BAD", "-9223372036854775808": -(2**63)}),
    (
        "DECIMAL(5,2)",
        {"12": Decimal(12), "-1.5": Decimal("-1.5"), "999.99": Decimal("999.99"), "1000": "BAD", "0.001": "BAD",
         "1.2300": Decimal("1.23"), "1e2": Decimal(100), "12.5e-1": Decimal("1.25"), "1e999999999": "BAD",
         "1e-999999999": "BAD", "0e999": Decimal(0), ".5": Decimal("0.5"), "5.": Decimal(5), ".": "BAD",
         "NaN": "BAD", "1,5": "BAD", "0" * 90 + "1": Decimal(1), "-0.0": Decimal(0)},
    ),
    ("DECIMAL(3,0)", {"0": Decimal(0), "000": Decimal(0), "7.0": Decimal(7), "7.5": "BAD"}),
    ("DECIMAL(76,76)", {"0." + "9" * 76: Decimal("0." + "9" * 76), "1": "BAD"}),
    ("DECIMAL(76,0)", {"9" * 76: Decimal("9" * 76), "9" * 77: "BAD"}),
    (
        "DOUBLE",
        {"0.1": 0.1, "1e5": 1e5, "0.30000000000000004": 0.30000000000000004, "0.3000000000000000444": "BAD",
         "9007199254740993": "BAD", "1e400": "BAD", "1e-400": "BAD", "5e-324": 5e-324, "Infinity": math.inf,
         "-Infinity": -math.inf, "inf": "BAD", "0": 0.0, "0e99999": 0.0, "abc": "BAD", "1.10": 1.1, "": "BAD",
         "1.7976931348623157e308": 1.7976931348623157e308},
    ),
    ("FLOAT", {"0.1": 0.10000000149011612, "16777217": "BAD", "3.4028235e38": 3.4028234663852886e38, "1e39": "BAD"}),
    ("BYTEARRAY", {"": b"", "//4=": b"\xff\xfe", "//4": "BAD", "é": "BAD", "//5=": "BAD", "/ /4=": "BAD"}),
    (
        "DATE",
        {"2024-02-29": dt.date(2024, 2, 29), "2023-02-29": "BAD", "0001-01-01": dt.date(1, 1, 1), "0000-01-01": "BAD",
         "9999-12-31": dt.date(9999, 12, 31), "2024-13-01": "BAD", "2024-00-01": "BAD", "2024-01-00": "BAD",
         "2024-1-1": "BAD", "29/02/2024": "BAD", "2024-02-29T00:00:00": "BAD"},
    ),
    (
        "TIME",
        {"10:11": dt.time(10, 11), "10:11:12": dt.time(10, 11, 12), "23:59:59.9": dt.time(23, 59, 59, 900000),
         "00:00:00.000001": dt.time(0, 0, 0, 1), "00:00:00.000001000": dt.time(0, 0, 0, 1),
         "00:00:00.0000001": "BAD", "24:00:00": "BAD", "10:60:00": "BAD", "10:00:60": "BAD", "1:00:00": "BAD"},
    ),
    (
        "TIMESTAMP",
        {"2024-02-29": dt.datetime(2024, 2, 29), "2024-02-29T10:11:12.5": dt.datetime(2024, 2, 29, 10, 11, 12, 500000),
         "2024-02-29 10:11": dt.datetime(2024, 2, 29, 10, 11), "2024-02-29T10:00:00+02:00": dt.datetime(2024, 2, 29, 8),
         "2024-02-30T00:00:00": "BAD", "2024-02-29T25:00:00": "BAD", "now": "BAD"},
    ),
    (
        "TIMESTAMPTZ",
        {"2024-02-29T00:00:00Z": dt.datetime(2024, 2, 29, tzinfo=UTC),
         "2024-02-29T00:00:00-0530": dt.datetime(2024, 2, 29, 5, 30, tzinfo=UTC),
         "2024-02-29 01:00:00+01": dt.datetime(2024, 2, 29, tzinfo=UTC),
         "2024-02-29T00:00:00": dt.datetime(2024, 2, 29, tzinfo=UTC),
         "2024-02-29T00:00:00+24:00": "BAD", "2024-02-29T00:00:00 Z": "BAD"},
    ),
    (
        "TIMETZ",
        {"10:11Z": "10:11:00.000000+00:00", "10:11:12.5-0530": "10:11:12.500000-05:30", "10:11:12": "BAD",
         "25:00Z": "BAD"},
    ),
    (
        "UUID",
        {"A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11": "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", "a0eebc99": "BAD"},
    ),
    ("XML", {"<a/>": "<a/>"}),
    ("VARCHAR(3)", {"abc": "abc", "ééé": "ééé", "abcd": "BAD"}),
]  # fmt: skip


@pytest.mark.parametrize(("to", "expected"), READ, ids=[to for to, _ in READ])
def test_text_is_read_exactly_or_not_at_all(to: str, expected: dict[str, Any]) -> None:
    got = casted(pa.array([*expected, None], pa.string()), to)
    assert dict(zip([*expected, None], got, strict=True)) == {**expected, None: None}


@pytest.mark.parametrize("to", [to for to, _ in READ if to != "VARCHAR(3)"])
def test_strictly_text_is_not_read(to: str) -> None:
    assert casted(pa.array(["1", None]), to, strict=True) == ["BAD", None]


NUMBERS: list[tuple[str, list[Any], str, list[Any]]] = [
    ("LONG", [127, 128, -128, -129], "BYTE", [127, "BAD", -128, "BAD"]),
    ("LONG", [2**53, 2**53 + 1, -(2**53), -(2**63)], "DOUBLE", [2.0**53, "BAD", -(2.0**53), "BAD"]),
    ("INTEGER", [2**24, 2**24 + 1], "FLOAT", [2.0**24, "BAD"]),
    ("LONG", [999, 1000, -1000, -999], "DECIMAL(5,2)", [Decimal(999), "BAD", "BAD", Decimal(-999)]),
    ("BYTE", [127], "DECIMAL(2,0)", ["BAD"]),
    ("LONG", [2**63 - 1], "DECIMAL(76,57)", [Decimal(2**63 - 1)]),
    ("DOUBLE", [3.0, 3.5, math.nan, math.inf, 2.0**53, 2.0**54, -0.0], "LONG",
     [3, "BAD", "BAD", "BAD", 2**53, "BAD", 0]),
    ("DOUBLE", [300.0], "BYTE", ["BAD"]),
    ("FLOAT", [2.0**24, 2.0**25], "INTEGER", [2**24, "BAD"]),
    ("DOUBLE", [0.1, 1e20, math.nan, 0.123], "DECIMAL(38,2)", [Decimal("0.1"), Decimal(10**20), "BAD", "BAD"]),
    ("DOUBLE", [0.5, 0.1, 1e300, math.inf, 1e-50], "FLOAT", [0.5, "BAD", "BAD", math.inf, "BAD"]),
    ("FLOAT", [0.10000000149011612], "DOUBLE", [0.10000000149011612]),
    ("FLOAT", [0.10000000149011612], "DECIMAL(3,1)", [Decimal("0.1")]),
    ("DECIMAL(10,2)", [Decimal(12), Decimal("12.5"), Decimal(300)], "BYTE", [12, "BAD", "BAD"]),
    ("DECIMAL(38,30)", [Decimal(12), Decimal("0.5")], "LONG", [12, "BAD"]),
    ("DECIMAL(76,2)", [Decimal(2**63 - 1), Decimal(2**63)], "LONG", [2**63 - 1, "BAD"]),
    ("DECIMAL(4,4)", [Decimal("0.2248"), Decimal("-0.9999"), Decimal(0)], "LONG", ["BAD", "BAD", 0]),
    ("DECIMAL(4,4)", [Decimal("0.2248"), Decimal(0)], "DECIMAL(5,0)", ["BAD", Decimal(0)]),
    ("DECIMAL(4,4)", [Decimal("0.2"), Decimal("0.25")], "DECIMAL(5,1)", [Decimal("0.2"), "BAD"]),
    ("DECIMAL(76,76)", [Decimal("1E-76"), Decimal(0)], "BYTE", ["BAD", 0]),
    ("DECIMAL(10,2)", [Decimal("1.50"), Decimal("1.55"), Decimal(99), Decimal(100)], "DECIMAL(3,1)",
     [Decimal("1.5"), "BAD", Decimal(99), "BAD"]),
    ("DECIMAL(76,70)", [Decimal("1.5")], "DECIMAL(10,1)", [Decimal("1.5")]),
    ("DECIMAL(5,1)", [Decimal("1.5")], "DECIMAL(76,70)", [Decimal("1.5")]),
    ("DECIMAL(38,18)", [Decimal("0.1"), Decimal("0.300000000000000044"), Decimal(0)], "DOUBLE", [0.1, "BAD", 0.0]),
    ("DECIMAL(10,2)", [Decimal("0.1"), Decimal("1234567.89")], "FLOAT", [0.10000000149011612, "BAD"]),
    ("DATE", [dt.date(2024, 2, 29)], "TIMESTAMP", [dt.datetime(2024, 2, 29)]),
    ("DATE", [dt.date(1, 1, 1)], "TIMESTAMPTZ", [dt.datetime(1, 1, 1, tzinfo=UTC)]),
    ("TIMESTAMP", [dt.datetime(1969, 12, 31), dt.datetime(1969, 12, 31, 0, 0, 0, 1)], "DATE",
     [dt.date(1969, 12, 31), "BAD"]),
    ("TIMESTAMPTZ", [dt.datetime(2024, 1, 1, tzinfo=UTC)], "TIMESTAMP", [dt.datetime(2024, 1, 1)]),
    ("TIME", [dt.time(1)], "TIMETZ", ["01:00:00.000000+00:00"]),
    ("TIMETZ", ["01:00:00.000000+00:00", "01:00:00.000000+01:00", "junk"], "TIME", [dt.time(1), "BAD", "BAD"]),
    ("VARCHAR", ["abc"], "VARCHAR(3)", ["abc"]),
    ("LONG", [123, 1234], "VARCHAR(3)", ["123", "BAD"]),
    ("VARCHAR(9)", ["abcd"], "VARCHAR(3)", ["BAD"]),
    ("VARCHAR(9)", ["abcd"], "VARCHAR", ["abcd"]),
    ("NULL", [None], "STRUCT(a LONG)", []),
]  # fmt: skip


@pytest.mark.parametrize(("from_", "values", "to", "expected"), NUMBERS, ids=[f"{r[0]}-{r[2]}" for r in NUMBERS])
@pytest.mark.parametrize("strict", [True, False])
def test_related_types_convert_exactly_on_both_paths(
    from_: str, values: list[Any], to: str, expected: list[Any], strict: bool
) -> None:
    values = [value for value in values if value is not None]
    assert casted(array(from_, *values, None), to, strict=strict) == [*expected, None]
    assert casted(array(from_, None, *values)[1:], to, strict=strict) == expected


BY_HAND: list[tuple[str, list[Any], str, list[Any]]] = [
    ("BOOLEAN", [True, False], "BYTE", [1, 0]),
    ("BOOLEAN", [True, False], "DOUBLE", [1.0, 0.0]),
    ("BOOLEAN", [True, False], "DECIMAL(5,2)", [Decimal(1), Decimal(0)]),
    ("BOOLEAN", [True, False], "DECIMAL(2,2)", ["BAD", Decimal(0)]),
    ("LONG", [0, 1, 2], "BOOLEAN", [False, True, "BAD"]),
    ("LONG", [1709164800123, 2**63 - 1], "TIMESTAMP", [dt.datetime(2024, 2, 29, 0, 0, 0, 123000), "BAD"]),
    ("TIMESTAMPTZ", [dt.datetime(1969, 12, 31, 23, 59, 59, 999000, UTC), dt.datetime(2024, 1, 1, 0, 0, 0, 1, UTC)],
     "LONG", [-1, "BAD"]),
]  # fmt: skip


@pytest.mark.parametrize(("from_", "values", "to", "expected"), BY_HAND, ids=[f"{r[0]}-{r[2]}" for r in BY_HAND])
def test_unrelated_types_convert_by_hand_only(from_: str, values: list[Any], to: str, expected: list[Any]) -> None:
    assert casted(array(from_, *values, None), to) == [*expected, None]
    assert casted(array(from_, *values, None), to, strict=True) == ["BAD"] * len(values) + [None]


def _scaled(unscaled: int, to: pa.DataType) -> pa.Array:
    whole = pa.array([Decimal(unscaled)], pa.decimal128(to.precision, 0))
    return pa.Array.from_buffers(to, 1, whole.buffers())


FOREIGN: list[tuple[pa.Array, str, list[Any]]] = [
    (pa.array([2**64 - 1, None], pa.uint64()), "DECIMAL(20,0)", [Decimal(2**64 - 1), None]),
    (pa.array([1.5, None], pa.float16()), "FLOAT", [1.5, None]),
    (pa.array([1000, 1001, None], pa.timestamp("ns")), "TIMESTAMP", [dt.datetime(1970, 1, 1, 0, 0, 0, 1), "BAD", None]),
    (pa.array([1, 2**62], pa.timestamp("s")), "TIMESTAMP", [dt.datetime(1970, 1, 1, 0, 0, 1), "BAD"]),
    (pa.array([0], pa.timestamp("ms", "Asia/Kolkata")), "TIMESTAMPTZ", [dt.datetime(1970, 1, 1, tzinfo=UTC)]),
    (pa.array([86_400_000, 1], pa.int64()).cast(pa.date64()), "DATE", [dt.date(1970, 1, 2), "BAD"]),
    (pa.array([1], pa.time32("s")), "TIME", [dt.time(0, 0, 1)]),
    (pa.array([1000, 1], pa.time64("ns")), "TIME", [dt.time(0, 0, 0, 1), "BAD"]),
    (pa.array([1500, -1500, 2000, 0], pa.duration("ms")), "VARCHAR", ["PT1.5S", "PT-1.5S", "PT2S", "PT0S"]),
    (pa.array([100], pa.duration("s")), "VARCHAR", ["PT100S"]),
    (pa.array([(14, 3, -4_000_000_005), None], pa.month_day_nano_interval()), "VARCHAR",
     ["P14M3DT-4.000000005S", None]),
    (pa.array(["a", None], pa.large_string()), "VARCHAR", ["a", None]),
    (pa.array(["a", None], pa.string_view()), "VARCHAR", ["a", None]),
    (pa.array([b"ab", None], pa.binary(2)), "BYTEARRAY", [b"ab", None]),
    (pa.array(["a", None, "a"]).dictionary_encode(), "VARCHAR", ["a", None, "a"]),
    (pa.array([1, 1, 2], pa.run_end_encoded(pa.int32(), pa.int64())), "LONG", [1, 1, 2]),
    (pa.array([[1], None, [2, 3]], pa.large_list(pa.uint8())), "ARRAY(SHORT)", [[1], None, [2, 3]]),
    (pa.array([[1], None, [2, 3]], pa.list_view(pa.uint8())), "ARRAY(SHORT)", [[1], None, [2, 3]]),
    (pa.array([[1, 2], None], pa.list_(pa.uint8(), 2)), "ARRAY(SHORT)", [[1, 2], None]),
    (pa.array([[1000, 1], [1000], None], pa.list_(pa.timestamp("ns"))), "ARRAY(TIMESTAMP)",
     ["BAD", [dt.datetime(1970, 1, 1, 0, 0, 0, 1)], None]),
    (pa.array([{"a": 1000}, {"a": 1}, None], pa.struct([("a", pa.time64("ns"))])), "STRUCT(a TIME)",
     [{"a": dt.time(0, 0, 0, 1)}, "BAD", None]),
    (pa.array([[("k", 1)], [], None], pa.map_(pa.string(), pa.int64())), "ARRAY(STRUCT(key VARCHAR, value LONG))",
     [[{"key": "k", "value": 1}], [], None]),
    (pa.array([{"a": None, "b": 1}, None], pa.struct([("a", pa.null()), ("b", pa.int8())])), "JSON",
     ['{"a":null,"b":1}', None]),
    (pa.array([[None, None], [], None], pa.list_(pa.null())), "JSON", ["[null,null]", "[]", None]),
    (pa.array([{}, None], pa.struct([])), "JSON", ["{}", None]),
    (pa.array([uuid.UUID(int=1).bytes, None, uuid.UUID(int=2**128 - 1).bytes], pa.uuid()), "UUID",
     [str(uuid.UUID(int=1)), None, str(uuid.UUID(int=2**128 - 1))]),
    (pa.ExtensionArray.from_storage(pa.bool8(), pa.array([0, 1, 7, None], pa.int8())), "BOOLEAN",
     [False, True, True, None]),
    (pa.ExtensionArray.from_storage(pa.json_(pa.large_string()), pa.array(["{}"], pa.large_string())), "JSON", ["{}"]),
    (pa.array([Decimal("1.5")], pa.decimal256(20, 1)), "DECIMAL(20,1)", [Decimal("1.5")]),
    (pa.array([Decimal("12000")], pa.decimal128(5, -3)), "DECIMAL(8,0)", [Decimal(12000)]),
    (_scaled(12, pa.decimal128(2, 5)), "DECIMAL(5,5)", [Decimal("0.00012")]),
    (pa.array([Decimal("12E5"), Decimal(0)], pa.decimal256(74, -5)), "VARCHAR", ["1200000", "0"]),
]  # fmt: skip


@pytest.mark.parametrize(("values", "to", "expected"), FOREIGN, ids=[str(row[0].type) for row in FOREIGN])
@pytest.mark.parametrize("strict", [True, False])
def test_foreign_arrays_come_in_exactly(values: pa.Array, to: str, expected: list[Any], strict: bool) -> None:
    assert types.canonical(values.type) == T(to)
    assert casted(values, to, strict=strict) == expected
    padded = pa.concat_arrays([values[:1], values])
    if not pa.types.is_run_end_encoded(values.type):
        assert casted(padded[1:], to, strict=strict) == expected


def test_a_type_outside_the_list_is_no_target() -> None:
    with pytest.raises(types.UnknownType):
        cast(pa.array([1]), pa.uint8(), strict=False)


moments = st.datetimes(dt.datetime(1, 1, 2), dt.datetime(9999, 12, 30))
finite = st.floats(allow_nan=False, allow_infinity=False)
LOSSLESS = [
    ("LONG", st.integers(-(2**63), 2**63 - 1), "VARCHAR"),
    ("DOUBLE", finite, "VARCHAR"),
    ("FLOAT", st.floats(width=32, allow_nan=False), "VARCHAR"),
    ("DECIMAL(38,9)", st.decimals(-(10**20), 10**20, places=9), "VARCHAR"),
    ("DECIMAL(60,20)", st.decimals(-(10**20), 10**20, places=20), "VARCHAR"),
    ("DATE", st.dates(), "VARCHAR"),
    ("TIME", st.times(), "VARCHAR"),
    ("TIMESTAMP", moments, "VARCHAR"),
    ("TIMESTAMPTZ", moments.map(lambda m: m.replace(tzinfo=UTC)), "VARCHAR"),
    ("BYTEARRAY", st.binary(), "VARCHAR"),
    ("DOUBLE", st.floats(-1e15, 1e15).map(lambda f: round(f, 3)), "DECIMAL(76,30)"),
    ("INTEGER", st.integers(-(2**31), 2**31 - 1), "DOUBLE"),
    ("DATE", st.dates(), "TIMESTAMP"),
    ("FLOAT", st.floats(width=32, allow_nan=False), "DOUBLE"),
]


@pytest.mark.hypothesis
@pytest.mark.parametrize(("from_", "values", "to"), LOSSLESS, ids=[f"{f}-{t}" for f, _, t in LOSSLESS])
def test_there_and_back_gives_the_same_values(from_: str, values: st.SearchStrategy[Any], to: str) -> None:
    @given(st.lists(st.one_of(st.none(), values), max_size=20))
    @settings(max_examples=max(60, (settings.default or settings()).max_examples))
    def law(given_: list[Any]) -> None:
        with decimal.localcontext(prec=80):
            there = cast(array(from_, *given_), T(to), strict=True)
        assert there.bad is None
        back = cast(there.values, T(from_), strict=False)
        assert back.bad is None
        assert back.values.equals(array(from_, *given_))

    law()


@given(st.integers(-(2**70), 2**70), st.integers(0, 20), st.integers(1, 30), st.integers(0, 12))
def test_a_decimal_converts_to_another_exactly_when_it_has_room(unscaled: int, scale: int, whole: int, to: int) -> None:
    with decimal.localcontext(prec=80):
        value = Decimal(unscaled).scaleb(-scale)
        target = types.decimal(whole + to, to)
        got = cast(pa.array([value], types.decimal(50, scale)), target, strict=True)
        room = abs(value) < Decimal(10) ** whole and value == value.quantize(Decimal(1).scaleb(-to))
    assert got.values[0].as_py() == (value if room else None)
    assert (got.bad is None) == room


SAMPLES: dict[str, list[Any]] = {
    name: [value for value in values if not isinstance(value, float) or math.isfinite(value)]
    for name, values in VALUES.items()
}


@pytest.mark.parametrize("a", SAMPLES)
@pytest.mark.parametrize("b", [*SAMPLES, "TIMETZ", "UUID", "DECIMAL(76,70)", "VARCHAR(4)"])
def test_values_reach_the_wider_type_exactly(a: str, b: str) -> None:
    wider = types.widen(T(a), T(b))
    assert cast(array(a, *SAMPLES[a]), wider, strict=True).bad is None


@given(every_type, every_type)
@settings(max_examples=300)
def test_empty_and_null_arrays_convert_to_every_type(from_: pa.DataType, to: pa.DataType) -> None:
    for size in (0, 3):
        for strict in (True, False):
            got = cast(pa.nulls(size, from_), to, strict=strict)
            assert got.bad is None
            assert got.values.type == to
            assert got.values.null_count == len(got.values) == size
