"""A simulated CleverTap project, and a home whose pipeline has read it once."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests.cli.asking import Asked, ask

from millrace.simulators.clevertap import Account, Settings, Simulator

NOW = datetime(2026, 3, 14, 10, tzinfo=UTC)
ACCOUNT = Account(
    id="SIM-EU1-0001", passcode="SECRET-7f3-zz", region="eu1", timezone="Europe/Berlin", users=20, days=35
)


def pipelines_yaml(base_url: str) -> str:
    return f"""\
destinations:
  warehouse: {{type: duckdb, config: {{path: ./warehouse.duckdb}}}}
pipelines:
  clevertap:
    source:
      type: clevertap
      config:
        project_id: {ACCOUNT.id}
        passcode: ${{CLEVERTAP_PASSCODE}}
        timezone: {ACCOUNT.timezone}
        window_days: 31
        events_file: ./events.csv
        base_url: {base_url}
    destination: warehouse
    schedule: {{every: 6h}}
"""


def shift_s() -> str:
    """What makes the machine's clock the simulator's."""
    return str((NOW - datetime.now(UTC)).total_seconds())


@dataclass(frozen=True)
class Shop:
    """A folder with a file of pipelines, and its home."""

    simulator: Simulator
    folder: Path

    @property
    def file(self) -> Path:
        return self.folder / "pipelines.yaml"

    @property
    def home(self) -> Path:
        return self.folder / "home"

    @property
    def env(self) -> dict[str, str]:
        return {"CLEVERTAP_PASSCODE": ACCOUNT.passcode, "MILLRACE_CLOCK_SHIFT_S": shift_s()}

    def ask(self, *words: str | Path, given: str = "") -> Asked:
        """A command on this home. The secret is never in what it says (I7)."""
        asked = ask(*words, home=self.home, env=self.env, given=given)
        assert ACCOUNT.passcode not in asked.out + asked.err
        return asked


def opened(simulator: Simulator, folder: Path) -> Shop:
    shop = Shop(simulator, folder)
    shop.file.write_text(pipelines_yaml(simulator.base_url))
    (folder / "events.csv").write_text(simulator.events_csv(ACCOUNT.id), encoding="utf-8", newline="")
    return shop


@pytest.fixture(scope="session")
def simulator() -> Iterator[Simulator]:
    with Simulator(Settings.plain(ACCOUNT, now=NOW), port=0) as simulator:
        yield simulator


@pytest.fixture(scope="module")
def shop(simulator: Simulator, tmp_path_factory: pytest.TempPathFactory) -> Shop:
    """A shop whose pipeline has run once, for tests that change nothing that others see."""
    shop = opened(simulator, tmp_path_factory.mktemp("shop"))
    asked = shop.ask("run", shop.file)
    assert asked.code == 0, asked
    return shop


@pytest.fixture
def fresh(simulator: Simulator, tmp_path: Path) -> Shop:
    """A shop where nothing has run yet."""
    return opened(simulator, tmp_path)


@pytest.fixture(autouse=True)
def _no_home_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("MILLRACE_") and name != "MILLRACE_GOLDEN"]:
        monkeypatch.delenv(name)
