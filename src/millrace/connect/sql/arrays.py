"""Tables of the items of arrays: rows whose array became shorter, or whose row above is gone, are marked deleted.

A load of such a table has for each array either its items, each with the length of the array, or one row that says
that there are none. The newest word on each array counts; what the table has beyond that length is marked, and so are
the rows below what was marked, level by level. No row comes in that is older than its neighbours in the table.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import field
from typing import Any, Protocol

from millrace.connect.destination import Nest, Table
from millrace.connect.sql.dialect import Dialect
from millrace.connect.sql.statements import Found, keys, newer, order, temporary
from millrace.data.columns import EMPTY
from millrace.data.dataclass import dataclass

TEMPORARIES = ("ends", "tops", "bygone", "fallen")


def has_ends(table: Table) -> bool:
    """Whether rows of arrays without items mean something to the table; they are left out elsewhere."""
    return (
        table.nest is not None and table.mode == "merge" and bool(table.key) and table.meta.marked_deleted is not None
    )


def needed(table: Table) -> tuple[str, ...]:
    """Columns that a merge needs to know before it touches the rest."""
    nest = table.nest
    if nest is None or not has_ends(table):
        return keys(table)
    return tuple(dict.fromkeys((*keys(table), nest.ref, nest.length, table.meta.op_type)))


@dataclass(frozen=True, slots=True)
class Ends:
    """The statements around a merge of items (`statements.merge`), in the order in which they run.

    `ends` has the newest word on each array of the load, `tops` the newest row that the table has of each, `bygone`
    rows of the load that are older than that, or than the row above them. By ``aged``, deleted rows that such a row
    would have revived are as new as what it came too late for. ``forget`` and ``leave`` take rows out of `keys` before
    the merge; `fallen` are rows of the table to mark after it.
    """

    crossed: str
    ends: str
    tops: str
    bygone: str
    bygone_above: str | None
    aged: str
    forget: str
    leave: str
    fallen: str
    overdue: str
    mark: str


def ends(dialect: Dialect, table: Table, nest: Nest, target: str, *, at_ms: int, above: str | None) -> Ends:
    """The statements for items in ``target``; ``above``: the table of the rows above, where that is of items too."""
    d, q = dialect, dialect.quoted
    keys_, ends_, tops, bygone = (temporary(d, name) for name in ("keys", "ends", "tops", "bygone"))
    seq, id_, ref, operation = (q(name) for name in (table.meta.sequence, nest.id, nest.ref, table.meta.op_type))
    at, spot = list(order(table)), d.spot("t", nest.id)
    sorting = ", ".join(f"{{a}}.{q(name)} DESC{d.nulls_last}" for name in at)
    place = f"row_number() OVER (PARTITION BY {{a}}.{ref} ORDER BY {sorting}{{more}}) AS __mr_place"
    temp = f"CREATE {d.temp_words}"
    item = d.differs.format(a=f"k.{operation}", b=f"'{EMPTY}'")
    said, known = place.format(a="k", more=f", k.{seq} DESC"), place.format(a="t", more="")
    # Rows in other tables of arrays may hang below a row that comes too late, so it is kept, as a deleted one.
    there = f"EXISTS (SELECT 1 FROM {target} AS t WHERE t.{id_} = k.{id_})" if nest.below else "TRUE"
    late = (
        f"SELECT k.{seq}, k.{id_} AS id, {there} AS known, {d.names(at, 'p')}\n"
        f"FROM {keys_} AS k JOIN {{over}} AS p ON p.{{on}} = k.{ref}\n"
        f"WHERE {item} AND {newer(d, table, 'p', 'k')}"
    )
    beyond = [
        f"SELECT {spot} AS spot, t.{id_} AS id, {d.names(at, 'e')}\n"
        f"FROM {target} AS t JOIN {ends_} AS e ON e.{ref} = t.{ref}\n"
        f"WHERE t.{q(nest.index)} >= e.{q(nest.length)} AND {_live(d, table)} AND NOT {newer(d, table, 't', 'e')}"
    ]
    if above is not None:
        beyond.append(
            f"SELECT {spot}, t.{id_}, {d.names(at, 'p')}\n"
            f"FROM {target} AS t JOIN {temporary(d, 'newest')} AS n ON n.{id_} = t.{id_}\n"
            f"JOIN {above} AS p ON p.{id_} = t.{ref}\n"
            f"WHERE COALESCE(p.{q(table.meta.marked_deleted or '')}, FALSE) AND {_live(d, table)} "
            f"AND NOT {newer(d, table, 't', 'p')}"
        )
    overdue = (
        f"SELECT {spot}, t.{id_}, {d.names(at, 'b')}\n"
        f"FROM {bygone} AS b JOIN {keys_} AS k ON k.{seq} = b.{seq} JOIN {target} AS t ON t.{id_} = b.id\n"
        f"WHERE NOT b.known AND {_live(d, table)} AND NOT {newer(d, table, 't', 'k')}"
    )
    dated = {name: f"COALESCE(b.{q(name)}, t.{q(name)})" for name in at}
    return Ends(
        crossed=(
            f"SELECT count(*) FROM (SELECT {ref} FROM {keys_} AS k GROUP BY {ref}\n"
            f"HAVING count(CASE WHEN {operation} = '{EMPTY}' THEN 1 END) BETWEEN 1 AND count(*) - 1 LIMIT 1) AS c"
        ),
        ends=(
            f"{temp} {ends_} AS SELECT {ref}, {q(nest.length)}, {d.names(at)}\n"
            f"FROM (SELECT k.*, {said} FROM {keys_} AS k) AS k WHERE __mr_place = 1"
        ),
        tops=(
            f"{temp} {tops} AS SELECT {ref}, {d.names(at)}\n"
            f"FROM (SELECT t.{ref}, {d.names(at, 't')}, {known}\n"
            f"FROM {target} AS t JOIN {ends_} AS e ON e.{ref} = t.{ref}) AS t WHERE __mr_place = 1"
        ),
        bygone=f"{temp} {bygone} AS\n{late.format(over=tops, on=ref)}",
        bygone_above=None if above is None else f"INSERT INTO {bygone}\n{late.format(over=above, on=id_)}",
        aged=d.update(
            target,
            dated,
            f"{bygone} AS b",
            f"b.known AND b.id = t.{id_} AND t.{q(table.meta.marked_deleted or '')} AND {newer(d, table, 'b', 't')}",
        ),
        forget=f"DELETE FROM {keys_} WHERE {seq} IN (SELECT {seq} FROM {bygone} WHERE known)",
        leave=f"DELETE FROM {keys_} WHERE {operation} = '{EMPTY}'",
        fallen=f"{temp} {temporary(d, 'fallen')} AS\n" + "\nUNION ".join(beyond),
        overdue=f"INSERT INTO {temporary(d, 'fallen')}\n{overdue}",
        mark=mark(d, table, nest, at, target, temporary(d, "fallen"), at_ms=at_ms),
    )


def mark(dialect: Dialect, table: Table, nest: Nest, at: Sequence[str], target: str, fallen: str, *, at_ms: int) -> str:
    """The rows named in ``fallen`` are marked deleted, as new as the newest of what took them away."""
    q, meta = dialect.quoted, table.meta
    sorting = ", ".join(f"f.{q(name)} DESC{dialect.nulls_last}" for name in at)
    place = f"row_number() OVER (PARTITION BY f.spot ORDER BY {sorting}) AS __mr_place"
    newest = f"(SELECT f.spot, {dialect.names(list(at), 'f')}, {place} FROM {fallen} AS f) AS f"
    sets = {meta.marked_deleted or "": "TRUE"}
    sets |= {name: f"COALESCE(f.{q(name)}, t.{q(name)})" for name in at}
    if meta.loaded_at:
        sets[meta.loaded_at] = str(at_ms)
    return dialect.update(target, sets, newest, f"f.__mr_place = 1 AND {dialect.spot('t', nest.id)} = f.spot")


def below(dialect: Dialect, table: Table, nest: Nest, at: Sequence[str], target: str, above: str, into: str) -> str:
    """The temporary table ``into`` names the rows of ``target`` below those that ``above`` names."""
    d, q = dialect, dialect.quoted
    older = newer(d, table, "t", "f") if tuple(at) == order(table) else f"t.{q(at[-1])} > f.{q(at[-1])}"
    return (
        f"CREATE {d.temp_words} {into} AS\n"
        f"SELECT {d.spot('t', nest.id)} AS spot, t.{q(nest.id)} AS id, {d.names(list(at), 'f')}\n"
        f"FROM {target} AS t JOIN {above} AS f ON f.id = t.{q(nest.ref)}\n"
        f"WHERE {_live(d, table)} AND NOT COALESCE({older}, FALSE)"
    )


def _live(dialect: Dialect, table: Table) -> str:
    return f"NOT COALESCE(t.{dialect.quoted(table.meta.marked_deleted or '')}, FALSE)"


class System(Protocol):
    """What is asked of a SQL destination."""

    def execute(self, sql: str, *values: Any) -> int: ...
    def rows(self, sql: str, *values: Any) -> list[tuple[Any, ...]]: ...
    def found(self, table: str) -> dict[str, Found] | None: ...
    def target(self, table: str) -> str: ...
    def lock(self, table: str) -> None: ...
    def analyzed(self, *names: str) -> None: ...


@dataclass(slots=True)
class Arrays:
    """One merge of items: `sifted` before it, `settled` after it, in the same transaction.

    A table without rows costs nothing but the look whether it has any, unless the load itself has two words on one
    array.
    """

    system: System
    dialect: Dialect
    table: Table
    nest: Nest
    at_ms: int
    first: bool
    """Nothing of this feed was loaded into the table before."""
    empty: int = 0
    bygone: int = 0
    _late: bool = False
    _measured: bool = False
    _made: list[str] = field(default_factory=list[str])

    def sifted(self) -> None:
        """`keys` has the rows that are to be merged, and no others."""
        keys_, operation = temporary(self.dialect, "keys"), self.dialect.quoted(self.table.meta.op_type)
        self.empty = self._one(f"SELECT count(*) FROM {keys_} WHERE {operation} = '{EMPTY}'")
        again = not self.first or bool(self.system.rows(f"SELECT 1 FROM {self.system.target(self.table.name)} LIMIT 1"))
        plan = self._plan(self._above(deleted=False) if again else None)
        if again or (self.empty and self._one(plan.crossed)):
            self._measure(plan)
        if again:
            self.system.execute(plan.tops)
            self.system.execute(plan.bygone)
            if plan.bygone_above is not None:
                self.system.execute(plan.bygone_above)
            late, known = self.system.rows(
                f"SELECT count(*), count(DISTINCT CASE WHEN known THEN {self.dialect.quoted(self.table.meta.sequence)} "
                f"END) FROM {temporary(self.dialect, 'bygone')}"
            )[0]
            self.bygone, self._late = int(known), late > known
            if known:
                self.system.execute(plan.aged)
                self.system.execute(plan.forget)
        if self.empty:
            self.system.execute(plan.leave)

    def settled(self, *, repeated: bool) -> int:
        """Rows beyond the end of their array, and all below them, are marked; how many there were."""
        above = self._above(deleted=True)
        plan = self._plan(above)
        if not self._measured:
            if not repeated and above is None:
                return 0
            self._measure(plan)
        self.system.execute(plan.fallen)
        if self._late:
            self.system.execute(plan.overdue)
        marked = self._one(f"SELECT count(DISTINCT spot) FROM {temporary(self.dialect, 'fallen')}")
        if not marked:
            return 0
        self.system.analyzed("fallen")
        self.system.execute(plan.mark)
        return marked + self._below()

    def clear(self) -> None:
        """Temporary tables of the levels below are gone."""
        for name in self._made:
            self.system.execute(f"{self.dialect.drop_temp} {name}")
        self._made.clear()

    def _below(self) -> int:
        fallen = {self.table.name: temporary(self.dialect, "fallen")}
        marked = 0
        for number, (name, parent) in enumerate(self.nest.below):
            found = self.system.found(name)
            needs = (self.nest.id, self.nest.ref, self.table.meta.ingested_at, self.table.meta.marked_deleted)
            if parent not in fallen or found is None or any(one not in found for one in needs):
                continue
            at = [one for one in order(self.table) if one in found]
            target, into = self.system.target(name), temporary(self.dialect, f"fallen_{number}")
            self.system.lock(name)
            self.system.execute(below(self.dialect, self.table, self.nest, at, target, fallen[parent], into))
            self._made.append(into)
            fallen[name] = into
            if count := self._one(f"SELECT count(*) FROM {into}"):
                self.system.execute(mark(self.dialect, self.table, self.nest, at, target, into, at_ms=self.at_ms))
                marked += count
        return marked

    def _above(self, *, deleted: bool) -> str | None:
        """The table of the rows above; with ``deleted`` only if some of them are."""
        name, flag = self.nest.parent, self.table.meta.marked_deleted or ""
        found = self.system.found(name) if name is not None else None
        if name is None or found is None or any(one not in found for one in (self.nest.id, flag, *order(self.table))):
            return None
        target = self.system.target(name)
        if deleted and not self.system.rows(f"SELECT 1 FROM {target} WHERE {self.dialect.quoted(flag)} LIMIT 1"):
            return None
        return target

    def _measure(self, plan: Ends) -> None:
        self.system.execute(plan.ends)
        self.system.analyzed("ends")
        self._measured = True

    def _plan(self, above: str | None) -> Ends:
        target = self.system.target(self.table.name)
        return ends(self.dialect, self.table, self.nest, target, at_ms=self.at_ms, above=above)

    def _one(self, sql: str) -> int:
        return int(self.system.rows(sql)[0][0])
