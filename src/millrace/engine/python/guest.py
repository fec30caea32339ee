"""The process in which a user's script runs. Started by `host`, behind a wall; knows the standard library alone.

It reads frames from descriptor 0 and writes frames to descriptor 1: eight bytes of length, then a JSON head with the
lengths of the sections behind it. `frames` is the other side of the same.
"""

from __future__ import annotations

import base64
import contextlib
import datetime as dt
import gc
import io
import json
import mmap
import os
import re
import sys
import uuid
from array import array
from decimal import Decimal
from typing import Any, BinaryIO

# As in `frames`: which form of frames this is.
_FORM = 2
_UTC = dt.timezone.utc  # noqa: UP017  `datetime.UTC` and this are one; this name is older
_EPOCH = dt.datetime(1970, 1, 1)
_EPOCH_UTC = dt.datetime(1970, 1, 1, tzinfo=_UTC)
_DAY = dt.date(1970, 1, 1)
_MICROSECOND = dt.timedelta(microseconds=1)
_HALF = re.compile("[\ud800-\udfff]")


def main(setting: dict[str, Any]) -> None:
    """Locks itself in, reads the script, and then transforms what comes."""
    for path in reversed(setting["paths"]):
        sys.path.insert(0, path)
    if setting["wall"] == "namespaces":
        import walls  # pyright: ignore[reportMissingImports]  here it stands alone

        walls.enclose(setting["readable"])
    from scripting.script import ScriptError, compiled  # pyright: ignore[reportMissingImports]  here it stands alone

    _preload()
    if setting["wall"] != "none":
        import locks  # pyright: ignore[reportMissingImports]  here it stands alone

        locks.die_with_parent()
        locks.lock(
            memory_bytes=setting["memory_bytes"],
            readable=setting["readable"],
            landlock=setting["wall"] == "landlock" or setting["landlock"],
        )
    progress = mmap.mmap(setting["progress"], 16)
    # That one, and the one that the map keeps: whoever has it could make the memory shorter under the host's hands.
    os.closerange(3, 256)
    source = open(0, "rb", buffering=0, closefd=False)  # noqa: SIM115  a descriptor
    target = open(1, "wb", buffering=0, closefd=False)  # noqa: SIM115  a descriptor
    sys.stdout = sys.stderr = Nowhere()
    head, _ = _read(source)
    try:
        script = compiled(head["source"], free=head["free"])
    except ScriptError as wrong:
        _write(target, {"error": {"message": wrong.message, "line": wrong.line, "hint": wrong.hint}}, [])
        return
    wanted = sorted(script.event_types) if script.event_types is not None else None
    _write(target, {"form": _FORM, "event_types": wanted}, [])
    work = Work(script, memoryview(progress).cast("q"))
    # What is there now stays; what a slice leaves behind seldom has circles.
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)
    while True:
        head, sections = _read(source)
        answer = work.transformed(head, sections)
        _write(target, answer, [])
        script.printed.clear()


class Nowhere(io.TextIOBase):
    """What is written here is gone: descriptor 1 belongs to the frames."""

    def write(self, text: str, /) -> int:
        return len(text)


def _preload() -> None:
    """What most scripts need, and what takes more than reading files to import, is there before the doors close."""
    import calendar
    import collections
    import hashlib
    import html
    import random
    import zoneinfo

    del calendar, collections, hashlib, html, random
    # Slim machines have no time zones; scripts that ask for one are told.
    with contextlib.suppress(zoneinfo.ZoneInfoNotFoundError):
        zoneinfo.ZoneInfo("Europe/Berlin")


def _read(source: BinaryIO) -> tuple[Any, list[bytes]]:
    length = int.from_bytes(_exactly(source, 8), "little")
    body = memoryview(_exactly(source, length))
    size = int.from_bytes(body[:4], "little")
    head = json.loads(bytes(body[4 : 4 + size]))
    sections: list[bytes] = []
    at = 4 + size
    for part in head.get("sections", ()):
        sections.append(bytes(body[at : at + part]))
        at += part
    return head, sections


def _exactly(source: BinaryIO, length: int) -> bytes:
    parts: list[bytes] = []
    while length:
        part = source.read(min(length, 1 << 20))
        if not part:
            os._exit(0)
        parts.append(part)
        length -= len(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def _write(target: BinaryIO, head: dict[str, Any], sections: list[bytes]) -> None:
    del sections
    text = json.dumps(head, separators=(",", ":"), ensure_ascii=True).encode()
    view = memoryview(len(text).to_bytes(8, "little") + text)
    while view:
        view = view[target.write(view) :]


class Work:
    """Events from columns, through the script, into groups of alike answers."""

    def __init__(self, script: Any, progress: memoryview) -> None:
        from scripting.event import Event  # pyright: ignore[reportMissingImports]  here it stands alone
        from scripting.properties import Properties, decoded  # pyright: ignore[reportMissingImports]  here it stands alone
        from scripting.script import TransformFailed  # pyright: ignore[reportMissingImports]  here it stands alone
        from scripting.utils import encoded  # pyright: ignore[reportMissingImports]  here it stands alone

        self._script = script
        self._progress = progress
        self._event, self._properties, self._failed = Event, Properties, TransformFailed
        self._decoded, self._json = decoded, encoded
        self._hidden: frozenset[str] = frozenset()
        self._texts: dict[str, Any] = {}
        """The text of each row, of every column of JSON."""

    def transformed(self, head: dict[str, Any], sections: list[bytes]) -> dict[str, Any]:
        """The answer to one slice of a batch."""
        name, keys, modified = head["stream"], head["keys"], None
        self._hidden = frozenset(head["hidden"])
        rows = self._rows(head, sections)
        if head["modified"] is not None:
            values = _column(head["modified"], iter(sections[head["modified"]["section"] :]))
            modified = dict(zip(head["modified"]["rows"] or range(head["count"]), values, strict=True))
        plain: list[int] = []
        groups: dict[Any, _Group] = {}
        failed: list[tuple[int, str, str]] = []
        dropped = 0
        received, script, progress = self._event.received, self._script, self._progress
        for number, properties in enumerate(rows):
            progress[0] = number + 1
            event = received(
                name,
                properties,
                primary_keys=keys,
                source_modified_at=modified.get(number) if modified else None,
                number=number,
            )
            try:
                events = script.events(event)
            except self._failed as failure:
                text = f"{failure.message}\n{failure.trace}".strip() if head["traced"] else failure.message
                failed.append((number, failure.code, text[:4000]))
                continue
            except RecursionError:
                failed.append((number, "TRANSFORM_ERROR", "RecursionError: the answer nests too deep"))
                continue
            if not events:
                dropped += 1
                continue
            same = len(events) == 1 and events[0] is event and _same(event, name)
            if same and event.getProperties() is properties and properties.touched is None:
                plain.append(number)
                continue
            try:
                if not self._gather(groups, event, events, number, same=same):
                    plain.append(number)
            except (ValueError, TypeError, RecursionError, MemoryError, OverflowError) as wrong:
                code = "TRANSFORM_LIMIT" if isinstance(wrong, MemoryError) else "TRANSFORM_RESULT"
                failed.append((number, code, f"{self._place(events, wrong)}{type(wrong).__name__}: {wrong}"[:4000]))
        progress[0] = 0
        return {
            "plain": plain,
            "groups": [group.told() for group in groups.values()],
            "failed": failed,
            "dropped": dropped,
            "printed": script.printed,
        }

    def _rows(self, head: dict[str, Any], sections: list[bytes]) -> list[Any]:
        """The properties of each row; a field without a value is not there."""
        lazy = frozenset(column["name"] for column in head["columns"] if column["kind"] in ("json", "jsons"))
        kind = type("Properties", (self._properties,), {"lazy": lazy})
        left = iter(sections)
        columns = [(column, _column(column, left)) for column in head["columns"]]
        self._texts = {
            column["name"]: values if column["rows"] is None else dict(zip(column["rows"], values, strict=True))
            for column, values in columns
            if column["name"] in lazy
        }
        whole = [(column["name"], values) for column, values in columns if column["rows"] is None]
        if whole:
            names = [name for name, _ in whole]
            rows = [kind(zip(names, row)) for row in zip(*[values for _, values in whole])]  # noqa: B905  all are of one length
        else:
            rows = [kind() for _ in range(head["count"])]
        put: Any = dict.__setitem__
        for column, values in columns:
            if column["rows"] is not None:
                name = column["name"]
                for number, value in zip(column["rows"], values):  # noqa: B905  as above
                    put(rows[number], name, value)
        return rows

    def _gather(self, groups: dict[Any, _Group], given: Any, events: list[Any], number: int, *, same: bool) -> bool:
        """The answers of one event are in the groups; or none of them is, when one cannot go on its way.

        ``same``: it is the given event alone, under its name. Then False says that nothing of it was changed.
        """
        ready: list[tuple[Any, dict[str, Any], list[str], int]] = []
        for place, event in enumerate(events):
            properties = event.getProperties()
            fields: dict[str, Any] = {}
            gone: list[str] = []
            # An event that was given earlier is a new one here: it has nothing of the row of the present one.
            made = event.made or event is not given
            if made:
                fields = {key: _encoded(value, self._json) for key, value in properties.items() if value is not None}
            else:
                read: Any = dict.get
                for key in properties.touched or ():
                    value = read(properties, key)
                    if key in self._texts and key in properties and self._as_before(key, value, number):
                        continue
                    if value is None:
                        gone.append(key)
                    else:
                        fields[key] = _encoded(value, self._json)
            if same and not fields and not gone:
                return False
            for key in (*fields, *gone):
                if key in self._hidden:
                    raise ValueError(f"the field {key} is Millrace's own and cannot be set or removed")
                if not key.isascii():
                    key.encode()
            name = event.getEventName()
            if not name.isascii():
                name.encode()
            chosen = tuple(event.getPrimaryKeys()) if event.keys_set else None
            ready.append(((name, made, chosen), fields, gone, place))
        for key, fields, gone, place in ready:
            group = groups.get(key)
            if group is None:
                group = groups[key] = _Group(*key)
            group.add(number, place, fields, gone)
        return True

    def _place(self, events: list[Any], wrong: Exception) -> str:
        """The field whose value goes wrong in that way, for the message."""
        for event in events:
            for key, value in dict.items(event.getProperties()):
                try:
                    _encoded(value, self._json)
                except Exception as again:
                    if type(again) is type(wrong):
                        return f"the field {key}: "[:200]
        return ""

    def _as_before(self, key: str, value: Any, number: int) -> bool:
        """The value of a field of JSON, which was handed out and may have been changed in place, says what it said."""
        texts = self._texts[key]
        text = texts.get(number) if isinstance(texts, dict) else texts[number]
        if text is None:
            return False
        now = self._json(value)
        return now == text or now == self._json(self._decoded(text))


def _same(event: Any, name: str) -> bool:
    return event.getEventName() == name and not event.keys_set


class _Group:
    """Answers of the same event type. Of each field: places in the group where it is set, and the values."""

    def __init__(self, name: str, made: bool, keys: tuple[str, ...] | None) -> None:
        self._head = {"name": name, "made": made, "keys": keys}
        self._rows: list[int] = []
        self._places: list[int] = []
        self._fields: dict[str, tuple[list[int], list[Any]]] = {}
        self._removed: dict[str, list[int]] = {}

    def add(self, row: int, place: int, fields: dict[str, Any], gone: list[str]) -> None:
        at = len(self._rows)
        self._rows.append(row)
        self._places.append(place)
        for name, value in fields.items():
            found = self._fields.get(name)
            if found is None:
                found = self._fields[name] = ([], [])
            found[0].append(at)
            found[1].append(value)
        for name in gone:
            self._removed.setdefault(name, []).append(at)

    def told(self) -> dict[str, Any]:
        count = len(self._rows)
        return self._head | {
            "rows": self._rows,
            "places": self._places if any(self._places) else None,
            "fields": {
                name: {"at": None if len(at) == count else at} | _alike(values)
                for name, (at, values) in self._fields.items()
            },
            "removed": {name: None if len(at) == count else at for name, at in self._removed.items()},
        }


def _alike(values: list[Any]) -> dict[str, Any]:
    """Values that all have the same mark, with the mark once."""
    first = values[0]
    if type(first) is list and all(type(value) is list and value[0] == first[0] for value in values):
        return {"kind": first[0], "values": [value[1] for value in values]}
    return {"kind": None, "values": values}


def _column(column: dict[str, Any], sections: Any) -> list[Any]:
    """Python values of a column."""
    kind = column["kind"]
    data = next(sections)
    match kind:
        case "text" | "json":
            return data.decode("utf-8", "surrogatepass").split(column["separator"]) if column["count"] else []
        case "texts" | "jsons":
            return json.loads(data)
        case "long":
            return array("q", data).tolist()
        case "double":
            return array("d", data).tolist()
        case "boolean":
            return list(map(bool, data))
        case "decimal":
            return [Decimal(text) for text in data.decode().split(",")] if column["count"] else []
        case "date":
            return [_DAY + dt.timedelta(days=days) for days in array("q", data)]
        case "time":
            return [(_EPOCH + dt.timedelta(microseconds=micros)).time() for micros in array("q", data)]
        case "timestamp":
            return [_EPOCH + dt.timedelta(microseconds=micros) for micros in array("q", data)]
        case "timestamptz":
            return [_EPOCH_UTC + dt.timedelta(microseconds=micros) for micros in array("q", data)]
        case _:
            return [base64.b64decode(text) for text in json.loads(data)]


def _encoded(value: Any, json_text: Any) -> Any:
    """A value as JSON can say it: what JSON has as it is, the rest as a pair of a mark and text."""
    kind = type(value)
    if kind is str:
        if not value.isascii():
            value.encode()
        return value
    if kind is bool:
        return value
    if kind is int:
        return value if -(1 << 63) <= value < 1 << 63 else ["integer", str(value)]
    if kind is float:
        return value if value - value == 0 else ["double", repr(value)]
    if isinstance(value, (dict, list, tuple)):
        text = json_text(value)
        # Half a surrogate pair is no text, but JSON can say it as an escape.
        return ["json", text if text.isascii() else _HALF.sub(lambda one: f"\\u{ord(one[0]):04x}", text)]
    if isinstance(value, str):
        return _encoded(str.__str__(value), json_text)
    if isinstance(value, int):
        return _encoded(int.__pos__(value), json_text)
    if isinstance(value, float):
        return _encoded(float.__pos__(value), json_text)
    if isinstance(value, Decimal):
        return ["decimal", str(value)]
    if isinstance(value, dt.datetime):
        if value.utcoffset() is None:
            return ["timestamp", (value.replace(tzinfo=None) - _EPOCH) // _MICROSECOND]
        return ["timestamptz", (value - _EPOCH_UTC) // _MICROSECOND]
    if isinstance(value, dt.date):
        return ["date", value.toordinal() - _DAY.toordinal()]
    if isinstance(value, dt.time):
        if value.tzinfo is not None:
            return ["timetz", value.isoformat()]
        return ["time", ((value.hour * 60 + value.minute) * 60 + value.second) * 1_000_000 + value.microsecond]
    if isinstance(value, (bytes, bytearray)):
        return ["bytes", base64.b64encode(value).decode()]
    if isinstance(value, uuid.UUID):
        return ["uuid", str(value)]
    raise TypeError(f"a value of type {kind.__name__} cannot be in an event")


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
