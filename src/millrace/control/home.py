"""The home: the folder where a Millrace keeps its control database, its key and, by default, its stage."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from millrace.control.people.actors import OPERATOR, Actor
from millrace.errors import ConfigError, EnvironmentProblem

if TYPE_CHECKING:
    from millrace.control.database.db import Database
    from millrace.control.secrecy.keyring import KeyStore

FOLDER = ".millrace"
DATABASE = "millrace.db"
STAGE = "stage"


class Home:
    """Where the state of a Millrace lives. Opening it is cheap; the database is opened at its first use."""

    def __init__(self, path: Path, env: Mapping[str, str], actor: Actor = OPERATOR) -> None:
        self.path = path
        self.actor = actor
        """Who asks: functions of `control` check what that one may, and see the things of its team alone."""
        self._env = env
        self.database_url = env.get("MILLRACE_DATABASE_URL") or _own_url(path)

    @classmethod
    def open(
        cls,
        path: Path | None = None,
        *,
        create: bool = False,
        new_key: bool = False,
        env: Mapping[str, str] | None = None,
    ) -> Home:
        """The home at ``path``, at $MILLRACE_HOME, or in `.millrace` of this folder.

        With ``create`` it is made, for its owner alone, with a key and an empty database; one that is there already
        is left as it is: a key that is gone is made anew only with ``new_key``, since it opens nothing that the old
        one sealed. Raises ConfigError "no_home" when there is none.
        """
        env = os.environ if env is None else env
        chosen = (path or Path(env.get("MILLRACE_HOME") or FOLDER)).expanduser().absolute()
        home = cls(chosen, env)
        if create:
            _make(home, new_key=new_key)
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

    def variable(self, name: str) -> str | None:
        """A variable of the environment that this home was opened in; None where it is not set, or empty."""
        return self._env.get(name) or None

    def acting(self, actor: Actor) -> Home:
        """The same home, asked by ``actor``. It shares our connections to the database, and is not closed."""
        other = Home(self.path, self._env, actor)
        other.__dict__["database"] = self.database
        other.__dict__["keys"] = self.keys
        return other

    @cached_property
    def database(self) -> Database:
        """The control database, with the schema of this version. Raises EnvironmentProblem (see `open_database`)."""
        # Imported here: SQLAlchemy takes a fifth of a second, and `--help` does without.
        from millrace.control.database.db import open_database

        return open_database(self.database_url)

    @cached_property
    def keys(self) -> KeyStore:
        """Where the keys that seal secrets are kept (`keyring.store`)."""
        from millrace.control.secrecy.keyring import store

        return store(self.path, self._env)

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


def _own_url(path: Path) -> str:
    return f"sqlite:///{path / DATABASE}"


def _make(home: Home, *, new_key: bool) -> None:
    try:
        home.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        if new_key or _unsealed(home):
            home.keys.prepare()
    except OSError as cause:
        raise EnvironmentProblem(
            f"no home can be made at {home.path}: {cause.strerror}",
            hint="Choose a folder that you may write to, with --home or MILLRACE_HOME.",
            path="MILLRACE_HOME",
            code="home_unwritable",
        ) from cause
    _ = home.database


def _unsealed(home: Home) -> bool:
    """Nothing can have been sealed yet, so that a key that is not there is not lost."""
    if home.database_url == _own_url(home.path):
        # A home has its key before its database.
        return not (home.path / DATABASE).exists()
    from millrace.control.secrecy import sealing

    # The key of a database elsewhere, which other machines may use too, is told by what is noted there.
    return not sealing.begun(home)
