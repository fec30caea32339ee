"""The functions of formulas as the text of a script, for users who move from blocks to code."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterable
from functools import cache

from millrace.engine.blocks import scalar

# Where blocks have their own reading of dates, a script has TimeUtils.
_DATES = """
def parsed_date(value, pattern):
    if value is None:
        return None
    if has_time(pattern):
        return TimeUtils.parseDateStringToDatetime(text(value), pattern)
    return TimeUtils.parseDateStringToDate(text(value), pattern)

def has_time(pattern):
    if "%" in pattern:
        return any("%" + letter in pattern for letter in "HIMSfpz")
    return any(letter in "aHkKhmsSzZX" for letter in re.sub("'[^']*'", "", pattern))

def written_date(value, pattern):
    return None if value is None else TimeUtils.convertDateToFormat(value, pattern)
"""


def functions(names: Iterable[str]) -> str:
    """The source of these functions and of all that they call, in the order in which they are defined; no imports."""
    known = _definitions()
    wanted: set[str] = set()
    left = list(names)
    while left:
        name = left.pop()
        if name in wanted or name not in known:
            continue
        wanted.add(name)
        left += [node.id for node in ast.walk(known[name]) if isinstance(node, ast.Name)]
    return "\n\n\n".join(ast.unparse(known[name]) for name in known if name in wanted)


def imports(*sources: str) -> str:
    """The import statements that such functions, and expressions over them, need; TimeUtils is not among them."""
    used = {node.id for source in sources for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Name)}
    lines = [f"import {name}" for name in ("base64", "hashlib", "json", "math", "re") if name in used]
    if "dt" in used:
        lines.insert(0, "import datetime as dt")
    decimals = [name for name in ("ROUND_HALF_UP", "Context", "Decimal") if name in used]
    return "\n".join([*lines, *([f"from decimal import {', '.join(decimals)}"] if decimals else [])])


@cache
def _definitions() -> dict[str, ast.stmt]:
    found: dict[str, ast.stmt] = {}
    for statement in [*ast.parse(inspect.getsource(scalar)).body, *ast.parse(_DATES).body]:
        match statement:
            case ast.FunctionDef():
                found[statement.name] = _plain(statement)
            case ast.Assign(targets=[ast.Name(id=name)]):
                found[name] = statement
            case ast.AnnAssign(target=ast.Name(id=name)):
                found[name] = _WithoutTypes().visit(statement)
            case _:
                pass
    return found


def _plain(function: ast.FunctionDef) -> ast.stmt:
    """Without annotations, whose names a script would have to import."""
    for node in ast.walk(function):
        match node:
            case ast.FunctionDef():
                node.returns = None
            case ast.arg():
                node.annotation = None
            case _:
                pass
    return _WithoutTypes().visit(function)


class _WithoutTypes(ast.NodeTransformer):
    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.stmt:
        assert node.value is not None
        return ast.copy_location(ast.Assign(targets=[node.target], value=node.value), node)
