"""`/metrics`: numbers for Prometheus. Names and labels are a contract, listed in docs/guides/monitoring.md.

The form of the text: https://prometheus.io/docs/instrumenting/exposition_formats/. What the control database knows is
the same from every server, so ask one of them or take the maximum; requests are those of the server that answers.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from fastapi import Request, Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from starlette.concurrency import run_in_threadpool
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from millrace.control.home import Home
from millrace.control.observing import metrics as control
from millrace.control.observing.metrics import Numbers
from millrace.control.settings import workspace
from millrace.rest.asking import let_in

# Numbers of the database are read at most so often, however many ask.
FRESH_S = 5.0

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_BUCKETS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0)
_OF_PIPELINE = ("team", "pipeline")


class Gauges:
    """What a server counts itself, and the last numbers that it read, by team."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.registry = CollectorRegistry()
        self._clock = clock
        self._lock = threading.Lock()
        self._read: dict[str | None, tuple[float, bytes]] = {}
        # To find them by their labels takes longer than to count.
        self._of_requests: dict[tuple[str, str, int], tuple[Counter, Histogram]] = {}
        labels = ("method", "route", "status")
        self._requests = Counter("millrace_http_requests", "Requests answered.", labels, registry=self.registry)
        self._seconds = Histogram(
            "millrace_http_request_duration_seconds",
            "Time until the head of an answer.",
            ("method", "route"),
            buckets=_BUCKETS_S,
            registry=self.registry,
        )

    def answered(self, method: str, route: str, status: int, seconds: float) -> None:
        """A request was answered. ``route``: with names in braces, so that there are not many."""
        method = method if method in _METHODS else "other"
        if (found := self._of_requests.get((method, route, status))) is None:
            found = self._requests.labels(method, route, str(status)), self._seconds.labels(method, route)
            self._of_requests[method, route, status] = found
        found[0].inc()
        found[1].observe(seconds)

    def text(self, home: Home, *, everywhere: bool) -> bytes:
        """All of it, as Prometheus reads it."""
        team = None if everywhere else home.actor.team_id
        with self._lock:
            at, told = self._read.get(team, (0.0, b""))
            if not told or self._clock() - at >= FRESH_S:
                registry = CollectorRegistry()
                registry.register(_Told(control.measure(home, everywhere=everywhere)))
                told = generate_latest(registry)
                self._read[team] = self._clock(), told
        return told + generate_latest(self.registry)


class Counted:
    """Counts requests and the time that they took. Around all else, so that refusals count too."""

    def __init__(self, app: ASGIApp, gauges: Gauges) -> None:
        self.app = app
        self.gauges = gauges

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        began, counted = time.perf_counter(), False

        async def counting(message: Message) -> None:
            nonlocal counted
            if message["type"] == "http.response.start" and not counted:
                counted = True
                route = getattr(scope.get("route"), "path", None) or "other"
                self.gauges.answered(scope["method"], route, message["status"], time.perf_counter() - began)
            await send(message)

        await self.app(scope, receive, counting)


async def metrics(request: Request) -> Response:
    """Numbers of the team of whoever asks, by key; of all teams, and for everybody, where the setting says so."""
    home: Home = request.app.state.home
    everywhere = await run_in_threadpool(lambda: workspace(home.database).open_metrics)
    if not everywhere:
        if (refused := await let_in(request)) is not None:
            return refused
        home = request.state.home
    gauges: Gauges = request.app.state.gauges
    text = await run_in_threadpool(lambda: gauges.text(home, everywhere=everywhere))
    return Response(text, media_type=CONTENT_TYPE_LATEST)


class _Told(Collector):
    """The numbers of the database as metrics."""

    def __init__(self, numbers: Numbers) -> None:
        self._numbers = numbers

    def describe(self) -> list[Metric]:
        return []

    def collect(self) -> Iterator[Metric]:
        yield from self._rows()
        yield from self._pipelines()
        numbers = self._numbers
        active = GaugeMetricFamily("millrace_runs_active", "Runs that have not ended.", labels=["status"])
        for status in sorted({"QUEUED", "IN_PROGRESS", *numbers.active}):
            active.add_metric([status], numbers.active.get(status, 0))
        yield active
        tasks = GaugeMetricFamily("millrace_tasks", "Tasks of the queue.", labels=["state"])
        for state, n in (("due", numbers.due), ("later", numbers.later), ("taken", numbers.taken)):
            tasks.add_metric([state], n)
        yield tasks
        yield GaugeMetricFamily("millrace_workers_busy", "Workers that are at a task.", value=numbers.taken)

    def _rows(self) -> Iterator[Metric]:
        ingested = CounterMetricFamily("millrace_rows_ingested", "Rows staged.", labels=_OF_PIPELINE)
        loaded = CounterMetricFamily("millrace_rows_loaded", "Rows at the destination.", labels=_OF_PIPELINE)
        for one in self._numbers.pipelines:
            ingested.add_metric([one.team_id, one.name], one.ingested)
            loaded.add_metric([one.team_id, one.name], one.loaded)
        yield ingested
        yield loaded

    def _pipelines(self) -> Iterator[Metric]:
        def gauge(name: str, text: str, *more: str) -> Any:
            return GaugeMetricFamily(name, text, labels=[*_OF_PIPELINE, *more])

        info = gauge("millrace_pipeline_info", "Pipelines and their states.", "state")
        failed = gauge("millrace_failed_events", "Failed events that are open.")
        waiting = gauge("millrace_rows_waiting", "Rows on the stage that are not loaded.")
        lag = gauge("millrace_pipeline_lag_seconds", "Since the last good run ended; since it was made, without one.")
        took = gauge(
            "millrace_last_run_duration_seconds", "How long the last run took, its time in the queue included."
        )
        ended = gauge("millrace_runs_ended_last_day", "Runs that ended in the last 24 hours.", "status")
        for one in self._numbers.pipelines:
            labels = [one.team_id, one.name]
            info.add_metric([*labels, one.state], 1)
            failed.add_metric(labels, one.failed)
            waiting.add_metric(labels, one.waiting)
            lag.add_metric(labels, one.lag_s)
            if one.run_s is not None:
                took.add_metric(labels, one.run_s)
            for status, n in sorted(one.ended.items()):
                ended.add_metric([*labels, status], n)
        yield from (info, failed, waiting, lag, took, ended)
