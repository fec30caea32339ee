"""Help: the guides of this version, which are part of it."""

from __future__ import annotations

from playwright.sync_api import expect
from tests.web.conftest import Visit


def test_guides_are_read_where_one_works_and_lead_to_each_other(visit: Visit) -> None:
    # Whatever is asked of another host fails the test.
    page = visit("/pipelines")
    page.get_by_role("navigation", name="Main").get_by_role("link", name="Help").click()
    expect(page).to_have_url("/help")
    page.get_by_role("link", name="Being told").click()
    expect(page.get_by_role("heading", level=1, name="Being told")).to_be_visible()
    expect(page.get_by_role("columnheader", name="Category")).to_be_visible()
    # To a place of another guide, which is in sight then.
    page.get_by_role("link", name="limits", exact=True).click()
    expect(page).to_have_url("/help/usage#limits")
    expect(page.get_by_role("heading", level=2, name="Limits")).to_be_in_viewport()
    expect(page.get_by_text("millrace usage limit 50M")).to_be_visible()

    # By keys, and by a word of its title; what is not there says so.
    page.keyboard.press("g")
    page.keyboard.press("e")
    expect(page).to_have_url("/help")
    page.keyboard.press("Control+k")
    page.get_by_role("combobox", name="Search or go to").fill("schema mapper")
    page.keyboard.press("Enter")
    expect(page).to_have_url("/help/mapping")
    page.goto("/help/nothing")
    page.get_by_role("link", name="All guides").click()
    expect(page).to_have_url("/help")
