"""A real SSH server for tests: Debian's, on a free port, which lets in whoever has the key that it makes.

Tests that run as root install it themselves. A test that asks for it fails where none can be had.
"""

from __future__ import annotations

import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from getpass import getuser
from pathlib import Path
from typing import Any

import pytest
from tests import debian
from tests.ports import free_port

PROGRAM = "/usr/sbin/sshd"


@dataclass(frozen=True, slots=True)
class SshServer:
    port: int
    user: str
    private_key: str
    host_key: str

    def settings(self) -> dict[str, Any]:
        """What a connection through this server says."""
        return {
            "ssh_host": "127.0.0.1",
            "ssh_port": self.port,
            "ssh_user": self.user,
            "ssh_private_key": self.private_key,
            "ssh_host_key": self.host_key,
        }


@cache
def _installed() -> None:
    if not debian.bring("openssh-server", Path(PROGRAM).exists):
        raise RuntimeError("no SSH server can be had: install Debian's package openssh-server")


@pytest.fixture(scope="module")
def ssh_server() -> Iterator[SshServer]:
    """A server that forwards ports and has SFTP, until the module's tests are done."""
    _installed()
    Path("/run/sshd").mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="millrace-ssh-") as name:
        folder = Path(name)
        for key in ("host", "user"):
            words = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / key)]
            subprocess.run(words, check=True, timeout=30)
        port = free_port()
        (folder / "config").write_text(
            f"ListenAddress 127.0.0.1\nPort {port}\nHostKey {folder / 'host'}\nPidFile none\n"
            f"AuthorizedKeysFile {folder / 'user.pub'}\nStrictModes no\nPasswordAuthentication no\n"
            "PermitRootLogin yes\nUsePAM no\nAllowTcpForwarding yes\nSubsystem sftp internal-sftp\n"
        )
        with (folder / "log").open("wb") as log:
            server = subprocess.Popen([PROGRAM, "-D", "-e", "-f", str(folder / "config")], stderr=log)
        try:
            _wait(port, server, folder)
            yield SshServer(port, getuser(), (folder / "user").read_text(), (folder / "host.pub").read_text())
        finally:
            server.terminate()
            server.wait(60)


def _wait(port: int, server: subprocess.Popen[bytes], folder: Path) -> None:
    until = time.monotonic() + 60
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError as error:
            if time.monotonic() > until or server.poll() is not None:
                raise RuntimeError((folder / "log").read_text()) from error
            time.sleep(0.05)


def pytest_report_header() -> str:
    """Which SSH server tests of tunnels use."""
    return (
        f"SSH server: {PROGRAM if Path(PROGRAM).exists() else 'not here yet; installed when a test needs it and may'}"
    )
