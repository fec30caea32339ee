"""The values of a database beside those of its table: rows that differ are shown, and read once more."""

from __future__ import annotations

import re
from pathlib import Path

import duckdb
import pytest
from playwright.sync_api import Page, expect
from tests.postgres import Database
from tests.web.people import arrive

from millrace.control import settings
from millrace.control.connecting import connections
from millrace.control.home import Home
from millrace.control.pipeline import pipelines
from millrace.control.pipeline.pipelines import Wish
from millrace.control.running import runs


@pytest.fixture
def warehouse(home: Home, database: Database, tmp_path: Path) -> Path:
    """Where the rows of a pipeline from a database are, of which some differ from the source's."""
    path = tmp_path / "warehouse.duckdb"
    database.run(
        "CREATE TABLE orders (id int PRIMARY KEY, v text, n int)",
        "INSERT INTO orders SELECT g, 'v' || g, g FROM generate_series(1, 100) g",
    )
    connections.create(home, "source", "shop", "postgres", database.settings(ingestion_mode="table"))
    connections.create(home, "destination", "warehouse", "duckdb", {"path": str(path)})
    pipelines.create(home, Wish("Orders", "shop", "warehouse"))
    runs.run(home, "Orders")
    change(path, "UPDATE orders SET v = 'other', n = 0 WHERE id = 7", "DELETE FROM orders WHERE id BETWEEN 52 AND 54")
    return path


def change(path: Path, *statements: str) -> None:
    with duckdb.connect(str(path)) as connection:
        for statement in statements:
            connection.execute(statement)


def test_values_are_compared_and_rows_that_differ_are_read_once_more(page: Page, home: Home, warehouse: Path) -> None:
    del warehouse
    settings.change(home, allow_private_addresses=True)
    arrive(page, home, "/pipelines/Orders/reconcile?since=garbage&rows=garbage")
    # What the address says that is no choice is none.
    expect(page.get_by_label("Since")).to_have_value("")
    page.get_by_role("switch", name="Values too").check()
    with page.expect_request("**/reconcile") as asked:
        page.get_by_role("button", name="Compare values").click()
    assert asked.value.post_data_json == {"since": None, "only": [], "values": True}
    expect(page.get_by_text("100 rows compared value by value: 4 rows not alike.")).to_be_visible()
    unlike = page.get_by_role("table", name="Rows of public.orders that are not alike")
    expect(unlike.get_by_role("row").filter(has_text="Other values")).to_contain_text("v 1, n 1")
    expect(unlike.get_by_role("row").filter(has_text="Not in the table")).to_contain_text("52 … 54")
    expect(page.get_by_role("radio", name="Different")).to_be_checked()
    # What is chosen after it is for the next comparison; that of what is shown is read again.
    page.get_by_role("switch", name="Values too").uncheck()
    page.get_by_label("Since").fill("2024-02-29")
    expect(page).to_have_url(re.compile(r"reconcile\?since=2024-02-29&rows=garbage$"))
    with page.expect_request("**/reconcile-and-fix") as mended:
        page.get_by_role("button", name="Read these rows again").click()
    assert mended.value.post_data_json == asked.value.post_data_json
    expect(page.get_by_text("100 rows compared value by value: all alike. 4 rows read once more.")).to_be_visible()
    expect(page.get_by_role("button", name="Read these rows again")).to_have_count(0)
    expect(unlike).to_have_count(0)
    # The address has the say: without its choices there are none.
    page.get_by_role("link", name="Reconcile").click()
    expect(page.get_by_label("Since")).to_have_value("")
    with page.expect_request("**/reconcile") as asked:
        page.get_by_role("button", name="Compare counts").click()
    assert asked.value.post_data_json == {"since": None, "only": [], "values": False}
