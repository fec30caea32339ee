"""Each state has an address; nothing to show and what went wrong are said with the next step; times are the user's."""

from __future__ import annotations

import re
from urllib.parse import quote

import pytest
from playwright.sync_api import expect
from tests.web.conftest import Visit
from tests.web.stocked import SHOP, STRANGER

AT = f"/pipelines/{quote(SHOP)}"
EMPTY = (
    ("/pipelines", "No pipelines yet", "Create pipeline"),
    ("/destinations", "No destinations yet", None),
    ("/failed-events", "No failed events", None),
    ("/alerts", "Nothing is wrong", None),
    ("/keys", "No keys yet", "Make a key"),
    ("/pipelines?search=zzz", "No pipeline is like that", "Show all"),
)


def test_where_nothing_is_yet_the_screen_says_what_comes_and_offers_the_next_step(visit: Visit) -> None:
    page = visit("/pipelines", STRANGER)
    for path, title, step in EMPTY:
        page.goto(path)
        expect(page.get_by_text(title, exact=True)).to_be_visible()
        if step is not None:
            expect(page.locator("main").get_by_text(step, exact=True).first).to_be_visible()


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("/pipelines/Nobody%20made%20it", "There is no pipeline"),
        (f"{AT}/jobs/99999", "There is no job"),
        ("/pipelines?order=loudest", "order"),
    ],
)
def test_what_cannot_be_shown_is_told_in_the_words_of_the_api_with_its_code(
    visit: Visit, path: str, message: str
) -> None:
    note = visit(path).get_by_role("alert").first
    expect(note).to_contain_text(message)
    expect(note.locator(".mono").last).to_have_text(re.compile(r"^[a-zA-Z_.]+$"))


def test_a_hint_of_the_api_stands_beside_its_message(visit: Visit) -> None:
    page = visit(f"{AT}/jobs/99999")
    expect(page.get_by_role("alert").first).to_contain_text("See `millrace runs`.")


def test_filters_tabs_and_drawers_have_addresses_that_others_can_open(visit: Visit, stock: object) -> None:
    del stock
    page = visit("/pipelines")
    page.get_by_role("button", name="1 needs a look").click()
    expect(page).to_have_url(re.compile(r"/pipelines\?health=LOOK$"))
    page.get_by_label("Search pipelines").fill("shop")
    expect(page).to_have_url(re.compile(r"search=shop"))
    again = visit(page.url)
    expect(again.get_by_role("button", name="1 needs a look")).to_have_attribute("aria-pressed", "true")
    expect(again.get_by_label("Search pipelines")).to_have_value("shop")
    expect(again.get_by_role("link", name=SHOP)).to_be_visible()
    expect(again.get_by_role("link", name="Idle")).to_have_count(0)

    page.goto(f"{AT}/jobs?status=failed")
    page.get_by_role("link", name="#1", exact=True).click()
    expect(page.get_by_role("dialog")).to_contain_text("Job #1")
    # The drawer does not lose the filter of its list, and closing it leads back to both.
    expect(page).to_have_url(re.compile(r"/jobs/1\?status=failed$"))
    page.reload()
    page.get_by_role("dialog").get_by_role("button", name="Close").click()
    expect(page).to_have_url(re.compile(r"/jobs\?status=failed$"))

    page.goto("/failed-events")
    page.get_by_role("link", name="The transformation raised an error").click()
    page.get_by_role("dialog").get_by_role("button", name="could not convert string to float").wait_for()
    again = visit(page.url)
    expect(again.get_by_role("dialog")).to_contain_text("1 event of Orders")

    page.goto(f"{AT}?span=24h")
    expect(page.get_by_role("radio", name="24 h")).to_be_checked()
    page.goto("/alerts?state=all")
    expect(page.get_by_role("radio", name="All")).to_be_checked()


def test_times_are_in_the_zone_of_the_user_with_utc_on_hover(visit: Visit) -> None:
    page = visit(f"{AT}/jobs", timezone_id="Asia/Tokyo", locale="de-DE")
    moment = page.locator("tbody time").first
    moment.hover()
    tip = page.get_by_role("tooltip")
    expect(tip).to_contain_text("(Asia/Tokyo)")
    found = re.findall(r"(\d{2}):(\d{2}):\d{2}", tip.inner_text())
    assert len(found) == 2
    (hour, minute), (utc_hour, utc_minute) = ((int(h), int(m)) for h, m in found)
    assert (hour * 60 + minute - utc_hour * 60 - utc_minute) % 1440 == 9 * 60
    assert "UTC" in tip.inner_text()


def test_a_list_that_stands_open_asks_for_little(visit: Visit) -> None:
    """A minute by the clock of the page: what it asks of the server, but for the one stream of changes."""
    page = visit("/activity")
    page.clock.install()
    page.goto("/pipelines")
    page.get_by_role("link", name=SHOP).wait_for()
    page.wait_for_load_state("load")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url) if "/api/" in request.url else None)
    page.clock.run_for(60_500)
    page.wait_for_timeout(500)
    assert len(asked) <= 4, asked
