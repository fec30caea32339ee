"""Changes of one object, gathered and brought into rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import field
from typing import Any, Literal

import bson
from bson.timestamp import Timestamp

from millrace.connect.log import Followed
from millrace.connect.source import Context
from millrace.connect.sql.reading.objects import left_out
from millrace.data.batch import IN_HISTORY, Item, Passed, Truncated
from millrace.data.dataclass import dataclass
from millrace.sources.mongodb import values
from millrace.sources.mongodb.catalog import ID, Object
from millrace.sources.mongodb.client import Server, majority
from millrace.sources.mongodb.documents import Document, Rows, split
from millrace.sources.mongodb.plan import BATCH_ROWS
from millrace.sources.mongodb.values import DECODING

# The document of an update is gone: its delete comes later in the log.
_DELETED_LATER = "deleted_later"

_Operation = Literal["I", "U", "D"]
_OPERATIONS: Mapping[str, _Operation] = {"insert": "I", "update": "U", "replace": "U", "delete": "D"}
_Place = tuple[str, str]


@dataclass(slots=True)
class _Change:
    """What happened to one document; ``data`` None: how it is now has to be asked."""

    place: _Place
    id: Any
    operation: _Operation
    data: bytes | None


@dataclass(slots=True)
class Changes:
    """Changes of one object since they were last taken, in the order of the log."""

    followed: Followed
    object: Object
    server: Server
    rows: Rows
    _waiting: list[_Change] = field(default_factory=list[_Change])
    _buried: dict[tuple[_Place, str], Any] = field(default_factory=dict[tuple[_Place, str], Any])
    """Documents that were deleted before the history was read, which does not tell of them."""
    _passed: int = 0

    def add(self, kind: str, event: Mapping[str, Any]) -> int:
        """The change is among those that wait; how many bytes it has."""
        place, id_ = (event["ns"]["db"], event["ns"]["coll"]), event["documentKey"][ID]
        operation = _OPERATIONS[kind]
        if self._skips(event["clusterTime"]):
            self._passed += 1
            if operation == "D" and self.followed.load_mode != "append":
                self._buried[place, values.extended(id_)] = id_
            return 0
        if operation == "D":
            before = event.get("fullDocumentBeforeChange")
            data = before.raw if before is not None else bson.encode({ID: id_}, codec_options=DECODING)
        else:
            document = event.get("fullDocument")
            data = document.raw if document is not None else None
        self._waiting.append(_Change(place, id_, operation, data))
        return len(data or b"")

    def emptied(self, time: Timestamp, place: _Place) -> Iterator[Item]:
        """All changes so far, and then that the collection of this place has no documents."""
        yield from self._emptied(time, place, again=self._skips(time))

    def replaced(self, time: Timestamp, place: _Place) -> Iterator[Item]:
        """All changes so far, and then the documents of another collection that has the place's name from here on."""
        yield from self._emptied(time, place, again=True)

    def _emptied(self, time: Timestamp, place: _Place, *, again: bool) -> Iterator[Item]:
        name = self.followed.stream.name
        yield from self.taken()
        skips = self._skips(time)
        if self.followed.load_mode == "append":
            yield Passed(1, IN_HISTORY, name) if skips else Truncated(name)
            if again and not skips:
                yield from self._read_again(place)
            return
        yield Truncated(name)
        for one in self.object.collections:
            # Documents of other databases are in the same table; and a history that was read since does not bring back
            # what it brought.
            if again or (one.database, one.name) != place:
                yield from self._read_again((one.database, one.name))

    def _read_again(self, place: _Place) -> Iterator[Item]:
        """The documents that the collection of this place has now. What changes them since comes in the log."""
        with self.server.asked() as client:
            batches = majority(client, *place).find_raw_batches({}, batch_size=BATCH_ROWS)
            for batch in batches:
                yield from self.rows.of([self._document("I", place, data) for data in split(batch)])

    def taken(self) -> Iterator[Item]:
        """The changes, in their order; then there are none."""
        name = self.followed.stream.name
        changes, self._waiting = self._waiting, []
        self._ask(changes)
        told = [self._document(one.operation, one.place, one.data) for one in changes if one.data is not None]
        told += self._bury()
        if told:
            yield from self.rows.of(told)
        if lost := sum(one.data is None for one in changes):
            yield Passed(lost, _DELETED_LATER, name)
        if self._passed:
            yield Passed(self._passed, IN_HISTORY, name)
            self._passed = 0

    def say(self, context: Context) -> None:
        """The run says which values were left out, as a person wished."""
        for name, count in self.rows.left_out.items():
            left_out(context, f"{self.followed.stream.name}.{name}", count)

    def _skips(self, time: Timestamp) -> bool:
        """The change is in the history, or will be: of rows that are appended none comes twice. Others may come
        before a history that is not read yet, for that is newer."""
        history = self.followed.history
        if history is None:
            return self.followed.load_mode == "append" and self.followed.stream.historical
        seen = history.get("time")
        return seen is not None and time <= Timestamp(*seen)

    def _document(self, operation: _Operation, place: _Place, data: bytes) -> Document:
        return Document(data, operation, place[0] if self.object.merged else None)

    def _ask(self, changes: list[_Change]) -> None:
        """Documents of updates that the stream did not bring are as they are now."""
        asked = [one for one in changes if one.data is None]
        for place in dict.fromkeys(one.place for one in asked):
            ids = [one.id for one in asked if one.place == place]
            there = self._present(place, ids)
            for one in asked:
                if one.place == place:
                    one.data = there.get(values.extended(one.id))

    def _bury(self) -> list[Document]:
        """Deletes that were skipped are told all the same where the server has no such document now."""
        buried, self._buried = self._buried, {}
        told: list[Document] = []
        for place in dict.fromkeys(place for place, _ in buried):
            ids = {text: id_ for (other, text), id_ in buried.items() if other == place}
            there = self._present(place, [*ids.values()])
            told += [
                self._document("D", place, bson.encode({ID: id_}, codec_options=DECODING))
                for text, id_ in ids.items()
                if text not in there
            ]
        return told

    def _present(self, place: _Place, ids: list[Any]) -> dict[str, bytes]:
        """Documents that are there now, by their `_id` as extended JSON."""
        found: dict[str, bytes] = {}
        with self.server.asked() as client:
            collection = majority(client, *place)
            for at in range(0, len(ids), BATCH_ROWS):
                for batch in collection.find_raw_batches({ID: {"$in": ids[at : at + BATCH_ROWS]}}):
                    for data in split(batch):
                        found[values.extended(values.of_bson(data)[ID])] = data
        return found
