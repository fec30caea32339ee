"""Fixtures that tests of several folders share."""

from __future__ import annotations

import gc
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Generator, Iterator
from functools import cache
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from tests import bubblewrap, chromium, sshd
from tests import mariadb as maria
from tests import mongodb as documents
from tests import postgres as servers
from tests.buckets import bucket, s3
from tests.mariadb import mariadb, mysql_database
from tests.mongodb import mongo, mongodb
from tests.postgres import database, postgres
from tests.prepared import prepared

pytest.register_assert_rewrite("millrace.connect.testing")

# A shell that runs the tests in the background lets them ignore Ctrl-C, and processes inherit that; tests send it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Hundreds of processes of the tests would each compile our sources, where the environment has Python keep nothing.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

# How long an example takes says something of the machine, which others use too, and nothing of the law that it shows.
plain = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("millrace", plain, max_examples=25)
settings.register_profile("deep", plain, max_examples=1000)
settings.load_profile("millrace")

__all__ = ["bucket", "database", "mariadb", "mongo", "mongodb", "mysql_database", "postgres", "prepared", "s3"]


# Files that tests make are synced as those of users are, which a disk takes milliseconds for and memory does not.
MEMORY = Path("/dev/shm")
ENOUGH_BYTES = 6 * 1024**3
# Files with a test that takes half a minute; all of `crash` does.
LONG = ("test_schema.py", "test_scaffold.py", "test_sentinel.py", "test_whole_story.py")
OWN_FOLDER = pytest.StashKey[Path]()


def pytest_configure(config: pytest.Config) -> None:
    """Folders of tests lie in memory where there is room, unless `--basetemp` says where; they go with the tests."""
    if config.option.basetemp is not None or not MEMORY.is_dir() or shutil.disk_usage(MEMORY).free < ENOUGH_BYTES:
        return
    if _free_memory() < ENOUGH_BYTES:
        return
    folder = config.stash[OWN_FOLDER] = Path(tempfile.mkdtemp(prefix="millrace-tests-", dir=MEMORY))
    config.option.basetemp = str(folder / "tests")


def pytest_unconfigure(config: pytest.Config) -> None:
    gc.unfreeze()  # libraries look at their end for what was never given back
    if (folder := config.stash.get(OWN_FOLDER, None)) is not None:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """What is collected lives as long as the tests do: the collector of garbage never looks at it."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.collect()
        gc.freeze()
        gc.enable()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """What takes longest begins first, so that processes which share the tests end together."""
    if not config.getoption("--long"):
        config.hook.pytest_deselected(items=[item for item in items if item.get_closest_marker("long")])
        items[:] = [item for item in items if not item.get_closest_marker("long")]
    items.sort(key=lambda item: "crash" not in item.path.parts and item.path.name not in LONG)


def _free_memory() -> int:
    """Bytes that Linux could give without swapping."""
    facts = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text().splitlines())
    return int(facts["MemAvailable"].split()[0]) * 1024


def pytest_report_header(config: pytest.Config) -> list[str]:
    where = config.option.basetemp or tempfile.gettempdir()
    headers = (one.pytest_report_header() for one in (servers, maria, documents, bubblewrap, chromium, sshd))
    long = "among them" if config.getoption("--long") else "left to `make long`"
    return [*headers, f"folders of tests: {where}", f"tests that are marked as long: {long}"]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--long", action="store_true", help="tests too that are marked as long")
    parser.addoption("--kills", type=int, default=3, help="kill -9 of the real process: how often, for each kind")
    parser.addoption("--every-point", action="store_true", help="each kind of end at each point, for each kind")


@pytest.fixture(scope="session", autouse=True)
def authorities_read_once() -> Iterator[None]:
    """Clients of `httpx` share one list of authorities: to read it takes longer than most requests of tests."""
    from httpx._transports import default

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(default, "create_ssl_context", cache(default.create_ssl_context))
        yield


@pytest.fixture
def kills(request: pytest.FixtureRequest) -> int:
    """A few times in every test run, fifty times by `make crash`."""
    return request.config.getoption("--kills")


@pytest.fixture
def every_point(request: pytest.FixtureRequest) -> bool:
    """Points in which no destination has a part are tried for all kinds by `make crash`, for one by `make test`."""
    return request.config.getoption("--every-point")
