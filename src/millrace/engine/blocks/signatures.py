"""The functions of formulas: what they take and give, for the parser, the editor and the documents."""

from __future__ import annotations

from dataclasses import field
from typing import Any, Literal, TypeAlias

from millrace.data.compute import pc
from millrace.data.dataclass import dataclass
from millrace.engine.blocks import dates, scalar
from millrace.errors import ConfigError

Form: TypeAlias = Literal["text", "number", "boolean", "date", "null", "any"]


@dataclass(frozen=True, slots=True)
class Parameter:
    """One value of a function. ``fixed``: a constant, known before there are rows."""

    name: str
    form: Form = "any"
    fixed: bool = False
    choices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Signature:
    """``long`` is a second list of parameters, for REPLACE. ``least``: values that must be given."""

    usage: str
    gives: Form
    parameters: tuple[Parameter, ...]
    least: int
    long: tuple[Parameter, ...] = field(default=())

    @property
    def counts(self) -> tuple[int, ...]:
        short = tuple(range(self.least, len(self.parameters) + 1))
        return (*short, len(self.long)) if self.long else short

    def takes(self, count: int) -> tuple[Parameter, ...]:
        return self.long if count == len(self.long) else self.parameters[:count]


_ANY = Parameter("value")
_NUMBER = Parameter("number", "number")
_DIGITS = Parameter("digits", "number", fixed=True)
_FORMAT = Parameter("format", "text", fixed=True)

FUNCTIONS: dict[str, Signature] = {
    "LOWER": Signature("LOWER(text)", "text", (_ANY,), 1),
    "UPPER": Signature("UPPER(text)", "text", (_ANY,), 1),
    "TITLE": Signature("TITLE(text)", "text", (_ANY,), 1),
    "SNAKE_CASE": Signature("SNAKE_CASE(text)", "text", (_ANY,), 1),
    "REPLACE": Signature(
        'REPLACE(text, find, replace) or REPLACE(text, "REGEX"|"OTHERS", "MATCH_EXACT"|"OTHERS", find, replace)',
        "text",
        (_ANY, Parameter("find"), Parameter("replace")),
        3,
        (
            _ANY,
            Parameter("first flag", "text", fixed=True, choices=("REGEX", "OTHERS")),
            Parameter("second flag", "text", fixed=True, choices=("MATCH_EXACT", "OTHERS")),
            Parameter("find", "text", fixed=True),
            Parameter("replace", "text", fixed=True),
        ),
    ),
    "SPLIT_FIELDS": Signature(
        "SPLIT_FIELDS(text, delimiter)", "any", (_ANY, Parameter("delimiter", "text", fixed=True)), 2
    ),
    "SPLIT_ARRAY": Signature(
        "SPLIT_ARRAY(text, delimiter)", "any", (_ANY, Parameter("delimiter", "text", fixed=True)), 2
    ),
    "STRING_TO_NUMBER": Signature(
        "STRING_TO_NUMBER(text, decimals); without decimals all that the text has", "number", (_ANY, _DIGITS), 1
    ),
    "NUMBER_TO_STRING": Signature(
        'NUMBER_TO_STRING(number, format), for example "#,##0.00" or "plain"', "text", (_NUMBER, _FORMAT), 2
    ),
    "STRING_TO_DATE": Signature(
        'STRING_TO_DATE(text, format), for example "dd/MM/yyyy HH:mm"', "date", (_ANY, _FORMAT), 2
    ),
    "DATE_TO_STRING": Signature(
        'DATE_TO_STRING(date, format), for example "yyyy-MM-dd"', "text", (Parameter("date", "date"), _FORMAT), 2
    ),
    "ROUND": Signature("ROUND(number, digits)", "number", (_NUMBER, _DIGITS), 2),
    "HASH": Signature(
        "HASH(value, algorithm)",
        "text",
        (_ANY, Parameter("algorithm", "text", fixed=True, choices=tuple(scalar.ALGORITHMS))),
        2,
    ),
    "MASK": Signature("MASK(value)", "text", (_ANY,), 1),
    "PARSE_JSON": Signature("PARSE_JSON(text)", "any", (_ANY,), 1),
}


def wrong(name: str, constants: tuple[Any, ...]) -> str | None:
    """What is wrong with the constants among a function's values; ``...`` stands for one that is not constant."""
    match name, constants:
        case "STRING_TO_NUMBER", (_, digits) if not (isinstance(digits, int) and 0 <= digits <= scalar.DIGITS):
            return f"the decimals are a whole number from 0 to {scalar.DIGITS}"
        case "ROUND", (_, digits) if not (isinstance(digits, int) and abs(digits) <= scalar.DIGITS):
            return f"the digits are a whole number from -{scalar.DIGITS} to {scalar.DIGITS}"
        case (("SPLIT_FIELDS" | "SPLIT_ARRAY"), (_, "")):
            return "the delimiter is empty"
        case "REPLACE", (_, "", _) | (_, _, _, "", _):
            return "there is nothing to find"
        case "REPLACE", (_, "REGEX", _, find, new):
            return wrong_regex(find, new)
        case "NUMBER_TO_STRING", (_, pattern):
            try:
                return scalar.number_text(0, pattern) and None
            except ValueError as error:
                return str(error).rstrip(".")
        case "STRING_TO_DATE", (_, pattern):
            return _wrong_dates(dates.reader, pattern)
        case "DATE_TO_STRING", (_, pattern):
            return _wrong_dates(dates.writer, pattern)
        case _:
            return None


def wrong_regex(find: str, new: str = "") -> str | None:
    """What is wrong with a regular expression of RE2's syntax, or with groups in the text that takes its place."""
    try:
        pc.replace_substring_regex("", find, regex_replacement(new))
    except (ValueError, OSError) as error:
        return f"{find!r} is no regular expression: {str(error).splitlines()[0]}"
    return None


def regex_replacement(new: str) -> str:
    """A replacement with groups as ``$1`` in the form of RE2."""
    out = new.replace("\\", "\\\\")
    for digit in "0123456789":
        out = out.replace(f"${digit}", f"\\{digit}")
    return out


def _wrong_dates(read: Any, pattern: str) -> str | None:
    try:
        read(pattern)
    except ConfigError as error:
        return error.message.rstrip(".")
    return None
