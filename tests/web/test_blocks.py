"""From a block to a mended event without code: dragged to the canvas, tried as it changes, deployed and mended."""

from __future__ import annotations

import re
from pathlib import Path

from playwright.sync_api import Locator, Page, expect
from tests.control.sources import Script
from tests.rest.conftest import script as script  # a fixture
from tests.web import axe
from tests.web.people import arrive
from tests.web.shops import opened

from millrace.control.connecting import preview
from millrace.control.home import Home
from millrace.control.observing.status import statuses
from millrace.control.running import runs
from millrace.control.transforming import transformations
from millrace.engine.blocks import signatures

# More than a page of them.
VERSIONS = 103


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


def test_a_branch_is_for_events_in_a_range_or_of_a_value_and_formulas_are_helped(
    page: Page, home: Home, script: Script, tmp_path: Path
) -> None:
    script.pages = {"Orders": [[{"id": 1, "price": 5}, {"id": 2, "price": 50}, {"id": 3, "price": 500}]]}
    opened(home, tmp_path, "deals", warehouse="of deals")
    runs.run(home, "deals")
    arrive(page, home, "/pipelines/deals/transformations", "dee@example.com")
    page.get_by_text("Blocks", exact=True).click()

    def add(block: str, place: int) -> Locator:
        page.get_by_role("button", name="Add a block here").nth(place).click()
        page.get_by_role("menuitem", name=block, exact=True).click()
        return page.get_by_role("dialog", name=block)

    # One of two conditions is enough; a range has two ends. What does not go with names is not offered for them.
    settings = add("If-Else", 0)
    condition = settings.get_by_role("group", name="Condition")
    for _ in range(2):
        condition.get_by_role("button", name="Add").click()
    condition.get_by_role("combobox", name="How it compares").first.click()
    expect(page.get_by_role("option", name="In range", exact=True)).to_have_count(0)
    page.keyboard.press("Escape")
    for index in range(2):
        condition.get_by_role("combobox", name="Looks at").nth(index).click()
        page.get_by_role("option", name="Event field").click()
        condition.get_by_label("Field", exact=True).nth(index).fill("price")
    condition.get_by_role("combobox", name="How it compares").first.click()
    page.get_by_role("option", name="In range", exact=True).click()
    condition.get_by_label("From").fill("1")
    condition.get_by_label("To", exact=True).fill("10")
    condition.get_by_label("Value").fill("500")
    condition.get_by_role("radiogroup", name="How many must hold").get_by_text("one", exact=True).click()
    assert axe.faults(page) == []
    settings.get_by_role("button", name="Done").click()
    expect(page.get_by_role("button", name="If-Else")).to_contain_text("price in range 1 … 10 or price equals 500")

    # What a formula may say is said beside it.
    settings = add("Add field", 1)
    settings.get_by_role("textbox", name="Name", exact=True).fill("cheap")
    settings.get_by_role("button", name="What a formula may say").click()
    functions = settings.get_by_role("table", name="What a formula may say")
    expect(functions.get_by_role("row", name="STRING_TO_NUMBER")).to_be_visible()
    said = " ".join(functions.locator("td.mono").all_inner_texts())
    assert set(re.findall(r"([A-Z_]+)\(", said)) == set(signatures.FUNCTIONS)
    settings.get_by_role("textbox", name="Value", exact=True).fill("true")
    settings.get_by_role("button", name="Done").click()
    result = page.get_by_role("region", name="Sample and result")
    added = result.get_by_role("row", name=re.compile("added cheap"))
    for event, marked in ((1, True), (2, False), (3, True)):
        expect(result.get_by_text(f"{event} of 3")).to_be_visible()
        expect(added).to_have_count(int(marked))
        if event < 3:
            result.get_by_role("button", name="Next event").click()

    # All blocks go with one click, and come back with another.
    page.get_by_role("button", name="Remove all blocks").click()
    expect(page.locator(".canvas-block")).to_have_count(0)
    page.get_by_role("button", name="Undo", exact=True).click()
    expect(page.locator(".canvas-block")).to_have_count(2)


def test_versions_beyond_the_first_page_are_reached(page: Page, home: Home, script: Script, tmp_path: Path) -> None:
    opened(home, tmp_path, "old", warehouse="of old")
    for number in range(1, VERSIONS + 1):
        text = f"def transform(event):\n    return event  # {number}\n"
        transformations.deploy(home, "old", "python", text, reason=f"the {number}th")
    arrive(page, home, "/pipelines/old/transformations/versions", "vic@example.com")
    options = page.get_by_role("listbox", name="Versions").get_by_role("option")
    expect(options).to_have_count(100)
    page.get_by_role("button", name="Show more").click()
    expect(options).to_have_count(VERSIONS)
    expect(page.get_by_role("button", name="Show more")).to_have_count(0)
    page.goto("/pipelines/old/transformations/versions?version=3")
    expect(page.get_by_role("dialog").get_by_text("+    return event  # 3")).to_be_visible()
    page.get_by_role("button", name="Go back to version 3").click()
    page.get_by_role("dialog", name="Go back to version 3?").get_by_role("button", name="Go back").click()
    expect(options.first).to_contain_text(f"Version {VERSIONS + 1}")


def _drawn_anew(page: Page) -> None:
    """What follows another width in the frame after it has been done."""
    page.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => done())))")
