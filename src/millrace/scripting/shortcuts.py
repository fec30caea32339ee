"""Fields that a script names are read and set past the methods of a dict, where the dict is the given event's.

The script's tree is changed for it before it is compiled. What stands there does what stood there before, at the same
line, whatever the names mean; the properties of the given event, as long as they lie in columns, take the short way.
"""

from __future__ import annotations

import ast
from typing import Any

from .rows import ABSENT, NO_ROW, ROW, put

# No name of a script can begin so.
_ABSENT, _PUT = "@absent", "@put"


def shortened(tree: ast.Module) -> dict[str, str]:
    """Changes the tree; the fields that it reads by name, each with the name of its column among the globals.

    ``p["a"]`` becomes ``@0[p.at] if p is @row and @0[p.at] is not @absent else p["a"]``, ``p.get("a")`` likewise, and
    ``p["a"] = x`` becomes ``@put(x, p, "a")``. Raises RecursionError.
    """
    shorter = _Shorter()
    shorter.visit(tree)
    return shorter.fields


def prepared(scope: dict[str, Any], fields: dict[str, str]) -> None:
    """The globals have what such a tree needs; there is no row yet."""
    scope.update({ROW: NO_ROW, _ABSENT: ABSENT, _PUT: put}, **dict.fromkeys(fields.values()))


class _Shorter(ast.NodeTransformer):
    def __init__(self) -> None:
        self.fields: dict[str, str] = {}

    def visit_Subscript(self, node: ast.Subscript) -> ast.AST:
        match node:
            case ast.Subscript(value=ast.Name(id=owner), slice=ast.Constant(value=str(field)), ctx=ast.Load()):
                return self._read(node, owner, field)
            case _:
                return self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> ast.AST:
        match node:
            case ast.Call(
                func=ast.Attribute(value=ast.Name(id=owner), attr="get"),
                args=[ast.Constant(value=str(field))] | [ast.Constant(value=str(field)), ast.Constant()],
                keywords=[],
            ):
                return self._read(node, owner, field)
            case _:
                return self.generic_visit(node)

    def visit_Assign(self, node: ast.Assign) -> ast.AST:
        self.generic_visit(node)
        match node.targets:
            case [ast.Subscript(value=ast.Name(id=owner), slice=ast.Constant(value=str()) as field) as target]:
                arguments = [node.value, _named(target.value, owner), field]
                called = ast.Call(_named(target, _PUT), arguments, [])
                return ast.copy_location(ast.Expr(ast.copy_location(called, target)), node)
            case _:
                return node

    # Annotations are what somebody may read as text.

    def visit_arg(self, node: ast.arg) -> ast.AST:
        return node

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:
        node.value = node.value and self.visit(node.value)
        return node

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        returns, node.returns = node.returns, None
        self.generic_visit(node)
        node.returns = returns
        return node

    def _read(self, node: ast.expr, owner: str, field: str) -> ast.AST:
        column = self.fields.setdefault(field, f"@{len(self.fields)}")

        def value() -> ast.expr:
            at = ast.copy_location(ast.Attribute(_named(node, owner), "at", ast.Load()), node)
            return ast.copy_location(ast.Subscript(_named(node, column), at, ast.Load()), node)

        def compared(left: ast.expr, how: ast.cmpop, right: str) -> ast.expr:
            return ast.copy_location(ast.Compare(left, [how], [_named(node, right)]), node)

        here = [compared(_named(node, owner), ast.Is(), ROW), compared(value(), ast.IsNot(), _ABSENT)]
        test = ast.copy_location(ast.BoolOp(ast.And(), here), node)
        return ast.copy_location(ast.IfExp(test, value(), node), node)


def _named(place: ast.expr, name: str) -> ast.expr:
    return ast.copy_location(ast.Name(name, ast.Load()), place)
