"""Other programs that load a table of one database into another, each a process of its own.

    python -m tests.bench.database_peers dlt-pyarrow|dlt-connectorx|dlt-connectorx-stream|sling URL TABLE TARGET SCRATCH

``SCRATCH``: a folder for what they leave behind. What fails says so on stderr, and is told in the results.
"""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Callable
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any, Literal


def dlt(
    url: str, table: str, target: str, scratch: str, backend: Literal["pyarrow", "connectorx"], stream: bool = False
) -> None:
    """dlt's `sql_database`; into DuckDB a file, into PostgreSQL a database. ``stream``: ConnectorX hands over pieces,
    which dlt does not ask of it unless told."""
    os.environ["RUNTIME__DLTHUB_TELEMETRY"] = "false"
    os.environ["RUNTIME__LOG_LEVEL"] = "ERROR"
    import dlt
    from dlt.sources.sql_database import sql_table

    destination = dlt.destinations.postgres(target) if "://" in target else dlt.destinations.duckdb(target)
    driver = "+pymysql://" if url.startswith("mysql") else "+psycopg://"
    streamed: dict[str, Any] = {"backend_kwargs": {"return_type": "arrow_stream"}} if stream else {}
    rows = sql_table(url.replace("://", driver), table=table, backend=backend, chunk_size=50_000, **streamed)
    pipeline = dlt.pipeline("bench", pipelines_dir=scratch, destination=destination, dataset_name="peer")
    pipeline.run(rows, write_disposition="replace").raise_on_failed_jobs()


def sling(url: str, table: str, target: str, scratch: str) -> None:
    """Sling's program takes the place of this process. It writes to DuckDB by the command line of that, from files:
    what it does unless told needs an extension that DuckDB must download."""
    package: Any = import_module(f"sling_linux_{'arm64' if platform.machine() == 'aarch64' else 'amd64'}")
    own = {"HOME": scratch, "SLING_HOME_DIR": scratch, "SLING_DISABLE_TELEMETRY": "true", "NO_COLOR": "1"}
    mysql = url.startswith("mysql")
    own["FROM"] = f"{url}?tls=false" if mysql else f"{url}?sslmode=disable"
    if "://" in target:
        own["INTO"] = f"{target}?sslmode=disable"
    else:
        program: Any = import_module("duckdb_cli")
        own["INTO"] = f"duckdb://{target}?copy_method=csv_files"
        own["DUCKDB_PATH"] = str(Path(program.__file__).with_name("duckdb"))
        own["DUCKDB_USE_INSTALLED_EXTENSIONS"] = "true"
    stream = f"{url.rpartition('/')[2] if mysql else 'public'}.{table}"
    into = f"{'public' if '://' in target else 'main'}.{table}"
    words = ["run", "--src-conn", "FROM", "--src-stream", stream, "--tgt-conn", "INTO", "--tgt-object", into]
    os.execve(package.SLING_BIN, ["sling", *words, "--mode", "full-refresh"], os.environ | own)


PEERS: dict[str, Callable[[str, str, str, str], None]] = {
    "dlt-pyarrow": partial(dlt, backend="pyarrow"),
    "dlt-connectorx": partial(dlt, backend="connectorx"),
    "dlt-connectorx-stream": partial(dlt, backend="connectorx", stream=True),
    "sling": sling,
}

if __name__ == "__main__":
    PEERS[sys.argv[1]](*sys.argv[2:6])
