"""Pipelines as code: a home from a file, and a file from a home; and files that settings name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any

from pydantic import Field

from millrace.control.as_code import apply as applying
from millrace.control.as_code import export as exporting
from millrace.control.as_code.apply import Applied
from millrace.control.as_code.document import parse
from millrace.control.as_code.document_schema import schema as schema_of
from millrace.control.as_code.export import Exported, Section
from millrace.control.connecting import files
from millrace.control.connecting.connections import config_class
from millrace.control.connecting.files import Stored
from millrace.control.desk import Content, operation
from millrace.control.home import Home
from millrace.control.operations.names import FileName, Name

NONE: Mapping[str, str] = MappingProxyType({})


@operation("POST", "/apply", "pipelines.edit")
def apply(
    home: Home,
    text: Annotated[str, Field(max_length=4_000_000, description="The YAML.")],
    file: Annotated[str, Field(max_length=500, description="Name of the file, for messages.")] = "pipelines.yaml",
    variables: Annotated[Mapping[str, str], Field(description="What `${NAME}` in the text stands for.")] = NONE,
    sent: Annotated[
        Mapping[str, str], Field(description="Relative paths in the text, and the names of files that were sent.")
    ] = NONE,
    dry_run: bool = False,
) -> Applied:
    """Bring sources, destinations and pipelines to what a file of pipelines says. Nothing is run.

    Variables come from the request, never from the server. Relative paths start at the files that were sent before.
    What the file does not name stays as it is.
    """
    for permission in ("pipelines.create", "destinations.create", "transformations.edit"):
        home.actor.must(permission)
    known = applying.saved(home)
    with files.laid_out(home, sent) as folder:
        document = parse(text, folder / _last(file), env=variables, saved=known, confined=True)
    if document.settings or document.channels:
        home.actor.must("settings.edit")
    there = tuple(
        replace(one, config=files.settled(home, config_class(one.kind, one.type), one.config, folder, sent))
        for one in document.connections
    )
    return replace(applying.apply(home, replace(document, connections=there), dry_run=dry_run), file=Path(file))


@operation("GET", "/export")
def export(
    home: Home,
    pipeline: Annotated[Sequence[Name], Field(max_length=1000)] = (),
    section: Annotated[
        Sequence[Section], Field(max_length=20, description="Only these parts of the file; left out: all.")
    ] = (),
) -> Exported:
    """Write pipelines as the YAML that `apply` reads, and what else a file can say. Secrets become ${VARIABLES}."""
    return exporting.export(home, pipeline or None, section)


@operation("GET", "/schema")
def schema(home: Home) -> Mapping[str, Any]:
    """The JSON Schema of a file of pipelines."""
    del home
    return schema_of()


@operation("PUT", "/files/{name}", "pipelines.edit")
def put(home: Home, name: FileName, content: Content) -> Stored:
    """Keep a file that settings may name, such as CleverTap's CSV of event names. One of that name is replaced."""
    return files.put(home, name, content.path)


OPERATIONS = (apply, export, schema, put)


def _last(file: str) -> str:
    """The name without its folders."""
    return file.replace("\\", "/").rpartition("/")[2] or "pipelines.yaml"
