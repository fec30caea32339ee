"""The intake in a folder: a file for each part is added to and synced, and followed by another when it is large."""

from __future__ import annotations

import fcntl
import os
import shutil
from contextlib import suppress
from pathlib import Path

from millrace.connect.intake.place import FOLDER, SUFFIX, File, Writer, path

# A file that was read is deleted as a whole, so it must come to an end.
ROTATE_BYTES = 8 << 20

# The system takes so many pieces in one call (IOV_MAX of Linux).
_PIECES = 1024


class Folder:
    """A folder on a file system that syncs and locks files: a disk of this machine, or one that machines share."""

    def __init__(self, root: str) -> None:
        self.root = Path(root)

    def owners(self) -> list[str]:
        folder = self.root / FOLDER
        return sorted(one.name for one in folder.iterdir() if one.is_dir()) if folder.is_dir() else []

    def files(self, pipeline_id: str) -> list[File]:
        found: list[File] = []
        folder = self.root / FOLDER / pipeline_id
        parts = sorted(one.name for one in folder.iterdir() if one.is_dir()) if folder.is_dir() else []
        for part in parts:
            numbers = sorted(int(one.stem) for one in (folder / part).glob(f"*{SUFFIX}") if one.stem.isdigit())
            for number in numbers:
                where = self.root / path(pipeline_id, part, number)
                with suppress(FileNotFoundError):
                    # Whether it is whole is seen first: what is added between the two looks is then read later.
                    whole = number != numbers[-1] or _left(where)
                    found.append(File(pipeline_id, part, number, where.stat().st_size, whole))
        return found

    def read(self, file: File, offset: int) -> bytes:
        try:
            with (self.root / file.path).open("rb") as opened:
                opened.seek(offset)
                return opened.read(max(file.size_bytes - offset, 0))
        except FileNotFoundError:
            return b""  # another run has read and deleted it; this one holds no lease any more

    def delete(self, file: File) -> None:
        where = self.root / file.path
        where.unlink(missing_ok=True)
        with suppress(OSError):  # others are still in it
            where.parent.rmdir()

    def set_aside(self, file: File) -> str:
        aside = (self.root / file.path).with_suffix(".damaged")
        shutil.copyfile(self.root / file.path, aside)
        return str(aside)

    def writer(self, pipeline_id: str, part: str) -> Writer:
        return _Appending(self.root, pipeline_id, part)


class _Appending:
    def __init__(self, root: Path, pipeline_id: str, part: str) -> None:
        self._root, self._pipeline_id, self._part = root, pipeline_id, part
        self._number = 0
        self._file: int | None = None
        self._size = 0

    def append(self, frames: list[bytes]) -> None:
        if self._file is None or self._size >= ROTATE_BYTES:
            self._next()
        assert self._file is not None
        try:
            for start in range(0, len(frames), _PIECES):
                _write(self._file, frames[start : start + _PIECES])
            os.fdatasync(self._file)
        except OSError:
            # Nobody was told that these are kept, so they shall not be read; what follows goes into another file.
            with suppress(OSError):
                os.ftruncate(self._file, self._size)
            self.close()
            raise
        self._size += sum(map(len, frames))

    def close(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _next(self) -> None:
        self.close()
        self._number += 1
        final = self._root / path(self._pipeline_id, self._part, self._number)
        made = [one for one in (final.parent, *final.parent.parents) if one != self._root and not one.exists()]
        final.parent.mkdir(parents=True, exist_ok=True)
        opening = final.with_suffix(".open")
        file = os.open(opening, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC, 0o600)
        # It is locked before it has its name: a file that is not locked counts as whole, and would be deleted.
        fcntl.flock(file, fcntl.LOCK_EX)
        opening.replace(final)
        self._file, self._size = file, 0
        for folder in dict.fromkeys([final.parent, *(one.parent for one in made)]):
            _sync_folder(folder)


def _write(file: int, pieces: list[bytes]) -> None:
    left = sum(map(len, pieces)) - os.writev(file, pieces)
    if left:  # a large one goes in several times
        rest = memoryview(b"".join(pieces))[-left:]
        while rest:
            rest = rest[os.write(file, rest) :]


def _left(where: Path) -> bool:
    """Whether the process that wrote the file has gone, or left it."""
    file = os.open(where, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    else:
        return True
    finally:
        os.close(file)


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
