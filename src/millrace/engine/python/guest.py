"""The process in which a user's script runs. Started by `host`, behind a wall; knows the standard library alone.

It reads frames from descriptor 0 and writes frames to descriptor 1: eight bytes of length, then a JSON head with the
lengths of the sections behind it. `frames` is the other side of the same.
"""

from __future__ import annotations

import base64
import datetime as dt
import io
import json
import mmap
import os
import sys
from array import array
from decimal import Decimal
from typing import Any, BinaryIO

_UTC = dt.timezone.utc  # noqa: UP017  `datetime.UTC` and this are one; this name is older
_EPOCH = dt.datetime(1970, 1, 1)
_EPOCH_UTC = dt.datetime(1970, 1, 1, tzinfo=_UTC)
_DAY = dt.date(1970, 1, 1)
_MICROSECOND = dt.timedelta(microseconds=1)


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
    _write(target, {"event_types": wanted}, [])
    work = Work(script, memoryview(progress).cast("q"))
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
    import re
    import uuid
    import zoneinfo

    del calendar, collections, hashlib, html, random, re, uuid
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
        from scripting.properties import Properties  # pyright: ignore[reportMissingImports]  here it stands alone
        from scripting.script import TransformFailed  # pyright: ignore[reportMissingImports]  here it stands alone

        self._script = script
        self._progress = progress
        self._event, self._properties, self._failed = Event, Properties, TransformFailed

    def transformed(self, head: dict[str, Any], sections: list[bytes]) -> dict[str, Any]:
        """The answer to one slice of a batch."""
        name, keys, modified = head["stream"], head["keys"], None
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
                events = script(event).events
            except self._failed as failure:
                text = f"{failure.message}\n{failure.trace}".strip() if head["traced"] else failure.message
                failed.append((number, failure.code, text[:4000]))
                continue
            except RecursionError:
                failed.append((number, "TRANSFORM_ERROR", "RecursionError: the answer nests too deep"))
                continue
            if not events:
                dropped += 1
            elif len(events) == 1 and events[0] is event and properties.touched is None and _same(event, name):
                plain.append(number)
            else:
                try:
                    self._gather(groups, events, number)
                except (ValueError, TypeError, RecursionError, MemoryError) as wrong:
                    failed.append((number, "TRANSFORM_RESULT", f"{type(wrong).__name__}: {wrong}"))
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

    def _gather(self, groups: dict[Any, _Group], events: list[Any], number: int) -> None:
        """The answers of one event are in the groups; or none of them is, when one cannot go on its way."""
        ready: list[tuple[Any, dict[str, Any], int]] = []
        for place, event in enumerate(events):
            properties = event.getProperties()
            if event.made:
                fields = {key: value for key, value in properties.items() if value is not None}
                removed: tuple[str, ...] = ()
            else:
                touched = properties.touched or ()
                fields = {key: properties[key] for key in touched if key in properties}
                removed = tuple(sorted(key for key in touched if key not in fields or fields[key] is None))
                fields = {key: value for key, value in fields.items() if value is not None}
            chosen = tuple(event.getPrimaryKeys()) if event.keys_set else None
            key = (event.getEventName(), event.made, chosen, tuple(sorted(fields)), removed)
            ready.append((key, {name: _encoded(value) for name, value in fields.items()}, place))
        for key, fields, place in ready:
            group = groups.get(key)
            if group is None:
                group = groups[key] = _Group(*key)
            group.add(number, place, fields)


def _same(event: Any, name: str) -> bool:
    return event.getEventName() == name and not event.keys_set


class _Group:
    """Answers of the same event type, with the same fields changed."""

    def __init__(
        self, name: str, made: bool, keys: tuple[str, ...] | None, fields: tuple[str, ...], removed: tuple[str, ...]
    ) -> None:
        self._head = {"name": name, "made": made, "keys": keys, "removed": removed}
        self._rows: list[int] = []
        self._places: list[int] = []
        self._fields: dict[str, list[Any]] = {field: [] for field in fields}

    def add(self, row: int, place: int, fields: dict[str, Any]) -> None:
        self._rows.append(row)
        self._places.append(place)
        for name, values in self._fields.items():
            values.append(fields[name])

    def told(self) -> dict[str, Any]:
        return self._head | {"rows": self._rows, "places": self._places, "fields": self._fields}


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


def _encoded(value: Any) -> Any:
    """A value as JSON can say it: what JSON has as it is, the rest as a pair of a mark and text."""
    kind = type(value)
    if kind is str or kind is bool:
        return value
    if kind is int:
        return value if -(1 << 63) <= value < 1 << 63 else ["integer", str(value)]
    if kind is float:
        return value if value - value == 0 else ["double", repr(value)]
    if isinstance(value, (dict, list, tuple)):
        return ["json", _json(value)]
    if isinstance(value, bool):
        return bool(value)
    if isinstance(value, str):
        return str(value)
    if isinstance(value, int):
        return _encoded(int(value))
    if isinstance(value, float):
        return _encoded(float(value))
    if isinstance(value, Decimal):
        return ["decimal", str(value)]
    if isinstance(value, dt.datetime):
        if value.tzinfo is None:
            return ["timestamp", (value - _EPOCH) // _MICROSECOND]
        return ["timestamptz", (value - _EPOCH_UTC) // _MICROSECOND]
    if isinstance(value, dt.date):
        return ["date", value.toordinal() - _DAY.toordinal()]
    if isinstance(value, dt.time):
        if value.tzinfo is not None:
            return ["text", value.isoformat()]
        return ["time", ((value.hour * 60 + value.minute) * 60 + value.second) * 1_000_000 + value.microsecond]
    if isinstance(value, (bytes, bytearray)):
        return ["bytes", base64.b64encode(value).decode()]
    raise TypeError(f"a value of type {kind.__name__} cannot be in an event")


_MARK = "\x00number\x00"


def _json(value: Any) -> str:
    """Compact JSON text; decimals are numbers with all their digits."""
    marked = False

    def plain(item: Any) -> Any:
        nonlocal marked
        if isinstance(item, Decimal) and item.is_finite():
            marked = True
            return f"{_MARK}{item}{_MARK}"
        if isinstance(item, (dt.datetime, dt.date, dt.time)):
            return item.isoformat()
        if isinstance(item, (bytes, bytearray)):
            return base64.b64encode(item).decode()
        raise TypeError(f"a value of type {type(item).__name__} cannot be in JSON")

    text = json.dumps(value, default=plain, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    if marked:
        mark = json.dumps(_MARK)[1:-1]
        text = text.replace(f'"{mark}', "").replace(f'{mark}"', "")
    return text


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
