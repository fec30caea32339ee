"""From a block to a mended event without code: dragged to the canvas, tried as it changes, deployed and mended."""

from __future__ import annotations

import re
from pathlib import Path

from playwright.sync_api import Page, expect
from tests.control.sources import Script
from tests.rest.conftest import script as script  # a fixture
from tests.web import axe
from tests.web.people import arrive
from tests.web.shops import opened

from millrace.control import preview, runs, transformations
from millrace.control.home import Home
from millrace.control.status import statuses


def test_blocks_are_dragged_tried_deployed_and_cured(page: Page, home: Home, script: Script, tmp_path: Path) -> None:
    script.pages = {"Orders": [[{"id": number, "name": f"{number}.50"} for number in (1, 2)]]}
    opened(home, tmp_path, "shop")
    runs.run(home, "shop")
    arrive(page, home, "/pipelines/shop/transformations")
    page.get_by_text("Blocks", exact=True).click()

    # A block from the list to its place; its settings; what it makes of a sample, without asking for it.
    blocks = page.get_by_role("complementary", name="Blocks")
    blocks.get_by_text("Add field", exact=True).drag_to(page.get_by_role("button", name="Add a block here"))
    settings = page.get_by_role("dialog")
    settings.get_by_role("textbox", name="Name", exact=True).fill("amount")
    settings.get_by_role("textbox", name="Value", exact=True).fill("STRING_TO_NUMBER(name, 2)")
    settings.get_by_role("button", name="Done").click()
    result = page.get_by_role("region", name="Sample and result")
    expect(result.get_by_role("row", name="amount")).to_contain_text("1.5")
    assert axe.faults(page) == []

    # Whoever looks closer keeps their place at another width, until the list of blocks has no room beside it.
    drawn = page.locator(".react-flow__viewport")
    page.get_by_role("button", name="Zoom Out").click()
    expect(drawn).to_have_attribute("style", re.compile(r"scale\(0\.\d+\)"))
    place = drawn.get_attribute("style")
    assert place is not None
    for width in (1400, 1000, 1440):
        page.set_viewport_size({"width": width, "height": 900})
        _drawn_anew(page)
        expect(drawn).to_have_attribute("style", place)
    page.set_viewport_size({"width": 700, "height": 900})
    expect(drawn).not_to_have_attribute("style", place)
    page.set_viewport_size({"width": 1440, "height": 900})

    # Taken back and made again; a second one by its button.
    blocks.get_by_role("button", name="Undo").click()
    expect(result.get_by_role("alert")).to_contain_text("a value was expected")
    blocks.get_by_role("button", name="Redo").click()
    expect(result.get_by_role("row", name="amount")).to_contain_text("1.5")
    page.get_by_role("button", name="Deploy").click()
    page.get_by_role("dialog").get_by_role("button", name="Deploy").click()
    expect(page.get_by_text("Version 1 is deployed,")).to_be_visible()

    # An event that it cannot take fails, and passes when its block was changed.
    script.pages["Orders"].append([{"id": 3, "name": "3.50"}, {"id": 4, "name": "none"}])
    runs.run(home, "shop")
    page.goto("/pipelines/shop/failed-events")
    page.get_by_role("table").get_by_role("link").first.click()
    page.get_by_role("dialog").get_by_role("link", name="Open the transformation").click()
    expect(page.get_by_role("region", name="Sample and result").get_by_role("alert")).to_be_visible()
    page.get_by_role("button", name="Add field").click()
    page.get_by_role("dialog").get_by_role("textbox", name="Value", exact=True).fill("name")
    page.get_by_role("dialog").get_by_role("button", name="Done").click()
    expect(page.get_by_role("region", name="Sample and result").get_by_role("row", name="amount")).to_contain_text(
        "none"
    )
    # What changes needs no search among what does not.
    compared = page.get_by_role("table", name="Fields before and after")
    expect(compared.locator("tbody tr").first).to_contain_text("amount")
    page.get_by_role("button", name="Deploy").click()
    page.get_by_role("dialog").get_by_role("button", name="Deploy").click()
    expect(page.get_by_text("Version 2 is deployed,")).to_be_visible()
    page.goto("/pipelines/shop/failed-events")
    page.get_by_role("table").get_by_role("link").first.click()
    page.get_by_role("button", name="Replay all").click()
    expect(page.get_by_text("No failed events")).to_be_visible()
    [found] = statuses(home, "shop")
    assert (found.rows_loaded, found.open_rejects) == (4, 0)
    amounts = preview.query(home, "warehouse", "SELECT amount FROM orders ORDER BY id").column("amount").to_pylist()
    assert [str(one).rstrip("0") for one in amounts[2:]] == ["3.5", "none"]

    # An earlier version is one click away.
    page.get_by_role("link", name="Transformations").click()
    page.get_by_role("link", name="Versions").click()
    page.get_by_role("option", name="Version 1").click()
    page.get_by_role("button", name="Go back to version 1").click()
    page.get_by_role("dialog", name="Go back to version 1?").get_by_role("button", name="Go back").click()
    expect(page.get_by_role("option", name="Version 3")).to_contain_text("deployed")
    deployed = transformations.standing(home, "shop").deployed
    assert deployed is not None
    assert "STRING_TO_NUMBER" in deployed.text


def _drawn_anew(page: Page) -> None:
    """What follows another width in the frame after it has been done."""
    page.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => done())))")
