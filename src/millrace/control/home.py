"""The home: the folder where a Millrace keeps its control database, its key and, by default, its stage."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Generator, Mapping
from contextlib import contextmanager, suppress
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from millrace.control.actors import OPERATOR, Actor
from millrace.errors import ConfigError, EnvironmentProblem

if TYPE_CHECKING:
    from millrace.control.db import Database

FOLDER = ".millrace"
DATABASE = "millrace.db"
KEY = "key"
STAGE = "stage"


class Home:
    """Where the state of a Millrace lives. Opening it is cheap; the database is opened at its first use."""

    def __init__(self, path: Path, env: Mapping[str, str], actor: Actor = OPERATOR) -> None:
        self.path = path
        self.actor = actor
        """Who asks: functions of `control` check what that one may, and see the things of its team alone."""
        self._env = env
        self.database_url = env.get("MILLRACE_DATABASE_URL") or f"sqlite:///{path / DATABASE}"

    @classmethod
    def open(cls, path: Path | None = None, *, create: bool = False, env: Mapping[str, str] | None = None) -> Home:
        """The home at ``path``, at $MILLRACE_HOME, or in `.millrace` of this folder.

        With ``create`` it is made, for its owner alone, with a key and an empty database; one that is there already
        is left as it is. Raises ConfigError "no_home" when there is none.
        """
        env = os.environ if env is None else env
        chosen = (path or Path(env.get("MILLRACE_HOME") or FOLDER)).expanduser().absolute()
        home = cls(chosen, env)
        if create:
            _make(home, env)
        elif not chosen.is_dir():
            raise ConfigError(
                f"there is no Millrace home at {chosen}",
                hint="Run `millrace init` there, or name another with --home or MILLRACE_HOME.",
                path="MILLRACE_HOME",
                code="no_home",
            )
        return home

    @classmethod
    @contextmanager
    def temporary(cls) -> Generator[Home]:
        """A home that is gone, with its database and its stage, when the block ends. The environment has no say."""
        with (
            tempfile.TemporaryDirectory(prefix="millrace-") as folder,
            cls.open(Path(folder) / FOLDER, create=True, env={}) as home,
        ):
            yield home

    def acting(self, actor: Actor) -> Home:
        """The same home, asked by ``actor``. It shares our connections to the database, and is not closed."""
        other = Home(self.path, self._env, actor)
        other.__dict__["database"] = self.database
        return other

    @cached_property
    def database(self) -> Database:
        """The control database, with the schema of this version. Raises EnvironmentProblem (see `open_database`)."""
        # Imported here: SQLAlchemy takes a fifth of a second, and `--help` does without.
        from millrace.control.db import open_database

        return open_database(self.database_url)

    @cached_property
    def key(self) -> bytes:
        """The key that seals secrets: $MILLRACE_KEY, or the file `key`. Raises EnvironmentProblem when it is gone."""
        if from_env := self._env.get("MILLRACE_KEY"):
            return from_env.strip().encode()
        try:
            return (self.path / KEY).read_bytes().strip()
        except OSError as cause:
            raise EnvironmentProblem(
                f"the key that seals secrets cannot be read: {self.path / KEY}: {cause.strerror}",
                hint="Put the file back, or set MILLRACE_KEY to what it held. Without it all secrets must be "
                "given again: `millrace init` makes a new key.",
                path="MILLRACE_KEY",
                code="no_key",
            ) from cause

    @property
    def stage_url(self) -> str:
        """Root of the stage: $MILLRACE_STAGE, else the workspace's setting, else the folder `stage` of the home."""
        if from_env := self._env.get("MILLRACE_STAGE"):
            return from_env if "://" in from_env else str(Path(from_env).expanduser().absolute())
        from millrace.control.settings import workspace

        return workspace(self.database).stage_url or str(self.path / STAGE)

    def close(self) -> None:
        """Connections end. May be called twice."""
        if "database" in self.__dict__:
            self.__dict__.pop("database").close()

    def __enter__(self) -> Home:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _make(home: Home, env: Mapping[str, str]) -> None:
    try:
        home.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not env.get("MILLRACE_KEY"):
            _make_key(home.path / KEY)
    except OSError as cause:
        raise EnvironmentProblem(
            f"no home can be made at {home.path}: {cause.strerror}",
            hint="Choose a folder that you may write to, with --home or MILLRACE_HOME.",
            path="MILLRACE_HOME",
            code="home_unwritable",
        ) from cause
    _ = home.database


def _make_key(path: Path) -> None:
    """The file holds a key, readable by its owner alone; one that is there stays."""
    from millrace.control.secrets import new_key

    if path.exists():
        return
    draft = path.with_name(f".{KEY}.{os.getpid()}")
    with suppress(FileNotFoundError):
        draft.unlink()
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        os.write(handle, new_key() + b"\n")
        os.fsync(handle)
    finally:
        os.close(handle)
    # A link, not a rename: of two processes that make the same home, the first one's key stays.
    with suppress(FileExistsError):
        os.link(draft, path)
    draft.unlink()
