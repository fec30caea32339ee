"""How tables and columns are made at one destination for one pipeline: their names, and how long text may be."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import field
from typing import Literal

from millrace.connect.destination import Limits
from millrace.connect.naming import Taken, compress, sanitize, unique
from millrace.connect.sizing import Oversize
from millrace.connect.source import Stream
from millrace.data import columns
from millrace.data.columns import Prefix
from millrace.data.dataclass import dataclass

Rules = Literal["edge", "classic"]

# Behind the name of a table: the one in which a full reload gathers.
FRESH = "__fresh"
# In front of the names of tables that destinations make for themselves and take away again.
_SCRATCH = ("__mr_", "__hevo_test_")


@dataclass(frozen=True, slots=True)
class Naming:
    """How names are made at one destination for one pipeline, and what becomes of text that is too long there."""

    limits: Limits = field(default_factory=Limits)
    rules: Rules = "edge"
    prefix: Prefix = field(default_factory=Prefix)
    table_prefix: str = ""
    sanitized: bool = True
    oversize: Oversize = "FAIL"

    def reserves_table(self, name: str) -> bool:
        """A table of this name would be taken for one of Millrace's own, or for the fresh one of another."""
        folded = name.casefold()
        return folded == self.prefix.outside(columns.LOADS) or folded.startswith(_SCRATCH) or folded.endswith(FRESH)

    def table(self, stream: Stream, taken: Iterable[str] = ()) -> str:
        """The table for a stream: prefix in front, sanitized, short enough, neither one of ``taken`` nor reserved."""
        prefix = self.table_prefix.rstrip("_") + "_" if self.table_prefix.strip("_") else ""
        name, used = prefix + (stream.table or stream.name), Taken(taken)
        made = self._named(name, self.limits.table_name, used, table=True)
        if self.reserves_table(made):
            made = self._named(f"src_{name}_rows", self.limits.table_name, used, table=True)
        return made

    def column(self, name: str, taken: Taken) -> str:
        """The column for a user's field. A reserved name, or one that is sanitized to one, gets `src_` in front."""
        made = self._named(name, self.limits.column_name, taken, table=False)
        if self.prefix.reserves(name) or self.prefix.reserves(made):
            made = self._named("src_" + name, self.limits.column_name, taken, table=False)
        return made

    def _named(self, name: str, limit: int, taken: Taken, *, table: bool) -> str:
        if self.sanitized:
            name = sanitize(name, rules=self.rules, case=self.limits.case, table=table)
        else:
            # As it is, but for what no destination takes: control characters, spaces at its ends, and nothing at all.
            name = "".join(c if c.isprintable() else "_" for c in name).strip() or "_"
        count_bytes = self.limits.count_bytes
        name = compress(name, limit, taken, count_bytes=count_bytes)
        return unique(name, taken, limit, count_bytes=count_bytes)
