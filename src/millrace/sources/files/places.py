"""Where files are: a local folder or a bucket, behind the same few verbs (`sftp` is the third)."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NoReturn, Protocol

from millrace.connect.files.bucket import opened
from millrace.connect.files.store import Store
from millrace.connect.source import Context
from millrace.data.dataclass import dataclass
from millrace.errors import ConfigError, EnvironmentProblem
from millrace.sources.files.config import Config


@dataclass(frozen=True, slots=True)
class Found:
    """A file as it was listed. ``path``: below the URL, with `/`; ``key``: how its place calls it. ``version`` is the
    same as long as the file is."""

    path: str
    key: str
    size_bytes: int
    modified_us: int
    version: str


class Place(Protocol):
    """Somewhere with files."""

    def files(self) -> Iterator[Found]:
        """All files below the URL, in no order. Raises ConfigError where there is no such place."""
        ...

    def about(self, found: Found) -> Found | None:
        """The file as it is now; None where it is gone."""
        ...

    def open(self, found: Found) -> BinaryIO:
        """Its bytes, from the first on. Raises FileNotFoundError where it is gone."""
        ...

    def open_anywhere(self, found: Found) -> BinaryIO:
        """Its bytes, from wherever they are asked for."""
        ...

    def close(self) -> None: ...


def place(config: Config, context: Context) -> Place:
    """The place that the settings name. Raises ConfigError where whoever asks may not read there."""
    if config.is_sftp:
        # Imported here: it needs what only such places need.
        from millrace.sources.files.sftp import Sftp

        return Sftp(config.login(), config.folder(), context.reach)
    if config.is_bucket:
        return Bucket(opened(config.url, config, context.reach))
    return Folder(Path(config.url), links=context.reach.everywhere)


class Folder:
    """A folder of this machine. ``links``: files that are links are read, too, wherever they lead."""

    def __init__(self, root: Path, *, links: bool) -> None:
        self._root = root
        self._links = links

    def files(self) -> Iterator[Found]:
        if not self._root.is_dir():
            raise ConfigError(
                f"there is no folder {self._root}",
                hint="Check the path, and who may read it.",
                path="url",
                code="no_folder",
            )

        def told(error: OSError) -> NoReturn:
            # What cannot be listed would otherwise look as if it were gone.
            raise EnvironmentProblem(
                f"the folder {error.filename} cannot be listed: {error.strerror}",
                hint="Give this user the rights to read and to enter it.",
                code="folder_unreadable",
            ) from error

        for folder, below, names in os.walk(self._root, onerror=told):
            below[:] = [name for name in below if not name.startswith((".", "_"))]
            for name in names:
                file = Path(folder) / name
                try:
                    wanted = file.is_file() and (self._links or not file.is_symlink())
                    found = self._found(file) if wanted else None
                except PermissionError as error:
                    # A folder may be listed by who may not enter it.
                    error.filename = folder
                    told(error)
                if found is not None:
                    yield found

    def about(self, found: Found) -> Found | None:
        return self._found(Path(found.key))

    def open(self, found: Found) -> BinaryIO:
        return Path(found.key).open("rb")

    open_anywhere = open

    def close(self) -> None:
        """Nothing is held."""

    def _found(self, file: Path) -> Found | None:
        try:
            state = file.stat()
        except FileNotFoundError:
            return None
        # A backslash is told from one that stands for a byte which is no text.
        path = file.relative_to(self._root).as_posix().replace("\\", "\\\\")
        return Found(
            path=path.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace"),
            key=str(file),
            size_bytes=state.st_size,
            modified_us=state.st_mtime_ns // 1000,
            version=f"{state.st_size}-{state.st_mtime_ns}",
        )


class Bucket:
    """A bucket, below a prefix."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def files(self) -> Iterator[Found]:
        for item in self._store.listed():
            # What stands for a folder has no bytes, and a name that ends like one.
            if item.size_bytes or not item.key.endswith("/"):
                yield _of(item.key, item.size_bytes, item.modified_us, item.tag)

    def about(self, found: Found) -> Found | None:
        try:
            item = self._store.about(found.key)
        except ConfigError as error:
            if error.code != "PERMISSION_DENIED":
                raise
            # One object that may not be looked at; its bytes were refused, too.
            return found
        return None if item is None else _of(found.key, item.size_bytes, item.modified_us, item.tag)

    def open(self, found: Found) -> BinaryIO:
        return self._store.open(found.key)

    def open_anywhere(self, found: Found) -> BinaryIO:
        return self._store.open_anywhere(found.key)

    def close(self) -> None:
        """Its connections end by themselves."""


def _of(key: str, size_bytes: int, modified_us: int, tag: str | None) -> Found:
    return Found(key, key, size_bytes, modified_us, (tag or "").strip('"') or f"{size_bytes}-{modified_us}")
