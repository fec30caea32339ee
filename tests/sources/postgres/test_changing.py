"""Tables that somebody drops, renames or changes while a history is read: told, or read as they are, and never half."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Literal

import pytest
from tests.postgres import Database
from tests.sources.postgres.log.site import Site, site

from millrace.connect.sql.reading import ranges
from millrace.errors import Transient
from millrace.sources.postgres.session import Session

__all__ = ["site"]


@pytest.fixture(autouse=True)
def tables(shop: Database) -> None:
    """Two tables, of which the first is changed."""
    shop.run(
        "DROP SCHEMA public CASCADE",
        "CREATE SCHEMA public",
        "CREATE TABLE a_changed (id int PRIMARY KEY, v int, w text)",
        "CREATE TABLE b_other (id int PRIMARY KEY)",
        "INSERT INTO a_changed SELECT n, n, 'w' FROM generate_series(1, 5) AS n",
        "INSERT INTO b_other VALUES (1), (2)",
    )


def once(call: Callable[..., Any], before: Callable[[], object]) -> Callable[..., Any]:
    """The call, in front of the first of which something happens."""
    left = [before]

    def called(*words: Any, **more: Any) -> Any:
        if left:
            left.pop()()
        return call(*words, **more)

    return called


TEXT = ("ALTER TABLE a_changed ALTER v TYPE text", "UPDATE a_changed SET v = '0' || v")


@pytest.mark.parametrize("moment", ["listed", "read"])
@pytest.mark.parametrize("mode", ["table", "log"])
@pytest.mark.parametrize(
    ("changes", "names", "there"),
    [
        (("DROP TABLE a_changed",), None, None),
        (("ALTER TABLE a_changed RENAME TO c_renamed",), None, None),
        (TEXT, "id, v, w", [(number, f"0{number}", "w") for number in range(1, 6)]),
        # As long in bytes, and of another meaning.
        (
            ("ALTER TABLE a_changed ALTER v TYPE real",),
            "id, v, w",
            [(number, float(number), "w") for number in range(1, 6)],
        ),
        (("ALTER TABLE a_changed DROP v",), "id, w", [(number, "w") for number in range(1, 6)]),
        (
            ("ALTER TABLE a_changed DROP v, ADD v text", "UPDATE a_changed SET v = 'new'"),
            "id, v",
            [(number, "new") for number in range(1, 6)],
        ),
    ],
    ids=[
        "dropped",
        "renamed",
        "of another type",
        "of another type as long",
        "a column less",
        "another column of the name",
    ],
)
def test_a_table_that_changes_while_its_history_is_read_is_told_or_read_whole_and_harms_no_other(
    site: Site,
    shop: Database,
    monkeypatch: pytest.MonkeyPatch,
    mode: Literal["table", "log"],
    moment: str,
    changes: tuple[str, ...],
    names: str | None,
    there: list[Any] | None,
) -> None:
    site.create(ingestion_mode=mode, full_load_every_hours=0)
    changing = threading.Thread(target=lambda: shop.run(*changes), daemon=True)
    with monkeypatch.context() as patch:
        if moment == "listed":
            patch.setattr(ranges, "read", once(ranges.read, lambda: shop.run(*changes)))
            with suppress(Transient):
                site.run()
        else:
            # Whoever changes it waits.
            patch.setattr(Session, "parts", once(Session.parts, changing.start))
            site.run()
            changing.join(60)
            assert not changing.is_alive()
            found = site.query("SELECT id, w FROM a_changed ORDER BY id")
            assert found == [(number, "w") for number in range(1, 6)]
    for _ in range(2):
        with suppress(Transient):
            site.run()
    assert site.query("SELECT id FROM b_other ORDER BY id") == [(1,), (2,)]
    if there is not None:
        assert site.query(f"SELECT {names} FROM a_changed ORDER BY id") == there
