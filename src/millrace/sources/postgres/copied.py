"""Binary COPY as Arrow, by the native library (`native/pg_copy.c`).

Values come in the forms in which ADBC gives them, but that decimals come as such where their type says their digits,
and a UUID as text.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Generator, Mapping, Sequence
from ctypes import c_int32, c_int64, c_void_p
from typing import Literal, TypeAlias, get_args

import numpy as np
import pyarrow as pa

from millrace.data import writing
from millrace.data.compute import pc
from millrace.data.dataclass import dataclass
from millrace.data.native import library
from millrace.sources.postgres.links import BATCH_BYTES, Strange
from millrace.sources.postgres.types import Type, numeric

# In the order of native/pg_copy.c.
_Kind: TypeAlias = Literal[
    "bit", "width_2", "width_4", "width_8", "day", "moment", "bytes", "jsonb", "uuid", "number", "decimal"
]
_KINDS: tuple[_Kind, ...] = get_args(_Kind)
_FULL, _ENDED, _ROOM, _ = range(4)
_VARYING = ("bytes", "jsonb", "uuid", "number")
_BYTES: Mapping[str, int] = {"width_2": 2, "width_4": 4, "day": 4, "width_8": 8, "moment": 8, "decimal": 16}
# Rows of one batch, and the least room for the text of a column.
_MOST_ROWS = 1 << 16
_LEAST_ROOM = 1 << 12


@dataclass(frozen=True, slots=True)
class Form:
    """How the values of one column are read, and the Arrow type that they have then."""

    kind: _Kind
    type: pa.DataType

    @property
    def varies(self) -> bool:
        """Values have a length each."""
        return self.kind in _VARYING


# By the number of the type in pg_type, which is the same on every server.
_FORMS: Mapping[int, Form] = {
    16: Form("bit", pa.bool_()),
    17: Form("bytes", pa.binary()),
    19: Form("bytes", pa.string()),  # name
    20: Form("width_8", pa.int64()),
    21: Form("width_2", pa.int16()),
    23: Form("width_4", pa.int32()),
    25: Form("bytes", pa.string()),  # text
    114: Form("bytes", pa.string()),  # json
    700: Form("width_4", pa.float32()),
    701: Form("width_8", pa.float64()),
    790: Form("width_8", pa.int64()),  # money
    1042: Form("bytes", pa.string()),  # bpchar
    1043: Form("bytes", pa.string()),  # varchar
    1082: Form("day", pa.date32()),
    1083: Form("width_8", pa.time64("us")),
    1114: Form("moment", pa.timestamp("us")),
    1184: Form("moment", pa.timestamp("us", "UTC")),
    1560: Form("bytes", pa.binary()),  # bit
    1562: Form("bytes", pa.binary()),  # varbit
    1700: Form("number", pa.string()),
    2950: Form("uuid", pa.string()),
    3802: Form("jsonb", pa.string()),
}
_NUMERIC = 1700


class _Column(ctypes.Structure):
    _fields_ = (
        ("kind", c_int32),
        ("scale", c_int32),
        ("valid", c_void_p),
        ("values", c_void_p),
        ("text", c_void_p),
        ("room", c_int64),
        ("odd", c_int64),
    )


class _Copy(ctypes.Structure):
    _fields_ = (
        ("connection", c_void_p),
        ("get", c_void_p),
        ("release", c_void_p),
        ("message", c_void_p),
        ("size", c_int32),
        ("at", c_int32),
        ("columns", c_int32),
        ("wanting", c_int32),
        ("needed", c_int64),
        ("rows", c_int64),
        ("most_rows", c_int64),
        ("bytes", c_int64),
        ("most_bytes", c_int64),
        ("begun", c_int32),
        ("over", c_int32),
    )


def form(number: int, modifier: int, type_: Type) -> Form:
    """The form of a column by its type's number and modifier at the server, and the type as it was looked up.

    Decimals come as such where both say their digits. Raises Strange for a type that is not read here.
    """
    if number not in _FORMS:
        raise Strange(f"a column has the type number {number}")
    logical = type_.logical
    said = number == _NUMERIC and type_.form == "numeric" and numeric(modifier) == logical
    return Form("decimal", logical) if said and isinstance(logical, pa.Decimal128Type) else _FORMS[number]


def batches(
    forms: Mapping[str, Form],
    get: c_void_p,
    release: c_void_p,
    connection: Callable[[], int | None] = lambda: None,
    *,
    most_rows: int = _MOST_ROWS,
) -> Generator[pa.RecordBatch, None, bool]:
    """Rows from the messages that ``get`` gives and ``release`` frees, as PQgetCopyData and PQfreemem do.

    ``connection``: asked before each use, as it may be closed meanwhile; what it raises goes through. Returns whether
    the rows came to their end: where ``get`` has no more before, what is left of them is kept back. Raises Strange
    where they are not rows of such columns.
    """
    native = library()
    assert native is not None
    columns = [_Buffers(one) for one in forms.values()]
    least = sum(4 if one.varies else 8 for one in forms.values())
    copy = _Copy(
        get=get,
        release=release,
        columns=len(columns),
        most_rows=min(most_rows, BATCH_BYTES // max(least, 1) + 1),
        most_bytes=BATCH_BYTES,
    )
    try:
        answer = _FULL
        while answer == _FULL:
            copy.rows = copy.bytes = 0
            answer = _batch(native, copy, columns, connection)
            if copy.rows and (answer == _FULL or copy.over):
                yield pa.RecordBatch.from_arrays([one.array(copy.rows) for one in columns], names=[*forms])
        return bool(copy.over)
    finally:
        if copy.message:
            ctypes.CFUNCTYPE(None, c_void_p)(release.value or 0)(copy.message)


def _batch(native: ctypes.CDLL, copy: _Copy, columns: Sequence[_Buffers], connection: Callable[[], int | None]) -> int:
    """Rows of one batch stand in the columns; whether it is full, or all has ended."""
    for column in columns:
        column.begin(copy.most_rows)
    while True:
        given = (_Column * len(columns))(*(column.given() for column in columns))
        copy.connection = connection()
        answer = native.millrace_pg_copy(ctypes.byref(copy), given)
        for column, one in zip(columns, given, strict=True):
            column.odd |= bool(one.odd)
        if answer in (_FULL, _ENDED):
            return answer
        if answer != _ROOM:
            raise Strange(f"row {copy.rows} of a batch is not as the types of its columns say")
        columns[copy.wanting].grow(copy.needed)


class _Buffers:
    """The buffers of one column of a batch."""

    def __init__(self, form: Form) -> None:
        self.form, self.odd = form, False
        self._room = _LEAST_ROOM
        self._valid = self._values = self._text = np.zeros(0, np.uint8)

    def begin(self, rows: int) -> None:
        """New buffers: those before belong to a batch. What has no value in it is zeros."""
        self.odd = False
        self._valid = np.zeros((rows + 7) // 8, np.uint8)
        match self.form.kind:
            case "bit":
                self._values = np.zeros((rows + 7) // 8, np.uint8)
            case "bytes" | "jsonb" | "uuid" | "number":
                self._values, self._text = np.zeros(rows + 1, np.int32), np.empty(self._room, np.uint8)
            case kind:
                self._values = np.zeros(rows * _BYTES[kind], np.uint8)

    def given(self) -> _Column:
        scale = self.form.type.scale if self.form.kind == "decimal" else 0
        addresses = (one.ctypes.data for one in (self._valid, self._values, self._text))
        return _Column(_KINDS.index(self.form.kind), scale, *addresses, len(self._text), 0)

    def grow(self, needed: int) -> None:
        text = np.empty(max(needed + needed // 4, 2 * len(self._text)), np.uint8)
        text[: len(self._text)] = self._text
        self._text = text

    def array(self, rows: int) -> pa.Array:
        buffers = [pa.py_buffer(self._valid), pa.py_buffer(self._values)]
        if self.form.varies:
            used = int(self._values[rows])
            # As much as this one had, and some more.
            self._room = used + used // 8 + _LEAST_ROOM
            buffers.append(pa.py_buffer(self._text[:used]))
        values = pa.Array.from_buffers(self.form.type, rows, buffers)
        return self._as_text(values) if self.odd else values

    def _as_text(self, numbers: pa.Array) -> pa.Array:
        """Decimals among which some are no numbers: as ADBC has them."""
        odd = pa.array(self._values.view(np.int64).reshape(-1, 2)[: len(numbers), 1] == np.iinfo(np.int64).min)
        kept = pc.if_else(odd, pa.scalar(None, numbers.type), numbers)
        return pc.if_else(odd, "nan", writing.decimal_text(kept))
