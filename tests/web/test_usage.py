"""What moved, and what of it counts: told of each bar and of each object where somebody rests on it."""

from __future__ import annotations

import re
from itertools import pairwise

from playwright.sync_api import Locator, Page, expect
from tests.web.conftest import Visit
from tests.web.stocked import SHOP

# Of the 20 rows of the first run one failed; those of a first run are history as a whole.
LOADED = "19"


def _said_of_the_last_bar(page: Page, chart: Locator) -> dict[str, str]:
    """What a chart says where the pointer rests on its right end, which is now: numbers by name."""
    box = chart.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + box["width"] - 20, box["y"] + box["height"] / 2)
    chart.get_by_text("Billable elsewhere").wait_for()
    told = [text for text in chart.locator("text").all_text_contents() if text.strip()]
    return dict(pairwise(told[told.index("Failed" if "Failed" in told else "Loaded") + 1 :]))


def test_a_bar_says_how_much_of_it_is_history_and_how_much_is_billable(visit: Visit) -> None:
    page = visit(f"/pipelines/{SHOP}")
    chart = page.get_by_role("img", name=re.compile(f"{LOADED} loaded.*{LOADED} of history, 0 billable elsewhere"))
    # They are said, and not drawn beside what was loaded.
    expect(chart.get_by_text("Failed")).to_be_visible()
    expect(chart.get_by_text("Of history")).to_have_count(0)
    said = {"Ingested": "19", "Loaded": LOADED, "Failed": "1", "Of history": LOADED, "Billable elsewhere": "0"}
    assert said.items() <= _said_of_the_last_bar(page, chart).items()
    del said["Failed"]
    page = visit("/usage")
    chart = page.get_by_role("img", name="Rows ingested and loaded, day by day")
    expect(chart.get_by_text("Loaded")).to_be_visible()
    assert said.items() <= _said_of_the_last_bar(page, chart).items()
    expect(page.get_by_role("table", name="Usage").get_by_role("row", name=SHOP)).to_contain_text(LOADED)


def test_an_object_says_what_was_loaded_of_it_lately_by_pointer_and_by_key(visit: Visit) -> None:
    page = visit(f"/pipelines/{SHOP}/objects")
    said = f"{LOADED} loaded: {LOADED} of history, 0 billable elsewhere"
    lately = page.get_by_role("row", name="Orders").get_by_role("img", name="last 24 hours")
    lately.hover()
    expect(page.get_by_role("tooltip", name=said)).to_be_visible()
    page.mouse.move(0, 0)
    expect(page.get_by_role("tooltip")).to_have_count(0)
    lately.locator("..").focus()
    expect(page.get_by_role("tooltip", name=said)).to_be_visible()
