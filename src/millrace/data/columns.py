"""Names of the columns that Millrace adds to rows, and the schema of rejected rows."""

from __future__ import annotations

from collections.abc import Collection

import pyarrow as pa

from millrace.data.dataclass import dataclass

# Inside Millrace (batches, segments) metadata columns always carry these names. The prefix that a workspace chose is
# put in their place when a table is named at the destination (`Prefix.outside`).
INSIDE = "__hevo_"

ID = "__hevo_id"
REF_ID = "__hevo_ref_id"
ARRAY_INDEX = "__hevo_array_index"
OP_TYPE = "__hevo_op_type"
INGESTED_AT = "__hevo__ingested_at"
LOADED_AT = "__hevo__loaded_at"
MARKED_DELETED = "__hevo__marked_deleted"
SOURCE_MODIFIED_AT = "__hevo__source_modified_at"
VALID_FROM = "__hevo__valid_from"
VALID_TO = "__hevo__valid_to"
IS_ACTIVE = "__hevo__is_active"
DATABASE_NAME = "__hevo__database_name"
SCHEMA_NAME = "__hevo__schema_name"

# No column but a table: there a destination notes how far each table is.
LOADS = "__hevo__loads"

# Only in staging tables: the order of rows inside one load, counted from 0 over all its segments.
SEQUENCE = "__he__msg_seq_id"

# Only on the stage, in rows made of the items of an array: how many items that array has.
ARRAY_LENGTH = "__he__array_length"

# Only on the stage, in rows of a log: names of fields, in table shape of columns, that the change did not say because
# they stayed as they were. One text: `BETWEEN` is before, between and behind them. Null where the row says all.
UNCHANGED = "__he__unchanged"
BETWEEN = "\x1f"

# Only on the stage, in the file of a `data.batch.Truncated`: before when the rows were ingested that are deleted.
BEFORE = "__he__before"

# The operation of a staged row that stands for an array without items (`ARRAY_LENGTH` 0); no table has such a row.
EMPTY = "E"

OURS = b"millrace"


def ours(name: str, type_: pa.DataType) -> pa.Field:
    """A field that a connector or the engine made, so that a reserved name in it is meant.

    A field with a reserved name and without this mark is the user's and gets renamed (`src_` in front).
    """
    return pa.field(name, type_, metadata={OURS: b"1"})


def is_ours(field: pa.Field) -> bool:
    return bool(field.metadata and OURS in field.metadata)


# On a decimal field whose digits behind the point nobody declared: they are those of the longest value of its batch.
MEASURED = b"millrace_measured"


def measured(name: str, type_: pa.DataType, metadata: dict[bytes, bytes] | None = None) -> pa.Field:
    """A field whose type follows from its values. As text, such a decimal has its own digits, whatever is beside it."""
    mark = {MEASURED: b"1"} if pa.types.is_decimal(type_) else {}
    return pa.field(name, type_, metadata={**(metadata or {}), **mark} or None)


def is_measured(field: pa.Field) -> bool:
    return bool(field.metadata and MEASURED in field.metadata)


# Fields that the engine reads in rows. A user's field of such a name would be taken for them, or stand beside them.
_READ = frozenset((OP_TYPE, INGESTED_AT, SOURCE_MODIFIED_AT, ARRAY_LENGTH, UNCHANGED))


def own_name(name: str) -> str:
    """The name that a user's field of that name has in rows."""
    return f"src_{name}" if name in _READ else name


def renamed(schema: pa.Schema, key: Collection[str] = ()) -> pa.Schema:
    """The schema in which no field of the user's, but for those of the key, has a name that the engine reads: such a
    one gets `src_` in front. The same object where there is none."""
    taken = {*schema.names}
    if _READ.isdisjoint(taken):
        return schema
    fields: list[pa.Field] = []
    for one in schema:
        name = one.name
        if name in _READ and name not in key and not is_ours(one):
            while name in taken:
                name = f"src_{name}"
            taken.add(name)
        fields.append(one if name == one.name else one.with_name(name))
    return pa.schema(fields, metadata=schema.metadata)


def own_names(rows: pa.RecordBatch, key: Collection[str] = ()) -> pa.RecordBatch:
    """The rows with the user's fields as `renamed` names them."""
    old = rows.schema
    schema = renamed(old, key)
    return rows if schema is old else pa.RecordBatch.from_arrays(rows.columns, schema=schema)


@dataclass(frozen=True, slots=True)
class Prefix:
    """The metadata prefix of a workspace, `__hevo_` unless it chose another before its first load."""

    value: str = INSIDE

    def outside(self, name: str) -> str:
        """The name at the destination of a metadata column: `__hevo__loaded_at`, or `__mr__loaded_at`."""
        return self.value + name.removeprefix(INSIDE) if name.startswith(INSIDE) else name

    def reserves(self, name: str) -> bool:
        return name.lower().startswith((self.value, INSIDE, "__he__"))


# A rejected row: which stream, at which stage of the way, why, and the row itself as JSON text. `origin` is the row as
# the source gave it, where it was refused after the steps and may go through them again; `made` says that the user's
# code made the row; `types` names the logical type of each field of what enters again (`data.described`). With
# `origin` come `entered`, the stream that it came from, and `siblings`: code made other rows of it, and they went on.
REJECTS = pa.schema(
    [
        pa.field("stream", pa.string(), nullable=False),
        pa.field("stage", pa.string(), nullable=False),  # source | steps | mapping | load
        pa.field("code", pa.string(), nullable=False),  # loading.md 19
        pa.field("message", pa.string(), nullable=False),
        pa.field("row", pa.string(), nullable=False),
        pa.field("rejected_at", pa.timestamp("us", "UTC"), nullable=False),
        pa.field("origin", pa.string()),
        pa.field("made", pa.bool_()),
        pa.field("types", pa.string()),
        pa.field("entered", pa.string()),
        pa.field("siblings", pa.bool_()),
    ]
)
