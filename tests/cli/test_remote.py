"""Commands at a server say what they say on the home itself."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.cli.asking import Asked, ask
from tests.cli.conftest import ACCOUNT, Shop
from tests.control.people import cheap
from tests.control.receivers import http_server
from tests.rest.conftest import MANY, Keys, issued, served

from millrace.control import settings
from millrace.control.home import Home
from millrace.rest.app import application

LOOKS = [
    ("sources",),
    ("sources", "show", "clevertap"),
    ("sources", "show", "clevertab"),
    ("sources", "types"),
    ("destinations",),
    ("destinations", "show", "warehouse"),
    ("destinations", "types"),
    ("check",),
    ("check", "nothing"),
    ("discover", "clevertap"),
    ("query", "SELECT event_name, count(*) FROM events GROUP BY 1 ORDER BY 1"),
    ("query", "SELECT * FROM events ORDER BY ALL LIMIT 3", "--format", "csv"),
    ("query", "SELECT nothing FROM events"),
    ("status",),
    ("status", "clevertap"),
    ("status", "clevertab"),
    ("runs",),
    ("runs", "1"),
    ("runs", "4711"),
    ("runs", "--pipeline", "clevertap"),
    ("export",),
    ("export", "--pipeline", "clevertap"),
    ("rejects",),
    ("rejects", "--files"),
    ("rejects", "show"),
    ("rejects", "show", "--stage", "nowhere"),
    ("rejects", "list", "--pipeline", "clevertab"),
    ("rejects", "export"),
    ("trace", "clevertap", "no such key"),
    ("transform", "show", "clevertap"),
    ("transform", "show", "clevertap", "--version", "7"),
    ("transform", "sample", "clevertap", "--limit", "2"),
    ("transform", "sample", "clevertap", "--failed"),
    ("transform", "history", "clevertap"),
    ("transform", "detect", "clevertap"),
    ("transform", "test", "clevertap"),
    ("transform", "sandbox"),
    ("mapping",),
    ("mapping", "list", "clevertap", "--status", "SKIPPED"),
    ("mapping", "list", "--status", "BROKEN"),
    ("mapping", "show", "clevertap", "events"),
    ("mapping", "show", "clevertap", "Evnts"),
    ("mapping", "history", "clevertap", "Events"),
    ("mapping", "diff", "clevertap", "Events"),
    ("mapping", "export", "clevertap"),
    ("mapping", "export", "clevertap", "Events", "--json"),
    ("mapping", "set", "clevertap", "Events", "--rename", "nothing=something", "--dry-run"),
    ("mapping", "skip", "clevertap", "--all", "--dry-run"),
    ("alert",),
    ("alert", "show", "4711"),
    ("alert", "channels"),
    ("alert", "history"),
    ("alert", "prefs", "--email", "nobody@example.com"),
    ("alert", "test", "nothing"),
    ("usage", "limits"),
    ("usage", "usual", "clevertap"),
    ("usage", "--by", "table", "--since", "2026-01-01", "--until", "2026-01-02"),
    ("usage", "--since", "2026-02-01", "--until", "2026-01-01"),
    ("usage", "--pipeline", "clevertab"),
    ("status", "--json"),
    ("runs", "1", "--json"),
    ("query", "SELECT * FROM events ORDER BY ALL LIMIT 3", "--json"),
]


@dataclass(frozen=True)
class Server:
    """A server over a home, and the keys of an administrator and of an observer."""

    url: str
    keys: Keys

    def ask(self, shop: Shop, *words: str | Path, given: str = "") -> Asked:
        """A command at the server. The secret is never in what it says (I7)."""
        env = {**shop.env, "MILLRACE_API_KEY": ":".join(self.keys.admin)}
        asked = ask(*words, "--url", self.url, env=env, given=given)
        assert ACCOUNT.passcode not in asked.out + asked.err
        return asked


@contextmanager
def serving(home: Home, keys: Keys | None = None) -> Generator[Server]:
    keys = keys or issued(cheap(home))
    settings.change(home, allow_private_addresses=True)  # the simulator is on this machine
    with served(application(home, limits=MANY)) as url:
        yield Server(url, keys)


@pytest.fixture(scope="module")
def server(shop: Shop) -> Iterator[Server]:
    with Home.open(shop.home, env={}) as home, serving(home) as server:
        yield server


@pytest.fixture
def empty(tmp_path: Path) -> Iterator[Server]:
    """A server whose home knows no pipeline yet."""
    with Home.open(tmp_path / "served", create=True, env={}) as home, serving(home) as server:
        yield server


@pytest.mark.parametrize("words", LOOKS, ids=" ".join)
def test_a_look_is_the_same_from_afar(shop: Shop, server: Server, words: tuple[str, ...]):
    assert server.ask(shop, *words) == shop.ask(*words)


def test_a_pipeline_is_made_and_runs_at_the_server_as_its_file_on_this_machine_says(fresh: Shop, empty: Server):
    def at(*words: str | Path) -> Asked:
        return empty.ask(fresh, *words)

    planned = at("apply", fresh.file, "--dry-run")
    assert (planned.code, at("status", "--json").json) == (0, []), planned
    ran = at("run", fresh.file)
    assert ran.code == 0, ran
    assert "Applied: 3 created." in ran.err
    assert "clevertap run 1: completed" in ran.out
    # What the file names beside it went along; relative paths start where it is now.
    assert (fresh.folder / "served/files").is_dir()
    assert not (fresh.folder / "warehouse.duckdb").exists()
    (again,) = at("run", "--json").json["runs"]
    assert (again["kind"], again["balance"]["loaded"]) == ("INCREMENTAL", 0)
    assert at("load", "--json").json["runs"][0]["kind"] == "LOAD"
    assert at("reconcile", "clevertap").code == 0
    assert at("run", "--since", "2026-03-10", "--json").json["runs"][0]["kind"] == "REREAD"
    assert at("resync", "clevertap", "--json").json["runs"][0]["kind"] == "RESYNC"
    assert at("replay", "clevertap", "--since", "2026-03-10", "--json").json["error"]["code"] == "no_raw"
    assert at("reset", "clevertap", "--json").json["error"]["code"] == "not_confirmed"
    assert at("reset", "clevertap", "--yes").code == 0
    assert at("rejects", "replay", "clevertap", "--json").json["runs"][0]["kind"] == "REPLAY"
    assert at("rejects", "discard", "clevertap", "--json").json == {"rows": 0, "file": None}


def test_limits_of_usage_are_set_and_lifted_from_afar(shop: Shop, server: Server):
    def at(*words: str | Path) -> Asked:
        return server.ask(shop, *words)

    (line,) = at("usage", "--json").json["lines"]
    assert (line["pipeline"], line["billable"]) == ("clevertap", 0) and line["loaded"] > 0
    assert at("usage", "limit", "1k", "--pipeline", "clevertap", "--pause", "--json").json["rows"] == 1000
    assert at("usage", "limit", "2M", "--json").json["period"] == "month"
    assert at("usage", "limits").out.count("people are told") == 2
    assert at("usage", "limit", "lots").code == 2
    assert at("usage", "lift").code == at("usage", "lift", "--pipeline", "clevertap").code == 0
    assert at("usage", "limits").out == "There is no limit.\n"


def test_alerts_and_where_they_go_are_looked_after_from_afar(shop: Shop, empty: Server):
    def at(*words: str | Path) -> Asked:
        return empty.ask(shop, *words)

    with http_server() as receiver:
        url = f"url={receiver.url}/s3ntinel"
        added = at("alert", "add", "ops", "slack", url, "--least", "ERROR", "--quiet-hours", "22:00-07:00")
        assert added.code == 0, added
        assert at("alert", "test", "ops").code == 0
        assert receiver.received[0].path == "/s3ntinel"
        changed = at("alert", "change", "ops", "--only", "schema", "--off", "--quiet-hours", "off", "--json").json
        assert changed["wanted"] == {"categories": ["schema"], "least": "ERROR", "quiet": None}
        assert (changed["enabled"], changed["secrets"]) == (False, ["url"])
        assert "s3ntinel" not in at("alert", "channels", "--json").out + at("alert", "change", "ops", "--on").out
        receiver.answers.append(403)
        refused = at("alert", "test", "ops")
        assert refused.code == 1 and "answered 403" in refused.out
    assert at("alert", "add", "ops", "slack", "url=nowhere", "--json").json["error"]["code"] == "bad_value"
    assert at("alert", "change", "ops", "--only", "weather").code == 2
    assert at("alert", "change", "nothing", "--off", "--json").json["error"]["code"] == "unknown_channel"
    assert at("alert", "prefs", "--least", "ERROR").out == "Mail about everything, ERROR and above.\n"
    assert at("alert", "prefs", "--everything").out == "Mail about everything.\n"
    assert at("alert", "deliver").out == "0 events, 0 messages sent.\n"
    assert at("alert", "remove", "ops").code == 0
    assert at("alert", "lateness", "nothing", "5", "--json").json["error"]["code"] == "unknown_pipeline"


def test_rows_of_a_source_are_shown_from_afar(shop: Shop, server: Server):
    words = ("preview", "clevertap", "Events", "--limit", "3", "--json")
    here, there = shop.ask(*words).json, server.ask(shop, *words).json
    # Which rows come first is up to the source.
    assert (there["columns"], len(there["rows"])) == (here["columns"], 3)


def test_connections_are_saved_changed_and_removed_at_the_server(shop: Shop, empty: Server):
    def at(*words: str | Path) -> Asked:
        return empty.ask(shop, *words)

    odd = "a/b ..% ü?#"
    secret = "passcode=${CLEVERTAP_PASSCODE}"
    file = f"events_file={shop.folder / 'events.csv'}"
    added = at("sources", "add", odd, "clevertap", "project_id=AAA-BBB-CCCC", secret, "region=EU", file)
    assert added.code == 0, added
    assert at("sources", "show", odd, "--json").json["config"]["region"] == "EU"
    changed = at("sources", "change", odd, "region=US", "--json")
    assert (changed.json["config"]["region"], changed.json["secrets"]) == ("US", ["passcode"])
    again = at("sources", "add", odd, "clevertap", "project_id=AAA-BBB-CCCC", secret, file, "--json")
    assert again.json["error"]["code"] == "name_taken"
    assert at("sources", "remove", odd).code == 0
    assert at("sources", "--json").json == []


def test_what_only_a_home_can_do_says_so(shop: Shop, server: Server):
    asked = server.ask(shop, "init", "--json")
    assert (asked.code, asked.json["error"]["code"]) == (2, "local_only")


def test_a_server_that_is_not_there_or_does_not_know_the_key_is_told(shop: Shop, server: Server):
    nobody = Server("http://127.0.0.1:9", server.keys).ask(shop, "status", "--json")
    assert (nobody.code, nobody.json["error"]["code"]) == (3, "no_server")
    stranger = ask("status", "--json", "--url", server.url, "--key", f"{server.keys.admin[0]}:wrong")
    assert (stranger.code, stranger.json["error"]["code"]) == (2, "unauthenticated")
    assert "wrong" not in stranger.out + stranger.err
    keyless = ask("status", "--json", "--url", server.url)
    assert (keyless.code, keyless.json["error"]["code"]) == (2, "usage")
    both = ask("status", "--json", "--url", server.url, home=shop.home)
    assert (both.code, both.json["error"]["code"]) == (2, "usage")


def test_who_may_only_look_changes_nothing(shop: Shop, server: Server):
    asked = ask("run", "clevertap", "--json", "--url", server.url, "--key", ":".join(server.keys.observer))
    assert (asked.code, asked.json["error"]["code"]) == (2, "forbidden")
    assert ask("status", "--url", server.url, "--key", ":".join(server.keys.observer)).code == 0
