"""Pipelines as code: what a file says, and every way in which it can be wrong."""

from __future__ import annotations

import os
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
import yaml

from millrace.cli.face import spoken
from millrace.control import settings
from millrace.control.as_code import apply
from millrace.control.as_code.document import Document, Saved, parse, read, variable
from millrace.control.as_code.places import DocumentError
from millrace.control.connecting import connections
from millrace.control.database.tables import tables
from millrace.control.home import Home
from millrace.control.pipeline import pipelines
from millrace.control.pipeline.pipelines import Wish
from millrace.control.scheduling.schedule import Schedule
from millrace.engine.failures import FailurePolicy
from millrace.errors import ConfigError

GOLDEN = Path(__file__).parent.parent / "golden" / "cli"
ENV = {"CLEVERTAP_PROJECT_ID": "AAA-BBB-CCCC", "CLEVERTAP_PASSCODE": "SECRET-7f3", "DB_PORT": "5432"}

EXAMPLE = """\
destinations:
  warehouse: {type: duckdb, config: {path: ./warehouse.duckdb}}
pipelines:
  clevertap:
    source:
      type: clevertap
      config:
        project_id: ${CLEVERTAP_PROJECT_ID}
        passcode: ${CLEVERTAP_PASSCODE}
        region: EU
        events_file: ./events.csv
    destination: warehouse
    load_mode: merge
    table_prefix: ""
    schedule: {every: 6h}
"""


def document(text: str, **saved: Any) -> Document:
    return parse(text, Path("/srv/shop/pipelines.yaml"), env=ENV, saved=Saved(**saved))


def test_the_example_of_the_documentation_is_understood():
    read = document(EXAMPLE)
    (pipeline,) = read.pipelines
    assert (pipeline.name, pipeline.source, pipeline.destination) == ("clevertap", "clevertap", "warehouse")
    assert pipeline.schedule == Schedule(every_s=21600)
    assert (pipeline.load_mode, pipeline.table_prefix, pipeline.objects) == ("merge", "", None)
    by_kind = {one.kind: one for one in read.connections}
    assert by_kind["source"].config["passcode"] == "SECRET-7f3"
    assert not read.warnings


@pytest.mark.spec("clevertap.10.25")
def test_five_minutes_are_taken_where_the_home_or_the_file_allows_the_intervals_of_older_workspaces():
    often = EXAMPLE.replace("every: 6h", "every: 5m")
    with pytest.raises(DocumentError, match="too often"):
        document(often)
    for taken in (document(often, legacy_frequency=True), document(f"settings: {{legacy_frequency: true}}\n{often}")):
        assert taken.pipelines[0].schedule == Schedule(every_s=300)
    with pytest.raises(DocumentError, match="too often"):
        document(EXAMPLE.replace("every: 6h", "every: 4m"), legacy_frequency=True)


def test_relative_paths_start_at_the_folder_of_the_file():
    configs = {one.name: one.config for one in document(EXAMPLE).connections}
    assert configs["clevertap"]["events_file"] == "/srv/shop/events.csv"
    assert configs["warehouse"]["path"] == "/srv/shop/warehouse.duckdb"


@pytest.mark.parametrize("path", [":memory:", "s3://bucket/folder", "/var/data"])
def test_what_is_no_relative_path_stays(path: str):
    text = (
        EXAMPLE.replace("type: duckdb", "type: folder")
        .replace("merge", "append")
        .replace("./warehouse.duckdb", f"'{path}'")
    )
    (warehouse,) = [one for one in document(text).connections if one.kind == "destination"]
    assert warehouse.config["path"] == path


def test_a_named_source_serves_several_pipelines():
    text = EXAMPLE.replace("pipelines:\n  clevertap:\n    source:\n", "sources:\n  ct:\n").replace(
        "      type: clevertap\n      config:\n", "    type: clevertap\n    config:\n"
    )
    head, tail = text.split("    destination: warehouse")
    one = "    source: ct\n    destination: warehouse" + tail
    read = document(head + "pipelines:\n  a:\n" + one + "  b:\n" + one.replace('""', "b_"))
    assert [(p.name, p.source) for p in read.pipelines] == [("a", "ct"), ("b", "ct")]


def test_a_connection_of_the_home_need_not_be_written_down():
    text = "pipelines:\n  p: {source: ct, destination: wh}\n"
    (pipeline,) = document(text, sources=("ct",), destinations=("wh",)).pipelines
    assert (pipeline.source, pipeline.destination) == ("ct", "wh")


def test_a_password_that_looks_like_a_number_stays_as_written():
    text = EXAMPLE.replace("${CLEVERTAP_PASSCODE}", "00123e4").replace("${CLEVERTAP_PROJECT_ID}", "1e5")
    (source,) = [one for one in document(text).connections if one.kind == "source"]
    assert (source.config["passcode"], source.config["project_id"]) == ("00123e4", "1e5")


def test_objects_may_have_a_load_mode_of_their_own():
    text = EXAMPLE + "    objects:\n      Events: {load_mode: append}\n      Profiles:\n"
    assert document(text).pipelines[0].objects == {"Events": "append", "Profiles": None}
    assert document(EXAMPLE + "    objects: [Events]\n").pipelines[0].objects == {"Events": None}


@pytest.mark.parametrize(
    ("said", "policy"),
    [
        ("strict", FailurePolicy("strict", 0)),
        ("MODERATE", FailurePolicy()),
        ("{object_failure_level: STRICT}", FailurePolicy("strict", 0)),
        ("{max_failed_events: 0}", FailurePolicy("threshold", 0)),
        ("{max_failed_events: 5, max_failed_percent: 2.5}", FailurePolicy("threshold", 5, 2.5)),
        ("{object_failure_level: THRESHOLD, object_failure_threshold: 5}", FailurePolicy("threshold", 5)),
        ("{object_failure_threshold: {max_failed_percent: 2.5}}", FailurePolicy("threshold", None, 2.5)),
    ],
)
def test_a_failure_policy_is_written_in_each_of_its_forms(said: str, policy: FailurePolicy):
    (pipeline,) = document(f"{EXAMPLE}    failure_handling_policy: {said}\n").pipelines
    assert FailurePolicy.from_json(pipeline.options["failure_policy"]) == policy


def test_a_secret_in_the_clear_is_a_warning_that_does_not_show_it():
    (warning,) = document(EXAMPLE.replace("${CLEVERTAP_PASSCODE}", "SECRET-7f3")).warnings
    assert warning.code == "secret_in_clear"
    assert warning.path == "pipelines.yaml:9 pipelines.clevertap.source.config.passcode"
    assert "${CLEVERTAP_PASSCODE}" in (warning.hint or "")
    assert "SECRET" not in str(warning)


def test_a_variable_is_named_after_its_connection_and_key():
    assert variable("clevertap", "passcode") == "CLEVERTAP_PASSCODE"
    assert variable("my warehouse-2", "db_password") == "MY_WAREHOUSE_2_DB_PASSWORD"
    assert variable("2nd", "x") == "_2ND_X"


WRONG: dict[str, str] = {
    "an unknown key": EXAMPLE.replace("region:", "regoin:"),
    "an unknown key at the top": EXAMPLE.replace("destinations:", "destination:"),
    "an unknown key of a pipeline": EXAMPLE.replace("load_mode:", "loadmode:"),
    "an unknown key of a schedule": EXAMPLE.replace("every:", "evry:"),
    "a missing key": EXAMPLE.replace("        project_id: ${CLEVERTAP_PROJECT_ID}\n", ""),
    "a missing destination": EXAMPLE.replace("    destination: warehouse\n", ""),
    "a missing environment variable": EXAMPLE.replace("CLEVERTAP_PASSCODE", "CLEVERTAP_PASSWORD"),
    "a wrong region": EXAMPLE.replace("region: EU", "region: MARS"),
    "a region that is nearly right": EXAMPLE.replace("region: EU", "region: Indai"),
    "a wrong type of source": EXAMPLE.replace("type: clevertap", "type: clevertab"),
    "a wrong type of destination": EXAMPLE.replace("type: duckdb", "type: oracle"),
    "a wrong load mode": EXAMPLE.replace("load_mode: merge", "load_mode: upsert"),
    "a load mode that the destination has not": EXAMPLE.replace("type: duckdb", "type: folder"),
    "a destination that is not there": EXAMPLE.replace("destination: warehouse", "destination: warehuose"),
    "a source that is not there": "destinations:\n  w: {type: duckdb, config: {path: x}}\n"
    "pipelines:\n  p: {source: ct, destination: w}\n",
    "a bad duration": EXAMPLE.replace("every: 6h", "every: six hours"),
    "a frequency that is not whole hours": EXAMPLE.replace("every: 6h", "every: 1.5h"),
    "a frequency below the shortest": EXAMPLE.replace("every: 6h", "every: 5m"),
    "a cron that is due sooner than the shortest": EXAMPLE.replace("every: 6h", "cron: '0,15 */6 * * *'"),
    "a cron that is never due": EXAMPLE.replace("every: 6h", "cron: '0 0 31 2 *'"),
    "a bad cron expression": EXAMPLE.replace("every: 6h", "cron: '0 25 * * *'"),
    "a bad time zone": EXAMPLE.replace("every: 6h", "every: 6h, timezone: Europe/Berln"),
    "both interval and cron": EXAMPLE.replace("every: 6h", "every: 6h, cron: '0 * * * *'"),
    "a duplicate key": EXAMPLE + "    load_mode: append\n",
    "a list where a mapping belongs": "pipelines:\n  - clevertap\n",
    "text where a number belongs": EXAMPLE.replace("region: EU", "window_days: many"),
    "a number out of range": EXAMPLE.replace("region: EU", "window_days: 99"),
    "no events file": EXAMPLE.replace("        events_file: ./events.csv\n", ""),
    "no YAML": EXAMPLE.replace("region: EU", "region: [EU"),
    "a variable in braces without quotes": EXAMPLE.replace("./warehouse.duckdb", "${HERE}"),
    "an empty file": "",
    "several documents": EXAMPLE + "---\n" + EXAMPLE,
    "a name that is taken": "sources:\n  clevertap:\n    type: clevertap\n    config: {project_id: A, "
    "passcode: '${CLEVERTAP_PASSCODE}', event_source: schema}\n" + EXAMPLE,
    "an interval that no pipeline may have": EXAMPLE.replace("every: 6h", "every: 30s"),
    "no failure policy": EXAMPLE + "    failure_handling_policy: lenient\n",
    "a failure policy without its threshold": EXAMPLE + "    failure_handling_policy: threshold\n",
    "no level of a failure policy": EXAMPLE + "    failure_handling_policy: {object_failure_level: lenient}\n",
    "an unknown key of a failure policy": EXAMPLE + "    failure_handling_policy: {max_failed: 1}\n",
    "a strict failure policy with a threshold": EXAMPLE
    + "    failure_handling_policy: {object_failure_level: strict, object_failure_threshold: 1}\n",
    "a threshold that is said twice": EXAMPLE
    + "    failure_handling_policy: {object_failure_threshold: 1, max_failed_events: 1}\n",
    "many things at once": EXAMPLE.replace("region:", "regoin:")
    .replace("every: 6h", "every: 90s")
    .replace("CLEVERTAP_PROJECT_ID", "NOT_SET")
    .replace("table_prefix", "tabel_prefix"),
}


def told(text: str) -> str:
    with pytest.raises(DocumentError) as wrong:
        document(text)
    assert wrong.value.exit_code == 2
    return "\n".join(_plain(line) for line in spoken(wrong.value.problems))


def _plain(line: str) -> str:
    import re

    return re.sub(r"\x1b\[[0-9;]*m", "", line)


def test_every_wrong_file_is_told_as_in_its_golden_file():
    report = "".join(f"# {name}\n{told(text)}\n\n" for name, text in WRONG.items())
    golden = GOLDEN / "document_errors.txt"
    if os.environ.get("MILLRACE_GOLDEN") == "write":
        golden.parent.mkdir(parents=True, exist_ok=True)
        golden.write_text(report)
    assert report == golden.read_text()


def test_all_problems_of_a_file_are_told_together_in_the_order_of_their_lines():
    with pytest.raises(DocumentError) as wrong:
        document(WRONG["many things at once"])
    codes = [one.code for one in wrong.value.problems]
    assert {"unknown_key", "missing_variable"} <= set(codes)
    lines = [int((one.path or "").split(" ")[0].rpartition(":")[2]) for one in wrong.value.problems]
    assert lines == sorted(lines)


def test_no_message_holds_a_secret():
    text = EXAMPLE.replace("${CLEVERTAP_PASSCODE}", "'SECRET 7f3 with spaces'")
    assert "SECRET" not in told(text)


def test_a_file_that_is_not_there_is_told(tmp_path: Path):
    with pytest.raises(ConfigError) as wrong:
        read(tmp_path / "pipelines.yaml")
    assert wrong.value.code == "no_file"


def test_a_file_that_is_not_text_is_told(tmp_path: Path):
    file = tmp_path / "pipelines.yaml"
    file.write_bytes(b"\xff\xfe\x00a")
    with pytest.raises(ConfigError) as wrong:
        read(file)
    assert wrong.value.code == "unreadable"


def test_a_byte_order_mark_is_no_harm(tmp_path: Path):
    file = tmp_path / "pipelines.yaml"
    file.write_text("\ufeff" + EXAMPLE, encoding="utf-8")
    assert read(file, env=ENV).pipelines


DUCKDB = "destinations:\n  warehouse: {type: duckdb, config: {path: VALUE}}\n"


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ('"a\\0b"', "'path' holds a NUL character"),
        ("''", "'path' is empty; it must be the path of a file or a folder"),
        ("' '", "'path' is empty; it must be the path of a file or a folder"),
        ("5", "'path' must be the path of a file or a folder, as text"),
        ("[x]", "'path' must be the path of a file or a folder, as text"),
    ],
)
def test_what_can_be_no_path_is_refused_in_plain_words(value: str, message: str):
    with pytest.raises(DocumentError) as told:
        document(DUCKDB.replace("VALUE", value))
    (problem,) = told.value.problems
    assert (problem.message, problem.path) == (message, "pipelines.yaml:2 destinations.warehouse.config.path")


@pytest.mark.parametrize(
    ("objects", "message", "below"),
    [
        ("5", "'objects' must be a list", ""),
        ("[[1]]", "'0' must be text", ".0"),
        ("{A: 3}", "'A' must be a mapping of keys and values", ".A"),
    ],
)
def test_objects_that_are_none_are_told_once_and_without_words_of_python(objects: str, message: str, below: str):
    with pytest.raises(DocumentError) as told:
        document(f"{EXAMPLE}    objects: {objects}\n")
    (problem,) = told.value.problems
    assert problem.message == message
    assert (problem.path or "").endswith(f"pipelines.clevertap.objects{below}")


def test_an_object_whose_name_looks_like_a_number_is_a_name():
    (pipeline,) = document(f"{EXAMPLE}    objects: [2024, Charged]\n").pipelines
    assert pipeline.objects == {"2024": None, "Charged": None}


def test_a_transformation_that_can_be_no_path_is_told():
    with pytest.raises(DocumentError) as told:
        document(f'{EXAMPLE}    transformation: {{python: "a\\0b"}}\n')
    assert told.value.code == "no_file"


PAUSED = """\
sources: {sent: {type: webhook}}
destinations: {warehouse: {type: duckdb, config: {path: ./warehouse.duckdb}}}
pipelines:
  a:
    source: sent
    destination: warehouse
    state: PAUSED
    limits: {day: {rows: 5, beyond: pause}, month: {rows: 9}}
    watch: {unusual_times: 3, pause: true}
"""


def test_what_would_pause_a_source_that_sends_by_itself_is_told_when_the_file_is_read():
    for text, types in (
        (PAUSED, {}),
        (PAUSED.replace("sources: {sent: {type: webhook}}", "sources: {}"), {"sent": "webhook"}),
    ):
        with pytest.raises(DocumentError) as caught:
            parse(text, Path("/srv/pipelines.yaml"), env={}, saved=Saved([*types], source_types=types))
        places = {((one.path or "").rpartition(".")[2], one.code) for one in caught.value.problems}
        assert places == {("state", "pushed"), ("beyond", "cannot_pause"), ("pause", "cannot_pause")}


@pytest.mark.parametrize(("mode", "refused"), [("log", True), ("table", False)])
def test_limits_that_pause_are_refused_where_a_log_is_followed(mode: str, refused: bool):
    config = f"db_host: 127.0.0.1, db_user: u, db_password: p, db_name: d, ingestion_mode: {mode}"
    text = PAUSED.replace("{sent: {type: webhook}}", f"{{sent: {{type: mysql, config: {{{config}}}}}}}")
    try:
        parse(text, Path("/srv/pipelines.yaml"), env={})
        codes: list[str] = []
    except DocumentError as error:
        codes = [one.code for one in error.problems]
    assert codes == (["cannot_pause"] * 2 if refused else [])


@pytest.mark.parametrize(("pausing", "place"), [("limits", "limits.pause"), ("watch", "watch.pause")])
def test_a_trial_refuses_what_pauses_a_new_pipeline_that_follows_the_log_of_a_saved_source(
    tmp_path: Path, pausing: str, place: str
):
    config = {"db_host": "127.0.0.1", "db_user": "u", "db_password": "p", "db_name": "d"}
    asked = {"limits": {"day": {"rows": 5, "beyond": "pause"}}, "watch": {"unusual_times": 3, "pause": True}}
    text = yaml.safe_dump(
        {
            "destinations": {"warehouse": {"type": "duckdb", "config": {"path": str(tmp_path / "w.duckdb")}}},
            "pipelines": {"sent": {"source": "shop", "destination": "warehouse", pausing: asked[pausing]}},
        }
    )
    with Home.open(tmp_path / "home", create=True, env={}) as home:
        for mode in ("log", "table"):
            if mode == "log":
                connections.create(home, "source", "shop", "mysql", config | {"ingestion_mode": mode})
            else:
                connections.change(home, "source", "shop", config=config | {"ingestion_mode": mode})
            document = parse(text, tmp_path / "pipelines.yaml", env={}, saved=apply.saved(home))
            if mode == "table":
                assert {one.state for one in apply.apply(home, document, dry_run=True).changes} == {"created"}
                assert {one.state for one in apply.apply(home, document).changes} == {"created"}
                continue
            for dry_run in (True, False):
                with pytest.raises(ConfigError) as caught:
                    apply.apply(home, document, dry_run=dry_run)
                assert caught.value.code == "cannot_pause" and (caught.value.path or "").endswith(place)
            # Nothing of the file is there, not even what stands before the pipeline.
            assert not pipelines.listed(home) and not connections.listed(home, "destination")


@pytest.mark.parametrize(
    ("change", "code", "place"),
    [
        ({"destinations": {"warehouse": {"type": "duckdb", "config": {"path": "/elsewhere.duckdb"}}}},
         "fixed_after_load", "destinations.warehouse.path"),
        ({"pipelines": {"p": {"table_prefix": "other"}}}, "fixed_after_load", "pipelines.p.table_prefix"),
        ({"pipelines": {"p": {"load_mode": "history"}}}, "fixed_after_load", "pipelines.p.load_mode"),
        ({"pipelines": {"p": {"source": "second"}}}, "fixed_after_load", "pipelines.p.source"),
        ({"destinations": {"new": {"type": "duckdb", "config": {"path": "/n"}}},
          "pipelines": {"p": {"destination": "new"}}},
         "fixed_after_load", "pipelines.p.destination"),
        ({"pipelines": {"p": {"priority": "HIGH"}}}, "too_many_high", "pipelines.p.priority"),
        ({"pipelines": {"q": {"priority": "HIGH"}}}, "too_many_high", "pipelines.q.priority"),
        ({"pipelines": {"q": {"table_prefix": "no prefix!"}}}, "config", "pipelines.q.table_prefix"),
        ({"pipelines": {"q": {"destination": "files", "load_mode": "merge"}}}, "load_mode", "pipelines.q.load_mode"),
        ({"pipelines": {"begins": {"destination": "files", "load_mode": "merge"}}},
         "load_mode", "pipelines.begins.load_mode"),
        ({"settings": {"high_priority_percent": 0}, "pipelines": {"p": {"priority": "HIGH"}}},
         "too_many_high", "pipelines.p.priority"),
    ],
)  # fmt: skip
def test_a_trial_refuses_what_the_books_forbid_in_the_same_words(
    tmp_path: Path, change: dict[str, dict[str, Any]], code: str, place: str
):
    with with_books(tmp_path) as home:
        for kind, parts in change.items():
            for name, part in parts.items():
                if kind == "pipelines":
                    source = "second" if name == "q" else "first"
                    parts[name] = {"source": source, "destination": "warehouse"} | part
        if "settings" in change:
            settings.change(home, high_priority_percent=100)
        document = parse(yaml.safe_dump(change), tmp_path / "f.yaml", env={}, saved=apply.saved(home))
        said: list[tuple[str, str, str | None]] = []
        for dry_run in (True, False):
            with pytest.raises(ConfigError) as caught:
                apply.apply(home, document, dry_run=dry_run)
            said.append((caught.value.code, caught.value.message, caught.value.path))
        assert said[0] == said[1]
        assert said[0][0] == code and (said[0][2] or "").endswith(place)


@pytest.mark.parametrize(
    ("change", "keys"),
    [
        ({"settings": {"high_priority_percent": 100}, "pipelines": {"p": {"priority": "HIGH"}}},
         ["high_priority_percent", "priority"]),
        ({"pipelines": {"copies": {"destination": "warehouse", "load_mode": "merge"}}}, ["destination", "load_mode"]),
        ({"destinations": {"new": {"type": "duckdb", "config": {"path": "/n.duckdb"}}},
          "pipelines": {"copies": {"destination": "new", "load_mode": "merge"}}},
         ["destination", "load_mode"]),
    ],
)  # fmt: skip
def test_a_trial_tells_what_will_change_where_the_file_itself_makes_it_possible(
    tmp_path: Path, change: dict[str, dict[str, Any]], keys: list[str]
):
    with with_books(tmp_path) as home:
        for name, part in change["pipelines"].items():
            old = pipelines.find(home, name)
            same = {"source": old.source, "destination": old.destination, "table_prefix": old.table_prefix}
            change["pipelines"][name] = same | part
        document = parse(yaml.safe_dump(change), tmp_path / "f.yaml", env={}, saved=apply.saved(home))
        tried = apply.apply(home, document, dry_run=True).changes
        assert [field.key for one in tried for field in one.fields] == keys
        assert apply.apply(home, document).changes == tried


@contextmanager
def with_books(folder: Path) -> Generator[Home]:
    """A home with a pipeline `p` of which a table was loaded, and two that have not begun, of the same account."""
    with Home.open(folder / "home", create=True, env={}) as home:
        for name in ("first", "second"):
            connections.create(
                home, "source", name, "postgres", {"db_host": name, "db_name": "d", "db_user": "u", "db_password": "p"}
            )
        connections.create(home, "destination", "warehouse", "duckdb", {"path": str(folder / "w.duckdb")})
        connections.create(home, "destination", "files", "folder", {"path": str(folder / "files")})
        pipelines.create(home, Wish("begins", "first", "warehouse", table_prefix="begins"))
        pipelines.create(home, Wish("copies", "first", "files", load_mode="append", table_prefix="copies"))
        made = pipelines.create(home, Wish("p", "first", "warehouse"))
        loaded = {"pipeline_id": made.id, "name": "orders", "generation": 1, "stream": "Orders", "fresh": False}
        loaded |= {"loaded": 1, "last": 1, "complete": True, "created_at": home.database.now()}
        with home.database.transaction() as connection:
            connection.execute(sa.insert(tables).values(loaded))
        yield home


def test_a_pause_without_an_unusual_day_is_told_when_the_file_is_read():
    with pytest.raises(DocumentError) as caught:
        document(EXAMPLE + "    watch: {pause: true, late_minutes: 5}\n")
    assert "unusual_times" in str(caught.value)


@pytest.mark.parametrize(
    ("key", "least", "most"),
    [("retention_days", 0, 30), ("reject_retention_days", 1, 90), ("job_retention_days", 1, 3650)],
)
def test_days_that_no_setting_can_be_are_refused_where_the_file_says_them(key: str, least: int, most: int):
    for days in (least, most):
        document(f"settings: {{{key}: {days}}}\n")
    for days in (least - 1, most + 1):
        with pytest.raises(DocumentError, match=rf"'{key}' cannot be {days}: "):
            document(f"settings: {{{key}: {days}}}\n")


@pytest.mark.parametrize(
    ("value", "told"),
    [("", "empty: it should be a valid integer"), ("[1]", "this value: it should be a valid integer")],
)
def test_a_value_that_is_none_or_no_single_one_is_told_in_words(value: str, told: str):
    config = f"{{db_host: h, db_name: d, db_user: u, db_password: p, db_port: {value}}}"
    with pytest.raises(DocumentError, match=f"'db_port' cannot be {told}"):
        document(f"destinations:\n  warehouse: {{type: postgres, config: {config}}}\n")
