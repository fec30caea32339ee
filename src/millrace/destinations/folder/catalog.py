"""What a folder knows of its tables: small objects under `_millrace/`, each made once and never changed.

`tables/<table>/<version>.json` says which columns a table has and under which id its notes lie; the highest version
counts. `data/<id>/<feed>/<after>.json` is the note of one load: up to which segment, and in which files. An object is
made only if there is none of its key, so of two workers only one can go on from the same place (I4), and files that no
note names are not part of a table (I3).
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from dataclasses import asdict, field, replace

from millrace.connect.files.layout import safe
from millrace.connect.files.store import Store
from millrace.data.dataclass import dataclass

ROOT = "_millrace"
_FORGOTTEN = "-forgotten"


@dataclass(frozen=True, slots=True)
class State:
    """A table at one version. ``id`` None: there is none any more. ``old``: ids whose files are to be deleted."""

    name: str
    version: int = 0
    id: str | None = None
    columns: dict[str, str] = field(default_factory=dict[str, str])
    old: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class LoadNote:
    """One load: its segments ``after``+1 … ``upto``, its files, and the columns in them (name to logical type)."""

    feed: str
    after: int
    upto: int
    at_ms: int
    rows: int
    files: tuple[str, ...]
    columns: dict[str, str]
    attempt: str
    marker: str = ""
    """The key of the object that says beside the files that all of them are there; without files there is none."""
    staged_file: str | None = None
    """Of the segment ``upto`` (`millrace.connect.destination.Held`)."""


@dataclass(frozen=True, slots=True)
class Catalog:
    store: Store

    def names(self) -> list[str]:
        """All tables that there are."""
        keys = {key.split("/")[2]: key for key in self.store.keys(f"{ROOT}/tables/")}
        states = [_state(self.store.read(key)) for key in keys.values()]
        return sorted(state.name for state in states if state and state.id)

    def state(self, table: str) -> State:
        """The table as it is now."""
        keys = self.store.keys(f"{ROOT}/tables/{_part(table)}/")
        return (_state(self.store.read(keys[-1])) if keys else None) or State(table)

    def change(self, state: State) -> bool:
        """The next version of the table is there; False when somebody else was faster."""
        following = replace(state, version=state.version + 1)
        key = f"{ROOT}/tables/{_part(state.name)}/{following.version:08}.json"
        return self.store.create(key, json.dumps(asdict(following)).encode())

    def notes(self, id_: str) -> Iterator[LoadNote]:
        """Every load of a table, of all feeds; one that was forgotten may come twice."""
        for key in self.store.keys(f"{ROOT}/data/{id_}/notes/"):
            if content := self.store.read(key):
                yield _note(content)

    def last(self, id_: str, feed: str) -> LoadNote | None:
        """The latest load of a feed."""
        keys = self.store.keys(f"{ROOT}/data/{id_}/notes/{_part(feed)}/")
        content = self.store.read(keys[-1]) if keys else None
        return _note(content) if content else None

    def note(self, id_: str, note: LoadNote) -> bool:
        """The load counts; False when another one went on from the same segment."""
        key = f"{ROOT}/data/{id_}/notes/{_part(note.feed)}/{note.after:012}.json"
        return self.store.create(key, json.dumps(asdict(note)).encode())

    def mark(self, note: LoadNote) -> None:
        """Who only sees the files sees that the load is whole."""
        if note.marker:
            told = {"rows": note.rows, "files": [file.rpartition("/")[2] for file in note.files]}
            self.store.create(note.marker, json.dumps(told).encode())

    def forget(self, id_: str, feed: str) -> None:
        """The rows stay; what feed they came from is no longer known."""
        for key in self.store.keys(f"{ROOT}/data/{id_}/notes/{_part(feed)}/"):
            if content := self.store.read(key):
                self.store.create(f"{ROOT}/data/{id_}/notes/{_FORGOTTEN}/{_note(content).attempt}.json", content)
                self.store.delete([key])

    def intend(self, id_: str, feed: str, after: int, attempt: str, stem: str) -> None:
        """Before the first file of a load is written: how its files will be called."""
        content = json.dumps({"after": after, "attempt": attempt, "stem": stem}).encode()
        self.store.create(f"{ROOT}/data/{id_}/intents/{_part(feed)}/{attempt}.json", content)

    def tidy(self, id_: str, feed: str, upto: int) -> None:
        """Files of loads that never came to be noted are gone, and those that were have their marker.

        Only those that began before segment ``upto``, which is held: they cannot be noted any more.
        """
        kept: dict[str, LoadNote] | None = None
        for key in self.store.keys(f"{ROOT}/data/{id_}/intents/{_part(feed)}/"):
            content = self.store.read(key)
            if content is None:
                continue
            intent = json.loads(content)
            if intent["after"] >= upto:
                continue
            kept = {note.attempt: note for note in self.notes(id_)} if kept is None else kept
            if note := kept.get(intent["attempt"]):
                self.mark(note)
            else:
                self.discard(intent["stem"])
            self.store.delete([key])

    def discard(self, stem: str) -> None:
        """No file whose key begins with the stem is there."""
        folder = stem.rpartition("/")[0]
        self.store.delete([key for key in self.store.keys(f"{folder}/") if key.startswith(stem)])

    def bury(self, table: str) -> None:
        """Files and notes of a table's former ids are gone."""
        state = self.state(table)
        for id_ in state.old:
            for note in self.notes(id_):
                self.store.delete([*note.files, *filter(None, (note.marker,))])
            for key in self.store.keys(f"{ROOT}/data/{id_}/intents/"):
                if content := self.store.read(key):
                    self.discard(json.loads(content)["stem"])
            self.store.delete(self.store.keys(f"{ROOT}/data/{id_}/"))
        if state.old:
            self.change(replace(state, old=()))


def fresh_id() -> str:
    return secrets.token_hex(8)


def _part(name: str) -> str:
    return safe(name)


def _state(content: bytes | None) -> State | None:
    if content is None:
        return None
    found = json.loads(content)
    return State(**(found | {"old": tuple(found["old"])}))


def _note(content: bytes) -> LoadNote:
    found = json.loads(content)
    return LoadNote(**(found | {"files": tuple(found["files"])}))
