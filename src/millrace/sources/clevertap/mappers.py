"""Pages are read and mapped: by the native library as many at a time as come, by Python one by one what it leaves."""

from __future__ import annotations

import threading
from dataclasses import field
from zoneinfo import ZoneInfo

import msgspec

from millrace.data.dataclass import dataclass
from millrace.sources.clevertap import native, wire
from millrace.sources.clevertap.mapper import Columns, Mapper
from millrace.sources.clevertap.times import Moments


class Settings(msgspec.Struct, frozen=True):
    """What a mapper needs to know of a project."""

    timezone: str
    whole: bool
    by_record: bool


@dataclass(slots=True)
class Mapped(wire.Answer):
    """A page that was mapped already. It has no records any more."""

    columns: Columns = field(kw_only=True)

    @property
    def rows(self) -> int:
        return self.columns.rows


class Mappers:
    """Maps the pages of one project. Safe for several threads."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._moments = Moments(ZoneInfo(settings.timezone))
        self._turn = threading.Lock()
        self._mappers: dict[str, Mapper] = {}

    def read(self, event: str, body: bytes) -> wire.Answer:
        """The page in ``body``: `Mapped` when it is a success. Raises wire.NotJson."""
        known = self._settings
        found = None if known.by_record else native.mapped(event, body, self._moments, whole=known.whole)
        if found is not None:
            envelope, columns = found
            return Mapped(envelope, b"", [], columns=columns)
        with self._turn:
            return self._map(event, body)

    def _map(self, event: str, body: bytes) -> wire.Answer:
        known = self._settings
        answer = wire.read(body, whole=known.whole)
        if not answer.succeeded:
            return answer
        mapper = self._mappers.get(event)
        if mapper is None:
            mapper = self._mappers[event] = Mapper(event, self._moments, whole=known.whole, by_record=known.by_record)
        return Mapped(answer.envelope, b"", [], columns=mapper(answer))
