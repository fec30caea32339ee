"""CleverTap's answers as they come over the wire. Properties stay the bytes that were sent.

Field presence: https://developer.clevertap.com/docs/get-events-api, and what real answers add or leave out.
"""

from __future__ import annotations

import json
import re
from dataclasses import field
from datetime import date, datetime
from typing import Any

import msgspec
import numpy as np
from msgspec import UNSET, Raw, Struct, UnsetType

from millrace.data.dataclass import dataclass

NULL = Raw(b"null")
_EMPTY = Raw(b"{}")


class Profile(Struct, gc=False):
    """What is always mapped of a profile. ``objectId`` is JSON text, quotes included."""

    objectId: Raw = NULL
    identity: str | int | None = None
    profileData: Raw = _EMPTY


class WholeProfile(Profile, gc=False):
    """A profile with the fields that are mapped on demand, each as JSON text."""

    platform: Raw = NULL
    email: Raw = NULL
    phone: Raw = NULL
    name: Raw = NULL
    all_identities: Raw = NULL
    push_token: Raw = NULL
    os_version: Raw = NULL
    app_version: Raw = NULL
    make: Raw = NULL
    model: Raw = NULL
    sdk_version: Raw = NULL
    events: Raw = NULL


class Record(Struct, gc=False):
    """An event as it came. ``ts`` may be anything; whoever maps it looks."""

    profile: Profile | None = None
    ts: Any = None
    event_props: Raw = _EMPTY
    session_props: Raw = NULL
    session_source: str | None = None


class WholeRecord(Record, gc=False):
    """An event whose profile is mapped whole."""

    profile: WholeProfile | None = None  # pyright: ignore[reportIncompatibleVariableOverride]  narrower, and only read


class Envelope(Struct):
    """All that stands around records, and the few keys of other answers."""

    status: Any = None
    error: Any = None
    code: Any = None
    cursor: str | None = None
    next_cursor: str | None = None
    count: Any = None
    req_id: Any = None


class _Page(Envelope):
    records: list[Record] | UnsetType | None = UNSET


class _WholePage(Envelope):
    records: list[WholeRecord] | UnsetType | None = UNSET


class _RawPage(Envelope):
    records: list[Raw] | UnsetType | None = UNSET


# How the daily trend is called in a question and in its answer.
DAILY = "daily"


class _Trend(Struct):
    daily: dict[str, int] | UnsetType = UNSET


_HIGH_BITS = np.uint64(0x8080_8080_8080_8080)
_SPACES = np.frombuffer(b" " * 8, np.uint64)[0]
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*+"|[{}\[\]]', re.DOTALL)

_page = msgspec.json.Decoder(_Page)
_whole_page = msgspec.json.Decoder(_WholePage)
_raw_page = msgspec.json.Decoder(_RawPage)
_record = msgspec.json.Decoder(Record)
_whole_record = msgspec.json.Decoder(WholeRecord)
_members = msgspec.json.Decoder(dict[str, Raw])
_trend = msgspec.json.Decoder(_Trend)


class NotJson(Exception):
    """The body is no JSON object."""


@dataclass(slots=True)
class Answer:
    """A body, read. ``spoiled`` are records that cannot be read: their bytes, and why. ``cut`` are the bytes of the
    others, where they had to be cut out of the body."""

    envelope: Envelope
    body: bytes
    records: list[Record]
    spoiled: list[tuple[bytes, str]] = field(default_factory=list[tuple[bytes, str]])
    cut: list[bytes] | None = None
    asked: int = 0
    """When the request was sent to which this is the answer; ``answered``: when it was there. Nanoseconds."""
    answered: int = 0

    @property
    def succeeded(self) -> bool:
        return self.envelope.status == "success"

    @property
    def rows(self) -> int:
        return len(self.cut or self.records)

    def raws(self) -> list[bytes]:
        """The bytes of each of ``records``, in their order."""
        if self.cut is None:
            self.cut = [bytes(raw) for raw in _raw_page.decode(self.body).records or []]
        return self.cut


def daily(body: bytes) -> dict[date, int] | None:
    """The daily trend in an answer; None when there is none in it that can be understood."""
    try:
        found = _trend.decode(body).daily
        return None if found is UNSET else {datetime.strptime(day, "%Y%m%d").date(): n for day, n in found.items()}
    except (ValueError, msgspec.MsgspecError):
        return None


def read(body: bytes, *, whole: bool = False) -> Answer:
    """The answer in ``body``. One bad record does not spoil its page: it is put aside. Raises NotJson."""
    if body.isascii() or _is_utf8(body):
        try:
            envelope = (_whole_page if whole else _page).decode(body)
            return Answer(envelope, body, list(envelope.records or []))
        except (msgspec.MsgspecError, RecursionError):
            pass
    envelope, raws = _apart(body)
    kept: list[bytes] = []
    answer = Answer(envelope, body, [], [], kept)
    for raw in raws:
        try:
            raw.decode()
            record = _one(raw, whole=whole)
        except (UnicodeDecodeError, msgspec.MsgspecError, RecursionError) as error:
            answer.spoiled.append((raw, str(error)[:200]))
            continue
        answer.records.append(record)
        kept.append(raw)
    return answer


def read_apart(body: bytes) -> Answer:
    """The answer in ``body``, whose records are not looked into: they are cut out. Raises NotJson."""
    if body.isascii() or _is_utf8(body):
        try:
            envelope = _raw_page.decode(body)
            return Answer(envelope, body, [], cut=[bytes(raw) for raw in envelope.records or []])
        except (msgspec.MsgspecError, RecursionError):
            pass
    envelope, raws = _apart(body)
    return Answer(envelope, body, [], cut=raws)


def _one(raw: bytes, *, whole: bool) -> Record:
    try:
        return (_whole_record if whole else _record).decode(raw)
    except msgspec.ValidationError:
        # A field has a type that nobody expects: numbers become text as they are written, the rest is looked at later.
        members = _members.decode(raw)
        profile = members.get("profile", NULL)
        if bytes(profile)[:1] == b"{":
            fields = _members.decode(profile)
            identity = bytes(fields.pop("identity", NULL))
            known = WholeProfile if whole else Profile
            wanted = {name: fields[name] for name in known.__struct_fields__ if name in fields}
            members_profile: Profile | None = known(identity=_as_text(identity), **wanted)  # type: ignore[arg-type]  the names are those of Raw fields
        else:
            members_profile = None
        return Record(
            profile=members_profile,
            ts=msgspec.json.decode(members.get("ts", NULL)),
            event_props=members.get("event_props", _EMPTY),
            session_props=members.get("session_props", NULL),
            session_source=_as_text(bytes(members.get("session_source", NULL))),
        )


def _as_text(raw: bytes) -> str | None:
    """The text of a JSON string; of anything else but null its JSON."""
    if raw == b"null":
        return None
    return msgspec.json.decode(raw, type=str) if raw[:1] == b'"' else raw.decode()


def _is_utf8(body: bytes) -> bool:
    """Whether the bytes are UTF-8. Only words of eight bytes that are not ASCII are decoded, since that takes longer
    than to read the page; those that do not follow each other are kept apart."""
    words = np.frombuffer(body, np.uint64, len(body) // 8)
    places = np.flatnonzero(words & _HIGH_BITS != 0)  # of numbers it takes twice as long
    gaps = np.flatnonzero(np.diff(places) != 1) + 1
    parts = np.insert(words[places], gaps, _SPACES).tobytes()
    between = b"" if len(places) and places[-1] == len(words) - 1 else b" "
    try:
        (parts + between + body[8 * len(words) :]).decode()
    except UnicodeDecodeError:
        return False
    return True


def _apart(body: bytes) -> tuple[Envelope, list[bytes]]:
    """The envelope and the bytes of each record, where some record is not JSON by the letter."""
    try:
        page = _raw_page.decode(body)
        return page, [bytes(raw) for raw in page.records or []]
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
        pass
    text = body.decode("utf-8", "surrogateescape")
    decoder = json.JSONDecoder(strict=False)
    around: dict[str, Any] = {}
    spans: list[tuple[int, int]] = []
    try:
        at = _token(text, _blank(text, 0), "{")
        while text[at] != "}":
            key, at = decoder.raw_decode(text, at)
            at = _blank(text, _token(text, _blank(text, at), ":"))
            if key == "records" and text[at] == "[":
                at = _blank(text, at + 1)
                while text[at] != "]":
                    end = _end(decoder, text, at)
                    spans.append((at, end))
                    at = _next(text, end, "]")
                at += 1
            elif key == "records" and not text.startswith("null", at):
                raise ValueError(key)
            else:
                around[str(key)], at = decoder.raw_decode(text, at)
            at = _next(text, at, "}")
        envelope = msgspec.convert(around, Envelope)
    except (ValueError, IndexError, RecursionError, msgspec.MsgspecError):
        raise NotJson("the body is not a JSON object of the expected form") from None
    return envelope, [text[start:end].encode("utf-8", "surrogateescape") for start, end in spans]


def _end(decoder: json.JSONDecoder, text: str, at: int) -> int:
    """The place behind the value that begins at ``at``; an object that cannot be read ends where its brackets do."""
    try:
        return decoder.raw_decode(text, at)[1]
    except (RecursionError, ValueError):
        if text[at] != "{":
            raise
        depth = 0
        for token in _TOKEN.finditer(text, at):
            if token[0] in "{[":
                depth += 1
            elif token[0] in "]}":
                depth -= 1
                if not depth:
                    return token.end()
        raise


def _blank(text: str, at: int) -> int:
    while text[at] in " \t\r\n":
        at += 1
    return at


def _token(text: str, at: int, wanted: str) -> int:
    if text[at] != wanted:
        raise ValueError(wanted)
    return _blank(text, at + 1)


def _next(text: str, at: int, end: str) -> int:
    """The place of the next element, or of ``end``."""
    at = _blank(text, at)
    return at if text[at] == end else _token(text, at, ",")
