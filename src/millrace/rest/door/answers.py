"""What routes at the door have in common: the answer with its schema, and passwords that are hashed a few at a time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

import anyio.to_thread
from fastapi import Request, Response
from pydantic import BaseModel, ConfigDict

from millrace.control.wire import encode

P = ParamSpec("P")
R = TypeVar("R")


class Asked(BaseModel):
    """The body of a request. Keys that it does not have are refused."""

    model_config = ConfigDict(extra="forbid")


def told(value: object, status: int = 200) -> Response:
    """The value as JSON."""
    return Response(encode(value), status, media_type="application/json")


def nothing() -> Response:
    """It is done, and there is nothing to tell."""
    return Response(status_code=204)


async def hashing(request: Request, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """The answer of a function that hashes passwords. Few do so at once: each takes memory and a core."""

    def call() -> R:
        return function(*args, **kwargs)

    limiter: Any = request.app.state.hashings
    return await anyio.to_thread.run_sync(call, limiter=limiter)
