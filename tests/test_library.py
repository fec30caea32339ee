"""Millrace as a Python library: a source read without a home."""

from __future__ import annotations

import subprocess
import sys
import traceback
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pytest

import millrace
from millrace.connect.source import Context
from millrace.data import columns
from millrace.errors import ConfigError, MillraceError
from millrace.library import joined
from millrace.simulators.clevertap import Account, Settings, Simulator
from millrace.sources.clevertap.source import Source

NOW = datetime(2026, 3, 14, 10, tzinfo=UTC)
ACCOUNT = Account(id="SIM-EU1-0001", passcode="demo-pass-eu", region="eu1", timezone="Europe/Berlin", users=30, days=35)


class Frozen:
    """The simulator's moment; sleeping takes no time."""

    def now(self) -> datetime:
        return NOW

    def monotonic(self) -> float:
        return 0.0

    def sleep(self, seconds: float) -> None: ...


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, object]]:
    with Simulator(Settings.plain(ACCOUNT, now=NOW), port=0) as simulator:
        file = tmp_path_factory.mktemp("library") / "events.csv"
        file.write_text(simulator.events_csv(ACCOUNT.id), encoding="utf-8", newline="")
        yield {
            "project_id": ACCOUNT.id,
            "passcode": ACCOUNT.passcode,
            "events_file": str(file),
            "timezone": ACCOUNT.timezone,
            "base_url": simulator.base_url,
            "ledger": simulator,
        }


def settings(config: dict[str, object]) -> dict[str, object]:
    return {key: value for key, value in config.items() if key != "ledger"}


def test_what_a_notebook_offers_is_there_before_its_first_use():
    found = subprocess.run(
        [sys.executable, "-c", "import millrace; print(*dir(millrace))"], capture_output=True, text=True, check=True
    )
    assert {"read", "run", "__version__"} <= {*found.stdout.split()}


def test_all_rows_of_a_source_are_an_arrow_table(config: dict[str, object]):
    rows = millrace.read("clevertap", settings(config), context=Context(clock=Frozen())).arrow()
    simulator = config["ledger"]
    assert isinstance(simulator, Simulator)
    first = datetime(2026, 2, 12).date()
    truth = Counter(row.event_name for row in simulator.ledger(ACCOUNT.id, first, NOW.date()))
    assert Counter(rows.column("event_name").to_pylist()) == truth
    assert truth
    assert columns.ID in rows.column_names


def test_rows_for_tables_of_their_own_are_rows_of_the_object(config: dict[str, object]):
    one, each = (
        millrace.read("clevertap", {**settings(config), "tables": tables}, context=Context(clock=Frozen())).arrow()
        for tables in ("one", "each")
    )
    assert one.num_rows and each.sort_by(columns.ID).equals(one.sort_by(columns.ID))


def test_batches_come_one_by_one_and_objects_are_known_by_name(config: dict[str, object]):
    reader = millrace.read("clevertap", settings(config), context=Context(clock=Frozen()))
    assert [stream.name for stream in reader.streams() if stream.name not in Source.extras] == ["Events"]
    stream = reader.stream("Events")
    batches = stream.batches()
    first = next(batches)
    assert isinstance(first, pa.RecordBatch)
    assert first.num_rows
    batches.close()
    assert stream.rejected.num_rows == 0


def test_a_table_with_gaps_is_none(config: dict[str, object]):
    simulator = config["ledger"]
    assert isinstance(simulator, Simulator)
    simulator.faults.set([{"effect": "stuck_cursor", "step": "page", "event": "Charged"}])
    reader = millrace.read("clevertap", settings(config), context=Context(clock=Frozen()))
    try:
        with pytest.raises(MillraceError, match="'Charged'") as told:
            reader.arrow()
        assert told.value.code == "incomplete"
        found: list[pa.RecordBatch] = []
        with pytest.raises(MillraceError):
            found.extend(reader.batches())
    finally:
        simulator.faults.clear()
    assert reader.arrow().num_rows > sum(batch.num_rows for batch in found) > 0


def test_an_object_that_is_not_there_is_told(config: dict[str, object]):
    with pytest.raises(ConfigError, match="no object 'Profiles'"):
        millrace.read("clevertap", settings(config)).stream("Profiles")


def test_settings_that_do_not_fit_are_told_without_the_secret():
    with pytest.raises(ConfigError) as told:
        millrace.read(
            "clevertap", {"project_id": "A", "passcode": "SECRET x", "regoin": "EU", "event_source": "schema"}
        )
    assert "unknown key 'regoin'" in told.value.message
    assert "Did you mean 'region'?" in (told.value.hint or "")
    assert "SECRET" not in str(told.value)


def test_an_unknown_type_is_told():
    with pytest.raises(ConfigError, match="no source of type 'clevertab'"):
        millrace.read("clevertab", {})


def test_columns_that_come_late_and_widen_meet_in_one_table():
    batches = [
        pa.RecordBatch.from_pydict({"a": pa.array([1], pa.int32())}),
        pa.RecordBatch.from_pydict({"a": pa.array([2**40], pa.int64()), "b": pa.array(["x"])}),
    ]
    table = joined(batches, None)
    assert table.to_pydict() == {"a": [1, 2**40], "b": [None, "x"]}
    assert table.schema.field("a").type == pa.int64()


def test_a_source_without_rows_is_an_empty_table_in_its_schema():
    assert joined([], pa.schema({"a": pa.int32()})).schema.names == ["a"]


def test_a_name_that_the_library_lacks_is_an_attribute_error():
    with pytest.raises(AttributeError):
        millrace.nothing  # noqa: B018  to ask for it is what fails
    assert millrace.__version__


def test_programs_that_use_the_library_see_its_types():
    assert (Path(millrace.__file__).parent / "py.typed").is_file()


def test_a_file_that_is_not_there_is_told(tmp_path: Path):
    with pytest.raises(ConfigError) as told:
        millrace.run(tmp_path / "none.yaml", home=tmp_path / "home")
    assert told.value.code == "no_file"


def test_an_error_says_below_its_trace_where_and_how_to_mend_it(tmp_path: Path):
    file = tmp_path / "pipelines.yaml"
    file.write_text("pipelines:\n  p:\n    sorce: x\n    destination: nowhere\n")
    with pytest.raises(ConfigError) as caught:
        millrace.run(file, home=tmp_path / "home")
    told = "".join(traceback.format_exception(caught.value))
    assert "at pipelines.yaml:3" in told
    assert "→ " in told
    assert "unknown key 'sorce'" in told
    with pytest.raises(ConfigError) as caught:
        millrace.read("clevertap", {"project_id": "x"})
    assert any("at passcode" in note for note in caught.value.__notes__)


def test_a_file_is_applied_and_run(config: dict[str, object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MILLRACE_CLOCK_SHIFT_S", str((NOW - datetime.now(UTC)).total_seconds()))
    monkeypatch.setenv("PASSCODE", ACCOUNT.passcode)
    file = tmp_path / "pipelines.yaml"
    file.write_text(
        f"""
destinations:
  warehouse: {{type: duckdb, config: {{path: ./warehouse.duckdb}}}}
pipelines:
  clevertap:
    source:
      type: clevertap
      config:
        project_id: {ACCOUNT.id}
        passcode: ${{PASSCODE}}
        events_file: {config["events_file"]}
        timezone: {ACCOUNT.timezone}
        base_url: {config["base_url"]}
        window_days: 31
    destination: warehouse
"""
    )
    (record,) = millrace.run(file, "clevertap", home=tmp_path / "home")
    assert (record.status, record.balance.even) == ("COMPLETED", True)
    assert record.balance.loaded > 0
    with pytest.raises(ConfigError, match="no pipeline 'other'"):
        millrace.run(file, "other", home=tmp_path / "home")
    assert millrace.run(file, home=tmp_path / "home")[0].kind == "INCREMENTAL"
