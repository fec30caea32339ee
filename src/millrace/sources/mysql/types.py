"""Types of MySQL and MariaDB on their way in: the logical type of each, and how its values are selected and read.

Sources: sources.md 3.1; https://dev.mysql.com/doc/refman/8.4/en/data-types.html,
https://mariadb.com/kb/en/data-types/. What is not in the table comes as the server's text.
"""

from __future__ import annotations

import re
from typing import Literal, TypeAlias

import pyarrow as pa
from pymysql.constants import FIELD_TYPE, FLAG

from millrace.connect.mysql.answers import Field
from millrace.data import types
from millrace.data.dataclass import dataclass

# number, text, bytes: as they are. flag: 0 or 1. bit: one bit. day, moment: to be looked through for zeros.
# clock: a time of day, or a span. json: text that is JSON.
Form: TypeAlias = Literal["number", "text", "bytes", "flag", "bit", "day", "moment", "clock", "json"]


@dataclass(frozen=True, slots=True)
class Type:
    """A type of one column. ``name``: as the server writes it. ``sql``: how the column ``{c}`` is selected."""

    name: str
    logical: pa.DataType
    form: Form = "text"
    sql: str = "{c}"


_WHOLE = {
    "tinyint": (types.SHORT, types.SHORT),
    "smallint": (types.SHORT, types.INTEGER),
    "mediumint": (types.INTEGER, types.INTEGER),
    "int": (types.INTEGER, types.LONG),
    "bigint": (types.LONG, types.decimal(20, 0)),
}
WHOLE = frozenset(_WHOLE)
NUMBERS = WHOLE | {"decimal", "double", "year"}
MOMENTS = frozenset(("date", "datetime", "timestamp"))
_BYTES = ("binary", "varbinary", "tinyblob", "blob", "mediumblob", "longblob", "vector")
_SHAPES = (
    "geometry", "point", "linestring", "polygon", "multipoint", "multilinestring", "multipolygon",
    "geometrycollection", "geomcollection",
)  # fmt: skip
# Of these a value's text is not read back as the same value, or their order is another one than their text's.
UNPAGED = frozenset((*_BYTES, *_SHAPES, "float", "bit", "json", "enum", "set", "uuid", "inet4", "inet6"))


def base(name: str) -> str:
    """The word of a type: `int` of `int(11) unsigned`."""
    return re.split(r"[ (]", name, maxsplit=1)[0]


def typed(name: str) -> Type:
    """How a column of a type comes. ``name``: as information_schema has it; `json` for MariaDB's text that is JSON."""
    name = name.lower()
    word = base(name)
    if re.fullmatch(r"(?:tinyint|bit)\(1\)", name):
        return Type(name, types.BOOLEAN, "flag" if word == "tinyint" else "bit")
    if word in _WHOLE:
        signed, unsigned = _WHOLE[word]
        return Type(name, unsigned if "unsigned" in name else signed, "number")
    if word == "decimal" and (match := re.match(r"decimal\((\d+),(\d+)\)", name)):
        return Type(name, types.decimal(int(match[1]), int(match[2])), "number")
    if word in _BYTES or word == "bit":
        return Type(name, types.BYTEARRAY, "bytes")
    if word in _SHAPES:
        return Type(name, types.JSON, "json", "ST_AsGeoJSON({c})")
    return {
        "year": Type(name, types.SHORT, "number"),
        # Of a FLOAT the server writes but six digits.
        "float": Type(name, types.FLOAT, "number", "({c} + 0e0)"),
        "double": Type(name, types.DOUBLE, "number"),
        "json": Type(name, types.JSON, "json"),
        "date": Type(name, types.DATE, "day"),
        "time": Type(name, types.TIME, "clock"),
        "datetime": Type(name, types.TIMESTAMP, "moment"),
        "timestamp": Type(name, types.TIMESTAMPTZ, "moment"),
    }.get(word) or Type(name, types.VARCHAR, "text")


_NAMES = {
    FIELD_TYPE.TINY: "tinyint",
    FIELD_TYPE.SHORT: "smallint",
    FIELD_TYPE.INT24: "mediumint",
    FIELD_TYPE.LONG: "int",
    FIELD_TYPE.LONGLONG: "bigint",
    FIELD_TYPE.YEAR: "year",
    FIELD_TYPE.FLOAT: "float",
    FIELD_TYPE.DOUBLE: "double",
    FIELD_TYPE.DATE: "date",
    FIELD_TYPE.NEWDATE: "date",
    FIELD_TYPE.TIME: "time",
    FIELD_TYPE.DATETIME: "datetime",
    FIELD_TYPE.TIMESTAMP: "timestamp",
    FIELD_TYPE.JSON: "json",
    FIELD_TYPE.GEOMETRY: "geometry",
}


def declared(field: Field) -> str:
    """The type of a column of an answer, in the words of information_schema."""
    if field.type in (FIELD_TYPE.DECIMAL, FIELD_TYPE.NEWDECIMAL):
        digits = field.length - (field.scale > 0) - (not field.flags & FLAG.UNSIGNED)
        return f"decimal({min(max(digits, field.scale, 1), 65)},{field.scale})"
    if field.type == FIELD_TYPE.BIT:
        return f"bit({field.length})"
    if field.type == FIELD_TYPE.TINY and field.length == 1:
        return "tinyint(1)"
    if field.flags & (FLAG.ENUM | FLAG.SET):
        return "enum"
    if name := _NAMES.get(field.type):
        return f"{name} unsigned" if field.flags & FLAG.UNSIGNED and name in WHOLE else name
    return "longblob" if field.charset == 63 else "longtext"
