"""Changes of a deployment as one pipeline follows them: change streams, one for each database that is read.

A stream is gone on with behind a resume token. Nothing is kept for a reader at the server but the oplog that it keeps
for its own members, and it may be cut at any time.
Source: https://www.mongodb.com/docs/manual/changeStreams/
"""

from __future__ import annotations

import re
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import field
from datetime import UTC, datetime
from typing import Any

from bson import json_util
from bson.errors import InvalidId
from bson.raw_bson import RawBSONDocument
from bson.timestamp import Timestamp
from pymongo.change_stream import ChangeStream

from millrace.connect.log import Following, no_such_place
from millrace.connect.log import Log as AnyLog
from millrace.connect.source import Context, Retention
from millrace.data.batch import JSON, Checkpoint, Item, Truncated
from millrace.data.dataclass import dataclass
from millrace.errors import MillraceError
from millrace.sources.mongodb.catalog import Collection, Object, objects
from millrace.sources.mongodb.changes import Changes
from millrace.sources.mongodb.client import Server
from millrace.sources.mongodb.documents import Rows

# Documents, or bytes of them, that are brought into Arrow together, and the time after which fewer are.
ROWS = 10_000
_BYTES = 32 << 20
CHECKPOINT_S = 2.0
# A run follows for so long at most; the next one goes on.
FOLLOW_S = 900.0
# A stream is at its end when it is silent for so long, and its place does not move either.
SILENT_S = 30.0
# How long the server waits for changes before it says that there are none.
_WAIT_MS = 200
# The stream of a whole deployment goes by this name, which no database has.
_ALL = ""
# Times before this are no times of a change.
_EARLIEST = 1_000_000_000

_DATA = re.compile("82[0-9A-Fa-f]{16,8000}")

_Token = Mapping[str, Any]


class Log(AnyLog):
    """The change streams of one deployment."""

    def __init__(self, server: Server, context: Context) -> None:
        self.server, self.context = server, context
        self._at: Timestamp | None = None
        self._images = False

    def follow(self, following: Following) -> Iterator[Item]:
        if following.cursor is None:
            yield Checkpoint(self._begin([*following.streams]))
            return
        found = objects(self.server)
        # One that was dropped is in the log still, and there may be one of its name again.
        known = {name: found.get(name) or self._gone(name) for name in following.streams}
        self._images = any(one.keeps_images for object_ in known.values() for one in object_.collections)
        left = {*following.cursor["names"]} - following.streams.keys() - found.keys()
        read = _Read(self, following, known, left)
        try:
            yield from read.changes()
        finally:
            self._at = read.time

    def confirm(self, cursor: JSON) -> None:
        """Nothing is kept at the server for this reader."""

    def forget(self) -> None:
        """Nothing is kept at the server for this reader."""

    def moved(self, wanted: str, known: Sequence[JSON]) -> JSON:
        """``wanted`` is a resume token, as JSON or its data alone, or a time of the cluster. The server is asked
        whether it goes on from there."""
        names = known[0]["names"]
        token, time = _said(wanted)
        if token is not None and len(self.scopes) > 1:
            raise no_such_place(wanted, "each of several databases has tokens of its own", "Give a time.")
        now = self.server.now()
        if time is not None and now is not None and time > now:
            raise no_such_place(wanted, "it is still to come")
        for scope in self.scopes:
            at: dict[str, Any] = {"start_at_operation_time": time} if token is None else {"start_after": token}
            try:
                with self.server.asked(), self.opened(scope, (), **at) as stream:
                    stream.try_next()
            except MillraceError as refused:
                if refused.code == "log_expired":
                    raise no_such_place(wanted, "the oplog does not reach back so far") from refused
                if refused.code == "mongodb_refused":
                    raise no_such_place(wanted, refused.message, refused.hint) from refused
                raise
        tokens: dict[str, JSON] = {} if token is None else {self.scopes[0]: dict(token)}
        return position(tokens, time or token_time(token), names)

    def reaches(self, cursor: JSON, read: JSON) -> bool:
        """Of one time there may be several changes, and a place between them."""
        if cursor["tokens"] and cursor["tokens"] == read["tokens"]:
            return True
        return bool(cursor["time"] and read["time"] and cursor["time"] > read["time"])

    def retention(self) -> Retention | None:
        """How far the oplog reaches back, where the user may read it."""
        if self._at is None:
            return None
        now = self.context.clock.now()
        behind = max((now - self._at.as_datetime()).total_seconds(), 0.0)
        with suppress(MillraceError), self.server.asked() as client:
            oplog = client["local"]["oplog.rs"]
            first = oplog.find_one(sort=[("$natural", 1)], projection={"ts": 1})
            about = client["local"].command("collStats", "oplog.rs")
            if first is not None and about.get("size") and about.get("maxSize"):
                held = (now - first["ts"].as_datetime()).total_seconds()
                # One that is not full yet will hold more.
                room = max(about["maxSize"] / about["size"], 1.0)
                return Retention(kept_s=held * room, behind_s=behind)
        return Retention(behind_s=behind)

    def opened(self, scope: str, names: Sequence[str], **at: Any) -> ChangeStream[Any]:
        """The stream of a database, with changes of collections of these names alone."""
        client, images = self.server.client, self._images
        wanted = {
            "$or": [
                {"ns.coll": {"$in": [*names]}},
                {"to.coll": {"$in": [*names]}},
                {"operationType": {"$in": ["dropDatabase", "invalidate"]}},
            ]
        }
        options: dict[str, Any] = {
            "full_document": "whenAvailable" if images else "updateLookup",
            "full_document_before_change": "whenAvailable" if images else None,
            "max_await_time_ms": _WAIT_MS,
        }
        watched: Any = client if scope == _ALL else client[scope]
        return watched.watch([{"$match": wanted}], **options, **at)

    def rows(self, name: str) -> Rows:
        config = self.server.config
        return Rows(name, config.special_values, config.plain_ids, self.context.clock.now)

    @property
    def scopes(self) -> list[str]:
        """Databases that are watched one by one, or the whole deployment."""
        return sorted({*self.server.config.db_names}) or [_ALL]

    def _begin(self, names: Sequence[str]) -> JSON:
        """Behind the last change that is committed for good: all that a history does not see comes after it."""
        now, tokens = self.server.now(), dict[str, JSON]()
        for scope in self.scopes:
            with self.server.asked(), self.opened(scope, ()) as stream:
                token = stream.resume_token
                if token is not None:
                    tokens[scope] = dict(token)
        return position(tokens, now, names)

    def _gone(self, name: str) -> Object:
        """An object that is not there any more."""
        config = self.server.config
        if config.merge_collections:
            return Object(name, tuple(Collection(one, name) for one in config.db_names), merged=True)
        database, _, collection = name.partition(".")
        return Object(name, (Collection(database, collection),))


def position(tokens: Mapping[str, JSON], time: Timestamp | None, names: Iterable[str] = ()) -> JSON:
    """Where the reading of the log is: behind a token of each stream, and at which time about. ``names``: the objects
    that were followed up to there."""
    at = [time.time, time.inc] if time is not None else None
    return {"v": 1, "tokens": dict(tokens), "time": at, "names": sorted(names)}


def _said(wanted: str) -> tuple[_Token | None, Timestamp | None]:
    """The token, or the time, that a person says."""
    if _DATA.fullmatch(wanted):
        return {"_data": wanted}, None
    with suppress(ValueError):
        moment = datetime.fromisoformat(wanted)
        at = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
        if 0 < at.timestamp() < 1 << 32:
            return None, Timestamp(int(at.timestamp()), 1)
    with suppress(ValueError, InvalidId, TypeError):
        token = json_util.loads(wanted)
        if isinstance(token, dict) and token:
            return token, None
    raise no_such_place(wanted, "it is neither a resume token nor a time", "Write a time like 2026-03-10T08:00:00Z.")


def time_of(cursor: JSON) -> Timestamp | None:
    return Timestamp(*cursor["time"]) if cursor and cursor.get("time") else None


def token_time(token: _Token | None) -> Timestamp | None:
    """The time in a token; None for one that does not say it as MongoDB's do.

    Source: https://github.com/mongodb/mongo/blob/master/src/mongo/db/pipeline/resume_token.h (a KeyString, whose first
    value is a timestamp).
    """
    text = str(token.get("_data", "")) if token is not None else ""
    if len(text) < 18 or not text.startswith("82"):
        return None
    try:
        found = Timestamp(int(text[2:10], 16), int(text[10:18], 16))
    except ValueError:
        return None
    return found if found.time > _EARLIEST else None


@dataclass
class _Read:
    """One read of the streams."""

    log: Log
    following: Following
    known: Mapping[str, Object]
    left: set[str]
    """Objects that were followed, and that are not there any more: their end is still to be read."""
    tokens: dict[str, JSON] = field(init=False)
    time: Timestamp | None = field(init=False)
    taking: dict[str, Changes] = field(default_factory=dict[str, Changes])
    count: int = 0
    size_bytes: int = 0

    def __post_init__(self) -> None:
        self.tokens = dict(self.following.cursor["tokens"])
        self.time = time_of(self.following.cursor)
        followed = self.following.streams
        for name, object_ in self.known.items():
            if name in followed:
                self.taking[name] = Changes(followed[name], object_, self.log.server, self.log.rows(name))

    def changes(self) -> Iterator[Item]:
        """Changes of all streams up to where they ended when this began."""
        target, context = self.log.server.now(), self.log.context
        until = context.clock.monotonic() + FOLLOW_S
        names = self.left | self.taking.keys()
        if not self.log.server.config.merge_collections:
            names = {name.partition(".")[2] for name in names}
        whole = True
        for scope in self.log.scopes:
            ended = yield from self._scope(scope, sorted(names), target, until)
            whole = whole and ended
        if whole and target is not None and (self.time is None or self.time < target):
            self.time = target
        yield from self._checkpoint()
        for one in self.taking.values():
            one.say(context)

    def _scope(
        self, scope: str, names: Sequence[str], target: Timestamp | None, until: float
    ) -> Generator[Item, None, bool]:
        """One stream up to the target; False where it was left before."""
        at: dict[str, Any] = {"start_at_operation_time": self.time}
        if scope in self.tokens:
            at = {"start_after": self.tokens[scope]}
        ended = True
        while at:
            with self.log.server.asked():
                stream = self.log.opened(scope, names, **at)
            try:
                at, ended = yield from self._stream(stream, scope, target, until)
            finally:
                stream.close()
        return ended

    def _stream(
        self, stream: ChangeStream[RawBSONDocument], scope: str, target: Timestamp | None, until: float
    ) -> Generator[Item, None, tuple[dict[str, Any], bool]]:
        """The stream up to the target, or to a change that ends it: then from where another one goes on."""
        context = self.log.context
        told = moved = context.clock.monotonic()
        looked: Timestamp | None = None
        while True:
            with self.log.server.asked():
                event = stream.try_next()
                token = stream.resume_token
            if token is not None:
                self.tokens[scope] = dict(token)
            reached = token_time(token)
            if event is not None:
                # The event of a batch that is not its last one has its own time, and the token that too.
                self.time = reached = event["clusterTime"]
                if event["operationType"] == "invalidate":
                    # What follows is in another stream, which begins behind this event.
                    self.tokens[scope] = dict(event["_id"])
                    yield from self._checkpoint()
                    return {"start_after": self.tokens[scope]}, True
                yield from self._event(event)
            now = context.clock.monotonic()
            if event is not None or reached != looked:
                looked, moved = reached, now
            # A server that does not say how far it looked, or not in words that are known, has no more when it is
            # silent.
            silent = event is None and (reached is None or now - moved > SILENT_S)
            if silent or (target is not None and reached is not None and reached >= target):
                return {}, True
            if context.stopping.is_set() or now > until:
                return {}, False
            if self.count >= ROWS or self.size_bytes >= _BYTES or now - told > CHECKPOINT_S:
                yield from self._checkpoint()
                told = now

    def _event(self, event: Mapping[str, Any]) -> Iterator[Item]:
        kind, place = event["operationType"], _place(event.get("ns"))
        self.count += 1
        one = self._of(place)
        if kind in ("insert", "update", "replace", "delete"):
            if one is not None:
                self.size_bytes += one.add(kind, event)
        elif kind in ("drop", "rename"):
            if one is not None and place is not None:
                yield from one.emptied(event["clusterTime"], place)
            elif place is not None and (name := self._name(place)) in self.left:
                self.left.remove(name)
                yield Truncated(name)
            to = _place(event.get("to"))
            if to is not None and (other := self._of(to)) is not None:
                # Nobody tells of its documents one by one.
                yield from other.replaced(event["clusterTime"], to)

    def _of(self, place: tuple[str, str] | None) -> Changes | None:
        return self.taking.get(self._name(place)) if place is not None else None

    def _name(self, place: tuple[str, str]) -> str:
        # One of a database that has no such collection any more is of the same stream.
        return place[1] if self.log.server.config.merge_collections else f"{place[0]}.{place[1]}"

    def _checkpoint(self) -> Iterator[Item]:
        for one in self.taking.values():
            yield from one.taken()
        self.count = self.size_bytes = 0
        yield Checkpoint(position(self.tokens, self.time, self.left | self.taking.keys()))


def _place(said: Mapping[str, Any] | None) -> tuple[str, str] | None:
    return (said["db"], said["coll"]) if said is not None and "coll" in said else None
