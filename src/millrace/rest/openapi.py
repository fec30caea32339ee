"""The OpenAPI document of the application: what FastAPI knows of the routes, with answers as they are on the wire."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator, Mapping
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute, iter_route_contexts
from starlette.routing import BaseRoute

from millrace.rest.asking import KeyRoute
from millrace.rest.conditions import SHOWN, kind
from millrace.rest.hooks import told
from millrace.rest.later import Later
from millrace.rest.problems import ProblemBody
from millrace.rest.shown import REF, schemas

ABOUT = """Data pipelines, exactly once. Three APIs: `/api/public/v2.0` and `/api/v1` are those that existing clients
speak; `/api/millrace/v1` has all that Millrace can be asked for.

Who asks shows an API key by HTTP basic authentication, or comes with the cookie of a session."""

ETAG: dict[str, Any] = {"description": "Another one after each change; for `If-Match`.", "schema": {"type": "string"}}
IF_MATCH: dict[str, Any] = {
    "name": "If-Match",
    "in": "header",
    "required": False,
    "description": "Change it only if its `ETag` is one of these; else the answer is 412.",
    "schema": {"type": "string", "maxLength": 1000},
}
IDEMPOTENCY_KEY: dict[str, Any] = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": "A new text for each request. Who sends one again with its key gets the first answer, for a day.",
    "schema": {"type": "string", "pattern": "^[!-~]{1,255}$"},
}

_making = threading.Lock()

_HERE = REF.removesuffix("{model}")


class Described(FastAPI):
    """The application, which describes itself."""

    @property
    def routes(self) -> tuple[BaseRoute, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]  # no list, lest one adds in vain
        """All routes as they answer: whoever looks through them has them made. `router` is where one adds some."""
        return tuple(route.made if isinstance(route, Later) else route for route in self.router.routes)

    def openapi(self) -> dict[str, Any]:
        """The document. It is made once, whichever thread asks for it first."""
        with _making:
            if self.openapi_schema is None:
                self.openapi_schema = _document(self)
            return self.openapi_schema


def _document(app: FastAPI) -> dict[str, Any]:
    found: dict[str, Any] = get_openapi(
        title=app.title,
        version=app.version,
        description=app.description,
        servers=app.servers,
        routes=app.routes,
    )
    _as_on_the_wire(app, found)
    for _, _, operation in operations(found):
        if text := operation.get("description"):
            operation["summary"] = text.partition("\n")[0]
        for answer in operation["responses"].values():
            # FastAPI takes every answer for JSON, also those that say what they are.
            if len(answer.get("content", ())) > 1 and not answer["content"].get("application/json", {}).get("schema"):
                del answer["content"]["application/json"]
    found = _named(found)
    _with_conditions(app, found)
    _with_hooks(found)
    return found


def operations(document: Mapping[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Method, path and description of each operation."""
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield method, path, operation


def _as_on_the_wire(app: FastAPI, document: dict[str, Any]) -> None:
    """Answers that `control/wire.py` writes are described as it writes them."""
    # What every refusal refers to. No operation is called so.
    types: dict[str, Any] = {"": ProblemBody}
    places: dict[str, dict[str, Any]] = {}
    for context in iter_route_contexts(app.routes):
        route = context.original_route
        if not isinstance(route, APIRoute) or route.response_model is not None or not route.include_in_schema:
            continue
        status = route.status_code or 200
        if (model := route.responses.get(status, {}).get("model")) is not None:
            method = next(iter(route.methods or ())).lower()
            operation = document["paths"][str(context.path_format)][method]
            name = operation["operationId"]
            types[name] = model
            places[name] = operation["responses"][str(status)]["content"]["application/json"]
    told, shared = schemas(types)
    for key, place in places.items():
        place["schema"] = told[key]
    held = document["components"]["schemas"]
    document["components"]["schemas"] = held | shared
    # What FastAPI still describes: bodies of requests, and what else somebody refers to.
    theirs = [operation.get("requestBody") for _, _, operation in operations(document)]
    theirs += [held[name] for name in _used(document) if name not in shared]
    for name in set(_refs(theirs)) & shared.keys() & held.keys():
        if held[name] != shared[name]:
            raise ValueError(f"two different schemas are called {name}: rename one of the classes")
    _tidy(document)


def _with_conditions(app: FastAPI, document: dict[str, Any]) -> None:
    """The headers of `rest/conditions.py`, which no route reads by itself."""
    document["components"]["parameters"] = {"IdempotencyKey": IDEMPOTENCY_KEY, "IfMatch": IF_MATCH}
    for context in iter_route_contexts(app.routes):
        route = context.original_route
        if not isinstance(route, KeyRoute) or not route.include_in_schema:
            continue
        method = next(iter(route.methods or ()))
        operation = document["paths"][str(context.path_format)][method.lower()]
        tagged = kind(route.name, set(re.findall(r"\{(\w+)\}", str(context.path_format)))) is not None
        taken = ["IfMatch"] if tagged and method != "GET" else []
        taken += ["IdempotencyKey"] if method == "POST" else []
        if taken:
            there = [{"$ref": f"#/components/parameters/{name}"} for name in taken]
            operation["parameters"] = [*operation.get("parameters", ()), *there]
        if tagged and route.name in SHOWN:
            operation["responses"][str(route.status_code or 200)]["headers"] = {"ETag": ETAG}


def _with_hooks(document: dict[str, Any]) -> None:
    """What is beside the framework: `rest/hooks`."""
    some = next(operation for _, _, operation in operations(document) if "4XX" in operation["responses"])
    document["paths"] |= told.paths({status: some["responses"][status] for status in ("4XX", "5XX")})
    document["components"]["securitySchemes"]["hook"] = told.SCHEME


def _tidy(document: dict[str, Any]) -> None:
    """Schemas that nothing refers to are not there."""
    used = _used(document)
    held = document["components"]["schemas"]
    document["components"]["schemas"] = {name: held[name] for name in sorted(held) if name in used}


def _used(document: Mapping[str, Any]) -> set[str]:
    held = document["components"]["schemas"]
    used: set[str] = set()
    waiting = set(_refs(document["paths"]))
    while waiting:
        name = waiting.pop()
        used.add(name)
        waiting |= set(_refs(held[name])) - used
    return used


def _named(document: dict[str, Any]) -> dict[str, Any]:
    """The document with names of schemas that one can say: `PublicPipelinesNewSchedule`, not where its class stands."""
    held = document["components"]["schemas"]
    names = {name: _spoken(name) for name in held}
    if len(set(names.values())) < len(names):
        raise ValueError("two schemas would have one name: rename one of the classes")
    named = _renamed(document, names)
    named["components"]["schemas"] = {names[name]: _renamed(held[name], names) for name in sorted(held)}
    return named


def _spoken(name: str) -> str:
    parts = [part for part in name.split("_") if part and part not in ("millrace", "rest")]
    return "".join(part[0].upper() + part[1:] for part in parts)


def _renamed(value: Any, names: Mapping[str, str]) -> Any:
    match value:
        case dict():
            return {
                key: _HERE + names[below.removeprefix(_HERE)]
                if key == "$ref" and isinstance(below, str)
                else _renamed(below, names)
                for key, below in value.items()  # pyright: ignore[reportUnknownVariableType]  # any JSON
            }
        case list():
            return [_renamed(below, names) for below in value]  # pyright: ignore[reportUnknownVariableType]  # any JSON
        case _:
            return value


def _refs(value: Any) -> Iterator[str]:
    match value:
        case dict():
            for key, below in value.items():  # pyright: ignore[reportUnknownVariableType]  # any JSON
                if key == "$ref" and isinstance(below, str):
                    yield below.removeprefix(_HERE)
                else:
                    yield from _refs(below)
        case list():
            for below in value:  # pyright: ignore[reportUnknownVariableType]  # any JSON
                yield from _refs(below)
        case _:
            return
