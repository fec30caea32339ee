"""Transformations of a pipeline: drafts, versions, and what runs go through; with trials that change nothing."""

from __future__ import annotations

import json
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from tests.engine.kit import PIPELINE, Rig, rig, types

from millrace.control import settings
from millrace.control.as_code import apply
from millrace.control.mapper import mappings
from millrace.control.transforming import transformations, trial_events, trials
from millrace.control.transforming.transformations import deploy, difference, history, roll_back, save_draft, standing
from millrace.data.batch import Batch, Checkpoint
from millrace.data.rows import to_batch
from millrace.engine.stage import Stage
from millrace.errors import ConfigError

__all__ = ["rig", "types"]

DOUBLE = "def transform(event):\n    p = event.getProperties()\n    p['twice'] = p['n'] * 2\n    return event\n"
PICKY = (
    "def transform(event):\n    p = event.getProperties()\n    if p['n'] < 0:\n        return None\n"
    "    p['share'] = 10 / p['n']\n    return event\n"
)
UPPER = json.dumps(
    {"blocks": [{"id": "b1", "type": "ADD_FIELD", "settings": {"name": "name", "value": "UPPER(kind)"}}]}
)


@pytest.fixture
def made(rig: Rig) -> Rig:
    rig.script.stream("orders", [[{"id": 1, "n": 4, "kind": "a"}, {"id": 2, "n": 5, "kind": "b"}]], key=("id",))
    return rig.create()


def test_a_draft_is_kept_and_touches_nothing(made: Rig):
    save_draft(made.home, PIPELINE, "python", "not even Python (")
    assert standing(made.home, PIPELINE).deployed is None
    assert made.run().status == "COMPLETED"
    assert made.rows("orders", "n", order="id") == [4, 5]
    save_draft(made.home, PIPELINE, "python", DOUBLE, author="ann")
    draft = standing(made.home, PIPELINE).draft
    assert draft is not None and (draft.version, draft.text, draft.author) == (0, DOUBLE, "ann")


@pytest.mark.parametrize(("kind", "text", "column", "values"), [
    ("python", DOUBLE, "twice", [8, 10]),
    ("blocks", UPPER, "name", ["A", "B"]),
])  # fmt: skip
def test_rows_go_through_what_is_deployed(made: Rig, kind: Any, text: str, column: str, values: list[Any]):
    save_draft(made.home, PIPELINE, kind, text)
    version = deploy(made.home, PIPELINE, kind, text, reason="because", author="ann")
    assert (version.version, version.reason, version.author) == (1, "because", "ann")
    assert standing(made.home, PIPELINE).draft is None
    made.run()
    assert made.rows("orders", column, order="id") == values


def test_a_text_that_cannot_be_one_is_not_deployed(made: Rig):
    with pytest.raises(ConfigError, match=r"no function transform") as caught:
        deploy(made.home, PIPELINE, "python", "x = 1\n")
    assert caught.value.code == "script"
    with pytest.raises(ConfigError):
        deploy(made.home, PIPELINE, "blocks", '{"blocks": [{"type": "NOPE"}]}')
    assert history(made.home, PIPELINE) == []


def test_versions_are_listed_compared_and_brought_back(made: Rig):
    with pytest.raises(ConfigError, match="no version 1"):
        difference(made.home, PIPELINE)
    deploy(made.home, PIPELINE, "python", DOUBLE)
    deploy(made.home, PIPELINE, "python", DOUBLE)
    deploy(made.home, PIPELINE, "python", DOUBLE.replace("* 2", "* 3"))
    assert [one.version for one in history(made.home, PIPELINE)] == [2, 1]
    lines = difference(made.home, PIPELINE, 1, 2)
    assert "-    p['twice'] = p['n'] * 2" in lines and "+    p['twice'] = p['n'] * 3" in lines
    assert difference(made.home, PIPELINE) == lines
    assert difference(made.home, PIPELINE, 1) == lines
    assert difference(made.home, PIPELINE, new=1)[:2] == ["--- nothing", "+++ version 1"]
    save_draft(made.home, PIPELINE, "python", DOUBLE)
    assert difference(made.home, PIPELINE, new=0) == difference(made.home, PIPELINE, 2, 0)
    back = roll_back(made.home, PIPELINE, 1)
    assert (back.version, back.text, back.reason) == (3, DOUBLE, "back to version 1")
    with pytest.raises(ConfigError, match="no version 9"):
        roll_back(made.home, PIPELINE, 9)
    with pytest.raises(ConfigError, match="draft"):
        roll_back(made.home, PIPELINE, 0)


def test_without_a_transformation_rows_pass_as_they_are_again(made: Rig):
    deploy(made.home, PIPELINE, "python", "def transform(event):\n    return None\n")
    assert made.run().balance.filtered == {"transformation": 2}
    deploy(made.home, PIPELINE, "none", "")
    assert made.run().balance.loaded == 2


def test_samples_are_tried_one_by_one_and_change_nothing(made: Rig):
    made.script.tales["orders", "incremental"] = [
        [[{"id": 1, "n": 4}, {"id": 2, "n": 0}, {"id": 3, "n": -1}, {"id": 4, "n": "x"}]]
    ]
    made.run()
    found = trials.sampled(made.home, PIPELINE)
    assert [one.properties["n"] for one in found] == ["4", "0", "-1", "x"]
    given = [trial_events.Event("orders", {"id": n, "n": value}) for n, value in enumerate([4, 0, -1, "x"])]
    with closing(transformations.step(made.home, "python", PICKY)) as step:
        trial = trials.test(made.home, step, given, pipeline=PIPELINE)
    passed, zero, dropped, text = trial.outcomes
    assert [one.properties["share"] for one in passed.output] == [2.5]
    assert zero.error is not None and "division by zero (line 5)" in zero.error.message
    assert (dropped.output, dropped.error) == ((), None)
    assert text.error is not None and text.error.message.startswith("TypeError")
    assert trial.effects[0].table == "orders"
    assert "adds column share DOUBLE" in [effect.change for effect in trial.effects]
    assert made.rows("orders", "n", order="id") == ["4", "0", "-1", "x"]


def test_events_that_say_themselves_of_which_type_they_are_give_samples_too(made: Rig):
    rows = to_batch([{"id": 1, "email": "ann@example.com"}], None)
    made.script.tales["orders", "incremental"] = [[Batch("visits", rows), Checkpoint(1)], [Batch("visits", rows)]]
    made.run()
    made.run()
    found = trials.sampled(made.home, PIPELINE, "visits")
    assert [one.properties for one in found] == [{"id": 1, "email": "ann@example.com"}] * 2
    assert [one.kind for one in trials.personal(found)] == ["email"]


def test_a_trial_tells_of_no_column_that_the_table_has_though_its_mapping_forgot_it(made: Rig):
    made.run()
    mappings.rename_column(made.home, PIPELINE, "orders", "kind", "sort")
    mappings.reset(made.home, PIPELINE, "orders")
    given = [trial_events.Event("orders", {"id": 7, "n": 4, "kind": "c"})]
    with closing(transformations.step(made.home, "python", "def transform(event):\n    return event\n")) as step:
        assert [one.change for one in trials.test(made.home, step, given, pipeline=PIPELINE).effects] == [
            "adds column kind VARCHAR"
        ]
        text = [trial_events.Event("orders", {"id": 7, "n": "x"})]
        (wider,) = trials.test(made.home, step, text, pipeline=PIPELINE).effects
    assert wider.change == "type of n becomes VARCHAR (now INTEGER)"


SPLIT = (
    "from millrace.api import Event\n\ndef transform(event):\n    p = event.getProperties()\n"
    "    kids = [Event('kids', {'no': f'{p[\"id\"]}-{n}', 'v': v}) for n, v in enumerate((1, p['n'], 'x', 2.5))]\n"
    "    return [kids[0], event, *kids[1:]]\n"
)


def test_a_trial_shows_values_as_the_script_made_them_and_tables_as_the_load_makes_them(made: Rig):
    given = [trial_events.Event("orders", {"id": 1, "n": 4}), trial_events.Event("orders", {"id": 2, "n": True})]
    with closing(transformations.step(made.home, "python", SPLIT, traced=True)) as step:
        trial = trials.test(made.home, step, given, pipeline=PIPELINE)
    for outcome, n in zip(trial.outcomes, (4, True), strict=True):
        assert [one.event_name for one in outcome.output] == ["kids", "orders", "kids", "kids", "kids"]
        values = [one.properties["v"] for one in outcome.output if one.event_name == "kids"]
        assert [(type(value), value) for value in values] == [(type(value), value) for value in (1, n, "x", 2.5)]
    (told,) = [effect.change for effect in trial.effects if effect.table == "kids"]
    deploy(made.home, PIPELINE, "python", SPLIT)
    made.run()
    (column,) = made.query(
        "SELECT data_type FROM information_schema.columns WHERE (table_name, column_name) = ('kids', 'v')"
    )
    assert ("v VARCHAR" in told, column) == (True, {"data_type": "VARCHAR"})
    assert sorted(made.rows("kids", "v")) == ["1", "1", "2.5", "2.5", "4", "5", "x", "x"]


def test_an_event_type_that_nobody_saw_is_no_event_type_without_samples(made: Rig):
    made.run()
    assert len(trials.sampled(made.home, PIPELINE, "ORDERS")) == 2
    with pytest.raises(ConfigError, match="there is no event type 'nosuch'") as wrong:
        trials.sampled(made.home, PIPELINE, "nosuch")
    assert wrong.value.hint == "There are: orders."
    with (
        closing(Stage(made.home.stage_url)) as stage,
        pytest.raises(ConfigError, match="there is no event type 'nosuch'"),
    ):
        trials.failed(made.home, stage, PIPELINE, "nosuch")


def test_a_dry_run_says_what_would_become_of_staged_rows(made: Rig):
    made.run()
    with closing(transformations.step(made.home, "python", DOUBLE)) as step:
        done = trials.dry_run(made.home, PIPELINE, step)
    assert (done.rows, done.counts["changed"], done.through) == (2, 2, None)
    assert done.differences[0].after[0].properties["twice"] in (8, 10)
    assert [effect.change for effect in done.effects] == ["adds column twice INTEGER"]
    assert not made.query("SELECT 1 FROM information_schema.columns WHERE column_name = 'twice'")


def test_the_limits_of_scripts_are_settings(made: Rig):
    settings.change(made.home, script_seconds=0.3, script_memory_mib=96)
    text = (
        "def transform(event):\n    p = event.getProperties()\n"
        "    if p['n'] == 1:\n        while True: pass\n"
        "    if p['n'] == 2:\n        p['x'] = len(bytearray(128 << 20))\n    return event\n"
    )
    given = [trial_events.Event("orders", {"id": n, "n": n}) for n in range(3)]
    with closing(transformations.step(made.home, "python", text)) as step:
        whole, slow, large = trials.test(made.home, step, given).outcomes
    assert whole.error is None
    assert slow.error is not None and slow.error.message == "the script took more than 0.3 s for one event"
    assert large.error is not None and large.error.code == "TRANSFORM_LIMIT"


KINDS = [
    1, -(2**31), 2**31, 2**63 - 1, -(2**63), 2**63, 10**30, 10**37, 10**50, 1.5, True, "a", "1", None, {"a": 1}, [1],
    [], Decimal("1.50"), Decimal("0.001"), Decimal("1E+5"), Decimal("1E+400"), Decimal("100000000000000000000.5"),
]  # fmt: skip
TYPES = (
    "from millrace.api import Utils\n\n\ndef transform(event):\n    p = event.getProperties()\n"
    "    p['types'] = ','.join(Utils.getType(p[k]) for k in p)\n    return event\n"
)


def test_an_event_on_trial_is_the_same_alone_and_among_others(made: Rig):
    given = [trial_events.Event("orders", {"a": a, "b": b}) for a in KINDS for b in (a, KINDS[0], KINDS[-1])]
    with closing(transformations.step(made.home, "python", TYPES)) as step:
        together = trials.test(made.home, step, given).outcomes
        assert [*together] == [trials.test(made.home, step, [one]).outcomes[0] for one in given]
    assert len({outcome.output[0].properties["types"] for outcome in together}) > 20


MAKING = (
    "from millrace.api import Event\n\n\ndef transform(event):\n"
    "    return [event, Event('copies', {'of': event.getProperties()['id']})]\n"
)


def test_a_dry_run_leaves_out_rows_that_came_about_in_flight_and_shows_some_of_each_outcome(made: Rig):
    made.script.tales["orders", "incremental"] = [[[{"id": n, "n": min(n, 8) % 3 - 1} for n in range(40)]]]
    deploy(made.home, PIPELINE, "python", MAKING)
    made.run()
    assert made.rows("copies", "count(*)") == [40]
    with closing(transformations.step(made.home, "python", PICKY)) as step:
        done = trials.dry_run(made.home, PIPELINE, step)
    assert (done.rows, done.through) == (40, 1)
    assert done.counts == {"unchanged": 0, "changed": 34, "split": 0, "dropped": 3, "failed": 3}
    assert [one.became for one in done.differences].count("changed") == 5
    failed = [one.error for one in done.differences if one.became == "failed"]
    assert [one and one.message for one in failed] == ["ZeroDivisionError: division by zero (line 5)"] * 3
    assert all(not one.after and one.error is None for one in done.differences if one.became == "dropped")


def test_a_dry_run_needs_rows(made: Rig):
    with (
        closing(transformations.step(made.home, "python", DOUBLE)) as step,
        pytest.raises(ConfigError, match="no rows"),
    ):
        trials.dry_run(made.home, PIPELINE, step)


def test_events_that_failed_can_be_tried_with_a_mended_script(made: Rig):
    made.script.tales["orders", "incremental"] = [[[{"id": 1, "n": 0}, {"id": 2, "n": 5}], Checkpoint(1)]]
    deploy(made.home, PIPELINE, "python", PICKY)
    made.run()
    assert made.rejected() == {"TRANSFORM_ERROR": 1}
    with closing(Stage(made.home.stage_url)) as stage:
        (found,) = trials.failed(made.home, stage, PIPELINE)
    assert (found.event_name, found.properties) == ("orders", {"id": 1, "n": 0})
    with closing(transformations.step(made.home, "python", DOUBLE)) as step:
        assert trials.test(made.home, step, [found]).outcomes[0].error is None


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("{", "no JSON"),
        ("[]", "another JSON value"),
        ('{"event_name": "x"}', "'properties' of an event are missing"),
        ('{"event_name": 3, "properties": {}}', "'event_name' of an event must be text"),
        ('{"properties": []}', "must be an object"),
        ('{"properties": {}, "more": 1}', "has no 'more'"),
    ],
)
def test_a_line_that_is_no_event_is_told_with_its_place(line: str, told: str, tmp_path: Path):
    file = tmp_path / "events.jsonl"
    file.write_text('{"event_name": "a", "properties": {}}\n\n' + line + "\n")
    with pytest.raises(ConfigError) as caught:
        trial_events.read_events(file)
    assert told in caught.value.message
    assert (caught.value.code, caught.value.path) == ("no_event", "events.jsonl:3")


def pipelines_file(folder: Path, rig: Rig, transformation: str) -> Path:
    file = folder / "pipelines.yaml"
    file.write_text(
        f"destinations:\n  warehouse: {{type: duckdb, config: {{path: {folder}/w.duckdb}}}}\n"
        f"pipelines:\n  p:\n    source: {{type: scripted, config: {{script: '{rig.folder}'}}}}\n"
        f"    destination: warehouse\n{transformation}"
    )
    return file


def test_a_file_of_pipelines_deploys_a_script_once(made: Rig, tmp_path: Path):
    (tmp_path / "orders.py").write_text(DOUBLE)
    file = pipelines_file(tmp_path, made, "    transformation: {python: ./orders.py}\n")
    dry = apply.apply_file(made.home, file, dry_run=True)
    assert {change.state for change in dry.changes} == {"created"} or dry.changes
    apply.apply_file(made.home, file)
    again = apply.apply_file(made.home, file)
    assert [change.state for change in again.changes if change.kind == "pipeline"] == ["unchanged"]
    (tmp_path / "orders.py").write_text(DOUBLE.replace("2", "3"))
    third = apply.apply_file(made.home, file)
    (field,) = next(change for change in third.changes if change.kind == "pipeline").fields
    assert (field.key, field.before, field.after) == ("transformation", "version 1", "python, 4 lines")
    assert len(history(made.home, "p")) == 2


@pytest.mark.parametrize(
    ("transformation", "place"),
    [
        ("{python: ./bad}", "pipelines.p.transformation, line 1"),
        ("{blocks: [{id: x, type: HASH_FIELDS, settings: {algorithm: MD6}}]}", ".transformation.blocks.0.settings.alg"),
    ],
)
def test_a_transformation_that_cannot_be_one_is_told_with_its_place_in_the_file(
    transformation: str, place: str, made: Rig, tmp_path: Path
):
    (tmp_path / "bad").write_text("def transform(event)\n    return event\n")
    file = pipelines_file(tmp_path, made, f"    transformation: {transformation}\n")
    with pytest.raises(ConfigError) as caught:
        apply.apply_file(made.home, file)
    for problem in getattr(caught.value, "problems", (caught.value.problem,)):
        assert str(problem.path).startswith("pipelines.yaml:4 ")
        assert place in str(problem.path)


def test_a_script_may_stand_in_the_file_and_comes_back_in_an_export(made: Rig, tmp_path: Path):
    from millrace.control.as_code.export import export

    script = "def transform(event):\n    p = event.getProperties()\n    p['cost'] = '${HOME}'\n    return event\n"
    text = "".join(f"        {line}\n" for line in script.replace("${", "$${").splitlines())
    file = pipelines_file(tmp_path, made, f"    transformation:\n      python: |\n{text}")
    apply.apply_file(made.home, file)
    assert history(made.home, "p")[0].text == script
    exported = export(made.home, ["p"]).text
    file.write_text(exported)
    again = apply.apply_file(made.home, file)
    assert [change.state for change in again.changes if change.kind == "pipeline"] == ["unchanged"]


def test_blocks_may_be_written_in_the_file(made: Rig, tmp_path: Path):
    blocks = (
        "    transformation:\n      blocks:\n        - {id: b1, type: DROP_FIELDS, "
        "field_filters: [{on: FIELD_NAME, op: EQUALS, value: n}]}\n"
    )
    apply.apply_file(made.home, pipelines_file(tmp_path, made, blocks))
    assert history(made.home, "p")[0].kind == "blocks"


@pytest.mark.parametrize(
    ("part", "code"),
    [
        ("{python: ./nope.py}", "no_file"),
        ("{python: a.py, blocks: b.json}", None),
        ("{}", None),
        ("{pyhton: a.py}", "unknown_key"),
    ],
)
def test_a_transformation_that_cannot_be_is_told_with_its_line(made: Rig, tmp_path: Path, part: str, code: str | None):
    from millrace.control.as_code.places import DocumentError

    with pytest.raises(DocumentError) as caught:
        apply.apply_file(made.home, pipelines_file(tmp_path, made, f"    transformation: {part}\n"))
    (problem, *_) = caught.value.problems
    assert (problem.path or "").startswith("pipelines.yaml:7")
    assert code in (None, problem.code)


def test_a_script_with_a_mistake_leaves_no_pipeline_behind(made: Rig, tmp_path: Path):
    from millrace.control.pipeline import pipelines

    (tmp_path / "orders.py").write_text("def transform(event)\n")
    with pytest.raises(ConfigError, match=r"line 1"):
        apply.apply_file(made.home, pipelines_file(tmp_path, made, "    transformation: {python: ./orders.py}\n"))
    assert [one.name for one in pipelines.listed(made.home)] == [PIPELINE]


def test_policies_and_raw_rows_are_said_in_the_file_and_come_back_in_an_export(made: Rig, tmp_path: Path):
    from millrace.control.as_code.export import export
    from millrace.control.pipeline import pipelines

    said = (
        "    schema_evolution_policy: {tables: freeze}\n    failure_handling_policy: {max_failed_events: 5}\n"
        "    json_parsing_strategy: SPLIT\n    keep_raw: 30d\n"
    )
    file = pipelines_file(tmp_path, made, said)
    apply.apply_file(made.home, file)
    options = pipelines.find(made.home, "p").options
    assert options == {
        "schema_policy": {"tables": "freeze", "columns": "evolve", "types": "evolve"},
        "failure_policy": {"max_failed_events": 5},
        "json_parsing_strategy": "SPLIT",
        "keep_raw_s": 30 * 86_400,
    }
    file.write_text(export(made.home, ["p"]).text)
    again = apply.apply_file(made.home, file)
    assert [change.state for change in again.changes if change.kind == "pipeline"] == ["unchanged"]
    apply.apply_file(made.home, pipelines_file(tmp_path, made, ""))
    assert pipelines.find(made.home, "p").options == {}


@pytest.mark.parametrize(
    ("part", "told"),
    [
        ("schema_evolution_policy: BLOCK_AL", "Did you mean 'BLOCK_ALL'?"),
        ("schema_evolution_policy: {tables: freez}", "Did you mean 'freeze'?"),
        ("failure_handling_policy: {max_failed_events: -1}", "So many of its rows may fail."),
        ("json_parsing_strategy: SPLITT", "Did you mean 'SPLIT'?"),
        ("keep_raw: 30x", None),
    ],
)
def test_a_policy_that_means_nothing_is_told_with_its_line(made: Rig, tmp_path: Path, part: str, told: str | None):
    from millrace.control.as_code.places import DocumentError

    with pytest.raises(DocumentError) as caught:
        apply.apply_file(made.home, pipelines_file(tmp_path, made, f"    {part}\n"))
    (problem,) = caught.value.problems
    assert (problem.path or "").startswith("pipelines.yaml:7 pipelines.p.")
    assert told in (None, problem.hint)


def test_what_tells_made_rows_apart_stays_over_runs(made: Rig):
    script = (
        "from millrace.api import Event\n\ndef transform(event):\n    p = event.getProperties()\n"
        "    return [event] + [Event('parts', {'id': p['id'], 'at': at}) for at in range(p['n'])]\n"
    )
    made.script.tales["orders", "incremental"] = [[[{"id": 1, "n": 1}]], [[{"id": 2, "n": 2}]]]
    deploy(made.home, PIPELINE, "python", script)
    made.run()
    assert made.rows("parts", "id") == [1]
    record = made.run()
    assert record.balance.rejected == {"steps/TRANSFORM_RESULT": 1}
    assert made.rows("parts", "id") == [1]
