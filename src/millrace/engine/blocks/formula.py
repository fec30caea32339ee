"""Formulas: read once, evaluated on whole batches, and told as Python."""

from __future__ import annotations

import json
from collections.abc import Sequence
from decimal import Decimal

import pyarrow as pa

from millrace.data.dataclass import dataclass
from millrace.data.exact import without
from millrace.engine.blocks import grammar
from millrace.engine.blocks.arithmetic import combined, inverted, negated
from millrace.engine.blocks.formula_functions import called
from millrace.engine.blocks.grammar import Binary, Call, Constant, Node, Reference, Self, Unary
from millrace.engine.blocks.values import One, Run, Value, as_array, resolved
from millrace.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Evaluated:
    """A value for each row, of a type of the closed list; NULL where no row has one.

    ``failed``: rows that have no value because of an error, null in ``values``; None: there is none. ``message`` tells
    the first of the errors.
    """

    values: pa.Array
    failed: pa.BooleanArray | None = None
    message: str = ""


@dataclass(frozen=True, slots=True)
class Formula:
    """A formula without mistakes. Its language is told in `grammar`, what it means in `scalar`."""

    text: str
    tree: Node

    @property
    def fields(self) -> frozenset[str]:
        """The names that it refers to, nested ones with dots; not that of ``$self``."""
        return frozenset(".".join(node.path) for node, _ in grammar.parts(self.tree) if isinstance(node, Reference))

    @property
    def uses_self(self) -> bool:
        return any(isinstance(node, Self) for node, _ in grammar.parts(self.tree))

    @property
    def splits(self) -> bool:
        """It is a SPLIT_FIELDS: the JSON array that it gives is to become fields."""
        return isinstance(self.tree, Call) and self.tree.name == "SPLIT_FIELDS"

    def evaluate(self, rows: pa.RecordBatch, *, self_field: str | None = None) -> Evaluated:
        """``rows``: only the columns that the user may see; a null cell is a missing field, as is a column not there.

        Nothing is rounded or cut unless the formula says so; rows whose values differ in type meet in the type that
        holds them all exactly, as they would in a table.
        """
        run = Run(rows.num_rows)
        values = as_array(_value(run, rows, self.tree, self_field), run.count)
        if not run.failed.any():
            return Evaluated(values)
        failed = pa.array(run.failed)
        return Evaluated(without(values, failed), failed, run.message)

    def python(self, event: str = "p", self_name: str | None = None) -> str:
        """The same as a Python expression over the properties ``event``, with the functions of `scripted.functions`.

        ``$self`` is the field ``self_name``, or, without one, the field that a variable ``name`` names.
        """
        return _python(self.tree, event, "name" if self_name is None else json.dumps(self_name, ensure_ascii=False))

    @property
    def helpers(self) -> frozenset[str]:
        """The functions that the expression of `python` calls, for `scripted.functions`."""
        return frozenset(_helper(node) for node, _ in grammar.parts(self.tree)) - {""}


def parse(text: str) -> Formula:
    """Raises ConfigError (code ``formula``) with the place, what was expected and the nearest known name."""
    return Formula(text, grammar.tree(text))


def _value(run: Run, rows: pa.RecordBatch, node: Node, self_field: str | None) -> Value:
    match node:
        case Constant(value):
            return One(value)
        case Reference(path):
            return resolved(rows, path)
        case Self():
            return _own(rows, self_field)
        case Unary(sign, operand):
            value = _value(run, rows, operand, self_field)
            return inverted(run, value) if sign == "!" else negated(run, value)
        case Binary(sign, left, right):
            a = _value(run, rows, left, self_field)
            return combined(run, sign, a, _value(run, rows, right, self_field))
        case Call(name, arguments):
            return called(run, name, [_value(run, rows, argument, self_field) for argument in arguments])


def _own(rows: pa.RecordBatch, self_field: str | None) -> Value:
    if self_field is None:
        raise ConfigError(
            "$self means nothing here.", hint="Name the field; $self is for blocks that change fields.", code="formula"
        )
    index = rows.schema.get_field_index(self_field)
    return rows.column(index) if index >= 0 else One(None)


_OPERATORS = {"+": "add", "-": "subtract", "*": "multiply", "/": "divide", "==": "equal", "!=": "unequal"}
_FUNCTIONS = {
    "LOWER": "lower", "UPPER": "upper", "TITLE": "title", "SNAKE_CASE": "snake_case", "REPLACE": "replace",
    "SPLIT_FIELDS": "split", "SPLIT_ARRAY": "split", "STRING_TO_NUMBER": "number", "NUMBER_TO_STRING": "number_text",
    "STRING_TO_DATE": "parsed_date", "DATE_TO_STRING": "written_date", "ROUND": "rounded", "HASH": "digest",
    "MASK": "masked", "PARSE_JSON": "parsed_json",
}  # fmt: skip


def _helper(node: Node) -> str:
    match node:
        case Reference(path) if len(path) > 1:
            return "field"
        case Unary(sign):
            return "invert" if sign == "!" else "negate"
        case Binary(sign):
            return _OPERATORS[sign]
        case Call(name):
            return _FUNCTIONS[name]
        case _:
            return ""


def _python(node: Node, event: str, own: str) -> str:
    match node:
        case Constant(Decimal() as value):
            return f'Decimal("{value}")'
        case Constant(str() as value):
            return json.dumps(value, ensure_ascii=False)
        case Constant(value):
            return repr(value)
        case Reference((name,)):
            return f"{event}.get({json.dumps(name, ensure_ascii=False)})"
        case Reference(path):
            return _call("field", [event, json.dumps(".".join(path), ensure_ascii=False)])
        case Self():
            return f"{event}.get({own})"
        case Unary(_, operand):
            return _call(_helper(node), [_python(operand, event, own)])
        case Binary(_, left, right):
            return _call(_helper(node), [_python(left, event, own), _python(right, event, own)])
        case Call(_, arguments):
            return _call(_helper(node), [_python(argument, event, own) for argument in arguments])


def _call(name: str, arguments: Sequence[str]) -> str:
    return f"{name}({', '.join(arguments)})"
