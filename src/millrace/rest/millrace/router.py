"""A route for each operation: what a request says becomes the arguments of one call, and its answer the body."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from itertools import chain
from pathlib import Path as FilePath
from typing import Annotated, Any
from urllib.parse import unquote

import pyarrow as pa
from fastapi import Body, Path, Query, Request, Response
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, ConfigDict, create_model
from starlette.concurrency import run_in_threadpool

from millrace.control.desk import Card, Content, Errand, Operation, Parameter
from millrace.control.home import Home
from millrace.control.operations import table
from millrace.control.wire import ARROW, encode
from millrace.rest.asking import Asking, KeyRoute
from millrace.rest.later import Addresses, Later
from millrace.rest.millrace import errands, following, uploads
from millrace.rest.millrace.errands import Begun
from millrace.rest.problems import BadRequest
from millrace.rest.shown import LINES, answers

PREFIX = "/api/millrace/v1"


def routes() -> list[Later]:
    """All routes. An application with them has its home in ``state.home``, what goes on in ``state.errands``, and its
    feeds of changes in ``state.feeds`` and its looks at jobs in ``state.looks``."""
    # A path with a fixed word goes before one that takes any word there.
    ordered = sorted(table(), key=lambda one: [part.startswith("{") for part in one.card.path.split("/")])
    found = Addresses(route_class=KeyRoute)
    for one in ordered:
        found.add_later(one.card.path, one.card.method, one.card.name, partial(_written, one))
    errands.join(found)
    following.join(found)
    return found.under(PREFIX)


def _written(one: Operation[..., Any] | Errand[..., Any]) -> tuple[Callable[..., Any], dict[str, Any]]:
    card = one.card
    return _endpoint(one), {
        "status_code": card.status,
        "name": card.name,
        "operation_id": card.name.replace(".", "_"),
        "tags": [card.noun],
        "summary": card.told.partition("\n")[0],
        "description": _description(card),
        "response_model": None,
        "responses": answers(Begun if isinstance(one, Errand) else card.result, card.status),
        "openapi_extra": {"x-permission": card.permission, "x-result": card.name} | uploads.told(card),
        "max_body_size": uploads.MOST_BYTES if uploads.content(card) else None,
    }


def _description(card: Card) -> str:
    return card.told if card.permission is None else f"{card.told}\n\nNeeds the permission `{card.permission}`."


def _endpoint(one: Operation[..., Any] | Errand[..., Any]) -> Callable[..., Any]:
    """A function with the signature that FastAPI reads a request by."""
    card = one.card
    query = _model(card, "query")
    body = _model(card, "body")

    def endpoint(request: Request, home: Home, sent: list[FilePath] | None = None, **said: Any) -> Response:
        arguments: dict[str, Any] = {
            name: unquote(value) if isinstance(value, str) else value for name, value in said.items()
        }
        for part in ("_query", "_body"):
            if (given := arguments.pop(part, None)) is not None:
                arguments |= {name: getattr(given, name) for name in type(given).model_fields}
        _refuse_nul(arguments)
        if (name := uploads.content(card)) is not None and sent:
            arguments[name] = Content(sent[0])
        if isinstance(one, Errand):
            begun = errands.of(request).begin(home, one, arguments, sent.pop(0) if sent else None)
            return Response(encode(begun), 202, media_type="application/json")
        return _answer(request, one.on(home, **arguments), card.status)

    async def received(request: Request, home: Home, **said: Any) -> Response:
        """The same for a request whose body is a file: it lies on the disk before anything is asked."""
        card.must(home.actor)
        sent = [await uploads.received(request)]
        try:
            return await run_in_threadpool(endpoint, request, home, sent, **said)
        finally:
            for file in sent:
                file.unlink(missing_ok=True)

    keyword = inspect.Parameter.KEYWORD_ONLY
    parameters = [
        inspect.Parameter("request", keyword, annotation=Request),
        inspect.Parameter("home", keyword, annotation=Asking),
    ]
    parameters += [
        inspect.Parameter(own.name, keyword, annotation=Annotated[own.annotation, Path()])
        for own in card.parameters
        if own.place == "path"
    ]
    if query is not None:
        parameters.append(inspect.Parameter("_query", keyword, annotation=Annotated[query, Query()]))
    if body is not None:
        parameters.append(inspect.Parameter("_body", keyword, annotation=Annotated[body, Body()]))
    face = received if uploads.content(card) else endpoint
    face.__signature__ = inspect.Signature(parameters)  # pyright: ignore[reportFunctionMemberAccess]  # for FastAPI
    return face


def _model(card: Card, place: str) -> type[BaseModel] | None:
    """The parameters of one place as a model that knows no other key."""
    own = [one for one in card.parameters if one.place == place]
    if not own:
        return None
    fields: Any = {one.name: (one.annotation, _default(one)) for one in own}
    name = "".join(word.capitalize() for word in card.name.replace("_", ".").split(".")) + place.capitalize()
    return create_model(name, __config__=ConfigDict(extra="forbid"), **fields)


def _default(own: Parameter) -> Any:
    if own.default is inspect.Parameter.empty:
        return ...
    return dict(own.default) if isinstance(own.default, Mapping) else own.default


def _answer(request: Request, value: Any, status: int) -> Response:
    """The answer in the form that the request asks for: rows as Arrow where it takes that, all else as JSON."""
    if isinstance(value, pa.Table) and ARROW in request.headers.get("accept", ""):
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, value.schema) as writer:
            writer.write_table(value)
        return Response(sink.getvalue().to_pybytes(), status, media_type=ARROW)
    if isinstance(value, Iterator):
        # What cannot be found fails before there is an answer.
        first = next(value, None)
        return StreamingResponse(chain(() if first is None else (first,), value), status, media_type=LINES)
    return Response(encode(value), status, media_type="application/json")


def _refuse_nul(arguments: dict[str, Any]) -> None:
    """No text with a NUL goes on: databases do not take it. Raises BadRequest."""
    for name, value in arguments.items():
        if any("\0" in text for text in _texts(value)):
            raise BadRequest("the text has a character that cannot be in it (NUL)", path=name)


def _texts(value: Any) -> Iterator[str]:
    match value:
        case str():
            yield value
        case dict():
            for key, below in value.items():  # pyright: ignore[reportUnknownVariableType]  # any JSON
                yield from _texts(key)
                yield from _texts(below)
        case list() | tuple():
            for below in value:  # pyright: ignore[reportUnknownVariableType]  # any JSON
                yield from _texts(below)
        case _:
            return
