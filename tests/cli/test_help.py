"""Every help text is as agreed, has examples, and costs little."""

from __future__ import annotations

import functools
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer
from tests.cli.asking import Asked, ask

from millrace.cli.main import MODULES
from millrace.cli.main import commands as made

GOLDEN = Path(__file__).parent.parent / "golden" / "cli"
HEAVY = (
    "pyarrow",
    "duckdb",
    "sqlalchemy",
    "httpx",
    "numpy",
    "alembic",
    "pydantic",
    "yaml",
    "rich",
    "adbc_driver_manager",
)


def commands() -> list[tuple[str, ...]]:
    def walk(command: object, path: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
        yield path
        for name, below in getattr(command, "commands", {}).items():
            yield from walk(below, (*path, name))

    return sorted(walk(typer.main.get_command(made()), ()))


@functools.cache
def help_of(path: tuple[str, ...]) -> Asked:
    return ask(*path, "--help")


def test_the_table_of_modules_says_which_has_which_command():
    for module, names in MODULES.items():
        assert {*typer.main.get_group(made(names[0])).commands} == {*names}, module
    assert {name for names in MODULES.values() for name in names} == {path[0] for path in commands() if path}


@pytest.mark.parametrize("path", commands(), ids=lambda path: "-".join(path) or "millrace")
def test_the_help_of_every_command_is_as_in_its_golden_file(path: tuple[str, ...]):
    asked = help_of(path)
    assert (asked.code, asked.err) == (0, "")
    golden = GOLDEN / f"help-{'-'.join(path) or 'millrace'}.txt"
    if os.environ.get("MILLRACE_GOLDEN") == "write":
        golden.parent.mkdir(parents=True, exist_ok=True)
        golden.write_text(asked.out)
    assert asked.out == golden.read_text()


def test_no_golden_help_is_left_of_a_command_that_is_gone():
    agreed = {file.name for file in GOLDEN.glob("help-*.txt")}
    assert agreed == {f"help-{'-'.join(path) or 'millrace'}.txt" for path in commands()}


@pytest.mark.parametrize("path", [p for p in commands() if p], ids="-".join)
def test_every_command_shows_examples_that_begin_with_its_own_name(path: tuple[str, ...]):
    out = help_of(path).out
    if "Commands:" in out:
        return
    examples = out.split("Examples:\n")[1].strip().splitlines()
    own = " ".join(path).removesuffix(" list")
    assert examples
    assert all(re.match(rf"\s*millrace {re.escape(own)}\b", line) for line in examples)


def test_help_imports_nothing_heavy():
    probe = (
        "import sys\nfrom millrace.cli.main import main\ncode = main(['--help'])\n"
        "print(*sorted({name.partition('.')[0] for name in sys.modules}), file=sys.stderr)\nsys.exit(code)"
    )
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    assert not {*HEAVY} & {*done.stderr.split()}


def test_importing_millrace_imports_nothing_heavy():
    probe = "import sys, millrace\nprint(*sorted({name.partition('.')[0] for name in sys.modules}))"
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    assert not {*HEAVY, "typer"} & {*done.stdout.split()}


def test_nothing_typed_is_answered_with_help():
    asked = ask()
    assert asked.code == 0
    assert asked.out.startswith("Usage: millrace")


def test_a_command_lets_arrow_give_memory_back():
    probe = (
        "import sys\nfrom millrace.control.running import process\nprocess.begin()\n"
        "from millrace.cli.main import main\n"
        "main(['version'])\nassert 'pyarrow' not in sys.modules\n"
        "import pyarrow\nprint(pyarrow.default_memory_pool().backend_name, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    assert done.stderr.split() == ["system"]
