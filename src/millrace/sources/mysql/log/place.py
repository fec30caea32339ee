"""A place in a binary log: a file of it, and the bytes before the place."""

from __future__ import annotations

from dataclasses import field

from millrace.data.batch import JSON
from millrace.data.dataclass import dataclass


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """Files are numbered behind the last dot of their names, so places of one server have an order."""

    number: int = field(init=False)
    position: int
    file: str = field(compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "number", int(self.file.rpartition(".")[2]))

    @staticmethod
    def of(told: JSON) -> Place:
        file, position = told
        return Place(int(position), str(file))

    def to_json(self) -> JSON:
        return [self.file, self.position]

    def __str__(self) -> str:
        return f"{self.file}:{self.position}"
