"""The statements of history mode (loading.md 20.3): one row for every version of a key, with the span of its validity.

What is known of the keys and what comes in make one line of events in time; what the line says of each version (until
when, whether it is the last, whether a delete ended it) is then brought into the table. So late versions find their
place between their neighbours, and neither the order in which events arrive nor how loads divide them matters.

For that, events without a row of their own must not be forgotten: versions that say what the one before them says, and
deletes. They are in a table of moments beside (`moments`). A late version between two that are alike makes the second
one a row; a late one that is like the row behind it takes that one back among the moments. Where the source tells no
times, what is seen again is as old as its ingestion, and of each version only the last such moment is kept: whoever
reads a whole table each hour would otherwise keep all of its keys each time.

Each statement names each temporary table but once, as MySQL demands, and knows rows by their key and beginning.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from millrace.connect.destination import Column, Limits, Meta, Table
from millrace.connect.sql.dialect import Dialect
from millrace.connect.sql.statements import GONE, arrived, columns, equal, insert, moments_name, temporary
from millrace.data import types
from millrace.data.dataclass import dataclass

# What an event is. Those from SEEN to LONE stand in the table of moments; ENDED is read from the row that it ended, in
# tables whose deletes were not kept. EARLY comes before the version of its moment, LONE has a row without values.
_VERSION, _SEEN, _DELETED, _EARLY, _LONE, _ENDED, _COMING = range(7)
# Why a row that comes in is compared: with its neighbour in the line, or with the row whose place it would take.
_NEAR, _SAME_MOMENT = 1, 2

_WHAT = "what"
# A delete `j` of the moment, and of the time of ingestion, of the version behind it.
_IS_EARLY = "COALESCE(j.__mr_next_since = j.__mr_since AND j.__mr_next_ing = j.__mr_ing, FALSE)"


@dataclass(frozen=True, slots=True)
class Record:
    """``statements`` build temporary tables; ``counts`` gives inserted, updated, deleted, duplicates and stale; only
    ``effects`` touch the tables."""

    statements: tuple[str, ...]
    counts: str
    effects: tuple[str, ...]


TEMPORARIES = ("rows", "batch", "known", "noted", "events", "ranked", "numbered", "pairs", "before", "alike", "judged",
               "line")  # fmt: skip


def moments(table: Table, limits: Limits) -> Table:
    """The table of moments beside a table with history."""
    meta = table.meta
    own = [column for column in table.columns if column.name in (*table.key, meta.ingested_at, _modified(table))]
    return Table(
        name=moments_name(meta.loads, table.name, limits),
        columns=(*own, Column(_WHAT, types.SHORT)),
        meta=Meta(meta.ingested_at, meta.sequence, meta.op_type, valid_from=meta.valid_from, valid_to="", is_active=""),
        key=table.key,
        mode="history",
    )


def is_of_key(dialect: Dialect, beside: Table, found: Collection[str]) -> bool:
    """Whether the table of moments, which has these columns, was made for the key that the table has now."""
    names = {dialect.fold(name) for name in found}
    every = {dialect.fold(name) for column in columns(beside) for name in (column.name, *column.formerly)}
    keyed = [column for column in beside.columns if column.name in beside.key]
    lacking = any(names.isdisjoint(map(dialect.fold, (column.name, *column.formerly))) for column in keyed)
    return names <= every and not lacking


def record(dialect: Dialect, table: Table, target: str, beside: str, *, at_ms: int) -> Record:
    """The statements that bring the rows of the temporary table `rows` into ``target`` as versions; ``beside`` is its
    table of moments."""
    return _History(dialect, table, target, beside, at_ms).record()


def _modified(table: Table) -> str | None:
    """The column with the source's time of a version, unless it is part of the key."""
    name = table.meta.source_modified_at
    have = {column.name for column in table.columns}
    return name if name in have and name not in table.key else None


@dataclass(frozen=True, slots=True)
class _History:
    dialect: Dialect
    table: Table
    target: str
    beside: str
    at_ms: int

    def record(self) -> Record:
        return Record(
            statements=(
                self._batch(),
                self._known(),
                self._noted(),
                *self._events(),
                self._ranked(),
                self._numbered(),
                *self._pairs(),
                *self._alike(),
                self._judged(),
                self._line(),
            ),
            counts=self._counts(),
            effects=(
                self._unfold(),
                self._remove(),
                self._close(),
                self._insert(),
                self._insert_gone(),
                self._forget(),
                self._remember(),
            ),
        )

    # Words.

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

    def made(self, name: str, select: str) -> str:
        return f"CREATE {self.dialect.temp_words} {self.temp(name)} AS\n{select}"

    def into(self, name: str, select: str) -> str:
        return f"INSERT INTO {self.temp(name)}\n{select}"

    def on(self, a: str, b: str) -> str:
        return equal(self.dialect, self.table.key, a, b)

    def at(self, alias: str, since: str) -> str:
        """The row ``alias`` of a table began at ``since``."""
        return f"{alias}.{self.dialect.quoted(self.table.meta.valid_from)} = {since}"

    def modified(self, alias: str) -> str:
        name = _modified(self.table)
        return f", {alias}.{self.dialect.quoted(name)} AS __mr_mod" if name else ""

    @property
    def times(self) -> list[str]:
        """The source's own times of a row ``r``, the first that is there counts."""
        kinds = {column.name: types.kind(column.type) for column in self.table.columns}
        candidates = [
            name for name in (self.table.meta.source_modified_at, *self.table.order) if name and name in kinds
        ]
        return [
            f"CAST(r.{self.dialect.quoted(name)} AS {self.dialect.moment_type})"
            for name in dict.fromkeys(candidates)
            if kinds[name] in ("TIMESTAMP", "TIMESTAMPTZ", "DATE")
        ]

    def alike(self, a: str, b: str) -> str:
        """Both rows say the same in all that is not metadata.

        One condition, not one for each column: DuckDB looks at each of those beside all others, for long in wide
        tables.
        """
        meta = self.table.meta
        own = {meta.ingested_at, meta.loaded_at, meta.marked_deleted, meta.source_modified_at}
        own |= {meta.valid_from, meta.valid_to, meta.is_active, *self.table.key}
        tests: list[str] = []
        for column in self.table.columns:
            if column.name in own:
                continue
            one, two = (f"{side}.{self.dialect.quoted(column.name)}" for side in (a, b))
            if types.kind(self.dialect.kept(column.type)) == "JSON":
                one, two = (self.dialect.json_text.format(c=side) for side in (one, two))
            tests.append(self.dialect.differs.format(a=one, b=two))
        return f"CASE WHEN {' OR '.join(tests)} THEN FALSE ELSE TRUE END" if tests else "TRUE"

    # The line.

    def _batch(self) -> str:
        ingested = self.dialect.quoted(self.table.meta.ingested_at)
        moment = f"COALESCE({', '.join([*self.times, self.dialect.moment.format(ms=f'r.{ingested}')])})"
        return self.made(
            "batch",
            f"SELECT k.*, row_number() OVER (PARTITION BY {self.keys}, __mr_since, {GONE} "
            f"ORDER BY __mr_ing DESC{self.dialect.nulls_last}, {self.seq} DESC) AS __mr_place\n"
            f"FROM (SELECT {self.named('r')}, {moment} AS __mr_since, r.{GONE}, r.{self.seq}, "
            f"r.{ingested} AS __mr_ing{self.modified('r')} FROM {self.temp('rows')} AS r) AS k",
        )

    def _touched(self) -> str:
        return f"(SELECT DISTINCT {self.keys} FROM {self.temp('batch')}) AS b"

    def _known(self) -> str:
        """Versions that the table has of the keys."""
        q, meta = self.dialect.quoted, self.table.meta
        flag = f"COALESCE(t.{q(meta.marked_deleted)}, FALSE)" if meta.marked_deleted else "FALSE"
        return self.made(
            "known",
            f"SELECT {self.named('t')}, t.{q(meta.valid_from)} AS __mr_since, t.{q(meta.valid_to)} AS __mr_until, "
            f"{flag} AS __mr_flagged, t.{q(meta.ingested_at)} AS __mr_ing{self.modified('t')}\n"
            f"FROM {self._touched()} JOIN {self.target} AS t ON {self.on('b', 't')}\n"
            f"WHERE t.{q(meta.valid_from)} IS NOT NULL",
        )

    def _noted(self) -> str:
        """Moments that are kept of the keys."""
        q, meta = self.dialect.quoted, self.table.meta
        return self.made(
            "noted",
            f"SELECT {self.named('m')}, m.{q(meta.valid_from)} AS __mr_since, m.{q(meta.ingested_at)} AS __mr_ing, "
            f"m.{q(_WHAT)} AS __mr_what{self.modified('m')}\n"
            f"FROM {self._touched()} JOIN {self.beside} AS m ON {self.on('b', 'm')}",
        )

    def _events(self) -> tuple[str, ...]:
        """Everything that happened to the keys."""
        mod = ", {}.__mr_mod" if _modified(self.table) else ""
        none = ", NULL" if mod else ""
        after = f"k.__mr_until + {self.dialect.millisecond}"
        return (
            self.made(
                "events",
                f"SELECT {self.named('b')}, b.__mr_since, b.__mr_ing, {_COMING} AS __mr_what, "
                f"NULLIF(b.{self.seq}, -1) AS {self.seq}, b.{GONE}{mod.format('b')}\n"
                f"FROM {self.temp('batch')} AS b WHERE b.__mr_place = 1",
            ),
            self.into(
                "events",
                f"SELECT {self.named('k')}, k.__mr_since, k.__mr_ing, {_VERSION}, NULL, FALSE{mod.format('k')}\n"
                f"FROM {self.temp('known')} AS k LEFT JOIN {self.temp('noted')} AS n ON {self.on('n', 'k')} "
                f"AND n.__mr_what = {_LONE} AND n.__mr_since = k.__mr_since\nWHERE n.__mr_what IS NULL",
            ),
            self.into(
                "events",
                f"SELECT {self.named('k')}, {after}, k.__mr_ing, {_ENDED}, NULL, TRUE{none}\n"
                f"FROM {self.temp('known')} AS k LEFT JOIN {self.temp('noted')} AS n ON {self.on('n', 'k')} "
                f"AND n.__mr_what > {_SEEN} AND n.__mr_since BETWEEN k.__mr_until AND {after}\n"
                "WHERE k.__mr_flagged AND n.__mr_what IS NULL",
            ),
            self.into(
                "events",
                f"SELECT {self.named('n')}, n.__mr_since, n.__mr_ing, n.__mr_what, NULL, n.__mr_what > {_SEEN}"
                f"{mod.format('n')}\nFROM {self.temp('noted')} AS n",
            ),
        )

    def _ranked(self) -> str:
        """The events, each with its place among those of one moment, what of those is known, and where the version
        begins that the table has for it."""
        moment = f"PARTITION BY {self.keys}, __mr_since, {GONE}"
        lost = f"__mr_what = {_SEEN} AND __mr_row IS NULL"
        return self.made(
            "ranked",
            f"SELECT e.*, row_number() OVER ({moment} ORDER BY CASE WHEN {lost} THEN 1 ELSE 0 END, "
            f"__mr_ing DESC{self.dialect.nulls_last}, __mr_what DESC) AS __mr_place, "
            f"max(CASE WHEN __mr_what < {_COMING} AND NOT ({lost}) THEN __mr_what END) OVER ({moment}) AS __mr_met\n"
            f"FROM (SELECT e.*, max(CASE WHEN __mr_what = {_VERSION} THEN __mr_since END) "
            f"OVER (PARTITION BY {self.keys} ORDER BY __mr_since) AS __mr_row FROM {self.temp('events')} AS e) AS e",
        )

    def _numbered(self) -> str:
        """The line: of each moment the newest version and the newest delete, each with its neighbours."""
        rank = f"CASE WHEN __mr_what = {_EARLY} THEN 0 WHEN __mr_what < {_DELETED} THEN 1 "
        rank += f"WHEN __mr_what < {_COMING} THEN 2 ELSE 3 END"
        window = f"OVER (PARTITION BY {self.keys} ORDER BY __mr_since, COALESCE(__mr_ing, -1), {rank}, {self.seq})"
        before = ", ".join(
            f"lag({name}) {window} AS __mr_before_{called}"
            for called, name in (("gone", GONE), ("what", "__mr_what"), ("seq", self.seq), ("row", "__mr_row"))
        )
        return self.made(
            "numbered",
            f"SELECT r.*, {before}, row_number() {window} AS __mr_number, "
            f"lead(__mr_since) {window} AS __mr_next_since, lead(__mr_ing) {window} AS __mr_next_ing\n"
            f"FROM {self.temp('ranked')} AS r\n"
            f"WHERE __mr_place = 1 AND NOT (__mr_what = {_SEEN} AND __mr_row IS NULL)",
        )

    def _pairs(self) -> tuple[str, ...]:
        """Which rows that come in are to be compared with which of the table, and for the sake of which event."""
        coming = f"__mr_what = {_COMING}"
        return (
            self.made(
                "pairs",
                f"SELECT {self.keys}, __mr_since, {_NEAR} AS __mr_why, "
                f"CASE WHEN {coming} THEN {self.seq} ELSE __mr_before_seq END AS {self.seq}, "
                f"CASE WHEN {coming} THEN __mr_before_row ELSE __mr_row END AS __mr_row\n"
                f"FROM {self.temp('numbered')} WHERE NOT {GONE} AND __mr_before_gone = FALSE "
                f"AND (__mr_what = {_COMING}) <> (__mr_before_what = {_COMING})",
            ),
            self.into(
                "pairs",
                f"SELECT {self.keys}, __mr_since, {_SAME_MOMENT}, {self.seq}, __mr_row\n"
                f"FROM {self.temp('ranked')} WHERE NOT {GONE} AND {coming} AND __mr_met IS NOT NULL",
            ),
        )

    def _alike(self) -> tuple[str, ...]:
        known = self.made(
            "alike",
            f"SELECT {self.named('p')}, p.__mr_since, p.__mr_why\nFROM {self.temp('pairs')} AS p "
            f"JOIN {self.temp('rows')} AS r ON r.{self.seq} = p.{self.seq}\n"
            f"JOIN {self.target} AS t ON {self.on('t', 'p')} AND {self.at('t', 'p.__mr_row')}\n"
            f"WHERE {self.alike('r', 't')}",
        )
        both = f"FROM {self.temp('numbered')} AS e JOIN {self.temp('rows')} AS p ON p.{self.seq} = e.__mr_before_seq\n"
        only = f"WHERE e.__mr_what = {_COMING} AND NOT e.{GONE} AND e.__mr_before_gone = FALSE"
        if self.dialect.row_id:
            return known, self.into(
                "alike",
                f"SELECT {self.named('e')}, e.__mr_since, {_NEAR} {both}"
                f"JOIN {self.temp('rows')} AS r ON r.{self.seq} = e.{self.seq}\n{only} AND {self.alike('r', 'p')}",
            )
        # A temporary table cannot be read twice.
        return (
            known,
            self.made("before", f"SELECT e.{self.seq} AS __mr_next, e.__mr_since, p.* {both}{only}"),
            self.into(
                "alike",
                f"SELECT {self.named('p')}, p.__mr_since, {_NEAR} FROM {self.temp('before')} AS p "
                f"JOIN {self.temp('rows')} AS r ON r.{self.seq} = p.__mr_next\nWHERE {self.alike('r', 'p')}",
            ),
        )

    def _judged(self) -> str:
        """The line with what each event says: ``same`` of a version that says nothing that the one before it did not
        say, ``stays`` of one that is in the table already, ``lone`` of a delete of a key without any version; ``spent``
        of one of the same that another one follows, where only the last is kept."""
        window = f"OVER (PARTITION BY {self.keys} ORDER BY __mr_number)"
        spent = "FALSE" if self.times else f"COALESCE(lead(__mr_same) {window}, FALSE)"
        near, met = (f"COALESCE(a.__mr_{name}, 0) = 1" for name in ("near", "met"))
        return self.made(
            "judged",
            f"SELECT j.*, {spent} AS __mr_spent FROM (\nSELECT n.*, "
            f"CASE WHEN n.{GONE} OR COALESCE(n.__mr_before_gone, TRUE) THEN FALSE "
            f"WHEN n.__mr_what = {_COMING} OR n.__mr_before_what = {_COMING} THEN {near} "
            f"ELSE n.__mr_what = {_SEEN} END AS __mr_same, "
            f"NOT n.{GONE} AND (n.__mr_what = {_VERSION} OR (n.__mr_what = {_COMING} "
            f"AND COALESCE(n.__mr_met, -1) = {_VERSION} AND {met})) AS __mr_stays, "
            f"n.{GONE} AND n.__mr_before_gone IS NULL AND COALESCE(n.__mr_next_since <> n.__mr_since, TRUE) "
            "AS __mr_lone\n"
            f"FROM {self.temp('numbered')} AS n LEFT JOIN (SELECT {self.keys}, __mr_since, "
            f"max(CASE WHEN __mr_why = {_NEAR} THEN 1 END) AS __mr_near, "
            f"max(CASE WHEN __mr_why = {_SAME_MOMENT} THEN 1 END) AS __mr_met\n"
            f"FROM {self.temp('alike')} GROUP BY {self.keys}, __mr_since) AS a "
            f"ON {self.on('a', 'n')} AND a.__mr_since = n.__mr_since AND NOT n.{GONE}\n) AS j",
        )

    def _line(self) -> str:
        """Versions and deletes, and until when each version is valid."""
        window = f"OVER (PARTITION BY {self.keys} ORDER BY __mr_number)"
        end = self.dialect.greater.format(a="__mr_since", b=f"__mr_next - {self.dialect.millisecond}")
        return self.made(
            "line",
            f"SELECT l.*, CASE WHEN __mr_next IS NULL THEN {self.dialect.forever} ELSE {end} END AS __mr_until, "
            "__mr_next IS NULL AS __mr_active\n"
            f"FROM (SELECT j.*, lead(__mr_since) {window} AS __mr_next, "
            f"COALESCE(lead({GONE}) {window}, FALSE) AS __mr_ended\n"
            f"FROM {self.temp('judged')} AS j WHERE NOT __mr_same) AS l",
        )

    def _counts(self) -> str:
        coming, met = f"j.__mr_what = {_COMING}", "j.__mr_met IS NOT NULL"
        replaces = f"COALESCE(j.__mr_met, -1) = {_VERSION}"
        judged = {
            "inserted": f"{coming} AND NOT j.{GONE} AND NOT j.__mr_same AND NOT {replaces}",
            "updated": f"{coming} AND NOT j.{GONE} AND {replaces} AND NOT j.__mr_stays",
            "deleted": f"{coming} AND j.{GONE} AND NOT ({met}) AND NOT COALESCE(j.__mr_before_gone, FALSE)",
        }
        sums = ", ".join(f"count(CASE WHEN {test} THEN 1 END) AS {name}" for name, test in judged.items())
        return (
            "SELECT j.inserted, j.updated, j.deleted, b.twice, s.stale\n"
            f"FROM (SELECT {sums} FROM {self.temp('judged')} AS j) AS j,\n"
            f"(SELECT count(CASE WHEN __mr_place > 1 THEN 1 END) AS twice FROM {self.temp('batch')}) AS b,\n"
            f"(SELECT count(*) AS stale FROM {self.temp('ranked')} AS r LEFT JOIN {self.temp('alike')} AS a "
            f"ON {self.on('a', 'r')} AND a.__mr_since = r.__mr_since AND a.__mr_why = {_SAME_MOMENT}\n"
            f"WHERE r.__mr_what = {_COMING} AND r.__mr_place > 1 AND NOT r.{GONE} AND a.__mr_why IS NULL) AS s"
        )

    # The table.

    def _unfold(self) -> str:
        """What was seen again becomes a row of its own, as another version came before it."""
        q, meta = self.dialect.quoted, self.table.meta
        names = [column.name for column in columns(self.table)]
        values = {name: f"t.{q(name)}" for name in names} | self._span(gone=False)
        values[meta.ingested_at] = "l.__mr_ing"
        if modified := _modified(self.table):
            values[modified] = "l.__mr_mod"
        return insert(
            self.dialect,
            self.target,
            values,
            f"FROM {self.temp('line')} AS l JOIN {self.target} AS t ON {self.on('t', 'l')} "
            f"AND {self.at('t', 'l.__mr_row')}\nWHERE l.__mr_what = {_SEEN}",
        )

    def _remove(self) -> str:
        """Rows whose place another one takes, and those that are none of their own any more."""
        rows = (
            f"(NOT j.{GONE} AND j.__mr_same AND j.__mr_stays)",
            f"(NOT j.{GONE} AND j.__mr_what = {_COMING} AND j.__mr_met = {_VERSION} AND NOT j.__mr_stays)",
            f"(j.{GONE} AND NOT j.__mr_lone AND (j.__mr_what = {_LONE} OR j.__mr_met = {_LONE}))",
        )
        return self.dialect.delete(
            self.target,
            f"{self.temp('judged')} AS j",
            f"{self.on('t', 'j')} AND {self.at('t', 'j.__mr_since')} AND ({' OR '.join(rows)})",
        )

    def _close(self) -> str:
        q, meta = self.dialect.quoted, self.table.meta
        news = {meta.valid_to: "l.__mr_until", meta.is_active: "l.__mr_active", meta.ingested_at: "l.__mr_ing"}
        if meta.marked_deleted:
            news[meta.marked_deleted] = "l.__mr_ended"
        differs = " OR ".join(self.dialect.differs.format(a=f"t.{q(name)}", b=value) for name, value in news.items())
        sets = news | ({meta.loaded_at: str(self.at_ms)} if meta.loaded_at else {})
        where = f"l.__mr_stays AND {self.on('t', 'l')} AND {self.at('t', 'l.__mr_since')}"
        return self.dialect.update(self.target, sets, f"{self.temp('line')} AS l", f"{where} AND ({differs})")

    def _span(self, *, gone: bool) -> dict[str, str]:
        meta = self.table.meta
        values = {meta.loaded_at: str(self.at_ms)} if meta.loaded_at else {}
        if meta.marked_deleted:
            values[meta.marked_deleted] = "TRUE" if gone else "l.__mr_ended"
        values[meta.valid_from] = "l.__mr_since"
        values[meta.valid_to] = "l.__mr_since" if gone else "l.__mr_until"
        values[meta.is_active] = "FALSE" if gone else "l.__mr_active"
        return values

    def _coming(self, names: Sequence[str], *, gone: bool, where: str) -> str:
        came = arrived(self.dialect, self.table)
        values = {name: came[name] for name in names} | self._span(gone=gone)
        return insert(
            self.dialect,
            self.target,
            {column.name: values[column.name] for column in columns(self.table) if column.name in values},
            f"FROM {self.temp('line')} AS l JOIN {self.temp('rows')} AS r ON r.{self.seq} = l.{self.seq}\n"
            f"WHERE l.__mr_what = {_COMING} AND {where}",
        )

    def _insert(self) -> str:
        names = [column.name for column in self.table.columns]
        return self._coming(names, gone=False, where=f"NOT l.{GONE} AND NOT l.__mr_stays")

    def _insert_gone(self) -> str:
        """A delete of a key without any version before it has a row without values, ended at once."""
        meta = self.table.meta
        own = (*self.table.key, meta.ingested_at, meta.source_modified_at)
        names = [column.name for column in self.table.columns if column.name in own]
        return self._coming(names, gone=True, where=f"l.__mr_lone AND COALESCE(l.__mr_met, -1) <> {_LONE}")

    # The moments.

    def _forget(self) -> str:
        q, meta = self.dialect.quoted, self.table.meta
        which = (
            f"j.__mr_what = {_COMING}",
            f"(j.__mr_what = {_SEEN} AND (NOT j.__mr_same OR j.__mr_spent))",
            self._moved(),
        )
        return self.dialect.delete(
            self.beside,
            f"{self.temp('judged')} AS j",
            f"{self.on('t', 'j')} AND t.{q(meta.valid_from)} = j.__mr_since "
            f"AND (t.{q(_WHAT)} > {_SEEN}) = j.{GONE} AND ({' OR '.join(which)})",
        )

    def _remember(self) -> str:
        q, meta = self.dialect.quoted, self.table.meta
        what = (
            f"CASE WHEN NOT j.{GONE} THEN {_SEEN} WHEN j.__mr_lone THEN {_LONE} WHEN {_IS_EARLY} THEN {_EARLY} "
            f"ELSE {_DELETED} END"
        )
        values = {name: f"j.{q(name)}" for name in self.table.key}
        values |= {meta.valid_from: "j.__mr_since", meta.ingested_at: "j.__mr_ing", _WHAT: what}
        if modified := _modified(self.table):
            values[modified] = "j.__mr_mod"
        return insert(
            self.dialect,
            self.beside,
            values,
            f"FROM {self.temp('judged')} AS j\n"
            f"WHERE (j.__mr_same AND NOT j.__mr_spent AND j.__mr_what IN ({_VERSION}, {_COMING})) "
            f"OR (j.{GONE} AND (j.__mr_what = {_COMING} OR {self._moved()}))",
        )

    def _moved(self) -> str:
        """A delete that has another place than it had: a row of its own no more, or in front of a version."""
        return f"(j.__mr_what = {_LONE} AND NOT j.__mr_lone) OR (j.__mr_what = {_DELETED} AND {_IS_EARLY})"
