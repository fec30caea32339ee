"""What a simulator was asked and what it answered, without any secret."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable
from dataclasses import replace

from millrace.data.dataclass import dataclass

# A shorter text hides nothing, and would blot out half of what is written.
SHORTEST_SECRET = 4


@dataclass(frozen=True, slots=True)
class Entry:
    """One request with its verdict. ``query`` is as it came over the wire, byte for byte."""

    number: int
    at: str
    method: str
    path: str
    query: str
    account: str
    api: str = ""
    step: str = ""
    event: str = ""
    page: int = 0
    body: str = ""
    status: int = 0
    verdict: str = ""
    faults: tuple[str, ...] = ()
    records: int = 0
    in_flight: int = 0
    ms: float = 0.0
    notes: tuple[str, ...] = ()


class Journal:
    """The last ``size`` entries, oldest first. Texts in ``secrets`` are blotted out of what is written."""

    def __init__(self, secrets: Iterable[str] = (), *, size: int = 100_000) -> None:
        self._secrets = tuple(s for s in secrets if len(s) >= SHORTEST_SECRET)
        self._entries: deque[Entry] = deque(maxlen=size)
        self._lock = threading.Lock()
        self._count = 0

    def next_number(self) -> int:
        with self._lock:
            self._count += 1
            return self._count

    def write(self, entry: Entry) -> None:
        clean = replace(
            entry,
            path=self._blot(entry.path),
            query=self._blot(entry.query),
            body=self._blot(entry.body),
            account=self._blot(entry.account),
            event=self._blot(entry.event),
        )
        with self._lock:
            self._entries.append(clean)

    def entries(self) -> list[Entry]:
        with self._lock:
            return sorted(self._entries, key=lambda e: e.number)

    def clear(self) -> None:
        with self._lock:
            self._entries.clear()

    def _blot(self, text: str) -> str:
        for secret in self._secrets:
            if secret in text:
                text = text.replace(secret, "***")
        return text
