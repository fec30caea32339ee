"""What keeps the service running, and what ends it."""

from __future__ import annotations

import threading

import pytest

from millrace.control.alerting import alert_outbox
from millrace.control.home import Home
from millrace.control.running import pushing, service
from millrace.control.running.executor import Processes
from millrace.control.scheduling import scheduler


@pytest.fixture
def url(tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"sqlite:///{tmp_path_factory.mktemp('control') / 'millrace.db'}"


@pytest.mark.parametrize("part", [scheduler, alert_outbox, pushing], ids=["scheduler", "alerts", "pushing"])
def test_a_service_of_which_a_part_has_ended_ends_so_that_somebody_sees_it(
    home: Home, part: object, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def ended(*_: object) -> None:
        """As after an error that nobody foresaw."""

    monkeypatch.setattr(part, "serve", ended)
    stopping = threading.Event()
    service.run(home, Processes(home.path, 0), stopping, patience_s=10.0)
    assert stopping.is_set()
    assert "ended; the service ends too" in caplog.text
