"""A whole collection, read in ranges of `_id` by several connections."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from bson.timestamp import Timestamp

from millrace.connect.crew import Crew
from millrace.data.batch import JSON, Checkpoint, Item
from millrace.data.dataclass import dataclass
from millrace.sources.mongodb import values
from millrace.sources.mongodb.catalog import ID, Collection
from millrace.sources.mongodb.client import Client, majority
from millrace.sources.mongodb.documents import Document, id_of, split
from millrace.sources.mongodb.plan import BATCH_ROWS, MOST_RANGES, Plan

# Documents whose _id is looked at to cut a collection into one range.
_SAMPLE = 20
# Values of `_id` in one question.
_IDS = 2_000

Filter = Mapping[str, Any]


@dataclass(slots=True)
class Range:
    """Documents of one collection from the `_id` ``low`` on and below ``high`` (None: without end), in MongoDB's order
    of all types; read up to ``at``. Each `_id` is extended JSON."""

    database: str
    collection: str
    low: str | None = None
    high: str | None = None
    at: str | None = None
    done: bool = False
    rows: int = 0

    def as_json(self) -> JSON:
        return [self.database, self.collection, self.low, self.high, self.at, self.done, self.rows]


def read(
    plan: Plan,
    known: JSON,
    where: Filter,
    cursor: Callable[[JSON], JSON],
    *,
    since: Timestamp | None = None,
) -> Iterator[Item]:
    """All documents ``where``, with checkpoints on the way where an `_id` tells them apart.

    ``known``: the ranges as an earlier read left them, None for a new one. ``cursor``: from the state of the ranges.
    ``since``: what was committed up to then is seen. The last checkpoint is the caller's.
    """
    ranges = [Range(*one) for one in known] if known else _cut(plan)
    left = [place for place, one in enumerate(ranges) if not one.done]
    readers = _Readers(plan, ranges, where, since)
    whole = max(_rows(plan), 1)
    count = max(min(plan.server.config.historical_parallelism, len(left)), 1)
    with Crew(count, left, readers.work).working() as crew:
        for place, documents in crew.parts():
            one = ranges[place]
            if documents is None:
                one.done, one.at = True, None
            else:
                yield from plan.rows.of(documents)
                one.rows += len(documents)
                if plan.object.view:
                    continue
                one.at = values.extended(id_of(documents[-1].data))
            if not plan.object.view:
                progress = min(sum(one.rows for one in ranges) / whole, 0.99)
                yield Checkpoint(cursor([one.as_json() for one in ranges]), progress=progress)


def snapshot(plan: Plan) -> Iterator[Item]:
    """All documents, as they are while they are read."""
    for item in read(plan, None, {}, lambda _: None):
        if not isinstance(item, Checkpoint):
            yield item


def chosen(plan: Plan, since: Timestamp | None = None) -> Iterator[Item]:
    """Documents with the keys of the reading. ``since``: as in `read`."""
    place = plan.object.key.index(ID)
    ids = [one for key in plan.reading.checked_keys() for one in values.ids_of(key[place])]
    for first in range(0, len(ids), _IDS):
        where = {ID: {"$in": ids[first : first + _IDS]}}
        for item in read(plan, None, where, lambda _: None, since=since):
            if not isinstance(item, Checkpoint):
                yield item


def documents(plan: Plan, client: Client, one: Range, where: Filter, session: Any = None) -> Iterator[bytes]:
    """The documents of a range that were not read yet, in the order of `_id`."""
    collection = majority(client, one.database, one.collection)
    options: dict[str, Any] = {"session": session, "batch_size": BATCH_ROWS}
    after = one.at or one.low
    if not plan.object.view:
        # Bounds of the index compare values of all types; conditions would see those of one.
        options |= {"hint": [(ID, 1)], "sort": [(ID, 1)]}
    found = collection.find_raw_batches(dict(where), **options)
    if not plan.object.view:
        if after is not None:
            found = found.min([(ID, values.of_extended(after))])
        if one.high is not None:
            found = found.max([(ID, values.of_extended(one.high))])
    for batch in found:
        for data in split(batch):
            if one.at is None or values.extended(id_of(data)) != one.at:
                yield data


def _cut(plan: Plan) -> list[Range]:
    return [one for collection in plan.object.collections for one in _ranges(plan, collection)]


def _ranges(plan: Plan, collection: Collection) -> list[Range]:
    if collection.view:
        return [Range(collection.database, collection.name)]
    with plan.server.asked(plan.object.name) as client:
        found = majority(client, collection.database, collection.name)
        parts = min(-(-int(found.estimated_document_count()) // plan.range_rows), MOST_RANGES)
        sample: list[Any] = []
        if parts > 1:
            stages = [{"$sample": {"size": parts * _SAMPLE}}, {"$project": {ID: 1}}, {"$sort": {ID: 1}}]
            sample = [one[ID] for one in found.aggregate(stages)]
    every = max(len(sample) // parts, 1) if parts > 1 else 1
    edges: list[str | None] = [*dict.fromkeys(values.extended(one) for one in sample[every::every][: parts - 1])]
    return [
        Range(collection.database, collection.name, low, high)
        for low, high in zip([None, *edges], [*edges, None], strict=True)
    ]


def _rows(plan: Plan) -> int:
    with plan.server.asked(plan.object.name) as client:
        return sum(
            client[one.database][one.name].estimated_document_count() for one in plan.object.collections if not one.view
        )


@dataclass(frozen=True, slots=True)
class _Readers:
    """The work of each connection. ``since``: what was committed up to then is seen."""

    plan: Plan
    ranges: Sequence[Range]
    where: Filter
    since: Timestamp | None

    def work(self, crew: Crew[list[Document]], number: int) -> None:
        del number  # they are all alike
        with self.plan.server.asked(self.plan.object.name) as client, self.plan.server.session(self.since) as session:
            while (place := crew.next()) is not None:
                if not self._range(crew, place, client, session):
                    return

    def _range(self, crew: Crew[list[Document]], place: int, client: Client, session: Any) -> bool:
        """False when nobody wants the documents any more."""
        one = self.ranges[place]
        database = one.database if self.plan.object.merged else None
        gathered: list[Document] = []
        for data in documents(self.plan, client, one, self.where, session):
            gathered.append(Document(data, database=database))
            if len(gathered) >= BATCH_ROWS:
                if not crew.put(place, gathered):
                    return False
                gathered = []
        if gathered and not crew.put(place, gathered):
            return False
        return crew.put(place, None)
