"""CleverTap's exports of events in JSON: a line with the name of the event, then an object in each line.

Rows have the columns of the CleverTap source, so that events which its API does not give stand beside the others.
Source: https://docs.clevertap.com/docs/export-format
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any, BinaryIO
from zoneinfo import ZoneInfo

import msgspec
import pyarrow as pa

from millrace.data import json_text, types
from millrace.data.batch import JSON
from millrace.sources.files import lines
from millrace.sources.files.parts import Part

SCHEMA = pa.schema(
    [
        ("event_name", pa.string()),
        ("ts", types.TIMESTAMPTZ),
        ("objectId", pa.string()),
        ("identity", pa.string()),
        ("event_props", types.JSON),
        ("session_props", types.JSON),
        ("session_source", pa.string()),
        ("profileData", types.JSON),
        ("ts_raw", pa.int64()),
        ("deviceInfo", types.JSON),
        ("controlGroupName", pa.string()),
    ]
)

# Properties of CleverTap's own, which its exports spell otherwise than its API: https://docs.clevertap.com/docs/events
_OWN = (
    "CT Source", "CT App Version", "CT App Version Prev", "CT SDK Version", "CT OS Version", "CT Network Carrier",
    "CT Network Type", "CT Connected To WiFi", "CT Bluetooth Version", "CT Bluetooth Enabled", "CT Latitude",
    "CT Longitude", "CT Session Id",
)  # fmt: skip
SPELLED = {name.lower().replace(" ", "_"): name for name in _OWN}

_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_NONE = msgspec.Raw(b"{}")


def read(stream: BinaryIO, check: Callable[[], None], timezone: str) -> Iterator[Part]:
    """The rows of an export. The number of a row is that of its line. ``check`` raises where the stream ended too
    early."""
    return lines.read(stream, check, _Rows(ZoneInfo(timezone)), SCHEMA)


class _Rows:
    """Makes rows of the lines of one file. The first may be the name of the event, which is no row."""

    def __init__(self, zone: ZoneInfo) -> None:
        self._zone = zone
        self._name: str | None = None
        self._begun = False
        self._named = True

    def __call__(self, text: bytes) -> dict[str, JSON] | None:
        first, self._begun = not self._begun, True
        if first and text[:1] == b"[":
            raise ValueError("it is a list; an export has the name of the event, then an object in each line")
        if first and text[:1] != b"{":
            self._named = False
            self._name = text.decode()
            self._named = True
            return None
        if json_text.too_deep(text):
            raise ValueError(f"it nests deeper than {json_text.DEEPEST} levels")
        row = _object(text)
        profile, session = _object(_whole(row.get("profile"))), _whole(row.get("sessionProps"))
        digits, name = _value(row.get("ts")), _text(row.get("eventName")) or self._name
        if name is None and not self._named:
            raise ValueError("the name of its event, on the first line, cannot be read; set `encoding`")
        return {
            "event_name": name,
            "ts": self._moment(digits),
            "objectId": _text(profile.get("objectId")),
            "identity": _text(profile.get("identity")),
            "event_props": _spelled(_whole(row.get("eventProps"))),
            "session_props": session,
            "session_source": _text(_object(session).get("session_source")),
            "profileData": _whole(profile.get("profileData")) or _NONE,
            "ts_raw": digits,
            "deviceInfo": _whole(row.get("deviceInfo")),
            "controlGroupName": _text(row.get("controlGroupName")),
        }

    def _moment(self, digits: Any) -> datetime:
        """The moment of 14 digits of local time; the first where the clock showed it twice."""
        try:
            if type(digits) is int and 10**13 <= digits < 10**14:
                return datetime.strptime(str(digits), "%Y%m%d%H%M%S").replace(tzinfo=self._zone).astimezone(UTC)
        except (ValueError, OverflowError):
            pass
        raise ValueError(f"ts {str(digits)[:40]!r} is no date and time in the form yyyyMMddHHmmss")


def _object(raw: msgspec.Raw | bytes | None) -> dict[str, msgspec.Raw]:
    if raw is None:
        return {}
    try:
        return _members(raw)
    except msgspec.MsgspecError as error:
        raise ValueError(f"it is no object: {error}") from None


def _value(raw: msgspec.Raw | None) -> Any:
    return None if raw is None else json_text.loads(bytes(raw).decode())


def _text(raw: msgspec.Raw | None) -> str | None:
    found = _value(raw)
    return found if found is None or isinstance(found, str) else bytes(raw or b"").decode()


def _whole(raw: msgspec.Raw | None) -> msgspec.Raw | None:
    return None if raw is None or bytes(raw) == b"null" else raw


def _spelled(properties: msgspec.Raw | None) -> msgspec.Raw:
    """The properties under the names that the API gives them; their values stay the bytes that they were."""
    if properties is None:
        return _NONE
    found = _object(properties)
    if not found.keys() & SPELLED.keys():
        return properties
    new = {name if SPELLED.get(name, name) in found else SPELLED.get(name, name): raw for name, raw in found.items()}
    return msgspec.Raw(msgspec.json.encode(new))
