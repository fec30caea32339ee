"""Bubblewrap for tests of the sandbox: Debian's package, which tests that run as root install themselves."""

from __future__ import annotations

import os
import shutil
from functools import cache

from tests import debian

from millrace.engine.python.jail import Wall


def walls() -> tuple[Wall, ...]:
    """The walls that tests stand behind here."""
    return ("bubblewrap", "namespaces", "landlock") if installed() else ("namespaces", "landlock")


@cache
def installed() -> bool:
    """Bubblewrap is here, if it can be had. In CI it must be: a wall that is not tried there is not proven."""
    found = debian.bring("bubblewrap", lambda: shutil.which("bwrap") is not None)
    if not found and os.environ.get("CI"):
        raise RuntimeError("bubblewrap cannot be had: install Debian's package bubblewrap")
    return found


def pytest_report_header() -> str:
    """What the tests of the sandbox stand behind."""
    found = shutil.which("bwrap")
    return f"bubblewrap: {found or 'not here yet; installed when a test needs it and may, else left out'}"
