"""The table of operations, as all faces read it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any, get_origin

import pyarrow as pa
import pytest
from pydantic import TypeAdapter

from millrace.control.desk import Errand, Operation
from millrace.control.operations import table

TABLE = table()


def test_no_two_operations_have_one_name_or_one_address():
    names = Counter(one.card.name for one in TABLE)
    addresses = Counter((one.card.method, one.card.path) for one in TABLE)
    assert [name for name, n in (names | addresses).items() if n > 1] == []


@pytest.mark.parametrize("one", TABLE, ids=lambda one: one.card.name)
def test_an_operation_can_be_read_and_written_at_both_ends(one: Operation[..., Any] | Errand[..., Any]):
    assert one.card.told
    if get_origin(one.card.result) is not Iterator and one.card.result is not pa.Table:
        TypeAdapter(one.card.result).json_schema(mode="serialization")
    for parameter in one.card.parameters:
        if parameter.place != "content":
            TypeAdapter(parameter.annotation).json_schema()
