"""Lines of the log: what each is about, in JSON and as text, without secrets."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from millrace.control.observing import logs
from millrace.control.observing.logs import Format
from millrace.errors import ConfigError

SECRET = 'Sentinel/log+"&x'
Written = Callable[[Format], list[str]]


@pytest.fixture
def written(capsys: pytest.CaptureFixture[str]) -> Iterator[Callable[..., list[Any]]]:
    """Lines that a function logs in a format."""
    root = logging.getLogger()
    before, level = list(root.handlers), root.level

    def write(format_: Format, log: Callable[[logging.Logger], object]) -> list[Any]:
        root.handlers[:] = []
        logs.install(format_)
        log(logging.getLogger("millrace.test"))
        lines = capsys.readouterr().err.splitlines()
        return [json.loads(line) for line in lines] if format_ == "json" else lines

    yield write
    root.handlers[:] = before
    root.setLevel(level)


def test_a_line_of_json_tells_when_what_and_what_it_is_about(written: Callable[..., list[Any]]) -> None:
    def log(logger: logging.Logger) -> None:
        with logs.at_work(task=4, run=17, pipeline="events"), logs.about(request="r-1"):
            logs.reading("Charged")
            logger.warning("page %s is late", 3)
        logger.info("after")

    first, second = written("json", log)
    assert first.pop("time").endswith("Z") and first.pop("process")
    assert first == {
        "level": "warning", "logger": "millrace.test", "message": "page 3 is late", "task": 4, "run": 17,
        "pipeline": "events", "stream": "Charged", "request": "r-1",
    }  # fmt: skip
    assert second.keys() == {"time", "level", "logger", "message", "process"}


def test_threads_of_a_task_tell_of_it_and_threads_of_requests_of_their_own(written: Callable[..., list[Any]]) -> None:
    def log(logger: logging.Logger) -> None:
        def of_thread(name: str) -> None:
            thread = threading.Thread(target=logger.info, args=(name,), name=name)
            thread.start()
            thread.join()

        with logs.at_work(run=17), logs.about(request="r-1"):
            logs.reading("Charged")
            of_thread("page")
            of_thread("millrace-load")

    page, load = written("json", log)
    assert (page["run"], page["stream"], "request" in page) == (17, "Charged", False)
    assert (load["run"], "stream" in load) == (17, False)


@pytest.mark.parametrize("format_", ["text", "json"])
def test_secrets_of_a_run_are_in_no_line_as_long_as_it_goes_on(
    written: Callable[..., list[Any]], format_: Format
) -> None:
    def log(logger: logging.Logger) -> None:
        with logs.hiding([SECRET]):
            try:
                raise ValueError(f"the system said {SECRET}")
            except ValueError:
                logger.exception("it refused %r", SECRET)

    told = "\n".join(str(line) for line in written(format_, log))
    assert "Sentinel" not in told
    assert "***" in told and "ValueError" in told


def test_what_a_task_failed_with_is_told_without_its_secrets_after_its_connectors_are_closed(
    written: Callable[..., list[Any]],
) -> None:
    def log(logger: logging.Logger) -> None:
        with logs.at_work(run=17):
            try:
                with logs.hiding([SECRET]):
                    raise ValueError(f"the system said {SECRET}")
            except ValueError:
                logger.exception("run 17 failed")

    assert "Sentinel" not in str(written("json", log))


def test_a_line_of_text_ends_with_what_it_is_about(written: Callable[..., list[Any]]) -> None:
    def log(logger: logging.Logger) -> None:
        with logs.at_work(run=17):
            logger.info("begun")

    (line,) = written("text", log)
    assert line.endswith("millrace.test INFO begun [run=17]")


def test_a_format_that_is_none_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(logs.VARIABLE, "xml")
    with pytest.raises(ConfigError, match="xml"):
        logs.install()
