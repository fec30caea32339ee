"""What becomes of the names in an events file, shown where the file is chosen, before anything is saved."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect
from tests.web import axe
from tests.web.people import arrive

from millrace.control import settings
from millrace.control.connecting import connections
from millrace.control.home import Home
from millrace.control.pipeline import pipelines
from millrace.control.pipeline.pipelines import Wish
from millrace.simulators.clevertap import Account, Settings, Simulator

WIZARD = "/pipelines/new?type=clevertap"
ODD = b"""Event name,Type,Status
Charged,Defined,Active
Notification Sent,Defined,Active
Charged,Defined,Active
Tutorial Complete,Defined,Active
tutorial complete,Undefined,Inactive
Old Banner Shown,Undefined,Discarded
"""


def choose(page: Page, content: bytes, name: str = "events.csv") -> None:
    page.locator("input[type=file]").set_input_files({"name": name, "mimeType": "text/csv", "buffer": content})


def test_each_name_is_shown_with_what_becomes_of_it(page: Page, home: Home) -> None:
    arrive(page, home, WIZARD)
    choose(page, ODD)
    names = page.get_by_role("table", name="Names in the file")
    rows = names.locator("tbody tr")
    expect(rows).to_have_count(6)
    for at, says in enumerate(
        (
            "ChargedWill be read",
            "Notification SentCannot be exportedCleverTap has it in its S3 export alone",
            "ChargedTwice in the fileread once, as in line 2",
            "Tutorial CompleteWill be readnot the same event as 'tutorial complete'",
            "tutorial completeWill be readnot the same event as 'Tutorial Complete'; inactive in CleverTap",
            "Old Banner ShownWill be readdiscarded in CleverTap",
        )
    ):
        expect(rows.nth(at)).to_have_text(says)
    expect(page.get_by_text("4 names will be read, 1 cannot be exported, 1 twice in the file")).to_be_visible()
    expect(page.get_by_text("use its S3 export and an S3 source: 'Notification Sent'")).to_be_visible()

    # What is not read, alone; and back.
    page.get_by_text("Not read", exact=True).click()
    expect(rows).to_have_count(2)
    expect(rows.first).to_contain_text("Notification Sent")
    page.get_by_text("All", exact=True).click()
    expect(rows).to_have_count(6)

    # Another file of the same name takes its place; what is no such file says why at once.
    choose(page, b"Event name\nPurchase\n")
    expect(rows).to_have_count(1)
    expect(page.get_by_text("1 name will be read", exact=True)).to_be_visible()
    expect(page.get_by_text("Not read", exact=True)).to_be_hidden()
    choose(page, b"<html>Sign in</html>", "signed-out.csv")
    expect(page.get_by_text("line 1 begins like a web page")).to_be_visible()
    expect(names).to_be_hidden()
    assert not connections.listed(home, "source")


@pytest.mark.parametrize(("scheme", "width"), [("light", 1440), ("dark", 1440), ("light", 390), ("dark", 390)])
def test_two_thousand_names_stay_in_a_small_table(page: Page, home: Home, scheme: str, width: int) -> None:
    page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
    page.set_viewport_size({"width": width, "height": 900})
    arrive(page, home, WIZARD, email=f"{scheme}-{width}@example.com")
    # All six that cannot be exported, and a name as long as one may be.
    six = ["Sent", "Bounce", "Viewed", "Control Group", "Rendered", "System Control Group"]
    lines = [f"Event {number:04}" for number in range(1993)] + ["x" * 512] + [f"Notification {one}" for one in six]
    choose(page, "\n".join(["Event name", *lines, "Event 0000"]).encode())
    names = page.get_by_role("table", name="Names in the file")
    expect(page.get_by_text("1,994 names will be read, 6 cannot be exported, 1 twice in the file")).to_be_visible()
    expect(names.get_by_role("row", name="Event 0000")).to_be_visible()
    scroll = page.get_by_role("region", name="Names in the file, scrolled")
    scroll.scroll_into_view_if_needed()
    box = scroll.bounding_box()
    assert box is not None and box["height"] <= 322
    # Only what is in sight is drawn, and the last is there when one gets to it.
    assert names.locator("tbody tr").count() < 60
    scroll.evaluate("element => element.scrollTo(0, element.scrollHeight)")
    expect(names.get_by_role("row", name="Event 0000")).to_contain_text("read once, as in line 2")
    expect(names.get_by_role("columnheader", name="What becomes of it")).to_be_in_viewport()
    # Each row has the height that was counted on, so that none jumps.
    tall = names.locator("tbody tr:not([aria-hidden])").evaluate_all("rows => rows.map(row => row.offsetHeight)")
    assert set(tall) <= {40, 41}, tall
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    assert axe.faults(page) == []
    page.get_by_text("Not read", exact=True).click()
    expect(names.locator("tbody tr")).to_have_count(7)


def test_the_names_are_there_again_in_the_settings_of_the_source(page: Page, home: Home) -> None:
    arrive(page, home, WIZARD, email="late@example.com")
    page.get_by_role("textbox", name="Name", exact=True).fill("kept")
    page.get_by_label("Project ID").fill("AAA-BBB-CCCC")
    page.get_by_role("textbox", name="Passcode").fill("hunter2")
    choose(page, ODD)
    names = page.get_by_role("table", name="Names in the file")
    expect(names.locator("tbody tr")).to_have_count(6)
    page.get_by_role("button", name="Keep and leave").click()
    page.get_by_role("link", name="Go on").click()
    expect(names.locator("tbody tr")).to_have_count(6)

    (stored,) = (home.path / "files").rglob("events.csv")
    config = {"project_id": "AAA-BBB-CCCC", "passcode": "hunter2", "events_file": str(stored)}
    connections.create(home, "source", "mine", "clevertap", config)
    outside = home.path / "outside.csv"
    outside.write_bytes(ODD)
    connections.create(home, "source", "operator's", "clevertap", config | {"events_file": str(outside)})
    connections.create(home, "destination", "w", "duckdb", {"path": str(home.path / "w.duckdb")})
    pipelines.create(home, Wish("mine", "mine", "w"))
    pipelines.create(home, Wish("theirs", "operator's", "w", table_prefix="t_"))
    page.goto("/pipelines/mine/settings")
    expect(names.locator("tbody tr")).to_have_count(6)
    # A file that somebody at the machine named is read, and not shown.
    with page.expect_response(lambda answer: answer.url.endswith("/names")) as answered:
        page.goto("/pipelines/theirs/settings")
    assert answered.value.status == 400
    expect(page.get_by_text("outside.csv")).to_be_visible()
    expect(names).to_be_hidden()
    expect(page.get_by_text("names a file of the server's machine")).to_be_hidden()


def test_names_of_the_schema_are_shown_when_somebody_wishes_it(page: Page, home: Home) -> None:
    settings.change(home, allow_private_addresses=True)
    account = Account(id="SIM-EU1-0001", passcode="demo-pass-eu", events=("Charged", "Search"), users=5, days=2)
    with Simulator(Settings.plain(account)) as simulator:
        arrive(page, home, WIZARD, email="schema@example.com")
        page.get_by_role("textbox", name="Name", exact=True).fill("by schema")
        page.get_by_label("Project ID").fill(account.id)
        page.get_by_role("textbox", name="Passcode").fill(account.passcode)
        choose(page, b"Event name\nCharged\nUnheard Of\n")
        expect(page.get_by_role("table", name="Names in the file").locator("tbody tr")).to_have_count(2)
        page.get_by_role("button", name="More settings").click()
        page.get_by_label("Base URL").fill(simulator.base_url)

        def source(which: str) -> None:
            page.get_by_role("combobox", name="Event source").click()
            page.get_by_role("option", name=which, exact=True).click()

        source("both")
        page.get_by_role("button", name="Show the names").click()
        rows = page.get_by_role("table", name="Names", exact=True).locator("tbody tr")
        expect(rows.nth(0)).to_have_text("ChargedBothWill be read")
        expect(rows.nth(1)).to_have_text("Unheard OfThe fileWill be read")
        expect(rows.nth(2)).to_contain_text("The schema")
        assert axe.faults(page) == []
        # They are those of the settings that were asked with.
        page.get_by_label("Project ID").fill("AAA-BBB-CCCC")
        expect(rows).to_have_count(0)
        page.get_by_label("Project ID").fill(account.id)
        # And of the file that there was then.
        page.get_by_role("button", name="Show the names").click()
        expect(rows.nth(1)).to_have_text("Unheard OfThe fileWill be read")
        choose(page, b"Event name\nCharged\n")
        expect(rows).to_have_count(0)

        # The draft keeps the passcode, and no file is asked for.
        page.get_by_role("button", name="Keep and leave").click()
        page.get_by_role("link", name="Go on").last.click()
        page.get_by_role("button", name="More settings").click()
        source("schema")
        page.get_by_role("button", name="Show the names").click()
        expect(rows.filter(has_text="Charged").first).to_have_text("ChargedThe schemaWill be read")
        expect(page.locator("label", has_text="Events file")).to_be_visible()
    page.goto(WIZARD)
    expect(page.locator("label", has_text="Events file")).to_be_visible()
    page.get_by_role("button", name="More settings").click()
    source("schema")
    expect(page.locator("label", has_text="Events file")).to_be_hidden()
    expect(page.get_by_role("button", name="Show the names")).to_be_visible()
