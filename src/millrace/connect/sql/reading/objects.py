"""Tables, views and queries of a database as the streams of its source."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import TypeVar

import pyarrow as pa

from millrace.connect.source import Context, Note, Stream
from millrace.connect.sql.reading import modes
from millrace.connect.sql.reading.relation import Relation
from millrace.data.batch import JSON
from millrace.errors import ConfigError, ObjectRefused, Transient

D = TypeVar("D")


def stream(
    relation: Relation, schema: pa.Schema, wished: JSON, *, historical: bool, table: str | None = None
) -> Stream:
    """The relation as a stream. ``wished``: how a person wants it to be queried, None where nobody said so."""
    try:
        mode = modes.chosen(wished, relation)
    except ConfigError:
        # It is told when the object is read.
        mode = modes.best(relation)
    return Stream(
        relation.name,
        key=relation.identity or ((mode.incrementing,) if mode.incrementing else ()),
        cursor_field=mode.timestamp or mode.incrementing,
        schema=schema,
        historical=historical,
        table=table,
    )


def present(described: Mapping[str, D], name: str) -> D:
    """The object of that name. Raises Transient where it is gone, for the next run lists objects anew."""
    if name not in described:
        raise Transient(
            f"{name} is no longer there, or the user may not read it any more.",
            hint="Run again: tables are listed anew.",
        )
    return described[name]


@contextmanager
def asked(name: str) -> Generator[None]:
    """The block asks for the object of that name, and for nothing that all need: what the server refuses there is no
    matter of others. Raises ObjectRefused."""
    try:
        yield
    except ObjectRefused:
        raise
    except ConfigError as error:
        raise ObjectRefused(
            f"{name}: {error.message}", hint=error.hint, path=error.path, docs=error.docs, code=error.code
        ) from error


def left_out(context: Context, column: str, count: int) -> None:
    """The run says that values were left out, as a person wished."""
    text = f"{column} had {count} values that no type of a warehouse has; they were left out"
    context.note(Note("special_values", text))
