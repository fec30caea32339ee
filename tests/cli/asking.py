"""One command in this process, or in one of its own, as a person or a program would give it."""

from __future__ import annotations

import contextlib
import io
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

from millrace.cli.main import main


@dataclass(frozen=True)
class Asked:
    """What a command said, and its exit code."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The one JSON document on stdout."""
        return json.loads(self.out)


def ask(*words: str | Path, home: Path | None = None, env: Mapping[str, str] | None = None, given: str = "") -> Asked:
    """The command, run in this process, with ``given`` on its standard input. None of the three is a terminal."""
    out, err = io.StringIO(), io.StringIO()
    typed = [str(word) for word in words] + (["--home", str(home)] if home else [])
    with (
        patch.dict(os.environ, {"COLUMNS": "100", **(env or {})}),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
        patch.object(sys, "stdin", io.StringIO(given)),
    ):
        code = main(typed)
    return Asked(code, out.getvalue(), err.getvalue())


def spawn(*words: str | Path, cwd: Path, env: Mapping[str, str] | None = None) -> subprocess.Popen[str]:
    """The command in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-m", "millrace", *map(str, words)],
        cwd=cwd,
        env={**os.environ, "COLUMNS": "100", **(env or {})},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
