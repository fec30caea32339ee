"""Mappings as YAML: what is written is read again as the same, and what is wrong is told with its line."""

from __future__ import annotations

from typing import Any

import pytest
from tests.engine.kit import PIPELINE, Rig, rig, types

from millrace.control.as_code.places import DocumentError
from millrace.control.mapper import mapping_plans, mappings
from millrace.control.mapper.mapping_document import apply_yaml, export_yaml
from millrace.control.mapper.mappings import By
from millrace.data.batch import Checkpoint
from millrace.errors import ConfigError

__all__ = ["rig", "types"]

HERE = (PIPELINE, "items")


@pytest.fixture
def shop(rig: Rig) -> Rig:
    """A pipeline that has read two event types, with fields whose names are hard to write."""
    row: dict[str, Any] = {"id": 1, "First Name": "a", "7": 5, "no": 6, "${X}": 7, "a: b": 8}
    rig.script.stream("items", [[row], Checkpoint(1)], key=("id",))
    rig.script.stream("other", [[{"k": 1}], Checkpoint(1)])
    rig.create().run()
    return rig


def latest(rig: Rig, event_type: str = "items") -> Any:
    return mappings.kept(rig.home, PIPELINE, event_type).mapping


def test_what_is_exported_says_what_is_there(shop: Rig):
    mappings.change_type(shop.home, *HERE, "7", "LONG")
    mappings.ignore(shop.home, *HERE, "no")
    mappings.skip(shop.home, PIPELINE, "other")
    before = {name: latest(shop, name) for name in ("items", "other")}
    text = export_yaml(shop.home, PIPELINE)
    assert [plan.changed for plan in apply_yaml(shop.home, None, text, "m.yaml")] == [False, False]
    assert {name: latest(shop, name) for name in before} == before
    mappings.reset(shop.home, *HERE)
    mappings.include(shop.home, PIPELINE, "other")
    apply_yaml(shop.home, None, text, "m.yaml", By(reason="as it was"))
    for name, was in before.items():
        now = latest(shop, name)
        assert {(c.source, c.name, c.type, c.fixed) for c in now.columns} == {
            (c.source, c.name, c.type, c.fixed) for c in was.columns
        }
        assert (now.ignored, now.skipped, now.table) == (was.ignored, was.skipped, was.table)
    assert mappings.kept(shop.home, *HERE).reason == "as it was"


def test_one_file_is_one_version_of_each_event_type_and_applying_again_changes_nothing(shop: Rig):
    text = """\
event_types:
  items:
    columns:
      First Name: given_name
      "7": {name: seven, type: LONG, fixed: true}
    ignored: ["a: b"]
    policy: {columns: freeze}
    auto_mapping: false
  OTHER:
    skipped: true
"""
    text = text.replace("OTHER", "other")
    before = latest(shop).version
    plans = apply_yaml(shop.home, PIPELINE, text, "m.yaml")
    assert [(plan.event_type, plan.changed) for plan in plans] == [("items", True), ("other", True)]
    found = latest(shop)
    assert (found.version, found.of("First Name").name, found.of("7").fixed) == (before + 1, "given_name", True)
    assert (found.ignored, found.policy.columns, found.own_auto) == (("a: b",), "freeze", False)
    assert latest(shop, "other").skipped
    assert not any(plan.changed for plan in apply_yaml(shop.home, PIPELINE, text, "m.yaml"))
    back = "event_types: {items: {policy: pipeline, auto_mapping: pipeline, columns: {'7': {fixed: false}}}}"
    apply_yaml(shop.home, PIPELINE, back, "m.yaml")
    found = latest(shop)
    assert (found.policy, found.own_auto, found.of("7").fixed) == (None, None, False)


def test_a_dry_run_of_a_file_changes_nothing(shop: Rig):
    before = latest(shop)
    (plan,) = apply_yaml(shop.home, PIPELINE, "event_types: {items: {skipped: true}}", "m.yaml", By(dry_run=True))
    assert plan.changed and plan.dry_run
    assert latest(shop) == before


def test_all_that_is_wrong_is_told_with_its_line_and_nothing_is_changed(shop: Rig):
    text = """\
event_types:
  other: {skipped: true}
  items:
    columns:
      id: First
      "7": {type: DATTE}
      no: {type: DATE}
      where: there
    ignored: [id]
    policy: ALLOW_NOTHING
    auto_mapping: maybe
  itms: {skipped: true}
"""
    before = {name: latest(shop, name) for name in ("items", "other")}
    with pytest.raises(DocumentError) as refused:
        apply_yaml(shop.home, PIPELINE, text, "m.yaml")
    told = {(one.path or "").split(" ")[0]: one.code for one in refused.value.problems}
    assert told == {
        "m.yaml:6": "unknown_type",
        "m.yaml:7": "never_fits",
        "m.yaml:8": "unknown_field",
        "m.yaml:9": "key_column",
        "m.yaml:10": "policy",
        "m.yaml:11": "bad_value",
        "m.yaml:12": "unknown_event_type",
    }
    assert all(one.hint for one in refused.value.problems)
    assert {name: latest(shop, name) for name in before} == before


def test_two_event_types_of_a_file_have_no_table_in_common_and_nothing_is_changed(shop: Rig):
    before = {name: latest(shop, name) for name in ("items", "other")}
    text = "event_types:\n  items: {table: both}\n  other: {table: Both}\n"
    with pytest.raises(DocumentError) as refused:
        apply_yaml(shop.home, PIPELINE, text, "m.yaml")
    assert [(one.code, (one.path or "").split(" ")[0]) for one in refused.value.problems] == [
        ("table_taken", "m.yaml:3")
    ]
    assert {name: latest(shop, name) for name in before} == before


def test_a_file_is_kept_as_a_whole_or_not_at_all(shop: Rig, monkeypatch: pytest.MonkeyPatch):
    kept = mapping_plans.keep

    def keep(entry: Any, made: Any, by: Any) -> None:
        if made.stream == "other":
            raise RuntimeError("the machine is gone")
        kept(entry, made, by)

    monkeypatch.setattr(mapping_plans, "keep", keep)
    with pytest.raises(RuntimeError):
        apply_yaml(shop.home, PIPELINE, "event_types: {items: {skipped: true}, other: {skipped: true}}", "m.yaml")
    assert not latest(shop).skipped


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("event_types: {items: {collumns: {}}}", "unknown_key"),
        ("event_types: {items: {columns: {id: {nme: x}}}}", "unknown_key"),
        ("event_types: {items: {ignored: id}}", "bad_value"),
        ("event_types: 7", "bad_value"),
        ("{}", "missing_key"),
        ("", "empty"),
        ("event_types: [", "not_yaml"),
        ("event_types: {items: {skipped: true, skipped: false}}", "duplicate_key"),
    ],
)
def test_a_file_of_another_shape_is_refused(shop: Rig, text: str, code: str):
    with pytest.raises(DocumentError) as refused:
        apply_yaml(shop.home, PIPELINE, text, "m.yaml")
    assert refused.value.problems[0].code == code


def test_a_file_that_names_no_pipeline_is_refused(shop: Rig):
    with pytest.raises(ConfigError, match="which pipeline"):
        apply_yaml(shop.home, None, "event_types: {}", "m.yaml")


def test_an_event_type_is_mapped_before_its_first_row_with_the_key_of_its_source(rig: Rig):
    rig.script.stream("items", [[{"id": 1, "n": 5}, {"id": 1, "n": 6}], Checkpoint(1)], key=("id",))
    rig.create()
    text = "event_types: {items: {table: things, columns: {id: {type: LONG}, n: {name: count, type: LONG}}}}"
    apply_yaml(rig.home, PIPELINE, text, "m.yaml")
    rig.run()
    assert rig.rows("things", "id", "count") == [(1, 6)]
