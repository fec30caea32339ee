"""Formulas and filters row by row over dicts: slow, plain, and what the columnar code must equal."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from millrace.data import types
from millrace.engine.blocks import dates, scalar
from millrace.engine.blocks.filters import Condition, EventFilter, FieldFilter, Filter
from millrace.engine.blocks.formula import Formula
from millrace.engine.blocks.grammar import Binary, Call, Constant, Node, Reference, Self, Unary
from millrace.engine.blocks.values import python_values

Row = dict[str, Any]

_OPERATORS = {
    "+": scalar.add,
    "-": scalar.subtract,
    "*": scalar.multiply,
    "/": scalar.divide,
    "==": scalar.equal,
    "!=": scalar.unequal,
}


def rows_of(batch: pa.RecordBatch) -> list[Row]:
    """The rows as dicts, without missing fields."""
    columns = [python_values(column) for column in batch.columns]
    return [
        {name: value for name, value in zip(batch.schema.names, row, strict=True) if value is not None}
        for row in zip(*columns, strict=True)
    ]


def formula(one: Formula, row: Row, self_field: str | None = None) -> Any:
    """The value for a row. Raises ValueError where its event fails."""
    return _value(one.tree, row, self_field)


def _value(node: Node, row: Row, own: str | None) -> Any:
    match node:
        case Constant(value):
            return value
        case Reference(path):
            return scalar.field(row, ".".join(path))
        case Self():
            return row.get(own or "")
        case Unary("!", operand):
            return scalar.invert(_value(operand, row, own))
        case Unary(_, operand):
            return scalar.negate(_value(operand, row, own))
        case Binary(sign, left, right):
            a = _value(left, row, own)
            return _OPERATORS[sign](a, _value(right, row, own))
        case Call(name, arguments):
            first, *others = [_value(argument, row, own) for argument in arguments]
            return None if first is None else _called(name, first, others)


def _called(name: str, first: Any, others: list[Any]) -> Any:
    match name:
        case "STRING_TO_DATE":
            read = dates.reader(others[0])(pa.array([scalar.text(first)]))
            if read.bad is not None:
                raise ValueError("no date")
            return read.values[0].as_py()
        case "DATE_TO_STRING":
            if not isinstance(first, (dt.date, dt.time)):
                raise ValueError("not a date")
            return dates.writer(others[0])(pa.array([first])).values[0].as_py()
        case "LOWER":
            return scalar.text(first).lower()
        case "UPPER":
            return scalar.text(first).upper()
        case "MASK":
            return "*" * len(scalar.text(first))
        case "PARSE_JSON":
            return scalar.parsed_json(first)
        case _:
            known = {
                "TITLE": scalar.title,
                "SNAKE_CASE": scalar.snake_case,
                "REPLACE": scalar.replace,
                "SPLIT_FIELDS": scalar.split,
                "SPLIT_ARRAY": scalar.split,
                "STRING_TO_NUMBER": scalar.number,
                "NUMBER_TO_STRING": scalar.number_text,
                "ROUND": scalar.rounded,
                "HASH": scalar.digest,
            }
            return known[name](first, *others)


def event(filters: Sequence[EventFilter], stream: str, row: Row) -> bool:
    return all(_event(one, stream, row) for one in filters)


def holds(condition: Condition, stream: str, row: Row) -> bool:
    def one(part: EventFilter | Condition) -> bool:
        return _event(part, stream, row) if isinstance(part, EventFilter) else holds(part, stream, row)

    if condition.any is not None:
        return any(map(one, condition.any))
    return all(map(one, condition.all or ()))


def field(filters: Sequence[FieldFilter], name: str, row: Row) -> bool:
    """Whether the field is chosen in this row."""
    return all(
        one.on == "ALL_FIELDS" or (named(one, name) if one.on == "FIELD_NAME" else satisfied(one, row.get(name)))
        for one in filters
    )


def _event(one: EventFilter, stream: str, row: Row) -> bool:
    match one.on:
        case "ALL_EVENTS":
            return True
        case "EVENT_TYPE":
            return named(one, stream)
        case _:
            return satisfied(one, scalar.field(row, one.field or ""))


def named(one: Filter, name: str) -> bool:
    return _textual(one, name) if one.op in _TEXTUAL else _ordered(one, name, lambda a, b: (a > b) - (a < b))


def satisfied(one: Filter, value: Any) -> bool:
    """Whether a value satisfies the operator; None is a missing one."""
    if value is None:
        return one.op in ("NOT_EQUALS", "NOT_IN", "NOT_CONTAINS", "IS_NULL", "DOES_NOT_HAVE_FIELD")
    match one.op:
        case None | "IS_NOT_NULL" | "HAS_FIELD":
            return True
        case "IS_NULL" | "DOES_NOT_HAVE_FIELD":
            return False
        case "IS_TRUE" | "IS_FALSE":
            return scalar.order(value, one.op == "IS_TRUE") == 0
        case op if op in _TEXTUAL:
            return _textual(one, scalar.text(value))
        case _:
            return _ordered(one, value, scalar.order)


_TEXTUAL = ("CONTAINS", "NOT_CONTAINS", "STARTS_WITH", "ENDS_WITH", "MATCHES_REGEX", "IS_EMPTY", "IS_NOT_EMPTY")


def _textual(one: Filter, text: str) -> bool:
    wanted = "" if one.value is None else scalar.text(one.value)
    match one.op:
        case "CONTAINS":
            return wanted in text
        case "NOT_CONTAINS":
            return wanted not in text
        case "STARTS_WITH":
            return text.startswith(wanted)
        case "ENDS_WITH":
            return text.endswith(wanted)
        case "MATCHES_REGEX":
            return re.search(wanted, text) is not None
        case "IS_EMPTY":
            return text in ("", "[]", "{}")
        case _:
            return text not in ("", "[]", "{}")


def _ordered(one: Filter, value: Any, order: Any) -> bool:
    text = isinstance(value, str) and order is not scalar.order

    def against(constant: Any) -> Any:
        return order(value, scalar.text(constant) if text else constant)

    match one.op:
        case "EQUALS":
            return against(one.value) == 0
        case "NOT_EQUALS":
            return against(one.value) != 0
        case "GREATER_THAN":
            return against(one.value) == 1
        case "GREATER_THAN_EQUAL_TO":
            return against(one.value) in (0, 1)
        case "LESSER_THAN":
            return against(one.value) == -1
        case "LESSER_THAN_EQUAL_TO":
            return against(one.value) in (-1, 0)
        case "IN":
            return any(against(item) == 0 for item in one.values())
        case "NOT_IN":
            return not any(against(item) == 0 for item in one.values())
        case op:
            ends = (0, 1) if one.inclusive is not False else (1,)
            inside = against(one.from_) in ends and against(one.to) in [-end for end in ends]
            return inside == (op == "IN_RANGE")


def same(said: Any, cell: Any, type_: pa.DataType) -> bool:
    """Whether a cell of a column of this type is what Python says, be it in a wider type."""
    if said is None or cell is None:
        return said is cell
    if scalar.is_number(said) and scalar.is_number(cell):
        return scalar.number_of(said) == scalar.number_of(cell)
    if type_ == types.VARCHAR and not isinstance(said, str):
        return scalar.text(said) == cell
    if isinstance(said, (dt.date, dt.datetime)) and isinstance(cell, (dt.date, dt.datetime)):
        return scalar.moment_of(said) == scalar.moment_of(cell)
    return type(said) is type(cell) and said == cell
