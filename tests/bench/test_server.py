"""The benchmark's own server: whoever walks it by CleverTap's protocol gets every record once."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import httpx
import pytest
from tests.bench import pages
from tests.bench.floor import VARIANTS
from tests.bench.server import PASSCODE, page_size, serving

EVENTS = 12_000


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, pages.Pages]]:
    """A small data set, served."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("pages")
        patch.setattr(pages.tempfile, "gettempdir", lambda: str(folder))
        found = pages.render(EVENTS)
    with serving(found.folder) as url:
        yield url, found


def walked(url: str, name: str, found: pages.Pages, batch_size: int = 5000) -> list[list[dict[str, object]]]:
    """The pages of all days of one event."""
    headers = {"X-CleverTap-Passcode": PASSCODE}
    got: list[list[dict[str, object]]] = []
    with httpx.Client(base_url=url, headers=headers) as client:
        days = {"from": int(f"{found.first:%Y%m%d}"), "to": int(f"{found.last:%Y%m%d}")}
        opened = client.post(f"/1/events.json?batch_size={batch_size}", json={"event_name": name} | days)
        cursor = opened.json()["cursor"]
        while cursor:
            answer = client.get(f"{url}/1/events.json?cursor={cursor}").json()
            assert answer["status"] == "success"
            got.append(answer.get("records", []))
            cursor = answer.get("next_cursor")
    return got


def test_walks_of_all_events_give_every_record_once(data: tuple[str, pages.Pages]) -> None:
    url, found = data
    records = [str(record) for name in found.names for page in walked(url, name, found) for record in page]
    assert len(records) == EVENTS
    # Names stand in the request alone, so equal records of two events are possible in principle, but not in fact.
    assert len(set(records)) == found.distinct < EVENTS


def test_pages_are_no_larger_than_whole_shards_and_both_ends_occur(data: tuple[str, pages.Pages]) -> None:
    url, found = data
    walks = [walked(url, name, found, batch_size=250) for name in found.names]
    assert page_size(250) == 230
    assert all(len(page) <= 230 for walk in walks for page in walk)
    assert {len(walk[-1]) == 0 for walk in walks} == {True, False}


def test_a_window_has_only_its_days(data: tuple[str, pages.Pages]) -> None:
    _, found = data
    windows = found.windows()
    assert len(windows) == 7
    assert (windows[0][1], windows[-1][0]) == (found.last, found.first)
    shelf = pages.Shelf(found)
    spans = sorted(shelf.span(0, first, last) for first, last in windows)
    assert spans[0][0] == 0
    assert all(before[1] == after[0] for before, after in pairwise(spans))


@pytest.mark.parametrize("variant", sorted(VARIANTS["duckdb"]))
def test_each_floor_lands_every_event(data: tuple[str, pages.Pages], variant: str, tmp_path: Path) -> None:
    import duckdb

    url, found = data
    VARIANTS["duckdb"][variant](url, found.folder, str(tmp_path / "floor.duckdb"))
    with duckdb.connect(str(tmp_path / "floor.duckdb")) as connection:
        rows = connection.execute(
            'SELECT count(*), count(DISTINCT (event_name, "objectId", ts)) FROM events'
        ).fetchall()
    assert rows == [(EVENTS, found.distinct)]
