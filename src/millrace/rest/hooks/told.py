"""What OpenAPI says of the addresses that are beside the framework."""

from __future__ import annotations

from typing import Any

_TEXT: dict[str, Any] = {"type": "string"}
_EVENT: dict[str, Any] = {
    "type": "object",
    "properties": {"name": _TEXT | {"minLength": 1}, "id": _TEXT, "properties": {"type": "object"}},
    "required": ["name"],
}
_JSON: dict[str, Any] = {"anyOf": [{"type": "object"}, {"type": "array", "items": {"type": "object"}}]}
_TAKEN: dict[str, Any] = {
    "type": "object",
    "properties": {"success": {"const": True}, "accepted": {"type": "integer", "description": "Events."}},
    "required": ["success", "accepted"],
}
_KEY: dict[str, Any] = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": "What the sender calls this request: sent again with it, its events are there once.",
    "schema": _TEXT | {"pattern": "^[!-~]{1,255}$"},
}

SCHEME = {"type": "http", "scheme": "bearer", "description": "The token of a pipeline's webhook address."}


def _path(name: str, description: str) -> dict[str, Any]:
    return {"name": name, "in": "path", "required": True, "description": description, "schema": _TEXT}


def paths(refusals: dict[str, Any]) -> dict[str, Any]:
    """The addresses. ``refusals``: what every address may answer besides."""
    token = _path("token", "The secret part of the address; `millrace hooks rotate` makes one.")
    type_ = _path("event_type", "The event type of what does not say its own.")
    pipeline = {
        "name": "pipeline",
        "in": "query",
        "required": False,
        "description": "With an API key: the pipeline that is told. The key needs `pipelines.edit`.",
        "schema": _TEXT,
    }
    batch = {"type": "object", "properties": {"events": {"type": "array", "items": _EVENT}}, "required": ["events"]}
    return {
        "/hooks/{token}": {
            "post": _operation("hooks_send", "Tell a pipeline something.", [token], _JSON, refusals, [])
        },
        "/hooks/{token}/{event_type}": {
            "post": _operation(
                "hooks_send_as", "Tell a pipeline of events of one type.", [token, type_], _JSON, refusals, []
            )
        },
        "/track": {
            "post": _operation(
                "track_send", "Tell a pipeline of many events at once.", [pipeline],
                {"anyOf": [batch, {"type": "array", "items": _EVENT}]}, refusals, [{"hook": []}, {"key": []}],
            )
        },
    }  # fmt: skip


def _operation(
    id_: str, told: str, parameters: list[Any], body: Any, refusals: dict[str, Any], security: list[Any]
) -> dict[str, Any]:
    return {
        "tags": ["sending"],
        "summary": told,
        "description": f"{told} The answer comes when it is durable.",
        "operationId": id_,
        "parameters": [*parameters, _KEY],
        "requestBody": {"required": True, "content": {"application/json": {"schema": body}}},
        "responses": {
            "200": {"description": "It is kept.", "content": {"application/json": {"schema": _TAKEN}}},
            **refusals,
        },
        "security": security,
    }
