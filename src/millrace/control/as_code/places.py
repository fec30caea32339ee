"""YAML with places: every value knows its line, `${VARIABLES}` are filled in, duplicate keys are refused.

Scalars follow YAML 1.2's core rules (`no` and `2024-01-01` are text), and a number with leading zeros stays text.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import field
from typing import TypeAlias

import yaml

from millrace.data.batch import JSON
from millrace.data.dataclass import dataclass
from millrace.errors import ConfigError, Problem

Path: TypeAlias = tuple[str | int, ...]

VARIABLE = re.compile(r"\$(?:(\$)(?=\{)|\{([^}]*)\}?)")
NAMED = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)(?::-(.*))?", re.DOTALL)
WHOLE = re.compile(r"0|[-+]?[1-9][0-9]*")
BROKEN = re.compile(r"[-+]?(?:\.[0-9]+|(?:0|[1-9][0-9]*)(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
WORDS: dict[str, JSON] = {"": None, "~": None, "null": None, "true": True, "false": False}
DEEPEST = 60
# Tags that YAML itself gives to what carries none; no other one changes what is read.
_OWN_TAGS = frozenset(
    f"tag:yaml.org,2002:{kind}"
    for kind in ("bool", "float", "int", "map", "merge", "null", "seq", "str", "timestamp", "value")
)


class DocumentError(ConfigError):
    """A file says something that Millrace cannot do; all that was found in it is in ``problems``."""

    code = "document"

    def __init__(self, problems: list[Problem]) -> None:
        first = problems[0]
        several = len(problems) > 1
        message = f"{len(problems)} problems in the file" if several else first.message
        super().__init__(message, hint=None if several else first.hint, path=None if several else first.path)
        self.problems = tuple(problems)
        if not several:
            self.code = first.code


@dataclass(slots=True)
class Tree:
    """The values of a YAML file and where they stand."""

    file: str
    root: yaml.Node | None
    value: JSON = None
    problems: list[Problem] = field(default_factory=list[Problem])
    written: dict[int, str] = field(default_factory=dict[int, str])
    """Text of each scalar as the file has it after filling in variables, by the identity of its node."""

    def node(self, path: Path) -> yaml.Node | None:
        """The node of ``path``, or of the deepest part of it that the file has."""
        node = self.root
        for step in path:
            below = _below(node, step)
            node = below[1] if below else node
        return node

    def line(self, path: Path) -> int:
        """Line, from 1, of the key that ``path`` ends in, or of the deepest part of it that the file has."""
        node, line = self.root, 1
        for step in path:
            if below := _below(node, step):
                key, node = below
                line = key.start_mark.line + 1
        return line

    def has(self, path: Path) -> bool:
        node = self.root
        for step in path:
            below = _below(node, step)
            if below is None:
                return False
            node = below[1]
        return True

    def text(self, path: Path) -> str | None:
        """The scalar at ``path`` as text, before it was taken for a number or a truth value."""
        return self.written.get(id(self.node(path))) if self.has(path) else None

    def in_the_clear(self, path: Path) -> bool:
        """A value stands in the file itself instead of coming from a variable."""
        node = self.node(path)
        return self.has(path) and isinstance(node, yaml.ScalarNode) and bool(node.value) and "${" not in node.value

    def place(self, path: Path) -> str:
        """`pipelines.yaml:12 pipelines.clevertap.schedule`."""
        return " ".join(filter(None, (f"{self.file}:{self.line(path)}", dotted(path))))

    def report(self, code: str, message: str, path: Path, hint: str | None = None) -> None:
        """One problem for one place: a variable that is not set is not also an empty value."""
        place = self.place(path)
        if not any(one.path == place for one in self.problems):
            self.problems.append(Problem(code, message, hint, place))


def dotted(path: Path) -> str:
    return ".".join(str(step) for step in path)


def plant(text: str, file: str, env: Mapping[str, str]) -> Tree:
    """The tree of a YAML text. What is wrong with it is in ``problems``; raises DocumentError if it is no YAML."""
    try:
        documents = list(yaml.compose_all(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)))
    except yaml.YAMLError as wrong:
        mark = getattr(wrong, "problem_mark", None)
        where = f"{file}:{mark.line + 1}" if mark else file
        what = getattr(wrong, "problem", None) or str(wrong)
        hint = "Check indentation, colons and quotes on this line and the one before."
        if mark and "${" in "".join(text.splitlines()[mark.line : mark.line + 1]):
            hint = 'Inside {...} a variable needs quotes: "${NAME}".'
        raise DocumentError([Problem("not_yaml", f"this is not YAML: {what}", hint, where)]) from wrong
    tree = Tree(file, documents[0] if documents else None)
    if len(documents) > 1:
        tree.problems.append(
            Problem(
                "several_documents",
                "the file holds several YAML documents",
                "Keep one and remove `---`.",
                f"{file}:{documents[1].start_mark.line + 1}",
            )
        )
    if tree.root is not None:
        tree.value = _Planting(tree, env, {}, set()).grow(tree.root, ())
    return tree


@dataclass(slots=True)
class _Planting:
    tree: Tree
    env: Mapping[str, str]
    grown: dict[int, JSON]
    open: set[int]

    def grow(self, node: yaml.Node, path: Path) -> JSON:
        """The value of a node. A node that an alias repeats is grown once, so aliases cannot blow up."""
        if id(node) in self.grown:
            return self.grown[id(node)]
        if id(node) in self.open or len(path) > DEEPEST:
            self.tree.report("circular", "this value contains itself, or is nested too deep", path)
            return None
        self.open.add(id(node))
        self._plain(node, path)
        if isinstance(node, yaml.MappingNode):
            value: JSON = self._mapping(node, path)
        elif isinstance(node, yaml.SequenceNode):
            value = [self.grow(item, (*path, at)) for at, item in enumerate(node.value)]
        else:
            value = self._scalar(node, path)
        self.open.discard(id(node))
        self.grown[id(node)] = value
        return value

    def _plain(self, node: yaml.Node, path: Path) -> None:
        tag = str(node.tag)
        if tag not in _OWN_TAGS:
            self.tree.report(
                "unknown_tag",
                f"the tag {tag.replace('tag:yaml.org,2002:', '!!')} means nothing here",
                path,
                "Take it away. A value that does not stand in the file is written as a variable: ${NAME}.",
            )

    def _mapping(self, node: yaml.MappingNode, path: Path) -> JSON:
        own: dict[str, JSON] = {}
        merged: dict[str, JSON] = {}
        lines: dict[str, int] = {}
        for key, below in node.value:
            line = key.start_mark.line + 1
            if not isinstance(key, yaml.ScalarNode):
                self.tree.report("bad_key", "a key must be plain text", path)
                continue
            self._plain(key, (*path, str(key.value)))
            name = str(key.value)
            if name == "<<" and not key.style:
                for more in below.value if isinstance(below, yaml.SequenceNode) else [below]:
                    grown = self.grow(more, path)
                    if isinstance(grown, dict):
                        merged = {**grown, **merged}
            elif name in lines:
                where = f"{self.tree.file}:{line} {dotted((*path, name))}"
                message = f"the key {name!r} stands twice, first in line {lines[name]}"
                self.tree.problems.append(Problem("duplicate_key", message, "Keep one of the two.", where))
            else:
                lines[name] = line
                own[name] = self.grow(below, (*path, name))
        return {**merged, **own}

    def _scalar(self, node: yaml.Node, path: Path) -> JSON:
        raw = str(node.value)
        text = VARIABLE.sub(lambda found: self._variable(found, path), raw)
        self.tree.written[id(node)] = text
        if getattr(node, "style", None) or text != raw:
            return text
        if raw.lower() in WORDS and raw in (raw.lower(), raw.title(), raw.upper()):
            return WORDS[raw.lower()]
        if WHOLE.fullmatch(raw):
            return int(raw)
        if BROKEN.fullmatch(raw):
            return float(raw)
        return raw

    def _variable(self, found: re.Match[str], path: Path) -> str:
        if found[1]:
            return "$"
        named = NAMED.fullmatch(found[2]) if found[0].endswith("}") else None
        if not named:
            self.tree.report(
                "bad_variable",
                f"{found[0]!r} is not a reference to an environment variable",
                path,
                "Write ${NAME} or ${NAME:-default}; for a literal `${` write `$${`.",
            )
            return ""
        name, default = named[1], named[2]
        value = self.env.get(name)
        if value is None and default is None:
            self.tree.report(
                "missing_variable",
                f"the environment variable {name} is not set",
                path,
                f"Set it (export {name}=...), or give a default: ${{{name}:-...}}.",
            )
            return ""
        return value or default or ""


def _below(node: yaml.Node | None, step: str | int) -> tuple[yaml.Node, yaml.Node] | None:
    """Key and value of one step down, through merged mappings; the first of duplicate keys."""
    if isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
        return node.value[step], node.value[step]
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if key.value == str(step):
                return key, value
        for key, value in node.value:
            if key.value == "<<" and not key.style:
                for more in value.value if isinstance(value, yaml.SequenceNode) else [value]:
                    if more is not node and (below := _below(more, step)):
                        return below
    return None
