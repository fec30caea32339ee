"""The web application: the APIs, whether it is well, and what holds for every request."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from functools import cache

import anyio.to_thread
import sqlalchemy as sa
from anyio import CapacityLimiter
from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse
from starlette.concurrency import run_in_threadpool
from starlette.middleware.body_limit import RequestBodyLimitMiddleware
from starlette.routing import BaseRoute

from millrace.control.home import Home
from millrace.data.dataclass import dataclass
from millrace.errors import MillraceError
from millrace.rest import problems, screens
from millrace.rest.door.router import routes as door
from millrace.rest.envelope import Envelope
from millrace.rest.hooks.door import Door
from millrace.rest.hooks.receiving import Receiving, Room
from millrace.rest.later import operation_id
from millrace.rest.metrics import Counted, Gauges, metrics
from millrace.rest.millrace.errands import Errands
from millrace.rest.millrace.following import Looks
from millrace.rest.millrace.router import PREFIX
from millrace.rest.millrace.router import routes as own
from millrace.rest.openapi import ABOUT, Described
from millrace.rest.orchestration.router import routes as orchestration
from millrace.rest.public.router import routes as public
from millrace.rest.rates import Rates
from millrace.rest.sign_on import router as sign_on
from millrace.rest.streams import Streams
from millrace.version import VERSION


@dataclass(frozen=True, slots=True)
class Limits:
    """What a caller may take. A route that needs larger bodies says so itself (``max_body_size``).

    ``requests_a_minute``: of a user by keys, ``page_requests_a_minute``: of a user who is signed in.
    ``threads``: requests that are worked on at once; SQLAlchemy keeps fifteen connections to the control database.
    ``hashings``: passwords that are hashed at once, each with as much memory as a setting says. ``refusal_s``: no
    sign-in is refused sooner, whatever there was to hash, to look up and to note of it.
    """

    requests_a_minute: int = 100
    page_requests_a_minute: int = 1200
    failures_a_minute: int = 100
    body_bytes: int = 1 << 20
    body_timeout_s: float = 30.0
    threads: int = 12
    hashings: int = 2
    refusal_s: float = 0.5


def application(home: Home, *, limits: Limits | None = None, room: Room | None = None) -> FastAPI:
    """The APIs over ``home``, which stays open. ``room``: how much may be sent to pipelines."""
    limits = limits or Limits()
    gauges = Gauges()
    errands = Errands()
    receiving = Receiving(home, room or Room(), gauges.answered)

    @asynccontextmanager
    async def running(_: FastAPI) -> AsyncGenerator[None]:
        anyio.to_thread.current_default_thread_limiter().total_tokens = limits.threads
        yield
        await run_in_threadpool(errands.close)
        receiving.close()

    app = Described(
        title="Millrace",
        version=VERSION,
        description=ABOUT,
        servers=[{"url": "/"}],
        generate_unique_id_function=operation_id,
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        lifespan=running,
        strict_content_type=False,
        redirect_slashes=False,
    )
    app.state.home = home
    app.state.rates = Rates(limits.requests_a_minute)
    app.state.page_rates = Rates(limits.page_requests_a_minute)
    app.state.hashings = CapacityLimiter(limits.hashings)
    app.state.refusal_s = limits.refusal_s
    app.state.streams = Streams()
    app.state.receiving = receiving
    app.state.errands = errands
    app.state.feeds = {}
    app.state.looks = Looks()
    app.state.failures = Rates(limits.failures_a_minute)
    problems.install(app)
    # Inside the envelope, so that its refusals look like all others.
    app.add_middleware(RequestBodyLimitMiddleware, max_body_size=limits.body_bytes)
    app.add_middleware(Envelope, body_timeout_s=limits.body_timeout_s)
    app.state.gauges = gauges
    app.add_middleware(Counted, gauges=gauges)
    app.add_middleware(Door, receiving=receiving, failures=app.state.failures)
    # Before the APIs: a probe shall not wait until all of those are looked through.
    app.add_api_route("/healthz", _alive, include_in_schema=False)
    app.add_api_route("/readyz", _ready, include_in_schema=False)
    app.add_api_route("/metrics", metrics, include_in_schema=False)
    app.add_api_route("/api/openapi.json", _described, include_in_schema=False)
    app.router.routes.extend(_apis())
    screens.join(app)
    return app


@cache
def _apis() -> Sequence[BaseRoute]:
    """The routes of all APIs. They hold nothing of an application, so one process makes them once."""
    return [*public(), *orchestration(), *door(), *own(), *sign_on.under(PREFIX)]


def _alive() -> dict[str, str]:
    """The process answers."""
    return {"status": "ok"}


def _described(request: Request) -> Response:
    """The OpenAPI document. Others are answered while it is made, which takes seconds."""
    return JSONResponse(request.app.openapi())


def _ready(request: Request) -> Response:
    """The control database answers too: requests may come."""
    home: Home = request.app.state.home
    try:
        with home.database.reading() as connection:
            connection.execute(sa.select(1))
    except MillraceError as error:
        return JSONResponse({"status": "unavailable", "code": error.code}, 503)
    return JSONResponse({"status": "ready"})
