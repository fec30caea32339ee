"""What the editor of scripts offers is what scripts have, and is there where somebody types."""

from __future__ import annotations

import re
from pathlib import Path

from playwright.sync_api import Page, expect
from tests.control.sources import Script
from tests.rest.conftest import script as script  # a fixture
from tests.web.people import arrive, write
from tests.web.shops import opened

from millrace.control.home import Home
from millrace.control.running import runs
from millrace.scripting.event import Event
from millrace.scripting.times import TimeUtils
from millrace.scripting.utils import Utils

SOURCE = Path(__file__).parents[2] / "web" / "src" / "screens" / "transformations" / "completions.ts"
KINDS = {f"is{kind}" for kind in ("String", "Number", "Boolean", "Date", "Time", "Timestamp")}
# What scripts are made with, and what those who wrote them do not call.
INNER = {"received", "is_as_given", "keys_set", "made", "number", "plain"}
# Other names of the same, for scripts that were written elsewhere.
OTHERS = {"getName", "setName", "setEventName", "getPrimaryKey", "setPrimaryKey"}


def _offered(name: str) -> set[str]:
    """The first words of the lines of that list."""
    [block] = re.findall(rf"const {name}: readonly Line\[\] = \[\n(.*?)\n\];", SOURCE.read_text("utf-8"), re.DOTALL)
    return set(re.findall(r"^  \[\s*'(\w+)'", block, re.MULTILINE))


def _has(class_: type) -> set[str]:
    return {name for name in dir(class_) if not name.startswith("_") and not name.isupper()} - INNER - OTHERS


def test_the_editor_offers_all_that_scripts_have_and_nothing_else():
    assert _offered("EVENT") | KINDS == _has(Event)
    assert _offered("UTILS") | KINDS == _has(Utils)
    assert _offered("TIMES") == _has(TimeUtils)


def test_a_script_is_completed_as_it_is_typed(page: Page, home: Home, script: Script, tmp_path: Path) -> None:
    script.pages = {"Orders": [[{"id": 1, "name": "row 1"}]]}
    opened(home, tmp_path, "shop")
    runs.run(home, "shop")
    arrive(page, home, "/pipelines/shop/transformations")
    write(page, "Script", "def transform(event):\n    return event")
    page.keyboard.type(".getPro")
    options = page.get_by_role("listbox", name="Completions").get_by_role("option")
    expect(options).to_have_count(1)
    expect(options).to_contain_text("getProperties")
    # Keys are not obeyed in the moment in which the list comes.
    options.click()
    expect(page.get_by_role("textbox", name="Script", exact=True)).to_contain_text("return event.getProperties()")
    page.keyboard.type("['na")
    expect(options.filter(has_text="name")).to_be_visible()
    page.keyboard.press("Escape")
