"""What a script does not touch comes back as it was; what it sets comes back as what it is."""

from __future__ import annotations

import datetime as dt
import json
import math
import uuid
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from millrace.data import types
from millrace.data.batch import Batch
from millrace.data.columns import ours
from millrace.data.exact import of_type
from millrace.engine.python.host import PythonStep, ScriptLimits

DAY_US = 86_400_000_000
# Every logical type, with values at its ends and some that are hard to write down.
ENDS: dict[str, tuple[pa.DataType, list[Any]]] = {
    "boolean": (types.BOOLEAN, [True, False]),
    "byte": (types.BYTE, [-128, 127, 0]),
    "short": (types.SHORT, [-(2**15), 2**15 - 1]),
    "integer": (types.INTEGER, [-(2**31), 2**31 - 1]),
    "long": (types.LONG, [-(2**63), 2**63 - 1, 2**53 + 1]),
    "float": (types.FLOAT, [0.1, math.nan, math.inf, -math.inf, -0.0, 1e-45]),
    "double": (types.DOUBLE, [0.1, math.nan, math.inf, -0.0, 5e-324, 1.7976931348623157e308]),
    "decimal": (types.decimal(38, 10), [Decimal("9" * 28 + "." + "9" * 10), Decimal("-0.0000000001"), Decimal("1.50")]),
    "wide_decimal": (types.decimal(76, 76), [Decimal("0." + "9" * 76), Decimal("-0." + "1" * 76)]),
    "date": (types.DATE, [-(2**31), 2**31 - 1, -719162, 2932896, 0]),
    "time": (types.TIME, [0, DAY_US - 1, DAY_US, -1]),
    "timetz": (types.TIMETZ, ["12:00:00.000001+05:30", "00:00:00Z"]),
    "timestamp": (types.TIMESTAMP, [-(2**63), 2**63 - 1, 0, -1]),
    "timestamptz": (types.TIMESTAMPTZ, [-(2**63), 2**63 - 1, 0, 253402300799999999]),
    "varchar": (types.VARCHAR, ["", "\0", "\x1f\x1e\0\n", "\U0001f600é\r\n", '"\\u0000', "a" * 5000]),
    "bounded": (types.varchar(3), ["abc", "日本語", ""]),
    "bytearray": (types.BYTEARRAY, [b"", bytes(range(256))]),
    "json": (
        types.JSON,
        ['{"a": 1.10, "b": [1e400, 123456789012345678901234567890]}', '"x"', "null", "1", "[]", '{"s":"\\ud83d"}'],
    ),
    "struct": (pa.struct([("a", types.LONG), ("b", types.DATE)]), [{"a": 1, "b": None}, {"a": None, "b": 3}]),
    "array": (types.array(types.decimal(5, 2)), [[Decimal("1.50"), None], []]),
    "xml": (types.XML, ["<a/>"]),
    "uuid": (types.UUID, ["00000000-0000-0000-0000-000000000001"]),
    "geo": (types.GEO, ["POINT (1 2)"]),
}


def array(type_: pa.DataType, values: list[Any]) -> pa.Array:
    return of_type(pa.array(values, types.storage(pa.nulls(0, type_)).type), type_)


@pytest.fixture(scope="module")
def stepped() -> Iterator[Callable[..., Any]]:
    """Runs a script over a batch. The same script has the same step."""
    steps: dict[str, PythonStep] = {}

    def run(script: str, columns: dict[str, pa.Array] | pa.RecordBatch, key: tuple[str, ...] = ()) -> Any:
        if script not in steps:
            steps[script] = PythonStep("from millrace.api import Event\n" + script, workers=1)
        return steps[script].apply(Batch("orders", pa.record_batch(columns)), key)

    yield run
    for step in steps.values():
        step.close()


SETS_ANOTHER = """
def transform(event):
    p = event.getProperties()
    p["mark"] = len(p)
    return event
"""
READS_ALL = """
def transform(event):
    p = event.getProperties()
    for key in p.keys():
        repr(p[key])
    p["mark"] = len(list(p.items()))
    return event
"""


def same(found: pa.RecordBatch, wanted: pa.RecordBatch) -> None:
    assert found.schema.names[: wanted.num_columns] == wanted.schema.names
    for name in wanted.schema.names:
        left, right = found.column(name), wanted.column(name)
        assert left.type == right.type, name
        assert exact(left) == exact(right), name


def exact(column: pa.Array) -> Any:
    """What tells NaN from NaN's absence and 0 from -0; days and moments beyond Python's as numbers."""
    plain = types.storage(column)
    if pa.types.is_temporal(plain.type):
        plain = plain.view(pa.int32() if plain.type == types.DATE else pa.int64())
    return [str(value) for value in plain.to_pylist()]


@given(st.data())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_every_type_survives_a_script_that_touches_another_field(stepped: Callable[..., Any], data: Any) -> None:
    names = data.draw(st.lists(st.sampled_from(sorted(ENDS)), min_size=1, max_size=6, unique=True))
    count = data.draw(st.integers(1, 6))
    columns = {
        name: array(ENDS[name][0], data.draw(st.lists(st.none() | st.sampled_from(ENDS[name][1]), min_size=count,
                                                      max_size=count)))
        for name in names
    }  # fmt: skip
    # A slice of more, whose memory begins elsewhere.
    batch = pa.record_batch(columns).slice(data.draw(st.integers(0, count - 1)))
    found = stepped(data.draw(st.sampled_from([SETS_ANOTHER, READS_ALL])), batch)
    assert found.refused == ()
    [output] = found.outputs
    same(output.rows, batch)
    assert [int(mark) for mark in output.rows.column("mark").to_pylist()] == [
        sum(column.is_valid().to_pylist()[row] for column in batch.columns) for row in range(batch.num_rows)
    ]


def test_all_ends_of_all_types_survive_at_once(stepped: Callable[..., Any]) -> None:
    longest = max(len(values) for _, values in ENDS.values())
    batch = pa.record_batch(
        {name: array(type_, (values * longest)[:longest]) for name, (type_, values) in ENDS.items()}
        | {"nothing": pa.nulls(longest), "null_text": pa.nulls(longest, pa.string())}
    )
    for script in (SETS_ANOTHER, READS_ALL):
        [output] = stepped(script, batch).outputs
        same(output.rows, batch)
        # What has no value is not shown.
        assert set(output.rows.column("mark").to_pylist()) == {len(ENDS)}


UTC = dt.UTC


@pytest.mark.parametrize(
    ("value", "type_", "found"),
    [
        ("True", types.BOOLEAN, True),
        ("7", types.INTEGER, 7),
        ("2**63 - 1", types.LONG, 2**63 - 1),
        ("-2**63", types.LONG, -(2**63)),
        ("2**63", types.decimal(38, 0), Decimal(2**63)),
        ("10**50", types.VARCHAR, "1" + "0" * 50),
        ("0.1", types.DOUBLE, 0.1),
        ("-0.0", types.DOUBLE, -0.0),
        ("float('inf')", types.DOUBLE, math.inf),
        ("float('nan')", types.DOUBLE, math.nan),
        ("Decimal('1.50')", types.decimal(3, 2), Decimal("1.50")),
        ("Decimal('9' * 70)", types.decimal(70, 0), Decimal("9" * 70)),
        ("dt.date(9999, 12, 31)", types.DATE, dt.date(9999, 12, 31)),
        ("dt.time(23, 59, 59, 999999)", types.TIME, dt.time(23, 59, 59, 999999)),
        ("dt.datetime(1, 1, 1)", types.TIMESTAMP, dt.datetime(1, 1, 1)),
        ("dt.datetime(2024, 2, 29, 1, 2, 3, 4, dt.timezone(dt.timedelta(hours=5)))", types.TIMESTAMPTZ,
         dt.datetime(2024, 2, 28, 20, 2, 3, 4, UTC)),
        ("b'\\x00\\xff'", types.BYTEARRAY, b"\x00\xff"),
        ("bytearray(b'')", types.BYTEARRAY, b""),
        ("''", types.VARCHAR, ""),
        ("'\\x00\\x1f\\U0001f600'", types.VARCHAR, "\x00\x1f\U0001f600"),
        ("type('S', (str,), {})('x')", types.VARCHAR, "x"),
        ("type('I', (int,), {})(5)", types.INTEGER, 5),
        ("type('F', (float,), {})(-0.0)", types.DOUBLE, -0.0),
    ],
)  # fmt: skip
def test_a_value_that_a_script_sets_has_its_type(
    stepped: Callable[..., Any], value: str, type_: pa.DataType, found: Any
) -> None:
    [output] = stepped(SETS_VALUE, {"n": pa.array([1]), "source": pa.array([value])}).outputs
    column = output.rows.column("v")
    assert column.type == type_
    assert (str(column[0].as_py()), type(column[0].as_py())) == (str(found), type(found))


# One script for all values: it is a guest less for each.
SETS_VALUE = """
import datetime as dt
import uuid
from decimal import Decimal

VALUES = {values}

def transform(event):
    p = event.getProperties()
    p["v"] = VALUES[p["source"]]()
    return event
"""
_MARKS = [mark for mark in test_a_value_that_a_script_sets_has_its_type.pytestmark if mark.name == "parametrize"]
NESTED = [
    "{'a': Decimal('1.10'), 'b': [2**70, None, {}], 'c': dt.date(2024, 1, 1), 'd': b'x'}",
    "[1.0, 'x', '\\ud83d']",
    "(1, 2)",
]
_VALUES = [row[0] for row in _MARKS[0].args[1]] + NESTED + ["uuid.UUID(int=1)", "dt.time(1, 2, tzinfo=dt.timezone.utc)"]
SETS_VALUE = SETS_VALUE.replace("{values}", "{" + ", ".join(f"{v!r}: lambda: {v}" for v in _VALUES) + "}")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (NESTED[0], '{"a":1.10,"b":[1180591620717411303424,null,{}],"c":"2024-01-01","d":"eA=="}'),
        (NESTED[1], '[1.0,"x","\\ud83d"]'),
        (NESTED[2], "[1,2]"),
    ],
)
def test_nested_values_are_json_with_all_digits(stepped: Callable[..., Any], value: str, text: str) -> None:
    [output] = stepped(SETS_VALUE, {"n": pa.array([1]), "source": pa.array([value])}).outputs
    column = output.rows.column("v")
    assert column.type == types.JSON
    assert column.storage.to_pylist() == [text]
    json.loads(text)


def test_uuids_and_times_with_a_zone_keep_their_types(stepped: Callable[..., Any]) -> None:
    for value, type_, text in (
        ("uuid.UUID(int=1)", types.UUID, str(uuid.UUID(int=1))),
        ("dt.time(1, 2, tzinfo=dt.timezone.utc)", types.TIMETZ, None),
    ):
        [output] = stepped(SETS_VALUE, {"n": pa.array([1]), "source": pa.array([value])}).outputs
        column = output.rows.column("v")
        assert column.type == type_
        assert text is None or column.storage.to_pylist() == [text]


SOME = """
def transform(event):
    p = event.getProperties()
    if p["n"] % 3 == 0:
        p["v"] = p["n"] + 0.5
    elif p["n"] % 3 == 1:
        del p["v"]
    return event
"""


def test_a_field_that_some_rows_set_and_some_lose_keeps_the_rest(stepped: Callable[..., Any]) -> None:
    [output] = stepped(SOME, {"n": pa.array(range(6)), "v": pa.array([10, 11, 12, 13, 14, 15])}).outputs
    assert output.rows.column("v").to_pylist() == [0.5, None, 12, 3.5, None, 15]
    assert output.rows.column("v").type == types.DOUBLE
    assert output.rows.column("n").type == pa.int64()


def test_values_of_several_types_meet_in_one_that_holds_them_all(stepped: Callable[..., Any]) -> None:
    script = """
def transform(event):
    p = event.getProperties()
    p["v"] = [1, "x", None, 2.5][p["n"]]
    return event
"""
    [output] = stepped(script, {"n": pa.array([0, 1, 2, 3])}).outputs
    assert output.rows.column("v").to_pylist() == ["1", "x", None, "2.5"]


def test_slices_in_which_a_field_has_another_type_meet(stepped: Callable[..., Any]) -> None:
    script = """
def transform(event):
    p = event.getProperties()
    p["v"] = p["n"] if p["n"] < 2500 else "late"
    return event
"""
    [output] = stepped(script, {"n": pa.array(range(5000))}).outputs
    values = output.rows.column("v").to_pylist()
    assert values == [*map(str, range(2500)), *["late"] * 2500]
    assert output.origin.to_pylist() == list(range(5000))


def test_a_batch_without_rows_or_without_columns_passes(stepped: Callable[..., Any]) -> None:
    assert stepped(SETS_ANOTHER, {"n": pa.array([], pa.int64())}).outputs == ()
    bare = pa.RecordBatch.from_struct_array(pa.array([{}, {}], pa.struct([])))
    [output] = stepped(SETS_ANOTHER, bare).outputs
    assert output.rows.to_pylist() == [{"mark": 0}, {"mark": 0}]
    [output] = stepped(SETS_ANOTHER, {"a": pa.nulls(2), "b": pa.nulls(2, pa.string())}).outputs
    assert output.rows.to_pylist() == [{"a": None, "b": None, "mark": 0}] * 2


def test_an_event_without_fields_is_an_event(stepped: Callable[..., Any]) -> None:
    script = """
def transform(event):
    event.setProperties({})
    return event
"""
    [output] = stepped(script, {"n": pa.array([1, 2])}).outputs
    assert output.rows.num_rows == 2
    assert output.origin.to_pylist() == [0, 1]
    assert output.rows.num_columns == 0 or output.rows.column("n").null_count == 2


def test_an_event_that_was_given_earlier_brings_its_own_values(stepped: Callable[..., Any]) -> None:
    script = """
KEPT = []
def transform(event):
    KEPT.append(event)
    return KEPT[0]
"""
    [output] = stepped(script, {"n": pa.array([1, 2, 3]), "v": array(types.JSON, ['{"a":1}', '{"a":2}', None])}).outputs
    assert output.rows.column("n").to_pylist() == [1, 1, 1]
    assert output.rows.column("v").storage.to_pylist() == ['{"a":1}'] * 3
    assert output.made.to_pylist() == [False, True, True]


@pytest.mark.parametrize(
    ("value", "why"),
    [("'\\ud800'", "surrogates"), ("object()", "object"), ("{1, 2}", "set"), ("[float('nan')]", "JSON")],
)
def test_a_value_that_cannot_travel_refuses_its_event_alone(stepped: Callable[..., Any], value: str, why: str) -> None:
    script = SETS_ON_ONE.replace("{value}", value)
    found = stepped(script, {"n": pa.array([0, 1, 2])})
    [(row, code, message)] = found.refused
    assert (row, code) == (1, "TRANSFORM_RESULT")
    assert why in message
    assert found.outputs[0].origin.to_pylist() == [0, 2]


SETS_ON_ONE = """
def transform(event):
    p = event.getProperties()
    if p["n"] == 1:
        p["v"] = {value}
    return event
"""


def test_metadata_of_millraces_own_is_neither_seen_nor_set(stepped: Callable[..., Any]) -> None:
    script = """
def transform(event):
    p = event.getProperties()
    p["seen"] = sorted(p.keys())
    if p["n"] == 1:
        p["__hevo_op"] = "x"
    return event
"""
    schema = pa.schema([pa.field("n", pa.int64()), ours("__hevo_op", pa.string())])
    found = stepped(script, pa.RecordBatch.from_arrays([pa.array([0, 1]), pa.array(["a", "b"])], schema=schema))
    assert [(row, code) for row, code, _ in found.refused] == [(1, "TRANSFORM_RESULT")]
    [output] = found.outputs
    assert output.rows.column("__hevo_op").to_pylist() == ["a"]
    assert output.rows.schema.field("__hevo_op") == schema.field("__hevo_op")
    assert output.rows.column("seen").storage.to_pylist() == ['["n"]']


def test_many_sparse_fields_take_no_more_than_their_share(stepped: Callable[..., Any]) -> None:
    """Rows that each set fields of their own are one output, in order, with nothing mixed up."""
    script = """
def transform(event):
    p = event.getProperties()
    for bit in range(8):
        if p["n"] >> bit & 1:
            p["f%d" % bit] = p["n"]
    return event
"""
    [output] = stepped(script, {"n": pa.array(range(1000))}).outputs
    for bit in range(8):
        assert output.rows.column(f"f{bit}").to_pylist() == [n if n >> bit & 1 else None for n in range(1000)]


def test_output_beyond_its_limit_refuses_the_event_that_made_it() -> None:
    script = """
def transform(event):
    p = event.getProperties()
    p["v"] = "x" * (3 << 20 if p["n"] == 2 else 100)
    return event
"""
    step = PythonStep(script, limits=ScriptLimits(output_bytes=1 << 20), workers=1)
    try:
        found = step.apply(Batch("orders", pa.record_batch({"n": pa.array(range(8))})))
    finally:
        step.close()
    assert [(row, code) for row, code, _ in found.refused] == [(2, "TRANSFORM_LIMIT")]
    assert found.outputs[0].origin.to_pylist() == [0, 1, 3, 4, 5, 6, 7]
