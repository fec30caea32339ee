"""A client for the simulator that hides nothing: raw status, raw body, raw cursors."""

from __future__ import annotations

import http.client
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import orjson

from millrace.simulators.clevertap import Account, Settings, Simulator

ID, PASSCODE = "SIM-TST-0001", "secret-passcode"
DAY = 20260314


@dataclass(frozen=True)
class Reply:
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return orjson.loads(self.body)


@dataclass
class Talk:
    """Requests with the credentials of one account; a header given as None is left out."""

    sim: Simulator
    account: str | None = ID
    passcode: str | None = PASSCODE
    region: str | None = None
    timeout_s: float = 10

    def ask(self, method: str, target: str, body: Any = None, *, headers: Mapping[str, str] | None = None) -> Reply:
        base = urlsplit(self.sim.url(self.region) if self.region else self.sim.base_url)
        sent = dict(headers or {})
        if self.account is not None:
            sent["X-CleverTap-Account-Id"] = self.account
        if self.passcode is not None:
            sent["X-CleverTap-Passcode"] = self.passcode
        data = body if body is None or isinstance(body, bytes) else orjson.dumps(body)
        connection = http.client.HTTPConnection(base.hostname or "", base.port, timeout=self.timeout_s)
        try:
            connection.request(method, base.path + target, data, sent)
            with connection.getresponse() as answer:
                return Reply(answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read())
        finally:
            connection.close()

    def open(self, event: str, frm: Any = DAY, to: Any = DAY, query: str = "", **more: Any) -> Reply:
        body = {"event_name": event, "from": frm, "to": to, **more}
        return self.ask("POST", f"/1/events.json?{query}", body)

    def page(self, cursor: str, **how: Any) -> Reply:
        return self.ask("GET", f"/1/events.json?cursor={cursor}", **how)

    def pages(self, event: str, frm: Any = DAY, to: Any = DAY, query: str = "", **more: Any) -> Iterator[Any]:
        """Every page of a walk as parsed JSON; each must be a success."""
        cursor = self.open(event, frm, to, query, **more).json["cursor"]
        while cursor:
            found = self.page(cursor).json
            assert found["status"] == "success", found
            yield found
            cursor = found.get("next_cursor")

    def records(self, event: str, frm: Any = DAY, to: Any = DAY, query: str = "", **more: Any) -> list[Any]:
        return [r for page in self.pages(event, frm, to, query, **more) for r in page.get("records", [])]


@contextmanager
def empty(**changes: Any) -> Iterator[tuple[Simulator, Talk]]:
    """A simulator with one account that holds nothing yet. ``account`` changes the account, the rest the settings."""
    account = {"id": ID, "passcode": PASSCODE, "users": 0} | changes.pop("account", {})
    with Simulator(Settings.plain(Account(**account), **changes)) as sim:
        yield sim, Talk(sim)


def rows(count: int, *, event: str = "Order", day: int = DAY, **more: Any) -> list[dict[str, Any]]:
    """Rows on so many devices, a second apart, told apart by `n`."""
    return [
        {
            "event_name": event,
            "objectId": f"__device{n:05d}",
            "ts_local": day * 1_000_000 + n // 3600 * 10000 + n % 3600 // 60 * 100 + n % 60,
            "event_props": {"n": n},
            **more,
        }
        for n in range(count)
    ]


def numbers(records: list[Any]) -> list[int]:
    return [record["event_props"]["n"] for record in records]
