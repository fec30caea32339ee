from __future__ import annotations

import errno
import fcntl
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

import pytest

from millrace.connect.http import limits
from millrace.connect.http.limits import Limiter, Places, limiter
from millrace.connect.http.parallel import Ended, Got, interleaved
from millrace.connect.http.waits import Patience, Stopped, doubling, listed
from millrace.connect.source import Context


def counting(number: int, items: int, running: list[int]) -> Callable[[], Iterator[int]]:
    def job() -> Iterator[int]:
        running.append(1)
        for item in range(items):
            yield number * 100 + item
        running.pop()

    return job


def reading_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("read-")]


def test_every_item_of_every_job_comes_once_in_order_of_its_job() -> None:
    jobs = [counting(number, 5, []) for number in range(7)]
    found = list(interleaved(jobs, 3, closed=threading.Event(), abort=lambda: None))
    for number in range(7):
        mine = [item for item in found if item.job == number]
        assert mine == [*(Got(number, number * 100 + item) for item in range(5)), Ended(number)]
    assert not reading_threads()


def test_at_most_width_jobs_run_and_at_most_one_item_of_each_is_ahead() -> None:
    made: list[int] = []

    def job() -> Iterator[int]:
        for item in range(50):
            made.append(item)
            yield item

    reader = interleaved([job] * 4, 2, closed=threading.Event(), abort=lambda: None)
    next(reader)
    time.sleep(0.2)
    assert len(made) <= 5
    reader.close()
    assert not reading_threads()


def test_an_error_ends_its_job_alone() -> None:
    def bad() -> Iterator[int]:
        yield 1
        raise ValueError("bad")

    found = list(interleaved([bad, counting(1, 2, [])], 2, closed=threading.Event(), abort=lambda: None))
    ends = {item.job: item.error for item in found if isinstance(item, Ended)}
    assert isinstance(ends[0], ValueError) and ends[1] is None


def test_closing_early_ends_the_threads_and_calls_abort_once() -> None:
    closed, aborted = threading.Event(), []
    reader = interleaved([counting(n, 100, []) for n in range(3)], 3, closed=closed, abort=lambda: aborted.append(1))
    next(reader)
    reader.close()
    assert closed.is_set() and aborted == [1] and not reading_threads()


def test_no_jobs_are_done_at_once() -> None:
    assert list(interleaved([], 3, closed=threading.Event(), abort=lambda: None)) == []


def test_a_limiter_never_lets_more_through_than_its_width() -> None:
    held: list[int] = []
    most: list[int] = []
    limit = Limiter(2)

    def work() -> None:
        for _ in range(5):
            with limit.slot(time.monotonic, lambda: None):
                held.append(1)
                most.append(len(held))
                time.sleep(0.002)
                held.pop()

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert max(most) == 2 and limit.held == 0


def test_a_limiter_is_narrow_until_the_time_is_over() -> None:
    limit = Limiter(3)
    limit.narrow(100.0)
    limit.narrow(50.0)
    assert (limit.width(99.9), limit.width(100.0)) == (1, 3)


def test_waiting_for_a_place_can_be_called_off() -> None:
    limit = Limiter(1)

    def enough() -> None:
        raise Stopped

    with limit.slot(lambda: 0.0, lambda: None), pytest.raises(Stopped), limit.slot(lambda: 0.0, enough):
        raise AssertionError("there was no place")


def test_one_limiter_serves_an_api_of_an_account_in_the_whole_process() -> None:
    one = limiter("host", "account", "events", 3, most=3)
    assert limiter("host", "account", "events", 2, most=3) is one and one.width(0.0) == 2
    assert limiter("host", "account", "counts", 3, most=3) is not one


HOLDER = """
import sys
from contextlib import ExitStack
from millrace.connect.http.limits import limiter
with ExitStack() as held:
    for _ in range(int(sys.argv[1])):
        held.enter_context(limiter("host", "shared", "events", 3, most=3).slot(lambda: 0.0, lambda: None))
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.mark.parametrize("end", [subprocess.Popen.kill, subprocess.Popen.communicate])
def test_processes_share_the_places_and_those_of_a_killed_one_are_free(
    end: Callable[[subprocess.Popen[str]], object], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(limits, "_limiters", {})
    limit = limiter("host", "shared", "events", 3, most=3)
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, "2"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None and other.stdout.readline() == "held\n"
        with limit.slot(lambda: 0.0, lambda: None):

            def full() -> None:
                raise Stopped

            with pytest.raises(Stopped), limit.slot(lambda: 0.0, full):
                raise AssertionError("a fourth request")
            assert limit.held == 1
            end(other)
            other.wait()
            with limit.slot(lambda: 0.0, full), limit.slot(lambda: 0.0, full):
                assert limit.held == 3


def test_who_may_have_one_place_gets_any_that_is_left_and_those_who_may_have_one_share_it(tmp_path: Path) -> None:
    def full() -> None:
        raise Stopped

    places = Places(tmp_path, "project", 3)
    wide, one, another = Limiter(3, places), Limiter(1, places), Limiter(1, places)  # as in three processes
    with wide.slot(lambda: 0.0, full), wide.slot(lambda: 0.0, full), one.slot(lambda: 0.0, full):
        for limit in (wide, another):
            with pytest.raises(Stopped), limit.slot(lambda: 0.0, full):
                raise AssertionError("a fourth request")
    with one.slot(lambda: 0.0, full):
        with pytest.raises(Stopped), another.slot(lambda: 0.0, full):
            raise AssertionError("two where one is wanted")
        with wide.slot(lambda: 0.0, full), wide.slot(lambda: 0.0, full):
            pass


@pytest.mark.parametrize("way", ["a file", "of others", "a link"])
def test_where_the_folder_is_not_ours_the_process_counts_alone(
    way: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(limits, "_limiters", {})
    folder = tmp_path / f"millrace-{os.geteuid()}"
    if way == "a file":
        folder.touch()
    elif way == "of others":
        folder.mkdir()
        folder.chmod(0o777)
    else:
        (tmp_path / "elsewhere").mkdir()
        folder.symlink_to(tmp_path / "elsewhere")
    with limiter("host", "account", "events", 1, most=3).slot(lambda: 0.0, lambda: None):
        assert not list(tmp_path.glob("*/*"))


def test_places_are_shared_again_after_temporary_files_were_removed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(limits, "_limiters", {})
    limit = limiter("host", "account", "events", 3, most=3)
    shutil.rmtree(tmp_path / f"millrace-{os.geteuid()}")
    with limit.slot(lambda: 0.0, lambda: None):
        (place,) = tmp_path.glob("*/*.0")
        os.utime(place, (0, 0))
    with limit.slot(lambda: 0.0, lambda: None):
        assert time.time() - place.stat().st_mtime < 3600, "a place that is held is no old file"


def test_where_files_cannot_be_locked_none_is_left_open(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def refused(*_: object) -> None:
        raise OSError(errno.ENOLCK, "no locks available")

    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(limits, "_limiters", {})
    monkeypatch.setattr(fcntl, "flock", refused)
    limit = limiter("host", "account", "events", 3, most=3)
    with limit.slot(lambda: 0.0, lambda: None):
        opened = [each.readlink() for each in Path("/proc/self/fd").iterdir() if each.is_symlink()]
        assert not [path for path in opened if path.is_relative_to(tmp_path)]
    assert list(tmp_path.glob("*/*.0")), "it was tried"


def test_waits_double_up_to_their_cap_and_listed_ones_end_with_their_total() -> None:
    assert list(doubling(1, 5, 5)) == [1, 2, 4, 5]
    assert list(listed((2, 3), 4, 12, jitter=0)) == [2, 3, 4, 3]
    assert all(1.8 <= wait <= 2.2 for wait in islice(listed((2,), 2, 100), 20))


def test_a_rest_says_what_it_waits_for_and_ends_when_the_run_shall_stop() -> None:
    said: list[str] = []
    context = Context(awaiting=said.append)
    patience = Patience(context, threading.Event())
    patience.rest(0.01, "the mill")
    assert said == ["the mill", ""]
    threading.Timer(0.1, context.stopping.set).start()
    began = time.monotonic()
    with pytest.raises(Stopped):
        patience.rest(30, "the mill")
    assert time.monotonic() - began < 25 and said[-1] == ""
    with pytest.raises(Stopped):
        patience.check()
