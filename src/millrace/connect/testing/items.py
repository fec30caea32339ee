"""What a destination that merges must do with tables of the items of arrays: organisations, contacts, their numbers."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from millrace.connect.destination import Destination, Load, Loaded, Nest, Table
from millrace.connect.testing.destination import FEED, DestinationContract
from millrace.connect.testing.rows import META, Rows, rows, table
from millrace.data import columns, types
from millrace.data.batch import LoadMode
from millrace.data.dataclass import dataclass

CONTACT, PHONE = "orgs_contact", "orgs_contact_phone_no"
_OWN = {columns.ID: types.VARCHAR, columns.REF_ID: types.VARCHAR, columns.ARRAY_INDEX: types.INTEGER}
_STAGED = {columns.INGESTED_AT: types.LONG, columns.OP_TYPE: types.VARCHAR, columns.ARRAY_LENGTH: types.INTEGER}
NEST = Nest(columns.ID, columns.REF_ID, columns.ARRAY_INDEX)


@dataclass(frozen=True, slots=True)
class Org:
    """One word on an organisation: its contacts, each a name with numbers; None: the organisation was deleted."""

    key: str
    at: int
    contacts: Sequence[tuple[str, Sequence[str]]] | None


def contacts(mode: LoadMode = "merge") -> Table:
    made = table(CONTACT, {**_OWN, "name": types.VARCHAR}, key=(columns.ID,), mode=mode, meta=META)
    return replace(made, nest=replace(NEST, below=((PHONE, CONTACT),)))


def phones(mode: LoadMode = "merge") -> Table:
    made = table(PHONE, {**_OWN, "value": types.VARCHAR}, key=(columns.ID,), mode=mode, meta=META)
    return replace(made, nest=replace(NEST, parent=CONTACT))


def staged(*orgs: Org) -> tuple[Rows, Rows]:
    """The rows of both tables, as SPLIT makes them."""
    people: list[tuple[Any, ...]] = []
    numbers: list[tuple[Any, ...]] = []
    for org in orgs:
        if not org.contacts:
            people.append((org.key, org.key, None, None, org.at, columns.EMPTY, 0))
        for place, (name, some) in enumerate(org.contacts or ()):
            person = f"{org.key}|contact|{place}"
            people.append((person, org.key, place, name, org.at, None, len(org.contacts or ())))
            if not some:
                numbers.append((person, person, None, None, org.at, columns.EMPTY, 0))
            numbers += [
                (f"{person}|phone_no|{n}", person, n, one, org.at, None, len(some)) for n, one in enumerate(some)
            ]
    return (
        rows({**_OWN, "name": types.VARCHAR, **_STAGED}, *people),
        rows({**_OWN, "value": types.VARCHAR, **_STAGED}, *numbers),
    )


ANN, BOB = ("Ann", ["1", "2"]), ("Bob", ["3"])


class ItemsContract(DestinationContract):
    """Tests for tables of items. A table of items is loaded after the one above it."""

    def taken(self, destination: Destination[Any], segment: int, *orgs: Org) -> tuple[Loaded, Loaded]:
        """One load of both tables."""
        found: list[Loaded] = []
        for made, given in zip((contacts(), phones()), staged(*orgs), strict=True):
            destination.ensure(made)
            loaded = destination.load(made, Load(FEED, segment, segment + 1, 10 * segment + 1, given))
            assert sum(
                (loaded.inserted, loaded.updated, loaded.deleted, loaded.duplicates, loaded.stale, loaded.empty)
            ) == loaded.rows  # fmt: skip
            found.append(loaded)
        return found[0], found[1]

    def live(self, destination: Destination[Any], name: str, value: str) -> list[tuple[str, int, Any]]:
        """Items that are not marked deleted: of whom, at which place, what."""
        found = self.contents(destination, name, order=f'"{columns.ID}"')
        return [
            (row[columns.REF_ID], row[columns.ARRAY_INDEX], row[value])
            for row in found
            if not row[columns.MARKED_DELETED]
        ]

    def people(self, destination: Destination[Any]) -> list[str]:
        return [name for _, _, name in self.live(destination, CONTACT, "name")]

    def numbers(self, destination: Destination[Any]) -> list[str]:
        return [value for _, _, value in self.live(destination, PHONE, "value")]

    @pytest.mark.spec("loading.21.4")
    def test_items_beyond_the_end_of_a_shorter_array_are_marked_with_all_below(
        self, destination: Destination[Any]
    ) -> None:
        first = self.taken(destination, 0, Org("o1", 100, [ANN, BOB]), Org("o2", 100, [BOB]), Org("o3", 100, []))
        assert first == (Loaded(4, inserted=3, empty=1), Loaded(4, inserted=4))
        second = self.taken(destination, 1, Org("o1", 200, [("Ann", ["1"])]))
        assert second == (Loaded(1, updated=1, marked=2), Loaded(1, updated=1, marked=1))
        assert self.live(destination, CONTACT, "name") == [("o1", 0, "Ann"), ("o2", 0, "Bob")]
        assert self.live(destination, PHONE, "value") == [("o1|contact|0", 0, "1"), ("o2|contact|0", 0, "3")]
        marked = [row for row in self.contents(destination, CONTACT) if row[columns.MARKED_DELETED]]
        assert [(row["name"], row[columns.INGESTED_AT], row[columns.LOADED_AT]) for row in marked] == [("Bob", 200, 11)]

    def test_an_empty_array_and_a_deleted_row_above_leave_no_item(self, destination: Destination[Any]) -> None:
        self.taken(destination, 0, Org("o1", 100, [ANN, BOB]), Org("o2", 100, [ANN]), Org("o3", 100, [BOB]))
        loaded = self.taken(destination, 1, Org("o1", 200, []), Org("o2", 200, None))
        assert loaded == (Loaded(2, empty=2, marked=3 + 5), Loaded(0))
        assert (self.people(destination), self.numbers(destination)) == (["Bob"], ["3"])

    def test_items_come_back_when_the_array_is_longer_again(self, destination: Destination[Any]) -> None:
        for segment, some in enumerate(([ANN, BOB], [], [ANN, ("Bob", ["3", "4"])])):
            self.taken(destination, segment, Org("o1", 100 + segment, some))
        assert (self.people(destination), self.numbers(destination)) == (["Ann", "Bob"], ["1", "2", "3", "4"])
        assert len(self.contents(destination, CONTACT)) == 2

    def test_an_older_word_on_an_array_changes_nothing(self, destination: Destination[Any]) -> None:
        self.taken(destination, 0, Org("o1", 100, [ANN, BOB]))
        self.taken(destination, 1, Org("o1", 300, [("Ann", ["1"])]))
        before = self.contents(destination, CONTACT, order=f'"{columns.ID}"')
        for segment, some in enumerate((None, [], [BOB], [ANN, BOB], [BOB, ANN, ANN, ("Cid", ["9"])]), start=2):
            self.taken(destination, segment, Org("o1", 200, some))
            assert (self.people(destination), self.numbers(destination)) == (["Ann"], ["1"])
        after = self.contents(destination, CONTACT, order=f'"{columns.ID}"')
        assert after[:2] == before
        assert [(row["name"], row[columns.INGESTED_AT]) for row in after[2:]] == [("Ann", 300), ("Cid", 300)]
        self.taken(destination, 7, Org("o1", 400, [BOB, BOB, BOB]))
        assert (self.people(destination), self.numbers(destination)) == (["Bob"] * 3, ["3"] * 3)

    def test_the_same_items_twice_change_only_the_time_of_loading(self, destination: Destination[Any]) -> None:
        batch = (Org("o1", 200, [ANN, BOB]), Org("o2", 200, [ANN]), Org("o1", 200, [BOB]), Org("o2", 300, None))
        self.taken(destination, 0, Org("o1", 100, [ANN, BOB, ANN]), Org("o3", 100, [BOB]))
        found: list[list[dict[str, Any]]] = []
        for segment in (1, 2):
            self.taken(destination, segment, *batch)
            found.append(
                [
                    {name: value for name, value in row.items() if name != columns.LOADED_AT}
                    for name in (CONTACT, PHONE)
                    for row in self.contents(destination, name, order=f'"{columns.ID}"')
                ]
            )
        assert found[0] == found[1]
        assert (self.people(destination), self.numbers(destination)) == (["Bob", "Bob"], ["3", "3"])

    def test_of_several_words_in_one_load_the_last_counts(self, destination: Destination[Any]) -> None:
        self.taken(
            destination, 0, Org("o1", 100, [ANN, BOB, BOB]), Org("o1", 100, [BOB]), Org("o2", 100, [ANN]),
            Org("o2", 100, []), Org("o3", 100, None), Org("o3", 100, [ANN]),
        )  # fmt: skip
        assert self.live(destination, CONTACT, "name") == [("o1", 0, "Bob"), ("o3", 0, "Ann")]
        assert self.live(destination, PHONE, "value") == [
            ("o1|contact|0", 0, "3"), ("o3|contact|0", 0, "1"), ("o3|contact|0", 1, "2"),
        ]  # fmt: skip

    def test_an_item_of_a_deleted_row_above_comes_in_as_deleted(self, destination: Destination[Any]) -> None:
        self.taken(destination, 0, Org("o1", 100, [ANN, BOB]), Org("o1", 200, [ANN]))
        assert self.numbers(destination) == ["1", "2"]
        assert len(self.contents(destination, PHONE)) == 3

    def test_an_item_that_goes_for_two_reasons_is_as_new_as_the_newest(self, destination: Destination[Any]) -> None:
        self.taken(destination, 0, Org("o1", 100, [ANN]))
        self.taken(destination, 1, Org("o1", 200, [("Ann", ["1"])]), Org("o1", 300, None))
        found = self.contents(destination, PHONE, order=f'"{columns.ID}"')
        assert [(row["value"], row[columns.INGESTED_AT], row[columns.MARKED_DELETED]) for row in found] == [
            ("1", 300, True), ("2", 300, True),
        ]  # fmt: skip

    def test_a_table_below_that_is_not_there_is_no_hindrance(self, destination: Destination[Any]) -> None:
        made = contacts()
        destination.ensure(made)
        for segment, some in enumerate(([ANN, BOB], [ANN])):
            given, _ = staged(Org("o1", 100 + segment, some))
            assert destination.load(made, Load(FEED, segment, segment + 1, 1, given)).marked == segment
        lonely = phones()
        destination.ensure(replace(lonely, name="lonely", nest=replace(NEST, parent="nowhere")))
        assert destination.schema("lonely") is not None

    def test_items_are_appended_without_marks(self, destination: Destination[Any]) -> None:
        made = contacts("append")
        destination.ensure(made)
        for segment, some in enumerate(([ANN, BOB], [], [ANN])):
            given, _ = staged(Org("o1", 100 + segment, some))
            loaded = destination.load(made, Load(FEED, segment, segment + 1, 1, given))
            assert (loaded.inserted, loaded.empty, loaded.marked) == (len(some), 0 if some else 1, 0)
        assert sorted(self.people(destination)) == ["Ann", "Ann", "Bob"]

    def test_versions_of_items_are_kept_without_marks(self, destination: Destination[Any]) -> None:
        made = contacts("history")
        destination.ensure(made)
        for segment, some in enumerate(([ANN, BOB], [], [("Eve", [])])):
            given, _ = staged(Org("o1", 100_000 * (segment + 1), some))
            loaded = destination.load(made, Load(FEED, segment, segment + 1, 1, given))
            assert (loaded.inserted, loaded.empty) == (len(some), 0 if some else 1)
        active = [row["name"] for row in self.contents(destination, CONTACT) if row[columns.IS_ACTIVE]]
        assert sorted(active) == ["Bob", "Eve"]

    def test_random_words_on_arrays_equal_one_by_one(self, destination: Destination[Any]) -> None:
        dice = random.Random(7)  # noqa: S311  the same in every run, and no secret depends on it
        last: dict[str, Org] = {}
        at = 0
        for segment in range(6):
            words: list[Org] = []
            for _ in range(30):
                at += dice.randrange(2)
                some = [
                    (f"n{dice.randrange(9)}", [str(dice.randrange(9))] * dice.randrange(3))
                    for _ in range(dice.randrange(4))
                ]
                words.append(Org(f"o{dice.randrange(8)}", at, None if dice.random() < 0.15 else some))
                last[words[-1].key] = words[-1]
            self.taken(destination, segment, *words)
            want = [
                (org.key, place, name) for org in last.values() for place, (name, _) in enumerate(org.contacts or ())
            ]
            assert self.live(destination, CONTACT, "name") == sorted(want)
            below = [
                (f"{org.key}|contact|{place}", n, one)
                for org in last.values()
                for place, (_, some) in enumerate(org.contacts or ())
                for n, one in enumerate(some)
            ]
            assert self.live(destination, PHONE, "value") == sorted(below)


__all__ = ["ItemsContract"]
