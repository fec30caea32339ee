"""The Schema Mapper: every change is looked at before it is made, and can be taken back."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pytest
from playwright.sync_api import Page, expect
from tests.control.sources import Script
from tests.rest.conftest import script as script  # a fixture
from tests.web.people import arrive
from tests.web.shops import opened

from millrace.control.connecting import preview
from millrace.control.failed import rejects
from millrace.control.failed.rejects import Choice
from millrace.control.home import Home
from millrace.control.mapper import mapping_document, mapping_views
from millrace.control.running import runs


@pytest.fixture
def shop(home: Home, script: Script, tmp_path: Path) -> str:
    """A pipeline that has run, of this test alone; beside its tables the warehouse has one of its owner, `kept`."""
    name = f"shop {home.database.now().timestamp()}"
    opened(home, tmp_path, name, warehouse=name)
    runs.run(home, name)
    with duckdb.connect(str(tmp_path / "w.duckdb")) as warehouse:
        warehouse.execute("CREATE TABLE kept (id BIGINT PRIMARY KEY, name VARCHAR, note VARCHAR)")
    return name


def _more(page: Page, item: str) -> None:
    page.get_by_role("button", name="More for this mapping").click()
    page.get_by_role("menuitem", name=item).click()


def _apply(page: Page, verb: str = "Apply") -> None:
    page.get_by_role("dialog").get_by_role("button", name=verb, exact=True).click()
    expect(page.get_by_role("dialog")).to_be_hidden()


def test_a_mapping_is_changed_compared_and_restored(page: Page, home: Home, script: Script, shop: str) -> None:
    arrive(page, home, f"/pipelines/{shop}/mapper")
    page.get_by_role("link", name="Orders").click()

    # A name, a type: one version, with the statements before it is made.
    page.get_by_role("textbox", name="Column of name").fill("title")
    expect(page.get_by_text("1 change, not made yet")).to_be_visible()
    page.get_by_role("button", name="Review and apply").click()
    expect(page.get_by_role("dialog")).to_contain_text("ALTER TABLE")
    page.get_by_role("dialog").get_by_label("Why").fill("as the books call it")
    _apply(page)
    expect(page.get_by_role("textbox", name="Column of name")).to_have_value("title")
    script.pages["Orders"].append([{"id": 70, "name": "more"}])
    runs.run(home, shop)
    assert "title" in preview.query(home, shop, "SELECT * FROM orders LIMIT 1").column_names

    # Versions: what differs, and the way back.
    page.get_by_role("link", name="Version 2").click()
    side = page.get_by_role("dialog")
    expect(side.get_by_role("button", name="Version 2")).to_contain_text("as the books call it")
    expect(side.get_by_role("region", name="What differs")).to_contain_text("title")
    side.get_by_role("button", name="Go back to version 1").click()
    page.get_by_role("dialog", name="Go back to version 1?").get_by_role("button", name="Go back to version 1").click()
    expect(side.get_by_role("button", name="Version 3")).to_be_visible()
    page.get_by_role("dialog", name="Versions of the mapping").get_by_role("button", name="Close").click()
    expect(page.get_by_role("textbox", name="Column of name")).to_have_value("name")

    # Who changed it: the lines of this event type alone, of all of the pipeline when wanted.
    _more(page, "Who changed it")
    log = page.get_by_role("table", name="Activity")
    expect(log.get_by_role("link", name="/Orders is at version")).to_have_count(2)
    expect(log.get_by_role("row")).to_have_count(3)
    page.get_by_role("button", name="Mapping of Orders: show all").click()
    expect(log.get_by_role("row", name="was created").first).to_be_visible()
    page.go_back()

    # Leaving with changes in mind is asked about.
    page.get_by_role("button", name="Actions for name").click()
    page.get_by_role("menuitem", name="Leave out").click()
    page.get_by_role("link", name="Event types").click()
    page.get_by_role("dialog").get_by_role("button", name="Keep").click()
    page.get_by_role("button", name="Undo all").click()

    # What happens to what is new.
    _more(page, "What happens to what is new")
    page.get_by_role("radio", name="My own choice").check()
    page.get_by_role("combobox", name="A field without a column").click()
    page.get_by_role("option", name="load the row without it").click()
    page.get_by_role("button", name="See what changes").click()
    _apply(page)
    expect(page.get_by_text("a field without a column: load the row without it")).to_be_visible()


def test_what_does_not_fit_or_has_no_column_is_cured_with_one_click(
    page: Page, home: Home, script: Script, shop: str
) -> None:
    def change(words: str) -> None:
        """One button of a warning, then the change as it is shown before it is made."""
        page.get_by_role("button", name=words, exact=True).click()
        page.get_by_role("button", name="Review and apply").click()
        _apply(page)

    # A type that somebody chose stays, so a value may not fit it.
    script.pages["Orders"].append([{"id": 80, "name": "dear", "amount": 1}])
    runs.run(home, shop)
    arrive(page, home, f"/pipelines/{shop}/mapper/Orders", "cora@example.com")
    page.get_by_role("combobox", name="Type of amount").fill("DOUBLE")
    page.get_by_role("button", name="Review and apply").click()
    _apply(page)
    script.pages["Orders"].append([{"id": 81, "name": "odd", "amount": "n/a"}])
    runs.run(home, shop)
    page.reload()
    tab = page.get_by_role("navigation", name=f"Screens of {shop}").get_by_role("link", name="Schema mapper")
    expect(tab).to_have_text("Schema mapper1 needs a look")
    page.get_by_text("Need a look 1").click()
    expect(page.get_by_text("amount brings VARCHAR")).to_be_visible()
    change("Let the type follow: amount")
    runs.run(home, shop)
    assert preview.query(home, shop, "SELECT id FROM orders WHERE amount = 'n/a'").to_pylist() == [{"id": 81}]

    page.reload()
    expect(page.get_by_text("Need a look 0")).to_be_visible()
    expect(tab).to_have_text("Schema mapper")

    # Without auto mapping a new field has no column, until somebody gives it one.
    page.get_by_role("button", name="Auto mapping: on").click()
    _apply(page)
    expect(page.get_by_role("button", name="Auto mapping: off")).to_be_visible()
    script.pages["Orders"].append([{"id": 82, "name": "red", "colour": "red"}])
    runs.run(home, shop)
    page.reload()
    expect(page.get_by_role("radio", name="Need a look 1")).to_be_checked()
    change("Give it a column: colour")
    expect(page.get_by_text("No field is like that")).to_be_visible()
    page.get_by_text("All 4").click()
    expect(page.get_by_role("textbox", name="Column of colour")).to_be_visible()
    script.pages["Orders"].append([{"id": 83, "name": "blue", "colour": "blue"}])
    runs.run(home, shop)
    assert preview.query(home, shop, "SELECT id FROM orders WHERE colour = 'blue'").to_pylist() == [{"id": 83}]
    page.get_by_role("button", name="Auto mapping: off").click()
    _apply(page)
    expect(page.get_by_role("button", name="Auto mapping: on")).to_be_visible()

    # The key of a table stays, which is said before; what was learned is forgotten, but the key.
    page.reload()
    page.get_by_role("button", name="Actions for name").click()
    page.get_by_role("menuitem", name="Make it part of the key").click()
    page.get_by_role("button", name="Review and apply").click()
    expect(page.get_by_role("dialog").get_by_role("alert")).to_contain_text("the key of a table stays")
    page.get_by_role("button", name="Keep it as it is").click()
    page.get_by_role("button", name="Undo all").click()
    _more(page, "Reset the mapping")
    _apply(page, "Reset")
    expect(page.get_by_role("textbox", name="Column of amount")).to_have_count(0)
    expect(page.get_by_role("textbox", name="Column of id", exact=True)).to_be_visible()


def test_an_event_type_is_mapped_elsewhere_unmapped_left_out_and_taken_in(
    page: Page, home: Home, script: Script, shop: str
) -> None:
    arrive(page, home, f"/pipelines/{shop}/mapper/Orders", "bob@example.com")

    # As text, for elsewhere: the one, or all of the pipeline.
    _more(page, "As YAML")
    written = page.get_by_role("dialog", name="The mapping of Orders as YAML")
    expect(written).to_contain_text("millrace mapping apply")
    expect(written.locator("pre")).to_have_text(mapping_document.export_yaml(home, shop, ["Orders"]).rstrip())
    written.get_by_role("button", name="Close").click()
    page.get_by_role("link", name="Event types").click()
    page.get_by_role("button", name="As YAML").click()
    expect(page.get_by_role("dialog").locator("pre")).to_have_text(mapping_document.export_yaml(home, shop).rstrip())
    page.get_by_role("dialog").get_by_role("button", name="Close").click()
    page.get_by_role("link", name="Orders", exact=True).click()

    # To a table that is there: fields go to the columns of their name, one is left out.
    _more(page, "Map to another table")
    page.get_by_role("dialog").get_by_label("Table").fill("kept")
    expect(page.get_by_role("dialog").get_by_role("status")).to_contain_text("kept is there, with 3 columns")
    page.get_by_role("dialog").get_by_label("Column of name").fill("note")
    page.get_by_role("button", name="See what changes").click()
    expect(page.get_by_role("dialog")).to_contain_text("kept")
    _apply(page)
    expect(page.get_by_text("Orders → kept")).to_be_visible()
    expect(page.get_by_role("textbox", name="Column of name")).to_have_value("note")

    # Without a table its rows wait; mapped again, they come by themselves.
    _more(page, "Unmap")
    expect(page.get_by_role("dialog")).to_contain_text("Auto mapping is switched off")
    _apply(page, "Unmap")
    expect(page.get_by_text("It has no table")).to_be_visible()
    tab = page.get_by_role("navigation", name=f"Screens of {shop}").get_by_role("link", name="Schema mapper")
    expect(tab).to_have_text("Schema mapper1 needs a look")
    tab.click()
    expect(page.get_by_role("link", name="Users", exact=True)).to_be_visible()
    page.get_by_role("combobox", name="Status").click()
    page.get_by_role("option", name="Needs a look").click()
    expect(page.get_by_role("link", name="Users", exact=True)).to_have_count(0)
    page.get_by_role("link", name="Orders", exact=True).click()
    script.pages["Orders"].append([{"id": 77, "name": "late"}])
    runs.run(home, shop)
    assert [one.rows for one in rejects.grouped(home, Choice(pipeline=shop))] == [1]
    page.get_by_role("button", name="Map to a table").click()
    page.get_by_role("dialog").get_by_label("Table").fill("kept")
    page.get_by_role("button", name="See what changes").click()
    _apply(page)
    runs.run(home, shop)
    assert preview.query(home, shop, "SELECT id FROM kept").column("id").to_pylist() == [77]

    # Several at once: what would change is said before.
    page.get_by_role("link", name="Event types").click()
    expect(page.get_by_role("checkbox", name="Choose Users")).to_be_visible()
    page.get_by_role("checkbox", name="Choose all").check()
    page.get_by_role("button", name="2 chosen").click()
    page.get_by_role("menuitem", name="Leave out").click()
    expect(page.get_by_role("dialog")).to_contain_text("2 mappings would change")
    _apply(page, "Leave out")
    expect(page.get_by_role("table", name="Event types").get_by_text("Left out")).to_have_count(2)
    assert {one.mapping_status for one in mapping_views.page(home, shop).items} == {"IGNORED"}

    # The table of one of them is deleted, with what was loaded; the mapping stays.
    page.get_by_role("link", name="Users").click()
    _more(page, "Delete the table")
    expect(page.get_by_role("dialog")).to_contain_text("DROP TABLE")
    _apply(page, "Delete the table")
    expect(page.get_by_text("Version 3", exact=False).first).to_be_visible()
