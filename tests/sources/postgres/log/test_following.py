"""Changes of a real server's log reach the destination once, in their order, as they were."""

from __future__ import annotations

from tests.postgres import Database
from tests.sources.postgres.conftest import shop
from tests.sources.postgres.log.site import Site, site

__all__ = ["shop", "site"]


def test_rows_come_change_and_go(site: Site, shop: Database) -> None:
    shop.run(
        "CREATE TABLE pets (id int PRIMARY KEY, name text, born date)",
        "INSERT INTO pets VALUES (1, 'Rex', '2020-01-01'), (2, 'Tom', NULL)",
    )
    site.create(objects={"public.pets": None})
    site.run()
    assert site.rows("pets", "id, name") == [(1, "Rex"), (2, "Tom")]
    shop.run(
        "INSERT INTO pets VALUES (3, 'Ina', '2021-02-03')",
        "UPDATE pets SET name = 'Rexy' WHERE id = 1",
        "DELETE FROM pets WHERE id = 2",
        "UPDATE pets SET id = 30 WHERE id = 3",
    )
    record = site.run()
    assert site.rows("pets", "id, name, born::text") == [(1, "Rexy", "2020-01-01"), (30, "Ina", "2021-02-03")]
    assert site.rows("pets", "id, name", deleted=True) == [(2, "Tom"), (3, "Ina")]
    assert record.balance.read == 5
    assert site.run().balance.read == 0
