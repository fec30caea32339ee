"""Events that other systems send: accepted when they are durable, loaded once, refused in words."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import httpx
import pytest
from tests.control.people import cheap
from tests.rest.conftest import MANY, issued, served

import millrace.sources.webhook as webhook
from millrace.connect.intake import folder as intake_folder
from millrace.control.books import records
from millrace.control.connecting import connections
from millrace.control.failed import rejects, replay
from millrace.control.failed.rejects import Choice
from millrace.control.home import Home
from millrace.control.pipeline import hooks, intakes, lifecycle, pipelines
from millrace.control.pipeline.pipelines import Wish
from millrace.control.running import jobs, pushing, runs, tasks, worker
from millrace.data import json_text
from millrace.engine.stage import Stage
from millrace.errors import ConfigError
from millrace.rest.app import application
from millrace.rest.hooks import groups
from millrace.rest.hooks.receiving import Room

FIXTURES = Path(webhook.__file__).parent / "fixtures"
ROOM = Room(body_bytes=100_000, backlog_bytes=400_000, body_timeout_s=0.5)


@dataclass
class Site:
    """A home, the file of its destination, and a server over it."""

    home: Home
    database: Path
    client: httpx.Client
    made: int = 0

    def pipeline(self, *, load_mode: Any = "merge", **config: str) -> tuple[str, str]:
        """A pipeline from a webhook with these settings, with tables of its own; its name and the path of its hook."""
        self.made += 1
        name = f"p{chr(97 + self.made // 26)}{chr(97 + self.made % 26)}"
        connections.create(self.home, "source", name, "webhook", config)
        pipelines.create(
            self.home, Wish(name, name, "warehouse", load_mode=load_mode, table_prefix=name, schedule={"every_s": 3600})
        )
        return name, hooks.rotate(self.home, name).path

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        with duckdb.connect(str(self.database), read_only=True) as connection:
            return connection.execute(query).fetchall()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("hooks")
    with Home.open(folder / "home", create=True, env={}) as home, pytest.MonkeyPatch.context() as patch:
        patch.setattr(hooks, "FRESH_S", 0.0)
        connections.create(home, "destination", "warehouse", "duckdb", {"path": str(folder / "w.duckdb")})
        with (
            served(application(home, limits=MANY, room=ROOM)) as url,
            httpx.Client(base_url=url, timeout=30) as client,
        ):
            yield Site(home, folder / "w.duckdb", client)


def test_single_events_arrays_and_names_in_urls_become_rows_of_their_types(site: Site) -> None:
    name, path = site.pipeline(event_name="things")
    assert site.client.post(path, json={"n": 1}).json() == {"success": True, "accepted": 1}
    assert site.client.post(path, json=[{"n": 2}, {"n": 3}]).json()["accepted"] == 2
    assert site.client.post(f"{path}/Signed%20up", json={"n": 4}).json()["accepted"] == 1
    found = runs.run(site.home, name)
    assert found.balance.read == found.balance.loaded == 4
    assert site.rows(f"SELECT n FROM {name}_things ORDER BY n") == [(1,), (2,), (3,)]
    assert site.rows(f"SELECT n FROM {name}_signed_up") == [(4,)]


def test_both_forms_of_clevertaps_webhooks_are_a_row_for_each_profile(site: Site) -> None:
    name, path = site.pipeline(events_path="profiles", name_path="key_values.event")
    for fixture in ("clevertap_broadcast.json", "clevertap_personal.json"):
        assert site.client.post(path, content=(FIXTURES / fixture).read_bytes()).status_code == 200
    assert runs.run(site.home, name).balance.loaded == 3
    table = f"{name}_spring_offer"
    assert site.rows(f"SELECT identity, target_id FROM {table} ORDER BY identity") == [
        ("cust-88213", 1773470001), ("cust-88214", 1773470001), ("cust-88215", 1773470001),
    ]  # fmt: skip


def test_track_takes_batches_and_tells_events_apart_by_their_ids(site: Site) -> None:
    name, path = site.pipeline()
    bearer = {"Authorization": f"Bearer {path.rpartition('/')[2]}"}
    events = [{"name": "Paid", "id": f"e{n}", "properties": {"amount": n}} for n in range(3)]
    for _ in range(2):
        assert site.client.post("/track", json={"events": events}, headers=bearer).json()["accepted"] == 3
    runs.run(site.home, name)
    assert site.rows(f"SELECT count(*), count(DISTINCT id) FROM {name}_paid") == [(3, 3)]
    assert site.client.post("/track", json={"events": events}).status_code == 401
    nameless = site.client.post("/track", json={"events": [{"id": "x"}]}, headers=bearer)
    assert (nameless.status_code, nameless.json()["error"]["message"]) == (400, "event 0 has no `name`")


def test_an_api_key_tells_pipelines_that_its_user_may_edit(site: Site) -> None:
    keys = issued(cheap(site.home))
    name, _ = site.pipeline()

    def track(pair: tuple[str, str], pipeline: str | None = name) -> httpx.Response:
        params = {} if pipeline is None else {"pipeline": pipeline}
        return site.client.post("/track", json=[{"name": "Paid", "id": "e1"}], auth=pair, params=params)

    assert [track(keys.admin).json() for _ in range(2)] == [{"success": True, "accepted": 1}] * 2
    runs.run(site.home, name)
    assert site.rows(f"SELECT count(*) FROM {name}_paid") == [(1,)]
    refused = {
        401: track((keys.admin[0], "wrong")),
        403: track(keys.observer),
        404: track(keys.stranger),
        400: track(keys.admin, None),
    }
    for status, answer in refused.items():
        assert (answer.status_code, answer.json()["success"]) == (status, False)
    assert track(keys.admin, "no such").json()["error"]["code"] == "UNKNOWN_PIPELINE"


@pytest.mark.parametrize("mode", ["merge", "append"])
@pytest.mark.parametrize("header", ["Idempotency-Key", "X-Request-Id"])
def test_a_request_that_is_sent_again_with_its_id_is_there_once(site: Site, mode: str, header: str) -> None:
    name, path = site.pipeline(load_mode=mode)
    for _ in range(2):
        for _ in range(2):
            site.client.post(path, json=[{"n": 1}, {"n": 1}], headers={header: "first"})
        site.client.post(path, json=[{"n": 2}], headers={header: "second"})
        runs.run(site.home, name)
    assert site.rows(f"SELECT n FROM {name}_events ORDER BY n") == [(1,), (1,), (2,)]


def test_requests_that_are_called_the_same_but_differ_are_all_kept(site: Site) -> None:
    name, path = site.pipeline()
    for n in range(3):
        site.client.post(path, json={"n": n}, headers={"X-Request-Id": "constant"})
    assert runs.run(site.home, name).balance.loaded == 3


def test_equal_events_without_ids_are_as_many_rows_as_came(site: Site) -> None:
    name, path = site.pipeline()
    for _ in range(5):
        site.client.post(path, json=[{"n": 1}, {"n": 1}])
    runs.run(site.home, name)
    assert site.rows(f"SELECT count(*) FROM {name}_events") == [(10,)]


def test_values_arrive_with_all_their_digits_and_reserved_names_keep_out_of_the_way(site: Site) -> None:
    name, path = site.pipeline(event_name="exact")
    body = '{"big": 12345678901234567890123, "small": 0.1234567890123456789, "__hevo_id": "mine", "é": "\\u0000x"}'
    assert site.client.post(path, content=body.encode()).status_code == 200
    assert runs.run(site.home, name).balance.loaded == 1
    ((big, small, mine),) = site.rows(f"SELECT big::TEXT, ltrim(small::TEXT, '0'), src_hevo_id FROM {name}_exact")
    assert (big, small, mine) == ("12345678901234567890123", ".1234567890123456789", "mine")


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", "INVALID_JSON"),
        (b"{", "INVALID_JSON"),
        (b"\xff\xfe", "INVALID_JSON"),
        (b'{"n": NaN}', "INVALID_JSON"),
        (b'{"s": "\\ud800"}', "INVALID_JSON"),
        (b"[" * 5000, "INVALID_JSON"),
        (b'{"d": ' + b"[" * 300 + b"1" + b"]" * 300 + b"}", "INVALID_JSON"),
        (b"7", "INVALID_PARAMETER"),
        (b"[1]", "INVALID_PARAMETER"),
    ],
)
def test_what_is_no_json_is_refused_in_words(site: Site, body: bytes, code: str) -> None:
    _, path = site.pipeline()
    answer = site.client.post(path, content=body)
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == code
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


def test_a_request_that_nests_too_deep_and_lies_in_the_intake_is_a_reject_and_what_follows_is_loaded(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, path = site.pipeline()
    deep = b'{"a":' + b"[" * 300 + b"]" * 300 + b"}"
    site.client.post(path, json={"n": 1})
    with monkeypatch.context() as patch:
        # As a version took it that did not look.
        patch.setattr(json_text, "too_deep", lambda *_: False)
        assert site.client.post(path, content=deep).status_code == 200
    site.client.post(path, json={"n": 2})
    balance = runs.run(site.home, name).balance
    assert (balance.read, balance.loaded, sum(balance.rejected.values())) == (3, 2, 1)
    (group,) = rejects.grouped(site.home, Choice(pipeline=name))
    assert (group.code, group.stage) == ("UNREADABLE_RECORD", "source")
    # It keeps nothing from going on.
    site.client.post(path, json={"n": 3})
    assert runs.run(site.home, name).balance.loaded == 1
    # A replay refuses it again for the same reason; one that a person mended is what it would have been.
    assert replay.replay(site.home, Choice(pipeline=name)).balance.rejected == {"source/UNREADABLE_RECORD": 1}
    (again,) = rejects.grouped(site.home, Choice(pipeline=name))
    assert (again.code, again.stage, again.rows) == (group.code, group.stage, 1)
    (row,) = rejects.rows(site.home, Stage(site.home.stage_url), Choice(pipeline=name))
    assert json_text.loads(row.row)["body"] == deep.decode()
    line = {"file": row.file, "number": row.number, "row": json_text.loads(row.row) | {"body": {"n": 9}}}
    assert replay.mend(site.home, name, Path("mended"), json_text.dumps(line).encode()).balance.loaded == 1
    assert not rejects.grouped(site.home, Choice(pipeline=name))


def test_a_body_that_is_too_large_is_refused_whether_or_not_it_says_so(site: Site) -> None:
    _, path = site.pipeline()
    large = b'{"s": "' + b"x" * ROOM.body_bytes + b'"}'
    assert site.client.post(path, content=large).status_code == 413
    assert site.client.post(path, content=iter([large[:60_000], large[60_000:]])).status_code == 413


def test_a_body_that_never_comes_to_its_end_is_cut_off(site: Site) -> None:
    _, path = site.pipeline()
    where = site.client.base_url
    head = f"POST {path} HTTP/1.1\r\nHost: {where.host}\r\nContent-Length: 10\r\n\r\n"
    with socket.create_connection((where.host, where.port or 0), timeout=60) as caller:
        caller.sendall(head.encode() + b'{"n"')
        answer = caller.makefile("rb").read()
    assert answer.startswith(b"HTTP/1.1 408 ")


def test_unknown_and_old_tokens_open_nothing(site: Site) -> None:
    name, path = site.pipeline()
    assert site.client.post("/hooks/guessed", json={}).status_code == 404
    assert site.client.post("/hooks/", json={}).status_code == 404
    new = hooks.rotate(site.home, name).path
    assert site.client.post(path, json={}).status_code == 404
    assert site.client.get(new).status_code == 405
    assert site.client.post(new, json={"n": 1}).status_code == 200
    hooks.revoke(site.home, name)
    assert site.client.post(new, json={"n": 1}).status_code == 404
    assert hooks.find(site.home, name).created_at is None


def test_the_token_is_nowhere_in_the_home(site: Site) -> None:
    _, path = site.pipeline()
    token = path.rpartition("/")[2].encode()
    site.client.post(path, json={"n": 1})
    assert not [one for one in site.home.path.rglob("*") if one.is_file() and token in one.read_bytes()]


def test_more_than_may_wait_is_told_to_come_later_until_a_run_has_read(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("millrace.rest.hooks.receiving.MEASURED_S", 0.0)
    monkeypatch.setattr(intake_folder, "ROTATE_BYTES", 100_000)
    name, path = site.pipeline()
    body = {"s": "x" * 90_000}
    statuses = [site.client.post(path, json=body).status_code for _ in range(7)]
    assert statuses[:4] == [200] * 4
    assert statuses[-1] == 429
    assert site.client.post(path, json=body).headers["Retry-After"] == "30"
    runs.run(site.home, name)
    runs.run(site.home, name)  # which deletes what the first one committed
    assert site.client.post(path, json=body).status_code == 200


def test_what_was_sent_to_a_pipeline_that_is_gone_goes_too(site: Site) -> None:
    name, path = site.pipeline()
    other, path_of_other = site.pipeline()
    for one in (path, path_of_other):
        assert site.client.post(one, json={"n": 1}).status_code == 200
    id_ = pipelines.find(site.home, name).id
    place = intakes.place(site.home)
    assert id_ in place.owners()
    assert intakes.expire(site.home) == 0
    lifecycle.delete(site.home, name)
    assert intakes.expire(site.home) == 1
    assert place.files(id_) == []
    assert runs.run(site.home, other).balance.loaded == 1


def test_what_cannot_be_written_is_not_accepted_and_not_read(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    name, path = site.pipeline()
    assert site.client.post(path, json={"n": 1}).status_code == 200

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(intake_folder.os, "fdatasync", full)
        answer = site.client.post(path, json={"n": 2})
    assert answer.status_code == 503
    assert "space" not in answer.text
    assert site.client.post(path, json={"n": 3}).status_code == 200
    runs.run(site.home, name)
    assert site.rows(f"SELECT n FROM {name}_events ORDER BY n") == [(1,), (3,)]


def test_many_requests_share_one_sync(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    name, path = site.pipeline()
    site.client.post(path, json={"n": -1})
    synced: list[int] = []
    first, go = threading.Event(), threading.Event()
    real: Callable[[int], None] = intake_folder.os.fdatasync
    put = groups.Group.put
    came = threading.Semaphore(0)

    async def seen(self: groups.Group, frame: bytes) -> None:
        came.release()
        await put(self, frame)

    def slow(file: int) -> None:
        synced.append(file)
        first.set()
        go.wait(60)
        real(file)

    monkeypatch.setattr(intake_folder.os, "fdatasync", slow)
    monkeypatch.setattr(groups.Group, "put", seen)
    with ThreadPoolExecutor(20) as pool:
        asked = [pool.submit(site.client.post, path, json={"n": n}) for n in range(20)]
        assert first.wait(60)
        for _ in range(20):
            assert came.acquire(timeout=60)
        assert not any(one.done() for one in asked)
        go.set()
        assert {one.result().status_code for one in asked} == {200}
    assert len(synced) == 2
    assert runs.run(site.home, name).balance.loaded == 21


def test_what_came_makes_a_task_soon_and_one_alone(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    name, path = site.pipeline()
    others = intakes.place(site.home)
    for one in pipelines.listed(site.home):
        if one.name != name:
            hooks.revoke(site.home, one.name)
    assert pushing.look(site.home, others) == 0
    site.client.post(path, json={"n": 1})
    assert pushing.look(site.home, others) == 1
    assert pushing.look(site.home, others) == 0
    task = tasks.take(site.home.database, ("NORMAL",))
    assert task is not None
    worker.perform(site.home, task, threading.Event())
    assert pushing.look(site.home, others) == 0
    assert jobs.page(site.home, limit=1).items[0].run.balance.loaded == 1
    site.client.post(path, json={"n": 2})
    assert pushing.look(site.home, others) == 0  # more may gather
    monkeypatch.setattr(pushing, "GATHER", pushing.timedelta())
    assert pushing.look(site.home, others) == 1


def test_what_was_read_cannot_be_asked_for_again_and_nothing_pauses_it(site: Site) -> None:
    name, path = site.pipeline()
    site.client.post(path, json={"n": 1})
    runs.run(site.home, name)
    for again in (
        lambda: runs.run(site.home, name, full=True),
        lambda: runs.resync(site.home, name),
        lambda: runs.reset(site.home, name, drop_tables=True),
        lambda: lifecycle.pause(site.home, name),
    ):
        with pytest.raises(ConfigError) as refused:
            again()
        assert refused.value.code == "pushed"
    assert site.rows(f"SELECT n FROM {name}_events") == [(1,)]
    # Nothing was run, so nothing failed.
    assert [one.status for one in records.run_records(site.home, name)] == ["COMPLETED"]


def test_only_pipelines_from_a_webhook_have_an_address(site: Site) -> None:
    connections.create(
        site.home,
        "source",
        "app",
        "clevertap",
        {"project_id": "AAA-BBB-CCCC", "passcode": "x", "event_source": "schema"},
    )
    pipelines.create(site.home, Wish("asks", "app", "warehouse", table_prefix="asks"))
    with pytest.raises(ConfigError) as refused:
        hooks.rotate(site.home, "asks")
    assert refused.value.code == "not_pushed"
