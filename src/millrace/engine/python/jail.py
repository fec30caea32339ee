"""The wall around a guest: which one this machine offers, and a process behind it."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from functools import cache
from pathlib import Path
from typing import Any, Literal, TypeAlias, get_args

from millrace.data.dataclass import dataclass
from millrace.errors import ConfigError

Wall: TypeAlias = Literal["bubblewrap", "namespaces", "landlock", "none"]

# Packages that scripts may import beside the standard library (transformations.md 2.6), and what those need.
PACKAGES = ("dateutil", "pytz", "ua_parser", "ua_parser_builtins", "six", "tzdata")

_HERE = Path(__file__).parent
_TOLD: dict[Wall, str] = {
    "bubblewrap": "bubblewrap, a filter of system calls, and Landlock where the kernel has it",
    "namespaces": "namespaces of its own, a filter of system calls, and Landlock where the kernel has it",
    "landlock": "Landlock and a filter of system calls",
    "none": "nothing: scripts run as whoever runs Millrace",
}


@dataclass(frozen=True, slots=True)
class Sandbox:
    """What this machine puts around users' Python. ``tried``: walls that did not hold, each with the reason."""

    wall: Wall
    told: str
    tried: dict[str, str]

    @property
    def safe(self) -> bool:
        return self.wall != "none"


@cache
def probe() -> Sandbox:
    """The strongest wall that holds here, found by standing one up."""
    tried: dict[str, str] = {}
    for wall in get_args(Wall):
        if wall == "none":
            break
        problem = _stands(wall)
        if problem is None:
            return Sandbox(wall, f"Users' Python runs behind {_TOLD[wall]}.", tried)
        tried[wall] = problem
    reasons = "; ".join(f"{wall}: {why}" for wall, why in tried.items())
    return Sandbox("none", f"There is no wall for users' Python here ({reasons}).", tried)


def chosen(*, trusted: bool) -> Wall:
    """The wall to use. Raises ConfigError "no_sandbox" where none holds and scripts are not ``trusted``."""
    found = probe()
    if found.wall == "none" and not trusted:
        raise ConfigError(
            f"users' Python cannot be run safely on this machine. {found.told}",
            hint="Install bubblewrap (Debian: apt install bubblewrap), or allow user namespaces; an administrator may "
            "also set `settings: {allow_unsandboxed_python: true}` for scripts that are trusted.",
            code="no_sandbox",
        )
    return found.wall


def _stands(wall: Wall) -> str | None:
    """None when a guest behind the wall answers, else why it does not."""
    from millrace.engine.python.frames import frame

    with tempfile.TemporaryFile() as shared:
        shared.write(bytes(16))
        shared.flush()
        try:
            process = start(wall, shared.fileno(), memory_bytes=64 << 20, errors=subprocess.PIPE)
        except OSError as cause:
            return str(cause)
        said, told = b"", b""
        try:
            said, told = process.communicate(frame({"source": _GREETING, "free": False}), timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            return "it does not answer"
    if b'"event_types"' in said:
        return None
    lines = told.decode(errors="replace").strip().splitlines()
    return lines[-1] if lines else f"it ended with {process.returncode}"


_GREETING = "def transform(event):\n    return event\n"


def start(wall: Wall, progress: int, *, memory_bytes: int, errors: int = subprocess.DEVNULL) -> subprocess.Popen[bytes]:
    """A guest process behind the wall. ``progress``: the descriptor of 16 bytes of shared memory.

    It has our end of two pipes, that memory, and no other descriptor and no variable of ours. Raises OSError.
    """
    python, library = _interpreter(), sysconfig.get_path("stdlib", vars=_BASE)
    packages = _packages()
    paths = (
        ["/guest", "/packages"] if wall == "bubblewrap" else [str(_HERE), str(_HERE.parents[1]), *_parents(packages)]
    )
    readable = [*_system(), library, *packages, str(_HERE), str(_HERE.parents[1] / "scripting")]
    if wall == "bubblewrap":
        readable = [*_system(), library, "/guest", "/packages"]
    setting: dict[str, Any] = {
        "wall": wall,
        "paths": paths,
        "readable": [path for path in readable if wall == "bubblewrap" or Path(path).exists()],
        "memory_bytes": memory_bytes,
        "progress": progress,
        "landlock": _has_landlock(),
    }
    guest = "/guest/guest.py" if wall == "bubblewrap" else str(_HERE / "guest.py")
    command = [python, "-I", "-S", "-B", "-X", "utf8", guest, json.dumps(setting)]
    if wall == "bubblewrap":
        command = [*_bubblewrap(python, library, packages), *command]
    return subprocess.Popen(  # noqa: S603  our own command
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=errors,
        env={"LC_ALL": "C.UTF-8"},
        cwd="/",
        close_fds=True,
        pass_fds=[progress],
        start_new_session=True,
    )


_BASE = {"base": sys.base_prefix, "platbase": sys.base_exec_prefix, "installed_base": sys.base_prefix}


def _interpreter() -> str:
    """The interpreter itself, not the one of a virtual environment."""
    own = getattr(sys, "_base_executable", None) or sys.executable
    return os.path.realpath(own)


@cache
def _packages() -> tuple[str, ...]:
    """Folders and files of the packages that scripts may import, as far as they are installed."""
    found: list[str] = []
    for name in PACKAGES:
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.origin is not None:
            path = Path(spec.origin)
            found.append(str(path.parent if path.name == "__init__.py" else path))
    return tuple(found)


def _parents(packages: tuple[str, ...]) -> list[str]:
    return list(dict.fromkeys(str(Path(path).parent) for path in packages))


@cache
def _system() -> list[str]:
    """What an interpreter needs of the system: its program and the shared libraries."""
    python = _interpreter()
    prefix = Path(sys.base_prefix)
    own = [str(path) for path in (prefix / "lib").glob("libpython*")] if prefix != Path("/usr") else []
    libraries = [path for path in ("/lib", "/lib64", "/usr/lib", "/usr/lib64") if Path(path).is_dir()]
    zones = [path for path in ("/usr/share/zoneinfo",) if Path(path).is_dir()]
    return [python, *own, *libraries, *zones]


@cache
def _has_landlock() -> bool:
    from millrace.engine.python.locks import landlock_version

    return landlock_version() > 0


def _bubblewrap(python: str, library: str, packages: tuple[str, ...]) -> list[str]:
    program = shutil.which("bwrap", path="/usr/bin:/bin:/usr/local/bin")
    if program is None:
        raise FileNotFoundError("bubblewrap (bwrap) is not installed")
    words = [program, "--unshare-all", "--die-with-parent", "--clearenv", "--cap-drop", "ALL", "--hostname", "guest"]
    for path in _system():
        if Path(path).is_symlink():  # `/lib` is a link to `/usr/lib` on today's systems
            words += ["--symlink", str(Path(path).readlink()), path]
        else:
            words += ["--ro-bind", path, path]
    del python
    words += ["--ro-bind", library, library, "--setenv", "LC_ALL", "C.UTF-8"]
    for name in ("guest.py", "locks.py", "work.py", "cells.py"):
        words += ["--ro-bind", str(_HERE / name), f"/guest/{name}"]
        # What is compiled already takes a tenth less of the start; Python passes over what is not of this very source.
        compiled = importlib.util.cache_from_source(str(_HERE / name))
        words += ["--ro-bind-try", compiled, f"/guest/__pycache__/{Path(compiled).name}"]
    words += ["--ro-bind", str(_HERE.parents[1] / "scripting"), "/guest/scripting"]
    for path in packages:
        words += ["--ro-bind", path, f"/packages/{Path(path).name}"]
    return [*words, "--remount-ro", "/", "--chdir", "/", "--"]


def children(pid: int) -> list[int]:
    """The processes that this one started and that are still there."""
    try:
        return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except (OSError, ValueError):
        return []
