"""What every destination must do. A destination's own test is a fixture and a class that inherits this one."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any, ClassVar
from zoneinfo import ZoneInfo

import pyarrow as pa
import pytest

from millrace.connect import registry
from millrace.connect.destination import Destination, Held, Load, Loaded, Rereadable, Table, Unloadable
from millrace.connect.local_days import LocalDays
from millrace.connect.testing.extremes import EXTREMES, back, finite
from millrace.connect.testing.rows import PLAIN, Rows, counted, rows, shuffled, table
from millrace.data import columns, types
from millrace.errors import ConfigError, MillraceError, Stale

FEED = "pipeline/1"
NAMES = (
    'quote"d',
    "it's",
    "select",
    "Größe £ 名前",
    "x; DROP TABLE victims; --",
    "$1",
    "{c}",
    "gone",
    "spot",
    "per%cent ?",
    "n" * 63,
)


class DestinationContract(ABC):
    """Tests for any destination. ``type_`` is its name in settings, `config` its settings for one place of the test."""

    type_: ClassVar[str]

    @abstractmethod
    def config(self) -> dict[str, Any]:
        """Settings in JSON's types; the same place each time within a test."""

    def another(self) -> Destination[Any]:
        """One more instance for the same place."""
        made = registry.destination(self.type_)
        return made(made.Config.model_validate(self.config()))

    @pytest.fixture
    def destination(self) -> Iterator[Destination[Any]]:
        made = self.another()
        yield made
        made.close()

    # What follows is for subclasses with another way to look.

    def contents(self, destination: Destination[Any], name: str, *, order: str = "") -> list[dict[str, Any]]:
        """Rows of a table as dicts."""
        by = f" ORDER BY {order}" if order else ""
        quoted = '"' + name.replace('"', '""') + '"'
        return destination.query(f"SELECT * FROM {self.place(destination)}{quoted}{by}").to_pylist()

    def place(self, destination: Destination[Any]) -> str:
        """What stands in front of a table's name in a query."""
        del destination
        return ""

    wide_type: ClassVar[pa.DataType] = types.LONG
    """Of which a row may have a thousand values."""

    # Types.

    def ends(self, destination: Destination[Any], name: str) -> list[Any]:
        """Values of a type at its ends, all that the destination takes."""
        type_, values = EXTREMES[name]
        return values if destination.limits.nan else finite(type_, values)

    def test_floats_that_are_no_number_are_kept_or_refused_by_row(self, destination: Destination[Any]) -> None:
        made = table("odd", {"f": types.FLOAT, "d": types.DOUBLE}, mode="append")
        destination.ensure(made)
        odd = (float("nan"), float("inf"), float("-inf"))
        schema = {"f": types.FLOAT, "d": types.DOUBLE, columns.INGESTED_AT: types.LONG}
        given = rows(schema, (1.5, None, 1), *((one, 2.5, 2) for one in odd), *((None, one, 3) for one in odd))
        if destination.limits.nan:
            destination.load(made, Load(FEED, 0, 1, 1, given))
            assert len(self.contents(destination, "odd")) == 7
            return
        with pytest.raises(Unloadable) as refused:
            destination.load(made, Load(FEED, 0, 1, 1, given))
        assert [(r.row, r.code) for r in refused.value.refusals] == [(n, "INCOMPATIBLE_TYPE") for n in range(1, 7)]
        destination.load(made, Load(FEED, 0, 1, 1, given, frozenset(range(1, 7))))
        assert [row["f"] for row in self.contents(destination, "odd")] == [1.5]

    @pytest.mark.parametrize("name", EXTREMES)
    def test_a_type_goes_there_and_back_at_its_extremes(self, destination: Destination[Any], name: str) -> None:
        type_, _ = EXTREMES[name]
        values = self.ends(destination, name)
        made = table("ends", {"n": types.LONG, "v": type_}, mode="append")
        schema = {"n": types.LONG, "v": type_, columns.INGESTED_AT: types.LONG}
        given = rows(schema, *((n, value, 1) for n, value in enumerate(values)))
        destination.ensure(made)
        destination.load(made, Load(FEED, 0, 1, 1, given))
        assert destination.ensure(made) == []
        found = destination.query(f'SELECT v FROM {self.place(destination)}"ends" ORDER BY n')
        assert back(found.column(0), type_) == back(pa.chunked_array([given.table.column("v").combine_chunks()]), type_)

    def test_all_types_stand_in_one_table(self, destination: Destination[Any]) -> None:
        business = {name: type_ for name, (type_, _) in EXTREMES.items()}
        made = table("every_type", business, mode="append")
        every = [self.ends(destination, name) for name in EXTREMES]
        values = [tuple(ends[i % len(ends)] for ends in every) for i in range(8)]
        given = rows({**business, columns.INGESTED_AT: types.LONG}, *((*row, n) for n, row in enumerate(values)))
        destination.ensure(made)
        destination.load(made, Load(FEED, 0, 1, 1, given))
        found = destination.query(
            f'SELECT * FROM {self.place(destination)}"every_type" ORDER BY "{columns.INGESTED_AT}"'
        )
        for name, type_ in business.items():
            expected = pa.chunked_array([given.table.column(name).combine_chunks()])
            assert back(found.column(name), type_) == back(expected, type_), name

    def test_dates_beyond_the_calendar_are_refused_by_row(self, destination: Destination[Any]) -> None:
        made = table("far", {"d": types.DATE, "t": types.TIMESTAMPTZ}, mode="append")
        destination.ensure(made)
        given = Rows(
            pa.table(
                {
                    "d": pa.array([0, 10**8, None, 1], pa.int32()).view(pa.date32()),
                    "t": pa.array([0, 0, 2**63 - 1, None], pa.int64()).view(types.TIMESTAMPTZ),
                    columns.INGESTED_AT: [1, 2, 3, 4],
                }
            )
        )
        with pytest.raises(Unloadable) as refused:
            destination.load(made, Load(FEED, 0, 1, 1, given))
        assert [(r.row, r.code) for r in refused.value.refusals] == [(1, "INCOMPATIBLE_TYPE"), (2, "INCOMPATIBLE_TYPE")]
        assert destination.held(FEED, "far") is None
        destination.load(made, Load(FEED, 0, 1, 1, given, frozenset({1, 2})))
        assert len(self.contents(destination, "far")) == 2

    # Append, and what is held.

    def test_append_keeps_every_row(self, destination: Destination[Any]) -> None:
        made, given = counted("kept")
        destination.ensure(made)
        loaded = destination.load(made, Load(FEED, 0, 1, 7, given))
        assert loaded == Loaded(given.count, inserted=given.count)
        again = destination.load(made, Load(FEED, 1, 2, 8, given))
        assert again.inserted == given.count
        found = self.contents(destination, "kept")
        assert sorted(row["k"] for row in found) == sorted(given.table.column("k").to_pylist() * 2)
        assert {row[columns.LOADED_AT] for row in found} == {7, 8}

    def test_rows_that_are_appended_may_get_their_key_later(self, destination: Destination[Any]) -> None:
        schema = {"v": types.LONG, columns.INGESTED_AT: types.LONG}
        made = table("late_key", {"v": types.LONG}, mode="append")
        destination.ensure(made)
        destination.load(made, Load(FEED, 0, 1, 7, rows(schema, (1, 1))))
        keyed = table("late_key", {"v": types.LONG, "k": types.LONG}, key=("k",), mode="append")
        destination.ensure(keyed)
        destination.load(keyed, Load(FEED, 1, 2, 7, rows(schema | {"k": types.LONG}, (2, 1, 5))))
        found = self.contents(destination, "late_key")
        assert {(row["v"], row.get("k")) for row in found} == {(1, None), (2, 5)}

    def test_the_last_segment_is_held_beside_the_rows(self, destination: Destination[Any]) -> None:
        made, given = counted("noted")
        assert destination.held(FEED, "noted") is None
        destination.ensure(made)
        assert destination.held(FEED, "noted") is None
        destination.load(made, Load(FEED, 0, 3, 7, given))
        assert destination.held(FEED, "noted") == 3
        assert destination.held("other/1", "noted") is None
        other = self.another()
        assert other.held(FEED, "noted") == 3
        other.close()

    def test_which_segment_is_held_is_told_by_its_file(self, destination: Destination[Any]) -> None:
        made, given = counted("told__fresh")
        assert not destination.feeds(made.name)
        destination.ensure(made)
        destination.load(made, Load(FEED, 0, 3, 7, given, staged_file="one.arrow"))
        assert destination.holding(FEED, made.name) == Held(3, "one.arrow")
        destination.load(made, Load(FEED, 3, 4, 7, given, staged_file="other.arrow"))
        destination.swap(made.name, "told")
        assert destination.holding(FEED, "told") == Held(4, "other.arrow")
        assert destination.holding(FEED, made.name) is None
        assert (set(destination.feeds("told")), set(destination.feeds(made.name))) == ({FEED}, set())
        destination.load(replace(made, name="told"), Load(FEED, 4, 5, 7, given))
        assert destination.holding(FEED, "told") == Held(5)

    @pytest.mark.parametrize("after", [1, 2, 4])
    def test_a_load_that_does_not_follow_is_refused(self, destination: Destination[Any], after: int) -> None:
        made, given = counted("followed")
        destination.ensure(made)
        destination.load(made, Load(FEED, 0, 3, 7, given))
        with pytest.raises(Stale):  # I4
            destination.load(made, Load(FEED, after, 5, 7, given))
        assert destination.held(FEED, "followed") == 3
        assert len(self.contents(destination, "followed")) == given.count

    def test_a_first_load_must_start_at_the_beginning(self, destination: Destination[Any]) -> None:
        made, given = counted("begun")
        destination.ensure(made)
        with pytest.raises(Stale):
            destination.load(made, Load(FEED, 1, 2, 7, given))

    def test_rows_that_break_off_leave_nothing(self, destination: Destination[Any]) -> None:
        made, given = counted("broken")
        destination.ensure(made)
        destination.load(made, Load(FEED, 0, 1, 7, given))
        with pytest.raises(BrokenStage):
            destination.load(made, Load(FEED, 1, 2, 7, Breaking(given)))
        assert destination.held(FEED, "broken") == 1  # I3
        assert len(self.contents(destination, "broken")) == given.count
        destination.load(made, Load(FEED, 1, 2, 7, given))
        assert len(self.contents(destination, "broken")) == 2 * given.count

    @pytest.mark.spec("loading.21.8")
    @pytest.mark.parametrize(("moment", "held"), [("while rows are read", None), ("before it is noted elsewhere", 1)])
    def test_a_killed_load_is_whole_or_not_at_all(
        self, destination: Destination[Any], moment: str, held: int | None
    ) -> None:
        made, given = counted("killed")
        destination.ensure(made)
        destination.close()
        done = subprocess.run(  # noqa: S603  our own program
            [sys.executable, "-c", _KILLED, self.type_, json.dumps(self.config()), moment],
            capture_output=True,
            check=False,
        )
        assert done.returncode == 9, done.stderr
        assert destination.held(FEED, "killed") == held  # I8
        assert len(self.contents(destination, "killed")) == (given.count if held else 0)
        destination.load(made, Load(FEED, held or 0, 2, 7, given))
        assert len(self.contents(destination, "killed")) == given.count * (2 if held else 1)

    def test_refused_rows_stay_out(self, destination: Destination[Any]) -> None:
        made, given = counted("sifted")
        destination.ensure(made)
        out = frozenset({0, 5, given.count - 1})
        loaded = destination.load(made, Load(FEED, 0, 1, 7, given, out))
        assert (loaded.rows, loaded.inserted, loaded.refused) == (given.count, given.count - 3, 3)
        left = [k for n, k in enumerate(given.table.column("k").to_pylist()) if n not in out]
        assert sorted(row["k"] for row in self.contents(destination, "sifted")) == sorted(left)

    def test_a_load_without_rows_is_noted(self, destination: Destination[Any]) -> None:
        made, given = counted("empty")
        destination.ensure(made)
        assert destination.load(made, Load(FEED, 0, 1, 7, Rows(given.table.slice(0, 0)))).inserted == 0
        assert destination.held(FEED, "empty") == 1

    def test_a_forgotten_feed_starts_again(self, destination: Destination[Any]) -> None:
        made, given = counted("forgotten")
        destination.ensure(made)
        destination.load(made, Load(FEED, 0, 2, 7, given))
        destination.load(made, Load("other/1", 0, 4, 7, given))
        destination.forget(FEED, "forgotten")
        assert destination.held(FEED, "forgotten") is None
        assert destination.held("other/1", "forgotten") == 4
        destination.load(made, Load(FEED, 0, 1, 7, given))
        assert len(self.contents(destination, "forgotten")) == 3 * given.count

    def test_an_ingestion_prefix_of_ones_own_is_kept(self, destination: Destination[Any]) -> None:
        made, given = counted("prefixed")
        prefix = columns.Prefix("__mr_")
        own = Table(
            made.name,
            made.columns,
            type(PLAIN)(
                made.meta.ingested_at, "__mr_seq", "__mr_op", prefix.outside(columns.LOADED_AT), loads="__mr__loads"
            ),
            mode="append",
        )
        destination.loads = "__mr__loads"
        destination.ensure(own)
        destination.load(own, Load(FEED, 0, 1, 7, given))
        assert destination.held(FEED, "prefixed") == 1
        assert {row["__mr__loaded_at"] for row in self.contents(destination, "prefixed")} == {7}

    # Names and width.

    @pytest.mark.parametrize("name", NAMES)
    def test_hostile_names_are_names(self, destination: Destination[Any], name: str) -> None:
        victims, given = counted("victims")
        destination.ensure(victims)
        destination.load(victims, Load(FEED, 0, 1, 7, given))
        merges = "merge" in destination.limits.modes
        made = table(name, {name: types.LONG, "v": types.VARCHAR}, key=(name,), mode="merge" if merges else "append")
        destination.ensure(made)
        schema = {name: types.LONG, "v": types.VARCHAR, columns.INGESTED_AT: types.LONG}
        destination.load(made, Load(FEED, 0, 1, 1, rows(schema, (1, name, 1), (2, "b", 1))))
        assert destination.ensure(made) == []
        assert destination.held(FEED, name) == 1
        found = self.contents(destination, name)
        assert {(row[name], row["v"]) for row in found} == {(1, name), (2, "b")}
        assert len(self.contents(destination, "victims")) == given.count
        destination.drop(name)
        assert destination.schema(name) is None

    def test_a_thousand_columns_fit(self, destination: Destination[Any]) -> None:
        business = {f"c{i:04}": self.wide_type for i in range(1000)}
        made = table("wide", business, key=("c0000",), mode=destination.limits.modes[0])
        destination.ensure(made)
        schema = {**business, columns.INGESTED_AT: types.LONG}
        destination.load(made, Load(FEED, 0, 1, 1, rows(schema, *(tuple(range(n, n + 1001)) for n in range(3)))))
        found = self.contents(destination, "wide", order='"c0000"')
        assert [row["c0999"] for row in found] == [999, 1000, 1001]

    # Whole tables.

    def test_a_fresh_table_takes_the_place_of_the_old(self, destination: Destination[Any]) -> None:
        old, given = counted("place")
        fresh = Table("place__fresh", old.columns, old.meta, old.key, old.mode)
        for made, count in ((old, given.count), (fresh, 4)):
            destination.ensure(made)
            destination.load(made, Load(f"feed/{made.name}", 0, 2, 7, Rows(given.table.slice(0, count))))
        destination.swap("place__fresh", "place")
        assert len(self.contents(destination, "place")) == 4
        assert destination.schema("place__fresh") is None
        assert destination.held("feed/place__fresh", "place") == 2
        assert destination.held("feed/place", "place") is None
        destination.load(old, Load("feed/place__fresh", 2, 3, 7, given))
        destination.ensure(fresh)
        assert len(self.contents(destination, "place")) == 4 + given.count

    def test_a_swap_works_when_there_is_no_old_table(self, destination: Destination[Any]) -> None:
        fresh, given = counted("first__fresh")
        destination.ensure(fresh)
        destination.load(fresh, Load(FEED, 0, 1, 7, given))
        destination.swap("first__fresh", "first")
        assert len(self.contents(destination, "first")) == given.count
        assert destination.held(FEED, "first") == 1

    def test_a_swap_without_a_fresh_table_changes_nothing(self, destination: Destination[Any]) -> None:
        made, given = counted("stays")
        destination.ensure(made)
        destination.load(made, Load(FEED, 0, 1, 7, given))
        with pytest.raises(ConfigError):
            destination.swap("never_made", "stays")
        assert len(self.contents(destination, "stays")) == given.count

    def test_a_dropped_table_is_gone_with_its_note(self, destination: Destination[Any]) -> None:
        made, given = counted("dropped")
        assert destination.dropping("dropped") == []
        destination.ensure(made)
        destination.load(made, Load(FEED, 0, 1, 7, given))
        planned = destination.dropping("dropped")
        assert [one.kind for one in planned] in (["drop"], []), "no statement where there is no SQL"
        assert destination.schema("dropped") is not None
        destination.drop("dropped")
        destination.drop("dropped")
        assert destination.schema("dropped") is None
        assert destination.held(FEED, "dropped") is None
        destination.ensure(made)
        destination.load(made, Load(FEED, 0, 1, 7, given))
        assert len(self.contents(destination, "dropped")) == given.count

    # Reading.

    def test_a_tally_counts_local_days(self, destination: Destination[Any]) -> None:
        kept = {"kept": types.BOOLEAN}
        made = table("tallied", {"name": types.VARCHAR, "at": types.TIMESTAMPTZ, **kept}, mode="append")
        destination.ensure(made)
        evening = 1_700_000_000_000_000 - 1_700_000_000_000_000 % 86_400_000_000 + 20 * 3_600_000_000
        schema = {"name": types.VARCHAR, "at": types.TIMESTAMPTZ, **kept, columns.INGESTED_AT: types.LONG}
        later = evening + 3_600_000_000
        values = [("a", evening, True), ("a", later, False), ("A", evening, None), ("a", None, True)]
        given = rows(schema, *((*row, 1) for row in values))
        destination.load(made, Load(FEED, 0, 1, 1, given))
        days = LocalDays(date(2023, 11, 1), date(2023, 11, 30), "UTC")
        utc = destination.tally("tallied", "name", "at", days, {})
        assert sorted(utc) == [("A", "2023-11-14", 1), ("a", "2023-11-14", 2)]
        india = destination.tally("tallied", "name", "at", replace(days, timezone="Asia/Kolkata"), {})
        assert sorted(india) == [("A", "2023-11-15", 1), ("a", "2023-11-15", 2)]
        assert [*destination.tally("tallied", "name", "at", days, {"kept": True})] == [("a", "2023-11-14", 1)]
        not_kept = destination.tally("tallied", "name", "at", days, {"kept": False})
        assert sorted(not_kept) == [("A", "2023-11-14", 1), ("a", "2023-11-14", 1)]

    @pytest.mark.parametrize("zone", ["America/Vancouver", "Africa/Casablanca", "America/Sao_Paulo", "Europe/Dublin"])
    def test_a_tally_takes_days_as_python_has_them(self, destination: Destination[Any], zone: str) -> None:
        """Whichever table of time zones the system has; those of Morocco and British Columbia have changed of late."""
        made = table("days", {"name": types.VARCHAR, "at": types.TIMESTAMPTZ}, mode="append")
        destination.ensure(made)
        first = datetime(2026, 2, 1, tzinfo=UTC)
        moments = [first + timedelta(hours=half / 2, microseconds=half % 2) for half in range(2 * 24 * 300)]
        schema = {"name": types.VARCHAR, "at": types.TIMESTAMPTZ, columns.INGESTED_AT: types.LONG}
        micros = [(one - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1) for one in moments]
        destination.load(made, Load(FEED, 0, 1, 1, rows(schema, *(("a", one, 1) for one in micros))))
        days = LocalDays(date(2026, 2, 10), date(2026, 11, 20), zone)
        found = {day: count for _, day, count in destination.tally("days", "name", "at", days, {})}
        truth = Counter(one.astimezone(ZoneInfo(zone)).date() for one in moments)
        for day, count in truth.items():
            if days.first <= day <= days.last:
                assert found[day.isoformat()] == count, day

    def test_rows_are_counted_by_ranges_of_a_key(self, destination: Destination[Any]) -> None:
        made = table("sized", {"k": types.LONG, "kept": types.BOOLEAN}, mode="append")
        destination.ensure(made)
        schema = {"k": types.LONG, "kept": types.BOOLEAN, columns.INGESTED_AT: types.LONG}
        given = rows(schema, (-5, True, 1), (1, False, 1), (10, None, 1), (11, True, 1), (12, True, 1))
        destination.load(made, Load(FEED, 0, 1, 1, given))
        ranges = [(None, 0), (1, 10), (11, None)]
        assert destination.sizes("sized", "k", ranges, {}) == (12, [1, 2, 2])
        assert destination.sizes("sized", "k", ranges, {"kept": True}) == (12, [1, 0, 2])
        assert destination.sizes("sized", "k", ranges, {"kept": False}) == (10, [0, 2, 0])
        assert destination.sizes("sized", "", [(None, None)], {}) == (None, [5])

    def test_a_query_may_ask_for_few_rows(self, destination: Destination[Any]) -> None:
        made, given = counted("asked")
        destination.ensure(made)
        destination.load(made, Load(FEED, 0, 1, 7, given))
        place = self.place(destination)
        assert destination.query(f'SELECT * FROM {place}"asked"', limit=3).num_rows == 3
        assert destination.query(f'SELECT * FROM {place}"asked" WHERE k < 0', limit=3).num_rows == 0
        assert destination.query(f'SELECT count(*) AS n FROM {place}"asked";').to_pylist() == [{"n": given.count}]

    def test_a_row_is_found_by_the_text_of_a_value(self, destination: Destination[Any]) -> None:
        texts = ["it's", 'a"b', "back\\", "\\' OR 1=1 -- ", "Größe 名前 🚂", "$1 %s ?", " x "]
        every = {
            "t": (types.VARCHAR, texts, texts),
            "n": (types.LONG, [7, 2**60], ["7", str(2**60)]),
            "d": (types.decimal(10, 2), [Decimal("1.50"), Decimal("-2.00")], ["1.5", "-2"]),
            "f": (types.DOUBLE, [0.1, 1e20], ["0.1", "1e+20"]),
            "b": (types.BOOLEAN, [True, False], ["true", "false"]),
            "day": (types.DATE, [date(2026, 1, 2)], ["2026-01-02"]),
            "at": (types.TIMESTAMPTZ, [datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)], ["2026-01-02T03:04:05Z"]),
            "local": (types.TIMESTAMP, [datetime(2026, 1, 2, 3, 4, 5, 600)], ["2026-01-02T03:04:05.0006"]),
            "j": (
                types.JSON,
                ['{"a":[1,"x"]}', '"text"', '{"zz":{"yy":1.5,"x":[]},"a":"ü"}'],
                ['{"a":[1,"x"]}', "text", '{"zz": {"yy":1.5, "x":[]}, "a":"ü"}'],
            ),
        }
        business = {name: type_ for name, (type_, _, _) in every.items()}
        made = table("sought", {"k": types.LONG, **business}, mode="append")
        lines = [tuple((*values, *[None] * 9)[n] for _, values, _ in every.values()) for n in range(len(texts))]
        given = rows(
            {"k": types.LONG, **business, columns.INGESTED_AT: types.LONG},
            *((n, *line, 1) for n, line in enumerate(lines)),
        )
        destination.ensure(made)
        destination.load(made, Load(FEED, 0, 1, 7, given))
        for name, (_, _, typed) in every.items():
            for n, text in enumerate(typed):
                found = destination.having("sought", {name: text}, limit=9)
                assert found is not None and found.column("k").to_pylist() == [n], (name, text)
        both = destination.having("sought", {"t": texts[0], "n": "7"}, limit=9)
        assert both is not None and both.num_rows == 1
        assert not destination.having("sought", {"t": texts[0], "n": "8"}, limit=9)
        for nowhere in ({"n": "seven"}, {"none": "1"}):
            assert destination.having("sought", nowhere, limit=9) is None
        assert destination.having("no_such_table", {"n": "7"}, limit=9) is None

    @pytest.mark.parametrize(
        "sql", ["SELEKT 1", "SELECT * FROM no_such_table", "DROP TABLE asked", "SELECT 1; SELECT 2"]
    )
    def test_a_query_that_cannot_be_answered_is_the_askers_mistake(
        self, destination: Destination[Any], sql: str
    ) -> None:
        made, given = counted("asked")
        destination.ensure(made)
        destination.load(made, Load(FEED, 0, 1, 7, given))
        with pytest.raises(ConfigError):
            destination.query(sql)
        assert len(self.contents(destination, "asked")) == given.count

    # The connection.

    def test_a_good_connection_passes_every_step(self, destination: Destination[Any]) -> None:
        verdicts = destination.check()
        assert verdicts
        assert {verdict.state for verdict in verdicts} == {"pass"}
        assert destination.check() == verdicts

    def test_it_may_be_closed_twice_and_used_again(self, destination: Destination[Any]) -> None:
        made, given = counted("reopened")
        destination.ensure(made)
        destination.close()
        destination.close()
        destination.load(made, Load(FEED, 0, 1, 7, given))
        assert destination.held(FEED, "reopened") == 1

    def test_two_pipelines_load_one_destination_at_once(self) -> None:
        def work(name: str, feed: str) -> None:
            mine = self.another()
            made, given = counted(name)
            try:
                for segment in range(5):
                    mine.ensure(made)
                    mine.load(made, Load(feed, segment, segment + 1, 7, given))
            finally:
                mine.close()

        at_once([lambda: work("shared", "a/1"), lambda: work("shared", "b/1"), lambda: work("own", "c/1")])
        destination = self.another()
        _, given = counted("any")
        assert len(self.contents(destination, "shared")) == 10 * given.count
        assert len(self.contents(destination, "own")) == 5 * given.count
        assert [destination.held(f, t) for f, t in (("a/1", "shared"), ("b/1", "shared"), ("c/1", "own"))] == [5, 5, 5]
        destination.close()

    def test_of_two_workers_on_one_feed_only_one_loads(self) -> None:
        made, given = counted("raced")
        first = self.another()
        first.ensure(made)
        first.close()
        ends: list[str] = []

        def work() -> None:
            mine = self.another()
            try:
                mine.load(made, Load(FEED, 0, 1, 7, given))
                ends.append("loaded")
            except Stale:
                ends.append("stale")
            finally:
                mine.close()

        at_once([work] * 4)
        assert sorted(ends) == ["loaded", "stale", "stale", "stale"]
        destination = self.another()
        assert len(self.contents(destination, "raced")) == given.count
        destination.close()

    @pytest.mark.parametrize("mode", ["merge", "history"])
    def test_a_mode_that_it_does_not_have_is_refused_early(self, destination: Destination[Any], mode: Any) -> None:
        made = table("moded", {"k": types.LONG}, key=("k",), mode=mode)
        if mode in destination.limits.modes:
            destination.ensure(made)
            assert destination.schema("moded") is not None
            return
        with pytest.raises(ConfigError):
            destination.ensure(made)
        assert destination.schema("moded") is None

    @pytest.mark.spec("loading.21.2")
    def test_a_100000_row_append_equals_its_source(self, destination: Destination[Any]) -> None:
        made = table("many", {"k": types.LONG, "v": types.VARCHAR}, mode="append")
        destination.ensure(made)
        events = shuffled()
        destination.load(made, Load(FEED, 0, 1, 1, events))
        given = zip(*(events.table.column(name).to_pylist() for name in ("k", "v")), strict=True)
        found = ((row["k"], row["v"]) for row in self.contents(destination, "many"))
        assert Counter(found) == Counter(given)


# A process of its own that dies in the middle of a load, or right after it.
_KILLED = """
import json, os, sys
import pyarrow as pa
from millrace.connect import registry
from millrace.connect.destination import Load
from millrace.connect.testing.destination import FEED
from millrace.connect.testing.rows import Rows, counted

class Deadly(Rows):
    def reader(self, columns=None):
        def batches():
            yield self.table.slice(0, 3).combine_chunks().to_batches()[0]
            os._exit(9)
        return pa.RecordBatchReader.from_batches(self.schema, batches())

type_, config, moment = sys.argv[1:]
made = registry.destination(type_)
table, given = counted("killed")
rows = Deadly(given.table) if moment == "while rows are read" else given
made(made.Config.model_validate(json.loads(config))).load(table, Load(FEED, 0, 1, 7, rows))
os._exit(9)
"""


class BrokenStage(MillraceError):
    """What a stage says whose file is damaged."""


class Breaking(Rereadable):
    """Rows that can be read only in part."""

    def __init__(self, whole: Rows) -> None:
        self._whole = whole

    @property
    def schema(self) -> pa.Schema:
        return self._whole.schema

    @property
    def count(self) -> int:
        return self._whole.count

    def reader(self, columns: Collection[str] | None = None) -> pa.RecordBatchReader:
        del columns

        def batches() -> Iterator[pa.RecordBatch]:
            yield self._whole.table.slice(0, 3).combine_chunks().to_batches()[0]
            raise BrokenStage("the file is damaged")

        return pa.RecordBatchReader.from_batches(self.schema, batches())


def at_once(works: list[Callable[[], None]]) -> None:
    """Runs them in threads, all at once, and raises the first error of any."""
    errors: list[BaseException] = []

    def run(work: Callable[[], None]) -> None:
        try:
            work()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
