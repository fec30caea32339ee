"""How PostgreSQL writes names and types. Source: https://www.postgresql.org/docs/current/datatype.html"""

from __future__ import annotations

from millrace.connect.destination import Limits
from millrace.connect.sql.dialect import Dialect

LIMITS = Limits(table_name=63, column_name=63, columns=1600, count_bytes=True, max_decimal=76)

_MOMENT = """to_char({c}{zone}, 'YYYY-MM-DD"T"HH24:MI:SS.US{end}')"""

POSTGRES = Dialect(
    name="postgres",
    limits=LIMITS,
    types={
        "BOOLEAN": "BOOLEAN",
        "BYTE": "SMALLINT",
        "SHORT": "SMALLINT",
        "INTEGER": "INTEGER",
        "LONG": "BIGINT",
        "FLOAT": "REAL",
        "DOUBLE": "DOUBLE PRECISION",
        "DECIMAL": "NUMERIC({p},{s})",
        "DATE": "DATE",
        "TIME": "TIME",
        "TIMETZ": "TIMETZ",
        "TIMESTAMP": "TIMESTAMP",
        "TIMESTAMPTZ": "TIMESTAMPTZ",
        "VARCHAR": "TEXT",
        "BYTEARRAY": "BYTEA",
        "JSON": "JSONB",
        "STRUCT": "JSONB",
        "ARRAY": "JSONB",
        "XML": "TEXT",
        "UUID": "TEXT",
        "GEO": "TEXT",
    },
    back=(
        (r"boolean", "BOOLEAN"),
        (r"smallint", "SHORT"),
        (r"integer", "INTEGER"),
        (r"bigint", "LONG"),
        (r"real", "FLOAT"),
        (r"double precision", "DOUBLE"),
        (r"numeric\((\d+),(\d+)\)", r"DECIMAL(\1,\2)"),
        (r"date", "DATE"),
        (r"time(?: without time zone)?", "TIME"),
        (r"time with time zone|timetz", "TIMETZ"),
        (r"timestamp(?: without time zone)?", "TIMESTAMP"),
        (r"timestamp with time zone|timestamptz", "TIMESTAMPTZ"),
        (r"text|character varying", "VARCHAR"),
        (r"(?:character varying|varchar)\((\d+)\)", r"VARCHAR(\1)"),
        (r"bytea", "BYTEARRAY"),
        (r"jsonb", "JSON"),
    ),
    open={
        # Types of a user's that take values exactly, though no logical type is kept in them.
        "numeric": ("BYTE", "SHORT", "INTEGER", "LONG", "DECIMAL"),
        "json": ("JSON", "STRUCT", "ARRAY"),
    },
    row_id="ctid",
    row_id_type="tid",
    wide="NUMERIC({p},{s})",
    bounded="VARCHAR({n})",
    widen="ALTER TABLE {table} ALTER COLUMN {column} TYPE {type} USING {value}",
    text={
        "BYTEARRAY": "translate(encode({c}, 'base64'), E'\\n', '')",
        "TIME": "to_char({c}, 'HH24:MI:SS.US')",
        "TIMESTAMP": _MOMENT.replace("{zone}", "").replace("{end}", ""),
        "TIMESTAMPTZ": _MOMENT.replace("{zone}", " AT TIME ZONE 'UTC'").replace("{end}", '"Z"'),
    },
    arriving={"TIMETZ": "CAST({c} AS TIMETZ)"},
    json_value="CAST({v} AS JSONB)",
    temp="pg_temp.",
    primary_key=True,
    moment="to_timestamp({ms} / 1000.0)",
    local_day="to_char(({c} AT TIME ZONE 'UTC') + INTERVAL '1 second' * {s}, 'YYYY-MM-DD')",
)
