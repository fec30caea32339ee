"""The SQL of every dialect, kept as text: `make golden` writes it anew, review reads the difference."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import fields, replace
from pathlib import Path
from typing import get_args

import pytest

from millrace.connect.destination import Nest, Table
from millrace.connect.sql import arrays, history, statements
from millrace.connect.sql.dialect import Dialect
from millrace.connect.sql.duckdb import TABLES
from millrace.connect.sql.statements import Found
from millrace.connect.testing.extremes import EXTREMES
from millrace.connect.testing.rows import META, PLAIN, table
from millrace.data import columns, types
from millrace.data.batch import LoadMode
from millrace.destinations.mysql import merging, shape, versions
from millrace.destinations.mysql.dialect import ON_MARIADB, ON_MYSQL
from millrace.destinations.postgres.dialect import POSTGRES

FOLDER = Path(__file__).parents[2] / "golden" / "sql"
AT_MS = 1_700_000_000_000
DIALECTS = {dialect.name: dialect for dialect in (TABLES, POSTGRES, ON_MYSQL, ON_MARIADB)}


def every_type() -> Table:
    return table("every type", {name: type_ for name, (type_, _) in EXTREMES.items()}, key=("long", "varchar"))


def users(*, deletes: bool, mode: LoadMode = "merge") -> Table:
    business = {"id": types.LONG, "name": types.VARCHAR, columns.SOURCE_MODIFIED_AT: types.TIMESTAMPTZ}
    return table(
        "users",
        business,
        key=("id",),
        mode=mode,
        meta=META if deletes else PLAIN,
        order=(columns.SOURCE_MODIFIED_AT,) if deletes else (),
    )


def items() -> Table:
    business = {columns.ID: types.VARCHAR, columns.REF_ID: types.VARCHAR, columns.ARRAY_INDEX: types.INTEGER}
    made = table("orgs_contact", business, key=(columns.ID,), meta=META)
    below = (("orgs_contact_phone_no", "orgs_contact"),)
    return replace(made, nest=Nest(*business, parent="orgs_division", below=below))


def text(dialect: Dialect) -> Iterator[str]:
    """Every statement of a dialect, each under a line that says what it is."""
    target = dialect.path("schema", "users")
    create, merge_of, record_of = statements.create, statements.merge, history.record
    if dialect in (ON_MYSQL, ON_MARIADB):
        create, merge_of, record_of = _create_in_mysql, merging.merge, versions.record
    yield "-- create: every logical type"
    yield create(dialect, every_type(), dialect.path("schema", "every type"))
    yield "-- create: merge, with deletes"
    yield create(dialect, users(deletes=True), target)
    yield "-- create: history"
    yield create(dialect, users(deletes=True, mode="history"), target)
    narrow = [Found("id", dialect.types["LONG"], types.LONG), Found("name", dialect.types["INTEGER"], types.INTEGER)]
    yield "-- alter: columns added, a type widened"
    for change in statements.alter(dialect, users(deletes=True), target, narrow):
        yield change.statement
    for kind in dict.fromkeys(types.kind(type_) for type_, _ in EXTREMES.values()):
        yield f"-- {kind} as text"
        yield dialect.as_text('"c"', kind)
    yield "-- append, with deletes"
    yield statements.append(dialect, users(deletes=True, mode="append"), target, rows="rows", at_ms=AT_MS)
    for deletes in (False, True):
        merge = merge_of(dialect, users(deletes=deletes), target, rows="rows", at_ms=AT_MS)
        for field in fields(merge):
            yield f"-- merge, {'with' if deletes else 'without'} deletes: {field.name}"
            yield getattr(merge, field.name)
    nest = items().nest
    assert nest is not None
    around = arrays.ends(
        dialect,
        items(),
        nest,
        dialect.path("schema", "orgs_contact"),
        at_ms=AT_MS,
        above=dialect.path("schema", "orgs_division"),
    )
    for field in fields(around):
        yield f"-- merge of items: {field.name}"
        yield getattr(around, field.name)
    yield "-- merge of items: those below"
    fallen, into = statements.temporary(dialect, "fallen"), statements.temporary(dialect, "fallen_0")
    phones = dialect.path("schema", "orgs_contact_phone_no")
    yield arrays.below(dialect, items(), nest, statements.order(items()), phones, fallen, into)
    record = record_of(dialect, users(deletes=True, mode="history"), target, at_ms=AT_MS)
    for number, statement in enumerate((*record.statements, record.counts, *record.effects), 1):
        yield f"-- history: {number}"
        yield statement


def _create_in_mysql(dialect: Dialect, table: Table, target: str) -> str:
    return shape.create(dialect, shape.fitted(dialect, table, None), target)


@pytest.mark.parametrize("name", DIALECTS)
def test_golden_sql_of_a_dialect(name: str) -> None:
    path = FOLDER / f"{name}.sql"
    made = "".join(line + ("\n" if line.startswith("--") else ";\n\n") for line in text(DIALECTS[name]))
    if os.environ.get("MILLRACE_GOLDEN") == "write":
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(made, encoding="utf-8")
    assert made == path.read_text(encoding="utf-8"), "run `make golden` and read the difference"


@pytest.mark.parametrize("name", DIALECTS)
def test_a_dialect_has_a_row_for_every_logical_type_and_reads_it_back(name: str) -> None:
    dialect = DIALECTS[name]
    for type_, _ in EXTREMES.values():
        kept = dialect.kept(type_)
        assert dialect.kept(kept) == kept, "what was kept once stays as it is"
    assert set(dialect.types) == set(get_args(types.Kind)) - {"NULL"}
