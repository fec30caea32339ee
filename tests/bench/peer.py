"""dlt's `rest_api` source on the same pages, into DuckDB with the merge disposition, set up in dlt's favour.

The rows have the same columns as Millrace's table; nested properties stay JSON (no child tables), events are read in
parallel, and pages are asked for at the same size. A primary key takes the place of the hash that Millrace computes.
"""

from __future__ import annotations

import os
import sys
import tempfile
from datetime import date
from pathlib import Path
from typing import Any

from tests.bench import pages
from tests.bench.server import PASSCODE, PROJECT

os.environ["RUNTIME__DLTHUB_TELEMETRY"] = "false"
os.environ["RUNTIME__LOG_LEVEL"] = "ERROR"

import dlt
from dlt.sources.helpers.rest_client.paginators import BasePaginator
from dlt.sources.rest_api import RESTAPIConfig, rest_api_source

KEY = ("event_name", "objectId", "ts")


class Walks(BasePaginator):
    """Opens a cursor for each window of one event, and walks it to its end."""

    def __init__(self, base_url: str, name: str, windows: list[tuple[date, date]]) -> None:
        super().__init__()
        self._url = f"{base_url}/1/events.json"
        self._name = name
        self._windows = list(windows)
        self._cursor: str | None = None

    def init_request(self, request: Any) -> None:
        self._open(request)

    def update_state(self, response: Any, data: list[Any] | None = None) -> None:
        found = response.json()
        self._cursor = found.get("cursor") or found.get("next_cursor")
        self._has_next_page = bool(self._cursor or self._windows)

    def update_request(self, request: Any) -> None:
        if self._cursor:
            request.method, request.json, request.params = "GET", None, None
            request.url = f"{self._url}?cursor={self._cursor}"
        elif self._windows:
            self._open(request)

    def _open(self, request: Any) -> None:
        first, last = self._windows.pop(0)
        request.method = "POST"
        request.url = f"{self._url}?batch_size=5000&app=false&events=false&profile=true"
        request.json = {"event_name": self._name, "from": int(f"{first:%Y%m%d}"), "to": int(f"{last:%Y%m%d}")}


def main(base_url: str, folder: Path, target: str) -> None:
    found = pages.load(folder)
    os.environ["EXTRACT__WORKERS"] = "3"
    os.environ["NORMALIZE__DATA_WRITER__FILE_MAX_ITEMS"] = "100000"

    def row(name: str):
        def of(record: dict[str, Any]) -> dict[str, Any]:
            profile = record["profile"]
            return {
                "event_name": name,
                "objectId": profile["objectId"],
                "identity": profile.get("identity"),
                "ts": record["ts"],
                "profileData": profile.get("profileData", {}),
                "event_props": record.get("event_props", {}),
                "session_props": record.get("session_props", {}),
            }

        return of

    config: RESTAPIConfig = {
        "client": {
            "base_url": base_url,
            "headers": {"X-CleverTap-Account-Id": PROJECT, "X-CleverTap-Passcode": PASSCODE},
        },
        "resource_defaults": {
            "primary_key": list(KEY),
            "write_disposition": "merge",
            "max_table_nesting": 0,
            "parallelized": True,
            "table_name": "events",
            "columns": {name: {"data_type": "json"} for name in ("profileData", "event_props", "session_props")},
        },
        "resources": [
            {
                "name": f"events_{number}",
                "endpoint": {
                    "path": "1/events.json",
                    "method": "POST",
                    "data_selector": "records",
                    "paginator": Walks(base_url, name, found.windows()),
                },
                "processing_steps": [{"map": row(name)}],
            }
            for number, name in enumerate(found.names)
        ],
    }
    with tempfile.TemporaryDirectory(prefix="millrace-bench-") as folder_of_dlt:
        pipeline = dlt.pipeline(
            "bench", pipelines_dir=folder_of_dlt, destination=dlt.destinations.duckdb(target), dataset_name="main"
        )
        pipeline.run(rest_api_source(config), loader_file_format="parquet").raise_on_failed_jobs()


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), sys.argv[3])
