"""What has an exact opposite is taken back with one click, and is seen before the server has answered."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path

import pytest
from playwright.sync_api import Page, Route, expect
from tests.control.people import joined
from tests.rest.conftest import script as script  # a fixture
from tests.web.people import arrive, undo
from tests.web.shops import opened

from millrace.control import activity, settings
from millrace.control.alerting import alert_channels, alert_events, alert_routing, alerts, lateness, unusual
from millrace.control.connecting import connections
from millrace.control.home import Home
from millrace.control.metering import usage_limits
from millrace.control.observing import overview
from millrace.control.people import users
from millrace.control.pipeline import drafts, pipelines


@pytest.fixture
def shop(page: Page, home: Home, tmp_path: Path, request: pytest.FixtureRequest) -> str:
    """A pipeline of a name of its own, whose settings are on the page."""
    name = f"{request.node.name[5:20]}"
    opened(home, tmp_path, name, warehouse=f"of {name}")
    settings.change(home, high_priority_percent=100)
    arrive(page, home, f"/pipelines/{name}/settings", f"{name}@example.com")
    expect(page.get_by_role("heading", name="Priority")).to_be_visible()
    return name


def test_when_a_pipeline_runs_and_how_urgent_it_is(page: Page, home: Home, shop: str) -> None:
    priority = page.get_by_role("radiogroup", name="Priority")
    priority.get_by_text("High").click()
    expect(priority.get_by_role("radio", name="High")).to_be_checked()
    undo(page, f"{shop} goes first now")
    expect(priority.get_by_role("radio", name="Normal")).to_be_checked()
    assert overview.page(home, search=shop).items[0].priority == "NORMAL"
    # Taking back is a change too.
    undo(page, f"{shop} stands with the others now")
    assert overview.page(home, search=shop).items[0].priority == "HIGH"

    page.get_by_role("combobox", name="It runs").click()
    page.get_by_role("option", name="Once a day").click()
    # Taken back before anybody has said what it was in between.
    asked: list[Route] = []
    everything = "**/api/millrace/v1/**"
    page.route(everything, lambda route: asked.append(route) if route.request.method == "GET" else route.continue_())
    page.get_by_role("button", name="Save schedule").click()
    undo(page, f"The schedule of {shop} is saved")
    expect(page.get_by_role("combobox", name="It runs")).to_have_value("On demand")
    page.unroute(everything)
    page.reload()
    expect(page.get_by_role("combobox", name="It runs")).to_have_value("On demand")
    assert pipelines.find(home, shop).schedule is None


def test_what_a_pipeline_is_called_and_whether_it_is_mapped_by_itself(page: Page, home: Home, shop: str) -> None:
    page.get_by_role("textbox", name="Name", exact=True).fill(f" {shop} 2 ")
    page.get_by_role("button", name="Rename").click()
    told = page.get_by_role("alert").filter(has_text=f"{shop} is called {shop} 2 now.")
    expect(told).to_be_visible()
    expect(page).to_have_url(f"/pipelines/{shop}%202/settings")
    expect(page.get_by_role("heading", level=1)).to_contain_text(f"{shop} 2")
    assert pipelines.find(home, f"{shop} 2").source == f"app of of {shop}"
    undo(page, f"{shop} is called {shop} 2 now.")
    expect(page).to_have_url(f"/pipelines/{shop}/settings")
    expect(page.get_by_role("textbox", name="Name", exact=True)).to_have_value(shop)

    # Also from its first screen, whose address ends with the name.
    page.get_by_role("textbox", name="Name", exact=True).fill(f"{shop} 3")
    page.get_by_role("button", name="Rename").click()
    page.get_by_role("navigation", name=f"Screens of {shop} 3").get_by_role("link", name="Overview").click()
    expect(page).to_have_url(f"/pipelines/{shop}%203")
    undo(page, f"{shop} is called {shop} 3 now.")
    expect(page).to_have_url(f"/pipelines/{shop}")
    page.get_by_role("navigation", name=f"Screens of {shop}").get_by_role("link", name="Settings").click()

    pipelines.create(home, replace(pipelines.find(home, shop).wish, name=f"{shop} too", table_prefix="too"))
    page.get_by_role("textbox", name="Name", exact=True).fill(f"{shop} too")
    page.get_by_role("button", name="Rename").click()
    expect(page.get_by_role("alert").filter(has_text="there is a pipeline")).to_be_visible()

    auto = page.get_by_role("switch", name="Auto mapping")
    expect(auto).to_be_checked()
    auto.click()
    undo(page, f"Auto mapping of {shop} is off from the next run on")
    expect(auto).to_be_checked()
    assert pipelines.find(home, shop).auto_mapping
    # The mapper has it too, and both are one.
    page.get_by_role("link", name="Schema mapper").click()
    auto.click()
    expect(page.get_by_role("alert").filter(has_text=f"Auto mapping of {shop} is off")).to_be_visible()
    assert not pipelines.find(home, shop).auto_mapping
    page.get_by_role("navigation", name=f"Screens of {shop}").get_by_role("link", name="Settings").click()
    expect(auto).not_to_be_checked()


def test_when_people_are_told(page: Page, home: Home, shop: str) -> None:
    minutes = page.get_by_label("Minutes")
    minutes.fill("90")
    page.get_by_role("button", name="Save", exact=True).click()
    undo(page, f"People are told when {shop} is 90 minutes late")
    expect(minutes).to_have_value("")
    assert lateness.of(home, shop) is None

    # What is not as usual: many more rows than that day of the week has, or none any more.
    page.get_by_label("Times the usual rows of a day").fill("3")
    page.get_by_label("Intervals without any row").fill("5")
    page.get_by_role("switch", name="Pause it too when a day brings too many").click()
    page.get_by_role("button", name="Save what is unusual").click()
    expect(page.get_by_role("alert").filter(has_text="People are told what is unusual")).to_be_visible()
    assert unusual.of(home, shop) == unusual.Unusual(times=3, pause=True, intervals=5)
    undo(page, f"People are told what is unusual for {shop}")
    expect(page.get_by_label("Intervals without any row")).to_have_value("")
    assert unusual.of(home, shop) == unusual.Unusual()

    expect(page.get_by_text("Loaded in the last 7 days: 0 · 14 days: 0 · 30 days: 0")).to_be_visible()
    usage_limits.limit_pipeline(home, shop, 9000, period="month")
    page.get_by_label("At most").fill("1000")
    page.get_by_role("button", name="Set limit").click()
    expect(page.get_by_text("Today 0 of 1,000 so far")).to_be_visible()
    page.get_by_role("button", name="No limit").click()
    expect(page.get_by_role("button", name="No limit")).to_be_hidden()
    # What is of a day, no more: the limit of the month stands.
    assert [(one.period, one.rows) for one in usage_limits.page(home).items] == [("month", 9000)]
    undo(page, f"{shop} has no limit now")
    limit = usage_limits.usual(home, shop).limit
    assert limit is not None
    assert (limit.rows, limit.period) == (1000, "day")


def test_what_holds_for_all_and_who_may_do_what(page: Page, home: Home, shop: str) -> None:
    page.goto("/settings")
    share = page.get_by_label("Pipelines that may have high priority")
    share.fill("40")
    page.get_by_role("button", name="Save settings").click()
    undo(page, "The settings are saved")
    expect(share).to_have_value("100%")

    joined(home, f"{shop}-2@example.com", "OBSERVER")
    page.goto("/team")
    page.get_by_role("button", name=f"Actions of {shop}-2@example.com").click()
    page.get_by_role("menuitem", name="Change roles").click()
    page.get_by_role("dialog").locator(".mantine-MultiSelect-input").click()
    page.get_by_role("option", name="Team admin").click()
    page.keyboard.press("Tab")  # what may be chosen lies over the button
    page.get_by_role("dialog").get_by_role("button", name="Save roles").click()
    undo(page, f"The roles of {shop}-2@example.com are saved")
    assert users.find(home, f"{shop}-2@example.com").roles == ("OBSERVER",)


def test_a_destination(page: Page, home: Home, shop: str) -> None:
    page.goto(f"/destinations/of%20{shop}/settings")
    page.get_by_role("textbox", name="Name", exact=True).fill(f"{shop} elsewhere")
    page.get_by_role("button", name="Rename").click()
    undo(page, f"of {shop} is called {shop} elsewhere now.")
    expect(page).to_have_url(f"/destinations/of%20{shop}/settings")
    expect(page.get_by_role("textbox", name="Name", exact=True)).to_have_value(f"of {shop}")

    before = connections.find(home, "destination", f"of {shop}").config
    page.get_by_label("Path").first.fill(f"{before['path']}2")
    page.get_by_role("button", name="Save and test").click()
    expect(page.get_by_role("status", name="Findings of the test")).to_be_visible()
    undo(page, f"The settings of of {shop} are saved.")
    assert connections.find(home, "destination", f"of {shop}").config == before


def test_a_slow_server_is_not_waited_for_and_one_that_refuses_is_believed(page: Page, home: Home, shop: str) -> None:
    held: list[Route] = []
    arrived = threading.Event()

    def hold(route: Route) -> None:
        # What becomes of the names of a source is asked by POST, and changes nothing.
        if route.request.method == "GET" or route.request.url.endswith("/names"):
            route.continue_()
        else:
            held.append(route)
            arrived.set()

    page.route("**/api/millrace/v1/**", hold)
    state = page.get_by_role("button", name="Pause", exact=True)
    state.focus()
    state.press("Enter")
    # Before any answer; and the focus stays where it was.
    expect(page.get_by_role("heading", name=shop)).to_contain_text("Paused")
    expect(page.get_by_role("button", name="Resume", exact=True)).to_be_focused()
    page.keyboard.press("Enter")  # not asked for as long as the first one is on its way
    assert [route.request.url.rpartition("/")[2] for route in held] == ["pause"]
    assert pipelines.find(home, shop).state == "ACTIVE"
    held.pop().fulfill(status=403, json={"error": {"code": "FORBIDDEN", "message": "you may not", "hint": "Ask."}})
    expect(page.get_by_role("heading", name=shop)).not_to_contain_text("Paused")
    expect(page.get_by_role("alert").filter(has_text="You may not")).to_be_visible()

    priority = page.get_by_role("radiogroup", name="Priority")
    priority.get_by_text("High").click()
    expect(priority.get_by_role("radio", name="High")).to_be_checked()
    while not held:
        page.wait_for_timeout(20)
    assert overview.page(home, search=shop).items[0].priority == "NORMAL"
    held.pop().continue_()
    expect(page.get_by_role("alert").filter(has_text=f"{shop} goes first now")).to_be_visible()


def test_what_has_no_opposite_is_asked_about(page: Page, home: Home, shop: str) -> None:

    drafts.save(home, name="half made", source_type="clevertap", config={"project_id": "AAA-BBB-CCCC"}, chosen={})
    alert_channels.add(home, "the pager", "webhook", {"url": "https://pager.example.com/hook"})
    page.goto("/pipelines")
    for act in ("Keep", "Give it up"):
        page.get_by_role("button", name="Give up half made").click()
        asked = page.get_by_role("dialog")
        expect(asked).to_contain_text("What was filled in is lost")
        asked.get_by_role("button", name=act).click()
        expect(asked).to_be_hidden()
        assert len(drafts.page(home).items) == (act == "Keep")
    page.goto("/alerts/channels")
    page.get_by_role("button", name="Actions of the pager").click()
    page.get_by_role("menuitem", name="Remove").click()
    page.get_by_role("dialog", name="Remove the pager?").get_by_role("button", name="Remove").click()
    expect(page.get_by_role("dialog", name="Remove the pager?")).to_be_hidden()
    assert alert_channels.listed(home) == []


def test_who_looks_after_an_alert(page: Page, home: Home, shop: str) -> None:
    entity = activity.Entity("pipeline", None, shop)
    with home.database.transaction() as connection:
        told = alert_events.Event("SOURCE_FAILED", entity, f"The source of {shop} is gone", cause=shop)
        alert_events.tell(connection, home.actor.team_id, told, at=home.database.now())
    alert_routing.route(home)
    page.goto("/alerts")
    row = page.get_by_role("table", name="Alerts").get_by_role("row", name=f"The source of {shop} is gone")
    row.get_by_role("button", name="Acknowledge").click()
    expect(row).to_have_count(0)
    [alert] = [one for one in alerts.page(home).items if one.entity.name == shop]
    assert alert.state == "ACKNOWLEDGED"
    undo(page, "You look after it")
    expect(row.get_by_role("button", name="Acknowledge")).to_be_visible()
    assert alerts.find(home, alert.id).state == "OPEN"
    # Once it is resolved, nothing offers to take back that somebody looks after it.
    looked = page.get_by_role("alert").filter(has_text="You look after it")
    row.get_by_role("button", name="Acknowledge").click()
    expect(looked).to_be_visible()
    page.get_by_role("radiogroup", name="Which alerts").get_by_text("Acknowledged").click()
    row.get_by_role("button", name="Resolve").click()
    over = page.get_by_role("alert").filter(has_text="It is over")
    expect(over).to_contain_text("whoever was told of it hears so")
    expect(looked).to_have_count(0)
    assert alerts.find(home, alert.id).state == "RESOLVED"


def test_what_is_over_meanwhile_is_said_to_be_over(page: Page, home: Home, shop: str) -> None:
    entity = activity.Entity("pipeline", None, shop)
    with home.database.transaction() as connection:
        told = alert_events.Event("SOURCE_FAILED", entity, f"The source of {shop} is gone", cause=shop)
        alert_events.tell(connection, home.actor.team_id, told, at=home.database.now())
    alert_routing.route(home)
    page.goto("/alerts")
    row = page.get_by_role("table", name="Alerts").get_by_role("row", name=f"The source of {shop} is gone")
    row.get_by_role("button", name="Acknowledge").click()
    [alert] = [one for one in alerts.page(home).items if one.entity.name == shop]
    said = page.get_by_role("alert")
    expect(said.filter(has_text="You look after it")).to_be_visible()
    alerts.resolve(home, alert.id)
    undo(page, "You look after it")
    expect(said.filter(has_text="It is over already")).to_be_visible()
    expect(said.get_by_role("button", name="Undo")).to_have_count(0)
    assert alerts.find(home, alert.id).state == "RESOLVED"
