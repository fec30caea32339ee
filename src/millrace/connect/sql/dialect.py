"""A dialect is data: how names are quoted, how types are called, and the few words that differ between systems."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import field

import pyarrow as pa

from millrace.connect.destination import Limits
from millrace.data import types
from millrace.data.dataclass import dataclass
from millrace.data.types import Kind

# Kinds whose JSON form DuckDB writes as `data.writing` does, so that a struct of them may become JSON later.
PLAIN: frozenset[Kind] = frozenset({"BOOLEAN", "BYTE", "SHORT", "INTEGER", "LONG", "DOUBLE", "VARCHAR"})


@dataclass(frozen=True, slots=True)
class Dialect:
    """What is special about one system's SQL.

    ``types`` names a SQL type for every logical type; ``{p}``, ``{s}`` and ``{n}`` stand for precision, scale and
    length. ``wide`` and ``bounded`` replace it for a DECIMAL beyond `limits.max_decimal` and for a VARCHAR(n).
    ``back`` reads the system's own spelling: the first regular expression that matches the whole (in lower case) gives
    a logical name. ``text`` writes values as text in the form of `data.cast`, where a plain CAST would differ.
    ``nested``: there are columns of structs and lists (as DuckDB writes their types), for those whose scalars are
    of `PLAIN` kinds; others are ``types["STRUCT"]``. ``arriving`` is how a staged value becomes one of its column,
    where the system does not do that by itself; ``open`` lists SQL types of no logical type, and the kinds that
    they take exactly all the same. ``storing`` is what is said behind a SQL type where a column is made.
    ``row_id`` is empty where rows have no number of their own; tables of items then go by their id. ``joined_update``:
    an UPDATE names its other tables before SET. ``backslashes``: they are escapes in quoted text. ``json_value``: a
    JSON text as a value, where columns of JSON are compared as such; empty where they are compared by their text.
    """

    name: str
    limits: Limits
    types: Mapping[Kind, str]
    back: tuple[tuple[str, str], ...]
    row_id: str
    row_id_type: str
    wide: str
    bounded: str
    widen: str
    text: Mapping[Kind, str] = field(default_factory=dict[Kind, str])
    arriving: Mapping[Kind, str] = field(default_factory=dict[Kind, str])
    open: Mapping[str, tuple[Kind, ...]] = field(default_factory=dict[str, tuple[Kind, ...]])
    storing: Mapping[str, str] = field(default_factory=dict[str, str])
    nested: bool = False
    temp: str = ""
    temp_words: str = "TEMP TABLE"
    drop_temp: str = "DROP TABLE"
    primary_key: bool = False
    folds_case: bool = False
    moment: str = "make_timestamptz({ms} * 1000)"
    millisecond: str = "INTERVAL '1 millisecond'"
    greater: str = "greatest({a}, {b})"
    mark: str = '"'
    most_scale: int = 76
    nulls_last: str = " NULLS LAST"
    json_value: str = ""
    differs: str = "{a} IS DISTINCT FROM {b}"
    joined_update: bool = False
    backslashes: bool = False
    utc: str = "TIMESTAMPTZ '{t}+00'"
    local_day: str = "CAST(CAST(({c} AT TIME ZONE 'UTC') + INTERVAL '1 second' * {s} AS DATE) AS VARCHAR)"

    def quoted(self, name: str) -> str:
        return self.mark + name.replace(self.mark, self.mark * 2) + self.mark

    def literal(self, text: str) -> str:
        """The text as a value in a statement."""
        plain = text.replace("\\", "\\\\") if self.backslashes else text
        return "'" + plain.replace("'", "''") + "'"

    def path(self, *names: str) -> str:
        """A qualified name, every part quoted."""
        return ".".join(self.quoted(name) for name in names)

    def names(self, names: tuple[str, ...] | list[str], of: str = "") -> str:
        """Quoted names in a list, each ``of`` a table or alias."""
        front = f"{of}." if of else ""
        return ", ".join(front + self.quoted(name) for name in names)

    def sql(self, type_: pa.DataType) -> str:
        """The SQL type that keeps a logical type."""
        kind = types.kind(type_)
        if kind == "DECIMAL":
            fits = type_.precision <= self.limits.max_decimal and type_.scale <= self.most_scale
            return (self.types[kind] if fits else self.wide).format(p=type_.precision, s=type_.scale)
        if kind == "VARCHAR" and (n := types.length(type_)):
            return self.bounded.format(n=n)
        if kind in ("STRUCT", "ARRAY") and self.nested and _is_plain(type_):
            return self._nested(type_)
        return self.types[kind]

    def column(self, type_: pa.DataType) -> str:
        """What stands behind the name of a column that is made."""
        sql = self.sql(type_)
        return f"{sql} {self.storing[sql]}" if sql in self.storing else sql

    def update(self, target: str, sets: Mapping[str, str], source: str, where: str) -> str:
        """UPDATE of the rows ``t`` of a table with values of others."""
        front = "t." if self.joined_update else ""
        news = ", ".join(f"{front}{self.quoted(name)} = {value}" for name, value in sets.items())
        if self.joined_update:
            return f"UPDATE {target} AS t, {source}\nSET {news}\nWHERE {where}"
        return f"UPDATE {target} AS t SET {news}\nFROM {source}\nWHERE {where}"

    def spot(self, alias: str, name: str) -> str:
        """What tells a row of ``alias`` from all others: its number, or where there is none the column ``name``."""
        return f"{alias}.{self.row_id or self.quoted(name)}"

    def _nested(self, type_: pa.DataType) -> str:
        if pa.types.is_list(type_):
            return f"{self.sql(type_.value_type)}[]"
        parts = (type_.field(number) for number in range(type_.num_fields))
        return f"STRUCT({', '.join(f'{self.quoted(part.name)} {self.sql(part.type)}' for part in parts)})"

    def logical(self, sql: str) -> pa.DataType | None:
        """The logical type of a column by the system's word for its type; None for one that has none."""
        if self.nested and (sql.endswith("[]") or sql.startswith("STRUCT(")):
            return self._logical_nested(sql)
        for pattern, name in self.back:
            if match := re.fullmatch(pattern, sql.lower()):
                return types.parse(match.expand(name))
        return None

    def _logical_nested(self, sql: str) -> pa.DataType | None:
        if sql.endswith("[]"):
            item = self.logical(sql.removesuffix("[]"))
            return None if item is None else types.array(item)
        fields: list[tuple[str, pa.DataType]] = []
        for part in _parts(sql.removeprefix("STRUCT(").removesuffix(")")):
            found = re.fullmatch(r'("(?:[^"]|"")*"|\S+) (.+)', part, re.DOTALL)
            type_ = self.logical(found[2]) if found else None
            if found is None or type_ is None:
                return None
            name = found[1]
            fields.append((name[1:-1].replace('""', '"') if name.startswith('"') else name, type_))
        return pa.struct(fields) if len({name for name, _ in fields}) == len(fields) else None

    def kept(self, type_: pa.DataType) -> pa.DataType:
        """The logical type that a column has after it was made for ``type_``."""
        found = self.logical(self.sql(type_))
        assert found is not None, f"{self.name} cannot read its own type {self.sql(type_)}"
        return found

    def as_text(self, column: str, kind: Kind) -> str:
        """A column's values as text, in the form that `data.cast` writes."""
        return self.text.get(kind, "CAST({c} AS " + self.types["VARCHAR"] + ")").format(c=column)

    def fold(self, name: str) -> str:
        """What two names have in common that the system takes for the same."""
        return name.casefold() if self.folds_case else name


def _is_plain(type_: pa.DataType) -> bool:
    if pa.types.is_list(type_):
        return _is_plain(type_.value_type)
    if pa.types.is_struct(type_):
        names = [type_.field(number).name for number in range(type_.num_fields)]
        # DuckDB takes names in other cases for the same, and a struct has no empty ones.
        alike = len({name.casefold() for name in names}) < len(names) or "" in names
        return not alike and all(_is_plain(type_.field(number).type) for number in range(type_.num_fields))
    return types.kind(type_) in PLAIN


def _parts(inside: str) -> list[str]:
    """What stands between the outermost commas; quoted names may have any mark in them."""
    parts, depth = [""], 0
    for mark in re.findall(r'"(?:[^"]|"")*"|[(),]|[^"(),]+', inside):
        depth += (mark == "(") - (mark == ")")
        if mark == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += mark
    return [part.strip() for part in parts]
