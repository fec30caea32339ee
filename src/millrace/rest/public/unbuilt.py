"""Operations of the reference for things that Millrace does not have: models, workflows, OAuth accounts (api.md A7, A8,
A10). They are there, ask who asks, and answer 501.
"""

from __future__ import annotations

import re

from millrace.rest.asking import KeyRoute
from millrace.rest.later import Addresses
from millrace.rest.permits import Viewing
from millrace.rest.problems import NotBuilt, ProblemBody

router = Addresses(route_class=KeyRoute)

OPERATIONS: dict[str, tuple[tuple[str, str], ...]] = {
    "models": (
        ("GET", "/models"),
        ("POST", "/models"),
        ("GET", "/models/{id}"),
        ("PUT", "/models/{id}"),
        ("DELETE", "/models/{id}"),
        ("PUT", "/models/{id}/status"),
        ("PUT", "/models/{id}/activity-status"),
        ("PUT", "/models/{id}/schedule"),
        ("POST", "/models/{id}/run-now"),
        ("DELETE", "/models/{id}/reset"),
    ),
    "workflows": (
        ("GET", "/workflows"),
        ("GET", "/workflows/{id}"),
        ("POST", "/workflows/{id}/run-now"),
    ),
    "OAuth accounts": (
        ("GET", "/accounts/oauth"),
        ("GET", "/accounts/oauth/{id}"),
        ("DELETE", "/accounts/oauth/{id}"),
    ),
}


def _add(noun: str, method: str, path: str) -> None:
    def unbuilt(home: Viewing) -> None:
        del home
        raise NotBuilt(f"Millrace has no {noun} yet", hint="Everything else of this API works.")

    def unbuilt_of(home: Viewing, id: int) -> None:
        del id
        unbuilt(home)

    router.add_api_route(
        path,
        unbuilt_of if "{id}" in path else unbuilt,
        methods=[method],
        status_code=501,
        response_model=ProblemBody,
        tags=[noun],
        operation_id="_".join(["public", method.lower(), *re.findall(r"\w+", path)]),
        summary=f"Not built: {method} {path}",
    )


for _noun, _operations in OPERATIONS.items():
    for _method, _path in _operations:
        _add(_noun, _method, _path)
