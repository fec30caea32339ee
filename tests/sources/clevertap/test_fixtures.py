"""Pages as CleverTap's documents and clients show them: each object reads its own, by the source and over HTTP."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pyarrow as pa
import pytest

from millrace.connect.source import Context, NoMemory, Reading
from millrace.data.batch import Checkpoint, Refused
from millrace.data.rows import to_rows
from millrace.sources.clevertap import rows
from millrace.sources.clevertap.config import Config
from millrace.sources.clevertap.source import Source

FIXTURES = Path(rows.__file__).parent / "fixtures"
OPENED = b'{"status":"success","cursor":"ZyZ%2FfirstPage"}'
END = b'{"status":"success"}'
# What an object reads, and the values of its key.
PAGES: dict[str, tuple[str, list[Any]]] = {
    "Events": ("page.json", [20260314091455, 20260314091502]),
    "profiles": ("profiles.json", ["cust-88213", None]),
    "event_schema": ("event_schema.json", ["Charged", "tutorial complete", "Old Banner Shown"]),
    "user_properties": ("user_properties.json", ["plan", "loyalty_points", "tags"]),
    "message_reports": ("message_reports.json", [1773470001, 1773470002]),
    "campaigns": ("campaigns.json", [1773470001, 1773470002, 1773470003, 1773470004]),
    "campaign_reports": ("campaign_report.json", [1773470001]),
}
TOLD_BY = {"Events": "ts_raw", "profiles": "identity", "message_reports": "message id"}
RESULTS = {
    1773470001: (200, "campaign_report.json"),
    1773470002: (500, "campaign_report_none_yet.json"),
    1773470003: (200, "campaign_report_not_completed.json"),
    1773470004: (409, "campaign_report_none_yet.json"),
}
NOW = datetime(2026, 3, 14, 10, tzinfo=UTC)


class Still:
    """It is always the same time, and nobody waits."""

    def now(self) -> datetime:
        return NOW

    def monotonic(self) -> float:
        return NOW.timestamp()

    def sleep(self, seconds: float) -> None:
        del seconds


class Pages(BaseHTTPRequestHandler):
    """Serves the fixtures; of walks one page, and then the bare end."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))) or b"{}")
        at = urlsplit(self.path)
        listed = {"/1/targets/list.json": "campaigns.json", "/1/message/report.json": "message_reports.json"}
        if at.path in listed:
            self._send((FIXTURES / listed[at.path]).read_bytes())
        elif at.path == "/1/targets/result.json":
            status, file = RESULTS[body["id"]]
            self._send((FIXTURES / file).read_bytes(), status)
        else:
            self._send(OPENED)

    def do_GET(self) -> None:
        at = urlsplit(self.path)
        asked = parse_qs(at.query)
        if at.path == "/getSchema":
            file = {"events": "event_schema.json", "userProperties": "user_properties.json"}[asked["type"][0]]
        elif asked["cursor"] == ["ZyZ/firstPage"]:
            file = {"/1/events.json": "page.json", "/1/profiles.json": "profiles.json"}[at.path]
        else:
            self._send(END)
            return
        self._send((FIXTURES / file).read_bytes())

    def log_message(self, format: str, *args: Any) -> None:
        del format, args

    def _send(self, body: bytes, status: int = 200) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json;charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture
def source(tmp_path: Path) -> Iterator[Source]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Pages)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    file = tmp_path / "events.csv"
    file.write_text("Event name\nCharged\n")
    config: dict[str, Any] = {
        "project_id": "AAA-BBB-CCCC", "passcode": "ABC-DEF-GHIJ", "events_file": str(file), "window_days": 31,
        "base_url": f"http://127.0.0.1:{server.server_address[1]}", "include_profile_fields": True,
    }  # fmt: skip
    with closing(Source(Config(**config), Context(Still()))) as made:
        yield made
    server.shutdown()
    thread.join()
    server.server_close()


def test_each_object_has_a_page(source: Source) -> None:
    assert {stream.name for stream in source.streams()} == PAGES.keys()
    files = {file for file, _ in PAGES.values()} | {file for _, file in RESULTS.values()}
    csv = {"events.csv", "events_with_properties.csv"}
    assert {path.name for path in FIXTURES.iterdir()} == files | csv


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_read_with_every_field_of_it(source: Source, name: str) -> None:
    stream = next(stream for stream in source.streams() if stream.name == name)
    lane = "historical" if stream.historical else "incremental"
    found: list[dict[str, Any]] = []
    counts: dict[str, int] = {}
    for item in source.read(Reading(stream, lane, memory=NoMemory())):
        assert not isinstance(item, Refused), to_rows(item.rows)
        if isinstance(item, Checkpoint):
            counts |= {key: counts.get(key, 0) + count for key, count in item.counts.items()}
        elif isinstance(item, pa.RecordBatch):
            found += to_rows(item)
    keys = PAGES[name][1]
    assert [row[TOLD_BY.get(name, stream.key[0])] for row in found] == keys
    assert counts["new"] == len(keys)
    # Nothing of a record is left out, and every column that is declared has a value in one.
    assert stream.schema is not None
    without = {column for column in stream.schema.names if all(row.get(column) is None for row in found)}
    assert without <= {"os_version", "app_version", "make", "model", "sdk_version", "profile_events"}, without
    text = json.dumps(found)
    for value in _values(json.loads((FIXTURES / PAGES[name][0]).read_bytes())):
        assert str(value) in text, value


def _values(page: dict[str, Any]) -> Iterator[object]:
    """Texts and numbers of the records of a page, at any depth."""
    held = [value for key, value in page.items() if key not in ("status", "next_cursor", "total_results")]
    while held:
        value = held.pop()
        if isinstance(value, dict):
            # Device form data, which nobody has explained.
            held += [each for key, each in value.items() if key != "df"]
        elif isinstance(value, list):
            held += value
        elif isinstance(value, str | int | float) and not isinstance(value, bool):
            yield value


def test_a_person_is_read_as_the_documents_show_them(source: Source) -> None:
    stream = next(stream for stream in source.streams() if stream.name == "profiles")
    items = source.read(Reading(stream, "historical", memory=NoMemory()))
    known, anonymous = (row for item in items if isinstance(item, pa.RecordBatch) for row in to_rows(item))
    assert (known["phone"], known["objectId"]) == ("4915550001122", "__7f3c0a51d2e84b6c9d10ab44e7f0c2aa")
    assert known["profileData"]["legacy_id"] == 9007199254740993 and known["other"] == {"df": {"0": 65}}
    assert (anonymous["identity"], anonymous["objectId"]) == (None, "-0b6e5d1c8f7a4e2db3c9a1f0e5d4c3b2")
    assert (anonymous["profileData"], anonymous["email"], anonymous["other"]) == ({}, None, None)


def test_campaigns_without_a_result_are_asked_for_one_again(source: Source) -> None:
    stream = next(stream for stream in source.streams() if stream.name == "campaign_reports")
    items = list(source.read(Reading(stream, "incremental", memory=NoMemory())))
    cursor: Any = next(item.cursor for item in reversed(items) if isinstance(item, Checkpoint))
    assert {*cursor["pending"]} == {"1773470002", "1773470003", "1773470004"}
