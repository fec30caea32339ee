"""Scripts that try to get out, each behind each wall, with nothing of Millrace's allow-list in their way."""

from __future__ import annotations

import contextlib
import secrets
import socket
import subprocess
import textwrap
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from tests import bubblewrap
from tests.engine.python.attempts import NEVER_WIN, WIN_WITHOUT_A_WALL

from millrace.data.batch import Batch
from millrace.engine.python import jail
from millrace.engine.python.host import PythonStep, ScriptLimits
from millrace.engine.steps import Stepped

ATTEMPTS = WIN_WITHOUT_A_WALL | NEVER_WIN
WALLS = bubblewrap.walls()
# Behind Landlock alone stand the same locks as behind the others, so that what wins nothing in files, processes and
# the network is tried behind those: behind one of them in turn, and behind both by `make deep`.
OTHERS = [wall for wall in WALLS if wall != "landlock"]
# A script that says that it works on another event than it does has that one refused in its place, and so may one that
# asks for an event's columns when its process has none to take: it ends over them with another event in hand.
LIARS = frozenset({"turns the watch back", "turns the watch on", "asks for columns in the guest's place"})
LIMITS = ScriptLimits(seconds_per_event=0.5, seconds_per_batch=20.0, memory_bytes=96 << 20, output_bytes=8 << 20)

SCRIPT = """\
HOST = {host!r}
SET = object()

def libc():
    import ctypes
    return ctypes.CDLL(None, use_errno=True)

def NR(x86_64, aarch64):
    import os
    return x86_64 if os.uname().machine == "x86_64" else aarch64

def ANSWER(head, sections):
    import os, time
    t = len(head).to_bytes(4, "little") + head + sections
    os.write(1, len(t).to_bytes(8, "little") + t)
    time.sleep(1000)

def FIELD(kind, lengths, values):
    told = ",".join(map(str, [0, 12, *lengths])).encode()
    head = (
        b'{{"plain":0,"groups":[{{"name":"orders","made":false,"keys":null,"rows":1,"places":null,"fields":{{"won":'
        b'{{"at":null,"kind":' + kind + b',"values":2}}}},"removed":{{}}}}],"failed":[],"dropped":0,"printed":[],'
        b'"sections":[' + told + b']}}'
    )
    ANSWER(head, b"".join(n.to_bytes(4, "little") for n in range(3)) + values)

class CHILDREN:
    def __init__(self, count):
        self.count = count

def attempt(p):
{body}

def transform(event):
    p = event.getProperties()
    if p["n"] == 1:
        prize = attempt(p)
        if type(prize) is CHILDREN:
            return [type(event)("child", {{"n": n}}) for n in range(prize.count)]
        if prize is not None and prize is not SET:
            p["prize"] = repr(prize)[:200]
    p["ok"] = p["n"] * 2
    return event
"""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "wall" in metafunc.fixturenames:
        metafunc.parametrize(("name", "wall"), _tried(metafunc.config))


def _tried(config: pytest.Config) -> list[tuple[str, jail.Wall]]:
    """What is tried behind which wall."""
    every = config.getoption("--every-point")
    hopeless = [
        (name, wall)
        for number, name in enumerate(NEVER_WIN)
        for turn, wall in enumerate(OTHERS)
        if every or number % len(OTHERS) == turn
    ]
    return [(name, wall) for name in WIN_WITHOUT_A_WALL for wall in WALLS] + hopeless


@dataclass
class Host:
    """What there is to win and to break, for one attempt."""

    folder: Path
    victim: subprocess.Popen[bytes]
    listeners: list[socket.socket] = field(default_factory=list)
    said: dict[str, Any] = field(default_factory=dict)

    def broken(self) -> str | None:
        """What the attempt did out here; None where it did nothing."""
        if self.victim.poll() is not None:
            return "the victim is dead"
        found = {path.name: path.read_text() for path in self.folder.iterdir() if path.is_file()}
        if found != {"secret": "SECRET", "removed": "x", "module.py": "x = 'SECRET'\n"}:
            return f"files changed: {found}"
        if any(path.is_dir() for path in self.folder.iterdir()):
            return "a folder was made"
        for one in self.listeners:
            with contextlib.suppress(BlockingIOError):
                if one.type == socket.SOCK_DGRAM:
                    one.recv(1)
                else:
                    one.accept()[0].close()
                return "something was sent"
        return None


@contextlib.contextmanager
def host(folder: Path) -> Iterator[Host]:
    folder.mkdir()
    # Others may read what is in it: no permission of files stands in the way.
    folder.chmod(0o777)
    (folder / "secret").write_text("SECRET")
    (folder / "removed").write_text("x")
    (folder / "module.py").write_text("x = 'SECRET'\n")
    with contextlib.ExitStack() as stack:
        stream = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        port = stream.getsockname()[1]
        datagrams = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        datagrams.bind(("127.0.0.1", port))
        names = [str(folder / "socket"), "\0millrace-" + secrets.token_hex(8)]
        listeners = [stream, datagrams]
        for name in names:
            one = stack.enter_context(socket.socket(socket.AF_UNIX))
            one.bind(name)
            one.listen()
            listeners.append(one)
        for one in listeners:
            one.setblocking(False)
        victim = subprocess.Popen(["sleep", "300"], start_new_session=True)
        try:
            made = Host(folder, victim, listeners)
            made.said = {
                **{name: str(folder / name) for name in ("secret", "removed", "written", "written2", "made", "link")},
                "folder": str(folder), "module": str(folder / "module.py"), "port": port, "victim": victim.pid,
                "socket": names[0], "abstract": names[1][1:],
            }  # fmt: skip
            yield made
        finally:
            victim.kill()
            victim.wait()


def tried(body: str, wall: jail.Wall, folder: Path) -> tuple[Stepped, str | None, list[int], float]:
    """What the step made of three events, the second of which tries; what is broken; processes left; seconds."""
    with host(folder) as stage:
        script = SCRIPT.format(host=stage.said, body=textwrap.indent(textwrap.dedent(body).strip(), "    "))
        step = PythonStep(script, limits=LIMITS, workers=1, wall=wall, free=True)
        try:
            began = time.monotonic()
            stepped = step.apply(Batch("orders", pa.record_batch({"n": [0, 1, 2]})), ("n",))
            took = time.monotonic() - began
            pids = [pid for guest in step._idle for pid in [guest._process.pid, *_descendants(guest._process.pid)]]
        finally:
            step.close()
        return stepped, stage.broken(), [pid for pid in pids if Path(f"/proc/{pid}").exists()], took


def _descendants(pid: int) -> list[int]:
    found: list[int] = []
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        for child in map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split()):
            found += [child, *_descendants(child)]
    return found


class Results:
    """What became of attempts. Several are made at a time, ahead of who asks: most of them wait for a limit."""

    AHEAD = 6

    def __init__(self, pool: ThreadPoolExecutor, order: list[tuple[str, jail.Wall]], folder: Path) -> None:
        self._pool, self._order, self._folder = pool, order, folder
        self._made: dict[tuple[str, jail.Wall], Future[tuple[Stepped, str | None, list[int], float]]] = {}

    def of(self, name: str, wall: jail.Wall) -> tuple[Stepped, str | None, list[int], float]:
        first = self._order.index((name, wall))
        for number, (other, behind) in enumerate(self._order[first : first + self.AHEAD], first):
            if (other, behind) not in self._made:
                made = self._pool.submit(tried, ATTEMPTS[other], behind, self._folder / f"{number}")
                self._made[other, behind] = made
        return self._made[name, wall].result()


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Results]:
    with ThreadPoolExecutor(Results.AHEAD) as pool:
        yield Results(pool, _tried(request.config), tmp_path_factory.mktemp("escapes"))


def test_no_attempt_gets_out(results: Results, name: str, wall: jail.Wall) -> None:
    stepped, broken, left, took = results.of(name, wall)
    rows = {row["n"]: row for output in stepped.outputs for row in output.rows.to_pylist()}
    refused = {row: (code, message) for row, code, message in stepped.refused}

    assert broken is None
    assert left == []
    assert took < LIMITS.seconds_per_batch + 3
    # The others went on, in this guest or in another.
    others = {0: 0, 2: 4}
    if name in LIARS:
        others = {n: ok for n, ok in others.items() if n not in refused}
    assert {n: rows[n]["ok"] for n in others} == others
    assert set(refused) <= {1} or name in LIARS
    if 1 in refused:
        code, message = refused[1]
        assert code in ("TRANSFORM_ERROR", "TRANSFORM_TIMEOUT", "TRANSFORM_RESULT", "TRANSFORM_LIMIT")
        assert message
        assert "SECRET" not in message
    else:
        assert rows[1].get("prize") is None, rows[1]


@pytest.mark.parametrize("name", WIN_WITHOUT_A_WALL)
def test_the_attempts_win_where_no_wall_stands(tmp_path: Path, name: str) -> None:
    """Else the test above would show nothing."""
    stepped, _, _, _ = tried(WIN_WITHOUT_A_WALL[name], "none", tmp_path / "host")
    assert stepped.refused == ()
    assert any(row.get("prize") for output in stepped.outputs for row in output.rows.to_pylist())
