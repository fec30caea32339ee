"""Files at an SFTP server.

Source: https://datatracker.ietf.org/doc/html/draft-ietf-secsh-filexfer-02
"""

from __future__ import annotations

import io
import stat
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO, cast

import paramiko

from millrace.connect.reach import Reach
from millrace.connect.ssh import SshSettings
from millrace.connect.tunnel import signed_in
from millrace.errors import ConfigError, Transient
from millrace.sources.files.places import Found

_TIMEOUT_S = 30.0
# Answers that are asked for before the first has come.
_AHEAD = 64
_PIECE = 32 << 10


class Sftp:
    """A folder at an SFTP server. It is connected at first use."""

    def __init__(self, login: SshSettings, folder: str, reach: Reach) -> None:
        self._login = login
        self._folder = folder.rstrip("/") or "/"
        self._reach = reach
        self._client: paramiko.SFTPClient | None = None

    def files(self) -> Iterator[Found]:
        with self.translated("list", self._folder):
            waiting = [""]
            while waiting:
                below = waiting.pop()
                for item in self._connected().listdir_attr(self._key(below)):
                    path = f"{below}/{item.filename}" if below else item.filename
                    mode = item.st_mode or 0
                    if stat.S_ISLNK(mode):
                        continue
                    if stat.S_ISDIR(mode):
                        waiting += [] if item.filename.startswith((".", "_")) else [path]
                    elif stat.S_ISREG(mode):
                        yield self._found(path, item)

    def about(self, found: Found) -> Found | None:
        with self.translated("look at", found.key):
            try:
                return self._found(found.path, self._connected().stat(found.key))
            except FileNotFoundError:
                return None

    def open(self, found: Found) -> BinaryIO:
        with self.translated("read", found.key):
            file = self._connected().open(found.key, "rb", bufsize=_PIECE)
            file.prefetch(found.size_bytes, _AHEAD)
            return cast(BinaryIO, io.BufferedReader(_File(file, self), _PIECE * 8))

    def open_anywhere(self, found: Found) -> BinaryIO:
        with self.translated("read", found.key):
            file = self._connected().open(found.key, "rb", bufsize=_PIECE)
            return cast(BinaryIO, io.BufferedReader(_File(file, self), _PIECE * 8))

    def close(self) -> None:
        if self._client is not None:
            channel = self._client.get_channel()
            self._client.close()
            if channel is not None:
                channel.get_transport().close()
            self._client = None

    def _connected(self) -> paramiko.SFTPClient:
        if self._client is None:
            transport = signed_in(self._login, self._reach, _TIMEOUT_S)
            try:
                client = paramiko.SFTPClient.from_transport(transport)
            except (paramiko.SSHException, EOFError):
                client = None
            if client is None:
                transport.close()
                raise ConfigError(
                    "the server lets the user in, and has no SFTP for it",
                    hint="Ask who runs it to allow SFTP.",
                    path="url",
                    code="no_sftp",
                )
            channel = client.get_channel()
            if channel is not None:
                channel.settimeout(_TIMEOUT_S * 4)
            self._client = client
        return self._client

    def _key(self, path: str) -> str:
        return f"{self._folder.rstrip('/')}/{path}" if path else self._folder

    def _found(self, path: str, item: paramiko.SFTPAttributes) -> Found:
        size, seconds = item.st_size or 0, item.st_mtime or 0
        return Found(path, self._key(path), size, seconds * 1_000_000, f"{size}-{seconds}")

    @contextmanager
    def translated(self, what: str, key: str) -> Generator[None]:
        where = f"{self._login.ssh_host}:{self._login.ssh_port}"
        try:
            yield
        except FileNotFoundError as error:
            if what != "list":
                raise
            raise ConfigError(
                f"{where} has no folder {key}", hint="Check the url.", path="url", code="no_folder"
            ) from error
        except PermissionError as error:
            if what == "read":
                raise
            raise ConfigError(
                f"{where} does not allow to {what} {key}",
                hint="Give the user that right.",
                path="url",
                code="PERMISSION_DENIED",
            ) from error
        except (paramiko.SSHException, EOFError, OSError) as error:
            raise Transient(f"{where} could not {what} {key}: {error}") from error


class _File(io.RawIOBase):
    """A file of the server; what breaks its connection is told in words."""

    def __init__(self, file: paramiko.SFTPFile, place: Sftp) -> None:
        self._file = file
        self._place = place

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        with self._place.translated("read", "a file"):
            found = self._file.read(len(buffer))
        buffer[: len(found)] = found
        return len(found)

    def seek(self, offset: int, whence: int = 0) -> int:
        with self._place.translated("read", "a file"):
            self._file.seek(offset, whence)
            return self._file.tell()

    def tell(self) -> int:
        return self._file.tell()

    def close(self) -> None:
        if not self.closed:
            self._file.close()
        super().close()
