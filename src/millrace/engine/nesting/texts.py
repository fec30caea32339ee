"""Nested values as compact JSON text: keys as they came, Unicode unescaped, no NaN (loading.md 12.2)."""

from __future__ import annotations

import re

import orjson
import pyarrow as pa

from millrace.data import types
from millrace.data.cast import cast
from millrace.data.compute import pc
from millrace.data.exact import missing
from millrace.data.json_text import dumps
from millrace.data.rows import to_rows
from millrace.data.writing import list_items, list_offsets

# White space between the parts of a document always touches one of these marks, or an end.
_SPACED = r"^\s|\s$|[{}\[\],:]\s|\s[{}\[\],:]"
_STRING_OR_SPACE = r'("(?:[^"\\]|\\.)*")|\s+'
_STRING = re.compile(r'"(?:[^"\\]|\\.)*"')
_NOT_A_NUMBER = re.compile(r'("(?:[^"\\]|\\.)*")|-?\b(?:NaN|Infinity)\b')


def compact(texts: pa.StringArray) -> pa.StringArray:
    """JSON documents without white space between their parts and without needless escapes; null for JSON's null.

    Nothing else changes: keys keep their order and numbers their digits.
    """
    spaced = pc.match_substring_regex(texts, _SPACED)
    if pc.any(spaced).as_py():
        cleaned = pc.replace_substring_regex(texts.filter(spaced), _STRING_OR_SPACE, r"\1")
        texts = pc.replace_with_mask(texts, spaced.fill_null(False), cleaned.filter(cleaned.is_valid()))
    for odd, mend in ((pc.match_substring(texts, "\\"), _unescaped), (_unnumbered(texts), _finite)):
        if pc.any(odd).as_py():
            mended = pa.array(map(mend, texts.filter(odd).to_pylist()), pa.string())
            texts = pc.replace_with_mask(texts, odd.fill_null(False), mended.filter(mended.is_valid()))
    nulls = pc.equal(texts, "null")
    return pc.if_else(nulls, pa.scalar(None, pa.string()), texts) if pc.any(nulls).as_py() else texts


def as_text(values: pa.Array) -> pa.StringArray:
    """Values of a type STRUCT or ARRAY as compact JSON text."""
    values = _without_infinities(values)
    written = cast(values, types.VARCHAR, strict=False)
    if written.bad is None:
        return written.values
    # A date outside the calendar, or the like: shown as it is, rather than lost.
    shown = to_rows(pa.RecordBatch.from_arrays([values.filter(written.bad)], ["value"]))
    return pc.replace_with_mask(written.values, written.bad, pa.array([dumps(row["value"]) for row in shown]))


def _unescaped(text: str | None) -> str | None:
    return None if text is None else _STRING.sub(_shortest, text)


def _shortest(found: re.Match[str]) -> str:
    try:
        return orjson.dumps(orjson.loads(found[0])).decode() if "\\" in found[0] else found[0]
    except ValueError:  # half a surrogate pair, which only an escape can say
        return found[0]


def _unnumbered(texts: pa.StringArray) -> pa.BooleanArray:
    return pc.or_(pc.match_substring(texts, "NaN"), pc.match_substring(texts, "Infinity"))


def _finite(text: str | None) -> str | None:
    return None if text is None else _NOT_A_NUMBER.sub(lambda found: found[1] or "null", text)


def _without_infinities(values: pa.Array) -> pa.Array:
    """The same with nulls for what JSON has no number for."""
    if types.is_float(values.type):
        finite = pc.is_finite(values)
        return values if pc.all(finite).as_py() is not False else pc.if_else(finite, values, None)
    if pa.types.is_struct(values.type) and values.type.num_fields:
        parts = [_without_infinities(part) for part in values.flatten()]
        fields = [pa.field(values.type.field(n).name, part.type) for n, part in enumerate(parts)]
        return pa.StructArray.from_arrays(parts, fields=fields, mask=missing(values))
    if pa.types.is_list(values.type):
        items = _without_infinities(list_items(values))
        type_ = types.array(items.type)
        return pa.ListArray.from_arrays(list_offsets(values), items, type=type_, mask=missing(values))
    return values
