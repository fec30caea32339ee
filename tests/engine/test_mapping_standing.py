"""How a mapping stands: its status, and warnings before anything bites (loading.md 15.3, 15.7, 15.8)."""

from __future__ import annotations

from dataclasses import replace

import pyarrow as pa
import pytest

from millrace.connect.destination import Limits
from millrace.connect.source import Stream
from millrace.data import types
from millrace.engine.mapping import MappedColumn, Mapping
from millrace.engine.policy import Policy
from millrace.engine.standing import ApiStatus, Pending, Status, standing, warnings

ID = MappedColumn("id", "id", types.LONG)
PLAIN = Mapping("Orders", "orders", (ID,), key=("id",))


def codes(mapping: Mapping, **more: object) -> list[tuple[str, str | None]]:
    return [(one.code, one.field) for one in warnings(mapping, Limits(columns=20), **more)]


@pytest.mark.spec("loading.21.10")
@pytest.mark.parametrize(
    ("mapping", "pending", "error", "stored", "api"),
    [
        (PLAIN, None, None, "AUTO_MAPPED", "MAPPED"),
        (replace(PLAIN, auto=False), None, None, "MAPPED", "MAPPED"),
        (PLAIN, "CREATING_TABLE", None, "CREATING_TABLE", "MAPPING_IN_PROGRESS"),
        (PLAIN, "ALTERING", None, "ALTERING", "MAPPING_IN_PROGRESS"),
        (replace(PLAIN, skipped=True), "ALTERING", "no", "SKIPPED", "IGNORED"),
        (replace(PLAIN, mapped=False), None, None, "UNMAPPED", "UNMAPPED"),
        (replace(PLAIN, unmapped=(("x", "COLUMN_LIMIT"),)), None, None, "INCOMPLETE", "INCOMPLETE"),
        (PLAIN, None, "no such type", "ERROR", "INCOMPLETE"),
    ],
)
def test_a_mapping_has_the_status_that_its_state_and_its_warnings_give(
    mapping: Mapping, pending: Pending | None, error: str | None, stored: Status, api: ApiStatus
):
    found = standing(mapping, warnings(mapping, Limits()), pending=pending, error=error)
    assert (found.stored, found.api, found.error) == (stored, api, error)


@pytest.mark.parametrize("reason", ["UNMAPPED_FIELD", "COLUMN_LIMIT", "NAME_CONFLICT"])
def test_a_field_without_a_column_is_warned_of_with_its_reason_and_type(reason: str):
    mapping = replace(PLAIN, unmapped=(("x", reason),), found=(("x", types.DATE),))
    (warned,) = warnings(mapping, Limits())
    assert (warned.code, warned.field) == (reason, "x")
    assert "(DATE)" in warned.message and warned.hint


@pytest.mark.parametrize(
    ("policy", "becomes"),
    [
        (Policy(columns="discard_value"), "its values are not loaded"),
        (Policy(columns="freeze"), "rows with a value in it are rejected"),
        (Policy(columns="discard_row"), "rows with a value in it are left out"),
    ],
)
def test_a_field_without_a_column_is_warned_of_with_what_its_policy_does(policy: Policy, becomes: str):
    mapping = replace(PLAIN, unmapped=(("x", "UNMAPPED_FIELD"),))
    (warned,) = warnings(mapping, Limits(), policy=policy)
    assert f"the field x has no column, so {becomes}: " in warned.message
    (full,) = warnings(replace(mapping, unmapped=(("x", "COLUMN_LIMIT"),)), Limits(), policy=policy)
    assert "its values are not loaded" in full.message


def test_a_column_whose_values_may_not_fit_is_warned_of():
    mapping = replace(PLAIN, columns=(ID, MappedColumn("n", "n", types.LONG, fixed=True, brings=types.VARCHAR)))
    assert codes(mapping) == [("INCOMPATIBLE_MAPPING", "n")]
    assert codes(PLAIN) == []


def test_text_for_a_column_that_its_owner_bounded_is_warned_of_where_it_cannot_grow():
    mapping = replace(PLAIN, columns=(ID, MappedColumn("t", "t", types.VARCHAR)))
    table: dict[str, pa.DataType] = {"t": types.varchar(20)}
    assert codes(mapping, table=table) == []
    assert codes(mapping, table=table, policy=Policy(types="freeze")) == [("INCOMPATIBLE_MAPPING", "t")]


def test_another_key_of_the_source_is_warned_of_unless_a_person_chose_it():
    other = Stream("Orders", key=("number",))
    assert codes(PLAIN, stream=other) == [("KEY_CHANGED", None)]
    assert codes(replace(PLAIN, own_key=True), stream=other) == []
    assert codes(PLAIN, stream=Stream("Orders", key=("id",))) == []


def test_a_table_that_is_nearly_full_is_warned_of_before_it_is():
    def of(count: int) -> Mapping:
        return replace(PLAIN, columns=tuple(MappedColumn(f"f{n}", f"f{n}", types.LONG) for n in range(count)))

    assert codes(of(12)) == []
    assert codes(of(13)) == [("COLUMNS_NEARLY_FULL", None)]  # of 20 - 6


def test_a_skipped_event_type_has_no_warnings():
    assert codes(replace(PLAIN, skipped=True, unmapped=(("x", "COLUMN_LIMIT"),))) == []
