"""Everything is reached without a mouse, in order, and is said to those who do not see it."""

from __future__ import annotations

import re
from urllib.parse import quote

from playwright.sync_api import Page, expect
from tests.web.conftest import Visit
from tests.web.stocked import SHOP

AT = f"/pipelines/{quote(SHOP)}"


def test_the_palette_opens_by_keys_finds_by_letters_and_leads_there(visit: Visit) -> None:
    page = visit("/destinations")
    page.get_by_role("heading", name="Destinations").wait_for()
    page.keyboard.press("Control+k")
    field = page.get_by_role("combobox", name="Search or go to")
    expect(field).to_be_focused()
    page.keyboard.type("shop")
    expect(page.get_by_role("option", name=SHOP)).to_have_attribute("aria-selected", "true")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_contain_text(SHOP)
    page.keyboard.press("Control+k")
    expect(field).to_be_focused()
    page.keyboard.press("ArrowDown")
    expect(page.get_by_role("option").nth(1)).to_have_attribute("aria-selected", "true")
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)


def test_single_keys_lead_to_screens_but_not_while_one_types(visit: Visit) -> None:
    page = visit("/destinations")
    page.get_by_role("heading", name="Destinations").wait_for()
    page.keyboard.press("g")
    page.keyboard.press("p")
    expect(page.get_by_role("heading", level=1)).to_have_text("Pipelines")
    page.keyboard.press("/")
    field = page.get_by_label("Search pipelines")
    expect(field).to_be_focused()
    page.keyboard.type("gs?")
    expect(field).to_have_value("gs?")
    field.fill("")
    field.blur()
    page.keyboard.press("?")
    expect(page.get_by_role("dialog")).to_contain_text("Keyboard shortcuts")
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    page.keyboard.press("c")
    expect(page).to_have_url(re.compile("/pipelines/new$"))


def test_the_first_stop_is_the_way_past_the_rail(visit: Visit) -> None:
    page = visit("/pipelines")
    page.get_by_role("link", name=SHOP).wait_for()
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="To the content")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("#content")).to_be_focused()
    page.keyboard.press("Tab")
    assert page.evaluate("() => document.querySelector('main').contains(document.activeElement)")


def test_stops_are_in_the_order_in_which_one_reads(visit: Visit) -> None:
    page = visit("/pipelines")
    page.get_by_role("link", name=SHOP).wait_for()
    seen: list[tuple[float, float]] = []
    for _ in range(12):
        page.keyboard.press("Tab")
        place: list[float] = page.evaluate(
            "() => { const r = document.activeElement.getBoundingClientRect(); return [r.top, r.left]; }"
        )
        seen.append((place[0], place[1]))
    rail = [place for place in seen[1:] if place[1] < 200]
    assert rail == sorted(rail)
    assert seen[1 : 1 + len(rail)] == rail


def test_a_drawer_takes_the_focus_holds_it_and_gives_it_back(visit: Visit) -> None:
    page = visit(f"{AT}/jobs")
    link = page.get_by_role("link", name="#1", exact=True)
    link.focus()
    page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_text("Job #1", exact=True)).to_be_focused()
    for _ in range(8):
        page.keyboard.press("Tab")
        assert _within(page, "[role=dialog]")
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    expect(link).to_be_focused()

    # Whoever came by its address goes on at the list.
    page.goto(f"{AT}/jobs/1")
    expect(dialog.get_by_text("Job #1", exact=True)).to_be_focused()
    page.keyboard.press("Escape")
    expect(page.locator("#content")).to_be_focused()


def test_a_new_screen_is_said_and_named(visit: Visit) -> None:
    page = visit("/pipelines")
    said = page.get_by_role("status", name="Said")
    expect(said).to_have_text("Pipelines")
    page.get_by_role("navigation", name="Main").get_by_role("link", name="Activity").click()
    expect(said).to_have_text("Activity")
    expect(page).to_have_title("Activity · Millrace")


def test_what_is_drawn_has_names_for_those_who_do_not_see_it(visit: Visit) -> None:
    page = visit("/pipelines")
    expect(page.get_by_role("table", name="Pipelines")).to_be_visible()
    row = page.get_by_role("row", name=SHOP)
    expect(row.get_by_role("img", name=re.compile("loaded in the last 24 hours"))).to_be_visible()
    expect(row.get_by_role("checkbox", name=f"Choose {SHOP}")).to_be_visible()
    expect(page.get_by_role("link", name=re.compile(r"Failed events.*1 wait for a cure"))).to_be_visible()
    page.goto(AT)
    expect(page.get_by_role("img", name=re.compile("Rows by day: .* ingested, .* loaded, 1 failed"))).to_be_visible()


def _within(page: Page, selector: str) -> bool:
    return page.evaluate("(s) => document.querySelector(s).contains(document.activeElement)", selector)
