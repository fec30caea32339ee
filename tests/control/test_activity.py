"""The activity log: every change has its line, with its author and what was before, and no line is ever changed."""

from __future__ import annotations

import csv
import io
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, get_args

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import event
from tests.control.conftest import Desk
from tests.control.people import acting, cheap, joined

from millrace.connect.source import Stream
from millrace.control import activity, settings
from millrace.control.activity import SEVERITIES, Entity, Entry
from millrace.control.books import records
from millrace.control.connecting import connections, files
from millrace.control.database.people_tables import activity as log
from millrace.control.database.tables import teams
from millrace.control.failed import rejects
from millrace.control.home import Home
from millrace.control.operations import activity as operations
from millrace.control.people.actors import FIRST_TEAM, OPERATOR
from millrace.control.pipeline import drafts, lifecycle, object_actions, objects, pipelines, positions
from millrace.control.running import crews, jobs
from millrace.control.transforming import transformations
from millrace.errors import ConfigError, MillraceError

THING = Entity("thing", "1", "a thing")


def actions(home: Home, **choice: Any) -> list[tuple[str, str]]:
    """Who was changed and how, the oldest first."""
    page = activity.listed(home, severity="LOW", limit=1000, **choice)
    return [(entry.entity.type, entry.action) for entry in reversed(page.items)]


def newest(home: Home) -> Entry:
    return activity.listed(home, severity="LOW").items[0]


def test_every_change_has_its_line_with_author_and_what_was_before(home: Home, saved: Desk, tmp_path: Path) -> None:
    cheap(home)
    joined(home, "ada@example.com", "TEAM_ADMIN")
    ada = acting(home, "ada@example.com")
    start = len(actions(home))
    pipelines.set_state(ada, "events", "PAUSED")
    entry = newest(ada)
    assert (entry.author, entry.author_kind, entry.severity) == ("ada@example.com", "user", "MEDIUM")
    assert (entry.before, entry.after) == ({"state": "ACTIVE"}, {"state": "PAUSED"})
    found = pipelines.find(ada, "events")
    pipelines.change(ada, "events", lambda _: pipelines.Wish(**{**_wish(found), "load_mode": "append"}))
    assert (newest(ada).before, newest(ada).after) == ({"load_mode": "merge"}, {"load_mode": "append"})
    connections.change(ada, "destination", "warehouse", new_name="depot")
    assert newest(ada).before == {"name": "warehouse"}
    transformations.save_draft(ada, "events", "python", "def transform(event):\n    return event\n")
    transformations.deploy(ada, "events", "none", "")
    positions.put(ada, "events", "Charged", "incremental", "c9")
    rejects.discard(ada, rejects.Choice("events", code="X"))
    settings.change(ada, retention_days=3)
    settings.change(ada, retention_days=3)
    assert lifecycle.delete(ada, "events")
    connections.remove(ada, "source", "project")
    connections.remove(ada, "destination", "depot")
    assert actions(home)[start:] == [
        ("pipeline", "set_state"),
        ("pipeline", "change"),
        ("destination", "change"),
        ("transformation", "save_draft"),
        ("position", "change"),
        ("rejects", "discard"),
        ("settings", "change"),
        ("pipeline", "delete"),
        ("source", "delete"),
        ("destination", "delete"),
    ]
    assert {entry.author for entry in activity.listed(home, entity="pipeline").items[:2]} == {"ada@example.com"}


def test_what_people_have_done_by_others_is_told_as_theirs(home: Home, saved: Desk, tmp_path: Path) -> None:
    """Workers read and load; drafts and files are not yet part of anything."""
    cheap(home)
    joined(home, "ada@example.com", "TEAM_ADMIN")
    ada = acting(home, "ada@example.com")
    objects.seen(home.database, saved.pipeline, [Stream("Charged"), Stream("Viewed")])
    start = len(actions(home))
    job = jobs.start(ada, "events").run.id
    assert jobs.start(ada, "events").run.id == job, "nothing more is done"
    jobs.cancel(ada, job)
    jobs.cancel(ada, job)
    resync = jobs.start(ada, "events", kind="resync", mode="drop-and-load").run.id
    assert (newest(ada).severity, newest(ada).run_id) == ("MEDIUM", resync)
    assert newest(ada).after == {"kind": "resync", "mode": "drop-and-load"}
    jobs.cancel(ada, resync)
    object_actions.bulk(ada, "events", ["Charged", "Viewed"], "restart")
    draft = drafts.save(ada, name="later", source_type="clevertap", config={"passcode": "hunter2", "region": "EU"})
    drafts.save(ada, name="later", source_type="clevertap", config={"region": "IN"}, number=draft.number)
    assert (newest(ada).before["config"], newest(ada).after["config"]) == ({"region": "EU"}, {"region": "IN"})
    drafts.remove(ada, draft.number)
    (tmp_path / "names.csv").write_text("Event Name\n")
    files.put(ada, "names.csv", tmp_path / "names.csv")
    assert actions(home)[start:] == [
        ("pipeline", "start"),
        ("pipeline", "cancel"),
        ("pipeline", "start"),
        ("pipeline", "cancel"),
        ("pipeline", "start"),
        ("object", "restart"),
        ("object", "restart"),
        ("draft", "create"),
        ("draft", "change"),
        ("draft", "delete"),
        ("file", "put"),
    ]
    entries = activity.listed(home, severity="LOW").items[: len(actions(home)) - start]
    assert {entry.author for entry in entries} == {"ada@example.com"} and "hunter2" not in repr(entries)


def _wish(found: pipelines.Pipeline) -> dict[str, Any]:
    return {key: getattr(found.wish, key) for key in pipelines.Wish.__dataclass_fields__}


def test_a_change_that_fails_leaves_no_line_and_a_line_that_fails_leaves_no_change(
    home: Home, saved: Desk, tmp_path: Path
) -> None:
    before = actions(home)
    with pytest.raises(ConfigError):
        connections.create(home, "destination", "warehouse", "duckdb", {"path": str(tmp_path / "x.duckdb")})
    with pytest.raises(ConfigError):
        connections.remove(home, "source", "project")
    assert actions(home) == before
    nowhere = home.acting(OPERATOR.of("no team at all"))
    with pytest.raises(Exception, match=r"(?i)foreign key|constraint"), home.database.transaction() as connection:
        connection.execute(sa.insert(teams).values(id="t2", name="lost", created_at=datetime.now(UTC)))
        activity.wrote(nowhere, "LOW", THING, "x", "x")
    with home.database.reading() as connection:
        assert connection.execute(sa.select(teams.c.id)).scalars().all() == [FIRST_TEAM]


def test_a_run_tells_how_it_ended_and_a_failure_is_critical(home: Home, saved: Desk) -> None:
    with pytest.raises(MillraceError), crews.crew(home, "events", "INCREMENTAL") as ours:
        run = ours.run_id
        raise ConfigError("the source refused hunter2-not-for-you")
    entry = newest(home)
    assert (entry.severity, entry.action, entry.run_id) == ("CRITICAL", "run", run)
    assert "hunter2" not in entry.message
    assert entry.message.startswith(f"job {run} of events (what is new) failed: the source refused ***")
    with crews.crew(home, "events", "INCREMENTAL") as ours:
        pass
    assert (newest(home).severity, newest(home).message) == (
        "LOW",
        f"job {ours.run_id} of events (what is new) is completed",
    )


def test_every_kind_of_run_and_every_end_has_its_words() -> None:
    assert records.DOES.keys() == set(get_args(records.RunKind))
    assert records.ENDED.keys() == set(get_args(records.RunStatus)) - {"QUEUED", "IN_PROGRESS", "CANCELLING"}


def test_no_secret_is_told(home: Home, saved: Desk, clevertap: dict[str, Any]) -> None:
    connections.change(home, "source", "project", config=clevertap | {"passcode": "another-secret-9"})
    activity.wrote(home, "LOW", THING, "x", "x", {"password": "hunter2", "deep": [{"api_key": "k"}]}, None)
    with home.database.reading() as connection:
        told = repr(connection.execute(sa.select(log)).all())
    assert "hunter2" not in told and "another-secret-9" not in told and "passcode" in told


def test_the_log_is_seen_from_a_severity_up_by_author_entity_and_time(home: Home) -> None:
    cheap(home)
    joined(home, "ada@example.com", "TEAM_ADMIN")
    ada = acting(home, "ada@example.com")
    for severity in SEVERITIES:
        activity.wrote(ada, severity, THING, "x", severity)
    told = [entry.message for entry in activity.listed(home, entity="thing").items]
    assert told == ["CRITICAL", "HIGH", "MEDIUM"]
    assert len(activity.listed(home, entity="thing", severity="LOW").items) == 4
    assert [entry.message for entry in activity.listed(home, entity="thing", severity="CRITICAL").items] == ["CRITICAL"]
    assert len(activity.listed(home, author="ada@example.com").items) == 3
    assert activity.listed(home, entity_id="2").items == ()
    at = newest(home).at
    assert newest(home).id not in [entry.id for entry in activity.listed(home, until=at).items]
    assert [entry.message for entry in activity.listed(home, since=at).items] == ["CRITICAL"]
    with pytest.raises(ConfigError):
        activity.listed(home, severity="LOUD")
    with pytest.raises(ConfigError) as caught:
        activity.listed(home, after="abc")
    assert caught.value.code == "bad_cursor"


def test_lines_of_a_pipeline_are_those_of_all_that_is_of_it(home: Home, saved: Desk) -> None:
    transformations.deploy(home, "events", "python", "def transform(event):\n    return event\n")
    connections.change(home, "destination", "warehouse", new_name="depot")
    found = operations.list_.on(home, pipeline="events").items
    assert {one.entity.type for one in found} == {"pipeline", "transformation"}
    assert operations.list_.on(home, pipeline="events", entity="source").items == ()


def test_lines_of_an_event_type_are_those_of_its_mapping_under_every_name_of_its_pipeline(
    home: Home, saved: Desk
) -> None:
    def told(event_type: str, **choice: Any) -> list[str]:
        page = operations.list_.on(home, pipeline=choice.pop("pipeline", "events"), event_type=event_type, **choice)
        return [one.message for one in page.items]

    found = pipelines.find(home, "events")
    for name, message in (
        ("events/Charged", "first"),
        ("events/a/Charged", "of another event type"),
        ("events/Charged/incremental", "of another one still"),
    ):
        activity.wrote(home, "MEDIUM", Entity("mapping", found.id, name), "change", message)
    activity.wrote(home, "MEDIUM", Entity("object", found.id, "events/Charged"), "change", "of the object")
    activity.wrote(home, "MEDIUM", Entity("mapping", "another", "events/Charged"), "change", "of another pipeline")
    assert told("Charged") == ["first"]
    pipelines.change(home, "events", lambda _: pipelines.Wish(**{**_wish(found), "name": "shop/events"}))
    activity.wrote(home, "HIGH", Entity("mapping", found.id, "shop/events/Charged"), "change", "second")
    assert told("Charged", pipeline="shop/events") == ["second", "first"]
    assert told("Charged", pipeline="shop/events", severity="HIGH") == ["second"]
    assert told("Charged", pipeline="shop/events", author="nobody") == []
    with pytest.raises(ConfigError, match="needs its pipeline"):
        operations.list_.on(home, event_type="Charged")


def test_lines_name_their_pipeline_as_it_is_called_now_and_none_that_is_gone(home: Home, saved: Desk) -> None:
    transformations.deploy(home, "events", "python", "def transform(event):\n    return event\n")
    lifecycle.rename(home, "events", "people")

    def told() -> set[tuple[str, str, str | None]]:
        page = activity.listed(home, entity_id=saved.pipeline)
        return {(one.entity.type, one.entity.name, one.pipeline) for one in page.items}

    of_it = {("pipeline", "events"), ("transformation", "events"), ("pipeline", "people")}
    assert told() == {(*one, "people") for one in of_it}
    assert {one.pipeline for one in activity.listed(home, entity="source").items} == {None}
    # Another one under the old name is another one.
    pipelines.create(home, pipelines.Wish("events", "project", "warehouse"))
    assert told() == {(*one, "people") for one in of_it}
    assert lifecycle.delete(home, "people")
    assert told() == {(*one, None) for one in of_it}


def test_what_people_did_to_an_event_type_is_found_among_all_that_runs_told_by_an_index(
    home: Home, saved: Desk
) -> None:
    row = {"team_id": home.actor.team_id, "at": datetime.now(UTC), "author": "scheduler", "author_kind": "system"}
    row |= {"entity": "pipeline", "entity_id": saved.pipeline, "entity_name": "events", "before": None, "after": None}
    with home.database.transaction() as connection:
        for severity, action, others in ((0, "run", 4), (1, "pause", 100)):
            line = {**row, "severity": severity, "action": action, "message": action}
            of_others = [{**line, "entity_id": str(number)} for number in range(others)]
            connection.execute(sa.insert(log), [line, *of_others] * 100)
        if not home.database.is_sqlite:
            connection.exec_driver_sql("ANALYZE activity")
    activity.wrote(home, "MEDIUM", Entity("mapping", saved.pipeline, "events/Charged"), "change", "told")
    asked: list[tuple[str, Any]] = []

    def note(connection: Any, cursor: Any, statement: str, parameters: Any, *_: object) -> None:
        if "FROM activity" in statement:
            asked.append((statement, parameters))

    event.listen(home.database.engine, "before_cursor_execute", note)
    try:
        found = operations.list_.on(home, pipeline="events", event_type="Charged").items
    finally:
        event.remove(home.database.engine, "before_cursor_execute", note)
    assert [one.message for one in found] == ["told"]
    explain = "EXPLAIN QUERY PLAN" if home.database.is_sqlite else "EXPLAIN"
    with home.database.reading() as connection:
        for statement, parameters in asked:
            plan = "\n".join(str(line[-1]) for line in connection.exec_driver_sql(f"{explain} {statement}", parameters))
            assert "ix_activity_done" in plan, plan
    assert len(asked) == 2


def test_pages_hold_every_line_once_while_new_ones_come(home: Home) -> None:
    for number in range(7):
        activity.wrote(home, "MEDIUM", THING, "x", str(number))
    page = activity.listed(home, limit=3)
    seen = [entry.message for entry in page.items]
    while page.next:
        activity.wrote(home, "MEDIUM", THING, "x", "new")
        page = activity.listed(home, limit=3, after=page.next)
        seen += [entry.message for entry in page.items]
    assert seen == [str(number) for number in reversed(range(7))]


def test_lines_of_another_team_are_not_there(home: Home) -> None:
    activity.wrote(home, "HIGH", THING, "x", "ours")
    with home.database.transaction() as connection:
        connection.execute(sa.insert(teams).values(id="t2", name="Others", created_at=datetime.now(UTC)))
    there = home.acting(OPERATOR.of("t2"))
    assert activity.listed(there).items == () and list(activity.exported(there, "jsonl")) == []


def test_the_database_refuses_to_change_a_line(home: Home) -> None:
    activity.wrote(home, "HIGH", THING, "x", "as it was")
    with pytest.raises(Exception, match="never changed"), home.database.transaction() as connection:
        connection.execute(sa.update(log).values(message="as it never was"))
    assert newest(home).message == "as it was"


def test_lines_go_after_a_year_and_not_before(home: Home) -> None:
    activity.wrote(home, "HIGH", THING, "x", "told")
    now = datetime.now(UTC)
    assert activity.expire(home, now + timedelta(days=364)) == 0
    assert activity.expire(home, now + timedelta(days=366)) == 1
    assert activity.listed(home, severity="LOW").items == ()


def test_an_export_is_what_was_told_and_no_formula(home: Home) -> None:
    activity.wrote(home, "LOW", THING, "x", "=1+1", {"a": 1}, {"a": 2})
    activity.wrote(home, "LOW", THING, "x", 'a "quoted", line\nand another')
    lines = [json.loads(line) for line in activity.exported(home, "jsonl")]
    assert [line["message"] for line in lines] == ['a "quoted", line\nand another', "=1+1"]
    rows = list(csv.DictReader(io.StringIO("".join(activity.exported(home, "csv")))))
    assert [row["message"] for row in rows] == ['a "quoted", line\nand another', "'=1+1"]
    assert (rows[1]["before"], rows[1]["after"]) == ('{"a": 1}', '{"a": 2}')


@given(
    st.recursive(
        st.none() | st.integers() | st.text(max_size=6),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
        max_leaves=12,
    )
)
def test_what_is_masked_is_json_and_keeps_its_shape(value: Any) -> None:
    masked = activity.masked(value)
    json.dumps(masked)
    if isinstance(value, dict):
        assert list(masked) == list(value)
