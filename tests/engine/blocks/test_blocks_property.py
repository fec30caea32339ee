"""Blocks on columns equal the naive implementation, event by event."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from random import Random
from typing import Any, TypeAlias

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.engine.blocks import chains, naive, naive_formula

from millrace.data import json_text, types
from millrace.data.batch import Batch
from millrace.engine.blocks.model import TYPES, Blocks, parse
from millrace.engine.blocks.step import BlockStep

seeds = st.integers(0, 2**40)


def rows_of(batch: pa.RecordBatch) -> list[dict[str, Any]]:
    return naive_formula.rows_of(batch) if batch.num_columns else [{} for _ in range(batch.num_rows)]


def same(said: Any, cell: Any, type_: pa.DataType) -> bool:
    """Whether a cell is what the naive chain says, be it in the wider type of the column."""
    if isinstance(said, (dict, list)):
        read = json_text.loads(cell) if type_ == types.VARCHAR else cell
        return read == said or read == _as_cast(said)
    return naive_formula.same(said, cell, type_)


def _as_cast(value: Any) -> Any:
    """Decimals of structs are text in JSON, so that no reader takes digits off them."""
    if isinstance(value, dict):
        return {key: _as_cast(one) for key, one in value.items()}
    return str(value) if isinstance(value, Decimal) else value


Told: TypeAlias = Callable[[Blocks], Callable[[dict[str, Any]], naive.Event | None]]


def compare(batch: pa.RecordBatch, blocks: list[dict[str, Any]], told: Told | None = None) -> None:
    """What the chain makes of the batch is what it makes row by row, or what ``told`` does."""
    chain = parse(blocks)
    by_row = told(chain) if told else lambda row: naive.chain(chain, "orders", row)
    stepped = BlockStep(chain).apply(Batch("orders", batch))
    refused = {row for row, _, _ in stepped.refused}
    came: dict[int, tuple[str, dict[str, Any], pa.Schema]] = {}
    for output in stepped.outputs:
        assert output.origin.to_pylist() == sorted(output.origin.to_pylist())
        for origin, row in zip(output.origin.to_pylist(), rows_of(output.rows), strict=True):
            assert origin not in came
            came[origin] = (output.stream, row, output.rows.schema)
    assert len(came) + len(refused) + stepped.filtered == batch.num_rows
    for number, row in enumerate(rows_of(batch)):
        try:
            expected = by_row(row)
        except ValueError:
            assert number in refused, (blocks, row)
            continue
        assert number not in refused, (blocks, row, stepped.refused)
        if expected is None:
            assert number not in came, (blocks, row)
            continue
        stream, found, schema = came[number]
        assert stream == expected[0]
        assert found.keys() == expected[1].keys(), (blocks, row, found, expected)
        for name, cell in found.items():
            said = expected[1][name]
            assert same(said, cell, schema.field(name).type), (blocks, row, name, said, cell)


@pytest.mark.hypothesis
@pytest.mark.parametrize("kind", chains.KINDS)
def test_a_block_gives_what_it_gives_row_by_row(kind: str) -> None:
    @given(seeds)
    def same(seed: int) -> None:
        random = Random(seed)
        compare(chains.batch(random), [chains.block(random, kind)])

    same()


@given(seeds)
def test_a_chain_gives_what_it_gives_row_by_row(seed: int) -> None:
    random = Random(seed)
    compare(chains.batch(random), chains.chain(random))


def test_every_block_is_compared() -> None:
    assert {*chains.KINDS, "IF_ELSE"} == {*TYPES} - {"TOKENISE_FIELDS", "DETOKENISE_FIELDS"}


@given(seeds)
def test_rows_that_filters_exclude_pass_bit_by_bit(seed: int) -> None:
    random = Random(seed)
    batch, block = chains.batch(random), chains.block(random, random.choice(chains.KINDS))
    excluded = {**block, "event_filters": [{"on": "EVENT_FIELD", "field": "id", "op": "GREATER_THAN", "value": 100}]}
    (output,) = BlockStep(parse([excluded])).apply(Batch("orders", batch)).outputs
    assert output.rows.equals(batch, check_metadata=True)
