"""From a request to its answer: region, account, fault rules, concurrency, endpoint, journal."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import replace

from millrace.data.dataclass import dataclass
from millrace.simulators.clevertap import campaigns, control, counts, effects, events, people_api, schema, uploads
from millrace.simulators.clevertap.config import REGIONS
from millrace.simulators.clevertap.world import Call, World, failure, invalid_credentials
from millrace.simulators.faults import Facts
from millrace.simulators.journal import Entry
from millrace.simulators.server import Request, Response

KEPT_BODY = 2000
CORS = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Allow-Methods": "GET, POST, OPTIONS",
    "Access-Control-Allow-Headers": "Content-Type, X-CleverTap-Account-Id, X-CleverTap-Passcode",
}


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A path of the API: its name (which also names its pool of concurrent requests), methods and function."""

    api: str
    methods: tuple[str, ...]
    answer: Callable[[Call], Response]


ENDPOINTS = {
    "/1/events.json": Endpoint("events", ("GET", "POST"), events.events),
    "/1/profiles.json": Endpoint("profiles", ("GET", "POST"), events.events),
    "/1/profile.json": Endpoint("profile", ("GET",), people_api.profile),
    "/getSchema": Endpoint("schema", ("GET", "POST"), schema.catalogue),
    "/1/counts/events.json": Endpoint("counts_events", ("GET", "POST"), counts.asynchronous),
    "/1/counts/profiles.json": Endpoint("counts_profiles", ("GET", "POST"), counts.asynchronous),
    "/1/counts/top.json": Endpoint("counts_top", ("GET", "POST"), counts.asynchronous),
    "/1/counts/trends.json": Endpoint("counts_trends", ("GET", "POST"), counts.asynchronous),
    "/1/now.json": Endpoint("now", ("POST",), counts.now),
    "/1/upload": Endpoint("upload", ("POST",), uploads.upload),
    "/1/targets/list.json": Endpoint("targets_list", ("POST",), campaigns.listed),
    "/1/targets/result.json": Endpoint("targets_result", ("POST",), campaigns.result),
    "/1/message/report.json": Endpoint("message_report", ("POST",), campaigns.report),
    "/v1/connect": Endpoint("connect", ("GET",), people_api.connect),
}
_HOST = re.compile(rf"({'|'.join(REGIONS)})\.api\.clevertap\.com(:\d+)?", re.IGNORECASE)


class App:
    """Answers requests from a world; every one of them is written to the journal."""

    def __init__(self, world: World) -> None:
        self.world = world

    def __call__(self, request: Request) -> Response:
        if request.path == "/" or request.path.startswith("/_sim/"):
            return control.answer(self.world, request)
        world = self.world
        started, number = time.perf_counter(), world.journal.next_number()
        region, path = _region(request)
        endpoint = ENDPOINTS.get(path)
        call = Call(
            world=world,
            request=request,
            region=region,
            path=path,
            api=endpoint.api if endpoint else "",
            params=request.params(),
            account=request.headers.get("x-clevertap-account-id", "").strip(),
            passcode=request.headers.get("x-clevertap-passcode", "").strip(),
            now_s=world.clock.epoch_s(),
        )
        response, busy = self._answered(call, endpoint)
        response = replace(response, wire=call.wire, headers=dict(response.headers) | CORS_OF_ANSWERS)
        world.journal.write(_entry(number, call, response, busy, (time.perf_counter() - started) * 1000))
        return response

    def _answered(self, call: Call, endpoint: Endpoint | None) -> tuple[Response, int]:
        """The answer, and how many requests of the account were in flight on this API with it."""
        request = call.request
        if request.method == "OPTIONS":
            return Response(204, headers=CORS), 0
        if endpoint is None:
            return Response(), 0
        events.target(call)
        with self.world.slot(call.account, call.api) as busy:
            if not busy:
                return failure(429, "Too many concurrent requests", 429), 0
            call.rules = self.world.faults.fire(Facts(call.account, call.path, call.step, call.event, call.page))
            early = effects.before(call)
            if early is not None:
                return early, busy
            if request.method not in endpoint.methods:
                return failure(405, "Method Not Allowed", 405), busy
            refusal = _refusal(call)
            return (endpoint.answer(call) if refusal is None else refusal), busy


CORS_OF_ANSWERS = {"Access-Control-Allow-Origin": "*"}


def _refusal(call: Call) -> Response | None:
    """Rule 1: why these credentials are not good enough here; None when they are."""
    world = call.world
    if not call.account or not call.passcode:
        return invalid_credentials()
    project = call.project
    if project is None:
        if call.api == "upload" or world.settings.wrong_project_id == "reject_401":
            return failure(401, "Account ID is not valid", 401)
        return None
    account = project.account
    if account.passcode != call.passcode or account.region != call.region or account.id in world.revoked:
        return invalid_credentials()
    return None


def _region(request: Request) -> tuple[str, str]:
    """The region that a request is for, and its path without a region prefix."""
    parts = request.path.split("/", 3)
    if len(parts) >= 3 and parts[1] == "r":
        rest = "/" + (parts[3] if len(parts) > 3 else "")
        code = "eu1" if parts[2] == "global" else parts[2]
        return (code, rest) if code in REGIONS else ("", "")
    host = _HOST.fullmatch(request.headers.get("host", ""))
    return (host.group(1).lower() if host else "eu1"), request.path


def _entry(number: int, call: Call, response: Response, busy: int, ms: float) -> Entry:
    return Entry(
        number=number,
        at=call.world.clock.now().isoformat(),
        method=call.request.method,
        path=call.request.path,
        query=call.request.query,
        account=call.account,
        api=call.api,
        step=call.step if call.api in ("events", "profiles") else "",
        event=call.event,
        page=call.page,
        body=call.request.body[:KEPT_BODY].decode(errors="replace"),
        status=response.status,
        verdict=_verdict(call, response),
        faults=tuple(rule.effect for rule in call.rules),
        records=call.records,
        in_flight=busy,
        ms=round(ms, 3),
        notes=tuple(call.notes),
    )


def _verdict(call: Call, response: Response) -> str:
    """One word on what became of the request."""
    if not call.wire.whole:
        return "damaged"
    if response.status == 429:
        return "throttled"
    if response.status == 401:
        return "unauthorised"
    if response.status >= 500:
        return "server_error"
    if response.status == 202 or b'"code":2}' in response.body[:100]:
        return "not_ready"
    if response.status >= 400 or response.body.startswith(b'{"status":"fail"'):
        return "refused"
    return "ok" if response.body.startswith(b"{") else "empty" if not response.body else "garbage"
