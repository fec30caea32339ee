"""What people are told: chosen on a screen, obeyed by real receivers, and seen to have arrived or not."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Locator, Page, expect
from tests.control.people import acting, joined
from tests.control.receivers import Mailbox, Receiver, http_server, mail_server
from tests.web import axe
from tests.web.people import arrive, sign_in, undo

from millrace.control import activity, settings
from millrace.control.alerting import (
    alert_channels,
    alert_events,
    alert_outbox,
    alert_preferences,
    alert_routing,
    alerts,
)
from millrace.control.alerting.alert_events import Code, Event, Severity
from millrace.control.alerting.alert_wanted import Quiet, Wanted
from millrace.control.home import Home

USUAL = ("pipeline", "destination", "failed_events", "schema", "usage")


@pytest.fixture(scope="module")
def hook() -> Iterator[Receiver]:
    with http_server() as receiver:
        yield receiver


@pytest.fixture(scope="module")
def box() -> Iterator[Mailbox]:
    with mail_server() as found:
        yield found


@pytest.fixture
def told(home: Home, hook: Receiver, box: Mailbox) -> Iterator[Home]:
    """A home whose alerts go to a receiver and to the members of its team, both of this machine."""
    hook.received.clear()
    hook.answers.clear()
    box.mails.clear()
    box.recipients.clear()
    settings.change(home, allow_private_addresses=True)
    alert_channels.add(home, "pager", "webhook", {"url": f"{hook.url}/x"})
    mail = {"host": "127.0.0.1", "port": box.port, "security": "none", "sender": "millrace@example.com"}
    alert_channels.add(home, "post", "email", mail)
    yield home
    for one in ("pager", "post"):
        alert_channels.remove(home, one)


def happens(home: Home, code: Code, title: str, severity: Severity | None = None) -> None:
    """It happens, and whoever serves sends what is to be sent."""
    entity = activity.Entity("pipeline", None, title)
    with home.database.transaction() as connection:
        event = Event(code, entity, title, cause=title, severity=severity)
        alert_events.tell(connection, home.actor.team_id, event, at=home.database.now())
    alert_routing.route(home)
    alert_outbox.deliver(home)


def card(page: Page, name: str) -> Locator:
    return page.get_by_role("region", name=name, exact=True)


def test_without_a_channel_the_screen_leads_to_them(page: Page, home: Home) -> None:
    arrive(page, home, "/alerts/preferences", "first@example.com")
    expect(page.get_by_text("Nobody is told yet")).to_be_visible()
    page.get_by_role("link", name="Add a channel").click()
    expect(page.get_by_role("dialog")).to_contain_text("Where alerts of the team go")
    page.goto("/alerts/deliveries")
    expect(page.get_by_text("Nothing was sent yet")).to_be_visible()
    page.get_by_role("link", name="See who is told").click()
    expect(page).to_have_url(re.compile(r"/alerts/preferences$"))


def test_what_i_am_told_is_saved_at_once_and_taken_back(page: Page, told: Home, box: Mailbox) -> None:
    arrive(page, told, "/alerts", "mia@example.com")
    mia = acting(told, "mia@example.com")
    tabs = page.get_by_role("navigation", name="Screens of alerts")
    expect(tabs.locator("[aria-current=page]")).to_have_text("Alerts")
    tabs.get_by_role("link", name="What I am told").click()
    expect(tabs.locator("[aria-current=page]")).to_have_text("What I am told")
    expect(card(page, "pager")).to_be_visible()
    expect(card(page, "post")).to_have_count(0)  # it has no addresses but those of members
    mine = card(page, "Mail to me")
    schema = mine.get_by_role("checkbox", name="Schema")
    expect(schema).to_be_checked()
    expect(mine.get_by_role("checkbox", name="Every load")).not_to_be_checked()
    schema.focus()
    schema.press("Space")
    undo(page, "What you are told is saved")
    expect(schema).to_be_checked()
    assert alert_preferences.shown(mia) == Wanted()

    # Two at once: the second one does not undo the first, and what is taken back leaves the other.
    with page.expect_response(lambda answer: '"ERROR"' in (answer.request.post_data or "")):
        schema.click()
        mine.get_by_text("Error", exact=True).click()
    without = tuple(one for one in USUAL if one != "schema")
    assert alert_preferences.shown(mia) == Wanted(without, "ERROR")

    happens(told, "SCHEMA_CHANGED", "A column came", "CRITICAL")
    happens(told, "LATENCY_EXCEEDED", "It is late")
    happens(told, "SOURCE_FAILED", "The source is gone")
    got = [str(mail["subject"]) for mail, to in zip(box.mails, box.recipients, strict=True) if to == [mia.actor.name]]
    assert len(got) == 1 and "The source is gone" in got[0]


def test_quiet_hours_are_those_of_a_zone_and_what_cannot_be_is_told_with_its_cure(page: Page, told: Home) -> None:
    arrive(page, told, "/alerts/preferences", "noa@example.com")
    noa = acting(told, "noa@example.com")
    mine = card(page, "Mail to me")

    def saved(quiet: Quiet | None) -> None:
        page.wait_for_load_state("networkidle")
        assert alert_preferences.shown(noa).quiet == quiet

    with page.expect_response(lambda answer: answer.request.method == "PUT"):
        mine.get_by_role("switch", name="Quiet hours").click()
    zone = mine.get_by_label("time zone")
    here = zone.input_value()
    saved(Quiet("22:00", "07:00", here))
    zone.click()
    zone.fill("Berlin")
    with page.expect_response(lambda answer: answer.request.method == "PUT"):
        page.get_by_role("option", name="Europe/Berlin").click()
    saved(Quiet("22:00", "07:00", "Europe/Berlin"))
    until = mine.get_by_label("quiet to")
    until.fill("22:00")
    with page.expect_response(lambda answer: answer.request.method == "PUT"):
        until.press("Enter")
    expect(mine.get_by_role("alert")).to_contain_text("Quiet hours cannot begin and end at the same time")
    expect(until).to_be_focused()
    expect(until).to_have_value("07:00")
    saved(Quiet("22:00", "07:00", "Europe/Berlin"))
    until.fill("06:30")
    with page.expect_response(lambda answer: answer.request.method == "PUT"):
        until.blur()
    expect(mine.get_by_role("alert")).to_have_count(0)
    saved(Quiet("22:00", "06:30", "Europe/Berlin"))
    page.reload()
    expect(until).to_have_value("06:30")
    with page.expect_response(lambda answer: answer.request.method == "PUT"):
        mine.get_by_role("switch", name="Quiet hours").click()
    saved(None)


def test_what_the_team_is_told_is_for_those_to_choose_who_may(page: Page, told: Home, hook: Receiver) -> None:
    joined(told, "obi@example.com", "OBSERVER")
    post = alert_channels.find(told, "post").config
    alert_channels.change(told, "post", config={**post, "to": "ops@example.com, desk@example.com"})
    arrive(page, told, "/alerts/preferences", "tea@example.com")
    pager = card(page, "pager")
    expect(card(page, "post")).to_contain_text("mail to the addresses of the channel")
    pager.get_by_text("Critical", exact=True).click()
    expect(page.get_by_role("alert").filter(has_text="What pager tells is saved")).to_be_visible()
    happens(told, "SOURCE_FAILED", "Not so bad")
    happens(told, "LOG_EXPIRED", "As bad as can be")
    assert [one["title"] for one in hook.bodies()] == ["As bad as can be"]
    assert alert_channels.find(told, "pager").wanted == Wanted(least="CRITICAL")

    # Of others, whoever may change users: from the list of the team.
    page.goto("/team")
    page.get_by_role("button", name="Actions of obi@example.com").click()
    page.get_by_role("menuitem", name="What they are told").click()
    theirs = card(page, "Mail to obi@example.com")
    expect(pager).to_have_count(0)
    theirs.get_by_role("checkbox", name="Destinations").click()
    undo(page, "What obi@example.com is told is saved")
    assert alert_preferences.shown(told, "obi@example.com") == Wanted()

    page.context.clear_cookies()
    page.goto("/alerts/preferences")
    sign_in(page, "obi@example.com")
    expect(pager.get_by_role("checkbox", name="Schema")).to_be_disabled()
    expect(pager.get_by_role("radio", name="Critical")).to_be_checked()
    expect(pager.get_by_role("radio", name="Info")).to_be_disabled()
    expect(card(page, "Mail to me").get_by_role("checkbox", name="Schema")).to_be_enabled()
    page.goto("/alerts/preferences?of=tea@example.com")
    expect(card(page, "Mail to tea@example.com").get_by_role("checkbox", name="Schema")).to_be_disabled()


def test_deliveries_tell_what_arrived_and_why_not(page: Page, told: Home, hook: Receiver) -> None:
    alert_channels.change(told, "post", enabled=False)
    happens(told, "SOURCE_FAILED", "It arrives")
    hook.answers += [404]
    happens(told, "SOURCE_FAILED", "It is refused")
    hook.answers += [503]
    happens(told, "SOURCE_FAILED", "It is tried again")
    arrive(page, told, "/alerts/deliveries", "dee@example.com")
    rows = page.get_by_role("table", name="Deliveries").locator("tbody tr")
    for title, state, more in (
        ("It arrives", "Arrived", "pager"),
        ("It is refused", "Failed", "answered 404"),
        ("It is tried again", "Waits", "answered 503"),
    ):
        row = rows.filter(has_text=title)
        expect(row).to_contain_text(state)
        expect(row).to_contain_text(more)
        expect(row.locator("td").nth(3)).to_have_text("1")
    expect(rows.filter(has_text="It is tried again")).to_contain_text(re.compile(r"Next try\s*in "))

    page.get_by_role("radiogroup", name="Which deliveries").get_by_text("Failed", exact=True).click()
    expect(page).to_have_url(re.compile(r"/alerts/deliveries\?state=failed$"))
    expect(rows).to_have_count(1)
    expect(rows).to_contain_text("It is refused")
    assert [one.title for one in alerts.deliveries(told, state="failed").items] == ["It is refused"]
    page.get_by_role("button", name="Send again: It is refused").click()
    expect(page.get_by_text("1 message of the alert will be sent again.")).to_be_visible()
    expect(rows).to_have_count(0)
    alert_outbox.deliver(told)
    page.get_by_role("radiogroup", name="Which deliveries").get_by_text("Arrived", exact=True).click()
    expect(rows.filter(has_text="It is refused")).to_be_visible()

    page.goto("/alerts")
    page.get_by_role("link", name="Who was told: It arrives").click()
    expect(page).to_have_url(re.compile(r"/alerts/deliveries\?alert=\d+$"))
    expect(rows).to_have_count(1)
    page.get_by_role("button", name="Show all").click()
    expect(rows).to_have_count(3)

    hook.answers += [404]
    happens(told, "SOURCE_FAILED", "Nobody hears of it")
    alert_channels.change(told, "pager", enabled=False)
    page.goto("/alerts/deliveries?state=failed")
    expect(rows).to_have_count(1)
    expect(page.get_by_role("button", name="Send again")).to_have_count(0)
    page.goto("/alerts/deliveries?alert=none")
    expect(page.get_by_role("main").get_by_role("alert")).to_contain_text("alert")


def test_the_server_hands_out_deliveries_in_pages(page: Page, told: Home) -> None:
    alert_channels.change(told, "post", enabled=False)
    for number in range(51):
        happens(told, "SCHEMA_CHANGED", f"Column {number} came")
    arrive(page, told, "/alerts/deliveries?state=sent", "pat@example.com")
    rows = page.get_by_role("table", name="Deliveries").locator("tbody tr")
    expect(rows).to_have_count(50)
    expect(rows.first).to_contain_text("Column 50 came")
    page.get_by_role("button", name="Show more").click()
    expect(rows).to_have_count(51)
    expect(rows.last).to_contain_text("Column 0 came")


def test_both_are_for_everybody_and_on_a_phone(page: Page, told: Home, hook: Receiver) -> None:
    alert_channels.change(told, "pager", wanted=Wanted(quiet=Quiet("00:00", "00:01", "Europe/Berlin")))
    hook.answers += [404]
    happens(told, "LOG_EXPIRED", "The log of a database went on without us")
    arrive(page, told, "/alerts/deliveries", "axa@example.com")
    page.set_viewport_size({"width": 390, "height": 900})
    expect(page.get_by_role("table").get_by_text("To pager").first).to_be_visible()
    found: dict[str, list[str]] = {}
    for path, there in (
        ("/alerts/preferences", card(page, "pager")),
        ("/alerts/deliveries", page.get_by_role("table")),
    ):
        for scheme, width in (("light", 1440), ("dark", 390), ("dark", 1440), ("light", 390)):
            page.set_viewport_size({"width": width, "height": 900})
            page.emulate_media(color_scheme=scheme)
            page.goto(path)
            expect(there).to_be_visible()
            page.wait_for_function("() => document.getAnimations().every((one) => one.playState !== 'running')")
            found[f"{path} {scheme} {width}"] = axe.faults(page)
            beyond = "() => document.documentElement.scrollWidth > window.innerWidth"
            assert not page.evaluate(beyond), f"{path} is wider than {width}"
    page.set_viewport_size({"width": 1440, "height": 900})
    assert {where: faults for where, faults in found.items() if faults} == {}


def test_a_channel_is_changed_with_its_secrets_kept_and_written_as_yaml(page: Page, told: Home) -> None:
    arrive(page, told, "/alerts/channels", "eva@example.com")
    drawer = page.get_by_role("dialog", name="Channels")
    drawer.get_by_role("button", name="Actions of post").click()
    page.get_by_role("menuitem", name="Change its settings").click()
    form = drawer.get_by_role("form", name="Settings of post")
    form.get_by_role("textbox", name="Sender").fill("nobody")
    form.get_by_role("button", name="Save").click()
    expect(form).to_contain_text("is not an e-mail address")
    form.get_by_role("textbox", name="Sender").fill("other@example.com")
    form.get_by_role("button", name="Save").click()
    expect(form).to_have_count(0)
    assert alert_channels.find(told, "post").config["sender"] == "other@example.com"
    undo(page, "The settings of post are saved")
    assert alert_channels.find(told, "post").config["sender"] == "millrace@example.com"

    # A secret that is left empty stays; one that is another one does not come back by a click.
    before = alert_channels.find(told, "pager")
    drawer.get_by_role("button", name="Actions of pager").click()
    page.get_by_role("menuitem", name="Change its settings").click()
    form = drawer.get_by_role("form", name="Settings of pager")
    expect(form.get_by_role("textbox", name="URL")).to_have_value("")
    form.get_by_role("textbox", name="Secret").fill("for signatures")
    form.get_by_role("button", name="Save").click()
    said = page.get_by_role("alert").filter(has_text="The settings of pager are saved")
    expect(said).to_be_visible()
    expect(said.get_by_role("button", name="Undo")).to_have_count(0)
    now = alert_channels.find(told, "pager")
    assert (before.secrets, now.secrets) == (("url",), ("secret", "url"))
    # One that is of no use any more goes, if the channel can do without it.
    drawer.get_by_role("button", name="Actions of pager").click()
    page.get_by_role("menuitem", name="Change its settings").click()
    expect(form.get_by_role("button", name="Forget URL")).to_have_count(0)
    form.get_by_role("button", name="Forget Secret").click()
    expect(form.get_by_role("button", name="Keep Secret")).to_be_visible()
    form.get_by_role("button", name="Save").click()
    expect(form).to_have_count(0)
    assert alert_channels.find(told, "pager").secrets == ("url",)

    drawer.get_by_role("button", name="As YAML").click()
    written = page.get_by_role("dialog", name="Channels as YAML")
    expect(written).to_contain_text("url: ${PAGER_URL}")
    expect(written).to_contain_text("sender: millrace@example.com")
    expect(written).not_to_contain_text("pipelines:")
    assert axe.faults(page) == []
