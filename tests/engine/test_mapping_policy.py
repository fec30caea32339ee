"""What happens to what is new, in four words for tables, columns and types; and that no row is lost by any."""

from __future__ import annotations

from typing import Any, get_args

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace.connect.destination import Limits
from millrace.connect.sizing import TextLimits
from millrace.connect.source import Stream
from millrace.data.columns import ours
from millrace.data.rows import to_batch
from millrace.engine.mapping import Mapping, Naming, first, policy_of, switched
from millrace.engine.policy import ALLOW_ALL, BY_HAND, PRESETS, Action, Policy, preset
from millrace.engine.shaping import Shaped, shape
from millrace.errors import ConfigError

NAMING = Naming()
NONE: frozenset[str] = frozenset()
INTEGERS = pa.schema([("id", pa.int64()), ("n", pa.int64())])


def mapping(**more: Any) -> Mapping:
    return first(Stream("Orders", key=("id",), schema=INTEGERS), NAMING, "merge", taken=NONE, **more)


def shaped(of: Mapping, *rows: dict[str, Any], policy: Policy | None = None, naming: Naming = NAMING) -> Shaped:
    return shape(of, to_batch(list(rows), None), naming, 7, policy=policy)


def test_a_new_field_is_a_column_where_columns_evolve():
    after = shaped(mapping(), {"id": 1, "n": 1, "new": "x"})
    assert [c.name for c in after.mapping.columns] == ["id", "n", "new"]


def test_a_frozen_table_of_columns_rejects_rows_that_bring_another_field():
    after = shaped(mapping(), {"id": 1, "new": None}, {"id": 2, "new": "x"}, policy=Policy(columns="freeze"))
    assert [(row, code) for row, code, _ in after.misfits] == [(1, "UNMAPPED_FIELD")]
    assert after.rows.column("id").to_pylist() == [1]
    assert after.mapping.unmapped == (("new", "UNMAPPED_FIELD"),)
    assert dict(after.mapping.found) == {"new": pa.string()}


def test_rows_with_another_field_are_left_out_on_purpose_where_the_policy_says_so():
    after = shaped(mapping(), {"id": 1}, {"id": 2, "new": "x"}, policy=Policy(columns="discard_row"))
    assert (after.rows.num_rows, after.misfits, after.filtered) == (1, (), {"unmapped_field": 1})


def test_rows_pass_without_the_other_field_where_the_policy_says_so():
    after = shaped(mapping(), {"id": 1}, {"id": 2, "new": "x"}, policy=Policy(columns="discard_value"))
    assert (after.rows.num_rows, after.misfits, after.filtered) == (2, (), {})
    assert "new" not in after.rows.schema.names


def test_a_value_that_does_not_fit_makes_the_column_wider_where_types_evolve():
    after = shaped(mapping(), {"id": 1, "n": "abc"})
    assert after.rows.column("n").to_pylist() == ["abc"]


def test_a_value_that_does_not_fit_a_frozen_type_is_rejected_and_one_that_fits_is_read():
    rows: list[dict[str, Any]] = [{"id": 1, "n": "12"}, {"id": 2, "n": "abc"}]
    after = shaped(mapping(), *rows, policy=Policy(types="freeze"))
    assert after.rows.column("n").to_pylist() == [12]
    assert [(row, code) for row, code, _ in after.misfits] == [(1, "INCOMPATIBLE_TYPE")]
    assert after.mapping.of("n").brings == pa.string()


def test_a_value_that_does_not_fit_is_left_out_of_its_row_and_told():
    after = shaped(mapping(), {"id": 1, "n": "abc"}, {"id": 2, "n": "3"}, policy=Policy(types="discard_value"))
    assert after.rows.column("n").to_pylist() == [None, 3]
    assert after.discarded == {("n", "INCOMPATIBLE_TYPE"): 1}


def test_a_row_with_a_value_that_does_not_fit_is_left_out_on_purpose():
    after = shaped(mapping(), {"id": 1, "n": "abc"}, {"id": 2, "n": "3"}, policy=Policy(types="discard_row"))
    assert after.rows.column("n").to_pylist() == [3]
    assert after.filtered == {"incompatible_type": 1}


def test_a_key_that_does_not_fit_never_becomes_nothing():
    after = shaped(mapping(), {"id": "x", "n": 1}, policy=Policy(types="discard_value"))
    assert [(row, code) for row, code, _ in after.misfits] == [(0, "NULL_PRIMARY_KEY")]


@pytest.mark.parametrize(
    ("action", "misfits", "filtered"),
    [
        ("freeze", 2, {}),
        ("discard_row", 0, {"unmapped_event_type": 2}),
        ("discard_value", 0, {"unmapped_event_type": 2}),
    ],
)
def test_an_event_type_that_is_met_later_has_no_table_unless_tables_evolve(
    action: Action, misfits: int, filtered: dict[str, int]
):
    policy = Policy(tables=action)
    late = first(Stream("New"), NAMING, "merge", taken=NONE, policy=policy, known=False)
    assert not late.mapped
    after = shaped(late, {"a": 1}, {"a": 2}, policy=policy)
    assert (after.rows.num_rows, len(after.misfits), after.filtered) == (0, misfits, filtered)
    assert {code for _, code, _ in after.misfits} <= {"UNMAPPED_EVENT_TYPE"}
    assert dict(after.mapping.found)  # for whoever maps it
    assert shaped(after.mapping, {"a": 1}).rows.num_rows == 1  # the policy was changed since


def test_metadata_have_their_columns_before_anybody_maps_the_event_type():
    late = first(Stream("New", key=("__hevo_id",)), NAMING, "merge", taken=NONE, auto=False)
    rows = pa.RecordBatch.from_arrays(
        [pa.array(["x"]), pa.array([1])], schema=pa.schema([ours("__hevo_id", pa.string()), ("a", pa.int64())])
    )
    after = shape(late, rows, NAMING, 7)
    assert [code for _, code, _ in after.misfits] == ["UNMAPPED_EVENT_TYPE"]
    assert [column.name for column in after.mapping.columns] == ["__hevo_id"]
    assert (after.mapping.mapped, after.mapping.found) == (False, (("a", pa.int64()),))
    assert shape(after.mapping, rows, NAMING, 7).mapping == after.mapping


def test_event_types_chosen_with_the_pipeline_have_tables_whatever_the_policy():
    assert first(Stream("Old"), NAMING, "merge", taken=NONE, policy=preset("BLOCK_ALL"), known=True).mapped


@pytest.mark.parametrize("name", ["BLOCK_ALL", "ALLOW_COLUMN_LEVEL"])
def test_the_fields_with_which_an_event_type_begins_have_columns_whatever_the_policy(name: str):
    policy = preset(name)
    declared = first(Stream("Old", key=("id",), schema=INTEGERS), NAMING, "merge", taken=NONE, policy=policy)
    assert [one.source for one in declared.columns] == ["id", "n"]
    untold = first(Stream("Old", key=("id",)), NAMING, "merge", taken=NONE, policy=policy)
    begun = shaped(untold, {"id": 1, "n": 2}, policy=policy)
    assert (begun.rows.column("n").to_pylist(), begun.mapping.unmapped) == ([2], ())
    later = shaped(begun.mapping, {"id": 1, "n": 2, "late": 3}, policy=preset("BLOCK_ALL"))
    assert later.mapping.unmapped == (("late", "UNMAPPED_FIELD"),)
    by_hand = first(Stream("Old", key=("id",), schema=INTEGERS), NAMING, "merge", taken=NONE, auto=False)
    assert by_hand.columns == ()


def test_rows_of_a_skipped_event_type_are_left_out_on_purpose():
    skipped = Mapping.from_json(mapping().to_json() | {"skipped": True})
    after = shaped(skipped, {"id": 1}, {"id": 2})
    assert (after.rows.num_rows, after.misfits, after.filtered) == (0, (), {"skipped": 2})


def test_an_ignored_field_is_dropped_without_a_word():
    quiet = Mapping.from_json(mapping().to_json() | {"ignored": ["secret"]})
    after = shaped(quiet, {"id": 1, "secret": "x"}, policy=Policy(columns="freeze"))
    assert (after.rows.num_rows, after.misfits, after.mapping.unmapped) == (1, (), ())


def test_without_auto_mapping_nothing_is_made_by_itself_unless_a_policy_of_its_own_says_so():
    off = Mapping.from_json(mapping().to_json() | {"auto": False})
    assert policy_of(off, ALLOW_ALL) == BY_HAND
    own = Mapping.from_json(off.to_json() | {"policy": {"columns": "evolve"}})
    assert policy_of(own) == ALLOW_ALL


def test_auto_mapping_of_its_own_does_not_follow_the_pipeline():
    own = Mapping.from_json(mapping().to_json() | {"auto": False, "own_auto": False})
    assert switched(own, Stream("Orders"), NAMING, auto=True).auto is False


def test_presets_have_their_names_and_others_are_refused():
    for name, policy in PRESETS.items():
        assert Policy.from_json(name.lower()) == policy
        assert Policy.from_json(policy.to_json()) == policy
        assert policy.name == name
    for wrong in ("ALLOW", {"columns": "explode"}, {"rows": "freeze"}, 7):
        with pytest.raises(ConfigError) as refused:
            Policy.from_json(wrong)
        assert refused.value.hint


def test_metadata_has_its_columns_under_every_policy():
    rows = pa.RecordBatch.from_arrays(
        [pa.array([1]), pa.array(["x"])], schema=pa.schema([("id", pa.int64()), ours("__hevo_id", pa.string())])
    )
    after = shape(mapping(), rows, NAMING, 7, policy=Policy(columns="freeze"))
    assert (after.misfits, after.rows.column("__hevo_id").to_pylist()) == ((), ["x"])


VALUES = st.one_of(
    st.none(),
    st.integers(-(2**40), 2**40),
    st.floats(allow_nan=False, allow_infinity=False, width=32),
    st.booleans(),
    st.sampled_from(["1", "abc", "2026-01-31", "x" * 300]),
)
ROWS = st.lists(
    st.fixed_dictionaries({}, optional=dict.fromkeys(("id", "n", "a", "b"), VALUES)), min_size=1, max_size=8
)
ACTIONS = st.sampled_from(get_args(Action))
POLICIES = st.builds(Policy, ACTIONS, ACTIONS, ACTIONS)


@given(
    pages=st.lists(ROWS, min_size=1, max_size=4),
    policy=POLICIES,
    keyed=st.booleans(),
    known=st.booleans(),
    auto=st.booleans(),
    limits=st.sampled_from([Limits(), Limits(columns=9), Limits(text=TextLimits(256, "bytes"))]),
)
def test_every_row_is_shaped_rejected_or_left_out_under_every_policy(
    pages: list[list[dict[str, Any]]], policy: Policy, keyed: bool, known: bool, auto: bool, limits: Limits
):
    naming = Naming(limits=limits)
    stream = Stream("Orders", key=("id",) if keyed else (), schema=INTEGERS)
    made = first(stream, naming, "merge", taken=NONE, policy=policy, known=known, auto=auto)
    for page in pages:
        # A page as it comes, and then row by row: types join within a batch, and meet the mapping's in the other case.
        for batch in (to_batch(page, None), *(to_batch([row], None) for row in page)):
            after = shape(made, batch, naming, 7, policy=policy)
            bad = [row for row, _, _ in after.misfits]
            assert len(bad) == len(set(bad))
            assert after.rows.num_rows + len(bad) + sum(after.filtered.values()) == batch.num_rows
            assert all(n > 0 for n in (*after.filtered.values(), *after.discarded.values()))
            assert Mapping.from_json(after.mapping.to_json()) == after.mapping
            made = after.mapping


def test_a_field_past_the_limit_of_columns_keeps_no_row_from_passing():
    naming = Naming(limits=Limits(columns=8))
    made = shaped(mapping(), {"id": 1, "new": "x"}, naming=naming).mapping
    assert made.unmapped == (("new", "COLUMN_LIMIT"),)
    after = shaped(made, {"id": 2, "new": "y"}, policy=Policy(columns="freeze"), naming=naming)
    assert (after.rows.num_rows, after.misfits) == (1, ())
