"""Every type of BSON at its extremes, and `_id` as text."""

from __future__ import annotations

import base64
import struct
from datetime import UTC, datetime
from decimal import Decimal, Inexact, InvalidOperation
from typing import Any, Literal
from uuid import UUID

import bson
import pyarrow as pa
import pytest
from bson import Binary, Code, DatetimeMS, DBRef, Decimal128, Int64, MaxKey, MinKey, ObjectId, Regex, Timestamp
from hypothesis import given
from hypothesis import strategies as st

from millrace.data import columns, types
from millrace.data.batch import Batch, Refused
from millrace.data.json_text import loads
from millrace.data.rows import to_rows
from millrace.sources.mongodb import values
from millrace.sources.mongodb.documents import Document, Rows, split

NOW = datetime(2026, 1, 2, tzinfo=UTC)
SOME = ObjectId("0123456789abcdef01234567")
UNIQUE = UUID("12345678-1234-5678-1234-567812345678")


def rows_of(
    *documents: dict[str, Any] | bytes, special: Literal["reject", "null"] = "reject"
) -> tuple[pa.RecordBatch | None, list[dict[str, Any]], Rows]:
    """The batch, and what was refused."""
    rows = Rows("shop.things", special, False, lambda: NOW)
    made = [Document(one if isinstance(one, bytes) else bson.encode(one)) for one in documents]
    batch, refused = None, list[dict[str, Any]]()
    for item in rows.of(made):
        if isinstance(item, Batch):
            batch = item.rows
        elif isinstance(item, Refused):
            refused = item.rows.to_pylist()
    return batch, refused, rows


def column(value: Any) -> tuple[pa.DataType, Any]:
    batch, refused, _ = rows_of({"_id": 1, "v": value})
    assert batch is not None and not refused
    return batch.schema.field("v").type, to_rows(batch, numbers="exact")[0]["v"]


@pytest.mark.parametrize(
    ("value", "type_", "shown"),
    [
        (2**31 - 1, types.INTEGER, 2**31 - 1),
        (Int64(1), types.LONG, 1),
        (Int64(-(2**63)), types.LONG, -(2**63)),
        (0.1, types.DOUBLE, 0.1),
        (float("nan"), types.DOUBLE, "NaN"),
        (float("-inf"), types.DOUBLE, "-Infinity"),
        (True, types.BOOLEAN, True),
        ("né\0x", types.VARCHAR, "né\0x"),
        (Decimal128("-0.000000000000000000000000000000001"), types.decimal(33, 33), Decimal("-1e-33")),
        (Decimal128("9" * 34), types.decimal(34, 0), Decimal("9" * 34)),
        (Decimal128("1E+6111"), types.VARCHAR, "1E+6111"),
        (datetime(1, 1, 1, tzinfo=UTC), types.TIMESTAMPTZ, "0001-01-01T00:00:00.000000Z"),
        (datetime(9999, 12, 31, 23, 59, 59, 999000, UTC), types.TIMESTAMPTZ, "9999-12-31T23:59:59.999000Z"),
        (Timestamp(2**32 - 1, 7), types.TIMESTAMPTZ, "2106-02-07T06:28:15.000007Z"),
        (SOME, types.VARCHAR, str(SOME)),
        (b"\0\xff", types.BYTEARRAY, base64.b64encode(b"\0\xff").decode()),
        (Binary(b"12", 5), types.BYTEARRAY, base64.b64encode(b"12").decode()),
        (Binary(UNIQUE.bytes, 4), types.UUID, str(UNIQUE)),
        (Binary(UNIQUE.bytes, 3), types.BYTEARRAY, base64.b64encode(UNIQUE.bytes).decode()),
        (Regex("^a/b", "im"), types.VARCHAR, "/^a/b/im"),
        (Code("f()"), types.VARCHAR, "f()"),
        (Code("f()", {"x": SOME}), types.JSON, {"$code": "f()", "$scope": {"x": str(SOME)}}),
        (MinKey(), types.VARCHAR, "MinKey"),
        (MaxKey(), types.VARCHAR, "MaxKey"),
        (DBRef("c", SOME), types.JSON, {"$ref": "c", "$id": str(SOME)}),
        ([], types.JSON, []),
        ({"a": {"b": [1, None]}}, types.JSON, {"a": {"b": [1, None]}}),
    ],
)
def test_every_type_reaches_its_column_as_it_is(value: Any, type_: pa.DataType, shown: Any) -> None:
    assert column(value) == (type_, shown)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (Int64(2**63 - 1), "9223372036854775807"),
        (1.0, "1.0"),
        (float("nan"), '"NaN"'),
        (Decimal128("1.10"), "1.10"),
        (Decimal128("Infinity"), '"Infinity"'),
        (DatetimeMS(2**62), '{"$date":{"$numberLong":"4611686018427387904"}}'),
        (datetime(2020, 1, 2, tzinfo=UTC), '"2020-01-02T00:00:00.000000Z"'),
        (Timestamp(1, 2), '{"$timestamp":{"t":1,"i":2}}'),
        (SOME, f'"{SOME}"'),
        (Binary(b"12", 5), '{"$binary":{"base64":"MTI=","subType":"05"}}'),
        (Binary(UNIQUE.bytes, 4), f'"{UNIQUE}"'),
        (Regex("a", "i"), '{"$regularExpression":{"pattern":"a","options":"i"}}'),
        (MinKey(), '{"$minKey":1}'),
    ],
)
def test_inside_a_document_every_value_is_said_whole(value: Any, text: str) -> None:
    batch, _, _ = rows_of({"_id": 1, "v": {"in": [value]}})
    assert batch is not None
    assert types.storage(batch.column("v"))[0].as_py() == f'{{"in":[{text}]}}'


@pytest.mark.parametrize("value", [Decimal128("NaN"), DatetimeMS(2**62), DatetimeMS(-(2**62)), Timestamp(1, 10**6)])
def test_what_no_type_has_is_refused_or_left_out_as_a_person_wishes(value: Any) -> None:
    documents = ({"_id": 1, "v": 1}, {"_id": 2, "v": value, "w": SOME})
    batch, (refused,), _ = rows_of(*documents)
    assert batch is not None and batch.column("_id").to_pylist() == ["1"]
    assert refused["code"] == "INCOMPATIBLE_TYPE" and refused["message"].startswith("v is ")
    assert values.of_extended(refused["row"]) == documents[1]
    batch, none, rows = rows_of(*documents, special="null")
    assert batch is not None and batch.column("v").to_pylist() == [1, None] and not none
    assert rows.left_out == {"v": 1}
    # It is tried again with other settings, as it was refused.
    (again,) = rows.again([refused["row"]])
    assert isinstance(again, Batch) and to_rows(again.rows) == [{"_id": "2", "w": str(SOME)}]


def element(name: str, number: int) -> bytes:
    return b"\x10" + name.encode() + b"\0" + struct.pack("<i", number)


def packed(*elements: bytes) -> bytes:
    inner = b"".join(elements)
    return struct.pack("<i", len(inner) + 5) + inner + b"\0"


def test_a_document_with_a_field_twice_is_refused_with_all_of_it() -> None:
    twice = packed(element("_id", 1), element("a", 2), element("a", 3))
    inside = packed(element("_id", 2), b"\x03v\0" + packed(element("b", 2), element("b", 3)))
    batch, refused, rows = rows_of(twice, {"_id": 3}, inside)
    assert batch is not None and batch.column("_id").to_pylist() == ["3"]
    assert [one["message"] for one in refused] == [
        f"the document has the field {name} twice, and a row cannot" for name in "ab"
    ]
    assert base64.b64decode(loads(refused[0]["row"])["$bson"]) == twice
    (still,) = rows.again([refused[0]["row"]])
    assert isinstance(still, Refused) and still.rows.to_pylist()[0]["row"] == refused[0]["row"]


def test_text_that_is_none_is_refused() -> None:
    broken = packed(element("_id", 1), b"\x02t\0" + struct.pack("<i", 2) + b"\xff\0")
    batch, (refused,), _ = rows_of(broken)
    assert batch is None and "cannot be read" in refused["message"]
    assert base64.b64decode(loads(refused["row"])["$bson"]) == broken


def test_a_field_with_a_name_of_ours_is_the_users() -> None:
    batch, _, _ = rows_of({"_id": 1, columns.OP_TYPE: "D", columns.DATABASE_NAME: "x"})
    assert batch is not None and set(batch.schema.names) == {
        "_id", f"src_{columns.OP_TYPE}", f"src_{columns.DATABASE_NAME}",
    }  # fmt: skip


def test_fields_of_several_types_meet_in_one_that_holds_all() -> None:
    batch, _, _ = rows_of({"_id": 1, "v": 1}, {"_id": 2, "v": "x"}, {"_id": 3})
    assert batch is not None and batch.column("v").to_pylist() == ["1", "x", None]


ids = st.one_of(
    st.integers(-(2**63), 2**63 - 1).map(Int64),
    st.integers(-5, 5),
    st.floats(allow_nan=False),
    st.text(max_size=5),
    st.sampled_from(["1", "-3", "1.5", str(SOME), "true", "null", '"1"', "{}", '{"$minKey": 1}', "NaN", "nan", "inf"]),
    st.just(SOME),
    st.booleans(),
    st.none(),
    st.binary(max_size=3),
    st.sampled_from([Binary(b"12", 5), Binary(UNIQUE.bytes, 4), Binary(UNIQUE.bytes, 3), MinKey(), MaxKey()]),
    st.integers(-(10**14), 10**14).map(DatetimeMS),
    st.builds(Timestamp, st.integers(0, 3), st.integers(0, 3)),
    st.decimals(allow_nan=False, allow_infinity=False, places=2, min_value=-9, max_value=9).map(Decimal128),
    st.dictionaries(st.sampled_from("ab"), st.integers(0, 2), max_size=2),
)


@given(ids, ids)
def test_ids_that_are_different_are_different_as_text(one: Any, other: Any) -> None:
    assert (values.id_text(one) == values.id_text(other)) == _same(one, other)


def _same(one: Any, other: Any) -> bool:
    """Whether MongoDB's index of `_id` holds but one of them."""
    kinds = [_number(value) for value in (one, other)]
    if None not in kinds:
        return kinds[0] == kinds[1]
    return bson.encode({"": one}) == bson.encode({"": other})


def _number(value: Any) -> Decimal | None:
    if isinstance(value, Decimal128):
        return value.to_decimal()
    return Decimal(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


@given(
    st.one_of(
        st.decimals(),
        st.builds(
            lambda digits, exponent: Decimal(f"{digits}E{exponent}"),
            st.integers(-(10**34) + 1, 10**34 - 1),
            st.integers(-6176, 6111),
        ),
    )
)
def test_a_decimal_is_the_number_that_the_driver_says(number: Decimal) -> None:
    try:
        stored = Decimal128(number)
    except (InvalidOperation, Inexact):  # more digits than there is room for
        return
    assert str(values.number_of(stored)) == str(stored.to_decimal())


def test_plain_ids_are_as_plain_as_can_be() -> None:
    for value, text in (("1", "1"), (str(SOME), str(SOME)), (Binary(UNIQUE.bytes, 4), str(UNIQUE)), (b"12", "MTI=")):
        assert values.id_text(value, plain=True) == text


@given(st.dictionaries(st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=3), ids, max_size=4))
def test_a_document_as_text_is_the_same_document(document: dict[str, Any]) -> None:
    data = bson.encode(document)
    said = values.of_extended(values.extended(values.of_bson(data)))
    assert bson.encode(said, codec_options=values.DECODING) == data


def test_a_batch_of_documents_is_taken_apart() -> None:
    parts = [bson.encode({"_id": number, "v": "x" * number}) for number in range(5)]
    assert [*split(b"".join(parts))] == parts
