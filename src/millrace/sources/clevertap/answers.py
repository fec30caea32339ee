"""What an answer of CleverTap means, and how long one keeps asking. Pure: no I/O, no clock.

Sources of the rules: https://developer.clevertap.com/docs/errors (statuses), /docs/api-request-limit (429), and the
answers that public clients have recorded (not-ready code 2, usage code 3, cursor texts).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import field
from typing import Literal, TypeAlias

from millrace.connect.http.waits import doubling, listed
from millrace.data.dataclass import dataclass
from millrace.sources.clevertap import wire

Meaning = Literal[
    "success",
    "partial",
    "not_ready",
    "busy",
    "again",
    "lost_cursor",
    "denied",
    "invalid_event",
    "not_exportable",
    "bad_dates",
    "not_clevertap",
    "failed",
]

Read: TypeAlias = Callable[[bytes], wire.Answer]

_NOT_READY_STEPS = (2, 3, 5, 8, 13)
_NOT_READY_CAP_S, NOT_READY_TOTAL_S = 30, 600
_BUSY_TRIES, _BUSY_CAP_S = 10, 60
_AGAIN_TRIES, _AGAIN_CAP_S = 5, 60
NARROW_S = 600.0
_SHOWN = 300


@dataclass(frozen=True, slots=True)
class Reading:
    """The meaning of a reply; the answer in it, where there is one; and a text for people."""

    meaning: Meaning
    answer: wire.Answer | None
    text: str


def meaning(status: int, body: bytes, read: Read = wire.read) -> Reading:
    """What a reply means. Only HTTP 2xx with a JSON object that says success is a success.

    ``read`` reads the body; it raises `wire.NotJson`.
    """
    if status == 202:
        return Reading("not_ready", None, "HTTP 202")
    if status in (401, 403):
        return Reading("denied", None, _told(status, body))
    if status == 429:
        return Reading("busy", None, "HTTP 429")
    if status >= 500 or status in (408, 425):
        return Reading("again", None, _told(status, body))
    if 200 <= status < 300 and not body:
        return Reading("not_clevertap", None, f"HTTP {status} without a body")
    try:
        answer = read(body)
    except wire.NotJson:
        # A project may have its answers encrypted, which this source does not undo.
        text = (
            f"HTTP {status} with a body that is not CleverTap's JSON; if it is encrypted (HPKE), switch that off there"
        )
        return Reading("again" if status < 300 else "failed", None, text)
    if 200 <= status < 300 and answer.succeeded:
        return Reading("success", answer, "")
    return _complaint(status, answer)


def _complaint(status: int, answer: wire.Answer) -> Reading:
    code, error = answer.envelope.code, str(answer.envelope.error or "")
    text = f"HTTP {status}, code {code}: {error[:_SHOWN]}" if error or code else f"HTTP {status} without a reason"
    low = error.lower()
    found: Meaning = "failed"
    if answer.envelope.status == "partial":
        found, text = "partial", "the answer is not whole yet"
    elif code == 2 or "still in progress" in low:
        found = "not_ready"
    elif code == 401 or code == 403:
        found = "denied"
    elif code == 429:
        found = "busy"
    elif code == 3 or code == "CURSOR_INVALIDATED" or "invalid cursor" in low or low == "incorrect usage":
        found = "lost_cursor"
    elif "invalid event" in low:
        found = "invalid_event"
    elif "export not allowed" in low:
        found = "not_exportable"
    elif code == 4002 or "invalid date" in low or "date range" in low or "from greater" in low:
        found = "bad_dates"
    elif _is_server_fault(code) or (status < 300 and answer.envelope.status not in ("success", "fail")):
        found = "again"
    return Reading(found, answer, text)


def _is_server_fault(code: object) -> bool:
    return isinstance(code, int) and 500 <= code < 600


def _told(status: int, body: bytes) -> str:
    """What a failing reply says of itself: its error text, never its HTML."""
    try:
        error = wire.read(body).envelope.error if body else None
    except wire.NotJson:
        error = None
    return f"HTTP {status}: {str(error)[:_SHOWN]}" if error else f"HTTP {status}"


@dataclass(slots=True)
class Persistence:
    """How often one request is repeated, by what it met. A wait of None means: give up."""

    not_ready: Iterator[float] = field(
        default_factory=lambda: listed(_NOT_READY_STEPS, _NOT_READY_CAP_S, NOT_READY_TOTAL_S)
    )
    busy: Iterator[float] = field(default_factory=lambda: doubling(1, _BUSY_CAP_S, _BUSY_TRIES))
    again: Iterator[float] = field(default_factory=lambda: doubling(1, _AGAIN_CAP_S, _AGAIN_TRIES))

    def wait(self, met: Meaning) -> float | None:
        waits = {"not_ready": self.not_ready, "busy": self.busy, "again": self.again, "not_clevertap": self.again}
        return next(waits[met], None) if met in waits else None
