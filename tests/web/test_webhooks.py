"""A pipeline that is told things: its address is made, sent to, replaced and taken away, all on its screens."""

from __future__ import annotations

import time
from pathlib import Path

import httpx
from playwright.sync_api import Page, expect
from tests.web import axe
from tests.web.people import arrive

from millrace.control.connecting import connections
from millrace.control.home import Home
from millrace.control.observing.status import statuses
from millrace.control.pipeline import hooks, pipelines
from millrace.control.pipeline.pipelines import Wish
from millrace.control.running import runs

PATIENCE_S = 60


def test_an_address_is_made_sent_to_replaced_and_taken_away(page: Page, home: Home, url: str, tmp_path: Path) -> None:
    connections.create(home, "destination", "warehouse", "duckdb", {"path": str(tmp_path / "w.duckdb")})
    connections.create(home, "source", "of clicks", "webhook", {})
    pipelines.create(home, Wish("clicks", "of clicks", "warehouse"))
    arrive(page, home, "/pipelines/clicks")

    # The next step of a new one; what its kind refuses is not offered.
    expect(page.get_by_role("button", name="Run now")).to_be_visible()
    expect(page.get_by_role("button", name="Pause", exact=True)).to_have_count(0)
    page.get_by_role("button", name="More actions").click()
    expect(page.get_by_role("menuitem", name="Make a copy")).to_be_visible()
    expect(page.get_by_role("menuitem", name="Read history again")).to_have_count(0)
    page.keyboard.press("Escape")
    page.get_by_role("link", name="Make its address").click()
    part = page.locator(".card").filter(has=page.get_by_role("heading", name="Address", exact=True))
    part.get_by_role("button", name="Make its address").click()
    first = part.locator("pre").first
    expect(first).to_contain_text(f"{url}/hooks/")
    address = first.inner_text()
    assert axe.faults(page) == []
    assert httpx.post(address, json=[{"n": 1}, {"n": 2}]).json()["accepted"] == 2
    runs.run(home, "clicks")
    [found] = statuses(home, "clicks")
    assert found.rows_loaded == 2

    # Nobody sees it again; another one takes its place.
    page.reload()
    expect(part).to_contain_text("It has an address since")
    expect(part.locator("pre")).to_have_count(0)
    part.get_by_role("button", name="Make another address").click()
    page.get_by_role("dialog").get_by_role("button", name="Make another address").click()
    expect(first).not_to_have_text(address)
    expect(first).to_contain_text(f"{url}/hooks/")
    another = first.inner_text()
    until = time.monotonic() + PATIENCE_S
    while (refused := httpx.post(address, json={"n": 3}).status_code) == 200:
        assert time.monotonic() < until
        time.sleep(0.1)
    assert refused == 404
    assert httpx.post(another, json={"n": 4}).status_code == 200

    part.get_by_role("button", name="Take it away").click()
    page.get_by_role("dialog", name="Take the address away?").get_by_role("button", name="Take it away").click()
    expect(part).to_contain_text("nothing can be sent to it")
    assert hooks.find(home, "clicks").created_at is None
