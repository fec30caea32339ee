"""A slice of a batch as a frame for a guest, and the answer. What a guest sends is checked, never trusted."""

from __future__ import annotations

import base64
import datetime as dt
import json
import uuid
from collections.abc import Collection, Iterator, Sequence
from dataclasses import field, replace
from decimal import Decimal
from typing import Any, cast

import msgspec
import numpy as np
import orjson
import pyarrow as pa

from millrace.data import types
from millrace.data.cast import cast as exactly
from millrace.data.columns import SOURCE_MODIFIED_AT, is_measured, is_ours
from millrace.data.compute import pc
from millrace.data.dataclass import dataclass
from millrace.data.exact import of_type
from millrace.data.rows import inferred
from millrace.data.writing import shortest
from millrace.data.writing import text as text_of
from millrace.errors import DataError

# Which form of frames this is; `guest` says the same.
FORM = 5

# What a guest says in the middle of a slice: the script wants a column that was not sent.
MORE = b"more"


class Garbage(Exception):
    """What came from the guest is no answer."""


def frame(head: dict[str, Any], sections: Sequence[bytes | memoryview] = ()) -> bytes:
    """The bytes of a frame: length, length of the head, head, sections."""
    text = orjson.dumps(head | {"sections": [len(section) for section in sections]})
    length = 4 + len(text) + sum(map(len, sections))
    return b"".join([length.to_bytes(8, "little"), len(text).to_bytes(4, "little"), text, *sections])


def request(
    stream: str,
    rows: pa.RecordBatch,
    visible: Sequence[str],
    keys: Sequence[str],
    *,
    wanted: Collection[str] | None = None,
    traced: bool = False,
) -> bytes:
    """Rows as a frame. ``visible``: the columns that a script sees; ``wanted``: those that go at once, None for all."""
    sections: list[bytes | memoryview] = []
    arrays = {name: rows.column(name) for name in visible}
    nulls = {name: array.null_count for name, array in arrays.items() if _has_values(array)}
    modified = None
    at = rows.schema.get_field_index(SOURCE_MODIFIED_AT)
    if at >= 0:
        made = list(_columns(SOURCE_MODIFIED_AT, rows.column(at), sections))
        # A moment that Python does not know is none here.
        modified = next((one for one in made if one["kind"] == "timestamptz"), None)
    head = {
        "stream": stream,
        "count": rows.num_rows,
        "keys": list(keys),
        "hidden": [name for name in rows.schema.names if name not in arrays],
        "whole": [name for name, count in nulls.items() if not count],
        "sparse": [name for name, count in nulls.items() if count],
        "json": [name for name in nulls if types.kind(types.canonical(arrays[name].type)) in _AS_JSON],
        "columns": {
            name: list(_columns(name, arrays[name], sections, measured=is_measured(rows.schema.field(name))))
            for name in nulls
            if wanted is None or name in wanted
        },
        "modified": modified,
        "traced": traced,
    }
    return frame(head, sections)


def rest(rows: pa.RecordBatch, visible: Sequence[str], wanted: Collection[str]) -> bytes:
    """The columns that did not go at once, as a frame."""
    sections: list[bytes | memoryview] = []
    late = {name: rows.column(name) for name in visible if name not in wanted}
    columns = {
        name: list(_columns(name, one, sections, measured=is_measured(rows.schema.field(name))))
        for name, one in late.items()
        if _has_values(one)
    }
    return frame({"columns": columns}, sections)


_AS_JSON = ("JSON", "STRUCT", "ARRAY")


def _has_values(array: pa.Array) -> bool:
    return not pa.types.is_null(array.type) and array.null_count < len(array)


def visible(schema: pa.Schema, key: Sequence[str]) -> list[str]:
    """Columns that a script sees: the user's, and our identity where it is the key."""
    return [one.name for one in schema if not is_ours(one) or one.name in key]


# What Python's dates and times hold, in the units of Arrow: days, and microseconds.
_FROM, _TO = (dt.date(1, 1, 1) - dt.date(1970, 1, 1)).days, (dt.date(9999, 12, 31) - dt.date(1970, 1, 1)).days
_DAY_US = 86_400_000_000
_PYTHONS: dict[str, tuple[int, int]] = {
    "DATE": (_FROM, _TO),
    "TIME": (0, _DAY_US - 1),
    "TIMESTAMP": (_FROM * _DAY_US, (_TO + 1) * _DAY_US - 1),
    "TIMESTAMPTZ": (_FROM * _DAY_US, (_TO + 1) * _DAY_US - 1),
}


def _columns(
    name: str, array: pa.Array, sections: list[bytes | memoryview], *, measured: bool = False
) -> Iterator[dict[str, Any]]:
    """Heads of a column, its values among the sections; none where it has no value at all. ``measured``: as for `cast`.

    It has a second one for dates and times that Python does not know: those are text.
    """
    if not _has_values(array):
        return
    rows: np.ndarray[Any, Any] | None = None
    if array.null_count:
        rows = pc.indices_nonzero(array.is_valid()).to_numpy()
        array = array.drop_null()
    to = types.canonical(array.type)
    if array.type != to:
        array = exactly(array, to, strict=True).values
    bounds = _PYTHONS.get(types.kind(array.type))
    if bounds is not None:
        counts = _counts(array)
        inside = (counts >= bounds[0]) & (counts <= bounds[1])
        if not inside.all():
            places = np.arange(len(array)) if rows is None else rows
            strange = pa.array([_strange(one) for one in array.filter(pa.array(~inside))], pa.string())
            yield _column(name, strange, places[~inside], sections, measured=False)
            array, rows = array.filter(pa.array(inside)), places[inside]
            if not len(array):
                return
    yield _column(name, array, rows, sections, measured=measured)


def _counts(array: pa.Array) -> np.ndarray[Any, Any]:
    """Days or microseconds of dates and times."""
    plain = array.view(pa.int32() if array.type == types.DATE else pa.int64())
    return plain.to_numpy(zero_copy_only=False)


def _strange(value: pa.Scalar) -> str:
    array = pa.array([value.value], pa.int32() if value.type == types.DATE else pa.int64()).view(value.type)
    written = text_of(array)
    return str(value.value) if written.bad is not None else written.values[0].as_py()


def _column(
    name: str, array: pa.Array, rows: np.ndarray[Any, Any] | None, sections: list[bytes | memoryview], *, measured: bool
) -> dict[str, Any]:
    """The head of a column without nulls: number of the section with its rows, and of the first with its values."""
    if rows is not None:
        sections.append(rows.astype(np.int32).tobytes())
    head = {"name": name, "rows": None if rows is None else len(sections) - 1, "section": len(sections)}
    kind = types.kind(array.type)
    match kind:
        case "BYTE" | "SHORT" | "INTEGER" | "LONG":
            sections.append(_bytes(array, np.int64))
            return head | {"kind": "long"}
        case "FLOAT" | "DOUBLE":
            sections.append(_bytes(array, np.float64))
            return head | {"kind": "double"}
        case "BOOLEAN":
            sections.append(_bytes(array.cast(pa.uint8()), np.uint8))
            return head | {"kind": "boolean"}
        case "DATE":
            sections.append(_bytes(array.view(pa.int32()), np.int64))
            return head | {"kind": "date"}
        case "TIME" | "TIMESTAMP" | "TIMESTAMPTZ":
            sections.append(_bytes(array.view(pa.int64()), np.int64))
            return head | {"kind": kind.lower()}
        case "DECIMAL":
            sections.append(",".join((shortest(array) if measured else array.cast(pa.string())).to_pylist()).encode())
            return head | {"kind": "decimal"}
        case "BYTEARRAY":
            sections.append(orjson.dumps([base64.b64encode(value).decode() for value in array.to_pylist()]))
            return head | {"kind": "bytes"}
        case _ if kind in _AS_JSON:
            text = types.storage(array if kind == "JSON" else exactly(array, types.JSON, strict=True).values)
            sections += _texts(text)
            return head | {"kind": "json"}
        case _:
            sections += _texts(types.storage(array))
            return head | {"kind": "text"}


def _texts(array: pa.Array) -> tuple[bytes, memoryview]:
    """How long each text is, in bytes; and all of them in one piece."""
    _, ends, data = array.buffers()
    starts = np.frombuffer(ends, np.int32, len(array) + 1, array.offset * 4)
    first, last = int(starts[0]), int(starts[-1])
    whole = memoryview(b"") if data is None else memoryview(data)[first:last]
    return np.diff(starts).tobytes(), whole


def _bytes(array: pa.Array, dtype: Any) -> bytes:
    return array.to_numpy(zero_copy_only=False).astype(dtype, copy=False).tobytes()


# The other way.


@dataclass(frozen=True, slots=True)
class Given:
    """What a script set one field to, at these places of a group; None: at all."""

    at: np.ndarray[Any, Any] | None
    values: pa.Array


@dataclass(frozen=True, slots=True)
class Group:
    """Answers of one event type: rows of the slice, place among the answers of a row, fields set and removed."""

    name: str
    made: bool
    keys: tuple[str, ...] | None
    rows: np.ndarray[Any, Any]
    places: np.ndarray[Any, Any]
    fields: dict[str, Given]
    removed: dict[str, np.ndarray[Any, Any] | None]


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


def answered(body: bytes, count: int, hidden: Collection[str] = ()) -> Answer:
    """The answer to a slice of ``count`` rows. Raises Garbage for anything else.

    ``hidden``: fields that a script neither sees nor sets.
    """
    try:
        head, sections = _taken_apart(body)
        answer = Answer(
            sections.rows(head["plain"], count),
            tuple(_group(group, sections, count) for group in head["groups"]),
            tuple(_failure(failure, count) for failure in head["failed"]),
            _natural(head["dropped"]),
            tuple(str(line)[:1000] for line in head["printed"][:100]),
        )
    except (
        KeyError, TypeError, ValueError, ArithmeticError, AttributeError, RecursionError, pa.ArrowException, DataError
    ) as wrong:  # fmt: skip
        raise Garbage(f"{type(wrong).__name__}: {wrong}") from None
    if any(name in hidden for group in answer.groups for name in (*group.fields, *group.removed)):
        raise Garbage("a field of Millrace's own")
    _check_all(answer, count)
    return answer


@dataclass(frozen=True, slots=True)
class _Sections:
    """The parts of an answer that are no JSON. Its methods take what the JSON says, and raise Garbage for nonsense."""

    parts: tuple[memoryview, ...]

    def one(self, number: Any, dtype: Any) -> np.ndarray[Any, Any]:
        """The section of that number as numbers."""
        return np.frombuffer(self._part(number), dtype)

    def rows(self, number: Any, count: int) -> np.ndarray[Any, Any]:
        """Numbers from 0 to ``count``."""
        rows = self.one(number, np.int32).astype(np.int64)
        if len(rows) and (rows.min() < 0 or rows.max() >= count):
            raise Garbage("no rows of the slice")
        return rows

    def values(self, kind: Any, first: Any) -> pa.Array | None:
        """Values of a column; None for a kind that travels as JSON."""
        match kind:
            case "doubles":
                return pa.array(self.one(first, np.float64), types.DOUBLE)
            case "longs":
                values = self.one(first, np.int64)
                small = not len(values) or (values.min() >= -(1 << 31) and values.max() < 1 << 31)
                return pa.array(values.astype(np.int32), types.INTEGER) if small else pa.array(values, types.LONG)
            case "booleans":
                values = self.one(first, np.uint8)
                if (values > 1).any():
                    raise Garbage("no values")
                return pa.array(values.astype(bool), types.BOOLEAN)
            case "jsons":
                texts = self.values("texts", first)
                assert texts is not None
                _check_jsons(texts.to_pylist())
                return of_type(texts, types.JSON)
            case "texts":
                lengths, data = self.one(first, np.int32), self._part(first + 1)
                ends = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths, dtype=np.int64)])
                if (lengths < 0).any() or ends[-1] != len(data):
                    raise Garbage("no values")
                buffers = [None, pa.py_buffer(ends.astype(np.int32)), pa.py_buffer(data)]
                made = pa.Array.from_buffers(types.VARCHAR, len(lengths), buffers, 0)
                made.validate(full=True)
                return made
            case _:
                return None

    def _part(self, number: Any) -> memoryview:
        if not isinstance(number, int) or isinstance(number, bool) or not 0 <= number < len(self.parts):
            raise Garbage("no such section")
        return self.parts[number]


def _taken_apart(body: bytes) -> tuple[dict[str, Any], _Sections]:
    """The JSON in front, and the sections behind it, whose lengths it says."""
    at = 4 + int.from_bytes(body[:4], "little")
    head = orjson.loads(body[4:at])
    if not isinstance(head, dict):
        raise Garbage("no object")
    found = cast("dict[str, Any]", head)
    view, parts = memoryview(body), list[memoryview]()
    for size in found["sections"]:
        parts.append(view[at : at + _natural(size)])
        at += size
    if at != len(body):
        raise Garbage("sections of another length")
    return found, _Sections(tuple(parts))


def _check_all(answer: Answer, count: int) -> None:
    """Every row is passed, failed, or dropped, and none twice (I5)."""
    grouped = np.zeros(count, bool)
    for group in answer.groups:
        grouped[group.rows] = True
    failed = np.array([row for row, _, _ in answer.failed], np.int64)
    seen = np.concatenate([answer.plain, np.flatnonzero(grouped), failed])
    if _repeats(seen, count) or len(seen) + answer.dropped != count:
        raise Garbage("rows are missing or twice in the answer")


def _repeats(numbers: np.ndarray[Any, Any], count: int) -> bool:
    """One of the numbers from 0 to ``count`` is there twice."""
    return len(numbers) > 0 and int(np.bincount(numbers, minlength=count).max()) > 1


def _natural(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise Garbage("no count")
    return value


def _failure(value: Any, count: int) -> tuple[int, str, str]:
    row, code, message = value
    if not isinstance(row, int) or not 0 <= row < count or code not in _CODES:
        raise Garbage("no failure")
    return row, str(code), str(message)[:4000]


def _group(value: Any, sections: _Sections, count: int) -> Group:
    rows = sections.rows(value["rows"], count)
    told = value["places"]
    places = np.zeros(len(rows), np.int64) if told is None else sections.one(told, np.int32).astype(np.int64)
    if not len(rows) or rows.shape != places.shape or not isinstance(value["name"], str) or not value["name"]:
        raise Garbage("no group")
    keys = value["keys"]
    return Group(
        value["name"],
        value["made"] is True,
        None if keys is None else tuple(str(key) for key in keys),
        rows,
        places,
        {str(name): _given(one, sections, len(rows)) for name, one in value["fields"].items()},
        {str(name): _places(at, sections, len(rows)) for name, at in value["removed"].items()},
    )


def _places(number: Any, sections: _Sections, count: int) -> np.ndarray[Any, Any] | None:
    if number is None:
        return None
    at = sections.rows(number, count)
    if _repeats(at, count):
        raise Garbage("a place twice")
    return at


def _given(value: Any, sections: _Sections, count: int) -> Given:
    at, values, kind = _places(value["at"], sections, count), value["values"], value["kind"]
    array = sections.values(kind, values)
    if array is None:
        if not isinstance(values, list):
            raise Garbage("no values")
        array = _alike(kind, cast("list[Any]", values))
    if array is None or array.null_count or len(array) != (count if at is None else len(at)):
        raise Garbage("no values")
    return Given(at, array)


def _alike(kind: Any, values: list[Any]) -> pa.Array | None:
    """Values with one mark for all; None: each has its own, or is as JSON says it."""
    match kind:
        case None:
            if any(isinstance(value, dict) for value in values):
                raise Garbage("no values")
            return inferred([_decoded(*value) if isinstance(value, list) else value for value in values])
        case "date":
            return pa.array(values, pa.int32()).view(types.DATE)
        case "time" | "timestamp" | "timestamptz":
            return pa.array(values, pa.int64()).view(_MICROS[kind])
        case _:
            return inferred([_decoded(kind, value) for value in values])


_MICROS = {"time": types.TIME, "timestamp": types.TIMESTAMP, "timestamptz": types.TIMESTAMPTZ}


def _check_json(text: Any) -> None:
    if not isinstance(text, str):
        raise Garbage("no text")
    _check_jsons([text])


def _check_jsons(texts: Sequence[str]) -> None:
    try:
        for text in texts:
            orjson.loads(text)
    except ValueError:
        # It does not know half a surrogate pair, which JSON can say as an escape.
        for text in texts:
            json.loads(text, parse_constant=_no_constant)


def _no_constant(name: str) -> None:
    raise Garbage(f"{name} is no JSON")


def _decoded(kind: Any, data: Any) -> Any:
    match kind:
        case "json":
            _check_json(data)
            return msgspec.Raw(data.encode())
        case "decimal":
            return Decimal(data)
        case "integer":
            return int(data)
        case "double":
            return float(data)
        case "date":
            return dt.date.fromordinal(data + dt.date(1970, 1, 1).toordinal())
        case "time":
            return (dt.datetime(1970, 1, 1) + dt.timedelta(microseconds=data)).time()
        case "timetz":
            return dt.time.fromisoformat(data)
        case "timestamp":
            return dt.datetime(1970, 1, 1) + dt.timedelta(microseconds=data)
        case "timestamptz":
            return dt.datetime(1970, 1, 1, tzinfo=dt.UTC) + dt.timedelta(microseconds=data)
        case "bytes":
            return base64.b64decode(data)
        case "uuid":
            return uuid.UUID(data)
        case _:
            raise Garbage(f"no value of kind {kind!r}")


def slices(rows: pa.RecordBatch, size: int) -> Iterator[tuple[int, pa.RecordBatch]]:
    """The batch in slices, each with the number of its first row."""
    for start in range(0, rows.num_rows, size):
        yield start, rows.slice(start, size)
