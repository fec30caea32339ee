"""The pages allow no script and no style but those that Millrace ships, and ask nobody but their server."""

from __future__ import annotations

import re

from playwright.sync_api import Browser
from tests.control.people import PASSWORD
from tests.web.stocked import ADMIN, Stocked

# A page under the policy reports what it refused by this event.
WATCH = """document.addEventListener('securitypolicyviolation', (event) => {
  (window.refused ??= []).push(event.effectiveDirective);
});"""


def test_the_policy_allows_no_text_as_script_and_no_style_without_a_value_of_this_answer(
    browser: Browser, stock: Stocked
) -> None:
    with browser.new_context(base_url=stock.url) as context:
        answers = [context.request.get("/pipelines", headers={"accept": "text/html"}) for _ in range(2)]
        policies = [one.headers["content-security-policy"] for one in answers]
        for policy, answer in zip(policies, answers, strict=True):
            assert "unsafe" not in policy
            assert "default-src 'none'" in policy
            assert re.search(r"script-src 'self'(;|$)", policy)
            assert "frame-ancestors 'none'" in policy
            # No script and no handler stands in the page itself.
            assert not re.search(r"<script(?![^>]*\bsrc=)|\son\w+=", answer.text())
        assert policies[0] != policies[1]


def test_a_script_or_a_style_that_came_into_the_page_does_not_run(browser: Browser, stock: Stocked) -> None:
    with browser.new_context(base_url=stock.url, reduced_motion="reduce") as context:
        context.request.post("/api/millrace/v1/session", data={"email": ADMIN, "password": PASSWORD})
        page = context.new_page()
        page.add_init_script(WATCH)
        page.goto("/pipelines")
        page.get_by_role("heading", name="Pipelines").wait_for()
        # What Millrace itself does is within the policy.
        assert page.evaluate("() => window.refused ?? []") == []
        page.evaluate(
            """() => {
              const script = document.createElement('script');
              script.textContent = 'window.stolen = 1';
              const style = document.createElement('style');
              style.textContent = 'body { visibility: hidden }';
              const far = document.createElement('img');
              far.src = 'https://evil.example/pixel';
              document.body.append(script, style, far);
            }"""
        )
        page.wait_for_function("() => (window.refused ?? []).length >= 3")
        assert set(page.evaluate("() => window.refused")) >= {"script-src-elem", "style-src-elem", "img-src"}
        assert page.evaluate("() => [window.stolen, getComputedStyle(document.body).visibility]") == [None, "visible"]
