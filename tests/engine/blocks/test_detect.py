"""Personal data is found where it is, and not where it only looks so."""

from __future__ import annotations

import json

import pyarrow as pa
import pytest

from millrace.data import types
from millrace.data.columns import ours
from millrace.data.exact import of_type
from millrace.data.rows import to_batch
from millrace.engine.blocks.detect import Finding, detect


def kinds(*values: object) -> list[tuple[str, str, int]]:
    """What is found in a field without a telling name."""
    found = detect(to_batch([{"x": value} for value in values], None))
    return [(one.field, one.kind, one.rows) for one in found]


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        ("ada@example.com", "email"),
        ("write to ada.l+x@mail.example.co.uk today", "email"),
        ("+49 30 901820", "phone"),
        ("+1 (415) 555-0132", "phone"),
        ("+442079460018", "phone"),
        ("0033 1 40 20 50 50", "phone"),
        ("4111 1111 1111 1111", "card"),
        ("paid with 5500-0000-0000-0004.", "card"),
        ("3782 822463 10005", "card"),
        ("DE89 3704 0044 0532 0130 00", "iban"),
        ("GB82WEST12345698765432", "iban"),
        ("192.168.2.10", "ip"),
        ("2001:db8::ff00:42:8329", "ip"),
        ("::1", "ip"),
        ("from 10.0.0.1.", "ip"),
    ],
)
def test_a_value_is_known_by_its_look(value: str, kind: str) -> None:
    assert kinds(value) == [("x", kind, 1)]


@pytest.mark.parametrize(
    "value",
    [
        "ada at example", "a@b", "@home", "4111 1111 1111 1112", "1234-5678-9012-3456", "DE89 3704 0044 0532 0130 01",
        "999.1.1.1", "1.2.3", "10:30:00", "2024-02-29T10:30:00Z", "12:34", "+7", "+1.5", "a::b", "v1.2.3.4.5", "",
    ],
)  # fmt: skip
def test_what_only_looks_like_it_is_not_found(value: str) -> None:
    assert kinds(value) == []


def test_digits_are_card_numbers_only_where_half_of_the_rows_have_their_check_digit() -> None:
    assert kinds("4111111111111111", "5500000000000004", "hello") == [("x", "card", 2)]
    assert kinds("4111111111111111", *(str(4111111111111112 + n) for n in range(5))) == []
    assert kinds(4111111111111111, 5500000000000004) == [("x", "card", 2)]


def test_rows_count_in_whichever_form_they_have_it() -> None:
    assert kinds("4111 1111 1111 1111", "5500005555555559", "hello", "4111111111111111") == [("x", "card", 3)]
    assert kinds("192.168.2.10", "2001:db8::1", "10.0.0.1 and ::1") == [("x", "ip", 3)]


def test_the_share_is_of_the_rows_that_have_the_field() -> None:
    rows = to_batch([{"note": "a@b.org"}, {"note": "none"}, {"other": 1}, {"note": None}], None)
    assert detect(rows) == [Finding("note", "email", "value", 1, 0.5)]


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("email", "email"), ("customerEmail", "email"), ("HOME-PHONE", "phone"), ("mobile_no", "phone"),
        ("firstName", "name"), ("date_of_birth", "birth"), ("billing_address", "address"), ("zip", "address"),
        ("SSN", "national_id"), ("user.ip_address", "ip"), ("password", "secret"), ("card_number", "card"),
    ],
)  # fmt: skip
def test_a_field_is_known_by_its_name(name: str, kind: str) -> None:
    assert detect(to_batch([{name: "?"}, {name: "?"}, {}], None)) == [Finding(name, kind, "name", 2, 1.0)]


@pytest.mark.parametrize("name", ["name", "emails_sent", "page", "status", "company", "image", "span", "phonetic"])
def test_other_names_tell_nothing(name: str) -> None:
    assert detect(to_batch([{name: "?"}], None)) == []


def test_a_field_that_both_name_and_values_tell_is_told_once() -> None:
    assert detect(to_batch([{"email": "a@b.org"}], None)) == [Finding("email", "email", "value", 1, 1.0)]


def test_objects_and_arrays_are_looked_into() -> None:
    texts = [
        json.dumps({"profile": {"contacts": [{"value": "a@b.org"}, {"value": "c@d.org"}], "age": 7}, "n": 1}),
        json.dumps({"profile": {"contacts": [{"value": "none"}]}}),
        "[]",
    ]
    structs = pa.array([{"ip": "10.0.0.1", "k": [1, 2]}, None, {"ip": "?", "k": None}])
    lists = pa.array([["+49 30 901820", "x"], None, ["y"]])
    rows = pa.record_batch({"j": of_type(pa.array(texts), types.JSON), "s": structs, "l": lists})
    assert detect(rows) == [
        Finding("j.profile.contacts[].value", "email", "value", 1, 0.5),
        Finding("j.profile.age", "birth", "name", 1, 1.0),
        Finding("s.ip", "ip", "value", 1, 0.5),
        Finding("l[]", "phone", "value", 1, 0.5),
    ]


def test_metadata_and_empty_columns_are_left_out() -> None:
    schema = pa.schema([ours("__hevo_id", pa.string()), pa.field("email", pa.string())])
    assert (
        detect(pa.RecordBatch.from_arrays([pa.array(["a@b.org"]), pa.array([None], pa.string())], schema=schema)) == []
    )
