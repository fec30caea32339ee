"""Which files are read, as which object, and by which format."""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import PurePosixPath
from urllib.parse import urlsplit

from millrace.data.dataclass import dataclass
from millrace.sources.files.config import ENDINGS, Config, Format

_COMPRESSIONS = {".gz": "gzip", ".gzip": "gzip", ".zst": "zstd", ".zstd": "zstd"}


@dataclass(frozen=True, slots=True)
class Kind:
    """What is in a file, and what it is compressed by: gzip, zstd or nothing."""

    format: Format
    compression: str


def kind(config: Config, path: str) -> Kind | None:
    """What the settings or the ending of its name say; None where neither does."""
    *_, before, last = ("", "", *PurePosixPath(path.lower()).suffixes)
    packed = _COMPRESSIONS.get(last, "")
    format_ = config.format or ENDINGS.get(before if packed else last)
    return None if format_ is None else Kind(format_, packed)


def wanted(config: Config, path: str) -> bool:
    """The pattern means the file. Names that begin with _ or . are marks of those who write files."""
    parts = path.split("/")
    if any(part.startswith(("_", ".")) for part in parts):
        return False
    return _pattern(config.pattern).fullmatch(path if "/" in config.pattern else parts[-1]) is not None


def object_of(config: Config, path: str) -> str:
    """The name of the object that the file belongs to."""
    folder, slash, _ = path.partition("/")
    return folder if slash and config.objects == "folders" else own_name(config)


def own_name(config: Config) -> str:
    """The name of the object of files that are in no folder of their own."""
    last = urlsplit(config.url).path if "://" in config.url else config.url
    host = urlsplit(config.url).netloc.rpartition("@")[2].partition(":")[0] if "://" in config.url else ""
    return config.object_name or last.rstrip("/").rpartition("/")[2] or host or "files"


@lru_cache
def _pattern(pattern: str) -> re.Pattern[str]:
    """``*`` and ``?`` stay within a folder, ``**/`` is any folders, and none; ``[ab]`` is one of these."""
    found = ""
    at = 0
    while at < len(pattern):
        end = pattern.find("]", at + 2)
        if pattern.startswith("**/", at):
            found, at = f"{found}(?:.*/)?", at + 3
        elif pattern.startswith("**", at):
            found, at = f"{found}.*", at + 2
        elif pattern[at] == "*":
            found, at = f"{found}[^/]*", at + 1
        elif pattern[at] == "?":
            found, at = f"{found}[^/]", at + 1
        elif pattern[at] == "[" and end > 0:
            inner = pattern[at + 1 : end].replace("\\", "\\\\").replace("[", "\\[")
            found, at = f"{found}[{'^' + inner[1:] if inner.startswith('!') else inner}]", end + 1
        else:
            found, at = found + re.escape(pattern[at]), at + 1
    return re.compile(found, re.DOTALL)
