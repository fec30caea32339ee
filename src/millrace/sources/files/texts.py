"""CSV and TSV: rows of text (https://www.rfc-editor.org/rfc/rfc4180), read by Arrow block by block."""

from __future__ import annotations

import codecs
import csv
import io
import secrets
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
from pyarrow import csv as arrow_csv

from millrace.data.compute import pc
from millrace.data.rows import to_batch
from millrace.sources.files.config import Config
from millrace.sources.files.encodings import MARK, unmarked
from millrace.sources.files.parts import LARGEST, Bad, Part, Unreadable, distinct
from millrace.sources.files.values import typed

_BLOCK = 4 << 20


def read(stream: BinaryIO, config: Config, delimiter: str, check: Callable[[], None]) -> Iterator[Part]:
    """The rows of a file. Each has as many fields as the header, or the first row; others are bad. ``check`` raises
    where the stream ended too early."""
    head = _head(stream)
    if not head.strip():
        return
    if b"\0" in head:
        raise Unreadable("it is no text, or in another encoding")
    if config.header and not (b"\n" in head or b"\r" in head):
        return
    delimiter = config.delimiter or delimiter
    first = _first_row(head, delimiter, config.quote)
    if any(MARK in name for name in first):
        raise Unreadable(f"its first row is no text in {config.encoding}")
    names = distinct(first) if config.header else [f"column_{place}" for place in range(1, len(first) + 1)]
    # A row behind the last, which is none of its own where a quote is open, or the stream breaks off, before it.
    end = f"{MARK}_{secrets.token_hex(8)}"
    line = f"{end}{delimiter * (len(names) - 1)}\n"
    closed = False

    def ending() -> bytes:
        try:
            check()
        except Exception:
            # It is told behind the rows; what stands of the last one is none.
            return end.encode()
        return f"\n{line}".encode()

    # Arrow reads ahead, in a thread of its own.
    ahead: deque[Bad] = deque()

    def refuse(row: Any) -> str:
        number = row.number - config.header
        ahead.append(Bad(number, unmarked(row.text), f"it has {row.actual_columns} fields, not {row.expected_columns}"))
        return "skip"

    reader = arrow_csv.open_csv(
        pa.PythonFile(_Behind(head, stream, ending), "r"),
        read_options=arrow_csv.ReadOptions(
            use_threads=False, block_size=_BLOCK, column_names=names, skip_rows_after_names=int(config.header)
        ),
        parse_options=arrow_csv.ParseOptions(
            delimiter=delimiter,
            quote_char=config.quote or False,
            newlines_in_values=bool(config.quote),
            invalid_row_handler=refuse,
        ),
        convert_options=arrow_csv.ConvertOptions(
            column_types=dict.fromkeys(names, pa.string()),
            strings_can_be_null=True,
            quoted_strings_can_be_null=False,
            null_values=[""],
        ),
    )
    upto = 0
    for batch in _batches(reader):
        if batch.num_rows and any(end in (column[-1].as_py() or "") for column in batch.columns):
            closed = batch.column(0)[-1].as_py() == end
            batch = batch.slice(0, batch.num_rows - 1)
        # Rows of a later block may have been refused already.
        skipped = {one.number for one in tuple(ahead)}
        numbers = _following(upto, batch.num_rows, skipped)
        before, last = upto, int(numbers[-1]) if len(numbers) else upto
        now: list[Bad] = []
        while ahead and ahead[0].number <= last:
            now.append(ahead.popleft())
        rows, unreadable = _readable(batch, numbers, delimiter)
        keep = np.isin(numbers, [one.number for one in unreadable], invert=True)
        upto = max(last, upto)
        rows = typed(rows) if config.types == "values" else rows
        if upto > before:
            yield Part(rows, numbers[keep], sorted([*now, *unreadable], key=lambda one: one.number), upto)
    if ahead and end in ahead[-1].text:
        ahead.pop()
    if ahead:
        yield Part(to_batch([], None), np.empty(0, np.int64), [*ahead], ahead[-1].number)
    check()
    if not closed:
        raise Unreadable("a quote is not closed")


def _following(upto: int, count: int, skipped: set[int]) -> np.ndarray:
    """The next numbers of rows that were not refused."""
    if not skipped:
        return np.arange(upto + 1, upto + 1 + count, dtype=np.int64)
    every = np.arange(upto + 1, upto + 1 + count + len(skipped), dtype=np.int64)
    return every[np.isin(every, [*skipped], invert=True)][:count]


def _batches(reader: Any) -> Iterator[pa.RecordBatch]:
    try:
        yield from reader
    except pa.ArrowInvalid as error:
        if "straddling" not in str(error):
            raise
        raise Unreadable(f"a row is longer than {_BLOCK >> 20} MiB, or a quote is not closed") from error


def _readable(batch: pa.RecordBatch, numbers: np.ndarray, delimiter: str) -> tuple[pa.RecordBatch, list[Bad]]:
    """The rows that are text in the encoding of the file, and those that are not."""
    wrong = np.zeros(batch.num_rows, bool)
    for column in batch.columns:
        wrong |= pc.fill_null(pc.match_substring(column, MARK), False).to_numpy(zero_copy_only=False)
    if not wrong.any():
        return batch, []
    bad: list[Bad] = []
    for row in np.flatnonzero(wrong).tolist():
        text = delimiter.join(column[row].as_py() or "" for column in batch.columns)
        bad.append(Bad(int(numbers[row]), unmarked(text), "it has bytes that are no text in the encoding of the file"))
    return batch.filter(pa.array(~wrong)), bad


def _head(stream: BinaryIO) -> bytes:
    """The beginning of the file, from its first line that is not empty, and that line whole; without a mark of its
    encoding."""
    head = b""
    while len(head) < LARGEST and (more := stream.read(1 << 20)):
        head = (head + more if head else more.removeprefix(codecs.BOM_UTF8)).lstrip(b"\r\n")
        if b"\n" in head or b"\r" in head[:-1]:
            break
    return head


def _first_row(head: bytes, delimiter: str, quote: str) -> list[str]:
    text = io.StringIO(head.decode("utf-8", "replace"), newline="")
    quoting = csv.QUOTE_MINIMAL if quote else csv.QUOTE_NONE
    rows = csv.reader(text, delimiter=delimiter, quotechar=quote or None, quoting=quoting)
    csv.field_size_limit(LARGEST)
    try:
        return next(row for row in rows if row)
    except (csv.Error, StopIteration) as error:
        raise Unreadable(f"its first row cannot be read: {error}") from error


class _Behind(io.RawIOBase):
    """What was read already, then the rest of the stream, and what is to stand behind it."""

    def __init__(self, head: bytes, stream: BinaryIO, ending: Callable[[], bytes]) -> None:
        self._ending: Callable[[], bytes] | None = ending
        self._head = io.BytesIO(head)
        self._stream = stream

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        found = self._head.read(size) or self._stream.read(size)
        if not found and self._ending is not None:
            found, self._ending = self._ending(), None
        return found
