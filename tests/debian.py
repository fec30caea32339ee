"""Packages of Debian that tests need, which tests that run as root install themselves.

`python -m tests.debian` brings all of them at once, which takes less time than one after the other while tests wait.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

# Each with a program by which one sees that it is here.
PACKAGES = {
    "postgresql": "pg_ctlcluster",
    "mariadb-server": "mariadbd",
    "bubblewrap": "bwrap",
    "chromium": "chromium",
    "openssh-server": "sshd",
    "xmlsec1": "xmlsec1",
}


def bring(package: str, there: Callable[[], bool]) -> bool:
    """Whether what ``there`` looks for is here, by now."""
    if not there() and _may():
        _installed([package], there)
    return there()


def bring_all() -> list[str]:
    """Those of the packages that are missing still."""
    if (lacking := _lacking()) and _may():
        _installed(lacking, lambda: not _lacking())
    return _lacking()


def _lacking() -> list[str]:
    places = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin"
    return [package for package, program in PACKAGES.items() if not shutil.which(program, path=places)]


def _may() -> bool:
    return os.geteuid() == 0 and shutil.which("apt-get") is not None


def _installed(packages: Sequence[str], there: Callable[[], bool]) -> None:
    """One process at a time asks the package manager, and no server that comes with a package starts by itself."""
    with (Path(tempfile.gettempdir()) / "millrace-apt.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if there():
            return
        if "postgresql" in packages:
            # The package makes no cluster of its own.
            Path("/etc/postgresql-common").mkdir(exist_ok=True)
            Path("/etc/postgresql-common/createcluster.conf").write_text("create_main_cluster = false\n")
        quiet = os.environ | {"DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}
        for words in (["update"], ["install", "-y", "--no-install-recommends", *packages]):
            subprocess.run(["apt-get", "-q", *words], env=quiet, stdout=subprocess.DEVNULL, check=False, timeout=280)


if __name__ == "__main__":
    if missing := bring_all():
        print(f"Tests will miss these packages of Debian: {', '.join(missing)}")
