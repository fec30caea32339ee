"""People of a team on the screens: second factors, forgotten passwords, roles, and what the team is called."""

from __future__ import annotations

import re
import time

from playwright.sync_api import Page, expect
from pyotp.totp import TOTP
from tests.control.people import joined
from tests.control.receivers import mail_server
from tests.web import axe
from tests.web.people import arrive, sign_in, undo

from millrace.control import settings
from millrace.control.alerting import alert_channels
from millrace.control.home import Home
from millrace.control.people import teams, users

PATIENCE_S = 60


def test_a_second_factor_is_scanned_used_and_taken_away_from_whoever_lost_it(page: Page, home: Home) -> None:
    arrive(page, home, "/security", "otto@example.com", "OBSERVER")
    part = page.locator(".card").filter(has=page.get_by_role("heading", name="Second factor", exact=True))
    part.get_by_role("button", name="Set it up").click()
    expect(part.get_by_role("img", name="QR code of the key")).to_be_visible()
    assert axe.faults(page) == []
    seed = part.locator("pre").inner_text().strip()
    part.get_by_label("Code that the app shows").fill(TOTP(seed).now())
    part.get_by_role("button", name="Turn it on").click()
    expect(part).to_contain_text("It is on")
    codes = part.locator("pre").inner_text().split()
    with page.expect_download() as saving:
        part.get_by_role("button", name="Save the recovery codes as a file").click()
    assert saving.value.path().read_text().split() == codes

    # Not the password alone: a code of the app, or one of those that were kept.
    page.get_by_role("button", name="Account of otto@example.com").click()
    page.get_by_role("menuitem", name="Sign out").click()
    sign_in(page, "otto@example.com")
    page.get_by_label("Code").fill("000000")
    page.get_by_role("button", name="Go on").click()
    expect(page.get_by_role("alert")).to_be_visible()
    page.get_by_label("Code").fill(codes[0])
    page.get_by_role("button", name="Go on").click()
    page.get_by_role("button", name="Account of otto@example.com").click()
    page.get_by_role("menuitem", name="Sign out").click()

    # Who lost both asks an administrator, who finds them by a part of their name.
    expect(page.get_by_label("E-mail address")).to_be_visible()
    arrive(page, home, "/team", "adele@example.com")
    people = page.get_by_role("table", name="People of the team")
    expect(people.get_by_role("row", name="adele@example.com")).to_be_visible()
    page.get_by_label("Search people").fill("otto")
    expect(people.get_by_role("row", name="adele@example.com")).to_have_count(0)
    page.get_by_role("button", name="Actions of otto@example.com").click()
    page.get_by_role("menuitem", name="Lost their second factor").click()
    page.get_by_role("dialog").get_by_role("button", name="Take it away").click()
    expect(people.get_by_role("row", name="otto@example.com")).to_contain_text("off")
    expect(page.get_by_role("alert").filter(has_text="The second factor of otto@example.com is off")).to_be_visible()
    assert not users.find(home, "otto@example.com").two_factor


def test_several_are_invited_at_once_each_with_a_link_or_the_reason_why_not(page: Page, home: Home, url: str) -> None:
    joined(home, "here@example.com", "OBSERVER")
    arrive(page, home, "/team", "ines@example.com")
    page.get_by_role("button", name="Invite people").click()
    asking = page.get_by_role("dialog", name="Invite people")
    asking.get_by_label("E-mail addresses").fill(
        "new@example.com, here@example.com\nwrong; NEW@example.com other@example.com"
    )
    asking.get_by_role("button", name="Make 4 invitation links").click()
    links = page.get_by_role("dialog", name="2 people of 4 invited")
    expect(links.get_by_role("alert").get_by_role("listitem")).to_have_count(2)
    expect(links.get_by_role("alert")).to_contain_text("There is a user here@example.com already")
    expect(links.get_by_role("alert")).to_contain_text("wrong")
    assert axe.faults(page) == []
    link = links.get_by_role("region", name="Link of new@example.com").locator("pre").inner_text()
    assert link.startswith(f"{url}/join#")
    other = links.get_by_role("region", name="Link of other@example.com").locator("pre").inner_text()
    assert other != link
    assert users.find(home, "other@example.com").status == "invited"
    links.get_by_role("button", name="Close").click()

    # One alone: what is wrong is said where it was typed.
    page.get_by_role("button", name="Invite people").click()
    asking.get_by_label("E-mail addresses").fill("here@example.com")
    asking.get_by_role("button", name="Make an invitation link").click()
    expect(asking.get_by_role("alert")).to_contain_text("There is a user here@example.com already")
    asking.get_by_label("E-mail addresses").fill("alone@example.com")
    asking.get_by_role("button", name="Make an invitation link").click()
    expect(page.get_by_role("dialog", name="A link for alone@example.com")).to_be_visible()


def test_roles_say_what_they_allow_and_the_team_has_another_name(page: Page, home: Home) -> None:
    joined(home, "rosa@example.com", "OBSERVER")
    arrive(page, home, "/team?search=rosa", "ada@example.com")
    page.get_by_role("button", name="Actions of rosa@example.com").click()
    page.get_by_role("menuitem", name="Change roles").click()
    roles = page.get_by_role("dialog", name="Roles of rosa@example.com")
    expect(roles).to_contain_text("Together: usage.view, view")
    roles.locator(".mantine-MultiSelect-input").click()
    expect(page.get_by_role("option", name="Pipeline collaborator")).to_contain_text("transformations.edit")
    page.keyboard.press("Escape")
    roles.get_by_role("button", name="Cancel").click()

    before = teams.own(home).name
    page.get_by_role("button", name="Rename the team").click()
    page.get_by_role("dialog").get_by_label("Name").fill("The data people")
    page.get_by_role("dialog").get_by_role("button", name="Rename").click()
    expect(page.get_by_role("alert").filter(has_text="The team is called The data people now")).to_be_visible()
    assert teams.own(home).name == "The data people"
    undo(page, "The team is called The data people now")
    assert teams.own(home).name == before


def test_whoever_forgot_their_password_has_a_link_mailed(page: Page, home: Home, url: str) -> None:
    joined(home, "fay@example.com", "OBSERVER")
    settings.change(home, public_url=url, allow_private_addresses=True)
    with mail_server() as box:
        config = {"host": "127.0.0.1", "port": box.port, "security": "none", "sender": "millrace@example.com"}
        alert_channels.add(home, "mail of the team", "email", config)
        page.goto("/sign-in")
        ask = page.get_by_role("button", name="Have a link mailed")
        expect(ask).to_be_disabled()
        page.get_by_label("E-mail address").fill("fay@example.com")
        ask.click()
        expect(page.get_by_role("status")).to_contain_text("If fay@example.com has an account here")
        until = time.monotonic() + PATIENCE_S
        while not box.mails:
            assert time.monotonic() < until
            time.sleep(0.05)
        alert_channels.remove(home, "mail of the team")
    link = re.search(r"https?://\S+#\S+", box.mails[-1].get_content())
    assert link is not None
    page.goto(link[0])
    page.get_by_label("Password").first.fill("Another-horse-8")
    page.get_by_role("button", name="Save password").click()
    expect(page.get_by_role("button", name="Account of fay@example.com")).to_be_visible()
