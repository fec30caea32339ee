"""People who sit before the screens of the tests."""

from __future__ import annotations

from playwright.sync_api import Page, expect
from tests.control.people import PASSWORD, joined

from millrace.control.home import Home


def sign_in(page: Page, email: str = "ann@example.com") -> None:
    """The page asks who is there; afterwards it goes on to where it was sent."""
    page.get_by_label("E-mail address").fill(email)
    page.get_by_label("Password").first.fill(PASSWORD)
    page.get_by_role("button", name="Sign in", exact=True).click()


def arrive(page: Page, home: Home, path: str, email: str = "ann@example.com", role: str = "TEAM_ADMIN") -> None:
    """Somebody of that role, new to the home, opens an address and signs in."""
    joined(home, email, role)
    page.goto(path)
    sign_in(page, email)


def write(page: Page, label: str, text: str) -> None:
    """A text in an editor, in place of what is there.

    Over a selection Chromium would keep the style of what was there, which the policy of the page refuses.
    """
    editor = page.get_by_role("textbox", name=label, exact=True)
    editor.press("Control+a")
    editor.press("Delete")
    page.keyboard.insert_text(text)


def undo(page: Page, said: str) -> None:
    """What was said of the change is there, and it is taken back; the server has answered when this returns."""
    back = page.get_by_role("alert").filter(has_text=said).get_by_role("button", name="Undo")
    expect(back).to_be_visible()
    with page.expect_response(lambda answer: answer.request.method != "GET" and answer.ok):
        back.click()
