"""Arrow batches in the two forms in which MySQL takes many rows: lines of LOAD DATA, and values of INSERT.

All values of a column are written at once, by Arrow. Sources: https://dev.mysql.com/doc/refman/8.4/en/load-data.html,
https://dev.mysql.com/doc/refman/8.4/en/string-literals.html
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from millrace.data import types, writing
from millrace.data.compute import pc
from millrace.data.dataclass import dataclass

# How LOAD DATA is told what `lines` writes.
FORMAT = "FIELDS TERMINATED BY '\\t' ESCAPED BY '\\\\' LINES TERMINATED BY '\\n'"

_IN_LINES = {"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\0": "\\0"}
_IN_QUOTES = {"\\": "\\\\", "'": "\\'", "\0": "\\0"}


@dataclass(frozen=True, slots=True)
class Written:
    """Rows one behind the other; row ``n`` is the bytes ``ends[n]`` to ``ends[n + 1]``."""

    data: memoryview
    ends: npt.NDArray[np.int64]

    @property
    def rows(self) -> int:
        return len(self.ends) - 1

    def bytes_of(self, first: int, last: int) -> memoryview:
        """The rows ``first`` to ``last`` (exclusive)."""
        return self.data[int(self.ends[first]) : int(self.ends[last])]

    @property
    def sizes(self) -> npt.NDArray[np.int64]:
        """Bytes of each row."""
        return np.diff(self.ends)


def lines(batch: pa.RecordBatch) -> Written:
    """A line for each row."""
    fields = [_lined(column) for column in batch.columns]
    return _written(pc.binary_join_element_wise(*fields[:-1], _ended(fields[-1], b"\n"), _scalar(b"\t")))


def values(batch: pa.RecordBatch) -> Written:
    """``(…),`` for each row; the caller cuts the last comma."""
    fields = [_literal(column) for column in batch.columns]
    fields[0] = pc.binary_join_element_wise(_scalar(b"("), fields[0], _scalar(b""))
    fields[-1] = _ended(fields[-1], b"),")
    return _written(pc.binary_join_element_wise(*fields, _scalar(b",")))


def pieces(written: Written, most_bytes: int) -> Iterator[tuple[int, int]]:
    """Spans of rows, each of as many bytes as allowed, and of one row at least."""
    first = 0
    while first < written.rows:
        limit = int(written.ends[first]) + most_bytes
        last = max(first + 1, int(np.searchsorted(written.ends, limit, side="right")) - 1)
        yield first, last
        first = last


def _lined(values: pa.Array) -> pa.Array:
    return pc.fill_null(_bytes(types.storage(values), _IN_LINES), _scalar(b"\\N"))


def _literal(values: pa.Array) -> pa.Array:
    """Values as SQL writes them."""
    values = types.storage(values)
    written = _bytes(values, _IN_QUOTES)
    if _is_quoted(values.type):
        front = b"_binary'" if _is_bytes(values.type) else b"'"
        written = pc.binary_join_element_wise(_scalar(front), written, _scalar(b"'"), _scalar(b""))
    return pc.fill_null(written, _scalar(b"NULL"))


def _bytes(values: pa.Array, escapes: dict[str, str]) -> pa.Array:
    """Values as bytes, null where they were."""
    type_ = values.type
    if _is_bytes(type_) or pa.types.is_string(type_) or pa.types.is_large_string(type_):
        return _escaped(values.cast(pa.large_binary()), escapes)
    if pa.types.is_boolean(type_):
        texts = values.cast(pa.int8()).cast(pa.string())
    elif pa.types.is_decimal(type_):
        texts = writing.decimal_text(values)
    elif pa.types.is_timestamp(type_):
        texts = values.cast(pa.timestamp("us")).cast(pa.string())
    elif pa.types.is_float32(type_):
        # In its shortest form the largest of them would be larger than it is.
        texts = values.cast(pa.float64()).cast(pa.string())
    else:
        # Anything else could hold marks that mean something to the server.
        assert pa.types.is_primitive(type_), type_
        texts = values.cast(pa.string())
    return texts.cast(pa.large_binary())


def _is_bytes(type_: pa.DataType) -> bool:
    return pa.types.is_binary(type_) or pa.types.is_large_binary(type_)


def _is_quoted(type_: pa.DataType) -> bool:
    number = pa.types.is_integer(type_) or pa.types.is_floating(type_) or pa.types.is_decimal(type_)
    return not (number or pa.types.is_boolean(type_))


def _escaped(values: pa.Array, escapes: dict[str, str]) -> pa.Array:
    """The backslash goes first, since it is in all that follows."""
    for mark, escape in escapes.items():
        if pc.any(pc.match_substring(values, mark)).as_py():
            values = pc.replace_substring(values, mark, escape)
    return values


def _ended(values: pa.Array, end: bytes) -> pa.Array:
    return pc.binary_join_element_wise(values, _scalar(end), _scalar(b""))


def _scalar(value: bytes) -> pa.Scalar:
    return pa.scalar(value, pa.large_binary())


def _written(rows: pa.Array) -> Written:
    _, ends, data = rows.buffers()
    found = np.frombuffer(ends, np.int64, len(rows) + 1, rows.offset * 8)
    return Written(memoryview(data) if data is not None else memoryview(b""), found)
