"""What whoever follows a sync is told about each stream."""

from __future__ import annotations

from typing import Literal, Protocol, TypeAlias

Ending: TypeAlias = Literal["read", "left", "failed", "deferred", "stopped"]
"""All of it was read; too many of its rows failed; it broke; a limit came first; the run was asked to stop."""


class Watch(Protocol):
    """Told by a sync, in the thread that reads."""

    def reading(self, stream: str) -> None:
        """The stream is being read from here on."""
        ...

    def ended(self, stream: str, ending: Ending, error: Exception | None) -> None:
        """Reading of the stream is over for this run."""
        ...

    def ingested(self) -> None:
        """Reading of all streams is over."""
        ...


class Unwatched:
    """Nobody follows."""

    def reading(self, stream: str) -> None: ...

    def ended(self, stream: str, ending: Ending, error: Exception | None) -> None: ...

    def ingested(self) -> None: ...
