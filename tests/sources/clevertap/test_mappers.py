"""Pages are the same rows, whether the native library maps them or Python does."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from millrace.sources.clevertap import mappers, rows, wire
from millrace.sources.clevertap.mappers import Mapped, Mappers, Settings
from millrace.sources.clevertap.rows import rows_of

FIXTURE = (Path(rows.__file__).parent / "fixtures" / "page.json").read_bytes()
PLAIN = Settings("Asia/Kolkata", whole=False, by_record=False)
WHOLE = Settings("Europe/Berlin", whole=True, by_record=False)
BY_RECORD = Settings("Europe/Berlin", whole=True, by_record=True)


def page(count: int = 800, *odd: Any) -> bytes:
    """A page with all that a record may have or lack."""
    records: list[Any] = []
    for number in range(count):
        profile: dict[str, Any] = {"objectId": f"__{number}"}
        if number % 3 == 0:
            profile |= {"identity": number if number % 2 else f"höhe-{number}", "profileData": {"n": number}}
        if number % 7 == 0:
            profile |= {"objectId": f'with "quotes" {number}', "email": "a@example.org", "all_identities": ["a", 1]}
        record: dict[str, Any] = {"profile": profile, "ts": 20260314091500 + number % 60}
        if number % 5:
            record |= {"event_props": {"b": 1.50, "a": [number, None, "ß"], "long": "x" * 150}}
        if number % 4 == 0:
            record |= {"session_props": {"session_source": "Others", "z": number % 3}}
        if number % 11 == 0:
            record |= {"session_source": "Direct"}
        records.append(record)
    text = json.dumps([*records, *odd], ensure_ascii=False).encode()
    return b'{"status":"success","records":' + text + b',"next_cursor":"more"}'


BAD = ({"profile": {}, "ts": 20260314091500}, {"profile": {"objectId": "__a"}, "ts": 20261332000000}, {"ts": "x"})


def by_python(monkeypatch: pytest.MonkeyPatch, settings: Settings, body: bytes) -> wire.Answer:
    with monkeypatch.context() as patched:
        patched.setattr(mappers.native, "mapped", lambda *_, **__: None)
        return Mappers(settings).read("Charged", body)


def around(envelope: wire.Envelope) -> list[Any]:
    """What stands around the records."""
    return [getattr(envelope, name) for name in wire.Envelope.__struct_fields__]


def same(one: wire.Answer, two: wire.Answer, event: str = "Charged") -> None:
    assert isinstance(one, Mapped) and isinstance(two, Mapped)
    assert around(one.envelope) == around(two.envelope)
    here, there = rows_of(event, one.columns), rows_of(event, two.columns)
    there.rows.validate(full=True)
    assert here.rows.schema.equals(there.rows.schema) and here.rows.to_pylist() == there.rows.to_pylist()
    assert here.rejects == there.rejects
    for name in ("high", "low", "state", "day", "moment"):
        assert getattr(here, name).tolist() == getattr(there, name).tolist(), name


@pytest.mark.parametrize("settings", [PLAIN, WHOLE, BY_RECORD], ids=["plain", "whole", "by-record"])
@pytest.mark.parametrize("body", [page(), page(700, *BAD), FIXTURE, b'{"status":"success"}'])
def test_a_page_is_the_same_by_python(monkeypatch: pytest.MonkeyPatch, settings: Settings, body: bytes) -> None:
    same(by_python(monkeypatch, settings, body), Mappers(settings).read("Charged", body))


def test_pages_of_many_threads_come_out_each_as_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    made = Mappers(PLAIN)
    bodies = [page(600 + number, *BAD[: number % 2]) for number in range(12)]
    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(lambda body: made.read("Charged", body), bodies))
    for body, answer in zip(bodies, found, strict=True):
        same(by_python(monkeypatch, PLAIN, body), answer)


def test_what_is_no_page_is_told() -> None:
    made = Mappers(PLAIN)
    with pytest.raises(wire.NotJson):
        made.read("Charged", b"<html>")
    refused = made.read("Charged", b'{"status":"fail","error":"' + b"x" * 100_000 + b'","code":3}')
    assert not isinstance(refused, Mapped) and refused.envelope.code == 3
    assert isinstance(made.read("Charged", page()), Mapped)
