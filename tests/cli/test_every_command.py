"""Every command is tested on a home and at a server: `tests/cli/test_both_ways.py` asks each, both ways."""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import typer
from tests.cli import test_both_ways
from tests.cli.asking import ask
from tests.cli.test_remote import LOOKS

from millrace.cli.main import commands

# What works on a home of this machine alone, and says so where a server is meant; why.
LOCAL = {
    "init": "it makes the home",
    "serve": "it is the server",
    "diagnose": "the home may not be well",
    "secrets rotate": "the key is beside the database, with whoever operates it",
    "team create": "teams are made by whoever operates the home",
    "user set-password": "the password of somebody else is for whoever operates the home",
}
# What asks neither a home nor a server; why.
ALONE = {
    "schema": "it comes with the package",
    "version": "it is of the package",
    "simulate clevertap": "it is a server of another kind",
}
# What is only refused in `tests/cli/test_both_ways.py`; why.
BESIDE = {
    "preview": "which rows come first is up to the source: `tests/cli/test_remote.py` compares the rest",
    "objects log-position": "only a database has a log",
}
NOWHERE = ("--url", "http://127.0.0.1:9", "--key", "k:s")


def leaves(node: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """All commands of the tree."""
    if not hasattr(node, "commands"):
        yield path
        return
    for name, below in node.commands.items():
        yield from leaves(below, (*path, name))


def meant(words: Sequence[str], tree: Any) -> str:
    """The command that these words ask for; those that are not known stand empty."""
    path: list[str] = []
    for word in words:
        below = getattr(tree, "commands", {})
        if word not in below:
            break
        tree = below[word]
        path.append(word)
    return " ".join([*path, "list"] if "list" in getattr(tree, "commands", {}) else path)


def surely(node: ast.AST) -> Iterator[ast.AST]:
    """What is below the node, but for what only runs if something is so."""
    yield node
    for below in ast.iter_child_nodes(node):
        if not isinstance(below, ast.If):
            yield from surely(below)


def asked(text: str) -> Iterator[list[str]]:
    """The words of each command that ends well both ways (`both.done`) within tests of that text."""
    for test in ast.parse(text).body:
        if not (isinstance(test, ast.FunctionDef) and test.name.startswith("test_")):
            continue
        for node in surely(test):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "both.done":
                yield [str(word.value) if isinstance(word, ast.Constant) else "" for word in node.args]


def untested(tree: Any, words: Collection[Sequence[str]]) -> set[str]:
    """The commands that none of these ask for, and that are not said to need it."""
    done = {meant(one, tree) for one in words}
    return {" ".join(path) for path in leaves(tree)} - done - LOCAL.keys() - ALONE.keys() - BESIDE.keys()


@pytest.fixture(scope="module")
def tree() -> Any:
    return typer.main.get_command(commands())


@pytest.fixture(scope="module")
def words() -> list[Sequence[str]]:
    return [*LOOKS, *asked(Path(test_both_ways.__file__).read_text())]


def test_every_command_is_asked_both_ways(tree: Any, words: list[Sequence[str]]):
    assert untested(tree, words) == set()


def test_a_command_that_no_test_asks_both_ways_is_found(tree: Any, words: list[Sequence[str]]):
    rest = [one for one in words if meant(one, tree) not in ("pause", "alert list", "team show")]
    assert untested(tree, rest) == {"pause", "alert list", "team show"}
    for text in ("ask('pause')", "both.refused('no', 'pause')", "both.ask('pause')", "if False: both.done('pause')"):
        assert list(asked(f"def test_it():\n    {text}\n\ndef it():\n    both.done('pause')\n")) == []


def test_what_is_said_to_be_local_is_a_command(tree: Any):
    assert LOCAL.keys() | ALONE.keys() | BESIDE.keys() <= {" ".join(path) for path in leaves(tree)}
    assert not LOCAL.keys() & ALONE.keys()


@pytest.mark.parametrize("command", [*LOCAL, "schema", "version"])
def test_what_is_local_says_so_where_a_server_is_meant(command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    more = {"user set-password": ["a@example.org"], "team create": ["x", "--email", "a@example.org"]}.get(command, [])
    found = ask(*command.split(), *more, "--json", *NOWHERE)
    if command in ALONE:
        assert found.code == 0, found
    else:
        assert (found.code, found.json["error"]["code"]) == (2, "local_only"), found
    assert not list(tmp_path.iterdir())
