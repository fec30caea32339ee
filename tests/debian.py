"""Packages of Debian that tests need, which tests that run as root install themselves."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path


def bring(package: str, there: Callable[[], bool], before: Callable[[], None] = lambda: None) -> bool:
    """Whether what ``there`` looks for is here, by now. ``before``: what is done ahead of an installation.

    One process at a time asks the package manager, and no server that comes with a package starts by itself.
    """
    if there() or os.geteuid() != 0 or not shutil.which("apt-get"):
        return there()
    with (Path(tempfile.gettempdir()) / "millrace-apt.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not there():
            before()
            quiet = os.environ | {"DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}
            for words in (["update"], ["install", "-y", "--no-install-recommends", package]):
                subprocess.run(
                    ["apt-get", "-q", *words], env=quiet, stdout=subprocess.DEVNULL, check=False, timeout=280
                )
    return there()
