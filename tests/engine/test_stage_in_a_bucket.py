from __future__ import annotations

from datetime import timedelta

import pyarrow as pa
import pytest

from millrace.engine.stage import Draft, Stage
from millrace.errors import ConfigError, EnvironmentProblem


@pytest.fixture
def stage(bucket: str) -> Stage:
    return Stage(f"{bucket}/stage")


def rows(*values: int) -> pa.RecordBatch:
    return pa.RecordBatch.from_pydict({"a": pa.array(values, pa.int64())})


def test_what_was_staged_in_a_bucket_is_read_back_and_deleted(stage: Stage):
    draft = Draft(stage, "feed")
    draft.add("Orders", "orders", rows(1, 2))
    (segment,), _ = draft.close()
    assert stage.read(segment.path, segment.checksum).read_all().column("a").to_pylist() == [1, 2]
    assert list(stage.paths(timedelta(0))) == [segment.path]
    assert list(stage.paths(timedelta(hours=1))) == []
    stage.delete(segment.path)
    stage.delete(segment.path)
    assert list(stage.paths(timedelta(0))) == []
    with pytest.raises(EnvironmentProblem) as caught:
        stage.read(segment.path, segment.checksum)
    assert caught.value.code == "stage_damaged"


def test_nothing_is_left_on_this_machine(stage: Stage):
    draft = Draft(stage, "feed")
    draft.add("Orders", "orders", rows(1))
    draft.close()
    assert list(stage.folder.rglob("*.arrow")) == []
    stage.close()
    assert not stage.folder.exists()


def test_a_bucket_that_is_not_there_is_told(bucket: str):
    stage = Stage(f"{bucket}-nowhere/stage")
    draft = Draft(stage, "feed")
    draft.add("Orders", "orders", rows(1))
    with pytest.raises(ConfigError, match="no such bucket"):
        draft.close()
    stage.close()


def test_a_url_that_is_none_is_told():
    with pytest.raises(ConfigError, match="nonsense://x"):
        Stage("nonsense://x")
