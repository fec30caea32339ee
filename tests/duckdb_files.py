"""DuckDB files that stay open while a test runs: an engine for one takes longer to start than most tests do there."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb
import pytest

MEMORY = ":memory:"


@contextmanager
def staying_open() -> Generator[None]:
    """What this process opens of DuckDB's files meanwhile is opened once; transactions and connections are as ever.

    Not for tests in which another process opens the file, or in which the file is changed from outside.
    """
    real = duckdb.connect
    held: dict[str, duckdb.DuckDBPyConnection] = {}

    def connect(database: str | Path = MEMORY, *args: Any, **more: Any) -> duckdb.DuckDBPyConnection:
        made = real(database, *args, **more)
        if database != MEMORY and str(database) not in held:
            held[str(database)] = real(database, *args, **more)
        return made

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(duckdb, "connect", connect)
        try:
            yield
        finally:
            for one in held.values():
                one.close()
