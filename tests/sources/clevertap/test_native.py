"""The native library maps a page as Python does, or leaves it to Python."""

from __future__ import annotations

import json
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.sources.clevertap.test_canonical import texts as json_texts
from tests.sources.clevertap.test_mappers import around

from millrace.data import native as loader
from millrace.sources.clevertap import native, wire
from millrace.sources.clevertap.mapper import Columns, Mapper, Texts
from millrace.sources.clevertap.times import Moments

MOMENTS = Moments(ZoneInfo("Asia/Kolkata"))
EVENT = 'Charged "ß" \\'


@pytest.fixture(scope="module", autouse=True)
def there() -> None:
    assert loader.library() is not None, loader.absent()


def plain(columns: Columns) -> dict[str, Any]:
    """The columns, as values that can be compared."""

    def of(value: Any) -> Any:
        if isinstance(value, Texts):
            return bytes(value.data), bytes(value.offsets), None if value.there is None else bytes(value.there)
        if isinstance(value, list):
            return [of(each) for each in value]
        return bytes(value) if isinstance(value, memoryview) else value

    return {name: of(value) for name, value in msgspec.structs.asdict(columns).items()}


def both(body: bytes) -> bool:
    """Whether the library maps a page; if so, Python finds the same in it."""
    mapped = [native.mapped(EVENT, body, MOMENTS, whole=whole) for whole in (False, True)]
    for whole, found in enumerate(mapped):
        if found is not None:
            answer = wire.read(body, whole=bool(whole))
            assert answer.succeeded and around(found[0]) == around(answer.envelope)
            assert plain(found[1]) == plain(Mapper(EVENT, MOMENTS, whole=bool(whole))(answer))
    return None not in mapped


def page(*records: bytes) -> bytes:
    return b'{"status":"success","records":[' + b",".join(records) + b'],"next_cursor":"more"}'


def record(**fields: Any) -> dict[str, Any]:
    return {"profile": {"objectId": "__a"}, "ts": 20260314091502, **fields}


def written(**fields: Any) -> bytes:
    return json.dumps(record(**fields)).encode()


def test_what_a_record_may_have_or_lack_is_mapped() -> None:
    records = [
        written(),
        written(event_props=None, session_props=None, session_source=None),
        written(event_props={"b": 1, "a": [1.50, None, True, {"z": "ß", "y": "\x01\n/"}]}, extra={"any": ["thing"]}),
        written(session_props={"session_source": 'Se"arch', "z": 1}, session_source=""),
        written(session_props={"session_source": 7}),
        written(session_props=["no", "object"], session_source='Di"rect'),
        written(profile={"identity": 17, "objectId": 'q"ß', "profileData": {"plan": "gold"}, "email": "a@example.org"}),
        written(profile={"identity": None, "objectId": "__b", "profileData": None}),
        written(profile={"identity": "", "objectId": "__c"}),
        written(
            profile={"objectId": "a", "phone": 4915550011269, "name": 'Rh"ea', "events": {"a": [1]}, "df": {"0": 65}}
        ),
        written(profile={"objectId": "a", "email": None, "make": "", "events": None, "all_identities": ["a", 1]}),
        b' { "ts" : 20260314091502 , "event_props" : { } , "profile" : { "objectId" : "\\u00e9\\ud83d\\ude00" } } ',
    ]
    assert both(page(*records)) and both(page(*records * 3)) and both(page(records[0]))
    assert both(b'{"records":[],"status":"success"}')
    assert both(b' {"cursor" : null, "records":[' + records[2] + b'] ,"status":"success","other":[1,{"a":2}]}\n')


def test_texts_of_every_length_have_their_digests() -> None:
    """Each length of a text that is hashed, over the ends of blocks, and rows of different lengths side by side."""
    lengths = [*range(300), 1000, 5000, 3, 70_000]
    assert both(page(*(written(event_props={"a": "x" * length}) for length in lengths)))
    assert both(page(*(written(profile={"objectId": "a", "profileData": "y" * length}) for length in lengths)))


def test_keys_are_sorted_and_the_last_of_equal_ones_counts() -> None:
    names = ["b", "a", "aa", "ä", "abcdefgh", "abcdefghi", "abcdefgha", "", "Z", "日本", "\U0001f600", "\uffff"]
    for props in (names, names[::-1], [f"key {number % 37}" for number in range(100)]):
        text = "{" + ",".join(f"{json.dumps(name)}:{place}" for place, name in enumerate(props)) + "}"
        nested = '{"x":' + text + ',"a":[' + text + "]}"
        assert both(
            page(written(), b'{"profile":{"objectId":"__a"},"ts":20260314091502,"event_props":%b}' % nested.encode())
        )
    twice = b'{"profile":{"objectId":"__a"},"ts":20260314091502,"event_props":{"b":1,"a":{"c":1,"c":[2]},"b":3,"a":4}}'
    assert both(page(twice)) and both(page(twice.replace(b"event_props", b"session_props")))


@pytest.mark.parametrize(
    "odd",
    [
        b'{"profile":{"objectId":"__a"},"ts":20260231091502}',
        b'{"profile":{"objectId":"__a"},"ts":2026031409150}',
        b'{"profile":{"objectId":"__a"},"ts":-0260314091502}',
        b'{"profile":{"objectId":"__a"},"ts":2026031409150.}',
        b'{"profile":{"objectId":"__a"},"ts":"20260314091502"}',
        b'{"profile":{"objectId":"__a"},"ts":20260314091502,"ts":20260314091503}',
        b'{"profile":{"objectId":"__a"},"ts":20260314091502,"session_source":7}',
        b'{"profile":{"objectId":"__a"},"ts":20260314091502,"session_source":nul}',
        b'{"profile":{"objectId":"__a"},"ts":20260314091502,"event_props":nul}',
        b'{"profile":{"objectId":"__a"},"ts":20260314091502,"event_props":{"\\"":1}}',
        b'{"profile":{"objectId":"__a"},"ts":20260314091502,"event_props":{"a":"\\ud800"}}',
        b'{"profile":{"objectId":"__a"},"ts":20260314091502,"event_props":{"a":"\xed\xa0\x80"}}',
        b'{"profile":{"objectId":"__a"},"ts":20260314091502,"event_props":{"a":"\x01"}}',
        b'{"profile":{"objectId":"__a"},"ts":20260314091502,"event_props":{"a":01}}',
        b'{"profile":{"objectId":"__a"},"ts":20260314091502,"event_props":{"a":NaN}}',
        b'{"profile":{"objectId":"__a"},"ts":20260314091502,"event_props":{"a":1,}}',
        b'{"profile":{"objectId":"__a"},"ts":20260314091502,"event_props":' + b"[" * 100 + b"]" * 100 + b"}",
        b'{"profile":{"objectId":"__a","identity":-0},"ts":20260314091502}',
        b'{"profile":{"objectId":"__a","identity":1.5},"ts":20260314091502}',
        b'{"profile":{"objectId":"__a","identity":12345678901234567890},"ts":20260314091502}',
        b'{"profile":{"objectId":"__a","objectId":"__b"},"ts":20260314091502}',
        b'{"profile":{"object\\u0049d":"__a"},"ts":20260314091502}',
        b'{"profile":{"objectId":""},"ts":20260314091502}',
        b'{"profile":{"objectId":7},"ts":20260314091502}',
        b'{"profile":{},"ts":20260314091502}',
        b'{"profile":null,"ts":20260314091502}',
        b'{"ts":20260314091502}',
        b"{}",
        b"[]",
        b"7",
    ],
)  # fmt: skip
def test_odd_records_are_left_to_python(odd: bytes) -> None:
    assert native.mapped(EVENT, page(written(), odd, written()), MOMENTS) is None


def test_a_page_in_which_a_record_may_be_too_large_is_left_to_python(monkeypatch: pytest.MonkeyPatch) -> None:
    body = page(written())
    assert both(body)
    monkeypatch.setattr(native, "LARGEST_RECORD", len(body) - 1)
    assert native.mapped(EVENT, body, MOMENTS) is None


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b"<html>",
        b'{"status":"success"}',
        b'{"status":"success","records":null}',
        b'{"status":"success","records":[],"records":[]}',
        b'{"status":"fail","records":[]}',
        b'{"status":"success","cursor":7,"records":[]}',
        b'{"status":"success","records":[]',
        b'{"status":"success","records":[]} x',
        b'{"status":"success","records":[' + written() + b",]}",
        b'{"status":"success","records":[' + written() + b"] \xff}",
    ],
)
def test_what_is_no_page_is_left_to_python(body: bytes) -> None:
    assert native.mapped(EVENT, body, MOMENTS) is None


values = json_texts()
strings = st.text(st.characters(exclude_categories=["Cs"]), max_size=20).map(json.dumps)


@st.composite
def records(draw: st.DrawFn) -> bytes:
    """Records as JSON text, in every order of their fields, of which some may be odd."""
    gap = draw(st.sampled_from(["", " ", "\r\n\t"]))

    def written(fields: dict[str, str]) -> str:
        names = draw(st.permutations(sorted(fields)))
        return "{" + gap + ",".join(f'{gap}"{name}"{gap}:{gap}{fields[name]}{gap}' for name in names) + "}"

    profile = {"objectId": draw(strings)}
    for name in ("identity", "profileData", "email", "events"):
        if draw(st.booleans()):
            profile[name] = draw(values if name == "profileData" else strings | st.integers().map(str) | values)
    fields = {"profile": written(profile), "ts": str(draw(st.integers(20200101000000, 20201231235959)))}
    for name in ("event_props", "session_props", "other"):
        if draw(st.booleans()):
            fields[name] = draw(values)
    if draw(st.booleans()):
        fields["session_source"] = draw(strings)
    return written(fields).encode()


@given(st.lists(records(), max_size=12))
def test_pages_are_mapped_as_python_maps_them(found: list[bytes]) -> None:
    both(page(*found))


@given(st.lists(records(), min_size=1, max_size=3), st.data())
def test_a_page_that_was_damaged_is_left_alone_or_read_alike(found: list[bytes], data: st.DataObject) -> None:
    body = bytearray(page(*found))
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(body) - 1))
        part = data.draw(
            st.binary(max_size=3) | st.sampled_from([b'"', b"\\", b"{", b"}", b",", b"null", b"-0", b"\xc3"])
        )
        body[at : at + data.draw(st.integers(0, 3))] = part
    both(bytes(body))
