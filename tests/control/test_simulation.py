"""A pipeline from invented data, without an account: begun with one question, kept running beside a server."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from tests.control.people import acting, cheap, joined
from tests.rest.conftest import work

from millrace.connect.reach import WORLD
from millrace.control import connections, drafts, jobs, preview, reach, simulation
from millrace.control.home import Home
from millrace.errors import ConfigError


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(simulation, "USERS", 20)
    monkeypatch.setattr(simulation, "DAYS", 2)


def test_invented_data_are_loaded_for_whoever_asks(tmp_path: Path) -> None:
    with Home.open(tmp_path / "home", create=True, env={}) as home:
        joined(cheap(home), "ada@example.com", "TEAM_ADMIN")
        ada = acting(home, "ada@example.com")
        keeper, over = simulation.Keeper(home.path), threading.Event()

        def keep() -> None:
            while not over.wait(0.05):
                keeper.tend()

        keeping = threading.Thread(target=keep)
        keeping.start()
        try:
            begun = simulation.begin(ada)
            assert simulation.begin(ada).job == begun.job
            work(home)
            assert jobs.find(ada, begun.job).run.status == "COMPLETED"
            found = preview.query(ada, begun.destination, "SELECT count(*) AS n FROM events")
            assert found.column("n")[0].as_py() > 0
            # A draft is tried like a source that is saved; its secret is in no answer.
            config = dict(connections.find(ada, "source", begun.source).config)
            draft = drafts.save(ada, name="mine", source_type="clevertap", config=config | {"passcode": "wrong-one"})
            checked = drafts.check(ada, draft.number)
            assert not checked.passed
            assert "wrong-one" not in str(checked)
            plan = (home.path / "simulation.json").read_text()
            right = plan.partition('"passcode": "')[2].partition('"')[0]
            draft = drafts.save(
                ada, name="mine", source_type="clevertap", config=config | {"passcode": right}, number=draft.number
            )
            assert drafts.check(ada, draft.number).passed
            assert drafts.discover(ada, draft.number)
        finally:
            over.set()
            keeping.join()
            keeper.stop()


def test_only_a_source_that_is_aimed_at_the_simulator_reaches_this_machine(tmp_path: Path) -> None:
    with Home.open(tmp_path / "home", create=True, env={}) as home:
        joined(cheap(home), "ada@example.com", "TEAM_ADMIN")
        ada = acting(home, "ada@example.com")
        assert reach.of_source(ada, {"base_url": "http://127.0.0.1:1/r/eu1"}) == WORLD
        (home.path / "simulation.json").write_text('{"port": 4711}')
        assert reach.of_source(ada, {"base_url": "http://127.0.0.1:4711/r/eu1"}) != WORLD
        for other in ("http://127.0.0.1:4712/r/eu1", "http://127.0.0.1:4711/r/eu1/../../", None):
            assert reach.of_source(ada, {"base_url": other}) == WORLD


def test_without_a_server_beside_it_somebody_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(simulation, "PATIENCE_S", 0.1)
    with (
        Home.open(tmp_path / "home", create=True, env={}) as home,
        pytest.raises(ConfigError, match="simulator"),
    ):
        simulation.begin(home)
