"""Settings of the server, usage by month, and keys that are held to something."""

from __future__ import annotations

import json
import re
from dataclasses import fields
from datetime import UTC, datetime, timedelta
from pathlib import Path

from playwright.sync_api import Page, expect
from tests.web import axe
from tests.web.conftest import Visit
from tests.web.people import arrive, undo
from tests.web.stocked import SHOP

from millrace.control import settings
from millrace.control.home import Home
from millrace.control.metering import usage_limits
from millrace.control.people import keys

KNOWN = Path(__file__).parents[2] / "web" / "src" / "screens" / "settings" / "known.ts"


def test_every_setting_of_the_workspace_is_on_the_screen() -> None:
    shown = re.findall(r"key: '(\w+)'", KNOWN.read_text(encoding="utf-8"))
    assert sorted(shown) == sorted(field.name for field in fields(settings.Workspace))


def test_the_address_of_the_server_is_set_taken_back_and_written_as_yaml(page: Page, home: Home) -> None:
    arrive(page, home, "/settings", "seth@example.com")
    page.get_by_role("button", name="As YAML").click()
    written = page.get_by_role("dialog", name="Settings as YAML")
    expect(written).to_contain_text("password_passes: 1")
    expect(written).not_to_contain_text("public_url")
    written.get_by_role("button", name="Close").click()
    address = page.get_by_role("textbox", name="Address of this server")
    address.fill("millrace")
    page.get_by_role("button", name="Save settings").click()
    expect(page.get_by_role("main").get_by_role("alert")).to_contain_text("Write https://HOST/PATH.")
    address.fill("https://millrace.example.com")
    page.get_by_role("button", name="Save settings").click()
    expect(page.get_by_role("alert").filter(has_text="The settings are saved")).to_be_visible()
    assert settings.workspace(home.database).public_url == "https://millrace.example.com"
    page.get_by_role("button", name="As YAML").click()
    expect(written).to_contain_text("public_url: https://millrace.example.com")
    assert axe.faults(page) == []
    written.get_by_role("button", name="Close").click()
    undo(page, "The settings are saved")
    assert settings.workspace(home.database).public_url is None


def test_usage_of_another_month_has_an_address(visit: Visit) -> None:
    now = datetime.now(UTC)
    before = now.replace(day=1) - timedelta(days=1)
    page = visit("/usage?by=object")
    table = page.get_by_role("table", name="Usage")
    expect(table.get_by_role("row", name="Orders")).to_be_visible()
    page.get_by_role("combobox", name="Month").click()
    page.get_by_role("option", name=f"{before:%B %Y}").click()
    expect(page).to_have_url(re.compile(rf"/usage\?by=object&month={before:%Y-%m}$"))
    expect(page.get_by_text("Nothing moved in that month")).to_be_visible()
    again = visit(page.url)
    expect(again.get_by_role("combobox", name="Month")).to_have_value(f"{before:%B %Y}")


def test_the_team_has_a_limit_of_a_month_and_lines_of_usage_are_taken_along(page: Page, home: Home) -> None:
    arrive(page, home, "/usage", "uma@example.com")
    limit = page.get_by_role("region", name="Limit of the team")
    limit.get_by_label("At most").fill("5000000")
    limit.get_by_text("Hold back loads too").click()
    expect(limit).to_contain_text("wait on the stage until the next month")
    limit.get_by_role("button", name="Set limit").click()
    expect(limit).to_contain_text("This month 0 of 5,000,000 so far")
    [kept] = usage_limits.page(home).items
    assert (kept.pipeline, kept.rows, kept.sideline, kept.period) == (None, 5_000_000, True, "month")
    undo(page, "The limit of the team is set")
    expect(limit).not_to_contain_text("so far")
    assert usage_limits.page(home).items == ()


def test_usage_and_activity_are_taken_along_as_files(visit: Visit) -> None:
    page = visit("/usage?by=object")
    with page.expect_download() as downloading:
        page.get_by_role("button", name="As CSV").click()
    lines = downloading.value.path().read_text().splitlines()
    assert lines[0] == "pipeline,object,ingested,loaded,historical,billable"
    assert any(line.startswith(f"{SHOP},Orders,") for line in lines[1:])
    page.goto("/activity")
    taken: list[list[str]] = []
    for name in ("As CSV", "As JSON"):
        with page.expect_download() as downloading:
            page.get_by_role("link", name=name).click()
        taken.append(downloading.value.path().read_text().splitlines())
    assert "author" in taken[0][0].split(",") and "author" in json.loads(taken[1][0])


def test_a_key_may_be_held_to_permissions_and_to_a_day(page: Page, home: Home) -> None:
    arrive(page, home, "/keys", "kim@example.com")
    page.get_by_role("button", name="Make a key").first.click()
    form = page.get_by_role("dialog", name="Make a key")
    form.get_by_role("textbox", name="Name").fill("Reports")
    form.get_by_role("combobox", name="May").click()
    page.get_by_role("option", name="usage.view").click()
    page.keyboard.press("Escape")
    form.get_by_role("combobox", name="Ends").click()
    page.get_by_role("option", name="In 30 days").click()
    assert axe.faults(page) == []
    form.get_by_role("button", name="Make key").click()
    expect(page.get_by_role("dialog", name="Keep the secret now")).to_be_visible()
    page.get_by_role("dialog").get_by_role("button", name="Close").click()
    row = page.get_by_role("row", name="Reports")
    expect(row).to_contain_text("usage.view")
    expect(row).to_contain_text(re.compile("in (29|30) days"))
    [key] = [one for one in keys.listed(home).items if one.name == "Reports"]
    assert key.scope == ("usage.view",) and key.expires_at is not None


def test_one_is_shown_by_a_name_and_reads_times_in_a_zone_of_ones_own(page: Page, home: Home) -> None:
    arrive(page, home, "/security", "zoe@example.com", "OBSERVER")
    you = page.locator(".card").filter(has=page.get_by_role("heading", name="You", exact=True))
    you.get_by_role("textbox", name="Your name").fill("Zoë")
    you.get_by_role("combobox", name="Time zone").fill("Tokyo")
    page.get_by_role("option", name="Asia/Tokyo").click()
    you.get_by_role("button", name="Save").click()
    expect(page.get_by_role("button", name="Account of Zoë")).to_be_visible()
    page.locator("time").first.hover()
    expect(page.get_by_role("tooltip")).to_contain_text("(Asia/Tokyo)")
    undo(page, "Your name and time zone are saved")
    expect(page.get_by_role("button", name="Account of zoe@example.com")).to_be_visible()
