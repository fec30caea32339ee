"""What a person may do to a mapping, each as an `Edit`; several of them can be one version."""

from __future__ import annotations

from collections.abc import Mapping as Dict
from collections.abc import Sequence
from dataclasses import replace

import pyarrow as pa

from millrace.connect.naming import Taken
from millrace.control.as_code.findings import nearest
from millrace.control.mapper.mapping_plans import Around, Edit
from millrace.control.mapper.mapping_versions import kept
from millrace.data import types
from millrace.engine import editing
from millrace.engine.mapping import Mapping
from millrace.engine.policy import Policy
from millrace.errors import ConfigError


def several(edits: Sequence[Edit]) -> Edit:
    """One edit after the other, each on what the one before made."""

    def change(at: Around) -> Mapping:
        before, place = at.mapping, at.place
        try:
            for one in edits:
                made = one(at)
                at.place = at.place if made.table == at.mapping.table else at.place_of(made.table)
                at.mapping = made
            return at.mapping
        finally:
            at.mapping, at.place = before, place

    return change


def skipping(skipped: bool) -> Edit:
    return lambda at: editing.skipped(at.mapping) if skipped else editing.included(at.mapping)


def automatic(auto: bool | None) -> Edit:
    return lambda at: editing.with_auto(at.mapping, auto, pipeline=at.pipeline.auto_mapping)


def following(policy: Policy | None) -> Edit:
    return lambda at: editing.with_policy(at.mapping, policy)


def renaming(field: str, name: str) -> Edit:
    return lambda at: editing.renamed(at.mapping, field, name, at.naming)


def ignoring(field: str) -> Edit:
    return lambda at: editing.ignored(at.mapping, field, at.place)


def heeding(field: str) -> Edit:
    return lambda at: editing.unignored(at.mapping, field)


def typing_as(field: str, type_: str) -> Edit:
    """Raises ConfigError when there is no type of that name."""
    wanted = types.parse(type_)
    if pa.types.is_null(wanted):
        raise ConfigError("no column can be of type NULL", hint="Name another type.", code="never_fits")
    return lambda at: editing.retyped(at.mapping, field, wanted, at.naming, at.place)


def freeing(field: str) -> Edit:
    return lambda at: editing.freed(at.mapping, field)


def keying(fields: Sequence[str]) -> Edit:
    """Only before the table exists, or where it has no key yet (loading.md 3)."""

    def change(at: Around) -> Mapping:
        if at.mapping.key and tuple(fields) != at.mapping.key and at.there() is not None:
            raise ConfigError(
                f"{at.mapping.table} tells rows apart by {', '.join(at.mapping.key)}, and the key of a table stays",
                hint="Delete the table first, or map the event type to another one.",
                code="fixed_after_load",
            )
        return editing.keyed(at.mapping, fields, at.mode)

    return change


def unmapping() -> Edit:
    return lambda at: editing.unmapped(at.mapping)


def resetting() -> Edit:
    return lambda at: replace(editing.cleared(at.mapping, at.place), auto=at.pipeline.auto_mapping)


def restoring(version: int) -> Edit:
    def change(at: Around) -> Mapping:
        then = kept(at.home, at.pipeline.name, at.mapping.stream, version).mapping
        return editing.restored(at.mapping, then, at.place)

    return change


def mapping_to(table: str, columns: Dict[str, str | None]) -> Edit:
    """Rows go to ``table``, each field of ``columns`` to the column named, or (None) to none."""
    return lambda at: _mapped(at, table, columns)


def suggested(at: Around, table: str) -> dict[str, str]:
    """The column of an existing table for each field of which it has one by name (loading.md 15.6)."""
    there = {name.casefold(): name for name in at.there(table) or {}}
    found: dict[str, str] = {}
    for source in _fields(at.mapping):
        wanted = (source, at.naming.column(source, Taken()))
        if (name := next((there[one.casefold()] for one in wanted if one.casefold() in there), None)) is not None:
            found[source] = name
    return found


def _mapped(at: Around, table: str, columns: Dict[str, str | None]) -> Mapping:
    editing.check_table(table, at.naming)
    # Most destinations do not tell `Orders` from `orders`.
    folded = table.casefold()
    taken = (
        one.stream for one in at.known.values() if one.table.casefold() == folded and one.stream != at.mapping.stream
    )
    if (owner := next(taken, None) or at.awaited(table)) is not None:
        raise ConfigError(
            f"the table {table!r} belongs to the event type {owner!r}", hint="Choose another table.", code="table_taken"
        )
    known = _fields(at.mapping)
    for source in columns.keys() - known.keys():
        raise ConfigError(
            f"{at.mapping.stream} has no field {source!r}",
            hint=nearest(source, sorted(known), what="Fields"),
            code="unknown_field",
        )
    there = at.there(table)
    near = suggested(at, table) if there is not None else {}
    named = {source: columns.get(source, near.get(source)) for source in known}
    chosen: dict[str, tuple[str, pa.DataType]] = {}
    for source, type_ in known.items():
        name = named[source]
        if name is None:
            # In a table of the user, fields without a place wait, unless columns are made by themselves.
            theirs = there is not None and not at.mapping.auto and source not in at.mapping.key
            if theirs or source in columns:
                continue
            name = _new_name(at, source, frozenset({*named.values()} - {None} | {c for c, _ in chosen.values()}))
        present = next((one for one in there or {} if one.casefold() == name.casefold()), name)
        chosen[source] = (present, (there or {}).get(present, type_))
    made = editing.mapped_to(at.mapping, table, chosen, at.naming, at.place)
    place = at.place
    if table != at.mapping.table:
        place, before = at.place_of(table), at.before(table)
        made = made if before is None else editing.returned(made, before, place)
    for source in (source for source, name in columns.items() if name is None):
        made = editing.ignored(made, source, place)
    return made


def _new_name(at: Around, source: str, taken: frozenset[str | None]) -> str:
    """The name that the field's column has, or would get, beside those that are taken."""
    used = frozenset(name for name in taken if name is not None)
    present = at.mapping.of(source)
    return present.name if present and present.name not in used else at.naming.column(source, Taken(used))


def _fields(mapping: Mapping) -> dict[str, pa.DataType]:
    """Fields of the event type that are known, with the type of their column or of their values."""
    known = {column.source: column.type for column in mapping.columns if not column.ours}
    return known | {name: type_ for name, type_ in mapping.found if name not in known and name not in mapping.ignored}
