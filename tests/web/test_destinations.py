"""A destination from the first word to the last: made, asked, charted, scheduled, renamed and removed."""

from __future__ import annotations

from pathlib import Path

from playwright.sync_api import Page, expect
from tests.control.sources import Script
from tests.rest.conftest import script as script  # a fixture
from tests.web.people import arrive, write
from tests.web.shops import opened

from millrace.control.connecting import connections
from millrace.control.home import Home
from millrace.control.running import jobs, runs

SQL = "SELECT name, id * 2 AS twice FROM orders ORDER BY id LIMIT 3"


def test_a_destination_is_made_scheduled_renamed_and_removed(page: Page, home: Home) -> None:
    arrive(page, home, "/destinations")
    page.get_by_role("link", name="New destination").first.click()
    page.get_by_role("textbox", name="Name", exact=True).fill("Lake")
    page.get_by_label("Path").first.fill("lake.duckdb")
    page.get_by_role("button", name="Test and save").click()
    expect(page).to_have_url("/destinations/Lake")
    expect(page.get_by_text("No tables yet")).to_be_visible()
    page.get_by_role("button", name="Test connection").click()
    expect(page.get_by_role("status", name="Findings of the test")).to_contain_text("The connection works")

    # A schedule of its own for loads, kept, and taken away again.
    page.get_by_role("link", name="Settings").last.click()
    page.get_by_role("combobox", name="Load", exact=True).click()
    page.get_by_role("option", name="By a schedule of its own").click()
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.get_by_role("button", name="Undo my changes")).to_be_hidden()
    page.reload()
    expect(page.get_by_role("combobox", name="Every")).to_have_value("hour")
    page.get_by_role("combobox", name="Load", exact=True).click()
    page.get_by_role("option", name="With every run").click()
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.get_by_role("button", name="Undo my changes")).to_be_hidden()
    assert connections.load_schedules(home) == {}

    # Other settings are saved and tested at once; what is wrong is told at its field.
    page.get_by_label("Path").first.fill("pond.duckdb")
    page.get_by_role("button", name="Save and test").click()
    expect(page.get_by_role("status", name="Findings of the test")).to_contain_text("The connection works")
    assert str(connections.find(home, "destination", "Lake").config["path"]).endswith("pond.duckdb")

    page.get_by_role("textbox", name="Name", exact=True).fill("Pond")
    page.get_by_role("button", name="Rename").click()
    expect(page).to_have_url("/destinations/Pond/settings")
    page.get_by_role("button", name="Remove Pond").click()
    page.get_by_role("dialog").get_by_role("textbox").fill("Pond")
    page.get_by_role("dialog").get_by_role("button", name="Remove").click()
    expect(page).to_have_url("/destinations")
    expect(page.get_by_text("No destinations yet")).to_be_visible()


def test_tables_are_asked_charted_and_taken_along(page: Page, home: Home, script: Script, tmp_path: Path) -> None:
    opened(home, tmp_path, "shop")
    runs.run(home, "shop")
    arrive(page, home, "/destinations/warehouse", "bob@example.com")
    tables = page.get_by_role("table", name="Tables")
    expect(tables.get_by_role("row", name="orders")).to_contain_text("10")
    page.get_by_role("textbox", name="Search tables").fill("ord")
    expect(tables.get_by_role("row", name="users")).to_be_hidden()
    tables.get_by_role("row", name="orders").get_by_role("link", name="Query").click()

    write(page, "SQL", SQL)
    page.keyboard.press("Control+Enter")
    result = page.get_by_role("table", name="Result")
    expect(result.get_by_role("row", name="row 2")).to_contain_text("4")
    with page.expect_download() as downloading:
        page.get_by_role("button", name="CSV").click()
    assert downloading.value.path().read_bytes() == b"name,twice\r\nrow 0,0\r\nrow 1,2\r\nrow 2,4\r\n"
    page.get_by_text("Chart", exact=True).click()
    expect(page.get_by_role("img", name="twice by name, 3 values")).to_be_visible()
    # What is wrong is told in the words of the destination, and nothing can be changed.
    write(page, "SQL", "DROP TABLE orders")
    page.get_by_role("button", name="Run", exact=True).click()
    expect(page.get_by_role("alert")).to_contain_text("read", ignore_case=True)
    expect(page.get_by_role("alert")).to_contain_text("Write one statement that reads, such as SELECT")

    # Pipelines stand in the way of removing it, and it says which.
    page.get_by_role("link", name="Settings").last.click()
    expect(page.get_by_text("1 pipeline loads into it: shop.")).to_be_visible()
    expect(page.get_by_role("button", name="Remove warehouse")).to_be_disabled()
    with page.expect_response("**/destinations/warehouse/load") as loading:
        page.get_by_role("button", name="Load now").click()
    assert [jobs.find(home, number).run.kind for number in loading.value.json()] == ["LOAD"]
