"""Chains over batches: the worked examples, event types, keys, metadata, refusals."""

from __future__ import annotations

import hashlib
from typing import Any

import pyarrow as pa
import pytest

from millrace.data import types
from millrace.data.batch import Batch
from millrace.data.columns import ID, OP_TYPE, ours
from millrace.data.exact import of_type
from millrace.data.rows import to_batch, to_rows
from millrace.engine.blocks.model import parse
from millrace.engine.blocks.splitting import MAX_PARTS
from millrace.engine.blocks.step import BlockStep
from millrace.engine.steps import Stepped

JSON = dict[str, Any]


def stepped(blocks: list[JSON], rows: pa.RecordBatch, *, stream: str = "orders", key: tuple[str, ...] = ()) -> Stepped:
    return BlockStep(parse(blocks)).apply(Batch(stream, rows), key)


def after(blocks: list[JSON], *rows: JSON, stream: str = "orders") -> list[JSON]:
    """The rows of the one event type that comes out, without missing fields."""
    (output,) = stepped(blocks, to_batch([*rows], None), stream=stream).outputs
    return [{k: v for k, v in row.items() if v is not None} for row in to_rows(output.rows)]


def md5(text: str) -> str:
    return hashlib.md5(text.encode()).hexdigest()


def test_a_formula_with_self_changes_the_field_of_events_that_match() -> None:
    block = {
        "type": "CHANGE_FIELD_VALUES",
        "event_filters": [
            {"on": "EVENT_TYPE", "op": "EQUALS", "value": "deals"},
            {"on": "EVENT_FIELD", "field": "isactive", "op": "EQUALS", "value": False},
        ],
        "field_filters": [{"on": "FIELD_NAME", "op": "IN", "value": "price"}],
        "settings": {"value": "1.2 * $self"},
    }
    found = after([block], {"price": 100, "isactive": False}, {"price": 100, "isactive": True}, stream="deals")
    assert [float(row["price"]) for row in found] == [120, 100]
    assert after([block], {"price": 100, "isactive": False}, stream="leads")[0]["price"] == 100


def test_null_takes_a_value_away_and_a_later_filter_finds_it_null() -> None:
    chain = [
        {
            "type": "CHANGE_FIELD_VALUES",
            "event_filters": [{"on": "EVENT_TYPE", "op": "EQUALS", "value": "shop"}],
            "field_filters": [{"on": "FIELD_NAME", "op": "EQUALS", "value": "price"}],
            "settings": {"value": "$null"},
        },
        {
            "type": "ADD_FIELD",
            "event_filters": [{"on": "EVENT_FIELD", "field": "price", "op": "IS_NULL"}],
            "settings": {"name": "count", "value": '"Out-of-Stock"'},
        },
    ]
    assert after(chain, {"id": 1, "price": 10}, stream="shop") == [{"id": 1, "count": "Out-of-Stock"}]


def test_a_named_field_is_hashed() -> None:
    block = {
        "type": "HASH_FIELDS",
        "event_filters": [{"on": "ALL_EVENTS"}],
        "field_filters": [{"on": "FIELD_NAME", "op": "EQUALS", "value": "Marks"}],
        "settings": {"algorithm": "MD5"},
    }
    assert after([block], {"Marks": 81, "Name": "Ada"}) == [{"Marks": md5("81"), "Name": "Ada"}]


def test_every_field_of_a_value_is_hashed() -> None:
    block = {
        "type": "HASH_FIELDS",
        "field_filters": [{"on": "FIELD_VALUE", "op": "GREATER_THAN", "value": 40}],
        "settings": {"algorithm": "MD5"},
    }
    assert after([block], {"a": 41, "b": 40, "c": "50"}, {"a": 1, "b": 99}) == [
        {"a": md5("41"), "b": "40", "c": md5("50")},
        {"a": "1", "b": md5("99")},
    ]


def test_branches_have_chains_of_their_own_and_rows_come_out_in_their_order() -> None:
    big: JSON = {"on": "EVENT_FIELD", "field": "n", "op": "GREATER_THAN", "value": 2}
    inner = {
        "type": "IF_ELSE",
        "condition": {"any": [{"on": "EVENT_FIELD", "field": "n", "op": "EQUALS", "value": 4}, {"all": [big, big]}]},
        "true": [{"type": "ADD_FIELD", "settings": {"name": "size", "value": "n * 10"}}],
    }
    chain = [{"type": "IF_ELSE", "condition": [big], "true": [inner], "false": [
        {"type": "ADD_FIELD", "settings": {"name": "size", "value": '"small"'}}]}]  # fmt: skip
    (output,) = stepped(chain, to_batch([{"n": n} for n in (4, 1, 3, 2)], None)).outputs
    assert output.origin.to_pylist() == [0, 1, 2, 3]
    assert output.rows.column("size").to_pylist() == ["40", "small", "30", "small"]


def test_renamed_events_are_another_output_and_dropped_ones_are_counted() -> None:
    chain = [
        {"type": "RENAME_EVENTS", "event_filters": [{"on": "EVENT_FIELD", "field": "n", "op": "IN", "value": "1, 3"}],
         "settings": {"name": "odd"}},
        {"type": "DROP_EVENTS", "event_filters": [{"on": "EVENT_FIELD", "field": "n", "op": "EQUALS", "value": 2}]},
    ]  # fmt: skip
    found = stepped(chain, to_batch([{"n": n} for n in range(5)], None))
    assert [(one.stream, one.origin.to_pylist()) for one in found.outputs] == [("orders", [0, 4]), ("odd", [1, 3])]
    assert found.filtered == 1


def test_a_failing_formula_refuses_the_event_and_is_named_with_its_block() -> None:
    chain = [{"id": "per", "type": "ADD_FIELD", "settings": {"name": "each", "value": "total / n"}}]
    found = stepped(chain, to_batch([{"total": 6, "n": n} for n in (1, 0, 2)], None))
    assert found.refused == (
        (1, "TRANSFORM_ERROR", "block per (ADD_FIELD): in the formula total / n: Division by zero."),
    )
    assert found.outputs[0].origin.to_pylist() == [0, 2]


def test_the_key_follows_renamed_fields() -> None:
    rename = {"type": "RENAME_FIELDS", "field_filters": [{"on": "FIELD_NAME", "op": "EQUALS", "value": "id"}],
              "settings": {"name": "user_id"}}  # fmt: skip
    rows = to_batch([{"id": 1, "n": 1}, {"id": 2, "n": 2}], None)
    (output,) = stepped([rename], rows, key=("id",)).outputs
    assert (output.key, output.rows.schema.names) == (("user_id",), ["user_id", "n"])
    some = {**rename, "event_filters": [{"on": "EVENT_FIELD", "field": "n", "op": "EQUALS", "value": 1}]}
    (output,) = stepped([some], rows, key=("id",)).outputs
    assert output.key is None
    (output,) = stepped([], rows, key=("id",)).outputs
    assert output.key is None


def test_a_new_event_type_without_the_fields_of_its_key_has_none() -> None:
    chain = [{"type": "DROP_FIELDS", "field_filters": [{"on": "FIELD_NAME", "op": "EQUALS", "value": "id"}]},
             {"type": "RENAME_EVENTS", "settings": {"name": "anonymous"}}]  # fmt: skip
    (output,) = stepped(chain, to_batch([{"id": 1, "n": 1}], None), key=("id",)).outputs
    assert output.key == ()


def test_metadata_stays_as_it_is_and_is_not_shown() -> None:
    schema = pa.schema([ours(ID, pa.string()), pa.field("a", pa.string()), ours(OP_TYPE, pa.string())])
    rows = pa.RecordBatch.from_arrays([pa.array(["x", "y"]), pa.array(["p", "q"]), pa.array(["I", "D"])], schema=schema)
    chain = [
        {"type": "DROP_EVENTS", "event_filters": [{"on": "EVENT_FIELD", "field": OP_TYPE}]},
        {"type": "MODIFY_TEXT_CASING", "settings": {"casing": "UPPER"}},
        {"type": "ADD_FIELD", "settings": {"name": "id_too", "value": f'"-" + `{ID}`'}},
    ]
    (output,) = stepped(chain, rows).outputs
    assert to_rows(output.rows) == [{ID: "x", "a": "P", OP_TYPE: "I"}, {ID: "y", "a": "Q", OP_TYPE: "D"}]
    assert output.rows.schema.field(ID).metadata == schema.field(ID).metadata
    (output,) = stepped(chain, rows, key=(ID,)).outputs
    assert output.rows.column("id_too").to_pylist() == ["-x", "-y"]


def test_text_that_parses_in_some_rows_only_becomes_what_it_says_there() -> None:
    chain = [
        {"type": "PARSE_NUMBER_FROM_STRING", "settings": {"group_separator": ",", "decimals": 1}},
        {"type": "ADD_FIELD", "event_filters": [{"on": "EVENT_FIELD", "field": "a", "op": "GREATER_THAN", "value": 0}],
         "settings": {"name": "double", "value": "a * 2"}},
    ]  # fmt: skip
    assert after(chain, {"a": "1,234.56"}, {"a": "n/a"}) == [{"a": "1234.6", "double": "2469.2"}, {"a": "n/a"}]


def test_a_missing_field_is_filled_where_a_filter_asks_for_null() -> None:
    block = {
        "type": "CHANGE_FIELD_VALUES",
        "field_filters": [{"on": "FIELD_NAME", "op": "EQUALS", "value": "tag"}, {"on": "FIELD_VALUE", "op": "IS_NULL"}],
        "settings": {"value": '"none"'},
    }
    assert after([block], {"n": 1}) == [{"n": 1, "tag": "none"}]
    assert after([block], {"n": 1, "tag": "a"}, {"n": 2}) == [{"n": 1, "tag": "a"}, {"n": 2, "tag": "none"}]
    unasked = {**block, "field_filters": block["field_filters"][:1]}
    assert after([unasked], {"n": 1, "tag": "a"}, {"n": 2}) == [{"n": 1, "tag": "none"}, {"n": 2}]


def test_a_renamed_field_never_covers_another() -> None:
    block = {"type": "RENAME_FIELDS", "field_filters": [{"on": "FIELD_NAME", "op": "EQUALS", "value": "a"}],
             "settings": {"name": "b"}}  # fmt: skip
    found = stepped([block], to_batch([{"a": 1}, {"a": 1, "b": 2}, {"b": 3}], None))
    assert [row for row, _, _ in found.refused] == [1]
    assert to_rows(found.outputs[0].rows) == [{"b": 1}, {"b": 3}]


@pytest.mark.parametrize(
    ("unit", "amount", "before", "expected"),
    [
        ("YEAR", 1, "2024-02-29", "2025-02-28"),
        ("MONTH", 1, "2023-01-31", "2023-02-28"),
        ("MONTH", -1, "2024-03-31", "2024-02-29"),
        ("WEEK_OF_MONTH", 1, "2022-12-30", "2023-01-06"),
        ("DAY_OF_WEEK_IN_MONTH", 1, "2022-12-30", "2023-01-06"),
        ("DAY_OF_YEAR", -366, "2024-12-31", "2023-12-31"),
        ("HOUR", 25, "2022-12-31", "2023-01-01"),
    ],
)
def test_a_date_moves_by_units_of_the_calendar(unit: str, amount: int, before: str, expected: str) -> None:
    rows = pa.record_batch({"day": pa.array([before]).cast(pa.date32())})
    block = {"type": "CHANGE_DATETIME_FIELD_VALUES", "settings": {"unit": unit, "amount": amount}}
    (output,) = stepped([block], rows).outputs
    assert [str(day) for day in output.rows.column(0).to_pylist()] == [expected]


def test_members_of_structs_keep_their_types_when_flattened() -> None:
    structs = pa.array([{"d": {"price": 150}}], pa.struct([("d", pa.struct([("price", pa.decimal128(5, 2))]))]))
    rows = pa.record_batch({"s": structs})
    (output,) = stepped([{"type": "FLATTEN_JSON"}], rows).outputs
    assert output.rows.schema == pa.schema([("s_d_price", pa.decimal128(5, 2))])


def test_digits_of_json_survive_flattening() -> None:
    texts = of_type(pa.array(['{"n":12345678901234567890123,"x":0.12345678901234567890}']), types.JSON)
    (output,) = stepped([{"type": "FLATTEN_JSON"}], pa.record_batch({"j": texts})).outputs
    assert to_rows(output.rows) == [{"j_n": "12345678901234567890123", "j_x": "0.12345678901234567890"}]


def test_text_with_too_many_parts_fails_its_event_alone() -> None:
    block = {"type": "SPLIT_FIELDS", "settings": {"delimiter": ","}}
    found = stepped([block], to_batch([{"t": "a,b"}, {"t": "," * MAX_PARTS}], None))
    assert [row for row, _, _ in found.refused] == [1]
    assert found.outputs[0].rows.schema.names == ["t", "t_1", "t_2"]


def test_events_may_lose_all_of_their_fields() -> None:
    found = stepped([{"type": "DROP_FIELDS"}], to_batch([{"a": 1}, {"a": 2}], None))
    assert found.outputs[0].origin.to_pylist() == [0, 1]
    assert found.outputs[0].rows.num_rows == 2


def test_an_empty_batch_and_an_empty_chain_change_nothing() -> None:
    rows = to_batch([{"a": 1}], None)
    assert stepped([{"type": "DROP_FIELDS"}], rows.slice(0, 0)) == Stepped(())
    assert stepped([], rows).outputs[0].rows.equals(rows)
