"""The language of formulas: text to a tree, with every mistake that can be known before there is a row.

    formula   = sum { ("==" | "!=") sum }
    sum       = product { ("+" | "-") product }
    product   = unary { ("*" | "/") unary }
    unary     = ("!" | "-") unary | value
    value     = number | "text" | true | false | $self | $null | FUNCTION(formula, …) | name{.name} | (formula)

In text ``""`` is one quotation mark; a backslash is itself. A name is letters, digits and underscores; any other name
stands in backquotes (`` `order-id` ``, two of them for one), where a dot is part of the name.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from decimal import Decimal
from difflib import get_close_matches
from typing import Literal, NoReturn, TypeAlias

from millrace.data.dataclass import dataclass
from millrace.engine.blocks import signatures
from millrace.engine.blocks.signatures import Form
from millrace.errors import ConfigError

Sign: TypeAlias = Literal["+", "-", "*", "/", "==", "!="]
Plain: TypeAlias = str | int | Decimal | bool | None

MAX_CHARACTERS = 10_000
MAX_DEPTH = 150
MAX_NESTING = 50
MAX_OPERATORS = 500

_TOKEN = re.compile(
    r"""\s*(?:(?P<number>(?:[0-9]+(?:\.[0-9]+)?|\.[0-9]+)(?!\w))
    |(?P<text>"(?:[^"]|"")*")
    |(?P<quoted>`(?:[^`]|``)+`)
    |(?P<word>\$?[^\W\d]\w*)
    |(?P<sign>==|!=|[-+*/!().,]))""",
    re.VERBOSE,
)


@dataclass(frozen=True, slots=True)
class Constant:
    value: Plain


@dataclass(frozen=True, slots=True)
class Reference:
    """A field; ``path`` has a part for each dot. Parts in backquotes may have dots of their own."""

    path: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Self:
    """The field that is being transformed."""


@dataclass(frozen=True, slots=True)
class Unary:
    sign: Literal["!", "-"]
    operand: Node


@dataclass(frozen=True, slots=True)
class Binary:
    sign: Sign
    left: Node
    right: Node


@dataclass(frozen=True, slots=True)
class Call:
    name: str
    arguments: tuple[Node, ...]


Node: TypeAlias = Constant | Reference | Self | Unary | Binary | Call


def tree(text: str) -> Node:
    """What the text says. Raises ConfigError (code ``formula``) with the place of the mistake."""
    if len(text) > MAX_CHARACTERS:
        raise ConfigError(f"A formula has at most {MAX_CHARACTERS:,} characters.", code="formula")
    return _Parser(text).whole()


def parts(node: Node) -> Iterator[tuple[Node, int]]:
    """Every node, each with its depth from 1."""
    left = [(node, 1)]
    while left:
        one, depth = left.pop()
        yield one, depth
        match one:
            case Unary(_, operand):
                left.append((operand, depth + 1))
            case Binary(_, a, b):
                left += [(a, depth + 1), (b, depth + 1)]
            case Call(_, arguments):
                left += [(argument, depth + 1) for argument in arguments]
            case _:
                pass


def form(node: Node) -> Form:
    """What its values are, as far as that is known without rows."""
    match node:
        case Constant(None):
            return "null"
        case Constant(bool()):
            return "boolean"
        case Constant(str()):
            return "text"
        case Constant():
            return "number"
        case Unary("!"):
            return "boolean"
        case Unary():
            return "number"
        case Binary("==") | Binary("!="):
            return "boolean"
        case Binary("+", left, right):
            sides = {form(left), form(right)}
            return "text" if "text" in sides else "number" if sides == {"number"} else "any"
        case Binary():
            return "number"
        case Call(name):
            return signatures.FUNCTIONS[name].gives
        case _:
            return "any"


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str
    at: int


class _Parser:
    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = list(self._read())
        self._next = 0
        self._depth = 0
        self._operators = 0

    def whole(self) -> Node:
        node = self._equality(outermost=True)
        if any(depth > MAX_DEPTH for _, depth in parts(node)):
            self._fail(self._tokens[0], f"it has more than {MAX_DEPTH} operators in a row or inside each other")
        if self._peek.kind != "end":
            self._fail(self._peek, f"an operator was expected, not {self._peek.text!r}")
        return node

    def _read(self) -> list[_Token]:
        tokens: list[_Token] = []
        at = 0
        end = len(self._text.rstrip())
        while at < end:
            found = _TOKEN.match(self._text, at)
            if not found:
                at += len(self._text[at:]) - len(self._text[at:].lstrip())
                sign = self._text[at]
                hint = {
                    '"': 'The text has no end. Two quotation marks ("") inside a text are one.',
                    "'": 'Text stands in double quotation marks: "text".',
                    "=": "Two signs compare: ==.",
                    "`": "A name in backquotes ends with a backquote.",
                }.get(sign, "A name with other signs than letters, digits and _ stands in backquotes: `order-id`.")
                self._fail(_Token("", sign, at), f"{sign!r} cannot stand here", hint)
            kind = found.lastgroup or ""
            tokens.append(_Token(kind, found[kind], found.start(kind)))
            at = found.end()
        return [*tokens, _Token("end", "the end", end)]

    @property
    def _peek(self) -> _Token:
        return self._tokens[self._next]

    def _take(self, *signs: str) -> _Token | None:
        token = self._peek
        if token.kind != "sign" or token.text not in signs:
            return None
        self._next += 1
        return token

    def _expect(self, sign: str) -> None:
        if not self._take(sign):
            self._fail(self._peek, f"{sign!r} was expected, not {self._peek.text!r}")

    def _fail(self, token: _Token, message: str, hint: str | None = None) -> NoReturn:
        raise ConfigError(f"In the formula at character {token.at + 1}: {message}.", hint=hint, code="formula")

    def _equality(self, *, outermost: bool = False) -> Node:
        node = self._sum(outermost=outermost)
        while token := self._take("==", "!="):
            node = self._binary(token, node, self._sum())
        return node

    def _sum(self, *, outermost: bool = False) -> Node:
        node = self._product(outermost=outermost)
        while token := self._take("+", "-"):
            node = self._binary(token, node, self._product())
        return node

    def _product(self, *, outermost: bool = False) -> Node:
        node = self._unary(outermost=outermost)
        while token := self._take("*", "/"):
            node = self._binary(token, node, self._unary())
        return node

    def _unary(self, *, outermost: bool = False) -> Node:
        token = self._take("!", "-")
        if not token:
            return self._value(outermost=outermost)
        operand = self._deeper(token, self._unary)
        if token.text == "!":
            self._must(token, operand, "boolean", "! takes true or false")
            return Unary("!", operand)
        self._must(token, operand, "number", "- takes numbers")
        if isinstance(operand, Constant) and isinstance(operand.value, (int, Decimal)):
            return Constant(-operand.value)
        return Unary("-", operand)

    def _value(self, *, outermost: bool) -> Node:
        token = self._peek
        self._next += 1
        match token.kind:
            case "number":
                return Constant(Decimal(token.text) if "." in token.text else int(token.text))
            case "text":
                return Constant(token.text[1:-1].replace('""', '"'))
            case "quoted":
                return self._reference(token)
            case "word":
                if self._peek.kind == "sign" and self._peek.text == "(":
                    return self._call(token, outermost=outermost)
                if token.text in ("true", "false"):
                    return Constant(token.text == "true")
                if token.text.startswith("$"):
                    return self._keyword(token)
                return self._reference(token)
            case "sign" if token.text == "(":
                node = self._inside(token)
                self._expect(")")
                return node
            case _:
                self._fail(token, f"a value was expected, not {token.text!r}")

    def _inside(self, token: _Token) -> Node:
        return self._deeper(token, self._equality)

    def _deeper(self, token: _Token, read: Callable[[], Node]) -> Node:
        if self._depth >= MAX_NESTING:
            self._fail(token, f"the formula nests deeper than {MAX_NESTING}")
        self._depth += 1
        node = read()
        self._depth -= 1
        return node

    def _keyword(self, token: _Token) -> Node:
        if token.text == "$self":
            return Self()
        if token.text == "$null":
            return Constant(None)
        self._fail(
            token,
            f"there is no keyword {token.text!r}",
            f"The keywords are $self and $null. A field of this name stands in backquotes: `{token.text}`.",
        )

    def _reference(self, token: _Token) -> Node:
        path = [_name(token)]
        while self._take("."):
            part = self._peek
            if part.kind not in ("word", "quoted") or part.text.startswith("$"):
                self._fail(part, f"the name of a field was expected after the dot, not {part.text!r}")
            path.append(_name(part))
            self._next += 1
        return Reference(tuple(path))

    def _call(self, token: _Token, *, outermost: bool) -> Node:
        name = token.text.upper()
        signature = signatures.FUNCTIONS.get(name)
        if signature is None:
            near = get_close_matches(name, signatures.FUNCTIONS, n=1)
            known = f"Did you mean {near[0]}?" if near else f"The functions are {', '.join(signatures.FUNCTIONS)}."
            self._fail(token, f"there is no function {token.text}", known)
        if name == "SPLIT_FIELDS" and (not outermost or self._next != 1):
            self._fail(
                token,
                "SPLIT_FIELDS makes several fields and must be the whole formula",
                "SPLIT_ARRAY makes one value, an array.",
            )
        self._expect("(")
        starts: list[_Token] = []
        arguments: list[Node] = []
        while not self._take(")"):
            if arguments:
                self._expect(",")
            starts.append(self._peek)
            arguments.append(self._inside(self._peek))
        if len(arguments) not in signature.counts:
            wanted = " or ".join(map(str, signature.counts))
            self._fail(
                token, f"{name} takes {wanted} value{'s' * (wanted != '1')}, not {len(arguments)}", signature.usage
            )
        for at, argument, wanted in zip(starts, arguments, signature.takes(len(arguments)), strict=True):
            self._argument(at, name, argument, wanted, signature.usage)
        if name == "REPLACE" and len(arguments) == 4:  # the long form has 5 values: this cannot be
            self._fail(token, "REPLACE takes 3 or 5 values", signature.usage)
        if wrong := signatures.wrong(name, tuple(a.value if isinstance(a, Constant) else ... for a in arguments)):
            self._fail(token, wrong, signature.usage)
        return Call(name, tuple(arguments))

    def _argument(self, at: _Token, name: str, argument: Node, wanted: signatures.Parameter, usage: str) -> None:
        if wanted.fixed:
            if not isinstance(argument, Constant) or form(argument) != wanted.form:
                self._fail(at, f"{name} takes a constant {wanted.form} as its {wanted.name}", usage)
            if wanted.choices and argument.value not in wanted.choices:
                told = ", ".join(f'"{choice}"' for choice in wanted.choices)
                self._fail(at, f"the {wanted.name} of {name} is one of {told}", usage)
        elif wanted.form != "any":
            self._must(at, argument, wanted.form, f"{name} takes {wanted.form} here")

    def _must(self, token: _Token, node: Node, wanted: Form, told: str) -> None:
        found = form(node)
        if found not in ("any", "null", wanted):
            self._fail(token, f"{told}, and this is {found}")

    def _binary(self, token: _Token, left: Node, right: Node) -> Node:
        self._operators += 1
        if self._operators > MAX_OPERATORS:
            self._fail(token, f"a formula has at most {MAX_OPERATORS} operators")
        sign: Sign = token.text  # pyright: ignore[reportAssignmentType] - what _take was given
        if sign in ("==", "!="):
            return Binary(sign, left, right)
        forms = {form(left), form(right)}
        if not (sign == "+" and "text" in forms):
            for side in (left, right):
                self._must(token, side, "number", f"{sign} takes numbers")
        return Binary(sign, left, right)


def _name(token: _Token) -> str:
    return token.text[1:-1].replace("``", "`") if token.kind == "quoted" else token.text
