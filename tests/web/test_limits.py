"""The daily limit of a pipeline: the form keeps what it was set to elsewhere, and sets it."""

from __future__ import annotations

from urllib.parse import quote

from playwright.sync_api import expect
from tests.web.conftest import Visit
from tests.web.stocked import SHOP, Stocked

from millrace.control.metering import usage_limits
from millrace.control.metering.usage_limits import Limit


def test_the_form_keeps_and_sets_what_is_done_beyond_a_limit(visit: Visit, stock: Stocked) -> None:
    def kept() -> Limit:
        (one,) = usage_limits.page(stock.home).items
        return one

    usage_limits.limit_pipeline(stock.home, SHOP, 5_000_000, sideline=True, grace_hours=6)
    try:
        page = visit(f"/pipelines/{quote(SHOP)}/settings")

        def saved() -> None:
            with page.expect_response(lambda one: one.request.method == "PUT") as answer:
                page.get_by_role("button", name="Set limit").click()
            assert answer.value.ok

        expect(page.get_by_label("Hours of grace")).to_have_value("6")
        page.get_by_label("At most").fill("6000000")
        saved()
        assert (kept().rows, kept().sideline, kept().grace_hours, kept().pause) == (6_000_000, True, 6, False)
        page.get_by_text("Pause too", exact=True).click()
        page.get_by_label("Hours of grace").fill("2")
        saved()
        assert (kept().pause, kept().sideline, kept().grace_hours) == (True, False, 2)
    finally:
        usage_limits.lift_pipeline(stock.home, SHOP)
