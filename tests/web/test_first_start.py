"""The first start at a real server, with its workers: nothing of it is done for the newcomer."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import quote

import pytest
from playwright.sync_api import Browser, Page, expect
from tests.web.newcomer import EACH, PATIENCE_MS, Newcomer, happened, project
from tests.web.people import write
from tests.web.screenshots import serving

from millrace.control.pipeline import simulation

THREE_MINUTES_S = 180


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    with browser.new_context(viewport={"width": 1440, "height": 900}, reduced_motion="reduce") as context:
        yield context.new_page()


def _query(page: Page, url: str, destination: str, sql: str) -> list[list[str]]:
    """What the workbench shows."""
    page.goto(f"{url}/destinations/{quote(destination, safe='()')}/workbench")
    write(page, "SQL", sql)
    page.get_by_role("button", name="Run", exact=True).click()
    result = page.get_by_role("table", name="Result")
    result.wait_for()
    return [row.get_by_role("cell").all_text_contents() for row in result.get_by_role("row").all()[1:]]


def test_from_the_one_time_link_to_rows_of_simulated_data_in_a_table(page: Page, tmp_path: Path) -> None:
    with serving(tmp_path / "home") as link:
        url, one = link.partition("/welcome")[0], Newcomer(page)
        one.begin(link)
        one.try_it()
        assert (one.fields, one.clicks) == (["E-mail address", "Password"], ["Create account", "Try it"])
        balance = page.get_by_role("group", name="Balance")
        # It follows the word "Completed" a moment later.
        expect(balance).to_contain_text(re.compile(r"\d,\d{3} loaded"), timeout=PATIENCE_MS)
        loaded = int(re.sub(r"\D", "", re.search(r"([\d,]+) loaded", balance.inner_text())[1]))  # pyright: ignore
        assert loaded > 1000
        [[rows]] = _query(page, url, simulation.DESTINATION, "SELECT count(*) AS n FROM events")
        assert int(rows.replace(",", "")) == loaded
        # Whoever comes by that link again is told to sign in.
        with page.context.browser.new_context() as other:  # pyright: ignore
            again = other.new_page()
            again.goto(link)
            expect(again).to_have_url(re.compile("/sign-in"), timeout=PATIENCE_MS)


def test_by_the_wizard_a_pipeline_with_a_transformation_runs_after_less_than_three_minutes_of_clicks_and_words(
    page: Page, tmp_path: Path
) -> None:
    with project(tmp_path / "home") as simulator, serving(tmp_path / "home") as link:
        url, one = link.partition("/welcome")[0], Newcomer(page)
        one.begin(link)
        one.connect(simulator)
        happened(simulator, datetime.now(UTC) - timedelta(hours=1))
        one.transform()
        steps = ["Create account", "Create pipeline", "CleverTap", "Test and go on", "Go on with all", "Test and save",
                 "Go on", "Create pipeline", "Transformations", "Test", "Deploy", "Deploy", "Run now"]  # fmt: skip
        assert one.clicks == steps
        asked = ["E-mail address", "Password", "Name", "Project ID", "Passcode", "Events file", "Script"]
        assert one.fields == asked
        assert one.pace_s < THREE_MINUTES_S
        sql = "SELECT customer IS NOT NULL AS made, count(*) AS n FROM events GROUP BY made ORDER BY made"
        assert _query(page, url, "Warehouse", sql) == [["false", str(2 * EACH)], ["true", str(2 * EACH)]]
