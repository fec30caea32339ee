from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from millrace.connect import registry
from millrace.sources.clevertap.config import REGIONS, Config
from millrace.sources.clevertap.source import Source

GOOD: dict[str, Any] = {"project_id": "AAA-BBB-CCCC", "passcode": "XXX-YYY-ZZZZ", "events_file": "events.csv"}


def test_the_registry_finds_the_source() -> None:
    assert registry.source("clevertap") is Source
    assert Source.Config is Config and Source.title == "CleverTap"


def test_defaults_are_those_of_the_reference() -> None:
    config = Config(**GOOD)
    assert config.base_urls == ("https://api.clevertap.com", "https://eu1.api.clevertap.com")
    assert (config.timezone, config.historical_days, config.batch_size, config.max_concurrency) == ("UTC", 30, 5000, 3)
    assert not config.oddities()


@pytest.mark.parametrize(
    ("given", "code"),
    [
        ("EU", "eu1"), ("eu", "eu1"), ("global", "eu1"), ("eu1", "eu1"), ("US", "us1"), ("us1", "us1"),
        ("India", "in1"), ("IN", "in1"), ("Singapore", "sg1"), ("SG", "sg1"), ("Indonesia", "aps3"),
        ("UAE", "mec1"), ("mec1", "mec1"), ("aps3", "aps3"),
    ],
)  # fmt: skip
def test_regions_are_known_by_label_code_and_alias(given: str, code: str) -> None:
    place = Config(**GOOD, region=given).place
    assert place.code == code
    assert place.hosts[-1] == f"{code}.api.clevertap.com"
    assert len(REGIONS) == 6


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"project_id": "  "}, "project ID is empty"),
        ({"project_id": "AAA BBB"}, "white space"),
        ({"passcode": " \n"}, "passcode is empty"),
        ({"passcode": "a b"}, "cannot be sent"),
        ({"passcode": "pässword"}, "cannot be sent"),
        ({"region": "Urope"}, "no region 'Urope'"),
        ({"region": "sk1"}, "Known: EU, US, India"),
        ({"timezone": "Europe/Berln"}, "Did you mean Europe/Berlin"),
        ({"events_file": None}, "events_file is missing"),
        ({"events_file": ""}, "'events_file' is empty"),
        ({"historical_days": 0}, "historical_days"),
        ({"historical_days": 3651}, "historical_days"),
        ({"lookback_days": 31}, "lookback_days"),
        ({"lookback_every_hours": 25}, "lookback_every_hours"),
        ({"deep_lookback_days": 31}, "deep_lookback_days"),
        ({"lookback_days": 5, "deep_lookback_days": 3}, "must not be shorter"),
        ({"window_days": 0}, "window_days"),
        ({"window_days": 32}, "window_days"),
        ({"batch_size": 22}, "batch_size"),
        ({"batch_size": 5001}, "batch_size"),
        ({"max_concurrency": 4}, "max_concurrency"),
        ({"row_identity": "row"}, "row_identity"),
        ({"event_source": "api"}, "event_source"),
        ({"base_url": "http://example.org"}, "is for this machine and"),
        ({"base_url": "ftp://example.org"}, "must be like"),
        ({"base_url": "https://example.org:99999"}, "must be like"),
        ({"base_url": "https://example.org:port"}, "must be like"),
        ({"base_url": "https://exam ple.org"}, "must be like"),
        ({"base_url": "https://user@example.org"}, "scheme, host, port and path"),
        ({"base_url": "https://example.org/?a=b"}, "scheme, host, port and path"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_a_setting_that_cannot_be_is_refused_with_the_reason(change: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError) as refused:
        Config(**{**GOOD, **change})
    assert says in str(refused.value)


def test_a_schema_needs_no_file_and_a_loopback_address_may_be_http() -> None:
    del (plain := dict(GOOD))["events_file"]
    config = Config(**plain, event_source="schema", base_url="http://127.0.0.1:8090/r/in1/")
    assert config.base_urls == ("http://127.0.0.1:8090/r/in1",)


def test_hosts_that_the_machines_administrator_names_may_be_asked_without_encryption(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MILLRACE_HTTP_HOSTS", "simulator,other.internal")
    assert Config.model_validate(GOOD | {"base_url": "http://Simulator:8741/r/eu1"}).base_urls == (
        "http://Simulator:8741/r/eu1",
    )
    with pytest.raises(ValidationError):
        Config.model_validate(GOOD | {"base_url": "http://third.internal"})


def test_a_file_that_is_not_named_hides_nothing_else_that_is_wrong() -> None:
    with pytest.raises(ValidationError) as refused:
        Config.model_validate({"project_id": "AAA-BBB-CCCC", "passcode": "", "regoin": "EU"})
    assert "regoin" in str(refused.value) and "passcode is empty" in str(refused.value)


def test_odd_shapes_are_told_without_the_passcode_and_never_refused() -> None:
    config = Config(**{**GOOD, "project_id": "my-project", "passcode": "hunter2-hunter2"})
    assert len(config.oddities()) == 2 and not any("hunter2" in text for text in config.oddities())
    assert not Config(**{**GOOD, "project_id": "TEST-4R8-7ZK-6K7Z", "passcode": "0" * 32}).oddities()


def test_every_setting_is_described() -> None:
    for name, field in Config.model_fields.items():
        assert field.description, name
    assert Config.model_json_schema()["properties"]["passcode"]["format"] == "password"
