"""What a destination must do with tables that their users changed, and with rows that those do not take."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import replace
from typing import Any

import pytest

from millrace.connect.destination import Column, Destination, Load, Table, Unloadable
from millrace.connect.testing.destination import FEED
from millrace.connect.testing.history import HistoryContract
from millrace.connect.testing.rows import PLAIN, rows, table
from millrace.connect.testing.worked import AFTER, BATCH, BEFORE, example
from millrace.data import columns, types
from millrace.errors import SchemaError


class ChangedContract(HistoryContract):
    """Tests for a destination of which others are users, too."""

    @abstractmethod
    def behind(self, *statements: str) -> None:
        """Somebody else runs SQL in the same place; `{t:name}` stands for a table's qualified name."""

    def merged(self, destination: Destination[Any], name: str = "worked") -> list[tuple[Any, ...]]:
        names = ("k", "v", columns.INGESTED_AT, columns.MARKED_DELETED, columns.LOADED_AT)
        return [tuple(row[n] for n in names) for row in self.contents(destination, name, order="k")]

    def changed(self, destination: Destination[Any], *statements: str) -> Table:
        """The table of the worked example, loaded, then changed by its user."""
        made = example()
        destination.ensure(made)
        destination.load(made, Load(FEED, 0, 1, 11, BEFORE))
        destination.close()
        self.behind(*statements)
        return made

    @pytest.mark.spec("loading.21.7")
    def test_a_dropped_column_comes_back(self, destination: Destination[Any]) -> None:
        made = self.changed(destination, "ALTER TABLE {t:worked} DROP COLUMN v")
        assert [(c.kind, c.column) for c in destination.ensure(made)] == [("add", "v")]
        destination.load(made, Load(FEED, 1, 2, 22, BATCH))
        assert [row[1] for row in self.merged(destination)] == ["a3", None, "c2", "d", "e2", None, "g2"]

    def test_a_dropped_metadata_column_comes_back(self, destination: Destination[Any]) -> None:
        made = self.changed(
            destination,
            f'ALTER TABLE {{t:worked}} DROP COLUMN "{columns.INGESTED_AT}"',
            f'ALTER TABLE {{t:worked}} DROP COLUMN "{columns.MARKED_DELETED}"',
        )
        assert len(destination.ensure(made)) == 2
        # Rows without a time of ingestion count as oldest, so the stale row of the batch is newer now.
        destination.load(made, Load(FEED, 1, 2, 22, BATCH))
        assert [row[1] for row in self.merged(destination)] == ["a3", "stale", "c2", "d", "e2", None, "g2"]

    def test_a_column_dropped_between_ensure_and_load_is_named(self, destination: Destination[Any]) -> None:
        made = self.changed(destination, "ALTER TABLE {t:worked} DROP COLUMN v")
        with pytest.raises(SchemaError) as error:
            destination.load(made, Load(FEED, 1, 2, 22, BATCH))
        assert error.value.code == "COLUMN_MISSING"
        assert destination.held(FEED, "worked") == 1

    @pytest.mark.spec("loading.21.7")
    def test_a_dropped_table_is_made_again(self, destination: Destination[Any]) -> None:
        made = self.changed(destination, "DROP TABLE {t:worked}")
        with pytest.raises(SchemaError) as error:
            destination.load(made, Load(FEED, 1, 2, 22, BATCH))
        assert error.value.code == "TABLE_MISSING"
        assert [c.kind for c in destination.ensure(made)] == ["create"]
        destination.load(made, Load(FEED, 1, 2, 22, BATCH))
        assert len(self.merged(destination)) == 7

    def test_a_view_in_the_place_of_a_table_is_named_and_nothing_is_done_to_it(
        self, destination: Destination[Any]
    ) -> None:
        made = self.changed(destination, "DROP TABLE {t:worked}", "CREATE VIEW {t:worked} AS SELECT 7 AS k")
        for attempt in (lambda: destination.ensure(made), lambda: destination.drop("worked")):
            with pytest.raises(SchemaError, match="'worked' is a view") as error:
                attempt()
            assert error.value.code == "not_a_table"
        destination.ensure(replace(made, name="fresh"))
        with pytest.raises(SchemaError, match="'worked' is a view"):
            destination.swap("fresh", "worked")
        destination.close()
        self.behind("DROP VIEW {t:worked}")
        destination.ensure(made)
        destination.load(made, Load(FEED, 1, 2, 22, BATCH))

    def test_columns_of_the_users_own_are_left_alone_but_a_row_that_comes_again_comes_without_them(
        self, destination: Destination[Any]
    ) -> None:
        made = self.changed(
            destination, "ALTER TABLE {t:worked} ADD COLUMN mine INTEGER", "UPDATE {t:worked} SET mine = 5"
        )
        assert destination.ensure(made) == []
        destination.load(made, Load(FEED, 1, 2, 22, BATCH))
        assert self.merged(destination) == AFTER
        mine = {row["k"]: row["mine"] for row in self.contents(destination, "worked")}
        assert (mine[1], mine[2]) == (None, 5), "a newer version of 1 came, none of 2"

    def test_a_column_made_text_takes_the_values_as_text(self, destination: Destination[Any]) -> None:
        made = table("texted", {"k": types.LONG, "n": types.LONG, "t": types.TIMESTAMPTZ}, key=("k",))
        schema = {"k": types.LONG, "n": types.LONG, "t": types.TIMESTAMPTZ, columns.INGESTED_AT: types.LONG}
        destination.ensure(made)
        destination.close()
        self.behind(
            "ALTER TABLE {t:texted} ALTER COLUMN n TYPE VARCHAR", "ALTER TABLE {t:texted} ALTER COLUMN t TYPE VARCHAR"
        )
        assert destination.ensure(made) == []
        destination.load(made, Load(FEED, 0, 1, 1, rows(schema, (1, 2**62, 1, 1))))
        found = self.contents(destination, "texted")[0]
        assert (found["n"], found["t"]) == (str(2**62), "1970-01-01T00:00:00.000001Z")

    def test_a_column_made_wider_takes_the_values(self, destination: Destination[Any]) -> None:
        made = table("wider", {"k": types.LONG, "n": types.INTEGER}, key=("k",))
        schema = {"k": types.LONG, "n": types.INTEGER, columns.INGESTED_AT: types.LONG}
        destination.ensure(made)
        destination.close()
        self.behind("ALTER TABLE {t:wider} ALTER COLUMN n TYPE DECIMAL(20,2)")
        assert destination.ensure(made) == []
        destination.load(made, Load(FEED, 0, 1, 1, rows(schema, (1, 7, 1))))
        assert self.contents(destination, "wider")[0]["n"] == 7

    def test_a_column_made_incompatible_is_refused(self, destination: Destination[Any]) -> None:
        made = self.changed(
            destination, "ALTER TABLE {t:worked} DROP COLUMN v", "ALTER TABLE {t:worked} ADD COLUMN v DATE"
        )
        wanted = replace(made, columns=tuple(c if c.name != "v" else Column("v", types.DOUBLE) for c in made.columns))
        with pytest.raises(SchemaError) as error:
            destination.ensure(wanted)
        assert "resync" in str(error.value.hint)
        assert "'v'" in error.value.message

    def test_a_key_column_is_not_altered(self, destination: Destination[Any]) -> None:
        made = self.changed(destination)
        wanted = replace(made, columns=tuple(c if c.name != "k" else Column("k", types.VARCHAR) for c in made.columns))
        with pytest.raises(SchemaError):
            destination.ensure(wanted)

    def test_another_primary_key_is_refused(self, destination: Destination[Any]) -> None:
        self.behind(f'CREATE TABLE {{t:keyed}} (k BIGINT, v VARCHAR(99) PRIMARY KEY, "{columns.INGESTED_AT}" BIGINT)')
        with pytest.raises(SchemaError):
            destination.ensure(example("keyed"))

    def test_a_table_of_the_users_with_the_same_key_is_used(self, destination: Destination[Any]) -> None:
        self.behind(
            "CREATE TABLE {t:theirs} (k BIGINT PRIMARY KEY, v VARCHAR(99), note VARCHAR(9))",
            "INSERT INTO {t:theirs} VALUES (1, 'old', 'n'), (99, 'kept', 'n')",
        )
        made = example("theirs")
        destination.ensure(made)
        destination.load(made, Load(FEED, 0, 1, 22, BATCH))
        destination.load(made, Load(FEED, 1, 2, 22, BATCH))
        assert [row[1] for row in self.merged(destination, "theirs")] == [
            "a3", "stale", "c2", "d", "e2", None, "g2", "kept",
        ]  # fmt: skip

    def test_a_column_of_the_users_that_needs_a_value_is_named(self, destination: Destination[Any]) -> None:
        self.behind("CREATE TABLE {t:needy} (k BIGINT, v VARCHAR(99), must INTEGER NOT NULL)")
        with pytest.raises(SchemaError) as error:
            destination.ensure(example("needy"))
        assert "must" in error.value.message

    # Rows that cannot go in.

    def test_a_row_that_a_check_of_the_users_refuses_is_found(self, destination: Destination[Any]) -> None:
        self.behind(
            f'CREATE TABLE {{t:checked}} (k BIGINT, v VARCHAR(99), "{columns.INGESTED_AT}" BIGINT, '
            "CHECK (k % 1000 <> 77))"
        )
        made = example("checked", meta=PLAIN)
        destination.ensure(made)
        schema = {"k": types.LONG, "v": types.VARCHAR, columns.INGESTED_AT: types.LONG}
        given = rows(schema, *((n, "v", n) for n in range(3000)))
        with pytest.raises(Unloadable) as refused:
            destination.load(made, Load(FEED, 0, 1, 1, given))
        assert [(r.row, r.code) for r in refused.value.refusals] == [
            (77, "CONSTRAINT_VIOLATION"),
            (1077, "CONSTRAINT_VIOLATION"),
            (2077, "CONSTRAINT_VIOLATION"),
        ]
        assert destination.held(FEED, "checked") is None
        loaded = destination.load(made, Load(FEED, 0, 1, 1, given, frozenset({77, 1077, 2077})))
        assert (loaded.inserted, loaded.refused) == (2997, 3)

    def test_rows_that_only_together_break_a_constraint_are_found(self, destination: Destination[Any]) -> None:
        self.behind(f'CREATE TABLE {{t:single}} (k BIGINT, v VARCHAR(99) UNIQUE, "{columns.INGESTED_AT}" BIGINT)')
        made = example("single", meta=PLAIN)
        destination.ensure(made)
        schema = {"k": types.LONG, "v": types.VARCHAR, columns.INGESTED_AT: types.LONG}
        given = rows(schema, (1, "a", 1), (2, "b", 1), (3, "a", 1), (4, "d", 1))
        with pytest.raises(Unloadable) as refused:
            destination.load(made, Load(FEED, 0, 1, 1, given))
        assert [(r.row, r.code) for r in refused.value.refusals] == [(2, "CONSTRAINT_VIOLATION")]
        destination.load(made, Load(FEED, 0, 1, 1, given, frozenset({2})))
        assert len(self.contents(destination, "single")) == 3

    def test_a_missing_value_in_a_column_that_must_have_one_is_found(self, destination: Destination[Any]) -> None:
        self.behind(f'CREATE TABLE {{t:full}} (k BIGINT, v VARCHAR(99) NOT NULL, "{columns.INGESTED_AT}" BIGINT)')
        made = example("full", meta=PLAIN)
        destination.ensure(made)
        schema = {"k": types.LONG, "v": types.VARCHAR, columns.INGESTED_AT: types.LONG}
        given = rows(schema, (1, "a", 1), (2, None, 1), (3, "c", 1))
        with pytest.raises(Unloadable) as refused:
            destination.load(made, Load(FEED, 0, 1, 1, given))
        assert [(r.row, r.code) for r in refused.value.refusals] == [(1, "CONSTRAINT_VIOLATION")]
