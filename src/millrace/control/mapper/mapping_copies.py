"""Mappings of a copy of a pipeline: what people decided for the original, in tables of the copy's own prefix."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from millrace.connect.source import Stream
from millrace.control.books import commits
from millrace.control.mapper import fittings, mapping_plans, mapping_versions
from millrace.control.mapper.mapping_plans import By
from millrace.engine.mapping import Mapping

if TYPE_CHECKING:
    import sqlalchemy as sa

    from millrace.control.home import Home
    from millrace.control.pipeline.pipelines import Pipeline


def copied(home: Home, original: Pipeline, copy: Pipeline) -> list[Mapping]:
    """The latest mapping of every event type, as the first one of the copy; what only rows of the original had is left
    out. Event types that share a table share one again."""
    naming = fittings.naming_of(home, copy)
    before = fittings.naming_of(home, original).table(Stream("x"))[:-1]  # the prefix as it stands in names
    tables: dict[str, str] = {}
    found: list[Mapping] = []
    for mapping in mapping_versions.latest(home, original).values():
        if mapping.table not in tables:
            bare = mapping.table
            if bare.casefold().startswith(before.casefold()):
                bare = bare[len(before) :]
            tables[mapping.table] = naming.table(Stream(bare or mapping.table), frozenset(tables.values()))
        columns = tuple(replace(one, exact=True, formerly=(), brings=None) for one in mapping.columns)
        found.append(replace(mapping, version=1, table=tables[mapping.table], columns=columns, staged=()))
    return found


def keep(home: Home, connection: sa.Connection, original: Pipeline, copy: Pipeline, made: list[Mapping]) -> None:
    """They are those of the copy, in the transaction of ``connection``."""
    entry = commits.Entry(connection, copy.id, 0, home.database.now())
    for one in made:
        mapping_plans.keep(entry, one, By(reason=f"copied from pipeline {original.name}").signed(home))
