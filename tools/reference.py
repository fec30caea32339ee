"""Writes docs/reference from the code: connectors, types, errors, command line, the YAML file.

`python tools/reference.py` writes the pages; with `--check` it only says which of them are not up to date.
"""

from __future__ import annotations

import argparse
import ast
import io
import os
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, get_args
from unittest.mock import patch

ROOT = Path(__file__).resolve().parent.parent
PAGES = ROOT / "docs/reference"
SOURCE = ROOT / "src/millrace"
WIDTH = 100

HEAD = "<!-- Written by tools/reference.py from the code. Change the code, then run `make golden`. -->\n\n"

# What rows are rejected for, in words. Every code that the source has must be here, and nothing else.
REJECT_CODES: dict[str, str] = {
    "BAD_TIMESTAMP": "The source sent a time that is none.",
    "COLUMN_LIMIT": "A field has no column, because the table has as many as the destination allows. Rows still pass.",
    "CONSTRAINT_VIOLATION": "A constraint of the table (NOT NULL, CHECK, UNIQUE) that its owner made refuses the row.",
    "FORGOTTEN_DAY": "What was loaded of the row's day is no longer known; in append mode a replay could double it.",
    "INCOMPATIBLE_TYPE": "A value cannot be kept exactly in its column's type.",
    "MISSING_OBJECT_ID": "A CleverTap record without the identity of its device or user.",
    "MISSING_PROFILE": "A CleverTap record without its profile.",
    "NULL_PRIMARY_KEY": "A column of the key has no value, so the row cannot be told from others.",
    "ROW_TOO_LARGE": "The row has more bytes than one row may have.",
    "STRING_TOO_LONG": "A text is longer than its column, which the table's owner made, allows.",
    "TOO_DEEP": "A record's values are nested too deeply.",
    "TRANSFORM_ERROR": "The transformation raised an error, or a formula of a block has no answer for the row.",
    "TRANSFORM_LIMIT": "The script took more memory, or made more of an event, than it may.",
    "TRANSFORM_RESULT": "The script returned something else than an event, a list of events, or None.",
    "TRANSFORM_TIMEOUT": "The script took more time for the event than it may.",
    "UNMAPPED_EVENT_TYPE": "The event type has no table: auto mapping is off or the policy freezes tables, and nobody "
    "has mapped it.",
    "UNMAPPED_FIELD": "A field has no column, because columns are not made by themselves. Rows still pass, unless the "
    "policy freezes columns.",
    "UNREADABLE_RECORD": "The source sent something that cannot be read as a record.",
}


# The file of pipelines and the settings of connectors: rows of tables from JSON Schema.


def pipelines_page() -> str:
    """Every key of a file of pipelines."""
    from millrace.control.as_code.document_schema import DocumentPart

    schema = DocumentPart.model_json_schema(ref_template="{model}")
    lines = [
        "# The file of pipelines",
        "",
        "One YAML file says which sources, destinations and pipelines there are. `millrace apply FILE` brings them "
        "about; `millrace run FILE` also runs them. Unknown keys are refused. `${NAME}` is replaced by an environment "
        "variable, `${NAME:-default}` by it or the default; `$${` is a literal `${`. Relative paths start at the "
        "folder of the file. `millrace schema` prints a JSON Schema of all of this for editors.",
        "",
        "The settings under `config` are those of the connector: [connectors](connectors.md); of a channel of alerts, "
        "those of its kind: [being told](../guides/alerts.md#channels).",
        "",
    ]
    parts = [
        ("Top level", schema),
        *(
            (title, schema["$defs"][name])
            for title, name in (
                ("`settings`", "SettingsPart"),
                ("`usage`", "UsagePart"),
                ("`usage.window`", "WindowPart"),
                ("`sources.NAME`, and `pipelines.NAME.source` as a mapping", "ConnectionPart"),
                ("`destinations.NAME`", "DestinationPart"),
                ("`alert_channels.NAME`", "ChannelPart"),
                ("`alert_channels.NAME.wanted`", "WantedPart"),
                ("`alert_channels.NAME.wanted.quiet`", "QuietPart"),
                ("`pipelines.NAME`", "PipelinePart"),
                (
                    "A schedule: `pipelines.NAME.schedule`, `pipelines.NAME.objects.NAME.schedule`, "
                    "`destinations.NAME.load_schedule`",
                    "SchedulePart",
                ),
                ("`pipelines.NAME.objects.NAME`", "ObjectPart"),
                ("`pipelines.NAME.transformation`: one of the two", "TransformationPart"),
                ("`pipelines.NAME.schema_evolution_policy` as a mapping", "SchemaPolicyPart"),
                ("`pipelines.NAME.failure_handling_policy` as a mapping", "FailurePolicyPart"),
                ("Its `object_failure_threshold` as a mapping", "FailureThresholdPart"),
                ("`pipelines.NAME.limits`", "PipelineLimitsPart"),
                ("A limit: `usage.month`, `pipelines.NAME.limits.day`, `pipelines.NAME.limits.month`", "LimitPart"),
                ("`pipelines.NAME.watch`", "WatchPart"),
            )
        ),
    ]
    for title, part in parts:
        lines += [f"## {title}", "", *_settings_table(part, schema.get("$defs", {})), ""]
    return "\n".join(lines)


def connectors_page() -> str:
    """Every source and destination with its settings."""
    from millrace.connect import registry

    lines = [
        "# Connectors",
        "",
        "Every type of source and destination that comes with Millrace, with its settings.",
        "",
    ]
    for kind, family, find in (
        ("Source", registry.SOURCES, registry.source),
        ("Destination", registry.DESTINATIONS, registry.destination),
    ):
        for name in registry.names(family):
            found: Any = find(name)
            schema = found.Config.model_json_schema(ref_template="{model}")
            # As in forms: what must be given goes first, what all connectors share last.
            shared, required = found.Config.__mro__[1].model_fields, schema.get("required", ())
            order = sorted(schema["properties"], key=lambda key: (key in shared, key not in required))
            schema["properties"] = {key: schema["properties"][key] for key in order}
            guide = f"../../src/millrace/{kind.lower()}s/{name}/README.md"
            lines += [
                f"## {kind} `{name}`: {found.title}",
                "",
                f"How to set it up: [{found.title}]({guide}).",
                "",
                *_settings_table(schema, schema.get("$defs", {}), secrets=found.Config.secret_keys()),
                "",
            ]
            if kind == "Destination":
                limits = found.limits
                unit = "bytes" if limits.count_bytes else "characters"
                lines += [
                    f"Load modes: {', '.join(limits.modes)}. Names: tables up to {limits.table_name} {unit}, columns "
                    f"up to {limits.column_name}; {limits.case} case. Columns in a table: up to {limits.columns:,}. "
                    f"Digits of a DECIMAL: up to {limits.max_decimal}; more become text.",
                    "",
                ]
    return "\n".join(lines)


def _settings_table(
    schema: dict[str, Any], parts: dict[str, Any], secrets: frozenset[str] = frozenset()
) -> Iterator[str]:
    required = set(schema.get("required", ()))
    yield from _row("Key", "Value", "Default", "What it is")
    yield "|---|---|---|---|"
    for name, field in schema.get("properties", {}).items():
        kind = "secret text" if name in secrets else _kind(field, parts)
        default = "(must be given)" if name in required else _default(field)
        about = field.get("description") or parts.get(field.get("$ref", ""), {}).get("description", "")
        yield from _row(f"`{name}`", kind, default, about)


def _default(field: dict[str, Any]) -> str:
    value = field.get("default")
    if value is None or value in ("", {}, []):
        return ""
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def _kind(field: dict[str, Any], parts: dict[str, Any]) -> str:
    """A field's kind of value in words, from its JSON Schema."""
    if reference := field.get("$ref"):
        return _kind(parts[reference], parts)
    if choices := field.get("enum"):
        return " or ".join(f"`{choice}`" for choice in choices)
    if "const" in field:
        return f"`{field['const']}`"
    if several := field.get("anyOf") or field.get("oneOf"):
        words = dict.fromkeys(_kind(one, parts) for one in several if one.get("type") != "null")
        return " or ".join(words)
    match field.get("type"):
        case "boolean":
            return "`true` or `false`"
        case "integer" | "number" as type_:
            return ("whole number" if type_ == "integer" else "number") + _range(field)
        case "array":
            items = field.get("items")
            return f"list of {_kind(items, parts)}" if items else "list"
        case "object":
            below = field.get("additionalProperties")
            return "mapping by name" if isinstance(below, dict) else "mapping"
        case _:
            return "path" if field.get("format") in ("path", "file-path", "directory-path") else "text"


def _range(field: dict[str, Any]) -> str:
    least, most = field.get("minimum"), field.get("maximum")
    above = field.get("exclusiveMinimum")
    if least is not None and most is not None:
        return f", {least} to {most:,}"
    if least is not None:
        return f", {least} or more"
    return f", more than {above}" if above is not None else ""


# Types.


def types_page() -> str:
    """Logical type → the type at each destination, for every dialect."""
    from millrace.connect import registry
    from millrace.connect.files import formats
    from millrace.data import types

    systems: list[tuple[str, Callable[[Any], str]]] = []
    for name in registry.names(registry.DESTINATIONS):
        found: Any = registry.destination(name)
        if dialect := getattr(found, "dialect", None):
            systems.append((found.title, dialect.sql))
    systems.append(("Parquet", lambda type_: _arrow(formats.kept(type_))))
    examples = {"DECIMAL": "DECIMAL(38,9)", "STRUCT": "STRUCT(a INTEGER)", "ARRAY": "ARRAY(INTEGER)"}
    kinds: tuple[str, ...] = get_args(types.Kind)
    names = [examples.get(kind, kind) for kind in kinds if kind != "NULL"]
    names.insert(names.index("DECIMAL(38,9)") + 1, "DECIMAL(60,9)")
    names.insert(names.index("VARCHAR") + 1, "VARCHAR(40)")
    lines = [
        "# Types",
        "",
        "Every value has one of these logical types, each an Arrow type. A column widens when a value asks for it "
        "([why and how](../decisions/0003-widening-is-a-law.md)); no value is cut, rounded or nulled. Moments have "
        "microseconds. In JSON lines JSON, STRUCT and ARRAY are JSON, and in CSV everything is text in the form of "
        "`data/cast.py`.",
        "",
        *_row("Logical type", "Arrow", *(title for title, _ in systems)),
        "|" + "---|" * (len(systems) + 2),
    ]
    for name in names:
        type_ = types.parse(name)
        lines += _row(f"`{name}`", f"`{_arrow(type_)}`", *(f"`{sql(type_)}`" for _, sql in systems))
    return "\n".join([*lines, ""])


def compatibility_page() -> str:
    """Which type of field loads into which type of column."""
    from millrace.data.compatibility import COLUMNS, ROWS, cells

    table = cells()
    lines = [
        "# Types that fit",
        "",
        "Which values of a field (rows) load into a column of which type (columns), when a person maps the field or "
        "chose the column's type. **Y**: all of them. **P**: those that are exactly the same in the column's type; "
        "rows with others are rejected with INCOMPATIBLE_TYPE. **N**: none; such a mapping is refused. Nothing is ever "
        "rounded, cut or nulled to make it fit.",
        "",
        "By itself a column only ever becomes wider ([why and how](../decisions/0003-widening-is-a-law.md)): text is "
        "not read as a number, nor a number as a date. How to change a mapping: "
        "[the Schema Mapper](../guides/mapping.md).",
        "",
        *_row("from \\ to", *(f"`{column}`" for column in COLUMNS)),
        "|" + "---|" * (len(COLUMNS) + 1),
    ]
    for row in ROWS:
        lines += _row(f"`{row}`", *(table[row, column] for column in COLUMNS))
    lines += [
        "",
        "Among the P: 0 and 1 are booleans; LONG is milliseconds since 1970 to TIMESTAMP and TIMESTAMPTZ, and those to "
        "LONG; text is read as numbers, `true` and `false`, ISO 8601 dates and times, base64, and JSON (what is no "
        "JSON becomes a JSON string); a moment is a date at 00:00 alone. NaN and infinities have no JSON form. A text "
        "fits VARCHAR(n) when it is not longer.",
        "",
    ]
    return "\n".join(lines)


def _arrow(type_: Any) -> str:
    text = str(type_)
    return "extension<millrace.text>" if text.startswith("extension<millrace.text") else text


# Errors.


@dataclass(frozen=True)
class Said:
    """One place of the source that raises or reports an error."""

    code: str
    kind: str
    message: str
    hint: str
    module: str


def errors_page() -> str:
    """Every error code, who can act, the exit code of the command line, and what is said."""
    import millrace.errors as errors

    lines = [
        "# Errors",
        "",
        "Every error has a code, a message (what, on what) and mostly a hint (how to mend it). The command line ends "
        "with the exit code of the error:",
        "",
        "| Exit code | Meaning |",
        "|---|---|",
        "| 0 | fine; a run that had rejects is fine too, and says so |",
        "| 1 | failed |",
        "| 2 | your input must change: a setting, a file, a word of the command |",
        "| 3 | the environment must change, or time: a full disk, a locked file, a system that does not answer |",
        "| 130 | interrupted by Ctrl-C; nothing committed is lost |",
        "",
        "## Kinds of errors",
        "",
        "| Kind | Exit code | Who acts |",
        "|---|---|---|",
    ]
    kinds = _error_classes()
    for name in [name for name in kinds if hasattr(errors, name)]:
        kind = getattr(errors, name)
        lines += _row(f"`{name}`", str(kind.exit_code), (kind.__doc__ or "").splitlines()[0])
    lines += ["", "## Codes", "", "`…` stands for what differs from case to case.", ""]
    lines += [*_row("Code", "Kind", "What is said, for example", "How to mend it"), "|---|---|---|---|"]
    by_code: dict[str, list[Said]] = {}
    for said in _said(kinds):
        by_code.setdefault(said.code, []).append(said)
    for code in sorted(by_code):
        several = by_code[code]
        best = next((one for one in several if one.hint), several[0])
        names = " or ".join(f"`{name}`" for name in dict.fromkeys(one.kind for one in several if one.kind))
        lines += _row(f"`{code}`", names, best.message, best.hint)
    lines += [
        "",
        "## Codes of rejected rows and of fields without a column",
        "",
        "A row that cannot pass is kept with one of these codes and can be listed, exported, replayed and discarded "
        "with `millrace rejects`.",
        "",
        *_row("Code", "Meaning"),
        "|---|---|",
    ]
    for code in sorted(REJECT_CODES):
        lines += _row(f"`{code}`", REJECT_CODES[code])
    return "\n".join([*lines, ""])


def _error_classes() -> dict[str, str]:
    """Names of all error classes in the source, each with its own or inherited code."""
    classes: dict[str, tuple[list[str], str | None]] = {}
    for _, module in _modules():
        for node in ast.walk(module):
            if isinstance(node, ast.ClassDef):
                own = next(
                    (
                        line.value.value
                        for line in node.body
                        if isinstance(line, ast.Assign)
                        and isinstance(line.targets[0], ast.Name)
                        and line.targets[0].id == "code"
                        and isinstance(line.value, ast.Constant)
                    ),
                    None,
                )
                classes[node.name] = ([ast.unparse(base) for base in node.bases], own if isinstance(own, str) else None)

    def code(name: str) -> str | None:
        if name not in classes:
            return None
        bases, own = classes[name]
        if own and (name == "MillraceError" or any(code(base) for base in bases)):
            return own
        return next((found for base in bases if (found := code(base))), None)

    return {name: found for name in classes if (found := code(name))}


def _said(kinds: dict[str, str]) -> Iterator[Said]:
    """All places that make an error, in the order of their files."""
    for path, module in _modules():
        for node in ast.walk(module):
            if not isinstance(node, ast.Call):
                continue
            name = ast.unparse(node.func).rpartition(".")[2]
            words = {word.arg: word.value for word in node.keywords}
            where = path.relative_to(SOURCE).as_posix()
            if name in kinds and node.args:
                given = words.get("code")
                code = given.value if isinstance(given, ast.Constant) else None if given else kinds[name]
                message, hint = node.args[0], words.get("hint")
                name_shown = name
            elif (
                name in ("Problem", "Finding", "report")
                and len(node.args) >= 2
                and isinstance(node.args[0], ast.Constant)
            ):
                code, message = node.args[0].value, node.args[1]
                at = 2 if name == "Problem" else 3  # where the hint stands among the arguments
                hint = words.get("hint") or (node.args[at] if len(node.args) > at else None)
                name_shown = "" if name == "Problem" else "ConfigError"
            else:
                continue
            if isinstance(code, str) and (text := _words(message)):
                yield Said(code, name_shown, text, _words(hint), where)


def _words(node: ast.expr | None) -> str:
    """A text of the source as it will read, with `…` for what is filled in; empty when it is not a literal."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(_words(part) if isinstance(part, ast.Constant) else "…" for part in node.values)
    return ""


def reject_codes() -> set[str]:
    """Codes of rejected rows in the source: words in capitals where rows are refused."""
    found: set[str] = set()
    for path, module in _modules():
        if path.relative_to(SOURCE).parts[0] not in ("data", "connect", "engine", "sources", "destinations"):
            continue
        # Blocks and functions of formulas are named in capitals too; what they refuse is a TRANSFORM_ERROR.
        if path.is_relative_to(SOURCE / "engine" / "blocks"):
            continue
        for node in ast.walk(module):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and _CAPITALS.fullmatch(node.value):
                found.add(node.value)
    return found - {said.code for said in _said(_error_classes())} - _NO_REJECTS


_CAPITALS = re.compile(r"[A-Z]+(_[A-Z]+)+")

# Words in capitals that are something else.
_NO_REJECTS = frozenset({"CURSOR_INVALIDATED", "JOB_ID", "OBJECT_NAME", "PIPELINE_NAME", "LC_ALL", "KW_ONLY"}) | {
    # Of the environment.
    "MILLRACE_HTTP_HOSTS", "MILLRACE_NATIVE", "MALLOC_ARENA_MAX", "OPENBLAS_NUM_THREADS", "SC_PAGE_SIZE",
    "SC_PHYS_PAGES", "SSL_CERT_DIR", "SSL_CERT_FILE",
    # Words of audit tables.
    "NOT_LOADED", "RAW_REPLAY", "RESYNC_WITH_DROP_AND_LOAD",
    # Statuses of loading.
    "NOT_STARTED",
    # A command of PostgreSQL's replication.
    "IDENTIFY_SYSTEM",
    # Of MySQL's columns.
    "AUTO_INCREMENT",
    # Policies, statuses and warnings of mappings.
    "ALLOW_ALL", "ALLOW_COLUMN_LEVEL", "BLOCK_ALL", "AUTO_MAPPED", "CREATING_TABLE", "MAPPING_IN_PROGRESS",
    "COLUMNS_NEARLY_FULL", "INCOMPATIBLE_MAPPING", "KEY_CHANGED",
    # Alerts.
    "QUOTA_SIDELINED", "SPIKE_UNUSUAL", "LOADS_STOPPED", "INGESTION_STALLED",
    # Strategies for nested values.
    "COLLAPSE_EXCEPT_ARRAYS",
}  # fmt: skip


@cache
def _modules() -> tuple[tuple[Path, ast.Module], ...]:
    return tuple((path, ast.parse(path.read_text("utf-8"), str(path))) for path in sorted(SOURCE.rglob("*.py")))


# The command line.


@cache
def cli_page() -> str:
    """The help of every command."""
    lines = ["# Command line", "", "What `--help` says, command by command.", ""]
    for words in _commands(_all_commands(), ("millrace",)):
        lines += [f"{'#' * min(len(words) + 1, 4)} `{' '.join(words)}`", "", "```text", _help(words[1:]), "```", ""]
    return "\n".join(lines)


@cache
def _all_commands() -> Any:
    from typer.main import get_command

    from millrace.cli.main import commands

    return get_command(commands())


def _commands(command: Any, words: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    yield words
    below = getattr(command, "commands", None)
    if below:
        context = command.make_context(words[-1], [], resilient_parsing=True)
        for name in command.list_commands(context):
            if not below[name].hidden:
                yield from _commands(below[name], (*words, name))


def _help(words: tuple[str, ...]) -> str:
    # As Typer's runner would ask, which makes all commands anew each time.
    environment = {name: value for name, value in os.environ.items() if name != "MILLRACE_HOME"}
    said = io.StringIO()
    with (
        patch.dict(os.environ, environment | {"COLUMNS": str(WIDTH), "NO_COLOR": "1", "TERM": "dumb"}, clear=True),
        redirect_stdout(said),
    ):
        _all_commands().main([*words, "--help"], prog_name="millrace", standalone_mode=False, terminal_width=WIDTH)
    return "\n".join(line.rstrip() for line in said.getvalue().strip().splitlines())


# Files.


def _row(*cells: str) -> list[str]:
    return ["| " + " | ".join(" ".join(cell.split()).replace("|", "\\|") for cell in cells) + " |"]


WRITTEN: dict[str, Callable[[], str]] = {
    "cli.md": cli_page,
    "compatibility.md": compatibility_page,
    "connectors.md": connectors_page,
    "errors.md": errors_page,
    "pipelines.md": pipelines_page,
    "types.md": types_page,
}


def outdated(folder: Path = PAGES) -> list[str]:
    """Names of the pages that are not what the code says, or that nothing writes."""
    wrong = [name for name, page in WRITTEN.items() if _read(folder / name) != HEAD + page()]
    return wrong + sorted(path.name for path in folder.glob("*.md") if path.name not in WRITTEN)


def _read(path: Path) -> str | None:
    return path.read_text("utf-8") if path.is_file() else None


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Writes docs/reference from the code.")
    parser.add_argument("--check", action="store_true", help="write nothing; say which pages are not up to date")
    options = parser.parse_args(arguments)
    unknown, gone = reject_codes() - REJECT_CODES.keys(), REJECT_CODES.keys() - reject_codes()
    if unknown or gone:
        for code in sorted(unknown):
            print(f"tools/reference.py does not say what rows are rejected for with {code}")
        for code in sorted(gone):
            print(f"tools/reference.py explains {code}, which no row is rejected for")
        return 1
    if options.check:
        wrong = outdated()
        for name in wrong:
            print(f"docs/reference/{name} is not up to date: run `make golden`")
        return 1 if wrong else 0
    PAGES.mkdir(parents=True, exist_ok=True)
    for name, page in WRITTEN.items():
        (PAGES / name).write_text(HEAD + page(), "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
