"""Axe finds nothing serious on a screen of each shape, on a desk in light, and on a phone in dark.

`make screenshots` looks at all screens, on a desk in both schemes and on a phone in light.
"""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import quote

import pytest
from playwright.sync_api import Browser, Page
from tests.control.people import PASSWORD
from tests.web import axe
from tests.web.stocked import ADMIN, SHOP, Stocked

from millrace.control.pipeline import drafts
from millrace.data.batch import JSON

AT = f"/pipelines/{quote(SHOP)}"
SCREENS = (
    "/pipelines",
    AT,
    f"{AT}/jobs/1",
    f"{AT}/transformations",
    f"{AT}/mapper/Orders",
    f"{AT}/files",
    f"{AT}/settings",
    f"/failed-events/{quote(SHOP)}/Orders/steps/TRANSFORM_ERROR",
    "/destinations/warehouse",
    "/destinations/warehouse/settings",
    "/destinations/warehouse/workbench",
    "/pipelines/new",
    "/pipelines/new?type=clevertap",
    "/alerts/channels",
    "/alerts/preferences",
    "/alerts/deliveries",
    "/activity/1",
    "/security",
    "/settings",
)
WIDE, NARROW = {"width": 1440, "height": 900}, {"width": 390, "height": 844}


@pytest.fixture(scope="module")
def page(browser: Browser, stock: Stocked) -> Iterator[Page]:
    """One page for all: a screen is opened in the time in which a browser would only have begun."""
    context = browser.new_context(base_url=stock.url, reduced_motion="reduce", viewport=WIDE)
    context.request.post("/api/millrace/v1/session", data={"email": ADMIN, "password": PASSWORD})
    page = context.new_page()
    page.goto("/pipelines")
    yield page
    context.close()


@pytest.mark.parametrize("path", SCREENS)
def test_axe_finds_nothing_serious_and_a_phone_is_wide_enough(page: Page, path: str) -> None:
    page.set_viewport_size(WIDE)
    page.emulate_media(color_scheme="light")
    page.goto(path)
    page.locator("main :is(h1, h2, .card)").first.wait_for()
    page.wait_for_function("() => !document.querySelector('.mantine-Loader-root, .mantine-Skeleton-root')")
    found = {"light": axe.faults(page)}
    page.set_viewport_size(NARROW)
    page.emulate_media(color_scheme="dark")
    page.wait_for_function("() => document.documentElement.dataset.mantineColorScheme === 'dark'")
    page.wait_for_function("() => document.getAnimations().every((one) => one.playState !== 'running')")
    found["dark"] = axe.faults(page)
    assert found == {"light": [], "dark": []}
    assert page.evaluate("document.documentElement.scrollWidth") == NARROW["width"]


def test_axe_finds_nothing_serious_in_a_later_step_of_the_wizard_on_a_phone(page: Page, stock: Stocked) -> None:
    config: dict[str, JSON] = {"project_id": "AAA-BBB-CCCC", "passcode": "hunter2"}
    chosen: dict[str, JSON] = {"step": "schedule", "destination": "warehouse"}
    draft = drafts.save(stock.home, name="Next", source_type="clevertap", config=config, chosen=chosen)
    page.set_viewport_size(NARROW)
    page.goto(f"/pipelines/new/{draft.number}?step=schedule")
    page.get_by_role("heading", name="When shall it run?").wait_for()
    assert axe.faults(page) == []


# What is pressed to come to each dialog.
DIALOGS = (
    (AT, ("More actions", "As YAML")),
    (f"{AT}/objects", ("Actions of Orders", "Give it a schedule")),
    (f"{AT}/mapper/Orders", ("More for this mapping", "What happens to what is new")),
    (f"{AT}/mapper/Orders", ("Auto mapping: on",)),
)


@pytest.mark.parametrize(("path", "steps"), DIALOGS)
def test_axe_finds_nothing_serious_in_a_dialog(page: Page, path: str, steps: tuple[str, ...]) -> None:
    page.set_viewport_size(WIDE)
    page.goto(path)
    for step in steps:
        page.get_by_role("menuitem" if step != steps[0] else "button", name=step, exact=True).click()
    page.get_by_role("dialog").get_by_role("button").first.wait_for()
    page.wait_for_function("() => !document.querySelector('.mantine-Loader-root, .mantine-Skeleton-root')")
    found = {"wide": axe.faults(page)}
    page.set_viewport_size(NARROW)
    found["phone"] = axe.faults(page)
    assert found == {"wide": [], "phone": []}


def test_axe_finds_nothing_serious_before_one_has_signed_in(browser: Browser, stock: Stocked) -> None:
    with browser.new_context(base_url=stock.url, reduced_motion="reduce") as context:
        page = context.new_page()
        page.goto("/sign-in")
        page.get_by_label("Password").first.wait_for()
        assert axe.faults(page) == []
