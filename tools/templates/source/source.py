"""Acme: orders, as they change. Source: https://example.com/docs"""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa
from pydantic import Field

from millrace.connect import source
from millrace.connect.config import Secret, SourceConfig
from millrace.connect.source import Reading, Stream, Verdict
from millrace.data.batch import Checkpoint, Item, Rows

# What the system holds. Ask its API here instead, through `millrace.connect.http`.
ORDERS: Rows = [
    {"id": 1, "status": "open", "amount": 12.5, "updated_at": "2026-01-01T08:00:00Z"},
    {"id": 2, "status": "open", "amount": 7.0, "updated_at": "2026-01-01T09:30:00Z"},
    {"id": 3, "status": "paid", "amount": 99.9, "updated_at": "2026-01-02T10:00:00Z"},
]


class Config(SourceConfig):
    """Which account to read."""

    token: Secret = Field(description="API token of the account, from Settings > API.")
    page_size: int = Field(2, ge=1, le=100, description="Orders in one page.")


class Source(source.Source[Config]):
    """Orders by the time of their last change."""

    Config = Config
    title = "Acme"

    def check(self) -> list[Verdict]:
        return [Verdict("connect", "pass", f"{len(ORDERS)} orders can be read")]

    def streams(self) -> list[Stream]:
        schema = pa.schema([("id", pa.int64()), ("updated_at", pa.timestamp("us", "UTC"))])
        return [Stream("orders", key=("id",), cursor_field="updated_at", schema=schema)]

    def read(self, reading: Reading) -> Iterator[Item]:
        """Pages of orders that changed after the cursor, oldest change first."""
        cursor: str = reading.cursor or ""
        while page := self._page(after=cursor):
            yield page
            # I2: everything yielded so far is complete up to here, so the engine may commit.
            cursor = page[-1]["updated_at"]
            yield Checkpoint(cursor)

    def _page(self, *, after: str) -> Rows:
        return [order for order in ORDERS if order["updated_at"] > after][: self.config.page_size]
