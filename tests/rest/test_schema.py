"""Requests made from the OpenAPI document, right ones and wrong ones: no answer is outside of it, and none is a fault.

They follow from a seed, so that a run can be repeated. Of each operation there are two: the simplest one, and one of
any size, which names what is there half the time.
"""

from __future__ import annotations

import contextlib
import copy
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from http.cookiejar import DefaultCookiePolicy
from typing import Any, TypeAlias

import httpx
import pytest
import requests
import schemathesis
from fastapi import FastAPI
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable
from schemathesis import Case, GenerationMode, Response
from schemathesis.core.failures import FailureGroup
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from tests.control.conftest import EVENTS_CSV
from tests.control.people import PASSWORD
from tests.control.sources import Script
from tests.rest.conftest import Keys, rows, work

from millrace.control.connecting import connections
from millrace.control.home import Home
from millrace.control.pipeline import pipelines
from millrace.control.pipeline.pipelines import Wish
from millrace.control.running import jobs
from millrace.engine import ingest
from millrace.rest import streams
from millrace.rest.millrace import errands

API = "/api/millrace/v1"
# So long may an answer take where others use the machine too: some of them start a process.
PATIENCE_S = 120.0
CHECKS = [status_code_conformance, content_type_conformance, response_schema_conformance]

# What would end the session of whoever asks with one.
ENDS = {f"DELETE {API}/session", f"POST {API}/session"}


@pytest.fixture(scope="module", autouse=True)
def world(home: Home, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mapping[str, Any]]:
    """A pipeline that has run; what a path may name, by the parameter."""
    folder = tmp_path_factory.mktemp("world")
    (folder / "events.csv").write_text(EVENTS_CSV)
    script = Script({"Orders": [rows(0, 5)], "Users": [rows(0, 3)]})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(connections, "build_source", script.build)
        patch.setattr(ingest, "FLUSH_SECONDS", 0.0)
        # Too many errands are refused with 503, which is right and not looked for here.
        patch.setattr(errands, "MOST", 10_000)
        # A stream ends when there is nothing new.
        patch.setattr(streams, "LASTS_S", 0.0)
        config = {"project_id": "AAA-BBB-CCCC", "passcode": "hunter2", "events_file": str(folder / "events.csv")}
        connections.create(home, "source", "app", "clevertap", config)
        connections.create(home, "destination", "warehouse", "duckdb", {"path": str(folder / "w.duckdb")})
        number = pipelines.create(home, Wish("events", "app", "warehouse")).number
        jobs.start(home, "events")
        work(home)
        job = jobs.page(home, "events").items[0]
        yield {
            "pipeline_id": number,
            "destination_id": connections.find(home, "destination", "warehouse").number,
            "object_name": "Orders",
            "event_type": "Orders",
            "table_name": "orders",
            "job_id": job.job_id,
            "email": "observer@example.com",
            "pipeline": "events",
            "source": "app",
            "run": job.run.id,
            "type": "duckdb",
        }


@pytest.fixture(scope="module")
def document(app: FastAPI) -> dict[str, Any]:
    """The document, in which an answer has nothing that is not told of."""
    found = copy.deepcopy(app.openapi())
    for shape in found["components"]["schemas"].values():
        if "properties" in shape:
            shape.setdefault("additionalProperties", False)
    return found


def there(case: Case, world: Mapping[str, Any]) -> None:
    """The path of the request names what is there, as it is now; what is there stays."""
    path = case.operation.path
    case.headers.pop("If-Match", None)
    if case.method == "DELETE" or path.endswith(("/rename", "/reset")):
        return
    for name in case.path_parameters:
        if name == "name" and "/files/" not in path:
            case.path_parameters[name] = "app" if "/sources/" in path else "warehouse"
        elif name in world:
            case.path_parameters[name] = world[name]


Send: TypeAlias = Callable[[Case], Response]


def ask_all(
    document: dict[str, Any], world: Mapping[str, Any], mode: GenerationMode, shifts: Sequence[Mapping[str, Send]]
) -> dict[str, set[int]]:
    """A request of each operation for each shift, sent by its callers; the statuses that each of them got.

    Fails with all answers that may not be.
    """
    statuses: dict[str, set[int]] = {caller: set() for callers in shifts for caller in callers}
    wrong: dict[str, str] = {}
    schema = schemathesis.openapi.from_dict(document)
    schema.config.generation.update(with_security_parameters=False)
    for found in schema.get_all_operations():
        assert isinstance(found, Ok), found
        operation = found.ok()
        if mode is GenerationMode.NEGATIVE and not (operation.body or operation.query):
            continue  # a path is any text

        @seed(7)
        @settings(
            max_examples=len(shifts),
            deadline=None,
            database=None,
            phases=[Phase.generate],
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large],
        )
        @given(case=operation.as_strategy(generation_mode=mode), real=st.booleans())
        def ask(case: Case, real: bool, turns: Iterator[Mapping[str, Send]]) -> None:
            if real:
                there(case, world)
            for caller, send in next(turns).items():
                answer = send(case)
                statuses[caller].add(answer.status_code)
                if answer.status_code >= 500 and answer.status_code != 501:
                    wrong[case.operation.label] = f"{answer.status_code} {answer.text}\n{case.as_curl_command()}"
                try:
                    case.validate_response(answer, checks=CHECKS)
                except (AssertionError, FailureGroup) as outside:
                    wrong[case.operation.label] = str(outside)

        # Where any text is right, no request can be wrong.
        with contextlib.suppress(Unsatisfiable):
            ask(turns=itertools.cycle(shifts))
    assert not wrong, "\n\n".join(f"{label}: {what}" for label, what in wrong.items())
    return statuses


@pytest.fixture(scope="module")
def wire() -> Iterator[requests.Session]:
    """One connection for all requests, which keeps nothing of an answer."""
    with requests.Session() as session:
        session.trust_env = False
        session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        yield session


def by_key(wire: requests.Session, url: str, pair: tuple[str, str] | None) -> Send:
    return lambda case: case.call(base_url=url, session=wire, auth=pair, timeout=PATIENCE_S)


def test_no_caller_gets_an_answer_that_is_not_told_of(
    document: dict[str, Any], url: str, wire: requests.Session, keys: Keys, world: Mapping[str, Any]
) -> None:
    with httpx.Client(base_url=url) as page:
        body = {"email": "admin@example.com", "password": PASSWORD}
        csrf = page.post(f"{API}/session", json=body).json()["csrf"]
        cookies = dict(page.cookies)

        def signed_in(case: Case) -> Response:
            if case.operation.label in ENDS:
                return nobody(case)
            headers = {"X-CSRF-Token": csrf}
            return case.call(base_url=url, session=wire, headers=headers, cookies=cookies, timeout=PATIENCE_S)

        admin, nobody = by_key(wire, url, keys.admin), by_key(wire, url, None)
        observer, stranger = by_key(wire, url, keys.observer), by_key(wire, url, keys.stranger)
        shifts: list[dict[str, Send]] = [
            {"admin": admin, "page": signed_in, "nobody": nobody},
            {"admin": admin, "observer": observer, "stranger": stranger},
        ]
        statuses = ask_all(document, world, GenerationMode.POSITIVE, shifts)
        assert page.get(f"{API}/me").status_code == 200
    assert {200, 400, 404} <= statuses["admin"]
    assert {200, 403} <= statuses["observer"]
    assert {200, 404} <= statuses["stranger"]
    assert {200, 400} <= statuses["page"]
    assert 401 in statuses["nobody"] and 201 not in statuses["nobody"]


def test_no_wrong_request_gets_one_either(
    document: dict[str, Any], url: str, wire: requests.Session, keys: Keys, world: Mapping[str, Any]
) -> None:
    statuses = ask_all(document, world, GenerationMode.NEGATIVE, [{"admin": by_key(wire, url, keys.admin)}] * 2)
    assert {400, 404} <= statuses["admin"]


def test_an_answer_outside_of_the_document_is_found(
    document: dict[str, Any], url: str, wire: requests.Session, keys: Keys, world: Mapping[str, Any]
) -> None:
    spoilt = copy.deepcopy(document)
    spoilt["paths"] = {path: spoilt["paths"][path] for path in (f"{API}/me", f"{API}/status")}
    user = spoilt["components"]["schemas"]["User"]
    del user["properties"]["email"]
    user["required"].remove("email")
    with pytest.raises(AssertionError, match=f"GET {API}/me: "):
        ask_all(spoilt, world, GenerationMode.POSITIVE, [{"admin": by_key(wire, url, keys.admin)}])
