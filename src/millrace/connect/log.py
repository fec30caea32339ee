"""What a source has that follows a log: the changes of all its streams in one order, with one position."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence

from millrace.connect.source import Stream
from millrace.data.batch import JSON, Item, LoadMode
from millrace.data.dataclass import dataclass
from millrace.errors import ConfigError

LOG = "(log)"
"""Under this name, which no stream has, the position of the log is kept."""


@dataclass(frozen=True, slots=True)
class Followed:
    """A stream whose changes are followed.

    ``history``: the cursor of its historical lane, None where reading of that has not begun. ``whole``: its rows must
    have all their columns, because whoever takes them cannot keep those that a change left as they were.
    """

    stream: Stream
    load_mode: LoadMode
    history: JSON = None
    whole: bool = False


@dataclass(frozen=True, slots=True)
class Following:
    """One read of the log: of which streams, and from where. ``cursor`` None: the position is only taken."""

    streams: Mapping[str, Followed]
    cursor: JSON = None


class Log(ABC):
    """A log as a source reads it, for one pipeline. At the system, what is kept for it is named by the pipeline.

    The order of the log is the order of its rows; a row carries `columns.OP_TYPE`, and where a change did not say
    all, `columns.UNCHANGED`. How a stream's history and its changes meet is settled here too (`Followed.history`): no
    row that is appended comes from both, and none that is merged covers a newer one.
    """

    @abstractmethod
    def follow(self, following: Following) -> Iterator[Item]:
        """Changes behind the cursor up to where the log ends now, or until enough time has passed.

        Without a cursor there is one checkpoint, at the position from which changes will be followed, and nothing is
        missing behind it. Every item says its stream: `Batch`, `Passed` with a stream, `Truncated`, `Refused`.
        Raises ConfigError "log_expired" where the log does not reach back to the cursor.
        """

    @abstractmethod
    def confirm(self, cursor: JSON) -> None:
        """All up to the cursor is durable and committed: the system may forget it. Nothing is raised."""

    @abstractmethod
    def moved(self, wanted: str, known: Sequence[JSON]) -> JSON:
        """The cursor at another place of the log, in the words of the system's own tools. Nothing changes there.

        ``known``: cursors of earlier reads, the latest first, at least one. Raises ConfigError "log_position" for a
        place that is none, or that the log does not have, and "log_expired".
        """

    @abstractmethod
    def reaches(self, cursor: JSON, read: JSON) -> bool:
        """Behind the cursor comes nothing that lies in front of the cursor ``read``. False where that is not sure."""

    @abstractmethod
    def forget(self) -> None:
        """What the system keeps for the pipeline is gone from it. Nothing happens when there is nothing.

        The hint of an error says how a person takes it away.
        """


def no_such_place(wanted: str, why: str, hint: str | None = None) -> ConfigError:
    """The log cannot be read from there on."""
    return ConfigError(
        f"changes cannot be read from {wanted!r} on: {why}", hint=hint, path="position", code="log_position"
    )


def expired(why: str) -> ConfigError:
    """The log does not reach back to the position any more: what people read then."""
    return ConfigError(
        f"changes are lost, because {why}",
        hint="Run `millrace resync --mode drop-and-load`: it reads every history anew and follows from now on.",
        code="log_expired",
    )
