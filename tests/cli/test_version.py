"""`millrace version` says what a fault could depend on."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.metadata import version

import pytest
from tests.cli.asking import ask
from tools.native import ROOT, build

from millrace.data import native


@pytest.fixture(autouse=True)
def looked_for_anew() -> Iterator[None]:
    native._found.cache_clear()
    yield
    native._found.cache_clear()


def test_it_says_that_the_native_library_is_in_use() -> None:
    build(ROOT)
    assert ask("version").out.splitlines()[1:] == ["native library: in use"]
    told = ask("version", "--json").json
    assert (told["millrace"], told["native"], told["native_absent"]) == (version("millrace"), True, None)


def test_it_says_why_the_native_library_is_not_in_use() -> None:
    off = {"MILLRACE_NATIVE": "0"}
    said = "native library: not in use, Python does the same slower: MILLRACE_NATIVE=0 leaves it out"
    assert ask("version", env=off).out.splitlines()[1:] == [said]
    told = ask("version", "--json", env=off).json
    assert (told["native"], told["native_absent"]) == (False, "MILLRACE_NATIVE=0 leaves it out")
