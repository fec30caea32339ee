"""Runs and pipelines as streams of events, whichever process works on them."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections import deque
from collections.abc import AsyncIterator
from hashlib import sha256

from fastapi import Request, Response
from starlette.concurrency import run_in_threadpool

from millrace.control.home import Home
from millrace.control.observing import watching
from millrace.control.observing.watching import Changes, RunNow
from millrace.control.operations.runs import Number
from millrace.control.wire import encode
from millrace.errors import ConfigError, MillraceError, Transient
from millrace.rest.asking import Asking
from millrace.rest.later import Addresses
from millrace.rest.streams import STREAMED, Streams, answer, event, last_seen

TICK_S = 1.0

# So many changes are kept for those who come back.
MOST = 5000

# Nobody waits longer for a look at a job; whoever follows it asks again.
PATIENCE_S = 5.0

# A look that has not ended by then does not hold up another one.
GIVEN_UP_S = 30.0

# The pipelines of a team are looked at for so long after nobody follows them any more.
LINGERS_S = 60.0


class Feed:
    """What changes among the pipelines of one team. Looked for once, however many follow it, and only while one does.

    Ids are those of this feed: who brings one of another server, or an old one, is told to load the list anew.
    """

    def __init__(self, home: Home, streams: Streams) -> None:
        self._home = home
        self._streams = streams
        self._epoch = uuid.uuid4().hex[:12]
        self._last = 0
        self._events: deque[tuple[int, bytes]] = deque(maxlen=MOST)
        self._beginning = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None
        self.followers = 0

    @property
    def over(self) -> bool:
        """Nobody looks any more."""
        return self._task is not None and self._task.done()

    async def follow(self, seen: str | None) -> AsyncIterator[bytes | None]:
        """Events after the one that was seen; None where there is none now."""
        self.followers += 1
        try:
            async with self._beginning:
                if self._task is None:
                    # Whoever loads the list does so after this look: what it has not, a later look tells.
                    changes = await run_in_threadpool(Changes, self._home)
                    self._task = asyncio.create_task(self._look(changes))
            at = self._number(seen)
            while not self.over:
                first = self._events[0][0] if self._events else self._last + 1
                if at is None or at < first - 1:
                    # Changes are told from here on: the list is loaded after this, and nothing is missed.
                    at = self._last
                    yield event("reload", b"{}", f"{self._epoch}-{at}")
                for number, told in list(self._events):
                    if number > at:
                        at = number
                        yield told
                yield None
        finally:
            self.followers -= 1

    def _number(self, seen: str | None) -> int | None:
        epoch, _, number = (seen or "").partition("-")
        return int(number) if epoch == self._epoch and number.isdecimal() and int(number) <= self._last else None

    async def _look(self, changes: Changes) -> None:
        alone_s = 0.0
        while alone_s < LINGERS_S and not await self._streams.wait(TICK_S):
            alone_s = 0.0 if self.followers else alone_s + TICK_S
            try:
                found = await run_in_threadpool(changes.look)
            except MillraceError:
                continue  # the database is busy or away; the next look finds all that changed meanwhile
            for one in found:
                self._last += 1
                self._events.append((self._last, event("pipeline", encode(one), f"{self._epoch}-{self._last}")))


class Looks:
    """How jobs stand. Each is looked at once in a tick, and by one thread, however many follow it."""

    def __init__(self) -> None:
        self._latest: dict[tuple[str, int], tuple[float, asyncio.Future[RunNow]]] = {}

    async def at(self, home: Home, number: int) -> RunNow:
        """How the job stands, or stood when the last look began. Raises what `watching.run` raises, and Transient where
        the look takes long.

        It goes on, and is the one of whoever asks again: another would only hold one more thread beside it.
        """
        now, whose = time.monotonic(), (home.actor.team_id, number)
        if whose not in self._latest or _older(self._latest[whose], now - TICK_S * 0.75):
            fresh = {key: found for key, found in self._latest.items() if not _older(found, now - TICK_S)}
            look = asyncio.ensure_future(run_in_threadpool(watching.run, home, number))
            look.add_done_callback(lambda done: done.cancelled() or done.exception())  # heard, also if all have left
            self._latest = fresh | {whose: (now, look)}
        try:
            # One who leaves takes nothing away from the others.
            return await asyncio.wait_for(asyncio.shield(self._latest[whose][1]), PATIENCE_S)
        except TimeoutError:
            raise Transient(
                f"the control database has not told within {PATIENCE_S:.0f} s how job {number} stands",
                hint="It is asked further on; try again.",
            ) from None


def _older(look: tuple[float, asyncio.Future[RunNow]], than: float) -> bool:
    """The look began before that, and has ended or is given up."""
    began, found = look
    return began < (than if found.done() else than - GIVEN_UP_S)


def join(router: Addresses) -> None:
    """The routes that follow are routes of the router."""

    async def pipelines(request: Request, home: Asking) -> Response:
        """Follow all pipelines as a stream of server-sent events.

        `reload` comes first, and whenever changes may have been missed: load the list then. Each `pipeline` after it is
        one that changed, with the run that did.
        """
        home.actor.must("view")
        feeds: dict[str, Feed] = request.app.state.feeds
        feed = feeds.get(home.actor.team_id)
        if feed is None or feed.over:
            feed = feeds[home.actor.team_id] = Feed(home, request.app.state.streams)
        return answer(request, feed.follow(last_seen(request)), TICK_S)

    async def job(request: Request, home: Asking, job: Number) -> Response:
        """Follow a job as a stream of server-sent events.

        `progress` comes whenever something changed; one event `ended` ends it.
        """
        home.actor.must("view")
        looks: Looks = request.app.state.looks
        found = await looks.at(home, job)
        seen = last_seen(request)
        if found.ended_at is not None and _id(found) == seen:
            return Response(status_code=204)
        return answer(request, _run(looks, home, job, seen), TICK_S)

    for path, function, name in (
        ("/events", pipelines, "pipelines_follow"),
        ("/jobs/{job}/events", job, "jobs_follow"),
    ):
        router.add_api_route(
            path, function, methods=["GET"], name=name, operation_id=name, tags=[name.partition("_")[0]],
            response_model=None, responses=STREAMED,
        )  # fmt: skip


async def _run(looks: Looks, home: Home, number: int, seen: str | None) -> AsyncIterator[bytes | None]:
    while True:
        try:
            found = await looks.at(home, number)
        except ConfigError:
            return  # it went with its pipeline; whoever comes back is told that it is not there
        except MillraceError:
            yield None  # the database is busy or away
            continue
        if (id_ := _id(found)) != seen:
            seen = id_
            yield event("progress" if found.ended_at is None else "ended", encode(found), id_)
        if found.ended_at is not None:
            return
        yield None


def _id(found: RunNow) -> str:
    """The same as long as nothing is new, at every server. Its worker may still say a word after a run has ended."""
    if found.ended_at is not None:
        return f"ended-{found.status}"
    return sha256(encode(found)).hexdigest()[:16]
