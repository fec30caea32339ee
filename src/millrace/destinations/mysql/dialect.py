"""How MySQL and MariaDB write names and types.

Sources: https://dev.mysql.com/doc/refman/8.4/en/data-types.html, https://mariadb.com/kb/en/data-types/
"""

from __future__ import annotations

from dataclasses import replace

from millrace.connect.destination import Limits
from millrace.connect.sql.dialect import Dialect
from millrace.data.types import Kind

# 1,017 columns are the most that InnoDB has.
LIMITS = Limits(table_name=64, column_name=64, columns=1017, case="keep", max_decimal=65, nan=False)

# Both spell the type of a moment alike; the comment of the column tells a moment in UTC from a local one.
UTC = "COMMENT 'UTC'"
_MOMENT = "DATE_FORMAT({c}, '%Y-%m-%dT%H:%i:%s.%f{z}')"
# MySQL writes 1e20 where others write 1e+20. A float is written as the double that it is: as itself it has 6 digits.
_NUMBER = "REPLACE(REPLACE(CAST({c} + 0e0 AS CHAR), 'e', 'e+'), 'e+-', 'e-')"

MYSQL = Dialect(
    name="mysql",
    limits=LIMITS,
    types={
        "BOOLEAN": "TINYINT(1)",
        "BYTE": "TINYINT",
        "SHORT": "SMALLINT",
        "INTEGER": "INT",
        "LONG": "BIGINT",
        "FLOAT": "FLOAT",
        "DOUBLE": "DOUBLE",
        "DECIMAL": "DECIMAL({p},{s})",
        "DATE": "DATE",
        "TIME": "TIME(6)",
        "TIMETZ": "VARCHAR(24)",
        "TIMESTAMP": "DATETIME(6)",
        "TIMESTAMPTZ": f"DATETIME(6) {UTC}",
        "VARCHAR": "LONGTEXT",
        "BYTEARRAY": "LONGBLOB",
        "JSON": "JSON",
        "STRUCT": "JSON",
        "ARRAY": "JSON",
        "XML": "LONGTEXT",
        "UUID": "LONGTEXT",
        "GEO": "LONGTEXT",
    },
    back=(
        (r"tinyint\(1\)", "BOOLEAN"),
        (r"tinyint(?:\(\d+\))?", "BYTE"),
        (r"smallint(?:\(\d+\))?|tinyint(?:\(\d+\))? unsigned", "SHORT"),
        (r"(?:int|mediumint)(?:\(\d+\))?|(?:smallint|mediumint)(?:\(\d+\))? unsigned", "INTEGER"),
        (r"bigint(?:\(\d+\))?|int(?:\(\d+\))? unsigned", "LONG"),
        (r"bigint(?:\(\d+\))? unsigned", "DECIMAL(20,0)"),
        (r"float", "FLOAT"),
        (r"double", "DOUBLE"),
        (r"decimal\((\d+),(\d+)\)", r"DECIMAL(\1,\2)"),
        # A moment without fractions counts as a day, so that it is made a full one before any other value goes in.
        (r"date|datetime", "DATE"),
        (r"time\(6\)", "TIME"),
        (r"datetime\(6\)", "TIMESTAMP"),
        (r"datetime\(6\) comment '?utc'?", "TIMESTAMPTZ"),
        (r"varchar\((\d+)\)(?: character set .*)?", r"VARCHAR(\1)"),
        (r"(?:tiny|medium|long)?text(?: character set .*)?", "VARCHAR"),
        (r"varbinary\(\d+\)|(?:tiny|medium|long)?blob", "BYTEARRAY"),
        (r"json", "JSON"),
    ),
    row_id="",
    row_id_type="BIGINT",
    wide="LONGTEXT",  # decimals end at 65 digits, 30 of them behind the point; text keeps them all
    bounded="VARCHAR({n})",
    widen="ALTER TABLE {table} MODIFY COLUMN {column} {type}",
    utc="TIMESTAMP '{t}'",
    local_day="CAST(CAST(TIMESTAMPADD(SECOND, {s}, {c}) AS DATE) AS CHAR)",
    text={
        "BOOLEAN": "CASE WHEN {c} IS NULL THEN NULL WHEN {c} = 0 THEN 'false' ELSE 'true' END",
        "BYTE": "CAST({c} AS CHAR)",
        "SHORT": "CAST({c} AS CHAR)",
        "INTEGER": "CAST({c} AS CHAR)",
        "LONG": "CAST({c} AS CHAR)",
        "FLOAT": _NUMBER,
        "DOUBLE": _NUMBER,
        "DECIMAL": "CAST({c} AS CHAR)",
        "DATE": "CAST({c} AS CHAR)",
        "TIME": "CAST({c} AS CHAR)",
        "TIMETZ": "{c}",
        "TIMESTAMP": _MOMENT.replace("{z}", ""),
        "TIMESTAMPTZ": _MOMENT.replace("{z}", "Z"),
        "VARCHAR": "{c}",
        "BYTEARRAY": "REPLACE(TO_BASE64({c}), '\\n', '')",
        "JSON": "CAST({c} AS CHAR)",
        "STRUCT": "CAST({c} AS CHAR)",
        "ARRAY": "CAST({c} AS CHAR)",
        "XML": "{c}",
        "UUID": "{c}",
        "GEO": "{c}",
    },
    temp_words="TEMPORARY TABLE",
    drop_temp="DROP TEMPORARY TABLE",
    primary_key=True,
    folds_case=True,
    moment="(CAST('1970-01-01' AS DATETIME(6)) + INTERVAL ({ms} * 1000) MICROSECOND)",
    millisecond="INTERVAL 1000 MICROSECOND",
    mark="`",
    most_scale=30,
    nulls_last="",  # MySQL sorts them last by itself where the order is descending
    differs="NOT ({a} <=> {b})",
    joined_update=True,
    backslashes=True,
)

# Kinds whose values the system itself would write otherwise as text.
REWRITTEN: frozenset[Kind] = frozenset({"BOOLEAN", "FLOAT", "DOUBLE", "BYTEARRAY", "TIMESTAMP", "TIMESTAMPTZ"})


def _comparing(name: str, collation: str) -> Dialect:
    words = f" CHARACTER SET utf8mb4 COLLATE {collation}"
    texts = {kind: f"{sql}{words}" for kind, sql in MYSQL.types.items() if "TEXT" in sql or "CHAR" in sql}
    return replace(
        MYSQL, name=name, types={**MYSQL.types, **texts}, wide=MYSQL.wide + words, bounded=MYSQL.bounded + words
    )


# Text is compared byte by byte, and blanks at its end count: keys that differ in any way are different keys.
ON_MYSQL = _comparing("mysql", "utf8mb4_0900_bin")
ON_MARIADB = _comparing("mariadb", "utf8mb4_nopad_bin")
