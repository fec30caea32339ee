"""The objects `message_reports`, `campaigns` and `campaign_reports`: each campaign once, and again when it changed."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import date, timedelta
from typing import Any

import httpx
import pytest
from tests.sources.clevertap.driver import PASSCODE, PROJECT, Crash, Pipeline

from millrace.connect.source import Slice
from millrace.errors import ConfigError, Transient
from millrace.sources.clevertap import campaigns

Make = Callable[..., Pipeline]
TODAY = date(2026, 3, 14)
KEYS = {"message_reports": "message id", "campaigns": "id", "campaign_reports": "id"}
FAULTS: list[dict[str, Any]] = [
    {"effect": "truncate", "times": 2},
    {"effect": "too_many", "times": 3},
    {"effect": "server_error", "status": 503, "times": 2},
    {"effect": "not_ready", "times": 2},
    {"effect": "empty_200", "times": 1},
]


def of(make: Make, stream: str, **account: Any) -> Pipeline:
    pipeline = make("Charged", account={"users": 20, "days": 45, **account})
    pipeline.stream = stream
    return pipeline


def asked(pipeline: Pipeline, path: str, body: dict[str, Any]) -> Any:
    headers = {"X-CleverTap-Account-Id": PROJECT, "X-CleverTap-Passcode": PASSCODE}
    with httpx.Client(base_url=pipeline.simulator.base_url, headers=headers) as client:
        return client.post(path, json=body).json()


def truth(pipeline: Pipeline, first: date = TODAY - timedelta(days=30)) -> dict[int, dict[str, Any]]:
    """What CleverTap says now of each campaign of these days and those to come, by its id."""
    today = pipeline.simulator.clock.now().date()
    ahead = today + timedelta(days=31 if pipeline.stream == "campaigns" else 0)
    days = {"from": f"{first:%Y%m%d}", "to": f"{ahead:%Y%m%d}"}
    if pipeline.stream == "message_reports":
        return {one["message id"]: one for one in asked(pipeline, "/1/message/report.json", days)["messages"]}
    found = {one["id"]: one for one in asked(pipeline, "/1/targets/list.json", days)["targets"]}
    if pipeline.stream == "campaigns":
        return {id_: one | {"scheduled_on": str(one["scheduled_on"])} for id_, one in found.items()}
    results = {id_: asked(pipeline, "/1/targets/result.json", {"id": id_}).get("result") for id_ in found}
    return {id_: {"id": id_, **result} for id_, result in results.items() if result is not None}


def table(pipeline: Pipeline) -> dict[int, dict[str, Any]]:
    key = KEYS[pipeline.stream]
    return {row[key]: {name: value for name, value in row.items() if value is not None} for row in pipeline.log}


@pytest.mark.parametrize("faults", [[], FAULTS], ids=["quiet", "faults"])
@pytest.mark.parametrize("stream", KEYS)
def test_the_table_holds_every_campaign_once_and_a_second_run_brings_none(make: Make, stream: str, faults: Any) -> None:
    pipeline = of(make, stream)
    pipeline.mode = "append"
    paths = ("/1/message/report.json", "/1/targets/list.json", "/1/targets/result.json")
    pipeline.simulator.faults.set([{"path": path, **fault} for path in paths for fault in faults])
    pipeline.run("incremental")
    pipeline.simulator.faults.set([])
    expected = truth(pipeline)
    assert table(pipeline) == expected and len(pipeline.log) == len(expected) > 3
    assert not pipeline.notes and not pipeline.rejects
    pipeline.run("incremental")
    assert len(pipeline.log) == len(expected)
    assert all(len(marks) == 1 for marks in pipeline.kept.marks.values())
    for api in ("message_report", "targets_list", "targets_result"):
        assert pipeline.simulator.busiest(PROJECT, api) <= 3


@pytest.mark.parametrize("stream", KEYS)
def test_what_changed_is_told_again_day_by_day(make: Make, stream: str) -> None:
    pipeline = of(make, stream)
    for _ in range(8):
        pipeline.run("incremental")
        assert table(pipeline) == truth(pipeline)
        pipeline.simulator.clock.advance(days=1)
    pipeline.simulator.clock.advance(days=25)
    pipeline.run("incremental")
    assert table(pipeline) == truth(pipeline), "after a long rest"
    assert pipeline.counts["changed"] > 0


def test_reports_are_asked_for_in_slices_of_fourteen_days_and_the_newest_alone_later_in_the_day(make: Make) -> None:
    pipeline = of(make, "message_reports")

    def ranges() -> list[tuple[int, int]]:
        found = [json.loads(one.body) for one in pipeline.simulator.journal() if one.api == "message_report"]
        assert all(isinstance(one["from"], str) for one in found)
        return [(int(one["from"]), int(one["to"])) for one in found]

    pipeline.run("incremental")
    first = [(20260301, 20260314), (20260215, 20260228), (20260212, 20260214)]
    assert ranges() == first
    pipeline.run("incremental")
    assert ranges() == [*first, (20260301, 20260314)]
    pipeline.simulator.clock.advance(days=1)
    pipeline.run("incremental")
    assert ranges()[4:] == [(20260302, 20260315), (20260216, 20260301), (20260213, 20260215)]
    pipeline.run("again", slices=(Slice(date(2026, 2, 10), date(2026, 2, 12)),))
    assert ranges()[7:] == [(20260210, 20260212)]


def test_a_campaign_without_a_result_is_asked_for_one_until_it_has_it(make: Make) -> None:
    pipeline = of(make, "campaign_reports")
    forms: set[int] = set()
    for _ in range(3):
        (newest,) = asked(pipeline, "/1/targets/list.json", _today(pipeline))["targets"]
        forms.add(_form(pipeline, newest["id"]))
        pipeline.run("incremental")
        assert not pipeline.notes and newest["id"] not in table(pipeline)
        assert list(pipeline.kept.cursors["incremental"]["pending"]) == [str(newest["id"])]
        pipeline.simulator.clock.advance(days=1)
        pipeline.run("incremental")
        assert newest["id"] in table(pipeline)
    assert forms == {200, 409, 500}, "in whatever way that was said"
    # Its day is read no more when the answer comes.
    (newest,) = asked(pipeline, "/1/targets/list.json", _today(pipeline))["targets"]
    cursor = pipeline.kept.cursors["incremental"]
    cursor["pending"] = {"1773470001": 20260301} | cursor["pending"]
    pipeline.settings["historical_days"] = 1
    pipeline.simulator.clock.advance(days=20)
    cursor["read_on"] = 20260406
    pipeline.run("incremental")
    assert {1773470001, newest["id"]} <= table(pipeline).keys()
    assert table(pipeline)[1773470001]["sent"] > 0


def test_a_campaign_that_gets_no_result_is_let_go_of_and_one_that_fails_does_not_hold_up_the_others(
    make: Make,
) -> None:
    pipeline = of(make, "campaign_reports")
    pipeline.run("incremental")
    cursor = pipeline.kept.cursors["incremental"]
    cursor["pending"] |= {"17": 20260314, "18": 20251201}
    pipeline.simulator.clock.advance(days=1)
    pipeline.run("incremental")
    assert pipeline.codes() == ["no_result"]
    assert "Invalid target id" in pipeline.notes[0].message and "'17'" in pipeline.notes[0].message
    assert table(pipeline) == truth(pipeline)
    assert "17" in pipeline.kept.cursors["incremental"]["pending"]
    assert "18" not in pipeline.kept.cursors["incremental"]["pending"]


@pytest.mark.parametrize("stream", KEYS)
def test_a_death_at_any_point_leaves_the_same_rows(make: Make, stream: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(campaigns, "TOGETHER", 7)
    pipeline = of(make, stream)
    pipeline.mode = "append"
    expected = truth(pipeline)
    for crash_at in range(60):
        pipeline.kept.cursors.clear()
        pipeline.kept.marks.clear()
        pipeline.log.clear()
        try:
            pipeline.run("incremental", crash_at=crash_at)
        except Crash:
            pipeline.run("incremental")
        else:
            assert crash_at >= 5
            break
        assert table(pipeline) == expected and len(pipeline.log) == len(expected), f"died at item {crash_at}"
    else:
        raise AssertionError("the read was longer than the crash points")


def test_a_slice_that_fails_ends_the_read_and_the_next_one_has_all(make: Make) -> None:
    pipeline = of(make, "message_reports")
    pipeline.simulator.faults.set(
        [{"path": "/1/message/report.json", "effect": "garbage", "shape": "html", "nth": nth} for nth in range(2, 9)]
    )
    with pytest.raises(Transient):
        pipeline.run("incremental")
    assert pipeline.kept.cursors["incremental"]["read_on"] is None and pipeline.log
    pipeline.simulator.faults.set([])
    pipeline.run("incremental")
    assert table(pipeline) == truth(pipeline) and len(pipeline.log) == len(truth(pipeline))


def test_another_project_is_read_from_its_beginning(make: Make) -> None:
    pipeline = of(make, "campaigns")
    pipeline.settings["project_id"] = "XXX-YYY-ZZZZ"
    pipeline.run("incremental")
    assert not pipeline.log
    del pipeline.settings["project_id"]
    pipeline.run("incremental")
    assert pipeline.codes() == ["project_changed"]
    assert table(pipeline) == truth(pipeline)


def test_a_cursor_of_another_form_is_told(make: Make) -> None:
    pipeline = of(make, "campaigns")
    pipeline.kept.cursors["incremental"] = {"v": 1, "read_on": "x"}
    with pytest.raises(ConfigError, match="cannot be read"):
        pipeline.run("incremental")


def _today(pipeline: Pipeline) -> dict[str, str]:
    today = f"{pipeline.simulator.clock.now():%Y%m%d}"
    return {"from": today, "to": today}


def _form(pipeline: Pipeline, campaign: int) -> int:
    headers = {"X-CleverTap-Account-Id": PROJECT, "X-CleverTap-Passcode": PASSCODE}
    with httpx.Client(base_url=pipeline.simulator.base_url, headers=headers) as client:
        return client.post("/1/targets/result.json", json={"id": campaign}).status_code
