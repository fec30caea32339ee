from __future__ import annotations

import datetime as dt
import hashlib
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest

from millrace.data import types
from millrace.data.rows import to_batch
from millrace.engine.blocks import scripted
from millrace.engine.blocks.formula import Evaluated, parse
from millrace.engine.blocks.grammar import MAX_CHARACTERS
from millrace.engine.blocks.values import python_values
from millrace.errors import ConfigError
from millrace.scripting.event import Event
from millrace.scripting.script import compiled


def evaluated(text: str, *rows: dict[str, Any], self_field: str | None = None) -> Evaluated:
    return parse(text).evaluate(to_batch(list(rows), None), self_field=self_field)


def value(text: str, self_field: str | None = None, **row: Any) -> Any:
    found = evaluated(text, {"id": 1, **row}, self_field=self_field)
    assert found.failed is None, found.message
    return python_values(found.values)[0]


def failure(text: str, **row: Any) -> str:
    found = evaluated(text, {"id": 1, **row})
    assert found.failed is not None
    assert found.failed.to_pylist() == [True]
    assert found.values.null_count == 1
    return found.message


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1 + 2 * 3", 7),
        ("(1 + 2) * 3", 9),
        ("10 - 2 - 3", 5),
        ("16 / 4 / 2", 2.0),
        ("1 + 1 == 2", True),
        ("!true == false", True),
        ("-2 * -3", 6),
        ('"a" + 1 + 2', "a12"),
        ('1 + 2 + "a"', "3a"),
        ('"say ""hi"""', 'say "hi"'),
        ('"C:\\d"', "C:\\d"),
        ("1 == 2 == false", True),
        ("true", True),
        ("$null", None),
    ],
)
def test_operators_bind_as_in_arithmetic(text: str, expected: object) -> None:
    assert value(text) == expected


def test_the_formula_of_the_specification_is_read_and_calculated() -> None:
    text = 'int_col + dec_col * 1000 + STRING_TO_NUMBER(REPLACE(id, "-", " "), 1)'
    assert value(text, int_col=1, dec_col=Decimal("0.25"), id="-7.56") == Decimal("258.60")
    assert parse(text).fields == {"int_col", "dec_col", "id"}


def test_self_is_the_field_that_is_transformed() -> None:
    assert value("1.2 * $self", "price", price=100) == 120
    assert value("$self", "a.b", **{"a.b": 3}) == 3
    with pytest.raises(ConfigError, match=r"\$self means nothing here"):
        value("$self")


def test_names_reach_into_objects_and_columns_with_dots_come_first() -> None:
    state = {"state": {"name": "Kerala", "order-id": 7}}
    assert value("location.state.name", location=state) == "Kerala"
    assert value("location.`state`.`order-id`", location=state) == 7
    assert value("location.state.city", location=state) is None
    assert value("a.b", a={"b": 1}, **{"a.b": 2}) == 2
    assert value("`we``ird $x`", **{"we`ird $x": 5}) == 5
    assert value("`$self`", **{"$self": 5}) == 5
    assert value("nowhere") is None


def test_a_missing_operand_makes_the_result_missing() -> None:
    for text in (
        "x + 1",
        "1 - x",
        '"a" + x',
        "x == 1",
        "x != 1",
        "!x",
        "-x",
        "LOWER(x)",
        "x / 2",
        "2 / x",
        "ROUND(x, 1)",
    ):
        assert value(text) is None


@pytest.mark.parametrize(
    ("a", "sign", "b", "expected"),
    [
        (2**31 - 1, "+", 1, 2**31),
        (2**63 - 1, "+", 1, 2**63),
        (2**63 - 1, "*", 2**63 - 1, (2**63 - 1) ** 2),
        (7, "/", 2, 3.5),
        (2**53 + 1, "/", 1, float(2**53)),
        (Decimal("0.10"), "+", Decimal("0.2"), Decimal("0.30")),
        (Decimal("1.5"), "*", 3, Decimal("4.5")),
        (Decimal("10.00"), "/", 3, Decimal("3.3333333333")),
        (Decimal("-10.00"), "/", Decimal("4"), Decimal("-2.5")),
        (2, "/", Decimal("-3.0"), Decimal("-0.6666666667")),
        (Decimal("1.0"), "/", 2048, Decimal("0.0004882813")),
        (Decimal("-1.0"), "/", 2048, Decimal("-0.0004882813")),
        (Decimal("0.123456789012345"), "/", 1, Decimal("0.123456789012345")),
        (Decimal("1" * 30 + ".5"), "/", 1, Decimal("1" * 30 + ".5")),
        (0.1, "+", 0.2, 0.1 + 0.2),
        (Decimal("0.1"), "+", 0.2, 0.1 + 0.2),
        (3, "*", 1.5, 4.5),
        (Decimal("9" * 38), "+", Decimal("0." + "9" * 38), Decimal("9" * 38 + "." + "9" * 38)),
    ],
)
def test_numbers_are_never_cut(a: Any, sign: str, b: Any, expected: object) -> None:
    found = value(f"a {sign} b", a=a, b=b)
    assert found == expected
    assert type(found) is type(expected) or {type(found), type(expected)} == {int, Decimal}


@pytest.mark.parametrize(
    ("text", "row", "message"),
    [
        ("a / b", {"a": 1, "b": 0}, "Division by zero"),
        ("a / 0", {"a": 1}, "Division by zero"),
        ("1 / 0", {"a": 1}, "Division by zero"),
        ("a / b", {"a": 1.5, "b": 0}, "Division by zero"),
        ("a / b", {"a": Decimal("1.5"), "b": 0}, "Division by zero"),
        ("a + b", {"a": 2**53 + 1, "b": 0.5}, "more digits than the DOUBLE"),
        ("a * b", {"a": 1e300, "b": 1e300}, "beyond what a DOUBLE holds"),
        ("a * b", {"a": Decimal("9" * 30), "b": Decimal("9" * 30)}, "more than 38 digits"),
        ("a * 2", {"a": "12"}, "takes numbers; text is none"),
        ("a - b", {"a": True, "b": 1}, "takes numbers; a boolean is none"),
        ("a + 1", {"a": dt.date(2024, 1, 1)}, "a date or time is none"),
        ("a + 1", {"a": {"b": 1}}, "an object is none"),
        ("!a", {"a": "true"}, "! takes true or false"),
        ("STRING_TO_NUMBER(a, 1)", {"a": "12,5"}, "the text is no number"),
        ('STRING_TO_DATE(a, "yyyy-MM-dd")', {"a": "2024-02-30"}, "not in the pattern 'yyyy-MM-dd'"),
        ('DATE_TO_STRING(a, "yyyy")', {"a": "2024-02-28"}, "takes dates; text is none"),
        ("ROUND(a, 1)", {"a": "x"}, "takes numbers; text is none"),
    ],
)
def test_what_cannot_be_calculated_fails_the_event(text: str, row: dict[str, Any], message: str) -> None:
    assert message in failure(text, **row)


def test_one_row_that_fails_leaves_the_others() -> None:
    found = evaluated("a / b", {"a": 4, "b": 2}, {"a": 1, "b": 0}, {"a": None, "b": 0}, {"a": 9, "b": 3})
    assert found.values.to_pylist() == [2.0, None, None, 3.0]
    assert found.failed is not None
    assert found.failed.to_pylist() == [False, True, False, False]


def test_a_column_of_mixed_json_is_calculated_value_by_value() -> None:
    rows = [{"j": {"a": 1}}, {"j": {"a": "x"}}, {"j": {"a": 1.5}}, {"j": [1]}]
    found = evaluated("j.a + 1", *rows)
    assert found.failed is None
    assert found.values.type == types.VARCHAR
    assert found.values.to_pylist() == ["2", "x1", "2.5", None]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('LOWER("ÄB c")', "äb c"),
        ('UPPER("straße")', "STRASSE"),
        ('TITLE("hELLO wORLD o\'neil")', "Hello World O'neil"),
        ('SNAKE_CASE("firstName")', "first_name"),
        ('SNAKE_CASE("HTTPServer Error-code")', "http_server_error_code"),
        ('REPLACE("a.b.c", ".", "-")', "a-b-c"),
        ('REPLACE("aXbx", "OTHERS", "OTHERS", "x", "$1")', "a$1b$1"),
        ('REPLACE("aXbx", "OTHERS", "MATCH_EXACT", "x", "_")', "aXb_"),
        ('REPLACE("ab12", "REGEX", "MATCH_EXACT", "([a-z]+)([0-9]+)", "$2-$1")', "12-ab"),
        ('REPLACE("ABab", "REGEX", "OTHERS", "ab", "x")', "xx"),
        ('SPLIT_ARRAY("a,b,,c", ",")', ["a", "b", "", "c"]),
        ('SPLIT_FIELDS("a,b", ",")', ["a", "b"]),
        ('STRING_TO_NUMBER(" 12.345 ", 1)', Decimal("12.3")),
        ('STRING_TO_NUMBER("12.35", 1)', Decimal("12.4")),
        ('STRING_TO_NUMBER("-12.5", 0)', -13),
        ('STRING_TO_NUMBER("1e3", 2)', Decimal("1000.00")),
        ('STRING_TO_NUMBER("12.345")', Decimal("12.345")),
        ('STRING_TO_NUMBER("9223372036854775808", 0)', Decimal("9223372036854775808")),
        ('NUMBER_TO_STRING(1234567.891, "#,##0.00")', "1,234,567.89"),
        ('NUMBER_TO_STRING(-0.5, "0.###")', "-0.5"),
        ('NUMBER_TO_STRING(5, "$000")', "$005"),
        ('NUMBER_TO_STRING(1.50, "plain")', "1.50"),
        ("ROUND(2.675, 2)", Decimal("2.68")),
        ("ROUND(-2.5, 0)", Decimal("-3")),
        ("ROUND(1250, -2)", 1300),
        ('HASH("a", "MD5")', hashlib.md5(b"a").hexdigest()),
        ('HASH(12, "SHA-512")', hashlib.sha512(b"12").hexdigest()),
        ('MASK("日本 x")', "****"),
        ('PARSE_JSON("{""a"": [1, 2.50]}")', {"a": [1, 2.5]}),
        ('PARSE_JSON("{oops")', "{oops"),
        ('STRING_TO_DATE("29/02/2024", "dd/MM/yyyy")', dt.date(2024, 2, 29)),
        ('DATE_TO_STRING(STRING_TO_DATE("2024-02-29", "yyyy-MM-dd"), "EEE, d MMM yy")', "Thu, 29 Feb 24"),
        ('UPPER(LOWER("Ab") + REPLACE("x-y", "-", ""))', "ABXY"),
    ],
)
@pytest.mark.parametrize("in_a_column", [False, True])
def test_functions_give_what_they_say(text: str, expected: object, in_a_column: bool) -> None:
    row: dict[str, Any] = {}
    if in_a_column and text.count("(") == 1 and "(" in text:
        head, rest = text.split("(", 1)
        first, *others = _parts(rest)
        row = {"x": value(first)}
        text = f"{head}({', '.join(['x', *others])})"
    assert value(text, **row) == expected


def _parts(arguments: str) -> list[str]:
    """The arguments of one call, none of which has a comma or a bracket outside quotation marks."""
    parts, quoted = [""], False
    for sign in arguments.rstrip(")"):
        quoted ^= sign == '"'
        if sign == "," and not quoted:
            parts.append("")
        else:
            parts[-1] += sign
    return [part.strip() for part in parts]


def test_a_double_is_rounded_as_it_is_shown() -> None:
    found = evaluated("ROUND(f, 2)", *[{"f": f} for f in (2.675, 1.005, -1.005, 0.125, 1e300, 3.0, 123456789.125)])
    assert found.values.to_pylist() == [2.68, 1.01, -1.01, 0.13, 1e300, 3.0, 123456789.13]


def test_untouched_values_keep_their_type_and_text() -> None:
    text = '{"b":1.10,  "a":12345678901234567890123}'
    batch = pa.record_batch({"j": pa.ExtensionArray.from_storage(types.JSON, pa.array([text]))})
    found = parse("j").evaluate(batch)
    assert found.values.type == types.JSON
    assert found.values.storage.to_pylist() == [text]


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("", "character 1: a value was expected, not 'the end'", None),
        ("1 +", "character 4: a value was expected", None),
        ("a b", "character 3: an operator was expected, not 'b'", None),
        ("(a", "character 3: ')' was expected", None),
        ("a = 1", "character 3: '=' cannot stand here", "=="),
        ("'x'", "character 1", "double quotation marks"),
        ('"x', "character 1", "has no end"),
        ("a..b", "character 3: the name of a field was expected after the dot", None),
        ("a § b", "character 3: '§' cannot stand here", "backquotes"),
        ("REPLCE(a)", "there is no function REPLCE", "REPLACE"),
        ("FOO(a)", "there is no function FOO", "LOWER, UPPER"),
        ("$sefl", "there is no keyword '$sefl'", "$self and $null"),
        ("LOWER()", "LOWER takes 1 value, not 0", "LOWER(text)"),
        ('REPLACE(a, "x", "y", "z")', "REPLACE takes 3 or 5 values, not 4", None),
        ('REPLACE(a, "REGX", "OTHERS", "x", "y")', 'is one of "REGEX", "OTHERS"', None),
        ('REPLACE(a, "REGEX", "OTHERS", "(", "y")', "is no regular expression", None),
        ('REPLACE(a, "REGEX", "OTHERS", "x", "$1")', "is no regular expression", None),
        ('REPLACE(a, "", "y")', "nothing to find", None),
        ('SPLIT_ARRAY(a, "")', "the delimiter is empty", None),
        ("SPLIT_ARRAY(a, b)", "takes a constant text as its delimiter", None),
        ("STRING_TO_NUMBER(a, 1.5)", "whole number from 0 to 38", None),
        ('ROUND(a, "2")', "takes a constant number as its digits", None),
        ('HASH(a, "MD4")', 'is one of "MD5", "SHA-1", "SHA-256", "SHA-512"', None),
        ('NUMBER_TO_STRING(a, "abc")', "is no pattern of a number", None),
        ('STRING_TO_DATE(a, "yyyy-bb")', "letter 'b'", None),
        ('"a" * 2', "character 5: * takes numbers, and this is text", None),
        ("LOWER(a) - 1", "- takes numbers, and this is text", None),
        ("!5", "! takes true or false, and this is number", None),
        ('LOWER(SPLIT_FIELDS(a, ","))', "must be the whole formula", "SPLIT_ARRAY"),
        ("(" * 60 + "1" + ")" * 60, "nests deeper than 50", None),
        ("+".join("a" * 400), "more than 150 operators", None),
        ("a" * (MAX_CHARACTERS + 1), "at most 10,000 characters", None),
    ],
)
def test_a_mistake_is_told_with_its_place(text: str, message: str, hint: str | None) -> None:
    with pytest.raises(ConfigError) as raised:
        parse(text)
    assert raised.value.code == "formula"
    assert message in raised.value.message
    assert hint is None or hint in (raised.value.hint or "")


def test_a_formula_is_told_as_python() -> None:
    one = parse('1.2 * $self + location.state + LOWER("x")')
    assert one.python("p", "price") == (
        'add(add(multiply(Decimal("1.2"), p.get("price")), field(p, "location.state")), lower("x"))'
    )
    assert one.python() == one.python().replace('"price"', "name")
    assert one.helpers == {"add", "multiply", "field", "lower"}
    assert one.uses_self
    assert parse('SPLIT_FIELDS(a, ",")').splits


def test_an_empty_batch_has_an_empty_result() -> None:
    batch = pa.record_batch({"a": pa.array([], pa.int64()), "s": pa.array([], pa.string())})
    for text in ("a * 2 + 1.5", "UPPER(s)", "a / 2", "STRING_TO_NUMBER(s, 1)", '"x"', "s == 1", 'HASH(s, "MD5")', "j"):
        assert len(parse(text).evaluate(batch).values) == 0


def test_a_formula_told_as_python_runs_as_a_script() -> None:
    text = (
        'DATE_TO_STRING(STRING_TO_DATE(day, "dd/MM/yyyy HH:mm"), "yyyy-MM-dd HH") + HASH(a.b, "MD5") + TITLE(name)'
        ' + ROUND(price * 1.25, 1) + NUMBER_TO_STRING(price, "#,##0.00") + SNAKE_CASE(name) + (price == "7.0")'
    )
    one = parse(text)
    source = scripted.functions(one.helpers)
    expression = one.python()
    script = compiled(
        f"from io.hevo.api import Event, TimeUtils\n{scripted.imports(source, expression)}\n{source}\n\n"
        f"def transform(event):\n    p = event.getProperties()\n    p['new'] = {expression}\n    return event\n"
    )
    row = {"day": "9/2/2024 10:30", "a": {"b": 12}, "name": "HTTP server", "price": 7}
    event = Event.received("orders", row, primary_keys=[], source_modified_at=None, number=0)
    assert script(event).events[0].getProperties()["new"] == value(text, **row)
