"""Headers with which a caller says when a request counts: `If-Match`, and `Idempotency-Key`.

Both take part in the transaction that makes the change (`control/database/first_write.py`), so nothing comes between.
`If-Match` and `ETag`: RFC 9110, 8.8.3 and 13.1.1. `Idempotency-Key`:
https://datatracker.ietf.org/doc/draft-ietf-httpapi-idempotency-key-header/, its value taken as it stands.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Container, Coroutine, Mapping
from hashlib import sha256
from http import HTTPStatus
from typing import Any, TypeAlias
from urllib.parse import unquote

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.concurrency import run_in_threadpool

from millrace.control import etags, kept_answers
from millrace.control.database.first_write import Condition, conditions
from millrace.control.etags import Kind, Thing
from millrace.control.home import Home
from millrace.control.kept_answers import Kept
from millrace.errors import MillraceError
from millrace.rest.cookies import SAFE
from millrace.rest.problems import BadRequest, status_of

Handle: TypeAlias = Callable[[Request], Coroutine[Any, Any, Response]]

KEY = re.compile(r"[\x21-\x7e]{1,255}")

# A request that may be repeated is compared with the first one as a whole, so it lies in memory.
MOST_BYTES = 1 << 20

# Databases take no larger number.
MOST_NUMBER = (1 << 63) - 1

# What the routes of each API are about, by the names of the routes. Of operations, by their noun.
OURS: Mapping[str, Kind] = {
    "pipelines": "pipeline",
    "sources": "source",
    "destinations": "destination",
    "mappings": "mapping",
    "transformations": "transformation",
    "settings": "settings",
}
PUBLIC: Mapping[str, Kind] = {
    "pipeline_read": "pipeline",
    "pipeline_status_set": "pipeline",
    "pipeline_source_set": "pipeline",
    "pipeline_schedule": "pipeline",
    "pipeline_schedule_set": "pipeline",
    "pipeline_priority_set": "pipeline",
    "auto_mapping_set": "pipeline",
    "destination_read": "destination",
    "destination_changed": "destination",
    "mapping_read": "mapping",
    "mapping_set": "mapping",
    "event_type_skipped": "mapping",
    "event_type_included": "mapping",
    "transformation_read": "transformation",
    "transformation_deployed": "transformation",
    "orchestrated_pipeline": "pipeline",
    "orchestrated_pipeline_changed": "pipeline",
    "disabled": "pipeline",
    "enabled": "pipeline",
}
SHOWN = frozenset(
    {
        "pipelines.find",
        "sources.find",
        "destinations.find",
        "mappings.find",
        "transformations.standing",
        "settings.show",
        "pipeline_read",
        "pipeline_schedule",
        "destination_read",
        "mapping_read",
        "transformation_read",
        "orchestrated_pipeline",
    }
)
_PARAMETERS: Mapping[Kind, tuple[str, ...]] = {
    "pipeline": ("pipeline", "pipeline_id"),
    "source": ("name",),
    "destination": ("name", "destination", "destination_id"),
    "mapping": ("pipeline", "pipeline_id"),
    "transformation": ("pipeline", "pipeline_id"),
    "settings": (),
}


def kind(name: str, parameters: Container[str]) -> Kind | None:
    """What has a tag at the route of that name; None where nothing has."""
    found = PUBLIC.get(name) or (OURS.get(name.partition(".")[0]) if "." in name else None)
    if found is None or found == "settings":
        return found
    named = any(one in parameters for one in _PARAMETERS[found])
    return found if named and (found != "mapping" or "event_type" in parameters) else None


async def carried_out(request: Request, handle: Handle) -> Response:
    """The answer of the route, given once for an idempotency key, and only where `If-Match` holds."""
    home: Home = request.state.home
    thing = _thing(request, home)
    if request.method in SAFE:
        return await _tagged(request, handle, home, thing)
    wanted: list[Condition] = []
    if (header := request.headers.get("if-match")) is not None:
        wanted += await run_in_threadpool(_matching, home, thing, header)
    if request.method == "POST" and (key := request.headers.get("idempotency-key")) is not None:
        return await _once(request, handle, key, wanted)
    with conditions(wanted):
        return await handle(request)


async def _tagged(request: Request, handle: Handle, home: Home, thing: Thing | None) -> Response:
    if thing is None or request.scope["route"].name not in SHOWN:
        return await handle(request)
    # Before the answer is made: a tag that is older than what is shown refuses a change, and never lets one through.
    tag = await run_in_threadpool(_tag, home, thing)
    answer = await handle(request)
    if tag is not None:
        answer.headers["ETag"] = f'"{tag}"'
    return answer


def _tag(home: Home, thing: Thing) -> str | None:
    with home.database.reading() as connection:
        return etags.tag(connection, thing)


def _matching(home: Home, thing: Thing | None, header: str) -> list[Condition]:
    """What must hold for the change. Raises ConfigError "changed_meanwhile" where it does not even now."""
    if thing is None:
        raise BadRequest("what is at this address has no ETag", path="If-Match")
    tag = _tag(home, thing)
    if tag is None or header.strip() == "*":
        return []  # the route itself says where there is nothing
    wanted = re.findall(r'(?<!W/)"([^"]*)"', header)

    def holds(connection: Any) -> None:
        etags.must_be(connection, thing, wanted)

    with home.database.reading() as connection:
        etags.must_be(connection, thing, wanted)
    return [holds]


async def _once(request: Request, handle: Handle, key: str, wanted: list[Condition]) -> Response:
    home: Home = request.state.home
    if KEY.fullmatch(key) is None:
        raise BadRequest("an idempotency key is 1 to 255 visible characters of ASCII", path="Idempotency-Key")
    length = request.headers.get("content-length", "0")
    if "transfer-encoding" in request.headers or not length.isdecimal() or int(length) > MOST_BYTES:
        raise BadRequest(
            f"a request with an idempotency key tells its length, of at most {MOST_BYTES} bytes", path="Idempotency-Key"
        )
    fingerprint = await _fingerprint(request, home)
    once = await run_in_threadpool(kept_answers.begin, home, key, fingerprint)
    if isinstance(once, Kept):
        headers = {"Idempotency-Replayed": "true"}
        return Response(once.body or None, once.status, headers, once.media_type)
    with conditions([*wanted, once.acting]):
        try:
            answer = await handle(request)
        except BaseException as error:
            # What was refused, or cannot be done now, changed nothing; of all else nobody knows.
            refused = isinstance(error, RequestValidationError) or (
                isinstance(error, MillraceError) and status_of(error) != HTTPStatus.INTERNAL_SERVER_ERROR
            )
            await run_in_threadpool(kept_answers.give_up, home, once, acted=not refused)
            raise
    if answer.media_type not in (None, "application/json"):
        await run_in_threadpool(kept_answers.give_up, home, once, acted=True)
        return answer
    await run_in_threadpool(
        kept_answers.keep, home, once, Kept(answer.status_code, answer.media_type, bytes(answer.body).decode())
    )
    return answer


async def _fingerprint(request: Request, home: Home) -> str:
    said = (home.actor.name, request.method, request.url.path, request.url.query)
    return sha256(repr(said).encode() + b"\0" + await request.body()).hexdigest()


def _thing(request: Request, home: Home) -> Thing | None:
    found = kind(request.scope["route"].name, request.path_params)
    if found is None:
        return None
    given = next((request.path_params[one] for one in _PARAMETERS[found] if one in request.path_params), "")
    numbered = any(one.endswith("_id") and one in request.path_params for one in _PARAMETERS[found])
    stream = str(request.path_params.get("event_type", ""))
    if "\0" in f"{given}{stream}" or "%00" in f"{given}{stream}":
        return None  # there is no such thing, and no database takes such a text
    if numbered:
        if not str(given).isascii() or not str(given).isdecimal() or int(given) > MOST_NUMBER:
            return None
        return Thing(found, home.actor.team_id, int(given), stream)
    # Ours are escaped twice, as the client of the command line does it.
    return Thing(found, home.actor.team_id, unquote(str(given)), unquote(stream))
