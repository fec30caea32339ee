"""Builds the native library from `native/*.c`: one shared library, without Python's headers.

    python tools/native.py              src/millrace/data/_native.so, where a source is newer than it
    python tools/native.py --stamp      the number of the sources goes into src/millrace/data/native.py, after a change
    python tools/native.py --sanitize   build/native-sanitized.so, which ends the process at the first wrong access
    python tools/native.py --compiler   the compiler that it would use; fails where there is none

The compiler is `$CC`, or `cc`, `gcc` or `clang` of the path, or the one of the PyPI package `ziglang` (`CC=ziglang`).
The standard library alone is imported: the build of a wheel runs this as well (`tools/wheel.py`).
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import os
import platform
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SUFFIX = {"darwin": ".dylib", "win32": ".dll"}.get(sys.platform, ".so")
LIBRARY = Path(f"src/millrace/data/_native{SUFFIX}")
LOADER = Path("src/millrace/data/native.py")
SANITIZED = Path(f"build/native-sanitized{SUFFIX}")

# The oldest C library that a build by zig asks for: the one of manylinux2014.
GLIBC = (2, 17)

# No instructions but those that every machine of its kind has; faster ones are chosen while it runs.
FLAGS = ("-std=c11", "-O3", "-fvisibility=hidden", "-fPIC", "-shared")
STRICT = ("-Wall", "-Wextra", "-Werror")
SANITIZERS = ("-O1", "-g", "-fno-omit-frame-pointer", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")


WITHOUT = "With MILLRACE_NATIVE=0 in the environment Millrace does without it, slower."


class NotBuilt(Exception):
    """The library could not be built, with the compiler's own words."""


def compiler() -> list[str] | None:
    """The words that a command of the compiler begins with; nothing where there is none."""
    named = shlex.split(os.environ.get("CC", ""))
    if named and named != ["ziglang"]:
        return named
    if not named and (found := next(filter(shutil.which, ("cc", "gcc", "clang")), None)):
        return [found]
    return _zig() if importlib.util.find_spec("ziglang") else None


def glibc_target(words: Sequence[str]) -> bool:
    """Whether the compiler of ``words`` builds for `GLIBC`, whatever this machine has."""
    return "-target" in words and "ziglang" in words


def _zig() -> list[str]:
    # Zig takes the machine's own processor and C library as the target, unless it is told.
    words = [sys.executable, "-m", "ziglang", "cc", "-mcpu=baseline", "-fno-sanitize=undefined"]
    if platform.libc_ver()[0] == "glibc" and platform.machine() in ("x86_64", "aarch64"):
        words += ["-target", f"{platform.machine()}-linux-gnu.{'.'.join(map(str, GLIBC))}"]
    return words


def number(root: Path) -> int:
    """The number of the sources: another one for other sources. A library of another number is not used."""
    files = sorted((root / "native").glob("*.[ch]"))
    whole = hashlib.sha256(b"".join(b"%b\0%b\0" % (file.name.encode(), file.read_bytes()) for file in files))
    return int.from_bytes(whole.digest()[:4], "big") >> 1


def stamp(root: Path) -> None:
    """Python knows the number of the sources."""
    file = root / LOADER
    file.write_text(re.sub(r"(?m)^ABI = \d+$", f"ABI = {number(root)}", file.read_text()))


def build(root: Path, output: Path = LIBRARY, *, strict: bool = False, sanitize: bool = False) -> Path:
    """The library at ``root / output``, made where it is not newer than its sources. Raises NotBuilt.

    The same sources and the same compiler make the same bytes. Warnings are errors with ``strict``.
    """
    made = root / output
    folder = root / "native"
    sources = sorted(file.name for file in folder.glob("*.c"))
    if not sources:
        raise NotBuilt(f"{folder} has no C files")
    if _fresh(made, [*folder.glob("*.[ch]"), Path(__file__)]):
        return made
    if (words := compiler()) is None:
        raise NotBuilt("there is no C compiler: install gcc or clang, or the PyPI package ziglang")
    flags = [*FLAGS, f"-DMILLRACE_NATIVE_ABI={number(root)}"]
    flags += [*(SANITIZERS if sanitize else ()), *(STRICT if strict else ())]
    try:
        made.parent.mkdir(parents=True, exist_ok=True)
        beside = tempfile.TemporaryDirectory(prefix=".native-", dir=made.parent)
    except OSError as error:
        raise NotBuilt(f"{made.parent} cannot be written: {error.strerror}") from error
    with beside as scratch:
        # The same name in each build: some linkers write it into the file.
        file = Path(scratch) / made.name
        command = [*words, *flags, *sources, "-o", str(file)]
        try:
            done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        except OSError as error:
            raise NotBuilt(f"{words[0]} cannot be run: {error.strerror}") from error
        if done.returncode or not file.is_file():
            raise NotBuilt(f"{shlex.join(command)}\n{done.stderr or done.stdout}")
        # Whole or not at all, though processes may have the old one loaded.
        file.replace(made)
    return made


def _fresh(made: Path, sources: Sequence[Path]) -> bool:
    return made.is_file() and all(made.stat().st_mtime_ns > source.stat().st_mtime_ns for source in sources)


def main() -> int:
    about, _, _ = (__doc__ or "").partition("\n")
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument("--sanitize", action="store_true", help="with checks of every access, for tests")
    parser.add_argument("--stamp", action="store_true", help="tell Python the number of the sources, and build nothing")
    parser.add_argument("--compiler", action="store_true", help="print which compiler it is, and build nothing")
    asked = parser.parse_args()
    if asked.stamp:
        stamp(ROOT)
        return 0
    if os.environ.get("MILLRACE_NATIVE") == "0":
        return 0
    if asked.compiler:
        print(shlex.join(compiler() or ()))
        return 0 if compiler() else 1
    try:
        build(ROOT, SANITIZED if asked.sanitize else LIBRARY, sanitize=asked.sanitize)
    except NotBuilt as error:
        print(f"The native library could not be built. {error}\n{WITHOUT}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
