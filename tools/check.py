"""Says in words what the folder of each connector still lacks. One function is one rule.

`make check` lists all connectors; the exit code is 0 when none lacks anything, else 1.
"""

from __future__ import annotations

import argparse
import ast
import importlib
import inspect
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal
from xml.etree import ElementTree

from pydantic import BaseModel
from pydantic.fields import FieldInfo

ROOT = Path(__file__).resolve().parent.parent

_SECRET_NAME = re.compile(r"(^|_)(pass(word|code|phrase)?|secret|token|api_key|private_key|access_key|credentials)$")
_LINK = re.compile(r"https://[^\s)>\"']+")
_LARGEST_ICON = 20_000


@dataclass(frozen=True)
class Connector:
    """The folder of one connector. ``root`` is the root of the repository."""

    kind: Literal["source", "destination"]
    name: str
    root: Path = ROOT

    @property
    def label(self) -> str:
        return f"{self.kind}s/{self.name}"

    @property
    def folder(self) -> Path:
        return self.root / "src/millrace" / self.label

    @cached_property
    def type(self) -> Any:
        """The class of the connector. Raises ImportError or AttributeError where there is none."""
        return getattr(importlib.import_module(f"millrace.{self.kind}s.{self.name}.{self.kind}"), self.kind.title())

    @cached_property
    def modules(self) -> dict[Path, ast.Module]:
        return {path: ast.parse(path.read_text("utf-8"), str(path)) for path in sorted(self.folder.rglob("*.py"))}

    @property
    def imports(self) -> set[str]:
        """Names of all modules that its own modules import."""
        found: set[str] = set()
        for module in self.modules.values():
            for node in ast.walk(module):
                if isinstance(node, ast.Import):
                    found |= {name.name for name in node.names}
                elif isinstance(node, ast.ImportFrom) and node.module:
                    found |= {node.module} | {f"{node.module}.{name.name}" for name in node.names}
        return found

    @property
    def fields(self) -> Iterator[tuple[str, FieldInfo]]:
        """Every setting, those of nested parts too, by its dotted name."""
        yield from _fields(self.type.Config, "")


Rule = Callable[[Connector], Iterator[str]]


def can_be_imported(connector: Connector) -> Iterator[str]:
    """`source.py` has `Source`, `destination.py` has `Destination`, with a title and a Config."""
    interface = importlib.import_module(f"millrace.connect.{connector.kind}")
    wanted = getattr(interface, connector.kind.title())
    try:
        found = connector.type
    except (ImportError, AttributeError) as error:
        yield f"{connector.kind}.py has no class {connector.kind.title()} that can be imported: {error}"
        return
    if not (isinstance(found, type) and issubclass(found, wanted)):
        yield f"{connector.kind}.py: the class is not a subclass of {wanted.__module__}.{wanted.__name__}"
        return
    if inspect.isabstract(found):
        yield f"{connector.kind}.py: these methods are missing: {', '.join(sorted(found.__abstractmethods__))}"
    for attribute in ("title", "Config", *(["limits"] if connector.kind == "destination" else [])):
        if not hasattr(found, attribute):
            yield f"{connector.kind}.py: the class has no `{attribute}`"


def has_a_readme(connector: Connector) -> Iterator[str]:
    """README.md is the setup guide: it starts with a heading and names every setting that must be given."""
    readme = connector.folder / "README.md"
    if not readme.is_file():
        yield "README.md is missing: how to set it up, step by step, for a person who has an account"
        return
    text = readme.read_text("utf-8")
    if not text.startswith("# "):
        yield "README.md does not start with a heading (`# Title`)"
    for name, field in connector.type.Config.model_fields.items():
        if field.is_required() and name not in text:
            yield f"README.md does not say where one finds `{name}`"


def has_an_icon(connector: Connector) -> Iterator[str]:
    """icon.svg is one small drawing without scripts and without anything from elsewhere."""
    icon = connector.folder / "icon.svg"
    if not icon.is_file():
        yield "icon.svg is missing: a small square drawing of your own"
        return
    text = icon.read_text("utf-8")
    try:
        root = ElementTree.fromstring(text)
    except ElementTree.ParseError as error:
        yield f"icon.svg is not XML: {error}"
        return
    if not root.tag.endswith("svg"):
        yield "icon.svg is not an SVG drawing"
    if "viewBox" not in root.attrib:
        yield "icon.svg has no viewBox, so it cannot be scaled"
    if len(text) > _LARGEST_ICON:
        yield f"icon.svg has {len(text):,} bytes; keep it below {_LARGEST_ICON:,}"
    if "<script" in text or re.search(r"(href|src)\s*=\s*[\"'](?!#)", text):
        yield "icon.svg has a script in it or takes something from elsewhere"


def describes_its_settings(connector: Connector) -> Iterator[str]:
    """Every setting says what it is: forms, `--help` and the reference show that sentence."""
    for name, field in connector.fields:
        if not field.description:
            yield f"Config: `{name}` has no description"
        elif not field.description.rstrip().endswith((".", ")", ":")):
            yield f"Config: the description of `{name}` is not a sentence (it has no full stop)"


def declares_its_secrets(connector: Connector) -> Iterator[str]:
    """A setting whose name says that it is secret is a `Secret`, so that it is sealed and never shown (I7)."""
    secret = connector.type.Config.secret_keys()
    for name in connector.type.Config.model_fields:
        if _SECRET_NAME.search(name) and name not in secret:
            yield f"Config: `{name}` looks like a secret; declare it as `Secret`"


def forbids_unknown_settings(connector: Connector) -> Iterator[str]:
    """A misspelt key is an error, not a setting without effect."""
    if connector.type.Config.model_config.get("extra") != "forbid":
        yield 'Config takes unknown keys; keep extra="forbid"'


def links_its_documentation(connector: Connector) -> Iterator[str]:
    """A docstring of the folder, or its README, links what the connector was written from."""
    documented = [ast.get_docstring(module) or "" for module in connector.modules.values()]
    readme = connector.folder / "README.md"
    documented += [connector.type.__doc__ or "", readme.read_text("utf-8") if readme.is_file() else ""]
    links = [link for text in documented for link in _LINK.findall(text)]
    if not links:
        yield f"neither a docstring of {connector.kind}.py nor README.md links the system's documentation"
    elif all("//example." in link for link in links):
        yield f"{connector.kind}.py: the docstring still links example.com; link the system's own documentation"


def has_its_tests(connector: Connector) -> Iterator[str]:
    """A source has tests of its own; a destination has a file in which the contract for all destinations runs."""
    if connector.kind == "destination":
        file = connector.root / f"tests/contract/test_{connector.name}.py"
        if not file.is_file():
            yield f"tests/contract/test_{connector.name}.py is missing: a fixture and a subclass of DestinationContract"
        elif "DestinationContract" not in file.read_text("utf-8"):
            yield f"tests/contract/test_{connector.name}.py does not apply DestinationContract"
    elif not list((connector.root / "tests/sources" / connector.name).glob("test_*.py")):
        yield f"tests/sources/{connector.name}/ has no tests"


def has_fixtures(connector: Connector) -> Iterator[str]:
    """A source that speaks HTTP keeps real pages beside it, from the vendor's documentation or recorded."""
    speaks_http = any(name == "httpx" or name.startswith("millrace.connect.http") for name in connector.imports)
    fixtures = connector.folder / "fixtures"
    if connector.kind == "source" and speaks_http and not any(path.is_file() for path in fixtures.rglob("*")):
        yield "fixtures/ is missing or empty: pages as the system sends them, with secrets removed"


def leaves_time_to_the_clock(connector: Connector) -> Iterator[str]:
    """Connectors tell the time through `context.clock`, so that tests decide it, and do not print.

    Sources wait through it too; a destination may wait in real time, say for the lock of a file.
    """
    for path, module in connector.modules.items():
        for node in ast.walk(module):
            called = ast.unparse(node.func) if isinstance(node, ast.Call) else ""
            where = f"{path.relative_to(connector.folder)}:{getattr(node, 'lineno', 0)}"
            if called in ("time.sleep", "sleep") and connector.kind == "source":
                yield f"{where} sleeps by itself; use context.clock.sleep"
            elif called in ("datetime.now", "datetime.datetime.now", "date.today", "time.time"):
                yield f"{where} asks the machine for the time; use context.clock.now"
            elif called == "print":
                yield f"{where} prints; use context.note"


RULES: tuple[Rule, ...] = (
    can_be_imported,
    has_a_readme,
    has_an_icon,
    describes_its_settings,
    declares_its_secrets,
    forbids_unknown_settings,
    links_its_documentation,
    has_its_tests,
    has_fixtures,
    leaves_time_to_the_clock,
)


def connectors(root: Path = ROOT) -> list[Connector]:
    """Every folder of a connector, sources first."""
    found: list[Connector] = []
    for kind in ("source", "destination"):
        packages = sorted((root / f"src/millrace/{kind}s").glob("*/__init__.py"))
        found += [Connector(kind, package.parent.name, root) for package in packages]
    return found


def lacks(connector: Connector) -> list[str]:
    """What the connector lacks, in words. One that cannot be imported is asked nothing more."""
    if missing := list(can_be_imported(connector)):
        return missing
    return [word for rule in RULES[1:] for word in rule(connector)]


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="What each connector's folder still lacks, in words.")
    parser.add_argument("name", nargs="*", help="only these, for example sources/clevertap")
    parser.add_argument("--quiet", action="store_true", help="name only those that lack something")
    options = parser.parse_args(arguments)
    chosen = [one for one in connectors() if not options.name or one.label in options.name or one.name in options.name]
    lacking = 0
    for connector in chosen:
        words = lacks(connector)
        lacking += len(words)
        if words:
            print(f"{connector.label} lacks:")
            print("\n".join(f"  - {word}" for word in words))
        elif not options.quiet:
            print(f"{connector.label}: nothing lacks")
    if not chosen:
        print(f"There is no connector {' or '.join(options.name)}.", file=sys.stderr)
    return 1 if lacking or not chosen else 0


def _fields(model: type[BaseModel], above: str) -> Iterator[tuple[str, FieldInfo]]:
    for name, field in model.model_fields.items():
        yield f"{above}{name}", field
        for part in _models(field.annotation):
            yield from _fields(part, f"{above}{name}.")


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in getattr(annotation, "__args__", ()):
        yield from _models(argument)


if __name__ == "__main__":
    sys.exit(main())
