"""YAML with places: lines, variables, duplicate keys, and scalars that stay what was written."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace.control.as_code.places import DocumentError, plant


def value(text: str, **env: str):
    tree = plant(text, "f.yaml", env)
    assert not tree.problems
    return tree.value


def test_scalars_follow_the_core_rules_of_yaml_1_2():
    read = value("{a: no, b: 2024-01-01, c: 007, d: 7, e: 1.5, f: true, g: ~, h: '7', i: 12:30, j: -3, k: 1e3}")
    assert read == {
        "a": "no", "b": "2024-01-01", "c": "007", "d": 7, "e": 1.5, "f": True, "g": None, "h": "7", "i": "12:30",
        "j": -3, "k": 1000.0,
    }  # fmt: skip


def test_a_variable_is_filled_in_anywhere_in_a_scalar():
    assert value("a: x-${A}-${B}", A="1", B="2") == {"a": "x-1-2"}


def test_a_default_stands_for_a_variable_that_is_unset_or_empty():
    assert value("a: ${A:-x}\nb: ${B:-y}\nc: ${C:-}", B="") == {"a": "x", "b": "y", "c": ""}


def test_a_variable_that_holds_a_reference_is_not_read_again():
    assert value("a: ${A}", A="${B}") == {"a": "${B}"}


def test_a_doubled_dollar_gives_a_literal_reference():
    assert value("a: $${A} costs $5") == {"a": "${A} costs $5"}


def test_a_missing_variable_is_named_with_its_line():
    tree = plant("a: 1\nb:\n  c: ${NOT_SET}\n", "f.yaml", {})
    (problem,) = tree.problems
    assert (problem.code, problem.path) == ("missing_variable", "f.yaml:3 b.c")
    assert "NOT_SET" in problem.message


@pytest.mark.parametrize("text", ["a: ${}", "a: ${1A}", "a: '${A'", "a: ${A-b}"])
def test_a_reference_that_is_none_is_told(text: str):
    assert [one.code for one in plant(text, "f.yaml", {"A": "x"}).problems] == ["bad_variable"]


def test_a_duplicate_key_is_refused_with_both_lines():
    (problem,) = plant("a: 1\nb: 2\na: 3\n", "f.yaml", {}).problems
    assert (problem.code, problem.path) == ("duplicate_key", "f.yaml:3 a")
    assert "line 1" in problem.message


def test_merged_mappings_keep_their_places():
    tree = plant("x: &x\n  a: 1\ny:\n  <<: *x\n  b: 2\n", "f.yaml", {})
    assert tree.value["y"] == {"a": 1, "b": 2}
    assert tree.line(("y", "a")) == 2


def test_a_value_that_contains_itself_is_refused():
    assert [one.code for one in plant("a: &a [*a]", "f.yaml", {}).problems] == ["circular"]


def test_repeated_aliases_do_not_blow_up():
    lines = ["a0: &a0 [x, x]"] + [f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]" for n in range(1, 60)]
    tree = plant("\n".join(lines), "f.yaml", {})
    assert not tree.problems


def test_a_text_that_is_no_yaml_is_told_with_its_line():
    with pytest.raises(DocumentError) as told:
        plant("a: 1\nb: [1, 2\nc: 3\n", "f.yaml", {})
    assert told.value.problems[0].code == "not_yaml"
    assert told.value.exit_code == 2


def test_a_variable_in_braces_without_quotes_is_explained():
    with pytest.raises(DocumentError) as told:
        plant("a: {b: ${X}}", "f.yaml", {"X": "1"})
    assert told.value.hint == 'Inside {...} a variable needs quotes: "${NAME}".'


@given(st.text(st.characters(codec="ascii", categories=["L", "N"]), min_size=1), st.text())
def test_any_value_of_a_variable_arrives_as_it_is(name: str, held: str):
    tree = plant(f"a: '${{V_{name}}}'", "f.yaml", {f"V_{name}": held})
    assert tree.value == {"a": held}


@pytest.mark.parametrize("text", ["a:\n  b: !secret x", "a:\n  b: !x [1]", "a:\n  !k b: 1", "a:\n  b: !!binary eA=="])
def test_a_tag_that_would_mean_something_elsewhere_is_refused_with_its_line(text: str):
    (problem,) = plant(text, "f.yaml", {}).problems
    assert (problem.code, problem.path) == ("unknown_tag", "f.yaml:2 a.b")


def test_the_tags_of_yaml_itself_may_be_written():
    tree = plant("a: !!map {b: !!seq [!!str x, 2024-01-01, 1.5, null, true]}\n<<: {c: =}", "f.yaml", {})
    assert not tree.problems
