"""Changes that a person makes to a mapping: pure functions from one version to the next (loading.md 15.4, 15.6).

None of them loses a row that is staged: what waits in an older shape is loaded in it (`Mapping.staged`,
`MappedColumn.formerly`). Each raises ConfigError for what cannot be.
"""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Mapping as Dict
from dataclasses import replace
from typing import Literal

import pyarrow as pa

from millrace.connect.destination import Limits
from millrace.connect.naming import Taken
from millrace.data import types
from millrace.data.batch import LoadMode
from millrace.data.cast import fits
from millrace.data.dataclass import dataclass
from millrace.engine.mapping import RESERVED_COLUMNS, MappedColumn, Mapping, StagedColumn, policy_of
from millrace.engine.naming import Naming
from millrace.engine.policy import Policy
from millrace.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Place:
    """How far the table of a mapping is: its generation, and the last segments staged for it and loaded into it."""

    generation: int = 0
    last: int = 0
    loaded: int = 0


def next_version(old: Mapping, new: Mapping) -> Mapping:
    """``new`` as the version after ``old``; ``old`` itself where nothing differs."""
    return old if replace(new, version=old.version) == old else replace(new, version=old.version + 1)


def skipped(mapping: Mapping) -> Mapping:
    """Rows of the event type are left out; those that were staged before are still loaded."""
    return replace(mapping, skipped=True)


def included(mapping: Mapping) -> Mapping:
    return replace(mapping, skipped=False)


def with_auto(mapping: Mapping, auto: bool | None, *, pipeline: bool) -> Mapping:
    """Auto mapping of this event type on or off, or (None) as the pipeline has it."""
    return _reopened(replace(mapping, own_auto=auto, auto=pipeline if auto is None else auto))


def with_policy(mapping: Mapping, policy: Policy | None) -> Mapping:
    """A policy of its own, or (None) the pipeline's."""
    return _reopened(replace(mapping, policy=policy))


def _reopened(mapping: Mapping) -> Mapping:
    """Fields that waited for a column get one when they are seen next, where columns may be made."""
    if policy_of(mapping).columns != "evolve":
        return mapping
    return replace(mapping, unmapped=tuple(pair for pair in mapping.unmapped if pair[1] != "UNMAPPED_FIELD"))


def renamed(mapping: Mapping, source: str, name: str, naming: Naming) -> Mapping:
    """The field goes to a column of that name; where the table has the old one alone, that one is renamed.

    A name that another column of the mapping has, or had, cannot be: staged rows may still mean that one by it.
    """
    column = _column(mapping, source)
    if name == column.name:
        return mapping
    _name(mapping, name, naming, of=source)
    earlier = tuple(one for one in column.formerly if one != name)
    return _put(mapping, replace(column, name=name, formerly=(*earlier, column.name)))


def retyped(mapping: Mapping, source: str, type_: pa.DataType, naming: Naming, place: Place) -> Mapping:
    """The column has that type from now on, and keeps it. A field without a column gets one of the type.

    Raises ConfigError where no value of the field can be in it (loading.md 16), and for columns of the key.
    """
    column = mapping.of(source)
    brought = brings(mapping, source)
    if column is not None and column.ours:
        raise _refused(f"{source} is metadata that Millrace makes", "Its type stays.", "metadata_column")
    if brought is not None and fits(brought, type_) == "never":
        raise _refused(
            f"values of {source} are {types.name(brought)}, and none of them can be a {types.name(type_)}",
            "See the table of types that fit: docs/reference/compatibility.md.",
            "never_fits",
        )
    if pa.types.is_decimal(type_) and type_.precision > naming.limits.max_decimal:
        raise _refused(
            f"the destination has no {types.name(type_)}",
            f"It has at most {naming.limits.max_decimal} digits; choose fewer, or VARCHAR.",
            "never_fits",
        )
    if column is None:
        if source in mapping.ignored:
            mapping = unignored(mapping, source)
        return added(mapping, source, naming.column(source, Taken(mapping.names)), type_, naming, fixed=True)
    if column.type == type_ and column.fixed:
        return mapping
    if source in mapping.key and column.type != type_:
        raise _refused(
            f"{source} is part of the key, and the type of a key stays",
            "Map to another table, or reset the event type and read its history anew.",
            "key_column",
        )
    if types.widen(column.type, type_) != type_:
        mapping = _staged(mapping, [column], place)
    changed = replace(column, type=type_, fixed=True, exact=column.exact, brings=brought)
    return _put(mapping, changed)


def freed(mapping: Mapping, source: str) -> Mapping:
    """The type of the column follows its values again."""
    return _put(mapping, replace(_column(mapping, source), fixed=False))


def added(mapping: Mapping, source: str, name: str, type_: pa.DataType, naming: Naming, *, fixed: bool) -> Mapping:
    """The field has a column of that name and type."""
    _name(mapping, name, naming, of=source)
    if len(mapping.columns) >= naming.limits.columns - RESERVED_COLUMNS:
        raise _refused(
            f"{mapping.table} has as many columns as it may have ({len(mapping.columns)})",
            "Ignore a field that you do not need, to make room.",
            "COLUMN_LIMIT",
        )
    brought = brings(mapping, source)
    apart = brought if brought is not None and fits(brought, type_) != "always" else None
    column = MappedColumn(source, name, type_, fixed=fixed, brings=apart)
    return replace(
        mapping,
        columns=(*mapping.columns, column),
        mapped=True,
        ignored=tuple(one for one in mapping.ignored if one != source),
        unmapped=tuple(pair for pair in mapping.unmapped if pair[0] != source),
        found=tuple(pair for pair in mapping.found if pair[0] != source),
    )


def ignored(mapping: Mapping, source: str, place: Place) -> Mapping:
    """Values of the field are dropped without a word. Its column stays at the destination; rows that wait on the stage
    still bring theirs."""
    if source in mapping.ignored:
        return mapping
    if source in mapping.key:
        raise _refused(f"{source} is part of the key", "Without it no row can be told from another.", "key_column")
    column = mapping.of(source)
    if column is not None and column.ours:
        raise _refused(f"{source} is metadata that Millrace makes", "It cannot be ignored.", "metadata_column")
    if column is not None:
        mapping = _staged(mapping, [column], place)
        mapping = learned_type(mapping, source, column.type)
    return replace(
        mapping,
        columns=tuple(one for one in mapping.columns if one.source != source),
        ignored=(*mapping.ignored, source),
        unmapped=tuple(pair for pair in mapping.unmapped if pair[0] != source),
    )


def unignored(mapping: Mapping, source: str) -> Mapping:
    """The field waits for a column, and gets one when it is seen next where columns may be made."""
    if source not in mapping.ignored:
        raise _refused(f"{source} of {mapping.stream} is not ignored", _known(mapping.ignored), "unknown_field")
    waits = () if policy_of(mapping).columns == "evolve" else ((source, "UNMAPPED_FIELD"),)
    rest = tuple(one for one in mapping.ignored if one != source)
    return replace(mapping, ignored=rest, unmapped=(*mapping.unmapped, *waits))


def keyed(mapping: Mapping, key: Iterable[str], mode: LoadMode) -> Mapping:
    """Rows are told apart by those fields from now on; without any, rows are appended.

    Whether the table allows it is for the caller to ask (loading.md 3).
    """
    fields = tuple(dict.fromkeys(key))
    for source in fields:
        if mapping.of(source) is None:
            raise _refused(
                f"{mapping.stream} has no column for a field {source!r}, and a key is kept in the table",
                _known([one.source for one in mapping.columns]),
                "unknown_field",
            )
    if fields == mapping.key:
        return mapping
    return replace(mapping, key=fields, mode=mode if fields else "append", own_key=True)


def mapped_to(
    mapping: Mapping, table: str, chosen: Dict[str, tuple[str, pa.DataType]], naming: Naming, place: Place
) -> Mapping:
    """Rows go to ``table``, and each field of ``chosen`` to its column there; columns of other fields stay.

    For another table nothing of the old one is carried on: its segments are loaded where they were staged for.
    """
    check_table(table, naming)
    moved = table != mapping.table
    columns = [] if moved else [c for c in mapping.columns if c.source not in chosen]
    own = [c for c in mapping.columns if c.ours]
    start = replace(mapping, table=table, columns=tuple(dict.fromkeys([*own, *columns])), staged=())
    start = start if moved else replace(start, staged=mapping.staged)
    if not moved:
        gone = [c for c in mapping.columns if c.source in chosen and chosen[c.source] != (c.name, c.type)]
        start = _staged(start, gone, place)
    for source, (name, type_) in chosen.items():
        column = mapping.of(source)
        brought = brings(mapping, source)
        if brought is not None and fits(brought, type_) == "never":
            raise _refused(
                f"values of {source} are {types.name(brought)}; the column {name} is {types.name(type_)}, which none "
                "of them can be",
                "Choose another column, or a new one.",
                "never_fits",
            )
        if column is not None and (column.name, column.type) == (name, type_):
            start = replace(start, columns=(*start.columns, column))
            continue
        start = added(start, source, name, type_, naming, fixed=_read_by_hand(brought, type_))
    for column in mapping.columns:
        if start.of(column.source) is None:
            start = learned_type(start, column.source, column.type)
    if policy_of(start).columns != "evolve":
        placed = {*(c.source for c in start.columns), *start.ignored, *dict(start.unmapped)}
        waiting = tuple((source, "UNMAPPED_FIELD") for source, _ in start.found if source not in placed)
        start = replace(start, unmapped=(*start.unmapped, *waiting))
    return replace(start, mapped=True, skipped=False)


def _read_by_hand(brought: pa.DataType | None, type_: pa.DataType) -> bool:
    """Not all values fit the type, so they are read into it, and it stays; text that is too long is another matter."""
    if brought is None or (types.is_text(brought) and types.is_text(type_)):
        return False
    return fits(brought, type_) != "always"


_SWITCH_OFF = "Switch its auto mapping off first, or skip it."


def unmapped(mapping: Mapping) -> Mapping:
    """Rows wait for somebody to map them again; the table stays. Only without auto mapping, which would map at once."""
    if policy_of(mapping).tables == "evolve":
        own = mapping.policy is not None
        why = "has a policy of its own by which tables evolve" if own else "is mapped automatically"
        hint = "Give it another policy for tables first, or skip it." if own else _SWITCH_OFF
        raise _refused(f"{mapping.stream} {why}, so it would be mapped again at once", hint, "auto_mapped")
    return replace(mapping, mapped=False)


def cleared(mapping: Mapping, place: Place) -> Mapping:
    """All that was learned and chosen is forgotten, but the table, its key and what Millrace itself adds; the rows to
    come say anew which columns there are."""
    kept = [c for c in mapping.columns if c.ours or c.source in mapping.key]
    start = _staged(mapping, [c for c in mapping.columns if c not in kept], place)
    return replace(
        start,
        columns=tuple(replace(c, fixed=False, brings=None) for c in kept),
        unmapped=(),
        ignored=(),
        found=(),
        policy=None,
        own_auto=None,
        skipped=False,
    )


def restored(now: Mapping, then: Mapping, place: Place) -> Mapping:
    """What the mapping was, as its next version. Rows that were staged since are loaded in the shape that they have.

    Raises ConfigError where the table or its key was another one.
    """
    if (now.table, now.key) != (then.table, then.key):
        what = "table" if now.table != then.table else "key"
        raise _refused(
            f"version {then.version} of {now.stream} has another {what}",
            "Map the event type to that table instead." if what == "table" else "A key stays as long as its table.",
            "fixed_after_load",
        )
    columns: list[MappedColumn] = []
    for old in then.columns:
        present = now.of(old.source)
        names = (*(present.formerly if present else ()), *((present.name,) if present else ()), *old.formerly)
        formerly = tuple(dict.fromkeys(one for one in names if one != old.name))
        exact = old.exact and (present is None or present.exact)
        columns.append(replace(old, formerly=formerly, exact=exact))
    made = replace(then, columns=tuple(columns), staged=now.staged, version=now.version)
    _one_meaning(made)
    return _staged(made, _narrower(made, now.columns), place)


def returned(mapping: Mapping, before: Mapping, place: Place) -> Mapping:
    """The mapping to a table that the event type had ``before``: what is staged for it is loaded in its shape."""
    columns: list[MappedColumn] = []
    for column in mapping.columns:
        known = before.of(column.source)
        names = (*column.formerly, *((*known.formerly, known.name) if known else ()))
        formerly = tuple(dict.fromkeys(one for one in names if one != column.name))
        columns.append(replace(column, formerly=formerly))
    made = replace(mapping, columns=tuple(columns), staged=before.staged)
    _one_meaning(made)
    return _staged(made, _narrower(made, before.columns), place)


def _narrower(mapping: Mapping, columns: Iterable[MappedColumn]) -> list[MappedColumn]:
    """Those columns whose values the mapping has no column for, or one that cannot hold them all."""
    found: list[MappedColumn] = []
    for column in columns:
        kept = mapping.of(column.source)
        if kept is None or types.widen(kept.type, column.type) != kept.type:
            found.append(column)
    return found


def _one_meaning(mapping: Mapping) -> None:
    """No name stands for two fields, now or in rows that were staged."""
    seen: dict[str, str] = {}
    for column in mapping.columns:
        for name in column.names:
            if (other := seen.setdefault(name.casefold(), column.source)) != column.source:
                raise _refused(
                    f"the column {name} would be of {other} and, in rows staged before, of {column.source}",
                    "Rename one of the two to a name that neither had.",
                    "NAME_CONFLICT",
                )


def brings(mapping: Mapping, source: str) -> pa.DataType | None:
    """The type of the values that come for a field, as far as it is known."""
    column = mapping.of(source)
    if column is not None:
        return column.brings or column.type
    return dict(mapping.found).get(source)


def learned_type(mapping: Mapping, source: str, type_: pa.DataType) -> Mapping:
    """The mapping that knows the type of a field without a column."""
    found = dict(mapping.found)
    found[source] = types.widen(found.get(source, type_), type_)
    return replace(mapping, found=tuple(found.items()))


def _staged(mapping: Mapping, columns: Iterable[MappedColumn], place: Place) -> Mapping:
    """The mapping that still loads those columns of what is staged."""
    if not place.last:
        return mapping
    more = [StagedColumn(c.name, c.type, place.generation, place.last, c.formerly) for c in columns]
    kept = [one for one in mapping.staged if one.generation == place.generation]
    return replace(mapping, staged=tuple(dict.fromkeys([*kept, *more])))


def _column(mapping: Mapping, source: str) -> MappedColumn:
    """The column of a field. Raises ConfigError when it has none, or one that Millrace made."""
    column = mapping.of(source)
    if column is None:
        raise _refused(
            f"{mapping.stream} has no column for a field {source!r}",
            _known([one.source for one in mapping.columns if not one.ours]),
            "unknown_field",
        )
    if column.ours:
        raise _refused(f"{source} is metadata that Millrace makes", "It stays as it is.", "metadata_column")
    return column


def _put(mapping: Mapping, column: MappedColumn) -> Mapping:
    return replace(mapping, columns=tuple(column if c.source == column.source else c for c in mapping.columns))


def _name(mapping: Mapping, name: str, naming: Naming, *, of: str) -> None:
    """The name can be that of a column. Raises ConfigError otherwise."""
    _valid(name, naming.limits.column_name, naming.limits, "column")
    if naming.prefix.reserves(name):
        raise _refused(f"names like {name!r} are reserved for metadata", "Choose another name.", "reserved_name")
    for column in mapping.columns:
        if column.source != of and name.casefold() in {one.casefold() for one in column.names}:
            when = "is" if name.casefold() == column.name.casefold() else "was (staged rows may still say so)"
            raise _refused(
                f"{name!r} {when} the column of the field {column.source!r}", "Choose another name.", "NAME_CONFLICT"
            )


def check_table(name: str, naming: Naming) -> None:
    """Raises ConfigError where no event type can have a table of that name."""
    _valid(name, naming.limits.table_name, naming.limits, "table")
    if naming.reserves_table(name):
        raise _refused(
            f"names like {name!r} are reserved for tables that Millrace makes for itself",
            "Choose another name.",
            "reserved_name",
        )


def _valid(name: str, most: int, limits: Limits, what: Literal["column", "table"]) -> None:
    try:
        size = len(name.encode())
    except UnicodeEncodeError:
        raise _refused(f"{name!r} is no text", "Use letters, digits and underscores.", "bad_name") from None
    size = size if limits.count_bytes else len(name)
    if not name.strip() or name != name.strip() or any(ord(c) < 32 or ord(c) == 127 for c in name):
        raise _refused(f"{name!r} cannot be the name of a {what}", "Use letters, digits and underscores.", "bad_name")
    if size > most:
        unit = "bytes" if limits.count_bytes else "characters"
        raise _refused(
            f"{name!r} has {size} {unit}, and a {what} may have {most}", "Choose a shorter name.", "bad_name"
        )


def _known(names: Iterable[str]) -> str:
    several = sorted(names)
    return f"There are: {', '.join(several)}." if several else "There is none."


def _refused(message: str, hint: str, code: str) -> ConfigError:
    return ConfigError(message, hint=hint, code=code)
