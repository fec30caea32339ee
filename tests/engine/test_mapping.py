from __future__ import annotations

import pyarrow as pa
import pytest

from millrace.connect.destination import Limits
from millrace.connect.naming import Taken
from millrace.connect.source import Stream
from millrace.data import columns
from millrace.data.columns import Prefix
from millrace.engine.load_modes import mode_of
from millrace.engine.mapping import Mapping, Naming, first, widened_by
from millrace.engine.shaping import Shaped, shape

NAMING = Naming()
NONE: frozenset[str] = frozenset()


def batch(**values: pa.Array) -> pa.RecordBatch:
    return pa.RecordBatch.from_pydict(values)


def mapping(schema: pa.Schema | None = None, *, key: tuple[str, ...] = (), auto: bool = True) -> Mapping:
    return first(Stream("Orders", key=key, schema=schema), NAMING, "merge", auto=auto, taken=NONE)


def shaped(of: Mapping, rows: pa.RecordBatch, naming: Naming = NAMING) -> Shaped:
    return shape(of, rows, naming, 7)


def test_the_first_mapping_has_a_column_for_every_field_of_the_schema():
    made = mapping(pa.schema([("orderId", pa.int64()), ("Amount Paid", pa.float64())]), key=("orderId",))
    assert made.table == "orders"
    assert [(c.source, c.name) for c in made.columns] == [("orderId", "order_id"), ("Amount Paid", "amount_paid")]


def test_a_stream_without_a_key_is_appended():
    assert mapping(pa.schema([("a", pa.int64())])).mode == "append"


def test_what_is_made_of_a_streams_rows_has_its_own_mode_or_the_one_in_which_they_are_read():
    read = first(Stream("orders", key=("id",)), NAMING, "append", taken=frozenset())
    keyless = first(Stream("orders"), NAMING, "merge", taken=frozenset())
    assert mode_of("orders", None, {}, "merge") == "merge"
    assert mode_of("items", read, {"orders": "merge"}, "merge") == "append"
    assert mode_of("items", read, {"items": "merge"}, "append") == "merge"
    assert mode_of("items", keyless, {}, "merge") == "merge"
    assert mode_of("items", keyless, {"orders": "history"}, "merge") == "history"


def test_the_table_prefix_stands_in_front():
    naming = Naming(table_prefix="eu")
    assert first(Stream("Events"), naming, "merge", taken=NONE).table == "eu_events"
    assert first(Stream("Events"), Naming(table_prefix="eu_"), "merge", taken=NONE).table == "eu_events"


def test_two_streams_get_two_tables_even_when_their_names_are_sanitized_to_one():
    one = first(Stream("my table"), NAMING, "merge", taken=NONE)
    two = first(Stream("my-table"), NAMING, "merge", taken=frozenset({one.table}))
    assert (one.table, two.table) == ("my_table", "my_table_1")


def test_fields_with_one_name_after_sanitizing_get_columns_of_their_own_for_ever():
    made = shaped(mapping(), batch(**{"a b": pa.array([1]), "a-b": pa.array([2])})).mapping
    assert [c.name for c in made.columns] == ["a_b", "a_b_1"]
    again = Mapping.from_json(made.to_json())
    assert again == made
    assert [c.name for c in shaped(again, batch(**{"a-b": pa.array([3])})).mapping.columns] == ["a_b", "a_b_1"]


def test_a_users_field_never_takes_a_reserved_name():
    made = shaped(mapping(), batch(__hevo_id=pa.array(["mine"]))).mapping
    assert made.columns[0].name.startswith("src_")


def test_a_field_whose_name_becomes_a_reserved_one_gets_another():
    naming = Naming(rules="classic")
    assert naming.column("$_hevo__loaded_at", Taken()) == "src___hevo__loaded_at"
    assert Naming(prefix=Prefix("acme_")).column("Acme-Id", Taken()) == "src_acme_id"


@pytest.mark.parametrize(
    "name", ["items__fresh", "Items__FRESH", "__hevo__loads", "__mr_gone_1", "x" * 260 + "__fresh"]
)
@pytest.mark.parametrize("naming", [Naming(rules="classic"), Naming(sanitized=False)])
def test_no_table_has_the_name_of_one_that_millrace_makes_for_itself(naming: Naming, name: str):
    table = naming.table(Stream(name))
    assert not naming.reserves_table(table)
    assert len(table) <= naming.limits.table_name


def test_a_generated_key_keeps_its_name_and_takes_the_prefix_of_the_workspace():
    schema = pa.schema([columns.ours(columns.ID, pa.string())])
    assert mapping(schema, key=(columns.ID,)).columns[0].name == "__hevo_id"
    made = first(Stream("E", key=(columns.ID,), schema=schema), Naming(prefix=Prefix("__mr_")), "merge", taken=NONE)
    assert made.columns[0].name == "__mr_id"
    table = made.target(Prefix("__mr_"), name="e", loaded_at=True)
    assert table.key == ("__mr_id",)
    assert table.meta.ingested_at == "__mr__ingested_at"


def test_a_new_field_becomes_a_column_and_rows_before_it_are_null():
    made = shaped(mapping(), batch(a=pa.array([1]))).mapping
    more = shaped(made, batch(b=pa.array(["x"])))
    assert [c.name for c in more.mapping.columns] == ["a", "b"]
    assert more.mapping.version > made.version
    assert more.rows.column("a").null_count == 1


def test_a_field_of_nulls_is_no_column_yet():
    made = shaped(mapping(), batch(a=pa.array([1]), b=pa.nulls(1))).mapping
    assert [c.name for c in made.columns] == ["a"]


@pytest.mark.parametrize(
    ("present", "incoming", "wider", "expected"),
    [
        (pa.array([1], pa.int32()), pa.array([1 << 40]), pa.int64(), [1 << 40]),
        (pa.array([1], pa.int64()), pa.array([1.5]), pa.float64(), [1.5]),
        (pa.array([(1 << 53) + 1], pa.int64()), pa.array([1.5]), pa.string(), ["1.5"]),
        (pa.array([1.5]), pa.array(["abc"]), pa.string(), ["abc"]),
        (pa.array([True]), pa.array([2], pa.int64()), pa.string(), ["2"]),
        (pa.array([1], pa.int64()), pa.array([True]), pa.string(), ["true"]),
        (pa.array(["x"]), pa.array([5], pa.int64()), pa.string(), ["5"]),
        (pa.array([1.5]), pa.array([2], pa.int64()), pa.float64(), [2.0]),
        (pa.array([1.5]), pa.array([(1 << 53) + 1], pa.int64()), pa.string(), [str((1 << 53) + 1)]),
    ],
)
def test_types_widen_when_a_value_does_not_fit(
    present: pa.Array, incoming: pa.Array, wider: pa.DataType, expected: list[object]
):
    made = shaped(mapping(), batch(a=present)).mapping
    after = shaped(made, batch(a=incoming))
    assert after.mapping.columns[0].type == wider
    assert after.rows.column("a").to_pylist() == expected
    assert after.misfits == ()


def test_a_value_that_fits_the_present_column_does_not_change_it():
    made = shaped(mapping(), batch(a=pa.array([1], pa.int64()))).mapping
    after = shaped(made, batch(a=pa.array([2], pa.int32())))
    assert after.mapping.columns[0].type == pa.int64()
    assert after.mapping.version == made.version


def test_without_auto_mapping_a_misfit_is_rejected_and_the_others_pass():
    made = mapping(pa.schema([("a", pa.int32())]), auto=True)
    manual = Mapping.from_json(made.to_json() | {"auto": False})
    after = shaped(manual, batch(a=pa.array(["1", "abc", "3"])))
    assert after.rows.column("a").to_pylist() == [1, 3]
    assert [(row, code) for row, code, _ in after.misfits] == [(1, "INCOMPATIBLE_TYPE")]
    assert after.mapping.columns[0].type == pa.int32()


def test_a_key_column_is_never_retyped():
    made = mapping(pa.schema([("id", pa.int64())]), key=("id",))
    after = shaped(made, batch(id=pa.array(["x"])))
    assert after.mapping.columns[0].type == pa.int64()
    assert after.misfits[0][1] == "INCOMPATIBLE_TYPE"


def test_a_row_without_its_key_is_rejected():
    made = mapping(pa.schema([("id", pa.int64())]), key=("id",))
    after = shaped(made, batch(id=pa.array([1, None, 3])))
    assert [(row, code) for row, code, _ in after.misfits] == [(1, "NULL_PRIMARY_KEY")]
    assert after.rows.column("id").to_pylist() == [1, 3]


def test_columns_past_the_limit_stay_unmapped_with_the_reason():
    naming = Naming(limits=Limits(columns=8))
    made = widened_by(mapping(), pa.schema([("a", pa.int64()), ("b", pa.int64()), ("c", pa.int64())]), naming)
    assert [c.name for c in made.columns] == ["a", "b"]
    assert made.unmapped == (("c", "COLUMN_LIMIT"),)


def test_decimals_past_the_destinations_precision_are_text():
    naming = Naming(limits=Limits(max_decimal=38))
    wide = pa.array([None], pa.decimal256(60, 2))
    assert shaped(mapping(), batch(a=wide), naming).mapping.columns[0].type == pa.string()


def test_every_row_carries_the_time_of_ingestion():
    rows = shaped(mapping(), batch(a=pa.array([1, 2]))).rows
    assert rows.column(columns.INGESTED_AT).to_pylist() == [7, 7]


def test_the_same_batch_again_changes_nothing():
    rows = batch(a=pa.array([1, 2]), b=pa.array(["x", None]))
    made = shaped(mapping(), rows).mapping
    assert shaped(made, rows).mapping is made or shaped(made, rows).mapping == made
