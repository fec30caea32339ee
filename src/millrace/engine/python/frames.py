"""A slice of a batch as a frame for a guest, and the answer. What a guest sends is checked, never trusted."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, cast

import numpy as np
import orjson
import pyarrow as pa

from millrace.data import types
from millrace.data.cast import cast as exactly
from millrace.data.columns import SOURCE_MODIFIED_AT, is_ours
from millrace.data.compute import pc
from millrace.data.rows import column as column_of

# Text of a column travels in one piece, between its values one of these, whichever no value has.
_SEPARATORS = ("\x1f", "\x1e", "\x00", "\n")


class Garbage(Exception):
    """What came from the guest is no answer."""


def frame(head: dict[str, Any], sections: Sequence[bytes | memoryview] = ()) -> bytes:
    """The bytes of a frame: length, length of the head, head, sections."""
    text = orjson.dumps(head | {"sections": [len(section) for section in sections]})
    body = b"".join([len(text).to_bytes(4, "little"), text, *sections])
    return len(body).to_bytes(8, "little") + body


def request(
    stream: str, rows: pa.RecordBatch, visible: Sequence[str], keys: Sequence[str], *, traced: bool = False
) -> bytes:
    """Rows as a frame. ``visible``: the columns that a script sees."""
    sections: list[bytes | memoryview] = []
    found = [_column(name, rows.column(name), sections) for name in visible]
    columns = [column for column in found if column is not None]
    modified = None
    at = rows.schema.get_field_index(SOURCE_MODIFIED_AT)
    if at >= 0:
        place = len(sections)
        made = _column(SOURCE_MODIFIED_AT, rows.column(at), sections)
        modified = None if made is None else made | {"section": place}
    head = {
        "stream": stream,
        "count": rows.num_rows,
        "keys": list(keys),
        "columns": columns,
        "modified": modified,
        "traced": traced,
    }
    return frame(head, sections)


def visible(schema: pa.Schema, key: Sequence[str]) -> list[str]:
    """Columns that a script sees: the user's, and our identity where it is the key."""
    return [one.name for one in schema if not is_ours(one) or one.name in key]


def _column(name: str, array: pa.Array, sections: list[bytes | memoryview]) -> dict[str, Any] | None:
    """The column's head, its values among the sections; None where it has no value at all."""
    if pa.types.is_null(array.type) or array.null_count == len(array):
        return None
    rows: list[int] | None = None
    if array.null_count:
        rows = pc.indices_nonzero(array.is_valid()).to_pylist()
        array = array.drop_null()
    head = {"name": name, "rows": rows, "count": len(array)}
    array = exactly(array, types.canonical(array.type), strict=True).values
    kind = types.kind(array.type)
    match kind:
        case "BYTE" | "SHORT" | "INTEGER" | "LONG":
            sections.append(_bytes(array.cast(pa.int64()), np.int64))
            return head | {"kind": "long"}
        case "FLOAT" | "DOUBLE":
            sections.append(_bytes(array.cast(pa.float64()), np.float64))
            return head | {"kind": "double"}
        case "BOOLEAN":
            sections.append(_bytes(array.cast(pa.uint8()), np.uint8))
            return head | {"kind": "boolean"}
        case "DATE":
            sections.append(_bytes(array.cast(pa.int32()).cast(pa.int64()), np.int64))
            return head | {"kind": "date"}
        case "TIME" | "TIMESTAMP" | "TIMESTAMPTZ":
            sections.append(_bytes(array.view(pa.int64()), np.int64))
            return head | {"kind": kind.lower()}
        case "DECIMAL":
            sections.append(",".join(array.cast(pa.string()).to_pylist()).encode())
            return head | {"kind": "decimal"}
        case "BYTEARRAY":
            sections.append(orjson.dumps([base64.b64encode(value).decode() for value in array.to_pylist()]))
            return head | {"kind": "bytes"}
        case "JSON" | "STRUCT" | "ARRAY":
            text = types.storage(exactly(array, types.JSON, strict=True).values)
            return head | _texts(text, "json", sections)
        case _:
            return head | _texts(types.storage(array), "text", sections)


def _texts(array: pa.Array, kind: str, sections: list[bytes | memoryview]) -> dict[str, Any]:
    # Half a surrogate pair, which Arrow's text cannot hold, cannot be here.
    for separator in _SEPARATORS:
        if not pc.any(pc.match_substring(array, separator)).as_py():
            whole = pa.ListArray.from_arrays(pa.array([0, len(array)], pa.int32()), array)
            sections.append(pc.binary_join(whole, separator)[0].as_buffer().to_pybytes())
            return {"kind": kind, "separator": separator}
    sections.append(orjson.dumps(array.to_pylist()))
    return {"kind": f"{kind}s"}


def _bytes(array: pa.Array, dtype: Any) -> bytes:
    return np.ascontiguousarray(array.to_numpy(zero_copy_only=False), dtype).tobytes()


# The other way.


@dataclass(frozen=True, slots=True)
class Group:
    """Answers of one event type with the same fields changed: rows of the slice, place among the answers of a row."""

    name: str
    made: bool
    keys: tuple[str, ...] | None
    rows: np.ndarray[Any, Any]
    places: np.ndarray[Any, Any]
    fields: dict[str, pa.Array | None]
    removed: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of a slice, by the guest's word, checked: every row is in exactly one of the parts."""

    plain: np.ndarray[Any, Any]
    groups: tuple[Group, ...]
    failed: tuple[tuple[int, str, str], ...]
    dropped: int
    printed: tuple[str, ...] = field(default=())

    @staticmethod
    def refused(code: str, message: str, count: int = 1) -> Answer:
        """The answer to a slice of which no row could pass."""
        return Answer(np.empty(0, np.int64), (), tuple((row, code, message) for row in range(count)), 0)

    @staticmethod
    def joined(parts: Sequence[tuple[int, Answer]]) -> Answer:
        """The answer to a slice from those to its parts, each with the number of its first row."""
        return Answer(
            np.concatenate([np.empty(0, np.int64), *(answer.plain + first for first, answer in parts)]),
            tuple(replace(group, rows=group.rows + first) for first, answer in parts for group in answer.groups),
            tuple((row + first, code, text) for first, answer in parts for row, code, text in answer.failed),
            sum(answer.dropped for _, answer in parts),
            tuple(line for _, answer in parts for line in answer.printed),
        )


_CODES = frozenset({"TRANSFORM_ERROR", "TRANSFORM_RESULT", "TRANSFORM_LIMIT"})


def answered(body: bytes, count: int) -> Answer:
    """The answer to a slice of ``count`` rows. Raises Garbage for anything else."""
    try:
        head = orjson.loads(body)
    except ValueError as wrong:
        raise Garbage(str(wrong)) from None
    if not isinstance(head, dict):
        raise Garbage("no object")
    found = cast("dict[str, Any]", head)
    try:
        answer = Answer(
            _rows(found["plain"], count),
            tuple(_group(group, count) for group in found["groups"]),
            tuple(_failure(failure, count) for failure in found["failed"]),
            _natural(found["dropped"]),
            tuple(str(line)[:1000] for line in found["printed"][:100]),
        )
    except (KeyError, TypeError, ValueError, OverflowError, AttributeError, pa.ArrowException) as wrong:
        raise Garbage(f"{type(wrong).__name__}: {wrong}") from None
    _check_all(answer, count)
    return answer


def _check_all(answer: Answer, count: int) -> None:
    """Every row is passed, failed, or dropped, and none twice (I5)."""
    grouped = np.unique(np.concatenate([np.empty(0, np.int64), *(group.rows for group in answer.groups)]))
    failed = np.array([row for row, _, _ in answer.failed], np.int64)
    seen = np.concatenate([answer.plain, grouped, failed])
    if len(np.unique(seen)) != len(seen) or len(seen) + answer.dropped != count:
        raise Garbage("rows are missing or twice in the answer")


def _natural(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise Garbage("no count")
    return value


def _rows(values: Any, count: int) -> np.ndarray[Any, Any]:
    rows = np.array(values, np.int64) if values else np.empty(0, np.int64)
    if rows.ndim != 1 or (len(rows) and (rows.min() < 0 or rows.max() >= count)):
        raise Garbage("no rows of the slice")
    return rows


def _failure(value: Any, count: int) -> tuple[int, str, str]:
    row, code, message = value
    if not isinstance(row, int) or not 0 <= row < count or code not in _CODES:
        raise Garbage("no failure")
    return row, str(code), str(message)[:4000]


def _group(value: Any, count: int) -> Group:
    rows, places = _rows(value["rows"], count), np.array(value["places"], np.int64)
    if len(rows) != len(places) or not isinstance(value["name"], str) or not value["name"]:
        raise Garbage("no group")
    keys = value["keys"]
    fields = {str(name): _values(values, len(rows)) for name, values in value["fields"].items()}
    return Group(
        value["name"],
        value["made"] is True,
        None if keys is None else tuple(str(key) for key in keys),
        rows,
        places,
        fields,
        tuple(str(name) for name in value["removed"]),
    )


def _values(values: Any, count: int) -> pa.Array | None:
    if not isinstance(values, list) or len(cast("list[Any]", values)) != count:
        raise Garbage("no values")
    return column_of([_decoded(value) if isinstance(value, list) else value for value in cast("list[Any]", values)])


def _decoded(value: Any) -> Any:
    import datetime as dt
    from decimal import Decimal

    import msgspec

    kind, data = value
    match kind:
        case "json":
            text = str(data).encode()
            orjson.loads(text)
            return msgspec.Raw(text)
        case "decimal":
            return Decimal(data)
        case "integer":
            return int(data)
        case "double":
            return float(data)
        case "text":
            return str(data)
        case "date":
            return dt.date.fromordinal(data + dt.date(1970, 1, 1).toordinal())
        case "time":
            return (dt.datetime(1970, 1, 1) + dt.timedelta(microseconds=data)).time()
        case "timestamp":
            return dt.datetime(1970, 1, 1) + dt.timedelta(microseconds=data)
        case "timestamptz":
            return dt.datetime(1970, 1, 1, tzinfo=dt.UTC) + dt.timedelta(microseconds=data)
        case "bytes":
            return base64.b64decode(data)
        case _:
            raise Garbage(f"no value of kind {kind!r}")


def slices(rows: pa.RecordBatch, size: int) -> Iterator[tuple[int, pa.RecordBatch]]:
    """The batch in slices, each with the number of its first row."""
    for start in range(0, rows.num_rows, size):
        yield start, rows.slice(start, size)
