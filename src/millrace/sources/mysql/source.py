"""The MySQL source: tables by queries in every query mode, or one query of the user's."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from millrace.connect.refused import refused
from millrace.connect.source import Context, Reading, Retention, Stream, Total, Verdict
from millrace.connect.source import Source as AnySource
from millrace.connect.sql.reading import modes, objects, reader, totals
from millrace.connect.sql.reading.plan import RANGE_ROWS, Plan
from millrace.data.batch import Item, Refused
from millrace.data.rows import to_batch
from millrace.errors import DataError, MillraceError
from millrace.sources.mysql import catalog
from millrace.sources.mysql.catalog import Described
from millrace.sources.mysql.config import Config
from millrace.sources.mysql.custom import custom
from millrace.sources.mysql.database import MySQL, connected
from millrace.sources.mysql.services import VARIANTS

if TYPE_CHECKING:
    from millrace.sources.mysql.log.log import Log


class Source(AnySource[Config]):
    """Tables and views of one database, each an object."""

    Config = Config
    title = "MySQL"
    defers_when_empty = True
    logged = True
    variants = VARIANTS
    range_rows = RANGE_ROWS

    def __init__(self, config: Config, context: Context | None = None) -> None:
        super().__init__(config, context)
        self._log: Log | None = None

    def check(self) -> list[Verdict]:
        """Findings in order: connection, objects. A "fail" is the last."""
        found: list[Verdict] = []
        try:
            with connected(self.config, self.context) as (session, _):
                version = ".".join(map(str, session.version))
                words = f"{self.config.db_user} is let in at {self.config.address}, {session.family} {version}"
                found.append(Verdict("connection", "pass", words))
                if self.config.ingestion_mode == "log":
                    from millrace.sources.mysql.log.checks import verdict  # with what follows a log

                    found.append(verdict(self._made_log(), session))
                    if found[-1].state == "fail":
                        return found
            return [*found, self._objects()]
        except MillraceError as error:
            return [*found, Verdict("objects" if found else "connection", "fail", error.message, error.hint)]

    def _objects(self) -> Verdict:
        known = self._described()
        if self.config.ingestion_mode == "custom_sql":
            (one,) = known.values()
            return Verdict("query", "pass", f"the query gives {len(one.relation.columns)} columns")
        if not known:
            return Verdict(
                "objects",
                "fail",
                f"there is no table in {self.config.db_name} that {self.config.db_user} may read",
                "Grant the user SELECT on the database.",
            )
        keyless = sum(not one.relation.identity for one in known.values())
        words = f"{len(known)} tables and views" + (f", {keyless} of them without a key" if keyless else "")
        return Verdict("objects", "pass", words)

    def streams(self) -> list[Stream]:
        described = self._described()
        found = [self._stream(one) for one in described.values()]
        if self.config.ingestion_mode != "log":
            return found
        from millrace.sources.mysql.log.log import followed  # with what follows a log

        return followed(described, found)

    def log(self) -> Log | None:
        return self._made_log() if self.config.ingestion_mode == "log" else None

    def _made_log(self) -> Log:
        if self._log is None:
            from millrace.sources.mysql.log.log import Log  # with what follows a log

            self._log = Log(self.config, self.context, self._described)
        return self._log

    def retention(self) -> Retention | None:
        return self._log.retention() if self._log is not None else None

    def read(self, reading: Reading) -> Iterator[Item]:
        return self._read(reading)

    def snapshot(self, stream: Stream) -> Iterator[Item]:
        plan, _ = self._plan(Reading(stream, "historical"))
        yield from reader.snapshot(plan)

    def _read(self, reading: Reading) -> Iterator[Item]:
        plan, database = self._plan(reading)
        if self.config.ingestion_mode == "log":
            from millrace.sources.mysql.log import history  # with what follows a log

            yield from history.read(plan, self.config, database)
        else:
            yield from reader.read(plan)

    def _plan(self, reading: Reading) -> tuple[Plan, MySQL]:
        name = reading.stream.name
        # Columns may have changed since the last read in this process.
        described = self._one(name)
        connections = self._connections(described)
        database = MySQL(self.config, self.context, {name: described}, self._left_out, others=connections - 1)
        plan = Plan(
            database=database,
            relation=described.relation,
            mode=modes.chosen(self.context.queries.get(name), described.relation),
            reading=reading,
            context=self.context,
            parallelism=connections,
            whole_every=timedelta(hours=self.config.full_load_every_hours),
            repeats_whole=not reading.stream.historical,
            range_rows=self.range_rows,
        )
        return plan, database

    def _connections(self, described: Described) -> int:
        """So many read all rows at a time, each a range of keys. In front of a log's place there is one."""
        relation = described.relation
        ranged = relation.pages and relation.of(relation.pages[0]).kind == "whole" and not described.view
        large = ranged and (relation.rows or 0) > self.range_rows
        return self.config.historical_parallelism if large and self.config.ingestion_mode == "table" else 1

    def replay(self, reading: Reading, rows: Sequence[str]) -> Iterator[Item]:
        """Rows as people mended them; values that still have no type are refused again, or left out."""
        name = reading.stream.name
        types = self._one(name).types
        schema = pa.schema([(column, type_.logical) for column, type_ in types.items()])
        good: list[dict[str, Any]] = []
        bad: list[tuple[str, str]] = []
        for text in rows:
            row: dict[str, Any] = json.loads(text)
            odd = [column for column in row if column in types and not _fits(row[column], schema.field(column))]
            if odd and self.config.special_values == "reject":
                words = (f"{column} is {row[column]}, which its type cannot say" for column in odd)
                bad.append(("; ".join(words), text))
            else:
                good.append(row | dict.fromkeys(odd))
        if good:
            yield to_batch(good, schema)
        if bad:
            yield Refused(refused(name, "INCOMPATIBLE_TYPE", bad, self.context.clock.now()))

    def totals(self, stream: Stream, *, above: int | None = None) -> Sequence[Total]:
        described = self._one(stream.name)
        database = MySQL(self.config, self.context, {stream.name: described}, self._left_out)
        return totals.totals(database, described.relation, above)

    def _one(self, name: str) -> Described:
        return objects.present(self._described(name), name)

    def _left_out(self, column: str, count: int) -> None:
        objects.left_out(self.context, column, count)

    def _described(self, only: str | None = None) -> Mapping[str, Described]:
        with connected(self.config, self.context) as (session, _):
            if self.config.ingestion_mode == "custom_sql":
                return custom(self.config, session)
            return catalog.relations(session, self.config.db_name, only)

    def _stream(self, described: Described) -> Stream:
        schema = pa.schema([(name, type_.logical) for name, type_ in described.types.items()])
        wished = self.context.queries.get(described.relation.name)
        return objects.stream(described.relation, schema, wished, historical=self.config.load_historical_data)


def _fits(value: Any, field: pa.Field) -> bool:
    if value is None:
        return True
    try:
        return to_batch([{field.name: value}], pa.schema([field])).schema.field(field.name).type == field.type
    except DataError:
        return False
