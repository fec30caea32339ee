"""Random rows, filters and blocks for the tests of chains, each from a generator of random numbers."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from decimal import Decimal
from random import Random
from typing import Any

import pyarrow as pa

from millrace.data import types
from millrace.data.exact import of_type

JSON = dict[str, Any]

WORDS = [
    "", "a", "Ab cD", "straße", "12", "-3.50", "1,234.5", "1.234,50", "12,34", "2024-02-29", "29/02/2024",
    "2023-01-01 10:30", "true", "x@y.org", "日本 語", "a-b-c", "-", '{"k":1}', "[1,2]", "{no json", "HTTPServer_Name",
    "1e3", " 7 ", "*",
]  # fmt: skip
_MOMENTS = [
    dt.datetime(2024, 2, 29, 12, tzinfo=dt.UTC),
    dt.datetime(2022, 12, 30, 23, 59, 59, 999999, tzinfo=dt.UTC),
    dt.datetime(1969, 12, 31, 1, tzinfo=dt.UTC),
    dt.datetime(9999, 12, 31, tzinfo=dt.UTC),
]
_OBJECTS = [
    '{"a":1,"b":{"c":"x","d":null}}', '{"a":"y"}', "[1,2]", "{}", '{"a":1.5,"e":[]}', '{"b":{"c":true}}',
    '{"b_c":1,"b":{"c":2}}',
]  # fmt: skip
_STRUCT = pa.struct([("x", types.LONG), ("y", types.decimal(5, 2))])
COLUMNS: dict[str, tuple[pa.DataType, list[Any]]] = {
    "id": (types.INTEGER, [1, 2, 3]),
    "big": (types.LONG, [0, -5, 40, 41, 2**53 + 1, 2**63 - 1]),
    "price": (types.decimal(12, 3), [Decimal(one) for one in ("0.000", "1.250", "-2.500", "100.000", "0.005")]),
    "rate": (types.DOUBLE, [0.0, 0.1, 2.5, -7.25, 1e11, 1e16, 1 / 3]),
    "name": (types.VARCHAR, WORDS),
    "code": (types.varchar(30), WORDS),
    "active": (types.BOOLEAN, [True, False]),
    "day": (types.DATE, [dt.date(2024, 2, 29), dt.date(2023, 1, 31), dt.date(1, 1, 1), dt.date(9999, 12, 31)]),
    "at": (types.TIMESTAMPTZ, _MOMENTS),
    "o": (types.JSON, _OBJECTS),
    "s": (_STRUCT, [{"x": 1, "y": Decimal("2.50")}, {"x": 7, "y": None}]),
}


def batch(random: Random, *, most: int = 8) -> pa.RecordBatch:
    """Rows with all of `COLUMNS`, in their order; a quarter of the cells is null."""
    size = random.randint(1, most)
    arrays: list[pa.Array] = []
    for type_, pool in COLUMNS.values():
        cells = [random.choice(pool) if random.random() < 0.75 else None for _ in range(size)]
        stored = type_.storage_type if isinstance(type_, pa.BaseExtensionType) else type_
        arrays.append(of_type(pa.array(cells, stored), type_))
    return pa.record_batch(arrays, names=list(COLUMNS))


_NAMES = [*COLUMNS, "new", "o_a", "absent"]
_VALUES: list[Any] = [0, 1, 2.5, 40, 100, "a", "12", "Ab cD", "2024-02-29", True, "x"]
_OPS = ["EQUALS", "NOT_EQUALS", "GREATER_THAN", "GREATER_THAN_EQUAL_TO", "LESSER_THAN", "LESSER_THAN_EQUAL_TO"]
_TEXT_OPS = ["CONTAINS", "NOT_CONTAINS", "STARTS_WITH", "ENDS_WITH"]


def _comparison(random: Random) -> JSON:
    match random.randrange(5):
        case 0:
            return {"op": random.choice(["IS_NULL", "IS_NOT_NULL", "IS_TRUE", "IS_EMPTY"])}
        case 1:
            return {"op": random.choice(["IN", "NOT_IN"]), "value": random.sample(_VALUES, random.randint(1, 3))}
        case 2:
            return {"op": random.choice(_TEXT_OPS), "value": random.choice(["a", "1", "-"])}
        case 3 if random.random() < 0.5:
            return {"op": random.choice(["IN_RANGE", "NOT_IN_RANGE"]), "from": 0, "to": 41, "inclusive": False}
        case _:
            return {"op": random.choice(_OPS), "value": random.choice(_VALUES)}


def event_filter(random: Random) -> JSON:
    match random.randrange(4):
        case 0:
            op = random.choice(["EQUALS", "NOT_EQUALS", "STARTS_WITH"])
            return {"on": "EVENT_TYPE", "op": op, "value": random.choice(["orders", "or", "renamed"])}
        case 1:
            return {"on": "EVENT_FIELD", "field": random.choice(_NAMES)}
        case _:
            name = random.choice([*_NAMES, "o.a", "o.b.c", "s.x"])
            return {"on": "EVENT_FIELD", "field": name, **_comparison(random)}


def _field_filters(random: Random) -> list[JSON]:
    name = random.choice(_NAMES)
    match random.randrange(6):
        case 0:
            return []
        case 1:
            return [{"on": "FIELD_NAME", "op": "IN", "value": random.sample(_NAMES, random.randint(1, 3))}]
        case 2:
            return [{"on": "FIELD_NAME", "op": "EQUALS", "value": name}, {"on": "FIELD_VALUE", "op": "IS_NULL"}]
        case 3:
            return [{"on": "FIELD_NAME", "op": "EQUALS", "value": name}]
        case _:
            found: list[JSON] = [{"on": "FIELD_NAME", "op": "CONTAINS", "value": "a"}] if random.random() < 0.3 else []
            value = _comparison(random)
            # A null field that nobody named is set where the batch has a column for it: not told row by row.
            return found if value["op"] == "IS_NULL" else [*found, {"on": "FIELD_VALUE", **value}]


# Some events fail of them.
_FORMULAS: list[Any] = [
    "1.2 * $self", "$null", None, '"x"', 7, True, "$self", 'UPPER($self)', "price * 2", "big + 1", "rate / price",
    '"n-" + name', "o.a", "1 / big", "STRING_TO_NUMBER(code, 1)", "day", "name == code", 'SPLIT_FIELDS(name, "-")',
    'SPLIT_FIELDS($self, "-")',
]  # fmt: skip
_ADDED = [one for one in _FORMULAS if "$self" not in str(one)]
_UNITS = [
    "YEAR", "MONTH", "WEEK_OF_YEAR", "WEEK_OF_MONTH", "DAY_OF_MONTH", "DAY_OF_YEAR", "DAY_OF_WEEK",
    "DAY_OF_WEEK_IN_MONTH", "AM_PM", "HOUR", "HOUR_OF_DAY", "MINUTE", "SECOND", "MILLISECOND",
]  # fmt: skip

# The choices for each setting; a choice of ``...`` leaves it out.
_SETTINGS: dict[str, list[dict[str, list[Any]]]] = {
    "ADD_FIELD": [{"name": ["new", "price", "name", "o"], "value": _ADDED}],
    "CHANGE_DATETIME_FIELD_VALUES": [{"unit": _UNITS, "amount": [1, -1, 12, 49, -25, 0, 100_000]}],
    "CHANGE_FIELD_VALUES": [{"value": _FORMULAS}],
    "DROP_EVENTS": [],
    "DROP_FIELDS": [],
    "FIND_REPLACE": [
        {"find": ["a", "1", "-", "B"], "replace": ["", "zz", "$1", "\\"], "match_case": ["EXACT", "IGNORE", ...]},
        {"find": ["([a-c])", "([0-9]+)-?"], "replace": ["<$1>", "\\"], "regex": [True], "match_case": ["IGNORE", ...]},
    ],
    "FLATTEN_JSON": [{"separator": ["_", ".", ...], "depth": [..., 1, 2], "keep_original": [..., True]}],
    "FORMAT_DATE_TO_STRING": [{"format": ["dd/MM/yyyy", "yyyy-MM-dd HH:mm:ss.SSS", "EEE D"]}],
    "FORMAT_NUMBER_TO_STRING": [
        {"decimals": [..., 0, 2], "thousands_separator": [..., ",", ".", " "], "decimal_separator": [..., ","]}
    ],
    "HASH_FIELDS": [{"algorithm": ["MD5", "SHA-1", "SHA-256", "SHA-512", ...], "salt": [..., "pepper"]}],
    "MASK_FIELDS": [{"character": [..., "#", "\\"], "keep_first": [..., 1, 3], "keep_last": [..., 2]}],
    "MODIFY_TEXT_CASING": [{"casing": ["LOWER", "UPPER", "TITLE", "SNAKE_CASE"]}],
    "PARSE_DATE_FROM_STRING": [
        {"format": ["yyyy-MM-dd", "dd/MM/yyyy", "yyyy-MM-dd HH:mm"], "to": [..., "DATE", "DATETIME"]}
    ],
    "PARSE_JSON_FROM_STRING": [],
    "PARSE_NUMBER_FROM_STRING": [
        {"decimals": [0, 1, 3], "group_separator": [..., ","]},
        {"decimals": [0, 1, 3], "group_separator": ["."], "decimal_separator": [","]},
    ],
    "RENAME_EVENTS": [{"name": ["renamed", "orders"]}],
    "RENAME_FIELDS": [
        {"name": ["new", "name", "absent", "o"]},
        {"formula": ['"crm_" + $self', "UPPER($self)", 'REPLACE($self, "name", "code")']},
    ],
    "ROUND_OFF_DECIMAL_FIELDS": [{"decimals": [0, 1, 2]}],
    "SPLIT_FIELDS": [{"delimiter": ["-", " ", "@"], "into": [..., "FIELDS", "ARRAY"], "keep_original": [..., False]}],
}
KINDS = sorted(_SETTINGS)
_OF_EVENTS = ("ADD_FIELD", "DROP_EVENTS", "RENAME_EVENTS")


def block(random: Random, kind: str) -> JSON:
    """A block of the kind with random filters and settings."""
    made: JSON = {"type": kind}
    if random.random() < 0.5:
        made["event_filters"] = [event_filter(random) for _ in range(random.choice((1, 1, 2)))]
    if kind not in _OF_EVENTS:
        made["field_filters"] = _field_filters(random)
    if _SETTINGS[kind]:
        choices = random.choice(_SETTINGS[kind])
        given = {key: random.choice(some) for key, some in choices.items()}
        made["settings"] = {key: value for key, value in given.items() if value is not ...}
        if made["settings"].get("thousands_separator") == made["settings"].get("decimal_separator", "."):
            del made["settings"]["thousands_separator"]
    return made


def condition(random: Random, depth: int = 2) -> Any:
    """Filters in groups of all and any."""
    part: Callable[[], Any] = lambda: condition(random, depth - 1) if random.random() < 0.3 else event_filter(random)  # noqa: E731  one line, used at once
    parts = [part() if depth else event_filter(random) for _ in range(random.randint(1, 2))]
    parts = [one if isinstance(one, dict) else {"all": one} for one in parts]
    return random.choice((parts, {"all": parts}, {"any": parts}))


def chain(random: Random, depth: int = 2) -> list[JSON]:
    """Blocks, the last of them perhaps an If-Else."""
    made = [block(random, random.choice(KINDS)) for _ in range(random.randint(1, 3))]
    # Values of several types meet in one that holds them all, which a later block sees: not told row by row.
    made = [one for one in made if one.get("settings", {}).get("value") != "o.a"]
    if depth and random.random() < 0.5:
        branches = {branch: chain(random, depth - 1) for branch in ("true", "false") if random.random() < 0.8}
        made.append({"type": "IF_ELSE", "condition": condition(random), **branches})
    return made
