"""A pipeline from invented data, without an account: begun with one question, kept running beside a server."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import urlopen

import pytest
from tests.control.people import acting, cheap, joined
from tests.control.receivers import http_server
from tests.rest.conftest import work

from millrace.connect.reach import SIMULATOR, WORLD
from millrace.control.connecting import connections, preview, reach
from millrace.control.home import Home
from millrace.control.pipeline import drafts, simulation
from millrace.control.running import jobs
from millrace.errors import ConfigError
from millrace.simulators.clevertap import Account, Settings, Simulator
from millrace.simulators.clevertap.config import read


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
            # Who tries things out for the first time is not kept waiting as CleverTap keeps its clients waiting.
            told = read(home.path / "simulation.yaml")
            assert told.page_not_ready.probability == told.partial.probability == 0
            assert max(*told.latency_ms.open, *told.latency_ms.page) <= 10
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
    account = Account(id="SIM-EU1-0001", passcode="what the home chose", users=0)
    with (
        Home.open(tmp_path / "home", create=True, env={}) as home,
        Simulator(Settings(accounts=(account,), control=False)) as running,
    ):
        joined(cheap(home), "ada@example.com", "TEAM_ADMIN")
        ada = acting(home, "ada@example.com")
        port = urlsplit(running.base_url).port or 0
        aimed = {"base_url": f"http://127.0.0.1:{port}/r/eu1"}

        def plan(passcode: str, port: int = port) -> None:
            known = {"id": account.id, "passcode": passcode}
            (home.path / "simulation.json").write_text(json.dumps({"port": port, "account": known}))

        assert reach.of_source(ada, "clevertap", aimed) == WORLD
        plan(account.passcode)
        assert reach.of_source(ada, "clevertap", aimed) == SIMULATOR
        for other in (f"http://127.0.0.1:{port + 1}/r/eu1", f"http://127.0.0.1:{port}/r/eu1/../../", None):
            assert reach.of_source(ada, "clevertap", {"base_url": other}) == WORLD
        assert reach.of_source(ada, "another", aimed) == WORLD
        # A program that has the port but is not the one that this home began, and nobody at all.
        plan("what another home chose")
        assert reach.of_source(ada, "clevertap", aimed) == WORLD
        with http_server() as stranger:
            where = urlsplit(stranger.url).port or 0
            plan(account.passcode, where)
            assert reach.of_source(ada, "clevertap", {"base_url": f"http://127.0.0.1:{where}/r/eu1"}) == WORLD
        assert reach.of_source(ada, "clevertap", {"base_url": f"http://127.0.0.1:{where}/r/eu1"}) == WORLD
        # What writes files and calls URLs is not there for other programs of the machine.
        for path in ("/_sim/ledger", "/_sim/journal"):
            with pytest.raises(HTTPError) as refused:
                urlopen(running.base_url + path)
            assert refused.value.code == 404
            refused.value.close()


def test_without_a_server_beside_it_somebody_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(simulation, "PATIENCE_S", 0.1)
    with (
        Home.open(tmp_path / "home", create=True, env={}) as home,
        pytest.raises(ConfigError, match="simulator"),
    ):
        simulation.begin(home)
