"""Streams of events: what a run and a team's pipelines do, from the database alone, and back again where one left."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import event
from tests.control.conftest import EVENTS_CSV
from tests.control.sources import Script
from tests.rest.conftest import MANY, Keys, served, work

from millrace.control.connecting import connections
from millrace.control.home import Home
from millrace.control.observing import watching
from millrace.control.observing.watching import Changes
from millrace.control.pipeline import lifecycle, pipelines
from millrace.control.pipeline.pipelines import Wish
from millrace.control.running import jobs
from millrace.errors import Transient
from millrace.rest.app import application
from millrace.rest.millrace import following

OURS = "/api/millrace/v1"


@pytest.fixture(scope="module", autouse=True)
def there(home: Home, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A source and a destination, and followers that look often."""
    folder = tmp_path_factory.mktemp("there")
    (folder / "events.csv").write_text(EVENTS_CSV)
    config = {"project_id": "AAA-BBB-CCCC", "passcode": "hunter2", "events_file": str(folder / "events.csv")}
    connections.create(home, "source", "app", "clevertap", config)
    connections.create(home, "destination", "warehouse", "duckdb", {"path": str(folder / "w.duckdb")})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(following, "TICK_S", 0.02)
        yield folder


@pytest.fixture
def pipeline(home: Home, script: Script, request: pytest.FixtureRequest) -> str:
    name = f"p{abs(hash(request.node.name)) % 10**9}"
    pipelines.create(home, Wish(name, "app", "warehouse", table_prefix=name))
    return name


class Follower:
    """A client of a stream; what it got so far, read by a thread of its own until the server ends it."""

    def __init__(self, url: str, pair: tuple[str, str], path: str, seen: str | None = None) -> None:
        self.got: list[tuple[str, str, Any]] = []
        self.status = 0
        self._more = threading.Condition()
        self._leave = threading.Event()
        self._thread = threading.Thread(target=self._read, args=(url + path, pair, seen))
        self._thread.start()

    def _read(self, url: str, pair: tuple[str, str], seen: str | None) -> None:
        headers = {} if seen is None else {"Last-Event-ID": seen}
        with httpx.stream("GET", url, auth=pair, headers=headers, timeout=60) as answer:
            found: dict[str, str] = {}
            self.status = answer.status_code
            for line in answer.iter_lines():
                if self._leave.is_set():
                    return
                word, _, value = line.partition(": ")
                found[word] = value
                if not line and "data" in found:
                    with self._more:
                        self.got.append((found["id"], found["event"], json.loads(found["data"])))
                        self._more.notify_all()
                    found = {}

    def until(self, wanted: Any) -> tuple[str, str, Any]:
        """The first event of which that is true."""
        with self._more:
            assert self._more.wait_for(lambda: any(wanted(*one) for one in self.got), timeout=60), self.got
            return next(one for one in self.got if wanted(*one))

    def join(self) -> list[str]:
        """The names of the events, all of them: the server has ended the stream."""
        self._thread.join()
        return [name for _, name, _ in self.got]


class Gate:
    """What looks at jobs, until somebody shuts it, and while it is shut: as a database that hangs."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.waiting = 0
        self._open = threading.Event()
        self._open.set()
        self._look = watching.run
        patch.setattr(watching, "run", self._through)

    def _through(self, home: Home, number: int) -> watching.RunNow:
        if not self._open.is_set():
            self.waiting += 1
            self._open.wait()
        return self._look(home, number)

    @contextmanager
    def shut(self) -> Generator[None]:
        """Looks wait while the block runs, in which one waits already."""
        self._open.clear()
        try:
            while not self.waiting:
                time.sleep(0.01)
            yield
        finally:
            self._open.set()


def test_a_run_of_another_process_is_followed_to_its_end(home: Home, url: str, keys: Keys, pipeline: str) -> None:
    job = jobs.start(home, pipeline).run.id
    path = f"{OURS}/jobs/{job}/events"
    follower = Follower(url, keys.observer, path)
    waiting, name, told = follower.until(lambda *_: True)
    assert (name, told["status"]) == ("progress", "QUEUED")
    work(home)
    last, _, told = follower.until(lambda _, name, __: name == "ended")
    assert (told["status"], told["meter"]["read"]) == ("COMPLETED", 14)
    assert follower.join()[-1] == "ended"
    # Whoever comes back gets what it has not; at the end it is told to stay away.
    assert Follower(url, keys.observer, path, waiting).join() == ["ended"]
    done = Follower(url, keys.observer, path, last)
    assert (done.join(), done.status) == ([], 204)
    missing = httpx.get(f"{url}{path}", auth=keys.stranger)
    assert missing.status_code == 404


def test_all_of_many_followers_are_told_of_an_end_and_a_job_is_looked_at_once_for_them(
    home: Home, keys: Keys, pipeline: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked, away = Counter[int](), threading.Event()
    look = watching.run

    def counted(asked: Home, number: int) -> watching.RunNow:
        looked[number] += 1
        if away.is_set():
            raise Transient("the database is away")
        return look(asked, number)

    monkeypatch.setattr(watching, "run", counted)
    monkeypatch.setattr(following, "TICK_S", 0.2)
    job = jobs.start(home, pipeline).run.id
    path, limits = f"{OURS}/jobs/{job}/events", replace(MANY, requests_a_minute=60)
    began = time.monotonic()
    with served(application(home, limits=limits)) as own:
        followers = [Follower(own, keys.admin, path) for _ in range(60)]
        for one in followers:
            one.until(lambda *_: True)
        over = httpx.get(f"{own}{path}", auth=keys.admin)
        assert (over.status_code, over.json()["error"]["code"]) == (429, "RATE_LIMITED")
        assert 0 < int(over.headers["Retry-After"]) <= 60
        # They hold out while the database is away, and those who cannot are no limit for another user.
        away.set()
        before = looked[job]
        while looked[job] < before + 2:
            time.sleep(0.01)
        away.clear()
        before = looked[job]
        while looked[job] == before:  # whoever comes sooner hears of the last look, which failed
            time.sleep(0.01)
        assert Follower(own, keys.observer, path).until(lambda *_: True)[1] == "progress"
        work(home)
        for one in followers:
            assert one.join()[-1] == "ended"
    assert looked[job] <= (time.monotonic() - began) / (following.TICK_S * 0.75) + 2


def test_while_the_database_hangs_one_look_is_waited_for_however_many_follow_a_job(
    home: Home, keys: Keys, pipeline: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gate(monkeypatch)
    job = jobs.start(home, pipeline).run.id
    with served(application(home, limits=MANY)) as own:
        followers = [Follower(own, keys.admin, f"{OURS}/jobs/{job}/events")]
        followers[0].until(lambda *_: True)
        with gate.shut():
            for _ in range(10):
                followers.append(Follower(own, keys.admin, f"{OURS}/jobs/{job}/events"))
                time.sleep(0.2)
            assert gate.waiting == 1
        work(home)
        for one in followers:
            assert one.join()[-1] == "ended"


def test_a_look_that_never_returns_is_given_up_and_whoever_follows_the_job_is_told_all_the_same(
    home: Home, keys: Keys, pipeline: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    look, hangs, ended = watching.run, threading.Event(), threading.Event()

    def run(asked: Home, number: int) -> watching.RunNow:
        if hangs.is_set():
            hangs.clear()
            ended.wait()
        return look(asked, number)

    monkeypatch.setattr(watching, "run", run)
    monkeypatch.setattr(following, "PATIENCE_S", 0.3)
    monkeypatch.setattr(following, "GIVEN_UP_S", 2.0)
    path = f"{OURS}/jobs/{jobs.start(home, pipeline).run.id}/events"
    with served(application(home, limits=MANY)) as own:
        follower = Follower(own, keys.admin, path)
        follower.until(lambda *_: True)
        try:
            hangs.set()
            while hangs.is_set():
                time.sleep(0.01)
            away = httpx.get(f"{own}{path}", auth=keys.admin, timeout=30)
            assert (away.status_code, away.headers["Retry-After"]) == (503, "5")
            work(home)
            follower.until(lambda _, name, __: name == "ended")
        finally:
            ended.set()
        assert follower.join()[-1] == "ended"


def test_whoever_follows_a_job_that_goes_with_its_pipeline_is_let_go(
    home: Home, keys: Keys, pipeline: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gate(monkeypatch)
    job = jobs.start(home, pipeline).run.id
    with served(application(home, limits=MANY)) as own:
        follower = Follower(own, keys.admin, f"{OURS}/jobs/{job}/events")
        follower.until(lambda *_: True)
        with gate.shut():  # a look in the middle of the deletion would find that the job was cancelled
            lifecycle.delete(home, pipeline)
        assert set(follower.join()) == {"progress"}
        assert httpx.get(f"{own}{OURS}/jobs/{job}/events", auth=keys.admin).status_code == 404


def test_changes_of_all_pipelines_are_told_once_to_each_follower(
    home: Home, url: str, keys: Keys, pipeline: str
) -> None:
    def mine(**wanted: Any) -> Any:
        return lambda _, name, told: (
            name == "pipeline" and told["name"] == pipeline and all(told[key] == value for key, value in wanted.items())
        )

    with served(application(home, limits=MANY)) as own:
        one, other = (Follower(own, keys.admin, f"{OURS}/events") for _ in range(2))
        apart = Follower(own, keys.stranger, f"{OURS}/events")
        for follower in (one, other, apart):
            assert follower.until(lambda *_: True)[1] == "reload"
        lifecycle.pause(home, pipeline)
        paused, _, _ = one.until(mine(state="PAUSED"))
        lifecycle.resume(home, pipeline)
        resumed = one.until(mine(state="ACTIVE"))[0]
        jobs.start(home, pipeline)
        work(home)
        for follower in (one, other):
            follower.until(lambda *found: mine()(*found) and (found[2]["run"] or {}).get("status") == "COMPLETED")
        lifecycle.delete(home, pipeline)
        one.until(mine(gone=True))
        # Who comes back to this server misses nothing, and gets nothing twice.
        back = Follower(own, keys.admin, f"{OURS}/events", paused)
        back.until(mine(gone=True))
        assert back.got[0][0] == resumed and "reload" not in [name for _, name, _ in back.got]
        # Who comes from another one is told so.
        assert Follower(own, keys.admin, f"{OURS}/events", "fffff-3").until(lambda *_: True)[1] == "reload"
        assert [name for _, name, _ in apart.got] == ["reload"]
    # The server has ended, and with it the streams.
    ids = [id_ for id_, _, _ in one.got]
    assert one.join()[0] == "reload" and len(set(ids)) == len(ids)


def test_a_look_at_pipelines_that_stand_still_asks_the_same_however_many_there_are(home: Home, script: Script) -> None:
    asked: list[str] = []

    def note(_: Any, __: Any, statement: str, *___: Any) -> None:
        asked.append(statement)

    for number in range(3):
        pipelines.create(home, Wish(f"still{number}", "app", "warehouse", table_prefix=f"still{number}"))
    changes = Changes(home)
    event.listen(home.database.engine, "before_cursor_execute", note)
    try:
        assert changes.look() == []
    finally:
        event.remove(home.database.engine, "before_cursor_execute", note)
    assert len([statement for statement in asked if statement.startswith("SELECT")]) == 2
    lifecycle.pause(home, "still1")
    assert [(one.name, one.state) for one in changes.look()] == [("still1", "PAUSED")]
