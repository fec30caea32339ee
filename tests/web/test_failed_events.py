"""From a failed event to its row in the table: seen, understood, cured in the transformation, replayed."""

from __future__ import annotations

from pathlib import Path

import pytest
import sqlalchemy as sa
from playwright.sync_api import Page, expect
from tests.control.conftest import EVENTS_CSV
from tests.control.people import PASSWORD, joined
from tests.control.sources import Script
from tests.rest.conftest import script as script  # a fixture
from tests.web.people import arrive, write
from tests.web.shops import opened

from millrace.control.connecting import connections
from millrace.control.database.tables import reject_files, reject_groups
from millrace.control.home import Home
from millrace.control.observing.status import statuses
from millrace.control.pipeline import pipelines
from millrace.control.pipeline.pipelines import Wish
from millrace.control.running import runs
from millrace.control.transforming import transformations

BROKEN = """\
def transform(event):
    p = event.getProperties()
    p["amount"] = float(p["name"].split()[1])
    return event
"""
CURED = BROKEN.replace('float(p["name"].split()[1])', 'len(p["name"])')


@pytest.fixture
def shop(home: Home, script: Script, tmp_path: Path) -> str:
    """A pipeline that has run: of three events one could not pass the transformation."""
    script.pages = {"Orders": [[{"id": 1, "name": "row 1"}, {"id": 2, "name": "row none"}, {"id": 3, "name": "row 3"}]]}
    (tmp_path / "events.csv").write_text(EVENTS_CSV)
    config = {"project_id": "AAA-BBB-CCCC", "passcode": "hunter2", "events_file": str(tmp_path / "events.csv")}
    connections.create(home, "source", "app", "clevertap", config)
    connections.create(home, "destination", "warehouse", "duckdb", {"path": str(tmp_path / "w.duckdb")})
    pipelines.create(home, Wish("shop", "app", "warehouse"))
    transformations.deploy(home, "shop", "python", BROKEN)
    runs.run(home, "shop")
    joined(home, "ann@example.com", "TEAM_ADMIN")
    return "shop"


def test_a_failed_event_is_cured_in_the_transformation_and_replayed(page: Page, home: Home, shop: str) -> None:
    page.goto("/failed-events")
    page.get_by_label("E-mail address").fill("ann@example.com")
    page.get_by_label("Password").first.fill(PASSWORD)
    page.get_by_role("button", name="Sign in", exact=True).click()

    # Why it failed, the event itself, and the way to what cures it.
    page.get_by_role("link", name="The transformation raised an error").click()
    group = page.get_by_role("dialog")
    group.get_by_role("button", name="could not convert string to float").click()
    expect(group.get_by_label("Event", exact=True)).to_contain_text('"row none"')
    group.get_by_role("link", name="Open the transformation").click()

    # The failed event fails in the draft too, at its line; with another script it passes, and then it is deployed.
    result = page.get_by_role("region", name="Sample and result")
    page.get_by_role("button", name="Test", exact=True).first.click()
    expect(result.get_by_role("alert")).to_contain_text("line 3, in transform")
    editor = page.get_by_role("textbox", name="Script")
    expect(editor.locator(".cm-lintRange-error")).to_contain_text("float")
    # Over a selection Chromium would keep the style of what was there, which the policy of the page refuses.
    editor.press("Control+a")
    editor.press("Delete")
    page.keyboard.insert_text(CURED)
    page.get_by_role("button", name="Test", exact=True).first.click()
    expect(result.get_by_role("row", name="amount")).to_contain_text("8")
    page.get_by_role("button", name="Deploy").click()
    page.get_by_role("dialog").get_by_label("Why").fill("amounts may be words")
    page.get_by_role("dialog").get_by_role("button", name="Deploy").click()
    expect(page.get_by_text("Version 2 is deployed.")).to_be_visible()

    # It goes again, and nothing waits any more.
    page.get_by_role("link", name="Failed events").last.click()
    page.get_by_role("link", name="The transformation raised an error").click()
    page.get_by_role("button", name="Replay all").click()
    expect(page.get_by_text("No failed events")).to_be_visible()
    [found] = statuses(home, shop)
    assert (found.rows_loaded, found.open_rejects) == (3, 0)


def test_an_event_is_mended_by_hand_and_the_others_are_given_up(
    page: Page, home: Home, script: Script, tmp_path: Path
) -> None:
    script.pages = {"Orders": [[{"id": number, "name": f"row {word}"} for number, word in enumerate(("1", "x", "y"))]]}
    opened(home, tmp_path, "mended", warehouse="by hand")
    transformations.deploy(home, "mended", "python", BROKEN)
    runs.run(home, "mended")
    arrive(page, home, "/pipelines/mended/transformations", "bob@example.com")

    # What a draft would make of the latest rows is seen before anything goes through it.
    write(page, "Script", CURED)
    page.get_by_role("button", name="Dry run").click()
    page.get_by_role("dialog").get_by_role("button", name="Run", exact=True).click()
    expect(page.get_by_role("dialog").get_by_text("are changed")).to_be_visible()
    page.get_by_role("dialog").get_by_role("button", name="Close").click()

    page.goto("/pipelines/mended/failed-events")
    page.get_by_role("link", name="The transformation raised an error").click()
    group = page.get_by_role("dialog")
    group.get_by_role("button", name="'x'").click()
    write(page, "Event", '{"id": 1, "name": "row 2"}')
    group.get_by_role("button", name="Replay 1 mended event").click()
    expect(group).to_contain_text("1 event of Orders")
    [found] = statuses(home, "mended")
    assert (found.rows_loaded, found.open_rejects) == (2, 1)

    group.get_by_role("button", name="Give up").click()
    asked = page.get_by_role("dialog", name="Give these events up?")
    expect(asked).to_contain_text("1 event will not reach")
    asked.get_by_role("button", name="Give up").click()
    expect(page.get_by_text("No failed events")).to_be_visible()
    [found] = statuses(home, "mended")
    assert (found.rows_loaded, found.open_rejects) == (2, 0)


def test_very_many_groups_come_page_by_page_and_are_searched(
    page: Page, home: Home, script: Script, tmp_path: Path
) -> None:
    script.pages = {"Orders": [[{"id": 1, "name": "row x"}]]}
    opened(home, tmp_path, "many", warehouse="of many")
    transformations.deploy(home, "many", "python", BROKEN)
    runs.run(home, "many")
    with home.database.transaction() as connection:
        group = {"stage": "mapping", "code": "INCOMPATIBLE_TYPE", "sample": "no number", "state": "open"}
        group |= {"file_id": connection.execute(sa.select(sa.func.max(reject_files.c.id))).scalar_one()}
        rows = [group | {"rows": 10, "attempts": 0, "stream": f"Kind {n:03}"} for n in range(120)]
        connection.execute(sa.insert(reject_groups), rows)
    arrive(page, home, "/failed-events?pipeline=many", "cora@example.com")
    expect(page.get_by_text("1,201 events wait for a cure, in 121 groups")).to_be_visible()
    table = page.get_by_role("table", name="Groups of failed events")
    expect(table.get_by_role("row")).to_have_count(1 + 50)
    page.get_by_role("button", name="Show more").click()
    page.get_by_role("button", name="Show more").click()
    expect(page.get_by_role("button", name="Show more")).to_have_count(0)

    # What is searched is looked for in all of them, and is in the address.
    page.get_by_role("textbox", name="Search failed events").fill("kind 119")
    expect(page.get_by_text("10 events wait for a cure, in 1 group")).to_be_visible()
    expect(page).to_have_url("/failed-events?pipeline=many&search=kind+119")
    table.get_by_role("link", name="A value does not fit its column").click()
    expect(page.get_by_role("dialog")).to_contain_text("10 events of Kind 119")
    page.get_by_role("dialog").get_by_role("button", name="Close").click()
    page.get_by_role("textbox", name="Search failed events").fill("nothing like this")
    page.get_by_role("button", name="Show all").click()
    expect(page.get_by_text("1,201 events wait for a cure; none is lost")).to_be_visible()
