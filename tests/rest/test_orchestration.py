"""The orchestration API serves the published Airflow provider unchanged: its calls, its data model, its waiting."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.control.conftest import EVENTS_CSV
from tests.control.sources import Script
from tests.rest.conftest import Keys, work
from tests.rest.provider import Failed, Object, Objects, Pipelines, Provider

from millrace.control.connecting import connections
from millrace.control.home import Home
from millrace.control.pipeline import lifecycle, pipelines
from millrace.control.pipeline.pipelines import Wish
from millrace.control.running import jobs, tasks


@pytest.fixture
def number(home: Home, script: Script, tmp_path: Path) -> Iterator[int]:
    """A pipeline of a test's own; its number."""
    (tmp_path / "events.csv").write_text(EVENTS_CSV)
    config = {"project_id": "AAA-BBB-CCCC", "passcode": "hunter2", "events_file": str(tmp_path / "events.csv")}
    connections.create(home, "source", "app", "clevertap", config)
    connections.create(home, "destination", "warehouse", "duckdb", {"path": str(tmp_path / "w.duckdb")})
    yield pipelines.create(home, Wish("events", "app", "warehouse")).number
    for found in pipelines.listed(home):
        assert lifecycle.delete(home, found.name)
    connections.remove(home, "source", "app")
    connections.remove(home, "destination", "warehouse")


@pytest.fixture
def provider(url: str, keys: Keys) -> Iterator[Provider]:
    found = Provider(url, keys.admin)
    with found.client:
        yield found


@pytest.mark.spec("pipelines.22.19")
def test_a_pipeline_has_all_that_the_provider_reads(provider: Provider, number: int) -> None:
    found = provider.pipeline(number)
    assert found is not None
    assert (found.id, found.name, found.status) == (number, "events", "INITIALIZED")
    assert (found.source.source_type, found.destination.destination_type) == ("CLEVERTAP", "DUCKDB")
    assert "passcode" not in (found.source.config or {})
    assert (found.load_mode, found.schema_evolution) == ("MERGE", "ALLOW_ALL")
    assert (found.schedule.sync_type, found.schedule.frequency_minutes) == ("ON_DEMAND", None)
    assert found.failure_handling_policy.object_failure_level == "MODERATE"
    assert found.source_schema_status.status == "PENDING"
    assert [one.id for one in provider.pages("/pipelines", Pipelines, 100)] == [number]


def test_who_made_a_pipeline_and_changed_it_last_is_told(
    home: Home, url: str, keys: Keys, provider: Provider, number: int
) -> None:
    def by(number: int) -> tuple[str, str]:
        found = provider.pipeline(number)
        assert found is not None
        return found.created_by_email, found.updated_by_email

    # The operator of the machine has no address.
    assert by(number) == ("", "")
    with httpx.Client(base_url=url, auth=keys.admin, timeout=30) as admin:
        assert admin.patch(f"/api/v1/pipelines/{number}", json={"destination_prefix": "p_"}).status_code == 200
        assert by(number) == ("", "admin@example.com")
        provider.sync_now(number)
        work(home)
        assert by(number) == ("", "admin@example.com")
        made = admin.post("/api/millrace/v1/pipelines/events/clone", json={"name": "copy", "table_prefix": "c_"})
        assert made.status_code < 300, made.text
    copy = pipelines.find(home, "copy").number
    assert by(copy) == ("admin@example.com", "admin@example.com")
    lifecycle.resume(home, "copy")
    assert by(copy) == ("admin@example.com", "")
    every = {one.id: (one.created_by_email, one.updated_by_email) for one in provider.pages("/pipelines", Pipelines, 1)}
    assert every == {number: by(number), copy: by(copy)}


def test_pages_of_pipelines_follow_each_other(home: Home, provider: Provider, number: int) -> None:
    for n in range(4):
        pipelines.create(home, Wish(f"more {n}", "app", "warehouse", table_prefix=f"m{n}"))
    found = [one.id for one in provider.pages("/pipelines", Pipelines, 2)]
    assert found == sorted(found)
    assert len(found) == 5


def test_what_is_not_there_is_none_and_is_not_asked_for_again(provider: Provider, number: int) -> None:
    assert provider.pipeline(99_999) is None
    assert provider.asked == 1


def test_a_sync_is_begun_found_followed_and_done(home: Home, provider: Provider, number: int) -> None:
    provider.sync_now(number)
    job = provider.active_job(number, "HISTORICAL")
    assert provider.completion(number, job.job_id) == "pending"
    work(home)
    assert provider.completion(number, job.job_id) == "completed"
    done = provider.job(number, job.job_id)
    assert (done.events_ingested, done.events_loaded, done.events_failed) == (14, 14, 0)
    assert (done.objects_success, done.objects_failed, done.objects_queued) == (2, 0, 0)
    assert (done.billable_events, done.non_billable_events) == (0, 14)
    assert done.updated_ts >= done.created_ts
    assert done.duration > 0
    assert done.min_latency is not None
    provider.sync_now(number)
    later = provider.active_job(number, "INCREMENTAL")
    assert later.job_id != job.job_id
    work(home)
    assert provider.completion(number, later.job_id) == "completed"
    assert [one["object_name"] for one in _objects(provider, number, job.job_id)] == ["Orders", "Users"]
    assert [one["events_loaded"] for one in _objects(provider, number, job.job_id)] == [10, 4]


def test_a_second_sync_is_refused_in_words_that_the_provider_knows(home: Home, provider: Provider, number: int) -> None:
    provider.sync_now(number)
    asked = provider.asked
    with pytest.raises(Failed, match=r"answered 409: .*job is in progress"):
        provider.sync_now(number)
    assert provider.asked == asked + 2  # the look at the pipeline, and one attempt
    provider.sync_now(number, ensure_new_job=False)
    assert len(provider.ask("GET", f"/pipelines/{number}/jobs")["data"]) == 1
    work(home)


def test_a_job_is_cancelled(home: Home, provider: Provider, number: int) -> None:
    provider.sync_now(number)
    job = provider.active_job(number, "HISTORICAL")
    for _ in range(2):
        assert provider.ask("POST", f"/pipelines/{number}/jobs/{job.job_id}/actions/cancel") == {}
        assert provider.job(number, job.job_id).status == "CANCELLED"
    assert provider.completion(number, job.job_id) == "failed"


def test_a_job_that_goes_on_is_cancelled_at_its_next_commit(
    home: Home, provider: Provider, script: Script, number: int
) -> None:
    def cancel() -> None:
        provider.ask("POST", f"/pipelines/{number}/jobs/{job.job_id}/actions/cancel")
        assert provider.job(number, job.job_id).status == "CANCELLING"
        assert provider.completion(number, job.job_id) == "pending"
        assert wished.wait(60)

    provider.sync_now(number)
    job = provider.active_job(number, "HISTORICAL")
    wished = threading.Event()
    beat = tasks.beat

    def hearing(*args: Any, **kwargs: Any) -> bool:
        if heard := beat(*args, **kwargs):
            wished.set()
        return heard

    script.before["Orders", 1] = cancel
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tasks, "beat", hearing)
        work(home)
    assert provider.job(number, job.job_id).status == "CANCELLED"


def test_a_disabled_pipeline_runs_no_job_until_it_is_enabled(home: Home, provider: Provider, number: int) -> None:
    for _ in range(2):
        assert provider.ask("POST", f"/pipelines/{number}/actions/disable") == {}
    assert provider.pipeline(number).status == "DISABLED"
    for action in ("sync-now", "resync"):
        with pytest.raises(Failed, match="answered 409"):
            provider.ask("POST", f"/pipelines/{number}/actions/{action}")
    for _ in range(2):
        assert provider.ask("POST", f"/pipelines/{number}/actions/enable") == {}
    assert provider.pipeline(number).status == "INITIALIZED"


@pytest.mark.parametrize("cancel", [False, True])
def test_disabling_ends_active_jobs_where_that_is_asked(
    home: Home, provider: Provider, number: int, cancel: bool
) -> None:
    provider.sync_now(number)
    job = provider.active_job(number, "HISTORICAL")
    provider.ask("POST", f"/pipelines/{number}/actions/disable", payload={"cancel_active_jobs": cancel})
    assert provider.job(number, job.job_id).status == ("CANCELLED" if cancel else "IN_PROGRESS")
    for found in jobs.page(home, "events", statuses=("QUEUED",)).items:
        jobs.cancel(home, found.job_id)


@pytest.mark.parametrize(
    ("payload", "type_"),
    [
        (None, "RESYNC"),
        ({}, "RESYNC"),
        ({"resync_mode": "EVOLVE_AND_MERGE"}, "RESYNC"),
        ({"drop_and_load": False}, "RESYNC"),
        ({"resync_mode": "DROP_AND_LOAD"}, "RESYNC_WITH_DROP_AND_LOAD"),
        ({"drop_and_load": True}, "RESYNC_WITH_DROP_AND_LOAD"),
    ],
)
def test_a_resync_reads_the_history_again(
    home: Home, provider: Provider, script: Script, number: int, payload: Any, type_: str
) -> None:
    provider.ask("POST", f"/pipelines/{number}/actions/resync", payload=payload)
    job = provider.active_job(number, type_)
    work(home)
    assert provider.completion(number, job.job_id) == "completed"
    assert len(script.read) == 4


def test_objects_are_listed_looked_at_and_read_again(
    home: Home, provider: Provider, script: Script, number: int
) -> None:
    assert provider.ask("POST", f"/pipelines/{number}/objects/actions/refresh-schema") == {}
    assert provider.ask("POST", f"/pipelines/{number}/objects/actions/refresh-schema", payload={}) == {}
    assert provider.pipeline(number).source_schema_status.status == "SYNCED"
    found: list[Object] = provider.pages(f"/pipelines/{number}/objects", Objects, 1)
    assert [(one.source_namespace.k0, one.status, one.replication_status) for one in found] == [
        ("Orders", "ACTIVE", "PENDING"),
        ("Users", "ACTIVE", "PENDING"),
    ]
    provider.sync_now(number)
    work(home)
    orders = Object.model_validate(provider.ask("GET", f"/pipelines/{number}/objects/{found[0].object_id}"))
    assert (orders.object_name, orders.destination_table_name, orders.load_mode) == ("Orders", "orders", "MERGE")
    assert (orders.replication_status, orders.field_count) == ("REPLICATED", 2)
    assert [(one.source_name, one.status, one.primary_key) for one in orders.fields or []] == [
        ("id", "ACTIVE", True),
        ("name", "ACTIVE", False),
    ]
    script.read.clear()
    for payload in ({"objects": [orders.object_id]}, {"object_ids": [orders.object_id], "drop_and_load": True}):
        provider.ask("POST", f"/pipelines/{number}/objects/actions/resync", payload=payload)
        work(home)
    assert script.read == [("Orders", 0), ("Orders", 1)] * 2


def test_a_pipeline_is_changed_in_parts(provider: Provider, number: int) -> None:
    changed = provider.ask(
        "PATCH",
        f"/pipelines/{number}",
        payload={
            "name": "renamed",
            "destination_prefix": "ct",
            "load_mode": "APPEND",
            "schema_evolution": "BLOCK_ALL",
            "schedule": {"sync_type": "SCHEDULED", "frequency_minutes": 720},
            "failure_handling_policy": {"object_failure_level": "THRESHOLD", "object_failure_threshold": 7},
        },
    )
    found = provider.pipeline(number)
    assert found is not None
    # A word of ours, which the provider leaves alone.
    assert changed["failure_handling_policy"].pop("object_failure_percent") is None
    assert found.model_dump() == changed
    assert (found.name, found.destination_prefix, found.load_mode) == ("renamed", "ct_", "APPEND")
    assert (found.schema_evolution, found.schedule.frequency_minutes) == ("BLOCK_ALL", 720)
    assert found.failure_handling_policy.model_dump() == {
        "object_failure_level": "THRESHOLD", "object_failure_threshold": 7
    }  # fmt: skip
    again = provider.ask("PATCH", f"/pipelines/{number}", payload={"schedule": {"sync_type": "ON_DEMAND"}})
    assert again["schedule"] == {"sync_type": "ON_DEMAND", "frequency_minutes": None}
    assert again["name"] == "renamed"
    assert again["latency_alert"] is None
    for wanted in ({"enabled": True, "threshold_minutes": 90}, {"enabled": False}, {"enabled": True}):
        told = provider.ask("PATCH", f"/pipelines/{number}", payload={"latency_alert": wanted})["latency_alert"]
        assert told == {"enabled": wanted["enabled"], "threshold_minutes": 90}


def test_what_is_read_and_sent_back_changes_nothing_though_the_api_has_no_word_for_it(
    home: Home, provider: Provider, number: int
) -> None:
    share = {"object_failure_level": "THRESHOLD", "object_failure_threshold": 2**31 - 1, "object_failure_percent": 2.5}
    options = {
        "failure_policy": {"max_failed_percent": 2.5},
        "schema_policy": {"tables": "evolve", "columns": "freeze", "types": "evolve"},
    }
    found = pipelines.numbered(home, number)
    pipelines.change(home, found.name, lambda _: replace(found.wish, options=options))
    for names in (("object_failure_level", "object_failure_threshold"), tuple(share)):
        read = provider.ask("GET", f"/pipelines/{number}")
        assert read["failure_handling_policy"] == share
        read["failure_handling_policy"] = {name: share[name] for name in names}
        said = {name: read[name] for name in ("failure_handling_policy", "schema_evolution", "load_mode")}
        assert provider.ask("PATCH", f"/pipelines/{number}", payload=said)["failure_handling_policy"] == share
        assert pipelines.numbered(home, number).options == options
    mixed = {"object_failure_level": "THRESHOLD", "object_failure_threshold": 9, "object_failure_percent": 1.0}
    told = provider.ask("PATCH", f"/pipelines/{number}", payload={"failure_handling_policy": mixed})
    assert told["failure_handling_policy"] == mixed


@pytest.mark.parametrize(
    "payload",
    [{"surprise": 1}, {"status": "DISABLED"}, {"load_mode": "HISTORY"}, {"schedule": {"sync_type": "SCHEDULED"}},
     {"schedule": {"sync_type": "SCHEDULED", "frequency_minutes": 1}}, {"name": ""},
     {"latency_alert": {"enabled": True}},
     {"failure_handling_policy": {"object_failure_level": "THRESHOLD"}},
     {"failure_handling_policy": {"object_failure_level": "MODERATE", "object_failure_threshold": 7}}],
)  # fmt: skip
def test_a_change_that_cannot_be_is_refused(provider: Provider, number: int, payload: dict[str, Any]) -> None:
    before = provider.pipeline(number)
    with pytest.raises(Failed, match="answered 400"):
        provider.ask("PATCH", f"/pipelines/{number}", payload=payload)
    assert provider.pipeline(number) == before


def test_a_job_belongs_to_its_pipeline_and_its_team(
    home: Home, url: str, keys: Keys, provider: Provider, number: int
) -> None:
    other = pipelines.create(home, Wish("other", "app", "warehouse", table_prefix="o")).number
    provider.sync_now(number)
    job = provider.active_job(number, "HISTORICAL")
    for path in (f"/pipelines/{other}/jobs/{job.job_id}", f"/pipelines/{number}/jobs/nosuch"):
        for method, rest in (("GET", ""), ("GET", "/objects"), ("POST", "/actions/cancel")):
            with pytest.raises(Failed, match="answered 404"):
                provider.ask(method, path + rest)
    stranger = Provider(url, keys.stranger)
    with stranger.client:
        for method, rest in (("GET", ""), ("PATCH", ""), ("GET", "/jobs"), ("GET", f"/jobs/{job.job_id}"),
                             ("POST", f"/jobs/{job.job_id}/actions/cancel"), ("POST", "/actions/sync-now"),
                             ("POST", "/actions/resync"), ("POST", "/actions/disable"), ("POST", "/actions/enable"),
                             ("GET", "/objects"), ("POST", "/objects/actions/refresh-schema")):  # fmt: skip
            with pytest.raises(Failed, match="answered 404"):
                stranger.ask(method, f"/pipelines/{number}{rest}", payload={} if method == "PATCH" else None)
    assert provider.job(number, job.job_id).status == "IN_PROGRESS"
    jobs.cancel(home, job.job_id)


def test_an_observer_looks_and_begins_nothing(url: str, keys: Keys, number: int) -> None:
    observer = Provider(url, keys.observer)
    with observer.client:
        assert observer.pipeline(number) is not None
        for rest in ("actions/sync-now", "actions/resync", "actions/disable", "actions/enable"):
            with pytest.raises(Failed, match="answered 403"):
                observer.ask("POST", f"/pipelines/{number}/{rest}")


def test_a_wrong_key_is_told_once(url: str, number: int) -> None:
    nobody = Provider(url, ("nobody", "nothing"))
    with nobody.client, pytest.raises(Failed, match="answered 401"):
        nobody.pipeline(number)
    assert nobody.asked == 1


def test_a_body_may_be_left_out(url: str, keys: Keys, provider: Provider, number: int) -> None:
    for headers in ({}, {"Content-Type": "application/json"}):
        answer = httpx.post(f"{url}/api/v1/pipelines/{number}/actions/disable", auth=keys.admin, headers=headers)
        assert (answer.status_code, answer.content) == (204, b"")


def _objects(provider: Provider, number: int, job_id: str) -> list[dict[str, Any]]:
    return provider.ask("GET", f"/pipelines/{number}/jobs/{job_id}/objects")["data"]
