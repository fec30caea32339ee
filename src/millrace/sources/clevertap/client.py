"""CleverTap's API: one request that is repeated as its answers ask, and walks over cursors."""

from __future__ import annotations

import hashlib
import logging
import re
import threading
import time
from collections.abc import Iterator
from datetime import date, timedelta
from functools import partial
from typing import Any, Literal

import msgspec

from millrace.connect.http.client import Broken, Client, Reply, Unreachable
from millrace.connect.http.limits import limiter
from millrace.connect.http.waits import Patience, Stopped
from millrace.connect.source import Context
from millrace.data.dataclass import dataclass
from millrace.errors import AuthError, MillraceError
from millrace.sources.clevertap import wire
from millrace.sources.clevertap.answers import NARROW_S, Meaning, Persistence, Read, Reading, meaning
from millrace.sources.clevertap.config import MOST_AT_ONCE, Config
from millrace.sources.clevertap.mapper import Columns
from millrace.sources.clevertap.mappers import Mapped, Mappers, Settings
from millrace.sources.clevertap.planner import number

Walked = Literal["events", "profiles"]
Catalogue = Literal["events", "userProperties"]

_REOPENED_LOST = 3
# What CleverTap says, as a fault of its own, of a campaign that is not over.
_NO_RESULT = b"no result as of yet"
_COUNT_FIRST_S = 0.25
_COUNT_WAIT_S = 3.0
_COUNT_TOTAL_S = 600.0
_COMPUTED = {"counts": "/1/counts/events.json", "trends": "/1/counts/trends.json"}
_SENDABLE = re.compile(r"[!-~]+")
_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_elements = msgspec.json.Decoder(list[msgspec.Raw] | None).decode
_log = logging.getLogger("millrace.clevertap")


class Unanswered(Exception):
    """A request that cannot be brought to a good end. ``meaning`` is what was met last."""

    def __init__(self, met: Meaning, text: str) -> None:
        super().__init__(text)
        self.meaning: Meaning = met
        self.text = text


class _Unfinished(Exception):
    """A campaign is not over yet, so that it has no result."""


class CursorStuck(Exception):
    """A walk that would never end: its cursor comes again."""


@dataclass(frozen=True, slots=True)
class Page:
    """A page of a walk. ``walk`` grows when the window had to be opened again: rows then start from the first.

    ``upto`` is the last day that was asked for; it lies a day early when CleverTap refused the last one as future.
    """

    walk: int
    number: int
    answer: wire.Answer
    upto: date

    @property
    def columns(self) -> Columns:
        """The rows of a page of events."""
        assert isinstance(self.answer, Mapped)
        return self.answer.columns


class CleverTap:
    """One project's API. Safe for several threads; all share the project's limits."""

    def __init__(self, config: Config, context: Context) -> None:
        self._config = config
        self._context = context
        self.closed = threading.Event()
        self.patience = Patience(context, self.closed)
        self._guard = threading.Lock()
        self._bases = list(config.base_urls)
        self._client = self._connected()
        settings = Settings(config.timezone, config.include_profile_fields, config.row_identity == "record")
        self._mappers = Mappers(settings)
        self._flags = (
            f"app={_flag(config.include_profile_fields)}&events={_flag(config.include_profile_fields)}&profile=true"
        )

    @property
    def host(self) -> str:
        return self._client.host

    def abort(self) -> None:
        """Requests and waits of all threads end at once."""
        self.closed.set()
        self._client.abort()

    def close(self) -> None:
        self.closed.set()
        self._client.close()

    def walk(self, event: str, first: date, last: date, today: date, api: Walked = "events") -> Iterator[Page]:
        """Pages of an event's days, to the end; opened again where the cursor was lost or the connection was bad.

        They hold the events, or the people who did them. Raises Unanswered, CursorStuck, AuthError and Stopped.
        """
        lost = walk = 0
        hopeful = True
        upto = last
        while True:
            try:
                yield from self._walk_once(event, first, upto, walk, api)
                return
            except Unanswered as failure:
                if failure.meaning == "lost_cursor" and lost < _REOPENED_LOST:
                    lost += 1
                elif failure.meaning in ("again", "not_clevertap") and hopeful:
                    hopeful = False
                elif failure.meaning == "bad_dates" and upto == today and first < upto:
                    upto -= timedelta(days=1)
                else:
                    raise
                walk += 1
                _log.info("%s %s..%s opened again: %s", event, number(first), number(upto), failure.text)

    def probe(self, event: str, day: date, *, tries: int = 3) -> Reading:
        """What CleverTap says when asked to open a cursor, without insisting. Raises errors of the connection."""
        target = "/1/events.json?batch_size=23&events=false&profile=false&app=false"
        content = _json({"event_name": event, "from": number(day), "to": number(day)})
        waits = (1.0, 2.0)
        for attempt in range(tries):
            self.patience.check()
            reply = self._send("events", "POST", target, content)
            found = meaning(reply.status, reply.body)
            if found.meaning not in ("busy", "again") or attempt == tries - 1:
                return found
            self.patience.rest(waits[min(attempt, 1)], "CleverTap to be less busy")
        raise AssertionError("unreachable")

    def catalogue(self, kind: Catalogue) -> list[bytes]:
        """The entries of one of the project's catalogues, as they came."""
        what = "events" if kind == "events" else "user properties"
        answer = self._ask("schema", "GET", f"/getSchema?type={kind}", None, f"its list of {what}")
        return _listed(answer, kind)

    def schema(self) -> list[dict[str, Any]]:
        """The entries of the project's event catalogue; each has a ``name``."""
        answer = self._ask("schema", "GET", "/getSchema?type=events", None, "its list of events")
        found = msgspec.json.decode(answer.body).get("events")
        return [entry for entry in found or [] if isinstance(entry, dict) and isinstance(entry.get("name"), str)]

    def campaigns(self, first: date, last: date) -> list[bytes]:
        """The campaigns that were made by the API and are scheduled for these days, as they came."""
        asked = {"from": number(first), "to": number(last)}
        what = f"its campaigns from {first} to {last}"
        return _listed(self._ask("targets_list", "POST", "/1/targets/list.json", _json(asked), what), "targets")

    def reports(self, first: date, last: date) -> list[bytes]:
        """The reports of messages that began on these days, as they came."""
        asked = {"from": str(number(first)), "to": str(number(last))}
        what = f"its reports of messages from {first} to {last}"
        return _listed(self._ask("message_report", "POST", "/1/message/report.json", _json(asked), what), "messages")

    def result(self, campaign: str) -> bytes | None:
        """What became of the campaign with this id (as JSON); None as long as that is not known. Raises Unanswered."""
        asked, what = b'{"id":%b}' % campaign.encode(), f"the result of campaign {campaign}"
        try:
            answer = self._ask("targets_result", "POST", "/1/targets/result.json", asked, what)
        except _Unfinished:
            return None
        found = bytes(_members(answer.body).get("result", wire.NULL))
        return None if found == b"null" else found

    def count(self, event: str, first: date, last: date) -> int:
        """How many events of that name and those days CleverTap counts. Raises Unanswered."""
        answer = self._computed("counts", {"event_name": event, "from": number(first), "to": number(last)})
        if not isinstance(answer.envelope.count, int):
            raise Unanswered("failed", f"the count of {event} from {first} to {last} came without a number")
        return answer.envelope.count

    def trend(self, event: str, first: date, last: date) -> dict[date, int] | None:
        """How many events of that name CleverTap counts on each of those days; days without any may be left out.

        None when the answer has no such counts. Raises Unanswered.
        """
        groups = {wire.DAILY: {"trend_type": "daily"}}
        asked = {"event_name": event, "from": number(first), "to": number(last), "unique": False, "groups": groups}
        found = wire.daily(self._computed("trends", asked).body)
        return found if found is not None and all(first <= day <= last for day in found) else None

    def _computed(self, api: Literal["counts", "trends"], asked: dict[str, Any]) -> wire.Answer:
        """The final answer of an API that takes its time: it is asked again until it is ready."""
        path, what = _COMPUTED[api], f"the {api} of {asked['event_name']}"
        answer = self._ask(api, "POST", path, _json(asked), what)
        waited, wait = 0.0, _COUNT_FIRST_S
        while answer.envelope.status == "partial":
            request = answer.envelope.req_id
            if waited >= _COUNT_TOTAL_S or not isinstance(request, int | str):
                raise Unanswered("failed", f"{what} were not ready after {waited:.0f} s")
            self.patience.rest(wait, f"CleverTap to count {asked['event_name']}")
            waited += wait
            wait = min(2 * wait, _COUNT_WAIT_S)
            answer = self._ask(api, "GET", f"{path}?req_id={request}", None, what)
        return answer

    def _walk_once(self, event: str, first: date, last: date, walk: int, api: Walked) -> Iterator[Page]:
        cursor = self._open(event, first, last, api)
        met: set[bytes] = set()
        page = 0
        retried = False
        read = partial(self._mappers.read, event) if api == "events" else wire.read_apart
        while True:
            began = self._context.clock.monotonic()
            if not _SENDABLE.fullmatch(cursor):
                raise Unanswered("failed", f"the cursor for page {page + 1} has characters that no address may have")
            target = f"/1/{api}.json?cursor={cursor}"
            answer = self._ask(api, "GET", target, None, f"page {page + 1} of {event}", read=read)
            onward = answer.envelope.next_cursor
            if onward == cursor and not retried:
                retried = True
                continue
            met.add(_mark(cursor))
            if onward and _mark(onward) in met:
                raise CursorStuck(f"the cursor does not advance after page {page + 1}")
            retried = False
            page += 1
            taken_ms = (self._context.clock.monotonic() - began) * 1000
            _log.debug(
                "%s %s..%s page %d (cursor %s…): %d records, %d ms",
                event, number(first), number(last), page, cursor[:8], answer.rows, taken_ms,
            )  # fmt: skip
            yield Page(walk, page, answer, last)
            if not onward:
                return
            cursor = onward

    def _open(self, event: str, first: date, last: date, api: Walked) -> str:
        flags = self._flags if api == "events" else "app=true&events=true&profile=true"
        target = f"/1/{api}.json?batch_size={self._config.batch_size}&{flags}"
        content = _json({"event_name": event, "from": number(first), "to": number(last)})
        persistence = Persistence()
        while True:
            answer = self._ask(api, "POST", target, content, f"{event} to be opened", persistence)
            if answer.envelope.cursor:
                return answer.envelope.cursor
            self._hold_on(persistence, "not_ready", "no cursor yet", f"{event} to be opened")

    def _ask(
        self,
        api: str,
        method: str,
        target: str,
        content: bytes | None,
        what: str,
        persistence: Persistence | None = None,
        *,
        read: Read = wire.read,
    ) -> wire.Answer:
        """The successful answer to a request. Raises Unanswered, AuthError, Stopped, and errors of the machine."""
        persistence = persistence or Persistence()
        while True:
            self.patience.check()
            asked = time.monotonic_ns()
            try:
                reply = self._send(api, method, target, content)
            except Broken as error:
                self.patience.check()
                self._hold_on(persistence, "again", error.message, what)
                continue
            except Unreachable:
                self.patience.check()
                wait = persistence.wait("again")
                if wait is None:
                    # Nobody is there. Every other window would wait as long for nothing.
                    raise
                self.patience.rest(wait, f"{self.host} to be reachable; then {what}")
                continue
            if api == "targets_result" and (reply.status == 409 or (reply.status == 500 and _NO_RESULT in reply.body)):
                raise _Unfinished
            found = meaning(reply.status, reply.body, read)
            if found.answer is not None and (
                found.meaning == "success"
                or (found.meaning == "partial" and api in _COMPUTED)
                # CleverTap's documents show trends without a status.
                or (api == "trends" and reply.status < 300 and wire.daily(reply.body) is not None)
            ):
                found.answer.asked, found.answer.answered = asked, time.monotonic_ns()
                return found.answer
            if found.meaning == "denied":
                raise AuthError(
                    f"CleverTap at {self.host} rejected the credentials of project {self._config.project_id} "
                    f"({found.text})",
                    hint=denied_hint(self._config),
                    path="passcode",
                )
            if found.meaning == "busy":
                self._limiter(api).narrow(self._context.clock.monotonic() + NARROW_S)
            self._hold_on(persistence, found.meaning, found.text, what)

    def _hold_on(self, persistence: Persistence, met: Meaning, text: str, what: str) -> None:
        wait = persistence.wait(met)
        if wait is None:
            raise Unanswered(met, text)
        reason = {"not_ready": "to prepare", "busy": "to have room for"}.get(met, "to recover; then")
        self.patience.rest(wait, f"CleverTap {reason} {what}")

    def _send(self, api: str, method: str, target: str, content: bytes | None) -> Reply:
        with self._limiter(api).slot(self._context.clock.monotonic, self.patience.check):
            client = self._client
            try:
                return client.send(method, target, content=content)
            except Unreachable:
                if not self._fall_back(client):
                    raise
            return self._client.send(method, target, content=content)

    def _fall_back(self, failed: Client) -> bool:
        """Whether there is another address of the region to go on with."""
        with self._guard:
            if failed is not self._client:
                return True
            if len(self._bases) < 2:
                return False
            self._bases.pop(0)
            _log.warning("%s cannot be reached; going on with %s", failed.host, self._bases[0])
            self._client = self._connected()
            return True

    def _connected(self) -> Client:
        return Client(
            self._bases[0],
            {
                "X-CleverTap-Account-Id": self._config.project_id,
                "X-CleverTap-Passcode": self._config.passcode.get_secret_value(),
            },
            reach=self._context.reach,
        )

    def _limiter(self, api: str) -> Any:
        # The first address stands for the region, so that a fallback shares the limit.
        base, config = self._config.base_urls[0], self._config
        return limiter(base, config.project_id, api, config.max_concurrency, most=MOST_AT_ONCE)


def denied_hint(config: Config) -> str:
    others = "the project may live in another region" if not config.base_url else "base_url may be another region's"
    return f"Check the passcode (Settings > Passcode) and the region, now {config.place.label}: {others}."


def as_error(failure: BaseException) -> MillraceError | None:
    """The error of ours that a failure of a single request amounts to, for calls that stand alone."""
    if isinstance(failure, MillraceError):
        return failure
    if isinstance(failure, Unanswered | CursorStuck):
        return Broken(f"CleverTap did not answer: {failure}")
    return None


def _listed(answer: wire.Answer, name: str) -> list[bytes]:
    """The elements of a list in an answer, which may be left out where it is empty."""
    try:
        found = _members(answer.body).get(name, wire.NULL)
        return [bytes(raw) for raw in _elements(found) or ()]
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise Unanswered("failed", f"an answer without a readable list of {name}: {str(error)[:200]}") from None


def _mark(cursor: str) -> bytes:
    return hashlib.blake2b(cursor.encode(), digest_size=12).digest()


def _flag(value: bool) -> str:
    return "true" if value else "false"


def _json(value: dict[str, Any]) -> bytes:
    return msgspec.json.encode(value)


__all__ = ["CleverTap", "CursorStuck", "Page", "Stopped", "Unanswered", "as_error", "denied_hint"]
