"""A source for tests of the service, whose every step a test decides."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, ClassVar

from millrace.connect.config import SourceConfig
from millrace.connect.source import Reading, Source, Stream, Verdict
from millrace.data.batch import Checkpoint, Item

KEY = ("id",)
Step = Callable[[], None]


@dataclass
class Script:
    """What the source holds: rows by stream, in pages; and what happens before a page of a stream is given."""

    pages: dict[str, list[list[dict[str, Any]]]]
    before: dict[tuple[str, int], Step] = field(default_factory=dict[tuple[str, int], Step])
    read: list[tuple[str, int]] = field(default_factory=list[tuple[str, int]])
    """The pages that were given, in order."""
    historical: bool = False

    def build(self, *_: Any) -> Paged:
        """Takes the place of `connections.build_source`."""
        return Paged(self)


class Paged(Source[SourceConfig]):
    """Pages of rows, with a position after each; a stream is read from where it was left."""

    Config = SourceConfig
    title: ClassVar[str] = "Pages"

    def __init__(self, script: Script) -> None:
        super().__init__(SourceConfig())
        self._script = script

    def check(self) -> list[Verdict]:
        return []

    def streams(self) -> list[Stream]:
        return [Stream(name, key=KEY, historical=self._script.historical) for name in self._script.pages]

    def read(self, reading: Reading) -> Iterator[Item]:
        name = reading.stream.name
        pages = self._script.pages[name]
        for number in range(reading.cursor or 0, len(pages)):
            if (step := self._script.before.get((name, number))) is not None:
                step()
            self._script.read.append((name, number))
            yield pages[number]
            yield Checkpoint(number + 1)
