"""Errors as answers: a status code and one shape of body, whatever went wrong. No internals, no secrets (I7)."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError, ResponseValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException

from millrace.errors import (
    AuthError,
    ConfigError,
    DataError,
    EnvironmentProblem,
    Forbidden,
    MillraceError,
    Stale,
    Transient,
)
from millrace.rest.cookies import from_browser

log = logging.getLogger("millrace.rest")

# What a path names and is not there. Unknown keys and types stand in a body: those are the caller's to mend.
NOT_FOUND = frozenset(
    {
        "no_table",
        "not_found",
        "unknown_alert",
        "unknown_channel",
        "unknown_connection",
        "unknown_destination",
        "unknown_draft",
        "unknown_event_type",
        "unknown_job",
        "unknown_key_pair",
        "unknown_object",
        "unknown_pipeline",
        "unknown_position",
        "unknown_run",
        "unknown_session",
        "unknown_source",
        "unknown_table",
        "unknown_user",
        "unknown_version",
    }
)

# What is asked contradicts what there is now.
CONFLICT = frozenset(
    {
        "already_running",
        "by_hand",
        "email_taken",
        "cancelled",
        "fixed_after_load",
        "in_use",
        "last_administrator",
        "outcome_unknown",
        "request_in_progress",
        "name_taken",
        "rows_waiting",
        "table_taken",
        "too_many_high",
        "two_factor_on",
        "wrong_state",
    }
)

# Whoever signs in or is signed in, by the codes of AuthError. Its other codes are about systems that we sign in to.
DOOR: Mapping[str, int] = {"no_session": 401, "sign_in": 401, "code": 401, "csrf": 403, "address": 403, "bad_link": 403}

# What a request says of itself in its headers.
HEADERS: Mapping[str, int] = {"changed_meanwhile": 412, "idempotency_key_reused": 422}

DEFAULT_RETRY_S = 5


class Unauthenticated(MillraceError):
    """The request says not who asks, or nobody believes it."""

    code = "unauthenticated"


class BadRequest(ConfigError):
    """A parameter is missing or wrong; ``path`` says which one."""

    code = "invalid_parameter"


class NotBuilt(MillraceError):
    """An operation of the reference that this product does not have yet."""

    code = "not_implemented"


class Finding(BaseModel):
    """One of several things that are wrong with what was sent. `field` may name a line of it."""

    code: str
    message: str
    hint: str | None = None
    field: str | None = None


class Fault(BaseModel):
    """What went wrong. `code` stays the same; `message` and `hint` are for people."""

    code: str = Field(examples=["INVALID_PARAMETER"])
    message: str
    hint: str | None = None
    field: str | None = Field(None, description="The parameter or the key of the body that is meant.")
    request_id: str | None = Field(None, description="Names this request in the log of the server.")
    problems: list[Finding] | None = Field(None, description="All that is wrong, when it is several things.")


class ProblemBody(BaseModel):
    """The body of every answer that is no success."""

    success: bool = Field(False, examples=[False])
    error: Fault


def install(app: FastAPI) -> None:
    """Every error of a request of ``app`` is answered in the one shape."""
    app.add_exception_handler(MillraceError, _told)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _by_status)
    app.add_exception_handler(ResponseValidationError, unforeseen)


def status_of(error: MillraceError) -> int:
    """The status code of an error."""
    if error.code in NOT_FOUND:
        return HTTPStatus.NOT_FOUND
    if error.code in CONFLICT:
        return HTTPStatus.CONFLICT
    if error.code in HEADERS:
        return HEADERS[error.code]
    match error:
        case Unauthenticated():
            return HTTPStatus.UNAUTHORIZED
        case AuthError() if error.code in DOOR:
            return DOOR[error.code]
        case Forbidden():
            return HTTPStatus.FORBIDDEN
        case NotBuilt():
            return HTTPStatus.NOT_IMPLEMENTED
        case Stale():
            return HTTPStatus.CONFLICT
        case Transient() | EnvironmentProblem():
            return HTTPStatus.SERVICE_UNAVAILABLE
        case ConfigError() | DataError():
            return HTTPStatus.BAD_REQUEST
        case _:
            return HTTPStatus.INTERNAL_SERVER_ERROR


def answer(
    request: Request,
    status: int,
    code: str,
    message: str,
    *,
    hint: str | None = None,
    field: str | None = None,
    headers: Mapping[str, str] | None = None,
) -> JSONResponse:
    """A problem as a response."""
    return _body(_fault(code, message, request_id(request), hint=hint, field=field), status, headers)


def _fault(code: str, message: str, request: str | None, *, hint: str | None = None, field: str | None = None) -> Fault:
    return Fault(code=code.upper(), message=message, hint=hint, field=field, request_id=request, problems=None)


def _body(found: Fault, status: int, headers: Mapping[str, str] | None) -> JSONResponse:
    body = ProblemBody(success=False, error=found)
    return JSONResponse(body.model_dump(exclude_none=True), status, headers=dict(headers or {}))


def request_id(request: Request) -> str | None:
    """The id of the request, where the envelope gave it one."""
    return getattr(request.state, "request_id", None)


def too_large(request: Request) -> JSONResponse:
    """The body of the request is larger than may be."""
    return answer(request, 413, *_WORDS[413], headers={"Connection": "close"})


def fault(error: BaseException, request_id: str | None = None) -> tuple[int, Fault]:
    """An error as a status code and the words that whoever asked may read; the log has the rest."""
    status = status_of(error) if isinstance(error, MillraceError) else HTTPStatus.INTERNAL_SERVER_ERROR
    if isinstance(error, EnvironmentProblem):
        # Its words name files and databases of this machine: those are for the operator alone.
        log.error("request %s: %s: %s", request_id, error.code, error.message)
        return status, _fault(error.code, "the server cannot work now; its operator must mend it", request_id)
    if status == HTTPStatus.INTERNAL_SERVER_ERROR or not isinstance(error, MillraceError):
        # The log has the kind of error and its place, not its words: they may hold values.
        frames = traceback.extract_tb(error.__traceback__)
        way = " < ".join(f"{frame.filename}:{frame.lineno} {frame.name}" for frame in reversed(frames[-12:]))
        log.error("request %s failed: %s at %s", request_id, type(error).__name__, way)
        return HTTPStatus.INTERNAL_SERVER_ERROR, _fault("internal", _OURS, request_id)
    found = _fault(error.code, error.message, request_id, hint=error.hint, field=_field(error.path))
    several = [
        Finding(code=one.code.upper(), message=one.message, hint=one.hint, field=_field(one.path))
        for one in getattr(error, "problems", ())
    ]
    return status, found.model_copy(update={"problems": several}) if len(several) > 1 else found


async def _told(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, MillraceError)
    status, found = fault(error, request_id(request))
    headers: dict[str, str] = {}
    if isinstance(error, EnvironmentProblem):
        headers["Retry-After"] = "60"
    elif isinstance(error, Transient) and status == HTTPStatus.SERVICE_UNAVAILABLE:
        headers["Retry-After"] = str(int(error.retry_after_s or DEFAULT_RETRY_S))
    if status == HTTPStatus.UNAUTHORIZED:
        # A page is not told of keys: the browser would ask its user for one.
        scheme = "Session" if from_browser(request) else "Basic"
        headers["WWW-Authenticate"] = f'{scheme} realm="Millrace", charset="UTF-8"'
    return _body(found, status, headers)


def _field(path: str | None) -> str | None:
    """The key that an error names; never a file or a variable of this machine."""
    return path if path and "/" not in path and not path.isupper() else None


async def _invalid(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    found = error.errors()
    if found and found[0]["type"] == "json_invalid":
        where = found[0]["loc"][-1]
        reason = found[0].get("ctx", {}).get("error", "it cannot be read")
        return answer(request, 400, "invalid_json", f"the body is no JSON: {reason} (character {where})")
    content = request.headers.get("content-type", "")
    if found and found[0]["loc"] == ("body",) and content and "json" not in content:
        message = "the body must be JSON"
        return answer(request, 400, "invalid_parameter", message, hint="Send Content-Type: application/json.")
    said = "; ".join(f"{_path(one['loc'])}: {_wrong(one)}" for one in found[:10])
    field = _path(found[0]["loc"]) if found else None
    return answer(request, 400, "invalid_parameter", said or "the request is not valid", field=field)


def _path(loc: Sequence[Any]) -> str:
    """`schedule.frequency` for a place in the body, `limit` for a parameter."""
    return ".".join(str(step) for step in loc[1:]) or str(loc[0])


def _wrong(one: Mapping[str, Any]) -> str:
    """What is wrong with a value, never the value itself: it may be a secret."""
    if one["type"] == "extra_forbidden":
        return "there is no such key"
    return str(one["msg"]).removeprefix("Value error, ").removeprefix("Input ")


_WORDS = {
    404: ("not_found", "there is nothing at this address"),
    405: ("method_not_allowed", "this address does not take that method"),
    408: ("timeout", "the body of the request came too slowly"),
    413: ("too_large", "the body of the request is too large"),
}


async def _by_status(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    # The framework has no word for why it could not read a body; what it met says that.
    match error.__cause__:
        case MillraceError() as ours:
            return await _told(request, ours)
        case RecursionError():
            return answer(request, 400, "invalid_json", "the body is nested too deep")
        case UnicodeDecodeError():
            return answer(request, 400, "invalid_json", "the body is no JSON: it is not UTF-8")
        case _:
            pass
    code, message = _WORDS.get(error.status_code, ("bad_request", "the request cannot be understood"))
    return answer(request, error.status_code, code, message, headers=error.headers)


async def unforeseen(request: Request, error: Exception) -> JSONResponse:
    """A fault of ours."""
    status, found = fault(error, request_id(request))
    return _body(found, status, None)


_OURS = "something went wrong in Millrace; its log says more"
