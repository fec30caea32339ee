# ruff: noqa: ARG002  every block is given the same
"""Blocks that make another value of each value: by a formula of the user's, or by one that their settings say."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, ClassVar, Literal

import pyarrow as pa
from pydantic import Field, model_validator

from millrace.data import types
from millrace.data.cast import cast
from millrace.data.compute import pc
from millrace.data.exact import of_type
from millrace.engine.blocks import dates, formula_functions
from millrace.engine.blocks.block import (
    Changed,
    Failures,
    FieldBlock,
    Part,
    Passage,
    ValueBlock,
    columns_of,
    put_unless,
)
from millrace.engine.blocks.formula import Formula
from millrace.engine.blocks.frame import Frame, Put, Where, both, narrowed, spread
from millrace.engine.blocks.settings import FormulaText, parsed, told, wrong
from millrace.engine.blocks.signatures import wrong_regex
from millrace.engine.blocks.splitting import TOO_MANY, Parts, split_of
from millrace.engine.blocks.taking import Taken, takes
from millrace.errors import ConfigError

if TYPE_CHECKING:
    from millrace.engine.blocks.script import Script


class ChangeFieldValuesSettings(Part):
    value: FormulaText = Field(description="A value or formula; $self is the field's own value, $null takes it away.")


class ChangeFieldValues(FieldBlock):
    """Fields get another value: a constant or the result of a formula, on the event as it was before the block.

    A field that an event does not have is set only where a field filter asks for it: its name in Equals or In, and the
    value Is Null.
    """

    type: Literal["CHANGE_FIELD_VALUES"]
    settings: ChangeFieldValuesSettings

    @property
    def formula(self) -> Formula:
        return parsed(self.settings.value)

    @property
    def fills(self) -> bool:
        return any(one.on == "FIELD_VALUE" and one.op == "IS_NULL" for one in self.field_filters)

    @property
    def named(self) -> list[str]:
        """The names that its filters list."""
        listed = [one for one in self.field_filters if one.on == "FIELD_NAME" and one.op in ("EQUALS", "IN")]
        return list(dict.fromkeys(str(name) for one in listed for name in one.values()))

    def targets(self, frame: Frame) -> dict[str, Where]:
        if self.fills:
            absent = [name for name in self.named if frame.column(name) is None]
            return self.chosen(frame, [*frame.fields, *absent])
        found: dict[str, Where] = {}
        for name, where in self.chosen(frame, frame.fields).items():
            column = frame.column(name)
            assert column is not None
            has = narrowed(both(where, column.is_valid() if column.null_count else None), frame.rows.num_rows)
            if has is None or has.true_count:
                found[name] = has
        return found

    def apply(self, frame: Frame, passage: Passage) -> Iterable[Frame]:
        formula, delimiter = split_of(self.formula)
        failures = Failures()
        columns: list[Put] = []
        for name, where in self.targets(frame).items():
            rows = columns_of(frame.visible, formula.fields, name)
            found = formula.evaluate(rows if where is None else rows.filter(where), self_field=name)
            failures = failures.and_of(where, found.failed, told(self.formula, found.message))
            values = spread(found.values, where)
            if delimiter is None:
                columns.append((name, values, where))
            else:
                parts = Parts.of(name, values, delimiter)
                columns += parts.columns
                failures = failures.and_of(None, parts.too_many, TOO_MANY)
        return put_unless(self, frame, columns, failures, passage)

    def explain(self, script: Script) -> None:
        value = script.formula(self.formula)
        script.line("changed = []")
        with script.fields(self, absent=self.named if self.fills else []):
            script.line(f"changed.append((name, {value}))")
        with script.block("for name, value in changed:"):
            script.line(f"{script.uses('put_parts')}(p, name, value)" if self.formula.splits else "p[name] = value")


class FormulaBlock(ValueBlock):
    """A block whose settings say a formula. Values that the formula cannot take stay as they are."""

    taken: ClassVar[Taken] = "text"

    @property
    @abstractmethod
    def text(self) -> str:
        """The formula."""

    def changed(self, rows: pa.RecordBatch, name: str, passage: Passage) -> Changed | None:
        if not takes(rows.schema.field(name).type, self.taken):
            return None
        found = parsed(self.text).evaluate(rows, self_field=name)
        return Changed(found.values, found.failed)

    def explain(self, script: Script) -> None:
        with script.fields(self, self.taken), script.trying():
            script.line(f"p[name] = {script.formula(parsed(self.text))}")


def quoted(text: str) -> str:
    """Text as a constant of a formula."""
    return '"' + text.replace('"', '""') + '"'


def _read(pattern_of: Callable[[str], object], pattern: str) -> None:
    try:
        pattern_of(pattern)
    except ConfigError as error:
        raise wrong(error.message, error.hint) from None


class FindReplaceSettings(Part):
    find: str = Field(min_length=1, description="The text to find.")
    replace: str = Field(description="What takes its place; with regex, $1 is the first group.")
    regex: bool = Field(False, description="Whether the text to find is a regular expression (RE2).")
    match_case: Literal["EXACT", "IGNORE"] = Field("EXACT", description="Whether upper and lower case must agree.")

    @model_validator(mode="after")
    def _readable(self) -> FindReplaceSettings:
        if self.regex and (told := wrong_regex(self.find, self.replace)):
            raise wrong(told)
        return self


class FindReplace(FormulaBlock):
    """All occurrences of a text are replaced by another."""

    type: Literal["FIND_REPLACE"]
    settings: FindReplaceSettings

    @property
    def text(self) -> str:
        one = self.settings
        flags = f'"{"REGEX" if one.regex else "OTHERS"}", "{"MATCH_EXACT" if one.match_case == "EXACT" else "OTHERS"}"'
        return f"REPLACE($self, {flags}, {quoted(one.find)}, {quoted(one.replace)})"


class ModifyTextCasingSettings(Part):
    casing: Literal["LOWER", "UPPER", "TITLE", "SNAKE_CASE"] = Field(description="How text is to be written.")


class ModifyTextCasing(FormulaBlock):
    """Text in lower, upper, title or snake case."""

    type: Literal["MODIFY_TEXT_CASING"]
    settings: ModifyTextCasingSettings

    @property
    def text(self) -> str:
        return f"{self.settings.casing}($self)"


class FormatDateToStringSettings(Part):
    format: str = Field(min_length=1, description="The pattern in Java's letters, for example yyyy-MM-dd HH:mm.")

    @model_validator(mode="after")
    def _readable(self) -> FormatDateToStringSettings:
        _read(dates.writer, self.format)
        return self


class FormatDateToString(FormulaBlock):
    """Dates and moments become text."""

    type: Literal["FORMAT_DATE_TO_STRING"]
    settings: FormatDateToStringSettings
    taken = "date"

    @property
    def text(self) -> str:
        return f"DATE_TO_STRING($self, {quoted(self.settings.format)})"


class ParseDateFromStringSettings(Part):
    format: str = Field(min_length=1, description="The pattern in Java's letters, for example dd/MM/yyyy.")
    to: Literal["DATE", "DATETIME"] | None = Field(
        None, description="What it becomes; a moment if the pattern has a time, where nothing is said."
    )

    @model_validator(mode="after")
    def _readable(self) -> ParseDateFromStringSettings:
        _read(dates.reader, self.format)
        return self


class ParseDateFromString(FormulaBlock):
    """Text becomes a date or a moment (UTC). Text that is not in the pattern stays."""

    type: Literal["PARSE_DATE_FROM_STRING"]
    settings: ParseDateFromStringSettings

    @property
    def text(self) -> str:
        return f"STRING_TO_DATE($self, {quoted(self.settings.format)})"

    def changed(self, rows: pa.RecordBatch, name: str, passage: Passage) -> Changed | None:
        found = super().changed(rows, name, passage)
        if found is None or self.settings.to is None:
            return found
        values = found.values
        if self.settings.to == "DATE" and values.type != types.DATE:
            values = pc.floor_temporal(values, unit="day").cast(types.DATE)
        elif self.settings.to == "DATETIME" and values.type == types.DATE:
            values = cast(values, types.TIMESTAMPTZ, strict=True).values
        return Changed(values, found.left)

    def explain(self, script: Script) -> None:
        value = script.formula(parsed(self.text))
        if self.settings.to is not None:
            value = f"{script.uses('as_day' if self.settings.to == 'DATE' else 'as_moment')}({value})"
        with script.fields(self, "text"), script.trying():
            script.line(f"p[name] = {value}")


class FormatNumberToStringSettings(Part):
    decimals: int | None = Field(None, ge=0, le=38, description="Digits after the point, half up; all that there are.")
    thousands_separator: str = Field(
        "", max_length=1, description="Between groups of three digits, for example a comma."
    )
    decimal_separator: str = Field(".", min_length=1, max_length=1, description="Before the digits after the point.")


class FormatNumberToString(FormulaBlock):
    """Numbers become text."""

    type: Literal["FORMAT_NUMBER_TO_STRING"]
    settings: FormatNumberToStringSettings
    taken = "number"

    @property
    def text(self) -> str:
        one = self.settings
        if one.decimals is None and not one.thousands_separator:
            return 'NUMBER_TO_STRING($self, "plain")'
        after = "#" * 38 if one.decimals is None else "0" * one.decimals
        whole = "#,##0" if one.thousands_separator else "0"
        return f'NUMBER_TO_STRING($self, "{whole}{"." if after else ""}{after}")'

    def changed(self, rows: pa.RecordBatch, name: str, passage: Passage) -> Changed | None:
        found = super().changed(rows, name, passage)
        signs = (self.settings.thousands_separator or ",", self.settings.decimal_separator)
        if found is None or signs == (",", "."):
            return found
        texts = found.values if found.values.type == types.VARCHAR else found.values.cast(types.VARCHAR)
        for sign, other in ((",", "\0"), (".", signs[1]), ("\0", signs[0])):
            texts = pc.replace_substring(texts, sign, other)
        return Changed(texts, found.left)

    def explain(self, script: Script) -> None:
        value = script.formula(parsed(self.text))
        signs = (self.settings.thousands_separator or ",", self.settings.decimal_separator)
        if signs != (",", "."):
            value += f".translate(str.maketrans({script.literal(',.')}, {script.literal(''.join(signs))}))"
        with script.fields(self, "number"), script.trying():
            script.line(f"p[name] = {value}")


class ParseNumberFromStringSettings(Part):
    decimals: int | None = Field(None, ge=0, le=38, description="Digits after the point, half up; all that there are.")
    group_separator: str = Field("", max_length=1, description="What may stand between groups of digits.")
    decimal_separator: str = Field(".", min_length=1, max_length=1, description="What stands before the decimals.")

    @model_validator(mode="after")
    def _different(self) -> ParseNumberFromStringSettings:
        if self.group_separator == self.decimal_separator:
            raise wrong("the separators of groups and of decimals are the same")
        return self


class ParseNumberFromString(FormulaBlock):
    """Text becomes a number. Text that is none stays, as does one whose last group has not three digits."""

    type: Literal["PARSE_NUMBER_FROM_STRING"]
    settings: ParseNumberFromStringSettings

    @property
    def text(self) -> str:
        decimals = self.settings.decimals
        return f"STRING_TO_NUMBER($self{'' if decimals is None else f', {decimals}'})"

    @property
    def pattern(self) -> str:
        """A regular expression of the texts that are numbers, of RE2 and of Python."""
        group, point = (_escaped(sign) for sign in (self.settings.group_separator, self.settings.decimal_separator))
        groups = f"[0-9]{{1,3}}(?:{group}[0-9]{{2,3}})*{group}[0-9]{{3}}|" if group else ""
        return rf"^\s*[+-]?(?:{groups}[0-9]*)(?:{point}[0-9]*)?(?:[eE][+-]?[0-9]{{1,4}})?\s*$"

    @property
    def is_plain(self) -> bool:
        return not self.settings.group_separator and self.settings.decimal_separator == "."

    def changed(self, rows: pa.RecordBatch, name: str, passage: Passage) -> Changed | None:
        if self.is_plain or not takes(rows.schema.field(name).type, "text"):
            return super().changed(rows, name, passage)
        texts = types.storage(rows.column(name))
        fits = pc.match_substring_regex(texts, self.pattern)
        texts = pc.if_else(fits, texts, "no number")
        if self.settings.group_separator:
            texts = pc.replace_substring(texts, self.settings.group_separator, "")
        texts = pc.replace_substring(texts, self.settings.decimal_separator, ".")
        return super().changed(pa.RecordBatch.from_arrays([texts], [name]), name, passage)

    def explain(self, script: Script) -> None:
        with script.fields(self, "text"), script.trying():
            if not self.is_plain:
                one = self.settings
                signs = f"{script.literal(one.group_separator)}, {script.literal(one.decimal_separator)}"
                value = f"{script.uses('plain_number')}(value, {script.literal(self.pattern)}, {signs})"
                decimals = "" if self.settings.decimals is None else f", {self.settings.decimals}"
                script.line(f"p[name] = {script.uses('number')}({value}{decimals})")
            else:
                script.line(f"p[name] = {script.formula(parsed(self.text))}")


def _escaped(sign: str) -> str:
    return f"\\{sign}" if sign and sign in r".^$*+?()[]{}|\\-/" else sign


class RoundOffDecimalFieldsSettings(Part):
    decimals: int = Field(ge=0, le=38, description="Digits after the point, half up.")


class RoundOffDecimalFields(FormulaBlock):
    """Decimals and floats are rounded half up, away from zero. Integers stay."""

    type: Literal["ROUND_OFF_DECIMAL_FIELDS"]
    settings: RoundOffDecimalFieldsSettings
    taken = "fraction"

    @property
    def text(self) -> str:
        return f"ROUND($self, {self.settings.decimals})"


class ParseJsonFromString(ValueBlock):
    """Text of a JSON object or array becomes that. Other text stays."""

    type: Literal["PARSE_JSON_FROM_STRING"]

    def changed(self, rows: pa.RecordBatch, name: str, passage: Passage) -> Changed | None:
        if not takes(rows.schema.field(name).type, "text"):
            return None
        texts = types.storage(rows.column(name))
        begins = pc.match_substring_regex(texts, r"^[ \t\r\n]*[\[{]").fill_null(False)
        if not begins.true_count:
            return None
        values = formula_functions.parsed_json(pc.if_else(begins, texts, pa.scalar(None, types.VARCHAR)))
        read = pc.match_substring_regex(values.storage, r"^[ \t\r\n]*[\[{]").fill_null(False)
        return Changed(of_type(values.storage, types.JSON), pc.invert(read))

    def explain(self, script: Script) -> None:
        with script.fields(self, "text"):
            script.line(f"parsed = {script.uses('parsed_json')}(value)")
            with script.block("if isinstance(parsed, (dict, list)):"):
                script.line("p[name] = parsed")
