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


# Children that have memory of their own and the pages of a file, never both.
OWN = f"large = bytearray(b'x') * {LARGE}; time.sleep(0.5); del large"
FILE = f"""
with tempfile.TemporaryFile() as file:
    file.truncate({LARGE})
    with mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as pages:
        sum(pages[at] for at in range(0, {LARGE}, 4096))
        time.sleep(0.5)
"""


@pytest.mark.parametrize("parts", [(OWN, FILE), (FILE,)], ids=["file last", "file alone"])
def test_files_that_a_child_reads_at_another_moment_are_none_of_its_memory(parts: tuple[str, ...]) -> None:
    child = "\n".join(("import mmap, tempfile, time", *parts))
    # The kernel counts a process with the largest of its children: here it is larger than they are.
    large = f"import subprocess, sys; large = bytearray(b'x') * {2 * LARGE}"
    alone = measure.run([sys.executable, "-c", large])
    both = measure.run([sys.executable, "-c", f"{large}; subprocess.run([sys.executable, '-c', {child!r}])"])
    own = LARGE if OWN in parts else 0
    assert own < both.peak_bytes - alone.peak_bytes < own + LARGE / 2


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
