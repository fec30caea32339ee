"""The wheel has the native library and says for which platform; without the library it is for all."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
import tarfile
import zipfile
from email import message_from_string
from pathlib import Path

import pytest
from tools.native import LIBRARY, ROOT

from millrace.data import native

INSIDE = str(LIBRARY.relative_to("src"))


def built(folder: Path, target: str, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", target, "-d", folder],
        cwd=ROOT,
        env={key: value for key, value in os.environ.items() if key not in ("MILLRACE_NATIVE", "CC")} | env,
        capture_output=True,
        text=True,
        check=False,
    )


def wheel(folder: Path, **env: str) -> tuple[str, zipfile.ZipFile]:
    """The tag of the wheel, which its name and its metadata agree on, and what is in it."""
    done = built(folder, "wheel", **env)
    assert done.returncode == 0, done.stdout + done.stderr
    (file,) = folder.glob("*.whl")
    archive = zipfile.ZipFile(file)
    (about,) = (name for name in archive.namelist() if name.endswith("dist-info/WHEEL"))
    told = message_from_string(archive.read(about).decode())
    tag = "-".join(file.stem.split("-")[2:])
    assert told.get_all("Tag") == [tag]
    assert told["Root-Is-Purelib"] == ("true" if tag == "py3-none-any" else "false")
    return tag, archive


def test_the_wheel_has_the_library_and_is_for_its_platform(tmp_path: Path) -> None:
    tag, archive = wheel(tmp_path)
    interpreter, abi, platform = tag.split("-")
    assert (interpreter, abi) == ("py3", "none") and platform != "any"
    found = ctypes.CDLL(archive.extract(INSIDE, tmp_path))
    assert found.millrace_native_abi() == native.ABI


def test_a_wheel_without_the_library_is_for_every_platform(tmp_path: Path) -> None:
    tag, archive = wheel(tmp_path, MILLRACE_NATIVE="0")
    assert tag == "py3-none-any"
    assert [name for name in archive.namelist() if Path(name).stem == "_native"] == []


def test_a_wheel_whose_library_does_not_compile_is_not_made(tmp_path: Path) -> None:
    done = built(tmp_path, "wheel", CC="/no/compiler")
    assert done.returncode != 0
    assert "The native library could not be built. /no/compiler cannot be run" in done.stderr
    assert "With MILLRACE_NATIVE=0" in done.stderr and "Traceback" not in done.stderr
    assert not list(tmp_path.glob("*.whl"))


@pytest.mark.parametrize(
    ("env", "compiler"),
    [
        ({"CC": "ziglang"}, "ziglang>=0.13"),
        ({"CC": "/some/cc"}, None),
        ({"CC": "ziglang", "MILLRACE_NATIVE": "0"}, None),
    ],
)
def test_the_compiler_of_pypi_comes_only_where_it_is_needed(env: dict[str, str], compiler: str | None) -> None:
    # As if it were not installed, which it is on machines without another.
    ask = """
import importlib.util
find = importlib.util.find_spec
importlib.util.find_spec = lambda name, *more: None if name == "ziglang" else find(name, *more)
from hatchling.build import get_requires_for_build_wheel as asked
print(*asked())
"""
    done = subprocess.run(
        [sys.executable, "-c", ask], cwd=ROOT, env=os.environ | env, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ([compiler] if compiler else [])


def test_the_archive_of_sources_has_the_sources_and_no_library(tmp_path: Path) -> None:
    assert built(tmp_path, "sdist").returncode == 0
    (file,) = tmp_path.glob("*.tar.gz")
    with tarfile.open(file) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"native/abi.c", "native/millrace.h", "tools/native.py", "tools/wheel.py"} <= names
    assert [name for name in names if Path(name).stem == "_native"] == []
