"""Where a row went: read, staged, loaded, failed, left out, or never seen; and what is known when files are gone."""

from __future__ import annotations

import datetime as dt
import json
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from tests.engine.kit import PIPELINE, Rig, items, rig, types
from tests.engine.scripted import deploy, failing, fixed

from millrace.cli.main import main
from millrace.control.books import retention
from millrace.control.failed import rejects
from millrace.control.observing.sightings import Trace
from millrace.control.observing.trace import trace
from millrace.control.pipeline import pipelines
from millrace.data.batch import Checkpoint, Refused
from millrace.data.columns import REJECTS
from millrace.engine.finding import matching
from millrace.engine.stage import Stage
from millrace.errors import ConfigError

__all__ = ["deploy", "rig", "types"]


def of(rig: Rig, key: str, **more: Any) -> Trace:
    return trace(rig.home, PIPELINE, key, clock=rig.clock, **more)


def test_a_row_is_followed_from_its_reading_over_its_versions_to_its_table(rig: Rig, deploy: Any):
    rig.script.stream("items", [items(1, 2, n=0), Checkpoint(1)], [items(2, n=5), Checkpoint(2)], key=("id",))
    rig.create(options={"keep_raw_s": 86400})
    deploy(fixed)
    rig.run()
    rig.clock.advance(60)
    rig.run()
    found = of(rig, "2")
    assert [(one.stream, one.run, one.number, json.loads(one.row)["n"]) for one in found.read] == [
        ("items", 1, 1, 0),
        ("items", 2, 0, 5),
    ]
    assert [(one.table, one.segment, one.number, one.transformation, one.mapping) for one in found.staged] == [
        ("items", 1, 1, 1, found.staged[0].mapping),
        ("items", 2, 0, 1, found.staged[0].mapping),
    ]
    assert all(one.loaded_at and one.mapping for one in found.staged)
    assert [json.loads(one.row)["n"] for one in found.held] == [6]
    assert found.verdict == "It is at the destination, in items."
    files = {file.relative_to(rig.home.path / "stage").as_posix() for file in rig.staged()}
    assert {one.path for one in (*found.read, *found.staged)} == files


def test_nested_values_at_the_destination_are_shown_as_they_are(rig: Rig):
    rig.script.stream("items", [items(1, o={"a": [1]}), Checkpoint(1)], key=("id",))
    rig.create()
    rig.change("CREATE TABLE items (id INTEGER PRIMARY KEY, o JSON)")
    rig.run()
    assert [json.loads(one.row)["o"] for one in of(rig, "1").held] == [{"a": [1]}]


def test_a_row_that_failed_is_found_with_its_reason(rig: Rig, deploy: Any, capsys: pytest.CaptureFixture[str]):
    rig.script.stream("items", [items(1, 2), Checkpoint(1)], [], key=("id",))
    rig.create()
    deploy(failing)
    rig.run()
    (failed,) = of(rig, "2").failed
    assert (failed.code, failed.message, failed.state, failed.number) == (
        "TRANSFORM_ERROR", "a bug in the script", "open", 1,
    )  # fmt: skip
    assert of(rig, "2").verdict == "It failed in the transformation (TRANSFORM_ERROR): a bug in the script."
    deploy(fixed)
    rig.run()
    found = of(rig, "2")
    assert [(one.what, one.rows) for one in found.gone] == [("rejects", 2)], "they were closed"
    ((closed,),) = [one.closed for one in found.gone]
    assert (closed.stream, closed.stage, closed.code, closed.state, closed.rows) == (
        "items", "steps", "TRANSFORM_ERROR", "replayed", 2,
    )  # fmt: skip
    assert (closed.run, closed.transformation, closed.at) == (failed.run, failed.transformation, failed.at)
    assert main(["trace", PIPELINE, "2", "--home", str(rig.home.path)]) == 0
    (line,) = [
        line for line in capsys.readouterr().out.splitlines() if "items in the transformation: TRANSFORM_ERROR" in line
    ]
    assert "2 rows, run 1, transformation 1, mapping 1, replayed 20" in line
    assert found.verdict == "It is at the destination, in items."


def test_a_row_that_was_left_out_is_told_from_one_that_was_never_seen(rig: Rig, deploy: Any):
    rig.script.stream("items", [items(1, 2), Checkpoint(1)], key=("id",))
    rig.create(options={"keep_raw_s": 86400})
    deploy(lambda row: [("", row)] if row["id"] > 1 else [])
    rig.run()
    assert of(rig, "1").verdict == "It was read and left out on purpose, by version 1 of the transformation."
    unseen = of(rig, "3")
    assert (unseen.found, unseen.verdict.startswith("It was never seen here")) == (False, True)


def test_a_row_was_left_out_by_the_version_that_its_run_went_by(rig: Rig, deploy: Any):
    again: list[Any] = []
    rig.script.stream("items", [items(1), lambda: again.append(deploy(lambda row: [])), Checkpoint(1)], key=("id",))
    rig.create(options={"keep_raw_s": 86400})
    deploy(lambda row: [])
    rig.run()
    assert len(again) == 1
    assert of(rig, "1").verdict == "It was read and left out on purpose, by version 1 of the transformation."


def test_a_row_that_may_be_among_failed_ones_that_are_gone_is_not_said_to_be_left_out(rig: Rig, deploy: Any):
    rig.script.stream("items", [items(1), Checkpoint(1)], key=("id",))
    rig.create(options={"keep_raw_s": 86400})
    deploy(failing)
    rig.run()
    rejects.discard(rig.home, rejects.Choice(PIPELINE))
    retention.collect(rig.home, Stage(rig.home.stage_url))
    assert of(rig, "1").verdict == (
        "It was read; it is among the 1 failed rows of that run which are no longer kept (discarded), or was left out "
        "on purpose, by version 1 of the transformation."
    )


def test_a_row_that_waits_is_told_so(rig: Rig):
    rig.script.stream("items", [items(1), Checkpoint(1)], key=("id",))
    rig.create()
    with rig.crew() as crew:
        crew.sync().ingest(("incremental",))
    found = of(rig, "1")
    assert found.verdict == "It waits on the stage to be loaded into items."
    assert [one.loaded_at for one in found.staged] == [None]


def test_a_row_that_is_gone_from_its_table_is_told_so(rig: Rig):
    rig.script.stream("items", [items(1, 2), Checkpoint(1)], key=("id",))
    rig.create()
    rig.run()
    rig.change("DELETE FROM items WHERE id = 1")
    assert "is not there now" in of(rig, "1").verdict


def test_what_the_books_still_know_is_told_when_files_are_gone(rig: Rig):
    rig.script.stream("items", [items(1, 2), Checkpoint(1)], key=("id",))
    rig.create()
    rig.run()
    retention.collect(rig.home, Stage(rig.home.stage_url), now=dt.datetime.now(dt.UTC) + dt.timedelta(days=8))
    found = of(rig, "1")
    assert [(one.what, one.files, one.rows) for one in found.gone] == [("staged rows", 1, 2)]
    assert (found.staged, found.verdict) == ((), "It is at the destination, in items.")
    assert "is in nothing that is still on the stage" in of(rig, "3").verdict


def test_a_file_that_was_spoiled_is_named_and_the_rest_is_told(rig: Rig):
    rig.script.stream("items", [items(1), Checkpoint(1)], key=("id",))
    rig.create()
    rig.run()
    (file,) = rig.staged()
    file.write_bytes(b"spoiled")
    found = of(rig, "1")
    assert [name for name in found.unasked if name.endswith(file.name)]
    assert len(found.held) == 1


def test_any_field_will_do_and_several_with_commas(rig: Rig):
    rows = [{"id": 1, "a": "x", "b": "y,z"}, {"id": 2, "a": "x", "b": "w"}]
    rig.script.stream("items", [rows, Checkpoint(1)], key=("id", "a"))
    rig.create()
    rig.run()
    assert len(of(rig, "a=x").held) == 2
    assert [json.loads(one.row)["id"] for one in of(rig, "a=x,id=2").held] == [2]
    assert [json.loads(one.row)["id"] for one in of(rig, "b=y,z").held] == [1]
    with pytest.raises(ConfigError, match="no object here has a key of one field"):
        of(rig, "1")
    with pytest.raises(ConfigError, match="has seen no object"):
        of(rig, "1", only="nothing")


ODD = ["it's", 'a "b"', "back\\slash", "Größe 🚂", "2026-01-02", "a=b", '{"k":1}', "x,y"]


def test_a_key_of_any_signs_is_found_everywhere(rig: Rig, deploy: Any):
    rows = [{"id": one, "n": n} for n, one in enumerate(ODD)]
    rig.script.stream("items", [rows, Checkpoint(1)], [rows, Checkpoint(2)], key=("id",))
    rig.create(options={"keep_raw_s": 86400})
    rig.run()
    deploy(failing)
    rig.run()
    for one in ODD:
        found = of(rig, f"id={one}")
        counts = (len(found.read), len(found.staged), len(found.failed), len(found.held), found.unasked)
        assert counts == (2, 1, 1, 1, {}), one


def test_a_nested_value_is_found_in_whatever_order_its_fields_are_typed(rig: Rig, deploy: Any):
    rows = [{"id": 1, "j": {"bb": [True, 1.5], "a": {"d": "x", "c": None}}}, {"id": 2, "j": {"bb": [1]}}]
    rig.script.stream("items", [rows, Checkpoint(1)], [rows, Checkpoint(2)], key=("id",))
    rig.create(options={"keep_raw_s": 86400})
    rig.run()
    deploy(failing)
    rig.run()
    found = of(rig, 'j={"bb": [true,1.5],"a":{"d":"x","c":null}}')
    assert (len(found.read), len(found.staged), len(found.failed), len(found.held), found.unasked) == (2, 1, 1, 1, {})
    found = of(rig, 'j={"a": {"c": null, "d": "x"}, "bb": [true, 1.50]}')
    assert (len(found.read), len(found.staged), len(found.failed)) == (2, 1, 1)
    found = of(rig, 'j={"a": {"c": null, "d": "x"}, "bb": [1, 1.5]}')
    assert (found.read, found.staged, found.failed, found.held) == ((), (), (), ())


def test_a_moment_as_a_key_is_found_at_the_destination_too(rig: Rig):
    at = dt.datetime(2026, 1, 2, 3, 4, 5, tzinfo=dt.UTC)
    rig.script.stream("items", [[{"at": at, "day": at.date()}], Checkpoint(1)], key=("at",))
    rig.create()
    rig.run()
    assert of(rig, "2026-01-02T03:04:05Z").verdict == "It is at the destination, in items."
    assert len(of(rig, "day=2026-01-02").held) == 1


def test_a_failed_row_is_found_whose_sender_wrote_letters_as_escapes(rig: Rig):
    text = '{"id":"\\u0061nn","v":1}'
    bad = {
        "stream": "items", "stage": "source", "code": "BAD", "message": "bad", "row": text,
        "rejected_at": dt.datetime(2026, 1, 2, tzinfo=dt.UTC),
    }  # fmt: skip
    refused = Refused(pa.RecordBatch.from_pylist([bad], schema=REJECTS))
    rig.script.stream("items", [items(1), refused, Checkpoint(1)], key=("id",))
    rig.script.again = lambda rows: [[json.loads(row) for row in rows]]
    rig.create()
    rig.run()
    assert len(of(rig, "id=ann").failed) == 1
    chosen = rejects.Choice(PIPELINE, where=("id", "ann"))
    found = list(rejects.rows(rig.home, Stage(rig.home.stage_url), chosen))
    assert [one.row for one in found] == [text]


def test_a_field_that_nobody_saw_is_told_with_those_that_there_are(rig: Rig, deploy: Any):
    rig.script.stream("items", [[{"id": 1, "mail": "a=b", "town": "x"}], Checkpoint(1)], key=("id",))
    rig.create()
    deploy(lambda row: [("", {"id": row["id"], "mail": row["mail"]})])
    rig.run()
    assert of(rig, "mail=a=b").found, "a value may have the sign in it"
    assert not of(rig, "town=y").found, "the source has the field, though the steps leave it out"
    with pytest.raises(ConfigError, match="no event type has a field 'mial'") as wrong:
        of(rig, "mial=b=c")
    assert wrong.value.hint and wrong.value.hint.startswith("Fields: mail, ")
    with pytest.raises(ConfigError) as wrong:
        of(rig, "ID=1")
    assert wrong.value.hint and wrong.value.hint.startswith("Fields: id, ")


def test_a_field_whose_column_was_renamed_is_found_in_segments_from_before(rig: Rig):
    from millrace.engine.ledger import Commit

    rig.script.stream("items", [items(1, v="a"), Checkpoint(1)], key=("id",))
    rig.create()
    rig.run()
    with rig.crew() as crew:
        (mapping,) = crew.books.mappings()
        columns = tuple(
            replace(one, name="w", formerly=("v",)) if one.source == "v" else one for one in mapping.columns
        )
        changed = replace(mapping, columns=columns, version=mapping.version + 1)
        crew.books.commit(Commit("items", "again", None, 0, mappings=[changed]))
    assert len(of(rig, "v=a").staged) == 1


VALUES = [
    (7, "7"),
    (2**60, str(2**60)),
    ("x'y", "x'y"),
    (Decimal("1.50"), "1.5"),
    (dt.date(2026, 1, 2), "2026-01-02"),
    (dt.datetime(2026, 1, 2, 3, 4, 5, tzinfo=dt.UTC), "2026-01-02T03:04:05Z"),
    (True, "true"),
]


@pytest.mark.parametrize(("value", "text"), VALUES, ids=[text for _, text in VALUES])
def test_a_value_of_every_type_is_found_by_its_text(value: object, text: str):
    batch = pa.RecordBatch.from_pydict({"v": [None, value]})
    assert list(matching(batch, {("v",): text})) == [1]
    assert list(matching(batch, {("v",): "other"})) == []


def test_the_command_tells_it_in_words_and_as_json(rig: Rig, capsys: pytest.CaptureFixture[str], deploy: Any):
    rig.script.stream("items", [items(1, n=0), Checkpoint(1)], [], key=("id",))
    rig.create(options={"keep_raw_s": 86400})
    rig.run()
    home = ["--home", str(rig.home.path)]
    assert main(["trace", PIPELINE, "1", *home]) == 0
    out = capsys.readouterr().out
    assert "items, segment 1, run 1" in out
    assert "It is at the destination, in items." in out
    assert main(["trace", PIPELINE, "9", "--json", *home]) == 1
    told = json.loads(capsys.readouterr().out)
    assert (told["found"], told["sought"]) == (False, "9")
    deploy(fixed)
    assert main(["replay", PIPELINE, "--since", "2020-01-01", "--json", *home]) == 0
    assert json.loads(capsys.readouterr().out)["runs"][0]["kind"] == "RAW_REPLAY"
    assert rig.rows("items", "n") == [1]


def test_a_trace_waits_for_nobody(rig: Rig):
    rig.script.stream("items", [items(1), Checkpoint(1)], key=("id",))
    rig.create()
    rig.run()
    with rig.crew():
        assert of(rig, "1").found
    assert pipelines.find(rig.home, PIPELINE).name == PIPELINE
