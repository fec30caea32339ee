"""From the link that a new server prints to the first screen."""

from __future__ import annotations

from playwright.sync_api import Page, expect
from tests.control.people import PASSWORD

from millrace.control.home import Home
from millrace.control.people import invitations


def test_the_first_administrator_comes_in_by_the_link_and_back_by_the_password(page: Page, home: Home) -> None:
    token = invitations.first_link(home)
    warned: list[str] = []
    page.on("console", lambda said: warned.append(said.text) if said.type == "warning" else None)
    page.goto(f"/welcome#{token}")
    page.get_by_label("E-mail address").fill("ada@example.com")
    page.get_by_label("Password").first.fill("short")
    expect(page.get_by_text("It still needs at least 8 characters")).to_be_visible()
    page.get_by_label("Password").first.fill(PASSWORD)
    page.get_by_role("button", name="Create account").click()
    expect(page).to_have_url("/start")
    assert warned == []
    page.goto("/pipelines")
    expect(page.get_by_text("No pipelines yet")).to_be_visible()

    page.get_by_role("button", name="Account of ada@example.com").click()
    page.get_by_role("menuitem", name="Sign out").click()
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()

    # Where one wanted to go is where one comes out; a wrong password is told in the words of the API.
    page.goto("/pipelines?search=abc")
    page.get_by_label("E-mail address").fill("ada@example.com")
    page.get_by_label("Password").first.fill("wrong")
    page.get_by_role("button", name="Sign in", exact=True).click()
    expect(page.get_by_role("alert")).to_contain_text("password")
    page.get_by_label("Password").first.fill(PASSWORD)
    page.get_by_role("button", name="Sign in", exact=True).click()
    expect(page).to_have_url("/pipelines?search=abc")
