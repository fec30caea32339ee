from __future__ import annotations

import itertools
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace.errors import ConfigError
from millrace.sources.clevertap import state
from millrace.sources.clevertap.planner import (
    Days,
    Unit,
    history,
    joined,
    lookback,
    newest_first,
    windows,
    without,
)

BERLIN = ZoneInfo("Europe/Berlin")
days = st.dates(date(2026, 1, 1), date(2026, 4, 1))
stretches = st.tuples(days, days).map(lambda pair: (min(pair), max(pair)))


def each(stretch: Days) -> set[date]:
    return {stretch[0] + timedelta(days=number) for number in range((stretch[1] - stretch[0]).days + 1)}


@given(stretches, st.integers(1, 31))
def test_windows_cover_every_day_once_newest_first(stretch: Days, length: int) -> None:
    found = windows(*stretch, length)
    covered = [day for window in found for day in each(window)]
    assert len(covered) == len(set(covered)) and set(covered) == each(stretch)
    assert all((last - first).days < length for first, last in found)
    assert found == sorted(found, reverse=True)


@given(stretches, st.lists(stretches, max_size=5))
def test_what_is_left_and_what_is_done_make_the_whole(whole: Days, done: list[Days]) -> None:
    left = {day for stretch in without(whole, done) for day in each(stretch)}
    assert left == each(whole) - {day for stretch in done for day in each(stretch)}


@given(st.lists(stretches, max_size=6))
def test_joined_stretches_have_the_same_days_and_gaps_between_them(given_: list[Days]) -> None:
    found = joined(given_)
    assert {day for stretch in found for day in each(stretch)} == {day for stretch in given_ for day in each(stretch)}
    assert all(later[0] - earlier[1] > timedelta(days=1) for earlier, later in itertools.pairwise(found))


def test_thirty_days_of_history_are_31_local_dates() -> None:
    first, last = history(datetime(2026, 3, 14, 23, 30, tzinfo=UTC), BERLIN, 30)
    assert (first, last) == (date(2026, 2, 13), date(2026, 3, 15))
    assert len(each((first, last))) == 31


def test_todays_windows_of_all_events_come_first() -> None:
    units = [Unit(name, day, day) for name in "ba" for day in (date(2026, 3, 13), date(2026, 3, 14))]
    assert [(unit.event, unit.last.day) for unit in newest_first(units, ("a", "b"))] == [
        ("a", 14), ("b", 14), ("a", 13), ("b", 13),
    ]  # fmt: skip


NOON = datetime(2026, 3, 14, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("hours_ago", "deep_on", "expected"),
    [
        (1, date(2026, 3, 14), (0, False, False)),
        (6, date(2026, 3, 14), (2, True, False)),
        (None, date(2026, 3, 14), (2, True, False)),
        (1, date(2026, 3, 13), (6, True, True)),
        (1, None, (6, True, True)),
    ],
)
def test_the_three_tiers_of_look_back(hours_ago: int | None, deep_on: date | None, expected: object) -> None:
    used_at = NOON - timedelta(hours=hours_ago) if hours_ago else None
    assert expected == lookback(NOON, BERLIN, days=2, every_hours=6, used_at=used_at, deep_days=6, deep_on=deep_on)


def test_a_deep_look_back_can_be_turned_off() -> None:
    assert lookback(NOON, BERLIN, days=0, every_hours=6, used_at=None, deep_days=0, deep_on=None) == (0, False, False)


def test_states_survive_their_document() -> None:
    now = datetime(2026, 3, 14, 6, 0, 4, tzinfo=UTC)
    following = state.Incremental("Europe/Berlin", {"Charged": state.Followed(now, now, date(2026, 3, 14), "oops")})
    following.standings.refuse("App Lunched", "invalid", now)
    assert state.incremental(following.as_json(), "Europe/Berlin") == following
    past = state.Historical("UTC", {"Charged": state.Past((date(2026, 2, 12), date(2026, 3, 14)))})
    past.events["Charged"].finish((date(2026, 3, 10), date(2026, 3, 14)))
    assert state.historical(past.as_json(), "UTC") == past
    assert past.as_json()["historical"]["done_units"] == {"Charged": [[20260310, 20260314]]}
    assert not past.as_json()["historical"]["complete"]
    past.events["Charged"].finish((date(2026, 2, 12), date(2026, 3, 9)))
    assert past.as_json()["historical"]["complete"]


@pytest.mark.parametrize(
    "cursor", [{}, {"v": 2}, {"v": 1, "incremental": {"a": {}}}, [], "x", {"v": 1, "historical": 3}]
)
def test_a_position_of_another_version_is_refused_with_a_hint(cursor: object) -> None:
    for read in (state.incremental, state.historical):
        with pytest.raises(ConfigError) as refused:
            read(cursor, "UTC")
        assert refused.value.hint


def test_a_refused_export_rests_a_week() -> None:
    standings = state.Standings()
    standings.refuse("a", "not_exportable", NOON)
    assert standings.rests("a", NOON + timedelta(days=6)) and not standings.rests("a", NOON + timedelta(days=7))
    standings.refuse("a", "not_exportable", NOON + timedelta(days=7))
    assert standings.names["a"].since == NOON and standings.rests("a", NOON + timedelta(days=8))
    standings.serve("a")
    assert not standings.names
