"""A home written as a file, and read back."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from millrace.control import settings
from millrace.control.alerting import alert_channels, lateness, unusual
from millrace.control.alerting.alert_kinds import EmailSettings
from millrace.control.alerting.alert_wanted import Quiet, Wanted
from millrace.control.alerting.unusual import Unusual
from millrace.control.as_code.apply import apply
from millrace.control.as_code.document import parse
from millrace.control.as_code.document_schema import SettingsPart
from millrace.control.as_code.export import _Dumper, _escaped, export
from millrace.control.as_code.places import DocumentError, plant
from millrace.control.connecting import connections
from millrace.control.home import Home
from millrace.control.metering import ingestion_limit, usage_limits
from millrace.control.pipeline import lifecycle, object_queries, pipelines, query_modes
from millrace.control.pipeline.pipelines import Wish
from millrace.control.scheduling.schedule import Schedule
from millrace.errors import ConfigError, MillraceError

scalars = st.text(st.characters(exclude_categories=["Cs", "Cc"])) | st.sampled_from(
    ["1e5", "007", "no", "~", "null", "True", "12:30", "${A}", "$${A}", "$", "- a", "a: b", "#c", "<<", "0x1f", "1_000"]
)


@given(st.dictionaries(scalars.filter(bool), scalars | st.lists(scalars) | st.booleans() | st.integers()))
def test_every_value_reads_back_as_it_was_written(value: dict[str, object]):
    text = yaml.dump({"a": _escaped(value)}, Dumper=_Dumper, sort_keys=False, allow_unicode=True)
    tree = plant(text, "f.yaml", {})
    assert not tree.problems
    assert tree.value == {"a": value}


def test_a_file_may_say_every_setting_of_the_workspace_but_where_the_stage_is():
    assert {field.name for field in fields(settings.Workspace)} - {"stage_url"} == {*SettingsPart.model_fields}


def test_a_home_is_written_and_read_back_without_a_change(tmp_path: Path):
    config = {"project_id": "1e5", "passcode": "SECRET", "event_source": "schema", "window_days": 3}
    with Home.open(tmp_path / "home", create=True) as home:
        connections.create(home, "source", "alone", "clevertap", config)
        connections.create(home, "source", "shared", "clevertap", config)
        connections.create(home, "destination", "wh", "duckdb", {"path": str(tmp_path / "w.duckdb")})
        options = {"defer_when_empty": False}
        pipelines.create(home, Wish("alone", "alone", "wh", schedule={"every_s": 21600}, options=options))
        pipelines.create(
            home, Wish("x", "shared", "wh", table_prefix="x", schedule={"cron": "0 * * * *", "timezone": "UTC"})
        )
        pipelines.create(
            home, Wish("y", "shared", "wh", table_prefix="y", objects={"Events": "append"}, auto_mapping=False)
        )
        settings.change(home, high_priority_percent=100)
        lifecycle.prioritize(home, "alone", "HIGH")
        lifecycle.load_every(home, "wh", Schedule(every_s=86400, at="03:00"))
        exported = export(home)
        assert "priority: HIGH" in exported.text and "defer_when_empty: false" in exported.text
        assert "SECRET" not in exported.text
        assert exported.variables == ("ALONE_PASSCODE", "SHARED_PASSCODE")
        env = dict.fromkeys(exported.variables, "SECRET")
        document = parse(exported.text, tmp_path / "f.yaml", env=env)
        assert {change.state for change in apply(home, document).changes} == {"unchanged"}
        assert export(home, ["y"]).pipelines == 1
    with Home.open(tmp_path / "other", create=True) as other:
        states = {change.kind: change.state for change in apply(other, document).changes}
        assert states == {"setting": "changed", "source": "created", "destination": "created", "pipeline": "created"}
        assert export(other).text == exported.text
        # What a file does not say of these stays as it is; what it says otherwise is changed, and told.
        plain = exported.text.replace("    priority: HIGH\n", "")
        assert {one.state for one in apply(other, parse(plain, tmp_path / "f.yaml", env=env)).changes} == {"unchanged"}
        normal = exported.text.replace("priority: HIGH", "priority: NORMAL").replace("every: 1d", "every: 2h")
        normal = "".join(line for line in normal.splitlines(keepends=True) if not line.lstrip().startswith("at: "))
        told = [f for one in apply(other, parse(normal, tmp_path / "f.yaml", env=env)).changes for f in one.fields]
        assert [(one.key, one.before, one.after) for one in told] == [
            ("load_schedule", "every 1d at 03:00 UTC", "every 2h"),
            ("priority", "HIGH", "NORMAL"),
        ]


def test_two_processes_that_apply_one_file_at_once_agree(home: Home, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    text = (
        "destinations:\n  wh: {type: duckdb, config: {path: ./w.duckdb}}\n"
        "pipelines:\n  p: {source: {type: webhook, config: {}}, destination: wh}\n"
    )
    connect, make = connections.create, pipelines.create

    def connection(*words: Any) -> Any:
        connect(*words)  # as the other process does, between our look and our own attempt
        return connect(*words)

    def pipeline(*words: Any) -> Any:
        make(*words)
        return make(*words)

    monkeypatch.setattr(connections, "create", connection)
    monkeypatch.setattr(pipelines, "create", pipeline)
    applied = apply(home, parse(text, tmp_path / "pipelines.yaml", env={}))
    assert applied.pipelines == ["p"]
    assert {change.state for change in applied.changes} == {"unchanged"}
    assert [one.name for one in pipelines.listed(home)] == ["p"]


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
def test_what_watches_a_pipeline_stays_when_a_file_is_applied_that_says_nothing_of_it(home: Home, tmp_path: Path):
    text = (
        "sources:\n  s: {type: clevertap, config: {project_id: P, passcode: C, event_source: schema}}\n"
        "destinations:\n  wh: {type: duckdb, config: {path: ./w.duckdb}}\n"
        "pipelines:\n  p: {source: s, destination: wh, defer_when_empty: true}\n"
    )

    def state_of(text: str) -> dict[str, str]:
        document = parse(text, tmp_path / "f.yaml", env={})
        return {one.kind: one.state for one in apply(home, document).changes}

    assert state_of(text)["pipeline"] == "created"
    wanted = Unusual(times=3, intervals=4, pause=True)
    unusual.watch(home, "p", wanted)
    lateness.allow(home, "p", 90)
    usage_limits.limit_pipeline(home, "p", 500, sideline=True, grace_hours=2)
    assert set(state_of(text).values()) == {"unchanged"}
    assert state_of(text.replace(", defer_when_empty: true", ", load_mode: append"))["pipeline"] == "changed"
    assert pipelines.find(home, "p").load_mode == "append"
    assert "defer_when_empty" not in pipelines.find(home, "p").options
    assert (unusual.of(home, "p"), lateness.of(home, "p")) == (wanted, 90)
    (limit,) = usage_limits.page(home).items
    # What it does say is so, and what it says with nothing in it is taken away.
    gone = text.replace(", defer_when_empty: true", ", watch: {}, limits: {}, load_mode: append")
    assert state_of(gone)["pipeline"] == "changed"
    assert (unusual.of(home, "p"), lateness.of(home, "p")) == (Unusual(), None)
    assert usage_limits.page(home).items == ()
    assert (limit.rows, limit.sideline, limit.grace_hours) == (500, True, 2)


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
def test_limits_watches_objects_and_pauses_are_written_and_read_back(home: Home, tmp_path: Path):
    config = {"project_id": "P", "passcode": "C", "event_source": "schema"}
    connections.create(home, "source", "s", "clevertap", config)
    connections.create(home, "destination", "wh", "duckdb", {"path": str(tmp_path / "w.duckdb")})
    pipelines.create(home, Wish("p", "s", "wh"))
    pipelines.create(home, Wish("q", "s", "wh", table_prefix="q", objects={"Events": "append", "Users": None}))
    p = pipelines.find(home, "p")
    usage_limits.limit_team(home, 10_000, pause=True)
    ingestion_limit.allow(home, 700, minutes=15)
    usage_limits.limit_pipeline(home, "p", 500, sideline=True, grace_hours=2)
    usage_limits.limit_pipeline(home, "p", 9000, period="month")
    unusual.watch(home, "p", Unusual(times=2.5, intervals=4, pause=True))
    lateness.allow(home, "q", 90)
    daily = {"schedule": {"every_s": 86400, "at": "03:00"}}
    odd = {"state": "SKIPPED", "query_mode": query_modes.checked({"mode": "incrementing", "stop_on_gap": True})}
    object_queries.settle(home, p, {"Users": daily, "a ${b}": odd})
    object_queries.settle(home, pipelines.find(home, "q"), {"Users": {"state": "PAUSED"}})
    lifecycle.pause(home, "q")

    exported = export(home)
    env = dict.fromkeys(exported.variables, "C")

    def applied(home: Home, text: str, **more: Any) -> Any:
        return apply(home, parse(text, tmp_path / "f.yaml", env=env), **more)

    assert {one.state for one in applied(home, exported.text).changes} == {"unchanged"}
    with Home.open(tmp_path / "other", create=True, env={}) as other:
        assert {one.state for one in applied(other, exported.text).changes if one.kind != "setting"} == {"created"}
        assert export(other).text == exported.text
        assert (pipelines.find(other, "q").state, pipelines.find(other, "p").state) == ("PAUSED", "ACTIVE")
        assert ingestion_limit.of(other).rows == 700
        assert [(one.pipeline, one.period, one.pause) for one in usage_limits.page(other).items] == [
            (None, "month", True), ("p", "day", False), ("p", "month", False),
        ]  # fmt: skip

        whole: Any = yaml.safe_load(exported.text)
        whole["usage"] = {}
        whole["pipelines"]["p"] |= {"limits": {"day": {"rows": 500}}, "watch": {"late_minutes": 5}}
        whole["pipelines"]["p"]["objects"]["Users"] = {"schedule": {}, "state": "PAUSED"}
        whole["pipelines"]["q"]["state"] = "ACTIVE"
        text = yaml.safe_dump(whole)
        before = export(other).text
        dry = [(one.name, [field.key for field in one.fields]) for one in applied(other, text, dry_run=True).changes]
        assert export(other).text == before
        told = [(one.name, [field.key for field in one.fields]) for one in applied(other, text).changes]
        assert told == dry
        assert dict(told) | {"s": [], "wh": []} == {
            "usage": ["limits"], "s": [], "wh": [], "q": ["state"],
            "p": ["objects.Users.state", "objects.Users.schedule", "limits", "watch"],
        }  # fmt: skip
        assert {one.state for one in applied(other, text).changes} == {"unchanged"}
        assert ingestion_limit.of(other).rows is None and lateness.of(other, "p") == 5
        assert [(one.period, one.sideline) for one in usage_limits.page(other).items] == [("day", False)]

        whole["pipelines"]["p"]["objects"]["*"] = {"state": "PAUSED"}
        whole["pipelines"]["p"]["objects"]["Users"] = {"load_mode": "append"}
        with pytest.raises(DocumentError) as caught:
            applied(other, yaml.safe_dump(whole))
        assert {one.code for one in caught.value.problems} == {"all_objects"}


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
def test_channels_of_alerts_are_written_without_their_secrets_and_read_back(home: Home, tmp_path: Path):
    settings.change(home, allow_private_addresses=True)
    mail = {"host": "127.0.0.1", "port": 2525, "security": "none", "sender": "m@example.com", "password": "SECRET ${A}"}
    alert_channels.add(home, "ops", "webhook", {"url": "http://127.0.0.1:1/SECRET"})
    wanted = Wanted(("pipeline", "schema"), "ERROR", Quiet("22:00", "07:00", "Europe/Berlin"))
    alert_channels.add(home, "post", "email", mail | {"to": ["a@example.com"]}, wanted, enabled=False)

    exported = export(home, sections=["alert_channels"])
    assert "SECRET" not in exported.text
    assert list(yaml.safe_load(exported.text)) == ["alert_channels"]
    assert exported.variables == ("OPS_URL", "POST_PASSWORD")
    assert "alert_channels:" in export(home).text
    with pytest.raises(ConfigError, match="no section 'alerts'"):
        export(home, sections=["alerts"])  # pyright: ignore[reportArgumentType]  as typed
    assert export(home, sections=["settings"]).text == "settings:\n  allow_private_addresses: true\n"
    env = {"OPS_URL": "http://127.0.0.1:1/SECRET", "POST_PASSWORD": "SECRET ${A}"}

    def applied(home: Home, text: str, **more: Any) -> Any:
        return apply(home, parse(text, tmp_path / "f.yaml", env=env), **more)

    assert {one.state for one in applied(home, exported.text).changes} == {"unchanged"}
    with Home.open(tmp_path / "other", create=True, env={}) as other:
        whole = "settings: {allow_private_addresses: true}\n" + exported.text
        assert {one.state for one in applied(other, whole, dry_run=True).changes if one.kind == "channel"} == {
            "created"
        }
        assert alert_channels.listed(other) == []
        applied(other, whole)
        assert export(other, sections=["alert_channels"]).text == exported.text
        post = alert_channels.find(other, "post")
        sends = alert_channels.settings(other, post.id)
        assert isinstance(sends, EmailSettings) and sends.password
        assert sends.password.get_secret_value() == "SECRET ${A}"

        # A secret that is another one is told, and not shown; what the file does not say stays.
        env["OPS_URL"] = "http://127.0.0.1:1/OTHER"
        stays = "alert_channels:\n  ops: {kind: webhook, config: {url: '${OPS_URL}'}}\n"
        said = stays.replace("}}\n", "}, enabled: false, wanted: {least: ERROR}}\n")
        for dry_run in (True, False):
            [change] = applied(other, said, dry_run=dry_run).changes
            assert [(one.key, one.before) for one in change.fields] == [
                ("url", "(secret)"), ("enabled", True), ("wanted", Wanted().to_json()),
            ]  # fmt: skip
            assert "OTHER" not in str(change)
        [change] = applied(other, said).changes
        assert change.state == "unchanged"
        assert [one.state for one in applied(other, stays).changes] == ["unchanged"]
        assert not alert_channels.find(other, "ops").enabled

        # A secret that the file does not name is gone, as it is with connections.
        bare = (
            "alert_channels:\n  post: {kind: email, config: {host: 127.0.0.1, security: none, sender: m@example.com}}\n"
        )
        applied(other, bare)
        assert alert_channels.find(other, "post").secrets == ()


@pytest.mark.parametrize(
    ("said", "code", "place"),
    [
        ("{kind: pigeon}", "config", "alert_channels.c.kind"),
        ("{kind: slack, config: {}}", "missing_key", "alert_channels.c.config.url"),
        ("{kind: slack, config: {url: nowhere}}", "bad_value", "alert_channels.c.config.url"),
        (
            "{kind: slack, config: {url: 'https://a.b/c'}, wanted: {least: BAD}}",
            "bad_value",
            "alert_channels.c.wanted.least",
        ),
        (
            "{kind: slack, config: {url: 'https://a.b/c'}, wanted: {quiet: {start: '9', end: '10:00'}}}",
            "config",
            "alert_channels.c.wanted",
        ),
    ],
)  # fmt: skip
def test_a_channel_that_cannot_be_is_told_with_its_line(said: str, code: str, place: str, tmp_path: Path):
    with pytest.raises(DocumentError) as caught:
        parse(f"alert_channels:\n  c: {said}\n", tmp_path / "f.yaml", env={})
    assert [(one.code, one.path) for one in caught.value.problems] == [(code, f"f.yaml:2 {place}")]


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
def test_a_channel_does_not_become_one_of_another_kind_and_goes_nowhere_that_the_server_may_not(
    home: Home, tmp_path: Path
):
    alert_channels.add(home, "c", "slack", {"url": "https://hooks.slack.com/x"})
    for said, code in (
        ("c: {kind: teams, config: {url: 'https://a.example/c'}}", "kind_changed"),
        ("d: {kind: teams, config: {url: 'http://127.0.0.1:9/c'}}", "private_address"),
    ):
        for dry_run in (True, False):
            with pytest.raises(MillraceError) as caught:
                apply(home, parse(f"alert_channels:\n  {said}\n", tmp_path / "f.yaml", env={}), dry_run=dry_run)
            assert (caught.value.code, (caught.value.path or "")[:26]) == (code, f"f.yaml:2 alert_channels.{said[0]}")
    assert [one.kind for one in alert_channels.listed(home)] == ["slack"]

    # A dry run says what applying does: what stays as it is is not looked at, and the file's own settings hold.
    said = "alert_channels:\n  d: {kind: teams, config: {url: 'http://127.0.0.1:9/c'}}\n"
    settings.change(home, allow_private_addresses=True)
    for dry_run in (True, False):
        with pytest.raises(MillraceError, match="own machine"):
            closing = "settings: {allow_private_addresses: false}\n" + said
            apply(home, parse(closing, tmp_path / "f.yaml", env={}), dry_run=dry_run)
        settings.change(home, allow_private_addresses=True)
    apply(home, parse(said, tmp_path / "f.yaml", env={}))
    settings.change(home, allow_private_addresses=False)
    for dry_run in (True, False):
        [change] = apply(home, parse(said, tmp_path / "f.yaml", env={}), dry_run=dry_run).changes
        assert change.state == "unchanged"
