"""Each state has an address; nothing to show and what went wrong are said with the next step; times are the user's."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from urllib.parse import quote

from playwright.sync_api import Route, expect
from tests.web.conftest import Visit
from tests.web.stocked import SHOP, STRANGER

AT = f"/pipelines/{quote(SHOP)}"
EMPTY = (
    ("/pipelines", "No pipelines yet", "Create pipeline"),
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


def test_what_cannot_be_shown_is_told_in_the_words_of_the_api_with_hint_and_code(visit: Visit) -> None:
    page = visit("/pipelines/Nobody%20made%20it")
    note = page.get_by_role("alert").first
    expect(note).to_contain_text("There is no pipeline 'Nobody made it'")
    expect(note).to_contain_text(f"There are: Broken, Idle, {SHOP}.")
    expect(note.locator(".mono")).to_have_text("UNKNOWN_PIPELINE")
    page.goto("/pipelines?order=loudest")
    expect(note).to_contain_text("order")
    expect(note.get_by_role("button", name="Try again")).to_be_visible()


def test_filters_tabs_and_drawers_have_addresses_that_others_can_open(visit: Visit) -> None:
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

    # A job is of one pipeline: under the name of another one, its address leads to it.
    page.goto("/pipelines/Idle/jobs/1")
    expect(page).to_have_url(re.compile(rf"{re.escape(AT)}/jobs/1$"))
    expect(page.get_by_role("dialog")).to_contain_text("Job #1")
    # What failed in it is one step away, among what failed in others.
    failed = page.get_by_role("dialog").get_by_role("group", name="Balance").get_by_role("link", name="failed")
    expect(failed).to_have_accessible_description("All failed events of the pipeline")
    failed.click()
    expect(page).to_have_url(re.compile(rf"{re.escape(AT)}/failed-events$"))

    page.goto(f"{AT}/reconcile?since=2026-01-05&values=true")
    expect(page.get_by_label("Since")).to_have_value("2026-01-05")
    page.get_by_role("switch", name="Values too").uncheck()
    expect(page).to_have_url(re.compile(r"/reconcile\?since=2026-01-05$"))

    page.goto(f"{AT}?span=24h")
    expect(page.get_by_role("radio", name="24 h")).to_be_checked()


def test_jobs_of_all_pipelines_are_in_one_list_and_open_at_their_pipeline(visit: Visit) -> None:
    page = visit("/jobs")
    jobs = page.get_by_role("table", name="Jobs")
    expect(jobs.get_by_role("row", name="Broken")).to_contain_text("Failed")
    expect(jobs.get_by_role("link", name=SHOP)).to_be_visible()
    page.get_by_role("radiogroup", name="Which jobs").get_by_text("Going on").click()
    expect(page).to_have_url(re.compile(r"/jobs\?status=going$"))
    expect(page.get_by_text("No such jobs")).to_be_visible()
    page.get_by_role("radiogroup", name="Which jobs").get_by_text("With failures").click()
    jobs.get_by_role("row", name="Broken").get_by_role("link", name="#").click()
    expect(page).to_have_url(re.compile(r"/pipelines/Broken/jobs/\d+$"))
    job = page.get_by_role("dialog")
    expect(job).to_contain_text("the source does not answer", ignore_case=True)
    # One object of it can be read again by itself.
    expect(job.get_by_role("button", name="Read Orders again")).to_be_visible()


def test_what_is_sought_chosen_or_picked_has_an_address(visit: Visit) -> None:
    page = visit(f"{AT}/objects?search=nothing")
    expect(page.get_by_text("No such objects")).to_be_visible()
    page.get_by_label("Search objects").fill("rder")
    expect(page).to_have_url(re.compile(r"/objects\?search=rder$"))
    page.get_by_role("radiogroup", name="Which objects").get_by_text("Active").click()
    expect(page).to_have_url(re.compile(r"/objects\?search=rder&which=ACTIVE$"))
    expect(page.get_by_role("table", name="Objects").get_by_role("row", name="Orders")).to_be_visible()

    # The same screen by a link without the search: the field does not keep what the list no longer has.
    page.goto("/pipelines?search=Idle")
    expect(page.get_by_label("Search pipelines")).to_have_value("Idle")
    page.get_by_role("link", name="Pipelines", exact=True).first.click()
    expect(page.get_by_label("Search pipelines")).to_have_value("")
    expect(page.get_by_role("link", name=SHOP)).to_be_visible()
    expect(page).to_have_url(re.compile(r"/pipelines$"))

    page.goto("/destinations/warehouse?search=idle")
    expect(page.get_by_text("No table is called so")).to_be_visible()
    page.get_by_label("Search tables").fill("orders")
    expect(page).to_have_url(re.compile(r"/destinations/warehouse\?search=orders$"))
    expect(page.get_by_role("table", name="Tables").get_by_role("row", name="orders")).to_be_visible()

    page.goto("/pipelines/new?destination=warehouse&search=post")
    expect(page.get_by_role("link", name="PostgreSQL")).to_be_visible()
    page.get_by_role("radiogroup", name="Kind of source").get_by_text("Files").click()
    expect(page).to_have_url(re.compile(r"/pipelines/new\?destination=warehouse&search=post&kind=files$"))
    expect(page.get_by_text("No source has that name.")).to_be_visible()

    page.goto(f"{AT}/mapper?search=nothing&status=MAPPED")
    expect(page.get_by_text("No event type is like that")).to_be_visible()
    page.get_by_label("Search event types").fill("Orders")
    expect(page).to_have_url(re.compile(r"/mapper\?search=Orders&status=MAPPED$"))

    page.goto(f"{AT}/mapper/Orders?search=amount")
    fields = page.get_by_role("table", name="Fields and their columns")
    expect(fields.locator("tbody tr")).to_have_count(1)
    page.get_by_text("Need a look 0").click()
    expect(page).to_have_url(re.compile(r"/mapper/Orders\?search=amount&only=look$"))
    # Versions open over the fields as they are; what is picked there ends with them.
    page.get_by_role("link", name="Version 1").click()
    page.get_by_role("dialog").get_by_role("button", name="Version 1").click()
    expect(page).to_have_url(re.compile(r"/versions\?search=amount&only=look&from=1$"))
    page.get_by_role("dialog").get_by_role("button", name="Close").click()
    expect(page).to_have_url(re.compile(r"/mapper/Orders\?search=amount&only=look$"))
    expect(page.get_by_label("Search fields")).to_have_value("amount")

    page.goto(f"{AT}/transformations?object=Orders&event=3")
    pane = page.get_by_role("region", name="Sample and result")
    expect(pane.get_by_label("Event type").first).to_have_value("Orders")
    expect(pane.get_by_text("3 of ")).to_be_visible()
    pane.get_by_role("button", name="Next event").click()
    expect(page).to_have_url(re.compile(r"/transformations\?object=Orders&event=4$"))
    pane.get_by_text("Failed", exact=True).click()
    expect(page).to_have_url(re.compile(r"/transformations\?events=failed$"))
    expect(pane.get_by_text("1 of 1")).to_be_visible()
    page.get_by_role("link", name="Versions").click()
    page.get_by_role("dialog").get_by_role("option", name="Version 1").click()
    expect(page).to_have_url(re.compile(r"/versions\?events=failed&version=1$"))
    again = visit(page.url)
    expect(again.get_by_role("option", name="Version 1")).to_have_attribute("aria-selected", "true")
    # Nobody wrote a draft here, and there is no other version: nothing is compared.
    expect(again.get_by_role("combobox", name="Compared with")).to_have_count(0)


def test_times_are_in_the_zone_of_the_user_with_utc_on_hover(visit: Visit) -> None:
    page = visit("/healthz", timezone_id="Asia/Tokyo", locale="de-DE")
    late: list[Route] = []
    page.route("**/status", lambda route: late.append(route))
    page.goto(f"{AT}/jobs")
    moment = page.locator("tbody time").first
    moment.hover()
    tip = page.get_by_role("tooltip")
    expect(tip).to_contain_text("(Asia/Tokyo)")
    # What is above the list comes later than it, and moves nothing from under the pointer.
    for one in late:
        one.continue_()
    expect(page.get_by_role("button", name="Run now")).to_be_visible()
    expect(tip).to_be_visible()
    found = re.findall(r"(\d{2}):(\d{2}):\d{2}", tip.inner_text())
    assert len(found) == 2
    (hour, minute), (utc_hour, utc_minute) = ((int(h), int(m)) for h, m in found)
    assert (hour * 60 + minute - utc_hour * 60 - utc_minute) % 1440 == 9 * 60
    assert "UTC" in tip.inner_text()


def test_moments_are_told_by_the_clock_of_now_however_long_none_was_shown(visit: Visit) -> None:
    page = visit("/help", locale="en-NZ")  # a clock is one of the whole browser, which no other test shall get
    page.clock.install(time=datetime.now(UTC) - timedelta(hours=1))
    page.goto("/jobs")
    moment = page.locator("tbody time").first
    moment.wait_for()
    page.get_by_role("link", name="Help", exact=True).click()
    page.get_by_role("heading", name="Help").wait_for()
    page.clock.fast_forward(3_600_000)
    page.get_by_role("link", name="Jobs", exact=True).click()
    moment.wait_for()
    # At once: ten seconds later the clock ticks.
    assert re.fullmatch("now|.+ ago", moment.inner_text())


def test_a_job_is_read_on_a_phone_and_tells_what_took_the_time(visit: Visit) -> None:
    page = visit(f"{AT}/jobs/1", viewport={"width": 390, "height": 844})
    job = page.get_by_role("dialog")
    stages = job.get_by_role("list", name="Stages").get_by_role("listitem")
    expect(stages.filter(has_text=re.compile(r"Reading \d"))).to_have_count(1)
    expect(stages.last).to_have_text(re.compile(r"Loading \d"))
    objects = job.get_by_role("table").filter(has=page.get_by_role("columnheader", name="Object"))
    place = objects.get_by_text("Position")
    place.click()
    box = place.locator("xpath=..").bounding_box()
    assert box is not None
    assert box["width"] > 300
    # All of it is in sight: there is nothing to scroll to.
    expect(job.get_by_role("region", name="Objects, scrolled")).to_have_count(0)


def test_a_list_that_stands_open_asks_for_little(visit: Visit) -> None:
    """A minute by the clock of the page: what it asks of the server, but for the one stream of changes."""
    page = visit("/activity", locale="en-GB")  # a clock is one of the whole browser, which no other test shall get
    page.clock.install()
    page.goto("/pipelines")
    page.get_by_role("link", name=SHOP).wait_for()
    page.wait_for_load_state("load")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url) if "/api/" in request.url else None)
    page.clock.run_for(60_500)
    page.wait_for_timeout(500)
    assert len(asked) <= 4, asked
