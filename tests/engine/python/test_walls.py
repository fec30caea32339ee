"""The walls hold for an ordinary user as for root; where there is none, nothing runs unless somebody said so."""

from __future__ import annotations

import json
import os
import shlex
import stat
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest
from tests.engine.python.test_escapes import WALLS

import millrace
from millrace.data.batch import Batch
from millrace.engine.python import jail
from millrace.engine.python.host import PythonStep
from millrace.errors import ConfigError

ROOT = Path(__file__).parents[3]
NOBODY = 65534
TRIED = (
    "reads a file of the host", "writes a file", "reads its own memory map", "connects by TCP",
    "connects to an abstract socket", "starts a program", "signals a process of the host", "makes namespaces",
    "becomes root", "mounts", "finds open descriptors",
)  # fmt: skip

AS_A_USER = f"""
import json, os, sys, tempfile
from pathlib import Path
from tests.engine.python.test_escapes import ATTEMPTS, WALLS, tried
found = {{}}
with tempfile.TemporaryDirectory() as folder:
    for wall in WALLS:
        for number, name in enumerate({TRIED!r}):
            stepped, broken, left, _ = tried(ATTEMPTS[name], wall, Path(folder) / f"{{wall}}{{number}}")
            rows = [row for output in stepped.outputs for row in output.rows.to_pylist()]
            ok = [row["n"] for row in rows if row["ok"] == row["n"] * 2]
            prize = next((row["prize"] for row in rows if row.get("prize")), None)
            found[f"{{name}}, {{wall}}"] = [prize, broken, left, sorted({{0, 2}} - set(ok))]
print(json.dumps([os.getuid(), found]))
"""


def _as_nobody() -> list[str]:
    """How a Python is started as an ordinary user."""
    user = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "--inh-caps=-all"]
    base = os.path.realpath(getattr(sys, "_base_executable", sys.executable))
    if all(path.stat().st_mode & stat.S_IXOTH for path in (Path(base), *Path(base).parents)):
        return [*user, base]
    # The interpreter is in a folder of root's alone; such a user sees it at another place.
    shown = "/mnt" / Path(base).relative_to(sys.base_prefix)
    words = shlex.join([*user, str(shown)])
    return [
        "unshare",
        "--mount",
        "sh",
        "-c",
        f'mount --bind {shlex.quote(sys.base_prefix)} /mnt && exec {words} "$@"',
        "-",
    ]


def test_every_wall_holds_for_an_ordinary_user() -> None:
    command = [sys.executable] if os.getuid() else _as_nobody()
    packages = ":".join([str(ROOT), str(Path(millrace.__file__).parents[1]), sysconfig.get_path("purelib")])
    done = subprocess.run(
        [*command, "-B", "-c", AS_A_USER], capture_output=True, text=True, cwd="/",
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": packages},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    user, found = json.loads(done.stdout)
    assert user != 0
    assert len(found) == len(WALLS) * len(TRIED)
    assert {name: one for name, one in found.items() if one != [None, None, [], []]} == {}


def test_what_this_machine_offers_is_told() -> None:
    found = jail.probe()
    assert found.wall == WALLS[0]
    assert found.safe
    assert found.wall in found.told


@pytest.fixture
def no_wall(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A machine without bubblewrap, on which namespaces and Landlock are forbidden."""
    # No guest stands behind a wall when its interpreter is not there; what `probe` keeps is of the real machine.
    real = jail.start

    def start(wall: jail.Wall, progress: int, *, memory_bytes: int, errors: int = subprocess.DEVNULL):
        if wall == "none":
            return real(wall, progress, memory_bytes=memory_bytes, errors=errors)
        raise FileNotFoundError(f"{wall} is not there")

    jail.probe.cache_clear()
    monkeypatch.setattr(jail, "start", start)
    yield
    jail.probe.cache_clear()


SCRIPT = "def transform(event):\n    event.getProperties()['ok'] = 1\n    return event\n"


def test_without_a_wall_a_script_is_refused_with_what_to_do(no_wall: None) -> None:
    with pytest.raises(ConfigError) as caught:
        PythonStep(SCRIPT)
    assert caught.value.code == "no_sandbox"
    for wall in ("bubblewrap", "namespaces", "landlock"):
        assert f"{wall}: {wall} is not there" in caught.value.message
    assert "apt install bubblewrap" in (caught.value.hint or "")
    assert "allow_unsandboxed_python" in (caught.value.hint or "")


def test_without_a_wall_a_trusted_script_runs(no_wall: None) -> None:
    step = PythonStep(SCRIPT, trusted=True, workers=1)
    try:
        stepped = step.apply(Batch("orders", pa.record_batch({"n": [1]})))
    finally:
        step.close()
    assert stepped.outputs[0].rows.to_pylist() == [{"n": 1, "ok": 1}]
