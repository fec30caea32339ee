"""The ways of somebody who has never seen it: what is clicked and typed is counted, as a person does it."""

from __future__ import annotations

import re
from collections.abc import Generator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import quote

from playwright.sync_api import Page, expect
from tests.control.people import PASSWORD
from tests.web.people import write

from millrace.control import settings
from millrace.control.home import Home
from millrace.control.pipeline import simulation
from millrace.simulators.clevertap import Account, Settings, Simulator

# The pace of a person, in seconds.
CLICK_S, FIELD_S = 3, 10
PATIENCE_MS = 300_000
ACCOUNT = Account(id="SIM-EU1-0001", passcode="right-passcode", events=("Charged", "App Launched"))

EACH = 50
SCRIPT = """\
def transform(event):
    p = event.getProperties()
    p["customer"] = str(p.get("identity") or p.get("object_id") or "").upper()
    return event
"""


class Newcomer:
    """Does what a person does, and notes it: ``clicks``, and the ``fields`` that were typed, by what is on them."""

    def __init__(self, page: Page) -> None:
        page.set_default_timeout(PATIENCE_MS)
        self.page = page
        self.clicks: list[str] = []
        self.fields: list[str] = []

    @property
    def pace_s(self) -> int:
        """How long a person's hands take for it."""
        return CLICK_S * len(self.clicks) + FIELD_S * len(self.fields)

    def press(self, name: str, *, within: str = "body") -> None:
        self.page.locator(within).get_by_role("button", name=name, exact=True).first.click()
        self.clicks.append(name)

    def follow(self, name: str) -> None:
        self.page.get_by_role("link", name=name, exact=True).last.click()
        self.clicks.append(name)

    def type(self, label: str, text: str) -> None:
        self.page.get_by_label(label).first.fill(text)
        self.fields.append(label)

    # The ways.

    def begin(self, link: str) -> None:
        """The link that works once, and the first account."""
        self.page.goto(link)
        self.type("E-mail address", "ada@example.com")
        self.type("Password", PASSWORD)
        self.press("Create account")
        expect(self.page).to_have_url(re.compile("/start$"), timeout=PATIENCE_MS)

    def try_it(self) -> str:
        """A pipeline with simulated data; its address, once its first rows are loaded."""
        self.press("Try it")
        address = f"/pipelines/{quote(simulation.PIPELINE)}"
        self.page.wait_for_url(f"**{address}")
        self._loaded()
        return address

    def connect(self, simulator: Simulator) -> str:
        """A pipeline from one's own project by the wizard, with what it offers; its address, once rows are loaded."""
        self.follow("Create pipeline")
        self.page.get_by_role("link", name="CleverTap").click()
        self.clicks.append("CleverTap")
        self.page.get_by_role("textbox", name="Name", exact=True).fill("shop")
        self.page.get_by_role("textbox", name="Project ID").fill(ACCOUNT.id)
        self.page.get_by_role("textbox", name="Passcode").fill(ACCOUNT.passcode)
        self.page.locator("input[type=file]").set_input_files(
            {
                "name": "events.csv",
                "mimeType": "text/csv",
                "buffer": b"Event name,Type\nCharged,Custom\nApp Launched,System\n",
            }
        )
        self.fields += ["Name", "Project ID", "Passcode", "Events file"]
        # A project of one's own is where its region says; the simulator is not.
        self.page.get_by_role("button", name=re.compile("More settings")).click()
        self.page.get_by_label("Base URL").fill(simulator.url("eu1"))
        self.press("Test and go on")
        self.press("Go on with all")
        self.press("Test and save")
        self.press("Go on")
        self.press("Create pipeline")
        self.page.wait_for_url("**/pipelines/shop")
        self._loaded()
        return "/pipelines/shop"

    def _loaded(self) -> None:
        self.page.get_by_text("Completed", exact=True).first.wait_for()

    def transform(self) -> None:
        """A script, tried on a sample and deployed; what is new goes through it."""
        self.follow("Transformations")
        write(self.page, "Script", SCRIPT)
        self.fields.append("Script")
        self.press("Test")
        result = self.page.get_by_role("region", name="Sample and result")
        result.get_by_role("row", name=re.compile("customer")).first.wait_for()
        self.press("Deploy")
        self.press("Deploy", within="[role=dialog]")
        self.page.get_by_text("Version 1 is deployed,").first.wait_for()
        self.press("Run now")
        job = self.page.get_by_role("dialog")
        expect(job.get_by_text("Completed", exact=True).first).to_be_visible(timeout=PATIENCE_MS)


@contextmanager
def project(home: Path) -> Generator[Simulator]:
    """A project of two events that a new home may reach, though it is on this machine."""
    with Home.open(home, create=True, env={}) as opened:
        settings.change(opened, allow_private_addresses=True)
    with Simulator(Settings.plain(ACCOUNT, now=None, clock="real")) as simulator:
        happened(simulator, datetime.now(UTC) - timedelta(days=1))
        yield simulator


def happened(simulator: Simulator, at: datetime) -> None:
    """As many of each event, one a second."""
    simulator.add_events(
        ACCOUNT.id,
        [
            {
                "event_name": name,
                "objectId": f"device-{at:%d}-{number}",
                "epoch_s": int(at.timestamp()) + number,
                "event_props": {"plan": "gold"},
            }
            for name in ACCOUNT.events
            for number in range(EACH)
        ],
    )
