"""Documents as rows: one column for each field; those with a value that has no place are refused."""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import field
from datetime import datetime
from typing import Any, Literal

import bson
import pyarrow as pa
from bson.errors import BSONError
from bson.int64 import Int64
from bson.raw_bson import RawBSONDocument

from millrace.connect.refused import refused
from millrace.data import columns, json_text, types
from millrace.data.batch import Batch, Item, Refused
from millrace.data.dataclass import dataclass
from millrace.data.rows import to_batch
from millrace.sources.mongodb import values
from millrace.sources.mongodb.catalog import ID
from millrace.sources.mongodb.values import DECODING, PLAIN, Special

_OURS = frozenset((columns.OP_TYPE, columns.DATABASE_NAME))
# In the text of a refused document that is no BSON: its bytes.
_BYTES = "$bson"


@dataclass(frozen=True, slots=True)
class Document:
    """A document as the server sent it. ``operation``: what happened to it (`columns.OP_TYPE`), where a log says so.
    ``database``: where it is from, where collections are merged."""

    data: bytes
    operation: str | None = None
    database: str | None = None


@dataclass
class Rows:
    """Documents of one stream as rows. ``left_out`` counts values by field that were left out, where that is wished."""

    stream: str
    special: Literal["reject", "null"]
    plain_ids: bool
    now: Callable[[], datetime]
    left_out: Counter[str] = field(default_factory=Counter[str])

    def of(self, documents: Sequence[Document]) -> Iterator[Item]:
        """Rows of all documents, in their order, and what is refused of them."""
        found: list[dict[str, Any]] = []
        bad: list[tuple[str, str]] = []
        longs: set[str] = set()
        for one in documents:
            try:
                found.append(self._row(_read(one.data), one, longs))
            except _Refusal as why:
                bad.append((str(why), _shown(one)))
        if found:
            yield Batch(self.stream, self._batch(found, longs))
        if bad:
            yield Refused(refused(self.stream, "INCOMPATIBLE_TYPE", bad, self.now()))

    def again(self, texts: Sequence[str]) -> Iterator[Item]:
        """Refused documents, from their text, tried once more."""
        found: list[dict[str, Any]] = []
        bad: list[tuple[str, str]] = []
        longs: set[str] = set()
        for text in texts:
            try:
                found.append(self._row(*_of_text(text), longs))
            except _Refusal as why:
                bad.append((str(why), text))
        if found:
            yield Batch(self.stream, self._batch(found, longs))
        if bad:
            yield Refused(refused(self.stream, "INCOMPATIBLE_TYPE", bad, self.now()))

    def _row(self, document: dict[str, Any], about: Document, longs: set[str]) -> dict[str, Any]:
        row: dict[str, Any] = {}
        wrong: list[str] = []
        for name, value in document.items():
            if name == ID:
                row[ID] = values.id_text(value, plain=self.plain_ids)
                continue
            kind = type(value)
            if kind in PLAIN and name not in _OURS:
                row[name] = value
                continue
            if kind is Int64:
                longs.add(name)
            try:
                row[_free(name)] = values.column(value)
            except Special as what:
                if self.special == "null":
                    self.left_out[name] += 1
                    row[_free(name)] = None
                else:
                    wrong.append(f"{name} is {what}, which no type of a warehouse has")
        if wrong:
            raise _Refusal("; ".join(wrong))
        if about.operation is not None:
            row[columns.OP_TYPE] = about.operation
        if about.database is not None:
            row[columns.DATABASE_NAME] = about.database
        return row

    def _batch(self, rows: list[dict[str, Any]], longs: set[str]) -> pa.RecordBatch:
        batch = to_batch(rows, None)
        arrays, fields = list(batch.columns), list(batch.schema)
        for place, one in enumerate(fields):
            if one.name in _OURS:
                fields[place] = columns.ours(one.name, one.type)
            elif one.type == types.INTEGER and one.name in longs:
                # The server's type, though these values would fit a smaller one.
                arrays[place] = arrays[place].cast(types.LONG)
                fields[place] = one.with_type(types.LONG)
        return pa.RecordBatch.from_arrays(arrays, schema=pa.schema(fields)) if arrays else batch


class _Refusal(Exception):
    """Why a document cannot be a row."""


def split(data: bytes) -> Iterator[bytes]:
    """The documents of a batch, which stand one behind the other, each with its length in front."""
    at, end = 0, len(data)
    while at < end:
        size = int.from_bytes(data[at : at + 4], "little")
        yield data[at : at + size]
        at += size


def id_of(data: bytes) -> Any:
    """The `_id` of a document; None where it has none."""
    return RawBSONDocument(data, _RAW).get(ID)


_RAW = DECODING.with_options(document_class=RawBSONDocument)


def _read(data: bytes) -> dict[str, Any]:
    """The document. Raises _Refusal where the driver would leave something out or cannot read it."""
    try:
        found = bson.decode(data, DECODING)
        # Of a field that is there twice the driver keeps one.
        if len(bson.encode(found, codec_options=DECODING)) != len(data) and (name := _twice(data)) is not None:
            raise _Refusal(f"the document has the field {name} twice, and a row cannot")
    except (BSONError, OverflowError, ValueError, TypeError) as error:
        raise _Refusal(f"the document cannot be read: {error}") from error
    return found


class _Noticing(dict[str, Any]):
    """A document that notices when a field comes twice."""

    twice: str | None = None

    def __setitem__(self, name: str, value: Any) -> None:
        if name in self:
            self.twice = name
        super().__setitem__(name, value)


def _twice(data: bytes) -> str | None:
    """A field that is there twice in the document or in one inside it."""
    waiting: list[Any] = [bson.decode(data, DECODING.with_options(document_class=_Noticing))]
    while waiting:
        one = waiting.pop()
        if isinstance(one, _Noticing):
            if one.twice is not None:
                return one.twice
            waiting += one.values()
        elif isinstance(one, list):
            waiting += one
    return None


def _free(name: str) -> str:
    """A field of a document is never one of ours."""
    return f"src_{name}" if name in _OURS else name


def _shown(one: Document) -> str:
    """The document as text that `_of_text` reads: extended JSON, or its bytes where that would not say all."""
    about = {
        name: said
        for name, said in ((columns.OP_TYPE, one.operation), (columns.DATABASE_NAME, one.database))
        if said is not None
    }
    try:
        found = bson.decode(one.data, DECODING)
        if len(bson.encode(found, codec_options=DECODING)) == len(one.data) or _twice(one.data) is None:
            return values.extended(found | about)
    except (BSONError, OverflowError, ValueError, TypeError):
        pass
    return json_text.dumps({_BYTES: base64.b64encode(one.data).decode(), **about})


def _of_text(text: str) -> tuple[dict[str, Any], Document]:
    try:
        said = json_text.loads(text)
        operation, database = said.pop(columns.OP_TYPE, None), said.pop(columns.DATABASE_NAME, None)
        if _BYTES in said:
            data = base64.b64decode(said[_BYTES])
            return _read(data), Document(data, operation, database)
        found = values.of_extended(text)
        found = {name: value for name, value in found.items() if name not in _OURS}
        return found, Document(b"", operation, database)
    except (ValueError, TypeError, KeyError, AttributeError, BSONError) as error:
        raise _Refusal(f"the text is no document: {error}") from error
