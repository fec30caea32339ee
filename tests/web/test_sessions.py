"""A session that ends while somebody looks: they sign in again, and are where they were."""

from __future__ import annotations

from datetime import timedelta
from urllib.parse import parse_qs, quote, urlsplit

import pytest
import sqlalchemy as sa
from playwright.sync_api import Page, expect
from tests.control.people import PASSWORD
from tests.web.conftest import Visit
from tests.web.stocked import ADMIN, SHOP, Stocked

from millrace.control.database.people_tables import sessions

AT = f"/pipelines/{quote(SHOP)}/jobs?status=failed"


@pytest.fixture
def expired(visit: Visit, stock: Stocked) -> Page:
    """Somebody looks at the jobs; then their session is over by the clock of the server."""
    page = visit(AT)
    expect(page.get_by_role("row", name="Completed, with failures")).to_be_visible()
    past = stock.home.database.now() - timedelta(minutes=1)
    with stock.home.database.transaction() as connection:
        connection.execute(sa.update(sessions).values(expires_at=past))
    return page


def test_whoever_is_signed_out_by_the_clock_comes_back_to_the_same_address(expired: Page, stock: Stocked) -> None:
    page = expired
    page.get_by_role("navigation", name="Screens of").get_by_role("link", name="Objects").click()
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    # Where they wanted to go, or, when the page was told of the end before the click, where they were.
    (address,) = parse_qs(urlsplit(page.url).query)["next"]
    assert address in (f"/pipelines/{quote(SHOP)}/objects", AT)
    page.get_by_label("E-mail address").fill(ADMIN)
    page.get_by_label("Password").first.fill(PASSWORD)
    page.get_by_role("button", name="Sign in", exact=True).click()
    expect(page).to_have_url(f"{stock.url}{address}")
    expect(page.get_by_role("row", name="Orders" if address != AT else "Completed, with failures")).to_be_visible()


def test_a_page_that_is_loaded_again_after_the_end_keeps_its_filter_too(expired: Page, stock: Stocked) -> None:
    page = expired
    page.reload()
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    page.get_by_label("E-mail address").fill(ADMIN)
    page.get_by_label("Password").first.fill(PASSWORD)
    page.get_by_role("button", name="Sign in", exact=True).click()
    expect(page).to_have_url(f"{stock.url}{AT}")


def test_an_address_of_another_host_is_no_place_to_go_on_to(visit: Visit, stock: Stocked) -> None:
    page = visit("/sign-in?next=//evil.example/steal")
    expect(page).to_have_url(f"{stock.url}/pipelines")
