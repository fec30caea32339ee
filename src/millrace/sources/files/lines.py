"""JSON: objects in lines (https://jsonlines.org), or in an array at the root of the file, however large it is."""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO

import msgspec
import numpy as np
import pyarrow as pa

from millrace.data import json_text
from millrace.data.batch import JSON
from millrace.data.rows import to_batch
from millrace.errors import DataError
from millrace.sources.files.parts import BYTES, LARGEST, ROWS, Bad, Part, Unreadable

_PIECE = 1 << 20
_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode

# Where values begin and end. A string of which the end is not there yet is its first quote alone.
_TOKEN = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"|[\[\]{},"]', re.DOTALL)


def read(
    stream: BinaryIO,
    check: Callable[[], None],
    row_of: Callable[[bytes], dict[str, JSON] | None] | None = None,
    schema: pa.Schema | None = None,
) -> Iterator[Part]:
    """The rows of a file. The number of a row is that of its line, or of its place in the array. ``check`` raises where
    the stream ended too early.

    ``row_of`` makes a row of a line in a way of its own, or none, and raises ValueError and RecursionError; ``schema``:
    of its rows.
    """
    head = b""
    while not head.strip() and (more := stream.read(_PIECE)):
        head += more
        if len(head) == len(more):
            head = head.removeprefix(codecs.BOM_UTF8)
    texts = _elements(head, stream) if not row_of and head.lstrip()[:1] == b"[" else _lines(head, stream, check)
    rows: list[dict[str, JSON]] = []
    numbers: list[int] = []
    bad: list[Bad] = []
    size = upto = 0
    broken: Exception | None = None
    try:
        for upto, text in texts:
            size += len(text)
            try:
                if (row := (row_of or _row)(text)) is not None:
                    rows.append(row)
                    numbers.append(upto)
            except (ValueError, RecursionError) as error:
                bad.append(Bad(upto, text.decode("utf-8", "backslashreplace"), str(error)))
            if len(rows) + len(bad) >= ROWS or size >= BYTES:
                yield _part(rows, numbers, bad, upto, schema)
                rows, numbers, bad, size = [], [], [], 0
    except Exception as error:
        broken = error
    if rows or bad:
        yield _part(rows, numbers, bad, upto, schema)
    if broken is not None:
        raise broken


def _part(rows: list[dict[str, JSON]], numbers: list[int], bad: list[Bad], upto: int, schema: pa.Schema | None) -> Part:
    try:
        return Part(to_batch(rows, schema), np.array(numbers, np.int64), bad, upto)
    except DataError:
        pass
    # A text that is no Unicode, which only an escape can say. Whose it is shows when each stands alone.
    good: list[int] = []
    for place, row in enumerate(rows):
        try:
            to_batch([row], schema)
            good.append(place)
        except DataError as error:
            bad.append(Bad(numbers[place], json_text.dumps(row), error.message))
    kept = to_batch([rows[place] for place in good], schema)
    bad.sort(key=lambda one: one.number)
    return Part(kept, np.array([numbers[place] for place in good], np.int64), bad, upto)


def _row(text: bytes) -> dict[str, JSON]:
    """The object. What is nested in it stays the bytes that it was. Raises ValueError, RecursionError."""
    if json_text.too_deep(text):
        raise ValueError(f"it nests deeper than {json_text.DEEPEST} levels")
    row = json_text.loads(text.decode())
    if not isinstance(row, dict):
        raise ValueError("it is no object")
    fields: dict[str, Any] = row
    nested = [name for name, value in fields.items() if isinstance(value, (dict, list))]
    if nested:
        whole = _members(text)
        for name in nested:
            fields[name] = whole[name]
    return fields


def _lines(head: bytes, stream: BinaryIO, check: Callable[[], None]) -> Iterator[tuple[int, bytes]]:
    number = 0
    rest = head
    while True:
        *whole, rest = rest.split(b"\n")
        for line in whole:
            number += 1
            if line := line.strip():
                yield number, line
        if len(rest) > LARGEST:
            raise Unreadable(f"line {number + 1} is longer than {LARGEST >> 20} MiB")
        if not (more := stream.read(_PIECE)):
            break
        rest += more
    check()
    if rest := rest.strip():
        yield number + 1, rest


def _elements(head: bytes, stream: BinaryIO) -> Iterator[tuple[int, bytes]]:
    buffer = head.lstrip()[1:]
    number, depth, at, begun = 0, 0, 0, 0
    while True:
        for token in _TOKEN.finditer(buffer, at):
            sign = token[0]
            if sign == b'"':
                break
            at = token.end()
            if depth == 0 and sign in (b",", b"]"):
                text = buffer[begun : at - 1].strip()
                begun = at
                if text or sign == b"," or number:
                    number += 1
                    if not text:
                        raise Unreadable(f"there is nothing at place {number} of its array")
                    yield number, text
                if sign == b"]":
                    _ends(buffer[at:], stream)
                    return
            elif sign in (b"[", b"{"):
                depth += 1
            elif sign in (b"]", b"}"):
                depth -= 1
                if depth < 0:
                    raise Unreadable(f"a bracket is closed that was not opened, behind place {number} of its array")
        if len(buffer) - begun > LARGEST:
            raise Unreadable(f"the value behind place {number} of its array is longer than {LARGEST >> 20} MiB")
        more = stream.read(_PIECE)
        if not more:
            raise Unreadable(f"it is cut off behind place {number} of its array")
        buffer, at, begun = buffer[begun:] + more, at - begun, 0


def _ends(rest: bytes, stream: BinaryIO) -> None:
    while not rest.strip():
        rest = stream.read(_PIECE)
        if not rest:
            return
    raise Unreadable("something stands behind the end of its array")
