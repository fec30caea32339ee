"""MySQL and MariaDB, as they are asked by queries.

Sources: https://dev.mysql.com/doc/refman/8.4/en/innodb-consistent-read.html (one state for all reads of a transaction)
"""

from __future__ import annotations

import re
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from datetime import datetime

import pyarrow as pa

from millrace.connect.mysql.server import opened
from millrace.connect.mysql.session import Session
from millrace.connect.source import Context
from millrace.connect.sql.reading import objects
from millrace.connect.sql.reading.database import NotJoined, Part
from millrace.connect.sql.reading.database import Session as Asked
from millrace.connect.sql.reading.relation import Column, Relation
from millrace.data.batch import JSON
from millrace.errors import ConfigError, MillraceError, Transient
from millrace.sources.mysql import catalog, together
from millrace.sources.mysql.catalog import Described, quoted
from millrace.sources.mysql.config import Config
from millrace.sources.mysql.rows import Rows
from millrace.sources.mysql.types import NUMBERS, base

TITLE = "MySQL"
_SETTINGS = (
    # Text in quotes alone, and no writing whatever a statement says.
    "sql_mode = 'NO_ENGINE_SUBSTITUTION'",
    "TRANSACTION ISOLATION LEVEL REPEATABLE READ",
    "TRANSACTION READ ONLY",
    "net_write_timeout = 600",
)
_NUMBER = re.compile(r"-?\d+(\.\d+)?([eE][-+]?\d+)?")


@contextmanager
def connected(config: Config, context: Context) -> Generator[tuple[Session, int]]:
    """A session that reads, and how many seconds the server's clock on the wall is ahead of UTC."""
    where = config.place(TITLE)
    session = Session(opened(config, context.reach, where), where)
    try:
        ahead = int(session.rows("SELECT TIMESTAMPDIFF(SECOND, UTC_TIMESTAMP(), NOW())")[0][0])
        for setting in (*_SETTINGS, "time_zone = '+00:00'"):
            session.execute(f"SET SESSION {setting}")
        yield session, ahead
    finally:
        session.close()


class MySQL:
    """One database, and the one relation in it that is read."""

    # MySQL compares rows, but uses no index for that.
    rows_compare = False

    def __init__(
        self,
        config: Config,
        context: Context,
        described: Mapping[str, Described],
        left_out: Callable[[str, int], None],
        *,
        others: int = 0,
    ) -> None:
        """``others``: connections that read the relation beside the first one, where they can see what that sees."""
        self._config, self._context = config, context
        self._described, self._left_out = described, left_out
        self._others = others
        # Connections that see what the first one sees, and wait for somebody who reads by them.
        self._joined: list[Session] = []

    @contextmanager
    def session(self, snapshot: str | None = None) -> Generator[Reading]:
        if snapshot is not None:
            try:
                session = self._joined.pop()
            except IndexError:
                raise NotJoined from None
            with closing(session):
                yield self._reading(session, 0, lambda: None)
            return
        with connected(self._config, self._context) as (session, ahead), ExitStack() as stack:
            session.execute(together.BEGIN)
            self.hold(session)
            yield self._reading(session, ahead, lambda: self._shared(session, stack))

    def _reading(self, session: Session, ahead_s: int, shared: Callable[[], str | None]) -> Reading:
        now = self._context.clock.now
        return Reading(session, ahead_s, self._config, self._described, self._left_out, now, shared)

    def _shared(self, first: Session, stack: ExitStack) -> str | None:
        """Others see the state that the first connection, which has read nothing, sees from now on, until ``stack``
        ends. None where there are no others."""
        ((name, known),) = self._described.items()
        if not self._others or not together.keeps_states(first, self._config.db_name, name):
            return None
        joined = list[Session]()
        try:
            with connected(self._config, self._context) as (locking, _):
                for _ in range(self._others):
                    joined.append(stack.enter_context(connected(self._config, self._context))[0])
                begun = together.begun([first, *joined], locking, known.relation.source)
        except MillraceError:  # the server has no room for so many
            begun = False
        if not begun:
            for session in joined:
                session.close()
            first.execute(together.BEGIN)
        self.hold(first)
        self._joined = joined if begun else []
        return name if begun else None

    def hold(self, session: Session) -> None:
        """Until the transaction ends nobody changes the relations, which are as they were described. Raises Transient
        where one is gone or has other columns."""
        if self._config.ingestion_mode == "custom_sql":
            return
        for name, known in self._described.items():
            try:
                with objects.asked(name):
                    session.rows(f"SELECT 1 FROM {known.relation.source} LIMIT 0")
            except ConfigError:
                self._present(session, name)
                raise
            now = self._present(session, name)
            if (now.types, now.relation.columns) != (known.types, known.relation.columns):
                raise Transient(
                    f"{name} has changed while it was read: it has other columns.",
                    hint="Run again: columns are looked up anew.",
                )

    def _present(self, session: Session, name: str) -> Described:
        return objects.present(catalog.relations(session, self._config.db_name, name), name)

    def quoted(self, name: str) -> str:
        return quoted(name)

    def literal(self, text: str, column: Column) -> str:
        if base(column.type) in NUMBERS and _NUMBER.fullmatch(text):
            return text
        return "'" + text.replace("\\", "\\\\").replace("'", "''") + "'"

    def until(self, session: Asked, column: Column, delay_ms: int) -> str:
        assert isinstance(session, Reading)
        # A TIMESTAMP is a moment; other types say what the server's clock on the wall says.
        ahead = 0 if column.type.startswith("timestamp") else session.ahead_s
        now = f"UTC_TIMESTAMP(6) + INTERVAL {ahead} SECOND - INTERVAL {int(delay_ms) * 1000} MICROSECOND"
        return str(session.value(f"SELECT CAST({now} AS {'DATE' if column.type == 'date' else 'DATETIME(6)'})"))

    def back(self, text: str, column: Column) -> str:
        """Asked of relations that tell which rows were committed late, of which MySQL has none."""
        return self.literal(text, column)

    def bounds(self, session: Asked, relation: Relation, column: Column, parts: int) -> list[str]:
        """Of whole numbers alone: the server finds their least and their greatest at once, and knows no others without
        reading the table."""
        if column.kind != "whole":
            return []
        name = quoted(column.name)
        low, high = (session.value(f"SELECT {which}({name}) FROM {relation.source}") for which in ("MIN", "MAX"))
        if low is None or high is None:
            return []
        least, wide = int(low), int(high) - int(low)
        return [str(one) for one in sorted({least + wide * part // parts for part in range(1, parts)})]

    def seen(self, session: Asked, relation: Relation, where: str) -> JSON:
        del session, relation, where
        return None

    def unseen(self, seen: JSON) -> str:
        del seen
        return "FALSE"

    def written_anew(self, session: Asked, relation: Relation, seen: JSON) -> bool:
        del session, relation, seen
        return False


class Reading:
    """One connection, ``session``, that sees one state of the database."""

    def __init__(
        self,
        session: Session,
        ahead_s: int,
        config: Config,
        described: Mapping[str, Described],
        left_out: Callable[[str, int], None],
        now: Callable[[], datetime],
        shared: Callable[[], str | None],
    ) -> None:
        self.ahead_s = ahead_s
        self.session = session
        (self._name,) = described
        self._config, self._described = config, described
        self._left_out, self._now = left_out, now
        self._shared = shared

    def value(self, sql: str) -> str | None:
        with objects.asked(self._name):
            values = self.session.answer(sql)[1][0]
        return None if not values or values[0] is None else values[0].decode()

    def pairs(self, sql: str) -> list[tuple[int, int]]:
        with objects.asked(self._name):
            return [(int(one), int(other)) for one, other in self.session.rows(sql)]

    def values(self, sql: str) -> list[str]:
        with objects.asked(self._name):
            return [one.decode() for one in self.session.answer(sql)[1][0] if one is not None]

    def parts(self, relation: Relation, tail: str, cursor: Sequence[str]) -> Iterator[Part]:
        known = self._described[relation.name].types
        names = [one.name for one in relation.columns]
        columns = ", ".join(f"{known[name].sql.format(c=quoted(name))} AS {quoted(name)}" for name in names)
        rows = Rows(relation.name, known, self._config.special_values, self._now)
        places = [names.index(name) for name in cursor]
        with objects.asked(self._name):
            for part in self.session.parts(f"SELECT {columns} FROM {relation.source} {tail}"):
                try:
                    good, refused = rows.of(names, part)
                except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError) as cause:
                    raise Transient(
                        f"{relation.name} has changed while it was read: a column has another type.",
                        hint="Run again: columns are looked up anew.",
                    ) from cause
                yield Part(good, refused, tuple(_text(part.last(place)) for place in places), part.count)
        for name, left in rows.left_out.items():
            self._left_out(f"{relation.name}.{name}", left)

    def cancel(self) -> None:
        with suppress(MillraceError):
            self.session.break_off()

    def snapshot(self) -> str | None:
        return self._shared()


def _text(value: bytes | None) -> str | None:
    try:
        return None if value is None else value.decode()
    except UnicodeDecodeError:
        return None
