"""Tables that somebody drops, renames or changes while a history is read: told, or read as they are, and never half."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Literal

import pytest
from tests.mariadb import Database
from tests.sources.mysql.log.site import Site, shop, site

from millrace.connect.sql.reading import ranges
from millrace.errors import Transient
from millrace.sources.mysql.database import MySQL, Reading

__all__ = ["shop", "site"]

HAS_V = "SELECT 1 FROM duckdb_columns() WHERE table_name = 'a_changed' AND column_name = 'v'"


@pytest.fixture(autouse=True)
def tables(shop: Database) -> None:
    """Two tables, of which the first is changed."""
    shop.run(
        "CREATE TABLE a_changed (id int PRIMARY KEY, v int)",
        "CREATE TABLE b_other (id int PRIMARY KEY)",
        "INSERT INTO a_changed SELECT seq, seq FROM seq_1_to_5",
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


def test_a_view_that_the_server_refuses_to_show_fails_alone(site: Site, shop: Database) -> None:
    shop.run("CREATE VIEW a_odd AS SELECT (SELECT id FROM b_other) AS x")
    site.create(ingestion_mode="table")
    record = site.run()
    assert record.status == "COMPLETED_WITH_FAILURES"
    (note,) = record.notes
    assert re.match(r"a_odd: .*returns more than 1 row", note.message)
    assert site.query("SELECT count(*) FROM a_changed") == [(5,)]


def test_a_history_that_the_server_refuses_fails_alone_and_is_read_when_it_is_shown(site: Site, shop: Database) -> None:
    name = f"reader_{shop.name}"
    shop.run(
        f"CREATE USER '{name}'@'%' IDENTIFIED BY 'p'",
        f"GRANT REPLICATION SLAVE, BINLOG MONITOR, REPLICATION SLAVE ADMIN ON *.* TO '{name}'@'%'",
        f'GRANT INSERT ON "{shop.name}".a_changed TO "{name}"',
        f'GRANT SELECT ON "{shop.name}".b_other TO "{name}"',
    )
    try:
        site.create(db_user=name, db_password="p")
        record = site.run()
        assert (record.status, site.rows("b_other", "id")) == ("COMPLETED_WITH_FAILURES", [(1,), (2,)])
        (note,) = [one for one in record.notes if one.level == "error"]
        assert re.match("a_changed: .*SELECT command denied", note.message)
        assert {object_: one.status for object_, one in site.ended().items()} == {
            "a_changed": "FAILED",
            "b_other": "COMPLETED",
        }
        shop.run(
            f'GRANT SELECT ON "{shop.name}".a_changed TO "{name}"',
            "INSERT INTO a_changed VALUES (6, 6)",
            "INSERT INTO b_other VALUES (3)",
        )
        assert site.run().status == "COMPLETED"
        assert site.rows("b_other", "id") == [(1,), (2,), (3,)]
        assert site.rows("a_changed", "id") == [(number,) for number in range(1, 7)]
    finally:
        shop.run(f"DROP USER '{name}'@'%'")


@pytest.mark.parametrize("moment", ["listed", "in the state", "read"])
@pytest.mark.parametrize(
    ("mode", "change", "there"),
    [
        ("table", "DROP TABLE a_changed", None),
        ("log", "RENAME TABLE a_changed TO c_renamed", None),
        ("table", "ALTER TABLE a_changed MODIFY v varchar(20)", [(number, f"0{number}") for number in range(1, 6)]),
        ("log", "ALTER TABLE a_changed MODIFY v varchar(20)", [(number, f"0{number}") for number in range(1, 6)]),
        ("table", "ALTER TABLE a_changed DROP COLUMN v", [(number, None) for number in range(1, 6)]),
    ],
)
def test_a_table_that_changes_while_its_history_is_read_is_told_or_read_whole_and_harms_no_other(
    site: Site,
    shop: Database,
    monkeypatch: pytest.MonkeyPatch,
    mode: Literal["table", "log"],
    moment: str,
    change: str,
    there: list[Any] | None,
) -> None:
    site.create(ingestion_mode=mode, full_load_every_hours=0)
    changes = [change]
    if "varchar" in change:
        changes.append("UPDATE a_changed SET v = concat('0', v)")
    changing = threading.Thread(target=lambda: shop.run(*changes), daemon=True)
    with monkeypatch.context() as patch:
        if moment == "listed":
            patch.setattr(ranges, "read", once(ranges.read, lambda: shop.run(*changes)))
        elif moment == "in the state":
            patch.setattr(MySQL, "hold", once(MySQL.hold, lambda: shop.run(*changes)))
        else:
            # Whoever changes it waits.
            patch.setattr(Reading, "parts", once(Reading.parts, changing.start))
        if moment == "read":
            site.run()
            changing.join(60)
            # The log is read once more behind the histories, and may tell of the change already.
            found = site.query("SELECT id, v FROM a_changed ORDER BY id")
            assert found in ([(number, number) for number in range(1, 6)], there)
        else:
            with pytest.raises(Transient, match=r"a_changed|definition has changed"):
                site.run()
    assert not changing.is_alive()
    assert site.query("SELECT id FROM b_other ORDER BY id") == [(1,), (2,)]
    with suppress(Transient):
        site.run()
    if there is not None and moment != "read":
        site.run()
        names = "id, v" if site.query(HAS_V) else "id, NULL"
        assert site.query(f"SELECT {names} FROM a_changed ORDER BY id") == there
