"""How tables and columns are made at one destination for one pipeline: their names, and how long text may be."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import field
from typing import Literal

from millrace.connect.destination import Limits
from millrace.connect.naming import Taken, compress, sanitize, unique
from millrace.connect.sizing import Oversize
from millrace.connect.source import Stream
from millrace.data.columns import Prefix
from millrace.data.dataclass import dataclass

Rules = Literal["edge", "classic"]


@dataclass(frozen=True, slots=True)
class Naming:
    """How names are made at one destination for one pipeline, and what becomes of text that is too long there."""

    limits: Limits = field(default_factory=Limits)
    rules: Rules = "edge"
    prefix: Prefix = field(default_factory=Prefix)
    table_prefix: str = ""
    sanitized: bool = True
    oversize: Oversize = "FAIL"

    def table(self, stream: Stream, taken: Iterable[str] = ()) -> str:
        """The table for a stream: prefix in front, sanitized, short enough, not one of ``taken``."""
        prefix = self.table_prefix.rstrip("_") + "_" if self.table_prefix.strip("_") else ""
        return self._named(prefix + (stream.table or stream.name), self.limits.table_name, Taken(taken), table=True)

    def column(self, name: str, taken: Taken) -> str:
        """The column for a user's field. A reserved name gets `src_` in front."""
        return self._named(
            "src_" + name if self.prefix.reserves(name) else name, self.limits.column_name, taken, table=False
        )

    def _named(self, name: str, limit: int, taken: Taken, *, table: bool) -> str:
        if self.sanitized:
            name = sanitize(name, rules=self.rules, case=self.limits.case, table=table)
        count_bytes = self.limits.count_bytes
        name = compress(name, limit, taken, count_bytes=count_bytes)
        return unique(name, taken, limit, count_bytes=count_bytes)
