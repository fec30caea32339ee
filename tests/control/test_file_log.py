"""The log of files: what runs say of them, what people want of them, and when both are forgotten."""

from __future__ import annotations

import csv
import io
import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from tests.control.conftest import Desk, commit

from millrace.connect.files import wishes
from millrace.control import activity
from millrace.control.books import file_notes, leases, retention
from millrace.control.home import Home
from millrace.control.pipeline import file_log, lifecycle, positions
from millrace.control.pipeline.file_log import FileCounts, FileEntry
from millrace.data.batch import FileNote, Mark, Segment
from millrace.engine.stage import Stage
from millrace.errors import ConfigError, MillraceError

Make = Callable[..., Segment]
AT = 1_700_000_000_000
AT_DATE = datetime.fromtimestamp(AT / 1000, UTC)
LONG = "daily/" + "é\ud800" * 2000 + ".csv"


def note(path: str = "a.csv", status: str = "queued", **more: object) -> FileNote:
    return replace(FileNote("Events", path, 10, AT, "v1", "queued", AT), status=status, **more)


def files(home: Home, **more: object) -> dict[str, FileEntry]:
    return {one.path: one for one in file_log.files_of(home, "events", **more).items}


def keep(desk: Desk, *notes: FileNote, marks: tuple[Mark, ...] = ()) -> int:
    books, run = desk.books()
    books.commit(commit(files=notes, marks=marks))
    return run


def release() -> None:
    leases._ours.clear()


def test_a_file_is_followed_from_its_listing_to_its_end(home: Home, saved: Desk) -> None:
    keep(saved, note(), note("b.csv"), note(LONG))
    assert {one.status for one in files(home).values()} == {"queued"}
    assert files(home)[LONG].path == LONG
    run = keep(
        saved,
        note(status="ingesting", at_ms=AT + 1),
        note(status="ingesting", rows=5, at_ms=AT + 2),
        note(status="ingested", rows=9, rejected=1, at_ms=AT + 3),
        note("b.csv", "ingesting"),
        note("b.csv", "failed", error="it is cut off"),
    )
    one = files(home)["a.csv"]
    assert (one.status, one.rows, one.rejected, one.attempts, one.run) == ("ingested", 9, 1, 1, run)
    assert one.first_seen_at == AT_DATE
    assert one.started_at == AT_DATE + timedelta(milliseconds=1)
    assert one.ended_at == AT_DATE + timedelta(milliseconds=3)
    assert (files(home)["b.csv"].status, files(home)["b.csv"].error) == ("failed", "it is cut off")
    # It changed, and the next run reads it again.
    keep(saved, note(version="v2", size_bytes=11), note(status="ingesting", version="v2"), note("b.csv", "gone"))
    one = files(home)["a.csv"]
    assert (one.status, one.attempts, one.rows, one.ended_at, one.version) == ("ingesting", 2, 0, None, "v2")
    assert files(home)["b.csv"].gone_at == AT_DATE
    # A run that was killed left it so; the next one begins its reading once more.
    keep(saved, note(status="ingesting", version="v2"))
    assert files(home)["a.csv"].attempts == 3
    assert file_log.file_counts(home, "events") == FileCounts(queued=1, ingesting=1, gone=1)
    assert file_log.file_counts(home, "events", stream="other") == FileCounts()


def test_a_commit_that_fails_says_nothing_of_files(home: Home, saved: Desk, segment: Make) -> None:
    books, _ = saved.books()
    with pytest.raises(MillraceError, match="rows were read"):
        books.commit(commit(files=[note()], segments=[segment(rows=3)], read=1))
    assert files(home) == {}


def test_a_list_is_searched_and_cut_into_pages(home: Home, saved: Desk) -> None:
    keep(saved, *(note(f"Daily/{number:04}.csv") for number in range(1200)), note("100%_é.csv", "ingesting"))
    page = file_log.files_of(home, "events", limit=700)
    rest = file_log.files_of(home, "events", limit=700, cursor=page.next)
    assert len(page.items) == 700 and rest.next is None
    found = [one.path for one in (*page.items, *rest.items)]
    assert len(found) == 1201 == len({*found})
    assert found[0] == "100%_é.csv"
    assert [*files(home, search="daily/0007")] == ["Daily/0007.csv"]
    assert [*files(home, search="100%_É")] in ([], ["100%_é.csv"])
    assert [*files(home, search="0%_é")] == ["100%_é.csv"]
    assert [*files(home, status="ingesting")] == ["100%_é.csv"]
    assert [*files(home, stream="Other")] == []
    assert len(files(home, since=home.database.now() - timedelta(hours=1))) == 50
    assert files(home, since=home.database.now() + timedelta(hours=1)) == {}
    for wrong, code in (
        ({"status": "eaten"}, "bad_status"),
        ({"cursor": "x"}, "bad_cursor"),
        ({"limit": 0}, "bad_limit"),
    ):
        with pytest.raises(ConfigError) as error:
            files(home, **wrong)
        assert error.value.code == code


def test_people_have_files_skipped_and_read_again(home: Home, saved: Desk) -> None:
    keep(saved, note(status="ingesting"), note(status="ingested", rows=3), note("b.csv"), note("c.csv", "gone"))
    (one,) = file_log.skip_files(home, "events", ["a.csv"])
    assert one.status == "skipped"
    file_log.skip_files(home, "events", ["a.csv"])
    assert [*files(home, status="skipped")] == ["a.csv"] and [*files(home, status="ingested")] == []
    assert file_log.file_counts(home, "events") == FileCounts(queued=1, skipped=1, gone=1)
    books, _ = saved.books()
    said = wishes.wishes(books.memory("Events").parts())
    assert said.skipped == {wishes.digest("a.csv")} and said.again == {}
    for path in ("a.csv", "c.csv"):
        with pytest.raises(ConfigError) as error:
            file_log.read_again(home, "events", ["b.csv", path])
        assert error.value.code == "wrong_state"
    assert books.memory("Events").parts() == [wishes.skip("a.csv")]
    with pytest.raises(ConfigError) as error:
        file_log.skip_files(home, "events", ["b.csv", "nowhere.csv"])
    assert error.value.code == "unknown_file" and files(home)["b.csv"].status == "queued"
    (one,) = file_log.unskip_files(home, "events", ["a.csv"])
    assert one.status == "ingested"
    for _ in range(2):
        (one,) = file_log.read_again(home, "events", ["a.csv"])
        assert one.status == "queued"
    said = wishes.wishes(books.memory("Events").parts())
    assert said.skipped == frozenset() and len(said.again[wishes.digest("a.csv")]) == 2
    lines = activity.listed(home, entity="file").items
    assert [line.action for line in lines] == ["read_again", "read_again", "unskip", "skip", "skip"]
    assert lines[0].message == "a.csv of events is to be read again"


def test_what_people_want_while_a_run_writes_to_the_log_is_kept(
    home: Home, saved: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep(saved, note(status="ingesting"), note(status="ingested", rows=3))
    real = file_notes.upsert
    threads: list[threading.Thread] = []

    def meanwhile(*rows: Any, **more: Any) -> None:
        if not threads:
            threads.append(threading.Thread(target=file_log.skip_files, args=(home, "events", ["a.csv"])))
            threads[0].start()
            threads[0].join(0.5)
        real(*rows, **more)

    monkeypatch.setattr(file_notes, "upsert", meanwhile)
    keep(saved, note(status="ingesting"), note(status="ingested", rows=4))
    threads[0].join(30)
    assert (files(home)["a.csv"].status, files(home)["a.csv"].rows) == ("skipped", 4)
    (one,) = file_log.unskip_files(home, "events", ["a.csv"])
    assert one.status == "ingested"


def test_a_stream_that_forgets_what_it_read_keeps_what_people_want(home: Home, saved: Desk) -> None:
    read = Mark("files", b"read")
    for forget in (
        lambda: saved.books()[0].restart("Events", lanes=["incremental"], marks=True, fresh=None),
        lambda: saved.books()[0].drop_everything(),
        lambda: positions.put(home, "events", "Events", "incremental", None),
    ):
        keep(saved, note(status="ingesting"), note(status="ingested", rows=3), note("b.csv"), marks=(read,))
        file_log.skip_files(home, "events", ["a.csv"])
        release()
        with home.database.transaction() as connection:
            connection.exec_driver_sql(f"DELETE FROM {'' if home.database.is_sqlite else 'millrace.'}leases")
        forget()
        assert [(one.path, one.status, one.rows) for one in files(home).values()] == [("a.csv", "skipped", 0)]
        books, _ = saved.books()
        assert books.memory("Events").parts() == [wishes.skip("a.csv")]
        file_log.unskip_files(home, "events", ["a.csv"])
        assert files(home)["a.csv"].status == "queued"


def test_the_log_is_exported_as_csv_that_no_spreadsheet_takes_for_formulas(home: Home, saved: Desk) -> None:
    keep(saved, note("=cmd.csv"), *(note(f"{number}.csv") for number in range(1100)))
    rows = list(csv.DictReader(io.StringIO("".join(file_log.export_files(home, "events")))))
    assert len(rows) == 1101
    assert rows[-1]["path"] == "'=cmd.csv" and rows[0]["path"] == "1099.csv"
    assert (rows[0]["status"], rows[0]["modified_at"], rows[0]["error"]) == ("queued", AT_DATE.isoformat(), "")


def test_vanished_files_leave_the_log_after_90_days(home: Home, saved: Desk) -> None:
    keep(saved, note(), note("b.csv"), note("c.csv"))
    file_log.skip_files(home, "events", ["c.csv"])
    keep(saved, note("b.csv", "gone"), note("c.csv", "gone"))
    stage = Stage(home.stage_url)
    retention.collect(home, stage, now=AT_DATE + timedelta(days=89))
    assert {*files(home)} == {"a.csv", "b.csv", "c.csv"}
    retention.collect(home, stage, now=AT_DATE + timedelta(days=91))
    # Nobody could take back one that the log does not show.
    assert {*files(home)} == {"a.csv", "c.csv"}
    stage.close()


def test_a_file_that_came_back_is_not_gone(home: Home, saved: Desk) -> None:
    keep(saved, note())
    keep(saved, note(status="gone"))
    keep(saved, note())
    assert (files(home)["a.csv"].status, files(home)["a.csv"].gone_at) == ("queued", None)


def test_the_log_goes_with_its_pipeline(home: Home, saved: Desk) -> None:
    keep(saved, note())
    release()
    lifecycle.delete(home, "events")
    with home.database.reading() as connection:
        assert connection.execute(file_log.sa.select(file_log.file_log)).all() == []
