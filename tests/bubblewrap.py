"""Bubblewrap for tests of the sandbox: Debian's package, which tests that run as root install themselves."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

from millrace.engine.python.jail import Wall


def walls() -> tuple[Wall, ...]:
    """The walls that tests stand behind here."""
    return ("bubblewrap", "namespaces", "landlock") if installed() else ("namespaces", "landlock")


@cache
def installed() -> bool:
    """Bubblewrap is here, if it can be had. In CI it must be: a wall that is not tried there is not proven."""
    if shutil.which("bwrap") is None and os.geteuid() == 0 and shutil.which("apt-get"):
        _install()
    if shutil.which("bwrap") is None and os.environ.get("CI"):
        raise RuntimeError("bubblewrap cannot be had: install Debian's package bubblewrap")
    return shutil.which("bwrap") is not None


def _install() -> None:
    """One process at a time asks the package manager, with the same lock as the tests' PostgreSQL."""
    with (Path(tempfile.gettempdir()) / "millrace-apt.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if shutil.which("bwrap") is not None:
            return
        quiet = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
        for words in (["update"], ["install", "-y", "--no-install-recommends", "bubblewrap"]):
            subprocess.run(["apt-get", "-q", *words], env=quiet, stdout=subprocess.DEVNULL, check=False, timeout=240)


def pytest_report_header() -> str:
    """What the tests of the sandbox stand behind."""
    found = shutil.which("bwrap")
    return f"bubblewrap: {found or 'not here yet; installed when a test needs it and may, else left out'}"
