"""The document of a chain: what it may say, and what is told where it says something else."""

from __future__ import annotations

import json
from typing import Any

import pytest

from millrace.engine.blocks.aliases import NAMES
from millrace.engine.blocks.mistakes import BlocksError
from millrace.engine.blocks.model import MAX_BLOCKS, TYPES, parse, schema
from millrace.errors import ConfigError

JSON = dict[str, Any]
HASH = {"id": "b1", "type": "HASH_FIELDS",
        "event_filters": [{"on": "EVENT_TYPE", "op": "EQUALS", "value": "users"}],
        "field_filters": [{"on": "FIELD_NAME", "op": "IN", "value": ["email", "phone"]}],
        "settings": {"algorithm": "MD5"}}  # fmt: skip


def told(*blocks: Any) -> list[str]:
    with pytest.raises(BlocksError) as caught:
        parse([*blocks])
    return [one.message for one in caught.value.problems]


def test_the_form_of_the_reference_is_read() -> None:
    document = {"kind": "DRAG_DROP", "version": 1, "blocks": [HASH, {"id": "b2", "type": "IF_ELSE",
                "condition": [{"on": "EVENT_FIELD", "field": "price", "op": "GREATER_THAN", "value": 100}],
                "true": [{"type": "DROP_EVENTS"}], "false": []}]}  # fmt: skip
    chain = parse(json.dumps(document))
    assert [block.kind for block in chain.blocks] == ["HASH_FIELDS", "IF_ELSE"]
    assert parse(document) == chain
    assert parse(document["blocks"]) == chain
    assert parse(chain.model_dump(mode="json", by_alias=True, exclude_none=True)) == chain


def test_all_blocks_of_the_reference_are_there_and_two_more() -> None:
    assert len(TYPES) == 22
    assert {"TOKENISE_FIELDS", "DETOKENISE_FIELDS"} <= {*TYPES}


def test_blocks_without_an_id_get_the_number_that_is_free() -> None:
    drop = {"type": "DROP_EVENTS"}
    chain = parse(
        [drop, {**drop, "id": "b1"}, {"type": "IF_ELSE", "condition": [{"on": "ALL_EVENTS"}], "true": [drop]}]
    )
    ids = [block.id for block in chain.blocks]
    assert ids[1] == "b1"
    assert len({*ids}) == 3


@pytest.mark.parametrize(
    ("block", "message"),
    [
        ({"type": "HASH_FEILDS"}, "Block b1 (HASH_FEILDS, number 1): there is no block 'HASH_FEILDS'."),
        ({"id": "x"}, "Block x (number 1): the block has no 'type'."),
        ({**HASH, "settings": {"algorithm": "MD6"}},
         "Block b1 (HASH_FIELDS, number 1), settings.algorithm: 'MD6' is none of MD5, SHA-1, SHA-256, SHA-512."),
        ({**HASH, "settings": {"algoritm": "MD5"}},
         "Block b1 (HASH_FIELDS, number 1), settings.algoritm: unknown key 'algoritm'."),
        ({**HASH, "colour": 1}, "Block b1 (HASH_FIELDS, number 1), colour: unknown key 'colour'."),
        ({**HASH, "settings": {"salt": "a", "salt_name": "b"}},
         "Block b1 (HASH_FIELDS, number 1), settings: a hash has one salt: 'salt' or 'salt_name'."),
        ({"type": "ADD_FIELD", "settings": {"value": "1"}},
         "Block b1 (ADD_FIELD, number 1), settings.name: 'name' is missing."),
        ({"type": "ADD_FIELD"}, "Block b1 (ADD_FIELD, number 1), settings: 'settings' is missing."),
        ({"type": "ADD_FIELD", "settings": {"name": "__hevo_id", "value": 1}},
         "Block b1 (ADD_FIELD, number 1), settings.name: '__hevo_id' is a name of Millrace's own metadata."),
        ({"type": "ADD_FIELD", "settings": {"name": "a", "value": "$self"}},
         "Block b1 (ADD_FIELD, number 1), settings.value: $self means nothing here: the field is made, not changed."),
        ({"type": "RENAME_FIELDS", "settings": {}},
         "Block b1 (RENAME_FIELDS, number 1), settings: a new name is given either as 'name' or as 'formula'."),
        ({"type": "DROP_EVENTS", "event_filters": [{"on": "EVENT_FIELD"}]},
         "Block b1 (DROP_EVENTS, number 1), event_filters.1: EVENT_FIELD needs a 'field'."),
        ({"type": "DROP_EVENTS", "field_filters": [{"on": "ALL_FIELDS"}]},
         "Block b1 (DROP_EVENTS, number 1), field_filters: unknown key 'field_filters'."),
        ({"type": "DROP_EVENTS", "settings": {"name": "a"}},
         "Block b1 (DROP_EVENTS, number 1), settings: unknown key 'settings'."),
        ({"type": "ADD_FIELD", "settings": {"name": "a", "field_name": "b", "value": "1"}},
         "Block b1 (ADD_FIELD, number 1), settings.field_name: unknown key 'field_name'."),
        ({"type": "ADD_FIELD", "settings": {"field_name": "a", "field": "b", "value": "1"}},
         "Block b1 (ADD_FIELD, number 1), settings.field: unknown key 'field'."),
        ({"type": "IF_ELSE"}, "Block b1 (IF_ELSE, number 1), condition: 'condition' is missing."),
        ({"type": "MASK_FIELDS", "settings": []},
         "Block b1 (MASK_FIELDS, number 1), settings: the value cannot stand here: it must be an object."),
        ({"type": "ADD_FIELD", "settings": {"name": "a", "value": float("inf")}},
         "Block b1 (ADD_FIELD, number 1), settings.value: inf is no number."),
        ({"id": "x", "type": "ADD_FIELD", "settings": {"name": "a", "value": '"\ud800"'}},
         "Block x (ADD_FIELD), settings.value: this is no text: '\"\\ud800\"'."),
        ({"type": "MASK_FIELDS", "settings": {"keep_first": "many"}},
         "Block b1 (MASK_FIELDS, number 1), settings.keep_first: 'many' cannot stand here: Input should be a valid "
         "integer, unable to parse string as an integer."),
    ],
)  # fmt: skip
def test_a_mistake_names_block_and_setting(block: JSON, message: str) -> None:
    assert told(block) == [message]


def test_mistakes_hint_at_the_nearest_word() -> None:
    for block, near in (
        ({"type": "HASH_FEILDS"}, "HASH_FIELDS"),
        ({**HASH, "settings": {"algoritm": "MD5"}}, "algorithm"),
        ({**HASH, "settings": {"algorithm": "SHA-265"}}, "SHA-256"),
        ({**HASH, "event_filter": []}, "event_filters"),
        ({**HASH, "field_filters": [{"on": "FIELD_NAME", "op": "EQUAL", "value": "a"}]}, "EQUALS"),
    ):
        with pytest.raises(BlocksError) as caught:
            parse([block])
        assert caught.value.hint == f"Did you mean {near}?"


def test_a_part_that_is_empty_says_nothing_also_where_a_block_has_no_such_part() -> None:
    empty: JSON = {"event_filters": [], "field_filters": [], "settings": {}}
    for type_ in ("DROP_EVENTS", "DROP_FIELDS", "PARSE_JSON_FROM_STRING", "FLATTEN_JSON"):
        assert parse([{"type": type_, **empty}]) == parse([{"type": type_}])
    branch = {"type": "IF_ELSE", "condition": [{"on": "ALL_EVENTS"}], "true": [{"type": "DROP_EVENTS", **empty}]}
    assert [block.kind for block in parse([branch]).blocks] == ["IF_ELSE"]


@pytest.mark.parametrize(
    ("type_", "given", "ours"),
    [
        ("ADD_FIELD", {"field_name": "a", "formula": "b + 1"}, {"name": "a", "value": "b + 1"}),
        ("ADD_FIELD", {"field": "a", "value_or_formula": 5}, {"name": "a", "value": 5}),
        ("CHANGE_FIELD_VALUES", {"formula": "$null"}, {"value": "$null"}),
        ("CHANGE_DATETIME_FIELD_VALUES", {"datetime_unit": "Day of month", "amount": 1},
         {"unit": "DAY_OF_MONTH", "amount": 1}),
        ("CHANGE_DATETIME_FIELD_VALUES", {"unit": "AM/PM", "amount": 1}, {"unit": "AM_PM", "amount": 1}),
        ("FIND_REPLACE", {"find": "a", "replace": "b", "case": "ignore", "regex": "no"},
         {"find": "a", "replace": "b", "match_case": "IGNORE", "regex": False}),
        ("FIND_REPLACE", {"find": "a", "replace": "b", "match_case": True},
         {"find": "a", "replace": "b", "match_case": "EXACT"}),
        ("FIND_REPLACE", {"find": "a", "replace": "b", "match_case": False},
         {"find": "a", "replace": "b", "match_case": "IGNORE"}),
        ("FORMAT_NUMBER_TO_STRING", {"number_of_decimals": 2}, {"decimals": 2}),
        ("HASH_FIELDS", {"algorithm": "sha256"}, {"algorithm": "SHA-256"}),
        ("MASK_FIELDS", {"mask_character": "#"}, {"character": "#"}),
        ("MODIFY_TEXT_CASING", {"case": "snake case"}, {"casing": "SNAKE_CASE"}),
        ("PARSE_DATE_FROM_STRING", {"format": "yyyy", "target": "Datetime"}, {"format": "yyyy", "to": "DATETIME"}),
        ("RENAME_EVENTS", {"new_name": "people"}, {"name": "people"}),
        ("RENAME_FIELDS", {"new_name": "b"}, {"name": "b"}),
        ("ROUND_OFF_DECIMAL_FIELDS", {"digits": 2}, {"decimals": 2}),
        ("SPLIT_FIELDS", {"delimiter": ",", "result": "new fields"}, {"delimiter": ",", "into": "FIELDS"}),
    ],
)  # fmt: skip
def test_settings_are_known_by_the_words_of_the_reference_too(type_: str, given: JSON, ours: JSON) -> None:
    assert parse([{"type": type_, "settings": given}]) == parse([{"type": type_, "settings": ours}])


def test_every_other_name_leads_to_a_setting_that_there_is() -> None:
    for type_, names in NAMES.items():
        settings: Any = TYPES[type_].model_fields["settings"].annotation
        assert {*names.values()} <= {*settings.model_fields}
        assert not {*names} & {*settings.model_fields}


@pytest.mark.parametrize(
    ("value", "text"),
    [(7, "7"), (-3, "-3"), (12345678901234567890, "12345678901234567890"), (0.1, "0.1"), (1e21, "1" + "0" * 21),
     (True, "true"), (None, "$null")],
)  # fmt: skip
def test_a_number_in_the_place_of_a_formula_keeps_its_digits(value: Any, text: str) -> None:
    (block,) = parse(json.dumps([{"type": "CHANGE_FIELD_VALUES", "settings": {"value": value}}])).blocks
    assert block.model_dump()["settings"] == {"value": text}


@pytest.mark.parametrize(
    "block",
    [
        {"type": "ADD_FIELD", "settings": {"name": "a", "value": "1 +"}},
        {"type": "FORMAT_DATE_TO_STRING", "settings": {"format": "yyyy-bb"}},
        {"type": "PARSE_DATE_FROM_STRING", "settings": {"format": "'no letter'"}},
        {"type": "FIND_REPLACE", "settings": {"find": "(", "replace": "", "regex": True}},
        {"type": "FIND_REPLACE", "settings": {"find": "a", "replace": "$1", "regex": True}},
        {"type": "RENAME_FIELDS", "settings": {"formula": '"x" + other'}},
        {"type": "SPLIT_FIELDS", "settings": {"delimiter": ""}},
        {"type": "PARSE_NUMBER_FROM_STRING", "settings": {"group_separator": "."}},
        {"type": "CHANGE_DATETIME_FIELD_VALUES", "settings": {"unit": "FORTNIGHT", "amount": 1}},
    ],
)
def test_what_could_never_run_is_refused(block: JSON) -> None:
    (message,) = told(block)
    assert message.startswith(f"Block b1 ({block['type']}, number 1), settings")


def test_several_mistakes_are_told_at_once_also_in_branches() -> None:
    inner = {"id": "in", "type": "DROP_EVENTS", "event_filters": [{"on": "EVENT_TYPE", "op": "EQUALS"}]}
    chain = {"type": "IF_ELSE", "condition": [{"on": "ALL_EVENTS"}, {"any": [{"on": "NOTHING"}]}], "false": [inner]}
    found = told({"type": "SPLIT_FIELDS", "settings": {}}, chain)
    assert found == [
        "Block b1 (SPLIT_FIELDS, number 1), settings.delimiter: 'delimiter' is missing.",
        "Block b2 (IF_ELSE, number 2), condition.all.2.any.1.on: 'NOTHING' is none of ALL_EVENTS, EVENT_TYPE, "
        "EVENT_FIELD.",
        "Block in (DROP_EVENTS, number 1), event_filters.1: EQUALS needs a 'value'; for missing values there is "
        "IS_NULL.",
    ]


def test_an_if_else_ends_its_chain() -> None:
    chain = {"id": "fork", "type": "IF_ELSE", "condition": [{"on": "ALL_EVENTS"}]}
    (message,) = told(chain, {"type": "DROP_EVENTS"})
    assert message == "Block fork (IF_ELSE) is not the last: its branches do not come together again."


def test_an_id_stands_once() -> None:
    assert told({"id": "x", "type": "DROP_EVENTS"}, {"id": "x", "type": "DROP_FIELDS"}) == ["2 blocks have the id 'x'."]


@pytest.mark.parametrize(
    "text",
    [
        "", "{", "3", '"a"', '{"blocks": 3}', '{"kind": "CODE", "blocks": []}', "[1]", "[[]]",
        '[{"type": "ADD_FIELD", "settings": {"name": "a", "value": NaN}}]',
        f'[{{"type": "ADD_FIELD", "settings": {{"name": "a", "value": {"1" * 5000}}}}}]',
    ],
)  # fmt: skip
def test_what_is_no_chain_is_refused_in_words(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(text)
    assert caught.value.code == "blocks"


def test_chains_of_any_size_and_depth_end_in_words() -> None:
    with pytest.raises(ConfigError, match="at most"):
        parse([{"type": "DROP_EVENTS"}] * (MAX_BLOCKS + 1))
    deep: JSON = {"type": "DROP_EVENTS"}
    for _ in range(60):
        deep = {"type": "IF_ELSE", "condition": [{"on": "ALL_EVENTS"}], "true": [deep]}
    with pytest.raises(ConfigError, match="more than 40 If-Else"):
        parse([deep])
    with pytest.raises(ConfigError):
        parse("[" * 100_000)


def test_the_schema_has_every_block_with_a_description() -> None:
    found = schema()
    assert {
        definition.get("properties", {}).get("type", {}).get("const") for definition in found["$defs"].values()
    } >= {*TYPES}
    for name, definition in found["$defs"].items():
        assert definition.get("description") or name.endswith("Settings"), name
