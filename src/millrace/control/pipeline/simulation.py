"""Trying it without an account: a stand-in for CleverTap that this home keeps, and a finished pipeline from it.

What shall be simulated is a file of the home; a server keeps a process beside it for as long as the file is there. Its
data is invented; its passcode, which the home chose, is how it shows that it is the stand-in of this home.
"""

from __future__ import annotations

import hmac
import http.client
import json
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any

from millrace.control.connecting import connections, files
from millrace.control.pipeline import pipelines
from millrace.control.pipeline.pipelines import Wish
from millrace.control.running import jobs
from millrace.data.dataclass import dataclass
from millrace.errors import ConfigError

if TYPE_CHECKING:
    from millrace.control.home import Home

FILE = "simulation.json"
SOURCE_TYPE = "clevertap"
PIPELINE = "Simulated shop"
SOURCE = "CleverTap (simulated)"
DESTINATION = "Warehouse (simulated)"

USERS = 300
DAYS = 10
EVERY_S = 3600
# A server looks every second whether the stand-in shall run; it needs a second or two to invent its data.
PATIENCE_S = 30.0
HOST = "127.0.0.1"
PROOF_S = 10.0


@dataclass(frozen=True, slots=True)
class Simulated:
    """A pipeline that reads invented data, and the job that reads it first."""

    pipeline: str
    source: str
    destination: str
    job: int


def begin(home: Home) -> Simulated:
    """The stand-in runs, and a pipeline reads it into a DuckDB file of the home. The one that is there is answered.

    Raises ConfigError where no server keeps the stand-in running.
    """
    home.actor.must("pipelines.create")
    home.actor.must("destinations.create")
    if not any(one.name == PIPELINE for one in pipelines.listed(home)):
        plan = _planned(home)
        _await(plan["port"])
        _make(home, plan)
    return Simulated(PIPELINE, SOURCE, DESTINATION, jobs.start(home, PIPELINE).run.id)


def is_ours(home: Home, source_type: str, config: Mapping[str, Any]) -> bool:
    """Whether the settings of a source aim it at the stand-in of this home, and at nothing else: who listens there now
    knows what this home told its stand-in."""
    plan = _read(home.path)
    if plan is None or source_type != SOURCE_TYPE or config.get("base_url") != _url(plan):
        return False
    return _proven(plan)


class Keeper:
    """Keeps the stand-in of a home running, where there shall be one, in a process that ends with this one."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._process: subprocess.Popen[bytes] | None = None
        self._began = 0.0

    def tend(self) -> None:
        """It runs if it shall. One that ends at once is not begun again in the same ten seconds."""
        if self._process is not None and self._process.poll() is None:
            return
        plan = _read(self._home)
        if plan is None or (self._process is not None and time.monotonic() - self._began < 10.0):
            return
        command = [sys.executable, "-m", "millrace", "simulate", "clevertap", str(self._home / plan["settings"])]
        command += ["--port", str(plan["port"]), "--demo"]
        self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)  # noqa: S603  our own program
        self._began = time.monotonic()

    def stop(self) -> None:
        """It has ended."""
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            self._process.wait(timeout=10)


def _planned(home: Home) -> dict[str, Any]:
    """What shall be simulated, from now on."""
    from millrace.simulators.clevertap.config import AT_ONCE

    known = _read(home.path)
    if known is not None:
        return known
    with socket.socket() as free:
        free.bind((HOST, 0))
        port = free.getsockname()[1]
    account = {"id": "SIM-EU1-0001", "passcode": secrets.token_urlsafe(12), "users": USERS, "days": DAYS}
    plan: dict[str, Any] = {"port": port, "settings": "simulation.yaml", "account": account}
    settings = {"accounts": [account], "control": False, **AT_ONCE}
    # YAML takes JSON.
    (home.path / plan["settings"]).write_text(json.dumps(settings), encoding="utf-8")
    draft = home.path / f"{FILE}.part"
    draft.write_text(json.dumps(plan), encoding="utf-8")
    draft.replace(home.path / FILE)
    return plan


def _read(home: Path) -> dict[str, Any] | None:
    try:
        return json.loads((home / FILE).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None


def _url(plan: Mapping[str, Any]) -> str:
    return f"http://{HOST}:{plan['port']}/r/eu1"


def _proven(plan: Mapping[str, Any]) -> bool:
    """Another program may have taken the port; it cannot answer this."""
    from millrace.simulators.clevertap.control import proof

    account, nonce = plan["account"], secrets.token_hex(16)
    connection = http.client.HTTPConnection(HOST, plan["port"], timeout=PROOF_S)
    try:
        connection.request("GET", f"/_sim/proof?account={account['id']}&nonce={nonce}")
        answer = connection.getresponse()
        said: Any = json.loads(answer.read(4096)) if answer.status == HTTPStatus.OK else {}
    except (OSError, ValueError, http.client.HTTPException):
        return False
    finally:
        connection.close()
    given = said.get("proof") if isinstance(said, dict) else None
    return isinstance(given, str) and hmac.compare_digest(proof(account["id"], account["passcode"], nonce), given)


def _await(port: int) -> None:
    until = time.monotonic() + PATIENCE_S
    while time.monotonic() < until:
        try:
            with socket.create_connection((HOST, port), timeout=1.0):
                return
        except OSError:
            time.sleep(0.2)
    raise ConfigError(
        "the simulator does not answer",
        hint="`millrace serve` keeps it running; its log says why it does not.",
        code="no_simulator",
    )


def _make(home: Home, plan: Mapping[str, Any]) -> None:
    account = plan["account"]
    config = {
        "project_id": account["id"],
        "passcode": account["passcode"],
        "base_url": _url(plan),
        "event_source": "schema",
        "historical_days": DAYS,
    }
    file = files.folder(home) / "simulated.duckdb"
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    known = {(one.kind, one.name) for one in connections.listed(home)}
    if ("source", SOURCE) not in known:
        connections.create(home, "source", SOURCE, SOURCE_TYPE, config)
    if ("destination", DESTINATION) not in known:
        connections.create(home, "destination", DESTINATION, "duckdb", {"path": str(file)})
    try:
        pipelines.create(home, Wish(PIPELINE, SOURCE, DESTINATION, schedule={"every_s": EVERY_S}))
    except ConfigError as error:
        # Somebody else asked at the same moment.
        if error.code != "name_taken":
            raise
