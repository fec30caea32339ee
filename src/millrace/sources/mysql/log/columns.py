"""Columns of a table as they were when rows were written, and whether that can be what the log says of them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from millrace.connect.mysql.session import Session, marker
from millrace.data.dataclass import dataclass
from millrace.sources.mysql.catalog import quoted
from millrace.sources.mysql.log import events
from millrace.sources.mysql.log.charsets import Charsets
from millrace.sources.mysql.log.events import TableMap
from millrace.sources.mysql.types import base

_CODES: Mapping[str, tuple[int, ...]] = {
    "tinyint": (events.TINY,),
    "smallint": (events.SHORT,),
    "mediumint": (events.INT24,),
    "int": (events.LONG,),
    "bigint": (events.LONGLONG,),
    "float": (events.FLOAT,),
    "double": (events.DOUBLE,),
    "decimal": (events.NEWDECIMAL,),
    "bit": (events.BIT,),
    "year": (events.YEAR,),
    "date": (events.DATE, events.NEWDATE),
    "time": (events.TIME2, events.TIME),
    "datetime": (events.DATETIME2, events.DATETIME),
    "timestamp": (events.TIMESTAMP2, events.TIMESTAMP),
    "char": (events.STRING,),
    "binary": (events.STRING,),
    "varchar": (events.VARCHAR, events.VARCHAR_COMPRESSED, events.VAR_STRING),
    "varbinary": (events.VARCHAR, events.VARCHAR_COMPRESSED, events.VAR_STRING),
    "enum": (events.ENUM,),
    "set": (events.SET,),
    "json": (events.JSON, events.BLOB),
    "vector": (events.VECTOR, events.VARCHAR),
    "uuid": (events.STRING,),
    "inet4": (events.STRING,),
    "inet6": (events.STRING,),
}
_BLOBS = {"tiny": 1, "": 2, "medium": 3, "long": 4}


@dataclass(frozen=True, slots=True)
class Known:
    """A column: its name, its type and its character set as information_schema has them ("" for what is no text)."""

    name: str
    type: str
    charset: str = ""


Table = tuple[Known, ...]

# What rows have behind their columns where the server keeps what they were, and nobody declared columns for that.
PERIOD: Table = (Known("row_start", "timestamp(6)"), Known("row_end", "timestamp(6)"))
# At the end of the type of a column that somebody declared for that.
ROW_END = " row end"


def known(session: Session, database: str) -> dict[str, Table]:
    """All tables of the database as they are now, by name. MariaDB's JSON is told as such."""
    json: set[tuple[str, str]] = set()
    if session.family == "mariadb":
        json = {
            (table, column)
            for table, column, check in session.rows(
                "SELECT table_name, constraint_name, check_clause FROM information_schema.check_constraints "
                f"WHERE constraint_schema = {marker(1)}",
                database,
            )
            if str(check) == f"json_valid({quoted(str(column))})"
        }
    found: dict[str, list[Known]] = {}
    for table, column, type_, charset in session.rows(
        "SELECT c.table_name, c.column_name, concat(c.column_type, if(c.generation_expression = 'ROW END', "
        f"'{ROW_END}', '')), c.character_set_name FROM information_schema.columns AS c "
        "JOIN information_schema.tables AS t ON t.table_schema = c.table_schema AND t.table_name = c.table_name "
        f"WHERE c.table_schema = {marker(1)} AND t.table_type <> 'VIEW' ORDER BY c.table_name, c.ordinal_position",
        database,
    ):
        shown = "json" if (table, column) in json else str(type_)
        found.setdefault(str(table), []).append(Known(str(column), shown, str(charset or "")))
    return {table: tuple(some) for table, some in found.items()}


def keeping(session: Session, database: str) -> frozenset[str]:
    """Tables of the database of which the server keeps what rows were."""
    asked = "SELECT table_name FROM information_schema.tables WHERE table_type = 'SYSTEM VERSIONED' AND table_schema = "
    return frozenset(str(table) for (table,) in session.rows(asked + marker(1), database))


def fits(table: Sequence[Known], told: TableMap, widths: Mapping[str, int]) -> bool:
    """Whether rows of such a table would be written as the log says. ``widths``: bytes of a character, by character
    set."""
    if len(table) != len(told.codes):
        return False
    return all(
        _fits(one, code, meta, widths.get(one.charset, 1))
        for one, code, meta in zip(table, told.codes, told.metas, strict=True)
    )


def _fits(column: Known, code: int, meta: int, width: int) -> bool:
    word = base(column.type.lower())
    if match := re.fullmatch(r"(tiny|medium|long|)(?:blob|text)", word):
        return code in (events.BLOB, events.BLOB_COMPRESSED) and meta == _BLOBS[match[1]]
    codes = _CODES.get(word)
    if codes is None:
        return code in (events.GEOMETRY, events.BLOB, events.STRING, events.VARCHAR)
    if code not in codes:
        return False
    sizes = [int(one) for one in re.findall(r"\d+", column.type)] if word not in ("enum", "set") else []
    match word:
        case "decimal":
            return meta == sizes[0] << 8 | sizes[1]
        case "varchar" | "char" | "binary" | "varbinary":
            # Compressed columns are a byte longer.
            return sizes[0] * width in (meta, meta - 1)
        case "bit":
            return (meta >> 8) * 8 + (meta & 255) == sizes[0]
        case "time" | "datetime" | "timestamp":
            return meta == (sizes[0] if sizes else 0)
        case _:
            return True


def of_map(told: TableMap, now: Sequence[Known], charsets: Charsets) -> Table | None:
    """The columns by what the log itself says, where it says all; None where it does not.

    ``now``: the table as it is, for what a log never says: that a text is JSON, or a TINYINT yes or no.
    """
    if told.names is None:
        return None
    there = {one.name: one for one in now}
    return tuple(_told(told, place, there.get(name), charsets) for place, name in enumerate(told.names))


def _told(told: TableMap, place: int, now: Known | None, charsets: Charsets) -> Known:
    assert told.names is not None
    name, code, meta = told.names[place], told.codes[place], told.metas[place]
    charset = charsets.collations.get(told.charsets[place], "") if told.charsets is not None else ""
    charset = "" if charset == "binary" else charset
    unsigned = " unsigned" if told.unsigned is not None and told.unsigned[place] else ""
    members = charsets.texts(told.members[place], charset) if told.members is not None else []
    type_ = _type(code, meta, unsigned, charset, members)
    if now is not None and _says_more(now, code, meta, bool(unsigned)):
        return replace(now, charset=charset)
    return Known(name, type_, charset)


def _says_more(now: Known, code: int, meta: int, unsigned: bool) -> bool:
    """Whether the column is one of those of which the log does not say all."""
    word = base(now.type)
    if word == "tinyint":
        return code == events.TINY and ("unsigned" in now.type) == unsigned
    return word in ("json", "uuid", "inet4", "inet6", "vector") and _fits(now, code, meta, 1)


def _type(code: int, meta: int, unsigned: str, charset: str, members: Sequence[str]) -> str:
    for word, codes in _CODES.items():
        if code in codes and word in ("tinyint", "smallint", "mediumint", "int", "bigint", "float", "double", "year"):
            return word + unsigned
    text = bool(charset)
    match code:
        case events.NEWDECIMAL:
            return f"decimal({meta >> 8},{meta & 255}){unsigned}"
        case events.BIT:
            return f"bit({(meta >> 8) * 8 + (meta & 255)})"
        case events.DATE | events.NEWDATE:
            return "date"
        case events.TIME | events.TIME2:
            return f"time({meta})"
        case events.DATETIME | events.DATETIME2:
            return f"datetime({meta})"
        case events.TIMESTAMP | events.TIMESTAMP2:
            return f"timestamp({meta})"
        case events.ENUM | events.SET:
            listed = ",".join("'" + one.replace("'", "''") + "'" for one in members)
            return f"{'enum' if code == events.ENUM else 'set'}({listed})"
        case events.JSON:
            return "json"
        case events.GEOMETRY:
            return "geometry"
        case events.STRING:
            return f"char({meta})" if text else f"binary({meta})"
        case events.BLOB | events.BLOB_COMPRESSED:
            return "longtext" if text else "longblob"
        case _:
            return f"varchar({meta})" if text else f"varbinary({meta})"


def to_json(tables: Mapping[str, Table]) -> dict[str, Any]:
    return {table: [[one.name, one.type, one.charset] for one in some] for table, some in tables.items()}


def of_json(found: Mapping[str, Any]) -> dict[str, Table]:
    return {table: tuple(Known(*one) for one in some) for table, some in found.items()}
