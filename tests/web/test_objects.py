"""What is done with pipelines, their jobs and their objects: done, seen, and taken back."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import sqlalchemy as sa
from playwright.sync_api import Locator, Page, expect
from tests.control.sources import Script
from tests.rest.conftest import script as script  # a fixture
from tests.rest.conftest import work
from tests.web.people import arrive
from tests.web.shops import opened

from millrace.connect.log import LOG
from millrace.control.connecting import connections
from millrace.control.database.tables import cursors
from millrace.control.home import Home
from millrace.control.observing.status import statuses
from millrace.control.pipeline import lifecycle, object_actions, objects, pipelines
from millrace.control.pipeline.pipelines import Mode, Wish
from millrace.control.running import jobs, runs
from millrace.control.transforming import transformations
from millrace.errors import MillraceError, Transient


def test_objects_are_paused_skipped_scheduled_and_read_again(
    page: Page, home: Home, script: Script, tmp_path: Path
) -> None:
    opened(home, tmp_path, "shop")
    runs.run(home, "shop")
    arrive(page, home, "/pipelines/shop/objects")

    def act(name: str, what: str) -> None:
        page.get_by_role("button", name=f"Actions of {name}").click()
        page.get_by_role("menuitem", name=what, exact=True).click()

    def row(name: str) -> Locator:
        return page.get_by_role("table", name="Objects").get_by_role("row", name=name)

    # What is done is seen in its row, which is what the server says.
    act("Orders", "Pause")
    expect(row("Orders")).to_contain_text("Paused")
    act("Orders", "Resume")
    expect(row("Orders")).not_to_contain_text("Paused")
    undo = page.get_by_role("alert").get_by_role("button", name="Undo")
    undo.last.click()
    expect(row("Orders")).to_contain_text("Paused")
    undo.last.click()
    expect(row("Orders")).not_to_contain_text("Paused")
    act("Users", "Skip")
    page.get_by_role("dialog").get_by_role("button", name="Skip").click()
    expect(row("Users")).to_contain_text("Skipped")
    act("Users", "Include")
    expect(row("Users")).not_to_contain_text("Skipped")
    assert {objects.find(home, "shop", name).state for name in ("Orders", "Users")} == {"ACTIVE"}
    work(home)

    # Where it is read from: an earlier position, or the beginning.
    act("Orders", "Change its position")
    position = page.get_by_role("dialog").get_by_role("textbox", name="Position")
    expect(position).to_have_value("2")
    position.fill("1")
    page.get_by_role("button", name="Read from there on").click()
    expect(page.get_by_role("dialog")).to_be_hidden()
    assert objects.find(home, "shop", "Orders").positions["incremental"] == 1
    script.read.clear()
    work(home)
    assert script.read == [("Orders", 1)]
    before = objects.find(home, "shop", "Orders").positions["incremental"]

    # From a time on, several at once: what was read by then stays read. Who cannot is told, and stays chosen.
    moment = f"{home.database.now():%Y-%m-%dT%H:%M:%S.%f}"[:-3]
    object_actions.change_position(home, "shop", "Orders", "incremental", 2)
    object_actions.change_position(home, "shop", "Users", "incremental", 1)
    object_actions.skip(home, "shop", "Users")
    page.reload()
    page.get_by_role("checkbox", name="Choose all").check()
    page.get_by_role("button", name="Read from a time on").click()
    since = page.get_by_role("dialog", name="Read 2 objects from a time on")
    since.get_by_label("Time, in UTC").fill(moment)
    since.get_by_role("button", name="Read from there on").click()
    refused = page.get_by_role("alert", name="Read from a time on: not done for 1 of 2 objects")
    expect(refused).to_contain_text("Object Users of shop is skipped")
    refused.get_by_role("button", name="Dismiss").click()
    assert {name: objects.find(home, "shop", name).positions["incremental"] for name in ("Orders", "Users")} == {
        "Orders": before,
        "Users": 1,
    }
    object_actions.include(home, "shop", "Users")
    while any(one.run.status == "QUEUED" for one in jobs.page(home, pipeline="shop").items):
        work(home)

    act("Orders", "Give it a schedule")
    page.get_by_role("dialog").get_by_role("combobox", name="It runs").click()
    page.get_by_role("option", name="Again and again").click()
    page.get_by_role("dialog").get_by_role("button", name="Save").click()
    expect(page.get_by_role("dialog")).to_be_hidden()
    assert objects.find(home, "shop", "Orders").schedule == {"every_s": 3600}

    act("Users", "Read again from its beginning")
    script.read.clear()
    page.get_by_role("dialog").get_by_role("button", name="Read again from its beginning").click()
    expect(page.get_by_role("dialog")).to_be_hidden()
    work(home)
    assert ("Users", 0) in script.read

    # Who did it is on record, with what was before and after.
    page.get_by_role("navigation", name="Screens of shop").get_by_role("link", name="Activity").click()
    page.get_by_role("link", name="Object Orders of shop has another schedule").click()
    differs = page.get_by_role("table", name="What differs")
    expect(differs.get_by_role("row", name="Every s")).to_contain_text("3600")
    page.get_by_role("dialog").get_by_role("button", name="Close").click()
    page.get_by_role("link", name="Only what ann@example.com did").first.click()
    expect(page).to_have_url("/pipelines/shop/activity?by=ann%40example.com")
    expect(page.get_by_role("link", name="Only what operator did")).to_have_count(0)


def test_a_position_from_which_appended_rows_may_come_again_is_asked_about(
    page: Page, home: Home, script: Script, tmp_path: Path
) -> None:
    opened(home, tmp_path, warehouse="archive")
    pipelines.create(home, Wish("kept", "app of archive", "archive", load_mode="append"))
    runs.run(home, "kept")
    arrive(page, home, "/pipelines/kept/objects", "kim@example.com")
    page.get_by_role("button", name="Actions of Orders").click()
    page.get_by_role("menuitem", name="Change its position", exact=True).click()
    asked = page.get_by_role("dialog")
    asked.get_by_role("textbox", name="Position").fill("1")
    twice = asked.get_by_role("checkbox", name="Rows that come again may stand there twice")
    expect(twice).to_be_hidden()
    asked.get_by_role("button", name="Read from there on").click()
    expect(asked.get_by_role("alert")).to_contain_text("Orders is appended")
    assert objects.find(home, "kept", "Orders").positions["incremental"] == 2
    twice.check()
    asked.get_by_role("button", name="Read from there on").click()
    expect(asked).to_be_hidden()
    assert objects.find(home, "kept", "Orders").positions["incremental"] == 1


def test_of_several_objects_it_is_asked_on_about_those_whose_rows_would_stand_twice(
    page: Page, home: Home, script: Script, tmp_path: Path
) -> None:
    opened(home, tmp_path, warehouse="mixed")
    modes: dict[str, Mode | None] = {"Orders": "append", "Users": "merge"}
    pipelines.create(home, Wish("mixed", "app of mixed", "mixed", objects=modes))
    runs.run(home, "mixed")
    arrive(page, home, "/pipelines/mixed/objects", "mia@example.com")
    page.get_by_role("checkbox", name="Choose all").check()
    page.get_by_role("button", name="Read from a time on").click()
    page.get_by_label("Time, in UTC").fill("2020-01-01T00:00:00")
    page.get_by_role("button", name="Read from there on").click()

    # What could be done is done, and is asked for no more.
    asked = page.get_by_role("dialog", name="Read Orders from a time on")
    expect(asked.get_by_role("alert")).to_contain_text("Orders is appended")
    positions = {name: objects.find(home, "mixed", name).positions for name in modes}
    assert [positions[name].get("incremental") for name in modes] == [2, None]
    asked.get_by_role("checkbox", name="Rows that come again may stand there twice").check()
    asked.get_by_role("button", name="Read from there on").click()
    expect(asked).to_be_hidden()
    assert objects.find(home, "mixed", "Orders").positions.get("incremental") is None
    expect(page.get_by_text("object chosen")).to_have_count(0)
    while any(one.run.status == "QUEUED" for one in jobs.page(home, pipeline="mixed").items):
        work(home)


def test_an_object_says_why_it_failed_what_it_read_and_its_failed_events_go_again(
    page: Page, home: Home, script: Script, tmp_path: Path
) -> None:
    opened(home, tmp_path, "why", warehouse="of why")
    transformations.deploy(home, "why", "python", FAILS_FOR_ONE)
    script.before[("Users", 1)] = _gone
    with suppress(MillraceError):
        runs.run(home, "why")
    arrive(page, home, "/pipelines/why/objects", "wim@example.com")
    table = page.get_by_role("table", name="Objects")
    expect(table.get_by_role("row", name="Users")).to_contain_text("The source does not answer", ignore_case=True)
    orders = table.get_by_role("row", name="Orders")
    expect(orders.get_by_role("img", name="rows ingested in the last 24 hours")).to_be_visible()

    # From the object to its failed events and its samples, and back.
    page.get_by_role("button", name="Actions of Orders").click()
    page.get_by_role("menuitem", name="Failed events", exact=True).click()
    expect(page).to_have_url("/pipelines/why/failed-events?search=Orders")
    expect(page.get_by_role("table", name="Groups of failed events").get_by_role("row", name="Orders")).to_be_visible()
    page.go_back()
    page.get_by_role("button", name="Actions of Orders").click()
    page.get_by_role("menuitem", name="Sample events").click()
    expect(page).to_have_url("/pipelines/why/transformations?object=Orders")
    page.go_back()

    # Several objects at once: what is cured goes again, and where nothing waits nothing is asked for.
    transformations.deploy(home, "why", "python", "def transform(event):\n    return event\n")
    page.get_by_role("checkbox", name="Choose all").check()
    page.get_by_role("button", name="Replay failed events").click()
    expect(page.get_by_role("alert").filter(has_text="on the way")).to_be_visible()
    [found] = statuses(home, "why")
    assert found.open_rejects == 0
    page.get_by_role("button", name="Give up failed events").click()
    page.get_by_role("dialog", name="Give failed events up?").get_by_role("button", name="Give up").click()
    expect(page.get_by_role("alert").filter(has_text="No failed events wait")).to_be_visible()


def test_failed_events_of_several_objects_that_are_given_up_are_counted_together(
    page: Page, home: Home, script: Script, tmp_path: Path
) -> None:
    opened(home, tmp_path, "given", warehouse="of given")
    transformations.deploy(home, "given", "python", FAILS_FOR_ONE)
    runs.run(home, "given")
    [found] = statuses(home, "given")
    assert found.open_rejects > 1
    arrive(page, home, "/pipelines/given/objects", "gia@example.com")
    page.get_by_role("checkbox", name="Choose all").check()
    page.get_by_role("button", name="Give up failed events").click()
    page.get_by_role("dialog", name="Give failed events up?").get_by_role("button", name="Give up").click()
    expect(page.get_by_role("alert").filter(has_text=f"{found.open_rejects} events given up")).to_be_visible()


FAILS_FOR_ONE = """\
def transform(event):
    event.getProperties()["part"] = 1 / (event.getProperties()["id"] - 3)
    return event
"""


def _gone() -> None:
    raise Transient("the source does not answer", hint="Try again later.")


def test_an_object_of_a_database_is_queried_in_another_way(
    page: Page, home: Home, script: Script, tmp_path: Path
) -> None:
    database = {"db_host": "db.example.com", "db_name": "shop", "db_user": "reader", "db_password": "invented"}
    connections.create(home, "source", "books", "postgres", database)
    connections.create(home, "destination", "of books", "duckdb", {"path": str(tmp_path / "w.duckdb")})
    pipelines.create(home, Wish("books", "books", "of books"))
    number = runs.run(home, "books").id
    arrive(page, home, "/pipelines/books/objects", "cora@example.com")
    page.get_by_role("button", name="Actions of Orders").click()
    page.get_by_role("menuitem", name="Change how it is queried").click()
    page.get_by_role("combobox", name="Query mode").click()
    expect(page.get_by_role("option")).to_have_count(5)
    page.get_by_role("option", name="By the time of the last change").click()
    ask = page.get_by_role("button", name="Query it so")
    expect(ask).to_be_disabled()
    page.get_by_label("Column with the time").fill("changed")
    ask.click()
    expect(page.get_by_role("dialog")).to_be_hidden()
    wanted = {"mode": "delta", "timestamp_column_name": "changed"}
    assert objects.find(home, "books", "Orders").query_mode == wanted

    # How far its log was read, where it follows one; what its system says of another place is told with its cure.
    expect(page.get_by_role("region", name="Log")).to_have_count(0)
    row = {
        "pipeline_id": pipelines.find(home, "books").id,
        "stream": LOG,
        "lane": "incremental",
        "cursor": {"position": {"lsn": "0/15D6A88"}},
        "committed_at": home.database.now(),
        "run_id": number,
    }
    with home.database.transaction() as connection:
        connection.execute(sa.insert(cursors).values(row))
    # What keeps it from being shown is told, and it is asked for again.
    asked = "**/pipelines/books/log-position"
    fault = {"error": {"code": "BUSY", "message": "the database is busy", "hint": "Wait a moment."}}
    page.route(asked, lambda route: route.fulfill(status=500, json=fault))
    page.reload()
    told = page.get_by_role("alert").filter(has_text="The database is busy")
    expect(told).to_contain_text("Wait a moment.")
    page.unroute(asked)
    told.get_by_role("button", name="Try again").click()
    log = page.get_by_role("region", name="Log")
    expect(log).to_contain_text("The log was read up to 0/15D6A88")
    log.get_by_role("button", name="Change its position").click()
    moving = page.get_by_role("dialog", name="Where the log is read from")
    moving.get_by_role("textbox", name="Position").fill("0/1")
    moving.get_by_role("button", name="Read from there on").click()
    expect(moving.get_by_role("alert")).to_contain_text("it follows no log of a database")
    moving.get_by_role("button", name="Keep it as it is").click()

    # Several at once.
    page.get_by_role("checkbox", name="Choose all").check()
    page.get_by_role("button", name="Change how they are queried").click()
    page.get_by_role("dialog", name="How 2 objects are queried").get_by_role("combobox", name="Query mode").click()
    page.get_by_role("option", name="The whole table each time").click()
    ask.click()
    expect(page.get_by_role("dialog")).to_be_hidden()
    kept = {name: objects.find(home, "books", name).query_mode for name in ("Orders", "Users")}
    assert kept == {name: {"mode": "full_load"} for name in kept}

    # Only those that are queried in one way, which is in the address.
    object_actions.set_query_mode(home, "books", "Users", wanted)
    page.reload()
    table = page.get_by_role("table", name="Objects")
    expect(table.get_by_role("row", name="Users")).to_contain_text("By the time of the last change (changed)")
    page.get_by_role("combobox", name="How they are queried").click()
    page.get_by_role("option", name="By the time of the last change").click()
    expect(page).to_have_url("/pipelines/books/objects?queried=delta")
    expect(table.get_by_role("row", name="Orders")).to_have_count(0)
    expect(table.get_by_role("row", name="Users")).to_be_visible()

    # One of several that does not allow it says why and stays chosen; the others are done.
    page.goto("/pipelines/books/objects")
    page.get_by_role("checkbox", name="Choose all").check()
    object_actions.skip(home, "books", "Users")
    page.get_by_role("button", name="Change how they are queried").click()
    page.get_by_role("dialog", name="How 2 objects are queried").get_by_role("combobox", name="Query mode").click()
    page.get_by_role("option", name="The best that its table allows").click()
    ask.click()
    expect(page.get_by_role("dialog")).to_be_hidden()
    refused = page.get_by_role("alert", name="Change how they are queried: not done for 1 of 2 objects")
    expect(refused).to_contain_text("Object Users of books is skipped")
    expect(page.get_by_text("1 object chosen")).to_be_visible()
    assert objects.find(home, "books", "Orders").query_mode == {"mode": "auto"}
    page.get_by_role("button", name="Pause", exact=True).last.click()
    paused = page.get_by_role("alert", name="Pause: not done for 1 of 1 object")
    expect(paused).to_contain_text("pause is not possible now. Possible: include.")
    paused.get_by_role("button", name="Dismiss").click()
    expect(paused).to_be_hidden()


def test_several_pipelines_are_paused_and_go_on_with_one_click(page: Page, home: Home, script: Script, tmp_path: Path):
    opened(home, tmp_path, "one", "two", warehouse="both")
    arrive(page, home, "/pipelines?destination=both", "bob@example.com")
    expect(page.get_by_role("checkbox", name="Choose two")).to_be_visible()
    page.get_by_role("checkbox", name="Choose all").check()
    page.get_by_role("button", name="Pause").click()
    paused = page.get_by_role("table", name="Pipelines").get_by_text("Paused", exact=True)
    expect(paused).to_have_count(2)
    assert {pipelines.find(home, name).state for name in ("one", "two")} == {"PAUSED"}
    page.get_by_role("alert").get_by_role("button", name="Undo").click()
    expect(paused).to_have_count(0)
    assert {pipelines.find(home, name).state for name in ("one", "two")} == {"ACTIVE"}

    # One that somebody paused meanwhile says so and stays chosen; the other one is paused, and alone goes on by Undo.
    page.get_by_role("checkbox", name="Choose all").check()
    lifecycle.pause(home, "two")
    page.get_by_role("region", name="Chosen pipelines").get_by_role("button", name="Pause").click()
    refused = page.get_by_role("alert", name="Pause: not done for 1 of 2 pipelines")
    expect(refused).to_contain_text("Pipeline two is paused")
    expect(page.get_by_role("region", name="Chosen pipelines")).to_contain_text("1 pipeline chosen")
    expect(page.get_by_role("checkbox", name="Choose two")).to_be_checked()
    page.get_by_role("alert").filter(has_text="1 pipeline paused").get_by_role("button", name="Undo").click()
    expect(paused).to_have_count(1)
    assert {name: pipelines.find(home, name).state for name in ("one", "two")} == {"one": "ACTIVE", "two": "PAUSED"}
    page.get_by_role("region", name="Chosen pipelines").get_by_role("button", name="Resume").click()
    expect(paused).to_have_count(0)
    expect(refused).to_be_hidden()

    # A job that waits is given up, and tried again.
    page.get_by_role("link", name="one", exact=True).click()
    page.get_by_role("button", name="Run now").click()
    job = page.get_by_role("dialog")
    job.get_by_role("button", name="Cancel").click()
    expect(job).to_contain_text("Cancelled")
    job.get_by_role("button", name="Try again").click()
    job.get_by_role("button", name="Close").click()
    # As long as both are not there, the one that waits may be the first, as it was.
    rows = page.get_by_role("table", name="Jobs").get_by_role("row")
    expect(rows.filter(has_text="Cancelled")).to_be_visible()
    expect(rows.filter(has_text="Waiting")).to_be_visible()
    # Jobs of other pipelines of this home may be in front of it.
    while any(one.run.status == "QUEUED" for one in jobs.page(home, pipeline="one").items):
        work(home)
    expect(rows.filter(has_text="Completed")).not_to_have_count(0)

    # A pipeline that was resumed by mistake: one click.
    page.get_by_role("button", name="Pause", exact=True).click()
    page.get_by_role("button", name="Resume", exact=True).click()
    page.get_by_role("alert").filter(has_text="by its schedule again").get_by_role("button", name="Undo").click()
    page.get_by_role("button", name="Resume", exact=True).click()
    expect(page.get_by_role("button", name="Pause", exact=True)).to_be_visible()

    # How its source is reached is changed where the pipeline is; the secret is kept.
    page.get_by_role("navigation", name="Screens of one").get_by_role("link", name="Settings").click()
    expect(page.get_by_role("textbox", name="Passcode")).to_have_value("")
    page.get_by_label("Project ID").fill("AAA-BBB-DDDD")
    page.get_by_role("button", name="Save and test").click()
    expect(page.get_by_role("button", name="Undo my changes")).to_be_hidden()
    assert connections.find(home, "source", "app of both").config["project_id"] == "AAA-BBB-DDDD"
