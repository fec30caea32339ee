"""Every block row by row over dicts: slow, plain, and what the columnar code must equal."""

from __future__ import annotations

import datetime as dt
import hashlib
import hmac
import json
import re
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any

import pyarrow as pa
from tests.engine.blocks import naive_formula
from tests.engine.blocks.naive_formula import Row

from millrace.engine.blocks import dates, scalar
from millrace.engine.blocks.block import Block, FieldBlock
from millrace.engine.blocks.model import Blocks
from millrace.engine.blocks.settings import parsed

Event = tuple[str, Row]


class Dropped(Exception):
    """The event is left out on purpose."""


def chain(blocks: Blocks, stream: str, row: Row) -> Event | None:
    """The event after the chain; None if it is dropped. Raises ValueError where it fails."""
    try:
        return _through(blocks.blocks, (stream, dict(row)))
    except Dropped:
        return None


def _through(blocks: Sequence[Block], event: Event) -> Event:
    for block in blocks:
        stream, row = event
        if naive_formula.event(block.event_filters, stream, row):
            event = _CHANGES[block.kind](block, stream, row)
    return event


def _fields(block: FieldBlock, row: Row, *, absent: Sequence[str] = ()) -> list[str]:
    return [name for name in dict.fromkeys([*row, *absent]) if naive_formula.field(block.field_filters, name, row)]


def _without_nulls(row: Row) -> Row:
    return {name: value for name, value in row.items() if value is not None}


def _add_field(block: Any, stream: str, row: Row) -> Event:
    name, one = block.settings.name, parsed(block.settings.value)
    value = naive_formula.formula(one, row)
    return stream, _without_nulls({**row, **(_parts(name, value) if one.splits else {name: value})})


def _parts(name: str, parts: list[str] | None) -> Row:
    if parts is not None and len(parts) > 1000:
        raise ValueError("too many")
    return {f"{name}_{number}": part for number, part in enumerate(parts or [], 1)}


def _change_field_values(block: Any, stream: str, row: Row) -> Event:
    one = parsed(block.settings.value)
    fills = any(f.on == "FIELD_VALUE" and f.op == "IS_NULL" for f in block.field_filters)
    named = [f for f in block.field_filters if f.on == "FIELD_NAME" and f.op in ("EQUALS", "IN")]
    absent = [str(name) for f in named for name in f.values()] if fills else []
    changed: Row = {}
    for name in _fields(block, row, absent=absent):
        value = naive_formula.formula(one, row, name)
        changed.update(_parts(name, value) if one.splits else {name: value})
    return stream, _without_nulls({**row, **changed})


def _drop_events(block: Any, stream: str, row: Row) -> Event:
    raise Dropped


def _drop_fields(block: Any, stream: str, row: Row) -> Event:
    gone = _fields(block, row)
    return stream, {name: value for name, value in row.items() if name not in gone}


def _rename_events(block: Any, stream: str, row: Row) -> Event:
    return block.settings.name, row


def _rename_fields(block: Any, stream: str, row: Row) -> Event:
    chosen, found = _fields(block, row), {}
    for name, value in row.items():
        new = name
        if name in chosen:
            new = block.settings.name
            if block.settings.formula is not None:
                new = naive_formula.formula(parsed(block.settings.formula), {"n": name}, "n")
                new = new if isinstance(new, str) and new else name
        if new in found:
            raise ValueError("twice")
        found[new] = value
    return stream, found


def _flatten(block: Any, stream: str, row: Row) -> Event:
    one, found = block.settings, dict(row)
    opened: list[tuple[str, Any]] = []
    for name in _fields(block, row):
        if isinstance(row[name], dict) and row[name]:
            opened += _ends(name, row[name], one.separator, one.depth)
            if not one.keep_original:
                del found[name]
    for leaf, end in opened:
        if end is not None:
            if leaf in found:
                raise ValueError("twice")
            found[leaf] = end
    return stream, found


def _ends(name: str, value: Any, separator: str, depth: int | None) -> list[tuple[str, Any]]:
    if not isinstance(value, dict) or not value or depth == 0:
        return [(name, value)]
    below = None if depth is None else depth - 1
    return [end for key, inner in value.items() for end in _ends(f"{name}{separator}{key}", inner, separator, below)]


def _split_fields(block: Any, stream: str, row: Row) -> Event:
    one, found, parts = block.settings, dict(row), {}
    for name in _fields(block, row):
        if isinstance(row[name], str):
            pieces = row[name].split(one.delimiter)
            if one.into == "ARRAY":
                parts[name] = pieces
                continue
            parts.update(_parts(name, pieces))
            if not one.keep_original:
                del found[name]
    return stream, {**found, **parts}


def _values(change: Callable[[Any, Any], Any], takes: Callable[[Any], bool], *, lenient: bool = True) -> Any:
    """A block that makes another value of each value that it takes."""

    def changed(block: Any, stream: str, row: Row) -> Event:
        found = dict(row)
        for name in _fields(block, row):
            if takes(row[name]):
                try:
                    found[name] = change(block.settings if hasattr(block, "settings") else None, row[name])
                except ValueError:
                    if not lenient:
                        raise
        return stream, _without_nulls(found)

    return changed


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_date(value: Any) -> bool:
    return isinstance(value, dt.date)


def _anything(value: Any) -> bool:
    return True


def _find_replace(one: Any, value: str) -> str:
    flags = 0 if one.match_case == "EXACT" else re.IGNORECASE
    if one.regex:
        return re.sub(
            one.find, lambda m: re.sub(r"\$([0-9])", lambda g: m[int(g[1])] or "", one.replace), value, flags=flags
        )
    return re.sub(re.escape(one.find), lambda _: one.replace, value, flags=flags)


def _casing(one: Any, value: str) -> Any:
    return {"LOWER": str.lower, "UPPER": str.upper, "TITLE": scalar.title, "SNAKE_CASE": scalar.snake_case}[one.casing](
        value
    )


def _format_date(one: Any, value: Any) -> Any:
    return dates.writer(one.format)(pa.array([value])).values[0].as_py()


def _parse_date(one: Any, value: str) -> Any:
    read = dates.reader(one.format)(pa.array([value]))
    if read.bad is not None:
        raise ValueError("no date")
    found = read.values[0].as_py()
    if one.to == "DATE":
        return found.date() if isinstance(found, dt.datetime) else found
    if one.to == "DATETIME" and not isinstance(found, dt.datetime):
        return dt.datetime(found.year, found.month, found.day, tzinfo=dt.UTC)
    return found


def _format_number(one: Any, value: Any) -> str:
    if one.decimals is None and not one.thousands_separator:
        written = scalar.number_text(value, "plain")
    else:
        after = "#" * 38 if one.decimals is None else "0" * one.decimals
        whole = "#,##0" if one.thousands_separator else "0"
        written = scalar.number_text(value, f"{whole}{'.' if after else ''}{after}")
    return written.translate(str.maketrans({",": one.thousands_separator or ",", ".": one.decimal_separator}))


def _parse_number(one: Any, value: str) -> Any:
    group, point = one.group_separator, one.decimal_separator
    written = value.strip(" \t\r\n")
    if group or point != ".":
        groups = rf"[0-9]{{1,3}}({re.escape(group)}[0-9]{{2,3}})*{re.escape(group)}[0-9]{{3}}|" if group else ""
        if not re.fullmatch(rf"[+-]?({groups}[0-9]*)({re.escape(point)}[0-9]*)?([eE][+-]?[0-9]{{1,4}})?", written):
            raise ValueError("no number")
        written = (written.replace(group, "") if group else written).replace(point, ".")
    return scalar.number(written, *([] if one.decimals is None else [one.decimals]))


def _parse_json(_: Any, value: str) -> Any:
    if value.lstrip(" \t\r\n")[:1] not in ("{", "["):
        return value
    return scalar.parsed_json(value)


def _hash(one: Any, value: Any) -> str:
    written, name = scalar.text(value).encode(), scalar.ALGORITHMS[one.algorithm]
    if one.salt is not None:
        return hmac.new(one.salt.encode(), written, name).hexdigest()
    return hashlib.new(name, written).hexdigest()


def _mask(one: Any, value: Any) -> str:
    written = scalar.text(value)
    end = len(written) - one.keep_last
    if end <= one.keep_first:
        return one.character * len(written)
    return written[: one.keep_first] + one.character * (end - one.keep_first) + written[end:]


def _shift(one: Any, value: Any) -> Any:
    unit, amount = one.unit, one.amount
    months = {"YEAR": 12, "MONTH": 1}.get(unit)
    try:
        if months is not None:
            count = value.year * 12 + value.month - 1 + months * amount
            for day in range(value.day, 27, -1):
                try:
                    return value.replace(year=count // 12, month=count % 12 + 1, day=day)
                except ValueError:
                    continue
            return value.replace(year=count // 12, month=count % 12 + 1)
        days = {"WEEK_OF_YEAR": 7, "WEEK_OF_MONTH": 7, "DAY_OF_WEEK_IN_MONTH": 7}.get(unit, 1)
        seconds = {"AM_PM": 43_200, "HOUR": 3600, "HOUR_OF_DAY": 3600, "MINUTE": 60, "SECOND": 1}
        if unit == "MILLISECOND":
            by = dt.timedelta(milliseconds=amount)
        elif unit in seconds:
            by = dt.timedelta(seconds=seconds[unit] * amount)
        else:
            by = dt.timedelta(days=days * amount)
        if isinstance(value, dt.datetime):
            return value + by
        return (dt.datetime(value.year, value.month, value.day) + by).date()
    except OverflowError:
        raise ValueError("outside the years") from None


def _if_else(block: Any, stream: str, row: Row) -> Event:
    return _through(block.true if naive_formula.holds(block.condition, stream, row) else block.false, (stream, row))


_CHANGES: dict[str, Callable[[Any, str, Row], Event]] = {
    "ADD_FIELD": _add_field,
    "CHANGE_DATETIME_FIELD_VALUES": _values(_shift, _is_date, lenient=False),
    "CHANGE_FIELD_VALUES": _change_field_values,
    "DROP_EVENTS": _drop_events,
    "DROP_FIELDS": _drop_fields,
    "FIND_REPLACE": _values(_find_replace, _is_text),
    "FLATTEN_JSON": _flatten,
    "FORMAT_DATE_TO_STRING": _values(_format_date, _is_date),
    "FORMAT_NUMBER_TO_STRING": _values(_format_number, scalar.is_number),
    "HASH_FIELDS": _values(_hash, _anything),
    "IF_ELSE": _if_else,
    "MASK_FIELDS": _values(_mask, _anything),
    "MODIFY_TEXT_CASING": _values(_casing, _is_text),
    "PARSE_DATE_FROM_STRING": _values(_parse_date, _is_text),
    "PARSE_JSON_FROM_STRING": _values(_parse_json, _is_text),
    "PARSE_NUMBER_FROM_STRING": _values(_parse_number, _is_text),
    "RENAME_EVENTS": _rename_events,
    "RENAME_FIELDS": _rename_fields,
    "ROUND_OFF_DECIMAL_FIELDS": _values(
        lambda one, value: scalar.rounded(value, one.decimals), lambda value: isinstance(value, (float, Decimal))
    ),
    "SPLIT_FIELDS": _split_fields,
}


def row_of(text: str) -> Row:
    """A row of JSON text, its fractions exact."""
    return json.loads(text, parse_float=Decimal)
