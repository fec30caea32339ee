"""Binary COPY by the native library, beside a plain reading of its bytes, and beside ADBC's at a real server."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from decimal import Context, Decimal
from typing import Any
from zoneinfo import ZoneInfo

import psycopg
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.postgres import Database

from millrace.data import native, types
from millrace.destinations.postgres import copying
from millrace.destinations.postgres.copying import NotWritten, blocks
from millrace.destinations.postgres.dialect import POSTGRES
from millrace.destinations.postgres.sessions import ByAdbc, ByPsycopg

EPOCH = datetime(2000, 1, 1)
DAY = date(2000, 1, 1)
MOMENTS = st.datetimes(datetime(1, 1, 1), datetime(9999, 12, 31, 23, 59, 59, 999999))
# Values that move bits about: ends of ranges, zeros behind the point, groups of four digits that are empty.
DECIMALS = ["0", "1", "-1", "0.01", "10000", "-10000.00", "9999.99", "100000000", "0.0001", "12345678901234567.89"]


def whole(bits: int) -> st.SearchStrategy[int]:
    return st.integers(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)


def decimals(precision: int, scale: int) -> st.SearchStrategy[Decimal]:
    most = 10**precision - 1
    numbers = st.integers(-most, most) | st.sampled_from(
        [most, -most, 0, min(most, 10**scale), -(10 ** (precision - 1))]
    )
    return numbers.map(lambda number: Decimal((int(number < 0), tuple(map(int, str(abs(number)))), -scale)))


COLUMNS: list[tuple[pa.DataType, st.SearchStrategy[Any]]] = [
    (types.BOOLEAN, st.booleans()),
    (types.BYTE, whole(8)),
    (types.SHORT, whole(16)),
    (types.INTEGER, whole(32)),
    (types.LONG, whole(64)),
    (types.FLOAT, st.floats(width=32)),
    (types.DOUBLE, st.floats()),
    (types.DATE, st.dates()),
    (types.TIME, st.times()),
    (types.TIMESTAMP, MOMENTS),
    (types.TIMESTAMPTZ, MOMENTS.map(lambda moment: moment.replace(tzinfo=UTC))),
    (types.VARCHAR, st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=40)),
    (types.BYTEARRAY, st.binary(max_size=40)),
    (types.JSON, st.sampled_from(["{}", "null", '{"a": [1, "ä"]}', "[]", '"x"'])),
    *((types.decimal(p, s), decimals(p, s)) for p, s in [(1, 0), (3, 3), (12, 2), (19, 5), (38, 0), (38, 38)]),
    *((types.decimal(p, s), decimals(p, s)) for p, s in [(39, 1), (76, 7), (76, 0), (76, 76)]),
]


@st.composite
def batches(draw: st.DrawFn, numbers: list[int]) -> pa.RecordBatch:
    """Rows of chosen types with NULLs, maybe from the middle of longer ones."""
    rows = draw(st.integers(0, 12))
    chosen = [COLUMNS[number] for number in numbers]
    columns = [
        made(draw(st.lists(st.none() | values, min_size=rows, max_size=rows)), type_) for type_, values in chosen
    ]
    first = draw(st.integers(0, rows))
    batch = pa.RecordBatch.from_arrays(columns, names=[f"c{number}" for number in range(len(columns))])
    return batch.slice(first, draw(st.integers(0, rows - first)))


def made(values: list[Any], type_: pa.DataType) -> pa.Array:
    if type_ == types.JSON:
        return pa.ExtensionArray.from_storage(types.JSON, pa.array(values, pa.string()))
    return pa.array(values, type_)


def reader(*given: pa.RecordBatch) -> pa.RecordBatchReader:
    return pa.RecordBatchReader.from_batches(given[0].schema, given)


def fields(written: bytes) -> Iterator[list[bytes | None]]:
    """The fields of each row. Source: https://www.postgresql.org/docs/current/sql-copy.html"""
    assert written[:19] == b"PGCOPY\n\xff\r\n\0" + bytes(8)
    at = 19
    while (count := struct.unpack_from(">h", written, at)[0]) != -1:
        at += 2
        row: list[bytes | None] = []
        for _ in range(count):
            (length,) = struct.unpack_from(">i", written, at)
            at += 4
            row.append(None if length == -1 else written[at : at + length])
            at += max(length, 0)
        yield row
    assert at + 2 == len(written)


def number(field: bytes) -> Decimal:
    count, weight, sign, scale = struct.unpack_from(">hhHh", field)
    groups = struct.unpack_from(f">{count}h", field, 8)
    assert all(0 <= group < 10000 for group in groups) and len(field) == 8 + 2 * count
    # As the server makes them: no empty group at either end, and no sign of nothing.
    assert not groups or (groups[0] and groups[-1])
    assert groups or (weight, sign) == (0, 0)
    value = sum(group * 10000 ** (weight - place) for place, group in enumerate(groups) if weight >= place)
    found = Decimal(value)
    for place, group in enumerate(groups):
        if weight < place:
            found = BIG.add(found, Decimal(group).scaleb(4 * (weight - place), BIG))
    return BIG.quantize(found.copy_negate() if sign == 0x4000 else found, Decimal((0, (1,), -scale)))


BIG = Context(prec=200)


def value(field: bytes | None, type_: pa.DataType) -> Any:
    if field is None:
        return None
    if types.is_decimal(type_):
        return number(field)
    if type_ == types.JSON:
        assert field[0] == 1
        return field[1:].decode()
    kind = types.kind(type_)
    if kind in ("VARCHAR", "BYTEARRAY"):
        return field.decode() if kind == "VARCHAR" else field
    form = {"BOOLEAN": ">?", "BYTE": ">h", "SHORT": ">h", "INTEGER": ">i", "DATE": ">i", "FLOAT": ">f", "DOUBLE": ">d"}
    (found,) = struct.unpack(form.get(kind, ">q"), field)
    match kind:
        case "DATE":
            return DAY + timedelta(found)
        case "TIME":
            return (EPOCH + timedelta(microseconds=found)).time()
        case "TIMESTAMP":
            return EPOCH + timedelta(microseconds=found)
        case "TIMESTAMPTZ":
            return (EPOCH + timedelta(microseconds=found)).replace(tzinfo=ZoneInfo("UTC"))
    return found


# Which of the columns are beside each other.
CHOSEN = st.lists(st.integers(0, len(COLUMNS) - 1), min_size=1, max_size=3)


@given(CHOSEN.flatmap(lambda numbers: st.lists(batches(numbers), min_size=1, max_size=2)))
def test_the_bytes_are_the_values(batched: list[pa.RecordBatch]) -> None:
    written = b"".join(bytes(block) for block in blocks(reader(*batched)))
    kinds = batched[0].schema.types
    found = [[value(field, type_) for field, type_ in zip(row, kinds, strict=True)] for row in fields(written)]
    meant = [list(row.values()) for batch in batched for row in batch.to_pylist()]
    # A NaN is equal to none.
    assert repr(found) == repr(meant)


def test_a_row_longer_than_a_block_goes_with_all_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copying, "BLOCK_BYTES", 200)
    texts = ["a" * length for length in (0, 1, 150, 5000, 3, 100_000, 2)]
    batch = pa.record_batch({"t": pa.array(texts), "n": pa.array(range(len(texts)))})
    held = list(map(bytes, blocks(reader(batch))))
    assert len(held) > 4
    assert [(row[0] or b"").decode() for row in fields(b"".join(held))] == texts


@pytest.mark.parametrize("type_", [types.TIMESTAMP, types.DATE])
def test_a_moment_that_postgresql_has_not_is_refused(type_: pa.DataType) -> None:
    plain, wide = (pa.int32(), 32) if type_ == types.DATE else (pa.int64(), 64)
    values = pa.array([0, -(2 ** (wide - 1))], plain).view(type_)
    with pytest.raises(NotWritten, match="rows 0 to 2"):
        list(blocks(reader(pa.record_batch({"c": values}))))


def test_a_type_without_a_form_is_refused() -> None:
    with pytest.raises(NotWritten, match="list<item: int64>"):
        list(blocks(reader(pa.record_batch({"c": pa.array([[1]])}))))


@given(CHOSEN.flatmap(batches), st.data())
def test_buffers_that_are_damaged_are_never_read_beyond_their_end(batch: pa.RecordBatch, data: st.DataObject) -> None:
    columns: list[pa.Array] = []
    for column in batch.columns:
        plain = types.storage(column)
        held: list[pa.Buffer | None] = []
        for buffer in plain.buffers():
            content = bytearray(buffer.to_pybytes() if buffer is not None else b"")
            for _ in range(data.draw(st.integers(0, 2)) if content else 0):
                content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
            held.append(pa.py_buffer(bytes(content)) if buffer is not None else None)
        try:
            damaged = pa.Array.from_buffers(plain.type, len(plain), held, offset=plain.offset)
        except pa.ArrowInvalid:
            # Arrow itself sees some of it.
            return
        columns.append(pa.ExtensionArray.from_storage(types.JSON, damaged) if column.type == types.JSON else damaged)
    try:
        written = b"".join(map(bytes, blocks(reader(pa.RecordBatch.from_arrays(columns, names=batch.schema.names)))))
    except NotWritten:
        return
    assert len(list(fields(written))) == batch.num_rows


def test_the_server_understands_what_both_ways_send_alike(database: Database) -> None:
    assert native.library() is not None
    samples: dict[str, list[Any]] = {
        "BOOLEAN": [True, False], "BYTE": [-128, 127], "SHORT": [-(2**15), 2**15 - 1],
        "INTEGER": [-(2**31), 2**31 - 1], "LONG": [-(2**63), 2**63 - 1],
        "FLOAT": [float("nan"), float("-inf"), 1.5], "DOUBLE": [float("nan"), float("inf"), -0.0, 5e-324],
        "DATE": [date.min, date.max], "TIME": [time.min, time.max],
        "TIMESTAMP": [datetime.min, datetime.max], "TIMESTAMPTZ": [
            datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)],
        "VARCHAR": ["", "ä€😀\n\t\\"], "BYTEARRAY": [b"", bytes(range(256))], "JSON": ['{"a": "\\u00e4"}', "[]"],
        "DECIMAL(20,4)": [Decimal(text) for text in DECIMALS if len(text) < 18],
        "DECIMAL(38,10)": list(map(Decimal, DECIMALS)),
        "DECIMAL(76,4)": [Decimal("1e70"), Decimal("-1e-4"), Decimal(0)],
    }  # fmt: skip
    rows = max(map(len, samples.values())) + 1
    columns = {
        name: made(values + [None] * (rows - len(values)), types.parse(name)) for name, values in samples.items()
    }
    batch = pa.RecordBatch.from_arrays(list(columns.values()), names=list(columns))
    told: list[list[tuple[Any, ...]]] = []
    for number, kind in enumerate((ByAdbc, ByPsycopg)):
        session = kind(database.url, ["TimeZone = 'UTC'"])
        made_of = ", ".join(f'"{field.name}" {POSTGRES.sql(field.type)}' for field in batch.schema)
        session.execute(f"CREATE TABLE sent{number} ({made_of})", ())
        session.put(reader(batch, batch), "public", f"sent{number}", f"public.sent{number}")
        session.close()
        with psycopg.connect(database.url) as looking:
            told.append(looking.execute(f"SELECT sent{number}::text FROM sent{number}").fetchall())
    assert told[0] == told[1] and len(told[0]) == 2 * rows
