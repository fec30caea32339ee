"""Requests whose body is a file: they may be larger than others, and go to the disk piece by piece."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request

from millrace.control.desk import Card

# The largest file: some millions of rejected rows, or of names of events.
MOST_BYTES = 256 << 20

BINARY = "application/octet-stream"


def content(card: Card) -> str | None:
    """The parameter that is the body of a request; None for operations that take no file."""
    return next((one.name for one in card.parameters if one.place == "content"), None)


def told(card: Card) -> dict[str, Any]:
    """What OpenAPI says of the body, which FastAPI does not see."""
    if content(card) is None:
        return {}
    schema = {"type": "string", "format": "binary", "maxLength": MOST_BYTES}
    return {"requestBody": {"required": True, "content": {BINARY: {"schema": schema}}}}


async def received(request: Request) -> Path:
    """A file with the body of the request; whoever asked for it removes it."""
    descriptor, name = tempfile.mkstemp(prefix="millrace-")
    try:
        with os.fdopen(descriptor, "wb") as file:
            async for part in request.stream():
                await run_in_threadpool(file.write, part)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    return Path(name)
