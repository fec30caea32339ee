"""Pages mapped in processes beside are the pages mapped here, whatever becomes of the processes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from millrace.sources.clevertap import mappers, rows, wire
from millrace.sources.clevertap.mappers import BEHIND, ENOUGH, LARGE_BYTES, Mapped, Mappers, Process, Settings
from millrace.sources.clevertap.rows import rows_of

FIXTURE = (Path(rows.__file__).parent / "fixtures" / "page.json").read_bytes()
PLAIN = Settings("Asia/Kolkata", whole=False, by_record=False)
WHOLE = Settings("Europe/Berlin", whole=True, by_record=True)


def page(count: int = 800, *odd: Any) -> bytes:
    """A page that is large enough to be handed over, with all that a record may have or lack."""
    records: list[Any] = []
    for number in range(count):
        profile: dict[str, Any] = {"objectId": f"__{number}"}
        if number % 3 == 0:
            profile |= {"identity": number if number % 2 else f"höhe-{number}", "profileData": {"n": number}}
        if number % 7 == 0:
            profile |= {"objectId": f'with "quotes" {number}', "email": "a@example.org", "all_identities": ["a", 1]}
        record: dict[str, Any] = {"profile": profile, "ts": 20260314091500 + number % 60}
        if number % 5:
            record |= {"event_props": {"b": 1.50, "a": [number, None, "ß"], "long": "x" * 150}}
        if number % 4 == 0:
            record |= {"session_props": {"session_source": "Others", "z": number % 3}}
        if number % 11 == 0:
            record |= {"session_source": "Direct"}
        records.append(record)
    text = json.dumps([*records, *odd], ensure_ascii=False).encode()
    return b'{"status":"success","records":' + text + b',"next_cursor":"more"}'


BAD = ({"profile": {}, "ts": 20260314091500}, {"profile": {"objectId": "__a"}, "ts": 20261332000000}, {"ts": "x"})


@pytest.fixture(autouse=True)
def two_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    """There is a process even where this machine has one core."""
    monkeypatch.setattr(mappers, "_cores", lambda: 2)


def children() -> set[int]:
    """Processes of this one that map pages."""
    found: set[int] = set()
    for task in Path("/proc/self/task").iterdir():
        with suppress(FileNotFoundError, ProcessLookupError):  # threads and processes end while one looks
            for number in (task / "children").read_text().split():
                if b"clevertap.mappers" in Path(f"/proc/{number}/cmdline").read_bytes():
                    found.add(int(number))
    return found


@pytest.fixture
def busy() -> Iterator[tuple[Mappers, int]]:
    """Mappers whose process is at work, and the process."""
    made = Mappers(PLAIN, most=3)
    try:
        yield made, started(made)
    finally:
        made.close()
    assert not children()


def started(made: Mappers) -> int:
    for _ in range(ENOUGH):
        made.read("Charged", page())
    deadline = time.monotonic() + 30
    while not made.beside and time.monotonic() < deadline:
        time.sleep(0.01)
        made.read("Charged", page())
    assert made.beside
    return made.beside[0]


def same(one: wire.Answer, two: wire.Answer, event: str) -> None:
    assert isinstance(one, Mapped) and isinstance(two, Mapped)
    assert one.envelope.next_cursor == two.envelope.next_cursor
    here, there = rows_of(event, one.columns), rows_of(event, two.columns)
    there.rows.validate(full=True)
    assert here.rows.schema.equals(there.rows.schema) and here.rows.to_pylist() == there.rows.to_pylist()
    assert here.rejects == there.rejects
    for name in ("high", "low", "state", "day", "moment"):
        assert getattr(here, name).tolist() == getattr(there, name).tolist(), name


@pytest.mark.parametrize("settings", [PLAIN, WHOLE], ids=["plain", "whole"])
@pytest.mark.parametrize("body", [page(), page(700, *BAD), FIXTURE, b'{"status":"success"}'])
def test_a_process_maps_a_page_as_it_is_mapped_here(settings: Settings, body: bytes) -> None:
    process = Process(settings)
    try:
        assert process.ready()
        beside = process.map("Charged", body)
        assert beside is not None
        same(Mappers(settings, most=0).read("Charged", body), beside, "Charged")
    finally:
        process.end()


def test_pages_of_many_threads_come_out_each_as_its_own(busy: tuple[Mappers, int]) -> None:
    made, _ = busy
    bodies = [page(600 + number) for number in range(12)]
    assert min(map(len, bodies)) >= LARGE_BYTES
    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(lambda body: made.read("Charged", body), bodies))
    for body, answer in zip(bodies, found, strict=True):
        same(Mappers(PLAIN, most=0).read("Charged", body), answer, "Charged")


def test_pages_go_on_when_a_process_is_killed(busy: tuple[Mappers, int]) -> None:
    made, process = busy
    expected = Mappers(PLAIN, most=0).read("Charged", page(900))
    os.kill(process, signal.SIGSTOP)
    with ThreadPoolExecutor(3) as threads:
        waiting = [threads.submit(made.read, "Charged", page(900)) for _ in range(3)]
        time.sleep(0.2)
        os.kill(process, signal.SIGKILL)
        for answer in waiting:
            same(expected, answer.result(timeout=30), "Charged")
    assert not made.beside
    same(expected, made.read("Charged", page(900)), "Charged")


def test_who_waits_for_a_process_goes_on_when_all_end() -> None:
    made = Mappers(PLAIN, most=1)
    process = started(made)
    os.kill(process, signal.SIGSTOP)
    found: list[wire.Answer] = []
    threads = [threading.Thread(target=lambda: found.append(made.read("Charged", page(900)))) for _ in range(3)]
    for thread in threads:
        thread.start()
    time.sleep(0.2)
    made.close()
    for thread in threads:
        thread.join(30)
    assert len(found) == 3 and not children()


def test_what_is_no_page_is_told_here(busy: tuple[Mappers, int]) -> None:
    made, _ = busy
    with pytest.raises(wire.NotJson):
        made.read("Charged", b"<html>" + b" " * LARGE_BYTES)
    refused = made.read("Charged", b'{"status":"fail","error":"' + b"x" * LARGE_BYTES + b'","code":3}')
    assert not isinstance(refused, Mapped) and refused.envelope.code == 3
    assert isinstance(made.read("Charged", page()), Mapped)


def test_few_or_small_pages_start_no_process() -> None:
    made = Mappers(PLAIN, most=3)
    for _ in range(ENOUGH - 1):
        made.read("Charged", page())
    for _ in range(20):
        made.read("Charged", FIXTURE)
    assert not children()
    made.close()


def test_a_process_sees_no_variable_of_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLEVERTAP_PASSCODE", "sentinel-4711")
    made = Mappers(PLAIN, most=1)
    process = started(made)
    assert b"sentinel-4711" not in Path(f"/proc/{process}/environ").read_bytes()
    made.close()


def test_a_process_gives_way_to_loading_and_is_not_meant_by_ctrl_c(busy: tuple[Mappers, int]) -> None:
    _, process = busy
    assert os.getpriority(os.PRIO_PROCESS, process) == min(os.getpriority(os.PRIO_PROCESS, 0) + BEHIND, 19)
    assert (os.getsid(process), os.getpgid(process)) == (os.getsid(0), process)


def test_a_process_works_where_the_machine_lets_nobody_give_way() -> None:
    # The kernel refuses setpriority (141; on ARM 140) to this program and to whatever it starts.
    program = """
import ctypes, os, struct
from millrace.sources.clevertap.mappers import Process, Settings
number = 140 if os.uname().machine == "aarch64" else 141
words = [(0x20, 0, 0, 0), (0x15, 0, 1, number), (0x06, 0, 0, 0x50001), (0x06, 0, 0, 0x7FFF0000)]
code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *word) for word in words))
libc = ctypes.CDLL(None, use_errno=True)
assert libc.prctl(38, 1, 0, 0, 0) == 0
assert libc.prctl(22, 2, struct.pack("HxxxxxxP", len(words), ctypes.addressof(code)), 0, 0) == 0
try:
    os.nice(1)
except PermissionError:
    process = Process(Settings("UTC", False, False))
    print(process.ready())
    process.end()
"""
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert (ran.stdout, ran.stderr) == ("True\n", "")


def test_a_process_ends_with_the_one_that_started_it(tmp_path: Path) -> None:
    program = (
        "import os, sys, time\n"
        "from millrace.sources.clevertap import mappers\n"
        "mappers._cores = lambda: 2\n"
        "made = mappers.Mappers(mappers.Settings('UTC', False, False), 1)\n"
        f"for _ in range({ENOUGH}): made.read('A', open(sys.argv[1], 'rb').read())\n"
        "print(made.starting[0], flush=True)\n"
        "os.kill(os.getpid(), 9)\n"
    )
    path = tmp_path / "page.json"
    path.write_bytes(page())
    ran = subprocess.run([sys.executable, "-c", program, str(path)], capture_output=True, text=True, timeout=60)
    number = int(ran.stdout)
    deadline = time.monotonic() + 30
    while Path(f"/proc/{number}").exists() and time.monotonic() < deadline:
        if Path(f"/proc/{number}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z":
            return
        time.sleep(0.02)
    assert not Path(f"/proc/{number}").exists()


def test_columns_may_be_larger_than_the_memory_that_was_there_first(busy: tuple[Mappers, int]) -> None:
    made, _ = busy
    for count in (500, 30_000, 600):
        body = page(count)
        same(Mappers(PLAIN, most=0).read("Charged", body), made.read("Charged", body), "Charged")
