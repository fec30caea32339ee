"""A table, a view or a query as it is read."""

from __future__ import annotations

from typing import Literal, TypeAlias

from millrace.data.dataclass import dataclass

# What a column can serve for: whole numbers and moments order rows by age, other values order them somehow.
Kind: TypeAlias = Literal["whole", "moment", "other"]


@dataclass(frozen=True, slots=True)
class Column:
    """A column. ``type``: as the database writes it, for casts. ``pageable``: its order is that of its values' text
    forms read back, so that a query can go on behind a value."""

    name: str
    type: str
    kind: Kind = "other"
    nullable: bool = True
    pageable: bool = True


@dataclass(frozen=True, slots=True)
class Index:
    columns: tuple[str, ...]
    unique: bool = False


@dataclass(frozen=True, slots=True)
class Relation:
    """What is read as one object. ``source``: what stands behind FROM. ``key``: the primary key. ``rows``: how many
    there are about, None where nobody knows. ``versioned``: the database tells which rows are newer than a snapshot.
    """

    name: str
    source: str
    columns: tuple[Column, ...]
    key: tuple[str, ...] = ()
    indexes: tuple[Index, ...] = ()
    rows: int | None = None
    versioned: bool = False

    def find(self, name: str) -> Column | None:
        """The column of this name, or the only one whose name is the same but for the case of letters."""
        same = [one for one in self.columns if one.name == name]
        same = same or [one for one in self.columns if one.name.lower() == name.lower()]
        return same[0] if len(same) == 1 else None

    def of(self, name: str) -> Column:
        return next(one for one in self.columns if one.name == name)

    @property
    def identity(self) -> tuple[str, ...]:
        """What tells rows apart: the primary key, else the first unique index without a NULL; empty where there is
        none (pipelines.md 4.2)."""
        if self.key:
            return self.key
        unique = (index.columns for index in self.indexes if index.unique)
        return next((names for names in unique if not any(self.of(name).nullable for name in names)), ())

    @property
    def pages(self) -> tuple[str, ...]:
        """The identity, where queries can go on behind one."""
        return self.identity if all(self.of(name).pageable for name in self.identity) else ()

    def indexed(self, name: str) -> bool:
        """An index begins with the column."""
        return self.key[:1] == (name,) or any(index.columns[:1] == (name,) for index in self.indexes)
