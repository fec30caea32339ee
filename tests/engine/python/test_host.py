"""What becomes of events around one that goes wrong, and of processes when nobody wants them any more."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from tests import bubblewrap

from millrace.data.batch import Batch
from millrace.engine.python import frames, host
from millrace.engine.python.host import PythonStep, ScriptLimits
from millrace.engine.steps import Stepped
from millrace.errors import ConfigError, MillraceError

SHORT = ScriptLimits(seconds_per_event=0.4, memory_bytes=64 << 20, output_bytes=4 << 20)
# Where no event is meant to take too long, none does on a busy machine either.
PATIENT = replace(SHORT, seconds_per_event=30.0)


def script(body: str) -> str:
    """At event 5 the body happens; all others are marked."""
    return (
        "def transform(event):\n    p = event.getProperties()\n    if p['n'] == 5:\n"
        + textwrap.indent(textwrap.dedent(body).strip(), " " * 8)
        + "\n    p['ok'] = True\n    return event\n"
    )


@pytest.mark.parametrize("wide", [False, True], ids=["narrow", "wide"])
@pytest.mark.parametrize("count", [1, 2_000, 2_001, 4_001, 8_000, 10_001, 50_000])
@pytest.mark.parametrize("guests", [1, 2, 7])
def test_a_batch_goes_to_guests_in_even_parts_of_few_bytes(count: int, guests: int, wide: bool):
    rows = pa.record_batch({"n": pa.array(range(count)), "text": ["x" * 700 * wide] * count})
    size = host.slice_rows(rows, guests)
    parts = [part.num_rows for _, part in frames.slices(rows, size)]
    assert sum(parts) == count
    assert host.LEAST_ROWS <= size <= (3_000 if wide else host.MOST_ROWS)
    assert len(parts) == 1 or len(parts) >= min(guests, count // host.LEAST_ROWS), "no guest has nothing to do"


def applied(source: str, count: int = 12, limits: ScriptLimits = SHORT) -> Stepped:
    step = PythonStep(source, limits=limits, free=True)
    try:
        return step.apply(Batch("orders", pa.record_batch({"n": pa.array(range(count))})), ("n",))
    finally:
        step.close()


@pytest.mark.parametrize(
    ("body", "code", "words"),
    [
        ("while True: pass", "TRANSFORM_TIMEOUT", "0.4 s"),
        ("import time; time.sleep(60)", "TRANSFORM_TIMEOUT", "0.4 s"),
        ("import os; os._exit(3)", "TRANSFORM_LIMIT", "ended its process"),
        ("import ctypes; ctypes.string_at(0)", "TRANSFORM_LIMIT", "ended its process"),
        ("p['x'] = bytearray(1 << 30)", "TRANSFORM_LIMIT", "MemoryError"),
        ("p['x'] = 'x' * (5 << 20)", "TRANSFORM_LIMIT", "too large"),
        ("return [type(event)('c', {'n': n}) for n in range(10_001)]", "TRANSFORM_RESULT", "10,000"),
        ("return 7", "TRANSFORM_RESULT", "int"),
        ("p['x'] = 1; p['tags'] = {1}", "TRANSFORM_RESULT", "the field tags: TypeError: a value of type set cannot be"),
        ("p['x'] = [float('nan')]", "TRANSFORM_RESULT", "the field x: ValueError"),
        ("raise ValueError('no')", "TRANSFORM_ERROR", "ValueError: no"),
        (r"print('\ud800'); raise ValueError('\ud800')", "TRANSFORM_ERROR", r"ValueError: \ud800"),
        ("import os; os.write(1, bytes(100))", "TRANSFORM_ERROR", ""),
        ("import os; os.close(1)", "TRANSFORM_LIMIT", "ended its process"),
    ],
)
def test_what_goes_wrong_refuses_its_event_with_its_code_and_no_other(body: str, code: str, words: str) -> None:
    found = applied(script(body), limits=SHORT if code == "TRANSFORM_TIMEOUT" else PATIENT)
    assert [(row, one) for row, one, _ in found.refused] == [(5, code)]
    assert words in found.refused[0][2]
    [output] = found.outputs
    assert output.origin.to_pylist() == [n for n in range(12) if n != 5]
    assert output.rows.column("n").to_pylist() == output.origin.to_pylist()
    assert output.rows.column("ok").to_pylist() == [True] * 11


class Sent:
    """Notes which columns go to guests at once, and how often the others follow."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.at_once: list[Collection[str] | None] = []
        self.later: list[list[str]] = []
        request, rest = host.request, host.rest

        def noted(*given: Any, wanted: Collection[str] | None, **more: Any) -> bytes:
            self.at_once.append(wanted)
            return request(*given, wanted=wanted, **more)

        def followed(rows: pa.RecordBatch, seen: list[str], wanted: Collection[str]) -> bytes:
            self.later.append([name for name in seen if name not in wanted])
            return rest(rows, seen, wanted)

        monkeypatch.setattr(host, "request", noted)
        monkeypatch.setattr(host, "rest", followed)


WIDE = pa.record_batch({
    "n": pa.array(range(12)), "wide": [f"é{n}" for n in range(12)], "some": [None, "x"] * 6, "none": pa.nulls(12),
})  # fmt: skip


def wide(body: str, limits: ScriptLimits = PATIENT, times: int = 1) -> list[Stepped]:
    step = PythonStep(script(body), limits=limits, workers=1)
    try:
        return [step.apply(Batch("orders", WIDE), ("n",)) for _ in range(times)]
    finally:
        step.close()


def test_a_column_that_a_script_does_not_name_does_not_go_to_it(monkeypatch: pytest.MonkeyPatch) -> None:
    sent = Sent(monkeypatch)
    [found] = wide("p['new'] = (p['n'], p.get('none'), p.get('no' + 'where'), 'n' + 'o' in p)")
    assert found.refused == ()
    assert sent.at_once[0] is not None
    assert {"n", "none", "wide"} & set(sent.at_once[0]) == {"n", "none"}
    assert sent.later == []
    [output] = found.outputs
    assert output.rows.column("wide").to_pylist() == WIDE.column("wide").to_pylist()


@pytest.mark.parametrize(
    ("body", "value"),
    [
        ("p['new'] = p['wi' + 'de'] + str(p.get('so' + 'me'))", "é5x"),
        ("p['new'] = ','.join(p.keys())", "n,wide,some"),
        ("p['wi' + 'de'] = p['new'] = 'é'", "é"),
        ("p['new'] = str(len(p))", "3"),
    ],
)
def test_a_column_that_a_script_wants_in_another_way_follows_once(
    monkeypatch: pytest.MonkeyPatch, body: str, value: str
) -> None:
    sent = Sent(monkeypatch)
    for found in wide(body, times=2):
        assert found.refused == ()
        [output] = found.outputs
        assert output.rows.column("new").to_pylist() == [value if n == 5 else None for n in range(12)]
    assert (sent.at_once[1:], sent.later) == ([None], [["wide", "some", "none"]])


def test_an_event_that_hangs_after_columns_followed_is_refused_alone() -> None:
    [found] = wide("p['wi' + 'de']\nwhile True: pass", SHORT)
    assert [(row, code) for row, code, _ in found.refused] == [(5, "TRANSFORM_TIMEOUT")]


def test_an_event_may_have_ten_thousand_children() -> None:
    body = "return [type(event)('c', {'at': n}) for n in range(10_000)]"
    found = applied(script(body), limits=PATIENT)
    assert found.refused == ()
    assert {output.stream: output.rows.num_rows for output in found.outputs} == {"orders": 11, "c": 10_000}


def test_many_processes_that_end_are_bounded_and_no_event_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host, "MOST_FALLS", 4)
    source = """
import os
def transform(event):
    if event.getProperties()["n"] % 3 == 0:
        os._exit(1)
    return event
"""
    found = applied(source, 60)
    passed = [row for output in found.outputs for row in output.origin.to_pylist()]
    refused = [row for row, _, _ in found.refused]
    assert sorted(passed + refused) == list(range(60))
    assert passed == [1, 2, 4, 5, 7, 8]
    assert "not tried again" in found.refused[-1][2]


def test_a_batch_has_a_limit_of_its_own() -> None:
    source = "import time\ndef transform(event):\n    time.sleep(0.1)\n    return event\n"
    limits = ScriptLimits(seconds_per_event=0.4, seconds_per_batch=0.6, memory_bytes=64 << 20)
    found = applied(source, 100, limits)
    assert {code for _, code, _ in found.refused} == {"TRANSFORM_TIMEOUT"}
    assert len(found.refused) + sum(output.rows.num_rows for output in found.outputs) == 100


@pytest.mark.parametrize(
    "source",
    [
        "import os\nos._exit(0)",
        "import os\nos.write(1, b'x' * 9)\nos._exit(0)",
        "import os\nt = b'[1]'\nos.write(1, len(t).to_bytes(8, 'little') + t)\nos._exit(0)",
        """import os\nt = b'{"error": 7}'\nos.write(1, len(t).to_bytes(8, 'little') + t)\nos._exit(0)""",
        """import os\nt = b'{"form":5,"event_types":7,"fields":[]}'\nos.write(1, len(t).to_bytes(8, 'little') + t)""",
        "import os\nos.close(1)\ndef transform(event): return event",
    ],
)
def test_a_script_that_falls_before_its_first_event_is_a_clear_error(source: str) -> None:
    with pytest.raises(ConfigError) as wrong:
        PythonStep(source, limits=SHORT, free=True)
    assert wrong.value.code == "script"
    assert wrong.value.hint


def test_programs_of_two_versions_are_told_from_a_bad_script(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host, "FORM", frames.FORM + 1)
    with pytest.raises(MillraceError) as wrong:
        PythonStep("def transform(event): return event")
    assert wrong.value.code == "changed_installation"


def test_closing_a_step_ends_what_it_waits_for() -> None:
    limits = ScriptLimits(seconds_per_event=120)
    step = PythonStep("def transform(event):\n    while True: pass", limits=limits, workers=2)
    pids = {guest._process.pid for guest in step._guests}
    errors: list[BaseException] = []

    def work() -> None:
        try:
            step.apply(Batch("orders", pa.record_batch({"n": pa.array(range(5000))})))
        except MillraceError as wrong:
            errors.append(wrong)

    thread = threading.Thread(target=work)
    thread.start()
    while len(step._guests) < 2 or not any(guest._progress[0] for guest in list(step._guests)):
        assert thread.is_alive()
        thread.join(0.01)
    pids |= {guest._process.pid for guest in step._guests}
    began = time.monotonic()
    step.close()
    thread.join(20)
    assert not thread.is_alive()
    assert time.monotonic() - began < 20
    assert [one.code for one in errors] == ["closed_step"]
    assert [pid for pid in pids if Path(f"/proc/{pid}").exists()] == []
    step.close()


WAITS = """
import sys, threading
import pyarrow as pa
from millrace.data.batch import Batch
from millrace.engine.python.host import PythonStep, ScriptLimits

step = PythonStep(
    "def transform(event):\\n    while True: pass",
    limits=ScriptLimits(seconds_per_event=120), workers=1, wall=sys.argv[1],
)
def told():
    while not any(guest._progress[0] for guest in list(step._guests)):
        pass
    print(*(guest._process.pid for guest in step._guests), flush=True)
threading.Thread(target=told, daemon=True).start()
try:
    step.apply(Batch("orders", pa.record_batch({"n": [1]})))
finally:
    step.close()
"""


@pytest.mark.parametrize("wall", bubblewrap.walls())
@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGKILL])
def test_no_process_is_left_when_the_host_is_stopped(sent: signal.Signals, wall: str) -> None:
    process = subprocess.Popen([sys.executable, "-c", WAITS, wall], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert process.stdout is not None
    pids = [int(pid) for pid in process.stdout.readline().split()]
    assert pids
    process.send_signal(sent)
    process.stdout.close()
    assert process.wait(60) == -sent
    until = time.monotonic() + 60
    while any(_runs(pid) for pid in pids):
        assert time.monotonic() < until, "a guest outlives its host"
        os.sched_yield()


def _runs(pid: int) -> bool:
    """It is there, and not only its remains, which wait for the machine's first process."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
