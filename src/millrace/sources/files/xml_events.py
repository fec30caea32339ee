"""XML: a row for each child of the root. Attributes and children are its fields; one that comes again is a list.

Entities are refused: one that stands for another ten times over makes a file of a kilobyte into one of gigabytes, and
one from elsewhere shows files of this machine (https://docs.python.org/3/library/xml.html#xml-security). A document
type that stands elsewhere is not read; what is named as if it declared it is refused, since expat would leave it out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, BinaryIO
from xml.parsers import expat

import numpy as np

from millrace.data import json_text
from millrace.data.rows import to_batch
from millrace.sources.files.config import Config
from millrace.sources.files.parts import BYTES, LARGEST, ROWS, Part, Unreadable
from millrace.sources.files.values import typed

_PIECE = 1 << 14
_TEXT = "value"
# The beginning of an element as it is written, and what stands in it for something else.
_BEGINNING = re.compile(rb"""<(?:[^"'<>]|"[^"]*"|'[^']*')*>""")
_ENTITY = re.compile(rb"&(?!#|(?:amp|lt|gt|quot|apos);)")


def read(stream: BinaryIO, config: Config) -> Iterator[Part]:
    """The rows of a file."""
    events = _Events()
    size = upto = 0
    ended = False
    broken: Unreadable | None = None
    while not ended:
        piece = stream.read(_PIECE)
        ended = not piece
        size += len(piece)
        try:
            events.parser.Parse(piece, ended)
        except expat.ExpatError as error:
            at = f"line {error.lineno}, column {error.offset + 1}"
            broken = Unreadable(f"it is no XML at {at}: {expat.ErrorString(error.code)}")
        except Unreadable as error:
            broken = error
        ended = ended or broken is not None
        if not events.done and size > LARGEST:
            raise Unreadable(f"the event behind row {upto} is larger than {LARGEST >> 20} MiB")
        if events.done and (ended or size >= BYTES or len(events.done) >= ROWS):
            rows, events.done = events.done, []
            numbers = np.arange(upto + 1, upto + 1 + len(rows), dtype=np.int64)
            upto += len(rows)
            batch = to_batch(rows, None)
            yield Part(typed(batch) if config.types == "values" else batch, numbers, (), upto)
            size = 0
    if broken is not None:
        raise broken


class _Events:
    """The events that have ended, and those elements that have begun."""

    def __init__(self) -> None:
        self.parser = expat.ParserCreate()
        self.parser.buffer_text = True
        self.parser.StartElementHandler = self._begins
        self.parser.EndElementHandler = self._ends
        self.parser.CharacterDataHandler = self._says
        self.parser.EntityDeclHandler = self._refuse
        self.parser.SkippedEntityHandler = self._refuse
        self.parser.StartDoctypeDeclHandler = self._is_of_type
        self.done: list[dict[str, Any]] = []
        # The fields and the text of each element that is open, the root's first.
        self._open: list[tuple[dict[str, Any], list[str]]] = []
        # Whether the last of them has had no child yet.
        self._childless = True
        self._has_type = False

    def _is_of_type(self, *_: object) -> None:
        self._has_type = True

    def _begins(self, _: str, attributes: dict[str, str]) -> None:
        if len(self._open) > json_text.DEEPEST:
            raise Unreadable(f"it nests deeper than {json_text.DEEPEST} levels")
        if attributes and self._has_type:
            # Of an entity in an attribute that it does not know, expat says nothing at all.
            written = _BEGINNING.match(self.parser.GetInputContext() or b"")
            if written is None or _ENTITY.search(written[0]):
                self._refuse()
        self._childless = True
        self._open.append((attributes, []))

    def _says(self, text: str) -> None:
        if len(self._open) > 1:
            self._open[-1][1].append(text)

    def _ends(self, name: str) -> None:
        fields, texts = self._open.pop()
        text = "".join(texts)
        # Between children, blanks alone are no text.
        text = text if self._childless or text.strip() else ""
        self._childless = False
        if len(self._open) > 1:
            value: Any = _with(fields, _TEXT, text) if fields else (text or None)
            _with(self._open[-1][0], name, value)
        elif self._open:
            self.done.append(_with(fields, _TEXT, text))

    def _refuse(self, *_: object) -> None:
        raise Unreadable("it has entities of its own, which are not read")


def _with(fields: dict[str, Any], name: str, value: Any) -> dict[str, Any]:
    """The fields with one more value; a second one of a name makes a list of both."""
    if value == "" and name == _TEXT:
        return fields
    if name not in fields:
        fields[name] = value
    elif isinstance(fields[name], list):
        fields[name].append(value)
    else:
        fields[name] = [fields[name], value]
    return fields
