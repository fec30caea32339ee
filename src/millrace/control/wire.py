"""Answers on their way between a server and a client: JSON with every digit, and the same dataclasses at both ends."""

from __future__ import annotations

from functools import cache
from typing import Any

from pydantic import TypeAdapter, ValidationError

from millrace.control.answers import plain
from millrace.data import json_text
from millrace.errors import EnvironmentProblem

ARROW = "application/vnd.apache.arrow.stream"


def encode(value: object) -> bytes:
    """The JSON of a value that an operation takes or answers."""
    return json_text.dumps(plain(value, decimals=True)).encode()


def decode(type_: Any, text: str) -> Any:
    """The value of that type. Raises EnvironmentProblem for an answer of another shape."""
    try:
        return adapter(type_).validate_python(json_text.loads(text))
    except (ValueError, ValidationError) as wrong:
        raise EnvironmentProblem(
            "the server's answer has another shape than this client knows",
            hint="Use the same version of Millrace at both ends.",
            code="other_version",
        ) from wrong


@cache
def adapter(type_: Any) -> TypeAdapter[Any]:
    """What reads a type."""
    return TypeAdapter(type_)
