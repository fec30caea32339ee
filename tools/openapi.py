"""Writes docs/reference/openapi.json from the application, and says what is wrong with it.

`python tools/openapi.py` writes it; with `--check` it only says whether it is up to date. Both fail for a document that
is not valid OpenAPI, or that breaks a rule of ours (`faults`).
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from openapi_spec_validator import OpenAPIV31SpecValidator

from millrace.control.home import Home
from millrace.rest.app import application
from millrace.rest.openapi import operations

FILE = Path(__file__).resolve().parent.parent / "docs/reference/openapi.json"

# `pipelines_run`: at least two words, so that a client generated from it has methods that one understands.
OPERATION_ID = re.compile(r"[a-z]+(_[a-z0-9]+)+")
PROBLEM = {"$ref": "#/components/schemas/ProblemBody"}


def document() -> dict[str, Any]:
    """The document as the application tells it."""
    with Home.temporary() as home:
        return application(home).openapi()


def text(of: Mapping[str, Any]) -> str:
    """The document as it is committed: one order, one value on a line, so that review sees what changed."""
    return json.dumps(of, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def faults(of: Mapping[str, Any]) -> list[str]:
    """What is wrong with the document, one sentence each."""
    return invalid(of) + broken(of)


def invalid(of: Mapping[str, Any]) -> list[str]:
    """Where it is not OpenAPI 3.1."""
    return [f"it is not OpenAPI: {error.message}" for error in OpenAPIV31SpecValidator(dict(of)).iter_errors()]


def broken(of: Mapping[str, Any]) -> list[str]:
    """Which of our own rules it breaks: an operation has a name, a summary, tags, and says all of its answers."""
    ids = Counter(operation.get("operationId") for _, _, operation in operations(of))
    return [
        f"{method.upper()} {path} {what}"
        for method, path, operation in operations(of)
        for what in _faults_of(operation, ids)
    ]


def _faults_of(operation: Mapping[str, Any], ids: Counter[str | None]) -> Iterator[str]:
    name = str(operation.get("operationId", ""))
    if not OPERATION_ID.fullmatch(name):
        yield f"has an operationId that does not speak: {name!r}"
    if ids[name] > 1:
        yield f"shares its operationId {name!r} with another one"
    if not operation.get("summary", "").strip():
        yield "has no summary"
    if not operation.get("tags"):
        yield "has no tags"
    answers: dict[str, Any] = operation.get("responses", {})
    good = [code for code in answers if code[0] in "23"]
    if not good and "501" not in answers:
        yield "has no answer for when it works"
    for code in good:
        content: dict[str, Any] = answers[code].get("content", {})
        if (
            code[0] == "2"
            and code != "204"
            and (not content or not all(kind.get("schema") for kind in content.values()))
        ):
            yield f"does not say what its answer {code} looks like"
        if code == "204" and content:
            yield "says what an answer without a body looks like"
    for many in ("4XX", "5XX"):
        shown = answers.get(many, {}).get("content", {}).get("application/json", {}).get("schema")
        if shown != PROBLEM:
            yield f"does not say what its refusals ({many}) look like"


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Writes docs/reference/openapi.json from the application.")
    parser.add_argument("--check", action="store_true", help="write nothing; say whether it is up to date")
    options = parser.parse_args(arguments)
    made = document()
    wrong = faults(made)
    for fault in wrong:
        print(f"openapi.json: {fault}")
    if options.check:
        if not FILE.is_file() or FILE.read_text("utf-8") != text(made):
            print("docs/reference/openapi.json is not up to date: run `make golden`")
            return 1
    else:
        FILE.write_text(text(made), "utf-8")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
