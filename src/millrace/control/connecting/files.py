"""Files that were sent to a home: a folder for each team, the only place that whoever asks over HTTP may name files in.

Somebody at the machine (the operator) may name any file; so may whoever edits the settings of the workspace.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from millrace.connect.config import Settings
from millrace.control.activity import Entity, wrote
from millrace.control.as_code.document import absolute, is_local
from millrace.data.dataclass import dataclass
from millrace.errors import ConfigError, EnvironmentProblem

if TYPE_CHECKING:
    from millrace.control.home import Home

FOLDER = "files"


@dataclass(frozen=True, slots=True)
class Stored:
    """A file of the team. ``name`` is what settings call it."""

    name: str
    size_bytes: int


def folder(home: Home) -> Path:
    """Where the files of the team lie, and where relative paths in its settings start."""
    return home.path / FOLDER / home.actor.team_id


def put(home: Home, name: str, content: Path) -> Stored:
    """The file has the content of that other one, whole and at once. Raises ConfigError for a name that leads out of
    the folder."""
    home.actor.must("pipelines.edit")
    target = folder(home) / _inside(name)
    draft = target.with_name(f".{uuid4().hex}.part")
    try:
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        shutil.copyfile(content, draft)
        size_bytes = draft.stat().st_size
        draft.replace(target)
    except OSError as cause:
        raise EnvironmentProblem(
            f"{target} cannot be written: {cause.strerror}", hint="See to the home's folder.", code="file_unwritable"
        ) from cause
    finally:
        draft.unlink(missing_ok=True)
    wrote(home, "LOW", Entity("file", None, name), "put", f"file {name} was sent", after={"size_bytes": size_bytes})
    return Stored(name, size_bytes)


def placed(home: Home, model: type[Settings], config: Mapping[str, Any]) -> dict[str, Any]:
    """Settings with relative paths in the team's folder. Raises ConfigError for a path out of it that the asker may
    not name."""
    if home.actor.kind == "operator":
        return dict(config)
    mine = folder(home)
    # A file that a connector makes itself may be the first one here.
    mine.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = absolute(model, config, mine)
    checked(home, {key: value for key, value in found.items() if key in model.path_keys()})
    return found


@contextmanager
def laid_out(home: Home, sent: Mapping[str, str]) -> Generator[Path]:
    """A folder in which files that were sent lie at the paths that a document has for them."""
    with tempfile.TemporaryDirectory(prefix="millrace-") as name:
        for typed, stored in sent.items():
            place = Path(name) / _inside(typed)
            place.parent.mkdir(parents=True, exist_ok=True)
            place.symlink_to(folder(home) / _inside(stored))
        yield Path(name)


def settled(
    home: Home, model: type[Settings], config: Mapping[str, Any], laid: Path, sent: Mapping[str, str]
) -> dict[str, Any]:
    """Settings of a document that was read in a folder ``laid`` out, with paths where the files are to stay."""
    stay = {os.path.normpath(laid / typed): str(folder(home) / stored) for typed, stored in sent.items()}

    def at_home(value: Any) -> Any:
        if not isinstance(value, str) or os.path.commonpath([laid, os.path.join(laid, value)]) != str(laid):  # noqa: PTH118  what was typed may be no path
            return value
        return stay.get(value) or os.path.normpath(folder(home) / os.path.relpath(value, laid))

    found = {key: at_home(value) if key in model.path_keys() else value for key, value in config.items()}
    checked(home, {key: found[key] for key in model.path_keys() & found.keys()})
    return found


def checked(home: Home, paths: Mapping[str, Any]) -> None:
    """Raises ConfigError when one of the paths leads out of the team's folder, and the asker may not name such."""
    if not home.actor.may("settings.edit"):
        must_be_mine(home, paths)


def must_be_mine(home: Home, paths: Mapping[str, Any]) -> None:
    """Raises ConfigError when one of the paths leads out of the team's folder; the operator may look everywhere."""
    if home.actor.kind == "operator":
        return
    mine = os.path.realpath(folder(home))
    for key, value in paths.items():
        if not isinstance(value, str) or not is_local(value):
            continue
        if os.path.commonpath([mine, os.path.realpath(value)]) != mine:
            raise ConfigError(
                f"{key} names a file of the server's machine",
                hint="Send the file first, and give its name; or ask an administrator.",
                path=key,
                code="foreign_file",
            )


def _inside(name: str) -> PurePosixPath:
    found = PurePosixPath(name)
    if (
        found.is_absolute()
        or not found.parts
        or any(part == ".." or not part.isprintable() or len(part.encode()) > 200 for part in found.parts)
        or len(found.parts) > 8
    ):
        raise ConfigError(
            f"{name[:80]!r} cannot be the name of a file",
            hint="Give a relative path without `..`, like events.csv.",
            path="name",
            code="bad_name",
        )
    return found
