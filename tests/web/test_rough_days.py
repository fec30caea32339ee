"""A server that is slow, and one that is started anew while something goes on: nothing is asked twice or lost."""

from __future__ import annotations

import threading
from pathlib import Path
from urllib.parse import urlsplit

from playwright.sync_api import Browser, Page, Route, expect
from tests.control.people import joined
from tests.control.sources import Script
from tests.rest.conftest import MANY, served, work
from tests.rest.conftest import script as script  # a fixture
from tests.web.people import arrive, sign_in
from tests.web.shops import opened

from millrace.control.home import Home
from millrace.control.pipeline import drafts
from millrace.control.running import jobs
from millrace.rest.app import application

PATIENCE_S = 60


def test_while_an_answer_is_awaited_nothing_is_asked_twice_and_the_screens_go_on(
    page: Page, home: Home, script: Script, tmp_path: Path
) -> None:
    opened(home, tmp_path, "one", "two", warehouse="slow")
    arrive(page, home, "/pipelines")
    expect(page.get_by_role("checkbox", name="Choose two")).to_be_visible()
    held: list[Route] = []
    holding = threading.Event()
    holding.set()

    def hold(route: Route) -> None:
        if holding.is_set() and route.request.method != "GET":
            held.append(route)
        else:
            route.continue_()

    page.route("**/api/millrace/v1/**", hold)
    page.get_by_role("checkbox", name="Choose all").check()
    chosen = page.get_by_role("region", name="Chosen pipelines")
    chosen.get_by_role("button", name="Run now").click()
    for verb in ("Run now", "Pause", "Resume"):
        expect(chosen.get_by_role("button", name=verb)).to_be_disabled()
    # Another screen answers while that one waits.
    page.get_by_role("link", name="Destinations").first.click()
    expect(page.get_by_role("link", name="slow")).to_be_visible()
    assert len(held) == 2
    with page.expect_response("**/pipelines/one/jobs"), page.expect_response("**/pipelines/two/jobs"):
        while held:
            held.pop().continue_()
    assert len(jobs.page(home).items) == 2

    # A draft is made once, however often one clicks before it is there.
    page.goto("/pipelines/new?type=clevertap")
    page.get_by_role("textbox", name="Name", exact=True).fill("slowly")
    page.get_by_label("Project ID").fill("AAA-BBB-CCCC")
    page.get_by_role("textbox", name="Passcode").fill("hunter2")
    page.get_by_role("button", name="Test connection").click()
    for verb in ("Keep and leave", "Test and go on"):
        expect(page.get_by_role("button", name=verb)).to_be_disabled()
    page.get_by_role("textbox", name="Passcode").press("Enter")
    assert len(held) == 1
    holding.clear()
    held.pop().continue_()
    expect(page.get_by_role("status", name="Findings of the test")).to_be_visible()
    assert [one.name for one in drafts.page(home).items] == ["slowly"]
    for _ in range(2):  # what was asked for is done
        work(home)


def test_a_job_is_followed_to_its_end_across_a_new_start_of_the_server(
    browser: Browser, home: Home, script: Script, tmp_path: Path
) -> None:
    opened(home, tmp_path, "long", warehouse="far")
    joined(home, "eve@example.com", "TEAM_ADMIN")
    gone, back = threading.Event(), threading.Event()

    def wait() -> None:
        gone.set()
        assert back.wait(PATIENCE_S)

    script.before[("Orders", 1)] = wait
    with served(application(home, limits=MANY)) as url:
        context = browser.new_context(base_url=url, reduced_motion="reduce")
        context.set_default_timeout(PATIENCE_S * 1000)
        page = context.new_page()
        page.goto("/pipelines/long")
        sign_in(page, "eve@example.com")
        page.get_by_role("button", name="Run now").click()
        job = page.get_by_role("dialog")
        expect(job).to_contain_text("Waits for a worker")
        worker = threading.Thread(target=work, args=(home,))
        worker.start()
        assert gone.wait(PATIENCE_S)
        expect(job).to_contain_text("Now:")
    back.set()
    worker.join()
    with served(application(home, limits=MANY), port=urlsplit(url).port or 0):
        expect(job).to_contain_text("Completed", timeout=PATIENCE_S * 1000)
        expect(job.get_by_role("group", name="Balance")).to_contain_text("14 read=14 loaded")
        # Whoever is signed in still is.
        job.get_by_role("button", name="Close").click()
        expect(page.get_by_role("table", name="Jobs").get_by_role("row", name="Completed")).to_be_visible()
        context.close()
