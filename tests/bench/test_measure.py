"""What is said of a measured process is its own and its children's."""

from __future__ import annotations

import sys
from collections.abc import Callable

import pytest
from tests.bench import measure

LARGE = 200 * 2**20
# A child that is still the same program for a while, and then a small one of its own.
WITH_CHILD = f"""
import os, time
large = bytearray(b"x") * {LARGE}
if not (child := os.fork()):
    time.sleep(0.5)
    os.execvp("sleep", ["sleep", "0.5"])
os.waitpid(child, 0)
"""

# A child that runs the same Python with the same library, and has as much memory of its own as its parent has.
ALONE = f"import numpy, subprocess; large = bytearray(b'x') * {LARGE}"
WITH_EQUAL = f"{ALONE}; subprocess.run([{sys.executable!r}, '-c', {ALONE + '; import time; time.sleep(0.5)'!r}])"


def test_the_memory_of_a_child_is_that_of_its_own_program() -> None:
    alone = measure.run([sys.executable, "-c", WITH_CHILD.partition("if not")[0]])
    both = measure.run([sys.executable, "-c", WITH_CHILD])
    assert LARGE < alone.peak_bytes < both.peak_bytes < alone.peak_bytes + LARGE / 4


def test_the_library_that_a_child_shares_counts_once() -> None:
    both = measure.run([sys.executable, "-c", WITH_EQUAL]).peak_bytes
    alone = measure.run([sys.executable, "-c", ALONE]).peak_bytes
    assert alone + LARGE < both < 2 * alone - 10 * 2**20


def test_others_go_on_without_a_party_that_may_fail_and_what_it_said_is_kept() -> None:
    def party(*words: str) -> Callable[[], measure.Ran]:
        return lambda: measure.run([sys.executable, "-c", *words])

    parties = {"well": party("print('done')"), "broken": party("import nothing_of_this_name")}
    failed = {"broken": ""}
    ran = measure.turns(parties, 2, failed)
    assert [one.output for one in ran["well"]] == ["done\n"] * 2
    assert ran["broken"] == []
    assert "No module named 'nothing_of_this_name'" in failed["broken"]
    with pytest.raises(measure.Failed, match="nothing_of_this_name"):
        measure.turns(parties, 2)
