"""The Python script that a chain is, while it is written: lines, and the functions that they call."""

from __future__ import annotations

import ast
import json
from collections.abc import Generator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from decimal import Decimal
from functools import cache
from typing import Any

from millrace.engine.blocks import scripted
from millrace.engine.blocks.block import Block, FieldBlock
from millrace.engine.blocks.filters import Condition, EventFilter, FieldFilter, Filter
from millrace.engine.blocks.formula import Formula
from millrace.engine.blocks.taking import Taken

_TAKEN: dict[Taken, str] = {
    "text": "isinstance(value, str)",
    "number": "is_number(value)",
    "fraction": "isinstance(value, (float, Decimal))",
    "date": "isinstance(value, dt.date)",
}

# What blocks do to values, in the words of a script. Functions of formulas, which these call, come from `scalar`.
_FUNCTIONS = '''
def satisfies(value, op, *given):
    """Whether a value satisfies an operator; a missing one only those that deny."""
    if op in ("NOT_EQUALS", "NOT_IN", "NOT_CONTAINS"):
        return not satisfies(value, op[4:], *given)
    if op in ("IS_NULL", "DOES_NOT_HAVE_FIELD"):
        return value is None
    if value is None:
        return False
    if op in ("IS_NOT_NULL", "HAS_FIELD"):
        return True
    if op in ("IS_TRUE", "IS_FALSE"):
        return order(value, op == "IS_TRUE") == 0
    if op in ("IS_EMPTY", "IS_NOT_EMPTY"):
        return (text(value) in ("", "[]", "{}")) == (op == "IS_EMPTY")
    if op in ("IN_RANGE", "NOT_IN_RANGE"):
        low, high, inclusive = given
        ends = (0, 1) if inclusive else (1,)
        inside = order(value, low) in ends and order(value, high) in [-end for end in ends]
        return inside == (op == "IN_RANGE")
    if op in ("EQUALS", "IN"):
        return any(order(value, one) == 0 for one in given)
    if op in ("GREATER_THAN", "LESSER_THAN", "GREATER_THAN_EQUAL_TO", "LESSER_THAN_EQUAL_TO"):
        wanted = (1 if op.startswith("GREATER") else -1,) + ((0,) if op.endswith("EQUAL_TO") else ())
        return order(value, given[0]) in wanted
    return contains(text(value), op, text(given[0]))


def contains(written, op, part):
    if op == "CONTAINS":
        return part in written
    if op == "STARTS_WITH":
        return written.startswith(part)
    if op == "ENDS_WITH":
        return written.endswith(part)
    return re.search(part, written) is not None


def named(name, op, *given):
    """Whether a name satisfies an operator; names are compared as text."""
    told = [text(one) for one in given]
    if op in ("NOT_EQUALS", "NOT_IN", "NOT_CONTAINS"):
        return not named(name, op[4:], *given)
    if op in ("EQUALS", "IN"):
        return name in told
    if op in ("IS_EMPTY", "IS_NOT_EMPTY"):
        return (not name) == (op == "IS_EMPTY")
    if op in ("GREATER_THAN", "LESSER_THAN", "GREATER_THAN_EQUAL_TO", "LESSER_THAN_EQUAL_TO"):
        beyond = name > told[0] if op.startswith("GREATER") else name < told[0]
        return beyond or (op.endswith("EQUAL_TO") and name == told[0])
    return contains(name, op, told[0])


def put_parts(p, name, parts):
    """Parts as fields with numbers."""
    if parts is not None and len(parts) > 1000:
        raise ValueError(f"{name} has more than 1,000 parts.")
    for number, part in enumerate(parts or [], 1):
        p[f"{name}_{number}"] = part


def put_new(p, fields):
    """Fields that the event must not have yet."""
    for name, value in fields:
        if value is not None:
            if p.get(name) is not None:
                raise ValueError(f"The event has two values for {name}.")
            p[name] = value


def flattened(name, value, separator, depth):
    """The values at the ends of an object, each with its name."""
    if not isinstance(value, dict) or not value or depth == 0:
        return [(name, value)]
    below = None if depth is None else depth - 1
    return [end for key in value for end in flattened(f"{name}{separator}{key}", value[key], separator, below)]


def rename_fields(event, p, names):
    """The fields have other names, and keep their places."""
    names = {old: new for old, new in names.items() if isinstance(new, str) and new not in ("", old)}
    kept = {}
    for name in list(p.keys()):
        if p[name] is not None:
            new = names.get(name, name)
            if new in kept:
                raise ValueError("The event has a field of the new name already, so that one of both would be lost.")
            kept[new] = p[name]
    p.clear()
    p.update(kept)
    if any(name in names for name in event.getPrimaryKeys()):
        event.setPrimaryKeys([names.get(name, name) for name in event.getPrimaryKeys()])


def salted(value, algorithm, salt):
    return hmac.new(salt.encode(), text(value).encode(), ALGORITHMS[algorithm]).hexdigest()


def hidden(value, character, first, last):
    """The text with its characters hidden, except some at its ends."""
    written = text(value)
    if first + last == 0 or len(written) <= first + last:
        return character * len(written)
    end = len(written) - last
    return written[:first] + character * (end - first) + written[end:]


def moved(value, months, microseconds):
    """A date or moment so much later; the last day of the month where it has no such day."""
    day = value
    if months:
        count = value.year * 12 + value.month - 1 + months
        year, month = count // 12, count % 12 + 1
        leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
        length = 29 if month == 2 and leap else [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31][month - 1]
        return value.replace(year=year, month=month, day=min(value.day, length))
    if not isinstance(value, dt.datetime):
        day = dt.datetime(value.year, value.month, value.day)
    later = day + dt.timedelta(microseconds=microseconds)
    return later if isinstance(value, dt.datetime) else later.date()


def plain_number(value, pattern, group, point):
    """A number's text without separators of groups, with a point before its decimals."""
    if not re.match(pattern, value):
        raise ValueError("The text is no number.")
    return value.replace(group, "").replace(point, ".") if group else value.replace(point, ".")


def as_day(value):
    return value.date() if isinstance(value, dt.datetime) else value


def as_moment(value):
    if isinstance(value, dt.datetime):
        return value
    return dt.datetime(value.year, value.month, value.day, tzinfo=dt.timezone.utc)
'''


class Script:
    """Lines of ``transform(event)``, in which ``p`` are the event's properties."""

    def __init__(self) -> None:
        self._lines: list[str] = []
        self._indent = 1
        self._functions: set[str] = set()

    def line(self, text: str) -> None:
        self._lines.append("    " * self._indent + text)

    @contextmanager
    def block(self, header: str) -> Generator[None]:
        """What is written inside stands below the header; `pass` if it is nothing."""
        self.line(header)
        self._indent += 1
        before = len(self._lines)
        yield
        if len(self._lines) == before:
            self.line("pass")
        self._indent -= 1

    def trying(self) -> AbstractContextManager[None]:
        """What fails leaves the value as it is."""
        return self._trying()

    @contextmanager
    def _trying(self) -> Generator[None]:
        with self.block("try:"):
            yield
        with self.block("except Exception:"):
            self.line("pass  # a value that this cannot be done to stays")

    def chain(self, blocks: Sequence[Block]) -> None:
        for block in blocks:
            first = (block.__doc__ or "").strip().splitlines()[0]
            self.line(f"# {block.kind} {' '.join(block.id.split())}: {first}")
            block.explain(self)

    def events(self, block: Block) -> AbstractContextManager[None]:
        """For events that pass the block's filters."""
        if not block.event_filters:
            return nullcontext()
        return self.block(f"if {' and '.join(map(self._event, block.event_filters))}:")

    @contextmanager
    def fields(self, block: FieldBlock, taken: Taken | None = None, *, absent: Sequence[str] = ()) -> Generator[None]:
        """For each ``name`` and ``value`` that pass the block's filters, of what it takes."""
        tests = [test for one in block.field_filters if (test := self._field(one))]
        if not absent:
            tests.insert(0, "value is not None")
            among = "p.items()"
        else:
            among = f"[(name, p.get(name)) for name in dict.fromkeys([*p.keys(), *{self.literal(list(absent))}])]"
        with self.events(block):
            condition = f" if {' and '.join(tests)}" if tests else ""
            with self.block(f"for name, value in [(name, value) for name, value in {among}{condition}]:"):
                test = _TAKEN.get(taken) if taken else None
                if taken == "number":
                    self.uses("is_number")
                with self.block(f"if {test}:") if test else nullcontext():
                    yield

    def condition(self, condition: Condition) -> str:
        """The condition as an expression."""
        parts = condition.any if condition.any is not None else condition.all or ()
        told = [self._event(one) if isinstance(one, EventFilter) else f"({self.condition(one)})" for one in parts]
        return (" or " if condition.any is not None else " and ").join(told)

    def formula(self, formula: Formula, event: str = "p") -> str:
        """The formula as an expression over ``event``, ``$self`` being the field that ``name`` names."""
        self._functions |= formula.helpers
        return formula.python(event)

    def impossible(self, message: str) -> None:
        """Events that come here fail."""
        self.line(f"raise ValueError({self.literal(message)})")

    def uses(self, function: str) -> str:
        """The name of a function that will be in the script."""
        self._functions.add(function)
        return function

    def literal(self, value: Any) -> str:
        if isinstance(value, (list, tuple)):
            return "[" + ", ".join(map(self.literal, value)) + "]"  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType] - any constant
        if isinstance(value, str):
            return json.dumps(value, ensure_ascii=False)
        return f'Decimal("{value}")' if isinstance(value, Decimal) else repr(value)

    def text(self) -> str:
        """The whole script."""
        own = _definitions()
        wanted: set[str] = set()
        left = {*self._functions}
        while left:
            name = left.pop()
            if name in own and name not in wanted:
                wanted.add(name)
                left |= {node.id for node in ast.walk(own[name]) if isinstance(node, ast.Name)}
            else:
                self._functions.add(name)
        mine = [ast.unparse(own[name]) for name in own if name in wanted]
        called = {node.id for part in mine for node in ast.walk(ast.parse(part)) if isinstance(node, ast.Name)}
        below = scripted.functions({*self._functions, *called})
        body = "\n".join(["def transform(event):", "    p = event.getProperties()", *self._lines, "    return event"])
        called_below = "# What the blocks do to values." if below or mine else ""
        code = "\n\n\n".join(part for part in (body, called_below, below, *mine) if part)
        modules = [line for line in scripted.imports(code).splitlines() if line]
        if "hmac." in code:
            modules.insert(0, "import hmac")
        names = "Event, TimeUtils" if "TimeUtils." in code else "Event"
        return "\n".join([*modules, f"from millrace.api import {names}", "", "", code, ""])

    def _event(self, one: EventFilter) -> str:
        match one.on:
            case "ALL_EVENTS":
                return "True"
            case "EVENT_TYPE":
                return self._name("event.getEventName()", one)
            case "EVENT_FIELD":
                path = one.field or ""
                value = f"p.get({self.literal(path)})"
                if "." in path:
                    value = f"{self.uses('field')}(p, {self.literal(path)})"
                return self._value(value, one)

    def _field(self, one: FieldFilter) -> str:
        match one.on:
            case "ALL_FIELDS":
                return ""
            case "FIELD_NAME":
                return self._name("name", one)
            case "FIELD_VALUE":
                return self._value("value", one)

    def _value(self, value: str, one: Filter) -> str:
        match one.op:
            case None | "IS_NOT_NULL" | "HAS_FIELD":
                return f"{value} is not None"
            case "IS_NULL" | "DOES_NOT_HAVE_FIELD":
                return f"{value} is None"
            case "IN_RANGE" | "NOT_IN_RANGE":
                given = [one.from_, one.to, one.inclusive is not False]
            case "IN" | "NOT_IN":
                given = list(one.values())
            case _:
                given = [] if one.value is None else [one.value]
        return f"{self.uses('satisfies')}({', '.join([value, self.literal(one.op), *map(self.literal, given)])})"

    def _name(self, name: str, one: Filter) -> str:
        given = list(one.values()) if one.op in ("IN", "NOT_IN") else [] if one.value is None else [one.value]
        if one.op in ("EQUALS", "NOT_EQUALS", "IN", "NOT_IN") and all(isinstance(g, str) for g in given):
            if len(given) == 1:
                return f"{name} {'!=' if one.op.startswith('NOT') else '=='} {self.literal(given[0])}"
            return f"{name} {'not in' if one.op.startswith('NOT') else 'in'} {self.literal(given)}"
        if one.op is None:
            return "True"
        return f"{self.uses('named')}({', '.join([name, self.literal(one.op), *map(self.literal, given)])})"


@cache
def _definitions() -> dict[str, ast.FunctionDef]:
    return {node.name: node for node in ast.parse(_FUNCTIONS).body if isinstance(node, ast.FunctionDef)}
