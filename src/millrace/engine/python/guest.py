"""The process in which a user's script runs. Started by `host`, behind a wall; knows the standard library alone.

It reads frames from descriptor 0 and writes frames to descriptor 1: eight bytes of length, then a JSON head with the
lengths of the sections behind it. `frames` is the other side of the same.
"""

from __future__ import annotations

import contextlib
import gc
import io
import json
import mmap
import os
import sys
from collections.abc import Sequence
from typing import Any, BinaryIO

# As in `frames`: which form of frames this is.
_FORM = 5


def main(setting: dict[str, Any]) -> None:
    """Locks itself in, reads the script, and then transforms what comes."""
    for path in reversed(setting["paths"]):
        sys.path.insert(0, path)
    if setting["wall"] == "namespaces":
        import walls  # pyright: ignore[reportMissingImports]  here it stands alone

        walls.enclose(setting["readable"])
    import work  # pyright: ignore[reportMissingImports]  here it stands alone
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
        _write(target, {"error": {"message": wrong.message, "line": wrong.line, "hint": wrong.hint}})
        return
    wanted = sorted(script.event_types) if script.event_types is not None else None
    _write(target, {"form": _FORM, "event_types": wanted, "fields": None if script.by_hand else script.texts})

    def rest() -> tuple[Any, list[memoryview]]:
        _send(target, b"more")
        return _read(source)

    works = work.Work(script, memoryview(progress).cast("q"), rest)
    # What is there now stays; what a slice leaves behind seldom has circles.
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)
    while True:
        head, sections = _read(source)
        _write(target, *works.transformed(head, sections))
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


def _read(source: BinaryIO) -> tuple[Any, list[memoryview]]:
    body = _exactly(source, int.from_bytes(_exactly(source, 8), "little"))
    at = 4 + int.from_bytes(body[:4], "little")
    head = json.loads(bytes(body[4:at]))
    sections: list[memoryview] = []
    for size in head.get("sections", ()):
        sections.append(body[at : at + size])
        at += size
    return head, sections


def _exactly(source: BinaryIO, length: int) -> memoryview:
    whole = left = memoryview(bytearray(length))
    while left:
        count = source.readinto(left)  # pyright: ignore[reportAttributeAccessIssue]  a descriptor as it is has it
        if not count:
            os._exit(0)
        left = left[count:]
    return whole


def _write(target: BinaryIO, head: dict[str, Any], sections: Sequence[bytes] | None = None) -> None:
    """A greeting is its head alone; an answer has the length of its head in front, and sections behind it."""
    if sections is None:
        parts = [json.dumps(head).encode()]
    else:
        text = json.dumps(head | {"sections": [len(one) for one in sections]}, separators=(",", ":")).encode()
        parts = [len(text).to_bytes(4, "little"), text, *sections]
    _send(target, b"".join(parts))


def _send(target: BinaryIO, body: bytes) -> None:
    view = memoryview(len(body).to_bytes(8, "little") + body)
    while view:
        view = view[target.write(view) :]


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
