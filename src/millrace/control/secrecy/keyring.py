"""The keys that seal secrets: where they are kept, which is never the control database.

A key is 32 random bytes, written as URL-safe base64. Where several are kept, the last one is the newest. Which of them
seals is noted in the control database (`sealing`), so that all servers change over in the same moment.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import field
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

from millrace.data.dataclass import dataclass
from millrace.errors import ConfigError, EnvironmentProblem

FILE = "key"
VARIABLE = "MILLRACE_KEY"
CHOICE = "MILLRACE_KEYS"
GROUP = "millrace.keys"
"""Entry points of packages that bring a place for keys: functions of the home's folder and the environment."""

ID_BYTES = 8


class KeyStore(Protocol):
    """A place that keeps keys: a file, the environment, or a key management service of a package's own."""

    def prepare(self) -> None:
        """There is a key: one is made where there was none. Called when a home is made."""
        ...

    def read(self, *, fresh: bool = False) -> Sequence[str]:
        """All keys, the newest last; at least one. A store that is slow may answer from memory, unless ``fresh``.

        Raises EnvironmentProblem "no_key".
        """
        ...

    def add(self, key: str) -> None:
        """The key is kept, durably and for every server, as the newest. Raises ConfigError where others add keys."""
        ...

    def keep(self, key: str) -> bool:
        """All other keys are gone; False where others take them away."""
        ...


@dataclass(frozen=True, slots=True)
class Key:
    """One key, as it is kept, and what follows from it. ``id`` says nothing about the rest."""

    text: str = field(repr=False)
    id: str
    cipher: Any = field(repr=False)


def new_key() -> str:
    """A key as it is kept."""
    return base64.urlsafe_b64encode(os.urandom(32)).decode()


@lru_cache(maxsize=16)
def key(text: str) -> Key:
    """The key of that text. Raises EnvironmentProblem "wrong_key" when it is none."""
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    return Key(text, derived(text, b"key id", ID_BYTES).hex(), AESGCM(derived(text, b"seal, AES-256-GCM", 32)))


def derived(text: str, purpose: bytes, length: int) -> bytes:
    """Bytes for one purpose, from which neither the key nor those of another purpose follow (HKDF, RFC 5869)."""
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF

    try:
        secret = base64.b64decode(text, altchars=b"-_", validate=True)
    except ValueError:
        secret = b""
    if len(secret) != 32:
        raise EnvironmentProblem(
            "the key that seals secrets is not a key: it must be 32 bytes in URL-safe base64",
            hint=f"Put back the file '{FILE}' of this home, or set {VARIABLE} to what it held.",
            code="wrong_key",
        )
    return HKDF(algorithm=hashes.SHA256(), length=length, salt=None, info=b"millrace " + purpose).derive(secret)


def store(folder: Path, env: Mapping[str, str]) -> KeyStore:
    """The store that the environment asks for: the one named by $MILLRACE_KEYS, else $MILLRACE_KEY itself where it is
    set, else the file of the home. Raises ConfigError for a name that no package brings."""
    name = env.get(CHOICE) or ("environment" if env.get(VARIABLE) else "file")
    known: dict[str, Callable[[Path, Mapping[str, str]], KeyStore]] = {
        "file": lambda folder, _: FileKeys(folder / FILE),
        "environment": lambda _, env: EnvironmentKeys(env),
    }
    if name in known:
        return known[name](folder, env)
    # Imported here: looking for entry points opens a file of every package.
    from importlib.metadata import entry_points

    points = {point.name: point for point in entry_points(group=GROUP)}
    if name not in points:
        raise ConfigError(
            f"there is no place for keys of the name {name!r}",
            hint=f"Known: {', '.join(sorted({*known, *points}))}.",
            path=CHOICE,
            code="unknown_type",
        )
    found: KeyStore = points[name].load()(folder, env)
    return found


class FileKeys:
    """Keys in a file of the home, one a line, readable by its owner alone. Read at each use: it may have changed."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def prepare(self) -> None:
        if self._path.exists():
            return
        draft = self._draft([new_key()])
        # A link, not a rename: of two processes that make the same home, the first one's key stays.
        with suppress(FileExistsError):
            os.link(draft, self._path)
        draft.unlink()

    def read(self, *, fresh: bool = False) -> Sequence[str]:
        del fresh
        try:
            found = self._path.read_text("ascii", "replace").split()
        except OSError as cause:
            raise self._missing(f"cannot be read: {self._path}: {cause.strerror}") from cause
        if not found:
            raise self._missing(f"is not there: {self._path} is empty")
        return found

    def add(self, key: str) -> None:
        self._write([*self.read(), key])

    def keep(self, key: str) -> bool:
        self._write([key])
        for left in self._path.parent.glob(f".{self._path.name}.*"):  # by a process that was killed
            left.unlink(missing_ok=True)
        return True

    def _write(self, keys: Sequence[str]) -> None:
        self._draft(keys).replace(self._path)
        folder = os.open(self._path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def _draft(self, keys: Sequence[str]) -> Path:
        draft = self._path.with_name(f".{self._path.name}.{os.getpid()}")
        with suppress(FileNotFoundError):
            draft.unlink()
        handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            os.write(handle, "".join(f"{key}\n" for key in keys).encode())
            os.fsync(handle)
        finally:
            os.close(handle)
        return draft

    def _missing(self, what: str) -> EnvironmentProblem:
        return EnvironmentProblem(
            f"the key that seals secrets {what}",
            hint=f"Put the file back, or set {VARIABLE} to what it held. Without it all secrets must be given again: "
            "`millrace init` makes a new key, and `millrace secrets rotate --lost` gives up what the old one sealed.",
            path=VARIABLE,
            code="no_key",
        )


class EnvironmentKeys:
    """Keys in $MILLRACE_KEY, with commas or spaces between them. Whoever sets the variable adds them and takes them
    away."""

    def __init__(self, env: Mapping[str, str]) -> None:
        self._env = env

    def prepare(self) -> None:
        self.read()

    def read(self, *, fresh: bool = False) -> Sequence[str]:
        del fresh
        found = self._env.get(VARIABLE, "").replace(",", " ").split()
        if not found:
            raise EnvironmentProblem(
                f"the key that seals secrets is not there: {VARIABLE} is not set",
                hint=f"Set it to 32 random bytes in URL-safe base64, or do without {CHOICE}=environment.",
                path=VARIABLE,
                code="no_key",
            )
        return found

    def add(self, key: str) -> None:
        del key  # not told to anybody: they make one of their own
        raise ConfigError(
            f"{VARIABLE} has no new key",
            hint=f"Make one (`openssl rand -base64 32 | tr +/ -_`), set {VARIABLE} to OLD,NEW for every server, start "
            "them again, and run this once more.",
            path=VARIABLE,
            code="no_new_key",
        )

    def keep(self, key: str) -> bool:
        return list(self.read()) == [key]
