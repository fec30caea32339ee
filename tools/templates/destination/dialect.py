"""How Acme writes names and types. Source: https://example.com/docs/types"""

from __future__ import annotations

from millrace.connect.destination import Limits
from millrace.connect.sql.dialect import Dialect

LIMITS = Limits(table_name=128, column_name=128, columns=2000)

ACME = Dialect(
    name="acme",
    limits=LIMITS,
    # A SQL type for every logical type. What the system lacks is kept as text.
    types={
        "BOOLEAN": "BOOLEAN",
        "BYTE": "TINYINT",
        "SHORT": "SMALLINT",
        "INTEGER": "INTEGER",
        "LONG": "BIGINT",
        "FLOAT": "FLOAT",
        "DOUBLE": "DOUBLE",
        "DECIMAL": "DECIMAL({p},{s})",
        "DATE": "DATE",
        "TIME": "TIME",
        "TIMETZ": "TIMETZ",
        "TIMESTAMP": "TIMESTAMP",
        "TIMESTAMPTZ": "TIMESTAMPTZ",
        "VARCHAR": "VARCHAR",
        "BYTEARRAY": "BLOB",
        "JSON": "JSON",
        "STRUCT": "JSON",
        "ARRAY": "JSON",
        "XML": "VARCHAR",
        "UUID": "VARCHAR",
        "GEO": "VARCHAR",
    },
    # The system's own spelling of a column's type, as a regular expression, and the logical type that it means.
    back=(
        (r"boolean", "BOOLEAN"),
        (r"tinyint", "BYTE"),
        (r"smallint", "SHORT"),
        (r"integer", "INTEGER"),
        (r"bigint", "LONG"),
        (r"float", "FLOAT"),
        (r"double", "DOUBLE"),
        (r"decimal\((\d+), ?(\d+)\)", r"DECIMAL(\1,\2)"),
        (r"date", "DATE"),
        (r"time", "TIME"),
        (r"time with time zone", "TIMETZ"),
        (r"timestamp", "TIMESTAMP"),
        (r"timestamp with time zone", "TIMESTAMPTZ"),
        (r"varchar", "VARCHAR"),
        (r"blob", "BYTEARRAY"),
        (r"json", "JSON"),
    ),
    row_id="rowid",
    row_id_type="BIGINT",
    wide="VARCHAR",
    bounded="VARCHAR",
    widen="ALTER TABLE {table} ALTER COLUMN {column} SET DATA TYPE {type} USING {value}",
    text={
        "BYTEARRAY": "base64({c})",
        "TIME": "strftime({c}, '%H:%M:%S.%f')",
        "TIMESTAMP": "strftime({c}, '%Y-%m-%dT%H:%M:%S.%f')",
        "TIMESTAMPTZ": "strftime({c} AT TIME ZONE 'UTC', '%Y-%m-%dT%H:%M:%S.%fZ')",
    },
    temp="temp.main.",
    folds_case=True,
)
