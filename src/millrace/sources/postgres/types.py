"""Types of PostgreSQL on their way in: the logical type of each, and the form in which its values come.

Source: https://www.postgresql.org/docs/current/datatype.html. What is not in the table (enums, composite and other
types of users, ranges, arrays, network addresses, text search, geometry but points) comes as the server's text.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, TypeAlias

import pyarrow as pa

from millrace.data import types
from millrace.data.dataclass import dataclass

# plain: as the driver has it. storage: below an extension type. date, moment: to be looked through for infinities.
# numeric, money: numbers without a float. bit, bits: bits behind their count. point: text that becomes JSON.
Form: TypeAlias = Literal["plain", "storage", "date", "moment", "numeric", "money", "bit", "bits", "timetz", "point"]

# What a session must be set to, so that the server writes text in the one form that is read here.
SESSION: Mapping[str, str] = {
    "TimeZone": "UTC",
    "DateStyle": "ISO, YMD",
    "IntervalStyle": "iso_8601",
    "extra_float_digits": "3",
    "bytea_output": "hex",
}

# Text of a database without an encoding comes as it is: the server would end a read at the first that is no UTF-8.
AS_IT_IS = (
    "SELECT set_config('client_encoding', 'SQL_ASCII', false) WHERE current_setting('server_encoding') = 'SQL_ASCII'"
)

# Of numbers whose type does not say how many digits they have: at least these, and more where values need them.
LEAST_DIGITS, LEAST_SCALE = 28, 9


@dataclass(frozen=True, slots=True)
class Type:
    """A type of one column. ``name``: the server's. ``logical``: the type that its values become; None where it
    follows from the values, a DECIMAL that holds them. ``scale``: digits behind the point, of money. ``sql``: how the
    column ``{c}`` is selected, so that the driver gives its values in ``form``."""

    name: str
    logical: pa.DataType | None
    form: Form = "plain"
    scale: int = 0
    sql: str = "{c}"


_TEXT = "CAST({c} AS pg_catalog.text)"

# By name in the schema pg_catalog.
_KNOWN: Mapping[str, Type] = {
    one.name: one
    for one in (
        Type("bool", types.BOOLEAN),
        Type("int2", types.SHORT),
        Type("int4", types.INTEGER),
        Type("int8", types.LONG),
        # The driver takes them for signed.
        Type("oid", types.LONG, sql="CAST({c} AS pg_catalog.int8)"),
        Type("float4", types.FLOAT),
        Type("float8", types.DOUBLE),
        Type("text", types.VARCHAR),
        Type("varchar", types.VARCHAR),
        Type("bpchar", types.VARCHAR),
        Type("name", types.VARCHAR),
        Type("bytea", types.BYTEARRAY),
        Type("json", types.JSON, "storage"),
        Type("jsonb", types.JSON, "storage"),
        Type("date", types.DATE, "date"),
        Type("time", types.TIME),
        Type("timetz", types.TIMETZ, "timetz", sql=_TEXT),
        Type("timestamp", types.TIMESTAMP, "moment"),
        Type("timestamptz", types.TIMESTAMPTZ, "moment"),
        Type("varbit", types.BYTEARRAY, "plain", sql="pg_catalog.varbit_send({c})"),
        # Cast to text it would have a mask that its own text has not.
        Type("inet", types.VARCHAR, sql="CAST(pg_catalog.inet_out({c}) AS pg_catalog.text)"),
        Type("point", types.JSON, "point", sql=_TEXT),
    )
}


def typed(name: str, modifier: int = -1, *, money_scale: int = 2) -> Type:
    """How a column of a type comes. ``name``: as pg_type has it, of the type below a domain, empty for types outside
    pg_catalog. ``modifier``: atttypmod, or a domain's. ``money_scale``: digits of money by the server's lc_monetary.
    """
    if name == "numeric":
        return Type(name, numeric(modifier), "numeric")
    if name == "money":
        return Type(name, types.decimal(19, money_scale), "money", money_scale)
    if name == "bit":
        # The length is part of the type, and of one bit it is a yes or no.
        return Type(name, types.BOOLEAN, "bit") if modifier == 1 else Type(name, types.BYTEARRAY, "bits")
    return _KNOWN.get(name) or Type(name, types.VARCHAR, sql=_TEXT)


def numeric(modifier: int) -> pa.DataType | None:
    """NUMERIC(p,s) as a DECIMAL, text where that has too many digits; None without p and s."""
    if modifier < 4:
        return None
    precision, scale = ((modifier - 4) >> 16) & 0xFFFF, (modifier - 4) & 0x7FF
    if scale >= 0x400:  # 11 bits with a sign, since version 15
        scale -= 0x800
    if scale < 0:
        precision, scale = precision - scale, 0
    precision = max(precision, scale)
    return types.decimal(precision, scale) if precision <= types.MAX_PRECISION else types.VARCHAR
