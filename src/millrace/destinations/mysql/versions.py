"""The statements of history mode (loading.md 20.3), as MySQL has them.

The same line of events as in `connect.sql.history`; but a version of the table is found by its key and its beginning,
and each statement names each temporary table but once.
"""

from __future__ import annotations

from collections.abc import Sequence

from millrace.connect.destination import Table
from millrace.connect.sql.dialect import Dialect
from millrace.connect.sql.history import Record
from millrace.connect.sql.statements import GONE, arrived, columns, equal, insert, temporary
from millrace.data import types
from millrace.data.dataclass import dataclass

# What is created for a load beside `connect.sql.history.TEMPORARIES`.
MORE = ("numbered", "before")

_FOREVER = "CAST('9999-12-31 23:59:59' AS DATETIME(6))"
_KNOWN, _ENDED, _COMING = 0, 1, 2


def record(dialect: Dialect, table: Table, target: str, *, at_ms: int) -> Record:
    """The statements that bring the rows of the temporary table `rows` into ``target`` as versions."""
    made = _Versions(dialect, table, target, at_ms)
    return Record(
        statements=(
            made.batch(),
            made.known(),
            made.meeting(),
            *made.events(),
            made.numbered(),
            made.before(),
            *made.same(),
            made.line(),
        ),
        counts=made.counts(),
        effects=(made.close(), made.replaced(), made.inserted(), made.inserted_gone()),
    )


def _json_form(dialect: Dialect) -> str:
    """MySQL brings JSON into a form of its own, so the staged text must take it too before both are compared."""
    return "{c}" if dialect.name == "mariadb" else "CAST(CAST({c} AS JSON) AS CHAR)"


@dataclass(frozen=True, slots=True)
class _Versions:
    dialect: Dialect
    table: Table
    target: str
    at_ms: int

    @property
    def seq(self) -> str:
        return self.dialect.quoted(self.table.meta.sequence)

    @property
    def keys(self) -> str:
        return self.dialect.names(self.table.key)

    def named(self, alias: str) -> str:
        return self.dialect.names(self.table.key, alias)

    def temp(self, name: str) -> str:
        return temporary(self.dialect, name)

    def made(self, name: str, select: str, keys: str = "") -> str:
        return f"CREATE {self.dialect.temp_words} {self.temp(name)} {keys}AS\n{select}"

    def on(self, a: str, b: str) -> str:
        return equal(self.dialect, self.table.key, a, b)

    def at(self, alias: str, since: str) -> str:
        """The version ``alias`` of the table began at ``since``."""
        return f"{alias}.{self.dialect.quoted(self.table.meta.valid_from)} = {since}"

    def alike(self, a: str, b: str) -> str:
        """Both rows say the same in all that is not metadata."""
        meta = self.table.meta
        own = {meta.ingested_at, meta.loaded_at, meta.marked_deleted, meta.source_modified_at}
        own |= {meta.valid_from, meta.valid_to, meta.is_active}
        tests: list[str] = []
        for column in self.table.columns:
            if column.name in own or column.name in self.table.key:
                continue
            one, two = (f"{side}.{self.dialect.quoted(column.name)}" for side in (a, b))
            if types.kind(self.dialect.kept(column.type)) == "JSON":
                one, two = (_json_form(self.dialect).format(c=side) for side in (one, two))
            tests.append(f"{one} <=> {two}")
        return " AND ".join(tests) or "TRUE"

    def moment(self) -> str:
        """When a version came into being: the source's time, else the time of ingestion."""
        q, meta = self.dialect.quoted, self.table.meta
        kinds = {column.name: types.kind(column.type) for column in self.table.columns}
        candidates = [name for name in (meta.source_modified_at, *self.table.order) if name and name in kinds]
        times = [
            f"CAST(r.{q(name)} AS DATETIME(6))"
            for name in dict.fromkeys(candidates)
            if kinds[name] in ("TIMESTAMP", "TIMESTAMPTZ", "DATE")
        ]
        times.append(self.dialect.moment.format(ms=f"r.{q(meta.ingested_at)}"))
        return f"COALESCE({', '.join(times)})"

    def batch(self) -> str:
        ingested = self.dialect.quoted(self.table.meta.ingested_at)
        return self.made(
            "batch",
            f"SELECT k.*, row_number() OVER (PARTITION BY {self.keys}, __mr_since, {GONE} "
            f"ORDER BY __mr_ing DESC, {self.seq} DESC) AS __mr_place\n"
            f"FROM (SELECT {self.named('r')}, {self.moment()} AS __mr_since, r.{GONE}, r.{self.seq}, "
            f"r.{ingested} AS __mr_ing FROM {self.temp('rows')} AS r) AS k",
            f"(PRIMARY KEY ({self.seq})) ",
        )

    def known(self) -> str:
        """Versions that the table has of the keys."""
        q, meta = self.dialect.quoted, self.table.meta
        flag = f"COALESCE(t.{q(meta.marked_deleted)}, FALSE)" if meta.marked_deleted else "FALSE"
        return self.made(
            "known",
            f"SELECT {self.named('t')}, t.{q(meta.valid_from)} AS __mr_since, t.{q(meta.valid_to)} AS __mr_until, "
            f"{flag} AS __mr_flagged, t.{q(meta.ingested_at)} AS __mr_ing\n"
            f"FROM (SELECT DISTINCT {self.keys} FROM {self.temp('batch')}) AS b "
            f"JOIN {self.target} AS t ON {self.on('b', 't')}\nWHERE t.{q(meta.valid_from)} IS NOT NULL",
        )

    def meeting(self) -> str:
        """Versions that come in for a moment at which the table has one already."""
        return self.made(
            "meeting",
            f"SELECT {self.named('k')}, k.__mr_since, b.{self.seq}, "
            f"COALESCE(k.__mr_ing > b.__mr_ing, FALSE) AS stale, {self.alike('r', 't')} AS same\n"
            f"FROM {self.temp('batch')} AS b JOIN {self.temp('known')} AS k ON {self.on('k', 'b')} "
            f"AND k.__mr_since = b.__mr_since\n"
            f"JOIN {self.temp('rows')} AS r ON r.{self.seq} = b.{self.seq}\n"
            f"JOIN {self.target} AS t ON {self.on('t', 'k')} AND {self.at('t', 'k.__mr_since')}\n"
            f"WHERE b.__mr_place = 1 AND NOT b.{GONE}",
            f"(KEY ({self.seq})) ",
        )

    def events(self) -> tuple[str, ...]:
        """Everything that happened to the keys: versions of the table, their deletes, what comes in."""
        none = "CAST(NULL AS SIGNED)"
        into = f"INSERT INTO {self.temp('events')}\n"
        return (
            self.made(
                "events",
                f"SELECT {self.named('k')}, k.__mr_since, FALSE AS {GONE}, {none} AS {self.seq}, "
                f"{_KNOWN} AS __mr_source\n"
                f"FROM {self.temp('known')} AS k LEFT JOIN {self.temp('meeting')} AS m ON {self.on('m', 'k')} "
                f"AND m.__mr_since = k.__mr_since AND NOT m.same AND NOT m.stale\nWHERE m.{self.seq} IS NULL",
            ),
            f"{into}SELECT {self.named('k')}, k.__mr_until + {self.dialect.millisecond}, TRUE, NULL, {_ENDED} "
            f"FROM {self.temp('known')} AS k WHERE k.__mr_flagged",
            f"{into}SELECT {self.named('b')}, b.__mr_since, b.{GONE}, b.{self.seq}, {_COMING}\n"
            f"FROM {self.temp('batch')} AS b LEFT JOIN {self.temp('meeting')} AS m ON m.{self.seq} = b.{self.seq} "
            f"AND (m.same OR m.stale)\nWHERE b.__mr_place = 1 AND m.{self.seq} IS NULL",
        )

    def numbered(self) -> str:
        """The events, each with what was before it."""
        window = f"OVER (PARTITION BY {self.keys} ORDER BY __mr_since, __mr_source, {self.seq})"
        return self.made(
            "numbered",
            f"SELECT e.*, lag({GONE}) {window} AS __mr_gone_before, lag({self.seq}) {window} AS __mr_seq_before, "
            f"lag(__mr_since) {window} AS __mr_since_before\nFROM {self.temp('events')} AS e",
            f"(KEY ({self.seq})) ",
        )

    def before(self) -> str:
        """Rows of the load that another one of it follows, by the number of that."""
        return self.made(
            "before",
            f"SELECT e.{self.seq} AS __mr_next, p.* FROM {self.temp('numbered')} AS e\n"
            f"JOIN {self.temp('rows')} AS p ON p.{self.seq} = e.__mr_seq_before\n"
            f"WHERE e.{self.seq} IS NOT NULL AND NOT e.{GONE} AND e.__mr_gone_before = FALSE",
            "(PRIMARY KEY (__mr_next)) ",
        )

    def same(self) -> tuple[str, ...]:
        """Versions that say nothing that the version before them did not say."""
        return (
            self.made(
                "same",
                f"SELECT e.{self.seq} FROM {self.temp('numbered')} AS e "
                f"JOIN {self.temp('rows')} AS r ON r.{self.seq} = e.{self.seq}\n"
                f"JOIN {self.target} AS p ON {self.on('p', 'e')} AND {self.at('p', 'e.__mr_since_before')}\n"
                f"WHERE NOT e.{GONE} AND e.__mr_gone_before = FALSE AND e.__mr_seq_before IS NULL "
                f"AND {self.alike('r', 'p')}",
                f"(KEY ({self.seq})) ",
            ),
            f"INSERT INTO {self.temp('same')}\nSELECT r.{self.seq} FROM {self.temp('before')} AS p "
            f"JOIN {self.temp('rows')} AS r ON r.{self.seq} = p.__mr_next\nWHERE {self.alike('r', 'p')}",
        )

    def line(self) -> str:
        window = f"OVER (PARTITION BY {self.keys} ORDER BY __mr_since, __mr_source, {self.seq})"
        return self.made(
            "line",
            f"SELECT e.*, CASE WHEN __mr_next IS NULL THEN {_FOREVER} "
            f"ELSE greatest(__mr_since, __mr_next - {self.dialect.millisecond}) END AS __mr_until, "
            "__mr_next IS NULL AS __mr_active\n"
            f"FROM (SELECT {self.named('e')}, e.__mr_since, e.{GONE}, e.{self.seq}, e.__mr_source, "
            f"lead(__mr_since) {window} AS __mr_next, COALESCE(lead({GONE}) {window}, FALSE) AS __mr_ended, "
            f"lag({GONE}) {window} AS __mr_gone_before\n"
            f"FROM (SELECT n.* FROM {self.temp('numbered')} AS n LEFT JOIN {self.temp('same')} AS s "
            f"ON s.{self.seq} = n.{self.seq} WHERE s.{self.seq} IS NULL) AS e) AS e",
            f"(KEY ({self.seq})) ",
        )

    def counts(self) -> str:
        line, meeting, batch = self.temp("line"), self.temp("meeting"), self.temp("batch")
        came = f"{self.seq} IS NOT NULL"
        return (
            "SELECT l.versions - m.replaced, m.replaced, l.deletes, b.twice, m.stale\n"
            f"FROM (SELECT count(CASE WHEN {came} AND NOT {GONE} THEN 1 END) AS versions, "
            f"count(CASE WHEN {came} AND {GONE} AND NOT COALESCE(__mr_gone_before, FALSE) THEN 1 END) AS deletes "
            f"FROM {line}) AS l,\n"
            f"(SELECT count(CASE WHEN NOT same AND NOT stale THEN 1 END) AS replaced, "
            f"count(CASE WHEN stale AND NOT same THEN 1 END) AS stale FROM {meeting}) AS m,\n"
            f"(SELECT count(CASE WHEN __mr_place > 1 THEN 1 END) AS twice FROM {batch}) AS b"
        )

    def close(self) -> str:
        q, meta = self.dialect.quoted, self.table.meta
        news = {meta.valid_to: "l.__mr_until", meta.is_active: "l.__mr_active"}
        if meta.marked_deleted:
            news[meta.marked_deleted] = "l.__mr_ended"
        differs = " OR ".join(self.dialect.differs.format(a=f"t.{q(name)}", b=value) for name, value in news.items())
        sets = news | ({meta.loaded_at: str(self.at_ms)} if meta.loaded_at else {})
        where = f"l.__mr_source = {_KNOWN} AND {self.on('t', 'l')} AND {self.at('t', 'l.__mr_since')}"
        return self.dialect.update(self.target, sets, f"{self.temp('line')} AS l", f"{where} AND ({differs})")

    def replaced(self) -> str:
        return (
            f"DELETE t FROM {self.target} AS t JOIN {self.temp('meeting')} AS m ON {self.on('t', 'm')} "
            f"AND {self.at('t', 'm.__mr_since')}\nWHERE NOT m.same AND NOT m.stale"
        )

    def _values(self, *, gone: bool, names: Sequence[str]) -> dict[str, str]:
        meta = self.table.meta
        came = arrived(self.dialect, self.table)
        values = {name: came[name] for name in names}
        if meta.loaded_at:
            values[meta.loaded_at] = str(self.at_ms)
        if meta.marked_deleted:
            values[meta.marked_deleted] = "TRUE" if gone else "l.__mr_ended"
        values[meta.valid_from] = "l.__mr_since"
        values[meta.valid_to] = "l.__mr_since" if gone else "l.__mr_until"
        values[meta.is_active] = "FALSE" if gone else "l.__mr_active"
        return {column.name: values[column.name] for column in columns(self.table) if column.name in values}

    def _coming(self, where: str) -> str:
        return (
            f"FROM {self.temp('line')} AS l JOIN {self.temp('rows')} AS r ON r.{self.seq} = l.{self.seq} "
            f"WHERE l.__mr_source = {_COMING} AND {where}"
        )

    def inserted(self) -> str:
        names = [column.name for column in self.table.columns]
        return insert(self.dialect, self.target, self._values(gone=False, names=names), self._coming(f"NOT l.{GONE}"))

    def inserted_gone(self) -> str:
        """A delete of a key without any version before it is kept as a version without values, ended at once."""
        meta = self.table.meta
        own = (*self.table.key, meta.ingested_at, meta.source_modified_at)
        names = [column.name for column in self.table.columns if column.name in own]
        return insert(
            self.dialect,
            self.target,
            self._values(gone=True, names=names),
            self._coming(f"l.{GONE} AND l.__mr_gone_before IS NULL"),
        )
