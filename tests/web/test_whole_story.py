"""The whole way of a newcomer: from the first account to a pipeline whose every row is accounted for."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import duckdb
import pytest
from playwright.sync_api import Page, expect
from tests.control.people import PASSWORD
from tests.rest.conftest import work
from tests.web.people import write

from millrace.control import settings
from millrace.control.connecting import connections, preview
from millrace.control.home import Home
from millrace.control.observing.status import statuses
from millrace.control.people import invitations
from millrace.simulators.clevertap import Account, Settings, Simulator

ACCOUNT = Account(id="SIM-EU1-0001", passcode="right-passcode", events=("Charged", "App Launched"))
YESTERDAY = int((datetime.now(UTC) - timedelta(days=1)).timestamp())

SCRIPT = """\
def transform(event):
    p = event.getProperties()
    p["plan"] = p["event_props"]["plan"].upper()
    return event
"""
CURED = SCRIPT.replace('["plan"].upper()', '.get("plan", "none").upper()')


@pytest.fixture
def simulator(home: Home) -> Iterator[Simulator]:
    """A project of six events, all of yesterday. Users of the home may reach this machine."""
    settings.change(home, allow_private_addresses=True)
    with Simulator(Settings.plain(ACCOUNT, now=None, clock="real")) as simulator:
        simulator.add_events(
            ACCOUNT.id,
            [
                {
                    "event_name": name,
                    "objectId": f"device-{number}",
                    "epoch_s": YESTERDAY + number,
                    "event_props": {"plan": "gold", "amount": number},
                }
                for name in ("Charged", "App Launched")
                for number in range(3)
            ],
        )
        yield simulator


def test_from_the_first_account_to_a_pipeline_that_is_whole(page: Page, home: Home, simulator: Simulator) -> None:
    page.goto(f"/welcome#{invitations.first_link(home)}")
    page.get_by_label("E-mail address").fill("ann@example.com")
    page.get_by_label("Password").first.fill(PASSWORD)
    page.get_by_role("button", name="Create account").click()
    page.get_by_role("link", name="Create pipeline").click()

    _connect(page, simulator)
    _choose(page)
    expect(page).to_have_url("/pipelines/shop")
    work(home)
    expect(page.get_by_role("group", name="Balance")).to_contain_text("6 read=6 loaded")

    _transform(page)
    _fail(page, home, simulator)
    _cure(page)
    [found] = statuses(home, "shop")
    assert (found.rows_loaded, found.open_rejects) == (8, 0)
    rows = preview.query(home, "Warehouse", "SELECT plan, count(*) AS n FROM events GROUP BY plan ORDER BY plan")
    assert rows.to_pylist() == [{"plan": "NONE", "n": 1}, {"plan": "SILVER", "n": 1}, {"plan": None, "n": 6}]

    page.get_by_role("link", name="Reconcile").click()
    page.get_by_role("button", name="Compare counts").click()
    expect(page.get_by_text("8 at the source, 8 in the table: nothing is missing")).to_be_visible()

    # What somebody took out of the table is found, and read once more.
    with duckdb.connect(str(connections.find(home, "destination", "Warehouse").config["path"])) as warehouse:
        warehouse.execute("DELETE FROM events WHERE event_name = 'Charged' AND plan IS NULL")
    page.get_by_role("button", name="Compare counts").click()
    expect(page.get_by_text("8 at the source, 5 in the table: 3 not explained")).to_be_visible()
    page.get_by_role("button", name="Read these days again").click()
    expect(page.get_by_text("8 at the source, 8 in the table: nothing is missing")).to_be_visible()


def _connect(page: Page, simulator: Simulator) -> None:
    """The source: its settings, its file, a test that fails and one that passes; kept as a draft on the way."""
    page.get_by_role("textbox", name="Search sources").fill("clever")
    page.get_by_role("link", name="CleverTap").click()
    expect(page.get_by_role("complementary", name="Guide")).to_contain_text("Passcode", ignore_case=True)
    page.get_by_role("textbox", name="Name", exact=True).fill("shop")
    page.get_by_label("Project ID").fill(ACCOUNT.id)
    page.get_by_role("textbox", name="Passcode").fill("wrong-passcode")
    page.locator("input[type=file]").set_input_files(
        {
            "name": "events.csv",
            "mimeType": "text/csv",
            "buffer": b"Event name,Type\nCharged,Custom\nApp Launched,System\n",
        }
    )
    names = page.get_by_role("table", name="Names in the file")
    expect(names.get_by_role("row", name="App Launched")).to_contain_text("Will be read")
    # What its guide asks for is in sight, with the regions that are known.
    region = page.get_by_role("combobox", name="Region")
    region.click()
    expect(page.get_by_role("option")).to_have_text(["EU", "US", "India", "Singapore", "Indonesia", "UAE"])
    page.get_by_role("option", name="EU").click()
    expect(region).to_have_value("EU")
    expect(page.get_by_label("Timezone")).to_be_visible()
    page.get_by_role("button", name=re.compile("More settings")).click()
    page.get_by_label("Base URL").fill(simulator.url("eu1"))
    page.get_by_role("button", name="Test connection").click()
    expect(page.get_by_role("status", name="Findings of the test")).to_contain_text("does not work yet")

    # Left and gone on with: what was said is there, but for the secret, which no browser sees again.
    page.goto("/pipelines")
    expect(page.get_by_text("shop is a draft")).to_be_visible()
    page.get_by_role("link", name="Go on").click()
    expect(page.get_by_label("Project ID")).to_have_value(ACCOUNT.id)
    expect(page.get_by_label("Base URL")).to_be_visible()
    expect(page.get_by_label("Base URL")).to_have_value(simulator.url("eu1"))
    expect(page.get_by_role("textbox", name="Passcode")).to_have_value("")
    page.get_by_role("textbox", name="Passcode").fill(ACCOUNT.passcode)
    page.get_by_role("button", name="Test and go on").click()


def _choose(page: Page) -> None:
    """Objects, destination, shape and schedule; each step is kept."""
    expect(page.get_by_role("table", name="Objects of the source").get_by_role("row", name="Events")).to_be_visible()
    page.get_by_role("button", name="Go on with all").click()
    page.get_by_label("Path").first.fill("warehouse.duckdb")
    page.get_by_role("button", name="Test and save").click()
    expect(page.get_by_text("Choose a destination to go on.")).to_be_hidden()
    page.get_by_role("button", name="Go on", exact=True).click()
    expect(page.get_by_role("heading", name="When shall it run?")).to_be_visible()
    page.reload()
    page.get_by_role("combobox", name="It runs").click()
    page.get_by_role("option", name="Once a day").click()
    page.get_by_label("At (UTC)").fill("04:30")
    expect(page.get_by_role("heading", name="What you get")).to_be_visible()
    page.get_by_role("button", name="Create pipeline").click()


def _transform(page: Page) -> None:
    """A script, tried on a sample and deployed."""
    page.get_by_role("link", name="Transformations").click()
    result = page.get_by_role("region", name="Sample and result")
    write(page, "Script", SCRIPT)
    page.get_by_role("button", name="Test", exact=True).first.click()
    expect(result.get_by_role("row", name=re.compile("^added plan"))).to_contain_text("GOLD")
    page.get_by_role("button", name="Deploy").click()
    page.get_by_role("dialog").get_by_role("button", name="Deploy").click()
    expect(page.get_by_text("Version 1 is deployed,")).to_be_visible()


def _fail(page: Page, home: Home, simulator: Simulator) -> None:
    """Two new events, of which one cannot pass the script."""
    simulator.add_events(
        ACCOUNT.id,
        [
            {"event_name": "Charged", "objectId": "device-7", "event_props": {"plan": "silver"}},
            {"event_name": "Charged", "objectId": "device-8", "event_props": {}},
        ],
    )
    page.get_by_role("button", name="Run now").click()
    job = page.get_by_role("dialog")
    expect(job).to_contain_text("Waits for a worker")
    work(home)
    expect(job).to_contain_text("Completed, with failures")
    expect(page.get_by_role("status", name="Said")).to_contain_text("Completed, with failures")
    expect(job.get_by_role("group", name="Balance")).to_contain_text("1 failed")
    job.get_by_role("button", name="Close").click()


def _cure(page: Page) -> None:
    """Why it failed leads to the script; mended and deployed, the event is replayed."""
    page.get_by_role("navigation", name="Screens of shop").get_by_role("link", name="Failed events").click()
    page.get_by_role("link", name="The transformation raised an error").click()
    page.get_by_role("dialog").get_by_role("link", name="Open the transformation").click()
    result = page.get_by_role("region", name="Sample and result")
    expect(result).to_contain_text("Charged")
    write(page, "Script", CURED)
    page.get_by_role("button", name="Test", exact=True).first.click()
    expect(result.get_by_role("row", name=re.compile("^added plan"))).to_contain_text("NONE")
    page.get_by_role("button", name="Deploy").click()
    page.get_by_role("dialog").get_by_role("button", name="Deploy").click()
    expect(page.get_by_text("Version 2 is deployed,")).to_be_visible()
    page.get_by_role("navigation", name="Screens of shop").get_by_role("link", name="Failed events").click()
    page.get_by_role("link", name="The transformation raised an error").click()
    page.get_by_role("button", name="Replay all").click()
    expect(page.get_by_text("No failed events")).to_be_visible()
