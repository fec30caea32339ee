"""The mappings of one pipeline while rows come in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import field, replace
from typing import TYPE_CHECKING

from millrace.connect.source import Stream
from millrace.data.batch import Lane, LoadMode
from millrace.data.dataclass import dataclass
from millrace.engine.mapping import Mapping, Naming
from millrace.engine.policy import Policy

# Imported where nested values do not stay as they are.
if TYPE_CHECKING:
    from millrace.engine.nesting.names import NestingState


@dataclass(slots=True)
class Mappings:
    """The mappings of one pipeline while it ingests, and which of them changed since the last commit.

    All that changes in a mapping between two commits is one version of it, so every version that rows carry is kept.
    """

    naming: Naming
    by_stream: dict[str, Mapping]
    streams: dict[str, Stream]
    first: Callable[[Stream, frozenset[str], Mapping | None], Mapping]
    """Makes the mapping of an event type, given the names of tables that are taken and, where its rows are those of
    another stream of the source, the mapping of that."""
    changed: set[str] = field(default_factory=set[str])
    policy: Policy | None = None
    origins: dict[str, tuple[str | None, str | None]] = field(default_factory=dict[str, tuple[str | None, str | None]])
    """Of event types that were made of others: the source's stream, and the event type in whose arrays they were."""
    _state: NestingState | None = None
    _committed: dict[str, int] = field(init=False)
    """Versions as of the last commit."""

    def __post_init__(self) -> None:
        self._committed = {stream: mapping.version for stream, mapping in self.by_stream.items()}

    @property
    def state(self) -> NestingState:
        """Names of what nested values became."""
        if self._state is None:
            from millrace.engine.nesting.names import NestingState

            own = {*self.streams, *(one.stream for one in self.by_stream.values() if one.parent is None)}
            self._state = NestingState.of(own, {one.stream: one.nested for one in self.by_stream.values()})
        return self._state

    def of(self, stream: str) -> Mapping:
        """The mapping of a stream; a stream that is met for the first time gets one."""
        if (known := self.by_stream.get(stream)) is not None:
            return known
        source, parent = self.origins.get(stream, (None, None))
        whole = self.of(source) if source not in (None, stream) else None
        taken = frozenset(mapping.table for mapping in self.by_stream.values())
        made = self.first(self.streams.get(stream, Stream(stream)), taken, whole)
        self.put(replace(made, source=source, parent=parent))
        return self.by_stream[stream]

    def key_of(self, stream: str) -> tuple[str, ...]:
        """The fields that identify rows of a stream, without making a mapping for one that has none yet."""
        known = self.by_stream.get(stream)
        return known.key if known is not None else self.streams.get(stream, Stream(stream)).key

    def read_for(self, stream: str, lane: Lane) -> LoadMode:
        """The load mode for which a source's stream is read.

        What is read once more may stand in no table twice, and a person may have taken the key of one.
        """
        mode = self.of(stream).mode
        tables = (one for one in self.by_stream.values() if stream in one.sources)
        return "append" if lane == "again" and any(one.mode == "append" for one in tables) else mode

    def source_of(self, stream: str) -> str:
        """The source's stream whose rows became those of this event type: often itself."""
        known = self.by_stream.get(stream)
        return (known.source if known else None) or stream

    def as_read(self, stream: str) -> Stream:
        """What the source says of the rows that it bound for this event type."""
        return (
            self.streams.get(stream)
            or self.streams.get(self.source_of(stream))
            or Stream(stream, key=self.key_of(stream))
        )

    def born(self, stream: str, key: tuple[str, ...], *, of: str, parent: str | None = None, path: str = "") -> None:
        """An event type that was made of another one is known, with the fields that identify its rows.

        ``parent``: the event type in whose arrays, at ``path``, its rows were.
        """
        if stream == of:
            return
        before = self.by_stream.get(of)
        origin = (before.source if before else None) or self.origins.get(of, (None, None))[0] or of
        if stream in self.streams or stream in self.by_stream:
            # One that the source has itself gets its mapping in any case.
            known = self.by_stream.get(stream) if stream in self.origins else self.of(stream)
            if known is not None and origin not in known.sources:
                self.put(replace(known, also=(*known.also, origin)))
            return
        whole = self.as_read(of)
        above = self.streams.get(parent, Stream(parent)) if parent is not None else None
        self.origins[stream] = (origin, parent)
        self.streams[stream] = Stream(
            stream,
            key=key,
            deletes=whole.deletes or parent is not None,
            historical=whole.historical,
            table=f"{above.table or above.name}_{path}" if above is not None and path else None,
        )

    def put(self, mapping: Mapping) -> None:
        """The mapping holds from now on, as the version after the one that was committed last."""
        following = self._committed.get(mapping.stream, 0) + 1
        mapping = replace(mapping, version=min(mapping.version, following))
        if self.by_stream.get(mapping.stream) != mapping:
            self.by_stream[mapping.stream] = mapping
            self.changed.add(mapping.stream)

    def taken(self) -> list[Mapping]:
        """Mappings that changed since this was last asked."""
        changed = [self.by_stream[stream] for stream in sorted(self.changed)]
        self._committed |= {mapping.stream: mapping.version for mapping in changed}
        self.changed.clear()
        return changed
