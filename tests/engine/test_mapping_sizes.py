"""Lengths of text columns at destinations that bound them (loading.md 17), and the number of columns (18)."""

from __future__ import annotations

from dataclasses import replace

import pyarrow as pa
import pytest

from millrace.connect.destination import Limits
from millrace.connect.sizing import Oversize, TextLimits, first_size, next_size, within
from millrace.connect.source import Stream
from millrace.data import types
from millrace.engine.mapping import RESERVED_COLUMNS, Mapping, Naming, first
from millrace.engine.policy import BY_HAND
from millrace.engine.shaping import Shaped, shape

REDSHIFT = TextLimits(65535, "bytes")
ORACLE = TextLimits(None, "bytes", (256, 512, 1024, 4000))
NAMING = Naming(limits=Limits(columns=1600, text=REDSHIFT))
LONG = "€" * 23334  # 70,002 bytes


def mapping(type_: pa.DataType | None = None, *, key: tuple[str, ...] = ()) -> Mapping:
    schema = None if type_ is None else pa.schema([("t", type_)])
    return first(Stream("Texts", key=key, schema=schema), NAMING, "merge", taken=frozenset())


def shaped(of: Mapping, *texts: str | None, oversize: Oversize = "FAIL", type_: pa.DataType = types.VARCHAR) -> Shaped:
    values = pa.array(texts, pa.string())
    rows = pa.RecordBatch.from_arrays(
        [values if type_ == types.VARCHAR else pa.ExtensionArray.from_storage(type_, values)], names=["t"]
    )
    return shape(of, rows, replace(NAMING, oversize=oversize), 7)


@pytest.mark.parametrize(
    ("declared", "longest", "size"),
    [(None, 0, 256), (None, 128, 256), (None, 129, 512), (None, 20_000, 65535), (None, 70_000, 65535), (50, 0, 200),
     (20_000, 0, 65535)],
)  # fmt: skip
def test_a_new_column_has_room_for_twice_the_longest_value_or_what_the_source_declares(
    declared: int | None, longest: int, size: int
):
    assert first_size(REDSHIFT, declared=declared, longest=longest) == size


@pytest.mark.parametrize(
    ("limits", "present", "longest", "size"),
    [(REDSHIFT, 256, 256, 256), (REDSHIFT, 256, 257, 512), (REDSHIFT, 512, 5000, 16384), (REDSHIFT, 65535, 9**9, 65535),
     (REDSHIFT, 300, 301, 512), (ORACLE, 256, 4000, 4000), (ORACLE, 256, 4001, None)],
)  # fmt: skip
def test_a_column_grows_to_the_next_step_that_holds_the_value(
    limits: TextLimits, present: int, longest: int, size: int | None
):
    assert next_size(limits, present, longest) == size


def test_the_first_batch_gives_a_column_its_size():
    assert shaped(mapping(), "x" * 200).mapping.columns[0].type == types.varchar(512)
    assert shaped(mapping(), "€" * 100).mapping.columns[0].type == types.varchar(1024)


def test_a_longer_value_makes_the_column_longer_and_is_kept():
    made = shaped(mapping(), "short").mapping
    after = shaped(made, "x" * 300, None)
    assert after.mapping.columns[0].type == types.varchar(512)
    assert after.mapping.version > made.version
    assert types.storage(after.rows.column("t")).to_pylist() == ["x" * 300, None]


@pytest.mark.spec("loading.21.6")
@pytest.mark.parametrize(
    ("policy", "kept", "codes", "told"),
    [
        ("FAIL", ["ok"], ["STRING_TOO_LONG"], {}),
        ("TRUNCATE", ["ok", "€" * 21845], [], {("t", "STRING_TOO_LONG"): 1}),
        ("NULL", ["ok", None], [], {("t", "STRING_TOO_LONG"): 1}),
    ],
)
def test_a_value_of_70_000_bytes_fails_is_cut_or_is_null_as_the_destination_has_it(
    policy: Oversize, kept: list[str | None], codes: list[str], told: dict[tuple[str, str], int]
):
    after = shaped(mapping(), "ok", LONG, oversize=policy)
    assert types.storage(after.rows.column("t")).to_pylist() == kept
    assert [code for _, code, _ in after.misfits] == codes
    assert after.discarded == told
    assert after.mapping.columns[0].type == types.varchar(65535)


@pytest.mark.spec("loading.21.6")
def test_json_is_never_cut():
    after = shaped(mapping(types.VARCHAR), f'["{LONG}"]', oversize="TRUNCATE", type_=types.JSON)
    assert [code for _, code, _ in after.misfits] == ["STRING_TOO_LONG"]


def test_a_text_of_the_key_is_never_cut():
    after = shaped(mapping(key=("t",)), LONG, oversize="TRUNCATE")
    assert [code for _, code, _ in after.misfits] == ["STRING_TOO_LONG"]


@pytest.mark.parametrize(("oversize", "kept"), [("TRUNCATE", ["abcde", "x"]), ("NULL", [None, "x"]), ("FAIL", ["x"])])
def test_a_text_longer_than_the_length_that_a_person_chose_is_cut_or_left_out_where_the_destination_says_so(
    oversize: Oversize, kept: list[str | None]
):
    made = shaped(mapping(), "x").mapping
    fixed = replace(made, columns=(replace(made.columns[0], type=types.varchar(5), fixed=True), *made.columns[1:]))
    after = shaped(fixed, "abcdef", "x", oversize=oversize)
    assert types.storage(after.rows.column("t")).to_pylist() == kept
    assert after.mapping.columns[0].type == types.varchar(5)
    assert len(after.misfits) + sum(after.discarded.values()) == 1


def test_a_cut_never_falls_inside_of_a_character():
    sized = within(pa.array(["aé€", "abc", None]), 4, "bytes", "TRUNCATE")
    assert sized.values.to_pylist() == ["aé", "abc", None]
    assert within(pa.array(["aé€😀"]), 2, "characters", "TRUNCATE").values.to_pylist() == ["aé"]


def test_without_auto_mapping_a_value_too_long_is_rejected():
    made = shaped(mapping(), "short").mapping
    after = shaped(replace(made, policy=BY_HAND), "x" * 300, "y")
    assert [(row, code) for row, code, _ in after.misfits] == [(0, "STRING_TOO_LONG")]
    assert after.mapping.columns[0].type == made.columns[0].type


def test_a_column_of_the_key_is_never_resized():
    made = shaped(mapping(key=("t",)), "short").mapping
    after = shaped(made, "x" * 300)
    assert [(row, code) for row, code, _ in after.misfits] == [(0, "STRING_TOO_LONG")]
    assert after.mapping.columns[0].type == made.columns[0].type


@pytest.mark.spec("loading.21.9")
def test_six_columns_less_than_the_limit_are_mapped_and_the_next_field_says_why_not():
    most = NAMING.limits.columns - RESERVED_COLUMNS
    assert most == 1594
    fields = pa.schema([(f"f{n}", pa.int64()) for n in range(most)])
    made = first(Stream("Wide", schema=fields), NAMING, "append", taken=frozenset())
    assert (len(made.columns), made.unmapped) == (most, ())
    rows = pa.RecordBatch.from_pydict({"f0": [1], "one_more": [2]})
    after = shape(made, rows, NAMING, 7)
    assert after.mapping.unmapped == (("one_more", "COLUMN_LIMIT"),)
    assert (after.rows.num_rows, after.misfits) == (1, ())
