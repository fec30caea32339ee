"""Who looks on from outside: a real collector of traces and a real catalogue of lineage are told of runs."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from tests.control.receivers import Receiver, http_server
from tests.control.sources import Script

from millrace.control import settings
from millrace.control.connecting import connections
from millrace.control.home import Home
from millrace.control.observing import tracing
from millrace.control.people.actors import SYSTEM
from millrace.control.pipeline import pipelines
from millrace.control.pipeline.pipelines import Wish
from millrace.control.running import runs
from millrace.errors import ConfigError, DataError

OURS = "millrace_run"


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with http_server() as receiver:
        yield receiver


def made(folder: Path, env: dict[str, str]) -> Home:
    """A home with a pipeline of two objects."""
    home = Home.open(folder / "home", create=True, env=env)
    config = {"project_id": "AAA-BBB-CCCC", "passcode": "sentinel-1", "event_source": "schema"}
    connections.create(home, "source", "app", "clevertap", config)
    connections.create(home, "destination", "warehouse", "duckdb", {"path": str(folder / "w.duckdb")})
    pipelines.create(home, Wish("events", "app", "warehouse"))
    return home


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Script:
    found = Script({"Orders": [[{"id": 1, "name": "a"}, {"id": 2, "name": "b"}]], "Users": [[{"id": 1}]]})
    monkeypatch.setattr(connections, "build_source", found.build)
    return found


def fails() -> None:
    raise DataError("the source broke at sentinel-1")


@pytest.mark.usefixtures("script")
def test_a_catalogue_is_told_what_was_read_from_where_into_which_tables(tmp_path: Path, receiver: Receiver) -> None:
    env = {"OPENLINEAGE_URL": receiver.url, "OPENLINEAGE_API_KEY": "key-1"}
    with made(tmp_path, env) as home:
        run = runs.run(home, "events")
    start, complete = (one.json for one in receiver.received)
    assert {one.headers["authorization"] for one in receiver.received} == {"Bearer key-1"}
    assert {one.path for one in receiver.received} == {"/api/v1/lineage"}
    assert (start["eventType"], complete["eventType"]) == ("START", "COMPLETE")
    assert start["run"]["runId"] == complete["run"]["runId"]
    assert start["eventTime"] <= complete["eventTime"]
    assert complete["job"]["name"] == "events"
    assert complete["run"]["facets"][OURS]["run"] == run.id
    read = {one["name"]: one["inputFacets"]["inputStatistics"]["rowCount"] for one in complete["inputs"]}
    assert read == {"Orders": 2, "Users": 1}
    (orders,) = [one for one in complete["outputs"] if one["name"] == "orders"]
    assert orders["namespace"] == f"file://{tmp_path / 'w.duckdb'}"
    assert orders["outputFacets"]["outputStatistics"]["rowCount"] == 2
    assert {"id", "name"} <= {one["name"] for one in orders["facets"]["schema"]["fields"]}
    (origin,) = orders["facets"]["columnLineage"]["fields"]["name"]["inputFields"]
    assert (origin["name"], origin["field"]) == ("Orders", "name")
    for facet in (*complete["run"]["facets"].values(), *orders["facets"].values()):
        assert facet["_schemaURL"].startswith(("https://", "urn:millrace:")) and facet["_producer"]


def test_a_run_that_fails_is_told_so_without_secrets(tmp_path: Path, receiver: Receiver, script: Script) -> None:
    script.before["Orders", 0] = fails
    script.before["Users", 0] = fails
    with made(tmp_path, {"OPENLINEAGE_URL": receiver.url}) as home, pytest.raises(DataError):
        runs.run(home, "events")
    last = receiver.received[-1]
    assert last.json["eventType"] == "FAIL"
    assert "the source broke" in last.json["run"]["facets"]["errorMessage"]["message"]
    assert b"sentinel-1" not in last.body


@pytest.mark.usefixtures("script")
def test_what_administrators_aim_is_guarded_and_no_run_fails_because_of_it(
    tmp_path: Path, receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    with made(tmp_path, {}) as home:
        settings.change(home, lineage_url=f"{receiver.url}/own")
        served = home.acting(SYSTEM)
        assert runs.run(served, "events").status == "COMPLETED"
        assert receiver.received == []
        assert "may not reach" in caplog.text
        settings.change(home, allow_private_addresses=True)
        assert runs.run(served, "events").status == "COMPLETED"
        assert [one.path for one in receiver.received] == ["/own", "/own"]
        receiver.answers += [500, 500]
        assert runs.run(served, "events").status == "COMPLETED"
        with pytest.raises(ConfigError):
            settings.change(home, lineage_url="file:///etc/passwd")


WORKER = """
import sys
from pathlib import Path
from millrace.control.connecting import connections
from millrace.control.running import runs
from millrace.control.home import Home
from tests.control.sources import Script
script = Script({"Orders": [[{"id": 1}, {"id": 2}]]})
connections.build_source = script.build
with Home.open(Path(sys.argv[1])) as home:
    runs.run(home, "events")
"""


def test_a_collector_gets_a_trace_of_each_run_by_the_end_of_its_process(tmp_path: Path, receiver: Receiver) -> None:
    made(tmp_path, {}).close()
    env = {**os.environ, "OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url, "OTEL_EXPORTER_OTLP_HEADERS": "tenant=7"}
    home = str(tmp_path / "home")
    done = subprocess.run([sys.executable, "-c", WORKER, home], env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    spans: list[Any] = []
    for one in receiver.received:
        assert (one.path, one.headers["tenant"]) == ("/v1/traces", "7")
        request = ExportTraceServiceRequest.FromString(one.body)
        for resource in request.resource_spans:
            about = {found.key: found.value.string_value for found in resource.resource.attributes}
            assert about["service.name"] == "millrace"
            spans += [span for scope in resource.scope_spans for span in scope.spans]
    by_name = {span.name: span for span in spans}
    root, read, loaded = by_name["run events"], by_name["ingest Orders"], by_name["load Orders"]
    assert root.parent_span_id == b""
    assert {span.trace_id for span in spans} == {root.trace_id}
    assert read.parent_span_id == loaded.parent_span_id == root.span_id
    assert root.start_time_unix_nano <= read.start_time_unix_nano <= read.end_time_unix_nano <= root.end_time_unix_nano
    rows = {found.key: found.value.int_value for found in root.attributes}
    assert (rows["millrace.rows.read"], rows["millrace.rows.loaded"]) == (2, 2)


@pytest.mark.usefixtures("script")
def test_nothing_of_telemetry_is_made_where_nobody_collects(tmp_path: Path) -> None:
    tracing.provider.cache_clear()
    with made(tmp_path, {}) as home:
        runs.run(home, "events")
    assert tracing.provider.cache_info().currsize == 0
