"""The intake in a bucket: each group of requests is an object of its own, which is whole at once."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager, suppress
from typing import Any

from millrace.connect.intake.place import FOLDER, SUFFIX, File, Writer, path
from millrace.errors import ConfigError, Transient


class Bucket:
    """A bucket, by its URL (`s3://…`, `gs://…`, `az://…`). An object is durable when the bucket has taken it."""

    def __init__(self, root: str) -> None:
        from obstore.store import from_url

        self.root = root
        try:
            self._store: Any = from_url(root)
        except Exception as cause:
            raise ConfigError(f"the intake at {root} cannot be used: {cause}", code="stage_url") from cause

    def owners(self) -> list[str]:
        with _answering(self.root):
            found = self._store.list_with_delimiter(f"{FOLDER}/")
        return sorted(str(prefix).rstrip("/").rpartition("/")[2] for prefix in found["common_prefixes"])

    def files(self, pipeline_id: str) -> list[File]:
        with _answering(self.root):
            pages = [list(page) for page in self._store.list(f"{FOLDER}/{pipeline_id}/")]
        found: list[File] = []
        for one in (one for page in pages for one in page):
            *_, part, name = one["path"].split("/")
            if name.endswith(SUFFIX):
                found.append(File(pipeline_id, part, int(name.removesuffix(SUFFIX)), one["size"], whole=True))
        return sorted(found, key=lambda one: (one.part, one.number))

    def read(self, file: File, offset: int) -> bytes:
        if offset >= file.size_bytes:
            return b""
        with _answering(self.root):
            try:
                return bytes(self._store.get_range(file.path, start=offset, end=file.size_bytes))
            except FileNotFoundError:
                return b""  # another run has read and deleted it; this one holds no lease any more

    def delete(self, file: File) -> None:
        with _answering(self.root), suppress(FileNotFoundError):
            self._store.delete(file.path)

    def set_aside(self, file: File) -> str:
        aside = file.path.removesuffix(SUFFIX) + ".damaged"
        with _answering(self.root):
            self._store.copy(file.path, aside)
        return f"{self.root.rstrip('/')}/{aside}"

    def writer(self, pipeline_id: str, part: str) -> Writer:
        return _Putting(self, self._store, pipeline_id, part)


class _Putting:
    def __init__(self, bucket: Bucket, store: Any, pipeline_id: str, part: str) -> None:
        self._bucket, self._store = bucket, store
        self._pipeline_id, self._part = pipeline_id, part
        self._number = 0

    def append(self, frames: list[bytes]) -> None:
        # A number whose object may have arrived, though nobody said so, is not used again.
        self._number += 1
        with _answering(self._bucket.root):
            self._store.put(path(self._pipeline_id, self._part, self._number), b"".join(frames))

    def close(self) -> None:
        """Every object is whole already."""


@contextmanager
def _answering(root: str) -> Generator[None]:
    try:
        yield
    except Exception as cause:
        raise Transient(f"the intake at {root} cannot be reached: {(str(cause).splitlines() or [''])[0]}") from cause
