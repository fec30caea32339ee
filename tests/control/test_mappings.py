"""The Schema Mapper: what a person changes is a version, the table follows, and no staged row is lost by it."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest
import sqlalchemy as sa
from tests.engine.kit import PIPELINE, Rig, SetClock, Shaky, items, rig, types
from tests.postgres import Database

from millrace.control.books import leases
from millrace.control.connecting import connections
from millrace.control.database.tables import segments
from millrace.control.home import Home
from millrace.control.mapper import mapping_edits, mapping_views, mappings
from millrace.control.mapper.mapping_views import Overview
from millrace.control.mapper.mappings import Bulk, By
from millrace.control.pipeline import objects
from millrace.control.running import runs
from millrace.data.batch import Checkpoint
from millrace.engine.policy import BY_HAND, Policy
from millrace.errors import ConfigError, EnvironmentProblem, MillraceError

__all__ = ["rig", "types"]

HERE = (PIPELINE, "items")


def given(rig: Rig, *pages: list[dict[str, Any]], auto: bool = True, mode: str = "merge", **more: Any) -> Rig:
    """A pipeline whose stream `items` gives a page at each read."""
    tales = [[page, Checkpoint(number)] for number, page in enumerate(pages)]
    rig.script.stream("items", *tales, **{"key": ("id",)} | more)
    return rig.create(mode, auto=auto)


def staged(rig: Rig) -> None:
    """The next page is on the stage, and waits."""
    with rig.crew() as crew:
        crew.sync().ingest(("incremental",))


def loaded(rig: Rig) -> None:
    runs.load(rig.home, PIPELINE, clock=rig.clock)


def overview(rig: Rig) -> Overview:
    return mapping_views.page(rig.home, PIPELINE).items[0]


def looked_at(rig: Rig) -> list[str]:
    """Event types that need a look."""
    return [one.event_type for one in mapping_views.page(rig.home, PIPELINE, status="look").items]


# Versions.


def test_every_change_is_a_version_with_its_author_and_its_reason(rig: Rig):
    given(rig, items(1, n=5)).run()
    before = overview(rig).version
    plan = mappings.rename_column(rig.home, *HERE, "n", "count", By(author="ann", reason="a better word"))
    assert (plan.changed, plan.version) == (True, before + 1)
    assert plan.differences == (mappings.Difference("field n", "n INTEGER", "count INTEGER"),)
    latest = mappings.kept(rig.home, *HERE)
    assert (latest.author, latest.reason, latest.mapping.version) == ("ann", "a better word", before + 1)
    assert mappings.diff(rig.home, *HERE) == list(plan.differences)
    assert mappings.skip(rig.home, *HERE).version == before + 2
    assert mappings.kept(rig.home, *HERE).author  # the user of the operating system


def test_all_that_one_commit_finds_is_one_version_and_rows_carry_no_other(rig: Rig):
    words = [items(1, a=1), items(2, b=1), items(3, a="x"), Checkpoint(1)]
    rig.script.stream("items", words, [items(4, c=1), Checkpoint(2)], key=("id",))
    rig.create().run()
    assert [one.mapping.version for one in mappings.versions(rig.home, *HERE)] == [1]
    rig.run()
    assert [one.mapping.version for one in mappings.versions(rig.home, *HERE)] == [2, 1]
    with rig.home.database.reading() as connection:
        carried = connection.execute(sa.select(segments.c.mapping_version).order_by(segments.c.number)).scalars().all()
    assert (set(carried), carried[-1]) == ({1, 2}, 2)


def test_a_dry_run_says_all_and_changes_nothing(rig: Rig):
    given(rig, items(1, n=5)).run()
    before = mappings.versions(rig.home, *HERE)
    plan = mappings.rename_column(rig.home, *HERE, "n", "count", By(dry_run=True))
    assert plan.dry_run and plan.changed
    assert plan.ddl == ('ALTER TABLE "warehouse"."main"."items" RENAME COLUMN "n" TO "count"',)
    assert mappings.versions(rig.home, *HERE) == before
    assert rig.rows("items", "n") == [5]


def test_a_field_that_no_row_ever_had_is_warned_of(rig: Rig):
    given(rig, items(1, name="x")).run()
    plan = mappings.ignore(rig.home, *HERE, "nmae", By(dry_run=True))
    assert [(one.code, one.field, one.hint) for one in plan.warnings] == [
        ("UNSEEN_FIELD", "nmae", "Did you mean 'name'?")
    ]
    seen = overview(rig).version
    assert mappings.reset(rig.home, *HERE).warnings == ()
    assert mappings.restore(rig.home, *HERE, seen).warnings == ()


def test_nothing_is_kept_where_nothing_differs(rig: Rig):
    given(rig, items(1)).run()
    before = mappings.versions(rig.home, *HERE)
    assert not mappings.include(rig.home, *HERE).changed
    assert mappings.versions(rig.home, *HERE) == before


def test_a_change_waits_for_the_run_that_has_the_pipeline(rig: Rig):
    given(rig, items(1)).run()
    with rig.crew(), pytest.raises(leases.AlreadyRunning):
        mappings.skip(rig.home, *HERE)


def test_any_version_is_made_the_present_one_again(rig: Rig):
    given(rig, items(1, n=5, t="a"), items(2, n=6, t="b")).run()
    first = overview(rig).version
    mappings.rename_column(rig.home, *HERE, "n", "count")
    mappings.ignore(rig.home, *HERE, "t")
    plan = mappings.restore(rig.home, *HERE, first)
    assert plan.version == first + 3
    assert mappings.diff(rig.home, *HERE, first, plan.version) == []
    rig.run()
    assert rig.rows("items", "id", "n", "t") == [(1, 5, "a"), (2, 6, "b")]
    with pytest.raises(ConfigError, match="has no version 99"):
        mappings.restore(rig.home, *HERE, 99)


# Columns, and rows that wait in an older shape.


def test_a_renamed_column_keeps_its_values_and_takes_the_new_ones(rig: Rig):
    given(rig, items(1, n=5), items(2, n=6)).run()
    mappings.rename_column(rig.home, *HERE, "n", "count")
    rig.run()
    assert rig.rows("items", "id", "count") == [(1, 5), (2, 6)]


def test_rows_staged_before_a_rename_are_loaded_whole(rig: Rig):
    given(rig, items(1, n=5), items(2, n=6), items(3, n=7)).run()
    staged(rig)
    assert mappings.rename_column(rig.home, *HERE, "n", "count").waiting_rows == 1
    staged(rig)
    loaded(rig)
    assert rig.rows("items", "id", "count") == [(1, 5), (2, 6), (3, 7)]


def test_rows_staged_before_a_rename_are_loaded_whole_into_a_table_that_is_made_by_it(rig: Rig):
    given(rig, items(1, n=5))
    staged(rig)
    mappings.rename_column(rig.home, *HERE, "n", "count")
    loaded(rig)
    assert rig.rows("items", "id", "count") == [(1, 5)]


def test_a_new_field_never_gets_the_name_that_another_column_had(rig: Rig):
    more: list[dict[str, Any]] = [{"id": 3, "first_name": "c", "First Name": "d"}]
    given(rig, items(1, first_name="a"), items(2, first_name="b"), more).run()
    staged(rig)
    mappings.rename_column(rig.home, *HERE, "first_name", "given")
    rig.run()
    assert rig.rows("items", "id", "given", "first_name_1") == [(1, "a", None), (2, "b", None), (3, "c", "d")]
    with pytest.raises(ConfigError, match=r"was .* the column of the field 'first_name'"):
        mappings.rename_column(rig.home, *HERE, "First Name", "first_name")


def test_values_staged_before_their_field_was_ignored_are_loaded_and_later_ones_are_not(rig: Rig):
    given(rig, items(1, n=5), items(2, n=6), items(3, n=7), mode="append").run()
    staged(rig)
    mappings.ignore(rig.home, *HERE, "n")
    staged(rig)
    loaded(rig)
    assert rig.rows("items", "id", "n") == [(1, 5), (2, 6), (3, None)]
    mappings.unignore(rig.home, *HERE, "n")
    assert overview(rig).status == "AUTO_MAPPED"
    rig.run()
    assert rig.rows("items", "n", order="id")[-1] == 7


def test_the_column_of_an_ignored_field_is_not_made_in_a_new_table(rig: Rig):
    given(rig, items(1, n=5), items(2, n=6)).run()
    mappings.ignore(rig.home, *HERE, "n")
    mappings.delete_table(rig.home, *HERE)
    rig.run()
    assert "n" not in rig.query("SELECT * FROM items")[0]


def test_the_key_and_metadata_cannot_be_ignored(rig: Rig):
    given(rig, items(1, n=5)).run()
    with pytest.raises(ConfigError, match="part of the key"):
        mappings.ignore(rig.home, *HERE, "id")


def test_rows_staged_before_a_narrower_type_are_loaded_as_they_are(rig: Rig):
    given(rig, items(1, t="5"), items(2, t="x")).run()
    staged(rig)
    plan = mappings.change_type(rig.home, *HERE, "t", "LONG")
    assert [one.code for one in plan.warnings] == ["INCOMPATIBLE_MAPPING"]
    loaded(rig)
    assert rig.rows("items", "id", "t") == [(1, "5"), (2, "x")]
    rig.change("DROP TABLE items")  # what is still on the stage is loaded anew, in the shape of its day
    rig.script.tales["items", "incremental"] = [[items(3, t="7"), Checkpoint(9)]]
    rig.run()
    assert rig.rows("items", "id", "t") == [(1, "5"), (2, "x"), (3, "7")]


def test_a_chosen_type_stays_and_values_that_do_not_fit_are_rejected(rig: Rig):
    given(rig, items(1, t=5), [{"id": 2, "t": "6"}], [{"id": 3, "t": "x"}]).run()
    plan = mappings.change_type(rig.home, *HERE, "t", "DECIMAL(12,2)")
    assert plan.ddl is not None and "DECIMAL(12,2)" in plan.ddl[0]
    rig.run()
    rig.run()
    assert [str(value) for value in rig.rows("items", "t", order="id")] == ["5.00", "6.00"]
    assert rig.rejected() == {"INCOMPATIBLE_TYPE": 1}
    assert (overview(rig).status, looked_at(rig)) == ("INCOMPLETE", ["items"])
    mappings.free_type(rig.home, *HERE, "t")
    rig.replay()
    assert rig.rows("items", "t", order="id") == ["5.00", "6.00", "x"]


def test_a_type_that_no_value_fits_is_refused_and_so_is_another_type_of_the_key(rig: Rig):
    given(rig, items(1, at=True)).run()
    for field, type_, why in (("at", "DATE", "none of them can be"), ("id", "VARCHAR", "part of the key")):
        with pytest.raises(ConfigError, match=why):
            mappings.change_type(rig.home, *HERE, field, type_)
    with pytest.raises(ConfigError, match="no column"):
        mappings.rename_column(rig.home, *HERE, "nowhere", "x")


def test_a_change_that_the_table_cannot_follow_is_refused_before_it_is_made(rig: Rig):
    given(rig, items(1, n=5)).run()
    before = overview(rig).version
    with pytest.raises(ConfigError, match="cannot follow") as refused:
        mappings.change_type(rig.home, *HERE, "n", "BOOLEAN")
    assert refused.value.code == "table_unfit"
    assert overview(rig).version == before


# Event types.


def test_a_skipped_event_type_is_left_out_and_what_was_staged_before_is_loaded(rig: Rig):
    given(rig, items(1), items(2), items(3), items(4)).run()
    staged(rig)
    mappings.skip(rig.home, *HERE)
    assert looked_at(rig) == []
    record = rig.run()
    assert (record.balance.filtered, record.balance.even) == ({"skipped": 1}, True)
    assert rig.rows("items", "id") == [1, 2]
    mappings.include(rig.home, *HERE)
    rig.run()
    assert rig.rows("items", "id") == [1, 2, 4]


def test_a_reset_forgets_columns_and_rows_that_wait_keep_theirs(rig: Rig):
    given(rig, items(1, a=1), items(2, a=2), items(3, b=3)).run()
    staged(rig)
    mappings.ignore(rig.home, *HERE, "a")
    mappings.reset(rig.home, *HERE)
    assert [one.name for one in mappings.kept(rig.home, *HERE).mapping.columns] == ["id"]
    loaded(rig)
    rig.run()
    assert rig.rows("items", "id", "a", "b") == [(1, 1, None), (2, 2, None), (3, None, 3)]
    assert [one.name for one in mappings.kept(rig.home, *HERE).mapping.columns] == ["id", "b"]


def test_rows_that_wait_for_the_old_table_are_loaded_there_after_the_event_type_has_moved(rig: Rig):
    given(rig, items(1, n=1), items(2, n=2), items(3, n=3)).run()
    staged(rig)
    mappings.map_to(rig.home, *HERE, "others")
    record = rig.run()
    assert record.balance.even
    assert (rig.rows("items", "id"), rig.rows("others", "id")) == ([1, 2], [3])


def test_a_table_of_the_users_is_filled_by_the_names_of_its_columns(rig: Rig):
    given(rig, [{"id": 1, "Full Name": "a", "age": "7", "more": 1}], auto=False)
    rig.run()
    assert overview(rig).status == "UNMAPPED"
    assert rig.rejected() == {"UNMAPPED_EVENT_TYPE": 1}
    rig.change("CREATE TABLE people (ID BIGINT, full_name VARCHAR, age SMALLINT)")
    plan = mappings.map_to(rig.home, *HERE, "people")
    assert {(one.code, one.field) for one in plan.warnings} == {
        ("UNMAPPED_FIELD", "more"),
        ("INCOMPATIBLE_MAPPING", "age"),
    }
    rig.replay()
    assert rig.rows("people", "id", "full_name", "age") == [(1, "a", 7)]
    with pytest.raises(ConfigError, match="no field 'agge'"):
        mappings.map_to(rig.home, *HERE, "people", {"agge": "age"})


def test_a_column_may_be_chosen_for_a_field_or_none(rig: Rig):
    given(rig, items(1, a="x", b=2, c=3)).run()
    rig.change("CREATE TABLE people (id INTEGER, name VARCHAR)")
    mappings.map_to(rig.home, *HERE, "people", {"a": "name", "b": None})
    rig.script.tales["items", "incremental"] = [[items(2, a="y", b=2, c=3), Checkpoint(9)]]
    rig.run()
    (row,) = rig.query("SELECT * FROM people")
    assert {name: value for name, value in row.items() if "__" not in name} == {"id": 2, "name": "y", "c": 3}


def test_a_table_of_millraces_own_and_a_name_that_is_no_text_are_refused(rig: Rig):
    given(rig, items(1, a=True)).run()
    for name in ("__hevo__loads", "items__fresh", "Other__FRESH", "__mr_gone_1"):
        with pytest.raises(ConfigError, match="are reserved for tables"):
            mappings.map_to(rig.home, *HERE, name)
    for name in ("a\ud800", "a\x7f"):
        with pytest.raises(ConfigError, match=r"is no text|cannot be the name"):
            mappings.map_to(rig.home, *HERE, name)
        with pytest.raises(ConfigError, match=r"is no text|cannot be the name"):
            mappings.rename_column(rig.home, *HERE, "a", name)
    assert len(mappings.versions(rig.home, *HERE)) == 1


def test_a_column_that_can_hold_none_of_the_values_is_refused(rig: Rig):
    given(rig, items(1, a=True)).run()
    rig.change("CREATE TABLE people (id INTEGER, a DATE)")
    with pytest.raises(ConfigError, match="which none of them can be"):
        mappings.map_to(rig.home, *HERE, "people")


def test_an_unmapped_event_type_waits_with_its_rows(rig: Rig):
    given(rig, items(1), items(2), items(3)).run()
    with pytest.raises(ConfigError, match="mapped automatically"):
        mappings.unmap(rig.home, *HERE)
    mappings.set_auto(rig.home, *HERE, False)
    assert overview(rig).status == "MAPPED"
    mappings.unmap(rig.home, *HERE)
    rig.run()
    assert (overview(rig).table, rig.rejected()) == (None, {"UNMAPPED_EVENT_TYPE": 1})
    assert looked_at(rig) == ["items"]
    mappings.map_to(rig.home, *HERE, "items")
    rig.replay()
    rig.run()
    assert rig.rows("items", "id") == [1, 2, 3]


def test_who_has_a_policy_by_which_tables_evolve_is_told_of_it_when_they_unmap(rig: Rig):
    given(rig, items(1)).run()
    mappings.set_policy(rig.home, *HERE, Policy(types="freeze"))
    for auto in (True, False):
        mappings.set_auto(rig.home, *HERE, auto)
        with pytest.raises(ConfigError, match="policy of its own") as refused:
            mappings.unmap(rig.home, *HERE)
        assert "auto mapping" not in f"{refused.value.message} {refused.value.hint}"
        (plan,) = mappings.bulk(rig.home, PIPELINE, "unmap", ["items"])
        assert "policy of its own" in (plan.unchanged or "")
    mappings.set_policy(rig.home, *HERE, Policy(tables="freeze"))
    mappings.unmap(rig.home, *HERE)
    assert overview(rig).table is None


def test_auto_mapping_of_an_event_type_differs_from_the_pipelines(rig: Rig):
    given(rig, items(1), items(2, n=5), items(3, n=6)).run()
    mappings.set_auto(rig.home, *HERE, False)
    rig.run()
    assert "n" not in rig.query("SELECT * FROM items")[0]
    assert overview(rig).status == "INCOMPLETE"
    mappings.set_auto(rig.home, *HERE, None)
    rig.run()
    assert rig.rows("items", "id", "n") == [(1, None), (2, None), (3, 6)]


def test_a_key_is_chosen_for_a_table_that_has_none_and_later_rows_are_told_apart(rig: Rig):
    given(rig, items(1, 1, n=1), items(2, n=2), items(2, n=3), key=()).run()
    with pytest.raises(ConfigError, match="no column for a field 'x'"):
        mappings.set_key(rig.home, *HERE, ["x"])
    mappings.set_key(rig.home, *HERE, ["id"])
    rig.run()
    rig.run()
    assert rig.rows("items", "id", "n") == [(1, 1), (1, 1), (2, 3)]
    with pytest.raises(ConfigError, match="the key of a table stays"):
        mappings.set_key(rig.home, *HERE, ["n"])


def test_a_table_is_deleted_only_when_no_row_waits_or_they_may_go_with_it(rig: Rig):
    given(rig, items(1), items(2), items(3)).run()
    staged(rig)
    with pytest.raises(ConfigError) as refused:
        mappings.delete_table(rig.home, *HERE)
    assert refused.value.code == "rows_waiting"
    plan = mappings.delete_table(rig.home, *HERE, By(dry_run=True), discard_waiting=True)
    assert (plan.ddl, plan.at_once) == (('DROP TABLE IF EXISTS "warehouse"."main"."items"',), True)
    assert rig.exists("items")
    mappings.delete_table(rig.home, *HERE, discard_waiting=True)
    assert not rig.exists("items")
    rig.run()
    assert rig.rows("items", "id") == [3]


def test_many_event_types_are_changed_where_their_status_allows_it(rig: Rig):
    for name in ("a", "b", "c"):
        rig.script.stream(name, [items(1), Checkpoint(1)], key=("id",))
    rig.create().run()
    assert [one.event_type for one in mappings.bulk(rig.home, PIPELINE, "skip", ["A", "b"])] == ["a", "b"]
    assert [one.event_type for one in mappings.bulk(rig.home, PIPELINE, "skip")] == ["c"]
    assert mappings.bulk(rig.home, PIPELINE, "unmap") == []
    assert len(mappings.bulk(rig.home, PIPELINE, "include")) == 3
    assert mappings.bulk(rig.home, PIPELINE, "auto") == []
    mappings.set_auto(rig.home, PIPELINE, "b", False)
    assert [one.event_type for one in mappings.bulk(rig.home, PIPELINE, "unmap")] == ["b"]
    assert [one.event_type for one in mappings.bulk(rig.home, PIPELINE, "auto")] == ["b"]
    with pytest.raises(ConfigError, match="no event type 'd'"):
        mappings.bulk(rig.home, PIPELINE, "skip", ["d"])


def test_an_event_type_that_is_named_and_whose_status_does_not_allow_it_says_why(rig: Rig):
    rig.script.stream("a", [items(1), Checkpoint(1)], key=("id",))
    rig.create().run()

    def why(what: Bulk) -> str | None:
        (plan,) = mappings.bulk(rig.home, PIPELINE, what, ["a"])
        return None if plan.changed else plan.unchanged

    assert why("include") == "it is not skipped"
    assert why("auto") == "it is mapped automatically already"
    assert why("unmap") == "it is mapped automatically; switch auto mapping off first"
    assert why("skip") is None
    assert why("skip") == "it is skipped already"
    several: tuple[Bulk, ...] = ("reset", "unmap", "auto")
    for what in several:
        assert why(what) == "it is skipped; include it first"
    assert why("include") is None
    mappings.set_auto(rig.home, PIPELINE, "a", False)
    assert why("unmap") is None
    assert why("unmap") == "it has no table already"


def test_a_policy_of_its_own_goes_before_the_pipelines(rig: Rig):
    given(rig, items(1), items(2, n=1), items(3, n=2)).run()
    mappings.set_policy(rig.home, *HERE, Policy(columns="discard_row"))
    record = rig.run()
    assert (record.balance.filtered, record.balance.even) == ({"unmapped_field": 1}, True)
    mappings.set_policy(rig.home, *HERE, BY_HAND)
    record = rig.run()
    assert [note.code for note in record.notes] == []
    assert rig.rows("items", "id") == [1, 3]


def test_the_pipelines_policy_holds_for_event_types_that_come_later(rig: Rig):
    rig.script.stream("items", [items(1), Checkpoint(1)], key=("id",))
    rig.create(options={"schema_policy": "ALLOW_COLUMN_LEVEL"}).run()
    rig.script.stream("late", [items(1), Checkpoint(1)], key=("id",))
    record = rig.run()
    assert (rig.exists("items"), rig.exists("late")) == (True, False)
    assert (record.balance.filtered, record.balance.even) == ({"unmapped_event_type": 1}, True)
    found = {one.event_type: one.status for one in mapping_views.page(rig.home, PIPELINE).items}
    assert found == {"items": "AUTO_MAPPED", "late": "UNMAPPED"}
    mappings.map_to(rig.home, PIPELINE, "late", "late")
    rig.run()
    assert rig.rows("late", "id") == [1]


# How a mapping stands.


@pytest.mark.spec("loading.21.10")
def test_the_status_follows_what_becomes_of_an_event_type(rig: Rig):
    given(rig, items(1), items(2, n=1))
    staged(rig)
    assert overview(rig).status == "CREATING_TABLE"
    loaded(rig)
    assert (overview(rig).status, overview(rig).mapping_status) == ("AUTO_MAPPED", "MAPPED")
    staged(rig)
    assert (overview(rig).status, overview(rig).mapping_status) == ("ALTERING", "MAPPING_IN_PROGRESS")
    loaded(rig)
    mappings.set_auto(rig.home, *HERE, False)
    assert (overview(rig).status, overview(rig).auto_mapping) == ("MAPPED", False)
    mappings.skip(rig.home, *HERE)
    assert overview(rig).mapping_status == "IGNORED"
    mappings.include(rig.home, *HERE)
    mappings.unmap(rig.home, *HERE)
    assert (overview(rig).mapping_status, overview(rig).table) == ("UNMAPPED", None)


class Looking(SetClock):
    """A clock that looks at the loading status whenever it is asked; a load asks it before it begins."""

    def __init__(self, home: Home) -> None:
        super().__init__()
        self.home = home
        self.seen: list[str] = []

    def now(self) -> datetime:
        self.seen.append(loading(self.home))
        return super().now()


def loading(home: Home) -> str:
    return objects.find(home, PIPELINE, "items").loading


@pytest.mark.spec("loading.21.10")
def test_the_loading_status_follows_what_becomes_of_what_was_staged(rig: Rig):
    rig.destination_type = "shaky"
    rig.script.stream("items", [Checkpoint(0)], [items(1, n=5), Checkpoint(1)], [items(2, n=6), Checkpoint(2)], [])
    rig.create("append").run()
    assert loading(rig.home) == "NOT_STARTED"
    staged(rig)
    assert loading(rig.home) == "QUEUED"
    for code, status in (("locked", "DEFERRED"), ("broken", "FAILED")):
        Shaky.faults = {"load": [("before", EnvironmentProblem("no", code=code))]}
        with pytest.raises(EnvironmentProblem):
            loaded(rig)
        assert loading(rig.home) == status
    clock = Looking(rig.home)
    runs.load(rig.home, PIPELINE, clock=clock)
    assert (set(clock.seen) - {"SUCCESS"}, loading(rig.home)) == ({"IN_PROGRESS"}, "SUCCESS")
    staged(rig)
    assert loading(rig.home) == "QUEUED"
    rig.change("ALTER TABLE items DROP COLUMN n", "ALTER TABLE items ADD COLUMN n DATE")
    with pytest.raises(MillraceError):
        rig.run()
    assert loading(rig.home) == "FAILED"


def test_an_error_of_the_destination_is_shown_at_the_mapping(rig: Rig):
    given(rig, items(1, n=5), items(2, n=6)).run()
    rig.change("ALTER TABLE items DROP COLUMN n", "ALTER TABLE items ADD COLUMN n DATE")
    with pytest.raises(MillraceError):
        rig.run()
    found = overview(rig)
    assert (found.status, found.mapping_status) == ("ERROR", "INCOMPLETE")
    assert found.error is not None and "DATE" in found.error
    assert mapping_views.page(rig.home, PIPELINE, status="incomplete").items == (found,)
    assert looked_at(rig) == [found.event_type]
    assert mapping_views.page(rig.home, PIPELINE, status="look", search="nothing").items == ()
    assert mapping_views.page(rig.home, PIPELINE, search="nothing").items == ()


@pytest.mark.outside
def test_a_destination_that_does_not_answer_leaves_the_mapping_to_be_seen_and_changed(rig: Rig, tmp_path: Any):
    given(rig, items(1, n=5)).run()
    (tmp_path / "warehouse.duckdb").rename(tmp_path / "elsewhere")
    (tmp_path / "warehouse.duckdb").mkdir()
    shown = mapping_views.shown(rig.home, *HERE)
    assert shown.ddl is None and shown.unasked
    plan = mappings.rename_column(rig.home, *HERE, "n", "count")
    assert plan.changed and plan.ddl is None and plan.unasked


# What the destination has become meanwhile (loading.md 15.5).


@pytest.mark.spec("loading.21.6")
def test_a_text_that_is_too_long_waits_until_the_destination_says_that_it_is_cut(rig: Rig):
    given(rig, items(1, t="abc"), items(2, t="ab€defgh"), items(3, t="ok")).run()
    mappings.change_type(rig.home, *HERE, "t", "VARCHAR(5)")
    assert rig.run().balance.rejected == {"mapping/STRING_TOO_LONG": 1}
    assert rig.rejected() == {"STRING_TOO_LONG": 1}
    settings = {"path": str(rig.folder / "warehouse.duckdb"), "on_oversize": "TRUNCATE"}
    rig.clock.advance(60)
    connections.change(rig.home, "destination", "warehouse", config=settings)
    record = rig.run()
    assert rig.rows("items", "id", "t") == [(1, "abc"), (2, "ab€de"), (3, "ok")], "it has tried again by itself"
    assert rig.rejected() == {}
    assert "on_oversize" in next(one.message for one in record.notes if one.code == "STRING_TOO_LONG")


@pytest.mark.spec("loading.21.7")
def test_a_table_or_a_column_that_was_dropped_is_made_again(rig: Rig):
    given(rig, items(1, n=5), items(2, n=6), items(3, n=7)).run()
    rig.change("ALTER TABLE items DROP COLUMN n")
    rig.run()
    assert rig.rows("items", "id", "n") == [(1, None), (2, 6)]
    rig.change("DROP TABLE items")
    rig.run()
    assert rig.rows("items", "id", "n") == [(1, 5), (2, 6), (3, 7)]  # all of it was still on the stage


@pytest.mark.spec("loading.21.7")
def test_without_auto_mapping_a_table_that_was_dropped_stays_away_and_its_rows_wait(rig: Rig):
    rig.script.stream("others", [items(1), Checkpoint(1)], [items(2), Checkpoint(2)], [items(3), Checkpoint(3)])
    given(rig, items(1), items(2), items(3)).run()
    mappings.set_auto(rig.home, *HERE, False)
    rig.change("DROP TABLE items")
    record = rig.run()
    (left,) = [one for one in record.notes if one.code == "table_dropped"]
    assert (record.status, left.level) == ("COMPLETED_WITH_FAILURES", "error")
    assert "items was dropped at the destination" in left.message and "--auto on" in left.message
    assert (record.balance.waiting, record.balance.even) == (1, True)
    assert rig.rows("others", "id") == [1, 2], "the other objects go on"
    assert not rig.exists("items")
    mappings.set_auto(rig.home, *HERE, True)
    rig.run()
    assert rig.rows("items", "id") == [1, 2, 3]


@pytest.mark.spec("loading.21.7")
def test_without_auto_mapping_a_table_that_its_user_made_again_takes_what_waits(rig: Rig):
    given(rig, items(1), items(2), items(3)).run()
    mappings.set_auto(rig.home, *HERE, False)
    rig.change("CREATE TABLE kept AS SELECT * FROM items", "DROP TABLE items")
    rig.run()
    rig.change("CREATE TABLE items AS SELECT * FROM kept", "ALTER TABLE items ADD PRIMARY KEY (id)")
    rig.run()
    assert rig.rows("items", "id") == [1, 2, 3]


@pytest.mark.spec("loading.21.5")
def test_a_column_widens_from_integers_over_fractions_to_text_and_keeps_every_value(rig: Rig):
    given(rig, items(1, v=7), items(2, v=2**40), items(3, v=1.5), items(4, v="abc"))
    found: list[str | None] = []
    for _ in range(4):
        rig.run()
        found.append(next(one.present for one in mapping_views.shown(rig.home, *HERE).fields if one.field == "v"))
    assert found == ["INTEGER", "LONG", "DOUBLE", "VARCHAR"]
    assert rig.rows("items", "v", order="id") == ["7", str(2**40), "1.5", "abc"]


@pytest.mark.spec("loading.21.5")
def test_without_auto_mapping_values_that_do_not_fit_are_failed_events(rig: Rig):
    given(rig, items(1, v=7), items(2, v=2**40), items(3, v=1.5), items(4, v="abc"), items(5, v="8")).run()
    mappings.set_auto(rig.home, *HERE, False)
    for _ in range(4):
        rig.run()
    assert rig.rejected() == {"INCOMPATIBLE_TYPE": 3}
    assert rig.rows("items", "id", "v") == [(1, 7), (5, 8)]


@pytest.mark.spec("loading.21.3")
def test_two_columns_that_are_one_after_sanitizing_keep_their_names_over_restarts(rig: Rig):
    given(rig, [{"id": 1, "a b": 1}], [{"id": 2, "a-b": 2}], [{"id": 3, "a-b": 3, "a b": 4}])
    for _ in range(3):
        rig.run()
    assert rig.rows("items", "id", "a_b", "a_b_1") == [(1, 1, None), (2, None, 2), (3, 4, 3)]


# Text that its table's owner bounded (loading.md 17), at a real PostgreSQL.


@pytest.fixture
def bounded(rig: Rig, database: Database) -> Rig:
    """A pipeline into a table of the user's whose columns are of type varchar(n)."""
    rig.destination_type, rig.destination_config = "postgres", database.settings()
    database.run("CREATE TABLE items (id varchar(5), t varchar(20), u varchar(20))")
    return rig


def test_a_text_too_long_for_the_users_column_makes_it_longer_in_the_same_load(bounded: Rig):
    long = "x" * 300
    given(bounded, [{"id": "1", "t": "short", "u": "a"}, {"id": "2", "t": long, "u": "b"}]).run()
    assert bounded.rows("items", "id", "t", "u") == [("1", "short", "a"), ("2", long, "b")]
    assert bounded.rejected() == {}
    present = {one.field: one.present for one in mapping_views.shown(bounded.home, *HERE).fields}
    assert (present["t"], present["u"]) == ("VARCHAR", "VARCHAR(20)")


def test_the_key_column_of_the_users_is_never_made_longer(bounded: Rig):
    given(bounded, [{"id": "123456", "t": "a"}, {"id": "2", "t": "x" * 21}]).run()
    assert bounded.rejected() == {"STRING_TOO_LONG": 1}
    assert bounded.rows("items", "id") == ["2"]


def test_without_auto_mapping_a_text_too_long_is_a_failed_event(bounded: Rig):
    rows = [{"id": "1", "t": "a", "u": "a"}], [{"id": "2", "t": "x" * 21, "u": "a"}, {"id": "3", "t": "y", "u": "b"}]
    given(bounded, *rows).run()
    mappings.set_auto(bounded.home, *HERE, False)
    bounded.run()
    assert bounded.rejected() == {"STRING_TOO_LONG": 1}
    assert bounded.rows("items", "id") == ["1", "3"]


def test_a_column_that_a_view_holds_stays_and_the_row_is_a_failed_event(bounded: Rig, database: Database):
    database.run("CREATE VIEW held AS SELECT t FROM items")
    given(bounded, [{"id": "1", "t": "x" * 21}, {"id": "2", "t": "y"}]).run()
    assert bounded.rejected() == {"STRING_TOO_LONG": 1}
    assert bounded.rows("items", "id") == ["2"]


def test_an_event_type_that_comes_back_to_its_table_loads_what_waited_there(rig: Rig):
    given(rig, items(1, n=1), items(2, n=2), items(3, n=3), items(4, n=4)).run()
    staged(rig)
    mappings.map_to(rig.home, *HERE, "others")
    staged(rig)
    mappings.map_to(rig.home, *HERE, "items", {"n": None})
    record = rig.run()
    assert record.balance.even
    assert rig.rows("items", "id", "n") == [(1, 1), (2, 2), (4, None)]
    assert rig.rows("others", "id", "n") == [(3, 3)]


def test_an_ignored_field_has_no_column_in_the_table_to_which_the_event_type_moves(rig: Rig):
    given(rig, items(1, n=1), items(2, n=2)).run()
    edits = [mapping_edits.mapping_to("others", {}), mapping_edits.ignoring("n")]
    mappings.change(rig.home, *HERE, edits)
    rig.run()
    assert [name for name in rig.query("SELECT * FROM others")[0] if "__" not in name] == ["id"]


@pytest.mark.parametrize("kind", ["duckdb", "postgres"])
@pytest.mark.parametrize("mode", ["merge", "history"])
def test_a_column_of_the_key_is_renamed_at_the_destination_and_rows_are_still_told_apart(
    rig: Rig, database: Database, kind: str, mode: str
):
    if kind == "postgres":
        rig.destination_type, rig.destination_config = "postgres", database.settings()
    given(rig, items(1, n=1), items(1, n=2), mode=mode).run()
    edits = [mapping_edits.renaming("id", "number"), mapping_edits.renaming("n", "id")]
    with pytest.raises(ConfigError, match=r"was .* the column of the field 'id'"):
        mappings.change(rig.home, *HERE, edits)
    mappings.change(rig.home, *HERE, [edits[0], mapping_edits.renaming("n", "count")])
    rig.clock.advance(60)
    rig.run()
    names = ("number", '"count"')
    assert rig.rows("items", *names, order="2") == ([(1, 2)] if mode == "merge" else [(1, 1), (1, 2)])


def test_a_table_of_another_event_type_or_one_for_which_its_rows_wait_is_not_taken(rig: Rig):
    rig.script.stream("other", [items(1), Checkpoint(1)], key=("id",))
    given(rig, items(1), items(2)).run()
    staged(rig)

    def refused() -> None:
        # DuckDB does not tell one from the other.
        for name in ("items", "ITEMS"):
            with pytest.raises(ConfigError, match="belongs to the event type 'items'"):
                mappings.map_to(rig.home, PIPELINE, "other", name)

    refused()
    mappings.map_to(rig.home, *HERE, "moved")
    refused()
    loaded(rig)
    assert mappings.map_to(rig.home, PIPELINE, "other", "items").changed
