"""What statements in the log do to tables: to their columns and names, and to all of their rows at once.

The log's rows do not name their columns on most servers, so statements are read for which columns a table has, in
which order. Source: https://dev.mysql.com/doc/refman/8.4/en/alter-table.html, https://mariadb.com/kb/en/alter-table/
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import Literal, TypeAlias

from millrace.data.dataclass import dataclass
from millrace.sources.mysql.log.columns import Known, Table
from millrace.sources.mysql.log.sql import WIDTHS, Tokens, as_long, definition, name_of, parts, tokens

Name: TypeAlias = tuple[str, str]
"""Database and table."""

Change: TypeAlias = Callable[[Table], "Table | None"]
"""The columns behind a statement from those in front of it; None where that is not known."""


@dataclass(frozen=True, slots=True)
class Altered:
    table: Name
    change: Change
    lost: bool = False
    """Rows went or came with a part of a table, and no row of the log says so."""
    filled: tuple[str, ...] = ()
    """New columns that have a value in rows that were there, and no row of the log says which."""
    called: tuple[tuple[str, str], ...] = ()
    """Columns that have another name, with that."""


@dataclass(frozen=True, slots=True)
class Made:
    """A table is new. ``columns`` None: they are not told. ``like``: it has those of another one. ``anew``: another
    table of its name went. ``maybe``: unless there was one."""

    table: Name
    columns: Table | None = None
    like: Name | None = None
    anew: bool = False
    maybe: bool = False


@dataclass(frozen=True, slots=True)
class Renamed:
    table: Name
    to: Name


@dataclass(frozen=True, slots=True)
class Emptied:
    """All rows of a table were deleted. ``gone``: the table too."""

    table: Name
    gone: bool = False


@dataclass(frozen=True, slots=True)
class Dropped:
    """A database is gone."""

    database: str


@dataclass(frozen=True, slots=True)
class Written:
    """Rows were changed by a statement that stands in the log as its text."""

    database: str
    text: str


Effect: TypeAlias = Altered | Made | Renamed | Emptied | Dropped | Written

_WRITES = frozenset(("INSERT", "UPDATE", "DELETE", "REPLACE", "LOAD", "WITH", "MERGE"))
_NO_COLUMN = frozenset(
    ("INDEX", "KEY", "UNIQUE", "PRIMARY", "CONSTRAINT", "FOREIGN", "FULLTEXT", "SPATIAL", "CHECK", "PERIOD",
     "PARTITION", "SYSTEM")
)  # fmt: skip
_FILLING = frozenset(("AUTO_INCREMENT", "SERIAL", "AS"))
_LOSING = frozenset(("TRUNCATE", "EXCHANGE", "DISCARD", "IMPORT"))


def effects(text: str, database: str) -> Iterator[Effect]:
    """What the statement does, said in a session whose database is ``database``."""
    found = tokens(text)
    word = found.word()
    if word in _WRITES:
        yield Written(database, text)
    elif word == "TRUNCATE":
        found.skip("TABLE")
        yield Emptied(name_of(found, database))
    elif word == "DROP":
        yield from _drop(found, database)
    elif word == "RENAME" and found.word() in ("TABLE", "TABLES"):
        found.skip("IF", "EXISTS")
        yield from _renames(found, database)
    elif word == "CREATE":
        yield from _create(found, database)
    elif word == "ALTER":
        found.skip("ONLINE")
        found.skip("IGNORE")
        if found.word() == "TABLE":
            found.skip("IF", "EXISTS")
            yield from _alter(found, database)


def _drop(found: Tokens, database: str) -> Iterator[Effect]:
    word = found.word()
    if word in ("DATABASE", "SCHEMA"):
        found.skip("IF", "EXISTS")
        yield Dropped(found.name())
    if word not in ("TABLE", "TABLES"):
        return  # also DROP TEMPORARY TABLE, of which nobody else has anything
    found.skip("IF", "EXISTS")
    yield Emptied(name_of(found, database), gone=True)
    while found.skip(","):
        yield Emptied(name_of(found, database), gone=True)


def _renames(found: Tokens, database: str) -> Iterator[Effect]:
    while True:
        table = name_of(found, database)
        if found.skip("WAIT"):
            found.word()
        found.skip("NOWAIT")
        found.skip("TO")
        yield Renamed(table, name_of(found, database))
        if not found.skip(","):
            return


def _create(found: Tokens, database: str) -> Iterator[Effect]:
    anew = found.skip("OR", "REPLACE")
    if found.word() != "TABLE":
        return
    maybe = found.skip("IF", "NOT", "EXISTS")
    table = name_of(found, database)
    if found.skip("LIKE"):
        yield Made(table, like=name_of(found, database), anew=anew, maybe=maybe)
        return
    inside = found.group()
    if inside is not None and inside.skip("LIKE"):
        yield Made(table, like=name_of(inside, database), anew=anew, maybe=maybe)
        return
    columns: Table | None = None
    if inside is not None and not found.has("SELECT") and not inside.has("PERIOD"):
        charset = found.charset()
        made = [definition(part, charset) for part in parts(inside) if part.peek() not in _NO_COLUMN]
        columns = tuple(one for one in made if one is not None) if None not in made else None
    yield Made(table, columns, anew=anew, maybe=maybe)


def _alter(found: Tokens, database: str) -> Iterator[Effect]:
    table = name_of(found, database)
    if found.skip("WAIT"):
        found.word()
    found.skip("NOWAIT")
    changes: list[Change] = []
    to: Name | None = None
    lost = False
    filled: list[str] = []
    called: list[tuple[str, str]] = []
    other: Name | None = None
    for part in parts(found):
        word = part.word()
        called += _called(word, Tokens(part.rest()))
        if word == "ADD":
            filled += _filled(Tokens(part.rest()))
        if word == "RENAME" and part.peek() not in ("COLUMN", "INDEX", "KEY"):
            if part.peek() in ("TO", "AS", "="):
                part.word()
            to = name_of(part, database)
        elif word in _LOSING or (word in ("DROP", "CONVERT") and part.peek() in ("PARTITION", "TABLE")):
            lost = True
            other = _other(part, database)
        elif (made := _change(word, part)) is not None:
            changes.append(made)

    def change(columns: Table) -> Table | None:
        now: Table | None = columns
        for one in changes:
            now = one(now) if now is not None else None
        return now

    yield Altered(table, change, lost, tuple(filled), tuple(called))
    if other is not None:
        yield Altered(other, lambda columns: columns, lost=True)
    if to is not None:
        yield Renamed(table, to)


def _called(word: str, part: Tokens) -> Iterator[tuple[str, str]]:
    """The column that gets another name, with that."""
    if (word == "RENAME" and part.skip("COLUMN")) or word == "CHANGE":
        if word == "CHANGE":
            part.skip("COLUMN")
        part.skip("IF", "EXISTS")
        old = part.name()
        if word == "RENAME":
            part.skip("TO")
        if old.lower() != (new := part.name()).lower():
            yield old, new


def _other(part: Tokens, database: str) -> Name | None:
    """The table that a part changes places with, or becomes, or that becomes one."""
    while word := part.word():
        if word == "TABLE":
            return name_of(part, database)
    return None


def _change(word: str, part: Tokens) -> Change | None:
    """One clause of ALTER TABLE; None where it leaves the columns as they are."""
    match word:
        case "ADD":
            return _added(part)
        case "DROP" if part.peek() not in _NO_COLUMN:
            part.skip("COLUMN")
            part.skip("IF", "EXISTS")
            return _without(part.name())
        case "MODIFY" | "CHANGE":
            part.skip("COLUMN")
            part.skip("IF", "EXISTS")
            name = part.name() if word == "CHANGE" else None
            column = definition(part, "")
            return _replaced(name or (column.name if column else ""), column, *_where(part))
        case "RENAME" if part.skip("COLUMN"):
            old = part.name()
            part.skip("TO")
            return _renamed(old, part.name())
        case "CONVERT":
            return _converted(part.charset())
        case _:
            return None


def _added(part: Tokens) -> Change | None:
    explicit = part.skip("COLUMN")
    maybe = part.skip("IF", "NOT", "EXISTS")
    inside = part.group()
    if inside is not None:
        made = [definition(one, "") for one in parts(inside) if one.peek() not in _NO_COLUMN]
        return _all(made)
    if not explicit and part.peek() == "PERIOD":
        return lambda _: None  # which columns are the ends of rows is looked up
    if not explicit and part.peek() in _NO_COLUMN:
        return None
    column = definition(part, "")
    where = _where(part)

    def change(columns: Table) -> Table | None:
        if column is None:
            return None
        if maybe and _place(columns, column.name) is not None:
            return columns
        return _put(columns, _of_table(column, columns), *where)

    return change


def _filled(part: Tokens) -> Iterator[str]:
    """Of columns that are added those with a value in each row: a default, the one of their type where they must not be
    NULL, a number that rises, or what is computed."""
    explicit = part.skip("COLUMN")
    part.skip("IF", "NOT", "EXISTS")
    inside = part.group()
    for one in parts(inside) if inside is not None else (part,):
        if not explicit and one.peek() in (*_NO_COLUMN, ""):
            continue
        name, words = one.name(), [word.upper() for word in one.rest()]
        pairs = {*pairwise(words)}
        default = any(one == "DEFAULT" and other != "NULL" for one, other in pairs)
        filling = ("NOT", "NULL") in pairs or not {*words}.isdisjoint(_FILLING)
        if default or (filling and ("AS", "ROW") not in pairs):
            yield name


def _all(made: Sequence[Known | None]) -> Change:
    def change(columns: Table) -> Table | None:
        new = [_of_table(one, columns) for one in made if one is not None]
        return columns + tuple(new) if len(new) == len(made) else None

    return change


def _converted(charset: str) -> Change:
    """All text has this character set. A TEXT becomes the kind that has room for as many characters as before."""

    def change(columns: Table) -> Table | None:
        made = [one if not one.charset else Known(one.name, as_long(one, charset), charset) for one in columns]
        return tuple(made) if charset in WIDTHS and all(one.type for one in made) else None

    return change


def _without(name: str) -> Change:
    return lambda columns: tuple(one for one in columns if one.name.lower() != name.lower())


def _replaced(name: str, column: Known | None, where: Literal["", "first", "after"], other: str) -> Change:
    def change(columns: Table) -> Table | None:
        place = _place(columns, name)
        if column is None or place is None:
            return columns if column is not None else None
        made = _of_table(column, columns)
        rest = columns[:place] + columns[place + 1 :]
        return _put(rest, made, where, other) if where else (*columns[:place], made, *columns[place + 1 :])

    return change


def _renamed(old: str, new: str) -> Change:
    return lambda columns: tuple(
        Known(new, one.type, one.charset) if one.name.lower() == old.lower() else one for one in columns
    )


def _where(part: Tokens) -> tuple[Literal["", "first", "after"], str]:
    """Where a column is put, which stands at the end of its definition."""
    if part.last() == "FIRST":
        return "first", ""
    name = part.after("AFTER")
    return ("after", name) if name is not None else ("", "")


def _put(columns: Table, column: Known, where: Literal["", "first", "after"], other: str) -> Table | None:
    if where == "first":
        return (column, *columns)
    if where == "after":
        place = _place(columns, other)
        return None if place is None else (*columns[: place + 1], column, *columns[place + 1 :])
    return (*columns, column)


def _place(columns: Table, name: str) -> int | None:
    return next((place for place, one in enumerate(columns) if one.name.lower() == name.lower()), None)


def _of_table(column: Known, columns: Table) -> Known:
    """Text without a character set of its own has the table's, which its other columns show."""
    if column.charset != "?":
        return column
    usual = next((one.charset for one in columns if one.charset), "?")
    return Known(column.name, column.type, usual)
