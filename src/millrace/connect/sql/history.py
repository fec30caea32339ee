"""The statements of history mode (loading.md 20.3): one row for every version of a key, with the span of its validity.

The versions of a key that the table has and those that come in make one line of events in time; what the line says of
each version (until when, whether it is the last, whether a delete ended it) is then brought into the table. So late
versions find their place between their neighbours. A version that said nothing new has no row, so it is nobody's
neighbour when something comes late before it.
"""

from __future__ import annotations

from collections.abc import Sequence

from millrace.connect.destination import Table
from millrace.connect.sql.dialect import Dialect
from millrace.connect.sql.statements import FOREVER, GONE, arrived, columns, insert, temporary
from millrace.data import types
from millrace.data.dataclass import dataclass

_MS = "INTERVAL '1 millisecond'"


@dataclass(frozen=True, slots=True)
class Record:
    """``statements`` build temporary tables; ``counts`` gives inserted, updated, deleted, duplicates and stale; only
    ``effects`` touch the table."""

    statements: tuple[str, ...]
    counts: str
    effects: tuple[str, ...]


TEMPORARIES = ("rows", "batch", "known", "meeting", "events", "same", "line")


def record(dialect: Dialect, table: Table, target: str, *, at_ms: int) -> Record:
    """The statements that bring the rows of the temporary table `rows` into ``target`` as versions."""
    return _History(dialect, table, target, at_ms).record()


@dataclass(frozen=True, slots=True)
class _History:
    dialect: Dialect
    table: Table
    target: str
    at_ms: int

    def record(self) -> Record:
        return Record(
            statements=(
                self._batch(),
                self._known(),
                self._meeting(),
                self._events(),
                self._same(),
                self._line(),
            ),
            counts=self._counts(),
            effects=(self._close(), self._replace(), self._insert(), self._insert_gone()),
        )

    @property
    def seq(self) -> str:
        return self.dialect.quoted(self.table.meta.sequence)

    @property
    def keys(self) -> str:
        return self.dialect.names(self.table.key)

    @property
    def ingested(self) -> str:
        return self.dialect.quoted(self.table.meta.ingested_at)

    def temp(self, name: str) -> str:
        return temporary(self.dialect, name)

    def made(self, name: str, select: str) -> str:
        return f"CREATE {self.dialect.temp_words} {self.temp(name)} AS\n{select}"

    def on(self, a: str, b: str) -> str:
        names = [self.dialect.quoted(name) for name in self.table.key]
        return " AND ".join(f"{a}.{name} = {b}.{name}" for name in names)

    def equal(self, a: str, b: str) -> str:
        """Both rows say the same in all that is not metadata.

        One condition, not one for each column: DuckDB looks at each of those beside all others, for long in wide
        tables.
        """
        meta = self.table.meta
        own = {meta.ingested_at, meta.loaded_at, meta.marked_deleted, meta.source_modified_at}
        own |= {meta.valid_from, meta.valid_to, meta.is_active}
        tests: list[str] = []
        for column in self.table.columns:
            if column.name in own or column.name in self.table.key:
                continue
            one, two = (f"{side}.{self.dialect.quoted(column.name)}" for side in (a, b))
            if types.kind(self.dialect.kept(column.type)) == "JSON":
                text = self.dialect.types["VARCHAR"]
                one, two = f"CAST({one} AS {text})", f"CAST({two} AS {text})"
            tests.append(f"{one} IS DISTINCT FROM {two}")
        return f"CASE WHEN {' OR '.join(tests)} THEN FALSE ELSE TRUE END" if tests else "TRUE"

    def moment(self) -> str:
        """When a version came into being: the source's time, else the time of ingestion."""
        kinds = {column.name: types.kind(column.type) for column in self.table.columns}
        meta = self.table.meta
        candidates = [name for name in (meta.source_modified_at, *self.table.order) if name and name in kinds]
        zoned = self.dialect.types["TIMESTAMPTZ"]
        times = [
            f"CAST(r.{self.dialect.quoted(name)} AS {zoned})"
            for name in dict.fromkeys(candidates)
            if kinds[name] in ("TIMESTAMP", "TIMESTAMPTZ", "DATE")
        ]
        times.append(self.dialect.moment.format(ms=f"r.{self.ingested}"))
        return f"COALESCE({', '.join(times)})" if len(times) > 1 else times[0]

    def _batch(self) -> str:
        return self.made(
            "batch",
            f"SELECT k.*, row_number() OVER (PARTITION BY {self.keys}, __mr_since, {GONE} "
            f"ORDER BY __mr_ing DESC NULLS LAST, {self.seq} DESC) AS __mr_place\n"
            f"FROM (SELECT {self.dialect.names(self.table.key, 'r')}, {self.moment()} AS __mr_since, r.{GONE}, "
            f"r.{self.seq}, r.{self.ingested} AS __mr_ing FROM {self.temp('rows')} AS r) AS k",
        )

    def _known(self) -> str:
        q, meta = self.dialect.quoted, self.table.meta
        flag = f"COALESCE(t.{q(meta.marked_deleted)}, FALSE)" if meta.marked_deleted else "FALSE"
        return self.made(
            "known",
            f"SELECT {self.dialect.names(self.table.key, 't')}, t.{q(meta.valid_from)} AS __mr_since, "
            f"t.{q(meta.valid_to)} AS __mr_until, {flag} AS __mr_flagged, t.{self.ingested} AS __mr_ing, "
            f"t.{self.dialect.row_id} AS __mr_spot\n"
            f"FROM {self.target} AS t WHERE t.{q(meta.valid_from)} IS NOT NULL AND EXISTS "
            f"(SELECT 1 FROM {self.temp('batch')} AS b WHERE {self.on('b', 't')})",
        )

    def _meeting(self) -> str:
        """Versions that come in for a moment at which the table has one already."""
        return self.made(
            "meeting",
            f"SELECT b.{self.seq}, k.__mr_spot, COALESCE(k.__mr_ing > b.__mr_ing, FALSE) AS stale, "
            f"{self.equal('r', 't')} AS same\n"
            f"FROM {self.temp('batch')} AS b JOIN {self.temp('known')} AS k ON {self.on('k', 'b')} "
            f"AND k.__mr_since = b.__mr_since\n"
            f"JOIN {self.temp('rows')} AS r ON r.{self.seq} = b.{self.seq}\n"
            f"JOIN {self.target} AS t ON t.{self.dialect.row_id} = k.__mr_spot\n"
            f"WHERE b.__mr_place = 1 AND NOT b.{GONE}",
        )

    def _events(self) -> str:
        """Everything that happened to the keys, in order: 0 a version of the table, 1 its delete, 2 what comes in."""
        number, row_id = self.dialect.types["LONG"], self.dialect.row_id_type
        none, nowhere = f"CAST(NULL AS {number})", f"CAST(NULL AS {row_id})"
        k, b = self.dialect.names(self.table.key, "k"), self.dialect.names(self.table.key, "b")
        window = f"OVER (PARTITION BY {self.keys} ORDER BY __mr_since, __mr_source, {self.seq})"
        return self.made(
            "events",
            f"SELECT e.*, lag({GONE}) {window} AS __mr_gone_before, lag({self.seq}) {window} AS __mr_seq_before, "
            f"lag(__mr_spot) {window} AS __mr_spot_before\nFROM (\n"
            f"SELECT {k}, k.__mr_since, FALSE AS {GONE}, {none} AS {self.seq}, k.__mr_spot, 0 AS __mr_source "
            f"FROM {self.temp('known')} AS k\n"
            f"WHERE NOT EXISTS (SELECT 1 FROM {self.temp('meeting')} AS m "
            f"WHERE m.__mr_spot = k.__mr_spot AND NOT m.same AND NOT m.stale)\n"
            f"UNION ALL SELECT {k}, k.__mr_until + {_MS}, TRUE, {none}, {nowhere}, 1 "
            f"FROM {self.temp('known')} AS k WHERE k.__mr_flagged\n"
            f"UNION ALL SELECT {b}, b.__mr_since, b.{GONE}, b.{self.seq}, {nowhere}, 2 "
            f"FROM {self.temp('batch')} AS b WHERE b.__mr_place = 1\n"
            f"AND NOT EXISTS (SELECT 1 FROM {self.temp('meeting')} AS m "
            f"WHERE m.{self.seq} = b.{self.seq} AND (m.same OR m.stale))\n"
            f") AS e",
        )

    def _same(self) -> str:
        """Versions that say nothing that the version before them did not say."""
        events, rows = self.temp("events"), self.temp("rows")
        coming = f"FROM {events} AS e JOIN {rows} AS r ON r.{self.seq} = e.{self.seq}\n"
        only = f"WHERE NOT e.{GONE} AND e.__mr_gone_before = FALSE AND "
        return self.made(
            "same",
            f"SELECT e.{self.seq} {coming}"
            f"JOIN {self.target} AS p ON p.{self.dialect.row_id} = e.__mr_spot_before\n{only}{self.equal('r', 'p')}\n"
            f"UNION ALL SELECT e.{self.seq} {coming}"
            f"JOIN {rows} AS p ON p.{self.seq} = e.__mr_seq_before\n{only}{self.equal('r', 'p')}",
        )

    def _line(self) -> str:
        window = f"OVER (PARTITION BY {self.keys} ORDER BY __mr_since, __mr_source, {self.seq})"
        end = self.dialect.greater.format(a="__mr_since", b=f"__mr_next - {_MS}")
        return self.made(
            "line",
            f"SELECT e.*, CASE WHEN __mr_next IS NULL THEN CAST('{FOREVER}' AS {self.dialect.types['TIMESTAMPTZ']}) "
            f"ELSE {end} END AS __mr_until, __mr_next IS NULL AS __mr_active\n"
            f"FROM (SELECT {self.keys}, __mr_since, {GONE}, {self.seq}, __mr_spot, "
            f"lead(__mr_since) {window} AS __mr_next, "
            f"COALESCE(lead({GONE}) {window}, FALSE) AS __mr_ended, lag({GONE}) {window} AS __mr_gone_before\n"
            f"FROM {self.temp('events')} AS e WHERE {self.seq} IS NULL OR NOT EXISTS "
            f"(SELECT 1 FROM {self.temp('same')} AS s WHERE s.{self.seq} = e.{self.seq})) AS e",
        )

    def _counts(self) -> str:
        line, meeting, batch = self.temp("line"), self.temp("meeting"), self.temp("batch")
        replaced = f"(SELECT count(*) FROM {meeting} WHERE NOT same AND NOT stale)"
        return (
            f"SELECT (SELECT count(*) FROM {line} WHERE {self.seq} IS NOT NULL AND NOT {GONE}) - {replaced}, "
            f"{replaced}, "
            f"(SELECT count(*) FROM {line} WHERE {self.seq} IS NOT NULL AND {GONE} "
            f"AND COALESCE(__mr_gone_before, FALSE) = FALSE), "
            f"(SELECT count(*) FROM {batch} WHERE __mr_place > 1), "
            f"(SELECT count(*) FROM {meeting} WHERE stale AND NOT same)"
        )

    def _close(self) -> str:
        q, meta = self.dialect.quoted, self.table.meta
        news = [(meta.valid_to, "l.__mr_until"), (meta.is_active, "l.__mr_active")]
        if meta.marked_deleted:
            news.append((meta.marked_deleted, "l.__mr_ended"))
        sets = [f"{q(name)} = {value}" for name, value in news]
        if meta.loaded_at:
            sets.append(f"{q(meta.loaded_at)} = {self.at_ms}")
        differs = " OR ".join(f"t.{q(name)} IS DISTINCT FROM {value}" for name, value in news)
        return (
            f"UPDATE {self.target} AS t SET {', '.join(sets)}\nFROM {self.temp('line')} AS l\n"
            f"WHERE t.{self.dialect.row_id} = l.__mr_spot AND ({differs})"
        )

    def _replace(self) -> str:
        return (
            f"DELETE FROM {self.target} WHERE {self.dialect.row_id} IN "
            f"(SELECT __mr_spot FROM {self.temp('meeting')} WHERE NOT same AND NOT stale)"
        )

    def _values(self, line: str, *, gone: bool, names: Sequence[str]) -> dict[str, str]:
        meta = self.table.meta
        came = arrived(self.dialect, self.table)
        values = {name: came[name] for name in names}
        if meta.loaded_at:
            values[meta.loaded_at] = str(self.at_ms)
        if meta.marked_deleted:
            values[meta.marked_deleted] = "TRUE" if gone else f"{line}.__mr_ended"
        values[meta.valid_from] = f"{line}.__mr_since"
        values[meta.valid_to] = f"{line}.__mr_since" if gone else f"{line}.__mr_until"
        values[meta.is_active] = "FALSE" if gone else f"{line}.__mr_active"
        return {column.name: values[column.name] for column in columns(self.table) if column.name in values}

    def _insert(self) -> str:
        names = [column.name for column in self.table.columns]
        return insert(
            self.dialect,
            self.target,
            self._values("l", gone=False, names=names),
            f"FROM {self.temp('rows')} AS r JOIN {self.temp('line')} AS l ON l.{self.seq} = r.{self.seq} "
            f"WHERE NOT l.{GONE}",
        )

    def _insert_gone(self) -> str:
        """A delete of a key without any version before it is kept as a version without values, ended at once."""
        meta = self.table.meta
        own = (*self.table.key, meta.ingested_at, meta.source_modified_at)
        names = [column.name for column in self.table.columns if column.name in own]
        return insert(
            self.dialect,
            self.target,
            self._values("l", gone=True, names=names),
            f"FROM {self.temp('rows')} AS r JOIN {self.temp('line')} AS l ON l.{self.seq} = r.{self.seq} "
            f"WHERE l.{GONE} AND l.__mr_gone_before IS NULL",
        )
