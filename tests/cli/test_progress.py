"""What is seen of a run while it goes on."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from millrace.cli.progress import Pace, facts, shared, watching
from millrace.engine.meter import Meter


def test_all_that_a_person_wants_to_know_is_told():
    meter = Meter(read=12_481, loaded=10_000, filtered=180, rejected=3, size_bytes=4_100_000)
    meter.progress, meter.awaiting = 0.404, "CleverTap to prepare Charged"
    assert facts(meter, 3100.4) == [
        "read 12,481",
        "3,100 rows/s",
        "4.1 MB",
        "loaded 10,000",
        "filtered 180",
        "rejected 3",
        "40 % done",
        "awaiting CleverTap to prepare Charged",
    ]


@pytest.mark.parametrize(("share", "text"), [(0.0, "0 %"), (0.999, "99 %"), (1.0, "100 %")])
def test_a_share_is_whole_only_at_the_end(share: float, text: str):
    assert shared(share) == text


def test_the_pace_is_that_of_the_last_seconds():
    pace = Pace(0.0)
    for tick in range(1, 101):
        pace.feel(tick / 10, tick * 100)
    assert pace.per_second == pytest.approx(1000)
    for tick in range(101, 141):
        pace.feel(tick / 10, 10_000)
    assert pace.per_second == 0


def test_a_silent_watch_shows_nothing(capsys: pytest.CaptureFixture[str]):
    with watching("p", Meter(), silent=True):
        time.sleep(0.2)
    assert capsys.readouterr() == ("", "")


PROGRAM = textwrap.dedent(
    """
    import time
    from millrace.cli.progress import watching
    from millrace.engine.meter import Meter
    meter = Meter(progress=0.0, stage="reading Events (history)")
    with watching("clevertap", meter, silent=False):
        for step in range(25):
            meter.read += 1000
            meter.progress = step / 24
            time.sleep(0.1)
        meter.stage = "loading"
        time.sleep(0.3)
    print("done")
    """
)


def test_without_a_terminal_plain_lines_are_written_to_stderr():
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    assert done.stdout == "done\n"
    lines = done.stderr.splitlines()
    assert any("clevertap: reading Events (history) · read " in line for line in lines)
    assert "\x1b" not in done.stderr


def test_on_a_terminal_the_picture_moves_and_is_gone_at_the_end():
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM], stdout=subprocess.PIPE, stderr=theirs, text=True,
        env={**os.environ, "TERM": "xterm-256color", "COLUMNS": "120"},
    ) as process:  # fmt: skip
        os.close(theirs)
        seen = b""
        while True:
            try:
                more = os.read(ours, 65536)
            except OSError:
                break
            seen += more
        assert process.wait() == 0
    os.close(ours)
    text = seen.decode()
    assert re.search(r"read [1-9]", text) and "history" in text and "█" in text
    assert text.rstrip().endswith(("\x1b[2K", "\x1b[?25h"))


def test_the_first_interrupt_stops_gently_and_the_second_at_once(tmp_path: Path):
    program = textwrap.dedent(
        """
        import sys, threading, time
        from millrace.cli.progress import interruptible
        stopping = threading.Event()
        with interruptible(stopping):
            print("ready", flush=True)
            stopping.wait()
            if sys.argv[1] == "gentle":
                print("committed", flush=True)
                sys.exit(0)
            time.sleep(60)
        """
    )
    for how, code in (("gentle", 0), ("at once", 130)):
        asked = [sys.executable, "-c", program, how]
        with subprocess.Popen(asked, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as child:
            assert child.stdout and child.stderr
            assert child.stdout.readline() == "ready\n"
            child.send_signal(2)
            assert "Stopping at the next commit" in child.stderr.readline()
            if how == "at once":
                child.send_signal(2)
                assert "Nothing committed is lost" in child.stderr.readline()
            else:
                assert child.stdout.readline() == "committed\n"
            assert child.wait(timeout=60) == code
