"""The acceptance scenarios of CleverTap, of loading and of pipelines each stand at a test."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
PLACES = ("tests", "src/millrace/connect/testing")  # the contract's tests are run by each destination's
WANTED = {
    f"{chapter}.{number}"
    for chapter, count in {"clevertap.10": 26, "loading.21": 10, "pipelines.22": 19}.items()
    for number in range(1, count + 1)
}


def shown(path: Path) -> Iterator[str]:
    """The scenarios that tests of a file are marked with; marks on anything else do not count."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
            for mark in node.decorator_list:
                if isinstance(mark, ast.Call) and ast.unparse(mark.func) == "pytest.mark.spec":
                    yield from (str(one.value) for one in mark.args if isinstance(one, ast.Constant))


def test_each_acceptance_scenario_is_named_by_a_test() -> None:
    files = [path for place in PLACES for path in (ROOT / place).rglob("*.py") if "spec(" in path.read_text()]
    assert WANTED - {one for path in files for one in shown(path)} == set()
