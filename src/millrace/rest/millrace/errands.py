"""Errands that this server is at: each in a thread of its own, watched as a stream of events, stopped on demand."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import AsyncIterator, Mapping
from dataclasses import field
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal, TypeAlias

from fastapi import Request, Response

from millrace.control.desk import Card, Errand, Watch
from millrace.control.home import Home
from millrace.control.people.actors import Actor
from millrace.control.wire import encode
from millrace.data.dataclass import dataclass
from millrace.engine.meter import Meter
from millrace.errors import MillraceError, Transient
from millrace.rest.asking import Asking
from millrace.rest.later import Addresses
from millrace.rest.problems import Fault, fault
from millrace.rest.shown import answers
from millrace.rest.streams import STREAMED, answer, event, last_seen

State: TypeAlias = Literal["going_on", "done", "failed"]

# What came of an errand can be asked for that long.
KEPT_S = 24 * 3600.0

# So many at once: each has a thread and connections of its own.
MOST = 16

TICK_S = 0.2


class UnknownErrand(MillraceError):
    """There is no such errand, or none of this team."""

    code = "not_found"
    exit_code = 2


@dataclass(frozen=True, slots=True)
class Progress:
    """What an errand has done so far."""

    read: int
    created: int
    staged: int
    filtered: int
    rejected: int
    loaded: int
    size_bytes: int
    progress: float | None
    awaiting: str
    stage: str

    @classmethod
    def of(cls, meter: Meter) -> Progress:
        return cls(
            meter.read,
            meter.created,
            meter.staged,
            meter.filtered,
            meter.rejected,
            meter.loaded,
            meter.size_bytes,
            meter.progress,
            meter.awaiting,
            meter.stage,
        )


@dataclass(frozen=True, slots=True)
class Begun:
    """An errand. ``result`` is there when it is done, ``status`` and ``error`` (as another answer has them) when it
    failed."""

    id: str
    operation: str
    state: State
    progress: Progress
    result: Any = None
    status: int | None = None
    error: Fault | None = None


@dataclass(slots=True)
class _Doing:
    """What is known of an errand while this server is up."""

    id: str
    card: Card
    team_id: str
    watch: Watch = field(default_factory=Watch)
    state: State = "going_on"
    result: Any = None
    failed: tuple[int, Fault] | None = None
    ended_at: float | None = None
    thread: threading.Thread | None = None
    sent: Path | None = None
    """What was sent for it: gone with its end."""

    @property
    def told(self) -> Begun:
        status, error = self.failed or (None, None)
        return Begun(self.id, self.card.name, self.state, Progress.of(self.watch.meter), self.result, status, error)


class Errands:
    """The errands of one server. What came of them is forgotten after a day, or with the server."""

    def __init__(self) -> None:
        self._known: dict[str, _Doing] = {}
        self._lock = threading.Lock()

    def begin(
        self, home: Home, errand: Errand[..., Any], arguments: Mapping[str, Any], sent: Path | None = None
    ) -> Begun:
        """The errand has begun; the file that was ``sent`` for it goes with its end.

        Raises Forbidden, and Transient when there are too many.
        """
        errand.card.must(home.actor)
        doing = _Doing(str(uuid.uuid4()), errand.card, home.actor.team_id, sent=sent)
        with self._lock:
            self._forget()
            if sum(one.state == "going_on" for one in self._known.values()) >= MOST:
                raise Transient(f"{MOST} errands go on already", retry_after_s=10)
            self._known[doing.id] = doing
            doing.thread = threading.Thread(
                target=_carry_out, args=(doing, home, errand, arguments), name=f"errand {doing.card.name}"
            )
            doing.thread.start()
        return doing.told

    def find(self, actor: Actor, id_: str) -> _Doing:
        """One of the actor's team; who may not begin it may not look at it, or stop it, either. Raises UnknownErrand,
        and Forbidden."""
        found = self._known.get(id_)
        if found is None or found.team_id != actor.team_id:
            raise UnknownErrand(f"there is no errand {id_!r}", hint="It may be over for a day, or the server is new.")
        found.card.must(actor)
        return found

    def close(self) -> None:
        """All of them stop at their next commit, and have ended."""
        for doing in list(self._known.values()):
            doing.watch.stopping.set()
        for doing in list(self._known.values()):
            if doing.thread is not None:
                doing.thread.join()

    def _forget(self) -> None:
        now = time.monotonic()
        for id_, one in list(self._known.items()):
            if one.ended_at is not None and now - one.ended_at > KEPT_S:
                del self._known[id_]


def _carry_out(doing: _Doing, home: Home, errand: Errand[..., Any], arguments: Mapping[str, Any]) -> None:
    ended: State = "failed"
    try:
        doing.result = errand.on(home, doing.watch, **arguments)
        ended = "done"
    except BaseException as error:  # whatever it is, whoever follows is told
        doing.failed = fault(error, doing.id)
    finally:
        # Before anybody is told of the end.
        if doing.sent is not None:
            doing.sent.unlink(missing_ok=True)
    doing.state = ended
    doing.ended_at = time.monotonic()


def of(request: Request) -> Errands:
    """Those of the server that was asked."""
    return request.app.state.errands


def join(router: Addresses) -> None:
    """The routes that watch and stop errands are routes of the router."""

    def find(request: Request, home: Asking, errand: str) -> Response:
        """Show how far an errand is, and what came of it."""
        return _said(of(request).find(home.actor, errand).told)

    def cancel(request: Request, home: Asking, errand: str) -> Response:
        """Ask an errand to stop. It does so at its next commit; what was committed stays."""
        found = of(request).find(home.actor, errand)
        found.watch.stopping.set()
        return _said(found.told)

    def events(request: Request, home: Asking, errand: str) -> Response:
        """Follow an errand as a stream of server-sent events.

        An event `progress` comes whenever something changed, and now and then; one event `done` or `failed` ends it.
        """
        found = of(request).find(home.actor, errand)
        seen = last_seen(request)
        if found.state != "going_on" and seen == found.state:
            return Response(status_code=204)
        return answer(request, _followed(found, seen), TICK_S)

    for path, method, function, told in (
        ("", "GET", find, answers(Begun)),
        ("/cancel", "POST", cancel, answers(Begun)),
        ("/events", "GET", events, STREAMED),
    ):
        router.add_api_route(
            f"/errands/{{errand}}{path}",
            function,
            methods=[method],
            operation_id=f"errands_{function.__name__}",
            tags=["errands"],
            response_model=None,
            responses=told,
        )


def _said(begun: Begun) -> Response:
    return Response(encode(begun), media_type="application/json")


async def _followed(doing: _Doing, seen: str | None) -> AsyncIterator[bytes | None]:
    said, said_at = b"", time.monotonic() if seen else 0.0
    while doing.state == "going_on":
        progress = encode(Progress.of(doing.watch.meter))
        now = time.monotonic()
        id_ = sha256(progress).hexdigest()[:16]
        if (progress != said and id_ != seen) or now - said_at >= 1.0:
            said, said_at = progress, now
            yield event("progress", progress, id_)
        yield None
    told = doing.told
    yield event(told.state, encode(told), told.state)
