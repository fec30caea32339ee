from __future__ import annotations

import errno
import hashlib
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest

from millrace.data.columns import REJECTS
from millrace.engine.stage import Draft, Stage
from millrace.errors import EnvironmentProblem


def rows(*values: int) -> pa.RecordBatch:
    return pa.RecordBatch.from_pydict({"a": pa.array(values, pa.int64())})


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return Stage(str(tmp_path / "stage"))


def test_what_was_staged_is_read_back(stage: Stage):
    draft = Draft(stage, "feed")
    draft.add("Orders", "orders", rows(1, 2))
    draft.add("Orders", "orders", rows(3))
    (segment,), rejects = draft.close()
    assert segment.rows == 3
    assert rejects == []
    assert stage.read(segment.path, segment.checksum).read_all().column("a").to_pylist() == [1, 2, 3]


def test_one_file_holds_one_table_and_one_schema(stage: Stage):
    draft = Draft(stage, "feed")
    draft.add("Orders", "orders", rows(1))
    draft.add("Orders", "orders", pa.RecordBatch.from_pydict({"a": ["x"]}))
    draft.add("Lines", "lines", rows(1))
    segments, _ = draft.close()
    assert [(segment.table, segment.rows) for segment in segments] == [("orders", 1), ("orders", 1), ("lines", 1)]
    assert len({segment.path for segment in segments}) == 3


def test_a_draft_is_full_by_rows_and_by_bytes(stage: Stage):
    by_rows = Draft(stage, "feed", flush_rows=2)
    by_rows.add("s", "t", rows(1))
    assert not by_rows.full
    by_rows.add("s", "t", rows(2))
    assert by_rows.full
    by_bytes = Draft(stage, "feed", flush_bytes=8)
    by_bytes.add("s", "t", rows(1))
    assert by_bytes.full
    by_rows.discard()
    by_bytes.discard()


def test_a_changed_file_is_refused_by_its_checksum(stage: Stage):
    draft = Draft(stage, "feed")
    draft.add("s", "t", rows(*range(1000)))
    (segment,), _ = draft.close()
    file = stage.folder / segment.path
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    with pytest.raises(EnvironmentProblem, match="checksum") as caught:
        stage.read(segment.path, segment.checksum)
    assert caught.value.code == "stage_damaged"


def test_a_file_that_was_staged_with_a_sha_256_is_read_by_it(stage: Stage):
    draft = Draft(stage, "feed")
    draft.add("s", "t", rows(1, 2))
    (segment,), _ = draft.close()
    content = (stage.folder / segment.path).read_bytes()
    assert stage.read(segment.path, hashlib.sha256(content).hexdigest()).read_all().num_rows == 2
    with pytest.raises(EnvironmentProblem, match="checksum"):
        stage.read(segment.path, hashlib.sha256(content[1:]).hexdigest())


def test_a_missing_file_is_said_with_what_to_do(stage: Stage):
    with pytest.raises(EnvironmentProblem, match="gone") as caught:
        stage.read("feed/t/none.arrow", "0" * 64)
    assert "resync" in (caught.value.hint or "")


def test_every_staged_file_is_synced_with_its_folder_before_it_counts(stage: Stage, monkeypatch: pytest.MonkeyPatch):
    synced: list[str] = []
    real = os.fsync

    def fsync(handle: int) -> None:
        synced.append(str(Path(f"/proc/self/fd/{handle}").readlink()))
        real(handle)

    monkeypatch.setattr(os, "fsync", fsync)
    draft = Draft(stage, "feed")
    draft.add("s", "t", rows(1))
    (segment,), _ = draft.close()
    final = stage.folder / segment.path
    assert any("/open/" in path for path in synced)
    for folder in list(final.parents)[: list(final.parents).index(stage.folder) + 1]:
        assert str(folder) in synced


def test_discarded_files_are_gone(stage: Stage):
    draft = Draft(stage, "feed")
    draft.add("s", "t", rows(1))
    draft.discard()
    assert list(stage.folder.rglob("*.arrow")) == []


def test_a_hostile_table_name_stays_inside_the_stage(stage: Stage):
    draft = Draft(stage, "feed")
    draft.add("s", "../../etc/passwd", rows(1))
    (segment,), _ = draft.close()
    assert (stage.folder / segment.path).resolve().is_relative_to(stage.folder.resolve())


def test_rejects_are_counted_by_stream_stage_and_code(stage: Stage):
    now = datetime.now(UTC)
    same = {"stream": "s", "stage": "mapping", "row": "{}", "rejected_at": now}
    refused = pa.RecordBatch.from_pylist(
        [same | {"code": code, "message": text} for code, text in (("A", "first"), ("B", "second"), ("A", "third"))],
        schema=REJECTS,
    )
    draft = Draft(stage, "feed")
    draft.reject(refused)
    segments, (file,) = draft.close()
    assert segments == []
    assert file.counts == {("s", "mapping", "A"): 2, ("s", "mapping", "B"): 1}
    assert file.samples["s", "mapping", "A"] == "first"
    assert stage.read(file.path, file.checksum).read_all().num_rows == 3


def test_a_full_disk_is_said_in_words(stage: Stage, monkeypatch: pytest.MonkeyPatch):
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    draft = Draft(stage, "feed")
    draft.add("s", "t", rows(1))
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(EnvironmentProblem, match="no space") as caught:
        draft.close()
    assert caught.value.code == "disk_full"


def test_a_stage_that_cannot_be_made_is_said_in_words(tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(EnvironmentProblem) as caught:
        Stage(str(tmp_path / "file" / "stage"))
    assert caught.value.code == "stage_unwritable"


def test_old_files_are_listed_for_collection(stage: Stage):
    draft = Draft(stage, "feed")
    draft.add("s", "t", rows(1))
    (segment,), _ = draft.close()
    assert list(stage.paths(timedelta(hours=1))) == []
    old = datetime.now().timestamp() - 7200
    os.utime(stage.folder / segment.path, (old, old))
    assert list(stage.paths(timedelta(hours=1))) == [segment.path]
