"""`millrace rejects`: grouped, chosen, mended; what each command tells."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.engine.kit import PIPELINE, Rig, items, rig, types
from tests.engine.scripted import deploy, failing, fixed

from millrace.cli.main import main
from millrace.data.batch import Checkpoint

__all__ = ["deploy", "rig", "types"]


@pytest.fixture
def failed(rig: Rig, deploy: Any) -> Rig:
    """Two files of rejects: ids 1 and 2, then 3, all refused by the transformation."""
    rig.script.stream("items", [items(1, 2), Checkpoint(1)], [items(3), Checkpoint(2)], [], key=("id",))
    rig.create()
    deploy(failing)
    rig.run()
    rig.run()
    return rig


def told(rig: Rig, capsys: pytest.CaptureFixture[str], *words: object, code: int = 0) -> Any:
    """The command's JSON."""
    assert main([*map(str, words), "--json", "--home", str(rig.home.path)]) == code
    return json.loads(capsys.readouterr().out)


def test_rejects_are_listed_over_all_files_with_what_cures_them(failed: Rig, capsys: pytest.CaptureFixture[str]):
    (group,) = told(failed, capsys, "rejects")
    assert (group["rows"], group["files"], group["code"]) == (3, 2, "TRANSFORM_ERROR")
    assert (group["resolution"]["cures"], group["resolution"]["automatic"]) == (["transformation"], True)
    assert [one["rows"] for one in told(failed, capsys, "rejects", "list", "--files")] == [1, 2]
    assert main(["rejects", "--home", str(failed.home.path)]) == 0
    out = capsys.readouterr().out
    assert "the transformation raised an error. Mend the transformation and deploy it." in out
    assert "3 rows open" in out


def test_rejects_are_those_of_a_pipeline_that_is_named_with_an_option_or_without(
    failed: Rig, capsys: pytest.CaptureFixture[str]
):
    for verb in ("list", "show"):
        bare = told(failed, capsys, "rejects", verb, PIPELINE)
        assert bare and bare == told(failed, capsys, "rejects", verb, "--pipeline", PIPELINE)
        two = told(failed, capsys, "rejects", verb, PIPELINE, "--pipeline", "other", code=2)
        assert "two pipelines are named" in two["error"]["message"]


def test_rejects_are_chosen_by_stage_file_and_value(failed: Rig, capsys: pytest.CaptureFixture[str], deploy: Any):
    assert told(failed, capsys, "rejects", "list", "--stage", "load") == []
    last, first = told(failed, capsys, "rejects", "list", "--files")
    shown = told(failed, capsys, "rejects", "show", "--file", first["file"], "--where", "id=2")
    assert [(one["number"], one["row"]) for one in shown] == [(1, '{"id":2}')]
    deploy(fixed)
    (run,) = told(failed, capsys, "rejects", "replay", PIPELINE, "--where", "id=3")["runs"]
    assert run["balance"]["loaded"] == 1
    assert failed.rows("items", "id") == [3]
    assert told(failed, capsys, "rejects", "discard", "--file", first["file"], "--yes")["rows"] == 2
    assert told(failed, capsys, "rejects") == []
    assert last["file"] > first["file"]


def test_rows_that_a_replay_is_not_about_stay_as_they_were_and_count_once(
    failed: Rig, capsys: pytest.CaptureFixture[str], deploy: Any
):
    _, first = told(failed, capsys, "rejects", "list", "--files")
    deploy(fixed)
    (run,) = told(failed, capsys, "rejects", "replay", PIPELINE, "--where", "id=2")["runs"]
    assert (run["balance"]["read"], run["balance"]["rejected"], run["status"]) == (1, {}, "COMPLETED")
    every = told(failed, capsys, "rejects", "list", "--files", "--all")
    of_first = [one for one in every if one["run"] == first["run"]]
    assert sorted((one["rows"], one["state"]) for one in of_first) == [(1, "open"), (1, "replayed")]
    assert {one["rejected_at"] for one in of_first} == {first["rejected_at"]}
    assert {one["state"]: one["rows"] for one in told(failed, capsys, "rejects", "list", "--all")} == {
        "open": 2,
        "replayed": 1,
    }
    # They failed under the version before, so the next run replays them by itself.
    failed.run()
    assert sorted(failed.rows("items", "id")) == [1, 2, 3]
    assert told(failed, capsys, "rejects") == []


def test_a_replay_of_nothing_says_so(failed: Rig, capsys: pytest.CaptureFixture[str]):
    (run,) = told(failed, capsys, "rejects", "replay", PIPELINE, "--where", "id=4")["runs"]
    assert [note["code"] for note in run["notes"]] == ["none_replayed"]
    assert run["balance"]["read"] == 0


def test_a_field_within_a_field_chooses_rows(rig: Rig, capsys: pytest.CaptureFixture[str], deploy: Any):
    rows = [{"id": 1, "at": {"city": "Pune"}, "a.b": "x"}, {"id": 2, "at": {"city": "Graz", "no": [1]}}]
    rig.script.stream("items", [rows, Checkpoint(1)], key=("id",))
    rig.create()
    deploy(failing)
    rig.run()
    for where, found in (
        ("at.city=Graz", [1]),
        ("a.b=x", [0]),
        ("at.no=[1]", [1]),
        ("at.city.name=Graz", []),
        ("id.x=1", []),
    ):
        assert [one["number"] for one in told(rig, capsys, "rejects", "show", "--where", where)] == found


def test_a_condition_that_is_none_is_refused(failed: Rig, capsys: pytest.CaptureFixture[str]):
    assert told(failed, capsys, "rejects", "show", "--where", "id", code=2)["error"]["path"] == "--where"


def test_mended_rows_go_on(failed: Rig, capsys: pytest.CaptureFixture[str], deploy: Any, tmp_path: Path):
    file = tmp_path / "rejects.jsonl"
    told(failed, capsys, "rejects", "export", file, "--where", "id=2")
    deploy(fixed)
    file.write_text(file.read_text().replace('{"id":2}', '{"id":22}'))
    (run,) = told(failed, capsys, "rejects", "mend", PIPELINE, file)["runs"]
    assert run["balance"]["even"]
    assert failed.rows("items", "id") == [22]
    assert failed.rejected() == {"TRANSFORM_ERROR": 2}


def test_a_correction_beside_the_row_is_refused(failed: Rig, capsys: pytest.CaptureFixture[str], tmp_path: Path):
    file = tmp_path / "rejects.jsonl"
    told(failed, capsys, "rejects", "export", file, "--where", "id=2")
    file.write_text(file.read_text().replace('"row":', '"amount":5,"row":'))
    wrong = told(failed, capsys, "rejects", "mend", PIPELINE, file, code=2)["error"]
    assert (wrong["path"], "'amount'" in wrong["message"]) == (f"{file}:1", True)
    assert failed.rejected() == {"TRANSFORM_ERROR": 3}


@pytest.mark.parametrize("verb", ["list", "show", "export"])
def test_a_name_that_is_not_there_is_no_empty_list(failed: Rig, capsys: pytest.CaptureFixture[str], verb: str):
    wrong = told(failed, capsys, "rejects", verb, "--pipeline", "nosuch", code=2)["error"]
    assert (wrong["code"], PIPELINE in wrong["hint"]) == ("unknown_pipeline", True)
    wrong = told(failed, capsys, "rejects", verb, "--stage", "nosuch", code=2)["error"]
    assert wrong["hint"] == "Stages: source, steps, mapping, load."
