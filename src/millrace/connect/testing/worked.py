"""The worked example of loading.md 5: what the table holds, what comes, what it holds then."""

from __future__ import annotations

from millrace.connect.destination import Meta, Table
from millrace.connect.testing.rows import META, rows, table
from millrace.data import columns, types
from millrace.data.batch import LoadMode

SCHEMA = {"k": types.LONG, "v": types.VARCHAR, columns.INGESTED_AT: types.LONG, columns.OP_TYPE: types.VARCHAR}
BEFORE = rows(
    SCHEMA, (1, "a", 100, "I"), (2, "b", 500, "I"), (3, "c", 100, "I"), (5, "e", 90, "I"), (5, None, 100, "D")
)
BATCH = rows(
    SCHEMA,
    (1, "a2", 200, "U"),
    (1, "a3", 200, "U"),
    (2, "stale", 400, "U"),
    (3, "c2", 200, "U"),
    (3, None, 300, "D"),
    (4, "d", 200, "I"),
    (5, "e2", 200, "I"),
    (6, None, 200, "D"),
    (7, "g", 200, "I"),
    (7, None, 210, "D"),
    (7, "g2", 220, "I"),
)
AFTER = [
    (1, "a3", 200, False, 22),
    (2, "b", 500, False, 11),
    (3, "c2", 300, True, 22),
    (4, "d", 200, False, 22),
    (5, "e2", 200, False, 22),
    (6, None, 200, True, 22),
    (7, "g2", 220, False, 22),
]


def example(name: str = "worked", *, mode: LoadMode = "merge", meta: Meta = META) -> Table:
    return table(name, {"k": types.LONG, "v": types.VARCHAR}, key=("k",), mode=mode, meta=meta)
