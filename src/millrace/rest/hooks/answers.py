"""What is answered to those who send: that it is kept, or why not."""

from __future__ import annotations

import logging
import random
from dataclasses import field

import orjson

from millrace.data.dataclass import dataclass
from millrace.errors import MillraceError
from millrace.rest.envelope import SECURITY

# Sent with every answer.
HEADERS = [(b"content-type", b"application/json")] + [
    (name.lower().encode(), value.encode()) for name, value in SECURITY.items()
]
_log = logging.getLogger("millrace.hooks")


@dataclass(frozen=True, slots=True)
class Refused(Exception):
    """Nothing of the request was kept."""

    status: int
    code: str
    message: str
    hint: str | None = None
    headers: tuple[tuple[bytes, bytes], ...] = field(default=())


@dataclass(frozen=True, slots=True)
class Answer:
    """``own``: headers beside those of all answers."""

    status: int
    own: tuple[tuple[bytes, bytes], ...]
    body: bytes


UNKNOWN = Refused(404, "NOT_FOUND", "there is nothing at this address")
LARGE = Refused(413, "TOO_LARGE", "the body of the request is too large", "Send at most 16 MB at once.")
SLOW = Refused(408, "TIMEOUT", "the body of the request came too slowly", headers=((b"connection", b"close"),))
CLOSED = Refused(
    503, "UNAVAILABLE", "it could not be kept now", "Send it again, with the same id.", ((b"retry-after", b"5"),)
)


def busy(seconds: int) -> Refused:
    """More came than is taken now."""
    return Refused(
        429,
        "TOO_MANY_REQUESTS",
        "more has come than could be read so far",
        "Send it again later.",
        ((b"retry-after", b"%d" % seconds),),
    )


def unauthorized() -> Refused:
    """Batches without a token that is known."""
    return Refused(
        401,
        "UNAUTHORIZED",
        "the token is missing or not good",
        "Send Authorization: Bearer with the token of a webhook address, or an API key with ?pipeline=NAME.",
        ((b"www-authenticate", b'Bearer realm="Millrace"'),),
    )


def kept(count: int) -> Answer:
    """So many events are durable."""
    return _answer(200, b'{"success":true,"accepted":%d}' % count, _new_id(), ())


def not_kept(error: BaseException) -> Answer:
    """Why not, in words that name no place of this machine; those stay in the log."""
    request_id = _new_id()
    if isinstance(error, Refused):
        refused = error
    else:
        refused = CLOSED
        ours = not isinstance(error, OSError | MillraceError)
        _log.error("request %s could not be kept: %s", request_id, error, exc_info=error if ours else None)
    told = {"code": refused.code, "message": refused.message, "hint": refused.hint, "request_id": request_id}
    body = orjson.dumps({"success": False, "error": {key: one for key, one in told.items() if one is not None}})
    return _answer(refused.status, body, request_id, refused.headers)


def _new_id() -> str:
    # Not asked of the system, which would let other threads in at each request. It says nothing and opens nothing.
    return f"{random.getrandbits(128):032x}"


def _answer(status: int, body: bytes, request_id: str, more: tuple[tuple[bytes, bytes], ...]) -> Answer:
    return Answer(status, ((b"x-request-id", request_id.encode()), *more, (b"content-length", b"%d" % len(body))), body)
