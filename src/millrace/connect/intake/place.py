"""Where the intake is: files in a folder or a bucket, by pipeline, part and number.

A part belongs to one process that writes; nobody else adds to it. Numbers grow within a part and are never used again.
A file that is ``whole`` gets nothing more.
"""

from __future__ import annotations

from typing import Protocol

from millrace.data.dataclass import dataclass

FOLDER = "intake"
SUFFIX = ".log"


@dataclass(frozen=True, slots=True)
class File:
    """A file of the intake. ``size_bytes``: what was there when it was looked at; more may come unless ``whole``."""

    pipeline_id: str
    part: str
    number: int
    size_bytes: int
    whole: bool

    @property
    def path(self) -> str:
        return path(self.pipeline_id, self.part, self.number)


class Writer(Protocol):
    """The one hand that writes a part."""

    def append(self, frames: list[bytes]) -> None:
        """All of them are durable when this returns. Raises OSError or a MillraceError, and they may be lost then."""
        ...

    def close(self) -> None:
        """The part is whole. May be called twice."""
        ...


class Place(Protocol):
    """A folder or a bucket."""

    def owners(self) -> list[str]:
        """The pipelines for which something is there."""
        ...

    def files(self, pipeline_id: str) -> list[File]:
        """What is there for the pipeline: by part, each in the order of its numbers."""
        ...

    def read(self, file: File, offset: int) -> bytes:
        """Its bytes from ``offset`` to the size that was seen."""
        ...

    def delete(self, file: File) -> None:
        """The file is gone. Nothing happens when there is none."""
        ...

    def set_aside(self, file: File) -> str:
        """A copy that nothing deletes; where it is."""
        ...

    def writer(self, pipeline_id: str, part: str) -> Writer:
        """Writes a part that nobody wrote before."""
        ...


def path(pipeline_id: str, part: str, number: int) -> str:
    """Where a file is, relative to the root of the place."""
    return f"{FOLDER}/{pipeline_id}/{part}/{number:012d}{SUFFIX}"


def open_place(root: str) -> Place:
    """The place at ``root``, which is that of the stage: a folder, or a bucket by its URL."""
    if "://" in root and not root.startswith("file://"):
        # Imported here: a folder, the usual place, does without it.
        from millrace.connect.intake.bucket import Bucket

        return Bucket(root)
    from millrace.connect.intake.folder import Folder

    return Folder(root.removeprefix("file://"))
