"""What is said of a measured process is its own and its children's."""

from __future__ import annotations

import sys

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


def test_the_memory_of_a_child_is_that_of_its_own_program() -> None:
    alone = measure.run([sys.executable, "-c", WITH_CHILD.partition("if not")[0]])
    both = measure.run([sys.executable, "-c", WITH_CHILD])
    assert LARGE < alone.peak_bytes < both.peak_bytes < alone.peak_bytes + LARGE / 4
