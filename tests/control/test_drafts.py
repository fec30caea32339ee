"""Drafts: kept with what was entered, never run, and become pipelines under their number."""

from __future__ import annotations

from typing import Any

import pytest

from millrace.control.connecting import connections
from millrace.control.home import Home
from millrace.control.people.actors import EVERYTHING, Actor
from millrace.control.pipeline import drafts, object_queries, pipelines
from millrace.control.pipeline.pipelines import Wish
from millrace.control.scheduling import scheduler
from millrace.errors import ConfigError

WISH = Wish("orders", "orders source", "warehouse", schedule={"every_s": 3600})


@pytest.fixture
def started(home: Home, clevertap: dict[str, Any]) -> drafts.Draft:
    return drafts.save(home, name="orders", source_type="clevertap", config=clevertap, chosen={"objects": ["Events"]})


@pytest.mark.spec("pipelines.22.12")
def test_a_draft_keeps_what_was_entered_and_its_secrets_sealed_and_goes_on_at_the_source(
    home: Home, started: drafts.Draft, clevertap: dict[str, Any]
):
    assert drafts.RESUMES_AT == "source"
    assert drafts.find(home, started.number) == started
    assert started.secret_keys == ("passcode",)
    assert started.config == {key: value for key, value in clevertap.items() if key != "passcode"}
    assert started.chosen == {"objects": ["Events"]}
    assert drafts.page(home).items == (started,)
    assert pipelines.listed(home) == []
    assert scheduler.tick(home) == scheduler.Ticked()


@pytest.mark.spec("pipelines.22.12")
def test_a_draft_needs_a_source_with_one_setting_and_may_lack_the_others(home: Home):
    with pytest.raises(ConfigError) as refused:
        drafts.save(home, name="orders", source_type="clevertap", config={})
    assert refused.value.code == "empty_draft"
    assert drafts.save(home, name="orders", source_type="clevertap", config={"region": "EU"}).config == {"region": "EU"}


def test_a_draft_becomes_a_pipeline_of_its_number_with_secrets_that_nobody_typed_again(
    home: Home, started: drafts.Draft, clevertap: dict[str, Any], tmp_path: Any
):
    changed = drafts.save(
        home, number=started.number, name="orders", source_type="clevertap", config={"project_id": "CCC-BBB-CCCC"}
    )
    assert changed.secret_keys == ("passcode",)
    later = {key: value for key, value in clevertap.items() if key not in ("passcode", "project_id")}
    with pytest.raises(ConfigError):
        drafts.finish(home, started.number, WISH, config=later)
    assert drafts.find(home, started.number) == changed
    assert connections.listed(home, "source") == []
    connections.create(home, "destination", "warehouse", "duckdb", {"path": str(tmp_path / "w.duckdb")})
    with pytest.raises(ConfigError, match="no query mode"):
        drafts.finish(home, started.number, WISH, config=later, modes={"Orders": {"mode": "by heart"}})
    assert connections.listed(home, "source") == []
    delta = {"mode": "delta", "timestamp_column_name": "changed"}
    made = drafts.finish(home, started.number, WISH, config=later, modes={"Orders": delta})
    assert object_queries.wished(home.database, made.id) == {"Orders": delta}
    assert (made.name, made.number, made.state) == ("orders", started.number, "ACTIVE")
    source: Any = connections.settings_of(home, connections.find(home, "source", "orders source"))
    assert source.passcode.get_secret_value() == clevertap["passcode"]
    assert source.project_id == "CCC-BBB-CCCC"
    assert drafts.page(home).items == ()
    with pytest.raises(ConfigError, match="no draft"):
        drafts.find(home, started.number)


def test_a_draft_that_is_given_up_is_gone_and_its_number_is_never_given_again(home: Home, started: drafts.Draft):
    drafts.remove(home, started.number)
    again = drafts.save(home, name="orders", source_type="clevertap", config={"region": "EU"})
    assert again.number > started.number


def test_a_secret_of_a_draft_that_is_none_goes(home: Home, started: drafts.Draft):
    there = home.acting(Actor("user", "other@example.com", permissions=EVERYTHING))
    elsewhere = dict(started.config) | {"base_url": "https://elsewhere.example.com"}
    with pytest.raises(ConfigError) as refused:
        drafts.save(there, number=started.number, name="o", source_type="clevertap", config=elsewhere)
    assert "Forget on the screen, null by API" in str(refused.value.hint)
    without = elsewhere | {"passcode": None}
    changed = drafts.save(there, number=started.number, name="o", source_type="clevertap", config=without)
    assert (changed.config, changed.secret_keys) == (elsewhere, ())


def test_the_secret_of_a_draft_does_not_go_elsewhere(home: Home, started: drafts.Draft, tmp_path: Any):
    connections.create(home, "destination", "warehouse", "duckdb", {"path": str(tmp_path / "w.duckdb")})
    there = home.acting(Actor("user", "other@example.com", permissions=EVERYTHING))
    elsewhere = dict(started.config) | {"base_url": "https://collector.example.com"}
    for ask in (
        lambda: drafts.save(there, number=started.number, name="o", source_type="clevertap", config=elsewhere),
        lambda: drafts.finish(there, started.number, WISH, config={"base_url": "https://collector.example.com"}),
    ):
        with pytest.raises(ConfigError) as refused:
            ask()
        assert (refused.value.code, refused.value.path) == ("secret_needed", "passcode")
    assert drafts.find(home, started.number) == started
    known = elsewhere | {"passcode": "another"}
    assert (
        drafts.save(there, number=started.number, name="o", source_type="clevertap", config=known).config == elsewhere
    )
