"""How answers are described in OpenAPI: the shape that `control/wire.py` writes, and the one shape of refusals."""

from __future__ import annotations

from typing import Any, TypeAlias

from millrace.rest.problems import ProblemBody

Answers: TypeAlias = dict[int | str, dict[str, Any]]

# Every route may answer so.
REFUSALS: Answers = {
    "4XX": {"model": ProblemBody, "description": "The request cannot be granted; the body says why."},
    "5XX": {"model": ProblemBody, "description": "The server cannot answer now."},
}


def answers(type_: Any, status: int = 200) -> Answers:
    """What a route may answer: JSON of that type, or nothing where it is None."""
    if type_ is None:
        return {**REFUSALS, status: {"description": "It is done."}}
    return {**REFUSALS, status: {"model": type_, "description": "What was asked for."}}
