"""Events of OpenLineage: from which datasets a run read, and into which it wrote (https://openlineage.io/spec/2-0-2/).

Where they go: `OPENLINEAGE_URL`, with `OPENLINEAGE_API_KEY`, as the operator says; else `lineage_url` of the workspace,
which administrators aim, so that the guard against private addresses stands before it.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping as Dict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import httpx

from millrace.connect.http.dialing import tls
from millrace.connect.http.guard import guarded
from millrace.connect.reach import ANYWHERE
from millrace.control.books.commits import latest_mappings
from millrace.control.connecting import connections, reach
from millrace.control.people.actors import SYSTEM
from millrace.control.running import jobs
from millrace.control.settings import workspace
from millrace.control.wire import encode
from millrace.data import types
from millrace.engine.mapping import Mapping
from millrace.errors import ConfigError
from millrace.version import VERSION

if TYPE_CHECKING:
    from millrace.control.connecting.connections import Connection
    from millrace.control.home import Home
    from millrace.control.pipeline.pipelines import Pipeline
    from millrace.control.running.jobs import Job

TIMEOUT_S = 5.0

SPEC = "https://openlineage.io/spec"
PATH = "/api/v1/lineage"

# Ours for facets that the specification does not have.
_OWN = "millrace_run"
_ENDED = {"FAILED": "FAIL", "CANCELLED": "ABORT"}


def tell(home: Home, pipeline: Pipeline, run_id: int, state: str | None) -> None:
    """The catalogue knows of the run: ``state`` START, or None for how it ended. Raises what sending raises."""
    own = home.variable("OPENLINEAGE_URL")
    url = own or workspace(home.database).lineage_url or ""
    allowed = ANYWHERE if own else reach.of(home.acting(SYSTEM.of(pipeline.team_id)))
    job = jobs.find(home, run_id)
    if state is None:
        if job.run.ended_at is None:
            return
        state = _ENDED.get(job.run.status, "COMPLETE")
    key = home.variable("OPENLINEAGE_API_KEY") if own else None
    headers = {"content-type": "application/json"} | ({"authorization": f"Bearer {key}"} if key else {})
    content = encode(event(home, pipeline, job, state))
    transport = guarded(httpx.HTTPTransport(verify=tls()), allowed.web)
    with httpx.Client(transport=transport, trust_env=False, timeout=TIMEOUT_S, follow_redirects=False) as http:
        answer = http.post(_endpoint(url), content=content, headers=headers)
    if answer.status_code >= 300:
        raise ConfigError(f"{urlsplit(url).hostname} answered {answer.status_code}")


def event(home: Home, pipeline: Pipeline, job: Job, state: str) -> dict[str, Any]:
    """A RunEvent: the objects that were read are its inputs, tables its outputs, each with what was counted."""
    run = job.run
    source = connections.by_id(home, pipeline.source_id)
    destination = connections.by_id(home, pipeline.destination_id)
    facets: dict[str, Any] = {
        "processing_engine": _facet("1-1-1/ProcessingEngineRunFacet", version=VERSION, name="millrace"),
        _OWN: _facet(
            None, run=run.id, kind=run.kind, status=run.status, trigger=job.trigger,
            filtered=run.balance.filtered_rows, rejected=run.balance.rejected_rows, waiting=run.balance.waiting,
        ),
    }  # fmt: skip
    if run.error is not None:
        facets["errorMessage"] = _facet(
            "1-0-1/ErrorMessageRunFacet", message=run.error.message, programmingLanguage="python"
        )
    inputs: list[dict[str, Any]] = []
    outputs: list[dict[str, Any]] = []
    columns = _columns(home, pipeline) if state != "START" else {}
    for one in job.objects:
        counts = run.streams.get(one.stream)
        inputs.append(
            {
                "namespace": _namespace(source),
                "name": one.stream,
                "facets": {},
                "inputFacets": _counted("input", counts and counts.read) if state != "START" else {},
            }
        )
        # Of an object with several tables nobody counts each.
        loaded = counts.loaded if counts and len(one.tables) == 1 else None
        outputs += [
            {
                "namespace": _namespace(destination),
                "name": _table(destination, table),
                "facets": columns.get(table, {}),
                "outputFacets": _counted("output", loaded),
            }
            for table in one.tables
        ]
    moment = run.started_at if state == "START" else run.ended_at or datetime.now(UTC)
    return {
        "eventType": state,
        "eventTime": moment,
        "producer": _producer(),
        "schemaURL": f"{SPEC}/2-0-2/OpenLineage.json#/definitions/RunEvent",
        "run": {
            "runId": job.job_id or str(uuid.uuid5(uuid.NAMESPACE_URL, f"{pipeline.id}/{run.id}")),
            "facets": facets,
        },
        "job": {
            "namespace": f"millrace://{pipeline.team_id}",
            "name": pipeline.name,
            "facets": {
                "jobType": _facet(
                    "2-0-3/JobTypeJobFacet", processingType="BATCH", integration="MILLRACE", jobType="PIPELINE"
                )
            },
        },
        "inputs": inputs,
        "outputs": outputs,
    }


def _columns(home: Home, pipeline: Pipeline) -> dict[str, dict[str, Any]]:
    """The facets of each table: its columns, with their types and where each comes from."""
    source = _namespace(connections.by_id(home, pipeline.source_id))
    found: dict[str, dict[str, Any]] = {}
    with home.database.reading() as connection:
        latest = [Mapping.from_json(row.mapping) for row in latest_mappings(connection, pipeline.id).values()]
    for mapping in latest:
        if not mapping.mapped or mapping.skipped:
            continue
        fields = [{"name": one.name, "type": types.name(one.type)} for one in mapping.columns]
        lineage = {
            one.name: {"inputFields": [{"namespace": source, "name": mapping.stream, "field": one.source}]}
            for one in mapping.columns
            if not one.ours
        }
        found[mapping.table] = {
            "schema": _facet("1-1-1/SchemaDatasetFacet", fields=fields),
            "columnLineage": _facet("1-2-0/ColumnLineageDatasetFacet", fields=lineage),
        }
    return found


def _counted(which: str, rows: int | None) -> dict[str, Any]:
    if rows is None:
        return {}
    name = which.capitalize()
    facet = f"1-0-2/{name}Statistics{name}DatasetFacet"
    return {f"{which}Statistics": _facet(facet, rowCount=rows)}


def _facet(schema: str | None, **values: Any) -> dict[str, Any]:
    """``schema``: version and name of a facet of the specification; None for one of our own."""
    number, _, name = (schema or "").partition("/")
    url = f"{SPEC}/facets/{number}/{name}.json" if schema else f"{_producer()}#{_OWN}"
    return {"_producer": _producer(), "_schemaURL": url} | values


def _producer() -> str:
    return f"urn:millrace:{VERSION}"


def _namespace(found: Connection) -> str:
    """What names the system, as the specification's naming has it where it knows one."""
    config: Dict[str, Any] = found.config
    if (host := config.get("db_host")) is not None:
        kind = {"postgresql": "postgres"}.get(found.type, found.type)
        return f"{kind}://{host}:{config.get('db_port', 5432 if kind == 'postgres' else 0)}"
    if found.type in ("duckdb", "folder") and (path := config.get("path") or config.get("url")):
        return str(path) if "://" in str(path) else f"file://{path}"
    return f"{found.type}://{found.name}"


def _table(found: Connection, table: str) -> str:
    parts = (found.config.get("db_name"), found.config.get("schema_name"), table)
    return ".".join(str(one) for one in parts if one)


def _endpoint(url: str) -> str:
    """A URL that names no path gets that of the specification's clients."""
    return url if urlsplit(url).path.strip("/") else url.rstrip("/") + PATH
