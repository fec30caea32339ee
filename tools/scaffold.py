"""Makes the folder of a new connector, with a test that passes: `make new-source NAME=acme`.

What it leaves is copied from tools/templates, where `acme` and `Acme` stand for the new name.
"""

from __future__ import annotations

import argparse
import keyword
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TEMPLATES = ROOT / "tools/templates"

NAME = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")


class Unusable(Exception):
    """The name cannot be used; the message says why."""


def scaffold(kind: str, name: str, root: Path = ROOT) -> list[Path]:
    """The files that were made. Raises Unusable, and makes nothing, when the name cannot be one or is taken."""
    if not NAME.fullmatch(name) or keyword.iskeyword(name):
        raise Unusable(
            f"NAME={name!r} cannot be the name of a {kind}: use lower-case letters, digits and single underscores, "
            f"a letter first. Example: make new-{kind} NAME=acme"
        )
    folder = root / f"src/millrace/{kind}s" / name
    tests = root / ("tests/contract" if kind == "destination" else f"tests/sources/{name}")
    made = {template: _place(template, name, folder, tests) for template in _templates(kind)}
    for path in (folder, *made.values()):
        if path.exists():
            raise Unusable(f"{path.relative_to(root)} exists already; choose another name, or remove it")
    for template, path in made.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(_renamed(template.read_text("utf-8"), name), "utf-8")
    return list(made.values())


def _templates(kind: str) -> list[Path]:
    return sorted(path for path in (TEMPLATES / kind).iterdir() if path.is_file())


def _place(template: Path, name: str, folder: Path, tests: Path) -> Path:
    if template.name.startswith("test_"):
        return tests / template.name.replace("acme", name)
    return folder / template.name


def _renamed(text: str, name: str) -> str:
    title = " ".join(word.capitalize() for word in name.split("_"))
    return text.replace("Acme", title).replace("acme", name).replace("ACME", name.upper())


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Makes the folder of a new connector, with a test that passes.")
    parser.add_argument("kind", choices=("source", "destination"))
    parser.add_argument("name", help="name of the type, for example acme")
    options = parser.parse_args(arguments)
    try:
        made = scaffold(options.kind, options.name)
    except Unusable as unusable:
        print(unusable, file=sys.stderr)
        return 2
    print(f"A {options.kind} of type {options.name}:")
    for path in made:
        print(f"  {path.relative_to(ROOT)}")
    test = next(path for path in made if path.name.startswith("test_")).relative_to(ROOT)
    print(f"Its test passes: .venv/bin/python -m pytest {test}")
    print("What it still lacks: make check")
    print(f"How to go on: docs/guides/first-{options.kind}.md")
    return 0


if __name__ == "__main__":
    sys.exit(main())
