"""YAML files of this machine, on their way to where they are applied."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

from millrace.errors import ConfigError

_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)")


def told(file: Path) -> tuple[str, dict[str, str]]:
    """The text of a file (`-`: of stdin), and the variables of this process that it names. Raises ConfigError."""
    try:
        text = sys.stdin.read() if str(file) == "-" else file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as wrong:
        raise ConfigError(
            f"{file} cannot be read: {wrong}", hint="Give the path of a readable YAML file.", code="no_file"
        ) from wrong
    return text, {name: os.environ[name] for name in _VARIABLE.findall(text) if name in os.environ}
