"""Rows that a source could not bring into shape."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Literal, TypeAlias

import pyarrow as pa

from millrace.data.columns import REJECTS

# No logical type says a value; or what came is no record at all.
Code: TypeAlias = Literal["INCOMPATIBLE_TYPE", "UNREADABLE_RECORD"]


def refused(stream: str, code: Code, rows: Iterable[tuple[str, str]], at: datetime) -> pa.RecordBatch:
    """Rows as text, each with what is wrong with it in front, in the schema `columns.REJECTS`."""
    said = {"stream": stream, "stage": "source", "code": code, "rejected_at": at}
    return pa.RecordBatch.from_pylist([said | {"message": why, "row": row} for why, row in rows], schema=REJECTS)
