"""Moments in requests: with an offset, without one, and such as no calendar has."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest
from tests.control.conftest import EVENTS_CSV

from millrace.control.connecting import connections
from millrace.control.home import Home
from millrace.control.pipeline import pipelines
from millrace.control.pipeline.pipelines import Wish

API = "/api/millrace/v1"
ASKED = ("/activity?since=", "/activity?until=", "/activity/export?since=", "/pipelines/events/files?since=",
         "/pipelines/events/throughput?by=day&since=", "/usage?until=2026-11-02T00:00:00Z&since=",
         "/usage?until=")  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def pipeline(home: Home, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder: Path = tmp_path_factory.mktemp("moments")
    (folder / "events.csv").write_text(EVENTS_CSV)
    config = {"project_id": "AAA-BBB-CCCC", "passcode": "hunter2", "events_file": str(folder / "events.csv")}
    connections.create(home, "source", "app", "clevertap", config)
    connections.create(home, "destination", "warehouse", "duckdb", {"path": str(folder / "w.duckdb")})
    pipelines.create(home, Wish("events", "app", "warehouse"))


@pytest.mark.parametrize("asked", ASKED)
def test_a_moment_without_an_offset_is_utc(client: httpx.Client, asked: str) -> None:
    moments = ("2026-11-01T10:00:00Z", "2026-11-01T10:00:00", "2026-11-01T12:00:00%2B02:00")
    answers = [client.get(f"{API}{asked}{moment}") for moment in moments]
    assert [one.status_code for one in answers] == [200] * 3, answers[1].text
    assert len({one.text for one in answers}) == 1
    no_such = client.get(f"{API}{asked}0001-01-01T00:00:00%2B14:00")
    assert (no_such.status_code, no_such.json()["error"]["code"]) == (400, "INVALID_PARAMETER")


def test_a_key_ends_at_a_moment_without_an_offset(client: httpx.Client) -> None:
    made = client.post(f"{API}/keys", json={"email": "admin@example.com", "expires_at": "2999-01-01T00:00:00"})
    assert (made.status_code, made.json()["expires_at"]) == (201, "2999-01-01T00:00:00.000000Z"), made.text
    past = client.post(f"{API}/keys", json={"email": "admin@example.com", "expires_at": "2020-01-01T00:00:00"})
    assert (past.status_code, past.json()["error"]["code"]) == (400, "BAD_MOMENT")
