"""The native library is found, or is said not to be in use, and why."""

from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tools.native import ROOT, build

from millrace.data import native


@pytest.fixture(autouse=True)
def looked_for_anew() -> Iterator[None]:
    native._found.cache_clear()
    yield
    native._found.cache_clear()


def made(folder: Path, code: str) -> Path:
    """A library of ``code``."""
    (folder / "native").mkdir()
    (folder / "native" / "one.c").write_text(code)
    return build(folder)


def test_the_library_of_this_checkout_is_in_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MILLRACE_NATIVE", raising=False)
    build(ROOT)
    assert native.absent() is None
    assert native.library() is not None and native.library() is native.library()


def test_the_variable_leaves_it_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MILLRACE_NATIVE", "0")
    assert native.library() is None
    assert native.absent() == "MILLRACE_NATIVE=0 leaves it out"


def test_a_library_that_is_not_there_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("MILLRACE_NATIVE", raising=False)
    monkeypatch.setattr(native, "FILE", tmp_path / "none.so")
    assert native.library() is None
    assert native.absent() == f"{tmp_path / 'none.so'} is not there; `make native` builds it"


def test_a_file_that_is_no_library_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "text.so"
    file.write_text("no library")
    monkeypatch.setenv("MILLRACE_NATIVE", str(file))
    assert native.library() is None
    assert str(native.absent()).startswith(f"{file} does not load: ")


def test_a_library_without_a_number_is_not_ours(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MILLRACE_NATIVE", str(made(tmp_path, "int other(void) { return 1; }")))
    assert native.library() is None
    assert "millrace_native_abi" in str(native.absent())


def test_a_library_of_another_version_is_left_out_and_logged_once(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    visible = '__attribute__((visibility("default")))'
    file = made(tmp_path, f"{visible} int millrace_native_abi(void) {{ return {native.ABI + 1}; }}")
    monkeypatch.setenv("MILLRACE_NATIVE", str(file))
    with caplog.at_level(logging.INFO, "millrace.native"):
        assert native.library() is None
        assert native.library() is None
    why = f"{file} is of another version ({native.ABI + 1}, not {native.ABI}); `make native` builds it anew"
    assert native.absent() == why
    assert [record.getMessage() for record in caplog.records] == [f"the native library is not in use: {why}"]


def test_importing_the_module_does_not_import_ctypes() -> None:
    code = "import sys; from millrace.data import native; print('ctypes' in sys.modules, native.absent())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("False ")
