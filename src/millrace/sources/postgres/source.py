"""The PostgreSQL source: tables by queries in every query mode, or one query of the user's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING

import pyarrow as pa

from millrace.connect.source import Context, Note, Reading, Retention, Stream, Total, Verdict
from millrace.connect.source import Source as AnySource
from millrace.connect.sql.reading import modes, objects, reader, totals
from millrace.connect.sql.reading.plan import PAGE_ROWS, RANGE_ROWS, Plan
from millrace.data.batch import Item
from millrace.sources.postgres import catalog, checks
from millrace.sources.postgres.catalog import Described
from millrace.sources.postgres.config import Config
from millrace.sources.postgres.custom import custom
from millrace.sources.postgres.database import Postgres
from millrace.sources.postgres.log import history
from millrace.sources.postgres.retry import retried
from millrace.sources.postgres.services import VARIANTS
from millrace.sources.postgres.session import Server

if TYPE_CHECKING:
    from millrace.sources.postgres.log.log import Log


class Source(AnySource[Config]):
    """Tables, views and partitioned tables of one database, each an object ``schema.table``."""

    Config = Config
    title = "PostgreSQL"
    defers_when_empty = True
    logged = True
    variants = VARIANTS
    page_rows, range_rows = PAGE_ROWS, RANGE_ROWS

    def __init__(self, config: Config, context: Context | None = None) -> None:
        super().__init__(config, context)
        self._server = Server(config, self.context)
        self._log: Log | None = None

    def check(self) -> list[Verdict]:
        return checks.verdicts(self.config, self.context)

    def streams(self) -> list[Stream]:
        found = [self._stream(one) for one in self._described().values()]
        if self.config.ingestion_mode != "log":
            return found
        from millrace.sources.postgres.log.log import followed  # which brings another driver

        return followed(self._server, found)

    def log(self) -> Log | None:
        return self._made_log() if self.config.ingestion_mode == "log" else None

    def _made_log(self) -> Log:
        if self._log is None:
            from millrace.sources.postgres.log.log import Log  # which brings another driver

            self._log = Log(self._server, self._described)
        return self._log

    def forget_log(self) -> None:
        self._made_log().forget()

    def read(self, reading: Reading) -> Iterator[Item]:
        return self._read(reading)

    def replay(self, reading: Reading, rows: Sequence[str]) -> Iterator[Item]:
        name = reading.stream.name
        types = self._one(name).types
        return retried(name, rows, types, self.config.special_values, self.context.clock.now())

    def snapshot(self, stream: Stream) -> Iterator[Item]:
        yield from reader.snapshot(self._plan(Reading(stream, "historical")))

    def _read(self, reading: Reading) -> Iterator[Item]:
        plan = self._plan(reading)
        yield from history.read(plan) if self.config.ingestion_mode == "log" else reader.read(plan)

    def _plan(self, reading: Reading) -> Plan:
        name = reading.stream.name
        # Columns may have changed since the last read in this process.
        described = self._one(name)
        relation = described.relation
        if described.partial:
            text = f"policies of the server may hide rows of {name} from {self.config.db_user}: those are not read"
            self.context.note(Note("rows_hidden", text))
        return Plan(
            database=Postgres(self._server, {name: described}, self._left_out),
            relation=relation,
            mode=modes.chosen(self.context.queries.get(name), relation),
            reading=reading,
            context=self.context,
            parallelism=self.config.historical_parallelism,
            whole_every=timedelta(hours=self.config.full_load_every_hours),
            repeats_whole=not reading.stream.historical,
            page_rows=self.page_rows,
            range_rows=self.range_rows,
        )

    def retention(self) -> Retention | None:
        return self._log.retention if self._log is not None else None

    def close(self) -> None:
        if self._log is not None:
            self._log.close()
        self._server.close()

    def totals(self, stream: Stream, *, above: int | None = None) -> Sequence[Total]:
        described = self._one(stream.name)
        database = Postgres(self._server, {stream.name: described}, self._left_out)
        return totals.totals(database, described.relation, above)

    def _one(self, name: str) -> Described:
        return objects.present(self._described(name), name)

    def _left_out(self, column: str, count: int) -> None:
        objects.left_out(self.context, column, count)

    def _described(self, only: str | None = None) -> Mapping[str, Described]:
        if self.config.ingestion_mode == "custom_sql":
            return custom(self._server)
        with self._server.session() as session:
            logged = self.config.ingestion_mode == "log"
            return catalog.relations(session, self.config.schemas, only, logged=logged)

    def _stream(self, described: Described) -> Stream:
        name = described.relation.name
        fields = [pa.field(name, type_.logical) for name, type_ in described.types.items() if type_.logical is not None]
        return objects.stream(
            described.relation,
            pa.schema(fields),
            self.context.queries.get(name),
            historical=self.config.load_historical_data,
            table=name.rpartition(".")[2] if name.startswith("public.") else name.replace(".", "_"),
        )
