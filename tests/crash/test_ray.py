"""Workers on the nodes of a real Ray cluster, one of which is killed in the middle of a historical load (I8)."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.crash.site import SOON_S, at_work, ended, site
from tests.postgres import Database

from millrace.control.home import Home
from millrace.control.running import jobs, tasks

# What Ray gives to objects of its own, which we have none of; the least that it takes.
STORE_BYTES = 80 * 1024 * 1024


@pytest.fixture
def cluster(database: Database, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A cluster whose head takes no workers. Its nodes know the control database by their environment."""
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    monkeypatch.setenv("MILLRACE_DATABASE_URL", database.url)
    ours = signal.getsignal(signal.SIGTERM)
    from ray.cluster_utils import Cluster

    head = {"num_cpus": 0, "include_dashboard": False, "object_store_memory": STORE_BYTES}
    found = Cluster(initialize_head=True, head_node_args=head)
    try:
        yield found
    finally:
        found.shutdown()
        signal.signal(signal.SIGTERM, ours)


def pid_at_work(home: Home) -> int | None:
    return next((one.pid for one in tasks.holders(home.database)), None)


def node_of(pid: int) -> int:
    """The process of the node that started that worker."""
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def raylet(node: Any) -> int:
    return int(node.all_processes["raylet"][0].process.pid)


def test_a_node_that_is_killed_in_the_middle_of_a_historical_load_costs_no_row(cluster: Any, tmp_path: Path):
    nodes = [cluster.add_node(num_cpus=1, object_store_memory=STORE_BYTES) for _ in range(2)]
    with site(tmp_path, slow=True, env=os.environ) as here:
        server = here.serve(2, "--executor", "ray", "--ray-address", cluster.address)
        here.until(lambda _: True if here.said().count(" is at ") == 2 else None)
        with Home.open(here.home) as home:
            asked = jobs.start(home, "p")
        here.until(at_work)
        victim = here.until(pid_at_work)
        lost = next(node for node in nodes if raylet(node) == node_of(victim))
        cluster.remove_node(lost, allow_graceful=False)
        here.quick()
        done = here.until(ended)
        assert (done.job_id, done.run.status) == (asked.job_id, "COMPLETED"), here.said()
        assert done.run.balance.even
        assert here.loaded() == here.expected()
        # Where the lease of its task ran out first, the cluster says later that it is gone.
        here.until(lambda _: True if "is gone" in here.said() else None)
        server.send_signal(signal.SIGTERM)
        assert server.wait(timeout=SOON_S) == 0, here.said()
