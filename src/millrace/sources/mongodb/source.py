"""The MongoDB source: collections by change streams, or by queries in every query mode."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from millrace.connect.source import Context, Note, Reading, Retention, Stream, Total, Verdict
from millrace.connect.source import Source as AnySource
from millrace.connect.sql.reading import objects as listed
from millrace.data.batch import Item
from millrace.errors import ConfigError, ObjectRefused
from millrace.sources.mongodb import catalog, plan
from millrace.sources.mongodb.catalog import Object
from millrace.sources.mongodb.client import Server, majority
from millrace.sources.mongodb.config import Config
from millrace.sources.mongodb.documents import Rows
from millrace.sources.mongodb.plan import RANGE_ROWS, Plan

if TYPE_CHECKING:
    from millrace.sources.mongodb.log import Log


class Source(AnySource[Config]):
    """Collections of a deployment, each an object ``database.collection``, or those of one name together."""

    Config = Config
    title = "MongoDB"
    defers_when_empty = True
    logged = True
    range_rows = RANGE_ROWS

    def __init__(self, config: Config, context: Context | None = None) -> None:
        super().__init__(config, context)
        self._server = Server(config, self.context)
        self._log: Log | None = None

    def check(self) -> list[Verdict]:
        from millrace.sources.mongodb import checks

        return checks.verdicts(self.config, self.context)

    def streams(self) -> list[Stream]:
        return [
            self._stream(one)
            for one in catalog.objects(self._server).values()
            if self.config.ingestion_mode == "table" or not one.view
        ]

    def log(self) -> Log | None:
        if self.config.ingestion_mode == "log" and self._log is None:
            from millrace.sources.mongodb.log import Log

            self._log = Log(self._server, self.context)
        return self._log

    def read(self, reading: Reading) -> Iterator[Item]:
        return self._read(reading)

    def replay(self, reading: Reading, rows: Sequence[str]) -> Iterator[Item]:
        return self._rows(reading.stream.name).again(rows)

    def retention(self) -> Retention | None:
        return self._log.retention() if self._log is not None else None

    def totals(self, stream: Stream, *, above: int | None = None) -> Sequence[Total]:
        del above  # an `_id` may be of any type
        found = listed.present(catalog.objects(self._server), stream.name)
        with self._server.asked(stream.name) as client:
            return [
                Total(sum(majority(client, one.database, one.name).count_documents({}) for one in found.collections))
            ]

    def snapshot(self, stream: Stream) -> Iterator[Item]:
        from millrace.sources.mongodb import ranges

        object_ = listed.present(catalog.objects(self._server), stream.name)
        rows = self._rows(stream.name)
        reading = Reading(stream, "historical")
        yield from ranges.snapshot(Plan(self._server, object_, reading, self.context, rows, range_rows=self.range_rows))

    def close(self) -> None:
        self._server.close()

    def _read(self, reading: Reading) -> Iterator[Item]:
        from millrace.sources.mongodb import history, querying

        name = reading.stream.name
        object_ = listed.present(catalog.objects(self._server), name)
        made = Plan(self._server, object_, reading, self.context, self._rows(name), range_rows=self.range_rows)
        if self.config.ingestion_mode == "log":
            yield from history.read(made)
        else:
            relation = catalog.relation(self._server, object_)
            mode = plan.chosen(self.context.queries.get(name), relation)
            for field in (mode.timestamp, mode.incrementing):
                if field is not None and relation.find(field) is None:
                    text = f"no document of {name} that was looked at has the field {field}, by which it is queried"
                    self.context.note(Note("field_unseen", text))
            yield from querying.read(made.queried_by(relation, mode))
        for field, count in made.rows.left_out.items():
            listed.left_out(self.context, f"{name}.{field}", count)

    def _rows(self, name: str) -> Rows:
        return Rows(name, self.config.special_values, self.config.plain_ids, self.context.clock.now)

    def _stream(self, one: Object) -> Stream:
        cursor_field: str | None = None
        if self.config.ingestion_mode == "table":
            # What is wrong with the object is told when it is read.
            with suppress(ObjectRefused):
                relation = catalog.relation(self._server, one)
                try:
                    mode = plan.chosen(self.context.queries.get(one.name), relation)
                except ConfigError:
                    mode = plan.chosen(None, relation)
                cursor_field = mode.timestamp or mode.incrementing
        return Stream(
            one.name,
            key=one.key,
            cursor_field=cursor_field,
            historical=self.config.load_historical_data,
            deletes=self.config.ingestion_mode == "log",
            table=self._table(one),
        )

    def _table(self, one: Object) -> str:
        """A collection of the only database that is read is called as it is."""
        if one.merged or len(self.config.db_names) == 1:
            return one.collections[0].name.replace(".", "_")
        return one.name.replace(".", "_")
