"""How many requests may be in flight to one API of one account, over all processes of this user on this machine."""

from __future__ import annotations

import fcntl
import hashlib
import os
import stat
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

_LOOK_S = 0.05


class Places:
    """Numbered places that processes hold by turns: a lock on a file each, which the kernel frees with its process."""

    def __init__(self, folder: Path, name: str, most: int) -> None:
        self._most = most
        self._files = str(folder / hashlib.blake2b(name.encode(), digest_size=12).hexdigest())

    def take(self, width: int) -> int | None:
        """An open file that holds one of the last ``width`` places until it is closed; None when all are held.

        Whoever may have more places begins with the others.
        """
        for number in range(self._most - width, self._most):
            file = self._opened(number)
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                os.utime(file)  # what removes old temporary files leaves it
            except OSError as error:
                os.close(file)
                if not isinstance(error, BlockingIOError):
                    raise
            else:
                return file
        return None

    def _opened(self, number: int) -> int:
        path, how = f"{self._files}.{number}", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW
        try:
            return os.open(path, how, 0o600)
        except FileNotFoundError:  # the folder was removed with other temporary files
            if _folder() is None:
                raise
            return os.open(path, how, 0o600)


class Limiter:
    """At most `width` holders at a time. The width may change while it is held.

    With ``places`` the other processes that have the same ones count as well.
    """

    def __init__(self, width: int, places: Places | None = None) -> None:
        self._free = threading.Condition()
        self._width = width
        self._places = places
        self._held = 0
        self._narrow_until = float("-inf")

    @property
    def held(self) -> int:
        return self._held

    def width(self, now: float) -> int:
        """How many may hold at ``now`` (seconds of the caller's monotonic clock)."""
        return 1 if now < self._narrow_until else self._width

    def resize(self, width: int) -> None:
        with self._free:
            self._width = width
            self._free.notify_all()

    def narrow(self, until: float) -> None:
        """Only one may hold until then. Those who hold now go on."""
        with self._free:
            self._narrow_until = max(self._narrow_until, until)

    @contextmanager
    def slot(self, now: Callable[[], float], check: Callable[[], None]) -> Generator[None]:
        """Holds one place. ``check`` is called while waiting and may raise to give up."""
        with self._free:
            while self._held >= self.width(now()):
                self._free.wait(_LOOK_S)
                check()
            self._held += 1
        file: int | None = None
        try:
            file = self._shared(check)
            yield
        finally:
            if file is not None:
                os.close(file)
            with self._free:
                self._held -= 1
                self._free.notify()

    def _shared(self, check: Callable[[], None]) -> int | None:
        """A place among all processes; None where there are none to be had on this machine."""
        while self._places is not None:
            try:
                file = self._places.take(self._width)
            except OSError:  # nothing is lost by it: the other side counts, too
                break
            if file is not None:
                return file
            time.sleep(_LOOK_S)
            check()
        return None


_limiters: dict[tuple[str, str, str], Limiter] = {}
_guard = threading.Lock()


def limiter(host: str, account: str, api: str, width: int, *, most: int) -> Limiter:
    """The one limiter of this process for an API of an account. The width asked for last holds.

    ``most``: how many the API allows at a time, from all processes; no width is more.
    """
    with _guard:
        found = _limiters.get((host, account, api))
        if found is None:
            folder = _folder()
            places = None if folder is None else Places(folder, "\n".join((host, account, api)), most)
            found = _limiters[(host, account, api)] = Limiter(width, places)
    found.resize(width)
    return found


def _folder() -> Path | None:
    """A folder of this user alone, below that for temporary files; None when somebody else has its name."""
    folder = Path(os.environ.get("TMPDIR") or "/tmp", f"millrace-{os.geteuid()}")  # noqa: S108  what is in it is looked at
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()
    except OSError:
        return None
    ours = stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid() and not found.st_mode & 0o022
    return folder if ours else None
