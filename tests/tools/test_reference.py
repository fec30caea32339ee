"""The reference is what the code says, and leaves nothing out."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, get_args

import pytest
from typer.main import get_command

from millrace.cli.main import commands
from millrace.connect import registry
from millrace.control.as_code.document_schema import DocumentPart
from millrace.data import types
from tools import reference


@pytest.fixture(scope="module", autouse=True)
def pages() -> Iterator[dict[str, str]]:
    """The pages as the code says them, which takes long, so it says them once."""
    said = {name: page() for name, page in reference.WRITTEN.items()}
    with pytest.MonkeyPatch.context() as patch:
        for name, page in said.items():
            patch.setitem(reference.WRITTEN, name, partial(str, page))
        yield said


def test_every_page_is_up_to_date() -> None:
    assert reference.outdated() == [], "run `make golden`"


def test_a_page_that_nothing_writes_or_that_differs_is_named(tmp_path: Path) -> None:
    for name, page in reference.WRITTEN.items():
        (tmp_path / name).write_text(reference.HEAD + page(), "utf-8")
    assert reference.outdated(tmp_path) == []
    (tmp_path / "types.md").write_text("old", "utf-8")
    (tmp_path / "cli.md").unlink()
    (tmp_path / "left-over.md").write_text("", "utf-8")
    assert reference.outdated(tmp_path) == ["cli.md", "types.md", "left-over.md"]


@pytest.mark.parametrize("family", [registry.SOURCES, registry.DESTINATIONS])
def test_every_setting_of_every_connector_has_its_line(pages: dict[str, str], family: str) -> None:
    page = pages["connectors.md"]
    find: Any = registry.source if family == registry.SOURCES else registry.destination
    for name in registry.names(family):
        assert f"`{name}`" in page
        for key in find(name).Config.model_fields:
            assert re.search(rf"^\| `{key}` \|.*\| \S.* \|$", page, re.MULTILINE), f"{name}.{key}"


def test_every_part_of_the_file_of_pipelines_has_its_table(pages: dict[str, str]) -> None:
    whole = DocumentPart.model_json_schema(ref_template="{model}")
    for name, part in {"DocumentPart": whole, **whole["$defs"]}.items():
        rows = "\n".join(rf"\| `{key}` \|.*\| \S.* \|" for key in part["properties"])
        assert re.search(rf"^\|---\|---\|---\|---\|\n{rows}\n(\n|\Z)", pages["pipelines.md"], re.MULTILINE), name


def test_secrets_are_told_as_secrets(pages: dict[str, str]) -> None:
    assert re.search(r"^\| `passcode` \| secret text \|", pages["connectors.md"], re.MULTILINE)


def test_every_logical_type_has_its_row(pages: dict[str, str]) -> None:
    page = pages["types.md"]
    for kind in get_args(types.Kind):
        assert kind == "NULL" or re.search(rf"^\| `{kind}[`(]", page, re.MULTILINE), kind


def test_every_command_has_its_help(pages: dict[str, str]) -> None:
    page = pages["cli.md"]
    command: Any = get_command(commands())
    assert command.commands
    for name in command.commands:
        assert f"\n### `millrace {name}`\n" in page
    assert page.count("```") == 2 * page.count("Usage: millrace")


def test_every_code_of_a_rejected_row_is_explained() -> None:
    assert reference.reject_codes() == reference.REJECT_CODES.keys()


def test_codes_are_found_where_errors_are_made(pages: dict[str, str]) -> None:
    page = pages["errors.md"]
    for code in ("auth", "newer_database", "disk_full", "stale", "unknown_key", "missing_variable", "no_home"):
        assert f"\n| `{code}` |" in page, code
