"""The worked example of loading.md 12.2 by every strategy, and the rules below it."""

from __future__ import annotations

import hashlib
import json
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest

from millrace.connect import registry
from millrace.data import columns, types
from millrace.data.rows import to_batch
from millrace.engine.nesting.children import MANY, digests
from millrace.engine.nesting.names import NestingState
from millrace.engine.nesting.nested import Nested, parsed, without

ORGS = {
    "_id": "o1",
    "name": "Acme",
    "address": {"city": "Pune", "zip": 411001, "lines": ["MG Road", "Camp"]},
    "contact": [{"name": "Ann", "phone_no": ["1", "2"]}, {"name": "Bob", "phone_no": []}],
    "tags": ["x", "y"],
}
OURS = (columns.ID, columns.REF_ID, columns.ARRAY_INDEX)


def made(strategy: Any, *events: dict[str, Any], state: NestingState | None = None, **more: Any) -> dict[str, Nested]:
    more = {"key": ("_id",), "state": state or NestingState(), **more}
    return {one.stream: one for one in parsed("orgs", to_batch(list(events), None), strategy, **more)}


def documents(*texts: str | None) -> pa.RecordBatch:
    """Rows with a key and one JSON column `v`."""
    ids = pa.array([f"{n}" for n in range(len(texts))])
    values = pa.ExtensionArray.from_storage(types.JSON, pa.array(texts, pa.string()))
    return pa.record_batch({"_id": ids, "v": values})


def shape(rows: pa.RecordBatch) -> dict[str, str]:
    return {one.name: types.name(one.type) for one in rows.schema}


def sha(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def live(nested: Nested) -> list[dict[str, Any]]:
    """Rows that are items."""
    rows = nested.rows.to_pylist()
    return [row for row in rows if row.get(columns.OP_TYPE) != columns.EMPTY]


def items(nested: Nested, *names: str) -> list[tuple[Any, ...]]:
    return [tuple(row.get(name) for name in names) for row in live(nested)]


@pytest.mark.spec("loading.21.4")
def test_collapse_makes_text_of_every_object_and_array() -> None:
    rows = made("COLLAPSE", ORGS)["orgs"].rows
    assert set(shape(rows).values()) == {"VARCHAR"}
    assert rows.to_pylist() == [
        {
            "_id": "o1",
            "name": "Acme",
            "address": '{"city":"Pune","zip":411001,"lines":["MG Road","Camp"]}',
            "contact": '[{"name":"Ann","phone_no":["1","2"]},{"name":"Bob","phone_no":[]}]',
            "tags": '["x","y"]',
        }
    ]


@pytest.mark.spec("loading.21.4")
def test_native_hands_json_on_untouched() -> None:
    batch = to_batch([ORGS], None)
    (only,) = parsed("orgs", batch, "NATIVE", key=("_id",), state=NestingState())
    assert only.rows is batch
    assert shape(only.rows)["contact"] == "JSON"


@pytest.mark.spec("loading.21.4")
def test_natural_keeps_objects_and_makes_text_of_arrays() -> None:
    rows = made("NATURAL", ORGS)["orgs"].rows
    assert shape(rows) == {
        "_id": "VARCHAR",
        "name": "VARCHAR",
        "address": "STRUCT(city VARCHAR, zip INTEGER, lines VARCHAR)",
        "contact": "VARCHAR",
        "tags": "VARCHAR",
    }
    assert rows.column("address").to_pylist() == [{"city": "Pune", "zip": 411001, "lines": '["MG Road","Camp"]'}]


@pytest.mark.spec("loading.21.4")
def test_collapse_except_arrays_keeps_arrays_that_are_not_inside_others() -> None:
    rows = made("COLLAPSE_EXCEPT_ARRAYS", ORGS)["orgs"].rows
    assert shape(rows)["address"] == "STRUCT(city VARCHAR, zip INTEGER, lines VARCHAR)"
    assert shape(rows)["contact"] == "ARRAY(STRUCT(name VARCHAR, phone_no VARCHAR))"
    assert rows.column("contact").to_pylist() == [
        [{"name": "Ann", "phone_no": '["1","2"]'}, {"name": "Bob", "phone_no": "[]"}]
    ]
    assert rows.column("tags").to_pylist() == [["x", "y"]]


@pytest.mark.spec("loading.21.4")
def test_flat_makes_columns_of_objects_and_text_of_arrays() -> None:
    rows = made("FLAT", ORGS)["orgs"].rows
    assert rows.to_pylist() == [
        {
            "_id": "o1",
            "name": "Acme",
            "address_city": "Pune",
            "address_zip": 411001,
            "address_lines": '["MG Road","Camp"]',
            "contact": '[{"name":"Ann","phone_no":["1","2"]},{"name":"Bob","phone_no":[]}]',
            "tags": '["x","y"]',
        }
    ]


@pytest.mark.spec("loading.21.4")
def test_split_makes_columns_of_objects_and_event_types_of_arrays() -> None:
    found = made("SPLIT", ORGS)
    assert list(found) == ["orgs", "orgs_address_lines", "orgs_contact", "orgs_contact_phone_no", "orgs_tags"]
    assert live(found["orgs"]) == [{"_id": "o1", "name": "Acme", "address_city": "Pune", "address_zip": 411001}]
    ann = sha("o1|contact|0")
    assert items(found["orgs_contact"], *OURS, "name") == [
        (ann, "o1", 0, "Ann"),
        (sha("o1|contact|1"), "o1", 1, "Bob"),
    ]
    assert items(found["orgs_contact_phone_no"], *OURS, "value") == [
        (sha(f"{ann}|phone_no|0"), ann, 0, "1"),
        (sha(f"{ann}|phone_no|1"), ann, 1, "2"),
    ]
    assert items(found["orgs_address_lines"], *OURS, "value") == [
        (sha("o1|address_lines|0"), "o1", 0, "MG Road"),
        (sha("o1|address_lines|1"), "o1", 1, "Camp"),
    ]
    assert items(found["orgs_tags"], columns.ARRAY_INDEX, "value") == [(0, "x"), (1, "y")]
    assert [(one.parent, one.path, one.key) for one in found.values()] == [
        (None, "", None),
        ("orgs", "address_lines", (columns.ID,)),
        ("orgs", "contact", (columns.ID,)),
        ("orgs_contact", "phone_no", (columns.ID,)),
        ("orgs", "tags", (columns.ID,)),
    ]
    own = found["orgs_contact"].rows.schema
    assert [one.name for one in own if columns.is_ours(one)] == [*OURS, columns.OP_TYPE, columns.ARRAY_LENGTH]


def test_an_array_without_items_leaves_a_mark_in_the_order_of_events() -> None:
    found = made(
        "SPLIT", {"_id": "a", "tags": ["x"]}, {"_id": "b", "tags": []}, {"_id": "c"}, {"_id": "d", "tags": [1]}
    )
    tags = found["orgs_tags"]
    names = (columns.REF_ID, columns.OP_TYPE, columns.ARRAY_LENGTH, "value")
    assert [tuple(row[name] for name in names) for row in tags.rows.to_pylist()] == [
        ("a", None, 1, "x"),
        ("b", "E", 0, None),
        ("c", "E", 0, None),
        ("d", None, 1, "1"),
    ]
    assert (tags.origin.to_pylist(), tags.marks) == ([0, 1, 2, 3], 2)


def test_event_types_known_from_before_get_marks_even_if_no_array_came() -> None:
    state = NestingState()
    made("SPLIT", ORGS, state=state)
    again = NestingState.of({"orgs"}, {stream: state.pairs(stream) for stream in state.names})
    found = made("SPLIT", {"_id": "o1", "name": "Acme"}, state=again)
    assert list(found) == ["orgs", "orgs_address_lines", "orgs_contact", "orgs_tags"]
    assert {one.marks for stream, one in found.items() if stream != "orgs"} == {1}


def test_an_event_is_taken_out_with_all_that_was_made_of_it() -> None:
    made_ = parsed(
        "orgs",
        to_batch([ORGS, {"_id": "o2", "tags": []}, {"_id": "o3", "tags": ["z"]}], None),
        "SPLIT",
        key=("_id",),
        state=NestingState(),
    )
    left = {one.stream: one for one in without(made_, {0})}
    assert left["orgs"].rows.column("_id").to_pylist() == ["o2", "o3"]
    assert (left["orgs_tags"].origin.to_pylist(), left["orgs_tags"].marks) == ([1, 2], 1)
    assert left["orgs_contact_phone_no"].rows.num_rows == 0


def test_without_marking_there_are_items_alone() -> None:
    found = made("SPLIT", {"_id": "a", "tags": ["x"]}, {"_id": "b", "tags": []}, marking=False)
    assert found["orgs_tags"].rows.schema.names == [*OURS, "value"]
    assert found["orgs_tags"].rows.num_rows == 1


def test_a_deleted_event_has_no_items_but_marks() -> None:
    batch = to_batch([ORGS, {"_id": "o2", "tags": ["z"]}], None)
    batch = batch.append_column(columns.ours(columns.OP_TYPE, pa.string()), pa.array(["D", "I"]))
    batch = batch.append_column(columns.ours(columns.INGESTED_AT, pa.int64()), pa.array([5, 6]))
    found = {one.stream: one for one in parsed("orgs", batch, "SPLIT", key=("_id",), state=NestingState())}
    names = (columns.REF_ID, columns.OP_TYPE, columns.INGESTED_AT, "value")
    assert [tuple(row[name] for name in names) for row in found["orgs_tags"].rows.to_pylist()] == [
        ("o1", "E", 5, None),
        ("o2", "I", 6, "z"),
    ]
    assert found["orgs_contact"].marks == 2
    assert "orgs_contact_phone_no" not in found


def test_the_parts_of_a_key_cannot_be_mistaken_for_one_another() -> None:
    rows = [{"_id": "a|b", "n": "c", "v": [1]}, {"_id": "a", "n": "b|c", "v": [1]}, {"_id": "a", "n": "b", "v": [1]}]
    found = made("SPLIT", *rows, key=("_id", "n"))
    refs = [row[columns.REF_ID] for row in found["orgs_v"].rows.to_pylist()]
    assert refs == ["a\\|b|c", "a|b\\|c", "a|b"]


def test_an_event_without_a_key_gets_an_id_for_its_items() -> None:
    found = made("SPLIT", {"n": 1, "tags": ["x"]}, {"n": 2, "tags": ["x"]}, key=())
    ids = found["orgs"].rows.column(columns.ID).to_pylist()
    assert len(set(ids)) == 2
    assert found["orgs_tags"].rows.column(columns.REF_ID).to_pylist() == ids
    assert found["orgs_tags"].key == ()
    assert found["orgs_tags"].marks == 0


def test_many_keys_are_hashed_as_few_are() -> None:
    texts = ["o1|contact|0", "", "é|\x00|1", "a'b\\"] * (MANY // 4)
    assert digests(pa.array(texts)).to_pylist() == [sha(text) for text in texts]
    assert digests(pa.array(texts[:4])).to_pylist() == [sha(text) for text in texts[:4]]


# Names.


def test_a_name_that_a_field_has_is_not_given_again() -> None:
    state = NestingState()
    both = {"_id": "1", "a": {"b": 1}, "a_b": "real"}
    for _ in range(2):
        assert live(made("SPLIT", both, state=state)["orgs"]) == [{"_id": "1", "a_b_1": 1, "a_b": "real"}]
        state = NestingState.of((), {stream: state.pairs(stream) for stream in state.names})


def test_a_field_that_comes_after_its_name_was_given_gets_another() -> None:
    state = NestingState()
    assert live(made("SPLIT", {"_id": "1", "a": {"b": 1}}, state=state)["orgs"]) == [{"_id": "1", "a_b": 1}]
    assert live(made("SPLIT", {"_id": "1", "a_b": "real"}, state=state)["orgs"]) == [{"_id": "1", "a_b_1": "real"}]
    assert live(made("FLAT", {"_id": "1", "a_b": 2, "a": {"b": 3}}, state=state)["orgs"]) == [
        {"_id": "1", "a_b_1": 2, "a_b": 3}
    ]


def test_an_array_does_not_become_an_event_type_that_the_source_has() -> None:
    state = NestingState({"orgs", "orgs_tags"})
    assert list(made("SPLIT", ORGS, state=state))[-1] == "orgs_tags_1"


def test_fields_of_items_do_not_take_the_names_of_metadata() -> None:
    found = made("SPLIT", {"_id": "1", "v": [{"__hevo_id": "theirs", "value": 1}, 5]})["orgs_v"]
    assert items(found, "__hevo_id_1", "value", "value_1") == [("theirs", 1, None), (None, None, 5)]


# Values.


def test_each_kind_at_one_path_has_its_own_place() -> None:
    batch = documents('{"x":1}', "[1,2]", '"text"', "7", "null", None, "true")
    found = {one.stream: one for one in parsed("orgs", batch, "SPLIT", key=("_id",), state=NestingState())}
    assert found["orgs"].rows.to_pylist() == [
        {"_id": "0", "v": None, "v_x": 1},
        {"_id": "1", "v": None, "v_x": None},
        {"_id": "2", "v": "text", "v_x": None},
        {"_id": "3", "v": "7", "v_x": None},
        {"_id": "4", "v": None, "v_x": None},
        {"_id": "5", "v": None, "v_x": None},
        {"_id": "6", "v": "true", "v_x": None},
    ]
    assert items(found["orgs_v"], columns.REF_ID, "value") == [("1", 1), ("1", 2)]


def test_arrays_in_arrays_are_event_types_too() -> None:
    found = made("SPLIT", {"_id": "1", "m": [[1, 2], [], [3]]})
    assert items(found["orgs_m"], columns.ARRAY_INDEX) == [(0,), (1,), (2,)]
    assert items(found["orgs_m_value"], columns.ARRAY_INDEX, "value") == [(0, 1), (1, 2), (0, 3)]


@pytest.mark.parametrize("strategy", ["SPLIT", "FLAT"])
def test_what_lies_deeper_than_ten_is_text(strategy: Any) -> None:
    deep: Any = {"end": 1}
    for level in range(9, -1, -1):
        deep = {f"l{level}": deep}
    found = made(strategy, {"_id": "1", "d": deep})["orgs"].rows
    name = "d_" + "_".join(f"l{level}" for level in range(10))
    assert found.to_pylist() == [{"_id": "1", name: '{"end":1}'}]


@pytest.mark.parametrize(
    ("texts", "type_", "values"),
    [
        (["1", "2147483647"], "INTEGER", [1, 2147483647]),
        (["1", "2147483648"], "LONG", [1, 2147483648]),
        (["1", "9223372036854775808"], "DECIMAL(38,0)", [1, 9223372036854775808]),
        (["1790000000000000001", "-9223372036854775808"], "LONG", [1790000000000000001, -(2**63)]),
        (["1.5", "2"], "DOUBLE", [1.5, 2.0]),
        (["0.30000000000000004"], "DOUBLE", [0.30000000000000004]),
        (["0.1234567890123456789"], "DECIMAL(19,19)", [Decimal("0.1234567890123456789")]),
        (["9007199254740993", "0.5"], "VARCHAR", ["9007199254740993", "0.5"]),
        (["1e3", "12345678.12345679"], "DOUBLE", [1000.0, 12345678.12345679]),
        (["true", "false"], "BOOLEAN", [True, False]),
        (['"2026-01-01T00:00:00Z"'], "VARCHAR", ["2026-01-01T00:00:00Z"]),
        (['"2026-01-01"', '"12:00:00"', '"5"'], "VARCHAR", ["2026-01-01", "12:00:00", "5"]),
        (["1", '"1"'], "VARCHAR", ["1", "1"]),
        (["NaN", "1.5", "-Infinity"], "DOUBLE", [None, 1.5, None]),
        (['"\\u00e9\\u0000"'], "VARCHAR", ["é\x00"]),
    ],
)
def test_scalars_have_the_types_that_they_say_and_keep_every_digit(
    texts: list[str], type_: str, values: list[Any]
) -> None:
    batch = documents(*(f'{{"a": {{"x": {text}}}}}' for text in texts))
    for strategy in ("SPLIT", "FLAT"):
        rows = parsed("orgs", batch, strategy, key=("_id",), state=NestingState())[0].rows
        assert shape(rows)["v_a_x"] == type_
        assert rows.column("v_a_x").to_pylist() == values


def test_moments_stay_text_batch_after_batch() -> None:
    state = NestingState()
    for text in ('{"at":"2026-01-01T00:00:00Z","l":["2026-01-02"]}', '{"at":"2026-01-01 00:00:00","n":1}', '{"at":5}'):
        rows = parsed("orgs", documents(text), "SPLIT", key=("_id",), state=state)
        assert rows[0].rows.column("v_at").to_pylist() == [json.loads(text)["at"]]
        assert ("v_n" in rows[0].rows.schema.names) == ('"n"' in text)


def test_a_key_that_comes_twice_counts_once_with_its_last_value() -> None:
    rows = parsed("orgs", documents('{"a":1,"a":2}', '{"a":3}'), "SPLIT", key=("_id",), state=NestingState())[0].rows
    assert rows.column("v_a").to_pylist() == [2, 3]


def test_text_that_is_no_json_is_kept_as_it_is() -> None:
    for text in ('{"a":', '1,"w":2', '1}\n{"v":2', '"\\ud800"'):
        rows = parsed("orgs", documents(text, '{"b":1}'), "SPLIT", key=("_id",), state=NestingState())[0].rows
        assert rows.column("v").to_pylist() == [text, None]


def test_collapsed_text_is_compact_and_otherwise_unchanged() -> None:
    texts = [
        ' {"b" : [1.10, 1e2 ,\n12345678901234567890.123], "a b": "x, y: {z}  \\" ]"} ',
        '{"k":"\\u00e9\\n\\ud800 \\/"}',
        "null",
        '[NaN,-Infinity,"NaN"]',
        None,
    ]
    rows = parsed("orgs", documents(*texts), "COLLAPSE", key=("_id",), state=NestingState())[0].rows
    assert rows.column("v").to_pylist() == [
        '{"b":[1.10,1e2,12345678901234567890.123],"a b":"x, y: {z}  \\" ]"}',
        '{"k":"\\u00e9\\n\\ud800 \\/"}',
        None,
        '[null,null,"NaN"]',
        None,
    ]
    (rows,) = parsed("orgs", documents('{"k":"\\u00e9\\n"}'), "COLLAPSE", key=("_id",), state=NestingState())
    assert rows.rows.column("v").to_pylist() == ['{"k":"é\\n"}']


# Typed nested columns.


def typed_rows() -> pa.RecordBatch:
    inner = pa.struct([("city", pa.string()), ("score", pa.float64()), ("when", pa.timestamp("us", "UTC"))])
    return pa.record_batch(
        {
            "_id": pa.array([1, 2, 3]),
            "s": pa.array([{"city": "Pune", "score": float("nan"), "when": 0}, None, {"city": None}], inner),
            "l": pa.array([[{"city": "x", "score": 1.5, "when": 1}], [], None], pa.large_list(inner)),
        }
    )


def test_typed_columns_are_split_with_their_types() -> None:
    found = {one.stream: one for one in parsed("t", typed_rows(), "SPLIT", key=("_id",), state=NestingState())}
    assert shape(found["t"].rows) == {
        "_id": "LONG", "s_city": "VARCHAR", "s_score": "DOUBLE", "s_when": "TIMESTAMPTZ",
    }  # fmt: skip
    assert found["t"].rows.column("s_city").to_pylist() == ["Pune", None, None]
    assert items(found["t_l"], columns.ID, columns.REF_ID, "city") == [(sha("1|l|0"), "1", "x")]
    assert shape(found["t_l"].rows)["when"] == "TIMESTAMPTZ"
    assert found["t_l"].marks == 2


def test_typed_columns_become_text_without_nan() -> None:
    rows = parsed("t", typed_rows(), "COLLAPSE", key=("_id",), state=NestingState())[0].rows
    assert [None if text is None else json.loads(text) for text in rows.column("s").to_pylist()] == [
        {"city": "Pune", "score": None, "when": "1970-01-01T00:00:00.000000Z"},
        None,
        {"city": None, "score": None, "when": None},
    ]
    kept = parsed("t", typed_rows(), "COLLAPSE_EXCEPT_ARRAYS", key=("_id",), state=NestingState())[0].rows
    assert types.kind(kept.schema.field("l").type) == "ARRAY"
    assert kept.column("l").to_pylist()[1:] == [[], None]


def test_a_key_that_is_json_stays_the_key() -> None:
    found = made("SPLIT", {"_id": {"a": 1}, "tags": ["x"]})
    assert shape(found["orgs"].rows)["_id"] == "JSON"
    assert found["orgs_tags"].rows.column(columns.REF_ID).to_pylist() == ['{"a":1}']


@pytest.mark.parametrize("strategy", ["SPLIT", "FLAT", "COLLAPSE", "NATURAL", "COLLAPSE_EXCEPT_ARRAYS", "NATIVE"])
def test_rows_without_anything_nested_and_no_rows_pass(strategy: Any) -> None:
    plain = to_batch([{"_id": "1", "n": 5}], None)
    assert parsed("orgs", plain, strategy, key=("_id",), state=NestingState())[0].rows is plain
    none = parsed("orgs", documents('{"a":[1]}').slice(0, 0), strategy, key=("_id",), state=NestingState())
    assert [one.rows.num_rows for one in none] == [0]


@pytest.mark.parametrize(
    ("type_", "settings", "default"),
    [
        ("duckdb", {"path": "x.duckdb"}, "NATIVE"),
        ("folder", {"path": "x", "format": "jsonl"}, "NATIVE"),
        ("folder", {"path": "x", "format": "parquet"}, "COLLAPSE"),
    ],
)
def test_a_destination_says_what_can_become_of_nested_json(type_: str, settings: dict[str, str], default: str) -> None:
    made = registry.destination(type_)
    strategies = made.strategies(made.Config.model_validate(settings))
    assert strategies[0] == default
    assert set(strategies) == {"NATIVE", "SPLIT", "COLLAPSE", "FLAT", "NATURAL", "COLLAPSE_EXCEPT_ARRAYS"}


def test_arrays_of_nothing_but_nulls_keep_their_length() -> None:
    for texts in (["[null,null]"], ["[]", "[null]", "[null,null,null]"]):
        batch = documents(*texts)
        found = {one.stream: one for one in parsed("orgs", batch, "SPLIT", key=("_id",), state=NestingState())}
        assert len(live(found["orgs_v"])) == sum(map(len, map(json.loads, texts)))


def test_a_struct_keeps_the_fields_that_it_had_in_batches_without_them() -> None:
    state = NestingState()
    found: list[tuple[str, Any]] = []
    for text in ('{"a":1,"b":[5]}', '{"b":null,"a":2147483648}', '{"c":"x"}', '"text"', '{"a":1}', "null"):
        rows = parsed("t", documents(text), "NATURAL", key=("_id",), state=state)[0].rows
        found.append((shape(rows)["v"], rows.column("v").to_pylist()[0]))
        state = NestingState.of((), {stream: state.pairs(stream) for stream in state.names})
    whole = "STRUCT(a LONG, b VARCHAR, c VARCHAR)"
    assert found == [
        ("STRUCT(a INTEGER, b VARCHAR)", {"a": 1, "b": "[5]"}),
        ("STRUCT(a LONG, b VARCHAR)", {"a": 2147483648, "b": None}),
        (whole, {"a": None, "b": None, "c": "x"}),
        ("VARCHAR", "text"),
        (whole, {"a": 1, "b": None, "c": None}),
        ("NULL", None),
    ]


def test_items_of_a_list_keep_the_fields_that_they_had() -> None:
    state, rows = NestingState(), documents()
    for text, want in (
        ("[]", "[]"),
        ('[{"a":1}]', [{"a": 1}]),
        ('[{"b":2.5},null]', [{"a": None, "b": 2.5}, None]),
        ("[{}]", [{"a": None, "b": None}]),
        ("[]", []),
        ("[null]", [None]),
        ("[7]", ["7"]),
        ('[{"a":1}]', ['{"a":1}']),
    ):
        rows = parsed("t", documents(text), "COLLAPSE_EXCEPT_ARRAYS", key=("_id",), state=state)[0].rows
        assert rows.column("v").to_pylist() == [want]
    assert shape(rows)["v"] == "ARRAY(JSON)"


@pytest.mark.parametrize("strategy", ["SPLIT", "FLAT", "COLLAPSE", "NATURAL", "COLLAPSE_EXCEPT_ARRAYS"])
def test_a_document_that_nests_without_end_is_kept_as_text(strategy: Any) -> None:
    for depth in (101, 1000, 100_000):
        for deep in (
            "[" * depth + "]" * depth,
            '{"a":' * depth + "1" + "}" * depth,
            '{"]":[' * depth + '"["' + "]}" * depth,
        ):
            rows = parsed("t", documents(deep, '"x"'), strategy, key=("_id",), state=NestingState())[0].rows
            assert rows.column("v").to_pylist() == [deep, '"x"' if strategy == "COLLAPSE" else "x"]
    wide = json.dumps({"a": [{"b": ["]"]}] * 500, "c": "[" * 500})
    found = {one.stream: one for one in parsed("t", documents(wide), "SPLIT", key=("_id",), state=NestingState())}
    assert found["t_v_a_b"].rows.num_rows == 500
