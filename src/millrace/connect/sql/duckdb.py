"""How DuckDB writes names and types. Source: https://duckdb.org/docs/current/sql/data_types/overview"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from millrace.connect.destination import Limits
from millrace.connect.sql.dialect import Dialect

if TYPE_CHECKING:
    import duckdb

LIMITS = Limits(nesting=("NATIVE", "SPLIT", "COLLAPSE", "FLAT", "NATURAL", "COLLAPSE_EXCEPT_ARRAYS"))

_NUMBER = (
    "CASE WHEN isnan({c}) THEN 'NaN' WHEN isinf({c}) THEN CASE WHEN {c} < 0 THEN '-Infinity' ELSE 'Infinity' END "
    "ELSE regexp_replace(CAST({c} AS VARCHAR), '\\.0$', '') END"
)

DUCKDB = Dialect(
    name="duckdb",
    limits=LIMITS,
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
    back=(
        (r"boolean", "BOOLEAN"),
        (r"tinyint", "BYTE"),
        (r"smallint|utinyint", "SHORT"),
        (r"integer|usmallint", "INTEGER"),
        (r"bigint|uinteger", "LONG"),
        (r"float", "FLOAT"),
        (r"double", "DOUBLE"),
        (r"decimal\((\d+), ?(\d+)\)", r"DECIMAL(\1,\2)"),
        (r"date", "DATE"),
        (r"time", "TIME"),
        (r"time with time zone|timetz", "TIMETZ"),
        (r"timestamp", "TIMESTAMP"),
        (r"timestamp with time zone|timestamptz", "TIMESTAMPTZ"),
        (r"varchar", "VARCHAR"),
        (r"blob", "BYTEARRAY"),
        (r"json", "JSON"),
    ),
    row_id="rowid",
    row_id_type="BIGINT",
    wide="VARCHAR",  # DuckDB's decimals end at 38 digits; text keeps them all
    bounded="VARCHAR",  # DuckDB does not enforce a length
    widen="ALTER TABLE {table} ALTER COLUMN {column} SET DATA TYPE {type} USING {value}",
    text={
        "FLOAT": _NUMBER,
        "DOUBLE": _NUMBER,
        "BYTEARRAY": "base64({c})",
        "TIME": "strftime(DATE '1970-01-01' + {c}, '%H:%M:%S.%f')",
        "TIMESTAMP": "strftime({c}, '%Y-%m-%dT%H:%M:%S.%f')",
        "TIMESTAMPTZ": "strftime({c} AT TIME ZONE 'UTC', '%Y-%m-%dT%H:%M:%S.%fZ')",
    },
    temp="temp.main.",
    folds_case=True,
)

# Tables have columns of structs and lists; files have their text. JSON that repeats itself from row to row takes a
# quarter less room, and a fifth less time to write, by zstd than by what DuckDB chooses (docs/performance.md).
TABLES = replace(
    DUCKDB,
    nested=True,
    storing={"JSON": "USING COMPRESSION zstd"},
    text={**DUCKDB.text, "STRUCT": "CAST(to_json({c}) AS VARCHAR)", "ARRAY": "CAST(to_json({c}) AS VARCHAR)"},
)

# Files whose format is older than zstd in DuckDB.
OLD_TABLES = replace(TABLES, storing={})
OLD_FORMATS = ("v0.", "v1.0.", "v1.1.")


def readable(found: duckdb.DuckDBPyRelation) -> duckdb.DuckDBPyRelation:
    """The same rows with times that have an offset as text: Arrow's time has none."""
    zoned = [str(type_) == "TIME WITH TIME ZONE" for type_ in found.types]
    if not any(zoned):
        return found
    names = [DUCKDB.quoted(name) for name in found.columns]
    return found.project(
        ", ".join(f"CAST({q} AS VARCHAR) AS {q}" if z else q for q, z in zip(names, zoned, strict=True))
    )
