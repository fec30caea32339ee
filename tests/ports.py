"""Ports for servers that must be told theirs before they start, and that nobody else takes meanwhile."""

from __future__ import annotations

import os
import random
import socket

# Below those that Linux and macOS give to whoever connects or asks for any port.
FIRST, LAST = 12_000, 32_000
# Processes that share the tests take turns of these many ports, so that no two choose the same one.
TURNS = 16

_given: set[int] = set()
# Not the generator that a property test seeds.
_any = random.SystemRandom()


def free_port() -> int:
    """One that nothing listens on and that no other test is given."""
    turn = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % TURNS
    while True:
        port = _any.randrange(FIRST + turn, LAST, TURNS)
        if port in _given:
            continue
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        _given.add(port)
        return port
