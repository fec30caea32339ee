"""Single sign-on by SAML in a real browser: it is set up on the screen, and somebody comes in from another site."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Browser, expect
from tests.control.people import PASSWORD
from tests.control.saml_identity import saml_provider
from tests.web.stocked import ADMIN, VIEWER, stocked

from millrace.control import settings
from millrace.control.people import single_sign_on

SAML = "/api/millrace/v1/session/single-sign-on/saml"


@pytest.mark.timeout(600)
def test_a_team_sets_it_up_and_somebody_comes_in_from_another_site(browser: Browser, tmp_path: Path) -> None:
    with (
        stocked(tmp_path) as stock,
        # By another name of this machine it is another site, of which no cookie that is lax comes with a form.
        saml_provider(lambda: httpx.get(f"{stock.url}{SAML}/metadata", trust_env=False).text, "localhost") as idp,
    ):
        settings.change(stock.home, allow_private_addresses=True, public_url=stock.url)
        with browser.new_context(base_url=stock.url, reduced_motion="reduce") as context:
            context.set_default_timeout(60_000)
            context.request.post("/api/millrace/v1/session", data={"email": ADMIN, "password": PASSWORD})
            page = context.new_page()
            page.goto("/security")
            page.get_by_text("SAML", exact=True).click()
            expect(page.get_by_text(f"{stock.url}{SAML}", exact=True)).to_be_visible()
            expect(page.get_by_text(f"{stock.url}{SAML}/metadata", exact=True)).to_be_visible()
            page.get_by_label("Metadata of your provider").fill("no XML")
            part = page.locator(".card", has=page.get_by_role("heading", name="Single sign-on"))
            part.get_by_role("button", name="Save").click()
            expect(part.get_by_text("this is not the metadata of a provider")).to_be_visible()
            page.get_by_label("Metadata of your provider").fill(idp.metadata())
            part.get_by_role("button", name="Save").click()
            expect(part.get_by_text(f"People sign in at {idp.entity_id}")).to_be_visible()
        found = single_sign_on.settings(stock.home)
        assert found is not None and (found.protocol, found.issuer) == ("saml", idp.entity_id)
        idp.email = VIEWER
        with browser.new_context(base_url=stock.url, reduced_motion="reduce") as context:
            context.set_default_timeout(60_000)
            page = context.new_page()
            sent: list[str] = []
            page.on("request", lambda request: sent.append(request.url) if request.method == "POST" else None)
            page.goto("/sign-in")
            page.get_by_label("E-mail address").fill(VIEWER)
            page.get_by_role("button", name="Sign in with your company account").click()
            page.get_by_role("button", name="Go on").click()
            expect(page).to_have_url(f"{stock.url}/pipelines")
            expect(page.get_by_role("row", name="Idle")).to_be_visible()
            # The form of the other site came without the cookie, that of our own page with it.
            assert [url for url in sent if url.endswith(SAML)] == [f"{stock.url}{SAML}"] * 2
            assert not [cookie for cookie in context.cookies() if "sign_on" in cookie.get("name", "")]
