"""What the documents say is there: files, headings, commands with their options, tasks of make."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from millrace.cli.main import commands

ROOT = Path(__file__).resolve().parents[2]
SKIPPED = {".venv", ".git", "node_modules"}

FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
SPAN = re.compile(r"`([^`\n]+)`")
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)|<img[^>]*src=\"([^\"]+)\"")
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)


@cache
def documents() -> list[Path]:
    found: list[Path] = []
    for folder, folders, files in os.walk(ROOT):
        folders[:] = [name for name in folders if name not in SKIPPED]
        found += [Path(folder) / name for name in files if name.endswith(".md")]
    return sorted(found)


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def code(text: str) -> Iterator[str]:
    """Lines of code blocks, and code inside sentences."""
    for block in FENCE.findall(text):
        yield from block.splitlines()[1:-1]
    yield from SPAN.findall(FENCE.sub("", text))


def anchors(path: Path) -> set[str]:
    headings = HEADING.findall(FENCE.sub("", path.read_text("utf-8")))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def broken_links(path: Path) -> list[str]:
    broken: list[str] = []
    for found in LINK.findall(FENCE.sub("", path.read_text("utf-8"))):
        target = found[0] or found[1]
        if re.match(r"[a-z]+:", target):
            continue
        file, _, anchor = target.partition("#")
        there = (path.parent / file).resolve() if file else path
        if not there.exists() or (anchor and there.suffix == ".md" and anchor not in anchors(there)):
            broken.append(target)
    return broken


@cache
def tree() -> Any:
    return get_command(commands())


def wrong_commands(text: str) -> list[str]:
    """Commands `millrace …` in a document that there are not, or not with such options."""
    wrong: list[str] = []
    for line in code(text):
        if line.startswith("Usage: "):
            continue
        for said in re.findall(r"(?:^|[\s$&|;])millrace ([a-z][^#&|;>]*)", f" {line.split('   ')[0]}"):
            command: Any = tree()
            for word in said.split():
                if word.startswith("--"):
                    options = {option for one in command.params for option in (*one.opts, *one.secondary_opts)}
                    if word.partition("=")[0] not in options | {"--help"}:
                        wrong.append(f"millrace {said}: no option {word}")
                elif hasattr(command, "commands"):
                    if word not in command.commands:
                        wrong.append(f"millrace {said}: no command {word}")
                        break
                    command = command.commands[word]
    return wrong


def wrong_tasks(text: str) -> list[str]:
    tasks = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    return [
        task
        for line in code(text)
        for task in re.findall(r"(?:^|&& |; )(?:\$ )?make ([a-z-]+)", line.strip())
        if task not in tasks
    ]


def wrong_places(text: str) -> list[str]:
    """Files of the source that a document names, as `engine/stage.py` or `tests/x.py:Name`, that are not there."""
    wrong: list[str] = []
    for span in SPAN.findall(FENCE.sub("", text)):
        if not (found := re.fullmatch(r"([\w./-]+/[\w.-]+\.py)(?::(\w+)(?:\(\))?)?", span)):
            continue
        file = next((path for above in (ROOT, ROOT / "src/millrace") if (path := above / found[1]).is_file()), None)
        named = rf"^\s*(def|class) {found[2]}\b|^{found[2]}\b" if found[2] else ""
        if file is None or not re.search(named, file.read_text("utf-8"), re.MULTILINE):
            wrong.append(span)
    return wrong


@pytest.mark.parametrize("path", documents(), ids=name)
def test_every_file_and_name_of_the_source_that_is_mentioned_is_there(path: Path) -> None:
    if path.name != "CHANGELOG.md":
        assert [place for place in wrong_places(path.read_text("utf-8")) if "acme" not in place] == []


@pytest.mark.parametrize("path", documents(), ids=name)
def test_every_link_leads_somewhere(path: Path) -> None:
    assert broken_links(path) == []


@pytest.mark.parametrize("path", documents(), ids=name)
def test_every_command_and_task_that_is_mentioned_exists(path: Path) -> None:
    text = path.read_text("utf-8")
    assert wrong_commands(text) == []
    assert wrong_tasks(text) == []


def test_what_is_not_there_is_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# One thing\n[a](gone.md) [b](#one-thing) [c](#two) [d](page.md#one-thing)\n", "utf-8")
    assert broken_links(page) == ["gone.md", "#two"]
    assert wrong_commands("Say `millrace frobnicate` or `millrace run --twice`.") == [
        "millrace frobnicate: no command frobnicate",
        "millrace run --twice: no option --twice",
    ]
    assert wrong_commands("```sh\n$ millrace sources list   # all of them\nmillrace run anything.yaml\n```\n") == []
    assert wrong_places("`engine/stage.py:Stage` `engine/none.py` `data/types.py:nothing()`") == [
        "engine/none.py",
        "data/types.py:nothing()",
    ]
    assert wrong_tasks("`make tea` and `make test`") == ["tea"]


def test_bare_make_lists_every_task_that_is_there() -> None:
    listed = subprocess.run(["make"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    tasks = "setup demo test lint types generated golden bench crash check new-source new-destination"
    for task in tasks.split():
        assert re.search(rf"^  make {task} ", listed, re.MULTILINE), task
