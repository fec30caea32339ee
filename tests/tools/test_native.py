"""The native library is built where it must be, whole or not at all, and the same from the same sources."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tools.native import LIBRARY, NotBuilt, build

from millrace.data import native as loader
from tools import native

GOOD = '__attribute__((visibility("default"))) int seven(void) { return 7; }\n'


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A tree with one file of C, older than what is built of it."""
    file = tmp_path / "native" / "seven.c"
    file.parent.mkdir()
    file.write_text(GOOD)
    os.utime(file, ns=(0, 0))
    return tmp_path


def test_what_is_built_can_be_called(project: Path) -> None:
    assert build(project) == project / LIBRARY
    assert ctypes.CDLL(str(project / LIBRARY)).seven() == 7
    assert [file.name for file in (project / LIBRARY).parent.iterdir()] == [LIBRARY.name]


def test_python_knows_the_number_of_these_sources() -> None:
    assert native.number(native.ROOT) == loader.ABI, "the C sources changed: python tools/native.py --stamp"


def test_another_source_has_another_number_and_python_is_told(project: Path) -> None:
    before = native.number(project)
    (project / "native" / "seven.c").write_text(GOOD + "/* more */")
    assert native.number(project) != before
    file = project / native.LOADER
    file.parent.mkdir(parents=True)
    file.write_text("A = 1\nABI = 7\nB = 2\n")
    native.stamp(project)
    assert file.read_text() == f"A = 1\nABI = {native.number(project)}\nB = 2\n"


def test_where_nothing_can_be_written_that_is_told(project: Path) -> None:
    (project / "src").write_text("a file")
    with pytest.raises(NotBuilt, match="cannot be written"):
        build(project)


def test_a_library_newer_than_its_sources_stays(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    build(project)
    # Whatever compiles now fails.
    monkeypatch.setenv("CC", "/no/compiler")
    assert build(project) == project / LIBRARY
    (project / "native" / "seven.h").write_text("")
    with pytest.raises(NotBuilt, match="/no/compiler cannot be run"):
        build(project)


def test_a_broken_source_fails_and_leaves_the_library_as_it_was(project: Path) -> None:
    before = build(project).read_bytes()
    (project / "native" / "seven.c").write_text("int seven(void) { return }")
    with pytest.raises(NotBuilt, match=r"seven\.c:1"):
        build(project)
    assert (project / LIBRARY).read_bytes() == before
    assert [file.name for file in (project / LIBRARY).parent.iterdir()] == [LIBRARY.name]


def test_a_warning_is_an_error_only_where_that_is_asked_for(project: Path) -> None:
    (project / "native" / "seven.c").write_text(GOOD + "static int idle(int value) { return value; }\n")
    with pytest.raises(NotBuilt, match="idle"):
        build(project, strict=True)
    assert build(project).is_file()


def test_our_sources_compile_without_a_warning_and_always_to_the_same_bytes(tmp_path: Path) -> None:
    one, other = (build(native.ROOT, tmp_path / name / LIBRARY.name, strict=True) for name in "ab")
    assert one.read_bytes() == other.read_bytes()


def test_a_tree_without_c_files_is_told(tmp_path: Path) -> None:
    with pytest.raises(NotBuilt, match="has no C files"):
        build(tmp_path)


def test_the_compiler_is_the_one_that_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CC", "ccache gcc -m64")
    assert native.compiler() == ["ccache", "gcc", "-m64"]


def test_without_a_compiler_it_is_zig_for_an_old_c_library(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(native.importlib.util, "find_spec", lambda name: None)
    assert native.compiler() is None
    with pytest.raises(NotBuilt, match="install gcc or clang, or the PyPI package ziglang"):
        build(native.ROOT, tmp_path / LIBRARY.name)
    monkeypatch.setattr(native.importlib.util, "find_spec", lambda name: name == "ziglang")
    monkeypatch.setattr(native.platform, "libc_ver", lambda: ("glibc", "2.36"))
    monkeypatch.setattr(native.platform, "machine", lambda: "aarch64")
    words = native.compiler()
    assert words is not None and native.glibc_target(words)
    assert words[:4] == [sys.executable, "-m", "ziglang", "cc"]
    assert "-mcpu=baseline" in words and words[-2:] == ["-target", "aarch64-linux-gnu.2.17"]


def test_the_command_says_what_is_wrong(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, native.__file__, "--compiler"],
        env={"PATH": str(tmp_path), "CC": "some compiler"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "some compiler\n"
