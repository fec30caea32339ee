"""The log of files: found, told apart, read again, skipped and taken in again."""

from __future__ import annotations

import csv
import gzip
import re
from pathlib import Path

from playwright.sync_api import Page, expect
from tests.control.file_notes import note, seen
from tests.rest.conftest import script as script  # a fixture
from tests.web.people import arrive, undo
from tests.web.shops import opened

from millrace.control.connecting import connections
from millrace.control.home import Home
from millrace.control.pipeline import file_log, pipelines
from millrace.control.pipeline.file_log import FileCounts
from millrace.control.pipeline.pipelines import Wish
from millrace.control.running import runs

CUT = "daily/cut, off.csv.gz"


def statuses(home: Home) -> dict[str, str]:
    return {one.path: one.status for one in file_log.files_of(home, "shop", limit=500).items}


def test_files_are_found_and_people_say_what_becomes_of_them(page: Page, home: Home, tmp_path: Path) -> None:
    opened(home, tmp_path, "shop")
    arrive(page, home, "/pipelines/shop/files")
    expect(page.get_by_text("No files yet")).to_be_visible()
    expect(page.get_by_role("button", name="Run now").last).to_be_visible()
    seen(home, "shop", *(note(f"daily/{n:03}.csv", "ingested", rows=n, rejected=n % 2) for n in range(150)))
    seen(home, "shop", note(CUT, "failed", error="The file ends in the middle of a row."), note("old.csv", "gone"))
    page.reload()
    files = page.get_by_role("table", name="Files")
    failed = files.get_by_role("row", name=CUT)
    expect(failed).to_contain_text("The file ends in the middle of a row.")
    expect(failed).to_contain_text("1.2 MB")
    # The rest is a page that is asked for.
    expect(files.get_by_role("row", name="daily/000.csv")).to_be_hidden()
    page.get_by_label("Search files").fill("/00")
    expect(page).to_have_url(re.compile(r"/files\?search=%2F00$"))
    expect(files.locator("tbody tr")).to_have_count(10)
    page.get_by_label("Search files").fill("")

    # What failed is one click away, at an address of its own, and read again.
    page.get_by_role("button", name="1 failed").click()
    expect(page).to_have_url(re.compile(r"/files\?status=failed$"))
    expect(files.locator("tbody tr")).to_have_count(1)
    page.get_by_role("checkbox", name=f"Choose {CUT}").check()
    chosen = page.get_by_role("region", name="Chosen files")
    expect(chosen.get_by_role("button", name="Take in again")).to_be_disabled()
    chosen.get_by_role("button", name="Read again").click()
    expect(page.get_by_text("1 file read again with the next run")).to_be_visible()
    expect(page.get_by_text("No file is like that")).to_be_visible()
    assert statuses(home)[CUT] == "queued"
    page.get_by_role("button", name="Show all").click()

    # Several are skipped, taken back, skipped, and taken in again.
    page.get_by_label("Search files").fill("daily/14")
    expect(files.locator("tbody tr")).to_have_count(10)
    page.get_by_role("checkbox", name="Choose all").check()
    chosen.get_by_role("button", name="Skip").click()
    expect(files.get_by_text("Skipped")).to_have_count(10)
    assert file_log.file_counts(home, "shop") == FileCounts(queued=1, ingested=140, skipped=10, gone=1)
    undo(page, "10 files skipped")
    expect(files.get_by_text("Skipped")).to_have_count(0)
    assert file_log.file_counts(home, "shop") == FileCounts(queued=1, ingested=150, gone=1)
    page.get_by_role("checkbox", name="Choose daily/145.csv").check()
    chosen.get_by_role("button", name="Skip").click()
    expect(files.get_by_role("row", name="daily/145.csv")).to_contain_text("Skipped")
    page.get_by_role("checkbox", name="Choose daily/145.csv").check()
    expect(chosen.get_by_role("button", name="Read again")).to_be_disabled()
    chosen.get_by_role("button", name="Take in again").click()
    expect(files.get_by_text("Skipped")).to_have_count(0)
    assert statuses(home)["daily/145.csv"] == "ingested"

    with page.expect_download() as downloading:
        page.get_by_role("link", name="As CSV").click()
    with downloading.value.path().open(newline="") as sheet:
        assert {row["path"]: row["status"] for row in csv.DictReader(sheet)} == statuses(home)


def test_only_a_pipeline_from_files_has_the_tab_and_its_form_asks_for_what_a_place_needs(
    page: Page, home: Home, tmp_path: Path
) -> None:
    (tmp_path / "in" / "orders").mkdir(parents=True)
    (tmp_path / "in" / "orders" / "a.csv").write_text("id\n1\n2\n")
    (tmp_path / "in" / "orders" / "b.csv.gz").write_bytes(gzip.compress(b"id\n" + b"3\n" * 99)[:20])
    opened(home, tmp_path, "no files", warehouse="of files")
    connections.create(home, "source", "folder", "files", {"url": str(tmp_path / "in")})
    pipelines.create(home, Wish("from files", "folder", "of files"))
    runs.run(home, "from files")
    arrive(page, home, "/pipelines/no%20files", "fay@example.com")
    expect(page.get_by_role("link", name="Failed events").last).to_be_visible()
    expect(page.get_by_role("link", name="File log")).to_have_count(0)
    page.goto("/pipelines/from%20files")
    expect(page.get_by_role("heading", name="from files")).to_contain_text("Needs a look")
    page.locator("main").get_by_text("1 file could not be read").get_by_role("link", name="See why").click()
    files = page.get_by_role("table", name="Files")
    expect(files.locator("tbody tr")).to_have_count(1)
    page.get_by_role("link", name="File log").click()
    expect(files.get_by_role("row", name="orders/a.csv")).to_contain_text("Read")
    expect(files.get_by_role("row", name="orders/b.csv.gz")).to_contain_text("Failed")

    page.goto("/pipelines/new?type=files")
    url = page.get_by_role("textbox", name="URL")
    url.fill("s3://bucket/orders")
    expect(page.get_by_label("Secret access key").first).to_be_visible()
    expect(page.get_by_label("SSH host key")).to_be_hidden()
    url.fill("sftp://me@files.example.com/orders")
    expect(page.get_by_label("SSH host key")).to_be_visible()
    # What is typed as it stands looks so, without the signs that say it.
    expect(page.locator("form code").get_by_text("ssh-keyscan", exact=True)).to_be_visible()
    expect(page.locator("form")).not_to_contain_text("`")
    expect(page.get_by_label("Secret access key")).to_have_count(0)

    # What is in the folder already is read too, and the next step says so.
    (tmp_path / "whole" / "orders").mkdir(parents=True)
    (tmp_path / "whole" / "orders" / "a.csv").write_text("id\n1\n2\n")
    page.get_by_role("textbox", name="Name").fill("more files")
    url.fill(str(tmp_path / "whole"))
    page.get_by_role("button", name="Test and go on").click()
    expect(page.get_by_role("table", name="Objects of the source")).to_contain_text("With the rest")


def test_who_may_only_look_changes_no_file(page: Page, home: Home, tmp_path: Path) -> None:
    opened(home, tmp_path, "looked at", warehouse="of onlookers")
    seen(home, "looked at", note("one.csv", "ingested", rows=3))
    arrive(page, home, "/pipelines/looked%20at/files", "obi@example.com", "OBSERVER")
    expect(page.get_by_role("row", name="one.csv")).to_be_visible()
    expect(page.get_by_role("checkbox")).to_have_count(0)
