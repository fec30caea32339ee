"""Blocks as others may write them, brought to the form that ours have.

The reference names the settings of most blocks in words alone (transformations.md 3.6 and 5), so chains that were
made elsewhere call them by other names, and write words of a list in other letters. A name that turns up goes into the
table.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, cast

from pydantic import BaseModel

_VALUE = {"formula": "value", "value_or_formula": "value"}
_DECIMALS = {"number_of_decimals": "decimals", "digits": "decimals"}
_NAME = {"new_name": "name"}

# Of each block: another name of a setting, and ours.
NAMES: dict[str, dict[str, str]] = {
    "ADD_FIELD": {"field_name": "name", "field": "name", **_VALUE},
    "CHANGE_DATETIME_FIELD_VALUES": {"datetime_unit": "unit"},
    "CHANGE_FIELD_VALUES": _VALUE,
    "FIND_REPLACE": {"case": "match_case"},
    "FORMAT_NUMBER_TO_STRING": _DECIMALS,
    "MASK_FIELDS": {"mask_character": "character"},
    "MODIFY_TEXT_CASING": {"case": "casing"},
    "PARSE_DATE_FROM_STRING": {"target": "to"},
    "PARSE_NUMBER_FROM_STRING": _DECIMALS,
    "RENAME_EVENTS": _NAME,
    "RENAME_FIELDS": _NAME,
    "ROUND_OFF_DECIMAL_FIELDS": _DECIMALS,
    "SPLIT_FIELDS": {"result": "into"},
}

# Of a setting, values that are said otherwise than by the same word in other letters.
VALUES: dict[tuple[str, str], dict[object, str]] = {
    ("FIND_REPLACE", "match_case"): {True: "EXACT", False: "IGNORE"},
    ("SPLIT_FIELDS", "into"): {"NEWFIELDS": "FIELDS"},
}

# Parts that every block of the form has, and that say nothing where they are empty.
_PARTS = ("event_filters", "field_filters", "settings")


def usual(block: Mapping[str, Any], types: Mapping[str, type[BaseModel]]) -> dict[str, Any]:
    """The block with the names and words that its type knows, and without empty parts that its type does not have."""
    type_ = str(block.get("type"))
    model = types.get(type_)
    if model is None:
        return dict(block)
    known = model.model_fields
    found = {key: value for key, value in block.items() if key in known or value or key not in _PARTS}
    settings = found.get("settings")
    if isinstance(settings, dict) and "settings" in known:
        words = dict(_words(known["settings"].annotation))
        found["settings"] = dict(_settings(type_, cast("dict[str, Any]", settings), words))
    return found


def _settings(type_: str, given: Mapping[str, Any], words: Mapping[str, list[str]]) -> Iterator[tuple[str, Any]]:
    names = NAMES.get(type_, {})
    said = set(given)
    for name, value in given.items():
        # A setting that is there under another name too is told as one that is not known.
        ours = names[name] if name in names and names[name] not in said else name
        said.add(ours)
        yield ours, _word(type_, ours, value, words[ours]) if ours in words else value


def _word(type_: str, name: str, value: Any, choices: list[str]) -> Any:
    if not isinstance(value, (str, bool)):
        return value
    said = VALUES.get((type_, name), {})
    plain = {_squeezed(choice): choice for choice in choices}
    key = _squeezed(value) if isinstance(value, str) else value
    return said.get(key) or (plain.get(key, value) if isinstance(key, str) else value)


def _squeezed(word: str) -> str:
    """Letters and digits alone: `Day of month` is DAY_OF_MONTH, and `sha256` is SHA-256."""
    return "".join(filter(str.isalnum, word)).upper()


def _words(model: Any) -> Iterator[tuple[str, list[str]]]:
    """The settings of a model whose value is one of a list of words, with the list."""
    for name, field in cast("type[BaseModel]", model).model_fields.items():
        if choices := [one for one in _arguments(field.annotation) if isinstance(one, str)]:
            yield name, choices


def _arguments(annotation: Any) -> Iterator[Any]:
    for one in getattr(annotation, "__args__", ()):
        yield one
        yield from _arguments(one)
