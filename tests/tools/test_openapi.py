"""The OpenAPI document is what the application says, is valid, and breaks no rule of ours."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest

from tools import openapi


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return openapi.document()


def test_the_committed_document_is_what_the_application_says(document: dict[str, Any]) -> None:
    assert openapi.FILE.read_text("utf-8") == openapi.text(document), "run `make golden`"


def test_nothing_is_wrong_with_it(document: dict[str, Any]) -> None:
    assert openapi.faults(document) == []


ME = "/api/millrace/v1/me"

# What somebody breaks, and what is said of it.
BREAKS: dict[str, tuple[Callable[[Any], Any], str]] = {
    "two of one id": (lambda it: it["paths"][ME]["get"].update(operationId="session_read"), "shares its operationId"),
    "mute id": (lambda it: it["paths"][ME]["get"].update(operationId="Get1"), "does not speak"),
    "no summary": (lambda it: it["paths"][ME]["get"].update(summary=" "), "has no summary"),
    "no tags": (lambda it: it["paths"][ME]["get"].pop("tags"), "has no tags"),
    "no answer": (lambda it: it["paths"][ME]["get"]["responses"].pop("200"), "has no answer for when it works"),
    "no schema": (
        lambda it: it["paths"][ME]["get"]["responses"]["200"]["content"]["application/json"].update(schema={}),
        "does not say what its answer 200 looks like",
    ),
    "no refusals": (lambda it: it["paths"][ME]["get"]["responses"].pop("4XX"), "does not say what its refusals"),
}


@pytest.mark.parametrize("what", BREAKS)
def test_what_breaks_a_rule_is_told(document: dict[str, Any], what: str) -> None:
    broken = copy.deepcopy(document)
    spoil, said = BREAKS[what]
    spoil(broken)
    assert any(said in fault for fault in openapi.broken(broken))


def test_what_is_no_openapi_is_told() -> None:
    assert openapi.invalid({"openapi": "3.1.0", "info": {"version": "1"}, "paths": {}}) != []


def test_answers_are_described_as_they_are_on_the_wire(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]
    # Every field of a dataclass is there, and what follows from them; a length of time is a number.
    assert {"id", "roles", "entity"} <= set(schemas["User"]["required"])
    assert schemas["Progress"]["properties"]["progress"]["anyOf"][-1] == {"type": "null"}
    # What is None in a refusal is left out.
    assert schemas["Fault"]["required"] == ["code", "message"]
    query = document["paths"]["/api/millrace/v1/query"]["post"]["responses"]["200"]["content"]
    assert set(query) == {"application/json", "application/vnd.apache.arrow.stream"}
    export = document["paths"]["/api/millrace/v1/rejects/export"]["get"]["responses"]["200"]["content"]
    assert set(export) == {"application/x-ndjson"}
