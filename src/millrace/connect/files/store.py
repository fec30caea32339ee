"""A place for files: a local folder or a bucket, behind the same few verbs."""

from __future__ import annotations

import io
import os
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, cast

import obstore
from obstore import exceptions as ob
from obstore.store import LocalStore, from_url

from millrace.connect.reach import Kind
from millrace.data.dataclass import dataclass
from millrace.errors import AuthError, ConfigError, EnvironmentProblem, Transient

SCHEMES = ("s3://", "s3a://", "gs://", "az://", "abfs://", "abfss://", "azure://")

_PIECE = 1 << 20


def _client(options: Mapping[str, str], allowed: frozenset[Kind] | None) -> Any:
    """How the client of a bucket connects."""
    found: dict[str, Any] = {}
    endpoint = options.get("endpoint")
    if endpoint is not None and endpoint.startswith("http://"):
        found["allow_http"] = True
    # Without a service and keys of its own it is where the server's environment says, which its operator chose.
    if allowed is not None and options.keys() - {"region", "azure_storage_account_name"}:
        # Imported here: only who may not reach everything needs it.
        from millrace.connect.files.gate import through

        found["proxy_url"] = through(allowed)
    return found or None


def _own(key: str, secret: str) -> Any:
    """These keys and nothing of the environment: its session token would be sent beside them."""
    return lambda: {"access_key_id": key, "secret_access_key": secret, "token": None, "expires_at": None}


@dataclass(frozen=True, slots=True)
class Item:
    """An object of a bucket. ``tag``: what its service calls this version of it, if it does."""

    key: str
    size_bytes: int
    modified_us: int
    tag: str | None


class _Pieces(io.RawIOBase):
    """The bytes of an object, as they come."""

    def __init__(self, store: Store, key: str, pieces: Iterator[Any]) -> None:
        self._store = store
        self._key = key
        self._pieces = pieces
        self._rest = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if not self._rest:
            with self._store.translated(f"read {self._key}"):
                self._rest = memoryview(next(self._pieces, b""))
        some = self._rest[: len(buffer)]
        buffer[: len(some)] = some
        self._rest = self._rest[len(some) :]
        return len(some)


class _Anywhere(io.RawIOBase):
    """The bytes of an object, from wherever they are asked for."""

    def __init__(self, store: Store, key: str, file: Any) -> None:
        self._store = store
        self._key = key
        self._file = file

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        with self._store.translated(f"read {self._key}"):
            some = memoryview(self._file.read(len(buffer)))
        buffer[: len(some)] = some
        return len(some)

    def seek(self, offset: int, whence: int = 0) -> int:
        with self._store.translated(f"read {self._key}"):
            return int(self._file.seek(offset, whence))

    def tell(self) -> int:
        return int(self._file.tell())


class Store:
    """Objects under one root, by key. A put is atomic: readers see the whole object or none."""

    def __init__(self, root: str, store: Any, folder: Path | None) -> None:
        self.root = root
        self.folder = folder
        self._store = store

    @classmethod
    def at(
        cls, root: str, options: Mapping[str, str] | None = None, *, allowed: frozenset[Kind] | None = None
    ) -> Store:
        """The store at a local path or a bucket's URL. ``options`` are those of the bucket's service; with ``allowed``
        a service that is named, or shown keys, is reached at addresses of these kinds alone, wherever it redirects to.

        Raises ConfigError when a local path cannot be a folder or cannot be written.
        """
        if root.startswith(SCHEMES):
            try:
                given = dict(options or {})
                more: dict[str, Any] = {"client_options": _client(given, allowed)}
                if "access_key_id" in given and "secret_access_key" in given:
                    more["credential_provider"] = _own(given.pop("access_key_id"), given.pop("secret_access_key"))
                return cls(root, from_url(root, config=cast(Any, given), **more), None)
            except ob.BaseError as error:
                raise ConfigError(f"{root} is not a bucket that can be used: {error}", path="path") from error
        if "://" in root:
            known = ", ".join(SCHEMES)
            raise ConfigError(f"{root} is of an unknown kind.", hint=f"Known are local paths and {known}.", path="path")
        folder = Path(root).absolute()
        if not folder.is_dir():
            try:
                folder.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise ConfigError(
                    f"The folder {root} cannot be made: {error.strerror}.",
                    hint="Choose a folder on a disk where this user may make folders.",
                    path="path",
                    code="bad_path",
                ) from error
        if not os.access(folder, os.W_OK | os.X_OK):
            raise ConfigError(
                f"The folder {root} cannot be written.",
                hint="Give this user the right to write it, or change the path.",
                path="path",
                code="not_writable",
            )
        return cls(root, LocalStore(prefix=folder), folder)

    def read(self, key: str) -> bytes | None:
        """The object; None when there is none."""
        with self.translated(f"read {key}"):
            try:
                return bytes(obstore.get(self._store, key).bytes())
            except FileNotFoundError:
                return None

    def create(self, key: str, content: bytes) -> bool:
        """The object is there and is ours; False when somebody else made one of that key."""
        with self.translated(f"write {key}"):
            try:
                obstore.put(self._store, key, content, mode="create")
            except ob.AlreadyExistsError:
                return False
            self._sync(key)
            return True

    def upload(self, key: str, file: Path) -> None:
        """The file's content is there under the key, durable."""
        with self.translated(f"write {key}"):
            obstore.put(self._store, key, file)
            self._sync(key)

    def keys(self, prefix: str) -> list[str]:
        """Keys below a prefix that ends at a slash, sorted."""
        with self.translated(f"list {prefix}"):
            found = obstore.list(self._store, prefix=prefix).collect()
        return sorted(str(item["path"]) for item in found)

    def listed(self) -> Iterator[Item]:
        """Every object, in no order."""
        with self.translated("list"):
            for page in obstore.list(self._store):
                yield from (_item(found) for found in page)

    def about(self, key: str) -> Item | None:
        """The object as it is now; None when there is none."""
        with self.translated(f"look at {key}"):
            try:
                return _item(obstore.head(self._store, key))
            except FileNotFoundError:
                return None

    def open(self, key: str) -> BinaryIO:
        """The bytes of an object from the first on. Raises FileNotFoundError."""
        with self.translated(f"read {key}", gone=True):
            pieces = iter(obstore.get(self._store, key).stream(min_chunk_size=_PIECE))
        return cast(BinaryIO, io.BufferedReader(_Pieces(self, key, pieces), _PIECE))

    def open_anywhere(self, key: str) -> BinaryIO:
        """The bytes of an object from wherever they are asked for. Raises FileNotFoundError."""
        with self.translated(f"read {key}", gone=True):
            file = obstore.open_reader(self._store, key, buffer_size=_PIECE)
        return cast(BinaryIO, io.BufferedReader(_Anywhere(self, key, file), _PIECE))

    def delete(self, keys: Sequence[str]) -> None:
        """None of the keys is there."""
        with self.translated("delete"):
            for key in keys:
                try:
                    obstore.delete(self._store, key)
                except FileNotFoundError:
                    continue

    def _sync(self, key: str) -> None:
        if self.folder is None:
            return
        path = self.folder / key
        for place in (path, path.parent):
            handle = os.open(place, os.O_RDONLY)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)

    def _denied(self, what: str) -> ConfigError:
        return ConfigError(
            f"{self.root} does not allow to {what}.",
            hint="Grant the rights to list, read, write and delete there.",
            code="PERMISSION_DENIED",
        )

    @contextmanager
    def translated(self, what: str, *, gone: bool = False) -> Generator[None]:
        try:
            yield
        except (ob.PermissionDeniedError, PermissionError) as error:
            raise self._denied(what) from error
        except ob.InvalidPathError as error:
            raise ConfigError(
                f"{self.root} has a key that no client of buckets can name: {str(error).splitlines()[0][:500]}",
                hint="Rename that object, or choose a prefix that leaves it out.",
                code="bad_key",
            ) from error
        except ob.UnauthenticatedError as error:
            raise AuthError(f"{self.root} refused the credentials.") from error
        except (ob.BaseError, OSError) as error:
            if gone and isinstance(error, FileNotFoundError):
                raise
            text = str(error)
            # Readers that may be placed anywhere raise all errors as one kind.
            if "lacked the necessary privileges" in text:
                raise self._denied(what) from error
            if full(text):
                raise EnvironmentProblem(
                    f"The disk under {self.root} is full; nothing of this load was kept.",
                    hint="Free some space and run again.",
                    code="DISK_FULL",
                ) from error
            if self.folder is not None:
                raise EnvironmentProblem(
                    f"Cannot {what} in {self.root}: {text.splitlines()[0]}",
                    hint="Check that this user may list, read, write and delete there, and that the disk is sound.",
                ) from error
            raise Transient(f"{self.root} could not {what}: {text.splitlines()[0]}") from error


def full(text: str) -> bool:
    """Whether an error's text says that there is no room."""
    return any(words in text for words in ("No space left", "File too large", "Disk quota exceeded"))


def _item(found: Any) -> Item:
    return Item(
        str(found["path"]), int(found["size"]), int(found["last_modified"].timestamp() * 1_000_000), found.get("e_tag")
    )
